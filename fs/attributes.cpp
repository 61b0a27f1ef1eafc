#include <weir/fs/attributes.hpp>

#include <weir/fs/error.hpp>
#include <weir/io/descriptor.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <limits>
#include <optional>
#include <utility>

namespace weir::fs {

struct file_times {
  timespec both[2];

  file_times(file_time accessed, file_time modified) noexcept : both{spec(accessed), spec(modified)} {}

 private:
  static timespec spec(const file_time& time) noexcept {
    if (time.what_ == file_time::kind::present) return {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    if (time.what_ == file_time::kind::same) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
    return detail::timespec_of(time.at_);
  }
};

namespace {

call<void> set_times(const char* operation, std::string path, file_times times, int flags) {
  return {operation, [operation, path = std::move(path), times, flags] {
            return detail::only_done(detail::on_path(
                operation, path, [&] { return ::utimensat(AT_FDCWD, path.c_str(), times.both, flags); }));
          }};
}

call<void> set_owner(const char* operation, std::string path, std::uint32_t user, std::uint32_t group, int flags) {
  return {operation, [operation, path = std::move(path), user, group, flags] {
            return detail::only_done(detail::on_path(
                operation, path, [&] { return ::fchownat(AT_FDCWD, path.c_str(), user, group, flags); }));
          }};
}

result<void> truncate_now(const std::string& path, std::uint64_t size) {
  auto opened =
      detail::on_path("open", path, [&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); });
  if (!opened) return opened.failure();
  const io::descriptor fd(static_cast<int>(*opened));
  if (size > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) return os_error(EFBIG, "ftruncate", path);
  return detail::only_done(
      detail::on_path("ftruncate", path, [&] { return ::ftruncate(fd.get(), static_cast<off_t>(size)); }));
}

// "getxattr" with Node's manner of speaking; the name is a part of what it is about.
template <class F>
result<long> on_attribute(const char* operation, const std::string& path, const std::string& name, F&& make) {
  if (detail::has_nul(name)) return detail::nul_error("name", name);
  return detail::on_path(operation, path, make);
}

// Asks for the size, then for that much, again where it has grown meanwhile.
template <class F>
result<std::string> sized(const char* operation, const std::string& path, const std::string& name, F&& make) {
  for (;;) {
    auto size = on_attribute(operation, path, name, [&] { return make(nullptr, std::size_t{0}); });
    if (!size) return size.failure();
    if (*size == 0) return std::string();
    std::string content(static_cast<std::size_t>(*size), '\0');
    auto got = on_attribute(operation, path, name, [&] { return make(content.data(), content.size()); });
    if (!got && got.failure().code() == std::errc::result_out_of_range) continue;
    if (!got) return got.failure();
    content.resize(static_cast<std::size_t>(*got));
    return content;
  }
}

result<buffer> get_now(const std::string& path, const std::string& name, bool follow) {
  auto value = sized("getxattr", path, name, [&](char* into, std::size_t size) {
    return follow ? ::getxattr(path.c_str(), name.c_str(), into, size)
                  : ::lgetxattr(path.c_str(), name.c_str(), into, size);
  });
  if (!value) return value.failure();
  return buffer::copy_of(std::as_bytes(std::span(*value)));
}

result<std::vector<std::string>> list_now(const std::string& path, bool follow) {
  auto all = sized("listxattr", path, {}, [&](char* into, std::size_t size) {
    return follow ? ::listxattr(path.c_str(), into, size) : ::llistxattr(path.c_str(), into, size);
  });
  if (!all) return all.failure();
  std::vector<std::string> names;
  for (std::size_t at = 0; at < all->size();) {
    names.emplace_back(all->c_str() + at);
    at += names.back().size() + 1;
  }
  return names;
}

}  // namespace

call<void> chmod(std::string path, std::uint32_t permissions) {
  return {
      "chmod", [path = std::move(path), permissions] {
        return detail::only_done(detail::on_path("chmod", path, [&] { return ::chmod(path.c_str(), permissions); }));
      }};
}

call<void> chown(std::string path, std::uint32_t user, std::uint32_t group) {
  return set_owner("chown", std::move(path), user, group, 0);
}

call<void> lchown(std::string path, std::uint32_t user, std::uint32_t group) {
  return set_owner("lchown", std::move(path), user, group, AT_SYMLINK_NOFOLLOW);
}

call<void> utimes(std::string path, file_time accessed, file_time modified) {
  return set_times("utime", std::move(path), {accessed, modified}, 0);
}

call<void> lutimes(std::string path, file_time accessed, file_time modified) {
  return set_times("lutime", std::move(path), {accessed, modified}, AT_SYMLINK_NOFOLLOW);
}

call<void> truncate(std::string path, std::uint64_t size) {
  return {"truncate", [path = std::move(path), size] { return truncate_now(path, size); }};
}

call<buffer> get_xattr(std::string path, std::string name, const xattr_options& options) {
  return {"getxattr", [path = std::move(path), name = std::move(name), follow = options.follow] {
            return get_now(path, name, follow);
          }};
}

call<void> set_xattr(std::string path, std::string name, std::string value, const xattr_options& options) {
  return {"setxattr", [path = std::move(path), name = std::move(name), value = std::move(value), options] {
            const int flags = (options.create ? XATTR_CREATE : 0) | (options.replace ? XATTR_REPLACE : 0);
            return detail::only_done(on_attribute("setxattr", path, name, [&] {
              return options.follow ? ::setxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags)
                                    : ::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags);
            }));
          }};
}

call<void> set_xattr(std::string path, std::string name, std::span<const std::byte> value,
                     const xattr_options& options) {
  return set_xattr(std::move(path), std::move(name),
                   std::string(reinterpret_cast<const char*>(value.data()), value.size()), options);
}

call<std::vector<std::string>> list_xattrs(std::string path, const xattr_options& options) {
  return {"listxattr", [path = std::move(path), follow = options.follow] { return list_now(path, follow); }};
}

call<void> remove_xattr(std::string path, std::string name, const xattr_options& options) {
  return {"removexattr", [path = std::move(path), name = std::move(name), follow = options.follow] {
            return detail::only_done(on_attribute("removexattr", path, name, [&] {
              return follow ? ::removexattr(path.c_str(), name.c_str()) : ::lremovexattr(path.c_str(), name.c_str());
            }));
          }};
}

}  // namespace weir::fs
