#include <weir/io/concurrent.hpp>

#include <weir/core/error.hpp>

namespace weir::io::streams {

fan_core::fan_core(const concurrency_options& options) : limit_(options.concurrency), ordered_(options.ordered) {
  if (limit_ == 0) throw error(errc::err_out_of_range, "With a concurrency of 0 no call would ever begin");
}

task<void> fan_core::await_room() {
  for (;;) {
    {
      weir::detail::spin_guard guard(lock_);
      if (held_ < limit_) {
        ++held_;
        co_return;
      }
      room_.reset();
    }
    co_await room_.wait();
  }
}

void fan_core::finish(std::exception_ptr why) noexcept {
  {
    weir::detail::spin_guard guard(lock_);
    if (over_) return;
    over_ = true;
    error_ = std::move(why);
  }
  ready_.set();
}

void fan_core::destroy(const std::exception_ptr& why) noexcept {
  finish(why ? why : stream_error(errc::err_stream_premature_close));
}

}  // namespace weir::io::streams
