#include <weir/fs/atomic_file.hpp>

#include <weir/fs/error.hpp>
#include <weir/fs/write_all.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <ctime>
#include <mutex>
#include <utility>

namespace weir::fs {
namespace {

constexpr int most_links = 40;  // as the system follows
constexpr int most_names = 100;

error closed_error(std::string_view path) {
  return {errc::err_closed, fmt::format("'{}' has been committed or discarded", path), {.path = path}};
}

// As much of the name as leaves room for the rest: 255 bytes is what file systems take.
std::string temporary_name(std::string_view base) {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) number = static_cast<std::uint64_t>(::clock());
  return fmt::format(".{}.{:016x}.tmp", base.substr(0, 200), number);
}

std::string_view directory_of(std::string_view path) noexcept {
  auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string_view base_of(std::string_view path) noexcept { return path.substr(path.rfind('/') + 1); }

// Where a chain of symbolic links leads, whether there is something or not.
result<std::string> end_of_links(const std::string& path) {
  std::string at = path;
  std::array<char, 4096> target;  // NOLINT: the system fills it in
  for (int i = 0; i < most_links; ++i) {
    const auto size = ::readlink(at.c_str(), target.data(), target.size());
    if (size < 0 && (errno == EINVAL || errno == ENOENT)) return at;
    if (size < 0) return os_error(errno, "open", path);
    const std::string_view next(target.data(), static_cast<std::size_t>(size));
    at = next.starts_with('/') ? std::string(next) : fmt::format("{}/{}", directory_of(at), next);
  }
  return os_error(ELOOP, "open", path);
}

// What the permissions of the old file come to where the new one could not have the same owner or group.
std::uint32_t permissions_for(std::uint32_t wanted, bool same_owner, bool same_group) noexcept {
  if (!same_owner) wanted &= ~std::uint32_t{S_ISUID};
  if (!same_group) wanted &= ~std::uint32_t{S_ISGID} & ~((~wanted & 07U) << 3U);
  return wanted;
}

}  // namespace

/// The new content on its way. Everything happens relative to the directory's descriptor, wherever that is moved to.
class detail::replacement {
 public:
  replacement(std::string path, const atomic_options& options) : path_(std::move(path)), options_(options) {}
  replacement(const replacement&) = delete;
  replacement& operator=(const replacement&) = delete;
  ~replacement() { discard(); }

  result<void> begin();
  result<void> commit(const stop_flag& stop);
  void discard() noexcept;

  const std::string& path() const noexcept { return path_; }
  const file& contents() const noexcept { return file_; }
  bool is_open() const noexcept { return file_.is_open(); }
  /// Where the next piece goes, so that several may be on their way at once.
  std::uint64_t claim(std::uint64_t size) noexcept { return end_.fetch_add(size, std::memory_order_relaxed); }
  void note(const failure& why) {
    std::lock_guard guard(lock_);
    if (!failed_) failed_ = why;
  }

 private:
  result<void> find_place();
  result<void> look_at_old();
  result<void> make();
  result<void> make_named(std::uint32_t permissions);
  result<void> dress();
  result<void> give_name();
  result<void> take_place();

  error fail(const char* operation) const { return os_error(errno, operation, path_); }

