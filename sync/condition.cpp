#include <weir/sync/condition.hpp>

namespace weir::sync {

namespace {

// From the condition's line into the mutex's queue, or past it.
void relock(condition::place& each) noexcept {
  auto& who = *each.who;
  if (each.gate->take_or_queue(each)) detail::wake(who);
}

}  // namespace

void condition::notify_one() noexcept {
  detail::spin_guard guard(line_.lock);
  auto* first = static_cast<place*>(line_.waiters.pop());
  if (first == nullptr) return;
  first->in_line = false;
  guard.unlock();
  relock(*first);
}

void condition::notify_all() noexcept {
  detail::spin_guard guard(line_.lock);
  auto released = line_.waiters.take();
  for (auto* each = released.front(); each != nullptr; each = each->next) static_cast<place*>(each)->in_line = false;
  guard.unlock();
  for (auto* each = released.front(); each != nullptr;) {
    auto* next = each->next;  // the waiter may be gone once it has the lock
    relock(*static_cast<place*>(each));
    each = next;
  }
}

// The mutex is let go last: until then nobody can resume the fiber, and after it nothing here may be touched.
bool condition::awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    stopped_ = true;
    return false;
  }
  auto& gate = held_->of_->gate_;
  place_.who = &f;
  place_.gate = &gate;
  detail::spin_guard guard(on_->line_.lock);
  stopped_ = f.must_stop();
  if (stopped_) {
    guard.unlock();
    f.unblock();
    return false;
  }
  on_->line_.waiters.push(place_);
  place_.in_line = true;
  guard.unlock();
  gate.give(1);
  return true;
}

bool condition::awaiter::interrupt(detail::fiber&) noexcept {
  detail::spin_guard guard(on_->line_.lock);
  if (!place_.in_line) return false;
  on_->line_.waiters.erase(place_);
  place_.in_line = false;
  stopped_ = true;
  guard.unlock();
  return place_.gate->take_or_queue(place_);
}

failure condition::awaiter::refusal() const {
  if (stopped_) return failure(cancelled());
  return failure(error(errc::err_invalid_state, "condition: the guard holds no lock"));
}

}  // namespace weir::sync
