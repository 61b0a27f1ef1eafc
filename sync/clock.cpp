#include <weir/sync/clock.hpp>

namespace weir::sync::detail {

using std::chrono::steady_clock;

steady_clock::time_point later(steady_clock::time_point from, std::chrono::nanoseconds span) noexcept {
  constexpr auto end = steady_clock::time_point::max();
  return span >= end - from ? end : from + span;
}

}  // namespace weir::sync::detail
