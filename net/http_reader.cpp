// net/http_reader.cpp: the event machine behind heads, and the glue to llhttp.
//
// llhttp is the parser of record: it judges heads, size lines of chunks and trailers byte by byte as they come, so
// nonsense is refused at once. What it accepts goes through the scanner of net/http_scan.hpp, which is stricter.
#include <weir/net/http_reader.hpp>

#include <algorithm>
#include <functional>
#include <iterator>
#include <new>

#include <llhttp/llhttp.h>

#include <weir/net/http_scan.hpp>

#if LLHTTP_STRICT_MODE != 1
#error "llhttp and this file must be compiled with LLHTTP_STRICT_MODE=1: loose llhttp 8.1 does not check chunk ends"
#endif

namespace weir::net::http {

// Where the reader of chunk extensions stands: ";" name ["=" (token | quoted-string)], RFC 9112 7.1.1. llhttp 8.1 sees
// none of them, because it refuses valid ones: names without values in a row, and escapes in quotes.
enum class message_reader::extension : std::uint8_t {
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

// In the order of message_reader::fault. Where later llhttp releases have a name for it, that is the name.
constexpr parse_failure failures[] = {
    {"HPE_OK", "", 0},
    {"HPE_INVALID_EOF_STATE", "The message is cut short", 400},
    {"HPE_INVALID_METHOD", "Invalid method", 400},
    {"HPE_INVALID_URL", "Invalid request target", 400},
    {"HPE_INVALID_CONSTANT", "Expected HTTP/", 400},
    {"HPE_INVALID_VERSION", "Neither HTTP/1.0 nor HTTP/1.1", 505},
    {"HPE_STRICT", "Missing LF after CR behind the version", 400},
    {"HPE_INVALID_VERSION", "Missing CR before LF behind the version", 400},
    {"HPE_INVALID_STATUS", "Invalid status code", 400},
    {"HPE_INVALID_STATUS", "Invalid character in the reason phrase", 400},
    {"HPE_LF_EXPECTED", "Missing LF after CR", 400},
    {"HPE_CR_EXPECTED", "Missing CR before LF", 400},
    {"HPE_STRICT", "Missing LF after CR", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Invalid character in a header name", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Invalid character in a header value", 400},
    {"HPE_INVALID_HEADER_TOKEN", "Header line that starts with a blank", 400},
    {"HPE_UNEXPECTED_SPACE", "Blank before the first header", 400},
    {"HPE_MISSING_HOST", "HTTP/1.1 request without Host", 400},
    {"HPE_DUPLICATE_HOST", "More than one Host", 400},
    {"HPE_INVALID_HOST", "Invalid Host", 400},
    {"HPE_INVALID_CONTENT_LENGTH", "Invalid Content-Length", 400},
    {"HPE_UNEXPECTED_CONTENT_LENGTH", "Content-Length given twice", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding with Content-Length", 400},
    {"HPE_INVALID_CONTENT_LENGTH", "Content-Length with Transfer-Encoding", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "chunked is not the last transfer coding, once", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "Unknown transfer coding", 501},
    {"HPE_INVALID_TRANSFER_ENCODING", "No chunked: nobody knows where the body ends", 400},
    {"HPE_INVALID_TRANSFER_ENCODING", "Transfer-Encoding in HTTP/1.0", 400},
    {"HPE_STRICT", "The framing can be read in two ways", 400},
    {"HPE_HEADER_OVERFLOW", "Head too large", 431},
    {"HPE_HEADER_OVERFLOW", "Too many header lines", 431},
    {"HPE_URL_OVERFLOW", "Request target too long", 414},
    {"HPE_BODY_OVERFLOW", "Body too large", 413},
    {"HPE_CHUNK_EXTENSIONS_OVERFLOW", "Chunk extensions too large", 413},
    {"HPE_STRICT", "Invalid chunk extension", 400},
};

constexpr int bad_gateway = 502;

// Sixteen digits, CR and LF, and two to spare: what is longer than this counts as extension.
constexpr std::size_t plain_chunk_line = 20;

// What made llhttp stop.
enum stop : std::uint8_t { none, refused, headers, chunk_header, body_piece, chunk_end, message };

bool is_hex(char c) { return chars::is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

}  // namespace

// ----------------------------------------------------------------------------------------------------------- llhttp

struct message_reader::llhttp_glue {
  static llhttp_t* machine(std::byte* storage) { return std::launder(reinterpret_cast<llhttp_t*>(storage)); }
  static const llhttp_t* machine(const std::byte* storage) {
    return std::launder(reinterpret_cast<const llhttp_t*>(storage));
  }
  static message_reader* owner(llhttp_t* m) { return static_cast<message_reader*>(m->data); }

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

constinit const llhttp_settings_t message_reader::llhttp_glue::settings = make_settings();

message_reader::message_reader(side of, const limits& most) noexcept : limits_(most), side_(of) {
  static_assert(sizeof(llhttp_t) <= sizeof(llhttp_) && alignof(llhttp_t) <= 8);
  static_assert(HTTP_DELETE == static_cast<int>(method::delete_) && HTTP_SOURCE == static_cast<int>(method::source));
  static_assert(std::size(failures) == static_cast<std::size_t>(fault::extension) + 1);
  new (llhttp_) llhttp_t;
}

message_reader::~message_reader() = default;

// Feeds llhttp until a callback stops it or it refuses; returns the bytes used.
std::size_t message_reader::execute(std::string_view input) {
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

// llhttp 8.1 does not know QUERY. It is shown POST instead, from which nothing that it looks at differs.
std::size_t message_reader::execute_request(std::string_view input) {
  constexpr std::string_view query = "QUERY";
  std::size_t used = 0;
  stop_ = stop::none;
  if (query_seen_ == 0) {
    used = input.find_first_not_of("\r\n");
    if (used == std::string_view::npos) return execute(input);
    if (input[used] != query.front()) query_seen_ = static_cast<std::uint8_t>(query.size());
  }
  if (query_seen_ == query.size()) return execute(input);
  if (used != 0) {
    const std::size_t before = execute(input.substr(0, used));
    if (stop_ != stop::none) return before;
  }
  while (query_seen_ != query.size()) {
    if (used == input.size()) return used;
    if (input[used] != query[query_seen_]) {
      execute(query.substr(0, 1));  // which no method of its own begins with
      return used;
    }
    ++used;
    ++query_seen_;
  }
  execute("POST");
  return used + execute(input.substr(used));
}

message_reader::judgement message_reader::llhttp_says() const noexcept {
  const llhttp_t* const m = llhttp_glue::machine(llhttp_);
  return {.content_length = m->content_length,
          .has_content_length = (m->flags & F_CONTENT_LENGTH) != 0,
          .chunked = (m->flags & F_CHUNKED) != 0,
          .major = m->http_major,
          .minor = m->http_minor,
          .method = m->method,
          .status = m->status_code};
}

event message_reader::fail(fault why) noexcept {
  failure_ = failures[static_cast<std::size_t>(why)];
  if (side_ == side::responses) failure_.status = bad_gateway;
  state_ = state::failed;
  return event::error;
}

event message_reader::fail_by_llhttp() noexcept {
  const llhttp_t* const m = llhttp_glue::machine(llhttp_);
  const llhttp_errno_t code = llhttp_get_errno(m);
  if (code == HPE_INVALID_VERSION || code == HPE_PAUSED_H2_UPGRADE) return fail(fault::version);
  fail(fault::two_readings);
  failure_.name = llhttp_errno_name(code);
  const char* reason = llhttp_get_error_reason(m);
  failure_.reason = reason != nullptr ? reason : "";
  return event::error;
}

// ------------------------------------------------------------------------------------------------------------ heads

message_reader::fed message_reader::feed_head(std::string_view& input, std::string_view& whole) {
  if (seen_ == 0) {
    llhttp_t* const m = llhttp_glue::machine(llhttp_);
    llhttp_init(m, side_ == side::requests ? HTTP_REQUEST : HTTP_RESPONSE, &llhttp_glue::settings);
    m->data = this;
    query_seen_ = 0;
  }
  const fed result = feed_section(input, head_store_, whole);
  if (result == fed::wholly) seen_ = 0;
  return result;
}

// One piece of a head or of trailers goes through llhttp; pieces are gathered in `store` unless the first is all.
message_reader::fed message_reader::feed_section(std::string_view& input, std::string& store, std::string_view& whole) {
  if (seen_ == 0) store.clear();
  const std::string_view piece = input.substr(0, limits_.max_head - seen_);
  const bool request = state_ == state::head && side_ == side::requests;
  const std::size_t used = request ? execute_request(piece) : execute(piece);
  input.remove_prefix(used);
  if (stop_ == stop::refused) {
    // For these llhttp stops before the byte that it refuses, for others before or behind it.
    const llhttp_errno_t code = llhttp_get_errno(llhttp_glue::machine(llhttp_));
    const bool before = code == HPE_INVALID_HEADER_TOKEN || code == HPE_INVALID_VERSION;
    store.append(piece.substr(0, before ? used + 1 : used));
    whole = store;
    return fed::refused;
  }
  const bool complete = stop_ != stop::none;
  if (complete && seen_ == 0) {
    whole = piece.substr(0, used);
    return fed::wholly;
  }
  store.append(piece.substr(0, used));
  seen_ += used;
  whole = store;
  if (complete) return fed::wholly;
  return seen_ < limits_.max_head ? fed::partly : fed::too_large;
}

bool message_reader::keeps(std::string_view text) const noexcept {
  const std::less<const char*> before;
  return !before(text.data(), head_store_.data()) && before(text.data(), head_store_.data() + head_store_.size());
}

std::string_view message_reader::keep(std::string_view text) {
  head_store_.assign(text);
  return head_store_;
}

void message_reader::free_memory() {
  trailers_ = {};
  body_ = {};
  std::string().swap(head_store_);
  std::string().swap(trailer_store_);
}

event message_reader::expect_sized(std::uint64_t length, state then) {
  if (limits_.max_body != 0 && length > limits_.max_body) return fail(fault::body_size);
  start_body(length == 0 ? state::message_end : state::sized_body, then);
  body_left_ = length;
  return event::head;
}

// ---------------------------------------------------------------------------------------------- what follows a head

event message_reader::read_on(std::string_view& input) {
  switch (state_) {
    case state::message_end: return end_message();
    case state::endless_body: return fail(fault::coding_open);
    case state::closed: return event::closed;
    case state::switched: return event::switched;
    case state::sized_body: return read_sized_body(input);
    case state::body_until_close: return read_until_close(input);
    case state::chunk_line: return read_chunk_line(input);
    case state::chunk_data: return read_chunk_data(input);
    case state::trailers: return read_trailers(input);
    default: return event::error;
  }
}

event message_reader::read_sized_body(std::string_view& input) {
  body_ = input.substr(0, std::min<std::uint64_t>(body_left_, input.size()));
  input.remove_prefix(body_.size());
  body_left_ -= body_.size();
  if (body_left_ == 0) state_ = state::message_end;
  return event::body;
}

event message_reader::read_until_close(std::string_view& input) {
  body_ = limits_.max_body == 0 ? input : input.substr(0, limits_.max_body - body_seen_);
  if (body_.empty()) return fail(fault::body_size);
  input.remove_prefix(body_.size());
  body_seen_ += body_.size();
  return event::body;
}

message_reader::extension message_reader::after(extension now, char c) {
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
std::size_t message_reader::feed_chunk_line(std::string_view piece) {
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

event message_reader::read_chunk_line(std::string_view& input) {
  const std::size_t most = plain_chunk_line + limits_.max_chunk_extensions - extension_bytes_;
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
  if (limits_.max_body != 0 && size > limits_.max_body - body_seen_) return fail(fault::body_size);
  body_seen_ += size;
  state_ = size == 0 ? state::trailers : state::chunk_data;
  return input.empty() ? event::need_more : read_on(input);
}

event message_reader::read_chunk_data(std::string_view& input) {
  const std::size_t used = execute(input);
  input.remove_prefix(used);
  switch (stop_) {
    case stop::refused: return fail_by_llhttp();
    case stop::none: return event::need_more;
    case stop::body_piece: return event::body;
    default: break;
  }
  state_ = state::chunk_line;
  return input.empty() ? event::need_more : read_on(input);
}

event message_reader::read_trailers(std::string_view& input) {
  std::string_view whole;
  switch (feed_section(input, trailer_store_, whole)) {
    case fed::partly: return event::need_more;
    case fed::too_large: return fail(fault::head_size);
    case fed::refused: return fail_by_llhttp();
    case fed::wholly: break;
  }
  scan s{whole.data(), whole.data() + whole.size()};
  if (const fault why = s.lines(trailers_, limits_.max_headers); why != fault::none) return fail(why);
  return s.at == s.end ? end_message() : fail(fault::two_readings);
}

event message_reader::end_message() {
  state_ = after_message_;
  seen_ = 0;
  return event::message_end;
}

event message_reader::finish() noexcept {
  switch (state_) {
    case state::message_end:
    case state::body_until_close: return end_message();
    case state::endless_body: return fail(fault::coding_open);
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

}  // namespace weir::net::http
