#include <weir/net/http_server.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_connection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <limits>
#include <optional>

#include <sys/socket.h>

namespace weir::net::http {
namespace {

// A request body that a handler did not want is read and thrown away up to this size, for the sake of the
// connection; beyond it closing is cheaper for both.
constexpr std::uint64_t discard_limit = 256 * 1024;

// How long a client may take for the last bytes of its last response (at most the high-water mark and the socket's
// buffer), and what a connection that ends with an error has for its last words.
constexpr auto drain_time = std::chrono::seconds(30);
constexpr auto farewell_time = std::chrono::seconds(2);

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

errc code_for(header_fault what) noexcept {
  switch (what) {
    case header_fault::status: return errc::err_http_invalid_status_code;
    case header_fault::name: return errc::err_invalid_http_token;
    case header_fault::reason:
    case header_fault::value: return errc::err_invalid_char;
    case header_fault::content_length: return errc::err_http_content_length_mismatch;
    default: return errc::err_http_invalid_header_value;
  }
}

void complain(std::string_view what, const std::exception_ptr& why) {
  std::fputs(fmt::format("weir: {} failed: {}\n", what, describe(why)).c_str(), stderr);
}

task<void> failing(std::exception_ptr why) {
  std::rethrow_exception(std::move(why));
  co_return;
}

}  // namespace

// ---- request

std::string_view request::path() const noexcept { return target().substr(0, target().find('?')); }

std::string_view request::query() const noexcept {
  auto mark = target().find('?');
  return mark == std::string_view::npos ? std::string_view() : target().substr(mark + 1);
}

std::string_view request::header(std::string_view name) const noexcept {
  return head_->headers.first(name).value_or(std::string_view());
}

const header_list& request::trailers() const noexcept { return connection_->parser_.trailers(); }

const address& request::remote() const noexcept {
  auto& c = *connection_;
  if (!c.remote_known_) c.remote_ = c.stream_.remote();
  c.remote_known_ = true;
  return c.remote_;
}

task<std::string_view> request::read() {
  auto& c = *connection_;
  c.check_worker();
  while (!complete_) {
    switch (c.parser_.next(c.input_)) {
      case event::body:
        c.continue_wanted_ = false;  // the client has not waited for it
        co_return c.parser_.body();
      case event::message_end:
        complete_ = true;
        c.clear_deadline();
        c.in_.arm();  // for the client's leaving
        break;
      case event::need_more:
        c.parser_.keep_head();
        if (std::exchange(c.continue_wanted_, false) && !c.response_.headers_sent()) {
          append_continue(c.out_.buffer());
          c.queue_flush();
        }
        if (!co_await c.receive()) co_return failure(weir::net_error(ECONNRESET, "read"));
        break;
      case event::error: {
        auto& why = c.parser_.failure();
        auto code = why.status == 413 ? errc::err_out_of_range : errc::err_invalid_arg_value;
        co_return failure(c.blame({why.status, why.reason, code}));
      }
      default: co_return failure(weir::net_error(ECONNRESET, "read"));
    }
  }
  co_return std::string_view();
}

task<std::string> request::text(std::size_t limit) {
  auto& c = *connection_;
  std::string all;
  bool fits = head_->content_length <= limit;
  while (fits) {
    auto piece = co_await read();
    if (piece.empty()) co_return all;
    fits = piece.size() <= limit - all.size();
    if (fits) all.append(piece);
  }
  co_return failure(c.blame({413, "the request body is too long", errc::err_out_of_range}));
}

// ---- response

void response::reset() noexcept {
  text_.clear();
  lines_.clear();
  reason_.clear();
  left_ = 0;
  status_ = 200;
  head_sent_ = ended_ = chunked_ = bodiless_ = counted_ = until_close_ = false;
  keep_alive_ = true;
}

void response::check(std::string_view name, std::string_view value) const {
  if (head_sent_) throw error(errc::err_http_headers_sent);
  if (!is_token(name)) {
    throw error(errc::err_invalid_http_token, fmt::format("Header name must be a valid HTTP token [\"{}\"]", name));
  }
  if (!is_field_value(value)) {
    throw error(errc::err_invalid_char, fmt::format("Invalid character in header content [\"{}\"]", name));
  }
}

response& response::status(int code, std::string_view reason) {
  if (head_sent_) throw error(errc::err_http_headers_sent);
  if (code < 200 || code > 999) {
    throw error(errc::err_http_invalid_status_code, fmt::format("Invalid status code: {}", code));
  }
  if (!is_field_value(reason)) throw error(errc::err_invalid_char, "Invalid character in statusMessage");
  status_ = code;
  reason_ = reason;
  return *this;
}

// Name and value may be views of this very text: what `get` has returned.
void response::add(std::string_view name, std::string_view value) {
  auto at = static_cast<std::uint32_t>(text_.size());
  if (text_.capacity() - text_.size() < name.size() + value.size()) {
    std::string grown;
    grown.reserve(2 * text_.size() + name.size() + value.size());
    grown.append(text_).append(name).append(value);
    text_.swap(grown);
  } else {
    text_.append(name).append(value);
  }
  lines_.push_back({at, static_cast<std::uint32_t>(name.size()), at + static_cast<std::uint32_t>(name.size()),
                    static_cast<std::uint32_t>(value.size())});
}

response& response::set(std::string_view name, std::string_view value) {
  check(name, value);
  if (!lines_.empty()) remove(name);
  add(name, value);
  return *this;
}

response& response::append(std::string_view name, std::string_view value) {
  check(name, value);
  add(name, value);
  return *this;
}

response& response::remove(std::string_view name) {
  if (head_sent_) throw error(errc::err_http_headers_sent);
  std::erase_if(lines_, [&](const line& l) { return equal_ignoring_case(name_of(l), name); });
  return *this;
}

std::string_view response::get(std::string_view name) const noexcept {
  auto found =
      std::find_if(lines_.begin(), lines_.end(), [&](const line& l) { return equal_ignoring_case(name_of(l), name); });
  return found == lines_.end() ? std::string_view() : value_of(*found);
}

response& response::close_connection() noexcept {
  keep_alive_ = false;
  return *this;
}

bool response::sends_body() const noexcept {
  return connection_->request_.method() != method::head && status_ != 204 && status_ != 205 && status_ != 304;
}

/// The framing that the handler's headers ask for. What they have wrong, the writer refuses.
body_framing response::framing(body_framing otherwise) const noexcept {
  auto length = get("Content-Length");
  if (length.empty()) return get("Transfer-Encoding").empty() ? otherwise : body_framing::chunked();
  std::uint64_t bytes = 0;
  auto [end, bad] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  return bad == std::errc() && end == length.data() + length.size() ? body_framing::sized(bytes) : otherwise;
}

// Sends the head if it is still to be sent, and counts a piece of the body.
void response::begin_piece(std::size_t size) {
  auto& c = *connection_;
  c.check_worker();
  if (ended_) throw error(errc::err_stream_write_after_end);
  if (!head_sent_) {
    auto how = framing(body_framing::chunked());
    if (how.how == body_framing::kind::sized && sends_body() && size > how.length) {
      throw error(errc::err_http_content_length_mismatch);
    }
    c.send_head(how);
  }
  if (!counted_) return;
  if (size > left_) throw error(errc::err_http_content_length_mismatch);
  left_ -= size;
}

io::sender::drain_awaiter response::write(std::string_view chunk) {
  auto& c = *connection_;
  begin_piece(chunk.size());
  if (chunked_) {
    append_chunk(c.out_.buffer(), chunk);
  } else if (!bodiless_) {
    c.out_.buffer().append(chunk);
  }
  c.queue_flush();
  return c.room();
}

task<void> response::send(std::span<const std::byte> piece) {
  auto& c = *connection_;
  begin_piece(piece.size());
  if (bodiless_ || piece.empty()) {
    c.queue_flush();
    co_return;
  }
  if (chunked_) append_chunk_head(c.out_.buffer(), piece.size());
  auto sent = co_await attempt(c.out_.send(piece));
  if (!sent) {
    keep_alive_ = false;  // a part may have gone
    c.write_failed_ = !sent.failure().is_cancelled();
    sent.value();
  }
  if (!chunked_) co_return;
  c.out_.buffer().append(chunk_end);
  c.queue_flush();
}

// Head and body at once, hence with Content-Length unless the handler has asked for chunks.
void response::start_with_end(std::string_view body) {
  auto& c = *connection_;
  auto how = framing(body_framing::sized(body.size()));
  bool sized = how.how == body_framing::kind::sized;
  if (sized && sends_body() && how.length != body.size()) throw error(errc::err_http_content_length_mismatch);
  // To HEAD, nothing is not the length that GET would have (RFC 9110 8.6).
  if (sized && how.length == 0 && c.request_.method() == method::head && get("Content-Length").empty()) {
    how.how = body_framing::kind::none;
  }
  // More of the request than is worth reading is still to come: say that the connection ends here.
  if (!c.request_.complete() && c.request_.head().content_length > discard_limit) keep_alive_ = false;
  c.send_head(how);
}

io::sender::drain_awaiter response::end(std::string_view body) {
  auto& c = *connection_;
  c.check_worker();
  if (ended_) throw error(errc::err_stream_write_after_end);
  if (!head_sent_) start_with_end(body);
  if (counted_ && body.size() != left_) throw error(errc::err_http_content_length_mismatch);
  left_ = 0;
  if (chunked_) {
    append_chunk(c.out_.buffer(), body);
    append_last_chunk(c.out_.buffer());
  } else if (!bodiless_) {
    c.out_.buffer().append(body);
  }
  ended_ = true;
  c.queue_flush();
  return c.room();
}

// ---- connection

connection::connection(server& owner, server::shard& shard, tcp_stream stream, detail::fiber& running)
    : server_(owner),
      shard_(shard),
      fiber_(running),
      worker_(*running.on),
      stream_(std::move(stream)),
      in_(stream_.fd()),
      out_(stream_.fd()),
      parser_(owner.options_.parser) {
  timer_node::fire = timer_fired;
  job::run = flush_now;
  request_.connection_ = this;
  response_.connection_ = this;
  next = shard_.first;
  if (next != nullptr) next->link_ = &next;
  link_ = &shard_.first;
  shard_.first = this;
  in_.on_end(peer_ended, this);
}

connection::~connection() {
  worker_.disarm(*this);
  *link_ = next;
  if (next != nullptr) next->link_ = link_;
}

void connection::set_deadline(std::chrono::milliseconds after, end_reason then) noexcept {
  if (after.count() <= 0) return clear_deadline();
  deadline_ = worker_.loop_time() + static_cast<std::uint64_t>(after.count());
  at_deadline_ = then;
  if (timer_node::slot != detail::timer_node::unarmed && timer_node::deadline <= deadline_) return;
  worker_.disarm(*this);
  worker_.arm(*this, deadline_);
}

void connection::timer_fired(detail::timer_node& node, detail::worker& w) noexcept {
  auto& self = static_cast<connection&>(node);
  if (self.deadline_ == ~std::uint64_t{0}) return;
  if (self.deadline_ > w.loop_time()) {
    w.arm(self, self.deadline_);
    return;
  }
  if (self.at_deadline_ == end_reason::idle) return self.end_idle();
  self.give_up(self.at_deadline_);
}

// Takes effect at the fiber's next wait, if it does not wait now.
void connection::give_up(end_reason why) noexcept {
  if (end_ == end_reason::none) end_ = why;
  clear_deadline();
  fiber_.cancel();
}

// Not a cancellation, because a request may have arrived that the fiber has not seen: that one is still answered.
void connection::end_idle() noexcept {
  if (end_ == end_reason::none) end_ = end_reason::idle;
  closing_ = true;
  clear_deadline();
  ::shutdown(stream_.fd(), SHUT_RD);
}

void connection::peer_ended(void* self) noexcept {
  auto& c = *static_cast<connection*>(self);
  if (!c.handling_ || c.end_ != end_reason::none || c.server_.options_.allow_half_open) return;
  c.give_up(end_reason::peer_left);
}

void connection::begin_close() noexcept {
  closing_ = true;
  if (phase_ == phase::idle) end_idle();
}

void connection::check_worker() const {
  if (detail::current_worker() == &worker_) return;
  throw error(errc::err_invalid_state,
              "the bodies of a request and its response belong to one worker: use spawn_local, not spawn, for "
              "children that read or write them");
}

// Everything that one stretch of running has appended goes out with one send, as soon as it suspends.
void connection::queue_flush() noexcept {
  if (std::exchange(flush_queued_, true)) return;
  worker_.push_tick(detail::ready::of(static_cast<detail::job&>(*this)));
}

void connection::flush_now(detail::job& j, detail::worker&) noexcept {
  auto& self = static_cast<connection&>(j);
  self.flush_queued_ = false;
  self.out_.flush(self.fiber_);
}

// @return false at the end of the stream
task<bool> connection::receive() {
  auto got = co_await attempt(in_.next());
  if (!got) co_return got.failure();
  input_ = as_text(*got);
  co_return !input_.empty();
}

void connection::send_head(const body_framing& framing) {
  header_views_.clear();
  auto& r = response_;
  for (auto& l : r.lines_) header_views_.push_back({r.name_of(l), r.value_of(l)});
  auto& limit = server_.options_.max_requests;
  // A client that still waits for `100 Continue` may or may not send the body after this (RFC 9110 10.1.1).
  bool last = closing_ || !r.keep_alive_ || continue_wanted_ || (limit != 0 && requests_ >= limit);
  response_head head;
  head.status = r.status_;
  head.reason = r.reason_;
  head.headers = header_views_;
  head.body = framing;
  head.request_method = request_.head_->method;
  head.request_version = request_.head_->version;
  head.keep_alive = request_.head_->keep_alive && !last;
  head.date_line = shard_.date_line();
  auto written = append_response_head(out_.buffer(), head);
  if (!written) {
    throw error(code_for(written.fault), fmt::format("{}: the response head was refused", code_of(written.fault)));
  }
  r.head_sent_ = true;
  r.keep_alive_ = written.keep_alive;
  r.chunked_ = written.body == body_framing::kind::chunked;
  r.bodiless_ = written.body == body_framing::kind::none;
  r.counted_ = written.body == body_framing::kind::sized;
  r.until_close_ = written.body == body_framing::kind::until_close;
  r.left_ = framing.length;
}

// An answer of the server's own, behind which the connection closes.
void connection::refuse(int status, std::string_view why) {
  if (std::exchange(refused_, true)) return;
  shard_.errors.add();
  response_head head;
  head.status = status;
  head.keep_alive = false;
  head.date_line = shard_.date_line();
  header text{"Content-Type", "text/plain; charset=utf-8"};
  head.headers = {&text, 1};
  auto body = fmt::format("{} {}\n", status_text(status), why);
  head.body = body_framing::sized(body.size());
  if (phase_ == phase::request) head.request_method = request_.head_->method;
  auto written = append_response_head(out_.buffer(), head);
  if (written.body == body_framing::kind::sized) out_.buffer().append(body);
  queue_flush();
}

error connection::blame(const fault& what) {
  fault_ = what;
  response_.close_connection();
  return error(what.code, fmt::format("{} {}: {}", request_.method_text(), request_.target(), what.reason));
}

void connection::report(const std::exception_ptr& why) {
  shard_.handler_failures.add();
  try {
    if (server_.options_.on_error) return server_.options_.on_error(request_, why);
  } catch (...) {
    complain("on_error", std::current_exception());
  }
  complain(fmt::format("{} {}", request_.method_text(), request_.target()), why);
}

task<void> connection::finish_response() { co_await response_.end(); }

// A handler need not be a coroutine; one that throws at once fails all the same.
task<void> connection::call_handler() {
  try {
    return server_.handler_(request_, response_);
  } catch (...) {
    return failing(std::current_exception());
  }
}

// Reads the rest of a body that the handler did not want, so that the next request can be found behind it.
// @return false if it is not worth it
task<bool> connection::discard_body() {
  if (continue_wanted_) co_return false;
  std::uint64_t seen = 0;
  while (!request_.complete() && seen <= discard_limit) {
    auto piece = co_await attempt(request_.read());
    if (!piece) co_return false;
    seen += piece->size();
  }
  co_return request_.complete();
}

void connection::begin_request() {
  auto& head = parser_.head();
  ++requests_;
  shard_.requests.add();
  request_.head_ = &head;
  request_.number_ = requests_;
  request_.complete_ = false;
  response_.reset();
  continue_wanted_ = head.expect_continue && head.has_body();
  auto began = phase_ == phase::head ? head_began_ : worker_.loop_time();
  phase_ = phase::request;
  clear_deadline();
  if (!head.has_body()) {
    request_.complete_ = parser_.next(input_) == event::message_end;
  } else if (auto limit = server_.options_.request_timeout; limit.count() > 0) {
    auto passed = std::chrono::milliseconds(worker_.loop_time() - began);
    set_deadline(std::max(limit - passed, std::chrono::milliseconds(1)), end_reason::request_timeout);
  }
}

// Handles the request whose head has just been parsed. @return false if the connection ends behind it
task<bool> connection::answer() {
  begin_request();
  if (parser_.head().expect_unsupported) {
    refuse(417, "only Expect: 100-continue is understood");
    co_return false;
  }
  handling_ = true;
  in_.arm();
  if (in_.ended()) peer_ended(this);
  auto outcome = co_await attempt(call_handler());
  if (outcome && !response_.ended()) outcome = co_await attempt(finish_response());
  if (outcome) outcome = co_await attempt(room());
  handling_ = false;
  if (!outcome) {
    settle_failure(outcome.failure());
    co_return false;
  }
  if (!response_.keep_alive_ || out_.failure() != 0) co_return false;
  co_return request_.complete() || co_await discard_body();
}

// A handler has failed: whose fault is it, who is told, and what does the client get?
void connection::settle_failure(const failure& why) {
  bool told_to = fiber_.must_stop() && why.is_cancelled();
  bool broken = lost() && (why.error().syscall() == "write" || why.error().syscall() == "read");
  if (broken || (told_to && end_ == end_reason::peer_left)) shard_.disconnects.add();
  bool clients_fault = fault_.status != 0 && why.code() == make_error_code(fault_.code);
  if (broken || told_to) return;
  if (!clients_fault) report(why.exception());
  if (response_.headers_sent()) return;
  refuse(clients_fault ? fault_.status : 500, clients_fault ? fault_.reason : "the handler failed");
}

task<void> connection::run() {
  set_deadline(server_.options_.header_timeout, end_reason::head_timeout);
  for (;;) {
    switch (parser_.next(input_)) {
      case event::head:
        if (!co_await answer()) co_return;
        continue;
      case event::message_end: continue;
      case event::need_more: break;
      case event::error:
        phase_ = phase::head;
        refuse(parser_.failure().status, parser_.failure().reason);
        co_return;
      default: co_return;
    }
    if (parser_.idle() && closing_) co_return;
    await_head();
    auto more = co_await attempt(receive());
    if (!more || !*more) co_return;
  }
}

// Sets the deadline for what is received next.
void connection::await_head() {
  auto& options = server_.options_;
  if (parser_.idle()) {
    if (phase_ != phase::idle) set_deadline(options.keep_alive_timeout, end_reason::idle);
    phase_ = phase::idle;
    return;
  }
  if (phase_ == phase::head) return;
  phase_ = phase::head;
  head_began_ = worker_.loop_time();
  // The first head counts from the beginning of the connection.
  if (requests_ != 0) set_deadline(options.header_timeout, end_reason::head_timeout);
}

task<void> connection::ignore_rest() {
  while (co_await receive()) {
  }
}

task<void> connection::say_goodbye() {
  bool late = end_ == end_reason::head_timeout || (end_ == end_reason::request_timeout && !response_.headers_sent());
  if (late) refuse(408, "the request took too long");
  out_.flush(fiber_);
  if (out_.pending() != 0) {
    std::chrono::nanoseconds limit = end_ == end_reason::none ? drain_time : farewell_time;
    if (!co_await attempt(timeout(limit, out_.drain()))) co_return;
  }
  if (out_.failure() != 0 || in_.ended() || cut_off()) co_return;
  // A close with unread input would reset the connection and take the answer with it (RFC 9112 9.6).
  if (!co_await attempt(stream_.shutdown_write())) co_return;
  static_cast<void>(co_await attempt(timeout(farewell_time, ignore_rest())));
}

task<void> connection::leave() {
  clear_deadline();
  bool cancelled = fiber_.must_stop();
  if (!cancelled || end_ != end_reason::none) {  // else the server's time is up
    std::optional<detail::shield_guard> shielded;
    if (cancelled) shielded.emplace(fiber_);
    static_cast<void>(co_await attempt(say_goodbye()));
  }
  co_await out_.stop();
  co_await in_.stop();
  while (flush_queued_) static_cast<void>(co_await attempt(next_tick()));
  if (cut_off()) stream_.abort();
}

// ---- server

server::server(handler_type handler, server_options options)
    : handler_(std::move(handler)), options_(std::move(options)), grace_(std::numeric_limits<std::int64_t>::max()) {
  if (!handler_) throw error(errc::err_invalid_arg_value, "net::http::server: the handler is empty");
  if (options_.max_body != 0) options_.parser.max_body = options_.max_body;
}

server::~server() = default;

address server::listen(std::string_view where) {
  if (serving_.load(std::memory_order_acquire)) throw error(errc::err_server_already_listen);
  listeners_.push_back(std::make_unique<tcp_listener>(where, options_.listen));
  return listeners_.back()->local();
}

void server::make_shards(std::size_t count) {
  while (shards_.size() < count) shards_.push_back(std::make_unique<shard>());
  has_shards_.store(true, std::memory_order_release);
}

std::size_t server::pick_shard() const noexcept {
  std::size_t best = 0;
  auto least = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto open = shards_[i]->open.load(std::memory_order_relaxed);
    if (open < least) {
      least = open;
      best = i;
    }
  }
  return best;
}

