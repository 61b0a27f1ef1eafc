#include <weir/sync/shared_memory.hpp>

#include <fmt/format.h>

#include <cstdint>

namespace weir::sync::detail {

std::size_t shared_block::notify(std::size_t index, std::size_t count) noexcept {
  weir::detail::waiter_list woken;
  std::size_t found = 0;
  {
    weir::detail::spin_guard guard(lock);
    for (auto* each = waiters.front(); each != nullptr && found < count;) {
      auto* next = each->next;
      if (static_cast<shared_place*>(each)->index == index) {
        waiters.erase(*each);
        woken.gather(*each);
        ++found;
      }
      each = next;
    }
  }
  weir::detail::wake_all(woken);
  return found;
}

bool shared_waiter::suspend(weir::detail::fiber& f, std::coroutine_handle<> h,
                            bool (*changed)(const shared_waiter&)) noexcept {
  place_.stopped = !f.block(*this, h);
  if (place_.stopped) return false;
  place_.who = &f;
  weir::detail::spin_guard guard(block_->lock);
  place_.stopped = f.must_stop();
  changed_ = changed(*this);
  if (!place_.stopped && !changed_) {
    block_->waiters.push(place_);
    return true;
  }
  guard.unlock();
  f.unblock();
  return !place_.stopped && weir::detail::yield_if_spent(f, h);
}

bool shared_waiter::interrupt(weir::detail::fiber&) noexcept {
  weir::detail::spin_guard guard(block_->lock);
  return block_->waiters.give_up(place_);
}

void check_shared_index(std::size_t index, std::size_t size) {
  if (index < size) return;
  throw error(errc::err_out_of_range, fmt::format("shared_memory: index {} is not below the size {}", index, size));
}

void check_shared_size(std::size_t count, std::size_t octets_each) {
  if (count <= PTRDIFF_MAX / octets_each) return;
  throw error(errc::err_buffer_too_large, fmt::format("shared_memory: {} numbers are too many", count));
}

}  // namespace weir::sync::detail
