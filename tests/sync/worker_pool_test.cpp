#include <weir/core/cpus.hpp>
#include <weir/sync/worker_pool.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

// A job that holds its thread, as a computation does, until it is let go.
struct gate {
  std::atomic<int> inside{0};
  std::atomic<bool> open{false};

  void pass() {
    inside.fetch_add(1);
    while (!open.load()) std::this_thread::yield();
  }
};

task<> until(std::function<bool()> holds) {
  while (!holds()) co_await sleep(1ms);
}

std::string code_of(const failure& why) { return std::string(why.code_name()); }

TEST(WorkerPool, completes_with_what_a_function_or_a_coroutine_returns) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 2});
    co_await pool.ready();
    auto main_thread = std::this_thread::get_id();
    EXPECT_NE(co_await pool.run([] { return std::this_thread::get_id(); }), main_thread);
    EXPECT_EQ(co_await pool.run([](int a, int b) { return a + b; }, 2, 3), 5);
    auto async = [](std::string text) -> task<std::string> {
      co_await sleep(1ms);
      co_return text + "!";
    };
    EXPECT_EQ(co_await pool.run(async, std::string("done")), "done!");
    auto boxed = co_await pool.run([](std::unique_ptr<int> given) { return given; }, std::make_unique<int>(7));
    EXPECT_EQ(*boxed, 7);
    int shared = 1;
    co_await pool.run([](int& x) { ++x; }, std::ref(shared));
    EXPECT_EQ(shared, 2);
    EXPECT_EQ(co_await pool.shutdown(), 0U);
  }());
}

TEST(WorkerPool, has_as_many_threads_as_the_process_may_use_unless_told_otherwise) {
  EXPECT_EQ(worker_pool().size(), available_parallelism());
  EXPECT_EQ(worker_pool({.threads = 3}).size(), 3U);
}

TEST(WorkerPool, hands_an_exception_to_the_owner_and_keeps_the_thread) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    auto before = co_await pool.run([] { return std::this_thread::get_id(); });
    EXPECT_THROW(co_await pool.run([] { throw std::runtime_error("broken"); }), std::runtime_error);
    auto fail = []() -> task<int> {
      co_await yield();
      throw std::logic_error("later");
    };
    EXPECT_THROW(co_await pool.run(fail), std::logic_error);
    auto outcome = co_await attempt(pool.run([]() -> int { throw std::runtime_error("kept"); }));
    EXPECT_EQ(outcome.failure().message(), "kept");
    EXPECT_EQ(co_await pool.run([] { return std::this_thread::get_id(); }), before);
    auto figures = pool.statistics();
    EXPECT_EQ(figures.failed, 3U);
    EXPECT_EQ(figures.completed, 2U);
    EXPECT_EQ(figures.total, 1U);
    EXPECT_EQ(figures.replaced, 0U);
  }());
}

TEST(WorkerPool, starts_jobs_by_priority_and_then_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    gate block;
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local([&]() -> task<> { co_await pool.run([&] { block.pass(); }); }));
      co_await until([&] { return block.inside == 1; });
      auto add = [&](int priority, int number) -> task<> {
        co_await pool.run({.priority = priority}, [&order, number] { order.push_back(number); });
      };
      for (auto [priority, number] : {std::pair{0, 3}, {0, 4}, {5, 1}, {-1, 6}, {5, 2}, {0, 5}}) {
        static_cast<void>(s.spawn_local(add, priority, number));
      }
      co_await yield();
      EXPECT_EQ(pool.statistics().queued, 6U);
      block.open = true;
    });
    EXPECT_EQ(order, (std::vector{1, 2, 3, 4, 5, 6}));
  }());
}

TEST(WorkerPool, gives_the_next_job_to_the_thread_that_has_been_idle_longest) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 3});
    co_await pool.ready();
    co_await until([&] { return pool.statistics().idle == 3; });
    std::vector<std::thread::id> used;
    for (int i = 0; i < 6; ++i) {
      used.push_back(co_await pool.run([] { return std::this_thread::get_id(); }));
      co_await until([&] { return pool.statistics().idle == 3; });
    }
    EXPECT_EQ(std::set(used.begin(), used.begin() + 3).size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(used[i], used[i + 3]);
  }());
}

