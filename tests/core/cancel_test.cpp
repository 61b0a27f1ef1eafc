#include <weir/core/scope.hpp>
#include <weir/io/operation.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>

#include <poll.h>
#include <unistd.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::forever;
using testing::rounds;
using testing::run_with;

class Cancellation : public ::testing::TestWithParam<unsigned> {
 protected:
  template <class T>
  T run(task<T> main) {
    return run_with(GetParam(), std::move(main));
  }
};

INSTANTIATE_TEST_SUITE_P(On, Cancellation, ::testing::Values(1U, 2U), [](const auto& each) {
  return std::to_string(each.param) + (each.param == 1 ? "_worker" : "_workers");
});

/// Starts `op` on the last worker, lets it get going, cancels it from worker 0. @return true if it threw cancelled
template <class Make>
task<bool> cancel_in_flight(Make make) {
  bool stopped = false;
  co_await with_scope([&](scope& s) -> task<> {
    event begun;
    auto child = s.spawn_on(1, [&]() -> task<> {
      begun.set();
      auto outcome = co_await attempt(make());
      stopped = !outcome && outcome.failure().is_cancelled();
    });
    co_await begun.wait();
    co_await sleep(1ms);
    child.cancel();
    co_await std::move(child);
  });
  co_return stopped;
}

struct pipe_ends {
  pipe_ends() { EXPECT_EQ(::pipe(fd.data()), 0); }
  ~pipe_ends() {
    ::close(fd[0]);
    ::close(fd[1]);
  }
  std::array<int, 2> fd = {};
};

TEST_P(Cancellation, is_seen_by_each_later_await) {
  run(with_scope([](scope& s) -> task<> {
    event set;
    set.set();
    s.cancel();
    for (int i = 0; i < 3; ++i) {
      EXPECT_THROW(co_await sleep(1h), cancelled);
      EXPECT_THROW(co_await forever(), cancelled);
      EXPECT_THROW(co_await set.wait(), cancelled);
      EXPECT_THROW(co_await yield(), cancelled);
      EXPECT_THROW(co_await immediate(), cancelled);
      EXPECT_THROW(co_await next_tick(), cancelled);
      EXPECT_THROW(co_await blocking([] { ADD_FAILURE() << "it must not run"; }), cancelled);
      EXPECT_THROW(co_await io::poll(0, POLLIN), cancelled);
      EXPECT_TRUE((co_await attempt(sleep(1h))).failure().is_cancelled());
      EXPECT_TRUE((co_await attempt(yield())).failure().is_cancelled());
    }
    co_await shield(sleep(1ms));
    EXPECT_THROW(co_await yield(), cancelled);
  }));
}

TEST_P(Cancellation, ends_a_sleep_at_once) {
  auto started = std::chrono::steady_clock::now();
  EXPECT_TRUE(run(cancel_in_flight([] { return sleep(1h); })));
  EXPECT_LT(std::chrono::steady_clock::now() - started, 10s);
}

TEST_P(Cancellation, takes_a_waiter_out_of_an_event) {
  event never;
  EXPECT_TRUE(run(cancel_in_flight([&] { return never.wait(); })));
  run([](event& e) -> task<> {
    e.set();
    co_await e.wait();
  }(never));
}

TEST_P(Cancellation, reaches_an_operation_in_flight_on_another_worker) {
  pipe_ends pipe;
  std::array<std::byte, 64> buffer;
  EXPECT_TRUE(run(cancel_in_flight([&] { return io::read(pipe.fd[0], buffer); })));
  EXPECT_TRUE(run(cancel_in_flight([&] { return io::poll(pipe.fd[0], POLLIN); })));
}

TEST_P(Cancellation, waits_until_the_system_is_done_with_the_buffer) {
  pipe_ends pipe;
  run([](int reading, int writing) -> task<> {
    for (std::size_t i = 0; i < rounds(2000); ++i) {
      std::array<std::byte, 8> buffer = {};  // must not be written to once the scope has ended
      co_await with_scope([&](scope& s) -> task<> {
        auto reader = s.spawn([&]() -> task<> { static_cast<void>(co_await attempt(io::read(reading, buffer))); });
        s.spawn([&, i]() -> task<> {
          if (i % 2 == 0) co_await yield();
          EXPECT_EQ(::write(writing, "12345678", 8), 8);
        });
        if (i % 3 == 0) co_await yield();
        reader.cancel();
      });
      auto seen = buffer;
      if (seen[0] == std::byte{}) {
        std::array<std::byte, 8> rest;
        EXPECT_EQ(::read(reading, rest.data(), rest.size()), 8) << "not taken by the cancelled read";
      }
      EXPECT_EQ(seen, buffer);
    }
  }(pipe.fd[0], pipe.fd[1]));
}

