// net/http_parser.hpp: the receiving half of an HTTP/1.1 server without sockets: bytes in, events out. Rests on
// llhttp in strict mode, whose verdict every message gets except heads of the plainest form, which a stricter scanner
// of our own takes alone. Promises the same events however the input is cut, no allocation per request once warm, and
// that no input makes it crash, hang, or keep more than `max_head` bytes of a head and as many of trailers, with the
// two views of each header line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <weir/net/http_message.hpp>
#include <weir/net/http_reader.hpp>

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
  /// More than one Host, one that is no `host[:port]`, and such an absolute target: 400. False: nothing may rest on it.
  bool check_host = true;
  /// True: codings before a final `chunked` are let through, and the body comes as it was coded; what does not end in
  /// `chunked` is an error behind its head; empty elements of the list are passed over. False: 501, and 400 for those.
  bool other_codings = false;
};

/// Parser for the requests of one connection.
///
/// The caller hands in what it received and takes one event at a time; `next` removes the bytes it has used. It stops
/// behind every head and every message end, so pipelined requests stay unparsed in the caller's buffer until asked
/// for. Errors are events; nothing is thrown but std::bad_alloc. Not for use from two threads at once.
class parser : public message_reader {
 public:
  explicit parser(const parser_options& options = {}) noexcept;

  /// Advances to the next event and removes the bytes used from the front of `input`.
  event next(std::string_view& input);
  event next(std::span<const std::byte>& input);

  /// The request of the last `head` event. Its views hold until `next` is called after `message_end`, and, if the head
  /// arrived in one piece, only as long as the buffer it was parsed from; `keep_head` lifts the second condition.
  const request_head& head() const noexcept { return head_; }

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
  event accept_head(bool endless);

  request_head head_;
  std::size_t max_target_;
  bool require_host_;
  bool plain_heads_;
  bool check_host_;
  bool other_codings_;
};

/// The host, with its port if there is one, that a request is for: an absolute or authority-form target's, whatever
/// Host says, and Host's otherwise (RFC 9112 3.2.2 and 3.3). A view into the head; empty if the request names none.
std::string_view authority_of(const request_head& head) noexcept;

}  // namespace weir::net::http
