// fs/atomic_file.hpp: files that change as a whole: whoever looks, and whatever happens, finds the old content or the
// new, never a part or a mix. The new content goes into a file that has no name (O_TMPFILE), is told to the disk, and
// takes the place of the old by rename(2). Rests on fs/file.
#pragma once

#include <weir/fs/file.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::fs {

/// What of an atomic write has reached the disk when it completes. What a killed process leaves is old or new in any
/// case; this is about a machine that loses its power.
enum class durability : std::uint8_t {
  none,     ///< nothing is waited for: after a power cut the file may be old, new, or on some file systems empty
  content,  ///< the content before the name leads to it: old or new
  full,     ///< and the directory: new
};

struct atomic_options {
  durability flush = durability::full;
  /// Exactly these, whatever the umask. Not set: those of the file that is replaced, or 0666 less the umask.
  std::optional<std::uint32_t> permissions = {};
  /// Gives the new file the owner and group of the one it replaces, where this process may do that. Where it may not,
  /// set-user-ID bits go, and a group that is another one may do no more than everybody.
  bool keep_owner = true;
  /// A symbolic link at the path stays, and what it leads to is replaced (or made). False: the link is replaced.
  bool follow_links = true;
  /// False: fails with EEXIST if there is something at the path when the file would take its place.
  bool replace = true;
};

/// Replaces a file by one with this content, or makes it: after a failure, a cancellation or a crash at any moment the
/// path leads to the old file or to the new one, complete. Several may write to one path: the last one stays, whole.
///
/// What counts is whether the directory may be written, not the old file. Other names (hard links), access control
/// lists and extended attributes of the old file do not come along. `content` must stay until the await has ended.
/// Cancelling it before the new file has taken its place leaves the old one. A failure leaves nothing else; a process
/// that is killed just before that moment may leave a file ".<name>.<16 digits>.tmp", and where the file system has no
/// unnamed files (O_TMPFILE) also one that is killed while it writes.
/// @throws weir::error as `write_file`, and with `durability::full` EACCES for a directory that cannot be read;
///         EISDIR for a directory; ERR_INVALID_ARG_VALUE for a device, fifo or socket
call<void> write_file_atomic(std::string path, std::span<const std::byte> content, const atomic_options& options = {});
call<void> write_file_atomic(std::string path, std::string_view content, const atomic_options& options = {});

namespace detail {
class replacement;
}

/// New content for a path that is written piece by piece and takes the place of the old when `commit` says so. Dropped
/// without, it leaves no trace. Made by `open_atomic`.
///
/// Must outlive the awaits on it. Pieces may be written at their positions from several tasks at once.
class atomic_file {
 public:
  atomic_file() noexcept;
  atomic_file(atomic_file&&) noexcept;
  atomic_file& operator=(atomic_file&&) noexcept;
  ~atomic_file();

  /// Neither committed nor discarded yet.
  bool is_open() const noexcept;
  /// The path that it is for, as it was given.
  const std::string& path() const noexcept;

  /// Writes all of it, behind what was written without a position or at one. After a write that failed or was cancelled
  /// `commit` fails with the same. @throws weir::error as file::write; ERR_CLOSED
  task<void> write(std::span<const std::byte> from, std::optional<std::uint64_t> position = {});
  task<void> write(std::string_view text, std::optional<std::uint64_t> position = {});

  /// The new file, for all else that a file can do: read back, truncate, allocate. What fails there is not noted.
  const file& contents() const noexcept;

  /// Puts the new file in the place of the old. Whatever comes of it, the object is closed then, and after a failure
  /// the old file is untouched, but for one case: a directory that cannot be flushed (EIO) has the new name in it.
  /// Cancelled before that place is taken, it is a failure. No write may be under way.
  call<void> commit();

  /// Gives the new content up; as dropping it does, off the worker.
  call<void> discard();

 private:
  friend call<atomic_file> open_atomic(std::string path, const atomic_options& options);
  explicit atomic_file(std::unique_ptr<detail::replacement> made) noexcept;

  std::unique_ptr<detail::replacement> made_;
};

/// Begins new content for `path`; see write_file_atomic for what may be at the path and what fails.
call<atomic_file> open_atomic(std::string path, const atomic_options& options = {});

}  // namespace weir::fs
