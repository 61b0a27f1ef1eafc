#include <weir/fs/watch_settler.hpp>

#include <fcntl.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace weir::fs::detail {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds atomic_save{100};  // from the old file's going to the new one's coming, as chokidar has it

std::optional<file_stat> only_if(bool wanted, const file_stat& found) {
  if (!wanted) return std::nullopt;
  return found;
}

}  // namespace

bool is_within(std::string_view path, std::string_view directory) noexcept {
  if (!path.starts_with(directory)) return false;
  return path.size() == directory.size() || path[directory.size()] == '/' || directory.ends_with('/');
}

// ------------------------------------------------------------------ what is held

watch_settler::changes::iterator watch_settler::hold(const std::string& path, std::optional<file_mark> before,
                                                     clock_point now) {
  auto [at, fresh] = held_.try_emplace(path);
  auto& held = at->second;
  if (fresh) {
    held.before = before;
    held.since = now;
    held.due = due_.emplace(now, at);
  }
  held.last = now;
  return at;
}

void watch_settler::put_off(changes::iterator which, milliseconds quiet, clock_point now) {
  auto& held = which->second;
  auto when = now + quiet;
  if (!options_.await_write_finish) when = std::min(when, held.since + std::max(options_.quiet.longest, quiet));
  due_.erase(held.due);
  held.due = due_.emplace(when, which);
}

milliseconds watch_settler::quiet_for(const change& held) const noexcept {
  const auto& quiet = options_.quiet;
  if (!held.now_is) {
    const bool directory = held.before && held.before->is_directory();
    const auto wanted = directory ? quiet.unlink_dir : quiet.unlink;
    return options_.atomic && !directory ? std::max(wanted, atomic_save) : wanted;
  }
  if (!held.origin.empty()) return quiet.rename;
  if (!held.before) return held.now_is->is_directory() ? quiet.add_dir : quiet.add;
  return quiet.change;
}

watch_settler::change watch_settler::take(changes::iterator which) {
  due_.erase(which->second.due);
  auto held = std::move(which->second);
  held_.erase(which);
  return held;
}

// ------------------------------------------------------------------ what the tree saw

void watch_settler::initial(const std::string& path, const file_stat& now_is) {
  if (!options_.ignore_initial) tell_new(path, now_is);
}

void watch_settler::appeared(const std::string& path, const file_stat& now_is, clock_point now) {
  if (auto at = held_.find(path); at != held_.end() && !options_.atomic && !at->second.now_is) settle(at);
  auto at = hold(path, std::nullopt, now);
  auto& held = at->second;
  held.now_is = now_is;
  if (auto other = held_.find(held.destination); other != held_.end()) other->second.origin.clear();
  held.destination.clear();
  put_off(at, quiet_for(held), now);
}

void watch_settler::changed(const std::string& path, const file_mark& before, const file_stat& now_is, bool written,
                            clock_point now) {
  auto at = hold(path, before, now);
  auto& held = at->second;
  held.now_is = now_is;
  held.written |= written;
  held.attributes |= before.ctime != now_is.ctime;
  put_off(at, quiet_for(held), now);
}

void watch_settler::gone(const std::string& path, const file_mark& before, clock_point now) {
  auto at = hold(path, before, now);
  auto& held = at->second;
  held.now_is.reset();
  held.origin.clear();
  if (!held.before) {  // came and went
    take(at);
    return;
  }
  put_off(at, quiet_for(held), now);
}

void watch_settler::moved(const std::string& from, const std::string& to, const file_mark& before,
                          const file_stat& now_is, clock_point now) {
  auto origin = from;
  bool written = !before.same_content(file_mark(now_is));
  if (auto at = held_.find(from); at != held_.end()) {
    written |= at->second.written;
    if (!at->second.origin.empty()) origin = at->second.origin;
  }
  gone(from, before, now);
  auto source = held_.find(origin);
  const bool told = source != held_.end() && !source->second.now_is && source->second.before;
  auto at = hold(to, std::nullopt, now);
  auto& held = at->second;
  held.now_is = now_is;
  held.written |= written;
  if (origin != to) held.destination.clear();
  if (told && origin != to && !held.before) {
    held.origin = origin;
    source->second.destination = to;
    put_off(source, quiet_for(source->second), now);
  }
  put_off(at, quiet_for(held), now);
}

void watch_settler::moved_directory(const std::string& from, const std::string& to, const file_mark& before,
                                    const file_stat& now_is, clock_point now) {
  if (auto at = held_.find(from); at != held_.end() && !at->second.before) {
    rekey(from, to);
    appeared(to, now_is, now);
    return;
  }
  static_cast<void>(before);
  settle_tree(from);
  settle_tree(to);
  settle_above(to);
  tell({.kind = watch_kind::rename_dir, .path = to, .from = from, .stats = only_if(options_.always_stat, now_is)});
}

/// A directory that nobody was told of has moved: so has what is held of below it.
void watch_settler::rekey(const std::string& from, const std::string& to) {
  std::vector<changes::iterator> inside;
  for (auto at = held_.lower_bound(from); at != held_.end() && at->first.starts_with(from); ++at) {
    if (is_within(at->first, from)) inside.push_back(at);
  }
  for (auto at : inside) {
    const auto path = to + at->first.substr(from.size());
    if (auto there = held_.find(path); there != held_.end()) settle(there);
    const auto when = at->second.due->first;
    auto held = take(at);
    if (auto source = held_.find(held.origin); source != held_.end()) source->second.destination = path;
    auto placed = held_.emplace(path, std::move(held)).first;
    placed->second.due = due_.emplace(when, placed);
  }
}

