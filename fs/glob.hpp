// fs/glob.hpp: the files whose paths match patterns. Rests on fs/glob_pattern for what matches and where to look, and
// on fs/walk for the looking: directories below which nothing can match are not read.
#pragma once

#include <weir/fs/glob_pattern.hpp>
#include <weir/fs/walk.hpp>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::fs {

/// One pattern or several: "src/**/*.cpp", {"*.h", "*.c"}, a vector. One that ends in a slash finds directories only.
class glob_patterns {
 public:
  glob_patterns(const char* one) : texts_{one} {}                       // NOLINT
  glob_patterns(std::string one) { texts_.push_back(std::move(one)); }  // NOLINT
  glob_patterns(std::initializer_list<std::string_view> all) : texts_(all.begin(), all.end()) {}
  glob_patterns(std::vector<std::string> all) : texts_(std::move(all)) {}  // NOLINT

  const std::vector<std::string>& texts() const noexcept { return texts_; }

 private:
  std::vector<std::string> texts_;
};

/// As Node's fs.glob.
struct glob_search {
  /// Where relative patterns start; empty: the working directory.
  std::string cwd = {};
  /// Patterns of what to leave out. A directory that one of them matches is not entered.
  std::vector<std::string> exclude = {};
  /// How the patterns, and those of `exclude`, are read: dot files, case ...
  glob_options rules = {};
  /// Enters directories that symbolic links lead to; see walk_options.
  bool follow_symlinks = false;
  /// A directory's entries by name; see walk_options.
  bool sorted = false;
  std::uint32_t max_depth =
      std::numeric_limits<std::uint32_t>::max();  ///< below the directory that a pattern starts with
  walk_errors errors = walk_errors::skip;
  std::function<void(const error&)> on_skipped = {};
  unsigned threads = 0;
};

/// The entries that match any of the patterns, each once; files, directories and all else. `relative()` of an entry is
/// what the pattern matched: the path from `cwd`, or all of it where the pattern is absolute. The order is walk's.
///
/// Awaited and cancelled as `walk` is. A directory that a pattern begins with and that does not exist has no matches.
/// @throws weir::error from `next`: ERR_INVALID_ARG_VALUE for a bad pattern (see glob_pattern); with `errors` set to
///         fail, what the system says of a directory (scandir)
generator<walk_entry> glob(glob_patterns patterns, glob_search options = {});

/// The same in one call: the relative paths. `.now()` for programs without a runtime.
call<std::vector<std::string>> glob_all(glob_patterns patterns, glob_search options = {});

}  // namespace weir::fs
