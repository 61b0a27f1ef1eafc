#include <weir/sync/wait_queue.hpp>

#include <cstdio>
#include <cstdlib>

namespace weir::sync::detail {

void destroyed_in_use(const char* what) noexcept {
  std::fprintf(stderr, "weir: a %s was destroyed while it was held or waited for\n", what);
  std::abort();
}

std::uint64_t permit_gate::enter() noexcept {
  weir::detail::backoff pause;
  auto word = word_.load(std::memory_order_relaxed);
  for (;;) {
    if ((word & busy) != 0) {
      pause.pause();
      word = word_.load(std::memory_order_relaxed);
    } else if (word_.compare_exchange_weak(word, word | busy, std::memory_order_acquire, std::memory_order_relaxed)) {
      return word;
    }
  }
}

void permit_gate::leave(std::uint64_t word) noexcept { word_.store(word, std::memory_order_release); }

bool permit_gate::try_take_inside(std::uint64_t count) noexcept {
  auto word = word_.load(std::memory_order_relaxed);
  bool settled = (word & busy) == 0;
  if (settled && ((word & waiting) != 0 || word < count * one)) return false;
  word = enter();
  bool taken = (word & waiting) == 0 && word >= count * one;
  leave(taken ? word - count * one : word);
  return taken;
}

void permit_gate::give_inside(std::uint64_t count) noexcept { hand_out(enter() + count * one); }

bool permit_gate::try_give(std::uint64_t count, std::uint64_t most) noexcept {
  auto word = enter();
  if (word / one + count > most) {
    leave(word);
    return false;
  }
  hand_out(word + count * one);
  return true;
}

// Serves the queue as far as the permits go, and leaves. Only the first in the queue is looked at: a big wish is
// not overtaken by small ones.
void permit_gate::hand_out(std::uint64_t word) noexcept {
  waiter_list served;
  word &= ~waiting;
  while (auto* first = static_cast<permit_place*>(waiters_.front())) {
    if (word < first->count * one) {
      word |= waiting;
      break;
    }
    word -= first->count * one;
    waiters_.erase(*first);
    served.gather(*first);
  }
  leave(word);
  wake_all(served);
}

bool permit_gate::take_or_queue(permit_place& place) noexcept {
  auto word = enter();
  if ((word & waiting) == 0 && word >= place.count * one) {
    leave(word - place.count * one);
    return true;
  }
  waiters_.push(place);
  leave(word | waiting);
  return false;
}

bool permit_gate::queue(permit_place& place) noexcept {
  auto word = enter();
  place.stopped = place.who->must_stop();
  bool free_now = (word & waiting) == 0 && word >= place.count * one;
  if (place.stopped || free_now) {
    leave(place.stopped ? word : word - place.count * one);
    return false;
  }
  waiters_.push(place);
  leave(word | waiting);
  return true;
}

// Whoever stood behind may be served now.
bool permit_gate::withdraw(permit_place& place) noexcept {
  auto word = enter();
  if (!place.queued) {
    leave(word);
    return false;
  }
  waiters_.erase(place);
  place.stopped = true;
  hand_out(word);
  return true;
}

bool permit_wait::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    place_.stopped = true;
    return false;
  }
  place_.who = &f;
  if (gate_->queue(place_)) return true;
  f.unblock();
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

bool line_wait::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    place_.stopped = true;
    return false;
  }
  place_.who = &f;
  waiter_list released;
  spin_guard guard(line_->lock);
  place_.stopped = f.must_stop();
  if (!place_.stopped && !arrive(released)) {
    line_->waiters.push(place_);
    return true;
  }
  guard.unlock();
  f.unblock();
  wake_all(released);
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

bool line_wait::interrupt(fiber&) noexcept {
  spin_guard guard(line_->lock);
  if (!line_->waiters.give_up(place_)) return false;
  withdraw();
  return true;
}

}  // namespace weir::sync::detail
