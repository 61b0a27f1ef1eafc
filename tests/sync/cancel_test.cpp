// tests/sync/cancel_test.cpp: every primitive that tasks wait for, with one of its users cancelled at each suspension,
// and at any moment on several workers. Whatever the moment, the others go on, and nothing is lost, doubled or kept.
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/sync/barrier.hpp>
#include <weir/sync/batcher.hpp>
#include <weir/sync/broadcast.hpp>
#include <weir/sync/cache.hpp>
#include <weir/sync/channel.hpp>
#include <weir/sync/concurrency_limit.hpp>
#include <weir/sync/condition.hpp>
#include <weir/sync/latch.hpp>
#include <weir/sync/message_port.hpp>
#include <weir/sync/mutex.hpp>
#include <weir/sync/notify.hpp>
#include <weir/sync/once_cell.hpp>
#include <weir/sync/oneshot.hpp>
#include <weir/sync/parallel_for.hpp>
#include <weir/sync/priority_queue.hpp>
#include <weir/sync/resource_pool.hpp>
#include <weir/sync/semaphore.hpp>
#include <weir/sync/shared_mutex.hpp>
#include <weir/sync/wait_group.hpp>
#include <weir/sync/watch.hpp>
#include <weir/sync/worker_pool.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace weir::testing;
using ints = std::vector<int>;

// A world has a primitive and two users of it, `victim` and `other`. The first is cancelled at some moment; then
// `finish` does what it owes the other one, and after both have ended, `check` looks at what is left.

struct world {
  task<> finish() { co_return; }
  task<> check() { co_return; }
};

template <class World>
task<bool> try_at(std::size_t rounds) {
  auto w = std::make_unique<World>();
  bool in_time = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto beside = s.spawn_local([](World& in) { return in.other(); }, std::ref(*w));
    auto make = [&] { return w->victim(); };
    auto check = [&](const result<void>& outcome) {
      if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
    };
    in_time = co_await cancelling::run_once(make, check, rounds);
    co_await w->finish();
    co_await std::move(beside);
  });
  co_await w->check();
  co_return in_time;
}

template <class World>
task<> race_at(std::size_t rounds) {
  auto w = std::make_unique<World>();
  co_await with_scope([&](scope& s) -> task<> {
    auto beside = s.spawn([](World& in) { return in.other(); }, std::ref(*w));
    auto one = s.spawn([](World& in) { return in.victim(); }, std::ref(*w));
    for (std::size_t i = 0; i < rounds; ++i) co_await yield();
    one.cancel();
    auto outcome = co_await attempt(std::move(one));
    if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
    co_await w->finish();
    co_await std::move(beside);
  });
  co_await w->check();
}

template <class World>
class CancelledUser : public ::testing::Test {};

/// Two enter by turns what lets one in.
template <class Lock>
struct taking_turns : world {
  Lock lock;
  std::atomic<int> inside{0};

  task<> use() {
    for (int i = 0; i < 3; ++i) {
      auto held = co_await lock.lock();
      EXPECT_EQ(++inside, 1);
      auto paused = co_await attempt(yield());  // what is inside goes out again
      --inside;
      if (!paused) paused.failure().rethrow();
    }
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_TRUE(lock.try_lock());
    co_return;
  }
};
using of_a_mutex = taking_turns<mutex>;

struct of_a_shared_mutex : taking_turns<shared_mutex> {
  task<> victim() {
    for (int i = 0; i < 2; ++i) {
      {
        auto reads = co_await lock.lock_shared();
        EXPECT_EQ(inside, 0);
        co_await yield();
      }
      auto writes = co_await lock.lock();
      EXPECT_EQ(inside, 0);
    }
  }
};

struct of_a_semaphore : world {
  semaphore permits{3};

  task<> use(std::size_t count) {
    for (int i = 0; i < 3; ++i) {
      auto held = co_await permits.acquire(count);
      co_await yield();
    }
  }
  task<> victim() { return use(2); }
  task<> other() { return use(3); }
  task<> check() {
    EXPECT_EQ(permits.available(), 3U);
    co_return;
  }
};

/// Tokens of which each is announced to one: none may wait unannounced while somebody waits for it.
struct of_a_condition : world {
  mutex lock;
  condition more;
  int tokens = 0;
  int taken = 0;

