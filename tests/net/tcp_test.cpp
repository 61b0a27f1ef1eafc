// tests/net/tcp_test.cpp: TCP and Unix stream sockets in a running runtime, over the loopback interface: data both
// ways, half-close, resets, the words of each failure, options as the kernel has them, famine and cancellation.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/net/tcp.hpp>

#include "tests/support/files.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace weir::net {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// A directory of the test's own, gone with it.
class scratch {
 public:
  scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-tcp-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::system_category());
    path_ = name;
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct pair_of_streams {
  tcp_stream ours;
  tcp_stream theirs;
};

task<pair_of_streams> connected(std::string where = "127.0.0.1:0") {
  tcp_listener listener(where);
  auto theirs = co_await connect(listener.local());
  auto ours = co_await listener.accept();
  co_return pair_of_streams{std::move(ours), std::move(theirs)};
}

task<std::string> read_all(tcp_stream& from) {
  std::string all;
  std::vector<std::byte> into(64 * 1024);
  while (auto count = co_await from.read(into)) all += text(std::span(into).first(count));
  co_return all;
}

/// The number that the next descriptor opened will have.
int next_descriptor() { return io::descriptor(checked(::dup(STDIN_FILENO))).get(); }

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  checked(::getsockopt(fd, level, name, &value, &size));
  return value;
}

/// Whether there are ports that not everybody may listen on.
bool may_be_refused_ports() {
  std::ifstream from("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  int first = 1024;
  from >> first;
  return first > 1;
}

class TcpOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, TcpOnWorkers, ::testing::Values(1U, 2U));

// ---- data

TEST_P(TcpOnWorkers, moves_ten_megabytes_both_ways_at_once) {
  auto there = noise(10 << 20, 1);
  auto back = noise(10 << 20, 2);
  run_with(GetParam(), [&]() -> task<void> {
    auto pair = co_await connected();
    auto send = [](tcp_stream& to, std::string_view what) -> task<void> {
      co_await to.write(what);
      co_await to.shutdown_write();
    };
    auto all_done =
        co_await all(send(pair.ours, there), send(pair.theirs, back), read_all(pair.ours), read_all(pair.theirs));
    EXPECT_EQ(std::get<2>(all_done), back);
    EXPECT_EQ(std::get<3>(all_done), there);
  }());
}

TEST_P(TcpOnWorkers, writes_everything_through_a_small_send_buffer) {
  auto sent = noise(1 << 20);
  run_with(GetParam(), [&]() -> task<void> {
    auto pair = co_await connected();
    int small = 4096;
    checked(::setsockopt(pair.ours.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    auto send = [&]() -> task<void> {
      co_await pair.ours.write(sent);
      co_await pair.ours.shutdown_write();
    };
    auto all_done = co_await all(send(), read_all(pair.theirs));
    EXPECT_EQ(std::get<1>(all_done), sent);
  }());
}

TEST(TcpStream, writes_some_and_says_how_much) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    int small = 4096;
    checked(::setsockopt(pair.ours.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    checked(::setsockopt(pair.theirs.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    auto sent = noise(8 << 20);
    auto count = co_await pair.ours.write_some(bytes(sent));
    EXPECT_GT(count, 0U);
    EXPECT_LT(count, sent.size());
    EXPECT_EQ(co_await pair.ours.write_some({}), 0U);
  }());
}

TEST_P(TcpOnWorkers, writes_many_pieces_in_order) {
  constexpr std::size_t count = 3000;  // more than one sendmsg takes
  std::vector<std::string> pieces;
  std::string whole;
  for (std::size_t i = 0; i < count; ++i) {
    pieces.push_back(noise(i % 7 == 0 ? 0 : i % 1500, i));
    whole += pieces.back();
  }
  run_with(GetParam(), [&]() -> task<void> {
    auto pair = co_await connected();
    int small = 4096;
    checked(::setsockopt(pair.ours.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
    std::vector<std::span<const std::byte>> views;
    for (auto& each : pieces) views.push_back(bytes(each));
    auto send = [&]() -> task<void> {
      co_await pair.ours.write_pieces(views);
      co_await pair.ours.write({bytes("the "), bytes(""), bytes("end")});
      co_await pair.ours.shutdown_write();
    };
    auto all_done = co_await all(send(), read_all(pair.theirs));
    EXPECT_EQ(std::get<1>(all_done), whole + "the end");
  }());
}

TEST(TcpStream, sends_pieces_with_one_operation) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    auto before = metrics().workers[0].io.submissions;
    co_await pair.ours.write({bytes("a"), bytes("b"), bytes("c")});
    EXPECT_EQ(metrics().workers[0].io.submissions - before, 1U);
    EXPECT_EQ(get(pair.theirs.fd(), 3), "abc");
    co_await pair.ours.write({});
    co_await pair.ours.write(std::string_view());
    EXPECT_EQ(metrics().workers[0].io.submissions - before, 1U);
  }());
}

TEST(TcpStream, goes_on_reading_after_its_own_half_close) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    co_await pair.theirs.write("question");
    co_await pair.theirs.shutdown_write();
    EXPECT_EQ(co_await read_all(pair.ours), "question");
    co_await pair.ours.write("answer");
    co_await pair.ours.shutdown_write();
    EXPECT_EQ(co_await read_all(pair.theirs), "answer");
    EXPECT_EQ(verdict(co_await attempt(pair.theirs.write("more"))), "EPIPE");
  }());
}

