// tests/io/uring_backend_test.cpp: what the io_uring backend does beyond what every backend does (backend_test.cpp), by
// itself on the test's thread. The first suite runs on each kind of ring and with each fallback; where io_uring is
// refused the tests are skipped and say why.
#include <weir/io/uring_backend.hpp>

#include <tests/support/backend_rig.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

rig on_uring(const backend_options& options = {}, const uring_limits& limits = {}) {
  return rig(make_uring_backend(options, limits));
}

#define SKIP_WITHOUT_URING() \
  if (!uring_available()) GTEST_SKIP() << uring_report()

// --- on each kind of ring --------------------------------------------------------------------------------------

struct variant {
  const char* name;
  uring_limits limits;
};

void PrintTo(const variant& which, std::ostream* out) { *out << which.name; }

class UringBackend : public ::testing::TestWithParam<variant> {
 protected:
  void SetUp() override { SKIP_WITHOUT_URING(); }
  rig make(const backend_options& options = {}) { return on_uring(options, GetParam().limits); }
};

uring_limits with(uring_ring ring, bool multishot = true, bool buffer_ring = true) {
  uring_limits limits;
  limits.ring = ring;
  limits.multishot = multishot;
  limits.buffer_ring = buffer_ring;
  return limits;
}

INSTANTIATE_TEST_SUITE_P(Rings, UringBackend,
                         ::testing::Values(variant{"deferred", with(uring_ring::deferred)},
                                           variant{"cooperative", with(uring_ring::cooperative)},
                                           variant{"plain", with(uring_ring::plain)},
                                           variant{"without_multishot", with(uring_ring::deferred, false)},
                                           variant{"without_buffer_ring", with(uring_ring::deferred, true, false)}),
                         [](const auto& info) { return info.param.name; });

TEST_P(UringBackend, cancels_what_blocks_a_thread_of_the_kernel) {
  rig io = make();
  const scratch dir;
  std::string fifo = dir / "a";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  recorded open{opcode::openat, AT_FDCWD};  // waits for a writer that never comes
  open.buffer = fifo.data();
  open.flags = O_RDONLY | O_CREAT;  // O_CREAT: otherwise io_uring opens a fifo as with O_NONBLOCK
  io->submit(open);
  io->poll(20ms);
  ASSERT_EQ(open.reports(), 0u);
  EXPECT_EQ(io.cancel(open), -ECANCELED);
}

TEST_P(UringBackend, does_not_let_a_late_cancel_hit_the_next_operation_at_the_same_address) {
  backend_options options;
  options.entries = 4;
  uring_limits limits = GetParam().limits;
  limits.flush_when_full = false;  // so that the request to cancel waits for room
  rig io = on_uring(options, limits);
  auto [reader, writer] = make_pipe();
  auto [second_reader, second_writer] = make_pipe();
  char in[8] = {};
  alignas(recorded) std::byte place[sizeof(recorded)];
  auto* first = new (place) recorded{opcode::read, reader.fd};
  first->buffer = in;
  first->length = sizeof in;
  io->submit(*first);
  io.settle();

  std::array<recorded, 4> fill;
  for (auto& each : fill) io->submit(each);
  put(writer, "a");
  io->cancel(*first);
  ASSERT_TRUE(io.until([&] { return first->over(); }));
  EXPECT_EQ(first->last(), 1);
  first->~recorded();

  auto* second = new (place) recorded{opcode::read, second_reader.fd};
  second->buffer = in;
  second->length = sizeof in;
  io->submit(*second);
  io.settle();
  EXPECT_EQ(second->reports(), 0u);
  put(second_writer, "bc");
  ASSERT_TRUE(io.until([&] { return second->over(); }));
  EXPECT_EQ(second->last(), 2);
  second->~recorded();
}

// --- full queues

