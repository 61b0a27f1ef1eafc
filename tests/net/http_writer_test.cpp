// tests/net/http_writer_test.cpp: response heads byte by byte, what they promise about the connection, refusals,
// chunks, trailers and dates.
#include <weir/net/http_writer.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using framing = body_framing::kind;

constexpr std::string_view date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

struct row {
  std::string_view name;
  response_head response;
  std::vector<header> headers;
  std::string_view bytes;
  framing body = framing::sized;
  bool keep_alive = true;
};

void check(const std::vector<row>& table) {
  for (row r : table) {
    SCOPED_TRACE(r.name);
    r.response.headers = r.headers;
    std::string out = "before";
    const head_result result = append_response_head(out, r.response);
    EXPECT_EQ(result.fault, header_fault::none);
    EXPECT_EQ(out, "before" + std::string(r.bytes));
    EXPECT_EQ(result.body, r.body);
    EXPECT_EQ(result.keep_alive, r.keep_alive);
  }
}

TEST(HttpResponseHead, is_written_in_few_bytes) {
  check({
      {"hello",
       {.body = body_framing::sized(13), .date_line = date},
       {{"Content-Type", "text/plain"}},
       "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
       "Content-Length: 13\r\n\r\n"},
      {"empty", {}, {}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
      {"largest length",
       {.body = body_framing::sized(UINT64_MAX)},
       {},
       "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"},
      {"chunked",
       {.status = 404, .body = body_framing::chunked()},
       {},
       "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n",
       framing::chunked},
      {"until close",
       {.body = body_framing::until_close()},
       {},
       "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
       framing::until_close,
       false},
      {"own reason",
       {.status = 200, .reason = "Fine \xc3\xa9"},
       {},
       "HTTP/1.1 200 Fine \xc3\xa9\r\nContent-Length: 0\r\n\r\n"},
      {"unknown status", {.status = 999}, {}, "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"},
      {"several lines of one name",
       {},
       {{"Set-Cookie", "a"}, {"Set-Cookie", "b"}, {"X", ""}},
       "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX: \r\nContent-Length: 0\r\n\r\n"},
      {"own date",
       {.date_line = date},
       {{"dAtE", "today"}},
       "HTTP/1.1 200 OK\r\ndAtE: today\r\nContent-Length: 0\r\n\r\n"},
  });
}

TEST(HttpResponseHead, leaves_out_bodies_where_there_are_none) {
  check({
      {"100",
       {.status = 100, .body = body_framing::sized(3), .date_line = date},
       {},
       "HTTP/1.1 100 Continue\r\n\r\n",
       framing::none},
      {"101",
       {.status = 101, .date_line = date},
       {{"Upgrade", "x"}, {"Connection", "Upgrade"}},
       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
       framing::none},
      {"103 does not end the exchange",
       {.status = 103, .keep_alive = false},
       {{"Link", "</a>"}},
       "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
       framing::none},
      {"204", {.status = 204, .body = body_framing::chunked()}, {}, "HTTP/1.1 204 No Content\r\n\r\n", framing::none},
      {"304",
       {.status = 304, .body = body_framing::sized(9), .date_line = date},
       {{"Content-Length", "9"}, {"ETag", "\"x\""}},
       "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
       framing::none},
      {"205",
       {.status = 205, .body = body_framing::chunked()},
       {},
       "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
       framing::none},
      {"HEAD tells the length",
       {.body = body_framing::sized(7), .request_method = method::head},
       {},
       "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
       framing::none},
      {"HEAD of a chunked answer",
       {.body = body_framing::chunked(), .request_method = method::head},
       {},
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       framing::none},
      {"HEAD of an answer until close",
       {.body = body_framing::until_close(), .request_method = method::head},
       {},
       "HTTP/1.1 200 OK\r\n\r\n",
       framing::none},
      {"accepted CONNECT",
       {.body = body_framing::sized(0), .request_method = method::connect},
       {},
       "HTTP/1.1 200 OK\r\n\r\n",
       framing::none},
      {"refused CONNECT",
       {.status = 405, .request_method = method::connect},
       {},
       "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"},
  });
}

TEST(HttpResponseHead, says_whether_the_connection_goes_on) {
  constexpr auto old = version::http_1_0;
  check({
      {"1.1 that closes",
       {.keep_alive = false},
       {},
       "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
       framing::sized,
       false},
      {"1.0 that goes on",
       {.request_version = old},
       {},
       "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
      {"1.0 that goes on, with timeout",
       {.request_version = old, .keep_alive_timeout = 5s},
       {},
       "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"},
      {"1.0 that closes",
       {.request_version = old, .keep_alive = false},
       {},
       "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
       framing::sized,
       false},
      {"1.0 knows no chunks",
       {.body = body_framing::chunked(), .request_version = old},
       {},
       "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
       framing::until_close,
       false},
      {"as Node",
       {.announce_keep_alive = true, .keep_alive_timeout = 5s},
       {},
       "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n"},
      {"a timeout alone is not told to 1.1",
       {.keep_alive_timeout = 5s},
       {},
       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
      {"the handler closes",
       {},
       {{"connection", "foo, Close"}},
       "HTTP/1.1 200 OK\r\nconnection: foo, Close\r\nContent-Length: 0\r\n\r\n",
       framing::sized,
       false},
      {"the handler promises too much",
       {.keep_alive = false},
       {{"Connection", "keep-alive"}, {"A", "b"}},
       "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
       framing::sized,
       false},
      {"the handler has another option",
       {.keep_alive = false},
       {{"Connection", "foo"}},
       "HTTP/1.1 200 OK\r\nConnection: foo\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
       framing::sized,
       false},
      {"the handler keeps alive itself",
       {.announce_keep_alive = true},
       {{"Connection", "keep-alive"}},
       "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
  });
}

TEST(HttpResponseHead, writes_framing_once) {
  check({
      {"length as told",
       {.body = body_framing::sized(12)},
       {{"content-length", "12"}},
       "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"},
      {"chunked as told",
       {.body = body_framing::chunked()},
       {{"Transfer-Encoding", "Chunked"}},
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       framing::chunked},
  });
}

TEST(HttpResponseHead, refuses_what_would_split_or_contradict_it) {
  const struct {
    std::string_view name;
    response_head response;
    std::vector<header> headers;
    header_fault fault;
    std::string_view code;
    std::size_t index = 0;
  } rows[] = {
      {"status 99", {.status = 99}, {}, header_fault::status, "ERR_HTTP_INVALID_STATUS_CODE"},
      {"status 1000", {.status = 1000}, {}, header_fault::status, "ERR_HTTP_INVALID_STATUS_CODE"},
      {"status -200", {.status = -200}, {}, header_fault::status, "ERR_HTTP_INVALID_STATUS_CODE"},
      {"line end in the reason", {.reason = "OK\r\nX: y"}, {}, header_fault::reason, "ERR_INVALID_CHAR"},
      {"empty name", {}, {{"", "a"}}, header_fault::name, "ERR_INVALID_HTTP_TOKEN"},
      {"colon in a name", {}, {{"A", "b"}, {"X: y", "a"}}, header_fault::name, "ERR_INVALID_HTTP_TOKEN", 1},
      {"line end in a name", {}, {{"X\r\nY", "a"}}, header_fault::name, "ERR_INVALID_HTTP_TOKEN"},
      {"byte above ASCII in a name", {}, {{"\xc3\xa9", "a"}}, header_fault::name, "ERR_INVALID_HTTP_TOKEN"},
      {"line end in a value", {}, {{"X", "a\r\nSet-Cookie: b"}}, header_fault::value, "ERR_INVALID_CHAR"},
      {"CR in a value", {}, {{"X", "a\rb"}}, header_fault::value, "ERR_INVALID_CHAR"},
      {"LF in a value", {}, {{"X", "a\nb"}}, header_fault::value, "ERR_INVALID_CHAR"},
      {"NUL in a value", {}, {{"X", "a\0b"sv}}, header_fault::value, "ERR_INVALID_CHAR"},
      {"another length",
       {.body = body_framing::sized(5)},
       {{"Content-Length", "6"}},
       header_fault::content_length,
       "ERR_HTTP_CONTENT_LENGTH_MISMATCH"},
      {"the same length in other words",
       {.body = body_framing::sized(5)},
       {{"Content-Length", "05"}},
       header_fault::content_length,
       "ERR_HTTP_CONTENT_LENGTH_MISMATCH"},
      {"length twice",
       {.body = body_framing::sized(5)},
       {{"Content-Length", "5"}, {"Content-Length", "5"}},
       header_fault::content_length,
       "ERR_HTTP_CONTENT_LENGTH_MISMATCH",
       1},
      {"length with chunks",
       {.body = body_framing::chunked()},
       {{"Content-Length", "5"}},
       header_fault::content_length,
       "ERR_HTTP_CONTENT_LENGTH_MISMATCH"},
      {"chunked with length",
       {.body = body_framing::sized(5)},
       {{"Transfer-Encoding", "chunked"}},
       header_fault::transfer_encoding,
       "ERR_HTTP_TRANSFER_ENCODING_MISMATCH"},
      {"another coding",
       {.body = body_framing::chunked()},
       {{"Transfer-Encoding", "gzip, chunked"}},
       header_fault::transfer_encoding,
       "ERR_HTTP_TRANSFER_ENCODING_MISMATCH"},
  };
  for (auto r : rows) {
    SCOPED_TRACE(r.name);
    r.response.headers = r.headers;
    std::string out = "before";
    const head_result result = append_response_head(out, r.response);
    EXPECT_FALSE(result);
    EXPECT_EQ(result.fault, r.fault);
    EXPECT_EQ(result.index, r.index);
    EXPECT_EQ(code_of(result.fault), r.code);
    EXPECT_EQ(out, "before");
  }
}

TEST(HttpContinue, is_an_interim_response) {
  std::string out;
  append_continue(out);
  EXPECT_EQ(out, "HTTP/1.1 100 Continue\r\n\r\n");
}

TEST(HttpChunk, is_framed_with_its_size) {
  std::string out;
  append_chunk(out, "hello");
  append_chunk(out, "");
  append_chunk(out, std::string(255, 'x'));
  EXPECT_EQ(out, "5\r\nhello\r\nff\r\n" + std::string(255, 'x') + "\r\n");
  out.clear();
  append_chunk_head(out, UINT64_MAX);
  append_chunk_head(out, 16);
  EXPECT_EQ(out, "ffffffffffffffff\r\n10\r\n");
}

TEST(HttpChunk, is_followed_by_the_last_one_with_trailers) {
  std::string out;
  append_last_chunk(out);
  EXPECT_EQ(out, "0\r\n\r\n");
  out.clear();
  const header trailers[] = {{"Digest", "x"}, {"Server-Timing", "y"}};
  EXPECT_TRUE(append_last_chunk(out, trailers));
  EXPECT_EQ(out, "0\r\nDigest: x\r\nServer-Timing: y\r\n\r\n");
}

TEST(HttpChunk, refuses_trailers_that_split_or_frame) {
  const struct {
    header trailer;
    header_fault fault;
  } rows[] = {
      {{"", "a"}, header_fault::name},
      {{"X Y", "a"}, header_fault::name},
      {{"X", "a\r\nb"}, header_fault::value},
      {{"Content-length", "5"}, header_fault::trailer},
      {{"TRANSFER-ENCODING", "chunked"}, header_fault::trailer},
      {{"Host", "a"}, header_fault::trailer},
      {{"Set-Cookie", "a"}, header_fault::trailer},
      {{"Trailer", "a"}, header_fault::trailer},
  };
  for (const auto& r : rows) {
    std::string out = "before";
    const header trailers[] = {{"Fine", "1"}, r.trailer};
    const head_result result = append_last_chunk(out, trailers);
    EXPECT_EQ(result.fault, r.fault) << r.trailer.name;
    EXPECT_EQ(result.index, 1u);
    EXPECT_EQ(out, "before");
  }
}

std::chrono::system_clock::time_point at(std::int64_t seconds) {
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

TEST(HttpDate, is_an_imf_fixdate) {
  const std::pair<std::int64_t, std::string_view> table[] = {
      {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},  {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
      {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},         {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
      {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"}, {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
      {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"}, {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
  };
  for (const auto& [seconds, text] : table) EXPECT_EQ(format_http_date(at(seconds)), text);
  EXPECT_EQ(format_http_date(at(784111777) + 999ms), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(format_http_date(at(-1) + 1ms), "Wed, 31 Dec 1969 23:59:59 GMT");
}

TEST(HttpDateCache, follows_the_second_in_both_directions) {
  date_cache cache;
  EXPECT_EQ(cache.line(at(784111777)), date);
  EXPECT_EQ(cache.line(at(784111777) + 999'999'999ns), date);
  EXPECT_EQ(cache.value(at(784111778)), "Sun, 06 Nov 1994 08:49:38 GMT");
  EXPECT_EQ(cache.value(at(784111777) + 1ns), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(cache.value(at(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
}

}  // namespace
}  // namespace weir::net::http
