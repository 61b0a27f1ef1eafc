#include <weir/core/inspect.hpp>
#include <weir/core/runtime.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <unistd.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using ::testing::ContainsRegex;
using testing::forever;
using ::testing::HasSubstr;
using testing::hold_until;
using testing::rounds;
using testing::run_with;
using testing::with_workers;

task<std::string> innermost() { co_return to_string(co_await async_backtrace()); }
task<std::string> middle() { co_return co_await innermost(); }
task<std::string> outermost() { co_return co_await middle(); }

TEST(AsyncBacktrace, names_functions_and_lines_from_the_inside_out) {
  auto text = run_with(1, outermost());
  auto inner = text.find("innermost");
  auto mid = text.find("middle");
  auto outer = text.find("outermost");
  EXPECT_NE(inner, std::string::npos) << text;
  EXPECT_LT(inner, mid) << text;
  EXPECT_LT(mid, outer) << text;
  EXPECT_THAT(text, HasSubstr("innermost() (inspect_test.cpp:34)"));
  EXPECT_THAT(text, HasSubstr("outermost() (inspect_test.cpp:36)"));
}

TEST(AsyncBacktrace, crosses_scopes_and_combinators) {
  auto main = []() -> task<std::string> {
    std::string text;
    co_await with_scope([&](scope& s) -> task<> {
      auto child = s.spawn_local([]() -> task<std::string> {
        auto values = co_await all(outermost(), yield());
        co_return std::get<0>(values);
      });
      text = co_await timeout(1h, shield(std::move(child)));
    });
    co_return text;
  };
  auto text = run_with(1, main());
  for (const char* name : {"innermost", "outermost", "with_scope", "operator()", "run_plain"}) {
    EXPECT_THAT(text, HasSubstr(name));
  }
}

