#include <weir/sync/message_port.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

static_assert(!std::is_copy_constructible_v<message_port<int>>, "a port is transferred, never cloned");

TEST(MessagePort, delivers_in_order_both_ways) {
  run_with(1, []() -> task<> {
    message_channel<int, std::string> line;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(line.port2.post(i));
    EXPECT_TRUE(line.port1.post("hello"));
    EXPECT_EQ(line.port1.waiting(), 3U);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await line.port1.receive(), i);
    EXPECT_EQ(co_await line.port2.receive(), "hello");
    EXPECT_EQ(line.port1.try_receive(), std::nullopt);
  }());
}

TEST(MessagePort, clones_what_it_is_lent_and_empties_what_it_is_given) {
  run_with(1, []() -> task<> {
    message_channel<std::vector<int>> line;
    std::vector<int> kept{1, 2, 3}, given(1000, 7);
    const auto* store = given.data();
    line.port1.post(kept);
    kept[0] = 9;
    line.port1.post(transfer(given));
    EXPECT_TRUE(given.empty());
    EXPECT_EQ(co_await line.port2.receive(), (std::vector{1, 2, 3}));
    auto moved = co_await line.port2.receive();
    EXPECT_EQ(moved->data(), store);
  }());
}

TEST(MessagePort, ends_after_what_was_sent_before_the_other_end_closed) {
  run_with(1, []() -> task<> {
    message_channel<int> line;
    line.port1.post(1);
    line.port2.post(5);
    line.port1.close();
    EXPECT_TRUE(line.port2.closed());
    EXPECT_FALSE(line.port2.post(2));
    EXPECT_FALSE(co_await line.port2.send(2));
    EXPECT_EQ(co_await line.port2.receive(), 1);
    EXPECT_EQ(co_await line.port2.receive(), std::nullopt);
    EXPECT_EQ(co_await line.port1.receive(), std::nullopt);  // one's own close drops what had not been read
  }());
}

TEST(MessagePort, wakes_those_that_wait_when_it_closes) {
  run_with(1, []() -> task<> {
    message_channel<int> line({.capacity = 1});
    line.port1.post(1);
    co_await with_scope([&](scope& s) -> task<> {
      auto receiver = s.spawn_local([&]() -> task<bool> { co_return !(co_await line.port1.receive()); });
      auto sender = s.spawn_local([&]() -> task<bool> { co_return co_await line.port1.send(2); });
      co_await yield();
      line.port2.close();
      EXPECT_TRUE(co_await std::move(receiver));
      EXPECT_FALSE(co_await std::move(sender));
    });
  }());
}

TEST(MessagePort, holds_senders_back_at_its_capacity) {
  run_with(1, []() -> task<> {
    message_channel<int> line({.capacity = 2});
    EXPECT_THROW(message_channel<int>({.capacity = 0}), error);
    int sent = 0;
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local([&]() -> task<> {
        for (int i = 0; i < 10; ++i) {
          EXPECT_TRUE(co_await line.port1.send(i));
          ++sent;
        }
      }));
      for (int i = 0; i < 5; ++i) co_await yield();
      EXPECT_EQ(sent, 2);
      auto full = co_await attempt([](auto& port) -> task<> {
        port.post(99);
        co_return;
      }(line.port1));
      EXPECT_EQ(full.failure().code_name(), "ERR_QUEUE_FULL");
      for (int i = 0; i < 10; ++i) {
        EXPECT_LE(line.port2.waiting(), 2U);
        EXPECT_EQ(co_await line.port2.receive(), i);
      }
    });
    EXPECT_EQ(sent, 10);
  }());
}

