// tests/net/http_upgrade_test.cpp: connections that leave HTTP: upgrades and CONNECT, accepted, passed over and
// refused; the bytes that came with the request; and how such a connection ends.
#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_raw_stream.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/http_client.hpp>
#include <tests/support/sockets.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::http_client;
using ::testing::IsEmpty;
using testing::running_server;
using ::testing::StartsWith;

const std::string ask_echo = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/2, echo\r\n\r\n";

/// Sends back what it gets, then says goodbye.
task<void> echo(raw_stream& stream) {
  for (;;) {
    auto piece = co_await stream.next();
    if (piece.empty()) break;
    co_await stream.write(piece);
  }
  co_await stream.write("bye");
}

task<void> upgrade_to_echo(request& req, response& res) {
  if (!req.wants_upgrade()) co_return co_await res.end("plain");
  co_await echo(res.upgrade("echo"));
}

server_options with_connect() {
  server_options options;
  options.allow_connect = true;
  return options;
}

TEST(HttpUpgrade, hands_over_the_connection_with_the_bytes_that_came_along) {
  running_server server(upgrade_to_echo);
  auto client = server.connect();
  client.send(ask_echo + "head bytes");
  auto reply = client.read_reply();
  EXPECT_EQ(reply.head, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
  EXPECT_EQ(client.read(10), "head bytes");
  client.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.read(18), "GET / HTTP/1.1\r\n\r\n");
  client.end_writing();
  EXPECT_EQ(client.read_rest(), "bye");
  EXPECT_FALSE(client.was_reset());
  server.stop();
  EXPECT_EQ(server.statistics().requests, 1u);
  EXPECT_EQ(server.statistics().errors, 0u);
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

TEST(HttpUpgrade, comes_behind_the_answers_to_requests_before_it) {
  running_server server(upgrade_to_echo);
  auto client = server.connect();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n" + ask_echo + "x");
  EXPECT_EQ(client.read_reply().body, "plain");
  EXPECT_EQ(client.read_reply().status, 101);
  EXPECT_EQ(client.read(1), "x");
}

TEST(HttpUpgrade, waits_until_the_body_has_been_read) {
  std::string early;
  running_server server([&](request& req, response& res) -> task<void> {
    try {
      res.upgrade();
    } catch (const error& why) {
      early = why.code_name();
    }
    auto body = co_await req.text();
    auto& stream = res.upgrade();
    co_await stream.write(body + "|" + std::string(stream.head()));
  });
  auto client = server.connect();
  auto reply = client.ask(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 4\r\n\r\nbodyhead");
  EXPECT_EQ(reply.status, 101);
  EXPECT_EQ(reply.header("Upgrade"), "echo");
  EXPECT_EQ(client.read_rest(), "body|head");
  server.stop();
  EXPECT_EQ(early, "ERR_INVALID_STATE");
}

TEST(HttpUpgrade, keeps_every_byte_wherever_they_are_cut) {
  running_server server(upgrade_to_echo);
  const auto all = ask_echo + testing::noise(20000);
  for (std::size_t cut : {std::size_t{1}, ask_echo.size() - 1, ask_echo.size(), ask_echo.size() + 1, all.size() / 2}) {
    auto client = server.connect();
    client.send(std::string_view(all).substr(0, cut));
    std::this_thread::yield();
    client.send(std::string_view(all).substr(cut));
    EXPECT_EQ(client.read_reply().status, 101);
    EXPECT_TRUE(client.read(20000) == all.substr(ask_echo.size())) << cut;
  }
}

TEST(HttpUpgrade, reads_into_a_buffer_and_sends_large_pieces) {
  static const std::string large(300000, 'l');
  running_server server([](request&, response& res) -> task<void> {
    auto& stream = res.upgrade();
    std::array<std::byte, 3> part;
    std::string sizes;
    while (auto count = co_await stream.read(part)) sizes += std::to_string(count);
    co_await stream.send(std::as_bytes(std::span(large)));
    co_await stream.write(sizes);
    co_await stream.end();
    try {
      static_cast<void>(stream.write("more"));
    } catch (const error& why) {
      EXPECT_TRUE(why.is("ERR_STREAM_WRITE_AFTER_END"));
    }
  });
  auto client = server.connect();
  client.send(ask_echo + "12345");
  EXPECT_EQ(client.read_reply().status, 101);
  client.end_writing();
  EXPECT_TRUE(client.read_rest() == large + "32");
}

TEST(HttpUpgrade, for_a_client_that_ends_its_side_at_once_takes_the_option) {
  server_options options;
  options.allow_half_open = true;
  running_server server(upgrade_to_echo, options);
  auto client = server.connect();
  client.send(ask_echo + "12345");
  client.end_writing();
  EXPECT_EQ(client.read_reply().status, 101);
  EXPECT_EQ(client.read_rest(), "12345bye");
}

TEST(HttpUpgrade, lets_one_child_read_while_another_writes) {
  running_server server([](request&, response& res) -> task<void> {
    auto& stream = res.upgrade();
    co_await with_scope([&](scope& s) -> task<void> {
      s.spawn_local(
          [](raw_stream& from) -> task<void> {
            for (int i = 0; i < 1000; ++i) co_await from.write("tick\n");
          },
          std::ref(stream));
      while (!(co_await stream.next()).empty()) {
      }
    });
  });
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  client.send("something");
  EXPECT_EQ(client.read(5000).size(), 5000u);
  client.end_writing();
  EXPECT_EQ(client.read_rest(), "");
}

TEST(HttpUpgrade, that_no_handler_takes_is_a_request_like_any_other) {
  running_server server([](request&, response& res) -> task<void> { co_await res.end("served"); });
  auto client = server.connect();
  for (int i = 0; i < 2; ++i) {
    auto reply = client.ask(ask_echo);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "served");
  }
}

TEST(HttpUpgrade, is_only_for_those_who_ask_and_only_to_what_they_named) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    for (std::string_view protocol : {"", "other", "echo"}) {
      try {
        res.upgrade(protocol);
        codes.emplace_back("ok");
        co_return;
      } catch (const error& why) {
        codes.emplace_back(why.code_name());
      }
    }
    co_await res.end("plain");
    try {
      res.take_over();
    } catch (const error& why) {
      codes.emplace_back(why.code_name());
    }
  });
  EXPECT_EQ(server.connect().ask("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n").body, "plain");
  EXPECT_EQ(server.connect().ask("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").body, "plain");
  server.stop();
  EXPECT_THAT(codes,
              ElementsAre("ERR_INVALID_STATE", "ERR_INVALID_STATE", "ERR_INVALID_STATE", "ERR_STREAM_WRITE_AFTER_END",
                          "ERR_INVALID_STATE", "ERR_INVALID_STATE", "ERR_INVALID_STATE", "ERR_STREAM_WRITE_AFTER_END"));

  std::vector<std::string> more;
  running_server named([&](request&, response& res) -> task<void> {
    try {
      res.upgrade("other");
    } catch (const error& why) {
      more.emplace_back(why.code_name());
    }
    auto& stream = res.upgrade("ECHO");
    co_await stream.write("in");
  });
  auto client = named.connect();
  EXPECT_EQ(client.ask(ask_echo).status, 101);
  EXPECT_EQ(client.read_rest(), "in");
  named.stop();
  EXPECT_THAT(more, ElementsAre("ERR_INVALID_ARG_VALUE"));
}

