#include <weir/sync/rate_limiter.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

rate_clock at(nanoseconds time) { return rate_clock(1000h + time); }

// C3-ORD-37, and the boundary of C2-RL-03
TEST(FixedWindow, allows_its_limit_and_again_exactly_when_the_window_has_passed) {
  fixed_window rule({.limit = 3, .window = 60s});
  fixed_window::state s;
  for (std::size_t left : {2U, 1U, 0U}) {
    auto d = rule.take(s, 1, at(0s));
    EXPECT_TRUE(d.allowed);
    EXPECT_EQ(d.remaining, left);
    EXPECT_EQ(d.limit, 3U);
    EXPECT_EQ(d.reset_after, 60s);
  }
  auto refused = rule.take(s, 1, at(0s));
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.remaining, 0U);
  EXPECT_EQ(whole_seconds(refused.retry_after), 60);
  EXPECT_EQ(whole_seconds(rule.take(s, 1, at(58s + 1ns)).retry_after), 2);
  EXPECT_FALSE(rule.take(s, 1, at(60s - 1ns)).allowed);
  EXPECT_EQ(rule.take(s, 1, at(60s)).remaining, 2U);
}

TEST(FixedWindow, begins_with_the_first_request) {
  fixed_window rule({.limit = 1, .window = 10s});
  fixed_window::state s;
  EXPECT_TRUE(rule.take(s, 1, at(7s)));
  EXPECT_FALSE(rule.take(s, 1, at(16s)));
  EXPECT_TRUE(rule.take(s, 1, at(17s)));
}

// C2-RL-05: there refused requests count. It shows where a request wants several permits.
TEST(FixedWindow, counts_refused_requests_if_told_to) {
  for (bool counts : {false, true}) {
    fixed_window rule({.limit = 5, .count_refused = counts});
    fixed_window::state s;
    rule.take(s, 3, at(0s));
    EXPECT_FALSE(rule.take(s, 3, at(0s)));
    EXPECT_EQ(rule.take(s, 2, at(1s)).allowed, !counts);
  }
}

// C3-EL-25, C2-MW-15: an entry expires at now - t >= interval; refused requests are not recorded.
TEST(SlidingLog, counts_each_permit_for_exactly_its_window) {
  sliding_log rule({.limit = 2, .window = 60s});
  sliding_log::state s;
  EXPECT_TRUE(rule.take(s, 1, at(0s)));
  EXPECT_TRUE(rule.take(s, 1, at(30s)));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(rule.take(s, 1, at(59s)));
  EXPECT_EQ(rule.take(s, 1, at(59s)).retry_after, 1s);
  EXPECT_FALSE(rule.take(s, 1, at(60s - 1ns)));
  EXPECT_TRUE(rule.take(s, 1, at(60s)));
  EXPECT_FALSE(rule.take(s, 1, at(89s)));
  EXPECT_TRUE(rule.take(s, 1, at(90s)));
  EXPECT_EQ(s.times.size(), 2U);
}

TEST(SlidingLog, lets_no_double_rush_through_at_the_edge_of_a_window) {
  auto passed = [](auto rule) {
    typename decltype(rule)::state s;
    int count = 0;
    for (int i = 0; i < 10; ++i) count += rule.take(s, 1, at(0s)).allowed && i == 0 ? 1 : 0;
    for (int i = 0; i < 10; ++i) count += rule.take(s, 1, at(59s)).allowed ? 1 : 0;
    for (int i = 0; i < 10; ++i) count += rule.take(s, 1, at(60s)).allowed ? 1 : 0;
    return count;
  };
  window_options o{.limit = 10, .window = 60s};
  EXPECT_EQ(passed(fixed_window(o)), 11);
  EXPECT_EQ(passed(sliding_log(o)), 11);
  EXPECT_LT(passed(sliding_counter(o)), 3);
}

