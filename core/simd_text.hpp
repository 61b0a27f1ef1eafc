// core/simd_text.hpp: the inner loops of core/encoding, once in plain C++ and once for each instruction set that is
// worth it. Private to core. Rests on nothing. None reads or writes a byte outside of what it is given.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weir::detail {

struct text_kernels {
  const char* name;  ///< "portable", "avx2"

  /// How many bytes come before the first with its high bit set.
  std::size_t (*ascii_length)(const std::uint8_t* in, std::size_t size) noexcept;
  bool (*is_utf8)(const std::uint8_t* in, std::size_t size) noexcept;
  /// Writes 2 * `size` digits.
  void (*to_hex)(const std::uint8_t* in, std::size_t size, char* out) noexcept;
  /// Reads pairs of digits up to the first that is none. @return how many
  std::size_t (*from_hex)(const char* in, std::size_t pairs, std::uint8_t* out) noexcept;
  /// Writes 4 digits for each of `groups` groups of 3 bytes.
  void (*to_base64)(const std::uint8_t* in, std::size_t groups, char* out, bool url) noexcept;
  /// Reads groups of 4 digits of either alphabet, up to the first with anything else. @return how many
  std::size_t (*from_base64)(const char* in, std::size_t groups, std::uint8_t* out) noexcept;
  /// Where `length` bytes, at least 2, occur first; at least `size` if nowhere. Linear in `size`.
  std::size_t (*find)(const std::uint8_t* in, std::size_t size, const std::uint8_t* what, std::size_t length) noexcept;
};

/// The best that this processor can.
const text_kernels& best_text_kernels() noexcept;

/// All that this processor can, the portable ones first: for tests and benchmarks.
std::span<const text_kernels* const> all_text_kernels() noexcept;

extern const text_kernels portable_text_kernels;
#if defined(__x86_64__)
extern const text_kernels avx2_text_kernels;
#endif

/// The value of a digit of hex or base64 (both alphabets), or above 63.
extern const std::array<std::uint8_t, 256> hex_values;
extern const std::array<std::uint8_t, 256> base64_values;
inline constexpr char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
inline constexpr char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace weir::detail
