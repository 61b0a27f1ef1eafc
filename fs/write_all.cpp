#include <weir/fs/write_all.hpp>

#include <weir/fs/error.hpp>

#include <algorithm>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace weir::fs::detail {
namespace {

bool begins_to_wait(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0 && ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

}  // namespace

result<void> write_all(int fd, const std::string& path, std::span<const std::byte> content, const stop_flag& stop) {
  while (!content.empty()) {
    if (stop.requested()) return failure(cancelled());
    const auto piece = content.first(std::min(content.size(), step));
    const long count = without_signals([&] { return ::write(fd, piece.data(), piece.size()); });
    if (count == -EAGAIN && begins_to_wait(fd)) continue;
    if (count < 0) return os_error(static_cast<int>(-count), "write", path);
    content = content.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

std::span<iovec> after(std::span<iovec> pieces, std::size_t done) noexcept {
  while (!pieces.empty() && done >= pieces.front().iov_len) {
    done -= pieces.front().iov_len;
    pieces = pieces.subspan(1);
  }
  if (!pieces.empty()) {
    auto& first = pieces.front();
    first = {static_cast<std::byte*>(first.iov_base) + done, first.iov_len - done};
  }
  return pieces;
}

}  // namespace weir::fs::detail
