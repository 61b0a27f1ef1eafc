// net/http_response_parser.hpp: the receiving half of an HTTP/1.1 client without sockets: bytes in, events out. The
// other face of net/http_reader.hpp, as strict as the parser of requests, and like it resting on llhttp and a scanner
// that both have to agree. Promises the same events however the input is cut, no allocation per response once warm,
// and that no input makes it crash, hang, or keep more than the limits say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <weir/net/http_message.hpp>
#include <weir/net/http_reader.hpp>

namespace weir::net::http {

/// The head of a response that was received (`response_head` is one to be sent): status line, headers, and what they
/// say about the rest of the message. A plain view: see `response_parser::head`.
struct received_head {
  std::string_view raw;     ///< all of it, from "HTTP/" to the empty line
  std::string_view reason;  ///< as sent; may be empty and may hold bytes above ASCII
  header_list headers;
  std::uint64_t content_length = 0;  ///< as sent, also where there is no body
  int status = 0;                    ///< 100 to 999
  http::version version = http::version::http_1_1;
  bool has_content_length = false;
  bool chunked = false;      ///< `chunked` is the last transfer coding
  bool has_body = false;     ///< a body follows, which may turn out empty
  bool until_close = false;  ///< it ends with the connection
  bool keep_alive = true;    ///< RFC 9112 9.3; always true for interim responses, which another one follows
  bool upgrade = false;      ///< HTTP is over behind it: 101 with `Upgrade`, or 2xx to CONNECT

  /// 1xx, which another response to the same request follows; not an upgrade.
  bool interim() const noexcept { return status < 200 && !upgrade; }
};

/// Limits and switches of a response parser. Sizes are in bytes.
struct response_parser_options {
  std::size_t max_head = 16 * 1024;              ///< status line, headers and empty line. Also for trailers
  std::size_t max_headers = 2000;                ///< header lines. Also for trailer lines
  std::uint64_t max_body = 0;                    ///< without chunk framing. 0: no limit
  std::size_t max_chunk_extensions = 16 * 1024;  ///< of all chunks of one message
  bool plain_heads = true;                       ///< false: ask llhttp about every head, for comparison
};

/// Parser for the responses of one connection.
///
/// The caller hands in what it received and takes one event at a time; `next` removes the bytes it has used. Interim
/// responses are messages of their own: `head`, `message_end`. Behind a 101 that names its upgrade, and behind 2xx to
/// CONNECT, comes `switched`, and the rest of the input is left alone. A body without length or chunks lasts until
/// `finish`, which then gives `message_end`. Other transfer codings than `chunked` are not undone: the body is as it
/// was sent. Errors are events; nothing is thrown but std::bad_alloc. Not for use from two threads at once.
class response_parser : public message_reader {
 public:
  explicit response_parser(const response_parser_options& options = {}) noexcept;

  /// Tells what the next final response answers, because HEAD and CONNECT change where it ends (RFC 9112 6.3). Call
  /// before its `head`; counts for one response, and without it GET is assumed.
  void expect(method request) noexcept { request_ = request; }

  /// Advances to the next event and removes the bytes used from the front of `input`.
  event next(std::string_view& input);
  event next(std::span<const std::byte>& input);

  /// The response of the last `head` event. Its views hold until `next` is called after `message_end`, and, if the
  /// head arrived in one piece, only as long as the buffer it was parsed from; `keep_head` lifts the second condition.
  const received_head& head() const noexcept { return head_; }

  /// Copies the head's text into the parser, so that the receive buffer may be reused while the body is being read.
  /// Does nothing if it is there already.
  void keep_head();

  /// Gives all memory back if the connection is idle. Views from before are void.
  void release_memory();

 private:
  struct head_scan;

  event read_head(std::string_view& input);
  event read_head_slowly(std::string_view& input);
  event check_head(std::string_view raw);
  bool agrees_with_llhttp() const noexcept;
  void decide_framing(bool coded) noexcept;
  event accept_head();

  received_head head_;
  method request_ = method::get;
  bool plain_heads_;
};

/// Points a head that was cut from `head.raw` at a copy of those bytes that starts at `copy`.
void rebase(received_head& head, const char* copy) noexcept;

}  // namespace weir::net::http
