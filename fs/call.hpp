// fs/call.hpp: a file-system call that has not been made yet. Awaited, it is made on a thread that may block;
// `now()` makes it here, for programs that have no runtime yet. Rests on core's blocking pool.
#pragma once

#include <weir/core/blocking.hpp>

#include <atomic>
#include <concepts>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

namespace weir::fs {

/// Whether a call that is under way should end early, because whoever awaits it has been cancelled. One that takes long
/// looks at it between its steps, and answers with `cancelled` then.
class stop_flag {
 public:
  bool requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

 private:
  template <class T>
  friend class call;
  std::atomic<bool> requested_{false};
};

/// What the functions of this room return: `co_await stat(path)` completes with a T, throws a weir::error that names
/// the call and its paths ("ENOENT: no such file or directory, stat 'x'"), or answers `attempt` without a throw.
///
/// It owns the paths it was given and runs once. Cancelling it takes it out of the queue if no thread has begun it;
/// once begun it is waited for, and its outcome stands. Those of many steps (rm, cp, read_file ...) end after the step
/// they are at. May be awaited on any worker.
template <class T>
class [[nodiscard]] call : private weir::detail::blocking_job {
 public:
  using value_type = T;

  /// @param name of the system call, for a task dump; a literal
  template <class F>
    requires std::is_invocable_r_v<result<T>, F&>
  call(const char* name, F body)
      : body_([body = std::move(body)](const stop_flag&) mutable { return result<T>(body()); }), name_(name) {}
  template <class F>
    requires std::is_invocable_r_v<result<T>, F&, const stop_flag&>
  call(const char* name, F body) : body_(std::move(body)), name_(name) {}

  call(call&& other) noexcept
      : blocking_job(static_cast<blocking_job&&>(other)), body_(std::move(other.body_)), name_(other.name_) {}
  call& operator=(call&&) = delete;
  ~call() = default;

  /// Makes the call on this thread, which waits for the disk meanwhile.
  T now() && { return std::move(*this).try_now().value(); }
  result<T> try_now() && {
    make();
    return std::move(*answer_);
  }

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    run = [](blocking_job& job) noexcept { static_cast<call&>(job).make(); };
    return submit(*h.promise().running, h);
  }
  T await_resume() { return try_resume().value(); }
  result<T> try_resume() {
    if (outcome_ != outcome::done) return why();
    return std::move(*answer_);
  }

 private:
  bool interrupt(weir::detail::fiber& f) noexcept override {
    stop_.requested_.store(true, std::memory_order_relaxed);
    return blocking_job::interrupt(f);
  }
  const char* what() const noexcept override { return name_; }

  void make() noexcept {
    try {
      answer_.emplace(body_(stop_));
    } catch (...) {
      answer_.emplace(failure(std::current_exception()));
    }
  }

  std::function<result<T>(const stop_flag&)> body_;
  const char* name_;
  std::optional<result<T>> answer_;
  stop_flag stop_;
};

}  // namespace weir::fs
