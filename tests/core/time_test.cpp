// tests/core/time_test.cpp: sleeps, callable timers and intervals. Most of it on virtual time, where days pass at
// once and what is early or late by a millisecond shows; what races with other workers runs on the default backend.
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <weir/weir.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr auto days = 24h;

/// Runs `main` on virtual time. @return how much of it has passed
template <class F>
nanoseconds virtually(F main) {
  runtime(virtual_time()).block_on(main());
  return virtual_clock::elapsed();
}

// ---- sleep

TEST(Sleep, lasts_as_long_as_it_was_told_to_and_less_than_two_milliseconds_more) {
  for (nanoseconds time : {nanoseconds(1), nanoseconds(1us), nanoseconds(1ms), nanoseconds(1500us), nanoseconds(64ms),
                           nanoseconds(10s), nanoseconds(30 * days)}) {
    for (nanoseconds phase : {0ns, 1ns, 999'999ns}) {  // within the millisecond
      nanoseconds took{};
      virtually([&]() -> task<> {
        virtual_clock::pass(phase);
        auto start = virtual_clock::now();
        co_await sleep(time);
        took = virtual_clock::now() - start;
      });
      EXPECT_GE(took, time) << time.count() << " at " << phase.count();
      EXPECT_LT(took, time + 2ms) << time.count() << " at " << phase.count();
    }
  }
}

TEST(Sleep, is_never_early_on_the_real_clock) {
  run_with(1, []() -> task<> {
    for (auto time : {1us, 300us, 1000us, 2500us}) {
      auto start = steady_clock::now();
      co_await sleep(time);
      EXPECT_GE(steady_clock::now() - start, time);
    }
  }());
}

TEST(Sleep, of_no_time_or_of_the_past_lets_ready_work_run_first) {
  std::string log;
  virtually([&]() -> task<> {
    set_immediate([&] { log += "ready "; });
    co_await sleep(0ns);
    log += "0 ";
    co_await sleep(-1h);
    co_await sleep(nanoseconds::min());
    co_await sleep_until(steady_clock::time_point::min());
    co_await sleep_until(virtual_clock::now() - 1s);
    log += "past";
  });
  EXPECT_EQ(log, "ready 0 past");
  EXPECT_LT(virtual_clock::elapsed(), 10ms);
}

TEST(Sleep, until_a_point_in_time) {
  virtually([]() -> task<> {
    auto when = virtual_clock::now() + 90 * days;
    co_await sleep_until(when);
    EXPECT_GE(virtual_clock::now(), when);
    EXPECT_LT(virtual_clock::now(), when + 2ms);
  });
}

TEST(Sleep, for_ever_ends_when_it_is_cancelled) {
  virtually([]() -> task<> {
    for (nanoseconds time : {nanoseconds::max(), nanoseconds::max() - 1ns}) {
      auto outcome = co_await attempt(timeout(5ms, sleep(time)));
      EXPECT_TRUE(outcome.failure().is("ETIMEDOUT"));
    }
    auto outcome = co_await attempt(timeout(5ms, sleep_until(steady_clock::time_point::max())));
    EXPECT_TRUE(outcome.failure().is("ETIMEDOUT"));
  });
  EXPECT_LT(virtual_clock::elapsed(), 25ms);
}

TEST(Sleep, in_a_cancelled_scope_does_not_begin) {
  auto took = virtually([]() -> task<> {
    bool slept = false;
    co_await with_scope([&](scope& s) -> task<> {
      s.cancel();
      static_cast<void>(co_await attempt(sleep(1h)));
      auto again = co_await attempt(sleep(1h));
      slept = static_cast<bool>(again);
    });
    EXPECT_FALSE(slept);
  });
  EXPECT_LT(took, 1s);
}

TEST(Sleep, of_many_ends_in_order_of_their_times) {
  std::vector<int> order;
  virtually([&]() -> task<> {
    std::vector<task<>> sleepers;
    for (int time : {50, 10, 40, 10, 30}) {
      sleepers.push_back([](std::vector<int>& log, int t) -> task<> {
        co_await sleep(std::chrono::milliseconds(t));
        log.push_back(t);
      }(order, time));
    }
    co_await all(std::move(sleepers));
  });
  EXPECT_EQ(order, (std::vector<int>{10, 10, 30, 40, 50}));
}

// The canceller may come at any moment: before the wait is announced, before its timer is armed, or after.
TEST(Sleep, is_cancelled_from_another_worker_at_whatever_moment) {
  for (unsigned workers : {2U, 4U}) {
    run_with(workers, []() -> task<> {
      for (int i = 0; i < 2000; ++i) {
        auto start = steady_clock::now();
        co_await with_scope([&](scope& s) -> task<> {
          auto sleeper = s.spawn([]() -> task<> { co_await sleep(1h); });
          s.spawn_on(
              1,
              [](scope& all, int spins) -> task<> {
                for (std::atomic<int> n = 0; n < spins; ++n) {
                }
                all.cancel();
                co_return;
              },
              std::ref(s), i % 200);
          static_cast<void>(co_await attempt(std::move(sleeper)));
        });
        EXPECT_LT(steady_clock::now() - start, 1min);
      }
    }());
  }
}

// ---- callable timers

TEST(Timer, waits_at_least_a_millisecond_and_never_less_than_it_was_told_to) {
  for (nanoseconds delay : {nanoseconds::min(), nanoseconds(-1ms), 0ns, 1ns, nanoseconds(1ms), nanoseconds(1500us),
                            nanoseconds(7ms), nanoseconds(24 * days + 20h + 31min + 23s + 648ms),  // 2^31 ms
                            nanoseconds(30 * days), nanoseconds(36'500 * days)}) {
    for (nanoseconds phase : {0ns, 400'000ns, 999'999ns}) {
      nanoseconds took{-1};
      virtually([&]() -> task<> {
        virtual_clock::pass(phase);
        set_timeout([&took, start = virtual_clock::now()] { took = virtual_clock::now() - start; }, delay);
        co_return;
      });
      EXPECT_GE(took, std::max<nanoseconds>(delay, 1ms)) << delay.count() << " at " << phase.count();
      EXPECT_LT(took, std::max<nanoseconds>(delay, 1ms) + 2ms) << delay.count() << " at " << phase.count();
    }
  }
}

TEST(Timer, counts_from_the_call_even_after_a_long_computation) {
  nanoseconds took{};
  virtually([&]() -> task<> {
    virtual_clock::pass(500ms);
    set_timeout([&took, start = virtual_clock::now()] { took = virtual_clock::now() - start; }, 10ms);
    co_return;
  });
  EXPECT_GE(took, 10ms);
}

TEST(Timer, keeps_its_scope_open_unless_unreferenced) {
  int calls = 0;
  auto count = [&calls] { ++calls; };
  EXPECT_GE(virtually([&]() -> task<> {
              auto kept = set_timeout(count, 1s);
              EXPECT_TRUE(kept.has_ref());
              co_return;
            }),
            1s);
  EXPECT_EQ(calls, 1);

  EXPECT_LT(virtually([&]() -> task<> {
              auto dropped = set_timeout(count, 1s);
              EXPECT_FALSE(dropped.unref().unref().has_ref());
              set_interval(count, 1s).unref();
              co_return;
            }),
            100ms);
  EXPECT_EQ(calls, 1) << "cleared when nothing else was alive";

  EXPECT_GE(virtually([&]() -> task<> {
              set_timeout(count, 1s).unref().ref().ref();
              co_return;
            }),
            1s);
  EXPECT_EQ(calls, 2);
}

TEST(Timer, unreferenced_fires_while_something_else_keeps_the_program_alive) {
  int calls = 0;
  virtually([&]() -> task<> {
    set_timeout([&] { ++calls; }, 5ms).unref();
    co_await sleep(10ms);
    EXPECT_EQ(calls, 1);
  });
}

TEST(Timer, unreferenced_may_start_work_that_is_waited_for) {
  bool done = false;
  virtually([&]() -> task<> {
    set_timeout(
        [&]() -> task<> {
          co_await sleep(1h);
          done = true;
        },
        5ms)
        .unref();
    co_await sleep(10ms);
  });
  EXPECT_TRUE(done);
}

TEST(Timer, is_referenced_anew_from_its_own_callback) {
  int calls = 0;
  virtually([&]() -> task<> {
    timer every;
    every = set_interval(
        [&] {
          ++calls;
          if (calls == 1) every.ref();
          if (calls == 5) every.clear();
        },
        10ms);
    every.unref();
    co_await sleep(15ms);
    co_await with_scope([](scope&) -> task<> { co_return; });
    co_await sleep(1h);
  });
  EXPECT_EQ(calls, 5);
}

TEST(Timer, cleared_does_not_fire_however_often_and_whenever_it_is_cleared) {
  int calls = 0;
  virtually([&]() -> task<> {
    auto count = [&calls] { ++calls; };
    auto first = set_timeout(count, 5ms);
    first.clear();
    first.clear();
    clear_timeout(first);
    timer unknown;
    unknown.clear();
    unknown.ref().unref().refresh();
    EXPECT_FALSE(unknown.active());

    auto fired = set_timeout(count, 1ms);
    EXPECT_TRUE(fired.active());
    co_await sleep(5ms);
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(fired.active());
    fired.clear();
    fired.clear();

    timer own;
    own = set_timeout(
        [&] {
          ++calls;
          own.clear();
          own.clear();
        },
        1ms);
    co_await sleep(5ms);
    EXPECT_EQ(calls, 2);
  });
  EXPECT_EQ(calls, 2);
}

TEST(Timer, cleared_by_another_that_is_due_with_it_does_not_fire) {
  std::string log;
  virtually([&]() -> task<> {
    timer second;
    set_timeout(
        [&] {
          log += "first";
          second.clear();
        },
        5ms);
    second = set_timeout([&] { log += " second"; }, 5ms);
    co_await sleep(20ms);
  });
  EXPECT_EQ(log, "first");
}

TEST(Timer, starts_anew_when_refreshed_but_not_once_it_is_over) {
  std::vector<nanoseconds> fired;
  virtually([&]() -> task<> {
    auto t = set_timeout([&] { fired.push_back(virtual_clock::elapsed()); }, 100ms);
    co_await sleep(60ms);
    t.refresh();
    co_await sleep(60ms);
    EXPECT_TRUE(fired.empty());
    EXPECT_TRUE(t.active());
    co_await sleep(60ms);
    EXPECT_EQ(fired.size(), 1U);
    t.refresh();
    auto gone = set_timeout([&] { fired.push_back(0ns); }, 5ms);
    gone.clear();
    gone.refresh();
    co_await sleep(1s);
  });
  ASSERT_EQ(fired.size(), 1U);
  EXPECT_GE(fired[0], 160ms);
}

TEST(Timer, may_be_dropped_and_moved_without_a_change) {
  int calls = 0;
  virtually([&]() -> task<> {
    set_timeout([&] { ++calls; }, 1ms);
    auto a = set_timeout([&] { ++calls; }, 1ms);
    auto b = std::move(a);
    a = set_timeout([&] { ++calls; }, 1ms);
    timer c;
    c = std::move(b);
    c.clear();
    co_return;
  });
  EXPECT_EQ(calls, 2);
}

TEST(Timer, handle_may_outlive_the_scope_and_the_runtime) {
  timer fired;
  timer dropped;
  timer repeated;
  virtually([&]() -> task<> {
    fired = set_timeout([] {}, 1ms);
    dropped = set_timeout([] {}, 1h);
    dropped.unref();
    repeated = set_interval([] {}, 1ms);
    repeated.unref();
    co_await sleep(10ms);
  });
  for (auto* each : {&fired, &dropped, &repeated}) {
    EXPECT_FALSE(each->active());
    each->clear();
    each->refresh();
    each->ref().unref();
  }
}

TEST(Timer, gives_back_what_its_function_holds) {
  auto held = std::make_shared<int>();
  virtually([&]() -> task<> {
    set_timeout([held] {}, 1ms);
    auto cleared = set_timeout([held] {}, 1h);
    cleared.clear();
    EXPECT_EQ(held.use_count(), 3) << "the handle still has its share";
    set_timeout([held] {}, 1h).unref();
    co_await sleep(5ms);
  });
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Timer, of_a_hundred_thousand_fire_in_order) {
  constexpr int many = 100'000;
  int fired = 0;
  int wrong = 0;
  int last = 0;
  virtually([&]() -> task<> {
    for (int i = 0; i < many; ++i) {
      auto delay = 1 + i * 7919 % 5000;
      auto t = set_timeout(
          [&, delay] {
            wrong += delay < last ? 1 : 0;
            last = delay;
            ++fired;
          },
          std::chrono::milliseconds(delay));
      if (i % 2 != 0) t.clear();
    }
    co_return;
  });
  EXPECT_EQ(fired, many / 2);
  EXPECT_EQ(wrong, 0);
}

TEST(Timer, outside_a_runtime_is_refused_and_the_function_given_back) {
  auto held = std::make_shared<int>();
  try {
    set_timeout([held] {}, 1ms);
    FAIL() << "made";
  } catch (const error& caught) {
    EXPECT_EQ(caught.code(), errc::err_invalid_state);
    EXPECT_STREQ(caught.what(), "set_timeout: no weir runtime runs on this thread");
  }
  EXPECT_THROW(set_interval([held] {}, 1ms), error);
  EXPECT_THROW(next_tick([held] {}), error);
  EXPECT_THROW(queue_microtask([held] {}), error);
  EXPECT_THROW(set_immediate([held] {}), error);
  EXPECT_THROW(queue_close([held] {}), error);
  EXPECT_EQ(held.use_count(), 1);
}

// ---- timers and scopes

TEST(TimerInScope, is_waited_for_by_the_scope_it_was_made_in) {
  std::string log;
  virtually([&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn(
          [](std::string& text) -> task<> {
            set_timeout([&text] { text += "child's "; }, 10ms);
            co_return;
          },
          std::ref(log));
      co_return;
    });
    log += "after";
  });
  EXPECT_EQ(log, "child's after");
}

TEST(TimerInScope, is_cleared_when_the_scope_is_cancelled) {
  int calls = 0;
  auto took = virtually([&]() -> task<> {
    timer kept;
    co_await with_scope([&](scope& s) -> task<> {
      set_timeout([&] { ++calls; }, 1h);
      kept = set_interval([&] { ++calls; }, 1h);
      set_timeout([&s] { s.cancel(); }, 10ms);
      co_return;
    });
    EXPECT_FALSE(kept.active());
  });
  EXPECT_EQ(calls, 0);
  EXPECT_LT(took, 1s);
}

TEST(TimerInScope, made_when_the_scope_has_been_cancelled_is_over_at_once) {
  int calls = 0;
  auto took = virtually([&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.cancel();
      auto late = set_timeout([&] { ++calls; }, 1h);
      EXPECT_FALSE(late.active());
      set_interval([&] { ++calls; }, 1h).unref();
      co_return;
    });
  });
  EXPECT_EQ(calls, 0);
  EXPECT_LT(took, 1s);
}

