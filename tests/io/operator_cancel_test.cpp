// tests/io/operator_cancel_test.cpp: every operator, cancelled at each suspension: what is left is read afterwards and
// nothing may be missing, unless `closed` tells that; and with all that belongs to it, after which nothing may be left.
#include "tests/io/operator_cases.hpp"

#include <weir/core/error.hpp>
#include <weir/io/readable.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::io {
namespace {

using namespace weir::testing;

/// Whether `got` is what the operator makes of all items, or of all but one.
bool lacks_one_at_most(const operator_case& each, const ints& got, int last) {
  for (int missing = 0; missing <= last; ++missing) {
    auto some = numbers_to(last);
    std::erase(some, missing);
    if (got == each.model(some)) return true;
  }
  return false;
}

/// Reads, is cancelled after so many rounds, and reads what is left.
/// @return true if it had ended before
task<bool> read_cancel_read(const operator_case& each, std::size_t rounds) {
  ledger l;
  l.last = 5;
  bool in_time = true;
  co_await with_scope([&](scope& s) -> task<void> {
    reading_report got;
    auto from = each.make(s, item_source(counting_source(l)), l);
    bool lost = false;
    auto make = [&] { return read_all(from, got); };
    auto check = [&](const result<void>& outcome) { lost = !outcome && from.closed(); };
    in_time = co_await cancelling::run_once(make, check, rounds);
    co_await read_all(from, got);
    EXPECT_TRUE(got.failures.empty()) << each.name << " after " << rounds << ": " << got.failures.front();
    if (lost) {
      EXPECT_TRUE(each.hands) << each.name << " after " << rounds;
      EXPECT_TRUE(lacks_one_at_most(each, got.values, l.last)) << each.name << " after " << rounds;
    } else {
      EXPECT_EQ(got.values, each.model(numbers_to(l.last))) << each.name << " after " << rounds;
    }
  });
  EXPECT_EQ(l.items, 0) << each.name << " after " << rounds;
  EXPECT_EQ(l.sources, 0) << each.name << " after " << rounds;
  co_return in_time;
}

TEST(OperatorCancel, of_a_wait_loses_nothing_at_any_suspension) {
  run_with(1, []() -> task<void> {
    for (auto& each : operator_cases()) {
      std::size_t rounds = 0;
      while (!co_await read_cancel_read(each, rounds) && rounds < 500) ++rounds;
      EXPECT_GT(rounds, 4U) << each.name;
      EXPECT_LT(rounds, 500U) << each.name;
    }
  }());
}

/// The same where readers are stolen, so that a cancel meets a wake-up on another worker.
TEST(OperatorCancel, of_a_wait_loses_nothing_when_it_races_with_an_answer) {
  run_with(3, with_scope([](scope& outer) -> task<void> {
             for (auto& each : operator_cases()) {
               for (std::size_t rounds = 0; rounds < 24; ++rounds)
                 co_await outer.spawn([&each, rounds]() -> task<void> {
                   ledger l;
                   l.last = 5;
                   co_await with_scope([&](scope& s) -> task<void> {
                     reading_report got;
                     auto from = each.make(s, item_source(counting_source(l)), l);
                     auto reader = s.spawn(read_all, std::ref(from), std::ref(got));
                     for (std::size_t i = 0; i < rounds; ++i) co_await yield();
                     reader.cancel();
                     auto outcome = co_await attempt(std::move(reader));
                     bool lost = !outcome && from.closed();
                     co_await read_all(from, got);
                     EXPECT_TRUE(got.failures.empty()) << each.name << " after " << rounds;
                     if (lost) {
                       EXPECT_TRUE(each.hands && lacks_one_at_most(each, got.values, l.last)) << each.name;
                     } else {
                       EXPECT_EQ(got.values, each.model(numbers_to(l.last))) << each.name << " after " << rounds;
                     }
                   });
                   EXPECT_EQ(l.items, 0) << each.name;
                   EXPECT_EQ(l.sources, 0) << each.name;
                 });
             }
           }));
}

/// What a pipeline does when another stage fails meanwhile.
TEST(OperatorCancel, may_be_destroyed_by_another_worker_while_it_is_read) {
  run_with(3, with_scope([](scope& outer) -> task<void> {
             for (auto& each : operator_cases()) {
               for (std::size_t rounds = 0; rounds < 16; ++rounds)
                 co_await outer.spawn([&each, rounds]() -> task<void> {
                   auto why = failure(error(errc::err_closed, "somebody failed")).exception();  // outlives all readers
                   ledger l;
                   l.last = 5;
                   co_await with_scope([&](scope& s) -> task<void> {
                     readable<ints> stream(each.make(s, item_source(counting_source(l)), l));
                     result_source from(readable<ints>(stream.state()));
                     reading_report got;
                     auto reader = s.spawn(read_all, std::ref(from), std::ref(got));
                     for (std::size_t i = 0; i < rounds; ++i) co_await yield();
                     stream.destroy(why);
                     co_await std::move(reader);
                     if (!got.failures.empty()) EXPECT_EQ(got.failures.front(), "somebody failed") << each.name;
                   });
                   EXPECT_EQ(l.items, 0) << each.name;
                   EXPECT_EQ(l.sources, 0) << each.name;
                 });
             }
           }));
}

TEST(OperatorCancel, of_everything_leaves_nothing_behind) {
  for (auto& each : operator_cases()) {
    ledger l;
    l.last = 5;
    auto make = [&]() -> task<ints> {
      reading_report got;
      co_await with_scope([&](scope& s) -> task<void> {
        auto from = each.make(s, item_source(counting_source(l)), l);
        co_await read_all(from, got);
        if (!got.failures.empty()) throw cancelled();  // of the operator's children
      });
      co_return got.values;
    };
    auto runs = cancel_at_every_suspension(make, [&](const result<ints>& outcome) {
      EXPECT_EQ(l.items, 0) << each.name;
      EXPECT_EQ(l.sources, 0) << each.name;
      if (!outcome) {
        EXPECT_TRUE(outcome.failure().is_cancelled()) << each.name << ": " << outcome.failure().message();
      } else if (!outcome->empty()) {
        EXPECT_EQ(*outcome, each.model(numbers_to(l.last))) << each.name;
      }
    });
    EXPECT_GT(runs, 4U) << each.name;
  }
}

}  // namespace
}  // namespace weir::io
