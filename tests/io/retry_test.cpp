// tests/io/retry_test.cpp: an operator that calls its function again for the same item, on virtual time; and what it
// shares with sources that are made anew (their own tests are in rate_test.cpp).
#include <weir/io/retry.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
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

/// Doubles what it gets, and fails so many times for each number first.
struct unsteady {
  std::vector<int> failures;  // left, by number
  ints calls;

  int operator()(const int& item) {
    calls.push_back(item);
    auto& left = failures[static_cast<std::size_t>(item)];
    if (left != 0) {
      --left;
      throw error(errc::err_socket_closed, "no " + std::to_string(item));
    }
    return 2 * item;
  }
};

TEST(RetryMap, calls_again_for_the_same_item_and_keeps_the_order) {
  run_virtually([]() -> task<> {
    unsteady f{{0, 0, 2, 0, 1}, {}};
    auto items = count_to(4) | retry_map(std::ref(f), {.again = {.delay = 100ms}});
    EXPECT_EQ(co_await (items | to_vector()), (ints{2, 4, 6, 8}));
    EXPECT_EQ(f.calls, (ints{1, 2, 2, 2, 3, 4, 4}));
    EXPECT_GE(virtual_clock::elapsed(), 400ms) << "100 and 200 for the second, 100 for the fourth";
    EXPECT_LE(virtual_clock::elapsed(), 410ms);
  }());
}

TEST(RetryMap, takes_a_coroutine_and_reads_no_item_ahead) {
  run_virtually([]() -> task<> {
    int read = 0;
    int calls = 0;
    auto source = [](int& read) -> generator<int> {
      for (;;) {
        ++read;
        co_yield read;
      }
    };
    auto slow = [&calls](const int& item) -> task<std::string> {
      co_await sleep(10ms);
      if (++calls % 3 != 0) throw error(errc::err_timeout);
      co_return std::to_string(item);
    };
    auto items = source(read) | retry_map(slow, {.again = {.delay = 1ms}});
    EXPECT_EQ(co_await items.next(), "1");
    EXPECT_EQ(read, 1);
    EXPECT_EQ(co_await items.next(), "2");
    EXPECT_EQ(read, 2);
    EXPECT_EQ(calls, 6);
  }());
}

TEST(RetryMap, gives_the_last_failure_to_the_reader_and_goes_on_behind_the_item) {
  run_virtually([]() -> task<> {
    unsteady f{{0, 0, 100, 0}, {}};
    auto items = count_to(3) | retry_map(std::ref(f), {.again = {.attempts = 2, .delay = 1ms}});
    EXPECT_EQ(co_await items.next(), 2);
    auto failed = co_await attempt(items.next());
    EXPECT_EQ(failed.failure().message(), "no 2");
    EXPECT_EQ(co_await items.next(), 6);
    EXPECT_EQ(co_await items.next(), std::nullopt);
    EXPECT_EQ(f.calls, (ints{1, 2, 2, 2, 3}));
  }());
}

// C0-STR-17: three more tries a second apart, each announced; then the item is given up, that is told, and the stream
// goes on. Nothing is pushed in part, so nothing comes twice.
TEST(C0_STR_17, a_retrying_transform_skips_what_fails_for_good) {
  run_virtually([]() -> task<> {
    unsteady f{{0, 0, 3, 4, 0}, {}};
    std::vector<std::string> told;
    auto items =
        count_to(4) | retry_map(std::ref(f), {.again = {.attempts = 3,
                                                        .delay = 1s,
                                                        .factor = 1,
                                                        .on_retry =
                                                            [&](const retry_event& e) {
                                                              EXPECT_EQ(e.delay, 1s);
                                                              told.push_back("retry " + std::to_string(e.failures) +
                                                                             " " + e.why.message());
                                                            }},
                                              .skip = [&](const failure& why) {
                                                told.push_back("gave up " + why.message());
                                                return true;
                                              }});
    EXPECT_EQ(co_await (items | to_vector()), (ints{2, 4, 8}));
    EXPECT_EQ(told, (std::vector<std::string>{"retry 1 no 2", "retry 2 no 2", "retry 3 no 2", "retry 1 no 3",
                                              "retry 2 no 3", "retry 3 no 3", "gave up no 3"}));
    EXPECT_GE(virtual_clock::elapsed(), 6s);
    EXPECT_LE(virtual_clock::elapsed(), 6100ms);
  }());
}

TEST(RetryMap, tries_again_only_what_it_is_told_to_and_skips_only_that) {
  run_virtually([]() -> task<> {
    unsteady f{{0, 1, 1}, {}};
    auto items =
        count_to(2) | retry_map(std::ref(f), {.again = {.when = [](const failure&) { return false; }},
                                              .skip = [](const failure& why) { return why.message() == "no 1"; }});
    auto failed = co_await attempt(items.next());
    EXPECT_EQ(failed.failure().message(), "no 2");
    EXPECT_EQ(f.calls, (ints{1, 2}));
  }());
}

TEST(RetryMap, ends_a_call_that_takes_too_long) {
  run_virtually([]() -> task<> {
    int calls = 0;
    auto hangs_once = [&calls](const int& item) -> task<int> {
      if (++calls == 1) co_await sleep(1h);
      co_return item;
    };
    auto items = count_to(2) | retry_map(hangs_once, {.again = {.delay = 1ms}, .attempt_timeout = 50ms});
    EXPECT_EQ(co_await (items | to_vector()), (ints{1, 2}));
    EXPECT_EQ(calls, 3);
    EXPECT_LT(virtual_clock::elapsed(), 1s);
    auto hangs = [](const int& item) -> task<int> {
      co_await sleep(1h);
      co_return item;
    };
    auto never = count_to(1) | retry_map(hangs, {.again = {.attempts = 1, .delay = 1ms}, .attempt_timeout = 50ms});
    auto failed = co_await attempt(never.next());
    EXPECT_TRUE(failed.failure().is("ETIMEDOUT"));
  }());
}

