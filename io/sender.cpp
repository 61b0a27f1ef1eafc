#include <weir/io/sender.hpp>

#include <weir/core/worker.hpp>
#include <weir/io/operation.hpp>
#include <weir/io/stop_wait.hpp>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

namespace weir::io {
namespace {

// Larger buffers are given back to the heap once they have been sent.
constexpr std::size_t kept_capacity = 16 * 1024;

}  // namespace

sender::~sender() { assert(!in_flight_ && "weir::io::sender destroyed with a send in flight"); }

void sender::flush(detail::fiber& by) noexcept {
  home_ = by.on;
  if (failure_ != 0 || stopper_ != nullptr) waiting_.clear();
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
  self.advance(report.result);
  self.wake();
}

void sender::advance(int result) noexcept {
  if (result == -EINTR) result = 0;
  if (result < 0 && failure_ == 0) failure_ = -result;
  if (result > 0) sent_ += static_cast<std::size_t>(result);
  // A send that was asked to end may have sent a part (MSG_WAITALL).
  if (stopper_ != nullptr && failure_ == 0 && sent_ < sending_.size()) failure_ = ECANCELED;
  if (failure_ != 0) waiting_.clear();
  if (failure_ == 0 && sent_ < sending_.size()) return submit();
  sending_.clear();
  sent_ = 0;
  if (sending_.capacity() > kept_capacity) std::string().swap(sending_);
  if (!std::exchange(flush_next_, false) || waiting_.empty()) return;
  std::swap(waiting_, sending_);
  submit();
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
  of_->flush(f);
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

// @return the bytes of `data` that have gone, behind all that was gathered
std::size_t sender::send_at_once(std::span<const std::byte> data) noexcept {
  if (in_flight_ || failure_ != 0 || stopper_ != nullptr) return 0;
  iovec parts[2] = {{waiting_.data(), waiting_.size()}, {const_cast<std::byte*>(data.data()), data.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return 0;  // what is wrong, the next send finds as well
  const auto gathered = std::min(waiting_.size(), static_cast<std::size_t>(sent));
  waiting_.erase(0, gathered);
  return static_cast<std::size_t>(sent) - gathered;
}

// Head and body in one call, on this thread, as far as the socket takes them: perf/net/static_files_bench. What does
// not fit waits in the backend.
task<void> sender::send(std::span<const std::byte> data) {
  auto& by = co_await detail::this_fiber{};
  if (!by.must_stop()) data = data.subspan(send_at_once(data));
  flush(by);
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
  co_await stop_wait(in_flight_, request_, stopper_, "write");
}

}  // namespace weir::io
