#include <weir/sync/oneshot.hpp>

namespace weir::sync::detail {

failure no_answer() noexcept { return error(errc::err_closed, "oneshot: the sender has gone without sending"); }

}  // namespace weir::sync::detail
