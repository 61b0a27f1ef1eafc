// perf/core/timer_bench.cpp: arming and clearing a timer while none or a million others are armed; a sleep that is over
// at once. One worker; the peers' timers are in ../micro.py's table.
#include "bench.hpp"

#include <weir/core/time.hpp>

#include <vector>

namespace {

using weir::task;

void insert_and_cancel(benchmark::State& state, std::size_t alive) {
  auto main = [](benchmark::State* s, std::size_t others) -> task<> {
    std::vector<weir::timer> armed;
    armed.reserve(others);
    auto delay = [](std::size_t i) { return std::chrono::milliseconds(60'000 + i % 600'000); };
    for (std::size_t i = 0; i < others; ++i) armed.push_back(weir::set_timeout([] {}, delay(i)));
    bench::allocation_counters count(*s);
    std::size_t i = 0;
    for (auto _ : *s) {
      auto one = weir::set_timeout([] {}, delay(i += 7919));
      one.clear();
    }
    for (auto& each : armed) each.clear();
    co_return;
  };
  weir::runtime({.workers = 1}).block_on(main(&state, alive));
}

// The oldest of a million is cleared and a new one armed in its place: the nodes are cold.
void replace_oldest(benchmark::State& state, std::size_t alive) {
  auto main = [](benchmark::State* s, std::size_t count) -> task<> {
    std::vector<weir::timer> armed(count);
    auto delay = [](std::size_t i) { return std::chrono::milliseconds(60'000 + i % 600'000); };
    for (std::size_t i = 0; i < count; ++i) armed[i] = weir::set_timeout([] {}, delay(i));
    std::size_t i = 0;
    for (auto _ : *s) {
      armed[i].clear();
      armed[i] = weir::set_timeout([] {}, delay(i));
      if (++i == count) i = 0;
    }
    for (auto& each : armed) each.clear();
    co_return;
  };
  weir::runtime({.workers = 1}).block_on(main(&state, alive));
}

}  // namespace

BENCHMARK_CAPTURE(insert_and_cancel, none_alive, 0);
BENCHMARK_CAPTURE(insert_and_cancel, million_alive, 1'000'000);
BENCHMARK_CAPTURE(replace_oldest, of_a_million, 1'000'000);
