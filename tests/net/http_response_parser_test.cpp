// tests/net/http_response_parser_test.cpp: what the response parser accepts, refuses and reports. Every input of every
// table is fed whole, cut at every position, and byte by byte; all must tell the same story.
#include <weir/net/http_response_parser.hpp>

#include <tests/support/parser_story.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace weir::net::http {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::string line_of(const received_head& head) {
  std::string text = std::to_string(head.status) + " '" + std::string(head.reason) + "'";
  if (head.version == version::http_1_0) text += " 1.0";
  if (head.has_content_length) text += " length=" + std::to_string(head.content_length);
  if (head.chunked) text += " chunked";
  if (head.until_close) text += " until-close";
  if (!head.has_body) text += " bodiless";
  if (!head.keep_alive) text += " close";
  if (head.upgrade) text += " upgrade";
  if (head.interim()) text += " interim";
  for (const header& h : head.headers) text += " [" + std::string(h.name) + "=" + std::string(h.value) + "]";
  EXPECT_TRUE(head.raw.starts_with("HTTP/1.") && head.raw.ends_with("\r\n\r\n"));
  EXPECT_FALSE(head.until_close && (head.chunked || head.has_content_length));
  return text;
}

// Responses to `requests`, in order; to GET when there are no more.
testing::story_teller<response_parser> teller(std::vector<method> requests) {
  struct script {
    std::vector<method> requests;
    std::size_t at = 0;
    void next(response_parser& p) {
      if (at < requests.size()) p.expect(requests[at++]);
    }
  };
  auto told = std::make_shared<script>();
  const auto begin = [told, requests](response_parser& p) {
    *told = {requests};
    told->next(p);
  };
  const auto head = [told](response_parser& p) {
    std::string line = line_of(p.head());
    if (!p.head().interim()) told->next(p);
    return line;
  };
  return {.head = head, .begin = begin};
}

std::string tell(std::string_view input, const response_parser_options& options = {},
                 std::vector<method> requests = {}) {
  return testing::tell<response_parser>(input, options, teller(std::move(requests)));
}

struct row {
  std::string_view name;
  std::string_view input;
  std::string_view story;
};

void check(const std::vector<row>& table, const response_parser_options& options = {},
           const std::vector<method>& requests = {}) {
  for (const row& r : table) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(tell(r.input, options, requests), r.story);
  }
}

