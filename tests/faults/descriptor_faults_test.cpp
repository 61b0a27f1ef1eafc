// tests/faults/descriptor_faults_test.cpp: a server out of descriptors while clients keep coming. Who is connected is
// served, who comes waits and is served later, and the server does not turn in circles meanwhile.
#include <tests/faults/server_process.hpp>

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// Of half a second with 20 requests for each client.
long ticks_allowed() { return WEIR_ASAN != 0 ? 150 : 40; }

/// CPU time of a process so far, in clock ticks of 10 ms.
long cpu_time(pid_t of) {
  const auto stat = file_content("/proc/" + std::to_string(of) + "/stat");
  long user = 0, system = 0;
  std::sscanf(stat.c_str() + stat.rfind(')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
  return user + system;
}

std::string ask_length(http_client& client) {
  return client.ask("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").body;
}

TEST(DescriptorFaults, without_descriptors_old_clients_are_served_and_new_ones_wait) {
  server_setup setup;
  setup.options.keep_alive_timeout = 0ms;
  setup.options.listen.backlog = 512;
  setup.before = [] { limit(RLIMIT_NOFILE, 64); };
  const server_process server(std::move(setup));
  const auto before = server.settled();
  std::vector<http_client> served, waiting;
  for (int i = 0; i < 150; ++i) {
    waiting.push_back(server.connect());
    waiting.back().send("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
  }
  for (auto each = waiting.begin(); each != waiting.end();) {
    if (!each->hears_within(each == waiting.begin() ? 5s : 200ms)) break;
    EXPECT_EQ(each->read_reply().body, "2");
    served.push_back(std::move(*each));
    each = waiting.erase(each);
  }
  EXPECT_GE(served.size(), 16U);
  EXPECT_GE(waiting.size(), 64U) << "the limit did not hold";
  const auto cpu = cpu_time(server.pid());
  for (int round = 0; round < 20; ++round) {
    for (auto& each : served) ASSERT_EQ(ask_length(each), "2");
  }
  EXPECT_FALSE(waiting.back().hears_within(500ms));
  EXPECT_LT(cpu_time(server.pid()) - cpu, ticks_allowed()) << "accepting in circles";
  served.clear();
  for (auto& each : waiting) {  // each that has been served makes room for the next
    EXPECT_EQ(each.read_reply().body, "2");
    each.close();
  }
  server.is_as_before(before);
}

}  // namespace
}  // namespace weir::testing
