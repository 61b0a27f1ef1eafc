#include <weir/core/abort.hpp>
#include <weir/core/time.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::forever;
using testing::rounds;
using testing::run_with;

struct why : std::runtime_error {
  using runtime_error::runtime_error;
};

std::exception_ptr reason(const char* text) { return std::make_exception_ptr(why(text)); }

bool is_timeout(const failure& f) { return f.is("ETIMEDOUT"); }

TEST(AbortSignal, fires_once_with_the_reason_that_came_first) {
  abort_controller controller;
  auto signal = controller.signal();
  EXPECT_FALSE(signal.aborted());
  EXPECT_EQ(signal.reason(), nullptr);
  EXPECT_NO_THROW(signal.throw_if_aborted());
  controller.abort(reason("first"));
  controller.abort(reason("second"));
  EXPECT_TRUE(signal.aborted());
  EXPECT_THROW(signal.throw_if_aborted(), why);
  EXPECT_EQ(failure(signal.reason()).message(), "first");
}

TEST(AbortSignal, has_cancelled_for_its_reason_where_none_is_given) {
  EXPECT_THROW(abort_signal::abort().throw_if_aborted(), cancelled);
  EXPECT_THROW(abort_signal::abort(reason("given")).throw_if_aborted(), why);
}

TEST(AbortSignal, that_is_nobodys_never_fires) {
  abort_signal none;
  EXPECT_FALSE(none.aborted());
  EXPECT_NO_THROW(none.throw_if_aborted());
  auto registered = none.on_abort([] { ADD_FAILURE() << "nothing fires it"; });
}

TEST(AbortSignal, calls_hooks_in_the_order_of_registration) {
  abort_controller controller;
  std::vector<int> order;
  std::vector<abort_signal::registration> hooks;
  for (int i = 0; i < 5; ++i) hooks.push_back(controller.signal().on_abort([&order, i] { order.push_back(i); }));
  hooks.erase(hooks.begin() + 2);
  controller.abort();
  EXPECT_EQ(order, (std::vector{0, 1, 3, 4}));
  auto late = controller.signal().on_abort([&] { order.push_back(9); });
  EXPECT_EQ(order.back(), 9) << "at once, since it has fired";
}

TEST(AbortSignal, forgets_a_hook_whose_registration_is_assigned_over) {
  abort_controller controller;
  int called = 0;
  auto kept = controller.signal().on_abort([&] { ++called; });
  {
    auto other = controller.signal().on_abort([&] { called += 10; });
    kept = std::move(other);
  }
  controller.abort();
  EXPECT_EQ(called, 10);
}

TEST(AbortSignal, lets_a_hook_drop_registrations_its_own_included) {
  abort_controller controller;
  std::optional<abort_signal::registration> first;
  std::optional<abort_signal::registration> second;
  int called = 0;
  first.emplace(controller.signal().on_abort([&] {
    ++called;
    second.reset();
  }));
  second.emplace(controller.signal().on_abort([&] { called += 10; }));
  controller.abort();
  EXPECT_EQ(called, 1);
}

