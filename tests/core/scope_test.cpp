#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::counted;
using testing::forever;
using testing::instrumented;
using testing::rounds;
using testing::run_with;
using testing::this_worker_index;

struct first_kind : std::runtime_error {
  using runtime_error::runtime_error;
};

task<> yield_times(int times) {
  for (int i = 0; i < times; ++i) co_await yield();
}

/// Each of these holds whatever the number of workers.
class Scope : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Scope, ::testing::Values(1U, 2U, 5U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(Scope, ends_when_every_child_has_ended) {
  std::atomic<int> ended{0};
  run([](std::atomic<int>& count) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 500; ++i) {
        s.spawn([&count, i]() -> task<> {
          co_await yield_times(i % 7);
          count.fetch_add(1);
        });
      }
      co_return;
    });
    EXPECT_EQ(count.load(), 500);
  }(ended));
}

TEST_P(Scope, gives_the_value_of_its_body) {
  EXPECT_EQ(run(with_scope([](scope& s) -> task<std::string> {
              auto part = s.spawn([]() -> task<std::string> { co_return "from a child"; });
              co_return co_await std::move(part);
            })),
            "from a child");
}

TEST_P(Scope, keeps_callable_and_arguments_as_long_as_the_child_runs) {
  run([]() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 20; ++i) {
        auto text = std::string(100, 'x') + std::to_string(i);
        auto expected = text;
        s.spawn(
            [text = std::move(text), alive = counted()](std::unique_ptr<std::string> moved) -> task<> {
              co_await yield_times(3);
              EXPECT_EQ(text, *moved);
            },
            std::make_unique<std::string>(expected));
      }
      co_return;
    });
    EXPECT_EQ(counted::alive(), 0) << "callables go before the scope ends";
  }());
}

task<> read_later(std::string_view text, std::string expected) {
  co_await yield_times(3);
  EXPECT_EQ(text, expected);
}

TEST_P(Scope, keeps_an_argument_that_the_child_only_views) {
  run(with_scope([](scope& s) -> task<> {
    for (int i = 0; i < 20; ++i) {
      auto text = std::string(100, 'v') + std::to_string(i);
      s.spawn(read_later, std::string(text), text);
      s.spawn([](std::string_view view, std::string expected) { return read_later(view, std::move(expected)); },
              std::string(text), text);
    }
    co_return;
  }));
}

TEST_P(Scope, passes_a_reference_where_std_ref_says_so) {
  run([]() -> task<> {
    int target = 0;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn(
          [](int& to) -> task<> {
            co_await yield();
            to = 5;
          },
          std::ref(target));
      co_return;
    });
    EXPECT_EQ(target, 5);
  }());
}

TEST_P(Scope, lets_the_first_failure_cancel_the_siblings_and_keeps_its_type) {
  std::atomic<int> stopped{0};
  auto main = [](std::atomic<int>& count) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 10; ++i) {
        s.spawn([&count]() -> task<> {
          auto outcome = co_await attempt(forever());
          EXPECT_TRUE(outcome.failure().is_cancelled());
          count.fetch_add(1);
          outcome.value();
        });
      }
      s.spawn([]() -> task<> {
        co_await yield_times(2);
        throw first_kind("the reason");
      });
      co_await forever();
    });
  };
  EXPECT_THROW(run(main(stopped)), first_kind);
  EXPECT_EQ(stopped.load(), 10);
}

TEST_P(Scope, attaches_later_failures_to_the_first) {
  auto main = []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i) {
        s.spawn([]() -> task<> {
          static_cast<void>(co_await attempt(forever()));
          throw first_kind("on the way out");
        });
      }
      co_await yield_times(3);
      throw os_error(ENOENT, "open", "/x");
    });
  };
  try {
    run(main());
    FAIL() << "nothing was thrown";
  } catch (const error& e) {
    EXPECT_TRUE(e.is("ENOENT"));
    EXPECT_EQ(e.attached().size(), 3U);
    for (const auto& each : e.attached()) EXPECT_THROW(std::rethrow_exception(each), first_kind);
  }
}

