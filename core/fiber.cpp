#include <weir/core/fiber.hpp>

#include <utility>

namespace weir::detail {

bool fiber::block(wait& on, std::coroutine_handle<> resume) noexcept {
  resume_at = resume;
  auto word = reinterpret_cast<std::uintptr_t>(&on);
  if (!has(shared)) {
    if (must_stop()) return false;
    waiting_.store(word, std::memory_order_relaxed);
    return true;
  }
  // Either the canceller sees the wait, or we see its flag: both are sequentially consistent.
  waiting_.store(word, std::memory_order_seq_cst);
  if ((flags_.load(std::memory_order_seq_cst) & cancelled) == 0 || shields != 0) return true;
  unblock();
  return false;
}

void fiber::block_always(wait& on, std::coroutine_handle<> resume) noexcept {
  resume_at = resume;
  waiting_.store(reinterpret_cast<std::uintptr_t>(&on), std::memory_order_seq_cst);
}

// A fiber that only one worker may touch is still woken from outside: by `blocking`, by events. That must not
// happen between the two ends of a `cancel` on its worker.
void fiber::unblock() noexcept {
  if (!has(shared) && current_worker() == on) {
    waiting_.store(0, std::memory_order_relaxed);
    return;
  }
  backoff pause;
  auto word = waiting_.load(std::memory_order_relaxed);
  for (;;) {
    word &= ~busy;
    if (waiting_.compare_exchange_weak(word, 0, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
    if ((word & busy) != 0) pause.pause();
  }
}

wait* fiber::hold() noexcept {
  auto word = waiting_.load(std::memory_order_seq_cst);
  backoff pause;
  while (word != 0) {
    if ((word & busy) != 0) {
      pause.pause();
      word = waiting_.load(std::memory_order_relaxed);
      continue;
    }
    if (waiting_.compare_exchange_weak(word, word | busy, std::memory_order_seq_cst)) {
      return reinterpret_cast<wait*>(word);
    }
  }
  return nullptr;
}

void fiber::let_go(wait& held) noexcept {
  waiting_.store(reinterpret_cast<std::uintptr_t>(&held), std::memory_order_release);
}

group* fiber::begin_cancel() noexcept {
  if ((flags_.fetch_or(cancelled, std::memory_order_seq_cst) & cancelled) != 0) return nullptr;
  wait* held = hold();
  if (held == nullptr) return nullptr;
  if (shields != 0) {
    let_go(*held);
    return nullptr;
  }
  if (group* below = held->members()) return below;
  finish_cancel(*held, held->interrupt(*this));
  return nullptr;
}

void fiber::finish_cancel(wait& held, bool over) noexcept {
  if (!over) return let_go(held);
  waiting_.store(0, std::memory_order_release);
  schedule(*this);
}

void fiber::cancel() noexcept {
  if (group* below = begin_cancel()) finish_cancel(*below, below->interrupt(*this));
}

void group::link_in(member& m, member*& list) noexcept {
  m.previous = nullptr;
  m.next_member = list;
  if (list != nullptr) list->previous = &m;
  list = &m;
}

void group::unlink(member& m, member*& list) noexcept {
  if (m.previous != nullptr) {
    m.previous->next_member = m.next_member;
  } else {
    list = m.next_member;
  }
  if (m.next_member != nullptr) m.next_member->previous = m.previous;
  m.previous = nullptr;
  m.next_member = nullptr;
}

void group::add(fiber& f) noexcept {
  f.owner = this;
  spin_guard guard(lock_, shared_);
  link_in(f, fibers_);
  ++live_;
  if (is_cancelled()) f.add_flag(fiber::cancelled);
}

// Counts one down. Once the last has left, the group may be gone as soon as the parent is scheduled.
// @return the parent, if it waits and nothing is left to wait for
fiber* group::leave(spin_guard& guard) noexcept {
  fiber* waiting = nullptr;
  if (--live_ == 0) {
    waiting = parent_;
    parent_ = nullptr;
  }
  guard.unlock();
  return waiting;
}

namespace {
void resume_parent(fiber* waiting) noexcept {
  if (waiting != nullptr) wake(*waiting);
}
}  // namespace

void group::finish(fiber& f) noexcept {
  settled(f);
  depart(f);
}

void group::depart(fiber& f) noexcept {
  spin_guard guard(lock_, shared_);
  unlink(f, fibers_);
  resume_parent(leave(guard));
}

void group::unlink_fiber(fiber& f) noexcept {
  spin_guard guard(lock_, shared_);
  unlink(f, fibers_);
}

void group::retain() noexcept {
  spin_guard guard(lock_, shared_);
  ++live_;
}

void group::release() noexcept {
  spin_guard guard(lock_, shared_);
  resume_parent(leave(guard));
}

void group::add_timer(member& timer, bool counted) noexcept {
  spin_guard guard(lock_, shared_);
  link_in(timer, timers_);
  if (counted) ++live_;
}

bool group::claim_timer(member& timer, const bool& counted) noexcept {
  spin_guard guard(lock_, shared_);
  unlink(timer, timers_);
  if (timers_closed_) return false;
  if (!counted) ++live_;
  return true;
}

void group::forget_timer(member& timer, bool counted) noexcept {
  spin_guard guard(lock_, shared_);
  unlink(timer, timers_);
  if (counted) resume_parent(leave(guard));
}

void group::recount_timer(bool& counted, bool wanted) noexcept {
  spin_guard guard(lock_, shared_);
  if (std::exchange(counted, wanted) == wanted) return;
  if (wanted) {
    ++live_;
  } else {
    resume_parent(leave(guard));
  }
}

group::dropped group::drop_timer(member&) noexcept { return dropped::firing; }

// Under the lock. What is firing on another worker stays linked until it claims itself.
void group::drop_timers() noexcept {
  for (member* each = timers_; each != nullptr;) {
    member* next = each->next_member;
    member* previous = each->previous;
    // `drop_timer` may free the timer, so it is unlinked first and put back if it is firing.
    unlink(*each, timers_);
    auto how = drop_timer(*each);
    if (how == dropped::firing) {
      each->previous = previous;
      each->next_member = next;
      (previous != nullptr ? previous->next_member : timers_) = each;
      if (next != nullptr) next->previous = each;
    }
    if (how == dropped::counted) --live_;
    each = next;
  }
}

bool group::close_timers() noexcept {
  for (backoff pause;; pause.pause()) {
    spin_guard guard(lock_, shared_);
    if (live_ != 0) return false;
    timers_closed_ = true;
    drop_timers();
    if (timers_ == nullptr) return true;
  }
}

void group::reopen_timers() noexcept {
  spin_guard guard(lock_, shared_);
  timers_closed_ = false;
}

// @return false if it has been stopped before; else the lock is held until `finish_stop`
bool group::begin_stop(group* above) noexcept {
  if (shared_) lock_.lock();
  if (cancelled_.exchange(true, std::memory_order_relaxed)) {
    if (shared_) lock_.unlock();
    return false;
  }
  above_ = above;
  stopping_ = fibers_;
  return true;
}

// @return the parent, if it waits and nothing is left to wait for
fiber* group::finish_stop() noexcept {
  ++live_;  // the group must not end while its timers are dropped
  drop_timers();
  fiber* waiting = nullptr;
  if (--live_ == 0) waiting = std::exchange(parent_, nullptr);
  if (shared_) lock_.unlock();
  return waiting;
}

// Goes through the tree below without recursion, because scopes may be nested deeper than the stack would bear.
// The locks from here down to where it is are held, so nothing on the way can end.
fiber* group::stop_members() noexcept {
  if (!begin_stop(nullptr)) return nullptr;
  for (group* at = this;;) {
    if (at->stopping_ != nullptr) {
      auto& f = static_cast<fiber&>(*at->stopping_);
      group* below = f.begin_cancel();
      if (below != nullptr && below->begin_stop(at)) {
        at = below;
        continue;
      }
      if (below != nullptr) f.let_go(*below);
      at->stopping_ = f.next_member;
      continue;
    }
    group* above = at->above_;
    fiber* waiting = at->finish_stop();
    if (above == nullptr) return waiting;
    auto& f = static_cast<fiber&>(*above->stopping_);
    above->stopping_ = f.next_member;
    f.finish_cancel(*at, waiting != nullptr);
    at = above;
  }
}

void group::cancel_members() noexcept { resume_parent(stop_members()); }

bool group::join(fiber& parent, std::coroutine_handle<> resume) noexcept {
  // A parent that must stop waits all the same: its members do not outlive it. They are told to stop.
  parent.block_always(*this, resume);
  if (parent.must_stop()) cancel_members();
  spin_guard guard(lock_, shared_);
  if (live_ != 0) {
    parent_ = &parent;
    return true;
  }
  guard.unlock();
  parent.unblock();
  return false;
}

// The waiter is held by the caller, who schedules it if that was all it waited for.
bool group::interrupt(fiber&) noexcept { return stop_members() != nullptr; }

}  // namespace weir::detail
