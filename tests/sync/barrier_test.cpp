#include <weir/sync/barrier.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>

namespace weir::sync {
namespace {

using weir::testing::rounds;
using weir::testing::run_with;

TEST(Barrier, lets_all_go_on_together_round_after_round_with_one_last) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      constexpr std::size_t parties = 5;
      barrier meeting(parties);
      std::atomic<std::size_t> arrived{0};
      std::atomic<std::size_t> last{0};
      auto times = rounds(2'000);
      co_await with_scope([&](scope& s) -> task<> {
        for (std::size_t n = 0; n < parties; ++n) {
          s.spawn([&]() -> task<> {
            for (std::size_t i = 1; i <= times; ++i) {
              arrived.fetch_add(1);
              if (co_await meeting.arrive()) last.fetch_add(1);
              EXPECT_GE(arrived.load(), i * parties);
              EXPECT_LT(arrived.load(), (i + 1) * parties);
            }
          });
        }
        co_return;
      });
      EXPECT_EQ(last.load(), times);
    }());
  }
}

TEST(Barrier, takes_the_arrival_of_a_cancelled_task_back) {
  run_with(1, with_scope([](scope& s) -> task<> {
             barrier meeting(2);
             auto come = [&]() -> task<> { co_await meeting.arrive(); };
             auto first = s.spawn_local(come);
             co_await yield();
             first.cancel();
             auto second = s.spawn_local(come);
             co_await yield();
             EXPECT_FALSE(second.done());
             EXPECT_TRUE(co_await meeting.arrive());
             co_await std::move(second);
           }));
}

TEST(Barrier, goes_on_without_a_party_that_drops_out) {
  run_with(1, with_scope([](scope& s) -> task<> {
             barrier meeting(3);
             auto come = [&]() -> task<> { EXPECT_FALSE(co_await meeting.arrive()); };
             auto first = s.spawn_local(come);
             auto second = s.spawn_local(come);
             co_await yield();
             meeting.drop();
             EXPECT_EQ(meeting.parties(), 2U);
             co_await std::move(first);
             co_await std::move(second);
             meeting.drop();
             meeting.drop();
             EXPECT_EQ(meeting.parties(), 1U);
             EXPECT_TRUE(co_await meeting.arrive());
           }));
}

TEST(Barrier, for_nobody_is_refused) { EXPECT_THROW(barrier(0), error); }

}  // namespace
}  // namespace weir::sync
