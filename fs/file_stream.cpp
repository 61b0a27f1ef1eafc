#include <weir/fs/file_stream.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
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
    auto count = co_await file_.read(room).at(seekable_ ? position_ : own_position);
    if (count == 0) co_return std::nullopt;
    position_ += count;
    if (count == rest_.size()) co_return std::exchange(rest_, {});
    co_return rest_.take_front(count);
  }

 private:
  task<void> prepare() {
    if (!file_.is_open()) file_ = co_await open(std::move(path_), how_);
    struct stat found;  // NOLINT: the system fills it in
    seekable_ = ::fstat(file_.descriptor(), &found) != 0 || S_ISREG(found.st_mode) || S_ISBLK(found.st_mode);
    if (seekable_) ::posix_fadvise(file_.descriptor(), static_cast<off_t>(position_), 0, POSIX_FADV_SEQUENTIAL);
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
};

class file_sink {
 public:
  file_sink(file to, std::string path, const write_stream_options& options)
      : file_(std::move(to)),
        path_(std::move(path)),
        how_(options.how),
        permissions_(options.permissions),
        position_(options.start),
        flush_(options.flush) {}

  task<void> write(buffer chunk) {
    if (!file_.is_open()) co_await prepare();
    co_await file_.write(chunk.bytes(), position_);
    advance(chunk.size());
  }

  task<void> write_batch(std::span<buffer> chunks) {
    if (!file_.is_open()) co_await prepare();
    std::array<std::span<const std::byte>, 64> pieces;
    while (!chunks.empty()) {
      auto count = std::min(chunks.size(), pieces.size());
      std::size_t size = 0;
      for (std::size_t i = 0; i < count; ++i) {
        pieces[i] = chunks[i].bytes();
        size += chunks[i].size();
      }
      co_await file_.write_pieces(std::span<const std::span<const std::byte>>(pieces.data(), count), position_);
      advance(size);
      chunks = chunks.subspan(count);
    }
  }

  task<void> end() {
    if (!file_.is_open()) co_await prepare();
    if (flush_) co_await file_.sync();
    co_await file_.close();
  }

 private:
  task<void> prepare() { file_ = co_await open(path_, how_, {.permissions = permissions_}); }

  void advance(std::size_t size) noexcept {
    if (position_) *position_ += size;
  }

  file file_;
  std::string path_;
  mode how_;
  std::uint32_t permissions_;
  std::optional<std::uint64_t> position_;
  bool flush_;
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
