#include <weir/core/blocking.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <signal.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;
using testing::with_workers;

std::size_t threads_of_process() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/task")) {
    static_cast<void>(each);
    ++count;
  }
  return count;
}

class Blocking : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main, unsigned threads = 64, std::size_t queue = 65536) {
    auto options = with_workers(GetParam());
    options.blocking_threads = threads;
    options.blocking_queue = queue;
    return runtime(options).block_on(std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Blocking, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(Blocking, runs_the_function_on_a_named_thread_that_takes_no_signals) {
  run([]() -> task<> {
    auto worker = std::this_thread::get_id();
    co_await blocking([worker] {
      EXPECT_NE(std::this_thread::get_id(), worker);
      std::array<char, 16> name = {};
      pthread_getname_np(pthread_self(), name.data(), name.size());
      EXPECT_EQ(std::string(name.data()).rfind("weir-block-", 0), 0U) << name.data();
      sigset_t blocked;
      pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
      EXPECT_EQ(sigismember(&blocked, SIGTERM), 1);
    });
  }());
}

TEST_P(Blocking, hands_over_values_references_and_exceptions) {
  run([]() -> task<> {
    EXPECT_EQ(co_await blocking([] { return 3; }), 3);
    auto moved = co_await blocking([p = std::make_unique<int>(4)]() mutable { return std::move(p); });
    EXPECT_EQ(*moved, 4);
    int object = 0;
    int& same = co_await blocking([&object]() -> int& { return object; });
    EXPECT_EQ(&same, &object);
    EXPECT_THROW(co_await blocking([] { throw std::invalid_argument("x"); }), std::invalid_argument);
    auto outcome = co_await attempt(blocking([]() -> int { throw std::invalid_argument("x"); }));
    EXPECT_EQ(outcome.failure().message(), "x");
  }());
}

TEST_P(Blocking, grows_on_demand_up_to_its_bound) {
  run(with_scope([](scope& s) -> task<> {
        EXPECT_EQ(metrics().blocking_threads, 0U) << "none before the first call";
        std::atomic<int> inside{0};
        std::atomic<bool> go{false};
        for (int i = 0; i < 10; ++i) {
          s.spawn([&]() -> task<> {
            co_await blocking([&] {
              inside.fetch_add(1);
              while (!go) std::this_thread::sleep_for(1ms);
            });
          });
        }
        while (inside.load() < 4 || metrics().blocking_queued < 6) co_await sleep(1ms);
        EXPECT_EQ(inside.load(), 4);
        EXPECT_EQ(metrics().blocking_threads, 4U);
        EXPECT_EQ(metrics().blocking_queued, 6U);
        go = true;
      }),
      4);
}

TEST_P(Blocking, refuses_what_its_queue_does_not_hold) {
  run(with_scope([](scope& s) -> task<> {
        std::atomic<bool> begun{false};
        std::atomic<bool> go{false};
        s.spawn([&]() -> task<> {
          co_await blocking([&] {
            begun = true;
            while (!go) std::this_thread::sleep_for(1ms);
          });
        });
        while (!begun) co_await sleep(1ms);
        for (int i = 0; i < 2; ++i) s.spawn([]() -> task<> { co_await blocking([] {}); });
        while (metrics().blocking_queued < 2) co_await sleep(1ms);
        auto refused = co_await attempt(blocking([] { return 1; }));
        EXPECT_TRUE(refused.failure().is("ERR_QUEUE_FULL"));
        go = true;
        while (metrics().blocking_queued != 0) co_await sleep(1ms);
        EXPECT_EQ(co_await blocking([] { return 2; }), 2) << "there is room again";
      }),
      1, 2);
}

TEST_P(Blocking, takes_a_cancelled_function_out_of_the_queue) {
  run(with_scope([](scope& s) -> task<> {
        std::atomic<bool> begun{false};
        std::atomic<bool> go{false};
        auto running = s.spawn([&]() -> task<> {
          co_await blocking([&] {
            begun = true;
            while (!go) std::this_thread::sleep_for(1ms);
          });
        });
        while (!begun) co_await sleep(1ms);
        std::vector<join_handle<>> queued;
        for (int i = 0; i < 5; ++i) {
          queued.push_back(s.spawn([]() -> task<> { co_await blocking([] { ADD_FAILURE() << "it was cancelled"; }); }));
        }
        while (metrics().blocking_queued < 5) co_await sleep(1ms);
        for (auto i : {2U, 0U, 4U, 1U, 3U}) {
          queued[i].cancel();
          EXPECT_TRUE((co_await attempt(std::move(queued[i]))).failure().is_cancelled());
        }
        EXPECT_EQ(metrics().blocking_queued, 0U);
        go = true;
        co_await std::move(running);
      }),
      1);
}

TEST_P(Blocking, waits_for_a_cancelled_function_that_has_begun) {
  run([]() -> task<> {
    std::atomic<bool> begun{false};
    std::atomic<bool> go{false};
    std::atomic<bool> ended{false};
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn([&]() -> task<> {
        EXPECT_EQ(co_await blocking([&] {
                    begun = true;
                    while (!go) std::this_thread::sleep_for(1ms);
                    ended = true;
                    return 5;
                  }),
                  5)
            << "what it gave is not thrown away";
        EXPECT_THROW(co_await yield(), cancelled);
      });
      while (!begun) co_await sleep(1ms);
      s.cancel();
      static_cast<void>(co_await attempt(sleep(1ms)));
      EXPECT_FALSE(ended.load());
      go = true;
    });
    EXPECT_TRUE(ended.load());
  }());
}