TEST_P(Scope, keeps_a_bounded_number_of_further_failures) {
  auto main = []() -> task<> {
    co_await with_scope([](scope& s) -> task<> {
      for (int i = 0; i < 1000; ++i) {
        s.spawn([]() -> task<> {
          static_cast<void>(co_await attempt(forever()));
          throw first_kind("one of many");
        });
      }
      throw error(errc::err_closed);
      co_return;
    });
  };
  try {
    run(main());
    FAIL() << "nothing was thrown";
  } catch (const error& e) {
    EXPECT_EQ(e.attached().size(), 32U);
  }
}

TEST_P(Scope, lets_a_failing_body_cancel_its_children) {
  std::atomic<bool> stopped{false};
  auto main = [](std::atomic<bool>& flag) -> task<int> {
    co_return co_await with_scope([&](scope& s) -> task<int> {
      s.spawn([&flag]() -> task<> {
        auto outcome = co_await attempt(forever());
        flag = outcome.failure().is_cancelled();
      });
      co_await yield_times(2);
      throw first_kind("body");
    });
  };
  EXPECT_THROW(run(main(stopped)), first_kind);
  EXPECT_TRUE(stopped.load());
}

TEST_P(Scope, survives_a_body_that_throws_before_it_is_a_coroutine) {
  std::atomic<int> ended{0};
  auto main = [](std::atomic<int>& count) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn([&count]() -> task<> {
        static_cast<void>(co_await attempt(forever()));
        count.fetch_add(1);
      });
      if (count.load() == 0) throw first_kind("before the first await");
      return yield_times(1);
    });
  };
  EXPECT_THROW(run(main(ended)), first_kind);
  EXPECT_EQ(ended.load(), 1);
}

TEST_P(Scope, that_is_cancelled_from_inside_ends_normally_where_it_has_no_value_to_give) {
  bool after = run([]() -> task<bool> {
    co_await with_scope([](scope& s) -> task<> {
      s.spawn(forever);
      s.cancel();
      EXPECT_TRUE(s.is_cancelled());
      co_await forever();
    });
    co_await yield();  // the task itself was not cancelled
    co_return true;
  }());
  EXPECT_TRUE(after);
}

TEST_P(Scope, that_is_cancelled_from_inside_throws_where_it_has_no_value_to_give_back) {
  EXPECT_THROW(run(with_scope([](scope& s) -> task<int> {
                 s.cancel();
                 co_await forever();
                 co_return 1;
               })),
               cancelled);
}

TEST_P(Scope, may_be_cancelled_by_a_child) {
  run(with_scope([](scope& s) -> task<> {
    s.spawn([&s]() -> task<> {
      co_await yield_times(2);
      s.cancel();
    });
    for (int i = 0; i < 5; ++i) s.spawn(forever);
    co_await forever();
  }));
}

TEST_P(Scope, passes_a_cancellation_from_outside_on_to_its_body) {
  std::atomic<int> seen{0};
  run(with_scope([&](scope& outer) -> task<> {
    outer.spawn([&]() -> task<> {
      auto inner = co_await attempt(with_scope([&](scope& s) -> task<> {
        s.spawn([&]() -> task<> {
          auto outcome = co_await attempt(forever());
          seen += outcome.failure().is_cancelled() ? 1 : 0;
        });
        co_await forever();
      }));
      EXPECT_FALSE(inner) << "cancelled from outside: the await throws";
      EXPECT_TRUE(inner.failure().is_cancelled());
      seen += 10;
    });
    co_await yield_times(5);
    outer.cancel();
  }));
  EXPECT_EQ(seen.load(), 11);
}

TEST_P(Scope, starts_children_stopped_once_it_is_cancelled) {
  std::atomic<int> stopped{0};
  run(with_scope([&](scope& s) -> task<> {
    s.cancel();
    for (int i = 0; i < 10; ++i) {
      s.spawn([&]() -> task<> {
        auto outcome = co_await attempt(forever());
        stopped += outcome ? 0 : 1;
      });
    }
    co_return;
  }));
  EXPECT_EQ(stopped.load(), 10);
}

