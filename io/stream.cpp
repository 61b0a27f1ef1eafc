#include <weir/io/stream.hpp>

namespace weir::io::streams {

task<void> wait_finished(std::shared_ptr<stream_core> of) {
  if (of == nullptr) throw error(errc::err_stream_premature_close);
  co_await of->until_closed();
  if (!of->complete()) std::rethrow_exception(of->why_closed());
}

}  // namespace weir::io::streams