TEST_P(UringBackend, takes_thousands_of_operations_at_once) {
  backend_options options;
  options.entries = 64;
  rig io = make(options);
  std::vector<recorded> ops(5000);
  for (auto& op : ops) io->submit(op);
  EXPECT_GT(io->counters().stalls, 0u);
  EXPECT_EQ(io->in_flight(), ops.size());
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  for (const auto& op : ops) ASSERT_EQ(op.reports(), 1u);
  EXPECT_EQ(io->counters().submissions, 5000u);
  EXPECT_EQ(io->counters().completions, 5000u);
}

TEST_P(UringBackend, loses_no_completion_when_the_completion_queue_overflows) {
  backend_options options;
  options.entries = 2;
  rig io = make(options);
  std::vector<recorded> ops(1000);
  for (auto& op : ops) io->submit(op);
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  for (const auto& op : ops) ASSERT_EQ(op.results(), std::vector<int>{0});
  EXPECT_GT(io->counters().overflows, 500u);
  EXPECT_LE(io->counters().overflows, 1000u);
}

TEST_P(UringBackend, keeps_order_and_loses_nothing_while_operations_wait_for_room) {
  backend_options options;
  options.entries = 4;
  uring_limits limits = GetParam().limits;
  limits.flush_when_full = false;
  rig io = on_uring(options, limits);
  std::vector<int> order;
  std::vector<recorded> ops(100);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    ops[i].then = [&order, i](recorded&) { order.push_back(static_cast<int>(i)); };
    io->submit(ops[i]);
  }
  auto [reader, writer] = make_pipe();
  char in[8];
  recorded late{opcode::read, reader.fd};  // is in the backlog when it is cancelled
  late.buffer = in;
  late.length = sizeof in;
  io->submit(late);
  io->cancel(late);
  EXPECT_EQ(late.reports(), 0u);
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  EXPECT_EQ(late.results(), std::vector<int>{-ECANCELED});
  ASSERT_EQ(order.size(), ops.size());
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(UringBackend, cancels_in_the_kernel_once_there_is_room_for_the_request) {
  backend_options options;
  options.entries = 4;
  uring_limits limits = GetParam().limits;
  limits.flush_when_full = false;
  rig io = on_uring(options, limits);
  auto [reader, writer] = make_pipe();
  char in[8];
  recorded op{opcode::read, reader.fd};
  op.buffer = in;
  op.length = sizeof in;
  io->submit(op);
  io.settle();
  std::array<recorded, 9> fill;
  for (auto& each : fill) io->submit(each);
  EXPECT_EQ(io.cancel(op), -ECANCELED);
  EXPECT_TRUE(io.until([&] { return io->in_flight() == 0; }));
}

TEST_P(UringBackend, makes_no_system_call_when_it_neither_waits_nor_has_anything_to_do) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  char in[8];
  recorded op{opcode::read, reader.fd};
  op.buffer = in;
  op.length = sizeof in;
  io->submit(op);
  io.settle();
  const auto before = io->counters().enters;
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(io->poll(0ns), 0u);
  EXPECT_EQ(io->poll(-1s), 0u);
  EXPECT_EQ(io->counters().enters, before);
  put(writer, "x");
  ASSERT_TRUE(io.until([&] {
    io->poll(0ns);  // sees it without waiting
    return op.over();
  }));
}

TEST_P(UringBackend, submits_and_waits_in_one_system_call) {
  rig io = make();
  io.settle();
  recorded op;
  const auto before = io->counters().enters;
  io->submit(op);
  EXPECT_EQ(io->poll(std::chrono::nanoseconds::max()), 1u);
  EXPECT_EQ(io->counters().enters, before + 1);
}

// --- making and ending -----------------------------------------------------------------------------------------

TEST(UringBackendOptions, out_of_range_are_refused_with_a_reason) {
  SKIP_WITHOUT_URING();
  const backend_options wrong[] = {
      {.entries = 0},   {.entries = 1000},  {.entries = 65536}, {.buffers = 0},
      {.buffers = 100}, {.buffers = 65536}, {.buffer_size = 0}, {.buffer_size = ~0u},
  };
  for (const auto& options : wrong) {
    try {
      make_uring_backend(options);
      ADD_FAILURE() << options.entries << ' ' << options.buffers << ' ' << options.buffer_size;
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code().value(), EINVAL);
      EXPECT_NE(std::string(error.what()).find("powers of two"), std::string::npos);
    }
  }
}

