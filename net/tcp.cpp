#include <weir/net/tcp.hpp>

#include <weir/core/time.hpp>
#include <weir/io/acceptor.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace weir::net {
namespace sockets {

void set_option(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) throw weir::net_error(errno, "setsockopt");
}

}  // namespace sockets

namespace {

address name_of(int fd, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* data = reinterpret_cast<sockaddr*>(&storage);
  if (fd < 0 || ask(fd, data, &size) != 0) return {};
  auto found = address::from(data, size);
  return found ? *found : address();
}

socket_handle open_socket(const address& where, std::string_view operation) {
  int fd = ::socket(where.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw net_error(errno, operation, where);
  return socket_handle(fd);
}

// A socket file whose listener has gone refuses connections; one that still listens must not be taken away.
void remove_stale(const address& where) {
  struct stat seen;
  auto path = where.host();
  if (::lstat(path.c_str(), &seen) != 0 || !S_ISSOCK(seen.st_mode)) return;
  socket_handle probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), where.data(), where.size()) != 0 && errno == ECONNREFUSED) ::unlink(path.c_str());
}

// Before it listens, so that nobody is refused on the way.
void widen(const address& where, const listen_options& options) {
  if (where.family() != family::unix_path || !(options.readable_all || options.writable_all)) return;
  auto path = where.host();
  struct stat seen;
  if (::stat(path.c_str(), &seen) != 0) throw listen_error(errno, where);
  mode_t wanted = seen.st_mode & 07777;
  if (options.readable_all) wanted |= S_IRUSR | S_IRGRP | S_IROTH;
  if (options.writable_all) wanted |= S_IWUSR | S_IWGRP | S_IWOTH;
  if (::chmod(path.c_str(), wanted) != 0) throw listen_error(errno, where);
}

int option_of(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  if (::getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0) throw weir::net_error(errno, "adopt");
  return value;
}

// Who shares a listener may come late, after it was told of a connection that another has taken.
void make_private(int fd) {
  int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    throw weir::net_error(errno, "adopt");
  }
}

[[noreturn]] void refuse(int fd, std::string_view what) {
  throw error(errc::err_invalid_arg_value, "adopt: descriptor " + std::to_string(fd) + " is " + std::string(what));
}

socket_handle checked_listener(socket_handle&& given) {
  int fd = given.get();
  int type = option_of(fd, SO_TYPE);
  int domain = option_of(fd, SO_DOMAIN);
  if (type == SOCK_DGRAM) refuse(fd, "a datagram socket, which has no connections");
  if (type != SOCK_STREAM) refuse(fd, "no stream socket");
  if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX) refuse(fd, "neither an IP nor a Unix socket");
  if (option_of(fd, SO_ACCEPTCONN) == 0) refuse(fd, "a stream socket that does not listen");
  return std::move(given);
}

}  // namespace

// ---- streams

task<void> tcp_stream::write(std::span<const std::byte> from) {
  while (!from.empty()) {
    auto count = co_await io::count_operation(opcode::send, fd(), const_cast<std::byte*>(from.data()), from.size(),
                                              MSG_WAITALL, {"write"});
    from = from.subspan(count);
  }
}

task<void> tcp_stream::write(std::initializer_list<std::span<const std::byte>> pieces) {
  return write_pieces(std::span(pieces.begin(), pieces.size()));
}

task<void> tcp_stream::write_pieces(std::span<const std::span<const std::byte>> pieces) {
  std::vector<iovec> left;
  left.reserve(pieces.size());
  for (auto& each : pieces) {
    if (!each.empty()) left.push_back({const_cast<std::byte*>(each.data()), each.size()});
  }
  std::size_t first = 0;
  while (first < left.size()) {
    constexpr std::size_t most = 1024;  // IOV_MAX
    msghdr message = {};
    message.msg_iov = &left[first];
    message.msg_iovlen = std::min(left.size() - first, most);
    auto sent = co_await io::count_operation(opcode::sendmsg, fd(), &message, 1, MSG_WAITALL, {"write"});
    while (first < left.size() && sent >= left[first].iov_len) sent -= left[first++].iov_len;
    if (first < left.size() && sent > 0) {
      left[first].iov_base = static_cast<std::byte*>(left[first].iov_base) + sent;
      left[first].iov_len -= sent;
    }
  }
}