TEST(WorkerPool, runs_init_on_every_thread_before_its_first_job) {
  run_with(1, []() -> task<> {
    std::atomic<unsigned> seen{0};
    auto init = [&seen](unsigned index) -> task<> {
      co_await sleep(2ms);
      seen.fetch_or(1U << index);
    };
    worker_pool pool({.threads = 3, .init = init});
    co_await pool.run([&seen] { EXPECT_NE(seen.load(), 0U); });
    co_await pool.ready();
    EXPECT_EQ(seen.load(), 7U);
    EXPECT_EQ(pool.size(), 3U);
  }());
}

TEST(WorkerPool, tells_of_an_init_that_failed_and_refuses_jobs_that_nobody_can_run) {
  run_with(1, []() -> task<> {
    std::atomic<int> exits{0};
    auto init = [](unsigned) -> task<> {
      co_await yield();
      throw std::runtime_error("no licence");
    };
    worker_pool pool({.threads = 2, .init = init, .on_worker_exit = [&](const worker_exit& e) {
                        EXPECT_EQ(e.reason, worker_exit_reason::init_failed);
                        EXPECT_TRUE(e.error);
                        ++exits;
                      }});
    auto queued = co_await attempt(pool.run([] { return 1; }));
    EXPECT_EQ(code_of(queued.failure()), "ERR_WORKER_INIT_FAILED");
    auto ready = co_await attempt(pool.ready());
    EXPECT_EQ(code_of(ready.failure()), "ERR_WORKER_INIT_FAILED");
    EXPECT_NE(ready.failure().message().find("no licence"), std::string::npos);
    auto later = co_await attempt(pool.run([] { return 1; }));
    EXPECT_EQ(code_of(later.failure()), "ERR_WORKER_INIT_FAILED");
    EXPECT_EQ(later.error().attached().size(), 1U);
    co_await until([&] { return exits == 2; });
  }());
}

TEST(WorkerPool, goes_on_with_the_threads_that_could_be_set_up) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 2, .init = [](unsigned index) -> task<> {
                        if (index == 0) throw std::runtime_error("unlucky");
                        co_return;
                      }});
    EXPECT_EQ(code_of((co_await attempt(pool.ready())).failure()), "ERR_WORKER_INIT_FAILED");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(co_await pool.run([i] { return i; }), i);
    EXPECT_EQ(pool.statistics().total, 1U);
  }());
}

TEST(WorkerPool, refuses_more_jobs_than_may_wait) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1, .queue_limit = 2});
    gate block;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i) {
        static_cast<void>(s.spawn_local([&]() -> task<> { co_await pool.run([&] { block.pass(); }); }));
        co_await until([&] { return block.inside >= 1; });
        co_await yield();
      }
      auto refused = co_await attempt(pool.run([] {}));
      EXPECT_EQ(code_of(refused.failure()), "ERR_QUEUE_FULL");
      EXPECT_EQ(pool.statistics().rejected, 1U);
      EXPECT_GT(pool.statistics().head_age, 0ns);
      block.open = true;
    });
    co_await pool.run([] {});
  }());
}

// A pool that only takes the thread away shrinks with each timeout.
TEST(WorkerPool, gives_up_on_a_job_that_overruns_and_replaces_its_thread) {
  run_with(1, []() -> task<> {
    gate block;
    std::atomic<int> retired{0};
    worker_pool pool({.threads = 2, .on_worker_exit = [&](const worker_exit& e) {
                        if (e.reason == worker_exit_reason::retired) ++retired;
                      }});
    co_await pool.ready();
    for (int round = 0; round < 3; ++round) {
      auto late = co_await attempt(pool.run({.timeout = 5ms}, [&] { block.pass(); }));
      EXPECT_EQ(code_of(late.failure()), "ERR_TIMEOUT");
    }
    auto figures = pool.statistics();
    EXPECT_EQ(figures.total, 2U);
    EXPECT_EQ(figures.stuck, 3U);
    EXPECT_EQ(figures.timed_out, 3U);
    EXPECT_EQ(figures.replaced, 3U);
    co_await all(pool.run([] {}), pool.run([] {}), pool.run([] {}));  // others are served meanwhile
    block.open = true;
    co_await until([&] { return retired == 3; });
    co_await until([&] { return pool.statistics().stuck == 0; });
    EXPECT_EQ(pool.statistics().total, 2U);
    EXPECT_EQ(co_await pool.shutdown(), 0U);
  }());
}

