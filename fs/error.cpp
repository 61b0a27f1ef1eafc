#include <weir/fs/error.hpp>

#include <fmt/format.h>

namespace weir::fs::detail {

bool has_nul(std::string_view path) noexcept { return path.find('\0') != std::string_view::npos; }

error nul_error(std::string_view name, std::string_view path) {
  std::string shown;
  for (char c : path) {
    if (c == '\0') {
      shown += "\\x00";
    } else {
      shown += c;
    }
  }
  return {errc::err_invalid_arg_value,
          fmt::format("The argument '{}' must be a string, Uint8Array, or URL without null bytes. Received '{}'", name,
                      shown)};
}

}  // namespace weir::fs::detail
