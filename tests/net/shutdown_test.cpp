// tests/net/shutdown_test.cpp: how a server program ends when it is told to: in order, once, within its time. Written
// with what there is for it: signals as a wait, a server that closes with grace, tasks in a row with a limit each.
#include <weir/core/abort.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/signal.hpp>
#include <weir/net/http_server.hpp>

#include "tests/support/http_client.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace weir::net {
namespace {

using namespace std::chrono_literals;
using log = std::vector<std::string>;

struct cleanup_task {
  std::string name;
  std::function<task<void>()> run;
  std::chrono::nanoseconds limit = 5s;
};

/// One after the other. @return the exit code
task<int> clean_up(std::vector<cleanup_task> tasks, log& said, std::chrono::nanoseconds limit = 30s) {
  auto all = [](const std::vector<cleanup_task>& tasks, log& said) -> task<void> {
    for (const auto& each : tasks) {
      said.push_back("Cleaning up: " + each.name);
      auto done = co_await attempt(timeout(each.limit, each.run()));
      if (!done && done.failure().is("ETIMEDOUT")) said.push_back("Timeout cleaning up " + each.name);
      std::move(done).value();
      said.push_back("Completed: " + each.name);
    }
  };
  auto done = co_await attempt(timeout(limit, all(tasks, said)));
  if (done) said.push_back("Graceful shutdown completed");
  co_return done ? 0 : 1;
}

task<int> run_until_told(std::vector<cleanup_task> tasks, log& said) {
  io::signals told({SIGTERM, SIGINT});
  co_return co_await with_scope([&](scope& s) -> task<int> {
    static_cast<void>(::raise(SIGTERM));
    auto which = co_await told.next();
    said.push_back(std::string("Received ") + (which == SIGTERM ? "SIGTERM" : "SIGINT") +
                   ", starting graceful shutdown...");
    auto ignored = s.spawn_local([&]() -> task<void> {
      for (;;) co_await told.next();
    });
    static_cast<void>(::raise(SIGINT));
    auto code = co_await clean_up(std::move(tasks), said);
    ignored.cancel();
    co_return code;
  });
}

cleanup_task quick(std::string name) {
  return {std::move(name), []() -> task<void> { co_await yield(); }};
}

// C4-ORD-18, C4-PR-10: in the order of adding, and a second signal meanwhile changes nothing.
TEST(C4_ORD_18, cleanup_tasks_end_one_after_the_other_and_then_the_program) {
  log said;
  auto code = testing::run_with(1, run_until_told({quick("http"), quick("database"), quick("cache")}, said));
  EXPECT_EQ(code, 0);
  EXPECT_EQ(said, (log{"Received SIGTERM, starting graceful shutdown...", "Cleaning up: http", "Completed: http",
                       "Cleaning up: database", "Completed: database", "Cleaning up: cache", "Completed: cache",
                       "Graceful shutdown completed"}));
}

// C4-SYS-16: a task that hangs is named when its time is up, what comes after it is not begun, and the code is 1.
TEST(C4_SYS_16, a_cleanup_task_that_hangs_is_cut_off_and_named) {
  log said;
  bool begun = false;
  bool ended = false;
  auto hangs = [&ended]() -> task<void> {
    auto slept = co_await attempt(sleep(1h));
    ended = true;
    std::move(slept).value();
  };
  auto after = [&begun]() -> task<void> {
    begun = true;
    co_return;
  };
  auto code = runtime(testing::virtual_time())
                  .block_on(clean_up({quick("http"), {"queue", hangs, 2s}, {"cache", after}}, said));
  EXPECT_EQ(code, 1);
  EXPECT_TRUE(ended) << "joined, not left behind";
  EXPECT_FALSE(begun);
  EXPECT_EQ(said, (log{"Cleaning up: http", "Completed: http", "Cleaning up: queue", "Timeout cleaning up queue"}));
  EXPECT_GE(testing::virtual_clock::elapsed(), 2s);
  EXPECT_LT(testing::virtual_clock::elapsed(), 3s);
}

/// A server with one request in progress, told to end by a signal. Its connections are counted by itself.
class closing_server {
 public:
  log said;
  int code = -1;

  closing_server() : server_([this](http::request& asked, http::response& answer) { return handle(asked, answer); }) {
    where_ = server_.listen("127.0.0.1:0");
    thread_ = std::thread([this] { code = testing::run_with(1, run()); });
    ready_.get_future().wait();
  }
  ~closing_server() { join(); }

  const address& where() const { return where_; }
  void wait_for_request() { asked_.get_future().wait(); }
  void wait_for_close() { stopped_.get_future().wait(); }
  void let_it_answer() { may_answer_.set(); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  task<void> handle(http::request&, http::response& answer) {
    asked_.set_value();
    co_await may_answer_.wait();
    said.push_back("answered");
    co_await answer.end("done");
  }

  task<int> run() {
    io::signals told({SIGTERM});
    co_return co_await with_scope([&](scope& s) -> task<int> {
      auto serving = s.spawn_local([this] { return server_.serve(); });
      ready_.set_value();
      co_await told.next();
      said.push_back("Graceful shutdown initiated...");
      server_.close(30s);
      said.push_back("Server stopped accepting new connections");
      co_await yield();
      stopped_.set_value();
      co_await std::move(serving);
      said.push_back("All connections closed");
      for (int i = 1; i <= 2; ++i) said.push_back("hook " + std::to_string(i));
      said.push_back("Graceful shutdown complete");
      co_return 0;
    });
  }

  http::server server_;
  address where_;
  event may_answer_;
  std::promise<void> ready_, asked_, stopped_;
  std::thread thread_;
};

// C2-ORD-11: what is in progress is answered, idle connections are closed, no new one is taken; the hooks run only
// when all connections have gone. Nobody looks once a second whether they have.
TEST(C2_ORD_11, a_server_ends_in_order_when_it_is_told_to) {
  closing_server program;
  testing::http_client busy(program.where());
  testing::http_client idle(program.where());
  busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  program.wait_for_request();
  ASSERT_EQ(::kill(::getpid(), SIGTERM), 0);
  program.wait_for_close();
  EXPECT_TRUE(idle.closed());
  EXPECT_THROW(testing::http_client(program.where()).ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::exception);
  program.let_it_answer();
  auto reply = busy.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "done");
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_TRUE(busy.closed());
  busy.close();  // for which the server lingers
  program.join();
  EXPECT_EQ(program.code, 0);
  EXPECT_EQ(program.said, (log{"Graceful shutdown initiated...", "Server stopped accepting new connections", "answered",
                               "All connections closed", "hook 1", "hook 2", "Graceful shutdown complete"}));
}

}  // namespace
}  // namespace weir::net
