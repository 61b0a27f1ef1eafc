#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::counted;
using testing::forever;
using testing::rounds;
using testing::run_with;

struct first_kind : std::runtime_error {
  using runtime_error::runtime_error;
};

class Combine : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }

  /// Runs `main` as a child that any worker may run, so that its branches may run in parallel.
  template <class F>
  void run_stealable(F main) {
    run(with_scope([&](scope& s) -> task<> { co_await s.spawn(main); }));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Combine, ::testing::Values(1U, 2U, 4U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

task<int> later(int value, int yields = 1) {
  for (int i = 0; i < yields; ++i) co_await yield();
  co_return value;
}

task<int> failing(int yields = 1) {
  for (int i = 0; i < yields; ++i) co_await yield();
  throw first_kind(std::to_string(yields));
}

task<> nothing() { co_await yield(); }

// A task that says how it ended.
task<int> watched(std::atomic<int>& ended) {
  auto outcome = co_await attempt(forever());
  static_cast<void>(co_await attempt(forever()));  // a second one does not block either
  ended.fetch_add(1);
  outcome.value();
  co_return 0;
}

TEST_P(Combine, all_gives_values_in_the_order_of_the_arguments) {
  run_stealable([]() -> task<> {
    auto values = co_await all(
        later(1, 5), []() -> task<std::string> { co_return "two"; }(), nothing(),
        []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); }());
    auto& [one, two, three, four] = values;
    EXPECT_EQ(one, 1);
    EXPECT_EQ(two, "two");
    static_assert(std::is_same_v<std::remove_cvref_t<decltype(three)>, std::monostate>);
    EXPECT_EQ(*four, 4);
  });
}

TEST_P(Combine, all_of_nothing_is_ready) {
  run_stealable([]() -> task<> {
    static_cast<void>(co_await all());
    auto none = co_await all(std::vector<task<int>>());
    EXPECT_TRUE(none.empty());
    auto settled = co_await all_settled(std::vector<task<int>>());
    EXPECT_TRUE(settled.empty());
  });
}

TEST_P(Combine, all_rethrows_the_first_failure_when_the_others_have_ended) {
  run_stealable([]() -> task<> {
    std::atomic<int> ended{0};
    EXPECT_THROW(co_await all(watched(ended), failing(2), watched(ended)), first_kind);
    EXPECT_EQ(ended.load(), 2);
  });
}

TEST_P(Combine, all_names_the_failure_that_came_first_not_the_first_in_order) {
  run([]() -> task<> {
    auto outcome = co_await attempt(all(failing(9), failing(1), failing(5)));
    EXPECT_EQ(outcome.failure().message(), "1");
  }());
}

TEST_P(Combine, all_takes_a_range) {
  run_stealable([]() -> task<> {
    std::vector<task<int>> tasks;
    for (int i = 0; i < 300; ++i) tasks.push_back(later(i, i % 5));
    auto values = co_await all(std::move(tasks));
    EXPECT_EQ(values.size(), 300U);
    for (int i = 0; i < 300; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);

    std::list<task<>> listed;
    for (int i = 0; i < 10; ++i) listed.push_back(nothing());
    co_await all(std::move(listed));
  });
}

