// core/simd_text_avx2.cpp: the loops of core/simd_text for AVX2, 32 bytes at a time; what is left over goes through
// the portable ones. Private to core. Compiled for any x86-64 and called where the processor has it (since 2013).
// The table look-ups are W. Muła's and D. Lemire's: arXiv 1704.00605 (base64), 2010.03090 (UTF-8); the search by
// the first and the last byte is W. Muła's too (http://0x80.pl/articles/simd-strfind.html).
#include <weir/core/simd_text.hpp>

#if defined(__x86_64__)

#include <bit>
#include <cstring>

#include <immintrin.h>

#define WEIR_AVX2 [[gnu::target("avx2,bmi")]]
#define WEIR_AVX2_INLINE [[gnu::target("avx2,bmi"), gnu::always_inline]] inline

namespace weir::detail {
namespace {

WEIR_AVX2_INLINE __m256i load(const void* from) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

WEIR_AVX2_INLINE void store(void* to, __m256i value) noexcept { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }

WEIR_AVX2_INLINE __m256i all_of(int value) noexcept { return _mm256_set1_epi8(static_cast<char>(value)); }

// The same 16 bytes in both halves: a table for _mm256_shuffle_epi8.
WEIR_AVX2_INLINE __m256i table(const std::uint8_t (&values)[16]) noexcept {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
}

WEIR_AVX2_INLINE __m256i high_nibbles(__m256i bytes) noexcept {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), all_of(15));
}

WEIR_AVX2_INLINE unsigned high_bits(__m256i bytes) noexcept {
  return static_cast<unsigned>(_mm256_movemask_epi8(bytes));
}

// ---- ASCII ----

WEIR_AVX2 std::size_t ascii_length(const std::uint8_t* in, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 128 <= size; i += 128) {
    const auto low = _mm256_or_si256(load(in + i), load(in + i + 32));
    const auto high = _mm256_or_si256(load(in + i + 64), load(in + i + 96));
    if (high_bits(_mm256_or_si256(low, high)) != 0) break;
  }
  for (; i + 32 <= size; i += 32)
    if (const auto found = high_bits(load(in + i)); found != 0)
      return i + static_cast<std::size_t>(std::countr_zero(found));
  return i + portable_text_kernels.ascii_length(in + i, size - i);
}

// ---- UTF-8 ----

// What can be wrong with two bytes in a row, each in a bit: three look-ups by nibbles have it in common.
enum mistake : std::uint8_t {
  too_short = 1,        // a lead, then no continuation
  too_long = 2,         // ASCII, then a continuation
  overlong_3 = 4,       // E0, then below A0
  too_large = 8,        // F4, then 90 or more; F5 and beyond
  surrogate = 16,       // ED, then A0 or more
  overlong_2 = 32,      // C0 or C1
  too_large_1000 = 64,  // F5 and beyond, then 80 to 8F
  overlong_4 = 64,      // F0, then below 90
  two_continuations = 128,
  any_low_nibble = too_short | too_long | two_continuations,
};

constexpr std::uint8_t by_first_high[16] = {too_long,
                                            too_long,
                                            too_long,
                                            too_long,
                                            too_long,
                                            too_long,
                                            too_long,
                                            too_long,
                                            two_continuations,
                                            two_continuations,
                                            two_continuations,
                                            two_continuations,
                                            too_short | overlong_2,
                                            too_short,
                                            too_short | overlong_3 | surrogate,
                                            too_short | too_large | too_large_1000 | overlong_4};

constexpr std::uint8_t beyond = any_low_nibble | too_large | too_large_1000;
constexpr std::uint8_t by_first_low[16] = {any_low_nibble | overlong_3 | overlong_2 | overlong_4,
                                           any_low_nibble | overlong_2,
                                           any_low_nibble,
                                           any_low_nibble,
                                           any_low_nibble | too_large,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond,
                                           beyond | surrogate,
                                           beyond,
                                           beyond};

