// examples/showcase/handlers.cpp: the endpoints to play with: a JSON answer, a stream out, a stream in, and one
// that takes its time. This is what handlers look like: straight code, one await for each thing that takes time.
#include "app.hpp"
#include "json.hpp"

#include <array>
#include <cstdio>

namespace showcase {
namespace {

using clock = std::chrono::steady_clock;

// By which a client knows its own transfers among those that are shown: what JavaScript's numbers can hold.
constexpr range any_tag = {.fallback = 0, .least = 0, .most = (std::uint64_t{1} << 53) - 1};

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

const char* why_ended(const app& a) { return a.closing ? "the server closes" : "the client left"; }

/// A body on its way, shown to whoever watches. However its handler ends, that is counted and told.
class transfer {
 public:
  transfer(app& a, outcomes& counts, std::string_view kind, std::uint64_t tag) : app_(a), counts_(counts) {
    entry_.kind = kind;
    entry_.tag = tag;
    name_ = std::string(kind) + " " + std::to_string(++counts.started);
    a.transfers.add(entry_);
  }
  transfer(const transfer&) = delete;
  transfer& operator=(const transfer&) = delete;
  ~transfer() {
    app_.transfers.remove(entry_);
    if (finished_) return;
    ++counts_.cancelled;
    app_.log.add(name_ + ": cancelled after " + std::to_string(entry_.bytes) + " bytes, " +
                 (why_.empty() ? why_ended(app_) : why_));
  }

  void add(std::uint64_t bytes) noexcept { entry_.bytes += bytes; }
  std::uint64_t bytes() const noexcept { return entry_.bytes; }
  void refused(const weir::failure& why) {
    if (!why.is_cancelled() && !why.is("ECONNRESET")) why_ = why.message();
  }
  void finish(const std::string& how) {
    finished_ = true;
    ++counts_.finished;
    app_.log.add(name_ + ": " + how);
  }

 private:
  app& app_;
  outcomes& counts_;
  transfer_list::entry entry_;
  std::string name_, why_;
  bool finished_ = false;
};

task<void> announce_and_sleep(response& res, const std::string& name, std::uint64_t ms) {
  co_await res.write(name + " waits " + std::to_string(ms) + " ms\n");
  co_await weir::sleep(std::chrono::milliseconds(ms));
  co_await res.end("done\n");
}

/// Waits until `bytes` are not more than that pace allows; 0: any pace.
task<void> keep_pace(clock::time_point start, std::uint64_t bytes, std::uint64_t mib_per_second) {
  if (mib_per_second == 0) co_return;
  std::chrono::duration<double> due(static_cast<double>(bytes) / static_cast<double>(mib_per_second << 20));
  co_await weir::sleep_until(start + std::chrono::duration_cast<clock::duration>(due));
}

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
  auto tag = number_from_query(req, "tag", any_tag);
  if (!tag) co_return co_await refuse(res, 400, tag.failure().message());

  auto left = *mb * 1024 * 1024;
  res.set("Content-Type", "text/plain").set("Content-Length", std::to_string(left));
  if (req.method() != weir::net::http::method::get) co_return co_await res.end();  // HEAD: the length is all
  transfer mine(a, a.downloads, "download", *tag);
  for (; left > 0; left -= block.size()) {
    co_await res.write(block);
    a.downloaded += block.size();
    mine.add(block.size());
  }
  co_await res.end();
  mine.finish(std::to_string(*mb) + " MiB sent");
}

// The same the other way round: the next piece is received when this one has been dealt with, and a client that is
// too fast is slowed down by TCP. The server's max_body (main.cpp) bounds the whole: beyond it, read() fails and
// the client is answered 413.
//
// With ?mbps=8 it reads no faster than that, and one sees in the browser what backpressure is.
task<void> upload(app& a, request& req, response& res) {
  auto mbps = number_from_query(req, "mbps", {.fallback = 0, .least = 1, .most = 100'000});
  if (!mbps) co_return co_await refuse(res, 400, mbps.failure().message());
  auto tag = number_from_query(req, "tag", any_tag);
  if (!tag) co_return co_await refuse(res, 400, tag.failure().message());

  auto start = clock::now();
  crc32 sum;
  transfer mine(a, a.uploads, "upload", *tag);
  for (;;) {
    auto piece = co_await weir::attempt(req.read());
    if (!piece) mine.refused(piece.failure());
    if (piece.value().empty()) break;
    a.uploaded += piece->size();
    mine.add(piece->size());
    sum.add(*piece);
    co_await keep_pace(start, mine.bytes(), *mbps);
  }
  auto seconds = seconds_since(start);
  json body;
  body.open('{').add("bytes", mine.bytes()).add("crc32", sum.text()).add("seconds", seconds).close('}');
  res.set("Content-Type", "application/json");
  co_await res.end(body.text() + "\n");
  mine.finish(std::to_string(mine.bytes()) + " bytes, CRC-32 " + sum.text());
}

// A client that leaves cancels its handler: the await it is in ends at once, with `cancelled`. Nothing has to be
// polled for that, and most handlers need no line for it; this one wants to tell.
task<void> slow(app& a, request& req, response& res) {
  auto ms = number_from_query(req, "ms", {.fallback = 5000, .least = 0, .most = 60'000});
  if (!ms) co_return co_await refuse(res, 400, ms.failure().message());
  bool quiet = req.query().starts_with("quiet=1");  // the crowd's, of which there are many

  auto start = clock::now();
  auto name = "slow request " + std::to_string(++a.slow.started);
  auto tell = [&](const std::string& what) {
    if (!quiet) a.log.add(name + ": " + what);
  };
  tell("waiting " + std::to_string(*ms) + " ms");
  res.set("Content-Type", "text/plain");
  auto slept = co_await weir::attempt(announce_and_sleep(res, name, *ms));
  if (!slept) {
    ++a.slow.cancelled;
    tell("cancelled after " + std::to_string(milliseconds_since(start)) + " ms, " + why_ended(a));
    slept.value();  // throws `cancelled`: goes on with what attempt() held up
  }
  ++a.slow.finished;
  tell("done");
}

}  // namespace showcase
