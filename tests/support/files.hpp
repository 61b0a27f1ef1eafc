// tests/support/files.hpp: a directory that goes with the test, and children of this process that are poorer than it:
// another user, fewer descriptors, smaller files.
#pragma once

#include <tests/support/programs.hpp>

#include <gtest/gtest.h>

#include <grp.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace weir::testing {

/// A private directory, removed with all that is in it.
class temporary_directory {
 public:
  explicit temporary_directory(const std::filesystem::path& in = std::filesystem::temp_directory_path()) {
    std::string name = (in / "weir-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr) << name;
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const noexcept { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

  /// What is in it, in order.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& each : std::filesystem::directory_iterator(path_)) all.push_back(each.path().filename().string());
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  std::string path_;
};

/// The process's working directory for a while.
class working_directory {
 public:
  explicit working_directory(const std::string& path) : before_(std::filesystem::current_path()) {
    std::filesystem::current_path(path);
  }
  working_directory(const working_directory&) = delete;
  working_directory& operator=(const working_directory&) = delete;
  ~working_directory() { std::filesystem::current_path(before_); }

 private:
  std::filesystem::path before_;
};

inline void put_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string file_content(const std::string& path) {
  std::ifstream from(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(from), {}};
}

/// What a child ends with that cannot do what the test needs.
inline constexpr int not_possible = 77;

/// Runs `body` in a child of this process, which has this thread only.
/// @param possible set to false if the child has ended with `not_possible`, else to true
/// @return whether all that it expected was so
template <class F>
bool in_child(F body, bool* possible = nullptr) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    std::fflush(nullptr);
    std::_Exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  const bool ended = ::waitpid(child, &status, 0) == child;
  if (possible != nullptr) *possible = !(WIFEXITED(status) && WEXITSTATUS(status) == not_possible);
  return ended && status == 0;
}

inline constexpr unsigned nobody = 65534;

/// Only root can: gives up all rights of this process.
inline bool become_nobody() { return ::setgroups(0, nullptr) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0; }

/// Runs `body` in a process of its own, for root as nobody, and expects that all it expects is so.
template <class F>
void as_nobody(F body) {
  EXPECT_TRUE(in_child([&] {
    if (::geteuid() == 0 && !become_nobody()) std::_Exit(1);
    body();
  }));
}

/// How many descriptors the process has.
inline std::size_t open_descriptors() {
  auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1;
}

inline bool is_root() { return ::geteuid() == 0; }

inline void limit(__rlimit_resource what, rlim_t most) {
  const rlimit both = {most, most};
  EXPECT_EQ(::setrlimit(what, &both), 0);
}

/// Whether there is a Node to compare with.
inline bool has_node() {
  static const bool found = output_of("node -p 1 2>/dev/null") == "1\n";
  return found;
}

}  // namespace weir::testing
