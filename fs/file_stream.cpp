#include <weir/fs/file_stream.hpp>

#include <weir/fs/write_behind.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

namespace weir::fs {
namespace {

constexpr std::uint64_t no_end = ~std::uint64_t{0};
constexpr std::uint64_t own_position = ~std::uint64_t{0};

/// Reads a file from `start` to `end`; opens it first, unless it is open.
class file_source {
 public:
  static constexpr bool cancel_safe = true;

  file_source(file from, std::string path, const read_stream_options& options)
      : file_(std::move(from)),
        path_(std::move(path)),
        how_(options.how),
        position_(options.start),
        end_(options.end && *options.end != no_end ? *options.end + 1 : no_end),
        pool_({.chunk_size = options.chunk_size, .max_cached = 8}) {}

  task<std::optional<buffer>> next() {
    if (!ready_) co_await prepare();
    auto left = end_ - position_;
    if (left == 0) co_return std::nullopt;
    if (rest_.empty()) rest_ = pool_.take();
    auto room = rest_.mutable_bytes().first(std::min<std::uint64_t>(rest_.size(), left));
    auto count = read_at_once(room);
    if (count < 0) count = static_cast<ssize_t>(co_await file_.read(room).at(seekable_ ? position_ : own_position));
    if (count == 0) co_return std::nullopt;
    const auto size = static_cast<std::size_t>(count);
    position_ += size;
    if (size == rest_.size()) co_return std::exchange(rest_, {});
    co_return rest_.take_front(size);
  }

 private:
  // What is in memory is copied here: a trip through the ring costs a sixth more for 64 KiB (perf/fs/stream_bench), and
  // tmpfs has the ring hand each read to a thread.
  ssize_t read_at_once(std::span<std::byte> room) noexcept {
    if (!at_once_) return -1;
    const iovec piece = {room.data(), room.size()};
    const auto count =
        ::preadv2(file_.descriptor(), &piece, 1, static_cast<off_t>(position_), in_memory_ ? 0 : RWF_NOWAIT);
    if (count < 0 && errno == EOPNOTSUPP) at_once_ = false;
    return count;
  }

  task<void> prepare() {
    if (!file_.is_open()) file_ = co_await open(std::move(path_), how_);
    struct stat found;  // NOLINT: the system fills it in
    seekable_ = ::fstat(file_.descriptor(), &found) != 0 || S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
    at_once_ = seekable_;
    if (seekable_) {
      ::posix_fadvise(file_.descriptor(), static_cast<off_t>(position_), 0, POSIX_FADV_SEQUENTIAL);
      struct statfs on;  // NOLINT: the system fills it in
      in_memory_ = ::fstatfs(file_.descriptor(), &on) == 0 && (on.f_type == TMPFS_MAGIC || on.f_type == RAMFS_MAGIC);
    }
    ready_ = true;
  }

  file file_;
  std::string path_;
  mode how_;
  std::uint64_t position_;
  std::uint64_t end_;
  buffer_pool pool_;
  buffer rest_;
  bool ready_ = false;
  bool seekable_ = true;
  bool at_once_ = false;    // reads may be tried without waiting
  bool in_memory_ = false;  // the file system has no disk to wait for
};

/// Writes a file, on a thread behind the writer's back unless it wants to wait for each chunk.
class file_sink {
 public:
  file_sink(file to, std::string path, const write_stream_options& options)
      : file_(std::move(to)),
        path_(std::move(path)),
        how_(options.how),
        permissions_(options.permissions),
        position_(options.start),
        behind_limit_(options.write_behind),
        flush_(options.flush) {}
  file_sink(file_sink&&) noexcept = default;
  file_sink& operator=(file_sink&&) = delete;
  ~file_sink() {
    if (behind_) behind_->abandon();
  }

  task<void> write(buffer chunk) {
    if (!ready_) co_await prepare();
    if (behind_) co_return co_await behind_->push(std::move(chunk));
    co_await file_.write(chunk.bytes(), position_);
    if (position_) *position_ += chunk.size();
  }

  task<void> write_batch(std::span<buffer> chunks) {
    for (auto& each : chunks) co_await write(std::move(each));
  }

  task<void> end() {
    if (!ready_) co_await prepare();
    if (behind_) co_await behind_->flush();
    auto& target = behind_ ? behind_->target() : file_;
    if (flush_) co_await target.sync();
    co_await target.close();
  }

 private:
  task<void> prepare() {
    if (!file_.is_open()) file_ = co_await open(path_, how_, {.permissions = permissions_});
    if (!position_) position_ = file_.position();
    if (behind_limit_ > 0) {
      behind_ = std::make_shared<detail::write_behind>(std::move(file_), position_, behind_limit_);
    }
    ready_ = true;
  }

  file file_;
  std::string path_;
  mode how_;
  std::uint32_t permissions_;
  std::optional<std::uint64_t> position_;
  std::size_t behind_limit_;
  std::shared_ptr<detail::write_behind> behind_;
  bool flush_;
  bool ready_ = false;
};

io::readable<buffer> make_readable(file from, std::string path, read_stream_options&& options) {
  if (options.end && *options.end < options.start) {
    throw error(errc::err_out_of_range,
                fmt::format("The value of \"start\" is out of range. It must be <= \"end\" (here: {}). Received {}",
                            *options.end, options.start));
  }
  io::stream_options<buffer> of_stream = {.high_water_mark = options.high_water_mark,
                                          .on_close = std::move(options.on_close)};
  return io::readable<buffer>(file_source(std::move(from), std::move(path), options), std::move(of_stream));
}

io::writable<buffer> make_writable(file to, std::string path, write_stream_options&& options) {
  io::stream_options<buffer> of_stream = {.high_water_mark = options.high_water_mark,
                                          .on_close = std::move(options.on_close)};
  return io::writable<buffer>(file_sink(std::move(to), std::move(path), options), std::move(of_stream));
}

}  // namespace

io::readable<buffer> read_stream(std::string path, read_stream_options options) {
  return make_readable({}, std::move(path), std::move(options));
}

io::readable<buffer> read_stream(file from, read_stream_options options) {
  return make_readable(std::move(from), {}, std::move(options));
}

io::readable<std::string> read_lines(std::string path, const io::split_options& options) {
  return io::readable<std::string>(read_stream(std::move(path)) | io::lines(options));
}

io::writable<buffer> write_stream(std::string path, write_stream_options options) {
  return make_writable({}, std::move(path), std::move(options));
}

io::writable<buffer> write_stream(file to, write_stream_options options) {
  return make_writable(std::move(to), {}, std::move(options));
}

}  // namespace weir::fs
