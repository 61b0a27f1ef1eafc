// The server against clients that others have written: curl, Node's http module, wrk, h2load, ab and slowhttptest,
// which tests/run installs. Each is asked what it thinks of the server, and the server what is left of it.
#include <weir/core/time.hpp>
#include <weir/net/http_raw_stream.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/files.hpp>
#include <tests/support/http_client.hpp>
#include <tests/support/sockets.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <thread>

#include <sys/wait.h>

namespace weir::net::http {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::running_server;
using ::testing::StartsWith;

/// Runs a command of the shell. @return what it wrote, with a line about its status if that is not 0
std::string output_of(const std::string& command) {
  std::string all;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::array<char, 4096> piece;
  for (std::size_t n = 0; (n = std::fread(piece.data(), 1, piece.size(), pipe)) != 0;) all.append(piece.data(), n);
  int status = ::pclose(pipe);
  if (WEXITSTATUS(status) != 0) all += "\n(exit status " + std::to_string(WEXITSTATUS(status)) + ")";
  return all;
}

bool has(const std::string& tool) { return output_of("command -v " + tool).find("exit status") == std::string::npos; }

void need(const std::string& tool) {
  if (!has(tool)) GTEST_SKIP() << tool << " is not installed; tests/run installs what the tests need";
}

/// Says what was asked, and sends the body back.
task<void> mirror(request& req, response& res) {
  if (req.path() == "/stream") {
    for (int i = 0; i < 3; ++i) co_await res.write("line " + std::to_string(i) + "\n");
    co_return;
  }
  if (req.path() == "/missing") {
    co_await res.status(404).end("nothing here\n");
    co_return;
  }
  if (req.wants_upgrade()) {
    auto& raw = res.upgrade("mirror");
    for (auto piece = co_await raw.next(); !piece.empty(); piece = co_await raw.next()) co_await raw.write(piece);
    co_return;
  }
  auto body = co_await req.text(64 << 20);
  if (req.path() == "/trailers") res.trailer("X-Sum-Of-Yours", req.trailers().first("x-sum").value_or("none"));
  res.set("X-Method", req.method_text()).set("X-Number", std::to_string(req.number()));
  co_await res.end(body.empty() ? "hello\n" : body);
}

/// A file that goes with the test.
class scratch_file {
 public:
  explicit scratch_file(const std::string& name, std::string_view text = "")
      : path_(::testing::TempDir() + "weir-" + std::to_string(::getpid()) + "-" + name) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~scratch_file() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string path_;
};

class Curl : public ::testing::Test {
 protected:
  void SetUp() override { need("curl"); }
  std::string curl(const std::string& arguments) { return output_of("curl -sS --max-time 60 " + arguments); }
  running_server server_{mirror};
};

TEST_F(Curl, gets_over_one_connection) {
  auto url = server_.url("/");
  EXPECT_EQ(curl(url), "hello\n");
  EXPECT_EQ(curl("-o /dev/null -o /dev/null -w '%{num_connects}:%{http_code} ' " + url + " " + url), "1:200 0:200 ");
  EXPECT_EQ(curl(server_.url("/stream")), "line 0\nline 1\nline 2\n");
  EXPECT_THAT(curl("-i " + server_.url("/missing")), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(curl("--fail " + server_.url("/missing")), EndsWith("(exit status 22)"));
}

TEST_F(Curl, asks_for_heads) {
  auto reply = curl("-I " + server_.url("/"));
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("X-Method: HEAD\r\n"));
  EXPECT_THAT(reply, HasSubstr("Content-Length: 6\r\n"));
}

TEST_F(Curl, posts_files_and_uploads_in_chunks) {
  auto data = testing::noise(3 << 20);
  scratch_file from("upload", data), to("download");
  auto same = [&] { return to.text() == data; };
  EXPECT_EQ(curl("--data-binary @" + from.path() + " -o " + to.path() + " " + server_.url("/")), "");
  EXPECT_TRUE(same());
  EXPECT_EQ(curl("-T " + from.path() + " -o " + to.path() + " " + server_.url("/")), "");
  EXPECT_TRUE(same());
  EXPECT_EQ(curl("-T - -o " + to.path() + " " + server_.url("/") + " < " + from.path()), "");  // chunked
  EXPECT_TRUE(same());
  EXPECT_EQ(curl("-F file=@" + from.path() + " -o " + to.path() + " " + server_.url("/")), "");
  EXPECT_THAT(to.text(), HasSubstr("Content-Disposition: form-data; name=\"file\""));
}

TEST_F(Curl, waits_for_100_continue) {
  auto log = curl("-v --expect100-timeout 50 -H 'Expect: 100-continue' -d 'some text' " + server_.url("/"));
  EXPECT_THAT(log, HasSubstr("< HTTP/1.1 100 Continue"));
  EXPECT_THAT(log, HasSubstr("some text"));
}

TEST_F(Curl, speaks_http_1_0) {
  auto log = curl("-v --http1.0 " + server_.url("/"));
  EXPECT_THAT(log, HasSubstr("< Connection: close"));
  EXPECT_THAT(log, HasSubstr("hello\n"));
  log = curl("-v --http1.0 -H 'Connection: keep-alive' " + server_.url("/"));
  EXPECT_THAT(log, HasSubstr("< Connection: keep-alive"));
  EXPECT_EQ(curl("--http1.0 " + server_.url("/stream")), "line 0\nline 1\nline 2\n");
}

class Node : public ::testing::Test {
 protected:
  void SetUp() override { need("node"); }
  std::string node(const std::string& script) {
    scratch_file file("script.js", "const port = " + std::to_string(server_.address().port()) + ";\n" + script);
    return output_of("timeout 60 node " + file.path());
  }
  running_server server_{mirror};
};

TEST_F(Node, reuses_connections_through_its_agent) {
  EXPECT_EQ(
      node(R"(
    const http = require('http');
    const agent = new http.Agent({keepAlive: true, maxSockets: 1});
    function ask(method, path, body) {
      return new Promise((resolve, reject) => {
        const req = http.request({host: '127.0.0.1', port, method, path, agent}, (res) => {
          let text = '';
          res.setEncoding('utf8').on('data', (d) => text += d);
          res.on('end', () => resolve([res.statusCode, res.headers['x-number'], text.length > 20 ? text.length : text]));
        });
        req.on('error', reject).end(body);
      });
    }
    (async () => {
      const all = await Promise.all([
        ask('GET', '/'), ask('POST', '/', 'posted'), ask('PUT', '/', 'x'.repeat(1000000)), ask('HEAD', '/'),
        ask('GET', '/stream'), ask('DELETE', '/')]);
      console.log(JSON.stringify(all));
      agent.destroy();
    })();
  )"),
      R"([[200,"1","hello\n"],[200,"2","posted"],[200,"3",1000000],[200,"4",""],[200,null,21],[200,"6","hello\n"]])"
      "\n");
}

TEST_F(Node, pipelines_over_a_raw_socket) {
  EXPECT_EQ(node(R"(
    const socket = require('net').connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (d) => text += d).on('end', () => console.log(text.match(/X-Number: \d+/g).join()));
    for (let i = 1; i <= 5; ++i) {
      socket.write('GET / HTTP/1.1\r\nHost: a\r\n' + (i == 5 ? 'Connection: close\r\n' : '') + '\r\n');
    }
  )"),
            "X-Number: 1,X-Number: 2,X-Number: 3,X-Number: 4,X-Number: 5\n");
}