io::count_operation tcp_stream::shutdown_write() noexcept {
  return {opcode::shutdown, fd(), nullptr, SHUT_WR, 0, {"shutdown"}};
}

void tcp_stream::abort() noexcept {
  linger reset = {.l_onoff = 1, .l_linger = 0};
  if (is_open()) ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close();
}

void tcp_stream::set_no_delay(bool on) { sockets::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0); }

void tcp_stream::set_keep_alive(const keep_alive_options& options) {
  sockets::set_option(fd(), SOL_SOCKET, SO_KEEPALIVE, options.enable ? 1 : 0);
  if (!options.enable) return;
  if (options.idle.count() > 0) {
    sockets::set_option(fd(), IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(options.idle.count()));
  }
  if (options.interval.count() > 0) {
    sockets::set_option(fd(), IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(options.interval.count()));
  }
  if (options.count > 0) sockets::set_option(fd(), IPPROTO_TCP, TCP_KEEPCNT, options.count);
}

address tcp_stream::local() const { return name_of(fd(), ::getsockname); }
address tcp_stream::remote() const { return name_of(fd(), ::getpeername); }

// ---- listening

tcp_listener::tcp_listener(const address& where, const listen_options& options)
    : socket_(open_socket(where, "listen")) {
  if (where.is_ip() && options.reuse_address) sockets::set_option(fd(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) sockets::set_option(fd(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (where.family() == family::ipv6) sockets::set_option(fd(), IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only ? 1 : 0);
  // Accepted sockets inherit it, which saves a system call each.
  if (where.is_ip() && options.no_delay) sockets::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (where.family() == family::unix_path && options.remove_stale_unix) remove_stale(where);
  if (::bind(fd(), where.data(), where.size()) != 0) throw listen_error(errno, where);
  widen(where, options);
  if (::listen(fd(), options.backlog) != 0) throw listen_error(errno, where);
}

tcp_listener::tcp_listener(socket_handle&& listening, const listen_options& options)
    : socket_(checked_listener(std::move(listening))) {
  make_private(fd());
  if (options.no_delay && local().is_ip()) sockets::set_option(fd(), IPPROTO_TCP, TCP_NODELAY, 1);
}

address tcp_listener::local() const { return name_of(fd(), ::getsockname); }

task<tcp_stream> tcp_listener::accept() {
  for (;;) {
    auto taken = co_await attempt(io::count_operation(opcode::accept, fd(), nullptr, 0, 0, {"accept"}));
    if (taken) co_return tcp_stream(static_cast<int>(*taken));
    int why = taken.failure().error().errno_value();
    auto pause = io::accept_pause(why);
    if (why == EAGAIN) {  // old kernels do not wait on a non-blocking socket
      co_await io::poll(fd(), POLLIN);
    } else if (pause.count() > 0) {
      co_await sleep(pause);
    } else if (!io::accept_passes_over(why)) {
      co_return taken.failure();
    }
  }
}

task<tcp_listener> listen(std::string_view where, listen_options options) { co_return tcp_listener(where, options); }

// ---- connecting

task<tcp_stream> connect(address where, connect_options options) {
  tcp_stream stream(open_socket(where, "connect"));
  if (options.local && ::bind(stream.fd(), options.local->data(), options.local->size()) != 0) {
    throw net_error(errno, "bind", *options.local);
  }
  auto done = co_await attempt(io::count_operation(opcode::connect, stream.fd(), const_cast<sockaddr*>(where.data()),
                                                   where.size(), 0, {"connect"}));
  if (!done) {
    if (done.failure().is_cancelled()) co_return done.failure();
    co_return failure(net_error(done.failure().error().errno_value(), "connect", where));
  }
  if (options.no_delay && where.is_ip()) stream.set_no_delay(true);
  co_return std::move(stream);
}

task<tcp_stream> connect(std::string_view where, connect_options options) {
  return connect(address::parse(where), options);
}

}  // namespace weir::net