  task<> take_one() {
    auto held = co_await lock.lock();
    while (tokens == 0) co_await more.wait(held);
    --tokens;
    ++taken;
  }
  task<> victim() {
    for (int i = 0; i < 3; ++i) co_await take_one();
  }
  task<> other() {
    for (int i = 0; i < 4; ++i) {
      co_await yield();
      auto held = co_await lock.lock();
      ++tokens;
      more.notify_one();
    }
  }
  task<> finish() {
    while (taken < 4) co_await take_one();
  }
  task<> check() {
    EXPECT_EQ(tokens, 0);
    EXPECT_TRUE(lock.try_lock());
    co_return;
  }
};

/// What is told once is heard once.
struct of_a_notify : world {
  notify bell;
  std::atomic<int> heard{0};

  task<> hear() {
    co_await bell.notified();
    ++heard;
  }
  task<> victim() {
    co_await hear();
    co_await yield();
  }
  task<> other() {
    for (int i = 0; i < 2; ++i) co_await yield();
    bell.notify_one();
  }
  task<> finish() {
    if (heard == 0) co_await hear();
  }
  task<> check() {
    EXPECT_EQ(heard, 1);
    co_return;
  }
};

struct of_a_barrier : world {
  barrier phases{2};
  int passed = 0;

  task<> victim() {
    while (passed < 3) {
      co_await phases.arrive();
      ++passed;
      co_await yield();
    }
  }
  task<> other() {
    for (int i = 0; i < 3; ++i) co_await phases.arrive();
  }
  task<> finish() {
    for (; passed < 3; ++passed) co_await phases.arrive();
  }
};

struct of_a_latch : world {
  latch gate{2};

  task<> victim() {
    co_await gate.wait();
    co_await yield();
  }
  task<> other() {
    for (int i = 0; i < 2; ++i) {
      co_await yield();
      gate.count_down();
    }
    co_await gate.wait();
  }
  task<> check() { co_await gate.wait(); }
};

struct of_a_wait_group : world {
  wait_group all;
  of_a_wait_group() { all.add(2); }

  task<> victim() {
    co_await all.wait();
    co_await yield();
  }
  task<> other() {
    for (int i = 0; i < 2; ++i) {
      co_await yield();
      all.done();
    }
    co_await all.wait();
  }
  task<> check() { co_await all.wait(); }
};

struct of_a_once_cell : world {
  once_cell<int> cell;
  std::atomic<int> begun{0};

  task<> use() {
    auto make = [](std::atomic<int>& count) -> task<int> {
      ++count;
      for (int i = 0; i < 3; ++i) co_await yield();
      co_return 7;
    };
    EXPECT_EQ(co_await cell.get_or_init([&] { return make(begun); }), 7);
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_LE(begun, 2);
    co_return;
  }
};

/// Somebody reads 1 to 4 in order, and who is cancelled leaves the rest.
struct reading_world : world {
  ints got;

  template <class R>
  task<> read(R& from, bool slowly = false) {
    while (got.size() < 4) {
      if (slowly) co_await yield();
      auto next = co_await from.recv();
      if (!next) co_return;
      got.push_back(*next);
    }
  }
  task<> check() {
    EXPECT_EQ(got, (ints{1, 2, 3, 4}));
    co_return;
  }
};

template <std::size_t Capacity>
struct receiving_from_a_channel : reading_world {
  channel<int> line{Capacity};

  task<> victim() { return read(line); }
  task<> other() {
    for (int i = 1; i <= 4; ++i) {
      co_await line.send(i);
      co_await yield();
    }
    line.close();
  }
  task<> finish() { return read(line); }
};

struct receiving_many_from_a_channel : reading_world {
  channel<int> line{2};

  task<> read_many() {
    while (got.size() < 4) {
      if (co_await line.recv_many(got, 2) == 0) co_return;
    }
  }
  task<> victim() { return read_many(); }
  task<> other() {
    for (int i = 1; i <= 4; ++i) {
      co_await line.send(i);
      co_await yield();
    }
  }
  task<> finish() { return read_many(); }
};

template <std::size_t Capacity>
struct sending_to_a_channel : reading_world {
  channel<int> line{Capacity};
  int next = 1;

  task<> send_all() {
    for (; next <= 4; ++next) {
      int value = next;
      auto sent = co_await attempt(line.send_from(value));
      if (!sent) sent.failure().rethrow();
    }
  }
  task<> victim() { return send_all(); }
  task<> other() { return read(line, true); }
  task<> finish() { return send_all(); }
};

struct of_a_oneshot : world {
  oneshot<int> ends = make_oneshot<int>();
  std::optional<int> got;

