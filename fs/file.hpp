// fs/file.hpp: an open file: read and written at its position or anywhere, told to the disk, closed. Rests on the
// backend for what the ring does (open, read, write, sync, close) and on fs/call for the rest.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>
#include <weir/io/descriptor.hpp>
#include <weir/io/operation.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::fs {

/// How a file is opened: open(2)'s flags under the names of Node's. Combine with |: `mode::read | mode::no_follow`.
struct mode {
  int flags = 0;

  static const mode read;         ///< "r": it must exist
  static const mode update;       ///< "r+": read and write, it must exist
  static const mode write;        ///< "w": made if missing, emptied if not
  static const mode write_new;    ///< "wx": made; EEXIST if something is there
  static const mode rewrite;      ///< "w+": like `write`, and readable
  static const mode rewrite_new;  ///< "wx+"
  static const mode append;       ///< "a": made if missing; every write goes to the end, whoever else writes
  static const mode append_new;   ///< "ax"
  static const mode append_read;  ///< "a+"

  static const mode exclusive;  ///< with those that make a file: EEXIST if something is there
  static const mode sync;       ///< a write completes when it is on the disk (O_SYNC)
  static const mode datasync;   ///< the same for its data (O_DSYNC)
  static const mode direct;     ///< past the page cache (O_DIRECT): aligned addresses, sizes and positions only
  static const mode no_follow;  ///< ELOOP if the last component is a symbolic link
  static const mode directory;  ///< ENOTDIR if it is none
  static const mode no_atime;   ///< reading leaves the access time alone; only for the owner

  /// Node's texts: "r", "r+", "rs+", "w", "wx", "xw", "w+", "a", "ax", "as+" ...
  /// @throws weir::error ERR_INVALID_ARG_VALUE
  static mode parse(std::string_view text);

  friend constexpr mode operator|(mode a, mode b) noexcept { return {a.flags | b.flags}; }
  friend constexpr bool operator==(mode, mode) noexcept = default;
};

inline constexpr mode mode::read = {O_RDONLY};
inline constexpr mode mode::update = {O_RDWR};
inline constexpr mode mode::write = {O_WRONLY | O_CREAT | O_TRUNC};
inline constexpr mode mode::write_new = {O_WRONLY | O_CREAT | O_EXCL};
inline constexpr mode mode::rewrite = {O_RDWR | O_CREAT | O_TRUNC};
inline constexpr mode mode::rewrite_new = {O_RDWR | O_CREAT | O_EXCL};
inline constexpr mode mode::append = {O_WRONLY | O_CREAT | O_APPEND};
inline constexpr mode mode::append_new = {O_WRONLY | O_CREAT | O_APPEND | O_EXCL};
inline constexpr mode mode::append_read = {O_RDWR | O_CREAT | O_APPEND};
inline constexpr mode mode::exclusive = {O_EXCL};
inline constexpr mode mode::sync = {O_SYNC};
inline constexpr mode mode::datasync = {O_DSYNC};
inline constexpr mode mode::direct = {O_DIRECT};
inline constexpr mode mode::no_follow = {O_NOFOLLOW};
inline constexpr mode mode::directory = {O_DIRECTORY};
inline constexpr mode mode::no_atime = {O_NOATIME};

class file;

/// A read or a write of a file; `co_await` gives the number of bytes. `.at(position)` says where and leaves the file's
/// own position alone; `.now()` makes the call here.
class [[nodiscard]] file_operation : public io::count_operation {
 public:
  file_operation(const file& of, opcode what, void* data, std::size_t size, io::operation_label label) noexcept;

  file_operation&& at(std::uint64_t position) && noexcept {
    offset = position;
    of_ = nullptr;
    return std::move(*this);
  }

  bool await_ready() noexcept {
    place();
    return false;
  }
  std::size_t await_resume() const { return try_resume().value(); }
  result<std::size_t> try_resume() const { return counted(count_operation::try_resume()); }
  std::size_t now() && { return std::move(*this).try_now().value(); }
  result<std::size_t> try_now() && {
    place();
    return counted(std::move(*this).count_operation::try_now());
  }

 private:
  void place() noexcept;
  result<std::size_t> counted(result<std::size_t> bytes) const noexcept;

  const file* of_;  // whose position it starts at and moves; null where it was told its own
};

/// An open file. Closes itself when it goes; `close` tells whether that went well.
///
/// Operations name no path that the caller has to keep; the spans given to them must stay until the await has ended,
/// which they do where they are in the awaiting frame. The file must outlive the awaits on it and stay where it is
/// meanwhile. May be used from any worker; several operations at positions of their own may run at once, and so may
/// several that append, in any order.
/// Its position is its own: it begins where the descriptor's is and does not move that one. What has no positions (a
/// fifo, a terminal) and what appends has the system's.
/// Cancelling a read or write stops it where the system can: a write may have written a part.
class file {
 public:
  file() = default;
  /// Takes over a descriptor; `path` is what errors say.
  explicit file(io::descriptor opened, std::string path = {}) noexcept
      : fd_(std::move(opened)), path_(std::move(path)) {}

  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  int descriptor() const noexcept { return fd_.get(); }
  const std::string& path() const noexcept { return path_; }

