// net/http_request.cpp: what a handler asks of its request: the parts of the target, and the body as it arrives. Rests
// on the connection, whose parser and receiver it drives.
#include <weir/net/http_connection.hpp>

#include <cerrno>
#include <utility>

namespace weir::net::http {

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

}  // namespace weir::net::http