void watch_settler::forget(const std::string& path) {
  for (auto at = held_.lower_bound(path); at != held_.end() && at->first.starts_with(path);) {
    auto each = at++;
    if (is_within(each->first, path)) take(each);
  }
}

// ------------------------------------------------------------------ what is told

std::optional<watch_settler::clock_point> watch_settler::next_due() const {
  if (due_.empty()) return std::nullopt;
  return due_.begin()->first;
}

void watch_settler::settle_due(clock_point now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    auto which = due_.begin()->second;
    if (!still_written(which, now)) settle(which);
  }
}

/// Whether the file is held for `await_write_finish`; then it is due again later.
bool watch_settler::still_written(changes::iterator which, clock_point now) {
  auto& held = which->second;
  if (!options_.await_write_finish || !held.now_is || !held.now_is->is_file() || !held.origin.empty()) return false;
  const auto& wait = *options_.await_write_finish;
  const auto found = stat_now("stat", which->first, options_.follow_symlinks ? 0 : AT_SYMLINK_NOFOLLOW);
  if (found && (found->size != held.now_is->size || found->mtime != held.now_is->mtime)) {
    held.now_is = *found;
    held.last = now;
  }
  if (found && now - held.last >= wait.stability_threshold) return false;
  const auto stable_in =
      std::max(std::chrono::ceil<milliseconds>(held.last + wait.stability_threshold - now), milliseconds(1));
  put_off(which, std::min(wait.poll_interval, stable_in), now);
  return true;
}

void watch_settler::settle(changes::iterator which) {
  const auto path = which->first;
  if (!which->second.now_is) {
    auto partner = held_.find(which->second.destination);
    if (partner != held_.end() && partner->second.origin == path) return settle(partner);
  }
  auto held = take(which);
  if (!held.before && !held.now_is) return;
  if (!held.now_is) {
    if (held.before->is_directory()) settle_below(path);
    return tell_gone(path, *held.before);
  }
  const auto& now_is = *held.now_is;
  settle_above(path);
  if (!held.origin.empty() && settle_move(path, held)) return;
  if (!held.before) return tell_new(path, now_is);
  const file_mark mark(now_is);
  if (held.before->is_directory() != mark.is_directory()) {
    if (held.before->is_directory()) settle_below(path);
    tell_gone(path, *held.before);
    return tell_new(path, now_is);
  }
  const bool differs = held.written || !held.before->same_content(mark);
  watch_event event{.path = path, .stats = only_if(options_.always_stat, now_is), .previous_size = held.before->size};
  if (differs && !mark.is_directory()) {
    event.kind = watch_kind::change;
    tell(std::move(event));
  } else if (held.attributes && options_.attributes) {
    event.kind = watch_kind::change_attrs;
    tell(std::move(event));
  }
}

/// @return true if it has been told as a rename
bool watch_settler::settle_move(const std::string& path, change& held) {
  auto source = held_.find(held.origin);
  if (source == held_.end() || held.before || source->second.now_is || !source->second.before) return false;
  if (source->second.destination != path || source->second.before->is_directory()) return false;
  const auto from = source->first;
  const auto before = *take(source).before;
  const auto stats = only_if(options_.always_stat, *held.now_is);
  tell({.kind = watch_kind::rename, .path = path, .from = from, .stats = stats});
  if (held.written) {
    tell({.kind = watch_kind::change, .path = path, .stats = stats, .previous_size = before.size});
  }
  return true;
}

/// New directories that `path` is in are told first.
void watch_settler::settle_above(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    auto above = held_.find(path.substr(0, slash));
    if (above != held_.end() && above->second.now_is) settle(above);
  }
}

/// What is held of below `path` is told first, the innermost before what it is in.
void watch_settler::settle_below(const std::string& path) {
  const auto prefix = path + '/';
  for (;;) {
    auto last = held_.lower_bound(path + '0');  // '0' follows '/'
    if (last == held_.begin()) return;
    --last;
    if (!last->first.starts_with(prefix)) return;
    settle(last);
  }
}

void watch_settler::settle_tree(const std::string& path) {
  settle_below(path);
  if (auto at = held_.find(path); at != held_.end()) settle(at);
  settle_below(path);
}

void watch_settler::tell_new(const std::string& path, const file_stat& now_is) {
  tell({.kind = now_is.is_directory() ? watch_kind::add_dir : watch_kind::add,
        .path = path,
        .stats = only_if(options_.always_stat, now_is)});
}

void watch_settler::tell_gone(const std::string& path, const file_mark& before) {
  tell({.kind = before.is_directory() ? watch_kind::unlink_dir : watch_kind::unlink, .path = path});
}

void watch_settler::failed(const std::string& path, failure why) {
  tell({.kind = watch_kind::error, .path = path, .why = std::move(why)});
}

void watch_settler::ready() { tell({.kind = watch_kind::ready}); }

void watch_settler::tell(watch_event event) {
  event.time = std::chrono::system_clock::now();
  out_.push_back(std::move(event));
}

}  // namespace weir::fs::detail
