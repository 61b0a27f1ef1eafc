#include <weir/sync/channel.hpp>
#include <weir/sync/select.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using weir::testing::cancel_at_every_suspension;
using weir::testing::poll_io;
using weir::testing::rounds;
using weir::testing::run_with;
using weir::testing::virtual_time;

TEST(Select, takes_the_arm_that_is_ready_and_leaves_the_others_alone) {
  run_with(1, []() -> task<> {
    channel<int> empty(1);
    channel<std::string> full(1);
    EXPECT_EQ(full.try_send("here"), offer::sent);
    auto got = co_await select(empty.recv(), full.recv());
    EXPECT_EQ(got.index(), 1U);
    EXPECT_FALSE(got.has<0>());
    EXPECT_TRUE(got.has<1>());
    EXPECT_EQ(*got.get<1>(), "here");
    EXPECT_EQ(empty.try_send(1), offer::sent);
    EXPECT_EQ(empty.try_recv(), 1);
  }());
}

TEST(Select, waits_for_the_first_arm_and_takes_the_others_out_of_their_lines) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> a(0);
             channel<int> b(0);
             auto chooser = s.spawn_local([&]() -> task<std::size_t> {
               auto got = co_await select(a.recv(), b.recv());
               EXPECT_EQ(got.get<1>(), 5);
               co_return got.index();
             });
             co_await yield();
             co_await b.send(5);
             EXPECT_EQ(co_await std::move(chooser), 1U);
             EXPECT_EQ(a.try_send(6), offer::full) << "nobody may be left in the line of the arm that lost";
             EXPECT_EQ(b.try_send(7), offer::full);
           }));
}

TEST(Select, sends_one_value_only_and_leaves_the_other_with_its_owner) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<std::unique_ptr<int>> a(0);
             channel<std::unique_ptr<int>> b(0);
             auto mine = std::make_unique<int>(1);
             auto other = std::make_unique<int>(2);
             auto reader = s.spawn_local([&]() -> task<int> { co_return **co_await b.recv(); });
             auto got = co_await select(a.send_from(mine), b.send_from(other));
             EXPECT_EQ(got.index(), 1U);
             EXPECT_EQ(*mine, 1);
             EXPECT_EQ(other, nullptr);
             EXPECT_EQ(co_await std::move(reader), 2);
             EXPECT_EQ(a.try_recv(), std::nullopt);
           }));
}

TEST(Select, draws_lots_among_arms_that_are_ready_and_keeps_their_order_when_asked) {
  run_with(1, []() -> task<> {
    constexpr int times = 3000;
    std::array<channel<int>, 3> c{channel<int>(1), channel<int>(1), channel<int>(1)};
    std::array<int, 3> chosen{};
    for (int i = 0; i < times; ++i) {
      for (auto& each : c) static_cast<void>(each.try_send(i));
      ++chosen[(co_await select(c[0].recv(), c[1].recv(), c[2].recv())).index()];
    }
    for (int each : chosen) EXPECT_NEAR(each, times / 3, times / 10);
    for (int i = 0; i < 100; ++i) {
      for (auto& each : c) static_cast<void>(each.try_send(i));
      auto got = co_await select({.prefer = preference::in_order}, c[0].recv(), c[1].recv(), c[2].recv());
      EXPECT_EQ(got.index(), 0U);
    }
  }());
}

TEST(Select, sees_that_a_channel_is_closed) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> a(0);
             channel<int> b(0);
             auto waiting = s.spawn_local([&]() -> task<> {
               auto got = co_await select(a.recv(), b.recv());
               EXPECT_EQ(got.index(), 0U);
               EXPECT_EQ(got.get<0>(), std::nullopt);
             });
             co_await yield();
             a.close();
             co_await std::move(waiting);
             auto sent = co_await select(a.send(1), b.recv());
             EXPECT_EQ(sent.index(), 0U);
             EXPECT_TRUE(sent.outcome<0>().failure().is("ERR_CLOSED"));
             EXPECT_THROW(sent.get<0>(), error);
             auto told = co_await select(b.recv(), a.until_closed());
             EXPECT_EQ(told.index(), 1U);
           }));
}

