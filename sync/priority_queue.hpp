// sync/priority_queue.hpp: work that waits its turn by priority, a few pieces at a time, each tried again where it
// fails. Rests on wait_queue.hpp and wait_group.hpp. The work runs in the task that asked for it, so nothing outlives
// its scope; to have it run in the background, spawn the call.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/concurrency_limit.hpp>
#include <weir/sync/wait_group.hpp>
#include <weir/sync/wait_queue.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

namespace weir::sync {

enum class priority : std::uint8_t { high, medium, low };

/// What a queue tells of its work. Called without a lock, on the worker of the work in question. What a hook throws
/// is no failure of the work: it fails the scope that this runs in. (`paused` and `resumed` throw at their caller.)
struct priority_queue_hooks {
  /// Work has come; `queued` is how much waits with it.
  std::function<void(priority level, std::size_t queued)> queued = {};
  std::function<void(unsigned attempts)> completed = {};
  std::function<void(unsigned attempts, std::chrono::nanoseconds delay, const failure& why)> retrying = {};
  std::function<void(unsigned attempts, const failure& why)> failed = {};
  std::function<void()> paused = {};
  std::function<void()> resumed = {};
};

struct priority_queue_options {
  std::size_t concurrency = 5;                                     ///< pieces of work that run at a time, at least 1
  std::chrono::nanoseconds timeout = std::chrono::seconds(30);     ///< of one attempt; 0: none
  unsigned attempts = 3;                                           ///< in total, the first counted; at least 1
  std::chrono::nanoseconds retry_delay = std::chrono::seconds(1);  ///< times 2^n after the n-th attempt
  std::chrono::nanoseconds max_retry_delay = std::chrono::minutes(5);
  std::size_t max_queued = 65536;                     ///< more fail with ERR_QUEUE_FULL
  std::function<bool(const failure&)> retry_if = {};  ///< not set: whatever fails is tried again
  priority_queue_hooks on = {};
};

/// What one piece of work may have of its own.
struct priority_work_options {
  priority level = priority::medium;
  std::optional<unsigned> attempts = {};
  std::optional<std::chrono::nanoseconds> timeout = {};  ///< 0: none
};

struct priority_queue_stats {
  struct waiting {
    std::size_t high = 0, medium = 0, low = 0;
    std::size_t total() const noexcept { return high + medium + low; }
  };
  std::size_t running = 0;
  waiting queued = {};   ///< for their turn
  waiting delayed = {};  ///< for the delay before their next attempt
  bool paused = false;
  std::uint64_t completed = 0, failed = 0, retried = 0, cleared = 0;  ///< since it was made
};

/// A queue of work with three levels: all of high before any of medium, all of medium before any of low, first come,
/// first served within a level. What runs is not interrupted for the sake of what waits; low may starve.
///
/// `co_await q.run(f, {.level = priority::high})` waits its turn, runs `f()`, which returns a task, and completes with
/// its outcome. An attempt that takes longer than its timeout is cancelled and counts as failed with ETIMEDOUT. Work
/// that fails waits `retry_delay` * 2^n without holding a place and then stands before the new work of its level;
/// the failure of the last attempt is the caller's. Cancelling the await takes the work out wherever it stands; it is
/// not tried again. Any worker; pause, resume, clear and stats may be called from any thread. Must outlive its callers.
class priority_queue {
 public:
  /// @throws weir::error ERR_OUT_OF_RANGE for 0 places, 0 attempts or a negative time
  explicit priority_queue(priority_queue_options options = {});
  priority_queue(const priority_queue&) = delete;
  priority_queue& operator=(const priority_queue&) = delete;
  ~priority_queue();

