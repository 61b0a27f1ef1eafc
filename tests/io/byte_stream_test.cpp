#include <weir/io/byte_stream.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/net/tcp.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::run_with;

static_assert(byte_reader<net::tcp_stream> && byte_writer<net::tcp_stream>);

/// Reads a text in bites of a given size and notes what is written.
struct memory_device {
  std::string input;
  std::size_t bite = 1;
  std::string output = {};
  std::vector<std::size_t> pieces = {};
  bool shut = false;
  std::size_t at = 0;

  task<std::size_t> read(std::span<std::byte> into) {
    co_await yield();
    auto count = std::min({bite, into.size(), input.size() - at});
    std::copy_n(reinterpret_cast<const std::byte*>(input.data()) + at, count, into.data());
    at += count;
    co_return count;
  }
  task<> write(std::span<const std::byte> from) {
    co_await yield();
    output.append(reinterpret_cast<const char*>(from.data()), from.size());
    pieces.push_back(1);
  }
  task<> write_pieces(std::span<const std::span<const std::byte>> all) {
    co_await yield();
    for (auto each : all) output.append(reinterpret_cast<const char*>(each.data()), each.size());
    pieces.push_back(all.size());
  }
  task<> shutdown_write() {
    shut = true;
    co_return;
  }
};

task<std::string> text_of(readable<buffer>& from) {
  std::string all;
  while (auto each = co_await from.next()) all += each->text();
  co_return all;
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 500; ++i) text += std::to_string(i) + ",";
  return text;
}

TEST(ByteStream, gives_the_bytes_in_order_whatever_the_size_of_reads_and_chunks) {
  run_with(1, []() -> task<> {
    const auto text = long_text();
    for (std::size_t chunk : {1UL, 7UL, 64UL, 65536UL}) {
      for (std::size_t bite : {1UL, 3UL, 1000UL}) {
        auto from = read_from(memory_device{.input = text, .bite = bite}, {.chunk_size = chunk});
        EXPECT_EQ(co_await text_of(from), text) << chunk << " " << bite;
        EXPECT_TRUE(from.ended());
      }
    }
  }());
}

TEST(ByteStream, keeps_slices_that_others_hold) {
  run_with(1, []() -> task<> {
    const auto text = long_text();
    auto from = read_from(memory_device{.input = text, .bite = 10}, {.chunk_size = 32});
    std::vector<buffer> kept;
    while (auto chunk = co_await from.next()) kept.push_back(std::move(*chunk));
    EXPECT_EQ(buffer::concat(kept).text(), text);
  }());
}

TEST(ByteStream, writes_what_is_queued_in_one_go_and_shuts_down) {
  run_with(1, []() -> task<> {
    auto device = std::make_shared<memory_device>();
    auto to = write_to(device);
    co_await to.write(buffer::from("a"));
    for (int i = 0; i < 100; ++i) to.write_nowait(buffer::from("b"));
    co_await to.end(buffer::from("c"));
    EXPECT_EQ(device->output, "a" + std::string(100, 'b') + "c");
    EXPECT_EQ(device->pieces, (std::vector<std::size_t>{1, 64, 37}));
    EXPECT_TRUE(device->shut);
    auto half = std::make_shared<memory_device>();
    auto stays = write_to(half, {.shut_down = false});
    co_await stays.end();
    EXPECT_FALSE(half->shut);
  }());
}

TEST(ByteStream, loses_no_byte_when_reads_are_cancelled) {
  const auto text = long_text().substr(0, 100);
  std::string got;
  std::shared_ptr<readable<buffer>> from;
  auto cancels = weir::testing::cancel_at_every_suspension(
      [&]() -> task<> {
        got.clear();
        from = std::make_shared<readable<buffer>>(read_from(memory_device{.input = text, .bite = 9}));
        return [](readable<buffer>& in, std::string& all) -> task<> {
          while (auto part = co_await in.read(20)) all += part->text();
        }(*from, got);
      },
      [&](const result<>&) {
        EXPECT_TRUE(text.starts_with(got));
        EXPECT_FALSE(from->destroyed());
        EXPECT_EQ(got.size() % 20, 0U);
      });
  EXPECT_GT(cancels, 5U);
}

// C0-STR-01: a socket is a duplex; bytes go through it and back, and the half-close is seen.
TEST(ByteStream, makes_a_duplex_of_a_socket) {
  run_with(2, []() -> task<> {
    net::tcp_listener listener("127.0.0.1:0");
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn([&]() -> task<> {
        auto peer = byte_duplex(co_await listener.accept());
        co_await pipeline(peer, [](buffer chunk) { return chunk; }, peer.writable_side());  // echo
      });
      auto ours = byte_duplex(co_await net::connect(listener.local()), {.chunk_size = 4096});
      auto text = long_text();
      std::string whole;
      for (int i = 0; i < 50; ++i) whole += text;
      auto reader = s.spawn([&]() -> task<std::string> { co_return co_await text_of(ours.readable_side()); });
      for (std::size_t at = 0; at < whole.size(); at += 10'000)
        co_await ours.write(buffer::from(whole.substr(at, 10'000)));
      co_await ours.end();
      EXPECT_EQ(co_await std::move(reader), whole);
      EXPECT_TRUE(ours.closed());
    });
  }());
}

TEST(ByteStream, takes_its_chunks_from_a_pool) {
  run_with(1, []() -> task<> {
    auto from = read_from(memory_device{.input = std::string(1'000'000, 'x'), .bite = 4096}, {.chunk_size = 4096});
    std::set<const std::byte*> places;
    while (auto chunk = co_await from.next()) places.insert(chunk->data());
    EXPECT_LE(places.size(), 3U);
  }());
}

}  // namespace
}  // namespace weir::io
