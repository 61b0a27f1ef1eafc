// tests/net/http_response_test.cpp: what a handler can say beside status and body: trailers, interim responses,
// headers of several values, a head on its own; and what it can learn of how its request and response fared.
#include <weir/core/event.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/http_client.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::running_server;
using ::testing::StartsWith;

const std::string get_root = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string close_root = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

std::string get(std::string_view path, std::string_view more = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n";
}

/// Everything that comes back for `request`, without Date lines.
std::string raw(const running_server& server, std::string_view request) {
  auto client = server.connect();
  client.send(request);
  auto all = client.read_rest();
  for (std::size_t at = 0; (at = all.find("Date: ", at)) != std::string::npos;) all.erase(at, 37);
  return all;
}

/// The code of what `act` throws, "ok" if it does not.
template <class F>
std::string code_of(F act) {
  try {
    act();
  } catch (const error& why) {
    return std::string(why.code_name());
  }
  return "ok";
}

// ---- trailers

TEST(HttpTrailers, follow_the_last_chunk_and_are_announced) {
  running_server server([](request&, response& res) -> task<void> {
    res.trailer("X-Sum", "7").trailer("X-Time", "3 ms");
    co_await res.end("body");
  });
  EXPECT_EQ(raw(server, close_root),
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum, X-Time\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            "4\r\nbody\r\n0\r\nX-Sum: 7\r\nX-Time: 3 ms\r\n\r\n");
}

TEST(HttpTrailers, may_be_known_only_when_the_body_has_been_sent) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/announced") res.set("Trailer", "X-Sum");
    co_await res.write("ab");
    res.trailer("X-Sum", "2");
  });
  EXPECT_EQ(raw(server, close_root),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            "2\r\nab\r\n0\r\nX-Sum: 2\r\n\r\n");
  EXPECT_THAT(raw(server, get("/announced", "Connection: close\r\n")), HasSubstr("\r\nTrailer: X-Sum\r\n"));
}

