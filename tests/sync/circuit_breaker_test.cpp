#include <weir/sync/circuit_breaker.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
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

/// Keeps what a breaker tells.
class trace {
 public:
  auto hook() {
    return [this](const circuit_event& e) {
      auto states = std::string(to_string(e.from)) + "->" + std::string(to_string(e.to));
      switch (e.kind) {
        case circuit_event_kind::failure: told.push_back("failure " + std::to_string(e.failure_count)); return;
        case circuit_event_kind::state_change: told.push_back("stateChange " + states); return;
        case circuit_event_kind::opened: told.emplace_back("open"); return;
        case circuit_event_kind::half_opened: told.emplace_back("halfOpen"); return;
        case circuit_event_kind::closed: told.emplace_back("close"); return;
        case circuit_event_kind::refused: ++refused; return;
        case circuit_event_kind::success: return;
      }
    };
  }
  std::vector<std::string> take() { return std::exchange(told, {}); }
  std::vector<std::string> told;
  int refused = 0;
};

task<int> succeed(circuit_breaker& b) {
  return b.execute([]() -> task<int> { co_return 1; });
}
task<std::string> outcome_of_failure(circuit_breaker& b) {
  auto outcome = co_await attempt(b.execute([]() -> task<> {
    throw std::runtime_error("upstream");
    co_return;
  }));
  co_return outcome.failure().message();
}
task<std::string> outcome_of_success(circuit_breaker& b) {
  auto outcome = co_await attempt(succeed(b));
  co_return outcome ? "ok" : std::string(outcome.failure().code_name());
}

// C2-ORD-14, C2-SYS-11. The seed emits `from` equal to `to` (C2-CB-08).
TEST(CircuitBreaker, goes_through_its_states_in_order_C2_SYS_11) {
  on_virtual_time([]() -> task<> {
    trace t;
    circuit_breaker b({.failure_threshold = 3, .on_event = t.hook()});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await outcome_of_failure(b), "upstream");
    EXPECT_THAT(t.take(), ElementsAre("failure 1", "failure 2", "failure 3", "stateChange CLOSED->OPEN", "open"));
    EXPECT_EQ(co_await outcome_of_success(b), "ERR_CIRCUIT_OPEN");
    EXPECT_EQ(b.statistics().retry_after, 30s);
    co_await sleep(30s);
    EXPECT_THAT(t.take(), ElementsAre("stateChange OPEN->HALF_OPEN", "halfOpen"));  // with no traffic (C2-CB-07)
    EXPECT_EQ(co_await succeed(b), 1);
    EXPECT_THAT(t.take(), IsEmpty());
    EXPECT_EQ(co_await succeed(b), 1);
    EXPECT_THAT(t.take(), ElementsAre("stateChange HALF_OPEN->CLOSED", "close"));
    EXPECT_EQ(t.refused, 1);
  }());
}

TEST(CircuitBreaker, does_not_call_what_it_guards_while_it_is_open) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({}, "users");
    b.open();
    bool called = false;
    auto outcome = co_await attempt(b.execute([&]() -> task<> {
      called = true;
      co_return;
    }));
    EXPECT_FALSE(called);
    EXPECT_EQ(outcome.failure().message(), "Circuit breaker users is OPEN");
  }());
}

TEST(CircuitBreaker, counts_failures_with_no_success_between_them) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 3});
    for (int round = 0; round < 5; ++round) {
      co_await outcome_of_failure(b);
      co_await outcome_of_failure(b);
      EXPECT_EQ(b.statistics().failure_count, 2U);
      co_await succeed(b);
      EXPECT_EQ(b.statistics().failure_count, 0U);
    }
    EXPECT_EQ(b.state(), circuit_state::closed);
  }());
}

TEST(CircuitBreaker, opens_again_when_a_trial_fails_and_may_wait_longer_each_time) {
  on_virtual_time([]() -> task<> {
    trace t;
    circuit_breaker b({.failure_threshold = 1,
                       .reset_timeout = 30s,
                       .reset_factor = 2,
                       .max_reset_timeout = 100s,
                       .on_event = t.hook()});
    co_await outcome_of_failure(b);
    for (auto wait : {30s, 60s, 100s, 100s}) {
      EXPECT_EQ(b.statistics().retry_after, wait);
      co_await sleep(wait - 1ms);
      EXPECT_EQ(b.state(), circuit_state::open);
      co_await sleep(1ms);
      EXPECT_EQ(b.state(), circuit_state::half_open);
      t.take();
      co_await outcome_of_failure(b);
      EXPECT_THAT(t.take(), ElementsAre("failure 1", "stateChange HALF_OPEN->OPEN", "open"));
    }
    co_await sleep(100s);
    co_await succeed(b);
    co_await succeed(b);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.statistics().retry_after, 30s);
  }());
}

