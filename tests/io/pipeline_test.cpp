#include <weir/io/pipeline.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::run_with;

generator<int> count_to(int last) {
  counted held;
  for (int i = 1; i <= last; ++i) {
    co_await yield();
    co_yield i;
  }
}

std::vector<int> numbers_to(int last) {
  std::vector<int> all(static_cast<std::size_t>(last));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

template <class A>
task<std::string> failure_of(A operation) {
  auto outcome = co_await attempt(std::move(operation));
  co_return outcome ? "none" : std::string(outcome.failure().message());
}

/// Writes down who closes, and why.
template <class T>
stream_options<T> noted(std::vector<std::string>& log, std::string name) {
  return {.on_close = [&log, name = std::move(name)](std::exception_ptr why) {
    log.push_back(name + (why ? ": " + failure(why).message() : " closed"));
  }};
}

TEST(Pipeline, moves_everything_through_stages_of_every_kind) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      std::vector<std::string> seen;
      int taps = 0;
      co_await pipeline(
          count_to(8),                   // a generator
          [](int n) { return n * 10; },  // each chunk
          [](int n) -> task<int> {
            co_await yield();
            co_return n + 1;
          },                                                                                   // each, with awaits
          [](int n) { return n % 20 == 1 ? std::optional<long>() : std::optional<long>(n); },  // drops some
          [&](const long&) { ++taps; },                                                        // looks on
          [](const long&) -> task<> { co_await yield(); },                                     // and waits
          [](readable<long> in) -> generator<std::string> {                                    // the stream
            while (auto n = co_await in.next()) co_yield std::to_string(*n);
          },
          transform<std::string>([](std::string text, output<std::string>& out) -> task<> {  // a fiber of its own
            co_await out.push(text);
            co_await out.push("-");
          }),
          pass_through<std::string>(), [&](std::string text) { seen.push_back(std::move(text)); });
      EXPECT_EQ(seen, (std::vector<std::string>{"11", "-", "31", "-", "51", "-", "71", "-"}));
      EXPECT_EQ(taps, 4);
    }());
    EXPECT_EQ(counted::alive(), 0);
  }
}

generator<int> negated(readable<int> in) {
  while (auto n = co_await in.next()) co_yield -*n;
}
int doubled(int n) { return 2 * n; }
task<int> sum_of(readable<int> in) {
  int sum = 0;
  while (auto n = co_await in.next()) sum += *n;
  co_return sum;
}

TEST(Pipeline, takes_plain_functions_as_stages) {
  EXPECT_EQ(run_with(1, pipeline(count_to(4), negated, doubled, sum_of)), -20);
}

// C2-ORD-20, C2-ORD-21, C3-ORD-35: the source ends before the sink finishes, and both before the pipeline completes.
TEST(Pipeline, C2_ORD_21_completes_after_its_sink_has_finished) {
  run_with(1, []() -> task<> {
    struct slow_ending {
      std::vector<std::string>* log;
      void write(int) { log->emplace_back("data"); }
      task<> end() {
        co_await yield();
        log->emplace_back("sink finish");
      }
    };
    std::vector<std::string> log;
    co_await pipeline(readable(count_to(2), noted<int>(log, "source")),
                      writable<int>(slow_ending{&log}, noted<int>(log, "sink")));
    log.emplace_back("pipeline");
    EXPECT_EQ(log,
              (std::vector<std::string>{"data", "data", "source closed", "sink finish", "sink closed", "pipeline"}));
  }());
}

TEST(Pipeline, completes_with_what_its_last_function_makes_of_the_stream) {
  run_with(1, []() -> task<> {
    auto sum = co_await pipeline(
        count_to(100), [](int n) { return n * 2; },
        [](readable<int> in) -> task<long> {
          long all = 0;
          while (auto n = co_await in.next()) all += *n;
          co_return all;
        });
    EXPECT_EQ(sum, 10100);
    auto text = co_await pipeline(count_to(3), [](readable<int> in) -> task<std::unique_ptr<int>> {
      co_return std::make_unique<int>(*co_await in.next());
    });
    EXPECT_EQ(*text, 1);
  }());
  EXPECT_EQ(counted::alive(), 0);
}