TEST_F(Node, streams_an_upload_and_reads_the_echo) {
  EXPECT_EQ(node(R"(
    const http = require('http'), crypto = require('crypto');
    const sent = crypto.createHash('sha256'), got = crypto.createHash('sha256');
    const req = http.request({host: '127.0.0.1', port, method: 'POST'}, (res) => {
      res.on('data', (d) => got.update(d)).on('end', () => console.log(sent.digest('hex') == got.digest('hex')));
    });
    let left = 200;
    (function more() {
      if (left-- == 0) return req.end();
      const piece = crypto.randomBytes(10000);
      sent.update(piece);
      req.write(piece) ? setImmediate(more) : req.once('drain', more);
    })();
  )"),
            "true\n");
}

TEST_F(Node, waits_for_100_continue) {
  EXPECT_EQ(node(R"(
    const req = require('http').request({host: '127.0.0.1', port, method: 'PUT', headers: {Expect: '100-continue'}});
    let continued = 0;
    req.on('continue', () => { ++continued; req.end('the body'); });
    req.on('response', (res) => {
      res.setEncoding('utf8').on('data', (d) => console.log(continued, res.statusCode, d));
    });
    req.flushHeaders();
  )"),
            "1 200 the body\n");
}

TEST_F(Node, sends_and_reads_trailers) {
  EXPECT_EQ(node(R"(
    const req = require('http').request({host: '127.0.0.1', port, method: 'POST', path: '/trailers',
                                         headers: {Trailer: 'X-Sum'}}, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (d) => text += d);
      res.on('end', () => console.log(text, JSON.stringify(res.trailers)));
    });
    req.write('some ');
    req.addTrailers({'X-Sum': '42'});
    req.end('text');
  )"),
            R"(some text {"x-sum-of-yours":"42"})"
            "\n");
}

