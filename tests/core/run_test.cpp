// tests/core/run_test.cpp: how a program begins and ends: exit codes, the hooks, failures that nobody receives, and
// several runtimes in one process.
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <weir/weir.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

task<> failing(std::string message) {
  co_await std::suspend_never{};
  throw std::runtime_error(message);
}

// The hooks of the process cannot be taken back, so two of each are set once and serve the test that runs.
class Run : public ::testing::Test {
 protected:
  Run() {
    current_ = this;
    static bool once = [] {
      for (int i : {0, 1}) {
        weir::before_exit([i](int code) {
          if (current_ != nullptr) current_->before[i](code);
        });
        weir::at_exit([i](int code) {
          if (current_ != nullptr) current_->at[i](code);
        });
      }
      return true;
    }();
    static_cast<void>(once);
  }
  ~Run() override {
    current_ = nullptr;
    weir::on_uncaught(nullptr);
  }

  void note(const std::string& entry) { log += (log.empty() ? "" : " ") + entry; }

  /// Calls the failures' messages to `log`, and goes on or not.
  void receive_failures(bool go_on) {
    weir::on_uncaught([this, go_on](const std::exception_ptr& why) {
      note(describe(why));
      return go_on;
    });
  }

  std::function<void(int)> before[2] = {[](int) {}, [](int) {}};
  std::function<void(int)> at[2] = {[](int) {}, [](int) {}};
  std::string log;

 private:
  static inline Run* current_ = nullptr;
};

int run_here(task<int> main, unsigned workers = 1) { return weir::run(std::move(main), with_workers(workers)); }
int run_here(task<void> main, unsigned workers = 1) { return weir::run(std::move(main), with_workers(workers)); }

/// Runs `main` and gives the code, and what it wrote to standard error.
template <class T>
std::pair<int, std::string> run_loudly(task<T> main, unsigned workers = 1) {
  ::testing::internal::CaptureStderr();
  int code = run_here(std::move(main), workers);
  return {code, ::testing::internal::GetCapturedStderr()};
}

task<int> returning(int code) { co_return code; }
task<> nothing() { co_return; }

// ---- exit codes

TEST_F(Run, returns_what_main_returns) {
  EXPECT_EQ(run_here(nothing()), 0);
  for (int code : {0, 1, 42, 255, -1}) EXPECT_EQ(run_here(returning(code)), code);
}

TEST_F(Run, waits_for_everything_that_main_started) {
  bool fired = false;
  bool immediate = false;
  auto main = [&]() -> task<int> {
    set_timeout([&] { fired = true; }, 5ms);
    set_immediate([&]() -> task<> {
      co_await sleep(10ms);
      immediate = true;
    });
    co_return 3;
  };
  EXPECT_EQ(run_here(main()), 3);
  EXPECT_TRUE(fired);
  EXPECT_TRUE(immediate);
}

TEST_F(Run, returns_1_after_an_uncaught_failure_and_prints_it) {
  auto [code, printed] = run_loudly(failing("nobody caught me"));
  EXPECT_EQ(code, 1);
  EXPECT_EQ(printed, "Uncaught Error: nobody caught me\n");
}

TEST_F(Run, returns_1_whatever_callback_fails) {
  using starter = void (*)();
  const std::pair<const char*, starter> callbacks[] = {
      {"tick", [] { next_tick([] { throw std::runtime_error("tick"); }); }},
      {"microtask", [] { queue_microtask([] { throw std::runtime_error("microtask"); }); }},
      {"immediate", [] { set_immediate([] { throw std::runtime_error("immediate"); }); }},
      {"close", [] { queue_close([] { throw std::runtime_error("close"); }); }},
      {"timer", [] { set_timeout([] { throw std::runtime_error("timer"); }); }},
      {"interval", [] { set_interval([] { throw std::runtime_error("interval"); }, 1ms); }},
      {"task", [] { set_timeout([] { return failing("task"); }); }},
  };
  for (auto [name, start] : callbacks) {
    auto main = [](starter begin) -> task<> {
      begin();
      co_await sleep(1h);
    };
    auto [code, printed] = run_loudly(main(start));
    EXPECT_EQ(code, 1) << name;
    EXPECT_EQ(printed, std::string("Uncaught Error: ") + name + "\n");
  }
}

TEST_F(Run, prints_something_for_what_is_no_exception) {
  auto main = []() -> task<> {
    co_await std::suspend_never{};
    throw 5;
  };
  auto [code, printed] = run_loudly(main());
  EXPECT_EQ(code, 1);
  EXPECT_THAT(printed, HasSubstr("Uncaught "));
}

