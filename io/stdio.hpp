// io/stdio.hpp: the program's standard streams, and what they are connected to. Rests on io/pipe.hpp. The descriptors
// are shared with other processes, so none of their flags is changed; a terminal or a pipe that blocks is waited for,
// not blocked on. Outcomes of Node's process.stdin, stdout, stderr (https://nodejs.org/api/process.html#process-io).
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/io/pipe.hpp>
#include <weir/io/signal_stream.hpp>
#include <weir/io/stream.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir::io {

/// What a descriptor is connected to.
enum class descriptor_kind : std::uint8_t { file, tty, pipe, socket, other };

/// fstat(2) and isatty(3). @throws weir::error EBADF
descriptor_kind kind_of(int fd);
bool is_tty(int fd) noexcept;

/// "file", "tty", "pipe", "socket", "other". The text is static.
std::string_view to_string(descriptor_kind kind) noexcept;

/// Of a terminal, in characters.
struct terminal_size {
  unsigned columns = 0;
  unsigned rows = 0;
  friend bool operator==(const terminal_size&, const terminal_size&) = default;
};

/// The size of the terminal, or nothing if it is none or does not say (ioctl_tty(2), TIOCGWINSZ).
std::optional<terminal_size> size_of_terminal(int fd) noexcept;

/// The sizes that a terminal takes: a source, without end unless it is none any more (SIGWINCH; Node's 'resize').
/// Several changes before one looks are one. Cancelling `next` loses none.
class [[nodiscard]] terminal_sizes {
 public:
  static constexpr bool cancel_safe = true;

  /// @throws weir::error ERR_INVALID_ARG_VALUE if `fd` is no terminal
  explicit terminal_sizes(int fd);
  task<std::optional<terminal_size>> next();

 private:
  int fd_;
  terminal_size last_;
  signal_stream changes_;
};

struct input_options {
  std::size_t chunk_size = 64 * 1024;  ///< how much is asked for at a time
  std::optional<std::size_t> high_water_mark = {};
};

/// What comes in, as a readable: of a terminal line by line, as it is typed; the end is end of file, or ^D. Nothing is
/// read before somebody asks, and the descriptor stays open when the stream goes; what is buffered in it then is gone,
/// so read with one stream at a time. Cancelling a read loses nothing.
/// @throws weir::error EBADF if it is not open
readable<buffer> standard_input(const input_options& options = {});
readable<buffer> input_from(int fd, const input_options& options = {});  ///< the same for any descriptor

struct output_options {
  /// How much `print` queues before it says that it is enough, and `write` waits with several writers; bytes.
  std::size_t high_water_mark = 64 * 1024;
  /// How long the destructor tries to get rid of what was printed, if the other side does not read.
  std::chrono::milliseconds flush_limit = std::chrono::seconds(1);
};

/// Where output goes: a sink of buffers, for one descriptor that stays open. `print` queues and returns, everything
/// else awaits; what was printed goes out before what is written or flushed later. Writes of several tasks go out
/// whole, in order.
///
/// Nobody who reads any more: EPIPE from the write that meets it, ERR_STREAM_DESTROYED from later ones; never a signal
/// (see `byte_writer`). `print` and the questions may be called from any thread.
/// The destructor writes what is still queued, waiting up to `flush_limit` for it: it blocks its thread then, so
/// `flush` or `end` first. Let it live in the main task, and it is flushed on exit.
class [[nodiscard]] output_stream {
 public:
  /// @throws weir::error EBADF if it is not open
  explicit output_stream(int fd, const output_options& options = {});
  output_stream(output_stream&&) noexcept = default;
  output_stream& operator=(output_stream&&) = delete;
  ~output_stream();

  /// Queues text for the next write, flush or end. @return false once there is so much that one should `flush`
  bool print(std::string_view text);

  /// Completes when the system has taken it.
  task<void> write(buffer chunk) { return to_.write(std::move(chunk)); }
  task<void> write(std::string_view text) { return to_.write(buffer::from(text)); }
  task<void> flush();
  /// Flushes, and takes no more. The descriptor stays open.
  task<void> end() { return to_.end(); }

  std::size_t queued() const noexcept;  ///< bytes printed that are not written
  descriptor_kind kind() const noexcept { return kind_; }
  bool is_tty() const noexcept { return kind_ == descriptor_kind::tty; }
  /// Of the terminal it is; nothing if it is none.
  std::optional<terminal_size> size() const noexcept { return size_of_terminal(fd_); }
  int fd() const noexcept { return fd_; }

 private:
  struct printed;
  class sink;

  int fd_;
  descriptor_kind kind_;
  output_options options_;
  std::shared_ptr<printed> printed_;
  writable<buffer> to_;
};

output_stream standard_output(const output_options& options = {});
output_stream standard_error(const output_options& options = {});

}  // namespace weir::io
