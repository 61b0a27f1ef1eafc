// core/time.hpp: waiting for time to pass: sleep, interval, and Node's callable timers. Resolution is one
// millisecond; deadlines are 64 bits of it, so a timer for 30 days works. Timers live on the worker that
// made them and cost no system call. Those of a scope are cleared when it is cancelled or ends.
#pragma once

#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/timer_wheel.hpp>

#include <algorithm>
#include <chrono>
#include <type_traits>
#include <utility>

namespace weir {
namespace detail {

/// The clock of the worker that runs the caller, which a simulation may drive; outside a runtime the system's.
std::chrono::steady_clock::time_point clock_here() noexcept;

/// When a sleep ends: so long after it has begun, or at a point of the steady clock.
struct sleep_end {
  std::chrono::nanoseconds time;
  bool absolute = false;

  /// What is left at `now`, when the sleep begins; never negative.
  std::chrono::nanoseconds left(std::chrono::steady_clock::time_point now) const noexcept {
    auto zero = std::chrono::nanoseconds(0);
    if (!absolute) return std::max(time, zero);
    return time > now.time_since_epoch() ? time - now.time_since_epoch() : zero;
  }
};

class [[nodiscard]] sleep_awaiter final : private wait, private timer_node {
 public:
  explicit sleep_awaiter(std::chrono::nanoseconds time) noexcept : time_(time) {}
  sleep_awaiter(std::chrono::steady_clock::time_point until) noexcept : until_(until), absolute_(true) {}

  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return suspend(*h.promise().running, h);
  }
  void await_resume() const {
    if (stopped_) throw cancelled();
  }
  result<void> try_resume() const noexcept {
    if (stopped_) return failure(cancelled());
    return {};
  }

  /// For who waits for the same in a way of his own.
  sleep_end end() const noexcept {
    return absolute_ ? sleep_end{until_.time_since_epoch(), true} : sleep_end{time_, false};
  }

 private:
  bool suspend(fiber& f, std::coroutine_handle<> h) noexcept;
  bool interrupt(fiber& waiter) noexcept override;
  const char* what() const noexcept override { return "sleep"; }

  union {
    std::chrono::nanoseconds time_;
    std::chrono::steady_clock::time_point until_;
  };
  fiber* waiter_ = nullptr;
  worker* home_ = nullptr;
  bool absolute_ = false;
  bool stopped_ = false;
};

/// A callable timer. The wheel, the handle and the tasks that its function returned share it.
struct timer_callback : timer_node, member, execution {
  std::atomic<std::uint32_t> references{2};
  std::atomic<bool> over{false};  ///< no call will begin any more; `home` may be gone
  bool counted = true;            // guarded by the scope's lock while the timer is armed
  bool repeats = false;
  std::uint64_t delay = 1;
  worker* home = nullptr;
  void (*invoke)(timer_callback&) = nullptr;
  void (*destroy)(timer_callback&) noexcept = nullptr;
};

template <class F>
struct timer_callback_of final : timer_callback {
  explicit timer_callback_of(F&& given) : function(std::move(given)) {}
  F function;
};

void release(timer_callback& c) noexcept;

/// A share of a timer, for a task that its function has returned.
class timer_share {
 public:
  explicit timer_share(timer_callback& c) noexcept : of_(&c) { c.references.fetch_add(1, std::memory_order_relaxed); }
  timer_share(timer_share&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
  timer_share& operator=(timer_share&&) = delete;
  ~timer_share() {
    if (of_ != nullptr) release(*of_);
  }
  timer_callback& get() const noexcept { return *of_; }

 private:
  timer_callback* of_;
};

template <class F>
task<void> run_timer_task(timer_share of) {
  co_await static_cast<timer_callback_of<F>&>(of.get()).function();
}

template <class F>
timer_callback& make_timer(F&& function) {
  using kept = std::decay_t<F>;
  using stored = timer_callback_of<kept>;
  auto* made = new (frame_allocate(sizeof(stored))) stored(kept(std::forward<F>(function)));
  made->invoke = [](timer_callback& c) {
    if constexpr (is_task<std::invoke_result_t<kept&>>) {
      static_cast<void>(c.owner->enclosing_scope()->spawn_local(run_timer_task<kept>, timer_share(c)));
    } else {
      static_cast<stored&>(c).function();
    }
  };
  made->destroy = [](timer_callback& c) noexcept {
    auto* self = static_cast<stored*>(&c);
    self->~stored();
    frame_free(self, sizeof(stored));
  };
  return *made;
}

void start_timer(timer_callback& c, scope* owner, std::chrono::nanoseconds delay, bool repeats, bool counted,
                 const char* what);
void stop_timer(timer_callback& c) noexcept;
group::dropped drop_scope_timer(member& m) noexcept;

/// Calls `function` after `delay` unless `owner` has ended by then; does not keep it open.
template <class F>
void after_unowned(scope& owner, std::chrono::nanoseconds delay, F&& function) {
  auto& made = make_timer(std::forward<F>(function));
  start_timer(made, &owner, delay, false, false, "timer");
  release(made);
}

}  // namespace detail

/// `co_await sleep(d)` completes when at least `d` has passed; not positive: after other ready work. Cancelling it
/// ends it at once.
inline detail::sleep_awaiter sleep(std::chrono::nanoseconds time) noexcept { return detail::sleep_awaiter(time); }
inline detail::sleep_awaiter sleep_until(std::chrono::steady_clock::time_point when) noexcept { return {when}; }

/// Ticks at a fixed rate: the n-th is due at start + n * period, however long the work in between takes. Ticks
/// that were missed are skipped, not made up for.
class interval {
 public:
  /// @param period at least one millisecond; less counts as that
  explicit interval(std::chrono::nanoseconds period);

