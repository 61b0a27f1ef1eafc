#include <weir/io/sender.hpp>

#include <weir/core/worker.hpp>
#include <weir/io/operation.hpp>

#include <cassert>
#include <cerrno>

#include <sys/socket.h>

namespace weir::io {
namespace {

// Larger buffers are given back to the heap once they have been sent.
constexpr std::size_t kept_capacity = 16 * 1024;

}  // namespace

class sender::idle_awaiter : private detail::home_wait {
 public:
  explicit idle_awaiter(sender& of) noexcept : of_(of) {}
  bool await_ready() const noexcept { return !of_.in_flight_; }
  template <detail::weir_promise P>
  void await_suspend(std::coroutine_handle<P> h) noexcept {
    begin_always(*h.promise().running, h);
    of_.stopper_ = this;
    of_.home_->io().cancel(of_.request_);
  }
  void await_resume() const noexcept {}
  void end() noexcept { finish(); }

 private:
  bool stop() noexcept override { return false; }
  const char* what() const noexcept override { return "write"; }
  sender& of_;
};

sender::~sender() { assert(!in_flight_ && "weir::io::sender destroyed with a send in flight"); }

void sender::flush(detail::fiber& by) noexcept {
  home_ = by.on;
  if (failure_ != 0) waiting_.clear();
  if (waiting_.empty()) return;
  flush_next_ = in_flight_;
  if (in_flight_) return;
  std::swap(waiting_, sending_);
  sent_ = 0;
  submit();
}

void sender::submit() noexcept {
  request_.of = this;
  request_.code = opcode::send;
  request_.fd = fd_;
  request_.buffer = sending_.data() + sent_;
  request_.length = static_cast<std::uint32_t>(std::min(sending_.size() - sent_, count_operation::max_transfer));
  request_.flags = MSG_WAITALL;
  request_.on_complete = complete;
  in_flight_ = true;
  home_->io().submit(request_);
}

void sender::complete(operation& op, const completion& report) noexcept {
  auto& self = *static_cast<request&>(op).of;
  self.in_flight_ = false;
  if (report.result < 0) {
    self.failure_ = -report.result;
    self.waiting_.clear();
    self.sent_ = self.sending_.size();
  } else {
    self.sent_ += static_cast<std::size_t>(report.result);
    if (self.sent_ < self.sending_.size()) return self.submit();
  }
  self.sending_.clear();
  self.sent_ = 0;
  if (self.sending_.capacity() > kept_capacity) std::string().swap(self.sending_);
  if (std::exchange(self.flush_next_, false) && !self.waiting_.empty()) {
    std::swap(self.waiting_, self.sending_);
    self.submit();
  }
  self.wake();
}

void sender::wake() noexcept {
  if (stopper_ != nullptr && !in_flight_) std::exchange(stopper_, nullptr)->end();
  if (drainer_ != nullptr && settled(drainer_->limit_)) std::exchange(drainer_, nullptr)->finish();
}

bool sender::drain_awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  if (!begin(f, h)) {
    stopped_ = true;
    return false;
  }
  of_->drainer_ = this;
  return true;
}

bool sender::drain_awaiter::stop() noexcept {
  if (of_->drainer_ != this) return false;
  of_->drainer_ = nullptr;
  stopped_ = true;
  return true;
}

result<void> sender::drain_awaiter::try_resume() const noexcept {
  if (stopped_) return weir::failure(cancelled());
  if (of_->failure_ != 0) return weir::failure(net_error(of_->failure_, "write"));
  return {};
}

task<void> sender::send(std::span<const std::byte> data) {
  flush(co_await detail::this_fiber{});
  co_await drain();
  while (!data.empty()) {
    auto count = co_await count_operation(opcode::send, fd_, const_cast<std::byte*>(data.data()), data.size(),
                                          MSG_WAITALL, {"write"});
    data = data.subspan(count);
  }
}

task<void> sender::stop() {
  waiting_.clear();
  flush_next_ = false;
  co_await idle_awaiter(*this);
}

}  // namespace weir::io
