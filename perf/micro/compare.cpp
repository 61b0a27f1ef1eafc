// perf/micro/compare.cpp: weir's column in the in-process table (see ../micro.py for the keys): one worker for "st"
// and "mem", two for "mt". Measures what the peers' programs measure, the same number of times in the same shape:
// `leaf` and `deep` are kept from being inlined, the work runs in a spawned task, and spawn_many holds a handle for
// each task and awaits them one after the other, as tokio's and condy's programs do.
//
//   weir_micro_compare st|mem|mt
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/sync/channel.hpp>
#include <weir/sync/mutex.hpp>

#include "perf/resident.hpp"
#include "perf/stopwatch.hpp"

#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using bench::print;
using bench::stopwatch;
using weir::task;

volatile long sink;

[[gnu::noinline]] task<long> leaf(long x) { co_return x + 1; }

[[gnu::noinline]] task<long> deep(long n) {
  if (n == 0) co_return 0;
  co_return co_await deep(n - 1) + 1;
}

task<> yield_many(long turns) {
  for (long i = 0; i < turns; ++i) co_await weir::yield();
}

task<> spawn_many(long count) {
  co_await weir::with_scope([count](weir::scope& s) -> task<> {
    std::vector<weir::join_handle<long>> handles;
    handles.reserve(static_cast<std::size_t>(count));
    for (long i = 0; i < count; ++i) handles.push_back(s.spawn(leaf, i));
    long sum = 0;
    for (auto& handle : handles) sum += co_await std::move(handle);
    sink = sum;
  });
}

task<> yield_in_parallel(int tasks, long turns) {
  co_await weir::with_scope([tasks, turns](weir::scope& s) -> task<> {
    for (int i = 0; i < tasks; ++i) static_cast<void>(s.spawn(yield_many, turns));
    co_return;
  });
}

task<> awaits() {
  long sum = 0;
  {
    stopwatch watch;
    for (long i = 0; i < 10'000'000; ++i) sum += co_await leaf(i);
    double each = watch.per(1e7);
    print("ready_await", each);
    print("ready_await_heap", each);  // a task always has a frame of its own
  }
  {
    stopwatch watch;
    for (int i = 0; i < 1000; ++i) sum += co_await deep(1000);
    watch.done("depth_level", 1e6);
  }
  sink = sum;
}

task<> spawns() {
  co_await weir::with_scope([](weir::scope& s) -> task<> {
    long sum = 0;
    stopwatch watch;
    for (long i = 0; i < 1'000'000; ++i) sum += co_await s.spawn(leaf, i);
    watch.done("spawn_join", 1e6);
    sink = sum;
  });
  stopwatch watch;
  co_await spawn_many(1'000'000);
  watch.done("spawn_many", 1e6);
}

task<> yields() {
  {
    stopwatch watch;
    co_await yield_many(2'000'000);
    watch.done("yield_1", 2e6);
  }
  stopwatch watch;
  co_await yield_in_parallel(100, 20'000);
  watch.done("yield_100", 2e6);
}

task<> add_locked(weir::sync::mutex* m, long* value, long times) {
  for (long i = 0; i < times; ++i) {
    auto held = co_await m->lock();
    ++*value;
  }
}

task<> hold_and_yield(weir::sync::mutex* m, long* value, long times) {
  for (long i = 0; i < times; ++i) {
    auto held = co_await m->lock();
    ++*value;
    co_await weir::yield();
  }
}

using locker = task<> (*)(weir::sync::mutex*, long*, long);

task<> lock_in_parallel(const char* key, locker body, int tasks, long times) {
  weir::sync::mutex m;
  long value = 0;
  stopwatch watch;
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (int i = 0; i < tasks; ++i) static_cast<void>(s.spawn(body, &m, &value, times));
    co_return;
  });
  watch.done(key, static_cast<double>(value));
}