// C3-ORD-28: the stage that failed first, then the others from the source to the sink, the rejection last.
TEST(Pipeline, C3_ORD_28_closes_the_stage_that_failed_first_and_then_the_others_in_order) {
  run_with(1, []() -> task<> {
    for (const std::string bad : {"source", "first", "second", "sink"}) {
      std::vector<std::string> log;
      auto fails = [](int n) -> int {
        if (n == 2) throw std::runtime_error("no");
        return n;
      };
      auto stage = [&](const std::string& name) {
        bool failing = name == bad;
        return transform<int>(
            [failing, fails](int n, output<int>& out) -> task<> { co_await out.push(failing ? fails(n) : n); },
            {.input = noted<int>(log, name)});
      };
      readable from(
          [](bool failing) -> generator<int> {
            for (int i = 1;; ++i) {
              co_await yield();
              if (failing && i == 2) throw std::runtime_error("no");
              co_yield i;
            }
          }(bad == "source"),
          noted<int>(log, "source"));
      writable<int> to(
          [&](int n) {
            if (bad == "sink") fails(n);
          },
          noted<int>(log, "sink"));
      log.push_back(co_await failure_of(pipeline(from, stage("first"), stage("second"), to)));
      std::vector<std::string> expected = {bad + ": no"};
      for (const std::string name : {"source", "first", "second", "sink"}) {
        if (name != bad) expected.push_back(name + ": no");
      }
      expected.emplace_back("no");
      EXPECT_EQ(log, expected) << bad;
    }
  }());
}

TEST(Pipeline, C3_ORD_28_closes_pulled_stages_in_that_order_too) {
  run_with(1, []() -> task<> {
    std::vector<std::string> log;
    readable from(count_to(9), noted<int>(log, "source"));
    auto failing = [&](readable<int> in) {
      return readable<int>(
          [](readable<int> upstream) -> generator<int> {
            while (auto n = co_await upstream.next()) {
              if (*n == 3) throw std::runtime_error("Invalid data encountered");
              co_yield *n;
            }
          }(std::move(in)),
          noted<int>(log, "transform"));
    };
    auto after = [&](readable<int> in) { return readable<int>(std::move(in), noted<int>(log, "after")); };
    writable<int> to([](int) {}, noted<int>(log, "sink"));
    log.push_back(co_await failure_of(pipeline(from, failing, after, to)));
    EXPECT_EQ(log, (std::vector<std::string>{"transform: Invalid data encountered", "source: Invalid data encountered",
                                             "after: Invalid data encountered", "sink: Invalid data encountered",
                                             "Invalid data encountered"}));
  }());
  EXPECT_EQ(counted::alive(), 0);
}

// C3-ORD-27, C3-SYS-23: who listens to the stage hears it first, then the pipeline fails with the same.
TEST(Pipeline, C3_SYS_23_tells_the_stages_hook_before_it_fails) {
  run_with(1, []() -> task<> {
    std::vector<std::string> log;
    auto picky = transform<std::string>(
        [](std::string line, output<std::string>& out) -> task<> {
          if (line.find("error") != std::string::npos) throw std::runtime_error("Invalid data encountered");
          co_await out.push(std::move(line));
        },
        {.input = {.on_close = [&](std::exception_ptr why) {
           log.push_back("Transform error: " + failure(why).message());
         }}});
    std::string file;
    auto outcome = co_await attempt(pipeline(
        [lines = std::vector<std::string>{"a", "b", "error", "c"},
         at = 0U]() mutable -> task<std::optional<std::string>> {
          co_await yield();
          if (at == lines.size()) co_return std::nullopt;
          co_return lines[at++];
        },
        std::move(picky), [&](std::string line) { file += line; }));
    log.push_back("Pipeline failed: " + outcome.failure().message());
    EXPECT_EQ(log, (std::vector<std::string>{"Transform error: Invalid data encountered",
                                             "Pipeline failed: Invalid data encountered"}));
    EXPECT_TRUE(std::string("ab").starts_with(file));
  }());
}

