#include <weir/core/generator.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::counted;
using testing::rounds;
using testing::run_with;

generator<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
}

generator<int> count_slowly(int last) {
  for (int i = 1; i <= last; ++i) {
    co_await yield();
    co_yield i;
  }
}

template <class T>
task<std::vector<T>> gather(generator<T> from) {
  std::vector<T> all;
  while (auto each = co_await from.next()) all.push_back(std::move(*each));
  co_return all;
}

TEST(Generator, yields_its_values_in_order_and_then_the_end) {
  auto all = run_with(1, gather(count_to(5)));
  EXPECT_EQ(all, (std::vector{1, 2, 3, 4, 5}));
}

TEST(Generator, may_await_between_its_values) {
  for (unsigned workers : {1U, 3U}) EXPECT_EQ(run_with(workers, gather(count_slowly(100))).size(), 100U);
}

TEST(Generator, stays_at_its_end) {
  run_with(1, []() -> task<> {
    auto g = count_to(1);
    EXPECT_FALSE(g.done());
    EXPECT_EQ(co_await g.next(), 1);
    EXPECT_EQ(co_await g.next(), std::nullopt);
    EXPECT_TRUE(g.done());
    EXPECT_EQ(co_await g.next(), std::nullopt);
    auto moved = std::move(g);
    EXPECT_EQ(co_await moved.next(), std::nullopt);
  }());
}

TEST(Generator, runs_nothing_until_it_is_asked) {
  run_with(1, []() -> task<> {
    int steps = 0;
    auto body = [](int& at) -> generator<int> {
      ++at;
      co_yield 1;
      ++at;
      co_yield 2;
    };
    auto g = body(steps);
    EXPECT_EQ(steps, 0);
    static_cast<void>(co_await g.next());
    EXPECT_EQ(steps, 1);
  }());
}

TEST(Generator, yields_what_can_only_be_moved) {
  run_with(1, []() -> task<> {
    auto g = []() -> generator<std::unique_ptr<int>> {
      co_yield std::make_unique<int>(1);
      auto named = std::make_unique<int>(2);
      co_yield std::move(named);
    }();
    auto first = co_await g.next();
    auto second = co_await g.next();
    EXPECT_EQ(**first + **second, 3);
    EXPECT_FALSE(co_await g.next());
  }());
}

TEST(Generator, copies_what_it_yields_by_name) {
  run_with(1, []() -> task<> {
    auto g = []() -> generator<std::string> {
      std::string text = "a string that is too long to be stored in place";
      co_yield text;
      co_yield text;
      const std::string fixed = "short";
      co_yield fixed;
      co_yield "literal";
    }();
    auto first = co_await g.next();
    auto second = co_await g.next();
    EXPECT_EQ(first, second);
    EXPECT_EQ(co_await g.next(), "short");
    EXPECT_EQ(co_await g.next(), "literal");
  }());
}

TEST(Generator, yields_references_to_what_it_keeps) {
  run_with(1, []() -> task<> {
    auto g = []() -> generator<int&> {
      int kept = 1;
      co_yield kept;
      co_yield kept;
    }();
    int* first = co_await g.next();
    EXPECT_EQ(*first, 1);
    *first = 7;
    int* second = co_await g.next();
    EXPECT_EQ(first, second);
    EXPECT_EQ(*second, 7);
    EXPECT_EQ(co_await g.next(), nullptr);
  }());
}

TEST(Generator, hands_over_its_failure_once_and_then_ends) {
  run_with(1, []() -> task<> {
    auto body = []() -> generator<int> {
      co_yield 1;
      throw std::runtime_error("broken");
    };
    auto g = body();
    EXPECT_EQ(co_await g.next(), 1);
    EXPECT_THROW(co_await g.next(), std::runtime_error);
    EXPECT_EQ(co_await g.next(), std::nullopt);
    auto other = body();
    EXPECT_EQ(*co_await attempt(other.next()), 1);
    auto failed = co_await attempt(other.next());
    EXPECT_FALSE(failed);
    EXPECT_EQ(failed.failure().message(), "broken");
    EXPECT_EQ(*co_await attempt(other.next()), std::nullopt);
  }());
}

TEST(Generator, releases_what_it_holds_when_it_is_dropped_early) {
  run_with(1, []() -> task<> {
    auto body = [](std::vector<int>& order) -> generator<int> {
      struct note {
        std::vector<int>& to;
        int what;
        ~note() { to.push_back(what); }
      };
      counted held;
      note outer{order, 1};
      note inner{order, 2};
      for (int i = 0;; ++i) co_yield i;
    };
    std::vector<int> order;
    {
      auto g = body(order);
      for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await g.next(), i);
      EXPECT_EQ(counted::alive(), 1);
    }
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_EQ(order, (std::vector{2, 1}));
    {
      auto never_begun = body(order);
    }
    EXPECT_EQ(order.size(), 2U);
  }());
}

