#include <weir/core/string_decoder.hpp>

#include <weir/core/utf8.hpp>

#include <algorithm>

namespace weir {
namespace {

using bytes = std::span<const std::byte>;

const std::uint8_t* raw(bytes from) noexcept { return reinterpret_cast<const std::uint8_t*>(from.data()); }

// How many of the last bytes are the beginning of a character that may go on.
std::size_t open_utf8(bytes chunk) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, chunk.size()); ++back) {
    const auto* at = raw(chunk.last(back));
    if ((*at & 0xc0) != 0x80) return detail::decode_utf8(at, back).cut_off ? back : 0;
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

// How many of the first bytes are a character, a group or ill-formed for good; 0 if more are needed to tell.
std::size_t closed_bytes(bytes kept, encoding as) noexcept {
  if (as == encoding::utf8) {
    const auto step = detail::decode_utf8(raw(kept), kept.size());
    return step.cut_off ? 0 : step.length;
  }
  if (as == encoding::utf16le) {
    if (kept.size() < 2 || (is_high_surrogate(raw(kept)) && kept.size() < 4)) return 0;
    return detail::decode_utf16le(raw(kept), kept.size()).length;
  }
  return kept.size() < 3 ? 0 : 3;
}

}  // namespace

void string_decoder::put_first(std::size_t count, std::string& out) {
  append_text(out, kept().first(count), as_);
  std::copy(bytes_ + count, bytes_ + kept_, bytes_);
  kept_ = static_cast<std::uint8_t>(kept_ - count);
}

// Byte by byte, until nothing is kept from before.
void string_decoder::complete(bytes& chunk, std::string& out) {
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
