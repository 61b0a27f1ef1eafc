// net/http_parser.cpp: request lines, Host, and what the headers of a request say.
//
// Two readers look at a head. llhttp judges byte by byte as they come. The scanner reads whole heads only and knows no
// leniency. A head is accepted when both accept it and agree about the framing; the plainest heads (a common method, a
// target that starts with '/', no transfer coding, in one piece) are accepted by the scanner alone, because llhttp
// accepts everything that it accepts there. The fuzz target holds the two against each other.
#include <weir/net/http_parser.hpp>

#include <algorithm>
#include <array>

#include <arpa/inet.h>

#include <weir/net/http_scan.hpp>

namespace weir::net::http {
namespace {

bool is_port(std::string_view text) {
  if (!std::ranges::all_of(text, chars::is_digit)) return false;
  if (text.size() < 5) return true;
  const std::size_t zeros = std::min(text.find_first_not_of('0'), text.size());
  text.remove_prefix(zeros);
  return text.size() < 5 || (text.size() == 5 && text <= "65535");
}

bool is_ipv6(std::string_view text) {
  std::array<char, INET6_ADDRSTRLEN> copy{};
  if (text.size() >= copy.size()) return false;
  std::ranges::copy(text, copy.begin());
  in6_addr address;
  return ::inet_pton(AF_INET6, copy.data(), &address) == 1;
}

bool is_hex(char c) { return chars::is_digit(c) || (chars::lower(c) >= 'a' && chars::lower(c) <= 'f'); }

// The end of a reg-name or IPv4 address at the front of `text`.
std::size_t skip_name(std::string_view text) {
  std::size_t at = 0;
  for (; at != text.size(); ++at) {
    if (chars::is_host_char(text[at])) continue;
    if (text[at] != '%' || text.size() - at < 3 || !is_hex(text[at + 1]) || !is_hex(text[at + 2])) break;
  }
  return at;
}

// uri-host [":" port] of RFC 9110 7.2, with a host.
bool is_host(std::string_view text) {
  std::size_t at = 0;
  if (text.starts_with('[')) {
    at = text.find(']');
    if (at == std::string_view::npos || !is_ipv6(text.substr(1, at - 1))) return false;
    ++at;
  } else {
    at = skip_name(text);
    if (at == 0) return false;
  }
  return at == text.size() || (text[at] == ':' && is_port(text.substr(at + 1)));
}

// RFC 9110 9.3.6: CONNECT needs a port that is one.
bool is_tunnel_target(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  return colon != std::string_view::npos && text.find_first_not_of('0', colon + 1) != std::string_view::npos &&
         is_host(text);
}

// scheme "://" authority of an absolute target; empty if it has none.
std::string_view authority_of_uri(std::string_view target) noexcept {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) return {};
  target.remove_prefix(colon + 3);
  return target.substr(0, target.find_first_of("/?#"));
}

bool is_scheme(std::string_view text) {
  const auto is_letter = [](char c) { return chars::lower(c) >= 'a' && chars::lower(c) <= 'z'; };
  const auto fits = [&](char c) { return is_letter(c) || chars::is_digit(c) || c == '+' || c == '-' || c == '.'; };
  return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, fits);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------- scanner

struct parser::head_scan : message_reader::scan {
  bool endless = false;  // coded, but not in chunks: nobody knows where the body ends

  fault request_line(request_head& head, std::size_t max_target);
  fault read_method(request_head& head);
  fault read_target(request_head& head, std::size_t max_target);
  fault read_version(request_head& head);
  void skip_spaces() {
    for (; at != end && *at == ' '; ++at) plain = false;
  }

