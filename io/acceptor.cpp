#include <weir/io/acceptor.hpp>

#include <weir/core/error.hpp>
#include <weir/core/worker.hpp>
#include <weir/io/stop_wait.hpp>

#include <cassert>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

namespace weir::io {

// Long enough that a server out of descriptors costs nothing, short enough that its clients do not notice.
std::chrono::milliseconds accept_pause(int errno_value) noexcept {
  switch (errno_value) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return std::chrono::milliseconds(50);
    default: return std::chrono::milliseconds(0);
  }
}

// accept(2): pending network errors of the new socket come as errors of accept.
bool accept_passes_over(int errno_value) noexcept {
  switch (errno_value) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM:
    case EINTR: return true;
    default: return false;
  }
}

acceptor::~acceptor() {
  assert(!armed_ && !pausing_ && "weir::io::acceptor destroyed without stop()");
  while (first_ != accepted_.size()) descriptor(accepted_[first_++]).close();
}

void acceptor::submit() noexcept {
  bool poll_first = std::exchange(unready_, false);
  request_.of = this;
  request_.code = poll_first ? opcode::poll : opcode::accept_many;
  request_.fd = fd_;
  request_.flags = poll_first ? POLLIN : 0;
  request_.on_complete = complete;
  armed_ = true;
  home_->io().submit(request_);
}

void acceptor::complete(operation& op, const completion& report) noexcept {
  auto& self = *static_cast<request&>(op).of;
  self.armed_ = report.more;
  if (op.code == opcode::accept_many) self.receive(report);
  self.wake();
}

void acceptor::keep(int connection) {
  if (first_ != 0 && accepted_.size() == accepted_.capacity()) {
    accepted_.erase(accepted_.begin(), accepted_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  accepted_.push_back(connection);
}

void acceptor::receive(const completion& report) noexcept {
  if (report.result >= 0) {
    keep(report.result);
    if (report.more && queued() >= options_.credit) home_->io().cancel(request_);
    return;
  }
  int why = -report.result;
  if (why == ECANCELED || accept_passes_over(why)) return;
  if (why == EAGAIN) {
    unready_ = true;
    return;
  }
  if (accept_pause(why).count() > 0) return take_break();
  failure_ = why;
}

void acceptor::take_break() noexcept {
  if (stopping_) return;
  ++pauses_;
  pausing_ = true;
  pause_.of = this;
  pause_.fire = [](detail::timer_node& node, detail::worker&) noexcept {
    auto& self = *static_cast<pause&>(node).of;
    self.pausing_ = false;
    self.wake();
  };
  auto until = home_->clock() + accept_pause(EMFILE);
  auto at = std::chrono::ceil<std::chrono::milliseconds>(until.time_since_epoch());
  home_->arm(pause_, static_cast<std::uint64_t>(at.count()));
}

void acceptor::wake() noexcept {
  if (!stopping_ && !armed_ && !pausing_ && failure_ == 0 && queued() < options_.credit) submit();
  if (reader_ != nullptr && ready()) std::exchange(reader_, nullptr)->finish();
  if (stopper_ != nullptr && !armed_) std::exchange(stopper_, nullptr)->end();
}

bool acceptor::next_awaiter::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  auto& a = *from_;
  if (a.home_ == nullptr) a.home_ = f.on;
  assert(a.home_ == f.on && "weir::io::acceptor used on two workers");
  assert(a.reader_ == nullptr && "weir::io::acceptor: one next() at a time");
  if (!begin(f, h)) {
    stopped_ = true;
    return false;
  }
  a.reader_ = this;
  if (!a.armed_ && !a.pausing_ && !a.stopping_) a.submit();
  return true;
}

// The accept itself goes on: what it brings waits for the next call.
bool acceptor::next_awaiter::stop() noexcept {
  if (from_->reader_ != this) return false;
  from_->reader_ = nullptr;
  stopped_ = true;
  return true;
}

result<descriptor> acceptor::next_awaiter::try_resume() const {
  auto& a = *from_;
  if (stopped_) return failure(cancelled());
  if (a.queued() == 0 && a.stopping_) return failure(error(errc::err_closed));
  if (a.queued() == 0) return failure(net_error(a.failure_, "accept"));
  descriptor taken(a.accepted_[a.first_++]);
  if (a.queued() == 0) {
    a.accepted_.clear();
    a.first_ = 0;
  }
  return taken;
}

// Of those who wait for a listening socket the kernel tells one of each connection. If that was the accept which has
// just been cancelled, nobody else (another process that has the socket, say) has been told. Others who accept may
// come first, so the socket must not block; that it does not is no matter to any accept of ours.
void acceptor::empty_backlog() noexcept {
  constexpr int most = 4096;  // as many as wait, not as many as come
  int flags = ::fcntl(fd_, F_GETFL);
  if (flags < 0 || ::fcntl(fd_, F_SETFL, flags | O_NONBLOCK) != 0) return;
  for (int n = 0; n < most; ++n) {
    int taken = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (taken >= 0) {
      keep(taken);
    } else if (!accept_passes_over(errno)) {
      return;
    }
  }
}

task<void> acceptor::stop() {
  stopping_ = true;
  if (home_ == nullptr || stopped_) {
    stopped_ = true;
    co_return;
  }
  if (std::exchange(pausing_, false)) home_->disarm(pause_);
  co_await stop_wait(armed_, request_, stopper_, "accept");
  if (failure_ == 0) empty_backlog();
  stopped_ = true;
  wake();
}

}  // namespace weir::io
