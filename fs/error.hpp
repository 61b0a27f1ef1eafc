// fs/error.hpp: how a system call about a path is made and how its failure reads. Private to fs.
#pragma once

#include <weir/core/result.hpp>

#include <cerrno>
#include <string>
#include <string_view>

namespace weir::fs::detail {

/// Whether a path has a NUL byte, which the system would take for its end.
bool has_nul(std::string_view path) noexcept;

/// ERR_INVALID_ARG_VALUE for a path with a NUL byte, in Node's words; `name` is the argument's.
error nul_error(std::string_view name, std::string_view path);

/// Makes `call()`, which returns -1 and sets errno on failure, again where a signal came first.
/// @return what it returned, or the negative errno
template <class F>
long without_signals(F&& call) noexcept {
  for (;;) {
    const long answer = static_cast<long>(call());
    if (answer >= 0) return answer;
    if (errno != EINTR) return -errno;
  }
}

/// `call()` about one path: its answer, or an error in Node's words ("ENOENT: no such file or directory, open 'x'").
template <class F>
result<long> on_path(const char* operation, const std::string& path, F&& call) {
  if (has_nul(path)) return nul_error("path", path);
  const long answer = without_signals(call);
  if (answer < 0) return os_error(static_cast<int>(-answer), operation, path);
  return answer;
}

/// The same about two: "EXDEV: cross-device link not permitted, rename 'a' -> 'b'".
template <class F>
result<long> on_paths(const char* operation, const std::string& path, const std::string& dest, F&& call) {
  if (has_nul(path)) return nul_error("path", path);
  if (has_nul(dest)) return nul_error("dest", dest);
  const long answer = without_signals(call);
  if (answer < 0) return os_error(static_cast<int>(-answer), operation, path, dest);
  return answer;
}

/// Drops the number of a call that only succeeds or fails.
inline result<void> only_done(const result<long>& answer) {
  if (!answer) return answer.failure();
  return {};
}

}  // namespace weir::fs::detail
