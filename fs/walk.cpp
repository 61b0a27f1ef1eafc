#include <weir/fs/walk.hpp>

#include <weir/core/combine.hpp>
#include <weir/fs/error.hpp>
#include <weir/fs/tree.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

namespace weir::fs {
namespace detail {
namespace {

// Descriptors that a walk keeps so that what is below them is found without its whole path.
constexpr int most_held = 200;
// Entries for each thread and hop: the first ones soon, then as many as make the way there and back cheap.
constexpr std::size_t first_quota = 128;
constexpr std::size_t full_quota = 4096;

/// A directory that has been read and whose subdirectories have not.
class held_directory {
 public:
  held_directory(io::descriptor opened, std::atomic<int>& count) noexcept : fd_(std::move(opened)), count_(count) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  held_directory(const held_directory&) = delete;
  held_directory& operator=(const held_directory&) = delete;
  ~held_directory() { count_.fetch_sub(1, std::memory_order_relaxed); }
  int fd() const noexcept { return fd_.get(); }

 private:
  io::descriptor fd_;
  std::atomic<int>& count_;
};

/// The directories that one is below, for the sake of loops.
struct lineage {
  file_id id;
  std::shared_ptr<const lineage> above;

  static bool has(const lineage* from, const file_id& wanted) noexcept {
    for (; from != nullptr; from = from->above.get())
      if (from->id == wanted) return true;
    return false;
  }
};

/// A directory that is to be read.
struct unread {
  std::string path;
  std::uint32_t name_at = 0;
  std::uint32_t depth = 0;  // of what is in it
  std::shared_ptr<held_directory> parent = {};
  std::shared_ptr<const lineage> above = {};
};

struct judged {
  walk_entry entry;
  bool given = true;
  bool entered = false;
};

/// One thread's part of a walk.
struct walk_part {
  /// What was found in one directory at a time. A directory is read after the one that it is in, so its number is
  /// greater.
  struct stretch {
    std::uint64_t number;
    std::size_t begin;  // in `found`, up to the next
  };

  directory_reader reader;
  unread now;
  std::vector<unread> below;  // of what is being read
  std::vector<walk_entry> found;
  std::vector<stretch> stretches;
};

/// The entries that several parts have found: a directory before what is below it.
class harvest {
 public:
  void add(walk_part& part) {
    for (std::size_t i = 0; i < part.stretches.size(); ++i) {
      const auto end = i + 1 < part.stretches.size() ? part.stretches[i + 1].begin : part.found.size();
      rows_.push_back({part.stretches[i].number, part.found.data() + part.stretches[i].begin, part.found.data() + end});
    }
  }
  void sort() {
    std::sort(rows_.begin(), rows_.end(), [](auto& a, auto& b) { return a.number < b.number; });
  }
  /// The next one, or null.
  walk_entry* next() noexcept {
    while (row_ < rows_.size() && rows_[row_].at == rows_[row_].end) ++row_;
    return row_ < rows_.size() ? rows_[row_].at++ : nullptr;
  }

 private:
  struct row {
    std::uint64_t number;
    walk_entry* at;
    walk_entry* end;
  };
  std::vector<row> rows_;
  std::size_t row_ = 0;
};

/// A directory of a sorted walk.
struct level {
  std::vector<judged> entries;
  std::size_t at = 0;
  std::shared_ptr<held_directory> handle = {};
  std::shared_ptr<const lineage> line = {};
};

class walker {
 public:
  walker(walk_root root, walk_options options);
  walker(const walker&) = delete;
  walker& operator=(const walker&) = delete;

  /// How many calls of `step` the next hop is worth, and for which parts. What the last one found is gone then.
  unsigned plan(std::array<unsigned, 64>& parts);
  result<void> step(unsigned index, std::size_t quota, const stop_flag& stop);
  bool more() const;
  /// What the last hop has found; valid until the next.
  harvest reap();
  void throw_failure() const;

  result<std::vector<walk_entry>> all(const stop_flag& stop);

 private:
  using walk_crew = crew<unread, walk_part>;

