// tests/fuzz/path_fuzz.cpp: whatever the names, the functions of paths keep the laws that Node's keep, nothing from a
// stranger leaves its root, and a path comes back from its URL.
#include <weir/fs/file_url.hpp>
#include <weir/fs/path.hpp>

#include <weir/core/error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

namespace path = weir::path;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_posix(std::string_view a, std::string_view b) {
  const std::string normal = path::normalize(a);
  require(path::normalize(normal) == normal);
  require(path::join(a) == normal);
  require(path::is_absolute(normal) == path::is_absolute(a));
  const std::string from = path::resolve("/", a), to = path::resolve("/", b);
  require(path::is_absolute(from) && path::normalize(from) == from);
  require(path::resolve(from, path::relative(from, to)) == to);
  require(path::basename(a) == path::parse(a).base);
  require(path::is_inside("/", a));
  if (a.find('\0') == std::string_view::npos) require(path::from_file_url(path::to_file_url(from)) == from);
  try {
    const std::string inside = path::safe_join("/root/dir", a);
    require(path::is_inside("/root/dir", inside));
    require(inside.find('\0') == std::string::npos);
  } catch (const weir::error& e) {
    require(e.code() == weir::errc::err_invalid_arg_value);
  }
}

void check_win32(std::string_view a, std::string_view b) {
  namespace win32 = path::win32;
  require(win32::join(a, b).size() <= a.size() + b.size() + 8);
  // A drive that was not named before stands at the working directory (Node asks for `=X:` and then for the cwd).
  static const std::size_t here = path::resolve(".").size();
  require(win32::resolve("C:\\", a, b).size() <= here + a.size() + b.size() + 16);
  static_cast<void>(win32::relative(a, b));
  static_cast<void>(win32::to_namespaced_path(a));
  static_cast<void>(win32::dirname(a));
  static_cast<void>(win32::extname(a));
  static_cast<void>(win32::basename(a, b));
  static_cast<void>(win32::format(win32::parse(a)));
  static_cast<void>(win32::split(a));
  try {
    require(win32::is_inside("C:\\root\\dir", win32::safe_join("C:\\root\\dir", a)));
  } catch (const weir::error& e) {
    require(e.code() == weir::errc::err_invalid_arg_value);
  }
}

void check_url(std::string_view url) {
  for (const path::flavor of : {path::flavor::posix, path::flavor::win32}) {
    try {
      static_cast<void>(path::from_file_url(url, of));
    } catch (const weir::error& e) {
      require(e.message().size() < 1024 + url.size());
    }
    try {
      static_cast<void>(path::to_file_url(url, of));
    } catch (const weir::error& e) {
      require(e.code() == weir::errc::err_invalid_arg_value);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = size == 0 ? 0 : data[0] % size;
  check_posix(text.substr(0, cut), text.substr(cut));
  check_win32(text.substr(0, cut), text.substr(cut));
  check_url(text);
  return 0;
}
