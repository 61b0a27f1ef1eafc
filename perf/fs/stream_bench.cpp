// perf/fs/stream_bench.cpp: bytes between a file and a loopback connection, and through a file, against loops of plain
// system calls with the same 64 KiB chunks (`raw`). The other end of the connection is a process of its own, so `CPU`
// is what this side costs; `Time` is the wall's. The directory is WEIR_PERF_DIR, else /tmp; /dev/shm takes the disk
// out.
#include "perf/core/bench.hpp"

#include <weir/fs/file_stream.hpp>
#include <weir/io/byte_stream.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/net/tcp.hpp>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

namespace fs = weir::fs;
namespace io = weir::io;
using bench::in_main;
using weir::buffer;
using weir::task;

constexpr std::size_t chunk_size = 64 * 1024;
constexpr std::size_t total = std::size_t{256} << 20;

std::string bench_file() {
  const char* directory = std::getenv("WEIR_PERF_DIR");
  return std::string(directory != nullptr ? directory : "/tmp") + "/weir-stream-bench-" + std::to_string(::getpid());
}

/// Both ends of a loopback connection.
struct connection {
  int here = -1;
  int there = -1;
};

connection connect_pair() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ::bind(listener, reinterpret_cast<sockaddr*>(&name), size);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size);
  ::listen(listener, 1);
  connection made;
  made.there = ::socket(AF_INET, SOCK_STREAM, 0);
  ::connect(made.there, reinterpret_cast<sockaddr*>(&name), size);
  made.here = ::accept(listener, nullptr, nullptr);
  ::close(listener);
  return made;
}

/// A process that sends all there is to send, or reads until the end.
class far_end {
 public:
  far_end(connection between, bool sends) {
    process_ = ::fork();
    if (process_ == 0) {
      ::close(between.here);
      std::vector<char> chunk(4 * chunk_size);
      for (std::size_t done = 0; !sends || done < total;) {
        auto count = sends ? ::write(between.there, chunk.data(), chunk.size())
                           : ::read(between.there, chunk.data(), chunk.size());
        if (count <= 0) break;
        done += static_cast<std::size_t>(count);
      }
      ::_exit(0);
    }
    ::close(between.there);
  }
  far_end(const far_end&) = delete;
  far_end& operator=(const far_end&) = delete;
  ~far_end() { ::waitpid(process_, nullptr, 0); }

 private:
  pid_t process_ = -1;
};

/// A file in the page cache that goes with this object.
class test_file {
 public:
  explicit test_file(bool filled) {
    std::FILE* made = std::fopen(name_.c_str(), "w");
    const std::vector<char> chunk(chunk_size, 'x');
    for (std::size_t done = 0; filled && done < total; done += chunk.size()) {
      std::fwrite(chunk.data(), 1, chunk.size(), made);
    }
    std::fclose(made);
  }
  test_file(const test_file&) = delete;
  test_file& operator=(const test_file&) = delete;
  ~test_file() { ::unlink(name_.c_str()); }
  const std::string& name() const { return name_; }

 private:
  std::string name_ = bench_file();
};

/// Reports bytes per second and what was allocated on the heap for each chunk since it was made.
class chunk_counters {
 public:
  explicit chunk_counters(benchmark::State& state) : state_(state) {}
  chunk_counters(const chunk_counters&) = delete;
  chunk_counters& operator=(const chunk_counters&) = delete;
  ~chunk_counters() {
    const auto bytes = static_cast<double>(state_.iterations()) * static_cast<double>(total);
    state_.SetBytesProcessed(static_cast<std::int64_t>(bytes));
    state_.counters["heap_per_chunk"] =
        static_cast<double>(bench::heap_allocations.load() - heap_) / (bytes / static_cast<double>(chunk_size));
  }

 private:
  benchmark::State& state_;
  std::uint64_t heap_ = bench::heap_allocations.load();
};