TEST(SlidingCounter, weighs_the_window_before_by_what_is_left_of_it) {
  sliding_counter rule({.limit = 10, .window = 60s});
  sliding_counter::state s;
  EXPECT_TRUE(rule.take(s, 10, at(0s)));
  EXPECT_FALSE(rule.take(s, 1, at(60s)));
  EXPECT_EQ(rule.take(s, 1, at(60s)).retry_after, 6s);
  EXPECT_TRUE(rule.take(s, 1, at(66s)));
  EXPECT_FALSE(rule.take(s, 5, at(90s)));
  EXPECT_TRUE(rule.take(s, 4, at(90s)));
  EXPECT_EQ(rule.look(s, 1, at(180s)).remaining, 10U);
}

TEST(SlidingCounter, lets_who_keeps_asking_wait_longer_if_refused_requests_count) {
  sliding_counter rule({.limit = 10, .window = 60s, .count_refused = true});
  sliding_counter::state s;
  rule.take(s, 10, at(0s));
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(rule.take(s, 1, at(65s)));
  EXPECT_FALSE(rule.take(s, 1, at(119s)));
  EXPECT_FALSE(rule.take(s, 1, at(121s)));
}

// C2-RL-07
TEST(TokenBucket, starts_full_and_refills_at_its_rate_up_to_its_size) {
  token_bucket rule({.capacity = 100, .refill = 10, .interval = 1s});
  token_bucket::state s;
  EXPECT_EQ(rule.take(s, 100, at(0s)).remaining, 0U);
  EXPECT_EQ(rule.take(s, 1, at(0s)).retry_after, 100ms);
  EXPECT_FALSE(rule.take(s, 1, at(100ms - 1ns)));
  EXPECT_TRUE(rule.take(s, 1, at(100ms)));
  EXPECT_EQ(rule.look(s, 1, at(5s + 100ms)).remaining, 50U);
  EXPECT_EQ(rule.look(s, 1, at(1000h)).remaining, 100U);
  EXPECT_EQ(rule.look(s, 1, at(0s + 100ms)).reset_after, 10s);
}

TEST(TokenBucket, gains_nothing_and_loses_nothing_by_being_asked_often) {
  token_bucket rule({.capacity = 7, .refill = 3, .interval = 1s});
  token_bucket::state s;
  rule.take(s, 7, at(0s));
  int passed = 0;
  for (auto t = 0us; t <= 100s; t += 1ms) passed += rule.take(s, 1, at(t)).allowed ? 1 : 0;
  EXPECT_EQ(passed, 300);
}

TEST(TokenBucket, may_refill_all_buckets_at_the_same_instants) {
  on_virtual_time([]() -> task<> {
    keyed_rate_limiter<token_bucket> limiter(
        token_bucket({.capacity = 2, .refill = 1, .interval = 1s, .in_steps = true}));
    EXPECT_TRUE(limiter.try_acquire("a", 2));
    co_await sleep(900ms);
    EXPECT_TRUE(limiter.try_acquire("b", 2));
    EXPECT_FALSE(limiter.try_acquire("a"));
    EXPECT_EQ(limiter.retry_after("a"), 100ms);
    co_await sleep(100ms);
    EXPECT_TRUE(limiter.try_acquire("a"));
    EXPECT_TRUE(limiter.try_acquire("b"));  // though its own second has not passed
    EXPECT_FALSE(limiter.try_acquire("b"));
  }());
}

TEST(LeakyBucket, hands_out_permits_evenly) {
  leaky_bucket rule({.rate = 10, .interval = 1s});
  leaky_bucket::state s;
  EXPECT_TRUE(rule.take(s, 1, at(0s)));
  EXPECT_EQ(rule.take(s, 1, at(0s)).retry_after, 100ms);
  EXPECT_TRUE(rule.take(s, 1, at(100ms)));
  EXPECT_TRUE(rule.take(s, 3, at(5s)));
  EXPECT_FALSE(rule.take(s, 1, at(5299ms)));
  EXPECT_TRUE(rule.take(s, 1, at(5301ms)));
  EXPECT_TRUE(rule.take(s, 1, at(5400ms)));  // what was a little late is made up for
}