TEST(HttpTakeOver, leaves_every_byte_to_the_handler) {
  running_server server([](request& req, response& res) -> task<void> {
    auto& stream = res.take_over();
    co_await stream.write("anything " + std::string(req.path()) + std::string(stream.head()));
  });
  auto client = server.connect();
  client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n behind");
  EXPECT_EQ(client.read_rest(), "anything /x behind");
}

// C3-NET-20
TEST(HttpConnect, opens_a_tunnel_for_a_handler_that_does) {
  std::string where;
  running_server server(
      [&](request& req, response& res) -> task<void> {
        where = req.host();
        co_await echo(res.upgrade());
      },
      with_connect());
  auto client = server.connect();
  client.send("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\nhead");
  auto reply = client.read_reply(true).head;
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, ::testing::Not(HasSubstr("Content-Length")));
  EXPECT_THAT(reply, ::testing::Not(HasSubstr("Connection")));
  EXPECT_EQ(client.read(4), "head");
  client.send("through the tunnel");
  EXPECT_EQ(client.read(18), "through the tunnel");
  client.end_writing();
  EXPECT_EQ(client.read_rest(), "bye");
  server.stop();
  EXPECT_EQ(where, "example.org:443");
}

TEST(HttpConnect, is_refused_by_handlers_in_words_of_their_own) {
  running_server server(
      [](request&, response& res) -> task<void> {
        std::string code;
        try {
          res.status(502).upgrade();
        } catch (const error& why) {
          code = why.code_name();
        }
        co_await res.end(code);
      },
      with_connect());
  auto client = server.connect();
  auto reply = client.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
  EXPECT_EQ(reply.status, 502);
  EXPECT_EQ(reply.body, "ERR_HTTP_INVALID_STATUS_CODE");
  EXPECT_TRUE(client.closed());
}

