// net/http_conditions.cpp: readers of entity tags and dates, and the order in which conditions are weighed.
#include <weir/net/http_conditions.hpp>

#include <weir/net/http_chars.hpp>

#include <array>

namespace weir::net::http {
namespace {

using std::chrono::sys_seconds;

constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> days = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 7> long_days = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                       "Friday", "Saturday", "Sunday"};

// etagc, RFC 9110 8.8.3
bool is_tag_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

void skip_blanks(std::string_view& text) {
  while (!text.empty() && chars::is_blank(text.front())) text.remove_prefix(1);
}

// Reads a date from its front; once something is missing, nothing more is read.
class date_reader {
 public:
  explicit date_reader(std::string_view text) : left_(text) {}

  bool skip(std::string_view wanted) {
    if (!good_ || !left_.starts_with(wanted)) return good_ = false;
    left_.remove_prefix(wanted.size());
    return true;
  }

  template <std::size_t N>
  unsigned name(const std::array<std::string_view, N>& names) {
    for (unsigned i = 0; good_ && i < N; ++i) {
      if (left_.starts_with(names[i])) {
        left_.remove_prefix(names[i].size());
        return i;
      }
    }
    good_ = false;
    return 0;
  }

  int number(std::size_t digits) {
    if (left_.size() < digits) good_ = false;
    int value = 0;
    for (std::size_t i = 0; good_ && i < digits; ++i) {
      good_ = chars::is_digit(left_[i]);
      value = value * 10 + (left_[i] - '0');
    }
    if (good_) left_.remove_prefix(digits);
    return value;
  }

  // asctime's day: two digits, or a blank and one
  int padded_day() {
    if (!left_.starts_with(' ')) return number(2);
    left_.remove_prefix(1);
    return number(1);
  }

