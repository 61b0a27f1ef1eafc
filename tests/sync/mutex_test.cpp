#include <weir/sync/mutex.hpp>
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

TEST(Mutex, is_taken_without_suspending_where_it_is_free) {
  run_with(1, []() -> task<> {
    mutex m;
    EXPECT_FALSE(m.is_locked());
    auto held = co_await m.lock();
    EXPECT_TRUE(held);
    EXPECT_TRUE(m.is_locked());
    EXPECT_FALSE(m.try_lock());
    auto moved = std::move(held);
    EXPECT_FALSE(held);  // NOLINT: moved from, which is what is asked
    moved.unlock();
    moved.unlock();
    EXPECT_FALSE(m.is_locked());
    EXPECT_TRUE(m.try_lock().has_value());
    EXPECT_FALSE(m.is_locked());
    auto again = co_await attempt(m.lock());
    EXPECT_TRUE(again.has_value());
  }());
}

task<> lock_and_note(mutex& m, std::vector<int>& order, int name) {
  auto held = co_await m.lock();
  order.push_back(name);
  co_await yield();
}

TEST(Mutex, goes_to_waiters_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    mutex m;
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      auto held = co_await m.lock();
      for (int i = 0; i < 10; ++i) s.spawn_local(lock_and_note, std::ref(m), std::ref(order), i);
      co_await yield();
      EXPECT_TRUE(order.empty());
      held.unlock();
      EXPECT_TRUE(m.is_locked());  // handed over, not let go
      EXPECT_FALSE(m.try_lock());  // and nobody overtakes
      co_await lock_and_note(m, order, 10);
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  }());
}

TEST(Mutex, skips_a_waiter_that_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             mutex m;
             std::vector<int> order;
             std::vector<join_handle<>> handles;
             handles.reserve(5);
             auto held = co_await m.lock();
             for (int i = 0; i < 5; ++i) {
               handles.push_back(s.spawn_local(lock_and_note, std::ref(m), std::ref(order), i));
             }
             co_await yield();
             for (auto i : {0U, 2U, 4U}) handles[i].cancel();
             held.unlock();
             for (auto& each : handles) static_cast<void>(co_await attempt(std::move(each)));
             EXPECT_EQ(order, (std::vector{1, 3}));
             EXPECT_FALSE(m.is_locked());
           }));
}

TEST(Mutex, that_is_handed_over_at_the_moment_of_cancellation_is_held_and_passed_on) {
  run_with(1, with_scope([](scope& s) -> task<> {
             mutex m;
             bool had_it = false;
             auto held = co_await m.lock();
             auto waiter = s.spawn_local([&]() -> task<> {
               auto mine = co_await m.lock();
               had_it = static_cast<bool>(mine);
               co_await yield();
             });
             co_await yield();
             held.unlock();
             waiter.cancel();
             EXPECT_TRUE((co_await attempt(std::move(waiter))).failure().is_cancelled());
             EXPECT_TRUE(had_it);
             EXPECT_FALSE(m.is_locked());
           }));
}

TEST(Mutex, is_refused_to_a_task_that_is_to_stop_though_it_is_free) {
  run_with(1, with_scope([](scope& s) -> task<> {
             mutex m;
             s.cancel();
             auto refused = co_await attempt(m.lock());
             EXPECT_TRUE(refused.failure().is_cancelled());
             EXPECT_FALSE(m.is_locked());
             EXPECT_TRUE((co_await shield(m.lock())));
           }));
}

TEST(Mutex, gives_up_waiting_when_its_time_is_over) {
  run_with(1, []() -> task<> {
    mutex m;
    auto held = co_await m.lock();
    auto late = co_await attempt(timeout(1ms, m.lock()));
    EXPECT_EQ(late.failure().code_name(), "ETIMEDOUT");
    held.unlock();
    EXPECT_TRUE((co_await timeout(1s, m.lock())));
  }());
}

TEST(Mutex, keeps_tasks_of_several_workers_apart) {
  for (unsigned workers : {1U, 2U, 4U}) {
    run_with(workers, []() -> task<> {
      mutex m;
      std::uint64_t count = 0;  // no atomic: the mutex is all that guards it
      auto times = rounds(5'000);
      auto add = [&](scope&) -> task<> {
        for (std::size_t i = 0; i < times; ++i) {
          auto held = co_await m.lock();
          auto before = count;
          if (i % 8 == 0) co_await yield();
          count = before + 1;
        }
      };
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 4; ++i) {
          s.spawn(add, std::ref(s));
          s.spawn_local(add, std::ref(s));
        }
        co_return;
      });
      EXPECT_EQ(count, times * 8);
    }());
  }
}

// Cancels at whatever await the victim stands: in the queue, just handed the lock, holding it.
TEST(Mutex, survives_cancellation_at_any_moment_on_several_workers) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      mutex m;
      int inside = 0;
      auto work = [&]() -> task<> {
        for (;;) {
          auto held = co_await m.lock();
          EXPECT_EQ(++inside, 1);
          static_cast<void>(co_await attempt(yield()));
          --inside;
        }
      };
      for (std::size_t i = 0; i < rounds(2'000); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 6; ++n) s.spawn(work);
          for (std::size_t n = 0; n < i % 7; ++n) co_await yield();
          s.cancel();
        });
        EXPECT_FALSE(m.is_locked());
      }
    }());
  }
}

TEST(Mutex, may_be_unlocked_by_a_foreign_thread) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(300); ++i) {
        mutex m;
        auto held = co_await m.lock();
        std::thread foreign([mine = std::move(held)]() mutable { mine.unlock(); });
        {
          auto again = co_await m.lock();
        }
        foreign.join();
      }
    }());
  }
}

TEST(Mutex, is_shared_by_runtimes_of_several_threads) {
  mutex m;
  std::uint64_t count = 0;
  auto times = rounds(20'000);
  std::atomic<int> running{0};
  auto add = [&]() -> task<> {
    running.fetch_add(1);  // both at once, or neither
    weir::testing::hold_until([&] { return running.load() == 2; });
    for (std::size_t i = 0; i < times; ++i) {
      auto held = co_await m.lock();
      ++count;
    }
  };
  std::thread other([&] { run_with(1, add()); });
  run_with(1, add());
  other.join();
  EXPECT_EQ(count, times * 2);
}

TEST(Mutex, may_be_destroyed_by_whom_it_was_handed_to) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(10'000); ++i) {
        co_await with_scope([](scope& s) -> task<> {
          std::optional<mutex> m(std::in_place);
          auto held = co_await m->lock();
          s.spawn([mine = std::move(held)]() mutable -> task<> {
            mine.unlock();
            co_return;
          });
          {
            auto again = co_await m->lock();
          }
          m.reset();
        });
      }
    }());
  }
}

TEST(Mutex, that_is_always_free_does_not_let_its_user_starve_timers) {
  run_with(1, with_scope([](scope& s) -> task<> {
             set_timeout([&s] { s.cancel(); }, 2ms);
             mutex m;
             for (;;) auto held = co_await m.lock();
           }));
}

TEST(MutexDeathTest, says_so_when_it_is_destroyed_while_held) {
  EXPECT_DEATH(
      {
        std::optional<mutex> m(std::in_place);
        auto held = m->try_lock();
        m.reset();
      },
      "a mutex was destroyed while it was held or waited for");
}

}  // namespace
}  // namespace weir::sync
