// perf/micro/uring_bench.cpp: what the choices of io/uring_backend.cpp rest on. Prints `key value` lines, in
// nanoseconds unless the key says otherwise; `uring_bench [ring|wake|receive]` runs a part. Figures of two threads
// want two CPUs. Each figure is the median of several rounds, with the variants interleaved.
#include <weir/io/uring_backend.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace weir;
using namespace weir::io;
using namespace std::chrono_literals;

constexpr int rounds = 5;

double clock_ns(clockid_t which) {
  timespec now{};
  ::clock_gettime(which, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Keeps each key's samples and prints their medians in the order the keys first came.
class table {
 public:
  void add(const std::string& key, double value) {
    auto& samples = samples_[key];
    if (samples.empty()) order_.push_back(key);
    samples.push_back(value);
  }
  void print() {
    for (const auto& key : order_) {
      auto& samples = samples_[key];
      std::sort(samples.begin(), samples.end());
      std::printf("%s %.1f\n", key.c_str(), samples[samples.size() / 2]);
    }
    order_.clear();
    samples_.clear();
  }

 private:
  std::map<std::string, std::vector<double>> samples_;
  std::vector<std::string> order_;
};

void require(bool fine, const char* what) {
  if (fine) return;
  std::perror(what);
  std::exit(1);
}

std::unique_ptr<backend> started(const uring_limits& limits, const backend_options& options = {}) {
  auto made = make_uring_backend(options, limits);
  made->start();
  return made;
}

struct connection {
  int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int server = -1;
  connection() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    require(::bind(listener, name, length) == 0 && ::listen(listener, 1) == 0, "listen");
    require(::getsockname(listener, name, &length) == 0, "getsockname");
    require(::connect(client, name, length) == 0, "connect");
    server = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    require(server >= 0, "accept");
    ::close(listener);
    const int one = 1;
    for (const int fd : {client, server}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  }
  ~connection() {
    ::close(client);
    ::close(server);
  }
};

// --- rings: a batch of 64 nops; 64 connections that pass 64 bytes to and fro in one ring

double nop_ns(backend& io) {
  constexpr std::size_t batch = 64;
  constexpr int turns = 20'000;
  std::vector<operation> ops(batch);
  for (auto& op : ops) op.on_complete = [](operation&, const completion&) noexcept {};
  const double begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < turns; ++i) {
    for (auto& op : ops) io.submit(op);
    while (io.in_flight() != 0) io.poll(1s);
  }
  return (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / (turns * static_cast<double>(batch));
}

/// One end of an echo: receives (once or many times), sends back what came, and goes on.
struct end {
  struct half : operation {
    end* owner = nullptr;
  };
  backend* io = nullptr;
  half in;
  half out;
  char own[64] = {};
  bool pooled = false;
  std::uint16_t held = 0;
  long passes = 0;

  void open(backend& at, int fd, bool many) {
    io = &at;
    pooled = many;
    in.owner = out.owner = this;
    in.fd = out.fd = fd;
    in.code = many ? opcode::recv_many : opcode::recv;
    in.buffer = many ? nullptr : own;
    in.length = many ? 0 : sizeof own;
    in.on_complete = [](operation& op, const completion& report) noexcept {
      static_cast<half&>(op).owner->received(report);
    };
    out.code = opcode::send;
    out.on_complete = [](operation& op, const completion&) noexcept { static_cast<half&>(op).owner->sent(); };
    io->submit(in);
  }
  void received(const completion& report) {
    if (report.result <= 0) return;
    ++passes;
    out.buffer = pooled ? const_cast<std::byte*>(report.data) : reinterpret_cast<std::byte*>(own);
    out.length = static_cast<std::uint32_t>(report.result);
    held = report.buffer;
    io->submit(out);
    if (pooled && !report.more) io->submit(in);
  }
  void sent() {
    if (pooled)
      io->recycle(held);
    else
      io->submit(in);
  }
};

double ping_pong_ns(backend& io, std::size_t connections, bool many) {
  constexpr long passes = 200'000;
  std::vector<connection> wires(connections);
  std::vector<end> ends(connections * 2);
  for (std::size_t i = 0; i < connections; ++i) {
    ends[2 * i].open(io, wires[i].client, many);
    ends[2 * i + 1].open(io, wires[i].server, many);
  }
  char ball[64] = {};
  for (auto& wire : wires) require(::send(wire.client, ball, sizeof ball, 0) == sizeof ball, "send");
  const auto total = [&] {
    long sum = 0;
    for (const auto& each : ends) sum += each.passes;
    return sum;
  };
  while (total() < passes / 10) io.poll(1s);
  const long from = total();
  const double begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  long now = from;
  while (now - from < passes) {
    for (int i = 0; i < 64; ++i) io.poll(1s);
    now = total();
  }
  const double took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
  for (auto& wire : wires) ::shutdown(wire.client, SHUT_RDWR);
  while (io.in_flight() != 0) io.poll(10ms);
  return took / static_cast<double>(now - from);
}

/// The same with the clients on a thread of their own, as a server has it: CPU of the serving thread.
double serve_ns(const uring_limits& limits, std::size_t connections, bool many) {
  constexpr long passes = 150'000;
  std::vector<connection> wires(connections);
  std::atomic<bool> stop{false};
  std::thread clients([&] {
    const auto io = started({});
    std::vector<end> ends(connections);
    for (std::size_t i = 0; i < connections; ++i) ends[i].open(*io, wires[i].client, true);
    char ball[64] = {};
    for (auto& wire : wires) require(::send(wire.client, ball, sizeof ball, 0) == sizeof ball, "send");
    while (!stop.load()) io->poll(1ms);
    for (auto& wire : wires) ::shutdown(wire.client, SHUT_RDWR);
    while (io->in_flight() != 0) io->poll(10ms);
  });
  const auto io = started(limits);
  std::vector<end> ends(connections);
  for (std::size_t i = 0; i < connections; ++i) ends[i].open(*io, wires[i].server, many);
  const auto total = [&] {
    long sum = 0;
    for (const auto& each : ends) sum += each.passes;
    return sum;
  };
  while (total() < passes / 10) io->poll(1s);
  const long from = total();
  const double begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  long now = from;
  while (now - from < passes) {
    for (int i = 0; i < 64; ++i) io->poll(1s);
    now = total();
  }
  const double took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
  stop.store(true);
  while (io->in_flight() != 0) io->poll(10ms);
  clients.join();
  return took / static_cast<double>(now - from);
}

uring_limits ring_of(uring_ring kind) {
  uring_limits limits;
  limits.ring = kind;
  return limits;
}

void measure_rings(table& out) {
  constexpr std::pair<uring_ring, const char*> kinds[] = {
      {uring_ring::deferred, "deferred"}, {uring_ring::cooperative, "cooperative"}, {uring_ring::plain, "plain"}};
  for (int round = 0; round < rounds; ++round) {
    for (const auto& [kind, name] : kinds) {
      const auto io = started(ring_of(kind));
      out.add(std::string("nop_cpu_") + name, nop_ns(*io));
    }
    for (const auto& [kind, name] : kinds) {
      for (const std::size_t connections : {1, 64}) {
        for (const bool many : {true, false}) {
          const auto io = started(ring_of(kind));
          out.add("pass_64B_cpu_" + std::string(name) + (many ? "_multishot_c" : "_oneshot_c") +
                      std::to_string(connections),
                  ping_pong_ns(*io, connections, many));
          out.add("serve_64B_cpu_" + std::string(name) + (many ? "_multishot_c" : "_oneshot_c") +
                      std::to_string(connections),
                  serve_ns(ring_of(kind), connections, many));
        }
      }
    }
  }
}

// --- receiving a stream of 64 KiB writes: CPU per byte of the receiving thread, the sender being another

struct sink {
  struct intake : operation {
    sink* owner = nullptr;
  };
  backend* io = nullptr;
  intake in;
  std::vector<char> own;
  std::uint64_t bytes = 0;
  unsigned char check = 0;
  bool over = false;

  void open(backend& at, int fd, std::size_t own_size) {
    io = &at;
    own.resize(own_size);
    in.owner = this;
    in.fd = fd;
    in.code = own_size == 0 ? opcode::recv_many : opcode::recv;
    in.buffer = own.data();
    in.length = static_cast<std::uint32_t>(own_size);
    in.on_complete = [](operation& op, const completion& report) noexcept {
      static_cast<intake&>(op).owner->received(report);
    };
    io->submit(in);
  }
  void received(const completion& report) {
    if (report.result > 0) {
      bytes += static_cast<std::uint64_t>(report.result);
      const void* data = own.empty() ? static_cast<const void*>(report.data) : own.data();
      check ^= *static_cast<const unsigned char*>(data);
      if (own.empty()) io->recycle(report.buffer);
    }
    over = report.result <= 0 && report.result != -ENOBUFS;
    if (!over && !report.more) io->submit(in);
  }
};

/// @return the receiving thread's CPU milliseconds per gigabyte
double stream_ms_per_gb(const backend_options& options, std::size_t own_size) {
  constexpr std::uint64_t total = 1ull << 30;
  const auto io = started({}, options);
  connection wire;
  std::thread sender([&] {
    std::vector<char> chunk(65536, 'x');
    for (std::uint64_t sent = 0; sent < total;) {
      const auto n = ::send(wire.client, chunk.data(), chunk.size(), MSG_NOSIGNAL);
      require(n > 0, "send");
      sent += static_cast<std::uint64_t>(n);
    }
    ::shutdown(wire.client, SHUT_WR);
  });
  sink to;
  const double begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  to.open(*io, wire.server, own_size);
  while (!to.over) io->poll(1s);
  const double took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
  sender.join();
  return took / 1e6 / (static_cast<double>(to.bytes) / 1e9);
}

void measure_receiving(table& out) {
  for (int round = 0; round < rounds; ++round) {
    for (const std::size_t own : {65536, 262144}) {
      out.add("stream_cpu_ms_per_GB_oneshot_" + std::to_string(own / 1024) + "K", stream_ms_per_gb({}, own));
    }
    for (const auto& [buffers, size] : {std::pair{512u, 4096u}, {64u, 4096u}, {64u, 65536u}, {8u, 65536u}}) {
      backend_options options;
      options.buffers = buffers;
      options.buffer_size = size;
      out.add("stream_cpu_ms_per_GB_multishot_" + std::to_string(buffers) + "x" + std::to_string(size / 1024) + "K",
              stream_ms_per_gb(options, 0));
    }
  }
}

// --- waking: two workers that wake each other in turn, and what the call costs whoever makes it

struct wake_figures {
  double latency = 0;  // from the call to the return of the other's poll
  double call = 0;     // time inside wake()
  double cpu = 0;      // of both threads together
};

struct alignas(64) mailbox {
  std::atomic<backend*> owner{nullptr};
  std::atomic<long> turn{0};
  std::atomic<double> called{0};
};

constexpr double settling_ns = 20'000;

void spin(double ns) {
  const double until = clock_ns(CLOCK_MONOTONIC) + ns;
  while (clock_ns(CLOCK_MONOTONIC) < until) {
  }
}

double median(std::vector<double> samples) {
  std::nth_element(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
  return samples[samples.size() / 2];
}

/// @param parks the target waits in the kernel; otherwise it polls without waiting
wake_figures measure_wake(uring_wake method, bool parks, bool foreign) {
  constexpr long passes = 10'000;
  mailbox boxes[2];
  std::vector<double> latencies[2];
  std::vector<double> calls[2];
  std::atomic<int> done{0};
  const auto worker = [&](int me) {
    uring_limits limits;
    limits.wake = method;
    const auto io = started(limits);
    mailbox& mine = boxes[me];
    mailbox& others = boxes[1 - me];
    mine.owner.store(io.get());
    while (others.owner.load() == nullptr) std::this_thread::yield();
    for (long pass = 1; pass <= passes; ++pass) {
      if (me == 1 || pass > 1) {
        while (mine.turn.load(std::memory_order_acquire) < pass) io->poll(parks ? 1s : 0ns);
        latencies[me].push_back(clock_ns(CLOCK_MONOTONIC) - mine.called.load(std::memory_order_relaxed));
      }
      if (parks) spin(settling_ns);  // the other gets into the kernel, so that it is woken and not caught on the way
      const double begin = clock_ns(CLOCK_MONOTONIC);
      others.called.store(begin, std::memory_order_relaxed);
      others.turn.store(me == 0 ? pass : pass + 1, std::memory_order_release);
      others.owner.load()->wake(foreign ? nullptr : io.get());
      calls[me].push_back(clock_ns(CLOCK_MONOTONIC) - begin);
    }
    ++done;
    while (done.load() < 2) io->poll(0ns);
  };
  const double begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  std::thread first(worker, 0);
  std::thread second(worker, 1);
  first.join();
  second.join();
  wake_figures figures;
  figures.cpu = (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin) / (2.0 * passes) - (parks ? settling_ns : 0);
  figures.latency = median(latencies[1]);
  figures.call = median(calls[0]);
  return figures;
}

void measure_waking(table& out) {
  struct way {
    uring_wake method;
    bool parks;
    bool foreign;
    const char* name;
  };
  constexpr way ways[] = {
      {uring_wake::event, true, false, "parked_event"},     {uring_wake::message, true, false, "parked_message"},
      {uring_wake::direct, true, false, "parked_direct"},   {uring_wake::best, true, true, "parked_foreign_best"},
      {uring_wake::event, false, false, "polling_event"},   {uring_wake::message, false, false, "polling_message"},
      {uring_wake::direct, false, false, "polling_direct"},
  };
  for (int round = 0; round < rounds; ++round) {
    for (const auto& each : ways) {
      const auto figures = measure_wake(each.method, each.parks, each.foreign);
      out.add(std::string("wake_latency_") + each.name, figures.latency);
      out.add(std::string("wake_call_") + each.name, figures.call);
      if (each.parks) out.add(std::string("wake_cpu_") + each.name, figures.cpu);
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string part = count > 1 ? arguments[1] : "all";
  if (part != "all" && part != "ring" && part != "wake" && part != "receive") {
    std::fprintf(stderr, "usage: %s [all|ring|wake|receive]\n", arguments[0]);
    return 2;
  }
  std::fputs(uring_report().c_str(), stderr);
  if (!uring_available()) return 1;
  table out;
  if (part == "all" || part == "ring") measure_rings(out);
  if (part == "all" || part == "receive") measure_receiving(out);
  out.print();
  if (part == "all" || part == "wake") measure_waking(out);
  out.print();
}
