#include <weir/sync/resource_pool.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;
using weir::testing::virtual_clock;

void in_virtual_time(task<> main) { runtime(weir::testing::virtual_time()).block_on(std::move(main)); }

/// Numbered connections, counted while they live.
struct connection {
  int number;
  weir::testing::counted alive = {};
};
using owned = std::unique_ptr<connection>;

auto numbered(int& last) {
  return [&last]() -> task<owned> { co_return std::make_unique<connection>(connection{++last}); };
}

TEST(ResourcePool, makes_what_is_needed_and_lends_what_came_back_last) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    resource_pool<owned> pool(numbered(last), {.max = 3});
    EXPECT_EQ(last, 0);  // nothing is made in advance
    {
      auto a = co_await pool.acquire();
      auto b = co_await pool.acquire();
      EXPECT_EQ((*a)->number, 1);
      EXPECT_EQ(b->get()->number, 2);
      EXPECT_EQ(pool.stats().lent, 2U);
      b.give_back();
      b.give_back();
      a.give_back();
      EXPECT_EQ(pool.stats().idle, 2U);
      auto again = co_await pool.acquire();
      EXPECT_EQ((*again)->number, 1);
      auto moved = std::move(again);
      EXPECT_EQ((*moved)->number, 1);
      moved = co_await pool.acquire();
      EXPECT_EQ((*moved)->number, 2);
      EXPECT_EQ(pool.stats().lent, 1U);
    }
    auto now = pool.stats();
    EXPECT_EQ(now.idle, 2U);
    EXPECT_EQ(now.lent, 0U);
    EXPECT_EQ(now.made, 2U);
    EXPECT_EQ(now.acquired, 4U);
    EXPECT_EQ(last, 2);
  }());
  EXPECT_EQ(weir::testing::counted::alive(), 0);
}

// C3-DBX-03: the exhausted pool serves in order of arrival, forgets who was cancelled, and lets nobody
// wait for ever.
TEST(C3_SYS_78, exhausted_pool_serves_waiters_in_order_skips_the_cancelled_and_times_out) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    resource_pool<owned> pool(numbered(last), {.max = 1, .acquire_timeout = 2s});
    std::string order;
    co_await with_scope([&](scope& s) -> task<> {
      auto first = co_await pool.acquire();
      std::vector<join_handle<>> handles;
      for (char name = 'a'; name < 'e'; ++name) {
        handles.push_back(s.spawn_local([&, name]() -> task<> {
          auto mine = co_await pool.acquire();
          order += name;
          co_await sleep(10ms);
        }));
      }
      co_await sleep(1s);
      EXPECT_EQ(pool.stats().waiting, 4U);
      handles[1].cancel();
      first.give_back();
      for (auto& each : handles) static_cast<void>(co_await attempt(std::move(each)));
    });
    EXPECT_EQ(order, "acd");
    EXPECT_EQ(last, 1);
    auto held = co_await pool.acquire();
    auto started = virtual_clock::elapsed();
    auto late = co_await attempt(pool.acquire());
    EXPECT_EQ(late.failure().code_name(), "ERR_TIMEOUT");
    EXPECT_EQ(late.failure().message(), "resource_pool: no resource was to be had within 2000 ms");
    EXPECT_EQ(virtual_clock::elapsed() - started, 2s);
    auto now = pool.stats();
    EXPECT_EQ(now.waiting, 0U);
    EXPECT_EQ(now.timed_out, 1U);
    EXPECT_EQ(now.alive(), 1U);
  }());
}

