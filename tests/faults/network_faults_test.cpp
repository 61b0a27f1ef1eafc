// tests/faults/network_faults_test.cpp: packets that are lost, held up, or answered with a reset, on a loopback
// interface of the test's own (a network namespace with nftables). What arrives is whole, what is cut ends its handler,
// and when the network is well again so is the service.
#include <tests/faults/server_process.hpp>

#include <gtest/gtest.h>

#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

bool run_command(const std::string& line) {
  return std::system((line + " >/dev/null 2>&1").c_str()) == 0;  // NOLINT(concurrency-mt-unsafe): one thread
}

bool own_network() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const io::descriptor any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback = {};
  std::snprintf(loopback.ifr_name, sizeof loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  return ::ioctl(any.get(), SIOCSIFFLAGS, &loopback) == 0;
}

/// Runs `body` in a child with a network of its own; skips where there can be none, or no nftables.
template <class F>
void in_own_network(F body) {
  bool possible = true;
  const bool well = in_child(
      [&] {
        if (!own_network() || !run_command("nft add table inet t")) std::_Exit(not_possible);
        run_command("nft add chain inet t c '{ type filter hook input priority 0; }'");
        try {
          body();
        } catch (const std::exception& why) {
          ADD_FAILURE() << why.what();
        }
      },
      &possible);
  if (!possible) GTEST_SKIP() << "no network namespace, or no nft(8)";
  EXPECT_TRUE(well);
}

void rule(const std::string& what) { EXPECT_TRUE(run_command("nft add rule inet t c " + what)) << what; }
void heal() { EXPECT_TRUE(run_command("nft flush chain inet t c")); }

TEST(NetworkFaults, what_arrives_through_loss_is_whole) {
  in_own_network([] {
    server_setup setup;  // a client with bad luck is silent for long
    setup.options.min_body_rate.grace = 100s;
    setup.options.min_write_rate.grace = 100s;
    setup.options.keep_alive_timeout = 100s;
    const server_process server(std::move(setup));
    const auto before = server.settled();
    rule("numgen random mod 100 '<' 4 drop");
    std::vector<http_client> all;
    for (int i = 0; i < 8; ++i) all.push_back(server.connect());
    for (auto& each : all) each.send(upload_head(200'000) + noise(200'000) + get_request("/noise?200000"));
    const auto expected = noise(64 * 1024);
    for (auto& each : all) {
      EXPECT_EQ(each.read_reply().body, "200000");
      const auto body = each.read_reply().body;
      EXPECT_EQ(body.size(), 200'000U);
      EXPECT_EQ(body.substr(64 * 1024, 64 * 1024), expected);
    }
    heal();
    all.clear();
    server.is_as_before(before);
  });
}

TEST(NetworkFaults, a_transfer_goes_on_when_packets_pass_again) {
  in_own_network([] {
    const server_process server;
    const auto before = server.settled();
    auto client = server.connect();
    client.send(get_request("/noise?30000000"));
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(client.receive());
    rule("drop");
    ::poll(nullptr, 0, 500);  // all that is under way is lost, and sent again
    heal();
    EXPECT_EQ(client.read_reply().body.size(), 30'000'000U);
    client.close();
    server.is_as_before(before);
  });
}

TEST(NetworkFaults, a_reset_from_the_network_ends_the_handlers) {
  in_own_network([] {
    server_setup setup;
    setup.options.request_timeout = 1500ms;  // a server that only listens is told nothing
    const server_process server(std::move(setup));
    const auto before = server.settled();
    std::vector<http_client> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(server.connect());
      all.back().send(i % 2 == 0 ? get_request("/noise?1000000000") : upload_head(1'000'000'000) + "part");
    }
    for (std::size_t i = 0; i < all.size(); i += 2) EXPECT_TRUE(all[i].receive());
    EXPECT_EQ(server.count().handlers, before.handlers + all.size());
    rule("'tcp flags & rst == 0 reject with tcp reset'");
    for (auto& each : all) {
      each.send("more");
      each.read_rest();
    }
    ::poll(nullptr, 0, 1000);  // until what the server has to send has met with it too
    heal();
    server.is_as_before(before);
  });
}

TEST(NetworkFaults, clients_that_vanish_without_a_word_are_given_up) {
  in_own_network([] {
    server_setup setup;
    setup.options.request_timeout = 1500ms;
    setup.options.keep_alive_timeout = 1500ms;
    const server_process server(std::move(setup));
    const auto before = server.settled();
    std::vector<http_client> all;
    for (int i = 0; i < 50; ++i) {
      all.push_back(server.connect());
      all.back().send(i % 2 == 0 ? upload_head(1'000'000) + "part" : upload_head(2) + "ok");
    }
    EXPECT_TRUE(eventually([&] { return server.count().handlers > before.handlers; }));
    rule("tcp sport != 1 drop");
    all.clear();  // their last words are lost
    ::poll(nullptr, 0, 2000);
    heal();
    server.is_as_before(before);
  });
}

}  // namespace
}  // namespace weir::testing
