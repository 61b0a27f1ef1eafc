#include <weir/fs/tree.hpp>

#include <weir/core/cpus.hpp>
#include <weir/fs/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

namespace weir::fs::detail {
namespace {

// About 1500 entries with names of 20 bytes.
constexpr std::size_t buffer_size = std::size_t{1} << 16;

}  // namespace

int directory_reader::open(int parent, const char* name, int flags) noexcept {
  constexpr int always = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK;
  const long fd = without_signals([&] { return ::openat(parent, name, always | flags); });
  if (fd < 0) return static_cast<int>(-fd);
  adopt(io::descriptor(static_cast<int>(fd)));
  return 0;
}

void directory_reader::adopt(io::descriptor opened) noexcept {
  fd_ = std::move(opened);
  block_.clear();
  error_ = 0;
}

io::descriptor directory_reader::release() noexcept {
  block_.clear();
  return std::move(fd_);
}

bool directory_reader::fill() noexcept {
  try {
    if (block_.size() == 0) block_ = entry_block(buffer_size);
  } catch (const std::bad_alloc&) {
    error_ = ENOMEM;
    return false;
  }
  const long count = block_.fill(fd_.get());
  if (count < 0) error_ = static_cast<int>(-count);
  return count > 0;
}

bool directory_reader::next(entry& found) {
  while (!block_.more()) {
    if (!fill()) return false;
  }
  found = block_.take();
  return true;
}

file_type type_at(int parent, const char* name, bool follow) noexcept {
  struct stat found;  // NOLINT: the system fills it in
  const long done = without_signals([&] { return ::fstatat(parent, name, &found, follow ? 0 : AT_SYMLINK_NOFOLLOW); });
  return done < 0 ? file_type::unknown : type_of_mode(found.st_mode);
}

std::optional<file_id> id_of(int fd) noexcept {
  struct stat found;  // NOLINT: the system fills it in
  if (::fstat(fd, &found) != 0) return std::nullopt;
  return file_id{found.st_dev, found.st_ino};
}

unsigned tree_threads() {
  static const unsigned count = std::clamp(available_parallelism(), 1U, 4U);
  return count;
}

}  // namespace weir::fs::detail
