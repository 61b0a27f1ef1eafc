#include <weir/sync/priority_queue.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;
using weir::testing::virtual_clock;

void in_virtual_time(task<> main) { runtime(weir::testing::virtual_time()).block_on(std::move(main)); }

std::string seconds(std::chrono::nanoseconds time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::seconds>(time).count());
}

/// Hooks that write down what happens.
priority_queue_hooks writing_to(std::string& log) {
  return {
      .queued =
          [&log](priority level, std::size_t n) {
            log += "queued(" + std::to_string(static_cast<int>(level)) + "," + std::to_string(n) + ") ";
          },
      .completed = [&log](unsigned attempts) { log += "completed(" + std::to_string(attempts) + ") "; },
      .retrying = [&log](unsigned attempts, std::chrono::nanoseconds delay,
                         const failure&) { log += "retry(" + std::to_string(attempts) + "," + seconds(delay) + "s) "; },
      .failed = [&log](
                    unsigned attempts,
                    const failure& why) { log += "failed(" + std::to_string(attempts) + "," + why.message() + ") "; },
      .paused = [&log] { log += "paused "; },
      .resumed = [&log] { log += "resumed "; },
  };
}

task<> note(std::string& order, char name) {
  order += name;
  co_await sleep(1ms);
}

// C2-PQ-03, C2-ORD-12: with the place taken, what waits goes high, medium, low and in order of arrival.
TEST(PriorityQueue, starts_high_before_medium_before_low_and_each_in_order_of_arrival) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.concurrency = 1});
    std::string order;
    co_await with_scope([&](scope& s) -> task<> {
      auto add = [&](char name, priority level) {
        s.spawn_local([&, name, level]() -> task<> {
          co_await q.run([&order, name] { return note(order, name); }, {.level = level});
        });
      };
      add('0', priority::low);
      add('l', priority::low);
      add('m', priority::medium);
      add('h', priority::high);
      add('L', priority::low);
      add('M', priority::medium);
      add('H', priority::high);
      co_await yield();
      auto now = q.stats();
      EXPECT_EQ(now.running, 1U);
      EXPECT_EQ(now.queued.high, 2U);
      EXPECT_EQ(now.queued.medium, 2U);
      EXPECT_EQ(now.queued.low, 2U);
      EXPECT_EQ(now.queued.total(), 6U);
      EXPECT_FALSE(now.paused);
    });
    EXPECT_EQ(order, "0hHmMlL");
    EXPECT_EQ(q.stats().completed, 7U);
  }());
}

// C2-PQ-06: three attempts in total, delays of 2 s and 4 s; the last failure is the caller's.
TEST(PriorityQueue, tries_again_after_growing_delays_and_gives_the_last_failure) {
  in_virtual_time([]() -> task<> {
    std::string log;
    priority_queue q({.attempts = 3, .on = writing_to(log)});
    int calls = 0;
    auto started = virtual_clock::elapsed();
    auto outcome = co_await attempt(q.run([&calls]() -> task<int> {
      throw std::runtime_error("failure " + std::to_string(++calls));
      co_return 0;
    }));
    EXPECT_EQ(outcome.failure().message(), "failure 3");
    EXPECT_EQ(log, "queued(1,1) retry(1,2s) retry(2,4s) failed(3,failure 3) ");
    EXPECT_EQ(virtual_clock::elapsed() - started, 6s);
    log.clear();
    auto second = co_await q.run(
        [&calls]() -> task<int> {
          if (++calls < 5) throw std::runtime_error("once more");
          co_return calls;
        },
        {.level = priority::high});
    EXPECT_EQ(second, 5);
    EXPECT_EQ(log, "queued(0,1) retry(1,2s) completed(2) ");
    auto now = q.stats();
    EXPECT_EQ(now.completed, 1U);
    EXPECT_EQ(now.failed, 1U);
    EXPECT_EQ(now.retried, 3U);
  }());
}