constexpr std::uint8_t continuation = too_long | overlong_2 | two_continuations;
constexpr std::uint8_t by_second_high[16] = {too_short,
                                             too_short,
                                             too_short,
                                             too_short,
                                             too_short,
                                             too_short,
                                             too_short,
                                             too_short,
                                             continuation | overlong_3 | too_large_1000 | overlong_4,
                                             continuation | overlong_3 | too_large,
                                             continuation | surrogate | too_large,
                                             continuation | surrogate | too_large,
                                             too_short,
                                             too_short,
                                             too_short,
                                             too_short};

// The bytes one, two or three places before those of `now`.
template <int places>
WEIR_AVX2_INLINE __m256i shifted(__m256i before, __m256i now) noexcept {
  return _mm256_alignr_epi8(now, _mm256_permute2x128_si256(before, now, 0x21), 16 - places);
}

// Not zero where `now`, which follows on `before`, is ill-formed.
WEIR_AVX2_INLINE __m256i mistakes(__m256i before, __m256i now) noexcept {
  const auto first = shifted<1>(before, now);
  const auto pairs =
      _mm256_and_si256(_mm256_and_si256(_mm256_shuffle_epi8(table(by_first_high), high_nibbles(first)),
                                        _mm256_shuffle_epi8(table(by_first_low), _mm256_and_si256(first, all_of(15)))),
                       _mm256_shuffle_epi8(table(by_second_high), high_nibbles(now)));
  // Two continuations in a row are right exactly where the second byte before leads three, or the third one four.
  const auto third = _mm256_subs_epu8(shifted<2>(before, now), all_of(0xe0 - 0x80));
  const auto fourth = _mm256_subs_epu8(shifted<3>(before, now), all_of(0xf0 - 0x80));
  return _mm256_xor_si256(_mm256_and_si256(_mm256_or_si256(third, fourth), all_of(0x80)), pairs);
}

// Not zero if the last three bytes begin a character that does not end there.
WEIR_AVX2_INLINE __m256i unfinished(__m256i block) noexcept {
  const auto most = _mm256_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                     -1, -1, -1, -1, -1, -1, -1, -1, static_cast<char>(0xf0 - 1),
                                     static_cast<char>(0xe0 - 1), static_cast<char>(0xc0 - 1));
  return _mm256_subs_epu8(block, most);
}

struct utf8_state {
  __m256i wrong;
  __m256i before;
  __m256i open;
};

WEIR_AVX2_INLINE void check(utf8_state& state, __m256i block) noexcept {
  state.wrong = _mm256_or_si256(state.wrong, mistakes(state.before, block));
  state.open = unfinished(block);
  state.before = block;
}

WEIR_AVX2_INLINE void check_pair(utf8_state& state, __m256i low, __m256i high) noexcept {
  if (high_bits(_mm256_or_si256(low, high)) == 0) {
    state.wrong = _mm256_or_si256(state.wrong, state.open);
    state.open = _mm256_setzero_si256();
    state.before = high;
    return;
  }
  check(state, low);
  check(state, high);
}

WEIR_AVX2 bool is_utf8(const std::uint8_t* in, std::size_t size) noexcept {
  if (size < 32) return portable_text_kernels.is_utf8(in, size);
  const auto zero = _mm256_setzero_si256();
  utf8_state state{zero, zero, zero};
  std::size_t i = 0;
  for (; i + 64 <= size; i += 64) {
    check_pair(state, load(in + i), load(in + i + 32));
    if (i % 4096 == 0 && !_mm256_testz_si256(state.wrong, state.wrong)) return false;  // no long way for bad input
  }
  if (i < size) {
    std::uint8_t rest[64] = {};
    std::memcpy(rest, in + i, size - i);
    check_pair(state, load(rest), load(rest + 32));
  }
  const auto all = _mm256_or_si256(state.wrong, state.open);
  return _mm256_testz_si256(all, all) != 0;
}

// ---- Hex ----

constexpr std::uint8_t hex_digits[16] = {'0', '1', '2', '3', '4', '5', '6', '7',
                                         '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};

WEIR_AVX2_INLINE __m256i hex_of(const std::uint8_t* in) noexcept {
  const auto wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in)));
  const auto nibbles = _mm256_or_si256(_mm256_srli_epi16(wide, 4), _mm256_slli_epi16(wide, 8));
  return _mm256_shuffle_epi8(table(hex_digits), _mm256_and_si256(nibbles, all_of(15)));
}

