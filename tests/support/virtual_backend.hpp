// tests/support/virtual_backend.hpp: a backend without a system below it, for tests of the loop. Time stands
// still while code runs and jumps to the next timer when every queue is empty, so that 30 days pass at once and
// a test comes out the same on a loaded machine. Operations succeed with 0, in order. One runtime at a time.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace weir::testing {

/// The clock that all backends of a runtime share. It starts at a fixed point.
class virtual_clock {
 public:
  static std::chrono::steady_clock::time_point now() noexcept {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(now_.load(std::memory_order_acquire)));
  }

  /// Lets time pass, as a busy callback does.
  static void pass(std::chrono::nanoseconds time) noexcept { now_.fetch_add(time.count(), std::memory_order_acq_rel); }

  static void reset() noexcept { now_.store(start, std::memory_order_release); }

  static std::chrono::nanoseconds elapsed() noexcept {
    return std::chrono::nanoseconds(now_.load(std::memory_order_acquire) - start);
  }

 private:
  static constexpr std::int64_t start = 1'000'000'000'000;
  static inline std::atomic<std::int64_t> now_{start};
};

/// Worker 0 moves the clock; the other workers really wait, for a wake-up.
class virtual_backend final : public backend {
 public:
  virtual_backend() : moves_clock_(made_.fetch_add(1) == 0) {}

  void start() override {}

  void submit(operation& op) noexcept override {
    submitted_.push_back(&op);
    ++counters_.submissions;
  }

  void cancel(operation&) noexcept override {}  // everything completes at once

  std::size_t poll(std::chrono::nanoseconds timeout) noexcept override {
    auto batch = std::exchange(submitted_, {});
    for (auto* op : batch) {
      ++counters_.completions;
      op->on_complete(*op, completion{});
    }
    std::unique_lock lock(mutex_);
    if (batch.empty() && !woken_ && timeout > std::chrono::nanoseconds(0)) sleep(lock, timeout);
    woken_ = false;
    return batch.size();
  }

  void wake(backend*) noexcept override {
    std::lock_guard lock(mutex_);
    woken_ = true;
    wake_.notify_one();
  }

  std::chrono::steady_clock::time_point now() const noexcept override { return virtual_clock::now(); }
  void recycle(std::uint16_t) noexcept override {}
  std::size_t in_flight() const noexcept override { return submitted_.size(); }
  const backend_counters& counters() const noexcept override { return counters_; }
  std::string report() const override { return "virtual"; }

  /// For runtime_options::make_backend, through `virtual_time`.
  static std::unique_ptr<backend> make(const backend_options&) { return std::make_unique<virtual_backend>(); }
  static void next_runtime() noexcept { made_.store(0); }

 private:
  // A worker among others sleeps a second at a stretch, timer or not: then the others get a moment first.
  void sleep(std::unique_lock<std::mutex>& lock, std::chrono::nanoseconds timeout) {
    bool endless = timeout == std::chrono::nanoseconds::max();
    auto patience = std::chrono::milliseconds(!moves_clock_ || endless            ? 100
                                              : timeout < std::chrono::seconds(1) ? 0
                                                                                  : 1);
    if (patience.count() != 0 && wake_.wait_for(lock, patience, [this] { return woken_; })) return;
    if (moves_clock_ && !endless) virtual_clock::pass(timeout);
  }

  static inline std::atomic<unsigned> made_{0};
  const bool moves_clock_;
  std::vector<operation*> submitted_;
  backend_counters counters_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
};

/// Options for a runtime on virtual time, which starts anew.
inline runtime_options virtual_time(unsigned workers = 1) {
  virtual_clock::reset();
  virtual_backend::next_runtime();
  runtime_options options;
  options.workers = workers;
  options.spin = std::chrono::microseconds(0);  // time does not pass while a worker spins
  options.stall_after = std::chrono::milliseconds(0);
  options.make_backend = virtual_backend::make;
  return options;
}

/// Runs `main` on one worker whose clock moves only when everybody waits.
template <class T>
T run_virtually(task<T> main) {
  return runtime(virtual_time()).block_on(std::move(main));
}

}  // namespace weir::testing
