// net/http_conditions.hpp: whether a request's conditions hold for what the server has: entity tags, HTTP dates, and
// If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range in their order of precedence. RFC 9110
// sections 8.8 and 13. Rests on net/http_message.
#pragma once

#include <weir/net/http_message.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weir::net::http {

/// `"abc"` or `W/"abc"`; a view of the text that it was read from.
struct entity_tag {
  std::string_view opaque;  ///< what stands between the quotes
  bool weak = false;

  /// Takes one tag from the front of `text` and leaves what follows. Nothing if there is none; then nothing is taken.
  static std::optional<entity_tag> take(std::string_view& text) noexcept;
  /// `text` as exactly one tag.
  static std::optional<entity_tag> parse(std::string_view text) noexcept;
};

/// RFC 9110 8.8.3.2: both are strong, and the same.
bool strongly_equal(const entity_tag& a, const entity_tag& b) noexcept;
/// The same but for strength.
bool weakly_equal(const entity_tag& a, const entity_tag& b) noexcept;

/// An HTTP-date in any of its three forms (RFC 9110 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94
/// 08:49:37 GMT", "Sun Nov  6 08:49:37 1994". Nothing for any other text, or for a day that no calendar has; a wrong
/// day of the week passes. Years of two digits lie within 50 years from `now`.
std::optional<std::chrono::sys_seconds> parse_http_date(
    std::string_view text,
    std::chrono::sys_seconds now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now())) noexcept;

/// What the server knows about the version that it has.
struct validators {
  std::string_view etag = {};  ///< as it is sent; empty: none
  std::optional<std::chrono::sys_seconds> last_modified = {};
  bool exists = true;  ///< whether there is one; `If-None-Match: *` asks
};

enum class condition_outcome : std::uint8_t {
  proceed,       ///< do what the request asks
  not_modified,  ///< 304: the client has this version
  failed,        ///< 412: it has another one than the client thinks
};

/// Weighs all conditions of a request but If-Range, in the order of RFC 9110 13.2.2: If-Match (strong comparison), else
/// If-Unmodified-Since; then If-None-Match (weak comparison), else If-Modified-Since for GET and HEAD. Dates that are
/// none, or that come twice, are ignored.
condition_outcome check_conditions(http::method method, const header_list& headers, const validators& have) noexcept;

/// Whether Range is to be looked at: no If-Range, or one that is strongly equal to the tag, or exactly the date, which
/// counts only if it is a second older than `now` (RFC 9110 13.1.5). Otherwise the whole is to be sent.
bool range_holds(const header_list& headers, const validators& have, std::chrono::sys_seconds now) noexcept;

}  // namespace weir::net::http