TEST(Select, meets_another_select) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               channel<int> a(0);
               channel<int> b(0);
               constexpr std::size_t times = rounds(20'000);
               auto one = s.spawn([&]() -> task<long> {
                 long sum = 0;
                 for (std::size_t i = 0; i < times; ++i) {
                   auto got = co_await select(a.recv(), b.send(static_cast<int>(i)));
                   if (got.index() == 0) sum += *got.get<0>();
                 }
                 co_return sum;
               });
               auto two = s.spawn([&]() -> task<long> {
                 long sum = 0;
                 for (std::size_t i = 0; i < times; ++i) {
                   auto got = co_await select(b.recv(), a.send(static_cast<int>(i)));
                   if (got.index() == 0) sum += *got.get<0>();
                 }
                 co_return sum;
               });
               constexpr long all = static_cast<long>(times) * static_cast<long>(times - 1) / 2;
               EXPECT_LE(co_await std::move(one), all);
               EXPECT_LE(co_await std::move(two), all);
             }));
  }
}

TEST(Select, may_send_and_receive_on_one_channel_but_does_not_meet_itself) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(0);
             int ended = 0;
             for (int i = 0; i < 2; ++i) {
               s.spawn_local([&c, &ended, i]() -> task<> {
                 auto got = co_await select(c.send(i), c.recv());
                 if (got.index() == 1) EXPECT_EQ(got.get<1>(), 1 - i);
                 ++ended;
               });
               co_await yield();
               EXPECT_EQ(ended, i == 0 ? 0 : ended);
             }
             while (ended < 2) co_await yield();
           }));
}

TEST(Select, times_out_with_a_sleep_as_an_arm) {
  runtime(virtual_time()).block_on(with_scope([](scope& s) -> task<> {
    channel<int> c(0);
    auto late = co_await select(c.recv(), sleep(50ms));
    EXPECT_EQ(late.index(), 1U);
    EXPECT_FALSE(late.has<0>());
    EXPECT_EQ(c.try_send(1), offer::full);
    s.spawn_local([&]() -> task<> {
      co_await sleep(10ms);
      co_await c.send(7);
    });
    auto began = weir::testing::virtual_clock::elapsed();
    auto got = co_await select(sleep(1h), c.recv());
    EXPECT_EQ(got.index(), 1U);
    EXPECT_EQ(got.get<1>(), 7);
    EXPECT_LT(weir::testing::virtual_clock::elapsed() - began, 1s) << "the timer that lost must be gone";
  }));
}

TEST(Select, times_out_after_a_while_and_never_early) {
  runtime(virtual_time()).block_on(with_scope([](scope& s) -> task<> {
    using weir::testing::virtual_clock;
    channel<int> c(0);
    EXPECT_EQ((co_await select(c.recv(), after(0ms))).index(), 1U);
    EXPECT_EQ((co_await select(c.recv(), after(-1h))).index(), 1U);
    auto began = virtual_clock::elapsed();
    EXPECT_EQ((co_await select(after(70ms), c.recv(), after(50ms))).index(), 2U);
    EXPECT_GE(virtual_clock::elapsed() - began, 50ms);
    EXPECT_LT(virtual_clock::elapsed() - began, 70ms);
    EXPECT_EQ(c.try_send(1), offer::full);
    EXPECT_EQ(metrics().workers[0].timers, 0U) << "the timers that lost must be gone";
    static_cast<void>(s.spawn_local([&]() -> task<> {
      co_await sleep(10ms);
      co_await c.send(7);
    }));
    auto got = co_await select(after(nanoseconds::max()), c.recv());
    EXPECT_EQ(got.get<1>(), 7);
    auto stopped = s.spawn_local([&]() -> task<bool> { co_return !co_await attempt(select(c.recv(), after(1h))); });
    co_await yield();
    stopped.cancel();
    EXPECT_TRUE(co_await std::move(stopped));
    EXPECT_EQ(metrics().workers[0].timers, 0U);
    EXPECT_EQ((co_await select(c.recv(), after(5ms), sleep(1h))).index(), 1U);
  }));
}

