// tests/fs/file_url_test.cpp: paths as file URLs and back: Node's answers, and what no path can come of.
#include <weir/fs/file_url.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace weir::path {
namespace {

using std::string_view;

std::string code_of(string_view url, flavor of = flavor::posix) {
  try {
    return from_file_url(url, of);
  } catch (const error& e) {
    return std::string(e.code_name());
  }
}

TEST(FileUrl, escapes_what_a_url_would_take_for_something_else) {
  EXPECT_EQ(to_file_url("/foo#1"), "file:///foo%231");
  EXPECT_EQ(to_file_url("/some/path%.c"), "file:///some/path%25.c");
  EXPECT_EQ(to_file_url("/a b?c[d]e^f|g~h\"i\\j"), "file:///a%20b%3Fc%5Bd%5De%5Ef%7Cg%7Eh%22i%5Cj");
  EXPECT_EQ(to_file_url("/a\n\r\t<>`{}"), "file:///a%0A%0D%09%3C%3E%60%7B%7D");
  EXPECT_EQ(to_file_url("/\u00e9"), "file:///%C3%A9");
  EXPECT_EQ(to_file_url("/a;b&c=d+e'f$g!h@i,j(k*l:m)"), "file:///a;b&c=d+e'f$g!h@i,j(k*l:m)");
}

TEST(FileUrl, resolves_and_keeps_a_slash_at_the_end) {
  EXPECT_EQ(to_file_url("/a/../b/"), "file:///b/");
  EXPECT_EQ(to_file_url("/"), "file:///");
  EXPECT_EQ(to_file_url("x"), "file://" + resolve("x"));
}

TEST(FileUrl, names_files_of_windows) {
  EXPECT_EQ(to_file_url("C:\\a b\\c", flavor::win32), "file:///C:/a%20b/c");
  EXPECT_EQ(to_file_url("C:/a\\", flavor::win32), "file:///C:/a/");
  EXPECT_EQ(to_file_url("\\\\Server\\share\\a#b", flavor::win32), "file://server/share/a%23b");
  EXPECT_EQ(to_file_url("\\\\?\\UNC\\server\\share\\a", flavor::win32), "file://server/share/a");
  EXPECT_EQ(to_file_url("\\\\server\\share\\..\\a", flavor::win32), "file://server/a");
  EXPECT_EQ(to_file_url("\\\\localhost\\a", flavor::win32), "file:///a");
  for (string_view bad : {"\\\\server", "\\\\\\a", "\\\\\\\\a", "\\\\ser ver\\a", "\\\\s\u00e9\\a"})
    EXPECT_THROW(static_cast<void>(to_file_url(bad, flavor::win32)), error) << bad;
}

TEST(FileUrl, becomes_a_path_again) {
  EXPECT_EQ(from_file_url("file:///a%20b"), "/a b");
  EXPECT_EQ(from_file_url("file:///%C3%A9%ff"), "/\u00e9\xff");
  EXPECT_EQ(from_file_url("file:///a?query#fragment"), "/a");
  EXPECT_EQ(from_file_url(" FILE:///a\t/b\n "), "/a/b");
  EXPECT_EQ(from_file_url("file:/a"), "/a");
  EXPECT_EQ(from_file_url("file:a"), "/a");
  EXPECT_EQ(from_file_url("file://localhost/a"), "/a");
  EXPECT_EQ(from_file_url("file:///a/./b/../c/"), "/a/c/");
  EXPECT_EQ(from_file_url("file:///a/%2e%2E/b/%2e"), "/b/");
  EXPECT_EQ(from_file_url("file:///.."), "/");
  EXPECT_EQ(from_file_url("file:\\\\\\a\\b"), "/a/b");
  EXPECT_EQ(from_file_url("file:///C|/a/../.."), "/C:/");
  EXPECT_EQ(from_file_url("file:////a"), "//a");
  EXPECT_EQ(from_file_url("file://C:/a"), "/C:/a");
  EXPECT_EQ(from_file_url("file://"), "/");
}

TEST(FileUrl, becomes_a_path_of_windows_again) {
  EXPECT_EQ(from_file_url("file:///C:/a%20b", flavor::win32), "C:\\a b");
  EXPECT_EQ(from_file_url("file:///c|/a", flavor::win32), "c:\\a");
  EXPECT_EQ(from_file_url("file://Server/share/a", flavor::win32), "\\\\server\\share\\a");
}

TEST(FileUrl, refuses_what_names_no_file_here) {
  EXPECT_EQ(code_of("file://host/a"), "ERR_INVALID_FILE_URL_HOST");
  EXPECT_EQ(code_of("file:///a%2Fb"), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///a%2fb", flavor::win32), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///C:/a%5Cb", flavor::win32), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///a%5Cb"), "/a\\b");
  EXPECT_EQ(code_of("file:///a%"), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///a%2"), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///a%zz"), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("file:///a", flavor::win32), "ERR_INVALID_FILE_URL_PATH");
  EXPECT_EQ(code_of("http://localhost/a"), "ERR_INVALID_URL_SCHEME");
  EXPECT_EQ(code_of("/a"), "ERR_INVALID_URL");
  EXPECT_EQ(code_of(""), "ERR_INVALID_URL");
  EXPECT_EQ(code_of(":a"), "ERR_INVALID_URL");
}

TEST(FileUrl, says_what_is_wrong_in_the_words_of_node) {
  const auto message = [](string_view url, flavor of) {
    try {
      return from_file_url(url, of);
    } catch (const error& e) {
      return std::string(e.message());
    }
  };
  EXPECT_EQ(message("file:///a%2Fb", flavor::posix), "File URL path must not include encoded / characters");
  EXPECT_EQ(message("file:///a", flavor::win32), "File URL path must be absolute");
  EXPECT_EQ(message("file://h/a", flavor::posix), "File URL host must be \"localhost\" or empty on linux");
  EXPECT_EQ(message("https://a", flavor::posix), "The URL must be of scheme file");
}

TEST(FileUrl, brings_every_byte_back) {
  std::string all = "/";
  for (int c = 1; c < 256; ++c)
    if (c != '/') all += static_cast<char>(c);
  EXPECT_EQ(from_file_url(to_file_url(all)), all);
}

}  // namespace
}  // namespace weir::path
