// net/http_parser.hpp: the receiving half of an HTTP/1.1 server without sockets: bytes in, events out. Rests on
// llhttp in strict mode, whose verdict every message gets except heads of the plainest form, which a stricter scanner
// of our own takes alone. Promises the same events however the input is cut, no allocation per request once warm, and
// that no input makes it crash, hang, or keep more than `max_head` bytes of a head and as many of trailers, with the
// two views of each header line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <weir/net/http_message.hpp>

namespace weir::net::http {

/// Limits and switches of a parser. Sizes are in bytes.
struct parser_options {
  std::size_t max_head = 16 * 1024;              ///< request line, headers and empty line; 431. Also for trailers
  std::size_t max_headers = 2000;                ///< header lines; 431. Also for trailer lines
  std::size_t max_target = 8 * 1024;             ///< 414
  std::uint64_t max_body = 0;                    ///< without chunk framing; 413. 0: no limit
  std::size_t max_chunk_extensions = 16 * 1024;  ///< of all chunks of one message; 413
  bool require_host = true;                      ///< HTTP/1.1 without Host: 400 (RFC 9112 3.2)
  bool plain_heads = true;                       ///< false: ask llhttp about every head, for comparison
};

enum class event : std::uint8_t {
  need_more,    ///< all input is used up; call again with the bytes that follow
  head,         ///< a request head is complete: `head()`
  body,         ///< a piece of the body: `body()`, never empty
  message_end,  ///< the request is complete; `trailers()` if it was chunked
  closed,       ///< no further request will be read on this connection; input is left alone
  switched,     ///< after `switch_protocols`: input belongs to the caller from here on
  error,        ///< `failure()`; answer it and close. Every later call gives the same
};

/// Why a connection's input was refused.
struct parse_failure {
  std::string_view name;    ///< llhttp's, such as "HPE_INVALID_METHOD", or one in its manner for limits
  std::string_view reason;  ///< for people
  int status = 0;           ///< to answer: 400, 413, 414, 431, 501 or 505
};

/// Parser for the requests of one connection.
///
/// The caller hands in what it received and takes one event at a time; `next` removes the bytes it has used. It stops
/// behind every head and every message end, so pipelined requests stay unparsed in the caller's buffer until asked
/// for. Errors are events; nothing is thrown but std::bad_alloc. Not for use from two threads at once.
class parser {
 public:
  explicit parser(const parser_options& options = {}) noexcept;
  parser(const parser&) = delete;
  parser& operator=(const parser&) = delete;

  /// Advances to the next event and removes the bytes used from the front of `input`.
  event next(std::string_view& input);
  event next(std::span<const std::byte>& input);

  /// Tells that the peer sends no more.
  /// @return `closed` between messages, `switched` if so, otherwise `error` with HPE_INVALID_EOF_STATE
  event finish() noexcept;

  /// The request of the last `head` event. Its views hold until `next` is called after `message_end`, and, if the head
  /// arrived in one piece, only as long as the buffer it was parsed from; `keep_head` lifts the second condition.
  const request_head& head() const noexcept { return head_; }

  /// Copies the head's text into the parser, so that the receive buffer may be reused while the body is being read.
  /// Does nothing if it is there already.
  void keep_head();

  /// The piece of the last `body` event, a view into the input of that call.
  std::string_view body() const noexcept { return body_; }

  /// Trailer fields (RFC 9112 7.1.2), valid from `message_end` until the next call, and as long as the input of the
  /// call that gave it. They never change the head.
  const header_list& trailers() const noexcept { return trailers_; }

  const parse_failure& failure() const noexcept { return failure_; }

  /// Ends HTTP behind the current request: after its `message_end` comes `switched`, as after an accepted upgrade or
  /// CONNECT. Call between `head` and `message_end`.
  void switch_protocols() noexcept { after_message_ = state::switched; }

  /// Refuses further requests behind the current one, as for a response that closes the connection.
  void close_after_message() noexcept { after_message_ = state::closed; }

  /// Whether the connection is between messages with nothing of the next one received: the keep-alive timeout counts,
  /// not the header timeout.
  bool idle() const noexcept { return state_ == state::head && seen_ == 0; }

  /// Gives all memory back if the connection is idle. Views from before are void.
  void release_memory();

 private:
  enum class state : std::uint8_t {
    head,
    sized_body,
    chunk_line,
    chunk_data,
    trailers,
    message_end,
    closed,
    switched,
    failed
  };
  enum class fault : std::uint8_t;
  enum class extension : std::uint8_t;
  enum class fed : std::uint8_t { partly, wholly, refused };
  struct llhttp_glue;
  struct scan;

  event read_head(std::string_view& input);
  event read_head_by_llhttp(std::string_view& input);
  event read_sized_body(std::string_view& input);
  event read_chunk_line(std::string_view& input);
  event read_chunk_data(std::string_view& input);
  event read_trailers(std::string_view& input);
  event end_message();
  event accept_head();
  event check_head(std::string_view raw);
  bool agrees_with_llhttp() const;
  fed feed_section(std::string_view& input, std::string& store, std::string_view& whole);
  std::size_t feed_chunk_line(std::string_view piece);
  static extension after(extension now, char c);
  std::size_t execute(std::string_view input);
  event fail(fault why);
  event fail_by_llhttp();

  alignas(8) std::byte llhttp_[112];  // llhttp_t, which the source checks
  parser_options options_;
  request_head head_;
  header_list trailers_;
  std::string_view body_;
  std::string head_store_;     // of a head that came in pieces, or was kept
  std::string trailer_store_;  // the same for trailers
  parse_failure failure_;
  std::uint64_t body_left_ = 0;  // of a sized body or of the current chunk
  std::uint64_t body_seen_ = 0;  // of a chunked body
  std::size_t seen_ = 0;         // bytes of the head, chunk line or trailers before this call
  std::size_t extension_bytes_ = 0;
  state state_ = state::head;
  state after_message_ = state::head;
  extension extension_{};  // of the chunk line being read
  std::uint8_t stop_ = 0;  // which callback made llhttp stop
};

}  // namespace weir::net::http