TEST(Generator, may_clean_up_with_awaits_when_it_is_closed) {
  run_with(1, []() -> task<> {
    auto body = [](int& cleaned, bool yields_again) -> generator<int> {
      counted held;
      bool stopped = false;
      try {
        for (int i = 0;; ++i) co_yield i;
      } catch (const cancelled&) {
        stopped = true;
      }
      co_await yield();
      cleaned += stopped ? 1 : 0;
      if (yields_again) co_yield 7;
      ++cleaned;
    };
    int cleaned = 0;
    auto g = body(cleaned, false);
    static_cast<void>(co_await g.next());
    co_await std::move(g).close();
    EXPECT_EQ(cleaned, 2);
    auto again = body(cleaned, true);
    static_cast<void>(co_await again.next());
    co_await std::move(again).close();
    EXPECT_EQ(cleaned, 3);
    auto not_begun = body(cleaned, false);
    co_await std::move(not_begun).close();
    EXPECT_EQ(cleaned, 3);
    EXPECT_EQ(counted::alive(), 0);
  }());
}

TEST(Generator, tells_what_failed_while_it_was_closed) {
  run_with(1, []() -> task<> {
    auto g = []() -> generator<int> {
      try {
        co_yield 1;
      } catch (const cancelled&) {
        throw std::runtime_error("cleanup failed");
      }
    }();
    static_cast<void>(co_await g.next());
    EXPECT_THROW(co_await std::move(g).close(), std::runtime_error);
  }());
}

TEST(Generator, ends_when_what_it_awaits_is_cancelled) {
  run_with(1, []() -> task<> {
    auto g = []() -> generator<int> {
      counted held;
      co_yield 1;
      co_await testing::forever();
      co_yield 2;
    }();
    EXPECT_EQ(co_await g.next(), 1);
    EXPECT_THROW(co_await timeout(1ms, g.next()), error);
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_TRUE(g.done());
    EXPECT_EQ(co_await g.next(), std::nullopt);
  }());
}

TEST(Generator, keeps_its_place_when_a_task_that_is_to_stop_asks) {
  run_with(1, []() -> task<> {
    auto g = count_to(3);
    EXPECT_EQ(co_await g.next(), 1);
    co_await with_scope([&](scope& s) -> task<> {
      s.cancel();
      EXPECT_TRUE((co_await attempt(g.next())).failure().is_cancelled());
    });
    EXPECT_EQ(co_await g.next(), 2);
  }());
}

TEST(Generator, may_change_hands_between_values) {
  run_with(2, []() -> task<> {
    auto g = count_slowly(20);
    for (int i = 1; i <= 20; ++i) {
      auto got = co_await with_scope([&](scope& s) -> task<std::optional<int>> {
        co_return co_await s.spawn([&]() -> task<std::optional<int>> { co_return co_await g.next(); });
      });
      EXPECT_EQ(got, i);
    }
    EXPECT_EQ(co_await g.next(), std::nullopt);
  }());
}

generator<int> incremented(generator<int> of) {
  while (auto each = co_await of.next()) co_yield *each + 1;
}

TEST(Generator, may_be_made_from_another) {
  auto all = run_with(1, gather(incremented(incremented(count_slowly(3)))));
  EXPECT_EQ(all, (std::vector{3, 4, 5}));
}

TEST(Generator, does_not_grow_the_stack_nor_starve_others) {
  run_with(1, []() -> task<> {
    bool other_ran = false;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await yield();
        other_ran = true;
      });
      auto g = incremented(incremented(count_to(1'000'000)));
      int seen = 0;
      while (!other_ran && co_await g.next()) ++seen;
      EXPECT_TRUE(other_ran);
      EXPECT_GT(seen, 0);
    });
  }());
}

TEST(Generator, takes_a_million_values_on_one_stack) {
  run_with(1, []() -> task<> {
    auto g = incremented(count_to(static_cast<int>(rounds(1'000'000))));
    std::size_t seen = 0;
    while (co_await g.next()) ++seen;
    EXPECT_EQ(seen, rounds(1'000'000));
  }());
}

TEST(Generator, allocates_one_frame_whatever_it_yields) {
  run_with(1, []() -> task<> {
    auto g = count_to(1000);
    static_cast<void>(co_await g.next());
    auto before = frame_pool_statistics().allocations;
    while (co_await g.next()) {
    }
    EXPECT_EQ(frame_pool_statistics().allocations, before);
  }());
}

}  // namespace
}  // namespace weir
