// tests/io/operators_test.cpp: operators one by one: what they give, in which order, what they ask of their source, and
// what is left when a call is cancelled or fails.
#include <weir/io/operators.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/concurrent.hpp>
#include <weir/io/merge.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/tee.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <memory>
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
generator<int> count_for_ever(int& asked) {
  for (int i = 1;; ++i) {
    asked = i;
    co_yield i;
  }
}
generator<int> fail_after(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
  throw error(errc::err_closed);
}

bool even(const int& i) { return i % 2 == 0; }
task<bool> even_later(const int& i) {
  co_await yield();
  co_return i % 2 == 0;
}
int twice(int i) { return 2 * i; }
task<int> twice_later(int i) {
  co_await yield();
  co_return 2 * i;
}

template <class S>
auto all_of(S&& from) {
  return run_with(1, std::forward<S>(from) | to_vector());
}

TEST(Operators, map_every_item_in_order) {
  EXPECT_EQ(all_of(count_to(4) | map(twice)), (ints{2, 4, 6, 8}));
  EXPECT_EQ(all_of(count_to(4) | map(twice_later)), (ints{2, 4, 6, 8}));
  auto lengths = all_of(from({std::string("a"), std::string("bcd")}) | map(&std::string::size));
  EXPECT_EQ(lengths, (std::vector<std::size_t>{1, 3}));
}

TEST(Operators, map_what_can_only_be_moved) {
  auto boxes = all_of(count_to(3) | map([](int i) { return std::make_unique<int>(i); }) |
                      filter([](const std::unique_ptr<int>& each) { return *each != 2; }));
  ASSERT_EQ(boxes.size(), 2U);
  EXPECT_EQ(*boxes[1], 3);
}

TEST(Operators, filter_by_a_function_or_a_coroutine) {
  EXPECT_EQ(all_of(count_to(6) | filter(even)), (ints{2, 4, 6}));
  EXPECT_EQ(all_of(count_to(6) | filter(even_later)), (ints{2, 4, 6}));
}

TEST(Operators, do_nothing_before_they_are_asked) {
  run_with(1, []() -> task<> {
    int asked = 0;
    int called = 0;
    auto chain = count_for_ever(asked) | map([&](int i) {
                   ++called;
                   return i;
                 }) |
                 filter(even);
    EXPECT_EQ(asked, 0);
    EXPECT_EQ(co_await chain.next(), 2);
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(called, 2);
  }());
}

TEST(Operators, take_asks_for_no_item_too_many_and_lets_the_source_go) {
  run_with(1, []() -> task<> {
    int asked = 0;
    auto gone = std::make_shared<int>();
    auto source = [](std::shared_ptr<int>, int& a) -> generator<int> {
      for (int i = 1;; ++i) {
        a = i;
        co_yield i;
      }
    };
    auto some = source(gone, asked) | take(3);
    while (co_await some.next()) {
    }
    EXPECT_EQ(asked, 3);
    EXPECT_EQ(gone.use_count(), 1);
    EXPECT_EQ(co_await some.next(), std::nullopt);
  }());
  EXPECT_EQ(all_of(count_to(3) | take(0)), ints{});
  EXPECT_EQ(all_of(count_to(3) | take(9)), (ints{1, 2, 3}));
}

TEST(Operators, borrow_a_source_given_by_name) {
  run_with(1, []() -> task<> {
    auto numbers = count_to(6);
    EXPECT_EQ(co_await (numbers | take(2) | to_vector()), (ints{1, 2}));
    EXPECT_EQ(co_await (numbers | find([](int i) { return i > 3; })), 4);
    EXPECT_EQ(co_await numbers.next(), 5);
  }());
}

TEST(Operators, drop_the_first_or_all) {
  EXPECT_EQ(all_of(count_to(5) | drop(3)), (ints{4, 5}));
  EXPECT_EQ(all_of(count_to(5) | drop(0)), (ints{1, 2, 3, 4, 5}));
  EXPECT_EQ(all_of(count_to(5) | drop(7)), ints{});
}

TEST(Operators, take_and_drop_while) {
  auto small = [](const int& i) { return i % 5 < 3; };
  EXPECT_EQ(all_of(count_to(6) | take_while(small)), (ints{1, 2}));
  EXPECT_EQ(all_of(count_to(6) | drop_while(small)), (ints{3, 4, 5, 6}));
}

TEST(Operators, tap_shows_every_item_and_changes_none) {
  ints seen;
  EXPECT_EQ(all_of(count_to(3) | tap([&](const int& i) { seen.push_back(i); })), (ints{1, 2, 3}));
  EXPECT_EQ(seen, (ints{1, 2, 3}));
}

