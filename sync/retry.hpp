// sync/retry.hpp: doing something again until it succeeds, with growing pauses. Rests on core's sleep, timeout and
// abort. `backoff` is the row of pauses on its own, for loops of one's own.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/task.hpp>
#include <weir/core/time.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::sync {

/// How pauses grow: the n-th is `delay`, `delay * n` or `delay * factor^(n-1)`.
enum class growth : std::uint8_t { fixed, linear, exponential };

/// How pauses are spread, so that many clients that failed together do not come back together.
/// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter)
enum class jitter : std::uint8_t {
  none,          ///< the pause itself
  full,          ///< 0 up to the pause
  equal,         ///< half of the pause up to all of it
  decorrelated,  ///< `delay` up to three times the pause before; growth does not matter
};

struct backoff_options {
  std::chrono::nanoseconds delay = std::chrono::milliseconds(100);  ///< the first pause
  std::chrono::nanoseconds max_delay = std::chrono::seconds(30);    ///< no pause is longer, jitter included
  growth grows = growth::exponential;
  double factor = 2;  ///< of exponential growth, at least 1
  jitter spread = jitter::full;
  std::uint64_t seed = 0;  ///< for the same pauses each time; 0: others each time
};

/// The pauses between tries. For one task.
class backoff {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for a negative delay or a factor below 1
  explicit backoff(const backoff_options& options = {});

  /// The pause before the next try.
  std::chrono::nanoseconds next() noexcept;

  /// Begins anew, after a success.
  void reset() noexcept;

  /// Pauses handed out since then.
  unsigned count() const noexcept { return count_; }

 private:
  double uniform(double low, double high) noexcept;
  double grown() const noexcept;

  backoff_options options_;
  std::uint64_t random_;
  unsigned count_ = 0;
  double before_ = 0;
};

/// What is told before a pause.
struct retry_event {
  unsigned attempt = 0;                 ///< the number of the try that failed, from 1
  std::chrono::nanoseconds delay = {};  ///< the pause that follows
  const failure& why;
};

struct retry_options {
  unsigned attempts = 3;  ///< calls in all, at least 1
  backoff_options pause = {};
  /// The time for everything. A call that is under way then is cancelled and fails with ETIMEDOUT; a pause that would
  /// not end before it is not begun.
  std::chrono::nanoseconds deadline = std::chrono::nanoseconds::max();
  /// The time for each call, which fails with ETIMEDOUT after it.
  std::chrono::nanoseconds attempt_timeout = std::chrono::nanoseconds::max();
  /// Whether a failure is worth another try. Not set: all are but a cancellation.
  std::function<bool(const failure&)> retry_if = {};
  std::function<void(const retry_event&)> on_retry = {};
  abort_signal signal = {};  ///< ends it with its reason
};

namespace detail {

/// The decisions of one `retry`.
class retry_plan {
 public:
  explicit retry_plan(retry_options options);

  unsigned attempt() const noexcept { return attempt_; }
  /// The time for the next call; max: any.
  std::chrono::nanoseconds limit() const noexcept;
  /// @return the pause, or nothing: the failure is final
  std::optional<std::chrono::nanoseconds> next(const failure& why);

 private:
  retry_options options_;
  backoff pauses_;
  std::chrono::steady_clock::time_point end_;
  unsigned attempt_ = 1;
};

template <class F>
decltype(auto) call_attempt(F& function, unsigned attempt) {
  if constexpr (std::is_invocable_v<F&, unsigned>) {
    return std::invoke(function, attempt);
  } else {
    return std::invoke(function);
  }
}
template <class F>
using attempt_value = weir::detail::awaited_t<decltype(call_attempt(std::declval<F&>(), 1U))>;

/// A call whose own throwing is an outcome, too.
template <class F>
task<attempt_value<F>> run_attempt(F& function, unsigned attempt) {
  co_return co_await call_attempt(function, attempt);
}

template <class F>
task<attempt_value<F>> retry_loop(F function, retry_options options) {
  retry_plan plan(std::move(options));
  auto& running = co_await weir::detail::this_fiber{};
  for (;;) {
    auto outcome = co_await attempt(timeout(plan.limit(), run_attempt(function, plan.attempt())));
    if (outcome || running.must_stop()) co_return std::move(outcome).value();
    auto pause = plan.next(outcome.failure());
    if (!pause) outcome.failure().rethrow();
    co_await sleep(*pause);
  }
}

}  // namespace detail

/// `co_await retry(f, options)` calls `f()`, or `f(attempt)` with the number of the try from 1, and awaits what that
/// returns; completes with the first success. After a failure it pauses and calls again, until the tries or the time
/// are used up: then it throws the last failure. Cancelling it ends the call or the pause at once, and nothing is
/// tried again. Any worker. The function is kept until it has ended.
/// @throws weir::error ERR_OUT_OF_RANGE for 0 attempts or pauses that make no sense
template <class F>
[[nodiscard]] task<detail::attempt_value<F>> retry(F function, retry_options options = {}) {
  auto signal = options.signal;
  if (signal.state() == nullptr) co_return co_await detail::retry_loop(std::move(function), std::move(options));
  co_return co_await abortable(signal, detail::retry_loop(std::move(function), std::move(options)));
}

}  // namespace weir::sync