task<> grow_tree(scope& s, int levels, std::atomic<int>& leaves) {
  if (levels == 0) {
    leaves.fetch_add(1);
    co_return;
  }
  s.spawn(grow_tree, std::ref(s), levels - 1, std::ref(leaves));
  s.spawn_local(grow_tree, std::ref(s), levels - 1, std::ref(leaves));
}

TEST_P(Scope, takes_spawns_from_its_children_on_any_worker) {
  std::atomic<int> leaves{0};
  run(with_scope([&](scope& s) -> task<> {
    co_await grow_tree(s, 12, leaves);
    for (unsigned i = 0; i < 8; ++i) {
      s.spawn_on(i, [&s, &leaves]() -> task<> {
        for (int n = 0; n < 100; ++n) s.spawn(grow_tree, std::ref(s), 0, std::ref(leaves));
        co_return;
      });
    }
  }));
  EXPECT_EQ(leaves.load(), 4096 + 800);
}

TEST_P(Scope, runs_children_on_the_worker_that_was_named_and_nowhere_else) {
  auto workers = GetParam();
  run(with_scope([&](scope& s) -> task<> {
    for (unsigned i = 0; i < 3 * workers; ++i) {
      s.spawn_on(i, [=]() -> task<> {
        for (int n = 0; n < 20; ++n) {
          EXPECT_EQ(this_worker_index(), i % workers);
          switch (n % 4) {
            case 0: co_await yield(); break;
            case 1: co_await sleep(1ms); break;
            case 2: co_await immediate(); break;
            default: co_await with_scope([](scope& inner) -> task<> { co_return inner.cancel(); });
          }
        }
      });
    }
    co_return;
  }));
}

TEST_P(Scope, keeps_local_children_with_their_parent) {
  run(with_scope([&](scope& s) -> task<> {
    auto home = this_worker_index();
    event go;
    for (int i = 0; i < 50; ++i) {
      s.spawn_local([&go, home]() -> task<> {
        co_await go.wait();
        EXPECT_EQ(this_worker_index(), home);
        co_await yield();
        EXPECT_EQ(this_worker_index(), home);
      });
    }
    s.spawn([&go]() -> task<> {
      co_await yield();
      go.set();  // from another worker, where there is one
    });
    co_await go.wait();
  }));
}

TEST_P(Scope, starts_local_children_when_the_caller_suspends_and_in_order) {
  run(with_scope([&](scope& s) -> task<> {
    std::vector<int> order;
    co_await with_scope([&](scope& inner) -> task<> {
      for (int i = 0; i < 5; ++i) {
        inner.spawn_local([&order, i]() -> task<> {
          order.push_back(i);
          co_return;
        });
      }
      EXPECT_TRUE(order.empty());
      co_return;
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    static_cast<void>(s);
  }));
}

TEST_P(Scope, runs_cleanups_in_reverse_order_when_the_children_have_ended) {
  std::vector<std::string> log;
  run([](std::vector<std::string>& to) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.on_exit([&to]() -> task<> {
        co_await yield();
        to.emplace_back("first registered");
      });
      s.on_exit([&to]() -> task<> {
        to.emplace_back("second registered");
        co_return;
      });
      auto child = s.spawn([]() -> task<> { co_await yield_times(10); });
      s.spawn(
          [&to](join_handle<> sibling) -> task<> {
            co_await std::move(sibling);
            to.emplace_back("child");
          },
          std::move(child));
      co_return;
    });
    to.emplace_back("after");
  }(log));
  EXPECT_EQ(log, (std::vector<std::string>{"child", "second registered", "first registered", "after"}));
}

TEST_P(Scope, shields_cleanups_from_cancellation) {
  std::atomic<int> cleaned{0};
  run(with_scope([&](scope& outer) -> task<> {
    outer.spawn([&]() -> task<> {
      co_await with_scope([&](scope& s) -> task<> {
        s.on_exit([&]() -> task<> {
          co_await sleep(1ms);
          co_await yield();
          cleaned = 1;
        });
        co_await forever();
      });
      ADD_FAILURE() << "cancelled from outside: not reached";
    });
    co_await yield_times(3);
    outer.cancel();
  }));
  EXPECT_EQ(cleaned.load(), 1);
}

