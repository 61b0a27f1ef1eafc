// perf/core/encoding_bench.cpp: the inner loops of the encodings, each set of kernels beside the others, over a text of
// 64 KiB that stays in the cache, and the public functions above them. Bytes per second count the bytes that text
// stands for (hex, base64) or that are looked through (UTF-8, ASCII, search). The peers of the search are memmem and
// std::string_view.
#include <weir/core/encoding.hpp>
#include <weir/core/simd_text.hpp>

#include "bench.hpp"

#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using weir::encoding;
using weir::detail::text_kernels;

constexpr std::size_t size = 64 * 1024 / 3 * 3;

std::vector<std::uint8_t> noise() {
  std::mt19937 random(1);
  std::vector<std::uint8_t> bytes(size);
  for (auto& each : bytes) each = static_cast<std::uint8_t>(random());
  return bytes;
}

// Text of one script: all characters have as many bytes.
std::string text_of(std::string_view character) {
  std::string text;
  while (text.size() + character.size() <= size) text += character;
  return text;
}

// What a page in most languages looks like: runs of ASCII and of longer characters.
std::string mixed_text() {
  std::string text;
  while (text.size() < size)
    text += "weir \xe2\x82\xac na\xc3\xafve \xd0\xbf\xd1\x80\xd0\xb8 \xf0\x9f\x98\x80, then some ASCII. ";
  return text;
}

const std::uint8_t* raw(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

void count_bytes(benchmark::State& state, std::size_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes));
}

void to_hex(benchmark::State& state, const text_kernels* kernels) {
  const auto in = noise();
  std::vector<char> out(2 * size);
  for (auto _ : state) {
    kernels->to_hex(in.data(), size, out.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state, size);
}

void from_hex(benchmark::State& state, const text_kernels* kernels) {
  const auto bytes = noise();
  const auto text = weir::to_text(std::as_bytes(std::span(bytes)), encoding::hex);
  std::vector<std::uint8_t> out(size);
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernels->from_hex(text.data(), size, out.data()));
    benchmark::ClobberMemory();
  }
  count_bytes(state, size);
}

void to_base64(benchmark::State& state, const text_kernels* kernels) {
  const auto in = noise();
  std::vector<char> out(size / 3 * 4);
  for (auto _ : state) {
    kernels->to_base64(in.data(), size / 3, out.data(), false);
    benchmark::ClobberMemory();
  }
  count_bytes(state, size);
}

void from_base64(benchmark::State& state, const text_kernels* kernels) {
  const auto bytes = noise();
  const auto text = weir::to_text(std::as_bytes(std::span(bytes)), encoding::base64);
  std::vector<std::uint8_t> out(size);
  for (auto _ : state) {
    benchmark::DoNotOptimize(kernels->from_base64(text.data(), size / 3, out.data()));
    benchmark::ClobberMemory();
  }
  count_bytes(state, size);
}

void is_utf8(benchmark::State& state, const text_kernels* kernels, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(kernels->is_utf8(raw(text), text.size()));
  count_bytes(state, text.size());
}

void ascii_length(benchmark::State& state, const text_kernels* kernels) {
  const auto text = text_of("a");
  for (auto _ : state) benchmark::DoNotOptimize(kernels->ascii_length(raw(text), text.size()));
  count_bytes(state, text.size());
}

const std::string& haystack() {
  static const std::string text = [] {
    std::string made;
    while (made.size() < size) made += "GET /index.html HTTP/1.1\r\nhost: example.org\r\naccept: text/html, */*\r\n";
    return made + "\r\n\r\n";
  }();
  return text;
}

void find(benchmark::State& state, const text_kernels* kernels, std::string_view what) {
  const auto& text = haystack();
  for (auto _ : state) benchmark::DoNotOptimize(kernels->find(raw(text), text.size(), raw(what), what.size()));
  count_bytes(state, text.size());
}

void find_string_view(benchmark::State& state, std::string_view what) {
  const std::string_view text = haystack();
  for (auto _ : state) benchmark::DoNotOptimize(text.find(what));
  count_bytes(state, text.size());
}

// The public functions, with the std::string that they make; and into memory of the caller.
void encode(benchmark::State& state, encoding as) {
  const auto in = noise();
  for (auto _ : state) benchmark::DoNotOptimize(weir::to_text(std::as_bytes(std::span(in)), as));
  count_bytes(state, size);
}

void encode_in_place(benchmark::State& state, encoding as) {
  const auto in = noise();
  std::vector<char> out(2 * size);
  for (auto _ : state) benchmark::DoNotOptimize(weir::to_text(std::as_bytes(std::span(in)), as, out));
  count_bytes(state, size);
}

void decode(benchmark::State& state, encoding as) {
  const auto bytes = noise();
  const auto text = weir::to_text(std::as_bytes(std::span(bytes)), as);
  std::vector<std::byte> out(size);
  for (auto _ : state) benchmark::DoNotOptimize(weir::to_bytes(text, as, out));
  count_bytes(state, size);
}

// As in mail: lines of 76 characters.
void decode_lines(benchmark::State& state) {
  const auto bytes = noise();
  auto text = weir::to_text(std::as_bytes(std::span(bytes)), encoding::base64);
  for (std::size_t at = 76; at < text.size(); at += 78) text.insert(at, "\r\n");
  std::vector<std::byte> out(size);
  for (auto _ : state) benchmark::DoNotOptimize(weir::to_bytes(text, encoding::base64, out));
  count_bytes(state, size);
}

void to_string_utf8(benchmark::State& state, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(weir::to_text(std::as_bytes(std::span(text))));
  count_bytes(state, text.size());
}

const bool registered = [] {
  for (const auto* each : weir::detail::all_text_kernels()) {
    const auto add = [each](const std::string& name, auto function, const auto&... arguments) {
      benchmark::RegisterBenchmark((name + "/" + each->name).c_str(), function, each, arguments...);
    };
    add("hex_encode", to_hex);
    add("hex_decode", from_hex);
    add("base64_encode", to_base64);
    add("base64_decode", from_base64);
    add("is_ascii", ascii_length);
    add("is_utf8_ascii", is_utf8, text_of("a"));
    add("is_utf8_two_bytes", is_utf8, text_of("\xd0\xbf"));
    add("is_utf8_three_bytes", is_utf8, text_of("\xe2\x82\xac"));
    add("is_utf8_four_bytes", is_utf8, text_of("\xf0\x9f\x98\x80"));
    add("is_utf8_mixed", is_utf8, mixed_text());
    add("find_blank_line", find, std::string_view("\r\n\r\n"));
    add("find_long", find, std::string_view("accept: text/html, */*; q=0.9"));
  }
  return true;
}();

}  // namespace

BENCHMARK_CAPTURE(find_string_view, blank_line, "\r\n\r\n");
BENCHMARK_CAPTURE(find_string_view, long, "accept: text/html, */*; q=0.9");
BENCHMARK_CAPTURE(encode, hex, encoding::hex);
BENCHMARK_CAPTURE(encode, base64, encoding::base64);
BENCHMARK_CAPTURE(encode_in_place, hex, encoding::hex);
BENCHMARK_CAPTURE(encode_in_place, base64, encoding::base64);
BENCHMARK_CAPTURE(decode, hex, encoding::hex);
BENCHMARK_CAPTURE(decode, base64, encoding::base64);
BENCHMARK(decode_lines);
BENCHMARK_CAPTURE(to_string_utf8, ascii, text_of("a"));
BENCHMARK_CAPTURE(to_string_utf8, mixed, mixed_text());