TEST(HttpTrailers, are_left_out_where_no_chunks_follow) {
  running_server server([](request& req, response& res) -> task<void> {
    if (req.path() == "/204") res.status(204);
    res.trailer("X-Sum", "7");
    co_await res.end("body");
  });
  EXPECT_EQ(raw(server, "GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody");
  EXPECT_EQ(raw(server, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(raw(server, get("/204", "Connection: close\r\n")), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

TEST(HttpTrailers, refuse_what_must_not_be_one) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    for (auto name : {"Content-Length", "transfer-encoding", "Host", "Set-Cookie", "Trailer"}) {
      codes.push_back(code_of([&] { res.trailer(name, "1"); }));
    }
    codes.push_back(code_of([&] { res.trailer("a b", "1"); }));
    codes.push_back(code_of([&] { res.trailer("A", "1\r\nB: 2"); }));
    res.set("Content-Length", "4");
    codes.push_back(code_of([&] { res.trailer("A", "1"); }));
    co_await res.end("body");
    codes.push_back(code_of([&] { res.trailer("A", "1"); }));
  });
  EXPECT_THAT(raw(server, close_root), ::testing::EndsWith("Content-Length: 4\r\n\r\nbody"));
  server.stop();
  EXPECT_THAT(codes, ElementsAre("ERR_HTTP_TRAILER_INVALID", "ERR_HTTP_TRAILER_INVALID", "ERR_HTTP_TRAILER_INVALID",
                                 "ERR_HTTP_TRAILER_INVALID", "ERR_HTTP_TRAILER_INVALID", "ERR_INVALID_HTTP_TOKEN",
                                 "ERR_INVALID_CHAR", "ERR_HTTP_TRAILER_INVALID", "ERR_STREAM_WRITE_AFTER_END"));
}

TEST(HttpTrailers, and_a_length_set_later_contradict_each_other) {
  std::string code;
  running_server server([&](request&, response& res) -> task<void> {
    res.trailer("A", "1").set("Content-Length", "4");
    code = code_of([&] { static_cast<void>(res.end("body")); });
    res.remove("Content-Length");
    co_await res.end("body");
  });
  EXPECT_THAT(raw(server, close_root), HasSubstr("\r\n0\r\nA: 1\r\n\r\n"));
  server.stop();
  EXPECT_EQ(code, "ERR_HTTP_TRAILER_INVALID");
}

// ---- interim responses

TEST(HttpInterim, responses_come_before_the_answer_and_in_the_order_of_pipelined_requests) {
  running_server server([](request& req, response& res) -> task<void> {
    co_await res.write_processing();
    if (req.number() == 1) co_await sleep(5ms);
    co_await res.early_hints({"</a.css>; rel=preload; as=style", "<https://b/c>; rel=\"preconnect\""});
    co_await res.end(std::to_string(req.number()));
  });
  auto expected = [](std::string_view number, std::string_view more) {
    return "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style, "
           "<https://b/c>; rel=\"preconnect\"\r\n\r\nHTTP/1.1 200 OK\r\n" +
           std::string(more) + "Content-Length: 1\r\n\r\n" + std::string(number);
  };
  EXPECT_EQ(raw(server, get_root + close_root), expected("1", "") + expected("2", "Connection: close\r\n"));
}

TEST(HttpInterim, responses_carry_headers_of_their_own) {
  running_server server([](request&, response& res) -> task<void> {
    std::vector<std::string_view> links{"</a>; rel=preload"};
    std::vector<header> more{{"X-Trace", "1"}};
    co_await res.early_hints(links, more);
    co_await res.inform(110, {{"X-Any", "2"}});
    co_await res.early_hints({});
    co_await res.set("X-Final", "3").end();
  });
  EXPECT_EQ(raw(server, close_root),
            "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Trace: 1\r\n\r\nHTTP/1.1 110 \r\nX-Any: 2\r\n\r\n"
            "HTTP/1.1 200 OK\r\nX-Final: 3\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

TEST(HttpInterim, responses_are_not_for_http_1_0) {
  running_server server([](request&, response& res) -> task<void> {
    co_await res.write_continue();
    co_await res.write_processing();
    co_await res.end("x");
  });
  EXPECT_THAT(raw(server, "GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST(HttpInterim, responses_that_would_mislead_are_refused) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    auto code = [](auto act) { return code_of([&] { static_cast<void>(act()); }); };
    codes.push_back(code([&] { return res.inform(101); }));
    codes.push_back(code([&] { return res.inform(200); }));
    codes.push_back(code([&] { return res.inform(99); }));
    codes.push_back(code([&] { return res.inform(103, {{"A b", "1"}}); }));
    codes.push_back(code([&] { return res.inform(103, {{"A", "1\n2"}}); }));
    codes.push_back(code([&] { return res.inform(103, {{"Content-Length", "1"}}); }));
    for (auto link : {"", "a.css", "</a", "</a> rel=x", "</a>; =x", "</a>; rel=\"x", "</a>; rel=a b", "</a\r\n>"}) {
      codes.push_back(code([&] { return res.early_hints({link}); }));
    }
    co_await res.end("x");
    codes.push_back(code([&] { return res.inform(103); }));
  });
  EXPECT_THAT(raw(server, close_root), StartsWith("HTTP/1.1 200 OK\r\n"));
  server.stop();
  std::vector<std::string> expected(3, "ERR_HTTP_INVALID_STATUS_CODE");
  expected.insert(expected.end(), {"ERR_INVALID_HTTP_TOKEN", "ERR_INVALID_CHAR", "ERR_HTTP_CONTENT_LENGTH_MISMATCH"});
  expected.insert(expected.end(), 8, "ERR_INVALID_ARG_VALUE");
  expected.emplace_back("ERR_STREAM_WRITE_AFTER_END");
  EXPECT_EQ(codes, expected);
}

TEST(HttpContinue, is_the_handlers_to_send_or_to_refuse) {
  running_server server([](request& req, response& res) -> task<void> {
    bool waits = req.expects_continue();
    if (req.path() == "/early") co_await res.write_continue();
    bool still = req.expects_continue();
    if (req.path() == "/refuse") {
      co_await res.status(417).end();
    } else {
      auto body = co_await req.text();
      co_await res.end(std::to_string(waits) + std::to_string(still) + body);
    }
  });
  auto expecting = [](std::string path) {
    return "POST " + path + " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
  };
  auto client = server.connect();
  EXPECT_EQ(client.ask(expecting("/early")).status, 100);
  EXPECT_EQ(client.ask("body").body, "10body");
  EXPECT_EQ(client.ask(expecting("/")).status, 100);
  EXPECT_EQ(client.ask("body").body, "11body");
  EXPECT_EQ(client.ask(expecting("/refuse")).status, 417);
  EXPECT_TRUE(client.closed());
}

TEST(HttpExpectations, other_than_100_continue_are_the_handlers_if_it_wants_them) {
  server_options options;
  options.allow_expectations = true;
  running_server server(
      [](request& req, response& res) -> task<void> { co_await res.end(std::string(req.header("expect"))); }, options);
  EXPECT_EQ(server.connect().ask(get("/", "Expect: the-unexpected\r\n")).body, "the-unexpected");
}

// ---- headers

TEST(HttpResponseHeaders, have_several_values_a_line_each) {
  std::vector<std::string> seen;
  running_server server([&](request&, response& res) -> task<void> {
    res.set("Set-Cookie", "old").set("X-One", "1");
    res.set("set-cookie", {"a=1", "b=2"});
    res.append("Set-Cookie", "c=3");
    res.set("X-None", {});
    for (auto each : res.get_all("SET-COOKIE")) seen.emplace_back(each);
    for (auto each : res.header_names()) seen.emplace_back(each);
    seen.emplace_back(res.has("x-one") ? "has" : "has not");
    seen.emplace_back(res.has("x-none") ? "has" : "has not");
    std::vector<std::string_view> own = res.get_all("set-cookie");
    res.set("Set-Cookie", own);  // views of what is replaced
    co_await res.end();
  });
  EXPECT_THAT(raw(server, close_root),
              HasSubstr("X-One: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nSet-Cookie: c=3\r\n"));
  server.stop();
  EXPECT_THAT(seen, ElementsAre("a=1", "b=2", "c=3", "X-One", "set-cookie", "has", "has not"));
}

TEST(HttpResponseHeaders, stay_as_they_were_when_one_of_several_values_is_refused) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    res.set("A", "1");
    codes.push_back(code_of([&] { res.set("A", {"2", "3\n"}); }));
    codes.push_back(code_of([&] { res.write_head(201, {{"A", "4"}, {"B c", "5"}}); }));
    codes.push_back(code_of([&] { res.write_head(20, {{"A", "4"}}); }));
    co_await res.end(std::to_string(res.status()));
  });
  EXPECT_EQ(raw(server, close_root), "HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close\r\nContent-Length: 3\r\n\r\n200");
  server.stop();
  EXPECT_THAT(codes, ElementsAre("ERR_INVALID_CHAR", "ERR_INVALID_HTTP_TOKEN", "ERR_HTTP_INVALID_STATUS_CODE"));
}

// C0-HTTP-03, C3-NET-35: what was set before is merged, later changes are refused, the length is still known.
TEST(HttpResponseHead, in_one_call_merges_and_settles) {
  std::vector<std::string> codes;
  running_server server([&](request&, response& res) -> task<void> {
    res.set("X-Kept", "1").set("X-Replaced", "2");
    res.write_head(404, "Nothing Here", {{"x-replaced", "3"}, {"X-Two", "4"}, {"X-Two", "5"}});
    codes.push_back(res.headers_sent() ? "sent" : "open");
    codes.push_back(code_of([&] { res.set("A", "1"); }));
    codes.push_back(code_of([&] { res.remove("X-Kept"); }));
    codes.push_back(code_of([&] { res.write_head(200); }));
    co_await res.end("gone");
  });
  EXPECT_EQ(raw(server, close_root),
            "HTTP/1.1 404 Nothing Here\r\nX-Kept: 1\r\nx-replaced: 3\r\nX-Two: 4\r\nX-Two: 5\r\nConnection: close\r\n"
            "Content-Length: 4\r\n\r\ngone");
  server.stop();
  EXPECT_THAT(codes, ElementsAre("sent", "ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT", "ERR_HTTP_HEADERS_SENT"));
}

TEST(HttpResponseHead, that_a_handler_only_settled_does_not_keep_its_failure_from_the_client) {
  server_options options;
  options.on_error = [](const request&, const std::exception_ptr&) {};
  running_server server(
      [](request&, response& res) -> task<void> {
        res.write_head(200, {{"A", "1"}});
        co_await yield();
        throw std::runtime_error("too late");
      },
      options);
  EXPECT_THAT(raw(server, get_root), StartsWith("HTTP/1.1 500 "));
}

TEST(HttpResponseHead, can_go_ahead_of_the_body) {
  weir::event released;
  running_server server([&](request& req, response& res) -> task<void> {
    if (req.path() == "/sized") res.set("Content-Length", "4");
    res.flush_headers().flush_headers();
    co_await released.wait();
    co_await res.end("body");
  });
  auto chunked = server.connect();
  auto sized = server.connect();
  EXPECT_EQ(chunked.ask(get("/"), true).header("Transfer-Encoding"), "chunked");
  EXPECT_EQ(sized.ask(get("/sized"), true).header("Content-Length"), "4");
  released.set();
  EXPECT_EQ(chunked.read(14), "4\r\nbody\r\n0\r\n\r\n");
  EXPECT_EQ(sized.read(4), "body");
}

TEST(HttpServerOptions, announce_keep_alive_as_node_does) {
  server_options options;
  options.announce_keep_alive = true;
  running_server server([](request&, response& res) -> task<void> { co_await res.end("x"); }, options);
  auto client = server.connect();
  auto reply = client.ask(get_root);
  EXPECT_EQ(reply.header("Connection"), "keep-alive");
  EXPECT_EQ(reply.header("Keep-Alive"), "timeout=5");
  EXPECT_EQ(client.ask(close_root).header("Keep-Alive"), "(none)");
}

// ---- the target

TEST(HttpTarget, is_taken_apart_in_each_form) {
  server_options options;
  options.allow_connect = true;
  running_server server(
      [](request& req, response& res) -> task<void> {
        res.set("X-Parts", std::string(req.target()) + "|" + std::string(req.path()) + "|" + std::string(req.query()) +
                               "|" + std::string(req.host()));
        co_await res.end();
      },
      options);
  auto parts = [&](std::string_view request_line) {
    return server.connect().ask(std::string(request_line) + " HTTP/1.1\r\nHost: h:1\r\n\r\n").header("X-Parts");
  };
  EXPECT_EQ(parts("GET /a/b?c?d"), "/a/b?c?d|/a/b|c?d|h:1");
  EXPECT_EQ(parts("GET http://x:8/a/b?c"), "http://x:8/a/b?c|/a/b|c|x:8");
  EXPECT_EQ(parts("GET http://x"), "http://x|/||x");
  EXPECT_EQ(parts("GET http://x?c/d"), "http://x?c/d|/|c/d|x");
  EXPECT_EQ(parts("OPTIONS *"), "*|*||h:1");
  EXPECT_EQ(parts("CONNECT y:9"), "y:9|||y:9");
}

// ---- how it fared

TEST(HttpFigures, count_what_has_gone_over_the_connection) {
  std::vector<connection_figures> seen;
  std::vector<std::uint64_t> bodies;
  std::uint64_t written = 0;
  running_server server([&](request& req, response& res) -> task<void> {
    static_cast<void>(co_await req.text());
    seen.push_back(req.figures());
    bodies.push_back(req.bytes_read());
    co_await res.write("one");
    co_await res.end("two");
    written = res.bytes_written();
  });
  auto client = server.connect();
  const std::string request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
  auto first = client.ask(request);
  client.ask(request);
  client.close();
  server.stop();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].requests, 1u);
  EXPECT_EQ(seen[1].requests, 2u);
  EXPECT_EQ(seen[0].bytes_in, request.size());
  EXPECT_EQ(seen[1].bytes_in, 2 * request.size());
  EXPECT_EQ(seen[0].bytes_out, 0u);
  EXPECT_EQ(seen[1].bytes_out, first.head.size() + std::string("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").size());
  EXPECT_EQ(written, seen[1].bytes_out);
  EXPECT_THAT(bodies, ElementsAre(4u, 4u));
}

