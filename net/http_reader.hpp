// net/http_reader.hpp: what the parsers of requests and of responses share: events, failures, and all that follows a
// head: bodies, chunks, trailers and the end. Rests on llhttp, which stays behind the compiled body. Promises the same
// events however the input is cut, and that nothing a peer sends makes it keep more than the limits say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <weir/net/http_message.hpp>

namespace weir::net::http {

enum class event : std::uint8_t {
  need_more,    ///< all input is used up; call again with the bytes that follow
  head,         ///< a head is complete: `head()`
  body,         ///< a piece of the body: `body()`, never empty
  message_end,  ///< the message is complete; `trailers()` if it was chunked
  closed,       ///< no further message will be read on this connection; input is left alone
  switched,     ///< HTTP is over: input belongs to the caller from here on
  error,        ///< `failure()`; every later call gives the same
};

/// Why a connection's input was refused.
struct parse_failure {
  std::string_view name;    ///< llhttp's, such as "HPE_INVALID_METHOD", or one in its manner for limits
  std::string_view reason;  ///< for people
  int status = 0;           ///< a server's answer: 400, 413, 414, 431, 501 or 505; for responses 502, a gateway's
};

/// The common half of `parser` and `response_parser`; not for use alone. Not for use from two threads at once.
class message_reader {
 public:
  message_reader(const message_reader&) = delete;
  message_reader& operator=(const message_reader&) = delete;

  /// Tells that the peer sends no more.
  /// @return `closed` between messages, `switched` if so, `message_end` if it is the end of the connection that ends
  /// the body (responses only; `closed` comes next), otherwise `error` with HPE_INVALID_EOF_STATE
  event finish() noexcept;

  /// The piece of the last `body` event, a view into the input of that call.
  std::string_view body() const noexcept { return body_; }

  /// Trailer fields (RFC 9112 7.1.2), valid from `message_end` until the next call, and as long as the input of the
  /// call that gave it. They never change the head.
  const header_list& trailers() const noexcept { return trailers_; }

  const parse_failure& failure() const noexcept { return failure_; }

  /// Ends HTTP behind the current message: after its `message_end` comes `switched`. For a server that accepts an
  /// upgrade or CONNECT; the parser of responses does it by itself. Call between `head` and `message_end`.
  void switch_protocols() noexcept { after_message_ = state::switched; }

  /// Refuses further messages behind the current one, as for a response that closes the connection.
  void close_after_message() noexcept { after_message_ = state::closed; }

  /// Whether the connection is between messages with nothing of the next one received: the keep-alive timeout counts,
  /// not the header timeout.
  bool idle() const noexcept { return state_ == state::head && seen_ == 0; }

 protected:
  enum class state : std::uint8_t {
    head,
    sized_body,
    body_until_close,
    chunk_line,
    chunk_data,
    trailers,
    message_end,
    endless_body,
    closed,
    switched,
    failed
  };
  enum class side : std::uint8_t { requests, responses };
  enum class fault : std::uint8_t;
  enum class fed : std::uint8_t { partly, wholly, refused, too_large };
  struct limits {
    std::size_t max_head;
    std::size_t max_headers;
    std::uint64_t max_body;
    std::size_t max_chunk_extensions;
  };
  struct scan;        // net/http_scan.hpp
  struct judgement {  // what llhttp made of a head
    std::uint64_t content_length;
    bool has_content_length;
    bool chunked;
    int major, minor;
    int method;  // of requests
    int status;  // of responses
  };

  message_reader(side of, const limits& most) noexcept;
  ~message_reader();

  /// What `next` does unless a head is due. Call with input that is not empty, unless `ended`.
  event read_on(std::string_view& input);

  /// Whether `next` has something to say without input.
  bool ended() const noexcept { return state_ >= state::message_end; }
  bool head_is_due() const noexcept { return state_ == state::head; }

  /// Gives llhttp one more piece of the head. `whole` is the head once complete, and before that what there is of it,
  /// mostly with the byte that is refused.
  fed feed_head(std::string_view& input, std::string_view& whole);

  /// Reads on in a head with llhttp, which judges every byte, and lets the scanner say what is wrong where it is more
  /// exact. A bad first line is refused before the rest has come. In net/http_scan.hpp.
  /// @param line  reads the first line: fault(Scan&)
  /// @param check judges the whole head once llhttp has accepted it: event(std::string_view)
  template <class Scan, class Line, class Check>
  event read_head_by_llhttp(std::string_view& input, header_list& headers, Line line, Check check);

  judgement llhttp_says() const noexcept;

  /// What follows the head that was just accepted: no body, one of `length` bytes, chunks, all until the end, or a
  /// failure, because nobody knows where the end is.
  event expect_nothing(state then) { return start_body(state::message_end, then); }
  event expect_sized(std::uint64_t length, state then);
  event expect_chunks(state then) { return start_body(state::chunk_line, then); }
  event expect_until_close() { return start_body(state::body_until_close, state::closed); }
  event expect_failure() { return start_body(state::endless_body, state::closed); }

  event fail(fault why) noexcept;
  event fail_by_llhttp() noexcept;

  /// Whether `text` lies in the memory of this parser, not in the caller's buffer.
  bool keeps(std::string_view text) const noexcept;
  std::string_view keep(std::string_view text);
  void free_memory();

  const limits& most() const noexcept { return limits_; }
  std::size_t seen() const noexcept { return seen_; }

 private:
  enum class extension : std::uint8_t;
  struct llhttp_glue;

  template <class Scan, class Line>
  bool check_start(std::string_view front, Line line);
  template <class Scan, class Line>
  event refuse_head(std::string_view front, header_list& headers, Line line);

  event start_body(state body, state then) {
    trailers_.clear();
    body_ = {};
    body_left_ = body_seen_ = extension_bytes_ = 0;
    extension_ = {};
    after_message_ = then;
    state_ = body;
    return event::head;
  }
  event read_sized_body(std::string_view& input);
  event read_until_close(std::string_view& input);
  event read_chunk_line(std::string_view& input);
  event read_chunk_data(std::string_view& input);
  event read_trailers(std::string_view& input);
  event end_message();
  fed feed_section(std::string_view& input, std::string& store, std::string_view& whole);
  std::size_t feed_chunk_line(std::string_view piece);
  static extension after(extension now, char c);
  std::size_t execute(std::string_view input);
  std::size_t execute_request(std::string_view input);

  alignas(8) std::byte llhttp_[112];  // llhttp_t, which the source checks
  limits limits_;
  header_list trailers_;
  std::string_view body_;
  std::string head_store_;     // of a head that came in pieces, or was kept
  std::string trailer_store_;  // the same for trailers
  parse_failure failure_;
  std::uint64_t body_left_ = 0;  // of a sized body or of the current chunk
  std::uint64_t body_seen_ = 0;  // of a body whose length is not known
  std::size_t seen_ = 0;         // bytes of the head, chunk line or trailers before this call
  std::size_t looked_at_ = 0;    // of the head in which the end of its first line is not to be looked for again
  std::size_t extension_bytes_ = 0;
  state state_ = state::head;
  state after_message_ = state::head;
  side side_;
  extension extension_{};        // of the chunk line being read
  std::uint8_t stop_ = 0;        // which callback made llhttp stop
  std::uint8_t query_seen_ = 0;  // how much of "QUERY" the head begins with; all of it if llhttp is to see the rest
};

}  // namespace weir::net::http
