#include <weir/fs/contents.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/write_all.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

namespace weir::fs {
namespace {

error too_large(const std::string& path, std::size_t limit) {
  return {errc::err_out_of_range,
          fmt::format("'{}' has more than {} bytes", path, limit),
          {.operation = "read", .path = path}};
}

struct opened_file {
  io::descriptor fd;
  bool regular = false;
  std::size_t size = 0;
};

// Opening does not wait for the other end of a fifo, which nobody could end.
result<io::descriptor> open_quickly(const std::string& path, mode how, std::uint32_t permissions) {
  const int flags = how.flags | O_CLOEXEC;
  auto fd = detail::on_path("open", path, [&] { return ::open(path.c_str(), flags | O_NONBLOCK, permissions); });
  if (!fd && fd.failure().is("EAGAIN")) {  // somebody's lease on the file has to be broken first
    fd = detail::on_path("open", path, [&] { return ::open(path.c_str(), flags, permissions); });
  }
  if (!fd) return fd.failure();
  return io::descriptor(static_cast<int>(*fd));
}

// One look at what was opened serves for the size and for the kind: reading waits. perf/micro/files, `read`: two calls
// less for each file.
result<opened_file> open_to_read(const std::string& path, mode how) {
  auto fd = open_quickly(path, how, 0666);
  if (!fd) return fd.failure();
  opened_file opened;
  opened.fd = std::move(*fd);
  struct stat found;  // NOLINT: the system fills it in
  opened.regular = ::fstat(opened.fd.get(), &found) == 0 && S_ISREG(found.st_mode);
  if (opened.regular) {
    opened.size = static_cast<std::size_t>(found.st_size);
  } else if ((how.flags & O_NONBLOCK) == 0) {
    const int now = ::fcntl(opened.fd.get(), F_GETFL);
    if (now >= 0) ::fcntl(opened.fd.get(), F_SETFL, now & ~O_NONBLOCK);
  }
  return opened;
}

// How much room to begin with: one byte more than there is shows the end without another read. Files of /proc say 0.
std::size_t first_room(const opened_file& from, std::size_t limit) noexcept {
  if (!from.regular) return std::min<std::size_t>(65536, limit + 1);
  return std::clamp<std::size_t>(from.size + 1, std::min<std::size_t>(from.size != 0 ? 1 : 4096, limit + 1), limit + 1);
}

result<buffer> read_now(const std::string& path, const read_options& options, const stop_flag& stop) {
  const std::size_t limit = std::min(options.limit, std::numeric_limits<std::size_t>::max() - 1);
  auto opened = open_to_read(path, options.how);
  if (!opened) return opened.failure();
  auto all = buffer::alloc_unsafe_slow(first_room(*opened, limit));
  std::size_t size = 0;
  for (;;) {
    if (stop.requested()) return failure(cancelled());
    if (size == all.size()) {
      auto larger = buffer::alloc_unsafe_slow(std::min(std::max<std::size_t>(size * 2, 4096), limit + 1));
      all.copy(larger.mutable_bytes());
      all = std::move(larger);
    }
    auto room = all.mutable_bytes().subspan(size);
    room = room.first(std::min(room.size(), detail::step));
    auto count = detail::on_path("read", path, [&] { return ::read(opened->fd.get(), room.data(), room.size()); });
    if (!count) return count.failure();
    size += static_cast<std::size_t>(*count);
    if (size > limit) return too_large(path, limit);
    const bool at_its_end = opened->size != 0 && size == opened->size && static_cast<std::size_t>(*count) < room.size();
    if (*count == 0 || at_its_end) return all.take_front(size);
  }
}

result<void> write_now(const std::string& path, std::span<const std::byte> content, const write_options& options,
                       const stop_flag& stop) {
  auto opened = open_quickly(path, options.how, options.permissions);
  if (!opened) return opened.failure();
  io::descriptor fd = std::move(*opened);
  auto written = detail::write_all(fd.get(), path, content, stop);
  if (!written) return written;
  if (options.flush) {
    auto flushed = detail::on_path("fsync", path, [&] { return ::fsync(fd.get()); });
    if (!flushed) return flushed.failure();
  }
  if (::close(fd.release()) != 0 && errno != EINTR) return os_error(errno, "close", path);
  return {};
}

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span(text)); }

write_options appending(write_options options) noexcept {
  if (options.how == mode::write) options.how = mode::append;
  return options;
}

}  // namespace

call<buffer> read_file(std::string path, const read_options& options) {
  return {"read_file",
          [path = std::move(path), options](const stop_flag& stop) { return read_now(path, options, stop); }};
}

call<std::string> read_text(std::string path, encoding as, const read_options& options) {
  return {"read_file", [path = std::move(path), as, options](const stop_flag& stop) -> result<std::string> {
            auto bytes = read_now(path, options, stop);
            if (!bytes) return bytes.failure();
            return bytes->to_string(as);
          }};
}

call<void> write_file(std::string path, std::span<const std::byte> content, const write_options& options) {
  return {"write_file", [path = std::move(path), content, options](const stop_flag& stop) {
            return write_now(path, content, options, stop);
          }};
}

call<void> write_file(std::string path, std::string_view content, const write_options& options) {
  return write_file(std::move(path), bytes_of(content), options);
}

call<void> append_file(std::string path, std::span<const std::byte> content, const write_options& options) {
  return write_file(std::move(path), content, appending(options));
}

call<void> append_file(std::string path, std::string_view content, const write_options& options) {
  return append_file(std::move(path), bytes_of(content), options);
}

}  // namespace weir::fs