  /// read(2): some bytes from the file's position; 0 is the end.
  /// @throws weir::error EISDIR, EBADF (not opened for reading), EIO
  file_operation read(std::span<std::byte> into) const noexcept {
    return {*this, opcode::read, into.data(), into.size(), {"read", path_}};
  }
  /// write(2): may write less than asked. @throws weir::error ENOSPC, EDQUOT, EFBIG, EIO, EBADF
  file_operation write_some(std::span<const std::byte> from) const noexcept {
    return {*this, opcode::write, const_cast<std::byte*>(from.data()), from.size(), {"write", path_}};
  }

  /// Where the next read or write goes that is not told; not set for what has no positions, and for what appends.
  std::optional<std::uint64_t> position() const noexcept;
  /// Sets it; without effect where there is none.
  void seek(std::uint64_t to) noexcept;

  /// Reads until `into` is full or the file ends. @param position where; not set: the file's own position
  /// @return how many bytes there were
  task<std::size_t> read_full(std::span<std::byte> into, std::optional<std::uint64_t> position = {}) const;

  /// Writes all of it. Where that fails, `written` in the file is whatever the system took.
  task<void> write(std::span<const std::byte> from, std::optional<std::uint64_t> position = {}) const;
  task<void> write(std::string_view text, std::optional<std::uint64_t> position = {}) const;

  /// preadv(2), pwritev(2): several pieces in one call. `write_pieces` writes all of them.
  task<std::size_t> read_pieces(std::span<const std::span<std::byte>> into,
                                std::optional<std::uint64_t> position = {}) const;
  task<void> write_pieces(std::span<const std::span<const std::byte>> from,
                          std::optional<std::uint64_t> position = {}) const;

  /// What is left from the file's position on, in one buffer.
  /// @throws weir::error ERR_OUT_OF_RANGE for more than `limit` bytes
  task<buffer> read_all(std::size_t limit = std::size_t{1} << 31) const;

  /// fsync(2): completes when data and metadata are on the disk; `datasync` leaves out what reading does not need.
  io::count_operation sync() const noexcept { return {opcode::fsync, fd_.get(), nullptr, 0, 0, {"fsync", path_}}; }
  io::count_operation datasync() const noexcept {
    return {opcode::fsync, fd_.get(), nullptr, 0, 1, {"fdatasync", path_}};
  }

  call<file_stat> stat() const;
  /// ftruncate(2): cuts it or lengthens it with zeros. @throws weir::error EINVAL (not writable, or no file), EFBIG
  call<void> truncate(std::uint64_t size = 0) const;
  /// fallocate(2) @param how 0, or FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE ...
  call<void> allocate(std::uint64_t offset, std::uint64_t size, int how = 0) const;
  call<void> chmod(std::uint32_t permissions) const;
  /// -1 leaves that one as it is.
  call<void> chown(std::uint32_t user, std::uint32_t group) const;
  call<void> utimes(time_point accessed, time_point modified) const;

  /// Closes it and tells what close(2) says, which for some file systems is the first word of a failed write. The
  /// descriptor is gone either way, unless the await was cancelled before. Harmless if it is closed.
  task<void> close();
  /// The same here.
  result<void> try_close_now();

 private:
  friend class file_operation;
  enum class positions : std::uint8_t { unknown, own, of_system };

  positions kept_by() const noexcept;

  io::descriptor fd_;
  std::string path_;
  // What reads and writes without a position move, also those of a `const file&`: as a descriptor's would.
  mutable std::uint64_t position_ = 0;
  mutable positions positions_ = positions::unknown;
};

/// What `open` may be told beside the mode.
struct open_options {
  std::uint32_t permissions = 0666;  ///< of a file that is made, less the umask
};

/// `co_await open(path, mode)` gives a file; `.now()` opens it here.
class [[nodiscard]] open_operation : public io::operation_wait {
 public:
  open_operation(std::string path, mode how, const open_options& options);

  bool await_ready() const noexcept { return refused_.has_value(); }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    buffer = path_.data();
    return operation_wait::await_suspend(h);
  }
  file await_resume() { return try_resume().value(); }
  result<file> try_resume();

  file now() && { return std::move(*this).try_now().value(); }
  result<file> try_now() &&;

 private:
  result<file> taken();

  std::string path_;
  std::optional<failure> refused_;
};

/// open(2), close-on-exec. Opening a fifo does not wait for its other end.
/// @throws weir::error ENOENT, EACCES, EEXIST, EISDIR, ENOTDIR, ELOOP, ENAMETOOLONG, EMFILE, ENOSPC;
///         ERR_INVALID_ARG_VALUE for a path with a NUL byte
inline open_operation open(std::string path, mode how = mode::read, const open_options& options = {}) {
  return {std::move(path), how, options};
}

/// Opens `path`, which is relative, below an open directory: neither "..", nor an absolute path, nor a symbolic link
/// leads out of it (openat2(2), RESOLVE_BENEATH). @throws weir::error EXDEV for one that tries; ENOSYS before Linux 5.6
call<file> open_beneath(const file& directory, std::string path, mode how = mode::read,
                        const open_options& options = {});

}  // namespace weir::fs