TEST_F(Run, cancels_the_rest_after_an_uncaught_failure) {
  bool cancelled = false;
  bool cleaned = false;
  bool fired = false;
  auto main = [&]() -> task<> {
    set_timeout([] { throw std::runtime_error("timer"); }, 1ms);
    set_timeout([&] { fired = true; }, 50ms);
    co_await with_scope([&](scope& s) -> task<> {
      s.on_exit([&]() -> task<> {
        co_await sleep(1ms);
        cleaned = true;
      });
      cancelled = !co_await attempt(sleep(1h));
    });
  };
  EXPECT_EQ(run_loudly(main()).first, 1);
  EXPECT_TRUE(cancelled);
  EXPECT_TRUE(cleaned);
  EXPECT_FALSE(fired);
}

TEST_F(Run, returns_the_code_that_was_set) {
  auto set = []() -> task<> {
    set_exit_code(4);
    co_return;
  };
  EXPECT_EQ(run_here(set()), 4);
  EXPECT_EQ(run_here(nothing()), 0) << "the code belongs to one run";

  auto returned = [](int code) -> task<int> {
    set_exit_code(4);
    co_return code;
  };
  EXPECT_EQ(run_here(returned(0)), 4);
  EXPECT_EQ(run_here(returned(2)), 2);

  auto from_a_callback = [](int code) -> task<int> {
    set_timeout([] { set_exit_code(9); }, 1ms);
    co_return code;
  };
  EXPECT_EQ(run_here(from_a_callback(0)), 9);
  EXPECT_EQ(run_here(from_a_callback(2)), 2);

  auto from_another_worker = []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      s.spawn_on(1, []() -> task<> {
        set_exit_code(13);
        co_return;
      });
      co_return;
    });
  };
  EXPECT_EQ(run_here(from_another_worker(), 2), 13);

  auto failed = []() -> task<> {
    set_exit_code(4);
    co_await failing("x");
  };
  EXPECT_EQ(run_loudly(failed()).first, 1);
}

TEST_F(Run, is_left_by_exit_from_main) {
  bool stopped = false;
  auto main = [&]() -> task<int> {
    set_timeout([] { FAIL() << "still alive"; }, 20ms);
    weir::exit(5);
    stopped = !co_await attempt(sleep(1h));
    co_return 7;
  };
  EXPECT_EQ(run_here(main()), 5);
  EXPECT_TRUE(stopped);
}

TEST_F(Run, is_left_by_exit_from_a_child_on_any_worker) {
  for (unsigned workers : {1U, 2U, 4U}) {
    for (unsigned on = 0; on < workers; ++on) {
      auto main = [on]() -> task<> {
        co_await with_scope([on](scope& s) -> task<> {
          s.spawn_on(on, []() -> task<> {
            weir::exit(6);
            co_return;
          });
          co_await sleep(1h);
        });
      };
      EXPECT_EQ(run_here(main(), workers), 6);
    }
  }
}

TEST_F(Run, is_left_by_exit_from_a_callback) {
  auto main = []() -> task<> {
    set_interval([] { weir::exit(8); }, 1ms);
    co_await sleep(1h);
  };
  EXPECT_EQ(run_here(main()), 8);
}

TEST_F(Run, is_left_by_exit_from_a_thread_of_its_own) {
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> alive{false};
    std::thread other([&] {
      while (!alive) std::this_thread::yield();
      weir::exit(11);
    });
    auto main = [&]() -> task<> {
      set_timeout([&] { alive = true; }, 0ms);
      co_await sleep(1h);
    };
    EXPECT_EQ(run_here(main(), 1 + i % 2), 11);
    other.join();
  }
}

TEST_F(Run, lets_the_first_exit_decide_whatever_comes_later) {
  receive_failures(false);
  auto main = []() -> task<int> {
    weir::exit(0);
    weir::exit(3);
    set_exit_code(4);
    static_cast<void>(co_await attempt(sleep(1h)));
    throw std::runtime_error("on the way out");
  };
  EXPECT_EQ(run_here(main()), 0);
  EXPECT_EQ(log, "Error: on the way out");
}

TEST_F(Run, waits_for_cleanup_after_exit) {
  bool cleaned = false;
  auto main = [&]() -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.on_exit([&]() -> task<> {
        co_await sleep(2ms);
        cleaned = true;
      });
      weir::exit(2);
      co_await sleep(1h);
    });
  };
  EXPECT_EQ(run_here(main()), 2);
  EXPECT_TRUE(cleaned);
}

// ---- before_exit and at_exit

TEST_F(Run, calls_before_exit_again_as_long_as_it_starts_something) {
  int rounds = 0;
  before[0] = [&](int) {
    note("first");
    if (++rounds < 3) set_timeout([&] { note("timer"); }, 1ms);
  };
  before[1] = [&](int code) { note("second " + std::to_string(code)); };
  at[0] = [&](int code) { note("exit " + std::to_string(code)); };
  at[1] = [&](int) { note("last"); };
  EXPECT_EQ(run_here(returning(2)), 2);
  EXPECT_EQ(log, "first second 2 timer first second 2 timer first second 2 exit 2 last");
}

