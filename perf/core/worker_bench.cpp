// perf/core/worker_bench.cpp: what two workers cost one another: a task woken on the other worker, work that is
// stolen, spawns from two sides; and the memory of a task that waits. Wants two CPUs.
#include "bench.hpp"
#include "perf/resident.hpp"

#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>

namespace {

using weir::task;

task<> answer(weir::event* there, weir::event* back, const std::atomic<bool>* going) {
  for (;;) {
    co_await there->wait();
    there->reset();
    if (!going->load(std::memory_order_relaxed)) co_return;
    back->set();
  }
}

// Two affine tasks, each on a worker of its own, that wake one another.
void wake_other_worker(benchmark::State& state, std::chrono::microseconds spin) {
  auto main = [](benchmark::State* s) -> task<> {
    weir::event there;
    weir::event back;
    std::atomic<bool> going{true};
    co_await weir::with_scope([&](weir::scope& both) -> task<> {
      static_cast<void>(both.spawn_on(1, answer, &there, &back, &going));
      for (auto _ : *s) {
        there.set();
        co_await back.wait();
        back.reset();
      }
      going = false;
      there.set();
    });
  };
  weir::runtime({.workers = 2, .spin = spin}).block_on(main(&state));
}

void spin_for(std::chrono::nanoseconds time) {
  auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) weir::detail::cpu_relax();
}

// A thousand tasks of a microsecond, spawned by one: with two workers half of them are to be stolen.
void thousand_short_tasks(benchmark::State& state, unsigned workers) {
  auto main = [](benchmark::State* s) -> task<> {
    for (auto _ : *s) {
      co_await weir::with_scope([](weir::scope& all) -> task<> {
        auto work = []() -> task<> {
          spin_for(std::chrono::microseconds(1));
          co_return;
        };
        for (int i = 0; i < 1000; ++i) static_cast<void>(all.spawn(work));
        co_return;
      });
    }
    std::uint64_t raids = 0;
    std::uint64_t stolen = 0;
    for (const auto& each : weir::metrics().workers) {
      raids += each.steals;
      stolen += each.stolen;
    }
    s->counters["raids"] = benchmark::Counter(static_cast<double>(raids), benchmark::Counter::kAvgIterations);
    s->counters["stolen"] = benchmark::Counter(static_cast<double>(stolen), benchmark::Counter::kAvgIterations);
  };
  weir::runtime({.workers = workers}).block_on(main(&state));
}

task<> yield_while(const std::atomic<bool>* going) {
  while (going->load(std::memory_order_relaxed)) co_await weir::yield();
}

// One of a hundred tasks that take turns on two workers.
void yield_among_100(benchmark::State& state, unsigned workers) {
  auto main = [](benchmark::State* s) -> task<> {
    std::atomic<bool> going{true};
    co_await weir::with_scope([&](weir::scope& all) -> task<> {
      for (int i = 0; i < 99; ++i) static_cast<void>(all.spawn(yield_while, &going));
      co_await all.spawn([s, &going]() -> task<> {
        for (auto _ : *s) co_await weir::yield();
        going = false;
      });
    });
    s->SetItemsProcessed(static_cast<std::int64_t>(s->iterations()) * 100);
  };
  weir::runtime({.workers = workers}).block_on(main(&state));
}

// Run it alone (--benchmark_filter=memory) for a figure that no earlier benchmark has warmed up.
void memory_of_waiting_tasks(benchmark::State& state) {
  auto main = [](benchmark::State* s) -> task<> {
    constexpr long count = 500'000;
    auto park = [](weir::event* gate) -> task<> { co_await gate->wait(); };
    for (auto _ : *s) {
      double before = bench::resident_bytes();
      weir::event gate;
      co_await weir::with_scope([&](weir::scope& all) -> task<> {
        for (long i = 0; i < count; ++i) static_cast<void>(all.spawn(park, &gate));
        for (int i = 0; i < 10; ++i) co_await weir::immediate();
        s->counters["bytes_per_task"] = (bench::resident_bytes() - before) / count;
        gate.set();
      });
    }
  };
  weir::runtime({.workers = 1}).block_on(main(&state));
}

}  // namespace

BENCHMARK(memory_of_waiting_tasks)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(wake_other_worker, spin_20us, std::chrono::microseconds(20))->UseRealTime();
BENCHMARK_CAPTURE(wake_other_worker, no_spin, std::chrono::microseconds(0))->UseRealTime();
BENCHMARK_CAPTURE(thousand_short_tasks, one_worker, 1)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(thousand_short_tasks, two_workers, 2)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(yield_among_100, one_worker, 1)->UseRealTime();
BENCHMARK_CAPTURE(yield_among_100, two_workers, 2)->UseRealTime();