// Each round would last an hour if the cancellation missed a timer that is just being armed.
TEST(TimerInScope, is_cleared_from_another_worker_while_it_is_made_or_refreshed) {
  run_with(2, []() -> task<> {
    for (int i = 0; i < 300; ++i) {
      co_await with_scope([](scope& s) -> task<> {
        s.spawn_on(
            1,
            [](scope& all) -> task<> {
              all.cancel();
              co_return;
            },
            std::ref(s));
        auto kept = set_interval([] {}, 1h);
        while (!s.is_cancelled()) {
          set_timeout([] {}, 1h);
          kept.refresh();
        }
        co_return;
      });
    }
  }());
}

TEST(TimerInScope, is_cleared_when_the_scope_fails) {
  int calls = 0;
  auto took = virtually([&]() -> task<> {
    auto outcome = co_await attempt(with_scope([&](scope&) -> task<> {
      set_timeout([&] { ++calls; }, 1h);
      co_await sleep(5ms);
      throw std::runtime_error("body");
    }));
    EXPECT_FALSE(outcome);
  });
  EXPECT_EQ(calls, 0);
  EXPECT_LT(took, 1s);
}

TEST(TimerInScope, fails_it_by_what_its_function_throws) {
  virtually([]() -> task<> {
    bool cancelled_sleep = false;
    auto outcome = co_await attempt(with_scope([&](scope&) -> task<> {
      set_timeout([] { throw std::runtime_error("from a timer"); }, 5ms);
      cancelled_sleep = !co_await attempt(sleep(1h));
    }));
    EXPECT_TRUE(cancelled_sleep);
    EXPECT_FALSE(outcome);
    if (!outcome) EXPECT_STREQ(describe(outcome.failure().exception()).c_str(), "Error: from a timer");
  });
}

