#include <weir/core/encoding.hpp>

#include <weir/core/error.hpp>
#include <weir/core/simd_text.hpp>
#include <weir/core/utf8.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace weir {
namespace {

using detail::base64_values;
using detail::best_text_kernels;
using detail::decode_utf16le;
using detail::decode_utf8;
using detail::encode_utf8;
using detail::utf8_length;

struct input {
  const std::uint8_t* at;
  std::size_t size;

  explicit input(std::span<const std::byte> bytes)
      : at(reinterpret_cast<const std::uint8_t*>(bytes.data())), size(bytes.size()) {}
  explicit input(std::string_view text) : at(reinterpret_cast<const std::uint8_t*>(text.data())), size(text.size()) {}

  void skip(std::size_t count) noexcept {
    at += count;
    size -= count;
  }
};

constexpr std::pair<std::string_view, encoding> names[] = {
    {"utf8", encoding::utf8},        {"utf-8", encoding::utf8},    {"utf16le", encoding::utf16le},
    {"utf-16le", encoding::utf16le}, {"ucs2", encoding::utf16le},  {"ucs-2", encoding::utf16le},
    {"latin1", encoding::latin1},    {"binary", encoding::latin1}, {"ascii", encoding::ascii},
    {"hex", encoding::hex},          {"base64", encoding::base64}, {"base64url", encoding::base64url},
};

bool equal_in_any_case(std::string_view a, std::string_view lower) noexcept {
  return std::ranges::equal(a, lower, {},
                            [](char each) { return each >= 'A' && each <= 'Z' ? char(each | 0x20) : each; });
}

std::size_t copy_bytes(const void* from, std::size_t size, void* to) noexcept {
  if (size != 0) std::memcpy(to, from, size);
  return size;
}

// ---- Text to bytes ----

// The longest part of at most `room` bytes that does not end within a character.
std::size_t whole_characters(std::string_view text, std::size_t room) noexcept {
  if (text.size() <= room) return text.size();
  const auto continues = [&](std::size_t at) { return (static_cast<std::uint8_t>(text[at]) & 0xc0) == 0x80; };
  auto end = room;
  while (end > 0 && room - end < 3 && continues(end)) --end;
  return continues(end) ? room : end;  // more than three in a row belong to no character
}

// Calls `put(point)` for each character until it returns false.
template <class F>
void each_character(std::string_view text, F put) noexcept {
  for (input in(text); in.size != 0;) {
    const auto step = decode_utf8(in.at, in.size);
    if (!put(step.point)) return;
    in.skip(step.length);
  }
}

std::size_t to_latin1(std::string_view text, std::span<std::byte> out) noexcept {
  auto done = best_text_kernels().ascii_length(input(text).at, std::min(text.size(), out.size()));
  copy_bytes(text.data(), done, out.data());
  each_character(text.substr(done), [&](char32_t point) {
    const std::size_t units = point > 0xffff ? 2 : 1;
    if (out.size() - done < units) return false;
    if (units == 2) {
      out[done++] = static_cast<std::byte>((point - 0x10000) >> 10 & 0xff);
      out[done++] = static_cast<std::byte>(point & 0xff);
    } else {
      out[done++] = static_cast<std::byte>(point & 0xff);
    }
    return true;
  });
  return done;
}

std::size_t to_utf16le(std::string_view text, std::span<std::byte> out) noexcept {
  std::size_t done = 0;
  const auto put_unit = [&](char32_t unit) {
    out[done++] = static_cast<std::byte>(unit & 0xff);
    out[done++] = static_cast<std::byte>(unit >> 8 & 0xff);
  };
  each_character(text, [&](char32_t point) {
    if (out.size() - done < (point > 0xffff ? 4U : 2U)) return false;
    if (point > 0xffff) {
      put_unit(0xd800 + ((point - 0x10000) >> 10));
      put_unit(0xdc00 + (point & 0x3ff));
    } else {
      put_unit(point);
    }
    return true;
  });
  return done;
}

// UTF-16 units in `text`: what its length is to JavaScript.
std::size_t utf16_units(std::string_view text) noexcept {
  std::size_t units = 0;
  each_character(text, [&](char32_t point) {
    units += point > 0xffff ? 2 : 1;
    return true;
  });
  return units;
}

std::size_t from_hex(std::string_view text, std::span<std::byte> out) noexcept {
  return best_text_kernels().from_hex(text.data(), std::min(text.size() / 2, out.size()),
                                      reinterpret_cast<std::uint8_t*>(out.data()));
}

// Clean groups go through the kernel; one by one past everything that is no digit; the first '=' ends it.
std::size_t from_base64(std::string_view text, std::span<std::byte> out) noexcept {
  auto* to = reinterpret_cast<std::uint8_t*>(out.data());
  std::size_t done = 0;
  while (true) {
    const auto groups =
        best_text_kernels().from_base64(text.data(), std::min(text.size() / 4, (out.size() - done) / 3), to + done);
    text.remove_prefix(4 * groups);
    done += 3 * groups;
    std::uint32_t bits = 0;
    std::size_t digits = 0;
    while (digits < 4 && !text.empty() && text[0] != '=') {
      const auto value = base64_values[static_cast<std::uint8_t>(text[0])];
      text.remove_prefix(1);
      if (value > 63) continue;
      bits = bits << 6 | value;
      ++digits;
    }
    bits <<= 6 * (4 - digits);
    const auto bytes = digits == 0 ? 0 : digits - 1;
    for (std::size_t i = 0; i < bytes && done < out.size(); ++i)
      to[done++] = static_cast<std::uint8_t>(bits >> (16 - 8 * i));
    if (digits < 4 || done == out.size()) return done;
  }
}

std::size_t base64_bytes(std::string_view text, std::size_t characters) noexcept {
  auto digits = characters;
  for (; characters - digits < 2 && digits > 0 && text.ends_with('='); text.remove_suffix(1)) --digits;
  return digits / 4 * 3 + digits % 4 * 3 / 4;
}

// ---- Bytes to text ----

std::size_t base64_length(std::size_t size, bool url) noexcept {
  return url ? size / 3 * 4 + (size % 3 == 0 ? 0 : size % 3 + 1) : (size + 2) / 3 * 4;
}

std::size_t to_base64(input in, char* out, bool url) noexcept {
  const auto groups = in.size / 3;
  best_text_kernels().to_base64(in.at, groups, out, url);
  const auto length = base64_length(in.size, url);
  in.skip(3 * groups);
  if (in.size == 0) return length;
  std::uint8_t rest[3] = {in.at[0], in.size == 2 ? in.at[1] : std::uint8_t{0}, 0};
  char last[4];
  detail::all_text_kernels().front()->to_base64(rest, 1, last, url);
  std::fill(last + in.size + 1, last + 4, '=');
  copy_bytes(last, length - 4 * groups, out + 4 * groups);
  return length;
}

bool is_digits(encoding as) noexcept {
  return as == encoding::hex || as == encoding::base64 || as == encoding::base64url;
}

// Whether the text is the bytes themselves.
bool is_its_own_text(input in, encoding as) noexcept {
  const auto& kernels = best_text_kernels();
  if (as == encoding::utf8) return kernels.is_utf8(in.at, in.size);
  return (as == encoding::latin1 || as == encoding::ascii) && kernels.ascii_length(in.at, in.size) == in.size;
}

// Calls `put(point)` for each character that the bytes stand for, and `run(length)` for a run of ASCII to be copied.
template <class Put, class Run>
void decode(input in, encoding as, Put put, Run run) noexcept {
  const auto ascii_length = best_text_kernels().ascii_length;
  while (in.size != 0) {
    if (as == encoding::utf16le) {
      if (in.size < 2) return;
      const auto step = decode_utf16le(in.at, in.size);
      put(step.point);
      in.skip(step.length);
      continue;
    }
    if (in.at[0] < 0x80) {
      const auto length = ascii_length(in.at, in.size);
      run(in.at, length);
      in.skip(length);
      continue;
    }
    const auto step = as == encoding::utf8     ? decode_utf8(in.at, in.size)
                      : as == encoding::latin1 ? detail::utf8_step{in.at[0], 1, true}
                                               : detail::utf8_step{static_cast<char32_t>(in.at[0] & 0x7f), 1, true};
    put(step.point);
    in.skip(step.length);
  }
}

std::size_t decoded_length(input in, encoding as) noexcept {
  std::size_t length = 0;
  decode(
      in, as, [&](char32_t point) { length += utf8_length(point); },
      [&](const std::uint8_t*, std::size_t run) { length += run; });
  return length;
}

std::size_t decode_to(input in, encoding as, char* out) noexcept {
  char* end = out;
  decode(
      in, as, [&](char32_t point) { end = encode_utf8(point, end); },
      [&](const std::uint8_t* from, std::size_t run) { end += copy_bytes(from, run, end); });
  return static_cast<std::size_t>(end - out);
}

// ---- Bytes to bytes ----

// Calls `put(point)` for each character that the bytes stand for. Not every byte is one in ASCII, however lenient
// `decode` is.
template <class F>
void each_character_in(input in, encoding as, F put) {
  if (as == encoding::ascii) {
    for (; in.size != 0; in.skip(1)) put(*in.at < 0x80 ? char32_t{*in.at} : detail::replacement_character);
    return;
  }
  const auto put_run = [&](const std::uint8_t* from, std::size_t length) { std::for_each_n(from, length, put); };
  decode(in, as, put, put_run);
}

// Characters that nobody sees (Unicode's Default_Ignorable_Code_Point).
bool is_invisible(char32_t point) noexcept {
  static constexpr std::pair<char32_t, char32_t> ranges[] = {
      {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},     {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},
      {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x206f},   {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
      {0xffa0, 0xffa0}, {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
  };
  return std::ranges::any_of(ranges, [&](const auto& each) { return point >= each.first && point <= each.second; });
}

void append_octet(std::vector<std::byte>& out, char32_t point, char32_t last) {
  if (point <= last) {
    out.push_back(static_cast<std::byte>(point));
  } else if (!is_invisible(point)) {
    out.push_back(std::byte{'?'});
  }
}

void append_character(std::vector<std::byte>& out, char32_t point, encoding as) {
  if (as == encoding::latin1) return append_octet(out, point, 0xff);
  if (as == encoding::ascii) return append_octet(out, point, 0x7f);
  char text[4];
  const auto* end = encode_utf8(point, text);
  const std::string_view character(text, static_cast<std::size_t>(end - text));
  std::byte bytes[4];
  const auto size = to_bytes(character, as, bytes);
  out.insert(out.end(), bytes, bytes + size);
}

bool is_ascii_space(char each) noexcept {
  return each == ' ' || each == '\t' || each == '\n' || each == '\f' || each == '\r';
}

bool is_base64_digit(char each) noexcept {
  return base64_values[static_cast<std::uint8_t>(each)] <= 63 && each != '-' && each != '_';
}

}  // namespace

std::optional<encoding> find_encoding(std::string_view name) noexcept {
  for (const auto& [known, as] : names)
    if (equal_in_any_case(name, known)) return as;
  return std::nullopt;
}

encoding parse_encoding(std::string_view name) {
  if (const auto found = find_encoding(name)) return *found;
  throw error(errc::err_unknown_encoding, "Unknown encoding: " + std::string(name));
}

std::string_view encoding_name(encoding as) noexcept {
  for (const auto& [known, each] : names)
    if (each == as) return known;
  return {};
}

std::size_t byte_length(std::string_view text, encoding as) noexcept {
  switch (as) {
    case encoding::utf8: return text.size();
    case encoding::utf16le: return 2 * utf16_units(text);
    case encoding::latin1:
    case encoding::ascii: return utf16_units(text);
    case encoding::hex: return utf16_units(text) / 2;
    case encoding::base64:
    case encoding::base64url: return base64_bytes(text, utf16_units(text));
  }
  return 0;
}

std::size_t to_bytes(std::string_view text, encoding as, std::span<std::byte> out) noexcept {
  switch (as) {
    case encoding::utf8: return copy_bytes(text.data(), whole_characters(text, out.size()), out.data());
    case encoding::utf16le: return to_utf16le(text, out);
    case encoding::latin1:
    case encoding::ascii: return to_latin1(text, out);
    case encoding::hex: return from_hex(text, out);
    case encoding::base64:
    case encoding::base64url: return from_base64(text, out);
  }
  return 0;
}

std::string to_text(std::span<const std::byte> bytes, encoding as) {
  std::string text;
  append_text(text, bytes, as);
  return text;
}

void append_text(std::string& out, std::span<const std::byte> bytes, encoding as) {
  const input in(bytes);
  if (is_its_own_text(in, as)) {
    out.append(reinterpret_cast<const char*>(in.at), in.size);
    return;
  }
  const auto before = out.size();
  if (is_digits(as)) {
    out.resize(before + text_length(bytes, as));
    to_text(bytes, as, std::span(out).subspan(before));
  } else {
    out.resize(before + decoded_length(in, as));
    decode_to(in, as, out.data() + before);
  }
}

std::size_t text_length(std::span<const std::byte> bytes, encoding as) noexcept {
  const input in(bytes);
  if (as == encoding::hex) return 2 * in.size;
  if (is_digits(as)) return base64_length(in.size, as == encoding::base64url);
  return is_its_own_text(in, as) ? in.size : decoded_length(in, as);
}

std::size_t to_text(std::span<const std::byte> bytes, encoding as, std::span<char> out) noexcept {
  const input in(bytes);
  if (as == encoding::hex) {
    best_text_kernels().to_hex(in.at, in.size, out.data());
    return 2 * in.size;
  }
  if (is_digits(as)) return to_base64(in, out.data(), as == encoding::base64url);
  if (is_its_own_text(in, as)) return copy_bytes(in.at, in.size, out.data());
  return decode_to(in, as, out.data());
}

bool is_utf8(std::span<const std::byte> bytes) noexcept {
  return best_text_kernels().is_utf8(input(bytes).at, bytes.size());
}

bool is_ascii(std::span<const std::byte> bytes) noexcept {
  return best_text_kernels().ascii_length(input(bytes).at, bytes.size()) == bytes.size();
}

std::vector<std::byte> transcode(std::span<const std::byte> bytes, encoding from, encoding to) {
  if (is_digits(from) || is_digits(to)) {
    throw error(errc::err_invalid_arg_value,
                fmt::format("Unable to transcode from {} to {}", encoding_name(from), encoding_name(to)));
  }
  std::vector<std::byte> out;
  if (to == encoding::utf8 && from != encoding::ascii) {
    out.resize(text_length(bytes, from));
    to_text(bytes, from, std::span(reinterpret_cast<char*>(out.data()), out.size()));
    return out;
  }
  out.reserve(to == encoding::utf16le && from != encoding::utf16le ? 2 * bytes.size() : bytes.size());
  each_character_in(input(bytes), from, [&](char32_t point) { append_character(out, point, to); });
  return out;
}

std::string btoa(std::string_view text) {
  std::vector<std::byte> bytes;
  bytes.reserve(text.size());
  bool fits = true;
  each_character(text, [&](char32_t point) {
    fits = point <= 0xff;
    bytes.push_back(static_cast<std::byte>(point));
    return fits;
  });
  if (!fits) throw error(errc::err_invalid_char, "btoa: a character is not within U+0000 to U+00FF");
  return to_text(bytes, encoding::base64);
}

std::string atob(std::string_view text) {
  std::string digits;
  digits.reserve(text.size());
  for (char each : text) {
    if (!is_ascii_space(each)) digits.push_back(each);
  }
  if (digits.size() % 4 == 0) {
    for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.pop_back();
  }
  if (digits.size() % 4 == 1 || !std::ranges::all_of(digits, is_base64_digit)) {
    throw error(errc::err_invalid_char, "atob: the text is not base64");
  }
  std::vector<std::byte> bytes(base64_bytes(digits, digits.size()));
  bytes.resize(from_base64(digits, bytes));
  return to_text(bytes, encoding::latin1);
}

}  // namespace weir
