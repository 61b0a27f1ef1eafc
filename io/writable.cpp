#include <weir/io/writable.hpp>

namespace weir::io::streams {

using weir::detail::fiber;
using weir::detail::spin_guard;

bool writable_core::can_write() const noexcept {
  spin_guard guard(lock_);
  return !ending_ && !is_closed();
}

bool writable_core::ending() const noexcept {
  spin_guard guard(lock_);
  return ending_;
}

bool writable_core::needs_drain() const noexcept {
  spin_guard guard(lock_);
  return needs_drain_ && !is_closed();
}

void writable_core::cork() noexcept {
  spin_guard guard(lock_);
  ++corks_;
}

bool writable_core::uncork() noexcept {
  spin_guard guard(lock_);
  if (corks_ == 0) return false;
  return --corks_ == 0;
}

unsigned writable_core::corks() const noexcept {
  spin_guard guard(lock_);
  return corks_;
}

std::uint64_t writable_core::begin_end() {
  spin_guard guard(lock_);
  if (is_closed() && !is_complete()) {
    guard.unlock();
    refuse();
  }
  ending_ = true;
  corks_ = 0;
  return next_;
}

std::uint64_t writable_core::last() const noexcept {
  spin_guard guard(lock_);
  return next_;
}

errc writable_core::refusal() const noexcept {
  if (ending_) return errc::err_stream_write_after_end;
  return is_closed() ? errc::err_stream_destroyed : errc::none;
}

void writable_core::refuse_new(errc why) {
  if (why == errc::err_stream_destroyed) std::rethrow_exception(destroyed_error("write"));
  throw error(why);
}

void writable_core::refuse() const {
  auto why = errored();
  std::rethrow_exception(why ? why : destroyed_error("write"));
}

void writable_core::leave_turn() noexcept {
  waiter_list woken;
  {
    spin_guard guard(lock_);
    driving_ = false;
    while (auto* first = static_cast<turn_awaiter*>(takers_.pop())) {
      woken.gather(*first);
      first->outcome_ = first->until_ <= done_ ? turn::done : turn::mine;
      if (first->outcome_ == turn::done) continue;
      driving_ = true;
      break;
    }
  }
  wake_all(woken);
}

bool writable_core::turn_awaiter::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    stopped = true;
    return false;
  }
  who = &f;
  spin_guard guard(of_.lock_);
  stopped = f.must_stop();
  if (!stopped) {
    if (of_.is_closed()) {
      outcome_ = turn::closed;
    } else if (until_ <= of_.done_) {
      outcome_ = turn::done;
    } else if (!of_.driving_) {
      of_.driving_ = true;
      outcome_ = turn::mine;
    } else {
      of_.takers_.push(*this);
      return true;
    }
  }
  guard.unlock();
  f.unblock();
  return false;
}

bool writable_core::turn_awaiter::interrupt(fiber&) noexcept {
  spin_guard guard(of_.lock_);
  return of_.takers_.give_up(*this);
}

}  // namespace weir::io::streams