TEST(Pipeline, fails_when_a_stage_is_destroyed_before_its_time) {
  run_with(1, with_scope([](scope& s) -> task<> {
             for (bool source_side : {true, false}) {
               for (bool with_reason : {true, false}) {
                 auto [stream, queue] = make_pushed_readable<int>();
                 writable<int> to([](int) {});
                 auto& from = stream;
                 auto running = s.spawn_local([&]() -> task<std::string> {
                   auto outcome = co_await attempt(pipeline(from, [](int n) { return n; }, pass_through<int>(), to));
                   co_return std::string(outcome.failure().code_name());
                 });
                 queue.push_nowait(1);
                 for (int i = 0; i < 5; ++i) co_await yield();
                 auto why = with_reason ? failure(error(errc::err_closed)).exception() : nullptr;
                 if (source_side) {
                   from.destroy(why);
                 } else {
                   to.destroy(why);
                 }
                 EXPECT_EQ(co_await std::move(running), with_reason ? "ERR_CLOSED" : "ERR_STREAM_PREMATURE_CLOSE");
                 EXPECT_TRUE(from.closed());
                 EXPECT_TRUE(to.closed());
               }
             }
           }));
}

TEST(Pipeline, refuses_a_sink_that_is_closed) {
  run_with(1, []() -> task<> {
    writable<int> to([](int) {});
    co_await to.end();
    readable from(count_to(3));
    auto outcome = co_await attempt(pipeline(from, to));
    EXPECT_EQ(outcome.failure().code_name(), "ERR_STREAM_UNABLE_TO_PIPE");
    EXPECT_TRUE(from.closed());
  }());
}

// Breaking off early is no failure (Node: `break` in for await).
TEST(Pipeline, lets_its_last_function_stop_reading) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      auto two = co_await pipeline(
          count_to(1'000'000), [](int n) { return n; }, pass_through<int>(),
          [](readable<int> in) -> generator<int> {
            auto mine = std::move(in);
            for (int i = 0; i < 2; ++i) co_yield *co_await mine.next();
          },
          pass_through<int>(),
          [](readable<int> in) -> task<int> {
            int count = 0;
            while (count < 2 && co_await in.next()) ++count;
            co_return count;
          });
      EXPECT_EQ(two, 2);
    }());
    EXPECT_EQ(counted::alive(), 0);
  }
}

TEST(Pipeline, stops_a_source_that_waits_when_nobody_reads_it_any_more) {
  run_with(1, []() -> task<> {
    auto body = []() -> generator<int> {
      counted held;
      co_yield 1;
      co_await weir::testing::forever();
    };
    auto one = co_await pipeline(body(), pass_through<int>(),
                                 [](readable<int> in) -> task<int> { co_return *co_await in.next(); });
    EXPECT_EQ(one, 1);
    EXPECT_EQ(counted::alive(), 0);
  }());
}

TEST(Pipeline, ends_a_waiting_source_when_its_sink_fails) {
  run_with(1, with_scope([](scope& s) -> task<> {
             writable<int> to([](int) {});
             auto running = s.spawn_local([&]() -> task<std::string> {
               auto body = []() -> generator<int> {
                 counted held;
                 co_await weir::testing::forever();
                 co_yield 1;
               };
               co_return co_await failure_of(pipeline(body(), to));
             });
             co_await yield();
             to.destroy(error(errc::err_closed, "sink gone"));
             EXPECT_EQ(co_await std::move(running), "sink gone");
             EXPECT_EQ(counted::alive(), 0);
           }));
}