// ---- resets and failures

TEST(TcpStream, reads_what_came_before_a_reset_and_then_fails) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    co_await pair.theirs.write("last words");
    pair.theirs.abort();
    EXPECT_FALSE(pair.theirs.is_open());
    std::array<std::byte, 64> into;
    auto count = co_await pair.ours.read(into);
    EXPECT_EQ(text(std::span(into).first(count)), "last words");
    auto broken = co_await attempt(pair.ours.read(into));
    if (broken) co_return ADD_FAILURE() << "no error after a reset";
    EXPECT_STREQ(broken.failure().error().what(), "read ECONNRESET");
    auto pipe = co_await attempt(pair.ours.write("x"));
    if (pipe) co_return ADD_FAILURE() << "wrote to a broken connection";
    EXPECT_STREQ(pipe.failure().error().what(), "write EPIPE");
  }());
}

TEST(TcpStream, is_reset_by_a_peer_that_closes_with_unread_data) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    co_await pair.ours.write("never read");
    pair.theirs.close();
    std::array<std::byte, 4> into;
    EXPECT_EQ(verdict(co_await attempt(pair.ours.read(into))), "ECONNRESET");
  }());
}

TEST(TcpStream, has_no_address_once_closed) {
  run_with(1, []() -> task<void> {
    auto pair = co_await connected();
    EXPECT_EQ(pair.ours.local(), pair.theirs.remote());
    EXPECT_EQ(pair.ours.remote(), pair.theirs.local());
    pair.ours.close();
    EXPECT_EQ(pair.ours.local(), address());
    EXPECT_EQ(pair.ours.remote(), address());
    std::array<std::byte, 4> into;
    EXPECT_EQ(verdict(co_await attempt(pair.ours.read(into))), "EBADF");
  }());
}