TEST(HttpConnect, gets_a_clear_answer_where_no_handler_wants_it) {
  running_server server([](request&, response& res) -> task<void> { co_await res.end("not this"); });
  auto client = server.connect();
  auto reply = client.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n");
  EXPECT_EQ(reply.status, 501);
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_THAT(reply.body, HasSubstr("CONNECT"));
  EXPECT_TRUE(client.closed());
}

// ---- ends

TEST(HttpUpgrade, outlives_a_close_for_as_long_as_the_grace) {
  running_server server(upgrade_to_echo);
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  server->close(10s);
  client.send("still here");
  EXPECT_EQ(client.read(10), "still here");
  client.end_writing();
  EXPECT_EQ(client.read_rest(), "bye");
  server.join();
}

TEST(HttpUpgrade, is_cancelled_when_the_grace_is_over) {
  bool cancelled_there = false;
  running_server server([&](request&, response& res) -> task<void> {
    auto& stream = res.upgrade();
    auto outcome = co_await attempt(echo(stream));
    cancelled_there = !outcome && outcome.failure().is_cancelled();
    outcome.value();
  });
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  server.stop(1ms);
  EXPECT_TRUE(cancelled_there);
  EXPECT_EQ(client.read_rest(), "");
}

TEST(HttpUpgrade, knows_none_of_the_timeouts_of_http) {
  server_options options;
  options.keep_alive_timeout = options.header_timeout = options.request_timeout = 20ms;
  running_server server(
      [](request&, response& res) -> task<void> {
        auto& stream = res.upgrade();
        co_await sleep(100ms);
        co_await echo(stream);
      },
      options);
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  client.send("late");
  EXPECT_EQ(client.read(4), "late");
}

TEST(HttpUpgrade, tells_a_client_that_breaks_off_from_one_that_ends) {
  std::string seen;
  running_server server([&](request&, response& res) -> task<void> {
    auto outcome = co_await attempt(echo(res.upgrade()));
    seen = outcome ? "ok" : std::string(outcome.failure().error().code_name());
    outcome.value();
  });
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  client.reset();
  server.stop(10s);
  EXPECT_EQ(seen, "ECONNRESET");
  EXPECT_EQ(server.statistics().disconnects, 1u);
}

TEST(HttpUpgrade, can_be_destroyed) {
  running_server server([](request&, response& res) -> task<void> {
    auto& stream = res.upgrade();
    co_await stream.write("first");
    static_cast<void>(co_await stream.next());
    stream.destroy();
    EXPECT_TRUE((co_await stream.next()).empty());
    EXPECT_THROW(static_cast<void>(stream.write("more")), error);
  });
  auto client = server.connect();
  client.send(ask_echo);
  EXPECT_EQ(client.read_reply().status, 101);
  EXPECT_EQ(client.read(5), "first");
  client.send("x");
  EXPECT_EQ(client.read_rest(), "");
  EXPECT_TRUE(client.was_reset());
}

}  // namespace
}  // namespace weir::net::http
