// net/tcp.hpp: TCP (and Unix stream) sockets: listen, accept, connect, read, write. Rests on io's operations;
// each await is one operation with its record in the frame.
#pragma once

#include <weir/core/result.hpp>
#include <weir/core/task.hpp>
#include <weir/io/descriptor.hpp>
#include <weir/io/operation.hpp>
#include <weir/net/address.hpp>

#include <chrono>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace weir::net {

/// Keep-alive probes (tcp(7)); zero leaves the system's default.
struct keep_alive_options {
  bool enable = true;
  std::chrono::seconds idle = std::chrono::seconds(0);      ///< before the first probe
  std::chrono::seconds interval = std::chrono::seconds(0);  ///< between probes
  int count = 0;                                            ///< unanswered ones until the connection is broken
};

struct listen_options {
  int backlog = 511;              ///< as Node; the system caps it (net.core.somaxconn)
  bool reuse_address = true;      ///< bind again while old connections linger (SO_REUSEADDR)
  bool reuse_port = false;        ///< several listeners share the port, the kernel spreads connections
  bool ipv6_only = false;         ///< false: an IPv6 listener takes IPv4 too (dual stack)
  bool no_delay = true;           ///< accepted sockets send at once (TCP_NODELAY)
  bool remove_stale_unix = true;  ///< a Unix socket's file that nobody listens on is replaced
  bool readable_all = false;      ///< a Unix socket's file may be read by every user,
  bool writable_all = false;      ///< and written, which is what connecting takes, whatever the umask says
};

struct connect_options {
  bool no_delay = true;
  std::optional<address> local = {};  ///< bind to this first
};

using socket_handle = io::descriptor;

/// A connected stream socket. One fiber may read while another writes; two may not do the same at once. Destroying
/// it closes the socket; operations in progress must have ended, which a scope around both ensures.
class tcp_stream {
 public:
  /// @param fd a connected stream socket; the stream owns it from here on
  explicit tcp_stream(int fd) noexcept : socket_(fd) {}
  explicit tcp_stream(socket_handle socket) noexcept : socket_(std::move(socket)) {}

  /// `co_await s.read(into)` waits for data and gives the number of bytes read (recv(2)); 0 is the end of the
  /// stream. Throws weir::error such as "read ECONNRESET". `into` must stay until it completes.
  io::count_operation read(std::span<std::byte> into) noexcept {
    return {opcode::recv, fd(), into.data(), into.size(), 0, {"read"}};
  }

  /// `co_await s.write_some(from)` gives the number of bytes taken, at least one unless `from` is empty (send(2)).
  io::count_operation write_some(std::span<const std::byte> from) noexcept {
    return {opcode::send, fd(), const_cast<std::byte*>(from.data()), from.size(), 0, {"write"}};
  }

  /// Writes all of `from`, in as many sends as it takes. A write that is cancelled or fails may have sent a part.
  task<void> write(std::span<const std::byte> from);
  task<void> write(std::string_view from) { return write(std::as_bytes(std::span(from))); }

  /// Writes several pieces in order with as few sends as possible (sendmsg(2)).
  task<void> write(std::initializer_list<std::span<const std::byte>> pieces);
  task<void> write_pieces(std::span<const std::span<const std::byte>> pieces);

  /// Ends the writing side; the peer reads the end of the stream, and reading goes on (half-close).
  io::count_operation shutdown_write() noexcept;

  /// Closes now; `abort` makes the peer see a reset and discards what was not sent.
  void close() noexcept { socket_.close(); }
  void abort() noexcept;

  /// @throws weir::error "setsockopt EINVAL"
  void set_no_delay(bool on);
  void set_keep_alive(const keep_alive_options& options);

  address local() const;   ///< empty if the socket is closed
  address remote() const;  ///< empty if the socket is closed

  int fd() const noexcept { return socket_.get(); }
  bool is_open() const noexcept { return static_cast<bool>(socket_); }

  /// Gives the descriptor away.
  int release() noexcept { return socket_.release(); }

 private:
  socket_handle socket_;
};

/// A listening socket. Closing it takes away this process's share only: where another has a share too (inherited, or
/// handed over), the connections that wait in the backlog are that one's. A Unix socket's file stays.
class tcp_listener {
 public:
  /// Binds and listens. An address is text as `address::parse` reads it: ":8080" is every address of the machine.
  /// @throws weir::error "listen EADDRINUSE: address already in use 127.0.0.1:80", "listen EACCES: permission denied
  /// 0.0.0.0:80"; ERR_INVALID_ADDRESS
  explicit tcp_listener(const address& where, const listen_options& options = {});
  explicit tcp_listener(std::string_view where, const listen_options& options = {})
      : tcp_listener(address::parse(where), options) {}

  /// Adopts a socket that listens already: inherited, or passed by another process. It is made non-blocking, as it may
  /// be shared, and close-on-exec. Of the options only `no_delay` counts. What is refused stays the caller's.
  /// @throws weir::error "adopt EBADF", "adopt ENOTSOCK"; ERR_INVALID_ARG_VALUE, saying what it is, if it is no
  /// listening stream socket of IP or Unix
  explicit tcp_listener(socket_handle&& listening, const listen_options& options = {});

  /// `co_await l.accept()` waits for the next connection. Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS,
  /// ENOMEM) it waits a little and tries again: nothing is lost, nothing spins. Connections that broke before
  /// they were accepted are passed over. A server that accepts much does it through io::acceptor on `fd()`.
  task<tcp_stream> accept();

  /// What it is bound to: with port 0 asked for, the port that was given.
  address local() const;

  void close() noexcept { socket_.close(); }
  int fd() const noexcept { return socket_.get(); }

 private:
  socket_handle socket_;
};

/// Binds and listens, as an awaitable for symmetry with `connect`; completes at once.
task<tcp_listener> listen(std::string_view where, listen_options options = {});

/// Connects to an address.
/// Throws weir::error such as "connect ECONNREFUSED 127.0.0.1:80". Cancelling closes the socket.
task<tcp_stream> connect(address where, connect_options options = {});
task<tcp_stream> connect(std::string_view where, connect_options options = {});

namespace sockets {
void set_option(int fd, int level, int name, int value);
}  // namespace sockets

}  // namespace weir::net
