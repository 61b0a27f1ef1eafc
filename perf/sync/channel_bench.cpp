// perf/sync/channel_bench.cpp: what a value costs on its way through a channel, a oneshot, a broadcast, a watch and a
// select. Nanoseconds per value; `heap` and `frames` are allocations per value. condy 2.0 needs 22 ns at capacity 1
// and 16 at 64 on one worker; between two workers Go needs 49 ns at 64 (see ../micro).
#include "perf/core/bench.hpp"

#include <weir/sync/channel.hpp>

namespace {

using weir::task;
using weir::sync::channel;

task<> send_until_closed(channel<long>& to) {
  long next = 0;
  while (co_await weir::attempt(to.send_from(next))) ++next;
}

task<> receive_measured(benchmark::State& state, channel<long>& from) {
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(co_await from.recv());
}

task<> through_a_channel(benchmark::State& state) {
  co_await weir::with_scope([&state](weir::scope& s) -> task<> {
    channel<long> c(static_cast<std::size_t>(state.range(0)));
    auto producer = s.spawn(send_until_closed, std::ref(c));
    co_await receive_measured(state, c);
    c.close();
    co_await std::move(producer);
  });
}

void one_worker(benchmark::State& state) { bench::in_task(state, through_a_channel); }
BENCHMARK(one_worker)->Name("channel/one_worker")->Arg(0)->Arg(1)->Arg(64)->Arg(1024);

void loop_affine(benchmark::State& state) {
  bench::in_main(state, [](benchmark::State& measured) -> task<> {
    co_await weir::with_scope([&measured](weir::scope& s) -> task<> {
      channel<long> c(static_cast<std::size_t>(measured.range(0)));
      auto producer = s.spawn_local(send_until_closed, std::ref(c));
      co_await receive_measured(measured, c);
      c.close();
      co_await std::move(producer);
    });
  });
}
BENCHMARK(loop_affine)->Name("channel/loop_affine")->Arg(1)->Arg(64);

void two_workers(benchmark::State& state) { bench::in_task(state, through_a_channel, 2); }
BENCHMARK(two_workers)->Name("channel/two_workers")->Arg(1)->Arg(64)->Arg(1024)->UseRealTime();

}  // namespace
