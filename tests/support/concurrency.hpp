// tests/support/concurrency.hpp: what tests of tasks and scopes share: objects that are counted, tasks that only
// a cancellation ends, and how often a race is to be tried in this kind of build.
#pragma once

#include <weir/core/config.hpp>
#include <weir/core/event.hpp>
#include <weir/core/task.hpp>
#include <weir/core/worker.hpp>

#include <atomic>
#include <cstddef>
#include <thread>

namespace weir::testing {

/// True where everything is slower by an order of magnitude.
inline constexpr bool instrumented = WEIR_ASAN != 0 || WEIR_TSAN != 0;

/// `times`, or a fraction of it where a sanitizer watches.
constexpr std::size_t rounds(std::size_t times, std::size_t fraction = 10) {
  return instrumented ? times / fraction : times;
}

/// Counts its living instances.
class counted {
 public:
  counted() noexcept { alive_.fetch_add(1, std::memory_order_relaxed); }
  counted(const counted&) noexcept : counted() {}
  counted(counted&&) noexcept : counted() {}
  counted& operator=(const counted&) noexcept = default;
  counted& operator=(counted&&) noexcept = default;
  ~counted() { alive_.fetch_sub(1, std::memory_order_relaxed); }

  static int alive() noexcept { return alive_.load(std::memory_order_relaxed); }

 private:
  static inline std::atomic<int> alive_{0};
};

/// Ends only by cancellation.
inline task<void> forever() {
  event never;
  co_await never.wait();
}

/// The number of the worker that runs the caller.
inline unsigned this_worker_index() noexcept { return detail::current_worker()->index(); }

/// Holds the worker until `done()`, as a computation would.
template <class F>
void hold_until(F done) {
  while (!done()) std::this_thread::yield();
}

}  // namespace weir::testing