TEST(WorkerPool, forgets_the_timeout_of_a_job_that_ended_in_time) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1, .job_timeout = 150ms});
    for (int i = 0; i < 5; ++i) co_await pool.run([] {});
    co_await sleep(200ms);
    EXPECT_EQ(co_await pool.run({.timeout = 0ns}, [] { return 4; }), 4);
    EXPECT_EQ(pool.statistics().timed_out, 0U);
    EXPECT_EQ(pool.statistics().replaced, 0U);
  }());
}

TEST(WorkerPool, asks_an_overrun_job_to_stop) {
  run_with(1, []() -> task<> {
    std::atomic<bool> stopped{false};
    worker_pool pool({.threads = 1});
    auto late = co_await attempt(pool.run({.timeout = 5ms}, [&]() -> task<> {
      auto nap = co_await attempt(testing::forever());
      stopped = nap.failure().is_cancelled();
    }));
    EXPECT_EQ(code_of(late.failure()), "ERR_TIMEOUT");
    co_await until([&] { return stopped.load(); });
  }());
}

TEST(WorkerPool, withdraws_a_waiting_job_that_is_cancelled) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    gate block;
    bool ran = false;
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local([&]() -> task<> { co_await pool.run([&] { block.pass(); }); }));
      co_await until([&] { return block.inside == 1; });
      auto outcome = co_await attempt(timeout(2ms, pool.run([&] { ran = true; })));
      EXPECT_EQ(code_of(outcome.failure()), "ETIMEDOUT");
      EXPECT_EQ(pool.statistics().queued, 0U);
      EXPECT_EQ(pool.statistics().cancelled, 1U);
      block.open = true;
    });
    co_await pool.drain();
    EXPECT_FALSE(ran);
  }());
}

TEST(WorkerPool, stops_a_running_job_that_is_cancelled_and_waits_for_it) {
  run_with(1, with_scope([](scope& s) -> task<> {
             worker_pool pool({.threads = 1});
             std::atomic<int> begun{0}, ended{0};
             auto waits = s.spawn_local([&]() -> task<bool> {
               auto outcome = co_await attempt(pool.run([&]() -> task<> {
                 ++begun;
                 auto nap = co_await attempt(testing::forever());
                 ++ended;
                 nap.failure().rethrow();
               }));
               co_return outcome.failure().is_cancelled();
             });
             co_await until([&] { return begun == 1; });
             waits.cancel();
             EXPECT_TRUE(co_await std::move(waits));
             EXPECT_EQ(ended, 1);

             auto computes = s.spawn_local([&]() -> task<int> {
               co_return co_await pool.run([&] {
                 ++begun;
                 while (!job_stopping()) std::this_thread::yield();
                 ++ended;
                 return 9;
               });
             });
             co_await until([&] { return begun == 2; });
             computes.cancel();
             EXPECT_EQ(co_await std::move(computes), 9);  // what it has made all the same is kept
             EXPECT_EQ(ended, 2);
             EXPECT_FALSE(job_stopping());
             EXPECT_FALSE(co_await pool.run([] { return job_stopping(); }));
           }));
}

TEST(WorkerPool, job_takes_along_the_timers_and_tasks_that_it_starts) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    std::atomic<bool> fired{false};
    co_await pool.run([&] { set_timeout([&] { fired = true; }, 5ms); });
    EXPECT_TRUE(fired);
    auto outcome =
        co_await attempt(pool.run([] { set_timeout([] { throw std::runtime_error("from a timer"); }, 1ms); }));
    EXPECT_EQ(outcome.failure().message(), "from a timer");
    co_await pool.run([] {});
  }());
}

TEST(WorkerPool, replaces_a_thread_whose_loop_crashed_and_settles_its_job) {
  run_with(1, []() -> task<> {
    std::atomic<int> crashed{0};
    std::atomic<int> inits{0};
    auto init = [&](unsigned) -> task<> {
      if (inits.fetch_add(1) == 0) set_timeout([] { throw std::runtime_error("loop"); }, 10ms);
      co_return;
    };
    worker_pool pool({.threads = 1, .init = init, .on_worker_exit = [&](const worker_exit& e) {
                        if (e.reason == worker_exit_reason::crashed) ++crashed;
                      }});
    auto outcome = co_await attempt(pool.run(testing::forever));
    EXPECT_EQ(code_of(outcome.failure()), "ERR_WORKER_TERMINATED");
    EXPECT_EQ(co_await pool.run([] { return 3; }), 3);
    EXPECT_EQ(crashed, 1);
    EXPECT_EQ(inits, 2);
    EXPECT_EQ(pool.statistics().total, 1U);
    EXPECT_EQ(pool.statistics().replaced, 1U);
  }());
}