// C1-RL-19, C1-RL-20: the two ends are told apart, and each response has one.
TEST(HttpEnding, is_told_once_and_tells_finished_from_aborted) {
  std::mutex mutex;
  std::vector<std::string> told;
  server_options options;
  options.on_error = [](const request&, const std::exception_ptr&) {};
  running_server server(
      [&](request& req, response& res) -> task<void> {
        res.on_end([&](ending how) {
          std::lock_guard lock(mutex);
          told.push_back(std::string(req.path()) + (how == ending::finished ? " finished" : " aborted") +
                         (res.finished() ? " whole" : "") + (req.aborted() ? " left" : ""));
        });
        if (req.path() == "/fails") throw std::runtime_error("so it does");
        if (req.path() == "/destroyed") co_return res.destroy();
        if (req.path() == "/left") co_await sleep(1h);
        co_await res.end("body");
      },
      options);
  {
    auto client = server.connect();
    client.ask(get("/first"));
    client.ask(get("/second"));
    client.ask(get("/fails"));
    EXPECT_TRUE(client.closed());
  }
  EXPECT_TRUE(server.connect().ask(get("/fails")).status == 500);
  {
    auto client = server.connect();
    client.send(get("/destroyed"));
    EXPECT_TRUE(client.closed());
  }
  {
    auto client = server.connect();
    client.send(get("/left"));
    while (server.statistics().requests < 6) std::this_thread::yield();
  }
  while (server.statistics().disconnects == 0) std::this_thread::yield();
  server.stop();
  EXPECT_THAT(told, ElementsAre("/first finished whole", "/second finished whole", "/fails aborted", "/fails aborted",
                                "/destroyed aborted left", "/left aborted left"));
}

