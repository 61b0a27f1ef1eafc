#include <weir/fs/remove.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/tree.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace weir::fs {
namespace {

using detail::directory_reader;
using detail::file_id;
using detail::on_path;
using detail::without_signals;

// Deeper directories are left to one thread that keeps two descriptors, whatever the depth.
constexpr unsigned most_shared_depth = 32;
// How often a directory is read again that has got new entries while it was being emptied.
constexpr unsigned most_passes = 4;

/// A directory that is being removed. It goes when all below it has gone.
struct doomed {
  doomed(std::shared_ptr<doomed> above, std::string called)
      : parent(std::move(above)), name(std::move(called)), depth(parent ? parent->depth + 1 : 0) {}

  std::shared_ptr<doomed> parent;
  std::string name;  // of the first: its path
  unsigned depth;
  io::descriptor fd = {};
  std::atomic<std::size_t> pending{1};  // itself, and directories in it
  unsigned passes = 0;
};
using doomed_share = std::shared_ptr<doomed>;

struct remove_context {
  directory_reader reader;
  std::vector<doomed_share> below;
};

class remover {
 public:
  remover(std::string path, bool keep_root, unsigned threads, const stop_flag& stop);
  remover(const remover&) = delete;
  remover& operator=(const remover&) = delete;

  result<void> run();

 private:
  using remove_crew = detail::crew<doomed_share, remove_context>;

  void visit(doomed_share directory, remove_context& mine);
  bool open(const doomed& directory, directory_reader& reader);
  void empty(const doomed_share& directory, remove_context& mine);
  void remove_deep(const doomed& directory, const std::string& name);
  void finish(doomed_share directory);
  bool remove_directory(const doomed_share& directory);
  void fail(int why, const char* operation, const std::string& path);
  bool over() const noexcept { return failed_.load(std::memory_order_relaxed) || stop_.requested(); }

  const bool keep_root_;
  const stop_flag& stop_;
  remove_crew crew_;
  std::mutex mutex_;
  std::optional<error> why_;
  std::atomic<bool> failed_{false};
};

/// Removes the directory `name` below `parent`, with two descriptors open at a time: up again through "..", which has
/// to lead to where it came from.
class deep_remover {
 public:
  deep_remover(int parent, std::string name, const stop_flag& stop)
      : parent_(parent), first_(std::move(name)), stop_(stop) {}

  /// @return 0 or an errno; `operation` and `where` tell of what
  int run();

  const char* operation = "scandir";
  std::string where() const;

 private:
  struct level {
    std::string name;
    file_id id = {};
    std::vector<std::string> below = {};
    unsigned passes = 0;
  };

  int enter(int parent, std::string name, unsigned passes = 0);
  int scan(level& here);
  int leave();

  int parent_;
  std::string first_;
  const stop_flag& stop_;
  directory_reader reader_;
  std::vector<level> levels_;
};

int unlink_at(int parent, const char* name, int flags) noexcept {
  return static_cast<int>(-without_signals([&] { return ::unlinkat(parent, name, flags); }));
}

/// Removes what is no directory. @return 0 if it is gone, EISDIR if it is a directory after all, or another errno
int unlink_entry(int parent, const char* name) noexcept {
  const int why = unlink_at(parent, name, 0);
  if (why == 0 || why == ENOENT) return 0;
  // What POSIX has Linux say for a directory, and some file systems do.
  if (why == EPERM && detail::type_at(parent, name, false) == file_type::directory) return EISDIR;
  return why;
}

bool is_no_directory(int why) noexcept { return why == ENOTDIR || why == ELOOP; }

int deep_remover::run() {
  int why = enter(parent_, first_);
  while (why == 0 && !levels_.empty()) {
    if (stop_.requested()) return ECANCELED;
    auto& top = levels_.back();
    if (top.below.empty()) {
      why = leave();
      continue;
    }
    auto name = std::move(top.below.back());
    top.below.pop_back();
    why = enter(reader_.fd(), std::move(name));
  }
  return why;
}

/// Opens a directory, makes it the present one and removes its files.
int deep_remover::enter(int parent, std::string name, unsigned passes) {
  const int fd = static_cast<int>(without_signals(
      [&] { return ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK); }));
  if (fd == -ENOENT) return 0;
  if (fd < 0) {
    operation = "scandir";
    return is_no_directory(-fd) ? unlink_entry(parent, name.c_str()) : -fd;
  }
  reader_.adopt(io::descriptor(fd));
  levels_.push_back({.name = std::move(name), .passes = passes});
  auto id = detail::id_of(fd);
  if (!id) return EIO;
  levels_.back().id = *id;
  return scan(levels_.back());
}

