#include <weir/core/event.hpp>

namespace weir {

void detail::wake_all(waiter_list released) noexcept {
  for (auto* each = released.front(); each != nullptr;) {
    auto* next = each->next;  // the waiter is gone once it is woken
    wake(*each->who);
    each = next;
  }
}

void event::set() noexcept {
  detail::waiter_list released;
  {
    detail::spin_guard guard(lock_);
    set_.store(true, std::memory_order_release);
    released = waiters_.take();
  }
  detail::wake_all(released);
}

bool event::awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    place_.stopped = true;
    return false;
  }
  place_.who = &f;
  detail::spin_guard guard(on_->lock_);
  place_.stopped = f.must_stop();
  if (!place_.stopped && !on_->set_.load(std::memory_order_relaxed)) {
    on_->waiters_.push(place_);
    return true;
  }
  guard.unlock();
  f.unblock();
  return !place_.stopped && detail::yield_if_spent(f, h);
}

bool event::awaiter::interrupt(detail::fiber&) noexcept {
  detail::spin_guard guard(on_->lock_);
  return on_->waiters_.give_up(place_);
}

}  // namespace weir
