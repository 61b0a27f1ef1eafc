// fs/watcher.hpp: being told what becomes of the files below one or several paths: added, changed, renamed, gone, each
// once and in an order that can be replayed. What chokidar does in Node (https://github.com/paulmillr/chokidar), on
// inotify(7) or by polling. Rests on a model of the tree (fs/watch_tree) that every hint of the kernel is checked
// against, so that what was told is what the disk has, also after the kernel lost count.
#pragma once

#include <weir/core/emitter.hpp>
#include <weir/core/task.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

enum class watch_kind : std::uint8_t {
  add,           ///< a file (or anything else that is no directory) is there
  change,        ///< its content, or another file has its name
  unlink,        ///< it is gone
  add_dir,       ///< a directory is there; what is in it comes as events of its own, later
  unlink_dir,    ///< it is gone; so is all that was in it, told before
  rename,        ///< a file has moved within what is watched
  rename_dir,    ///< a directory has, with all that was told of below it
  change_attrs,  ///< permissions, owner or links, if asked for
  ready,         ///< the first look is over: from here on events are about changes
  error,         ///< something could not be watched; the rest is
};

/// "add", "change", "unlink", "addDir", "unlinkDir", "rename", "renameDir", "changeAttrs", "ready", "error".
std::string_view name_of(watch_kind kind) noexcept;

struct watch_event {
  watch_kind kind = watch_kind::ready;
  std::string path = {};                            ///< absolute; for a rename the new one
  std::string from = {};                            ///< of a rename: the old one
  std::optional<file_stat> stats = {};              ///< as of the last look (`always_stat`); none for what is gone
  std::optional<std::uint64_t> previous_size = {};  ///< of a change: bytes before
  std::chrono::system_clock::time_point time = {};  ///< when it was told
  std::optional<failure> why = {};                  ///< of an error

  bool is_directory() const noexcept {
    return kind == watch_kind::add_dir || kind == watch_kind::unlink_dir || kind == watch_kind::rename_dir;
  }
};

/// "[CHANGE] /a/b (12 bytes)", for a log.
std::string to_string(const watch_event& event);

/// What kind of file a path's extension stands for, for build tools: case does not matter.
enum class watch_family : std::uint8_t { other, source, style, markup, config };
watch_family family_of(std::string_view path) noexcept;

/// How long a path has to be quiet before the event is told; of what happens in between the net result is. Zero: told
/// at once.
struct watch_quiet {
  std::chrono::milliseconds add = std::chrono::milliseconds(100);
  std::chrono::milliseconds change = std::chrono::milliseconds(50);
  std::chrono::milliseconds unlink = std::chrono::milliseconds(100);
  std::chrono::milliseconds add_dir = std::chrono::milliseconds(100);
  std::chrono::milliseconds unlink_dir = std::chrono::milliseconds(100);
  std::chrono::milliseconds rename = std::chrono::milliseconds(100);
  /// A path that is never quiet is told of after this long.
  std::chrono::milliseconds longest = std::chrono::milliseconds(1000);
};

/// Additions and changes of files are held until size and time of change have been the same for so long.
struct write_finish {
  std::chrono::milliseconds stability_threshold = std::chrono::milliseconds(2000);
  std::chrono::milliseconds poll_interval = std::chrono::milliseconds(100);
};

struct watcher_options {
  /// What is there at the beginning is not told. False: it is, before `ready`.
  bool ignore_initial = true;
  /// A link counts as what it leads to, which is watched. One that leads to a directory it lies in is not followed.
  bool follow_symlinks = true;
  /// Levels of directories below a watched one that are looked into; 0: only its own entries.
  std::size_t depth = 99;
  /// Never watched nor told of, with all below: absolute path, or name of an entry ("*.tmp", "**/.git").
  std::vector<std::string> ignored = {};
  /// The same by a function of the absolute path, called on threads of the blocking pool, never two at once.
  std::function<bool(std::string_view path)> ignore = {};
  /// Look again and again instead of listening, for mounts that tell nothing (NFS, some containers' host mounts).
  bool use_polling = false;
  std::chrono::milliseconds interval = std::chrono::milliseconds(100);
  std::chrono::milliseconds binary_interval =
      std::chrono::milliseconds(300);  ///< of files that are pictures, archives ...
  bool always_stat = true;
  std::optional<write_finish> await_write_finish = {};
  /// What may not be read is left out silently. False: an `error` event each.
  bool ignore_permission_errors = true;
  /// A file that goes and comes again within 100 ms has changed (editors save like that).
  bool atomic = true;
  /// Moves within what is watched come as one event. False: as one thing gone and another one added.
  bool renames = true;
  /// Tell of permissions, owner and links as well.
  bool attributes = false;
  watch_quiet quiet = {};
};

