// tests/fuzz/encoding_fuzz.cpp: any bytes decode, any text encodes, in every encoding; lengths are what was promised,
// what was decoded encodes to the same bytes where nothing is lost, and all loops agree with the plain ones.
#include <weir/core/encoding.hpp>
#include <weir/core/simd_text.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using weir::encoding;

void require(bool holds) {
  if (!holds) std::abort();
}

void decode(std::span<const std::byte> bytes, encoding as) {
  const auto text = weir::to_text(bytes, as);
  require(text.size() == weir::text_length(bytes, as));
  require(weir::is_utf8(std::as_bytes(std::span(text))));
  std::string again(text.size(), '\0');
  require(weir::to_text(bytes, as, again) == text.size() && again == text);

  const bool lossless = as == encoding::hex || as == encoding::base64 || as == encoding::base64url ||
                        as == encoding::latin1 || (as == encoding::utf8 && weir::is_utf8(bytes));
  if (!lossless) return;
  std::vector<std::byte> out(weir::byte_length(text, as));
  require(weir::to_bytes(text, as, out) == bytes.size() && std::ranges::equal(out, bytes));
}

void encode(std::string_view text, encoding as, std::size_t room) {
  const auto most = weir::byte_length(text, as);
  auto all = std::make_unique<std::byte[]>(most);
  const auto size = weir::to_bytes(text, as, {all.get(), most});
  require(size <= most);
  // With less room, a beginning of the same.
  room = std::min(room, most);
  auto part = std::make_unique<std::byte[]>(room);
  const auto written = weir::to_bytes(text, as, {part.get(), room});
  require(written <= room && written <= size && std::equal(part.get(), part.get() + written, all.get()));
}

void compare_kernels(const std::uint8_t* data, std::size_t size) {
  const auto kernels = weir::detail::all_text_kernels();
  const auto& plain = *kernels.front();
  const auto* text = reinterpret_cast<const char*>(data);
  for (const auto* each : kernels) {
    require(each->is_utf8(data, size) == plain.is_utf8(data, size));
    require(each->ascii_length(data, size) == plain.ascii_length(data, size));
    std::vector<std::uint8_t> a(size), b(size);
    require(each->from_hex(text, size / 2, a.data()) == plain.from_hex(text, size / 2, b.data()) && a == b);
    require(each->from_base64(text, size / 4, a.data()) == plain.from_base64(text, size / 4, b.data()) && a == b);
    if (size < 4) continue;
    const auto length = 2 + data[0] % (size / 2 - 1);
    const auto from = data[1] % (size - length);
    require(std::min(each->find(data, size, data + from, length), size) ==
            std::min(plain.find(data, size, data + from, length), size));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto named = weir::find_encoding(text)) require(weir::find_encoding(weir::encoding_name(*named)) == named);
  for (auto as : {encoding::utf8, encoding::utf16le, encoding::latin1, encoding::ascii, encoding::hex, encoding::base64,
                  encoding::base64url}) {
    decode(bytes, as);
    encode(text, as, size == 0 ? 0 : data[0]);
  }
  compare_kernels(data, size);
  return 0;
}
