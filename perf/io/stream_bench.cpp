// perf/io/stream_bench.cpp: what a chunk costs on its way: memory to memory through pipelines of 64 KiB chunks, copied
// once into the sink, and small objects, where the way is all there is. Shown beside: bytes per second, frames and heap
// blocks per chunk. To be compared with memcpy of the same chunks, which is the first row.
#include "../core/bench.hpp"

#include <weir/core/buffer.hpp>
#include <weir/core/generator.hpp>
#include <weir/io/pipeline.hpp>

#include <cstring>
#include <vector>

namespace {

using namespace weir::io;
using bench::in_main;
using weir::buffer;
using weir::generator;
using weir::task;

constexpr std::size_t chunk_size = 64 * 1024;

/// Gives a chunk, the same memory again and again, as often as the benchmark wants.
class chunks {
 public:
  explicit chunks(benchmark::State& state) : state_(&state), chunk_(buffer::alloc(chunk_size, std::byte{7})) {}
  task<std::optional<buffer>> next() {
    if (!state_->KeepRunning()) co_return std::nullopt;
    co_return chunk_;
  }

 private:
  benchmark::State* state_;
  buffer chunk_;
};

/// Copies what it gets to one place, as a sink does that has to.
class copying_sink {
 public:
  copying_sink() : memory_(chunk_size) {}
  task<void> write(buffer chunk) {
    std::memcpy(memory_.data(), chunk.data(), chunk.size());
    benchmark::DoNotOptimize(memory_.data());
    benchmark::ClobberMemory();
    co_return;
  }

 private:
  std::vector<std::byte> memory_;
};

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(chunk_size));
}

task<> memcpy_alone(benchmark::State& state) {
  auto chunk = buffer::alloc(chunk_size, std::byte{7});
  std::vector<std::byte> memory(chunk_size);
  for (auto _ : state) {
    std::memcpy(memory.data(), chunk.data(), chunk.size());
    benchmark::DoNotOptimize(memory.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state);
  co_return;
}

generator<buffer> pass_on(readable<buffer> in) {
  while (auto chunk = co_await in.next()) co_yield std::move(*chunk);
}

task<> bytes_source_to_sink(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await pipeline(chunks(state), copying_sink());
  count_bytes(state);
}

task<> bytes_through_a_function(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await pipeline(chunks(state), [](buffer chunk) { return chunk.slice(64); }, copying_sink());
  count_bytes(state);
}

task<> bytes_through_a_generator(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await pipeline(chunks(state), pass_on, copying_sink());
  count_bytes(state);
}

task<> bytes_through_a_transform(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await pipeline(chunks(state), transform<buffer>([](buffer chunk, output<buffer>& out) -> task<> {
                      co_await out.push(chunk.slice(64));
                    }),
                    copying_sink());
  count_bytes(state);
}

task<> bytes_through_a_pass_through(benchmark::State& state) {
  bench::allocation_counters count(state);
  co_await pipeline(chunks(state), pass_through<buffer>(), copying_sink());
  count_bytes(state);
}

task<> read_of_4_KiB(benchmark::State& state) {
  bench::allocation_counters count(state);
  readable from([chunk = buffer::alloc(chunk_size)]() -> task<std::optional<buffer>> { co_return chunk; });
  for (auto _ : state) benchmark::DoNotOptimize(co_await from.read(4096));
}

// ---- objects

task<> generator_next(benchmark::State& state) {
  bench::allocation_counters count(state);
  auto numbers = []() -> generator<long> {
    for (long i = 0;; ++i) co_yield i;
  }();
  for (auto _ : state) benchmark::DoNotOptimize(co_await numbers.next());
}

task<> readable_next(benchmark::State& state) {
  bench::allocation_counters count(state);
  readable numbers([]() -> generator<long> {
    for (long i = 0;; ++i) co_yield i;
  }());
  for (auto _ : state) benchmark::DoNotOptimize(co_await numbers.next());
}

task<> queue_push_and_next(benchmark::State& state) {
  bench::allocation_counters count(state);
  auto [stream, queue] = make_pushed_readable<long>();
  for (auto _ : state) {
    co_await queue.push(1);
    benchmark::DoNotOptimize(co_await stream.next());
  }
}

task<> writable_write(benchmark::State& state) {
  bench::allocation_counters count(state);
  writable<long> to([](long n) { benchmark::DoNotOptimize(n); });
  for (auto _ : state) co_await to.write(1);
}

task<> objects_through_three_stages(benchmark::State& state) {
  bench::allocation_counters count(state);
  auto numbers = [](benchmark::State& s) -> generator<long> {
    for (auto _ : s) co_yield 1L;
  };
  co_await pipeline(numbers(state), [](long n) { return n + 1; }, [](long n) { benchmark::DoNotOptimize(n); });
}

task<> objects_through_a_pass_through(benchmark::State& state) {
  bench::allocation_counters count(state);
  auto numbers = [](benchmark::State& s) -> generator<long> {
    for (auto _ : s) co_yield 1L;
  };
  co_await pipeline(numbers(state), pass_through<long>(), [](long n) { benchmark::DoNotOptimize(n); });
}

}  // namespace

BENCHMARK_CAPTURE(in_main, memcpy_alone, memcpy_alone);
BENCHMARK_CAPTURE(in_main, bytes_source_to_sink, bytes_source_to_sink);
BENCHMARK_CAPTURE(in_main, bytes_through_a_function, bytes_through_a_function);
BENCHMARK_CAPTURE(in_main, bytes_through_a_generator, bytes_through_a_generator);
BENCHMARK_CAPTURE(in_main, bytes_through_a_transform, bytes_through_a_transform);
BENCHMARK_CAPTURE(in_main, bytes_through_a_pass_through, bytes_through_a_pass_through);
BENCHMARK_CAPTURE(in_main, read_of_4_KiB, read_of_4_KiB);
BENCHMARK_CAPTURE(in_main, generator_next, generator_next);
BENCHMARK_CAPTURE(in_main, readable_next, readable_next);
BENCHMARK_CAPTURE(in_main, queue_push_and_next, queue_push_and_next);
BENCHMARK_CAPTURE(in_main, writable_write, writable_write);
BENCHMARK_CAPTURE(in_main, objects_through_three_stages, objects_through_three_stages);
BENCHMARK_CAPTURE(in_main, objects_through_a_pass_through, objects_through_a_pass_through);
