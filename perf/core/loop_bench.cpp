// perf/core/loop_bench.cpp: what the queues of the loop cost: yields, ticks, microtasks, immediates, events, the way to
// the blocking pool and back. One worker; the peers' yields are in ../micro.py's table.
#include "bench.hpp"

#include <weir/core/blocking.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>

namespace {

using bench::in_main;
using bench::in_task;
using weir::task;

task<> yield_alone(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) co_await weir::yield();
}

task<> yield_while(const bool* going) {
  while (*going) co_await weir::yield();
}

// A yield of each of the tasks in turn: switches from one to the next.
task<> yield_among(benchmark::State& state, long tasks) {
  bool going = true;
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (long i = 1; i < tasks; ++i) static_cast<void>(s.spawn(yield_while, &going));
    for (auto _ : state) co_await weir::yield();
    going = false;
  });
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * tasks);
}
task<> yield_among_2(benchmark::State& state) { return yield_among(state, 2); }
task<> yield_among_100(benchmark::State& state) { return yield_among(state, 100); }

task<> await_tick(benchmark::State& state) {
  for (auto _ : state) co_await weir::next_tick();
}

task<> await_microtask(benchmark::State& state) {
  for (auto _ : state) co_await weir::microtask();
}

task<> await_immediate(benchmark::State& state) {
  for (auto _ : state) co_await weir::immediate();
}

constexpr long callbacks = 100;

task<> call_ticks(benchmark::State& state) {
  bench::allocation_counters count(state);
  long called = 0;
  for (auto _ : state) {
    for (long i = 0; i < callbacks; ++i) weir::next_tick([&called] { ++called; });
    co_await weir::immediate();
  }
  if (called != static_cast<long>(state.iterations()) * callbacks) state.SkipWithError("not all ticks were called");
  state.SetItemsProcessed(called);
}

task<> call_immediates(benchmark::State& state) {
  bench::allocation_counters count(state);
  long called = 0;
  for (auto _ : state) {
    for (long i = 0; i < callbacks; ++i) weir::set_immediate([&called] { ++called; });
    co_await weir::immediate();
  }
  if (called != static_cast<long>(state.iterations()) * callbacks)
    state.SkipWithError("not all immediates were called");
  state.SetItemsProcessed(called);
}

task<> answer(weir::event* there, weir::event* back, const bool* going) {
  for (;;) {
    co_await there->wait();
    there->reset();
    if (!*going) co_return;
    back->set();
  }
}

// Two tasks that wake one another: two waits, two wake-ups, two switches.
task<> event_round_trip(benchmark::State& state) {
  bench::allocation_counters count(state);
  weir::event there;
  weir::event back;
  bool going = true;
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    static_cast<void>(s.spawn(answer, &there, &back, &going));
    for (auto _ : state) {
      there.set();
      co_await back.wait();
      back.reset();
    }
    going = false;
    there.set();
  });
}

task<> wait_for_set_event(benchmark::State& state) {
  weir::event set;
  set.set();
  for (auto _ : state) co_await set.wait();
}

task<> blocking_round_trip(benchmark::State& state) {
  bench::allocation_counters count(state);
  for (auto _ : state) co_await weir::blocking([] {});
}

}  // namespace

BENCHMARK_CAPTURE(in_task, yield_alone, yield_alone);
BENCHMARK_CAPTURE(in_task, yield_among_2, yield_among_2);
BENCHMARK_CAPTURE(in_task, yield_among_100, yield_among_100);
BENCHMARK_CAPTURE(in_main, await_tick, await_tick);
BENCHMARK_CAPTURE(in_main, await_microtask, await_microtask);
BENCHMARK_CAPTURE(in_main, await_immediate, await_immediate);
BENCHMARK_CAPTURE(in_main, call_ticks, call_ticks);
BENCHMARK_CAPTURE(in_main, call_immediates, call_immediates);
BENCHMARK_CAPTURE(in_task, event_round_trip, event_round_trip);
BENCHMARK_CAPTURE(in_task, wait_for_set_event, wait_for_set_event);
BENCHMARK_CAPTURE(in_task, blocking_round_trip, blocking_round_trip)->UseRealTime();
