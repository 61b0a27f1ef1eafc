// tests/net/send_file_test.cpp: single files as answers, chosen by handlers, over real sockets.
#include <weir/net/send_file.hpp>

#include <tests/support/files.hpp>
#include <tests/support/http_client.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::http_reply;
using testing::put_file;
using testing::running_server;
using testing::temporary_directory;

/// A server that answers everything with the file that the query names.
class sending_server {
 public:
  explicit sending_server(const send_file_options& options = {})
      : server_([this, options](request& req, response& res) {
          auto path = std::string(req.query());
          if (req.path() == "/in") path = in_ / path;
          if (req.path() == "/nul") path += "\0x"s;
          return send_file(req, res, path, options);
        }) {}

  const temporary_directory& in() const { return in_; }
  http_reply ask(std::string_view target, std::string_view more = "", std::string_view method = "GET") {
    return server_.connect().ask(
        std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n",
        method == "HEAD");
  }

 private:
  temporary_directory in_;
  running_server server_;
};

TEST(SendFile, answers_with_a_file_and_its_headers) {
  sending_server s;
  put_file(s.in() / "note.txt", "0123456789");
  const timespec times[2] = {{.tv_sec = 1700000000, .tv_nsec = 0}, {.tv_sec = 1700000000, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (s.in() / "note.txt").c_str(), times, 0), 0);
  const auto reply = s.ask("/in?note.txt");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "0123456789");
  EXPECT_EQ(reply.header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(reply.header("Content-Length"), "10");
  EXPECT_EQ(reply.header("ETag"), "W/\"a-18bcfe56800\"");
  EXPECT_EQ(reply.header("Last-Modified"), "Tue, 14 Nov 2023 22:13:20 GMT");
  EXPECT_EQ(reply.header("Cache-Control"), "public, max-age=0");
  EXPECT_EQ(reply.header("Accept-Ranges"), "bytes");
}

TEST(SendFile, heeds_conditions_ranges_and_head) {
  sending_server s;
  put_file(s.in() / "note.txt", "0123456789");
  const auto tag = s.ask("/in?note.txt").header("ETag");
  EXPECT_EQ(s.ask("/in?note.txt", "If-None-Match: " + tag + "\r\n").status, 304);
  EXPECT_EQ(s.ask("/in?note.txt", "If-Match: \"other\"\r\n").status, 412);
  const auto part = s.ask("/in?note.txt", "Range: bytes=-3\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "789");
  EXPECT_EQ(part.header("Content-Range"), "bytes 7-9/10");
  EXPECT_EQ(s.ask("/in?note.txt", "Range: bytes=10-\r\n").status, 416);
  const auto head = s.ask("/in?note.txt", "", "HEAD");
  EXPECT_EQ(head.header("Content-Length"), "10");
  EXPECT_EQ(head.body, "");
}

TEST(SendFile, answers_other_methods_whole) {
  sending_server s;
  put_file(s.in() / "note.txt", "0123456789");
  const auto reply = s.ask("/in?note.txt", "Range: bytes=0-1\r\nContent-Length: 0\r\n", "POST");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "0123456789");
}

TEST(SendFile, sends_large_files_again_and_again) {
  sending_server s;
  const std::string content(5'000'001, 'c');
  put_file(s.in() / "large.bin", content);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(s.ask("/in?large.bin").body == content);
  EXPECT_EQ(s.ask("/in?large.bin", "Range: bytes=4999999-\r\n").body, "cc");
}

TEST(SendFile, says_what_is_not_there) {
  sending_server s;
  for (auto name : {"/in?nothing", "/in?", "/in?note.txt/", "/?", "/?/nowhere/at/all"}) {
    EXPECT_EQ(s.ask(name).status, 404) << name;
  }
  EXPECT_EQ(s.ask("/nul?a").status, 400);
}

TEST(SendFile, leads_a_handlers_own_path_wherever_it_leads) {
  sending_server s;
  std::filesystem::create_directories(s.in() / "a/b");
  put_file(s.in() / "a/.note", "hidden");
  ASSERT_EQ(::symlink((s.in() / "a/.note").c_str(), (s.in() / "a/b/link").c_str()), 0);
  EXPECT_EQ(s.ask("/in?a/b/../.note").body, "hidden");
  EXPECT_EQ(s.ask("/in?a/b/link").body, "hidden");
  EXPECT_EQ(s.ask("/?/proc/self/comm").status, 200);
}

