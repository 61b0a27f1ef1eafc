// fs/poll_watch.hpp: being told that a file changes by asking again and again, as Node's fs.watchFile does
// (https://nodejs.org/api/fs.html#fswatchfilefilename-options-listener): for mounts that tell nothing. Rests on fs/stat
// and timers.
#pragma once

#include <weir/core/task.hpp>
#include <weir/fs/stat.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace weir::fs {

/// All zero where there is (or was) no such file, as in Node: `exists` tells.
struct stat_change {
  file_stat current = {};
  file_stat previous = {};

  bool exists() const noexcept { return current.mode != 0; }
  bool existed() const noexcept { return previous.mode != 0; }
};

struct watch_file_options {
  std::chrono::milliseconds interval = std::chrono::milliseconds(5007);  ///< from one look to the next; at least 1
};

/// A file that is looked at in intervals. It need not exist: what appears later is told.
///
/// `co_await w.next()` completes when size, times, owner, mode or inode differ from the look before, and with nothing
/// once it has been closed. A file that is not there at the first look is told once, with both sides zero. The
/// interval runs from look to look while somebody awaits, and what lies between two looks is one change. Cancelling it
/// loses nothing. One task at a time, on any worker; `close` from any thread. Must outlive `next`.
class poll_watch {
 public:
  static constexpr bool cancel_safe = true;

  explicit poll_watch(std::string path, const watch_file_options& options = {});
  poll_watch(poll_watch&&) noexcept;
  poll_watch& operator=(poll_watch&&) noexcept;
  ~poll_watch();

  task<std::optional<stat_change>> next();
  void close() noexcept;
  bool closed() const noexcept;

  const std::string& path() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// @throws weir::error ERR_OUT_OF_RANGE for an interval below 1 ms; ERR_INVALID_ARG_VALUE for a path with a NUL byte
inline poll_watch watch_file(std::string path, const watch_file_options& options = {}) {
  return poll_watch(std::move(path), options);
}

}  // namespace weir::fs
