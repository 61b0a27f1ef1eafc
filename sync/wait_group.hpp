// sync/wait_group.hpp: waiting until a changing number of things is done. Rests on wait_queue.hpp; no system calls.
// Tasks that belong to one piece of work belong in a scope, which waits by itself; this is for what has no scope.
#pragma once

#include <weir/sync/wait_queue.hpp>

#include <cstddef>

namespace weir::sync {

/// A counter of things under way (Go's sync.WaitGroup); can be used again once it is back at zero.
///
/// `co_await g.wait()` completes when nothing is under way: at once if that is so already. Cancelling it takes the
/// waiter out of the queue. `add` and `done` may be called from any thread; call `add` before whatever will call
/// `done` starts. Must outlive its waiters; destroying one that is waited for ends the program.
class wait_group {
 public:
  wait_group() = default;
  wait_group(const wait_group&) = delete;
  wait_group& operator=(const wait_group&) = delete;
  ~wait_group() {
    if (!line_.waiters.empty()) detail::destroyed_in_use("wait_group");
  }

  class [[nodiscard]] awaiter : public detail::line_wait {
   public:
    explicit awaiter(wait_group& on) noexcept : line_wait(on.line_, "wait_group"), on_(&on) {}
    void await_resume() const { throw_if_stopped(); }
    result<void> try_resume() const noexcept {
      if (stopped()) return failure(cancelled());
      return {};
    }

   private:
    bool arrive(detail::waiter_list&) noexcept override { return on_->count_ == 0; }

    wait_group* on_;
  };

  /// `count` more are under way.
  void add(std::size_t count = 1) noexcept;

  /// One is done.
  /// @throws weir::error ERR_INVALID_STATE if none is under way
  void done();

  /// How many are under way; for figures, not for decisions.
  std::size_t count() const noexcept;

  /// Waits until none is under way.
  awaiter wait() noexcept { return awaiter(*this); }

 private:
  mutable detail::wait_line line_;
  std::size_t count_ = 0;  // guarded by the line's lock
};

}  // namespace weir::sync