TEST(Operators, flat_map_ranges_and_sources) {
  EXPECT_EQ(all_of(count_to(3) | flat_map([](int i) { return ints(static_cast<std::size_t>(i), i); })),
            (ints{1, 2, 2, 3, 3, 3}));
  EXPECT_EQ(all_of(count_to(3) | flat_map(count_to)), (ints{1, 1, 2, 1, 2, 3}));
  EXPECT_EQ(all_of(count_to(3) | flat_map([](int i) -> task<ints> {
                     co_await yield();
                     co_return ints{i, -i};
                   })),
            (ints{1, -1, 2, -2, 3, -3}));
  EXPECT_EQ(all_of(count_to(3) | flat_map([](int) { return ints{}; })), ints{});
}

TEST(Operators, scan_gives_every_step) { EXPECT_EQ(all_of(count_to(4) | scan(0, std::plus<>())), (ints{1, 3, 6, 10})); }

TEST(Operators, distinct_remembers_keys_up_to_a_limit) {
  EXPECT_EQ(all_of(from({3, 1, 3, 2, 1}) | distinct()), (ints{3, 1, 2}));
  EXPECT_EQ(all_of(count_to(9) | distinct([](const int& i) { return i % 3; })), (ints{1, 2, 3}));
  run_with(1, []() -> task<> {
    auto few = count_to(9) | distinct(std::identity(), {.limit = 2});
    auto outcome = co_await attempt(few | to_vector());
    EXPECT_EQ(verdict(outcome), "ERR_OUT_OF_RANGE");
    auto stubborn = from({1, 2, 3, 1, 3, 4}) | distinct(std::identity(), {.limit = 2});
    for (int i = 1; i <= 2; ++i) EXPECT_EQ(co_await stubborn.next(), i);
    for (int i = 0; i < 3; ++i)  // what was refused is not remembered
      EXPECT_EQ(verdict(co_await attempt(stubborn.next())), "ERR_OUT_OF_RANGE") << i;
    EXPECT_EQ(co_await stubborn.next(), std::nullopt);
  }());
}

TEST(Operators, zip_up_to_the_shorter) {
  auto pairs = all_of(count_to(5) | zip(from({std::string("a"), std::string("b")})));
  EXPECT_EQ(pairs, (std::vector<std::pair<int, std::string>>{{1, "a"}, {2, "b"}}));
}

TEST(Operators, batch_by_size) {
  EXPECT_EQ(all_of(count_to(5) | batch(2)), (std::vector<ints>{{1, 2}, {3, 4}, {5}}));
  EXPECT_EQ(all_of(count_to(4) | batch(2)), (std::vector<ints>{{1, 2}, {3, 4}}));
  EXPECT_EQ(all_of(count_to(0) | batch(2)), std::vector<ints>{});
  EXPECT_THROW(static_cast<void>(count_to(1) | batch(0)), error);
}

TEST(Operators, end_in_one_result) {
  EXPECT_EQ(run_with(1, count_to(4) | reduce(10, std::plus<>())), 20);
  EXPECT_EQ(run_with(1, count_to(0) | reduce(10, std::plus<>())), 10);
  EXPECT_TRUE(run_with(1, count_to(4) | some(even)));
  EXPECT_FALSE(run_with(1, count_to(1) | some(even)));
  EXPECT_FALSE(run_with(1, count_to(4) | every(even)));
  EXPECT_TRUE(run_with(1, count_to(0) | every(even)));
  EXPECT_EQ(run_with(1, count_to(4) | find(even_later)), 2);
  EXPECT_EQ(run_with(1, count_to(1) | find(even)), std::nullopt);
  int sum = 0;
  EXPECT_EQ(run_with(1, count_to(4) | for_each([&](int i) { sum += i; })), 4U);
  EXPECT_EQ(sum, 10);
}

TEST(Operators, stop_reading_once_the_answer_is_known) {
  int asked = 0;
  EXPECT_TRUE(run_with(1, count_for_ever(asked) | some([](int i) { return i == 3; })));
  EXPECT_EQ(asked, 3);
}

TEST(Operators, join_to_one_stage) {
  auto even_twice = filter(even) | map(twice);
  EXPECT_EQ(all_of(count_to(4) | std::move(even_twice)), (ints{4, 8}));
}

TEST(Operators, are_stages_of_a_pipeline) {
  auto sum = run_with(1, []() -> task<int> {
    readable<int> numbers(count_to(10));
    co_return co_await pipeline(std::move(numbers), filter(even), map(twice), take(3), reduce(0, std::plus<>()));
  }());
  EXPECT_EQ(sum, 24);
}

