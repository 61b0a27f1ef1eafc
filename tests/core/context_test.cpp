#include <weir/core/context.hpp>
#include <weir/core/time.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::counted;
using testing::run_with;

async_local<std::string> request;
async_local<int> depth;

std::string seen() {
  auto* value = request.get();
  return value != nullptr ? *value : "none";
}

class AsyncLocal : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, AsyncLocal, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

TEST_P(AsyncLocal, is_unset_outside) {
  EXPECT_EQ(request.get(), nullptr) << "and outside a runtime";
  run([]() -> task<> {
    EXPECT_EQ(seen(), "none");
    co_await request.with("a", []() -> task<> {
      EXPECT_EQ(seen(), "a");
      co_return;
    }());
    EXPECT_EQ(seen(), "none");
  }());
}

TEST_P(AsyncLocal, follows_awaits_over_every_kind_of_wait) {
  run(request.with("b", []() -> task<> {
    auto inner = []() -> task<> {
      co_await yield();
      EXPECT_EQ(seen(), "b");
      co_await sleep(1ms);
      EXPECT_EQ(seen(), "b");
      co_await immediate();
      EXPECT_EQ(seen(), "b");
      co_await next_tick();
      EXPECT_EQ(seen(), "b");
      co_await blocking([] {});
      EXPECT_EQ(seen(), "b");
    };
    co_await inner();
    co_await timeout(1h, inner());
    co_await shield(inner());
  }()));
}

TEST_P(AsyncLocal, follows_spawns_of_every_kind) {
  run(with_scope([](scope& s) -> task<> {
    auto child = [](scope& to, auto self, int levels) -> task<> {
      EXPECT_EQ(seen(), "c");
      co_await yield();
      EXPECT_EQ(seen(), "c");
      if (levels == 0) co_return;
      to.spawn(self, std::ref(to), self, levels - 1);
      to.spawn_local(self, std::ref(to), self, levels - 1);
      to.spawn_on(1, self, std::ref(to), self, levels - 1);
    };
    co_await request.with("c", [](scope& to, auto make) -> task<> { co_await make(to, make, 4); }(s, child));
    EXPECT_EQ(seen(), "none");
  }));
}

TEST_P(AsyncLocal, follows_callbacks_and_timers) {
  std::vector<std::string> log;
  run([](std::vector<std::string>& to) -> task<> {
    co_await with_scope([&](scope&) -> task<> {
      co_await request.with("d", [](std::vector<std::string>& into) -> task<> {
        auto note = [&into] { into.push_back(seen()); };
        next_tick(note);
        queue_microtask(note);
        set_immediate(note);
        queue_close(note);
        set_timeout(
            [note] {
              note();
              set_timeout(note, 1ms);  // handed on once more
            },
            1ms);
        set_timeout(
            [note]() -> task<> {
              co_await yield();
              note();
            },
            1ms);
        co_return;
      }(to));
    });
  }(log));
  EXPECT_EQ(log, std::vector<std::string>(7, "d"));
}

TEST_P(AsyncLocal, is_shared_by_branches_and_not_between_siblings) {
  run(request.with("outer", []() -> task<> {
    auto branch = [](const char* name) -> task<std::string> {
      EXPECT_EQ(seen(), "outer");
      co_return co_await request.with(name, []() -> task<std::string> {
        co_await yield();
        co_return seen();
      }());
    };
    auto values = co_await all(branch("x"), branch("y"), branch("z"));
    EXPECT_EQ(values, std::make_tuple("x", "y", "z"));
    EXPECT_EQ(seen(), "outer");
  }()));
}

TEST_P(AsyncLocal, nests_and_restores_the_value_after_a_failure) {
  run(depth.with(1, []() -> task<> {
    auto outcome = co_await attempt(depth.with(2, []() -> task<> {
      EXPECT_EQ(*depth.get(), 2);
      co_await yield();
      throw error(errc::err_closed);
    }()));
    EXPECT_FALSE(outcome);
    EXPECT_EQ(*depth.get(), 1);
    co_await request.with("both", []() -> task<> {
      EXPECT_EQ(*depth.get(), 1);
      EXPECT_EQ(seen(), "both");
      co_return;
    }());
  }()));
}

TEST_P(AsyncLocal, may_be_changed_in_place_by_the_flows_that_share_it) {
  run(depth.with(1, []() -> task<> {
    co_await []() -> task<> {
      *depth.get() = 5;
      co_return;
    }();
    EXPECT_EQ(*depth.get(), 5);
  }()));
}

TEST_P(AsyncLocal, lives_as_long_as_anything_that_inherited_it) {
  async_local<counted> value;
  run(with_scope([&](scope& s) -> task<> {
    event go;
    co_await value.with(counted(), [](scope& to, event& gate, auto& local) -> task<> {
      to.spawn([&gate, &local]() -> task<> {
        co_await gate.wait();
        EXPECT_NE(local.get(), nullptr);
      });
      set_timeout([&local] { EXPECT_NE(local.get(), nullptr); }, 1ms);
      co_return;
    }(s, go, value));
    EXPECT_EQ(value.get(), nullptr);
    EXPECT_EQ(counted::alive(), 1) << "held by the child and the timer";
    go.set();
    while (counted::alive() != 0) co_await sleep(1ms);
  }));
  EXPECT_EQ(counted::alive(), 0);
}

TEST_P(AsyncLocal, frees_a_long_chain_without_recursion) {
  run(with_scope([](scope& s) -> task<> {
    struct chain {
      static task<> extend(scope& to, int left) {
        if (left == 0) co_return;
        co_await depth.with(left, [](scope& next, int n) -> task<> {
          next.spawn(extend, std::ref(next), n - 1);
          co_return;
        }(to, left));
      }
    };
    s.spawn(chain::extend, std::ref(s), 100'000);
    co_return;
  }));
}

}  // namespace
}  // namespace weir
