#include <weir/sync/throttle.hpp>
#include <weir/weir.hpp>

#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

/// "text@milliseconds" for each call.
class call_log {
 public:
  auto function() {
    return [this](const std::string& what) {
      calls.push_back(what + '@' + std::to_string(virtual_clock::elapsed() / 1ms));
    };
  }
  std::vector<std::string> calls;
};

/// Runs `body` in a scope that waits for the timers.
template <class F>
task<> in_scope(F body) {
  co_await with_scope([&](scope&) -> task<> { co_await body(); });
}

// C3-ORD-15, C3-SYS-13
TEST(Debounce, calls_once_with_the_last_arguments_when_it_has_been_quiet) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto search = debounce<std::string>(300ms, log.function());
    co_await in_scope([&]() -> task<> {
      EXPECT_FALSE(search("node"));
      co_await sleep(200ms);
      EXPECT_FALSE(search("node.js"));
      EXPECT_TRUE(search.pending());
      co_await sleep(299ms);
      EXPECT_THAT(log.calls, IsEmpty());
    });
    EXPECT_THAT(log.calls, ElementsAre("node.js@500"));
    EXPECT_FALSE(search.pending());
    co_await in_scope([&]() -> task<> {
      search("again");
      co_return;
    });
    EXPECT_THAT(log.calls, ElementsAre("node.js@500", "again@800"));
  }());
}

TEST(Debounce, may_call_at_the_leading_edge) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto first = debounce<std::string>(100ms, log.function(), {.leading = true, .trailing = false});
    co_await in_scope([&]() -> task<> {
      EXPECT_TRUE(first("a"));
      for (int i = 0; i < 5; ++i) {
        co_await sleep(50ms);
        EXPECT_FALSE(first("b"));
      }
      EXPECT_FALSE(first.flush());
      co_await sleep(100ms);
      EXPECT_TRUE(first("c"));
    });
    EXPECT_THAT(log.calls, ElementsAre("a@0", "c@350"));
  }());
}

TEST(Debounce, calls_at_both_edges_only_if_it_was_asked_twice) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto both = debounce<std::string>(100ms, log.function(), {.leading = true});
    co_await in_scope([&]() -> task<> {
      both("a");
      co_await sleep(200ms);
      both("b");
      co_await sleep(10ms);
      both("c");
    });
    EXPECT_THAT(log.calls, ElementsAre("a@0", "b@200", "c@310"));
  }());
}

TEST(Debounce, puts_a_call_off_no_longer_than_its_longest_wait) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto bounded = debounce<std::string>(100ms, log.function(), {.max_wait = 250ms});
    co_await in_scope([&]() -> task<> {
      for (int i = 0; i < 10; ++i) {
        bounded(std::to_string(i));
        co_await sleep(50ms);
      }
    });
    EXPECT_THAT(log.calls, ElementsAre("4@250", "9@500"));
  }());
}

TEST(Debounce, can_be_cancelled_and_flushed) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto later = debounce<std::string>(100ms, log.function());
    co_await in_scope([&]() -> task<> {
      EXPECT_FALSE(later.flush());
      later("dropped");
      later.cancel();
      EXPECT_FALSE(later.pending());
      EXPECT_FALSE(later.flush());
      co_await sleep(50ms);
      later("flushed");
      co_await sleep(50ms);
      EXPECT_TRUE(later.flush());
      EXPECT_FALSE(later.flush());
      later("afterwards");
    });
    EXPECT_THAT(log.calls, ElementsAre("flushed@100", "afterwards@200"));
  }());
}

TEST(Debounce, loses_the_call_that_waits_when_it_goes) {
  on_virtual_time([]() -> task<> {
    call_log log;
    co_await in_scope([&]() -> task<> {
      auto gone = debounce<std::string>(100ms, log.function());
      gone("x");
      co_return;
    });
    EXPECT_THAT(log.calls, IsEmpty());
    EXPECT_EQ(virtual_clock::elapsed(), 0ms);
  }());
}

