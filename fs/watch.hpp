// fs/watch.hpp: being told that one file or directory changes, as Node's fs.watch tells it
// (https://nodejs.org/api/fs.html#fswatchfilename-options-listener): raw, at once, kind and name only. Rests on
// inotify(7). For trees, several paths and events that say what has become of a file there is fs/watcher.hpp.
#pragma once

#include <weir/core/task.hpp>
#include <weir/fs/call.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace weir::fs {

enum class watch_action : std::uint8_t {
  rename,  ///< a name has come or gone
  change,  ///< content or attributes
};

struct watch_notice {
  watch_action action = watch_action::change;
  /// The entry of the directory (with `recursive` its path below it), or the file's own name. Not set where the system
  /// lost count (IN_Q_OVERFLOW): anything may have changed.
  std::optional<std::string> name = {};
};

struct watch_options {
  bool recursive = false;  ///< directories: those below as well, also those made later
  /// Files: go on where another file takes the name, as editors save; Node's watch goes stale then.
  bool follow_replaced = true;
};

/// A watch on one path, and the kernel's queue of what it saw. Nothing runs in between: what happens while nobody
/// awaits waits in the kernel (fs.inotify.max_queued_events, 16384 by default).
///
/// `co_await w.next()` gives the notices in order, and nothing once it has been closed. Cancelling it loses none. One
/// task at a time, on any worker. `close` may be called from any thread: no notice comes after it. Must outlive `next`.
class path_watch {
 public:
  static constexpr bool cancel_safe = true;

  path_watch(path_watch&&) noexcept;
  path_watch& operator=(path_watch&&) noexcept;
  ~path_watch();

  task<std::optional<watch_notice>> next();

  /// Gives watch and descriptor back. Harmless if it is closed.
  void close() noexcept;
  bool closed() const noexcept;

  const std::string& path() const noexcept;

 private:
  struct state;
  friend call<path_watch> watch(std::string path, const watch_options& options);
  explicit path_watch(std::unique_ptr<state> made) noexcept;

  std::unique_ptr<state> state_;
};

/// Begins to watch: what happens after this has completed is told.
/// @throws weir::error "ENOENT: no such file or directory, watch 'x'", EACCES; ENOSPC and EMFILE where the system's
///         limits of watches and instances are reached, with the limit's name
call<path_watch> watch(std::string path, const watch_options& options = {});

}  // namespace weir::fs
