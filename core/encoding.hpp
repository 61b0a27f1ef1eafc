// core/encoding.hpp: text as bytes and bytes as text, in the encodings that Node's Buffer knows and with its leniency.
// Rests on core/error. Text is a std::string in UTF-8. Nothing here fails on bad input but the name of an
// encoding, btoa and atob: what cannot be decoded becomes U+FFFD (UTF-8, UTF-16) or ends or is passed over (hex,
// base64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// How text stands for bytes (https://nodejs.org/api/buffer.html#buffers-and-character-encodings):
///
/// - utf8: each ill-formed part becomes one U+FFFD (WHATWG Encoding); text is its own bytes.
/// - utf16le: lone surrogates become U+FFFD, an odd byte is lost; two or four bytes for each character.
/// - latin1: a character for each byte, U+0000 to U+00FF; the low byte of each UTF-16 unit.
/// - ascii: the low seven bits of each byte; as latin1.
/// - hex: two lower-case digits for each byte; the bytes up to the first pair that is not hex.
/// - base64: RFC 4648 section 4, padded; digits of both alphabets up to the first '=', passing over all else.
/// - base64url: RFC 4648 section 5, not padded; as base64.
///
/// Where text has to be read as characters (utf16le, latin1, ascii) and is not UTF-8, the WHATWG rule holds for it too.
enum class encoding : std::uint8_t { utf8, utf16le, latin1, ascii, hex, base64, base64url };

/// The encoding of that name, in any case: "utf8", "utf-8", "utf16le", "utf-16le", "ucs2", "ucs-2", "latin1", "binary",
/// "ascii", "hex", "base64", "base64url".
std::optional<encoding> find_encoding(std::string_view name) noexcept;

/// The same. @throws weir::error ERR_UNKNOWN_ENCODING for any other name
encoding parse_encoding(std::string_view name);

/// "utf8", "utf16le", "latin1", "ascii", "hex", "base64", "base64url". The text is static.
std::string_view encoding_name(encoding as) noexcept;

/// How many bytes `text` makes (Node's Buffer.byteLength). Exact, except that hex and base64 count as if every
/// character were a digit: then it is what is needed at most.
std::size_t byte_length(std::string_view text, encoding as = encoding::utf8) noexcept;

/// Writes the bytes that `text` stands for, as many whole characters as fit; the two must not overlap.
/// @return how many bytes were written
std::size_t to_bytes(std::string_view text, encoding as, std::span<std::byte> out) noexcept;

/// The text that `bytes` stand for.
std::string to_text(std::span<const std::byte> bytes, encoding as = encoding::utf8);

/// The same, at the end of `out`.
void append_text(std::string& out, std::span<const std::byte> bytes, encoding as = encoding::utf8);

/// How many bytes of UTF-8 that text has.
std::size_t text_length(std::span<const std::byte> bytes, encoding as = encoding::utf8) noexcept;

/// Writes that text without a terminator; `out` must hold `text_length` bytes and not overlap `bytes`.
/// @return how many were written
std::size_t to_text(std::span<const std::byte> bytes, encoding as, std::span<char> out) noexcept;

/// Whether the bytes are well-formed UTF-8 (Node's buffer.isUtf8; Unicode 15, table 3-7).
bool is_utf8(std::span<const std::byte> bytes) noexcept;

/// Whether no byte has its high bit set (Node's buffer.isAscii).
bool is_ascii(std::span<const std::byte> bytes) noexcept;

/// The same characters in another encoding (Node's buffer.transcode): among utf8, utf16le, latin1 and ascii. A
/// character that `to` does not have becomes '?', or nothing if nobody would see it (a soft hyphen, a joiner); so does
/// what `from` cannot read, as U+FFFD, which for ascii is any byte with its high bit set. Node agrees on all text that
/// is well-formed; on other it fails on the way between utf8 and utf16le, and takes ascii for latin1 on the way to
/// utf16le.
/// @throws weir::error ERR_INVALID_ARG_VALUE for an encoding that stands for no characters
std::vector<std::byte> transcode(std::span<const std::byte> bytes, encoding from, encoding to);

/// Base64 of the bytes that the characters of `text` are, U+0000 to U+00FF (https://html.spec.whatwg.org/#dom-btoa).
/// @throws weir::error ERR_INVALID_CHAR for any other character (InvalidCharacterError of a browser)
std::string btoa(std::string_view text);

/// The other way: a character for each byte. Forgiving (https://infra.spec.whatwg.org/#forgiving-base64-decode): passes
/// over ASCII white space, needs no padding and none of the bits that are left over to be 0; unlike `encoding::base64`
/// it takes nothing else.
/// @throws weir::error ERR_INVALID_CHAR for what is not base64 (InvalidCharacterError of a browser)
std::string atob(std::string_view text);

}  // namespace weir