TEST(Debounce, works_again_after_the_scope_of_a_waiting_call_was_cancelled) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto later = debounce<std::string>(100ms, log.function());
    co_await with_scope([&](scope& s) -> task<> {
      later("lost");
      s.cancel();
      co_return;
    });
    EXPECT_FALSE(later.pending());
    co_await in_scope([&]() -> task<> {
      later("kept");
      co_return;
    });
    EXPECT_THAT(log.calls, ElementsAre("kept@100"));
  }());
}

TEST(Debounce, may_be_asked_flushed_or_destroyed_by_its_own_function) {
  on_virtual_time([]() -> task<> {
    std::vector<int> calls;
    std::optional<paced_function<int>> own;
    own.emplace(debounce<int>(10ms, [&, kept = std::string("kept")](int n) {
      calls.push_back(n);
      EXPECT_FALSE(own->flush());
      if (n > 0) {
        (*own)(n - 1);
      } else {
        own.reset();
      }
      EXPECT_EQ(kept, "kept");
    }));
    co_await in_scope([&]() -> task<> {
      (*own)(2);
      co_return;
    });
    EXPECT_THAT(calls, ElementsAre(2, 1, 0));
    EXPECT_EQ(virtual_clock::elapsed(), 30ms);
  }());
}

TEST(Debounce, spawns_a_task_that_its_function_returns) {
  on_virtual_time([]() -> task<> {
    std::vector<std::string> done;
    auto later = debounce<std::string>(10ms, [&](std::string what) -> task<> {
      co_await sleep(5ms);
      done.push_back(what);
    });
    co_await in_scope([&]() -> task<> {
      later("a string that is too long to be stored in place");
      co_return;
    });
    EXPECT_THAT(done, ElementsAre("a string that is too long to be stored in place"));
    EXPECT_EQ(virtual_clock::elapsed(), 15ms);
  }());
}

TEST(Debounce, fails_the_scope_with_what_its_function_throws_later) {
  EXPECT_THROW(on_virtual_time([]() -> task<> {
                 auto fails = debounce<>(10ms, [] { throw std::runtime_error("late"); });
                 co_await in_scope([&]() -> task<> {
                   fails();
                   co_return;
                 });
               }()),
               std::runtime_error);
}

TEST(Debounce, refuses_a_negative_wait) {
  EXPECT_THROW(static_cast<void>(debounce<>(-1ms, [] {})), error);
}

TEST(Throttle, calls_at_once_and_then_at_most_once_in_a_while) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto report = throttle<std::string>(100ms, log.function());
    co_await in_scope([&]() -> task<> {
      for (int i = 0; i < 10; ++i) {
        report(std::to_string(i));
        co_await sleep(30ms);
      }
    });
    EXPECT_THAT(log.calls, ElementsAre("0@0", "3@100", "6@200", "9@300"));
  }());
}

// C1-EE-18
TEST(Throttle, may_drop_what_comes_in_between) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto leading = throttle<std::string>(1s, log.function(), {.trailing = false});
    co_await in_scope([&]() -> task<> {
      EXPECT_TRUE(leading("a"));
      co_await sleep(999ms);
      EXPECT_FALSE(leading("dropped"));
      co_await sleep(1001ms);
      EXPECT_TRUE(leading("b"));
    });
    EXPECT_THAT(log.calls, ElementsAre("a@0", "b@2000"));
  }());
}

TEST(Throttle, may_call_at_the_trailing_edge_only) {
  on_virtual_time([]() -> task<> {
    call_log log;
    auto trailing = throttle<std::string>(100ms, log.function(), {.leading = false});
    co_await in_scope([&]() -> task<> {
      trailing("a");
      co_await sleep(60ms);
      trailing("b");
      co_await sleep(60ms);
      trailing("c");
    });
    EXPECT_THAT(log.calls, ElementsAre("b@100", "c@200"));
  }());
}

}  // namespace
}  // namespace weir::sync