TEST_F(Run, lets_before_exit_start_tasks_immediates_and_ticks) {
  int round = 0;
  before[0] = [&](int) {
    switch (++round) {
      case 1: return static_cast<void>(set_immediate([&] { note("immediate"); }));
      case 2: return next_tick([&] { note("tick"); });
      case 3:
        return queue_microtask([&]() -> task<> {
          co_await sleep(1ms);
          note("task");
        });
      default: return note("done");
    }
  };
  EXPECT_EQ(run_here(nothing()), 0);
  EXPECT_EQ(log, "immediate tick task done");
}

TEST_F(Run, does_not_take_an_unreferenced_timer_for_work) {
  before[0] = [&](int) {
    note("before");
    set_timeout([&] { note("never"); }, 1ms).unref();
  };
  EXPECT_EQ(run_here(nothing()), 0);
  EXPECT_EQ(log, "before");
}

TEST_F(Run, skips_before_exit_after_exit_and_after_a_failure) {
  before[0] = [&](int) { note("before"); };
  at[0] = [&](int code) { note("exit " + std::to_string(code)); };
  auto left = []() -> task<> {
    weir::exit(3);
    co_return;
  };
  EXPECT_EQ(run_here(left()), 3);
  EXPECT_EQ(run_loudly(failing("x")).first, 1);
  EXPECT_EQ(log, "exit 3 exit 1");
}

TEST_F(Run, is_left_by_exit_from_before_exit) {
  before[0] = [&](int) {
    set_timeout([] { FAIL() << "cancelled"; }, 1h);
    weir::exit(12);
  };
  before[1] = [&](int) { note("not called"); };
  EXPECT_EQ(run_here(nothing()), 12);
  EXPECT_EQ(log, "");
}

TEST_F(Run, takes_another_code_from_the_hooks) {
  before[0] = [](int) { set_exit_code(3); };
  EXPECT_EQ(run_here(nothing()), 3);
  before[0] = [](int) {};
  at[0] = [](int) { set_exit_code(4); };
  at[1] = [&](int code) { note(std::to_string(code)); };
  EXPECT_EQ(run_here(returning(2)), 4);
  EXPECT_EQ(log, "2") << "the hooks all see the code as it was, as in Node";
  at[0] = [](int) { weir::exit(5); };
  EXPECT_EQ(run_here(returning(2)), 5);
}

TEST_F(Run, takes_what_a_hook_throws_for_an_uncaught_failure) {
  receive_failures(false);
  before[0] = [](int) { throw std::runtime_error("before"); };
  before[1] = [&](int) { note("not called"); };
  at[0] = [](int) { throw std::runtime_error("at"); };
  at[1] = [&](int code) { note("exit " + std::to_string(code)); };
  EXPECT_EQ(run_here(nothing()), 1);
  EXPECT_EQ(log, "Error: before Error: at exit 1");
}

TEST_F(Run, refuses_to_start_anything_from_at_exit) {
  bool refused = false;
  at[0] = [&](int) {
    try {
      next_tick([] {});
    } catch (const error& caught) {
      refused = caught.code() == errc::err_invalid_state;
    }
  };
  EXPECT_EQ(run_here(nothing()), 0);
  EXPECT_TRUE(refused);
}

// ---- on_uncaught

TEST_F(Run, goes_on_if_the_hook_says_so) {
  receive_failures(true);
  auto main = [&]() -> task<> {
    set_timeout([] { throw std::runtime_error("timer"); }, 1ms);
    set_timeout([&] { note("later"); }, 5ms);
    co_await failing("main");
  };
  EXPECT_EQ(run_here(main()), 0);
  EXPECT_EQ(log, "Error: main Error: timer later");
}

TEST_F(Run, ends_if_the_hook_does_not) {
  receive_failures(false);
  auto main = [&]() -> task<> {
    set_timeout([&] { note("never"); }, 50ms);
    co_await failing("main");
  };
  auto [code, printed] = run_loudly(main());
  EXPECT_EQ(code, 1);
  EXPECT_EQ(printed, "") << "the hook has it";
  EXPECT_EQ(log, "Error: main");
}

TEST_F(Run, ends_with_7_if_the_hook_throws) {
  weir::on_uncaught([](const std::exception_ptr&) -> bool { throw std::runtime_error("hook"); });
  auto [code, printed] = run_loudly(failing("main"));
  EXPECT_EQ(code, 7);
  EXPECT_THAT(printed, HasSubstr("hook"));
  EXPECT_THAT(printed, HasSubstr("main"));
}

