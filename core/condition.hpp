// core/condition.hpp: a condition variable for threads, of one futex. Private to core. The C library's loses a wake-up
// once in a long while where several threads wait (https://sourceware.org/bugzilla/show_bug.cgi?id=25847, mended in
// glibc 2.41, which Debian 12 does not have).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>

namespace weir::detail {

/// As std::condition_variable: waits may end for no reason, and what is waited for changes under the lock. A thread
/// that comes to wait between a change and its `notify_one` may be woken instead of one that waited before; so whoever
/// waits must have seen that there is nothing for him.
class condition {
 public:
  condition() = default;
  condition(const condition&) = delete;
  condition& operator=(const condition&) = delete;

  /// @return false if the time has passed
  bool wait_for(std::unique_lock<std::mutex>& lock, std::chrono::nanoseconds time) noexcept;
  void notify_one() noexcept { notify(1); }
  void notify_all() noexcept;

 private:
  void notify(int most) noexcept;

  std::atomic<std::uint32_t> changes_{0};
  std::atomic<std::uint32_t> waiting_{0};  // changed under the lock of those who wait
};

}  // namespace weir::detail
