// tests/core/ordering_test.cpp: every promised order of events, as one table that runs on the default backend and
// on virtual time, alone and with another worker around.
#include "tests/core/ordering_cases.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace weir::testing {
namespace {

// The hooks of the process cannot be taken back, so they are set once and serve whichever trace is current.
trace* current = nullptr;

void install_hooks() {
  static bool once = [] {
    before_exit([](int code) {
      if (current != nullptr) current->on_before_exit(code);
    });
    at_exit([](int code) {
      if (current != nullptr) current->on_exit(code);
    });
    return true;
  }();
  static_cast<void>(once);
  on_uncaught([](std::exception_ptr why) { return current != nullptr && current->on_uncaught(std::move(why)); });
}

void really_pass(std::chrono::milliseconds time) {
  auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {
  }
}

struct outcome {
  std::string log;
  int code;
};

outcome run_case(const ordering_case& row, runtime_options options, void (*pass)(std::chrono::milliseconds)) {
  install_hooks();
  trace log(pass);
  current = &log;
  int code = runtime(std::move(options)).run(row.program(log));
  current = nullptr;
  on_uncaught(nullptr);
  return {log.text(), code};
}

void expect_permitted(const ordering_case& row, const outcome& seen) {
  EXPECT_THAT(row.permitted, ::testing::Contains(seen.log)) << row.id << " logged " << seen.log;
  EXPECT_EQ(seen.code, row.exit_code) << row.id;
}

void pass_virtually(std::chrono::milliseconds time) { virtual_clock::pass(time); }

class Ordering : public ::testing::TestWithParam<unsigned> {};

TEST_P(Ordering, is_nodes_on_the_default_backend) {
  for (const auto& row : ordering_cases()) {
    if (row.runs == pace::exact) continue;
    expect_permitted(row, run_case(row, with_workers(GetParam()), really_pass));
  }
}

TEST_P(Ordering, is_nodes_on_virtual_time_twenty_times_over) {
  for (int round = 0; round < 20; ++round) {
    for (const auto& row : ordering_cases()) {
      expect_permitted(row, run_case(row, virtual_time(GetParam()), pass_virtually));
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Workers, Ordering, ::testing::Values(1U, 2U),
                         [](const auto& info) { return "with_" + std::to_string(info.param) + "_workers"; });

// Which of the permitted orders it is depends on the clock alone.
TEST(TimerFromMain, comes_before_the_immediate_if_it_is_due_when_main_suspends) {
  auto order_after = [](std::chrono::milliseconds busy) {
    trace log(pass_virtually);
    auto program = [](trace& l, std::chrono::milliseconds time) -> task<> {
      co_await timeout_and_immediate(l);
      l.busy(time);
    };
    runtime(virtual_time()).run(program(log, busy));
    return log.text();
  };
  EXPECT_EQ(order_after(0ms), "immediate > timeout");
  EXPECT_EQ(order_after(5ms), "timeout > immediate");
}

TEST(Microtasks, run_to_the_last_before_an_immediate_however_many_are_awaited) {
  std::string log;
  auto program = [&]() -> task<> {
    set_immediate([&] { log += "immediate"; });
    for (int i = 0; i < 5000; ++i) co_await microtask();
    log += "microtasks > ";
  };
  runtime(with_workers(1)).run(program());
  EXPECT_EQ(log, "microtasks > immediate");
}

TEST(AffineTasks, that_wake_one_another_without_end_do_not_keep_timers_from_firing) {
  auto program = []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      set_timeout([&s] { s.cancel(); }, 5ms);
      event ping;
      event pong;
      auto play = [](event& mine, event& other) -> task<> {
        for (;;) {
          other.set();
          co_await mine.wait();
          mine.reset();
        }
      };
      s.spawn_local(play, std::ref(ping), std::ref(pong));
      s.spawn_local(play, std::ref(pong), std::ref(ping));
      co_await event().wait();
    });
  };
  EXPECT_EQ(runtime(with_workers(1)).run(program()), 0);
}

TEST(OrderingTable, has_no_row_twice) {
  std::set<std::string_view> seen;
  for (const auto& row : ordering_cases()) EXPECT_TRUE(seen.insert(row.id).second) << row.id;
}

}  // namespace
}  // namespace weir::testing