task<> mutexes() {
  weir::sync::mutex m;
  long value = 0;
  stopwatch watch;
  co_await add_locked(&m, &value, 10'000'000);
  watch.done("mutex_uncontended", 1e7);
  co_await lock_in_parallel("mutex_contended8", hold_and_yield, 8, 100'000);
}

task<> send_all(weir::sync::sender<long> to, long count) {
  for (long i = 0; i < count; ++i) co_await to.send(i);
}

task<long> receive_all(weir::sync::receiver<long> from) {
  long sum = 0;
  while (auto value = co_await from.recv()) sum += *value;
  co_return sum;
}

task<> channels() {
  for (std::size_t capacity : {1U, 64U}) {
    co_await weir::with_scope([capacity](weir::scope& s) -> task<> {
      auto [sending, receiving] = weir::sync::make_channel<long>(capacity);
      stopwatch watch;
      auto producer = s.spawn(send_all, std::move(sending), 2'000'000);
      sink = co_await receive_all(std::move(receiving));
      co_await std::move(producer);
      watch.done("chan_same_cap" + std::to_string(capacity), 2e6);
    });
  }
}

task<> timers() {
  constexpr std::size_t count = 1'000'000;
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<weir::timer> alive;
    alive.reserve(count);
    stopwatch inserting;
    for (std::size_t i = 0; i < count; ++i) {
      alive.push_back(weir::set_timeout([] {}, std::chrono::milliseconds(60'000 + i % 600'000)));
    }
    if (pass == 1) inserting.done("timer_insert", count);
    stopwatch cancelling;
    for (auto& timer : alive) timer.clear();
    alive.clear();
    if (pass == 1) cancelling.done("timer_cancel", count);
  }
  co_return;
}

task<> single_thread() {
  co_await awaits();
  co_await spawns();
  co_await yields();
  co_await channels();
  co_await mutexes();
  co_await timers();
}

task<> park(weir::event* gate) { co_await gate->wait(); }

// The handles are dropped: the scope waits for its tasks all the same.
task<> memory() {
  constexpr long count = 1'000'000;
  double before = bench::resident_bytes();
  weir::event gate;
  stopwatch watch;
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (long i = 0; i < count; ++i) static_cast<void>(s.spawn(park, &gate));
    for (long i = 0; i < 100; ++i) co_await weir::yield();
    print("idle_task_bytes", (bench::resident_bytes() - before) / count);
    watch = stopwatch();
    gate.set();
  });
  watch.done("wake_all", count);
}

/// A stealable task, as the peers' are, that does the work of `body`.
task<> in_a_spawned_task(task<> (*body)()) {
  co_await weir::with_scope([body](weir::scope& s) -> task<> { co_await s.spawn(body); });
}

void run(unsigned workers, task<> main) { weir::runtime({.workers = workers}).block_on(std::move(main)); }

// Two threads with a runtime each: whoever finds its partner asleep must wake another thread.
void ping_pong() {
  constexpr long count = 200'000;
  weir::event there;
  weir::event back;
  auto answer = [&]() -> task<> {
    for (long i = 0; i < count; ++i) {
      co_await there.wait();
      there.reset();
      back.set();
    }
  };
  auto ask = [&]() -> task<> {
    stopwatch watch;
    for (long i = 0; i < count; ++i) {
      there.set();
      co_await back.wait();
      back.reset();
    }
    watch.done_with_cpu("pingpong_threads_rt", count);
  };
  std::thread other([&] { run(1, answer()); });
  run(1, ask());
  other.join();
}

task<> channels_across() {
  for (std::size_t capacity : {1U, 64U, 1024U}) {
    co_await weir::with_scope([capacity](weir::scope& s) -> task<> {
      auto [sending, receiving] = weir::sync::make_channel<long>(capacity);
      stopwatch watch;
      auto producer = s.spawn(send_all, std::move(sending), 1'000'000);
      sink = co_await s.spawn(receive_all, std::move(receiving));
      co_await std::move(producer);
      watch.done_with_cpu("chan_cross_cap" + std::to_string(capacity), 1e6);
    });
  }
}

task<> two_workers() {
  co_await channels_across();
  {
    stopwatch watch;
    co_await spawn_many(1'000'000);
    watch.done_with_cpu("spawn_many_2w", 1e6);
  }
  stopwatch watch;
  co_await yield_in_parallel(100, 20'000);
  watch.done("yield_100_2w", 2e6);
  co_await lock_in_parallel("mutex_cross2", add_locked, 2, 1'000'000);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view mode = argc == 2 ? argv[1] : "";
  if (mode == "st") {
    run(1, in_a_spawned_task(single_thread));
  } else if (mode == "mem") {
    run(1, in_a_spawned_task(memory));
  } else if (mode == "mt") {
    ping_pong();
    run(2, in_a_spawned_task(two_workers));
  } else {
    std::fprintf(stderr, "usage: weir_micro_compare st|mem|mt\n");
    return 2;
  }
}