TEST(TimerInScope, spawns_the_task_that_its_function_returns) {
  std::string log;
  virtually([&]() -> task<> {
    co_await with_scope([&](scope&) -> task<> {
      set_timeout(
          [&log, own = std::make_unique<std::string>("own")]() -> task<> {
            log += "begun ";
            co_await sleep(1h);
            log += *own + " ";
          },
          5ms);
      co_return;
    });
    log += "after";
  });
  EXPECT_EQ(log, "begun own after");
}

TEST(TimerInScope, keeps_what_an_interval_counts_though_its_calls_are_tasks) {
  std::string log;
  virtually([&]() -> task<> {
    auto every = std::make_shared<timer>();
    *every = set_interval(
        [&log, every, count = 0]() mutable -> task<> {
          log += std::to_string(++count);
          if (count == 3) std::exchange(*every, timer()).clear();
          co_await sleep(35ms);  // longer than the period: the calls overlap
          log += "'";
        },
        10ms);
    co_return;
  });
  EXPECT_EQ(log, "123'''");
}

TEST(TimerInScope, made_by_a_callback_belongs_to_the_callbacks_scope) {
  std::string log;
  virtually([&]() -> task<> {
    co_await with_scope([&](scope&) -> task<> {
      set_timeout([&] { set_timeout([&] { set_immediate([&] { log += "inner "; }); }, 5ms); }, 5ms);
      co_return;
    });
    log += "after";
  });
  EXPECT_EQ(log, "inner after");
}

