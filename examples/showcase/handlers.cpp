// examples/showcase/handlers.cpp: the endpoints to play with: a JSON answer, a stream out, a stream in, and one
// that takes its time. This is what handlers look like: straight code, one await for each thing that takes time.
#include "app.hpp"
#include "json.hpp"

#include <array>
#include <cstdio>

namespace showcase {
namespace {

using clock = std::chrono::steady_clock;

double seconds_since(clock::time_point start) { return std::chrono::duration<double>(clock::now() - start).count(); }

std::uint64_t milliseconds_since(clock::time_point start) {
  return static_cast<std::uint64_t>(seconds_since(start) * 1000);
}

/// CRC-32 as zip and Ethernet have it, so that `gzip -l -v`, `crc32` or Python's zlib give the same number.
class crc32 {
 public:
  void add(std::string_view bytes) noexcept {
    for (char c : bytes) state_ = table[(state_ ^ static_cast<unsigned char>(c)) & 255] ^ (state_ >> 8);
  }
  std::string text() const {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", static_cast<unsigned>(~state_));
    return digits;
  }

 private:
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit) made[i] = (made[i] >> 1) ^ ((made[i] & 1) != 0 ? 0xedb88320U : 0);
    }
    return made;
  }();
  std::uint32_t state_ = ~0U;
};

}  // namespace

task<void> hello(app&, request& req, response& res) {
  json body;
  body.open('{').add("message", "Hello from weir").add("client", req.remote().unmapped().to_string());
  body.add("request_on_this_connection", req.number()).close('}');
  res.set("Content-Type", "application/json");
  co_await res.end(body.text() + "\n");
}

// Each write waits until the connection has room again: however slow the client reads, and whatever the size,
// the server holds about one block for it. With Content-Length set, it is sent; without, the body goes out in chunks.
task<void> download(app& a, request& req, response& res) {
  static const std::string block = [] {
    std::string lines;
    while (lines.size() < 128 * 1024) lines += "weir: thirty-two bytes of text.\n";
    return lines;
  }();
  auto mb = number_from_query(req, "mb", {.fallback = 16, .least = 1, .most = 4096});
  if (!mb) co_return co_await refuse(res, 400, mb.failure().message());

  auto left = *mb * 1024 * 1024;
  res.set("Content-Type", "text/plain").set("Content-Length", std::to_string(left));
  for (; left > 0; left -= block.size()) {
    co_await res.write(block);
    a.downloaded += block.size();
  }
  if (req.method() == weir::net::http::method::get) a.log.add("download: " + std::to_string(*mb) + " MiB sent");
}

// The same the other way round: the next piece is received when this one has been dealt with, and a client that is
// too fast is slowed down by TCP. The server's max_body (main.cpp) bounds the whole: beyond it, read() fails and
// the client is answered 413.
task<void> upload(app& a, request& req, response& res) {
  auto start = clock::now();
  std::uint64_t bytes = 0;
  crc32 sum;
  for (;;) {
    auto piece = co_await req.read();
    if (piece.empty()) break;
    bytes += piece.size();
    a.uploaded += piece.size();
    sum.add(piece);
  }
  auto seconds = seconds_since(start);
  json body;
  body.open('{').add("bytes", bytes).add("crc32", sum.text()).add("seconds", seconds).close('}');
  res.set("Content-Type", "application/json");
  co_await res.end(body.text() + "\n");
  a.log.add("upload: " + std::to_string(bytes) + " bytes, CRC-32 " + sum.text());
}

// A client that leaves cancels its handler: the await it is in ends at once, with `cancelled`. Nothing has to be
// polled for that, and most handlers need no line for it; this one wants to tell.
task<void> slow(app& a, request& req, response& res) {
  auto ms = number_from_query(req, "ms", {.fallback = 5000, .least = 0, .most = 60'000});
  if (!ms) co_return co_await refuse(res, 400, ms.failure().message());

  auto start = clock::now();
  auto name = "slow request " + std::to_string(++a.slow_started);
  a.log.add(name + ": waiting " + std::to_string(*ms) + " ms");
  res.set("Content-Type", "text/plain");
  co_await res.write(name + " waits " + std::to_string(*ms) + " ms\n");

  auto slept = co_await weir::attempt(weir::sleep(std::chrono::milliseconds(*ms)));
  if (!slept) {
    ++a.slow_cancelled;
    a.log.add(name + ": cancelled after " + std::to_string(milliseconds_since(start)) + " ms, " +
              (a.closing ? "the server closes" : "the client left"));
    slept.value();  // throws `cancelled`: goes on with what attempt() held up
  }
  co_await res.end("done\n");
  ++a.slow_finished;
  a.log.add(name + ": done");
}

}  // namespace showcase