// C3-DBX-02: a dead connection is replaced, whoever finds out.
TEST(C3_SYS_78, pool_replaces_what_is_broken) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    std::set<int> dead;
    std::vector<int> disposed;
    resource_pool<owned> pool(numbered(last), {.max = 2,
                                               .validate_after = 50ms,
                                               .validate = [&](owned& c) -> task<bool> {
                                                 co_await yield();
                                                 if (c->number == 3) throw std::runtime_error("no answer");
                                                 co_return !dead.contains(c->number);
                                               },
                                               .dispose = [&](owned c) -> task<> {
                                                 co_await yield();
                                                 disposed.push_back(c->number);
                                                 throw std::runtime_error("nobody minds");
                                               }});
    {
      auto one = co_await pool.acquire();
      one.discard();
    }
    EXPECT_EQ(pool.stats().leaving, 1U);
    EXPECT_EQ((*co_await pool.acquire())->number, 2);
    EXPECT_EQ(disposed, std::vector{1});
    dead.insert(2);
    EXPECT_EQ((*co_await pool.acquire())->number, 2);  // too short a time to look
    co_await sleep(50ms);
    EXPECT_EQ((*co_await pool.acquire())->number, 3);
    co_await sleep(50ms);
    EXPECT_EQ((*co_await pool.acquire())->number, 4);
    EXPECT_EQ(disposed, (std::vector{1, 2, 3}));
    auto now = pool.stats();
    EXPECT_EQ(now.invalid, 3U);
    EXPECT_EQ(now.alive(), 1U);
    EXPECT_EQ(now.leaving, 0U);
    co_await pool.drain();
    EXPECT_EQ(disposed, (std::vector{1, 2, 3, 4}));
  }());
  EXPECT_EQ(weir::testing::counted::alive(), 0);
}

TEST(ResourcePool, gives_the_turn_to_the_next_where_making_one_fails) {
  in_virtual_time([]() -> task<> {
    int calls = 0;
    resource_pool<int> pool(
        [&]() -> task<int> {
          co_await sleep(10ms);
          if (++calls == 1) throw std::runtime_error("refused");
          co_return calls;
        },
        {.max = 1});
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> { EXPECT_EQ((co_await attempt(pool.acquire())).failure().message(), "refused"); });
      s.spawn_local([&]() -> task<> { EXPECT_EQ(*co_await pool.acquire(), 2); });
      co_return;
    });
    EXPECT_EQ(pool.stats().failed, 1U);
    EXPECT_EQ(pool.stats().alive(), 1U);
  }());
}

TEST(ResourcePool, stops_the_making_for_one_whose_time_is_over) {
  in_virtual_time([]() -> task<> {
    bool slow = true;
    resource_pool<int> pool(
        [&]() -> task<int> {
          if (slow) co_await sleep(1h);
          co_return 1;
        },
        {.max = 1, .acquire_timeout = 100ms});
    EXPECT_EQ((co_await attempt(pool.acquire())).failure().code_name(), "ERR_TIMEOUT");
    slow = false;
    EXPECT_EQ(*co_await pool.acquire(), 1);
  }());
}

// C3-DBX-01: kept between min and max, idle ones go after a while, the least recently used first.
TEST(ResourcePool, keeps_the_number_between_min_and_max) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    resource_pool<owned> pool(numbered(last), {.min = 2, .max = 4, .idle_timeout = 5s});
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> { co_await pool.maintain(); });
      co_await sleep(1ms);
      EXPECT_EQ(pool.stats().idle, 2U);
      {
        std::vector<resource_pool<owned>::lease> leases;
        leases.reserve(4);
        for (int i = 0; i < 4; ++i) leases.push_back(co_await pool.acquire());
        EXPECT_EQ(pool.stats().alive(), 4U);
        co_await sleep(10s);
        EXPECT_EQ(pool.stats().lent, 4U);  // what is lent out is not idle
      }
      co_await sleep(4s);
      EXPECT_EQ(pool.stats().idle, 4U);
      {
        auto used = co_await pool.acquire();
      }
      co_await sleep(2s);
      EXPECT_EQ(pool.stats().idle, 2U);
      EXPECT_EQ(pool.stats().reaped, 2U);
      co_await sleep(1min);
      EXPECT_EQ(pool.stats().idle, 2U);
      EXPECT_EQ(last, 4);
      pool.close();  // ends `maintain`
    });
  }());
}

