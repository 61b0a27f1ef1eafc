// perf/core/text_decoder_bench.cpp: text decoders over 64 KiB of a text in several scripts, whole and in pieces of 4
// KiB less one byte, so that characters are cut. Bytes per second count what is decoded. The peer is iconv of the C
// library.
#include <weir/core/encoding.hpp>
#include <weir/core/text_decoder.hpp>

#include "bench.hpp"

#include <iconv.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t size = 64 * 1024;

// As a page is: markup in ASCII, words in another script.
std::string page() {
  std::string text;
  while (text.size() < size) text += "<p class=\"a\">\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, weir</p>\n";
  return text;
}

// The same in another encoding, by the peer.
std::string encoded(const char* as) {
  std::string from = page(), to(4 * size, ' ');
  const auto cd = iconv_open(as, "utf-8");
  char *in = from.data(), *out = to.data();
  std::size_t left = from.size(), room = to.size();
  iconv(cd, &in, &left, &out, &room);
  iconv_close(cd);
  to.resize(to.size() - room);
  return to;
}

void decode(benchmark::State& state, const char* label, std::size_t piece, bool fatal) {
  const auto text = encoded(label);
  weir::text_decoder decoder(label, {.fatal = fatal});
  std::string out;
  for (auto _ : state) {
    out.clear();
    for (auto rest = std::as_bytes(std::span(text)); !rest.empty();) {
      const auto count = std::min(piece, rest.size());
      decoder.decode(rest.first(count), out, {.stream = count != rest.size()});
      rest = rest.subspan(count);
    }
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

void iconv_peer(benchmark::State& state, const char* label) {
  auto text = encoded(label);
  std::string out(4 * size, ' ');
  const auto cd = iconv_open("utf-8", label);
  for (auto _ : state) {
    char *from = text.data(), *to = out.data();
    std::size_t left = text.size(), room = out.size();
    iconv(cd, &from, &left, &to, &room);
    benchmark::DoNotOptimize(out.data());
  }
  iconv_close(cd);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}

}  // namespace

BENCHMARK_CAPTURE(decode, utf8, "utf-8", size * 2, false);
BENCHMARK_CAPTURE(decode, utf8_fatal, "utf-8", size * 2, true);
BENCHMARK_CAPTURE(decode, utf8_in_pieces, "utf-8", 4095, false);
BENCHMARK_CAPTURE(decode, utf16le, "utf-16le", size * 2, false);
BENCHMARK_CAPTURE(decode, utf16be, "utf-16be", size * 2, false);
BENCHMARK_CAPTURE(decode, utf16le_fatal, "utf-16le", size * 2, true);
BENCHMARK_CAPTURE(decode, windows_1251, "windows-1251", size * 2, false);
BENCHMARK_CAPTURE(iconv_peer, utf8, "utf-8");
BENCHMARK_CAPTURE(iconv_peer, utf16le, "utf-16le");
BENCHMARK_CAPTURE(iconv_peer, utf16be, "utf-16be");
BENCHMARK_CAPTURE(iconv_peer, windows_1251, "windows-1251");