std::uint64_t server::open_connections() const noexcept {
  std::uint64_t all = 0;
  for (auto& each : shards_) all += each->open.load();
  return all;
}

task<void> server::wait_for_room() {
  while (options_.max_connections != 0 && open_connections() >= options_.max_connections) {
    below_limit_.reset();
    std::atomic_thread_fence(std::memory_order_seq_cst);  // either we see the end of a connection or it sees us
    if (open_connections() >= options_.max_connections) co_await below_limit_.wait();
  }
}

task<void> server::take_connections(io::acceptor& incoming, scope& connections) {
  for (;;) {
    auto peer = co_await incoming.next();
    co_await wait_for_room();
    auto index = pick_shard();
    shards_[index]->open.fetch_add(1);
    connections.spawn_on(
        static_cast<unsigned>(index),
        [this, index](tcp_stream stream) { return serve_connection(std::move(stream), index); },
        tcp_stream(std::move(peer)));
  }
}

task<void> server::accept_loop(int listener, scope& connections) {
  io::acceptor_options options;
  if (options_.max_connections != 0) {
    options.credit = static_cast<unsigned>(std::min<std::size_t>(options.credit, options_.max_connections));
  }
  io::acceptor incoming(listener, options);
  auto outcome = co_await attempt(take_connections(incoming, connections));
  co_await incoming.stop();
  outcome.value();
}

