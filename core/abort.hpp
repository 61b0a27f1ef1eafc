// core/abort.hpp: a switch that a caller holds, for cancellation that does not follow a scope (AbortController
// and AbortSignal, https://nodejs.org/api/globals.html#class-abortcontroller). Signals are cheap to copy and
// may be used from any thread.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>

#include <chrono>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>

namespace weir {
namespace detail {

class abort_state;

/// Something to be told once. Lives with whoever waits.
struct abort_listener {
  abort_listener* previous = nullptr;
  abort_listener* next = nullptr;
  void (*fire)(abort_listener&) noexcept = nullptr;
  bool linked = false;
};

}  // namespace detail

/// The side that is listened to.
class abort_signal {
 public:
  /// A signal that never fires.
  abort_signal() = default;

  bool aborted() const noexcept;

  /// Why, or null if it has not fired. The default reason is `cancelled`.
  std::exception_ptr reason() const noexcept;

  /// Throws the reason if the signal has fired.
  void throw_if_aborted() const;

  /// Calls `hook()` once when the signal fires, on the thread that fires it; at once if it has. The hook must
  /// not throw. It is forgotten when the returned object goes, which waits for a call in progress elsewhere.
  class registration;
  [[nodiscard]] registration on_abort(std::function<void()> hook) const;

  /// Fires as soon as one of `signals` does, with its reason.
  static abort_signal any(std::initializer_list<abort_signal> signals);

  /// Fires after `time` with weir::error ETIMEDOUT. Must be made inside a runtime; does not keep it alive.
  static abort_signal timeout(std::chrono::nanoseconds time);

  /// A signal that has fired already.
  static abort_signal abort(std::exception_ptr reason = nullptr);

  /// @cond internal
  explicit abort_signal(std::shared_ptr<detail::abort_state> state) noexcept : state_(std::move(state)) {}
  detail::abort_state* state() const noexcept { return state_.get(); }
  /// @endcond

 private:
  std::shared_ptr<detail::abort_state> state_;
};

class abort_signal::registration {
 public:
  registration(registration&&) noexcept;
  registration& operator=(registration&&) noexcept;
  ~registration();

 private:
  friend class abort_signal;
  struct entry;
  explicit registration(std::unique_ptr<entry> made) noexcept;
  std::unique_ptr<entry> entry_;
};

/// The side that fires.
class abort_controller {
 public:
  abort_controller();
  abort_signal signal() const noexcept { return abort_signal(state_); }

  /// Fires the signal; later calls change nothing. Any thread.
  void abort(std::exception_ptr reason = nullptr) const noexcept;

 private:
  std::shared_ptr<detail::abort_state> state_;
};

namespace detail {

/// Runs a task as a branch that a signal, a deadline or both can cancel.
class bounded_branch;
struct bounded_deleter {
  void operator()(bounded_branch* branch) const noexcept;
};

class bounded_base {
 public:
  bounded_base(std::chrono::nanoseconds limit, abort_signal signal) noexcept
      : limit_(limit), signal_(std::move(signal)) {}

 protected:
  bool suspend(fiber& parent, std::coroutine_handle<> resume, std::coroutine_handle<> frame);
  /// Null if the branch may answer for itself; else what to throw in place of its cancellation.
  std::exception_ptr verdict() const noexcept;

  std::chrono::nanoseconds limit_;
  abort_signal signal_;

 private:
  std::unique_ptr<bounded_branch, bounded_deleter> branch_;
};

template <class T>
class [[nodiscard]] bounded_awaiter : private bounded_base {
 public:
  bounded_awaiter(std::chrono::nanoseconds limit, abort_signal signal, task<T>&& op) noexcept
      : bounded_base(limit, std::move(signal)), frame_(std::move(op).release()) {}
  bounded_awaiter(bounded_awaiter&& other) noexcept
      : bounded_base(static_cast<bounded_base&&>(other)), frame_(std::exchange(other.frame_, nullptr)) {}
  bounded_awaiter& operator=(bounded_awaiter&&) = delete;
  ~bounded_awaiter() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    return suspend(*h.promise().running, h, frame_);
  }
  T await_resume() {
    if (auto why = outcome()) std::rethrow_exception(why);
    return frame_.promise().take();
  }
  result<T> try_resume() {
    if (auto why = outcome()) return failure(why);
    return frame_.promise().take_result();
  }

 private:
  std::exception_ptr outcome() const noexcept {
    auto& error = frame_.promise().error;
    if (!error) return nullptr;
    auto why = verdict();
    return why && failure(error).is_cancelled() ? why : nullptr;
  }

  task_handle<T> frame_;
};

}  // namespace detail

/// `co_await abortable(signal, op)` completes with `op`, or cancels it when the signal fires and, once it has
/// ended, throws the signal's reason. An `op` that succeeds all the same keeps its value.
template <class A>
[[nodiscard]] auto abortable(abort_signal signal, A op) {
  return detail::bounded_awaiter<detail::awaited_t<A>>(std::chrono::nanoseconds::max(), std::move(signal),
                                                       detail::as_task(std::move(op)));
}

/// `co_await timeout(d, op)` completes with `op`, or cancels it after `d` and, once it has ended, throws
/// weir::error ETIMEDOUT. An `op` that succeeds all the same keeps its value.
template <class A>
[[nodiscard]] auto timeout(std::chrono::nanoseconds limit, A op) {
  return detail::bounded_awaiter<detail::awaited_t<A>>(limit, abort_signal(), detail::as_task(std::move(op)));
}

/// The same with a point in time.
template <class A>
[[nodiscard]] auto deadline(std::chrono::steady_clock::time_point when, A op) {
  auto now = std::chrono::steady_clock::now();
  return timeout(when > now ? when - now : std::chrono::nanoseconds(0), std::move(op));
}

}  // namespace weir