TEST(HttpResponseParser, reads_heads_of_every_common_form) {
  check({
      {"plain", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 'OK' length=0 bodiless [Content-Length=0]\nend\n"},
      {"1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
       "200 'OK' 1.0 length=0 bodiless close [Content-Length=0]\nend\nclosed\n"},
      {"no reason", "HTTP/1.1 204 \r\n\r\n", "204 '' bodiless\nend\n"},
      {"no reason and no space", "HTTP/1.1 204\r\n\r\n", "204 '' bodiless\nend\n"},
      {"reason of many words", "HTTP/1.1 304 Not\tat all  modified \r\n\r\n",
       "304 'Not\tat all  modified ' bodiless\nend\n"},
      {"reason with bytes above ASCII", "HTTP/1.1 204 \xc3\xa9\xff\r\n\r\n", "204 '\xc3\xa9\xff' bodiless\nend\n"},
      {"unknown status", "HTTP/1.1 999 Hm\r\nContent-Length: 0\r\n\r\n",
       "999 'Hm' length=0 bodiless [Content-Length=0]\nend\n"},
      {"empty lines before a response", "\r\n\r\nHTTP/1.1 204 x\r\n\r\n", "204 'x' bodiless\nend\n"},
      {"case and order are kept", "HTTP/1.1 204 x\r\nb: 1\r\nA:2\r\nB: \t3 \r\n\r\n",
       "204 'x' bodiless [b=1] [A=2] [B=3]\nend\n"},
  });
}

TEST(HttpResponseParser, decides_where_a_response_ends) {
  check({
      {"sized", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
       "200 'OK' length=5 [Content-Length=5]\nbody hello\nend\n"},
      {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
       "200 'OK' chunked [Transfer-Encoding=chunked]\nbody hello\nend\n"},
      {"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nDigest: x\r\n\r\n",
       "200 'OK' chunked [Transfer-Encoding=chunked]\nend [Digest=x]\n"},
      {"the end of the connection", "HTTP/1.1 200 OK\r\n\r\nhello\r\n0\r\n\r\n",
       "200 'OK' until-close close\nbody hello\r\n0\r\n\r\n\nend\n"},
      {"nothing until the end", "HTTP/1.1 200 OK\r\n\r\n", "200 'OK' until-close close\nend\n"},
      {"other coding before chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n",
       "200 'OK' chunked [Transfer-Encoding=gzip, chunked]\nbody z\nend\n"},
      {"chunked before another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nzzz",
       "200 'OK' until-close close [Transfer-Encoding=chunked, gzip]\nbody zzz\nend\n"},
      {"a coding nobody knows", "HTTP/1.1 200 OK\r\nTransfer-Encoding: pigeons\r\n\r\nzzz",
       "200 'OK' until-close close [Transfer-Encoding=pigeons]\nbody zzz\nend\n"},
      {"204 has no body", "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "204 'x' length=5 bodiless [Content-Length=5]\nend\n204 'y' bodiless\nend\n"},
      {"304 has none, whatever its length says", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "304 'x' length=5 bodiless [Content-Length=5]\nend\n204 'y' bodiless\nend\n"},
      {"304 has none, whatever its coding says",
       "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "304 'x' chunked bodiless [Transfer-Encoding=chunked]\nend\n204 'y' bodiless\nend\n"},
      {"data that looks like a head", "HTTP/1.1 200 x\r\nContent-Length: 8\r\n\r\nHTTP/1.1HTTP/1.1 204 y\r\n\r\n",
       "200 'x' length=8 [Content-Length=8]\nbody HTTP/1.1\nend\n204 'y' bodiless\nend\n"},
  });
}

TEST(HttpResponseParser, knows_that_head_and_connect_change_where_a_response_ends) {
  check(
      {{"HEAD with a length", "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 y\r\nContent-Length: 1\r\n\r\nz",
        "200 'x' length=5 bodiless [Content-Length=5]\nend\n200 'y' length=1 [Content-Length=1]\nbody z\nend\n"},
       {"HEAD with chunks", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
        "200 'x' chunked bodiless [Transfer-Encoding=chunked]\nend\n204 'y' bodiless\nend\n"},
       {"HEAD without either goes on", "HTTP/1.1 200 x\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
        "200 'x' bodiless\nend\n204 'y' bodiless\nend\n"},
       {"an interim response does not use it up",
        "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
        "103 'x' bodiless interim\nend\n200 'x' length=5 bodiless [Content-Length=5]\nend\n204 'y' bodiless\nend\n"}},
      {}, {method::head});
  check({{"CONNECT", "HTTP/1.1 200 Connection established\r\n\r\n\0\1\2"sv,
          "200 'Connection established' bodiless upgrade\nend\nswitched \0\1\2"sv},
         {"framing of an accepted CONNECT means nothing", "HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nab",
          "200 'x' length=2 bodiless upgrade [Content-Length=2]\nend\nswitched ab"},
         {"CONNECT in 1.0", "HTTP/1.0 200 x\r\n\r\nab", "200 'x' 1.0 bodiless close upgrade\nend\nswitched ab"},
         {"CONNECT refused", "HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 204 y\r\n\r\n",
          "407 'x' length=2 [Content-Length=2]\nbody ab\nend\n204 'y' bodiless\nend\n"}},
        {}, {method::connect});
}

TEST(HttpResponseParser, passes_interim_responses_on) {
  check({
      {"100 and 103 before 200",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </a>\r\n\r\n"
       "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
       "100 'Continue' bodiless interim\nend\n103 'x' bodiless interim [Link=</a>]\nend\n103 'x' bodiless "
       "interim\nend\n"
       "200 'OK' length=1 [Content-Length=1]\nbody a\nend\n"},
      {"an interim response does not close", "HTTP/1.1 100 x\r\nConnection: close\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "100 'x' bodiless interim [Connection=close]\nend\n204 'y' bodiless\nend\n"},
      {"of 1.0", "HTTP/1.0 100 x\r\n\r\nHTTP/1.0 204 y\r\n\r\n",
       "100 'x' 1.0 bodiless interim\nend\n204 'y' 1.0 bodiless close\nend\nclosed\n"},
      {"an empty line between them", "HTTP/1.1 100 x\r\n\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "100 'x' bodiless interim\nend\n204 'y' bodiless\nend\n"},
  });
}

TEST(HttpResponseParser, hands_over_the_connection_after_101) {
  check({
      {"websocket", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x01x",
       "101 'Switching Protocols' bodiless upgrade [Upgrade=websocket] [Connection=Upgrade]\nend\nswitched \x81\x01x"},
      {"length means nothing", "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 4\r\n\r\nbody",
       "101 'x' length=4 bodiless upgrade [Upgrade=h2c] [Connection=upgrade] [Content-Length=4]\nend\nswitched body"},
      {"coding means nothing",
       "HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
       "101 'x' chunked bodiless upgrade [Upgrade=h2c] [Connection=upgrade] [Transfer-Encoding=chunked]\nend\n"
       "switched 0\r\n"},
      {"101 to nothing is interim", "HTTP/1.1 101 x\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "101 'x' bodiless interim\nend\n204 'y' bodiless\nend\n"},
      {"200 only announces", "HTTP/1.1 200 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\na",
       "200 'x' length=1 [Upgrade=h2c] [Connection=upgrade] [Content-Length=1]\nbody a\nend\n"},
  });
}

TEST(HttpResponseParser, decides_whether_the_connection_goes_on) {
  check({
      {"1.1 does", "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 204 y\r\n\r\n", "204 'x' bodiless\nend\n204 'y' bodiless\nend\n"},
      {"1.1 with close does not, and what follows is not read",
       "HTTP/1.1 204 x\r\nConnection: close\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
       "204 'x' bodiless close [Connection=close]\nend\nclosed\n"},
      {"1.0 does not", "HTTP/1.0 204 x\r\n\r\n\1", "204 'x' 1.0 bodiless close\nend\nclosed\n"},
      {"1.0 with keep-alive does", "HTTP/1.0 204 x\r\nConnection: keep-alive\r\n\r\nHTTP/1.0 204 y\r\n\r\n",
       "204 'x' 1.0 bodiless [Connection=keep-alive]\nend\n204 'y' 1.0 bodiless close\nend\nclosed\n"},
      {"1.0 with chunks does not",
       "HTTP/1.0 200 x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
       "1\r\na\r\n0\r\n\r\n",
       "200 'x' 1.0 chunked close [Connection=keep-alive] [Transfer-Encoding=chunked]\nbody a\nend\nclosed\n"},
      {"Proxy-Connection means nothing", "HTTP/1.1 204 x\r\nProxy-Connection: close\r\n\r\n",
       "204 'x' bodiless [Proxy-Connection=close]\nend\n"},
  });
}

TEST(HttpResponseParser, refuses_what_is_no_status_line) {
  check({
      {"a request", "GET / HTTP/1.1\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
      {"another protocol", "HTP/1.1 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
      {"lower case", "http/1.1 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
      {"RTSP", "RTSP/1.1 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
      {"ICE", "ICE/1.1 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
      {"0.9", "HTTP/0.9 200 OK\r\n\r\n", "HPE_INVALID_VERSION 502\n"},
      {"2.0", "HTTP/2.0 200 OK\r\n\r\n", "HPE_INVALID_VERSION 502\n"},
      {"1.2", "HTTP/1.2 200 OK\r\n\r\n", "HPE_INVALID_VERSION 502\n"},
      {"more digits of the version", "HTTP/1.10 200 OK\r\n\r\n", "HPE_INVALID_VERSION 502\n"},
      {"tab behind the version", "HTTP/1.1\t200 OK\r\n\r\n", "HPE_INVALID_VERSION 502\n"},
      {"two spaces behind the version", "HTTP/1.1  200 OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"one digit", "HTTP/1.1 2 OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"two digits", "HTTP/1.1 20 OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"two digits and no more", "HTTP/1.1 20\r\nX", "HPE_INVALID_STATUS 502\n"},
      {"four digits", "HTTP/1.1 2000 OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"letters", "HTTP/1.1 2xx OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"text behind the digits", "HTTP/1.1 200OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"a class that there is not", "HTTP/1.1 099 OK\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"sv, "HPE_INVALID_STATUS 502\n"},
      {"escape in the reason", "HTTP/1.1 200 \x1b[2J\r\n\r\n", "HPE_INVALID_STATUS 502\n"},
      {"bare CR behind the reason", "HTTP/1.1 200 OK\rX: y\r\n\r\n", "HPE_STRICT 502\n"},
      {"CR twice behind the reason", "HTTP/1.1 200 OK\r\r\n\r\n", "HPE_STRICT 502\n"},
      {"bare CR behind the status", "HTTP/1.1 200\rX: y\r\n\r\n", "HPE_STRICT 502\n"},
      {"bare LF behind the reason", "HTTP/1.1 200 OK\nX: y\r\n\r\n", "HPE_CR_EXPECTED 502\n"},
      {"bare LF behind the status", "HTTP/1.1 200\nX: y\r\n\r\n", "HPE_CR_EXPECTED 502\n"},
      {"bare CR before it", "\rHTTP/1.1 200 OK\r\n\r\n", "HPE_LF_EXPECTED 502\n"},
      {"bare LF before it", "\nHTTP/1.1 200 OK\r\n\r\n", "HPE_CR_EXPECTED 502\n"},
      {"blank before it", " HTTP/1.1 200 OK\r\n\r\n", "HPE_INVALID_CONSTANT 502\n"},
  });
}

// What lets one response be taken for two, or two for one, on a connection that is used again.
TEST(HttpResponseParser, refuses_header_lines_that_split_responses) {
  const struct {
    std::string_view name;
    std::string_view lines;
    std::string_view failure;
  } table[] = {
      {"bare CR in a value", "X: a\rY: b\r\n", "HPE_LF_EXPECTED"},
      {"bare CR for a value", "X:\rY: b\r\n", "HPE_STRICT"},
      {"bare LF", "X: a\nY: b\r\n", "HPE_CR_EXPECTED"},
      {"bare LF for a value", "X:\nY: b\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"bare CR as an empty line", "\rX", "HPE_STRICT"},
      {"bare LF as an empty line", "\nX", "HPE_CR_EXPECTED"},
      {"fold", "X: a\r\n b\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"blank before the first line", " X: a\r\n", "HPE_UNEXPECTED_SPACE"},
      {"space before the colon", "Content-Length : 5\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"space in a name", "en-US Content-Type: a\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"empty name", ": a\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"no colon", "Content-Length\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"NUL in a value", "X: a\0b\r\n"sv, "HPE_INVALID_HEADER_TOKEN"},
      {"control character in a value", "X: a\1b\r\n", "HPE_INVALID_HEADER_TOKEN"},
      {"length then coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING"},
      {"coding then length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", "HPE_UNEXPECTED_CONTENT_LENGTH"},
      {"the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n", "HPE_UNEXPECTED_CONTENT_LENGTH"},
      {"list of lengths", "Content-Length: 5, 5\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"length with plus", "Content-Length: +5\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"length with minus", "Content-Length: -5\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"empty length", "Content-Length:\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"length of 2^64", "Content-Length: 18446744073709551616\r\n", "HPE_INVALID_CONTENT_LENGTH"},
      {"chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING"},
      {"chunked twice, two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
       "HPE_INVALID_TRANSFER_ENCODING"},
      {"empty coding", "Transfer-Encoding:\r\n", "HPE_INVALID_TRANSFER_ENCODING"},
      {"empty element", "Transfer-Encoding: ,chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING"},
  };
  for (const auto& r : table) {
    SCOPED_TRACE(r.name);
    const std::string input = "HTTP/1.1 200 OK\r\n" + std::string(r.lines) + "\r\nHTTP/1.1 200 Stolen\r\n\r\n";
    EXPECT_EQ(tell(input), std::string(r.failure) + " 502\n");
  }
}

TEST(HttpResponseParser, refuses_bad_chunks) {
  constexpr std::string_view head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  constexpr std::string_view story = "200 'OK' chunked [Transfer-Encoding=chunked]\n";
  const struct {
    std::string_view name;
    std::string_view input;
    std::string_view story;
  } table[] = {
      {"blank behind the size", "2 \r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 502\n"},
      {"LF behind the size", "2\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 502\n"},
      {"CR behind the size", "2\rab\r\n0\r\n\r\n", "HPE_STRICT 502\n"},
      {"more than 64 bits", "10000000000000000\r\n", "HPE_INVALID_CHUNK_SIZE 502\n"},
      {"plus", "+2\r\nab\r\n", "HPE_INVALID_CHUNK_SIZE 502\n"},
      {"empty extension", "2;\r\nab\r\n", "HPE_STRICT 502\n"},
      {"data longer than told", "2\r\nabc\r\n0\r\n\r\n", "body ab\nHPE_STRICT 502\n"},
      {"body without its end", "2\r\nab\r\n", "body ab\nHPE_INVALID_EOF_STATE 502\n"},
      {"fold in a trailer", "0\r\nX: a\r\n b\r\n\r\n", "HPE_INVALID_HEADER_TOKEN 502\n"},
  };
  for (const auto& r : table) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(tell(std::string(head) + std::string(r.input)), std::string(story) + std::string(r.story));
  }
}

TEST(HttpResponseParser, tells_a_whole_response_from_one_cut_short) {
  check({
      {"nothing at all", "", ""},
      {"empty lines only", "\r\n\r\n", ""},
      {"in the status line", "HTTP/1.1 2", "HPE_INVALID_EOF_STATE 502\n"},
      {"in the head", "HTTP/1.1 200 OK\r\nX: a\r\n", "HPE_INVALID_EOF_STATE 502\n"},
      {"in a sized body", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
       "200 'OK' length=3 [Content-Length=3]\nbody ab\nHPE_INVALID_EOF_STATE 502\n"},
      {"behind 100", "HTTP/1.1 100 x\r\n\r\n", "100 'x' bodiless interim\nend\n"},
  });
}

TEST(HttpResponseParser, limits_everything) {
  const response_parser_options small{.max_head = 60, .max_headers = 2, .max_body = 4, .max_chunk_extensions = 10};
  const auto head_of = [](std::size_t size) {
    const std::string head = "HTTP/1.1 204 OK\r\nX: ";
    return head + std::string(size - head.size() - 4, 'x') + "\r\n\r\n";
  };
  EXPECT_EQ(tell(head_of(60), small).substr(0, 3), "204");
  EXPECT_EQ(tell(head_of(61), small), "HPE_HEADER_OVERFLOW 502\n");
  check({{"lines", "HTTP/1.1 204 x\r\na:\r\nb:\r\nc:\r\n\r\n", "HPE_HEADER_OVERFLOW 502\n"},
         {"length", "HTTP/1.1 200 x\r\nContent-Length: 5\r\n\r\nabcde", "HPE_BODY_OVERFLOW 502\n"},
         {"length of what is not sent", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n",
          "304 'x' length=5 bodiless [Content-Length=5]\nend\n"},
         {"chunks", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
          "200 'x' chunked [Transfer-Encoding=chunked]\nbody abc\nHPE_BODY_OVERFLOW 502\n"},
         {"as much until the end as allowed", "HTTP/1.1 200 x\r\n\r\nabcd",
          "200 'x' until-close close\nbody abcd\nend\n"},
         {"more until the end", "HTTP/1.1 200 x\r\n\r\nabcde",
          "200 'x' until-close close\nbody abcd\nHPE_BODY_OVERFLOW 502\n"},
         {"extensions",
          "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1;"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
          "200 'x' chunked [Transfer-Encoding=chunked]\nHPE_CHUNK_EXTENSIONS_OVERFLOW 502\n"}},
        small);
}

TEST(HttpResponseParser, gives_the_end_of_the_connection_as_the_end_of_the_body_once) {
  response_parser p;
  std::string_view input = "HTTP/1.1 200 OK\r\n\r\nab";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_TRUE(p.head().until_close);
  ASSERT_EQ(p.next(input), event::body);
  EXPECT_EQ(p.body(), "ab");
  EXPECT_EQ(p.next(input), event::need_more);
  EXPECT_EQ(p.finish(), event::message_end);
  EXPECT_EQ(p.finish(), event::closed);
  EXPECT_EQ(p.next(input), event::closed);
}

TEST(HttpResponseParser, takes_bytes_and_keeps_a_head_while_the_buffer_is_reused) {
  std::string buffer = "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nX-Long: something to see\r\n\r\n";
  auto input = std::as_bytes(std::span(buffer));
  response_parser p;
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_TRUE(input.empty());
  EXPECT_EQ(p.head().reason.data(), buffer.data() + 13);  // not copied
  p.keep_head();
  p.keep_head();
  buffer.assign(buffer.size(), '!');
  EXPECT_EQ(p.head().reason, "Fine");
  EXPECT_EQ(p.head().headers.first("x-long"), "something to see");
  EXPECT_FALSE(p.idle());
}

TEST(HttpResponseParser, gives_memory_back_only_between_messages) {
  response_parser p;
  std::string_view input = "HTTP/1.1 204 x\r\nA:";
  ASSERT_EQ(p.next(input), event::need_more);
  p.release_memory();
  input = " b\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(p.head().headers.first("a"), "b");
  ASSERT_EQ(p.next(input), event::message_end);
  EXPECT_TRUE(p.idle());
  p.release_memory();
  EXPECT_TRUE(p.head().headers.empty());
}

TEST(HttpResponseParser, closes_behind_the_current_message_when_told) {
  response_parser p;
  std::string_view input = "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 204 y\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  p.close_after_message();
  ASSERT_EQ(p.next(input), event::message_end);
  EXPECT_EQ(p.next(input), event::closed);
  EXPECT_EQ(input.size(), 18u);
}

}  // namespace
}  // namespace weir::net::http
