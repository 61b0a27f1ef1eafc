#include <weir/fs/lock.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/event.hpp>
#include <weir/fs/error.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::chrono::milliseconds first_look(1);
constexpr auto whole = std::numeric_limits<std::uint64_t>::max();

using file_key = std::pair<std::uint64_t, std::uint64_t>;  // device and inode

struct flock flock_of(const lock_options& options, short type) noexcept {
  struct flock wanted = {};
  wanted.l_type = type;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = static_cast<off_t>(options.offset);
  wanted.l_len = static_cast<off_t>(options.size);
  return wanted;
}

std::uint64_t end_of(const lock_options& options) noexcept {
  return options.size == 0 ? whole : options.offset + options.size;
}

bool in_the_way(const lock_options& a, const lock_options& b) noexcept {
  if (a.kind == lock_kind::shared && b.kind == lock_kind::shared) return false;
  return a.offset < end_of(b) && b.offset < end_of(a);
}

// Those of this process who wait for a lock on some file, in order of arrival.
class waiting_room {
 public:
  struct place {
    lock_options wants;
    event look;  // it may be its turn
  };
  using queue = std::list<place*>;

  void enter(file_key key, place& p) {
    std::lock_guard guard(lock_);
    queues_[key].push_back(&p);
  }

  void leave(file_key key, place& p) noexcept {
    std::lock_guard guard(lock_);
    auto at = queues_.find(key);
    at->second.remove(&p);
    if (at->second.empty()) {
      queues_.erase(at);
    } else {
      call_up(at->second);
    }
  }

  bool is_turn_of(file_key key, const place& p) const noexcept {
    std::lock_guard guard(lock_);
    return may_look(queues_.at(key), p);
  }

  void unlocked(file_key key) noexcept {
    std::lock_guard guard(lock_);
    auto at = queues_.find(key);
    if (at != queues_.end()) call_up(at->second);
  }

 private:
  static bool may_look(const queue& all, const place& p) noexcept {
    for (const auto* each : all) {
      if (each == &p) return true;
      if (in_the_way(each->wants, p.wants)) return false;
    }
    return true;
  }

  // Under the lock, which keeps whoever is called from going away.
  static void call_up(const queue& all) noexcept {
    for (auto* each : all) {
      if (may_look(all, *each)) each->look.set();
    }
  }

  mutable std::mutex lock_;
  std::map<file_key, queue> queues_;
};

waiting_room& room() {
  static auto& one = *new waiting_room;  // outlives whatever is destroyed at exit and holds a lock
  return one;
}

}  // namespace

/// A lock on its way: what is to be locked, and a place in the queue for it.
class detail::lock_request {
 public:
  /// @param shown what errors say in place of the path, where that is not the one that was given
  lock_request(std::string path, std::optional<std::string> shown, const lock_options& options)
      : path_(std::move(path)), by_name_(!shown), shown_(shown ? std::move(*shown) : path_), delay_(first_look) {
    place_.wants = options;
  }
  lock_request(const lock_request&) = delete;
  lock_request& operator=(const lock_request&) = delete;
  ~lock_request() { drop(); }

  /// Opens what is to be locked and looks whether it can be. @return whether it is
  result<bool> look(const stop_flag& stop);
  file_lock take() noexcept;

  event& called() noexcept { return place_.look; }
  /// Whether only somebody who is told of it stands in the way.
  bool behind_another() const noexcept { return !turn_; }
  std::chrono::milliseconds delay() noexcept {
    return std::exchange(delay_, std::min(delay_ * 2, std::max(place_.wants.look_again, first_look)));
  }

 private:
  result<void> open_it();
  result<bool> ask();
  bool still_there() const noexcept;
  void drop() noexcept;
  void note() noexcept;
  file_key key() const noexcept { return {grip_.dev, grip_.ino}; }

  std::string path_;
  bool by_name_;
  std::string shown_;
  std::chrono::milliseconds delay_;
  file_lock::grip grip_;
  waiting_room::place place_;
  bool queued_ = false;
  bool turn_ = false;
};

