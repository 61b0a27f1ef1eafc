#include <weir/sync/time_zone.hpp>

#include <weir/core/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace weir::sync {
namespace detail {

using std::chrono::days;
using std::chrono::seconds;

/// When in a year the clocks change: POSIX's Jn, n or Mm.w.d, and the time of day by the clock before.
struct rule_day {
  enum kind : std::uint8_t { julian_without_leap, zero_based, month_week } how = month_week;
  int month = 1, week = 1, day = 0;  // `day` alone for the first two kinds
  seconds time{7200};
};

struct posix_rule {
  seconds standard{0}, daylight{0};
  bool has_daylight = false;
  rule_day begins, ends;
};

struct zone_type {
  seconds offset{0};
  bool daylight = false;
};

struct zone_rules {
  std::string name;
  std::vector<std::int64_t> transitions;  // strictly ascending
  std::vector<zone_type> types;           // one more than transitions: the first holds before them
  std::optional<posix_rule> after;        // the last transition
};

constexpr std::int64_t far = std::int64_t{1} << 40;  // some 35 000 years: beyond it nothing is believed

namespace {

constexpr std::size_t largest_file = 1 << 20;

[[noreturn]] void refuse(std::string_view what, std::string_view why) {
  throw error(errc::err_invalid_arg_value, fmt::format("time_zone: {} {}", what, why));
}

/// Reads a POSIX TZ rule (the TZ of POSIX.1-2017 section 8.3, with RFC 9636's hours from -167 to 167).
class rule_reader {
 public:
  explicit rule_reader(std::string_view text) : text_(text), rest_(text) {}

  posix_rule read() {
    posix_rule rule;
    abbreviation();
    rule.standard = -time(24);
    rule.daylight = rule.standard + std::chrono::hours(1);
    if (rest_.empty()) return rule;
    rule.has_daylight = true;
    abbreviation();
    if (!rest_.empty() && rest_.front() != ',') rule.daylight = -time(24);
    expect(',');
    rule.begins = day();
    expect(',');
    rule.ends = day();
    if (!rest_.empty()) fail();
    return rule;
  }

 private:
  [[noreturn]] void fail() const {
    refuse(fmt::format("rule '{}'", text_.substr(0, 80)),
           fmt::format("is not valid at character {}", text_.size() - rest_.size() + 1));
  }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail();
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  void abbreviation() {
    std::size_t length = 0;
    if (take('<')) {
      while (length < rest_.size() &&
             (is_letter(rest_[length]) || is_digit(rest_[length]) || rest_[length] == '+' || rest_[length] == '-')) {
        ++length;
      }
      if (length < 3) fail();
      rest_.remove_prefix(length);
      return expect('>');
    }
    while (length < rest_.size() && is_letter(rest_[length])) ++length;
    if (length < 3) fail();
    rest_.remove_prefix(length);
  }
  int number(int least, int most) {
    if (rest_.empty() || !is_digit(rest_.front())) fail();
    int value = 0;
    while (!rest_.empty() && is_digit(rest_.front())) {
      value = value * 10 + (rest_.front() - '0');
      if (value > most) fail();
      rest_.remove_prefix(1);
    }
    if (value < least) fail();
    return value;
  }
  seconds time(int most_hours) {
    bool negative = take('-');
    if (!negative) take('+');
    auto value = seconds(number(0, most_hours) * 3600);
    if (take(':')) {
      value += seconds(number(0, 59) * 60);
      if (take(':')) value += seconds(number(0, 59));
    }
    return negative ? -value : value;
  }
  rule_day day() {
    rule_day at;
    if (take('M')) {
      at.month = number(1, 12);
      expect('.');
      at.week = number(1, 5);
      expect('.');
      at.day = number(0, 6);
    } else if (take('J')) {
      at.how = rule_day::julian_without_leap;
      at.day = number(1, 365);
    } else {
      at.how = rule_day::zero_based;
      at.day = number(0, 365);
    }
    if (take('/')) at.time = time(167);
    return at;
  }

