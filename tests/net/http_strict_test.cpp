// tests/net/http_strict_test.cpp: every refusal of the HTTP server in one table: input, status, name and reason. Each
// input goes through the parser whole and cut at every byte, and through a server's socket, where the transcript
// counts: one status line, `Connection: close`, the end, and nothing of what was smuggled behind.
//
// Stricter on purpose than llhttp, Node and their test cases:
//
//   - HTTP/0.9, `GET /` without a version: 505, as no server has needed it for decades
//   - RTSP/1.0, ICE/1.0 and their methods: 400, not HTTP (RFC 9112 2.3); an unknown version of HTTP: 505 (RFC 9110
//     15.6.6), where Node says 400
//   - LF or CR alone before a request line: 400; RFC 9112 2.2 allows CRLF only
//   - two Hosts, or one that is no host: 400 (RFC 9112 3.2)
//   - user information in an absolute target: 400 (RFC 9110 4.2.4); CONNECT without a port: 400 (RFC 9110 9.3.6)
//   - an empty `Transfer-Encoding`, or `,chunked`: 400, as some read it the other way
//   - `Transfer-Encoding: gzip, chunked`: 501 (RFC 9112 6.1), where Node hands the body on as it is
//   - a coding that is not chunked at the end: 400 before the handler, not behind it
//   - `Transfer-Encoding` in HTTP/1.0: 400 (RFC 9112 6.1)
//   - input behind `Connection: close`: not read, as the answer is on its way
//
// parser_options::check_host and other_codings lift those that are about Host and codings.
#include <weir/net/http_parser.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/http_client.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace weir::net::http {
namespace {

using namespace std::string_literals;

struct refusal {
  std::string_view what;
  std::string input;
  int status;
  std::string_view name;
  std::string_view reason;
};

// Behind every input, so that a reader who takes less than he should finds something to serve.
const std::string stolen = "GET /stolen HTTP/1.1\r\nHost: a\r\n\r\n";

std::string line(std::string_view text) { return std::string(text) + "\r\nHost: a\r\n\r\n" + stolen; }
std::string with(std::string_view lines) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n" + stolen;
}
std::string chunks(std::string_view text) {
  return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(text) + stolen;
}
std::string host(std::string_view value) {
  return "GET / HTTP/1.1\r\nHost: " + std::string(value) + "\r\n\r\n" + stolen;
}

