#include <weir/fs/watch_tree.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/tree.hpp>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <utility>

namespace weir::fs::detail {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t directory_mask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY |
                                         IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR |
                                         IN_EXCL_UNLINK;
constexpr std::uint32_t file_mask = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t moves = IN_MOVED_FROM | IN_MOVED_TO;

// Both halves of a rename are in the queue before the call returns; this is for those that a read has parted.
constexpr milliseconds both_halves{20};
// Marks of a file that was written to this recently do not tell whether it was written to again.
constexpr milliseconds clock_step{20};
constexpr milliseconds slice{20};     // of one turn's work on the disk
constexpr int reads_at_once = 32;     // of 32 KiB
constexpr std::size_t look_back = 8;  // hints about the same name come close together

// Of the list that chokidar polls less often.
constexpr std::array<std::string_view, 44> binary_extensions = {
    "3gp", "7z",  "a",   "aac", "avi", "bin", "bmp",  "bz2", "class", "dll",  "doc",  "docx", "dylib", "exe", "flac",
    "flv", "gif", "gz",  "ico", "iso", "jar", "jpeg", "jpg", "m4a",   "mkv",  "mov",  "mp3",  "mp4",   "mpg", "o",
    "ogg", "pdf", "png", "so",  "tar", "tgz", "tiff", "ttf", "wav",   "webm", "webp", "woff", "xz",    "zip"};

bool is_binary(std::string_view name) noexcept {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || name.size() - dot > 6) return false;
  std::string extension(name.substr(dot + 1));
  for (auto& c : extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return std::binary_search(binary_extensions.begin(), binary_extensions.end(), extension);
}

std::string joined(std::string_view directory, std::string_view name) {
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path = directory;
  if (!path.ends_with('/') && !name.empty()) path += '/';
  return path.append(name);
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string_view name_in(const std::string& path) { return std::string_view(path).substr(path.rfind('/') + 1); }

/// The component of `path` that comes after `directory`.
std::string component_below(const std::string& path, const std::string& directory) {
  const auto start = directory.size() + (directory.ends_with('/') ? 0 : 1);
  return path.substr(start, path.find('/', start) - start);
}

bool is_absence(const failure& why) noexcept { return why.is("ENOENT") || why.is("ENOTDIR"); }

tree_entry* entry_in(const tree_entry& directory, std::string_view name) {
  if (!directory.entries) return nullptr;
  auto at = directory.entries->find(name);
  return at != directory.entries->end() ? at->get() : nullptr;
}

bool is_home(const tree_entry& e) noexcept {
  const auto* top = &e;
  while (top->parent != nullptr) top = top->parent;
  return top->anchor;
}

std::vector<tree_entry*> in_order(const tree_entry& directory) {
  std::vector<tree_entry*> all;
  if (!directory.entries) return all;
  for (auto& each : *directory.entries) all.push_back(each.get());
  std::sort(all.begin(), all.end(), [](auto* a, auto* b) { return a->name < b->name; });
  return all;
}

}  // namespace

std::size_t entry_hash::operator()(const std::unique_ptr<tree_entry>& e) const noexcept { return (*this)(e->name); }
std::string_view entry_equal::name(const std::unique_ptr<tree_entry>& e) noexcept { return e->name; }

watch_tree::watch_tree(watcher_options options, std::deque<watch_event>& out)
    : options_(std::move(options)), settler_(options_, out) {
  for (auto& text : options_.ignored) ignored_.emplace_back(text, glob_options{.dot = true, .match_base = true});
  if (!options_.use_polling) system_.emplace();
}

watch_tree::~watch_tree() = default;

void watch_tree::close() noexcept {
  if (system_) system_->close();
  jobs_.clear();
  homeless_.clear();
  users_.clear();
  anchors_.clear();
  roots_.clear();
}

// ------------------------------------------------------------------ a turn

watch_tree::turn_outcome watch_tree::turn(clock_point now, const stop_flag& stop) {
  now_ = now;
  if (options_.use_polling) {
    poll_roots(now);
  } else {
    read_hints();
  }
  for (std::size_t i = 0; i < hints_.size(); ++i) take_hint(hint(hints_[i]));  // it may add to them
  hints_.clear();
  settle_roots();
  run_jobs(stop);
  expire_homeless(now);
  if (!ready_ && jobs_.empty()) {
    ready_ = true;
    settler_.ready();
  }
  settler_.settle_due(now);
  turn_outcome outcome{.more = !jobs_.empty() || !unsettled_.empty(), .due = settler_.next_due()};
  const auto sooner = [&outcome](clock_point when) { outcome.due = std::min(outcome.due.value_or(when), when); };
  for (auto& each : homeless_) {
    if (is_home(*each.from)) sooner(each.until);
  }
  if (options_.use_polling) sooner(next_poll_);
  return outcome;
}

void watch_tree::take_up(clock_point now) {
  now_ = now;
  settle_roots();
  while (!jobs_.empty()) {
    const auto next = jobs_.front();
    jobs_.pop_front();
    scan(next);
  }
}

void watch_tree::settle_roots() {
  for (auto& path : std::exchange(unsettled_, {})) {
    if (auto r = roots_.find(path); r != roots_.end()) settle_root(path, r->second);
  }
}

void watch_tree::run_jobs(const stop_flag& stop) {
  const auto begun = std::chrono::steady_clock::now();
  while (!jobs_.empty()) {
    const auto next = jobs_.front();
    jobs_.pop_front();
    scan(next);
    if (stop.requested() || std::chrono::steady_clock::now() - begun > slice) return;
  }
}

void watch_tree::poll_roots(clock_point now) {
  if (now < next_poll_ || !jobs_.empty()) return;
  binary_round_ = now >= next_binary_poll_;
  next_poll_ = now + options_.interval;
  if (binary_round_) next_binary_poll_ = now + options_.binary_interval;
  if (ready_) look_at_everything();
}

void watch_tree::look_at_everything() {
  while (!homeless_.empty()) expire_homeless(homeless_.begin());
  for (auto& [directory, anchor] : anchors_) {
    if (system_) watch_entry(*anchor, directory);
  }
  std::vector<std::pair<tree_entry*, std::string>> direct;
  for (auto& [path, r] : roots_) {
    if (r.anchor == nullptr || !r.direct) {
      unsettled_.push_back(path);
    } else {
      direct.emplace_back(r.anchor, r.awaited);
    }
  }
  for (auto& [anchor, name] : direct) check(*anchor, name, {.deep = true});
}

// ------------------------------------------------------------------ watched paths

bool watch_tree::add_root(const std::string& path) {
  if (roots_.contains(path)) return false;
  if (!left_out_.contains(path) && find_entry(path) != nullptr) return false;
  left_out_.erase(path);
  roots_.emplace(path, root{.initial = true});
  unsettled_.push_back(path);
  return true;
}

bool watch_tree::remove_root(const std::string& path) {
  bool was = false;
  if (auto at = roots_.find(path); at != roots_.end()) {
    was = true;
    auto& r = at->second;
    auto* e = r.anchor != nullptr && r.direct ? entry_in(*r.anchor, r.awaited) : nullptr;
    if (e != nullptr) discard(take_out(*e));
    leave_anchor(r);
    far_roots_.erase(path);
    roots_.erase(at);
  }
  if (auto* e = find_entry(path); e != nullptr && !e->anchor) {
    was = true;
    discard(take_out(*e));
  }
  if (!was) return false;
  if (covers(path)) left_out_.insert(path);
  settler_.forget(path);
  return true;
}

/// Whether `path` lies below something that is watched.
bool watch_tree::covers(const std::string& path) const {
  return std::any_of(roots_.begin(), roots_.end(), [&](auto& each) { return is_within(path, each.first); });
}

tree_entry* watch_tree::find_entry(const std::string& path) const {
  for (auto& [top, r] : roots_) {
    if (r.anchor == nullptr || !r.direct || !is_within(path, top)) continue;
    auto* e = entry_in(*r.anchor, r.awaited);
    std::size_t at = top.size();
    while (e != nullptr && at < path.size()) {
      const auto start = path[at] == '/' ? at + 1 : at;
      const auto end = std::min(path.find('/', start), path.size());
      e = entry_in(*e, std::string_view(path).substr(start, end - start));
      at = end;
    }
    if (e != nullptr) return e;
  }
  return nullptr;
}

std::vector<std::string> watch_tree::roots() const {
  std::vector<std::string> all;
  all.reserve(roots_.size());
  for (auto& [path, r] : roots_) all.push_back(path);
  return all;
}

std::map<std::string, std::vector<std::string>> watch_tree::watched() const {
  std::map<std::string, std::vector<std::string>> all;
  std::vector<const tree_entry*> open;
  open.reserve(anchors_.size());
  for (auto& [path, anchor] : anchors_) open.push_back(anchor.get());
  while (!open.empty()) {
    const auto& directory = *open.back();
    open.pop_back();
    auto& names = all[path_of(directory)];
    for (auto* each : in_order(directory)) {
      names.push_back(each->name);
      if (each->mark.is_directory()) open.push_back(each);
    }
  }
  return all;
}

/// Finds the nearest directory there is, from which the path can be seen to come.
void watch_tree::settle_root(const std::string& path, root& r) {
  leave_anchor(r);
  far_roots_.erase(path);
  const bool initial = std::exchange(r.initial, false);
  const auto directory = parent_of(path);
  for (int tries = 0; tries < 64; ++tries) {
    std::string nearest = directory;
    tree_entry* anchor = anchor_at(nearest);
    while (anchor == nullptr && nearest != "/") {
      nearest = parent_of(nearest);
      anchor = anchor_at(nearest);
    }
    if (anchor == nullptr) return;
    r.anchor = anchor;
    ++anchor->uses;
    r.direct = nearest == directory;
    r.awaited = r.direct ? std::string(name_in(path)) : component_below(path, nearest);
    if (r.direct) {
      check(*anchor, r.awaited, {.initial = initial, .deep = !initial});
      return;
    }
    if (!stat_now("watch", joined(nearest, r.awaited), 0)) {  // its coming will be seen
      far_roots_.insert(path);
      return;
    }
    leave_anchor(r);
  }
}

tree_entry* watch_tree::anchor_at(const std::string& directory) {
  if (auto at = anchors_.find(directory); at != anchors_.end()) return at->second.get();
  const auto is = stat_now("watch", directory, 0);
  if (!options_.use_polling && (!is || !is->is_directory())) return nullptr;
  auto made = std::make_unique<tree_entry>();
  made->name = directory;
  made->anchor = true;
  made->through_link = true;
  if (is) made->mark = file_mark(*is);
  made->mark.mode = S_IFDIR;
  made->entries = std::make_unique<tree_entries>();
  auto& anchor = *anchors_.emplace(directory, std::move(made)).first->second;
  if (system_ && !watch_entry(anchor, directory) && !stat_now("watch", directory, 0)) {
    anchors_.erase(directory);
    return nullptr;
  }
  return &anchor;
}

void watch_tree::leave_anchor(root& r) {
  auto* anchor = std::exchange(r.anchor, nullptr);
  if (anchor == nullptr || --anchor->uses != 0) return;
  const auto from_here = [&](const homeless& each) { return each.from == anchor; };
  for (auto at = homeless_.begin(); at != homeless_.end();) {
    at = std::find_if(at, homeless_.end(), from_here);
    if (at == homeless_.end()) break;
    expire_homeless(at);
    at = homeless_.begin();
  }
  unwatch_entry(*anchor);
  anchors_.erase(std::string(anchor->name));
}

/// The directory has gone or moved: the paths in it are gone, until they come again.
void watch_tree::drop_anchor(tree_entry& anchor) {
  std::vector<root*> left;
  for (auto& [path, r] : roots_) {
    if (r.anchor != &anchor) continue;
    left.push_back(&r);
    unsettled_.push_back(path);
    auto* e = r.direct ? entry_in(anchor, r.awaited) : nullptr;
    if (e == nullptr) continue;
    tell_gone(*e, path);
    discard(take_out(*e));
  }
  for (auto* r : left) leave_anchor(*r);
}

// ------------------------------------------------------------------ hints

void watch_tree::read_hints() {
  bool overflow = false;
  const auto keep = [&](const inotify_record& record) {
    if ((record.mask & IN_Q_OVERFLOW) != 0) {
      overflow = true;
      return;
    }
    for (std::size_t back = 1; back <= std::min(look_back, hints_.size()); ++back) {
      auto& earlier = hints_[hints_.size() - back];
      if (earlier.watch != record.watch || earlier.name != record.name) continue;
      if (((earlier.mask | record.mask) & (moves | IN_IGNORED)) != 0) break;
      earlier.mask |= record.mask;
      return;
    }
    hints_.push_back({record.watch, record.mask, std::string(record.name)});
  };
  for (int i = 0; i < reads_at_once && system_->read(keep); ++i) {
  }
  if (!overflow) return;
  overflows_.fetch_add(1, std::memory_order_relaxed);
  look_at_everything();
}

void watch_tree::take_hint(const hint& given) {
  if ((given.mask & IN_IGNORED) != 0) return watch_lost(given.watch);
  auto at = users_.find(given.watch);
  if (at == users_.end()) return;
  if (at->second->next_of_watch == nullptr) return hint_for(*at->second, given);
  std::vector<tree_entry*> all;
  for (auto* each = at->second; each != nullptr; each = each->next_of_watch) all.push_back(each);
  for (auto* each : all) {
    at = users_.find(given.watch);
    auto* user = at != users_.end() ? at->second : nullptr;
    while (user != nullptr && user != each) user = user->next_of_watch;
    if (user != nullptr) hint_for(*user, given);
  }
}

void watch_tree::hint_for(tree_entry& user, const hint& given) {
  if (!is_home(user)) return;  // it is looked into again when it is
  if (given.name.empty()) {
    if (user.anchor) {
      if ((given.mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) drop_anchor(user);
    } else if (user.through_link || user.parent->watch < 0) {  // else the one above tells
      check(*user.parent, std::string(user.name), {.mask = given.mask});
    }
    return;
  }
  if (user.anchor) {
    hint_for_anchor(user, given);
  } else {
    check(user, given.name, {.mask = given.mask});
  }
}

void watch_tree::hint_for_anchor(tree_entry& anchor, const hint& given) {
  const auto path = joined(anchor.name, given.name);
  if (auto r = roots_.find(path); r != roots_.end() && r->second.anchor == &anchor) {
    check(anchor, given.name, {.mask = given.mask});
  }
  for (auto& far : far_roots_) {
    const auto& r = roots_.at(far);
    if (r.anchor == &anchor && r.awaited == given.name) unsettled_.push_back(far);
  }
}

/// The kernel has dropped a watch: what it was of has been deleted or unmounted.
void watch_tree::watch_lost(int watch) {
  auto at = users_.find(watch);
  if (at == users_.end()) return;
  std::vector<tree_entry*> anchors;
  std::vector<std::pair<tree_entry*, std::string>> entries;
  for (auto* each = at->second; each != nullptr;) {
    auto* next = std::exchange(each->next_of_watch, nullptr);
    each->watch = -1;
    if (each->anchor) {
      anchors.push_back(each);
    } else if (is_home(*each)) {
      entries.emplace_back(each->parent, each->name);
    }
    each = next;
  }
  users_.erase(at);
  for (auto& [directory, name] : entries) check(*directory, name, {});
  for (auto* each : anchors) drop_anchor(*each);
}

// ------------------------------------------------------------------ looking at a name

tree_entry* watch_tree::check(tree_entry& directory, std::string_view name, const look& how) {
  const auto path = joined(path_of(directory), name);
  if (!directory.anchor) {
    if (left_out_.contains(path) || (roots_.size() > 1 && roots_.contains(path))) return nullptr;
    if (is_ignored(directory, path, name)) return nullptr;
  }
  auto* known = entry_in(directory, name);
  if (known != nullptr && how.scanning && !due_for_poll(*known)) return known;
  const auto seen = look_up(path);
  if (seen.unknown) return known;
  if (known != nullptr) return compare(*known, path, seen, how);
  if (!seen.is) return nullptr;
  return add_entry(directory, name, path, seen, how);
}

watch_tree::found watch_tree::look_up(const std::string& path) {
  auto own = stat_now("lstat", path, AT_SYMLINK_NOFOLLOW);
  if (!own) {
    if (is_absence(own.failure())) return {};
    report(path, own.failure());
    return {.unknown = true};
  }
  if (!own->is_symbolic_link() || !options_.follow_symlinks) return {.is = *own};
  auto target = stat_now("stat", path, 0);
  if (!target) return {.is = *own};  // it leads nowhere, or in a circle
  return {.is = *target, .through_link = true};
}

tree_entry* watch_tree::compare(tree_entry& e, const std::string& path, const found& seen, const look& how) {
  auto& directory = *e.parent;
  const bool moved = (how.mask & IN_MOVED_FROM) != 0;
  if (!seen.is) {
    vanish(e, path, moved);
    return nullptr;
  }
  const auto& is = *seen.is;
  const file_mark mark(is);
  if (!e.mark.same_file(mark) && (e.mark.is_directory() || mark.is_directory())) {
    const std::string name = e.name;
    vanish(e, path, moved);
    if (!moved) return add_entry(directory, name, path, seen, how);
    hints_.push_back({directory.watch, IN_CREATE, name});  // when it is known where the other one has gone
    return nullptr;
  }
  const bool another = !e.mark.same_file(mark);
  if (e.mark.is_directory()) {
    if (options_.attributes && e.mark.mode != mark.mode) settler_.changed(path, e.mark, is, false, now_);
    if (how.deep || (system_ && e.watch < 0)) queue(e, how.deep, how.initial);
  } else {
    const bool touched = e.mark.ctime != mark.ctime;
    const bool written = another || ((how.mask & IN_MODIFY) != 0 && (touched || e.fresh_mark));
    if (written || !e.mark.same_content(mark) || (touched && options_.attributes)) {
      settler_.changed(path, e.mark, is, written, now_);
    }
    if (another) unwatch_entry(e);
    e.through_link = seen.through_link;
    if (system_ && e.through_link && e.watch < 0) watch_entry(e, path);
  }
  set_mark(e, is);
  return &e;
}

void watch_tree::vanish(tree_entry& e, const std::string& path, bool may_come_back) {
  auto* directory = e.parent;
  if (may_come_back) {
    homeless_.push_back({take_out(e), directory, now_ + both_halves});
    return;
  }
  tell_gone(e, path);
  discard(take_out(e));
}

tree_entry* watch_tree::add_entry(tree_entry& directory, std::string_view name, const std::string& path,
                                  const found& seen, const look& how) {
  const file_mark mark(*seen.is);
  const auto left = std::find_if(homeless_.begin(), homeless_.end(), [&](const homeless& each) {
    return each.from == &directory && each.entry->name == name && !each.entry->mark.same_file(mark);
  });
  if (left != homeless_.end()) expire_homeless(left);
  if (auto* back = bring_home(directory, name, path, seen)) return back;
  auto made = std::make_unique<tree_entry>();
  auto& e = *made;
  e.parent = &directory;
  e.name = name;
  e.through_link = seen.through_link;
  set_mark(e, *seen.is);
  if (e.mark.is_directory()) e.entries = std::make_unique<tree_entries>();
  directory.entries->insert(std::move(made));
  if (how.initial) {
    settler_.initial(path, *seen.is);
  } else {
    settler_.appeared(path, *seen.is, now_);
  }
  if (e.mark.is_directory()) {
    if (wants_to_enter(e)) queue(e, false, how.initial);
  } else if (system_ && e.through_link) {
    watch_entry(e, path);
  }
  return &e;
}

/// If it is something that has just left another place: a move.
tree_entry* watch_tree::bring_home(tree_entry& directory, std::string_view name, const std::string& path,
                                   const found& seen) {
  const file_mark mark(*seen.is);
  const auto which = std::find_if(homeless_.begin(), homeless_.end(), [&](const homeless& each) {
    return each.entry->mark.same_file(mark) && each.entry->through_link == seen.through_link && is_home(*each.from);
  });
  if (which == homeless_.end()) return nullptr;
  const auto from = joined(path_of(*which->from), which->entry->name);
  auto owned = std::move(which->entry);
  homeless_.erase(which);
  auto& e = *owned;
  const auto before = e.mark;
  const bool is_directory = before.is_directory();
  if (from != path && !options_.renames) tell_gone(e, from);
  e.parent = &directory;
  e.name = name;
  directory.entries->insert(std::move(owned));
  set_mark(e, *seen.is);
  if (from == path) {
    if (!before.same_content(mark)) settler_.changed(path, before, *seen.is, true, now_);
  } else if (!options_.renames) {
    tell_new(e, path);
  } else if (is_directory) {
    settler_.moved_directory(from, path, before, *seen.is, now_);
  } else {
    settler_.moved(from, path, before, *seen.is, now_);
  }
  if (is_directory && wants_to_enter(e)) queue(e, true, false);  // what has happened in it meanwhile
  return &e;
}

/// It has not come to another place: it is gone.
void watch_tree::expire_homeless(std::list<homeless>::iterator which) {
  const auto* top = which->from;
  while (top->parent != nullptr) top = top->parent;
  if (!top->anchor) {  // what it was in has left as well, and goes with it
    which = std::find_if(homeless_.begin(), homeless_.end(), [&](auto& each) { return each.entry.get() == top; });
    return expire_homeless(which);
  }
  auto owned = std::move(which->entry);
  const auto path = joined(path_of(*which->from), owned->name);
  homeless_.erase(which);
  tell_gone(*owned, path);
  discard(std::move(owned));
}

void watch_tree::expire_homeless(clock_point now) {
  const auto due = [&](const homeless& each) { return each.until <= now && is_home(*each.from); };
  for (auto at = homeless_.begin(); at != homeless_.end();) {
    at = std::find_if(at, homeless_.end(), due);
    if (at == homeless_.end()) return;
    expire_homeless(at);
    at = homeless_.begin();
  }
}

// ------------------------------------------------------------------ looking into a directory

void watch_tree::queue(tree_entry& directory, bool deep, bool initial) {
  if (!wants_to_enter(directory)) return;
  if (!std::exchange(directory.queued, true)) {
    jobs_.push_back({&directory, deep, initial});
    return;
  }
  if (!deep) return;
  for (auto& each : jobs_) each.deep |= each.directory == &directory;
}

/// Watches it first, then looks: what comes in between is seen twice, and is the same.
void watch_tree::scan(const job& given) {
  auto& directory = *given.directory;
  directory.queued = false;
  if (!is_home(directory)) return;
  const auto path = path_of(directory);
  if (system_) watch_entry(directory, path);
  directory_reader reader;
  if (const int why = reader.open(AT_FDCWD, path.c_str(), directory.through_link ? 0 : O_NOFOLLOW)) {
    const failure refused = os_error(why, "scandir", path);
    if (!is_absence(refused) && !refused.is("ELOOP")) report(path, refused);
    return;
  }
  const auto round = ++round_;
  const look how{.initial = given.initial, .deep = given.deep, .scanning = true};
  directory_reader::entry found;
  while (reader.next(found)) {
    if (auto* e = check(directory, found.name, how)) e->round = round;
  }
  std::vector<std::string> missing;
  for (auto* each : in_order(directory)) {
    if (each->round != round) missing.push_back(each->name);
  }
  for (auto& name : missing) check(directory, name, {.deep = given.deep});
}

// ------------------------------------------------------------------ entries

std::string watch_tree::path_of(const tree_entry& e) const {
  if (e.parent == nullptr) return e.name;
  return joined(path_of(*e.parent), e.name);
}

/// 0 for a watched path itself.
unsigned watch_tree::level_of(const tree_entry& e) const noexcept {
  unsigned level = 0;
  for (const auto* each = &e; each->parent != nullptr && !each->parent->anchor; each = each->parent) ++level;
  return level;
}

bool watch_tree::wants_to_enter(const tree_entry& e) const noexcept {
  if (level_of(e) > options_.depth) return false;
  if (!e.through_link) return true;
  for (const auto* above = e.parent; above != nullptr; above = above->parent) {
    if (above->mark.ino == e.mark.ino && above->mark.dev == e.mark.dev) return false;
  }
  return true;
}

bool watch_tree::is_ignored(const tree_entry& directory, const std::string& path, std::string_view name) {
  if (options_.ignore && options_.ignore(path)) return true;
  if (ignored_.empty()) return false;
  std::string relative(name);
  for (const auto* each = &directory; each->parent != nullptr && !each->parent->anchor; each = each->parent) {
    relative = joined(each->name, relative);
  }
  return std::any_of(ignored_.begin(), ignored_.end(),
                     [&](const glob_pattern& pattern) { return pattern.matches(relative) || pattern.matches(path); });
}

bool watch_tree::due_for_poll(const tree_entry& e) const {
  return binary_round_ || !options_.use_polling || e.mark.is_directory() || !is_binary(e.name);
}

void watch_tree::set_mark(tree_entry& e, const file_stat& is) const {
  e.mark = file_mark(is);
  e.fresh_mark = std::chrono::system_clock::now() - is.ctime < clock_step;
}

bool watch_tree::watch_entry(tree_entry& e, const std::string& path) {
  const auto mask = e.mark.is_directory() ? directory_mask : file_mask;
  const auto watch = system_->add(path, mask | (e.through_link ? 0U : IN_DONT_FOLLOW));
  if (!watch) {
    const bool limit = watch.failure().is("ENOSPC");
    if (is_absence(watch.failure()) || watch.failure().is("ELOOP")) return false;
    if (!limit || !std::exchange(limit_told_, true)) report(path, watch.failure());
    return false;
  }
  limit_told_ = false;
  if (e.watch == *watch) return true;
  unwatch_entry(e);
  e.watch = *watch;
  auto& first = users_[*watch];
  e.next_of_watch = std::exchange(first, &e);
  return true;
}

void watch_tree::unwatch_entry(tree_entry& e) noexcept {
  const int watch = std::exchange(e.watch, -1);
  auto at = users_.find(watch);
  if (watch < 0 || at == users_.end()) return;
  auto** link = &at->second;
  while (*link != nullptr && *link != &e) link = &(*link)->next_of_watch;
  if (*link != nullptr) *link = std::exchange(e.next_of_watch, nullptr);
  if (at->second != nullptr) return;
  users_.erase(at);
  system_->remove(watch);
}

void watch_tree::tell_gone(tree_entry& e, const std::string& path) {
  for (auto* each : in_order(e)) tell_gone(*each, joined(path, each->name));
  for (auto at = homeless_.begin(); at != homeless_.end();) {
    auto each = at++;
    if (each->from != &e) continue;
    auto owned = std::move(each->entry);
    homeless_.erase(each);
    tell_gone(*owned, joined(path, owned->name));
    discard(std::move(owned));
    at = homeless_.begin();
  }
  settler_.gone(path, e.mark, now_);
}

void watch_tree::tell_new(tree_entry& e, const std::string& path) {
  auto is = stat_now("stat", path, e.through_link ? 0 : AT_SYMLINK_NOFOLLOW);
  if (!is || !e.mark.same_file(file_mark(*is))) is = e.mark.as_stat();  // that it is another by now is told later
  settler_.appeared(path, *is, now_);
  for (auto* each : in_order(e)) tell_new(*each, joined(path, each->name));
}

std::unique_ptr<tree_entry> watch_tree::take_out(tree_entry& e) {
  auto node = e.parent->entries->extract(e.parent->entries->find(std::string_view(e.name)));
  auto owned = std::move(node.value());
  owned->parent = nullptr;
  return owned;
}

/// Nothing refers to it or to what is in it afterwards.
void watch_tree::discard(std::unique_ptr<tree_entry> e) noexcept {
  std::vector<tree_entry*> open{e.get()};
  while (!open.empty()) {
    auto& each = *open.back();
    open.pop_back();
    unwatch_entry(each);
    if (each.queued) std::erase_if(jobs_, [&](const job& j) { return j.directory == &each; });
    for (auto at = homeless_.begin(); at != homeless_.end();) {
      auto lost = at++;
      if (lost->from != &each) continue;
      auto owned = std::move(lost->entry);
      homeless_.erase(lost);
      discard(std::move(owned));
      at = homeless_.begin();
    }
    if (!each.entries) continue;
    for (auto& inside : *each.entries) open.push_back(inside.get());
  }
}

void watch_tree::report(const std::string& path, const failure& why) {
  const bool permission = why.is("EACCES") || why.is("EPERM");
  if (!permission || !options_.ignore_permission_errors) settler_.failed(path, why);
}

}  // namespace weir::fs::detail
