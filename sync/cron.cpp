#include <weir/sync/cron.hpp>

#include <weir/core/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <span>
#include <vector>

namespace weir::sync {

using std::chrono::days;
using std::chrono::local_days;
using std::chrono::seconds;
using std::chrono::weekday;
using std::chrono::year_month_day;

namespace {

// The calendar repeats after 400 years; the search ends a little later.
constexpr auto horizon = days(146'097 + 400);
// Moments beyond these years are not asked about.
constexpr auto earliest = sys_seconds(seconds(-(std::int64_t{1} << 38)));
constexpr auto latest = sys_seconds(seconds(std::int64_t{1} << 38));

constexpr std::size_t longest_text = 1024;

struct field_kind {
  std::string_view name;
  unsigned least, most;
  std::span<const std::string_view> words = {};  // for `least`, `least` + 1...
};

constexpr std::array<std::string_view, 12> month_words{"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                       "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<std::string_view, 7> day_words{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

constexpr field_kind second_field{"second", 0, 59};
constexpr field_kind minute_field{"minute", 0, 59};
constexpr field_kind hour_field{"hour", 0, 23};
constexpr field_kind day_field{"day-of-month", 1, 31};
constexpr field_kind month_field{"month", 1, 12, month_words};
constexpr field_kind weekday_field{"day-of-week", 0, 7, day_words};

struct macro {
  std::string_view name, meaning;
};
constexpr std::array<macro, 7> macros{{{"@yearly", "0 0 1 1 *"},
                                       {"@annually", "0 0 1 1 *"},
                                       {"@monthly", "0 0 1 * *"},
                                       {"@weekly", "0 0 * * 0"},
                                       {"@daily", "0 0 * * *"},
                                       {"@midnight", "0 0 * * *"},
                                       {"@hourly", "0 * * * *"}}};

char upper(char c) noexcept { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool same_word(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return upper(x) == upper(y); });
}

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::vector<std::string_view> split(std::string_view text, std::string_view separators, bool keep_empty) {
  std::vector<std::string_view> parts;
  while (true) {
    auto end = text.find_first_of(separators);
    auto part = text.substr(0, end);
    if (keep_empty || !part.empty()) parts.push_back(part);
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

template <class Set>
bool has(Set set, unsigned n) noexcept {
  return ((set >> n) & 1U) != 0;
}

// The first member that is at least `from`, or -1; the last that is at most `from`, or -1.
int first_from(std::uint64_t set, unsigned from) noexcept {
  auto rest = from > 63 ? 0 : set & (~std::uint64_t{0} << from);
  return rest == 0 ? -1 : std::countr_zero(rest);
}
int last_until(std::uint64_t set, unsigned from) noexcept {
  auto rest = from >= 63 ? set : set & ((std::uint64_t{2} << from) - 1);
  return rest == 0 ? -1 : 63 - std::countl_zero(rest);
}

year_month_day date_of(local_days day) noexcept { return year_month_day(day); }

unsigned last_day_of(const year_month_day& date) noexcept {
  return static_cast<unsigned>((date.year() / date.month() / std::chrono::last).day());
}

bool is_workday(weekday day) noexcept { return day != std::chrono::Saturday && day != std::chrono::Sunday; }

// The Monday to Friday nearest to day `n` of the month of `date`, without leaving the month.
unsigned nearest_workday(const year_month_day& date, unsigned n) noexcept {
  auto last = last_day_of(date);
  n = std::min(n, last);
  auto day = weekday(local_days(date.year() / date.month() / std::chrono::day(n)));
  if (day == std::chrono::Saturday) return n > 1 ? n - 1 : n + 2;
  if (day == std::chrono::Sunday) return n < last ? n + 1 : n - 2;
  return n;
}

}  // namespace

class cron_expression::parser {
 public:
  explicit parser(std::string_view text) : text_(text) {}

  cron_expression parse() {
    if (text_.size() > longest_text) fail("is longer than 1024 characters");
    auto trimmed = split(text_, " \t", false);
    made_.text_ = text_;
    if (trimmed.size() == 1 && trimmed.front().front() == '@') return by_macro(trimmed.front());
    read(trimmed);
    return std::move(made_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw error(errc::err_invalid_arg_value, fmt::format("cron expression '{}' {}", text_.substr(0, 120), what));
  }
  [[noreturn]] void fail(const field_kind& field, std::string_view part, std::string_view what) const {
    fail(fmt::format("has a bad {} field: '{}' {}", field.name, part, what));
  }

  cron_expression by_macro(std::string_view name) {
    if (same_word(name, "@reboot")) {
      made_.reboot_ = true;
      return std::move(made_);
    }
    for (const auto& each : macros) {
      if (!same_word(name, each.name)) continue;
      read(split(each.meaning, " ", false));
      return std::move(made_);
    }
    fail("is no macro that is known");
  }

  void read(const std::vector<std::string_view>& fields) {
    if (fields.size() != 5 && fields.size() != 6) {
      fail(fmt::format("has {} fields; it needs 5, or 6 with seconds first", fields.size()));
    }
    std::size_t at = 0;
    made_.seconds_ = fields.size() == 6 ? plain(second_field, fields[at++]) : 1;
    auto minute = fields[at], hour = fields[at + 1], day = fields[at + 2], month = fields[at + 3],
         week = fields[at + 4];
    made_.minutes_ = plain(minute_field, minute);
    made_.hours_ = static_cast<std::uint32_t>(plain(hour_field, hour));
    for (auto part : split(day, ",", true)) day_part(part);
    made_.months_ = static_cast<std::uint32_t>(plain(month_field, month));
    for (auto part : split(week, ",", true)) weekday_part(part);
    auto open = [](std::string_view field) { return field.front() == '*' || field.front() == '?'; };
    made_.both_days_ = open(day) || open(week);
    made_.interval_ = minute.front() == '*' || hour.front() == '*';
  }

  std::uint64_t plain(const field_kind& field, std::string_view text) {
    std::uint64_t set = 0;
    for (auto part : split(text, ",", true)) set |= range(field, part);
    return set;
  }

  unsigned number(const field_kind& field, std::string_view part, std::string_view text) const {
    unsigned value = 0;
    if (text.empty()) fail(field, part, "lacks a number");
    if (!is_digit(text.front())) return word(field, part, text);
    for (char c : text) {
      if (!is_digit(c)) fail(field, part, "is no number, name, range or step");
      value = value * 10 + static_cast<unsigned>(c - '0');
      if (value > 9999) break;
    }
    if (value < field.least || value > field.most) {
      fail(field, part, fmt::format("is out of range: {} to {}", field.least, field.most));
    }
    return value;
  }

  unsigned word(const field_kind& field, std::string_view part, std::string_view text) const {
    for (std::size_t i = 0; i < field.words.size(); ++i) {
      if (same_word(text, field.words[i])) return field.least + static_cast<unsigned>(i);
    }
    fail(field, part, "is no number, name, range or step");
  }

  // One of a list: *, a, a-b, each with /n.
  std::uint64_t range(const field_kind& field, std::string_view part) const {
    auto slash = part.find('/');
    auto body = part.substr(0, slash);
    unsigned step = 1;
    bool stepped = slash != std::string_view::npos;
    if (stepped) step = step_of(field, part, part.substr(slash + 1));
    auto first = field.least, last = field.most;
    if (body == "*") {
      if (field.most == 7) last = 6;
    } else if (auto dash = body.find('-'); dash != std::string_view::npos) {
      first = number(field, part, body.substr(0, dash));
      last = number(field, part, body.substr(dash + 1));
    } else {
      first = number(field, part, body);
      if (!stepped) last = first;
    }
    return members(field, first, last, step);
  }

  unsigned step_of(const field_kind& field, std::string_view part, std::string_view text) const {
    unsigned step = 0;
    for (char c : text) {
      if (!is_digit(c)) fail(field, part, "has a step that is no number");
      step = std::min(step * 10 + static_cast<unsigned>(c - '0'), 1000U);
    }
    if (step == 0) fail(field, part, "has no step of at least 1");
    return step;
  }

  static std::uint64_t members(const field_kind& field, unsigned first, unsigned last, unsigned step) noexcept {
    // Day-of-week has Sunday twice, so its circle is one shorter than its range.
    unsigned circle = field.most == 7 ? 7 : field.most - field.least + 1;
    if (last < first) last += circle;
    std::uint64_t set = 0;
    for (auto n = first; n <= last; n += step) set |= std::uint64_t{1} << ((n - field.least) % circle + field.least);
    return set;
  }

  void day_part(std::string_view part) {
    if (part == "?") part = "*";
    if (same_word(part, "L")) {
      made_.before_last_ |= 1;
    } else if (same_word(part, "LW")) {
      made_.last_weekday_ = true;
    } else if (part.size() > 2 && same_word(part.substr(0, 2), "L-")) {
      static constexpr field_kind before{"day-of-month", 0, 30};
      made_.before_last_ |= 1U << number(before, part, part.substr(2));
    } else if (part.size() > 1 && upper(part.back()) == 'W') {
      made_.nearest_ |= 1U << number(day_field, part, part.substr(0, part.size() - 1));
    } else {
      made_.days_ |= static_cast<std::uint32_t>(range(day_field, part));
    }
  }

  void weekday_part(std::string_view part) {
    if (part == "?") part = "*";
    if (auto hash = part.find('#'); hash != std::string_view::npos) {
      static constexpr field_kind nth{"day-of-week", 1, 5};
      auto day = number(weekday_field, part, part.substr(0, hash)) % 7;
      made_.nth_[day] |= static_cast<std::uint8_t>(1U << number(nth, part, part.substr(hash + 1)));
    } else if (part.size() > 1 && upper(part.back()) == 'L') {
      made_.nth_[number(weekday_field, part, part.substr(0, part.size() - 1)) % 7] |= 1;
    } else {
      made_.weekdays_ |= static_cast<std::uint32_t>(range(weekday_field, part));
    }
  }

  std::string_view text_;
  cron_expression made_;
};

cron_expression::cron_expression(std::string_view text) : cron_expression(parser(text).parse()) {}

result<cron_expression> cron_expression::parse(std::string_view text) {
  try {
    return parser(text).parse();
  } catch (...) {
    return failure(std::current_exception());
  }
}

bool cron_expression::names_day_of_month(const year_month_day& date) const noexcept {
  auto n = static_cast<unsigned>(date.day());
  if (has(days_, n)) return true;
  auto last = last_day_of(date);
  if (has(before_last_, last - n)) return true;
  if (last_weekday_ && nearest_workday(date, last) == n) return true;
  if (nearest_ == 0 || !is_workday(weekday(local_days(date)))) return false;
  for (auto set = nearest_; set != 0; set &= set - 1) {
    auto wanted = static_cast<unsigned>(std::countr_zero(set));
    if (wanted <= last && nearest_workday(date, wanted) == n) return true;
  }
  return false;
}

bool cron_expression::names_weekday(const year_month_day& date, weekday day) const noexcept {
  auto which = day.c_encoding();
  if (has(weekdays_, which)) return true;
  if (nth_[which] == 0) return false;
  auto n = static_cast<unsigned>(date.day());
  if (has(nth_[which], (n - 1) / 7 + 1)) return true;
  return has(nth_[which], 0) && n + 7 > last_day_of(date);
}

bool cron_expression::names_day(local_days day) const noexcept {
  auto date = date_of(day);
  if (!has(months_, static_cast<unsigned>(date.month()))) return false;
  bool of_month = names_day_of_month(date);
  bool of_week = names_weekday(date, weekday(day));
  return both_days_ ? of_month && of_week : of_month || of_week;
}

std::optional<seconds> cron_expression::time_at_or_after(seconds from) const noexcept {
  auto hour = static_cast<unsigned>(from.count() / 3600);
  auto minute = static_cast<unsigned>(from.count() / 60 % 60);
  auto second = static_cast<unsigned>(from.count() % 60);
  int s = has(hours_, hour) && has(minutes_, minute) ? first_from(seconds_, second) : -1;
  if (s >= 0) return seconds(hour * 3600 + minute * 60 + static_cast<unsigned>(s));
  s = first_from(seconds_, 0);
  int m = has(hours_, hour) ? first_from(minutes_, minute + 1) : -1;
  if (m >= 0) return seconds(static_cast<int>(hour) * 3600 + m * 60 + s);
  int h = first_from(hours_, hour + 1);
  if (h < 0) return std::nullopt;
  return seconds(h * 3600 + first_from(minutes_, 0) * 60 + s);
}

std::optional<seconds> cron_expression::time_at_or_before(seconds from) const noexcept {
  auto hour = static_cast<unsigned>(from.count() / 3600);
  auto minute = static_cast<unsigned>(from.count() / 60 % 60);
  auto second = static_cast<unsigned>(from.count() % 60);
  int s = has(hours_, hour) && has(minutes_, minute) ? last_until(seconds_, second) : -1;
  if (s >= 0) return seconds(hour * 3600 + minute * 60 + static_cast<unsigned>(s));
  s = last_until(seconds_, 59);
  int m = has(hours_, hour) && minute > 0 ? last_until(minutes_, minute - 1) : -1;
  if (m >= 0) return seconds(static_cast<int>(hour) * 3600 + m * 60 + s);
  int h = hour > 0 ? last_until(hours_, hour - 1) : -1;
  if (h < 0) return std::nullopt;
  return seconds(h * 3600 + last_until(minutes_, 59) * 60 + s);
}

std::optional<local_seconds> cron_expression::at_or_after(local_seconds from) const noexcept {
  auto day = std::chrono::floor<days>(from);
  auto end = day + horizon;
  auto time = from - day;
  for (; day < end; time = seconds(0)) {
    if (names_day(day)) {
      if (auto found = time_at_or_after(time)) return day + *found;
    }
    auto date = date_of(day);
    if (has(months_, static_cast<unsigned>(date.month()))) {
      day += days(1);
    } else {
      day = local_days(date.year() / date.month() / std::chrono::last) + days(1);
    }
  }
  return std::nullopt;
}

std::optional<local_seconds> cron_expression::at_or_before(local_seconds from) const noexcept {
  auto day = std::chrono::floor<days>(from);
  auto end = day - horizon;
  auto time = from - day;
  for (; day > end; time = seconds(86'399)) {
    if (names_day(day)) {
      if (auto found = time_at_or_before(time)) return day + *found;
    }
    auto date = date_of(day);
    if (has(months_, static_cast<unsigned>(date.month()))) {
      day -= days(1);
    } else {
      day = local_days(date.year() / date.month() / std::chrono::day(1)) - days(1);
    }
  }
  return std::nullopt;
}

// Times of the clock, in its order, stand for moments in order as well: a gap's times all for its end.
std::optional<sys_seconds> cron_expression::next_of_clock(sys_seconds after, const time_zone& zone) const {
  auto from = zone.to_local(after) + seconds(1);
  while (auto local = at_or_after(from)) {
    auto when = zone.to_sys(*local).first;
    if (when > after) return when;
    from = *local + seconds(1);
  }
  return std::nullopt;
}

std::optional<sys_seconds> cron_expression::next_of_interval(sys_seconds after, const time_zone& zone) const {
  auto from = after + seconds(1);
  for (auto limit = after + horizon; from < limit;) {
    auto period = zone.at(from);
    auto local = at_or_after(local_seconds(from.time_since_epoch() + period.offset));
    if (!local) return std::nullopt;
    auto when = sys_seconds(local->time_since_epoch() - period.offset);
    if (when < period.end) return when;
    from = period.end;
  }
  return std::nullopt;
}

std::optional<sys_seconds> cron_expression::previous_of_clock(sys_seconds before, const time_zone& zone) const {
  auto from = zone.to_local(before);
  auto now = zone.at(before);
  if (now.begin > earliest) {
    // Where the clock has just gone back, times ahead of it were shown before.
    auto shown = local_seconds(now.begin.time_since_epoch() + zone.at(now.begin - seconds(1)).offset);
    from = std::max(from, shown);
  }
  while (auto local = at_or_before(from)) {
    auto when = zone.to_sys(*local).first;
    if (when < before) return when;
    from = *local - seconds(1);
  }
  return std::nullopt;
}

std::optional<sys_seconds> cron_expression::previous_of_interval(sys_seconds before, const time_zone& zone) const {
  auto from = before - seconds(1);
  for (auto limit = before - horizon; from > limit;) {
    auto period = zone.at(from);
    auto local = at_or_before(local_seconds(from.time_since_epoch() + period.offset));
    if (!local) return std::nullopt;
    auto when = sys_seconds(local->time_since_epoch() - period.offset);
    if (when >= period.begin) return when;
    from = period.begin - seconds(1);
  }
  return std::nullopt;
}

std::optional<sys_seconds> cron_expression::next(sys_seconds after, const time_zone& zone) const {
  if (reboot_ || after < earliest || after > latest) return std::nullopt;
  return interval_ ? next_of_interval(after, zone) : next_of_clock(after, zone);
}

std::optional<sys_seconds> cron_expression::previous(sys_seconds before, const time_zone& zone) const {
  if (reboot_ || before < earliest || before > latest) return std::nullopt;
  return interval_ ? previous_of_interval(before, zone) : previous_of_clock(before, zone);
}

bool cron_expression::matches(sys_seconds when, const time_zone& zone) const noexcept {
  if (reboot_ || when < earliest || when > latest) return false;
  auto local = zone.to_local(when);
  auto day = std::chrono::floor<days>(local);
  return names_day(day) && time_at_or_after(local - day) == local - day;
}

}  // namespace weir::sync
