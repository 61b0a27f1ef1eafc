#include <weir/io/operators.hpp>

#include <weir/core/error.hpp>

#include <string>

namespace weir::io::streams {

void too_many_distinct(std::size_t limit) {
  throw error(errc::err_out_of_range, "distinct: more than " + std::to_string(limit) + " different keys");
}

std::size_t checked_batch(std::size_t size) {
  if (size == 0) throw error(errc::err_out_of_range, "A batch of 0 items would never be full");
  return size;
}

}  // namespace weir::io::streams