WEIR_AVX2 void to_hex(const std::uint8_t* in, std::size_t size, char* out) noexcept {
  std::size_t i = 0;
  for (; i + 32 <= size; i += 32) {
    store(out + 2 * i, hex_of(in + i));
    store(out + 2 * i + 32, hex_of(in + i + 16));
  }
  portable_text_kernels.to_hex(in + i, size - i, out + 2 * i);
}

// The values of 32 digits; `bad` gets a bit for each that is none.
WEIR_AVX2_INLINE __m256i hex_values_of(__m256i digits, __m256i& bad) noexcept {
  const auto number = _mm256_sub_epi8(digits, all_of('0'));
  const auto letter = _mm256_sub_epi8(_mm256_or_si256(digits, all_of(0x20)), all_of('a'));
  const auto is_number = _mm256_cmpeq_epi8(_mm256_min_epu8(number, all_of(9)), number);
  const auto is_letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, all_of(5)), letter);
  bad = _mm256_or_si256(bad, _mm256_andnot_si256(_mm256_or_si256(is_number, is_letter), all_of(-1)));
  return _mm256_blendv_epi8(_mm256_add_epi8(letter, all_of(10)), number, is_number);
}

WEIR_AVX2 std::size_t from_hex(const char* in, std::size_t pairs, std::uint8_t* out) noexcept {
  const auto weights = _mm256_set1_epi16(0x0110);
  std::size_t i = 0;
  for (; i + 32 <= pairs; i += 32) {
    auto bad = _mm256_setzero_si256();
    const auto low = _mm256_maddubs_epi16(hex_values_of(load(in + 2 * i), bad), weights);
    const auto high = _mm256_maddubs_epi16(hex_values_of(load(in + 2 * i + 32), bad), weights);
    if (_mm256_testz_si256(bad, bad) == 0) break;
    store(out + i, _mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xd8));
  }
  return i + portable_text_kernels.from_hex(in + 2 * i, pairs - i, out + i);
}

// ---- Base64 ----