TEST_F(Run, ends_as_the_hook_says_if_it_exits) {
  weir::on_uncaught([](const std::exception_ptr&) {
    weir::exit(21);
    return false;
  });
  EXPECT_EQ(run_here(failing("main")), 21);
}

TEST_F(Run, reports_failures_of_every_worker_and_goes_on) {
  std::atomic<int> failures{0};
  weir::on_uncaught([&](const std::exception_ptr&) {
    ++failures;
    return true;
  });
  auto main = []() -> task<> {
    for (int i = 0; i < 50; ++i) set_immediate([] { return failing("x"); });
    co_return;
  };
  EXPECT_EQ(run_here(main(), 3), 0);
  EXPECT_EQ(failures, 50);
}

TEST_F(Run, does_not_report_what_somebody_receives) {
  receive_failures(false);
  auto main = []() -> task<> {
    EXPECT_FALSE(co_await attempt(failing("attempted")));
    auto body = [](scope& s) -> task<> {
      s.spawn(failing, "child");
      co_return;
    };
    EXPECT_FALSE(co_await attempt(with_scope(body)));
  };
  EXPECT_EQ(run_here(main()), 0);
  EXPECT_EQ(log, "");
}

// ---- runtimes

TEST_F(Run, within_a_run_is_refused) {
  bool refused = false;
  bool block_on_refused = false;
  auto main = [&]() -> task<> {
    try {
      weir::run(nothing());
    } catch (const error& caught) {
      refused = caught.code() == errc::err_invalid_state;
    }
    try {
      runtime().block_on(nothing());
    } catch (const error& caught) {
      block_on_refused = caught.code() == errc::err_invalid_state;
    }
    co_return;
  };
  EXPECT_EQ(run_here(main()), 0);
  EXPECT_TRUE(refused);
  EXPECT_TRUE(block_on_refused);
}

TEST_F(Run, may_follow_another_on_the_same_thread_and_the_same_runtime) {
  runtime again(with_workers(2));
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(again.run(returning(i)), i);
    EXPECT_EQ(again.block_on(returning(i)), i);
  }
}

TEST_F(Run, ends_cleanly_however_short_it_is) {
  for (int i = 0; i < 200; ++i) EXPECT_EQ(run_here(returning(i % 3), 4), i % 3);
}

// Two programs at once: each has its own end.
TEST_F(Run, may_be_one_of_several_in_different_threads) {
  std::atomic<int> together{0};
  auto main = [&](int code) -> task<> {
    ++together;
    while (together < 2) co_await sleep(1ms);
    set_timeout([code] { weir::exit(code); }, std::chrono::milliseconds(code));
    co_await sleep(1h);
  };
  int codes[2] = {};
  std::thread other([&] { codes[0] = weir::run(main(3), with_workers(2)); });
  codes[1] = weir::run(main(9), with_workers(2));
  other.join();
  EXPECT_EQ(codes[0], 3);
  EXPECT_EQ(codes[1], 9);
}

TEST(BlockOn, gives_values_references_and_what_moves_only) {
  int number = 5;
  EXPECT_EQ(run_with(1, [](int n) -> task<int> { co_return n * 2; }(21)), 42);
  EXPECT_EQ(&run_with(1, [](int& n) -> task<int&> { co_return n; }(number)), &number);
  auto moved = run_with(2, []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); }());
  EXPECT_EQ(*moved, 7);
}

TEST(BlockOn, throws_what_the_task_or_a_callback_throws) {
  EXPECT_THROW(run_with(1, failing("main")), std::runtime_error);
  auto callback = []() -> task<> {
    set_timeout([] { throw std::logic_error("callback"); }, 1ms);
    co_await sleep(1h);
  };
  EXPECT_THROW(run_with(1, callback()), std::logic_error);
}

TEST(BlockOn, waits_for_timers_but_not_for_unreferenced_ones) {
  int calls = 0;
  runtime(virtual_time()).block_on([](int& count) -> task<> {
    set_timeout([&count] { ++count; }, 1h);
    set_timeout([&count] { ++count; }, 2h).unref();
    co_return;
  }(calls));
  EXPECT_EQ(calls, 1);
}

TEST(BlockOn, knows_no_exit) {
  EXPECT_EQ(run_with(1,
                     []() -> task<int> {
                       weir::exit(3);
                       set_exit_code(3);
                       co_await sleep(1ms);
                       co_return 1;
                     }()),
            1);
}

TEST(ExitOutsideOfAnyRun, changes_nothing) {
  weir::exit(3);
  set_exit_code(4);
  EXPECT_EQ(run_here(nothing()), 0);
}

}  // namespace
}  // namespace weir::testing