TEST(PriorityQueue, gives_the_place_away_during_a_delay_and_puts_the_work_before_the_rest_of_its_level) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.concurrency = 1, .attempts = 2, .retry_delay = 5ms});
    std::string order;
    int calls = 0;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await q.run([&]() -> task<> {
          order += 'r';
          if (++calls == 1) throw std::runtime_error("again");
          co_return;
        });
      });
      for (char name : {'a', 'b', 'c'}) {
        s.spawn_local([&, name]() -> task<> {
          co_await q.run([&order, name]() -> task<> {
            order += name;
            co_await sleep(8ms);
          });
        });
      }
      s.spawn_local([&]() -> task<> {
        co_await sleep(9ms);
        co_await q.run([&order] { return note(order, 'H'); }, {.level = priority::high});
      });
      co_return;
    });
    EXPECT_EQ(order, "rabHrc");  // r waits 10 ms and finds b running; high goes before it, c behind it
  }());
}

// C2-PQ-05: the operation itself is cancelled, and its work is over before the next attempt begins.
TEST(PriorityQueue, cancels_an_attempt_that_takes_too_long) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.timeout = 100ms, .attempts = 2});
    int begun = 0;
    int ended = 0;
    auto slow = [&]() -> task<> {
      struct leave {
        int& count;
        ~leave() { ++count; }
      } here{ended};
      EXPECT_EQ(begun++, ended);
      co_await sleep(1h);
    };
    auto started = virtual_clock::elapsed();
    auto outcome = co_await attempt(q.run(slow));
    EXPECT_EQ(outcome.failure().code_name(), "ETIMEDOUT");
    EXPECT_EQ(begun, 2);
    EXPECT_EQ(ended, 2);
    EXPECT_EQ(virtual_clock::elapsed() - started, 2200ms);
    co_await q.run([]() -> task<> { co_await sleep(1h); }, {.timeout = 0ms});
    EXPECT_EQ((co_await attempt(q.run(slow, {.attempts = 1, .timeout = 1ms}))).failure().code_name(), "ETIMEDOUT");
    EXPECT_EQ(begun, 3);
  }());
}

// C2-PQ-08.
TEST(PriorityQueue, starts_nothing_while_it_is_paused) {
  in_virtual_time([]() -> task<> {
    std::string log;
    priority_queue q({.concurrency = 2, .on = writing_to(log)});
    std::string order;
    co_await with_scope([&](scope& s) -> task<> {
      auto add = [&](char name) {
        s.spawn_local([&, name]() -> task<> { co_await q.run([&order, name] { return note(order, name); }); });
      };
      add('a');
      co_await yield();
      q.pause();
      q.pause();
      add('b');
      co_await sleep(10ms);
      EXPECT_EQ(order, "a");
      EXPECT_TRUE(q.stats().paused);
      EXPECT_EQ(q.stats().running, 0U);
      EXPECT_EQ(q.stats().queued.total(), 1U);
      q.resume();
      q.resume();
    });
    EXPECT_EQ(order, "ab");
    EXPECT_EQ(log, "queued(1,1) paused queued(1,1) completed(1) resumed completed(1) ");
  }());
}

// C2-PQ-09: what waits for its next attempt is cleared and counted as well.
TEST(PriorityQueue, clears_one_level_or_all_and_what_waits_in_a_delay_too) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.concurrency = 1, .attempts = 2, .retry_delay = 1h});
    std::string cleared;
    co_await with_scope([&](scope& s) -> task<> {
      auto add = [&](char name, priority level, bool fails) {
        s.spawn_local([&, name, level, fails]() -> task<> {
          auto outcome = co_await attempt(q.run(
              [fails]() -> task<> {
                if (fails) throw std::runtime_error("no");
                co_await sleep(50ms);
              },
              {.level = level}));
          if (outcome) co_return;
          EXPECT_EQ(outcome.failure().message(), "The operation was aborted: Queue cleared");
          EXPECT_EQ(outcome.failure().code_name(), "ABORT_ERR");
          cleared += name;
        });
      };
      add('d', priority::medium, true);
      add('r', priority::medium, false);
      add('h', priority::high, false);
      add('m', priority::medium, false);
      add('l', priority::low, false);
      co_await yield();
      EXPECT_EQ(q.stats().delayed.medium, 1U);
      EXPECT_EQ(q.stats().running, 1U);
      EXPECT_EQ(q.clear(priority::low), 1U);
      co_await yield();
      EXPECT_EQ(cleared, "l");
      EXPECT_EQ(q.clear(), 3U);
      EXPECT_EQ(q.clear(), 0U);
    });
    EXPECT_EQ(cleared.size(), 4U);
    EXPECT_EQ(q.stats().cleared, 4U);
    EXPECT_EQ(q.stats().completed, 1U);
    EXPECT_EQ(q.stats().delayed.total(), 0U);
  }());
}

