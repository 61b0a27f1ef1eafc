// tests/fuzz/multiplex_fuzz.cpp: a multiplexer whose other side sends frames of any kind, cut anywhere, or garbage:
// what it sends itself is well-formed and within the windows that it was allowed, it keeps no more streams than it may,
// what a stream's reader gets is what was sent to that stream, and in the end nothing is left.
#include <weir/core/combine.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/multiplex.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/virtual_backend.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace {

using namespace weir;
using namespace weir::fuzzing;
using namespace std::chrono_literals;

constexpr std::size_t header_size = 9;
constexpr unsigned most_frames = 200;
constexpr std::uint8_t data_frame = 0, end_frame = 1, reset_frame = 2, window_frame = 3;

/// What is known of one stream, on the other side.
struct stream_model {
  std::uint64_t sent = 0;      // to the multiplexer, as data
  std::uint64_t may_send = 0;  // beyond the first window
  std::uint64_t received = 0;  // from the multiplexer
  std::uint64_t allowed = 0;   // to it, beyond the first window
  bool ended = false;
};

struct model {
  choices* in;
  io::multiplex_options options;
  std::map<std::uint32_t, stream_model> streams;
  bool garbled = false;  // something was sent of which nobody here knows what it means
  std::size_t opened_here = 0;
};

std::string header_of(std::uint32_t stream, std::uint8_t type, std::uint32_t length) {
  std::string made;
  for (int shift = 24; shift >= 0; shift -= 8) made += static_cast<char>(stream >> shift);
  made += static_cast<char>(type);
  for (int shift = 24; shift >= 0; shift -= 8) made += static_cast<char>(length >> shift);
  return made;
}

std::uint32_t number_at(const std::string& octets, std::size_t at) {
  std::uint32_t all = 0;
  for (std::size_t i = at; i < at + 4; ++i) all = all << 8 | static_cast<std::uint8_t>(octets[i]);
  return all;
}

// --- the other side ---

/// A stream that the other side may open, or one that was opened here; seldom one that is neither.
std::uint32_t choose_stream(model& m) {
  auto& in = *m.in;
  const auto which = in.byte();
  if (which % 32 == 31) return in.below(12);
  const std::uint32_t theirs = m.options.initiator ? 2 : 1, ours = m.options.initiator ? 1 : 2;
  if (which % 4 == 0 && m.opened_here != 0) return ours + 2 * in.below(static_cast<unsigned>(m.opened_here));
  return theirs + 2 * in.below(6);
}

/// As much as may be sent, or more than that. The letters of a stream go on where they stopped.
std::string header_and_payload(model& m, std::uint32_t id, std::uint64_t size, bool too_much) {
  auto& stream = m.streams[id];
  const auto most = m.options.window + stream.may_send - stream.sent;
  if (!too_much) size = stream.ended ? 0 : std::min(size, most);
  std::string payload;
  while (payload.size() < size) payload += static_cast<char>('a' + stream.sent++ % 26);
  if (too_much) m.garbled = true;
  return header_of(id, data_frame, static_cast<std::uint32_t>(size)) + payload;
}

/// Mostly frames as they should be; what a reader may see is noted.
std::string next_frame(model& m) {
  auto& in = *m.in;
  const auto id = choose_stream(m);
  auto& stream = m.streams[id];
  const auto what = in.below(16);
  if (what < 2) m.garbled = m.garbled || in.one_in(4);
  if (what == 0) return m.garbled ? std::string(in.text(20)) : header_of(id, data_frame, 0);
  if (what == 1) return m.garbled ? header_of(in.word(), in.byte(), in.word()) : header_of(id, end_frame, 0);
  if (what == 2) return header_of(id, reset_frame, 0);
  if (what == 3) {
    stream.ended = true;
    return header_of(id, end_frame, 0);
  }
  if (what < 8) {
    const std::uint32_t bytes = in.one_in(64) ? in.word() : in.below(100);
    stream.allowed += bytes;
    return header_of(id, window_frame, 4) + header_of(bytes, 0, 0).substr(0, 4);
  }
  return header_and_payload(m, id, in.below(m.options.max_frame + 1), in.one_in(128));
}

task<void> send_frames(io::writable<buffer> to, model* m) {
  std::string waiting;
  for (unsigned i = 0; i < most_frames && !m->in->empty(); ++i) {
    waiting += next_frame(*m);
    const std::size_t cut = m->in->one_in(2) ? waiting.size() : m->in->below(static_cast<unsigned>(waiting.size() + 1));
    if (cut != 0) co_await to.write(buffer::from(waiting.substr(0, cut)));
    waiting.erase(0, cut);
    if (m->in->one_in(4)) co_await sleep(1ms);
  }
  if (!waiting.empty()) co_await to.write(buffer::from(waiting));
  if (m->in->one_in(4)) co_await sleep(10ms);
  if (m->in->one_in(4)) co_return;  // breaks off
  co_await to.end();
}