TEST(RetryMap, passes_on_what_the_source_fails_with) {
  run_virtually([]() -> task<> {
    unsteady f{{0, 0}, {}};
    auto breaks = []() -> generator<int> {
      co_yield 1;
      throw error(errc::err_socket_closed, "source");
    };
    auto items = breaks() | retry_map(std::ref(f));
    EXPECT_EQ(co_await items.next(), 2);
    auto failed = co_await attempt(items.next());
    EXPECT_EQ(failed.failure().message(), "source");
    EXPECT_EQ(f.calls, (ints{1}));
  }());
}

TEST(RetryMap, of_things_that_only_move_lends_them_to_the_function) {
  run_virtually([]() -> task<> {
    std::vector<std::unique_ptr<int>> some;
    for (int i = 0; i < 3; ++i) some.push_back(std::make_unique<int>(i));
    int calls = 0;
    auto read = [&calls](const std::unique_ptr<int>& item) {
      if (++calls == 2) throw error(errc::err_timeout);
      return *item;
    };
    EXPECT_EQ(co_await (from(std::move(some)) | retry_map(read, {.again = {.delay = 1ms}}) | to_vector()),
              (ints{0, 1, 2}));
  }());
}

TEST(RetryMap, cancelled_at_any_suspension_goes_on_with_the_same_item) {
  struct state {
    unsteady f{{0, 1, 2, 1}, {}};
    std::vector<int> source{1, 2, 3};
  };
  auto read_twice = [](std::size_t rounds) {
    return run_with(1, [](std::size_t rounds) -> task<bool> {
      state s;
      ints got;
      auto items = from(s.source) | retry_map(
                                        [&s](const int& item) -> task<int> {
                                          co_await yield();
                                          int made = s.f(item);
                                          co_await yield();
                                          co_return made;
                                        },
                                        {.again = {.delay = 0ns}});
      auto read = [&]() -> task<> {
        while (auto item = co_await items.next()) got.push_back(*item);
      };
      auto unused = [](const result<void>&) {};
      bool in_time = co_await cancelling::run_once(read, unused, rounds);
      EXPECT_FALSE(items.closed());
      co_await read();
      EXPECT_EQ(got, (ints{2, 4, 6})) << "after " << rounds;
      co_return in_time;
    }(rounds));
  };
  std::size_t rounds = 0;
  while (!read_twice(rounds)) ++rounds;
  EXPECT_GT(rounds, 8U);
}

TEST(RetryMap, without_a_pause_lets_others_run) {
  run_with(1, []() -> task<> {
    bool stop = false;
    auto fails = [&stop](const int& item) {
      if (!stop) throw error(errc::err_timeout);
      return item;
    };
    co_await with_scope([&](scope& s) -> task<> {
      set_timeout([&stop] { stop = true; }, 2ms);
      auto reader = s.spawn_local([&]() -> task<ints> {
        co_return co_await (
            count_to(2) |
            retry_map(fails, {.again = {.attempts = std::numeric_limits<unsigned>::max(), .delay = 0ns}}) |
            to_vector());
      });
      EXPECT_EQ(co_await std::move(reader), (ints{1, 2}));
    });
  }());
}

TEST(Retry, without_a_pause_lets_others_run) {
  run_with(1, []() -> task<> {
    bool stop = false;
    auto make = [&stop](const resume_point&) {
      if (!stop) throw error(errc::err_timeout);
      return count_to(2);
    };
    set_timeout([&stop] { stop = true; }, 2ms);
    auto items = retry(make, {.attempts = std::numeric_limits<unsigned>::max(), .delay = 0ns, .factor = 2});
    EXPECT_EQ(co_await (items | to_vector()), (ints{1, 2}));
  }());
}

TEST(Retry, tells_of_each_pause_and_leaves_a_share_of_it_to_chance) {
  run_virtually([]() -> task<> {
    std::vector<std::chrono::nanoseconds> pauses;
    auto refused = [](const resume_point&) -> generator<int> {
      throw error(errc::err_socket_closed);
      co_yield 1;
    };
    auto items = retry(
        refused, {.attempts = 100, .delay = 100ms, .factor = 1, .jitter = 0.5, .on_retry = [&](const retry_event& e) {
                    pauses.push_back(e.delay);
                  }});
    EXPECT_FALSE(co_await attempt(items.next()));
    EXPECT_EQ(pauses.size(), 100U);
    std::chrono::nanoseconds sum{0};
    for (auto each : pauses) {
      EXPECT_GE(each, 50ms);
      EXPECT_LE(each, 100ms);
      sum += each;
    }
    EXPECT_NEAR(static_cast<double>(sum / 1ms) / 100, 75, 8);
    EXPECT_GE(virtual_clock::elapsed(), sum);
  }());
}

TEST(Retry, refuses_figures_that_make_no_sense) {
  auto none = [](const resume_point&) { return count_to(1); };
  auto same = [](const int& item) { return item; };
  for (double jitter : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(static_cast<void>(retry(none, {.jitter = jitter})), error);
    EXPECT_THROW(static_cast<void>(count_to(1) | retry_map(same, {.again = {.jitter = jitter}})), error);
  }
  EXPECT_THROW(static_cast<void>(retry(none, {.factor = -1})), error);
  EXPECT_THROW(static_cast<void>(retry(none, {.factor = std::numeric_limits<double>::quiet_NaN()})), error);
}

}  // namespace
}  // namespace weir::io
