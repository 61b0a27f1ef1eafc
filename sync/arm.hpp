// sync/arm.hpp: an operation that waits in line at a channel or the like: alone, as one arm of a select, or for a
// thread that is no worker. Rests on core's fibers and waiter list. Promises that an operation that gives up has not
// happened, and that one that has happened is seen by whoever waits: both are decided under the lock of the line.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/core/task.hpp>

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>

namespace weir::sync::detail {

using weir::detail::fiber;
using weir::detail::spin_guard;
using weir::detail::spin_lock;
using weir::detail::waiter_list;

class blocked_thread;

/// Somebody whose wait is over and who is to go on once the lock has been let go.
class wakeup {
 public:
  wakeup() = default;
  explicit wakeup(fiber& who) noexcept : word_(reinterpret_cast<std::uintptr_t>(&who)) {}
  explicit wakeup(blocked_thread& who) noexcept : word_(reinterpret_cast<std::uintptr_t>(&who) | thread) {}

  /// Any thread; the line, and what it belongs to, may be gone afterwards.
  void go() const noexcept {
    if (word_ != 0) send();
  }

 private:
  static constexpr std::uintptr_t thread = 1;
  void send() const noexcept;

  std::uintptr_t word_ = 0;
};

/// Several of them, woken in order when it is destroyed: to be declared before the lock is taken.
class wakeups {
 public:
  static constexpr std::size_t most = 16;

  wakeups() = default;
  wakeups(const wakeups&) = delete;
  wakeups& operator=(const wakeups&) = delete;
  ~wakeups() {
    for (std::size_t i = 0; i < count_; ++i) all_[i].go();
  }

  bool full() const noexcept { return count_ == most; }
  wakeup& next() noexcept { return all_[count_++]; }

 private:
  std::array<wakeup, most> all_;
  std::size_t count_ = 0;
};

/// Which one of several operations happens: the first that is claimed.
class choice {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t{0};

  /// From here on whoever claims one has to wake the owner. @return false if one has been claimed before
  bool open() noexcept {
    auto expected = is_new;
    return state_.compare_exchange_strong(expected, is_open, std::memory_order_acq_rel);
  }

  /// @return true for the first of all that ask, while it is open
  bool claim(std::uint32_t index) noexcept {
    auto expected = is_open;
    return state_.compare_exchange_strong(expected, first + index, std::memory_order_acq_rel);
  }

  /// The same before it is open, when there is nobody to wake.
  bool claim_early(std::uint32_t index) noexcept {
    auto expected = is_new;
    return state_.compare_exchange_strong(expected, first + index, std::memory_order_acq_rel);
  }

  /// Gives up. @return false if one has been claimed, or it never was open
  bool stop() noexcept {
    auto expected = is_open;
    return state_.compare_exchange_strong(expected, is_stopped, std::memory_order_acq_rel);
  }

  /// The operation that was claimed, or `none`.
  std::uint32_t claimed() const noexcept {
    auto state = state_.load(std::memory_order_acquire);
    return state >= first ? state - first : none;
  }

 private:
  static constexpr std::uint32_t is_new = 0, is_open = 1, is_stopped = 2, first = 3;
  std::atomic<std::uint32_t> state_{is_new};
};

/// A place in a line.
struct place : weir::detail::waiter {
  choice* among = nullptr;  ///< of the select that it is an arm of
  wakeup owner;             ///< who waits
  std::uint32_t index = 0;  ///< of the arm
};

/// Takes the first out of the line whose operation may still happen, and tells whom to wake when it has. Under the
/// lock.
inline place* claim_first(waiter_list& line, wakeup& to_wake) noexcept {
  for (;;) {
    auto* found = static_cast<place*>(line.pop());
    if (found == nullptr) return nullptr;
    if (found->among != nullptr && !found->among->claim(found->index)) continue;
    to_wake = found->owner;
    return found;
  }
}

/// Everybody in a line whose operation ends at once: claimed under the lock, woken after it.
class claimed_line {
 public:
  /// Empties `line`; `settle(place&)` is called for each that was claimed.
  template <class Settle>
  void take(waiter_list& line, Settle settle) noexcept {
    wakeup unused;
    while (place* each = claim_first(line, unused)) {
      settle(*each);
      all_.gather(*each);
    }
  }

  /// In order. The line, and what it belongs to, may be gone afterwards.
  void wake() noexcept;

 private:
  waiter_list all_;
};

/// An operation on something that has a line. It lives in the awaiter, hence in the frame.
class arm : public weir::detail::wait, public place {
 public:
  virtual spin_lock& lock() noexcept = 0;
  virtual waiter_list& line() noexcept = 0;

  /// Does it now, if that is possible. Under the lock.
  /// @return true if it is over, successful or not; `to_wake` may then hold somebody
  virtual bool complete(wakeup& to_wake) noexcept = 0;

  /// Enters the line, as an arm of a select. Under the lock; on the worker of `waiter`.
  virtual void enter(fiber& waiter) noexcept;

  /// Takes it out of its line, as the arm of a select that is over. Takes the lock: then nobody is at work on it.
  virtual void withdraw() noexcept;

  bool interrupt(fiber& waiter) noexcept override;

 protected:
  arm() = default;
  arm(const arm&) noexcept {}  // copied before it begins only
  arm& operator=(const arm&) = delete;
  ~arm() = default;

  /// Does it now or waits in line: the whole of an operation's await_suspend. `Operation` is the arm's own type.
  /// @return false if it is over, or `f` has to stop
  template <class Operation>
  static bool suspend(Operation& self, fiber& f, std::coroutine_handle<> h) noexcept {
    if (f.must_stop()) {
      self.stopped = true;
      return false;
    }
    wakeup to_wake;
    auto& lock = self.Operation::lock();
    lock.lock();
    if (!self.Operation::complete(to_wake)) return self.wait_in_line(f, h, lock, self.Operation::line());
    lock.unlock();
    to_wake.go();
    return weir::detail::yield_if_spent(f, h);
  }

  /// The same for a thread, which sleeps meanwhile.
  /// @throws weir::error ERR_INVALID_STATE on a worker, whose tasks would wait as well
  void block_thread(const char* what);

 private:
  bool wait_in_line(fiber& f, std::coroutine_handle<> h, spin_lock& held, waiter_list& in) noexcept;
  bool wait_among_workers(fiber& f, std::coroutine_handle<> h) noexcept;
};

/// What every operation looks like to `co_await`. `Base` is an arm.
template <class Operation, class Base = arm>
class arm_awaiter : public Base {
 public:
  using Base::Base;

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return arm::suspend(static_cast<Operation&>(*this), *h.promise().running, h);
  }

  /// Does it on a thread that is no worker, which sleeps until then.
  auto block(const char* what) {
    this->block_thread(what);
    return static_cast<Operation&>(*this).await_resume();
  }

 protected:
  ~arm_awaiter() = default;
};

}  // namespace weir::sync::detail
