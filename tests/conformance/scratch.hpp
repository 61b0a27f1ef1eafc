// tests/conformance/scratch.hpp: a directory for one script, which the script removes.
#pragma once

#include <weir/core/task.hpp>

#include <string>

namespace weir::conformance {

/// A fresh empty directory. @return its path without symbolic links
task<std::string> make_scratch();

}  // namespace weir::conformance
