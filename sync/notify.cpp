#include <weir/sync/notify.hpp>

#include <utility>

namespace weir::sync {

bool notify::awaiter::arrive(detail::waiter_list&) noexcept { return std::exchange(on_->rung_, false); }

void notify::notify_one() noexcept {
  detail::spin_guard guard(line_.lock);
  auto* first = line_.waiters.pop();
  if (first == nullptr) rung_ = true;
  guard.unlock();
  if (first != nullptr) detail::wake(*first->who);
}

void notify::notify_waiters() noexcept {
  detail::spin_guard guard(line_.lock);
  auto released = line_.waiters.take();
  guard.unlock();
  detail::wake_all(released);
}

}  // namespace weir::sync
