// perf/net/http_parser_bench.cpp: nanoseconds that HTTP costs a server above the socket: one request parsed, one
// response head written. Peers on the 501-byte request, one core: llhttp alone 272 ns with SSE4.2 and 472 without,
// picohttpparser 206 ns.
#include <chrono>
#include <string>
#include <string_view>

#include <benchmark/benchmark.h>

#include <weir/net/http_parser.hpp>
#include <weir/net/http_writer.hpp>

namespace http = weir::net::http;

namespace {

constexpr std::string_view tiny = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

constexpr std::string_view browser =
    "GET /articles/2024/index.html?page=2&sort=date HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Referer: https://www.example.com/articles/2024/\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    "Cookie: sid=31d4d96e407a; t=dk\r\n\r\n";
static_assert(browser.size() == 501);

// Requests lie one behind the other in the buffer, as pipelining leaves them.
void parse(benchmark::State& state, std::string_view request, bool plain_heads) {
  std::string buffer;
  for (int i = 0; i < 16; ++i) buffer += request;
  http::parser parser({.plain_heads = plain_heads});
  std::string_view input;
  for (auto _ : state) {
    if (input.empty()) input = buffer;
    if (parser.next(input) != http::event::head) state.SkipWithError("refused");
    benchmark::DoNotOptimize(parser.head().target);
    if (parser.next(input) != http::event::message_end) state.SkipWithError("no end");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * request.size()));
}

void parse_tiny(benchmark::State& state) { parse(state, tiny, true); }
void parse_tiny_by_llhttp(benchmark::State& state) { parse(state, tiny, false); }
void parse_browser(benchmark::State& state) { parse(state, browser, true); }
void parse_browser_by_llhttp(benchmark::State& state) { parse(state, browser, false); }

void parse_chunked_upload(benchmark::State& state) {
  std::string buffer = "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 16; ++i) http::append_chunk(buffer, std::string(4096, 'x'));
  http::append_last_chunk(buffer);
  http::parser parser;
  for (auto _ : state) {
    std::string_view input = buffer;
    http::event event;
    while ((event = parser.next(input)) != http::event::message_end) {
      if (event == http::event::error) return state.SkipWithError("refused");
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * buffer.size()));
}

void write_hello_head(benchmark::State& state) {
  const http::header headers[] = {{"Content-Type", "text/plain"}};
  http::date_cache date;
  const auto now = std::chrono::system_clock::now();
  std::string out;
  for (auto _ : state) {
    if (out.size() > 2048) out.clear();
    const auto result = http::append_response_head(
        out, {.headers = headers, .body = http::body_framing::sized(13), .date_line = date.line(now)});
    benchmark::DoNotOptimize(result);
    out += "Hello, world!";
  }
}

}  // namespace

BENCHMARK(parse_tiny);
BENCHMARK(parse_tiny_by_llhttp);
BENCHMARK(parse_browser);
BENCHMARK(parse_browser_by_llhttp);
BENCHMARK(parse_chunked_upload);
BENCHMARK(write_hello_head);