TEST(TimerInScope, sees_the_async_local_values_of_where_it_was_made) {
  static async_local<int> number;
  int seen = 0;
  int outside = 0;
  virtually([&]() -> task<> {
    auto made = [](int& out) -> task<> {
      set_timeout([&out] { set_immediate([&out] { out = *number.get(); }); }, 5ms);
      co_return;
    };
    co_await number.with(7, made(seen));
    set_timeout([&] { outside = number.get() == nullptr ? 1 : 2; }, 1ms);
  });
  EXPECT_EQ(seen, 7);
  EXPECT_EQ(outside, 1);
}

TEST(TimerInScope, is_cleared_and_cancelled_by_other_workers_without_a_trace) {
  run_with(2, []() -> task<> {
    for (int i = 0; i < 500; ++i) {
      co_await with_scope([i](scope& s) -> task<> {
        auto one = set_timeout([] {}, i % 3 == 0 ? 0ms : 1h);
        auto many = set_interval([] {}, 1ms);
        s.spawn_on(
            1,
            [](timer a, timer b) -> task<> {
              a.clear();
              b.clear();
              co_return;
            },
            std::move(one), std::move(many));
        set_timeout([] {}, 1h);
        s.spawn_on(
            1,
            [](scope& all) -> task<> {
              co_await yield();
              all.cancel();
            },
            std::ref(s));
        co_return;
      });
    }
  }());
}