std::vector<refusal> request_lines() {
  const std::string_view method = "HPE_INVALID_METHOD", target = "HPE_INVALID_URL", version = "HPE_INVALID_VERSION";
  const std::string_view no_method = "Invalid method encountered", no_target = "Invalid request target";
  const std::string_view neither = "Neither HTTP/1.0 nor HTTP/1.1";
  return {
      {"method in lower case", line("get / HTTP/1.1"), 400, method, no_method},
      {"unknown method", line("GRAB / HTTP/1.1"), 400, method, no_method},
      {"blank before the method", line(" GET / HTTP/1.1"), 400, method, no_method},
      {"tab behind the method", line("GET\t/ HTTP/1.1"), 400, method, "Expected space after method"},
      {"NUL before the method", line("\0GET / HTTP/1.1"s), 400, method, no_method},
      {"TLS", "\x16\x03\x01\x02\x00\x01"s + stolen, 400, method, no_method},
      {"no target", line("GET HTTP/1.1"), 400, target, "Unexpected char in url schema"},
      {"control byte in the target", line("GET /\1 HTTP/1.1"), 400, target, "Invalid char in url path"},
      {"NUL in the target", line("GET /\0 HTTP/1.1"s), 400, target, "Invalid char in url path"},
      {"DEL in the target", line("GET /\x7f HTTP/1.1"), 400, target, "Invalid char in url path"},
      {"bytes above ASCII in the target", line("GET /\xc3\xa9 HTTP/1.1"), 400, target, "Invalid char in url path"},
      {"blank in the target", line("GET /a b HTTP/1.1"), 400, "HPE_INVALID_CONSTANT", "Expected HTTP/"},
      {"relative target", line("GET a/b HTTP/1.1"), 400, target, "Unexpected char in url schema"},
      {"absolute target without an authority", line("GET http:///a HTTP/1.1"), 400, target, no_target},
      {"absolute target with a user", line("GET http://u@a/ HTTP/1.1"), 400, target, no_target},
      {"absolute target with two ports", line("GET http://a:1:2/ HTTP/1.1"), 400, target, no_target},
      {"asterisk for GET", line("GET * HTTP/1.1"), 400, target, no_target},
      {"CONNECT without a port", line("CONNECT a HTTP/1.1"), 400, target, no_target},
      {"CONNECT to an empty port", line("CONNECT a: HTTP/1.1"), 400, target, no_target},
      {"CONNECT to port 0", line("CONNECT a:0 HTTP/1.1"), 400, target, no_target},
      {"CONNECT beyond the ports", line("CONNECT a:65536 HTTP/1.1"), 400, target, no_target},
      {"CONNECT to a path", line("CONNECT / HTTP/1.1"), 400, target, no_target},
      {"HTTP/0.9", line("GET /"), 505, version, neither},
      {"HTTP/0.9 with its number", line("GET / HTTP/0.9"), 505, version, neither},
      {"HTTP/1.2", line("GET / HTTP/1.2"), 505, version, neither},
      {"HTTP/2.0", line("GET / HTTP/2.0"), 505, version, neither},
      {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, version, neither},
      {"three digits of the version", line("GET / HTTP/1.10"), 505, version, neither},
      {"blank behind the version", line("GET / HTTP/1.1 "), 505, version, neither},
      {"version in lower case", line("GET / http/1.1"), 400, "HPE_INVALID_CONSTANT", "Expected HTTP/"},
      {"RTSP", line("OPTIONS / RTSP/1.0"), 400, "HPE_INVALID_CONSTANT", "Expected HTTP/"},
      {"a method of RTSP", line("ANNOUNCE / HTTP/1.1"), 400, "HPE_INVALID_CONSTANT",
       "Invalid method for HTTP/x.x request"},
      {"bare LF before the request", "\n" + line("GET / HTTP/1.1"), 400, "HPE_CR_EXPECTED", "Missing CR before LF"},
      {"bare CR before the request", "\r" + line("GET / HTTP/1.1"), 400, "HPE_LF_EXPECTED", "Missing LF after CR"},
      {"bare LF behind the version", "GET / HTTP/1.1\nHost: a\r\n\r\n" + stolen, 400, version,
       "Missing CR before LF behind the version"},
      {"bare CR behind the version", "GET / HTTP/1.1\rHost: a\r\n\r\n" + stolen, 400, "HPE_STRICT",
       "Missing LF after CR behind the version"},
  };
}

