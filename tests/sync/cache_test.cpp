#include <weir/sync/cache.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;

void in_virtual_time(task<> main) { runtime(weir::testing::virtual_time()).block_on(std::move(main)); }

using names = std::vector<std::string>;

TEST(Cache, keeps_what_was_used_last) {
  cache<std::string, int> c({.max_entries = 3});
  EXPECT_TRUE(c.put("a", 1));
  EXPECT_TRUE(c.put("b", 2));
  EXPECT_TRUE(c.put("c", 3));
  EXPECT_EQ(c.get("a"), 1);
  EXPECT_EQ(c.peek("b"), 2);  // does not count as used
  EXPECT_TRUE(c.contains("b"));
  c.put("c", 4);
  EXPECT_EQ(c.keys(), (names{"b", "a", "c"}));
  c.put("d", 5);
  EXPECT_EQ(c.keys(), (names{"a", "c", "d"}));
  EXPECT_EQ(c.get("b"), std::nullopt);
  EXPECT_EQ(c.get("c"), 4);
  auto now = c.stats();
  EXPECT_EQ(now.entries, 3U);
  EXPECT_EQ(now.hits, 2U);
  EXPECT_EQ(now.misses, 1U);
  EXPECT_EQ(now.evicted, 1U);
}

// C0-HTTP-40: what is called LRU there goes by insertion; here that is another setting.
TEST(Cache, goes_by_insertion_where_that_is_asked_for) {
  cache<std::string, int> c({.max_entries = 3, .order = cache_order::oldest_first});
  for (const auto* name : {"a", "b", "c"}) c.put(name, 1);
  EXPECT_EQ(c.get("a"), 1);
  c.put("a", 2);
  EXPECT_EQ(c.keys(), (names{"a", "b", "c"}));
  c.put("d", 1);
  EXPECT_EQ(c.keys(), (names{"b", "c", "d"}));
}

TEST(Cache, bounds_the_weight_of_all_entries_and_refuses_what_is_too_heavy_alone) {
  cache<int, std::string> c({.max_weight = 10, .weigh = [](int, const std::string& text) { return text.size(); }});
  c.put(1, "aaaa");
  c.put(2, "bbbb");
  EXPECT_EQ(c.stats().weight, 8U);
  c.put(3, "ccc");
  EXPECT_EQ(c.keys(), (std::vector{2, 3}));
  EXPECT_EQ(c.stats().weight, 7U);
  c.put(2, "bbbbbbbbb");
  EXPECT_EQ(c.keys(), (std::vector{2}));
  EXPECT_EQ(c.stats().weight, 9U);
  EXPECT_FALSE(c.put(2, "far too heavy"));
  EXPECT_EQ(c.get(2), std::nullopt);
  EXPECT_EQ(c.stats().weight, 0U);
  EXPECT_EQ(c.size(), 0U);

  cache<int, std::string> by_age({.max_weight = 10,
                                  .weigh = [](int, const std::string& text) { return text.size(); },
                                  .order = cache_order::oldest_first});
  by_age.put(1, "aaaa");
  by_age.put(2, "bbbb");
  EXPECT_TRUE(by_age.put(1, "aaaaaaaa"));  // the oldest, but what was just stored stays
  EXPECT_EQ(by_age.keys(), (std::vector{1}));
}

// C3-CCH-01: past its time it is a miss. The time of an entry is a setting of the cache or its own.
TEST(Cache, forgets_an_entry_whose_time_is_over) {
  in_virtual_time([]() -> task<> {
    cache<std::string, int> c({.ttl = 100ms});
    c.put("a", 1);
    c.put("short", 2, {.ttl = 10ms});
    c.put("ever", 3, {.ttl = 0ms});
    co_await sleep(10ms);
    EXPECT_EQ(c.get("short"), std::nullopt);
    EXPECT_EQ(c.get("a"), 1);
    co_await sleep(89ms);
    EXPECT_EQ(c.get("a"), 1);  // reading does not renew it
    co_await sleep(1ms);
    EXPECT_EQ(c.peek("a"), std::nullopt);
    EXPECT_EQ(c.size(), 2U);
    EXPECT_EQ(c.get("a"), std::nullopt);
    EXPECT_EQ(c.size(), 1U);
    co_await sleep(720h);
    EXPECT_EQ(c.get("ever"), 3);
    EXPECT_EQ(c.stats().expired, 2U);
    EXPECT_EQ(c.stats().evicted, 0U);
  }());
}