template <class F>
std::string message_of(F&& fails) {
  try {
    fails();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "nothing";
}

TEST(Connect, says_in_nodes_words_what_failed) {
  scratch dir;
  auto gone = port_of(listening().get());
  struct row {
    std::string where, message;
  };
  auto port = std::to_string(gone);
  const row rows[] = {
      {"127.0.0.1:" + port, "connect ECONNREFUSED 127.0.0.1:" + port},
      {"[::1]:" + port, "connect ECONNREFUSED ::1:" + port},
      {"unix:" + dir / "nobody", "connect ENOENT " + dir / "nobody"},
      {"unix:@weir-nobody-listens-here", "connect ECONNREFUSED @weir-nobody-listens-here"},
  };
  for (auto& each : rows) {
    EXPECT_EQ(message_of([&] { run_with(1, connect(each.where)); }), each.message);
  }
  EXPECT_NE(message_of([] { run_with(1, connect("no address")); }), "nothing");
  EXPECT_NE(message_of([] { run_with(1, connect(address())); }), "nothing");
}

TEST(Connect, binds_to_the_local_address_it_is_told) {
  run_with(1, []() -> task<void> {
    tcp_listener listener("127.0.0.1:0");
    connect_options options;
    options.local = address::parse("127.0.0.2:0");
    auto stream = co_await connect(listener.local(), options);
    EXPECT_EQ(stream.local().host(), "127.0.0.2");
    options.local = listener.local();
    auto failed = co_await attempt(connect(listener.local(), options));
    if (failed) co_return ADD_FAILURE() << "bound to a taken port";
    EXPECT_EQ(std::string(failed.failure().error().what()), "bind EADDRINUSE " + listener.local().to_string());
  }());
}

TEST(Connect, can_be_cancelled_and_closes_its_socket) {
  auto busy = listening(0);
  std::array<io::descriptor, 4> fillers;  // one fills the backlog; nobody answers the others
  for (auto& each : fillers) {
    each = client_socket(SOCK_NONBLOCK);
    connect_to(each.get(), port_of(busy.get()));
  }
  auto where = address::loopback_ipv4(port_of(busy.get()));
  run_with(1, [&]() -> task<void> {
    auto first_free = next_descriptor();
    EXPECT_EQ(verdict(co_await attempt(timeout(20ms, connect(where)))), "ETIMEDOUT");
    co_await with_scope([&](scope& s) -> task<void> {
      auto handle = s.spawn_local([&]() -> task<void> { co_await connect(where); });
      co_await immediate();
      handle.cancel();
      EXPECT_EQ(verdict(co_await attempt(std::move(handle))), "ABORT_ERR");
    });
    EXPECT_EQ(next_descriptor(), first_free);
  }());
}

TEST(TcpStream, cancels_one_direction_and_keeps_the_other) {
  run_with(2, []() -> task<void> {
    auto pair = co_await connected();
    std::array<std::byte, 16> into;
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, pair.ours.read(into)))), "ETIMEDOUT");
    co_await pair.ours.write("still writes");
    EXPECT_EQ(get(pair.theirs.fd(), 12), "still writes");
    EXPECT_EQ(verdict(co_await attempt(timeout(5ms, pair.ours.write(std::string(32 << 20, 'n'))))), "ETIMEDOUT");
    co_await pair.theirs.write("reads");
    EXPECT_EQ(co_await pair.ours.read(into), 5U);
  }());
}

// ---- listening

TEST(TcpListener, says_who_has_the_address) {
  tcp_listener first("127.0.0.1:0");
  auto where = first.local().to_string();
  EXPECT_EQ(message_of([&] { tcp_listener second(where); }), "listen EADDRINUSE: address already in use " + where);
  EXPECT_EQ(message_of([] { tcp_listener remote("192.0.2.1:0"); }),
            "listen EADDRNOTAVAIL: address not available 192.0.2.1");
  EXPECT_NE(message_of([] { tcp_listener nonsense("127.0.0.1"); }), "nothing");
}

TEST(TcpListener, takes_ipv4_too_unless_told_otherwise) {
  run_with(1, []() -> task<void> {
    auto both = co_await listen("[::]:0");
    auto stream = co_await connect(address::loopback_ipv4(both.local().port()));
    auto accepted = co_await both.accept();
    EXPECT_TRUE(accepted.remote().is_ipv4_mapped());
    EXPECT_EQ(accepted.remote().unmapped(), stream.local());
    auto any = co_await listen(":0");
    co_await connect(address::loopback_ipv4(any.local().port()));
    co_await connect(address::loopback_ipv6(any.local().port()));

    auto only = co_await listen("[::]:0", {.ipv6_only = true});
    EXPECT_EQ(verdict(co_await attempt(connect(address::loopback_ipv4(only.local().port())))), "ECONNREFUSED");
    co_await connect(address::loopback_ipv6(only.local().port()));
    tcp_listener beside(address::any_ipv4(only.local().port()));
  }());
}

