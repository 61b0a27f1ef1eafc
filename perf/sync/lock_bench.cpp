// perf/sync/lock_bench.cpp: what it costs to lock, to be handed a lock, and to wake a waiter. Peers in ../micro.py's
// table: libcoro, tokio and Go for mutex_uncontended, mutex_contended8 and mutex_cross2.
#include "../core/bench.hpp"

#include <weir/core/loop.hpp>
#include <weir/sync/condition.hpp>
#include <weir/sync/mutex.hpp>
#include <weir/sync/notify.hpp>
#include <weir/sync/once_cell.hpp>
#include <weir/sync/semaphore.hpp>
#include <weir/sync/shared_mutex.hpp>

namespace {

using bench::in_task;
using weir::task;

task<> mutex_free(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::mutex m;
  for (auto _ : state) {
    auto held = co_await m.lock();
    benchmark::DoNotOptimize(held);
  }
}

task<> semaphore_free(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::semaphore s(4);
  for (auto _ : state) {
    auto held = co_await s.acquire(2);
    benchmark::DoNotOptimize(held);
  }
}

task<> shared_mutex_free(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::shared_mutex m;
  for (auto _ : state) {
    auto held = co_await m.lock_shared();
    benchmark::DoNotOptimize(held);
  }
}

task<> once_cell_full(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::once_cell<long> cell;
  cell.try_set(1);
  for (auto _ : state) benchmark::DoNotOptimize(co_await cell.get_or_init([]() -> task<long> { co_return 1; }));
}

constexpr int crowd = 8;

template <bool Yield>
task<> lock_in_a_loop(weir::sync::mutex* m, long rounds) {
  for (long i = 0; i < rounds; ++i) {
    auto held = co_await m->lock();
    if constexpr (Yield) co_await weir::yield();
  }
}

// An iteration is one lock taken by one of the tasks.
task<> mutex_of_8_that_yield(benchmark::State& state) {
  weir::sync::mutex m;
  constexpr long batch = 1000;
  while (state.KeepRunningBatch(batch * crowd)) {
    co_await weir::with_scope([&](weir::scope& s) -> task<> {
      for (int i = 0; i < crowd; ++i) static_cast<void>(s.spawn(lock_in_a_loop<true>, &m, batch));
      co_return;
    });
  }
}

task<> mutex_between_2_workers(benchmark::State& state) {
  weir::sync::mutex m;
  constexpr long batch = 100'000;
  while (state.KeepRunningBatch(batch * 2)) {
    co_await weir::with_scope([&](weir::scope& s) -> task<> {
      for (int i = 0; i < 2; ++i) static_cast<void>(s.spawn(lock_in_a_loop<false>, &m, batch));
      co_return;
    });
  }
}

task<> wait_often(weir::sync::notify* bell, weir::sync::notify* answer, long rounds) {
  for (long i = 0; i < rounds; ++i) {
    co_await bell->notified();
    answer->notify_one();
  }
}

// An iteration is there and back.
task<> notify_round_trip(benchmark::State& state) {
  weir::sync::notify there;
  weir::sync::notify back;
  constexpr long batch = 1000;
  while (state.KeepRunningBatch(batch)) {
    co_await weir::with_scope([&](weir::scope& s) -> task<> {
      static_cast<void>(s.spawn(wait_often, &there, &back, batch));
      for (long i = 0; i < batch; ++i) {
        there.notify_one();
        co_await back.notified();
      }
    });
  }
}

task<> take_turns(weir::sync::mutex* m, weir::sync::condition* changed, long* turn, long mine, long rounds) {
  for (long i = 0; i < rounds; ++i) {
    auto held = co_await m->lock();
    while (*turn % 2 != mine) co_await changed->wait(held);
    ++*turn;
    changed->notify_one();
  }
}

// An iteration is one turn of one of the two.
task<> condition_turns_of_2(benchmark::State& state) {
  weir::sync::mutex m;
  weir::sync::condition changed;
  constexpr long batch = 1000;
  while (state.KeepRunningBatch(batch * 2)) {
    long turn = 0;
    co_await weir::with_scope([&](weir::scope& s) -> task<> {
      for (long mine : {0L, 1L}) static_cast<void>(s.spawn(take_turns, &m, &changed, &turn, mine, batch));
      co_return;
    });
  }
}

}  // namespace

BENCHMARK_CAPTURE(in_task, mutex_free, mutex_free);
BENCHMARK_CAPTURE(in_task, semaphore_free, semaphore_free);
BENCHMARK_CAPTURE(in_task, shared_mutex_free, shared_mutex_free);
BENCHMARK_CAPTURE(in_task, once_cell_full, once_cell_full);
BENCHMARK_CAPTURE(in_task, mutex_of_8_that_yield, mutex_of_8_that_yield);
BENCHMARK_CAPTURE(in_task, mutex_between_2_workers, mutex_between_2_workers, 2);
BENCHMARK_CAPTURE(in_task, notify_round_trip, notify_round_trip);
BENCHMARK_CAPTURE(in_task, condition_turns_of_2, condition_turns_of_2);
