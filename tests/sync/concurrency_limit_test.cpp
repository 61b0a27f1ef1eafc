#include <weir/sync/concurrency_limit.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <unistd.h>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using weir::testing::rounds;
using weir::testing::run_with;
using weir::testing::virtual_clock;

void in_virtual_time(task<> main) { runtime(weir::testing::virtual_time()).block_on(std::move(main)); }

/// Counts how many are inside at a time.
struct gauge {
  int now = 0;
  int most = 0;
  void enter() { most = std::max(most, ++now); }
  void leave() { --now; }
};

// C2-FR-01, 02 and C2-ORD-10: a sliding window over a list, results in its order.
TEST(MapLimit, keeps_a_window_going_and_gives_results_in_the_order_of_the_range) {
  in_virtual_time([]() -> task<> {
    std::vector<int> times{50, 10, 30, 20, 10};
    std::vector<int> begun;
    gauge inside;
    auto started = weir::testing::virtual_clock::elapsed();
    auto results = co_await map_limit(times, 2, [&](int& each) -> task<std::string> {
      begun.push_back(each);
      inside.enter();
      co_await sleep(std::chrono::milliseconds(each));
      inside.leave();
      co_return std::to_string(each);
    });
    EXPECT_EQ(results, (std::vector<std::string>{"50", "10", "30", "20", "10"}));
    EXPECT_EQ(begun, times);
    EXPECT_EQ(inside.most, 2);
    // 50 beside 10, 30, then 20 and 10: no wave waits for its slowest.
    EXPECT_EQ(weir::testing::virtual_clock::elapsed() - started, 60ms);
  }());
}

// C4-IO-23 and C4-ORD-14.
TEST(MapWaves, begins_no_item_before_all_of_the_wave_before_have_ended) {
  in_virtual_time([]() -> task<> {
    std::string order;
    auto started = weir::testing::virtual_clock::elapsed();
    auto results = co_await map_waves(std::vector{30, 10, 20, 10, 10}, 2, [&order](int each) -> task<int> {
      order += '(';
      co_await sleep(std::chrono::milliseconds(each));
      order += ')';
      co_return each * 2;
    });
    EXPECT_EQ(results, (std::vector{60, 20, 40, 20, 20}));
    EXPECT_EQ(order, "(())(())()");
    EXPECT_EQ(weir::testing::virtual_clock::elapsed() - started, 60ms);
  }());
}

TEST(MapLimit, of_nothing_completes_at_once_and_a_limit_of_0_is_refused) {
  run_with(1, []() -> task<> {
    std::vector<int> none;
    auto same = [](int x) -> task<int> { co_return x; };
    EXPECT_TRUE((co_await map_limit(none, 3, same)).empty());
    EXPECT_TRUE((co_await map_waves_settled(none, 3, same)).empty());
    for (auto refused : {0, 1, 2, 3}) {
      try {
        if (refused == 0) static_cast<void>(map_limit(none, 0, same));
        if (refused == 1) static_cast<void>(map_limit_settled(none, 0, same));
        if (refused == 2) static_cast<void>(map_waves(none, 0, same));
        if (refused == 3) static_cast<void>(map_waves_settled(none, 0, same));
        ADD_FAILURE();
      } catch (const error& e) {
        EXPECT_EQ(e.code_name(), "ERR_OUT_OF_RANGE");
      }
    }
  }());
}

TEST(MapLimit, cancels_what_runs_at_the_first_failure_and_never_begins_the_rest) {
  in_virtual_time([]() -> task<> {
    int begun = 0;
    int ended = 0;
    auto outcome = co_await attempt(map_limit(std::views::iota(0, 100), 3, [&](int i) -> task<> {
      ++begun;
      if (i == 4) throw std::runtime_error("4 is bad");
      co_await sleep(10ms);
      ++ended;
    }));
    EXPECT_EQ(outcome.failure().message(), "4 is bad");
    EXPECT_EQ(begun, 5);
    EXPECT_EQ(ended, 2);  // 0 and 1; then 4 failed, before 2 and 3 had slept enough
  }());
}

// C2-FR-03: one bad file does not fail the batch, its place holds the error. A function that throws before it
// returns a task is no exception (C4-AS-18).
TEST(MapLimitSettled, puts_a_failure_in_its_own_place) {
  run_with(1, []() -> task<> {
    std::vector<std::string> names{"a", "nope", "b", "sync", "c"};
    auto read = [](const std::string& name) -> task<std::string> {
      if (name == "sync") throw std::logic_error("at once");
      return [](const std::string& path) -> task<std::string> {
        co_await yield();
        if (path == "nope") throw os_error(ENOENT, "open", path);
        co_return "text of " + path;
      }(name);
    };
    auto results = co_await map_limit_settled(names, 2, read);
    EXPECT_EQ(results.size(), 5U);
    EXPECT_EQ(*results[0], "text of a");
    EXPECT_EQ(results[1].failure().message(), "ENOENT: no such file or directory, open 'nope'");
    EXPECT_EQ(*results[2], "text of b");
    EXPECT_EQ(results[3].failure().message(), "at once");
    EXPECT_EQ(*results[4], "text of c");
    auto waves = co_await map_waves_settled(names, 2, read);
    EXPECT_EQ(waves[1].failure().code_name(), "ENOENT");
    EXPECT_EQ(*waves[4], "text of c");
  }());
}

