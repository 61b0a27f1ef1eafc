// net/http_connection.cpp: one connection: reads heads, calls the handler, settles how it ended, keeps deadlines, and
// says goodbye. Rests on the parser, the writer and io's receiver and sender.
#include <weir/net/http_connection.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/inspect.hpp>
#include <weir/core/time.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <optional>

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace weir::net::http {
namespace {

// What a connection that ends with an error has for its last words.
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

/// Bytes that a stretch has to bring; 0: no floor.
std::uint64_t least(const rate_floor& floor) noexcept {
  if (floor.grace.count() <= 0) return 0;
  auto bytes = floor.bytes_per_second * static_cast<std::uint64_t>(floor.grace.count()) / 1000;
  return floor.bytes_per_second == 0 ? 0 : std::max<std::uint64_t>(bytes, 1);
}

task<void> failing(std::exception_ptr why) {
  std::rethrow_exception(std::move(why));
  co_return;
}

}  // namespace

void complain(std::string_view what, const std::exception_ptr& why) {
  std::fputs(fmt::format("weir: {} failed: {}\n", what, describe(why)).c_str(), stderr);
}

connection::connection(server& owner, server::shard& shard, tcp_stream stream, detail::fiber& running)
    : server_(owner),
      shard_(shard),
      fiber_(running),
      worker_(*running.on),
      stream_(std::move(stream)),
      in_(stream_.fd(), owner.options_.receive),
      out_(stream_.fd()),
      parser_(owner.options_.parser) {
  timer_node::fire = timer_fired;
  job::run = flush_now;
  request_.connection_ = this;
  response_.connection_ = this;
  raw_.connection_ = this;
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

void connection::start_timer(std::uint64_t at) noexcept {
  if (timer_node::slot != detail::timer_node::unarmed && timer_node::deadline <= at) return;
  worker_.disarm(*this);
  worker_.arm(*this, at);
}

void connection::set_deadline(std::chrono::milliseconds after, end_reason then) noexcept {
  if (after.count() <= 0) return clear_deadline();
  deadline_ = worker_.loop_time() + static_cast<std::uint64_t>(after.count());
  at_deadline_ = then;
  start_timer(deadline_);
}

void connection::timer_fired(detail::timer_node& node, detail::worker& w) noexcept {
  auto& self = static_cast<connection&>(node);
  auto now = w.loop_time();
  if (self.body_pace_.until <= now) self.give_up(end_reason::slow_body);
  if (self.output_pace_.until <= now) self.judge_output(now);
  if (self.idle_pace_.until <= now) self.judge_idle(now);
  if (self.deadline_ <= now) self.at_deadline_ == end_reason::idle ? self.end_idle() : self.give_up(self.at_deadline_);
  auto next = std::min({self.deadline_, self.body_pace_.until, self.output_pace_.until, self.idle_pace_.until});
  if (next != never) self.start_timer(next);
}

connection::body_wait::body_wait(connection& of) noexcept : of_(of), began_(of.worker_.loop_time()) {
  auto& floor = of.server_.options_.min_body_rate;
  if (least(floor) == 0) return;
  auto grace = static_cast<std::uint64_t>(floor.grace.count());
  of.body_pace_.until = began_ + grace - std::min(grace, of.body_pace_.waited);
  of.start_timer(of.body_pace_.until);
}

connection::body_wait::~body_wait() {
  auto& pace = of_.body_pace_;
  pace.until = never;
  pace.waited += of_.worker_.loop_time() - began_;
  pace.moved += of_.input_.size();
  if (pace.moved >= least(of_.server_.options_.min_body_rate)) pace = {};
}

// The stretch begins without a look at the socket, which is for those who make us wait.
void connection::watch_output() noexcept {
  auto& floor = server_.options_.min_write_rate;
  if (output_pace_.until != never || least(floor) == 0) return;
  output_pace_ = {.until = worker_.loop_time() + static_cast<std::uint64_t>(floor.grace.count())};
  start_timer(output_pace_.until);
}

void connection::judge_output(std::uint64_t now) noexcept {
  output_pace_.until = never;
  if (out_.pending() == 0 && !piece_under_way_) return;
  auto& floor = server_.options_.min_write_rate;
  auto seen = acknowledged();
  if (seen == never) return;
  if (output_pace_.waited != 0 && seen - output_pace_.moved < least(floor)) return give_up(end_reason::slow_reader);
  auto grace = static_cast<std::uint64_t>(floor.grace.count());
  output_pace_ = {.until = now + grace, .waited = grace, .moved = seen};
}

/// Bytes that the client's side has taken so far; `never` where nobody can tell.
std::uint64_t connection::acknowledged() const noexcept {
  tcp_info info = {};
  socklen_t size = sizeof info;
  if (::getsockopt(stream_.fd(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return never;
  if (size < offsetof(tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked) return never;
  return info.tcpi_bytes_acked;
}

void connection::watch_idle() noexcept {
  auto limit = static_cast<std::uint64_t>(server_.options_.idle_timeout.count());
  idle_pace_ = {.until = worker_.loop_time() + limit, .moved = bytes_in_ + bytes_out_};
  start_timer(idle_pace_.until);
}

void connection::judge_idle(std::uint64_t) noexcept {
  idle_pace_.until = never;
  if (!handling_) return;
  if (bytes_in_ + bytes_out_ == idle_pace_.moved) return give_up(end_reason::stalled);
  watch_idle();
}

// Takes effect at the fiber's next wait, if it does not wait now.
void connection::give_up(end_reason why) noexcept {
  if (end_ == end_reason::none && why != end_reason::peer_left) shard_.timeouts.add();
  if (end_ == end_reason::none) end_ = why;
  clear_deadline();
  forget_paces();
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
  if (phase_ != phase::idle || end_ != end_reason::none) return;
  auto patience = server_.idle_grace_.load(std::memory_order_relaxed);
  if (patience == 0) return end_idle();
  if (deadline_ - worker_.loop_time() <= static_cast<std::uint64_t>(patience)) return;
  set_deadline(std::chrono::milliseconds(patience), end_reason::idle);
}

void connection::end_now() noexcept {
  time_is_up_ = true;
  if (leaving_) ::shutdown(stream_.fd(), SHUT_RDWR);
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
  bytes_in_ += input_.size();
  co_return !input_.empty();
}

head_result connection::append_head(response_head& head) {
  auto written = append_response_head(out_.buffer(), head);
  if (written) return written;
  throw error(code_for(written.fault), fmt::format("{}: the response head was refused", code_of(written.fault)));
}

void connection::send_head(const body_framing& framing) {
  header_views_.clear();
  auto& r = response_;
  for (auto& l : r.lines_) header_views_.push_back({r.name_of(l), r.value_of(l)});
  auto& options = server_.options_;
  auto limit = options.max_requests;
  // A client that still waits for `100 Continue` may or may not send the body after this (RFC 9110 10.1.1).
  bool last = closing_ || !r.keep_alive_ || continue_wanted_ || (limit != 0 && requests_ >= limit);
  response_head head;
  head.status = r.status_;
  head.reason = r.reason_;
  std::string announced;
  if (r.has_trailers()) announce_trailers(framing, announced);
  head.headers = header_views_;
  head.body = framing;
  head.request_method = request_.head_->method;
  head.request_version = request_.head_->version;
  head.keep_alive = request_.head_->keep_alive && !last;
  head.announce_keep_alive = options.announce_keep_alive;
  if (head.announce_keep_alive) {
    head.keep_alive_timeout = std::chrono::duration_cast<std::chrono::seconds>(options.keep_alive_timeout);
  }
  head.date_line = shard_.date_line();
  auto written = append_head(head);
  r.head_sent_ = true;
  r.keep_alive_ = written.keep_alive;
  r.chunked_ = written.body == body_framing::kind::chunked;
  r.bodiless_ = written.body == body_framing::kind::none;
  r.counted_ = written.body == body_framing::kind::sized;
  r.until_close_ = written.body == body_framing::kind::until_close;
  r.left_ = framing.length;
}

// Adds a `Trailer` line to the views of the head, over text that is put into `names`.
void connection::announce_trailers(const body_framing& framing, std::string& names) {
  auto& r = response_;
  if (framing.how == body_framing::kind::sized) throw error(errc::err_http_trailer_invalid);
  if (!r.sends_body() || r.has("Trailer") || request_.head_->version == version::http_1_0) return;
  for (auto& each : r.extras_->trailers) names.append(names.empty() ? "" : ", ").append(r.extras_->name_of(each));
  header_views_.push_back({"Trailer", names});
}

task<void> connection::send_piece(std::span<const std::byte> piece) {
  bytes_out_ += piece.size();
  watch_output();
  piece_under_way_ = true;
  auto sent = co_await attempt(out_.send(piece));
  piece_under_way_ = !sent;
  if (sent) co_return;
  response_.keep_alive_ = false;  // a part may have gone
  write_failed_ = !sent.failure().is_cancelled();
  sent.value();
}

// From here on the client's end of stream is the handler's to see, and time has no limit but the server's own.
void connection::take_over() {
  parser_.keep_head();
  handling_ = false;
  clear_deadline();
  forget_paces();
  response_.head_sent_ = response_.ended_ = response_.raw_ = true;
  response_.keep_alive_ = false;
}

// Ends reading, and with it what is still to come; what was to be sent is dropped when the handler has ended.
void connection::cut() noexcept {
  if (end_ == end_reason::none) end_ = end_reason::destroyed;
  clear_deadline();
  ::shutdown(stream_.fd(), SHUT_RD);
}

const address& connection::remote() noexcept {
  if (!std::exchange(remote_known_, true)) remote_ = stream_.remote();
  return remote_;
}

// An answer of the server's own, behind which the connection closes.
void connection::refuse(int status, std::string_view why, std::string_view code) {
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
  auto before = out_.buffer().size();
  auto written = append_response_head(out_.buffer(), head);
  if (written.body == body_framing::kind::sized) out_.buffer().append(body);
  if (!code.empty() && server_.options_.on_client_error) ask_about({code, why, status, input_, remote()}, before);
  bytes_out_ += out_.buffer().size() - before;
  queue_flush();
}

// Lets the hook put its own answer in place of what stands in the buffer from `begin` on.
void connection::ask_about(const client_error& what, std::size_t begin) {
  auto& out = out_.buffer();
  try {
    auto answer = out.substr(begin);
    server_.options_.on_client_error(what, answer);
    out.replace(begin, std::string::npos, answer);
  } catch (...) {
    complain("on_client_error", std::current_exception());
  }
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
  request_.bytes_read_ = 0;
  response_.reset();
  continue_wanted_ = head.expect_continue && head.has_body();
  auto began = phase_ == phase::head ? head_began_ : worker_.loop_time();
  phase_ = phase::request;
  clear_deadline();
  if (server_.options_.idle_timeout.count() > 0) watch_idle();
  if (!head.has_body() || head.method == method::connect) {
    request_.complete_ = parser_.next(input_) == event::message_end;
    return;
  }
  body_pace_ = {};
  if (auto limit = server_.options_.request_timeout; limit.count() > 0) {
    auto passed = std::chrono::milliseconds(worker_.loop_time() - began);
    set_deadline(std::max(limit - passed, std::chrono::milliseconds(1)), end_reason::request_timeout);
  }
}

// Whether the handler is to see a request of the rarer kinds; otherwise it has been answered.
bool connection::acceptable() {
  auto& head = parser_.head();
  if (head.expect_unsupported && !server_.options_.allow_expectations) {
    refuse(417, "only Expect: 100-continue is understood", "HPE_INVALID_EXPECTATION");
    return false;
  }
  if (head.method == method::connect && !server_.options_.allow_connect) {
    refuse(501, "CONNECT is for proxies", "HPE_INVALID_METHOD");
    return false;
  }
  return true;
}

// Handles the request whose head has just been parsed. @return false if the connection ends behind it
task<bool> connection::answer() {
  begin_request();
  if ((parser_.head().expect_unsupported || parser_.head().method == method::connect) && !acceptable()) co_return false;
  handling_ = true;
  in_.arm();
  if (in_.ended()) peer_ended(this);
  auto outcome = co_await attempt(call_handler());
  if (outcome && !response_.ended()) outcome = co_await attempt(finish_response());
  bool told = response_.extras_ != nullptr && response_.extras_->on_end;
  if (outcome && !response_.destroyed_) outcome = co_await attempt(told ? out_.drain() : room());
  handling_ = false;
  if (told) tell_end(outcome && !response_.destroyed_ ? ending::finished : ending::aborted);
  if (!outcome) {
    settle_failure(outcome.failure());
    co_return false;
  }
  if (!response_.keep_alive_ || out_.failure() != 0) co_return false;
  co_return request_.complete() || co_await discard_body();
}

void connection::tell_end(ending how) {
  try {
    response_.extras_->on_end(how);
  } catch (...) {
    complain("on_end", std::current_exception());
  }
}

// A handler has failed: whose fault is it, who is told, and what does the client get?
void connection::settle_failure(const failure& why) {
  bool told_to = fiber_.must_stop() && why.is_cancelled();
  bool broken = lost() && (why.error().syscall() == "write" || why.error().syscall() == "read");
  if (broken || (told_to && end_ == end_reason::peer_left)) shard_.disconnects.add();
  bool clients_fault = fault_.status != 0 && why.code() == make_error_code(fault_.code);
  if (broken || told_to) return;
  if (!clients_fault) report(why.exception());
  if (response_.head_sent_ || response_.destroyed_) return;
  if (!clients_fault) return refuse(500, "the handler failed");
  refuse(fault_.status, fault_.reason, fault_.name);
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
        refuse(parser_.failure().status, parser_.failure().reason, parser_.failure().name);
        co_return;
      default: co_return;
    }
    await_head();
    if (closing_) begin_close();
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
  bool no_words = end_ == end_reason::destroyed || end_ == end_reason::slow_reader || end_ == end_reason::stalled;
  if (no_words || time_is_up_) co_return;
  bool late = end_ == end_reason::head_timeout || (end_ == end_reason::request_timeout && !response_.head_sent_);
  auto code = code_name(make_error_code(errc::err_http_request_timeout));
  if (late) refuse(408, "the request took too long", code);
  if (end_ == end_reason::slow_body && !response_.head_sent_) refuse(408, "the body came too slowly", code);
  out_.flush(fiber_);
  if (out_.pending() != 0) {
    std::chrono::nanoseconds limit = server_.options_.drain_timeout;
    if (end_ != end_reason::none) limit = std::min<std::chrono::nanoseconds>(limit, farewell_time);
    if (!co_await attempt(timeout(limit, out_.drain()))) co_return;
  }
  if (out_.failure() != 0 || in_.ended() || cut_off()) co_return;
  // A close with unread input would reset the connection and take the answer with it (RFC 9112 9.6).
  if (!co_await attempt(stream_.shutdown_write())) co_return;
  auto linger = server_.options_.linger_timeout;
  if (linger.count() > 0) static_cast<void>(co_await attempt(timeout(linger, ignore_rest())));
}

task<void> connection::leave() {
  clear_deadline();
  forget_paces();
  leaving_ = true;
  bool cancelled = fiber_.must_stop();
  if (!cancelled || end_ != end_reason::none) {  // else the server's time is up
    std::optional<detail::shield_guard> shielded;
    if (cancelled) shielded.emplace(fiber_);
    static_cast<void>(co_await attempt(say_goodbye()));
  }
  bool unsent = out_.pending() != 0;
  co_await out_.stop();
  co_await in_.stop();
  while (flush_queued_) static_cast<void>(co_await attempt(next_tick()));
  if (cut_off() || unsent || piece_under_way_) stream_.abort();
}

}  // namespace weir::net::http