TEST(Operators, read_containers_given_by_name_or_moved_in) {
  ints numbers{1, 2, 3};
  EXPECT_EQ(all_of(from(numbers) | map(twice)), (ints{2, 4, 6}));
  EXPECT_EQ(numbers, (ints{1, 2, 3}));
  std::vector<std::unique_ptr<int>> boxes;
  boxes.push_back(std::make_unique<int>(5));
  EXPECT_EQ(*all_of(from(std::move(boxes))).front(), 5);
  std::string letters = "abc";  // iterators of a short string do not survive a move of it
  auto moved = from(std::move(letters));
  EXPECT_EQ(all_of(std::move(moved)), (std::vector<char>{'a', 'b', 'c'}));
}

/// Has the reading side of a channel.
struct receiving {
  readable<int> queue;
  auto recv() { return queue.next(); }
};

TEST(Operators, read_channels) {
  run_with(1, []() -> task<> {
    auto ends = make_pushed_readable<int>();
    for (int i = 1; i <= 3; ++i) ends.queue.push_nowait(i);
    ends.queue.end();
    receiving channel{std::move(ends.stream)};
    EXPECT_EQ(co_await (from(channel) | take(1) | to_vector()), ints{1});
    EXPECT_EQ(co_await (from(std::move(channel)) | map(twice) | to_vector()), (ints{4, 6}));
  }());
}

TEST(Operators, hand_on_the_failure_of_the_source) {
  run_with(1, []() -> task<> {
    auto chain = fail_after(2) | map(twice) | filter(even);
    EXPECT_EQ(co_await chain.next(), 2);
    EXPECT_EQ(co_await chain.next(), 4);
    EXPECT_EQ(verdict(co_await attempt(chain.next())), "ERR_CLOSED");
    EXPECT_EQ(co_await chain.next(), std::nullopt);
  }());
}

TEST(Operators, go_on_behind_an_item_whose_function_failed) {
  run_with(1, []() -> task<> {
    auto chain = count_to(4) | map([](int i) {
                   if (i == 2) throw error(errc::err_invalid_arg_value);
                   return i;
                 }) |
                 filter([](const int& i) -> bool {
                   if (i == 3) throw error(errc::err_invalid_state);
                   return true;
                 });
    EXPECT_EQ(co_await chain.next(), 1);
    EXPECT_EQ(verdict(co_await attempt(chain.next())), "ERR_INVALID_ARG_VALUE");
    EXPECT_EQ(verdict(co_await attempt(chain.next())), "ERR_INVALID_STATE");
    EXPECT_EQ(co_await chain.next(), 4);
  }());
}

TEST(Operators, lose_nothing_when_a_wait_for_the_source_is_cancelled) {
  run_with(1, []() -> task<> {
    auto ends = make_pushed_readable<int>();
    auto chain = std::move(ends.stream) | map(twice) | filter(even_later) | batch(2);
    ends.queue.push_nowait(1);
    EXPECT_EQ(verdict(co_await attempt(timeout(1ms, chain.next()))), "ETIMEDOUT");
    EXPECT_FALSE(chain.closed());
    ends.queue.push_nowait(2);
    EXPECT_EQ(co_await chain.next(), (ints{2, 4}));
  }());
}

TEST(Operators, try_a_look_again_that_was_cancelled) {
  run_with(1, []() -> task<> {
    event go;
    auto chain = count_to(2) | filter([&](const int&) -> task<bool> {
                   co_await go.wait();
                   co_return true;
                 });
    EXPECT_EQ(verdict(co_await attempt(timeout(1ms, chain.next()))), "ETIMEDOUT");
    go.set();
    EXPECT_EQ(co_await chain.next(), 1);
    EXPECT_EQ(co_await chain.next(), 2);
  }());
}

TEST(Operators, tell_that_an_item_was_in_the_hands_of_a_cancelled_function) {
  run_with(1, []() -> task<> {
    readable<int> numbers(count_to(3));
    auto chain = numbers | map([](int i) -> task<int> {
                   if (i == 1) co_await forever();
                   co_return i;
                 });
    EXPECT_EQ(verdict(co_await attempt(timeout(1ms, chain.next()))), "ETIMEDOUT");
    EXPECT_TRUE(chain.closed());
    EXPECT_EQ(co_await chain.next(), 2);
    EXPECT_FALSE(chain.closed());
  }());
}

