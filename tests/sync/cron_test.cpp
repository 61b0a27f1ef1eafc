#include <weir/sync/cron.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

sys_seconds when(const char* text) {
  int y = 0, h = 0, min = 0, s = 0;
  unsigned m = 0, d = 0;
  int read = std::sscanf(text, "%d-%u-%u %d:%d:%d", &y, &m, &d, &h, &min, &s);
  EXPECT_GE(read, 5) << text;
  return sys_days(year(y) / month(m) / day(d)) + hours(h) + minutes(min) + seconds(s);
}

std::string shown(std::optional<sys_seconds> at) {
  if (!at) return "never";
  auto day = floor<days>(*at);
  year_month_day date(day);
  hh_mm_ss time(*at - day);
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u %02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  return text;
}

struct step {
  const char* expression;
  const char* after;
  const char* next;
};

class NextRun : public ::testing::TestWithParam<step> {};

TEST_P(NextRun, is_the_first_moment_after_that_fits) {
  const auto& [text, after, next] = GetParam();
  cron_expression cron(text);
  EXPECT_EQ(shown(cron.next(when(after))), next) << text;
  if (auto found = cron.next(when(after))) {
    EXPECT_TRUE(cron.matches(*found));
    EXPECT_EQ(shown(cron.previous(*found + 1s)), next) << text;
    auto before = cron.previous(*found);
    EXPECT_TRUE(!before || *before <= when(after)) << text;
  }
}

