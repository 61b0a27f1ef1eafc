#include <weir/fs/tree.hpp>

#include <weir/core/cpus.hpp>
#include <weir/fs/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace weir::fs::detail {
namespace {

// About 1500 entries with names of 20 bytes.
constexpr std::size_t buffer_size = std::size_t{1} << 16;

bool is_dots(std::string_view name) noexcept { return name == "." || name == ".."; }

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
  at_ = end_ = 0;
  error_ = 0;
}

io::descriptor directory_reader::release() noexcept {
  at_ = end_ = 0;
  return std::move(fd_);
}

bool directory_reader::fill() noexcept {
  if (!buffer_) buffer_.reset(new (std::nothrow) std::byte[buffer_size]);
  if (!buffer_) {
    error_ = ENOMEM;
    return false;
  }
  const long count = without_signals([&] { return ::getdents64(fd_.get(), buffer_.get(), buffer_size); });
  // One that was removed meanwhile has nothing more.
  if (count < 0) error_ = count == -ENOENT ? 0 : static_cast<int>(-count);
  at_ = 0;
  end_ = count > 0 ? static_cast<std::size_t>(count) : 0;
  return end_ > 0;
}

bool directory_reader::next(entry& found) {
  for (;;) {
    if (at_ >= end_ && !fill()) return false;
    const auto* here = reinterpret_cast<const dirent64*>(buffer_.get() + at_);
    at_ += here->d_reclen;
    const std::string_view name(here->d_name);
    if (is_dots(name)) continue;
    found.name = name;
    found.type = here->d_type == DT_UNKNOWN ? type_at(fd_.get(), here->d_name, false) : type_of_dirent(here->d_type);
    return true;
  }
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
