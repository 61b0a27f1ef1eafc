// tests/net/graceful_restart_test.cpp: a server is replaced by a new process again and again while clients use it, and
// not one request fails: of keep-alive connections, of one-shot ones, of those that have connected and not yet asked,
// of slow handlers. The server is examples/graceful_restart. What it rests on, a server that lets idle connections ask
// once more, is tested alone as well.
//
// What is promised: a request that is sent on a connection within the idle grace after the server began to close, and
// every connection that is made, is answered; the last response on a connection says `Connection: close`. What is
// pipelined behind that one has to be asked again (RFC 9112 9.3.2), and so has what is sent at the very moment when an
// idle connection's time is up: no server can promise more. (C0-PROC-32, C3-MC-28, C4-PR-23, C4-IQ-35.)
#include <weir/core/loop.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/inherited_listeners.hpp>

#include "tests/support/files.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/programs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::net {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ::testing::HasSubstr;
using ::testing::Not;

// ---- a server that closes

/// "/closing" is answered once the server closes.
task<void> hello(http::request& req, http::response& res) {
  while (req.path() == "/closing" && !req.server_closing()) co_await immediate();
  co_await res.end("hello");
}

constexpr std::string_view question_for_the_end = "GET /closing HTTP/1.1\r\nHost: x\r\n\r\n";

constexpr std::string_view question = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(IdleGrace, lets_every_open_connection_ask_once_more) {
  running_server server(hello);
  auto used = server.connect();
  EXPECT_EQ(used.ask(question).header("Connection"), "(none)");
  auto fresh = server.connect();
  auto half = server.connect();
  half.send(question.substr(0, 10));
  auto witness = server.connect();
  witness.send(question_for_the_end);
  server->close({.grace = 60s, .idle_grace = 60s});
  EXPECT_EQ(witness.read_reply().header("Connection"), "close");
  for (auto* each : {&used, &fresh}) {
    auto reply = each->ask(question);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.header("Connection"), "close");
    EXPECT_TRUE(each->closed());
  }
  half.send(question.substr(10));
  EXPECT_EQ(half.read_reply().header("Connection"), "close");
  for (auto* each : {&used, &fresh, &half, &witness}) each->close();
  server.join();
  EXPECT_EQ(server.statistics().open, 0U);
  EXPECT_EQ(server.statistics().requests, 5U);
}

TEST(IdleGrace, ends_with_a_quiet_close) {
  running_server server(hello);
  auto used = server.connect();
  used.ask(question);
  auto fresh = server.connect();
  server->close({.grace = 60s, .idle_grace = 20ms});
  for (auto* each : {&used, &fresh}) {
    EXPECT_TRUE(each->closed());
    EXPECT_FALSE(each->was_reset());
  }
  server.join();
}

TEST(IdleGrace, is_over_with_the_grace_at_the_latest) {
  running_server server(hello);
  auto idle = server.connect();
  idle.ask(question);
  server->close({.grace = 20ms, .idle_grace = 60s});
  EXPECT_TRUE(idle.closed());
  server.join();
}

// ---- a server that is replaced

/// The example, in whatever process it runs by now, and what it prints.
class restarting_server {
 public:
  /// @param backend for WEIR_BACKEND
  restarting_server(const std::string& program, const std::string& backend) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    out_ = ::fdopen(ends[0], "r");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::string setting = "WEIR_BACKEND=" + backend;
    std::vector<char*> environment = {setting.data()};
    for (char** each = environ; *each != nullptr; ++each) {
      if (!std::string_view(*each).starts_with("WEIR_BACKEND=")) environment.push_back(*each);
    }
    environment.push_back(nullptr);
    std::string path = program, port = "0", handover = dir_ / "handover";
    char* arguments[] = {path.data(), port.data(), handover.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&process_, path.c_str(), &actions, nullptr, arguments, environment.data()), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    first_ = process_;
    auto line = await("serving on ");
    port_ = static_cast<std::uint16_t>(std::stoi(line.substr(line.rfind(':') + 1)));
  }
  restarting_server(const restarting_server&) = delete;
  restarting_server& operator=(const restarting_server&) = delete;
  ~restarting_server() {
    if (first_ > 0) end();
    std::fclose(out_);
  }

  address where() const { return address::loopback_ipv4(port_); }

  /// Returns when the new process serves; the old one may still be draining.
  void restart(int number) {
    ASSERT_EQ(::kill(process_, number), 0);
    await("taken over");
  }

  /// Ends it. @return how many requests all its processes have counted
  std::uint64_t end() {
    ::kill(process_, SIGTERM);
    while (next_line()) {
    }
    EXPECT_EQ(::waitpid(std::exchange(first_, 0), &status_, 0) > 0, true);
    EXPECT_EQ(status_, 0);
    return requests_;
  }

  const std::string& log() const { return log_; }

 private:
  std::string await(std::string_view text) {
    for (;;) {
      auto line = next_line();
      if (!line) {
        ADD_FAILURE() << "it ended: " << log_;
        return ":0";
      }
      if (line->find(text) == std::string::npos) continue;
      process_ = std::stoi(line->substr(1));
      return line->substr(0, line->find(", taken over"));
    }
  }

  std::optional<std::string> next_line() {
    char piece[512];
    if (std::fgets(piece, sizeof piece, out_) == nullptr) return std::nullopt;
    std::string line(piece, std::strcspn(piece, "\n"));
    log_ += line + "\n";
    if (auto at = line.find("ended after "); at != std::string::npos) requests_ += std::stoull(line.substr(at + 12));
    return line;
  }

  temporary_directory dir_;
  std::FILE* out_ = nullptr;
  pid_t process_ = 0;
  pid_t first_ = 0;
  int status_ = -1;
  std::uint16_t port_ = 0;
  std::uint64_t requests_ = 0;
  std::string log_;
};

