#include <weir/fs/tail.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/watch.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace weir::fs {
namespace {

/// Where the last `lines` lines of a file begin, looking from its end.
task<std::uint64_t> start_of_last_lines(const file& in, std::uint64_t size, std::size_t lines) {
  constexpr std::size_t block = 16 * 1024;
  std::array<std::byte, block> bytes;  // NOLINT: filled as far as it is used
  std::size_t seen = 0;
  for (std::uint64_t end = size; end > 0;) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(block, end));
    const auto begin = end - count;
    auto got = co_await in.read_full(std::span(bytes).first(count), begin);
    for (std::size_t i = got; i > 0; --i) {
      const bool closes_the_last = begin + i == size;
      if (bytes[i - 1] == std::byte{'\n'} && !closes_the_last && ++seen == lines) co_return begin + i;
    }
    end = begin;
  }
  co_return 0;
}

class tail_source {
 public:
  static constexpr bool cancel_safe = true;

  tail_source(std::string path, const tail_options& options)
      : path_(std::move(path)), options_(options), pool_({.chunk_size = options.chunk_size, .max_cached = 4}) {}

  task<std::optional<buffer>> next() {
    if (!watch_) watch_.emplace(co_await watch(path_));
    if (!file_.is_open()) co_await begin();
    for (;;) {
      if (rest_.empty()) rest_ = pool_.take();
      if (auto count = co_await file_.read(rest_.mutable_bytes()).at(position_)) {
        position_ += count;
        co_return count == rest_.size() ? std::exchange(rest_, {}) : rest_.take_front(count);
      }
      if (!co_await moved_on()) static_cast<void>(co_await wait());
    }
  }

 private:
  task<void> begin() {
    file_ = co_await open(path_);
    auto size = (co_await file_.stat()).size;
    position_ = options_.start.value_or(size);
    if (!options_.start && options_.last_lines > 0) {
      position_ = co_await start_of_last_lines(file_, size, options_.last_lines);
    }
  }

  // At the end of what is there: whether there is another place to read from.
  task<bool> moved_on() {
    auto own = co_await file_.stat();
    if (own.size < position_) {
      position_ = 0;
      co_return true;
    }
    auto named = co_await attempt(stat(path_));
    if (named && named->ino == own.ino && named->dev == own.dev) co_return false;
    if (!named && !named.failure().is("ENOENT")) named.failure().rethrow();
    if (own.size > position_) co_return true;  // the old one first
    if (!named) co_return false;
    auto next = co_await attempt(open(path_));
    if (!next && next.failure().is("ENOENT")) co_return false;
    file_ = std::move(next).value();
    position_ = 0;
    co_return true;
  }

  task<void> wait() {
    auto told = co_await attempt(timeout(options_.look_every, watch_->next()));
    if (!told && !told.failure().is("ETIMEDOUT")) told.failure().rethrow();
  }

  std::string path_;
  tail_options options_;
  buffer_pool pool_;
  buffer rest_;
  std::optional<path_watch> watch_;
  file file_;
  std::uint64_t position_ = 0;
};

}  // namespace

io::readable<buffer> tail(std::string path, const tail_options& options) {
  return io::readable<buffer>(tail_source(std::move(path), options));
}

io::readable<std::string> tail_lines(std::string path, const tail_options& options, const io::split_options& split) {
  return io::readable<std::string>(tail(std::move(path), options) | io::lines(split));
}

}  // namespace weir::fs
