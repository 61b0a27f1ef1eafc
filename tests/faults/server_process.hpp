// tests/faults/server_process.hpp: an HTTP server in a process of its own, which may be poorer than the test (limits,
// filters) and tells what it holds: tasks, operations, descriptors, handlers and bytes. After each fault the same is
// asked of it: everything back, and the next client served.
#pragma once

#include <weir/core/config.hpp>
#include <weir/core/runtime.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/files.hpp>
#include <tests/support/http_client.hpp>
#include <tests/support/run.hpp>
#include <tests/support/sockets.hpp>

#include <gtest/gtest.h>

#include <malloc.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#if WEIR_ASAN
#include <sanitizer/allocator_interface.h>
#endif

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace weir::testing {

/// Lets time pass for somebody else: the other process, the kernel.
inline void wait_a_little() { ::poll(nullptr, 0, 10); }

/// Waits until `done()`, 20 s at most.
template <class F>
bool eventually(F done) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    wait_a_little();
  }
  return true;
}

/// What a server holds while it answers this question and no other.
struct census {
  std::uint64_t tasks = 0;
  std::uint64_t operations = 0;
  std::uint64_t descriptors = 0;
  std::uint64_t handlers = 0;
  std::uint64_t bytes = 0;  ///< of memory that is allocated

  bool within(const census& before) const {
    return tasks <= before.tasks && operations <= before.operations && descriptors <= before.descriptors &&
           handlers <= before.handlers;
  }
  friend std::ostream& operator<<(std::ostream& to, const census& c) {
    return to << c.tasks << " tasks, " << c.operations << " operations, " << c.descriptors << " descriptors, "
              << c.handlers << " handlers, " << c.bytes << " bytes";
  }
};

struct server_setup {
  net::http::server_options options = {};
  unsigned workers = 2;
  backend_factory make_backend = make_default_backend;
  std::function<void()> before = {};  ///< called in the new process, first
};

class server_process {
 public:
  explicit server_process(server_setup setup = {}) {
    int control[2], answer[2];
    checked(::pipe2(control, O_CLOEXEC));
    checked(::pipe2(answer, O_CLOEXEC));
    std::fflush(nullptr);
    child_ = checked(::fork());
    if (child_ == 0) {
      ::close(control[1]);
      serve(setup, control[0], answer[1]);
    }
    ::close(control[0]);
    ::close(answer[1]);
    control_ = io::descriptor(control[1]);
    const io::descriptor port(answer[0]);
    std::string text;
    char part[256];
    for (ssize_t n; (n = ::read(port.get(), part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
    if (text.empty()) throw std::runtime_error("the server did not start");
    address_ = net::address::parse(text);
  }
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  ~server_process() {
    if (child_ > 0) stop();
  }

  const net::address& address() const { return *address_; }
  pid_t pid() const { return child_; }
  http_client connect(int receive_buffer = 0) const { return http_client(*address_, receive_buffer); }

  census count() const {
    auto client = connect();
    std::istringstream from(client.ask("GET /census HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").body);
    census all;
    from >> all.tasks >> all.operations >> all.descriptors >> all.handlers >> all.bytes;
    client.read_rest();
    return all;
  }

  /// The figures of a server that has warmed up: what it makes once is there.
  census settled() const {
    auto last = count();
    eventually([&] {
      auto next = count();
      return std::exchange(last, next).within(next) && next.within(last);
    });
    return count();
  }

  void serves_a_fresh_client() const {
    auto client = connect();
    const auto reply = client.ask("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "5");
  }

  /// Nothing is left of the fault, and the server serves.
  void is_as_before(const census& before) const {
    serves_a_fresh_client();
    census now;
    EXPECT_TRUE(eventually([&] { return (now = count()).within(before); })) << "before: " << before << "\nnow: " << now;
  }

  /// Ends the server in order.
  void stop() {
    control_.close();
    int status = -1;
    EXPECT_EQ(::waitpid(std::exchange(child_, -1), &status, 0) >= 0 ? status : -1, 0) << "the server ended badly";
  }

 private:
  static inline std::atomic<std::uint64_t> handlers_{0};
  struct in_handler {
    in_handler() { ++handlers_; }
    in_handler(const in_handler&) = delete;
    in_handler& operator=(const in_handler&) = delete;
    ~in_handler() { --handlers_; }
  };

  static std::uint64_t allocated() {
#if WEIR_ASAN
    return __sanitizer_get_current_allocated_bytes();
#else
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
#endif
  }

  static std::string own_census() {
    const auto all = metrics();
    std::uint64_t operations = 0;
    for (const auto& each : all.workers) operations += each.in_flight;
    std::ostringstream text;
    text << all.alive << ' ' << operations << ' ' << open_descriptors() << ' ' << handlers_ << ' ' << allocated();
    return text.str();
  }

  static task<void> handle(net::http::request& req, net::http::response& res) {
    const in_handler here;
    if (req.path() == "/census") {
      co_await res.end(own_census());
    } else if (req.path() == "/length") {
      std::uint64_t length = 0;
      for (auto piece = co_await req.read(); !piece.empty(); piece = co_await req.read()) length += piece.size();
      co_await res.end(std::to_string(length));
    } else if (req.path() == "/backend") {
      co_await res.end(backend_report());
    } else {  // /noise?bytes
      const std::string piece = noise(64 * 1024);
      auto left = std::strtoull(std::string(req.query()).c_str(), nullptr, 10);
      res.set("Content-Length", std::to_string(left));
      for (; left > 0; left -= std::min<std::uint64_t>(left, piece.size())) {
        co_await res.write(std::string_view(piece).substr(0, left));
      }
      co_await res.end();
    }
  }

  [[noreturn]] static void serve(const server_setup& setup, int control, int answer) {
    try {
      if (setup.before) setup.before();
      auto options = setup.options;
      options.on_error = [](const net::http::request&, const std::exception_ptr&) {};
      net::http::server server(handle, std::move(options));
      put_all(answer, server.listen("127.0.0.1:0").to_string());
      ::close(answer);
      std::thread waits([&] {
        char ignored;
        while (::read(control, &ignored, 1) < 0 && errno == EINTR) {
        }
        server.close(std::chrono::milliseconds(0));
      });
      auto run = with_workers(setup.workers);
      run.make_backend = setup.make_backend;
      runtime(run).block_on(server.serve());
      waits.join();
      std::fflush(nullptr);
      std::_Exit(0);
    } catch (const std::exception& why) {
      std::fprintf(stderr, "server process: %s\n", why.what());
      std::_Exit(1);
    }
  }

  static void put_all(int fd, std::string_view text) {
    if (::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::_Exit(1);
  }

  pid_t child_ = -1;
  io::descriptor control_;
  std::optional<net::address> address_;
};

inline std::string get_request(std::string_view target) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n\r\n";
}
inline std::string upload_head(std::uint64_t bytes) {
  return "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n";
}

}  // namespace weir::testing