void check_header(model& m, const std::string& header) {
  const auto id = number_at(header, 0);
  const auto type = static_cast<std::uint8_t>(header[4]);
  const auto length = number_at(header, 5);
  require(id != 0 && type <= window_frame);
  require(length <= (type == data_frame ? m.options.max_frame : type == window_frame ? 4U : 0U));
  if (type != data_frame) return;
  auto& stream = m.streams[id];
  stream.received += length;
  require(m.garbled || stream.received <= m.options.window + stream.allowed);
}

/// Takes what the multiplexer says, as fast as it likes to.
task<void> check_frames(io::readable<buffer> from, model* m) {
  for (;;) {
    auto header = co_await from.read(header_size);
    if (!header || header->size() < header_size) co_return;
    const std::string octets(header->text());
    check_header(*m, octets);
    if (const auto length = number_at(octets, 5); length != 0) {
      auto payload = co_await from.read(length);
      if (!payload || payload->size() < length) co_return;
      if (octets[4] == window_frame) m->streams[number_at(octets, 0)].may_send += payload->read_u32_be(0);
    }
    if (m->in->one_in(8)) co_await sleep(1ms);
  }
}

// --- this side ---

/// The letters of a stream go on where they stopped, whichever stream it is.
void check_letters(std::string_view bytes, std::size_t& seen) {
  for (const char each : bytes) require(each == static_cast<char>('a' + seen++ % 26));
}

task<void> use_stream(io::duplex<buffer> stream, model* m) {
  auto& in = *m->in;
  std::size_t seen = 0;
  for (unsigned steps = in.below(20); steps > 0; --steps) {
    switch (in.below(5)) {
      case 0: co_await stream.write(buffer::from(std::string(in.below(80), 'r'))); break;
      case 1: co_await yield(); break;
      case 2:
        if (in.one_in(8)) stream.destroy();
        if (stream.closed()) co_return;
        break;
      default: {
        auto chunk = co_await stream.next();
        if (!chunk) co_return co_await stream.end();
        if (!m->garbled) check_letters(chunk->text(), seen);
      }
    }
  }
  if (in.one_in(2)) co_await stream.end();
}

task<void> try_stream(io::duplex<buffer> stream, model* m) {
  static_cast<void>(co_await attempt(use_stream(std::move(stream), m)));
}

task<void> accept_all(io::multiplexer& side, scope& within, model* m) {
  for (;;) {
    auto stream = co_await attempt(side.accept());
    if (!stream || !*stream) co_return;
    require(side.open_streams() <= m->options.max_streams + m->opened_here);
    static_cast<void>(within.spawn_local(try_stream, std::move(**stream), m));
  }
}

task<void> open_some(io::multiplexer& side, scope& within, model* m) {
  for (unsigned left = m->in->below(4); left > 0; --left) {
    ++m->opened_here;
    try {
      static_cast<void>(within.spawn_local(try_stream, side.open(), m));
    } catch (const error&) {
      --m->opened_here;
      co_return;  // the connection is over
    }
    co_await yield();
  }
}

task<void> main_task(const std::uint8_t* data, std::size_t size) {
  const auto alive = metrics().alive;
  choices in(data, size);
  model m{&in,
          {.initiator = in.one_in(2),
           .window = 1 + in.below(200),
           .max_frame = 1 + in.below(64),
           .max_streams = 1 + in.below(4)},
          {},
          false,
          0};
  co_await with_scope([&](scope& s) -> task<void> {
    io::pass_through<buffer> there({.high_water_mark = 32}), back({.high_water_mark = 32});
    {
      io::multiplexer side(s, std::move(there.readable_side()), std::move(back.writable_side()), m.options);
      static_cast<void>(s.spawn_local(
          [](io::writable<buffer> to, model* with) -> task<void> {
            static_cast<void>(co_await attempt(send_frames(std::move(to), with)));
          },
          std::move(there.writable_side()), &m));
      static_cast<void>(s.spawn_local(
          [](io::readable<buffer> from, model* with) -> task<void> {
            static_cast<void>(co_await attempt(check_frames(std::move(from), with)));
          },
          std::move(back.readable_side()), &m));
      static_cast<void>(s.spawn_local(accept_all, std::ref(side), std::ref(s), &m));
      static_cast<void>(s.spawn_local(open_some, std::ref(side), std::ref(s), &m));
      co_await sleep(1s);  // longer than anything above takes; what still waits then would wait for ever
      s.cancel();
      co_await shield(sleep(1ms));
    }
  });
  require(metrics().alive == alive);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5 || size > 2048) return 0;
  testing::run_virtually(main_task(data, size));
  return 0;
}
