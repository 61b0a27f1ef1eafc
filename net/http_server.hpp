// net/http_server.hpp: an HTTP/1.1 server. A connection is one loop-affine fiber on one worker; a handler is a
// coroutine that it calls per request, in order, with one send per batch of pipelined requests. Rests on the
// sans-I/O parser and writer and on io's receiver and sender. Bad input is answered and closed, a handler's
// exception becomes a 500 and is reported, a client that leaves cancels its handler.
#pragma once

#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/io/sender.hpp>
#include <weir/net/address.hpp>
#include <weir/net/http_message.hpp>
#include <weir/net/http_parser.hpp>
#include <weir/net/tcp.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

class connection;
class server;

/// What a client asks for. Belongs to the connection; valid until the handler has ended.
class request {
 public:
  const request_head& head() const noexcept { return *head_; }
  http::method method() const noexcept { return head_->method; }
  std::string_view method_text() const noexcept { return head_->method_text; }
  std::string_view target() const noexcept { return head_->target; }
  std::string_view path() const noexcept;   ///< the target up to '?', as sent
  std::string_view query() const noexcept;  ///< what follows '?', without it
  const header_list& headers() const noexcept { return head_->headers; }
  /// The first header of that name, in any case; empty if there is none.
  std::string_view header(std::string_view name) const noexcept;

  /// `co_await req.read()` gives the next piece of the body, empty at its end. Valid until the next call. Sends `100
  /// Continue` first where the client waits for it. Throws weir::error: ECONNRESET ("aborted") if the client leaves
  /// half-way, ERR_OUT_OF_RANGE if the body exceeds `server_options::max_body`, or the parser's code.
  task<std::string_view> read();

  /// The whole body as text. @throws weir::error ERR_OUT_OF_RANGE if it is longer than `limit`
  task<std::string> text(std::size_t limit = 1024 * 1024);

  bool complete() const noexcept { return complete_; }       ///< the body has been read to its end
  const header_list& trailers() const noexcept;              ///< after the end of a chunked body
  const address& remote() const noexcept;                    ///< the client's address
  std::uint64_t number() const noexcept { return number_; }  ///< of this request on its connection, from 1

 private:
  friend class connection;
  connection* connection_ = nullptr;
  const request_head* head_ = nullptr;
  std::uint64_t number_ = 0;
  bool complete_ = false;
};

/// The answer. Belongs to the connection; valid until the handler has ended. A handler that returns without
/// `end` has its response ended for it.
class response {
 public:
  /// @throws weir::error ERR_HTTP_HEADERS_SENT once the head has been sent
  response& status(int code, std::string_view reason = {});
  int status() const noexcept { return status_; }

  /// Sets a header, in place of any of that name; `append` adds one more line. Name and value are copied.
  /// @throws weir::error ERR_INVALID_HTTP_TOKEN, ERR_INVALID_CHAR, ERR_HTTP_HEADERS_SENT
  response& set(std::string_view name, std::string_view value);
  response& append(std::string_view name, std::string_view value);
  response& remove(std::string_view name);
  std::string_view get(std::string_view name) const noexcept;

  bool headers_sent() const noexcept { return head_sent_; }
  bool ended() const noexcept { return ended_; }

  /// `co_await res.write(chunk)` sends a piece of the body: chunked, unless Content-Length was set. Completes when the
  /// connection has room for more (server_options::high_water_mark): that is the backpressure. `chunk` is copied
  /// before it returns. Throws weir::error: ERR_STREAM_WRITE_AFTER_END, ERR_HTTP_CONTENT_LENGTH_MISMATCH, EPIPE...
  [[nodiscard]] io::sender::drain_awaiter write(std::string_view chunk);

  /// `co_await res.end(body)` sends the rest and ends the response; alone it sends everything with Content-Length.
  [[nodiscard]] io::sender::drain_awaiter end(std::string_view body = {});

  /// Closes the connection behind this response.
  response& close_connection() noexcept;

