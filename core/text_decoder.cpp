#include <weir/core/text_decoder.hpp>

#include <weir/core/encoding.hpp>
#include <weir/core/error.hpp>
#include <weir/core/simd_text.hpp>
#include <weir/core/single_byte_tables.hpp>
#include <weir/core/utf8.hpp>

#include <algorithm>
#include <array>

namespace weir {
namespace {

using byte_span = std::span<const std::byte>;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

const std::uint8_t* raw(byte_span from) noexcept { return reinterpret_cast<const std::uint8_t*>(from.data()); }

[[noreturn]] void refuse_data(std::string_view encoding) {
  throw error(errc::err_encoding_invalid_encoded_data,
              "The encoded data was not valid for encoding " + std::string(encoding));
}

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }

std::string normal_label(std::string_view label) {
  while (!label.empty() && is_space(label.front())) label.remove_prefix(1);
  while (!label.empty() && is_space(label.back())) label.remove_suffix(1);
  std::string lower(label);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return lower;
}

// Whether `word` is one of the words of a list with one blank between them.
bool has_word(std::string_view list, std::string_view word) noexcept {
  for (auto at = list.find(word); at != std::string_view::npos; at = list.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || list[at - 1] == ' ') && (end == list.size() || list[end] == ' ')) return true;
  }
  return false;
}

// The bytes at the end that are the beginning of a character, as far as they go.
std::size_t open_utf8(byte_span bytes) noexcept {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes.size()); ++back) {
    const auto* from = raw(bytes.last(back));
    if ((*from & 0xc0) == 0x80) continue;
    const auto step = detail::decode_utf8(from, back);
    return step.cut_off && step.length == back ? back : 0;
  }
  return 0;
}

bool is_high(char32_t unit) noexcept { return unit >= 0xd800 && unit <= 0xdbff; }
bool is_low(char32_t unit) noexcept { return unit >= 0xdc00 && unit <= 0xdfff; }

// UTF-16 of either order, whole units.
struct utf16_view {
  byte_span bytes;
  bool big_endian;

  char32_t unit(std::size_t at) const noexcept {
    const auto* from = raw(bytes) + at;
    return big_endian ? static_cast<char32_t>(from[0] << 8 | from[1]) : static_cast<char32_t>(from[1] << 8 | from[0]);
  }

