// net/http_response.cpp: what a handler says in its response: checked headers, framing, pieces of the body. Rests on
// the connection, into whose sender the writer puts it.
#include <weir/net/http_connection.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weir::net::http {
namespace {

// Counts what is appended to the connection's buffer while it lives.
class [[nodiscard]] counted {
 public:
  counted(const std::string& buffer, std::uint64_t& first, std::uint64_t& second) noexcept
      : buffer_(buffer), before_(buffer.size()), first_(first), second_(second) {}
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() {
    first_ += buffer_.size() - before_;
    second_ += buffer_.size() - before_;
  }

 private:
  const std::string& buffer_;
  std::size_t before_;
  std::uint64_t& first_;
  std::uint64_t& second_;
};

void check_field(std::string_view name, std::string_view value) {
  if (!is_token(name)) {
    throw error(errc::err_invalid_http_token, fmt::format("Header name must be a valid HTTP token [\"{}\"]", name));
  }
  if (!is_field_value(value)) {
    throw error(errc::err_invalid_char, fmt::format("Invalid character in header content [\"{}\"]", name));
  }
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

void skip_blanks(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

// `name` or `name=value` of a link, the value bare or in quotes. @return false if it is neither
bool take_link_parameter(std::string_view& text) {
  auto size = std::min(text.find_first_of("=; \t\""), text.size());
  if (!is_token(text.substr(0, size))) return false;
  text.remove_prefix(size);
  if (!text.starts_with('=')) return true;
  text.remove_prefix(1);
  bool quoted = text.starts_with('"');
  if (quoted) text.remove_prefix(1);
  auto end = quoted ? text.find('"') : std::min(text.find_first_of("; \t\""), text.size());
  if (end == std::string_view::npos || (end == 0 && !quoted)) return false;
  text.remove_prefix(end + (quoted ? 1 : 0));
  return true;
}

// One link-value of RFC 8288 3: `<target>; name=value; ...`.
bool is_link(std::string_view text) {
  auto close = text.find('>');
  if (!text.starts_with('<') || close == std::string_view::npos || !is_field_value(text)) return false;
  if (text.substr(1, close - 1).find_first_of("< ") != std::string_view::npos) return false;
  text.remove_prefix(close + 1);
  for (skip_blanks(text); !text.empty(); skip_blanks(text)) {
    if (text.front() != ';') return false;
    text.remove_prefix(1);
    skip_blanks(text);
    if (!take_link_parameter(text)) return false;
  }
  return true;
}

bool lists(std::string_view list, std::string_view element) {
  while (!list.empty()) {
    if (equal_ignoring_case(take_list_element(list), element)) return true;
  }
  return false;
}

}  // namespace

void response::reset() noexcept {
  text_.clear();
  lines_.clear();
  reason_.clear();
  if (extras_) extras_.reset();
  left_ = bytes_ = 0;
  status_ = 200;
  head_sent_ = settled_ = ended_ = chunked_ = bodiless_ = counted_ = until_close_ = false;
  destroyed_ = cut_short_ = raw_ = false;
  keep_alive_ = true;
}

void response::drop_extras::operator()(extras* what) const noexcept { delete what; }

response::extras& response::more() {
  if (!extras_) extras_.reset(new extras);
  return *extras_;
}

void response::check(std::string_view name, std::string_view value) const {
  if (headers_sent()) throw error(errc::err_http_headers_sent);
  check_field(name, value);
}

void response::check_open() const {
  if (destroyed_) throw error(errc::err_stream_destroyed);
  if (ended_) throw error(errc::err_stream_write_after_end);
}

response& response::status(int code, std::string_view reason) {
  if (headers_sent()) throw error(errc::err_http_headers_sent);
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

response& response::set(std::string_view name, std::span<const std::string_view> values) {
  check(name, {});
  std::vector<header> lines;
  for (auto each : values) lines.push_back({name, each});
  for (auto& each : lines) check(each.name, each.value);
  if (lines.empty()) return remove(name);
  replace(lines);
  return *this;
}

// Sets checked lines in place of all of their names. They may be views of what is replaced: what `get` has returned.
void response::replace(std::span<const header> headers) {
  std::string copy;
  for (auto& each : headers) copy.append(each.name).append(each.value);
  auto before = lines_.size();
  std::size_t at = 0;
  for (auto& each : headers) {
    auto name = std::string_view(copy).substr(at, each.name.size());
    add(name, std::string_view(copy).substr(at + name.size(), each.value.size()));
    at += name.size() + each.value.size();
  }
  auto old = lines_.begin() + static_cast<std::ptrdiff_t>(before);
  auto replaced = [&](const line& l) {
    return std::any_of(old, lines_.end(), [&](const line& n) { return equal_ignoring_case(name_of(n), name_of(l)); });
  };
  lines_.erase(std::remove_if(lines_.begin(), old, replaced), old);
}

response& response::append(std::string_view name, std::string_view value) {
  check(name, value);
  add(name, value);
  return *this;
}

response& response::remove(std::string_view name) {
  if (headers_sent()) throw error(errc::err_http_headers_sent);
  std::erase_if(lines_, [&](const line& l) { return equal_ignoring_case(name_of(l), name); });
  return *this;
}

std::string_view response::get(std::string_view name) const noexcept {
  auto found =
      std::find_if(lines_.begin(), lines_.end(), [&](const line& l) { return equal_ignoring_case(name_of(l), name); });
  return found == lines_.end() ? std::string_view() : value_of(*found);
}

bool response::has(std::string_view name) const noexcept {
  return std::any_of(lines_.begin(), lines_.end(),
                     [&](const line& l) { return equal_ignoring_case(name_of(l), name); });
}

std::vector<std::string_view> response::get_all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (auto& each : lines_) {
    if (equal_ignoring_case(name_of(each), name)) values.push_back(value_of(each));
  }
  return values;
}

std::vector<std::string_view> response::header_names() const {
  std::vector<std::string_view> names;
  for (auto& each : lines_) {
    auto name = name_of(each);
    auto known = [&](std::string_view n) { return equal_ignoring_case(n, name); };
    if (std::none_of(names.begin(), names.end(), known)) names.push_back(name);
  }
  return names;
}

response& response::write_head(int code, std::string_view reason, std::span<const header> headers) {
  for (auto& each : headers) check(each.name, each.value);
  status(code, reason);
  if (!headers.empty()) replace(headers);
  settled_ = true;
  return *this;
}

response& response::flush_headers() {
  auto& c = *connection_;
  c.check_worker();
  check_open();
  if (head_sent_) return *this;
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
  c.send_head(framing(body_framing::chunked()));
  c.queue_flush();
  return *this;
}

bool response::finished() const noexcept {
  auto& c = *connection_;
  return ended_ && !destroyed_ && c.out_.pending() == 0 && c.out_.failure() == 0;
}

response& response::on_end(std::function<void(ending)> hook) {
  more().on_end = std::move(hook);
  return *this;
}

io::sender::drain_awaiter response::inform(int code, std::span<const header> headers) {
  auto& c = *connection_;
  c.check_worker();
  check_open();
  if (head_sent_) throw error(errc::err_http_headers_sent);
  if (code < 100 || code > 199 || code == 101) {
    throw error(errc::err_http_invalid_status_code, fmt::format("Invalid status code: {}", code));
  }
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
  auto before = c.out_.buffer().size();
  response_head head;
  head.status = code;
  head.headers = headers;
  head.body.how = body_framing::kind::none;
  c.append_head(head);
  if (c.request_.head().version == version::http_1_0) c.out_.buffer().resize(before);  // RFC 9110 15.2
  if (code == 100) c.continue_wanted_ = false;
  c.queue_flush();
  return c.room();
}

io::sender::drain_awaiter response::early_hints(std::span<const std::string_view> links,
                                                std::span<const header> headers) {
  std::string all;
  for (auto each : links) {
    if (!is_link(each)) {
      throw error(errc::err_invalid_arg_value,
                  fmt::format("early_hints: \"{}\" is not of the form \"</styles.css>; rel=preload; as=style\"", each));
    }
    all.append(all.empty() ? "" : ", ").append(each);
  }
  if (all.empty()) return connection_->room();
  std::vector<header> lines{{"Link", all}};
  lines.insert(lines.end(), headers.begin(), headers.end());
  return inform(103, lines);
}

response& response::trailer(std::string_view name, std::string_view value) {
  check_open();
  check_field(name, value);
  if (!may_be_trailer(name)) {
    throw error(errc::err_http_trailer_invalid, fmt::format("{} must not be a trailer", name));
  }
  if (counted_ || (!head_sent_ && has("Content-Length"))) throw error(errc::err_http_trailer_invalid);
  auto& m = more();
  auto at = static_cast<std::uint32_t>(m.text.size());
  m.trailers.push_back({at, static_cast<std::uint32_t>(name.size()), at + static_cast<std::uint32_t>(name.size()),
                        static_cast<std::uint32_t>(value.size())});
  m.text.append(std::string(name) + std::string(value));
  return *this;
}

bool response::has_trailers() const noexcept { return extras_ && !extras_->trailers.empty(); }

void response::check_upgrade(std::string_view protocol) const {
  auto& asked = connection_->request_;
  if (headers_sent()) throw error(errc::err_http_headers_sent);
  if (!asked.wants_upgrade()) {
    throw error(errc::err_invalid_state, "upgrade: the client has asked for neither an upgrade nor CONNECT");
  }
  if (!asked.complete()) throw error(errc::err_invalid_state, "upgrade: the request's body comes first");
  if (asked.method() == method::connect) {
    if (status_ > 299) {
      throw error(errc::err_http_invalid_status_code, fmt::format("Invalid status code for CONNECT: {}", status_));
    }
  } else if (!protocol.empty() && std::ranges::none_of(asked.headers(), [&](const header& h) {
               return equal_ignoring_case(h.name, "upgrade") && lists(h.value, protocol);
             })) {
    throw error(errc::err_invalid_arg_value,
                fmt::format("upgrade: the client has not named the protocol \"{}\"", protocol));
  }
}

raw_stream& response::upgrade(std::string_view protocol) {
  auto& c = *connection_;
  c.check_worker();
  check_upgrade(protocol);
  if (c.request_.method() != method::connect) {
    auto first = c.request_.header("upgrade");
    if (protocol.empty()) protocol = take_list_element(first);
    if (!has("Connection")) set("Connection", "Upgrade");
    if (!has("Upgrade")) set("Upgrade", protocol);
    status_ = 101;
  }
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
  c.send_head({body_framing::kind::none, 0});
  c.queue_flush();
  c.take_over();
  return c.raw_;
}

raw_stream& response::take_over() {
  auto& c = *connection_;
  c.check_worker();
  check_open();
  if (headers_sent()) throw error(errc::err_http_headers_sent);
  if (!c.request_.complete()) throw error(errc::err_invalid_state, "take_over: the request's body comes first");
  c.take_over();
  return c.raw_;
}

void response::destroy() noexcept {
  if (std::exchange(destroyed_, true)) return;
  cut_short_ = !ended_ || raw_;
  ended_ = true;
  keep_alive_ = false;
  connection_->cut();
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
  check_open();
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
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
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
  {
    counted count(c.out_.buffer(), bytes_, c.bytes_out_);
    begin_piece(piece.size());
    if (chunked_ && !piece.empty()) append_chunk_head(c.out_.buffer(), piece.size());
  }
  if (bodiless_ || piece.empty()) {
    c.queue_flush();
    co_return;
  }
  bytes_ += piece.size();
  co_await c.send_piece(piece);
  if (!chunked_) co_return;
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
  c.out_.buffer().append(chunk_end);
  c.queue_flush();
}

// Head and body at once, hence with Content-Length unless the handler has asked for chunks.
void response::start_with_end(std::string_view body) {
  auto& c = *connection_;
  auto how = framing(has_trailers() ? body_framing::chunked() : body_framing::sized(body.size()));
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

// Trailers were checked when they were added.
void response::end_chunks() {
  auto& out = connection_->out_.buffer();
  if (!has_trailers()) {
    append_last_chunk(out);
    return;
  }
  std::vector<header> lines;
  for (auto& each : extras_->trailers) lines.push_back({extras_->name_of(each), extras_->value_of(each)});
  append_last_chunk(out, lines);
}

io::sender::drain_awaiter response::end(std::string_view body) {
  auto& c = *connection_;
  c.check_worker();
  check_open();
  counted count(c.out_.buffer(), bytes_, c.bytes_out_);
  if (!head_sent_) start_with_end(body);
  if (counted_ && body.size() != left_) throw error(errc::err_http_content_length_mismatch);
  left_ = 0;
  if (chunked_) {
    append_chunk(c.out_.buffer(), body);
    end_chunks();
  } else if (!bodiless_) {
    c.out_.buffer().append(body);
  }
  ended_ = true;
  c.queue_flush();
  return c.room();
}

}  // namespace weir::net::http
