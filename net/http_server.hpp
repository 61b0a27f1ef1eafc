// net/http_server.hpp: an HTTP/1.1 server. A connection is one loop-affine fiber on one worker; a handler is a
// coroutine that it calls per request, in order, with one send per batch of pipelined requests. Rests on the
// sans-I/O parser and writer and on io's receiver and sender. Bad input is answered and closed, a handler's
// exception becomes a 500 and is reported, a client that leaves cancels its handler.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/event.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/io/acceptor.hpp>
#include <weir/io/receiver.hpp>
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
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

class connection;
class raw_stream;
class server;
struct body_framing;

/// What has gone over one connection so far.
struct connection_figures {
  std::uint64_t requests = 0;   ///< heads read
  std::uint64_t bytes_in = 0;   ///< received
  std::uint64_t bytes_out = 0;  ///< given to the connection to be sent, heads and framing included
};

/// What a client asks for. Belongs to the connection; valid until the handler has ended. Like the response, it is
/// read on the handler's own worker: by the handler, its combinators, and children started with `spawn_local`.
class request {
 public:
  const request_head& head() const noexcept { return *head_; }
  http::method method() const noexcept { return head_->method; }
  std::string_view method_text() const noexcept { return head_->method_text; }
  std::string_view target() const noexcept { return head_->target; }
  /// The target up to '?', as sent. Of an absolute-form target (`http://host/path`) the path in it, "/" if it has
  /// none; empty for CONNECT, "*" for `OPTIONS *`.
  std::string_view path() const noexcept;
  std::string_view query() const noexcept;  ///< what follows '?', without it
  /// Whom the request is for: the authority of an absolute-form target or of CONNECT, which goes before Host
  /// (RFC 9112 3.2.2), otherwise Host; empty if there is none.
  std::string_view host() const noexcept;
  const header_list& headers() const noexcept { return head_->headers; }
  /// The first header of that name, in any case; empty if there is none.
  std::string_view header(std::string_view name) const noexcept;

  /// `co_await req.read()` gives the next piece of the body, empty at its end. Valid until the next call. Sends `100
  /// Continue` first where the client waits for it. Throws weir::error: ECONNRESET if the client leaves half-way,
  /// ERR_OUT_OF_RANGE if the body exceeds `server_options::max_body`, ERR_INVALID_ARG_VALUE with the parser's reason
  /// if it is no HTTP, ERR_INVALID_STATE on another worker. A handler that lets the second or third pass has the
  /// client answered 413 or 400, and is not reported.
  task<std::string_view> read();

  /// The whole body as text. Throws weir::error ERR_OUT_OF_RANGE if it is longer than `limit`: 413, as above. What
  /// announces more is not read at all.
  task<std::string> text(std::size_t limit = 1024 * 1024);

  /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 10.1.1). `read` and
  /// `response::write_continue` send it; any other answer refuses the body, and closes the connection behind itself.
  bool expects_continue() const noexcept;

  /// Whether the client asks to leave HTTP behind: `Upgrade` with `Connection: upgrade` in HTTP/1.1 (then
  /// `header("upgrade")` lists the protocols), or CONNECT. What is not answered with `response::upgrade` is a request
  /// like any other.
  bool wants_upgrade() const noexcept;

  bool complete() const noexcept { return complete_; }               ///< the body has been read to its end
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }  ///< of the body, without its framing
  /// Whether the client has left, or the connection was given up, before the response had been sent.
  bool aborted() const noexcept;
  bool server_closing() const noexcept;  ///< `server::close` was called, or this is the connection's last request
  /// Fires when `server::close` is called: for responses that have no end of their own.
  abort_signal closing() const noexcept;
  const header_list& trailers() const noexcept;              ///< after the end of a chunked body
  const address& remote() const noexcept;                    ///< the client's address
  std::uint64_t number() const noexcept { return number_; }  ///< of this request on its connection, from 1
  connection_figures figures() const noexcept;               ///< of its connection, so far

 private:
  friend class connection;
  connection* connection_ = nullptr;
  const request_head* head_ = nullptr;
  std::uint64_t number_ = 0;
  std::uint64_t bytes_read_ = 0;
  bool complete_ = false;
};

/// How a response ended.
enum class ending : std::uint8_t {
  finished,  ///< the system has taken all of it
  aborted,   ///< the client left, the handler failed or destroyed it, or the server cut it off
};

/// The answer. Belongs to the connection; valid until the handler has ended. A handler that returns without
/// `end` has its response ended for it.
class response {
 public:
  using text_list = std::initializer_list<std::string_view>;
  using header_lines = std::initializer_list<header>;

