// tests/io/backend_test.cpp: what every backend does, each by itself on the test's thread: io_uring on each kind of
// ring and with each fallback, epoll with each of its own. Where io_uring is refused its tests are skipped and say why.
#include <weir/io/epoll_backend.hpp>
#include <weir/io/uring_backend.hpp>

#include <tests/support/backend_rig.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

struct variant {
  std::string name;
  std::function<std::unique_ptr<backend>(const backend_options&)> make;
  bool uring = true;
  bool stays_armed = true;    // a multishot operation, after a report
  bool many_receives = true;  // the same for recv_many
};

void PrintTo(const variant& which, std::ostream* out) { *out << which.name; }

variant on_uring(std::string name, uring_ring ring, bool multishot = true, bool buffer_ring = true,
                 uring_wake wake = uring_wake::best) {
  uring_limits limits;
  limits.ring = ring;
  limits.wake = wake;
  limits.multishot = multishot;
  limits.buffer_ring = buffer_ring;
  const auto make = [limits](const backend_options& options) { return make_uring_backend(options, limits); };
  return {std::move(name), make, true, multishot, multishot && buffer_ring};
}

variant on_epoll(std::string name, epoll_limits limits = {}) {
  const auto make = [limits](const backend_options& options) { return make_epoll_backend(options, limits); };
  return {std::move(name), make, false};
}

class Backend : public ::testing::TestWithParam<variant> {
 protected:
  void SetUp() override {
    if (GetParam().uring && !uring_available()) GTEST_SKIP() << uring_report();
  }
  rig make(const backend_options& options = {}) { return rig(GetParam().make(options)); }
  bool multishot() const { return GetParam().stays_armed; }
  bool kernel_picks_buffers() const { return GetParam().many_receives; }
};
class BackendWake : public Backend {};

constexpr auto name_of = [](const auto& info) { return info.param.name; };

INSTANTIATE_TEST_SUITE_P(All, Backend,
                         ::testing::Values(on_uring("uring_deferred", uring_ring::deferred),
                                           on_uring("uring_cooperative", uring_ring::cooperative),
                                           on_uring("uring_plain", uring_ring::plain),
                                           on_uring("uring_without_multishot", uring_ring::deferred, false),
                                           on_uring("uring_without_buffer_ring", uring_ring::deferred, true, false),
                                           on_epoll("epoll"),
                                           on_epoll("epoll_by_the_millisecond", {.precise_wait = false}),
                                           on_epoll("epoll_without_nowait", {.nowait = false})),
                         name_of);

INSTANTIATE_TEST_SUITE_P(
    All, BackendWake,
    ::testing::Values(on_uring("uring", uring_ring::deferred),
                      on_uring("uring_event", uring_ring::deferred, true, true, uring_wake::event),
                      on_uring("uring_event_armed_each_time", uring_ring::deferred, false, true, uring_wake::event),
                      on_uring("uring_event_plain", uring_ring::plain, true, true, uring_wake::event),
                      on_uring("uring_message", uring_ring::deferred, true, true, uring_wake::message),
                      on_uring("uring_message_plain", uring_ring::plain, true, true, uring_wake::message),
                      on_uring("uring_direct", uring_ring::deferred, true, true, uring_wake::direct),
                      on_epoll("epoll")),
    name_of);

TEST_P(Backend, completes_a_nop) {
  rig io = make();
  recorded op;
  EXPECT_EQ(io.run(op), 0);
  EXPECT_EQ(op.reports(), 1u);
  EXPECT_EQ(io->in_flight(), 0u);
  EXPECT_EQ(io->counters().submissions, 1u);
  EXPECT_EQ(io->counters().completions, 1u);
}

