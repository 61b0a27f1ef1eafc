// tests/io/uring_backend_test.cpp: the io_uring backend by itself, on the test's thread, with pipes, sockets and
// files of the running kernel. The first suite runs on each kind of ring and with each fallback; where io_uring is
// refused the tests are skipped and say why.
#include <weir/io/uring_backend.hpp>

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
using std::chrono::steady_clock;

constexpr auto patience = 20s;  // far beyond what anything here takes; reaching it is a failure

/// An operation that writes down what is reported to it.
class recorded : public operation {
 public:
  explicit recorded(opcode what = opcode::nop, int descriptor = -1) {
    code = what;
    fd = descriptor;
    on_complete = &recorded::take;
  }
  recorded(const recorded&) = delete;
  recorded& operator=(const recorded&) = delete;

  bool over() const { return over_; }
  std::size_t reports() const { return results_.size(); }
  const std::vector<int>& results() const { return results_; }
  int last() const { return results_.empty() ? -EINPROGRESS : results_.back(); }
  const std::string& bytes() const { return bytes_; }
  std::vector<std::uint16_t>& buffers() { return buffers_; }
  const std::byte* first_data() const { return first_data_; }
  bool data_without_bytes() const { return data_without_bytes_; }

  /// Ready to be submitted once more; what was recorded stays.
  recorded& again() {
    over_ = false;
    return *this;
  }

  std::function<void(recorded&)> then;

 private:
  static void take(operation& op, const completion& report) noexcept {
    auto& self = static_cast<recorded&>(op);
    EXPECT_FALSE(self.over_) << "a report after the terminal one";
    self.results_.push_back(report.result);
    self.over_ = !report.more;
    if (report.data != nullptr && report.result <= 0) self.data_without_bytes_ = true;
    if (report.data != nullptr) {
      if (self.first_data_ == nullptr) self.first_data_ = report.data;
      self.bytes_.append(reinterpret_cast<const char*>(report.data), static_cast<std::size_t>(report.result));
      self.buffers_.push_back(report.buffer);
    }
    if (self.then) self.then(self);
  }

  std::vector<int> results_;
  std::string bytes_;
  std::vector<std::uint16_t> buffers_;
  const std::byte* first_data_ = nullptr;
  bool over_ = false;
  bool data_without_bytes_ = false;
};

