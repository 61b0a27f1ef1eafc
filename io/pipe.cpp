#include <weir/io/pipe.hpp>

#include <weir/core/error.hpp>
#include <weir/core/time.hpp>
#include <weir/io/operation.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

namespace weir::io {
namespace {

// What comes in small pieces is copied, so that a line typed at a terminal does not keep a whole chunk alive.
constexpr std::size_t worth_keeping = 4;

descriptor open_fifo(const std::string& path, int flags) {
  descriptor made(::open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC));
  if (!made) throw os_error(errno, "open", path);
  struct stat about = {};
  if (::fstat(made.get(), &about) != 0) throw os_error(errno, "fstat", path);
  if (!S_ISFIFO(about.st_mode)) throw error(errc::err_invalid_arg_value, "Not a fifo: '" + path + "'");
  return made;
}

}  // namespace

byte_reader::byte_reader(descriptor from, std::size_t chunk_size)
    : owned_(std::move(from)), fd_(owned_.get()), chunk_size_(std::max<std::size_t>(chunk_size, 1)) {}

byte_reader byte_reader::borrowing(int fd, std::size_t chunk_size) {
  byte_reader made(descriptor(), chunk_size);
  made.fd_ = fd;
  return made;
}

task<std::size_t> byte_reader::read(std::span<std::byte> into) {
  if (std::exchange(await_writer_, false)) {
    auto ready = co_await attempt(poll(fd_, POLLIN));
    await_writer_ = !ready;
    if (!ready) ready.failure().rethrow();
  }
  co_return co_await io::read(fd_, into);
}

task<std::optional<buffer>> byte_reader::next() {
  if (spare_.size() < chunk_size_ || !spare_.is_unique()) spare_ = buffer::alloc_unsafe(chunk_size_);
  auto count = co_await read(spare_.mutable_bytes());
  if (count == 0) co_return std::nullopt;
  if (count < chunk_size_ / worth_keeping) co_return buffer::copy_of(spare_.bytes().first(count));
  auto chunk = std::exchange(spare_, {});
  chunk.remove_suffix(chunk.size() - count);
  co_return chunk;
}

void byte_reader::close() noexcept {
  owned_.close();
  fd_ = -1;
}

namespace {

// Where the next write to a file goes; -1 for what has no positions, and for what appends.
off_t place_in_file(int fd) noexcept {
  const auto position = ::lseek(fd, 0, SEEK_CUR);
  return position >= 0 && (::fcntl(fd, F_GETFL) & O_APPEND) == 0 ? position : -1;
}

}  // namespace

byte_writer byte_writer::borrowing(int fd) noexcept {
  byte_writer made;
  made.fd_ = fd;
  return made;
}

// A file's position is moved here: the ring leaves it where it was after a write that fails half way (a full disk), and
// what is written next would go over that half.
task<std::size_t> byte_writer::write_once(opcode what, void* data, std::size_t size) {
  count_operation operation(what, fd_, data, size, 0, {"write"});
  const auto position = has_positions_ ? place_in_file(fd_) : -1;
  has_positions_ = position >= 0;
  if (position < 0) co_return co_await std::move(operation);
  const auto count = co_await std::move(operation).at(static_cast<std::uint64_t>(position));
  ::lseek(fd_, position + static_cast<off_t>(count), SEEK_SET);
  co_return count;
}

task<std::size_t> byte_writer::write_some(std::span<const std::byte> bytes) {
  return write_once(opcode::write, const_cast<std::byte*>(bytes.data()), bytes.size());  // NOLINT: read from only
}

task<void> byte_writer::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) bytes = bytes.subspan(co_await write_some(bytes));
}

task<void> byte_writer::write(buffer chunk) { co_await write(chunk.bytes()); }

task<void> byte_writer::write_batch(std::span<buffer> chunks) {
  constexpr std::size_t at_once = 64;
  std::array<iovec, at_once> parts;
  while (!chunks.empty()) {
    auto count = std::min(chunks.size(), at_once);
    for (std::size_t i = 0; i < count; ++i)
      parts[i] = {const_cast<std::byte*>(chunks[i].data()), chunks[i].size()};  // NOLINT: written from only
    auto written = co_await write_once(opcode::writev, parts.data(), count);
    while (!chunks.empty() && written >= chunks.front().size()) {
      written -= chunks.front().size();
      chunks = chunks.subspan(1);
    }
    if (!chunks.empty()) chunks.front().remove_prefix(written);
  }
}

void byte_writer::close() noexcept {
  owned_.close();
  fd_ = -1;
}

pipe_ends make_pipe(const make_pipe_options& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw os_error(errno, "pipe");
  descriptor reading(ends[0]);
  descriptor writing(ends[1]);
  if (options.capacity != 0 &&
      ::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(std::min<std::size_t>(options.capacity, 1U << 30))) < 0)
    throw os_error(errno, "fcntl");
  return {byte_reader(std::move(reading), options.chunk_size), byte_writer(std::move(writing))};
}

void make_fifo(const std::string& path, unsigned mode) {
  if (::mkfifo(path.c_str(), static_cast<mode_t>(mode)) != 0) throw os_error(errno, "mkfifo", path);
}

struct fifo_access {
  static void wait_for_writer(byte_reader& reader) noexcept { reader.await_writer_ = true; }
};

byte_reader open_fifo_reader(const std::string& path, const fifo_options& options) {
  byte_reader made(open_fifo(path, O_RDONLY), options.chunk_size);
  fifo_access::wait_for_writer(made);
  return made;
}

task<byte_writer> open_fifo_writer(std::string path, fifo_options options) {
  using namespace std::chrono_literals;
  for (auto pause = 1ms;; pause = std::min(2 * pause, std::chrono::milliseconds(50))) {
    try {
      co_return byte_writer(open_fifo(path, O_WRONLY));
    } catch (const error& e) {
      if (e.errno_value() != ENXIO || !options.wait) throw;
    }
    co_await sleep(pause);
  }
}

}  // namespace weir::io