// 2026-01-01 is a Thursday.
INSTANTIATE_TEST_SUITE_P(
    Cron, NextRun,
    ::testing::Values(step{"* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"},
                      step{"* * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
                      step{"* * * * * *", "2026-01-01 00:00:59", "2026-01-01 00:01:00"},
                      step{"*/15 * * * * *", "2026-01-01 00:00:31", "2026-01-01 00:00:45"},
                      step{"*/5 * * * *", "2026-01-01 23:56:00", "2026-01-02 00:00:00"},
                      step{"30 2 * * *", "2026-01-01 02:30:00", "2026-01-02 02:30:00"},
                      step{"0 9 * * 1", "2026-01-01 00:00:00", "2026-01-05 09:00:00"},  // weekly, never null
                      step{"0 9 * * MON-FRI", "2026-01-02 09:00:00", "2026-01-05 09:00:00"},
                      step{"0 0 1 1 *", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
                      step{"0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"},
                      step{"0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00"},  // 2100 has none
                      step{"0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"},
                      step{"0 0 30 2 *", "2026-01-01 00:00:00", "never"},
                      step{"@reboot", "2026-01-01 00:00:00", "never"},
                      step{"1-5,10 * * * *", "2026-01-01 00:05:00", "2026-01-01 00:10:00"},
                      step{"10-20/5 * * * *", "2026-01-01 00:10:00", "2026-01-01 00:15:00"},
                      step{"10-20/5 * * * *", "2026-01-01 00:20:00", "2026-01-01 01:10:00"},
                      step{"5/20 * * * *", "2026-01-01 00:25:00", "2026-01-01 00:45:00"},
                      step{"0 22-2 * * *", "2026-01-01 23:00:00", "2026-01-02 00:00:00"},
                      step{"0 22-2 * * *", "2026-01-01 02:00:00", "2026-01-01 22:00:00"},
                      step{"0 0 * * FRI-MON", "2026-01-05 00:00:00", "2026-01-09 00:00:00"},
                      step{"0 0 * * 7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
                      step{"0 0 * * 5-7", "2026-01-02 00:00:00", "2026-01-03 00:00:00"},
                      step{"0 0 */2 * *", "2026-01-01 00:00:00", "2026-01-03 00:00:00"},
                      step{"0 0 * feb,JUL *", "2026-03-01 00:00:00", "2026-07-01 00:00:00"},
                      step{"0 0 13 * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},     // either: Friday the 2nd
                      step{"0 0 13 * 5", "2026-01-09 00:00:00", "2026-01-13 00:00:00"},     // the 13th
                      step{"0 0 1-7 * */7", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},  // both: begins with *
                      step{"0 0 ? * MON", "2026-01-01 00:00:00", "2026-01-05 00:00:00"},
                      step{"0 0 L * *", "2026-02-01 00:00:00", "2026-02-28 00:00:00"},
                      step{"0 0 L * *", "2028-02-01 00:00:00", "2028-02-29 00:00:00"},
                      step{"0 0 L-2 * *", "2026-01-01 00:00:00", "2026-01-29 00:00:00"},
                      step{"0 0 15,L * *", "2026-01-15 00:00:00", "2026-01-31 00:00:00"},
                      step{"0 0 LW * *", "2026-01-01 00:00:00", "2026-01-30 00:00:00"},   // the 31st is a Saturday
                      step{"0 0 1W * *", "2026-08-01 00:00:00", "2026-08-03 00:00:00"},   // Saturday: not in July
                      step{"0 0 31W 5 *", "2026-01-01 00:00:00", "2026-05-29 00:00:00"},  // Sunday: not in June
                      step{"0 0 15W * *", "2026-02-01 00:00:00", "2026-02-16 00:00:00"},  // Sunday
                      step{"0 0 * * 5L", "2026-01-01 00:00:00", "2026-01-30 00:00:00"},
                      step{"0 0 * * TUE#2", "2026-01-01 00:00:00", "2026-01-13 00:00:00"},
                      step{"0 0 * * 4#5", "2026-01-30 00:00:00", "2026-04-30 00:00:00"},
                      step{"@hourly", "2026-01-01 00:00:00", "2026-01-01 01:00:00"},
                      step{"@daily", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},
                      step{"@midnight", "2026-01-01 00:00:00", "2026-01-02 00:00:00"},
                      step{"@weekly", "2026-01-01 00:00:00", "2026-01-04 00:00:00"},
                      step{"@monthly", "2026-01-01 00:00:00", "2026-02-01 00:00:00"},
                      step{"@Yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00"},
                      step{"  0\t0  1 1 * ", "2026-01-01 00:00:00", "2027-01-01 00:00:00"}));

TEST(Cron, refuses_what_it_cannot_mean_and_names_the_field) {
  struct bad {
    const char* text;
    const char* says;
  };
  for (const auto& [text, says] : {bad{"", "0 fields"},
                                   bad{"* * * *", "4 fields"},
                                   bad{"* * * * * * *", "7 fields"},
                                   bad{"99 * * * *", "minute"},
                                   bad{"* 24 * * *", "hour"},
                                   bad{"* * 0 * *", "day-of-month"},
                                   bad{"* * 32 * *", "1 to 31"},
                                   bad{"* * * 13 *", "month"},
                                   bad{"* * * * 8", "day-of-week"},
                                   bad{"60 * * * * *", "second"},
                                   bad{"*/0 * * * *", "step"},
                                   bad{"*/x * * * *", "step"},
                                   bad{"5/ * * * *", "step"},
                                   bad{"1,,2 * * * *", "minute"},
                                   bad{"1- * * * *", "minute"},
                                   bad{"-1 * * * *", "minute"},
                                   bad{"* * * FOO *", "month"},
                                   bad{"MON * * * *", "minute"},
                                   bad{"* * * * MONDAY", "day-of-week"},
                                   bad{"* * * * 1#6", "1 to 5"},
                                   bad{"* * * * #1", "day-of-week"},
                                   bad{"* * W * *", "day-of-month"},
                                   bad{"* * 32W * *", "day-of-month"},
                                   bad{"* * L-31 * *", "day-of-month"},
                                   bad{"@often", "macro"},
                                   bad{"? * * * *", "minute"},
                                   bad{"1.5 * * * *", "minute"},
                                   bad{"99999999999999999999 * * * *", "minute"}}) {
    auto outcome = cron_expression::parse(text);
    ASSERT_FALSE(outcome) << text;
    EXPECT_EQ(outcome.failure().code_name(), "ERR_INVALID_ARG_VALUE");
    EXPECT_NE(outcome.failure().message().find(says), std::string::npos) << outcome.failure().message();
  }
  EXPECT_FALSE(cron_expression::parse(std::string(5000, '*')));
}

std::vector<std::string> runs(const char* text, const char* from, const char* until, const char* zone) {
  cron_expression cron(text);
  auto where = time_zone::load(zone);
  std::vector<std::string> all;
  for (auto at = cron.next(when(from), where); at && *at < when(until); at = cron.next(*at, where)) {
    all.push_back(shown(at));
  }
  std::vector<std::string> back;
  for (auto at = cron.previous(when(until), where); at && *at > when(from); at = cron.previous(*at, where)) {
    back.insert(back.begin(), shown(at));
  }
  EXPECT_EQ(all, back) << text;
  return all;
}

using moments = std::vector<std::string>;

// Berlin springs from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC.
TEST(Cron, time_that_the_clock_skips_is_moved_right_after_the_gap_once) {
  EXPECT_EQ(runs("30 2 * * *", "2026-03-28 00:00", "2026-03-31 00:00", "Europe/Berlin"),
            (moments{"2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"}));
  EXPECT_EQ(runs("0,20,40 2 * * *", "2026-03-29 00:00", "2026-03-29 22:00", "Europe/Berlin"),
            (moments{"2026-03-29 01:00:00"}));
  EXPECT_EQ(runs("0 2,3 * * *", "2026-03-29 00:00", "2026-03-29 22:00", "Europe/Berlin"),
            (moments{"2026-03-29 01:00:00"}));
}

TEST(Cron, interval_goes_on_across_a_gap) {
  EXPECT_EQ(runs("*/30 * * * *", "2026-03-29 00:00", "2026-03-29 02:00", "Europe/Berlin"),
            (moments{"2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00"}));
  EXPECT_EQ(runs("30 * * * *", "2026-03-29 00:00", "2026-03-29 02:00", "Europe/Berlin"),
            (moments{"2026-03-29 00:30:00", "2026-03-29 01:30:00"}));
  EXPECT_EQ(runs("*/10 2 * * *", "2026-03-29 00:00", "2026-03-29 22:00", "Europe/Berlin"), (moments{}));
}

// Berlin falls back from 03:00 to 02:00 on 2026-10-25 at 01:00 UTC.
TEST(Cron, time_that_comes_twice_counts_the_first_time) {
  EXPECT_EQ(runs("30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00", "Europe/Berlin"),
            (moments{"2026-10-25 00:30:00", "2026-10-26 01:30:00"}));
  EXPECT_EQ(runs("0,30 2,3 * * *", "2026-10-24 22:00", "2026-10-25 12:00", "Europe/Berlin"),
            (moments{"2026-10-25 00:00:00", "2026-10-25 00:30:00", "2026-10-25 02:00:00", "2026-10-25 02:30:00"}));
}

TEST(Cron, interval_counts_both_times) {
  EXPECT_EQ(runs("30 * * * *", "2026-10-25 00:00", "2026-10-25 03:00", "Europe/Berlin"),
            (moments{"2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 02:30:00"}));
  EXPECT_EQ(runs("*/30 2 * * *", "2026-10-24 22:00", "2026-10-25 12:00", "Europe/Berlin"),
            (moments{"2026-10-25 00:00:00", "2026-10-25 00:30:00", "2026-10-25 01:00:00", "2026-10-25 01:30:00"}));
}

TEST(Cron, works_in_zones_with_odd_offsets) {
  EXPECT_EQ(runs("0 9 * * *", "2026-06-01 00:00", "2026-06-02 00:00", "Asia/Kolkata"),
            (moments{"2026-06-01 03:30:00"}));
  // Lord Howe springs half an hour, from 02:00 to 02:30 on 2026-10-04 at 15:30 UTC of the day before.
  EXPECT_EQ(runs("15 2 * * *", "2026-10-03 00:00", "2026-10-04 00:00", "Australia/Lord_Howe"),
            (moments{"2026-10-03 15:30:00"}));
  // Samoa skipped a whole day.
  EXPECT_EQ(runs("0 12 * * *", "2011-12-28 12:00", "2012-01-01 00:00", "Pacific/Apia"),
            (moments{"2011-12-28 22:00:00", "2011-12-29 22:00:00", "2011-12-30 10:00:00", "2011-12-30 22:00:00",
                     "2011-12-31 22:00:00"}));
}

// The two searches and the definition agree, second by second, around both changes of a year.
TEST(Cron, search_agrees_with_a_walk_over_every_second) {
  auto zone = time_zone::load("America/New_York");
  for (const char* text : {"*/7 * * * *", "13 */3 * * *", "59 59 * * * *", "*/10 1-3 * * SUN"}) {
    cron_expression cron(text);
    for (const char* change : {"2026-03-08 04:00:00", "2026-11-01 03:00:00"}) {
      auto begin = when(change), expected = begin;
      for (auto at = begin + 1s; at < begin + 6h; at += 1s) {
        if (!cron.matches(at, zone)) continue;
        ASSERT_EQ(shown(cron.next(expected, zone)), shown(at)) << text;
        ASSERT_EQ(shown(cron.previous(at + 1s, zone)), shown(at)) << text;
        expected = at;
      }
    }
  }
}

}  // namespace
}  // namespace weir::sync
