#include <weir/sync/batcher.hpp>

#include <weir/core/loop.hpp>
#include <weir/core/time.hpp>

namespace weir::sync::detail {
namespace {

std::size_t checked(std::size_t limit) {
  if (limit == 0) throw error(errc::err_out_of_range, "batcher: a limit must be at least 1");
  return limit;
}

}  // namespace

batch_timer::batch_timer(scope& home, const batch_options& options)
    : room(checked(options.max_pending)), home_(home), options_(options), running_(checked(options.max_running)) {
  checked(options.max_size);
  if (options.max_wait < std::chrono::nanoseconds(0)) {
    throw error(errc::err_out_of_range, "batcher: the wait must not be negative");
  }
}

bool batch_timer::flush_quietly() noexcept {
  try {
    return flush();
  } catch (...) {  // out of memory
    return false;
  }
}

void batch_timer::added() {
  if (gathered() >= options_.max_size) {
    flush();
  } else if (gathered() == 1) {
    waiting_.emplace(home_.spawn_local(wait_for_more, shared_from_this(), batch_));
  }
}

void batch_timer::stop_waiting() noexcept {
  ++batch_;
  if (waiting_) waiting_->cancel();
  waiting_.reset();
}

bool batch_timer::flush() {
  auto count = gathered();
  if (count == 0) return false;
  stop_waiting();
  static_cast<void>(home_.spawn_local(handle, shared_from_this(), count, take()));
  return true;
}

// Cancelled while its batch is still the one that is gathered: then it is the scope that was.
task<> batch_timer::wait_for_more(std::shared_ptr<batch_timer> self, std::uint64_t batch) {
  auto wait = self->options_.max_wait;
  auto waited = wait > std::chrono::nanoseconds(0) ? co_await attempt(sleep(wait)) : co_await attempt(microtask());
  if (waited && wait == std::chrono::nanoseconds(0)) waited = co_await attempt(next_tick());
  if (self->batch_ != batch) co_return;
  if (waited) {
    self->waiting_.reset();
    self->flush();
    co_return;
  }
  auto count = self->gathered();
  self->drop();
  self->stop_waiting();
  self->room.release(count);
}

task<> batch_timer::handle(std::shared_ptr<batch_timer> self, std::size_t count, task<> body) {
  struct at_end {
    semaphore& room;
    std::size_t count;
    ~at_end() { room.release(count); }
  } leave{self->room, count};
  auto turn = co_await self->running_.acquire(1);
  co_await std::move(body);
}

}  // namespace weir::sync::detail