 private:
  friend class connection;
  struct line {
    std::uint32_t name, name_length, value, value_length;
  };

  void reset() noexcept;
  void add(std::string_view name, std::string_view value);
  std::string_view name_of(const line& l) const noexcept { return {text_.data() + l.name, l.name_length}; }
  std::string_view value_of(const line& l) const noexcept { return {text_.data() + l.value, l.value_length}; }
  void check(std::string_view name, std::string_view value) const;

  connection* connection_ = nullptr;
  std::string text_;
  std::vector<line> lines_;
  std::string reason_;
  std::uint64_t left_ = 0;  // of a body with Content-Length
  int status_ = 200;
  bool head_sent_ = false;
  bool ended_ = false;
  bool chunked_ = false;
  bool bodiless_ = false;
  bool counted_ = false;
  bool keep_alive_ = true;
};

/// Limits are on by default; times and counts are Node's where Node has them.
struct server_options {
  parser_options parser = {};  ///< head 16 KiB, 2000 headers, ...
  std::uint64_t max_body = 0;  ///< bytes of a request body; 0: the handler decides
  std::chrono::milliseconds header_timeout = std::chrono::seconds(60);     ///< for a whole head: 408
  std::chrono::milliseconds request_timeout = std::chrono::seconds(300);   ///< for head and body: 408
  std::chrono::milliseconds keep_alive_timeout = std::chrono::seconds(5);  ///< between requests; closes quietly
  std::size_t max_connections = 65536;                                     ///< more wait in the backlog; 0: no limit
  std::uint64_t max_requests = 0;                                          ///< per connection; 0: no limit
  std::size_t high_water_mark = 64 * 1024;  ///< unsent response bytes before a write waits
  bool allow_half_open = false;             ///< a client's FIN does not cancel its handler
  listen_options listen = {};
  /// Told of failures of handlers, on the connection's worker; default: a line on standard error.
  std::function<void(const request&, std::exception_ptr)> on_error = {};
};

struct server_statistics {
  std::uint64_t accepted = 0;  ///< connections
  std::uint64_t open = 0;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;  ///< requests refused: 4xx and 5xx of the server's own
  std::uint64_t handler_failures = 0;
  std::uint64_t disconnects = 0;  ///< handlers cancelled because the client left
};

/// A server of one handler on one or more addresses.
///
/// `co_await s.serve()` accepts until it is closed. `close(grace)` stops accepting, closes idle connections, lets
/// requests in progress finish for `grace` and cancels the rest; then `serve` completes. Cancelling `serve` is a
/// close without grace. Connections are spread over the workers, each stays on its own.
class server {
 public:
  using handler_type = std::function<task<void>(request&, response&)>;

  explicit server(handler_type handler, server_options options = {});
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Binds an address ("[::]:8080"); port 0 takes a free one. @return what it is bound to
  /// @throws weir::error "listen EADDRINUSE: address already in use [::]:8080"
  address listen(std::string_view where);

  task<void> serve();

  /// Any worker; may be called again with a shorter grace.
  void close(std::chrono::milliseconds grace = std::chrono::seconds(10));

  server_statistics statistics() const noexcept;
  const server_options& options() const noexcept { return options_; }

 private:
  friend class connection;
  friend class response;
  struct shard;

  task<void> accept_loop(tcp_listener& listener, scope& s);
  task<void> serve_connection(tcp_stream stream, std::size_t shard_index);
  std::size_t pick_shard() noexcept;
  void close_idle();

  handler_type handler_;
  server_options options_;
  std::vector<std::unique_ptr<tcp_listener>> listeners_;
  std::vector<std::unique_ptr<shard>> shards_;
  std::atomic<scope*> running_{nullptr};
  std::atomic<bool> closing_{false};
  weir::event below_limit_;
};

/// Serves `handler` on an address until cancelled.
task<void> serve(std::string_view where, server::handler_type handler, server_options options = {});

}  // namespace weir::net::http
