// io/retry.hpp: a source that is made anew when it fails, from where it stopped. Rests on io/stage.hpp and timers.
#pragma once

#include <weir/core/result.hpp>
#include <weir/core/time.hpp>
#include <weir/io/stage.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace weir::io {

/// Where a source is to go on: what the reader has got already.
struct resume_point {
  std::uint64_t items = 0;
  std::uint64_t bytes = 0;  ///< of items with a size()
  unsigned attempt = 0;     ///< 0: the first source
};

struct retry_options {
  /// Failures in a row, without an item between them, after which the next one is the reader's.
  unsigned attempts = 3;
  /// Before the second source; then `factor` times as long each time, up to `max_delay`.
  std::chrono::nanoseconds delay = std::chrono::seconds(1);
  double factor = 2;
  std::chrono::nanoseconds max_delay = std::chrono::seconds(30);
  /// Whether to try again after this failure; not set: always.
  std::function<bool(const failure&)> when = {};
};

namespace streams {

std::chrono::nanoseconds retry_delay(const retry_options& options, unsigned failures) noexcept;

template <class F>
class retrying_source {
  using S = call_result<F&, const resume_point&>;
  using T = source_value<S>;

 public:
  retrying_source(F&& make, retry_options&& options) : make_(std::move(make)), options_(std::move(options)) {}

  task<std::optional<T>> next() {
    for (;;) {
      auto item = co_await attempt(step());
      if (item) {
        if (*item) note(**item);
        co_return std::move(*item);
      }
      auto& why = item.failure();
      if (why.is_cancelled()) why.rethrow();
      current_.reset();
      if (failures_ >= options_.attempts || (options_.when && !options_.when(why))) why.rethrow();
      ++failures_;
      ++point_.attempt;
      pause_ = retry_delay(options_, failures_);
    }
  }
  bool closed() const noexcept { return current_ && !survives_cancel(*current_); }
  void destroy(const std::exception_ptr& why) noexcept {
    if (current_) tell_destroyed(*current_, why);
  }

 private:
  task<std::optional<T>> step() {
    if (!current_) {
      if (pause_.count() != 0) co_await sleep(pause_);
      pause_ = {};
      if constexpr (gives_task<F&, const resume_point&>) {
        current_.emplace(co_await std::invoke(make_, std::as_const(point_)));
      } else {
        current_.emplace(std::invoke(make_, std::as_const(point_)));
      }
    }
    co_return co_await current_->next();
  }

  void note(const T& item) noexcept {
    failures_ = 0;
    ++point_.items;
    if constexpr (requires { item.size(); }) point_.bytes += static_cast<std::uint64_t>(item.size());
  }

  F make_;
  retry_options options_;
  resume_point point_;
  std::optional<S> current_;
  std::chrono::nanoseconds pause_{0};
  unsigned failures_ = 0;
};

}  // namespace streams

/// The items of the source that `make(const resume_point&)` returns, or a task of one. When that fails it is dropped
/// and, after a while, another one is made, which is told how much the reader has got: so nothing comes twice if it
/// begins there. `make` itself may fail, that counts the same. A cancelled `next` is never a reason to try again, and
/// loses nothing if the source does not.
template <class F>
auto retry(F make, retry_options options = {}) {
  return streams::retrying_source<F>(std::move(make), std::move(options));
}

}  // namespace weir::io
