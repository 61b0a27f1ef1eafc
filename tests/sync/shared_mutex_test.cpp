#include <weir/sync/shared_mutex.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>

namespace weir::sync {
namespace {

using weir::testing::rounds;
using weir::testing::run_with;

task<> read(shared_mutex& m, std::string& order, char name) {
  auto held = co_await m.lock_shared();
  order += name;
  co_await yield();
  co_await yield();
}

task<> write(shared_mutex& m, std::string& order, char name) {
  auto held = co_await m.lock();
  order += name;
  co_await yield();
  order += name;
}

TEST(SharedMutex, lets_readers_in_together_and_a_writer_alone) {
  run_with(1, []() -> task<> {
    shared_mutex m;
    auto first = co_await m.lock_shared();
    auto second = m.try_lock_shared();
    EXPECT_TRUE(second.has_value());
    EXPECT_FALSE(m.try_lock());
    first.unlock();
    second.reset();
    auto writer = co_await m.lock();
    EXPECT_FALSE(m.try_lock());
    EXPECT_FALSE(m.try_lock_shared());
    writer.unlock();
    EXPECT_TRUE(m.try_lock().has_value());
  }());
}

TEST(SharedMutex, keeps_the_order_of_arrival_between_readers_and_writers) {
  run_with(1, []() -> task<> {
    shared_mutex m;
    std::string order;
    co_await with_scope([&](scope& s) -> task<> {
      auto held = co_await m.lock();
      for (char name : {'a', 'b'}) s.spawn_local(read, std::ref(m), std::ref(order), name);
      s.spawn_local(write, std::ref(m), std::ref(order), 'W');
      for (char name : {'c', 'd'}) s.spawn_local(read, std::ref(m), std::ref(order), name);
      s.spawn_local(write, std::ref(m), std::ref(order), 'X');
      s.spawn_local(read, std::ref(m), std::ref(order), 'e');
      co_await yield();
      EXPECT_EQ(order, "");
    });
    EXPECT_EQ(order, "abWWcdXXe");
  }());
}

TEST(SharedMutex, makes_a_reader_wait_behind_a_waiting_writer_and_lets_it_in_if_that_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             shared_mutex m;
             std::string order;
             auto reading = co_await m.lock_shared();
             auto writer = s.spawn_local(write, std::ref(m), std::ref(order), 'W');
             auto reader = s.spawn_local(read, std::ref(m), std::ref(order), 'r');
             co_await yield();
             EXPECT_FALSE(m.try_lock_shared());
             EXPECT_EQ(order, "");
             writer.cancel();
             co_await std::move(reader);
             EXPECT_EQ(order, "r");
           }));
}

TEST(SharedMutex, lets_a_writer_become_a_reader_without_another_writer_in_between) {
  run_with(1, []() -> task<> {
    shared_mutex m;
    std::string order;
    co_await with_scope([&](scope& s) -> task<> {
      auto writing = co_await m.lock();
      s.spawn_local(read, std::ref(m), std::ref(order), 'r');
      s.spawn_local(write, std::ref(m), std::ref(order), 'W');
      co_await yield();
      auto reading = std::move(writing).downgrade();
      EXPECT_FALSE(writing);  // NOLINT: moved from, which is what is asked
      co_await yield();
      EXPECT_EQ(order, "r");
      for (int i = 0; i < 4; ++i) co_await yield();
      EXPECT_EQ(order, "r");
      order += '.';
      reading.unlock();
    });
    EXPECT_EQ(order, "r.WW");
  }());
}

TEST(SharedMutex, guards_a_value_across_workers_and_cancellations) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      shared_mutex m;
      std::uint64_t one = 0;
      std::uint64_t two = 0;
      auto reader = [&]() -> task<> {
        for (;;) {
          auto held = co_await m.lock_shared();
          EXPECT_EQ(one, two);
          co_await yield();
          EXPECT_EQ(one, two);
        }
      };
      auto writer = [&]() -> task<> {
        for (;;) {
          auto held = co_await m.lock();
          ++one;
          static_cast<void>(co_await attempt(yield()));
          ++two;
        }
      };
      for (std::size_t i = 0; i < rounds(1'000); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 4; ++n) s.spawn(reader);
          for (int n = 0; n < 2; ++n) s.spawn(writer);
          for (std::size_t n = 0; n < i % 9; ++n) co_await yield();
          s.cancel();
        });
        EXPECT_TRUE(m.try_lock().has_value());
      }
      EXPECT_EQ(one, two);
    }());
  }
}

TEST(SharedMutex, may_be_unlocked_by_a_foreign_thread) {
  run_with(1, []() -> task<> {
    for (std::size_t i = 0; i < rounds(200); ++i) {
      shared_mutex m;
      auto reading = co_await m.lock_shared();
      std::thread foreign([mine = std::move(reading)]() mutable { mine.unlock(); });
      {
        auto writing = co_await m.lock();
      }
      foreign.join();
    }
  }());
}

TEST(SharedMutexDeathTest, says_so_when_it_is_destroyed_while_held) {
  EXPECT_DEATH(
      {
        std::optional<shared_mutex> m(std::in_place);
        auto held = m->try_lock_shared();
        m.reset();
      },
      "a shared_mutex was destroyed");
}

}  // namespace
}  // namespace weir::sync
