// net/http_range.cpp: a parser of Range without state, and the text of multipart/byteranges.
#include <weir/net/http_range.hpp>

#include <weir/net/http_chars.hpp>
#include <weir/net/http_message.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <random>

namespace weir::net::http {
namespace {

constexpr auto endless = std::numeric_limits<std::uint64_t>::max();

// One int-range or suffix-range as it stands.
struct range_spec {
  std::optional<std::uint64_t> first;
  std::optional<std::uint64_t> last;
};

// Takes a number from the front; one beyond 64 bits counts as the largest. Nothing if there is no digit.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  if (text.empty() || !chars::is_digit(text.front())) return {};
  std::uint64_t number = 0;
  for (; !text.empty() && chars::is_digit(text.front()); text.remove_prefix(1)) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    number = number > (endless - digit) / 10 ? endless : number * 10 + digit;
  }
  return number;
}

// @return nothing for bad syntax
std::optional<range_spec> parse_spec(std::string_view text) {
  range_spec spec;
  spec.first = take_number(text);
  if (text.empty() || text.front() != '-') return {};
  text.remove_prefix(1);
  spec.last = take_number(text);
  if (!text.empty() || (!spec.first && !spec.last)) return {};
  if (spec.first && spec.last && *spec.last < *spec.first) return {};
  return spec;
}

// The bytes of a file that a range means; of length 0 if there are none.
byte_range within(const range_spec& spec, std::uint64_t size) {
  if (!spec.first) {
    const auto length = std::min(*spec.last, size);
    return {size - length, length};
  }
  if (*spec.first >= size) return {};
  return {*spec.first, std::min(spec.last.value_or(endless), size - 1) - *spec.first + 1};
}

bool overlap(const byte_range& a, const byte_range& b) { return a.first <= b.last() && b.first <= a.last(); }

// Adds a range to some that do not overlap, which stay so.
void merge(std::vector<byte_range>& ranges, byte_range added) {
  std::optional<std::size_t> place;
  for (std::size_t i = 0; i < ranges.size();) {
    if (!overlap(ranges[i], added)) {
      ++i;
      continue;
    }
    const auto last = std::max(ranges[i].last(), added.last());
    added.first = std::min(ranges[i].first, added.first);
    added.length = last - added.first + 1;
    place = std::min(place.value_or(i), i);
    ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(i));
    i = 0;  // grown, it may reach one that it did not before
  }
  const auto at = place.value_or(ranges.size());
  ranges.insert(ranges.begin() + static_cast<std::ptrdiff_t>(at), added);
}

std::string make_boundary() {
  std::random_device from;
  return fmt::format("weir-{:08x}{:08x}{:08x}", from(), from(), from());
}

}  // namespace

range_selection select_ranges(std::string_view header, std::uint64_t size, const range_options& options) {
  using kind = range_selection::kind;
  const auto equals = header.find('=');
  if (equals == std::string_view::npos || !equal_ignoring_case(header.substr(0, equals), "bytes")) return {};
  auto list = header.substr(equals + 1);
  range_selection chosen;
  std::size_t seen = 0;
  bool from_empty = false;
  while (!list.empty()) {
    const auto element = take_list_element(list);
    if (element.empty()) continue;
    const auto spec = parse_spec(element);
    if (!spec || ++seen > options.max_ranges) return {};
    from_empty = from_empty || (size == 0 && !spec->first && *spec->last > 0);
    const auto range = within(*spec, size);
    if (range.length > 0) merge(chosen.ranges, range);
  }
  if (seen == 0 || from_empty) return {};
  chosen.how = chosen.ranges.empty() ? kind::unsatisfiable : kind::partial;
  return chosen;
}

std::string content_range(const byte_range& range, std::uint64_t size) {
  return fmt::format("bytes {}-{}/{}", range.first, range.last(), size);
}

std::string unsatisfied_range(std::uint64_t size) { return fmt::format("bytes */{}", size); }

byteranges_form::byteranges_form(std::string part_type, std::uint64_t size, std::string boundary)
    : part_type_(std::move(part_type)),
      boundary_(boundary.empty() ? make_boundary() : std::move(boundary)),
      size_(size) {}

std::string byteranges_form::content_type() const {
  return fmt::format("multipart/byteranges; boundary={}", boundary_);
}

std::string byteranges_form::part_head(const byte_range& range) const {
  const auto type = part_type_.empty() ? std::string() : fmt::format("Content-Type: {}\r\n", part_type_);
  return fmt::format("\r\n--{}\r\n{}Content-Range: {}\r\n\r\n", boundary_, type, content_range(range, size_));
}

std::string byteranges_form::end() const { return fmt::format("\r\n--{}--\r\n", boundary_); }

std::uint64_t byteranges_form::length(const std::vector<byte_range>& ranges) const {
  std::uint64_t total = end().size();
  for (const auto& each : ranges) total += part_head(each).size() + each.length;
  return total;
}

}  // namespace weir::net::http
