// tests/support/sockets.hpp: the other side of a connection, in plain system calls, and the bytes that go over it.
#pragma once

#include <weir/core/error.hpp>
#include <weir/core/result.hpp>
#include <weir/io/descriptor.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace weir::testing {

inline int checked(int result) {
  if (result < 0) throw std::system_error(errno, std::system_category());
  return result;
}

/// A connection over the loopback interface. `ours` is the accepted side.
struct connection {
  io::descriptor ours;
  io::descriptor theirs;
};

inline io::descriptor listening(int backlog = 128) {
  io::descriptor made(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  sockaddr_in where = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  checked(::bind(made.get(), reinterpret_cast<sockaddr*>(&where), sizeof where));
  checked(::listen(made.get(), backlog));
  return made;
}

inline std::uint16_t port_of(int fd, int (*ask)(int, sockaddr*, socklen_t*) = ::getsockname) {
  sockaddr_storage where = {};
  socklen_t size = sizeof where;
  checked(ask(fd, reinterpret_cast<sockaddr*>(&where), &size));
  return ntohs(reinterpret_cast<sockaddr_in&>(where).sin_port);
}

/// Connects an open socket; with a non-blocking one it may be under way on return.
inline void connect_to(int fd, std::uint16_t port) {
  sockaddr_in where = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  if (::connect(fd, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0 && errno != EINPROGRESS) checked(-1);
}

inline io::descriptor client_socket(int flags = 0) {
  return io::descriptor(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0)));
}

inline io::descriptor connected_to(std::uint16_t port) {
  auto made = client_socket();
  connect_to(made.get(), port);
  return made;
}

/// @param buffers bytes for each of the four socket buffers (the kernel doubles them); 0: its own choice
inline connection connect_pair(int buffers = 0) {
  auto listener = listening();
  auto theirs = client_socket();
  for (int name : {SO_SNDBUF, SO_RCVBUF}) {
    if (buffers == 0) break;
    checked(::setsockopt(listener.get(), SOL_SOCKET, name, &buffers, sizeof buffers));
    checked(::setsockopt(theirs.get(), SOL_SOCKET, name, &buffers, sizeof buffers));
  }
  connect_to(theirs.get(), port_of(listener.get()));
  io::descriptor ours(checked(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  int on = 1;
  checked(::setsockopt(ours.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  checked(::setsockopt(theirs.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  return {std::move(ours), std::move(theirs)};
}

/// Closes so that the peer sees a reset.
inline void reset(io::descriptor& socket) {
  linger now = {.l_onoff = 1, .l_linger = 0};
  checked(::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now));
  socket.close();
}

inline void set_nonblocking(int fd) { checked(::fcntl(fd, F_SETFL, O_NONBLOCK)); }

/// Writes all of it, waiting where it has to.
inline void put(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    checked(static_cast<int>(count > 0 ? 0 : -1));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// Reads `size` bytes, or up to the end of the stream.
inline std::string get(int fd, std::size_t size = ~std::size_t{0}) {
  std::string all;
  char part[65536];
  while (all.size() < size) {
    auto count = ::recv(fd, part, std::min(sizeof part, size - all.size()), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) checked(-1);
    if (count == 0) break;
    all.append(part, static_cast<std::size_t>(count));
  }
  return all;
}

/// Fills the way to a peer that does not read. @return the bytes that went in
inline std::size_t fill(int fd) {
  std::string block(65536, 'f');
  std::size_t sent = 0;
  for (;;) {
    auto count = ::send(fd, block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return sent;
    sent += static_cast<std::size_t>(count);
  }
}

/// Bytes that do not repeat early, the same for the same seed.
inline std::string noise(std::size_t size, std::uint64_t seed = 1) {
  std::string made(size, '\0');
  auto state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (auto& each : made) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    each = static_cast<char>(state >> 24);
  }
  return made;
}

inline std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

/// "ok", or the code of the failure: "ABORT_ERR" for what was cancelled.
template <class T>
std::string verdict(const result<T>& outcome) {
  return outcome ? "ok" : std::string(outcome.failure().error().code_name());
}

/// Takes all descriptors that this process may open, while it lives.
class descriptor_famine {
 public:
  /// Lowers the limit at once, and leaves a few until `begin`.
  descriptor_famine() {
    checked(::getrlimit(RLIMIT_NOFILE, &before_));
    io::descriptor lowest(checked(::dup(STDIN_FILENO)));
    rlimit now = {static_cast<rlim_t>(lowest.get()) + 8, before_.rlim_max};
    checked(::setrlimit(RLIMIT_NOFILE, &now));
  }
  descriptor_famine(const descriptor_famine&) = delete;
  descriptor_famine& operator=(const descriptor_famine&) = delete;
  ~descriptor_famine() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  void begin() {
    for (int taken = ::dup(STDIN_FILENO); taken >= 0; taken = ::dup(STDIN_FILENO)) eaten_.emplace_back(taken);
  }

 private:
  rlimit before_ = {};
  std::vector<io::descriptor> eaten_;
};

}  // namespace weir::testing
