// sync/barrier.hpp: tasks that wait for each other, round after round. Rests on wait_queue.hpp; no system calls.
#pragma once

#include <weir/sync/wait_queue.hpp>

#include <cstddef>

namespace weir::sync {

/// A meeting point for a fixed number of tasks (std::barrier).
///
/// `co_await b.arrive()` completes when as many have arrived as take part; it gives true to one of them, the last to
/// arrive, and false to the others. Then the next round begins. Cancelling a waiter takes its arrival back: the round
/// still needs one more. Must outlive its waiters; destroying one that is waited at ends the program.
class barrier {
 public:
  /// @param parties how many take part, at least 1
  /// @throws weir::error ERR_OUT_OF_RANGE
  explicit barrier(std::size_t parties);
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;
  ~barrier() {
    if (!line_.waiters.empty()) detail::destroyed_in_use("barrier");
  }

  class [[nodiscard]] awaiter : public detail::line_wait {
   public:
    explicit awaiter(barrier& on) noexcept : line_wait(on.line_, "barrier"), on_(&on) {}
    bool await_resume() const {
      throw_if_stopped();
      return last_;
    }
    result<bool> try_resume() const noexcept {
      if (stopped()) return failure(cancelled());
      return last_;
    }

   private:
    bool arrive(detail::waiter_list& released) noexcept override;
    void withdraw() noexcept override { --on_->arrived_; }

    barrier* on_;
    bool last_ = false;
  };

  /// Arrives, and waits for the others.
  awaiter arrive() noexcept { return awaiter(*this); }

  /// Takes part no more, from this round on. Any thread. The last party cannot leave: it is ignored.
  void drop() noexcept;

  /// How many take part.
  std::size_t parties() const noexcept;

 private:
  mutable detail::wait_line line_;
  std::size_t parties_;      // guarded by the line's lock
  std::size_t arrived_ = 0;  // likewise
};

}  // namespace weir::sync
