#include <weir/sync/semaphore.hpp>

#include <algorithm>
#include <string>

namespace weir::sync {

namespace {

std::size_t checked(std::size_t permits, std::size_t most) {
  if (most > semaphore::max_permits || permits > most) {
    throw error(errc::err_out_of_range, "semaphore: " + std::to_string(permits) + " permits of at most " +
                                            std::to_string(std::min(most, semaphore::max_permits)));
  }
  return permits;
}

}  // namespace

semaphore::semaphore(std::size_t permits, std::size_t most) : gate_(checked(permits, most)), most_(most) {}

void semaphore::permit::release() noexcept {
  auto* of = std::exchange(of_, nullptr);
  auto count = std::exchange(count_, std::size_t{0});
  if (of != nullptr && count != 0) of->gate_.give(count);
}

semaphore::permit semaphore::permit::split(std::size_t count) noexcept {
  if (of_ == nullptr) return {};
  auto taken = std::min(count, count_);
  count_ -= taken;
  return permit(*of_, taken);
}

failure semaphore::awaiter::refusal() const {
  if (stopped()) return failure(cancelled());
  return failure(error(errc::err_out_of_range, "semaphore: " + std::to_string(count_) +
                                                   " permits were asked for, and there are never more than " +
                                                   std::to_string(of_->most_)));
}

std::optional<semaphore::permit> semaphore::try_acquire(std::size_t count) noexcept {
  if (count > most_ || !gate_.try_take(count)) return std::nullopt;
  return permit(*this, count);
}

void semaphore::release(std::size_t count) {
  if (count > most_ || !gate_.try_give(count, most_)) {
    throw error(errc::err_out_of_range,
                "semaphore: more permits released than the " + std::to_string(most_) + " there can ever be");
  }
}

}  // namespace weir::sync
