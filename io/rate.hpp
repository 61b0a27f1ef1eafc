// io/rate.hpp: operators that have to do with time: throttle, batches that do not wait for long, a limit to silence,
// and a meter. Rests on io/ahead.hpp and the loop's clock. No timer outlives the `next` that set it.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/time.hpp>
#include <weir/io/ahead.hpp>
#include <weir/io/stage.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace weir::io {

struct throttle_options {
  /// Bytes of buffers, or items, in a second; more than 0.
  double per_second = 1;
  /// How many may pass at once after a pause; 0: a tenth of a second's worth, at least 1.
  double burst = 0;
};

struct timed_batch_options {
  std::size_t size = 100;
  /// How long the first item of a batch waits at most for the others.
  std::chrono::nanoseconds within = std::chrono::milliseconds(100);
};

/// What has passed through `measure`. Copies are the same meter; may be read at any time, from any thread.
class meter {
 public:
  std::uint64_t items() const noexcept { return of_->items.load(std::memory_order_relaxed); }
  std::uint64_t bytes() const noexcept { return of_->bytes.load(std::memory_order_relaxed); }
  /// Bytes in an item, 0 before the first.
  double average_size() const noexcept;
  /// Between the first call of `next` and the end, or the last item so far.
  std::chrono::nanoseconds elapsed() const noexcept;
  /// How much of that the source was waited for: the rest is the reader's.
  std::chrono::nanoseconds waited() const noexcept;
  double bytes_per_second() const noexcept;  ///< 0 before any time has passed
  double items_per_second() const noexcept;
  bool ended() const noexcept { return of_->ended.load(std::memory_order_relaxed); }

  /// @cond internal
  void begin() noexcept;
  void add(std::size_t size) noexcept;
  void end() noexcept;
  /// @endcond

 private:
  struct figures {
    std::atomic<std::uint64_t> items{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::int64_t> began{0};  // nanoseconds of the loop's clock; 0: not yet
    std::atomic<std::int64_t> asked{0};  // when the last `next` was called
    std::atomic<std::int64_t> last{0};   // when it answered
    std::atomic<std::int64_t> waited{0};
    std::atomic<bool> ended{false};
  };
  void answered() noexcept;

  std::shared_ptr<figures> of_ = std::make_shared<figures>();
};

namespace streams {

using weir::detail::clock_here;

/// Tokens that come at a steady rate and are kept up to a number.
class token_bucket {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for a rate that is not more than 0, or a burst below 0
  explicit token_bucket(const throttle_options& options);

  /// Takes tokens for something that weighs so much, if there are; what weighs more than all that are kept goes when
  /// they are complete, and leaves a debt.
  /// @return how long to wait before asking again; 0: taken
  std::chrono::nanoseconds take(double weight) noexcept;

 private:
  double rate_;
  double burst_;
  double tokens_;
  std::optional<std::chrono::steady_clock::time_point> filled_;
};

template <class S>
class throttled_source : public reading<S> {
  using T = item_of<S>;

 public:
  throttled_source(S&& from, const throttle_options& options) : reading<S>(std::forward<S>(from)), bucket_(options) {}

  task<std::optional<T>> next() {
    if (!held_) held_ = co_await this->from_.next();
    if (!held_) co_return std::nullopt;
    for (;;) {
      auto pause = bucket_.take(static_cast<double>(own_weight(*held_)));
      if (pause.count() == 0) co_return std::exchange(held_, std::nullopt);
      co_await sleep(pause);
    }
  }

 private:
  token_bucket bucket_;
  std::optional<T> held_;  // waits for its tokens
};

template <class S>
class measured_source : public reading<S> {
  using T = item_of<S>;

 public:
  measured_source(S&& from, meter&& by) : reading<S>(std::forward<S>(from)), meter_(std::move(by)) {}

  task<std::optional<T>> next() {
    meter_.begin();
    auto item = co_await this->from_.next();
    if (item) {
      meter_.add(size_of(*item));
    } else {
      meter_.end();
    }
    co_return item;
  }

 private:
  static std::size_t size_of(const T& item) noexcept {
    if constexpr (requires { item.size(); }) {
      return static_cast<std::size_t>(item.size());
    } else {
      return 0;
    }
  }

  meter meter_;
};

template <class S>
auto next_of(S& from) -> task<std::optional<source_value<S>>> {
  co_return co_await from.next();
}

template <class S>
class impatient_source : public reading<S> {
  using T = item_of<S>;

 public:
  impatient_source(S&& from, std::chrono::nanoseconds limit) : reading<S>(std::forward<S>(from)), limit_(limit) {}

  task<std::optional<T>> next() { return weir::detail::as_task(timeout(limit_, next_of(this->from_))); }

 private:
  std::chrono::nanoseconds limit_;
};

void check_batch(const timed_batch_options& options);

template <class S>
class timed_batch_source {
  using T = item_of<S>;

 public:
  static constexpr bool cancel_safe = true;

