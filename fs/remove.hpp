// fs/remove.hpp: removing files and whole trees. Symbolic links are removed, never followed, not even one that takes a
// directory's place meanwhile: everything is done relative to open directories. Rests on fs/call and fs/tree.
#pragma once

#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace weir::fs {

/// As Node's fs.rm.
struct remove_options {
  /// Directories too, with all that is in them.
  bool recursive = false;
  /// That there is nothing at the path is no failure.
  bool force = false;
  /// With `recursive`: how often to begin again after EBUSY, EMFILE, ENFILE, ENOTEMPTY or EPERM.
  unsigned max_retries = 0;
  /// Before the first of them; each later one waits that much longer than the one before.
  std::chrono::milliseconds retry_delay = std::chrono::milliseconds(100);
  /// That remove at a time; 0: as many as there are CPUs, at most four.
  unsigned threads = 0;
};

/// Removes what is at `path`: a file, a link, a socket, with `recursive` a directory. Ends at the first failure, and
/// when it is cancelled; what is removed by then stays removed. What others take away meanwhile is no failure. Depth
/// is limited by neither the stack nor PATH_MAX nor the number of descriptors.
/// @throws weir::error ENOENT (unless `force`), ENOTDIR (lstat); ERR_FS_EISDIR for a directory without `recursive`;
///         EINVAL for "/" and what ends in "." or ".."; EACCES, EPERM, EROFS, ENOTEMPTY, EBUSY (scandir, unlink, rmdir)
call<void> rm(std::string path, remove_options options = {});

/// Removes all that is in a directory, and keeps it. `force`, `max_retries` and the rest mean what they do above,
/// `recursive` is as if set.
call<void> empty_directory(std::string path, remove_options options = {});

struct sweep_options {
  /// Looks into subdirectories too, and removes those that are empty then and were not changed for as long.
  bool recursive = false;
  /// What time it is; not set: the system's clock, when the call begins.
  std::optional<time_point> now = {};
  /// Told of what could not be removed or looked at; may be called on a thread that may block.
  std::function<void(const error&)> on_skipped = {};
};

/// What a sweep did.
struct sweep_result {
  std::size_t removed = 0;
  std::size_t kept = 0;     ///< younger ones, and directories
  std::size_t skipped = 0;  ///< that could not be removed or looked at
  std::uint64_t bytes = 0;  ///< of the files removed
};

/// Removes the files in a directory whose content has not changed for longer than `age`: temporary files, caches, old
/// logs. A link goes by its own age. Neither a subdirectory nor one who removes the same files meanwhile ends it, nor
/// a file that cannot be removed. A directory that does not exist has nothing to sweep.
/// @throws weir::error ENOTDIR, EACCES (scandir) for the directory itself
call<sweep_result> remove_older(std::string directory, std::chrono::nanoseconds age, sweep_options options = {});

}  // namespace weir::fs