TEST_P(Backend, reads_and_writes_a_file_at_an_offset_and_at_its_position) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  char text[] = "hello, world";
  recorded write{opcode::write, f.fd};
  write.buffer = text;
  write.length = 12;
  write.offset = 100;
  EXPECT_EQ(io.run(write), 12);

  char back[5] = {};
  recorded read{opcode::read, f.fd};
  read.buffer = back;
  read.length = 5;
  read.offset = 107;
  EXPECT_EQ(io.run(read), 5);
  EXPECT_EQ(std::string(back, 5), "world");

  ASSERT_EQ(::lseek(f.fd, 100, SEEK_SET), 100);
  recorded next{opcode::read, f.fd};
  next.buffer = back;
  next.length = 5;
  EXPECT_EQ(io.run(next), 5);
  EXPECT_EQ(std::string(back, 5), "hello");
  EXPECT_EQ(::lseek(f.fd, 0, SEEK_CUR), 105);
}

TEST_P(Backend, reads_and_writes_in_several_parts) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  char one[] = "one";
  char two[] = "two!";
  iovec out[] = {{one, 3}, {two, 4}};
  recorded write{opcode::writev, f.fd};
  write.buffer = out;
  write.length = 2;
  write.offset = 1;
  EXPECT_EQ(io.run(write), 7);

  char head[4] = {};
  char rest[8] = {};
  iovec in[] = {{head, 4}, {rest, 8}};
  recorded read{opcode::readv, f.fd};
  read.buffer = in;
  read.length = 2;
  read.offset = 0;
  EXPECT_EQ(io.run(read), 8);
  EXPECT_EQ(std::string(head, 4), std::string("\0one", 4));
  EXPECT_EQ(std::string(rest, 4), "two!");
}

TEST_P(Backend, sends_and_receives) {
  rig io = make();
  auto [left, right] = make_pair();
  char out[] = "ping";
  char in[8] = {};
  recorded recv{opcode::recv, right.fd};
  recv.buffer = in;
  recv.length = sizeof in;
  io->submit(recv);
  io.settle();
  EXPECT_FALSE(recv.over());
  recorded send{opcode::send, left.fd};
  send.buffer = out;
  send.length = 4;
  EXPECT_EQ(io.run(send), 4);
  EXPECT_TRUE(io.until([&] { return recv.over(); }));
  EXPECT_EQ(recv.last(), 4);
  EXPECT_STREQ(in, "ping");
}

TEST_P(Backend, passes_the_flags_of_a_receive) {
  rig io = make();
  auto [left, right] = make_pair();
  put(left, "peek");
  char in[8] = {};
  recorded recv{opcode::recv, right.fd};
  recv.buffer = in;
  recv.length = sizeof in;
  recv.flags = MSG_PEEK;
  EXPECT_EQ(io.run(recv), 4);
  recv.flags = 0;
  EXPECT_EQ(io.run(recv.again()), 4);  // still there
}

TEST_P(Backend, sends_and_receives_messages) {
  rig io = make();
  auto [left, right] = make_pair(SOCK_DGRAM);
  char a[] = "ab";
  char b[] = "cde";
  iovec out[] = {{a, 2}, {b, 3}};
  msghdr message{};
  message.msg_iov = out;
  message.msg_iovlen = 2;
  recorded send{opcode::sendmsg, left.fd};
  send.buffer = &message;
  EXPECT_EQ(io.run(send), 5);

  char in[16] = {};
  iovec into{in, sizeof in};
  msghdr incoming{};
  incoming.msg_iov = &into;
  incoming.msg_iovlen = 1;
  recorded recv{opcode::recvmsg, right.fd};
  recv.buffer = &incoming;
  EXPECT_EQ(io.run(recv), 5);
  EXPECT_STREQ(in, "abcde");
}

TEST_P(Backend, reports_a_broken_pipe_without_a_signal) {
  rig io = make();
  auto [left, right] = make_pair();
  right.close();
  char byte = 'x';
  recorded send{opcode::send, left.fd};
  send.buffer = &byte;
  send.length = 1;
  EXPECT_EQ(io.run(send), -EPIPE);
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  recorded sendmsg{opcode::sendmsg, left.fd};
  sendmsg.buffer = &message;
  EXPECT_EQ(io.run(sendmsg), -EPIPE);
}