// For every rule: `retry_after` is exact, no limit is ever exceeded, asking less is never harder.
template <class Rule>
void keeps_its_word(const Rule& rule, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  typename Rule::state s;
  auto time = 0ns;
  for (int i = 0; i < 2000; ++i) {
    time += nanoseconds(static_cast<std::int64_t>(random() % 3'000'000'000));
    std::size_t n = 1 + random() % rule.most();
    auto seen = rule.look(s, n, at(time));
    auto before = s;
    auto d = rule.take(s, n, at(time));
    ASSERT_EQ(d.allowed, seen.allowed);
    ASSERT_LE(d.remaining, d.limit);
    if (d.allowed) {
      ASSERT_EQ(d.retry_after, 0ns);
      if (n > 1) ASSERT_TRUE(rule.look(before, n - 1, at(time)).allowed);
      continue;
    }
    ASSERT_GT(d.retry_after, 0ns);
    ASSERT_TRUE(rule.look(s, n, at(time + d.retry_after)).allowed) << n << " at " << i;
    ASSERT_FALSE(rule.look(s, n, at(time + d.retry_after - 1ns)).allowed) << n << " at " << i;
    ASSERT_TRUE(rule.idle(s, at(time + d.retry_after + 1000h)));
  }
}

TEST(RateRules, say_exactly_when_a_request_will_be_allowed) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    window_options o{.limit = 7, .window = 10s};
    keeps_its_word(fixed_window(o), seed);
    keeps_its_word(sliding_log(o), seed);
    keeps_its_word(sliding_counter(o), seed);
    keeps_its_word(token_bucket({.capacity = 7, .refill = 3, .interval = 1s}), seed);
    keeps_its_word(token_bucket({.capacity = 7, .refill = 3, .interval = 1s, .in_steps = true}), seed);
    keeps_its_word(leaky_bucket({.rate = 3, .interval = 1s}), seed);
  }
}

TEST(RateRules, refuse_options_that_make_no_sense) {
  EXPECT_THROW(fixed_window({.limit = 0}), error);
  EXPECT_THROW(sliding_log({.window = 0s}), error);
  EXPECT_THROW(sliding_counter({.window = -1s}), error);
  EXPECT_THROW(token_bucket({.capacity = 0}), error);
  EXPECT_THROW(token_bucket({.refill = 0}), error);
  EXPECT_THROW(token_bucket({.capacity = static_cast<std::size_t>(-1)}), error);
  EXPECT_THROW(leaky_bucket({.rate = 2'000'000'000}), error);
  EXPECT_THROW(fixed_window({.limit = std::size_t{1} << 60}), error);
}

TEST(RateLimiter, refuses_numbers_that_can_never_be_had) {
  rate_limiter<fixed_window> limiter(fixed_window({.limit = 5}));
  EXPECT_THROW(limiter.try_acquire(0), error);
  EXPECT_THROW(limiter.try_acquire(6), error);
  EXPECT_THROW(static_cast<void>(limiter.look(6)), error);
  EXPECT_TRUE(limiter.try_acquire(5));
  limiter.reset();
  EXPECT_TRUE(limiter.try_acquire(5));
  EXPECT_GT(limiter.retry_after(), 59s);
}

TEST(RateLimiter, serves_those_that_wait_in_order_and_at_its_rate) {
  on_virtual_time([]() -> task<> {
    rate_limiter<leaky_bucket> limiter(leaky_bucket({.rate = 10, .interval = 1s}));
    std::vector<std::pair<int, nanoseconds>> served;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 4; ++i) {
        s.spawn_local([&, i]() -> task<> {
          co_await limiter.acquire();
          served.emplace_back(i, virtual_clock::elapsed());
        });
      }
      co_await yield();
      EXPECT_EQ(limiter.waiting(), 3U);
      EXPECT_FALSE(limiter.try_acquire());
    });
    EXPECT_THAT(served, ElementsAre(std::pair(0, 0ms), std::pair(1, 100ms), std::pair(2, 200ms), std::pair(3, 300ms)));
  }());
}

