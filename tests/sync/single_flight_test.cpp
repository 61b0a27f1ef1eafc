#include <weir/sync/single_flight.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using ::testing::Each;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

/// Counts its calls and takes a second for each.
struct slow {
  int calls = 0;
  auto function(int value) {
    return [this, value]() -> task<int> {
      ++calls;
      co_await sleep(1s);
      co_return value;
    };
  }
};

// C3-CCH-06: a miss that many have at once.
TEST(SingleFlight, does_the_same_work_once_for_many) {
  on_virtual_time([]() -> task<> {
    single_flight<std::string, int> flights;
    slow work;
    std::vector<int> got;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 10; ++i) {
        s.spawn_local([&, i]() -> task<> { got.push_back(co_await flights.run("key", work.function(i))); });
      }
      s.spawn_local([&]() -> task<> { EXPECT_EQ(co_await flights.run("other", work.function(99)), 99); });
      co_return;
    });
    EXPECT_EQ(got.size(), 10U);
    EXPECT_THAT(got, Each(0));
    EXPECT_EQ(work.calls, 2);
    EXPECT_EQ(virtual_clock::elapsed(), 1s);
    EXPECT_EQ(flights.size(), 0U);
    EXPECT_EQ(co_await flights.run("key", work.function(5)), 5);
  }());
}

TEST(SingleFlight, shares_a_failure_and_does_not_keep_it) {
  on_virtual_time([]() -> task<> {
    single_flight<int, int> flights({.keep = 1h});
    int calls = 0;
    auto fails = [&]() -> task<int> {
      ++calls;
      co_await sleep(1s);
      throw std::runtime_error("failed");
    };
    auto both = co_await all_settled(flights.run(1, fails), flights.run(1, fails));
    EXPECT_EQ(std::get<0>(both).failure().message(), "failed");
    EXPECT_EQ(std::get<1>(both).failure().message(), "failed");
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(co_await flights.run(1, []() -> task<int> { co_return 2; }), 2);
  }());
}

TEST(SingleFlight, takes_a_function_that_throws_at_once) {
  on_virtual_time([]() -> task<> {
    single_flight<int, void> flights;
    auto outcome = co_await attempt(flights.run(1, []() -> task<> { throw std::runtime_error("no task"); }));
    EXPECT_EQ(outcome.failure().message(), "no task");
    co_await flights.run(1, []() -> task<> { co_return; });
    EXPECT_EQ(flights.size(), 0U);
  }());
}

TEST(SingleFlight, goes_on_with_the_next_caller_when_the_first_is_cancelled) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    single_flight<int, int> flights;
    slow work;
    auto first = s.spawn_local([&]() -> task<int> { return flights.run(1, work.function(1)); });
    co_await yield();
    auto second = s.spawn_local([&]() -> task<int> { return flights.run(1, work.function(2)); });
    auto third = s.spawn_local([&]() -> task<int> { return flights.run(1, work.function(3)); });
    co_await sleep(500ms);
    first.cancel();
    EXPECT_EQ(co_await std::move(second), 2);
    EXPECT_EQ(co_await std::move(third), 2);
    EXPECT_EQ(work.calls, 2);
    EXPECT_EQ(virtual_clock::elapsed(), 1500ms);
    EXPECT_EQ(flights.size(), 0U);
  }));
}

TEST(SingleFlight, leaves_the_work_alone_when_one_that_waits_is_cancelled) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    single_flight<int, int> flights;
    slow work;
    auto first = s.spawn_local([&]() -> task<int> { return flights.run(1, work.function(1)); });
    co_await yield();
    EXPECT_FALSE(co_await attempt(timeout(100ms, flights.run(1, work.function(2)))));
    EXPECT_EQ(co_await std::move(first), 1);
    EXPECT_EQ(work.calls, 1);
  }));
}

TEST(SingleFlight, keeps_values_for_a_time_and_up_to_a_number) {
  on_virtual_time([]() -> task<> {
    single_flight<int, int> memo({.keep = 10s, .max_kept = 2});
    slow work;
    EXPECT_EQ(co_await memo.run(1, work.function(1)), 1);
    EXPECT_EQ(co_await memo.run(1, work.function(9)), 1);
    EXPECT_EQ(work.calls, 1);
    co_await sleep(10s);
    EXPECT_EQ(co_await memo.run(1, work.function(11)), 11);
    EXPECT_EQ(co_await memo.run(2, work.function(2)), 2);
    EXPECT_EQ(co_await memo.run(3, work.function(3)), 3);
    EXPECT_EQ(memo.size(), 2U);
    EXPECT_EQ(co_await memo.run(2, work.function(9)), 2);
    EXPECT_EQ(co_await memo.run(1, work.function(12)), 12);
    EXPECT_TRUE(memo.forget(1));
    EXPECT_FALSE(memo.forget(1));
    memo.forget_all();
    EXPECT_EQ(memo.size(), 0U);
  }());
}

TEST(SingleFlight, does_not_share_what_was_forgotten_while_it_ran) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    single_flight<int, int> memo({.keep = 1h});
    slow work;
    auto stale = s.spawn_local([&]() -> task<int> { return memo.run(1, work.function(1)); });
    co_await yield();
    EXPECT_TRUE(memo.forget(1));
    EXPECT_EQ(co_await memo.run(1, work.function(2)), 2);
    EXPECT_EQ(co_await std::move(stale), 1);
    EXPECT_EQ(co_await memo.run(1, work.function(3)), 2);
  }));
}

TEST(SingleFlight, works_across_workers_while_callers_are_cancelled) {
  single_flight<int, int> flights;
  std::atomic<int> running{0};
  std::atomic<bool> overlapped{false};
  testing::run_with(2, with_scope([&](scope& s) -> task<> {
                      for (std::size_t i = 0; i < testing::rounds(2000); ++i) {
                        auto one = s.spawn([&]() -> task<> {
                          static_cast<void>(co_await attempt(flights.run(7, [&]() -> task<int> {
                            if (running.fetch_add(1) != 0) overlapped = true;
                            auto outcome = co_await attempt(yield());
                            running.fetch_sub(1);
                            if (!outcome) outcome.failure().rethrow();
                            co_return 1;
                          })));
                        });
                        if (i % 3 == 0) one.cancel();
                        if (i % 16 == 0) co_await yield();
                      }
                    }));
  EXPECT_FALSE(overlapped);
  EXPECT_EQ(flights.size(), 0U);
}

}  // namespace
}  // namespace weir::sync
