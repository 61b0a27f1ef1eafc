// tests/support/http_client.hpp: an HTTP server in a runtime and thread of its own, and a blocking client of raw
// sockets for the test's thread, so that a test can send what no real client would, cut where it likes.
#pragma once

#include <weir/core/runtime.hpp>
#include <weir/net/address.hpp>
#include <weir/net/http_server.hpp>

#include <tests/support/run.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weir::testing {

/// What came back.
struct http_reply {
  int status = 0;
  std::string head;  ///< with the status line and the empty line
  std::string body;  ///< without its chunks

  /// The value of the first such header, or "(none)".
  std::string header(std::string_view name) const {
    for (std::size_t at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();) {
      std::size_t end = head.find("\r\n", at + 2);
      std::string_view line(head.data() + at + 2, end - at - 2);
      auto colon = line.find(':');
      if (net::http::equal_ignoring_case(line.substr(0, colon), name)) return std::string(line.substr(colon + 2));
      at = end;
    }
    return "(none)";
  }
};

/// One connection. Every wait ends after 30 s with an exception, so that a test fails instead of hanging.
class http_client {
 public:
  /// @param receive_buffer bytes of the socket's receive buffer; 0: the system's choice
  explicit http_client(const net::address& where, int receive_buffer = 0)
      : fd_(::socket(where.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    check(fd_, "socket");
    if (receive_buffer != 0) set(SOL_SOCKET, SO_RCVBUF, receive_buffer);
    if (where.is_ip()) set(IPPROTO_TCP, TCP_NODELAY, 1);
    const bool begun = ::connect(fd_, where.data(), where.size()) == 0 || errno == EINTR;  // goes on by itself then
    check(begun && wait_for(POLLOUT, limit) ? 0 : -1, "connect");
  }
  http_client(http_client&& other) noexcept : fd_(std::exchange(other.fd_, -1)), seen_(std::move(other.seen_)) {}
  http_client& operator=(http_client&& other) noexcept {
    std::swap(fd_, other.fd_);
    seen_.swap(other.seen_);
    std::swap(reset_, other.reset_);
    return *this;
  }
  ~http_client() { close(); }

  /// Sends all of it. @return false if the server has closed
  bool send(std::string_view text) {
    while (!text.empty()) {
      if (!wait_for(POLLOUT, limit)) throw std::runtime_error("the server takes no more");
      auto n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EAGAIN) continue;
      if (n < 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Sends as much as the server and the kernel take, until they have taken nothing for `patience`.
  /// @return the number of bytes
  std::size_t send_until_stuck(std::string_view piece, std::size_t most, std::chrono::milliseconds patience) {
    std::size_t sent = 0;
    while (sent < most && wait_for(POLLOUT, patience)) {
      auto n = ::send(fd_, piece.data(), std::min(piece.size(), most - sent), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) check(-1, "send");
      if (n > 0) sent += static_cast<std::size_t>(n);
    }
    return sent;
  }

  /// Reads one response; `to_head` if it answers HEAD. Interim responses (1xx) count as one.
  http_reply read_reply(bool to_head = false) {
    http_reply reply;
    std::size_t end = 0;
    while ((end = seen_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) throw std::runtime_error("the connection ended within a head: '" + seen_ + "'");
    }
    reply.head = take(end + 4);
    reply.status = std::stoi(reply.head.substr(9, 3));
    if (to_head || reply.status < 200 || reply.status == 204 || reply.status == 304) return reply;
    auto length = reply.header("Content-Length");
    if (length != "(none)") {
      reply.body = take_exactly(std::stoull(length));
    } else if (reply.header("Transfer-Encoding") == "chunked") {
      read_chunks(reply.body);
    } else {
      reply.body = read_rest();
    }
    return reply;
  }

  /// Sends and reads one response.
  http_reply ask(std::string_view request, bool to_head = false) {
    send(request);
    return read_reply(to_head);
  }

  /// Everything up to the end of the connection, whether closed or reset.
  std::string read_rest() {
    while (receive()) {
    }
    return std::exchange(seen_, {});
  }

  /// Waits for the server to close. @return false if it sent something first
  bool closed() { return read_rest().empty(); }

  /// Whether the last end of the connection was a reset.
  bool was_reset() const { return reset_; }

  /// Exactly so many bytes, whatever they are.
  std::string read(std::size_t count) { return take_exactly(count); }

  /// Whether something (data or the end) arrives within that time.
  bool hears_within(std::chrono::milliseconds time) { return !seen_.empty() || wait_for(POLLIN, time); }

  /// Takes in what comes, without looking. @return false at the end
  bool receive() {
    char piece[65536];
    if (!wait_for(POLLIN, limit)) throw std::runtime_error("nothing came for 30 s; before: '" + seen_ + "'");
    auto n = ::recv(fd_, piece, sizeof piece, 0);
    if (n < 0 && errno != ECONNRESET && errno != EPIPE) check(-1, "recv");
    reset_ = n < 0;
    if (n > 0) seen_.append(piece, static_cast<std::size_t>(n));
    return n > 0;
  }

  /// What has been taken in and not looked at.
  std::string take_seen() { return std::exchange(seen_, {}); }

  void end_writing() { check(::shutdown(fd_, SHUT_WR), "shutdown"); }

  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

  void reset() {
    linger now = {.l_onoff = 1, .l_linger = 0};
    check(::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now), "setsockopt");
    close();
  }

 private:
  static constexpr std::chrono::milliseconds limit = std::chrono::seconds(30);

  static void check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::system_category(), what);
  }
  void set(int level, int name, int value) { check(::setsockopt(fd_, level, name, &value, sizeof value), "option"); }

