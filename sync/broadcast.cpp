#include <weir/sync/broadcast.hpp>

#include <weir/core/error.hpp>

#include <bit>

namespace weir::sync::detail {

std::size_t checked_broadcast_capacity(std::size_t capacity) {
  constexpr std::size_t most = std::size_t{1} << 32;
  if (capacity == 0 || capacity > most) {
    throw error(errc::err_out_of_range, "broadcast: the capacity must be at least 1 and at most 2^32");
  }
  return std::bit_ceil(capacity);
}

}  // namespace weir::sync::detail
