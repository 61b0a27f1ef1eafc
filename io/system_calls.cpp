#include <weir/io/system_calls.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <mutex>

namespace weir::io::calls {
namespace {

constexpr std::uint64_t splice_limit = 0x7ffff000;  // what one system call moves at most
constexpr std::size_t most_copied = 512 * 1024;     // from the page cache, on the worker: some 50 us

template <class Call>
auto retried(Call call) noexcept {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

int as_result(ssize_t count) noexcept { return count < 0 ? -errno : static_cast<int>(count); }

template <class Call>
int result_of(Call call) noexcept {
  return as_result(static_cast<ssize_t>(retried(call)));
}

// For "is it ready, then take it" on what is in blocking mode: between the two nobody of this process may come.
std::mutex& gate() noexcept {
  static std::mutex one;
  return one;
}

bool is_ready(int fd, short events) noexcept {
  pollfd look{fd, events, 0};
  return retried([&] { return ::poll(&look, 1, 0); }) > 0;
}

bool blocks(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) == 0;
}

bool is_read(opcode code) noexcept { return code == opcode::read || code == opcode::readv; }

// The operation's bytes as an array of parts; `one` serves where it has a plain buffer.
struct parts {
  const iovec* first;
  int count;
};
parts parts_of(const operation& op, iovec& one) noexcept {
  if (op.code == opcode::readv || op.code == opcode::writev) {
    return {static_cast<const iovec*>(op.buffer), static_cast<int>(op.length)};
  }
  one = {op.buffer, op.length};
  return {&one, 1};
}

// --- sockets

struct message {
  msghdr header{};
  iovec one{};
  std::array<iovec, 64> rest;

  // What is left of `op` after `done` bytes.
  void fill(const operation& op, std::uint32_t done) noexcept {
    if (op.code == opcode::recvmsg || op.code == opcode::sendmsg) {
      header = *static_cast<const msghdr*>(op.buffer);
      if (done != 0) header.msg_controllen = 0;  // it went with the first part
    } else {
      const parts all = parts_of(op, one);
      header.msg_iov = const_cast<iovec*>(all.first);
      header.msg_iovlen = static_cast<std::size_t>(all.count);
    }
    if (done != 0) skip(done);
  }

  std::size_t size() const noexcept {
    std::size_t total = 0;
    for (std::size_t i = 0; i < header.msg_iovlen; ++i) total += header.msg_iov[i].iov_len;
    return total;
  }

