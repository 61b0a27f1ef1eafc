// tests/io/sender_test.cpp: sending in batches over real sockets, to peers that read, do not read, or leave.
#include <weir/core/abort.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/sender.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/watched_backend.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <thread>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// Runs `use(sender, fiber)` and stops the sender, also after a failure.
task<void> with_sender(int fd, std::function<task<void>(sender&, detail::fiber&)> use) {
  sender out(fd);
  auto ended = co_await attempt(use(out, co_await detail::this_fiber{}));
  co_await out.stop();
  ended.value();
}

void send_on(unsigned workers, int fd, std::function<task<void>(sender&, detail::fiber&)> use) {
  runtime(with_workers(workers)).block_on(with_sender(fd, std::move(use)));
}

std::uint64_t submissions() { return metrics().workers[0].io.submissions; }

TEST(Sender, sends_a_batch_at_once_and_the_next_after_it) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
    auto before = submissions();
    std::string expected;
    for (int i = 0; i < 100; ++i) {
      expected += "response " + std::to_string(i);
      out.buffer() += "response " + std::to_string(i);
      out.flush(self);
    }
    EXPECT_EQ(out.pending(), expected.size());
    co_await out.drain();
    EXPECT_EQ(out.pending(), 0U);
    EXPECT_EQ(submissions() - before, 2U);  // the first response alone, the other 99 while it was in flight
    EXPECT_EQ(get(pair.theirs.get(), expected.size()), expected);
  });
}

TEST(Sender, waits_for_nothing_where_nothing_is_pending) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
    auto before = submissions();
    out.flush(self);
    co_await out.drain();
    EXPECT_EQ(submissions(), before);
  });
}

TEST(Sender, flushes_what_drain_waits_for) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    out.buffer() = "never flushed";
    co_await out.drain();
    EXPECT_EQ(get(pair.theirs.get(), 13), "never flushed");
  });
}

class SenderOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, SenderOnWorkers, ::testing::Values(1U, 2U));

TEST_P(SenderOnWorkers, keeps_the_order_of_gathered_and_borrowed_bytes) {
  auto pair = connect_pair(4096);
  auto sent = noise(4 << 20);
  std::string got;
  std::thread peer([&] { got = get(pair.theirs.get(), sent.size()); });
  std::mt19937 random(3);  // NOLINT: the same every time
  send_on(GetParam(), pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
    for (std::size_t at = 0; at < sent.size();) {
      auto size = std::min<std::size_t>(1 + random() % 50'000, sent.size() - at);
      auto piece = std::string_view(sent).substr(at, size);
      at += size;
      if (random() % 3 == 0) {
        co_await out.send(bytes(piece));
        EXPECT_EQ(out.pending(), 0U);
        continue;
      }
      out.buffer() += piece;
      if (random() % 2 == 0) out.flush(self);
      co_await out.drain(65536);
      EXPECT_LE(out.pending(), 65536U);
    }
    co_await out.drain();
  });
  peer.join();
  EXPECT_EQ(got, sent);
}

TEST(Sender, sends_borrowed_bytes_with_the_gathered_ones_at_once_where_the_socket_has_room) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    const auto before = submissions();
    const auto body = noise(20'000);
    out.buffer() = "head";
    co_await out.send(bytes(body));
    EXPECT_EQ(submissions(), before);
    EXPECT_EQ(out.pending(), 0U);
    EXPECT_EQ(get(pair.theirs.get(), 4 + body.size()), "head" + body);
  });
}

TEST(Sender, sends_no_borrowed_bytes_of_who_has_been_cancelled) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    co_await with_scope([&](scope& s) -> task<void> {
      auto sending = s.spawn_local([&]() -> task<void> {
        EXPECT_EQ(verdict(co_await attempt(immediate())), "ABORT_ERR");
        EXPECT_EQ(verdict(co_await attempt(out.send(bytes("never")))), "ABORT_ERR");
      });
      sending.cancel();
      static_cast<void>(co_await attempt(std::move(sending)));
    });
  });
  pair.ours.close();
  EXPECT_EQ(get(pair.theirs.get()), "");
}

