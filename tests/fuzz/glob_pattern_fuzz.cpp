// tests/fuzz/glob_pattern_fuzz.cpp: any pattern compiles or is refused, answers for any path in time that does not
// explode, never tells a walk to leave out what it matches, and matches only itself once escaped.
#include <weir/fs/glob_pattern.hpp>

#include <weir/core/error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using weir::fs::glob_options;
using weir::fs::glob_pattern;

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_plain(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.back() == '/') return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::string_view part = path.substr(at, path.find('/', at) - at);
    if (part.empty() || part == "." || part == "..") return false;
    at += part.size() + 1;
  }
  return true;
}

void check_walk(const glob_pattern& pattern, std::string_view path) {
  if (!is_plain(path) || !pattern.matches(path)) return;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1))
    require(pattern.may_match_below(path.substr(0, slash)));
  require(pattern.may_match_below(""));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4096) return 0;
  const unsigned flags = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t cut = text.empty() ? 0 : data[1] * text.size() / 256;
  const std::string_view pattern = text.substr(0, cut), path = text.substr(cut);
  const glob_options options{.dot = (flags & 1) != 0,
                             .ignore_case = (flags & 2) != 0,
                             .globstar = (flags & 4) == 0,
                             .match_base = (flags & 8) != 0,
                             .backslash_separates = (flags & 16) != 0,
                             .windows = (flags & 32) != 0,
                             .max_expansions = 100};
  try {
    const glob_pattern made(pattern, options);
    static_cast<void>(made.bases());
    if (!options.windows) check_walk(made, path);
    static_cast<void>(made.matches(path));
    static_cast<void>(made.may_match_below(path));
  } catch (const weir::error& e) {
    require(e.code() == weir::errc::err_invalid_arg_value);
  }
  if (is_plain(path) && path.find('\0') == std::string_view::npos)
    require(glob_pattern(glob_pattern::escape(path)).matches(path));
  return 0;
}
