#include <weir/sync/resource_pool.hpp>

#include <weir/sync/clock.hpp>

#include <string>

namespace weir::sync::detail {

using std::chrono::nanoseconds;

namespace {

pool_limits checked(pool_limits given) {
  auto check = [](bool good, const char* what) {
    if (!good) throw error(errc::err_out_of_range, std::string("resource_pool: ") + what);
  };
  check(given.max != 0, "there must be room for at least 1 resource");
  check(given.max <= semaphore::max_permits / 2, "so many resources cannot be counted");
  check(given.min <= given.max, "min must not exceed max");
  for (auto time : {given.acquire_timeout, given.idle_timeout, given.max_lifetime, given.validate_after}) {
    check(time >= nanoseconds(0), "a time must not be negative");
  }
  check(given.maintain_every >= std::chrono::milliseconds(1), "maintain_every must be at least 1 ms");
  return given;
}

}  // namespace

pool_book::pool_book(const pool_limits& given) : limits(checked(given)) {}

void pool_book::note_made(resource_times& times) noexcept { times.made = times.returned = clock_here(); }
void pool_book::note_returned(resource_times& times) noexcept { times.returned = clock_here(); }

bool pool_book::too_old(const resource_times& times) const noexcept {
  return limits.max_lifetime != nanoseconds(0) && clock_here() - times.made >= limits.max_lifetime;
}

bool pool_book::idle_too_long(const resource_times& times) const noexcept {
  return limits.idle_timeout != nanoseconds(0) && clock_here() - times.returned >= limits.idle_timeout;
}

bool pool_book::needs_validation(const resource_times& times) const noexcept {
  return limits.validate_after == nanoseconds(0) || clock_here() - times.returned >= limits.validate_after;
}

void pool_book::check_open() const {
  if (figures.closed) throw error(errc::err_closed, "resource_pool: the pool is closed");
}

void pool_book::check_queue() const {
  if (figures.waiting < limits.max_waiting) return;
  throw error(errc::err_queue_full, "resource_pool: " + std::to_string(figures.waiting) + " wait already");
}

void pool_book::throw_timed_out() const {
  auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(limits.acquire_timeout).count();
  throw error(errc::err_timeout, "resource_pool: no resource was to be had within " + std::to_string(waited) + " ms");
}

void open_gate(semaphore& permits, const pool_limits& limits) noexcept {
  permits.release(semaphore::max_permits - limits.max);
}

}  // namespace weir::sync::detail
