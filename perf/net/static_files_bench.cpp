// perf/net/static_files_bench.cpp: processor time that a server spends on a file, all its threads together and the
// client left out, beside what the same takes without HTTP and without a runtime. One connection, one request at a
// time. Targets: a 1 MiB file at most 1.1 times the floor (pread and one send of 1 MiB, the request read and a head
// sent with it); 4 KiB from memory at most 1.25 times `hello`.
#include <weir/core/runtime.hpp>
#include <weir/net/static_files.hpp>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>  // NOLINT: for what POSIX has beyond <ctime>
#include <unistd.h>

namespace http = weir::net::http;

namespace {

constexpr std::size_t one_mib = std::size_t{1} << 20;

double seconds_of(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double server_time() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID) - seconds_of(CLOCK_THREAD_CPUTIME_ID); }

[[noreturn]] void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// Files of known sizes, gone at the end.
class tree {
 public:
  tree() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) give_up("mkdtemp");
    path_ = name;
    for (auto [file, size] :
         {std::pair{"4k.txt", std::size_t{4096}}, std::pair{"1m.bin", one_mib}, std::pair{"16m.bin", 16 * one_mib}}) {
      std::ofstream(path_ / file) << std::string(size, 'x');
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // else they are too new for the cache
  }
  tree(const tree&) = delete;
  tree& operator=(const tree&) = delete;
  ~tree() { std::filesystem::remove_all(path_); }

  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// A blocking client that asks for the same again and again.
class client {
 public:
  explicit client(const sockaddr* server, socklen_t size) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (::connect(fd_, server, size) != 0) give_up("connect");
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { ::close(fd_); }

  /// @return bytes of the answer, head and body
  std::size_t ask(const std::string& request) {
    if (::send(fd_, request.data(), request.size(), 0) < 0) give_up("send");
    std::size_t have = 0, whole = 0;
    while (whole == 0 || have < whole) {
      const auto count = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
      if (count <= 0) give_up("recv");
      if (whole == 0) whole = length_of({buffer_.data(), static_cast<std::size_t>(count)});
      have += static_cast<std::size_t>(count);
    }
    return have;
  }

 private:
  static std::size_t length_of(std::string_view answer) {
    const auto end = answer.find("\r\n\r\n"), at = answer.find("Content-Length: ");
    if (end == std::string_view::npos || at > end) give_up("a head in pieces");
    return end + 4 + std::strtoull(answer.data() + at + 16, nullptr, 10);
  }

  int fd_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
};

void measure(benchmark::State& state, client& asking, const std::string& path) {
  const auto request = "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n";
  for (int i = 0; i < 10; ++i) asking.ask(request);
  std::size_t bytes = 0;
  const auto before = server_time();
  for (auto _ : state) bytes += asking.ask(request);
  const auto used = server_time() - before;
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
  state.counters["server_us"] = used * 1e6 / static_cast<double>(state.iterations());
  state.counters["server_s_per_GB"] = used * 1e9 / static_cast<double>(bytes);
}

void serve(benchmark::State& state, http::server::handler_type handler, const std::string& path) {
  http::server server(std::move(handler));
  const auto where = server.listen("127.0.0.1:0");
  std::thread running([&] { weir::runtime({.workers = 1}).block_on(server.serve()); });
  {
    client asking(where.data(), where.size());
    measure(state, asking, path);
  }
  server.close(std::chrono::milliseconds(0));
  running.join();
}

void hello(benchmark::State& state) {
  serve(
      state,
      [](http::request&, http::response& res) -> weir::task<void> {
        res.set("Content-Type", "text/plain");
        co_await res.end("Hello, World!");
      },
      "/");
}

void file(benchmark::State& state, const std::string& name, http::static_files_options options) {
  const tree files;
  serve(state, http::static_files(files.path(), std::move(options)), "/" + name);
}

void file_4k_from_memory(benchmark::State& state) { file(state, "4k.txt", {}); }
void file_4k_from_disk(benchmark::State& state) { file(state, "4k.txt", {.cache_bytes = 0}); }
void file_1m_from_disk(benchmark::State& state) { file(state, "1m.bin", {}); }
void file_1m_from_memory(benchmark::State& state) { file(state, "1m.bin", {.cache_file = one_mib}); }
void file_16m_from_disk(benchmark::State& state) { file(state, "16m.bin", {}); }

/// recv of the request, open, fstat, pread, send of head and body, close: what cannot be left out.
void answer_plainly(int peer, const std::string& path, std::size_t size) {
  std::vector<char> request(4096), body(one_mib);
  const auto head = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n";
  while (::recv(peer, request.data(), request.size(), 0) > 0) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ::send(peer, head.data(), head.size(), MSG_MORE | MSG_NOSIGNAL);
    for (std::size_t at = 0; at < size;) {
      const auto count = ::pread(file, body.data(), body.size(), static_cast<off_t>(at));
      if (count <= 0) give_up("pread");
      for (ssize_t sent = 0; sent < count;) {
        const auto more = ::send(peer, body.data() + sent, static_cast<std::size_t>(count - sent), MSG_NOSIGNAL);
        if (more < 0) give_up("send");
        sent += more;
      }
      at += static_cast<std::size_t>(count);
    }
    ::close(file);
  }
  ::close(peer);
}

void floor_of(benchmark::State& state, const std::string& name, std::size_t size) {
  const tree files;
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in where = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t length = sizeof where;
  auto* address = reinterpret_cast<sockaddr*>(&where);
  if (::bind(listener, address, length) != 0 || ::listen(listener, 1) != 0) give_up("listen");
  ::getsockname(listener, address, &length);
  std::thread running([&] { answer_plainly(::accept(listener, nullptr, nullptr), files.path() + "/" + name, size); });
  {
    client asking(address, length);
    measure(state, asking, "/");
  }
  running.join();
  ::close(listener);
}

void floor_4k(benchmark::State& state) { floor_of(state, "4k.txt", 4096); }
void floor_1m(benchmark::State& state) { floor_of(state, "1m.bin", one_mib); }
void floor_16m(benchmark::State& state) { floor_of(state, "16m.bin", 16 * one_mib); }

BENCHMARK(hello)->UseRealTime();
BENCHMARK(file_4k_from_memory)->UseRealTime();
BENCHMARK(file_4k_from_disk)->UseRealTime();
BENCHMARK(floor_4k)->UseRealTime();
BENCHMARK(file_1m_from_disk)->UseRealTime();
BENCHMARK(file_1m_from_memory)->UseRealTime();
BENCHMARK(floor_1m)->UseRealTime();
BENCHMARK(file_16m_from_disk)->UseRealTime();
BENCHMARK(floor_16m)->UseRealTime();

}  // namespace
