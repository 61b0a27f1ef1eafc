#include <weir/fs/copy.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/path.hpp>
#include <weir/fs/tree.hpp>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace weir::fs {
namespace {

using detail::file_id;
using detail::without_signals;

// Between two looks at whether the copy should end, and two calls of `progress`.
constexpr std::size_t piece = std::size_t{8} << 20;
constexpr std::size_t buffer_size = std::size_t{256} << 10;

/// One file's copy. Its functions give 0 or an errno.
class file_copy {
 public:
  file_copy(const std::string& src, const std::string& dest, const copy_options& options, const stop_flag& stop)
      : src_(src), dest_(dest), options_(options), stop_(stop) {}
  file_copy(const file_copy&) = delete;
  file_copy& operator=(const file_copy&) = delete;
  ~file_copy() {
    if (begun_ && !complete_) discard();
  }

  result<void> run();
  std::uint64_t size() const noexcept { return done_; }

 private:
  int open_both();
  int copy();
  int clone();
  int copy_bytes();
  int copy_extents(off_t size);
  int copy_range(off_t from, off_t until);
  int copy_by_hand(off_t from, off_t until);
  int copy_stream();
  int write_all(const std::byte* from, std::size_t size, std::optional<off_t> position);
  void report(bool at_end);
  void discard() noexcept;

  const std::string& src_;
  const std::string& dest_;
  const copy_options& options_;
  const stop_flag& stop_;
  io::descriptor from_;
  io::descriptor to_;
  struct stat source_ = {};
  struct stat target_ = {};
  std::unique_ptr<std::byte[]> buffer_;
  std::uint64_t done_ = 0;
  bool same_ = false;
  bool begun_ = false;  // something of the target was changed
  bool complete_ = false;
  bool by_hand_ = false;
};

error copy_error(int why, const std::string& src, const std::string& dest) {
  return os_error(why, "copyfile", src, dest);
}

result<void> file_copy::run() {
  if (detail::has_nul(src_)) return detail::nul_error("src", src_);
  if (detail::has_nul(dest_)) return detail::nul_error("dest", dest_);
  if (const int why = open_both()) return copy_error(why, src_, dest_);
  if (same_) return {};
  if (const int why = copy()) {
    if (stop_.requested() && why == ECANCELED) return failure(cancelled());
    return copy_error(why, src_, dest_);
  }
  complete_ = true;
  return {};
}

int open_at(const std::string& path, int flags, mode_t permissions, io::descriptor& into) {
  const long fd = without_signals([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, permissions); });
  if (fd < 0) return static_cast<int>(-fd);
  into = io::descriptor(static_cast<int>(fd));
  return 0;
}

// Neither end waits for the other one of a fifo.
int file_copy::open_both() {
  if (const int why = open_at(src_, O_RDONLY, 0, from_)) return why;
  if (::fstat(from_.get(), &source_) != 0) return errno;
  if (S_ISDIR(source_.st_mode)) return EISDIR;
  // Not emptied yet: it may be the source.
  const int flags = O_WRONLY | O_CREAT | (options_.exclusive ? O_EXCL : 0);
  if (const int why = open_at(dest_, flags, (source_.st_mode & 0777) | S_IWUSR, to_)) return why;
  if (::fstat(to_.get(), &target_) != 0) return errno;
  same_ = source_.st_dev == target_.st_dev && source_.st_ino == target_.st_ino;
  return 0;
}

int file_copy::copy() {
  begun_ = true;
  const bool regular = S_ISREG(target_.st_mode);
  if (regular && target_.st_size > 0 && without_signals([&] { return ::ftruncate(to_.get(), 0); }) < 0) return errno;
  int why = options_.clone == clone_mode::never ? EOPNOTSUPP : clone();
  if (why != 0) {
    if (options_.clone == clone_mode::always) return why;
    why = copy_bytes();
  }
  if (why != 0) return why;
  // The umask has had its part when the file was made.
  if (regular && without_signals([&] { return ::fchmod(to_.get(), source_.st_mode & 01777); }) < 0 && errno != EPERM)
    return errno;
  report(true);
  return 0;
}

int file_copy::clone() {
  const long why = without_signals([&] { return ::ioctl(to_.get(), FICLONE, from_.get()); });
  if (why < 0) return why == -ENOTTY || why == -EINVAL ? EOPNOTSUPP : static_cast<int>(-why);
  done_ = static_cast<std::uint64_t>(source_.st_size);
  return 0;
}