// C2-CB-06: the seed lets any number of probes through.
TEST(CircuitBreaker, lets_one_trial_through_at_a_time) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1});
    co_await outcome_of_failure(b);
    co_await sleep(30s);
    int called = 0;
    std::vector<std::string> outcomes;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 5; ++i) {
        s.spawn_local([&]() -> task<> {
          auto outcome = co_await attempt(b.execute([&]() -> task<> {
            ++called;
            co_await sleep(1s);
          }));
          outcomes.emplace_back(outcome ? "ok" : outcome.failure().code_name());
        });
      }
      co_return;
    });
    EXPECT_EQ(called, 1);
    EXPECT_THAT(outcomes,
                ElementsAre("ERR_CIRCUIT_OPEN", "ERR_CIRCUIT_OPEN", "ERR_CIRCUIT_OPEN", "ERR_CIRCUIT_OPEN", "ok"));
    EXPECT_EQ(b.state(), circuit_state::half_open);
    co_await succeed(b);
    EXPECT_EQ(b.state(), circuit_state::closed);
  }());
}

TEST(CircuitBreaker, gives_the_turn_of_a_cancelled_trial_to_the_next) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1});
    co_await outcome_of_failure(b);
    co_await sleep(30s);
    EXPECT_FALSE(co_await attempt(timeout(1s, b.execute([] { return testing::forever(); }))));
    EXPECT_EQ(b.state(), circuit_state::half_open);
    EXPECT_EQ(b.statistics().failures, 1U);
    EXPECT_EQ(co_await outcome_of_success(b), "ok");
  }());
}

// C2-CB-04: the seed does not cancel what takes too long.
TEST(CircuitBreaker, cancels_a_call_that_takes_too_long_and_counts_it_as_failed) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1, .timeout = 5s});
    bool ended = false;
    auto outcome = co_await attempt(b.execute([&]() -> task<> {
      struct at_end {
        bool& flag;
        ~at_end() { flag = true; }
      } end{ended};
      co_await testing::forever();
    }));
    EXPECT_TRUE(outcome.failure().is("ETIMEDOUT"));
    EXPECT_TRUE(ended);
    EXPECT_EQ(b.state(), circuit_state::open);
    EXPECT_EQ(b.statistics().timeouts, 1U);
    EXPECT_EQ(virtual_clock::elapsed(), 5s);
  }());
}

TEST(CircuitBreaker, ignores_what_becomes_of_calls_from_before_it_changed) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1, .success_threshold = 1, .timeout = 100s});
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await b.execute([]() -> task<> { co_await sleep(40s); });  // succeeds while it is half open
      });
      s.spawn_local([&]() -> task<> {
        static_cast<void>(co_await attempt(b.execute([]() -> task<> {
          co_await sleep(70s);
          throw std::runtime_error("late");
        })));
      });
      co_await yield();
      co_await outcome_of_failure(b);
      co_await sleep(45s);
      EXPECT_EQ(b.state(), circuit_state::half_open);
      co_await succeed(b);
      EXPECT_EQ(b.state(), circuit_state::closed);
      co_await sleep(30s);
      EXPECT_EQ(b.state(), circuit_state::closed);
    });
    EXPECT_EQ(b.statistics().successes, 2U);
    EXPECT_EQ(b.statistics().failures, 2U);
  }());
}

// C2-CB-12: the caller decides what a failure is.
TEST(CircuitBreaker, may_be_told_what_is_a_failure) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1, .is_failure = [](const failure& why) { return !why.is("ENOENT"); }});
    auto absent = []() -> task<> {
      throw os_error(ENOENT, "open");
      co_return;
    };
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(co_await attempt(b.execute(absent)));
    EXPECT_EQ(b.state(), circuit_state::closed);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
  }());
}