TEST(TcpListener, shares_its_port_on_request) {
  run_with(1, []() -> task<void> {
    tcp_listener first("127.0.0.1:0", {.reuse_port = true});
    tcp_listener second(first.local(), {.reuse_port = true});
    EXPECT_NE(message_of([&] { tcp_listener third(first.local()); }), "nothing");
    // The kernel spreads connections by their ports: in 64 of them each listener gets one.
    std::array<int, 2> accepted = {};
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 64; ++i) clients.push_back(co_await connect(first.local()));
    co_await with_scope([&](scope& s) -> task<void> {
      for (int i : {0, 1}) {
        s.spawn_local([&, i]() -> task<void> {
          for (;;) {
            co_await (i == 0 ? first : second).accept();
            if (++accepted[static_cast<std::size_t>(i)]; accepted[0] + accepted[1] == 64) s.cancel();
          }
        });
      }
      co_await sleep(1h);
    });
    EXPECT_GT(accepted[0], 0);
    EXPECT_GT(accepted[1], 0);
  }());
}

TEST(TcpListener, binds_again_while_old_connections_linger) {
  run_with(1, []() -> task<void> {
    std::optional<tcp_listener> listener(std::in_place, "127.0.0.1:0");
    auto where = listener->local();
    auto client = co_await connect(where);
    auto accepted = co_await listener->accept();
    accepted.close();  // closes first, hence lingers
    EXPECT_EQ(co_await read_all(client), "");
    client.close();
    listener.reset();
    listener.emplace(where);
    EXPECT_EQ(listener->local(), where);
  }());
}

TEST(TcpListener, waits_out_a_famine_of_descriptors) {
  run_with(1, []() -> task<void> {
    tcp_listener listener("127.0.0.1:0");
    std::vector<io::descriptor> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(client_socket());
    std::optional<descriptor_famine> famine(std::in_place);
    famine->begin();
    for (auto& each : clients) connect_to(each.get(), listener.local().port());
    auto before = metrics().workers[0].io.submissions;
    co_await with_scope([&](scope& s) -> task<void> {
      s.spawn_local([&]() -> task<void> {
        co_await sleep(120ms);
        EXPECT_LE(metrics().workers[0].io.submissions, before + 4);
        famine.reset();
      });
      for (auto& each : clients) {
        auto taken = co_await listener.accept();
        EXPECT_FALSE(famine);
        EXPECT_EQ(taken.remote().port(), port_of(each.get()));
      }
    });
  }());
}

TEST(TcpListener, loses_no_connection_to_a_cancelled_accept) {
  run_with(2, []() -> task<void> {
    tcp_listener listener("127.0.0.1:0");
    int interrupted = 0;
    for (int round = 0; round < 1000; ++round) {
      std::optional<tcp_stream> taken;
      io::descriptor client;
      co_await with_scope([&](scope& s) -> task<void> {
        auto handle = s.spawn_on(static_cast<unsigned>(round),
                                 [&]() -> task<void> { taken.emplace(co_await listener.accept()); });
        if (round % 4 < 2) co_await immediate();
        if (round % 3 != 0) client = connected_to(listener.local().port());
        handle.cancel();
        if (round % 3 == 0) client = connected_to(listener.local().port());
        if (!co_await attempt(std::move(handle))) ++interrupted;
      });
      if (!taken) taken.emplace(co_await listener.accept());
      EXPECT_EQ(taken->remote().port(), port_of(client.get()));
      reset(client);
    }
    EXPECT_GT(interrupted, 0);
  }());
}

TEST(TcpListener, says_that_it_may_not) {
  if (!may_be_refused_ports()) GTEST_SKIP() << "every user may listen on every port here";
  as_nobody([] {
    EXPECT_EQ(message_of([] { tcp_listener low("127.0.0.1:1"); }), "listen EACCES: permission denied 127.0.0.1:1");
    EXPECT_EQ(message_of([] { tcp_listener file("unix:/weir-test.sock"); }),
              "listen EACCES: permission denied /weir-test.sock");
  });
}

TEST(TcpListener, keeps_a_backlog_of_the_length_it_is_told) {
  tcp_listener listener("127.0.0.1:0", {.backlog = 2});
  // Of a listening socket tcp_info has the length of the backlog here.
  tcp_info seen = {};
  socklen_t size = sizeof seen;
  checked(::getsockopt(listener.fd(), IPPROTO_TCP, TCP_INFO, &seen, &size));
  EXPECT_EQ(seen.tcpi_sacked, 2U);
}

// ---- adopting

