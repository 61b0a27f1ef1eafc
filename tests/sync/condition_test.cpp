#include <weir/sync/condition.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;

struct monitor {
  mutex m;
  condition changed;
  std::vector<int> order = {};
};

task<> wait_and_note(monitor& on, int name) {
  auto held = co_await on.m.lock();
  co_await on.changed.wait(held);
  EXPECT_TRUE(held);
  EXPECT_TRUE(on.m.is_locked());
  on.order.push_back(name);
}

TEST(Condition, wakes_waiters_in_order_of_arrival_one_or_all) {
  run_with(1, []() -> task<> {
    monitor on;
    co_await with_scope([&](scope& s) -> task<> {
      on.changed.notify_one();  // for nobody, and not remembered
      for (int i = 0; i < 5; ++i) s.spawn_local(wait_and_note, std::ref(on), i);
      co_await yield();
      EXPECT_FALSE(on.m.is_locked());
      on.changed.notify_one();
      co_await yield();
      EXPECT_EQ(on.order, (std::vector{0}));
      {
        auto held = co_await on.m.lock();
        on.changed.notify_all();
        co_await yield();
        EXPECT_EQ(on.order, (std::vector{0}));  // they wait for the lock now
      }
    });
    EXPECT_EQ(on.order, (std::vector{0, 1, 2, 3, 4}));
  }());
}

TEST(Condition, waits_for_a_predicate_and_not_at_all_if_it_holds) {
  run_with(1, []() -> task<> {
    monitor on;
    int value = 0;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        auto held = co_await on.m.lock();
        co_await on.changed.wait(held, [&] { return value == 3; });
        EXPECT_EQ(value, 3);
        co_await on.changed.wait(held, [&] { return value == 3; });
      });
      for (int i = 0; i < 3; ++i) {
        co_await yield();
        auto held = co_await on.m.lock();
        ++value;
        on.changed.notify_all();
      }
    });
  }());
}

TEST(Condition, locks_again_before_a_cancelled_waiter_goes_on) {
  run_with(1, with_scope([](scope& s) -> task<> {
             monitor on;
             bool stopped = false;
             auto waiter = s.spawn_local([&]() -> task<> {
               auto held = co_await on.m.lock();
               auto outcome = co_await attempt(on.changed.wait(held));
               EXPECT_TRUE(held);
               stopped = outcome.failure().is_cancelled();
             });
             co_await yield();
             auto held = co_await on.m.lock();
             waiter.cancel();
             for (int i = 0; i < 3; ++i) co_await yield();
             EXPECT_FALSE(stopped);  // it is in the mutex's queue
             held.unlock();
             co_await std::move(waiter);
             EXPECT_TRUE(stopped);
             EXPECT_FALSE(on.m.is_locked());
           }));
}

TEST(Condition, does_not_unlock_for_a_task_that_is_to_stop) {
  run_with(1, with_scope([](scope& s) -> task<> {
             monitor on;
             auto held = co_await on.m.lock();
             s.cancel();
             EXPECT_TRUE((co_await attempt(on.changed.wait(held))).failure().is_cancelled());
             EXPECT_TRUE(on.m.is_locked());
           }));
}

TEST(Condition, gives_up_after_a_timeout_with_the_lock_held) {
  run_with(1, []() -> task<> {
    monitor on;
    auto held = co_await on.m.lock();
    auto outcome = co_await attempt(timeout(1ms, on.changed.wait(held)));
    EXPECT_EQ(outcome.failure().code_name(), "ETIMEDOUT");
    EXPECT_TRUE(on.m.is_locked());
    EXPECT_TRUE(held);
  }());
}

TEST(Condition, passes_over_a_cancelled_waiter_to_the_next) {
  run_with(1, with_scope([](scope& s) -> task<> {
             monitor on;
             auto first = s.spawn_local(wait_and_note, std::ref(on), 1);
             auto second = s.spawn_local(wait_and_note, std::ref(on), 2);
             co_await yield();
             first.cancel();
             on.changed.notify_one();
             co_await std::move(second);
             EXPECT_EQ(on.order, (std::vector{2}));
           }));
}

TEST(Condition, refuses_a_guard_that_holds_nothing) {
  run_with(1, []() -> task<> {
    monitor on;
    mutex::guard nothing;
    EXPECT_EQ((co_await attempt(on.changed.wait(nothing))).failure().code_name(), "ERR_INVALID_STATE");
    EXPECT_THROW(co_await on.changed.wait(nothing), error);
  }());
}

TEST(Condition, carries_a_bounded_queue_between_tasks_of_several_workers) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      mutex m;
      condition not_empty;
      condition not_full;
      std::deque<std::size_t> queue;
      std::size_t sum = 0;
      auto times = rounds(4'000);
      co_await with_scope([&](scope& s) -> task<> {
        for (int n = 0; n < 3; ++n) {
          s.spawn([&]() -> task<> {
            for (std::size_t i = 1; i <= times; ++i) {
              auto held = co_await m.lock();
              co_await not_full.wait(held, [&] { return queue.size() < 4; });
              queue.push_back(i);
              not_empty.notify_one();
            }
          });
          s.spawn([&]() -> task<> {
            for (std::size_t i = 1; i <= times; ++i) {
              auto held = co_await m.lock();
              while (queue.empty()) co_await not_empty.wait(held);
              sum += queue.front();
              queue.pop_front();
              not_full.notify_one();
            }
          });
        }
        co_return;
      });
      EXPECT_EQ(sum, 3 * times * (times + 1) / 2);
    }());
  }
}

TEST(Condition, survives_notification_by_a_foreign_thread_and_cancellation_at_any_moment) {
  for (unsigned workers : {1U, 4U}) {
    monitor on;
    std::atomic<bool> over{false};
    std::thread foreign([&] {
      while (!over) {
        on.changed.notify_one();
        on.changed.notify_all();
      }
    });
    run_with(workers, [](monitor& shared) -> task<> {
      int inside = 0;
      auto work = [&]() -> task<> {
        for (;;) {
          auto held = co_await shared.m.lock();
          EXPECT_EQ(++inside, 1);
          --inside;
          static_cast<void>(co_await attempt(shared.changed.wait(held)));
          EXPECT_EQ(++inside, 1);
          --inside;
        }
      };
      for (std::size_t i = 0; i < rounds(1'000); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 5; ++n) s.spawn(work);
          for (std::size_t n = 0; n < i % 6; ++n) co_await yield();
          s.cancel();
        });
        EXPECT_FALSE(shared.m.is_locked());
      }
    }(on));
    over = true;
    foreign.join();
  }
}

}  // namespace
}  // namespace weir::sync
