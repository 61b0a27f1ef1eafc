// perf/micro/files.cpp: weir's column in the table of files (see ../files.py for the keys): one worker, and the threads
// that may block beside it. `*_ring` and `*_pool` are what the same call costs where fs does not make it, written here
// with the backend's own operations or for those threads: it is what fs would do if that were cheaper.
//
//   weir_micro_files rand|seq|small|storm
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/file_stream.hpp>
#include <weir/fs/stat.hpp>
#include <weir/io/operation.hpp>

#include "perf/stopwatch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

namespace fs = weir::fs;
using bench::print;
using bench::stopwatch;
using weir::opcode;
using weir::task;

constexpr std::size_t lanes = 64;  // operations under way
constexpr std::uint64_t random_bytes = std::uint64_t{256} << 20;
constexpr std::uint64_t random_reads = 500'000;
constexpr std::uint64_t whole = std::uint64_t{1} << 30;
constexpr std::size_t chunk = 64 * 1024;
constexpr std::size_t small_files = 10'000;
constexpr std::size_t small_rounds = 4;    // the first one warms up
constexpr std::size_t storm_files = 1024;  // a multiple of the lanes, so that a file is always the same lane's
constexpr std::size_t storm_stats = 100'000;
constexpr std::size_t storm_renames = 20 * storm_files;

/// A directory of our own that goes with this object.
class work_place {
 public:
  explicit work_place(const std::string& below) : path_(below + "/weir-files-" + std::to_string(::getpid())) {
    std::filesystem::create_directory(path_);
  }
  work_place(const work_place&) = delete;
  work_place& operator=(const work_place&) = delete;
  ~work_place() { std::filesystem::remove_all(path_); }

  std::string at(std::string_view name) const { return path_ + "/" + std::string(name); }
  std::vector<std::string> names(std::size_t count, std::string_view suffix = "") const {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(at("f" + std::to_string(i)).append(suffix));
    return all;
  }

 private:
  std::string path_;
};

void make_empty(const std::vector<std::string>& names) {
  for (const auto& name : names) ::close(::open(name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
}

/// One operation of the ring, without anything around it.
class ring_call : public weir::io::operation_wait {
 public:
  ring_call(opcode what, const char* path, std::uint32_t with_flags, std::uint32_t size = 0, void* other = nullptr) {
    code = what;
    fd = AT_FDCWD;
    buffer = const_cast<char*>(path);
    flags = with_flags;
    length = size;
    second = other;
  }
  explicit ring_call(int descriptor) {
    code = opcode::close;
    fd = descriptor;
  }
  int await_resume() const {
    if (answer_ < 0) std::exit(3);
    return answer_;
  }
};

/// Every `lanes`-th operation from `first` on.
template <class F>
task<> lane(F& begin, std::size_t first, std::size_t count) {
  for (auto i = first; i < count; i += lanes) static_cast<void>(co_await begin(i));
}

/// `count` operations, `lanes` at a time.
template <class F>
task<> in_lanes(std::size_t count, F begin) {
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (std::size_t i = 0; i < lanes; ++i) s.spawn(lane<F>, std::ref(begin), i, count);
    co_return;
  });
}

template <class F>
task<> measured(std::string key, std::size_t count, F begin) {
  stopwatch watch;
  co_await in_lanes(count, begin);
  watch.done_with_cpu(key, static_cast<double>(count));
}

// ---- rand

task<> read_at_random(const fs::file& from, std::size_t number, std::uint64_t count) {
  std::array<std::byte, 4096> page;  // NOLINT: read into
  std::uint64_t random = 0x9e3779b97f4a7c15U * (number + 1);
  for (std::uint64_t i = 0; i < count; ++i) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    static_cast<void>(co_await from.read(page).at(random % (random_bytes / 4096) * 4096));
  }
}

task<> reads(const fs::file& from, std::uint64_t count) {
  co_await weir::with_scope([&](weir::scope& s) -> task<> {
    for (std::size_t i = 0; i < lanes; ++i) s.spawn(read_at_random, std::cref(from), i, count / lanes);
    co_return;
  });
}

task<> random_part(const work_place& place) {
  auto from = co_await fs::open(place.at("random"), fs::mode::rewrite);
  const std::vector<std::byte> piece(1 << 20, std::byte{'x'});
  for (std::uint64_t at = 0; at < random_bytes; at += piece.size()) co_await from.write(piece);
  co_await reads(from, random_reads / 4);
  stopwatch watch;
  co_await reads(from, random_reads);
  watch.done_with_cpu("rand4k", random_reads);
}

// ---- seq

task<> write_whole(std::string path) {
  auto bytes = weir::buffer::alloc(chunk, std::byte{'x'});
  auto out = fs::write_stream(std::move(path));
  for (std::uint64_t done = 0; done < whole; done += chunk) co_await out.write(bytes);
  co_await out.end();
}

task<> read_whole(std::string path, std::size_t at_once = chunk) {
  auto bytes = fs::read_stream(std::move(path), {.chunk_size = at_once});
  while (co_await bytes.next()) {
  }
}