// C1-ST-45
TEST(Pipeline, leaves_its_sink_open_if_it_is_told_to) {
  run_with(1, []() -> task<> {
    std::vector<int> seen;
    writable<int> to([&](int n) { seen.push_back(n); });
    co_await pipeline(pipeline_options{.end = false}, count_to(2), to);
    EXPECT_TRUE(to.can_write());
    co_await pipeline({.end = false}, count_to(2), [](int n) { return n + 10; }, to);
    co_await to.end(0);
    EXPECT_EQ(seen, (std::vector{1, 2, 11, 12, 0}));
    writable<int> other([&](int) { throw error(errc::err_closed); });
    static_cast<void>(co_await attempt(pipeline({.end = false}, count_to(2), other)));
    EXPECT_TRUE(other.destroyed());
  }());
}

TEST(Pipeline, attaches_the_failures_that_follow_the_first) {
  run_with(1, []() -> task<> {
    auto stubborn = [](readable<int> in) -> generator<int> {
      try {
        while (auto n = co_await in.next()) co_yield *n;
      } catch (const error&) {
        throw std::runtime_error("cleanup failed too");
      }
    };
    auto failing = []() -> generator<int> {
      co_yield 1;
      throw error(errc::err_closed);
    };
    try {
      co_await pipeline(failing(), stubborn, [](int) {});
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_TRUE(e.is("ERR_CLOSED"));
      EXPECT_EQ(e.attached().size(), 1U);
      if (!e.attached().empty()) EXPECT_EQ(failure(e.attached().front()).message(), "cleanup failed too");
    }
  }());
}

TEST(Pipeline, fails_with_the_reason_of_its_signal) {
  run_with(1, with_scope([](scope& s) -> task<> {
             abort_controller stop;
             auto running = s.spawn_local([&]() -> task<std::string> {
               auto body = []() -> generator<int> {
                 counted held;
                 co_await weir::testing::forever();
                 co_yield 1;
               };
               co_return co_await failure_of(pipeline({.signal = stop.signal()}, body(), [](int) {}));
             });
             co_await yield();
             EXPECT_EQ(counted::alive(), 1);
             stop.abort(std::make_exception_ptr(std::runtime_error("enough")));
             EXPECT_EQ(co_await std::move(running), "enough");
             EXPECT_EQ(counted::alive(), 0);
           }));
}

// C1-BP-11, C1-BP-23: the slowest stage governs all before it.
TEST(Pipeline, holds_no_more_than_its_marks_when_one_stage_is_slow) {
  run_with(1, []() -> task<> {
    int made = 0, taken = 0, most = 0;
    readable from([&]() -> task<std::optional<int>> {
      if (made == 500) co_return std::nullopt;
      co_return ++made;
    });
    co_await pipeline(
        std::move(from), pass_through<int>({.high_water_mark = 4}), [](int n) { return n; },
        pass_through<int>({.high_water_mark = 4}),
        [&](int) -> task<> {
          most = std::max(most, made - taken);
          ++taken;
          for (int i = 0; i < 3; ++i) co_await yield();
        });
    EXPECT_EQ(taken, 500);
    EXPECT_LE(most, 4 + 4 + 4);
  }());
}

TEST(Pipeline, of_pulled_stages_never_holds_more_than_one_chunk) {
  run_with(1, []() -> task<> {
    int made = 0, taken = 0, most = 0;
    co_await pipeline(
        [&]() -> task<std::optional<int>> {
          if (made == 500) co_return std::nullopt;
          co_return ++made;
        },
        [](int n) { return n; },
        [](readable<int> in) -> generator<int> {
          while (auto n = co_await in.next()) co_yield *n;
        },
        [&](int) -> task<> {
          most = std::max(most, made - taken);
          ++taken;
          co_await yield();
        });
    EXPECT_EQ(most, 1);
  }());
}

