#include <weir/sync/wait_group.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;

TEST(WaitGroup, waits_for_what_is_under_way_and_can_be_used_again) {
  run_with(1, []() -> task<> {
    wait_group work;
    co_await work.wait();
    for (int round = 0; round < 3; ++round) {
      work.add(2);
      work.done();
      EXPECT_EQ(work.count(), 1U);
      EXPECT_THROW(co_await timeout(1ms, work.wait()), error);
      work.done();
      co_await work.wait();
    }
    EXPECT_THROW(work.done(), error);
    EXPECT_EQ(work.count(), 0U);
  }());
}

TEST(WaitGroup, is_told_by_threads_and_may_end_with_the_wait) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(300); ++i) {
        std::optional<wait_group> work(std::in_place);
        std::atomic<int> done{0};
        work->add(3);
        std::vector<std::thread> threads;
        threads.reserve(3);
        for (int n = 0; n < 3; ++n) {
          threads.emplace_back([&] {
            done.fetch_add(1);
            work->done();
          });
        }
        co_await work->wait();
        EXPECT_EQ(done.load(), 3);
        work.reset();
        for (auto& each : threads) each.join();
      }
    }());
  }
}

TEST(WaitGroup, forgets_a_waiter_that_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wait_group work;
             work.add();
             auto first = s.spawn_local([&]() -> task<> { co_await work.wait(); });
             auto second = s.spawn_local([&]() -> task<> { co_await work.wait(); });
             co_await yield();
             first.cancel();
             EXPECT_TRUE((co_await attempt(std::move(first))).failure().is_cancelled());
             work.done();
             co_await std::move(second);
           }));
}

}  // namespace
}  // namespace weir::sync