  /// `co_await ticks.next()` completes at the next tick with the number of ticks since the last one (1, or more if
  /// some were missed). Cancelling it loses no tick.
  task<std::uint64_t> next();

 private:
  std::chrono::nanoseconds period_;
  std::chrono::steady_clock::time_point due_;
};

/// What `set_timeout` and `set_interval` give. Dropping it changes nothing: the scope owns the timer.
class timer {
 public:
  timer() = default;
  timer(timer&& other) noexcept : callback_(std::exchange(other.callback_, nullptr)) {}
  timer& operator=(timer&& other) noexcept {
    std::swap(callback_, other.callback_);
    return *this;
  }
  ~timer() {
    if (callback_ != nullptr) detail::release(*callback_);
  }

  /// No further call. Harmless if it has fired, was cleared before, or from within its own callback. Any worker.
  void clear() noexcept;

  /// Whether the timer keeps its scope, and so the program, open. The default is that it does.
  timer& ref() noexcept;
  timer& unref() noexcept;
  bool has_ref() const noexcept;

  /// Starts the delay anew from now. A timer that has fired or was cleared stays so.
  timer& refresh() noexcept;

  /// True until it has fired (for an interval: until it is cleared).
  bool active() const noexcept;

  /// @cond internal
  explicit timer(detail::timer_callback& c) noexcept : callback_(&c) {}
  /// @endcond

 private:
  void count(bool wanted) noexcept;

  detail::timer_callback* callback_ = nullptr;
};

/// Calls `function()` once, in the timers phase, when `delay` (at least one millisecond) has passed, never earlier
/// (Node's setTimeout). The scope it was made in waits for it, unless `unref`; what
/// it throws fails that scope; a task that it returns is spawned there. On the worker of the caller.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
timer set_timeout(F&& function, std::chrono::nanoseconds delay = std::chrono::nanoseconds(0)) {
  auto& made = detail::make_timer(std::forward<F>(function));
  detail::start_timer(made, nullptr, delay, false, true, "set_timeout");
  return timer(made);
}

/// Calls `function()` every `period` until cleared (setInterval), at start + n * period without drift.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
timer set_interval(F&& function, std::chrono::nanoseconds period) {
  auto& made = detail::make_timer(std::forward<F>(function));
  detail::start_timer(made, nullptr, period, true, true, "set_interval");
  return timer(made);
}

inline void clear_timeout(timer& which) noexcept { which.clear(); }
inline void clear_interval(timer& which) noexcept { which.clear(); }

}  // namespace weir