TEST(TcpListener, adopts_what_listens_already) {
  auto open = listening();
  auto port = port_of(open.get());
  auto client = connected_to(port);
  run_with(1, [&]() -> task<void> {
    checked(::fcntl(open.get(), F_SETFD, 0));
    tcp_listener adopted(std::move(open));
    EXPECT_FALSE(open);
    EXPECT_EQ(adopted.local(), address::loopback_ipv4(port));
    EXPECT_EQ(::fcntl(adopted.fd(), F_GETFD), FD_CLOEXEC);
    EXPECT_NE(::fcntl(adopted.fd(), F_GETFL) & O_NONBLOCK, 0);
    auto waited = co_await adopted.accept();
    EXPECT_EQ(waited.remote().port(), port_of(client.get()));
    EXPECT_EQ(::fcntl(waited.fd(), F_GETFL) & O_NONBLOCK, 0);
    co_await with_scope([&](scope& s) -> task<void> {
      auto next = s.spawn_local([&]() -> task<void> {
        auto taken = co_await adopted.accept();
        EXPECT_NE(option(taken.fd(), IPPROTO_TCP, TCP_NODELAY), 0);
      });
      co_await immediate();
      auto late = co_await connect(adopted.local());
      co_await std::move(next);
    });
  }());
}

TEST(TcpListener, says_what_it_cannot_adopt_and_leaves_it_open) {
  scratch dir;
  auto refused = [](int fd) {
    socket_handle given(fd);
    auto why = message_of([&] { tcp_listener wrong(std::move(given)); });
    EXPECT_EQ(given.get(), fd);
    return why;
  };
  auto named = [](int fd, const char* what) { return "adopt: descriptor " + std::to_string(fd) + " is " + what; };
  EXPECT_EQ(refused(-1), "adopt EBADF");
  EXPECT_EQ(refused(checked(::open((dir / "file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600))), "adopt ENOTSOCK");
  int fd = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refused(fd), named(fd, "a datagram socket, which has no connections"));
  fd = checked(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refused(fd), named(fd, "no stream socket"));
  fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refused(fd), named(fd, "a stream socket that does not listen"));
  fd = connected_to(port_of(listening().get())).release();
  EXPECT_EQ(refused(fd), named(fd, "a stream socket that does not listen"));
}

// ---- options

TEST(TcpOptions, are_what_the_kernel_has) {
  run_with(1, []() -> task<void> {
    tcp_listener quick("127.0.0.1:0");
    auto client = co_await connect(quick.local());
    auto accepted = co_await quick.accept();
    EXPECT_NE(option(accepted.fd(), IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_NE(option(client.fd(), IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(::fcntl(accepted.fd(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(client.fd(), F_GETFD), FD_CLOEXEC);
    client.set_no_delay(false);
    EXPECT_EQ(option(client.fd(), IPPROTO_TCP, TCP_NODELAY), 0);

    tcp_listener slow("127.0.0.1:0", {.no_delay = false});
    auto patient = co_await connect(slow.local(), {.no_delay = false});
    auto also = co_await slow.accept();
    EXPECT_EQ(option(patient.fd(), IPPROTO_TCP, TCP_NODELAY), 0);
    EXPECT_EQ(option(also.fd(), IPPROTO_TCP, TCP_NODELAY), 0);

    client.set_keep_alive({.idle = 17s, .interval = 5s, .count = 3});
    EXPECT_NE(option(client.fd(), SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_EQ(option(client.fd(), IPPROTO_TCP, TCP_KEEPIDLE), 17);
    EXPECT_EQ(option(client.fd(), IPPROTO_TCP, TCP_KEEPINTVL), 5);
    EXPECT_EQ(option(client.fd(), IPPROTO_TCP, TCP_KEEPCNT), 3);
    client.set_keep_alive({.enable = false});
    EXPECT_EQ(option(client.fd(), SOL_SOCKET, SO_KEEPALIVE), 0);
    EXPECT_EQ(message_of([&] { client.set_keep_alive({.idle = 40000s}); }), "setsockopt EINVAL");
    client.close();
    EXPECT_EQ(message_of([&] { client.set_no_delay(true); }), "setsockopt EBADF");
  }());
}

// ---- Unix sockets

TEST(UnixSocket, carries_a_stream) {
  scratch dir;
  for (auto where : {"unix:" + dir / "socket", "unix:@weir-test-" + std::to_string(::getpid())}) {
    run_with(1, [&]() -> task<void> {
      auto pair = co_await connected(where);
      co_await pair.theirs.write("through a file or a name");
      co_await pair.theirs.shutdown_write();
      EXPECT_EQ(co_await read_all(pair.ours), "through a file or a name");
      EXPECT_EQ(pair.ours.local().to_string(), where);
    }());
  }
}

TEST(UnixSocket, replaces_a_file_that_nobody_listens_on) {
  scratch dir;
  auto path = dir / "socket";
  {
    tcp_listener gone("unix:" + path);
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_EQ(message_of([&] { tcp_listener strict("unix:" + path, {.remove_stale_unix = false}); }),
            "listen EADDRINUSE: address already in use " + path);
  tcp_listener again("unix:" + path);
  EXPECT_EQ(message_of([&] { tcp_listener thief("unix:" + path); }),
            "listen EADDRINUSE: address already in use " + path);
  run_with(1, [&]() -> task<void> {
    co_await connect("unix:" + path);
    co_await again.accept();
  }());
}

TEST(UnixSocket, is_open_to_every_user_on_request) {
  scratch dir;
  auto before = ::umask(0077);
  auto mode = [&](listen_options options) {
    tcp_listener listener("unix:" + dir / "socket", options);
    struct stat seen;
    checked(::stat((dir / "socket").c_str(), &seen));
    return seen.st_mode & 07777;
  };
  EXPECT_EQ(mode({}), 0700U);
  EXPECT_EQ(mode({.readable_all = true}), 0744U);
  EXPECT_EQ(mode({.writable_all = true}), 0722U);
  EXPECT_EQ(mode({.readable_all = true, .writable_all = true}), 0766U);
  ::umask(before);
}

TEST(UnixSocket, has_a_name_that_two_cannot_have) {
  auto where = "unix:@weir-taken-" + std::to_string(::getpid());
  tcp_listener first(where);
  EXPECT_EQ(message_of([&] { tcp_listener second(where); }),
            "listen EADDRINUSE: address already in use " + where.substr(5));
  first.close();
  tcp_listener again(where);
}

TEST(UnixSocket, keeps_its_file_when_a_share_of_it_is_closed) {
  scratch dir;
  auto where = "unix:" + dir / "socket";
  run_with(1, [&]() -> task<void> {
    std::optional<tcp_listener> first(std::in_place, where);
    tcp_listener second(socket_handle(checked(::fcntl(first->fd(), F_DUPFD_CLOEXEC, 0))));
    EXPECT_EQ(second.local(), address::parse(where));
    auto waiting = co_await connect(where);
    first.reset();
    static_cast<void>(co_await second.accept());
    auto late = co_await connect(where);
    static_cast<void>(co_await second.accept());
  }());
}

TEST(UnixSocket, leaves_alone_what_is_no_socket) {
  scratch dir;
  auto path = dir / "notes";
  io::descriptor(checked(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600))).close();
  EXPECT_EQ(message_of([&] { tcp_listener wrong("unix:" + path); }),
            "listen EADDRINUSE: address already in use " + path);
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST(UnixSocket, waits_for_room_in_a_full_backlog) {
  scratch dir;
  auto path = "unix:" + dir / "socket";
  run_with(1, [&]() -> task<void> {
    tcp_listener listener(path, {.backlog = 1});
    std::vector<tcp_stream> waiting;
    while (waiting.size() < 8) {
      auto next = co_await attempt(timeout(20ms, connect(path)));
      if (!next) {
        EXPECT_EQ(verdict(next), "ETIMEDOUT");
        break;
      }
      waiting.push_back(std::move(*next));
    }
    EXPECT_LT(waiting.size(), 8U);
    co_await with_scope([&](scope& s) -> task<void> {
      auto late = s.spawn_local([&]() -> task<void> { co_await connect(path); });
      co_await immediate();
      for (std::size_t i = 0; i <= waiting.size(); ++i) co_await listener.accept();
      co_await std::move(late);
    });
  }());
}

}  // namespace
}  // namespace weir::net
