#include <weir/sync/retry.hpp>

#include <weir/sync/clock.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>

namespace weir::sync {
namespace {

std::uint64_t mix(std::uint64_t x) noexcept {  // splitmix64
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

std::uint64_t fresh_seed() noexcept {
  static std::atomic<std::uint64_t> made{0};
  auto time = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return mix(time ^ mix(made.fetch_add(1, std::memory_order_relaxed)));
}

double ticks(std::chrono::nanoseconds time) noexcept { return static_cast<double>(time.count()); }

}  // namespace

backoff::backoff(const backoff_options& options)
    : options_(options), random_(options.seed != 0 ? options.seed : fresh_seed()) {
  if (options.delay < std::chrono::nanoseconds(0) || options.max_delay < std::chrono::nanoseconds(0)) {
    throw error(errc::err_out_of_range, "backoff: a delay must not be negative");
  }
  if (!(options.factor >= 1)) throw error(errc::err_out_of_range, "backoff: the factor must be at least 1");
  reset();
}

void backoff::reset() noexcept {
  count_ = 0;
  before_ = ticks(options_.delay);
}

double backoff::uniform(double low, double high) noexcept {
  random_ = mix(random_);
  auto share = static_cast<double>(random_ >> 11) / static_cast<double>(std::uint64_t{1} << 53);
  return low + share * (high - low);
}

double backoff::grown() const noexcept {
  double delay = ticks(options_.delay);
  switch (options_.grows) {
    case growth::fixed: break;
    case growth::linear: delay *= count_; break;
    case growth::exponential: delay *= std::pow(options_.factor, count_ - 1); break;
  }
  return std::min(delay, ticks(options_.max_delay));
}

std::chrono::nanoseconds backoff::next() noexcept {
  if (count_ != ~0U) ++count_;
  double pause = grown();
  switch (options_.spread) {
    case jitter::none: break;
    case jitter::full: pause = uniform(0, pause); break;
    case jitter::equal: pause = uniform(pause / 2, pause); break;
    case jitter::decorrelated:
      pause = std::min(ticks(options_.max_delay), uniform(ticks(options_.delay), before_ * 3));
      before_ = pause;
      break;
  }
  if (pause >= ticks(options_.max_delay)) return options_.max_delay;  // also where a double has no such integer
  return std::chrono::nanoseconds(static_cast<std::int64_t>(pause));
}

namespace detail {

using std::chrono::nanoseconds;
constexpr auto no_end = std::chrono::steady_clock::time_point::max();

retry_plan::retry_plan(retry_options options)
    : options_(std::move(options)), pauses_(options_.pause), end_(later(clock_here(), options_.deadline)) {
  if (options_.attempts == 0) throw error(errc::err_out_of_range, "retry: the attempts must be at least 1");
}

std::chrono::nanoseconds retry_plan::limit() const noexcept {
  if (end_ == no_end) return options_.attempt_timeout;
  return std::min<nanoseconds>(options_.attempt_timeout, end_ - clock_here());
}

std::optional<nanoseconds> retry_plan::next(const failure& why) {
  if (attempt_ >= options_.attempts) return std::nullopt;
  bool wanted = options_.retry_if ? options_.retry_if(why) : !why.is_cancelled();
  if (!wanted) return std::nullopt;
  auto pause = pauses_.next();
  if (later(clock_here(), pause) >= end_ && end_ != no_end) return std::nullopt;
  if (options_.on_retry) options_.on_retry({.attempt = attempt_, .delay = pause, .why = why});
  ++attempt_;
  return pause;
}

}  // namespace detail
}  // namespace weir::sync
