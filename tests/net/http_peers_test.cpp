// The server against clients that others have written: curl, Node's http module and wrk, which tests/run installs.
#include <weir/core/time.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/http_client.hpp>
#include <tests/support/sockets.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

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

void need(const std::string& tool) {
  if (output_of("command -v " + tool).empty() ||
      output_of("command -v " + tool).find("exit status") != std::string::npos) {
    FAIL() << tool << " is not installed; tests/run installs what the tests need";
  }
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
  auto body = co_await req.text(64 << 20);
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

TEST(Wrk, finds_every_answer_right) {
  need("wrk");
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

}  // namespace
}  // namespace weir::net::http