  timed_batch_source(scope& owner, S&& from, const timed_batch_options& options)
      : from_(owner, std::forward<S>(from), {.high_water_mark = queue_mark(options)}), options_(options) {}

  task<std::optional<std::vector<T>>> next() {
    if (failed_) std::rethrow_exception(std::exchange(failed_, nullptr));
    while (!over_ && batch_.size() < options_.size) {
      if (!batch_.empty() && clock_here() >= due_) break;
      if (!co_await gather()) break;
    }
    if (batch_.empty()) co_return std::nullopt;
    co_return std::optional<std::vector<T>>(std::exchange(batch_, {}));
  }
  void destroy(const std::exception_ptr& why) noexcept { from_.destroy(why); }

 private:
  static std::size_t queue_mark(const timed_batch_options& options) {
    check_batch(options);
    return is_bytes<T> ? default_high_water_mark<T> : options.size;
  }

  /// One item more. @return false if the batch is not to wait for more
  task<bool> gather() {
    bool waits = !batch_.empty() && from_.length() == 0;
    auto item =
        waits ? co_await attempt(timeout(due_ - clock_here(), next_of(from_))) : co_await attempt(next_of(from_));
    if (!item && waits && item.failure().is("ETIMEDOUT") && clock_here() >= due_) co_return false;
    if (!item) {
      if (batch_.empty() || item.failure().is_cancelled()) item.failure().rethrow();
      failed_ = item.failure().exception();  // behind what has come before it
      co_return false;
    }
    over_ = !*item;
    if (over_) co_return false;
    if (batch_.empty()) due_ = clock_here() + options_.within;
    batch_.push_back(std::move(**item));
    co_return true;
  }

  ahead_source<S> from_;
  timed_batch_options options_;
  std::vector<T> batch_;
  std::chrono::steady_clock::time_point due_ = {};
  std::exception_ptr failed_;
  bool over_ = false;
};

template <class S>
class progress_source : public reading<S> {
  using T = item_of<S>;

 public:
  progress_source(S&& from, meter by, std::chrono::nanoseconds every, std::function<void(const meter&)>&& report)
      : reading<S>(std::forward<S>(from)), meter_(std::move(by)), every_(every), report_(std::move(report)) {}

  task<std::optional<T>> next() {
    if (!next_report_) next_report_ = clock_here() + every_;
    auto item = co_await this->from_.next();
    auto now = clock_here();
    if (item && now < *next_report_) co_return item;
    next_report_ = now + every_;
    if (!over_) report_(meter_);
    over_ = !item;
    co_return item;
  }

 private:
  meter meter_;
  std::chrono::nanoseconds every_;
  std::function<void(const meter&)> report_;
  std::optional<std::chrono::steady_clock::time_point> next_report_;
  bool over_ = false;
};

}  // namespace streams

/// Lets no more pass than a token bucket allows. An item waits for its tokens inside `next`: nothing is lost if that is
/// cancelled, and no timer runs in between. For one item every 100 ms: {.per_second = 10, .burst = 1}.
/// @throws weir::error ERR_OUT_OF_RANGE for a rate that is not more than 0, or a burst below 0
inline auto throttle(throttle_options options) {
  return stage([options]<class S>(S&& from) { return streams::throttled_source<S>(std::forward<S>(from), options); });
}

/// Vectors of up to `size` items, of which the first has not waited for longer than `within` once the reader asks: that
/// counts from the item, not from the last one, so a trickle delays nothing. A child of `owner` reads ahead, see
/// `ahead`. A failure comes behind what was there before it. Cancelling `next` loses nothing.
/// @throws weir::error ERR_OUT_OF_RANGE for a size of 0 or a time below 0
inline auto batch(scope& owner, timed_batch_options options) {
  streams::check_batch(options);
  return stage([&owner, options]<class S>(S&& from) {
    return streams::timed_batch_source<S>(owner, std::forward<S>(from), options);
  });
}

/// Fails with ETIMEDOUT when the source takes longer than `limit` for one item.
inline auto idle_timeout(std::chrono::nanoseconds limit) {
  return stage([limit]<class S>(S&& from) { return streams::impatient_source<S>(std::forward<S>(from), limit); });
}

/// The same items, counted; what has a size() also by that.
inline auto measure(meter by) {
  return stage([by = std::move(by)]<class S>(S&& from) mutable {
    return streams::measured_source<S>(std::forward<S>(from), std::move(by));
  });
}

/// The same items; `report(meter)`, which must not throw, is called with the first one after each `every`, and once at
/// the end.
inline auto progress(std::chrono::nanoseconds every, std::function<void(const meter&)> report) {
  return stage([every, report = std::move(report)]<class S>(S&& from) mutable {
    meter by;
    using measured = streams::measured_source<S>;
    return streams::progress_source<measured>(measured(std::forward<S>(from), meter(by)), by, every, std::move(report));
  });
}

}  // namespace weir::io