TEST_P(Backend, connects_and_accepts) {
  rig io = make();
  tcp_listener listener;
  sockaddr_in from{};
  socklen_t length = sizeof from;
  recorded accept{opcode::accept, listener.socket.fd};
  accept.buffer = &from;
  accept.second = &length;
  accept.flags = SOCK_NONBLOCK;
  io->submit(accept);

  const file client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  recorded connect{opcode::connect, client.fd};
  connect.buffer = listener.name();
  connect.length = sizeof listener.address;
  EXPECT_EQ(io.run(connect), 0);
  EXPECT_TRUE(io.until([&] { return accept.over(); }));
  const file served{accept.last()};
  ASSERT_GE(served.fd, 0);
  EXPECT_NE(::fcntl(served.fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(served.fd, F_GETFL) & O_NONBLOCK, 0);
  sockaddr_in client_name{};
  socklen_t client_length = sizeof client_name;
  ASSERT_EQ(::getsockname(client.fd, reinterpret_cast<sockaddr*>(&client_name), &client_length), 0);
  EXPECT_EQ(from.sin_port, client_name.sin_port);
}

TEST_P(Backend, accepts_many_connections_with_one_operation) {
  rig io = make();
  tcp_listener listener;
  recorded accept{opcode::accept_many, listener.socket.fd};
  std::vector<file> peers;
  std::vector<file> served;
  io->submit(accept);
  for (std::size_t i = 0; i < 20; ++i) {
    peers.push_back(listener.connect());
    ASSERT_TRUE(io.until([&] { return accept.reports() == i + 1; }));
    served.emplace_back(accept.last());
    ASSERT_GE(served.back().fd, 0);
    EXPECT_NE(::fcntl(served.back().fd, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(accept.over(), !multishot());
    if (accept.over()) io->submit(accept.again());
  }
  EXPECT_EQ(io.cancel(accept), -ECANCELED);
}

TEST_P(Backend, shuts_a_connection_down_and_closes_it) {
  rig io = make();
  auto [left, right] = make_pair();
  recorded shutdown{opcode::shutdown, left.fd};
  shutdown.length = SHUT_WR;
  EXPECT_EQ(io.run(shutdown), 0);
  char in[4];
  recorded recv{opcode::recv, right.fd};
  recv.buffer = in;
  recv.length = sizeof in;
  EXPECT_EQ(io.run(recv), 0);  // the end, in this direction only
  put(right, "ok");
  EXPECT_EQ(::read(left.fd, in, sizeof in), 2);

  const int number = left.fd;
  recorded close{opcode::close, number};
  EXPECT_EQ(io.run(close), 0);
  left.fd = -1;
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST_P(Backend, polls_for_readiness_once_or_again_and_again) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  recorded writable{opcode::poll, writer.fd};
  writable.flags = POLLOUT;
  EXPECT_EQ(io.run(writable), POLLOUT);

  recorded readable{opcode::poll_many, reader.fd};
  readable.flags = POLLIN;
  io->submit(readable);
  io.settle();
  EXPECT_EQ(readable.reports(), 0u);
  for (std::size_t i = 0; i < 3; ++i) {
    put(writer, "x");
    ASSERT_TRUE(io.until([&] { return readable.reports() > i; }));
    EXPECT_NE(readable.last() & POLLIN, 0);
    EXPECT_EQ(readable.over(), !multishot());
    char byte;
    ASSERT_EQ(::read(reader.fd, &byte, 1), 1);
    if (readable.over()) io->submit(readable.again());
  }
  EXPECT_EQ(io.cancel(readable), -ECANCELED);
}

TEST_P(Backend, opens_describes_and_removes_files) {
  rig io = make();
  const scratch dir;
  std::string a = dir / "a";
  std::string b = dir / "b";
  recorded open{opcode::openat, AT_FDCWD};
  open.buffer = a.data();
  open.flags = O_RDWR | O_CREAT | O_EXCL;
  open.length = 0640;
  const file f{io.run(open)};
  ASSERT_GE(f.fd, 0);
  EXPECT_NE(::fcntl(f.fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(io.run(open.again()), -EEXIST);

  recorded allocate{opcode::fallocate, f.fd};
  allocate.offset = 4096;
  allocate.second = reinterpret_cast<void*>(std::uintptr_t{8192});
  EXPECT_EQ(io.run(allocate), 0);

  struct statx facts{};
  recorded describe{opcode::statx, AT_FDCWD};
  describe.buffer = a.data();
  describe.length = STATX_BASIC_STATS;
  describe.second = &facts;
  EXPECT_EQ(io.run(describe), 0);
  EXPECT_EQ(facts.stx_size, 12288u);
  EXPECT_EQ(facts.stx_mode & 0777, 0640);

  recorded rename{opcode::renameat, AT_FDCWD};
  rename.buffer = a.data();
  rename.second = b.data();
  rename.length = static_cast<std::uint32_t>(AT_FDCWD);
  EXPECT_EQ(io.run(rename), 0);
  EXPECT_EQ(::access(a.c_str(), F_OK), -1);
  EXPECT_EQ(::access(b.c_str(), F_OK), 0);

  recorded remove{opcode::unlinkat, AT_FDCWD};
  remove.buffer = b.data();
  EXPECT_EQ(io.run(remove), 0);
  EXPECT_EQ(::access(b.c_str(), F_OK), -1);
}

TEST_P(Backend, makes_and_removes_directories) {
  rig io = make();
  const scratch dir;
  std::string d = dir / "d";
  recorded make_dir{opcode::mkdirat, AT_FDCWD};
  make_dir.buffer = d.data();
  make_dir.length = 0700;
  EXPECT_EQ(io.run(make_dir), 0);
  struct stat facts{};
  ASSERT_EQ(::stat(d.c_str(), &facts), 0);
  EXPECT_TRUE(S_ISDIR(facts.st_mode));
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  recorded remove{opcode::unlinkat, AT_FDCWD};
  remove.buffer = d.data();
  EXPECT_EQ(io.run(remove), -EISDIR);
  remove.flags = AT_REMOVEDIR;
  EXPECT_EQ(io.run(remove.again()), 0);
  EXPECT_EQ(::access(d.c_str(), F_OK), -1);
}

TEST_P(Backend, syncs_a_file_and_refuses_to_sync_a_pipe) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  put(f, "kept");
  auto [reader, writer] = make_pipe();
  for (const std::uint32_t data_only : {0u, 1u}) {
    recorded sync{opcode::fsync, f.fd};
    sync.flags = data_only;
    EXPECT_EQ(io.run(sync), 0);
    recorded wrong{opcode::fsync, writer.fd};
    wrong.flags = data_only;
    EXPECT_EQ(io.run(wrong), -EINVAL);
  }
}

TEST_P(Backend, splices_from_one_descriptor_to_another) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  auto [left, right] = make_pair();
  put(writer, "spliced");
  recorded splice{opcode::splice, reader.fd};
  splice.length = static_cast<std::uint32_t>(left.fd);
  splice.offset = ~std::uint64_t{0} >> 1;  // more than a call can move
  EXPECT_EQ(io.run(splice), 7);
  char in[8] = {};
  ASSERT_EQ(::read(right.fd, in, sizeof in), 7);
  EXPECT_STREQ(in, "spliced");
}

TEST_P(Backend, maps_the_errors_of_the_system) {
  rig io = make();
  tcp_listener silent{false};
  const file client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  recorded connect{opcode::connect, client.fd};
  connect.buffer = silent.name();
  connect.length = sizeof silent.address;
  EXPECT_EQ(io.run(connect), -ECONNREFUSED);

  for (const opcode code : {opcode::read, opcode::write, opcode::recv, opcode::send, opcode::recv_many, opcode::accept,
                            opcode::accept_many, opcode::poll, opcode::close, opcode::shutdown}) {
    recorded op{code, 1 << 20};
    EXPECT_EQ(io.run(op), -EBADF) << static_cast<int>(code);
    EXPECT_EQ(op.reports(), 1u);
  }
  EXPECT_EQ(io->in_flight(), 0u);

  std::string nowhere = "/nonexistent/for/weir";
  recorded open{opcode::openat, AT_FDCWD};
  open.buffer = nowhere.data();
  EXPECT_EQ(io.run(open), -ENOENT);
}

TEST_P(Backend, reports_an_operation_it_does_not_know_at_the_next_poll) {
  rig io = make();
  recorded op{static_cast<opcode>(200)};
  io->submit(op);
  EXPECT_EQ(op.reports(), 0u);
  EXPECT_EQ(io->in_flight(), 1u);
  EXPECT_EQ(io->poll(patience), 1u);  // does not wait
  EXPECT_EQ(op.last(), -EINVAL);
  EXPECT_TRUE(op.over());
  EXPECT_EQ(io->in_flight(), 0u);
}

TEST_P(Backend, receives_many_times_into_pooled_buffers) {
  rig io = make();
  tcp_listener listener;
  recorded accept{opcode::accept, listener.socket.fd};
  io->submit(accept);
  file client = listener.connect();
  ASSERT_TRUE(io.until([&] { return accept.over(); }));
  const file served{accept.last()};

  recorded recv{opcode::recv_many, served.fd};
  io->submit(recv);
  std::string sent;
  for (int i = 0; i < 50; ++i) {
    const std::string part = "part " + std::to_string(i) + ";";
    sent += part;
    put(client, part);
    ASSERT_TRUE(io.until([&] { return recv.bytes().size() == sent.size(); }));
    EXPECT_EQ(recv.over(), !kernel_picks_buffers());
    for (const auto id : recv.buffers()) io->recycle(id);
    recv.buffers().clear();
    if (recv.over()) io->submit(recv.again());
  }
  EXPECT_EQ(recv.bytes(), sent);
  client.close();
  ASSERT_TRUE(io.until([&] { return recv.over(); }));
  EXPECT_EQ(recv.last(), 0);
  EXPECT_FALSE(recv.data_without_bytes());
}

TEST_P(Backend, ends_a_receive_when_the_pool_is_empty_and_goes_on_when_a_buffer_comes_back) {
  backend_options options;
  options.buffers = 4;
  options.buffer_size = 16;
  rig io = make(options);
  auto [left, right] = make_pair(SOCK_SEQPACKET);
  recorded recv{opcode::recv_many, right.fd};
  for (int i = 0; i < 6; ++i) put(left, std::string(16, static_cast<char>('a' + i)));

  io->submit(recv);
  ASSERT_TRUE(io.until([&] {
    if (recv.over() && recv.last() > 0) io->submit(recv.again());  // one-shot fallback
    return recv.over() && recv.last() < 0;
  }));
  EXPECT_EQ(recv.last(), -ENOBUFS);
  EXPECT_EQ(recv.buffers().size(), 4u);
  EXPECT_EQ(recv.bytes().size(), 64u);
  EXPECT_EQ(io->counters().no_buffers, 1u);

  EXPECT_EQ(io.run(recv.again()), -ENOBUFS);  // nothing came back yet
  EXPECT_EQ(io->counters().no_buffers, 2u);

  for (const auto id : recv.buffers()) io->recycle(id);
  recv.buffers().clear();
  io->submit(recv.again());
  ASSERT_TRUE(io.until([&] {
    if (recv.over() && recv.last() > 0 && recv.bytes().size() < 96) io->submit(recv.again());
    return recv.bytes().size() == 96;
  }));
  EXPECT_EQ(recv.bytes().substr(64), std::string(16, 'e') + std::string(16, 'f'));
  for (const auto id : recv.buffers()) io->recycle(id);
  if (!recv.over()) EXPECT_EQ(io.cancel(recv), -ECANCELED);
}

TEST_P(Backend, does_not_report_a_burst_beyond_the_buffers_offered_while_the_pool_has_some) {
  rig io = make();
  auto [left, right] = make_pair(SOCK_SEQPACKET);
  const int size = 1 << 20;
  ASSERT_EQ(::setsockopt(left.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
  constexpr std::size_t total = 200;  // more than the first window, less than the pool
  std::size_t sent = 0;
  recorded recv{opcode::recv_many, right.fd};
  while (recv.reports() < total) {
    while (sent < total && ::send(left.fd, "x", 1, MSG_DONTWAIT) == 1) ++sent;
    if (recv.reports() == 0 || recv.over()) io->submit(recv.again());
    const auto before = recv.reports();
    ASSERT_TRUE(io.until([&] { return recv.over() || recv.reports() > before; }));
    ASSERT_EQ(recv.last(), 1);
  }
  EXPECT_EQ(recv.buffers().size(), total);  // all of them held
  std::sort(recv.buffers().begin(), recv.buffers().end());
  EXPECT_EQ(std::unique(recv.buffers().begin(), recv.buffers().end()), recv.buffers().end());
  EXPECT_EQ(io->counters().no_buffers, 0u);
  for (const auto id : recv.buffers()) io->recycle(id);
  if (!recv.over()) EXPECT_EQ(io.cancel(recv), -ECANCELED);
}

TEST_P(Backend, keeps_received_bytes_until_their_buffer_is_recycled) {
  backend_options options;
  options.buffers = 2;
  options.buffer_size = 8;
  rig io = make(options);
  auto [left, right] = make_pair(SOCK_SEQPACKET);
  recorded recv{opcode::recv_many, right.fd};
  put(left, "first");
  io->submit(recv);
  ASSERT_TRUE(io.until([&] { return recv.bytes() == "first"; }));
  for (std::size_t i = 1; i <= 10; ++i) {  // the other buffer goes round
    put(left, "other");
    ASSERT_TRUE(io.until([&] {
      if (recv.over()) io->submit(recv.again());  // the kernel also ends it when it has no buffer for the next
      return recv.buffers().size() == i + 1;
    }));
    io->recycle(recv.buffers().back());
  }
  ASSERT_EQ(recv.bytes().size(), 55u);
  EXPECT_EQ(std::memcmp(recv.first_data(), "first", 5), 0);
  io->recycle(recv.buffers().front());
  if (!recv.over()) EXPECT_EQ(io.cancel(recv), -ECANCELED);
}

// --- cancelling

TEST_P(Backend, cancels_what_waits_in_the_kernel) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  auto [left, right] = make_pair();
  tcp_listener listener;
  char in[8];
  for (const opcode code : {opcode::read, opcode::recv, opcode::recv_many, opcode::accept, opcode::accept_many,
                            opcode::poll, opcode::poll_many}) {
    const bool accepts = code == opcode::accept || code == opcode::accept_many;
    recorded op{code, code == opcode::read ? reader.fd : accepts ? listener.socket.fd : right.fd};
    op.flags = code == opcode::poll || code == opcode::poll_many ? POLLIN : 0;
    if (!accepts) op.buffer = in;
    op.length = sizeof in;
    io->submit(op);
    io.settle();
    ASSERT_EQ(op.reports(), 0u);
    io->cancel(op);
    EXPECT_EQ(op.reports(), 0u);  // asking reports nothing
    EXPECT_EQ(io.cancel(op), -ECANCELED) << static_cast<int>(code);
    EXPECT_EQ(op.reports(), 1u);
  }
  EXPECT_EQ(io->in_flight(), 0u);
  EXPECT_EQ(io->counters().no_buffers, 0u);
}

TEST_P(Backend, cancels_what_has_not_reached_the_kernel_yet) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  char in[8];
  recorded op{opcode::read, reader.fd};
  op.buffer = in;
  op.length = sizeof in;
  io->submit(op);
  EXPECT_EQ(io.cancel(op), -ECANCELED);
  EXPECT_EQ(op.reports(), 1u);
}

TEST_P(Backend, gives_a_cancelled_operation_its_result_if_that_came_first) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  put(writer, "early");
  char in[8] = {};
  recorded op{opcode::read, reader.fd};
  op.buffer = in;
  op.length = sizeof in;
  io->submit(op);
  EXPECT_EQ(io.cancel(op), 5);
  EXPECT_STREQ(in, "early");
}

TEST_P(Backend, takes_no_harm_from_cancelling_what_is_over_or_never_began) {
  rig io = make();
  recorded op;
  io->cancel(op);
  EXPECT_EQ(io.run(op), 0);
  io->cancel(op);
  io->cancel(op);
  io.settle();
  EXPECT_EQ(op.reports(), 1u);
  EXPECT_EQ(io.run(op.again()), 0);
}

// --- re-entrance

TEST_P(Backend, lets_a_completion_submit_the_same_operation_again) {
  rig io = make();
  recorded op;
  op.then = [&](recorded& self) {
    if (self.reports() < 1000) io->submit(self.again());
  };
  io->submit(op);
  ASSERT_TRUE(io.until([&] { return op.reports() == 1000; }));
  EXPECT_EQ(io->in_flight(), 0u);
}

TEST_P(Backend, lets_a_completion_destroy_its_operation) {
  rig io = make();
  int destroyed = 0;
  struct heap_op : operation {
    int* count = nullptr;
  };
  for (int i = 0; i < 100; ++i) {
    auto* op = new heap_op;
    op->count = &destroyed;
    op->on_complete = [](operation& done, const completion&) noexcept {
      auto* self = static_cast<heap_op*>(&done);
      ++*self->count;
      delete self;
    };
    io->submit(*op);
  }
  ASSERT_TRUE(io.until([&] { return destroyed == 100; }));
  EXPECT_EQ(io->in_flight(), 0u);
}

TEST_P(Backend, lets_a_completion_cancel_and_submit_others) {
  rig io = make();
  auto [reader, writer] = make_pipe();
  char in[8];
  recorded waiting{opcode::read, reader.fd};
  waiting.buffer = in;
  waiting.length = sizeof in;
  io->submit(waiting);
  recorded unknown{static_cast<opcode>(99)};
  recorded trigger;
  trigger.then = [&](recorded&) {
    io->cancel(waiting);
    io->submit(unknown);
  };
  io->submit(trigger);
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  EXPECT_EQ(waiting.results(), std::vector<int>{-ECANCELED});
  EXPECT_EQ(unknown.results(), std::vector<int>{-EINVAL});
}

// --- waiting

// Rings that have gone may still interrupt the thread that they were on: hence one for each.
void on_new_thread(const std::function<void()>& body) { std::thread(body).join(); }

TEST_P(Backend, waits_no_longer_than_asked) {
  on_new_thread([this] {
    rig io = make();
    io.settle();
    const auto begin = steady_clock::now();
    EXPECT_EQ(io->poll(20ms), 0u);
    const auto took = steady_clock::now() - begin;
    EXPECT_GE(took, 20ms);
    EXPECT_LT(took, patience);
  });
}

volatile std::sig_atomic_t alarms = 0;

TEST_P(Backend, survives_a_signal_while_it_waits) {
  rig io = make();
  io.settle();
  struct sigaction action{};
  struct sigaction old{};
  alarms = 0;
  action.sa_handler = [](int) { alarms = 1; };
  ASSERT_EQ(::sigaction(SIGALRM, &action, &old), 0);
  const itimerval once{{0, 0}, {0, 10'000}};
  const auto begin = steady_clock::now();
  ASSERT_EQ(::setitimer(ITIMER_REAL, &once, nullptr), 0);
  while (alarms == 0 && steady_clock::now() - begin < patience) EXPECT_EQ(io->poll(patience), 0u);
  EXPECT_LT(steady_clock::now() - begin, patience);
  ASSERT_EQ(::sigaction(SIGALRM, &old, nullptr), 0);
  recorded op;
  EXPECT_EQ(io.run(op), 0);
}

// --- waking ----------------------------------------------------------------------------------------------------

TEST_P(BackendWake, that_comes_before_a_waiting_poll_ends_it_at_once_and_only_it) {
  on_new_thread([this] {
    rig io = make();
    io->poll(0ns);
    const auto begin = steady_clock::now();
    for (int i = 0; i < 100; ++i) io->wake(nullptr);
    io->poll(0ns);  // does not wait, so it does not use the wake-up up
    EXPECT_EQ(io->poll(patience), 0u);
    EXPECT_LT(steady_clock::now() - begin, patience);
    const auto again = steady_clock::now();
    EXPECT_EQ(io->poll(20ms), 0u);
    EXPECT_GE(steady_clock::now() - again, 20ms);  // one hundred wake-ups before a poll are one
  });
}

TEST_P(BackendWake, is_never_lost_from_a_foreign_thread) {
  rig io{GetParam().make({})};
  constexpr int rounds = 5000;
  std::atomic<int> posted{0};
  std::atomic<int> seen{0};
  std::thread other([&] {
    for (int i = 1; i <= rounds; ++i) {
      posted.store(i, std::memory_order_relaxed);
      io->wake(nullptr);
      // Every third round does not wait, so wakes also come while the last one is being seen.
      while (i % 3 == 0 && seen.load(std::memory_order_relaxed) < i) std::this_thread::yield();
    }
  });
  int last = 0;
  bool stalled = false;
  while (last < rounds && !stalled) {
    const auto begin = steady_clock::now();
    io->poll(patience);
    stalled = steady_clock::now() - begin >= patience;
    last = posted.load(std::memory_order_relaxed);
    seen.store(last, std::memory_order_relaxed);
  }
  seen.store(rounds, std::memory_order_relaxed);
  other.join();
  EXPECT_FALSE(stalled) << "a wake-up was lost";
}

TEST_P(BackendWake, passes_between_two_workers_and_carries_what_was_written_before_it) {
  constexpr int rounds = 3000;
  std::atomic<backend*> left{nullptr};
  std::atomic<backend*> right{nullptr};
  std::atomic<int> closed{0};
  int token = 0;  // plain on purpose: handed over by `turn`, and by the wake-up's ordering under TSan
  std::atomic<int> turn{0};
  const auto worker = [&](std::atomic<backend*>& mine, std::atomic<backend*>& others, int parity) {
    rig io{GetParam().make({})};
    mine.store(&*io);
    while (others.load() == nullptr) std::this_thread::yield();
    bool stalled = false;
    for (int now = turn.load(); now < rounds && !stalled; now = turn.load()) {
      if (now % 2 == parity) {
        ++token;
        turn.store(now + 1);
        others.load()->wake(&*io);
        continue;
      }
      const auto begin = steady_clock::now();
      io->poll(patience);
      stalled = steady_clock::now() - begin >= patience;
    }
    EXPECT_FALSE(stalled) << "a wake-up was lost";
    ++closed;
    while (closed.load() < 2) std::this_thread::yield();  // nobody wakes a backend that is gone
  };
  std::thread a(worker, std::ref(left), std::ref(right), 0);
  std::thread b(worker, std::ref(right), std::ref(left), 1);
  a.join();
  b.join();
  EXPECT_EQ(token, rounds);
}

TEST_P(BackendWake, does_not_count_as_a_completion_and_is_over_when_seen) {
  rig io{GetParam().make({})};
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop.load()) {
      io->wake(nullptr);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(io->poll(patience), 0u);
  stop.store(true);
  other.join();
  EXPECT_EQ(io->counters().completions, 0u);
  bool waited = false;
  for (int i = 0; i < 20 && !waited; ++i) {
    const auto begin = steady_clock::now();
    io->poll(5ms);
    waited = steady_clock::now() - begin >= 5ms;
  }
  EXPECT_TRUE(waited) << "an old wake-up still ends every poll";
}

}  // namespace
}  // namespace weir::io
