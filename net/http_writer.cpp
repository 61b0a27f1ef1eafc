// net/http_writer.cpp: measures a response head while checking it, then writes it in one go into the grown buffer.
// Rests on the character classes and the status table; no state.
#include <weir/net/http_writer.hpp>

#include <algorithm>
#include <array>
#include <cstring>

#include <weir/net/http_chars.hpp>

namespace weir::net::http {
namespace {

using framing = body_framing::kind;
using namespace std::string_view_literals;

constexpr std::string_view date_template = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

int digits_of(std::uint64_t number) {
  int digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return digits;
}

char* put(char* at, std::string_view text) {
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

// For names and values, which are short: two words cost less than a call to memcpy.
char* put_short(char* at, std::string_view text) {
  if (text.size() < 8 || text.size() > 16) return put(at, text);
  std::memcpy(at, text.data(), 8);
  at += text.size();
  std::memcpy(at - 8, text.data() + text.size() - 8, 8);
  return at;
}

char* put_number(char* at, std::uint64_t number, int digits) {
  for (char* digit = at + digits; digit != at; number /= 10) *--digit = static_cast<char>('0' + number % 10);
  return at + digits;
}

bool has_no_content(int status, method request) {
  return status < 200 || status == 204 || status == 304 || (request == method::connect && status < 300);
}

// What the handler's headers say that the server would otherwise say.
struct own_headers {
  bool date = false;
  bool length = false;
  bool coding = false;
  bool connection = false;
  bool close = false;
  bool keep_alive = false;
  std::size_t size = 0;  // of all lines, in bytes

  header_fault note(const header& line, const response_head& response);
};

bool is_number(std::string_view text, std::uint64_t number) {
  char buffer[20];
  const int digits = digits_of(number);
  put_number(buffer, number, digits);
  return text == std::string_view(buffer, static_cast<std::size_t>(digits));
}

header_fault own_headers::note(const header& line, const response_head& response) {
  if (!is_token(line.name)) return header_fault::name;
  if (!is_field_value(line.value)) return header_fault::value;
  size += line.name.size() + line.value.size() + 4;
  switch (line.name.size()) {
    case 4: date = date || equal_ignoring_case(line.name, "date"); break;
    case 10:
      if (!equal_ignoring_case(line.name, "connection")) break;
      connection = true;
      for (std::string_view rest = line.value; !rest.empty();) {
        const std::string_view option = take_list_element(rest);
        close = close || equal_ignoring_case(option, "close");
        keep_alive = keep_alive || equal_ignoring_case(option, "keep-alive");
      }
      break;
    case 14:
      if (!equal_ignoring_case(line.name, "content-length")) break;
      if (length || response.body.how != framing::sized || !is_number(line.value, response.body.length)) {
        return header_fault::content_length;
      }
      length = true;
      break;
    case 17:
      if (!equal_ignoring_case(line.name, "transfer-encoding")) break;
      if (coding || response.body.how != framing::chunked || !equal_ignoring_case(line.value, "chunked")) {
        return header_fault::transfer_encoding;
      }
      coding = true;
      break;
    default: break;
  }
  return header_fault::none;
}

// Framing lines are ours to write (or, for 204 and its like, to leave out), so the handler's copies are passed over.
bool is_ours(const header& line, const own_headers& own, bool drop_connection) {
  switch (line.name.size()) {
    case 10: return drop_connection && equal_ignoring_case(line.name, "connection");
    case 14: return own.length && equal_ignoring_case(line.name, "content-length");
    case 17: return own.coding && equal_ignoring_case(line.name, "transfer-encoding");
    default: return false;
  }
}

enum class connection_line : std::uint8_t { none, close, keep_alive };

// The decisions between the handler's wishes and the bytes.
struct plan {
  framing announced = framing::none;  // what the headers say
  framing sent = framing::none;       // what follows them
  bool keep_alive = true;
  connection_line connection = connection_line::none;
  bool drop_connection = false;  // the handler promised keep-alive, but the connection closes
};

plan make_plan(const response_head& response, const own_headers& own) {
  plan p;
  const bool old = response.request_version == version::http_1_0;
  p.announced = response.body.how;
  if (old && p.announced == framing::chunked) p.announced = framing::until_close;
  p.sent = p.announced;
  if (response.status == 205) {
    p.announced = framing::sized;
    p.sent = framing::none;
  }
  if (has_no_content(response.status, response.request_method)) p.announced = p.sent = framing::none;
  if (response.request_method == method::head) p.sent = framing::none;

  const bool interim = response.status < 200;
  p.keep_alive = interim || (response.keep_alive && !own.close && p.sent != framing::until_close);
  const bool tunnel = response.request_method == method::connect && response.status < 300;
  if (interim || tunnel) return p;
  if (!p.keep_alive) {
    p.drop_connection = own.keep_alive && !own.close;
    if (!own.close) p.connection = connection_line::close;
  } else if ((old || response.announce_keep_alive) && !own.connection) {
    p.connection = connection_line::keep_alive;
  }
  return p;
}

constexpr std::string_view close_line = "Connection: close\r\n";
constexpr std::string_view keep_alive_line = "Connection: keep-alive\r\n";
constexpr std::string_view timeout_start = "Keep-Alive: timeout=";
constexpr std::string_view length_start = "Content-Length: ";
constexpr std::string_view chunked_line = "Transfer-Encoding: chunked\r\n";

struct head_writer {
  const response_head& response;
  const own_headers& own;
  const plan& p;
  std::string_view reason;
  std::uint64_t length = 0;
  int length_digits = 0;
  int timeout_digits = 0;
  bool dated = false;

  std::size_t measure();
  void write(char* at) const;
};

// At most what `write` needs: lines that are passed over are counted.
std::size_t head_writer::measure() {
  length = response.status == 205 ? 0 : response.body.length;
  dated = !own.date && response.status >= 200;
  std::size_t size = "HTTP/1.1 200 \r\n\r\n"sv.size() + reason.size() + own.size;
  if (dated) size += response.date_line.size();
  if (p.announced == framing::sized) {
    length_digits = digits_of(length);
    size += length_start.size() + static_cast<std::size_t>(length_digits) + 2;
  } else if (p.announced == framing::chunked) {
    size += chunked_line.size();
  }
  if (p.connection == connection_line::close) size += close_line.size();
  if (p.connection == connection_line::keep_alive) {
    size += keep_alive_line.size();
    if (response.keep_alive_timeout.count() > 0) {
      timeout_digits = digits_of(static_cast<std::uint64_t>(response.keep_alive_timeout.count()));
      size += timeout_start.size() + static_cast<std::size_t>(timeout_digits) + 2;
    }
  }
  for (const header& line : response.headers) {
    if (is_ours(line, own, p.drop_connection)) size -= line.name.size() + line.value.size() + 4;
  }
  return size;
}

void head_writer::write(char* at) const {
  if (response.status == 200 && response.reason.empty()) {
    at = put(at, "HTTP/1.1 200 OK\r\n"sv);
  } else {
    at = put(at, "HTTP/1.1 "sv);
    at = put_number(at, static_cast<std::uint64_t>(response.status), 3);
    *at++ = ' ';
    at = put(at, reason);
    at = put(at, "\r\n"sv);
  }
  for (const header& line : response.headers) {
    if (is_ours(line, own, p.drop_connection)) continue;
    at = put_short(at, line.name);
    at = put(at, ": "sv);
    at = put_short(at, line.value);
    at = put(at, "\r\n"sv);
  }
  if (dated) {
    at = response.date_line.size() == date_template.size() ? put(at, {response.date_line.data(), date_template.size()})
                                                           : put(at, response.date_line);
  }
  if (p.connection == connection_line::close) at = put(at, close_line);
  if (p.connection == connection_line::keep_alive) at = put(at, keep_alive_line);
  if (timeout_digits > 0) {
    at = put(at, timeout_start);
    at = put_number(at, static_cast<std::uint64_t>(response.keep_alive_timeout.count()), timeout_digits);
    at = put(at, "\r\n"sv);
  }
  if (p.announced == framing::sized) {
    at = put(at, length_start);
    at = put_number(at, length, length_digits);
    at = put(at, "\r\n"sv);
  } else if (p.announced == framing::chunked) {
    at = put(at, chunked_line);
  }
  put(at, "\r\n"sv);
}

// Fields that a recipient needs before the body, or that would change the framing behind its back.
constexpr std::string_view not_trailers[] = {
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "keep-alive",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
};

// Date line for the second that starts at `second`.
void write_date_line(std::chrono::sys_seconds second, char* line) {
  using namespace std::chrono;
  second = std::clamp(second, sys_seconds(sys_days(year(0) / January / 1)),
                      sys_seconds(sys_days(year(9999) / December / 31)) + hours(24) - seconds(1));
  const sys_days day = floor<days>(second);
  const year_month_day date(day);
  const hh_mm_ss time(second - day);
  const auto number = [line](std::size_t at, int value, int digits) {
    put_number(line + at, static_cast<std::uint64_t>(value), digits);
  };
  put(line, date_template);
  put(line + 6, "SunMonTueWedThuFriSat"sv.substr(std::size_t{3} * weekday(day).c_encoding(), 3));
  number(11, static_cast<int>(static_cast<unsigned>(date.day())), 2);
  put(line + 14,
      "JanFebMarAprMayJunJulAugSepOctNovDec"sv.substr(std::size_t{3} * (static_cast<unsigned>(date.month()) - 1), 3));
  number(18, static_cast<int>(date.year()), 4);
  number(23, static_cast<int>(time.hours().count()), 2);
  number(26, static_cast<int>(time.minutes().count()), 2);
  number(29, static_cast<int>(time.seconds().count()), 2);
}

}  // namespace

std::string_view code_of(header_fault fault) noexcept {
  switch (fault) {
    case header_fault::status: return "ERR_HTTP_INVALID_STATUS_CODE";
    case header_fault::name: return "ERR_INVALID_HTTP_TOKEN";
    case header_fault::reason:
    case header_fault::value: return "ERR_INVALID_CHAR";
    case header_fault::content_length: return "ERR_HTTP_CONTENT_LENGTH_MISMATCH";
    case header_fault::transfer_encoding: return "ERR_HTTP_TRANSFER_ENCODING_MISMATCH";
    case header_fault::trailer: return "ERR_HTTP_TRAILER_INVALID";
    case header_fault::none: break;
  }
  return {};
}

head_result append_response_head(std::string& out, const response_head& response) {
  if (response.status < 100 || response.status > 999) return {.fault = header_fault::status};
  if (!is_field_value(response.reason)) return {.fault = header_fault::reason};
  own_headers own;
  for (std::size_t i = 0; i < response.headers.size(); ++i) {
    const header_fault fault = own.note(response.headers[i], response);
    if (fault != header_fault::none) return {.fault = fault, .index = i};
  }
  const plan p = make_plan(response, own);
  const std::string_view reason = response.reason.empty() ? status_text(response.status) : response.reason;
  head_writer writer{response, own, p, reason};
  const std::size_t size = writer.measure();
  std::array<char, 512> local;  // a copy is cheaper than having the string fill itself with zeros first
  if (size <= local.size()) {
    writer.write(local.data());
    out.append(local.data(), size);
  } else {
    out.resize(out.size() + size);
    writer.write(out.data() + out.size() - size);
  }
  return {.body = p.sent, .keep_alive = p.keep_alive};
}

void append_continue(std::string& out) { out += "HTTP/1.1 100 Continue\r\n\r\n"sv; }

void append_chunk_head(std::string& out, std::uint64_t size) {
  char line[18];
  char* at = line + sizeof line;
  *--at = '\n';
  *--at = '\r';
  do {
    *--at = "0123456789abcdef"[size & 15];
    size >>= 4;
  } while (size != 0);
  out.append(at, line + sizeof line);
}

void append_chunk(std::string& out, std::string_view data) {
  if (data.empty()) return;
  append_chunk_head(out, data.size());
  out += data;
  out += chunk_end;
}

bool may_be_trailer(std::string_view name) noexcept {
  return std::ranges::none_of(not_trailers, [&](std::string_view n) { return equal_ignoring_case(n, name); });
}

head_result append_last_chunk(std::string& out, std::span<const header> trailers) {
  for (std::size_t i = 0; i < trailers.size(); ++i) {
    if (!is_token(trailers[i].name)) return {.fault = header_fault::name, .index = i};
    if (!is_field_value(trailers[i].value)) return {.fault = header_fault::value, .index = i};
    if (!may_be_trailer(trailers[i].name)) return {.fault = header_fault::trailer, .index = i};
  }
  out += "0\r\n"sv;
  for (const header& line : trailers) {
    out += line.name;
    out += ": "sv;
    out += line.value;
    out += "\r\n"sv;
  }
  out += "\r\n"sv;
  return {};
}

std::string format_http_date(std::chrono::system_clock::time_point time) {
  char line[date_template.size()];
  write_date_line(std::chrono::floor<std::chrono::seconds>(time), line);
  return {line + 6, 29};
}

void date_cache::renew(std::chrono::system_clock::time_point now) noexcept {
  const auto second = std::chrono::floor<std::chrono::seconds>(now);
  write_date_line(second, line_);
  from_ = second;
  until_ = second + std::chrono::seconds(1);
}

}  // namespace weir::net::http