// Two lots of 12 bytes, each at the beginning of a half, to 32 values of six bits.
WEIR_AVX2_INLINE __m256i split_sixes(__m256i bytes) noexcept {
  constexpr std::uint8_t order[16] = {1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10};
  const auto groups = _mm256_shuffle_epi8(bytes, table(order));
  const auto first_and_third =
      _mm256_mulhi_epu16(_mm256_and_si256(groups, _mm256_set1_epi32(0x0fc0'fc00)), _mm256_set1_epi32(0x0400'0040));
  const auto second_and_fourth =
      _mm256_mullo_epi16(_mm256_and_si256(groups, _mm256_set1_epi32(0x003f'03f0)), _mm256_set1_epi32(0x0100'0010));
  return _mm256_or_si256(first_and_third, second_and_fourth);
}

// What to add to a value for its digit: a letter a-z, ten numbers, the two that differ, a letter A-Z.
WEIR_AVX2_INLINE __m256i digit_offsets(bool url) noexcept {
  constexpr std::uint8_t standard[16] = {71, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 237, 240, 65, 0, 0};
  constexpr std::uint8_t for_url[16] = {71, 252, 252, 252, 252, 252, 252, 252, 252, 252, 252, 239, 32, 65, 0, 0};
  return url ? table(for_url) : table(standard);
}

WEIR_AVX2 void to_base64(const std::uint8_t* in, std::size_t groups, char* out, bool url) noexcept {
  const auto offsets = digit_offsets(url);
  std::size_t i = 0;
  for (; i + 10 <= groups; i += 8) {  // 24 bytes are used, 28 read
    const auto* from = reinterpret_cast<const __m128i*>(in + 3 * i);
    const auto* from_12 = reinterpret_cast<const __m128i*>(in + 3 * i + 12);
    const auto values = split_sixes(_mm256_set_m128i(_mm_loadu_si128(from_12), _mm_loadu_si128(from)));
    const auto capitals = _mm256_and_si256(_mm256_cmpgt_epi8(all_of(26), values), all_of(13));
    const auto kind = _mm256_or_si256(_mm256_subs_epu8(values, all_of(51)), capitals);
    store(out + 4 * i, _mm256_add_epi8(values, _mm256_shuffle_epi8(offsets, kind)));
  }
  portable_text_kernels.to_base64(in + 3 * i, groups - i, out + 4 * i, url);
}

// A character is a digit if what is impossible for its high nibble and for its low one have nothing in common.
constexpr std::uint8_t not_with_low[16] = {0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                           0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a};
constexpr std::uint8_t not_with_high[16] = {0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
                                            0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10};
// What to add to a digit for its value, by the high nibble; '/' counts as 1.
constexpr std::uint8_t value_offsets[16] = {0, 16, 19, 4, 191, 191, 185, 185, 0, 0, 0, 0, 0, 0, 0, 0};

// 32 values of six bits to 24 bytes, with nothing behind them.
WEIR_AVX2_INLINE __m256i join_sixes(__m256i values) noexcept {
  constexpr std::uint8_t order[16] = {2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 255, 255, 255, 255};
  const auto twelves = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x0140'0140));
  const auto groups = _mm256_madd_epi16(twelves, _mm256_set1_epi32(0x0001'1000));
  const auto lanes = _mm256_shuffle_epi8(groups, table(order));
  return _mm256_permutevar8x32_epi32(lanes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
}

WEIR_AVX2 std::size_t from_base64(const char* in, std::size_t groups, std::uint8_t* out) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= groups; i += 8) {
    auto digits = load(in + 4 * i);
    digits = _mm256_blendv_epi8(digits, all_of('+'), _mm256_cmpeq_epi8(digits, all_of('-')));
    digits = _mm256_blendv_epi8(digits, all_of('/'), _mm256_cmpeq_epi8(digits, all_of('_')));
    const auto high = high_nibbles(digits);
    const auto low = _mm256_and_si256(digits, all_of(15));
    if (_mm256_testz_si256(_mm256_shuffle_epi8(table(not_with_low), low),
                           _mm256_shuffle_epi8(table(not_with_high), high)) == 0)
      break;
    const auto kind = _mm256_add_epi8(high, _mm256_cmpeq_epi8(digits, all_of('/')));
    const auto bytes = join_sixes(_mm256_add_epi8(digits, _mm256_shuffle_epi8(table(value_offsets), kind)));
    // Exactly 24 bytes: what lies behind them may be somebody's.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 3 * i), _mm256_castsi256_si128(bytes));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + 3 * i + 16), _mm256_extracti128_si256(bytes, 1));
  }
  return i + portable_text_kernels.from_base64(in + 4 * i, groups - i, out + 3 * i);
}

// ---- Search ----

WEIR_AVX2 std::size_t find(const std::uint8_t* in, std::size_t size, const std::uint8_t* what,
                           std::size_t length) noexcept {
  const auto first = all_of(what[0]);
  const auto last = all_of(what[length - 1]);
  std::size_t wasted = 0;
  std::size_t i = 0;
  // Compares of candidates that fail may cost as much as the search itself; then it is one for memmem, which is linear.
  for (; i + length - 1 + 32 <= size && wasted <= 8 * i + 4096; i += 32) {
    auto candidates = high_bits(
        _mm256_and_si256(_mm256_cmpeq_epi8(load(in + i), first), _mm256_cmpeq_epi8(load(in + i + length - 1), last)));
    for (; candidates != 0; candidates &= candidates - 1) {
      const auto at = i + static_cast<std::size_t>(std::countr_zero(candidates));
      if (std::memcmp(in + at + 1, what + 1, length - 2) == 0) return at;
      wasted += length;
    }
  }
  return i + portable_text_kernels.find(in + i, size - i, what, length);
}

}  // namespace

const text_kernels avx2_text_kernels{.name = "avx2",
                                     .ascii_length = ascii_length,
                                     .is_utf8 = is_utf8,
                                     .to_hex = to_hex,
                                     .from_hex = from_hex,
                                     .to_base64 = to_base64,
                                     .from_base64 = from_base64,
                                     .find = find};

}  // namespace weir::detail

#endif