TEST(Cache, renews_an_entry_on_reading_where_that_is_asked_for_and_sweeps_what_is_over) {
  in_virtual_time([]() -> task<> {
    cache<int, int> c({.ttl = 100ms, .renew_on_read = true});
    for (int i = 0; i < 5; ++i) c.put(i, i);
    for (int i = 0; i < 4; ++i) {
      co_await sleep(60ms);
      EXPECT_EQ(c.get(2), 2);
    }
    EXPECT_EQ(c.size(), 5U);
    EXPECT_EQ(c.sweep(), 4U);
    EXPECT_EQ(c.keys(), std::vector{2});
  }());
}

TEST(Cache, tells_what_left_and_why) {
  in_virtual_time([]() -> task<> {
    std::string log;
    cache<char, int> c({.max_entries = 2, .ttl = 10ms, .on_evict = [&](char key, int value, eviction why) {
                          log += key + std::to_string(value) + ":" + std::to_string(static_cast<int>(why)) + " ";
                          c.size();  // no lock is held
                        }});
    c.put('a', 1);
    c.put('b', 2);
    c.put('a', 3);
    EXPECT_EQ(log, "a1:2 ");
    c.put('c', 4);
    EXPECT_EQ(log, "a1:2 b2:1 ");
    EXPECT_TRUE(c.erase('a'));
    EXPECT_FALSE(c.erase('a'));
    EXPECT_EQ(log, "a1:2 b2:1 a3:3 ");
    co_await sleep(10ms);
    c.get('c');
    c.put('d', 5);
    c.clear();
    EXPECT_EQ(log, "a1:2 b2:1 a3:3 c4:0 d5:4 ");
  }());
}

// C3-CCH-06: a miss is loaded once, however many ask.
TEST(Cache, loads_once_for_all_who_ask_meanwhile) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(500); ++i) {
        cache<std::string, int> c;
        std::atomic<int> loads{0};
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 6; ++n) {
            s.spawn([&]() -> task<> {
              auto value = co_await c.get_or_load("key", [&](const std::string& key) -> task<int> {
                co_await yield();
                loads.fetch_add(1);
                co_return static_cast<int>(key.size());
              });
              EXPECT_EQ(value, 3);
            });
          }
          co_return;
        });
        EXPECT_EQ(loads.load(), 1);
        EXPECT_EQ(c.stats().loads, 1U);
        EXPECT_EQ(c.stats().hits + c.stats().joined, 5U);
      }
    }());
  }
}

TEST(Cache, gives_a_failed_load_to_all_who_wait_and_keeps_it_not) {
  run_with(1, []() -> task<> {
    cache<int, int> c;
    int calls = 0;
    auto fail = [&]() -> task<int> {
      ++calls;
      co_await yield();
      throw std::runtime_error("no luck");
    };
    co_await with_scope([&](scope& s) -> task<> {
      for (int n = 0; n < 3; ++n) {
        s.spawn_local(
            [&]() -> task<> { EXPECT_EQ((co_await attempt(c.get_or_load(1, fail))).failure().message(), "no luck"); });
      }
      co_return;
    });
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(co_await c.get_or_load(1, []() -> task<int> { co_return 7; }), 7);
    EXPECT_EQ(c.stats().load_failures, 1U);
    auto refuse = []() -> task<int> { throw std::logic_error("at once"); };
    EXPECT_EQ((co_await attempt(c.get_or_load(2, refuse))).failure().message(), "at once");
    EXPECT_EQ(co_await c.get_or_load(2, []() -> task<int> { co_return 8; }), 8);
  }());
}

TEST(Cache, lets_another_load_where_the_one_that_did_was_cancelled) {
  run_with(1, []() -> task<> {
    cache<int, int> c;
    co_await with_scope([&](scope& s) -> task<> {
      auto first = s.spawn_local([&]() -> task<> {
        co_await c.get_or_load(1, []() -> task<int> {
          co_await weir::testing::forever();
          co_return 0;
        });
      });
      auto second = s.spawn_local(
          [&]() -> task<int> { co_return co_await c.get_or_load(1, []() -> task<int> { co_return 2; }); });
      auto third = s.spawn_local(
          [&]() -> task<int> { co_return co_await c.get_or_load(1, []() -> task<int> { co_return 3; }); });
      co_await yield();
      EXPECT_FALSE(second.done());
      first.cancel();
      EXPECT_EQ(co_await std::move(second), 2);
      EXPECT_EQ(co_await std::move(third), 2);
    });
  }());
}

