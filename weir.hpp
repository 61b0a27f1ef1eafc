// weir.hpp: the everyday surface in one include. A file that cares about its compile time includes the
// headers it uses instead: they are named after what they hold, <weir/net/tcp.hpp>, <weir/core/task.hpp>.
#pragma once

#include <weir/core/config.hpp>  // IWYU pragma: export
