// tests/io/rate_test.cpp: operators that have to do with time, on virtual time; and sources that are made anew.
#include <weir/io/rate.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/retry.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ints = std::vector<int>;

generator<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
}
generator<int> count_every(std::chrono::milliseconds pause, int last) {
  for (int i = 1; i <= last; ++i) {
    co_await sleep(pause);
    co_yield i;
  }
}

TEST(Throttle, lets_a_burst_pass_and_then_holds_the_rate) {
  run_virtually([]() -> task<> {
    auto items = count_to(30) | throttle({.per_second = 100, .burst = 10});
    for (int i = 0; i < 10; ++i) co_await items.next();
    EXPECT_EQ(virtual_clock::elapsed(), 0ms);
    for (int i = 0; i < 20; ++i) co_await items.next();
    EXPECT_GE(virtual_clock::elapsed(), 200ms);
    EXPECT_LE(virtual_clock::elapsed(), 221ms);
  }());
}

// An earlier mean over the whole life let bursts pass without bound (C1-BP-09).
TEST(Throttle, saves_up_no_more_than_the_burst) {
  run_virtually([]() -> task<> {
    auto items = count_to(30) | throttle({.per_second = 100, .burst = 10});
    co_await items.next();
    co_await sleep(10s);
    auto begin = virtual_clock::elapsed();
    for (int i = 0; i < 10; ++i) co_await items.next();
    EXPECT_EQ(virtual_clock::elapsed(), begin);
    co_await items.next();
    EXPECT_GE(virtual_clock::elapsed(), begin + 10ms);
  }());
}

TEST(Throttle, counts_bytes_and_lets_a_chunk_larger_than_the_burst_pass_whole) {
  run_virtually([]() -> task<> {
    std::vector<buffer> chunks(5, buffer::alloc(1000));
    auto all = co_await (from(std::move(chunks)) | throttle({.per_second = 1000, .burst = 100}) | to_buffer());
    EXPECT_EQ(all.size(), 5000U);
    EXPECT_GE(virtual_clock::elapsed(), 4s);
    EXPECT_LE(virtual_clock::elapsed(), 4100ms);
  }());
}

TEST(Throttle, loses_no_item_that_waits_for_its_token) {
  run_virtually([]() -> task<> {
    auto items = count_to(3) | throttle({.per_second = 10, .burst = 1});
    EXPECT_EQ(co_await items.next(), 1);
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, items.next()))), "ETIMEDOUT");
    EXPECT_EQ(co_await items.next(), 2);
    EXPECT_EQ(co_await items.next(), 3);
    EXPECT_EQ(co_await items.next(), std::nullopt);
  }());
}

// A timer that outlived its stream would keep the run, and the virtual clock, going (C0-STR-19).
TEST(Throttle, leaves_no_timer_behind) {
  run_virtually([]() -> task<> {
    auto items = count_to(3) | throttle({.per_second = 0.001, .burst = 1});
    EXPECT_EQ(co_await items.next(), 1);
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, items.next()))), "ETIMEDOUT");
  }());
  EXPECT_LT(virtual_clock::elapsed(), 1s);
}

TEST(Throttle, refuses_a_rate_that_is_none) {
  for (double rate : {0.0, -1.0}) {
    EXPECT_THROW(static_cast<void>(count_to(1) | throttle({.per_second = rate})), error);
  }
  EXPECT_THROW(static_cast<void>(count_to(1) | throttle({.per_second = 1, .burst = -1})), error);
}

TEST(TimedBatch, is_handed_out_when_it_is_full) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto batches = count_to(5) | batch(s, {.size = 2, .within = 1s});
    EXPECT_EQ(co_await batches.next(), (ints{1, 2}));
    EXPECT_EQ(co_await batches.next(), (ints{3, 4}));
    EXPECT_EQ(co_await batches.next(), ints{5});
    EXPECT_EQ(co_await batches.next(), std::nullopt);
    EXPECT_EQ(virtual_clock::elapsed(), 0ms);
  }));
}

// An earlier design began its time anew with each item, so that a trickle was never handed out (C0-STR-18).
TEST(TimedBatch, waits_for_its_first_item_only_so_long) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto batches = count_every(30ms, 8) | batch(s, {.size = 100, .within = 100ms});
    auto first = co_await batches.next();
    EXPECT_LE(virtual_clock::elapsed(), 135ms);
    EXPECT_GE(first->size(), 3U);
    auto rest = *first;
    while (auto more = co_await batches.next()) rest.insert(rest.end(), more->begin(), more->end());
    EXPECT_EQ(rest, (ints{1, 2, 3, 4, 5, 6, 7, 8}));
  }));
}