// C3-CCH-05: what is written or invalidated during a load is not overwritten by the older value.
TEST(Cache, does_not_store_a_load_that_was_overtaken) {
  run_with(1, []() -> task<> {
    for (bool put : {false, true}) {
      cache<int, std::string> c;
      event go;
      co_await with_scope([&](scope& s) -> task<> {
        auto loading = s.spawn_local([&]() -> task<std::string> {
          co_return co_await c.get_or_load(1, [&]() -> task<std::string> {
            co_await go.wait();
            co_return "old";
          });
        });
        co_await yield();
        if (put) {
          c.put(1, "new");
        } else {
          c.erase(1);
        }
        go.set();
        EXPECT_EQ(co_await std::move(loading), "old");
        EXPECT_EQ(c.get(1), put ? std::optional<std::string>("new") : std::nullopt);
      });
    }
  }());
}

TEST(Cache, answers_with_what_is_stale_while_one_loads_it_anew) {
  in_virtual_time([]() -> task<> {
    cache<int, int> c({.ttl = 10ms, .stale_for = 100ms});
    c.put(1, 1);
    co_await sleep(20ms);
    EXPECT_EQ(c.get(1), std::nullopt);
    co_await with_scope([&](scope& s) -> task<> {
      auto anew = s.spawn_local([&]() -> task<int> {
        co_return co_await c.get_or_load(1, []() -> task<int> {
          co_await sleep(5ms);
          co_return 2;
        });
      });
      co_await yield();
      auto never = []() -> task<int> { throw std::logic_error("one loads already"); };
      EXPECT_EQ(co_await c.get_or_load(1, never), 1);
      EXPECT_EQ(co_await std::move(anew), 2);
      EXPECT_EQ(co_await c.get_or_load(1, never), 2);
    });
    // A load that fails falls back on it, as long as it may stand in.
    co_await sleep(20ms);
    auto fail = []() -> task<int> { throw std::runtime_error("down"); };
    EXPECT_EQ(co_await c.get_or_load(1, fail), 2);
    co_await sleep(90ms);
    EXPECT_EQ((co_await attempt(c.get_or_load(1, fail))).failure().message(), "down");
    EXPECT_EQ(c.size(), 0U);
    EXPECT_EQ(c.stats().stale_hits, 2U);
  }());
}

TEST(Cache, refuses_options_that_make_no_sense) {
  using ints = cache<int, int>;
  EXPECT_THROW(ints({.max_entries = 0}), error);
  EXPECT_THROW(ints({.max_weight = 0}), error);
  EXPECT_THROW(ints({.ttl = -1s}), error);
  EXPECT_THROW(ints({.stale_for = -1s}), error);
  ints c;
  EXPECT_THROW(c.put(1, 1, {.ttl = -1s}), error);
  EXPECT_EQ(c.size(), 0U);
}

// Bounded memory under any sequence, checked against the plainest model of it.
TEST(C3_SYS_70, lru_cache_agrees_with_a_plain_model_in_order_and_size) {
  cache<int, int> c({.max_entries = 8, .max_weight = 30, .weigh = [](int, int value) {
                       return static_cast<std::size_t>(value % 7 + 1);
                     }});
  std::vector<std::pair<int, int>> model;  // the oldest first
  unsigned random = 12345;
  auto next = [&](unsigned below) {
    return static_cast<int>(((random = random * 1664525U + 1013904223U) >> 8) % below);
  };
  auto weight = [&] {
    int sum = 0;
    for (auto& each : model) sum += each.second % 7 + 1;
    return sum;
  };
  for (std::size_t i = 0; i < rounds(50'000); ++i) {
    int key = next(16);
    auto at = std::ranges::find(model, key, &std::pair<int, int>::first);
    bool there = at != model.end();
    if (next(3) == 0) {
      EXPECT_EQ(c.get(key), there ? std::optional(at->second) : std::nullopt);
      if (there) std::rotate(at, at + 1, model.end());
    } else if (next(8) == 0) {
      EXPECT_EQ(c.erase(key), there);
      if (there) model.erase(at);
    } else {
      int value = next(1000);
      c.put(key, value);
      if (there) model.erase(at);
      model.emplace_back(key, value);
      while (model.size() > 8 || weight() > 30) model.erase(model.begin());
    }
    ASSERT_EQ(c.stats().weight, static_cast<std::size_t>(weight()));
    ASSERT_EQ(c.size(), model.size());
  }
  std::vector<int> keys;
  keys.reserve(model.size());
  for (auto& each : model) keys.push_back(each.first);
  EXPECT_EQ(c.keys(), keys);
}

TEST(Cache, survives_cancellation_at_any_moment_on_several_workers) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      cache<int, std::shared_ptr<int>> c({.max_entries = 4});
      auto ask = [&](int n) -> task<> {
        for (;;) {
          int key = n++ % 6;
          auto value = co_await c.get_or_load(key, [](int k) -> task<std::shared_ptr<int>> {
            co_await yield();
            if (k == 5) throw std::runtime_error("not this one");
            co_return std::make_shared<int>(k);
          });
          EXPECT_EQ(*value, key);
          if (n % 7 == 0) c.erase(key);
          co_await yield();
        }
      };
      for (std::size_t i = 0; i < rounds(500); ++i) {
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 6; ++n) {
            s.spawn([&, n]() -> task<> { static_cast<void>(co_await attempt(ask(n))); });
          }
          for (std::size_t n = 0; n < i % 8; ++n) co_await yield();
          s.cancel();
        });
        EXPECT_LE(c.size(), 4U);
      }
      EXPECT_EQ(*co_await c.get_or_load(9, []() -> task<std::shared_ptr<int>> { co_return std::make_shared<int>(9); }),
                9);
    }());
  }
}

