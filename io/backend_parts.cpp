#include <weir/io/backend_parts.hpp>

#include <fmt/format.h>

#include <bit>
#include <cerrno>
#include <system_error>

namespace weir::io {

void check(const backend_options& options, const char* backend) {
  const bool fine = std::has_single_bit(options.entries) && options.entries <= 32768 &&
                    std::has_single_bit(options.buffers) && options.buffers <= 32768 && options.buffer_size > 0 &&
                    options.buffer_size <= 1u << 30;
  if (fine) return;
  throw std::system_error(EINVAL, std::system_category(),
                          fmt::format("{} backend: entries ({}) and buffers ({}) must be powers of two up to "
                                      "32768, buffer_size ({}) 1 to 2^30 bytes",
                                      backend, options.entries, options.buffers, options.buffer_size));
}

}  // namespace weir::io