TEST(AbortSignal, tells_a_hundred_thousand_listeners_in_linear_time) {
  abort_controller controller;
  std::vector<abort_signal::registration> hooks;
  std::size_t called = 0;
  for (int i = 0; i < 100'000; ++i) hooks.push_back(controller.signal().on_abort([&] { ++called; }));
  auto started = std::chrono::steady_clock::now();
  controller.abort();
  EXPECT_EQ(called, 100'000U);
  EXPECT_LT(std::chrono::steady_clock::now() - started, 2s);
}

TEST(AbortSignal, any_fires_with_the_reason_of_the_first_of_its_sources) {
  abort_controller a;
  abort_controller b;
  auto both = abort_signal::any({a.signal(), b.signal(), abort_signal()});
  auto nested = abort_signal::any({both});
  EXPECT_FALSE(nested.aborted());
  b.abort(reason("b"));
  a.abort(reason("a"));
  EXPECT_EQ(failure(both.reason()).message(), "b");
  EXPECT_EQ(failure(nested.reason()).message(), "b");
  EXPECT_EQ(failure(abort_signal::any({a.signal(), b.signal()}).reason()).message(), "a") << "fired already, in order";
}

TEST(AbortSignal, any_may_be_dropped_before_its_sources_fire) {
  abort_controller a;
  {
    auto gone = abort_signal::any({a.signal()});
  }
  a.abort();
  auto alive = [] {
    abort_controller local;
    return abort_signal::any({local.signal()});
  }();
  EXPECT_FALSE(alive.aborted());
}

TEST(AbortSignal, timeout_fires_after_its_time_and_keeps_nothing_alive) {
  run_with(1, []() -> task<> {
    auto signal = abort_signal::timeout(2ms);
    auto outcome = co_await attempt(abortable(signal, forever()));
    EXPECT_TRUE(is_timeout(outcome.failure()));
    EXPECT_TRUE(signal.aborted());
    static_cast<void>(abort_signal::timeout(1h));
  }());
  EXPECT_THROW(static_cast<void>(abort_signal::timeout(1ms)), error) << "outside a runtime";
}

class Abortable : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Abortable, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(Abortable, gives_the_value_where_the_signal_does_not_fire) {
  run([]() -> task<> {
    abort_controller controller;
    EXPECT_EQ(co_await abortable(controller.signal(),
                                 []() -> task<int> {
                                   co_await yield();
                                   co_return 3;
                                 }()),
              3);
    EXPECT_EQ(co_await abortable(abort_signal(), []() -> task<int> { co_return 4; }()), 4);
    controller.abort();
  }());
}

TEST_P(Abortable, throws_the_reason_when_the_operation_has_ended) {
  run(with_scope([](scope& s) -> task<> {
    abort_controller controller;
    bool ended = false;
    s.spawn([&]() -> task<> {
      co_await yield();
      controller.abort(reason("enough"));
    });
    auto outcome = co_await attempt(abortable(controller.signal(), [](bool& over) -> task<> {
      auto inner = co_await attempt(forever());
      static_cast<void>(co_await attempt(forever()));
      over = true;
      inner.value();
    }(ended)));
    EXPECT_TRUE(ended);
    EXPECT_THROW(outcome.value(), why);
    co_await yield();  // the task itself goes on
  }));
}

TEST_P(Abortable, stops_an_operation_at_its_first_await_if_the_signal_has_fired) {
  run([]() -> task<> {
    bool ran = false;
    auto outcome = co_await attempt(abortable(abort_signal::abort(reason("before")), [](bool& begun) -> task<> {
      begun = true;
      co_await sleep(1h);
    }(ran)));
    EXPECT_TRUE(ran);
    EXPECT_THROW(outcome.value(), why);
  }());
}

TEST_P(Abortable, keeps_the_value_or_failure_of_an_operation_that_ends_by_itself) {
  run([]() -> task<> {
    auto stubborn = [](bool fails) -> task<int> {
      static_cast<void>(co_await attempt(forever()));
      if (fails) throw std::logic_error("own");
      co_return 5;
    };
    EXPECT_EQ(co_await abortable(abort_signal::abort(), stubborn(false)), 5);
    EXPECT_THROW(co_await abortable(abort_signal::abort(reason("x")), stubborn(true)), std::logic_error);
    EXPECT_EQ(co_await timeout(1ms, stubborn(false)), 5) << "the value wins";
    EXPECT_THROW(co_await timeout(1ms, stubborn(true)), std::logic_error);
  }());
}

TEST_P(Abortable, may_be_aborted_by_a_foreign_thread) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(200, 4); ++i) {
      abort_controller controller;
      std::thread foreign([controller] { controller.abort(reason("from outside")); });
      auto outcome = co_await attempt(abortable(controller.signal(), forever()));
      EXPECT_THROW(outcome.value(), why);
      foreign.join();
    }
  }());
}

TEST_P(Abortable, may_be_aborted_from_outside_by_the_thread_that_ends_the_run) {
  for (std::size_t i = 0; i < rounds(200, 4); ++i) {
    abort_controller controller;
    std::thread foreign([controller] { controller.abort(); });
    EXPECT_THROW(run([](abort_signal signal) -> task<> { co_await abortable(signal, forever()); }(controller.signal())),
                 cancelled);
    foreign.join();
  }
}

