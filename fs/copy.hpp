// fs/copy.hpp: copying a file, and a tree. Inside the system wherever it can be: a shared copy (FICLONE), then
// copy_file_range(2), then by reading and writing. Rests on fs/call and fs/tree.
#pragma once

#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weir::fs {

/// How far a copy has come.
struct copy_progress {
  std::string_view path;    ///< the file that is being copied; valid during the call
  std::uint64_t done = 0;   ///< bytes of it, holes included
  std::uint64_t total = 0;  ///< its size
};

/// Whether the copy may share its blocks with the original until one of them is written to.
enum class clone_mode : std::uint8_t {
  automatic,  ///< where the file system can (btrfs, xfs), else its bytes are copied
  never,
  always,  ///< fails where it cannot (Node's COPYFILE_FICLONE_FORCE): ENOTSUP, EXDEV
};

struct copy_options {
  /// EEXIST if there is something at `dest`; else a file there gets the new content.
  bool exclusive = false;
  clone_mode clone = clone_mode::automatic;
  /// Called after each piece of some MiB, and with done == total once at the end, for an empty file too. On the thread
  /// that copies; what it throws ends the copy.
  std::function<void(const copy_progress&)> progress = {};
};

/// Copies a file's content and permissions (without set-user-ID and set-group-ID). Links are followed at both ends.
/// Holes stay holes. A copy of a file onto itself does nothing. What is appended to `src` meanwhile is left out.
///
/// A copy that fails or is cancelled leaves no partial file: `dest` is removed, or emptied where a link leads to it.
/// What stood there before is lost then: copy to another name and rename for more (fs/atomic_file.hpp).
/// @throws weir::error ENOENT, EACCES, EISDIR (either is a directory), EEXIST, ENOSPC, EFBIG, ENOTSUP (copyfile)
call<void> copy_file(std::string src, std::string dest, copy_options options = {});

/// As Node's fs.cp.
struct cp_options {
  /// Directories too, with all that is in them.
  bool recursive = false;
  /// Files and links that are at the destination already are replaced; if not, they stay.
  bool force = true;
  /// With `force` off: fails with ERR_FS_CP_EEXIST instead.
  bool error_on_exist = false;
  /// Copies what symbolic links lead to instead of the links.
  bool dereference = false;
  /// Links get the text of the original; otherwise a relative one is made absolute so that it leads to the same place.
  bool verbatim_symlinks = false;
  /// Copies get the times of the originals.
  bool preserve_timestamps = false;
  clone_mode clone = clone_mode::automatic;
  /// Asked about everything before it is copied; false: that, and what is below it, is left out. Called on the thread
  /// that copies, one call at a time.
  std::function<bool(const std::string& src, const std::string& dest)> filter = {};
  /// As in copy_options, for each file.
  std::function<void(const copy_progress&)> progress = {};
};

/// What `cp` copied.
struct cp_result {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t links = 0;
  std::uint64_t bytes = 0;
};

/// Copies a file, a link or, with `recursive`, a directory with all that is in it; missing directories above `dest` are
/// made. What is at `dest` only, stays. Devices are copied as files, by what can be read from them.
///
/// Ends at the first failure, and when it is cancelled: what is copied by then stays, but no file that is half copied.
/// @throws weir::error as copy_file, and: ERR_FS_EISDIR for a directory without `recursive`; ERR_FS_CP_EINVAL for a
/// copy
///         onto itself or a directory into itself; ERR_FS_CP_DIR_TO_NON_DIR, ERR_FS_CP_NON_DIR_TO_DIR;
///         ERR_FS_CP_EEXIST; ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY; ERR_FS_CP_FIFO_PIPE, ERR_FS_CP_SOCKET; ELOOP for a
///         directory that, with `dereference`, a link in it leads to again
call<cp_result> cp(std::string src, std::string dest, cp_options options = {});

}  // namespace weir::fs
