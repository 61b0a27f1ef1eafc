#include <weir/sync/concurrency_limit.hpp>

#include <string>

namespace weir::sync {

std::size_t detail::checked_limit(std::size_t limit, const char* what) {
  if (limit == 0) throw error(errc::err_out_of_range, std::string(what) + ": the limit must be at least 1");
  return limit;
}

concurrency_limit::concurrency_limit(std::size_t limit, concurrency_limit_options options)
    : limit_(detail::checked_limit(limit, "concurrency_limit")), options_(options), permits_(limit, limit) {}

concurrency_limit::waiting_room::waiting_room(concurrency_limit& of) : of_(of) {
  if (of.waiting_.fetch_add(1, std::memory_order_relaxed) < of.options_.max_waiting) return;
  of.waiting_.fetch_sub(1, std::memory_order_relaxed);
  throw error(errc::err_queue_full, "concurrency_limit: " + std::to_string(of.options_.max_waiting) + " wait already");
}

}  // namespace weir::sync