int deep_remover::scan(level& here) {
  directory_reader::entry found;
  while (reader_.next(found)) {
    int why = found.type == file_type::directory ? EISDIR : unlink_entry(reader_.fd(), found.name.data());
    operation = "unlink";
    if (why == EISDIR) {
      here.below.emplace_back(found.name);
    } else if (why != 0) {
      return why;
    }
  }
  operation = "scandir";
  return reader_.error();
}

/// Goes up and removes the directory that was left.
int deep_remover::leave() {
  auto done = std::move(levels_.back());
  levels_.pop_back();
  int up = parent_;
  if (!levels_.empty()) {
    operation = "scandir";
    up = static_cast<int>(
        without_signals([&] { return ::openat(reader_.fd(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
    if (up < 0) return -up;
    reader_.adopt(io::descriptor(up));
    if (detail::id_of(up) != levels_.back().id) return EBUSY;  // it was moved meanwhile
  } else {
    reader_.close();
  }
  operation = "rmdir";
  const int why = unlink_at(up, done.name.c_str(), AT_REMOVEDIR);
  if (why == 0 || why == ENOENT) return 0;
  if (why != ENOTEMPTY || done.passes + 1 >= most_passes) return why;
  return enter(up, std::move(done.name), done.passes + 1);
}

std::string deep_remover::where() const {
  std::string all;
  for (auto& each : levels_) {
    if (!all.empty()) all += '/';
    all += each.name;
  }
  return all.empty() ? first_ : all;
}

int fd_above(const doomed& directory) noexcept { return directory.parent ? directory.parent->fd.get() : AT_FDCWD; }

std::string path_of(const doomed& directory) {
  if (!directory.parent) return directory.name;
  return path_of(*directory.parent) + '/' + directory.name;  // most_shared_depth levels at most
}

remover::remover(std::string path, bool keep_root, unsigned threads, const stop_flag& stop)
    : keep_root_(keep_root),
      stop_(stop),
      crew_(threads == 0 ? detail::tree_threads() : threads, this,
            [](void* self, remove_crew&, doomed_share&& directory, remove_context& mine) {
              static_cast<remover*>(self)->visit(std::move(directory), mine);
            }) {
  crew_.add(std::make_shared<doomed>(nullptr, std::move(path)));
}

result<void> remover::run() {
  remove_context mine;
  crew_.run(mine);
  if (why_) return *why_;
  if (stop_.requested()) return failure(cancelled());
  return {};
}

void remover::visit(doomed_share directory, remove_context& mine) {
  if (over()) return crew_.stop();
  if (open(*directory, mine.reader)) {
    empty(directory, mine);
  } else {
    finish(std::move(directory));
  }
}

/// @return false if there is no directory any more, or it cannot be opened
bool remover::open(const doomed& directory, directory_reader& reader) {
  const int above = fd_above(directory);
  int why = reader.open(above, directory.name.c_str(), O_NOFOLLOW);
  if (why == 0) return true;
  if (is_no_directory(why) && !(keep_root_ && !directory.parent)) why = unlink_entry(above, directory.name.c_str());
  if (why != 0 && why != ENOENT) fail(why, "scandir", path_of(directory));
  return false;
}

/// Removes the files of a directory and leaves its directories to the crew.
void remover::empty(const doomed_share& directory, remove_context& mine) {
  auto& reader = mine.reader;
  directory_reader::entry found;
  while (!over() && reader.next(found)) {
    const int why = found.type == file_type::directory ? EISDIR : unlink_entry(reader.fd(), found.name.data());
    if (why == EISDIR) {
      mine.below.push_back(std::make_shared<doomed>(directory, std::string(found.name)));
    } else if (why != 0) {
      fail(why, "unlink", path_of(*directory) + '/' + std::string(found.name));
    }
  }
  if (reader.error() != 0) fail(reader.error(), "scandir", path_of(*directory));
  directory->fd = reader.release();
  if (directory->depth >= most_shared_depth) {
    for (auto& each : mine.below) remove_deep(*directory, each->name);
    mine.below.clear();
  }
  directory->pending.fetch_add(mine.below.size(), std::memory_order_relaxed);
  crew_.add(mine.below);
  finish(directory);
}

void remover::remove_deep(const doomed& directory, const std::string& name) {
  if (over()) return;
  deep_remover deep(directory.fd.get(), name, stop_);
  const int why = deep.run();
  if (why != 0 && !stop_.requested()) fail(why, deep.operation, path_of(directory) + '/' + deep.where());
}

/// One of what a directory waits for has ended.
void remover::finish(doomed_share directory) {
  while (directory && directory->pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (over()) return crew_.stop();
    directory->fd.close();
    if (!remove_directory(directory)) return;
    directory = directory->parent;
  }
}

/// @return whether it is gone
bool remover::remove_directory(const doomed_share& directory) {
  if (keep_root_ && !directory->parent) return true;
  const int above = fd_above(*directory);
  int why = unlink_at(above, directory->name.c_str(), AT_REMOVEDIR);
  if (why == ENOTDIR) why = unlink_entry(above, directory->name.c_str());
  if (why == 0 || why == ENOENT) return true;
  if (why == ENOTEMPTY && ++directory->passes < most_passes) {
    directory->pending.store(1, std::memory_order_relaxed);
    crew_.add(directory);
  } else {
    fail(why, "rmdir", path_of(*directory));
  }
  return false;
}

void remover::fail(int why, const char* operation, const std::string& path) {
  {
    std::lock_guard lock(mutex_);
    if (!why_) why_.emplace(os_error(why, operation, path));
  }
  failed_.store(true, std::memory_order_relaxed);
  crew_.stop();
}

/// Without the slashes at its end, which would have a link followed.
std::string trimmed(const std::string& path) {
  const auto last = path.find_last_not_of('/');
  return last == std::string::npos ? path.substr(0, 1) : path.substr(0, last + 1);
}

bool cannot_go(std::string_view path) noexcept {
  const auto name = path.substr(path.rfind('/') + 1);
  return name.empty() || name == "." || name == "..";
}

bool worth_a_retry(const failure& why) {
  const int number = why.error().errno_value();
  return number == EBUSY || number == EMFILE || number == ENFILE || number == ENOTEMPTY || number == EPERM;
}

void wait_here(std::chrono::milliseconds time, const stop_flag& stop) {
  constexpr auto look = std::chrono::milliseconds(10);
  for (; time.count() > 0 && !stop.requested(); time -= look) std::this_thread::sleep_for(std::min(time, look));
}

result<void> remove_tree(const std::string& path, bool keep_root, const remove_options& options,
                         const stop_flag& stop) {
  for (unsigned attempt = 1;; ++attempt) {
    auto done = remover(path, keep_root, options.threads, stop).run();
    if (done || attempt > options.max_retries || !worth_a_retry(done.failure())) return done;
    wait_here(options.retry_delay * attempt, stop);
    if (stop.requested()) return failure(cancelled());
  }
}

result<void> rm_now(const std::string& path, const remove_options& options, const stop_flag& stop) {
  auto found = detail::stat_now("lstat", path, AT_SYMLINK_NOFOLLOW);
  if (!found) {
    if (options.force && found.failure().code() == std::errc::no_such_file_or_directory) return {};
    return found.failure();
  }
  const auto target = trimmed(path);
  if (!found->is_directory()) {
    auto done = on_path("unlink", target, [&] { return ::unlink(target.c_str()); });
    if (!done && done.failure().code() == std::errc::no_such_file_or_directory) return {};
    return detail::only_done(done);
  }
  if (!options.recursive) {
    return error(errc::err_fs_eisdir, "Path is a directory: rm returned EISDIR (is a directory) " + path,
                 {.operation = "rm", .path = path});
  }
  if (cannot_go(target)) return os_error(EINVAL, "rmdir", path);
  return remove_tree(target, false, options, stop);
}

result<void> empty_now(const std::string& path, const remove_options& options, const stop_flag& stop) {
  auto found = detail::stat_now("scandir", path, AT_SYMLINK_NOFOLLOW);
  if (!found) {
    if (options.force && found.failure().code() == std::errc::no_such_file_or_directory) return {};
    return found.failure();
  }
  if (!found->is_directory()) return os_error(ENOTDIR, "scandir", path);
  return remove_tree(path, true, options, stop);
}

/// Removes what is old.
class sweeper {
 public:
  sweeper(time_point before, const sweep_options& options, const stop_flag& stop)
      : before_(before), options_(options), stop_(stop) {}

  /// @return 0 or an errno: whether the directory could be read
  int sweep(int parent, const std::string& name, const std::string& path, int flags, unsigned depth);

  sweep_result counts;

 private:
  // Enough for any cache; it bounds the descriptors and the stack.
  static constexpr unsigned most_depth = 128;

  void look_at(int parent, const std::string& name, const std::string& path, unsigned depth);
  void look_into(int parent, const std::string& name, const std::string& path, unsigned depth, bool old);
  void remove(int parent, const std::string& name, const std::string& path, const struct stat& found);
  void skip(int why, const char* operation, const std::string& path);

  const time_point before_;
  const sweep_options& options_;
  const stop_flag& stop_;
};

int sweeper::sweep(int parent, const std::string& name, const std::string& path, int flags, unsigned depth) {
  directory_reader reader;
  if (const int why = reader.open(parent, name.c_str(), flags)) return why;
  std::vector<std::string> names;
  directory_reader::entry found;
  while (reader.next(found)) names.emplace_back(found.name);
  const int why = reader.error();
  for (auto& each : names) {
    if (stop_.requested()) break;
    std::string below = path;
    below.append(1, '/').append(each);
    look_at(reader.fd(), each, below, depth);
  }
  return why;
}

void sweeper::look_at(int parent, const std::string& name, const std::string& path, unsigned depth) {
  struct stat found;  // NOLINT: the system fills it in
  const long done = without_signals([&] { return ::fstatat(parent, name.c_str(), &found, AT_SYMLINK_NOFOLLOW); });
  if (done == -ENOENT) return;
  if (done < 0) return skip(static_cast<int>(-done), "lstat", path);
  const bool old = detail::time_of(found.st_mtim.tv_sec, found.st_mtim.tv_nsec) < before_;
  if (S_ISDIR(found.st_mode)) {
    look_into(parent, name, path, depth, old);
  } else if (old) {
    remove(parent, name, path, found);
  } else {
    ++counts.kept;
  }
}

void sweeper::look_into(int parent, const std::string& name, const std::string& path, unsigned depth, bool old) {
  if (options_.recursive && depth < most_depth) {
    const int why = sweep(parent, name, path, O_NOFOLLOW, depth + 1);
    if (why == ENOENT) return;
    if (why != 0) return skip(why, "scandir", path);
    if (old && unlink_at(parent, name.c_str(), AT_REMOVEDIR) == 0) {
      ++counts.removed;
      return;
    }
  }
  ++counts.kept;
}

void sweeper::remove(int parent, const std::string& name, const std::string& path, const struct stat& found) {
  const int why = unlink_at(parent, name.c_str(), 0);
  if (why == ENOENT) return;
  if (why != 0) return skip(why, "unlink", path);
  ++counts.removed;
  counts.bytes += static_cast<std::uint64_t>(found.st_size);
}

void sweeper::skip(int why, const char* operation, const std::string& path) {
  ++counts.skipped;
  if (options_.on_skipped) options_.on_skipped(os_error(why, operation, path));
}

result<sweep_result> sweep_now(const std::string& directory, std::chrono::nanoseconds age, const sweep_options& options,
                               const stop_flag& stop) {
  if (detail::has_nul(directory)) return detail::nul_error("path", directory);
  const auto now =
      options.now.value_or(std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now()));
  sweeper work(now - age, options, stop);
  const int why = work.sweep(AT_FDCWD, directory, directory, 0, 0);
  if (why != 0 && why != ENOENT) return os_error(why, "scandir", directory);
  if (stop.requested()) return failure(cancelled());
  return work.counts;
}

}  // namespace

call<void> rm(std::string path, remove_options options) {
  return {"unlinkat", [path = std::move(path), options](const stop_flag& stop) { return rm_now(path, options, stop); }};
}

call<void> empty_directory(std::string path, remove_options options) {
  return {"unlinkat",
          [path = std::move(path), options](const stop_flag& stop) { return empty_now(path, options, stop); }};
}

call<sweep_result> remove_older(std::string directory, std::chrono::nanoseconds age, sweep_options options) {
  return {"unlinkat", [directory = std::move(directory), age, options = std::move(options)](const stop_flag& stop) {
            return sweep_now(directory, age, options, stop);
          }};
}

}  // namespace weir::fs
