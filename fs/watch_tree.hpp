// fs/watch_tree.hpp: what a watcher knows of the disk: every entry below the watched paths with its marks, and which
// inotify watch belongs to which directory. Private to fs. Records of the kernel are hints only: each makes it look at
// the name again and tell the settler the difference, so lag, loss and repetition change nothing. Used by one thread at
// a time, one that may wait for the disk.
#pragma once

#include <weir/fs/glob_pattern.hpp>
#include <weir/fs/inotify.hpp>
#include <weir/fs/watch_settler.hpp>
#include <weir/fs/watcher.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace weir::fs::detail {

struct tree_entry;

struct entry_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>()(name); }
  std::size_t operator()(const std::unique_ptr<tree_entry>& e) const noexcept;
};
struct entry_equal {
  using is_transparent = void;
  static std::string_view name(std::string_view given) noexcept { return given; }
  static std::string_view name(const std::unique_ptr<tree_entry>& e) noexcept;
  template <class A, class B>
  bool operator()(const A& a, const B& b) const noexcept {
    return name(a) == name(b);
  }
};
using tree_entries = std::unordered_set<std::unique_ptr<tree_entry>, entry_hash, entry_equal>;

/// A file or directory. An anchor is a directory that watched paths lie in: not told of itself, and of its entries only
/// those are.
struct tree_entry {
  tree_entry* parent = nullptr;  ///< null for an anchor, whose name is a whole path
  std::string name;
  file_mark mark;
  std::unique_ptr<tree_entries> entries;  ///< of a directory
  tree_entry* next_of_watch = nullptr;    ///< the same inode may be reached by several paths
  int watch = -1;
  std::uint32_t round = 0;  ///< the look that saw it last
  std::uint32_t uses = 0;   ///< of an anchor: watched paths in it
  bool anchor = false;
  bool through_link = false;
  bool fresh_mark = false;  ///< another write may have left the same marks
  bool queued = false;      ///< to be looked into
};

class watch_tree {
 public:
  using clock_point = std::chrono::steady_clock::time_point;

  /// @throws weir::error as `watcher` does
  watch_tree(watcher_options options, std::deque<watch_event>& out);
  ~watch_tree();

  int descriptor() const noexcept { return system_ ? system_->descriptor() : -1; }

  bool add_root(const std::string& path);
  bool remove_root(const std::string& path);
  /// Looks at the paths that were added, now and completely.
  void take_up(clock_point now);
  std::vector<std::string> roots() const;
  std::map<std::string, std::vector<std::string>> watched() const;

  struct turn_outcome {
    bool more = false;  ///< there is work left: it did not want to take too long
    std::optional<clock_point> due = {};
  };
  /// Takes what the kernel has, looks at what has to be looked at, and tells what is due.
  turn_outcome turn(clock_point now, const stop_flag& stop);

  bool is_ready() const noexcept { return ready_; }
  std::uint64_t overflows() const noexcept { return overflows_.load(std::memory_order_relaxed); }
  void close() noexcept;

 private:
  struct hint {
    int watch;
    std::uint32_t mask;
    std::string name;
  };
  struct root {
    tree_entry* anchor = nullptr;
    std::string awaited;  ///< the entry of the anchor that leads to it
    bool direct = false;  ///< that is the path itself
    bool initial = false;
  };
  struct homeless {  // it has left one place, and may be about to come to another
    std::unique_ptr<tree_entry> entry;
    tree_entry* from;
    clock_point until;
  };
  struct found {
    std::optional<file_stat> is = {};
    bool through_link = false;
    bool unknown = false;  ///< it could not be looked at
  };
  struct job {
    tree_entry* directory;
    bool deep;
    bool initial;
  };
  struct look {  // how a name is looked at
    std::uint32_t mask = 0;
    bool initial = false;
    bool deep = false;
    bool scanning = false;
  };

  // roots
  void settle_roots();
  void settle_root(const std::string& path, root& r);
  tree_entry* anchor_at(const std::string& directory);
  tree_entry* find_entry(const std::string& path) const;
  bool covers(const std::string& path) const;
  void leave_anchor(root& r);
  void drop_anchor(tree_entry& anchor);

  // hints
  void read_hints();
  void take_hint(const hint& given);
  void hint_for(tree_entry& user, const hint& given);
  void hint_for_anchor(tree_entry& anchor, const hint& given);
  void watch_lost(int watch);
  void look_at_everything();
  void poll_roots(clock_point now);

  // looking
  tree_entry* check(tree_entry& directory, std::string_view name, const look& how);
  tree_entry* compare(tree_entry& e, const std::string& path, const found& seen, const look& how);
  void vanish(tree_entry& e, const std::string& path, bool may_come_back);
  tree_entry* add_entry(tree_entry& directory, std::string_view name, const std::string& path, const found& seen,
                        const look& how);
  tree_entry* bring_home(tree_entry& directory, std::string_view name, const std::string& path, const found& seen);
  found look_up(const std::string& path);
  void scan(const job& given);
  void run_jobs(const stop_flag& stop);
  void queue(tree_entry& directory, bool deep, bool initial);

  // entries
  std::string path_of(const tree_entry& e) const;
  unsigned level_of(const tree_entry& e) const noexcept;
  bool wants_to_enter(const tree_entry& e) const noexcept;
  bool is_ignored(const tree_entry& directory, const std::string& path, std::string_view name);
  bool watch_entry(tree_entry& e, const std::string& path);
  void unwatch_entry(tree_entry& e) noexcept;
  void tell_gone(tree_entry& e, const std::string& path);
  void tell_new(tree_entry& e, const std::string& path);
  void discard(std::unique_ptr<tree_entry> e) noexcept;
  std::unique_ptr<tree_entry> take_out(tree_entry& e);
  void expire_homeless(std::list<homeless>::iterator which);
  void expire_homeless(clock_point now);
  void set_mark(tree_entry& e, const file_stat& is) const;
  void report(const std::string& path, const failure& why);
  bool due_for_poll(const tree_entry& e) const;

  watcher_options options_;
  watch_settler settler_;
  std::optional<inotify> system_;
  std::vector<glob_pattern> ignored_;
  std::map<std::string, root> roots_;
  std::map<std::string, std::unique_ptr<tree_entry>> anchors_;
  std::set<std::string> far_roots_;  // those whose directory does not exist
  std::set<std::string> left_out_;   // unwatched below a root
  std::unordered_map<int, tree_entry*> users_;
  std::vector<hint> hints_;
  std::deque<job> jobs_;
  std::list<homeless> homeless_;
  std::vector<std::string> unsettled_;  // roots to be found again
  clock_point now_ = {};
  clock_point next_poll_ = {};
  clock_point next_binary_poll_ = {};
  bool binary_round_ = true;
  std::uint32_t round_ = 0;
  bool ready_ = false;
  bool limit_told_ = false;
  std::atomic<std::uint64_t> overflows_{0};
};

}  // namespace weir::fs::detail
