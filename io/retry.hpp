// io/retry.hpp: streams that try again after a failure: a source that is made anew from where it stopped, and an
// operator that calls its function again for the same item. Rests on io/stage.hpp and timers.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/result.hpp>
#include <weir/core/spin_lock.hpp>
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

/// What is told before a pause.
struct retry_event {
  unsigned failures = 0;                ///< in a row
  std::chrono::nanoseconds delay = {};  ///< the pause that follows
  const failure& why;
};

struct retry_options {
  /// Failures in a row, without an item between them, after which the next one is the reader's.
  unsigned attempts = 3;
  /// Before the second source or call; then `factor` times as long each time, up to `max_delay`.
  std::chrono::nanoseconds delay = std::chrono::seconds(1);
  double factor = 2;
  std::chrono::nanoseconds max_delay = std::chrono::seconds(30);
  /// The share of each pause that is left to chance, 0 to 1, so that many that failed together do not come back
  /// together.
  double jitter = 0;
  /// Whether to try again after this failure; not set: always.
  std::function<bool(const failure&)> when = {};
  std::function<void(const retry_event&)> on_retry = {};
};

struct retry_map_options {
  retry_options again = {};
  /// The time for each call, which fails with ETIMEDOUT after it.
  std::chrono::nanoseconds attempt_timeout = std::chrono::nanoseconds::max();
  /// Asked when an item has failed for the last time: true leaves it out and goes on. Not set: the failure is the
  /// reader's.
  std::function<bool(const failure&)> skip = {};
};

namespace streams {

/// @throws weir::error ERR_OUT_OF_RANGE for a jitter that is not 0 to 1 or a negative factor
retry_options checked(retry_options options);

/// The pause after so many failures in a row, which has been announced; nothing if the last one is final.
std::optional<std::chrono::nanoseconds> next_pause(const retry_options& options, unsigned failures, const failure& why);

/// Waits; however short, others get their turn.
task<void> pause_for(std::chrono::nanoseconds time);

template <class F>
class retrying_source {
  using S = call_result<F&, const resume_point&>;
  using T = source_value<S>;

 public:
  retrying_source(F&& make, retry_options&& options) : make_(std::move(make)), options_(checked(std::move(options))) {}

  task<std::optional<T>> next() {
    for (;;) {
      auto item = co_await attempt(step());
      if (item) {
        if (*item) note(**item);
        co_return std::move(*item);
      }
      auto& why = item.failure();
      if (why.is_cancelled()) why.rethrow();
      drop();
      pause_ = next_pause(options_, failures_ + 1, why);
      if (!pause_) why.rethrow();
      ++failures_;
      ++point_.attempt;
    }
  }
  bool closed() const noexcept { return current_ && !survives_cancel(*current_); }
  /// May come from another thread while `next` is under way.
  void destroy(const std::exception_ptr& why) noexcept {
    weir::detail::spin_guard guard(lock_);
    if (current_) tell_destroyed(*current_, why);
  }

 private:
  void keep(S&& made) {
    weir::detail::spin_guard guard(lock_);
    current_.emplace(std::move(made));
  }
  void drop() noexcept {
    weir::detail::spin_guard guard(lock_);
    auto gone = std::move(current_);
    current_.reset();
    guard.unlock();
  }

  task<std::optional<T>> step() {
    if (!current_) {
      if (pause_) co_await pause_for(*pause_);
      pause_.reset();
      if constexpr (gives_task<F&, const resume_point&>) {
        keep(co_await std::invoke(make_, std::as_const(point_)));
      } else {
        keep(std::invoke(make_, std::as_const(point_)));
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
  movable_lock lock_;  // for `current_` to come and go, and `destroy`
  std::optional<std::chrono::nanoseconds> pause_;
  unsigned failures_ = 0;
};

template <class S, class F>
class retry_mapped_source : public reading<S> {
  using T = item_of<S>;
  using U = call_result<F&, const T&>;

 public:
  retry_mapped_source(S&& from, F&& each, retry_map_options&& options)
      : reading<S>(std::forward<S>(from)), each_(std::move(each)), options_(std::move(options)) {
    options_.again = checked(std::move(options_.again));
  }

  task<std::optional<U>> next() {
    auto& running = co_await weir::detail::this_fiber{};
    for (;;) {
      if (!held_) held_ = co_await this->from_.next();
      if (!held_) co_return std::nullopt;
      auto made = co_await once();
      if (made) {
        done();
        co_return std::optional<U>(std::move(*made));
      }
      auto& why = made.failure();
      if (running.must_stop()) why.rethrow();
      ++failures_;
      if (auto pause = next_pause(options_.again, failures_, why)) {
        co_await pause_for(*pause);
        continue;
      }
      done();
      if (!options_.skip || !options_.skip(why)) why.rethrow();
    }
  }

 private:
  task<U> call() {
    if constexpr (gives_task<F&, const T&>) {
      co_return co_await std::invoke(each_, std::as_const(*held_));
    } else {
      co_return std::invoke(each_, std::as_const(*held_));
    }
  }

  task<result<U>> once() {
    if (options_.attempt_timeout == std::chrono::nanoseconds::max()) co_return co_await attempt(call());
    co_return co_await attempt(timeout(options_.attempt_timeout, call()));
  }

  void done() noexcept {
    held_.reset();
    failures_ = 0;
  }

  F each_;
  retry_map_options options_;
  std::optional<T> held_;  // so that an item survives a call that is cancelled
  unsigned failures_ = 0;  // with it
};

}  // namespace streams

/// The items of the source that `make(const resume_point&)` returns, or a task of one. When that fails it is dropped
/// and, after a while, another one is made, which is told how much the reader has got: so nothing comes twice if it
/// begins there. `make` itself may fail, that counts the same. A cancelled `next` is never a reason to try again, and
/// loses nothing if the source does not.
/// @throws weir::error ERR_OUT_OF_RANGE for a jitter that is not 0 to 1 or a negative factor
template <class F>
auto retry(F make, retry_options options = {}) {
  return streams::retrying_source<F>(std::move(make), std::move(options));
}

/// `map`, where a call that fails is made again with the same item after a while: `each(const T&)`, plain or a
/// coroutine. Items come out in their order; those after one that is being retried wait for it, and are not read
/// meanwhile. An item whose failure is final is gone: left out if `skip` says so, else its failure comes out of the
/// `next` that met it, and the next call goes on behind it.
///
/// A cancelled `next` loses nothing if the source does not: the following one calls again with the same item, so `each`
/// must be ready to see an item more than once. Several at a time: `map(scope, ...)` with a function that retries.
/// @throws weir::error ERR_OUT_OF_RANGE for a jitter that is not 0 to 1 or a negative factor, when the stage gets its
/// source
template <class F>
auto retry_map(F each, retry_map_options options = {}) {
  return stage([each = std::move(each), options = std::move(options)]<class S>(S&& from) mutable {
    return streams::retry_mapped_source<S, F>(std::forward<S>(from), std::move(each), std::move(options));
  });
}

}  // namespace weir::io
