// tests/io/epoll_backend_test.cpp: what the epoll backend does beyond what every backend does (backend_test.cpp), by
// itself on the test's thread: descriptors shared by operations and by processes, numbers used again, files, threads.
#include <weir/io/epoll_backend.hpp>

#include <tests/support/backend_rig.hpp>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace weir::testing;

class EpollBackend : public ::testing::TestWithParam<bool> {
 protected:
  static rig make(const backend_options& options = {}) {
    return rig(make_epoll_backend(options, {.nowait = GetParam()}));
  }
};

INSTANTIATE_TEST_SUITE_P(Calls, EpollBackend, ::testing::Values(true, false),
                         [](const auto& info) { return info.param ? "with_nowait" : "without_nowait"; });

bool in_blocking_mode(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0; }

void prepare(recorded& op, char* buffer, std::size_t size, std::uint32_t flags = 0) {
  op.buffer = buffer;
  op.length = static_cast<std::uint32_t>(size);
  op.flags = flags;
}

void give_back(rig& io, recorded& receiver) {
  for (const auto id : receiver.buffers()) io->recycle(id);
  receiver.buffers().clear();
}

// Takes from `from` until nothing comes any more.
std::size_t drain(const file& from) {
  std::string part(65536, '\0');
  std::size_t total = 0;
  for (;;) {
    const auto got = ::recv(from.fd, part.data(), part.size(), MSG_DONTWAIT);
    if (got <= 0) return total;
    total += static_cast<std::size_t>(got);
  }
}

std::size_t fill(const file& to) {
  const std::string block(65536, 'f');
  std::size_t total = 0;
  for (;;) {
    const auto sent = ::send(to.fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) return total;
    total += static_cast<std::size_t>(sent);
  }
}

// --- several operations on a descriptor

TEST_P(EpollBackend, serves_a_reader_and_a_writer_of_one_descriptor) {
  rig io = make();
  auto [left, right] = make_pair();
  fill(left);
  char in[8] = {};
  char out[] = "out";
  recorded read{opcode::recv, left.fd};
  prepare(read, in, sizeof in);
  recorded write{opcode::send, left.fd};
  prepare(write, out, 3);
  io->submit(read);
  io->submit(write);
  io.settle();
  EXPECT_FALSE(read.over() || write.over());
  put(right, "in");
  ASSERT_TRUE(io.until([&] { return read.over(); }));
  EXPECT_EQ(read.last(), 2);
  EXPECT_FALSE(write.over());
  drain(right);
  ASSERT_TRUE(io.until([&] { return write.over(); }));
  EXPECT_EQ(write.last(), 3);
}

TEST_P(EpollBackend, serves_several_readers_in_order_of_arrival) {
  rig io = make();
  for (const bool socket : {true, false}) {
    auto [reader, writer] = socket ? make_pair() : make_pipe();
    std::deque<recorded> reads;
    char in[4][2] = {};
    std::string order;
    for (int i = 0; i < 4; ++i) {
      auto& read = reads.emplace_back(socket ? opcode::recv : opcode::read, reader.fd);
      prepare(read, in[i], 2);
      read.then = [&order, i](recorded&) { order += std::to_string(i); };
      io->submit(read);
    }
    io->cancel(reads[2]);
    put(writer, "aabb");
    ASSERT_TRUE(io.until([&] { return reads[1].over() && reads[2].over(); }));
    EXPECT_EQ(std::string(in[0], 2) + std::string(in[1], 2), "aabb");
    EXPECT_FALSE(reads[3].over());
    put(writer, "c");
    ASSERT_TRUE(io.until([&] { return reads[3].over(); }));
    EXPECT_EQ(reads[3].last(), 1);
    std::erase(order, '2');
    EXPECT_EQ(order, "013");
    EXPECT_EQ(reads[2].last(), -ECANCELED);
  }
}