TEST(MapLimit, keeps_what_a_range_makes_on_the_way_and_takes_move_only_results) {
  run_with(1, []() -> task<> {
    auto texts = std::views::iota(1, 6) | std::views::transform([](int i) { return std::string(40, char('a' + i)); });
    auto results = co_await map_limit(texts, 2, [](std::string text) -> task<std::unique_ptr<std::string>> {
      co_await yield();
      co_return std::make_unique<std::string>(std::move(text));
    });
    EXPECT_EQ(results.size(), 5U);
    EXPECT_EQ(*results[4], std::string(40, 'f'));
  }());
}

TEST(MapLimit, of_a_cancelled_task_ends_with_everything_it_began) {
  for (unsigned workers : {1U, 4U}) {
    for (bool settled : {false, true}) {
      run_with(workers, [](bool keep) -> task<> {
        std::atomic<int> alive{0};
        auto work = [&](int) -> task<> {
          struct leave {
            std::atomic<int>& count;
            ~leave() { count.fetch_sub(1); }
          } here{alive};
          alive.fetch_add(1);
          for (;;) co_await yield();
        };
        for (std::size_t i = 0; i < rounds(300); ++i) {
          auto stop = with_scope([&](scope& s) -> task<> {
            s.spawn([&]() -> task<> {
              if (keep) {
                static_cast<void>(co_await map_limit_settled(std::views::iota(0, 50), 4, work));
              } else {
                co_await map_limit(std::views::iota(0, 50), 4, work);
              }
              ADD_FAILURE() << "it went on";
            });
            for (std::size_t n = 0; n < i % 5; ++n) co_await yield();
            s.cancel();
          });
          co_await std::move(stop);
          EXPECT_EQ(alive.load(), 0);
        }
      }(settled));
    }
  }
}

// C4-AS-13: at most ten in flight, and memory that does not grow with the number of records.
TEST(MapLimit, goes_through_a_million_records_with_the_frames_of_ten) {
  run_with(1, []() -> task<> {
    gauge inside;
    int good = 0;
    int bad = 0;
    auto migrate = [&](int record) -> task<> {
      inside.enter();
      if (record % 8 == 0) co_await yield();
      inside.leave();
      ++(record % 3 == 0 ? bad : good);
    };
    co_await map_limit(std::views::iota(0, 1000), 10, migrate);
    auto frames_made = frame_pool_statistics().refills;
    int total = static_cast<int>(rounds(1'000'000, 50));
    co_await map_limit(std::views::iota(1000, total), 10, migrate);
    EXPECT_EQ(frame_pool_statistics().refills, frames_made);
    EXPECT_EQ(inside.most, 10);
    EXPECT_EQ(bad, (total + 2) / 3);
    EXPECT_EQ(good + bad, total);
  }());
}

