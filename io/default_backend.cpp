#include <weir/io/uring_backend.hpp>

namespace weir {

std::unique_ptr<backend> make_default_backend(const backend_options& options) {
  return io::make_uring_backend(options);
}

}  // namespace weir