struct file {
  int fd = -1;
  explicit file(int descriptor = -1) : fd(descriptor) {}
  file(file&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  file& operator=(file&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~file() { close(); }
  void close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

struct two_ends {
  file first;
  file second;
};

two_ends make_pipe() {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {file{ends[0]}, file{ends[1]}};
}

two_ends make_pair(int type = SOCK_STREAM) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
  return {file{ends[0]}, file{ends[1]}};
}

void put(const file& to, std::string_view text) {
  ASSERT_EQ(::write(to.fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

struct tcp_listener {
  file socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};

  explicit tcp_listener(bool listening = true) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket.fd, name(), sizeof address), 0);
    socklen_t length = sizeof address;
    EXPECT_EQ(::getsockname(socket.fd, name(), &length), 0);
    if (listening) EXPECT_EQ(::listen(socket.fd, 64), 0);
  }
  sockaddr* name() { return reinterpret_cast<sockaddr*>(&address); }
  file connect() {
    file peer{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(::connect(peer.fd, name(), sizeof address), 0);
    return peer;
  }
};

/// A directory that goes with the test.
struct scratch {
  std::string path;
  scratch() {
    std::string name = ::testing::TempDir() + "/weir-uring-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path = name;
  }
  ~scratch() {
    for (const char* each : {"/a", "/b"}) ::unlink((path + each).c_str());
    ::rmdir((path + "/d").c_str());
    ::rmdir(path.c_str());
  }
  std::string operator/(std::string_view name) const { return path + "/" + std::string(name); }
};

/// A backend started on this thread, with what a test does with one.
class rig {
 public:
  explicit rig(const backend_options& options = {}, const uring_limits& limits = {})
      : backend_(make_uring_backend(options, limits)) {
    backend_->start();
  }

  backend& operator*() { return *backend_; }
  backend* operator->() { return backend_.get(); }

  template <class Condition>
  bool until(Condition condition) {
    const auto limit = steady_clock::now() + patience;
    while (!condition()) {
      if (steady_clock::now() > limit) return false;
      backend_->poll(100ms);
    }
    return true;
  }

  /// Submits and waits for the end; the result is the last one reported.
  int run(recorded& op) {
    backend_->submit(op);
    EXPECT_TRUE(until([&] { return op.over(); }));
    return op.last();
  }

  int cancel(recorded& op) {
    backend_->cancel(op);
    EXPECT_TRUE(until([&] { return op.over(); }));
    return op.last();
  }

  /// Lets everything queued reach the kernel.
  void settle() {
    for (int i = 0; i < 3; ++i) backend_->poll(0ns);
  }

 private:
  std::unique_ptr<backend> backend_;
};

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
  rig make(const backend_options& options = {}) { return rig(options, GetParam().limits); }
  bool multishot() const { return GetParam().limits.multishot; }
  bool kernel_picks_buffers() const { return GetParam().limits.multishot && GetParam().limits.buffer_ring; }
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

TEST_P(UringBackend, completes_a_nop) {
  rig io = make();
  recorded op;
  EXPECT_EQ(io.run(op), 0);
  EXPECT_EQ(op.reports(), 1u);
  EXPECT_EQ(io->in_flight(), 0u);
  EXPECT_EQ(io->counters().submissions, 1u);
  EXPECT_EQ(io->counters().completions, 1u);
}

TEST_P(UringBackend, reads_and_writes_a_file_at_an_offset_and_at_its_position) {
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

TEST_P(UringBackend, reads_and_writes_in_several_parts) {
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

TEST_P(UringBackend, sends_and_receives) {
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

TEST_P(UringBackend, passes_the_flags_of_a_receive) {
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

TEST_P(UringBackend, sends_and_receives_messages) {
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

TEST_P(UringBackend, reports_a_broken_pipe_without_a_signal) {
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

TEST_P(UringBackend, connects_and_accepts) {
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

TEST_P(UringBackend, accepts_many_connections_with_one_operation) {
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

TEST_P(UringBackend, shuts_a_connection_down_and_closes_it) {
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

TEST_P(UringBackend, polls_for_readiness_once_or_again_and_again) {
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

TEST_P(UringBackend, opens_describes_and_removes_files) {
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

TEST_P(UringBackend, makes_and_removes_directories) {
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

TEST_P(UringBackend, syncs_a_file_and_refuses_to_sync_a_pipe) {
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

TEST_P(UringBackend, splices_from_one_descriptor_to_another) {
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

TEST_P(UringBackend, maps_the_errors_of_the_system) {
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

TEST_P(UringBackend, reports_an_operation_it_does_not_know_at_the_next_poll) {
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

TEST_P(UringBackend, receives_many_times_into_pooled_buffers) {
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

TEST_P(UringBackend, ends_a_receive_when_the_pool_is_empty_and_goes_on_when_a_buffer_comes_back) {
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

TEST_P(UringBackend, does_not_report_a_burst_beyond_the_buffers_offered_while_the_pool_has_some) {
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

TEST_P(UringBackend, keeps_received_bytes_until_their_buffer_is_recycled) {
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

TEST_P(UringBackend, cancels_what_waits_in_the_kernel) {
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

TEST_P(UringBackend, cancels_what_has_not_reached_the_kernel_yet) {
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

TEST_P(UringBackend, gives_a_cancelled_operation_its_result_if_that_came_first) {
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

TEST_P(UringBackend, takes_no_harm_from_cancelling_what_is_over_or_never_began) {
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

TEST_P(UringBackend, does_not_let_a_late_cancel_hit_the_next_operation_at_the_same_address) {
  backend_options options;
  options.entries = 4;
  uring_limits limits = GetParam().limits;
  limits.flush_when_full = false;  // so that the request to cancel waits for room
  rig io{options, limits};
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
  rig io{options, limits};
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
  rig io{options, limits};
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

// --- re-entrance

TEST_P(UringBackend, lets_a_completion_submit_the_same_operation_again) {
  rig io = make();
  recorded op;
  op.then = [&](recorded& self) {
    if (self.reports() < 1000) io->submit(self.again());
  };
  io->submit(op);
  ASSERT_TRUE(io.until([&] { return op.reports() == 1000; }));
  EXPECT_EQ(io->in_flight(), 0u);
}

TEST_P(UringBackend, lets_a_completion_destroy_its_operation) {
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

TEST_P(UringBackend, lets_a_completion_cancel_and_submit_others) {
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

TEST_P(UringBackend, waits_no_longer_than_asked) {
  rig io = make();
  io.settle();
  const auto begin = steady_clock::now();
  EXPECT_EQ(io->poll(20ms), 0u);
  const auto took = steady_clock::now() - begin;
  EXPECT_GE(took, 20ms);
  EXPECT_LT(took, patience);
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

TEST_P(UringBackend, survives_a_signal_while_it_waits) {
  rig io = make();
  io.settle();
  struct sigaction action{};
  struct sigaction old{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGALRM, &action, &old), 0);
  const itimerval once{{0, 0}, {0, 10'000}};
  const auto begin = steady_clock::now();
  ASSERT_EQ(::setitimer(ITIMER_REAL, &once, nullptr), 0);
  EXPECT_EQ(io->poll(patience), 0u);
  EXPECT_LT(steady_clock::now() - begin, patience);
  ASSERT_EQ(::sigaction(SIGALRM, &old, nullptr), 0);
  recorded op;
  EXPECT_EQ(io.run(op), 0);
}

// --- waking ----------------------------------------------------------------------------------------------------

struct wake_variant {
  const char* name;
  uring_ring ring;
  uring_wake wake;
  bool multishot;
};

void PrintTo(const wake_variant& which, std::ostream* out) { *out << which.name; }

class UringWake : public ::testing::TestWithParam<wake_variant> {
 protected:
  void SetUp() override { SKIP_WITHOUT_URING(); }
  static uring_limits limits() {
    uring_limits limits;
    limits.ring = GetParam().ring;
    limits.wake = GetParam().wake;
    limits.multishot = GetParam().multishot;
    return limits;
  }
};

INSTANTIATE_TEST_SUITE_P(Ways, UringWake,
                         ::testing::Values(wake_variant{"best", uring_ring::deferred, uring_wake::best, true},
                                           wake_variant{"event", uring_ring::deferred, uring_wake::event, true},
                                           wake_variant{"event_armed_each_time", uring_ring::deferred,
                                                        uring_wake::event, false},
                                           wake_variant{"event_plain", uring_ring::plain, uring_wake::event, true},
                                           wake_variant{"message", uring_ring::deferred, uring_wake::message, true},
                                           wake_variant{"message_plain", uring_ring::plain, uring_wake::message, true},
                                           wake_variant{"direct", uring_ring::deferred, uring_wake::direct, true}),
                         [](const auto& info) { return info.param.name; });

TEST_P(UringWake, that_comes_before_a_waiting_poll_ends_it_at_once_and_only_it) {
  rig io{{}, limits()};
  io->poll(0ns);
  const auto begin = steady_clock::now();
  for (int i = 0; i < 100; ++i) io->wake(nullptr);
  io->poll(0ns);  // does not wait, so it does not use the wake-up up
  EXPECT_EQ(io->poll(patience), 0u);
  EXPECT_LT(steady_clock::now() - begin, patience);
  const auto again = steady_clock::now();
  EXPECT_EQ(io->poll(20ms), 0u);
  EXPECT_GE(steady_clock::now() - again, 20ms);  // one hundred wake-ups before a poll are one
}

TEST_P(UringWake, is_never_lost_from_a_foreign_thread) {
  rig io{{}, limits()};
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

TEST_P(UringWake, passes_between_two_workers_and_carries_what_was_written_before_it) {
  constexpr int rounds = 3000;
  std::atomic<backend*> left{nullptr};
  std::atomic<backend*> right{nullptr};
  std::atomic<int> closed{0};
  int token = 0;  // plain on purpose: handed over by `turn`, and by the wake-up's ordering under TSan
  std::atomic<int> turn{0};
  const auto worker = [&](std::atomic<backend*>& mine, std::atomic<backend*>& others, int parity) {
    rig io{{}, limits()};
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

TEST_P(UringWake, does_not_count_as_a_completion_and_is_over_when_seen) {
  rig io{{}, limits()};
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
  rig io{backend_options{.entries = 1, .buffers = 1, .buffer_size = 1}};
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
  rig mine{{}, shared};
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

// Makes io_uring_setup fail in this process, as a container's filter does.
void refuse_io_uring(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    std::fputs("no filter\n", stderr);
    std::_Exit(2);
  }
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
    rig warm_up;
  }
  const int before = lowest_free();
  for (int i = 0; i < 5; ++i) {
    rig io;
    recorded op;
    io.run(op);
  }
  EXPECT_EQ(lowest_free(), before);
}

TEST(UringBackend, says_what_it_found) {
  SKIP_WITHOUT_URING();
  rig io{{}, with(uring_ring::plain, false)};
  const std::string report = io->report();
  for (const char* part : {"io_uring on Linux", "ring: plain", "1024 submissions, 8192 completions",
                           "512 x 4096 bytes, picked here, one-shot", "wake-up: "}) {
    EXPECT_NE(report.find(part), std::string::npos) << part << "\nin\n" << report;
  }
  EXPECT_NE(uring_report().find("operations missing:"), std::string::npos);
}

}  // namespace
}  // namespace weir::io