  // Whether each surrogate is one of a pair.
  bool well_formed() const noexcept {
    for (std::size_t at = 0; at < bytes.size(); at += 2) {
      if ((unit(at) & 0xf800) != 0xd800) continue;
      if (!is_high(unit(at)) || at + 2 == bytes.size() || !is_low(unit(at + 2))) return false;
      at += 2;
    }
    return true;
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------- labels

struct text_decoder::charset {
  enum class form : std::uint8_t { utf8, utf16le, utf16be, single_byte };

  std::string_view name;
  std::string_view labels;  // a list of words
  const detail::single_byte_table* table;
  form as = form::single_byte;
};

struct text_decoder::charsets {
  static const charset all[];
};

constexpr text_decoder::charset text_decoder::charsets::all[] = {
    {"utf-8", "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8", nullptr, charset::form::utf8},
    {"utf-16le", "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le", nullptr,
     charset::form::utf16le},
    {"utf-16be", "unicodefffe utf-16be", nullptr, charset::form::utf16be},
    {"windows-1252",
     "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 "
     "iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252",
     &detail::windows_1252},
    {"ibm866", "866 cp866 csibm866 ibm866", &detail::ibm866},
    {"iso-8859-2", "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
     &detail::iso_8859_2},
    {"iso-8859-3", "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
     &detail::iso_8859_3},
    {"iso-8859-4", "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
     &detail::iso_8859_4},
    {"iso-8859-5", "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
     &detail::iso_8859_5},
    {"iso-8859-6",
     "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i "
     "iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
     &detail::iso_8859_6},
    {"iso-8859-7",
     "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 "
     "iso_8859-7:1987 sun_eu_greek",
     &detail::iso_8859_7},
    {"iso-8859-8",
     "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 "
     "iso_8859-8:1988 visual",
     &detail::iso_8859_8},
    {"iso-8859-8-i", "csiso88598i iso-8859-8-i logical", &detail::iso_8859_8},
    {"iso-8859-10", "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6", &detail::iso_8859_10},
    {"iso-8859-13", "iso-8859-13 iso8859-13 iso885913", &detail::iso_8859_13},
    {"iso-8859-14", "iso-8859-14 iso8859-14 iso885914", &detail::iso_8859_14},
    {"iso-8859-15", "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9", &detail::iso_8859_15},
    {"iso-8859-16", "iso-8859-16", &detail::iso_8859_16},
    {"koi8-r", "cskoi8r koi koi8 koi8-r koi8_r", &detail::koi8_r},
    {"koi8-u", "koi8-ru koi8-u", &detail::koi8_u},
    {"macintosh", "csmacintosh mac macintosh x-mac-roman", &detail::macintosh},
    {"windows-874", "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874", &detail::windows_874},
    {"windows-1250", "cp1250 windows-1250 x-cp1250", &detail::windows_1250},
    {"windows-1251", "cp1251 windows-1251 x-cp1251", &detail::windows_1251},
    {"windows-1253", "cp1253 windows-1253 x-cp1253", &detail::windows_1253},
    {"windows-1254",
     "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 "
     "x-cp1254",
     &detail::windows_1254},
    {"windows-1255", "cp1255 windows-1255 x-cp1255", &detail::windows_1255},
    {"windows-1256", "cp1256 windows-1256 x-cp1256", &detail::windows_1256},
    {"windows-1257", "cp1257 windows-1257 x-cp1257", &detail::windows_1257},
    {"windows-1258", "cp1258 windows-1258 x-cp1258", &detail::windows_1258},
    {"x-mac-cyrillic", "x-mac-cyrillic x-mac-ukrainian", &detail::x_mac_cyrillic},
    {"x-user-defined", "x-user-defined", &detail::x_user_defined},
};

const text_decoder::charset& text_decoder::find(std::string_view label) {
  const std::string word = normal_label(label);
  if (!word.empty() && word.find(' ') == std::string::npos) {
    for (const charset& each : charsets::all) {
      if (has_word(each.labels, word)) return each;
    }
  }
  throw error(errc::err_encoding_not_supported, "The \"" + std::string(label) + "\" encoding is not supported");
}

text_decoder::text_decoder(std::string_view label, const text_decoder_options& options)
    : charset_(&find(label)), options_(options) {}

std::string_view text_decoder::encoding() const noexcept { return charset_->name; }

// ---------------------------------------------------------------------------------------------------------- pieces

void text_decoder::keep(byte_span rest) noexcept {
  std::copy_n(raw(rest), rest.size(), bytes_ + kept_);
  kept_ = static_cast<std::uint8_t>(kept_ + rest.size());
}

void text_decoder::drop_kept(std::size_t count) noexcept {
  std::copy(bytes_ + count, bytes_ + kept_, bytes_);
  kept_ = static_cast<std::uint8_t>(kept_ - count);
}

void text_decoder::reset() noexcept {
  kept_ = 0;
  begun_ = false;
}

void text_decoder::put_character(char32_t point, bool valid, std::string& out) const {
  if (!valid && options_.fatal) refuse_data(charset_->name);
  char text[4];
  out.append(text, detail::encode_utf8(point, text));
}

// With as many of the next bytes as show what the kept ones are.
void text_decoder::put_kept_utf8(byte_span& bytes, std::string& out) {
  while (kept_ != 0 && !bytes.empty()) {
    keep(bytes.first(1));
    bytes = bytes.subspan(1);
    while (kept_ != 0) {
      const auto step = detail::decode_utf8(bytes_, kept_);
      if (step.cut_off) break;
      put_character(step.point, step.valid, out);
      drop_kept(step.length);
    }
  }
}

void text_decoder::put_utf8(byte_span bytes, std::string& out) {
  put_kept_utf8(bytes, out);
  if (bytes.empty()) return;
  const auto open = open_utf8(bytes);
  const auto whole = bytes.first(bytes.size() - open);
  if (options_.fatal && !is_utf8(whole)) refuse_data(charset_->name);
  append_text(out, whole, encoding::utf8);
  keep(bytes.last(open));
}

void text_decoder::put_kept_utf16(byte_span& bytes, std::string& out) {
  while (kept_ != 0 && !bytes.empty()) {
    keep(bytes.first(1));
    bytes = bytes.subspan(1);
    const utf16_view kept{std::as_bytes(std::span(bytes_)), charset_->as == charset::form::utf16be};
    while (kept_ >= 2 && (kept_ == 4 || !is_high(kept.unit(0)))) {
      const std::size_t count = is_high(kept.unit(0)) && is_low(kept.unit(2)) ? 4 : 2;
      put_whole_utf16(kept.bytes.first(count), out);
      drop_kept(count);
    }
  }
}

// Whole units; a pair is never cut.
void text_decoder::put_whole_utf16(byte_span bytes, std::string& out) const {
  const utf16_view text{bytes, charset_->as == charset::form::utf16be};
  if (options_.fatal && !text.well_formed()) refuse_data(charset_->name);
  if (!text.big_endian) return append_text(out, bytes, encoding::utf16le);
  std::array<std::byte, 1024> block;
  for (std::size_t at = 0; at < bytes.size();) {
    auto count = std::min(block.size(), bytes.size() - at);
    if (at + count < bytes.size() && is_high(text.unit(at + count - 2))) count -= 2;
    for (std::size_t i = 0; i < count; i += 2) {
      block[i] = bytes[at + i + 1];
      block[i + 1] = bytes[at + i];
    }
    append_text(out, std::span(block).first(count), encoding::utf16le);
    at += count;
  }
}

void text_decoder::put_utf16(byte_span bytes, std::string& out) {
  put_kept_utf16(bytes, out);
  if (bytes.empty()) return;
  std::size_t open = bytes.size() % 2;
  const utf16_view text{bytes, charset_->as == charset::form::utf16be};
  if (bytes.size() >= 2 && is_high(text.unit(bytes.size() - open - 2))) open += 2;
  const auto whole = bytes.first(bytes.size() - open);
  put_whole_utf16(whole, out);
  keep(bytes.last(open));
}

void text_decoder::put_single_bytes(byte_span bytes, std::string& out) const {
  const auto ascii_length = detail::best_text_kernels().ascii_length;
  while (!bytes.empty()) {
    const auto plain = ascii_length(raw(bytes), bytes.size());
    out.append(reinterpret_cast<const char*>(bytes.data()), plain);
    bytes = bytes.subspan(plain);
    std::array<char, 3 * 64> text;
    char* end = text.data();
    std::size_t count = 0;
    for (; count < std::min<std::size_t>(64, bytes.size()) && raw(bytes)[count] >= 0x80; ++count) {
      const auto point = charset_->table->upper[raw(bytes)[count] - 0x80];
      if (options_.fatal && point == detail::single_byte_table::none) refuse_data(charset_->name);
      end = detail::encode_utf8(point, end);
    }
    out.append(text.data(), end);
    bytes = bytes.subspan(count);
  }
}

void text_decoder::put(byte_span bytes, std::string& out) {
  switch (charset_->as) {
    case charset::form::utf8: return put_utf8(bytes, out);
    case charset::form::utf16le:
    case charset::form::utf16be: return put_utf16(bytes, out);
    case charset::form::single_byte: return put_single_bytes(bytes, out);
  }
}

// Takes away the first character of all if it is a mark. Encodings of one byte have none.
void text_decoder::drop_bom(std::size_t from, std::string& out) {
  if (begun_ || out.size() == from) return;
  begun_ = true;
  const bool dropped = !options_.ignore_bom && charset_->as != charset::form::single_byte;
  if (dropped && std::string_view(out).substr(from).starts_with(byte_order_mark)) {
    out.erase(from, byte_order_mark.size());
  }
}

void text_decoder::decode(byte_span bytes, std::string& out, const text_decode_options& options) {
  const auto from = out.size();
  try {
    put(bytes, out);
    if (!options.stream && kept_ != 0) put_character(detail::replacement_character, false, out);
    drop_bom(from, out);
  } catch (...) {
    out.resize(from);
    reset();
    throw;
  }
  if (!options.stream) reset();
}

std::string text_decoder::decode(byte_span bytes, const text_decode_options& options) {
  std::string text;
  decode(bytes, text, options);
  return text;
}

}  // namespace weir