namespace detail {

result<void> lock_request::open_it() {
  const bool shared = place_.wants.kind == lock_kind::shared;
  const int how = (shared ? O_RDONLY : O_RDWR) | (by_name_ ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  if (has_nul(path_)) return nul_error("path", path_);
  const auto opened = without_signals([&] { return ::open(path_.c_str(), how, 0666); });
  if (opened < 0) return os_error(static_cast<int>(-opened), "open", shown_);
  grip_.fd = io::descriptor(static_cast<int>(opened));
  struct stat found;  // NOLINT: the system fills it in
  if (::fstat(grip_.fd.get(), &found) != 0) return os_error(errno, "fstat", shown_);
  grip_.dev = found.st_dev;
  grip_.ino = found.st_ino;
  room().enter(key(), place_);
  queued_ = true;
  return {};
}

result<bool> lock_request::ask() {
  auto wanted = flock_of(place_.wants, place_.wants.kind == lock_kind::shared ? F_RDLCK : F_WRLCK);
  const long answer = without_signals([&] { return ::fcntl(grip_.fd.get(), F_OFD_SETLK, &wanted); });
  if (answer == -EAGAIN || answer == -EACCES) return false;
  if (answer < 0) return os_error(static_cast<int>(-answer), "lock", shown_);
  return true;
}

// A lock on a file that has lost its name keeps nobody out.
bool lock_request::still_there() const noexcept {
  if (!by_name_) return true;
  struct stat found;  // NOLINT: the system fills it in
  return ::stat(path_.c_str(), &found) == 0 && found.st_dev == grip_.dev && found.st_ino == grip_.ino;
}

result<bool> lock_request::look(const stop_flag& stop) {
  for (;;) {
    if (stop.requested()) return weir::failure(cancelled());
    if (!queued_) {
      auto opened = open_it();
      if (!opened) return opened.failure();
    }
    place_.look.reset();
    turn_ = room().is_turn_of(key(), place_);
    auto got = turn_ ? ask() : result<bool>(false);
    if (!got) return got;
    if (still_there()) {
      if (*got) note();
      return got;
    }
    drop();
  }
}

void lock_request::note() noexcept {
  if (!by_name_ || !place_.wants.note_holder || place_.wants.kind == lock_kind::shared) return;
  std::array<char, 16> text;  // NOLINT: filled as far as it is used
  auto end = std::to_chars(text.data(), text.data() + text.size() - 1, ::getpid()).ptr;
  *end++ = '\n';
  grip_.noted = ::ftruncate(grip_.fd.get(), 0) == 0 &&
                ::pwrite(grip_.fd.get(), text.data(), static_cast<std::size_t>(end - text.data()), 0) > 0;
}

file_lock lock_request::take() noexcept {
  queued_ = false;
  file_lock held(std::move(grip_));
  room().leave(key(), place_);
  return held;
}

void lock_request::drop() noexcept {
  if (grip_.fd) file_lock(std::exchange(grip_, {.dev = grip_.dev, .ino = grip_.ino})).unlock();
  if (std::exchange(queued_, false)) room().leave(key(), place_);
}

}  // namespace detail

void file_lock::unlock() noexcept {
  if (!held_.fd) return;
  if (held_.noted) static_cast<void>(::ftruncate(held_.fd.get(), 0) == 0);
  auto all = flock_of({}, F_UNLCK);
  ::fcntl(held_.fd.get(), F_OFD_SETLK, &all);
  held_.fd.close();
  room().unlocked({held_.dev, held_.ino});
}

namespace {

// Opening it again makes a description of its own.
result<std::string> way_to(const file& of) {
  if (!of.is_open()) return os_error(EBADF, "lock", of.path());
  return fmt::format("/proc/self/fd/{}", of.descriptor());
}

call<bool> look(detail::lock_request& request) {
  return {"lock", [&request](const stop_flag& stop) { return request.look(stop); }};
}

task<file_lock> wait_for(result<std::string> path, std::optional<std::string> shown, lock_options options) {
  if (!path) co_return path.failure();
  detail::lock_request request(std::move(*path), std::move(shown), options);
  for (;;) {
    if (co_await look(request)) co_return request.take();
    if (request.behind_another()) {
      co_await request.called().wait();
      continue;
    }
    auto called = co_await attempt(timeout(request.delay(), request.called().wait()));
    if (!called && called.failure().is_cancelled()) co_return called.failure();
  }
}

call<std::optional<file_lock>> look_once(result<std::string> path, std::optional<std::string> shown,
                                         const lock_options& options) {
  return {"lock",
          [path = std::move(path), shown = std::move(shown),
           options](const stop_flag& stop) -> result<std::optional<file_lock>> {
            if (!path) return path.failure();
            detail::lock_request request(*path, shown, options);
            auto got = request.look(stop);
            if (!got) return got.failure();
            if (!*got) return std::optional<file_lock>();
            return std::optional(request.take());
          }};
}

}  // namespace

task<file_lock> lock(const file& of, const lock_options& options) { return wait_for(way_to(of), of.path(), options); }

task<file_lock> lock_path(std::string path, const lock_options& options) {
  return wait_for(std::move(path), std::nullopt, options);
}

call<std::optional<file_lock>> try_lock(const file& of, const lock_options& options) {
  return look_once(way_to(of), of.path(), options);
}

call<std::optional<file_lock>> try_lock_path(std::string path, const lock_options& options) {
  return look_once(std::move(path), std::nullopt, options);
}

call<std::optional<pid_t>> lock_holder(std::string path) {
  return {"lock_holder", [path = std::move(path)]() -> result<std::optional<pid_t>> {
            auto opened = open(path).try_now();
            if (!opened && opened.failure().is("ENOENT")) return std::optional<pid_t>();
            if (!opened) return opened.failure();
            auto asked = flock_of({}, F_RDLCK);
            if (::fcntl(opened->descriptor(), F_OFD_GETLK, &asked) != 0) return os_error(errno, "lock", path);
            if (asked.l_type == F_UNLCK) return std::optional<pid_t>();
            std::array<char, 16> text = {};
            const auto size = ::pread(opened->descriptor(), text.data(), text.size() - 1, 0);
            pid_t holder = 0;
            if (size > 0) std::from_chars(text.data(), text.data() + size, holder);
            return std::optional(holder);
          }};
}

}  // namespace weir::fs
