#include <weir/core/time.hpp>

#include <weir/core/worker.hpp>

#include <algorithm>
#include <limits>

namespace weir {
namespace detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

std::uint64_t whole_milliseconds(nanoseconds time) noexcept {
  if (time <= nanoseconds(0)) return 0;
  auto count = static_cast<std::uint64_t>(time.count());
  return count / 1'000'000 + (count % 1'000'000 != 0 ? 1 : 0);
}

std::uint32_t clamp32(std::uint64_t n) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(n, std::numeric_limits<std::uint32_t>::max()));
}

void end_timer(timer_callback& c) noexcept {
  c.over.store(true, std::memory_order_relaxed);
  release(c);
}

// A cancellation from another worker may come before the timer is in its scope's list, or before it is in the wheel:
// then it has found nothing to stop, and the timer goes by itself.
void arm_in_scope(timer_callback& c, std::uint64_t deadline) noexcept {
  timer_share staying(c);
  c.owner->add_timer(c, c.counted);
  c.home->arm(c, deadline);
  if (c.owner->is_cancelled()) stop_timer(c);
}

void fire_timer(timer_node& node, worker& w) noexcept {
  auto& c = static_cast<timer_callback&>(node);
  auto& owner = *c.owner->enclosing_scope();
  if (!owner.claim_timer(c, c.counted)) return end_timer(c);
  bool wanted = !owner.is_cancelled() && !c.over.load(std::memory_order_relaxed);
  if (!c.repeats) c.over.store(true, std::memory_order_relaxed);
  if (wanted) {
    w.enter(&c);
    try {
      c.invoke(c);
    } catch (...) {
      owner.child_failed(std::current_exception());
    }
    w.enter(nullptr);
  }
  if (!c.over.load(std::memory_order_relaxed)) {
    auto next = c.deadline + c.delay;
    if (next <= w.loop_time()) next += (w.loop_time() - next) / c.delay * c.delay + c.delay;
    arm_in_scope(c, next);
  } else {
    end_timer(c);
  }
  owner.release();
}

}  // namespace

bool sleep_awaiter::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  home_ = f.on;
  waiter_ = &f;
  auto now = home_->clock();
  auto wanted = end().left(now);
  duration = clamp32(whole_milliseconds(wanted));
  fire = [](timer_node& node, worker& w) noexcept {
    auto& self = static_cast<sleep_awaiter&>(node);
    auto& who = *self.waiter_;
    who.unblock();
    if (who.has(fiber::affine) && who.on == &w) {
      w.push_microtask(ready::of(who));
    } else {
      schedule_from_poll(who, w);
    }
  };
  auto limit = nanoseconds::max() - now.time_since_epoch();
  auto until = whole_milliseconds(now.time_since_epoch() + std::min(wanted, limit));
  bool blocked = f.block(*this, h);
  if (blocked && home_->arm_for(f, *this, until)) return true;
  if (blocked) f.unblock();
  stopped_ = true;
  return false;
}

bool sleep_awaiter::interrupt(fiber&) noexcept {
  if (!home_->disarm(*this)) return false;
  stopped_ = true;
  return true;
}

void start_timer(timer_callback& c, scope* owner, nanoseconds delay, bool repeats, bool counted, const char* what) {
  auto* running = current_execution();
  auto* here = current_worker();
  if (here == nullptr || (running == nullptr && owner == nullptr)) {
    c.destroy(c);
    throw error(errc::err_invalid_state, std::string(what) + ": no weir runtime runs on this thread");
  }
  c.owner = owner != nullptr ? owner : running->owner->enclosing_scope();
  c.context = keep(running != nullptr ? running->context : nullptr);
  c.home = here;
  c.fire = fire_timer;
  c.repeats = repeats;
  c.counted = counted;
  c.delay = std::max<std::uint64_t>(whole_milliseconds(delay), 1);
  c.duration = clamp32(c.delay);
  arm_in_scope(c, here->next_millisecond() + c.delay);
}

void release(timer_callback& c) noexcept {
  if (c.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  drop(c.context);
  c.destroy(c);
}

void stop_timer(timer_callback& c) noexcept {
  if (c.over.exchange(true, std::memory_order_relaxed)) return;
  if (!c.home->disarm(c)) return;  // firing, or being dropped with its scope
  c.owner->forget_timer(c, c.counted);
  release(c);
}

group::dropped drop_scope_timer(member& m) noexcept {
  auto& c = static_cast<timer_callback&>(m);
  if (!c.home->disarm(c)) return group::dropped::firing;
  bool counted = c.counted;
  end_timer(c);
  return counted ? group::dropped::counted : group::dropped::uncounted;
}

}  // namespace detail

detail::group::dropped scope::drop_timer(detail::member& timer) noexcept { return detail::drop_scope_timer(timer); }

void timer::clear() noexcept {
  if (callback_ != nullptr) detail::stop_timer(*callback_);
}

bool timer::active() const noexcept { return callback_ != nullptr && !callback_->over.load(std::memory_order_relaxed); }

bool timer::has_ref() const noexcept { return callback_ != nullptr && callback_->counted; }

void timer::count(bool wanted) noexcept {
  if (callback_ == nullptr || callback_->counted == wanted) return;
  if (callback_->slot == detail::timer_node::unarmed) {
    callback_->counted = wanted;  // within its own callback, or over
    return;
  }
  callback_->owner->recount_timer(callback_->counted, wanted);
}

timer& timer::ref() noexcept {
  count(true);
  return *this;
}

timer& timer::unref() noexcept {
  count(false);
  return *this;
}

timer& timer::refresh() noexcept {
  if (!active()) return *this;
  auto& home = *callback_->home;
  home.rearm(*callback_, home.next_millisecond() + callback_->delay);
  return *this;
}

std::chrono::steady_clock::time_point detail::clock_here() noexcept {
  auto* here = current_worker();
  return here != nullptr ? here->clock() : std::chrono::steady_clock::now();
}

// A century is as good as any longer period, and can be added to.
interval::interval(std::chrono::nanoseconds period)
    : period_(std::clamp<std::chrono::nanoseconds>(period, std::chrono::milliseconds(1), std::chrono::hours(876'600))),
      due_(detail::clock_here()) {}

task<std::uint64_t> interval::next() {
  auto now = (co_await detail::this_fiber{}).on->clock();
  auto behind = now - due_;
  std::uint64_t ticks = behind < period_ ? 1 : static_cast<std::uint64_t>(behind / period_);
  co_await sleep_until(due_ + period_ * ticks);
  due_ += period_ * ticks;
  co_return ticks;
}

}  // namespace weir