std::vector<refusal> hosts() {
  const std::string_view name = "HPE_INVALID_HOST", reason = "Invalid Host";
  return {
      {"none", "GET / HTTP/1.1\r\n\r\n" + stolen, 400, "HPE_MISSING_HOST", "HTTP/1.1 request without Host"},
      {"two", with("Host: b\r\n"), 400, "HPE_DUPLICATE_HOST", "More than one Host"},
      {"the same twice", with("HOST: a\r\n"), 400, "HPE_DUPLICATE_HOST", "More than one Host"},
      {"two in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "HPE_DUPLICATE_HOST", "More than one Host"},
      {"a list", host("a, b"), 400, name, reason},
      {"with a user", host("u@a"), 400, name, reason},
      {"with a path", host("a/b"), 400, name, reason},
      {"with a scheme", host("http://a"), 400, name, reason},
      {"with a backslash", host("a\\b"), 400, name, reason},
      {"with text for a port", host("a:b"), 400, name, reason},
      {"with two ports", host("a:1:2"), 400, name, reason},
      {"beyond the ports", host("a:65536"), 400, name, reason},
      {"a port alone", host(":80"), 400, name, reason},
      {"half a percent sign", host("a%2"), 400, name, reason},
      {"an open bracket", host("[::1"), 400, name, reason},
      {"no address in brackets", host("[a]"), 400, name, reason},
      {"text behind a bracket", host("[::1]b"), 400, name, reason},
      {"bytes above ASCII", host("\xc3\xa9"), 400, name, reason},
  };
}

std::vector<refusal> header_lines() {
  const std::string_view token = "HPE_INVALID_HEADER_TOKEN";
  const std::string_view in_name = "Invalid character in a header name",
                         in_value = "Invalid character in a header value";
  return {
      {"CVE-2023-30589: CR as line end", with("X:\rTransfer-Encoding: chunked\r\n"), 400, "HPE_STRICT",
       "Expected LF after CR"},
      {"bare CR in a value", with("X: a\rY: b\r\n"), 400, "HPE_LF_EXPECTED", "Missing expected LF after header value"},
      {"bare CR before the line end", with("X: a\r\r\n"), 400, "HPE_LF_EXPECTED",
       "Missing expected LF after header value"},
      {"bare CR as an empty line", with("\rX"), 400, "HPE_STRICT", "Expected LF after headers"},
      {"bare LF in a value", with("X: a\nY: b\r\n"), 400, "HPE_CR_EXPECTED", "Missing CR before LF"},
      {"bare LF for a value", with("X:\nY: b\r\n"), 400, token, in_value},
      {"bare LF as an empty line", with("\nX"), 400, "HPE_CR_EXPECTED", "Missing CR before LF"},
      {"space before the colon", with("Content-Length : 5\r\n"), 400, token, in_name},
      {"tab before the colon", with("Content-Length\t: 5\r\n"), 400, token, in_name},
      {"empty name", with(": a\r\n"), 400, token, in_name},
      {"no colon", with("Content-Length\r\n"), 400, token, in_name},
      {"bytes above ASCII in a name", with("X\xa0: a\r\n"), 400, token, in_name},
      {"NUL in a name", with("X\0: a\r\n"s), 400, token, in_name},
      {"NUL in a value", with("X: a\0b\r\n"s), 400, token, in_value},
      {"escape in a value", with("X: \x1b[2J\r\n"), 400, token, in_value},
      {"obs-fold", with("X: a\r\n b\r\n"), 400, token, "Header line that starts with a blank"},
      {"obs-fold of the coding", with("Transfer-Encoding:\r\n chunked\r\n"), 400, token,
       "Header line that starts with a blank"},
      {"blank before the first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n" + stolen, 400, "HPE_UNEXPECTED_SPACE",
       "Blank before the first header"},
  };
}

std::vector<refusal> framing() {
  const std::string_view length = "HPE_INVALID_CONTENT_LENGTH", coding = "HPE_INVALID_TRANSFER_ENCODING";
  const std::string_view bad_char = "Invalid character in Content-Length";
  const std::string_view order = "chunked is not the last transfer coding, once";
  return {
      {"length, then coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400, coding,
       "Transfer-Encoding with Content-Length"},
      {"coding, then length", with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400, length,
       "Content-Length with Transfer-Encoding"},
      {"coding, then no length", with("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), 400, length,
       "Content-Length with Transfer-Encoding"},
      {"lengths that differ", with("Content-Length: 5\r\nContent-Length: 6\r\n"), 400, "HPE_UNEXPECTED_CONTENT_LENGTH",
       "Duplicate Content-Length"},
      {"the same length twice", with("Content-Length: 5\r\nContent-Length: 5\r\n"), 400,
       "HPE_UNEXPECTED_CONTENT_LENGTH", "Duplicate Content-Length"},
      {"list of lengths", with("Content-Length: 5, 5\r\n"), 400, length, bad_char},
      {"+5", with("Content-Length: +5\r\n"), 400, length, bad_char},
      {"-5", with("Content-Length: -5\r\n"), 400, length, bad_char},
      {"0x5", with("Content-Length: 0x5\r\n"), 400, length, bad_char},
      {"1_0", with("Content-Length: 1_0\r\n"), 400, length, bad_char},
      {"two numbers", with("Content-Length: 1 0\r\n"), 400, length, bad_char},
      {"2^64", with("Content-Length: 18446744073709551616\r\n"), 400, length, "Content-Length overflow"},
      {"empty length", with("Content-Length:\r\n"), 400, length, "Invalid Content-Length"},
      {"chunked is not last", with("Transfer-Encoding: chunked, gzip\r\n"), 400, coding,
       "Invalid `Transfer-Encoding` header value"},
      {"chunked is not last, two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), 400, coding,
       "Invalid `Transfer-Encoding` header value"},
      {"chunked twice", with("Transfer-Encoding: chunked, chunked\r\n"), 400, coding,
       "Invalid `Transfer-Encoding` header value"},
      {"empty coding", with("Transfer-Encoding:\r\n"), 400, coding, order},
      {"empty element", with("Transfer-Encoding: ,chunked\r\n"), 400, coding, order},
      {"unknown coding", with("Transfer-Encoding: xchunked\r\n"), 501, coding, "Unknown transfer coding"},
      {"identity", with("Transfer-Encoding: identity\r\n"), 501, coding, "Unknown transfer coding"},
      {"gzip before chunked", with("Transfer-Encoding: gzip, chunked\r\n"), 501, coding, "Unknown transfer coding"},
      {"chunked with a parameter", with("Transfer-Encoding: chunked;q=1\r\n"), 501, coding, "Unknown transfer coding"},
      {"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, coding,
       "Transfer-Encoding in HTTP/1.0"},
  };
}

std::vector<refusal> chunk_lines() {
  const std::string_view size = "HPE_INVALID_CHUNK_SIZE", bad = "Invalid character in chunk size";
  const std::string_view strict = "HPE_STRICT", extension = "Invalid chunk extension";
  return {
      {"empty size", chunks("\r\n"), 400, size, bad},
      {"blank before the size", chunks(" 2\r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"blank behind the size", chunks("2 \r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"tab behind the size", chunks("2\t\r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"0x2", chunks("0x2\r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"+2", chunks("+2\r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"0_2", chunks("0_2\r\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"2^64", chunks("10000000000000000\r\nab\r\n0\r\n\r\n"), 400, size, "Chunk size overflow"},
      {"bare LF behind the size", chunks("2\nab\r\n0\r\n\r\n"), 400, size, bad},
      {"bare CR behind the size", chunks("2\rab\r\n0\r\n\r\n"), 400, strict, "Expected LF after chunk size"},
      {"data longer than told", chunks("2\r\nabc\r\n0\r\n\r\n"), 400, strict, "Expected CRLF after chunk"},
      {"data without CRLF", chunks("2\r\nab0\r\n\r\n"), 400, strict, "Expected CRLF after chunk"},
      {"data with LF alone", chunks("2\r\nab\n0\r\n\r\n"), 400, strict, "Expected CRLF after chunk"},
      {"empty extension", chunks("2;\r\nab\r\n0\r\n\r\n"), 400, strict, extension},
      {"bare LF in an extension", chunks("2;a\nab\r\n0\r\n\r\n"), 400, strict, extension},
      {"NUL in an extension", chunks("2;a\0\r\nab\r\n0\r\n\r\n"s), 400, strict, extension},
      {"quotes left open", chunks("2;a=\"b\r\nab\r\n0\r\n\r\n"), 400, strict, extension},
      {"extensions without end", chunks("2;" + std::string(20'000, 'a')), 413, "HPE_CHUNK_EXTENSIONS_OVERFLOW",
       "Chunk extensions too large"},
      {"zeros without end", chunks(std::string(20'000, '0')), 413, "HPE_CHUNK_EXTENSIONS_OVERFLOW",
       "Chunk extensions too large"},
      {"fold in a trailer", chunks("0\r\nX: a\r\n b\r\n\r\n"), 400, "HPE_INVALID_HEADER_TOKEN",
       "Header line that starts with a blank"},
      {"trailers without end", chunks("0\r\nX: " + std::string(20'000, 'a')), 431, "HPE_HEADER_OVERFLOW",
       "Head too large"},
  };
}

std::vector<refusal> sizes() {
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 2000; ++i) many += "a:\r\n";
  std::string empty_lines;
  while (empty_lines.size() < 20'000) empty_lines += "\r\n";
  return {
      {"target", line("GET /" + std::string(9000, 'a') + " HTTP/1.1"), 414, "HPE_URL_OVERFLOW",
       "Request target too long"},
      {"target beyond the head", line("GET /" + std::string(20'000, 'a') + " HTTP/1.1"), 431, "HPE_HEADER_OVERFLOW",
       "Head too large"},
      {"value", with("X: " + std::string(20'000, 'a') + "\r\n"), 431, "HPE_HEADER_OVERFLOW", "Head too large"},
      {"name", with(std::string(20'000, 'a') + ": b\r\n"), 431, "HPE_HEADER_OVERFLOW", "Head too large"},
      {"lines", many + "\r\n" + stolen, 431, "HPE_HEADER_OVERFLOW", "Too many header lines"},
      {"empty lines", empty_lines + stolen, 431, "HPE_HEADER_OVERFLOW", "Head too large"},
      {"body", with("Content-Length: 5000\r\n"), 413, "HPE_BODY_OVERFLOW", "Body too large"},
      {"body of 2^63", with("Content-Length: 9223372036854775808\r\n"), 413, "HPE_BODY_OVERFLOW", "Body too large"},
      {"chunk", chunks("1388\r\n"), 413, "HPE_BODY_OVERFLOW", "Body too large"},
      {"chunk of 2^63", chunks("8000000000000000\r\n"), 413, "HPE_BODY_OVERFLOW", "Body too large"},
  };
}

constexpr std::uint64_t max_body = 4000;

parse_failure failure_of(std::string_view input, std::size_t cut) {
  parser p({.max_body = max_body});
  for (std::string_view piece : {input.substr(0, cut), input.substr(cut)}) {
    for (event e = event::head; e != event::need_more;) {
      e = p.next(piece);
      if (e == event::error) return p.failure();
      EXPECT_TRUE(e == event::head || e == event::body || e == event::need_more) << static_cast<int>(e);
      if (e != event::head && e != event::body && e != event::need_more) return {};
    }
  }
  return {"nothing", "no failure", 0};
}

void expect_refusals(const std::vector<refusal>& table) {
  for (const refusal& each : table) {
    SCOPED_TRACE(each.what);
    const std::size_t step = 1 + each.input.size() / 1000;  // every byte of all but the largest inputs
    for (std::size_t cut = 0; cut <= each.input.size(); cut += step) {
      const parse_failure why = failure_of(each.input, cut);
      ASSERT_EQ(why.status, each.status) << "cut at " << cut << ": " << why.name << ", " << why.reason;
      ASSERT_EQ(why.name, each.name) << "cut at " << cut;
      ASSERT_EQ(why.reason, each.reason) << "cut at " << cut;
    }
  }
}

TEST(HttpStrict, refuses_request_lines) { expect_refusals(request_lines()); }
TEST(HttpStrict, refuses_hosts) { expect_refusals(hosts()); }
TEST(HttpStrict, refuses_header_lines) { expect_refusals(header_lines()); }
TEST(HttpStrict, refuses_framing_that_can_be_read_in_two_ways) { expect_refusals(framing()); }
TEST(HttpStrict, refuses_chunk_lines_and_trailers) { expect_refusals(chunk_lines()); }
TEST(HttpStrict, refuses_what_is_too_large) { expect_refusals(sizes()); }

task<void> serve_body(request& req, response& res) {
  const std::string body = co_await req.text();
  co_await res.end("served " + std::string(req.target()) + " " + std::to_string(body.size()));
}

// What the server says to the input: all of it up to the end of the connection, without the date.
std::string transcript(const testing::running_server& server, std::string_view input, std::size_t step) {
  auto client = server.connect();
  for (std::size_t at = 0; at < input.size() && client.send(input.substr(at, step)); at += step) {
  }
  std::string text = client.read_rest();
  if (const std::size_t date = text.find("Date: "); date != std::string::npos) {
    text.erase(date, text.find("\r\n", date) + 2 - date);
  }
  return text;
}

// The transcript of a refusal. What the server writes besides the status line and `Connection: close` is its own.
void expect_refused(const std::string& said, const refusal& why) {
  const std::string start =
      "HTTP/1.1 " + std::to_string(why.status) + " " + std::string(status_text(why.status)) + "\r\n";
  EXPECT_TRUE(said.starts_with(start)) << said;
  EXPECT_NE(said.find("\r\nConnection: close\r\n"), std::string::npos) << said;
  EXPECT_EQ(said.find("\nHTTP/1.1 "), std::string::npos) << said;  // one answer only
  EXPECT_EQ(said.find("served"), std::string::npos) << said;
}

// A server answers once, says that it closes, and does.
void expect_transcripts(const std::vector<refusal>& table) {
  server_options options;
  options.max_body = max_body;
  testing::running_server server(serve_body, options);
  for (const refusal& each : table) {
    SCOPED_TRACE(each.what);
    expect_refused(transcript(server, each.input, each.input.size()), each);
    expect_refused(transcript(server, each.input, 1 + each.input.size() / 200), each);
  }
  server.stop();
  EXPECT_EQ(server.statistics().errors, 2 * table.size());
  EXPECT_EQ(server.statistics().handler_failures, 0u);
}

TEST(HttpStrict, answers_bad_request_lines) { expect_transcripts(request_lines()); }
TEST(HttpStrict, answers_bad_hosts) { expect_transcripts(hosts()); }
TEST(HttpStrict, answers_bad_header_lines) { expect_transcripts(header_lines()); }
TEST(HttpStrict, answers_framing_that_can_be_read_in_two_ways) { expect_transcripts(framing()); }
TEST(HttpStrict, answers_bad_chunk_lines_and_trailers) { expect_transcripts(chunk_lines()); }
TEST(HttpStrict, answers_what_is_too_large) { expect_transcripts(sizes()); }

TEST(HttpStrict, gives_the_reason_in_the_answer) {
  testing::running_server server(serve_body);
  const std::string said = transcript(server, host("a/b"), 1000);
  EXPECT_NE(said.find("Invalid Host"), std::string::npos) << said;
}

TEST(HttpStrict, answers_417_to_expectations_that_nobody_can_meet) {
  testing::running_server server(serve_body);
  const std::string said = transcript(server, with("Expect: tea\r\n"), 1000);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 417 Expectation Failed\r\n")) << said;
  EXPECT_NE(said.find("\r\nConnection: close\r\n"), std::string::npos) << said;
  EXPECT_EQ(said.find("served"), std::string::npos) << said;
}

TEST(HttpStrict, serves_nothing_behind_a_request_that_closes) {
  testing::running_server server(serve_body);
  for (const std::string_view first :
       {"GET /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /first HTTP/1.0\r\n\r\n"}) {
    const std::string said = transcript(server, std::string(first) + stolen, 1000);
    EXPECT_TRUE(said.starts_with("HTTP/1.1 200 OK\r\n")) << said;
    EXPECT_TRUE(said.ends_with("\r\n\r\nserved /first 0")) << said;
  }
}

TEST(HttpStrict, answers_the_good_requests_in_front_of_a_bad_one) {
  testing::running_server server(serve_body);
  const std::string good = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string said = transcript(server, good + "GET /bad HTTP/1.1\r\nHost : a\r\n\r\n" + stolen, 1000);
  EXPECT_TRUE(said.starts_with("HTTP/1.1 200 OK\r\n")) << said;
  EXPECT_NE(said.find("served /first 0HTTP/1.1 400 Bad Request\r\n"), std::string::npos) << said;
  EXPECT_EQ(said.find("/stolen"), std::string::npos) << said;
}

TEST(HttpStrict, lets_an_absolute_target_overrule_host) {
  const struct {
    std::string_view input;
    std::string_view authority;
  } rows[] = {
      {"GET http://b:8/c HTTP/1.1\r\nHost: a\r\n\r\n", "b:8"},
      {"GET http://b?c HTTP/1.1\r\nHost: a\r\n\r\n", "b"},
      {"GET http://[::1]:8/ HTTP/1.1\r\nHost: a\r\n\r\n", "[::1]:8"},
      {"CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "b:443"},
      {"GET /c HTTP/1.1\r\nHost: a:1\r\n\r\n", "a:1"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a"},
      {"GET /c HTTP/1.0\r\n\r\n", ""},
  };
  for (const auto& each : rows) {
    parser p;
    std::string_view input = each.input;
    ASSERT_EQ(p.next(input), event::head) << each.input;
    EXPECT_EQ(authority_of(p.head()), each.authority) << each.input;
  }
}

// The strictness about Host must not cost anyone his name.
TEST(HttpStrict, takes_every_host_that_is_one) {
  for (const std::string_view value :
       {"", "a", "a.b.", "a:", "a:0", "a:1", "a:65535", "a:00080", "127.0.0.1:8080", "[::1]", "[::ffff:1.2.3.4]:80",
        "xn--bcher-kva.example", "a_b", "%41%4a", "!$&'()*+;="}) {
    parser p;
    const std::string text = host(value);
    std::string_view input = text;
    EXPECT_EQ(p.next(input), event::head) << value << ": " << p.failure().reason;
    EXPECT_EQ(authority_of(p.head()), value);
  }
}

TEST(HttpStrict, sees_no_upgrade_to_nothing) {
  parser p;
  std::string_view input = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_FALSE(p.head().upgrade);
}

TEST(HttpStrict, passes_over_empty_elements_of_codings_where_it_is_told_to) {
  const parser_options options{.other_codings = true};
  parser p(options);
  std::string_view input = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_TRUE(p.head().chunked);
  ASSERT_EQ(p.next(input), event::message_end);

  input = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_FALSE(p.head().has_body());
  ASSERT_EQ(p.next(input), event::message_end);
}

TEST(HttpStrict, takes_other_codings_where_it_is_told_to) {
  const parser_options options{.other_codings = true};
  parser p(options);
  std::string_view input = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_TRUE(p.head().chunked);
  ASSERT_EQ(p.next(input), event::body);
  EXPECT_EQ(p.body(), "z");
  ASSERT_EQ(p.next(input), event::message_end);

  input = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nzzz";
  ASSERT_EQ(p.next(input), event::head);
  ASSERT_EQ(p.next(input), event::error);
  EXPECT_EQ(p.failure().status, 400);
  EXPECT_EQ(p.failure().name, "HPE_INVALID_TRANSFER_ENCODING");
}

TEST(HttpStrict, does_not_look_at_host_where_it_is_told_not_to) {
  const parser_options options{.require_host = false, .check_host = false};
  for (const std::string_view head :
       {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"}) {
    parser p(options);
    std::string_view input = head;
    EXPECT_EQ(p.next(input), event::head) << head;
  }
}

}  // namespace
}  // namespace weir::net::http
