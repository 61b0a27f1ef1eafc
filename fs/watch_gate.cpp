#include <weir/fs/watch_gate.hpp>

#include <weir/core/time.hpp>
#include <weir/io/operation.hpp>

#include <poll.h>

#include <algorithm>

namespace weir::fs::detail {
namespace {

task<> readable_or_never(int fd) {
  if (fd < 0) co_await sleep(std::chrono::hours(24 * 365));
  if (fd >= 0) co_await io::poll(fd, POLLIN);
}

std::chrono::nanoseconds left_until(std::optional<watch_gate::time_point> until) {
  if (!until) return std::chrono::nanoseconds::max();
  return std::max(*until - weir::detail::clock_here(), std::chrono::nanoseconds(0));
}

}  // namespace

bool watch_gate::enter() {
  const std::lock_guard guard(lock_);
  if (closed_) return false;
  if (inside_) throw error(errc::err_invalid_state, "Invalid state: the next event is awaited already");
  inside_ = true;
  return true;
}

bool watch_gate::leave() noexcept {
  const std::lock_guard guard(lock_);
  inside_ = false;
  return closed_;
}

bool watch_gate::close() noexcept {
  {
    const std::lock_guard guard(lock_);
    if (std::exchange(closed_, true)) return false;
    if (!inside_) return true;
  }
  wake();
  return false;
}

bool watch_gate::closed() const noexcept {
  const std::lock_guard guard(lock_);
  return closed_;
}

void watch_gate::wake() noexcept {
  std::optional<abort_controller> waiting;
  {
    const std::lock_guard guard(lock_);
    woken_ = true;
    waiting = waiting_;
  }
  if (waiting) waiting->abort();
}

bool watch_gate::begin_wait() {
  const std::lock_guard guard(lock_);
  if (std::exchange(woken_, false) || closed_) return false;
  waiting_.emplace();
  return true;
}

task<> watch_gate::wait(int fd, std::optional<time_point> until) {
  if (!begin_wait()) co_return;
  weir::detail::bounded_awaiter<void> bounded(left_until(until), waiting_->signal(), readable_or_never(fd));
  const auto outcome = co_await attempt(std::move(bounded));
  {
    const std::lock_guard guard(lock_);
    waiting_.reset();
    woken_ = false;
  }
  if (!outcome && (co_await weir::detail::this_fiber{}).must_stop()) throw cancelled();
  if (!outcome && !outcome.failure().is_cancelled() && !outcome.failure().is("ETIMEDOUT")) outcome.failure().rethrow();
}

}  // namespace weir::fs::detail