  task<> victim() {
    got = co_await ends.rx.recv();
    co_await yield();
  }
  task<> other() {
    for (int i = 0; i < 2; ++i) co_await yield();
    EXPECT_TRUE(ends.tx.send(5));
  }
  task<> finish() {
    if (!got) got = co_await ends.rx.recv();
  }
  task<> check() {
    EXPECT_EQ(got, 5);
    co_return;
  }
};

struct of_a_broadcast : world {
  broadcast<int> all{8};
  subscriber<int> mine = all.subscribe();
  ints got;

  task<> read() {
    while (got.size() < 4) {
      auto next = co_await mine.recv();
      if (!next) co_return;
      EXPECT_EQ(next->missed, 0U);
      got.push_back(next->value);
    }
  }
  task<> victim() { return read(); }
  task<> other() {
    for (int i = 1; i <= 4; ++i) {
      all.send(i);
      co_await yield();
    }
  }
  task<> finish() { return read(); }
  task<> check() {
    EXPECT_EQ(got, (ints{1, 2, 3, 4}));
    co_return;
  }
};

/// Versions may be passed over, the last one not.
struct of_a_watch : world {
  watch<int> value{0};
  observer<int> mine = value.observe();
  int last = 0;

  task<> follow() {
    while (last < 3) {
      auto next = co_await mine.next();
      if (!next) co_return;
      EXPECT_GT(*next, last);
      last = *next;
    }
  }
  task<> victim() { return follow(); }
  task<> other() {
    for (int i = 1; i <= 3; ++i) {
      value.set(i);
      co_await yield();
    }
  }
  task<> finish() { return follow(); }
  task<> check() {
    EXPECT_EQ(last, 3);
    co_return;
  }
};

struct of_a_message_port : world {
  message_channel<int> line{{.capacity = 1}};
  ints got;

  task<> read() {
    while (got.size() < 4) {
      auto next = co_await line.port1.receive();
      if (!next) co_return;
      got.push_back(*next);
    }
  }
  task<> victim() { return read(); }
  task<> other() {
    for (int i = 1; i <= 4; ++i) {
      EXPECT_TRUE(co_await line.port2.send(i));
      co_await yield();
    }
  }
  task<> finish() { return read(); }
  task<> check() {
    EXPECT_EQ(got, (ints{1, 2, 3, 4}));
    co_return;
  }
};

struct of_a_resource_pool : world {
  std::atomic<int> made{0};
  resource_pool<int> pool{[this]() -> task<int> {
                            co_await yield();
                            co_return ++made;
                          },
                          {.max = 1}};

  task<> use() {
    for (int i = 0; i < 2; ++i) {
      auto held = co_await pool.acquire();
      co_await yield();
    }
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    auto last = co_await pool.acquire();
    EXPECT_LE(made, 2);  // one that was being made may have gone
  }
};

template <class Gate>
struct running_in : world {
  Gate gate;
  std::atomic<int> inside{0};

  template <class... A>
  explicit running_in(A&&... limits) : gate(std::forward<A>(limits)...) {}

  task<> one() {
    EXPECT_EQ(++inside, 1);
    auto paused = co_await attempt(yield());
    --inside;
    if (!paused) paused.failure().rethrow();
  }
  task<> use() {
    for (int i = 0; i < 3; ++i) co_await gate.run([this] { return one(); });
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_EQ(inside, 0);
    co_await use();
  }
};
struct of_a_concurrency_limit : running_in<concurrency_limit> {
  of_a_concurrency_limit() : running_in(1U) {}
};
struct of_a_priority_queue : running_in<priority_queue> {
  of_a_priority_queue() : running_in(priority_queue_options{.concurrency = 1}) {}
  task<> check() {
    co_await gate.idle();
    co_await running_in::check();
  }
};

struct of_a_map_with_a_limit : world {
  std::atomic<int> inside{0};
  task<int> one(int i) {
    ++inside;
    auto paused = co_await attempt(yield());
    --inside;
    if (!paused) paused.failure().rethrow();
    co_return i;
  }
  task<> use() {
    EXPECT_EQ(co_await map_limit(ints{1, 2, 3, 4, 5}, 2, [this](int i) { return one(i); }), (ints{1, 2, 3, 4, 5}));
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_EQ(inside, 0);
    co_return;
  }
};

struct of_a_parallel_loop : world {
  std::atomic<int> inside{0};
  task<> use() {
    co_await parallel_for(6, [this](std::size_t) -> task<> {
      ++inside;
      result<void> paused;
      for (int i = 0; i < 3 && paused; ++i) paused = co_await attempt(yield());
      --inside;
      if (!paused) paused.failure().rethrow();
    });
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_EQ(inside, 0);
    co_return;
  }
};