TEST(ResourcePool, lends_nothing_older_than_its_lifetime) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    resource_pool<owned> pool(numbered(last), {.max = 2, .idle_timeout = 0s, .max_lifetime = 1min});
    EXPECT_EQ((*co_await pool.acquire())->number, 1);
    co_await sleep(59s);
    {
      auto held = co_await pool.acquire();
      EXPECT_EQ((*held)->number, 1);
      co_await sleep(1s);
    }
    EXPECT_EQ(pool.stats().alive(), 0U);
    EXPECT_EQ((*co_await pool.acquire())->number, 2);
    co_await sleep(1min);
    EXPECT_EQ((*co_await pool.acquire())->number, 3);
    EXPECT_EQ(pool.stats().alive(), 1U);
  }());
}

TEST(ResourcePool, tries_again_later_where_maintain_cannot_make_one) {
  in_virtual_time([]() -> task<> {
    int calls = 0;
    resource_pool<int> pool(
        [&]() -> task<int> {
          if (++calls <= 3) throw std::runtime_error("down");
          co_return calls;
        },
        {.min = 1, .maintain_every = 1s});
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> { co_await pool.maintain(); });
      co_await sleep(2500ms);
      EXPECT_EQ(calls, 3);
      EXPECT_EQ(pool.stats().alive(), 0U);
      co_await sleep(1s);
      EXPECT_EQ(pool.stats().idle, 1U);
      s.cancel();
    });
  }());
}

TEST(ResourcePool, drains_by_waiting_for_every_lease) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    std::vector<int> disposed;
    resource_pool<owned> pool(numbered(last), {.max = 2, .dispose = [&](owned c) -> task<> {
                                                 disposed.push_back(c->number);
                                                 co_return;
                                               }});
    co_await with_scope([&](scope& s) -> task<> {
      {
        auto idle = co_await pool.acquire();
      }
      auto one = co_await pool.acquire();
      auto two = co_await pool.acquire();
      auto waiting = s.spawn_local(
          [&]() -> task<> { EXPECT_EQ((co_await attempt(pool.acquire())).failure().code_name(), "ERR_CLOSED"); });
      co_await yield();
      auto draining = s.spawn_local([&]() -> task<> { co_await pool.drain(); });
      co_await std::move(waiting);
      one.give_back();
      co_await sleep(1s);
      EXPECT_FALSE(draining.done());
      EXPECT_TRUE(pool.stats().closed);
      EXPECT_EQ((co_await attempt(pool.acquire())).failure().code_name(), "ERR_CLOSED");
      two.give_back();
      co_await std::move(draining);
    });
    EXPECT_EQ(disposed.size(), 2U);
    EXPECT_EQ(pool.stats().alive(), 0U);
    co_await pool.drain();
  }());
  EXPECT_EQ(weir::testing::counted::alive(), 0);
}

TEST(ResourcePool, closed_turns_away_those_who_wait) {
  in_virtual_time([]() -> task<> {
    int last = 0;
    resource_pool<owned> pool(numbered(last), {.max = 1});
    int turned_away = 0;
    co_await with_scope([&](scope& s) -> task<> {
      auto held = co_await pool.acquire();
      for (int i = 0; i < 3; ++i) {
        s.spawn_local([&]() -> task<> {
          if ((co_await attempt(pool.acquire())).failure().is("ERR_CLOSED")) ++turned_away;
        });
      }
      co_await yield();
      EXPECT_EQ(pool.stats().waiting, 3U);
      pool.close();
      co_await yield();
      co_await yield();
      EXPECT_EQ(turned_away, 3);
    });
    EXPECT_EQ(last, 1);
    EXPECT_EQ(pool.stats().alive(), 0U);
  }());
}