TEST_P(Cancellation, in_flight_leaves_no_operation_behind) {
  pipe_ends pipe;
  run([](int fd) -> task<> {
    co_await with_scope([&](scope& s) -> task<> {
      for (unsigned i = 0; i < 200; ++i) {
        s.spawn_on(i, [fd]() -> task<> { co_await io::poll(fd, POLLIN); });
        s.spawn([fd]() -> task<> { co_await io::poll(fd, POLLIN); });
      }
      for (int i = 0; i < 5; ++i) co_await yield();
      s.cancel();
    });
    for (const auto& each : metrics().workers) EXPECT_EQ(each.in_flight, 0U);
  }(pipe.fd[0]));
}

TEST_P(Cancellation, of_an_operation_is_never_lost) {
  pipe_ends pipe;
  run([](int fd) -> task<> {
    for (std::size_t i = 0; i < rounds(10'000); ++i) {
      co_await with_scope([&](scope& s) -> task<> {
        auto reader = i % 2 == 0 ? s.spawn_on(1, [fd]() -> task<> { co_await io::poll(fd, POLLIN); })
                                 : s.spawn([fd]() -> task<> { co_await io::poll(fd, POLLIN); });
        for (std::size_t y = 0; y < i % 4; ++y) co_await yield();
        reader.cancel();
      });
    }
  }(pipe.fd[0]));
}

TEST_P(Cancellation, of_a_sleep_is_never_lost) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(20'000); ++i) {
      co_await with_scope([i](scope& s) -> task<> {
        auto sleeper = i % 2 == 0 ? s.spawn_on(1, []() -> task<> { co_await sleep(1h); })
                                  : s.spawn([]() -> task<> { co_await sleep(1h); });
        for (std::size_t y = 0; y < i % 4; ++y) co_await yield();
        sleeper.cancel();
      });
    }
  }());
}

TEST_P(Cancellation, of_an_event_races_with_its_set_without_loss) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(100'000); ++i) {
      co_await with_scope([](scope& s) -> task<> {
        event go;
        auto waiter = s.spawn([&go]() -> task<> { static_cast<void>(co_await attempt(go.wait())); });
        auto setter = s.spawn([&go]() -> task<> {
          go.set();
          co_return;
        });
        waiter.cancel();
        static_cast<void>(co_await attempt(shield(std::move(waiter))));
        co_await std::move(setter);
      });
    }
  }());
}

TEST_P(Cancellation, of_a_whole_tree_races_with_its_growth) {
  run([]() -> task<> {
    for (std::size_t i = 0; i < rounds(500); ++i) {
      co_await with_scope([i](scope& s) -> task<> {
        struct tree {
          static task<> grow(int levels) {
            co_await with_scope([levels](scope& inner) -> task<> {
              if (levels == 0) co_return co_await forever();
              for (int n = 0; n < 3; ++n) inner.spawn(grow, levels - 1);
              co_await yield();
            });
          }
        };
        s.spawn(tree::grow, 4);
        for (std::size_t y = 0; y < i % 16; ++y) co_await yield();
        s.cancel();
      });
    }
  }());
}

TEST_P(Cancellation, while_shielded_waits_and_is_then_seen) {
  run(with_scope([](scope& s) -> task<> {
    for (std::size_t i = 0; i < rounds(5000); ++i) {
      auto child = s.spawn([]() -> task<> {
        co_await shield([]() -> task<> {
          co_await yield();
          co_await with_scope([](scope& inner) -> task<> {
            inner.spawn([]() -> task<> { co_await yield(); });
            co_return;
          });
        }());
        EXPECT_THROW(co_await sleep(1h), cancelled);
      });
      child.cancel();
      co_await std::move(child);
    }
  }));
}

TEST_P(Cancellation, does_not_disturb_what_needs_no_wait) {
  run(with_scope([](scope& s) -> task<> {
    s.cancel();
    auto sum = [](int a, int b) -> task<int> { co_return a + b; };
    EXPECT_EQ(co_await sum(1, 2), 3);
    co_await with_scope([](scope&) -> task<> { co_return; });
  }));
}

}  // namespace
}  // namespace weir
