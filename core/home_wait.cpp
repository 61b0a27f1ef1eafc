#include <weir/core/home_wait.hpp>

#include <weir/core/worker.hpp>

namespace weir::detail {

// The fiber is unblocked first: after that no other worker can begin to ask for an early end.
void home_wait::finish() noexcept {
  waiter_->unblock();
  if (request_.queued) {
    request_.finished = true;
    return;
  }
  schedule_from_poll(*waiter_, *home_);
}

bool home_wait::interrupt(fiber&) noexcept {
  if (current_worker() == home_) return stop();
  request_.of = this;
  request_.run = deliver;
  request_.queued = true;
  home_->post(ready::of(request_));
  return false;
}

void home_wait::deliver(job& arrived, worker& home) noexcept {
  auto& self = *static_cast<request&>(arrived).of;
  self.request_.queued = false;
  if (self.request_.finished) {
    schedule_from_poll(*self.waiter_, home);
    return;
  }
  if (self.stop()) {
    self.waiter_->unblock();
    schedule_from_poll(*self.waiter_, home);
  }
}

}  // namespace weir::detail
