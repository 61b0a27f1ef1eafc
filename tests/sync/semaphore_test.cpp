#include <weir/sync/semaphore.hpp>
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

task<> acquire_and_note(semaphore& permits, std::size_t count, std::vector<int>& order, int name) {
  auto mine = co_await permits.acquire(count);
  EXPECT_EQ(mine.count(), count);
  order.push_back(name);
  co_await yield();
}

TEST(Semaphore, counts_what_is_taken_and_given_back) {
  run_with(1, []() -> task<> {
    semaphore permits(5);
    auto two = co_await permits.acquire(2);
    EXPECT_EQ(permits.available(), 3U);
    auto three = permits.try_acquire(3);
    EXPECT_TRUE(three.has_value());
    EXPECT_FALSE(permits.try_acquire());
    auto one = two.split(1);
    EXPECT_EQ(two.count(), 1U);
    one.release();
    one.release();
    EXPECT_EQ(permits.available(), 1U);
    two.forget();
    EXPECT_EQ(permits.available(), 1U);
    permits.release();
    three.reset();
    EXPECT_EQ(permits.available(), 5U);
    EXPECT_EQ(permits.try_acquire()->split(9).count(), 1U);
    EXPECT_EQ(permits.available(), 5U);
  }());
}

TEST(Semaphore, hands_permits_out_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    semaphore permits(1);
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      auto mine = co_await permits.acquire();
      for (int i = 0; i < 8; ++i) s.spawn_local(acquire_and_note, std::ref(permits), 1U, std::ref(order), i);
      co_await yield();
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5, 6, 7}));
  }());
}

TEST(Semaphore, does_not_let_small_wishes_overtake_a_big_one) {
  run_with(1, []() -> task<> {
    semaphore permits(3);
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      auto one = co_await permits.acquire();
      s.spawn_local(acquire_and_note, std::ref(permits), 3U, std::ref(order), 3);
      s.spawn_local(acquire_and_note, std::ref(permits), 1U, std::ref(order), 1);
      co_await yield();
      EXPECT_EQ(permits.available(), 2U);
      EXPECT_FALSE(permits.try_acquire());
      EXPECT_TRUE(order.empty());
      one.release();
    });
    EXPECT_EQ(order, (std::vector{3, 1}));
    EXPECT_EQ(permits.available(), 3U);
  }());
}

TEST(Semaphore, serves_those_behind_a_big_wish_that_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             semaphore permits(3);
             std::vector<int> order;
             auto one = co_await permits.acquire();
             auto big = s.spawn_local(acquire_and_note, std::ref(permits), 3U, std::ref(order), 3);
             auto small = s.spawn_local(acquire_and_note, std::ref(permits), 2U, std::ref(order), 2);
             co_await yield();
             big.cancel();
             co_await std::move(small);
             EXPECT_EQ(order, (std::vector{2}));
           }));
}

TEST(Semaphore, that_starts_empty_carries_signals) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      semaphore signals(0);
      auto times = rounds(2'000);
      std::thread foreign([&] {
        for (std::size_t i = 0; i < times; ++i) signals.release();
      });
      for (std::size_t i = 0; i < times; ++i) (co_await signals.acquire()).forget();
      foreign.join();
      EXPECT_EQ(signals.available(), 0U);
    }());
  }
}

TEST(Semaphore, refuses_what_can_never_be_had) {
  EXPECT_THROW(semaphore(semaphore::max_permits + 1), error);
  EXPECT_THROW(semaphore(3, 2), error);
  run_with(1, []() -> task<> {
    semaphore permits(2, 4);
    auto refused = co_await attempt(permits.acquire(5));
    EXPECT_EQ(refused.failure().code_name(), "ERR_OUT_OF_RANGE");
    EXPECT_THROW(static_cast<void>(co_await permits.acquire(5)), error);
    EXPECT_FALSE(permits.try_acquire(5));
    EXPECT_THROW(permits.release(3), error);
    EXPECT_EQ(permits.available(), 2U);
    permits.release(2);
    EXPECT_EQ((co_await permits.acquire(4)).count(), 4U);
  }());
}

TEST(Semaphore, never_lets_more_in_than_it_has_permits) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      semaphore permits(3);
      std::atomic<int> inside{0};
      std::atomic<int> most{0};
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 8; ++i) {
          s.spawn([&, i]() -> task<> {
            for (std::size_t n = 0; n < rounds(2'000); ++n) {
              int count = 1 + (i + static_cast<int>(n)) % 3;
              auto mine = co_await permits.acquire(static_cast<std::size_t>(count));
              int now = inside.fetch_add(count) + count;
              for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
              if (n % 4 == 0) co_await yield();
              inside.fetch_sub(count);
            }
          });
        }
        co_return;
      });
      EXPECT_EQ(most.load(), 3);
      EXPECT_EQ(permits.available(), 3U);
    }());
  }
}

TEST(Semaphore, loses_no_permit_to_cancellation_at_any_moment) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      semaphore permits(4);
      auto work = [](semaphore& from, std::size_t count) -> task<> {
        for (;;) {
          auto mine = co_await from.acquire(count);
          co_await yield();
        }
      };
      for (std::size_t i = 0; i < rounds(2'000); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (std::size_t n = 1; n <= 4; ++n) s.spawn(work, std::ref(permits), n);
          for (std::size_t n = 0; n < i % 7; ++n) co_await yield();
          s.cancel();
        });
        EXPECT_EQ(permits.available(), 4U);
      }
    }());
  }
}

TEST(SemaphoreDeathTest, says_so_when_it_is_destroyed_while_it_is_waited_for) {
  EXPECT_DEATH(run_with(1, with_scope([](scope& s) -> task<> {
                          std::optional<semaphore> permits(std::in_place, 0U);
                          s.spawn_local([&]() -> task<> { static_cast<void>(co_await permits->acquire()); });
                          co_await yield();
                          permits.reset();
                        })),
               "a semaphore was destroyed");
}

}  // namespace
}  // namespace weir::sync