  bool wait_for(short what, std::chrono::milliseconds time) {
    using clock = std::chrono::steady_clock;
    const auto until = clock::now() + time;
    pollfd one = {.fd = fd_, .events = what, .revents = 0};
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
      const int ready = ::poll(&one, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      if (ready >= 0 || errno != EINTR) return ready > 0;
    }
  }

  std::string take(std::size_t count) {
    auto taken = seen_.substr(0, count);
    seen_.erase(0, count);
    return taken;
  }

  std::string take_exactly(std::size_t count) {
    while (seen_.size() < count) {
      if (!receive()) throw std::runtime_error("the connection ended within a body");
    }
    return take(count);
  }

  void read_chunks(std::string& body) {
    for (;;) {
      while (seen_.find("\r\n") == std::string::npos) {
        if (!receive()) throw std::runtime_error("the connection ended within a chunk line");
      }
      auto line = take(seen_.find("\r\n") + 2);
      std::size_t size = 0;
      std::from_chars(line.data(), line.data() + line.size(), size, 16);
      body += take_exactly(size);
      take_exactly(2);
      if (size == 0) return;
    }
  }

  int fd_;
  std::string seen_;
  bool reset_ = false;
};

/// A server that runs until it is stopped or goes.
class running_server {
 public:
  using handler_type = net::http::server::handler_type;

  explicit running_server(handler_type handler, net::http::server_options options = {}, unsigned workers = 1,
                          std::string_view where = "127.0.0.1:0")
      : server_(std::move(handler), std::move(options)), address_(server_.listen(where)) {
    thread_ = std::thread([this, workers] {
      try {
        run_with(workers, server_.serve());
      } catch (...) {
        failure_ = std::current_exception();
      }
      ended_.set_value();
    });
  }
  ~running_server() {
    try {
      stop();
    } catch (...) {  // the test has failed already, or does not care
    }
  }

  http_client connect(int receive_buffer = 0) const { return http_client(address_, receive_buffer); }
  const net::address& address() const { return address_; }
  std::string url(std::string_view path) const { return "http://" + address_.to_string() + std::string(path); }

  /// Closes the server and waits until all is over. @throws what `serve` threw
  void stop(std::chrono::milliseconds grace = std::chrono::milliseconds(0)) {
    if (!thread_.joinable()) return;
    server_.close(grace);
    join();
  }

  /// Waits until `serve` has completed by itself.
  void join() {
    if (ended_.get_future().wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      std::fputs("the server did not end within 60 s\n", stderr);
      std::abort();
    }
    thread_.join();
    if (failure_) std::rethrow_exception(failure_);
  }

  net::http::server* operator->() { return &server_; }
  net::http::server_statistics statistics() const { return server_.statistics(); }

 private:
  net::http::server server_;
  net::address address_;
  std::promise<void> ended_;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace weir::testing
