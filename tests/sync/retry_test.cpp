#include <weir/sync/retry.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using ::testing::ElementsAre;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

backoff_options steady(nanoseconds delay, growth grows = growth::fixed) {
  return {.delay = delay, .grows = grows, .spread = jitter::none};
}

std::vector<nanoseconds> pauses(backoff_options options, int count) {
  backoff b(options);
  std::vector<nanoseconds> all;
  for (int i = 0; i < count; ++i) all.push_back(b.next());
  return all;
}

TEST(Backoff, grows_as_it_is_told_up_to_its_cap) {
  EXPECT_THAT(pauses(steady(10ms), 3), ElementsAre(10ms, 10ms, 10ms));
  EXPECT_THAT(pauses(steady(10ms, growth::linear), 3), ElementsAre(10ms, 20ms, 30ms));
  EXPECT_THAT(pauses(steady(10ms, growth::exponential), 4), ElementsAre(10ms, 20ms, 40ms, 80ms));
  auto capped = steady(10ms, growth::exponential);
  capped.max_delay = 25ms;
  capped.factor = 3;
  EXPECT_THAT(pauses(capped, 3), ElementsAre(10ms, 25ms, 25ms));
}

TEST(Backoff, stays_within_its_cap_after_thousands_of_pauses) {
  backoff b({.delay = 1s, .max_delay = nanoseconds::max(), .spread = jitter::none});
  for (int i = 0; i < 5000; ++i) EXPECT_GT(b.next(), 0ns);
  EXPECT_EQ(b.next(), nanoseconds::max());
  b.reset();
  EXPECT_EQ(b.count(), 0U);
  EXPECT_EQ(b.next(), 1s);
}

TEST(Backoff, spreads_pauses_over_the_range_of_its_jitter) {
  auto range = [](jitter how) {
    auto all = pauses({.delay = 100ms, .max_delay = 1s, .grows = growth::fixed, .spread = how, .seed = 7}, 2000);
    return std::pair(*std::min_element(all.begin(), all.end()), *std::max_element(all.begin(), all.end()));
  };
  auto [low, high] = range(jitter::full);
  EXPECT_LT(low, 2ms);
  EXPECT_GT(high, 98ms);
  EXPECT_LE(high, 100ms);
  std::tie(low, high) = range(jitter::equal);
  EXPECT_GE(low, 50ms);
  EXPECT_LT(low, 52ms);
  EXPECT_LE(high, 100ms);
  std::tie(low, high) = range(jitter::decorrelated);
  EXPECT_GE(low, 100ms);
  EXPECT_LE(high, 1s);
  EXPECT_GT(high, 900ms);
}

TEST(Backoff, is_the_same_for_the_same_seed_and_differs_without_one) {
  EXPECT_EQ(pauses({.seed = 3}, 10), pauses({.seed = 3}, 10));
  EXPECT_NE(pauses({}, 10), pauses({}, 10));
}

TEST(Backoff, refuses_what_makes_no_sense) {
  EXPECT_THROW(backoff({.delay = -1ms}), error);
  EXPECT_THROW(backoff({.max_delay = -1ms}), error);
  EXPECT_THROW(backoff({.factor = 0.5}), error);
}

TEST(Retry, completes_with_the_first_success) {
  on_virtual_time([]() -> task<> {
    std::vector<unsigned> tried;
    std::vector<nanoseconds> at;
    auto value = co_await retry(
        [&](unsigned attempt) -> task<std::string> {
          tried.push_back(attempt);
          at.push_back(virtual_clock::elapsed());
          if (attempt < 3) throw std::runtime_error("not yet");
          co_return "done";
        },
        {.attempts = 5, .pause = steady(1s, growth::linear)});
    EXPECT_EQ(value, "done");
    EXPECT_THAT(tried, ElementsAre(1U, 2U, 3U));
    EXPECT_THAT(at, ElementsAre(0s, 1s, 3s));
  }());
}

TEST(Retry, throws_the_last_failure_when_the_tries_are_used_up) {
  on_virtual_time([]() -> task<> {
    std::vector<std::string> told;
    int calls = 0;
    auto outcome = co_await attempt(retry(
        [&]() -> task<> {
          throw std::runtime_error("failure " + std::to_string(++calls));
          co_return;
        },
        {.attempts = 3, .pause = steady(2s, growth::exponential), .on_retry = [&](const retry_event& e) {
           told.push_back(std::to_string(e.attempt) + ' ' + std::to_string(e.delay / 1ms) + ' ' + e.why.message());
         }}));
    EXPECT_EQ(outcome.failure().message(), "failure 3");
    EXPECT_EQ(calls, 3);
    EXPECT_THAT(told, ElementsAre("1 2000 failure 1", "2 4000 failure 2"));
    EXPECT_EQ(virtual_clock::elapsed(), 6s);
  }());
}