TEST(Select, takes_a_sleep_for_a_timer_and_makes_no_frame_for_it) {
  runtime(virtual_time()).block_on(with_scope([](scope& s) -> task<> {
    using weir::testing::virtual_clock;
    channel<int> c(0);
    event e;
    auto began = virtual_clock::elapsed();
    EXPECT_EQ((co_await select(sleep(70ms), c.recv(), sleep(50ms))).index(), 2U);
    EXPECT_GE(virtual_clock::elapsed() - began, 50ms);
    EXPECT_LT(virtual_clock::elapsed() - began, 70ms);
    EXPECT_EQ(metrics().workers[0].timers, 0U);
    EXPECT_EQ((co_await select(e.wait(), sleep(5ms))).index(), 1U) << "beside a branch as well";
    EXPECT_EQ((co_await select(c.recv(), sleep(-1h))).index(), 1U);
    auto waiting = s.spawn_local([&]() -> task<> { co_await select(c.recv(), sleep(nanoseconds::max())); });
    co_await yield();
    EXPECT_THAT(task_dump(), ::testing::Not(::testing::HasSubstr("waits for sleep"))) << "no branch sleeps";
    waiting.cancel();
    EXPECT_TRUE((co_await attempt(std::move(waiting))).failure().is_cancelled());
    EXPECT_EQ(metrics().workers[0].timers, 0U);
  }));
}

TEST(Select, sleeps_until_a_point_of_time_however_late_the_wait_begins) {
  runtime(virtual_time()).block_on([]() -> task<> {
    using weir::testing::virtual_clock;
    channel<int> c(0);
    auto due = weir::detail::clock_here() + 100ms;
    auto later = select(c.recv(), sleep_until(due));
    co_await sleep(60ms);
    auto began = virtual_clock::elapsed();
    EXPECT_EQ((co_await std::move(later)).index(), 1U);
    EXPECT_NEAR(static_cast<double>((virtual_clock::elapsed() - began) / 1ms), 40, 2);
    EXPECT_EQ((co_await select(c.recv(), sleep_until(due))).index(), 1U) << "a point in the past is over";
  }());
}

TEST(Select, lets_what_is_ready_go_before_a_sleep_of_no_time) {
  run_with(1, []() -> task<> {
    channel<int> c(1);
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(c.try_send(i), offer::sent);
      auto got = co_await select(sleep(0ms), c.recv());
      EXPECT_EQ(got.index(), 1U);
    }
  }());
}

TEST(Select, takes_events_tasks_and_operations_of_the_system_as_arms) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               channel<int> c(0);
               event e;
               s.spawn([&]() -> task<> {
                 e.set();
                 co_return;
               });
               EXPECT_EQ((co_await select(c.recv(), e.wait(), sleep(1h))).index(), 1U);
               auto number = []() -> task<int> {
                 co_await yield();
                 co_return 42;
               };
               auto got = co_await select(number(), c.recv());
               EXPECT_EQ(got.index(), 0U);
               EXPECT_EQ(got.get<0>(), 42);
               EXPECT_EQ((co_await select(c.recv(), poll_io())).index(), 1U);
               auto fails = []() -> task<int> {
                 co_await yield();
                 throw std::runtime_error("no");
               };
               auto failed = co_await select(c.recv(), fails());
               EXPECT_EQ(failed.index(), 1U);
               EXPECT_THROW(failed.get<1>(), std::runtime_error);
             }));
  }
}

TEST(Select, gives_an_event_that_is_set_its_chance_beside_a_channel_that_is_always_ready) {
  run_with(1, []() -> task<> {
    channel<int> c(1);
    event e;
    e.set();
    int events = 0;
    for (int i = 0; i < 300; ++i) {
      static_cast<void>(c.try_send(1));
      auto got = co_await select(c.recv(), e.wait());
      events += got.index() == 1 ? 1 : 0;
    }
    EXPECT_NEAR(events, 150, 60);
    static_cast<void>(c.try_send(1));
    EXPECT_EQ((co_await select({.prefer = preference::in_order}, e.wait(), c.recv())).index(), 0U);
    EXPECT_EQ((co_await select({.prefer = preference::in_order}, c.recv(), e.wait())).index(), 0U);
  }());
}

// A task that has its value when it is told to stop, as a read has that the kernel had finished.
task<int> completes_all_the_same(int value) {
  co_await shield(yield());
  co_await shield(yield());
  co_await shield(yield());
  co_return value;
}

