#include <weir/io/retry.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <random>

namespace weir::io::streams {
namespace {

using std::chrono::nanoseconds;

double chance() {
  thread_local std::minstd_rand random(std::random_device{}());
  return std::uniform_real_distribution<double>(0, 1)(random);
}

nanoseconds retry_delay(const retry_options& options, unsigned failures) {
  if (options.delay.count() <= 0) return {};
  auto longest = static_cast<double>(std::max(options.max_delay, nanoseconds(0)).count());
  auto wanted = static_cast<double>(options.delay.count()) * std::pow(options.factor, failures - 1);
  auto pause = std::clamp(wanted, 0.0, longest);
  if (options.jitter > 0) pause *= 1 - options.jitter * chance();
  constexpr auto century = nanoseconds(std::chrono::hours(876'600));
  return nanoseconds(static_cast<std::int64_t>(std::min(pause, static_cast<double>(century.count()))));
}

}  // namespace

retry_options checked(retry_options options) {
  if (!(options.jitter >= 0 && options.jitter <= 1)) {
    throw error(errc::err_out_of_range, "retry: the jitter must be 0 to 1");
  }
  if (!(options.factor >= 0)) throw error(errc::err_out_of_range, "retry: the factor must not be negative");
  return options;
}

std::optional<nanoseconds> next_pause(const retry_options& options, unsigned failures, const failure& why) {
  if (failures > options.attempts || (options.when && !options.when(why))) return std::nullopt;
  auto pause = retry_delay(options, failures);
  if (options.on_retry) options.on_retry({failures, pause, why});
  return pause;
}

task<void> pause_for(nanoseconds time) {
  if (time.count() <= 0) co_return co_await yield();
  co_await sleep(time);
}

}  // namespace weir::io::streams