TEST(SendFile, does_not_leave_its_root) {
  const temporary_directory outside;
  put_file(outside / "secret", "secret");
  std::filesystem::create_directories(outside / "root/sub");
  put_file(outside / "root/a b.txt", "a b");
  put_file(outside / "root/sub/note", "note");
  put_file(outside / "root/.hidden", "hidden");
  std::filesystem::create_symlink(outside / "secret", outside / "root/link");
  sending_server s({.root = outside / "root"});
  EXPECT_EQ(s.ask("/?sub/note").body, "note");
  EXPECT_EQ(s.ask("/?/sub//./note").body, "note");
  EXPECT_EQ(s.ask("/?a%20b.txt").status, 404);  // a path, not a URL's
  for (auto path : {"/?../secret", "/?sub/../../secret", "/?..", "/?link", "/?/../secret"}) {
    const auto reply = s.ask(path);
    EXPECT_EQ(reply.status, 403) << path;
    EXPECT_EQ(reply.body, "Forbidden\n");
  }
  for (auto path : {"/?.hidden", "/?sub", "/?sub/", "/?", "/?/etc/passwd"}) EXPECT_EQ(s.ask(path).status, 404) << path;
  sending_server open(
      {.root = outside / "root", .dotfiles = dotfile_policy::allow, .symlinks = symlink_policy::always});
  EXPECT_EQ(open.ask("/?.hidden").body, "hidden");
  EXPECT_EQ(open.ask("/?link").body, "secret");
}

TEST(SendFile, says_what_its_options_say) {
  sending_server s({.etag = etag_kind::none,
                    .last_modified = false,
                    .ranges = false,
                    .max_age = 3600s,
                    .immutable = true,
                    .precompressed = true,
                    .default_type = "text/x-none"});
  put_file(s.in() / "none", "none");
  put_file(s.in() / "a.js", "plain()");
  put_file(s.in() / "a.js.br", "brotli");
  const auto reply = s.ask("/in?none", "Range: bytes=0-0\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("ETag"), "(none)");
  EXPECT_EQ(reply.header("Last-Modified"), "(none)");
  EXPECT_EQ(reply.header("Accept-Ranges"), "none");
  EXPECT_EQ(reply.header("Cache-Control"), "public, max-age=3600, immutable");
  EXPECT_EQ(reply.header("Content-Type"), "text/x-none; charset=utf-8");
  const auto packed = s.ask("/in?a.js", "Accept-Encoding: br\r\n");
  EXPECT_EQ(packed.body, "brotli");
  EXPECT_EQ(packed.header("Content-Encoding"), "br");
  EXPECT_EQ(packed.header("Vary"), "Accept-Encoding");
  EXPECT_EQ(s.ask("/in?a.js").body, "plain()");
}

TEST(SendFile, keeps_what_the_handler_has_said) {
  const temporary_directory in;
  put_file(in / "report", "%PDF");
  running_server server([&in](request& req, response& res) -> task<void> {
    res.set("Content-Type", "application/pdf").set("Content-Disposition", "attachment; filename=\"r.pdf\"");
    co_await send_file(req, res, in / "report");
    EXPECT_EQ(res.status(), 200);
  });
  const auto reply = server.connect().ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reply.header("Content-Type"), "application/pdf");
  EXPECT_EQ(reply.header("Content-Disposition"), "attachment; filename=\"r.pdf\"");
  EXPECT_EQ(reply.body, "%PDF");
}

TEST(SendFile, sends_relative_paths_from_the_working_directory) {
  const temporary_directory in;
  put_file(in / "here.txt", "here");
  const auto before = std::filesystem::current_path();
  sending_server s;
  std::filesystem::current_path(in.path());
  const auto reply = s.ask("/?here.txt");
  std::filesystem::current_path(before);
  EXPECT_EQ(reply.body, "here");
}

}  // namespace
}  // namespace weir::net::http
