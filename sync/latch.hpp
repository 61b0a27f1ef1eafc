// sync/latch.hpp: waiting until something has happened a number of times. Rests on core's event; no system calls.
#pragma once

#include <weir/core/event.hpp>

#include <atomic>
#include <cstddef>

namespace weir::sync {

/// A counter that goes down once and opens at zero for good (std::latch for tasks).
///
/// `co_await l.wait()` completes once the count is zero; cancelling it takes the waiter out of the queue.
/// `count_down` may be called from any thread. Must outlive its waiters.
class latch {
 public:
  /// @param count how often `count_down` is to be called; 0: open from the start
  explicit latch(std::size_t count) noexcept : left_(count) {
    if (count == 0) open_.set();
  }

  /// Counts `by` down, not below zero: what is too much is ignored.
  void count_down(std::size_t by = 1) noexcept {
    auto left = left_.load(std::memory_order_relaxed);
    do {
      if (left == 0 || by == 0) return;
    } while (!left_.compare_exchange_weak(left, left > by ? left - by : 0, std::memory_order_acq_rel));
    if (left <= by) open_.set();
  }

  /// True once the count is zero.
  bool is_open() const noexcept { return open_.is_set(); }

  std::size_t left() const noexcept { return left_.load(std::memory_order_acquire); }

  /// Waits for the count to be zero.
  [[nodiscard]] event::awaiter wait() noexcept { return open_.wait(); }

 private:
  std::atomic<std::size_t> left_;
  event open_;
};

}  // namespace weir::sync