TEST(Select, gives_the_value_of_an_arm_that_completed_before_its_cancellation_came) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(0);
             s.spawn_local([&]() -> task<> { co_await c.send(1); });
             auto both = co_await select(completes_all_the_same(2), c.recv(), completes_all_the_same(3));
             EXPECT_EQ(both.index(), 1U);
             EXPECT_EQ(both.get<1>(), 1);
             EXPECT_TRUE(both.has<0>());
             EXPECT_EQ(both.get<0>(), 2);
             EXPECT_EQ(both.get<2>(), 3);
           }));
}

TEST(Select, that_is_cancelled_has_taken_nothing) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> a(0);
             channel<int> b(0);
             for (bool with_branch : {false, true}) {
               auto waiting = s.spawn_local([&, with_branch]() -> task<bool> {
                 bool stopped = with_branch ? !co_await attempt(select(a.recv(), b.recv(), sleep(1h)))
                                            : !co_await attempt(select(a.recv(), b.recv()));
                 bool again = !co_await attempt(select(a.recv(), b.recv()));  // the cancellation stays
                 co_return stopped&& again;
               });
               co_await yield();
               co_await yield();
               co_await yield();
               waiting.cancel();
               EXPECT_TRUE(co_await std::move(waiting));
               EXPECT_EQ(a.try_send(1), offer::full);
               EXPECT_EQ(b.try_send(1), offer::full);
             }
             auto kept = s.spawn_local(
                 [&]() -> task<int> { co_return (co_await select(a.recv(), completes_all_the_same(9))).get<1>(); });
             co_await yield();
             kept.cancel();
             EXPECT_EQ(co_await std::move(kept), 9);
           }));
}

// A select that is told to stop before it waits is cancelled, and not one whose branch was.
TEST(Select, beside_a_branch_that_is_cancelled_at_any_suspension_is_cancelled_itself) {
  channel<int> c(0);
  event e;
  auto make = [&]() -> task<std::size_t> { co_return (co_await select(c.recv(), e.wait(), sleep(0ms))).index(); };
  auto stopped = cancel_at_every_suspension(make, [&](result<std::size_t>& outcome) {
    if (outcome) EXPECT_EQ(*outcome, 2U);
    if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled());
    EXPECT_EQ(c.try_send(1), offer::full);
  });
  EXPECT_GE(stopped, 2U);
}

TEST(Select, loses_and_doubles_nothing_when_cancellation_races_with_the_choice) {
  for (unsigned workers : {1U, 2U, 3U}) {
    run_with(workers, []() -> task<> {
      channel<std::size_t> a(0);
      channel<std::size_t> b(1);
      channel<std::size_t> c(4);
      std::atomic<std::size_t> sent{0};
      std::atomic<std::size_t> received{0};
      auto sends = [&]() -> task<> {
        for (;;) {
          auto got = co_await attempt(select(a.send(1), b.send(1), c.send(1)));
          if (!got) co_return;
          sent.fetch_add(1);
        }
      };
      auto receives = [&]() -> task<> {
        for (;;) {
          auto got = co_await attempt(select(a.recv(), c.recv(), b.recv()));
          if (!got) co_return;
          received.fetch_add((got->has<0>() ? 1U : 0U) + (got->has<1>() ? 1U : 0U) + (got->has<2>() ? 1U : 0U));
        }
      };
      auto receives_with_a_timer = [&]() -> task<> {
        for (;;) {
          auto got = co_await attempt(select(b.recv(), after(1ms), a.recv()));
          if (!got) co_return;
          received.fetch_add((got->has<0>() ? 1U : 0U) + (got->has<2>() ? 1U : 0U));
        }
      };
      auto receives_with_a_limit = [&]() -> task<> {
        for (;;) {
          auto got = co_await attempt(select(b.recv(), sleep(1ms), a.recv()));
          if (!got) co_return;
          received.fetch_add((got->has<0>() ? 1U : 0U) + (got->has<2>() ? 1U : 0U));
        }
      };
      for (std::size_t i = 0; i < rounds(600); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          std::vector<join_handle<>> some;
          for (int n = 0; n < 2; ++n) {
            some.push_back(s.spawn(sends));
            some.push_back(s.spawn(receives));
            some.push_back(s.spawn(receives_with_a_limit));
            some.push_back(s.spawn(receives_with_a_timer));
          }
          for (std::size_t turns = 0; turns < i % 11; ++turns) co_await yield();
          for (std::size_t n = 0; n < some.size(); ++n) some[(n + i) % some.size()].cancel();
        });
      }
      for (auto* each : {&a, &b, &c}) {
        while (auto left = each->try_recv()) received.fetch_add(*left);
      }
      EXPECT_EQ(sent.load(), received.load());
      EXPECT_GT(sent.load(), 0U);
    }());
  }
}

