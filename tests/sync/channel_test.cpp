#include <weir/sync/channel.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

task<> send_up_to(sender<int> to, int count) {
  for (int i = 0; i < count; ++i) co_await to.send(i);
}

TEST(Channel, hands_values_over_in_order_at_every_capacity) {
  for (unsigned workers : {1U, 2U}) {
    for (std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{64},
                                 std::size_t{100}, unbounded}) {
      run_with(workers, with_scope([capacity](scope& s) -> task<> {
                 constexpr int count = 2000;
                 auto [tx, rx] = make_channel<int>(capacity);
                 static_cast<void>(s.spawn(send_up_to, std::move(tx), count));
                 int expected = 0;
                 while (auto value = co_await rx.recv()) EXPECT_EQ(*value, expected++);
                 EXPECT_EQ(expected, count);
                 EXPECT_TRUE(rx.drained());
               }));
    }
  }
}

TEST(Channel, makes_a_sender_wait_while_it_is_full) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(3);
             int sent = 0;
             s.spawn_local([&]() -> task<> {
               for (; sent < 10; ++sent) co_await c.send(sent);
             });
             co_await yield();
             EXPECT_EQ(sent, 3);
             EXPECT_EQ(c.size(), 3U);
             EXPECT_EQ(c.capacity(), 3U);
             EXPECT_EQ(co_await c.recv(), 0);
             co_await yield();
             EXPECT_EQ(sent, 4);
             for (int i = 1; i < 10; ++i) EXPECT_EQ(co_await c.recv(), i);
           }));
}

TEST(Channel, of_capacity_zero_makes_every_send_meet_a_recv) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(0);
             int sent = 0;
             EXPECT_EQ(c.try_send(7), offer::full);
             s.spawn_local([&]() -> task<> {
               for (; sent < 3; ++sent) co_await c.send(sent);
             });
             co_await yield();
             EXPECT_EQ(sent, 0);
             EXPECT_EQ(c.size(), 0U);
             EXPECT_EQ(c.try_recv(), 0);
             co_await yield();
             EXPECT_EQ(sent, 1);
             EXPECT_EQ(co_await c.recv(), 1);
             EXPECT_EQ(co_await c.recv(), 2);
             auto waiting = s.spawn_local([&]() -> task<int> { co_return (co_await c.recv()).value(); });
             co_await yield();
             EXPECT_EQ(c.try_send(8), offer::sent);
             EXPECT_EQ(co_await std::move(waiting), 8);
           }));
}

TEST(Channel, serves_receivers_in_order_of_arrival) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(4);
             std::vector<std::pair<int, int>> got;
             for (int i = 0; i < 5; ++i) {
               s.spawn_local([&, i]() -> task<> {
                 int value = (co_await c.recv()).value();
                 got.emplace_back(i, value);
               });
             }
             co_await yield();
             for (int i = 0; i < 5; ++i) co_await c.send(10 + i);
             while (got.size() < 5) co_await yield();
             EXPECT_EQ(got, (std::vector<std::pair<int, int>>{{0, 10}, {1, 11}, {2, 12}, {3, 13}, {4, 14}}));
           }));
}

TEST(Channel, serves_senders_in_order_of_arrival_and_lets_nobody_overtake_them) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(1);
             for (int i = 0; i < 5; ++i) {
               s.spawn_local([&, i]() -> task<> { co_await c.send(i); });
             }
             co_await yield();
             EXPECT_EQ(c.try_send(99), offer::full);
             for (int i = 0; i < 5; ++i) {
               EXPECT_EQ(c.try_recv(), i);
               EXPECT_EQ(c.try_send(99), i < 4 ? offer::full : offer::sent);
             }
           }));
}

TEST(Channel, closed_lets_receivers_drain_it_and_then_ends_them) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(4);
             co_await c.send(1);
             co_await c.send(2);
             c.close();
             c.close();
             EXPECT_TRUE(c.closed());
             EXPECT_FALSE(c.drained());
             EXPECT_EQ(co_await c.recv(), 1);
             EXPECT_EQ(c.try_recv(), 2);
             EXPECT_TRUE(c.drained());
             EXPECT_EQ(co_await c.recv(), std::nullopt);
             EXPECT_EQ(c.try_recv(), std::nullopt);

             channel<int> d(1);
             int ended = 0;
             for (int i = 0; i < 3; ++i) {
               s.spawn_local([&]() -> task<> {
                 EXPECT_EQ(co_await d.recv(), std::nullopt);
                 ++ended;
               });
             }
             co_await yield();
             d.close();
             while (ended < 3) co_await yield();
           }));
}

