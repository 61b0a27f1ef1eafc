// perf/core/bench.hpp: what the benchmarks of core share: running a measured loop inside a runtime, and counting
// what it allocates. Replaces the program's operator new, so one source file of a program includes it.
#pragma once

#include <weir/core/frame_pool.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include <benchmark/benchmark.h>

namespace bench {

inline std::atomic<std::uint64_t> heap_allocations{0};

/// Shown beside the time: frames and heap blocks per iteration. Of use with one worker; frames are counted per thread.
class allocation_counters {
 public:
  explicit allocation_counters(benchmark::State& state) : state_(state) {}
  allocation_counters(const allocation_counters&) = delete;
  allocation_counters& operator=(const allocation_counters&) = delete;
  ~allocation_counters() {
    auto frames = weir::frame_pool_statistics().allocations - frames_;
    auto heap = heap_allocations.load() - heap_;
    state_.counters["frames"] = per_iteration(frames);
    state_.counters["heap"] = per_iteration(heap);
  }

 private:
  static benchmark::Counter per_iteration(std::uint64_t count) {
    return {static_cast<double>(count), benchmark::Counter::kAvgIterations};
  }

  benchmark::State& state_;
  std::uint64_t frames_ = weir::frame_pool_statistics().allocations;
  std::uint64_t heap_ = heap_allocations.load();
};

using body = weir::task<> (*)(benchmark::State&);

/// Runs `measured` as the main task, which is loop-affine.
inline void in_main(benchmark::State& state, body measured, unsigned workers = 1) {
  weir::runtime({.workers = workers}).block_on(measured(state));
}

/// Runs `measured` as a spawned task, which any worker may run.
inline void in_task(benchmark::State& state, body measured, unsigned workers = 1) {
  auto main = [](benchmark::State* to_pass, body to_run) -> weir::task<> {
    co_await weir::with_scope([=](weir::scope& s) -> weir::task<> { co_await s.spawn(to_run, std::ref(*to_pass)); });
  };
  weir::runtime({.workers = workers}).block_on(main(&state, measured));
}

}  // namespace bench

void* operator new(std::size_t size) {
  bench::heap_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* made = std::malloc(size)) return made;
  throw std::bad_alloc();
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
