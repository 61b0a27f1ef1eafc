// net/http_chars.hpp: the character classes of RFC 9110 and the two searches that the parsers and the writer spend
// their time in. Private to net. Reads no byte outside [begin, end).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::net::http::chars {

consteval std::array<bool, 256> make_class(std::string_view members, bool alphanumeric) {
  std::array<bool, 256> table{};
  for (const char c : members) table[static_cast<unsigned char>(c)] = true;
  if (!alphanumeric) return table;
  for (int c = '0'; c <= '9'; ++c) table[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = true;
  return table;
}

/// tchar, RFC 9110 5.6.2
inline constexpr auto token_table = make_class("!#$%&'*+-.^_`|~", true);
/// reg-name of RFC 3986 3.2.2, without its percent-encoded characters
inline constexpr auto host_table = make_class("-._~!$&'()*+,;=", true);

constexpr bool is_token_char(char c) { return token_table[static_cast<unsigned char>(c)]; }
constexpr bool is_host_char(char c) { return host_table[static_cast<unsigned char>(c)]; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

struct control {  // C0 and DEL: what ends a field value, or spoils it
  static bool test(char c) { return is_control(c); }
#if defined(__SSE2__)
  static unsigned mask(__m128i block) {
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    return _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f))));
  }
#endif
};

struct not_visible {  // anything but 0x21 to 0x7e: what ends a request target, or spoils it
  static bool test(char c) { return c <= 0x20 || c == 0x7f || static_cast<unsigned char>(c) > 0x7f; }
#if defined(__SSE2__)
  static unsigned mask(__m128i block) {  // signed compare: bytes from 0x80 count as small
    const __m128i visible = _mm_cmpgt_epi8(block, _mm_set1_epi8(0x20));
    const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));
    return _mm_movemask_epi8(_mm_or_si128(del, _mm_cmpeq_epi8(visible, _mm_setzero_si128())));
  }
#endif
};

struct not_name {  // anything but letters, digits, '-' and '_': what ends nearly every field name
  static bool test(char c) {
    const char folded = static_cast<char>(c | 0x20);
    return !((folded >= 'a' && folded <= 'z') || is_digit(c) || c == '-' || c == '_');
  }
#if defined(__SSE2__)
  static __m128i between(__m128i block, char low, char high) {
    return _mm_and_si128(_mm_cmpgt_epi8(block, _mm_set1_epi8(static_cast<char>(low - 1))),
                         _mm_cmplt_epi8(block, _mm_set1_epi8(static_cast<char>(high + 1))));
  }
  static unsigned mask(__m128i block) {
    const __m128i letter = between(_mm_or_si128(block, _mm_set1_epi8(0x20)), 'a', 'z');
    const __m128i digit = between(block, '0', '9');
    const __m128i dash = _mm_cmpeq_epi8(block, _mm_set1_epi8('-'));
    const __m128i underscore = _mm_cmpeq_epi8(block, _mm_set1_epi8('_'));
    const __m128i name = _mm_or_si128(_mm_or_si128(letter, digit), _mm_or_si128(dash, underscore));
    return _mm_movemask_epi8(name) ^ 0xffffu;
  }
#endif
};

/// First byte of [at, end) in the class, or `end`. Fewer than 16 bytes are read as two overlapping halves.
template <class Class>
inline const char* find(const char* at, const char* end) {
#if defined(__SSE2__)
  for (; end - at >= 16; at += 16) {
    const unsigned hits = Class::mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    if (hits != 0) return at + std::countr_zero(hits);
  }
  const auto halves = [&](auto half) -> const char* {
    constexpr unsigned width = sizeof half;
    std::memcpy(&half, at, width);
    __m128i block = _mm_cvtsi64_si128(static_cast<long long>(half));
    std::memcpy(&half, end - width, width);
    const __m128i high = _mm_cvtsi64_si128(static_cast<long long>(half));
    block = width == 8 ? _mm_unpacklo_epi64(block, high) : _mm_unpacklo_epi32(block, high);
    const unsigned hits = Class::mask(block) & ((1u << (2 * width)) - 1);
    if (hits == 0) return end;
    const auto first = static_cast<unsigned>(std::countr_zero(hits));
    return first < width ? at + first : end - width + (first - width);
  };
  if (end - at >= 8) return halves(std::uint64_t{});
  if (end - at >= 4) return halves(std::uint32_t{});
#endif
  while (at != end && !Class::test(*at)) ++at;
  return at;
}

/// Whether `text`, a token as long as `name`, is `name` without regard to case. `name` holds lower-case letters and
/// '-' only; then no other token character turns into one of its when bit 5 is set.
template <std::size_t Size>
inline bool token_is(std::string_view text, const char (&name)[Size]) {
  unsigned difference = 0;
  for (std::size_t i = 0; i + 1 < Size; ++i) {
    difference |= static_cast<unsigned char>((text[i] | 0x20) ^ name[i]);
  }
  return difference == 0;
}

}  // namespace weir::net::http::chars