task<void> server::accept_until_closed(scope& connections) {
  co_await with_scope([this, &connections](scope& accepting) -> task<void> {
    for (auto& each : listeners_) {
      accepting.spawn_local([this, &connections, fd = each->fd()]() { return accept_loop(fd, connections); });
    }
    co_await closing_.wait();
    accepting.cancel();
  });
}

void server::connection_ended(shard& of) noexcept {
  of.open.fetch_sub(1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!below_limit_.is_set()) below_limit_.set();
  if (closing_.is_set()) changed_.set();
}

task<void> server::serve_connection(tcp_stream stream, std::size_t shard_index) {
  auto& running = co_await detail::this_fiber{};
  struct place {
    server& of;
    shard& in;
    ~place() { of.connection_ended(in); }
  } place{*this, *shards_[shard_index]};
  place.in.accepted.add();
  connection c(*this, place.in, std::move(stream), running);
  if (closing_.is_set()) c.begin_close();
  auto outcome = co_await attempt(c.run());
  co_await c.leave();
  outcome.value();
}

// Waits until every connection has ended, or until they have had their time.
task<void> server::drain() {
  auto& here = *(co_await detail::this_fiber{}).on;
  auto until = std::chrono::steady_clock::time_point::max();
  for (;;) {
    changed_.reset();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (open_connections() == 0) co_return;
    auto now = here.clock();
    until = std::min(until, now + std::chrono::milliseconds(grace_.load()));
    if (until <= now) co_return;
    auto outcome = co_await attempt(timeout(until - now, changed_.wait()));
    if (!outcome && outcome.failure().is_cancelled()) co_return;
  }
}

