#include <weir/sync/wait_group.hpp>

namespace weir::sync {

void wait_group::add(std::size_t count) noexcept {
  detail::spin_guard guard(line_.lock);
  count_ += count;
}

void wait_group::done() {
  detail::spin_guard guard(line_.lock);
  if (count_ == 0) throw error(errc::err_invalid_state, "wait_group: done() without add()");
  if (--count_ != 0) return;
  auto released = line_.waiters.take();
  guard.unlock();
  detail::wake_all(released);
}

std::size_t wait_group::count() const noexcept {
  detail::spin_guard guard(line_.lock);
  return count_;
}

}  // namespace weir::sync
