// Limits, retries and breakers together, and their awaits cut short at every moment.
#include <weir/sync/batcher.hpp>
#include <weir/sync/circuit_breaker.hpp>
#include <weir/sync/rate_limiter.hpp>
#include <weir/sync/retry.hpp>
#include <weir/sync/single_flight.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

/// A client that tries again through a breaker, except for what must not be done twice.
class client {
 public:
  explicit client(std::function<task<std::string>(std::string)> upstream)
      : upstream_(std::move(upstream)),
        breaker_({.failure_threshold = 3, .success_threshold = 1, .reset_timeout = 30s}) {}

  task<std::string> get(std::string what) { return call(std::move(what), 4); }
  task<std::string> post(std::string what) { return call(std::move(what), 1); }
  circuit_state state() const { return breaker_.state(); }

 private:
  task<std::string> call(std::string what, unsigned attempts) {
    co_return co_await retry([&]() { return breaker_.execute([&]() { return upstream_(what); }); },
                             {.attempts = attempts,
                              .pause = {.delay = 1s, .spread = jitter::equal, .seed = 5},
                              .retry_if = [](const failure& why) { return !why.is("ERR_CIRCUIT_OPEN"); }});
  }

  std::function<task<std::string>(std::string)> upstream_;
  circuit_breaker breaker_;
};

TEST(RecoverySystems, C3_SYS_57_client_with_retry_and_breaker) {
  on_virtual_time([]() -> task<> {
    int calls = 0;
    int failing = 2;
    client api([&](std::string what) -> task<std::string> {
      ++calls;
      if (failing > 0) {
        --failing;
        throw net_error(ECONNRESET, "read");
      }
      co_return "got " + what;
    });
    EXPECT_EQ(co_await api.get("a"), "got a");  // two failures, then the breaker sees a success
    EXPECT_EQ(calls, 3);
    EXPECT_GE(virtual_clock::elapsed(), 1500ms);
    EXPECT_LE(virtual_clock::elapsed(), 3s);

    failing = 1;
    EXPECT_TRUE((co_await attempt(api.post("b"))).failure().is("ECONNRESET"));  // not twice
    EXPECT_EQ(calls, 4);
    EXPECT_EQ(co_await api.post("b"), "got b");

    failing = 1000;
    calls = 0;
    EXPECT_TRUE((co_await attempt(api.get("c"))).failure().is("ERR_CIRCUIT_OPEN"));
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(api.state(), circuit_state::open);
    EXPECT_TRUE((co_await attempt(api.get("d"))).failure().is("ERR_CIRCUIT_OPEN"));
    EXPECT_EQ(calls, 3);
    failing = 0;
    co_await sleep(30s);
    EXPECT_EQ(co_await api.get("e"), "got e");
    EXPECT_EQ(api.state(), circuit_state::closed);
  }());
}

/// Starts `operation` again and again and cancels it after 0, 1, 2... ms, until it ends by itself.
template <class F>
task<int> cancel_at_every_moment(F operation) {
  for (int moment = 0;; ++moment) {
    bool done = false;
    co_await with_scope([&](scope& s) -> task<> {
      auto one = s.spawn_local([&]() -> task<> {
        co_await operation();
        done = true;
      });
      if (moment == 1) co_await yield();
      if (moment > 1) co_await sleep(std::chrono::milliseconds(moment - 1));
      one.cancel();
      static_cast<void>(co_await attempt(std::move(one)));
    });
    if (done) co_return moment;
  }
}

TEST(Recovery, may_be_cancelled_at_every_moment) {
  on_virtual_time([]() -> task<> {
    rate_limiter<token_bucket> bucket(token_bucket({.capacity = 1, .refill = 1, .interval = 5ms}));
    EXPECT_GT(co_await cancel_at_every_moment([&]() -> task<> {
                bucket.reset();
                EXPECT_TRUE(bucket.try_acquire());
                co_await bucket.acquire();
              }),
              4);
    EXPECT_EQ(bucket.waiting(), 0U);

    EXPECT_GT(co_await cancel_at_every_moment([&]() -> task<> {
                static_cast<void>(co_await attempt(retry(
                    []() -> task<> {
                      co_await sleep(2ms);
                      throw error(errc::err_closed);
                    },
                    {.attempts = 3,
                     .pause = {.delay = 2ms, .spread = jitter::none},
                     .signal = abort_controller().signal()})));
                co_await yield();
              }),
              9);

    single_flight<int, int> flights;
    EXPECT_GT(co_await cancel_at_every_moment([&]() -> task<> {
                auto slow = []() -> task<int> {
                  co_await sleep(3ms);
                  co_return 1;
                };
                co_await all(flights.run(1, slow), flights.run(1, slow));
              }),
              2);
    EXPECT_EQ(flights.size(), 0U);

    circuit_breaker breaker({.success_threshold = 1'000, .reset_timeout = 0s});
    breaker.open();
    EXPECT_EQ(breaker.state(), circuit_state::half_open);
    EXPECT_GT(co_await cancel_at_every_moment(
                  [&]() -> task<> { co_await breaker.execute([]() -> task<> { co_await sleep(3ms); }); }),
              2);
    EXPECT_EQ(breaker.statistics().refused, 0U);
    EXPECT_EQ(breaker.statistics().failures, 0U);
    EXPECT_EQ(breaker.statistics().successes, 1U);

    co_await with_scope([&](scope& s) -> task<> {
      int loads = 0;
      loader<int, int> numbers(s,
                               [&](std::vector<int> keys) -> task<std::vector<result<int>>> {
                                 ++loads;
                                 co_await sleep(3ms);
                                 co_return std::vector<result<int>>(keys.begin(), keys.end());
                               },
                               {.max_wait = 2ms, .max_cached = 0});
      EXPECT_GT(co_await cancel_at_every_moment([&]() -> task<> { EXPECT_EQ(co_await numbers.load(7), 7); }), 3);
      co_await sleep(10ms);
      EXPECT_EQ(co_await numbers.load(8), 8);
      EXPECT_GT(loads, 1);
    });
  }());
}

TEST(Recovery, serves_all_that_are_left_when_others_are_cancelled_on_several_workers) {
  rate_limiter<leaky_bucket> limiter(leaky_bucket({.rate = 100'000, .interval = 1s}));
  std::atomic<int> served{0};
  std::atomic<int> stopped{0};
  int asked = static_cast<int>(testing::rounds(1000));
  testing::run_with(2, with_scope([&](scope& s) -> task<> {
                      for (int i = 0; i < asked; ++i) {
                        auto one = s.spawn([&]() -> task<> {
                          auto outcome = co_await attempt(limiter.acquire());
                          ++(outcome ? served : stopped);
                        });
                        if (i % 3 == 0) one.cancel();
                      }
                      co_return;
                    }));
  EXPECT_EQ(served + stopped, asked);
  EXPECT_GE(served, asked * 2 / 3);
  EXPECT_EQ(limiter.waiting(), 0U);
}

}  // namespace
}  // namespace weir::sync