  std::string_view text_;
  std::string_view rest_;
};

std::chrono::sys_days day_of(const rule_day& rule, std::chrono::year year) {
  using namespace std::chrono;
  auto first = sys_days(year / January / 1);
  if (rule.how == rule_day::zero_based) return first + days(rule.day);
  if (rule.how == rule_day::julian_without_leap) {
    return first + days(rule.day - 1 + (year.is_leap() && rule.day >= 60 ? 1 : 0));
  }
  auto month_of = year / month(static_cast<unsigned>(rule.month));
  auto wanted = weekday(static_cast<unsigned>(rule.day));
  if (rule.week == 5) return sys_days(month_of / wanted[last]);
  return sys_days(month_of / wanted[static_cast<unsigned>(rule.week)]);
}

struct change {
  std::int64_t when;
  bool to_daylight;
};

// The changes of the years around a moment, in order.
std::array<change, 8> changes_around(const posix_rule& rule, sys_seconds when) {
  std::array<change, 8> all{};
  auto year = std::chrono::year_month_day(std::chrono::floor<days>(when)).year();
  std::size_t n = 0;
  for (int step = -1; step <= 2; ++step) {
    auto of = year + std::chrono::years(step);
    all[n++] = {(day_of(rule.begins, of) + rule.begins.time - rule.standard).time_since_epoch().count(), true};
    all[n++] = {(day_of(rule.ends, of) + rule.ends.time - rule.daylight).time_since_epoch().count(), false};
  }
  // At the same second the one that ends comes first: "daylight saving all year" is written so.
  std::sort(all.begin(), all.end(),
            [](auto& a, auto& b) { return a.when != b.when ? a.when < b.when : a.to_daylight < b.to_daylight; });
  return all;
}

zone_period period_of_rule(const posix_rule& rule, sys_seconds when, sys_seconds begin) {
  zone_period found{.offset = rule.standard, .begin = begin};
  constexpr auto calendar_end = sys_seconds(seconds(std::int64_t{1} << 39));  // years beyond it have no calendar here
  if (!rule.has_daylight || when > calendar_end || when < -calendar_end.time_since_epoch() + sys_seconds())
    return found;
  auto all = changes_around(rule, when);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].when > when.time_since_epoch().count()) {
      found.end = sys_seconds(seconds(all[i].when));
      break;
    }
    found.daylight_saving = all[i].to_daylight;
    found.begin = std::max(begin, sys_seconds(seconds(all[i].when)));
  }
  found.offset = found.daylight_saving ? rule.daylight : rule.standard;
  return found;
}

/// Reads a TZif file, of version 2 or later: version 1 has no transitions beyond 2037 and nobody writes it alone.
class tzif_reader {
 public:
  explicit tzif_reader(std::span<const std::byte> file) : rest_(file) {}

  zone_rules read() {
    auto first = header();
    if (first.version < '2') refuse("file", "is of version 1, which ends in 2037");
    skip(first.octets(4));
    auto counts = header();
    return body(counts);
  }

 private:
  struct counts {
    char version = 0;
    std::uint32_t utc = 0, standard = 0, leaps = 0, transitions = 0, types = 0, letters = 0;
    std::size_t octets(std::size_t width) const {
      return std::size_t{transitions} * (width + 1) + std::size_t{types} * 6 + letters +
             std::size_t{leaps} * (width + 4) + standard + utc;
    }
  };

  void skip(std::size_t n) {
    if (n > rest_.size()) refuse("file", "is cut short");
    rest_ = rest_.subspan(n);
  }
  std::uint64_t big_endian(std::size_t octets) {
    if (octets > rest_.size()) refuse("file", "is cut short");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < octets; ++i) value = value << 8 | std::to_integer<std::uint64_t>(rest_[i]);
    rest_ = rest_.subspan(octets);
    return value;
  }
  std::uint32_t count() { return static_cast<std::uint32_t>(big_endian(4)); }

  counts header() {
    if (rest_.size() < 44 || std::memcmp(rest_.data(), "TZif", 4) != 0) refuse("file", "is no TZif file");
    skip(4);
    counts all;
    all.version = static_cast<char>(big_endian(1));
    skip(15);
    all.utc = count();
    all.standard = count();
    all.leaps = count();
    all.transitions = count();
    all.types = count();
    all.letters = count();
    if (all.types == 0 || all.types > 256 || all.transitions > 65536) refuse("file", "has impossible counts");
    if (all.leaps != 0) refuse("file", "counts leap seconds, which the system's clock does not");
    return all;
  }

  zone_rules body(const counts& all) {
    zone_rules rules;
    rules.transitions.reserve(all.transitions);
    for (std::uint32_t i = 0; i < all.transitions; ++i) {
      auto when = static_cast<std::int64_t>(big_endian(8));
      if (when < -(std::int64_t{1} << 60) || when > far) refuse("file", "has a transition that is out of range");
      if (!rules.transitions.empty() && when <= rules.transitions.back()) refuse("file", "is not in order of time");
      rules.transitions.push_back(when);
    }
    std::vector<std::uint8_t> which(all.transitions);
    for (auto& each : which) {
      each = static_cast<std::uint8_t>(big_endian(1));
      if (each >= all.types) refuse("file", "refers to a type that it has not");
    }
    std::vector<zone_type> types(all.types);
    for (auto& each : types) {
      auto offset = static_cast<std::int32_t>(static_cast<std::uint32_t>(big_endian(4)));
      if (offset < -93'600 || offset > 93'600) refuse("file", "has an offset of more than a day");
      each = {seconds(offset), big_endian(1) != 0};
      skip(1);
    }
    rules.types.push_back(types.front());
    for (auto each : which) rules.types.push_back(types[each]);
    skip(all.letters + std::size_t{all.leaps} * 12 + all.standard + all.utc);
    rules.after = footer();
    return rules;
  }

  std::optional<posix_rule> footer() {
    std::string_view text(reinterpret_cast<const char*>(rest_.data()), rest_.size());
    if (text.empty() || text.front() != '\n') refuse("file", "has no rule at its end");
    text.remove_prefix(1);
    auto end = text.find('\n');
    if (end == std::string_view::npos) refuse("file", "is cut short");
    text = text.substr(0, end);
    if (text.empty()) return std::nullopt;
    return rule_reader(text).read();
  }

  std::span<const std::byte> rest_;
};