// ---- intervals

TEST(Interval, calls_at_multiples_of_its_period_however_long_a_call_takes) {
  std::vector<nanoseconds> calls;
  virtually([&]() -> task<> {
    timer every;
    every = set_interval(
        [&] {
          calls.push_back(virtual_clock::elapsed());
          virtual_clock::pass(3ms);
          if (calls.size() == 5) every.clear();
        },
        10ms);
    co_await sleep(1s);
  });
  EXPECT_EQ(calls, (std::vector<nanoseconds>{10ms, 20ms, 30ms, 40ms, 50ms}));
}

TEST(Interval, skips_the_calls_it_is_too_late_for) {
  std::vector<nanoseconds> calls;
  virtually([&]() -> task<> {
    timer every;
    every = set_interval(
        [&] {
          calls.push_back(virtual_clock::elapsed());
          if (calls.size() == 1) virtual_clock::pass(25ms);  // over 20 and 30
          if (calls.size() == 3) every.clear();
        },
        10ms);
    co_await sleep(1s);
  });
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[0], 10ms);
  EXPECT_GE(calls[1], 35ms);
  EXPECT_EQ(calls[2].count() % nanoseconds(10ms).count(), 0) << "back in step";
  EXPECT_LE(calls[2], 50ms);
}

TEST(Interval, lets_other_timers_and_io_have_their_turn) {
  bool io = false;
  bool other = false;
  virtually([&]() -> task<> {
    int calls = 0;
    timer every;
    every = set_interval(
        [&] {
          virtual_clock::pass(2ms);  // always late
          if (++calls == 1000 || (io && other)) every.clear();
        },
        1ms);
    set_timeout([&] { other = true; }, 10ms);
    co_await poll_io();
    io = true;
    co_await sleep(1ms);
    EXPECT_LT(calls, 1000);
    co_await sleep(3s);
  });
  EXPECT_TRUE(other);
}

