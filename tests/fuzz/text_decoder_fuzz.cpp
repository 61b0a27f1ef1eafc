// tests/fuzz/text_decoder_fuzz.cpp: bytes in pieces of any length make the text that they make together, which is
// UTF-8, and are refused where that text would have a mark of its own for what is ill-formed.
#include <tests/fuzz/input.hpp>
#include <weir/core/encoding.hpp>
#include <weir/core/error.hpp>
#include <weir/core/text_decoder.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace {

using weir::fuzzing::require;

constexpr std::string_view labels[] = {"utf-8", "utf-16le", "utf-16be", "latin1", "windows-1253", "x-user-defined"};

// Each piece lies in a block of its own, which is gone afterwards.
std::optional<std::string> in_pieces(weir::text_decoder& decoder, std::span<const std::byte> bytes, std::size_t seed) {
  std::string text;
  try {
    while (!bytes.empty()) {
      seed = seed * 5 + 3;
      const auto count = std::min(seed / 8 % 7, bytes.size());
      const auto block = std::make_unique<std::byte[]>(count);
      std::ranges::copy(bytes.first(count), block.get());
      decoder.decode({block.get(), count}, text, {.stream = true});
      bytes = bytes.subspan(count);
    }
    decoder.decode({}, text);
  } catch (const weir::error& e) {
    require(decoder.fatal() && e.is("ERR_ENCODING_INVALID_ENCODED_DATA"));
    return std::nullopt;
  }
  return text;
}

}  // namespace

// The first byte chooses the encoding and whether a mark counts, the second how the rest is cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto label = labels[data[0] % std::size(labels)];
  const auto bytes = std::as_bytes(std::span(data + 2, size - 2));
  weir::text_decoder lenient(label, {.ignore_bom = data[0] >= 128});
  weir::text_decoder strict(label, {.fatal = true, .ignore_bom = data[0] >= 128});
  const auto whole = lenient.decode(bytes);
  require(weir::is_utf8(std::as_bytes(std::span(whole))));
  require(in_pieces(lenient, bytes, data[1]) == whole && lenient.decode(bytes) == whole);
  const auto refused = in_pieces(strict, bytes, data[1]);
  require(refused ? *refused == whole : whole.find("\xef\xbf\xbd") != whole.npos);
  if (label == "utf-8") require(refused.has_value() == weir::is_utf8(bytes));
  return 0;
}
