#include <weir/core/event.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

TEST(Event, lets_everyone_through_while_it_is_set) {
  run_with(1, []() -> task<> {
    event e;
    EXPECT_FALSE(e.is_set());
    e.set();
    e.set();
    co_await e.wait();
    co_await e.wait();
    EXPECT_TRUE(e.is_set());
    e.reset();
    EXPECT_THROW(co_await timeout(1ms, e.wait()), error);
  }());
}

TEST(Event, releases_waiters_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    event e;
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 10; ++i) {
        s.spawn_local([&, i]() -> task<> {
          co_await e.wait();
          order.push_back(i);
        });
      }
      co_await yield();
      EXPECT_TRUE(order.empty());
      e.set();
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  }());
}

TEST(Event, skips_a_waiter_that_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             event e;
             std::vector<int> order;
             std::vector<join_handle<>> handles;
             for (int i = 0; i < 5; ++i) {
               handles.push_back(s.spawn_local([&, i]() -> task<> {
                 co_await e.wait();
                 order.push_back(i);
               }));
             }
             co_await yield();
             for (auto i : {0U, 2U, 4U}) handles[i].cancel();
             e.set();
             for (auto& each : handles) static_cast<void>(co_await attempt(std::move(each)));
             EXPECT_EQ(order, (std::vector{1, 3}));
           }));
}

TEST(Event, may_be_destroyed_by_the_waiter_that_it_released) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(20'000); ++i) {
        co_await with_scope([](scope& s) -> task<> {
          std::optional<event> e(std::in_place);
          s.spawn([&e]() -> task<> {
            e->set();
            co_return;
          });
          co_await e->wait();
          e.reset();
        });
      }
    }());
  }
}

TEST(Event, may_be_set_by_a_foreign_thread) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               for (std::size_t i = 0; i < rounds(500); ++i) {
                 event e;
                 std::atomic<int> released{0};
                 std::thread foreign([&e] { e.set(); });
                 co_await with_scope([&](scope& inner) -> task<> {
                   for (int n = 0; n < 4; ++n) {
                     inner.spawn([&]() -> task<> {
                       co_await e.wait();
                       released.fetch_add(1);
                     });
                     inner.spawn_local([&]() -> task<> {
                       co_await e.wait();
                       released.fetch_add(1);
                     });
                   }
                   co_return;
                 });
                 EXPECT_EQ(released.load(), 8);
                 foreign.join();
               }
               static_cast<void>(s);
             }));
  }
}

// The set makes the run end while the foreign thread is still on its way out of it.
TEST(Event, that_is_reset_before_a_look_at_what_it_stands_for_misses_nothing) {
  const int last = rounds(100'000);
  std::atomic<int> told = 0, seen = 0;
  event changed;
  std::thread teller([&] {
    for (int i = 1; i <= last; ++i) {
      told = i;
      changed.set();
      while (seen != i) detail::cpu_relax();
    }
  });
  run_with(1, [&]() -> task<> {
    while (seen != last) {
      changed.reset();
      if (told == seen) co_await timeout(20s, changed.wait());
      seen = told.load();
    }
  }());
  teller.join();
}

TEST(Event, may_be_the_last_thing_a_runtime_waits_for) {
  for (unsigned workers : {1U, 2U}) {
    for (std::size_t i = 0; i < rounds(300); ++i) {
      event e;
      std::thread foreign([&e] { e.set(); });
      run_with(workers, [](event& last) -> task<> { co_await last.wait(); }(e));
      foreign.join();
    }
  }
}

// A foreign thread ends the wait while the only worker cancels it.
TEST(Event, set_by_a_foreign_thread_races_with_cancellation_on_one_worker) {
  event e;
  std::atomic<bool> over{false};
  std::thread foreign([&] {
    while (!over) {
      e.set();
      e.reset();
    }
  });
  run_with(1, with_scope([&](scope& s) -> task<> {
             for (std::size_t i = 0; i < rounds(50'000); ++i) {
               auto waiter = s.spawn_local([&e]() -> task<> {
                 static_cast<void>(co_await attempt(e.wait()));
                 co_await shield(yield());
               });
               co_await yield();
               waiter.cancel();
               EXPECT_FALSE(task_dump().empty());
               co_await std::move(waiter);
             }
           }));
  over = true;
  foreign.join();
}

TEST(Event, that_stays_set_does_not_let_its_waiter_starve_timers_and_other_tasks) {
  for (bool local : {false, true}) {
    run_with(1, with_scope([local](scope& s) -> task<> {
               set_timeout([&s] { s.cancel(); }, 2ms);
               event e;
               e.set();
               auto greedy = [](event& always) -> task<> {
                 for (;;) co_await always.wait();
               };
               auto spin = local ? s.spawn_local(greedy, std::ref(e)) : s.spawn(greedy, std::ref(e));
               co_await event().wait();
             }));
  }
}

}  // namespace
}  // namespace weir