  std::string path_;
  atomic_options options_;
  std::string base_;
  io::descriptor directory_;
  file file_;
  std::optional<struct stat> old_;
  std::string temporary_;  // the name that it has already, if any
  std::atomic<std::uint64_t> end_{0};
  std::mutex lock_;  // several writes may fail at once
  std::optional<failure> failed_;
};

namespace detail {

result<void> replacement::begin() {
  if (has_nul(path_)) return nul_error("path", path_);
  for (auto each : {&replacement::find_place, &replacement::look_at_old, &replacement::make, &replacement::dress}) {
    auto done = (this->*each)();
    if (!done) {
      discard();
      return done;
    }
  }
  return {};
}

result<void> replacement::find_place() {
  auto place = options_.follow_links ? end_of_links(path_) : result<std::string>(path_);
  if (!place) return place.failure();
  base_ = base_of(*place);
  if (place->empty()) return os_error(ENOENT, "open", path_);
  if (base_.empty() || base_ == "." || base_ == "..") return os_error(EISDIR, "open", path_);
  const std::string directory(directory_of(*place));
  const int kind = options_.flush == durability::full ? O_RDONLY : O_PATH;
  auto opened = without_signals([&] { return ::open(directory.c_str(), kind | O_DIRECTORY | O_CLOEXEC); });
  if (opened < 0) return os_error(static_cast<int>(-opened), "open", path_);
  directory_ = io::descriptor(static_cast<int>(opened));
  return {};
}

result<void> replacement::look_at_old() {
  struct stat found;  // NOLINT: the system fills it in
  if (::fstatat(directory_.get(), base_.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return fail("open");
  }
  if (!options_.replace) return os_error(EEXIST, "open", path_);
  if (S_ISDIR(found.st_mode)) return os_error(EISDIR, "open", path_);
  if (S_ISLNK(found.st_mode)) return {};  // to be replaced; its permissions say nothing
  if (!S_ISREG(found.st_mode)) {
    return error(errc::err_invalid_arg_value,
                 fmt::format("Only a regular file can be replaced atomically. Received '{}'", path_), {.path = path_});
  }
  old_ = found;
  return {};
}

// What takes over permissions is closed to others until it has them.
result<void> replacement::make() {
  const std::uint32_t permissions = old_ || options_.permissions ? 0600 : 0666;
  auto made =
      without_signals([&] { return ::openat(directory_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, permissions); });
  if (made == -EOPNOTSUPP || made == -EISDIR || made == -ENOENT) return make_named(permissions);
  if (made < 0) return os_error(static_cast<int>(-made), "open", path_);
  file_ = file(io::descriptor(static_cast<int>(made)), path_);
  return {};
}

result<void> replacement::make_named(std::uint32_t permissions) {
  long made = -EEXIST;
  for (int i = 0; i < most_names && made == -EEXIST; ++i) {
    temporary_ = temporary_name(base_);
    made = without_signals([&] {
      return ::openat(directory_.get(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, permissions);
    });
  }
  if (made < 0) {
    temporary_.clear();
    return os_error(static_cast<int>(-made), "open", path_);
  }
  file_ = file(io::descriptor(static_cast<int>(made)), path_);
  return {};
}

// Owner first: chown(2) takes the set-ID bits away.
result<void> replacement::dress() {
  if (!old_ && !options_.permissions) return {};
  bool same_owner = true;
  bool same_group = true;
  if (old_) {
    struct stat mine;  // NOLINT: the system fills it in
    if (::fstat(file_.descriptor(), &mine) != 0) return fail("fstat");
    same_owner = mine.st_uid == old_->st_uid;
    same_group = mine.st_gid == old_->st_gid;
    const int fd = file_.descriptor();
    if (!same_group && options_.keep_owner) same_group = ::fchown(fd, static_cast<uid_t>(-1), old_->st_gid) == 0;
    if (!same_owner && options_.keep_owner) same_owner = ::fchown(fd, old_->st_uid, static_cast<gid_t>(-1)) == 0;
  }
  const auto permissions =
      options_.permissions ? *options_.permissions : permissions_for(old_->st_mode & 07777, same_owner, same_group);
  if (::fchmod(file_.descriptor(), permissions) != 0) return fail("chmod");
  return {};
}

// Of a file without one: the first that is free. Whoever may not replace gives it the last at once.
result<void> replacement::give_name() {
  if (!temporary_.empty()) return {};
  const auto self = fmt::format("/proc/self/fd/{}", file_.descriptor());
  for (int i = 0; i < most_names; ++i) {
    const std::string name = options_.replace ? temporary_name(base_) : base_;
    int done = ::linkat(AT_FDCWD, self.c_str(), directory_.get(), name.c_str(), AT_SYMLINK_FOLLOW);
    if (done != 0 && errno == ENOENT) {  // no /proc
      done = ::linkat(file_.descriptor(), "", directory_.get(), name.c_str(), AT_EMPTY_PATH);
    }
    if (done == 0) {
      if (options_.replace) temporary_ = name;
      return {};
    }
    if (errno != EEXIST || !options_.replace) return fail("link");
  }
  return fail("link");
}

result<void> replacement::take_place() {
  if (temporary_.empty()) return {};
  const unsigned flags = options_.replace ? 0 : RENAME_NOREPLACE;
  if (::renameat2(directory_.get(), temporary_.c_str(), directory_.get(), base_.c_str(), flags) != 0) {
    return os_error(errno, "rename", temporary_, path_);
  }
  temporary_.clear();
  return {};
}

result<void> replacement::commit(const stop_flag& stop) {
  struct at_end {
    replacement& of;
    ~at_end() { of.discard(); }
  } closing{*this};
  if (failed_) return *failed_;
  if (!is_open()) return closed_error(path_);
  if (options_.flush != durability::none) {
    auto flushed = file_.sync().try_now();
    if (!flushed) return flushed.failure();
  }
  if (stop.requested()) return weir::failure(cancelled());
  auto named = give_name();
  if (!named) return named;
  auto closed = file_.try_close_now();  // some file systems tell of a failed write here
  if (!closed) return closed;
  auto placed = take_place();
  if (!placed) return placed;
  if (options_.flush == durability::full && ::fsync(directory_.get()) != 0) return fail("fsync");
  return {};
}

void replacement::discard() noexcept {
  if (!temporary_.empty()) ::unlinkat(directory_.get(), temporary_.c_str(), 0);
  temporary_.clear();
  static_cast<void>(file_.try_close_now());
  directory_.close();
}

}  // namespace detail

call<void> write_file_atomic(std::string path, std::span<const std::byte> content, const atomic_options& options) {
  return {"write_file_atomic", [path = std::move(path), content, options](const stop_flag& stop) -> result<void> {
            detail::replacement made(path, options);
            auto done = made.begin();
            if (done) done = detail::write_all(made.contents().descriptor(), path, content, stop);
            if (done) done = made.commit(stop);
            return done;
          }};
}

call<void> write_file_atomic(std::string path, std::string_view content, const atomic_options& options) {
  return write_file_atomic(std::move(path), std::as_bytes(std::span(content)), options);
}

call<atomic_file> open_atomic(std::string path, const atomic_options& options) {
  return {"open_atomic", [path = std::move(path), options]() -> result<atomic_file> {
            auto made = std::make_unique<detail::replacement>(path, options);
            auto begun = made->begin();
            if (!begun) return begun.failure();
            return atomic_file(std::move(made));
          }};
}

atomic_file::atomic_file() noexcept = default;
atomic_file::atomic_file(std::unique_ptr<detail::replacement> made) noexcept : made_(std::move(made)) {}
atomic_file::atomic_file(atomic_file&&) noexcept = default;
atomic_file& atomic_file::operator=(atomic_file&&) noexcept = default;
atomic_file::~atomic_file() = default;

bool atomic_file::is_open() const noexcept { return made_ && made_->is_open(); }

const std::string& atomic_file::path() const noexcept {
  static const std::string none;
  return made_ ? made_->path() : none;
}

const file& atomic_file::contents() const noexcept {
  static const file none;
  return made_ ? made_->contents() : none;
}

task<void> atomic_file::write(std::span<const std::byte> from, std::optional<std::uint64_t> position) {
  if (!is_open()) throw closed_error(path());
  auto written = co_await attempt(made_->contents().write(from, position ? *position : made_->claim(from.size())));
  if (written) co_return;
  made_->note(written.failure());
  written.failure().rethrow();
}

task<void> atomic_file::write(std::string_view text, std::optional<std::uint64_t> position) {
  return write(std::as_bytes(std::span(text)), position);
}

call<void> atomic_file::commit() {
  return {"commit", [this](const stop_flag& stop) -> result<void> {
            if (!made_) return closed_error(path());
            return made_->commit(stop);
          }};
}

call<void> atomic_file::discard() {
  return {"discard", [this]() -> result<void> {
            if (made_) made_->discard();
            return {};
          }};
}

}  // namespace weir::fs
