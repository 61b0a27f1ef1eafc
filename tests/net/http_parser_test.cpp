// tests/net/http_parser_test.cpp: what the request parser accepts, refuses and reports. Every input of every table is
// fed whole, cut at every position, and byte by byte; all must tell the same story.
#include <weir/net/http_parser.hpp>

#include <tests/support/parser_story.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace weir::net::http {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

std::string line_of(parser& p, bool switches) {
  const request_head& head = p.head();
  std::string text = std::string(head.method_text) + " " + std::string(head.target);
  if (head.version == version::http_1_0) text += " 1.0";
  constexpr std::string_view forms[] = {"", " absolute", " authority", " asterisk"};
  text += forms[static_cast<int>(head.form)];
  if (head.has_content_length) text += " length=" + std::to_string(head.content_length);
  if (head.chunked) text += " chunked";
  if (!head.keep_alive) text += " close";
  if (head.upgrade) text += " upgrade";
  if (head.expect_continue) text += " continue";
  if (head.expect_unsupported) text += " expectation";
  for (const header& h : head.headers) text += " [" + std::string(h.name) + "=" + std::string(h.value) + "]";
  EXPECT_EQ(name_of(head.method), head.method_text);
  EXPECT_TRUE(head.raw.ends_with("\r\n\r\n"));
  if (switches) p.switch_protocols();
  return text;
}

testing::story_teller<parser> teller(bool switches) {
  return {.head = [switches](parser& p) { return line_of(p, switches); }};
}

std::string told(std::string_view input, std::size_t first, std::size_t step, const parser_options& options) {
  return testing::told<parser>(input, first, step, options, teller(false));
}

// The story of the input, the same for every way to cut it.
std::string tell(std::string_view input, const parser_options& options = {}, bool switches = false) {
  return testing::tell<parser>(input, options, teller(switches));
}

struct row {
  std::string_view name;
  std::string_view input;
  std::string_view story;
};

void check(const std::vector<row>& table, const parser_options& options = {}, bool switches = false) {
  for (const row& r : table) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(tell(r.input, options, switches), r.story);
  }
}

constexpr std::string_view host = "Host: a\r\n";
constexpr std::string_view chunked_head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr std::string_view chunked_story = "POST / chunked [Host=a] [Transfer-Encoding=chunked]\n";