  /// @param code 200 to 999
  /// @throws weir::error ERR_HTTP_HEADERS_SENT once the head has been sent, ERR_HTTP_INVALID_STATUS_CODE,
  /// ERR_INVALID_CHAR for a reason with control characters
  response& status(int code, std::string_view reason = {});
  int status() const noexcept { return status_; }

  /// Sets a header, in place of any of that name; `append` adds one more line. Name and value are copied. A list of
  /// values gives a line each, in order; an empty one gives none.
  /// @throws weir::error ERR_INVALID_HTTP_TOKEN, ERR_INVALID_CHAR, ERR_HTTP_HEADERS_SENT; nothing is changed then
  response& set(std::string_view name, std::string_view value);
  response& set(std::string_view name, std::span<const std::string_view> values);
  response& set(std::string_view name, text_list values) { return set(name, std::span(values.begin(), values.size())); }
  response& append(std::string_view name, std::string_view value);
  response& remove(std::string_view name);

  /// The first value of that name, empty if there is none; all of them; whether there is one; every name once, as it
  /// was first set. Views hold until the next change.
  std::string_view get(std::string_view name) const noexcept;
  std::vector<std::string_view> get_all(std::string_view name) const;
  bool has(std::string_view name) const noexcept;
  std::vector<std::string_view> header_names() const;

  /// Status and headers in one call, beside what was set before (same names are replaced; a name that comes twice here
  /// gives two lines). The head is settled then, as Node's `writeHead` does: later changes throw ERR_HTTP_HEADERS_SENT.
  /// It goes out with the first piece of the body. Throws as `status` and `set`, with nothing changed.
  response& write_head(int code, std::span<const header> headers) { return write_head(code, {}, headers); }
  response& write_head(int code, header_lines headers = {}) { return write_head(code, {}, headers); }
  response& write_head(int code, std::string_view reason, std::span<const header> headers);
  response& write_head(int code, std::string_view reason, header_lines headers) {
    return write_head(code, reason, std::span(headers.begin(), headers.size()));
  }

  /// Sends the head now, without waiting for the body: chunked, unless Content-Length was set. Throws as `write`.
  response& flush_headers();

  /// Whether the head cannot be changed any more.
  bool headers_sent() const noexcept { return head_sent_ || settled_; }
  bool ended() const noexcept { return ended_; }
  /// Whether it has ended and the system has taken all of it.
  bool finished() const noexcept;
  std::uint64_t bytes_written() const noexcept { return bytes_; }  ///< head and framing included

  /// `on_end(f)`: f is called once when this response is over, on the connection's worker: `finished` when the system
  /// has taken the last byte, otherwise `aborted`. It may look at the request and the response, and must not write.
  /// Costs a wait for the send. What it throws goes to standard error.
  response& on_end(std::function<void(ending)> hook);

  /// `co_await res.inform(103, {{"Link", "</a.css>; rel=preload"}})` sends an interim response (RFC 9110 15.2), in its
  /// place among pipelined ones; as many as wanted, before the head. HTTP/1.0 clients get none. Completes as `write`.
  /// Throws weir::error: ERR_HTTP_INVALID_STATUS_CODE unless 100 or 102 to 199, ERR_HTTP_HEADERS_SENT, as `set`.
  [[nodiscard]] io::sender::drain_awaiter inform(int code, std::span<const header> headers);
  [[nodiscard]] io::sender::drain_awaiter inform(int code, header_lines headers = {}) {
    return inform(code, std::span(headers.begin(), headers.size()));
  }
  [[nodiscard]] io::sender::drain_awaiter write_continue() { return inform(100); }
  [[nodiscard]] io::sender::drain_awaiter write_processing() { return inform(102); }
  /// 103 with one Link header of all `links`; without links nothing is sent. Throws also ERR_INVALID_ARG_VALUE for what
  /// is no link, `<target>; name=value` (RFC 8288).
  [[nodiscard]] io::sender::drain_awaiter early_hints(std::span<const std::string_view> links,
                                                      std::span<const header> headers = {});
  [[nodiscard]] io::sender::drain_awaiter early_hints(text_list links) {
    return early_hints(std::span(links.begin(), links.size()));
  }

