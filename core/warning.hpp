// core/warning.hpp: the process's warnings: what a programmer should know though nothing has failed, such as a leak
// of listeners (Node's process.emitWarning, https://nodejs.org/api/process.html#processemitwarningwarning-options).
// Rests on the standard library only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace weir {

/// A warning, as the hook sees it.
struct warning {
  std::string type = "Warning";  ///< its kind: "Warning", "DeprecationWarning", "MaxListenersExceededWarning"
  std::string message = {};
  std::string code = {};    ///< "DEP0001"; may be empty
  std::string detail = {};  ///< further lines; may be empty
};

/// What `emit_warning` can be told besides the text. The views are copied.
struct warning_options {
  std::string_view type = "Warning";
  std::string_view code = {};
  std::string_view detail = {};
  /// Only the first warning of the process with this code is emitted; needs a code.
  bool once_per_code = false;
};

/// Hands a warning to the hook or, if that leaves it, prints it on standard error:
/// `weir: [CODE] Type: message` and the detail on lines of its own. At once, on the calling thread; never fails.
/// Any thread.
/// @return false if it was a repetition that `once_per_code` keeps back
bool emit_warning(std::string_view text, const warning_options& options = {}) noexcept;

/// Called for every warning, on the thread that emits it; true: it is dealt with, false: it is printed. What the hook
/// throws is ignored, and the warning is printed. Process-wide; an empty function ends it. Any thread.
/// @return the hook before
std::function<bool(const warning&)> on_warning(std::function<bool(const warning&)> hook);

/// The line or lines that are printed, each ended by a newline.
std::string to_string(const warning& what);

}  // namespace weir
