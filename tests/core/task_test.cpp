#include <weir/core/combine.hpp>
#include <weir/core/task.hpp>
#include <weir/core/time.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace weir {
namespace {

using testing::counted;
using testing::run_with;

task<int> give(int value) { co_return value; }

task<std::uint64_t> add_up(std::uint64_t times) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < times; ++i) sum += static_cast<std::uint64_t>(co_await give(1));
  co_return sum;
}

[[gnu::noinline]] std::uintptr_t stack_position() noexcept {
  return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

struct depth_report {
  std::uint64_t depth = 0;
  std::uintptr_t at_bottom = 0;
};

task<depth_report> descend(std::uint64_t levels) {
  if (levels == 0) co_return depth_report{.depth = 0, .at_bottom = stack_position()};
  auto below = co_await descend(levels - 1);
  co_return depth_report{.depth = below.depth + 1, .at_bottom = below.at_bottom};
}

std::uintptr_t distance(std::uintptr_t a, std::uintptr_t b) { return a > b ? a - b : b - a; }

TEST(Task, completes_with_a_value) { EXPECT_EQ(run_with(1, give(42)), 42); }

TEST(Task, completes_with_nothing) {
  bool ran = false;
  run_with(1, [](bool& flag) -> task<> {
    flag = true;
    co_return;
  }(ran));
  EXPECT_TRUE(ran);
}

TEST(Task, completes_with_a_reference_to_the_very_object) {
  int object = 1;
  auto refer = [](int& to) -> task<int&> { co_return to; };
  run_with(1, [](auto make, int& to) -> task<> {
    int& same = co_await make(to);
    EXPECT_EQ(&same, &to);
    auto outcome = co_await attempt(make(to));
    EXPECT_EQ(&*outcome, &to);
  }(refer, object));
}

TEST(Task, completes_with_a_type_that_can_only_be_moved) {
  auto make = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
  auto pass = [](auto inner) -> task<std::unique_ptr<int>> { co_return co_await inner(); };
  EXPECT_EQ(*run_with(1, pass(make)), 7);
}

TEST(Task, completes_with_a_type_that_has_no_default) {
  struct only_from_int {
    explicit only_from_int(int v) : value(v) {}
    int value;
  };
  auto make = []() -> task<only_from_int> { co_return only_from_int(3); };
  EXPECT_EQ(run_with(1, make()).value, 3);
}

TEST(Task, throws_what_its_body_threw) {
  struct own : std::runtime_error {
    using runtime_error::runtime_error;
  };
  auto fail = []() -> task<int> {
    throw own("inside");
    co_return 0;
  };
  auto caller = [](auto inner) -> task<std::string> {
    try {
      co_await inner();
    } catch (const own& e) {
      co_return e.what();
    }
    co_return "";
  };
  EXPECT_EQ(run_with(1, caller(fail)), "inside");
}

TEST(Task, fails_without_a_throw_by_returning_a_failure) {
  auto fail = []() -> task<int> { co_return failure(error(errc::err_closed)); };
  auto caller = [](auto inner) -> task<> {
    auto outcome = co_await attempt(inner());
    EXPECT_FALSE(outcome);
    EXPECT_TRUE(outcome.failure().is("ERR_CLOSED"));
    EXPECT_THROW(co_await inner(), error);
  };
  run_with(1, caller(fail));
}

TEST(Task, runs_only_when_awaited) {
  bool ran = false;
  {
    auto never = [](bool& flag, counted) -> task<> {
      flag = true;
      co_return;
    }(ran, counted());
    EXPECT_EQ(counted::alive(), 1) << "the argument lives in the frame";
  }
  EXPECT_FALSE(ran);
  EXPECT_EQ(counted::alive(), 0);
}

TEST(Task, that_is_assigned_to_frees_the_frame_it_had) {
  auto make = [](counted) -> task<> { co_return; };
  task<> held = make(counted());
  held = make(counted());
  EXPECT_EQ(counted::alive(), 1);
  auto taken = std::move(held);
  EXPECT_FALSE(held);  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_TRUE(taken);
}

TEST(Task, destroys_its_locals_before_the_awaiting_body_goes_on) {
  run_with(1, []() -> task<> {
    auto child = []() -> task<int> {
      counted local;
      co_await yield();
      co_return counted::alive();
    };
    EXPECT_EQ(co_await child(), 1);
    EXPECT_EQ(counted::alive(), 0);
  }());
}

TEST(Task, awaits_ten_million_children_one_after_another_on_the_same_stack) {
  EXPECT_EQ(run_with(1, add_up(10'000'000)), 10'000'000U);
}

TEST(Task, recurses_a_million_deep_without_stack) {
  run_with(1, []() -> task<> {
    auto top = stack_position();
    auto report = co_await descend(1'000'000);
    EXPECT_EQ(report.depth, 1'000'000U);
    EXPECT_LT(distance(top, report.at_bottom), 16384U) << "bytes of stack between the first and the millionth level";
    EXPECT_LT(distance(top, stack_position()), 16384U);
  }());
}

TEST(Task, throws_through_a_hundred_thousand_levels) {
  struct levels {
    static task<int> fail_below(int n) {
      if (n == 0) throw std::runtime_error("at the bottom");
      co_return co_await fail_below(n - 1) + 1;
    }
  };
  run_with(1, []() -> task<> { EXPECT_THROW(co_await levels::fail_below(100'000), std::runtime_error); }());
}

TEST(Task, goes_on_correctly_after_a_condition_that_awaits) {
  run_with(1, []() -> task<> {
    auto truth = [](bool value) -> task<bool> {
      co_await yield();
      co_return value;
    };
    int taken = 0;
    if (co_await truth(true)) taken |= 1;
    if (co_await truth(false)) taken |= 2;
    while (!co_await truth(true)) taken |= 4;
    EXPECT_EQ(taken, 1);
  }());
}

TEST(Attempt, gives_what_any_awaitable_would_have_thrown) {
  run_with(1, []() -> task<> {
    auto fail = [](int n) -> task<int> {
      if (n != 0) throw std::invalid_argument("n");
      co_return n;
    };
    auto good = co_await attempt(fail(0));
    auto bad = co_await attempt(fail(1));
    EXPECT_EQ(good.value(), 0);
    EXPECT_THROW(bad.value(), std::invalid_argument);
    auto both = co_await attempt(all(fail(0), fail(1)));
    EXPECT_THROW(both.value(), std::invalid_argument);
    auto slept = co_await attempt(sleep(std::chrono::milliseconds(1)));
    EXPECT_TRUE(slept);
  }());
}

}  // namespace
}  // namespace weir