TEST(Channel, closed_refuses_what_senders_hold_and_gives_it_back) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<std::string> c(1);
             co_await c.send("first");
             int refused = 0;
             for (int i = 0; i < 2; ++i) {
               s.spawn_local([&]() -> task<> {
                 std::string mine = "kept by the caller, and long enough to live on the heap";
                 auto sent = co_await attempt(c.send_from(mine));
                 EXPECT_FALSE(sent);
                 EXPECT_TRUE(sent.failure().is("ERR_CLOSED"));
                 EXPECT_EQ(mine, "kept by the caller, and long enough to live on the heap");
                 ++refused;
               });
             }
             co_await yield();
             c.close();
             while (refused < 2) co_await yield();
             std::string late = "late";
             EXPECT_EQ(c.try_send(std::move(late)), offer::closed);
             EXPECT_EQ(late, "late");  // NOLINT: it was not taken
             bool thrown = false;
             try {
               co_await c.send("x");
             } catch (const error& e) {
               thrown = e.code() == errc::err_closed;
             }
             EXPECT_TRUE(thrown);
             EXPECT_EQ(co_await c.recv(), "first");
             EXPECT_EQ(co_await c.recv(), std::nullopt);
           }));
}

TEST(Channel, is_closed_by_the_last_sender) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_channel<int>(8);
             for (int i = 0; i < 3; ++i) static_cast<void>(s.spawn(send_up_to, tx, 2));
             {
               auto last = std::move(tx);
               EXPECT_TRUE(last);
               EXPECT_FALSE(tx);  // NOLINT: that is the question
             }
             int count = 0;
             while (co_await rx.recv()) ++count;
             EXPECT_EQ(count, 6);
           }));
}

TEST(Channel, whose_last_receiver_has_gone_fails_senders_and_destroys_what_is_left) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_channel<counted>(2);
             co_await tx.send(counted());
             co_await tx.send(counted());
             EXPECT_EQ(counted::alive(), 2);
             auto waiting = s.spawn_local(
                 [](sender<counted> to) -> task<bool> {
                   auto sent = co_await attempt(to.send(counted()));
                   co_return !sent && sent.failure().is("ERR_CLOSED");
                 },
                 tx);
             auto told = s.spawn_local([](sender<counted> to) -> task<> { co_await to.until_closed(); }, tx);
             co_await yield();
             {
               auto copy = rx;
               auto gone = std::move(rx);
             }
             EXPECT_TRUE(co_await std::move(waiting));
             co_await std::move(told);
             EXPECT_EQ(counted::alive(), 0);
             EXPECT_TRUE(tx.closed());
           }));
}

TEST(Channel, carries_what_can_only_be_moved) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<std::unique_ptr<int>> c(1);
             s.spawn_local([&]() -> task<> {
               for (int i = 0; i < 4; ++i) co_await c.send(std::make_unique<int>(i));
               auto last = std::make_unique<int>(4);
               co_await c.send_from(last);
               EXPECT_EQ(last, nullptr);
               c.close();
             });
             int sum = 0;
             while (auto value = co_await c.next()) sum += **value;
             EXPECT_EQ(sum, 10);
           }));
}

/// Its copy and its move throw when told to.
struct brittle {
  static inline int fail_in = -1;
  static void count_down() {
    if (fail_in >= 0 && fail_in-- == 0) throw std::runtime_error("brittle");
  }
  explicit brittle(int given) : value(given) {}
  brittle(const brittle& other) : value(other.value) { count_down(); }
  brittle(brittle&& other) : value(other.value) { count_down(); }  // NOLINT: may throw, that is the point
  brittle& operator=(const brittle&) = default;
  counted alive;
  int value;
};

