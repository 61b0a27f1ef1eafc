// sync/clock.hpp: what time it is, for what expires. Rests on core's workers; costs a read of the system's clock.
#pragma once

#include <weir/core/time.hpp>

#include <chrono>

namespace weir::sync::detail {

using weir::detail::clock_here;

/// `from` + `span`, or the end of time where that is nearer.
std::chrono::steady_clock::time_point later(std::chrono::steady_clock::time_point from,
                                            std::chrono::nanoseconds span) noexcept;

}  // namespace weir::sync::detail