TEST_P(Abortable, survives_an_abort_that_races_with_the_end) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(20'000); ++i) {
      abort_controller controller;
      co_await with_scope([&](scope& s) -> task<> {
        s.spawn([&controller]() -> task<> {
          controller.abort(reason("race"));
          co_return;
        });
        s.spawn([&controller, i]() -> task<> {
          auto outcome = co_await attempt(timeout(1h, abortable(controller.signal(), [](std::size_t n) -> task<int> {
                                                    for (std::size_t y = 0; y < n % 3; ++y) co_await yield();
                                                    co_return 1;
                                                  }(i))));
          if (!outcome) EXPECT_THROW(outcome.value(), why);
        });
        co_return;
      });
    }
  }());
}

class Timeout : public Abortable {};
INSTANTIATE_TEST_SUITE_P(On, Timeout, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(Timeout, throws_etimedout_when_the_time_has_passed) {
  run([]() -> task<> {
    auto started = std::chrono::steady_clock::now();
    auto outcome = co_await attempt(timeout(5ms, forever()));
    EXPECT_TRUE(is_timeout(outcome.failure()));
    EXPECT_GE(std::chrono::steady_clock::now() - started, 5ms);
    EXPECT_THROW(co_await timeout(1ms, sleep(1h)), error);
  }());
}

TEST_P(Timeout, of_nothing_or_less_stops_at_the_first_await) {
  run([]() -> task<> {
    using clock = std::chrono::steady_clock;
    EXPECT_TRUE(is_timeout((co_await attempt(timeout(0ms, forever()))).failure()));
    EXPECT_TRUE(is_timeout((co_await attempt(timeout(-5s, forever()))).failure()));
    EXPECT_TRUE(is_timeout((co_await attempt(deadline(clock::now() - 1h, forever()))).failure()));
    EXPECT_TRUE(is_timeout((co_await attempt(deadline(clock::time_point::min(), forever()))).failure()));
    EXPECT_EQ(co_await timeout(0ms, []() -> task<int> { co_return 1; }()), 1) << "it needed no wait";
  }());
}

TEST_P(Timeout, may_be_as_long_as_there_is_time) {
  run([]() -> task<> {
    co_await timeout(std::chrono::nanoseconds::max(), yield());
    co_await timeout(std::chrono::nanoseconds::max() - 1ns, yield());
    co_await deadline(std::chrono::steady_clock::time_point::max(), yield());
  }());
}

TEST_P(Timeout, nests_and_blames_the_one_that_ran_out) {
  run([]() -> task<> {
    auto inner_first = co_await attempt(timeout(1h, [](auto make) -> task<int> {
      auto outcome = co_await attempt(timeout(2ms, make()));
      EXPECT_TRUE(is_timeout(outcome.failure()));
      co_await yield();  // the outer one has not run out
      co_return 1;
    }(forever)));
    EXPECT_TRUE(inner_first);
    auto outer_first = co_await attempt(timeout(2ms, [](auto make) -> task<> {
      auto outcome = co_await attempt(timeout(1h, make()));
      EXPECT_TRUE(outcome.failure().is_cancelled()) << "not this one's doing";
      outcome.value();
    }(forever)));
    EXPECT_TRUE(is_timeout(outer_first.failure()));
  }());
}

TEST_P(Timeout, gives_way_to_a_cancellation_from_outside) {
  run(with_scope([](scope& s) -> task<> {
    auto child = s.spawn([]() -> task<> {
      auto outcome = co_await attempt(timeout(1h, forever()));
      EXPECT_TRUE(outcome.failure().is_cancelled());
    });
    co_await yield();
    child.cancel();
    co_await std::move(child);
  }));
}

TEST_P(Timeout, survives_a_timer_that_races_with_the_end) {
  run(with_scope([](scope& s) -> task<> {
    for (int n = 0; n < 8; ++n) {
      s.spawn([]() -> task<> {
        for (int i = 0; i < 60; ++i) {
          auto outcome = co_await attempt(timeout(1ms, [](int each) -> task<int> {
            auto end = std::chrono::steady_clock::now() + 900us + each * 10us;
            while (std::chrono::steady_clock::now() < end) co_await yield();
            co_return 1;
          }(i)));
          if (!outcome) EXPECT_TRUE(is_timeout(outcome.failure()));
        }
      });
    }
    co_return;
  }));
}

}  // namespace
}  // namespace weir
