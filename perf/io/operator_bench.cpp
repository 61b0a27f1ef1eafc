// perf/io/operator_bench.cpp: what an operator costs per item, and per byte where it cuts bytes. Beside the time:
// frames and heap blocks per iteration. One worker.
#include <weir/core/generator.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/concurrent.hpp>
#include <weir/io/merge.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/tee.hpp>

#include "perf/core/bench.hpp"

#include <string>

namespace {

using namespace weir;
using namespace weir::io;

generator<int> endless() {
  for (int i = 0;; ++i) co_yield int(i);
}
generator<buffer> endless(buffer chunk) {
  for (;;) co_yield chunk;
}

template <class S>
task<> count_items(benchmark::State& state, S& items) {
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await items.next());
  state.SetItemsProcessed(state.iterations());
}

// The floor: a generator without any operator.
task<> no_operator(benchmark::State& state) {
  auto items = endless();
  co_await count_items(state, items);
}
task<> one_map(benchmark::State& state) {
  auto items = endless() | map([](int i) { return i + 1; });
  co_await count_items(state, items);
}
task<> map_filter_map(benchmark::State& state) {
  auto items = endless() | map([](int i) { return i + 1; }) | filter([](const int& i) { return i != 0; }) |
               map([](int i) { return 2 * i; });
  co_await count_items(state, items);
}
task<> map_coroutine(benchmark::State& state) {
  auto items = endless() | map([](int i) -> task<int> { co_return i + 1; });
  co_await count_items(state, items);
}
task<> tee_of_two(benchmark::State& state) {
  auto branches = tee(endless(), 2);
  bench::allocation_counters counters(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(co_await branches[0].next());
    benchmark::DoNotOptimize(co_await branches[1].next());
  }
  state.SetItemsProcessed(state.iterations());
}
task<> merge_of_two(benchmark::State& state) {
  co_await with_scope([&](scope& s) -> task<> {
    auto items = merge(s, endless(), endless());
    co_await count_items(state, items);
  });
}
task<> concurrent_map(benchmark::State& state) {
  co_await with_scope([&](scope& s) -> task<> {
    auto items = endless() | map(s, [](int i) -> task<int> { co_return i + 1; }, {.concurrency = 8});
    co_await count_items(state, items);
  });
}

template <class Stage>
task<> cut_bytes(benchmark::State& state, buffer chunk, Stage with) {
  auto pieces = endless(chunk) | std::move(with);
  std::size_t bytes = 0;
  bench::allocation_counters counters(state);
  for (auto _ : state) bytes += (co_await pieces.next())->size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

buffer text_of(std::size_t line) {
  std::string all;
  while (all.size() < 64 * 1024) all += std::string(line, 'x') + "\n";
  return buffer::from(all);
}

task<> lines_of_80(benchmark::State& state) { return cut_bytes(state, text_of(80), lines()); }
task<> split_at_80(benchmark::State& state) { return cut_bytes(state, text_of(80), split("\n")); }
task<> rechunk_to_16k(benchmark::State& state) { return cut_bytes(state, buffer::alloc(65536), rechunk(16384)); }
task<> rechunk_across(benchmark::State& state) { return cut_bytes(state, buffer::alloc(65536), rechunk(100'000)); }

void no_operator_bench(benchmark::State& state) { bench::in_main(state, no_operator); }
void one_map_bench(benchmark::State& state) { bench::in_main(state, one_map); }
void map_filter_map_bench(benchmark::State& state) { bench::in_main(state, map_filter_map); }
void map_coroutine_bench(benchmark::State& state) { bench::in_main(state, map_coroutine); }
void tee_bench(benchmark::State& state) { bench::in_main(state, tee_of_two); }
void merge_bench(benchmark::State& state) { bench::in_main(state, merge_of_two); }
void concurrent_map_bench(benchmark::State& state) { bench::in_main(state, concurrent_map); }
void lines_bench(benchmark::State& state) { bench::in_main(state, lines_of_80); }
void split_bench(benchmark::State& state) { bench::in_main(state, split_at_80); }
void rechunk_slices_bench(benchmark::State& state) { bench::in_main(state, rechunk_to_16k); }
void rechunk_copies_bench(benchmark::State& state) { bench::in_main(state, rechunk_across); }

BENCHMARK(no_operator_bench)->Name("operators/none");
BENCHMARK(one_map_bench)->Name("operators/map");
BENCHMARK(map_filter_map_bench)->Name("operators/map_filter_map");
BENCHMARK(map_coroutine_bench)->Name("operators/map_coroutine");
BENCHMARK(tee_bench)->Name("operators/tee_of_2");
BENCHMARK(merge_bench)->Name("operators/merge_of_2");
BENCHMARK(concurrent_map_bench)->Name("operators/map_8_at_a_time");
BENCHMARK(lines_bench)->Name("operators/lines_of_80");
BENCHMARK(split_bench)->Name("operators/split_at_80");
BENCHMARK(rechunk_slices_bench)->Name("operators/rechunk_slices");
BENCHMARK(rechunk_copies_bench)->Name("operators/rechunk_copies");

}  // namespace
