// core/worker.hpp: the executor's inside: one worker, its queues and its turn. Private to core.
// A worker is a thread with a backend, a timer wheel and these queues:
//   fresh       affine fibers that start at once, still within the callback that made them
//   ticks       next_tick callbacks            } drained after every callback and every resume of an
//   microtasks  queue_microtask, affine wakes  } affine fiber, ticks first, until both are empty
//   polled      affine fibers whose I/O is over
//   immediates, closing    check and close phase
//   local, ring, lifo slot ready fibers that any worker may run
//   mail        what other threads send
// The turn is Node's since libuv 1.45: poll, immediates, close, timers; then a slice of stealable work.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/blocking_pool.hpp>
#include <weir/core/fiber.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/timer_wheel.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <pthread.h>

namespace weir::detail {

/// What a link in a queue stands for.
struct ready {
  std::uintptr_t word = 0;

  static ready of(fiber& f) noexcept { return {reinterpret_cast<std::uintptr_t>(static_cast<link*>(&f))}; }
  static ready of(job& j) noexcept { return {reinterpret_cast<std::uintptr_t>(static_cast<link*>(&j)) | 1}; }

  explicit operator bool() const noexcept { return word != 0; }
  bool is_job() const noexcept { return (word & 1) != 0; }
  link& place() const noexcept { return *reinterpret_cast<link*>(word & ~std::uintptr_t{1}); }
  fiber& as_fiber() const noexcept { return static_cast<fiber&>(place()); }
  job& as_job() const noexcept { return static_cast<job&>(place()); }
};

/// A first-in, first-out queue of fibers and jobs, linked through themselves.
class ready_list {
 public:
  bool empty() const noexcept { return head_.word == 0; }

  void push(ready item) noexcept {
    item.place().next = 0;
    if (tail_ != nullptr) {
      tail_->next = item.word;
    } else {
      head_ = item;
    }
    tail_ = &item.place();
  }

  ready pop() noexcept {
    ready first = head_;
    if (first) {
      head_.word = first.place().next;
      if (head_.word == 0) tail_ = nullptr;
    }
    return first;
  }

  /// Empties the list into the one returned.
  ready_list take() noexcept {
    ready_list all = *this;
    *this = {};
    return all;
  }

 private:
  ready head_;
  link* tail_ = nullptr;
};

/// The stealable queue of one worker: its owner pushes at the tail and pops at the head, thieves take half
/// from the head. The head holds two indices, so that a thief can claim a range before it has copied it.
class steal_ring {
 public:
  static constexpr std::uint32_t capacity = 256;

  /// @return false if full (owner)
  bool push(fiber& f) noexcept;
  fiber* pop() noexcept;                          ///< owner
  fiber* steal_into(steal_ring& thief) noexcept;  ///< thief's thread; returns one, the rest is in `thief`
  std::uint32_t take_half(std::array<fiber*, capacity / 2>& out) noexcept;  ///< owner, when full
  std::uint32_t size() const noexcept;
  std::uint64_t taken() const noexcept { return head_.load(std::memory_order_relaxed); }  ///< changes with each take

 private:
  // High half: the first index a thief has not finished copying from. Low half: the first index not claimed.
  std::atomic<std::uint64_t> head_{0};
  std::atomic<std::uint32_t> tail_{0};
  std::array<std::atomic<fiber*>, capacity> slots_{};
};

class executor;

class worker {
 public:
  worker(executor& owner, unsigned index, std::unique_ptr<backend> io);
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;
  ~worker() = default;

  /// Runs turns on the calling thread until the executor stops.
  void run();

  // Queues; the worker's own thread.
  void push_fresh(fiber& f) noexcept { fresh_.push(ready::of(f)); }
  void push_tick(ready item) noexcept { ticks_.push(item); }
  void push_microtask(ready item) noexcept { microtasks_.push(item); }
  void push_immediate(ready item) noexcept { immediates_.push(item); }
  void push_closing(ready item) noexcept { closing_.push(item); }
  void push_polled(fiber& f) noexcept { polled_.push(ready::of(f)); }
  void push_woken(fiber& f) noexcept;  ///< an affine fiber, by other code of this worker
  void push_yielded(fiber& f) noexcept;
  void push_stealable(fiber& f, bool next) noexcept;

  /// Sends a fiber or a job to this worker. Any thread.
  void post(ready item) noexcept;

  // Timers. Arming is for the worker's own thread, disarming for any.
  void arm(timer_node& node, std::uint64_t deadline) noexcept;
  /// The same on behalf of `waiter`, which is blocked on it. @return false if that has to stop: not armed then
  [[nodiscard]] bool arm_for(const fiber& waiter, timer_node& node, std::uint64_t deadline) noexcept;
  bool disarm(timer_node& node) noexcept;
  void rearm(timer_node& node, std::uint64_t deadline) noexcept;   ///< if it is armed
  std::uint64_t loop_time() const noexcept { return loop_time_; }  ///< milliseconds, read once a turn
  std::uint64_t next_millisecond() const noexcept;                 ///< of the clock now, rounded up
  std::chrono::steady_clock::time_point clock() const noexcept { return backend_->now(); }

  /// Runs the callback of a job or timer under `as`; then whatever it queued is drained by the caller.
  void enter(execution* as) noexcept { running_ = as; }

  /// True once every `budget` calls within a resume: the fiber that awaits ready things must yield.
  bool spend() noexcept { return --budget_ == 0; }

  void ended(fiber& f) noexcept { ended_ = &f; }
  void drain() noexcept;

  backend& io() noexcept { return *backend_; }
  executor& home() noexcept { return executor_; }
  unsigned index() const noexcept { return index_; }
  bool shared() const noexcept { return shared_; }
  execution* running() const noexcept { return running_; }
  fiber* running_fiber() const noexcept { return running_fiber_; }

