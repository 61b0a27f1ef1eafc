#include <weir/net/http_server.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_connection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <limits>

namespace weir::net::http {
namespace {

// A request body that a handler did not want is read and thrown away up to this size, for the sake of the
// connection; beyond it closing is cheaper for both.
constexpr std::uint64_t discard_limit = 256 * 1024;

// What a connection that ends with an error has to send its last words.
constexpr auto farewell_time = std::chrono::seconds(2);

std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
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
  while (!complete_) {
    switch (c.parser_.next(c.input_)) {
      case event::body: co_return c.parser_.body();
      case event::message_end: complete_ = true; break;
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
        c.response_.close_connection();
        co_return failure(error(why.status == 413 ? errc::err_out_of_range : errc::err_invalid_arg_value,
                                fmt::format("{}: {}", why.name, why.reason)));
      }
      default: co_return failure(weir::net_error(ECONNRESET, "read"));
    }
  }
  co_return std::string_view();
}

task<std::string> request::text(std::size_t limit) {
  std::string all;
  for (;;) {
    auto piece = co_await read();
    if (piece.empty()) co_return all;
    if (piece.size() > limit - all.size()) {
      co_return failure(error(errc::err_out_of_range, fmt::format("the request body is longer than {} bytes", limit)));
    }
    all.append(piece);
  }
}

// ---- response

