// tests/io/receiver_test.cpp: receiving ahead over real sockets: nothing lost or held too long, whatever comes first:
// data, the end, a cancellation, `stop`, or the last pooled buffer.
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/receiver.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/watched_backend.hpp"

#include <gtest/gtest.h>

#include <linux/sockios.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// Runs `use(receiver)` and stops the receiver, also after a failure.
task<void> with_receiver(int fd, std::function<task<void>(receiver&)> use, receiver_options options = {}) {
  receiver in(fd, options);
  auto ended = co_await attempt(use(in));
  co_await in.stop();
  ended.value();
}

void receive_on(unsigned workers, int fd, std::function<task<void>(receiver&)> use, receiver_options options = {}) {
  runtime(watched_backend::options(workers)).block_on(with_receiver(fd, std::move(use), options));
  EXPECT_EQ(watched_backend::lent, 0);
}

task<std::string> read_all(receiver& in) {
  std::string all;
  for (;;) {
    auto data = co_await in.next();
    if (data.empty()) co_return all;
    all += text(data);
  }
}

/// Lets the loop turn until whatever the kernel has brought has been taken.
task<void> settle() {
  for (int i = 0; i < 50; ++i) co_await immediate();
}

class ReceiverOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, ReceiverOnWorkers, ::testing::Values(1U, 2U));

TEST_P(ReceiverOnWorkers, brings_what_the_peer_sends_in_order) {
  auto pair = connect_pair();
  auto sent = noise(10 << 20);
  std::thread peer([&] {
    put(pair.theirs.get(), sent);
    ::shutdown(pair.theirs.get(), SHUT_WR);
  });
  receive_on(GetParam(), pair.ours.get(), [&](receiver& in) -> task<void> { EXPECT_EQ(co_await read_all(in), sent); });
  peer.join();
}

TEST(Receiver, repeats_the_end_of_the_stream) {
  auto pair = connect_pair();
  put(pair.theirs.get(), "last words");
  ::shutdown(pair.theirs.get(), SHUT_WR);
  receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
    EXPECT_EQ(co_await read_all(in), "last words");
    EXPECT_TRUE((co_await in.next()).empty());
    EXPECT_TRUE(in.ended());
  });
}

TEST(Receiver, delivers_what_came_before_a_reset) {
  auto pair = connect_pair();
  auto sent = noise(10000);
  put(pair.theirs.get(), sent);
  reset(pair.theirs);
  receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
    std::string got;
    while (got.size() < sent.size()) got += text(co_await in.next());
    EXPECT_EQ(got, sent);
    for (int i = 0; i < 2; ++i) {
      auto broken = co_await attempt(in.next());
      if (broken) co_return ADD_FAILURE() << "no error after a reset";
      EXPECT_STREQ(broken.failure().error().what(), "read ECONNRESET");
    }
  });
}

TEST(Receiver, tells_a_task_that_has_been_cancelled) {
  auto pair = connect_pair();
  receive_on(1, pair.ours.get(), [](receiver& in) -> task<void> {
    co_await with_scope([&](scope& s) -> task<void> {
      s.cancel();
      EXPECT_EQ(verdict(co_await attempt(in.next())), "ABORT_ERR");
    });
  });
}

TEST(Receiver, holds_no_more_than_its_credit_and_a_burst) {
  auto pair = connect_pair();
  set_nonblocking(pair.theirs.get());
  std::string got;
  std::size_t sent = 0;
  receive_on(1, pair.ours.get(),
             [&](receiver& in) -> task<void> {
               auto first = co_await [&]() -> task<std::string> {
                 put(pair.theirs.get(), "x");
                 co_return std::string(text(co_await in.next()));
               }();
               got += first;
               // The consumer reads no more. The peer goes on until the kernel takes nothing from it.
               for (auto more = fill(pair.theirs.get()); more != 0; more = fill(pair.theirs.get())) {
                 sent += more;
                 co_await settle();
               }
               EXPECT_LE(watched_backend::lent, 4 + 32 + 1);
               EXPECT_GE(watched_backend::lent, 4);
               int unread = 0;
               checked(::ioctl(pair.ours.get(), SIOCINQ, &unread));
               EXPECT_GT(unread, 0);
               ::shutdown(pair.theirs.get(), SHUT_WR);
               got += co_await read_all(in);
             },
             {.credit = 4});
  EXPECT_EQ(got.size(), sent + 1);
  EXPECT_EQ(got.substr(1), std::string(sent, 'f'));
}

