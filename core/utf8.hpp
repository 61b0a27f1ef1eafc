// core/utf8.hpp: one character of UTF-8 at a time, by the WHATWG rule. Private to core. Rests on nothing; no
// allocation. An ill-formed sequence is cut where the Encoding Standard cuts it: each maximal part that could have
// begun a character is one U+FFFD.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::detail {

inline constexpr char32_t replacement_character = 0xfffd;

struct utf8_step {
  char32_t point;        ///< U+FFFD if the bytes are ill-formed
  std::uint8_t length;   ///< bytes taken, at least 1
  bool valid;            ///< the bytes are that character
  bool cut_off = false;  ///< the input ended within what could still become a character
};

/// The first character of `size` bytes, of which there is at least one.
inline utf8_step decode_utf8(const std::uint8_t* in, std::size_t size) noexcept {
  const std::uint8_t lead = in[0];
  if (lead < 0x80) return {lead, 1, true};
  if (lead < 0xc2 || lead > 0xf4) return {replacement_character, 1, false};
  const std::uint8_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte alone decides on overlong forms, surrogates and what lies beyond U+10FFFF.
  std::uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  std::uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  char32_t point = lead & (0x7fU >> length);
  for (std::uint8_t i = 1; i < length; ++i) {
    if (i == size) return {replacement_character, i, false, true};
    if (in[i] < low || in[i] > high) return {replacement_character, i, false};
    point = point << 6 | (in[i] & 0x3fU);
    low = 0x80;
    high = 0xbf;
  }
  return {point, length, true};
}

inline std::size_t utf8_length(char32_t point) noexcept {
  return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

/// Writes a character (not a surrogate) as UTF-8. @return the end of what was written
inline char* encode_utf8(char32_t point, char* out) noexcept {
  const auto put = [&out](char32_t byte) { *out++ = static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
  return out;
}

struct utf16_step {
  char32_t point;       ///< U+FFFD for a lone surrogate
  std::uint8_t length;  ///< bytes taken: 2 or 4
};

/// The first character of `size` bytes of UTF-16LE, of which there are at least two.
inline utf16_step decode_utf16le(const std::uint8_t* in, std::size_t size) noexcept {
  const char32_t unit = in[0] | static_cast<char32_t>(in[1]) << 8;
  if (unit < 0xd800 || unit > 0xdfff) return {unit, 2};
  if (unit > 0xdbff || size < 4) return {replacement_character, 2};
  const char32_t next = in[2] | static_cast<char32_t>(in[3]) << 8;
  if (next < 0xdc00 || next > 0xdfff) return {replacement_character, 2};
  return {0x10000 + ((unit - 0xd800) << 10 | (next - 0xdc00)), 4};
}

}  // namespace weir::detail