  worker_metrics metrics() const noexcept;

  struct {
    figure spawned, finished, polls, turns, steals, stolen, parks, wakes, callbacks, timers_fired, lost_wakes, spins;
  } count;

  /// Wakes the worker if it sleeps. Any thread.
  void rouse() noexcept;

  // For the stall detector.
  std::atomic<bool> working{false};
  std::atomic<pthread_t> thread{};

 private:
  friend class executor;

  void turn() noexcept;
  void take_mail() noexcept;
  void poll(std::chrono::nanoseconds timeout) noexcept;
  void poll_phase() noexcept;
  void run_immediates() noexcept;
  void run_closing() noexcept;
  void run_timers() noexcept;
  void run_stealable() noexcept;
  void run_fresh() noexcept;
  void run_ticks() noexcept;
  void run_microtasks() noexcept;
  void resume(fiber& f) noexcept;
  void call(ready item) noexcept;
  fiber* next_stealable() noexcept;
  void overflow(fiber& f) noexcept;
  bool has_local_work() const noexcept;
  void wait_for_work() noexcept;
  bool spin(std::chrono::steady_clock::time_point started, std::chrono::nanoseconds timeout) noexcept;
  void park(std::chrono::nanoseconds timeout) noexcept;
  bool search() noexcept;
  std::chrono::nanoseconds until_next_timer() noexcept;
  void read_clock() noexcept;

  executor& executor_;
  unsigned index_;
  bool shared_;
  bool steals_;
  std::unique_ptr<backend> backend_;

  fiber* running_fiber_ = nullptr;
  execution* running_ = nullptr;
  fiber* ended_ = nullptr;
  std::uint32_t budget_ = 0;
  std::uint32_t woken_ = 0;

  ready_list fresh_, ticks_, microtasks_, polled_, immediates_, closing_;
  ready_list local_;  // stealable fibers where nobody steals
  figure local_size_;
  std::atomic<fiber*> lifo_{nullptr};
  std::uint32_t lifo_streak_ = 0;
  std::uint32_t tick_ = 0;  // stealable resumes, for the turn of the inject queue

  mutable spin_lock timers_lock_;
  timer_wheel timers_;
  std::uint64_t loop_time_ = 0;

  std::chrono::nanoseconds idle_gap_{std::chrono::milliseconds(1)};  // how long waits have been of late
  bool searching_ = false;
  fiber* in_hand_ = nullptr;  // the one of a raid that goes to no queue
  unsigned random_ = 0x9e3779b9U;

  alignas(64) steal_ring ring_;
  alignas(64) std::atomic<std::uintptr_t> mail_{0};
  std::atomic<bool> asleep_{false};
};

/// The workers together: what they share when they are out of work, and how they start and stop.
class executor {
 public:
  explicit executor(const runtime_options& options);
  executor(const executor&) = delete;
  executor& operator=(const executor&) = delete;
  ~executor();

  /// Runs worker 0 on the calling thread and the others on theirs, until `stop`.
  void run();
  void stop() noexcept;
  bool stopping() const noexcept { return stopping_.load(std::memory_order_acquire); }

  /// A stealable fiber from a foreign thread, or surplus of a worker.
  void inject(fiber& f) noexcept;
  void inject(fiber* const* first, std::uint32_t count) noexcept;
  fiber* take_injected(worker& by) noexcept;
  bool has_injected() const noexcept { return injected_size_.load(std::memory_order_seq_cst) != 0; }

  /// There is work for one more: wakes a parked worker unless one is already looking.
  void notify() noexcept;

  // For a worker that runs out of work.
  bool start_search(worker& w) noexcept;
  void stop_search(worker& w) noexcept;
  void set_idle(worker& w) noexcept;
  bool set_busy(worker& w) noexcept;  ///< true if it was woken to search
  bool any_ready() const noexcept;
  bool overlooks_work() const noexcept;  ///< there is work that lies still while an idle worker sleeps

  void spawned_elsewhere() noexcept { spawned_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t alive() const noexcept;
  std::size_t injected() const noexcept { return injected_size_.load(std::memory_order_relaxed); }

  blocking_pool& blocking() noexcept { return blocking_; }

  /// The group at the top, for the task dump; set while it is alive.
  std::atomic<group*> top{nullptr};

  const runtime_options& options() const noexcept { return options_; }
  std::vector<std::unique_ptr<worker>>& workers() noexcept { return workers_; }
  /// Whether another thread may look at fibers: a worker, or the watchdog that dumps them.
  bool shared() const noexcept { return options_.workers > 1 || options_.dump_signal != 0; }
  bool steals() const noexcept { return options_.workers > 1 && options_.stealing; }

  /// Held by a foreign thread from the moment that it makes work visible until it has woken whom it must: the
  /// work may end the run meanwhile.
  class visit {
   public:
    explicit visit(executor& of) noexcept;
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() {
      if (visitors_ != nullptr) visitors_->fetch_sub(1, std::memory_order_release);
    }

   private:
    std::atomic<std::uint32_t>* visitors_ = nullptr;
  };

 private:
  void make_workers();

  runtime_options options_;
  std::vector<std::unique_ptr<worker>> workers_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> spawned_{0};  // sent to a worker by another thread

  std::mutex inject_mutex_;
  ready_list injected_;
  std::atomic<std::uint32_t> injected_size_{0};

  std::mutex idle_mutex_;
  std::vector<worker*> idle_;
  std::atomic<std::uint32_t> idle_count_{0};
  std::atomic<std::uint32_t> searching_{0};
  std::atomic<std::uint32_t> visitors_{0};

  blocking_pool blocking_;  // last: its threads use the rest until they are joined
};

}  // namespace weir::detail
