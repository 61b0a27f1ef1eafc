#include <weir/core/simd_text.hpp>

#include <weir/core/utf8.hpp>

#include <array>
#include <cstring>

namespace weir::detail {
namespace {

using value_table = std::array<std::uint8_t, 256>;

constexpr value_table values_of(const char* digits, const char* same_digits) {
  value_table values{};
  values.fill(0xff);
  for (std::uint8_t i = 0; digits[i] != '\0'; ++i) {
    values[static_cast<std::uint8_t>(digits[i])] = i;
    values[static_cast<std::uint8_t>(same_digits[i])] = i;
  }
  return values;
}

constexpr char hex_digits[] = "0123456789abcdef";

}  // namespace

constexpr value_table hex_values = values_of(hex_digits, "0123456789ABCDEF");
constexpr value_table base64_values = values_of(base64_digits, base64url_digits);

namespace {

// ---- In plain C++ ----

std::size_t ascii_length_portable(const std::uint8_t* in, std::size_t size) noexcept {
  std::size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, in + i, sizeof word);
    if ((word & 0x8080'8080'8080'8080U) != 0) break;
  }
  while (i < size && in[i] < 0x80) ++i;
  return i;
}

bool is_utf8_portable(const std::uint8_t* in, std::size_t size) noexcept {
  for (std::size_t i = 0; i < size;) {
    i += ascii_length_portable(in + i, size - i);
    for (; i < size && in[i] >= 0x80;) {
      const auto step = decode_utf8(in + i, size - i);
      if (!step.valid) return false;
      i += step.length;
    }
  }
  return true;
}

void to_hex_portable(const std::uint8_t* in, std::size_t size, char* out) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    *out++ = hex_digits[in[i] >> 4];
    *out++ = hex_digits[in[i] & 15];
  }
}

std::size_t from_hex_portable(const char* in, std::size_t pairs, std::uint8_t* out) noexcept {
  for (std::size_t i = 0; i < pairs; ++i) {
    const unsigned high = hex_values[static_cast<std::uint8_t>(in[2 * i])];
    const unsigned low = hex_values[static_cast<std::uint8_t>(in[2 * i + 1])];
    if ((high | low) > 15) return i;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return pairs;
}

void to_base64_portable(const std::uint8_t* in, std::size_t groups, char* out, bool url) noexcept {
  const char* digits = url ? base64url_digits : base64_digits;
  for (std::size_t i = 0; i < groups; ++i, in += 3, out += 4) {
    const std::uint32_t bits = static_cast<std::uint32_t>(in[0]) << 16 | static_cast<std::uint32_t>(in[1]) << 8 | in[2];
    out[0] = digits[bits >> 18];
    out[1] = digits[bits >> 12 & 63];
    out[2] = digits[bits >> 6 & 63];
    out[3] = digits[bits & 63];
  }
}

std::size_t from_base64_portable(const char* in, std::size_t groups, std::uint8_t* out) noexcept {
  for (std::size_t i = 0; i < groups; ++i, in += 4, out += 3) {
    const auto value = [in](std::size_t at) -> std::uint32_t {
      return base64_values[static_cast<std::uint8_t>(in[at])];
    };
    const auto a = value(0), b = value(1), c = value(2), d = value(3);
    if ((a | b | c | d) > 63) return i;
    const auto bits = a << 18 | b << 12 | c << 6 | d;
    out[0] = static_cast<std::uint8_t>(bits >> 16);
    out[1] = static_cast<std::uint8_t>(bits >> 8);
    out[2] = static_cast<std::uint8_t>(bits);
  }
  return groups;
}

std::size_t find_portable(const std::uint8_t* in, std::size_t size, const std::uint8_t* what,
                          std::size_t length) noexcept {
  const void* found = ::memmem(in, size, what, length);
  return found == nullptr ? size : static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - in);
}

struct kernel_list {
  std::array<const text_kernels*, 2> kernels{&portable_text_kernels};
  std::size_t count = 1;
};

kernel_list known_kernels() noexcept {
  kernel_list list;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi")) list.kernels[list.count++] = &avx2_text_kernels;
#endif
  return list;
}

}  // namespace

constexpr text_kernels portable_text_kernels{.name = "portable",
                                             .ascii_length = ascii_length_portable,
                                             .is_utf8 = is_utf8_portable,
                                             .to_hex = to_hex_portable,
                                             .from_hex = from_hex_portable,
                                             .to_base64 = to_base64_portable,
                                             .from_base64 = from_base64_portable,
                                             .find = find_portable};

const text_kernels& best_text_kernels() noexcept {
  static const text_kernels& best = *all_text_kernels().back();
  return best;
}

std::span<const text_kernels* const> all_text_kernels() noexcept {
  static const auto list = known_kernels();
  return {list.kernels.data(), list.count};
}

}  // namespace weir::detail
