#include <weir/core/string_decoder.hpp>

#include <weir/core/utf8.hpp>

#include <algorithm>

namespace weir {
namespace {

using bytes = std::span<const std::byte>;

const std::uint8_t* raw(bytes from) noexcept { return reinterpret_cast<const std::uint8_t*>(from.data()); }

bool is_continuation(std::byte octet) noexcept { return (octet & std::byte{0xc0}) == std::byte{0x80}; }

// How long the character is that begins so; 0 for what begins none.
std::size_t length_by_first(std::byte first) noexcept {
  const auto octet = std::to_integer<unsigned>(first);
  if ((octet & 0xe0) == 0xc0) return 2;
  if ((octet & 0xf0) == 0xe0) return 3;
  return (octet & 0xf8) == 0xf0 ? 4 : 0;
}

// How many of the last bytes are the beginning of a character, by its first byte: as in Node, whether the next ones
// are well-formed is seen when it is complete.
std::size_t open_utf8(bytes chunk) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, chunk.size()); ++back) {
    const auto octet = chunk[chunk.size() - back];
    if (!is_continuation(octet)) return back < length_by_first(octet) ? back : 0;
  }
  return 0;
}

bool is_high_surrogate(const std::uint8_t* unit) noexcept { return (unit[1] & 0xfc) == 0xd8; }

std::size_t open_utf16(bytes chunk) noexcept {
  const auto odd = chunk.size() % 2;
  const auto whole = chunk.first(chunk.size() - odd);
  return !whole.empty() && is_high_surrogate(raw(whole.last(2))) ? odd + 2 : odd;
}

std::size_t open_bytes(bytes chunk, encoding as) noexcept {
  switch (as) {
    case encoding::utf8: return open_utf8(chunk);
    case encoding::utf16le: return open_utf16(chunk);
    case encoding::base64:
    case encoding::base64url: return chunk.size() % 3;
    default: return 0;
  }
}

// How many of the first bytes of UTF-16 or base64 are a character or a group; 0 if more are needed to tell.
std::size_t closed_bytes(bytes kept, encoding as) noexcept {
  if (as != encoding::utf16le) return kept.size() < 3 ? 0 : 3;
  if (kept.size() < 2 || (is_high_surrogate(raw(kept)) && kept.size() < 4)) return 0;
  return detail::decode_utf16le(raw(kept), kept.size()).length;
}

}  // namespace

void string_decoder::put_first(std::size_t count, std::string& out) {
  append_text(out, kept().first(count), as_);
  std::copy(bytes_ + count, bytes_ + kept_, bytes_);
  kept_ = static_cast<std::uint8_t>(kept_ - count);
}

// Until the character is as long as its first byte said, or something follows that is no part of one.
void string_decoder::complete_utf8(bytes& chunk, std::string& out) {
  const auto length = length_by_first(bytes_[0]);
  while (kept_ < length && !chunk.empty() && is_continuation(chunk.front())) {
    bytes_[kept_++] = chunk.front();
    chunk = chunk.subspan(1);
  }
  if (kept_ == length || !chunk.empty()) put_first(kept_, out);
}

// Byte by byte, until nothing is kept from before.
void string_decoder::complete(bytes& chunk, std::string& out) {
  if (as_ == encoding::utf8 && kept_ != 0) return complete_utf8(chunk, out);
  while (kept_ != 0 && !chunk.empty()) {
    bytes_[kept_++] = chunk.front();
    chunk = chunk.subspan(1);
    while (kept_ != 0) {
      const auto closed = closed_bytes(kept(), as_);
      if (closed == 0) break;
      put_first(closed, out);
    }
  }
}

void string_decoder::write(bytes chunk, std::string& out) {
  complete(chunk, out);
  if (chunk.empty()) return;
  const auto open = open_bytes(chunk, as_);
  append_text(out, chunk.first(chunk.size() - open), as_);
  std::ranges::copy(chunk.last(open), bytes_);
  kept_ = static_cast<std::uint8_t>(open);
}

std::string string_decoder::write(bytes chunk) {
  std::string text;
  write(chunk, text);
  return text;
}

void string_decoder::end(bytes last, std::string& out) {
  write(last, out);
  put_first(kept_, out);
}

std::string string_decoder::end(bytes last) {
  std::string text;
  end(last, text);
  return text;
}

}  // namespace weir