  bool at_end() const { return good_ && left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

struct date_parts {
  int year = 0, day = 0, hour = 0, minute = 0, second = 0;
  unsigned month = 0;  // from 0

  void read_time(date_reader& from) {
    hour = from.number(2);
    from.skip(":");
    minute = from.number(2);
    from.skip(":");
    second = from.number(2);
  }

  std::optional<sys_seconds> time() const {
    using namespace std::chrono;
    const year_month_day date(std::chrono::year(year), std::chrono::month(month + 1),
                              std::chrono::day(static_cast<unsigned>(day)));
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) return {};
    return sys_days(date) + hours(hour) + minutes(minute) + seconds(second);
  }
};

bool is_imf(std::string_view text) { return text.size() > 3 && text[3] == ','; }

std::optional<date_parts> read_imf(std::string_view text) {
  date_reader from(text);
  date_parts p;
  from.name(days);
  from.skip(", ");
  p.day = from.number(2);
  from.skip(" ");
  p.month = from.name(months);
  from.skip(" ");
  p.year = from.number(4);
  from.skip(" ");
  p.read_time(from);
  from.skip(" GMT");
  return from.at_end() ? std::optional(p) : std::nullopt;
}

std::optional<date_parts> read_asctime(std::string_view text) {
  date_reader from(text);
  date_parts p;
  from.name(days);
  from.skip(" ");
  p.month = from.name(months);
  from.skip(" ");
  p.day = from.padded_day();
  from.skip(" ");
  p.read_time(from);
  from.skip(" ");
  p.year = from.number(4);
  return from.at_end() ? std::optional(p) : std::nullopt;
}

// The year is the one of the last 50 or next 50 that ends in these digits.
std::optional<date_parts> read_rfc850(std::string_view text, sys_seconds now) {
  date_reader from(text);
  date_parts p;
  from.name(long_days);
  from.skip(", ");
  p.day = from.number(2);
  from.skip("-");
  p.month = from.name(months);
  from.skip("-");
  p.year = from.number(2);
  from.skip(" ");
  p.read_time(from);
  from.skip(" GMT");
  if (!from.at_end()) return {};
  const std::chrono::year_month_day today(std::chrono::floor<std::chrono::days>(now));
  const auto this_year = static_cast<int>(today.year());
  p.year += this_year - this_year % 100;
  if (p.year > this_year + 50) p.year -= 100;
  if (p.year <= this_year - 50) p.year += 100;
  return p;
}

using comparison = bool (*)(const entity_tag&, const entity_tag&) noexcept;

// Whether one line of If-Match or If-None-Match names the version. What stands behind bad syntax is not looked at.
bool line_matches(std::string_view list, const validators& have, comparison equal) noexcept {
  if (list == "*") return have.exists;
  const auto mine = entity_tag::parse(have.etag);
  if (!mine || !have.exists) return false;
  for (;;) {
    skip_blanks(list);
    if (list.starts_with(',')) {
      list.remove_prefix(1);
      continue;
    }
    const auto theirs = entity_tag::take(list);
    if (!theirs) return false;
    if (equal(*theirs, *mine)) return true;
    skip_blanks(list);
    if (!list.empty() && list.front() != ',') return false;
  }
}

// @return nothing if there is no such header
std::optional<bool> matches(const header_list& headers, std::string_view name, const validators& have,
                            comparison equal) noexcept {
  std::optional<bool> found;
  for (const auto& line : headers) {
    if (!equal_ignoring_case(line.name, name)) continue;
    found = found.value_or(false) || line_matches(line.value, have, equal);
  }
  return found;
}

std::optional<sys_seconds> date_of(const header_list& headers, std::string_view name) noexcept {
  const auto text = headers.first(name);
  if (!text || headers.count(name) != 1) return {};
  return parse_http_date(*text);
}

bool has_conditions(const header_list& headers) noexcept {
  for (const auto& line : headers) {
    if (line.name.size() > 3 && (line.name[0] | 0x20) == 'i' && (line.name[1] | 0x20) == 'f' && line.name[2] == '-') {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<entity_tag> entity_tag::take(std::string_view& text) noexcept {
  entity_tag tag;
  auto left = text;
  tag.weak = left.starts_with("W/");
  if (tag.weak) left.remove_prefix(2);
  if (!left.starts_with('"')) return {};
  left.remove_prefix(1);
  std::size_t size = 0;
  while (size < left.size() && is_tag_char(left[size])) ++size;
  if (size == left.size() || left[size] != '"') return {};
  tag.opaque = left.substr(0, size);
  text = left.substr(size + 1);
  return tag;
}

std::optional<entity_tag> entity_tag::parse(std::string_view text) noexcept {
  const auto tag = take(text);
  return text.empty() ? tag : std::nullopt;
}

bool strongly_equal(const entity_tag& a, const entity_tag& b) noexcept {
  return !a.weak && !b.weak && a.opaque == b.opaque;
}

bool weakly_equal(const entity_tag& a, const entity_tag& b) noexcept { return a.opaque == b.opaque; }

std::optional<sys_seconds> parse_http_date(std::string_view text, sys_seconds now) noexcept {
  const bool is_asctime = text.find(',') == std::string_view::npos;
  const auto parts = is_imf(text) ? read_imf(text) : is_asctime ? read_asctime(text) : read_rfc850(text, now);
  return parts ? parts->time() : std::nullopt;
}

condition_outcome check_conditions(http::method method, const header_list& headers, const validators& have) noexcept {
  using enum condition_outcome;
  if (!has_conditions(headers)) return proceed;
  const bool reads = method == method::get || method == method::head;

  if (const auto match = matches(headers, "If-Match", have, strongly_equal)) {
    if (!*match) return failed;
  } else if (const auto since = date_of(headers, "If-Unmodified-Since"); since && have.last_modified) {
    if (*have.last_modified > *since) return failed;
  }
  if (const auto match = matches(headers, "If-None-Match", have, weakly_equal)) {
    if (!*match) return proceed;
    return reads ? not_modified : failed;
  }
  if (!reads || !have.last_modified) return proceed;
  const auto since = date_of(headers, "If-Modified-Since");
  return since && *have.last_modified <= *since ? not_modified : proceed;
}

bool range_holds(const header_list& headers, const validators& have, sys_seconds now) noexcept {
  const auto wanted = headers.first("If-Range");
  if (!wanted) return true;
  if (headers.count("If-Range") != 1) return false;
  if (const auto tag = entity_tag::parse(*wanted)) {
    const auto mine = entity_tag::parse(have.etag);
    return mine && strongly_equal(*tag, *mine);
  }
  if (!have.last_modified || now - *have.last_modified < std::chrono::seconds(1)) return false;
  return parse_http_date(*wanted, now) == have.last_modified;
}

}  // namespace weir::net::http
