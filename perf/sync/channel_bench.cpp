// perf/sync/channel_bench.cpp: what a value costs on its way through a channel, a oneshot, a broadcast, a watch and a
// select. Nanoseconds per value; `heap` and `frames` are allocations per value. condy 2.0 needs 22 ns at capacity 1
// and 16 at 64 on one worker; between two workers Go needs 49 ns at 64 (see ../micro).
#include "perf/core/bench.hpp"

#include <weir/core/time.hpp>
#include <weir/sync/broadcast.hpp>
#include <weir/sync/channel.hpp>
#include <weir/sync/oneshot.hpp>
#include <weir/sync/select.hpp>
#include <weir/sync/watch.hpp>

#include <deque>

namespace {

using weir::task;
using weir::sync::channel;

constexpr auto an_hour = std::chrono::hours(1);

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

void many_at_once(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    co_await weir::with_scope([&measured](weir::scope& s) -> task<> {
      channel<long> c(64);
      auto producer = s.spawn(send_until_closed, std::ref(c));
      bench::allocation_counters counters(measured);
      std::vector<long> out;
      out.reserve(128);
      while (measured.KeepRunningBatch(64)) {
        for (std::size_t got = 0; got < 64;) got += co_await c.recv_many(out, 64 - got);
        out.clear();
      }
      c.close();
      co_await std::move(producer);
    });
  });
}
BENCHMARK(many_at_once)->Name("channel/recv_many/64");

void attempts(benchmark::State& state) {
  channel<long> c(64);
  for (auto _ : state) {
    static_cast<void>(c.try_send(1));
    benchmark::DoNotOptimize(c.try_recv());
  }
}
BENCHMARK(attempts)->Name("channel/try_send_try_recv");

void one_answer(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    bench::allocation_counters counters(measured);
    for (auto _ : measured) {
      auto [tx, rx] = weir::sync::make_oneshot<long>();
      tx.send(1L);
      benchmark::DoNotOptimize(co_await rx.recv());
    }
  });
}
BENCHMARK(one_answer)->Name("oneshot/make_send_recv");

void to_everybody(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    weir::sync::broadcast<long> b(16);
    std::vector<weir::sync::subscriber<long>> all;
    for (long i = 0; i < measured.range(0); ++i) all.push_back(b.subscribe());
    bench::allocation_counters counters(measured);
    for (auto _ : measured) {
      b.send(1);
      for (auto& each : all) benchmark::DoNotOptimize(co_await each.recv());
    }
  });
}
BENCHMARK(to_everybody)->Name("broadcast/send_and_recv")->Arg(1)->Arg(8);

void change(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    weir::sync::watch<long> w(0);
    auto seen = w.observe();
    for (auto _ : measured) {
      w.set(1);
      benchmark::DoNotOptimize(co_await seen.next());
    }
  });
}
BENCHMARK(change)->Name("watch/set_and_next");

void ready_select(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    channel<long> a(1);
    channel<long> b(1);
    bench::allocation_counters counters(measured);
    for (auto _ : measured) {
      static_cast<void>(a.try_send(1));
      auto got = co_await weir::sync::select(a.recv(), b.recv());
      benchmark::DoNotOptimize(got.get<0>());
    }
  });
}
BENCHMARK(ready_select)->Name("select/two_channels_one_ready");

void ready_in_a_list(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) -> task<> {
    std::deque<channel<long>> all;
    for (long i = 0; i < measured.range(0); ++i) all.emplace_back(1);
    bench::allocation_counters counters(measured);
    for (auto _ : measured) {
      static_cast<void>(all.front().try_send(1));
      auto got = co_await weir::sync::select_any(all, [](channel<long>& each) { return each.recv(); });
      benchmark::DoNotOptimize(got.get());
    }
  });
}
BENCHMARK(ready_in_a_list)->Name("select_any/one_ready_of")->Arg(2)->Arg(16)->Arg(256);

task<> send_by_turns(channel<long>& a, channel<long>& b) {
  while (co_await weir::attempt(a.send(1)) && co_await weir::attempt(b.send(1))) {
  }
}

enum class limit { none, after, sleep };

task<> waiting_select(benchmark::State& state, limit kind) {
  co_await weir::with_scope([&state, kind](weir::scope& s) -> task<> {
    channel<long> a(0);
    channel<long> b(0);
    auto producer = s.spawn(send_by_turns, std::ref(a), std::ref(b));
    bench::allocation_counters counters(state);
    for (auto _ : state) {
      std::size_t index = 0;
      switch (kind) {
        case limit::none: index = (co_await weir::sync::select(a.recv(), b.recv())).index(); break;
        case limit::after:
          index = (co_await weir::sync::select(a.recv(), b.recv(), weir::sync::after(an_hour))).index();
          break;
        case limit::sleep:
          index = (co_await weir::sync::select(a.recv(), b.recv(), weir::sleep(an_hour))).index();
          break;
      }
      benchmark::DoNotOptimize(index);
    }
    a.close();
    b.close();
    co_await std::move(producer);
  });
}

template <limit Kind>
void waiting(benchmark::State& state) {
  bench::in_task(state, [](benchmark::State& measured) { return waiting_select(measured, Kind); });
}
BENCHMARK(waiting<limit::none>)->Name("select/two_channels_waiting");
BENCHMARK(waiting<limit::after>)->Name("select/two_channels_waiting_with_after");
BENCHMARK(waiting<limit::sleep>)->Name("select/two_channels_waiting_with_sleep");

}  // namespace
