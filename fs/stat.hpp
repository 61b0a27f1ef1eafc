// fs/stat.hpp: what a file is: kind, size, owner, times. Rests on statx(2), statfs(2), faccessat2(2).
#pragma once

#include <weir/fs/call.hpp>
#include <weir/io/operation.hpp>

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <utility>

namespace weir::fs {

/// A point in the system's time, as files have it: UTC, nanoseconds.
using time_point = std::chrono::sys_time<std::chrono::nanoseconds>;

enum class file_type : std::uint8_t {
  unknown,
  regular,
  directory,
  symlink,
  fifo,
  socket,
  character_device,
  block_device
};

/// The kind that a mode's S_IFMT bits or a directory entry's d_type stand for.
file_type type_of_mode(std::uint32_t mode) noexcept;
file_type type_of_dirent(unsigned char type) noexcept;

/// What stat(2) and statx(2) know (Node's fs.Stats).
struct file_stat {
  std::uint64_t dev = 0;    ///< the device it is on
  std::uint64_t ino = 0;    ///< its inode: with `dev` what makes it this file
  std::uint32_t mode = 0;   ///< kind and permissions
  std::uint64_t nlink = 0;  ///< names it has
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t rdev = 0;     ///< of a device file: the device it stands for
  std::uint64_t size = 0;     ///< bytes
  std::uint32_t blksize = 0;  ///< bytes that are best read or written at once
  std::uint64_t blocks = 0;   ///< of 512 bytes, allocated
  time_point atime = {};      ///< last read
  time_point mtime = {};      ///< last change of the content
  time_point ctime = {};      ///< last change of anything above
  time_point birthtime = {};  ///< made; the same as ctime where the file system does not keep it

  file_type type() const noexcept { return type_of_mode(mode); }
  bool is_file() const noexcept { return type() == file_type::regular; }
  bool is_directory() const noexcept { return type() == file_type::directory; }
  bool is_symbolic_link() const noexcept { return type() == file_type::symlink; }
  bool is_fifo() const noexcept { return type() == file_type::fifo; }
  bool is_socket() const noexcept { return type() == file_type::socket; }
  bool is_character_device() const noexcept { return type() == file_type::character_device; }
  bool is_block_device() const noexcept { return type() == file_type::block_device; }
  std::uint32_t permissions() const noexcept { return mode & 07777; }
};

/// Milliseconds since 1970 with their fraction, as Node's mtimeMs.
double milliseconds_of(time_point time) noexcept;

/// What `stat` and `lstat` return; to be used like a `call`. The ring makes this one where there is one: 64 at a time
/// that takes about half of the CPU time of a thread that may block (perf/micro/files, stat_ring). Cancelling it takes
/// it out of the system's queue if it has not been begun.
class [[nodiscard]] stat_operation : public io::operation_wait {
 public:
  using value_type = file_stat;

  /// @param name a literal @param how AT_SYMLINK_NOFOLLOW or 0
  stat_operation(const char* name, std::string path, int how);

  bool await_ready() const noexcept { return refused_; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    point();
    return operation_wait::await_suspend(h);
  }
  file_stat await_resume() { return try_resume().value(); }
  result<file_stat> try_resume();

  /// Makes the call on this thread.
  file_stat now() && { return std::move(*this).try_now().value(); }
  result<file_stat> try_now() &&;

 private:
  const char* what() const noexcept override { return name_; }
  void point() noexcept;

  alignas(8) std::byte found_[256];  // a struct statx
  std::string path_;
  const char* name_;
  bool refused_;
};

/// stat(2): what `path` leads to. @throws weir::error ENOENT, EACCES, ELOOP, ENAMETOOLONG, ENOTDIR
stat_operation stat(std::string path);
/// lstat(2): a symbolic link itself.
stat_operation lstat(std::string path);

/// What a file system has (Node's fs.StatFs); sizes in blocks of `bsize` bytes.
struct filesystem_stat {
  std::uint64_t type = 0;  ///< its magic number: 0xef53 is ext4, 0x01021994 tmpfs
  std::uint64_t bsize = 0;
  std::uint64_t blocks = 0;
  std::uint64_t bfree = 0;
  std::uint64_t bavail = 0;  ///< free for those who are not root
  std::uint64_t files = 0;
  std::uint64_t ffree = 0;
};
call<filesystem_stat> statfs(std::string path);

/// What `access` asks for; together with |.
enum class access_mode : std::uint8_t { exists = 0, execute = 1, write = 2, read = 4 };
constexpr access_mode operator|(access_mode a, access_mode b) noexcept {
  return static_cast<access_mode>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

/// access(2): completes if this process may do that, by its real user. What it says may be out of date at once: to
/// open a file, open it and look at the error. @throws weir::error ENOENT, EACCES, EROFS
call<void> access(std::string path, access_mode wanted = access_mode::exists);

/// Whether `path` leads to something; false as well where that cannot be found out.
call<bool> exists(std::string path);

namespace detail {

/// Makes the call here. @param flags AT_SYMLINK_NOFOLLOW or 0
result<file_stat> stat_now(const char* operation, const std::string& path, int flags);
/// Of an open file; `path` is for the error.
result<file_stat> stat_descriptor(int fd, const std::string& path);

/// Some file systems have times after 2262, which nanoseconds of 64 bits do not reach: they are held at the end.
time_point time_of(std::int64_t seconds, std::int64_t nanoseconds) noexcept;
timespec timespec_of(time_point time) noexcept;

}  // namespace detail
}  // namespace weir::fs
