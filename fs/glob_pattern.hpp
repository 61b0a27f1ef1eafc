// fs/glob_pattern.hpp: patterns for names of files, compiled once and asked often. The rules are those of minimatch,
// which Node's `path.matchesGlob` and `fs.glob` use. Pure: no file is touched. Nothing here takes time exponential in
// the pattern or the path, whoever wrote them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {

struct glob_options {
  bool dot = false;  ///< wildcards match a dot at the start of a component too ("." and ".." never)
  bool ignore_case = false;
  bool braces = true;       ///< {a,b} and {1..3}
  bool extended = true;     ///< @(a|b) ?(a) *(a) +(a) !(a)
  bool globstar = true;     ///< `**` alone in a component is any number of components; otherwise it is `*`
  bool match_base = false;  ///< a pattern without a slash is compared with the last component alone
  /// A backslash in the pattern is a separator, as in Node; otherwise it takes the meaning from what follows it.
  bool backslash_separates = false;
  /// Paths are of Windows: a backslash separates in them, drives compare without case, `\\?\C:\` is `C:\`.
  bool windows = false;
  std::size_t max_expansions = 10000;  ///< patterns that the braces may make, 1 or more
};

/// A pattern for whole paths.
///
/// `*` any characters of one component, `?` one character, `[a-z]`, `[!a-z]` and `[^a-z]` one of a set, with classes
/// such as `[[:alpha:]]`; `**` any number of components; `{a,b}` and `{1..9..2}` several patterns; `@(a|b)` one of,
/// `?(a|b)` at most one of, `*(a|b)` any number of, `+(a|b)` one or more of, `!(a|b)` anything but. A backslash before
/// a character makes it an ordinary one. No wildcard matches a dot at the start of a component unless `dot` says so.
/// In pattern and path `//` is `/`, and `.` and `..` are resolved. A character is a code point of UTF-8, or a byte that
/// is none. What cannot be a pattern ("[a", "@(a") is taken as it stands.
///
/// Immutable: copies share it, and any thread may ask.
class glob_pattern {
 public:
  /// @throws weir::error ERR_INVALID_ARG_VALUE if the pattern has more than 65536 bytes or a NUL byte, nests
  ///   parentheses or braces more than 10 or 100 deep, expands to more than `max_expansions`, or has alternatives of
  ///   more than 5000 states
  explicit glob_pattern(std::string_view text, glob_options options = {});

  /// Whether the whole path matches.
  bool matches(std::string_view path) const;

  /// Whether anything below this directory can match: what a walk asks before it goes in. Empty and "." stand for the
  /// place that paths start from. May say yes where nothing will be found, never no where something would.
  bool may_match_below(std::string_view directory) const;

  /// Whether there is anything in it but one plain name.
  bool has_wildcards() const noexcept;

  /// Where a walk has to start to find everything: the directories that the patterns begin with, each once, none below
  /// another; "" is the working directory. `src/{a,b}/*.c` has "src/a" and "src/b"; a plain "a/b" has "a".
  std::vector<std::string> bases() const;

  /// The pattern as it was given.
  const std::string& text() const noexcept;

  /// A pattern that matches `plain` and nothing else.
  static std::string escape(std::string_view plain, glob_options options = {});

 private:
  struct compiled;
  std::shared_ptr<const compiled> compiled_;
};

}  // namespace weir::fs
