#include <weir/io/signal_stream.hpp>

namespace weir::io {

task<std::optional<int>> signal_stream::next() { co_return co_await caught_->next(); }

}  // namespace weir::io
