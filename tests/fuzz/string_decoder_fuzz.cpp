// tests/fuzz/string_decoder_fuzz.cpp: bytes in pieces of any length make the text that they make together.
#include <weir/core/string_decoder.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

// The first byte chooses the encoding, the second how the rest is cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto as = static_cast<weir::encoding>(data[0] % 7);
  const auto bytes = std::as_bytes(std::span(data + 2, size - 2));
  weir::string_decoder decoder(as);
  std::string text;
  std::size_t seed = data[1];
  for (auto rest = bytes; !rest.empty();) {
    seed = seed * 5 + 3;
    const auto count = std::min(seed / 8 % 7, rest.size());
    decoder.write(rest.first(count), text);
    require(decoder.pending() <= 3);
    rest = rest.subspan(count);
  }
  decoder.end({}, text);
  require(decoder.pending() == 0 && text == weir::to_text(bytes, as));
  return 0;
}
