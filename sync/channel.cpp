#include <weir/sync/channel.hpp>

#include <weir/sync/wait_queue.hpp>

namespace weir::sync::detail {

channel_base::~channel_base() {
  if (!senders_.empty() || !receivers_.empty() || !watchers_.empty()) destroyed_in_use("channel");
}

// Whoever is woken may destroy the channel: everybody is taken out under the lock and woken after it.
void channel_base::close() noexcept {
  claimed_line receivers;
  claimed_line senders;
  claimed_line watchers;
  {
    spin_guard guard(lock_);
    if (closed_) return;
    closed_ = true;
    receivers.take(receivers_, [](place&) {});  // the channel is empty, or nobody would wait
    senders.take(senders_, [](place& p) { static_cast<send_arm&>(p).how = ending::closed; });
    watchers.take(watchers_, [](place&) {});
  }
  receivers.wake();
  senders.wake();
  watchers.wake();
}

void throw_not_sent(const send_arm& attempt) { why_not_sent(attempt).rethrow(); }

failure why_not_sent(const send_arm& attempt) noexcept {
  if (attempt.stopped) return cancelled();
  if (attempt.how == ending::no_memory) return failure(std::make_exception_ptr(std::bad_alloc()));
  return error(errc::err_closed, "channel: send on a closed channel");
}

}  // namespace weir::sync::detail
