// tests/io/signal_test.cpp: signals of the process, raised for real, waited for by tasks on any worker.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/signal.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

std::atomic<int> handled_before{0};

/// Stands for whatever the program did about a signal before: it counts.
class own_handler {
 public:
  explicit own_handler(int number) : number_(number) {
    struct sigaction action = {};
    action.sa_handler = [](int) { ++handled_before; };
    ::sigaction(number, &action, &before_);
    handled_before = 0;
  }
  own_handler(const own_handler&) = delete;
  own_handler& operator=(const own_handler&) = delete;
  ~own_handler() { ::sigaction(number_, &before_, nullptr); }

 private:
  int number_;
  struct sigaction before_ = {};
};

void raise_in_process(int number) { ::kill(::getpid(), number); }

class SignalsOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, SignalsOnWorkers, ::testing::Values(1U, 2U));

TEST_P(SignalsOnWorkers, reach_a_task_that_waits) {
  own_handler fallback(SIGUSR2);
  auto got = run_with(GetParam(), with_scope([&](scope& s) -> task<int> {
                        signals caught({SIGUSR1, SIGUSR2});
                        auto waiting =
                            s.spawn_on(GetParam() - 1, [&]() -> task<int> { co_return co_await caught.next(); });
                        co_await immediate();
                        raise_in_process(SIGUSR2);
                        co_return co_await std::move(waiting);
                      }));
  EXPECT_EQ(got, SIGUSR2);
  EXPECT_EQ(handled_before, 0);
}

TEST(Signals, wait_with_one_call) {
  own_handler fallback(SIGUSR1);
  auto got = run_with(2, with_scope([](scope& s) -> task<int> {
                        auto waiting = s.spawn_local([]() -> task<int> { co_return co_await wait_signal({SIGUSR1}); });
                        co_await immediate();
                        raise_in_process(SIGUSR1);
                        co_return co_await std::move(waiting);
                      }));
  EXPECT_EQ(got, SIGUSR1);
}

TEST(Signals, may_be_constructed_before_the_runtime) {
  own_handler fallback(SIGUSR1);
  signals caught({SIGUSR1});
  raise_in_process(SIGUSR1);
  EXPECT_EQ(run_with(1, caught.next()), SIGUSR1);
}

TEST(Signals, are_kept_while_nobody_waits) {
  own_handler first(SIGUSR1);
  own_handler second(SIGUSR2);
  run_with(2, []() -> task<void> {
    signals caught({SIGUSR1, SIGUSR2});
    raise_in_process(SIGUSR2);
    raise_in_process(SIGUSR1);
    raise_in_process(SIGUSR1);  // counts once
    EXPECT_EQ(co_await caught.next(), SIGUSR1);
    EXPECT_EQ(co_await caught.next(), SIGUSR2);
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, caught.next()))), "ETIMEDOUT");
    raise_in_process(SIGUSR1);
    EXPECT_EQ(co_await caught.next(), SIGUSR1);
  }());
}

TEST(Signals, reach_every_waiter) {
  own_handler fallback(SIGUSR1);
  std::atomic<int> seen{0};
  run_with(2, with_scope([&](scope& s) -> task<void> {
             std::atomic<int> ready{0};
             event all_ready;
             std::vector<join_handle<int>> waiting;
             for (unsigned i = 0; i < 8; ++i) {
               waiting.push_back(s.spawn_on(i, [&]() -> task<int> {
                 signals caught({SIGUSR1});
                 if (++ready == 8) all_ready.set();
                 co_return co_await caught.next();
               }));
             }
             co_await all_ready.wait();
             raise_in_process(SIGUSR1);
             for (auto& each : waiting) seen += co_await std::move(each) == SIGUSR1 ? 1 : 0;
           }));
  EXPECT_EQ(seen, 8);
}

TEST(Signals, do_what_they_did_before_once_nobody_waits) {
  own_handler fallback(SIGUSR1);
  {
    signals outer({SIGUSR1});
    {
      signals inner({SIGUSR1});
    }
    raise_in_process(SIGUSR1);
    EXPECT_EQ(handled_before, 0);
  }
  raise_in_process(SIGUSR1);
  EXPECT_EQ(handled_before, 1);
}

TEST(Signals, leave_a_handler_alone_that_came_later) {
  std::optional<signals> caught(std::in_place, signal_set{SIGUSR1});
  own_handler later(SIGUSR1);
  caught.reset();
  raise_in_process(SIGUSR1);
  EXPECT_EQ(handled_before, 1);
  ::signal(SIGUSR1, SIG_IGN);
}

TEST(Signals, wait_no_longer_than_their_task) {
  own_handler fallback(SIGUSR1);
  run_with(2, []() -> task<void> {
    signals caught({SIGUSR1});
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, caught.next()))), "ETIMEDOUT");
    abort_controller controller;
    std::thread thread([&] { controller.abort(); });
    EXPECT_EQ(verdict(co_await attempt(abortable(controller.signal(), caught.next()))), "ABORT_ERR");
    thread.join();
    raise_in_process(SIGUSR1);
    EXPECT_EQ(co_await caught.next(), SIGUSR1);
  }());
}

TEST(Signals, refuse_what_cannot_be_waited_for) {
  struct row {
    int number;
    const char* code;
  };
  const row rows[] = {{0, "ERR_UNKNOWN_SIGNAL"},
                      {65, "ERR_UNKNOWN_SIGNAL"},
                      {-1, "ERR_UNKNOWN_SIGNAL"},
                      {SIGKILL, "ERR_INVALID_ARG_VALUE"},
                      {SIGSTOP, "ERR_INVALID_ARG_VALUE"},
                      {SIGSEGV, "ERR_INVALID_ARG_VALUE"},
                      {32, "EINVAL"}};
  for (auto& each : rows) {
    try {
      signals caught({SIGUSR1, each.number});
      ADD_FAILURE() << "took " << each.number;
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), each.code) << each.number;
    }
  }
  own_handler fallback(SIGUSR1);
  raise_in_process(SIGUSR1);
  EXPECT_EQ(handled_before, 1);  // a failed construction leaves nothing behind
}

TEST(Signals, are_not_passed_on_by_a_forked_child) {
  own_handler fallback(SIGUSR1);
  signals caught({SIGUSR1});
  auto child = ::fork();
  if (child == 0) {
    ::raise(SIGUSR1);
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  run_with(1,
           [&]() -> task<void> { EXPECT_EQ(verdict(co_await attempt(timeout(5ms, caught.next()))), "ETIMEDOUT"); }());
}

// Objects come and go while signals rain on all threads: no write may hit a descriptor that somebody else has by now.
TEST(Signals, rain_while_objects_come_and_go) {
  own_handler fallback(SIGUSR1);
  std::atomic<bool> over{false};
  std::vector<std::thread> rain;
  for (int i = 0; i < 2; ++i) {
    rain.emplace_back([&] {
      while (!over) raise_in_process(SIGUSR1);
    });
  }
  auto until = std::chrono::steady_clock::now() + 500ms;
  int rounds = 0;
  run_with(2, [&]() -> task<void> {
    while (std::chrono::steady_clock::now() < until) {
      signals caught({SIGUSR1});
      EXPECT_EQ(co_await caught.next(), SIGUSR1);
      ++rounds;
    }
  }());
  over = true;
  for (auto& each : rain) each.join();
  EXPECT_GT(rounds, 0);
}

}  // namespace
}  // namespace weir::io