TEST(Operators, let_others_run_while_everything_is_ready) {
  run_with(1, with_scope([](scope& s) -> task<> {
             bool ran = false;
             s.spawn_local([&]() -> task<> {
               ran = true;
               co_return;
             });
             int asked = 0;
             co_await (from(ints(100'000, 1)) | filter([&](const int&) {
                         ++asked;
                         return ran;
                       }) |
                       take(1) | to_vector());
             EXPECT_TRUE(ran);
             EXPECT_LT(asked, 100'000);
           }));
}

// Cancelled at every suspension, one after the other; what is left is read afterwards, and nothing may be missing.

/// Waits before each item, and loses none when that is cancelled.
struct slow_numbers {
  static constexpr bool cancel_safe = true;
  int last = 12;
  int at = 0;
  task<std::optional<int>> next() {
    co_await yield();
    if (at == last) co_return std::nullopt;
    co_return ++at;
  }
};

template <class S>
task<> drain(S& from, ints& into) {
  while (auto item = co_await from.next()) {
    if constexpr (std::is_same_v<decltype(item), std::optional<int>>) {
      into.push_back(*item);
    } else {
      into.insert(into.end(), item->begin(), item->end());
    }
  }
}

template <class S>
task<ints> drain_twice(S from) {
  ints all;
  auto first = co_await attempt(drain(from, all));
  if (!first) {
    EXPECT_FALSE(from.closed());
    co_await shield(drain(from, all));
  }
  co_return all;
}

template <class Make>
void lose_nothing(Make make, const ints& expected) {
  auto runs = cancel_at_every_suspension(make, [&](const result<ints>& outcome) {
    ASSERT_TRUE(outcome) << outcome.failure().message();
    EXPECT_EQ(*outcome, expected);
  });
  EXPECT_GT(runs, 5U);
}

TEST(Operators, lose_nothing_wherever_they_are_cancelled) {
  lose_nothing([] { return drain_twice(slow_numbers() | map(twice) | batch(5)); },
               (ints{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}));
  lose_nothing([] { return drain_twice(slow_numbers() | filter(even_later) | drop(1) | take(3)); }, (ints{4, 6, 8}));
  lose_nothing([] { return drain_twice(slow_numbers() | flat_map([](int i) { return ints{i, i}; }) | drop(20)); },
               (ints{11, 11, 12, 12}));
  lose_nothing(
      [] {
        return drain_twice(slow_numbers() | zip(slow_numbers{.last = 4}) |
                           map([](std::pair<int, int> both) { return both.first * both.second; }));
      },
      (ints{1, 4, 9, 16}));
  lose_nothing(
      [] {
        auto branches = tee(slow_numbers{.last = 6}, 2);
        return drain_twice(std::move(branches[0]) | zip(std::move(branches[1])) |
                           map([](std::pair<int, int> both) { return both.first + both.second; }));
      },
      (ints{2, 4, 6, 8, 10, 12}));
}

// Several at a time

class Concurrent : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Concurrent, ::testing::Values(1U, 3U));

TEST_P(Concurrent, map_keeps_the_order_of_the_items) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             auto delayed = [](int i) -> task<int> {
               for (int n = 0; n < (i * 7) % 5; ++n) co_await yield();
               co_return i;
             };
             auto all = co_await (count_to(200) | map(s, delayed, {.concurrency = 8}) | to_vector());
             ints expected;
             for (int i = 1; i <= 200; ++i) expected.push_back(i);
             EXPECT_EQ(all, expected);
           }));
}

TEST_P(Concurrent, map_gives_results_as_they_come_if_told_so) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             event first_may_end;
             auto stubborn = [&](int i) -> task<int> {
               if (i == 1) co_await first_may_end.wait();
               co_return i;
             };
             auto results = count_to(10) | map(s, stubborn, {.concurrency = 2, .ordered = false});
             std::set<int> seen;
             for (int i = 0; i < 9; ++i) seen.insert(*co_await results.next());
             EXPECT_FALSE(seen.contains(1));
             EXPECT_EQ(seen.size(), 9U);
             first_may_end.set();
             EXPECT_EQ(co_await results.next(), 1);
             EXPECT_EQ(co_await results.next(), std::nullopt);
           }));
}

TEST_P(Concurrent, no_more_calls_than_allowed_and_none_without_room) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             std::atomic<int> now{0};
             std::atomic<int> most{0};
             std::atomic<int> begun{0};
             auto watched = [&](int i) -> task<int> {
               ++begun;
               int count = ++now;
               for (int seen = most; seen < count && !most.compare_exchange_weak(seen, count);) {
               }
               for (int n = 0; n < 3; ++n) co_await yield();
               --now;
               co_return i;
             };
             auto results = count_to(100) | map(s, watched, {.concurrency = 4});
             EXPECT_EQ(co_await results.next(), 1);
             for (int n = 0; n < 50; ++n) co_await yield();
             EXPECT_LE(begun, 5);  // four wait for the reader
             EXPECT_EQ((co_await (results | to_vector())).size(), 99U);
             EXPECT_LE(most, 4);
             EXPECT_GT(most, 1);
           }));
}

