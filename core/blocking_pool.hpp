// core/blocking_pool.hpp: the threads behind `blocking`. Private to core.
//
// Long functions get a thread each, up to the bound. Short ones, which most system calls about files are, would only
// get in each other's way like that: while functions have been short of late a few threads take them one after the
// other, and one more thread, the watcher, looks from time to time whether they get on. If they do not, threads are
// added until they do, so that a function that sleeps holds nobody up for longer than a few looks.
#pragma once

#include <weir/core/blocking.hpp>
#include <weir/core/condition.hpp>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::detail {

class blocking_pool {
 public:
  blocking_pool(unsigned threads, std::size_t queue) noexcept;
  blocking_pool(const blocking_pool&) = delete;
  blocking_pool& operator=(const blocking_pool&) = delete;
  ~blocking_pool();

  /// @return false if the queue is full or no thread can be had, or if the waiter has to stop: `stopped` tells
  bool submit(blocking_job& job, bool& stopped) noexcept;

  /// @return false if a thread has begun it
  bool withdraw(blocking_job& job) noexcept;

  unsigned threads() const noexcept;
  std::size_t queued() const noexcept;

 private:
  using lock_type = std::unique_lock<std::mutex>;
  using clock = std::chrono::steady_clock;

  lock_type locked() const noexcept;
  void serve(unsigned number);
  bool wait_idle(lock_type& lock) noexcept;
  void work(lock_type& lock) noexcept;
  void watch(lock_type& lock) noexcept;
  struct thread_state;
  void make(lock_type& lock, blocking_job& job, thread_state& state) noexcept;
  int shared_processor(thread_state& state) const noexcept;

  unsigned by_time() const noexcept;
  unsigned wanted() const noexcept;
  unsigned bearable() const noexcept;
  bool lacks_thread() const noexcept;
  enum class call : std::uint8_t { none, notify, failed };
  call call_thread() noexcept;
  bool add_thread() noexcept;
  blocking_job* take() noexcept;
  void remove(blocking_job& job) noexcept;
  bool holds_back(clock::time_point now) const noexcept;
  void tell_all(lock_type& lock) noexcept;

  const unsigned limit_;
  const unsigned few_;
  const std::size_t queue_limit_;
  mutable std::mutex mutex_;
  condition wake_;  // those who have nothing to do
  condition tick_;  // the watcher, at the end
  blocking_job* head_ = nullptr;
  blocking_job* tail_ = nullptr;
  std::size_t queued_ = 0;
  std::uint64_t taken_ = 0;
  clock::duration usual_{0};          // what functions have taken of late
  blocking_job* finished_ = nullptr;  // whose waiters have not been told yet; newest first
  unsigned untold_ = 0;
  clock::time_point first_untold_;
  unsigned idle_ = 0;
  unsigned called_ = 0;  // of those, on the way to the queue
  unsigned coming_ = 0;  // new, and on the way there
  unsigned busy_ = 0;
  unsigned telling_ = 0;  // of those, between their last function and the queue
  unsigned more_ = 0;     // threads beyond the few, because those do not get on
  bool watched_ = false;
  bool stopping_ = false;
  unsigned alive_ = 0;
  unsigned made_ = 0;
  thread_state* states_ = nullptr;  // of the busy ones
  std::vector<std::thread> threads_;
  std::vector<std::thread::id> ended_;
};

}  // namespace weir::detail
