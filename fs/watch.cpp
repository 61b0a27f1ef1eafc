#include <weir/fs/watch.hpp>

#include <weir/fs/inotify.hpp>
#include <weir/fs/stat.hpp>
#include <weir/fs/tree.hpp>
#include <weir/fs/watch_gate.hpp>

#include <fcntl.h>
#include <sys/inotify.h>

#include <deque>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace weir::fs {
namespace {

// libuv's.
constexpr std::uint32_t everything =
    IN_ATTRIB | IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_MOVED_FROM | IN_MOVED_TO;

std::string_view last_part(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path.substr(path.rfind('/') + 1);
}

std::string directory_of(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

std::string below(const std::string& directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return (directory + '/').append(name);
}

}  // namespace

struct path_watch::state {
  state(std::string where, const watch_options& how) : path(std::move(where)), options(how) {}

  result<void> begin();
  void read();
  void take(const detail::inotify_record& record);
  void take_in_directory(const std::string& directory, const detail::inotify_record& record);
  void take_of_parent(const detail::inotify_record& record);
  void look();
  void descend(const std::string& directory, bool announce);
  void forget(const std::string& directory);
  bool has_work() const noexcept { return !found.empty() || follow_again || look_again; }

  std::string path;
  watch_options options;
  detail::inotify system;
  detail::watch_gate gate;
  std::deque<watch_notice> notices;
  bool is_directory = false;
  int self = -1;
  int parent = -1;                                   // of a file that is followed: the directory tells of it
  bool through_link = false;                         // and of what a link leads to its own inode does
  std::unordered_map<int, std::string> directories;  // by watch: the path below the root, "" for the root itself
  std::vector<std::string> found;                    // new directories, to be watched and looked into
  std::unordered_set<std::string> announced;         // found by looking; the kernel may be about to tell of them
  bool follow_again = false;                         // another file has the name
  bool look_again = false;                           // directories may have been missed
};

result<void> path_watch::state::begin() {
  auto what = detail::stat_now("watch", path, 0);
  if (!what) return what.failure();
  is_directory = what->is_directory();
  if (!is_directory && options.follow_replaced) {
    auto own = detail::stat_now("watch", path, AT_SYMLINK_NOFOLLOW);
    through_link = own && own->is_symbolic_link();
    auto above = system.add(directory_of(path), (through_link ? IN_CREATE | IN_MOVED_TO : everything) | IN_ONLYDIR);
    if (above) parent = *above;
    if (above && !through_link) return {};
  }
  auto watching = system.add(path, everything);
  if (!watching) return watching.failure();
  self = *watching;
  if (is_directory) directories.emplace(self, "");
  if (is_directory && options.recursive) descend("", false);
  return {};
}

void path_watch::state::read() {
  if (system.read([this](const detail::inotify_record& record) { take(record); })) return;
  if (!has_work()) announced.clear();  // the kernel has told everything that it had before the last look
}

void path_watch::state::take(const detail::inotify_record& record) {
  if ((record.mask & IN_Q_OVERFLOW) != 0) {
    notices.push_back({watch_action::rename, std::nullopt});
    follow_again = through_link;
    look_again = is_directory && options.recursive;
    return;
  }
  if (record.watch == parent && !is_directory) return take_of_parent(record);
  if (auto at = directories.find(record.watch); at != directories.end()) {
    return take_in_directory(std::string(at->second), record);
  }
  if (is_directory || record.watch != self) return;
  const bool change = (record.mask & (IN_ATTRIB | IN_MODIFY)) != 0;
  if ((record.mask & IN_IGNORED) != 0) {
    self = -1;
    if (parent >= 0) return;
  }
  notices.push_back({change ? watch_action::change : watch_action::rename, std::string(last_part(path))});
}

void path_watch::state::take_of_parent(const detail::inotify_record& record) {
  if (record.name != last_part(path)) return;
  const bool change = (record.mask & (IN_ATTRIB | IN_MODIFY)) != 0;
  notices.push_back({change ? watch_action::change : watch_action::rename, std::string(record.name)});
  follow_again = through_link;
}

void path_watch::state::take_in_directory(const std::string& directory, const detail::inotify_record& record) {
  const bool is_root = directory.empty();
  if ((record.mask & IN_IGNORED) != 0) directories.erase(record.watch);
  if (record.name.empty()) {  // about the directory itself: those below are told of by the one above
    if (!is_root) return;
    const bool change = (record.mask & (IN_ATTRIB | IN_MODIFY)) != 0;
    notices.push_back({change ? watch_action::change : watch_action::rename, std::string(last_part(path))});
    return;
  }
  auto name = below(directory, record.name);
  const bool comes = (record.mask & (IN_CREATE | IN_MOVED_TO)) != 0;
  const bool goes = (record.mask & (IN_DELETE | IN_MOVED_FROM)) != 0;
  if (goes) announced.erase(name);
  if (comes && announced.erase(name) != 0) return;
  if (options.recursive && (record.mask & IN_ISDIR) != 0) {
    if (comes) found.push_back(name);
    if ((record.mask & IN_MOVED_FROM) != 0) forget(name);
  }
  const bool change = (record.mask & (IN_ATTRIB | IN_MODIFY)) != 0;
  notices.push_back({change ? watch_action::change : watch_action::rename, std::move(name)});
}

/// Does what takes the disk: on a thread that may wait for it.
void path_watch::state::look() {
  if (std::exchange(follow_again, false)) {
    if (auto again = system.add(path, everything)) self = *again;
  }
  if (std::exchange(look_again, false)) descend("", false);
  for (auto& each : std::exchange(found, {})) descend(each, true);
}

/// Watches first, then looks: what comes in between is seen twice, and told once.
void path_watch::state::descend(const std::string& directory, bool announce) {
  const auto full = directory.empty() ? path : path + '/' + directory;
  auto watching = system.add(full, everything | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
  if (!watching && !directory.empty() && watching.failure().is("ENOSPC")) watching.failure().rethrow();
  if (!watching && !directory.empty()) return;
  if (watching) directories[*watching] = directory;
  detail::directory_reader reader;
  if (reader.open(AT_FDCWD, full.c_str(), 0) != 0) return;
  detail::directory_reader::entry each;
  while (reader.next(each)) {
    auto inside = below(directory, each.name);
    bool fresh = announce && announced.insert(inside).second;
    if (fresh) notices.push_back({watch_action::rename, inside});
    if (each.type == file_type::directory) descend(inside, announce);
  }
}

void path_watch::state::forget(const std::string& directory) {
  for (auto at = directories.begin(); at != directories.end();) {
    const auto& each = at->second;
    const bool inside =
        each.starts_with(directory) && (each.size() == directory.size() || each[directory.size()] == '/');
    if (!inside) {
      ++at;
      continue;
    }
    system.remove(at->first);
    at = directories.erase(at);
  }
}

path_watch::path_watch(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}
path_watch::path_watch(path_watch&&) noexcept = default;
path_watch& path_watch::operator=(path_watch&&) noexcept = default;
path_watch::~path_watch() = default;

task<std::optional<watch_notice>> path_watch::next() {
  auto& s = *state_;
  detail::gate_pass inside(s.gate, [&s] { s.system.close(); });
  if (!inside) co_return std::nullopt;
  for (;;) {
    if (s.gate.closed()) co_return std::nullopt;
    if (s.has_work()) {  // before it is told: what the caller does next is seen then
      co_await call<void>("watch", [&s]() -> result<void> {
        s.look();
        return {};
      });
    } else if (!s.notices.empty()) {
      auto first = std::move(s.notices.front());
      s.notices.pop_front();
      co_return first;
    } else {
      s.read();
      if (s.notices.empty() && !s.has_work()) co_await s.gate.wait(s.system.descriptor(), std::nullopt);
    }
  }
}

void path_watch::close() noexcept {
  if (state_->gate.close()) state_->system.close();
}
bool path_watch::closed() const noexcept { return state_->gate.closed(); }
const std::string& path_watch::path() const noexcept { return state_->path; }

call<path_watch> watch(std::string path, const watch_options& options) {
  return call<path_watch>("watch", [path = std::move(path), options]() -> result<path_watch> {
    auto made = std::make_unique<path_watch::state>(path, options);
    if (auto begun = made->begin(); !begun) return begun.failure();
    return path_watch(std::move(made));
  });
}

}  // namespace weir::fs