TEST(Receiver, gives_back_every_pooled_buffer) {
  auto pair = connect_pair();
  receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
    for (int round = 0; round < 2000; ++round) {
      put(pair.theirs.get(), "ping");
      EXPECT_EQ(text(co_await in.next()), "ping");
      EXPECT_EQ(watched_backend::lent, 1);
    }
    EXPECT_EQ(watched_backend::reported, 2000);
  });
}

TEST(Receiver, reads_on_where_the_pool_is_empty) {
  constexpr std::size_t connections = 32;
  std::vector<connection> pairs;
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < connections; ++i) {
    pairs.push_back(connect_pair());
    sent.push_back(noise(60'000, i));
  }
  std::thread peer([&] {
    for (std::size_t i = 0; i < connections; ++i) {
      put(pairs[i].theirs.get(), sent[i]);
      ::shutdown(pairs[i].theirs.get(), SHUT_WR);
    }
  });
  auto options = watched_backend::options(1);
  options.backend.buffers = 4;
  event all_hold_some;
  std::size_t holding = 0;
  runtime(options).block_on(with_scope([&](scope& s) -> task<void> {
    for (std::size_t i = 0; i < connections; ++i) {
      s.spawn_local([&, i]() -> task<void> {
        co_await with_receiver(pairs[i].ours.get(), [&](receiver& in) -> task<void> {
          std::string got(text(co_await in.next()));
          if (++holding == connections) all_hold_some.set();
          co_await all_hold_some.wait();
          got += co_await read_all(in);
          EXPECT_EQ(got, sent[i]);
        });
      });
    }
    co_return;
  }));
  peer.join();
  EXPECT_EQ(watched_backend::lent, 0);
}

TEST(Receiver, does_not_spin_where_the_pool_is_empty) {
  auto greedy = connect_pair();
  auto idle = connect_pair();
  auto options = watched_backend::options(1);
  options.backend.buffers = 4;
  put(greedy.theirs.get(), noise(30'000));
  runtime(options).block_on([&]() -> task<void> {
    receiver first(greedy.ours.get(), {.credit = 4});
    receiver second(idle.ours.get());
    bool told = false;
    second.on_end([](void* flag) noexcept { *static_cast<bool*>(flag) = true; }, &told);
    co_await first.next();
    co_await settle();
    EXPECT_EQ(watched_backend::lent, 4);
    second.arm();
    co_await settle();
    auto before = metrics().workers[0].io.submissions;
    co_await sleep(20ms);
    EXPECT_LE(metrics().workers[0].io.submissions, before + 2);
    put(idle.theirs.get(), "late");
    EXPECT_EQ(text(co_await second.next()), "late");
    idle.theirs.close();
    EXPECT_TRUE((co_await second.next()).empty());
    EXPECT_TRUE(told);
    co_await first.stop();
    co_await second.stop();
  }());
  EXPECT_EQ(watched_backend::lent, 0);
}

// A stream is bulk after eight full buffers in a row and normal again after sixteen small reads. The content is the
// same throughout, and small reads after the bulk hold no large buffer.
TEST(Receiver, switches_to_bulk_and_back) {
  auto pair = connect_pair();
  std::mt19937 random(7);  // NOLINT: the same every time
  receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
    for (int phase = 0; phase < 4; ++phase) {
      auto sent = noise(2'000'000 + random() % 1'000'000, random());
      std::thread peer([&] {
        for (std::size_t at = 0; at < sent.size();) {
          auto size = std::min<std::size_t>(1 + random() % 200'000, sent.size() - at);
          put(pair.theirs.get(), std::string_view(sent).substr(at, size));
          at += size;
        }
      });
      std::string got;
      std::size_t largest = 0;
      while (got.size() < sent.size()) {
        auto data = co_await in.next();
        largest = std::max(largest, data.size());
        got += text(data);
      }
      peer.join();
      EXPECT_EQ(got, sent);
      EXPECT_GT(largest, 4096U);
      int pooled_before = watched_backend::reported;
      for (int i = 0; i < 40; ++i) {
        auto word = noise(1 + random() % 100, random());
        put(pair.theirs.get(), word);
        std::string answer;
        while (answer.size() < word.size()) answer += text(co_await in.next());
        EXPECT_EQ(answer, word);
      }
      EXPECT_GE(watched_backend::reported, pooled_before + 20);
    }
  });
}

TEST(Receiver, never_leaves_pooled_buffers_where_bulk_is_off) {
  auto pair = connect_pair();
  auto sent = noise(1 << 20);
  std::thread peer([&] {
    put(pair.theirs.get(), sent);
    ::shutdown(pair.theirs.get(), SHUT_WR);
  });
  receive_on(1, pair.ours.get(),
             [&](receiver& in) -> task<void> {
               std::string got;
               for (;;) {
                 auto data = co_await in.next();
                 if (data.empty()) break;
                 EXPECT_LE(data.size(), 4096U);
                 got += text(data);
               }
               EXPECT_EQ(got, sent);
             },
             {.bulk_size = 0});
  peer.join();
}

// More streams in bulk than a worker has large buffers for.
TEST(Receiver, lends_large_buffers_to_some_and_serves_all) {
  constexpr std::size_t connections = 40;
  std::vector<connection> pairs;
  for (std::size_t i = 0; i < connections; ++i) pairs.push_back(connect_pair());
  auto sent = noise(400'000);
  std::size_t large = 0;
  std::thread peer([&] {
    for (std::size_t half = 0; half < 2; ++half) {
      for (auto& each : pairs) put(each.theirs.get(), std::string_view(sent).substr(half * 200'000, 200'000));
    }
  });
  event all_in_bulk;
  std::size_t arrived = 0;
  runtime(watched_backend::options(1)).block_on(with_scope([&](scope& s) -> task<void> {
    for (auto& each : pairs) {
      s.spawn_local([&]() -> task<void> {
        co_await with_receiver(each.ours.get(), [&](receiver& in) -> task<void> {
          std::string got;
          bool in_bulk = false;
          while (got.size() < sent.size()) {
            auto data = co_await in.next();
            in_bulk = in_bulk || data.size() > 4096;
            bool half_way = got.size() < 200'000 && got.size() + data.size() >= 200'000;
            got += text(data);
            if (half_way && in_bulk) ++large;
            if (half_way && ++arrived == connections) all_in_bulk.set();
            if (half_way) co_await all_in_bulk.wait();
          }
          EXPECT_EQ(got, sent);
        });
      });
    }
    co_return;
  }));
  peer.join();
  EXPECT_GT(large, 0U);
  EXPECT_LE(large, 32U);
  EXPECT_EQ(watched_backend::lent, 0);
}

TEST(Receiver, arms_itself_again_after_a_silent_end) {
  auto pair = connect_pair();
  put(pair.theirs.get(), "still there");
  auto options = watched_backend::options(1);
  std::vector<int> answers = {-EINTR, -ECANCELED, -ENOBUFS, -EINTR};
  watched_backend::answer = [&](const operation& op) -> std::optional<int> {
    if ((op.code != opcode::recv_many && op.code != opcode::recv) || answers.empty()) return {};
    auto next = answers.back();
    answers.pop_back();
    return next;
  };
  runtime(options).block_on(with_receiver(
      pair.ours.get(), [&](receiver& in) -> task<void> { EXPECT_EQ(text(co_await in.next()), "still there"); }));
  EXPECT_TRUE(answers.empty());
}

// ---- the end

struct ending {
  const char* name;
  std::function<void(connection&)> happen;
};
const ending endings[] = {
    {"end of stream", [](connection& c) { ::shutdown(c.theirs.get(), SHUT_WR); }},
    {"reset", [](connection& c) { reset(c.theirs); }},
};

TEST(Receiver, calls_the_end_hook_once_while_nobody_reads) {
  for (const auto& each : endings) {
    SCOPED_TRACE(each.name);
    auto pair = connect_pair();
    receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
      int calls = 0;
      in.on_end([](void* count) noexcept { ++*static_cast<int*>(count); }, &calls);
      put(pair.theirs.get(), "x");
      in.arm();
      co_await settle();
      EXPECT_TRUE(in.has_data());
      EXPECT_FALSE(in.ended());
      each.happen(pair);
      while (calls == 0) co_await immediate();
      EXPECT_TRUE(in.ended());
      EXPECT_EQ(text(co_await in.next()), "x");
      for (int i = 0; i < 2; ++i) static_cast<void>(co_await attempt(in.next()));
      in.arm();
      co_await settle();
      EXPECT_EQ(calls, 1);
    });
  }
}

TEST(Receiver, sees_the_end_after_bulk_once_armed) {
  auto pair = connect_pair();
  auto sent = noise(3 << 20);
  std::thread peer([&] { put(pair.theirs.get(), sent); });
  receive_on(1, pair.ours.get(), [&](receiver& in) -> task<void> {
    bool told = false;
    in.on_end([](void* flag) noexcept { *static_cast<bool*>(flag) = true; }, &told);
    std::string got;
    std::span<const std::byte> last;
    while (got.size() < sent.size()) {
      last = co_await in.next();
      got += text(last);
    }
    in.arm();
    peer.join();
    pair.theirs.close();
    while (!told) co_await immediate();
    EXPECT_EQ(got, sent);
    EXPECT_EQ(text(last), std::string_view(sent).substr(sent.size() - last.size()));  // still ours
  });
}

TEST(Receiver, stops_at_any_moment) {
  std::mt19937 random(11);  // NOLINT: the same every time
  auto sent = noise(1 << 20);
  for (int round = 0; round < 150; ++round) {
    auto pair = connect_pair();
    std::thread peer([&] {
      for (std::size_t at = 0; at < sent.size(); at += 65536) {
        if (::send(pair.theirs.get(), sent.data() + at, 65536, MSG_NOSIGNAL) < 0) return;
      }
    });
    auto reads = random() % 24;
    bool armed = random() % 2 == 0;
    receive_on(1 + round % 2, pair.ours.get(), [&](receiver& in) -> task<void> {
      std::size_t got = 0;
      for (std::size_t i = 0; i < reads && got < sent.size(); ++i) {
        auto data = co_await in.next();
        if (data.empty()) break;
        EXPECT_EQ(text(data), std::string_view(sent).substr(got, data.size()));
        got += data.size();
      }
      if (armed) in.arm();
      if (armed && round % 3 == 0) co_await immediate();
      co_await in.stop();
    });
    pair.ours.close();
    peer.join();
  }
}

// ---- cancelling

// A reader that is cancelled loses nothing: the next one goes on where it stood, in bulk and out of it.
void read_with_interruptions(unsigned workers, std::size_t total, std::size_t piece) {
  auto pair = connect_pair();
  auto sent = noise(total);
  std::thread peer([&] {
    for (std::size_t at = 0; at < total; at += piece) put(pair.theirs.get(), std::string_view(sent).substr(at, piece));
    ::shutdown(pair.theirs.get(), SHUT_WR);
  });
  std::string got;
  int interrupted = 0;
  receive_on(workers, pair.ours.get(), [&](receiver& in) -> task<void> {
    bool ended = false;
    for (int round = 0; !ended; ++round) {
      co_await with_scope([&](scope& s) -> task<void> {
        auto reader = s.spawn_local([&]() -> task<void> {
          auto data = co_await in.next();
          ended = data.empty();
          got += text(data);
        });
        for (int i = 0; i < round % 3; ++i) co_await immediate();
        reader.cancel();
        if (!co_await attempt(std::move(reader))) ++interrupted;
      });
    }
  });
  peer.join();
  EXPECT_EQ(got, sent);
  EXPECT_GT(interrupted, 0);
}

TEST(Receiver, loses_nothing_to_a_cancelled_reader) { read_with_interruptions(1, 300'000, 100); }
TEST(Receiver, loses_nothing_to_a_cancelled_reader_of_bulk) { read_with_interruptions(1, 30 << 20, 1 << 20); }
TEST(Receiver, loses_nothing_to_a_cancelled_reader_beside_another_worker) {
  read_with_interruptions(2, 10 << 20, 60'000);
}

// The cancellation comes from another worker while data arrives.
TEST(Receiver, loses_nothing_to_a_cancellation_from_another_worker) {
  auto pair = connect_pair();
  auto until = std::chrono::steady_clock::now() + 2s;
  int rounds = 0;
  int interrupted = 0;
  runtime(watched_backend::options(2)).block_on(with_scope([&](scope& outer) -> task<void> {
    co_await outer.spawn_on(1, [&]() -> task<void> {
      co_await with_receiver(pair.ours.get(), [&](receiver& in) -> task<void> {
        for (; rounds < 100'000 && std::chrono::steady_clock::now() < until; ++rounds) {
          char sent = static_cast<char>(rounds);
          char got = static_cast<char>(~sent);
          co_await with_scope([&](scope& s) -> task<void> {
            auto reader = s.spawn_local([&]() -> task<void> { got = text(co_await in.next())[0]; });
            auto canceller = s.spawn_on(0, [&]() -> task<void> {
              reader.cancel();
              co_return;
            });
            co_await yield();
            put(pair.theirs.get(), {&sent, 1});
            co_await std::move(canceller);
            if (!co_await attempt(std::move(reader))) ++interrupted;
          });
          if (got != sent) got = text(co_await in.next())[0];
          EXPECT_EQ(got, sent);
          if (got != sent) co_return;
        }
      });
    });
  }));
  EXPECT_GT(rounds, 0);
  EXPECT_EQ(watched_backend::lent, 0);
}

}  // namespace
}  // namespace weir::io
