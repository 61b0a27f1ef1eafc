// tests/net/ordering_test.cpp: the promised orders of events that need a socket, over the loopback interface.
#include <weir/core/combine.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/net/tcp.hpp>

#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <vector>

namespace weir::net {
namespace {

using namespace weir::testing;
using log_lines = std::vector<std::string>;

task<std::string> read_to_end(tcp_stream& from) {
  std::string all;
  std::array<char, 256> part;
  while (auto n = co_await from.read(std::as_writable_bytes(std::span(part)))) all.append(part.data(), n);
  co_return all;
}

// An immediate that is queued when a connection is accepted runs before the peer's end is seen, and that before close.
TEST(SocketOrder, C3_ORD_07_an_immediate_queued_at_accept_comes_before_end_and_close) {
  log_lines log;
  run_with(1, [](log_lines* to) -> task<> {
    co_await with_scope([to](scope& s) -> task<> {
      tcp_listener listener("127.0.0.1:0");
      auto client = s.spawn_local([](address where) -> task<> { (co_await connect(where)).close(); }, listener.local());
      auto accepted = co_await listener.accept();
      set_immediate([to] { to->push_back("immediate"); });
      if ((co_await read_to_end(accepted)).empty()) to->push_back("end");
      accepted.close();
      queue_close([to] { to->push_back("close"); });
      co_await std::move(client);
    });
  }(&log));
  EXPECT_EQ(log, (log_lines{"immediate", "end", "close"}));
}

task<> shouting_echo(tcp_stream peer, log_lines* to) {
  to->push_back("Client connected");
  std::array<char, 256> part;
  while (auto n = co_await peer.read(std::as_writable_bytes(std::span(part)))) {
    std::string said(part.data(), n);
    while (!said.empty() && std::isspace(static_cast<unsigned char>(said.back())) != 0) said.pop_back();
    to->push_back("Received: " + said);
    std::string upper = said;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
    co_await peer.write("Echo: " + upper + "\n");
    if (upper != "EXIT") continue;
    co_await peer.write("Goodbye!\n");
    co_await peer.shutdown_write();
  }
  to->push_back("Client disconnected");
}

TEST(SocketOrder, C3_ORD_26_a_client_that_says_exit_reads_its_echo_the_farewell_and_the_end) {
  log_lines log;
  std::string heard;
  run_with(1, [](log_lines* to, std::string* answer) -> task<> {
    co_await with_scope([to, answer](scope& s) -> task<> {
      tcp_listener listener("127.0.0.1:0");
      auto client = s.spawn_local(
          [](address where, std::string* into) -> task<> {
            auto socket = co_await connect(where);
            co_await socket.write("exit\n");
            *into = co_await read_to_end(socket);
          },
          listener.local(), answer);
      co_await shouting_echo(co_await listener.accept(), to);
      co_await std::move(client);
    });
  }(&log, &heard));
  EXPECT_EQ(heard, "Echo: EXIT\nGoodbye!\n");
  EXPECT_EQ(log, (log_lines{"Client connected", "Received: exit", "Client disconnected"}));
}

}  // namespace
}  // namespace weir::net