/// Two load the same key: the one that is left goes on with the load, or begins it anew.
struct of_a_cache : world {
  cache<int, int> values;
  std::atomic<int> loads{0};

  task<> use() {
    auto load = [](std::atomic<int>& count) -> task<int> {
      ++count;
      for (int i = 0; i < 3; ++i) co_await yield();
      co_return 7;
    };
    EXPECT_EQ(co_await values.get_or_load(1, [&](const int&) { return load(loads); }), 7);
  }
  task<> victim() { return use(); }
  task<> other() { return use(); }
  task<> check() {
    EXPECT_LE(loads, 2);
    EXPECT_EQ(values.get(1), 7);
    co_return;
  }
};

/// Every item whose `add` has completed is handled, once and in order, and no other.
struct of_a_batcher : world {
  std::optional<batcher<int>> gather;
  event open;
  event over;
  ints handled;
  ints added;

  task<> victim() {
    co_await open.wait();
    for (int i = 1; i <= 6; ++i) {
      co_await gather->add(i);
      added.push_back(i);
    }
  }
  task<> other() {
    co_await with_scope([this](scope& s) -> task<> {
      auto handle = [this](std::vector<int> some) -> task<> {
        co_await yield();
        handled.insert(handled.end(), some.begin(), some.end());
      };
      gather.emplace(s, handle, batch_options{.max_size = 2, .max_wait = {}, .max_pending = 3});
      open.set();
      co_await over.wait();
      gather.reset();
    });
  }
  task<> finish() {
    over.set();
    co_return;
  }
  task<> check() {
    EXPECT_EQ(handled, added);
    co_return;
  }
};

using primitives =
    ::testing::Types<of_a_mutex, of_a_shared_mutex, of_a_semaphore, of_a_condition, of_a_notify, of_a_barrier,
                     of_a_latch, of_a_wait_group, of_a_once_cell, receiving_from_a_channel<0>,
                     receiving_from_a_channel<2>, receiving_many_from_a_channel, sending_to_a_channel<0>,
                     sending_to_a_channel<2>, of_a_oneshot, of_a_broadcast, of_a_watch, of_a_message_port,
                     of_a_resource_pool, of_a_concurrency_limit, of_a_priority_queue, of_a_map_with_a_limit,
                     of_a_parallel_loop, of_a_cache>;
TYPED_TEST_SUITE(CancelledUser, primitives);

template <class World>
task<> try_everywhere() {
  std::size_t at = 0;
  while (!co_await try_at<World>(at) && at < 200) ++at;
  EXPECT_GE(at, 2U);
  EXPECT_LT(at, 200U);
}

TYPED_TEST(CancelledUser, may_go_at_every_suspension_and_the_others_go_on) { run_with(1, try_everywhere<TypeParam>()); }

// A batcher is for one worker.
TEST(CancelledUserOfABatcher, may_go_at_every_suspension_and_the_others_go_on) {
  run_with(1, try_everywhere<of_a_batcher>());
}

TYPED_TEST(CancelledUser, may_go_at_any_moment_on_several_workers) {
  run_with(3, with_scope([](scope& s) -> task<> {
             for (std::size_t i = 0; i < rounds(600); ++i) co_await s.spawn(race_at<TypeParam>, i % 12);
           }));
}

// Threads of their own

TEST(CancelledJob, settles_at_every_suspension_of_its_owner) {
  worker_pool pool({.threads = 1});
  std::atomic<int> inside{0};
  auto job = [&inside]() -> task<int> {
    ++inside;
    auto paused = co_await attempt(yield());
    --inside;
    if (!paused) paused.failure().rethrow();
    co_return 3;
  };
  run_with(1, [](worker_pool& on, auto& each) -> task<> {
    for (std::size_t at = 0; at < rounds(60); ++at) {
      auto make = [&]() -> task<> {
        for (int i = 0; i < 2; ++i) EXPECT_EQ(co_await on.run(each), 3);
      };
      auto check = [](const result<void>& outcome) { EXPECT_TRUE(outcome || outcome.failure().is_cancelled()); };
      static_cast<void>(co_await cancelling::run_once(make, check, at));
    }
    co_await on.drain();
    EXPECT_EQ(co_await on.run(each), 3);
    EXPECT_EQ(co_await on.shutdown(), 0U);
  }(pool, job));
  EXPECT_EQ(inside, 0);
}

}  // namespace
}  // namespace weir::sync