/// A slow table behind a cache.
struct table {
  std::map<std::string, std::string> rows = {};
  int reads = 0;
  int writes = 0;

  task<std::string> read(const std::string& key) {
    ++reads;
    co_await sleep(5ms);
    if (!rows.contains(key)) throw std::runtime_error("no row " + key);
    co_return rows[key];
  }
  task<> write(const std::string& key, const std::string& value) {
    ++writes;
    co_await sleep(5ms);
    rows[key] = value;
  }
};

TEST(C3_SYS_71, cache_aside_loads_once_is_invalidated_versioned_and_warmed) {
  in_virtual_time([]() -> task<> {
    table rows{{{"v1:a", "1"}, {"v1:b", "2"}}};
    cache<std::string, std::string> c({.ttl = 5min});
    auto load = [&](const std::string& key) { return rows.read(key); };
    for (const auto& [key, value] : rows.rows) c.put(key, value);  // warmed
    EXPECT_EQ(co_await c.get_or_load("v1:a", load), "1");
    EXPECT_EQ(rows.reads, 0);
    rows.rows["v1:a"] = "one";
    c.erase("v1:a");
    std::vector<task<std::string>> crowd;
    crowd.reserve(20);
    for (int i = 0; i < 20; ++i) crowd.push_back(c.get_or_load("v1:a", load));
    for (auto& each : co_await all(std::move(crowd))) EXPECT_EQ(each, "one");
    EXPECT_EQ(rows.reads, 1);
    rows.rows["v2:a"] = "eins";  // another version is another key
    EXPECT_EQ(co_await c.get_or_load("v2:a", load), "eins");
    EXPECT_EQ(co_await c.get_or_load("v1:b", load), "2");
    co_await sleep(5min);
    EXPECT_EQ(co_await c.get_or_load("v1:b", load), "2");
    EXPECT_EQ(rows.reads, 3);
    EXPECT_EQ((co_await attempt(c.get_or_load("v1:c", load))).failure().message(), "no row v1:c");
  }());
}

// Write-through writes the table first, so that the cache never knows more than it. Write-back writes what leaves the
// cache, and at shutdown what is left.
TEST(C3_SYS_71, write_through_and_write_back_lose_nothing) {
  in_virtual_time([]() -> task<> {
    table through;
    cache<std::string, std::string> front;
    co_await through.write("a", "1");
    front.put("a", "1");
    EXPECT_EQ(front.get("a"), through.rows["a"]);

    table back;
    co_await with_scope([&](scope& s) -> task<> {
      auto dirty = std::make_shared<std::map<std::string, std::string>>();
      auto kept = std::make_shared<cache<std::string, std::string>>(cache_options<std::string, std::string>{
          .max_entries = 3, .on_evict = [dirty](const std::string& key, const std::string& value, eviction why) {
            if (why == eviction::capacity || why == eviction::cleared) (*dirty)[key] = value;
          }});
      auto flush = [](table& to, std::map<std::string, std::string>& from) -> task<> {
        for (auto& [key, value] : std::exchange(from, {})) co_await to.write(key, value);
      };
      s.on_exit([kept, dirty, &back, flush]() -> task<> {
        kept->clear();
        co_await flush(back, *dirty);
      });
      for (int i = 0; i < 5; ++i) {
        kept->put("k" + std::to_string(i), "old");
        kept->put("k" + std::to_string(i), std::to_string(i));
      }
      EXPECT_EQ(back.writes, 0);
      co_await flush(back, *dirty);
      EXPECT_EQ(back.writes, 2);
      s.cancel();  // a shutdown flushes all the same
    });
    EXPECT_EQ(back.writes, 5);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(back.rows["k" + std::to_string(i)], std::to_string(i));
  }());
}

}  // namespace
}  // namespace weir::sync