TEST(Select, whose_timer_fires_while_a_value_comes_takes_one_of_them) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               constexpr int times = static_cast<int>(rounds(300, 3));
               auto [tx, rx] = make_channel<int>(0);
               auto reader = s.spawn(
                   [](receiver<int> from) -> task<int> {
                     int received = 0;
                     while (!from.drained()) {
                       auto got = co_await select(from.recv(), after(1ms));
                       if (got.has<0>() && got.get<0>()) ++received;
                     }
                     co_return received;
                   },
                   std::move(rx));
               auto writer = s.spawn(
                   [](sender<int> to) -> task<int> {
                     int sent = 0;
                     for (int i = 0; i < times; ++i) {
                       co_await sleep(1ms);
                       auto got = co_await select(to.send(i), after(1ms));
                       if (got.index() == 0) ++sent;
                     }
                     to.close();  // the frame, and the sender in it, stays until its result is taken
                     co_return sent;
                   },
                   std::move(tx));
               int sent = co_await std::move(writer);
               EXPECT_EQ(co_await std::move(reader), sent);
             }));
  }
}

TEST(Select, passes_every_value_once_over_several_channels_and_workers) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      constexpr std::size_t each = rounds(10'000);
      std::vector<std::atomic<int>> seen(3 * each);
      co_await with_scope([&](scope& s) -> task<> {
        auto [to_a, from_a] = make_channel<std::size_t>(0);
        auto [to_b, from_b] = make_channel<std::size_t>(3);
        for (std::size_t n = 0; n < 3; ++n) {
          s.spawn(
              [n](sender<std::size_t> a, sender<std::size_t> b) -> task<> {
                for (std::size_t i = 0; i < each; ++i) co_await select(a.send(n * each + i), b.send(n * each + i));
              },
              to_a, to_b);
          s.spawn(
              [&seen](receiver<std::size_t> a, receiver<std::size_t> b) -> task<> {
                while (!a.drained() || !b.drained()) {
                  auto got = co_await select(a.recv(), b.recv());
                  auto value = got.index() == 0 ? got.get<0>() : got.get<1>();
                  if (value) seen[*value].fetch_add(1);
                }
              },
              from_a, from_b);
        }
        auto a = std::move(to_a);
        auto b = std::move(to_b);
        co_return;
      });
      for (auto& times : seen) EXPECT_EQ(times.load(), 1);
    }());
  }
}

TEST(Select, on_ready_channels_does_not_starve_others) {
  run_with(1, with_scope([](scope& s) -> task<> {
             set_timeout([&s] { s.cancel(); }, 2ms);
             channel<int> c(1);
             static_cast<void>(s.spawn([&]() -> task<> {
               for (;;) {
                 co_await select(c.send(1), c.recv());
                 co_await select({.prefer = preference::in_order}, c.send(1), c.recv(), sleep(1h));
               }
             }));
             co_await weir::testing::forever();
           }));
}

// ---- Arms in a list ----

std::deque<channel<int>> channels(std::size_t count, std::size_t capacity) {
  std::deque<channel<int>> all;
  for (std::size_t i = 0; i < count; ++i) all.emplace_back(capacity);
  return all;
}

auto recv_each(std::deque<channel<int>>& from) {
  return select_any(from, [](channel<int>& each) { return each.recv(); });
}

TEST(SelectAny, takes_the_arm_that_is_ready_and_leaves_the_others_alone) {
  run_with(1, []() -> task<> {
    auto all = channels(200, 1);
    EXPECT_EQ(all[123].try_send(5), offer::sent);
    auto got = co_await recv_each(all);
    EXPECT_EQ(got.index(), 123U);
    EXPECT_EQ(got.get(), 5);
    for (auto& each : all) EXPECT_EQ(each.try_recv(), std::nullopt);
  }());
}