TEST_F(Node, leaves_http_behind) {
  EXPECT_EQ(node(R"(
    const req = require('http').request({host: '127.0.0.1', port, path: '/upgrade',
                                         headers: {Connection: 'Upgrade', Upgrade: 'mirror'}});
    req.on('upgrade', (res, socket, head) => {
      let text = head.toString();
      socket.on('data', (d) => text += d).on('end', () => console.log(res.statusCode, res.headers.upgrade, text));
      socket.write('one ');
      setImmediate(() => socket.end('two'));
    });
    req.end();
  )"),
            "101 mirror one two\n");
}

TEST_F(Node, is_told_to_close_by_a_server_that_closes) {
  running_server closing(mirror);
  std::thread told([&] {
    while (closing.statistics().requests == 0) std::this_thread::yield();
    closing->close({.grace = std::chrono::seconds(30), .idle_grace = std::chrono::seconds(30)});
  });
  EXPECT_EQ(node("const other = " + std::to_string(closing.address().port()) + ";\n" + R"(
    const http = require('http');
    const agent = new http.Agent({keepAlive: true, maxSockets: 1});
    let asked = 0;
    (function ask() {
      const req = http.get({host: '127.0.0.1', port: other, agent}, (res) => {
        ++asked;
        res.resume().on('end', () => {
          if (res.headers.connection == 'close') console.log('told, after', asked > 1 ? 'several' : asked);
          else ask();
        });
      });
      req.on('error', (e) => console.log(e.message));
    })();
  )"),
            "told, after several\n");
  told.join();
  closing.join();
  EXPECT_EQ(closing.statistics().open, 0U);
}

TEST(Wrk, finds_every_answer_right) {
  if (!has("wrk")) GTEST_SKIP() << "wrk is not installed; tests/run installs it";
  running_server server(mirror, {}, 2);
  auto report = output_of("wrk -t1 -c32 -d2s " + server.url("/"));
  EXPECT_THAT(report, ContainsRegex("[0-9]+ requests in 2"));
  EXPECT_THAT(report, Not(HasSubstr("Socket errors")));
  EXPECT_THAT(report, Not(HasSubstr("Non-2xx")));
  server.stop(std::chrono::seconds(5));
  EXPECT_GT(server.statistics().requests, 100u);
  EXPECT_EQ(server.statistics().errors, 0u);
  EXPECT_EQ(server.statistics().open, 0u);
}

/// What is left of a server that others have used: nothing is open, nothing was refused. `serve` ends only when each of
/// its tasks has.
void expect_clean_end(running_server& server, std::uint64_t requests) {
  server.stop(std::chrono::seconds(10));
  auto seen = server.statistics();
  EXPECT_EQ(seen.requests, requests);
  EXPECT_EQ(seen.open, 0U);
  EXPECT_EQ(seen.errors, 0U);
  EXPECT_EQ(seen.handler_failures, 0U);
}

TEST(H2load, finds_every_answer_right_also_when_it_pipelines) {
  if (!has("h2load")) GTEST_SKIP() << "h2load is not installed; tests/run installs it";
  for (auto* pipelined : {"1", "8"}) {
    running_server server(mirror, {}, 2);
    auto report = output_of(std::string("h2load --h1 -n 5000 -c 32 -m ") + pipelined + " " + server.url("/"));
    EXPECT_THAT(report,
                HasSubstr("5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed, 0 errored, 0 timeout"));
    EXPECT_THAT(report, HasSubstr("status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx"));
    expect_clean_end(server, 5000);
  }
}