TEST(RateLimiter, does_not_let_a_small_wish_overtake_a_large_one) {
  on_virtual_time([]() -> task<> {
    rate_limiter<token_bucket> limiter(token_bucket({.capacity = 10, .refill = 10, .interval = 1s}));
    EXPECT_TRUE(limiter.try_acquire(9));
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await limiter.acquire(10);
        order.push_back(10);
      });
      co_await yield();
      EXPECT_FALSE(limiter.try_acquire(1));
      s.spawn_local([&]() -> task<> {
        co_await limiter.acquire(1);
        order.push_back(1);
      });
    });
    EXPECT_THAT(order, ElementsAre(10, 1));
    EXPECT_EQ(virtual_clock::elapsed(), 1s);
  }());
}

TEST(RateLimiter, keeps_up_rates_beyond_the_resolution_of_timers) {
  on_virtual_time([]() -> task<> {
    rate_limiter<leaky_bucket> limiter(leaky_bucket({.rate = 10'000, .interval = 1s}));
    for (int i = 0; i <= 5000; ++i) co_await limiter.acquire();
    EXPECT_GE(virtual_clock::elapsed(), 500ms);
    EXPECT_LE(virtual_clock::elapsed(), 502ms);
  }());
}

TEST(RateLimiter, takes_nothing_for_who_is_cancelled_and_serves_the_next) {
  on_virtual_time([]() -> task<> {
    rate_limiter<token_bucket> limiter(token_bucket({.capacity = 1, .refill = 1, .interval = 1s}));
    EXPECT_TRUE(limiter.try_acquire());
    for (int n = 0; n < 5; ++n) {
      EXPECT_TRUE((co_await attempt(timeout(100ms, limiter.acquire()))).failure().is("ETIMEDOUT"));
    }
    EXPECT_EQ(limiter.waiting(), 0U);
    co_await with_scope([&](scope& s) -> task<> {
      std::vector<join_handle<>> waiting;
      std::vector<int> served;
      for (int i = 0; i < 4; ++i) {
        waiting.push_back(s.spawn_local([&, i]() -> task<> {
          co_await limiter.acquire();
          served.push_back(i);
        }));
      }
      co_await yield();
      waiting[0].cancel();
      waiting[2].cancel();
      for (auto& each : waiting) static_cast<void>(co_await attempt(std::move(each)));
      EXPECT_THAT(served, ElementsAre(1, 3));
    });
    EXPECT_EQ(virtual_clock::elapsed(), 2s);
  }());
}

TEST(RateLimiter, refuses_to_let_too_many_wait) {
  on_virtual_time([]() -> task<> {
    rate_limiter<token_bucket> limiter(token_bucket({.capacity = 1, .refill = 1, .interval = 1s}), 2);
    EXPECT_TRUE(limiter.try_acquire());
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> { co_await limiter.acquire(); });
      s.spawn_local([&]() -> task<> { co_await limiter.acquire(); });
      co_await yield();
      EXPECT_TRUE((co_await attempt(limiter.acquire())).failure().is("ERR_QUEUE_FULL"));
    });
    EXPECT_EQ(limiter.waiting(), 0U);
  }());
}

TEST(RateLimiter, may_be_shared_by_workers) {
  rate_limiter<token_bucket> limiter(token_bucket({.capacity = 1000, .refill = 1, .interval = 1h}));
  std::atomic<int> passed{0};
  testing::run_with(2, with_scope([&](scope& s) -> task<> {
                      for (int i = 0; i < 8; ++i) {
                        s.spawn([&]() -> task<> {
                          for (int n = 0; n < 200; ++n) {
                            if (limiter.try_acquire()) ++passed;
                            co_await yield();
                          }
                        });
                      }
                      co_return;
                    }));
  EXPECT_EQ(passed, 1000);
}

