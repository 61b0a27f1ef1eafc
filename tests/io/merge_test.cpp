// tests/io/merge_test.cpp: several sources as one, and a queue between a source and its reader.
#include <weir/io/merge.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ints = std::vector<int>;

generator<int> count(int begin, int last) {
  for (int i = begin; i <= last; ++i) co_yield i;
}
generator<int> count_slowly(int begin, int last, int pause) {
  for (int i = begin; i <= last; ++i) {
    for (int n = 0; n < pause; ++n) co_await yield();
    co_yield i;
  }
}

class MergeOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, MergeOnWorkers, ::testing::Values(1U, 3U));

TEST_P(MergeOnWorkers, gives_all_items_and_keeps_the_order_of_each_source) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             auto all =
                 co_await (merge(s, count(0, 99), count_slowly(100, 149, 2), count_slowly(200, 219, 5)) | to_vector());
             EXPECT_EQ(all.size(), 170U);
             for (int kind : {0, 1, 2}) {
               ints of_kind;
               std::copy_if(all.begin(), all.end(), std::back_inserter(of_kind),
                            [&](int i) { return i / 100 == kind; });
               EXPECT_TRUE(std::is_sorted(of_kind.begin(), of_kind.end()));
             }
           }));
}

// An earlier merge of nothing never ended (C1-ST-44).
TEST(Merge, of_nothing_ends_at_once) {
  run_with(1, with_scope([](scope& s) -> task<> {
             EXPECT_EQ(co_await (merge(s, std::vector<generator<int>>()) | to_vector()), ints{});
           }));
}

TEST(Merge, takes_a_list) {
  run_with(1, with_scope([](scope& s) -> task<> {
             std::vector<generator<int>> list;
             for (int i = 0; i < 5; ++i) list.push_back(count(10 * i, 10 * i + 2));
             auto all = co_await (merge(s, std::move(list)) | to_vector());
             EXPECT_EQ(all.size(), 15U);
           }));
}

// Rates of a thousand to ten: the slow one has its turn (C1-BP-24).
TEST(Merge, lets_no_quick_source_keep_a_slow_one_from_its_turn) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto merged = merge(s, count(0, 1'000'000), count(-5, -1));
             int others = 0;
             for (int found = 0; found < 5;) {
               auto item = co_await merged.next();
               (*item < 0 ? found : others) += 1;
             }
             EXPECT_LE(others, 20);
           }));
}

TEST(Merge, fails_with_the_first_failure_and_stops_the_other_sources) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto failing = []() -> generator<int> {
               co_yield 1;
               throw error(errc::err_closed);
             };
             auto endless = []() -> generator<int> {
               co_await forever();
               co_yield 2;
             };
             auto merged = merge(s, failing(), endless());
             auto outcome = co_await attempt(merged | to_vector());
             EXPECT_EQ(verdict(outcome), "ERR_CLOSED");
             EXPECT_EQ(verdict(co_await attempt(merged.next())), "ERR_CLOSED");
           }));  // would not end if a source still waited
}

TEST(Merge, takes_a_source_that_was_cancelled_by_itself_for_no_end) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto stopped = []() -> generator<int> {
               co_yield 1;
               throw cancelled();
             };
             auto outcome = co_await attempt(merge(s, stopped(), count(5, 6)) | to_vector());
             EXPECT_EQ(verdict(outcome), "ABORT_ERR");
           }));
}

TEST(Merge, stops_its_sources_when_it_is_dropped) {
  int before = counted::alive();
  run_with(1, with_scope([](scope& s) -> task<> {
             auto waits = [](counted) -> generator<int> {
               co_yield 1;
               co_await forever();
             };
             auto merged = merge(s, waits(counted()), waits(counted()));
             EXPECT_EQ(co_await merged.next(), 1);
           }));
  EXPECT_EQ(counted::alive(), before);
}

TEST(Merge, loses_nothing_when_a_wait_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto ends = make_pushed_readable<int>();
             auto merged = merge(s, std::move(ends.stream), readable<int>(count(1, 1)));
             EXPECT_EQ(co_await merged.next(), 1);
             EXPECT_EQ(verdict(co_await attempt(timeout(1ms, merged.next()))), "ETIMEDOUT");
             ends.queue.push_nowait(2);
             ends.queue.end();
             EXPECT_EQ(co_await merged.next(), 2);
             EXPECT_EQ(co_await merged.next(), std::nullopt);
           }));
}

TEST(Merge, tells_sources_apart_by_what_they_are_mapped_to) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto named = [](std::string name) { return map([name](int i) { return name + std::to_string(i); }); };
             auto all = co_await (merge(s, count(1, 2) | named("a"), count(1, 1) | named("b")) | to_vector());
             std::sort(all.begin(), all.end());
             EXPECT_EQ(all, (std::vector<std::string>{"a1", "a2", "b1"}));
           }));
}

TEST(Ahead, reads_up_to_its_mark_and_waits) {
  run_with(1, with_scope([](scope& s) -> task<> {
             int asked = 0;
             auto counting = [](int& at) -> generator<int> {
               for (int i = 1; i <= 100; ++i) {
                 at = i;
                 co_yield i;
               }
             };
             auto queue = counting(asked) | ahead(s, {.high_water_mark = 8});
             EXPECT_EQ(asked, 0);
             EXPECT_EQ(co_await queue.next(), 1);
             for (int n = 0; n < 100; ++n) co_await yield();
             EXPECT_EQ(asked, 10);  // one taken, eight queued, one that waits
             EXPECT_EQ(queue.length(), 8U);
             EXPECT_EQ((co_await (queue | to_vector())).size(), 99U);
           }));
}

TEST(Ahead, makes_a_generator_safe_to_wait_for_with_a_limit) {
  run_with(1, with_scope([](scope& s) -> task<> {
             event go;
             auto waits = [](event& e) -> generator<int> {
               co_await e.wait();
               co_yield 1;
             };
             auto queue = waits(go) | ahead(s);
             EXPECT_EQ(verdict(co_await attempt(timeout(1ms, queue.next()))), "ETIMEDOUT");
             go.set();
             EXPECT_EQ(co_await queue.next(), 1);
             EXPECT_EQ(co_await queue.next(), std::nullopt);
           }));
}

}  // namespace
}  // namespace weir::io
