#include <weir/core/runtime.hpp>
#include <weir/core/worker.hpp>
#include <weir/io/operation.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include <poll.h>
#include <unistd.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::forever;
using testing::hold_until;
using testing::rounds;
using testing::run_with;
using testing::this_worker_index;
using testing::with_workers;

using clock = std::chrono::steady_clock;

template <class F>
std::uint64_t total(F figure) {
  std::uint64_t sum = 0;
  for (const auto& each : metrics().workers) sum += figure(each);
  return sum;
}

std::uint64_t lost_wakes() {
  return total([](const worker_metrics& w) { return w.lost_wakes; });
}

// Takes processor time, without a wait.
void compute(std::chrono::microseconds time) {
  for (auto end = clock::now() + time; clock::now() < end;) {
  }
}

class Executor : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Executor, ::testing::Values(1U, 2U, 3U, 8U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(Executor, has_the_workers_that_were_asked_for) {
  run([](unsigned workers) -> task<> {
    EXPECT_EQ(metrics().workers.size(), workers);
    std::set<unsigned> seen;
    for (unsigned i = 0; i < workers; ++i) {
      co_await with_scope([&](scope& s) -> task<> {
        seen.insert(co_await s.spawn_on(i, []() -> task<unsigned> { co_return this_worker_index(); }));
      });
    }
    EXPECT_EQ(seen.size(), workers);
  }(GetParam()));
}

TEST_P(Executor, counts_every_fiber_that_it_starts_and_ends) {
  run([]() -> task<> {
    auto before = metrics().alive;
    co_await with_scope([](scope& s) -> task<> {
      for (unsigned i = 0; i < 1000; ++i) {
        s.spawn([]() -> task<> { co_await yield(); });
        s.spawn_local([]() -> task<> { co_await all(yield(), yield()); });
        s.spawn_on(i, []() -> task<> { static_cast<void>(co_await attempt(timeout(1h, yield()))); });
      }
      EXPECT_GE(metrics().alive, 1000U);
      co_return;
    });
    auto settled = [&] { return metrics().alive == before; };
    while (!settled()) co_await yield();  // a worker counts a fiber's end after it has told the scope
    EXPECT_GE(total([](const worker_metrics& w) { return w.polls; }), 7000U);
    for (const auto& each : metrics().workers) {
      EXPECT_EQ(each.queued, 0U);
      EXPECT_EQ(each.timers, 0U);
    }
  }());
}

TEST_P(Executor, carries_more_ready_fibers_than_a_queue_holds) {
  std::atomic<int> ended{0};
  run(with_scope([&](scope& s) -> task<> {
    event go;
    for (int i = 0; i < 5000; ++i) {
      s.spawn([&]() -> task<> {
        co_await go.wait();
        co_await yield();
        ended.fetch_add(1);
      });
    }
    go.set();  // 5000 ready at once, from one worker
    while (ended.load() != 5000) co_await yield();
  }));
  EXPECT_EQ(ended.load(), 5000);
}

TEST_P(Executor, does_not_let_those_who_only_yield_starve_timers_and_io) {
  std::array<int, 2> fd = {};
  ASSERT_EQ(::pipe(fd.data()), 0);
  run(with_scope([&](scope& s) -> task<> {
    std::atomic<bool> stop{false};
    for (int i = 0; i < 20; ++i) {
      s.spawn([&stop]() -> task<> {
        while (!stop) co_await yield();
      });
      s.spawn_local([&stop]() -> task<> {
        while (!stop) co_await yield();
      });
    }
    for (int i = 0; i < 10; ++i) {
      co_await sleep(1ms);
      EXPECT_EQ(::write(fd[1], "x", 1), 1);
      std::array<std::byte, 8> buffer;
      EXPECT_EQ(co_await io::read(fd[0], buffer), 1U);
    }
    stop = true;
  }));
  ::close(fd[0]);
  ::close(fd[1]);
}

// Two fibers that keep waking one another, through the slot for the one woken last.
TEST_P(Executor, does_not_let_a_pair_that_wakes_one_another_starve_the_others) {
  run(with_scope([](scope& s) -> task<> {
    std::atomic<bool> stop{false};
    std::array<event, 2> turn;
    for (std::size_t side : {0U, 1U}) {
      s.spawn([&, side]() -> task<> {
        while (!stop) {
          co_await turn[side].wait();
          turn[side].reset();
          turn[1 - side].set();
        }
        turn[1 - side].set();
      });
    }
    turn[0].set();
    std::atomic<int> others{0};
    for (int i = 0; i < 10; ++i) {
      s.spawn([&]() -> task<> {
        for (int n = 0; n < 20; ++n) co_await yield();
        others.fetch_add(1);
      });
    }
    while (others.load() != 10) co_await sleep(1ms);
    stop = true;
  }));
}

TEST_P(Executor, takes_work_from_foreign_threads) {
  run(with_scope([](scope& s) -> task<> {
    for (std::size_t round = 0; round < rounds(20, 4); ++round) {
      std::array<event, 64> events;
      std::atomic<int> released{0};
      std::vector<std::thread> foreign;
      co_await with_scope([&](scope& inner) -> task<> {
        for (auto& each : events) {
          inner.spawn([&]() -> task<> {
            co_await each.wait();
            released.fetch_add(1);
          });
        }
        co_await yield();
        for (std::size_t t = 0; t < 4; ++t) {
          foreign.emplace_back([&, t] {
            for (std::size_t i = t; i < events.size(); i += 4) events[i].set();
          });
        }
      });
      EXPECT_EQ(released.load(), 64);
      for (auto& each : foreign) each.join();
    }
    EXPECT_EQ(lost_wakes(), 0U);
    static_cast<void>(s);
  }));
}

TEST_P(Executor, starts_and_stops_over_and_over) {
  for (std::size_t i = 0; i < rounds(100, 4); ++i) {
    EXPECT_EQ(run(with_scope([](scope& s) -> task<int> {
                auto child = s.spawn_on(1, []() -> task<int> { co_return 1; });
                co_return co_await std::move(child);
              })),
              1);
  }
}

// Sleep and wake-up, over and over, at random distances: a lost one would cost a second.
TEST_P(Executor, loses_no_wake_up_when_it_parks_all_the_time) {
  auto options = with_workers(GetParam());
  options.spin = 0us;
  runtime(options).block_on(with_scope([](scope& s) -> task<> {
    for (unsigned pair = 0; pair < 4; ++pair) {
      s.spawn([pair]() -> task<> {
        for (std::size_t i = 0; i < rounds(2000, 4); ++i) {
          co_await with_scope([&](scope& inner) -> task<> {
            inner.spawn_on(static_cast<unsigned>(i) + pair, []() -> task<> { co_return; });
            inner.spawn([]() -> task<> { co_await yield(); });
            co_return;
          });
          if (i % 100 == 0) co_await sleep(1ms);
        }
      });
    }
    co_return;
  }));
}

TEST(Stealing, spreads_work_over_the_workers) {
  run_with(2, with_scope([](scope& s) -> task<> {
             std::array<std::atomic<int>, 2> ran = {};
             co_await with_scope([&](scope& inner) -> task<> {
               for (int i = 0; i < 200; ++i) {  // fewer than a queue holds
                 inner.spawn([&]() -> task<> {
                   compute(200us);
                   ran[this_worker_index()].fetch_add(1);
                   co_return;
                 });
               }
               co_return;
             });
             EXPECT_GT(ran[0].load(), 20);
             EXPECT_GT(ran[1].load(), 20);
             EXPECT_GT(total([](const worker_metrics& w) { return w.steals; }), 0U);
             EXPECT_GE(total([](const worker_metrics& w) { return w.stolen; }),
                       total([](const worker_metrics& w) { return w.steals; }));
             static_cast<void>(s);
           }));
}

TEST(Stealing, frees_the_fibers_behind_one_that_holds_its_worker) {
  run_with(2, with_scope([](scope& s) -> task<> {
             std::atomic<int> others{0};
             s.spawn([&]() -> task<> {
               for (int i = 0; i < 50; ++i) {
                 s.spawn([&]() -> task<> {
                   others.fetch_add(1);
                   co_return;
                 });
               }
               hold_until([&] { return others.load() == 50; });  // on other workers, then
               co_return;
             });
             co_await yield();
           }));
}

TEST(Stealing, frees_even_the_fiber_that_was_woken_last) {
  auto started = clock::now();
  run_with(2, with_scope([&](scope& s) -> task<> {
             co_await sleep(20ms);  // the other worker is asleep
             auto holder = s.spawn([&]() -> task<> {
               std::atomic<bool> ran{false};
               auto last = s.spawn([&]() -> task<> {
                 ran = true;
                 co_return;
               });
               hold_until([&] { return ran.load(); });
               co_await std::move(last);
             });
             co_await std::move(holder);
           }));
  EXPECT_LT(clock::now() - started, 10s);
}

TEST(Stealing, loses_no_wake_up_in_a_ping_pong_between_workers) {
  run_with(2, with_scope([](scope& s) -> task<> {
             event ping;
             event pong;
             constexpr std::size_t times = rounds(100'000);
             auto play = [](event& mine, event& other, bool serves) -> task<> {
               for (std::size_t i = 0; i < times; ++i) {
                 if (serves) other.set();
                 co_await mine.wait();
                 mine.reset();
                 if (!serves) other.set();
               }
             };
             auto one = s.spawn_on(0, play, std::ref(ping), std::ref(pong), true);
             auto two = s.spawn_on(1, play, std::ref(pong), std::ref(ping), false);
             co_await all(std::move(one), std::move(two));
             EXPECT_EQ(lost_wakes(), 0U);
           }));
}

TEST(Stealing, loses_no_wake_up_when_work_comes_in_bursts) {
  auto options = with_workers(4);
  options.spin = 0us;
  runtime(options).block_on(with_scope([](scope& s) -> task<> {
    for (std::size_t i = 0; i < rounds(300, 3); ++i) {
      co_await with_scope([i](scope& inner) -> task<> {
        for (std::size_t n = 0; n < 1 + i % 40; ++n) inner.spawn([]() -> task<> { co_await yield(); });
        co_return;
      });
      co_await sleep(1ms);  // all go to sleep
    }
    EXPECT_EQ(lost_wakes(), 0U);
    EXPECT_GT(total([](const worker_metrics& w) { return w.parks; }), 0U);
    static_cast<void>(s);
  }));
}

TEST(Stealing, leaves_fibers_where_they_are_if_it_is_switched_off) {
  auto options = with_workers(3);
  options.stealing = false;
  runtime(options).block_on(with_scope([](scope& s) -> task<> {
    for (unsigned i = 0; i < 30; ++i) {
      s.spawn_on(i, [&s]() -> task<> {
        auto home = this_worker_index();
        for (int n = 0; n < 5; ++n) {
          s.spawn([home]() -> task<> {
            EXPECT_EQ(this_worker_index(), home) << "a child starts where its parent is";
            for (int y = 0; y < 10; ++y) {
              co_await yield();
              EXPECT_EQ(this_worker_index(), home);
            }
            co_await sleep(1ms);
            EXPECT_EQ(this_worker_index(), home);
            co_await blocking([] {});
            EXPECT_EQ(this_worker_index(), home);
          });
        }
        co_return;
      });
    }
    co_await yield();
    EXPECT_EQ(total([](const worker_metrics& w) { return w.steals; }), 0U);
  }));
}

TEST(Stealing, does_not_touch_affine_fibers) {
  run_with(4, with_scope([](scope& s) -> task<> {
             for (unsigned i = 0; i < 64; ++i) {
               s.spawn_on(i, []() -> task<> {
                 auto home = this_worker_index();
                 for (int n = 0; n < 50; ++n) {
                   compute(10us);
                   co_await yield();
                   EXPECT_EQ(this_worker_index(), home);
                 }
               });
             }
             co_return;
           }));
}

TEST(Executor, counts_parks_polls_and_wake_ups) {
  run_with(2, with_scope([](scope& s) -> task<> {
             auto before = metrics();
             for (int i = 0; i < 10; ++i) co_await s.spawn_on(1, []() -> task<> { co_await sleep(1ms); });
             auto after = metrics();
             auto polls = after.workers[1].polls - before.workers[1].polls;
             EXPECT_GE(polls, 20U);
             EXPECT_EQ(after.workers[1].timers_fired - before.workers[1].timers_fired, 10U);
             EXPECT_GT(after.workers[1].parks, before.workers[1].parks);
             EXPECT_GT(after.workers[1].io.enters, before.workers[1].io.enters);
           }));
}

// ---- the queue that thieves take from

TEST(StealRing, hands_each_fiber_to_exactly_one_taker) {
  constexpr std::size_t fibers = rounds(200'000);
  auto all = std::make_unique<std::array<detail::fiber, 1024>>();
  auto taken = std::make_unique<std::array<std::atomic<int>, 1024>>();
  detail::steal_ring ring;
  std::atomic<bool> over{false};
  std::atomic<std::size_t> seen{0};
  auto note = [&](detail::fiber* f) {
    auto index = static_cast<std::size_t>(f - all->data());
    EXPECT_EQ((*taken)[index].fetch_add(1), 0) << "taken twice";
    seen.fetch_add(1);
  };
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t) {
    thieves.emplace_back([&] {
      detail::steal_ring mine;
      while (!over || ring.size() != 0) {
        if (auto* f = ring.steal_into(mine)) note(f);
        while (auto* f = mine.pop()) note(f);
      }
    });
  }
  std::size_t next = 0;
  std::size_t pushed = 0;
  while (pushed < fibers) {
    auto& slot = (*taken)[next % 1024];
    bool free = pushed < 1024 || slot.load() == 1;  // its last round is over
    if (free) slot.store(0);
    if (free && ring.push((*all)[next % 1024])) {
      ++next;
      ++pushed;
      continue;
    }
    if (free) slot.store(pushed < 1024 ? 0 : 1);
    if (auto* f = ring.pop()) note(f);
  }
  while (auto* f = ring.pop()) note(f);
  over = true;
  for (auto& each : thieves) each.join();
  EXPECT_EQ(seen.load(), fibers);
}

TEST(StealRing, gives_half_away_when_it_is_full) {
  auto all = std::make_unique<std::array<detail::fiber, detail::steal_ring::capacity + 1>>();
  detail::steal_ring ring;
  for (std::uint32_t i = 0; i < detail::steal_ring::capacity; ++i) EXPECT_TRUE(ring.push((*all)[i]));
  EXPECT_FALSE(ring.push(all->back()));
  std::array<detail::fiber*, detail::steal_ring::capacity / 2> half;
  EXPECT_EQ(ring.take_half(half), detail::steal_ring::capacity / 2);
  EXPECT_EQ(half[0], &(*all)[0]) << "the oldest";
  EXPECT_EQ(ring.size(), detail::steal_ring::capacity / 2);
  EXPECT_EQ(ring.pop(), &(*all)[detail::steal_ring::capacity / 2]);
  EXPECT_EQ(ring.take_half(half), 0U) << "less than half is left";
}

}  // namespace
}  // namespace weir
