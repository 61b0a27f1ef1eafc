// core/blocking_pool.hpp: the threads behind `blocking`. Private to core.
#pragma once

#include <weir/core/blocking.hpp>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace weir::detail {

class blocking_pool {
 public:
  blocking_pool(unsigned threads, std::size_t queue) noexcept : limit_(threads), queue_limit_(queue) {}
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
  void serve(unsigned number);
  bool add_thread() noexcept;
  blocking_job* take() noexcept;

  const unsigned limit_;
  const std::size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  blocking_job* head_ = nullptr;
  blocking_job* tail_ = nullptr;
  std::size_t queued_ = 0;
  unsigned idle_ = 0;
  unsigned alive_ = 0;
  unsigned made_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
  std::vector<std::thread::id> ended_;
};

}  // namespace weir::detail