TEST(TimedBatch, gives_what_came_before_a_failure_and_then_that) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto failing = []() -> generator<int> {
      co_yield 1;
      co_await sleep(10ms);
      throw error(errc::err_closed);
    };
    auto batches = failing() | batch(s, {.size = 10, .within = 1s});
    EXPECT_EQ(co_await batches.next(), ints{1});
    EXPECT_EQ(verdict(co_await attempt(batches.next())), "ERR_CLOSED");
  }));
}

TEST(TimedBatch, keeps_what_it_has_gathered_when_it_is_cancelled) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto batches = count_every(10ms, 4) | batch(s, {.size = 4, .within = 1s});
    EXPECT_EQ(verdict(co_await attempt(timeout(25ms, batches.next()))), "ETIMEDOUT");
    EXPECT_EQ(co_await batches.next(), (ints{1, 2, 3, 4}));
  }));
}

TEST(IdleTimeout, fails_when_the_source_is_silent_for_too_long) {
  run_virtually([]() -> task<> {
    auto pauses = [](ints times) -> generator<int> {
      for (int each : times) {
        co_await sleep(std::chrono::milliseconds(each));
        co_yield each;
      }
    };
    auto items = pauses({50, 90, 150}) | idle_timeout(100ms);
    EXPECT_EQ(co_await items.next(), 50);
    EXPECT_EQ(co_await items.next(), 90);
    EXPECT_EQ(verdict(co_await attempt(items.next())), "ETIMEDOUT");
  }());
}

// An earlier design counted the bytes twice (C0-STR-27), and divided by no time and no chunks (C1-BP-09, 16).
TEST(Measure, counts_what_passes_and_changes_nothing) {
  run_virtually([]() -> task<> {
    meter by;
    EXPECT_EQ(by.average_size(), 0);
    EXPECT_EQ(by.bytes_per_second(), 0);
    auto slow = []() -> generator<buffer> {
      for (int i = 0; i < 4; ++i) {
        co_await sleep(250ms);
        co_yield buffer::alloc(500);
      }
    };
    auto all = co_await (slow() | measure(by) | to_buffer());
    EXPECT_EQ(all.size(), 2000U);
    EXPECT_EQ(by.items(), 4U);
    EXPECT_EQ(by.bytes(), 2000U);
    EXPECT_EQ(by.average_size(), 500);
    EXPECT_TRUE(by.ended());
    EXPECT_NEAR(by.bytes_per_second(), 2000, 20);
    EXPECT_GE(by.waited(), 1s);
  }());
}

TEST(Measure, tells_who_is_waited_for) {
  run_virtually([]() -> task<> {
    meter by;
    auto items = count_to(4) | measure(by);
    while (co_await items.next()) co_await sleep(100ms);
    EXPECT_EQ(by.waited(), 0ns);
    EXPECT_GE(by.elapsed(), 400ms);
  }());
}

TEST(Progress, reports_now_and_then_and_at_the_end) {
  run_virtually([]() -> task<> {
    std::vector<std::uint64_t> reports;
    auto items = count_every(10ms, 25) | progress(100ms, [&](const meter& m) { reports.push_back(m.items()); });
    EXPECT_EQ((co_await (items | to_vector())).size(), 25U);
    EXPECT_GE(reports.size(), 3U);
    EXPECT_LE(reports.size(), 4U);
    EXPECT_EQ(reports.back(), 25U);
  }());
}

// Sources made anew

struct flaky {
  int made = 0;
  std::vector<resume_point> points = {};

  /// Gives two items and fails, from where the last one stopped, until six are given.
  generator<std::string> operator()(const resume_point& at) {
    ++made;
    points.push_back(at);
    return items(static_cast<int>(at.items));
  }
  static generator<std::string> items(int from) {
    for (int i = from; i < from + 2; ++i) co_yield "item " + std::to_string(i);
    if (from < 4) throw error(errc::err_socket_closed);
  }
};

// An earlier design sent again what had been sent (C1-ST-46).
TEST(Retry, goes_on_where_it_stopped_and_sends_nothing_twice) {
  run_virtually([]() -> task<> {
    flaky source;
    auto items = retry([&](const resume_point& at) { return source(at); }, {.attempts = 1, .delay = 100ms});
    EXPECT_EQ(co_await (items | to_vector()),
              (std::vector<std::string>{"item 0", "item 1", "item 2", "item 3", "item 4", "item 5"}));
    EXPECT_EQ(source.made, 3);
    EXPECT_EQ(source.points[1].items, 2U);
    EXPECT_EQ(source.points[1].bytes, 12U);
    EXPECT_EQ(source.points[2].attempt, 2U);
    EXPECT_GE(virtual_clock::elapsed(), 200ms);
    EXPECT_LE(virtual_clock::elapsed(), 205ms);
  }());
}

