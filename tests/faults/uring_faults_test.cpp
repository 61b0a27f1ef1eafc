// tests/faults/uring_faults_test.cpp: a server where io_uring is not whole: one feature held back, one of its calls
// refused by a filter as old kernels and containers do, no memory that may be locked. It serves all the same, with what
// is left of io_uring or on epoll, and holds no more afterwards than before.
#include <weir/io/uring_backend.hpp>

#include <tests/faults/server_process.hpp>
#include <tests/support/backend_rig.hpp>

#include <gtest/gtest.h>

#include <linux/io_uring.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

namespace weir::testing {
namespace {

/// Makes a system call fail in this process where its argument `index` is, or has, `value`.
void refuse(unsigned call, unsigned index, std::uint32_t value, bool as_bits, int error) {
  const auto low_half = static_cast<unsigned>(offsetof(seccomp_data, args) + index * sizeof(std::uint64_t));
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low_half),
      BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | BPF_K | (as_bits ? BPF_JSET : BPF_JEQ)), value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    throw std::runtime_error("no filter");
  }
}

/// Connections one after the other and at once, large bodies both ways, a client that resets.
void works_and_lets_go(const server_process& server) {
  server.serves_a_fresh_client();
  const auto before = server.settled();
  for (int round = 0; round < 3; ++round) {
    std::vector<http_client> all;
    for (int i = 0; i < 8; ++i) all.push_back(server.connect());
    for (auto& each : all) each.send(upload_head(300'000) + noise(300'000) + get_request("/noise?300000"));
    for (auto& each : all) {
      EXPECT_EQ(each.read_reply().body, "300000");
      EXPECT_EQ(each.read_reply().body.size(), 300'000U);
    }
    all.front().send(get_request("/noise?100000000"));
    EXPECT_TRUE(all.front().receive());
    all.front().reset();
  }
  server.is_as_before(before);
}

std::string backend_of(const server_process& server) { return server.connect().ask(get_request("/backend")).body; }

void serves(const std::function<void()>& fault, const std::string& name) {
  SCOPED_TRACE(name);
  server_setup setup;
  setup.before = [&fault] {
    ::setenv("WEIR_BACKEND", "auto", 1);
    fault();
  };
  server_process server(std::move(setup));
  SCOPED_TRACE(backend_of(server));
  works_and_lets_go(server);
  server.stop();
}

TEST(UringFaults, a_server_works_without_any_one_feature) {
  if (!io::uring_available()) GTEST_SKIP() << io::uring_report();
  using io::uring_limits;
  static uring_limits held_back;
  const std::pair<const char*, uring_limits> cases[] = {
      {"cooperative", {.ring = io::uring_ring::cooperative}},
      {"plain", {.ring = io::uring_ring::plain}},
      {"event", {.wake = io::uring_wake::event}},
      {"message", {.wake = io::uring_wake::message}},
      {"no multishot", {.multishot = false}},
      {"no buffer ring", {.buffer_ring = false}},
      {"nothing", {io::uring_ring::plain, io::uring_wake::event, false, false, false}},
  };
  for (const auto& [name, limits] : cases) {
    SCOPED_TRACE(name);
    held_back = limits;
    server_setup setup;
    setup.make_backend = [](const backend_options& options) { return io::make_uring_backend(options, held_back); };
    const server_process server(std::move(setup));
    works_and_lets_go(server);
  }
}

TEST(UringFaults, a_server_works_where_one_kind_of_registration_is_refused) {
  if (!io::uring_available()) GTEST_SKIP() << io::uring_report();
  constexpr std::uint32_t send_message = 31;  // newer than the headers may be
  const std::pair<const char*, std::uint32_t> kinds[] = {
      {"probe", IORING_REGISTER_PROBE},
      {"enable rings", IORING_REGISTER_ENABLE_RINGS},
      {"ring descriptors", IORING_REGISTER_RING_FDS},
      {"buffer ring", IORING_REGISTER_PBUF_RING},
      {"message", send_message},
  };
  for (const auto& [name, kind] : kinds) {
    for (int error : {EINVAL, EPERM}) {
      serves([kind, error] { refuse(SYS_io_uring_register, 1, kind, false, error); },
             std::string(name) + ", " + std::to_string(error));
    }
  }
}

TEST(UringFaults, a_server_works_where_a_whole_call_is_refused) {
  if (!io::uring_available()) GTEST_SKIP() << io::uring_report();
  for (int error : {EPERM, ENOSYS}) {
    for (unsigned call : {SYS_io_uring_setup, SYS_io_uring_register, SYS_io_uring_enter}) {
      serves([call, error] { refuse(call, 0, 0xffffffff, true, error); },
             "call " + std::to_string(call) + ", " + std::to_string(error));
    }
  }
}

TEST(UringFaults, a_server_works_where_entering_with_a_flag_is_refused) {
  if (!io::uring_available()) GTEST_SKIP() << io::uring_report();
  constexpr std::uint32_t registered_ring = 1U << 4, extended_argument = 1U << 3;
  for (auto flag : {registered_ring, extended_argument}) {
    serves([flag] { refuse(SYS_io_uring_enter, 3, flag, true, EINVAL); }, "flag " + std::to_string(flag));
  }
}

TEST(UringFaults, a_server_works_without_memory_that_may_be_locked) {
  serves(
      [] {
        limit(RLIMIT_MEMLOCK, 0);
        if (is_root() && !become_nobody()) throw std::runtime_error("cannot become nobody");
      },
      "memlock");
}

}  // namespace
}  // namespace weir::testing
