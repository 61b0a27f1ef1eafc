// perf/fs/path_bench.cpp: nanoseconds per call of the functions of paths and of a compiled glob pattern, with the
// allocations of each call beside it, and the same calls in Node where it is installed (rows "node/...", one run of
// node that warms up first). C0-PATH-21: paths are worked on for every file of a build or a request.
#include <weir/fs/glob_pattern.hpp>
#include <weir/fs/path.hpp>

#include "perf/core/bench.hpp"

#include <cstdio>
#include <map>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

namespace {

namespace path = weir::path;

template <class F>
void measure(benchmark::State& state, F call) {
  bench::allocation_counters counters(state);
  for (auto _ : state) benchmark::DoNotOptimize(call());
}

void join(benchmark::State& state) {
  measure(state, [] { return path::join("/home/user/project", "src", "../include", "weir/core/task.hpp"); });
}
void normalize(benchmark::State& state) {
  measure(state, [] { return path::normalize("/home/user/project/./src//net/../io/stream_core.cpp"); });
}
void resolve(benchmark::State& state) {
  measure(state, [] { return path::resolve("/home/user/project", "./src", "../tests/core/event_test.cpp"); });
}
void resolve_here(benchmark::State& state) {
  measure(state, [] { return path::resolve("src", "../tests/core/event_test.cpp"); });
}
void relative(benchmark::State& state) {
  measure(state, [] { return path::relative("/home/user/project/src/net", "/home/user/project/tests/io/pipe.cpp"); });
}
void dirname(benchmark::State& state) {
  measure(state, [] { return path::dirname("/home/user/project/src/net/http_server.cpp"); });
}
void basename(benchmark::State& state) {
  measure(state, [] { return path::basename("/home/user/project/src/net/http_server.cpp", ".cpp"); });
}
void parse(benchmark::State& state) {
  measure(state, [] { return path::parse("/home/user/project/src/net/http_server.cpp"); });
}
void join_win32(benchmark::State& state) {
  measure(state, [] { return path::win32::join("C:\\Users\\me", "src", "..\\include", "weir/core/task.hpp"); });
}
void safe_join(benchmark::State& state) {
  measure(state, [] { return path::safe_join("/srv/www/public", "assets/js/vendor/app.js"); });
}

BENCHMARK(join);
BENCHMARK(normalize);
BENCHMARK(resolve);
BENCHMARK(resolve_here);
BENCHMARK(relative);
BENCHMARK(dirname);
BENCHMARK(basename);
BENCHMARK(parse);
BENCHMARK(join_win32);
BENCHMARK(safe_join);

void glob(benchmark::State& state, const char* text, std::string_view name) {
  const weir::fs::glob_pattern pattern(text);
  measure(state, [&] { return pattern.matches(name); });
}

BENCHMARK_CAPTURE(glob, extension, "src/**/*.cpp", "src/net/http/server/http_server.cpp");
BENCHMARK_CAPTURE(glob, braces, "**/*.{cpp,hpp,h,c}", "src/net/http/server/http_server.hpp");
BENCHMARK_CAPTURE(glob, negation, "**/!(*_test).cpp", "src/net/http/server/http_server.cpp");
BENCHMARK_CAPTURE(glob, two_stars, "**/net/**/*_server.cpp", "src/net/http/server/http_server.cpp");

constexpr std::string_view node_program = R"(
const p = require('path');
const calls = {
  join: () => p.join('/home/user/project', 'src', '../include', 'weir/core/task.hpp'),
  normalize: () => p.normalize('/home/user/project/./src//net/../io/stream_core.cpp'),
  resolve: () => p.resolve('/home/user/project', './src', '../tests/core/event_test.cpp'),
  resolve_here: () => p.resolve('src', '../tests/core/event_test.cpp'),
  relative: () => p.relative('/home/user/project/src/net', '/home/user/project/tests/io/pipe.cpp'),
  dirname: () => p.dirname('/home/user/project/src/net/http_server.cpp'),
  basename: () => p.basename('/home/user/project/src/net/http_server.cpp', '.cpp'),
  parse: () => p.parse('/home/user/project/src/net/http_server.cpp'),
  join_win32: () => p.win32.join('C:\\Users\\me', 'src', '..\\include', 'weir/core/task.hpp'),
};
let sink = 0;
for (const [name, call] of Object.entries(calls)) {
  const round = (n) => { const t = process.hrtime.bigint(); for (let i = 0; i < n; i++) sink += call().length | 0;
    return Number(process.hrtime.bigint() - t) / n; };
  round(200000);
  console.log(name, Math.min(round(500000), round(500000), round(500000)));
}
)";

std::map<std::string, double> ask_node() {
  std::map<std::string, double> made;
  const std::string command = "node -e \"$WEIR_PATH_BENCH\" 2>/dev/null";
  ::setenv("WEIR_PATH_BENCH", std::string(node_program).c_str(), 1);
  FILE* node = ::popen(command.c_str(), "r");
  if (node == nullptr) return made;
  char name[64];
  double nanoseconds = 0;
  while (std::fscanf(node, "%63s %lf", name, &nanoseconds) == 2) made[name] = nanoseconds;
  ::pclose(node);
  return made;
}

void node(benchmark::State& state, const char* name) {
  static const std::map<std::string, double> answers = ask_node();
  const auto found = answers.find(name);
  if (found == answers.end()) return state.SkipWithError("node is not installed");
  for (auto _ : state) state.SetIterationTime(found->second * 1e-9);
}

#define WEIR_NODE(name) BENCHMARK_CAPTURE(node, name, #name)->UseManualTime()->Iterations(1)
WEIR_NODE(join);
WEIR_NODE(normalize);
WEIR_NODE(resolve);
WEIR_NODE(resolve_here);
WEIR_NODE(relative);
WEIR_NODE(dirname);
WEIR_NODE(basename);
WEIR_NODE(parse);
WEIR_NODE(join_win32);

}  // namespace