TEST(MapLimit, runs_in_parallel_from_a_task_that_any_worker_may_run) {
  run_with(4, with_scope([](scope& s) -> task<> {
             co_await s.spawn([]() -> task<> {
               std::atomic<std::size_t> sum{0};
               std::atomic<int> inside{0};
               auto results = co_await map_limit(std::views::iota(std::size_t{0}, rounds(20'000)), 8,
                                                 [&](std::size_t i) -> task<std::size_t> {
                                                   EXPECT_LE(inside.fetch_add(1), 7);
                                                   sum.fetch_add(i);
                                                   if (i % 4 == 0) co_await yield();
                                                   inside.fetch_sub(1);
                                                   co_return i;
                                                 });
               EXPECT_TRUE(std::ranges::is_sorted(results));
               EXPECT_EQ(sum.load(), rounds(20'000) * (rounds(20'000) - 1) / 2);
             });
           }));
}

// C4-AS-18, C4-ORD-12: first in, first started, at most so many, and no place is lost to a function that throws at
// once.
TEST(C4_SYS_08, async_queue_starts_in_order_of_arrival_and_frees_the_place_however_it_ends) {
  in_virtual_time([]() -> task<> {
    concurrency_limit limit(2);
    std::string order;
    gauge inside;
    co_await with_scope([&](scope& s) -> task<> {
      for (char name = 'a'; name < 'g'; ++name) {
        s.spawn_local([&, name]() -> task<> {
          auto outcome = co_await attempt(limit.run([&, name]() -> task<int> {
            if (name == 'c') throw std::logic_error("at once");
            return [](gauge& in, std::string& names, char one) -> task<int> {
              names += one;
              in.enter();
              co_await sleep(5ms);
              in.leave();
              if (one == 'd') throw std::runtime_error("later");
              co_return one;
            }(inside, order, name);
          }));
          EXPECT_EQ(outcome.has_value(), name != 'c' && name != 'd');
        });
      }
      co_await yield();
      EXPECT_EQ(limit.running(), 2U);
      EXPECT_EQ(limit.waiting(), 4U);
    });
    EXPECT_EQ(order, "abdef");
    EXPECT_EQ(inside.most, 2);
    EXPECT_EQ(limit.running(), 0U);
    EXPECT_EQ(limit.waiting(), 0U);
  }());
}

TEST(ConcurrencyLimit, refuses_those_who_find_too_many_waiting) {
  run_with(1, []() -> task<> {
    concurrency_limit limit(1, {.max_waiting = 1});
    co_await with_scope([&](scope& s) -> task<> {
      auto never = [] { return weir::testing::forever(); };
      s.spawn_local([&, never]() -> task<> { co_await limit.run(never); });
      auto waiting = s.spawn_local([&, never]() -> task<> { co_await limit.run(never); });
      co_await yield();
      auto refused = co_await attempt(limit.run(never));
      EXPECT_EQ(refused.failure().code_name(), "ERR_QUEUE_FULL");
      waiting.cancel();
      static_cast<void>(co_await attempt(std::move(waiting)));
      EXPECT_EQ(limit.waiting(), 0U);
      s.cancel();
    });
  }());
  EXPECT_THROW(concurrency_limit(0), error);
}

std::string read_whole(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "r");
  if (file == nullptr) throw os_error(errno, "open", path);
  std::string text(64, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

// Both forms of the file reader, on real files: the window over a list, and a gate before each of many.
TEST(C2_SYS_02, file_reader_with_a_limit_keeps_order_and_puts_a_missing_file_in_its_place) {
  std::vector<std::string> paths;
  for (int i = 0; i < 12; ++i) {
    paths.push_back(::testing::TempDir() + "weir_limit_" + std::to_string(::getpid()) + "_" + std::to_string(i));
    if (i == 5) continue;
    std::FILE* file = std::fopen(paths.back().c_str(), "w");
    std::fputs(("text " + std::to_string(i)).c_str(), file);
    std::fclose(file);
  }
  run_with(1, [](const std::vector<std::string>& names) -> task<> {
    gauge inside;
    auto read = [&](const std::string& path) -> task<std::string> {
      inside.enter();
      auto text = co_await attempt(blocking([&path] { return read_whole(path); }));
      inside.leave();
      co_return std::move(text).value();
    };
    auto check = [&](std::vector<result<std::string>> texts) {
      EXPECT_EQ(inside.most, 3);
      EXPECT_EQ(texts.size(), names.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        if (i == 5) {
          EXPECT_EQ(texts[i].failure().message(), "ENOENT: no such file or directory, open '" + names[i] + "'");
        } else {
          EXPECT_EQ(*texts[i], "text " + std::to_string(i));
        }
      }
      inside = {};
    };
    check(co_await map_limit_settled(names, 3, read));
    concurrency_limit limit(3);
    std::vector<task<std::string>> reads;
    reads.reserve(names.size());
    for (const auto& each : names) {
      reads.push_back([](concurrency_limit& gate, const std::string& path, auto& reader) -> task<std::string> {
        co_return co_await gate.run([&] { return reader(path); });
      }(limit, each, read));
    }
    check(co_await all_settled(std::move(reads)));
  }(paths));
  for (const auto& each : paths) std::remove(each.c_str());
}

/// Counts what became of records, and tells now and then.
struct migration {
  std::size_t cursor = 0;  // records before it need not be looked at again
  std::size_t good = 0, timed_out = 0;
  std::vector<std::size_t> ledger = {};
  std::vector<std::size_t> progress = {};
};

task<> migrate(migration& state, std::size_t total, std::size_t stop_at) {
  auto first = state.cursor;
  co_await map_limit(std::views::iota(first, std::min(total, stop_at)), 10, [&](std::size_t record) -> task<> {
    auto outcome = co_await attempt(timeout(5s, [](std::size_t number) -> task<> {
      if (number % 50 == 7) throw std::runtime_error("bad record");
      co_await sleep(number % 500 == 3 ? 1h : 1ms);
    }(record)));
    ++state.cursor;
    if (outcome) {
      if (++state.good % 100 == 0) state.progress.push_back(state.good);
      co_return;
    }
    if (outcome.failure().is_cancelled()) outcome.failure().rethrow();
    if (outcome.failure().is("ETIMEDOUT")) ++state.timed_out;
    state.ledger.push_back(record);
  });
}

// Counts are exact, those whose time was over counted in; the clock of a record starts with it; stopped half way, it
// goes on where it was.
TEST(C4_SYS_07, data_migrator_counts_every_record_once_and_resumes) {
  in_virtual_time([]() -> task<> {
    migration state;
    co_await migrate(state, 2000, 1000);
    EXPECT_EQ(state.cursor, 1000U);
    co_await migrate(state, 2000, 2000);
    EXPECT_EQ(state.cursor, 2000U);
    EXPECT_EQ(state.timed_out, 4U);
    EXPECT_EQ(state.ledger.size(), 44U);
    EXPECT_EQ(state.good, 1956U);
    EXPECT_EQ(state.progress.size(), 19U);
    EXPECT_EQ(state.progress.back(), 1900U);
    EXPECT_LT(virtual_clock::elapsed(), 30s);
  }());
}

}  // namespace
}  // namespace weir::sync
