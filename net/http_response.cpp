// net/http_response.cpp: what a handler says in its response: checked headers, framing, pieces of the body. Rests on
// the connection, into whose sender the writer puts it.
#include <weir/net/http_connection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weir::net::http {

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

}  // namespace weir::net::http