TEST(SelectAny, waits_for_the_first_arm_and_takes_the_others_out_of_their_lines) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto all = channels(100, 0);
             auto chooser = s.spawn_local([&]() -> task<std::size_t> {
               auto got = co_await recv_each(all);
               EXPECT_EQ(std::move(got).get(), 7);
               co_return got.index();
             });
             co_await yield();
             co_await all[42].send(7);
             EXPECT_EQ(co_await std::move(chooser), 42U);
             for (auto& each : all) EXPECT_EQ(each.try_send(1), offer::full);
           }));
}

TEST(SelectAny, sends_to_one_and_leaves_the_other_values_with_their_owners) {
  run_with(1, with_scope([](scope& s) -> task<> {
             std::array<channel<std::unique_ptr<int>>, 3> to{
                 channel<std::unique_ptr<int>>(0), channel<std::unique_ptr<int>>(0), channel<std::unique_ptr<int>>(0)};
             std::array<std::unique_ptr<int>, 3> mine;
             for (int i = 0; i < 3; ++i) mine[static_cast<std::size_t>(i)] = std::make_unique<int>(i);
             auto reader = s.spawn_local([&]() -> task<int> { co_return **co_await to[2].recv(); });
             std::vector<decltype(to[0].send_from(mine[0]))> arms;
             for (std::size_t i = 0; i < 3; ++i) arms.push_back(to[i].send_from(mine[i]));
             auto got = co_await select_any(std::move(arms));
             EXPECT_EQ(got.index(), 2U);
             EXPECT_TRUE(got.outcome());
             EXPECT_EQ(co_await std::move(reader), 2);
             EXPECT_EQ(*mine[0], 0);
             EXPECT_EQ(*mine[1], 1);
             EXPECT_EQ(mine[2], nullptr);
           }));
}

TEST(SelectAny, draws_lots_among_arms_that_are_ready_and_keeps_their_order_when_asked) {
  run_with(1, []() -> task<> {
    constexpr int times = 5000;
    auto all = channels(5, 1);
    std::array<int, 5> chosen{};
    for (int i = 0; i < times; ++i) {
      for (auto& each : all) static_cast<void>(each.try_send(i));
      ++chosen[(co_await recv_each(all)).index()];
    }
    for (int each : chosen) EXPECT_NEAR(each, times / 5, times / 12);
    for (auto& each : all) static_cast<void>(each.try_send(0));
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto got = co_await select_any(all, &channel<int>::recv, {.prefer = preference::in_order});
      EXPECT_EQ(got.index(), i);
    }
  }());
}

TEST(SelectAny, of_one_arm_is_that_arm_and_of_none_an_error) {
  run_with(1, []() -> task<> {
    auto one = channels(1, 0);
    auto none = channels(0, 0);
    one[0].close();
    EXPECT_EQ((co_await recv_each(one)).get(), std::nullopt);
    auto sent = co_await select_any(one, [](channel<int>& each) { return each.send(1); });
    EXPECT_TRUE(sent.outcome().failure().is("ERR_CLOSED"));
    EXPECT_THROW(sent.get(), error);
    try {
      static_cast<void>(recv_each(none));
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_TRUE(e.is("ERR_INVALID_ARG_VALUE"));
    }
  }());
}

TEST(SelectAny, may_have_the_same_channel_in_it_several_times) {
  run_with(1, with_scope([](scope& s) -> task<> {
             channel<int> c(0);
             auto waiting = s.spawn_local([&]() -> task<int> {
               std::vector<decltype(c.recv())> arms;
               for (int i = 0; i < 10; ++i) arms.push_back(c.recv());
               co_return *(co_await select_any(std::move(arms))).get();
             });
             co_await yield();
             co_await c.send(3);
             EXPECT_EQ(co_await std::move(waiting), 3);
             EXPECT_EQ(c.try_send(4), offer::full);
           }));
}

TEST(SelectAny, happens_when_the_shortest_of_many_timers_has_run_out) {
  runtime(virtual_time()).block_on([]() -> task<> {
    using weir::testing::virtual_clock;
    std::vector<decltype(sleep(1ms))> sleeps;
    std::vector<decltype(after(1ms))> afters;
    for (int i = 0; i < 50; ++i) {
      sleeps.push_back(sleep(10ms + 1ms * ((i * 7) % 50)));
      afters.push_back(after(10ms + 1ms * ((i * 11) % 50)));
    }
    auto began = virtual_clock::elapsed();
    EXPECT_EQ((co_await select_any(std::move(sleeps))).index(), 0U);
    EXPECT_EQ((co_await select_any(std::move(afters))).index(), 0U);
    EXPECT_LT(virtual_clock::elapsed() - began, 30ms);
    EXPECT_EQ(metrics().workers[0].timers, 0U) << "the timers that lost must be gone";
  }());
}

