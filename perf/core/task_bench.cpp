// perf/core/task_bench.cpp: what an await, a spawn and a combinator cost, with the frames and heap blocks that they
// take. Peers in ../micro.py's table: tokio's boxed future, condy's spawn.
#include "bench.hpp"

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>

namespace {

using namespace std::chrono_literals;
using bench::in_task;
using weir::task;

[[gnu::noinline]] task<long> leaf(long x) { co_return x + 1; }

[[gnu::noinline]] task<long> deep(long n) {
  if (n == 0) co_return 0;
  co_return co_await deep(n - 1) + 1;
}

task<> await_ready_child(benchmark::State& state) {
  bench::allocation_counters count(state);
  long x = 0;
  for (auto _ : state) benchmark::DoNotOptimize(x = co_await leaf(x));
}

task<> await_with_attempt(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await weir::attempt(leaf(1)));
}

task<> await_1000_deep(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await deep(1000));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 1000);
}

task<> spawn_and_join(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (auto _ : state) benchmark::DoNotOptimize(co_await s.spawn(leaf, 1L));
  });
}

task<> spawn_local_and_join(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (auto _ : state) benchmark::DoNotOptimize(co_await s.spawn_local(leaf, 1L));
  });
}

task<> spawn_closure_and_join(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (auto _ : state) benchmark::DoNotOptimize(co_await s.spawn([x = 1L] { return leaf(x); }));
  });
}

task<> scope_of_two(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) {
    co_await weir::with_scope([](weir::scope& s) -> task<> {
      static_cast<void>(s.spawn(leaf, 1L));
      static_cast<void>(s.spawn(leaf, 2L));
      co_return;
    });
  }
}

task<> all_of_two(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await weir::all(leaf(1), leaf(2)));
}

task<> race_of_two(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await weir::race(leaf(1), leaf(2)));
}

task<> timeout_of_ready(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await weir::timeout(1s, leaf(1)));
}

}  // namespace

BENCHMARK_CAPTURE(in_task, await_ready_child, await_ready_child);
BENCHMARK_CAPTURE(in_task, await_with_attempt, await_with_attempt);
BENCHMARK_CAPTURE(in_task, await_1000_deep, await_1000_deep);
BENCHMARK_CAPTURE(in_task, spawn_and_join, spawn_and_join);
BENCHMARK_CAPTURE(in_task, spawn_local_and_join, spawn_local_and_join);
BENCHMARK_CAPTURE(in_task, spawn_closure_and_join, spawn_closure_and_join);
BENCHMARK_CAPTURE(in_task, scope_of_two, scope_of_two);
BENCHMARK_CAPTURE(in_task, all_of_two, all_of_two);
BENCHMARK_CAPTURE(in_task, race_of_two, race_of_two);
BENCHMARK_CAPTURE(in_task, timeout_of_ready, timeout_of_ready);
