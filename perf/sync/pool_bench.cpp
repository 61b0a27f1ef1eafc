// perf/sync/pool_bench.cpp: what caches, pools and limits cost per use when there is nothing to wait for. No peer: the
// figures are here to be kept.
#include "../core/bench.hpp"

#include <weir/sync/cache.hpp>
#include <weir/sync/concurrency_limit.hpp>
#include <weir/sync/priority_queue.hpp>
#include <weir/sync/resource_pool.hpp>

#include <ranges>

namespace {

using bench::in_task;
using weir::task;

constexpr int keys = 1024;

task<> cache_hit(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::cache<int, int> c({.max_entries = keys});
  for (int i = 0; i < keys; ++i) c.put(i, i);
  int i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(c.get(++i % keys));
  co_return;
}

task<> cache_hit_with_ttl(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::cache<int, int> c({.max_entries = keys, .ttl = std::chrono::hours(1)});
  for (int i = 0; i < keys; ++i) c.put(i, i);
  int i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(c.get(++i % keys));
  co_return;
}

task<> cache_put_that_evicts(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::cache<int, int> c({.max_entries = keys});
  int i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(c.put(++i, 0));
  co_return;
}

task<> cache_get_or_load_hit(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::cache<int, int> c;
  c.put(1, 1);
  auto load = [](int) -> task<int> { co_return 1; };
  for (auto _ : state) benchmark::DoNotOptimize(co_await c.get_or_load(1, load));
}

task<> pool_acquire_idle(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::resource_pool<int> pool([]() -> task<int> { co_return 1; });
  for (auto _ : state) {
    auto lease = co_await pool.acquire();
    benchmark::DoNotOptimize(*lease);
  }
}

task<> limit_run(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::concurrency_limit limit(4);
  for (auto _ : state) co_await limit.run([]() -> task<> { co_return; });
}

task<> priority_queue_run(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::priority_queue q({.timeout = std::chrono::seconds(0)});
  for (auto _ : state) co_await q.run([]() -> task<> { co_return; });
}

task<> priority_queue_run_with_timeout(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::sync::priority_queue q;
  for (auto _ : state) co_await q.run([]() -> task<> { co_return; });
}

// An iteration is one item.
task<> map_limit_of_8(benchmark::State& state) {
  constexpr int batch = 10'000;
  while (state.KeepRunningBatch(batch)) {
    co_await weir::sync::map_limit(std::views::iota(0, batch), 8, [](int) -> task<> { co_return; });
  }
}

}  // namespace

BENCHMARK_CAPTURE(in_task, cache_hit, cache_hit);
BENCHMARK_CAPTURE(in_task, cache_hit_with_ttl, cache_hit_with_ttl);
BENCHMARK_CAPTURE(in_task, cache_put_that_evicts, cache_put_that_evicts);
BENCHMARK_CAPTURE(in_task, cache_get_or_load_hit, cache_get_or_load_hit);
BENCHMARK_CAPTURE(in_task, pool_acquire_idle, pool_acquire_idle);
BENCHMARK_CAPTURE(in_task, limit_run, limit_run);
BENCHMARK_CAPTURE(in_task, priority_queue_run, priority_queue_run);
BENCHMARK_CAPTURE(in_task, priority_queue_run_with_timeout, priority_queue_run_with_timeout);
BENCHMARK_CAPTURE(in_task, map_limit_of_8, map_limit_of_8);