TEST_P(Blocking, joins_its_threads_at_the_end) {
  run([]() -> task<> { co_await blocking([] {}); }());  // whatever the sanitizers start is there now
  auto before = threads_of_process();
  run(with_scope([](scope& s) -> task<> {
    for (int i = 0; i < 100; ++i) s.spawn([]() -> task<> { co_await blocking([] {}); });
    co_return;
  }));
  EXPECT_EQ(threads_of_process(), before);
}

TEST_P(Blocking, survives_races_between_functions_and_cancellation) {
  run(with_scope([](scope& s) -> task<> {
        std::atomic<int> inside{0};
        for (std::size_t i = 0; i < rounds(3000); ++i) {
          auto child = s.spawn([&]() -> task<> {
            static_cast<void>(co_await attempt(blocking([&] { inside.fetch_add(1); })));
            static_cast<void>(co_await attempt(blocking([&] { inside.fetch_sub(1); })));
          });
          if (i % 2 == 0) co_await yield();
          if (i % 5 == 0) co_await sleep(0ms);
          child.cancel();
          if (i % 16 == 0) EXPECT_FALSE(task_dump().empty());
        }
      }),
      3);
}

task<> call_short_functions(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) co_await blocking([] {});
}

TEST_P(Blocking, shares_a_few_threads_among_short_functions) {
  run(with_scope([](scope& s) -> task<> {
    std::vector<join_handle<>> lanes;
    for (int i = 0; i < 64; ++i) lanes.push_back(s.spawn(call_short_functions, rounds(200, 10)));
    for (auto& lane : lanes) co_await std::move(lane);
    EXPECT_LT(metrics().blocking_threads, 64U) << "one for each would only get in the way of the others";
  }));
}

TEST_P(Blocking, adds_threads_where_functions_wait_for_one_another) {
  run(with_scope([](scope& s) -> task<> {
    co_await call_short_functions(100);  // so that short ones are expected
    std::latch all(64);
    std::vector<join_handle<>> waiting;
    for (int i = 0; i < 64; ++i) {
      waiting.push_back(s.spawn([&all]() -> task<> { co_await blocking([&all] { all.arrive_and_wait(); }); }));
    }
    for (auto& each : waiting) co_await std::move(each);
    EXPECT_EQ(metrics().blocking_threads, 64U);
  }));
}

TEST_P(Blocking, tells_a_waiter_though_a_function_behind_its_own_sleeps) {
  run(with_scope([](scope& s) -> task<> {
    for (std::size_t i = 0; i < rounds(50, 5); ++i) {
      std::latch told(8);  // those who wait for it are behind short ones, and those in front of more
      std::vector<join_handle<>> all;
      for (int lane = 0; lane < 8; ++lane) {
        all.push_back(s.spawn([&told]() -> task<> {
          co_await blocking([] {});
          told.count_down();
        }));
        all.push_back(s.spawn([&told]() -> task<> { co_await blocking([&told] { told.wait(); }); }));
        all.push_back(s.spawn(call_short_functions, 3));
      }
      for (auto& each : all) co_await std::move(each);
    }
  }));
}

TEST_P(Blocking, may_be_the_last_thing_a_runtime_waits_for) {
  for (std::size_t i = 0; i < rounds(200, 4); ++i) {
    EXPECT_EQ(run([]() -> task<int> { co_return co_await blocking([] { return 1; }); }()), 1);
  }
}

}  // namespace
}  // namespace weir
