// net/http_parser.cpp: the event machine of net/http_parser.hpp, the head scanner, and the glue to llhttp.
//
// Two readers look at a head. llhttp is the parser of record: it judges byte by byte as they come, so nonsense is
// refused at once. The scanner reads whole heads only and knows no leniency: one line form, no folds, no bare CR or LF.
// A head is accepted when both accept it and agree about the framing; the plainest heads (a common method, a target
// that starts with '/', no transfer coding, in one piece) are accepted by the scanner alone, because llhttp accepts
// everything that it accepts there. The fuzz target holds the two against each other.
#include <weir/net/http_parser.hpp>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>

#include <llhttp/llhttp.h>

#include <weir/net/http_chars.hpp>

#if LLHTTP_STRICT_MODE != 1
#error "llhttp and this file must be compiled with LLHTTP_STRICT_MODE=1: loose llhttp 8.1 does not check chunk ends"
#endif

namespace weir::net::http {

enum class parser::fault : std::uint8_t {
  none,
  incomplete,
  method,
  target,
  protocol,
  version,
  bare_cr,
  bare_lf,
  field_name,
  field_value,
  folded,
  no_host,
  many_hosts,
  host,
  length,
  lengths_differ,
  length_and_coding,
  coding_order,
  coding_unknown,
  coding_in_1_0,
  two_readings,
  head_size,
  header_count,
  target_size,
  body_size,
  extension_size,
  extension,
};

// Where the reader of chunk extensions stands: ";" name ["=" (token | quoted-string)], RFC 9112 7.1.1. llhttp 8.1 sees
// none of them, because it refuses valid ones: names without values in a row, and escapes in quotes.
enum class parser::extension : std::uint8_t {
  size,
  name_start,
  name,
  value_start,
  value,
  quoted,
  escaped,
  closed,
  line_end,
  spoilt
};

namespace {

constexpr parse_failure failures[] = {
    {"HPE_OK", "", 0},
    {"HPE_INVALID_EOF_STATE", "The message is cut short", 400},
    {"HPE_INVALID_METHOD", "Invalid method", 400},
    {"HPE_INVALID_URL", "Invalid request target", 400},
    {"HPE_INVALID_CONSTANT", "Expected HTTP/", 400},
    {"HPE_INVALID_VERSION", "Neither HTTP/1.0 nor HTTP/1.1", 505},
    {"HPE_LF_EXPECTED", "Missing LF after CR", 400},
    {"HPE_CR_EXPECTED", "Missing CR before LF", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Invalid character in a header name", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Invalid character in a header value", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Header line that starts with a blank", 400},
    {"HPE_MISSING_HOST", "HTTP/1.1 request without Host", 400},
    {"HPE_DUPLICATE_HOST", "More than one Host", 400},
    {"HPE_INVALID_HOST", "Invalid Host", 400},
    {"HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length", 400},
    {"HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length given twice", 400},
    {"HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length with Transfer-Encoding", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "chunked is not the last transfer coding, once", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "Unknown transfer coding", 501},
    {"HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding in HTTP/1.0", 400},
    {"HPE_STRICT", "The framing can be read in two ways", 400},
    {"HPE_HEADER_OVERFLOW", "Head too large", 431},
    {"HPE_HEADER_OVERFLOW", "Too many header lines", 431},
    {"HPE_URL_OVERFLOW", "Request target too long", 414},
    {"HPE_BODY_OVERFLOW", "Body too large", 413},
    {"HPE_CHUNK_EXTENSIONS_OVERFLOW", "Chunk extensions too large", 413},
    {"HPE_STRICT", "Invalid chunk extension", 400},
};

// Sixteen digits, CR and LF, and two to spare: what is longer than this counts as extension.
constexpr std::size_t plain_chunk_line = 20;

// What made llhttp stop.
enum stop : std::uint8_t { none, refused, headers, chunk_header, body_piece, chunk_end, message };

bool is_port(std::string_view text) { return std::ranges::all_of(text, chars::is_digit); }

// uri-host [":" port] of RFC 9110 7.2. Empty is allowed there.
bool is_host(std::string_view text) {
  std::size_t at = 0;
  if (text.starts_with('[')) {
    at = text.find(']');
    if (at == std::string_view::npos || at < 2) return false;
    const auto in_literal = [](char c) { return c == ':' || chars::is_host_char(c); };
    if (!std::ranges::all_of(text.substr(1, at - 1), in_literal)) return false;
    ++at;
  } else {
    while (at != text.size() && chars::is_host_char(text[at])) ++at;
  }
  return at == text.size() || (text[at] == ':' && is_port(text.substr(at + 1)));
}

bool read_length(std::string_view text, std::uint64_t& length) {
  if (text.empty()) return false;
  length = 0;
  for (const char c : text) {
    if (!chars::is_digit(c) || length > (UINT64_MAX - 9) / 10) return false;
    length = length * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

bool is_hex(char c) { return chars::is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool starts_with(const char* at, const char* end, std::string_view text) {
  return static_cast<std::size_t>(end - at) >= text.size() && std::memcmp(at, text.data(), text.size()) == 0;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------- scanner

struct parser::scan {
  const char* begin;
  const char* end;
  const char* at = begin;
  bool plain = true;  // nothing seen that llhttp should be asked about

  fault request_line(request_head& head, const parser_options& options);
  fault read_method(request_head& head);
  fault read_target(request_head& head, const parser_options& options);
  fault read_version(request_head& head);
  fault lines(header_list& list, std::size_t most);
  fault line_end(fault otherwise) const;
  void skip_spaces();

  fault interpret(request_head& head, const parser_options& options);
  fault interpret_coding(request_head& head, const header_list& list);
  static fault check_target(request_head& head);
  static bool is_plain_value(std::string_view value);
};

void parser::scan::skip_spaces() {
  for (; at != end && *at == ' '; ++at) plain = false;
}

parser::fault parser::scan::read_method(request_head& head) {
  const char* const word = at;
  if (starts_with(at, end, "GET ")) {
    head.method = method::get;
    at += 3;
  } else {
    while (at != end && chars::is_token_char(*at)) ++at;
    const auto known = find_method({word, static_cast<std::size_t>(at - word)});
    if (at == end) return fault::incomplete;
    if (!known || *at != ' ') return fault::method;
    head.method = *known;
    const bool common = head.method == method::post || head.method == method::put || head.method == method::head ||
                        head.method == method::delete_ || head.method == method::patch ||
                        head.method == method::options;
    plain = plain && common;
  }
  head.method_text = {word, static_cast<std::size_t>(at - word)};
  return fault::none;
}

parser::fault parser::scan::read_target(request_head& head, const parser_options& options) {
  const char* const target = at;
  at = chars::find<chars::not_visible>(at, end);
  if (at == end) return fault::incomplete;
  if (*at == '\r' || *at == '\n') return at == target ? fault::target : fault::version;  // HTTP/0.9 has no version
  if (*at != ' ' || at == target) return fault::target;
  head.target = {target, static_cast<std::size_t>(at - target)};
  if (head.target.size() > options.max_target) return fault::target_size;
  plain = plain && *target == '/';
  return fault::none;
}

parser::fault parser::scan::read_version(request_head& head) {
  if (end - at < 10) return fault::incomplete;
  if (std::memcmp(at, "HTTP/", 5) != 0) return fault::protocol;
  if (std::memcmp(at + 5, "1.1\r\n", 5) == 0) {
    head.version = version::http_1_1;
  } else if (std::memcmp(at + 5, "1.0\r\n", 5) == 0) {
    head.version = version::http_1_0;
  } else {
    if (at[5] != '1' || at[6] != '.' || (at[7] != '0' && at[7] != '1')) return fault::version;
    return at[8] == '\r' ? fault::bare_cr : at[8] == '\n' ? fault::bare_lf : fault::version;
  }
  at += 10;
  return fault::none;
}

parser::fault parser::scan::request_line(request_head& head, const parser_options& options) {
  for (; starts_with(at, end, "\r\n"); at += 2) plain = false;  // RFC 9112 2.2 wants these ignored
  if (at != end && *at == '\n') return fault::bare_lf;
  if (at != end && *at == '\r') return fault::bare_cr;
  head.raw = {at, static_cast<std::size_t>(end - at)};
  if (const fault why = read_method(head); why != fault::none) return why;
  ++at;
  skip_spaces();
  if (const fault why = read_target(head, options); why != fault::none) return why;
  ++at;
  skip_spaces();
  return read_version(head);
}

parser::fault parser::scan::line_end(fault otherwise) const {
  if (at == end) return fault::incomplete;
  if (*at == '\n') return fault::bare_lf;
  if (*at != '\r') return otherwise;
  if (end - at < 2) return fault::incomplete;
  return at[1] == '\n' ? fault::none : fault::bare_cr;
}

parser::fault parser::scan::lines(header_list& list, std::size_t most) {
  list.clear();
  for (;;) {
    const char* const name = at;
    at = chars::find<chars::not_name>(at, end);
    while (at != end && chars::is_token_char(*at)) ++at;
    if (at == end) return fault::incomplete;
    if (at == name || *at != ':') {
      if (at != name) return fault::field_name;
      const fault why = line_end(chars::is_blank(*at) ? fault::folded : fault::field_name);
      if (why == fault::none) at += 2;
      return why;
    }
    const auto name_size = static_cast<std::size_t>(at - name);
    ++at;
    while (at != end && chars::is_blank(*at)) ++at;
    const char* const value = at;
    at = chars::find<chars::control>(at, end);
    while (at != end && *at == '\t') at = chars::find<chars::control>(at + 1, end);
    if (const fault why = line_end(fault::field_value); why != fault::none) return why;
    const char* value_end = at;
    while (value_end != value && chars::is_blank(value_end[-1])) --value_end;
    if (list.size() == most) return fault::header_count;
    list.add({name, name_size}, {value, static_cast<std::size_t>(value_end - value)});
    at += 2;
  }
}

parser::fault parser::scan::check_target(request_head& head) {
  if (head.target.front() == '/') {
    head.form = target_form::origin;
    return head.method == method::connect ? fault::target : fault::none;
  }
  if (head.method == method::connect) {
    head.form = target_form::authority;
    return is_host(head.target) ? fault::none : fault::target;
  }
  if (head.target.front() == '*') {
    head.form = target_form::asterisk;
    const bool allowed = head.method == method::options || head.method == method::m_search;  // the latter for SSDP
    return head.target.size() == 1 && allowed ? fault::none : fault::target;
  }
  head.form = target_form::absolute;
  return head.target.find("://") != std::string_view::npos ? fault::none : fault::target;
}

parser::fault parser::scan::interpret_coding(request_head& head, const header_list& list) {
  std::size_t chunked = 0;
  std::size_t others = 0;
  bool last_chunked = false;
  for (const header& line : list) {
    if (!equal_ignoring_case(line.name, "transfer-encoding")) continue;
    std::string_view rest = line.value;
    do {
      const std::string_view coding = take_list_element(rest);
      last_chunked = equal_ignoring_case(coding, "chunked");
      if (coding.empty()) return fault::coding_order;
      ++(last_chunked ? chunked : others);
    } while (!rest.empty());
  }
  if (head.version == version::http_1_0) return fault::coding_in_1_0;
  if (head.has_content_length) return fault::length_and_coding;
  if (chunked > 1 || (chunked == 1 && !last_chunked)) return fault::coding_order;
  if (others > 0) return fault::coding_unknown;
  head.chunked = true;
  return fault::none;
}

// Whether nothing but one space stands around it: llhttp 8.1 refuses a length with tabs.
bool parser::scan::is_plain_value(std::string_view value) {
  return value.data()[-1] == ' ' && value.data()[-2] == ':' && value.data()[value.size()] == '\r';
}

// What the header lines say about the message. Lengths first: most names have another length than these six.
parser::fault parser::scan::interpret(request_head& head, const parser_options& options) {
  head.content_length = 0;
  head.has_content_length = head.chunked = head.upgrade = head.expect_continue = head.expect_unsupported = false;
  std::size_t hosts = 0;
  bool coded = false, close = false, keep = false, upgrade = false, has_upgrade = false;
  for (const header& line : head.headers) {
    switch (line.name.size()) {
      case 4:
        if (!chars::token_is(line.name, "host")) break;
        if (++hosts > 1) return fault::many_hosts;
        if (!is_host(line.value)) return fault::host;
        break;
      case 6:
        if (head.version == version::http_1_0 || !chars::token_is(line.name, "expect")) break;
        (equal_ignoring_case(line.value, "100-continue") ? head.expect_continue : head.expect_unsupported) = true;
        break;
      case 7: has_upgrade = has_upgrade || chars::token_is(line.name, "upgrade"); break;
      case 10:
        if (!chars::token_is(line.name, "connection")) break;
        for (std::string_view rest = line.value; !rest.empty();) {
          const std::string_view option = take_list_element(rest);
          close = close || equal_ignoring_case(option, "close");
          keep = keep || equal_ignoring_case(option, "keep-alive");
          upgrade = upgrade || equal_ignoring_case(option, "upgrade");
        }
        break;
      case 14:
        if (!chars::token_is(line.name, "content-length")) break;
        if (head.has_content_length) return fault::lengths_differ;
        if (!read_length(line.value, head.content_length)) return fault::length;
        head.has_content_length = true;
        plain = plain && is_plain_value(line.value);
        break;
      case 17: coded = coded || chars::token_is(line.name, "transfer-encoding"); break;
      default: break;
    }
  }
  const bool connects = head.method == method::connect;
  head.keep_alive = !close && (keep || head.version == version::http_1_1) && !connects;
  head.upgrade = (upgrade && has_upgrade) || connects;
  if (hosts == 0 && options.require_host && head.version == version::http_1_1) return fault::no_host;
  if (!coded) return fault::none;
  plain = false;
  return interpret_coding(head, head.headers);
}

// ----------------------------------------------------------------------------------------------------------- llhttp

struct parser::llhttp_glue {
  static llhttp_t* machine(std::byte* storage) { return std::launder(reinterpret_cast<llhttp_t*>(storage)); }
  static parser* owner(llhttp_t* m) { return static_cast<parser*>(m->data); }

  static int pause(llhttp_t* m, stop why) {
    owner(m)->stop_ = why;
    return HPE_PAUSED;
  }
  static int on_headers(llhttp_t* m) { return pause(m, stop::headers); }
  static int on_chunk_header(llhttp_t* m) { return pause(m, stop::chunk_header); }
  static int on_message(llhttp_t* m) { return pause(m, stop::message); }
  static int on_chunk_end(llhttp_t* m) {  // for the last chunk it comes behind the trailers, with on_message
    return owner(m)->state_ == state::trailers ? 0 : pause(m, stop::chunk_end);
  }
  static int on_body(llhttp_t* m, const char* at, std::size_t size) {
    owner(m)->body_ = {at, size};
    return pause(m, stop::body_piece);
  }

  static constexpr llhttp_settings_t make_settings() {
    llhttp_settings_t settings{};
    settings.on_headers_complete = on_headers;
    settings.on_chunk_header = on_chunk_header;
    settings.on_chunk_complete = on_chunk_end;
    settings.on_body = on_body;
    settings.on_message_complete = on_message;
    return settings;
  }
  static const llhttp_settings_t settings;
};

constinit const llhttp_settings_t parser::llhttp_glue::settings = make_settings();

parser::parser(const parser_options& options) noexcept : options_(options) {
  static_assert(sizeof(llhttp_t) <= sizeof(llhttp_) && alignof(llhttp_t) <= 8);
  static_assert(HTTP_DELETE == static_cast<int>(method::delete_) && HTTP_SOURCE == static_cast<int>(method::source));
  static_assert(std::size(failures) == static_cast<std::size_t>(fault::extension) + 1);
  new (llhttp_) llhttp_t;
}

// Feeds llhttp until a callback stops it or it refuses; returns the bytes used.
std::size_t parser::execute(std::string_view input) {
  llhttp_t* const m = llhttp_glue::machine(llhttp_);
  stop_ = stop::none;
  const llhttp_errno_t result = llhttp_execute(m, input.data(), input.size());
  if (result == HPE_OK) return input.size();
  const auto used = static_cast<std::size_t>(llhttp_get_error_pos(m) - input.data());
  if (result == HPE_PAUSED) {
    llhttp_resume(m);
  } else {
    stop_ = stop::refused;
  }
  return used;
}

bool parser::agrees_with_llhttp() const {
  const auto* m = std::launder(reinterpret_cast<const llhttp_t*>(llhttp_));
  return ((m->flags & F_CHUNKED) != 0) == head_.chunked &&
         ((m->flags & F_CONTENT_LENGTH) != 0) == head_.has_content_length &&
         m->content_length == head_.content_length && m->method == static_cast<std::uint8_t>(head_.method) &&
         m->http_major == 1 && m->http_minor == static_cast<std::uint8_t>(head_.version);
}

event parser::fail(fault why) {
  failure_ = failures[static_cast<std::size_t>(why)];
  state_ = state::failed;
  return event::error;
}

event parser::fail_by_llhttp() {
  const llhttp_t* m = llhttp_glue::machine(llhttp_);
  const llhttp_errno_t code = llhttp_get_errno(m);
  if (code == HPE_INVALID_VERSION || code == HPE_PAUSED_H2_UPGRADE) return fail(fault::version);
  fail(fault::two_readings);
  failure_.name = llhttp_errno_name(code);
  const char* reason = llhttp_get_error_reason(m);
  failure_.reason = reason != nullptr ? reason : "";
  return event::error;
}

// ----------------------------------------------------------------------------------------------------------- events

event parser::next(std::span<const std::byte>& input) {
  std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const event result = next(text);
  input = input.last(text.size());
  return result;
}

event parser::next(std::string_view& input) {
  switch (state_) {
    case state::message_end: return end_message();
    case state::closed: return event::closed;
    case state::switched: return event::switched;
    case state::failed: return event::error;
    default: break;
  }
  if (input.empty()) return event::need_more;
  switch (state_) {
    case state::head: return read_head(input);
    case state::sized_body: return read_sized_body(input);
    case state::chunk_line: return read_chunk_line(input);
    case state::chunk_data: return read_chunk_data(input);
    default: return read_trailers(input);
  }
}

event parser::read_head(std::string_view& input) {
  if (seen_ != 0 || !options_.plain_heads) return read_head_by_llhttp(input);
  scan s{input.data(), input.data() + std::min(input.size(), options_.max_head)};
  const bool taken = s.request_line(head_, options_) == fault::none && s.plain &&
                     s.lines(head_.headers, options_.max_headers) == fault::none &&
                     s.interpret(head_, options_) == fault::none && s.plain && scan::check_target(head_) == fault::none;
  if (!taken) return read_head_by_llhttp(input);
  const auto size = static_cast<std::size_t>(s.at - s.begin);
  head_.raw = {head_.raw.data(), size};
  input.remove_prefix(size);
  return accept_head();
}

event parser::read_head_by_llhttp(std::string_view& input) {
  if (seen_ == 0) {
    llhttp_t* const m = llhttp_glue::machine(llhttp_);
    llhttp_init(m, HTTP_REQUEST, &llhttp_glue::settings);
    m->data = this;
  }
  std::string_view whole;
  switch (feed_section(input, head_store_, whole)) {
    case fed::partly: return event::need_more;
    case fed::refused: return event::error;
    case fed::wholly: break;
  }
  seen_ = 0;
  return check_head(whole);
}

// One piece of a head or of trailers goes through llhttp; pieces are gathered in `store` unless the first is all.
parser::fed parser::feed_section(std::string_view& input, std::string& store, std::string_view& whole) {
  if (seen_ == 0) store.clear();
  const std::string_view piece = input.substr(0, options_.max_head - seen_);
  const std::size_t used = execute(piece);
  input.remove_prefix(used);
  if (stop_ == stop::refused) {
    fail_by_llhttp();
    return fed::refused;
  }
  const bool complete = stop_ != stop::none;
  if (complete && seen_ == 0) {
    whole = piece.substr(0, used);
    return fed::wholly;
  }
  store.append(piece.substr(0, used));
  seen_ += used;
  if (complete) {
    whole = store;
    return fed::wholly;
  }
  if (seen_ < options_.max_head) return fed::partly;
  fail(fault::head_size);
  return fed::refused;
}

// llhttp has accepted these bytes as a head; now the scanner must, and see the same framing.
event parser::check_head(std::string_view raw) {
  scan s{raw.data(), raw.data() + raw.size()};
  if (const fault why = s.request_line(head_, options_); why != fault::none) return fail(why);
  if (const fault why = s.lines(head_.headers, options_.max_headers); why != fault::none) return fail(why);
  if (s.at != s.end) return fail(fault::two_readings);
  head_.raw = {head_.raw.data(), static_cast<std::size_t>(s.end - head_.raw.data())};
  if (const fault why = scan::check_target(head_); why != fault::none) return fail(why);
  if (const fault why = s.interpret(head_, options_); why != fault::none) return fail(why);
  if (!agrees_with_llhttp()) return fail(fault::two_readings);
  return accept_head();
}

event parser::accept_head() {
  if (options_.max_body != 0 && head_.content_length > options_.max_body) return fail(fault::body_size);
  trailers_.clear();
  body_ = {};
  body_left_ = head_.content_length;
  body_seen_ = extension_bytes_ = 0;
  extension_ = extension::size;
  after_message_ = head_.keep_alive ? state::head : state::closed;
  if (head_.method == method::connect || !head_.has_body()) {  // content of a CONNECT has no meaning (RFC 9110 9.3.6)
    state_ = state::message_end;
  } else {
    state_ = head_.chunked ? state::chunk_line : state::sized_body;
  }
  return event::head;
}

event parser::read_sized_body(std::string_view& input) {
  body_ = input.substr(0, std::min<std::uint64_t>(body_left_, input.size()));
  input.remove_prefix(body_.size());
  body_left_ -= body_.size();
  if (body_left_ == 0) state_ = state::message_end;
  return event::body;
}

parser::extension parser::after(extension now, char c) {
  const bool token = chars::is_token_char(c);
  switch (now) {
    case extension::name_start: return token ? extension::name : extension::spoilt;
    case extension::value_start: return token ? extension::value : c == '"' ? extension::quoted : extension::spoilt;
    case extension::quoted:
      if (c == '"') return extension::closed;
      if (c == '\\') return extension::escaped;
      return chars::is_control(c) && c != '\t' ? extension::spoilt : extension::quoted;
    case extension::escaped: return chars::is_control(c) && c != '\t' ? extension::spoilt : extension::quoted;
    default: break;
  }
  if (c == ';') return extension::name_start;
  if (c == '\r') return extension::line_end;
  if (c == '=' && now == extension::name) return extension::value_start;
  return token && now != extension::closed ? now : extension::spoilt;
}

// Takes what belongs to a chunk's size line: the size and the line end through llhttp, extensions past it.
std::size_t parser::feed_chunk_line(std::string_view piece) {
  std::size_t used = 0;
  stop_ = stop::none;
  if (extension_ == extension::line_end) return execute(piece);
  if (extension_ == extension::size) {
    const auto size = static_cast<std::size_t>(std::ranges::find_if_not(piece, is_hex) - piece.begin());
    if (size == piece.size()) return execute(piece);
    if (piece[size] != ';' || seen_ + size == 0) {
      extension_ = extension::line_end;
      return execute(piece);
    }
    if (size > 0) execute(piece.substr(0, size));
    if (stop_ != stop::none) return size;
    extension_ = extension::name_start;
    used = size + 1;
  }
  for (; used < piece.size(); ++used) {
    extension_ = after(extension_, piece[used]);
    if (extension_ == extension::spoilt) return used;
    if (extension_ == extension::line_end) return used + execute(piece.substr(used));
  }
  return used;
}

event parser::read_chunk_line(std::string_view& input) {
  const std::size_t most = plain_chunk_line + options_.max_chunk_extensions - extension_bytes_;
  const std::size_t used = feed_chunk_line(input.substr(0, most - seen_));
  input.remove_prefix(used);
  seen_ += used;
  if (stop_ == stop::refused) return fail_by_llhttp();
  if (extension_ == extension::spoilt) return fail(fault::extension);
  if (stop_ == stop::none) return seen_ < most ? event::need_more : fail(fault::extension_size);

  extension_bytes_ += seen_ - std::min(seen_, plain_chunk_line);
  seen_ = 0;
  extension_ = extension::size;
  const std::uint64_t size = llhttp_glue::machine(llhttp_)->content_length;
  if (options_.max_body != 0 && size > options_.max_body - body_seen_) return fail(fault::body_size);
  body_seen_ += size;
  state_ = size == 0 ? state::trailers : state::chunk_data;
  return next(input);
}

event parser::read_chunk_data(std::string_view& input) {
  const std::size_t used = execute(input);
  input.remove_prefix(used);
  switch (stop_) {
    case stop::refused: return fail_by_llhttp();
    case stop::none: return event::need_more;
    case stop::body_piece: return event::body;
    default: break;
  }
  state_ = state::chunk_line;
  return next(input);
}

event parser::read_trailers(std::string_view& input) {
  std::string_view whole;
  switch (feed_section(input, trailer_store_, whole)) {
    case fed::partly: return event::need_more;
    case fed::refused: return event::error;
    case fed::wholly: break;
  }
  scan s{whole.data(), whole.data() + whole.size()};
  if (const fault why = s.lines(trailers_, options_.max_headers); why != fault::none) return fail(why);
  return s.at == s.end ? end_message() : fail(fault::two_readings);
}

event parser::end_message() {
  state_ = after_message_;
  seen_ = 0;
  return event::message_end;
}

event parser::finish() noexcept {
  switch (state_) {
    case state::message_end: return end_message();
    case state::switched: return event::switched;
    case state::failed: return event::error;
    case state::closed: return event::closed;
    case state::head:
      if (seen_ == 0 || head_store_.find_first_not_of("\r\n") == std::string::npos) {
        state_ = state::closed;
        return event::closed;
      }
      break;
    default: break;
  }
  return fail(fault::incomplete);
}

void parser::keep_head() {
  if (head_.raw.empty() ||
      (head_.raw.data() >= head_store_.data() && head_.raw.data() < head_store_.data() + head_store_.size())) {
    return;
  }
  head_store_.assign(head_.raw);
  rebase(head_, head_store_.data());
}

void parser::release_memory() {
  if (!idle()) return;
  head_ = {};
  trailers_ = {};
  body_ = {};
  std::string().swap(head_store_);
  std::string().swap(trailer_store_);
}

}  // namespace weir::net::http