TEST(WorkerPool, drains) {
  run_with(2, []() -> task<> {
    worker_pool pool({.threads = 2});
    co_await pool.drain();
    std::atomic<int> done{0};
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 50; ++i) {
        static_cast<void>(s.spawn([&]() -> task<> { co_await pool.run([&] { ++done; }); }));
      }
      co_await until([&] { return done > 0; });
      co_await pool.drain();
      auto figures = pool.statistics();
      EXPECT_EQ(figures.total, figures.busy + figures.idle);
    });
    EXPECT_EQ(done, 50);
  }());
}

TEST(WorkerPool, shutdown_settles_every_job) {
  run_with(1, []() -> task<> {
    gate block;
    worker_pool pool({.threads = 2});
    std::vector<std::string> outcomes(5);
    co_await with_scope([&](scope& s) -> task<> {
      for (std::size_t i = 0; i < 5; ++i) {
        static_cast<void>(s.spawn_local([&, i]() -> task<> {
          auto outcome = co_await attempt(pool.run([&] { block.pass(); }));
          outcomes[i] = outcome ? "done" : code_of(outcome.failure());
        }));
      }
      co_await until([&] { return block.inside == 2; });
      auto stuck = co_await pool.shutdown({.grace = 5ms, .abandon_after = 5ms});
      EXPECT_EQ(stuck, 2U);
    });
    for (const auto& each : outcomes) EXPECT_EQ(each, "ERR_WORKER_TERMINATED");
    EXPECT_EQ(code_of((co_await attempt(pool.run([] {}))).failure()), "ERR_CLOSED");
    block.open = true;
    co_await until([&] { return pool.statistics().stuck == 0 && pool.statistics().total == 0; });
    EXPECT_EQ(co_await pool.shutdown(), 0U);
  }());
}

TEST(WorkerPool, shutdown_lets_running_and_queued_jobs_finish_where_asked_to) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    int done = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) {
        static_cast<void>(s.spawn_local([&]() -> task<> {
          co_await pool.run([] { std::this_thread::yield(); });
          ++done;
        }));
      }
      co_await yield();
      EXPECT_EQ(co_await pool.shutdown({.finish_queued = true}), 0U);
    });
    EXPECT_EQ(done, 5);
  }());
}

TEST(WorkerPool, may_be_destroyed_without_a_shutdown) {
  for (std::size_t i = 0; i < rounds(30); ++i) {
    run_with(1, []() -> task<> {
      worker_pool pool({.threads = 2});
      EXPECT_EQ(co_await pool.run([] { return 1; }), 1);
    }());
    worker_pool unused({.threads = 2});
  }
}

TEST(WorkerPool, borrowing_job_is_waited_for_through_a_shutdown) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 1});
    std::atomic<bool> ended{false};
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local([&]() -> task<> {
        auto outcome = co_await attempt(pool.run_borrowing(0, [&]() -> task<> {
          static_cast<void>(co_await attempt(testing::forever()));
          ended = true;
          throw cancelled();
        }));
        EXPECT_TRUE(ended);
        EXPECT_EQ(code_of(outcome.failure()), "ERR_WORKER_TERMINATED");
      }));
      co_await until([&] { return pool.statistics().active == 1; });
      co_await pool.shutdown({.grace = 1ms});
    });
  }());
}

TEST(WorkerPool, serves_tasks_of_several_workers_that_come_and_go) {
  worker_pool pool({.threads = 2});
  std::atomic<long> sum{0};
  std::atomic<int> stopped{0};
  run_with(3, with_scope([&](scope& s) -> task<> {
             for (int i = 0; i < 8; ++i) {
               static_cast<void>(s.spawn([&, i]() -> task<> {
                 for (std::size_t n = 0; n < rounds(500); ++n) {
                   if ((n + static_cast<std::size_t>(i)) % 5 == 0) {
                     auto quick = co_await attempt(timeout(1us, pool.run([]() -> task<int> {
                       co_await yield();
                       co_return 1;
                     })));
                     if (!quick) ++stopped;
                   } else {
                     sum += co_await pool.run([] { return 1; });
                   }
                 }
               }));
             }
             co_return;
           }));
  EXPECT_EQ(sum, static_cast<long>(8 * rounds(500) * 4 / 5));
  auto figures = pool.statistics();
  EXPECT_EQ(figures.queued + figures.active, 0U);
  EXPECT_EQ(figures.total, 2U);
}

