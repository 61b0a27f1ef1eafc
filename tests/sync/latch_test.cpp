#include <weir/sync/latch.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;

TEST(Latch, opens_at_zero_for_good) {
  run_with(1, []() -> task<> {
    latch two(2);
    two.count_down();
    EXPECT_EQ(two.left(), 1U);
    EXPECT_FALSE(two.is_open());
    EXPECT_THROW(co_await timeout(1ms, two.wait()), error);
    two.count_down(5);
    two.count_down();
    EXPECT_EQ(two.left(), 0U);
    EXPECT_TRUE(two.is_open());
    co_await two.wait();
    latch none(0);
    co_await none.wait();
  }());
}

TEST(Latch, is_counted_down_by_tasks_and_threads_alike) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(300); ++i) {
        latch left(5);
        std::thread foreign([&] { left.count_down(); });
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 4; ++n) {
            s.spawn([&]() -> task<> {
              left.count_down();
              co_await left.wait();
              EXPECT_EQ(left.left(), 0U);
            });
          }
          co_await left.wait();
        });
        foreign.join();
      }
    }());
  }
}

}  // namespace
}  // namespace weir::sync