TEST(Channel, stays_whole_when_moving_a_value_throws) {
  for (int nth = 0; nth < 12; ++nth) {
    run_with(1, with_scope([nth](scope& s) -> task<> {
               channel<brittle> c(1);
               int sent = 0;
               int received = 0;
               int failures = 0;
               brittle::fail_in = nth;
               s.spawn_local([&]() -> task<> {
                 for (int i = 0; i < 4; ++i) {
                   try {
                     brittle value(i);
                     co_await c.send_from(value);
                     ++sent;
                   } catch (const std::runtime_error&) {
                     ++failures;
                   }
                 }
                 c.close();
               });
               for (bool more = true; more;) {
                 try {
                   auto value = co_await c.recv();
                   more = value.has_value();
                   if (more) ++received;
                 } catch (const std::runtime_error&) {
                   ++failures;
                   ++received;  // it had been taken
                 }
               }
               brittle::fail_in = -1;
               EXPECT_EQ(sent, received);
               EXPECT_EQ(failures, nth < 8 ? 1 : 0) << nth;
             }));
  }
  EXPECT_EQ(counted::alive(), 0);
}

TEST(Channel, takes_the_value_of_a_cancelled_send_out_of_the_line) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(1);
             co_await c.send(0);
             std::vector<join_handle<bool>> handles;
             for (int i = 1; i <= 4; ++i) {
               handles.push_back(s.spawn_local([&c, i]() -> task<bool> {
                 auto sent = co_await attempt(c.send(i));
                 co_return static_cast<bool>(sent);
               }));
             }
             co_await yield();
             handles[0].cancel();
             handles[2].cancel();
             EXPECT_EQ(co_await c.recv(), 0);
             EXPECT_EQ(co_await c.recv(), 2);
             EXPECT_EQ(co_await c.recv(), 4);
             EXPECT_EQ(c.try_recv(), std::nullopt);
             std::vector<bool> outcome;
             for (auto& each : handles) outcome.push_back(co_await std::move(each));
             EXPECT_EQ(outcome, (std::vector<bool>{false, true, false, true}));
           }));
}

TEST(Channel, gives_the_value_of_a_cancelled_recv_to_the_next) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(1);
             auto first = s.spawn_local([&]() -> task<bool> { co_return !(co_await attempt(c.recv())); });
             auto second = s.spawn_local([&]() -> task<int> { co_return (co_await c.recv()).value(); });
             co_await yield();
             first.cancel();
             co_await c.send(5);
             EXPECT_TRUE(co_await std::move(first));
             EXPECT_EQ(co_await std::move(second), 5);
           }));
}

TEST(Channel, gives_nothing_to_a_task_that_is_to_stop) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(2);
             co_await c.send(1);
             auto stopped = s.spawn_local([&]() -> task<> {
               static_cast<void>(co_await attempt(weir::testing::forever()));
               auto got = co_await attempt(c.recv());
               EXPECT_FALSE(got);
               EXPECT_TRUE(got.failure().is_cancelled());
               auto sent = co_await attempt(c.send(2));
               EXPECT_FALSE(sent);
               std::vector<int> many;
               EXPECT_FALSE(co_await attempt(c.recv_many(many, 4)));
             });
             co_await yield();
             stopped.cancel();
             static_cast<void>(co_await attempt(std::move(stopped)));
             EXPECT_EQ(c.size(), 1U);
             EXPECT_EQ(co_await c.recv(), 1);
           }));
}

// Both ends are cancelled at any moment: what was sent and what was received must still be the same.
TEST(Channel, loses_and_doubles_nothing_when_cancellation_races_with_the_exchange) {
  for (unsigned workers : {1U, 2U, 3U}) {
    for (std::size_t capacity : {0U, 1U, 4U}) {
      run_with(workers, [](std::size_t places) -> task<> {
        channel<std::size_t> c(places);
        std::atomic<std::size_t> sent{0};
        std::atomic<std::size_t> received{0};
        for (std::size_t i = 0; i < rounds(1500); ++i) {
          co_await with_scope([&](scope& s) -> task<> {
            std::vector<join_handle<>> some;
            for (int n = 0; n < 3; ++n) {
              some.push_back(s.spawn([&]() -> task<> {
                for (;;) {
                  auto value = std::size_t{1};
                  if (!co_await attempt(c.send_from(value))) co_return;
                  sent.fetch_add(value);
                }
              }));
              some.push_back(s.spawn([&]() -> task<> {
                for (;;) {
                  auto got = co_await attempt(c.recv());
                  if (!got) co_return;
                  received.fetch_add(**got);
                }
              }));
            }
            for (std::size_t turns = 0; turns < i % 7; ++turns) co_await yield();
            for (std::size_t n = 0; n < some.size(); ++n) some[(n + i) % some.size()].cancel();
          });
        }
        while (auto left = c.try_recv()) received.fetch_add(*left);
        EXPECT_EQ(sent.load(), received.load());
      }(capacity));
    }
  }
}

