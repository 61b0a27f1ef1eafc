#include <weir/sync/time_zone.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;

sys_seconds utc(int y, unsigned m, unsigned d, int h = 0, int min = 0, int s = 0) {
  return sys_days(year(y) / month(m) / day(d)) + hours(h) + minutes(min) + seconds(s);
}
local_seconds clock_time(int y, unsigned m, unsigned d, int h = 0, int min = 0, int s = 0) {
  return local_seconds(utc(y, m, d, h, min, s).time_since_epoch());
}

std::vector<char> octets_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(TimeZone, knows_the_periods_of_a_zone) {
  auto berlin = time_zone::load("Europe/Berlin");
  EXPECT_EQ(berlin.name(), "Europe/Berlin");
  auto winter = berlin.at(utc(2026, 1, 15));
  EXPECT_EQ(winter.offset, 1h);
  EXPECT_FALSE(winter.daylight_saving);
  EXPECT_EQ(winter.begin, utc(2025, 10, 26, 1));
  EXPECT_EQ(winter.end, utc(2026, 3, 29, 1));
  auto summer = berlin.at(utc(2026, 3, 29, 1));
  EXPECT_EQ(summer.offset, 2h);
  EXPECT_TRUE(summer.daylight_saving);
  EXPECT_EQ(time_zone().at(utc(2026, 1, 1)).offset, 0s);
  EXPECT_EQ(time_zone::load("UTC").name(), "UTC");
}

TEST(TimeZone, goes_by_the_rule_after_the_last_transition_of_the_file) {
  auto berlin = time_zone::load("Europe/Berlin");
  EXPECT_EQ(berlin.at(utc(2100, 7, 1)).offset, 2h);
  EXPECT_EQ(berlin.at(utc(2100, 1, 1)).offset, 1h);
  EXPECT_EQ(berlin.at(utc(2100, 7, 1)).begin, utc(2100, 3, 28, 1));
  auto sydney = time_zone::load("Australia/Sydney");
  EXPECT_EQ(sydney.at(utc(2099, 1, 1)).offset, 11h);
  EXPECT_EQ(sydney.at(utc(2099, 7, 1)).offset, 10h);
}

TEST(TimeZone, tells_gaps_and_overlaps) {
  auto berlin = time_zone::load("Europe/Berlin");
  auto gap = berlin.to_sys(clock_time(2026, 3, 29, 2, 30));
  EXPECT_EQ(gap.how, zone_moments::gap);
  EXPECT_EQ(gap.first, utc(2026, 3, 29, 1));
  auto twice = berlin.to_sys(clock_time(2026, 10, 25, 2, 30));
  EXPECT_EQ(twice.how, zone_moments::overlap);
  EXPECT_EQ(twice.first, utc(2026, 10, 25, 0, 30));
  EXPECT_EQ(twice.second, utc(2026, 10, 25, 1, 30));
  EXPECT_EQ(berlin.to_sys(clock_time(2026, 3, 29, 3)).how, zone_moments::unique);
  EXPECT_EQ(berlin.to_sys(clock_time(2026, 3, 29, 1, 59, 59)).how, zone_moments::unique);
  auto samoa = time_zone::load("Pacific/Apia");  // which had no 30 December 2011
  EXPECT_EQ(samoa.to_sys(clock_time(2011, 12, 30, 12)).how, zone_moments::gap);
  EXPECT_EQ(samoa.to_sys(clock_time(2011, 12, 30, 12)).first, utc(2011, 12, 30, 10));
}

// Puts the environment back as it was.
struct kept_tz {
  kept_tz() {
    if (const char* before = std::getenv("TZ")) value = before;
  }
  kept_tz(const kept_tz&) = delete;
  kept_tz& operator=(const kept_tz&) = delete;
  ~kept_tz() {
    if (value) {
      ::setenv("TZ", value->c_str(), 1);
    } else {
      ::unsetenv("TZ");
    }
    ::tzset();
  }
  std::optional<std::string> value;
};