task<> sequential_part(const work_place& place) {
  constexpr auto chunks = static_cast<double>(whole / chunk);
  auto path = place.at("whole");
  co_await write_whole(path);  // the pages' first touch
  co_await fs::unlink(path);
  stopwatch writing;
  co_await write_whole(path);
  writing.done_with_cpu("seq_write", chunks);
  co_await read_whole(path);
  stopwatch reading;
  co_await read_whole(path);
  reading.done_with_cpu("seq_read", chunks);
  stopwatch reading_more;
  co_await read_whole(path, std::size_t{1} << 20);
  reading_more.done_with_cpu("seq_read_1m", chunks);
}

// ---- small

struct phase {
  const char* name;
  double wall = 0;
  double cpu = 0;
};

template <class F>
task<> add(phase& to, bool counts, F begin) {
  stopwatch watch;
  co_await in_lanes(small_files, begin);
  if (!counts) co_return;
  to.cpu += watch.cpu();
  to.wall += watch.wall();
}

task<> small_part(const work_place& place) {
  const std::string content(1024, 'x');
  const auto names = place.names(small_files);
  std::array<phase, 4> phases = {{{"create"}, {"read"}, {"stat1"}, {"unlink1"}}};
  for (std::size_t round = 0; round < small_rounds; ++round) {
    const bool counts = round != 0;
    co_await add(phases[0], counts, [&](std::size_t i) { return fs::write_file(names[i], content); });
    co_await add(phases[1], counts, [&](std::size_t i) { return fs::read_file(names[i]); });
    co_await add(phases[2], counts, [&](std::size_t i) { return fs::stat(names[i]); });
    co_await add(phases[3], counts, [&](std::size_t i) { return fs::unlink(names[i]); });
  }
  constexpr auto operations = static_cast<double>(small_files * (small_rounds - 1));
  for (const auto& each : phases) {
    print(each.name, each.wall / operations);
    print(std::string(each.name) + "_cpu", each.cpu / operations);
  }
}

// ---- storm

task<> open_and_close(const std::string& path) {
  auto opened = co_await fs::open(path);
  co_await opened.close();
}

task<> open_and_close_on_ring(const char* path) {
  const int opened = co_await ring_call(opcode::openat, path, O_RDONLY);
  co_await ring_call(opened);
}

fs::call<void> open_and_close_on_pool(const std::string& path) {
  return {"open", [&path] { return fs::open(path).now().try_close_now(); }};
}

task<> stats(const std::vector<std::string>& names) {
  const auto count = names.size();
  co_await in_lanes(storm_stats / 10, [&](std::size_t i) { return fs::stat(names[i % count]); });
  co_await measured("stat", storm_stats, [&](std::size_t i) { return fs::stat(names[i % count]); });
  co_await measured("stat_pool", storm_stats, [&](std::size_t i) {
    return fs::call<fs::file_stat>("stat", [&path = names[i % count]] { return fs::stat(path).try_now(); });
  });
}

task<> opens(const std::vector<std::string>& names) {
  const auto count = names.size();
  co_await measured("open_close", storm_stats, [&](std::size_t i) { return open_and_close(names[i % count]); });
  co_await measured("open_close_pool", storm_stats,
                    [&](std::size_t i) { return open_and_close_on_pool(names[i % count]); });
  co_await measured("open_close_ring", storm_stats,
                    [&](std::size_t i) { return open_and_close_on_ring(names[i % count].c_str()); });
}

task<> renames(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  const auto count = names.size();
  auto from = [&](std::size_t i) -> const std::string& { return (i / count % 2 == 0 ? names : others)[i % count]; };
  auto to = [&](std::size_t i) -> const std::string& { return (i / count % 2 == 0 ? others : names)[i % count]; };
  co_await measured("rename", storm_renames, [&](std::size_t i) { return fs::rename(from(i), to(i)); });
  co_await measured("rename_ring", storm_renames, [&](std::size_t i) {
    auto made = ring_call(opcode::renameat, from(i).c_str(), 0, static_cast<std::uint32_t>(AT_FDCWD),
                          const_cast<char*>(to(i).c_str()));
    return made;
  });
}

task<> unlinks(const work_place& place) {
  const auto many = place.names(small_files, "u");
  make_empty(many);
  co_await measured("unlink", many.size(), [&](std::size_t i) { return fs::unlink(many[i]); });
  make_empty(many);
  co_await measured("unlink_ring", many.size(),
                    [&](std::size_t i) { return ring_call(opcode::unlinkat, many[i].c_str(), 0); });
}

task<> storm_part(const work_place& place) {
  const auto names = place.names(storm_files);
  make_empty(names);
  co_await stats(names);
  co_await opens(names);
  co_await renames(names, place.names(storm_files, "x"));
  co_await unlinks(place);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view part = argc > 1 ? argv[1] : "";
  const std::pair<std::string_view, task<> (*)(const work_place&)> parts[] = {
      {"rand", random_part}, {"seq", sequential_part}, {"small", small_part}, {"storm", storm_part}};
  for (const auto& [name, run] : parts) {
    if (name != part) continue;
    const char* below = std::getenv("WEIR_PERF_DIR");
    const work_place place(below != nullptr ? below : "/tmp");
    weir::runtime({.workers = 1}).block_on(run(place));
    return 0;
  }
  std::fprintf(stderr, "usage: weir_micro_files rand|seq|small|storm\n");
  return 2;
}
