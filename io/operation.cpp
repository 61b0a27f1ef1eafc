#include <weir/io/operation.hpp>

#include <weir/core/worker.hpp>
#include <weir/io/system_calls.hpp>

#include <cerrno>

namespace weir::io {

bool operation_wait::suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept {
  on_complete = complete;
  if (!begin(f, h)) {
    answer_ = -ECANCELED;
    return false;
  }
  home_worker().io().submit(*this);
  return true;
}

int operation_wait::perform_here() noexcept { return calls::perform(*this); }

void operation_wait::complete(operation& op, const completion& report) noexcept {
  auto& self = static_cast<operation_wait&>(op);
  // A signal came before anything was done. Not so for connect(2), which goes on by itself, and close(2), which has
  // given the number back.
  if (report.result == -EINTR && self.code != opcode::connect && self.code != opcode::close) {
    return self.home_worker().io().submit(op);
  }
  self.answer_ = report.result;
  self.finish();
}

bool operation_wait::stop() noexcept {
  home_worker().io().cancel(*this);
  return false;
}

const char* operation_wait::what() const noexcept {
  switch (code) {
    case opcode::recv:
    case opcode::recvmsg:
    case opcode::read:
    case opcode::readv: return "read";
    case opcode::send:
    case opcode::sendmsg:
    case opcode::write:
    case opcode::writev: return "write";
    case opcode::accept:
    case opcode::accept_many: return "accept";
    case opcode::connect: return "connect";
    case opcode::poll:
    case opcode::poll_many: return "poll";
    default: return "operation";
  }
}

failure count_operation::fail() const noexcept {
  if (answer_ == -ECANCELED) return failure(cancelled());
  try {
    bool socket = code == opcode::recv || code == opcode::send || code == opcode::sendmsg || code == opcode::recvmsg ||
                  code == opcode::shutdown;
    if (socket && label_.subject.empty()) return failure(net_error(-answer_, label_.name));
    if (label_.subject.empty()) return failure(os_error(-answer_, label_.name));
    return failure(os_error(-answer_, label_.name, label_.subject));
  } catch (...) {
    return failure(std::current_exception());
  }
}

}  // namespace weir::io
