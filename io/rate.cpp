#include <weir/io/rate.hpp>

#include <weir/core/error.hpp>

#include <cmath>

namespace weir::io {
namespace {

std::int64_t nanoseconds_now() noexcept { return weir::detail::clock_here().time_since_epoch().count(); }

double per_second(std::uint64_t count, std::chrono::nanoseconds time) noexcept {
  return time.count() <= 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(time.count());
}

}  // namespace

namespace streams {

token_bucket::token_bucket(const throttle_options& options)
    : rate_(options.per_second),
      burst_(options.burst == 0 ? std::max(options.per_second / 10, 1.0) : options.burst),
      tokens_(burst_) {
  if (!(rate_ > 0) || !std::isfinite(rate_)) throw error(errc::err_out_of_range, "A rate must be more than 0");
  if (!(burst_ > 0) || !std::isfinite(burst_)) throw error(errc::err_out_of_range, "A burst must not be less than 0");
}

std::chrono::nanoseconds token_bucket::take(double weight) noexcept {
  auto now = weir::detail::clock_here();
  if (filled_) {
    std::chrono::duration<double> passed = now - *filled_;
    tokens_ = std::min(burst_, tokens_ + std::max(passed.count(), 0.0) * rate_);
  }
  filled_ = now;
  auto needed = std::min(weight, burst_);
  constexpr double rounding = 1e-6;
  if (tokens_ + rounding >= needed) {
    tokens_ -= weight;
    return std::chrono::nanoseconds(0);
  }
  constexpr double longest = 3600e9;  // asked again then
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(std::min(std::ceil((needed - tokens_) / rate_ * 1e9), longest)));
}

void check_batch(const timed_batch_options& options) {
  if (options.size == 0) throw error(errc::err_out_of_range, "A batch of 0 items would never be full");
  if (options.within.count() < 0) throw error(errc::err_out_of_range, "A batch cannot wait for less than no time");
}

}  // namespace streams

void meter::begin() noexcept {
  auto now = nanoseconds_now();
  of_->asked.store(now, std::memory_order_relaxed);
  std::int64_t not_yet = 0;
  if (of_->began.compare_exchange_strong(not_yet, now, std::memory_order_relaxed))
    of_->last.store(now, std::memory_order_relaxed);
}

void meter::answered() noexcept {
  auto now = nanoseconds_now();
  of_->last.store(now, std::memory_order_relaxed);
  of_->waited.fetch_add(now - of_->asked.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void meter::add(std::size_t size) noexcept {
  answered();
  of_->items.fetch_add(1, std::memory_order_relaxed);
  of_->bytes.fetch_add(size, std::memory_order_relaxed);
}

void meter::end() noexcept {
  if (!of_->ended.exchange(true, std::memory_order_relaxed)) answered();
}

double meter::average_size() const noexcept {
  auto count = items();
  return count == 0 ? 0 : static_cast<double>(bytes()) / static_cast<double>(count);
}

std::chrono::nanoseconds meter::elapsed() const noexcept {
  return std::chrono::nanoseconds(of_->last.load(std::memory_order_relaxed) -
                                  of_->began.load(std::memory_order_relaxed));
}

std::chrono::nanoseconds meter::waited() const noexcept {
  return std::chrono::nanoseconds(of_->waited.load(std::memory_order_relaxed));
}

double meter::bytes_per_second() const noexcept { return per_second(bytes(), elapsed()); }
double meter::items_per_second() const noexcept { return per_second(items(), elapsed()); }

}  // namespace weir::io
