// core/home_wait.hpp: a wait that only its own worker may touch. Operations of the backend, and streams built on
// them, end on the worker they began on; a cancellation from elsewhere travels there as a message.
#pragma once

#include <weir/core/fiber.hpp>

namespace weir::detail {

class home_wait : public wait {
 public:
  home_wait() = default;
  home_wait(const home_wait&) noexcept {}  // copied before it begins only
  home_wait& operator=(const home_wait&) = delete;

 protected:
  ~home_wait() = default;

  /// Blocks the fiber. @return false if it has to stop: it is not blocked then
  [[nodiscard]] bool begin(fiber& f, std::coroutine_handle<> h) noexcept {
    waiter_ = &f;
    home_ = f.on;
    if (f.block(*this, h)) return true;
    if (!request_.queued) return false;
    f.block_always(*this, h);  // the request is under way and needs us: what begins now will be stopped by it
    return true;
  }
  void begin_always(fiber& f, std::coroutine_handle<> h) noexcept {
    waiter_ = &f;
    home_ = f.on;
    f.block_always(*this, h);
  }

  /// Ends the wait, on the home worker. The object may be gone afterwards.
  void finish() noexcept;

  /// Asks for an early end, on the home worker. @return true if the wait is over: `finish` will not be called
  virtual bool stop() noexcept = 0;

  worker& home_worker() const noexcept { return *home_; }
  fiber& waiter() const noexcept { return *waiter_; }

 private:
  bool interrupt(fiber& f) noexcept final;
  static void deliver(job& arrived, worker& home) noexcept;

  // A cancellation on its way from another worker. Until it has arrived the frame has to stay.
  struct request : job {
    home_wait* of = nullptr;
    bool queued = false;
    bool finished = false;
  };

  fiber* waiter_ = nullptr;
  worker* home_ = nullptr;
  request request_;
};

}  // namespace weir::detail
