// core/inspect.hpp: seeing inside a running program: where a task stands, and what is alive.
#pragma once

#include <weir/core/task.hpp>

#include <cstddef>
#include <source_location>
#include <string>
#include <vector>

namespace weir {
namespace detail {

struct [[nodiscard]] backtrace_awaiter {
  bool await_ready() const noexcept { return false; }
  template <weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    frame = h;
    return false;
  }
  std::vector<std::source_location> await_resume() const;
  std::coroutine_handle<> frame;
};

/// A wait for several things at once, as a dump shows it. Asked while the waiter is kept from resuming.
class compound_wait {
 public:
  /// What the n-th thing is called, or null where it is a member of `branches`; counted from 0 up to `parts`.
  virtual const char* part(std::size_t n) const noexcept = 0;
  virtual std::size_t parts() const noexcept = 0;
  virtual group* branches() const noexcept = 0;

 protected:
  ~compound_wait() = default;
};

class executor;
std::string dump(executor& of);

}  // namespace detail

/// `co_await async_backtrace()`: where this task stands: the function and line of each frame that awaits the
/// next, the innermost first, over the bounds of scopes and combinators up to the main task. Never suspends.
inline detail::backtrace_awaiter async_backtrace() noexcept { return {}; }

/// The same as lines to print: "at load(path) (app.cpp:42)".
std::string to_string(const std::vector<std::source_location>& backtrace);

/// Everything alive in the runtime of the caller, as a tree: each task with its name, what it waits for and where.
/// Takes a consistent look at one task at a time while the others go on. Empty outside a runtime.
std::string task_dump();

}  // namespace weir