  /// `co_await res.write(chunk)` sends a piece of the body: chunked, unless Content-Length was set. Completes when the
  /// connection has room for more (server_options::high_water_mark): that is the backpressure. `chunk` is copied
  /// before it returns. What goes to HEAD, or with 204 or 304, is left out. Throws weir::error:
  /// ERR_STREAM_WRITE_AFTER_END, ERR_STREAM_DESTROYED, ERR_HTTP_CONTENT_LENGTH_MISMATCH, ERR_INVALID_STATE on another
  /// worker, EPIPE...
  [[nodiscard]] io::sender::drain_awaiter write(std::string_view chunk);

  /// `co_await res.send(piece)`: as `write`, but completes when the system has taken the piece, and without copying it:
  /// for large ones, which must stay until then. Nothing else may write meanwhile. Throws as `write`. Cancelled, it may
  /// have sent a part; the connection ends then.
  [[nodiscard]] task<void> send(std::span<const std::byte> piece);

  /// Adds a trailer, to be sent behind the last chunk; a body that has them is chunked. Those known before the head
  /// goes out are announced in its `Trailer`, unless that was set. Left out where there are no chunks to follow: to
  /// HEAD and HTTP/1.0, with 204 and 304. A client may pass over them (RFC 9110 6.5.1).
  /// @throws weir::error ERR_HTTP_TRAILER_INVALID for a field that must not be one (framing, routing, authentication,
  /// content) and for a body with Content-Length; ERR_INVALID_HTTP_TOKEN, ERR_INVALID_CHAR, ERR_STREAM_WRITE_AFTER_END
  response& trailer(std::string_view name, std::string_view value);

  /// `co_await res.end(body)` sends the rest and ends the response; alone it sends everything with Content-Length.
  /// Throws as `write`; a body shorter than Content-Length is a mismatch too.
  [[nodiscard]] io::sender::drain_awaiter end(std::string_view body = {});

  /// Answers that the client's wish is granted, and gives the connection to the handler (see raw_stream): `101
  /// Switching Protocols` with `Connection: Upgrade` and `Upgrade: protocol`, beside the headers that were set; to
  /// CONNECT a 2xx. The body must have been read. When the handler returns, the connection closes. From here on the end
  /// of the client's side does not cancel the handler; before, `server_options::allow_half_open` decides.
  /// @param protocol one that the client has named; empty: the first of them. Without meaning for CONNECT
  /// @throws weir::error ERR_INVALID_STATE if the client has asked for nothing of the kind or the body has not been
  /// read, ERR_INVALID_ARG_VALUE for a protocol that the client has not named, ERR_HTTP_INVALID_STATUS_CODE for CONNECT
  /// with a status that is not 2xx, ERR_HTTP_HEADERS_SENT
  raw_stream& upgrade(std::string_view protocol = {});

  /// The same without an answer: every further byte is the handler's own business.
  raw_stream& take_over();

  /// Closes the connection behind this response.
  response& close_connection() noexcept;

  /// Gives the connection up: nothing more is sent, and what was not is dropped. It is closed when the handler returns,
  /// with a reset unless the response had ended. Later writes throw ERR_STREAM_DESTROYED.
  void destroy() noexcept;

 private:
  friend class connection;
  friend class raw_stream;
  friend class request;
  struct line {
    std::uint32_t name, name_length, value, value_length;
  };
  struct extras;

  void reset() noexcept;
  void add(std::string_view name, std::string_view value);
  void replace(std::span<const header> headers);
  void check(std::string_view name, std::string_view value) const;
  void check_open() const;
  bool sends_body() const noexcept;
  bool has_trailers() const noexcept;
  body_framing framing(body_framing otherwise) const noexcept;
  void start_with_end(std::string_view body);
  void begin_piece(std::size_t size);
  void end_chunks();
  void check_upgrade(std::string_view protocol) const;
  extras& more();
  std::string_view name_of(const line& l) const noexcept { return {text_.data() + l.name, l.name_length}; }
  std::string_view value_of(const line& l) const noexcept { return {text_.data() + l.value, l.value_length}; }

  struct drop_extras {
    void operator()(extras* what) const noexcept;
  };

  connection* connection_ = nullptr;
  std::string text_;
  std::vector<line> lines_;
  std::string reason_;
  std::unique_ptr<extras, drop_extras> extras_;  // what few responses have
  std::uint64_t left_ = 0;                       // of a body with Content-Length
  std::uint64_t bytes_ = 0;
  int status_ = 200;
  bool head_sent_ = false;
  bool settled_ = false;  // by write_head
  bool ended_ = false;
  bool chunked_ = false;
  bool bodiless_ = false;
  bool counted_ = false;      // Content-Length: `left_` has to be written
  bool until_close_ = false;  // the end of the connection is the end of the body
  bool keep_alive_ = true;
  bool destroyed_ = false;
  bool cut_short_ = false;  // destroyed before it had ended
  bool raw_ = false;        // the handler has taken the connection over
};

