#include <weir/core/abort.hpp>
#include <weir/core/blocking.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/http_writer.hpp>

#include <tests/support/http_client.hpp>
#include <tests/support/sockets.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::http_client;
using testing::http_reply;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::running_server;
using ::testing::StartsWith;

// How long nothing has to happen until a test believes that nothing will.
constexpr auto a_while = 150ms;

const std::string get_root = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n";
}

std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(more) + "\r\n" + std::string(body);
}

task<void> hello(request&, response& res) {
  res.set("Content-Type", "text/plain");
  co_await res.end("Hello, World!");
}

/// Answers with what the request was.
task<void> echo(request& req, response& res) {
  auto body = co_await req.text();
  res.set("X-Number", std::to_string(req.number()));
  co_await res.end(std::string(req.method_text()) + " " + std::string(req.target()) + " " + body);
}

/// Collects what the server reports, from any worker.
class reports {
 public:
  void note(const request& req, std::exception_ptr why) {
    std::lock_guard lock(mutex_);
    try {
      std::rethrow_exception(why);
    } catch (const std::exception& e) {
      all_.push_back(std::string(req.target()) + ": " + e.what());
    }
  }
  std::vector<std::string> all() {
    std::lock_guard lock(mutex_);
    return all_;
  }
  server_options options() {
    server_options made;
    made.on_error = [this](const request& req, std::exception_ptr why) { note(req, why); };
    return made;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> all_;
};

// ---- messages

TEST(HttpServer, answers_and_keeps_the_connection) {
  running_server server(hello);
  auto client = server.connect();
  for (int i = 0; i < 3; ++i) {
    auto reply = client.ask(get_root);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "Hello, World!");
    EXPECT_EQ(reply.header("Content-Length"), "13");
    EXPECT_EQ(reply.header("Connection"), "(none)");
  }
  client.close();
  server.stop();
  EXPECT_EQ(server.statistics().accepted, 1u);
  EXPECT_EQ(server.statistics().requests, 3u);
  EXPECT_EQ(server.statistics().open, 0u);
  EXPECT_EQ(server.statistics().errors, 0u);
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

TEST(HttpServer, sends_large_pieces_without_a_copy) {
  static const std::string large(300000, 'x');
  running_server server([](request&, response& res) -> task<void> {
    co_await res.write("begin ");
    co_await res.send(std::as_bytes(std::span(large)));
    co_await res.send({});
    co_await res.write(" middle ");
    co_await res.send(std::as_bytes(std::span(large)));
    co_await res.end(" end");
  });
  const auto whole = "begin " + large + " middle " + large + " end";
  auto client = server.connect();
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(client.ask(get_root).body == whole);
  EXPECT_EQ(client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true).status, 200);
  EXPECT_TRUE(server.connect().ask("GET / HTTP/1.0\r\n\r\n").body == whole);
}

TEST(HttpServer, sends_no_more_than_the_length_that_it_has_announced) {
  reports seen;
  running_server server(
      [](request&, response& res) -> task<void> {
        res.set("Content-Length", "5");
        co_await res.send(std::as_bytes(std::span("12345", 5)));
        co_await res.send(std::as_bytes(std::span("6", 1)));
      },
      seen.options());
  auto client = server.connect();
  EXPECT_EQ(client.ask(get_root).body, "12345");
  EXPECT_TRUE(client.closed());
  EXPECT_THAT(seen.all(), ElementsAre(HasSubstr("content-length")));
}

TEST(HttpServer, tells_the_handler_what_was_asked) {
  running_server server([](request& req, response& res) -> task<void> {
    co_await res.end(std::string(req.path()) + "|" + std::string(req.query()) + "|" + std::string(req.header("x-one")) +
                     "|" + std::string(req.header("absent")) + "|" + req.remote().host());
  });
  auto client = server.connect();
  EXPECT_EQ(client.ask(get("/a/b?c=d&e", "X-One: 1\r\n")).body, "/a/b|c=d&e|1||127.0.0.1");
  EXPECT_EQ(client.ask(get("/plain")).body, "/plain||||127.0.0.1");
}

TEST(HttpServer, dates_its_responses) {
  running_server server(hello);
  auto client = server.connect();
  auto before = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto date = client.ask(get_root).header("Date");
  auto after = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  std::set<std::string> possible;
  for (auto each = before - 1s; each <= after; each += 1s) possible.insert(format_http_date(each));
  EXPECT_TRUE(possible.contains(date)) << date;
}

TEST(HttpServer, answers_pipelined_requests_in_order_with_one_send) {
  std::vector<std::uint64_t> submissions;
  running_server server([&](request& req, response& res) -> task<void> {
    if (req.path() == "/count") submissions.push_back(weir::metrics().workers[0].io.submissions);
    co_await res.end(req.target());
  });
  auto client = server.connect();
  client.ask(get("/count"));
  std::string batch;
  for (int i = 0; i < 16; ++i) batch += get("/" + std::to_string(i));
  client.send(batch);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(client.read_reply().body, "/" + std::to_string(i));
  client.ask(get("/count"));
  server.stop();
  // One for the first answer, one for the batch, and the receive may have had to be armed again.
  EXPECT_LE(submissions[1] - submissions[0], 4u);
}

TEST(HttpServer, keeps_the_order_of_pipelined_requests_that_take_time) {
  running_server server([&](request& req, response& res) -> task<void> {
    if (req.number() % 2 == 1) co_await sleep(2ms);
    co_await res.write("n");
    co_await res.end(std::to_string(req.number()));
  });
  auto client = server.connect();
  std::string batch;
  for (int i = 1; i <= 9; ++i) batch += get_root;
  client.send(batch);
  for (int i = 1; i <= 9; ++i) EXPECT_EQ(client.read_reply().body, "n" + std::to_string(i));
}