TEST_P(Scope, reports_failing_cleanups_and_runs_the_others) {
  int ran = 0;
  auto main = [](int& count) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.on_exit([&]() -> task<> {
        ++count;
        co_return;
      });
      s.on_exit([&]() -> task<> {
        ++count;
        throw error(errc::err_closed);
        co_return;
      });
      s.on_exit([&]() -> task<> {  // no coroutine: throws when it is called
        ++count;
        throw error(errc::err_timeout);
      });
      co_return;
    });
  };
  try {
    run(main(ran));
    FAIL() << "nothing was thrown";
  } catch (const error& e) {
    EXPECT_TRUE(e.is("ERR_TIMEOUT")) << "the last registered is the first to fail";
    EXPECT_EQ(e.attached().size(), 1U);
  }
  EXPECT_EQ(ran, 3);
}

TEST_P(Scope, waits_for_what_a_cleanup_spawns) {
  std::atomic<int> ended{0};
  run([](std::atomic<int>& count) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      s.on_exit([&]() -> task<> {
        count += 100;
        co_return;
      });
      s.on_exit([&]() -> task<> {
        for (int i = 0; i < 10; ++i) {
          s.spawn([&]() -> task<> {
            co_await sleep(1ms);
            count.fetch_add(1);
          });
        }
        s.on_exit([&]() -> task<> {
          EXPECT_EQ(count.load(), 10);
          co_return;
        });
        co_return;
      });
      co_return;
    });
    EXPECT_EQ(count.load(), 110);
  }(ended));
}

TEST_P(Scope, that_closes_lets_children_finish_by_themselves) {
  std::atomic<bool> gently{false};
  event begun;
  run(with_scope([&](scope& s) -> task<> {
    s.spawn([&]() -> task<> {
      EXPECT_FALSE(s.closing());
      begun.set();
      co_await s.closed();
      co_await sleep(1ms);
      gently = true;
    });
    co_await begun.wait();
    s.close(1h);
    EXPECT_TRUE(s.closing());
  }));
  EXPECT_TRUE(gently.load());
}

TEST_P(Scope, that_closes_cancels_what_is_left_after_the_grace) {
  std::atomic<bool> hard{false};
  auto started = std::chrono::steady_clock::now();
  run(with_scope([&](scope& s) -> task<> {
    s.spawn([&]() -> task<> {
      auto outcome = co_await attempt(forever());
      hard = outcome.failure().is_cancelled();
    });
    s.close(20ms);
    co_return;
  }));
  EXPECT_TRUE(hard.load());
  EXPECT_GE(std::chrono::steady_clock::now() - started, 20ms);
}

// The timer behind `close` fires on one worker while the scope ends on another.
TEST_P(Scope, may_end_in_the_very_moment_when_its_grace_ends) {
  run([]() -> task<> {
    for (int i = 0; i < 100; ++i) {
      co_await with_scope([&](scope& s) -> task<> {
        s.spawn([&s]() -> task<> {
          s.close(1ms);
          co_return;
        });
        auto end = std::chrono::steady_clock::now() + 500us + i * 10us;
        while (std::chrono::steady_clock::now() < end) co_await yield();
      });
    }
  }());
}

TEST_P(Scope, hands_failures_of_children_to_its_handler_and_goes_on) {
  std::atomic<int> handled{0};
  std::atomic<int> finished{0};
  scope_options options;
  options.on_child_failure = [&](const std::exception_ptr& why) {
    EXPECT_THROW(std::rethrow_exception(why), first_kind);
    ++handled;
  };
  run(with_scope(
      [&](scope& s) -> task<> {
        for (int i = 0; i < 20; ++i) {
          s.spawn([&, i]() -> task<> {
            co_await yield_times(i % 3);
            if (i % 2 == 0) throw first_kind("one connection");
            ++finished;
          });
        }
        co_return;
      },
      std::move(options)));
  EXPECT_EQ(handled.load(), 10);
  EXPECT_EQ(finished.load(), 10);
}