TEST(Pipeline, may_be_cancelled_anywhere_and_leaves_nothing_behind) {
  auto make = [](bool affine) {
    return [affine]() -> task<> {
      auto run = []() -> task<> {
        std::vector<int> seen;
        co_await pipeline(
            count_to(4),
            [held = counted()](int n) -> task<int> {
              co_await yield();
              co_return n;
            },
            transform<int>([held = counted()](int n, output<int>& out) -> task<> {
              co_await out.push(n);
              co_await yield();
            }),
            [held = counted()](readable<int> in) -> generator<int> {
              counted inner;
              while (auto n = co_await in.next()) co_yield *n;
            },
            [&, held = counted()](int n) -> task<> {
              co_await yield();
              seen.push_back(n);
            });
        EXPECT_EQ(seen, numbers_to(4));
      };
      if (affine) {
        co_await run();
      } else {
        co_await with_scope([&](scope& s) -> task<> { co_await s.spawn(run); });
      }
    };
  };
  for (bool affine : {true, false}) {
    auto cancels = weir::testing::cancel_at_every_suspension(make(affine), [](const result<>& outcome) {
      EXPECT_EQ(counted::alive(), 0);
      if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
    });
    EXPECT_GT(cancels, affine ? 5U : 0U);
  }
}

TEST(Pipeline, fails_at_whichever_operation_a_stage_fails_and_releases_all) {
  run_with(2, []() -> task<> {
    for (int stage = 0; stage < 4; ++stage) {
      for (int n = 1; n <= 6; ++n) {
        auto fails = [n](int number) {
          if (number == n) throw error(errc::err_closed, "stage failed");
          return number;
        };
        int closes = 0;
        auto once = [&](std::exception_ptr) { ++closes; };
        auto source_body = [](int at) -> generator<int> {
          counted held;
          for (int i = 1; i <= 5; ++i) {
            if (i == at) throw error(errc::err_closed, "stage failed");
            co_yield i;
          }
          if (at == 6) throw error(errc::err_closed, "stage failed");
        };
        auto running = pipeline(
            readable(source_body(stage == 0 ? n : 0), {.on_close = once}),
            [fails, stage, held = counted()](int x) { return stage == 1 ? fails(x) : x; },
            transform<int>([fails, stage, held = counted()](
                               int x, output<int>& out) -> task<> { co_await out.push(stage == 2 ? fails(x) : x); },
                           {.input = {.on_close = once}, .output = {.on_close = once}}),
            writable<int>([fails, stage, held = counted()](int x) { static_cast<void>(stage == 3 ? fails(x) : x); },
                          {.on_close = once}));
        auto code = co_await failure_of(std::move(running));
        EXPECT_EQ(code, n == 6 && stage != 0 ? "none" : "stage failed") << stage << " at " << n;
        EXPECT_EQ(closes, 4);
        EXPECT_EQ(counted::alive(), 0);
      }
    }
  }());
}

TEST(Pipeline, that_never_runs_releases_its_stages) {
  int closes = 0;
  {
    auto never = pipeline(
        readable(count_to(3), {.on_close = [&](std::exception_ptr) { ++closes; }}),
        [held = counted()](int n) { return n; }, [](int) {});
    EXPECT_EQ(counted::alive(), 1);
  }
  EXPECT_EQ(closes, 1);
  EXPECT_EQ(counted::alive(), 0);
}

// ---- compose

TEST(Compose, makes_one_duplex_of_several_stages) {
  run_with(1, []() -> task<> {
    auto both = compose<int>([](int n) { return n + 1; },
                             [](readable<int> in) -> generator<std::string> {
                               while (auto n = co_await in.next()) co_yield std::to_string(*n);
                             });
    static_assert(std::is_same_v<decltype(both), duplex<int, std::string>>);
    co_await both.write(1);
    co_await both.write(2);
    EXPECT_EQ(co_await both.next(), "2");
    co_await both.end();
    EXPECT_EQ(co_await both.next(), "3");
    EXPECT_EQ(co_await both.next(), std::nullopt);
  }());
}