TEST(HttpServer, reads_bodies_of_either_framing) {
  running_server server(echo);
  auto client = server.connect();
  EXPECT_EQ(client.ask(post("/p", "some text")).body, "POST /p some text");
  EXPECT_EQ(client
                .ask("PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "4\r\nsome\r\n5;ext=1\r\n text\r\n0\r\nX-Trailer: t\r\n\r\n")
                .body,
            "PUT /c some text");
  EXPECT_EQ(client.ask(post("/empty", "")).body, "POST /empty ");
  EXPECT_EQ(client.ask(get("/")).header("X-Number"), "4");
}

TEST(HttpServer, hands_over_trailers) {
  std::string trailer;
  running_server server([&](request& req, response& res) -> task<void> {
    while (!(co_await req.read()).empty()) {
    }
    trailer = req.trailers().first("x-sum").value_or("");
    co_await res.end();
  });
  auto client = server.connect();
  client.ask("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n");
  server.stop();
  EXPECT_EQ(trailer, "7");
}

TEST(HttpServer, streams_in_chunks_or_with_the_length_that_was_set) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/sized") res.set("Content-Length", "10");
    for (int i = 0; i < 5; ++i) co_await res.write("ab");
  });
  auto client = server.connect();
  auto chunked = client.ask(get("/"));
  EXPECT_EQ(chunked.header("Transfer-Encoding"), "chunked");
  EXPECT_EQ(chunked.body, "ababababab");
  auto sized = client.ask(get("/sized"));
  EXPECT_EQ(sized.header("Content-Length"), "10");
  EXPECT_EQ(sized.header("Transfer-Encoding"), "(none)");
  EXPECT_EQ(sized.body, "ababababab");
}

TEST(HttpServer, echoes_a_stream_while_it_arrives) {
  running_server server([](request& req, response& res) -> task<void> {
    for (;;) {
      auto piece = co_await req.read();
      if (piece.empty()) break;
      co_await res.write(piece);
    }
  });
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
  while (client.hears_within(30s) && client.receive()) {
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    break;
  }
  EXPECT_EQ(client.read_reply().body, "firstsecond");
}

TEST(HttpServer, sends_no_body_where_none_belongs) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/204") res.status(204);
    if (req.path() == "/304") res.status(304).set("ETag", "\"x\"");
    if (req.path() == "/length") {
      res.set("Content-Length", "1000");
      co_return;
    }
    if (req.path() == "/nothing") co_return;
    if (req.path() == "/stream") {
      co_await res.write("piece");
      co_return;
    }
    co_await res.end("body");
  });
  auto client = server.connect();
  auto head = client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true);
  EXPECT_EQ(head.header("Content-Length"), "4");
  EXPECT_EQ(client.ask("HEAD /length HTTP/1.1\r\nHost: a\r\n\r\n", true).header("Content-Length"), "1000");
  EXPECT_EQ(client.ask("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n", true).header("Content-Length"), "(none)");
  EXPECT_EQ(client.ask("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n", true).header("Transfer-Encoding"), "chunked");
  for (auto path : {"/204", "/304"}) {
    auto reply = client.ask(get(path));
    EXPECT_EQ(reply.header("Content-Length"), "(none)") << path;
    EXPECT_EQ(reply.header("Transfer-Encoding"), "(none)") << path;
  }
  EXPECT_EQ(client.ask(get("/")).body, "body");  // the framing is still whole
}

TEST(HttpServer, speaks_http_1_0_with_and_without_keep_alive) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/stream") {
      co_await res.write("one");
      co_await res.write("two");
    } else {
      co_await res.end("whole");
    }
  });
  auto plain = server.connect();
  auto reply = plain.ask("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.body, "whole");
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_TRUE(plain.closed());

  auto kept = server.connect();
  for (int i = 0; i < 2; ++i) {
    reply = kept.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(reply.header("Connection"), "keep-alive");
    EXPECT_EQ(reply.body, "whole");
  }
  reply = kept.ask("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");  // the end is the end of the stream
  EXPECT_EQ(reply.header("Transfer-Encoding"), "(none)");
  EXPECT_EQ(reply.body, "onetwo");
  EXPECT_FALSE(kept.was_reset());
}

TEST(HttpServer, closes_when_either_side_says_so) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/header") res.set("Connection", "close");
    if (req.path() == "/call") res.close_connection();
    co_await res.end("x");
  });
  for (auto request : {get("/", "Connection: close\r\n"), get("/header"), get("/call")}) {
    auto client = server.connect();
    auto reply = client.ask(request);
    EXPECT_EQ(reply.header("Connection"), "close") << request;
    EXPECT_EQ(reply.body, "x");
    EXPECT_TRUE(client.closed());
  }
}

TEST(HttpServer, closes_after_the_last_request_that_is_allowed) {
  server_options options;
  options.max_requests = 2;
  running_server server(hello, options);
  auto client = server.connect();
  client.send(get_root + get_root + get_root);
  EXPECT_EQ(client.read_reply().header("Connection"), "(none)");
  EXPECT_EQ(client.read_reply().header("Connection"), "close");
  EXPECT_TRUE(client.closed());
}

TEST(HttpServer, takes_requests_cut_anywhere) {
  running_server server(echo);
  const auto whole = post("/path?q=1", "a body", "X-Long-Header: with a value\r\n") +
                     "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nchunks\r\n0\r\n\r\n";
  auto client = server.connect();
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    client.send(std::string_view(whole).substr(0, cut));
    if (cut % 3 == 0) std::this_thread::yield();
    client.send(std::string_view(whole).substr(cut));
    ASSERT_EQ(client.read_reply().body, "POST /path?q=1 a body") << cut;
    ASSERT_EQ(client.read_reply().body, "POST /c chunks") << cut;
  }
  for (char each : whole) client.send({&each, 1});
  EXPECT_EQ(client.read_reply().body, "POST /path?q=1 a body");
  EXPECT_EQ(client.read_reply().body, "POST /c chunks");
}

TEST(HttpServer, serves_a_large_upload_and_a_large_download) {
  running_server server(
      [](request& req, response& res) -> task<void> { co_await res.end(co_await req.text(64 << 20)); });
  auto body = testing::noise(8 << 20);
  auto client = server.connect();
  std::thread sender([&] { client.send(post("/", body)); });
  auto reply = client.read_reply();
  sender.join();
  EXPECT_TRUE(reply.body == body);
  EXPECT_EQ(client.ask(get("/")).status, 200);
}

// ---- 100-continue

TEST(HttpServer, asks_for_the_body_only_when_the_handler_does) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/refuse") {
      co_await res.status(403).end("no");
    } else {
      co_await res.end(co_await req.text());
    }
  });
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 100);
  EXPECT_EQ(client.ask("body").body, "body");
  // With the body already there, nobody waits.
  EXPECT_EQ(client.ask(post("/", "body", "Expect: 100-continue\r\n")).status, 200);
  client.send("POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  auto refused = client.read_reply();
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.header("Connection"), "close");  // whether the body follows is the client's choice
  EXPECT_TRUE(client.closed());
}