/// A client's mistake, as the hook below is told of it.
struct client_error {
  std::string_view code;      ///< the parser's, such as "HPE_INVALID_METHOD", or "ERR_HTTP_REQUEST_TIMEOUT"...
  std::string_view reason;    ///< for people
  int status = 0;             ///< of the answer
  std::string_view received;  ///< what has been received and not read, from where reading stopped
  const address& remote;      ///< the client's
};

/// The least that a client has to move while it is waited for. In each stretch of `grace` so spent, `bytes_per_second`
/// on average; time in which nobody waits for it does not count. 0 bytes or no grace: no floor. A stretch should
/// outlast the pauses of a network that loses packets: TCP sends again after 0.2, 0.4, 0.8 ... seconds.
struct rate_floor {
  std::uint64_t bytes_per_second = 240;
  std::chrono::milliseconds grace = std::chrono::seconds(15);
};

/// Limits are on by default; times and counts are Node's where Node has them. A time of zero is no limit.
struct server_options {
  parser_options parser = {};  ///< head 16 KiB, 2000 headers, ...
  std::uint64_t max_body = 0;  ///< bytes of a request body; 0: the handler decides
  std::chrono::milliseconds header_timeout = std::chrono::seconds(60);     ///< for a whole head: 408
  std::chrono::milliseconds request_timeout = std::chrono::seconds(300);   ///< for head and body: 408
  std::chrono::milliseconds keep_alive_timeout = std::chrono::seconds(5);  ///< between requests; closes quietly
  /// For a request body, while the handler waits for it, or while it is skipped: 408.
  rate_floor min_body_rate = {};
  /// For responses that wait for the client, above the high-water mark or in `send`: the handler is cancelled, the
  /// connection reset, after one stretch or two. Measured by what TCP acknowledges; not on Unix sockets.
  rate_floor min_write_rate = {};
  /// While a request is in progress, without a byte in or out (Node's `server.timeout`): the handler is cancelled and
  /// the connection closed, after one to two times that. Off by default, as there: handlers may wait for long.
  std::chrono::milliseconds idle_timeout = std::chrono::milliseconds(0);
  /// For the last response, behind which the connection ends.
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(30);
  /// For a client to end its side, having been sent the end of ours: what it still sends is read, as a reset would take
  /// our last words with it (RFC 9112 9.6). Zero closes at once.
  std::chrono::milliseconds linger_timeout = std::chrono::seconds(2);
  /// Served at once. More wait in the backlog, a few of them accepted already; 0: no limit.
  std::size_t max_connections = 65536;
  /// True: those beyond the limit are accepted and closed at once (Node's `drop`), after `on_drop` was told.
  bool drop_excess = false;
  std::uint64_t max_requests = 0;           ///< per connection; 0: no limit
  std::size_t high_water_mark = 64 * 1024;  ///< unsent response bytes before a write waits
  /// True: the handler is given CONNECT requests too, for `response::upgrade`. False: they are answered 501.
  bool allow_connect = false;
  /// True: the handler is given requests with an `Expect` that is not 100-continue. False: they are answered 417.
  bool allow_expectations = false;
  /// True: `Connection: keep-alive` and `Keep-Alive: timeout=N` to HTTP/1.1 too, where they go without saying.
  bool announce_keep_alive = false;
  /// False: a client's end of stream cancels its handler, as a reset always does. True: it may end its side and wait.
  bool allow_half_open = false;
  /// What is received before it is asked for. Requests of one connection are handled one after the other; of those that
  /// a client sends ahead, `credit` pooled buffers (4 KiB each by default) are taken in, the rest waits in the socket.
  io::receiver_options receive = {};
  listen_options listen = {};
  /// Told of what is no HTTP, breaks a limit or takes too long, before it is answered and the connection closed, on the
  /// connection's worker. `answer` holds the bytes to be sent and may be changed; emptied, the connection just closes.
  /// What it throws goes to standard error.
  std::function<void(const client_error&, std::string& answer)> on_client_error = {};
  /// Told of a connection that is closed for `drop_excess`, on a worker. Must not throw.
  std::function<void(const address& remote)> on_drop = {};
  /// Told of failures of handlers, on the connection's worker; default: a line on standard error. What it throws is
  /// written there too.
  std::function<void(const request&, std::exception_ptr)> on_error = {};
};