// C2-PQ-07: a hook that throws is no failure of the work; it fails the scope.
TEST(PriorityQueue, does_not_take_a_hook_that_throws_for_a_failure_of_the_work) {
  in_virtual_time([]() -> task<> {
    int calls = 0;
    std::string reported;
    priority_queue q({.on = {.completed = [](unsigned) { throw std::logic_error("bad hook"); }}});
    co_await with_scope(
        [&](scope& s) -> task<> {
          s.spawn_local([&]() -> task<> {
            auto value = co_await q.run([&]() -> task<int> { co_return ++calls; });
            EXPECT_EQ(value, 1);
          });
          co_return;
        },
        {.on_child_failure = [&](std::exception_ptr why) { reported = failure(std::move(why)).message(); }});
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(reported, "bad hook");
  }());
}

TEST(PriorityQueue, treats_a_function_that_throws_before_it_returns_a_task_like_one_that_fails) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.concurrency = 1, .attempts = 1});
    auto refuse = []() -> task<> { throw std::logic_error("at once"); };
    for (auto limit : {0ms, 10ms}) {
      EXPECT_EQ((co_await attempt(q.run(refuse, {.timeout = limit}))).failure().message(), "at once");
    }
    EXPECT_EQ(q.stats().running, 0U);
    co_await q.run([]() -> task<> { co_return; });
  }());
}

TEST(PriorityQueue, asks_whether_a_failure_is_worth_another_attempt) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.retry_if = [](const failure& why) { return why.message() != "hopeless"; }});
    int calls = 0;
    auto outcome = co_await attempt(q.run([&]() -> task<> {
      if (++calls == 2) throw std::runtime_error("hopeless");
      throw std::runtime_error("try");
      co_return;
    }));
    EXPECT_EQ(outcome.failure().message(), "hopeless");
    EXPECT_EQ(calls, 2);
  }());
}

// C2-PQ-01, 02.
TEST(PriorityQueue, refuses_options_that_make_no_sense) {
  EXPECT_THROW(priority_queue({.concurrency = 0}), error);
  EXPECT_THROW(priority_queue({.attempts = 0}), error);
  EXPECT_THROW(priority_queue({.timeout = -1s}), error);
  EXPECT_THROW(priority_queue({.retry_delay = -1s}), error);
  run_with(1, []() -> task<> {
    priority_queue q({.concurrency = 1, .max_queued = 1});
    auto nothing = []() -> task<> { co_return; };
    auto bad_level = co_await attempt(q.run(nothing, {.level = static_cast<priority>(7)}));
    EXPECT_EQ(bad_level.failure().code_name(), "ERR_INVALID_ARG_VALUE");
    EXPECT_THROW(static_cast<void>(q.clear(static_cast<priority>(7))), error);
    EXPECT_EQ((co_await attempt(q.run(nothing, {.attempts = 0}))).failure().code_name(), "ERR_OUT_OF_RANGE");
    EXPECT_EQ((co_await attempt(q.run(nothing, {.timeout = -1s}))).failure().code_name(), "ERR_OUT_OF_RANGE");
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i) {
        s.spawn_local([&]() -> task<> { co_await q.run([] { return weir::testing::forever(); }); });
      }
      co_await yield();
      EXPECT_EQ((co_await attempt(q.run(nothing))).failure().code_name(), "ERR_QUEUE_FULL");
      s.cancel();
    });
  }());
}