TEST(Retry, gives_up_after_so_many_failures_in_a_row_each_after_a_longer_pause) {
  run_virtually([]() -> task<> {
    int made = 0;
    auto hopeless = [&](const resume_point&) -> task<generator<int>> {
      ++made;
      throw error(errc::err_socket_closed, "attempt " + std::to_string(made));
      co_return count_to(0);
    };
    auto items = retry(hopeless, {.attempts = 3, .delay = 100ms, .factor = 2});
    auto outcome = co_await attempt(items.next());
    EXPECT_EQ(outcome.failure().message(), "attempt 4");
    EXPECT_GE(virtual_clock::elapsed(), 700ms);
    EXPECT_LE(virtual_clock::elapsed(), 710ms);
  }());
}

TEST(Retry, tries_again_only_what_it_is_told_to) {
  run_virtually([]() -> task<> {
    int made = 0;
    auto refused = [&](const resume_point&) -> generator<int> {
      ++made;
      throw error(errc::err_invalid_arg_value);
      co_yield 1;
    };
    auto items = retry(refused, {.when = [](const failure& why) { return why.is("ERR_SOCKET_CLOSED"); }});
    EXPECT_EQ(verdict(co_await attempt(items.next())), "ERR_INVALID_ARG_VALUE");
    EXPECT_EQ(made, 1);
  }());
}

TEST(Retry, is_not_what_a_cancellation_leads_to) {
  run_virtually([]() -> task<> {
    int made = 0;
    auto items = retry([&](const resume_point&) {
      ++made;
      return count_every(1s, 2);
    });
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, items.next()))), "ETIMEDOUT");
    EXPECT_EQ(made, 1);
  }());
}

// All of it as one value

TEST(Collect, into_containers_up_to_a_limit) {
  run_with(1, []() -> task<> {
    EXPECT_EQ(co_await (from({3, 1, 3}) | to<std::set<int>>()), (std::set<int>{1, 3}));
    EXPECT_EQ(verdict(co_await attempt(count_to(4) | to_vector({.limit = 3}))), "ERR_OUT_OF_RANGE");
    EXPECT_EQ((co_await (count_to(3) | to_vector({.limit = 3}))).size(), 3U);
  }());
}

TEST(Collect, bytes_into_one_buffer_without_a_copy_of_one_chunk) {
  run_with(1, []() -> task<> {
    auto only = buffer::from("only");
    EXPECT_EQ((co_await (from({only}) | to_buffer())).data(), only.data());
    EXPECT_EQ((co_await (from({buffer::from("a"), buffer::from("bc")}) | to_buffer())).text(), "abc");
    EXPECT_TRUE((co_await (from(std::vector<buffer>()) | to_buffer())).empty());
    auto endless = []() -> generator<buffer> {
      for (;;) co_yield buffer::alloc(1000);
    };
    EXPECT_EQ(verdict(co_await attempt(endless() | to_buffer({.max_bytes = 10'000}))), "ERR_BUFFER_TOO_LARGE");
  }());
}

TEST(Collect, text_whose_characters_are_cut_anywhere) {
  run_with(1, []() -> task<> {
    std::string all = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80";
    for (std::size_t at = 0; at <= all.size(); ++at) {
      std::vector<buffer> pieces{buffer::from(all.substr(0, at)), buffer::from(all.substr(at))};
      EXPECT_EQ(co_await (from(std::move(pieces)) | to_text({.invalid = invalid_text::fail})), all);
    }
    std::vector<buffer> bad{buffer::from("a\xff")};
    EXPECT_EQ(co_await (from(bad) | to_text()), "a\xef\xbf\xbd");
    EXPECT_EQ(verdict(co_await attempt(from(bad) | to_text({.invalid = invalid_text::fail}))),
              "ERR_ENCODING_INVALID_ENCODED_DATA");
    EXPECT_EQ(co_await (from({std::string("x"), std::string("y")}) | to_text()), "xy");
  }());
}

TEST(Collect, what_a_parser_makes_of_the_text) {
  run_with(1, []() -> task<> {
    EXPECT_EQ(co_await (from({buffer::from("4"), buffer::from("2")}) |
                        to_parsed([](const std::string& text) { return std::stoi(text); })),
              42);
  }());
}

}  // namespace
}  // namespace weir::io
