#include <weir/io/stream_core.hpp>

#include <string>

namespace weir::io::streams {

using weir::detail::fiber;
using weir::detail::spin_guard;

std::exception_ptr stream_error(errc code) { return failure(error(code)).exception(); }

std::exception_ptr busy_error() {
  return failure(error(errc::err_invalid_state, "Another task is reading from the stream")).exception();
}

std::exception_ptr destroyed_error(const char* operation) {
  return failure(error(errc::err_stream_destroyed,
                       "Cannot call " + std::string(operation) + " after a stream was destroyed"))
      .exception();
}

bool stream_core::closed() const noexcept {
  spin_guard guard(lock_);
  return is_closed();
}

bool stream_core::complete() const noexcept {
  spin_guard guard(lock_);
  return is_complete();
}

bool stream_core::disturbed() const noexcept {
  spin_guard guard(lock_);
  return disturbed_;
}

std::exception_ptr stream_core::errored() const noexcept {
  spin_guard guard(lock_);
  return error_;
}

std::size_t stream_core::length() const noexcept {
  spin_guard guard(lock_);
  return length_;
}

void stream_core::watch(std::shared_ptr<watcher> by) noexcept {
  spin_guard guard(lock_);
  watcher_.swap(by);
  guard.unlock();  // the one before may go with `by`
}

std::exception_ptr stream_core::why_closed() const noexcept {
  auto why = errored();
  return why ? why : stream_error(errc::err_stream_premature_close);
}

bool stream_core::abandoned() const noexcept {
  spin_guard guard(lock_);
  return outcome_ == outcome::abandoned;
}

void stream_core::conclude(const std::exception_ptr& why, outcome how) noexcept {
  waiter_list woken[3];
  std::shared_ptr<watcher> told;
  std::function<void(std::exception_ptr)> hook;
  {
    spin_guard guard(lock_);
    if (is_closed()) return;
    outcome_ = how;
    disturbed_ = true;
    error_ = why;
    if (how == outcome::destroyed) told = watcher_;
    hook.swap(on_close_);
    woken[0] = takers_.take();
    woken[1] = givers_.take();
    woken[2] = watchers_.take();
    enter();
  }
  if (hook) hook(why);
  close_end(why);
  if (told) told->failed(*this, why);
  leave();
  for (auto& each : woken) wake_all(each);
}

void stream_core::leave() noexcept {
  {
    spin_guard guard(lock_);
    if (--users_ != 0 || !is_closed()) return;
  }
  discard();
}

bool stream_core::parking::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    stopped = true;
    return false;
  }
  who = &f;
  spin_guard guard(in_.lock_);
  stopped = f.must_stop();
  if (!stopped && !needless_(in_)) {
    among_.push(*this);
    return true;
  }
  guard.unlock();
  f.unblock();
  return false;
}

bool stream_core::parking::interrupt(fiber&) noexcept {
  spin_guard guard(in_.lock_);
  return among_.give_up(*this);
}

}  // namespace weir::io::streams
