// net/http_message.hpp: what an HTTP message is made of, whoever sends it: methods, status texts, header lists and the
// head of a request. Rests on nothing but the standard library; owns no text except in `stored_request`. Promises
// that header order and case stay as they were sent, and that look-ups ignore case (RFC 9110 5.1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

/// The methods that the parser takes: those of Node's `http.METHODS` for HTTP/1.1 (llhttp's HTTP_METHOD_MAP, in its
/// order), and QUERY, which Node has from version 22 on (draft-ietf-httpbis-safe-method-w-body).
enum class method : std::uint8_t {
  delete_,
  get,
  head,
  post,
  put,
  connect,
  options,
  trace,
  copy,
  lock,
  mkcol,
  move,
  propfind,
  proppatch,
  search,
  unlock,
  bind,
  rebind,
  unbind,
  acl,
  report,
  mkactivity,
  checkout,
  merge,
  m_search,
  notify,
  subscribe,
  unsubscribe,
  patch,
  purge,
  mkcalendar,
  link,
  unlink,
  source,
  query,
};

/// The method as it stands in a request line, such as "GET".
std::string_view name_of(method m) noexcept;

/// The method of that name; methods are case-sensitive (RFC 9110 9.1). Empty for an unknown one.
std::optional<method> find_method(std::string_view name) noexcept;

/// The reason phrase of a status as in Node's `http.STATUS_CODES`; empty for an unknown one.
std::string_view status_text(int status) noexcept;

/// Compares ASCII letters without case, all other bytes exactly.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// Whether `text` may be a field name or another token (RFC 9110 5.6.2): not empty, token characters only.
bool is_token(std::string_view text) noexcept;

/// Whether `text` may be a field value: no control character but tab. Node's rule for ERR_INVALID_CHAR.
bool is_field_value(std::string_view text) noexcept;

/// Takes the next element from a comma-separated list (RFC 9110 5.6.1), without the blanks around it; may be empty.
std::string_view take_list_element(std::string_view& list) noexcept;

enum class version : std::uint8_t { http_1_0, http_1_1 };

/// RFC 9112 3.2: `/path?query`, `http://host/path`, `host:port` (CONNECT only), `*` (OPTIONS only).
enum class target_form : std::uint8_t { origin, absolute, authority, asterisk };

/// One field line. The views belong to whoever filled the list.
struct header {
  std::string_view name;   ///< as sent
  std::string_view value;  ///< as sent, without the blanks around it

  friend bool operator==(const header&, const header&) = default;
};

/// One entry of `header_list::combined`.
struct combined_header {
  std::string name;                 ///< lower case
  std::vector<std::string> values;  ///< exactly one, except for set-cookie

  friend bool operator==(const combined_header&, const combined_header&) = default;
};

/// What becomes of a second line of a field that has one value (see `header_list::joined`).
enum class duplicates : std::uint8_t {
  dropped,  ///< the first line counts, as in Node by default
  joined,   ///< with ", ", as with Node's `joinDuplicateHeaders`
};

/// Header lines in order of arrival. Clearing keeps the memory, so a list that is reused stops allocating.
/// Look-ups walk the list: requests carry a dozen lines, and a walk over lengths beats hashing them.
class header_list {
 public:
  using const_iterator = std::vector<header>::const_iterator;

  void add(std::string_view name, std::string_view value) { lines_.push_back({name, value}); }
  void clear() noexcept { lines_.clear(); }

  std::size_t size() const noexcept { return lines_.size(); }
  bool empty() const noexcept { return lines_.empty(); }
  const header& operator[](std::size_t i) const { return lines_[i]; }
  const_iterator begin() const noexcept { return lines_.begin(); }
  const_iterator end() const noexcept { return lines_.end(); }

  bool has(std::string_view name) const noexcept;
  std::size_t count(std::string_view name) const noexcept;

  /// The first line of that name, without a copy.
  std::optional<std::string_view> first(std::string_view name) const noexcept;

  /// Every line of that name in order, without copies of the text.
  std::vector<std::string_view> all(std::string_view name) const;

  /// The value as Node's `message.headers[name]` has it: later duplicates of age, authorization, content-length,
  /// content-type, etag, expires, from, host, if-modified-since, if-unmodified-since, last-modified, location,
  /// max-forwards, proxy-authorization, referer, retry-after, server and user-agent are dropped, cookie is joined with
  /// "; ", everything else with ", ". set-cookie, a list in Node, is better read with `all`; here it is joined too.
  /// https://nodejs.org/api/http.html#messageheaders
  std::optional<std::string> joined(std::string_view name, duplicates how = duplicates::dropped) const;

  /// All headers as Node's `message.headers`: lower-case names in order of first arrival, duplicates by the rules of
  /// `joined`, set-cookie as a list.
  std::vector<combined_header> combined(duplicates how = duplicates::dropped) const;

  /// Moves every view by `to - from`: for when the bytes under all of them have been copied to another place.
  void rebase(const char* from, const char* to) noexcept;

 private:
  std::vector<header> lines_;
};

/// The head of a request: request line, headers, and what they say about the rest of the message.
/// A plain view: `raw` and all that is cut from it belong to the parser or to the buffer given to it; see
/// `parser::head`.
struct request_head {
  std::string_view raw;          ///< all of it, from the method to the empty line
  std::string_view method_text;  ///< as sent
  std::string_view target;       ///< as sent, never empty
  header_list headers;
  std::uint64_t content_length = 0;
  http::method method = http::method::get;
  http::version version = http::version::http_1_1;
  target_form form = target_form::origin;
  bool has_content_length = false;
  bool chunked = false;             ///< the body comes in chunks, and trailers may follow
  bool keep_alive = true;           ///< RFC 9112 9.3; false for CONNECT, after which HTTP is over
  bool upgrade = false;             ///< `Upgrade` with `Connection: upgrade`, or CONNECT
  bool expect_continue = false;     ///< `Expect: 100-continue` of HTTP/1.1
  bool expect_unsupported = false;  ///< another expectation: to be answered 417 (RFC 9110 10.1.1)

  bool has_body() const noexcept { return chunked || content_length > 0; }
};

/// A request head with its own copy of the text, for keeping it longer than the parser does. Copies and moves.
class stored_request {
 public:
  explicit stored_request(const request_head& head);
  stored_request(const stored_request& other);
  stored_request(stored_request&& other) noexcept;
  stored_request& operator=(stored_request other) noexcept;
  ~stored_request() = default;

  const request_head& head() const noexcept { return head_; }

 private:
  std::vector<char> text_;  // not a string: its address must survive a move
  request_head head_;
};

/// Points a head that was cut from `head.raw` at a copy of those bytes that starts at `copy`.
void rebase(request_head& head, const char* copy) noexcept;

}  // namespace weir::net::http
