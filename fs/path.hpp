// fs/path.hpp: names of files as text: joining, resolving, taking apart, for both families of systems. Pure functions
// over string_view that answer as Node's `path` does (https://nodejs.org/api/path.html), odd corners included; they
// touch no file. Only `resolve`, `relative` and `is_inside` ask the system anything: where it stands (getcwd).
#pragma once

#include <array>
#include <concepts>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::path {

/// Which system's names: `/` and nothing else on POSIX; `\` and `/`, drives and shares (\\server\share) on Windows.
enum class flavor { posix, win32 };

/// A path taken apart, as Node's `path.parse` does: `/home/me/file.txt` has root `/`, dir `/home/me`, base `file.txt`,
/// ext `.txt` and name `file`. What a path lacks is empty.
struct parsed {
  std::string root = {};
  std::string dir = {};
  std::string base = {};
  std::string ext = {};
  std::string name = {};

  bool operator==(const parsed&) const = default;
};

namespace detail {

template <class P>
concept text = std::convertible_to<const P&, std::string_view>;

}  // namespace detail

/// Names as POSIX has them. `weir::path` itself has these functions too: weir runs on Linux.
namespace posix {

inline constexpr char sep = '/';
inline constexpr char delimiter = ':';

/// The parts with separators between them, normalised. Empty parts are left out; an absolute part does not start anew.
/// Nothing at all is ".". It does not confine the answer to the first part: `safe_join` does.
std::string join(std::span<const std::string_view> parts);
std::string join(std::initializer_list<std::string_view> parts);
template <detail::text... P>
std::string join(const P&... parts) {
  const std::array<std::string_view, sizeof...(P)> list{std::string_view(parts)...};
  return join(std::span<const std::string_view>(list));
}

/// The absolute path that the parts name: from the right to the left until one is absolute, then from the working
/// directory. Normalised, without a separator at the end.
/// @throws weir::error of getcwd (syscall `uv_cwd`, as in Node) if the working directory is needed and gone
std::string resolve(std::span<const std::string_view> parts);
std::string resolve(std::initializer_list<std::string_view> parts);
template <detail::text... P>
std::string resolve(const P&... parts) {
  const std::array<std::string_view, sizeof...(P)> list{std::string_view(parts)...};
  return resolve(std::span<const std::string_view>(list));
}

/// `.` and `..` resolved as text, repeated separators made one; one at the end stays. Empty is ".". A `..` that leads
/// out of a relative path stays, one above the root does not.
std::string normalize(std::string_view path);

/// How to get from `from` to `to`, both resolved first; empty if they are the same.
/// @throws weir::error as `resolve` does
std::string relative(std::string_view from, std::string_view to);

/// Everything before the last component: "/" of "/a", "." of "a". A walk upwards ends where it answers its argument.
std::string dirname(std::string_view path);

/// The last component, without `suffix` if it ends in that and is more than that.
std::string basename(std::string_view path, std::string_view suffix = {});

/// The last component from its last dot on; empty if it has none or only starts with one (".bashrc", "..").
std::string extname(std::string_view path);

/// Undone by `format`, but for repeated separators.
parsed parse(std::string_view path);

/// A path of `dir` (else `root`) and `base` (else `name` and `ext`, which gets a dot if it has none).
std::string format(const parsed& parts);

bool is_absolute(std::string_view path) noexcept;

/// The path: POSIX has no namespaces for them.
std::string to_namespaced_path(std::string_view path);

/// Whether a glob pattern matches the whole path, as Node's `path.matchesGlob` has it: `*`, `?`, `[a-z]`, `**`,
/// `{a,b}`, `@(a|b)` and its kin; no wildcard matches a dot at the start of a component. In the pattern a backslash
/// is a separator, as Node has it; use `fs::glob_pattern` for other rules, and for a pattern that is used repeatedly.
/// @throws weir::error ERR_INVALID_ARG_VALUE for a pattern beyond the limits of glob_pattern
bool matches_glob(std::string_view path, std::string_view pattern);

/// The components of a path, the root ("/") as the first of them if there is one. `join` of them is `normalize` of the
/// path without a separator at its end, if no component is `..`: nothing is resolved here but `.` and empty ones.
std::vector<std::string> split(std::string_view path);

/// `untrusted`, a relative path from a stranger, below `root`: normalised, and never outside of it.
///
/// Refuses an absolute path, any component `..` (even one that would stay inside: nobody honest sends it), a NUL byte,
/// and on Windows also colons (drives, streams), names of devices, and components that end in a dot or space.
/// Only text is looked at: a symbolic link inside `root` may still lead out; open with RESOLVE_BENEATH against that.
/// @throws weir::error ERR_INVALID_ARG_VALUE "Path traversal attempt detected: ..."
std::string safe_join(std::string_view root, std::string_view untrusted);

/// Whether `path` is `root` or below it, by whole components: "/base-evil" is not inside "/base". Both are resolved
/// first (a relative `path` against the working directory, not against `root`); links are not followed.
/// @throws weir::error as `resolve` does
bool is_inside(std::string_view root, std::string_view path);

}  // namespace posix

