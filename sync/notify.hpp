// sync/notify.hpp: telling one task, or all that wait, to go on. Rests on wait_queue.hpp; no system calls.
#pragma once

#include <weir/sync/wait_queue.hpp>

namespace weir::sync {

/// A bell without a value. `notify_one` with nobody waiting is remembered, once: the next `notified` does not wait.
///
/// So a consumer that checks its queue and then awaits `notified()` misses nothing, and ten rings while it works are
/// one wake-up. Waiters go on in order of arrival. Cancelling one takes it out of the line; one that was told at the
/// same moment completes normally and sees the cancellation at its next await. The notifying side may be on any
/// thread. Must outlive its waiters; destroying one that is waited for ends the program. (tokio's Notify:
/// https://docs.rs/tokio/latest/tokio/sync/struct.Notify.html)
class notify {
 public:
  notify() = default;
  notify(const notify&) = delete;
  notify& operator=(const notify&) = delete;
  ~notify() {
    if (!line_.waiters.empty()) detail::destroyed_in_use("notify");
  }

  class [[nodiscard]] awaiter : public detail::line_wait {
   public:
    explicit awaiter(notify& on) noexcept : line_wait(on.line_, "notify"), on_(&on) {}
    void await_resume() const { throw_if_stopped(); }
    result<void> try_resume() const noexcept {
      if (stopped()) return failure(cancelled());
      return {};
    }

   private:
    bool arrive(detail::waiter_list&) noexcept override;

    notify* on_;
  };

  /// Waits for a `notify_one` that is or was for nobody else, or for a `notify_waiters` from now on.
  awaiter notified() noexcept { return awaiter(*this); }

  /// Wakes the waiter that has waited longest; if there is none, the next one to come does not wait.
  void notify_one() noexcept;

  /// Wakes all who wait now, and is not remembered.
  void notify_waiters() noexcept;

 private:
  detail::wait_line line_;
  bool rung_ = false;  // guarded by the line's lock
};

}  // namespace weir::sync