  /// @throws weir::error ERR_INVALID_ARG_VALUE for a level that there is not, ERR_OUT_OF_RANGE for 0 attempts or a
  /// negative timeout, ERR_QUEUE_FULL; `cancelled` ("Queue cleared") if `clear` took it out
  template <class F>
  auto run(F function, priority_work_options options = {}) -> task<weir::detail::awaited_t<std::invoke_result_t<F&>>> {
    work mine(*this, options, co_await weir::detail::this_fiber{});
    for (;;) {
      co_await mine.turn();
      auto outcome = co_await attempt(attempt_once(function, mine.timeout()));
      if (outcome) {
        mine.completed();
        co_return std::move(outcome).value();
      }
      auto delay = mine.failed(outcome.failure());
      if (!delay) outcome.failure().rethrow();
      co_await mine.back_off(*delay);
    }
  }

  /// Nothing more is started until `resume`; what runs goes on.
  void pause();
  void resume();

  /// Takes out what waits, for its turn or for its next attempt, at one level or at all: those calls fail with
  /// `cancelled` ("Queue cleared"). What runs goes on. @return how many
  std::size_t clear(priority level);
  std::size_t clear();

  priority_queue_stats stats() const;

  /// `co_await q.idle()` completes when nothing runs or waits, be it paused or not.
  [[nodiscard]] wait_group::awaiter idle() noexcept { return present_.wait(); }

 private:
  class work;

  /// Waits for a place.
  class [[nodiscard]] turn_awaiter : private weir::detail::wait {
   public:
    explicit turn_awaiter(work& of) noexcept : of_(&of) {}
    bool await_ready() const noexcept { return false; }
    template <weir::detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    void await_resume() const;

   private:
    bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool interrupt(detail::fiber&) noexcept override;
    const char* what() const noexcept override { return "priority_queue"; }

    work* of_;
  };

  /// One call of `run`, from its beginning to its end. In one of the queue's lists while it waits.
  class work : detail::waiter {
   public:
    work(priority_queue& in, const priority_work_options& options, detail::fiber& runs_in);
    work(const work&) = delete;
    work& operator=(const work&) = delete;
    ~work();

    turn_awaiter turn() noexcept { return turn_awaiter(*this); }
    std::chrono::nanoseconds timeout() const noexcept { return timeout_; }
    void completed();
    /// @return how long to wait for the next attempt, or nothing if there is none
    std::optional<std::chrono::nanoseconds> failed(const failure& why);
    task<> back_off(std::chrono::nanoseconds delay);

   private:
    friend class priority_queue;
    struct delay_place : detail::waiter {
      work* of = nullptr;
      abort_controller cut_short = {};
    };
    template <class... A>
    void tell(const std::function<void(A...)>& hook, std::type_identity_t<A>... arguments) noexcept;
    std::chrono::nanoseconds next_delay() const noexcept;

    priority_queue& in_;
    detail::fiber& runs_in_;
    priority level_;
    unsigned attempts_;
    unsigned made_ = 0;  // attempts so far
    std::chrono::nanoseconds timeout_;
    // Guarded by the queue's lock.
    bool has_place_ = false;
    bool cleared_ = false;
  };

  template <class F>
  static auto attempt_once(F& function, std::chrono::nanoseconds limit)
      -> task<weir::detail::awaited_t<std::invoke_result_t<F&>>> {
    if (limit == std::chrono::nanoseconds(0)) co_return co_await function();
    co_return co_await weir::timeout(limit, detail::run_guarded(function));
  }

  static constexpr std::size_t levels = 3;
  struct level_queue {
    detail::waiter_list retried = {}, fresh = {}, delayed = {};
    std::size_t queued = 0, held_back = 0;
  };

  bool may_start() const noexcept { return !paused_ && running_ < options_.concurrency; }
  std::size_t queued() const noexcept;
  work* next() noexcept;
  detail::waiter_list fill_places() noexcept;
  void leave_place(work& of) noexcept;
  std::size_t clear_levels(std::size_t first, std::size_t last);

  priority_queue_options options_;
  wait_group present_;
  mutable detail::spin_lock lock_;
  std::array<level_queue, levels> queues_;
  std::size_t running_ = 0;
  bool paused_ = false;
  std::uint64_t completed_ = 0, failed_ = 0, retried_ = 0, cleared_ = 0;
};

}  // namespace weir::sync
