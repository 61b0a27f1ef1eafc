// core/blocking.hpp: a way off the workers for what blocks: system calls without an asynchronous form, long
// computations. Functions run on threads of their own, made on demand, kept for a while, bounded in number.
#pragma once

#include <weir/core/fiber.hpp>
#include <weir/core/task.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace weir {
namespace detail {

class blocking_pool;

/// A function in the pool's queue. Lives in the awaiter.
class blocking_job : protected wait {
 public:
  blocking_job* previous = nullptr;
  blocking_job* next = nullptr;
  bool queued = false;
  void (*run)(blocking_job&) noexcept = nullptr;
  fiber* waiter = nullptr;

 protected:
  enum class outcome : std::uint8_t { done, stopped, refused };

  bool submit(fiber& f, std::coroutine_handle<> h) noexcept;
  bool interrupt(fiber& f) noexcept override;
  const char* what() const noexcept override { return "blocking"; }
  failure why() const noexcept;

  outcome outcome_ = outcome::done;

 private:
  blocking_pool* pool_ = nullptr;
};

template <class F>
class [[nodiscard]] blocking_awaiter : private blocking_job {
 public:
  using value_type = std::invoke_result_t<F&>;

  explicit blocking_awaiter(F&& function) : function_(std::move(function)) {}

  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    run = [](blocking_job& job) noexcept {
      auto& self = static_cast<blocking_awaiter&>(job);
      try {
        if constexpr (std::is_void_v<value_type>) {
          self.function_();
          self.result_.emplace();
        } else {
          self.result_.emplace(self.function_());
        }
      } catch (...) {
        self.result_.emplace(failure(std::current_exception()));
      }
    };
    return submit(*h.promise().running, h);
  }
  value_type await_resume() { return try_resume().value(); }
  result<value_type> try_resume() {
    if (outcome_ != outcome::done) return why();
    return std::move(*result_);
  }

 private:
  F function_;
  std::optional<result<value_type>> result_;
};

}  // namespace detail

/// `co_await blocking(function)` calls `function()` on a thread of the pool and completes with what it returns or
/// throws. Cancelling it takes it out of the queue if no thread has begun it; once begun it is waited for. Fails
/// with ERR_QUEUE_FULL where the queue is full (runtime_options::blocking_queue). What the function refers to
/// must outlive the await, which it does where that is in the awaiting frame.
template <class F>
  requires std::is_invocable_v<F&>
auto blocking(F function) {
  return detail::blocking_awaiter<F>(std::move(function));
}

}  // namespace weir