TEST(Sender, drains_down_to_a_limit_and_no_further) {
  auto pair = connect_pair(4096);
  set_nonblocking(pair.theirs.get());
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
    std::string block(1 << 20, 'b');
    out.buffer() = block;
    out.flush(self);
    out.buffer() = "after it";
    out.flush(self);
    co_await out.drain(2 << 20);  // at once
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, out.drain(8)))), "ETIMEDOUT");
    std::size_t taken = 0;
    co_await with_scope([&](scope& s) -> task<void> {
      auto drained = s.spawn_local([&]() -> task<void> { co_await out.drain(8); });
      while (!drained.done()) {
        char part[4096];
        auto count = ::recv(pair.theirs.get(), part, sizeof part, 0);
        if (count > 0) taken += static_cast<std::size_t>(count);
        co_await immediate();
      }
    });
    EXPECT_LE(out.pending(), 8U);
    EXPECT_GE(taken, block.size() / 2);
  });
}

TEST(Sender, loses_nothing_to_a_cancelled_drain) {
  auto pair = connect_pair(4096);
  auto sent = noise(1 << 20);
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    out.buffer() = sent;
    for (int i = 0; i < 10; ++i) {
      co_await with_scope([&](scope& s) -> task<void> {
        auto drained = s.spawn_local([&]() -> task<void> { co_await out.drain(); });
        co_await immediate();
        drained.cancel();
        EXPECT_EQ(verdict(co_await attempt(std::move(drained))), "ABORT_ERR");
      });
    }
    std::string got;
    std::thread peer([&] { got = get(pair.theirs.get(), sent.size()); });
    co_await out.drain();
    peer.join();
    EXPECT_EQ(got, sent);
  });
}

TEST(Sender, discards_everything_after_a_failure) {
  auto pair = connect_pair();
  reset(pair.theirs);
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
    out.buffer() = "into the void";
    out.flush(self);
    out.buffer() = "as well";
    out.flush(self);
    auto failed = co_await attempt(out.drain());
    if (failed) co_return ADD_FAILURE() << "no error after a reset";
    EXPECT_STREQ(failed.failure().error().what(), "write ECONNRESET");
    EXPECT_EQ(out.failure(), ECONNRESET);
    EXPECT_EQ(out.pending(), 0U);
    auto before = submissions();
    out.buffer() = "too late";
    out.flush(self);
    EXPECT_EQ(out.pending(), 0U);
    EXPECT_EQ(submissions(), before);
    EXPECT_EQ(verdict(co_await attempt(out.drain())), "ECONNRESET");
    EXPECT_EQ(verdict(co_await attempt(out.send(bytes("nor this")))), "ECONNRESET");
  });
}

TEST(Sender, stops_although_the_peer_does_not_read) {
  for (std::size_t read_before : {0U, 1U, 100'000U}) {
    auto pair = connect_pair(4096);
    send_on(1, pair.ours.get(), [&](sender& out, detail::fiber& self) -> task<void> {
      out.buffer() = noise(8 << 20);
      out.flush(self);
      out.buffer() = "more";
      out.flush(self);
      co_await immediate();
      for (std::size_t read = 0; read < read_before;) {
        char part[4096];
        auto count = ::recv(pair.theirs.get(), part, std::min(sizeof part, read_before - read), MSG_DONTWAIT);
        if (count > 0) read += static_cast<std::size_t>(count);
        co_await immediate();
      }
      co_await out.stop();
      EXPECT_EQ(out.pending(), 0U);
    });
    pair.ours.close();
    EXPECT_LT(get(pair.theirs.get()).size(), 8U << 20);
  }
}

TEST(Sender, stops_where_nothing_is_in_flight) {
  auto pair = connect_pair();
  send_on(1, pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    out.buffer() = "not flushed";
    co_await out.stop();
    EXPECT_EQ(out.pending(), 0U);
  });
  pair.ours.close();
  EXPECT_EQ(get(pair.theirs.get()), "");
}

TEST(Sender, goes_on_after_short_sends_and_interruptions) {
  auto options = watched_backend::options(1);
  int left = 2;
  watched_backend::answer = [&](const operation& op) -> std::optional<int> {
    if (op.code != opcode::send || left == 0) return {};
    return --left == 1 ? -EINTR : 0;
  };
  auto pair = connect_pair();
  runtime(options).block_on(with_sender(pair.ours.get(), [&](sender& out, detail::fiber&) -> task<void> {
    out.buffer() = "in the end";
    co_await out.drain();
    EXPECT_EQ(get(pair.theirs.get(), 10), "in the end");
  }));
  EXPECT_EQ(left, 0);
}

}  // namespace
}  // namespace weir::io
