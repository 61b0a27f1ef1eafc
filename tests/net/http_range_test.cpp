// tests/net/http_range_test.cpp: what a Range header selects, by table and against a model of its bytes, and the bodies
// of several parts.
#include <weir/net/http_range.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

void PrintTo(const byte_range& range, std::ostream* to) { *to << range.first << "+" << range.length; }

namespace {

using ::testing::ElementsAre;
using kind = range_selection::kind;

std::vector<byte_range> partial(std::string_view header, std::uint64_t size) {
  const auto chosen = select_ranges(header, size);
  EXPECT_EQ(chosen.how, kind::partial) << header;
  return chosen.ranges;
}

TEST(HttpRange, selects_what_the_three_forms_mean) {
  EXPECT_THAT(partial("bytes=0-4", 10), ElementsAre(byte_range{0, 5}));
  EXPECT_THAT(partial("bytes=9-9", 10), ElementsAre(byte_range{9, 1}));
  EXPECT_THAT(partial("bytes=3-", 10), ElementsAre(byte_range{3, 7}));
  EXPECT_THAT(partial("bytes=-3", 10), ElementsAre(byte_range{7, 3}));
  EXPECT_THAT(partial("BYTES=0-0", 10), ElementsAre(byte_range{0, 1}));
  EXPECT_THAT(partial("bytes= 0-0 ,\t, 2-2,", 10), ElementsAre(byte_range{0, 1}, byte_range{2, 1}));
}

TEST(HttpRange, cuts_what_reaches_behind_the_end) {
  EXPECT_THAT(partial("bytes=5-100", 10), ElementsAre(byte_range{5, 5}));
  EXPECT_THAT(partial("bytes=-100", 10), ElementsAre(byte_range{0, 10}));
  EXPECT_THAT(partial("bytes=1-99999999999999999999999999", 10), ElementsAre(byte_range{1, 9}));
  EXPECT_THAT(partial("bytes=-99999999999999999999999999", 10), ElementsAre(byte_range{0, 10}));
  EXPECT_THAT(partial("bytes=0-18446744073709551615", UINT64_MAX), ElementsAre(byte_range{0, UINT64_MAX}));
  EXPECT_THAT(partial("bytes=20-30,2-3", 10), ElementsAre(byte_range{2, 2}));
}

TEST(HttpRange, cannot_be_satisfied_where_all_lies_behind_the_end) {
  for (std::string_view header : {"bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-", "bytes=-0",
                                  "bytes=10-11,12-13", "bytes=18446744073709551615-"}) {
    EXPECT_EQ(select_ranges(header, 10).how, kind::unsatisfiable) << header;
  }
  EXPECT_EQ(select_ranges("bytes=0-", 0).how, kind::unsatisfiable);
  EXPECT_EQ(select_ranges("bytes=-0", 0).how, kind::unsatisfiable);
  EXPECT_EQ(select_ranges("bytes=-5", 0).how, kind::whole);
}

TEST(HttpRange, is_ignored_where_it_makes_no_sense) {
  for (std::string_view header : {"",           "bytes",      "bytes=",        "bytes=,",       "bytes=-",
                                  "bytes=a-b",  "bytes=5-4",  "bytes=0-1;2-3", "bytes=0-1,x",   "bytes=1",
                                  "bytes=--1",  "bytes=+1-2", "bytes=0x1-2",   "bytes=1-2-3",   "bytes=0 - 1",
                                  "bytes =0-1", "items=0-1",  "bytes=NaN-",    "bytes=0-1,5-4", "=0-1"}) {
    const auto chosen = select_ranges(header, 10);
    EXPECT_EQ(chosen.how, kind::whole) << header;
    EXPECT_TRUE(chosen.ranges.empty()) << header;
  }
}

TEST(HttpRange, makes_one_of_those_that_overlap) {
  EXPECT_THAT(partial("bytes=0-5,3-8", 100), ElementsAre(byte_range{0, 9}));
  EXPECT_THAT(partial("bytes=50-60,0-5,55-70", 100), ElementsAre(byte_range{50, 21}, byte_range{0, 6}));
  EXPECT_THAT(partial("bytes=0-1,10-11,4-5,1-10", 100), ElementsAre(byte_range{0, 12}));
  EXPECT_THAT(partial("bytes=20-29,0-9,10-20", 100), ElementsAre(byte_range{10, 20}, byte_range{0, 10}));
  EXPECT_THAT(partial("bytes=0-,0-,0-", 100), ElementsAre(byte_range{0, 100}));
  EXPECT_THAT(partial("bytes=0-4,5-9", 100), ElementsAre(byte_range{0, 5}, byte_range{5, 5}));
}

TEST(HttpRange, is_ignored_where_it_asks_for_too_many) {
  std::string header = "bytes=0-0";
  for (int i = 1; i < 32; ++i) header += "," + std::to_string(2 * i) + "-" + std::to_string(2 * i);
  EXPECT_EQ(select_ranges(header, 1000).ranges.size(), 32u);
  EXPECT_EQ(select_ranges(header + ",99-99", 1000).how, kind::whole);
  EXPECT_EQ(select_ranges("bytes=0-0,1-1", 10, {.max_ranges = 1}).how, kind::whole);
  EXPECT_EQ(select_ranges(header + ",,,,,,,,,,,", 1000).ranges.size(), 32u);
}

TEST(HttpRange, selects_the_bytes_that_were_asked_for_and_each_once) {
  std::mt19937 random(7);
  const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random()) % n; };
  for (int round = 0; round < 2000; ++round) {
    const std::uint64_t size = 1 + below(40);
    std::set<std::uint64_t> wanted;
    std::string header = "bytes=";
    for (unsigned i = 0, count = 1 + below(8); i < count; ++i) {
      const std::uint64_t first = below(45), last = first + below(10);
      header += (i == 0 ? "" : ", ") + std::to_string(first) + "-" + std::to_string(last);
      for (auto at = first; at <= last && at < size; ++at) wanted.insert(at);
    }
    const auto chosen = select_ranges(header, size);
    std::multiset<std::uint64_t> got;
    for (const auto& each : chosen.ranges) {
      for (auto at = each.first; at <= each.last(); ++at) got.insert(at);
    }
    EXPECT_EQ(got, std::multiset<std::uint64_t>(wanted.begin(), wanted.end())) << header << " of " << size;
    EXPECT_EQ(chosen.how, wanted.empty() ? kind::unsatisfiable : kind::partial) << header << " of " << size;
  }
}