// C1-LB-47
TEST(CircuitBreaker, may_let_a_success_outweigh_one_failure) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.rule = trip_rule::balance, .failure_threshold = 3});
    for (int i = 0; i < 5; ++i) co_await succeed(b);
    co_await outcome_of_failure(b);
    co_await outcome_of_failure(b);
    co_await succeed(b);
    EXPECT_EQ(b.statistics().failure_count, 1U);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::closed);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
  }());
}

TEST(CircuitBreaker, may_count_failures_in_a_window) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.rule = trip_rule::count, .failure_threshold = 3, .window = 10s, .volume_threshold = 6});
    for (int i = 0; i < 10; ++i) {
      co_await outcome_of_failure(b);
      co_await sleep(6s);
    }
    EXPECT_EQ(b.state(), circuit_state::closed);
    EXPECT_LE(b.statistics().failure_count, 1U);
    co_await sleep(11s);
    for (int i = 0; i < 2; ++i) co_await outcome_of_failure(b);
    for (int i = 0; i < 2; ++i) co_await succeed(b);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::closed);  // five calls say too little
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
  }());
}

TEST(CircuitBreaker, may_go_by_the_share_of_failures) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.rule = trip_rule::rate, .failure_rate = 0.5, .window = 10s, .volume_threshold = 10});
    for (int i = 0; i < 6; ++i) co_await succeed(b);
    for (int i = 0; i < 5; ++i) co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::closed);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
  }());
}

// C2-CB-09: there the next call undoes it. C2-CB-07: there a closed breaker turns half open later.
TEST(CircuitBreaker, stays_where_it_is_forced_to) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1});
    b.force_open();
    EXPECT_EQ(co_await outcome_of_success(b), "ERR_CIRCUIT_OPEN");
    co_await sleep(1h);
    EXPECT_EQ(co_await outcome_of_success(b), "ERR_CIRCUIT_OPEN");
    EXPECT_TRUE(b.statistics().forced);
    b.force_close();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await outcome_of_failure(b), "upstream");
    EXPECT_EQ(b.state(), circuit_state::closed);
    b.release();
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
    b.close();
    co_await sleep(1h);
    EXPECT_EQ(b.state(), circuit_state::closed);
    co_await outcome_of_failure(b);
    EXPECT_EQ(b.state(), circuit_state::open);
    b.force_open();
    b.release();
    EXPECT_EQ(b.statistics().retry_after, 30s);
    co_await sleep(30s);
    EXPECT_EQ(b.state(), circuit_state::half_open);
  }());
}

TEST(CircuitBreaker, tells_each_transition_once) {
  on_virtual_time([]() -> task<> {
    trace t;
    circuit_breaker b({.on_event = t.hook()});
    b.close();
    EXPECT_THAT(t.take(), IsEmpty());
    b.open();
    b.open();
    b.force_open();
    EXPECT_THAT(t.take(), ElementsAre("stateChange CLOSED->OPEN", "open"));
    b.force_close();
    b.close();
    EXPECT_THAT(t.take(), ElementsAre("stateChange OPEN->CLOSED", "close"));
    co_return;
  }());
}

// C2-CB-13
TEST(CircuitBreaker, takes_the_fallback_only_where_it_refuses_itself) {
  on_virtual_time([]() -> task<> {
    circuit_breaker b({.failure_threshold = 1});
    circuit_breaker inner;
    inner.open();
    auto fallback = []() -> task<int> { co_return 7; };
    EXPECT_EQ(co_await b.execute([]() -> task<int> { co_return 1; }, fallback), 1);
    auto nested = co_await attempt(b.execute([&]() -> task<int> { return succeed(inner); }, fallback));
    EXPECT_TRUE(nested.failure().is("ERR_CIRCUIT_OPEN"));
    EXPECT_EQ(b.state(), circuit_state::open);
    EXPECT_EQ(co_await b.execute([]() -> task<int> { co_return 1; }, fallback), 7);
  }());
}

TEST(CircuitBreaker, may_be_used_by_its_own_hook_and_go_while_a_call_runs) {
  on_virtual_time([]() -> task<> {
    std::optional<circuit_breaker> b;
    std::vector<circuit_state> seen;
    b.emplace(circuit_options{.on_event = [&](const circuit_event&) {
      if (b) seen.push_back(b->state());
    }});
    co_await with_scope([&](scope& s) -> task<> {
      auto running = s.spawn_local([&]() -> task<int> {
        co_return co_await b->execute([]() -> task<int> {
          co_await sleep(1s);
          co_return 5;
        });
      });
      co_await yield();
      b->open();
      b.reset();
      EXPECT_EQ(co_await std::move(running), 5);
    });
    EXPECT_THAT(seen, ElementsAre(circuit_state::open, circuit_state::open));
  }());
}