/// Names as Windows has them, on any system. Each function is the one of `posix` with the other rules: both slashes
/// separate, answers have backslashes, `C:` and `\\server\share\` are roots, letters differ in case only for `relative`
/// and between drives (a to z; Node folds those of other scripts too). As in Node, `C:` without a slash resolves
/// against this process's working directory.
namespace win32 {

inline constexpr char sep = '\\';
inline constexpr char delimiter = ';';

std::string join(std::span<const std::string_view> parts);
std::string join(std::initializer_list<std::string_view> parts);
template <detail::text... P>
std::string join(const P&... parts) {
  const std::array<std::string_view, sizeof...(P)> list{std::string_view(parts)...};
  return join(std::span<const std::string_view>(list));
}

std::string resolve(std::span<const std::string_view> parts);
std::string resolve(std::initializer_list<std::string_view> parts);
template <detail::text... P>
std::string resolve(const P&... parts) {
  const std::array<std::string_view, sizeof...(P)> list{std::string_view(parts)...};
  return resolve(std::span<const std::string_view>(list));
}

std::string normalize(std::string_view path);
std::string relative(std::string_view from, std::string_view to);
std::string dirname(std::string_view path);
std::string basename(std::string_view path, std::string_view suffix = {});
std::string extname(std::string_view path);
parsed parse(std::string_view path);
std::string format(const parsed& parts);
bool is_absolute(std::string_view path) noexcept;

/// `\\?\C:\a` for `C:\a`, `\\?\UNC\server\share\a` for a share: names without the limit of 260 characters.
std::string to_namespaced_path(std::string_view path);

bool matches_glob(std::string_view path, std::string_view pattern);

/// As of `posix`; the root ("C:\", "\\server\share\", "C:") as it stands, with backslashes.
std::vector<std::string> split(std::string_view path);

std::string safe_join(std::string_view root, std::string_view untrusted);
bool is_inside(std::string_view root, std::string_view path);

}  // namespace win32

using posix::basename;
using posix::delimiter;
using posix::dirname;
using posix::extname;
using posix::format;
using posix::is_absolute;
using posix::is_inside;
using posix::join;
using posix::matches_glob;
using posix::normalize;
using posix::parse;
using posix::relative;
using posix::resolve;
using posix::safe_join;
using posix::sep;
using posix::split;
using posix::to_namespaced_path;

/// Every separator of either system as `to` has it; nothing else changes.
std::string convert_separators(std::string_view path, flavor to);

/// A path of one system as the other would name it: separators converted; to Windows an absolute path gets `drive`
/// (a share keeps its two separators, a path with a drive its own); to POSIX a drive is dropped.
std::string translate(std::string_view path, flavor to, char drive = 'C');

}  // namespace weir::path
