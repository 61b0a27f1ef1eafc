// perf/fs/watch_bench.cpp: what watching costs: making a watcher of 10,000 directories (time, and memory per directory
// beside the kernel's), closing it, and events per second from a file's being written to its being told. To be compared
// with the bare inotify_add_watch calls and reads, which are the rows called raw.
#include "../resident.hpp"

#include <weir/core/runtime.hpp>
#include <weir/fs/watch.hpp>
#include <weir/fs/watcher.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <benchmark/benchmark.h>

namespace {

using namespace std::chrono_literals;
using namespace weir::fs;
using weir::task;

/// 100 directories with 100 in each, made once.
const std::string& tree() {
  static const struct made {
    made() : path("/tmp/weir-watch-XXXXXX") {
      if (::mkdtemp(path.data()) == nullptr) std::abort();
      for (int i = 0; i < 10'000; ++i) {
        std::filesystem::create_directories(path + "/" + std::to_string(i / 100) + "/" + std::to_string(i % 100));
      }
    }
    ~made() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::string path;
  } one;
  return one.path;
}

watcher_options at_once() {
  watcher_options options;
  options.quiet = {.add = 0ms, .change = 0ms, .unlink = 0ms, .add_dir = 0ms, .unlink_dir = 0ms, .rename = 0ms};
  options.atomic = false;
  return options;
}

task<> first_look(watcher& w) { co_await w.ready(); }

void watch_10000_directories(benchmark::State& state) {
  tree();
  double bytes = 0;
  double closing = 0;
  for (auto _ : state) {
    const double before = bench::resident_bytes();
    watcher w(tree());
    weir::runtime({.workers = 1}).block_on(first_look(w));
    bytes = std::max(bytes, bench::resident_bytes() - before);  // later ones find memory that is there
    const auto begun = std::chrono::steady_clock::now();
    w.close();
    closing += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  }
  state.counters["bytes_per_directory"] = bytes / 10'000;
  state.counters["close_ms"] = benchmark::Counter(closing * 1e3, benchmark::Counter::kAvgIterations);
}
BENCHMARK(watch_10000_directories)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(5);

/// The system calls that cannot be saved: one watch for each, and reading each directory.
void watch_10000_directories_raw(benchmark::State& state) {
  tree();
  for (auto _ : state) {
    const int fd = ::inotify_init1(IN_CLOEXEC);
    for (auto& each : std::filesystem::recursive_directory_iterator(tree())) {
      ::inotify_add_watch(fd, each.path().c_str(), IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVE);
    }
    ::close(fd);
  }
}
BENCHMARK(watch_10000_directories_raw)->Unit(benchmark::kMillisecond)->UseRealTime()->Iterations(5);

constexpr int batch = 1000;

void touch(const std::string& directory, int i) {
  const int fd = ::open((directory + "/f" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (::write(fd, "x", 1) != 1) std::abort();
  ::close(fd);
}

struct work_directory {
  work_directory() : path("/tmp/weir-watch-XXXXXX") {
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    for (int i = 0; i < batch; ++i) touch(path, i);
  }
  ~work_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

task<> changes_through(watcher& w, const std::string& directory, benchmark::State& state) {
  co_await w.ready();
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < batch; ++i) touch(directory, i);
    state.ResumeTiming();
    for (int told = 0; told < batch;) {
      auto event = co_await w.next();
      if (event && event->kind == watch_kind::change) ++told;
    }
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

/// Changed files told by a watcher, of 1000 that are waiting.
void changes_told(benchmark::State& state) {
  work_directory directory;
  watcher w(directory.path, at_once());
  weir::runtime({.workers = 1}).block_on(changes_through(w, directory.path, state));
}
BENCHMARK(changes_told)->Unit(benchmark::kMicrosecond)->UseRealTime()->Iterations(50);

task<> notices_through(path_watch& w, const std::string& directory, benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < batch; ++i) touch(directory, i);
    state.ResumeTiming();
    for (int told = 0; told < batch; ++told) benchmark::DoNotOptimize(co_await w.next());
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

/// The same as raw notices of `watch`.
void notices_told(benchmark::State& state) {
  work_directory directory;
  auto w = watch(directory.path).now();
  weir::runtime({.workers = 1}).block_on(notices_through(w, directory.path, state));
}
BENCHMARK(notices_told)->Unit(benchmark::kMicrosecond)->UseRealTime()->Iterations(50);

/// read(2) of the same records, and no more.
void notices_raw(benchmark::State& state) {
  work_directory directory;
  const int fd = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  ::inotify_add_watch(fd, directory.path.c_str(), IN_MODIFY);
  alignas(::inotify_event) static char buffer[32768];
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < batch; ++i) touch(directory.path, i);
    state.ResumeTiming();
    while (::read(fd, buffer, sizeof(buffer)) > 0) benchmark::ClobberMemory();
  }
  ::close(fd);
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(notices_raw)->Unit(benchmark::kMicrosecond)->UseRealTime()->Iterations(50);

}  // namespace
