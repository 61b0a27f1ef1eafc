// core/string_decoder.hpp: text from bytes that come in pieces, cut anywhere. Rests on core/encoding. Keeps at most
// three bytes back and never splits a character: the pieces of text together are the text of the pieces together.
#pragma once

#include <weir/core/encoding.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace weir {

/// Decodes a stream of bytes (https://nodejs.org/api/string_decoder.html). What ends within a character (utf8, utf16le)
/// or within a group of three bytes (base64, base64url) waits for the next piece. What only looks like the beginning of
/// a character, by its first byte, waits as well, as in Node.
///
/// Not thread-safe; a value, with no memory of its own. Fails only if the std::string cannot grow.
class string_decoder {
 public:
  explicit string_decoder(encoding as = encoding::utf8) noexcept : as_(as) {}

  /// The text that is complete with `chunk`.
  [[nodiscard]] std::string write(std::span<const std::byte> chunk);
  /// The same, at the end of `out`.
  void write(std::span<const std::byte> chunk, std::string& out);

  /// The rest, with `last` as the last piece: an unfinished character is U+FFFD, the odd byte of UTF-16 is lost, base64
  /// is padded. After it the decoder is as new.
  [[nodiscard]] std::string end(std::span<const std::byte> last = {});
  void end(std::span<const std::byte> last, std::string& out);

  [[nodiscard]] encoding as() const noexcept { return as_; }
  /// Bytes that wait for more, 0 to 3.
  [[nodiscard]] std::size_t pending() const noexcept { return kept_; }

 private:
  std::span<const std::byte> kept() const noexcept { return {bytes_, kept_}; }
  void complete(std::span<const std::byte>& chunk, std::string& out);
  void complete_utf8(std::span<const std::byte>& chunk, std::string& out);
  void put_first(std::size_t count, std::string& out);

  encoding as_;
  std::uint8_t kept_ = 0;
  std::byte bytes_[4] = {};
};

}  // namespace weir