TEST(Channel, passes_each_value_once_between_many_tasks_on_several_workers) {
  for (std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{16}, unbounded}) {
    run_with(3, [](std::size_t places) -> task<> {
      constexpr std::size_t each = rounds(20'000);
      constexpr std::size_t senders = 4;
      std::vector<std::atomic<int>> seen(each * senders);
      co_await with_scope([&](scope& s) -> task<> {
        auto [tx, rx] = make_channel<std::size_t>(places);
        for (std::size_t n = 0; n < senders; ++n) {
          s.spawn(
              [n](sender<std::size_t> to) -> task<> {
                for (std::size_t i = 0; i < each; ++i) co_await to.send(n * each + i);
              },
              tx);
          auto take = [&seen](receiver<std::size_t> from) -> task<> {
            std::vector<std::size_t> last(senders, 0);
            while (auto value = co_await from.recv()) {
              seen[*value].fetch_add(1);
              EXPECT_GE(*value % each + 1, last[*value / each]) << "values of one sender overtook each other";
              last[*value / each] = *value % each + 1;
            }
          };
          if (n % 2 == 0) {
            s.spawn(take, rx);
          } else {
            s.spawn_on(static_cast<unsigned>(n), take, rx);
          }
        }
        auto drop_ours = std::move(tx);
        co_return;
      });
      EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](auto& times) { return times.load() == 1; }));
    }(capacity));
  }
}

TEST(Channel, gives_many_values_at_once) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(40);
             std::vector<int> out;
             for (int i = 0; i < 40; ++i) co_await c.send(i);
             s.spawn_local([&]() -> task<> {
               for (int i = 40; i < 50; ++i) co_await c.send(i);
               c.close();
             });
             co_await yield();
             EXPECT_EQ(co_await c.recv_many(out, 5), 5U);
             EXPECT_EQ(co_await c.recv_many(out, 1000), 36U);
             while (co_await c.recv_many(out, 3) != 0) {
             }
             EXPECT_EQ(out.size(), 50U);
             for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], static_cast<int>(i));
             EXPECT_THROW(static_cast<void>(c.recv_many(out, 0)), error);
           }));
}

TEST(Channel, connects_foreign_threads_with_tasks) {
  for (unsigned workers : {1U, 2U}) {
    const int count = static_cast<int>(rounds(3000));
    channel<int> there(4);
    channel<int> back(0);
    std::thread foreign([&] {
      while (auto value = there.recv_blocking()) back.send_blocking(*value + 1);
      back.close();
    });
    std::thread polling([&] {
      for (int i = 0; i < count; ++i) {
        while (there.try_send(1'000'000) == offer::full) std::this_thread::yield();
      }
    });
    run_with(workers, with_scope([&](scope& s) -> task<> {
               s.spawn([&]() -> task<> {
                 for (int i = 0; i < count; ++i) co_await there.send(i);
               });
               long sum = 0;
               for (int i = 0; i < 2 * count; ++i) {
                 auto value = co_await back.recv();
                 if (*value <= count) sum += *value;
               }
               there.close();
               EXPECT_EQ(sum, static_cast<long>(count) * (count + 1) / 2);
               EXPECT_EQ(co_await back.recv(), std::nullopt);
             }));
    foreign.join();
    polling.join();
    EXPECT_THROW(there.send_blocking(1), error);
  }
}

TEST(Channel, refuses_to_block_a_worker) {
  run_with(1, []() -> task<> {
    channel<int> c(1);
    try {
      c.send_blocking(1);
      ADD_FAILURE() << "it blocked, or did not say so";
    } catch (const error& e) {
      EXPECT_TRUE(e.is("ERR_INVALID_STATE"));
    }
    EXPECT_THROW(c.recv_blocking(), error);
    EXPECT_EQ(c.size(), 0U);
    co_return;
  }());
}