/// How a server ends.
struct close_options {
  std::chrono::milliseconds grace = std::chrono::seconds(10);  ///< for requests in progress; then they are cancelled
  /// How long connections that wait for a request, the next or the first, stay open for one more, which is answered
  /// with `Connection: close`. Zero: they are closed at once, also if a request is on its way to them. The first
  /// `close` decides; `grace` is for all of it.
  std::chrono::milliseconds idle_grace = std::chrono::milliseconds(0);
};

struct server_statistics {
  std::uint64_t accepted = 0;  ///< connections
  std::uint64_t open = 0;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;  ///< requests refused: 4xx and 5xx of the server's own
  std::uint64_t handler_failures = 0;
  std::uint64_t timeouts = 0;     ///< connections given up because the client took too long, idle ones not counted
  std::uint64_t dropped = 0;      ///< connections closed for `drop_excess`
  std::uint64_t disconnects = 0;  ///< handlers that failed because the client left, mostly by being cancelled
};

/// A server of one handler on one or more addresses.
///
/// `co_await s.serve()` accepts until it is closed. `close(grace)` stops accepting, closes idle connections, lets
/// requests in progress finish for `grace` and cancels the rest; then `serve` completes. Cancelling `serve` is a
/// close without grace. Connections are spread over the workers, each stays on its own.
class server {
 public:
  using handler_type = std::function<task<void>(request&, response&)>;

  /// @throws weir::error ERR_INVALID_ARG_VALUE if `handler` is empty
  explicit server(handler_type handler, server_options options = {});
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server();

  /// Binds an address ("[::]:8080", "unix:/run/app.sock"); port 0 takes a free one. Before `serve`, and as often as
  /// there are addresses. @return what it is bound to
  /// @throws weir::error "listen EADDRINUSE: address already in use [::]:8080", ERR_INVALID_ADDRESS,
  /// ERR_SERVER_ALREADY_LISTEN once `serve` has begun
  address listen(std::string_view where);

  /// Serves on a listener that is open already: inherited, handed over, or made with options of its own.
  /// @throws weir::error ERR_SERVER_ALREADY_LISTEN once `serve` has begun
  address listen(tcp_listener listener);

  /// Once in a server's life. Throws weir::error ERR_SERVER_NOT_RUNNING without `listen`, ERR_SERVER_ALREADY_LISTEN
  /// the second time, or what makes accepting impossible.
  task<void> serve();

  /// Any thread; may be called again, with a shorter grace that counts from then. Before `serve`, that ends at once.
  void close(std::chrono::milliseconds grace = std::chrono::seconds(10)) { close(close_options{.grace = grace}); }
  void close(const close_options& options);

  /// Fires when `close` is called. Any thread.
  abort_signal closing() const noexcept { return closed_.signal(); }

  /// Any thread.
  server_statistics statistics() const noexcept;
  const server_options& options() const noexcept { return options_; }

 private:
  friend class connection;
  friend class response;
  struct shard;

  task<void> accept_until_closed(scope& connections);
  task<void> accept_loop(int listener, scope& connections);
  void start(io::descriptor peer, scope& connections);
  bool full() const noexcept;
  void drop(io::descriptor peer);
  task<void> take_connections(io::acceptor& incoming, scope& connections);
  task<void> wait_for_room();
  task<void> drain();
  task<void> serve_connection(tcp_stream stream, std::size_t shard_index);
  std::size_t pick_shard() const noexcept;
  std::uint64_t open_connections() const noexcept;
  task<void> cut_shards();
  static task<void> close_shard(shard* mine);
  static task<void> cut_shard(shard* mine);
  void make_shards(std::size_t count);
  void connection_ended(shard& of) noexcept;
  void close_listeners() noexcept;

  handler_type handler_;
  server_options options_;
  std::vector<std::unique_ptr<tcp_listener>> listeners_;
  std::vector<std::unique_ptr<shard>> shards_;  // one for each worker
  std::atomic<bool> has_shards_{false};
  std::atomic<bool> serving_{false};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::int64_t> grace_;  // in milliseconds, from the last `close`
  std::atomic<std::int64_t> idle_grace_{0};
  weir::event closing_;
  abort_controller closed_;  // tells those outside of `closing_`
  weir::event changed_;      // while closing: `close` was called again, or a connection has ended
  weir::event below_limit_;  // a connection has ended
};

/// Serves `handler` on an address until cancelled.
task<void> serve(std::string_view where, server::handler_type handler, server_options options = {});

}  // namespace weir::net::http