// C2-SYS-03, C3-SYS-76: the same suite over all rules, per key.
template <class Rule>
void limits_each_key_alone(Rule rule) {
  on_virtual_time([](Rule r) -> task<> {
    keyed_rate_limiter<Rule> limiter(r);
    auto ask = [&](const std::string& key) { return limiter.try_acquire(key); };
    std::vector<bool> first;
    for (int i = 0; i < 3; ++i) first.push_back(ask("10.0.0.1").allowed);
    EXPECT_THAT(first, Each(true));
    auto refused = ask("10.0.0.1");
    EXPECT_FALSE(refused.allowed);
    EXPECT_TRUE(ask("10.0.0.2").allowed);
    EXPECT_EQ(limiter.look("10.0.0.3").remaining, 3U);
    EXPECT_EQ(limiter.size(), 2U);
    co_await sleep(refused.retry_after);
    EXPECT_TRUE(ask("10.0.0.1").allowed);
    while (ask("10.0.0.1")) continue;
    limiter.reset("10.0.0.1");
    EXPECT_TRUE(ask("10.0.0.1").allowed);
    while (ask("10.0.0.1")) continue;
    co_await limiter.acquire("10.0.0.1");
    co_await sleep(1h);
    EXPECT_GT(limiter.sweep(), 0U);
    EXPECT_EQ(limiter.size(), 0U);
  }(rule));
}

TEST(KeyedRateLimiter, limits_each_key_alone_C2_SYS_03) {
  limits_each_key_alone(fixed_window({.limit = 3}));
  limits_each_key_alone(sliding_log({.limit = 3}));
  limits_each_key_alone(sliding_counter({.limit = 3}));
  limits_each_key_alone(token_bucket({.capacity = 3, .refill = 1}));
}

// C0-HTTP-39, C2-RL-06, C2-RL-07: the seeds' tables grow for ever, or need a timer that keeps the program alive.
TEST(KeyedRateLimiter, remembers_a_bounded_number_of_keys_and_drops_idle_ones_on_the_way) {
  on_virtual_time([]() -> task<> {
    keyed_rate_limiter<fixed_window, int> limiter(fixed_window({.limit = 1, .window = 10s}), 100);
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter.try_acquire(i));
    EXPECT_EQ(limiter.size(), 100U);
    EXPECT_FALSE(limiter.try_acquire(999));
    EXPECT_FALSE(limiter.try_acquire(900));
    EXPECT_TRUE(limiter.try_acquire(0));     // forgotten
    EXPECT_FALSE(limiter.try_acquire(900));  // asked of late, so it was 901 that went
    EXPECT_TRUE(limiter.try_acquire(901));
    co_await sleep(10s);
    for (int i = 2000; i < 2060; ++i) limiter.try_acquire(i);
    EXPECT_EQ(limiter.size(), 60U);
  }());
  EXPECT_THROW((keyed_rate_limiter<fixed_window>(fixed_window(), 0)), error);
}

// C3-ORD-37 with HTTP's figures.
TEST(KeyedRateLimiter, gives_the_figures_for_the_headers_of_a_response) {
  on_virtual_time([]() -> task<> {
    keyed_rate_limiter<sliding_log> limiter(sliding_log({.limit = 100, .window = 60s}));
    for (std::size_t left = 100; left-- > 0;) {
      auto d = limiter.try_acquire("::1");
      EXPECT_TRUE(d.allowed);
      EXPECT_EQ(d.remaining, left);
    }
    auto refused = limiter.try_acquire("::1");
    EXPECT_FALSE(refused.allowed);
    EXPECT_EQ(whole_seconds(refused.retry_after), 60);
    co_await sleep(60s);
    EXPECT_TRUE(limiter.try_acquire("::1").allowed);
  }());
}

}  // namespace
}  // namespace weir::sync
