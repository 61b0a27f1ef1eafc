#include <weir/sync/throttle.hpp>

#include <weir/sync/clock.hpp>

#include <algorithm>

namespace weir::sync::detail {

using std::chrono::nanoseconds;

edge_timer::edge_timer(nanoseconds wait, const debounce_options& options) : wait_(wait), options_(options) {
  if (wait < nanoseconds(0)) throw error(errc::err_out_of_range, "debounce: the wait must not be negative");
  if (options_.max_wait) options_.max_wait = std::max(*options_.max_wait, wait);
}

bool edge_timer::quiet(time_point now) const noexcept { return !last_asked_ || now - *last_asked_ >= wait_; }

bool edge_timer::overdue(time_point now) const noexcept {
  return options_.max_wait && now - last_called_ >= *options_.max_wait;
}

nanoseconds edge_timer::left(time_point now) const noexcept {
  auto quiet = wait_ - (now - *last_asked_);
  return options_.max_wait ? std::min(quiet, *options_.max_wait - (now - last_called_)) : quiet;
}

void edge_timer::arm(nanoseconds time) {
  timer_.clear();
  timer_ = set_timeout([this] { expired(); }, time);
}

bool edge_timer::begin(time_point now) {
  last_called_ = now;
  arm(wait_);
  return true;
}

bool edge_timer::asked() {
  auto now = clock_here();
  bool was_quiet = quiet(now);
  bool late = overdue(now);
  last_asked_ = now;
  if (timer_.active()) return ((was_quiet && options_.leading) || late) && begin(now);
  if (was_quiet || late) return begin(now) && options_.leading;
  arm(left(now));  // soon after the last call, or the scope of a waiting call has been cancelled
  return false;
}

void edge_timer::expired() {
  auto now = clock_here();
  if (!quiet(now) && !overdue(now)) return arm(left(now));
  last_called_ = now;
  if (owed()) return call();
  forget();
}

void edge_timer::cancel() noexcept {
  timer_.clear();
  last_asked_.reset();
  forget();
}

bool edge_timer::stop() noexcept {
  if (!timer_.active()) return false;
  timer_.clear();
  last_called_ = clock_here();
  return true;
}

}  // namespace weir::sync::detail