void copy_raw(int from, int to, bool socket_first) {
  std::vector<char> chunk(chunk_size);
  for (;;) {
    auto count = socket_first ? ::recv(from, chunk.data(), chunk.size(), 0) : ::read(from, chunk.data(), chunk.size());
    if (count <= 0) return;
    for (ssize_t done = 0; done < count;)
      done += ::write(to, chunk.data() + done, static_cast<std::size_t>(count - done));
  }
}

void socket_to_file_raw(benchmark::State& state) {
  chunk_counters counters(state);
  for (auto _ : state) {
    test_file target(false);
    auto ends = connect_pair();
    far_end sender(ends, true);
    const int file = ::open(target.name().c_str(), O_WRONLY | O_TRUNC);
    copy_raw(ends.here, file, true);
    ::close(ends.here);
    ::close(file);
  }
}

void socket_to_file(benchmark::State& state) {
  weir::runtime loop({.workers = 1});
  chunk_counters counters(state);
  for (auto _ : state) {
    test_file target(false);
    auto ends = connect_pair();
    far_end sender(ends, true);
    loop.block_on([](int socket, std::string name) -> task<> {
      co_await io::pipeline(io::read_from(weir::net::tcp_stream(socket)), fs::write_stream(std::move(name)));
    }(ends.here, target.name()));
  }
}

void file_to_socket_raw(benchmark::State& state) {
  test_file source(true);
  chunk_counters counters(state);
  for (auto _ : state) {
    auto ends = connect_pair();
    far_end receiver(ends, false);
    const int file = ::open(source.name().c_str(), O_RDONLY);
    copy_raw(file, ends.here, false);
    ::close(file);
    ::close(ends.here);
  }
}

void file_to_socket(benchmark::State& state) {
  weir::runtime loop({.workers = 1});
  test_file source(true);
  chunk_counters counters(state);
  for (auto _ : state) {
    auto ends = connect_pair();
    far_end receiver(ends, false);
    loop.block_on([](int socket, std::string name) -> task<> {
      co_await io::pipeline(fs::read_stream(std::move(name)), io::write_to(weir::net::tcp_stream(socket)));
    }(ends.here, source.name()));
  }
}

void read_file_raw(benchmark::State& state) {
  test_file source(true);
  std::vector<char> chunk(chunk_size);
  chunk_counters counters(state);
  for (auto _ : state) {
    const int file = ::open(source.name().c_str(), O_RDONLY);
    while (::read(file, chunk.data(), chunk.size()) > 0) {
    }
    ::close(file);
  }
}

void read_file(benchmark::State& state) {
  weir::runtime loop({.workers = 1});
  test_file source(true);
  chunk_counters counters(state);
  for (auto _ : state) {
    loop.block_on([](std::string name) -> task<> {
      auto bytes = fs::read_stream(std::move(name));
      while (co_await bytes.next()) {
      }
    }(source.name()));
  }
}

void write_file_raw(benchmark::State& state) {
  const std::vector<char> chunk(chunk_size, 'x');
  chunk_counters counters(state);
  for (auto _ : state) {
    test_file target(false);
    const int file = ::open(target.name().c_str(), O_WRONLY | O_TRUNC);
    for (std::size_t done = 0; done < total; done += chunk.size()) {
      if (::write(file, chunk.data(), chunk.size()) <= 0) break;
    }
    ::close(file);
  }
}

void write_file(benchmark::State& state) {
  weir::runtime loop({.workers = 1});
  chunk_counters counters(state);
  for (auto _ : state) {
    test_file target(false);
    loop.block_on([](std::string name) -> task<> {
      auto chunk = buffer::alloc(chunk_size, std::byte{'x'});
      auto out = fs::write_stream(std::move(name));
      for (std::size_t done = 0; done < total; done += chunk_size) co_await out.write(chunk);
      co_await out.end();
    }(target.name()));
  }
}

}  // namespace

#define BYTES(name) BENCHMARK(name)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond)
BYTES(socket_to_file_raw);
BYTES(socket_to_file);
BYTES(file_to_socket_raw);
BYTES(file_to_socket);
BYTES(read_file_raw);
BYTES(read_file);
BYTES(write_file_raw);
BYTES(write_file);