TEST(SelectAny, has_a_limit_of_time_as_an_arm_of_a_select) {
  runtime(virtual_time()).block_on(with_scope([](scope& s) -> task<> {
    auto all = channels(10, 0);
    auto late = co_await select(recv_each(all), sleep(50ms));
    EXPECT_EQ(late.index(), 1U);
    EXPECT_FALSE(late.has<0>());
    for (auto& each : all) EXPECT_EQ(each.try_send(1), offer::full);
    s.spawn_local([&]() -> task<> {
      co_await sleep(10ms);
      co_await all[3].send(8);
    });
    auto got = co_await select(recv_each(all), sleep(50ms));
    EXPECT_EQ(got.index(), 0U);
    EXPECT_EQ(got.get<0>().index(), 3U);
    EXPECT_EQ(got.get<0>().get(), 8);
  }));
}

TEST(SelectAny, that_is_cancelled_at_any_suspension_has_taken_nothing_or_says_what) {
  std::shared_ptr<std::deque<channel<int>>> all;
  auto make = [&]() -> task<std::optional<int>> {
    all = std::make_shared<std::deque<channel<int>>>(channels(6, 1));
    return [](std::shared_ptr<std::deque<channel<int>>> from) -> task<std::optional<int>> {
      co_await yield();
      EXPECT_EQ((co_await select(recv_each(*from), sleep(0ms))).index(), 1U);
      EXPECT_EQ((*from)[4].try_send(9), offer::sent);
      co_await yield();
      co_return (co_await recv_each(*from)).get();
    }(all);
  };
  auto stopped = cancel_at_every_suspension(make, [&](result<std::optional<int>>& outcome) {
    int left = 0;
    for (auto& each : *all) left += each.try_recv() ? 1 : 0;
    if (outcome) EXPECT_EQ(*outcome, 9);
    EXPECT_LE(left, outcome ? 0 : 1);
    for (auto& each : *all) EXPECT_EQ(each.try_send(1), offer::sent) << "nobody may be left in a line";
    for (auto& each : *all) EXPECT_EQ(each.try_recv(), 1);
  });
  EXPECT_GE(stopped, 3U);
}

TEST(SelectAny, loses_and_doubles_nothing_when_cancellation_races_with_the_choice) {
  for (unsigned workers : {1U, 2U, 3U}) {
    run_with(workers, []() -> task<> {
      std::deque<channel<int>> all;
      for (std::size_t capacity : {0U, 1U, 0U, 4U, 0U}) all.emplace_back(capacity);
      std::atomic<std::size_t> sent{0};
      std::atomic<std::size_t> received{0};
      auto sends = [&]() -> task<> {
        while (co_await attempt(select_any(all, [](channel<int>& each) { return each.send(1); }))) sent.fetch_add(1);
      };
      auto receives = [&]() -> task<> {
        while (co_await attempt(recv_each(all))) received.fetch_add(1);
      };
      auto receives_with_a_limit = [&]() -> task<> {
        for (;;) {
          auto got = co_await attempt(select(recv_each(all), sleep(1ms)));
          if (!got) co_return;
          received.fetch_add(got->has<0>() ? 1U : 0U);
        }
      };
      for (std::size_t i = 0; i < rounds(300); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          std::vector<join_handle<>> some;
          for (int n = 0; n < 2; ++n) {
            some.push_back(s.spawn(sends));
            some.push_back(s.spawn(receives));
            some.push_back(s.spawn(receives_with_a_limit));
          }
          for (std::size_t turns = 0; turns < i % 11; ++turns) co_await yield();
          for (std::size_t n = 0; n < some.size(); ++n) some[(n + i) % some.size()].cancel();
        });
      }
      for (auto& each : all) {
        while (each.try_recv()) received.fetch_add(1);
      }
      EXPECT_EQ(sent.load(), received.load());
      EXPECT_GT(sent.load(), 0U);
    }());
  }
}