void response::reset() noexcept {
  text_.clear();
  lines_.clear();
  reason_.clear();
  left_ = 0;
  status_ = 200;
  head_sent_ = ended_ = chunked_ = bodiless_ = counted_ = false;
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

void response::add(std::string_view name, std::string_view value) {
  auto at = static_cast<std::uint32_t>(text_.size());
  text_.append(name).append(value);
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

io::sender::drain_awaiter response::write(std::string_view chunk) {
  auto& c = *connection_;
  if (ended_) throw error(errc::err_stream_write_after_end);
  if (!head_sent_) {
    auto length = get("Content-Length");
    std::uint64_t bytes = 0;
    auto [end, bad] = std::from_chars(length.data(), length.data() + length.size(), bytes);
    bool sized = !length.empty() && bad == std::errc() && end == length.data() + length.size();
    c.send_head(sized ? body_framing::sized(bytes) : body_framing::chunked());
    counted_ = sized;
    left_ = bytes;
  }
  if (counted_ && chunk.size() > left_) throw error(errc::err_http_content_length_mismatch);
  left_ -= counted_ ? chunk.size() : 0;
  if (!bodiless_) {
    if (chunked_) {
      append_chunk(c.out_.buffer(), chunk);
    } else {
      c.out_.buffer().append(chunk);
    }
  }
  c.queue_flush();
  return c.room();
}

io::sender::drain_awaiter response::end(std::string_view body) {
  auto& c = *connection_;
  if (ended_) throw error(errc::err_stream_write_after_end);
  if (!head_sent_) {
    c.send_head(body_framing::sized(body.size()));
    if (!bodiless_) c.out_.buffer().append(body);
  } else {
    if (counted_ && body.size() != left_) throw error(errc::err_http_content_length_mismatch);
    if (!bodiless_ && chunked_) {
      append_chunk(c.out_.buffer(), body);
      append_last_chunk(c.out_.buffer());
    } else if (!bodiless_) {
      c.out_.buffer().append(body);
    }
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
  self.give_up(self.at_deadline_);
}

void connection::give_up(end_reason why) noexcept {
  if (end_ == end_reason::none) end_ = why;
  clear_deadline();
  fiber_.cancel();
}

void connection::peer_ended(void* self) noexcept {
  auto& c = *static_cast<connection*>(self);
  if (!c.handling_ || c.server_.options_.allow_half_open) return;
  c.shard_.disconnects.add();
  c.give_up(end_reason::peer_left);
}

void connection::begin_close() noexcept {
  closing_ = true;
  if (idle_ && !handling_) give_up(end_reason::server_closed);
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
  auto got = co_await in_.next();
  input_ = as_text(got);
  co_return !got.empty();
}

void connection::send_head(const body_framing& framing) {
  header_views_.clear();
  auto& r = response_;
  for (auto& l : r.lines_) header_views_.push_back({r.name_of(l), r.value_of(l)});
  auto& limit = server_.options_.max_requests;
  bool last = closing_ || !r.keep_alive_ || (limit != 0 && requests_ >= limit);
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
    throw error(errc::err_invalid_arg_value, fmt::format("{}: the response head was refused", code_of(written.fault)));
  }
  r.head_sent_ = true;
  r.keep_alive_ = written.keep_alive;
  r.chunked_ = written.body == body_framing::kind::chunked;
  r.bodiless_ = written.body == body_framing::kind::none;
}

// An answer of the server's own, behind which the connection closes.
void connection::refuse(int status, std::string_view why) {
  shard_.errors.add();
  response_head head;
  head.status = status;
  head.keep_alive = false;
  head.date_line = shard_.date_line();
  header text{"Content-Type", "text/plain; charset=utf-8"};
  head.headers = {&text, 1};
  auto body = fmt::format("{} {}\n", status_text(status), why);
  head.body = body_framing::sized(body.size());
  append_response_head(out_.buffer(), head);
  out_.buffer().append(body);
  queue_flush();
}

void connection::report(std::exception_ptr why) {
  shard_.handler_failures.add();
  if (server_.options_.on_error) return server_.options_.on_error(request_, why);
  fmt::print(stderr, "weir: {} {} failed: {}\n", request_.method_text(), request_.target(), describe(why));
}

task<void> connection::finish_response() {
  if (response_.ended()) co_return;
  co_await response_.end();
}

// @return false if the connection has to close instead
task<bool> connection::discard_body() {
  std::uint64_t seen = 0;
  while (!request_.complete()) {
    auto piece = co_await attempt(request_.read());
    if (!piece) co_return false;
    seen += piece->size();
    if (seen > discard_limit) co_return false;
  }
  co_return true;
}

// Handles the request whose head has just been parsed. @return false if the connection ends behind it
task<bool> connection::answer() {
  auto& head = parser_.head();
  ++requests_;
  shard_.requests.add();
  request_.head_ = &head;
  request_.number_ = requests_;
  request_.complete_ = false;
  response_.reset();
  idle_ = false;
  if (head.expect_unsupported) {
    refuse(417, "only Expect: 100-continue is understood");
    co_return false;
  }
  continue_wanted_ = head.expect_continue && head.has_body();
  if (head.has_body()) {
    set_deadline(server_.options_.request_timeout, end_reason::request_timeout);
  } else {
    clear_deadline();
    if (parser_.next(input_) == event::message_end) request_.complete_ = true;
  }
  handling_ = true;
  if (!in_.has_data()) in_.arm();
  auto outcome = co_await attempt(server_.handler_(request_, response_));
  if (outcome) outcome = co_await attempt(finish_response());
  handling_ = false;
  if (!outcome) {
    if (end_ != end_reason::none || fiber_.must_stop()) co_return false;
    if (outcome.failure().error().syscall() != "write") report(outcome.failure().exception());
    if (response_.headers_sent()) co_return false;
    int status = parser_.failure().status;
    refuse(status != 0 ? status : 500, status != 0 ? parser_.failure().reason : "the handler failed");
    co_return false;
  }
  if (!response_.keep_alive_ || out_.failure() != 0) co_return false;
  if (!request_.complete()) co_return co_await discard_body();
  co_return true;
}

task<void> connection::run() {
  auto& options = server_.options_;
  set_deadline(options.header_timeout, end_reason::head_timeout);
  for (bool going = true; going;) {
    switch (parser_.next(input_)) {
      case event::head: going = co_await answer(); continue;
      case event::message_end: continue;
      case event::need_more: break;
      case event::error:
        refuse(parser_.failure().status, parser_.failure().reason);
        going = false;
        continue;
      default: going = false; continue;
    }
    if (closing_ && parser_.idle()) break;
    bool between = parser_.idle();
    if (between && !idle_) set_deadline(options.keep_alive_timeout, end_reason::idle_timeout);
    idle_ = between;
    auto more = co_await attempt(receive());
    if (!more || !*more) break;
    if (between) set_deadline(options.header_timeout, end_reason::head_timeout);
  }
  detail::shield_guard shielded(fiber_);
  co_await leave();
}

task<void> connection::ignore_rest() {
  while (co_await receive()) {
  }
}

// Says what is still to be said, then gives everything back.
task<void> connection::leave() {
  clear_deadline();
  if (end_ == end_reason::head_timeout || end_ == end_reason::request_timeout) {
    bool fair = requests_ == 0 || !parser_.idle();
    if (fair && !response_.headers_sent()) refuse(408, "the request took too long");
  }
  out_.flush(fiber_);
  bool whole = end_ != end_reason::peer_left && out_.failure() == 0;
  if (whole && out_.pending() != 0) whole = (co_await attempt(timeout(farewell_time, out_.drain()))).has_value();
  // A close with unread input would reset the connection and take the answer with it (RFC 9112 9.6).
  bool linger = whole && !in_.ended() && end_ != end_reason::idle_timeout && end_ != end_reason::server_closed;
  if (linger && co_await attempt(stream_.shutdown_write())) {
    static_cast<void>(co_await attempt(timeout(farewell_time, ignore_rest())));
  }
  co_await out_.stop();
  co_await in_.stop();
}

// ---- server

server::server(handler_type handler, server_options options)
    : handler_(std::move(handler)), options_(std::move(options)) {
  if (options_.max_body != 0) options_.parser.max_body = options_.max_body;
}

server::~server() = default;

address server::listen(std::string_view where) {
  listeners_.push_back(std::make_unique<tcp_listener>(where, options_.listen));
  return listeners_.back()->local();
}

std::size_t server::pick_shard() noexcept {
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

task<void> server::accept_loop(tcp_listener& listener, scope& s) {
  while (!s.closing()) {
    auto stream = co_await attempt(listener.accept());
    if (!stream) co_return;
    auto index = pick_shard();
    auto& shard = *shards_[index];
    shard.open.fetch_add(1, std::memory_order_relaxed);
    s.spawn_on(
        static_cast<unsigned>(index),
        [this, index](tcp_stream peer) { return serve_connection(std::move(peer), index); }, std::move(*stream));
  }
}

task<void> server::serve_connection(tcp_stream stream, std::size_t shard_index) {
  auto& running = co_await detail::this_fiber{};
  auto& shard = *shards_[shard_index];
  shard.accepted.add();
  {
    connection c(*this, shard, std::move(stream), running);
    if (closing_.load(std::memory_order_acquire)) c.begin_close();
    co_await c.run();
  }
  shard.closed.add();
  shard.open.fetch_sub(1, std::memory_order_relaxed);
  below_limit_.set();
}

task<void> server::serve() {
  if (listeners_.empty()) throw error(errc::err_server_not_running, "serve: listen() comes first");
  auto workers = (co_await detail::this_fiber{}).on->home().workers().size();
  while (shards_.size() < workers) shards_.push_back(std::make_unique<shard>());
  scope_options options;
  options.on_child_failure = [](std::exception_ptr why) {
    fmt::print(stderr, "weir: a connection failed: {}\n", describe(why));
  };
  co_await with_scope(
      [this](scope& s) -> task<void> {
        running_.store(&s, std::memory_order_release);
        if (closing_.load(std::memory_order_acquire)) s.close(std::chrono::seconds(0));
        co_await with_scope([this, &s](scope& accepting) -> task<void> {
          for (auto& each : listeners_) accepting.spawn_local([this, &each, &s]() { return accept_loop(*each, s); });
          co_await s.closed();
          accepting.cancel();
        });
        for (auto& each : listeners_) each->close();
      },
      std::move(options));
  running_.store(nullptr, std::memory_order_release);
}

void server::close(std::chrono::milliseconds grace) {
  closing_.store(true, std::memory_order_release);
  auto* s = running_.load(std::memory_order_acquire);
  if (s == nullptr) return;
  for (unsigned i = 0; i < shards_.size(); ++i) {
    s->spawn_on(
        i,
        [](shard* mine) -> task<void> {
          for (auto* each = mine->first; each != nullptr;) {
            auto* following = each->next;
            each->begin_close();
            each = following;
          }
          co_return;
        },
        shards_[i].get());
  }
  s->close(grace);
}

server_statistics server::statistics() const noexcept {
  server_statistics all;
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
