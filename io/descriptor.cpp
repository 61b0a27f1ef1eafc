#include <weir/io/descriptor.hpp>

#include <unistd.h>

namespace weir::io {

void descriptor::close() noexcept {
  if (fd_ >= 0) ::close(release());
}

}  // namespace weir::io
