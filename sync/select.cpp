#include <weir/sync/select.hpp>

#include <weir/core/error.hpp>
#include <weir/core/worker.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace weir::sync::detail {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

// Lots need not be good, only different.
WEIR_NOINLINE std::uint32_t draw() noexcept {
  static constinit thread_local std::uint32_t state = 0x2545f491U;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/// The locks of several arms, taken in the order of their addresses so that selects cannot wait for one another.
class all_locks {
 public:
  explicit all_locks(const arm_set& set) noexcept : locks_(set.locks.data()) {
    for (auto* each : set.arms) {
      if (each != nullptr) locks_[count_++] = &each->lock();
    }
    auto* end = locks_ + count_;
    std::sort(locks_, end, std::less<>());
    count_ = static_cast<std::size_t>(std::unique(locks_, end) - locks_);
    for (std::size_t i = 0; i < count_; ++i) locks_[i]->lock();
  }
  all_locks(const all_locks&) = delete;
  all_locks& operator=(const all_locks&) = delete;
  // Whoever withdraws the arms waits for the last of them, and the room for the locks goes after that.
  ~all_locks() {
    for (std::size_t i = 0; i < count_; ++i) locks_[i]->unlock();
  }

 private:
  spin_lock** locks_;
  std::size_t count_ = 0;
};

}  // namespace

void check_arms(std::size_t count) {
  if (count == 0) throw error(errc::err_invalid_arg_value, "select_any: there is nothing to wait for");
}

void draw_lots(std::span<arm*> arms, preference prefer) noexcept {
  if (prefer == preference::in_order) return;
  for (std::size_t i = arms.size(); i > 1; --i) {
    auto other = static_cast<std::size_t>(std::uint64_t{draw()} * i >> 32);
    std::swap(arms[i - 1], arms[other]);
  }
}

bool select_wait::try_now(std::span<arm* const> arms) noexcept {
  for (auto* each : arms) {
    if (each == nullptr) return false;
    wakeup to_wake;
    bool over = false;
    {
      spin_guard guard(each->lock());
      over = each->complete(to_wake);
    }
    to_wake.go();
    if (!over) continue;
    done_ = each->index;
    return true;
  }
  return false;
}

bool select_wait::suspend(fiber& f, std::coroutine_handle<> h, const arm_set& set) noexcept {
  arms_ = set.arms;
  if (f.must_stop()) {
    stopped_ = true;
    return false;
  }
  if (try_now(set.arms)) return weir::detail::yield_if_spent(f, h);
  if (!f.block(*this, h)) {
    stopped_ = true;
    return false;
  }
  waiter_ = &f;
  wakeup to_wake;
  if (enter_lines(f, set, to_wake)) return true;
  f.unblock();
  to_wake.go();
  return !stopped_ && weir::detail::yield_if_spent(f, h);
}

// With every line locked, what is seen of one is still true when the next is looked at. Once the locks are let go the
// fiber may be resumed elsewhere: what is used after that is on this stack, and `withdraw` waits for the locks.
bool select_wait::enter_lines(fiber& f, const arm_set& set, wakeup& to_wake) noexcept {
  all_locks locked(set);
  spin_guard guard(lock_);
  stopped_ = f.must_stop();
  if (stopped_ || choice_.claimed() != choice::none) return false;
  for (auto* each : set.arms) {
    if (each == nullptr || !each->complete(to_wake)) continue;
    done_ = each->index;
    return false;
  }
  for (auto* each : set.arms) {
    if (each == nullptr) continue;
    each->among = &choice_;
    each->enter(f);
  }
  if (choice_.open()) return true;
  for (auto* each : set.arms) {
    if (each != nullptr) each->line().erase(*each);
  }
  return false;
}

void select_wait::claim(std::uint32_t index) noexcept {
  if (choice_.claim_early(index)) return;
  if (choice_.claim(index)) wakeup(*waiter_).go();
}

void select_wait::withdraw() noexcept {
  {
    spin_guard begun(lock_);
  }
  for (auto* each : arms_) {
    if (each != nullptr) each->withdraw();
  }
}

bool select_wait::interrupt(fiber&) noexcept {
  spin_guard guard(lock_);
  if (!choice_.stop()) return false;
  stopped_ = true;
  return true;
}

const char* select_wait::part(std::size_t n) const noexcept {
  for (auto* each : arms_) {
    if (each != nullptr && each->index == n) return each->what();
  }
  return nullptr;
}

void timer_arm::enter(fiber& waiter) noexcept {
  arm::enter(waiter);
  home_ = waiter.on;
  auto now = home_->clock();
  auto since_epoch = now.time_since_epoch();
  auto left = end_.left(now);
  auto until =
      std::chrono::ceil<milliseconds>(since_epoch + std::min(left, nanoseconds::max() - milliseconds(1) - since_epoch));
  constexpr auto longest = std::numeric_limits<std::uint32_t>::max();
  auto asked_for = static_cast<std::uint64_t>(std::chrono::ceil<milliseconds>(left).count());
  duration = static_cast<std::uint32_t>(std::min<std::uint64_t>(asked_for, longest));
  fire = [](timer_node& node, weir::detail::worker&) noexcept {
    auto& self = static_cast<timer_arm&>(node);
    wakeup to_wake;
    {
      spin_guard guard(self.lock_);
      self.fired_ = true;
      static_cast<void>(claim_first(self.line_, to_wake));
    }
    to_wake.go();
  };
  home_->arm(*this, static_cast<std::uint64_t>(until.count()));
}

// Whoever put us into the line may still hold our lock, on the worker that we have come from. And a timer that cannot
// be stopped any more is being fired, maybe by another worker: both must have let go of us.
void timer_arm::withdraw() noexcept {
  if (home_ == nullptr) return;
  bool disarmed = home_->disarm(*this);
  for (weir::detail::backoff pause;; pause.pause()) {
    spin_guard guard(lock_);
    if (disarmed || fired_) return;
  }
}

void branch_group::settled(fiber& f) noexcept {
  fan_out::settled(f);
  to_tell_.claim(static_cast<branch&>(f).index);
}

}  // namespace weir::sync::detail