TEST(H2load, posts_bodies) {
  if (!has("h2load")) GTEST_SKIP() << "h2load is not installed; tests/run installs it";
  scratch_file body("body", testing::noise(20'000));
  running_server server(mirror, {}, 2);
  auto report = output_of("h2load --h1 -n 500 -c 8 -d " + body.path() + " " + server.url("/"));
  EXPECT_THAT(report, HasSubstr("500 succeeded, 0 failed, 0 errored, 0 timeout"));
  EXPECT_THAT(report, HasSubstr("(10000000) data"));
  expect_clean_end(server, 500);
}

TEST(ApacheBench, finds_every_answer_right) {
  if (!has("ab")) GTEST_SKIP() << "ab is not installed; tests/run installs it";
  for (auto* kept : {"-k ", ""}) {
    running_server server(mirror, {}, 2);
    auto report = output_of(std::string("ab -q ") + kept + "-n 3000 -c 32 " + server.url("/"));
    EXPECT_THAT(report, ContainsRegex("Complete requests: +3000\n"));
    EXPECT_THAT(report, ContainsRegex("Failed requests: +0\n"));
    if (*kept != '\0') EXPECT_THAT(report, ContainsRegex("Keep-Alive requests: +3000\n"));
    EXPECT_THAT(report, Not(HasSubstr("Non-2xx")));
    EXPECT_THAT(report, Not(HasSubstr("exit status")));
    expect_clean_end(server, 3000);
  }
}

/// A hundred clients that are as slow as they can be, for two seconds.
class Slowhttptest : public ::testing::Test {
 protected:
  void SetUp() override { need("slowhttptest"); }

  static server_options strict() {
    server_options options;
    options.header_timeout = std::chrono::milliseconds(700);
    options.request_timeout = std::chrono::milliseconds(700);
    options.min_write_rate = {.bytes_per_second = 10'000, .grace = std::chrono::milliseconds(300)};
    return options;
  }

  /// The server answers the probe in every second of the attack.
  /// @return what the attacker says in the end
  static std::string attack(const std::string& mode, std::uint64_t timeouts = 0) {
    running_server server(big, strict(), 2);
    testing::temporary_directory dir;
    auto said = output_of("timeout 60 slowhttptest " + mode + " -c 100 -r 200 -i 1 -l 3 -p 2 -x 10 -g -o " +
                          dir / "report" + " -u " + server.url("/big"));
    std::ifstream report(dir / "report.csv");
    std::string line;
    std::getline(report, line);
    EXPECT_EQ(line, "Seconds,Closed,Pending,Connected,Service Available") << said;
    int seconds = 0;
    for (; std::getline(report, line); ++seconds) EXPECT_THAT(line, EndsWith(",100")) << said;
    EXPECT_GT(seconds, 0) << said;
    EXPECT_GE(server.statistics().accepted, 100U);
    EXPECT_GE(server.statistics().timeouts, timeouts);
    server.stop(std::chrono::seconds(10));
    EXPECT_EQ(server.statistics().open, 0U);
    return said;
  }

  static task<void> big(request& req, response& res) {
    static const std::string body(8 << 20, 'b');  // more than the socket takes
    static_cast<void>(co_await req.text());
    res.set("Content-Length", std::to_string(body.size()));
    if (req.method() != method::head) co_await res.send(std::as_bytes(std::span(body)));
  }

  static constexpr const char* got_rid_of = "No open connections left";
};

TEST_F(Slowhttptest, slow_heads_leave_the_service_available) { EXPECT_THAT(attack("-H", 100), HasSubstr(got_rid_of)); }

TEST_F(Slowhttptest, slow_bodies_leave_the_service_available) {
  EXPECT_THAT(attack("-B -s 8192", 100), HasSubstr(got_rid_of));
}

// They learn of the reset only when they have read what was sent before it, at 32 bytes a second.
TEST_F(Slowhttptest, slow_readers_leave_the_service_available) { attack("-X -w 512 -y 1024 -z 32 -n 1", 100); }

TEST_F(Slowhttptest, overlapping_ranges_leave_the_service_available) {
  EXPECT_THAT(attack("-R -a 1 -b 1000"), HasSubstr(got_rid_of));
}

}  // namespace
}  // namespace weir::net::http