TEST(Interval, awaited_ticks_at_a_fixed_rate_and_says_what_it_missed) {
  std::vector<std::pair<nanoseconds, std::uint64_t>> seen;
  virtually([&]() -> task<> {
    interval ticks(10ms);
    for (auto busy : {3ms, 9ms, 25ms, 0ms, 0ms}) {
      auto count = co_await ticks.next();
      seen.emplace_back(virtual_clock::elapsed(), count);
      virtual_clock::pass(busy);
    }
  });
  ASSERT_EQ(seen.size(), 5U);
  EXPECT_EQ(seen[0], std::pair(nanoseconds(10ms), std::uint64_t{1}));
  EXPECT_EQ(seen[1], std::pair(nanoseconds(20ms), std::uint64_t{1}));
  EXPECT_EQ(seen[2], std::pair(nanoseconds(30ms), std::uint64_t{1}));
  EXPECT_EQ(seen[3].second, 2U) << "40 and 50 were missed";
  EXPECT_EQ(seen[4], std::pair(nanoseconds(60ms), std::uint64_t{1}));
}

TEST(Interval, awaited_loses_no_tick_by_a_cancellation) {
  virtually([]() -> task<> {
    interval ticks(10ms);
    auto outcome = co_await attempt(timeout(4ms, ticks.next()));
    EXPECT_FALSE(outcome);
    EXPECT_EQ(co_await ticks.next(), 1U);
    EXPECT_EQ(virtual_clock::elapsed(), 10ms);
  });
}

TEST(Interval, takes_any_period) {
  virtually([]() -> task<> {
    interval shortest(nanoseconds::min());
    EXPECT_EQ(co_await shortest.next(), 1U);
    interval longest(nanoseconds::max());
    EXPECT_FALSE(co_await attempt(timeout(1h, longest.next())));
    auto every = set_interval([] {}, nanoseconds::max());
    every.clear();
  });
}

TEST(Interval, cleared_within_its_call_is_over_at_once) {
  int calls = 0;
  auto took = virtually([&]() -> task<> {
    auto every = std::make_shared<timer>();
    *every = set_interval(
        [&calls, every] {
          ++calls;
          every->clear();
          EXPECT_FALSE(every->active());
          *every = timer();
        },
        1ms);
    co_return;
  });
  EXPECT_EQ(calls, 1);
  EXPECT_LT(took, 10ms);
}

}  // namespace
}  // namespace weir::testing
