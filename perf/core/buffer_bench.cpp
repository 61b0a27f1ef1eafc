// perf/core/buffer_bench.cpp: what a buffer costs: making and dropping one by size and origin beside malloc, copies and
// slices beside std::shared_ptr, the chunk of a read loop, numbers, and the operations that go over all bytes, in bytes
// per second. `heap` counts blocks from operator new, `frames` those from the frame pool.
#include <weir/core/buffer.hpp>

#include "bench.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using weir::buffer;
using weir::buffer_pool;

void count_bytes(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

void alloc_unsafe(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(buffer::alloc_unsafe(size));
}

void alloc_unsafe_slow(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(buffer::alloc_unsafe_slow(size));
}

void alloc_zeroed(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(buffer::alloc(size));
}

void heap_block(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    void* block = std::malloc(size);
    benchmark::DoNotOptimize(block);
    std::free(block);
  }
}

// What a read does: a chunk is taken, filled, cut to what came, handed on and dropped.
void chunk_of_a_read(benchmark::State& state) {
  buffer_pool pool;
  bench::allocation_counters counters(state);
  for (auto _ : state) {
    auto chunk = pool.take();
    auto read = std::move(chunk).slice(0, 1000);
    benchmark::DoNotOptimize(read);
  }
  state.counters["made"] = static_cast<double>(pool.stats().made);
}

void chunks_of_two_threads(benchmark::State& state) {
  static buffer_pool pool;
  for (auto _ : state) benchmark::DoNotOptimize(pool.take());
}

void copy_and_drop(benchmark::State& state) {
  const auto whole = buffer::alloc(100);
  for (auto _ : state) {
    buffer copy = whole;
    benchmark::DoNotOptimize(copy);
  }
}

void slice_and_drop(benchmark::State& state) {
  const auto whole = buffer::alloc(100);
  for (auto _ : state) benchmark::DoNotOptimize(whole.slice(10, 20));
}

void move_and_back(benchmark::State& state) {
  auto whole = buffer::alloc(100);
  for (auto _ : state) {
    buffer other = std::move(whole);
    benchmark::DoNotOptimize(other);
    whole = std::move(other);
  }
}

void copy_shared_ptr(benchmark::State& state) {
  std::thread([] {}).join();  // or libstdc++ would count without atomics
  const auto whole = std::make_shared<std::vector<char>>(100);
  for (auto _ : state) {
    auto copy = whole;
    benchmark::DoNotOptimize(copy);
  }
}

void from_text(benchmark::State& state) {
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(buffer::from("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n"));
}

void concat_three(benchmark::State& state) {
  const std::vector<buffer> parts(3, buffer::alloc(500));
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(buffer::concat(parts));
}

void read_u32_be(benchmark::State& state) {
  const auto bytes = buffer::alloc(64);
  std::size_t at = 0;
  std::uint32_t sum = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(sum += bytes.read_u32_be(at));
    at = (at + 4) & 31;
  }
}

void write_u32_be(benchmark::State& state) {
  auto bytes = buffer::alloc(64);
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(at = bytes.write_u32_be(7, at) & 31);
}

constexpr std::size_t large = 64 * 1024;

void fill_pattern(benchmark::State& state) {
  auto bytes = buffer::alloc(large);
  for (auto _ : state) {
    bytes.fill("0123456789");
    benchmark::ClobberMemory();
  }
  count_bytes(state, large);
}

void index_of_byte(benchmark::State& state) {
  const auto bytes = buffer::alloc(large);
  for (auto _ : state) benchmark::DoNotOptimize(bytes.index_of(1));
  count_bytes(state, large);
}

void search_last(benchmark::State& state) {
  const auto bytes = buffer::alloc(large, "GET /index.html HTTP/1.1\r\nhost: example.org\r\n");
  for (auto _ : state) benchmark::DoNotOptimize(bytes.last_index_of("\r\n\r\n"));
  count_bytes(state, large);
}

void swap32(benchmark::State& state) {
  auto bytes = buffer::alloc(large);
  for (auto _ : state) {
    bytes.swap32();
    benchmark::ClobberMemory();
  }
  count_bytes(state, large);
}

void constant_time_equal(benchmark::State& state) {
  const auto a = buffer::alloc(large), b = buffer::alloc(large);
  for (auto _ : state) benchmark::DoNotOptimize(weir::constant_time_equal(a, b));
  count_bytes(state, large);
}

}  // namespace

BENCHMARK(alloc_unsafe)->Arg(100)->Arg(1000)->Arg(4000)->Arg(65536);
BENCHMARK(alloc_unsafe_slow)->Arg(100)->Arg(1000)->Arg(4000)->Arg(65536);
BENCHMARK(heap_block)->Arg(100)->Arg(1000)->Arg(4000)->Arg(65536);
BENCHMARK(alloc_zeroed)->Arg(100)->Arg(4000)->Arg(65536)->Arg(1000000);
BENCHMARK(chunk_of_a_read);
BENCHMARK(chunks_of_two_threads)->Threads(2);
BENCHMARK(copy_and_drop);
BENCHMARK(copy_shared_ptr);
BENCHMARK(slice_and_drop);
BENCHMARK(move_and_back);
BENCHMARK(from_text);
BENCHMARK(concat_three);
BENCHMARK(read_u32_be);
BENCHMARK(write_u32_be);
BENCHMARK(fill_pattern);
BENCHMARK(index_of_byte);
BENCHMARK(search_last);
BENCHMARK(swap32);
BENCHMARK(constant_time_equal);
