#include <weir/io/retry.hpp>

#include <algorithm>
#include <cmath>

namespace weir::io::streams {

std::chrono::nanoseconds retry_delay(const retry_options& options, unsigned failures) noexcept {
  auto longest = static_cast<double>(options.max_delay.count());
  auto wanted = static_cast<double>(options.delay.count()) * std::pow(options.factor, failures - 1);
  return std::chrono::nanoseconds(static_cast<std::int64_t>(std::clamp(wanted, 0.0, std::max(longest, 0.0))));
}

}  // namespace weir::io::streams
