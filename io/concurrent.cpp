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
    over_ = true;
    error_ = std::move(why);
  }
  ready_.set();
}

}  // namespace weir::io::streams
