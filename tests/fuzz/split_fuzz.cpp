// tests/fuzz/split_fuzz.cpp: the same bytes cut at random give the same lines, pieces and chunks as in one piece, and
// joined again they are what went in. The first byte chooses the delimiter, the second the seed of the cuts.
#include <weir/io/split.hpp>

#include <weir/core/error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using weir::buffer;
using weir::io::streams::cutter;
using weir::io::streams::resizer;

template <class Tool>
std::vector<std::string> run(Tool tool, std::string_view all, std::uint32_t random) {
  std::vector<std::string> found;
  buffer piece;
  try {
    while (!all.empty()) {
      random = random * 1664525 + 1013904223;
      auto size = random == 1013904223 ? all.size() : std::size_t{1} + (random >> 24) % 7;
      auto part = all.substr(0, size);
      all.remove_prefix(part.size());
      tool.feed(buffer::from(part));
      while (tool.next(piece)) found.emplace_back(piece.text());
    }
    if (tool.rest(piece)) found.emplace_back(piece.text());
  } catch (const weir::error&) {
    found.emplace_back("too long");
  }
  return found;
}

template <class Tool>
std::vector<std::string> whole(Tool tool, std::string_view all) {
  std::vector<std::string> found;
  buffer piece;
  try {
    tool.feed(buffer::from(all));
    while (tool.next(piece)) found.emplace_back(piece.text());
    if (tool.rest(piece)) found.emplace_back(piece.text());
  } catch (const weir::error&) {
    found.emplace_back("too long");
  }
  return found;
}

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr std::string_view delimiters[] = {"\n", ",", "\r\n", "aab", "--", "\r\n\r\n"};
  std::string delimiter(delimiters[data[0] % std::size(delimiters)]);
  std::uint32_t seed = data[1] + 1U;
  std::string_view all(reinterpret_cast<const char*>(data) + 2, size - 2);
  for (std::size_t limit : {std::size_t{8}, std::size_t{1} << 20}) {
    cutter at_delimiter(delimiter, cutter::at_delimiter, {.max_length = limit});
    require(run(at_delimiter, all, seed) == whole(at_delimiter, all));
    cutter at_line_end("\n", cutter::at_line_end, {.max_length = limit});
    require(run(at_line_end, all, seed) == whole(at_line_end, all));
  }
  std::string joined;
  auto pieces = run(resizer(1 + data[0] % 9), all, seed);
  for (auto& each : pieces) joined += each;
  require(joined == all);
  return 0;
}
