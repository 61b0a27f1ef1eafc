// sync/wait_queue.hpp: what the primitives of this room wait in. A `permit_gate` counts permits in one word and
// hands them out first come, first served: mutex, shared mutex and semaphore are that with other names. A
// `wait_line` is a queue beside a state of its owner's. Rests on core's fibers and waiter list; no system calls.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>

namespace weir::sync::detail {

using weir::detail::fiber;
using weir::detail::spin_guard;
using weir::detail::spin_lock;
using weir::detail::waiter;
using weir::detail::waiter_list;
using weir::detail::wake;
using weir::detail::wake_all;

/// Says which primitive was destroyed while it was in use, and ends the program.
[[noreturn]] void destroyed_in_use(const char* what) noexcept;

/// A fiber that waits for so many permits.
struct permit_place : waiter {
  std::uint64_t count = 1;
};

/// Permits that are handed out in order of arrival. All of it may be called from any thread.
class permit_gate {
 public:
  explicit permit_gate(std::uint64_t permits) noexcept : word_(permits * one) {}
  permit_gate(const permit_gate&) = delete;
  permit_gate& operator=(const permit_gate&) = delete;

  /// Takes them if they are free, nobody waits and nobody is at work inside. False says nothing.
  bool try_take_quickly(std::uint64_t count) noexcept {
    auto word = word_.load(std::memory_order_relaxed);
    while ((word & (busy | waiting)) == 0 && word >= count * one) {
      if (word_.compare_exchange_weak(word, word - count * one, std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  /// Takes them if they are free and nobody waits.
  bool try_take(std::uint64_t count) noexcept { return try_take_quickly(count) || try_take_inside(count); }

  /// Gives permits back, or adds them. Nothing here is touched any more once somebody else could have them.
  void give(std::uint64_t count) noexcept {
    auto word = word_.load(std::memory_order_relaxed);
    while ((word & (busy | waiting)) == 0) {
      if (word_.compare_exchange_weak(word, word + count * one, std::memory_order_release, std::memory_order_relaxed)) {
        return;
      }
    }
    give_inside(count);
  }

  /// Gives them unless more than `most` would be free then. @return false if it did not
  bool try_give(std::uint64_t count, std::uint64_t most) noexcept;

  /// Takes them, or puts `place`, whose fiber is blocked, into the queue. @return true if they were taken
  bool take_or_queue(permit_place& place) noexcept;

  /// The same for a fiber that may have been cancelled meanwhile: `place.stopped` tells.
  /// @return true if the fiber is in the queue
  bool queue(permit_place& place) noexcept;

  /// Takes a fiber out that gives up. @return false if it has its permits already
  bool withdraw(permit_place& place) noexcept;

  std::uint64_t free() const noexcept { return word_.load(std::memory_order_relaxed) / one; }
  bool has_waiters() const noexcept { return (word_.load(std::memory_order_relaxed) & waiting) != 0; }

 private:
  // While `busy` is set nobody else changes the word, so whoever set it ends with a plain store.
  static constexpr std::uint64_t busy = 1, waiting = 2, one = 4;

  std::uint64_t enter() noexcept;
  void leave(std::uint64_t word) noexcept;
  bool try_take_inside(std::uint64_t count) noexcept;
  void give_inside(std::uint64_t count) noexcept;
  void hand_out(std::uint64_t word) noexcept;

  std::atomic<std::uint64_t> word_;  // free permits, `waiting` if the queue is not empty, `busy` while it is worked on
  waiter_list waiters_;
};

/// The part of an awaiter that waits at a gate.
class permit_wait : protected weir::detail::wait {
 public:
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& f = *h.promise().running;
    if (!f.must_stop() && gate_->try_take_quickly(place_.count)) return weir::detail::yield_if_spent(f, h);
    return suspend(f, h);
  }

 protected:
  permit_wait(permit_gate& gate, std::uint64_t count, const char* what) noexcept : gate_(&gate), what_(what) {
    place_.count = count;
  }

  bool stopped() const noexcept { return place_.stopped; }

 private:
  bool suspend(fiber& f, std::coroutine_handle<> h) noexcept;
  bool interrupt(fiber&) noexcept override { return gate_->withdraw(place_); }
  const char* what() const noexcept override { return what_; }

  permit_gate* gate_;
  const char* what_;
  permit_place place_;
};

/// For loops whose awaits may all be ready: ends with `cancelled` if the task is to stop, and lets others run now and
/// then.
class [[nodiscard]] checkpoint {
 public:
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    auto& f = *h.promise().running;
    stopped_ = f.must_stop();
    return !stopped_ && weir::detail::yield_if_spent(f, h);
  }
  void await_resume() const {
    if (stopped_) throw cancelled();
  }

 private:
  bool stopped_ = false;
};

/// A lock and the fibers that wait for what it guards to change.
struct wait_line {
  spin_lock lock;
  waiter_list waiters;
};

/// The part of an awaiter that waits in a line.
class line_wait : protected weir::detail::wait {
 public:
  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return suspend(*h.promise().running, h);
  }

 protected:
  line_wait(wait_line& line, const char* what) noexcept : line_(&line), what_(what) {}

  /// Under the lock: does what arriving does. @return true if there is nothing to wait for; whoever it puts into
  /// `released` is woken then
  virtual bool arrive(waiter_list& released) noexcept = 0;

  /// Under the lock: undoes `arrive` for a fiber that gives up waiting.
  virtual void withdraw() noexcept {}

  bool stopped() const noexcept { return place_.stopped; }

  void throw_if_stopped() const {
    if (stopped()) throw cancelled();
  }

 private:
  bool suspend(fiber& f, std::coroutine_handle<> h) noexcept;
  bool interrupt(fiber&) noexcept override;
  const char* what() const noexcept override { return what_; }

  wait_line* line_;
  const char* what_;
  waiter place_;
};

}  // namespace weir::sync::detail
