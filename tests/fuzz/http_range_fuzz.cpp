// tests/fuzz/http_range_fuzz.cpp: any Range header selects parts of the file that do not overlap, no more of them than
// allowed, and what is said about them reads back as the same; conditions and dates of any text do no harm.
#include <weir/net/http_conditions.hpp>
#include <weir/net/http_range.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using namespace weir::net::http;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_ranges(std::string_view header, std::uint64_t size) {
  const auto chosen = select_ranges(header, size, {.max_ranges = 16});
  require((chosen.how == range_selection::kind::partial) == !chosen.ranges.empty());
  require(chosen.ranges.size() <= 16);
  std::uint64_t total = 0;
  std::string again = "bytes=";
  for (std::size_t i = 0; i < chosen.ranges.size(); ++i) {
    const auto& a = chosen.ranges[i];
    require(a.length > 0 && a.first < size && a.length <= size - a.first);
    total += a.length;
    require(total <= size);
    for (std::size_t j = 0; j < i; ++j) {
      const auto& b = chosen.ranges[j];
      require(a.last() < b.first || b.last() < a.first);
    }
    again += std::to_string(a.first) + "-" + std::to_string(a.last()) + ",";
  }
  if (!chosen.ranges.empty()) require(select_ranges(again, size).ranges == chosen.ranges);
}

void check_conditions_of(std::string_view text) {
  if (const auto time = parse_http_date(text)) require(time->time_since_epoch().count() > -63000000000);
  if (const auto tag = entity_tag::parse(text)) {
    require(tag->opaque.size() + (tag->weak ? 4 : 2) == text.size() && weakly_equal(*tag, *tag));
  }
  header_list headers;
  for (auto name : {"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"}) {
    headers.clear();
    headers.add(name, text);
    const validators have = {text, parse_http_date(text)};
    if (check_conditions(method::get, headers, have) == condition_outcome::failed) {
      require(name != std::string_view("If-None-Match"));
    }
    static_cast<void>(range_holds(headers, have, {}));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint64_t file = 0;
  if (size < sizeof file) return 0;
  std::memcpy(&file, data, sizeof file);
  const std::string_view text(reinterpret_cast<const char*>(data) + sizeof file, size - sizeof file);
  check_ranges(text, file >> (file % 64));
  check_ranges("bytes=" + std::string(text), file >> (file % 64));
  check_conditions_of(text);
  return 0;
}
