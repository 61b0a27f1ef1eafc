// sync/mutex.hpp: a lock that tasks wait for. Rests on wait_queue.hpp; no system calls.
#pragma once

#include <weir/sync/wait_queue.hpp>

#include <optional>
#include <utility>

namespace weir::sync {

/// A lock for one task at a time, first come, first served; it may be held across awaits.
///
/// `auto held = co_await m.lock();` completes with a guard that unlocks when it goes. Cancelling a waiter takes it
/// out of the queue; one that is given the lock at the same moment gets the guard, and sees the cancellation at its
/// next await. Tasks of any worker and any runtime may share a mutex, and a guard may end on any thread. The mutex
/// must outlive its guards and waiters; destroying one that is in use ends the program. Not recursive.
class mutex {
 public:
  mutex() noexcept : gate_(1) {}
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  ~mutex() {
    if (gate_.free() != 1 || gate_.has_waiters()) detail::destroyed_in_use("mutex");
  }

  /// The lock, held. Moving it moves the duty to unlock.
  class [[nodiscard]] guard {
   public:
    guard() = default;  ///< holds nothing
    guard(guard&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    guard& operator=(guard&& other) noexcept {
      if (this != &other) {
        unlock();
        of_ = std::exchange(other.of_, nullptr);
      }
      return *this;
    }
    ~guard() { unlock(); }

    /// Unlocks early; the next in the queue has the lock when this returns. Any thread. Harmless if nothing is held.
    void unlock() noexcept {
      if (of_ != nullptr) std::exchange(of_, nullptr)->gate_.give(1);
    }

    /// True while it holds the lock.
    explicit operator bool() const noexcept { return of_ != nullptr; }

   private:
    friend class mutex;
    friend class condition;
    explicit guard(mutex& of) noexcept : of_(&of) {}

    mutex* of_ = nullptr;
  };

  class [[nodiscard]] awaiter : public detail::permit_wait {
   public:
    explicit awaiter(mutex& of) noexcept : permit_wait(of.gate_, 1, "mutex"), of_(&of) {}
    guard await_resume() const {
      if (stopped()) throw cancelled();
      return guard(*of_);
    }
    result<guard> try_resume() const noexcept {
      if (stopped()) return failure(cancelled());
      return guard(*of_);
    }

   private:
    mutex* of_;
  };

  /// Waits for the lock. Costs no allocation, and no suspension where it is free.
  awaiter lock() noexcept { return awaiter(*this); }

  /// The lock if it is free and nobody waits for it. Any thread.
  [[nodiscard]] std::optional<guard> try_lock() noexcept {
    if (!gate_.try_take(1)) return std::nullopt;
    return guard(*this);
  }

  /// Whether somebody holds it; for figures, not for decisions.
  bool is_locked() const noexcept { return gate_.free() == 0; }

 private:
  friend class condition;
  detail::permit_gate gate_;
};

}  // namespace weir::sync
