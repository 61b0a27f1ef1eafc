#include <weir/sync/rate_limiter.hpp>

#include <weir/sync/clock.hpp>

#include <algorithm>

namespace weir::sync {

using std::chrono::nanoseconds;

namespace detail {

void check_permits(std::size_t n, std::size_t most) {
  if (n == 0) throw error(errc::err_out_of_range, "rate limiter: a number must be at least 1");
  if (n > most) throw error(errc::err_out_of_range, "rate limiter: more permits than there can ever be");
}

waiting_room::waiting_room(std::atomic<std::size_t>& waiting, std::size_t most) : waiting_(waiting) {
  if (waiting.fetch_add(1, std::memory_order_relaxed) < most) return;
  waiting.fetch_sub(1, std::memory_order_relaxed);
  throw error(errc::err_queue_full, "rate limiter: too many wait already");
}

}  // namespace detail

namespace {

// Products of permits and nanoseconds are computed in 64 bits, twice as much added up.
void check(std::size_t permits, nanoseconds time) {
  constexpr std::uint64_t most = std::uint64_t{1} << 61;
  if (permits == 0) throw error(errc::err_out_of_range, "rate limiter: the limit must be at least 1");
  if (time <= nanoseconds(0)) throw error(errc::err_out_of_range, "rate limiter: the time must be positive");
  if (permits > most / static_cast<std::uint64_t>(time.count())) {
    throw error(errc::err_out_of_range, "rate limiter: the limit is too large for this time");
  }
}

// A task that waits for its permit comes this much too late at most: timers have whole milliseconds.
constexpr nanoseconds lateness = std::chrono::milliseconds(2);

std::uint64_t ticks(nanoseconds time) noexcept { return static_cast<std::uint64_t>(time.count()); }
nanoseconds from_ticks(std::uint64_t count) noexcept { return nanoseconds(static_cast<std::int64_t>(count)); }

std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) noexcept { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

fixed_window::fixed_window(const options& o) : options_(o) { check(o.limit, o.window); }

bool fixed_window::idle(const state& s, rate_clock now) const noexcept {
  return s.count == 0 || now - s.start >= options_.window;
}

rate_decision fixed_window::look(const state& s, std::size_t n, rate_clock now) const noexcept {
  bool fresh = idle(s, now);
  std::uint64_t used = fresh ? 0 : std::min<std::uint64_t>(s.count, options_.limit);
  rate_decision d{.allowed = n <= options_.limit - used, .limit = options_.limit, .remaining = options_.limit - used};
  d.reset_after = fresh ? nanoseconds(0) : s.start + options_.window - now;
  if (!d.allowed) d.retry_after = d.reset_after;
  return d;
}

rate_decision fixed_window::take(state& s, std::size_t n, rate_clock now) const noexcept {
  if (idle(s, now)) s = {.start = now};
  auto d = look(s, n, now);
  if (d.allowed || options_.count_refused) s.count += n;
  if (d.allowed) d.remaining -= n;
  d.reset_after = s.start + options_.window - now;
  if (!d.allowed && options_.count_refused) d.remaining = options_.limit - std::min<std::uint64_t>(s.count, d.limit);
  return d;
}

sliding_log::sliding_log(const options& o) : options_(o) { check(o.limit, o.window); }

bool sliding_log::idle(const state& s, rate_clock now) const noexcept {
  return s.times.empty() || now - s.times.back() >= options_.window;
}

rate_decision sliding_log::look(const state& s, std::size_t n, rate_clock now) const noexcept {
  auto living =
      std::partition_point(s.times.begin(), s.times.end(), [&](rate_clock t) { return now - t >= options_.window; });
  auto used = static_cast<std::size_t>(s.times.end() - living);
  std::size_t free = options_.limit - used;
  rate_decision d{.allowed = n <= free, .limit = options_.limit, .remaining = free};
  if (used != 0) d.reset_after = s.times.back() + options_.window - now;
  if (!d.allowed) d.retry_after = living[static_cast<std::ptrdiff_t>(n - free - 1)] + options_.window - now;
  return d;
}

rate_decision sliding_log::take(state& s, std::size_t n, rate_clock now) const {
  while (!s.times.empty() && now - s.times.front() >= options_.window) s.times.pop_front();
  auto d = look(s, n, now);
  if (!d.allowed) return d;
  s.times.insert(s.times.end(), n, now);
  d.remaining -= n;
  d.reset_after = options_.window;
  return d;
}

sliding_counter::sliding_counter(const options& o) : options_(o) { check(o.limit, o.window); }

bool sliding_counter::idle(const state& s, rate_clock now) const noexcept {
  auto then = advanced(s, now);
  return then.count == 0 && then.before == 0;
}

sliding_counter::state sliding_counter::advanced(state s, rate_clock now) const noexcept {
  if (s.count == 0 && s.before == 0) return {.start = now};
  auto passed = (now - s.start) / options_.window;
  if (passed <= 0) return s;
  if (passed > 1) return {.start = now};
  return {.start = s.start + options_.window, .count = 0, .before = s.count};
}

// As long as `n` permits are too many: until enough of the window before has gone by, or of this one in the next.
nanoseconds sliding_counter::wait_for(const state& s, std::size_t n, rate_clock now) const noexcept {
  auto window = ticks(options_.window);
  auto elapsed = ticks(now - s.start);
  auto needed = [&](std::uint64_t counted, std::uint64_t room) {
    return window - std::min(window, room * window / counted);  // the share of the older window that must have gone
  };
  if (s.count + n <= options_.limit) {
    if (s.before == 0) return nanoseconds(0);
    auto at = needed(s.before, options_.limit - s.count - n);
    return from_ticks(at > elapsed ? at - elapsed : 0);
  }
  return from_ticks(window - elapsed + needed(std::min<std::uint64_t>(s.count, options_.limit), options_.limit - n));
}

rate_decision sliding_counter::look(const state& s, std::size_t n, rate_clock now) const noexcept {
  auto seen = advanced(s, now);
  auto window = ticks(options_.window);
  auto left = window - ticks(now - seen.start);
  auto old = divide_up(std::min<std::uint64_t>(seen.before, options_.limit) * left, window);
  auto used = std::min<std::uint64_t>(old + seen.count, options_.limit);
  seen.before = std::min<std::uint64_t>(seen.before, options_.limit);
  rate_decision d{.allowed = n + used <= options_.limit, .limit = options_.limit, .remaining = options_.limit - used};
  if (seen.count != 0) {
    d.reset_after = from_ticks(left + window);
  } else if (seen.before != 0) {
    d.reset_after = from_ticks(left);
  }
  if (!d.allowed) d.retry_after = std::max(wait_for(seen, n, now), nanoseconds(1));
  return d;
}

rate_decision sliding_counter::take(state& s, std::size_t n, rate_clock now) const noexcept {
  s = advanced(s, now);
  auto d = look(s, n, now);
  if (!d.allowed && !options_.count_refused) return d;
  s.count = std::min<std::uint64_t>(s.count + n, 2 * options_.limit);
  auto after = look(s, 1, now);
  d.remaining = after.remaining;
  d.reset_after = after.reset_after;
  if (!d.allowed) d.retry_after = look(s, n, now).retry_after;
  return d;
}

// The product wraps around where the checks fail, and nobody sees it.
token_bucket::token_bucket(const token_bucket_options& o)
    : options_(o), full_(o.capacity * ticks(o.interval)), origin_(detail::clock_here()) {
  check(o.capacity, o.interval);
  check(o.refill, o.interval);
}

std::int64_t token_bucket::step_of(rate_clock t) const noexcept { return (t - origin_) / options_.interval; }

std::uint64_t token_bucket::missing(const state& s, rate_clock now) const noexcept {
  if (s.missing == 0 || now <= s.at) return s.missing;
  auto time = ticks(now - s.at);
  if (options_.in_steps) time = static_cast<std::uint64_t>(step_of(now) - step_of(s.at)) * ticks(options_.interval);
  if (time >= divide_up(s.missing, options_.refill)) return 0;
  return s.missing - time * options_.refill;
}

nanoseconds token_bucket::until_gained(std::uint64_t amount, rate_clock now) const noexcept {
  if (amount == 0) return nanoseconds(0);
  if (!options_.in_steps) return from_ticks(divide_up(amount, options_.refill));
  auto steps = divide_up(amount, options_.refill * ticks(options_.interval));
  return origin_ + options_.interval * (step_of(now) + static_cast<std::int64_t>(steps)) - now;
}

bool token_bucket::idle(const state& s, rate_clock now) const noexcept { return missing(s, now) == 0; }

rate_decision token_bucket::look(const state& s, std::size_t n, rate_clock now) const noexcept {
  auto lacks = missing(s, now);
  auto has = full_ - lacks;
  auto wanted = n * ticks(options_.interval);
  rate_decision d{.allowed = n <= options_.capacity && wanted <= has, .limit = options_.capacity};
  d.remaining = static_cast<std::size_t>(has / ticks(options_.interval));
  d.reset_after = until_gained(lacks, now);
  if (!d.allowed) d.retry_after = until_gained(wanted - has, now);
  return d;
}

rate_decision token_bucket::take(state& s, std::size_t n, rate_clock now) const noexcept {
  auto d = look(s, n, now);
  s = {.at = now, .missing = missing(s, now)};
  if (!d.allowed) return d;
  s.missing += n * ticks(options_.interval);
  d.remaining -= n;
  d.reset_after = until_gained(s.missing, now);
  return d;
}

leaky_bucket::leaky_bucket(const leaky_bucket_options& o) : options_(o) {
  check(o.rate, o.interval);
  spacing_ = o.interval / static_cast<std::int64_t>(o.rate);
  if (spacing_ == nanoseconds(0)) throw error(errc::err_out_of_range, "leaky bucket: more than one permit per ns");
}

bool leaky_bucket::idle(const state& s, rate_clock now) const noexcept { return s.free_at <= now; }

rate_decision leaky_bucket::look(const state& s, std::size_t, rate_clock now) const noexcept {
  rate_decision d{.allowed = idle(s, now), .limit = options_.rate};
  d.remaining = d.allowed ? 1 : 0;
  if (!d.allowed) d.retry_after = d.reset_after = s.free_at - now;
  return d;
}

rate_decision leaky_bucket::take(state& s, std::size_t n, rate_clock now) const noexcept {
  auto d = look(s, n, now);
  if (!d.allowed) return d;
  bool late = now - s.free_at <= lateness;
  s.free_at = (late ? s.free_at : now) + spacing_ * static_cast<std::int64_t>(n);
  d.remaining = 0;
  d.reset_after = std::max(s.free_at - now, nanoseconds(0));
  return d;
}

}  // namespace weir::sync
