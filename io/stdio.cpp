#include <weir/io/stdio.hpp>

#include <weir/core/error.hpp>
#include <weir/io/operation.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::io {

descriptor_kind kind_of(int fd) {
  struct stat about = {};
  if (::fstat(fd, &about) != 0) throw os_error(errno, "fstat");
  if (S_ISREG(about.st_mode)) return descriptor_kind::file;
  if (S_ISFIFO(about.st_mode)) return descriptor_kind::pipe;
  if (S_ISSOCK(about.st_mode)) return descriptor_kind::socket;
  return is_tty(fd) ? descriptor_kind::tty : descriptor_kind::other;
}

bool is_tty(int fd) noexcept { return ::isatty(fd) == 1; }

std::string_view to_string(descriptor_kind kind) noexcept {
  switch (kind) {
    case descriptor_kind::file: return "file";
    case descriptor_kind::tty: return "tty";
    case descriptor_kind::pipe: return "pipe";
    case descriptor_kind::socket: return "socket";
    default: return "other";
  }
}

std::optional<terminal_size> size_of_terminal(int fd) noexcept {
  winsize found = {};
  if (::ioctl(fd, TIOCGWINSZ, &found) != 0 || found.ws_col == 0 || found.ws_row == 0) return std::nullopt;
  return terminal_size{found.ws_col, found.ws_row};
}

terminal_sizes::terminal_sizes(int fd) : fd_(fd), changes_({SIGWINCH}) {
  if (!is_tty(fd)) throw error(errc::err_invalid_arg_value, "Not a terminal: descriptor " + std::to_string(fd));
  last_ = size_of_terminal(fd).value_or(terminal_size());
}

task<std::optional<terminal_size>> terminal_sizes::next() {
  for (;;) {
    if (!is_tty(fd_)) co_return std::nullopt;
    auto now = size_of_terminal(fd_).value_or(terminal_size());
    if (now != last_) {
      last_ = now;
      co_return now;
    }
    co_await changes_.next();
  }
}

readable<buffer> input_from(int fd, const input_options& options) {
  static_cast<void>(kind_of(fd));
  return readable<buffer>(byte_reader::borrowing(fd, options.chunk_size), {.high_water_mark = options.high_water_mark});
}

readable<buffer> standard_input(const input_options& options) { return input_from(STDIN_FILENO, options); }

/// What `print` has queued. The sink takes from its front, under its turn.
struct output_stream::printed {
  mutable weir::detail::spin_lock lock;
  std::string text;
  std::string going;     // being written
  std::size_t gone = 0;  // bytes of it that are
};

class output_stream::sink {
 public:
  sink(int fd, std::shared_ptr<printed> from) : to_(byte_writer::borrowing(fd)), printed_(std::move(from)) {}

  task<void> write(buffer chunk) {
    co_await write_printed();
    co_await to_.write(chunk.bytes());
  }
  task<void> write_batch(std::span<buffer> chunks) {
    co_await write_printed();
    co_await to_.write_batch(chunks);
  }
  task<void> end() { return write_printed(); }

 private:
  /// Takes what has been printed so far. @return what is to be written
  std::span<const std::byte> front() {
    weir::detail::spin_guard guard(printed_->lock);
    if (printed_->gone == printed_->going.size()) {
      printed_->going.clear();
      printed_->gone = 0;
      printed_->going.swap(printed_->text);
    }
    return std::as_bytes(std::span(printed_->going)).subspan(printed_->gone);
  }

  task<void> write_printed() {
    for (auto left = front(); !left.empty(); left = front()) {
      auto count = co_await to_.write_some(left);
      weir::detail::spin_guard guard(printed_->lock);
      printed_->gone += count;
    }
  }

  byte_writer to_;
  std::shared_ptr<printed> printed_;
};

output_stream::output_stream(int fd, const output_options& options)
    : fd_(fd),
      kind_(kind_of(fd)),
      options_(options),
      printed_(std::make_shared<printed>()),
      to_(sink(fd, printed_), {.high_water_mark = options.high_water_mark}) {}

bool output_stream::print(std::string_view text) {
  weir::detail::spin_guard guard(printed_->lock);
  printed_->text.append(text);
  return printed_->text.size() + printed_->going.size() - printed_->gone < options_.high_water_mark;
}

std::size_t output_stream::queued() const noexcept {
  weir::detail::spin_guard guard(printed_->lock);
  return printed_->text.size() + printed_->going.size() - printed_->gone;
}

task<void> output_stream::flush() { return to_.write(buffer()); }

namespace {

// The last resort: no runtime need be there any more. Waits for the other side, but not for ever.
void write_blocking(int fd, std::string_view text, std::chrono::steady_clock::time_point until) noexcept {
  while (!text.empty()) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd ready{fd, POLLOUT, 0};
    int answer = ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (answer < 0 && errno == EINTR) continue;
    if (answer <= 0 || (ready.revents & POLLOUT) == 0) return;
    // No more than a pipe that is ready takes at once, should it be in blocking mode.
    auto count = ::write(fd, text.data(), std::min<std::size_t>(text.size(), 4096));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace

output_stream::~output_stream() {
  if (!printed_) return;
  bool broken = to_.destroyed();
  to_.destroy();
  if (broken || queued() == 0) return;
  auto until = std::chrono::steady_clock::now() + options_.flush_limit;
  write_blocking(fd_, std::string_view(printed_->going).substr(printed_->gone), until);
  write_blocking(fd_, printed_->text, until);
}

output_stream standard_output(const output_options& options) { return output_stream(STDOUT_FILENO, options); }
output_stream standard_error(const output_options& options) { return output_stream(STDERR_FILENO, options); }

}  // namespace weir::io
