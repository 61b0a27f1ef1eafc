// core/text_decoder.hpp: text from bytes in the encodings of the web, named by their labels, whole or in pieces that
// are cut anywhere. Rests on core/encoding and core/error. Promises what the Encoding Standard says of a TextDecoder:
// the same text however the bytes are cut, each piece of it as soon as it is known, and no memory beyond three bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weir {

struct text_decoder_options {
  bool fatal = false;       ///< what is ill-formed is an error; otherwise each such part is one U+FFFD
  bool ignore_bom = false;  ///< true: a byte order mark at the beginning is text like any other
};

struct text_decode_options {
  bool stream = false;  ///< more follows: what ends within a character waits for the next piece
};

/// Decodes bytes into UTF-8 (https://encoding.spec.whatwg.org/#interface-textdecoder, Node's TextDecoder).
///
/// Knows all labels of the standard for utf-8, utf-16le, utf-16be and the encodings of one byte: ibm866, iso-8859-2 to
/// -16, koi8-r, koi8-u, macintosh, windows-874, windows-1250 to -1258, x-mac-cyrillic, x-user-defined. As on the web,
/// "latin1", "iso-8859-1" and "ascii" are labels of windows-1252. The encodings of two bytes and more (gbk, gb18030,
/// big5, euc-jp, iso-2022-jp, shift_jis, euc-kr) are not there.
///
/// Not for use from two threads at once; a value, with no memory of its own.
class text_decoder {
 public:
  /// @param label in any case, with or without white space around it
  /// @throws weir::error ERR_ENCODING_NOT_SUPPORTED for any other label
  explicit text_decoder(std::string_view label = "utf-8", const text_decoder_options& options = {});

  /// The text of `bytes` and of what has waited. Unless more follows, the decoder is as new afterwards; so it is after
  /// a failure.
  /// @throws weir::error ERR_ENCODING_INVALID_ENCODED_DATA if `fatal` and the bytes are ill-formed, or end within a
  ///         character
  [[nodiscard]] std::string decode(std::span<const std::byte> bytes = {}, const text_decode_options& options = {});
  /// The same, at the end of `out`, which is as it was if it throws.
  void decode(std::span<const std::byte> bytes, std::string& out, const text_decode_options& options = {});

  /// The encoding's name in the standard, in lower case: "windows-1252". The text is static.
  [[nodiscard]] std::string_view encoding() const noexcept;
  [[nodiscard]] bool fatal() const noexcept { return options_.fatal; }
  [[nodiscard]] bool ignore_bom() const noexcept { return options_.ignore_bom; }

 private:
  struct charset;
  struct charsets;

  static const charset& find(std::string_view label);
  void put(std::span<const std::byte> bytes, std::string& out);
  void put_utf8(std::span<const std::byte> bytes, std::string& out);
  void put_utf16(std::span<const std::byte> bytes, std::string& out);
  void put_single_bytes(std::span<const std::byte> bytes, std::string& out) const;
  void put_kept_utf8(std::span<const std::byte>& bytes, std::string& out);
  void put_kept_utf16(std::span<const std::byte>& bytes, std::string& out);
  void put_whole_utf16(std::span<const std::byte> bytes, std::string& out) const;
  void put_character(char32_t point, bool valid, std::string& out) const;
  void keep(std::span<const std::byte> rest) noexcept;
  void drop_kept(std::size_t count) noexcept;
  void drop_bom(std::size_t from, std::string& out);
  void reset() noexcept;

  const charset* charset_;
  text_decoder_options options_;
  std::uint8_t kept_ = 0;
  bool begun_ = false;  // text has come, so a mark no longer stands at the beginning
  std::uint8_t bytes_[4] = {};
};

}  // namespace weir