TEST(MessagePort, loses_nothing_when_a_receiver_is_cancelled) {
  for (unsigned workers : {1U, 2U}) {
    message_channel<std::size_t> line;
    const auto total = rounds(20'000);
    std::thread foreign([&] {
      for (std::size_t i = 0; i < total; ++i) line.port1.post(i);
    });
    run_with(workers, with_scope([&](scope& s) -> task<> {
               std::size_t expected = 0, tries = 0;
               while (expected < total) {
                 auto one = s.spawn([&]() -> task<std::optional<std::size_t>> {
                   auto got = co_await attempt(line.port2.receive());
                   co_return got ? *got : std::nullopt;
                 });
                 if (++tries % 3 == 0) {
                   if (tries % 2 == 0) co_await yield();
                   one.cancel();
                 }
                 auto got = co_await std::move(one);
                 if (got) EXPECT_EQ(*got, expected++);
               }
             }));
    foreign.join();
  }
}

TEST(MessagePort, sender_that_is_cancelled_has_not_sent) {
  run_with(1, []() -> task<> {
    message_channel<int> line({.capacity = 1});
    line.port1.post(1);
    EXPECT_THROW(co_await timeout(1ms, line.port1.send(2)), error);
    EXPECT_EQ(co_await line.port2.receive(), 1);
    EXPECT_EQ(line.port2.try_receive(), std::nullopt);
  }());
}

TEST(MessagePort, calls_back_in_order_on_the_loop_of_the_listener) {
  run_with(1, []() -> task<> {
    message_channel<int> line;
    std::vector<std::string> log;
    auto home = std::this_thread::get_id();
    std::thread foreign;
    co_await with_scope([&](scope&) -> task<> {
      static_cast<void>(line.port2.on_message([&](int n) {
        EXPECT_EQ(std::this_thread::get_id(), home);
        log.push_back("message " + std::to_string(n));
        next_tick([&log, n] { log.push_back("tick " + std::to_string(n)); });
      }));
      foreign = std::thread([port = std::move(line.port1)]() mutable {
        for (int i = 1; i <= 2; ++i) port.post(i);
      });
      co_return;
    });  // ends because the port that went with the thread has been closed
    foreign.join();
    EXPECT_EQ(log, (std::vector<std::string>{"message 1", "tick 1", "message 2", "tick 2"}));
  }());
}

TEST(MessagePort, listener_can_be_cancelled_and_its_failure_fails_the_scope) {
  run_with(1, []() -> task<> {
    message_channel<int> line;
    int seen = 0;
    co_await with_scope([&](scope&) -> task<> {
      auto listening = line.port2.on_message([&seen](int) { ++seen; });
      line.port1.post(1);
      while (seen == 0) co_await yield();
      listening.cancel();
      co_return;
    });
    line.port1.post(2);
    EXPECT_EQ(seen, 1);
    EXPECT_THROW(co_await with_scope([&](scope&) -> task<> {
                   static_cast<void>(line.port2.on_message([](int) { throw std::runtime_error("listener"); }));
                   co_return;
                 }),
                 std::runtime_error);
  }());
}

TEST(MessagePort, can_be_transferred_through_another_port_and_is_empty_afterwards) {
  run_with(1, []() -> task<> {
    message_channel<int> inner;
    message_channel<message_port<int>> outer;
    inner.port1.post(1);
    outer.port1.post(std::move(inner.port2));
    EXPECT_FALSE(inner.port2);
    EXPECT_THROW(inner.port2.post(1), error);
    EXPECT_THROW(static_cast<void>(inner.port2.receive()), error);
    auto port = co_await outer.port2.receive();
    EXPECT_EQ(co_await port->receive(), 1);
    outer.port1.close();
  }());
}

TEST(MessagePort, unread_port_is_released_with_its_line) {
  using testing::counted;
  {
    message_channel<counted> line;
    line.port1.post(counted());
    line.port1.post(counted());
    EXPECT_EQ(counted::alive(), 2);
    line.port2.close();
    EXPECT_EQ(counted::alive(), 0);
  }
}

TEST(MessagePort, carries_messages_between_runtimes_with_backpressure) {
  message_channel<std::unique_ptr<int>> line({.capacity = 4});
  const auto total = static_cast<int>(rounds(20'000));
  std::thread other([&] {
    run_with(1, [](auto port, int n) -> task<> {
      for (int i = 0; i < n; ++i) EXPECT_TRUE(co_await port.send(std::make_unique<int>(i)));
    }(std::move(line.port1), total));
  });
  run_with(2, [](auto& port, int n) -> task<> {
    for (int i = 0; i < n; ++i) {
      auto got = co_await port.receive();
      EXPECT_TRUE(got.has_value());
      if (!got) break;
      EXPECT_EQ(**got, i);
    }
    EXPECT_FALSE((co_await port.receive()).has_value());
  }(line.port2, total));
  other.join();
}

}  // namespace
}  // namespace weir::sync
