// core/event.hpp: a flag that tasks wait for, and the list of waiters that it and other primitives rest on.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/task.hpp>

#include <atomic>

namespace weir {
namespace detail {

/// A suspended fiber in the queue of some primitive.
struct waiter {
  waiter* previous = nullptr;
  waiter* next = nullptr;
  fiber* who = nullptr;
  bool queued = false;   ///< in a list that may still be searched for it
  bool stopped = false;  ///< it gave up waiting
};

/// Waiters in order of arrival. Whoever uses it brings the lock.
class waiter_list {
 public:
  bool empty() const noexcept { return head_ == nullptr; }

  void push(waiter& w) noexcept {
    w.previous = tail_;
    w.next = nullptr;
    (tail_ != nullptr ? tail_->next : head_) = &w;
    tail_ = &w;
    w.queued = true;
  }

  void erase(waiter& w) noexcept {
    (w.previous != nullptr ? w.previous->next : head_) = w.next;
    (w.next != nullptr ? w.next->previous : tail_) = w.previous;
    w.previous = w.next = nullptr;
    w.queued = false;
  }

  waiter* pop() noexcept {
    waiter* first = head_;
    if (first != nullptr) erase(*first);
    return first;
  }

  waiter* front() const noexcept { return head_; }

  /// Appends one that has left its list and will be woken: no cancel may touch it any more.
  void gather(waiter& w) noexcept {
    push(w);
    w.queued = false;
  }

  /// Takes out one whose wait is cancelled. @return false if it has left the list: then it will be woken
  bool give_up(waiter& w) noexcept {
    if (!w.queued) return false;
    erase(w);
    w.stopped = true;
    return true;
  }

  /// Empties the list into the one returned, whose waiters no cancel may touch any more.
  waiter_list take() noexcept {
    waiter_list all = *this;
    *this = {};
    for (waiter* each = all.head_; each != nullptr; each = each->next) each->queued = false;
    return all;
  }

 private:
  waiter* head_ = nullptr;
  waiter* tail_ = nullptr;
};

/// Wakes everyone in `released`, in order. Whoever is in it must not be reachable by a cancel any more.
void wake_all(waiter_list released) noexcept;

}  // namespace detail

/// A flag that any number of tasks can wait for. Stays set until `reset`.
///
/// `co_await e.wait()` completes at once if the flag is set, else when it is next set, in order of arrival.
/// Cancelling a waiter takes it out of the queue. `set` and `reset` may be called from any thread: who resets it, looks
/// at what it stands for and then waits misses nothing. The event must outlive its waiters.
class event {
 public:
  event() = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  void set() noexcept;
  /// What came before a `set` that it takes back is seen behind it: a plain store could pass over both.
  void reset() noexcept { set_.exchange(false, std::memory_order_acq_rel); }
  bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }

  class [[nodiscard]] awaiter : private detail::wait {
   public:
    explicit awaiter(event& on) noexcept : on_(&on) {}
    bool await_ready() const noexcept { return false; }
    template <detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    void await_resume() const {
      if (place_.stopped) throw cancelled();
    }
    result<void> try_resume() const noexcept {
      if (place_.stopped) return failure(cancelled());
      return {};
    }

   private:
    friend class event;
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool interrupt(detail::fiber&) noexcept override;
    const char* what() const noexcept override { return "event"; }

    event* on_;
    detail::waiter place_;
  };

  /// Waits for the flag.
  awaiter wait() noexcept { return awaiter(*this); }

 private:
  detail::spin_lock lock_;
  std::atomic<bool> set_{false};
  detail::waiter_list waiters_;
};

}  // namespace weir
