// tests/support/run.hpp: running a task in a runtime of its own, and the smallest operation there is, which stands
// for I/O where a test is about its place in the loop.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/task.hpp>
#include <weir/core/worker.hpp>

#include <coroutine>
#include <utility>

namespace weir::testing {

/// Options for `workers` workers on the default backend.
inline runtime_options with_workers(unsigned workers) {
  runtime_options options;
  options.workers = workers;
  return options;
}

/// Runs `main` in a runtime with `workers` workers and gives what it returns, or throws what it throws.
template <class T>
T run_with(unsigned workers, task<T> main) {
  return runtime(with_workers(workers)).block_on(std::move(main));
}

/// `co_await poll_io()`: goes on when an operation that asks nothing of the system has completed, hence in the poll
/// phase. It cannot be cancelled, being about to end.
class [[nodiscard]] poll_io : private detail::wait, private operation {
 public:
  poll_io() = default;

  bool await_ready() const noexcept { return false; }

  template <detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    waiter_ = h.promise().running;
    home_ = waiter_->on;
    if (!waiter_->block(*this, h)) {
      stopped_ = true;
      return false;
    }
    on_complete = [](operation& op, const completion&) noexcept {
      auto& self = static_cast<poll_io&>(op);
      self.waiter_->unblock();
      detail::schedule_from_poll(*self.waiter_, *self.home_);
    };
    home_->io().submit(*this);
    return true;
  }

  void await_resume() const {
    if (stopped_) throw cancelled();
  }

 private:
  bool interrupt(detail::fiber&) noexcept override { return false; }
  const char* what() const noexcept override { return "nop"; }

  detail::fiber* waiter_ = nullptr;
  detail::worker* home_ = nullptr;
  bool stopped_ = false;
};

}  // namespace weir::testing