TEST_P(Concurrent, the_first_failure_ends_the_other_calls) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             std::atomic<int> cancelled_calls{0};
             auto failing_one = [&](int i) -> task<int> {
               if (i == 3) throw error(errc::err_closed);
               auto waited = co_await attempt(forever());
               if (!waited) ++cancelled_calls;
               waited.failure().rethrow();
             };
             auto results = count_to(100) | map(s, failing_one, {.concurrency = 3});
             EXPECT_EQ(verdict(co_await attempt(results.next())), "ERR_CLOSED");
             EXPECT_EQ(verdict(co_await attempt(results.next())), "ERR_CLOSED");
             EXPECT_EQ(cancelled_calls, 2);
           }));
}

TEST_P(Concurrent, a_call_that_was_cancelled_by_itself_is_no_end) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             auto results = count_to(3) | map(s, [](int i) -> task<int> {
                              if (i == 2) throw cancelled();
                              co_return i;
                            });
             auto outcome = co_await attempt(results | to_vector());
             EXPECT_EQ(verdict(outcome), "ABORT_ERR");
           }));
}

TEST_P(Concurrent, dropping_the_operator_cancels_the_calls) {
  std::atomic<int> cancelled_calls{0};
  run_with(GetParam(), with_scope([&](scope& s) -> task<> {
             auto endless = [&](int i) -> task<int> {
               if (i == 1) co_return i;
               auto waited = co_await attempt(forever());
               if (!waited) ++cancelled_calls;
               waited.failure().rethrow();
             };
             auto results = count_to(100) | map(s, endless, {.concurrency = 3});
             EXPECT_EQ(co_await results.next(), 1);
           }));  // would not end
  EXPECT_LE(cancelled_calls, 3);
}

TEST_P(Concurrent, filter_and_flat_map) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             EXPECT_EQ(co_await (count_to(9) | filter(s, even_later, {.concurrency = 3}) | to_vector()),
                       (ints{2, 4, 6, 8}));
             auto pair_of = [](int i) -> task<ints> {
               co_await yield();
               co_return ints{i, i};
             };
             EXPECT_EQ(co_await (count_to(3) | flat_map(s, pair_of) | to_vector()), (ints{1, 1, 2, 2, 3, 3}));
           }));
}

TEST_P(Concurrent, for_each_counts_and_fails_with_the_first) {
  run_with(GetParam(), []() -> task<> {
    std::atomic<int> sum{0};
    auto add = [&](int i) -> task<> {
      co_await yield();
      sum += i;
    };
    EXPECT_EQ(co_await (count_to(100) | for_each(add, {.concurrency = 5})), 100U);
    EXPECT_EQ(sum, 5050);
    auto fails = [](int i) -> task<> {
      if (i == 7) throw error(errc::err_closed);
      co_await yield();
    };
    auto outcome = co_await attempt(count_to(100) | for_each(fails, {.concurrency = 5}));
    EXPECT_EQ(verdict(outcome), "ERR_CLOSED");
    auto forever_each = [](int) { return forever(); };
    auto late = co_await attempt(timeout(1ms, count_to(9) | for_each(forever_each, {.concurrency = 2})));
    EXPECT_EQ(verdict(late), "ETIMEDOUT");
  }());
}

TEST_P(Concurrent, cancelling_a_wait_for_a_result_loses_none) {
  run_with(GetParam(), with_scope([](scope& s) -> task<> {
             event go;
             auto waits = [&](int i) -> task<int> {
               co_await go.wait();
               co_return i;
             };
             auto results = count_to(4) | map(s, waits, {.concurrency = 2});
             EXPECT_EQ(verdict(co_await attempt(timeout(1ms, results.next()))), "ETIMEDOUT");
             go.set();
             EXPECT_EQ(co_await (results | to_vector()), (ints{1, 2, 3, 4}));
           }));
}

TEST(Concurrency, of_nothing_is_refused) {
  run_with(1, with_scope([](scope& s) -> task<> {
             EXPECT_THROW(static_cast<void>(count_to(1) | map(s, twice, {.concurrency = 0})), error);
             co_return;
           }));
}

}  // namespace
}  // namespace weir::io
