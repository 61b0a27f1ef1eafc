// tests/net/http_conditions_test.cpp: tags, dates in their three forms, and every condition of RFC 9110 section 13
// alone and against the others.
#include <weir/net/http_conditions.hpp>

#include <weir/net/http_writer.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::net::http {
namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr sys_seconds at(std::int64_t second) { return sys_seconds(seconds(second)); }
constexpr auto example = at(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr std::string_view example_text = "Sun, 06 Nov 1994 08:49:37 GMT";
constexpr std::string_view before = "Sun, 06 Nov 1994 08:49:36 GMT";
constexpr std::string_view after = "Sun, 06 Nov 1994 08:49:38 GMT";

using lines = std::vector<header>;

header_list list_of(const lines& all) {
  header_list made;
  for (const auto& [name, value] : all) made.add(name, value);
  return made;
}

std::string_view outcome(const lines& all, validators have = {"\"v1\"", example}, method m = method::get) {
  switch (check_conditions(m, list_of(all), have)) {
    case condition_outcome::proceed: return "proceed";
    case condition_outcome::not_modified: return "304";
    case condition_outcome::failed: return "412";
  }
  return "?";
}

TEST(EntityTag, is_read_as_it_stands) {
  EXPECT_EQ(entity_tag::parse("\"abc\"")->opaque, "abc");
  EXPECT_FALSE(entity_tag::parse("\"abc\"")->weak);
  EXPECT_TRUE(entity_tag::parse("W/\"abc\"")->weak);
  EXPECT_EQ(entity_tag::parse("\"\"")->opaque, "");
  EXPECT_EQ(entity_tag::parse("\"a,b\\\"")->opaque, "a,b\\");
  for (std::string_view bad : {"", "abc", "\"", "\"abc", "w/\"abc\"", "W/", "W/abc", "\"a b\"", "\"a\"b", "*"}) {
    EXPECT_FALSE(entity_tag::parse(bad)) << bad;
  }
}

TEST(EntityTag, is_compared_as_the_table_of_the_rfc_has_it) {  // RFC 9110 8.8.3.2
  const struct {
    std::string_view a, b;
    bool strong, weak;
  } table[] = {{"W/\"1\"", "W/\"1\"", false, true},
               {"W/\"1\"", "W/\"2\"", false, false},
               {"W/\"1\"", "\"1\"", false, true},
               {"\"1\"", "\"1\"", true, true}};
  for (const auto& row : table) {
    EXPECT_EQ(strongly_equal(*entity_tag::parse(row.a), *entity_tag::parse(row.b)), row.strong) << row.a << row.b;
    EXPECT_EQ(weakly_equal(*entity_tag::parse(row.a), *entity_tag::parse(row.b)), row.weak) << row.a << row.b;
  }
}

TEST(HttpDate, is_read_in_three_forms) {
  EXPECT_EQ(parse_http_date(example_text), example);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT"), example);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994"), example);
  EXPECT_EQ(parse_http_date("Wed Nov 16 08:49:37 1994"), example + std::chrono::days(10));
  EXPECT_EQ(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), at(0));
  EXPECT_EQ(parse_http_date("Thu, 29 Feb 2024 23:59:60 GMT"), at(1709251200));
}

TEST(HttpDate, has_years_of_two_digits_within_fifty_from_now) {
  const auto year_of = [](std::string_view digits, sys_seconds now) {
    const auto time = parse_http_date("Monday, 01-Jan-" + std::string(digits) + " 00:00:00 GMT", now);
    return int(std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(*time)).year());
  };
  const auto in_2026 = at(1790000000);
  EXPECT_EQ(year_of("26", in_2026), 2026);
  EXPECT_EQ(year_of("76", in_2026), 2076);
  EXPECT_EQ(year_of("77", in_2026), 1977);
  EXPECT_EQ(year_of("99", in_2026), 1999);
  EXPECT_EQ(year_of("10", at(3786912000)), 2110);  // 2090
}

