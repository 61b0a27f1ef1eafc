#include <weir/sync/oneshot.hpp>
#include <weir/sync/select.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>

namespace weir::sync {
namespace {

using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

TEST(Oneshot, hands_one_value_over_before_or_after_somebody_waits) {
  for (bool early : {true, false}) {
    run_with(1, with_scope([early](scope& s) -> task<> {
               auto [tx, rx] = make_oneshot<std::unique_ptr<int>>();
               if (early) EXPECT_TRUE(tx.send(std::make_unique<int>(7)));
               auto waiting = s.spawn_local(
                   [](oneshot_receiver<std::unique_ptr<int>> from) -> task<int> { co_return *co_await from.recv(); },
                   std::move(rx));
               co_await yield();
               if (!early) EXPECT_TRUE(tx.send(std::make_unique<int>(7)));
               EXPECT_FALSE(tx);
               EXPECT_EQ(co_await std::move(waiting), 7);
             }));
  }
}

TEST(Oneshot, fails_the_receiver_whose_sender_goes_without_sending) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_oneshot<int>();
             auto waiting = s.spawn_local(
                 [](oneshot_receiver<int> from) -> task<bool> {
                   auto got = co_await attempt(from.recv());
                   co_return !got && got.failure().is("ERR_CLOSED");
                 },
                 std::move(rx));
             co_await yield();
             {
               auto gone = std::move(tx);
             }
             EXPECT_TRUE(co_await std::move(waiting));
           }));
}

TEST(Oneshot, sends_and_receives_once) {
  run_with(1, []() -> task<> {
    auto [tx, rx] = make_oneshot<std::string>();
    EXPECT_EQ(rx.try_recv(), std::nullopt);
    EXPECT_TRUE(tx.send("once"));
    EXPECT_THROW(tx.send("twice"), error);
    EXPECT_EQ(co_await rx.recv(), "once");
    EXPECT_THROW(co_await rx.recv(), error);
  }());
}

TEST(Oneshot, tells_the_sender_that_nobody_waits_and_leaves_it_the_value) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_oneshot<std::string>();
             EXPECT_FALSE(tx.closed());
             auto told = s.spawn_local([&tx]() -> task<> { co_await tx.until_closed(); });
             co_await yield();
             {
               auto gone = std::move(rx);
             }
             co_await std::move(told);
             EXPECT_TRUE(tx.closed());
             std::string value = "a value that is long enough to live on the heap";
             EXPECT_FALSE(tx.send(std::move(value)));
             EXPECT_EQ(value, "a value that is long enough to live on the heap");  // NOLINT: it was not taken
           }));
}

TEST(Oneshot, destroys_a_value_that_nobody_received) {
  {
    auto [tx, rx] = make_oneshot<counted>();
    EXPECT_TRUE(tx.send(counted()));
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(Oneshot, keeps_the_value_of_a_recv_that_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_oneshot<int>();
             auto waiting = s.spawn_local([&rx]() -> task<bool> { co_return !co_await attempt(rx.recv()); });
             co_await yield();
             waiting.cancel();
             EXPECT_TRUE(tx.send(3));
             EXPECT_TRUE(co_await std::move(waiting));
             EXPECT_EQ(co_await rx.recv(), 3);
           }));
}

TEST(Oneshot, is_an_arm_of_a_select) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx_a, rx_a] = make_oneshot<int>();
             auto [tx_b, rx_b] = make_oneshot<int>();
             s.spawn_local(
                 [](oneshot_sender<int> to) -> task<> {
                   to.send(2);
                   co_return;
                 },
                 std::move(tx_b));
             auto got = co_await select(rx_a.recv(), rx_b.recv());
             EXPECT_EQ(got.index(), 1U);
             EXPECT_EQ(got.get<1>(), 2);
             EXPECT_TRUE(tx_a.send(1));
             EXPECT_EQ(co_await rx_a.recv(), 1);
           }));
}

TEST(Oneshot, connects_foreign_threads_with_tasks) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               for (std::size_t i = 0; i < rounds(300); ++i) {
                 auto [question, asked] = make_oneshot<std::size_t>();
                 auto [answer, answered] = make_oneshot<std::size_t>();
                 std::thread foreign([asked = std::move(asked), answer = std::move(answer)]() mutable {
                   answer.send(asked.recv_blocking() + 1);
                 });
                 question.send(std::size_t{i});
                 EXPECT_EQ(co_await answered.recv(), i + 1);
                 foreign.join();
               }
               static_cast<void>(s);
             }));
  }
}

TEST(Oneshot, is_received_or_still_there_when_cancellation_races_with_the_sender) {
  run_with(2, []() -> task<> {
    for (std::size_t i = 0; i < rounds(5000); ++i) {
      auto [tx, rx] = make_oneshot<int>();
      int received = 0;
      co_await with_scope([&](scope& s) -> task<> {
        auto waiting = s.spawn(
            [](oneshot_receiver<int>& from, int& to) -> task<> {
              auto got = co_await attempt(from.recv());
              if (got) to += *got;
            },
            std::ref(rx), std::ref(received));
        auto sending = s.spawn([](oneshot_sender<int> to) -> task<bool> { co_return to.send(1); }, std::move(tx));
        waiting.cancel();
        EXPECT_TRUE(co_await std::move(sending));
      });
      received += rx.try_recv().value_or(0);
      EXPECT_EQ(received, 1);
    }
  }());
}

}  // namespace
}  // namespace weir::sync