TEST(HttpParser, reads_heads_of_every_common_form) {
  check({
      {"wrk", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n", "GET / [Host=127.0.0.1:8080]\nend\n"},
      {"no headers in 1.0", "GET / HTTP/1.0\r\n\r\n", "GET / 1.0 close\nend\nclosed\n"},
      {"query", "GET /a/b?c=d&e=%20#f HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a/b?c=d&e=%20#f [Host=a]\nend\n"},
      {"case and order are kept", "GET / HTTP/1.1\r\nhOsT: a\r\nB: 1\r\na: 2\r\nB: 3\r\n\r\n",
       "GET / [hOsT=a] [B=1] [a=2] [B=3]\nend\n"},
      {"blanks around values go", "GET / HTTP/1.1\r\nHost:a\r\nX: \t b \t c\t \r\nY:\r\nZ:   \r\n\r\n",
       "GET / [Host=a] [X=b \t c] [Y=] [Z=]\nend\n"},
      {"every token character in a name", "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n",
       "GET / [Host=a] [!#$%&'*+-.^_`|~09azAZ=b]\nend\n"},
      {"bytes above ASCII in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\xff\r\n\r\n",
       "GET / [Host=a] [X=\xc3\xa9\xff]\nend\n"},
      {"empty lines before a request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / [Host=a]\nend\n"},
      {"spaces in the request line", "GET   /   HTTP/1.1\r\nHost: a\r\n\r\n", "GET / [Host=a]\nend\n"},
      {"rare method", "MKCALENDAR /x HTTP/1.1\r\nHost: a\r\n\r\n", "MKCALENDAR /x [Host=a]\nend\n"},
      {"dash in a method", "M-SEARCH * HTTP/1.1\r\nHost: a:1\r\n\r\n", "M-SEARCH * asterisk [Host=a:1]\nend\n"},
      {"QUERY", "QUERY /x HTTP/1.1\r\nHost: a\r\n\r\n", "QUERY /x [Host=a]\nend\n"},
      {"QUERY with content, behind empty lines and before another",
       "\r\nQUERY /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nq=QUERY  /y  HTTP/1.0\r\n\r\n",
       "QUERY /x length=2 [Host=a] [Content-Length=2]\nbody q=\nend\nQUERY /y 1.0 close\nend\nclosed\n"},
      {"absolute form", "GET http://b:8/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET http://b:8/c?d absolute [Host=a]\nend\n"},
      {"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * asterisk [Host=a]\nend\n"},
      {"authority form", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
       "CONNECT a:443 authority close upgrade [Host=a:443]\nend\nclosed\n"},
      {"IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / [Host=[::1]:80]\nend\n"},
      {"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / [Host=]\nend\n"},
      {"100-continue", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
       "PUT / length=1 continue [Host=a] [Expect=100-Continue] [Content-Length=1]\nbody x\nend\n"},
      {"another expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n",
       "GET / expectation [Host=a] [Expect=tea]\nend\n"},
      {"1.0 expects nothing", "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n",
       "GET / 1.0 close [Expect=100-continue]\nend\nclosed\n"},
  });
}

TEST(HttpParser, decides_whether_the_connection_goes_on) {
  check({
      {"1.1 does", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET / [Host=a]\nend\nGET /2 [Host=a]\nend\n"},
      {"1.1 with close does not, and what follows is not read",
       "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
       "GET / close [Host=a] [Connection=close]\nend\nclosed\n"},
      {"close among others", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,keep-alive\r\n\r\n\1",
       "GET / close [Host=a] [Connection=x, CLOSE ,keep-alive]\nend\nclosed\n"},
      {"close in a second line", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n\1",
       "GET / close [Host=a] [Connection=x] [Connection=close]\nend\nclosed\n"},
      {"closed is not close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n",
       "GET / [Host=a] [Connection=closed]\nend\n"},
      {"1.0 does not", "GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", "GET / 1.0 close\nend\nclosed\n"},
      {"1.0 with keep-alive does", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
       "GET / 1.0 [Connection=Keep-Alive]\nend\nGET /2 1.0 close\nend\nclosed\n"},
      {"empty lines between requests",
       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
       "POST / length=2 [Host=a] [Content-Length=2]\nbody hi\nend\nGET / [Host=a]\nend\n"},
  });
}

TEST(HttpParser, hands_over_the_connection_after_an_upgrade) {
  constexpr std::string_view upgrade =
      "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01x";
  check({{"websocket", upgrade,
          "GET /chat upgrade [Host=a] [Connection=keep-alive, Upgrade] [Upgrade=websocket]\nend\n"
          "switched \x81\x01x"},
         {"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\0\1\2"sv,
          "CONNECT a:1 authority close upgrade [Host=a]\nend\nswitched \0\1\2"sv},
         {"behind a body",
          "PUT / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhimore",
          "PUT / length=2 upgrade [Host=a] [Connection=upgrade] [Upgrade=x] [Content-Length=2]\nbody hi\nend\n"
          "switched more"},
         {"behind chunks",
          "PUT / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"
          "2\r\nhi\r\n0\r\n\r\nmore",
          "PUT / chunked upgrade [Host=a] [Connection=upgrade] [Upgrade=x] [Transfer-Encoding=chunked]\nbody hi\nend\n"
          "switched more"}},
        {}, true);
  // Where the caller does not want to switch, the next bytes are a request.
  check(
      {{"declined",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / upgrade [Host=a] [Connection=upgrade] [Upgrade=h2c]\nend\nGET /2 [Host=a]\nend\n"},
       {"tunnel bytes are never a request", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:1 authority close upgrade [Host=a]\nend\nclosed\n"}});
}

TEST(HttpParser, reads_bodies) {
  const auto chunks = [](std::string_view text) { return std::string(chunked_head) + std::string(text); };
  const auto story = [](std::string_view text) { return std::string(chunked_story) + std::string(text); };
  const struct {
    std::string_view name;
    std::string input;
    std::string story;
  } rows[] = {
      {"sized", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
       "POST / length=5 [Host=a] [Content-Length=5]\nbody hello\nend\n"},
      {"length 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
       "POST / length=0 [Host=a] [Content-Length=0]\nend\n"},
      {"leading zeros", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc",
       "POST / length=3 [Host=a] [Content-Length=003]\nbody abc\nend\n"},
      {"GET may have one", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
       "GET / length=1 [Host=a] [Content-Length=1]\nbody x\nend\n"},
      {"chunks", chunks("5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"), story("body hello0123456789\nend\n")},
      {"no chunk", chunks("0\r\n\r\n"), story("end\n")},
      {"zeros", chunks("0003\r\nabc\r\n000\r\n\r\n"), story("body abc\nend\n")},
      {"upper and lower case", chunks("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
       story("body 01234567890123456789\nend\n")},
      {"coding in capitals", "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: Chunked\r\n\r\n0\r\n\r\n",
       "POST / chunked [Host=a] [transfer-ENCODING=Chunked]\nend\n"},
      {"extensions", chunks("2;a\r\nhi\r\n1;a=b;c;d=\"e;\\\"\\\\f\tg \";h\r\nx\r\n0;z=\"\"\r\n\r\n"),
       story("body hix\nend\n")},
      {"trailers", chunks("2\r\nhi\r\n0\r\nA: b\r\nVary: *\r\n\r\n"), story("body hi\nend [A=b] [Vary=*]\n")},
      {"trailers do not frame",
       chunks("0\r\nContent-Length: 5\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
       story("end [Content-Length=5] [Connection=close]\nGET / [Host=a]\nend\n")},
      {"data that looks like framing", chunks("13\r\n\r\n0\r\n\r\nGET / HTTP\r\n\r\n0\r\n\r\n"),
       story("body \r\n0\r\n\r\nGET / HTTP\r\n\nend\n")},
      {"pipelined",
       chunks("1\r\na\r\n0\r\n\r\n") + chunks("1\r\nb\r\n0\r\nT: 1\r\n\r\n") + "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
       story("body a\nend\n") + story("body b\nend [T=1]\n") + "GET / [Host=a]\nend\n"},
  };
  for (const auto& r : rows) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(tell(r.input), r.story);
  }
}

struct refusal {
  std::string_view name;
  std::string_view lines;  // what stands between the request line with Host and the empty line
  std::string_view failure;
};

// Ways to make two readers of one connection disagree about where a request ends, most of them real CVEs.
TEST(HttpParser, refuses_header_lines_that_smuggle) {
  const std::vector<refusal> table = {
      {"CVE-2023-30589: CR as line end", "X:\rTransfer-Encoding: chunked\r\n", "HPE_STRICT 400"},
      {"bare CR in a value", "X: a\rY: b\r\n", "HPE_LF_EXPECTED 400"},
      {"bare CR in a name", "X\rY: b\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"bare CR before the colon", "X\r: b\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"CR twice", "X: a\r\r\n", "HPE_LF_EXPECTED 400"},
      {"bare LF", "X: a\nY: b\r\n", "HPE_CR_EXPECTED 400"},
      {"line of CR CR LF", "\r\r\n", "HPE_STRICT 400"},
      {"bare CR after an empty value", "X:\r\r\n", "HPE_STRICT 400"},
      {"LF alone as an empty line", "\n", "HPE_CR_EXPECTED 400"},
      {"obs-fold", "X: a\r\n b\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"obs-fold with a tab", "X: a\r\n\tb\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"folded Transfer-Encoding", "Transfer-Encoding:\r\n chunked\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"folded Content-Length", "Content-Length:\r\n 5\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"space before the colon", "Content-Length : 5\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"tab before the colon", "Transfer-Encoding\t: chunked\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"space in a name", "Content Length: 5\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"empty name", ": a\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"no colon", "Content-Length\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"NUL in a name", "X\0: a\r\n"sv, "HPE_INVALID_HEADER_TOKEN 400"},
      {"NUL in a value", "X: a\0b\r\n"sv, "HPE_INVALID_HEADER_TOKEN 400"},
      {"control character in a value", "X: a\1b\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"DEL in a value", "X: a\x7f\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"vertical tab in a value", "X: a\vb\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"byte above ASCII in a name", "Content-Length\xa0: 5\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"bracket in a name", "X[]: 1\r\n", "HPE_INVALID_HEADER_TOKEN 400"},
      {"quote in a name", "\"X\": 1\r\n", "HPE_INVALID_HEADER_TOKEN 400"},

      {"length with coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"coding with length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"coding with length 0", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"lengths that differ", "Content-Length: 5\r\nContent-Length: 6\r\n", "HPE_UNEXPECTED_CONTENT_LENGTH 400"},
      {"the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n", "HPE_UNEXPECTED_CONTENT_LENGTH 400"},
      {"list of lengths", "Content-Length: 5, 5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length with plus", "Content-Length: +5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length with minus", "Content-Length: -5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"hexadecimal length", "Content-Length: 0x5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length with underscore", "Content-Length: 1_0\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"fractional length", "Content-Length: 5.0\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length with a space inside", "Content-Length: 1 0\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"empty length", "Content-Length: \r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length of 2^64", "Content-Length: 18446744073709551616\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length of many digits", "Content-Length: 99999999999999999999999\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length in other digits", "Content-Length: \xd9\xa5\r\n", "HPE_INVALID_CONTENT_LENGTH 400"},
      {"length with NUL", "Content-Length: 5\0\r\n"sv, "HPE_INVALID_CONTENT_LENGTH 400"},

      {"chunked is not last", "Transfer-Encoding: chunked, identity\r\n", "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"chunked is not last, two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"chunked twice, two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"empty coding", "Transfer-Encoding:\r\n", "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"empty element", "Transfer-Encoding: ,chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING 400"},
      {"unknown coding", "Transfer-Encoding: xchunked\r\n", "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"chunked with a parameter", "Transfer-Encoding: chunked;q=1\r\n", "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"quoted chunked", "Transfer-Encoding: \"chunked\"\r\n", "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"identity", "Transfer-Encoding: identity\r\n", "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"gzip before chunked", "Transfer-Encoding: gzip, chunked\r\n", "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"coding in two lines", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"chunked behind a no-break space",
       "Transfer-Encoding: \xa0"
       "chunked\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 501"},
      {"chunked with a vertical tab", "Transfer-Encoding: \vchunked\r\n", "HPE_INVALID_HEADER_TOKEN 400"},

      {"second Host", "Host: b\r\n", "HPE_DUPLICATE_HOST 400"},
      {"the same Host twice", "hOST: a\r\n", "HPE_DUPLICATE_HOST 400"},
  };
  for (const refusal& r : table) {
    SCOPED_TRACE(r.name);
    std::string input = "POST / HTTP/1.1\r\n" + std::string(host) + std::string(r.lines) +
                        "\r\nGET /stolen HTTP/1.1\r\nHost: a\r\n\r\n";
    EXPECT_EQ(tell(input), std::string(r.failure) + "\n");
  }
}

TEST(HttpParser, refuses_request_lines_and_hosts_that_smuggle) {
  check({
      {"1.1 without Host", "GET / HTTP/1.1\r\n\r\n", "HPE_MISSING_HOST 400\n"},
      {"two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "HPE_DUPLICATE_HOST 400\n"},
      {"list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with query", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with backslash", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with text for a port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with text behind a bracket", "GET / HTTP/1.1\r\nHost: [::1]b\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"Host with bytes above ASCII", "GET / HTTP/1.1\r\nHost: \xffz\r\n\r\n", "HPE_INVALID_HOST 400\n"},
      {"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 400\n"},
      {"blank before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "HPE_UNEXPECTED_SPACE 400\n"},
      {"bare CR before the request", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_LF_EXPECTED 400\n"},
      {"bare LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_CR_EXPECTED 400\n"},
      {"bare LF behind the version", "GET / HTTP/1.1\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 400\n"},
      {"bare CR behind the version", "GET / HTTP/1.1\rHost: a\r\n\r\n", "HPE_STRICT 400\n"},
      {"no version", "GET /\r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"version of three digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_CONSTANT 400\n"},
      {"another protocol", "OPTIONS / RTSP/1.0\r\n\r\n", "HPE_INVALID_CONSTANT 400\n"},
      {"blank behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "HPE_INVALID_VERSION 505\n"},
      {"method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"beginning of QUERY", "QUER / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"more than QUERY", "QUERYS / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"QUERY in lower case", "Query / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"QUERY of two lines", "QU\r\nERY / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"tab behind QUERY", "QUERY\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"QUERY of two framings",
       "QUERY / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "HPE_INVALID_TRANSFER_ENCODING 400\n"},
      {"asterisk of QUERY", "QUERY * HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"unknown method", "GRAB / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"tab behind the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"blank before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_METHOD 400\n"},
      {"TLS hello", "\x16\x03\x01\x02\x00\x01", "HPE_INVALID_METHOD 400\n"},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"control character in the target", "GET /\1 HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"bytes above ASCII in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"relative target", "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"asterisk and more", "OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"CONNECT to a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
      {"CONNECT to a user", "CONNECT u@a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_INVALID_URL 400\n"},
  });
}

TEST(HttpParser, refuses_chunks_that_smuggle) {
  const std::vector<row> table = {
      {"data longer than told", "2\r\nabc\r\n0\r\n\r\n", "body ab\nHPE_STRICT 400\n"},
      {"data that ends in any two bytes", "2\r\nabXX0\r\n\r\n", "body ab\nHPE_STRICT 400\n"},
      {"data that ends in LF", "2\r\nab\n0\r\n\r\n", "body ab\nHPE_STRICT 400\n"},
      {"data that ends in CR", "2\r\nab\r0\r\n\r\n", "body ab\nHPE_STRICT 400\n"},
      {"size line that ends in LF", "2\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"size line that ends in CR", "2\rab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"extension behind CR", "2\r;a\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"blank behind the size", "2 \r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"blank before the size", " 2\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"empty size", "\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"extension without size", ";a\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"0x", "0x2\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"plus", "+2\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"minus", "-2\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"underscore", "0_2\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"not hexadecimal", "g\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"more than 64 bits", "10000000000000000\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"far more than 64 bits", "fffffffffffffffffffff\r\nab\r\n0\r\n\r\n", "HPE_INVALID_CHUNK_SIZE 400\n"},
      {"LF in an extension", "2;a\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"CR in an extension", "2;a\rb\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"CR in a quoted extension", "2;a=\"\r\"\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"LF in a quoted extension", "2;a=\"\n\"\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"escaped LF in an extension", "2;a=\"\\\n\"\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"quotes left open", "2;a=\"b\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"text behind quotes", "2;a=\"b\"c\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"NUL in an extension", "2;a\0\r\nab\r\n0\r\n\r\n"sv, "HPE_STRICT 400\n"},
      {"empty extension", "2;\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"extension without a name", "2;=a\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"extension without its value", "2;a=\r\nab\r\n0\r\n\r\n", "HPE_STRICT 400\n"},
      {"body without its end", "2\r\nab\r\n", "body ab\nHPE_INVALID_EOF_STATE 400\n"},
      {"empty line for the last chunk", "2\r\nab\r\n\r\n", "body ab\nHPE_INVALID_CHUNK_SIZE 400\n"},
      {"any two bytes for the last line", "0\r\nXX", "HPE_INVALID_EOF_STATE 400\n"},
      {"CR in a trailer", "0\r\nX:\rY: z\r\n\r\n", "HPE_STRICT 400\n"},
      {"CR for the last line", "0\r\n\rX", "HPE_STRICT 400\n"},
      {"fold in a trailer", "0\r\nX: a\r\n b\r\n\r\n", "HPE_INVALID_HEADER_TOKEN 400\n"},
      {"blank before a trailer", "0\r\n X: a\r\n\r\n", "HPE_INVALID_HEADER_TOKEN 400\n"},
      {"trailer without a name", "0\r\n: a\r\n\r\n", "HPE_INVALID_HEADER_TOKEN 400\n"},
      {"coding in a trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "HPE_INVALID_TRANSFER_ENCODING 400\n"},
  };
  for (const row& r : table) {
    SCOPED_TRACE(r.name);
    EXPECT_EQ(tell(std::string(chunked_head) + std::string(r.input)),
              std::string(chunked_story) + std::string(r.story));
  }
}

TEST(HttpParser, reports_input_that_stops_within_a_message) {
  check({
      {"nothing at all", "", ""},
      {"empty lines only", "\r\n\r\n", ""},
      {"in the method", "GE", "HPE_INVALID_EOF_STATE 400\n"},
      {"in QUERY", "QUER", "HPE_INVALID_EOF_STATE 400\n"},
      {"in the head", "GET / HTTP/1.1\r\nHost: a\r\n", "HPE_INVALID_EOF_STATE 400\n"},
      {"in a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
       "POST / length=3 [Host=a] [Content-Length=3]\nbody ab\nHPE_INVALID_EOF_STATE 400\n"},
      {"in the second head", "GET / HTTP/1.1\r\nHost: a\r\n\r\nG", "GET / [Host=a]\nend\nHPE_INVALID_EOF_STATE 400\n"},
  });
}

// A head of exactly `size` bytes.
std::string head_of(std::size_t size) {
  std::string head = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  return head + std::string(size - head.size() - 4, 'x') + "\r\n\r\n";
}

TEST(HttpParser, limits_the_head) {
  parser_options options{.max_head = 100};
  EXPECT_EQ(tell(head_of(100) + head_of(100), options).substr(0, 5), "GET /");
  EXPECT_EQ(tell(head_of(101), options), "HPE_HEADER_OVERFLOW 431\n");
  std::string empty_lines;
  while (empty_lines.size() <= 100) empty_lines += "\r\n";
  EXPECT_EQ(tell(empty_lines, options), "HPE_HEADER_OVERFLOW 431\n");
  EXPECT_EQ(tell("GET /" + std::string(200, 'a'), options), "HPE_HEADER_OVERFLOW 431\n");
  EXPECT_EQ(tell(head_of(16384)).substr(0, 5), "GET /");
  EXPECT_EQ(tell(head_of(16385)), "HPE_HEADER_OVERFLOW 431\n");
}

TEST(HttpParser, limits_header_lines_and_target) {
  const parser_options options{.max_headers = 3, .max_target = 10};
  check({{"as many as allowed", "GET /23456789 HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 1\r\n\r\n",
          "GET /23456789 [Host=a] [B=1] [C=1]\nend\n"},
         {"a line more", "GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n", "HPE_HEADER_OVERFLOW 431\n"},
         {"a byte more", "GET /2345678901 HTTP/1.1\r\nHost: a\r\n\r\n", "HPE_URL_OVERFLOW 414\n"}},
        options);
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 2000; ++i) many += "a:\r\n";
  EXPECT_EQ(told(many + "\r\n", 0, many.size() + 2, {}), "HPE_HEADER_OVERFLOW 431\n");
}

TEST(HttpParser, limits_the_body) {
  const parser_options options{.max_body = 4};
  check({{"sized, as long as allowed", "POST / HTTP/1.0\r\nContent-Length: 4\r\n\r\nabcd",
          "POST / 1.0 length=4 close [Content-Length=4]\nbody abcd\nend\nclosed\n"},
         {"sized, longer", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde", "HPE_BODY_OVERFLOW 413\n"}},
        options);
  const std::string head(chunked_head);
  EXPECT_EQ(tell(head + "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", options), std::string(chunked_story) + "body abcd\nend\n");
  EXPECT_EQ(tell(head + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", options),
            std::string(chunked_story) + "body abc\nHPE_BODY_OVERFLOW 413\n");
  EXPECT_EQ(tell(head + "3\r\nabc\r\nffffffffffffffff\r\n", options),
            std::string(chunked_story) + "body abc\nHPE_BODY_OVERFLOW 413\n");
}

TEST(HttpParser, limits_chunk_extensions_of_a_whole_message) {
  const parser_options options{.max_chunk_extensions = 20};
  const std::string extension = ";" + std::string(24, 'e');  // 28 bytes with size and line end: 8 beyond a plain line
  const std::string head(chunked_head);
  const std::string chunk = "1" + extension + "\r\nx\r\n";
  EXPECT_EQ(tell(head + chunk + chunk + "0\r\n\r\n", options), std::string(chunked_story) + "body xx\nend\n");
  EXPECT_EQ(tell(head + chunk + chunk + chunk + "0\r\n\r\n", options),
            std::string(chunked_story) + "body xx\nHPE_CHUNK_EXTENSIONS_OVERFLOW 413\n");
  EXPECT_EQ(tell(head + std::string(50, '0') + "1\r\nx\r\n0\r\n\r\n", options),
            std::string(chunked_story) + "HPE_CHUNK_EXTENSIONS_OVERFLOW 413\n");
}

TEST(HttpParser, limits_trailers_like_heads) {
  const parser_options options{.max_head = 80, .max_headers = 3};
  const std::string head(chunked_head);
  EXPECT_EQ(tell(head + "0\r\nA: b\r\nC: d\r\nE: f\r\n\r\n", options),
            std::string(chunked_story) + "end [A=b] [C=d] [E=f]\n");
  EXPECT_EQ(tell(head + "0\r\nA: b\r\nC: d\r\nE: f\r\nG: h\r\n\r\n", options),
            std::string(chunked_story) + "HPE_HEADER_OVERFLOW 431\n");
  EXPECT_EQ(tell(head + "0\r\nA: " + std::string(100, 'b') + "\r\n\r\n", options),
            std::string(chunked_story) + "HPE_HEADER_OVERFLOW 431\n");
}

TEST(HttpParser, does_without_host_where_asked) {
  EXPECT_EQ(tell("GET / HTTP/1.1\r\n\r\n", {.require_host = false}), "GET /\nend\n");
}

TEST(HttpParser, leaves_pipelined_requests_in_the_buffer_until_asked) {
  const std::string one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string two = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string text = one + two;
  std::string_view input = text;
  parser p;
  EXPECT_TRUE(p.idle());
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(input, two);
  EXPECT_EQ(p.head().target.data(), text.data() + 4);  // not copied
  ASSERT_EQ(p.next(input), event::message_end);
  EXPECT_EQ(input, two);
  EXPECT_TRUE(p.idle());
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(p.head().target, "/2");
  EXPECT_TRUE(input.empty());
  EXPECT_FALSE(p.idle());
}

TEST(HttpParser, takes_bytes_as_well_as_characters) {
  const std::string text = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
  auto input = std::as_bytes(std::span(text));
  parser p;
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(input.size(), 3u);
  EXPECT_EQ(static_cast<const void*>(input.data()), text.data() + text.size() - 3);
}

TEST(HttpParser, tells_an_idle_connection_from_one_that_started_a_head) {
  parser p;
  std::string_view input = "GE";
  EXPECT_EQ(p.next(input), event::need_more);
  EXPECT_FALSE(p.idle());
  input = "T / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(p.next(input), event::head);
  EXPECT_EQ(p.next(input), event::message_end);
  EXPECT_TRUE(p.idle());
}

TEST(HttpParser, keeps_a_head_while_the_buffer_is_reused) {
  parser p;
  std::string buffer = "POST /long/enough/to/see HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\n";
  std::string_view input = buffer;
  ASSERT_EQ(p.next(input), event::head);
  p.keep_head();
  p.keep_head();
  buffer.assign(buffer.size(), '!');
  EXPECT_EQ(p.head().target, "/long/enough/to/see");
  EXPECT_EQ(p.head().method_text, "POST");
  EXPECT_EQ(p.head().headers.first("HOST"), "example.org");
  input = "abc";
  ASSERT_EQ(p.next(input), event::body);
  EXPECT_EQ(p.head().headers[1], (header{"Content-Length", "3"}));
}

TEST(HttpParser, closes_behind_the_current_message_when_told) {
  parser p;
  std::string_view input = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.1\r\n";
  ASSERT_EQ(p.next(input), event::head);
  p.close_after_message();
  ASSERT_EQ(p.next(input), event::body);
  ASSERT_EQ(p.next(input), event::message_end);
  EXPECT_EQ(p.next(input), event::closed);
  EXPECT_EQ(p.next(input), event::closed);
  EXPECT_EQ(p.finish(), event::closed);
}

TEST(HttpParser, stays_in_error) {
  parser p;
  std::string_view input = "nonsense";
  ASSERT_EQ(p.next(input), event::error);
  input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(p.next(input), event::error);
  EXPECT_EQ(p.finish(), event::error);
  EXPECT_EQ(p.failure().name, "HPE_INVALID_METHOD");
}

TEST(HttpParser, gives_memory_back_only_between_messages) {
  parser p;
  std::string_view input = "GET / HTTP/1.1\r\nHo";
  ASSERT_EQ(p.next(input), event::need_more);
  p.release_memory();
  input = "st: a\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(p.head().headers.first("host"), "a");
  p.release_memory();
  EXPECT_EQ(p.head().headers.first("host"), "a");
  ASSERT_EQ(p.next(input), event::message_end);
  p.release_memory();
  EXPECT_TRUE(p.head().headers.empty());
  input = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_EQ(p.next(input), event::head);
  EXPECT_EQ(p.head().target, "/2");
}

}  // namespace
}  // namespace weir::net::http