TEST(Channel, that_is_always_ready_does_not_let_its_user_starve_others) {
  for (bool local : {false, true}) {
    run_with(1, with_scope([local](scope& s) -> task<> {
               set_timeout([&s] { s.cancel(); }, 2ms);
               channel<int> c(1);
               auto greedy = [](channel<int>& both) -> task<> {
                 for (;;) {
                   co_await both.send(1);
                   co_await both.recv();
                 }
               };
               auto spin = local ? s.spawn_local(greedy, std::ref(c)) : s.spawn(greedy, std::ref(c));
               co_await weir::testing::forever();
             }));
  }
}

TEST(Channel, may_be_destroyed_by_whoever_received_or_saw_it_close) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(10'000); ++i) {
        co_await with_scope([i](scope& s) -> task<> {
          std::optional<channel<int>> c(std::in_place, i % 2);
          s.spawn(
              [](std::optional<channel<int>>& on, bool closes) -> task<> {
                if (closes) {
                  on->close();
                } else {
                  static_cast<void>(on->try_send(1));
                  co_return;
                }
              },
              std::ref(c), i % 3 == 0 || i % 2 == 0);
          co_await c->recv();
          c.reset();
        });
      }
    }());
  }
}

TEST(ChannelDeathTest, ends_the_program_when_it_is_destroyed_under_a_waiter) {
  auto misuse = [] {
    run_with(1, with_scope([](scope& s) -> task<> {
               channel<int> c(1);
               static_cast<void>(s.spawn_local([&c]() -> task<> { co_await c.recv(); }));
               co_await yield();
             }));
  };
  EXPECT_DEATH(misuse(), "channel");
}

TEST(Channel, tells_a_producer_when_nobody_wants_more) {
  run_with(1, with_scope([](scope& s) -> task<> {
             bool cleaned_up = false;
             auto [tx, rx] = make_channel<int>(0);
             auto producer = s.spawn_local(
                 [&cleaned_up](sender<int> to) -> task<> {
                   for (int i = 0;; ++i) {
                     if (!co_await attempt(to.send(i))) break;
                   }
                   cleaned_up = true;
                 },
                 std::move(tx));
             {
               auto consumer = std::move(rx);
               for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await consumer.recv(), i);
             }
             co_await std::move(producer);
             EXPECT_TRUE(cleaned_up);
           }));
}

// C3-STR-19, C3-ORD-19: what was pushed before anybody listened is kept, in order.
TEST(Channel, keeps_what_was_sent_before_a_receiver_came) {
  run_with(1, []() -> task<> {
    auto [tx, rx] = make_channel<std::string>(16);
    EXPECT_EQ(tx.try_send("Name: Alice, Age: 30"), offer::sent);
    EXPECT_EQ(tx.try_send("Name: Bob, Age: 25"), offer::sent);
    tx.close();
    std::vector<std::string> seen;
    while (auto line = co_await rx.recv()) seen.push_back(*line);
    EXPECT_EQ(seen, (std::vector<std::string>{"Name: Alice, Age: 30", "Name: Bob, Age: 25"}));
  }());
}

// C3-SYS-20: a typed stream of objects whose mark counts items, fast producer, slow consumer, flat memory.
TEST(Channel, C3_SYS_20_is_a_stream_of_typed_items_that_never_holds_more_than_its_mark) {
  struct person {
    std::string name;
    int age = 0;
    counted alive = {};
  };
  run_with(2, with_scope([](scope& s) -> task<> {
             auto [tx, rx] = make_channel<person>(16);
             s.spawn(
                 [](sender<person> to) -> task<> {
                   for (int i = 0; i < 1000; ++i) co_await to.send({.name = "n" + std::to_string(i), .age = i});
                 },
                 std::move(tx));
             int expected = 0;
             while (auto one = co_await rx.recv()) {
               EXPECT_EQ(one->age, expected++);
               EXPECT_LE(rx.size(), 16U);
               EXPECT_LE(counted::alive(), 16 + 8);
               co_await yield();
             }
             EXPECT_EQ(expected, 1000);
           }));
}

}  // namespace
}  // namespace weir::sync