TEST(PriorityQueue, tells_when_it_is_idle) {
  in_virtual_time([]() -> task<> {
    priority_queue q({.concurrency = 2});
    co_await q.idle();
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 1; i <= 4; ++i)
        s.spawn_local([&]() -> task<> { co_await q.run([]() -> task<> { co_await sleep(10ms); }); });
      co_await yield();
      co_await q.idle();
      EXPECT_EQ(q.stats().completed, 4U);
    });
  }());
}

// Cancels wherever the work stands: in the queue, running, in a delay.
TEST(PriorityQueue, loses_no_place_to_cancellation_at_any_moment) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      priority_queue q({.concurrency = 2, .retry_delay = 0ms});
      std::atomic<int> inside{0};
      auto work = [&](int name) -> task<> {
        struct leave {
          std::atomic<int>& count;
          ~leave() { count.fetch_sub(1); }
        } here{inside};
        EXPECT_LE(inside.fetch_add(1), 1);
        co_await yield();
        if (name % 2 == 0) throw std::runtime_error("again");
      };
      for (std::size_t i = 0; i < rounds(500); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 6; ++n) {
            s.spawn([&, n]() -> task<> {
              auto call = [&work, n] { return work(n); };
              static_cast<void>(co_await attempt(q.run(call, {.level = static_cast<priority>(n % 3)})));
            });
          }
          for (std::size_t n = 0; n < i % 9; ++n) co_await yield();
          if (i % 3 == 0) q.clear();
          s.cancel();
        });
        auto now = q.stats();
        EXPECT_EQ(now.running + now.queued.total() + now.delayed.total(), 0U);
      }
    }());
  }
}

// The request queue as a whole: three at a time, strict levels, attempts counted, delays of 2 s and 4 s, an attempt
// that is cancelled when its time is over, a pause, and a clear that finds what is in a delay.
TEST(C2_SYS_09, request_queue_with_priorities_retries_timeouts_pause_and_clear) {
  in_virtual_time([]() -> task<> {
    std::string log;
    priority_queue q({.concurrency = 1, .timeout = 5s, .attempts = 3, .on = writing_to(log)});
    std::string order;
    int hanging = 0;
    std::string outcomes;
    auto started = virtual_clock::elapsed();
    co_await with_scope([&](scope& s) -> task<> {
      auto request = [&](char name, priority level, auto work) {
        s.spawn_local([&, name, level, work]() -> task<> {
          auto outcome = co_await attempt(q.run(work, {.level = level}));
          outcomes += name + std::string(outcome ? "+" : "-");
        });
      };
      auto good = [&order](char name) {
        return [&order, name]() -> task<> {
          order += name;
          co_await sleep(100ms);
        };
      };
      q.pause();
      request('l', priority::low, good('l'));
      request('m', priority::medium, good('m'));
      request('h', priority::high, good('h'));
      request('x', priority::high, [&]() -> task<> {
        order += 'x';
        throw std::runtime_error("500");
        co_return;
      });
      request('t', priority::low, [&]() -> task<> {
        struct leave {
          int& count;
          ~leave() { ++count; }
        } here{hanging};
        order += 't';
        co_await sleep(1h);
      });
      co_await yield();
      EXPECT_EQ(q.stats().queued.total(), 5U);
      EXPECT_EQ(order, "");
      q.resume();
      co_await sleep(1s);
      EXPECT_EQ(order, "hxmlt");  // x came after h and went at once; its next attempt waits 2 s
      EXPECT_EQ(q.stats().delayed.high, 1U);
      co_await sleep(7500ms);  // t was stopped after 5 s, x tried again, and both wait
      EXPECT_EQ(order, "hxmltxt");
      EXPECT_EQ(hanging, 1);
      EXPECT_EQ(q.stats().delayed.total(), 1U);
      EXPECT_EQ(q.stats().running, 1U);  // t for the second time
      EXPECT_EQ(q.clear(), 1U);
      co_await q.idle();
    });
    EXPECT_EQ(outcomes, "h+m+l+x-t-");
    EXPECT_EQ(hanging, 3);
    EXPECT_GT(virtual_clock::elapsed() - started, 15s);
    EXPECT_TRUE(log.ends_with("failed(3,ETIMEDOUT: connection timed out, timeout) ")) << log;
  }());
}

}  // namespace
}  // namespace weir::sync
