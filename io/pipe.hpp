// io/pipe.hpp: byte streams over descriptors that are no sockets: pipes, fifos, and whatever else read(2) and write(2)
// work on. Rests on io/operation.hpp, core/buffer. Descriptors made here are O_NONBLOCK and O_CLOEXEC; those of others
// are taken as they are, and no flag is ever changed that another process could see.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/buffer.hpp>
#include <weir/core/task.hpp>
#include <weir/io/descriptor.hpp>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace weir::io {

/// The reading end of a pipe, or any descriptor with a file position or none: a source of buffers.
///
/// One task at a time, on any worker. It must outlive its awaits and stay where it is meanwhile. Cancelling one loses
/// nothing that has arrived.
class [[nodiscard]] byte_reader {
 public:
  static constexpr bool cancel_safe = true;

  byte_reader() = default;
  /// Owns the descriptor.
  /// @param chunk_size how much is asked for at a time, at least 1
  explicit byte_reader(descriptor from, std::size_t chunk_size = 64 * 1024);
  /// Leaves the descriptor open when it goes.
  static byte_reader borrowing(int fd, std::size_t chunk_size = 64 * 1024);

  byte_reader(byte_reader&&) noexcept = default;
  byte_reader& operator=(byte_reader&&) noexcept = default;
  ~byte_reader() = default;

  /// What is there, at least one byte, when there is something; nullopt at the end: every writer has closed its end.
  /// Throws weir::error: "EISDIR: illegal operation on a directory, read".
  task<std::optional<buffer>> next();

  /// The same into memory of the caller's, which must stay until it has completed: 0 at the end.
  task<std::size_t> read(std::span<std::byte> into);

  /// Closes the descriptor, if it is owned. Nothing may wait.
  void close() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  friend struct fifo_access;

  descriptor owned_;
  int fd_ = -1;
  std::size_t chunk_size_ = 64 * 1024;
  buffer spare_;               // what the last read has not used up
  bool await_writer_ = false;  // a fifo that nobody has written to yet: reading it would give the end
};

/// The writing end: a sink of buffers.
///
/// One task at a time; put it in a `writable` to let several write. It must outlive its awaits and stay where it is
/// meanwhile. Cancelling a write may leave a part written.
class [[nodiscard]] byte_writer {
 public:
  byte_writer() = default;
  /// Owns the descriptor.
  explicit byte_writer(descriptor to) noexcept : owned_(std::move(to)), fd_(owned_.get()) {}
  /// Leaves the descriptor open when it goes.
  static byte_writer borrowing(int fd) noexcept;

  byte_writer(byte_writer&&) noexcept = default;
  byte_writer& operator=(byte_writer&&) noexcept = default;
  ~byte_writer() = default;

  /// Completes when the system has taken all bytes. Throws weir::error "EPIPE: broken pipe, write" once nobody reads;
  /// never raises SIGPIPE inside a runtime, which ignores it unless the program has set a handler.
  task<void> write(buffer chunk);
  /// The same for memory of the caller's, which must stay until it has completed.
  task<void> write(std::span<const std::byte> bytes);
  /// Several with one system call where they fit (writev(2)).
  task<void> write_batch(std::span<buffer> chunks);
  /// One write(2), which may take less than all.
  task<std::size_t> write_some(std::span<const std::byte> bytes);

  /// Closes the descriptor, if it is owned: the reader gets the end once it has read everything.
  void end() noexcept { close(); }
  void close() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  task<std::size_t> write_once(opcode what, void* data, std::size_t size);

  descriptor owned_;
  int fd_ = -1;
  bool has_positions_ = true;  // until the system says otherwise
};

/// Both ends of a pipe.
struct pipe_ends {
  byte_reader reader;
  byte_writer writer;
};

struct make_pipe_options {
  /// Bytes that the system holds between the ends (F_SETPIPE_SZ); 0: its default, 64 KiB. Rounded up by the system.
  std::size_t capacity = 0;
  std::size_t chunk_size = 64 * 1024;  ///< how much a read asks for
};

/// pipe2(2). @throws weir::error EMFILE, ENFILE; EPERM for a capacity above /proc/sys/fs/pipe-max-size
pipe_ends make_pipe(const make_pipe_options& options = {});

/// Makes a named pipe (mkfifo(3)). @throws weir::error "EEXIST: file already exists, mkfifo '/x'"
void make_fifo(const std::string& path, unsigned mode = 0666);

struct fifo_options {
  /// A writer waits until somebody has opened the fifo for reading; false: fails with ENXIO if nobody has.
  bool wait = true;
  std::size_t chunk_size = 64 * 1024;
};

/// Opens a fifo for reading, at once. The first read waits for a writer; the end comes when the last one has gone.
/// @throws weir::error ENOENT, EACCES; ERR_INVALID_ARG_VALUE if it is not a fifo
byte_reader open_fifo_reader(const std::string& path, const fifo_options& options = {});

/// Opens a fifo for writing, once there is a reader. Nothing tells of that, so it looks again, first after one
/// millisecond, then up to every 50. Cancelling it opens nothing.
/// @throws weir::error ENOENT, EACCES, ENXIO; ERR_INVALID_ARG_VALUE if it is not a fifo
task<byte_writer> open_fifo_writer(std::string path, fifo_options options = {});

}  // namespace weir::io