TEST(HttpDate, is_nothing_else) {
  for (std::string_view bad :
       {"", "0", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 94 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT", "784111777",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_http_date(bad)) << bad;
  }
}

TEST(HttpDate, comes_back_as_it_was_written) {
  for (std::int64_t second = -8000000000; second < 8000000000; second += 12345679) {
    EXPECT_EQ(parse_http_date(format_http_date(at(second))), at(second)) << second;
  }
}

TEST(HttpConditions, proceed_where_there_are_none) {
  EXPECT_EQ(outcome({}), "proceed");
  EXPECT_EQ(outcome({{"Accept", "*/*"}, {"If-Range", "\"v0\""}}), "proceed");
}

TEST(HttpConditions, if_match_compares_strongly) {
  EXPECT_EQ(outcome({{"If-Match", "\"v1\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-Match", "\"v0\", \"v1\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-Match", "\"v0\""}, {"if-match", "\"v1\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-Match", "*"}}), "proceed");
  EXPECT_EQ(outcome({{"If-Match", "\"v0\""}}), "412");
  EXPECT_EQ(outcome({{"If-Match", "W/\"v1\""}}), "412");
  EXPECT_EQ(outcome({{"If-Match", "\"v1\""}}, {"W/\"v1\"", example}), "412");
  EXPECT_EQ(outcome({{"If-Match", ""}}), "412");
  EXPECT_EQ(outcome({{"If-Match", "*"}}, {.exists = false}), "412");
}

TEST(HttpConditions, if_none_match_compares_weakly) {
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "W/\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}}, {"W/\"v1\"", {}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v0\",\"a,b\" , ,\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v0\""}, {"If-None-Match", "\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "*"}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v0\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-None-Match", "v1"}}), "proceed");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v0\" \"v1\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-None-Match", "*"}}, {.exists = false}), "proceed");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}}, {"\"v1\"", example}, method::head), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}}, {"\"v1\"", example}, method::put), "412");
}

TEST(HttpConditions, if_modified_since_is_for_reading_only) {
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}}), "304");
  EXPECT_EQ(outcome({{"If-Modified-Since", after}}), "304");
  EXPECT_EQ(outcome({{"If-Modified-Since", before}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", "whenever"}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}, {"If-Modified-Since", example_text}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}}, {"\"v1\"", {}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}}, {"\"v1\"", example}, method::head), "304");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}}, {"\"v1\"", example}, method::put), "proceed");
}

TEST(HttpConditions, if_unmodified_since_is_for_every_method) {
  EXPECT_EQ(outcome({{"If-Unmodified-Since", example_text}}), "proceed");
  EXPECT_EQ(outcome({{"If-Unmodified-Since", after}}), "proceed");
  EXPECT_EQ(outcome({{"If-Unmodified-Since", before}}), "412");
  EXPECT_EQ(outcome({{"If-Unmodified-Since", before}}, {"\"v1\"", example}, method::put), "412");
  EXPECT_EQ(outcome({{"If-Unmodified-Since", "whenever"}}), "proceed");
}

TEST(HttpConditions, are_weighed_in_the_order_of_the_rfc) {  // RFC 9110 13.2.2
  EXPECT_EQ(outcome({{"If-Unmodified-Since", before}, {"If-Match", "\"v1\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}, {"If-None-Match", "\"v0\""}}), "proceed");
  EXPECT_EQ(outcome({{"If-Modified-Since", before}, {"If-None-Match", "\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}, {"If-Match", "\"v0\""}}), "412");
  EXPECT_EQ(outcome({{"If-None-Match", "\"v1\""}, {"If-Match", "\"v1\""}}), "304");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}, {"If-Unmodified-Since", before}}), "412");
  EXPECT_EQ(outcome({{"If-Modified-Since", example_text}, {"If-Unmodified-Since", after}}), "304");
}

TEST(HttpConditions, if_range_holds_for_exactly_this_version) {
  const validators have = {"\"v1\"", example};
  const auto holds = [&](const lines& all, const validators& of, sys_seconds now) {
    return range_holds(list_of(all), of, now);
  };
  const auto later = example + seconds(60);
  EXPECT_TRUE(holds({}, have, later));
  EXPECT_TRUE(holds({{"If-Range", "\"v1\""}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", "\"v0\""}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", "W/\"v1\""}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", "\"v1\""}}, {"W/\"v1\"", example}, later));
  EXPECT_FALSE(holds({{"If-Range", "*"}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", "\"v1\""}, {"If-Range", "\"v1\""}}, have, later));
  EXPECT_TRUE(holds({{"If-Range", example_text}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", before}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", after}}, have, later));
  EXPECT_FALSE(holds({{"If-Range", example_text}}, have, example));
  EXPECT_FALSE(holds({{"If-Range", example_text}}, {"\"v1\"", {}}, later));
  EXPECT_FALSE(holds({{"If-Range", "junk"}}, {"\"v1\"", {}}, later));
}

}  // namespace
}  // namespace weir::net::http
