#include <weir/sync/select.hpp>

#include <weir/core/worker.hpp>

#include <algorithm>
#include <limits>
#include <numeric>

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
  explicit all_locks(std::span<arm* const> arms) noexcept {
    for (auto* each : arms) {
      if (each != nullptr) locks_[count_++] = &each->lock();
    }
    auto* end = locks_.data() + count_;
    std::sort(locks_.data(), end, std::less<>());
    count_ = static_cast<std::size_t>(std::unique(locks_.data(), end) - locks_.data());
    for (std::size_t i = 0; i < count_; ++i) locks_[i]->lock();
  }
  all_locks(const all_locks&) = delete;
  all_locks& operator=(const all_locks&) = delete;
  ~all_locks() {
    for (std::size_t i = 0; i < count_; ++i) locks_[i]->unlock();
  }

 private:
  std::array<spin_lock*, most_arms> locks_;
  std::size_t count_ = 0;
};

}  // namespace

arm_order::arm_order(std::size_t count, preference prefer) noexcept : count_(count) {
  std::iota(at_.data(), at_.data() + count, std::uint8_t{0});
  if (prefer == preference::in_order) return;
  for (std::size_t i = count; i > 1; --i) {
    auto other = static_cast<std::size_t>(std::uint64_t{draw()} * i >> 32);
    std::swap(at_[i - 1], at_[other]);
  }
}

bool select_wait::try_now(std::span<arm* const> arms, const arm_order& order) noexcept {
  for (auto i : order) {
    if (arms[i] == nullptr) return false;
    wakeup to_wake;
    bool over = false;
    {
      spin_guard guard(arms[i]->lock());
      over = arms[i]->complete(to_wake);
    }
    to_wake.go();
    if (!over) continue;
    done_ = i;
    return true;
  }
  return false;
}

bool select_wait::suspend(fiber& f, std::coroutine_handle<> h, std::span<arm* const> arms,
                          const arm_order& order) noexcept {
  if (f.must_stop()) {
    stopped_ = true;
    return false;
  }
  if (try_now(arms, order)) return weir::detail::yield_if_spent(f, h);
  if (!f.block(*this, h)) {
    stopped_ = true;
    return false;
  }
  waiter_ = &f;
  wakeup to_wake;
  if (enter_lines(f, arms, order, to_wake)) return true;
  f.unblock();
  to_wake.go();
  return !stopped_ && weir::detail::yield_if_spent(f, h);
}

// With every line locked, what is seen of one is still true when the next is looked at. Once the locks are let go the
// fiber may be resumed elsewhere: what is used after that is on this stack, and `withdraw` waits for the locks.
bool select_wait::enter_lines(fiber& f, std::span<arm* const> arms, const arm_order& order, wakeup& to_wake) noexcept {
  all_locks locked(arms);
  spin_guard guard(lock_);
  stopped_ = f.must_stop();
  if (stopped_ || choice_.claimed() != choice::none) return false;
  for (auto i : order) {
    if (arms[i] == nullptr || !arms[i]->complete(to_wake)) continue;
    done_ = i;
    return false;
  }
  for (std::uint32_t i = 0; i < arms.size(); ++i) {
    if (arms[i] == nullptr) continue;
    arms[i]->among = &choice_;
    arms[i]->index = i;
    arms[i]->enter(f);
  }
  if (choice_.open()) return true;
  for (auto* each : arms) {
    if (each != nullptr) each->line().erase(*each);
  }
  return false;
}

void select_wait::claim(std::uint32_t index) noexcept {
  if (choice_.claim_early(index)) return;
  if (choice_.claim(index)) wakeup(*waiter_).go();
}

void select_wait::withdraw(std::span<arm* const> arms) noexcept {
  {
    spin_guard begun(lock_);
  }
  for (auto* each : arms) {
    if (each != nullptr) each->withdraw();
  }
}

bool select_wait::interrupt(fiber&) noexcept {
  spin_guard guard(lock_);
  if (!choice_.stop()) return false;
  stopped_ = true;
  return true;
}

void timer_arm::enter(fiber& waiter) noexcept {
  arm::enter(waiter);
  home_ = waiter.on;
  auto now = home_->clock().time_since_epoch();
  auto until = std::chrono::ceil<milliseconds>(now + std::min(time_, nanoseconds::max() - milliseconds(1) - now));
  constexpr auto longest = std::numeric_limits<std::uint32_t>::max();
  auto asked_for = static_cast<std::uint64_t>(std::chrono::ceil<milliseconds>(time_).count());
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