TEST(SelectAny, passes_every_value_once_over_many_channels_and_workers) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      constexpr int each = static_cast<int>(rounds(5'000));
      constexpr int senders = 3;
      std::vector<std::atomic<int>> seen(senders * each);
      auto all = channels(7, 0);
      std::atomic<int> left{senders};
      co_await with_scope([&](scope& s) -> task<> {
        for (int n = 0; n < senders; ++n) {
          s.spawn([&all, &left, n]() -> task<> {
            for (int i = 0; i < each; ++i) {
              co_await select_any(all, [value = n * each + i](channel<int>& to) { return to.send(value); });
            }
            if (left.fetch_sub(1) != 1) co_return;
            for (auto& one : all) one.close();
          });
          s.spawn([&all, &seen]() -> task<> {
            while (auto value = (co_await recv_each(all)).get()) seen[static_cast<std::size_t>(*value)].fetch_add(1);
          });
        }
        co_return;
      });
      for (auto& times : seen) EXPECT_EQ(times.load(), 1);
    }());
  }
}

TEST(SelectAny, on_ready_channels_does_not_starve_others) {
  run_with(1, []() -> task<> {
    auto all = channels(3, 1);
    co_await with_scope([&all](scope& s) -> task<> {
      set_timeout([&s] { s.cancel(); }, 2ms);
      static_cast<void>(s.spawn([&all]() -> task<> {
        for (;;) {
          for (auto& each : all) static_cast<void>(each.try_send(1));
          co_await recv_each(all);
        }
      }));
      co_await weir::testing::forever();
    });
  }());
}

// ---- Seen from outside ----

TEST(Select, shows_in_a_dump_what_each_arm_waits_for) {
  using ::testing::ContainsRegex;
  using ::testing::HasSubstr;
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               channel<int> a(0);
               channel<int> b(0);
               event e;
               auto lines = s.spawn_local(
                   [&]() -> task<> { co_await select(a.recv(), b.until_closed(), after(1h), sleep(1h)); });
               co_await yield();
               EXPECT_THAT(task_dump(), ContainsRegex("waits for select\n( *at [^\n]*\n)+ *- channel: recv\n"
                                                      " *- channel: close\n *- after\n *- sleep\n"));
               lines.cancel();
               EXPECT_FALSE(co_await attempt(std::move(lines)));
               auto mixed = s.spawn_local([&]() -> task<> { co_await select(a.recv(), e.wait()); });
               while (task_dump().find("waits for event") == std::string::npos) co_await yield();
               EXPECT_THAT(task_dump(), ContainsRegex("waits for select\n( *at [^\n]*\n)+ *- channel: recv\n"
                                                      " *- task: waits for event"));
               mixed.cancel();
               EXPECT_FALSE(co_await attempt(std::move(mixed)));
               auto listed = s.spawn_local([&]() -> task<> { co_await select_any(std::vector{a.recv(), b.recv()}); });
               co_await yield();
               EXPECT_THAT(task_dump(), HasSubstr("- channel: recv"));
               listed.cancel();
               EXPECT_FALSE(co_await attempt(std::move(listed)));
             }));
  }
}

TEST(Select, may_be_dumped_at_any_moment) {
  run_with(3, []() -> task<> {
    auto all = channels(3, 0);
    co_await with_scope([&all](scope& s) -> task<> {
      for (int n = 0; n < 2; ++n) {
        s.spawn(
            [](std::deque<channel<int>>& some) -> task<> {
              while (co_await attempt(select(recv_each(some), some[0].recv(), sleep(1ms)))) {
              }
            },
            std::ref(all));
        s.spawn(
            [](std::deque<channel<int>>& some) -> task<> {
              while (co_await attempt(select(some[0].recv(), some[1].recv(), sleep(1ms)))) {
              }
            },
            std::ref(all));
        s.spawn(
            [](std::deque<channel<int>>& some) -> task<> {
              while (co_await attempt(select_any(some, [](channel<int>& each) { return each.send(1); }))) {
              }
            },
            std::ref(all));
      }
      std::size_t seen = 0;
      for (std::size_t i = 0; i < rounds(3000); ++i) {
        seen += task_dump().find("select") != std::string::npos ? 1 : 0;
        co_await yield();
      }
      EXPECT_GT(seen, 0U);
      s.cancel();
    });
  }());
}

}  // namespace
}  // namespace weir::sync
