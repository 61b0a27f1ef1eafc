// What a tree costs to walk, search and remove: 100,000 files in 1,000 directories. Beside each stand find(1), rm(1),
// Go and node on the same tree where they are installed, as processes: their time includes their start, which `true`
// shows. The tree is made in TREE_BENCH_DIR, else in /dev/shm; its pages are warm. Unit: ms per tree.
#include <weir/core/runtime.hpp>
#include <weir/fs/glob.hpp>
#include <weir/fs/remove.hpp>
#include <weir/fs/walk.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>

#include <benchmark/benchmark.h>

namespace {

using weir::task;

constexpr int outer = 10;
constexpr int inner = 100;
constexpr int files = 100;
constexpr std::size_t entries = outer + outer * inner + std::size_t{outer} * inner * files;

std::string base() {
  const char* chosen = std::getenv("TREE_BENCH_DIR");
  return std::string(chosen != nullptr ? chosen : "/dev/shm") + "/weir-tree-bench";
}

void make_tree(const std::string& root) {
  ::mkdir(root.c_str(), 0700);
  for (int a = 0; a < outer; ++a) {
    const auto first = root + "/directory-" + std::to_string(a);
    ::mkdir(first.c_str(), 0700);
    for (int b = 0; b < inner; ++b) {
      const auto second = first + "/sub-" + std::to_string(b);
      ::mkdir(second.c_str(), 0700);
      const int at = ::open(second.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      for (int c = 0; c < files; ++c)
        ::close(::openat(at, ("file-" + std::to_string(c) + ".txt").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
      ::close(at);
    }
  }
}

/// The tree that is only read.
const std::string& standing_tree() {
  static const struct standing {
    standing() { make_tree(path); }
    ~standing() { static_cast<void>(weir::fs::rm(path, {.recursive = true, .force = true}).try_now()); }
    std::string path = base();
  } made;
  return made.path;
}

void check(benchmark::State& state, std::size_t found, std::size_t expected) {
  if (found != expected) state.SkipWithError("the tree has other entries than were made");
}

void walk(benchmark::State& state) {
  const auto threads = static_cast<unsigned>(state.range(0));
  auto body = [](std::string root, unsigned count, std::size_t& found) -> task<> {
    auto all = weir::fs::walk(std::move(root), {.threads = count});
    while (auto each = co_await all.next()) ++found;
  };
  weir::runtime runtime({.workers = 1});
  static_cast<void>(standing_tree());
  for (auto _ : state) {
    std::size_t found = 0;
    runtime.block_on(body(standing_tree(), threads, found));
    check(state, found, entries);
  }
}
BENCHMARK(walk)->Arg(1)->Arg(2)->ArgName("threads")->Unit(benchmark::kMillisecond)->UseRealTime();

void walk_all(benchmark::State& state) {
  const auto threads = static_cast<unsigned>(state.range(0));
  for (auto _ : state) check(state, weir::fs::walk_all(standing_tree(), {.threads = threads}).now().size(), entries);
}
BENCHMARK(walk_all)->Arg(1)->Arg(2)->ArgName("threads")->Unit(benchmark::kMillisecond)->UseRealTime();

void glob_all(benchmark::State& state) {
  for (auto _ : state)
    check(state, weir::fs::glob_all("**/file-7?.txt", {.cwd = standing_tree()}).now().size(), outer * inner * 10);
}
BENCHMARK(glob_all)->Unit(benchmark::kMillisecond)->UseRealTime();

void rm(benchmark::State& state) {
  const auto threads = static_cast<unsigned>(state.range(0));
  const auto root = base() + "-rm";
  for (auto _ : state) {
    state.PauseTiming();
    make_tree(root);
    state.ResumeTiming();
    weir::fs::rm(root, {.recursive = true, .threads = threads}).now();
  }
}
BENCHMARK(rm)->Arg(1)->Arg(2)->ArgName("threads")->Unit(benchmark::kMillisecond)->UseRealTime();

/// Runs a program with its output thrown away. @return false if it cannot be had
bool run(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& each : words) argv.push_back(each.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const bool begun = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return begun && ::waitpid(child, &status, 0) == child && status == 0;
}

/// The programs that are compared with, written where go and node find them.
std::string peer_program(const std::string& name, const std::string& text) {
  const auto path = base() + "-" + name;
  std::ofstream(path) << text;
  return path;
}

/// A Go program, built. Empty without go.
std::string go_program() {
  const auto source = peer_program("peer.go", R"(package main
import ("io/fs"; "os"; "path/filepath")
func main() {
  if os.Args[1] == "rm" { if os.RemoveAll(os.Args[2]) != nil { os.Exit(1) }; return }
  count := 0
  filepath.WalkDir(os.Args[2], func(path string, d fs.DirEntry, err error) error { count++; return err })
  if count == 0 { os.Exit(1) }
}
)");
  const auto program = base() + "-peer";
  if (!run({"go", "build", "-o", program, source})) return {};
  return program;
}

std::vector<std::string> peer(const std::string& who, const std::string& what, const std::string& root) {
  if (who == "true") return {"true"};
  if (who == "gnu")
    return what == "rm" ? std::vector<std::string>{"rm", "-rf", root} : std::vector<std::string>{"find", root};
  if (who == "node") {
    const std::string script = what == "rm" ? "require('fs').rmSync(process.argv[1], {recursive: true})"
                                            : "require('fs').readdirSync(process.argv[1], {recursive: true})";
    return {"node", "-e", script, root};
  }
  static const auto program = go_program();
  return {program, what, root};
}

void peer_walks(benchmark::State& state, const std::string& who) {
  const auto words = peer(who, "walk", standing_tree());
  for (auto _ : state) {
    if (!run(words)) {
      state.SkipWithError("not installed");
      return;
    }
  }
}
BENCHMARK_CAPTURE(peer_walks, start_only, "true")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(peer_walks, find, "gnu")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(peer_walks, go, "go")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(peer_walks, node, "node")->Unit(benchmark::kMillisecond)->UseRealTime();

void peer_removes(benchmark::State& state, const std::string& who) {
  const auto root = base() + "-rm";
  const auto words = peer(who, "rm", root);
  for (auto _ : state) {
    state.PauseTiming();
    make_tree(root);
    state.ResumeTiming();
    if (run(words)) continue;
    static_cast<void>(weir::fs::rm(root, {.recursive = true, .force = true}).try_now());
    state.SkipWithError("not installed");
    return;
  }
}
BENCHMARK_CAPTURE(peer_removes, rm, "gnu")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(peer_removes, go, "go")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(peer_removes, node, "node")->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
