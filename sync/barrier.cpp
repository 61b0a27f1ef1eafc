#include <weir/sync/barrier.hpp>

namespace weir::sync {

barrier::barrier(std::size_t parties) : parties_(parties) {
  if (parties == 0) throw error(errc::err_out_of_range, "barrier: at least one must take part");
}

bool barrier::awaiter::arrive(detail::waiter_list& released) noexcept {
  if (++on_->arrived_ < on_->parties_) return false;
  on_->arrived_ = 0;
  released = on_->line_.waiters.take();
  last_ = true;
  return true;
}

void barrier::drop() noexcept {
  detail::spin_guard guard(line_.lock);
  if (parties_ == 1) return;
  --parties_;
  if (arrived_ < parties_) return;
  arrived_ = 0;
  auto released = line_.waiters.take();
  guard.unlock();
  detail::wake_all(released);
}

std::size_t barrier::parties() const noexcept {
  detail::spin_guard guard(line_.lock);
  return parties_;
}

}  // namespace weir::sync
