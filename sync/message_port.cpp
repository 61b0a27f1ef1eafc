#include <weir/sync/message_port.hpp>

#include <fmt/format.h>

namespace weir::sync::detail {

lane_base::lane_base(std::size_t limit) : capacity(limit) {
  if (limit == 0) throw error(errc::err_out_of_range, "message_channel: the capacity must be at least 1");
}

void lane_base::wake(weir::detail::waiter* who) noexcept {
  if (who != nullptr) weir::detail::wake(*who->who);
}

void lane_base::close() noexcept {
  weir::detail::waiter_list ended[2];
  {
    weir::detail::spin_guard guard(lock);
    is_closed = true;
    ended[0] = receivers.take();
    ended[1] = senders.take();
  }
  for (auto& list : ended) weir::detail::wake_all(list);
}

bool lane_base::closed() const noexcept {
  weir::detail::spin_guard guard(lock);
  return is_closed;
}

void throw_line_full(std::size_t capacity) {
  throw error(errc::err_queue_full, fmt::format("message_port: {} messages wait already", capacity));
}

void throw_port_transferred() { throw error(errc::err_invalid_state, "message_port: the port has been transferred"); }

scope& scope_for_messages() {
  auto* running = weir::detail::current_execution();
  if (running == nullptr) {
    throw error(errc::err_invalid_state, "on_message: no weir runtime runs on this thread");
  }
  return *running->owner->enclosing_scope();
}

}  // namespace weir::sync::detail
