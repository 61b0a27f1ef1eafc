#include <weir/sync/notify.hpp>
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

task<> wait_and_note(notify& bell, std::vector<int>& order, int name) {
  co_await bell.notified();
  order.push_back(name);
}

TEST(Notify, remembers_one_ring_and_no_more) {
  run_with(1, []() -> task<> {
    notify bell;
    bell.notify_one();
    bell.notify_one();
    co_await bell.notified();
    EXPECT_THROW(co_await timeout(1ms, bell.notified()), error);
  }());
}

TEST(Notify, wakes_one_in_order_of_arrival_and_all_at_once) {
  run_with(1, []() -> task<> {
    notify bell;
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) s.spawn_local(wait_and_note, std::ref(bell), std::ref(order), i);
      co_await yield();
      bell.notify_one();
      co_await yield();
      EXPECT_EQ(order, (std::vector{0}));
      bell.notify_waiters();
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    EXPECT_THROW(co_await timeout(1ms, bell.notified()), error);  // notify_waiters leaves nothing behind
  }());
}

TEST(Notify, rings_for_the_next_where_the_first_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             notify bell;
             std::vector<int> order;
             auto first = s.spawn_local(wait_and_note, std::ref(bell), std::ref(order), 1);
             auto second = s.spawn_local(wait_and_note, std::ref(bell), std::ref(order), 2);
             co_await yield();
             first.cancel();
             bell.notify_one();
             co_await std::move(second);
             EXPECT_EQ(order, (std::vector{2}));
           }));
}

TEST(Notify, told_at_the_moment_of_cancellation_is_told) {
  run_with(1, with_scope([](scope& s) -> task<> {
             notify bell;
             std::vector<int> order;
             auto waiter = s.spawn_local(wait_and_note, std::ref(bell), std::ref(order), 1);
             co_await yield();
             bell.notify_one();
             waiter.cancel();
             static_cast<void>(co_await attempt(std::move(waiter)));
             EXPECT_EQ(order, (std::vector{1}));
           }));
}

// The producer is a thread; whatever it has counted before it rings, the consumer sees.
TEST(Notify, misses_nothing_that_a_foreign_thread_rings_for) {
  for (unsigned workers : {1U, 2U}) {
    notify bell;
    std::atomic<std::size_t> made{0};
    auto times = rounds(50'000);
    std::thread foreign([&] {
      for (std::size_t i = 0; i < times; ++i) {
        made.fetch_add(1);
        bell.notify_one();
      }
    });
    run_with(workers, [](notify& rung, std::atomic<std::size_t>& from, std::size_t wanted) -> task<> {
      while (from.load() < wanted) co_await rung.notified();
    }(bell, made, times));
    foreign.join();
    EXPECT_EQ(made.load(), times);
  }
}

TEST(Notify, may_be_destroyed_by_the_waiter_that_it_woke) {
  run_with(2, []() -> task<> {
    for (std::size_t i = 0; i < rounds(10'000); ++i) {
      co_await with_scope([](scope& s) -> task<> {
        std::optional<notify> bell(std::in_place);
        s.spawn([&bell]() -> task<> {
          bell->notify_one();
          co_return;
        });
        co_await bell->notified();
        bell.reset();
      });
    }
  }());
}

}  // namespace
}  // namespace weir::sync
