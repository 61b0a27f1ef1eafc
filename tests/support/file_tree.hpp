// tests/support/file_tree.hpp: a directory of a test's own with whatever files the test wants, gone afterwards.
#pragma once

#include <tests/support/files.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace weir::testing {

class file_tree {
 public:
  const std::string& root() const noexcept { return place_.path(); }
  std::string operator()(std::string_view name) const { return place_ / name; }

  /// Makes a file, and the directories above it.
  void write(std::string_view name, std::string_view content = "") const {
    auto path = std::filesystem::path((*this)(name));
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
  }
  void make_directory(std::string_view name) const { std::filesystem::create_directories((*this)(name)); }
  void link(std::string_view target, std::string_view name) const {
    std::filesystem::create_symlink(target, (*this)(name));
  }

  std::string read(std::string_view name) const {
    std::ifstream from((*this)(name), std::ios::binary);
    if (!from) throw std::runtime_error("cannot read " + (*this)(name));
    std::ostringstream all;
    all << from.rdbuf();
    return std::move(all).str();
  }
  /// Whether something has that name, if only a link that leads nowhere.
  bool has(std::string_view name) const {
    return std::filesystem::symlink_status((*this)(name)).type() != std::filesystem::file_type::not_found;
  }

 private:
  temporary_directory place_;
};

}  // namespace weir::testing