zone_period period_of(const zone_rules& rules, sys_seconds when) {
  auto at = std::upper_bound(rules.transitions.begin(), rules.transitions.end(), when.time_since_epoch().count());
  auto index = static_cast<std::size_t>(at - rules.transitions.begin());
  auto begin = index == 0 ? sys_seconds::min() : sys_seconds(seconds(rules.transitions[index - 1]));
  if (at == rules.transitions.end() && rules.after) return period_of_rule(*rules.after, when, begin);
  const auto& type = rules.types[index];
  auto end = at == rules.transitions.end() ? sys_seconds::max() : sys_seconds(seconds(*at));
  return {type.offset, type.daylight, begin, end};
}

std::optional<std::vector<std::byte>> read_file(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return std::nullopt;
  std::vector<std::byte> octets(largest_file);
  octets.resize(std::fread(octets.data(), 1, octets.size(), file.get()));
  return octets;
}

time_zone zone_of_file(const std::string& path, std::string name) {
  auto file = read_file(path);
  if (!file) throw os_error(ENOENT, "time_zone", path);
  return time_zone::from_tzif(*file, std::move(name));
}

bool is_zone_name(std::string_view name) {
  if (name.empty() || name.size() > 200 || name.front() == '/' || name.find("..") != std::string_view::npos)
    return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::strchr("/_+-", c) != nullptr;
  });
}

}  // namespace
}  // namespace detail

using std::chrono::seconds;

time_zone time_zone::from_tzif(std::span<const std::byte> file, std::string name) {
  auto rules = detail::tzif_reader(file).read();
  rules.name = std::move(name);
  return time_zone(std::make_shared<const detail::zone_rules>(std::move(rules)));
}

time_zone time_zone::from_rule(std::string_view rule) {
  detail::zone_rules rules;
  rules.after = detail::rule_reader(rule).read();
  rules.name = rule;
  rules.types.push_back({rules.after->standard, false});
  return time_zone(std::make_shared<const detail::zone_rules>(std::move(rules)));
}

time_zone time_zone::load(std::string_view name) {
  if (name == "UTC") return {};
  if (!detail::is_zone_name(name)) detail::refuse(fmt::format("'{}'", name.substr(0, 80)), "is no name of a time zone");
  static std::mutex mutex;
  static std::map<std::string, time_zone, std::less<>> loaded;
  std::lock_guard lock(mutex);
  if (auto found = loaded.find(name); found != loaded.end()) return found->second;
  auto zone = detail::zone_of_file(fmt::format("/usr/share/zoneinfo/{}", name), std::string(name));
  loaded.emplace(name, zone);
  return zone;
}

time_zone time_zone::local() {
  if (const char* set = std::getenv("TZ")) {
    std::string_view name(set);
    if (name.empty()) return {};
    if (name.front() == ':') name.remove_prefix(1);
    if (name.starts_with("/usr/share/zoneinfo/")) name.remove_prefix(20);
    if (name.starts_with('/')) return detail::zone_of_file(std::string(name), std::string(name));
    try {
      return load(name);
    } catch (const error&) {
      return from_rule(name);
    }
  }
  auto file = detail::read_file("/etc/localtime");
  return file ? from_tzif(*file, "local") : time_zone();
}

zone_period time_zone::at(sys_seconds when) const noexcept {
  return rules_ ? detail::period_of(*rules_, when) : zone_period();
}

local_seconds time_zone::to_local(sys_seconds when) const noexcept {
  return local_seconds(when.time_since_epoch() + at(when).offset);
}

// Offsets are less than 26 hours apart, so the periods that can matter are those around a day before and after.
zone_moments time_zone::to_sys(local_seconds local) const noexcept {
  auto plain = sys_seconds(local.time_since_epoch());
  bool believable = plain.time_since_epoch() < seconds(detail::far) && plain.time_since_epoch() > -seconds(detail::far);
  if (!rules_ || !believable) return {zone_moments::unique, plain, plain};
  std::array<sys_seconds, 2> found{};
  std::size_t n = 0;
  auto gap_end = plain;
  for (auto period = at(plain - std::chrono::hours(27));; period = at(period.end)) {
    auto when = plain - period.offset;
    if (when >= period.begin && when < period.end && n < 2) found[n++] = when;
    if (when >= period.end) gap_end = period.end;  // by this clock it is over; if the next has it past, it was skipped
    if (period.end > plain + std::chrono::hours(27)) break;
  }
  if (n == 0) return {zone_moments::gap, gap_end, gap_end};
  if (n == 1) return {zone_moments::unique, found[0], found[0]};
  return {zone_moments::overlap, found[0], found[1]};
}

const std::string& time_zone::name() const noexcept {
  static const std::string utc = "UTC";
  return rules_ ? rules_->name : utc;
}

}  // namespace weir::sync
