#include <weir/fs/inotify.hpp>

#include <weir/fs/error.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace weir::fs::detail {
namespace {

error system_error_with(int code, std::string message, std::string_view path) {
  return {std::error_code(code, std::system_category()), std::move(message), {.operation = "watch", .path = path}};
}

error no_instance(int code) {
  if (code != EMFILE) return os_error(code, "inotify_init1");
  const int spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (spare < 0) return os_error(code, "inotify_init1");
  ::close(spare);
  return system_error_with(code,
                           fmt::format("EMFILE: too many inotify instances of this user (fs.inotify.max_user_instances "
                                       "is {}; raise it with sysctl), inotify_init1",
                                       inotify_limit("max_user_instances")),
                           {});
}

error no_watch(int code, const std::string& path) {
  if (code != ENOSPC) return os_error(code, "watch", path);
  return system_error_with(code,
                           fmt::format("ENOSPC: System limit for number of file watchers reached "
                                       "(fs.inotify.max_user_watches is {}; raise it with sysctl), watch '{}'",
                                       inotify_limit("max_user_watches"), path),
                           path);
}

}  // namespace

std::uint64_t inotify_limit(const char* name) noexcept {
  char path[64] = "/proc/sys/fs/inotify/";
  std::strncat(path, name, sizeof(path) - std::strlen(path) - 1);
  const io::descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[32];
  const auto size = file ? ::read(file.get(), text, sizeof(text)) : -1;
  std::uint64_t value = 0;
  if (size > 0) std::from_chars(text, text + size, value);
  return value;
}

inotify::inotify() : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (!fd_) throw no_instance(errno);
  buffer_ = std::make_unique<std::byte[]>(capacity);
}

result<int> inotify::add(const std::string& path, std::uint32_t mask) {
  if (has_nul(path)) return nul_error("path", path);
  const long watch = without_signals([&] { return ::inotify_add_watch(fd_.get(), path.c_str(), mask); });
  if (watch < 0) return no_watch(static_cast<int>(-watch), path);
  return static_cast<int>(watch);
}

void inotify::remove(int watch) noexcept { ::inotify_rm_watch(fd_.get(), watch); }

std::size_t inotify::fill() noexcept {
  const long size = without_signals([&] { return ::read(fd_.get(), buffer_.get(), capacity); });
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

inotify_record inotify::record_at(std::size_t& at) const noexcept {
  ::inotify_event head;
  std::memcpy(&head, buffer_.get() + at, sizeof(head));
  const auto* name = reinterpret_cast<const char*>(buffer_.get() + at + sizeof(head));
  at += sizeof(head) + head.len;
  return {head.wd, head.mask, head.cookie, std::string_view(name, ::strnlen(name, head.len))};
}

}  // namespace weir::fs::detail