 private:
  void skip(std::size_t done) noexcept {
    const iovec* at = header.msg_iov;
    const iovec* end = at + header.msg_iovlen;
    for (; at != end && done >= at->iov_len; ++at) done -= at->iov_len;
    std::size_t count = 0;
    for (; at != end && count != rest.size(); ++at, done = 0) {
      rest[count++] = {static_cast<std::byte*>(at->iov_base) + done, at->iov_len - done};
    }
    header.msg_iov = rest.data();
    header.msg_iovlen = count;
  }
};

ssize_t transfer_part(const operation& op, std::uint32_t done) noexcept {
  const int flags = static_cast<int>(op.flags) | MSG_DONTWAIT;
  if (op.code == opcode::recv) return ::recv(op.fd, static_cast<char*>(op.buffer) + done, op.length - done, flags);
  if (op.code == opcode::send) {
    return ::send(op.fd, static_cast<char*>(op.buffer) + done, op.length - done, flags | MSG_NOSIGNAL);
  }
  message m;
  m.fill(op, done);
  if (op.code == opcode::recvmsg) {
    const ssize_t got = ::recvmsg(op.fd, &m.header, flags);
    auto& asked = *static_cast<msghdr*>(op.buffer);
    if (got >= 0 && done == 0) {
      asked.msg_namelen = m.header.msg_namelen;
      asked.msg_controllen = m.header.msg_controllen;
      asked.msg_flags = m.header.msg_flags;
    }
    return got;
  }
  if (op.code == opcode::sendmsg) return ::sendmsg(op.fd, &m.header, flags | MSG_NOSIGNAL);
  if (is_read(op.code)) return ::recvmsg(op.fd, &m.header, MSG_DONTWAIT);
  return ::sendmsg(op.fd, &m.header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool wants_all(const operation& op) noexcept {
  switch (op.code) {
    case opcode::recv:
    case opcode::recvmsg: return (op.flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL;
    case opcode::send:
    case opcode::sendmsg: return (op.flags & MSG_WAITALL) != 0;
    default: return false;
  }
}

std::size_t size_of(const operation& op) noexcept {
  if (op.code == opcode::recv || op.code == opcode::send) return op.length;
  message all;
  all.fill(op, 0);
  return all.size();
}

}  // namespace

// Asks what the kernel knows without going to a disk or a server for it.
int kind_of(int fd, kind& found) noexcept {
  struct statx facts;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &facts) != 0) return -errno;
  switch (facts.stx_mode & S_IFMT) {
    case S_IFSOCK: found = kind::socket; break;
    case S_IFIFO: found = kind::pipe; break;
    case S_IFCHR: found = kind::device; break;
    case S_IFREG:
    case S_IFDIR:
    case S_IFBLK:
    case S_IFLNK: found = kind::file; break;
    default: found = kind::event;
  }
  return 0;
}

int socket_type(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? type : -errno;
}

int transfer(const operation& op, std::uint32_t& done, bool to_the_end) noexcept {
  for (;;) {
    const ssize_t count = retried([&] { return transfer_part(op, done); });
    if (count < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return -EAGAIN;
      return done != 0 ? static_cast<int>(done) : -errno;
    }
    done += static_cast<std::uint32_t>(count);
    if (count == 0 || !wants_all(op) || done >= size_of(op)) return static_cast<int>(done);
    if (socket_type(op.fd) != SOCK_STREAM) return static_cast<int>(done);
    if (!to_the_end) return -EAGAIN;
  }
}

int receive(int fd, std::byte* into, std::size_t size, std::uint32_t flags) noexcept {
  const int how = (static_cast<int>(flags) & ~MSG_WAITALL) | MSG_DONTWAIT;
  return result_of([&] { return ::recv(fd, into, size, how); });
}

// --- pipes, terminals, events

int stream_now(const operation& op) noexcept {
  iovec one;
  const auto [first, count] = parts_of(op, one);
  if (is_read(op.code)) return result_of([&, p = first, n = count] { return preadv2(op.fd, p, n, -1, RWF_NOWAIT); });
  return result_of([&, p = first, n = count] { return pwritev2(op.fd, p, n, -1, RWF_NOWAIT); });
}

int stream_when_ready(const operation& op, kind what) noexcept {
  const bool reads = is_read(op.code);
  const std::lock_guard lock(gate());
  if (!is_ready(op.fd, reads ? POLLIN : POLLOUT)) return -EAGAIN;
  iovec one;
  auto [first, count] = parts_of(op, one);
  if (reads) return result_of([&, p = first, n = count] { return ::readv(op.fd, p, n); });
  if (what != kind::pipe) return result_of([&, p = first, n = count] { return ::writev(op.fd, p, n); });
  const iovec* part = std::find_if(first, first + count, [](const iovec& each) { return each.iov_len != 0; });
  if (part == first + count) return 0;
  return result_of([&] { return ::write(op.fd, part->iov_base, std::min<std::size_t>(part->iov_len, PIPE_BUF)); });
}

// --- files

// A part may be in the cache and the rest not; a read at a given place is done again as a whole then.
int read_cached(const operation& op) noexcept {
  iovec one;
  const auto [first, count] = parts_of(op, one);
  const auto at = static_cast<off_t>(op.offset);
  std::size_t total = 0;
  for (int i = 0; i < count; ++i) total += first[i].iov_len;
  if (total > most_copied) return -EAGAIN;
  const ssize_t got = retried([&, p = first, n = count] { return preadv2(op.fd, p, n, at, RWF_NOWAIT); });
  if (got < 0) return errno == EOPNOTSUPP ? -EAGAIN : -errno;
  if (got == 0 || static_cast<std::size_t>(got) == total || at == -1) return static_cast<int>(got);
  char more;
  iovec probe{&more, 1};
  const bool at_end = retried([&] { return preadv2(op.fd, &probe, 1, at + got, RWF_NOWAIT); }) == 0;
  return at_end ? static_cast<int>(got) : -EAGAIN;
}

// --- connections

int accept_now(const operation& op) noexcept {
  const int flags = static_cast<int>(op.flags) | SOCK_CLOEXEC;
  const bool many = op.code == opcode::accept_many;
  auto* name = many ? nullptr : static_cast<sockaddr*>(op.buffer);
  auto* size = many ? nullptr : static_cast<socklen_t*>(op.second);
  const auto take = [&] { return ::accept4(op.fd, name, size, flags); };
  if (!blocks(op.fd)) return result_of(take);
  const std::lock_guard lock(gate());
  return is_ready(op.fd, POLLIN) ? result_of(take) : -EAGAIN;
}

int connect_now(const operation& op) noexcept {
  const int flags = ::fcntl(op.fd, F_GETFL);
  if (flags < 0) return -errno;
  const bool switched = (flags & O_NONBLOCK) == 0;
  if (switched && ::fcntl(op.fd, F_SETFL, flags | O_NONBLOCK) != 0) return -errno;
  const int result = as_result(::connect(op.fd, static_cast<const sockaddr*>(op.buffer), op.length));
  if (switched) ::fcntl(op.fd, F_SETFL, flags);
  return result == -EINTR ? -EINPROGRESS : result;
}

int connect_outcome(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return -errno;
  if (error != 0) return -error;
  sockaddr_storage peer;
  size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
  return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

// --- splice

namespace {

// A socket in blocking mode is given no more than it has room for once it is writable: a third of its buffer at
// least (a quarter for AF_UNIX), of which bookkeeping takes a part.
std::size_t socket_room(int fd) noexcept {
  if (!blocks(fd)) return splice_limit;
  int size = 0;
  socklen_t length = sizeof size;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) != 0) return PIPE_BUF;
  return std::max<std::size_t>(static_cast<std::size_t>(size) / 8, PIPE_BUF);
}

int splice_once(const operation& op, std::size_t most) noexcept {
  const std::size_t bytes = std::min<std::uint64_t>({op.offset, most, splice_limit});
  const auto out = static_cast<int>(op.length);
  return result_of([&] { return ::splice(op.fd, nullptr, out, nullptr, bytes, op.flags | SPLICE_F_NONBLOCK); });
}

}  // namespace

int splice_now(const operation& op, splice_wait& wait) noexcept {
  const auto out = static_cast<int>(op.length);
  kind from{};
  kind to{};
  if (const int failed = kind_of(op.fd, from); failed != 0) return failed;
  if (const int failed = kind_of(out, to); failed != 0) return failed;
  pollfd ends[] = {{from == kind::file ? -1 : op.fd, POLLIN, 0}, {to == kind::file ? -1 : out, POLLOUT, 0}};
  if (retried([&] { return ::poll(ends, 2, 0); }) < 0) return -errno;
  for (const auto& end : ends) {
    if (end.fd < 0 || end.revents != 0) continue;
    wait.fd = end.fd;
    wait.events = static_cast<std::uint32_t>(end.events);
    return -EAGAIN;
  }
  wait.needs_thread = from == kind::file || to == kind::file;
  if (wait.needs_thread) return -EAGAIN;
  return splice_once(op, to == kind::socket ? socket_room(out) : splice_limit);
}

// --- on a thread that may block

namespace {

int open_file(const operation& op) noexcept {
  const auto* path = static_cast<const char*>(op.buffer);
  const int flags = static_cast<int>(op.flags) | O_CLOEXEC;
  const auto open = [&](int how) {
    return result_of([&] { return ::openat(op.fd, path, how, static_cast<mode_t>(op.length)); });
  };
  if ((flags & (O_NONBLOCK | O_PATH | O_DIRECTORY)) != 0) return open(flags);
  const int fd = open(flags | O_NONBLOCK);
  if (fd == -EWOULDBLOCK) return open(flags);  // somebody's lease on the file has to be broken first
  if (fd < 0) return fd;
  const int now = ::fcntl(fd, F_GETFL);
  if (now >= 0) ::fcntl(fd, F_SETFL, now & ~O_NONBLOCK);
  return fd;
}

int read_or_write(const operation& op) noexcept {
  iovec one;
  const auto [first, count] = parts_of(op, one);
  const auto at = static_cast<off_t>(op.offset);
  const int n = count;
  const iovec* p = first;
  if (is_read(op.code)) {
    const int got = result_of([&] { return at == -1 ? ::readv(op.fd, p, n) : ::preadv(op.fd, p, n, at); });
    return got == -ESPIPE ? result_of([&] { return ::readv(op.fd, p, n); }) : got;
  }
  const int put = result_of([&] { return at == -1 ? ::writev(op.fd, p, n) : ::pwritev(op.fd, p, n, at); });
  return put == -ESPIPE ? result_of([&] { return ::writev(op.fd, p, n); }) : put;
}

}  // namespace

int perform(const operation& op) noexcept {
  const int flags = static_cast<int>(op.flags);
  const auto* path = static_cast<const char*>(op.buffer);
  switch (op.code) {
    case opcode::read:
    case opcode::readv:
    case opcode::write:
    case opcode::writev: return read_or_write(op);
    case opcode::openat: return open_file(op);
    case opcode::statx: {
      auto* into = static_cast<struct statx*>(op.second);
      return result_of([&] { return ::statx(op.fd, path, flags, op.length, into); });
    }
    case opcode::fsync: return result_of([&] { return op.flags == 0 ? ::fsync(op.fd) : ::fdatasync(op.fd); });
    case opcode::fallocate: {
      const auto size = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(op.second));
      return result_of([&] { return ::fallocate(op.fd, flags, static_cast<off_t>(op.offset), size); });
    }
    case opcode::unlinkat: return result_of([&] { return ::unlinkat(op.fd, path, flags); });
    case opcode::renameat: {
      const auto* to = static_cast<const char*>(op.second);
      return result_of([&] { return ::renameat2(op.fd, path, static_cast<int>(op.length), to, op.flags); });
    }
    case opcode::mkdirat: return result_of([&] { return ::mkdirat(op.fd, path, static_cast<mode_t>(op.length)); });
    case opcode::close: return as_result(::close(op.fd));
    case opcode::splice: return splice_once(op, splice_limit);
    default: return -EINVAL;
  }
}

}  // namespace weir::io::calls