TEST(ResourcePool, refuses_limits_that_make_no_sense_and_a_crowd) {
  auto one = []() -> task<int> { co_return 1; };
  using ints = resource_pool<int>;
  EXPECT_THROW(ints(one, {.max = 0}), error);
  EXPECT_THROW(ints(one, {.min = 3, .max = 2}), error);
  EXPECT_THROW(ints(one, {.idle_timeout = -1s}), error);
  EXPECT_THROW(ints(one, {.maintain_every = 0s}), error);
  run_with(1, [](auto make) -> task<> {
    ints pool(make, {.max = 1, .max_waiting = 1});
    co_await with_scope([&](scope& s) -> task<> {
      auto held = co_await pool.acquire();
      auto waiting = s.spawn_local([&]() -> task<> { auto mine = co_await pool.acquire(); });
      co_await yield();
      co_await yield();
      EXPECT_EQ((co_await attempt(pool.acquire())).failure().code_name(), "ERR_QUEUE_FULL");
    });
  }(one));
}

TEST(ResourcePool, takes_leases_back_from_foreign_threads) {
  run_with(1, []() -> task<> {
    resource_pool<int> pool([]() -> task<int> { co_return 7; }, {.max = 1});
    for (std::size_t i = 0; i < rounds(200); ++i) {
      auto mine = co_await pool.acquire();
      std::thread foreign([given = std::move(mine)]() mutable { given.give_back(); });
      EXPECT_EQ(*co_await pool.acquire(), 7);
      foreign.join();
    }
    EXPECT_EQ(pool.stats().made, 1U);
  }());
}

// Cancels wherever the caller stands: in the queue, while one is made or validated, holding one.
TEST(ResourcePool, never_has_more_than_max_nor_loses_a_place_to_cancellation) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      std::atomic<int> made{0};
      std::atomic<int> gone{0};
      std::atomic<int> looked_at{0};
      struct thing {
        std::atomic<int>* made;
        std::atomic<int>* gone;
        thing(std::atomic<int>& m, std::atomic<int>& g) : made(&m), gone(&g) { m.fetch_add(1); }
        thing(thing&& other) noexcept : made(std::exchange(other.made, nullptr)), gone(other.gone) {}
        thing& operator=(thing&&) = delete;
        ~thing() {
          if (made != nullptr) gone->fetch_add(1);
        }
      };
      resource_pool<thing> pool(
          [&]() -> task<thing> {
            co_await yield();
            EXPECT_LE(made.load() - gone.load(), 2);
            co_return thing(made, gone);
          },
          {.min = 1, .max = 3, .validate = [&](thing&) -> task<bool> {
             bool good = looked_at.fetch_add(1) % 5 != 4;
             co_await yield();
             co_return good;
           }});
      std::atomic<int> lent{0};
      auto use = [&]() -> task<> {
        for (int n = 0;; ++n) {
          auto mine = co_await pool.acquire();
          EXPECT_LE(lent.fetch_add(1), 2);
          static_cast<void>(co_await attempt(yield()));
          lent.fetch_sub(1);
          if (n % 4 == 3) mine.discard();
        }
      };
      for (std::size_t i = 0; i < rounds(500); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          s.spawn([&]() -> task<> { co_await pool.maintain(); });
          for (int n = 0; n < 6; ++n) s.spawn(use);
          for (std::size_t n = 0; n < i % 12; ++n) co_await yield();
          s.cancel();
        });
        auto now = pool.stats();
        EXPECT_EQ(now.lent + now.making + now.waiting, 0U);
        EXPECT_EQ(static_cast<int>(now.idle), made.load() - gone.load());
      }
    }());
  }
}

TEST(ResourcePoolDeathTest, says_so_when_it_is_destroyed_with_a_lease_out) {
  EXPECT_DEATH(run_with(1,
                        []() -> task<> {
                          auto make = []() -> task<int> { co_return 1; };
                          std::optional<resource_pool<int>> pool(std::in_place, make);
                          auto lease = co_await pool->acquire();
                          pool.reset();
                        }()),
               "a resource_pool was destroyed");
}

}  // namespace
}  // namespace weir::sync
