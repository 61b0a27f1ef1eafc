// perf/sync/worker_pool_bench.cpp: what it costs to have work done on another thread: a job and its answer, many jobs
// at a time, a message there and back, a computation in slices; and a step of a cron expression. Time per job,
// message or step. No peers' rows: what costs here is the system's wake-up of a thread.
#include "../core/bench.hpp"

#include <weir/core/combine.hpp>
#include <weir/sync/cron.hpp>
#include <weir/sync/message_port.hpp>
#include <weir/sync/parallel_for.hpp>
#include <weir/sync/thread_worker.hpp>
#include <weir/sync/worker_pool.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <vector>

namespace {

using bench::in_main;
using weir::task;
using namespace weir::sync;

// One job at a time: two wake-ups of a thread.
task<> job_and_answer(benchmark::State& state) {
  worker_pool pool({.threads = 1});
  co_await pool.ready();
  int x = 0;
  {
    bench::allocation_counters count(state);
    for (auto _ : state) benchmark::DoNotOptimize(x = co_await pool.run([](int n) { return n + 1; }, x));
  }
  co_await pool.shutdown();
}

// Enough callers that the threads find the next job waiting.
task<> jobs_of_64_callers(benchmark::State& state) {
  worker_pool pool({.threads = 2});
  co_await pool.ready();
  for (auto _ : state) {
    co_await weir::with_scope([&pool](weir::scope& s) -> task<> {
      for (int i = 0; i < 64; ++i) {
        static_cast<void>(s.spawn_local([&pool]() -> task<> {
          for (int n = 0; n < 16; ++n) co_await pool.run([n] { return n; });
        }));
      }
      co_return;
    });
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64 * 16);
  co_await pool.shutdown();
}

task<> message_within_a_loop(benchmark::State& state) {
  message_channel<int> line;
  bench::allocation_counters count(state);
  for (auto _ : state) {
    line.port1.post(1);
    benchmark::DoNotOptimize(co_await line.port2.receive());
  }
}

task<> message_there_and_back(benchmark::State& state) {
  auto echo = [](message_port<int>& port) -> task<> {
    while (auto n = co_await port.receive()) port.post(*n);
  };
  thread_worker<int> worker({}, echo);
  co_await worker.online();
  for (auto _ : state) {
    worker.post_message(1);
    benchmark::DoNotOptimize(co_await worker.receive());
  }
  co_await worker.terminate();
}

task<> messages_one_way(benchmark::State& state) {
  auto count = [](message_port<int>& port) -> task<> {
    while (auto n = co_await port.receive()) {
      if (*n == 0) port.post(0);
    }
  };
  thread_worker<int> worker({.messages = {.capacity = 1024}}, count);
  co_await worker.online();
  for (auto _ : state) {
    for (int n = 9999; n >= 0; --n) co_await worker.send_message(n);
    benchmark::DoNotOptimize(co_await worker.receive());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 10'000);
  co_await worker.terminate();
}

double work(std::size_t i) {
  double x = static_cast<double>(i);
  for (int n = 0; n < 200; ++n) x = std::sqrt(x + 1);
  return x;
}

task<> computation_in_slices(benchmark::State& state) {
  auto threads = static_cast<unsigned>(state.range(0));
  worker_pool pool({.threads = threads});
  co_await pool.ready();
  std::vector<double> into(20'000);
  for (auto _ : state) {
    co_await parallel_for(into.size(),
                          [&into](std::size_t begin, std::size_t end) {
                            for (auto i = begin; i < end; ++i) into[i] = work(i);
                          },
                          {.pool = &pool});
  }
  co_await pool.shutdown();
}

void cron_next(benchmark::State& state) {
  cron_expression cron(state.range(0) == 0 ? "*/5 * * * *" : "0 9 * * MON-FRI");
  auto zone = time_zone::load("Europe/Berlin");
  auto at = sys_seconds(std::chrono::seconds(1'767'225'600));
  for (auto _ : state) {
    at = *cron.next(at, zone);
    benchmark::DoNotOptimize(at);
    if (at.time_since_epoch().count() > 4'000'000'000) at = sys_seconds(std::chrono::seconds(1'767'225'600));
  }
}

void measure(benchmark::State& state, bench::body what) { in_main(state, what); }

}  // namespace

BENCHMARK_CAPTURE(measure, job_and_answer, job_and_answer)->UseRealTime();
BENCHMARK_CAPTURE(measure, jobs_of_64_callers, jobs_of_64_callers)->UseRealTime();
BENCHMARK_CAPTURE(measure, message_within_a_loop, message_within_a_loop);
BENCHMARK_CAPTURE(measure, message_there_and_back, message_there_and_back)->UseRealTime();
BENCHMARK_CAPTURE(measure, messages_one_way, messages_one_way)->UseRealTime();
BENCHMARK_CAPTURE(measure, computation_in_slices, computation_in_slices)->Arg(1)->Arg(2)->UseRealTime();
BENCHMARK(cron_next)->Arg(0)->Arg(1);