TEST(TimeZone, of_the_process_is_what_TZ_says) {
  kept_tz kept;
  auto offset_with = [](const char* tz) {
    ::setenv("TZ", tz, 1);
    return time_zone::local().at(utc(2026, 7, 1)).offset;
  };
  EXPECT_EQ(offset_with("Europe/Berlin"), 2h);
  EXPECT_EQ(offset_with(":Asia/Kolkata"), 5h + 30min);
  EXPECT_EQ(offset_with("/usr/share/zoneinfo/Asia/Tokyo"), 9h);
  EXPECT_EQ(offset_with("EST5EDT,M3.2.0,M11.1.0"), -4h);
  EXPECT_EQ(offset_with(""), 0s);
  EXPECT_EQ(offset_with("UTC"), 0s);
  EXPECT_THROW(offset_with("Middle of Nowhere"), error);
  EXPECT_THROW(offset_with("/nowhere"), error);
}

TEST(TimeZone, agrees_with_the_system) {
  kept_tz kept;
  for (const char* name : {"Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
                           "Africa/Casablanca", "Europe/Dublin", "America/Sao_Paulo"}) {
    auto zone = time_zone::load(name);
    ::setenv("TZ", name, 1);
    ::tzset();
    for (auto when = utc(1960, 1, 1); when < utc(2060, 1, 1); when += 97h + 13min) {
      std::time_t seconds_of = when.time_since_epoch().count();
      std::tm broken{};
      ::localtime_r(&seconds_of, &broken);
      ASSERT_EQ(zone.at(when).offset.count(), broken.tm_gmtoff) << name << " " << seconds_of;
    }
  }
}

TEST(TimeZone, reads_posix_rules) {
  auto new_york = time_zone::from_rule("EST5EDT,M3.2.0,M11.1.0");
  EXPECT_EQ(new_york.at(utc(2026, 7, 1)).offset, -4h);
  EXPECT_EQ(new_york.at(utc(2026, 3, 8, 7)).begin, utc(2026, 3, 8, 7));
  EXPECT_EQ(time_zone::from_rule("<+0330>-3:30").at(utc(2026, 1, 1)).offset, 3h + 30min);
  EXPECT_EQ(time_zone::from_rule("AAA3BBB,J60/0,J300/0").at(utc(2024, 3, 1, 3)).offset, -2h);  // J60: always 1 March
  EXPECT_EQ(time_zone::from_rule("XXX3YYY4,0/0,J365/23").at(utc(2026, 6, 1)).offset, -4h);     // all year
  for (const char* bad : {"", "AB3", "ABC", "ABC25", "ABC3DEF", "ABC3DEF,M3.2.0", "ABC3DEF,M13.1.0,J4", "ABC3DEF,J0,J4",
                          "ABC3DEF,J1,J2x", "<+>3", "ABC3:60", "ABC3DEF,M1.1.1/168,J2"}) {
    EXPECT_THROW(time_zone::from_rule(bad), error) << bad;
  }
}

TEST(TimeZone, refuses_names_that_lead_elsewhere_and_files_that_are_no_zones) {
  for (const char* bad : {"", "/etc/passwd", "../../../etc/passwd", "Europe/../../passwd", "a b", "zone\n"}) {
    EXPECT_THROW(time_zone::load(bad), error) << bad;
  }
  try {
    time_zone::load("Europe/Atlantis");
    ADD_FAILURE();
  } catch (const error& e) {
    EXPECT_EQ(e.code_name(), "ENOENT");
  }
  EXPECT_THROW(time_zone::load("tzdata.zi"), error);
}

TEST(TimeZone, refuses_a_file_that_is_cut_anywhere) {
  auto whole = octets_of("/usr/share/zoneinfo/Europe/Berlin");
  ASSERT_GT(whole.size(), 100U);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    EXPECT_THROW(time_zone::from_tzif(std::as_bytes(std::span(whole.data(), n))), error) << n;
  }
  EXPECT_EQ(time_zone::from_tzif(std::as_bytes(std::span(whole)), "B").at(utc(2026, 7, 1)).offset, 2h);
}

}  // namespace
}  // namespace weir::sync
