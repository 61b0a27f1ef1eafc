#include <weir/core/condition.hpp>

#include <cerrno>
#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::detail {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "a futex is a word");

bool condition::wait_for(std::unique_lock<std::mutex>& lock, std::chrono::nanoseconds time) noexcept {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const timespec limit{.tv_sec = seconds.count(), .tv_nsec = (time - seconds).count()};
  const auto seen = changes_.load(std::memory_order_relaxed);
  waiting_.fetch_add(1, std::memory_order_relaxed);
  lock.unlock();
  const bool timed_out =
      ::syscall(SYS_futex, &changes_, FUTEX_WAIT_PRIVATE, seen, &limit, nullptr, 0) != 0 && errno == ETIMEDOUT;
  lock.lock();
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  return !timed_out;
}

void condition::notify_all() noexcept { notify(INT_MAX); }

// Whoever changed what is waited for has had the lock since: he sees all who waited before.
void condition::notify(int most) noexcept {
  if (waiting_.load(std::memory_order_relaxed) == 0) return;
  changes_.fetch_add(1, std::memory_order_relaxed);
  ::syscall(SYS_futex, &changes_, FUTEX_WAKE_PRIVATE, most, nullptr, nullptr, 0);
}

}  // namespace weir::detail
