// net/http_range.hpp: which bytes of a file a client asks for (the Range header), and how several of them make one body
// (multipart/byteranges). RFC 9110 section 14. Rests on nothing but the standard library; promises that what is
// selected lies within the file, does not overlap, and is never more than the file has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::net::http {

/// A part of a file, never empty.
struct byte_range {
  std::uint64_t first = 0;   ///< offset of its first byte
  std::uint64_t length = 0;  ///< bytes

  std::uint64_t last() const noexcept { return first + length - 1; }
  friend bool operator==(const byte_range&, const byte_range&) = default;
};

struct range_options {
  /// A header with more ranges than this is ignored, as RFC 9110 14.2 allows: each costs a part's head.
  std::size_t max_ranges = 32;
};

/// What a Range header comes to.
struct range_selection {
  enum class kind : std::uint8_t {
    whole,          ///< no such header, or one to be ignored: 200 and everything
    partial,        ///< 206 and `ranges`, one or more
    unsatisfiable,  ///< 416: it lies behind the end
  };

  kind how = kind::whole;
  std::vector<byte_range> ranges = {};  ///< in the order they were asked for
};

/// Reads a Range header for a file of `size` bytes.
///
/// "bytes=0-99" has both ends included, "bytes=100-" goes to the end, "bytes=-100" is the last 100. Ends behind the
/// file are cut, numbers of any length are taken. Ranges that lie behind it are left out; if all do, that is
/// `unsatisfiable`. Overlapping ranges are made one, at the place of the earliest asked for, so that no body is longer
/// than the file. A header in another unit or with bad syntax is ignored (RFC 9110 14.2), as is one that selects
/// from an empty file by its end.
range_selection select_ranges(std::string_view header, std::uint64_t size, const range_options& options = {});

/// "bytes 0-99/1000": Content-Range of a 206 or of a part.
std::string content_range(const byte_range& range, std::uint64_t size);
/// "bytes */1000": Content-Range of a 416.
std::string unsatisfied_range(std::uint64_t size);

/// The lines around the parts of a multipart/byteranges body (RFC 9110 14.6). The body is, for each range,
/// `part_head` and its bytes, and then `end`.
class byteranges_form {
 public:
  /// @param part_type the file's media type; empty: parts say none
  /// @param size of the file
  /// @param boundary that no part has in it; empty: a random one
  byteranges_form(std::string part_type, std::uint64_t size, std::string boundary = {});

  /// "multipart/byteranges; boundary=..."
  std::string content_type() const;
  /// What goes before the bytes of a part, with the line ends that close the part before it.
  std::string part_head(const byte_range& range) const;
  std::string end() const;
  /// Bytes of the whole body.
  std::uint64_t length(const std::vector<byte_range>& ranges) const;

 private:
  std::string part_type_;
  std::string boundary_;
  std::uint64_t size_;
};

}  // namespace weir::net::http
