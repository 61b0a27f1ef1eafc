// core/loop.hpp: the queues of the event loop, as Node has them: next_tick, microtasks, immediates and the
// close phase. Each has a callable form, owned by the scope it was made in, and an awaitable form. For
// loop-affine code the order is exactly Node's: after every callback the ticks run until none is left,
// then the microtasks, until both are empty; immediates run in the check phase, those queued meanwhile one
// turn later (https://nodejs.org/en/learn/asynchronous-work/event-loop-timers-and-nexttick).
#pragma once

#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <type_traits>
#include <utility>

namespace weir {
namespace detail {

/// A queued function with the scope and the async-local values it was made under.
struct callback : job, execution {
  std::atomic<std::uint32_t> references{1};
  std::atomic<bool> cleared{false};
  void (*invoke)(callback&) = nullptr;
  void (*destroy)(callback&) noexcept = nullptr;
};

template <class F>
struct callback_of final : callback {
  explicit callback_of(F&& given) : function(std::move(given)) {}
  F function;
};

/// Fills in what the running code belongs to. @throws weir::error ERR_INVALID_STATE outside a runtime
void adopt(callback& made, const char* what);
void release(callback& c) noexcept;

template <class F>
void spawn_result(execution& under, F& function) {
  if constexpr (is_task<std::invoke_result_t<F&>>) {
    static_cast<void>(under.owner->enclosing_scope()->spawn_local(std::move(function)));
  } else {
    function();
  }
}

template <class F>
callback& make_callback(F&& function, const char* what) {
  using stored = callback_of<std::decay_t<F>>;
  auto* made = new (frame_allocate(sizeof(stored))) stored(std::decay_t<F>(std::forward<F>(function)));
  made->invoke = [](callback& c) { spawn_result(c, static_cast<stored&>(c).function); };
  made->destroy = [](callback& c) noexcept {
    auto* self = static_cast<stored*>(&c);
    self->~stored();
    frame_free(self, sizeof(stored));
  };
  try {
    adopt(*made, what);
  } catch (...) {
    made->destroy(*made);
    throw;
  }
  return *made;
}

void queue_tick(callback& c) noexcept;
void queue_micro(callback& c) noexcept;
void queue_check(callback& c) noexcept;
void queue_close(callback& c) noexcept;

enum class phase : std::uint8_t { tick, microtask, immediate, ready };

/// Puts the fiber into a queue of the loop. Not a wait: it cannot be cancelled, only followed by one.
template <phase Phase>
struct [[nodiscard]] phase_awaiter {
  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  void await_suspend(std::coroutine_handle<P> h) noexcept {
    running = h.promise().running;
    enqueue(*running, h, Phase);
  }
  void await_resume() const {
    if (running->must_stop()) throw cancelled();
  }
  result<void> try_resume() const noexcept {
    if (running->must_stop()) return failure(cancelled());
    return {};
  }

  static void enqueue(fiber& f, std::coroutine_handle<> h, phase where) noexcept;
  fiber* running = nullptr;
};

void enqueue_fiber(fiber& f, std::coroutine_handle<> h, phase where) noexcept;
template <phase Phase>
void phase_awaiter<Phase>::enqueue(fiber& f, std::coroutine_handle<> h, phase where) noexcept {
  enqueue_fiber(f, h, where);
}

}  // namespace detail

/// Calls `function()` right after the running callback, before any I/O, timer or microtask (process.nextTick). A
/// function that returns a task has it spawned into the scope. What it throws fails the scope it was made in;
/// if that is cancelled before its turn it is not called. Worker's own thread only.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
void next_tick(F&& function) {
  detail::queue_tick(detail::make_callback(std::forward<F>(function), "next_tick"));
}

/// Calls `function()` when the ticks are done (queueMicrotask). Otherwise like `next_tick`.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
void queue_microtask(F&& function) {
  detail::queue_micro(detail::make_callback(std::forward<F>(function), "queue_microtask"));
}

/// What `set_immediate` gives: a handle to clear it by. Dropping it changes nothing.
class immediate_handle {
 public:
  immediate_handle() = default;
  immediate_handle(immediate_handle&& other) noexcept : callback_(std::exchange(other.callback_, nullptr)) {}
  immediate_handle& operator=(immediate_handle&& other) noexcept {
    std::swap(callback_, other.callback_);
    return *this;
  }
  ~immediate_handle() {
    if (callback_ != nullptr) detail::release(*callback_);
  }

  /// The function is not called any more. Harmless if it has been called, or cleared before.
  void clear() noexcept {
    if (callback_ != nullptr) callback_->cleared.store(true, std::memory_order_relaxed);
  }

  /// @cond internal
  explicit immediate_handle(detail::callback& c) noexcept : callback_(&c) {}
  /// @endcond

 private:
  detail::callback* callback_ = nullptr;
};

/// Calls `function()` in the next check phase (setImmediate). Otherwise like `next_tick`.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
immediate_handle set_immediate(F&& function) {
  auto& made = detail::make_callback(std::forward<F>(function), "set_immediate");
  made.references.store(2, std::memory_order_relaxed);
  detail::queue_check(made);
  return immediate_handle(made);
}

inline void clear_immediate(immediate_handle& handle) noexcept { handle.clear(); }

/// Calls `function()` in the next close phase, after the immediates (libuv's close callbacks).
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
void queue_close(F&& function) {
  detail::queue_close(detail::make_callback(std::forward<F>(function), "queue_close"));
}

/// `co_await next_tick()`: goes on after a tick, as a microtask. Throws `cancelled` if the task is to stop.
inline detail::phase_awaiter<detail::phase::tick> next_tick() noexcept { return {}; }

/// `co_await microtask()`: goes on as a microtask queued now.
inline detail::phase_awaiter<detail::phase::microtask> microtask() noexcept { return {}; }

/// `co_await immediate()`: goes on in the next check phase, after I/O has had its turn.
inline detail::phase_awaiter<detail::phase::immediate> immediate() noexcept { return {}; }

/// `co_await yield()`: lets every other ready task of this worker run first. No system call.
inline detail::phase_awaiter<detail::phase::ready> yield() noexcept { return {}; }

}  // namespace weir
