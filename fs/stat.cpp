#include <weir/fs/stat.hpp>

#include <weir/fs/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace weir::fs {
namespace {

time_point time_of(const statx_timestamp& t) noexcept { return detail::time_of(t.tv_sec, t.tv_nsec); }

file_stat from_statx(const struct statx& s) noexcept {
  file_stat found;
  found.dev = makedev(s.stx_dev_major, s.stx_dev_minor);
  found.ino = s.stx_ino;
  found.mode = s.stx_mode;
  found.nlink = s.stx_nlink;
  found.uid = s.stx_uid;
  found.gid = s.stx_gid;
  found.rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor);
  found.size = s.stx_size;
  found.blksize = s.stx_blksize;
  found.blocks = s.stx_blocks;
  found.atime = time_of(s.stx_atime);
  found.mtime = time_of(s.stx_mtime);
  found.ctime = time_of(s.stx_ctime);
  found.birthtime = (s.stx_mask & STATX_BTIME) != 0 ? time_of(s.stx_btime) : found.ctime;
  return found;
}

constexpr unsigned statx_mask = STATX_BASIC_STATS | STATX_BTIME;

}  // namespace

file_type type_of_mode(std::uint32_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG: return file_type::regular;
    case S_IFDIR: return file_type::directory;
    case S_IFLNK: return file_type::symlink;
    case S_IFIFO: return file_type::fifo;
    case S_IFSOCK: return file_type::socket;
    case S_IFCHR: return file_type::character_device;
    case S_IFBLK: return file_type::block_device;
    default: return file_type::unknown;
  }
}

file_type type_of_dirent(unsigned char type) noexcept { return type_of_mode(std::uint32_t{type} << 12); }

double milliseconds_of(time_point time) noexcept {
  return std::chrono::duration<double, std::milli>(time.time_since_epoch()).count();
}

namespace detail {

time_point time_of(std::int64_t seconds, std::int64_t nanoseconds) noexcept {
  constexpr auto most = std::chrono::floor<std::chrono::seconds>(time_point::duration::max()).count();
  if (seconds >= most) return time_point::max();
  if (seconds <= -most) return time_point::min();
  return time_point(std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanoseconds));
}

timespec timespec_of(time_point time) noexcept {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {.tv_sec = seconds.count(), .tv_nsec = (since - seconds).count()};
}

result<file_stat> stat_now(const char* operation, const std::string& path, int flags) {
  struct statx found;  // NOLINT: the system fills it in
  auto done = on_path(operation, path, [&] { return ::statx(AT_FDCWD, path.c_str(), flags, statx_mask, &found); });
  if (!done) return done.failure();
  return from_statx(found);
}

result<file_stat> stat_descriptor(int fd, const std::string& path) {
  struct statx found;  // NOLINT: the system fills it in
  auto done = on_path("fstat", path, [&] { return ::statx(fd, "", AT_EMPTY_PATH, statx_mask, &found); });
  if (!done) return done.failure();
  return from_statx(found);
}

}  // namespace detail

stat_operation::stat_operation(const char* name, std::string path, int how)
    : path_(std::move(path)), name_(name), refused_(detail::has_nul(path_)) {
  static_assert(sizeof found_ == sizeof(struct statx) && alignof(struct statx) <= 8);
  code = opcode::statx;
  fd = AT_FDCWD;
  flags = static_cast<std::uint32_t>(how);
  length = statx_mask;
}

// It has come to rest by now.
void stat_operation::point() noexcept {
  buffer = path_.data();
  second = found_;
}

result<file_stat> stat_operation::try_resume() {
  if (refused_) return detail::nul_error("path", path_);
  if (answer_ == -ECANCELED) return failure(cancelled());
  if (answer_ < 0) return os_error(-answer_, name_, path_);
  struct statx found;  // NOLINT: copied into
  std::memcpy(&found, found_, sizeof found);
  return from_statx(found);
}

result<file_stat> stat_operation::try_now() && {
  point();
  if (!refused_) answer_ = perform_here();
  return try_resume();
}

stat_operation stat(std::string path) { return {"stat", std::move(path), 0}; }

stat_operation lstat(std::string path) { return {"lstat", std::move(path), AT_SYMLINK_NOFOLLOW}; }

call<filesystem_stat> statfs(std::string path) {
  return {"statfs", [path = std::move(path)]() -> result<filesystem_stat> {
            struct statfs s;  // NOLINT: the system fills it in
            auto done = detail::on_path("statfs", path, [&] { return ::statfs(path.c_str(), &s); });
            if (!done) return done.failure();
            return filesystem_stat{.type = static_cast<std::uint64_t>(s.f_type),
                                   .bsize = static_cast<std::uint64_t>(s.f_bsize),
                                   .blocks = s.f_blocks,
                                   .bfree = s.f_bfree,
                                   .bavail = s.f_bavail,
                                   .files = s.f_files,
                                   .ffree = s.f_ffree};
          }};
}

call<void> access(std::string path, access_mode wanted) {
  return {"access", [path = std::move(path), wanted] {
            return detail::only_done(
                detail::on_path("access", path, [&] { return ::access(path.c_str(), static_cast<int>(wanted)); }));
          }};
}

call<bool> exists(std::string path) {
  return {"access", [path = std::move(path)]() -> result<bool> {
            return !detail::has_nul(path) && ::access(path.c_str(), F_OK) == 0;
          }};
}

}  // namespace weir::fs
