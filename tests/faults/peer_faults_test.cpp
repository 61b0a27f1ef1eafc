// tests/faults/peer_faults_test.cpp: clients that are killed in mid-transfer, that do not read what they asked for, or
// that never finish what they say. The server's handlers are cancelled, it holds no more than what is said here for
// each connection, and then nothing.
#include <tests/faults/server_process.hpp>

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// A process that holds connections until it is killed.
class peer_process {
 public:
  /// @param deed is called in the process, and says with the descriptor given to it that it is in mid-transfer
  template <class F>
  explicit peer_process(F deed) {
    int ready[2];
    checked(::pipe2(ready, O_CLOEXEC));
    std::fflush(nullptr);
    child_ = checked(::fork());
    if (child_ == 0) {
      try {
        deed(ready[1]);
      } catch (const std::exception& why) {
        std::fprintf(stderr, "peer: %s\n", why.what());
      }
      std::_Exit(1);
    }
    ::close(ready[1]);
    char byte;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the peer did not get that far";
    ::close(ready[0]);
  }
  peer_process(const peer_process&) = delete;
  peer_process& operator=(const peer_process&) = delete;
  ~peer_process() { kill(); }

  void kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(std::exchange(child_, -1), nullptr, 0);
  }

 private:
  pid_t child_ = -1;
};

constexpr int crowd = 24;

void say_ready(int fd) { checked(static_cast<int>(::write(fd, "r", 1))); }

TEST(PeerFaults, a_client_killed_while_it_downloads_leaves_nothing) {
  const server_process server;
  const auto before = server.settled();
  peer_process peer([&](int ready) {
    std::vector<http_client> all;
    for (int i = 0; i < crowd; ++i) {
      all.push_back(server.connect());
      all.back().send(get_request("/noise?1000000000"));
      for (int n = 0; n < 3; ++n) all.back().receive();
    }
    say_ready(ready);
    for (;;) {
      for (auto& each : all) each.receive();
    }
  });
  EXPECT_EQ(server.count().handlers, before.handlers + crowd);
  peer.kill();
  server.is_as_before(before);
}

TEST(PeerFaults, a_client_killed_while_it_uploads_leaves_nothing) {
  const server_process server;
  const auto before = server.settled();
  peer_process peer([&](int ready) {
    const auto piece = noise(16 * 1024);
    std::vector<http_client> all;
    for (int i = 0; i < crowd; ++i) {
      all.push_back(server.connect());
      all.back().send(upload_head(1'000'000'000));
      all.back().send(piece);
    }
    say_ready(ready);
    for (;;) {
      for (auto& each : all) each.send(piece);
    }
  });
  EXPECT_TRUE(eventually([&] { return server.count().handlers == before.handlers + crowd; }));
  peer.kill();
  server.is_as_before(before);
}

TEST(PeerFaults, clients_killed_again_and_again_leave_no_memory) {
  const server_process server;
  const auto once = [&] {
    peer_process peer([&](int ready) {
      std::vector<http_client> all;
      for (int i = 0; i < crowd; ++i) {
        all.push_back(server.connect());
        all.back().send(i % 2 == 0 ? get_request("/noise?1000000000") : upload_head(1'000'000'000) + "part");
      }
      for (int i = 0; i < crowd; i += 2) all[static_cast<std::size_t>(i)].receive();
      say_ready(ready);
      for (;;) ::pause();
    });
    peer.kill();
  };
  once();
  const auto before = server.settled();
  server.is_as_before(before);
  for (int i = 0; i < 8; ++i) once();
  server.is_as_before(before);
  EXPECT_LT(server.count().bytes, before.bytes + 256 * 1024) << "for " << 8 * crowd << " connections";
}

// The high-water mark, one piece of the handler's beyond it, the handler's own 64 KiB, and 32 KiB for the rest.
TEST(PeerFaults, slow_readers_by_the_hundred_cost_what_the_mark_allows) {
  constexpr std::uint64_t readers = 200;
  constexpr std::uint64_t each_at_most = (64 + 64 + 64 + 32) * 1024;
  const server_process server;
  const auto before = server.settled();
  std::vector<http_client> all;
  for (std::uint64_t i = 0; i < readers; ++i) {
    all.push_back(server.connect(4096));
    all.back().send(get_request("/noise?1000000000"));
  }
  EXPECT_TRUE(eventually([&] { return server.count().handlers == before.handlers + readers; }));
  for (auto& each : all) EXPECT_TRUE(each.hears_within(10s));
  const auto during = server.count();
  EXPECT_LT(during.bytes, before.bytes + readers * each_at_most) << during;
  server.serves_a_fresh_client();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i % 2 == 0) all[i].reset();
  }
  all.clear();
  server.is_as_before(before);
}

TEST(PeerFaults, readers_below_the_floor_are_cut_off) {
  server_setup setup;
  setup.options.min_write_rate = {.bytes_per_second = 10'000, .grace = 1s};
  const server_process server(std::move(setup));
  const auto before = server.settled();
  std::vector<http_client> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(server.connect(4096));
    all.back().send(get_request("/noise?1000000000"));
  }
  EXPECT_TRUE(eventually([&] { return server.count().handlers == before.handlers + all.size(); }));
  auto quick = server.connect();
  EXPECT_EQ(quick.ask(get_request("/noise?50000000")).body.size(), 50'000'000U);
  quick.close();
  server.is_as_before(before);  // with all of them still there
}

TEST(PeerFaults, uploads_below_the_floor_are_cut_off) {
  server_setup setup;
  setup.options.min_body_rate = {.bytes_per_second = 10'000, .grace = 1s};
  const server_process server(std::move(setup));
  const auto before = server.settled();
  std::vector<http_client> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(server.connect());
    all.back().send(upload_head(1'000'000) + "slow");
  }
  for (auto& each : all) EXPECT_EQ(each.read_reply().status, 408);
  all.clear();
  server.is_as_before(before);
}

TEST(PeerFaults, slowloris_by_the_hundred_is_cut_off_and_cheap) {
  constexpr std::uint64_t clients = 400;
  constexpr std::uint64_t each_at_most = 16 * 1024;
  server_setup setup;
  setup.options.header_timeout = 1500ms;
  setup.options.request_timeout = 1500ms;
  const server_process server(std::move(setup));
  const auto before = server.settled();
  std::vector<http_client> all;
  for (std::uint64_t i = 0; i < clients; ++i) {
    all.push_back(server.connect());
    all.back().send(i % 2 == 0 ? "GET /length HTTP/1.1\r\nHost: a\r\nX-Slow: " : upload_head(1'000'000) + "slow");
  }
  const auto during = server.count();
  EXPECT_LT(during.bytes, before.bytes + clients * each_at_most) << during;
  server.serves_a_fresh_client();
  std::size_t open = all.size();
  while (open > 0) {  // a byte now and then does not buy time
    open = 0;
    for (auto& each : all) open += each.hears_within(0ms) || !each.send("x") ? 0U : 1U;
    wait_a_little();
  }
  for (auto& each : all) {
    const auto answer = each.read_rest();
    if (!answer.empty()) EXPECT_TRUE(answer.starts_with("HTTP/1.1 408")) << answer;
  }
  server.is_as_before(before);
}

TEST(PeerFaults, clients_that_connect_and_leave_at_once_leave_nothing) {
  const server_process server;
  const auto before = server.settled();
  for (int i = 0; i < 500; ++i) {
    auto client = server.connect();
    if (i % 3 == 0) client.reset();
    if (i % 3 == 1) client.send("GET / HT");
  }
  server.is_as_before(before);
}

}  // namespace
}  // namespace weir::testing
