// net/http_writer.hpp: the sending half of an HTTP/1.1 server without sockets: appends response heads, chunks and
// trailers to a byte buffer. Rests on net/http_message. Promises that nothing a handler puts into a status, name or
// value can split a response or contradict its framing: such a head is refused and the buffer left as it was.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <weir/net/http_message.hpp>

namespace weir::net::http {

/// How the end of a response body is told (RFC 9112 6).
struct body_framing {
  enum class kind : std::uint8_t { none, sized, chunked, until_close };

  kind how = kind::sized;
  std::uint64_t length = 0;  ///< bytes, if sized

  static constexpr body_framing sized(std::uint64_t bytes) { return {kind::sized, bytes}; }
  static constexpr body_framing chunked() { return {kind::chunked, 0}; }
  static constexpr body_framing until_close() { return {kind::until_close, 0}; }
};

/// Everything a response head is made of. The views need only live during the call.
struct response_head {
  int status = 200;                      ///< 100 to 999
  std::string_view reason = {};          ///< empty: the standard one
  std::span<const header> headers = {};  ///< the handler's, written as they are
  body_framing body = {};                ///< for HEAD: what GET would have
  method request_method = method::get;
  version request_version = version::http_1_1;
  bool keep_alive = true;                      ///< whether the server is willing to
  bool announce_keep_alive = false;            ///< `Connection: keep-alive` to 1.1 too, where it goes without saying
  std::chrono::seconds keep_alive_timeout{0};  ///< announced as `Keep-Alive: timeout=N` along with it; 0: not at all
  std::string_view date_line = {};             ///< `date_cache::line`; empty: no Date
};

/// Why a head or trailers were refused.
enum class header_fault : std::uint8_t {
  none,
  status,             ///< outside 100 to 999
  reason,             ///< control characters in the reason phrase
  name,               ///< not a token
  value,              ///< control characters in a value
  content_length,     ///< Content-Length given that differs from `body`
  transfer_encoding,  ///< Transfer-Encoding given that differs from `body`
  trailer,            ///< a field that must not be a trailer (RFC 9110 6.5.1)
};

/// Node's error code: ERR_HTTP_INVALID_STATUS_CODE, ERR_INVALID_HTTP_TOKEN, ERR_INVALID_CHAR, ...; empty for none.
std::string_view code_of(header_fault fault) noexcept;

/// What `append_response_head` did.
struct head_result {
  header_fault fault = header_fault::none;
  std::size_t index = 0;                               ///< of the header at fault
  body_framing::kind body = body_framing::kind::none;  ///< how to send the body; none: there must not be one
  bool keep_alive = true;                              ///< whether the connection can go on behind this response

  explicit operator bool() const noexcept { return fault == header_fault::none; }
};

/// Appends status line, headers and empty line.
///
/// The status line always says HTTP/1.1 (RFC 9110 6.2), as Node's does. Responses without content (1xx, 204, 304, to
/// HEAD, 2xx to CONNECT) get `body` none; 1xx, 204, 304 and 2xx to CONNECT no framing header either, and 1xx no Date.
/// 205 always says `Content-Length: 0`. A 2xx to CONNECT says nothing about the connection, which HTTP leaves. For
/// HTTP/1.0, chunked turns into until_close. `Connection: close` is written whenever the connection will not go on,
/// `Connection: keep-alive` to HTTP/1.0 when it will. A handler's own Date, Connection, and agreeing Content-Length or
/// Transfer-Encoding take the place of ours; its `Connection: close` is obeyed. The default is fewer bytes than Node,
/// which always announces: set `announce_keep_alive` for its form.
head_result append_response_head(std::string& out, const response_head& response);

/// Appends `HTTP/1.1 100 Continue` with its empty line.
void append_continue(std::string& out);

/// Appends one chunk (RFC 9112 7.1); nothing for empty data, which would end the body.
void append_chunk(std::string& out, std::string_view data);

/// Appends the size line of a chunk whose data goes out by another way, followed by `chunk_end`. `size` is not 0.
void append_chunk_head(std::string& out, std::uint64_t size);
inline constexpr std::string_view chunk_end = "\r\n";

/// Whether a field of that name may be a trailer: one that a recipient needs before the body, or that would change the
/// framing behind its back, may not (RFC 9110 6.5.1).
bool may_be_trailer(std::string_view name) noexcept;

/// Appends the last chunk and the trailers.
/// @return the fault and the index of the trailer at fault; nothing is appended then
head_result append_last_chunk(std::string& out, std::span<const header> trailers = {});

/// `time` as an IMF-fixdate (RFC 9110 5.6.7), "Sun, 06 Nov 1994 08:49:37 GMT"; years are held within 0 to 9999.
std::string format_http_date(std::chrono::system_clock::time_point time);

/// The Date header of the current second. One per worker; it calls no clock and formats when the second changes.
class date_cache {
 public:
  /// "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", valid until the next call.
  std::string_view line(std::chrono::system_clock::time_point now) noexcept {
    if (now < from_ || now >= until_) renew(now);
    return {line_, sizeof line_};
  }

  /// The date alone, valid until the next call of either.
  std::string_view value(std::chrono::system_clock::time_point now) noexcept { return line(now).substr(6, 29); }

 private:
  void renew(std::chrono::system_clock::time_point now) noexcept;

  std::chrono::system_clock::time_point from_ = std::chrono::system_clock::time_point::max();
  std::chrono::system_clock::time_point until_ = std::chrono::system_clock::time_point::min();
  char line_[37];
};

}  // namespace weir::net::http