TEST(Compose, runs_duplexes_within_a_scope_and_works_as_a_stage) {
  run_with(2, []() -> task<> {
    std::vector<int> seen;
    co_await with_scope([&](scope& s) -> task<> {
      auto stages = compose<int>(
          s, transform<int>([](int n, output<int>& out) -> task<> { co_await out.push(n * 2); }),
          [](int n) { return n + 1; }, pass_through<int>());
      co_await pipeline(count_to(3), std::move(stages), [&](int n) { seen.push_back(n); });
    });
    EXPECT_EQ(seen, (std::vector{3, 5, 7}));
  }());
}

TEST(Compose, fails_at_both_ends_when_a_stage_fails) {
  run_with(1, []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      auto stages = compose<int>(s, pass_through<int>(), [](int) -> int { throw error(errc::err_closed, "stage"); });
      co_await stages.write(1);
      EXPECT_EQ(co_await failure_of(stages.next()), "stage");
      for (int i = 0; i < 5; ++i) co_await yield();
      EXPECT_NE(co_await failure_of([](duplex<int>& to) -> task<> {
                  for (int i = 0; i < 100; ++i) co_await to.write(2);
                }(stages)),
                "none");
    });
  }());
}

// ---- pipe

// C0-STR-02, C2-SM-08: ends the sink, forwards no failure and destroys nothing.
TEST(Pipe, ends_its_sink_and_destroys_nothing_on_failure) {
  run_with(1, []() -> task<> {
    std::vector<int> seen;
    readable from(count_to(3));
    writable<int> to([&](int n) { seen.push_back(n); });
    co_await pipe(from, to);
    EXPECT_EQ(seen, numbers_to(3));
    EXPECT_TRUE(to.finished());
    auto failing = []() -> generator<int> {
      co_yield 1;
      throw error(errc::err_closed, "source failed");
    };
    readable broken(failing());
    writable<int> open([&](int) {});
    EXPECT_EQ(co_await failure_of(pipe(broken, open)), "source failed");
    EXPECT_TRUE(open.can_write());
    readable good(count_to(3));
    writable<int> bad([](int) { throw error(errc::err_closed, "sink failed"); });
    EXPECT_EQ(co_await failure_of(pipe(good, bad)), "sink failed");
    EXPECT_EQ(co_await good.next(), 2);
    EXPECT_EQ(co_await failure_of(pipe(good, bad)), "Cannot pipe to a closed or destroyed stream");
  }());
}

// Node's unpipe: what was on its way is not lost, and both ends can be used further.
TEST(Pipe, loses_nothing_when_it_is_cancelled) {
  std::vector<int> seen;
  std::shared_ptr<pushed_readable<int>> from;
  std::shared_ptr<pass_through<int>> to;
  auto cancels = weir::testing::cancel_at_every_suspension(
      [&]() -> task<> {
        seen.clear();
        from = std::make_shared<pushed_readable<int>>(make_pushed_readable<int>());
        to = std::make_shared<pass_through<int>>(stream_options<int>{.high_water_mark = 1});
        for (int i = 1; i <= 6; ++i) from->queue.push_nowait(i);
        from->queue.end();
        return [](readable<int>& source, pass_through<int>& sink, std::vector<int>& seen) -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            s.spawn_local([&]() -> task<> {
              for (int i = 0; i < 6; ++i) {
                co_await yield();
                co_await yield();
                if (auto n = co_await sink.next()) seen.push_back(*n);
              }
            });
            co_await pipe(source, sink.writable_side());
          });
        }(from->stream, *to, seen);
      },
      [&](const result<>&) {
        auto all = seen;
        for (std::optional<int> n; to->readable_side().length() != 0; n.reset()) {
          static_cast<void>(to->readable_side().state()->take(n));
          all.push_back(*n);
        }
        for (std::optional<int> n; from->stream.length() != 0; n.reset()) {
          static_cast<void>(from->stream.state()->take(n));
          all.push_back(*n);
        }
        EXPECT_EQ(all, numbers_to(6));
      });
  EXPECT_GT(cancels, 5U);
}

// ---- whole systems