TEST_P(Combine, all_keeps_to_its_limit_and_starts_in_order) {
  run_stealable([]() -> task<> {
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    std::atomic<int> started{0};
    std::vector<task<int>> tasks;
    for (int i = 0; i < 400; ++i) {
      tasks.push_back([](int n, auto& now, auto& peak, auto& begun) -> task<int> {
        begun.fetch_add(1);
        int here = now.fetch_add(1) + 1;
        for (int seen = peak.load(); seen < here && !peak.compare_exchange_weak(seen, here);) {
        }
        for (int y = 0; y < n % 4; ++y) co_await yield();
        now.fetch_sub(1);
        co_return n;
      }(i, running, most, started));
    }
    auto values = co_await all(std::move(tasks), 7);
    EXPECT_EQ(started.load(), 400);
    EXPECT_LE(most.load(), 7);
    for (int i = 0; i < 400; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
  });
}

TEST_P(Combine, all_does_not_start_the_rest_after_a_failure) {
  run_stealable([]() -> task<> {
    std::atomic<int> started{0};
    std::vector<task<int>> tasks;
    for (int i = 0; i < 50; ++i) {
      tasks.push_back([](int n, auto& begun) -> task<int> {
        begun.fetch_add(1);
        co_await yield();
        if (n == 4) throw first_kind("stop");
        if (n > 4) co_await forever();
        co_return n;
      }(i, started));
    }
    EXPECT_THROW(co_await all(std::move(tasks), 2), first_kind);
    EXPECT_LE(started.load(), 6);
  });
}

TEST_P(Combine, a_limit_of_zero_is_refused) {
  run([]() -> task<> {
    EXPECT_THROW(co_await all(std::vector<task<int>>(), 0), error);
    EXPECT_THROW(static_cast<void>(co_await all_settled(std::vector<task<int>>(), 0)), error);
  }());
}

TEST_P(Combine, all_settled_waits_for_all_whatever_becomes_of_them) {
  run_stealable([]() -> task<> {
    auto outcome = co_await all_settled(failing(1), later(2, 4), nothing());
    auto& [a, b, c] = outcome;
    EXPECT_THROW(a.value(), first_kind);
    EXPECT_EQ(b.value(), 2);
    EXPECT_TRUE(c);

    std::vector<task<int>> tasks;
    for (int i = 0; i < 20; ++i) tasks.push_back(i % 2 == 0 ? failing(i) : later(i));
    auto results = co_await all_settled(std::move(tasks), 3);
    EXPECT_EQ(results.size(), 20U);
    for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(static_cast<bool>(results[i]), i % 2 == 1);
  });
}

TEST_P(Combine, race_gives_the_first_to_end_and_joins_the_losers) {
  run_stealable([]() -> task<> {
    std::atomic<int> ended{0};
    EXPECT_EQ(co_await race(watched(ended), later(7, 2), watched(ended)), 7);
    EXPECT_EQ(ended.load(), 2);
    EXPECT_THROW(co_await race(watched(ended), failing(1)), first_kind);
    EXPECT_EQ(ended.load(), 3);
  });
}

TEST_P(Combine, race_of_different_types_gives_a_variant) {
  run_stealable([]() -> task<> {
    auto text = [](bool wait) -> task<std::string> {
      if (wait) co_await forever();
      co_return "text";
    };
    auto first = co_await race(
        text(false),
        []() -> task<int> {
          co_await forever();
          co_return 1;
        }(),
        forever());
    EXPECT_EQ(std::get<0>(first), "text");
    auto second = co_await race(text(true), later(5), forever());
    EXPECT_EQ(std::get<1>(second), 5);
    auto third = co_await race(text(true), nothing());
    EXPECT_EQ(third.index(), 1U);
  });
}

TEST_P(Combine, race_of_tasks_without_values_gives_none) {
  run_stealable([]() -> task<> {
    co_await race(forever(), nothing());
    std::vector<task<>> tasks;
    tasks.push_back(forever());
    tasks.push_back(nothing());
    co_await race(std::move(tasks));
    EXPECT_TRUE(co_await attempt(race(forever(), nothing())));
  });
}

TEST_P(Combine, any_gives_the_first_success) {
  run_stealable([]() -> task<> {
    std::atomic<int> ended{0};
    EXPECT_EQ(co_await any(failing(1), later(3, 3), failing(2), watched(ended)), 3);
    EXPECT_EQ(ended.load(), 1);
    std::vector<task<int>> tasks;
    for (int i = 1; i < 10; ++i) tasks.push_back(failing(i));
    tasks.push_back(later(8, 12));
    EXPECT_EQ(co_await any(std::move(tasks)), 8);
  });
}

TEST_P(Combine, any_throws_all_failures_in_order_if_nothing_succeeds) {
  run_stealable([]() -> task<> {
    for (bool as_range : {false, true}) {
      std::vector<task<int>> tasks;
      for (int n : {3, 1, 2}) tasks.push_back(failing(n));
      auto outcome = as_range ? co_await attempt(any(std::move(tasks)))
                              : co_await attempt(any(failing(3), failing(1), failing(2)));
      try {
        outcome.value();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const aggregate_error& e) {
        EXPECT_EQ(e.errors().size(), 3U);
        EXPECT_EQ(failure(e.errors()[0]).message(), "3");
        EXPECT_EQ(failure(e.errors()[2]).message(), "2");
      }
    }
    EXPECT_THROW(co_await any(std::vector<task<int>>()), aggregate_error);
  });
}

TEST_P(Combine, takes_awaitables_that_are_no_tasks) {
  run(with_scope([](scope& s) -> task<> {
    event set;
    set.set();
    auto child = s.spawn(later, 4, 3);
    auto values = co_await all(sleep(1ms), set.wait(), std::move(child), yield(), blocking([] { return 6; }));
    EXPECT_EQ(std::get<2>(values), 4);
    EXPECT_EQ(std::get<4>(values), 6);

    event never;
    co_await race(never.wait(), sleep(1ms));
  }));
}

TEST_P(Combine, nests) {
  run_stealable([]() -> task<> {
    auto values = co_await all(race(later(1), forever()), all(later(2), later(3)), any(failing(), later(4)));
    EXPECT_EQ(std::get<0>(std::get<0>(values)), 1);
    EXPECT_EQ(std::get<1>(std::get<1>(values)), 3);
    EXPECT_EQ(std::get<2>(values), 4);
    auto timed = co_await timeout(1h, all_settled(later(1), failing()));
    EXPECT_TRUE(std::get<0>(timed));
    co_await shield(all(nothing(), nothing()));
  });
}

TEST_P(Combine, ends_with_cancelled_when_it_is_cancelled_from_outside) {
  run_stealable([]() -> task<> {
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    auto started = [&]() -> task<int> {
      begun.fetch_add(1);
      co_return co_await watched(ended);
    };
    auto range_of = [&](int n) {
      std::vector<task<int>> tasks;
      for (int i = 0; i < n; ++i) tasks.push_back(started());
      return tasks;
    };
    auto cancel_one = [&begun](auto op) -> task<bool> {
      bool stopped = false;
      begun = 0;
      co_await with_scope([&](scope& s) -> task<> {
        auto child = s.spawn(
            [&stopped](auto inner) -> task<> {
              auto outcome = co_await attempt(std::move(inner));
              stopped = !outcome && outcome.failure().is_cancelled();
            },
            std::move(op));
        while (begun.load() < 2) co_await yield();
        child.cancel();
      });
      co_return stopped;
    };
    EXPECT_TRUE(co_await cancel_one(all(started(), started())));
    EXPECT_TRUE(co_await cancel_one(race(started(), started())));
    EXPECT_TRUE(co_await cancel_one(any(started(), started())));
    EXPECT_TRUE(co_await cancel_one(all(range_of(6), 2)));
    EXPECT_TRUE(co_await cancel_one(race(range_of(2))));
    EXPECT_TRUE(co_await cancel_one(any(range_of(2))));
    EXPECT_FALSE(co_await cancel_one(all_settled(started(), started()))) << "a settled result each";
    EXPECT_EQ(ended.load(), 14) << "two each; of the limited range only those that had started";
  });
}

TEST_P(Combine, of_a_task_that_was_cancelled_before_ends_at_the_first_await_inside) {
  run(with_scope([](scope& s) -> task<> {
    s.cancel();
    std::atomic<int> ended{0};
    auto outcome = co_await attempt(all(watched(ended), watched(ended)));
    EXPECT_TRUE(outcome.failure().is_cancelled());
    EXPECT_EQ(ended.load(), 2);
    auto value = co_await all([]() -> task<int> { co_return 1; }(), []() -> task<int> { co_return 2; }());
    EXPECT_EQ(std::get<1>(value), 2) << "what needs no wait succeeds all the same";
  }));
}

TEST_P(Combine, frees_every_frame_and_argument) {
  run_stealable([]() -> task<> {
    auto hold = [](counted, int n) -> task<int> { co_return co_await later(n, n); };
    for (int i = 0; i < 50; ++i) {
      static_cast<void>(co_await all(hold(counted(), 1), hold(counted(), 2)));
      static_cast<void>(co_await race(hold(counted(), 1), hold(counted(), 2)));
      {
        auto unused = all(hold(counted(), 1), hold(counted(), 2));
        static_cast<void>(unused);
      }
    }
    EXPECT_EQ(counted::alive(), 0);
  });
}

TEST_P(Combine, survives_races_between_winners_losers_and_cancellation) {
  run(with_scope([](scope& s) -> task<> {
    for (std::size_t i = 0; i < rounds(10'000); ++i) {
      auto child = s.spawn([i]() -> task<> {
        auto n = static_cast<int>(i % 4);
        switch (i % 3) {
          case 0: static_cast<void>(co_await race(later(1, n), later(2, 2), forever())); break;
          case 1: static_cast<void>(co_await attempt(all(later(1, n), failing(2), later(3, 1)))); break;
          default: {
            std::vector<task<int>> tasks;
            for (int t = 0; t < 6; ++t) tasks.push_back(later(t, t % 3));
            static_cast<void>(co_await attempt(all(std::move(tasks), 2)));
          }
        }
      });
      if (i % 2 == 0) co_await yield();
      if (i % 3 == 0) child.cancel();
      static_cast<void>(co_await attempt(std::move(child)));
    }
  }));
}

TEST_P(Combine, shield_runs_to_the_end_and_shows_the_cancellation_afterwards) {
  run(with_scope([](scope& s) -> task<> {
    std::atomic<bool> whole{false};
    std::atomic<bool> seen{false};
    event started;
    auto child = s.spawn([&]() -> task<> {
      co_await shield([](auto& begun, auto& done) -> task<> {
        begun.set();
        for (int i = 0; i < 20; ++i) co_await yield();
        co_await sleep(1ms);
        static_cast<void>(co_await all(later(1), shield(later(2))));
        done = true;
      }(started, whole));
      auto outcome = co_await attempt(sleep(1h));
      seen = outcome.failure().is_cancelled();
    });
    co_await started.wait();
    child.cancel();
    co_await std::move(child);
    EXPECT_TRUE(whole.load());
    EXPECT_TRUE(seen.load());
  }));
}

}  // namespace
}  // namespace weir
