// net/http_request.cpp: what a handler asks of its request: the parts of the target, and the body as it arrives. Rests
// on the connection, whose parser and receiver it drives.
#include <weir/net/http_connection.hpp>

#include <cerrno>
#include <utility>

namespace weir::net::http {

namespace {

constexpr std::size_t continue_size = std::string_view("HTTP/1.1 100 Continue\r\n\r\n").size();

// What follows "://" in an absolute-form target, empty for the other forms.
std::string_view behind_scheme(const request_head& head) noexcept {
  if (head.form != target_form::absolute) return {};
  return head.target.substr(head.target.find("://") + 3);
}

}  // namespace

std::string_view request::path() const noexcept {
  auto& head = *head_;
  if (head.form == target_form::authority) return {};
  if (head.form != target_form::absolute) return head.target.substr(0, head.target.find('?'));
  auto rest = behind_scheme(head);
  auto begin = rest.find_first_of("/?");
  if (begin == std::string_view::npos || rest[begin] == '?') return "/";
  rest.remove_prefix(begin);
  return rest.substr(0, rest.find('?'));
}

std::string_view request::query() const noexcept {
  auto mark = target().find('?');
  return mark == std::string_view::npos ? std::string_view() : target().substr(mark + 1);
}

std::string_view request::host() const noexcept { return authority_of(*head_); }

bool request::expects_continue() const noexcept { return connection_->continue_wanted_; }

bool request::wants_upgrade() const noexcept {
  return head_->upgrade && (method() == http::method::connect || head_->version != version::http_1_0);
}

bool request::aborted() const noexcept {
  auto& c = *connection_;
  return c.end_ != connection::end_reason::none || (c.lost() && !c.response_.finished());
}

bool request::server_closing() const noexcept { return connection_->closing_; }

abort_signal request::closing() const noexcept { return connection_->server_.closing(); }

connection_figures request::figures() const noexcept {
  auto& c = *connection_;
  return {.requests = c.requests_, .bytes_in = c.bytes_in_, .bytes_out = c.bytes_out_};
}

std::string_view request::header(std::string_view name) const noexcept {
  return head_->headers.first(name).value_or(std::string_view());
}

const header_list& request::trailers() const noexcept { return connection_->parser_.trailers(); }

const address& request::remote() const noexcept { return connection_->remote(); }

task<std::string_view> request::read() {
  auto& c = *connection_;
  c.check_worker();
  while (!complete_) {
    switch (c.parser_.next(c.input_)) {
      case event::body:
        c.continue_wanted_ = false;  // the client has not waited for it
        bytes_read_ += c.parser_.body().size();
        co_return c.parser_.body();
      case event::message_end:
        complete_ = true;
        c.clear_deadline();
        c.in_.arm();  // for the client's leaving
        break;
      case event::need_more: {
        c.parser_.keep_head();
        if (std::exchange(c.continue_wanted_, false) && !c.response_.head_sent_) {
          append_continue(c.out_.buffer());
          c.bytes_out_ += continue_size;
          c.queue_flush();
        }
        connection::body_wait waiting(c);
        if (!co_await c.receive()) co_return failure(weir::net_error(ECONNRESET, "read"));
        break;
      }
      case event::error: {
        auto& why = c.parser_.failure();
        auto code = why.status == 413 ? errc::err_out_of_range : errc::err_invalid_arg_value;
        co_return failure(c.blame({why.status, why.reason, code, why.name}));
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
  co_return failure(c.blame({413, "the request body is too long", errc::err_out_of_range, "HPE_BODY_OVERFLOW"}));
}

}  // namespace weir::net::http
