#include <weir/sync/arm.hpp>

#include <weir/core/error.hpp>

#include <condition_variable>
#include <mutex>
#include <string>

namespace weir::sync::detail {

/// A thread that is no worker and sleeps until its operation has happened.
class blocked_thread {
 public:
  void sleep() {
    std::unique_lock lock(mutex_);
    woken_.wait(lock, [this] { return over_; });
  }
  // Notified under the mutex: the sleeper, and this object with it, cannot go before that.
  void wake() noexcept {
    std::lock_guard lock(mutex_);
    over_ = true;
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  bool over_ = false;
};

void wakeup::send() const noexcept {
  if ((word_ & thread) != 0) {
    reinterpret_cast<blocked_thread*>(word_ & ~thread)->wake();
    return;
  }
  weir::detail::wake(*reinterpret_cast<fiber*>(word_));
}

void claimed_line::wake() noexcept {
  for (auto* each = all_.front(); each != nullptr;) {
    auto& one = static_cast<place&>(*each);
    each = each->next;  // the place is gone once its owner has been woken
    wakeup(one.owner).go();
  }
  all_ = {};
}

void arm::enter(fiber& waiter) noexcept {
  owner = wakeup(waiter);
  line().push(*this);
}

void arm::withdraw() noexcept {
  spin_guard guard(lock());
  if (queued) line().erase(*this);
}

bool arm::interrupt(fiber&) noexcept {
  spin_guard guard(lock());
  return line().give_up(*this);
}

// The lock is held and the operation cannot be done yet. A fiber of a single worker cannot be cancelled just now.
bool arm::wait_in_line(fiber& f, std::coroutine_handle<> h, spin_lock& held, waiter_list& in) noexcept {
  owner = wakeup(f);
  if (f.has(fiber::shared)) {
    held.unlock();
    return wait_among_workers(f, h);
  }
  static_cast<void>(f.block(*this, h));
  in.push(*this);
  held.unlock();
  return true;
}

// To block may take a moment that a canceller needs the lock for, so it comes first, and then everything is looked at
// again. A canceller that came before the place was in the line has found nothing, but its flag is seen under the lock.
bool arm::wait_among_workers(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    stopped = true;
    return false;
  }
  wakeup to_wake;
  {
    spin_guard guard(lock());
    stopped = f.must_stop();
    if (!stopped && !complete(to_wake)) {
      line().push(*this);
      return true;
    }
  }
  f.unblock();
  to_wake.go();
  return !stopped && weir::detail::yield_if_spent(f, h);
}

void arm::block_thread(const char* what) {
  if (weir::detail::current_worker() != nullptr) {
    throw error(errc::err_invalid_state, std::string(what) + ": this would block a worker; await instead");
  }
  wakeup to_wake;
  blocked_thread here;
  bool waits = false;
  {
    spin_guard guard(lock());
    waits = !complete(to_wake);
    if (waits) {
      owner = wakeup(here);
      line().push(*this);
    }
  }
  to_wake.go();
  if (waits) here.sleep();
}

}  // namespace weir::sync::detail