int file_copy::copy_bytes() {
  const bool regular = S_ISREG(source_.st_mode) && S_ISREG(target_.st_mode);
  if (!regular || source_.st_size == 0) return copy_stream();  // files of /proc say 0 and have more
  if (const int why = copy_extents(source_.st_size)) return why;
  // What ends in a hole, or was cut short meanwhile.
  return ::ftruncate(to_.get(), static_cast<off_t>(done_)) == 0 ? 0 : errno;
}

/// Copies what there is and leaves out the holes.
int file_copy::copy_extents(off_t size) {
  const bool holes = source_.st_blocks * 512 < size;
  if (!holes) return copy_range(0, size);
  for (off_t at = 0; at < size;) {
    const off_t data = ::lseek(from_.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;      // only a hole is left
    if (data < 0) return copy_range(at, size);  // a file system that knows of no holes
    const off_t hole = ::lseek(from_.get(), data, SEEK_HOLE);
    const off_t until = hole < 0 ? size : std::min(hole, size);
    if (data >= size) break;
    if (const int why = copy_range(data, until)) return why;
    at = until;
  }
  if (::fstat(from_.get(), &source_) == 0) done_ = static_cast<std::uint64_t>(std::min(size, source_.st_size));
  return 0;
}

int file_copy::copy_range(off_t from, off_t until) {
  while (from < until) {
    if (stop_.requested()) return ECANCELED;
    if (by_hand_) return copy_by_hand(from, until);
    off_t to = from;
    const auto wanted = std::min(static_cast<std::size_t>(until - from), piece);
    const long count =
        without_signals([&] { return ::copy_file_range(from_.get(), &from, to_.get(), &to, wanted, 0); });
    if (count < 0) {
      const bool cannot = count == -EXDEV || count == -EINVAL || count == -ENOSYS || count == -EOPNOTSUPP ||
                          count == -EPERM || count == -EBADF || count == -ETXTBSY;
      if (!cannot) return static_cast<int>(-count);
      by_hand_ = true;
      continue;
    }
    if (count == 0) {
      by_hand_ = true;  // the end, or a file system that says so too early
      continue;
    }
    done_ = static_cast<std::uint64_t>(from);
    report(false);
  }
  return 0;
}

int file_copy::copy_by_hand(off_t from, off_t until) {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
  for (std::size_t unreported = 0; from < until;) {
    if (stop_.requested()) return ECANCELED;
    const auto wanted = std::min(static_cast<std::size_t>(until - from), buffer_size);
    const long count = without_signals([&] { return ::pread(from_.get(), buffer_.get(), wanted, from); });
    if (count < 0) return static_cast<int>(-count);
    if (count == 0) break;
    const auto got = static_cast<std::size_t>(count);
    if (const int why = write_all(buffer_.get(), got, from)) return why;
    from += count;
    done_ = static_cast<std::uint64_t>(from);
    unreported += got;
    if (unreported < piece) continue;
    unreported = 0;
    report(false);
  }
  return 0;
}

/// Copies to the end of what has no size, or to what has no positions.
int file_copy::copy_stream() {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<std::byte[]>(buffer_size);
  for (std::size_t unreported = 0;;) {
    if (stop_.requested()) return ECANCELED;
    const long count = without_signals([&] { return ::read(from_.get(), buffer_.get(), buffer_size); });
    if (count < 0) return static_cast<int>(-count);
    if (count == 0) return 0;
    if (const int why = write_all(buffer_.get(), static_cast<std::size_t>(count), std::nullopt)) return why;
    done_ += static_cast<std::uint64_t>(count);
    unreported += static_cast<std::size_t>(count);
    if (unreported < piece) continue;
    unreported = 0;
    report(false);
  }
}

int file_copy::write_all(const std::byte* from, std::size_t size, std::optional<off_t> position) {
  while (size > 0) {
    const long count = without_signals(
        [&] { return position ? ::pwrite(to_.get(), from, size, *position) : ::write(to_.get(), from, size); });
    if (count < 0) return static_cast<int>(-count);
    from += count;
    size -= static_cast<std::size_t>(count);
    if (position) *position += count;
  }
  return 0;
}

void file_copy::report(bool at_end) {
  if (!options_.progress) return;
  const auto size = static_cast<std::uint64_t>(source_.st_size);
  const auto total = at_end ? done_ : std::max(size, done_);
  if (!at_end && done_ == total) return;  // it is told at the end
  options_.progress({.path = src_, .done = done_, .total = total});
}

/// Takes a partial copy away.
void file_copy::discard() noexcept {
  if (!S_ISREG(target_.st_mode)) return;
  struct stat there;  // NOLINT: the system fills it in
  const bool ours =
      ::lstat(dest_.c_str(), &there) == 0 && there.st_dev == target_.st_dev && there.st_ino == target_.st_ino;
  if (!ours || ::unlink(dest_.c_str()) != 0) static_cast<void>(::ftruncate(to_.get(), 0) == 0);
}

/// Node's SystemError for `cp`.
error cp_error(errc code, int number, const std::string& what, const std::string& path) {
  std::string text(error(code).message());
  text += ": cp returned ";
  text += code_name(std::error_code(number, std::generic_category()));
  text += " (" + what + ") " + path;
  return {code, std::move(text), {.operation = "cp", .path = path}};
}

/// Whether the path `inner` is `outer` or below it, as text.
bool is_within(const std::string& inner, const std::string& outer) { return path::is_inside(outer, inner); }

struct checked {
  file_stat source;
  std::optional<file_stat> target;
};

bool is_same(const file_stat& a, const file_stat& b) noexcept { return a.dev == b.dev && a.ino == b.ino; }

/// A directory that is being copied.
struct copy_level {
  std::string src;
  std::string dest;
  file_id id;
  file_stat source;
  bool made;
  std::vector<std::string> names;
};

class tree_copy {
 public:
  tree_copy(const cp_options& options, const stop_flag& stop)
      : options_(options), file_options_{.clone = options.clone, .progress = options.progress}, stop_(stop) {}

  result<cp_result> run(const std::string& src, const std::string& dest);

 private:
  result<void> copy_one(const std::string& src, const std::string& dest, bool first);
  result<std::optional<checked>> check(const std::string& src, const std::string& dest) const;
  result<void> begin_directory(const std::string& src, const std::string& dest, const checked& found);
  result<void> end_directory();
  result<void> copy_plain(const std::string& src, const std::string& dest, const checked& found);
  result<void> copy_link(const std::string& src, const std::string& dest, const checked& found);
  result<std::string> link_target(const std::string& link) const;
  result<void> check_replaced_link(const std::string& target, const std::string& dest, const std::string& there) const;

  const cp_options& options_;
  const copy_options file_options_;
  const stop_flag& stop_;
  cp_result counts_;
  std::optional<file_id> dest_root_;
  std::vector<copy_level> levels_;
};

/// A directory above `dest` that is `src` itself.
bool has_above(const std::string& dest, const file_stat& src) {
  for (std::string at = path::dirname(path::resolve(dest));;) {
    auto found = detail::stat_now("stat", at, 0);
    if (found && is_same(*found, src)) return true;
    auto above = path::dirname(at);
    if (above == at) return false;
    at = std::move(above);
  }
}

error into_itself(const std::string& src, const std::string& dest) {
  return cp_error(errc::err_fs_cp_einval, EINVAL, "cannot copy " + src + " to a subdirectory of self " + dest, dest);
}

result<void> make_directory(const std::string& where, mode_t permissions = 0777) {
  return detail::only_done(detail::on_path("mkdir", where, [&] { return ::mkdir(where.c_str(), permissions); }));
}

/// mkdir -p
result<void> make_parents(const std::string& of) {
  std::vector<std::string> missing;
  for (std::string at = path::dirname(of);; at = path::dirname(at)) {
    auto found = detail::stat_now("mkdir", at, 0);
    if (found && !found->is_directory()) return os_error(ENOTDIR, "mkdir", at);
    if (found) break;
    if (found.failure().code() != std::errc::no_such_file_or_directory) return found.failure();
    missing.push_back(at);
    if (path::dirname(at) == at) break;
  }
  for (; !missing.empty(); missing.pop_back()) {
    auto made = make_directory(missing.back());
    if (!made && made.failure().code() != std::errc::file_exists) return made;  // another may have made it
  }
  return {};
}

result<void> set_times(const std::string& where, const file_stat& source, int flags) {
  const timespec times[2] = {detail::timespec_of(source.atime), detail::timespec_of(source.mtime)};
  return detail::only_done(
      detail::on_path("utime", where, [&] { return ::utimensat(AT_FDCWD, where.c_str(), times, flags); }));
}

result<void> unlink_now(const std::string& where) {
  return detail::only_done(detail::on_path("unlink", where, [&] { return ::unlink(where.c_str()); }));
}

result<cp_result> tree_copy::run(const std::string& src, const std::string& dest) {
  auto done = copy_one(src, dest, true);
  while (done && !levels_.empty()) {
    if (stop_.requested()) return failure(cancelled());
    auto& top = levels_.back();
    if (top.names.empty()) {
      done = end_directory();
      continue;
    }
    auto name = std::move(top.names.back());
    top.names.pop_back();
    done = copy_one(path::join(top.src, name), path::join(top.dest, name), false);
  }
  if (!done) return done.failure();
  return counts_;
}

result<void> tree_copy::copy_one(const std::string& src, const std::string& dest, bool first) {
  auto looked = check(src, dest);
  if (!looked) return looked.failure();
  if (!*looked) return {};
  auto& found = **looked;
  if (first) {
    if (has_above(dest, found.source)) return into_itself(src, dest);
    auto made = make_parents(dest);
    if (!made) return made;
  }
  switch (found.source.type()) {
    case file_type::directory:
      if (options_.recursive) return begin_directory(src, dest, found);
      return cp_error(errc::err_fs_eisdir, EISDIR, src + " is a directory (not copied)", src);
    case file_type::symlink: return copy_link(src, dest, found);
    case file_type::fifo: return cp_error(errc::err_fs_cp_fifo_pipe, EINVAL, "cannot copy a FIFO pipe: " + dest, dest);
    case file_type::socket: return cp_error(errc::err_fs_cp_socket, EINVAL, "cannot copy a socket file: " + dest, dest);
    case file_type::unknown:
      return cp_error(errc::err_fs_cp_unknown, EINVAL, "cannot copy an unknown file type: " + dest, dest);
    default: return copy_plain(src, dest, found);
  }
}

/// @return nothing if the filter leaves it out
result<std::optional<checked>> tree_copy::check(const std::string& src, const std::string& dest) const {
  if (options_.filter && !options_.filter(src, dest)) return std::optional<checked>();
  const char* operation = options_.dereference ? "stat" : "lstat";
  const int flags = options_.dereference ? 0 : AT_SYMLINK_NOFOLLOW;
  auto source = detail::stat_now(operation, src, flags);
  if (!source) return source.failure();
  auto target = detail::stat_now(operation, dest, flags);
  if (!target && target.failure().code() != std::errc::no_such_file_or_directory) return target.failure();
  checked found{.source = *source, .target = target ? std::optional(*target) : std::nullopt};
  if (found.target) {
    if (is_same(*source, *target))
      return cp_error(errc::err_fs_cp_einval, EINVAL, "src and dest cannot be the same", dest);
    if (source->is_directory() && !target->is_directory())
      return cp_error(errc::err_fs_cp_dir_to_non_dir, EISDIR,
                      "cannot overwrite non-directory " + dest + " with directory " + src, dest);
    if (!source->is_directory() && target->is_directory())
      return cp_error(errc::err_fs_cp_non_dir_to_dir, ENOTDIR,
                      "cannot overwrite directory " + dest + " with non-directory " + src, dest);
  }
  if (source->is_directory() && is_within(dest, src)) return into_itself(src, dest);
  return std::optional(found);
}

result<void> tree_copy::begin_directory(const std::string& src, const std::string& dest, const checked& found) {
  const file_id id{found.source.dev, found.source.ino};
  for (auto& each : levels_)
    if (each.id == id) return os_error(ELOOP, "cp", src, dest);
  if (dest_root_ == id) return into_itself(src, dest);  // by way of a link
  detail::directory_reader reader;
  if (const int why = reader.open(AT_FDCWD, src.c_str(), options_.dereference ? 0 : O_NOFOLLOW))
    return os_error(why, "opendir", src);
  if (!found.target) {
    auto made = make_directory(dest, (found.source.permissions() & 0777) | S_IRWXU);
    if (!made) return made;
  }
  if (!dest_root_) {
    if (auto made = detail::stat_now("stat", dest, 0)) dest_root_ = file_id{made->dev, made->ino};
  }
  copy_level level{.src = src, .dest = dest, .id = id, .source = found.source, .made = !found.target, .names = {}};
  detail::directory_reader::entry next;
  while (reader.next(next)) level.names.emplace_back(next.name);
  if (reader.error() != 0) return os_error(reader.error(), "scandir", src);
  ++counts_.directories;
  levels_.push_back(std::move(level));
  return {};
}

/// Permissions and times come last: a directory may be one that is not to be written to.
result<void> tree_copy::end_directory() {
  auto done = std::move(levels_.back());
  levels_.pop_back();
  if (done.made) {
    auto set = detail::on_path("chmod", done.dest,
                               [&] { return ::chmod(done.dest.c_str(), done.source.permissions() & 01777); });
    if (!set) return set.failure();
  }
  if (options_.preserve_timestamps) return set_times(done.dest, done.source, 0);
  return {};
}

result<void> tree_copy::copy_plain(const std::string& src, const std::string& dest, const checked& found) {
  if (found.target) {
    if (!options_.force) {
      if (!options_.error_on_exist) return {};
      return cp_error(errc::err_fs_cp_eexist, EEXIST, dest + " already exists", dest);
    }
    auto gone = unlink_now(dest);
    if (!gone) return gone;
  }
  file_copy one(src, dest, file_options_, stop_);
  auto done = one.run();
  if (!done) return done;
  ++counts_.files;
  counts_.bytes += one.size();
  if (options_.preserve_timestamps) return set_times(dest, found.source, 0);
  return {};
}

result<std::string> tree_copy::link_target(const std::string& link) const {
  std::string target(4096, '\0');
  auto length =
      detail::on_path("readlink", link, [&] { return ::readlink(link.c_str(), target.data(), target.size()); });
  if (!length) return length.failure();
  target.resize(static_cast<std::size_t>(*length));
  return target;
}

result<void> tree_copy::copy_link(const std::string& src, const std::string& dest, const checked& found) {
  auto target = link_target(src);
  if (!target) return target.failure();
  const auto resolved = path::resolve(path::dirname(src), *target);
  if (found.target) {
    if (!options_.force) {
      if (!options_.error_on_exist) return {};
      return cp_error(errc::err_fs_cp_eexist, EEXIST, dest + " already exists", dest);
    }
    if (found.target->is_symbolic_link()) {
      auto there = link_target(dest);
      if (!there) return there.failure();
      auto fine = check_replaced_link(resolved, dest, path::resolve(path::dirname(dest), *there));
      if (!fine) return fine;
    }
    auto gone = unlink_now(dest);
    if (!gone) return gone;
  }
  const bool absolute = path::is_absolute(*target);
  const auto& text = options_.verbatim_symlinks || absolute ? *target : resolved;
  auto made = detail::on_paths("symlink", text, dest, [&] { return ::symlink(text.c_str(), dest.c_str()); });
  if (!made) return made.failure();
  ++counts_.links;
  if (options_.preserve_timestamps) return set_times(dest, found.source, AT_SYMLINK_NOFOLLOW);
  return {};
}

/// `dest` is a link to `there` already, and is to become one to `target`.
result<void> tree_copy::check_replaced_link(const std::string& target, const std::string& dest,
                                            const std::string& there) const {
  if (target == there) return {};
  if (is_within(there, target))
    return cp_error(errc::err_fs_cp_einval, EINVAL, "cannot copy " + target + " to a subdirectory of self " + there,
                    dest);
  auto found = detail::stat_now("stat", dest, 0);
  if (found && found->is_directory() && is_within(target, there))
    return cp_error(errc::err_fs_cp_symlink_to_subdirectory, EINVAL, "cannot overwrite " + there + " with " + target,
                    dest);
  return {};
}

}  // namespace

call<void> copy_file(std::string src, std::string dest, copy_options options) {
  return {"copy_file_range", [src = std::move(src), dest = std::move(dest), options = std::move(options)](
                                 const stop_flag& stop) { return file_copy(src, dest, options, stop).run(); }};
}

call<cp_result> cp(std::string src, std::string dest, cp_options options) {
  return {"copy_file_range", [src = std::move(src), dest = std::move(dest), options = std::move(options)](
                                 const stop_flag& stop) { return tree_copy(options, stop).run(src, dest); }};
}

}  // namespace weir::fs
