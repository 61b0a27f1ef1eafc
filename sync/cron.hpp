// sync/cron.hpp: cron expressions: which moments they name, forwards and backwards, in any time zone. Rests on
// time_zone only; computes, and waits for nothing. The scheduler runs jobs by them.
//
// Fields, separated by blanks: [second] minute hour day-of-month month day-of-week. Five fields mean second 0.
//   second, minute 0-59, hour 0-23, day-of-month 1-31, month 1-12 or JAN-DEC, day-of-week 0-7 or SUN-SAT (0 and 7:
//   Sunday)
//   *  all        a,b  either        a-b  from a to b; b before a goes round (22-2, FRI-MON)
//   */n, a-b/n  every n-th from the first of the range (day */2: 1, 3, 5...)        a/n  the same from a to the end
//   day-of-month: L the last day, L-n the n-th before it, nW the weekday (Monday to Friday) nearest to n in the same
//                 month, LW the last weekday; day-of-week: d#n the n-th d of the month, dL the last; ? in either: *
// Or one of @yearly (@annually), @monthly, @weekly, @daily (@midnight), @hourly, and @reboot, which names no moment.
//
// Days, as in Vixie cron: if both day fields are restricted (neither begins with * or ?), a day that fits either is
// named; else it has to fit both.
//
// Daylight saving, as in Vixie cron. If neither the minute nor the hour field begins with *, a job is meant for times
// of the clock: one that the clock skips is moved to the moment right after the gap (once, however many were skipped),
// one that comes twice is named the first time only. Otherwise it is meant for intervals: it is named whenever the
// clock shows it, so both times, and never in a gap.
#pragma once

#include <weir/core/result.hpp>
#include <weir/sync/time_zone.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::sync {

/// A parsed expression. A value: cheap to copy, never empty.
class cron_expression {
 public:
  /// @throws weir::error ERR_INVALID_ARG_VALUE with a message that names the field and what is wrong with it
  explicit cron_expression(std::string_view text);
  static result<cron_expression> parse(std::string_view text);

  /// The first moment after `after` (never equal to it), or nothing if there is none: @reboot, the 30th of February.
  std::optional<sys_seconds> next(sys_seconds after, const time_zone& zone = {}) const;

  /// The last moment before `before`.
  std::optional<sys_seconds> previous(sys_seconds before, const time_zone& zone = {}) const;

  /// True if the clock of the zone shows, at that second, a time that the fields name. Takes no account of gaps.
  bool matches(sys_seconds when, const time_zone& zone = {}) const noexcept;

  bool is_reboot() const noexcept { return reboot_; }
  const std::string& text() const noexcept { return text_; }  ///< as it was given

 private:
  class parser;
  cron_expression() = default;

  bool names_day(std::chrono::local_days day) const noexcept;
  bool names_day_of_month(const std::chrono::year_month_day& date) const noexcept;
  bool names_weekday(const std::chrono::year_month_day& date, std::chrono::weekday day) const noexcept;
  std::optional<local_seconds> at_or_after(local_seconds from) const noexcept;
  std::optional<local_seconds> at_or_before(local_seconds from) const noexcept;
  std::optional<std::chrono::seconds> time_at_or_after(std::chrono::seconds from) const noexcept;
  std::optional<std::chrono::seconds> time_at_or_before(std::chrono::seconds from) const noexcept;
  std::optional<sys_seconds> next_of_clock(sys_seconds after, const time_zone& zone) const;
  std::optional<sys_seconds> next_of_interval(sys_seconds after, const time_zone& zone) const;
  std::optional<sys_seconds> previous_of_clock(sys_seconds before, const time_zone& zone) const;
  std::optional<sys_seconds> previous_of_interval(sys_seconds before, const time_zone& zone) const;

  std::string text_;
  std::uint64_t seconds_ = 0, minutes_ = 0;
  std::uint32_t hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;
  std::uint32_t before_last_ = 0;      // bit n: the n-th day before the last of the month
  std::uint32_t nearest_ = 0;          // bit n: the weekday nearest to n
  std::array<std::uint8_t, 7> nth_{};  // by weekday: bit n: its n-th of the month; bit 0: its last
  bool last_weekday_ = false;          // LW
  bool both_days_ = true;              // a day has to fit both fields
  bool interval_ = false;
  bool reboot_ = false;
};

}  // namespace weir::sync