TEST(HttpRange, is_told_in_content_range) {
  EXPECT_EQ(content_range({0, 100}, 1000), "bytes 0-99/1000");
  EXPECT_EQ(content_range({999, 1}, 1000), "bytes 999-999/1000");
  EXPECT_EQ(unsatisfied_range(1000), "bytes */1000");
}

TEST(HttpByteranges, have_a_head_for_each_part_and_an_end) {
  const byteranges_form form("text/plain", 10, "xyz");
  EXPECT_EQ(form.content_type(), "multipart/byteranges; boundary=xyz");
  const std::vector<byte_range> ranges = {{0, 2}, {5, 3}};
  std::string body;
  for (const auto& each : ranges) body += form.part_head(each) + std::string(each.length, 'd');
  body += form.end();
  EXPECT_EQ(body,
            "\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\ndd"
            "\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-7/10\r\n\r\nddd"
            "\r\n--xyz--\r\n");
  EXPECT_EQ(form.length(ranges), body.size());
}

TEST(HttpByteranges, have_boundaries_that_nobody_can_guess) {
  const byteranges_form a("", 10), b("", 10);
  EXPECT_NE(a.content_type(), b.content_type());
  EXPECT_EQ(a.part_head({0, 1}).find("Content-Type"), std::string::npos);
}

}  // namespace
}  // namespace weir::net::http