TEST(Retry, takes_a_function_that_throws_before_it_makes_a_task) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    auto f = [&]() -> task<int> {
      if (++calls == 1) throw std::logic_error("no task at all");
      return [](int n) -> task<int> { co_return n; }(calls);
    };
    EXPECT_EQ(co_await retry(f), 2);
  }());
}

// C3-ASC: transient errors only.
TEST(Retry, gives_up_at_once_on_a_failure_that_is_not_worth_a_try) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    auto outcome = co_await attempt(retry(
        [&]() -> task<> {
          ++calls;
          throw os_error(calls == 1 ? ECONNRESET : ENOENT, "read");
          co_return;
        },
        {.attempts = 10, .retry_if = [](const failure& why) { return why.is("ECONNRESET"); }}));
    EXPECT_TRUE(outcome.failure().is("ENOENT"));
    EXPECT_EQ(calls, 2);
  }());
}

TEST(Retry, does_not_repeat_a_cancellation_by_itself) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    auto outcome = co_await attempt(retry([&]() -> task<> {
      ++calls;
      throw cancelled();
      co_return;
    }));
    EXPECT_TRUE(outcome.failure().is_cancelled());
    EXPECT_EQ(calls, 1);
  }());
}

TEST(Retry, stops_in_a_pause_and_in_a_call_when_it_is_cancelled) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    auto fails = [&]() -> task<> {
      ++calls;
      throw std::runtime_error("x");
      co_return;
    };
    auto waits = [&]() -> task<> {
      ++calls;
      co_await testing::forever();
    };
    EXPECT_TRUE((co_await attempt(timeout(1s, retry(fails, {.pause = steady(1h)})))).failure().is("ETIMEDOUT"));
    EXPECT_TRUE((co_await attempt(timeout(1s, retry(waits, {.pause = steady(1ms)})))).failure().is("ETIMEDOUT"));
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(virtual_clock::elapsed(), 2s);
  }());
}

TEST(Retry, ends_with_its_signal) {
  on_virtual_time([]() -> task<> {
    abort_controller stop;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await sleep(5s);
        stop.abort(std::make_exception_ptr(std::runtime_error("enough")));
      });
      auto outcome = co_await attempt(retry(
          []() -> task<> {
            throw std::runtime_error("x");
            co_return;
          },
          {.attempts = 100, .pause = steady(2s), .signal = stop.signal()}));
      EXPECT_EQ(outcome.failure().message(), "enough");
    });
    EXPECT_EQ(virtual_clock::elapsed(), 5s);
  }());
}

TEST(Retry, limits_the_time_of_each_call) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    auto outcome = co_await attempt(retry(
        [&]() -> task<> {
          ++calls;
          co_await testing::forever();
        },
        {.attempts = 2, .pause = steady(1s), .attempt_timeout = 3s}));
    EXPECT_TRUE(outcome.failure().is("ETIMEDOUT"));
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(virtual_clock::elapsed(), 7s);
  }());
}

TEST(Retry, keeps_to_its_deadline) {
  on_virtual_time([]() -> task<> {
    auto fails = []() -> task<> {
      throw std::runtime_error("last words");
      co_return;
    };
    auto outcome = co_await attempt(retry(fails, {.attempts = 100, .pause = steady(4s), .deadline = 10s}));
    EXPECT_EQ(outcome.failure().message(), "last words");
    EXPECT_EQ(virtual_clock::elapsed(), 8s);  // a third pause would not end in time
    auto waits = []() -> task<> { co_await testing::forever(); };
    outcome = co_await attempt(retry(waits, {.attempts = 100, .pause = steady(4s), .deadline = 10s}));
    EXPECT_TRUE(outcome.failure().is("ETIMEDOUT"));
    EXPECT_EQ(virtual_clock::elapsed(), 18s);
  }());
}

TEST(Retry, refuses_no_attempts) {
  on_virtual_time([]() -> task<> {
    auto outcome = co_await attempt(retry([]() -> task<> { co_return; }, {.attempts = 0}));
    EXPECT_TRUE(outcome.failure().is("ERR_OUT_OF_RANGE"));
  }());
}

TEST(Retry, works_for_tasks_of_several_workers) {
  testing::run_with(2, with_scope([](scope& s) -> task<> {
                      for (int i = 0; i < 50; ++i) {
                        s.spawn([]() -> task<> {
                          int calls = 0;
                          co_await retry(
                              [&]() -> task<> {
                                co_await yield();
                                if (++calls < 3) throw std::runtime_error("x");
                              },
                              {.pause = {.delay = 1ms}});
                        });
                      }
                      co_return;
                    }));
}

}  // namespace
}  // namespace weir::sync