  bool begin(walk_part& part, unread&& directory);
  void read_on(walk_part& part, std::size_t quota);
  void end(walk_part& part);
  void fill_sorted(walk_part& part, std::size_t quota, const stop_flag& stop);
  void descend(walk_part& part, unread&& directory);
  judged judge(const walk_part& part, const directory_reader::entry& from) const;
  bool leads_below(const walk_part& part, const directory_reader::entry& from, walk_entry& entry) const;
  std::shared_ptr<held_directory> hold(directory_reader& reader);
  void report(int why, const unread& directory);
  void fail(const error& why);

  walk_options options_;
  walk_root root_;
  std::vector<walk_part> parts_;
  walk_crew crew_;
  const stop_flag* stop_ = nullptr;  // of `all`
  std::vector<level> levels_;
  std::atomic<int> held_{0};
  std::atomic<std::uint64_t> numbers_{0};
  mutable std::mutex mutex_;
  std::optional<failure> failure_;
};

unsigned threads_for(const walk_options& options) {
  if (options.sorted) return 1;
  return std::min(options.threads == 0 ? tree_threads() : options.threads, 64U);
}

walker::walker(walk_root root, walk_options options)
    : options_(std::move(options)),
      root_(std::move(root)),
      parts_(threads_for(options_)),
      crew_(static_cast<unsigned>(parts_.size()), this,
            [](void* self, walk_crew&, unread&& directory, walk_part& part) {
              auto& w = *static_cast<walker*>(self);
              if (!w.begin(part, std::move(directory))) return;
              while (part.reader.is_open() && !w.stop_->requested()) w.read_on(part, part.found.size() + full_quota);
              if (w.stop_->requested()) w.crew_.stop();
            }) {
  if (has_nul(root_.path)) {
    fail(nul_error("path", root_.path));
  } else {
    crew_.add({.path = root_.path, .name_at = 0, .depth = 1});
  }
}

unsigned walker::plan(std::array<unsigned, 64>& parts) {
  for (auto& part : parts_) {
    part.found.clear();
    part.stretches.clear();
  }
  std::size_t waiting = crew_.size();
  unsigned count = 0;
  for (unsigned i = 0; i < parts_.size(); ++i) {
    if (parts_[i].reader.is_open() || (i == 0 && !levels_.empty())) {
      parts[count++] = i;
    } else if (waiting > 0) {
      --waiting;
      parts[count++] = i;
    }
  }
  return count;
}

bool walker::more() const {
  return crew_.size() > 0 || !levels_.empty() ||
         std::any_of(parts_.begin(), parts_.end(), [](auto& each) { return each.reader.is_open(); });
}

harvest walker::reap() {
  harvest all;
  for (auto& part : parts_) all.add(part);
  all.sort();
  return all;
}

result<void> walker::step(unsigned index, std::size_t quota, const stop_flag& stop) {
  auto& part = parts_[index];
  if (options_.sorted) {
    fill_sorted(part, quota, stop);
  } else {
    while (part.found.size() < quota && !stop.requested()) {
      if (part.reader.is_open()) {
        read_on(part, quota);
        continue;
      }
      auto next = crew_.try_take();
      if (!next) break;
      begin(part, std::move(*next));
    }
  }
  if (stop.requested()) return failure(cancelled());
  return {};
}

result<std::vector<walk_entry>> walker::all(const stop_flag& stop) {
  stop_ = &stop;
  auto& mine = parts_.front();
  if (options_.sorted) {
    while (!failure_ && more() && !stop.requested()) fill_sorted(mine, mine.found.size() + full_quota, stop);
  } else {
    crew_.run(mine);
  }
  if (failure_) return *failure_;
  if (stop.requested()) return failure(cancelled());
  if (crew_.others().empty()) return std::move(mine.found);
  harvest found;
  std::size_t count = mine.found.size();
  found.add(mine);
  for (auto& other : crew_.others()) {
    found.add(*other);
    count += other->found.size();
  }
  found.sort();
  std::vector<walk_entry> entries;
  entries.reserve(count);
  while (auto* each = found.next()) entries.push_back(std::move(*each));
  return entries;
}

/// Opens a directory for reading. @return false if there is nothing to read
bool walker::begin(walk_part& part, unread&& directory) {
  const bool at_root = directory.depth == 1;
  const int follow = at_root || options_.follow_symlinks ? 0 : O_NOFOLLOW;
  const int why = directory.parent
                      ? part.reader.open(directory.parent->fd(), directory.path.c_str() + directory.name_at, follow)
                      : part.reader.open(AT_FDCWD, directory.path.c_str(), follow);
  if (why != 0) {
    report(why, directory);
    return false;
  }
  if (options_.follow_symlinks) {
    if (auto id = id_of(part.reader.fd())) {
      directory.above = std::make_shared<const lineage>(lineage{*id, std::move(directory.above)});
    }
  }
  directory.parent.reset();
  part.now = std::move(directory);
  if (part.now.depth > options_.max_depth) part.reader.close();
  return part.reader.is_open();
}

/// Reads until there are `quota` entries, or to the end.
void walker::read_on(walk_part& part, std::size_t quota) {
  part.stretches.push_back({numbers_.fetch_add(1, std::memory_order_relaxed), part.found.size()});
  directory_reader::entry next;
  while (part.found.size() < quota) {
    if (!part.reader.next(next)) {
      end(part);
      return;
    }
    auto found = judge(part, next);
    if (found.entered) {
      part.below.push_back({.path = found.given ? found.entry.path : std::move(found.entry.path),
                            .name_at = found.entry.name_at,
                            .depth = found.entry.depth + 1});
    }
    if (found.given) part.found.push_back(std::move(found.entry));
  }
}

void walker::end(walk_part& part) {
  if (part.reader.error() != 0) report(part.reader.error(), part.now);
  if (part.below.empty()) {
    part.reader.close();
    return;
  }
  auto handle = hold(part.reader);
  for (auto& each : part.below) {
    each.parent = handle;
    each.above = part.now.above;
  }
  crew_.add(part.below);
}

std::shared_ptr<held_directory> walker::hold(directory_reader& reader) {
  auto opened = reader.release();
  if (held_.load(std::memory_order_relaxed) >= most_held) return nullptr;
  return std::make_shared<held_directory>(std::move(opened), held_);
}

judged walker::judge(const walk_part& part, const directory_reader::entry& from) const {
  judged found;
  auto& entry = found.entry;
  const auto& base = part.now.path;
  entry.path.reserve(base.size() + 1 + from.name.size());
  entry.path += base;
  if (base.empty() || base.back() != '/') entry.path += '/';
  entry.name_at = static_cast<std::uint32_t>(entry.path.size());
  entry.path += from.name;
  entry.relative_at = root_.relative_at;
  entry.depth = part.now.depth;
  entry.type = from.type;
  found.entered = from.type == file_type::directory;
  if (from.type == file_type::symlink && options_.follow_symlinks) found.entered = leads_below(part, from, entry);
  auto choice = options_.filter ? options_.filter(entry) : walk_choice::take;
  found.given = choice == walk_choice::take || choice == walk_choice::prune;
  found.entered =
      found.entered && entry.depth < options_.max_depth && (choice == walk_choice::take || choice == walk_choice::skip);
  return found;
}

/// Gives a link the type of what it leads to. @return whether that is a directory to enter
bool walker::leads_below(const walk_part& part, const directory_reader::entry& from, walk_entry& entry) const {
  struct stat target;  // NOLINT: the system fills it in
  if (without_signals([&] { return ::fstatat(part.reader.fd(), from.name.data(), &target, 0); }) < 0) return false;
  const bool directory = S_ISDIR(target.st_mode);
  if (directory && lineage::has(part.now.above.get(), {target.st_dev, target.st_ino})) return false;
  entry.type = type_of_mode(target.st_mode);
  return directory;
}

void walker::fill_sorted(walk_part& part, std::size_t quota, const stop_flag& stop) {
  part.stretches.push_back({numbers_.fetch_add(1, std::memory_order_relaxed), part.found.size()});
  if (auto root = crew_.try_take()) descend(part, std::move(*root));
  while (part.found.size() < quota && !levels_.empty() && !stop.requested()) {
    auto& top = levels_.back();
    if (top.at == top.entries.size()) {
      levels_.pop_back();
      continue;
    }
    auto& next = top.entries[top.at++];
    unread inside;
    if (next.entered) {
      inside = {.path = next.given ? next.entry.path : std::move(next.entry.path),
                .name_at = next.entry.name_at,
                .depth = next.entry.depth + 1,
                .parent = top.handle,
                .above = top.line};
    }
    const bool entered = next.entered;
    if (next.given) part.found.push_back(std::move(next.entry));
    if (entered) descend(part, std::move(inside));
  }
}

/// Reads a whole directory and puts it on top of the levels.
void walker::descend(walk_part& part, unread&& directory) {
  if (!begin(part, std::move(directory))) return;
  level inside;
  directory_reader::entry next;
  bool deeper = false;
  while (part.reader.next(next)) {
    auto found = judge(part, next);
    deeper = deeper || found.entered;
    if (found.given || found.entered) inside.entries.push_back(std::move(found));
  }
  if (part.reader.error() != 0) report(part.reader.error(), part.now);
  std::sort(inside.entries.begin(), inside.entries.end(),
            [](auto& a, auto& b) { return a.entry.name() < b.entry.name(); });
  inside.line = part.now.above;
  if (deeper) {
    inside.handle = hold(part.reader);
  } else {
    part.reader.close();
  }
  levels_.push_back(std::move(inside));
}

void walker::report(int why, const unread& directory) {
  const bool at_root = directory.depth == 1;
  const bool gone = why == ENOENT || why == ENOTDIR || why == ELOOP;  // or something else is there now
  if (gone && !at_root && !options_.follow_symlinks) return;
  if (why == ENOENT && !at_root) return;
  auto made = os_error(why, "scandir", directory.path);
  const bool unreadable = why == EACCES || why == EPERM;
  if (at_root || options_.errors == walk_errors::fail ||
      (options_.errors == walk_errors::skip_unreadable && !unreadable)) {
    fail(made);
  } else if (options_.on_skipped) {
    options_.on_skipped(made);
  }
}

void walker::fail(const error& why) {
  {
    std::lock_guard lock(mutex_);
    if (!failure_) failure_.emplace(why);
  }
  crew_.stop();
}

void walker::throw_failure() const {
  std::lock_guard lock(mutex_);
  if (failure_) failure_->rethrow();
}

task<void> walk_step(walker& w, unsigned part, std::size_t quota) {
  co_await call<void>("getdents64", [&w, part, quota](const stop_flag& stop) { return w.step(part, quota, stop); });
}

task<void> walk_hop(walker& w, std::size_t quota) {
  std::array<unsigned, 64> parts;  // NOLINT: plan fills in as many as it says
  const unsigned count = w.plan(parts);
  if (count == 1) co_return co_await walk_step(w, parts[0], quota);
  std::vector<task<void>> steps;
  steps.reserve(count);
  for (unsigned i = 0; i < count; ++i) steps.push_back(walk_step(w, parts[i], quota));
  co_await weir::all(std::move(steps));
}

}  // namespace

walk_root rooted_at(std::string path) {
  const std::size_t slash = path.empty() || path.back() == '/' ? 0 : 1;
  const auto begins = static_cast<std::uint32_t>(path.size() + slash);
  return {std::move(path), begins};
}

generator<walk_entry> walk_from(walk_root root, walk_options options) {
  walker w(std::move(root), std::move(options));
  w.throw_failure();
  for (auto quota = first_quota; w.more(); quota = std::min(quota * 4, full_quota)) {
    co_await walk_hop(w, quota);
    auto found = w.reap();
    while (auto* each = found.next()) co_yield std::move(*each);
    w.throw_failure();
  }
}

result<std::vector<walk_entry>> walk_now(walk_root root, walk_options options, const stop_flag& stop) {
  return walker(std::move(root), std::move(options)).all(stop);
}

}  // namespace detail

generator<walk_entry> walk(std::string root, walk_options options) {
  return detail::walk_from(detail::rooted_at(std::move(root)), std::move(options));
}

call<std::vector<walk_entry>> walk_all(std::string root, walk_options options) {
  return {"getdents64", [root = std::move(root), options = std::move(options)](const stop_flag& stop) mutable {
            return detail::walk_now(detail::rooted_at(std::move(root)), std::move(options), stop);
          }};
}

}  // namespace weir::fs
