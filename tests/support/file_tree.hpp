// tests/support/file_tree.hpp: a directory of a test's own with whatever files the test wants, gone afterwards; and
// what a test has to do as somebody who may not do everything.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace weir::testing {

class file_tree {
 public:
  file_tree() : root_((std::filesystem::temp_directory_path() / "weir-tree-XXXXXX").string()) {
    if (::mkdtemp(root_.data()) == nullptr) throw std::system_error(errno, std::generic_category(), root_);
  }
  file_tree(const file_tree&) = delete;
  file_tree& operator=(const file_tree&) = delete;
  ~file_tree() { static_cast<void>(std::system(("rm -rf '" + root_ + "'").c_str())); }

  const std::string& root() const noexcept { return root_; }
  std::string operator()(std::string_view name) const { return root_ + '/' + std::string(name); }

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
  std::string root_;
};

/// How many descriptors the process has.
inline std::size_t open_descriptors() {
  auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;
}

/// Runs `function` in a process of its own, for root as nobody, and expects that no expectation in it fails.
template <class F>
void as_nobody(F function) {
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool dropped = ::geteuid() != 0 || (::setgid(65534) == 0 && ::setuid(65534) == 0);
    if (dropped) function();
    std::_Exit(dropped && !::testing::Test::HasFailure() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace weir::testing
