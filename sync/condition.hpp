// sync/condition.hpp: waiting for a change of what a mutex guards. Rests on mutex.hpp; no system calls.
#pragma once

#include <weir/core/task.hpp>
#include <weir/sync/mutex.hpp>

#include <utility>

namespace weir::sync {

/// A condition variable: `wait` unlocks a mutex, waits to be notified, and locks it again.
///
/// Waiters are notified in order of arrival, and nobody wakes for nothing. A notified waiter goes straight to the
/// mutex's queue. Cancelling a waiter takes it out of the line, and it locks the mutex again before `cancelled` is
/// thrown: whatever happens, the guard holds the lock after the await. (A waiter that was notified at the same moment
/// completes normally.) `notify_one` and `notify_all` may be called from any thread, with or without the lock. The
/// condition must outlive its waiters; destroying one that is waited for ends the program.
class condition {
 public:
  condition() = default;
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;
  ~condition() {
    if (!line_.waiters.empty()) detail::destroyed_in_use("condition");
  }

  /// @cond internal
  struct place : detail::permit_place {
    detail::permit_gate* gate = nullptr;  // of the mutex to lock again
    bool in_line = false;                 // guarded by the line's lock
  };
  /// @endcond

  class [[nodiscard]] awaiter : private weir::detail::wait {
   public:
    awaiter(condition& on, mutex::guard& held) noexcept : on_(&on), held_(&held) {}
    bool await_ready() const noexcept { return held_->of_ == nullptr; }
    template <weir::detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    void await_resume() const {
      if (held_->of_ == nullptr || stopped_) refusal().rethrow();
    }
    result<void> try_resume() const {
      if (held_->of_ == nullptr || stopped_) return refusal();
      return {};
    }

   private:
    friend class condition;
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool interrupt(detail::fiber&) noexcept override;
    const char* what() const noexcept override { return "condition"; }
    failure refusal() const;

    condition* on_;
    mutex::guard* held_;
    bool stopped_ = false;
    place place_;
  };

  /// Waits to be notified. `held` must hold a lock, and live until the await is over.
  /// @throws weir::error ERR_INVALID_STATE if `held` holds nothing
  awaiter wait(mutex::guard& held) noexcept { return awaiter(*this, held); }

  /// Waits until `predicate()`, which is called with the lock held, is true; not at all if it is already.
  template <class P>
  task<> wait(mutex::guard& held, P predicate) {
    while (!predicate()) co_await wait(held);
  }

  /// Wakes the waiter that has waited longest, if there is one.
  void notify_one() noexcept;

  /// Wakes all who wait now.
  void notify_all() noexcept;

 private:
  detail::wait_line line_;
};

}  // namespace weir::sync