TEST_P(Scope, fails_with_what_its_failure_handler_throws) {
  scope_options options;
  options.on_child_failure = [](const std::exception_ptr&) { throw error(errc::err_closed); };
  auto main = with_scope(
      [&](scope& s) -> task<> {
        s.spawn([]() -> task<> {
          throw first_kind("child");
          co_return;
        });
        co_await forever();
      },
      std::move(options));
  EXPECT_THROW(run(std::move(main)), error);
}

TEST_P(Scope, holds_a_million_children) {
  constexpr auto children = static_cast<int>(rounds(1'000'000));
  std::atomic<int> ended{0};
  run(with_scope([&](scope& s) -> task<> {
    event go;
    for (int i = 0; i < children; ++i) {
      s.spawn([&]() -> task<> {
        co_await go.wait();
        ended.fetch_add(1, std::memory_order_relaxed);
      });
    }
    co_await yield();
    go.set();
    co_await with_scope([&](scope&) -> task<> { co_await go.wait(); });
    while (ended.load(std::memory_order_relaxed) != children) co_await sleep(1ms);
  }));
  EXPECT_EQ(ended.load(), children);
}

task<int> nest(int levels, std::atomic<bool>& at_bottom) {
  if (levels == 0) {
    at_bottom = true;
    co_await forever();
  }
  co_return co_await with_scope(
      [levels, &at_bottom](scope&) -> task<int> { co_return co_await nest(levels - 1, at_bottom) + 1; });
}

