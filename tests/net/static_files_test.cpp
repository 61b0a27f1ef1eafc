// tests/net/static_files_test.cpp: files served over real sockets: what is sent, when it is not, what is never sent,
// and what becomes of files that change meanwhile; with raw requests, and with curl where it is installed.
#include <weir/net/static_files.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/error.hpp>
#include <weir/core/event.hpp>
#include <weir/net/http_conditions.hpp>

#include <tests/support/files.hpp>
#include <tests/support/http_client.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weir::net::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using ::testing::HasSubstr;
using testing::http_reply;
using ::testing::Not;
using testing::put_file;
using testing::running_server;
using ::testing::StartsWith;
using testing::temporary_directory;

std::string ask_for(std::string_view path, std::string_view more = "", std::string_view method = "GET") {
  return std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n";
}

std::string join(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (auto each : parts) all += each;
  return all;
}

/// Bytes that tell where they stand.
std::string pattern(std::size_t size) {
  std::string made(size, '\0');
  for (std::size_t i = 0; i < size; ++i) made[i] = static_cast<char>((i * 2654435761U) >> 24);
  return made;
}

/// A time of change that lies so far back that the cache takes it, and that validators can tell.
void set_time(const std::string& path, std::int64_t second) {
  const timespec times[2] = {{.tv_sec = second, .tv_nsec = 0}, {.tv_sec = second, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

/// A directory with some files, a server of it, and a connection.
class site {
 public:
  explicit site(const static_files_options& options = {}, const server_options& server = {})
      : files_(prepared(in_).path(), options), server_(files_, server) {}

  const temporary_directory& directory() const { return in_; }
  std::string operator/(std::string_view name) const { return in_ / name; }
  void put(std::string_view name, std::string_view content) const { put_file(in_ / name, content); }
  const static_files& files() const { return files_; }
  running_server& server() { return server_; }
  std::string url(std::string_view path) const { return server_.url(path); }

  http_reply get(std::string_view path, std::string_view more = "") {
    return server_.connect().ask(ask_for(path, more));
  }
  http_reply head(std::string_view path, std::string_view more = "") {
    return server_.connect().ask(ask_for(path, more, "HEAD"), true);
  }

 private:
  static const temporary_directory& prepared(temporary_directory& in) {
    put_file(in / "hello.txt", "Hello, World!");
    put_file(in / "empty.txt", "");
    put_file(in / "page.html", "<p>page</p>");
    put_file(in / "unknown", "what?");
    std::filesystem::create_directories(in / "dir/sub");
    put_file(in / "dir/index.html", "<p>index</p>");
    put_file(in / "dir/sub/deep.css", "p{}");
    put_file(in / ".secret", "secret");
    std::filesystem::create_directories(in / ".git");
    put_file(in / ".git/config", "secret");
    set_time(in / "hello.txt", 784111777);
    return in;
  }

  temporary_directory in_;
  static_files files_;
  running_server server_;
};

std::size_t open_descriptors_of(std::string_view path) {
  std::size_t count = 0;
  std::error_code gone;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd", gone)) {
    const auto target = std::filesystem::read_symlink(each.path(), gone).string();
    if (target.starts_with(path)) ++count;
  }
  return count;
}

// ---- what is sent

TEST(StaticFiles, are_sent_with_their_type_length_and_validators) {
  site s;
  const auto reply = s.get("/hello.txt");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "Hello, World!");
  EXPECT_EQ(reply.header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(reply.header("Content-Length"), "13");
  EXPECT_EQ(reply.header("Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(reply.header("ETag"), "W/\"d-b690b434e8\"");  // size and milliseconds, as Express has it
  EXPECT_EQ(reply.header("Accept-Ranges"), "bytes");
  EXPECT_EQ(reply.header("Cache-Control"), "public, max-age=0");
  EXPECT_EQ(reply.header("Vary"), "(none)");
  EXPECT_EQ(reply.header("Content-Encoding"), "(none)");
}

TEST(StaticFiles, have_types_by_their_names) {
  site s({.default_type = "application/x-unknown"});
  EXPECT_EQ(s.get("/page.html").header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(s.get("/dir/sub/deep.css").header("Content-Type"), "text/css; charset=utf-8");
  EXPECT_EQ(s.get("/unknown").header("Content-Type"), "application/x-unknown");
}

TEST(StaticFiles, are_told_of_but_not_sent_to_head) {
  site s({.listing = true});
  for (auto path : {"/hello.txt", "/empty.txt", "/dir/", "/dir/sub/", "/nothing", "/dir"}) {
    auto client = s.server().connect();
    const auto got = client.ask(ask_for(path));
    const auto told = client.ask(ask_for(path, "", "HEAD"), true);
    EXPECT_EQ(told.status, got.status) << path;
    for (auto name : {"Content-Type", "Content-Length", "ETag", "Last-Modified", "Accept-Ranges"}) {
      EXPECT_EQ(told.header(name), got.header(name)) << path << " " << name;
    }
    EXPECT_EQ(client.ask(ask_for("/hello.txt")).body, "Hello, World!") << path;  // nothing came between
  }
}

TEST(StaticFiles, may_be_empty) {
  site s;
  const auto reply = s.get("/empty.txt");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Length"), "0");
  EXPECT_EQ(s.get("/empty.txt", "Range: bytes=0-\r\n").status, 416);
}

TEST(StaticFiles, of_every_size_arrive_whole_from_memory_and_from_the_disk) {
  for (const bool cached : {true, false}) {
    site s({.cache_bytes = cached ? std::size_t{64} << 20 : 0, .cache_file = std::size_t{8} << 20});
    auto client = s.server().connect();
    for (std::size_t size : {1u, 4096u, 32768u, 32769u, 65536u, 65537u, 524288u, 524289u, 3000000u}) {
      const auto content = pattern(size);
      s.put("file.bin", content);
      s.files().forget_all();
      for (int i = 0; i < 2; ++i) EXPECT_TRUE(client.ask(ask_for("/file.bin")).body == content) << size << cached;
      const auto part = client.ask(ask_for("/file.bin", "Range: bytes=" + std::to_string(size / 2) + "-\r\n"));
      EXPECT_TRUE(part.body == content.substr(size / 2)) << size << cached;
    }
  }
}

TEST(StaticFiles, come_in_order_to_who_does_not_wait) {
  site s;
  const auto content = pattern(300000);
  s.put("big.bin", content);
  auto client = s.server().connect();
  client.send(ask_for("/big.bin") + ask_for("/hello.txt") + ask_for("/big.bin") + ask_for("/nothing"));
  EXPECT_TRUE(client.read_reply().body == content);
  EXPECT_EQ(client.read_reply().body, "Hello, World!");
  EXPECT_TRUE(client.read_reply().body == content);
  EXPECT_EQ(client.read_reply().status, 404);
}

TEST(StaticFiles, go_to_old_clients_too) {
  site s;
  const auto content = pattern(300000);
  s.put("big.bin", content);
  auto client = s.server().connect();
  client.send("GET /big.bin HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(client.read_reply().body == content);
}

TEST(StaticFiles, are_named_by_absolute_targets_as_well) {
  site s;
  EXPECT_EQ(s.get("http://a/hello.txt?x=1").body, "Hello, World!");
  EXPECT_EQ(s.get("http://a").status, 404);
  EXPECT_EQ(s.get("/hello.txt?a=b/../c").body, "Hello, World!");
}

TEST(StaticFiles, refuse_other_methods) {
  site s;
  for (auto method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    const auto reply = s.server().connect().ask(ask_for("/hello.txt", "Content-Length: 0\r\n", method));
    EXPECT_EQ(reply.status, 405) << method;
    EXPECT_EQ(reply.header("Allow"), "GET, HEAD") << method;
  }
}

TEST(StaticFiles, have_the_cache_control_that_was_asked_for) {
  site fixed({.max_age = 3600s, .immutable = true});
  EXPECT_EQ(fixed.get("/hello.txt").header("Cache-Control"), "public, max-age=3600, immutable");
  site each({.cache_control = [](std::string_view path, std::string_view type) {
    return type.starts_with("text/html") ? ""s : "no-store; " + std::string(path);
  }});
  EXPECT_EQ(each.get("/hello.txt").header("Cache-Control"), "no-store; hello.txt");
  EXPECT_EQ(each.get("/page.html").header("Cache-Control"), "(none)");
  EXPECT_EQ(each.get("/dir/sub/deep.css").header("Cache-Control"), "no-store; dir/sub/deep.css");
}

TEST(StaticFiles, get_more_headers_by_a_function) {
  site s({.on_headers = [](const request& req, response& res) { res.set("X-Path", req.path()); }});
  EXPECT_EQ(s.get("/hello.txt").header("X-Path"), "/hello.txt");
  EXPECT_EQ(s.get("/hello.txt", "If-None-Match: *\r\n").header("X-Path"), "/hello.txt");
  EXPECT_EQ(s.get("/nothing").header("X-Path"), "(none)");
}

// ---- directories

TEST(StaticFiles, of_a_directory_are_its_index) {
  site s;
  EXPECT_EQ(s.get("/dir/").body, "<p>index</p>");
  EXPECT_EQ(s.get("/dir/").header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(s.get("/dir/sub/").status, 404);
  EXPECT_EQ(s.get("/").status, 404);
  site other({.index = {"nothing.html", "deep.css", "index.html"}});
  EXPECT_EQ(other.get("/dir/sub/").body, "p{}");
  EXPECT_EQ(other.get("/dir/").body, "<p>index</p>");
  site none({.index = {}});
  EXPECT_EQ(none.get("/dir/").status, 404);
}

TEST(StaticFiles, are_found_without_the_extensions_that_are_to_be_tried) {
  site s({.extensions = {"htm", "html", "css"}});
  EXPECT_EQ(s.get("/page").body, "<p>page</p>");
  EXPECT_EQ(s.get("/page").header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(s.get("/dir/sub/deep").body, "p{}");
  EXPECT_EQ(s.get("/unknown").body, "what?");
  EXPECT_EQ(s.get("/dir").status, 301);  // what is there comes first
  for (auto path : {"/hello", "/page/", "/page.", "/page.h", "/.secret"}) EXPECT_EQ(s.get(path).status, 404) << path;
  EXPECT_EQ(site().get("/page").status, 404);
}

TEST(StaticFiles, keep_the_headers_that_are_set_before) {
  temporary_directory in;
  put_file(in / "a.txt", "a");
  const static_files files(in.path());
  running_server server([files](request& req, response& res) -> task<void> {
    res.set("Cache-Control", "no-store").set("Content-Type", "text/x-own").set("ETag", "\"own\"");
    co_await files(req, res);
  });
  const auto reply = server.connect().ask(ask_for("/a.txt"));
  EXPECT_EQ(reply.body, "a");
  EXPECT_EQ(reply.header("Cache-Control"), "no-store");
  EXPECT_EQ(reply.header("Content-Type"), "text/x-own");
  EXPECT_EQ(reply.header("ETag"), "\"own\"");
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt", "If-None-Match: \"own\"\r\n")).status, 304);
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt", "If-Match: \"other\"\r\n")).status, 412);
}

TEST(StaticFiles, send_a_directory_without_its_slash_to_the_one_with_it) {
  site s;
  auto reply = s.get("/dir");
  EXPECT_EQ(reply.status, 301);
  EXPECT_EQ(reply.header("Location"), "/dir/");
  EXPECT_EQ(s.get("/dir/sub?a=b&c").header("Location"), "/dir/sub/?a=b&c");
  EXPECT_EQ(s.get("/%64ir").header("Location"), "/%64ir/");
  EXPECT_EQ(s.get("http://a/dir").header("Location"), "/dir/");
  EXPECT_EQ(s.get("/hello.txt/").status, 404);
  site stern({.redirect = false});
  EXPECT_EQ(stern.get("/dir").status, 404);
}

TEST(StaticFiles, redirect_to_no_other_host) {
  site s;
  std::filesystem::create_directories(s / "evil.com/x");
  std::filesystem::create_directories(s / "\\evil.com");
  EXPECT_EQ(s.get("//evil.com/x").header("Location"), "/evil.com/x/");
  EXPECT_EQ(s.get("/\\evil.com").header("Location"), "/%5Cevil.com/");
  for (auto path : {"//evil.com", "///evil.com", "/%5Cevil.com", "/%2Fevil.com", "//%5Cevil.com", "/./\\evil.com"}) {
    const auto place = s.get(path).header("Location");
    const bool is_local = place.starts_with('/') && !place.starts_with("//") && place.find('\\') == std::string::npos;
    EXPECT_TRUE(place == "(none)" || is_local) << path << " to " << place;
  }
}

TEST(StaticFiles, are_listed_sorted_and_escaped) {
  site s({.listing = true});
  std::filesystem::create_directories(s / "list/b dir");
  s.put("list/<script>alert(1).txt", "1");
  s.put("list/a&\"'.txt", "22");
  s.put("list/javascript:x", "333");
  s.put("list/100%?#.txt", "4444");
  s.put("list/.hidden", "");
  ASSERT_EQ(::symlink("/etc/passwd", (s / "list/outside").c_str()), 0);
  ASSERT_EQ(::mkfifo((s / "list/fifo").c_str(), 0600), 0);
  const auto reply = s.get("/list/");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_THAT(reply.header("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(reply.body, Not(HasSubstr("<script>")));
  EXPECT_THAT(reply.body, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(reply.body, HasSubstr("a&amp;&quot;&#39;.txt</a></td><td>2<"));
  EXPECT_THAT(reply.body, HasSubstr("\"./javascript%3Ax\""));
  EXPECT_THAT(reply.body, HasSubstr("\"./100%25%3F%23.txt\""));
  EXPECT_THAT(reply.body, HasSubstr("\"./b%20dir/\">b dir/</a>"));
  EXPECT_THAT(reply.body, HasSubstr("href=\"../\""));
  for (auto never : {"hidden", "outside", "fifo", s.directory().path().c_str()}) {
    EXPECT_THAT(reply.body, Not(HasSubstr(never)));
  }
  EXPECT_LT(reply.body.find("b dir/"), reply.body.find("100%"));
  EXPECT_LT(reply.body.find("100%"), reply.body.find("javascript:"));
  EXPECT_EQ(s.get("/list/100%25%3F%23.txt").body, "4444");
  EXPECT_THAT(s.get("/").body, Not(HasSubstr("href=\"../\"")));
}

TEST(StaticFiles, are_listed_up_to_a_limit) {
  site s({.listing = true, .max_listing = 5});
  std::filesystem::create_directories(s / "many");
  for (int i = 0; i < 9; ++i) s.put("many/f" + std::to_string(i), "");
  const auto body = s.get("/many/").body;
  std::size_t count = 0;
  for (auto at = body.find("./f"); at != std::string::npos; at = body.find("./f", at + 1)) ++count;
  EXPECT_EQ(count, 5u);
  EXPECT_THAT(body, HasSubstr("There are more"));
}

// ---- what is never sent

TEST(StaticFiles, never_lie_outside_of_the_root) {
  temporary_directory outside;
  put_file(outside / "secret", "secret");
  site s({.dotfiles = dotfile_policy::allow});
  const auto up = "../" + outside.path().substr(outside.path().rfind('/') + 1) + "/secret";
  const std::string dots[] = {"..", "%2e%2e", "%2E.", ".%2e"};
  const std::string slashes[] = {"/", "%2f", "%2F", "//"};
  for (const auto& dot : dots) {
    for (const auto& slash : slashes) {
      const auto rest = join({slash, outside.path().substr(outside.path().rfind('/') + 1), "/secret"});
      for (const auto& path : {join({"/", dot, rest}), join({"/dir", slash, dot, slash, dot, rest}),
                               join({"/dir/sub/../../", dot, rest})}) {
        const auto reply = s.get(path);
        EXPECT_EQ(reply.status, 403) << path;
        EXPECT_THAT(reply.body, Not(HasSubstr("secret"))) << path;
      }
    }
  }
  for (const auto& path :
       {"/" + outside.path() + "/secret", "/..%5c" + up, "/..%252f" + up.substr(3), "/%252e%252e/" + up.substr(3),
        "/..;/" + up.substr(3), "/%2f" + outside.path() + "/secret"}) {
    EXPECT_EQ(s.get(path).status / 100, 4) << path;
    EXPECT_THAT(s.get(path).body, Not(HasSubstr("secret"))) << path;
  }
}

TEST(StaticFiles, are_decoded_once) {
  site s;
  s.put("100%.txt", "percent");
  s.put("%2e%2e", "literal");
  s.put("a b+c.txt", "blank");
  s.put("back\\slash.txt", "backslash");
  s.put("\xc3\xa4.txt", "umlaut");
  s.put("two\nlines", "newline");
  EXPECT_EQ(s.get("/100%25.txt").body, "percent");
  EXPECT_EQ(s.get("/%252e%252e").body, "literal");
  EXPECT_EQ(s.get("/a%20b+c.txt").body, "blank");
  EXPECT_EQ(s.get("/back%5Cslash.txt").body, "backslash");
  EXPECT_EQ(s.get("/back\\slash.txt").body, "backslash");
  EXPECT_EQ(s.get("/%c3%A4.txt").body, "umlaut");
  EXPECT_EQ(s.get("/two%0Alines").body, "newline");
  EXPECT_EQ(s.get("/./dir//sub/./deep.css").body, "p{}");
}

TEST(StaticFiles, are_not_found_by_bad_escapes) {
  site s({.max_path = 200});
  for (auto path : {"/%", "/%2", "/%zz", "/hello.txt%00", "/%00", "/a%0", "/hello%g1.txt"}) {
    EXPECT_EQ(s.get(path).status, 400) << path;
  }
  EXPECT_EQ(s.get("/dir%2fsub/deep.css").status, 404);
  EXPECT_EQ(s.get("/" + std::string(300, 'a')).status, 414);
  site wide;
  EXPECT_EQ(wide.get("/" + std::string(300, 'a')).status, 404);
  EXPECT_EQ(wide.get("/" + std::string(5000, 'a')).status, 414);
}

TEST(StaticFiles, that_begin_with_a_dot_are_a_matter_of_policy) {
  site ignoring, denying({.dotfiles = dotfile_policy::deny}), allowing({.dotfiles = dotfile_policy::allow});
  for (auto path : {"/.secret", "/.git/config", "/%2esecret", "/.git/", "/.nothing"}) {
    EXPECT_EQ(ignoring.get(path).status, 404) << path;
    EXPECT_EQ(denying.get(path).status, 403) << path;
  }
  EXPECT_EQ(allowing.get("/.secret").body, "secret");
  EXPECT_EQ(allowing.get("/.git/config").body, "secret");
  EXPECT_EQ(allowing.get("/.nothing").status, 404);
}

TEST(StaticFiles, behind_links_are_a_matter_of_policy) {
  temporary_directory outside;
  put_file(outside / "secret", "secret");
  const auto prepare = [&](const site& s) {
    ASSERT_EQ(::symlink("hello.txt", (s / "inside").c_str()), 0);
    ASSERT_EQ(::symlink("../hello.txt", (s / "dir/up").c_str()), 0);
    ASSERT_EQ(::symlink("sub", (s / "dir/linked").c_str()), 0);
    ASSERT_EQ(::symlink(outside.path().c_str(), (s / "out").c_str()), 0);
    ASSERT_EQ(::symlink((outside / "secret").c_str(), (s / "outfile").c_str()), 0);
    ASSERT_EQ(::symlink("loop", (s / "loop").c_str()), 0);
    ASSERT_EQ(::symlink("/proc/self/root/etc/passwd", (s / "magic").c_str()), 0);
  };
  site inside, never({.symlinks = symlink_policy::never}), always({.symlinks = symlink_policy::always});
  for (auto* each : {&inside, &never, &always}) prepare(*each);
  EXPECT_EQ(inside.get("/inside").body, "Hello, World!");
  EXPECT_EQ(inside.get("/dir/up").body, "Hello, World!");
  EXPECT_EQ(inside.get("/dir/linked/deep.css").body, "p{}");
  for (auto path : {"/out/secret", "/outfile", "/loop", "/magic"}) EXPECT_EQ(inside.get(path).status, 403) << path;
  for (auto path : {"/inside", "/dir/up", "/dir/linked/deep.css", "/out/secret", "/outfile", "/loop"}) {
    EXPECT_EQ(never.get(path).status, 403) << path;
  }
  EXPECT_EQ(always.get("/inside").body, "Hello, World!");
  EXPECT_EQ(always.get("/out/secret").body, "secret");
  EXPECT_EQ(always.get("/loop").status, 403);
}

/// Makes the system one without openat2, for this process.
bool forget_openat2() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = std::size(program), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(StaticFiles, are_served_without_links_where_the_system_cannot_check_them) {
  bool possible = false;
  EXPECT_TRUE(testing::in_child(
                  [] {
                    if (!forget_openat2()) std::_Exit(testing::not_possible);
                    site s({.revalidate = 0ms});
                    ASSERT_EQ(::symlink("hello.txt", (s / "link").c_str()), 0);
                    ASSERT_EQ(::symlink("/etc", (s / "out").c_str()), 0);
                    EXPECT_EQ(s.get("/hello.txt").body, "Hello, World!");
                    EXPECT_EQ(s.get("/dir/sub/deep.css").body, "p{}");
                    EXPECT_EQ(s.get("/dir/").body, "<p>index</p>");
                    EXPECT_EQ(s.get("/dir").status, 301);
                    EXPECT_EQ(s.get("/nothing/at/all").status, 404);
                    EXPECT_EQ(s.get("/link").status, 403);
                    EXPECT_NE(s.get("/out/passwd").status, 200);
                    EXPECT_EQ(s.get("/../etc/passwd").status, 403);
                  },
                  &possible) ||
              !possible);
  if (!possible) GTEST_SKIP() << "no seccomp here";
}

TEST(StaticFiles, are_regular_files_only) {
  site s;
  ASSERT_EQ(::mkfifo((s / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(s.get("/fifo").status, 404);
  EXPECT_EQ(s.get("/hello.txt/more").status, 404);
  site devices({.symlinks = symlink_policy::always});
  ASSERT_EQ(::symlink("/dev/zero", (devices / "zero").c_str()), 0);
  EXPECT_EQ(devices.get("/zero").status, 404);
}

TEST(StaticFiles, that_may_not_be_read_are_forbidden) {
  if (testing::is_root()) GTEST_SKIP() << "root may read everything";
  site s;
  ASSERT_EQ(::chmod((s / "hello.txt").c_str(), 0), 0);
  EXPECT_EQ(s.get("/hello.txt").status, 403);
}

TEST(StaticFiles, name_no_path_of_the_machine_in_answers) {
  site s({.listing = true});
  ASSERT_EQ(::symlink("/etc", (s / "out").c_str()), 0);
  for (auto path : {"/nothing", "/%", "/..", "/out/passwd", "/dir", "/dir/sub/", "/.secret"}) {
    const auto reply = s.get(path);
    EXPECT_THAT(reply.head + reply.body, Not(HasSubstr(s.directory().path()))) << path;
    EXPECT_THAT(reply.head + reply.body, Not(HasSubstr("/etc"))) << path;
  }
}

// ---- conditions

TEST(StaticFiles, are_not_sent_again_to_who_has_them) {
  site s;
  const auto first = s.get("/hello.txt");
  const auto tag = first.header("ETag");
  for (const auto& condition : {"If-None-Match: " + tag, "If-None-Match: \"x\", " + tag, "If-None-Match: *"s,
                                "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"s}) {
    const auto reply = s.get("/hello.txt", condition + "\r\n");
    EXPECT_EQ(reply.status, 304) << condition;
    EXPECT_EQ(reply.header("ETag"), tag);
    EXPECT_EQ(reply.header("Cache-Control"), "public, max-age=0");
    EXPECT_EQ(reply.header("Content-Length"), "(none)");
    EXPECT_EQ(reply.header("Content-Type"), "(none)");
    EXPECT_EQ(s.head("/hello.txt", condition + "\r\n").status, 304) << condition;
  }
  EXPECT_EQ(s.get("/hello.txt", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n").status, 200);
  EXPECT_EQ(s.get("/hello.txt", "If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 2024 08:49:37 GMT\r\n").status,
            200);
  EXPECT_EQ(s.get("/nothing", "If-None-Match: *\r\n").status, 404);
}

TEST(StaticFiles, are_not_sent_where_a_condition_fails) {
  site weak, strong({.etag = etag_kind::strong});
  const auto tag = strong.get("/hello.txt").header("ETag");
  EXPECT_THAT(tag, StartsWith("\"d-"));
  EXPECT_EQ(strong.get("/hello.txt", "If-Match: " + tag + "\r\n").status, 200);
  EXPECT_EQ(strong.get("/hello.txt", "If-Match: \"x\"\r\n").status, 412);
  EXPECT_EQ(weak.get("/hello.txt", "If-Match: " + weak.get("/hello.txt").header("ETag") + "\r\n").status, 412);
  EXPECT_EQ(weak.get("/hello.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n").status, 412);
  EXPECT_EQ(weak.get("/hello.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n").status, 200);
  EXPECT_EQ(weak.head("/hello.txt", "If-Match: \"x\"\r\n").status, 412);
}

TEST(StaticFiles, may_go_without_validators) {
  site s({.etag = etag_kind::none, .last_modified = false});
  const auto reply =
      s.get("/hello.txt", "If-None-Match: \"d-1\"\r\nIf-Modified-Since: Sun, 06 Nov 2024 08:49:37 GMT\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("ETag"), "(none)");
  EXPECT_EQ(reply.header("Last-Modified"), "(none)");
}

TEST(StaticFiles, from_the_future_have_no_time_of_change) {
  site s;
  set_time(s / "hello.txt", 4102444800);
  EXPECT_EQ(s.get("/hello.txt").header("Last-Modified"), "(none)");
  EXPECT_EQ(s.get("/hello.txt", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n").status, 200);
}

TEST(StaticFiles, that_change_have_another_tag) {
  site s({.revalidate = 0ms});
  const auto before = s.get("/hello.txt");
  s.put("hello.txt", "Hello, Mars!!");
  const auto after = s.get("/hello.txt", "If-None-Match: " + before.header("ETag") + "\r\n");
  EXPECT_EQ(after.status, 200);
  EXPECT_EQ(after.body, "Hello, Mars!!");
  EXPECT_NE(after.header("ETag"), before.header("ETag"));
}

// ---- ranges

TEST(StaticFiles, are_sent_in_part) {  // C0-HTTP-15, whose seed leaves all but "s-e" and "s-" to chance
  site s;
  const struct {
    std::string_view range, content_range, body;
  } table[] = {{"0-4", "bytes 0-4/13", "Hello"},       {"7-", "bytes 7-12/13", "World!"},
               {"-6", "bytes 7-12/13", "World!"},      {"0-0", "bytes 0-0/13", "H"},
               {"12-99", "bytes 12-12/13", "!"},       {"0-", "bytes 0-12/13", "Hello, World!"},
               {"0-4,2-6", "bytes 0-6/13", "Hello, "}, {"99-,0-1", "bytes 0-1/13", "He"}};
  for (const auto& row : table) {
    const auto reply = s.get("/hello.txt", "Range: bytes=" + std::string(row.range) + "\r\n");
    EXPECT_EQ(reply.status, 206) << row.range;
    EXPECT_EQ(reply.header("Content-Range"), row.content_range);
    EXPECT_EQ(reply.header("Content-Length"), std::to_string(row.body.size()));
    EXPECT_EQ(reply.body, row.body);
    EXPECT_EQ(reply.header("Content-Type"), "text/plain; charset=utf-8");
  }
}

TEST(StaticFiles, are_sent_whole_where_a_range_makes_no_sense) {
  site s, rangeless({.ranges = false});
  for (auto range : {"bytes=NaN-", "bytes=4-2", "lines=1-2", "bytes=", "junk"}) {
    const auto reply = s.get("/hello.txt", "Range: " + std::string(range) + "\r\n");
    EXPECT_EQ(reply.status, 200) << range;
    EXPECT_EQ(reply.body, "Hello, World!");
  }
  EXPECT_EQ(s.head("/hello.txt", "Range: bytes=0-1\r\n").status, 200);
  EXPECT_EQ(rangeless.get("/hello.txt", "Range: bytes=0-1\r\n").status, 200);
  EXPECT_EQ(rangeless.get("/hello.txt").header("Accept-Ranges"), "none");
}

TEST(StaticFiles, have_nothing_behind_their_end) {
  site s;
  for (auto range : {"bytes=13-", "bytes=100-200", "bytes=-0"}) {
    const auto reply = s.get("/hello.txt", "Range: " + std::string(range) + "\r\n");
    EXPECT_EQ(reply.status, 416) << range;
    EXPECT_EQ(reply.header("Content-Range"), "bytes */13");
  }
}

TEST(StaticFiles, are_sent_in_several_parts) {
  for (const bool cached : {true, false}) {
    site s({.cache_bytes = cached ? std::size_t{1} << 20 : 0});
    auto client = s.server().connect();
    const auto reply = client.ask(ask_for("/hello.txt", "Range: bytes=0-4, -6\r\n"));
    EXPECT_EQ(reply.status, 206);
    EXPECT_EQ(reply.header("Content-Range"), "(none)");
    const auto type = reply.header("Content-Type");
    ASSERT_THAT(type, StartsWith("multipart/byteranges; boundary="));
    const auto boundary = "\r\n--" + type.substr(type.find('=') + 1);
    const auto line = "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ";
    EXPECT_EQ(reply.body, join({boundary, line, "0-4/13\r\n\r\nHello", boundary, line, "7-12/13\r\n\r\nWorld!",
                                boundary, "--\r\n"}));
    EXPECT_EQ(client.ask(ask_for("/hello.txt")).body, "Hello, World!");
  }
}

TEST(StaticFiles, are_sent_whole_where_there_are_too_many_ranges) {
  site s;
  std::string many = "Range: bytes=0-0";
  for (int i = 0; i < 40; ++i) many += ",2-2";
  EXPECT_EQ(s.get("/hello.txt", many + "\r\n").status, 200);
}

TEST(StaticFiles, are_resumed_only_as_the_same_version) {
  site weak, strong({.etag = etag_kind::strong});
  const auto tag = strong.get("/hello.txt").header("ETag");
  const auto status = [](site& s, const std::string& condition) {
    return s.get("/hello.txt", "Range: bytes=0-4\r\nIf-Range: " + condition + "\r\n").status;
  };
  EXPECT_EQ(status(strong, tag), 206);
  EXPECT_EQ(status(strong, "\"x\""), 200);
  EXPECT_EQ(status(weak, weak.get("/hello.txt").header("ETag")), 200);
  EXPECT_EQ(status(weak, "Sun, 06 Nov 1994 08:49:37 GMT"), 206);
  EXPECT_EQ(status(weak, "Sun, 06 Nov 1994 08:49:38 GMT"), 200);
  EXPECT_EQ(strong.get("/hello.txt", "Range: bytes=99-\r\nIf-Range: \"x\"\r\n").status, 200);
  EXPECT_EQ(strong.get("/hello.txt", "Range: bytes=0-4\r\nIf-None-Match: " + tag + "\r\n").status, 304);
}

// ---- codings

TEST(StaticFiles, are_sent_compressed_to_who_accepts_it) {
  site s;
  s.put("app.js", "plain");
  for (auto name : {"app.js.br", "app.js.gz", "app.js.zst"}) s.put(name, name);
  const struct {
    std::string_view accept, coding;
  } table[] = {{"", "(none)"},
               {"gzip", "gzip"},
               {"x-gzip", "gzip"},
               {"GZIP", "gzip"},
               {"gzip, deflate, br, zstd", "br"},
               {"gzip;q=1.0, br;q=0.5", "gzip"},
               {"zstd , gzip;q=0.9", "zstd"},
               {"*", "br"},
               {"br;q=0, *", "zstd"},
               {"*;q=0", "(none)"},
               {"identity", "(none)"},
               {"identity;q=0.5, gzip;q=0.4", "(none)"},
               {"identity;q=0.5, gzip;q=0.6", "gzip"},
               {"gzip;q=0", "(none)"},
               {"gzip;q=2", "(none)"},
               {"gzip;q=", "(none)"},
               {"gzip;q=0.001", "gzip"},
               {"deflate", "(none)"}};
  for (const auto& row : table) {
    const auto more = row.accept.empty() ? ""s : "Accept-Encoding: " + std::string(row.accept) + "\r\n";
    const auto reply = s.get("/app.js", more);
    EXPECT_EQ(reply.header("Content-Encoding"), row.coding) << row.accept;
    EXPECT_EQ(reply.header("Vary"), "Accept-Encoding") << row.accept;
    EXPECT_EQ(reply.header("Content-Type"), "text/javascript; charset=utf-8");
    const auto suffix = row.coding == "gzip" ? "gz" : row.coding == "zstd" ? "zst" : row.coding;
    EXPECT_EQ(reply.body, row.coding == "(none)" ? "plain" : "app.js." + std::string(suffix)) << row.accept;
  }
}

TEST(StaticFiles, in_a_coding_are_versions_of_their_own) {
  site s({.etag = etag_kind::strong});
  s.put("app.js", "plain");
  s.put("app.js.gz", "0123456789");
  const auto plain = s.get("/app.js");
  const auto zipped = s.get("/app.js", "Accept-Encoding: gzip\r\n");
  EXPECT_NE(plain.header("ETag"), zipped.header("ETag"));
  const auto both = "Accept-Encoding: gzip\r\nIf-None-Match: ";
  EXPECT_EQ(s.get("/app.js", both + zipped.header("ETag") + "\r\n").status, 304);
  EXPECT_EQ(s.get("/app.js", both + plain.header("ETag") + "\r\n").status, 200);
  const auto part = s.get("/app.js", "Accept-Encoding: gzip\r\nRange: bytes=2-3\r\n");
  EXPECT_EQ(part.header("Content-Range"), "bytes 2-3/10");
  EXPECT_EQ(part.body, "23");
}

TEST(StaticFiles, are_not_sent_compressed_where_that_is_stale_or_makes_no_sense) {
  site s, off({.precompressed = false});
  s.put("stale.js", "new");
  s.put("stale.js.gz", "old");
  set_time(s / "stale.js.gz", 784111777);
  s.put("a.png", "png");
  s.put("a.png.gz", "zipped");
  off.put("a.js", "plain");
  off.put("a.js.gz", "zipped");
  const auto gzip = "Accept-Encoding: gzip\r\n";
  EXPECT_EQ(s.get("/stale.js", gzip).body, "new");
  EXPECT_EQ(s.get("/a.png", gzip).body, "png");
  EXPECT_EQ(off.get("/a.js", gzip).body, "plain");
  EXPECT_EQ(off.get("/a.js.gz", gzip).body, "zipped");
  EXPECT_EQ(off.get("/a.js.gz", gzip).header("Content-Type"), "application/gzip");
  EXPECT_EQ(off.get("/a.js.gz", gzip).header("Content-Encoding"), "(none)");
}

TEST(StaticFiles, that_are_large_are_sent_compressed_too) {
  site s;
  s.put("big.js", pattern(400000));
  const auto zipped = pattern(300001);
  s.put("big.js.gz", zipped);
  EXPECT_TRUE(s.get("/big.js", "Accept-Encoding: gzip\r\n").body == zipped);
}

// ---- memory

/// Asks until the answer comes from memory: a file that is new is not kept before its file system's clock has moved on.
void warm_up(site& s, std::string_view path) {
  auto client = s.server().connect();
  const auto before = s.files().statistics().from_memory;
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (s.files().statistics().from_memory == before) {
    client.ask(ask_for(path));
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "never came from memory";
  }
}

TEST(StaticFileCache, answers_without_the_disk) {
  site s({.revalidate = std::chrono::milliseconds::max()});
  warm_up(s, "/hello.txt");
  s.put("hello.txt", "changed");
  const auto before = s.files().statistics();
  EXPECT_EQ(s.get("/hello.txt").body, "Hello, World!");
  EXPECT_EQ(s.get("/hello.txt", "Range: bytes=0-4\r\n").body, "Hello");
  const auto after = s.files().statistics();
  EXPECT_EQ(after.from_memory, before.from_memory + 2);
  EXPECT_EQ(after.looked_up, before.looked_up);
  s.files().forget("hello.txt");
  EXPECT_EQ(s.get("/hello.txt").body, "changed");
}

TEST(StaticFileCache, forgets_an_index_with_what_is_in_its_directory) {
  site s({.revalidate = std::chrono::milliseconds::max()});
  warm_up(s, "/dir/");
  s.put("dir/index.html", "changed");
  EXPECT_EQ(s.get("/dir/").body, "<p>index</p>");
  s.files().forget("dir/index.html");
  EXPECT_EQ(s.get("/dir/").body, "changed");
  warm_up(s, "/page.html");
  s.put("page.html.gz", "zipped");
  s.files().forget("page.html.gz");
  EXPECT_EQ(s.get("/page.html", "Accept-Encoding: gzip\r\n").body, "zipped");
}

TEST(StaticFileCache, forgets_what_was_found_by_its_extension) {
  site s({.extensions = {"html"}, .revalidate = std::chrono::milliseconds::max()});
  warm_up(s, "/page");
  s.put("page.html", "changed");
  EXPECT_EQ(s.get("/page").body, "<p>page</p>");
  s.files().forget("page.html");
  EXPECT_EQ(s.get("/page").body, "changed");
}

TEST(StaticFileCache, looks_at_the_disk_when_its_time_is_up) {
  site s({.revalidate = 0ms});
  EXPECT_EQ(s.get("/hello.txt").body, "Hello, World!");
  for (int i = 0; i < 50; ++i) {
    s.put("hello.txt", "version " + std::to_string(i));
    EXPECT_EQ(s.get("/hello.txt").body, "version " + std::to_string(i));
  }
  std::filesystem::remove(s / "hello.txt");
  EXPECT_EQ(s.get("/hello.txt").status, 404);
  EXPECT_EQ(s.files().statistics().from_memory, 0u);
}

TEST(StaticFileCache, sees_changes_after_a_while) {
  site s({.revalidate = 1ms});
  warm_up(s, "/hello.txt");
  s.put("hello.txt", "changed");
  auto client = s.server().connect();
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (client.ask(ask_for("/hello.txt")).body != "changed") ASSERT_LT(std::chrono::steady_clock::now(), until);
}

TEST(StaticFileCache, follows_changes) {
  site s({.revalidate = std::chrono::milliseconds::max()});
  weir::event stop;
  std::thread following([&] {
    testing::run_with(1, [](const static_files& files, weir::event& until) -> task<void> {
      co_await race(files.follow_changes(), until.wait());
    }(s.files(), stop));
  });
  auto client = s.server().connect();
  for (int i = 0; i < 3; ++i) {  // the first may be seen because the watch has begun meanwhile
    warm_up(s, "/hello.txt");
    warm_up(s, "/dir/");
    s.put("hello.txt", "version " + std::to_string(i));
    s.put("dir/new", "");
    std::filesystem::rename(s / "dir/new", s / "dir/index.html");
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (client.ask(ask_for("/hello.txt")).body != "version " + std::to_string(i)) {
      if (std::chrono::steady_clock::now() > until) break;
    }
    while (!client.ask(ask_for("/dir/")).body.empty()) {
      if (std::chrono::steady_clock::now() > until) break;
    }
    EXPECT_LT(std::chrono::steady_clock::now(), until);
    s.put("dir/index.html", "<p>index</p>");
    while (client.ask(ask_for("/dir/")).body.empty()) {
      if (std::chrono::steady_clock::now() > until) break;
    }
    EXPECT_LT(std::chrono::steady_clock::now(), until);
  }
  stop.set();
  following.join();
}

TEST(StaticFileCache, stays_within_its_limits) {
  site s(
      {.cache_bytes = 20000, .cache_entries = 6, .cache_file = 4000, .revalidate = std::chrono::milliseconds::max()});
  for (int i = 0; i < 12; ++i) {
    const auto name = "f" + std::to_string(i);
    s.put(name, std::string(3000, 'x'));
    warm_up(s, "/" + name);
    EXPECT_LE(s.files().statistics().bytes, 20000u);
    EXPECT_LE(s.files().statistics().entries, 6u);
  }
  EXPECT_GE(s.files().statistics().entries, 3u);
  s.put("large", std::string(4001, 'x'));
  const auto before = s.files().statistics();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s.get("/large").body.size(), 4001u);
  EXPECT_EQ(s.files().statistics().from_memory, before.from_memory);
  EXPECT_EQ(s.files().statistics().entries, before.entries);
  s.files().forget_all();
  EXPECT_EQ(s.files().statistics().entries, 0u);
  EXPECT_EQ(s.files().statistics().bytes, 0u);
}

TEST(StaticFileCache, serves_many_connections_on_several_workers) {
  temporary_directory in;
  const auto content = [](std::size_t i) { return std::string(1000 + i, "abcdefgh"[i]); };
  for (std::size_t i = 0; i < 8; ++i) put_file(in / ("f" + std::to_string(i)), content(i));
  const static_files files(in.path(), {.cache_entries = 4, .revalidate = 1ms});
  running_server server(files, {}, 3);
  std::atomic<int> wrong{0};
  const auto ask_often = [&](std::size_t step) {
    return std::thread([&, step] {
      auto client = server.connect();
      for (std::size_t i = 0; i < 300; ++i) {
        const auto which = i * step % 8;
        const auto reply = client.ask(ask_for("/f" + std::to_string(which)));
        if (reply.body != content(which)) wrong.fetch_add(1);
        if (i % 50 == 0) files.forget("f" + std::to_string(which));
      }
    });
  };
  std::thread clients[] = {ask_often(1), ask_often(2), ask_often(3), ask_often(4)};
  for (auto& each : clients) each.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_LE(files.statistics().entries, 4u);
}

// ---- files that change, clients that leave

TEST(StaticFiles, arrive_whole_at_clients_that_read_slowly) {
  site s({.cache_bytes = 0});
  const auto content = pattern(3 * 1024 * 1024 + 5);
  s.put("big.bin", content);
  testing::http_client client(s.server().address(), 4096);
  EXPECT_TRUE(client.ask(ask_for("/big.bin")).body == content);
  EXPECT_EQ(client.ask(ask_for("/hello.txt")).body, "Hello, World!");
}

TEST(StaticFiles, that_become_shorter_cut_the_connection) {
  std::atomic<int> reports{0};
  server_options options;
  options.on_error = [&](const request&, const std::exception_ptr&) { reports.fetch_add(1); };
  site s({.send_memory = 1}, options);
  constexpr std::size_t size = 64 * 1024 * 1024;
  s.put("big.bin", "");
  ASSERT_EQ(::truncate((s / "big.bin").c_str(), size), 0);
  auto client = s.server().connect(16384);
  client.send(ask_for("/big.bin"));
  ASSERT_TRUE(client.receive());
  ASSERT_EQ(::truncate((s / "big.bin").c_str(), 100000), 0);
  const auto all = client.read_rest();
  EXPECT_LT(all.size(), size);
  EXPECT_THAT(all, HasSubstr("Content-Length: 67108864\r\n"));
  EXPECT_EQ(open_descriptors_of(s / "big.bin"), 0u);
  EXPECT_EQ(reports.load(), 1);
}

TEST(StaticFiles, that_become_longer_or_are_replaced_are_sent_as_they_were) {
  site s({.send_memory = 1});
  const auto content = pattern(8 * 1024 * 1024);
  s.put("big.bin", content);
  auto client = s.server().connect(16384);
  client.send(ask_for("/big.bin"));
  ASSERT_TRUE(client.receive());
  std::filesystem::rename(s / "big.bin", s / "old.bin");
  s.put("big.bin", "another");
  std::filesystem::resize_file(s / "old.bin", content.size() + 1000000);
  EXPECT_TRUE(client.read_reply().body == content);
  EXPECT_EQ(client.ask(ask_for("/big.bin")).body, "another");
}

TEST(StaticFiles, are_closed_when_the_client_leaves) {
  site s;
  s.put("big.bin", "");
  ASSERT_EQ(::truncate((s / "big.bin").c_str(), std::int64_t{1} << 30), 0);
  for (const bool reset : {true, false}) {
    auto client = s.server().connect(16384);
    client.send(ask_for("/big.bin"));
    ASSERT_TRUE(client.receive());
    EXPECT_EQ(open_descriptors_of(s / "big.bin"), 1u);
    if (reset)
      client.reset();
    else
      client.close();
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (open_descriptors_of(s / "big.bin") != 0) ASSERT_LT(std::chrono::steady_clock::now(), until);
  }
  s.server().stop();
  EXPECT_EQ(s.server().statistics().handler_failures, 0u);
  EXPECT_EQ(s.server().statistics().disconnects, 2u);
}

// ---- roots, prefixes, neighbours

TEST(StaticFiles, come_from_the_first_root_that_has_them) {
  temporary_directory first, second;
  put_file(first / "both.txt", "first");
  put_file(second / "both.txt", "second");
  put_file(second / "one.txt", "second");
  running_server server(static_files(std::vector<std::string>{first.path(), second.path()}));
  EXPECT_EQ(server.connect().ask(ask_for("/both.txt")).body, "first");
  EXPECT_EQ(server.connect().ask(ask_for("/one.txt")).body, "second");
  EXPECT_EQ(server.connect().ask(ask_for("/none.txt")).status, 404);
}

TEST(StaticFiles, lie_below_a_prefix) {
  site s({.prefix = "/assets"});
  EXPECT_EQ(s.get("/assets/hello.txt").body, "Hello, World!");
  EXPECT_EQ(s.get("/assets").header("Location"), "/assets/");
  EXPECT_EQ(s.get("/assets/dir").header("Location"), "/assets/dir/");
  for (auto path : {"/hello.txt", "/assetshello.txt", "/", "/assets2/hello.txt"}) EXPECT_EQ(s.get(path).status, 404);
}

TEST(StaticFiles, leave_what_they_do_not_have_to_the_next_handler) {  // C1-RL-09, C2-MW-09
  temporary_directory in;
  put_file(in / "a.txt", "a");
  const static_files files(in.path());
  running_server server([files](request& req, response& res) -> task<void> {
    if (co_await files.try_serve(req, res)) co_return;
    co_await res.end("next: " + std::string(req.method_text()));
  });
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt")).body, "a");
  EXPECT_EQ(server.connect().ask(ask_for("/b.txt")).body, "next: GET");
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt", "Content-Length: 0\r\n", "POST")).body, "next: POST");
  for (auto path : {"/%zz", "/../a.txt", "/.hidden", "/a.txt/"}) {
    EXPECT_EQ(server.connect().ask(ask_for(path)).body, "next: GET") << path;
  }
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt", "If-Match: \"x\"\r\n")).status, 412);
}

TEST(StaticFiles, follow_a_root_that_is_switched) {
  temporary_directory in;
  std::filesystem::create_directories(in / "v1");
  std::filesystem::create_directories(in / "v2");
  put_file(in / "v1/a.txt", "one");
  put_file(in / "v2/a.txt", "two");
  ASSERT_EQ(::symlink("v1", (in / "current").c_str()), 0);
  running_server server(static_files(in / "current", {.revalidate = 0ms}));
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt")).body, "one");
  ASSERT_EQ(::symlink("v2", (in / "next").c_str()), 0);
  std::filesystem::rename(in / "next", in / "current");
  EXPECT_EQ(server.connect().ask(ask_for("/a.txt")).body, "two");
}

TEST(StaticFiles, need_a_root_that_is_there) {
  temporary_directory in;
  put_file(in / "file", "");
  const auto code_of = [](auto make) -> std::string {
    try {
      make();
    } catch (const error& e) {
      return std::string(e.code_name());
    }
    return "none";
  };
  EXPECT_EQ(code_of([&] { static_files(in / "nothing"); }), "ENOENT");
  EXPECT_EQ(code_of([&] { static_files(in / "file"); }), "ENOTDIR");
  EXPECT_EQ(code_of([&] { static_files(std::vector<std::string>()); }), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(code_of([&] { static_files(in.path(), {.prefix = "a"}); }), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(code_of([&] { static_files(in.path(), {.prefix = "/a/"}); }), "ERR_INVALID_ARG_VALUE");
}

// ---- whole systems

// C3-SYS-49: several roots, cache headers; traversal refused, ETag/304, Range/206, large bodies.
TEST(C3_SYS_49, static_file_server_of_several_roots) {
  temporary_directory site_files, uploads;
  put_file(site_files / "index.html", "<h1>home</h1>");
  put_file(site_files / "app.js", "run()");
  const auto film = pattern(5 * 1024 * 1024 + 17);
  put_file(uploads / "film.mp4", film);
  static_files_options options;
  options.etag = etag_kind::strong;
  options.max_age = 86400s;
  running_server server(static_files(std::vector<std::string>{site_files.path(), uploads.path()}, options), {}, 2);
  auto client = server.connect();

  const auto home = client.ask(ask_for("/"));
  EXPECT_EQ(home.body, "<h1>home</h1>");
  EXPECT_EQ(home.header("Cache-Control"), "public, max-age=86400");
  EXPECT_EQ(client.ask(ask_for("/", "If-None-Match: " + home.header("ETag") + "\r\n")).status, 304);

  const auto whole = client.ask(ask_for("/film.mp4"));
  EXPECT_EQ(whole.header("Content-Type"), "video/mp4");
  EXPECT_TRUE(whole.body == film);
  std::string pieces;
  while (pieces.size() < film.size()) {  // as a player does it
    const auto range = "Range: bytes=" + std::to_string(pieces.size()) + "-" + std::to_string(pieces.size() + 999999);
    const auto part = client.ask(ask_for("/film.mp4", range + "\r\nIf-Range: " + whole.header("ETag") + "\r\n"));
    ASSERT_EQ(part.status, 206);
    pieces += part.body;
  }
  EXPECT_TRUE(pieces == film);
  for (auto path : {"/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd"}) {
    EXPECT_EQ(client.ask(ask_for(path)).status, 403) << path;
  }
  EXPECT_EQ(client.ask(ask_for("/nothing")).status, 404);
}

// ---- curl

class StaticFilesWithCurl : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::output_of("curl --version 2>/dev/null").empty()) GTEST_SKIP() << "curl is not installed";
  }
  static std::string curl(const std::string& arguments) { return testing::output_of("curl -s -m 30 " + arguments); }
};

TEST_F(StaticFilesWithCurl, are_fetched_in_part_and_resumed) {
  site s({.etag = etag_kind::strong});
  const auto content = pattern(2000000);
  s.put("big.bin", content);
  EXPECT_TRUE(curl(s.url("/big.bin")) == content);
  EXPECT_TRUE(curl("-r 1000-99999 " + s.url("/big.bin")) == content.substr(1000, 99000));
  EXPECT_TRUE(curl("-r -5000 " + s.url("/big.bin")) == content.substr(content.size() - 5000));
  EXPECT_THAT(curl("-r 0-1,5-6 " + s.url("/hello.txt")), HasSubstr("Content-Range: bytes 5-6/13"));
  put_file(s / "begun", content.substr(0, 777777));
  EXPECT_NE(::system(("curl -s -m 30 -C - -o " + s / "begun" + " " + s.url("/big.bin")).c_str()), -1);
  EXPECT_TRUE(testing::file_content(s / "begun") == content);
}

TEST_F(StaticFilesWithCurl, are_fetched_if_they_have_changed) {
  site s;
  const auto status = "-o /dev/null -w '%{http_code}' ";
  EXPECT_EQ(curl(status + ("--etag-save " + s / "tag") + " " + s.url("/hello.txt")), "200");
  EXPECT_EQ(curl(status + ("--etag-compare " + s / "tag") + " " + s.url("/hello.txt")), "304");
  EXPECT_EQ(curl(status + ("-z 'Sun, 06 Nov 1994 08:49:37 GMT' " + s.url("/hello.txt"))), "304");
  EXPECT_EQ(curl(status + ("-z 'Sun, 06 Nov 1994 08:49:36 GMT' " + s.url("/hello.txt"))), "200");
  EXPECT_EQ(curl(status + ("-I " + s.url("/hello.txt"))), "200");
  EXPECT_EQ(curl("-L " + s.url("/dir")), "<p>index</p>");
  EXPECT_EQ(curl(status + ("--path-as-is " + s.url("/../../etc/passwd"))), "403");
}

TEST_F(StaticFilesWithCurl, are_fetched_compressed) {
  site s;
  if (::system("gzip --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "gzip is not installed";
  std::string text;
  for (int i = 0; i < 10000; ++i) text += "line " + std::to_string(i) + "\n";
  s.put("lines.txt", text);
  ASSERT_EQ(::system(("gzip -k " + s / "lines.txt").c_str()), 0);
  EXPECT_TRUE(curl("--compressed " + s.url("/lines.txt")) == text);
  EXPECT_LT(curl("-H 'Accept-Encoding: gzip' " + s.url("/lines.txt")).size(), text.size() / 2);
}

// ---- Node

TEST(StaticFilesWithNode, are_fetched) {
  if (testing::output_of("node --version 2>/dev/null").empty()) GTEST_SKIP() << "node is not installed";
  site s({.etag = etag_kind::strong});
  s.put("big.bin", std::string(3'000'000, 'b'));
  s.put("app.js", std::string(5000, ' ') + "run()");
  s.put("app.js.gz", testing::output_of("printf 'zipped()' | gzip"));
  put_file(s / "script.mjs", R"(
    const base = process.argv[2], said = [];
    const get = async (path, headers = {}, method = 'GET') => {
      const reply = await fetch(base + path, {headers, method});
      const text = await reply.text();
      said.push([reply.status, text.length > 20 ? text.length : text]);
      return reply.headers;
    };
    const tag = (await get('/hello.txt')).get('etag');
    await get('/hello.txt', {'If-None-Match': tag});
    await get('/hello.txt', {'Range': 'bytes=7-11', 'If-Range': tag});
    await get('/hello.txt', {'Range': 'bytes=99-'});
    await get('/hello.txt', {}, 'HEAD');
    await get('/app.js');
    await get('/dir');
    await get('/big.bin');
    await Promise.all(Array.from({length: 8}, () => get('/big.bin')));
    console.log(JSON.stringify(said.slice(0, 8)), said.slice(8).every(([code, size]) => code + size === 3000200));
  )");
  const auto expected = R"x([[200,"Hello, World!"],[304,""],[206,"World"],[416,22],[200,""],[200,"zipped()"],)x"
                        R"x([200,"<p>index</p>"],[200,3000000]] true)x";
  EXPECT_EQ(testing::output_of("timeout 60 node " + s / "script.mjs" + " " + s.url("")), expected + "\n"s);
}

}  // namespace
}  // namespace weir::net::http
