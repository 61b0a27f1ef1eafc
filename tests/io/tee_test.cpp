// tests/io/tee_test.cpp: one source read by several: what each policy does to a slow branch, and what the fate of one
// branch means for the others.
#include <weir/io/tee.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ints = std::vector<int>;

generator<int> count_to(int last, int* asked = nullptr) {
  for (int i = 1; i <= last; ++i) {
    if (asked != nullptr) *asked = i;
    co_yield i;
  }
}

ints first(int last) {
  ints all;
  for (int i = 1; i <= last; ++i) all.push_back(i);
  return all;
}

class TeeOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, TeeOnWorkers, ::testing::Values(1U, 3U));

TEST_P(TeeOnWorkers, gives_every_item_to_every_branch_in_order) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             auto branches = tee(count_to(1000), 3);
             std::vector<join_handle<ints>> readers;
             for (auto& each : branches)
               readers.push_back(
                   s.spawn([](auto branch) -> task<ints> { co_return co_await (std::move(branch) | to_vector()); },
                           std::move(each)));
             for (auto& each : readers) EXPECT_EQ(co_await std::move(each), first(1000));
           }));
}

TEST(Tee, waits_for_a_slow_branch_with_its_queue_full) {
  run_with(1, with_scope([](scope& s) -> task<> {
             int asked = 0;
             auto branches = tee(count_to(100, &asked), {{.high_water_mark = 4}, {.high_water_mark = 4}});
             auto quick =
                 s.spawn_local([](auto branch) -> task<ints> { co_return co_await (std::move(branch) | to_vector()); },
                               std::move(branches[0]));
             for (int n = 0; n < 100; ++n) co_await yield();
             EXPECT_EQ(asked, 5);  // four queued, one in the hand of the reader that waits
             EXPECT_EQ(branches[1].length(), 4U);
             EXPECT_EQ(co_await branches[1].next(), 1);
             for (int n = 0; n < 100; ++n) co_await yield();
             EXPECT_EQ(asked, 6);
             EXPECT_EQ((co_await (branches[1] | to_vector())).size(), 99U);
             EXPECT_EQ(co_await std::move(quick), first(100));
           }));
}

TEST(Tee, drops_and_counts_for_a_branch_that_may_lose) {
  run_with(1, []() -> task<> {
    drop_count dropped;
    auto branches = tee(count_to(10), {{}, {.when_slow = slow_branch::drop, .high_water_mark = 3, .dropped = dropped}});
    EXPECT_EQ(co_await (branches[0] | to_vector()), first(10));
    EXPECT_EQ(dropped.value(), 7U);
    EXPECT_EQ(co_await (branches[1] | to_vector()), first(3));
  }());
}

TEST(Tee, fails_a_branch_that_is_too_slow_and_no_other) {
  run_with(1, []() -> task<> {
    auto branches = tee(count_to(10), {{}, {.when_slow = slow_branch::fail, .high_water_mark = 3}});
    EXPECT_EQ(co_await (branches[0] | to_vector()), first(10));
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(co_await branches[1].next(), i);
    EXPECT_EQ(verdict(co_await attempt(branches[1].next())), "ERR_QUEUE_FULL");
    EXPECT_EQ(verdict(co_await attempt(branches[1].next())), "ERR_QUEUE_FULL");
  }());
}

TEST(Tee, goes_on_without_a_branch_that_is_gone) {
  run_with(1, []() -> task<> {
    auto branches = tee(count_to(10), 2);
    EXPECT_EQ(co_await branches[1].next(), 1);
    branches.pop_back();
    EXPECT_EQ(co_await (branches[0] | to_vector()), first(10));
  }());
}

TEST(Tee, a_branch_that_goes_lets_those_go_on_that_wait_for_it) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto branches = tee(count_to(10), {{}, {.high_water_mark = 1}});
             auto waits =
                 s.spawn_local([](auto branch) -> task<ints> { co_return co_await (std::move(branch) | to_vector()); },
                               std::move(branches[0]));
             for (int n = 0; n < 10; ++n) co_await yield();
             EXPECT_FALSE(waits.done());
             branches[1].destroy();
             EXPECT_EQ(co_await std::move(waits), first(10));
           }));
}

TEST(Tee, ends_all_together_if_told_so) {
  run_with(1, []() -> task<> {
    auto branches = tee(count_to(10), 2, {.together = true});
    EXPECT_EQ(co_await branches[1].next(), 1);
    branches[1].destroy();
    EXPECT_EQ(co_await branches[0].next(), 1);  // what it has already
    EXPECT_EQ(verdict(co_await attempt(branches[0].next())), "ERR_STREAM_PREMATURE_CLOSE");
  }());
}

// An earlier fork had no error path at all (C1-ST-43).
TEST(Tee, hands_the_failure_of_the_source_to_all_behind_what_is_queued) {
  run_with(1, []() -> task<> {
    auto failing = []() -> generator<int> {
      co_yield 1;
      throw error(errc::err_closed);
    };
    auto branches = tee(failing(), 2);
    EXPECT_EQ(co_await branches[0].next(), 1);
    EXPECT_EQ(verdict(co_await attempt(branches[0].next())), "ERR_CLOSED");
    EXPECT_EQ(co_await branches[1].next(), 1);
    EXPECT_EQ(verdict(co_await attempt(branches[1].next())), "ERR_CLOSED");
  }());
}

TEST(Tee, loses_nothing_when_the_branch_that_reads_for_all_is_cancelled) {
  run_with(1, []() -> task<> {
    auto ends = make_pushed_readable<int>();
    auto branches = tee(std::move(ends.stream), {{}, {.high_water_mark = 1}});
    EXPECT_EQ(verdict(co_await attempt(timeout(1ms, branches[0].next()))), "ETIMEDOUT");
    ends.queue.push_nowait(1);
    ends.queue.push_nowait(2);
    EXPECT_EQ(co_await branches[0].next(), 1);
    // It has read the second item and waits for room in the other branch.
    EXPECT_EQ(verdict(co_await attempt(timeout(1ms, branches[0].next()))), "ETIMEDOUT");
    EXPECT_EQ(co_await branches[1].next(), 1);
    EXPECT_EQ(co_await branches[1].next(), 2);
    EXPECT_EQ(co_await branches[0].next(), 2);
  }());
}

TEST(Tee, shares_the_memory_of_buffers) {
  run_with(1, []() -> task<> {
    auto chunk = buffer::from("shared");
    auto branches = tee(from({chunk}), 2);
    EXPECT_EQ((co_await branches[0].next())->data(), chunk.data());
    EXPECT_EQ((co_await branches[1].next())->data(), chunk.data());
  }());
}

TEST(Tee, lets_the_source_go_with_the_last_branch) {
  run_with(1, []() -> task<> {
    int before = counted::alive();
    auto source = [](counted) -> generator<int> { co_yield 1; };
    auto branches = tee(source(counted()), 2);
    EXPECT_EQ(co_await branches[0].next(), 1);
    branches.pop_back();
    EXPECT_GT(counted::alive(), before);
    branches.pop_back();
    EXPECT_EQ(counted::alive(), before);
  }());
}

}  // namespace
}  // namespace weir::io