TEST(AsyncBacktrace, is_cut_where_it_gets_long) {
  struct deep {
    static task<std::size_t> down(int n) {
      if (n == 0) co_return (co_await async_backtrace()).size();
      co_return co_await down(n - 1);
    }
  };
  EXPECT_EQ(run_with(1, deep::down(100'000)), 64U);
}

// The dump of a runtime in which `fill` has started its children.
template <class F>
std::string dump_with(unsigned workers, F fill) {
  std::string text;
  run_with(workers, with_scope([&](scope& s) -> task<> {
             fill(s);
             for (int i = 0; i < 3; ++i) co_await yield();
             text = task_dump();
             s.cancel();
           }));
  return text;
}

TEST(TaskDump, lists_names_waits_and_places_as_a_tree) {
  event never;
  auto text = dump_with(1, [&](scope& s) {
    s.spawn_local({.name = "reader"}, [&]() -> task<> { co_await never.wait(); });
    s.spawn_local({.name = "group"}, [&]() -> task<> {
      co_await with_scope([&](scope& inner) -> task<> {
        inner.spawn_local({.name = "nested"}, []() -> task<> { co_await sleep(1h); });
        co_await never.wait();
      });
    });
    auto joined = s.spawn_local(forever);
    s.spawn_local({.name = "joiner"}, [](join_handle<> of) -> task<> { co_await std::move(of); }, std::move(joined));
    s.spawn_local({.name = "either"}, []() -> task<> { co_await race(forever(), sleep(1h)); });
  });
  for (const char* line : {"task 'reader': waits for event", "task 'group': waits for scope", "- task: waits for event",
                           "task 'joiner': waits for join", "task 'either': waits for race", "ready or running"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, ContainsRegex("task 'reader'.*\n +at .*operator.*\\(inspect_test.cpp:[0-9]+\\)"));
  EXPECT_THAT(text, ContainsRegex("\n    - task 'group'.*\n")) << text;
  EXPECT_THAT(text, ContainsRegex("\n      - task 'nested': waits for sleep\n")) << "below its scope\n" << text;
}

TEST(TaskDump, tells_who_was_asked_to_stop_and_has_not) {
  std::atomic<bool> begun{false};
  std::atomic<bool> go{false};
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto busy = s.spawn_local({.name = "busy"}, [&]() -> task<> {
               co_await blocking([&] {
                 begun = true;
                 hold_until([&] { return go.load(); });
               });
             });
             while (!begun) co_await yield();
             busy.cancel();
             EXPECT_THAT(task_dump(), HasSubstr("task 'busy': waits for blocking (asked to stop)"));
             go = true;
           }));
}

TEST(TaskDump, is_empty_outside_a_runtime) { EXPECT_EQ(task_dump(), ""); }

TEST(TaskDump, may_be_taken_while_workers_run_hot) {
  run_with(3, with_scope([](scope& s) -> task<> {
             std::atomic<bool> stop{false};
             for (int i = 0; i < 6; ++i) {
               s.spawn({.name = "hot"}, [&stop]() -> task<> {
                 while (!stop) {
                   co_await with_scope([](scope& inner) -> task<> {
                     auto child = inner.spawn([]() -> task<int> {
                       co_await yield();
                       co_return 1;
                     });
                     inner.spawn(forever);
                     co_await all(yield(), std::move(child));
                     inner.cancel();
                   });
                   static_cast<void>(co_await attempt(timeout(1h, blocking([] { return 1; }))));
                 }
               });
             }
             for (std::size_t i = 0; i < rounds(1000, 5); ++i) {
               EXPECT_THAT(task_dump(), HasSubstr("task 'hot'"));
               co_await yield();
             }
             stop = true;
           }));
}

std::string capture_stderr(const std::function<void()>& run) {
  ::testing::internal::CaptureStderr();
  run();
  return ::testing::internal::GetCapturedStderr();
}

class DumpSignal : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(On, DumpSignal, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(DumpSignal, writes_the_tasks_alive_to_standard_error) {
  auto options = with_workers(GetParam());
  options.dump_signal = SIGUSR1;
  auto text = capture_stderr([&] {
    runtime(options).block_on(with_scope([](scope& s) -> task<> {
      s.spawn({.name = "listed"}, forever);
      std::atomic<bool> stop{false};
      s.spawn({.name = "hot"}, [&stop]() -> task<> {
        while (!stop) co_await with_scope([](scope&) -> task<> { co_await yield(); });
      });
      for (int i = 0; i < 20; ++i) {
        ::kill(::getpid(), SIGUSR1);
        co_await sleep(1ms);
      }
      stop = true;
      s.cancel();
    }));
  });
  EXPECT_THAT(text, HasSubstr("task 'listed': waits for event"));
}

class StallDetector : public ::testing::Test {
 protected:
  // Runs `main` with a detector and gives what it reported.
  std::vector<stall> reports_of(unsigned workers, task<> main) {
    std::vector<stall> seen;
    on_stall([&](const stall& each) {
      std::lock_guard lock(mutex_);
      seen.push_back(each);
      count_ = static_cast<int>(seen.size());
    });
    auto options = with_workers(workers);
    options.stall_after = 20ms;
    runtime(options).block_on(std::move(main));
    on_stall(nullptr);
    return seen;
  }

  // Holds the worker until the detector has reported that often.
  void hold_until_reported(int times) {
    hold_until([&] { return count_.load() >= times; });
  }

  std::mutex mutex_;
  std::atomic<int> count_{0};
};

TEST_F(StallDetector, names_the_task_that_holds_its_worker) {
  auto seen = reports_of(2, with_scope([this](scope& s) -> task<> {
                           s.spawn_on(1, []() -> task<> { co_return; });
                           s.spawn({.name = "busy"}, [this]() -> task<> {
                             co_await yield();
                             hold_until_reported(1);
                           });
                           co_return;
                         }));
  ASSERT_EQ(seen.size(), 1U) << "once per stall";
  EXPECT_EQ(seen[0].task, "busy");
  EXPECT_GE(seen[0].held, 20ms);
  EXPECT_LT(seen[0].worker, 2U);
}

TEST_F(StallDetector, names_the_function_of_a_task_without_a_name) {
  struct code {
    static task<> calculates(StallDetector_names_the_function_of_a_task_without_a_name_Test* self) {
      self->hold_until_reported(1);
      co_return;
    }
  };
  auto seen = reports_of(1, with_scope([this](scope& s) -> task<> {
                           s.spawn(code::calculates, this);
                           co_return;
                         }));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_THAT(seen[0].task, HasSubstr("calculates"));
}

TEST_F(StallDetector, tells_of_callbacks_and_reports_each_stall) {
  auto seen = reports_of(1, [](auto* self) -> task<> {
    co_await with_scope([self](scope&) -> task<> {
      set_immediate([self] { self->hold_until_reported(1); });
      set_timeout([self] { self->hold_until_reported(2); }, 5ms);
      co_return;
    });
  }(this));
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].task, "callback");
  EXPECT_EQ(seen[1].task, "callback");
}

TEST_F(StallDetector, is_silent_where_nothing_is_held) {
  auto seen = reports_of(2, []() -> task<> {
    co_await sleep(120ms);
    co_await blocking([] { std::this_thread::sleep_for(60ms); });
  }());
  EXPECT_TRUE(seen.empty()) << seen.front().task;
}

}  // namespace
}  // namespace weir
