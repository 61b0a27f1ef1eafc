#include <weir/sync/broadcast.hpp>
#include <weir/sync/select.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

TEST(Broadcast, gives_every_value_to_every_subscriber_in_order) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               std::optional<broadcast<std::string>> b(std::in_place, 1024);
               std::vector<join_handle<int>> handles;
               for (int i = 0; i < 4; ++i) {
                 handles.push_back(s.spawn(
                     [](subscriber<std::string> sub) -> task<int> {
                       int expected = 0;
                       while (auto got = co_await sub.recv()) {
                         EXPECT_EQ(got->value, std::to_string(expected++));
                         EXPECT_EQ(got->missed, 0U);
                       }
                       co_return expected;
                     },
                     b->subscribe()));
               }
               EXPECT_EQ(b->subscribers(), 4U);
               for (int i = 0; i < 1000; ++i) {
                 EXPECT_EQ(b->send(std::to_string(i)), 4U);
                 if (i % 10 == 0) co_await yield();
               }
               b.reset();
               for (auto& each : handles) EXPECT_EQ(co_await std::move(each), 1000);
             }));
  }
}

TEST(Broadcast, tells_a_subscriber_that_lags_how_many_values_it_lost) {
  run_with(1, []() -> task<> {
    broadcast<int> b(4);
    EXPECT_EQ(b.capacity(), 4U);
    auto slow = b.subscribe();
    auto fast = b.subscribe();
    for (int i = 0; i < 10; ++i) {
      b.send(i);
      auto got = co_await fast.recv();
      EXPECT_EQ(got->value, i);
      EXPECT_EQ(got->missed, 0U);
    }
    EXPECT_EQ(slow.size(), 4U);
    auto first = co_await slow.recv();
    EXPECT_EQ(first->value, 6);
    EXPECT_EQ(first->missed, 6U);
    auto second = co_await slow.recv();
    EXPECT_EQ(second->value, 7);
    EXPECT_EQ(second->missed, 0U);
    b.close();
    EXPECT_EQ((co_await slow.next())->value, 8);
    EXPECT_EQ(slow.try_recv()->value, 9);
    EXPECT_FALSE(co_await slow.recv());
    EXPECT_FALSE(slow.try_recv());
    EXPECT_EQ(b.send(11), 0U);
  }());
}

TEST(Broadcast, shows_a_subscriber_only_what_was_sent_after_it_came) {
  run_with(1, []() -> task<> {
    broadcast<int> b(8);
    EXPECT_EQ(b.send(1), 0U) << "nobody listens";
    auto first = b.subscribe();
    b.send(2);
    auto second = b.subscribe();
    auto copy = first;
    b.send(3);
    EXPECT_EQ((co_await first.recv())->value, 2);
    EXPECT_EQ((co_await copy.recv())->value, 2);
    EXPECT_EQ((co_await second.recv())->value, 3);
    EXPECT_EQ(b.subscribers(), 3U);
  }());
}

TEST(Broadcast, wakes_all_that_wait_and_never_makes_the_sender_wait) {
  run_with(1, with_scope([](scope& s) -> task<> {
             broadcast<int> b(1);
             int sum = 0;
             for (int i = 0; i < 5; ++i) {
               s.spawn_local(
                   [&sum](subscriber<int> sub) -> task<> {
                     while (auto got = co_await sub.recv()) sum += got->value;
                   },
                   b.subscribe());
             }
             co_await yield();
             b.send(1);
             b.send(10);
             co_await yield();
             EXPECT_EQ(sum, 55) << "one value from the hands of the sender, one from the store";
             b.close();
           }));
}

TEST(Broadcast, shares_one_copy_of_a_large_value_and_keeps_no_more_than_its_capacity) {
  struct large {
    counted alive;
    std::vector<int> data = std::vector<int>(100);
  };
  run_with(1, []() -> task<> {
    broadcast<large> b(2);
    auto one = b.subscribe();
    auto two = b.subscribe();
    for (int i = 0; i < 50; ++i) b.send(large());
    EXPECT_EQ(counted::alive(), 2);
    EXPECT_EQ((co_await one.recv())->missed, 48U);
  }());
  EXPECT_EQ(counted::alive(), 0);
}

TEST(Broadcast, loses_nothing_by_a_cancelled_recv_or_as_the_arm_that_lost) {
  run_with(1, with_scope([](scope& s) -> task<> {
             broadcast<int> a(4);
             broadcast<int> b(4);
             auto from_a = a.subscribe();
             auto from_b = b.subscribe();
             auto waiting = s.spawn_local([&]() -> task<bool> { co_return !co_await attempt(from_a.recv()); });
             co_await yield();
             waiting.cancel();
             a.send(1);
             EXPECT_TRUE(co_await std::move(waiting));
             EXPECT_EQ((co_await from_a.recv())->value, 1);
             s.spawn_local([&]() -> task<> {
               b.send(2);
               a.send(3);
               co_return;
             });
             auto got = co_await select(from_a.recv(), from_b.recv());
             EXPECT_EQ(got.index(), 1U);
             EXPECT_EQ(got.get<1>()->value, 2);
             EXPECT_EQ((co_await from_a.recv())->value, 3);
           }));
}

TEST(Broadcast, counts_every_value_of_foreign_threads_as_seen_or_missed) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               constexpr std::uint64_t each = rounds(20'000);
               std::optional<broadcast<std::uint64_t>> b(std::in_place, 16);
               std::vector<join_handle<std::uint64_t>> handles;
               for (int i = 0; i < 3; ++i) {
                 handles.push_back(s.spawn(
                     [](subscriber<std::uint64_t> sub) -> task<std::uint64_t> {
                       std::uint64_t accounted = 0;
                       while (auto got = co_await sub.recv()) accounted += 1 + got->missed;
                       co_return accounted;
                     },
                     b->subscribe()));
               }
               std::uint64_t heard = 0;
               std::thread listener([&heard, sub = b->subscribe()]() mutable {
                 while (auto got = sub.recv_blocking()) heard += 1 + got->missed;
               });
               auto talk = [](broadcast<std::uint64_t> to) {
                 for (std::uint64_t i = 0; i < each; ++i) to.send(i);
               };
               std::thread one(talk, *b);
               std::thread two(talk, *b);
               b.reset();
               for (auto& handle : handles) EXPECT_EQ(co_await std::move(handle), 2 * each);
               one.join();
               two.join();
               listener.join();
               EXPECT_EQ(heard, 2 * each);
             }));
  }
}

TEST(Broadcast, refuses_a_capacity_that_keeps_nothing) {
  EXPECT_THROW(broadcast<int>(0), error);
  EXPECT_EQ(broadcast<int>(5).capacity(), 8U);
}

// C1-EE-20: named channels with subscribers; each hears its own channel only, and leaving ends it.
TEST(Broadcast, C1_EE_20_serves_as_the_channels_of_a_publisher) {
  run_with(1, []() -> task<> {
    broadcast<std::string> news(4);
    broadcast<std::string> sport(4);
    auto reader = news.subscribe();
    {
      auto leaving = sport.subscribe();
      EXPECT_EQ(sport.send("goal"), 1U);
      EXPECT_EQ((co_await leaving.recv())->value, "goal");
    }
    EXPECT_EQ(sport.send("unheard"), 0U);
    EXPECT_EQ(news.send("hello"), 1U);
    EXPECT_EQ((co_await reader.recv())->value, "hello");
    EXPECT_FALSE(reader.try_recv());
  }());
}

}  // namespace
}  // namespace weir::sync