TEST(HttpDestroy, drops_what_was_not_sent_and_resets) {
  std::string code;
  running_server server([&](request&, response& res) -> task<void> {
    co_await res.write("part");
    res.destroy();
    code = code_of([&] { static_cast<void>(res.write("more")); });
    res.destroy();
  });
  auto client = server.connect();
  client.send(get_root);
  client.read_rest();
  EXPECT_TRUE(client.was_reset());
  server.stop();
  EXPECT_EQ(code, "ERR_STREAM_DESTROYED");
  EXPECT_EQ(server.statistics().disconnects, 0u);
}

// ---- mistakes of clients

// C0-HTTP-11: the hook may answer for itself, or not at all.
TEST(HttpClientError, can_be_answered_by_a_hook) {
  std::vector<std::string> seen;
  server_options options;
  options.on_client_error = [&](const client_error& what, std::string& answer) {
    seen.push_back(std::string(what.code) + " " + std::to_string(what.status) + " " + what.remote.host());
    if (what.status == 431) answer = "HTTP/1.1 431 Far Too Much\r\n\r\n";
    if (what.code == "HPE_INVALID_METHOD") answer.clear();
    if (what.status == 413) throw std::runtime_error("in the hook");
  };
  options.parser.max_head = 200;
  options.max_body = 5;
  running_server server([](request&, response& res) -> task<void> { co_await res.end("x"); }, options);
  EXPECT_EQ(raw(server, get_root + get("/", "X: " + std::string(300, 'x') + "\r\n")),
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 431 Far Too Much\r\n\r\n");
  EXPECT_EQ(raw(server, "NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
  EXPECT_THAT(raw(server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n123456"), StartsWith("HTTP/1.1 413"));
  server.stop();
  EXPECT_THAT(seen, ElementsAre("HPE_HEADER_OVERFLOW 431 127.0.0.1", "HPE_INVALID_METHOD 400 127.0.0.1",
                                "HPE_BODY_OVERFLOW 413 127.0.0.1"));
}

}  // namespace
}  // namespace weir::net::http
