// core/spin_lock.hpp: a lock for sections of a few instructions. Rests on nothing.
#pragma once

#include <atomic>
#include <thread>

namespace weir::detail {

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

/// Waits for something another thread is about to do: a few pauses, then the scheduler.
class backoff {
 public:
  void pause() noexcept {
    if (++rounds_ < 64) {
      cpu_relax();
    } else {
      std::this_thread::yield();
    }
  }

 private:
  unsigned rounds_ = 0;
};

/// A one-word lock. Where the runtime has a single worker the owner passes `shared == false` and the
/// lock costs nothing.
class spin_lock {
 public:
  void lock() noexcept {
    backoff wait;
    while (held_.exchange(true, std::memory_order_acquire)) wait.pause();
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

class spin_guard {
 public:
  explicit spin_guard(spin_lock& lock, bool shared = true) noexcept : lock_(shared ? &lock : nullptr) {
    if (lock_ != nullptr) lock_->lock();
  }
  spin_guard(const spin_guard&) = delete;
  spin_guard& operator=(const spin_guard&) = delete;
  ~spin_guard() { unlock(); }

  void unlock() noexcept {
    if (lock_ != nullptr) lock_->unlock();
    lock_ = nullptr;
  }

 private:
  spin_lock* lock_;
};

}  // namespace weir::detail
