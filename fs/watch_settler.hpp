// fs/watch_settler.hpp: makes events of what a tree has seen: holds each path until it is quiet, and tells the net
// difference. Private to fs. Touches no clock; the disk only for `await_write_finish`. Promises that replaying what it
// told, plus what it holds, gives what it was told.
#pragma once

#include <weir/fs/watcher.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace weir::fs::detail {

/// What makes a file another one, or a changed one.
struct file_mark {
  std::uint64_t dev = 0;
  std::uint64_t ino = 0;
  std::uint64_t size = 0;
  time_point mtime = {};
  time_point ctime = {};
  std::uint32_t mode = 0;

  file_mark() = default;
  explicit file_mark(const file_stat& of) noexcept
      : dev(of.dev), ino(of.ino), size(of.size), mtime(of.mtime), ctime(of.ctime), mode(of.mode) {}

  file_stat as_stat() const noexcept {
    return {.dev = dev, .ino = ino, .mode = mode, .size = size, .mtime = mtime, .ctime = ctime};
  }
  bool is_directory() const noexcept { return type_of_mode(mode) == file_type::directory; }
  bool same_file(const file_mark& other) const noexcept {
    return ino == other.ino && dev == other.dev && type_of_mode(mode) == type_of_mode(other.mode);
  }
  bool same_content(const file_mark& other) const noexcept {
    return same_file(other) && (is_directory() || (size == other.size && mtime == other.mtime));
  }
};

class watch_settler {
 public:
  using clock_point = std::chrono::steady_clock::time_point;

  watch_settler(const watcher_options& options, std::deque<watch_event>& out) : options_(options), out_(out) {}

  /// Something new. `initial`: it was there before, and is told at once or not at all.
  void appeared(const std::string& path, const file_stat& now_is, clock_point now);
  void initial(const std::string& path, const file_stat& now_is);
  /// @param written its content has been written to, whatever the marks say
  void changed(const std::string& path, const file_mark& before, const file_stat& now_is, bool written,
               clock_point now);
  void gone(const std::string& path, const file_mark& before, clock_point now);
  void moved(const std::string& from, const std::string& to, const file_mark& before, const file_stat& now_is,
             clock_point now);
  void moved_directory(const std::string& from, const std::string& to, const file_mark& before, const file_stat& now_is,
                       clock_point now);
  void failed(const std::string& path, failure why);
  void ready();

  /// Tells what is due.
  void settle_due(clock_point now);
  std::optional<clock_point> next_due() const;
  bool empty() const noexcept { return held_.empty(); }

  /// Drops what waits for `path` and below.
  void forget(const std::string& path);

 private:
  struct change;
  using changes = std::map<std::string, change>;
  using schedule = std::multimap<clock_point, changes::iterator>;

  struct change {
    std::optional<file_mark> before;  ///< as it was told; none: not there
    std::optional<file_stat> now_is;
    std::string origin;       ///< it was there before, under this name
    std::string destination;  ///< it is there now
    bool written = false;
    bool attributes = false;
    clock_point since = {};  ///< of the first
    clock_point last = {};   ///< of the last
    schedule::iterator due = {};
  };

  changes::iterator hold(const std::string& path, std::optional<file_mark> before, clock_point now);
  void put_off(changes::iterator which, std::chrono::milliseconds quiet, clock_point now);
  std::chrono::milliseconds quiet_for(const change& held) const noexcept;
  bool still_written(changes::iterator which, clock_point now);
  void settle(changes::iterator which);
  bool settle_move(const std::string& path, change& held);
  void settle_above(const std::string& path);
  void settle_below(const std::string& path);
  void settle_tree(const std::string& path);
  void rekey(const std::string& from, const std::string& to);
  change take(changes::iterator which);
  void tell_new(const std::string& path, const file_stat& now_is);
  void tell_gone(const std::string& path, const file_mark& before);
  void tell(watch_event event);

  const watcher_options& options_;
  std::deque<watch_event>& out_;
  changes held_;
  schedule due_;
};

/// Whether `path` is `directory` or below it.
bool is_within(std::string_view path, std::string_view directory) noexcept;

}  // namespace weir::fs::detail