TEST_P(EpollBackend, does_not_let_a_send_overtake_one_that_waits) {
  rig io = make();
  auto [left, right] = make_pair();
  const auto before = fill(left);
  std::string large(200'000, 'a');
  char small[] = "b";
  recorded first{opcode::send, left.fd};
  prepare(first, large.data(), large.size(), MSG_WAITALL);
  recorded second{opcode::send, left.fd};
  prepare(second, small, 1);
  io->submit(first);
  std::string got(65536, '\0');
  ASSERT_GT(::recv(right.fd, got.data(), got.size(), 0), 0);  // there is room for the second one now
  io->submit(second);
  std::string all;
  ASSERT_TRUE(io.until([&] {
    for (ssize_t n = 1; n > 0;) {
      n = ::recv(right.fd, got.data(), got.size(), MSG_DONTWAIT);
      if (n > 0) all.append(got, 0, static_cast<std::size_t>(n));
    }
    return second.over() && all.ends_with('b');
  }));
  EXPECT_EQ(first.last(), 200'000);
  EXPECT_GT(before, 0u);
  EXPECT_EQ(all.find('b'), all.size() - 1);
}

TEST_P(EpollBackend, tells_all_who_poll_and_tells_them_apart_by_their_masks) {
  rig io = make();
  auto [left, right] = make_pair();
  recorded readable{opcode::poll, left.fd};
  readable.flags = POLLIN;
  recorded also{opcode::poll, left.fd};
  also.flags = POLLIN | POLLOUT;
  recorded ended{opcode::poll, left.fd};
  ended.flags = POLLRDHUP;
  for (auto* each : {&readable, &ended, &also}) io->submit(*each);
  ASSERT_TRUE(io.until([&] { return also.over(); }));
  EXPECT_EQ(also.last(), POLLOUT);
  EXPECT_FALSE(readable.over());
  put(right, "x");
  ASSERT_TRUE(io.until([&] { return readable.over(); }));
  EXPECT_EQ(readable.last(), POLLIN);
  EXPECT_FALSE(ended.over());
  right.close();
  ASSERT_TRUE(io.until([&] { return ended.over(); }));
  EXPECT_NE(ended.last() & POLLRDHUP, 0);
}

// --- numbers that are used again

TEST_P(EpollBackend, finds_out_that_a_number_belongs_to_another_file) {
  rig io = make();
  for (int i = 0; i < 20; ++i) {
    auto [left, right] = make_pair();
    char in[8] = {};
    recorded first{opcode::recv, left.fd};
    prepare(first, in, sizeof in);
    io->submit(first);
    put(right, "1");
    ASSERT_TRUE(io.until([&] { return first.over(); }));
    const int number = left.fd;
    left.close();
    auto [next, peer] = i % 2 == 0 ? make_pair() : make_pipe();
    ASSERT_EQ(next.fd, number);
    recorded second{i % 2 == 0 ? opcode::recv : opcode::read, next.fd};
    prepare(second, in, sizeof in);
    io->submit(second);
    io.settle();
    ASSERT_FALSE(second.over());
    put(peer, "22");
    ASSERT_TRUE(io.until([&] { return second.over(); }));
    EXPECT_EQ(second.last(), 2);
  }
}

TEST_P(EpollBackend, ends_what_waits_for_a_closed_descriptor_when_its_number_comes_back) {
  rig io = make();
  auto [left, right] = make_pair();
  char in[8] = {};
  recorded orphan{opcode::recv, left.fd};
  prepare(orphan, in, sizeof in);
  io->submit(orphan);
  io.settle();
  const int number = left.fd;
  left.close();
  io.settle();
  EXPECT_FALSE(orphan.over());
  auto [next, peer] = make_pair();
  ASSERT_EQ(next.fd, number);
  recorded heir{opcode::recv, next.fd};
  prepare(heir, in, sizeof in);
  io->submit(heir);
  ASSERT_TRUE(io.until([&] { return orphan.over(); }));
  EXPECT_EQ(orphan.last(), -EBADF);
  put(peer, "mine");
  ASSERT_TRUE(io.until([&] { return heir.over(); }));
  EXPECT_EQ(heir.last(), 4);
}

TEST_P(EpollBackend, cancels_what_waits_for_a_closed_descriptor) {
  rig io = make();
  auto [left, right] = make_pair();
  recorded orphan{opcode::recv_many, left.fd};
  io->submit(orphan);
  io.settle();
  left.close();
  EXPECT_EQ(io.cancel(orphan), -ECANCELED);
}

TEST_P(EpollBackend, ignores_a_file_that_lives_on_elsewhere_under_another_number) {
  rig io = make();
  auto [left, right] = make_pair();
  char in[8] = {};
  recorded first{opcode::recv, left.fd};
  prepare(first, in, sizeof in);
  io->submit(first);
  put(right, "1");
  ASSERT_TRUE(io.until([&] { return first.over(); }));
  const file elsewhere{::dup(left.fd)};  // keeps the registration alive
  const int number = left.fd;
  left.close();
  auto [next, peer] = make_pair();
  ASSERT_EQ(next.fd, number);
  recorded second{opcode::recv, next.fd};
  prepare(second, in, sizeof in);
  io->submit(second);
  put(right, "for the old one");
  io->poll(10ms);
  EXPECT_FALSE(second.over());
  put(peer, "22");
  ASSERT_TRUE(io.until([&] { return second.over(); }));
  EXPECT_EQ(second.last(), 2);
}

TEST_P(EpollBackend, ends_what_waits_when_the_descriptor_is_closed_through_it) {
  rig io = make();
  auto [left, right] = make_pair();
  recorded waiting{opcode::recv_many, left.fd};
  io->submit(waiting);
  recorded close{opcode::close, left.fd};
  EXPECT_EQ(io.run(close), 0);
  left.fd = -1;
  EXPECT_EQ(waiting.last(), -EBADF);
  EXPECT_EQ(io->in_flight(), 0u);
}

// --- blocking mode

TEST_P(EpollBackend, leaves_descriptors_in_blocking_mode_and_does_not_block) {
  rig io = make();
  auto [left, right] = make_pair();
  auto [reader, writer] = make_pipe();
  char in[8] = {};
  std::string large(1 << 20, 'x');
  recorded ops[] = {recorded(opcode::recv, left.fd), recorded(opcode::read, right.fd),
                    recorded(opcode::read, reader.fd)};
  for (auto& op : ops) {
    prepare(op, in, sizeof in);
    io->submit(op);
  }
  io.settle();
  for (auto& op : ops) EXPECT_EQ(io.cancel(op), -ECANCELED);
  for (const auto& [code, fd] : {std::pair(opcode::send, left.fd), std::pair(opcode::write, right.fd)}) {
    recorded part{code, fd};
    prepare(part, large.data(), large.size());
    EXPECT_GT(io.run(part), 0);
    EXPECT_LT(part.last(), 1 << 20);  // what there is room for
  }
  recorded write{opcode::write, writer.fd};
  prepare(write, large.data(), large.size());
  int written = 0;
  const auto goes_through = [&] {
    io->submit(write.again());
    io->poll(1ms);
    io->poll(1ms);
    return write.over();
  };
  while (goes_through()) written += write.last();
  EXPECT_GE(written, 4096);
  EXPECT_EQ(io.cancel(write), -ECANCELED);
  for (const auto* each : {&left, &right, &reader, &writer}) EXPECT_TRUE(in_blocking_mode(each->fd));
}

TEST_P(EpollBackend, connects_a_socket_and_leaves_it_in_blocking_mode) {
  rig io = make();
  tcp_listener listener;
  const file client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  recorded connect{opcode::connect, client.fd};
  connect.buffer = listener.name();
  connect.length = sizeof listener.address;
  EXPECT_EQ(io.run(connect), 0);
  EXPECT_TRUE(in_blocking_mode(client.fd));
  recorded accept{opcode::accept, listener.socket.fd};
  const file served{io.run(accept)};
  EXPECT_GE(served.fd, 0);
  EXPECT_TRUE(in_blocking_mode(listener.socket.fd));
}

// Another acceptor, of this process, may take the connection that both have heard of.
TEST_P(EpollBackend, does_not_block_in_accept_when_another_worker_is_faster) {
  tcp_listener listener;
  constexpr int connections = 400;
  std::atomic<int> taken{0};
  const auto accept_all = [&] {
    rig io = make();
    recorded accept{opcode::accept_many, listener.socket.fd};
    std::size_t seen = 0;
    io->submit(accept);
    const auto limit = steady_clock::now() + patience;
    while (taken < connections && steady_clock::now() < limit) {
      io->poll(1ms);
      for (; seen < accept.reports(); ++seen, ++taken) ::close(accept.results()[seen]);
    }
    EXPECT_EQ(io.cancel(accept), -ECANCELED);
  };
  std::thread one(accept_all);
  std::thread two(accept_all);
  for (int i = 0; i < connections; ++i) {
    while (i - taken > 32) std::this_thread::yield();  // a full backlog would make the kernel wait a second
    listener.connect();
  }
  one.join();
  two.join();
  EXPECT_EQ(taken, connections);
}

TEST_P(EpollBackend, reads_and_writes_a_terminal) {
  rig io = make();
  const file master{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  ASSERT_GE(master.fd, 0);
  ASSERT_EQ(::grantpt(master.fd), 0);
  ASSERT_EQ(::unlockpt(master.fd), 0);
  char name[64];
  ASSERT_EQ(::ptsname_r(master.fd, name, sizeof name), 0);
  const file terminal{::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)};
  ASSERT_GE(terminal.fd, 0);
  char in[16] = {};
  recorded read{opcode::read, terminal.fd};
  prepare(read, in, sizeof in);
  io->submit(read);
  io.settle();
  EXPECT_FALSE(read.over());
  put(master, "line\n");
  ASSERT_TRUE(io.until([&] { return read.over(); }));
  EXPECT_EQ(std::string(in), "line\n");
  char out[] = "answer";
  recorded write{opcode::write, terminal.fd};
  prepare(write, out, 6);
  EXPECT_EQ(io.run(write), 6);
  EXPECT_TRUE(in_blocking_mode(terminal.fd));
  io->submit(read.again());
  EXPECT_EQ(io.cancel(read), -ECANCELED);
}

TEST_P(EpollBackend, reads_and_writes_events) {
  rig io = make();
  const file event{::eventfd(0, EFD_CLOEXEC)};
  std::uint64_t count = 0;
  recorded read{opcode::read, event.fd};
  prepare(read, reinterpret_cast<char*>(&count), sizeof count);
  io->submit(read);
  io.settle();
  EXPECT_FALSE(read.over());
  std::uint64_t three = 3;
  recorded write{opcode::write, event.fd};
  prepare(write, reinterpret_cast<char*>(&three), sizeof three);
  EXPECT_EQ(io.run(write), 8);
  ASSERT_TRUE(io.until([&] { return read.over(); }));
  EXPECT_EQ(count, 3u);
}

// --- what epoll does not take

TEST_P(EpollBackend, takes_files_and_devices_for_ready) {
  rig io = make();
  const scratch dir;
  const file plain{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  const file null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (const auto* each : {&plain, &null}) {
    recorded poll{opcode::poll, each->fd};
    poll.flags = POLLIN | POLLOUT;
    EXPECT_EQ(io.run(poll), POLLIN | POLLOUT);
    recorded recv{opcode::recv, each->fd};
    EXPECT_EQ(io.run(recv), -ENOTSOCK);
  }
  char text[] = "gone";
  recorded write{opcode::write, null.fd};
  prepare(write, text, 4);
  EXPECT_EQ(io.run(write), 4);
  recorded read{opcode::read, null.fd};
  prepare(read, text, 4);
  EXPECT_EQ(io.run(read), 0);
}

TEST_P(EpollBackend, reads_a_file_to_its_end_whether_cached_or_not) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  const std::string text(1'000'000, 'q');
  put(f, text);
  ASSERT_EQ(::fdatasync(f.fd), 0);
  for (const bool cached : {true, false}) {
    for (const std::size_t left : {std::size_t{300'000}, text.size()}) {
      if (!cached) ::posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED);
      std::string back(left + 100'000, '\0');
      recorded read{opcode::read, f.fd};
      prepare(read, back.data(), back.size());
      read.offset = text.size() - left;
      EXPECT_EQ(io.run(read), static_cast<int>(left));
      EXPECT_EQ(back.substr(0, left), text.substr(0, left));
      read.offset = text.size();
      EXPECT_EQ(io.run(read.again()), 0);
    }
  }
}

TEST_P(EpollBackend, does_not_wait_for_the_other_end_of_a_fifo) {
  rig io = make();
  const scratch dir;
  std::string fifo = dir / "a";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  recorded write_end{opcode::openat, AT_FDCWD};
  write_end.buffer = fifo.data();
  write_end.flags = O_WRONLY;
  EXPECT_EQ(io.run(write_end), -ENXIO);
  recorded read_end{opcode::openat, AT_FDCWD};
  read_end.buffer = fifo.data();
  read_end.flags = O_RDONLY;
  const file reader{io.run(read_end)};
  ASSERT_GE(reader.fd, 0);
  EXPECT_TRUE(in_blocking_mode(reader.fd));
  const file writer{io.run(write_end.again())};
  EXPECT_GE(writer.fd, 0);
}

TEST_P(EpollBackend, runs_many_file_operations_at_once) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  constexpr std::size_t count = 6000;  // more than the queue of functions takes
  std::deque<recorded> writes;
  char text[] = "0123456789";
  for (std::size_t i = 0; i < count; ++i) {
    auto& write = writes.emplace_back(opcode::write, f.fd);
    prepare(write, text + i % 10, 1);
    write.offset = i;
    io->submit(write);
  }
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  for (const auto& write : writes) ASSERT_EQ(write.results(), std::vector<int>{1});
  std::string back(count, '\0');
  ASSERT_EQ(::pread(f.fd, back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  for (std::size_t i = 0; i < back.size(); ++i) ASSERT_EQ(back[i], text[i % 10]);
}

// An open of a leased file blocks a thread until the lease is given up.
TEST_P(EpollBackend, cancels_what_no_thread_has_begun_and_waits_for_the_rest) {
  rig io = make();
  const scratch dir;
  auto path = dir / "a";
  const file leased{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  ASSERT_EQ(::fcntl(leased.fd, F_SETSIG, SIGURG), 0);  // which nobody minds
  if (::fcntl(leased.fd, F_SETLEASE, F_WRLCK) != 0) GTEST_SKIP() << "no leases here";
  std::deque<recorded> opens;
  for (int i = 0; i < 8; ++i) {  // as many as there are threads
    auto& open = opens.emplace_back(opcode::openat, AT_FDCWD);
    open.buffer = path.data();
    open.flags = O_RDONLY;
    io->submit(open);
  }
  char byte = 'x';
  recorded write{opcode::write, leased.fd};
  prepare(write, &byte, 1);
  io->submit(write);
  io->poll(5ms);
  EXPECT_FALSE(write.over());
  EXPECT_EQ(io.cancel(write), -ECANCELED);
  io->cancel(opens[7]);  // begun or not
  io->poll(5ms);
  EXPECT_FALSE(opens[0].over());
  ASSERT_EQ(::fcntl(leased.fd, F_SETLEASE, F_UNLCK), 0);
  ASSERT_TRUE(io.until([&] { return io->in_flight() == 0; }));
  for (const auto& open : opens) {
    ASSERT_EQ(open.reports(), 1u);
    const file opened{open.last()};
    EXPECT_TRUE(opened.fd >= 0 || &open == &opens[7]);
  }
}

TEST_P(EpollBackend, splices_between_files_pipes_and_sockets_and_waits_for_both_ends) {
  rig io = make();
  const scratch dir;
  const file f{::open((dir / "a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  put(f, std::string(50'000, 's'));
  ASSERT_EQ(::lseek(f.fd, 0, SEEK_SET), 0);
  auto [reader, writer] = make_pipe();
  auto [left, right] = make_pair();
  fill(left);
  recorded out{opcode::splice, reader.fd};  // waits for the file's bytes, then for room in the socket
  out.length = static_cast<std::uint32_t>(left.fd);
  out.offset = 1 << 20;
  io->submit(out);
  io.settle();
  EXPECT_FALSE(out.over());
  recorded in{opcode::splice, f.fd};
  in.length = static_cast<std::uint32_t>(writer.fd);
  in.offset = 1 << 20;
  EXPECT_EQ(io.run(in), 50'000);
  io->poll(5ms);
  EXPECT_FALSE(out.over());
  drain(right);
  ASSERT_TRUE(io.until([&] { return out.over(); }));
  int moved = out.last();
  ASSERT_GT(moved, 0);
  while (moved < 50'000) {
    ASSERT_GT(io.run(out.again()), 0);
    moved += out.last();
  }
  EXPECT_EQ(drain(right), 50'000u);
  io->submit(out.again());
  io.settle();
  EXPECT_EQ(io.cancel(out), -ECANCELED);
}

TEST_P(EpollBackend, waits_for_room_in_the_backlog_of_a_unix_listener) {
  rig io = make();
  const scratch dir;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const auto path = dir / "a";
  ASSERT_LT(path.size(), sizeof name.sun_path);
  path.copy(name.sun_path, path.size());
  const file listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  ASSERT_EQ(::bind(listener.fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(::listen(listener.fd, 0), 0);
  std::vector<file> clients;
  std::deque<recorded> connects;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    auto& connect = connects.emplace_back(opcode::connect, clients.back().fd);
    connect.buffer = &name;
    connect.length = sizeof name;
    io->submit(connect);
  }
  io->poll(5ms);
  io->poll(5ms);
  EXPECT_EQ(connects[0].last(), 0);
  EXPECT_FALSE(connects[1].over() || connects[2].over());
  EXPECT_EQ(io.cancel(connects[2]), -ECANCELED);
  const file served{::accept(listener.fd, nullptr, nullptr)};
  ASSERT_TRUE(io.until([&] { return connects[1].over(); }));
  EXPECT_EQ(connects[1].last(), 0);
}

// --- parts

TEST_P(EpollBackend, goes_on_until_all_has_been_received) {
  rig io = make();
  auto [left, right] = make_pair();
  char in[8] = {};
  iovec parts[] = {{in, 3}, {in + 3, 5}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  recorded plain{opcode::recv, left.fd};
  prepare(plain, in, 8, MSG_WAITALL);
  recorded vectored{opcode::recvmsg, left.fd};
  vectored.buffer = &message;
  vectored.flags = MSG_WAITALL;
  for (auto* each : {&plain, &vectored}) {
    std::memset(in, 0, sizeof in);
    io->submit(*each);
    for (const char* part : {"a", "bcde", "fg"}) {
      put(right, part);
      io->poll(5ms);
      ASSERT_FALSE(each->over());
    }
    put(right, "h");
    ASSERT_TRUE(io.until([&] { return each->over(); }));
    EXPECT_EQ(each->last(), 8);
    EXPECT_EQ(std::string(in, 8), "abcdefgh");
  }
}

TEST_P(EpollBackend, goes_on_until_all_has_been_sent) {
  rig io = make();
  auto [left, right] = make_pair();
  std::string text(3'000'000, '\0');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 >> 7);
  std::vector<iovec> parts;
  for (std::size_t at = 0; at < text.size(); at += 30'000) parts.push_back({text.data() + at, 30'000});
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  recorded send{opcode::sendmsg, left.fd};
  send.buffer = &message;
  send.flags = MSG_WAITALL;
  io->submit(send);
  std::string got(text.size(), '\0');
  std::size_t have = 0;
  ASSERT_TRUE(io.until([&] {
    const auto n = ::recv(right.fd, got.data() + have, got.size() - have, MSG_DONTWAIT);
    if (n > 0) have += static_cast<std::size_t>(n);
    return send.over() && have == text.size();
  }));
  EXPECT_EQ(send.last(), 3'000'000);
  EXPECT_TRUE(got == text);
}

TEST_P(EpollBackend, tells_a_cancelled_send_what_has_gone_out) {
  rig io = make();
  auto [left, right] = make_pair();
  std::string large(4'000'000, 'x');
  recorded send{opcode::send, left.fd};
  prepare(send, large.data(), large.size(), MSG_WAITALL);
  io->submit(send);
  io.settle();
  ASSERT_FALSE(send.over());
  const int told = io.cancel(send);
  EXPECT_GT(told, 0);
  EXPECT_EQ(drain(right), static_cast<std::size_t>(told));
}

// --- streams

TEST_P(EpollBackend, sees_the_end_of_a_stream_that_came_with_its_last_bytes) {
  rig io = make();
  for (const std::size_t size : {1u, 100u, 4096u, 5000u, 200'000u}) {
    auto [left, right] = make_pair();
    const std::string text(size, 'e');
    recorded recv{opcode::recv_many, right.fd};
    std::thread writer([&, &from = left] {
      put(from, text);
      from.close();
    });
    recv.then = [&](recorded& self) {
      for (const auto id : self.buffers()) io->recycle(id);
      self.buffers().clear();
    };
    if (size % 2 == 0) {  // armed before or after all of it is there
      io->submit(recv);
      writer.join();
    } else {
      writer.join();
      io->submit(recv);
    }
    ASSERT_TRUE(io.until([&] { return recv.over(); }));
    EXPECT_EQ(recv.last(), 0);
    EXPECT_EQ(recv.bytes().size(), size);
  }
}

TEST_P(EpollBackend, lets_no_stream_starve_the_others) {
  backend_options options;
  options.buffer_size = 64;
  rig io = make(options);
  auto [busy, flood] = make_pair();
  auto [quiet, drop] = make_pair();
  const auto total = fill(flood);
  recorded greedy{opcode::recv_many, busy.fd};
  std::size_t received = 0;
  greedy.then = [&](recorded& self) {
    give_back(io, self);
    received += self.last() > 0 ? static_cast<std::size_t>(self.last()) : 0;
  };
  char in[4];
  recorded modest{opcode::recv, quiet.fd};
  prepare(modest, in, sizeof in);
  io->submit(greedy);
  io->submit(modest);
  put(drop, "hi");
  ASSERT_TRUE(io.until([&] { return modest.over(); }));
  EXPECT_LT(received, total / 4);
  ASSERT_TRUE(io.until([&] { return received == total; }));
  EXPECT_EQ(io.cancel(greedy), -ECANCELED);
}

TEST_P(EpollBackend, needs_no_epoll_ctl_for_a_message_while_a_receive_stays_armed) {
  rig io = make();
  auto [left, right] = make_pair();
  recorded recv{opcode::recv_many, right.fd};
  recv.then = [&](recorded& self) { give_back(io, self); };
  io->submit(recv);
  io.settle();
  const auto before = io->counters().enters.get();
  std::uint64_t polls = 0;
  for (std::size_t i = 1; i <= 100; ++i) {
    put(left, "request");
    while (recv.reports() < i) {
      io->poll(patience);
      ++polls;
    }
    char answer[] = "answer";
    recorded send{opcode::send, right.fd};
    prepare(send, answer, 6);
    io->submit(send);  // goes out at once
    ASSERT_EQ(drain(left), 6u);
    ASSERT_EQ(io->poll(patience), 1u);  // without a system call
    ASSERT_TRUE(send.over());
  }
  EXPECT_EQ(polls, 100u);
  EXPECT_LE(io->counters().enters.get() - before, 120u);  // a poll for each message, now and then one more
  EXPECT_EQ(io.cancel(recv), -ECANCELED);
}

TEST_P(EpollBackend, stops_listening_to_what_nobody_waits_for) {
  rig io = make();
  auto [left, right] = make_pair();
  auto [idle, never] = make_pipe();
  recorded other{opcode::read, idle.fd};
  char in[8];
  prepare(other, in, sizeof in);
  io->submit(other);  // so that a poll asks the kernel
  recorded poll{opcode::poll, left.fd};
  poll.flags = POLLIN;
  io->submit(poll);
  put(right, "x");
  ASSERT_TRUE(io.until([&] { return poll.over(); }));
  for (int i = 0; i < 20; ++i) {
    put(right, "x");
    io->poll(0ns);
  }
  const auto begin = steady_clock::now();
  put(right, "x");
  io->poll(20ms);
  EXPECT_GE(steady_clock::now() - begin, 20ms);  // nothing woke it
  EXPECT_NE(io.run(poll.again()) & POLLIN, 0);   // which loses nothing
  EXPECT_EQ(io.cancel(other), -ECANCELED);
}

// --- making and ending

TEST(EpollBackendOptions, out_of_range_are_refused_with_a_reason) {
  const backend_options wrong[] = {{.entries = 1000}, {.buffers = 0}, {.buffers = 65536}, {.buffer_size = 0}};
  for (const auto& options : wrong) {
    try {
      make_epoll_backend(options);
      ADD_FAILURE() << options.entries << ' ' << options.buffers << ' ' << options.buffer_size;
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code().value(), EINVAL);
      EXPECT_NE(std::string(error.what()).find("powers of two"), std::string::npos);
    }
  }
}

TEST(EpollBackendOptions, work_at_their_smallest) {
  rig io(make_epoll_backend({.entries = 1, .buffers = 1, .buffer_size = 1}));
  auto [left, right] = make_pair();
  put(left, "abc");
  recorded recv{opcode::recv_many, right.fd};
  io->submit(recv);
  ASSERT_TRUE(io.until([&] {
    give_back(io, recv);
    if (recv.over()) io->submit(recv.again());
    return recv.bytes().size() == 3;
  }));
  EXPECT_EQ(recv.bytes(), "abc");
  if (!recv.over()) EXPECT_EQ(io.cancel(recv), -ECANCELED);
}

TEST(EpollBackendOptions, leave_no_descriptor_behind) {
  const auto lowest_free = [] {
    const file probe{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    return probe.fd;
  };
  const int before = lowest_free();
  for (int i = 0; i < 5; ++i) {
    rig io(make_epoll_backend({}));
    recorded op;
    io.run(op);
    EXPECT_NE(make_epoll_backend({}), nullptr);  // not started
  }
  EXPECT_EQ(lowest_free(), before);
}

TEST(EpollBackendOptions, are_in_the_report) {
  rig io(make_epoll_backend({.buffers = 64}, {.precise_wait = false, .why = "chosen by a test"}));
  const std::string report = io->report();
  for (const char* part : {"epoll on Linux", "chosen by a test\n", "to the millisecond", "64 x 4096 bytes"}) {
    EXPECT_NE(report.find(part), std::string::npos) << part << "\nin\n" << report;
  }
}

}  // namespace
}  // namespace weir::io
