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

void fire_timer(timer_node& node, worker& w) noexcept {
  auto& c = static_cast<timer_callback&>(node);
  auto& owner = *c.owner->enclosing_scope();
  if (!owner.claim_timer(c, c.counted)) return release(c);
  if (!c.cleared.load(std::memory_order_relaxed) && !owner.is_cancelled()) {
    w.enter(&c);
    try {
      c.invoke(c);
    } catch (...) {
      owner.child_failed(std::current_exception());
    }
    w.enter(nullptr);
  }
  if (c.repeats && !c.cleared.load(std::memory_order_relaxed) && !owner.is_cancelled()) {
    auto next = c.deadline + c.delay;
    if (next <= w.loop_time()) next += (w.loop_time() - next) / c.delay * c.delay + c.delay;
    owner.add_timer(c, c.counted);
    w.arm(c, next);
  } else {
    release(c);
  }
  owner.release();
}

}  // namespace

bool sleep_awaiter::suspend(fiber& f, std::coroutine_handle<> h) noexcept {
  if (!f.block(*this, h)) {
    stopped_ = true;
    return false;
  }
  home_ = f.on;
  waiter_ = &f;
  auto now = home_->clock();
  auto wanted = absolute_ ? until_ - now : time_;
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
  home_->arm(*this, whole_milliseconds(now.time_since_epoch() + std::min(wanted, limit)));
  return true;
}

bool sleep_awaiter::interrupt(fiber&) noexcept {
  stopped_ = home_->disarm(*this);
  return stopped_;
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
  c.owner->add_timer(c, counted);
  here->arm(c, here->loop_time() + c.delay);
}

void release(timer_callback& c) noexcept {
  if (c.references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  drop(c.context);
  c.destroy(c);
}

void stop_timer(timer_callback& c) noexcept {
  c.cleared.store(true, std::memory_order_relaxed);
  if (!c.home->disarm(c)) return;  // fired, firing, cleared, or dropped with its scope
  c.owner->forget_timer(c, c.counted);
  release(c);
}

group::dropped drop_scope_timer(member& m) noexcept {
  auto& c = static_cast<timer_callback&>(m);
  if (!c.home->disarm(c)) return group::dropped::firing;
  bool counted = c.counted;
  c.cleared.store(true, std::memory_order_relaxed);
  release(c);
  return counted ? group::dropped::counted : group::dropped::uncounted;
}

}  // namespace detail

detail::group::dropped scope::drop_timer(detail::member& timer) noexcept { return detail::drop_scope_timer(timer); }

void timer::clear() noexcept {
  if (callback_ != nullptr) detail::stop_timer(*callback_);
}

bool timer::active() const noexcept {
  return callback_ != nullptr && (callback_->slot != detail::timer_node::unarmed ||
                                  (callback_->repeats && !callback_->cleared.load(std::memory_order_relaxed)));
}

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
  if (callback_ == nullptr || !callback_->home->disarm(*callback_)) return *this;
  callback_->home->arm(*callback_, callback_->home->loop_time() + callback_->delay);
  return *this;
}

interval::interval(std::chrono::nanoseconds period)
    : period_(std::max<std::chrono::nanoseconds>(period, std::chrono::milliseconds(1))),
      due_(std::chrono::steady_clock::now()) {}

task<std::uint64_t> interval::next() {
  auto now = (co_await detail::this_fiber{}).on->clock();
  auto behind = now - due_;
  std::uint64_t ticks = behind < period_ ? 1 : static_cast<std::uint64_t>(behind / period_);
  co_await sleep_until(due_ + period_ * ticks);
  due_ += period_ * ticks;
  co_return ticks;
}

}  // namespace weir