TEST_P(Scope, cancels_a_hundred_thousand_scopes_nested_in_one_another) {
  std::atomic<bool> at_bottom{false};
  run(with_scope([&](scope& s) -> task<> {
    s.spawn(nest, static_cast<int>(rounds(100'000, 5)), std::ref(at_bottom));
    while (!at_bottom) co_await sleep(1ms);
    s.cancel();
  }));
}

TEST_P(Scope, gives_back_every_callable_context_and_frame) {
  run([]() -> task<> {
    static async_local<counted> local;
    for (int i = 0; i < 100; ++i) {
      co_await local.with(counted(), with_scope([](scope& s) -> task<> {
                            for (int n = 0; n < 10; ++n)
                              s.spawn([keep = counted()](counted) -> task<> { co_await yield(); }, counted());
                            co_await yield();
                          }));
    }
    EXPECT_EQ(counted::alive(), 0);
  }());
}

TEST_P(Scope, may_cancel_spawn_and_fail_at_once_from_everywhere) {
  run([]() -> task<> {
    for (std::size_t round = 0; round < rounds(3000); ++round) {
      auto outcome = co_await attempt(with_scope([round](scope& s) -> task<> {
        for (int i = 0; i < 4; ++i) {
          s.spawn([&s, i, round]() -> task<> {
            s.spawn(yield_times, 2);
            if (i == 2 && round % 3 == 0) throw first_kind("one");
            if (i == 3 && round % 2 == 0) s.cancel();
            s.spawn(forever);
            co_await yield();
            s.cancel();
          });
        }
        co_return;
      }));
      if (!outcome) EXPECT_THROW(outcome.value(), first_kind);
    }
  }());
}

class JoinHandle : public Scope {};
INSTANTIATE_TEST_SUITE_P(On, JoinHandle, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(JoinHandle, gives_the_result_before_and_after_the_child_has_ended) {
  run(with_scope([](scope& s) -> task<> {
    auto early = s.spawn([]() -> task<int> {
      co_await yield_times(5);
      co_return 1;
    });
    auto late = s.spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); });
    EXPECT_EQ(co_await std::move(early), 1);
    while (!late.done()) co_await yield();
    auto value = co_await std::move(late);
    EXPECT_EQ(*value, 2);
  }));
}

TEST_P(JoinHandle, throws_what_the_child_threw) {
  auto main = with_scope([](scope& s) -> task<> {
    auto child = s.spawn([]() -> task<int> {
      co_await yield();
      throw first_kind("child");
    });
    auto outcome = co_await attempt(shield(std::move(child)));
    EXPECT_THROW(outcome.value(), first_kind);
  });
  EXPECT_THROW(run(std::move(main)), first_kind) << "the scope fails as well";
}

TEST_P(JoinHandle, that_is_dropped_changes_nothing) {
  std::atomic<int> ended{0};
  run(with_scope([&](scope& s) -> task<> {
    for (int i = 0; i < 100; ++i) {
      auto handle = s.spawn([&]() -> task<> {
        co_await yield();
        ended.fetch_add(1);
      });
      if (i % 2 == 0) co_await yield();
    }
    co_return;
  }));
  EXPECT_EQ(ended.load(), 100);
}

TEST_P(JoinHandle, cancels_the_child_alone) {
  run(with_scope([](scope& s) -> task<> {
    auto child = s.spawn(forever);
    auto sibling = s.spawn(yield_times, 20);
    co_await yield();
    child.cancel();
    auto outcome = co_await attempt(std::move(child));
    EXPECT_TRUE(outcome.failure().is_cancelled());
    co_await std::move(sibling);
    EXPECT_FALSE(s.is_cancelled());
  }));
}

TEST_P(JoinHandle, cancels_a_child_that_has_not_started) {
  run(with_scope([](scope& s) -> task<> {
    auto child = s.spawn_local(forever);
    child.cancel();
    auto outcome = co_await attempt(std::move(child));
    EXPECT_TRUE(outcome.failure().is_cancelled());
  }));
}

TEST_P(JoinHandle, leaves_the_child_alone_when_the_await_is_cancelled) {
  run(with_scope([](scope& s) -> task<> {
    event go;
    auto child = s.spawn([&]() -> task<int> {
      co_await go.wait();
      co_return 9;
    });
    EXPECT_THROW(co_await timeout(2ms, [](join_handle<int>& h) -> task<> { co_await h; }(child)), error);
    EXPECT_FALSE(child.done());
    go.set();
    EXPECT_EQ(co_await std::move(child), 9);
  }));
}

TEST_P(JoinHandle, may_outlive_its_scope) {
  run([]() -> task<> {
    std::optional<join_handle<std::string>> kept;
    co_await with_scope([&](scope& s) -> task<> {
      kept.emplace(s.spawn([]() -> task<std::string> { co_return std::string(50, 'k'); }));
      co_return;
    });
    EXPECT_TRUE(kept->done());
    EXPECT_EQ(co_await std::move(*kept), std::string(50, 'k'));
  }());
}

// The end of the child, the cancellation of the await and the drop of the handle, in every order.
TEST_P(JoinHandle, survives_every_race_between_end_await_and_cancel) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(30'000); ++i) {
      co_await with_scope([i](scope& s) -> task<> {
        auto child = s.spawn([i]() -> task<int> {
          if (i % 3 == 0) co_await yield();
          co_return 1;
        });
        auto joiner = s.spawn(
            [](join_handle<int> of) -> task<> {
              auto outcome = co_await attempt(std::move(of));
              if (outcome) EXPECT_EQ(*outcome, 1);
            },
            std::move(child));
        if (i % 2 == 0) joiner.cancel();
        if (i % 5 == 0) co_await yield();
        joiner.cancel();
      });
    }
  }());
}

// A joiner that is cancelled while it is about to wait must not wait for a child that never ends by itself.
TEST_P(JoinHandle, never_loses_the_cancellation_of_an_await) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(20'000); ++i) {
      co_await with_scope([](scope& s) -> task<> {
        event end;
        auto child = s.spawn([&]() -> task<> { co_await end.wait(); });
        auto joiner = s.spawn([](join_handle<> of) -> task<> { co_await std::move(of); }, std::move(child));
        joiner.cancel();
        static_cast<void>(co_await attempt(std::move(joiner)));
        end.set();
      });
    }
  }());
}

}  // namespace
}  // namespace weir