TEST(WorkerPool, keeps_the_main_loop_responsive_while_it_is_saturated) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 2});
    std::atomic<bool> stop{false};
    int ticks = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 2; ++i) {
        static_cast<void>(s.spawn_local([&]() -> task<> {
          co_await pool.run([&] {
            double x = 1;
            while (!stop) x = std::sqrt(x + 1);
            return x;
          });
        }));
      }
      for (; ticks < 10; ++ticks) co_await sleep(1ms);
      stop = true;
    });
    EXPECT_EQ(ticks, 10);
  }());
}

TEST(C2_SYS_05, pool_keeps_its_size_and_its_word_through_failures_and_timeouts) {
  run_with(1, []() -> task<> {
    gate block;
    worker_pool pool({.threads = 3});
    int settled = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 60; ++i) {
        static_cast<void>(s.spawn_local([&, i]() -> task<> {
          auto outcome = co_await attempt(pool.run({.timeout = i % 20 == 0 ? 10ms : 0ms}, [&block, i] {
            if (i % 20 == 0) block.pass();
            if (i % 3 == 0) throw std::runtime_error("bad");
            return i;
          }));
          ++settled;
          if (outcome) EXPECT_EQ(*outcome, i);
        }));
      }
      co_return;
    });
    EXPECT_EQ(settled, 60);
    auto figures = pool.statistics();
    EXPECT_EQ(figures.total, 3U);
    EXPECT_EQ(figures.timed_out, 3U);
    EXPECT_EQ(figures.failed, 19U);
    EXPECT_EQ(figures.completed, 38U);
    block.open = true;
    EXPECT_EQ(co_await pool.shutdown(), 0U);
  }());
}

// Threads that crash, jobs that overrun and a shutdown in the middle of it all, with the figures looked at all along.
TEST(C1_SYS_26, thread_pool_is_as_large_as_it_was_made_and_knows_what_it_does) {
  run_with(1, []() -> task<> {
    gate block;
    std::atomic<int> inits{0}, crashes{0};
    auto init = [&](unsigned) -> task<> {
      if (inits.fetch_add(1) < 2) set_timeout([] { throw std::runtime_error("crash"); }, 5ms);
      co_return;
    };
    worker_pool pool({.threads = 4, .init = init, .on_worker_exit = [&](const worker_exit& e) {
                        if (e.reason == worker_exit_reason::crashed) ++crashes;
                      }});
    auto check = [&] {
      auto now = pool.statistics();
      EXPECT_EQ(now.total, 4U);
      EXPECT_EQ(now.busy + now.idle, now.total);
      EXPECT_EQ(now.threads.size(), 4U);
    };
    co_await until([&] {
      check();
      return crashes == 2;
    });
    int settled = 0;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 200; ++i) {
        static_cast<void>(s.spawn_local([&, i]() -> task<> {
          auto late = i < 3 ? 5ms : 0ms;
          static_cast<void>(co_await attempt(pool.run({.timeout = late}, [&block, late]() -> task<> {
            if (late != 0ms) block.pass();
            co_await sleep(1ms);
          })));
          ++settled;
        }));
      }
      while (settled < 150) {
        check();
        co_await sleep(1ms);
      }
      co_await until([&] { return pool.statistics().timed_out == 3; });
      check();
      block.open = true;
      EXPECT_EQ(co_await pool.shutdown({.grace = 0ns}), 0U);
    });
    EXPECT_EQ(settled, 200);
    auto last = pool.statistics();
    EXPECT_EQ(last.completed + last.failed + last.timed_out + last.cancelled + last.terminated, 200U);
    EXPECT_EQ(last.timed_out, 3U);
    EXPECT_EQ(last.replaced, 5U);
    EXPECT_EQ(last.total + last.stuck, 0U);
  }());
}

}  // namespace
}  // namespace weir::sync