/// Watches any number of paths; files, directories with all below, and what does not exist yet.
///
/// `co_await w.next()` gives the events in order, and nothing once it has been closed. Replaying them onto the state at
/// `ready` gives the tree on the disk: each thing is told once, directories before what is in them. Nothing runs in
/// between: what happens while nobody awaits waits in the kernel, and where that loses count, everything is looked at
/// again and the difference told.
///
/// Cancelling `next` loses nothing. One task at a time takes events, on any worker; `add`, `unwatch`, `watched` and
/// `close` may be used meanwhile from any task, `close` from any thread. Must outlive the awaits on it.
///
/// A directory costs some 350 bytes here (watch_bench) and about 1 KiB in the kernel; files cost no watch.
class watcher {
 public:
  static constexpr bool cancel_safe = true;

  /// Nothing is looked at before the first `next` or `ready`.
  /// @throws weir::error EMFILE where the user has no inotify instance left; ERR_INVALID_ARG_VALUE for a bad path,
  ///         ERR_OUT_OF_RANGE for a bad interval
  explicit watcher(std::vector<std::string> paths, watcher_options options = {});
  explicit watcher(std::string path, watcher_options options = {});
  watcher(watcher&&) noexcept;
  watcher& operator=(watcher&&) noexcept;
  ~watcher();

  task<std::optional<watch_event>> next();

  /// Completes when the first look is over; events wait for `next`. Not while `next` is awaited.
  task<> ready();

  /// Watches one more path; completes when it has been looked at. @return false if it is watched already (itself, not
  /// as a part of another)
  call<bool> add(std::string path);

  /// Watches a path no more, with all below; tells nothing about it. What waited to be told is dropped.
  /// @return false if it was not watched
  call<bool> unwatch(std::string path);

  /// The directories that are watched, and the names in each (chokidar's getWatched).
  call<std::map<std::string, std::vector<std::string>>> watched();

  /// The paths that were asked for.
  call<std::vector<std::string>> paths();

  /// Gives watches and descriptor back. No event comes after it. Harmless if it is closed. With 10,000 directories the
  /// kernel takes some milliseconds for it, on this thread, or on that of a `next` that it ends.
  void close() noexcept;
  bool closed() const noexcept;

  /// How often the kernel lost count, and everything was looked at again.
  std::uint64_t overflows() const noexcept;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

namespace watch_events {

inline constexpr event_type<const watch_event&> all{"all"};  ///< before the event of its own name
inline constexpr event_type<const watch_event&> add{"add"};
inline constexpr event_type<const watch_event&> change{"change"};
inline constexpr event_type<const watch_event&> unlink{"unlink"};
inline constexpr event_type<const watch_event&> add_dir{"addDir"};
inline constexpr event_type<const watch_event&> unlink_dir{"unlinkDir"};
inline constexpr event_type<const watch_event&> rename{"rename"};
inline constexpr event_type<const watch_event&> rename_dir{"renameDir"};
inline constexpr event_type<const watch_event&> change_attrs{"changeAttrs"};
inline constexpr event_type<const watch_event&> size_change{
    "size.change"};  ///< a change of a file's size, before known
inline constexpr event_type<const watch_event&> source_change{"source.change"};  ///< by `family_of`
inline constexpr event_type<const watch_event&> style_change{"style.change"};
inline constexpr event_type<const watch_event&> template_change{"template.change"};
inline constexpr event_type<const watch_event&> config_change{"config.change"};
inline constexpr event_type<> ready{"ready"};
inline constexpr event_type<> close{"close"};

}  // namespace watch_events

/// Takes the events of `from` and emits them on `to`, until `from` is closed: errors as `error`, the others as `all`
/// and then by name. Both must outlive it; to be run by a task of the emitter's thread.
task<> emit_events(watcher& from, emitter& to);

}  // namespace weir::fs
