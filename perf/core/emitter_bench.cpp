// perf/core/emitter_bench.cpp: what emitting costs, with the heap blocks that it takes (none), and what adding and
// removing listeners costs. One worker; no peer but Node, whose emit is inlined by its compiler when a loop does
// nothing else.
#include "bench.hpp"

#include <weir/core/emitter.hpp>

#include <string>

namespace {

using bench::in_main;
using weir::emitter;
using weir::event_type;

constexpr event_type<int> number{"number"};
constexpr event_type<std::string_view, int> message{"message"};

void emit_to(benchmark::State& state) {
  emitter e({.max_listeners = 0});
  long sum = 0;
  for (std::int64_t i = 0; i < state.range(0); ++i) e.on(number, [&sum](int n) { sum += n; });
  bench::allocation_counters count(state);
  for (auto _ : state) {
    e.emit(number, 1);
    benchmark::DoNotOptimize(sum);
  }
}

void emit_two_arguments(benchmark::State& state) {
  emitter e;
  std::size_t sum = 0;
  e.on(message, [&sum](std::string_view text, int n) { sum += text.size() + static_cast<std::size_t>(n); });
  bench::allocation_counters count(state);
  for (auto _ : state) {
    e.emit(message, "text", 1);
    benchmark::DoNotOptimize(sum);
  }
}

void emit_to_one_of_events(benchmark::State& state) {
  emitter e;
  long sum = 0;
  for (std::int64_t i = 1; i < state.range(0); ++i) {
    auto name = "event " + std::to_string(i);
    e.on(event_type<int>(name), [&sum](int n) { sum += n; });
  }
  e.on(number, [&sum](int n) { sum += n; });
  for (auto _ : state) {
    e.emit(number, 1);
    benchmark::DoNotOptimize(sum);
  }
}

void emit_to_nobody(benchmark::State& state) {
  emitter e;
  e.on(message, [] {});
  for (auto _ : state) benchmark::DoNotOptimize(e.emit(number, 1));
}

void add_and_remove(benchmark::State& state) {
  emitter e;
  e.on(number, [] {});
  long sum = 0;
  bench::allocation_counters count(state);
  for (auto _ : state) {
    auto one = e.on(number, [&sum](int n) { sum += n; });
    one.remove();
  }
}

void once_and_emit(benchmark::State& state) {
  emitter e;
  long sum = 0;
  bench::allocation_counters count(state);
  for (auto _ : state) {
    e.once(number, [&sum](int n) { sum += n; });
    e.emit(number, 1);
  }
  benchmark::DoNotOptimize(sum);
}

weir::task<> iterate(benchmark::State& state) {
  emitter e;
  auto numbers = weir::on(e, number);
  for (auto _ : state) {
    e.emit(number, 1);
    benchmark::DoNotOptimize(co_await numbers.next());
  }
}

BENCHMARK(emit_to)->Arg(1)->Arg(2)->Arg(10)->ArgName("listeners");
BENCHMARK(emit_two_arguments);
BENCHMARK(emit_to_one_of_events)->Arg(2)->Arg(10)->Arg(1000)->ArgName("events");
BENCHMARK(emit_to_nobody);
BENCHMARK(add_and_remove);
BENCHMARK(once_and_emit);
BENCHMARK_CAPTURE(in_main, iterate_over_events, iterate);

}  // namespace
