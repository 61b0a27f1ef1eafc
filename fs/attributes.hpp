// fs/attributes.hpp: changing what a file is said to be: permissions, owner, times, size, extended attributes. Rests on
// fs/call. Of a file that is open, fs/file does the same.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/stat.hpp>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

/// chmod(2). @param permissions the lower twelve bits: 0644, 04755 ... @throws weir::error ENOENT, EPERM, EROFS
call<void> chmod(std::string path, std::uint32_t permissions);

/// An owner or a group that `chown` leaves as it is.
inline constexpr std::uint32_t same_owner = ~std::uint32_t{0};

/// chown(2), and lchown(2) for a symbolic link itself. @throws weir::error ENOENT, EPERM (giving files away is root's)
call<void> chown(std::string path, std::uint32_t user, std::uint32_t group);
call<void> lchown(std::string path, std::uint32_t user, std::uint32_t group);

/// What a file's time is set to: a point in time, the present, or what it is already. File systems keep some or all of
/// the nanoseconds.
class file_time {
 public:
  file_time(time_point at) noexcept : at_(at), what_(kind::point) {}  // NOLINT: a time is one
  template <class Duration>
  file_time(std::chrono::sys_time<Duration> at) noexcept  // NOLINT
      : file_time(std::chrono::floor<std::chrono::nanoseconds>(at)) {}

  /// The system's time when the call is made; whoever may write the file may set this.
  static file_time now() noexcept { return file_time(kind::present); }
  static file_time same() noexcept { return file_time(kind::same); }

 private:
  friend struct file_times;
  enum class kind : std::uint8_t { point, present, same };
  explicit file_time(kind what) noexcept : what_(what) {}

  time_point at_ = {};
  kind what_;
};

/// utimensat(2), and the same for a symbolic link itself. @throws weir::error ENOENT, EACCES, EPERM, EROFS
call<void> utimes(std::string path, file_time accessed, file_time modified);
call<void> lutimes(std::string path, file_time accessed, file_time modified);

/// Opens the file and cuts it, or lengthens it with zeros that take no room.
/// @throws weir::error ENOENT, EISDIR, EACCES, EFBIG, EINVAL (a fifo, a device)
call<void> truncate(std::string path, std::uint64_t size = 0);

/// Whose extended attribute, and what must be so before it is set.
struct xattr_options {
  bool follow = true;    ///< false: of a symbolic link itself
  bool create = false;   ///< EEXIST if there is one of that name
  bool replace = false;  ///< ENODATA if there is none
};

/// getxattr(2) and its like. Names begin with their namespace: "user.mime_type"; values are bytes, at most 64 KiB.
/// @throws weir::error ENODATA (no such attribute), ENOTSUP (not on this file system), ERANGE (a name that is too long)
call<buffer> get_xattr(std::string path, std::string name, const xattr_options& options = {});
call<void> set_xattr(std::string path, std::string name, std::string value, const xattr_options& options = {});
call<void> set_xattr(std::string path, std::string name, std::span<const std::byte> value,
                     const xattr_options& options = {});
/// Names, in no order.
call<std::vector<std::string>> list_xattrs(std::string path, const xattr_options& options = {});
call<void> remove_xattr(std::string path, std::string name, const xattr_options& options = {});

}  // namespace weir::fs