TEST(UringBackendOptions, work_at_their_smallest) {
  SKIP_WITHOUT_URING();
  rig io = on_uring({.entries = 1, .buffers = 1, .buffer_size = 1});
  auto [left, right] = make_pair();
  put(left, "abc");
  recorded recv{opcode::recv_many, right.fd};
  io->submit(recv);
  ASSERT_TRUE(io.until([&] {
    for (const auto id : recv.buffers()) io->recycle(id);
    recv.buffers().clear();
    if (recv.over()) io->submit(recv.again());
    return recv.bytes().size() == 3;
  }));
  EXPECT_EQ(recv.bytes(), "abc");
  if (recv.over()) return;
  io->cancel(recv);
  EXPECT_TRUE(io.until([&] { return recv.over(); }));
}

TEST(UringBackend, may_be_destroyed_on_another_thread_without_harm_to_the_rings_of_that_thread) {
  SKIP_WITHOUT_URING();
  const uring_limits shared = with(uring_ring::plain);  // one that the kernel lets any thread use
  rig mine = on_uring({}, shared);
  recorded before;
  EXPECT_EQ(mine.run(before), 0);
  std::unique_ptr<backend> other;
  std::thread([&] {
    other = make_uring_backend({}, shared);
    other->start();
    recorded op;
    other->submit(op);
    while (!op.over()) other->poll(patience);
  }).join();
  other.reset();
  recorded after;
  EXPECT_EQ(mine.run(after), 0);
}

TEST(UringBackend, may_be_made_and_dropped_without_being_started) {
  SKIP_WITHOUT_URING();
  for (int i = 0; i < 20; ++i) EXPECT_NE(make_uring_backend({}), nullptr);
}

[[noreturn]] void say_why_there_is_none(int error) {
  refuse_io_uring(error);
  if (uring_available()) std::_Exit(3);
  try {
    make_uring_backend({});
  } catch (const std::system_error& refused) {
    std::fprintf(stderr, "%d: %s", refused.code().value(), refused.what());
    std::fprintf(stderr, "%s", uring_report().c_str());
    std::_Exit(refused.code().value() == error ? 0 : 4);
  }
  std::_Exit(5);
}

TEST(UringBackendDeathTest, says_what_to_do_where_io_uring_is_refused) {
  EXPECT_EXIT(say_why_there_is_none(EPERM), ::testing::ExitedWithCode(0), "seccomp profile.*no io_uring on Linux");
  EXPECT_EXIT(say_why_there_is_none(ENOSYS), ::testing::ExitedWithCode(0), "use the epoll backend.*no io_uring on");
  EXPECT_EXIT(say_why_there_is_none(EMFILE), ::testing::ExitedWithCode(0), "RLIMIT_NOFILE.*no io_uring on");
}

TEST(UringBackend, leaves_no_descriptor_behind) {
  SKIP_WITHOUT_URING();
  const auto lowest_free = [] {
    const file probe{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    return probe.fd;
  };
  {
    rig warm_up = on_uring();
  }
  const int before = lowest_free();
  for (int i = 0; i < 5; ++i) {
    rig io = on_uring();
    recorded op;
    io.run(op);
  }
  EXPECT_EQ(lowest_free(), before);
}

TEST(UringBackend, says_what_it_found) {
  SKIP_WITHOUT_URING();
  rig io = on_uring({}, with(uring_ring::plain, false));
  const std::string report = io->report();
  for (const char* part : {"io_uring on Linux", "ring: plain", "1024 submissions, 8192 completions",
                           "512 x 4096 bytes, picked here, one-shot", "wake-up: "}) {
    EXPECT_NE(report.find(part), std::string::npos) << part << "\nin\n" << report;
  }
  EXPECT_NE(uring_report().find("operations missing:"), std::string::npos);
}

}  // namespace
}  // namespace weir::io
