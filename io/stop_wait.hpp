// io/stop_wait.hpp: waiting for an operation that goes on by itself to end, after asking it to. Private to io's
// streams (receiver, sender, acceptor): until its terminal completion the kernel may use what it points at.
#pragma once

#include <weir/core/home_wait.hpp>
#include <weir/core/task.hpp>
#include <weir/core/worker.hpp>

#include <coroutine>

namespace weir::io {

/// Goes through even where the fiber has been cancelled. The owner of the operation calls `end`.
class stop_wait : private detail::home_wait {
 public:
  /// @param slot where the owner looks for whom to tell
  stop_wait(bool running, operation& op, stop_wait*& slot, const char* what) noexcept
      : running_(running), operation_(op), slot_(slot), what_(what) {}

  bool await_ready() const noexcept { return !running_; }
  template <detail::weir_promise P>
  void await_suspend(std::coroutine_handle<P> h) noexcept {
    begin_always(*h.promise().running, h);
    slot_ = this;
    home_worker().io().cancel(operation_);
  }
  void await_resume() const noexcept {}

  void end() noexcept { finish(); }

 private:
  bool stop() noexcept override { return false; }
  const char* what() const noexcept override { return what_; }

  bool running_;
  operation& operation_;
  stop_wait*& slot_;
  const char* what_;
};

}  // namespace weir::io
