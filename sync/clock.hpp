// sync/clock.hpp: what time it is, for what expires. Rests on core's workers; costs a read of the system's clock.
#pragma once

#include <chrono>

namespace weir::sync::detail {

/// The clock of the worker that runs the caller, which a simulation may drive; outside a runtime the system's.
std::chrono::steady_clock::time_point time_here() noexcept;

/// `from` + `span`, or the end of time where that is nearer.
std::chrono::steady_clock::time_point later(std::chrono::steady_clock::time_point from,
                                            std::chrono::nanoseconds span) noexcept;

}  // namespace weir::sync::detail