// C2-SYS-07; the original gives 0 items, because its filter was handed bytes.
TEST(Pipeline, C2_SYS_07_collects_exactly_what_the_filter_lets_through) {
  run_with(1, []() -> task<> {
    struct item {
      int index;
      double value;
    };
    auto random = [](int max) -> generator<item> {
      unsigned state = 12345;
      for (int i = 0; i < max; ++i) {
        co_await yield();
        state = state * 1103515245U + 12345U;
        co_yield item{i, static_cast<double>(state >> 16) / 65536.0};
      }
    };
    std::vector<item> expected;
    auto all = random(1000);
    while (auto each = co_await all.next()) {
      if (each->value > 0.5) expected.push_back(*each);
    }
    std::vector<item> collected;
    int produced = 0, ahead = 0;
    co_await pipeline(
        random(1000),
        [&](const item&) {
          ++produced;
          ahead = std::max(ahead, produced);
        },
        [](item i) { return i.value > 0.5 ? std::optional(i) : std::nullopt; },
        [&](item i) -> task<> {
          co_await yield();
          collected.push_back(i);
        });
    EXPECT_EQ(produced, 1000);
    EXPECT_FALSE(collected.empty());
    EXPECT_TRUE(std::ranges::equal(collected, expected, {}, &item::index, &item::index));
    for (int max : {0, 1}) {  // `max || 100` made 0 mean 100
      int count = 0;
      co_await pipeline(random(max), [&](item) { ++count; });
      EXPECT_EQ(count, max);
    }
  }());
}

// C0-SC-37: counter source, upper-case transform, sink with a final.
TEST(Pipeline, C0_SC_37_runs_the_basic_set_with_the_final_before_the_end) {
  run_with(1, []() -> task<> {
    struct logger {
      std::string* out;
      void write(std::string text) { *out += text + ";"; }
      task<> end() {
        co_await yield();
        *out += "final";
      }
    };
    std::string out;
    co_await pipeline(
        [n = 0]() mutable -> task<std::optional<std::string>> {
          if (++n > 3) co_return std::nullopt;
          co_return "line " + std::to_string(n);
        },
        [](std::string text) {
          std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::toupper(c); });
          return text;
        },
        logger{&out});
    EXPECT_EQ(out, "LINE 1;LINE 2;LINE 3;final");
  }());
}

// C3-SYS-18: byte-exact copy and a trailer, with a slow sink and little memory.
TEST(Pipeline, C3_SYS_18_copies_with_a_trailer_in_bounded_memory) {
  run_with(1, []() -> task<> {
    auto bytes = buffer::alloc(300'000);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes.mutable_bytes()[i] = static_cast<std::byte>(i * 7);
    std::string copy;
    std::size_t most = 0;
    pass_through<buffer> between({.high_water_mark = 16384});
    auto& fill = between.readable_side();
    co_await pipeline(
        [&, at = std::ptrdiff_t{0}](std::size_t size) mutable -> task<std::optional<buffer>> {
          if (at == static_cast<std::ptrdiff_t>(bytes.size())) co_return std::nullopt;
          auto chunk = bytes.slice(at, at + static_cast<std::ptrdiff_t>(size));
          at += static_cast<std::ptrdiff_t>(chunk.size());
          co_return chunk;
        },
        [](readable<buffer> in) -> generator<buffer> {
          while (auto chunk = co_await in.next()) co_yield std::move(*chunk);
          co_yield buffer::from("\n--- End of file ---\n");
        },
        between,
        [&](buffer chunk) -> task<> {
          most = std::max(most, fill.length());
          co_await yield();
          copy += chunk.text();
        });
    EXPECT_EQ(copy.size(), 300'021U);
    EXPECT_TRUE(copy.starts_with(bytes.text()));
    EXPECT_TRUE(copy.ends_with("\n--- End of file ---\n"));
    EXPECT_LE(most, 16384U + 65536U);
  }());
}

}  // namespace
}  // namespace weir::io
