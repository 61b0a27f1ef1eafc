// tests/net/mime_type_test.cpp: what names stand for, with and without the system's table.
#include <weir/net/mime_type.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace weir::net::http {
namespace {

TEST(MimeTypes, know_what_browsers_depend_on) {
  const mime_types types;
  const std::pair<std::string_view, std::string_view> table[] = {
      {"index.html", "text/html"},
      {"a.js", "text/javascript"},
      {"a.mjs", "text/javascript"},
      {"a.css", "text/css"},
      {"a.wasm", "application/wasm"},
      {"a.json", "application/json"},
      {"a.svg", "image/svg+xml"},
      {"a.png", "image/png"},
      {"a.jpg", "image/jpeg"},
      {"a.woff2", "font/woff2"},
      {"a.mp4", "video/mp4"},
      {"a.txt", "text/plain"},
      {"dir.d/a.PDF", "application/pdf"},
      {"archive.tar.gz", "application/gzip"},
  };
  for (const auto& [name, type] : table) EXPECT_EQ(types.of_name(name), type) << name;
}

TEST(MimeTypes, go_by_what_follows_the_last_dot_of_the_last_component) {
  const mime_types types;
  EXPECT_EQ(types.of_name("/a.html/README"), "");
  EXPECT_EQ(types.of_name(".html"), "");
  EXPECT_EQ(types.of_name("dir/.css"), "");
  EXPECT_EQ(types.of_name("a."), "");
  EXPECT_EQ(types.of_name(""), "");
  EXPECT_EQ(types.of_name("x.unheard-of-extension-of-some-length"), "");
  EXPECT_EQ(types.of_name("..css"), "text/css");
}

TEST(MimeTypes, take_from_a_table_what_they_do_not_know) {
  mime_types types;
  types.add_missing(
      "# a comment\n"
      "application/x-thing\t\tTHING thng # and more\r\n"
      "application/x-nothing\n"
      "text/x-evil\tjs\n"
      "no-slash oops\n"
      "\n"
      "text/x-last last");
  EXPECT_EQ(types.of_extension("thing"), "application/x-thing");
  EXPECT_EQ(types.of_extension("ThnG"), "application/x-thing");
  EXPECT_EQ(types.of_extension("js"), "text/javascript");
  EXPECT_EQ(types.of_extension("oops"), "");
  EXPECT_EQ(types.of_extension("more"), "");
  EXPECT_EQ(types.of_extension("last"), "text/x-last");
}

TEST(MimeTypes, are_set_by_hand_and_checked) {
  mime_types types;
  types.set("JS", "application/x-script; version=2");
  EXPECT_EQ(types.of_name("a.js"), "application/x-script; version=2");
  for (std::string_view bad : {"", "text", "/", "text/", "/plain", "te xt/plain", "text/plain\r\nX: y"}) {
    EXPECT_THROW(types.set("a", bad), error) << bad;
  }
}

TEST(MimeTypes, of_the_system_have_both_tables) {
  const auto& types = mime_types::system();
  EXPECT_EQ(types.of_extension("js"), "text/javascript");
  if (!std::filesystem::exists("/etc/mime.types")) GTEST_SKIP() << "no /etc/mime.types here";
  EXPECT_GT(types.size(), mime_types().size());
  EXPECT_EQ(&types, &mime_types::system());
}

TEST(MimeTypes, get_a_charset_where_they_are_text) {
  EXPECT_EQ(with_charset("text/html"), "text/html; charset=utf-8");
  EXPECT_EQ(with_charset("text/javascript"), "text/javascript; charset=utf-8");
  EXPECT_EQ(with_charset("text/plain; charset=latin1"), "text/plain; charset=latin1");
  EXPECT_EQ(with_charset("application/json"), "application/json");
  EXPECT_EQ(with_charset("image/svg+xml"), "image/svg+xml");
  EXPECT_EQ(with_charset("image/png"), "image/png");
  EXPECT_EQ(with_charset(""), "");
}

TEST(MimeTypes, tell_what_compresses) {
  for (auto type : {"text/html; charset=utf-8", "application/json", "image/svg+xml", "application/wasm", "font/ttf"}) {
    EXPECT_TRUE(is_compressible(type)) << type;
  }
  for (auto type : {"image/png", "video/mp4", "application/gzip", "font/woff2", "application/octet-stream", ""}) {
    EXPECT_FALSE(is_compressible(type)) << type;
  }
}

}  // namespace
}  // namespace weir::net::http
