// net/http_response_parser.cpp: status lines, and what the headers of a response say. The same two readers as for
// requests: llhttp judges byte by byte, the scanner whole heads, and both must agree; heads without transfer codings
// that come in one piece are accepted by the scanner alone.
#include <weir/net/http_response_parser.hpp>

#include <algorithm>

#include <weir/net/http_scan.hpp>

namespace weir::net::http {

// ---------------------------------------------------------------------------------------------------------- scanner

struct response_parser::head_scan : message_reader::scan {
  bool coded = false;

  fault status_line(received_head& head);
  fault interpret(received_head& head);
  fault interpret_coding(received_head& head) const;
};

message_reader::fault response_parser::head_scan::status_line(received_head& head) {
  if (const fault why = skip_empty_lines(); why != fault::none) return why;
  head.raw = {at, static_cast<std::size_t>(end - at)};
  if (end - at < 13) return fault::incomplete;  // "HTTP/1.1 200" and a byte more
  if (!starts_with("HTTP/")) return fault::protocol;
  if (at[5] != '1' || at[6] != '.' || (at[7] != '0' && at[7] != '1') || at[8] != ' ') return fault::version;
  head.version = at[7] == '1' ? version::http_1_1 : version::http_1_0;
  if (at[9] < '1' || !std::all_of(at + 9, at + 12, chars::is_digit)) return fault::status;
  head.status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
  at += 12;
  // RFC 9112 4 wants a space behind the code even where no reason follows, but many leave it out, and Node lets them.
  if (*at == ' ')
    ++at;
  else if (*at != '\r' && *at != '\n')
    return fault::status;
  const char* const reason = at;
  at = chars::find<chars::control>(at, end);
  while (at != end && *at == '\t') at = chars::find<chars::control>(at + 1, end);
  if (const fault why = line_end(fault::reason); why != fault::none)
    return why == fault::bare_cr ? fault::empty_cr : why;
  head.reason = {reason, static_cast<std::size_t>(at - reason)};
  at += 2;
  return fault::none;
}

// RFC 9112 6.3: what does not end in chunked ends with the connection.
message_reader::fault response_parser::head_scan::interpret_coding(received_head& head) const {
  const codings found = read_codings(head.headers);
  if (found.empty > 0 || found.chunked > 1) return fault::coding_order;
  head.chunked = found.last_is_chunked;
  return fault::none;
}

// What the header lines say about the message.
message_reader::fault response_parser::head_scan::interpret(received_head& head) {
  facts known;
  head.chunked = false;
  for (const header& line : head.headers) {
    if (const fault why = take(line, known); why != fault::none) return why;
  }
  coded = known.coded;
  head.content_length = known.content_length;
  head.has_content_length = known.has_content_length;
  head.keep_alive = !known.close && (known.keep_alive || head.version == version::http_1_1);
  head.upgrade = head.status == 101 && known.upgrade_option && known.has_upgrade;
  return coded ? interpret_coding(head) : fault::none;
}

// ----------------------------------------------------------------------------------------------------------- events

response_parser::response_parser(const response_parser_options& options) noexcept
    : message_reader(side::responses,
                     {options.max_head, options.max_headers, options.max_body, options.max_chunk_extensions}),
      plain_heads_(options.plain_heads) {}

event response_parser::next(std::span<const std::byte>& input) {
  std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const event result = next(text);
  input = input.last(text.size());
  return result;
}

event response_parser::next(std::string_view& input) {
  if (ended()) return read_on(input);
  if (input.empty()) return event::need_more;
  return head_is_due() ? read_head(input) : read_on(input);
}

event response_parser::read_head(std::string_view& input) {
  if (seen() != 0 || !plain_heads_) return read_head_slowly(input);
  head_scan s{{input.data(), input.data() + std::min(input.size(), most().max_head)}};
  const bool taken = s.status_line(head_) == fault::none && s.plain &&
                     s.lines(head_.headers, most().max_headers) == fault::none && s.interpret(head_) == fault::none &&
                     s.plain;
  if (!taken) return read_head_slowly(input);
  const auto size = static_cast<std::size_t>(s.at - s.begin);
  head_.raw = {head_.raw.data(), size};
  input.remove_prefix(size);
  decide_framing(s.coded);
  return accept_head();
}

event response_parser::read_head_slowly(std::string_view& input) {
  const auto first_line = [this](head_scan& s) { return s.status_line(head_); };
  return read_head_by_llhttp<head_scan>(input, head_.headers, first_line,
                                        [this](std::string_view whole) { return check_head(whole); });
}

// llhttp has accepted these bytes as a head; now the scanner must, and see the same framing.
event response_parser::check_head(std::string_view raw) {
  head_scan s{{raw.data(), raw.data() + raw.size()}};
  if (const fault why = s.status_line(head_); why != fault::none) return fail(why);
  if (const fault why = s.lines(head_.headers, most().max_headers); why != fault::none) return fail(why);
  if (s.at != s.end) return fail(fault::two_readings);
  head_.raw = {head_.raw.data(), static_cast<std::size_t>(s.end - head_.raw.data())};
  if (const fault why = s.interpret(head_); why != fault::none) return fail(why);
  if (!agrees_with_llhttp()) return fail(fault::two_readings);
  decide_framing(s.coded);
  return accept_head();
}

bool response_parser::agrees_with_llhttp() const noexcept {
  const judgement other = llhttp_says();
  return other.chunked == head_.chunked && other.has_content_length == head_.has_content_length &&
         other.content_length == head_.content_length && other.status == head_.status && other.major == 1 &&
         other.minor == static_cast<int>(head_.version);
}

// RFC 9112 6.3, in its order.
void response_parser::decide_framing(bool coded) noexcept {
  const bool tunnel = request_ == method::connect && head_.status / 100 == 2;
  head_.upgrade = head_.upgrade || tunnel;
  const bool bodiless =
      head_.status < 200 || head_.status == 204 || head_.status == 304 || request_ == method::head || tunnel;
  head_.has_body = !bodiless && (coded || !head_.has_content_length || head_.content_length > 0);
  head_.until_close = head_.has_body && !head_.chunked && !head_.has_content_length;
  // A coded message of HTTP/1.0 may have been framed by someone who did not know what that is (RFC 9112 6.1).
  const bool doubtful = coded && head_.version == version::http_1_0;
  head_.keep_alive = head_.interim() || (head_.keep_alive && !head_.until_close && !doubtful);
}

event response_parser::accept_head() {
  const state then = head_.upgrade ? state::switched : head_.keep_alive ? state::head : state::closed;
  if (!head_.interim()) request_ = method::get;
  if (!head_.has_body) return expect_nothing(then);
  if (head_.chunked) return expect_chunks(then);
  return head_.until_close ? expect_until_close() : expect_sized(head_.content_length, then);
}

void response_parser::keep_head() {
  if (!head_.raw.empty() && !keeps(head_.raw)) rebase(head_, keep(head_.raw).data());
}

void response_parser::release_memory() {
  if (!idle()) return;
  head_ = {};
  free_memory();
}

void rebase(received_head& head, const char* copy) noexcept {
  const char* const from = head.raw.data();
  head.headers.rebase(from, copy);
  head.reason = {copy + (head.reason.data() - from), head.reason.size()};
  head.raw = {copy, head.raw.size()};
}

}  // namespace weir::net::http
