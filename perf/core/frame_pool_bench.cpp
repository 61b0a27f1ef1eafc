// perf/core/frame_pool_bench.cpp: frames from the recycler against malloc: one at a time, as an await does, and a
// thousand alive, as a recursion or a burst of spawns does. 128 bytes are a small coroutine's frame.
#include "bench.hpp"

#include <array>
#include <cstdlib>

namespace {

constexpr std::size_t size = 128;
constexpr std::size_t many = 1000;

struct recycler {
  static void* make() { return weir::detail::frame_allocate(size); }
  static void end(void* frame) { weir::detail::frame_free(frame, size); }
};

struct recycler_inline {
  static void* make() { return weir::detail::take_frame(size); }
  static void end(void* frame) { weir::detail::give_frame(frame, size); }
};

struct heap {
  static void* make() { return std::malloc(size); }
  static void end(void* frame) { std::free(frame); }
};

template <class From>
void one_at_a_time(benchmark::State& state) {
  for (auto _ : state) {
    void* frame = From::make();
    benchmark::DoNotOptimize(frame);
    From::end(frame);
  }
}

template <class From>
void thousand_at_a_time(benchmark::State& state) {
  std::array<void*, many> alive{};
  for (auto _ : state) {
    for (auto& each : alive) {
      each = From::make();
      *static_cast<long*>(each) = 1;
    }
    benchmark::ClobberMemory();
    for (auto* each : alive) From::end(each);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * many));
}

}  // namespace

BENCHMARK_TEMPLATE(one_at_a_time, recycler_inline);
BENCHMARK_TEMPLATE(one_at_a_time, recycler);
BENCHMARK_TEMPLATE(one_at_a_time, heap);
BENCHMARK_TEMPLATE(thousand_at_a_time, recycler_inline);
BENCHMARK_TEMPLATE(thousand_at_a_time, recycler);
BENCHMARK_TEMPLATE(thousand_at_a_time, heap);