void server::close_listeners() noexcept {
  for (auto& each : listeners_) each->close();
}

task<void> server::serve() {
  if (listeners_.empty()) throw error(errc::err_server_not_running, "serve: listen() comes first");
  if (serving_.exchange(true)) throw error(errc::err_server_already_listen, "serve: once in a server's life");
  make_shards((co_await detail::this_fiber{}).on->home().workers().size());
  scope_options options;
  options.on_child_failure = [](const std::exception_ptr& why) { complain("a connection", why); };
  auto outcome = co_await attempt(with_scope(
      [this](scope& connections) -> task<void> {
        auto accepted = co_await attempt(accept_until_closed(connections));
        close_listeners();
        accepted.value();
        for (unsigned i = 0; i < shards_.size(); ++i) connections.spawn_on(i, close_shard, shards_[i].get());
        co_await drain();
        connections.cancel();
      },
      std::move(options)));
  close_listeners();
  outcome.value();
}

task<void> server::close_shard(shard* mine) {
  for (auto* each = mine->first; each != nullptr; each = each->next) each->begin_close();
  co_return;
}

void server::close(std::chrono::milliseconds grace) {
  // A month is as good as for ever, and added to any time it does not overflow.
  auto wanted = std::clamp<std::int64_t>(grace.count(), 0, std::chrono::milliseconds(std::chrono::hours(720)).count());
  auto known = grace_.load();
  while (wanted < known && !grace_.compare_exchange_weak(known, wanted)) {
  }
  closing_.set();
  changed_.set();
}

server_statistics server::statistics() const noexcept {
  server_statistics all;
  if (!has_shards_.load(std::memory_order_acquire)) return all;
  for (auto& each : shards_) {
    all.accepted += each->accepted.get();
    all.open += each->open.load(std::memory_order_relaxed);
    all.requests += each->requests.get();
    all.errors += each->errors.get();
    all.handler_failures += each->handler_failures.get();
    all.disconnects += each->disconnects.get();
  }
  return all;
}

task<void> serve(std::string_view where, server::handler_type handler, server_options options) {
  server s(std::move(handler), std::move(options));
  s.listen(where);
  co_await s.serve();
}

}  // namespace weir::net::http