TEST(CircuitBreaker, moves_by_the_clock_outside_a_runtime_too) {
  circuit_breaker b({.reset_timeout = 0s});
  b.open();
  EXPECT_EQ(b.state(), circuit_state::half_open);
}

TEST(CircuitBreaker, may_go_within_its_own_hook) {
  std::optional<circuit_breaker> b;
  int told = 0;
  b.emplace(circuit_options{.on_event =
                                [&](const circuit_event& e) {
                                  ++told;
                                  b.reset();
                                  EXPECT_EQ(e.name, "a name that is too long to be stored in place");
                                }},
            "a name that is too long to be stored in place");
  b->open();
  EXPECT_EQ(told, 2);
}

// C2-CB-01: there 0 means the default.
TEST(CircuitBreaker, refuses_options_that_make_no_sense) {
  EXPECT_THROW(circuit_breaker({.failure_threshold = 0}), error);
  EXPECT_THROW(circuit_breaker({.success_threshold = 0}), error);
  EXPECT_THROW(circuit_breaker({.failure_rate = 0}), error);
  EXPECT_THROW(circuit_breaker({.failure_rate = 1.1}), error);
  EXPECT_THROW(circuit_breaker({.window = 0s}), error);
  EXPECT_THROW(circuit_breaker({.timeout = 0s}), error);
  EXPECT_THROW(circuit_breaker({.reset_timeout = -1s}), error);
  EXPECT_THROW(circuit_breaker({.reset_factor = 0.5}), error);
}

TEST(CircuitBreaker, may_be_shared_by_workers) {
  std::atomic<int> called{0};
  circuit_breaker b({.failure_threshold = 50});
  testing::run_with(2, with_scope([&](scope& s) -> task<> {
                      for (int i = 0; i < 8; ++i) {
                        s.spawn([&]() -> task<> {
                          for (int n = 0; n < 100; ++n) {
                            static_cast<void>(co_await attempt(b.execute([&]() -> task<> {
                              ++called;
                              co_await yield();
                              throw std::runtime_error("x");
                            })));
                          }
                        });
                      }
                      co_return;
                    }));
  auto s = b.statistics();
  EXPECT_EQ(s.state, circuit_state::open);
  EXPECT_EQ(s.calls, 800U);
  EXPECT_EQ(s.refused + s.failures, 800U);
  EXPECT_EQ(s.failures, static_cast<std::uint64_t>(called.load()));
  EXPECT_LT(called, 60);
}

// C2-CB-11
TEST(CircuitRegistry, has_one_breaker_for_each_name) {
  on_virtual_time([]() -> task<> {
    std::vector<std::string> log;
    circuit_registry registry({.failure_threshold = 3, .on_event = [&](const circuit_event& e) {
                                 if (e.kind != circuit_event_kind::state_change) return;
                                 log.push_back("Circuit " + std::string(e.name) + ' ' + std::string(to_string(e.to)));
                               }});
    auto& api = registry.get("external-api");
    auto& strict = registry.get("strict", [](circuit_options& o) { o.failure_threshold = 1; });
    EXPECT_EQ(&registry.get("external-api", [](circuit_options&) { ADD_FAILURE(); }), &api);
    EXPECT_EQ(registry.find("strict"), &strict);
    EXPECT_EQ(registry.find("unknown"), nullptr);
    co_await outcome_of_failure(api);
    co_await outcome_of_failure(strict);
    auto all = registry.all();
    EXPECT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].first, "external-api");
    EXPECT_EQ(all[0].second.state, circuit_state::closed);
    EXPECT_EQ(all[0].second.failure_count, 1U);
    EXPECT_EQ(all[1].second.state, circuit_state::open);
    EXPECT_THAT(log, ElementsAre("Circuit strict OPEN"));
    EXPECT_THROW(circuit_registry({.failure_threshold = 0}), error);
  }());
}

}  // namespace
}  // namespace weir::sync