  fault interpret(request_head& head, const parser& options);
  fault interpret_coding(request_head& head, bool other_codings);
  static fault check_target(request_head& head, bool check_host);
};

message_reader::fault parser::head_scan::read_method(request_head& head) {
  const char* const word = at;
  if (starts_with("GET ")) {
    head.method = method::get;
    at += 3;
  } else {
    while (at != end && chars::is_token_char(*at)) ++at;
    const auto known = find_method({word, static_cast<std::size_t>(at - word)});
    if (at == end) return fault::incomplete;
    if (*at != ' ') return fault::method;
    if (!known) return std::string_view(word, at) == "PRI" ? fault::version : fault::method;  // RFC 9113 3.4
    head.method = *known;
    const bool common = head.method == method::post || head.method == method::put || head.method == method::head ||
                        head.method == method::delete_ || head.method == method::patch ||
                        head.method == method::options;
    plain = plain && common;
  }
  head.method_text = {word, static_cast<std::size_t>(at - word)};
  return fault::none;
}

message_reader::fault parser::head_scan::read_target(request_head& head, std::size_t max_target) {
  const char* const target = at;
  at = chars::find<chars::not_visible>(at, end);
  if (at == end) return fault::incomplete;
  if (*at == '\r' || *at == '\n') return at == target ? fault::target : fault::version;  // HTTP/0.9 has no version
  if (*at != ' ' || at == target) return fault::target;
  head.target = {target, static_cast<std::size_t>(at - target)};
  if (head.target.size() > max_target) return fault::target_size;
  plain = plain && *target == '/';
  return fault::none;
}

message_reader::fault parser::head_scan::read_version(request_head& head) {
  if (end - at < 10) return fault::incomplete;
  if (std::memcmp(at, "HTTP/", 5) != 0) return fault::protocol;
  if (std::memcmp(at + 5, "1.1\r\n", 5) == 0) {
    head.version = version::http_1_1;
  } else if (std::memcmp(at + 5, "1.0\r\n", 5) == 0) {
    head.version = version::http_1_0;
  } else {
    if (at[5] != '1' || at[6] != '.' || (at[7] != '0' && at[7] != '1')) return fault::version;
    return at[8] == '\r' ? fault::version_cr : at[8] == '\n' ? fault::version_lf : fault::version;
  }
  at += 10;
  return fault::none;
}

message_reader::fault parser::head_scan::request_line(request_head& head, std::size_t max_target) {
  if (const fault why = skip_empty_lines(); why != fault::none) return why;
  head.raw = {at, static_cast<std::size_t>(end - at)};
  if (const fault why = read_method(head); why != fault::none) return why;
  ++at;
  skip_spaces();
  if (const fault why = read_target(head, max_target); why != fault::none) return why;
  ++at;
  skip_spaces();
  return read_version(head);
}

message_reader::fault parser::head_scan::check_target(request_head& head, bool check_host) {
  if (head.target.front() == '/') {
    head.form = target_form::origin;
    return head.method == method::connect ? fault::target : fault::none;
  }
  if (head.method == method::connect) {
    head.form = target_form::authority;
    return is_tunnel_target(head.target) ? fault::none : fault::target;
  }
  if (head.target.front() == '*') {
    head.form = target_form::asterisk;
    const bool allowed = head.method == method::options || head.method == method::m_search;  // the latter for SSDP
    return head.target.size() == 1 && allowed ? fault::none : fault::target;
  }
  head.form = target_form::absolute;
  const std::string_view authority = authority_of_uri(head.target);
  if (authority.empty() || !is_scheme(head.target.substr(0, head.target.find(':')))) return fault::target;
  return is_host(authority) || !check_host ? fault::none : fault::target;
}

message_reader::fault parser::head_scan::interpret_coding(request_head& head, bool other_codings) {
  const codings found = read_codings(head.headers);
  if (found.empty > 0 && !other_codings) return fault::coding_order;
  if (found.chunked + found.others == 0) return fault::none;
  if (head.version == version::http_1_0) return fault::coding_in_1_0;
  if (found.chunked > 1 || (found.chunked == 1 && !found.last_is_chunked)) return fault::coding_order;
  if (found.others > 0 && !other_codings) return fault::coding_unknown;
  head.chunked = found.chunked == 1;
  endless = !head.chunked;
  return fault::none;
}

// What the header lines say about the message.
message_reader::fault parser::head_scan::interpret(request_head& head, const parser& options) {
  facts known;
  std::size_t hosts = 0;
  head.chunked = head.expect_continue = head.expect_unsupported = false;
  for (const header& line : head.headers) {
    switch (line.name.size()) {
      case 4:
        if (!chars::token_is(line.name, "host")) break;
        if (++hosts > 1 && options.check_host_) return fault::many_hosts;
        if (!line.value.empty() && !is_host(line.value) && options.check_host_) return fault::host;
        break;
      case 6:
        if (head.version == version::http_1_0 || !chars::token_is(line.name, "expect")) break;
        (equal_ignoring_case(line.value, "100-continue") ? head.expect_continue : head.expect_unsupported) = true;
        break;
      default:
        if (const fault why = take(line, known); why != fault::none) return why;
    }
  }
  const bool connects = head.method == method::connect;
  head.content_length = known.content_length;
  head.has_content_length = known.has_content_length;
  head.keep_alive = !known.close && (known.keep_alive || head.version == version::http_1_1) && !connects;
  head.upgrade = (known.upgrade_option && known.has_upgrade) || connects;
  if (hosts == 0 && options.require_host_ && head.version == version::http_1_1) return fault::no_host;
  return known.coded ? interpret_coding(head, options.other_codings_) : fault::none;
}

// ----------------------------------------------------------------------------------------------------------- events

parser::parser(const parser_options& options) noexcept
    : message_reader(side::requests,
                     {options.max_head, options.max_headers, options.max_body, options.max_chunk_extensions}),
      max_target_(options.max_target),
      require_host_(options.require_host),
      plain_heads_(options.plain_heads),
      check_host_(options.check_host),
      other_codings_(options.other_codings) {}

event parser::next(std::span<const std::byte>& input) {
  std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const event result = next(text);
  input = input.last(text.size());
  return result;
}

event parser::next(std::string_view& input) {
  if (ended()) return read_on(input);
  if (input.empty()) return event::need_more;
  return head_is_due() ? read_head(input) : read_on(input);
}

event parser::read_head(std::string_view& input) {
  if (seen() != 0 || !plain_heads_) return read_head_slowly(input);
  head_scan s{{input.data(), input.data() + std::min(input.size(), most().max_head)}};
  const bool taken = s.request_line(head_, max_target_) == fault::none && s.plain &&
                     s.lines(head_.headers, most().max_headers) == fault::none &&
                     s.interpret(head_, *this) == fault::none && s.plain &&
                     head_scan::check_target(head_, check_host_) == fault::none;
  if (!taken) return read_head_slowly(input);
  const auto size = static_cast<std::size_t>(s.at - s.begin);
  head_.raw = {head_.raw.data(), size};
  input.remove_prefix(size);
  return accept_head(false);
}

event parser::read_head_slowly(std::string_view& input) {
  const auto first_line = [this](head_scan& s) { return s.request_line(head_, max_target_); };
  return read_head_by_llhttp<head_scan>(input, head_.headers, first_line,
                                        [this](std::string_view whole) { return check_head(whole); });
}

// llhttp has accepted these bytes as a head; now the scanner must, and see the same framing.
event parser::check_head(std::string_view raw) {
  head_scan s{{raw.data(), raw.data() + raw.size()}};
  if (const fault why = s.request_line(head_, max_target_); why != fault::none) return fail(why);
  if (const fault why = s.lines(head_.headers, most().max_headers); why != fault::none) return fail(why);
  if (s.at != s.end) return fail(fault::two_readings);
  head_.raw = {head_.raw.data(), static_cast<std::size_t>(s.end - head_.raw.data())};
  if (const fault why = head_scan::check_target(head_, check_host_); why != fault::none) return fail(why);
  if (const fault why = s.interpret(head_, *this); why != fault::none) return fail(why);
  if (!agrees_with_llhttp()) return fail(fault::two_readings);
  return accept_head(s.endless);
}

bool parser::agrees_with_llhttp() const noexcept {
  const judgement other = llhttp_says();
  const method shown = head_.method == method::query ? method::post : head_.method;
  return other.chunked == head_.chunked && other.has_content_length == head_.has_content_length &&
         other.content_length == head_.content_length && other.method == static_cast<int>(shown) && other.major == 1 &&
         other.minor == static_cast<int>(head_.version);
}

event parser::accept_head(bool endless) {
  const state then = head_.keep_alive ? state::head : state::closed;
  if (head_.method == method::connect) return expect_nothing(then);  // its content has no meaning (RFC 9110 9.3.6)
  if (endless) return expect_failure();
  if (head_.chunked) return expect_chunks(then);
  return expect_sized(head_.content_length, then);
}

void parser::keep_head() {
  if (!head_.raw.empty() && !keeps(head_.raw)) rebase(head_, keep(head_.raw).data());
}

void parser::release_memory() {
  if (!idle()) return;
  head_ = {};
  free_memory();
}

std::string_view authority_of(const request_head& head) noexcept {
  if (head.form == target_form::authority) return head.target;
  if (head.form != target_form::absolute) return head.headers.first("host").value_or(std::string_view{});
  const std::string_view authority = authority_of_uri(head.target);
  return authority.substr(authority.rfind('@') + 1);  // npos + 1 is 0
}

}  // namespace weir::net::http