/// Clients that ask until they are told to stop, each in a thread of its own, and check every answer.
class clients {
 public:
  explicit clients(address where) : where_(where) {
    for (int i = 0; i < 4; ++i) add([this, i] { keep_asking(i); });
    for (int i = 0; i < 3; ++i) add([this] { ask_once(); });
    add([this] { connect_early(); });
  }
  ~clients() { stop(); }

  /// Waits until that many more requests have been answered.
  void go_on_for(std::uint64_t requests) {
    auto until = answered_ + requests;
    for (auto now = answered_.load(); now < until && failures().empty(); now = answered_.load()) answered_.wait(now);
  }

  void stop() {
    stopping_ = true;
    for (auto& each : threads_) each.join();
    threads_.clear();
  }

  std::uint64_t answered() const { return answered_; }
  std::size_t processes() {
    std::lock_guard lock(mutex_);
    return processes_.size();
  }
  std::string failures() {
    std::lock_guard lock(mutex_);
    return failures_;
  }

 private:
  void add(std::function<void()> ask) {
    threads_.emplace_back([this, ask = std::move(ask)] {
      while (!stopping_) {
        try {
          ask();
        } catch (const std::exception& e) {
          std::lock_guard lock(mutex_);
          failures_ += std::string(e.what()) + "\n";
          stopping_ = true;
          ++answered_;
          answered_.notify_all();
        }
      }
    });
  }

  http_reply ask(http_client& over, const std::string& request, const std::string& body) {
    if (!over.send(request)) throw std::runtime_error("the server had closed");
    auto reply = over.read_reply();
    auto process = reply.header("X-Process");
    auto expected = body.empty() ? "Hello from " + process + "\n" : body;
    if (reply.status != 200 || reply.body != expected) throw std::runtime_error(reply.head + reply.body);
    {
      std::lock_guard lock(mutex_);
      processes_.insert(process);
    }
    ++answered_;
    answered_.notify_all();
    return reply;
  }

  /// One connection as long as the server lets it.
  void keep_asking(int which) {
    std::string body(which == 0 ? 100'000 : 0, 'b');
    std::string request = which == 0   ? "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + body
                          : which == 1 ? "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
                                       : std::string(question);
    http_client over(where_);
    while (!stopping_ && ask(over, request, body).header("Connection") != "close") {
    }
  }

  void ask_once() {
    http_client over(where_);
    ask(over, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "");
    if (!over.closed() || over.was_reset()) throw std::runtime_error("not closed as it should be");
  }

  /// A connection that is open for a while before its first request, and between that and the second.
  void connect_early() {
    http_client over(where_);
    for (int i = 0; i < 2 && !stopping_; ++i) {
      if (over.hears_within(30ms)) throw std::runtime_error("closed before it was asked");
      if (ask(over, std::string(question), "").header("Connection") == "close") return;
    }
  }

  address where_;
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::set<std::string> processes_;
  std::string failures_;
  std::vector<std::thread> threads_;
};

class GracefulRestart : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (program_.empty()) GTEST_SKIP() << "examples/graceful_restart is not built";
  }
  const std::string program_ = example("graceful_restart");
};
INSTANTIATE_TEST_SUITE_P(Backend, GracefulRestart, ::testing::Values("auto", "epoll"));

TEST_P(GracefulRestart, fails_not_one_request) {
  restarting_server server(program_, GetParam());
  clients load(server.where());
  for (int round = 0; round < 6; ++round) {
    load.go_on_for(100);
    server.restart(round % 2 == 0 ? SIGUSR2 : SIGHUP);
  }
  load.go_on_for(100);
  load.stop();
  EXPECT_EQ(load.failures(), "");
  EXPECT_EQ(load.processes(), 7U);
  EXPECT_EQ(server.end(), load.answered()) << server.log();
}

TEST_P(GracefulRestart, shows_wrk_no_error) {
  if (output_of("command -v wrk").empty()) GTEST_SKIP() << "wrk is not installed; tests/run installs it";
  restarting_server server(program_, GetParam());
  std::string report;
  std::atomic<bool> over{false};
  std::thread wrk([&] {
    report = output_of("wrk -t1 -c32 -d2s http://" + server.where().to_string() + "/ 2>&1");
    over = true;
  });
  int restarts = 0;
  while (!over) {
    server.restart(SIGUSR2);
    ++restarts;
  }
  wrk.join();
  EXPECT_GE(restarts, 5);
  EXPECT_THAT(report, HasSubstr(" requests in 2"));
  EXPECT_THAT(report, Not(HasSubstr("Socket errors"))) << report;
  EXPECT_THAT(report, Not(HasSubstr("Non-2xx"))) << report;
  EXPECT_GT(server.end(), 100U);
}

// As by systemd, or by any parent: what connects before the program runs waits for it.
TEST_P(GracefulRestart, can_be_started_with_its_listener) {
  temporary_directory dir;
  tcp_listener listener("127.0.0.1:0");
  auto where = listener.local();
  http_client early(where);
  early.send(question);
  const passed_listener passed[] = {{"http", listener.fd()}};
  auto command = std::string("WEIR_BACKEND=") + GetParam() + R"( exec "$0" 1 "$1" > "$2")";
  auto child = start_with_listeners({"/bin/sh", "-c", command, program_, dir / "handover", dir / "log"}, passed);
  listener.close();
  EXPECT_EQ(early.read_reply().header("X-Process"), std::to_string(child));
  EXPECT_EQ(http_client(where).ask(question).status, 200);
  ::kill(child, SIGTERM);
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << file_content(dir / "log");
}

}  // namespace
}  // namespace weir::net