TEST(HttpServer, answers_417_to_other_expectations) {
  running_server server(hello);
  auto client = server.connect();
  EXPECT_EQ(client.ask(post("/", "x", "Expect: the-unexpected\r\n")).status, 417);
  EXPECT_TRUE(client.closed());
}

// ---- limits on bodies

TEST(HttpServer, reads_past_a_small_body_that_nobody_wants) {
  running_server server(hello);
  auto client = server.connect();
  EXPECT_EQ(client.ask(post("/", std::string(100'000, 'x'))).body, "Hello, World!");
  EXPECT_EQ(client.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").status,
            200);
  EXPECT_EQ(client.ask(get_root).body, "Hello, World!");
}

TEST(HttpServer, closes_instead_of_reading_past_a_big_body) {
  running_server server(hello);
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  auto reply = client.read_reply();
  EXPECT_EQ(reply.body, "Hello, World!");
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_TRUE(client.closed());

  auto chunked = server.connect();
  chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(chunked.read_reply().body, "Hello, World!");
  auto chunk = "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  for (int i = 0; i < 100 && chunked.send(chunk); ++i) {
  }
  EXPECT_TRUE(chunked.closed());
}

TEST(HttpServer, does_not_answer_twice_when_a_body_that_is_skipped_is_bad) {
  running_server server(hello);
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 200);
  client.send("no chunk\r\n");
  EXPECT_TRUE(client.closed());
}

TEST(HttpServer, refuses_bodies_beyond_the_limits) {
  reports failures;
  auto options = failures.options();
  options.max_body = 100;
  running_server server([](request& req, response& res) -> task<void> { co_await res.end(co_await req.text(10)); },
                        options);
  struct row {
    const char* what;
    std::string request;
    int status;
  };
  const std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const row rows[] = {
      {"fits", post("/", "0123456789"), 200},
      {"longer than text(10), as announced", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", 413},
      {"longer than text(10), as it turns out", chunked + "b\r\n01234567890\r\n", 413},
      {"longer than max_body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", 413},
      {"beyond any number", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
      {"a bad chunk", chunked + "zz\r\n", 400},
  };
  for (auto& each : rows) {
    auto client = server.connect();
    EXPECT_EQ(client.ask(each.request).status, each.status) << each.what;
    if (each.status != 200) EXPECT_TRUE(client.closed()) << each.what;
  }
  server.stop();
  EXPECT_THAT(failures.all(), IsEmpty());  // no handler is to blame
  EXPECT_EQ(server.statistics().errors, 5u);
  EXPECT_EQ(server.statistics().handler_failures, 0u);
}

TEST(HttpServer, stops_a_client_whose_body_nobody_reads) {
  weir::event gate;
  std::atomic<std::size_t> got = 0;
  running_server server([&](request& req, response& res) -> task<void> {
    co_await gate.wait();
    for (;;) {
      auto piece = co_await req.read();
      if (piece.empty()) break;
      got += piece.size();
    }
    co_await res.end("all");
  });
  constexpr std::size_t size = 256 << 20;
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  std::string piece(1 << 20, 'x');
  auto sent = client.send_until_stuck(piece, size, a_while);
  EXPECT_LT(sent, 64u << 20);  // what the kernel buffers on both sides, no more
  gate.set();
  while (sent < size && client.send(std::string_view(piece).substr(0, std::min(piece.size(), size - sent)))) {
    sent += std::min(piece.size(), size - sent);
  }
  EXPECT_EQ(client.read_reply().body, "all");
  EXPECT_EQ(got, size);
}

TEST(HttpServer, serves_others_while_many_bodies_wait_unread) {
  weir::event gate;
  running_server server([&](request& req, response& res) -> task<void> {
    if (req.method() == method::post) co_await gate.wait();
    co_await res.end(std::to_string((co_await req.text()).size()));
  });
  // Each takes as many pooled receive buffers as one connection may, together more than there are.
  std::string body(100'000, 'x');
  std::vector<http_client> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(server.connect());
    clients.back().send(post("/", body));
  }
  auto other = server.connect();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(other.ask(get_root).body, "0");
  gate.set();
  for (auto& each : clients) EXPECT_EQ(each.read_reply().body, "100000");
}

// ---- back-pressure of responses

TEST(HttpServer, stops_a_handler_whose_client_does_not_read) {
  std::atomic<std::size_t> written = 0;
  weir::event go_on;
  std::promise<void> stuck;
  const auto piece = testing::noise(100'000);
  running_server server([&](request&, response& res) -> task<void> {
    bool waiting = false;
    for (int i = 0; i < 600; ++i) {
      auto room = co_await attempt(timeout(a_while, res.write(piece)));
      written += piece.size();
      if (room) continue;
      EXPECT_EQ(room.failure().code_name(), "ETIMEDOUT");
      if (!std::exchange(waiting, true)) stuck.set_value();
      co_await go_on.wait();
    }
  });
  auto client = server.connect(64 * 1024);
  client.send(get_root);
  stuck.get_future().wait();
  EXPECT_LT(written, 32u << 20);
  go_on.set();
  auto reply = client.read_reply();
  EXPECT_EQ(reply.body.size(), 600 * piece.size());
  bool right = true;
  for (int i = 0; i < 600; ++i) right = right && reply.body.compare(i * piece.size(), piece.size(), piece) == 0;
  EXPECT_TRUE(right);
}

TEST(HttpServer, stops_answering_a_client_that_asks_and_does_not_read) {
  std::atomic<std::size_t> answered = 0;
  const std::string body(50'000, 'x');
  running_server server([&](request&, response& res) -> task<void> {
    ++answered;
    static_cast<void>(res.end(body));  // a handler that does not wait is made to
    co_return;
  });
  auto client = server.connect(64 * 1024);
  std::string batch;
  for (int i = 0; i < 100; ++i) batch += get_root;
  auto sent = client.send_until_stuck(batch, 1 << 30, a_while);
  EXPECT_LT(sent, 64u << 20);
  EXPECT_LT(answered, 64'000'000 / body.size());
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.read_reply().body.size(), body.size());  // and on it goes
}

// ---- bad input

struct bad_input {
  const char* name;
  std::string request;
  int status;
};

class HttpServerRefuses : public ::testing::TestWithParam<bad_input> {};

TEST_P(HttpServerRefuses, and_closes) {
  running_server server(hello);
  auto client = server.connect();
  auto reply = client.ask(get_root + GetParam().request);
  EXPECT_EQ(reply.status, 200);  // what came before it
  reply = client.read_reply();
  EXPECT_EQ(reply.status, GetParam().status);
  EXPECT_EQ(reply.header("Connection"), "close");
  EXPECT_THAT(reply.header("Date"), HasSubstr("GMT"));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server.connect().ask(get_root).status, 200);  // the server lives on
  server.stop();
  EXPECT_EQ(server.statistics().errors, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Each, HttpServerRefuses,
    ::testing::ValuesIn(std::vector<bad_input>{
        {"noise", "\x01\x02\x03\r\n\r\n", 400},
        {"a_tls_hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(64, 'x'), 400},
        {"an_unknown_method", "FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"no_host", "GET / HTTP/1.1\r\n\r\n", 400},
        {"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        {"two_framings", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"two_lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400},
        {"a_blank_before_the_colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        {"a_bare_line_feed", "GET / HTTP/1.1\nHost: a\n\n", 400},
        {"an_unknown_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: squeezed, chunked\r\n\r\n", 501},
        {"another_version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"a_large_head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(17000, 'x') + "\r\n\r\n", 431},
        {"a_head_without_end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(40000, 'x'), 431},
        {"many_headers",
         [] {
           std::string made = "GET / HTTP/1.1\r\nHost: a\r\n";
           for (int i = 0; i < 2001; ++i) made += "x:\r\n";
           return made + "\r\n";
         }(),
         431},
        {"a_long_target", "GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
    }),
    [](const auto& info) { return std::string(info.param.name); });

// ---- what handlers do wrong

TEST(HttpServer, refuses_what_would_split_or_contradict_a_response) {
  struct row {
    const char* code;
    std::function<task<void>(response&)> wrong;
  };
  const std::vector<row> rows = {
      {"ERR_INVALID_CHAR", [](response& r) -> task<void> { co_return (void) r.set("X", "a\r\nSet-Cookie: b"); }},
      {"ERR_INVALID_CHAR", [](response& r) -> task<void> { co_return (void) r.append("X", "a\nb"); }},
      {"ERR_INVALID_CHAR", [](response& r) -> task<void> { co_return (void) r.set("X", std::string("a\0b", 3)); }},
      {"ERR_INVALID_HTTP_TOKEN", [](response& r) -> task<void> { co_return (void) r.set("X Y", "a"); }},
      {"ERR_INVALID_HTTP_TOKEN", [](response& r) -> task<void> { co_return (void) r.set("", "a"); }},
      {"ERR_INVALID_HTTP_TOKEN", [](response& r) -> task<void> { co_return (void) r.set("X:\r\nY", "a"); }},
      {"ERR_INVALID_CHAR", [](response& r) -> task<void> { co_return (void) r.status(200, "OK\r\nX: y"); }},
      {"ERR_HTTP_INVALID_STATUS_CODE", [](response& r) -> task<void> { co_return (void) r.status(99); }},
      {"ERR_HTTP_INVALID_STATUS_CODE", [](response& r) -> task<void> { co_return (void) r.status(100); }},
      {"ERR_HTTP_INVALID_STATUS_CODE", [](response& r) -> task<void> { co_return (void) r.status(1000); }},
      {"ERR_HTTP_CONTENT_LENGTH_MISMATCH",
       [](response& r) -> task<void> { co_await r.set("Content-Length", "3").end("four"); }},
      {"ERR_HTTP_CONTENT_LENGTH_MISMATCH",
       [](response& r) -> task<void> { co_await r.set("Content-Length", "3").write("four"); }},
      {"ERR_HTTP_CONTENT_LENGTH_MISMATCH",
       [](response& r) -> task<void> { co_await r.set("Content-Length", "4, 4").end("four"); }},
      {"ERR_HTTP_INVALID_HEADER_VALUE",
       [](response& r) -> task<void> { co_await r.set("Transfer-Encoding", "gzip").end("four"); }},
  };
  running_server server([&](request& req, response& res) -> task<void> {
    auto outcome =
        co_await attempt(rows[static_cast<std::size_t>(std::stoi(std::string(req.path().substr(1))))].wrong(res));
    res.set("X-Code", outcome ? "ok" : outcome.failure().code_name());
    EXPECT_FALSE(res.headers_sent());
    res.remove("Content-Length").remove("Transfer-Encoding");
    co_await res.end("still whole");
  });
  auto client = server.connect();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto reply = client.ask(get("/" + std::to_string(i)));
    EXPECT_EQ(reply.body, "still whole") << i;
    EXPECT_EQ(reply.header("X"), "(none)") << i;
    EXPECT_EQ(reply.header("X-Code"), rows[i].code) << i;
  }
}

TEST(HttpServer, tells_handlers_that_it_is_too_late) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    auto note = [&](auto&& wrong) {
      try {
        wrong();
        codes.push_back("ok");
      } catch (const error& e) {
        codes.emplace_back(e.code_name());
      }
    };
    co_await res.write("a");
    note([&] { res.set("X", "y"); });
    note([&] { res.append("X", "y"); });
    note([&] { res.remove("X"); });
    note([&] { res.status(404); });
    co_await res.end("b");
    note([&] { static_cast<void>(res.write("c")); });
    note([&] { static_cast<void>(res.end()); });
    EXPECT_TRUE(res.headers_sent());
    EXPECT_TRUE(res.ended());
  });
  EXPECT_EQ(server.connect().ask(get_root).body, "ab");
  server.stop();
  EXPECT_THAT(codes, ElementsAre("ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT",
                                 "ERR_HTTP_HEADERS_SENT", "ERR_STREAM_WRITE_AFTER_END", "ERR_STREAM_WRITE_AFTER_END"));
}

TEST(HttpServer, sets_appends_replaces_and_removes_headers) {
  running_server server([](request&, response& res) -> task<void> {
    res.set("A", "1").set("B", "2").append("b", "3").set("a", "4").set("C", "5").remove("c");
    res.set("D", res.get("A"));
    for (int i = 0; i < 50; ++i) res.append("E", res.get("D"));  // views of its own text
    EXPECT_EQ(res.get("c"), "");
    co_await res.status(418, "Short and stout").end();
  });
  auto reply = server.connect().ask(get_root);
  EXPECT_THAT(reply.head,
              StartsWith("HTTP/1.1 418 Short and stout\r\nB: 2\r\nb: 3\r\na: 4\r\nD: 4\r\nE: 4\r\nE: 4\r\n"));
}

TEST(HttpServer, cuts_a_response_that_stays_behind_its_length) {
  reports failures;
  running_server server(
      [](request& req, response& res) -> task<void> {
        res.set("Content-Length", "10");
        co_await res.write("12345");
        if (req.path() == "/more") co_await res.write("123456");
      },
      failures.options());
  for (auto path : {"/less", "/more"}) {
    auto client = server.connect();
    client.send(get(path));
    EXPECT_THAT(client.read_rest(), ::testing::EndsWith("\r\n\r\n12345")) << path;
  }
  server.stop();
  EXPECT_THAT(failures.all(), ElementsAre(HasSubstr("/less: Response body's content-length does not match"),
                                          HasSubstr("/more: Response body's content-length does not match")));
}

TEST(HttpServer, answers_500_for_a_handler_that_fails_and_lives_on) {
  reports failures;
  running_server server(
      [](request& req, response& res) -> task<void> {
        if (req.path() == "/now") throw std::runtime_error("at once");
        res.set("X-Lost", "1");
        co_await sleep(1ms);
        if (req.path() == "/later") throw std::runtime_error("after a while");
        if (req.path() == "/int") throw 7;
        co_await res.write("a part");
        throw std::runtime_error("half-way");
      },
      failures.options());
  for (auto path : {"/now", "/later"}) {
    auto client = server.connect();
    auto reply = client.ask(get(path));
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.header("X-Lost"), "(none)");
    EXPECT_THAT(reply.body, Not(HasSubstr("at once")));  // nobody's business
    EXPECT_TRUE(client.closed());
  }
  auto head = server.connect();
  EXPECT_EQ(head.ask("HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n", true).status, 500);
  EXPECT_TRUE(head.closed());
  auto client = server.connect();
  client.send(get("/part"));
  EXPECT_THAT(client.read_rest(), ::testing::EndsWith("6\r\na part\r\n"));  // and no last chunk
  server.stop();
  EXPECT_THAT(failures.all(),
              ElementsAre("/now: at once", "/later: after a while", "/now: at once", "/part: half-way"));
  EXPECT_EQ(server.statistics().handler_failures, 4u);
  EXPECT_EQ(server.statistics().errors, 3u);
}

TEST(HttpServer, resets_a_stream_without_framing_that_fails) {
  reports failures;
  running_server server(
      [](request&, response& res) -> task<void> {
        co_await res.write("a part");
        throw std::runtime_error("half-way");
      },
      failures.options());
  auto client = server.connect();
  client.send("GET / HTTP/1.0\r\n\r\n");
  client.read_rest();
  EXPECT_TRUE(client.was_reset());  // an ordinary end would look like success
}

TEST(HttpServer, survives_handlers_that_are_no_coroutines_and_hooks_that_throw) {
  server_options options;
  std::atomic<int> calls = 0;
  options.on_error = [&](const request&, std::exception_ptr) {
    ++calls;
    throw std::runtime_error("in the hook");
  };
  running_server server([](request&, response&) -> task<void> { throw std::runtime_error("no coroutine"); }, options);
  EXPECT_EQ(server.connect().ask(get_root).status, 500);
  EXPECT_EQ(server.connect().ask(get_root).status, 500);
  server.stop();
  EXPECT_EQ(calls, 2);
  EXPECT_THROW(http::server({}), error);
}

// ---- clients that leave

enum class way { end, reset };
enum class at { sleep, body, write, scope, race, timeout };

class HttpServerDisconnect : public ::testing::TestWithParam<std::tuple<way, at>> {};

TEST_P(HttpServerDisconnect, cancels_the_handler_once) {
  auto [how, where] = GetParam();
  std::atomic<int> cancelled = 0;
  std::promise<void> started, ended;
  reports failures;
  running_server server(
      [&, where = where](request& req, response& res) -> task<void> {
        auto wait = [&]() -> task<void> {
          std::string piece(100'000, 'x');
          switch (where) {
            case at::sleep: co_await sleep(1h); break;
            case at::body: co_await req.read(); break;
            case at::write:
              for (;;) co_await res.write(piece);
            case at::scope:
              co_await with_scope([](scope& s) -> task<void> {
                s.spawn([]() -> task<void> { co_await sleep(1h); });
                s.spawn_local([]() -> task<void> { co_await sleep(1h); });
                co_await sleep(1h);
              });
              break;
            case at::race: co_await race(sleep(1h), sleep(2h)); break;
            case at::timeout: co_await timeout(1h, sleep(2h)); break;
          }
        };
        started.set_value();
        auto outcome = co_await attempt(wait());
        EXPECT_FALSE(outcome);
        ++cancelled;
        auto again = co_await attempt(sleep(1h));  // it stays cancelled
        EXPECT_TRUE(!again && again.failure().is_cancelled());
        ended.set_value();
        if (!outcome) std::rethrow_exception(outcome.failure().exception());
      },
      failures.options());
  auto client = server.connect(32 * 1024);
  client.send(where == at::body ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n" : get_root);
  started.get_future().wait();
  if (where == at::write) client.hears_within(30s);
  how == way::end ? client.close() : client.reset();
  ASSERT_EQ(ended.get_future().wait_for(30s), std::future_status::ready);
  server.stop();
  EXPECT_EQ(cancelled, 1);
  EXPECT_EQ(server.statistics().disconnects, 1u);
  EXPECT_EQ(server.statistics().open, 0u);
  EXPECT_THAT(failures.all(), IsEmpty());
}

std::string name_of_disconnect(const ::testing::TestParamInfo<std::tuple<way, at>>& info) {
  static constexpr const char* ways[] = {"by_end", "by_reset"};
  static constexpr const char* places[] = {"sleep", "body", "write", "scope", "race", "timeout"};
  auto [how, where] = info.param;
  return std::string(ways[static_cast<int>(how)]) + "_in_" + places[static_cast<int>(where)];
}

INSTANTIATE_TEST_SUITE_P(Each, HttpServerDisconnect,
                         ::testing::Combine(::testing::Values(way::end, way::reset),
                                            ::testing::Values(at::sleep, at::body, at::write, at::scope, at::race,
                                                              at::timeout)),
                         name_of_disconnect);

TEST(HttpServer, cancels_a_handler_whose_client_left_after_a_large_upload) {
  std::promise<void> read, ended;
  running_server server([&](request& req, response&) -> task<void> {
    co_await req.text(64 << 20);
    read.set_value();
    auto outcome = co_await attempt(sleep(1h));
    ended.set_value();
    outcome.value();
  });
  auto client = server.connect();
  client.send(post("/", std::string(8 << 20, 'x')));
  read.get_future().wait();
  client.close();
  EXPECT_EQ(ended.get_future().wait_for(30s), std::future_status::ready);
}

TEST(HttpServer, answers_a_client_that_ends_its_side_if_it_can_at_once) {
  running_server server(hello);
  for (int i = 0; i < 20; ++i) {
    auto client = server.connect();
    client.send(get_root + get_root);
    client.end_writing();
    EXPECT_EQ(client.read_reply().status, 200);
    EXPECT_EQ(client.read_reply().status, 200);
    EXPECT_TRUE(client.closed());
  }
  server.stop();
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

TEST(HttpServer, lets_a_client_end_its_side_and_wait_if_told_to) {
  server_options options;
  options.allow_half_open = true;
  weir::event gate;
  std::promise<void> started;
  running_server server(
      [&](request&, response& res) -> task<void> {
        started.set_value();
        co_await gate.wait();
        co_await res.end("late");
      },
      options);
  auto client = server.connect();
  client.send(get_root);
  client.end_writing();
  started.get_future().wait();
  EXPECT_FALSE(client.hears_within(a_while));
  gate.set();
  EXPECT_EQ(client.read_reply().body, "late");
  EXPECT_TRUE(client.closed());
}

TEST(HttpServer, does_not_mind_clients_that_leave_in_every_other_state) {
  running_server server(echo);
  const std::string requests[] = {"",
                                  "G",
                                  "GET / HTTP/1.1\r\nHo",
                                  get_root + "GE",
                                  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
                                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
  for (int i = 0; i < 10; ++i) {
    for (auto& each : requests) {
      auto one = server.connect();
      one.send(each);
      auto two = server.connect();
      two.send(each);
      two.reset();
    }
  }
  EXPECT_EQ(server.connect().ask(get_root).status, 200);
}

// ---- time

TEST(HttpServer, answers_408_to_a_head_that_takes_too_long) {
  server_options options;
  options.header_timeout = 50ms;
  running_server server(hello, options);
  for (auto begin : {"", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"}) {
    auto client = server.connect();
    client.send(begin);
    EXPECT_EQ(client.read_reply().status, 408) << begin;
    EXPECT_TRUE(client.closed());
  }
  // The same behind a request that was answered, whether it came with it or not.
  auto pipelined = server.connect();
  EXPECT_EQ(pipelined.ask(get_root + "GET /").status, 200);
  EXPECT_EQ(pipelined.read_reply().status, 408);
  auto next = server.connect();
  EXPECT_EQ(next.ask(get_root).status, 200);
  next.send("GET /");
  EXPECT_EQ(next.read_reply().status, 408);
}

TEST(HttpServer, answers_408_to_a_body_that_takes_too_long_and_cancels_its_handler) {
  server_options options;
  options.request_timeout = 50ms;
  std::atomic<bool> stopped = false;
  running_server server(
      [&](request& req, response& res) -> task<void> {
        if (req.path() == "/ignore") co_return;
        auto body = co_await attempt(req.text());
        stopped = !body && body.failure().is_cancelled();
        co_await res.end(std::move(body).value());
      },
      options);
  auto client = server.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
  EXPECT_EQ(client.read_reply().status, 408);
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(stopped);
  auto ignored = server.connect();
  ignored.send("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
  EXPECT_EQ(ignored.read_reply().status, 200);
  EXPECT_TRUE(ignored.closed());  // answered already: no 408 behind it
  client.close();
  ignored.close();
  server.stop();
  EXPECT_EQ(server.statistics().handler_failures, 0u);
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

TEST(HttpServer, gives_a_handler_all_the_time_once_the_request_has_been_read) {
  server_options options;
  options.request_timeout = options.header_timeout = options.keep_alive_timeout = 50ms;
  running_server server(
      [](request& req, response& res) -> task<void> {
        auto body = co_await req.text();
        co_await sleep(120ms);
        co_await res.end(body);
      },
      options);
  auto client = server.connect();
  EXPECT_EQ(client.ask(post("/", "body")).body, "body");
  EXPECT_EQ(client.ask(get_root).status, 200);
}

TEST(HttpServer, closes_idle_connections_quietly) {
  server_options options;
  options.keep_alive_timeout = 50ms;
  running_server server(hello, options);
  auto client = server.connect();
  EXPECT_EQ(client.ask(get_root).status, 200);
  EXPECT_TRUE(client.closed());
  EXPECT_FALSE(client.was_reset());
  server.stop();
  EXPECT_EQ(server.statistics().errors, 0u);
}

TEST(HttpServer, withstands_clients_that_dribble) {
  server_options options;
  options.header_timeout = 400ms;
  running_server server(hello, options);
  std::vector<http_client> slow;
  for (int i = 0; i < 300; ++i) slow.push_back(server.connect());
  auto quick = server.connect();
  auto heard = [&] { return std::ranges::count_if(slow, [](http_client& each) { return each.hears_within(0ms); }); };
  for (std::size_t round = 0; heard() == 0; ++round) {
    std::string line = round == 0 ? "GET / HTTP/1.1\r\nHost: a\r\n" : "X-" + std::to_string(round) + ": y\r\n";
    for (auto& each : slow) each.send(line);
    ASSERT_EQ(quick.ask(get_root).status, 200);
  }
  for (auto& each : slow) EXPECT_THAT(each.read_rest(), StartsWith("HTTP/1.1 408"));
  slow.clear();
  server.stop();
  EXPECT_EQ(server.statistics().errors, 300u);
}

// ---- many connections

TEST(HttpServer, serves_no_more_connections_at_once_than_allowed) {
  server_options options;
  options.max_connections = 2;
  running_server server(hello, options);
  auto one = server.connect(), two = server.connect(), three = server.connect(), four = server.connect();
  EXPECT_EQ(one.ask(get_root).status, 200);
  EXPECT_EQ(two.ask(get_root).status, 200);
  three.send(get_root);
  four.send(get_root);
  EXPECT_FALSE(three.hears_within(a_while));
  EXPECT_EQ(server.statistics().open, 2u);
  two.close();
  EXPECT_EQ(three.read_reply().status, 200);
  EXPECT_FALSE(four.hears_within(a_while));
  one.reset();
  EXPECT_EQ(four.read_reply().status, 200);
}

TEST(HttpServer, serves_a_thousand_connections_at_once) {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit wide = before;
  wide.rlim_cur = std::min<rlim_t>(before.rlim_max, 8192);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &wide), 0);
  {
    running_server server(hello, {}, 2);
    std::vector<http_client> clients;
    for (int i = 0; i < 1000; ++i) {
      clients.push_back(server.connect());
      clients.back().send(get_root);
    }
    for (int round = 0; round < 2; ++round) {
      for (auto& each : clients) ASSERT_EQ(each.read_reply().status, 200);
      if (round == 0) {
        for (auto& each : clients) each.send(get_root);
      }
    }
    EXPECT_EQ(server.statistics().open, 1000u);
    EXPECT_EQ(server.statistics().requests, 2000u);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

/// Leaves this process only so many more descriptors, for as long as it lives.
class few_descriptors {
 public:
  explicit few_descriptors(int more) {
    testing::checked(::getrlimit(RLIMIT_NOFILE, &before_));
    io::descriptor lowest(testing::checked(::dup(STDIN_FILENO)));
    rlimit now = {static_cast<rlim_t>(lowest.get() + more), before_.rlim_max};
    testing::checked(::setrlimit(RLIMIT_NOFILE, &now));
  }
  few_descriptors(const few_descriptors&) = delete;
  few_descriptors& operator=(const few_descriptors&) = delete;
  ~few_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

TEST(HttpServer, waits_for_descriptors_when_there_are_none) {
  few_descriptors few(64);  // from the start, because an accept that is armed keeps to the limit of that time
  running_server server(hello);
  auto first = server.connect();
  EXPECT_EQ(first.ask(get_root).status, 200);
  auto waiting = testing::client_socket();
  std::vector<io::descriptor> wasted;
  for (int fd = 0; (fd = ::dup(STDIN_FILENO)) >= 0;) wasted.emplace_back(fd);
  ASSERT_EQ(errno, EMFILE);
  testing::connect_to(waiting.get(), server.address().port());
  testing::put(waiting.get(), get("/", "Connection: close\r\n"));
  pollfd one = {.fd = waiting.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&one, 1, static_cast<int>(std::chrono::milliseconds(a_while).count())), 0);
  EXPECT_EQ(first.ask(get_root).status, 200);  // who is in is served
  wasted.clear();
  EXPECT_THAT(testing::get(waiting.get()), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServer, spreads_connections_over_the_workers) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  running_server server(
      [&](request& req, response& res) -> task<void> {
        {
          std::lock_guard lock(mutex);
          threads.insert(std::this_thread::get_id());
        }
        auto body = co_await req.text();
        co_await res.write(body);
        co_await res.end("!");
      },
      {}, 2);
  constexpr int clients = 4, requests = 200;
  std::vector<std::thread> running;
  for (int i = 0; i < clients; ++i) {
    running.emplace_back([&] {
      auto client = server.connect();
      for (int n = 0; n < requests; ++n)
        EXPECT_EQ(client.ask(post("/", std::to_string(n))).body, std::to_string(n) + "!");
      static_cast<void>(server.statistics());
    });
  }
  for (auto& each : running) each.join();
  server.stop();
  EXPECT_EQ(threads.size(), 2u);
  EXPECT_EQ(server.statistics().accepted, static_cast<std::uint64_t>(clients));
  EXPECT_EQ(server.statistics().requests, static_cast<std::uint64_t>(clients * requests));
}

TEST(HttpServer, survives_connections_cut_at_random_on_two_workers) {
  running_server server(
      [](request& req, response& res) -> task<void> {
        if (req.path() == "/wait") co_await sleep(1h);
        for (int i = 0; i < 3; ++i) co_await res.write("piece");
      },
      {}, 2);
  std::vector<std::thread> running;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    running.emplace_back([&, seed] {
      unsigned random = seed;
      for (int i = 0; i < 100; ++i) {
        random = random * 1103515245 + 12345;
        auto client = server.connect();
        client.send(random & 0x10000 ? get_root : get("/wait"));
        if (random & 0x20000) client.send(get_root + get_root);
        if ((random & 0x50000) == 0x50000) client.receive();
        random & 0x80000 ? client.close() : client.reset();
      }
    });
  }
  for (auto& each : running) each.join();
  EXPECT_EQ(server.connect().ask(get_root).body, "piecepiecepiece");
  server.stop();
  EXPECT_EQ(server.statistics().open, 0u);
}

// ---- what handlers may use

TEST(HttpServer, lets_handlers_use_scopes_timeouts_and_blocking_functions) {
  running_server server(
      [](request& req, response& res) -> task<void> {
        std::string text = "start";
        co_await with_scope([&](scope& s) -> task<void> {
          s.spawn_local([](request& in, std::string& to) -> task<void> { to = co_await in.text(); }, std::ref(req),
                        std::ref(text));
          co_await yield();
        });
        auto late = co_await attempt(timeout(5ms, sleep(1h)));
        EXPECT_EQ(late.failure().code_name(), "ETIMEDOUT");
        text += co_await blocking([] { return "/blocking"s; });
        co_await with_scope([&](scope& s) -> task<void> {
          s.spawn_local([](response& out, std::string& from) -> task<void> { co_await out.write(from); }, std::ref(res),
                        std::ref(text));
          co_return;
        });
        auto both = co_await all(sleep(1ms), res.write("/all"));
        static_cast<void>(both);
      },
      {}, 2);
  auto client = server.connect();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(client.ask(post("/", "body")).body, "body/blocking/all");
}

TEST(HttpServer, refuses_bodies_used_on_another_worker) {
  std::atomic<int> refused = 0;
  running_server server(
      [&](request& req, response& res) -> task<void> {
        auto& here = *(co_await detail::this_fiber{}).on;
        co_await with_scope([&](scope& s) -> task<void> {
          s.spawn_on(here.index() + 1, [&]() -> task<void> {
            for (auto* each : {"write", "end"}) {
              try {
                static_cast<void>(*each == 'w' ? res.write("x") : res.end());
              } catch (const error& e) {
                refused += e.is("ERR_INVALID_STATE") ? 1 : 0;
              }
            }
            auto piece = co_await attempt(req.read());
            refused += !piece && piece.failure().is("ERR_INVALID_STATE") ? 1 : 0;
          });
          co_return;
        });
        co_await res.end("ok");
      },
      {}, 2);
  EXPECT_EQ(server.connect().ask(get_root).body, "ok");
  EXPECT_EQ(refused, 3);
}

// ---- listening

TEST(HttpServer, listens_on_several_addresses_and_unix_sockets) {
  auto path = ::testing::TempDir() + "weir-http-" + std::to_string(::getpid()) + ".sock";
  std::vector<address> where;
  server_options options;
  http::server server(hello, options);
  where.push_back(server.listen("127.0.0.1:0"));
  where.push_back(server.listen("[::1]:0"));
  where.push_back(server.listen("unix:" + path));
  std::thread running([&] { testing::run_with(1, server.serve()); });
  for (auto& each : where) EXPECT_EQ(http_client(each).ask(get_root).body, "Hello, World!") << each.to_string();
  server.close();
  running.join();
  ::unlink(path.c_str());
  EXPECT_THROW(server.listen("127.0.0.1:0"), error);
}

TEST(HttpServer, says_what_is_wrong_with_an_address) {
  running_server server(hello);
  auto taken = server.address().to_string();
  auto message = [](auto&& wrong) {
    try {
      wrong();
    } catch (const error& e) {
      return std::string(e.what());
    }
    return "no error"s;
  };
  http::server second(hello);
  EXPECT_EQ(message([&] { second.listen(taken); }), "listen EADDRINUSE: address already in use " + taken);
  EXPECT_THAT(message([&] { second.listen("nowhere"); }), HasSubstr("nowhere"));
  EXPECT_EQ(message([&] { testing::run_with(1, second.serve()); }), "serve: listen() comes first");
}

// ---- the end

TEST(HttpServer, drains_when_it_is_closed) {
  weir::event gate;
  std::latch busy(2);
  running_server server(
      [&](request& req, response& res) -> task<void> {
        if (req.path() == "/busy") {
          busy.count_down();
          co_await gate.wait();
        }
        co_await res.end("done");
      },
      {}, 2);
  auto fresh = server.connect();
  auto idle = server.connect(), one = server.connect(), two = server.connect();
  EXPECT_EQ(idle.ask(get_root).body, "done");
  one.send(get("/busy") + get("/after"));
  two.send(get("/busy"));
  busy.wait();
  server->close(60s);
  EXPECT_TRUE(idle.closed());
  EXPECT_FALSE(idle.was_reset());
  EXPECT_TRUE(fresh.closed());
  EXPECT_THROW(server.connect(), std::system_error);
  gate.set();
  for (auto* each : {&one, &two}) {
    auto reply = each->read_reply();
    EXPECT_EQ(reply.body, "done");
    EXPECT_EQ(reply.header("Connection"), "close");
    EXPECT_TRUE(each->closed());
    each->close();
  }
  server.join();
  EXPECT_EQ(server.statistics().open, 0u);
}

TEST(HttpServer, cancels_what_outlives_the_grace) {
  std::promise<void> started;
  std::atomic<bool> cancelled = false;
  reports failures;
  running_server server(
      [&](request&, response& res) -> task<void> {
        co_await res.write("begun");
        started.set_value();
        auto outcome = co_await attempt(sleep(1h));
        cancelled = outcome.failure().is_cancelled();
        outcome.value();
      },
      failures.options());
  auto client = server.connect();
  client.send(get_root);
  started.get_future().wait();
  server->close(1h);
  server->close(20ms);  // changed my mind
  EXPECT_THAT(client.read_rest(), Not(HasSubstr("\r\n0\r\n")));
  server.join();
  EXPECT_TRUE(cancelled);
  EXPECT_THAT(failures.all(), IsEmpty());
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

TEST(HttpServer, ends_within_the_grace_when_clients_do_not_read_or_leave) {
  running_server server([](request&, response& res) -> task<void> { co_await res.end(std::string(32 << 20, 'x')); });
  auto deaf = server.connect(32 * 1024);
  deaf.send(get("/", "Connection: close\r\n"));
  ASSERT_TRUE(deaf.hears_within(30s));
  auto begun = std::chrono::steady_clock::now();
  server.stop(50ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
}

TEST(HttpServer, can_be_closed_before_it_serves_and_serves_once) {
  http::server server(hello);
  server.listen("127.0.0.1:0");
  server.close();
  testing::run_with(1, server.serve());
  EXPECT_EQ(server.statistics().accepted, 0u);
  EXPECT_THROW(testing::run_with(1, server.serve()), error);
}

TEST(HttpServer, closes_without_grace_when_serve_is_cancelled) {
  weir::event enough;
  http::server server([&](request&, response& res) -> task<void> {
    co_await res.write("begun");
    enough.set();
    co_await sleep(1h);
  });
  auto where = server.listen("127.0.0.1:0");
  std::thread running([&] {
    testing::run_with(2, [](http::server& s, weir::event& e) -> task<void> {
      co_await race(s.serve(), [](weir::event& until) -> task<void> { co_await until.wait(); }(e));
    }(server, enough));
  });
  http_client client(where);
  client.send(get_root);
  EXPECT_THAT(client.read_rest(), HasSubstr("begun"));
  running.join();
  EXPECT_THROW(http_client{where}, std::system_error);
  EXPECT_EQ(server.statistics().open, 0u);
}

TEST(HttpServer, closes_under_load_without_losing_an_answer_that_has_begun) {
  for (int round = 0; round < 10; ++round) {
    running_server server(hello, {}, 2);
    std::atomic<int> answered = 0;
    std::vector<std::thread> running;
    for (int i = 0; i < 3; ++i) {
      running.emplace_back([&] {
        try {
          auto client = server.connect();
          while (client.send(get_root)) {
            auto reply = client.read_reply();
            EXPECT_EQ(reply.body, "Hello, World!");
            ++answered;
            if (reply.header("Connection") == "close") break;
          }
        } catch (const std::exception& e) {
          // Between two requests, or before it was accepted. Never within an answer.
          EXPECT_THAT(e.what(), ::testing::AnyOf(::testing::EndsWith("within a head: ''"), HasSubstr("connect")));
        }
      });
    }
    while (answered < 30) std::this_thread::yield();
    server->close(10s);
    for (auto& each : running) each.join();
    server.join();
  }
}

}  // namespace
}  // namespace weir::net::http
