// tests/support/programs.hpp: the examples as the programs that they are, and what they print.
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace weir::testing {

/// Where that example is, or nothing if the examples are not built.
inline std::string example(std::string_view name) {
  auto path = std::filesystem::path(WEIR_EXAMPLES_DIR) / name;
  return std::filesystem::exists(path) ? path.string() : std::string();
}

/// What a shell's command prints.
inline std::string output_of(const std::string& command) {
  std::string all;
  auto* from = ::popen(command.c_str(), "r");
  if (from == nullptr) return "popen failed";
  std::array<char, 4096> chunk;
  while (auto count = std::fread(chunk.data(), 1, chunk.size(), from)) all.append(chunk.data(), count);
  ::pclose(from);
  return all;
}

}  // namespace weir::testing
