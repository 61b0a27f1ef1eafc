#include <weir/fs/attributes.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/file.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <latch>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using testing::file_content;
using testing::in_child;
using testing::put_file;
using testing::rounds;
using testing::run_with;
using testing::temporary_directory;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
std::span<std::byte> room(std::string& text) { return std::as_writable_bytes(std::span(text)); }

// ---- opening

TEST(Mode, parses_nodes_texts) {
  EXPECT_EQ(mode::parse("r"), mode::read);
  EXPECT_EQ(mode::parse("rs"), mode::read | mode::sync);
  EXPECT_EQ(mode::parse("r+"), mode::update);
  EXPECT_EQ(mode::parse("rs+"), mode::update | mode::sync);
  EXPECT_EQ(mode::parse("w"), mode::write);
  EXPECT_EQ(mode::parse("wx").flags, O_WRONLY | O_CREAT | O_TRUNC | O_EXCL);
  EXPECT_EQ(mode::parse("xw"), mode::parse("wx"));
  EXPECT_EQ(mode::parse("w+"), mode::rewrite);
  EXPECT_EQ(mode::parse("a"), mode::append);
  EXPECT_EQ(mode::parse("ax"), mode::append_new);
  EXPECT_EQ(mode::parse("as"), mode::append | mode::sync);
  EXPECT_EQ(mode::parse("a+"), mode::append_read);
  EXPECT_EQ(mode::parse("ax+"), mode::append_read | mode::exclusive);
  for (const auto* each : {"", "z", "+r", "rw", "r ", "R", "wx++"}) EXPECT_THROW(mode::parse(each), error) << each;
}

// Opens it in each way where there is a file and where there is none; tells what is said, and what is left of it.
TEST(Open, does_what_each_mode_says) {
  struct row {
    const char* text;
    const char* missing;  // where there is none: the error, or ""
    const char* present;  // where there is one
    const char* left;     // of "old" after "N" has been written, or what it was
    bool readable;
  };
  const row rows[] = {
      {"r", "ENOENT", "", "old", true},   {"r+", "ENOENT", "", "Nld", true},  {"w", "", "", "N", false},
      {"wx", "", "EEXIST", "old", false}, {"w+", "", "", "N", true},          {"wx+", "", "EEXIST", "old", true},
      {"a", "", "", "oldN", false},       {"ax", "", "EEXIST", "old", false}, {"a+", "", "", "oldN", true},
      {"ax+", "", "EEXIST", "old", true}, {"rs+", "ENOENT", "", "Nld", true}, {"as", "", "", "oldN", false},
  };
  temporary_directory here;
  const auto path = here / "file";
  for (const auto& each : rows) {
    std::filesystem::remove(path);
    run_with(2, [](const row& r, std::string name) -> task<> {
      auto missing = co_await attempt(open(name, mode::parse(r.text)));
      EXPECT_EQ(missing ? "" : missing.failure().code_name(), r.missing) << r.text;
      EXPECT_EQ(std::filesystem::exists(name), *r.missing == '\0') << r.text;
      put_file(name, "old");
      auto present = co_await attempt(open(name, mode::parse(r.text)));
      EXPECT_EQ(present ? "" : present.failure().code_name(), r.present) << r.text;
      if (!present) co_return;
      std::string byte(1, '?');
      auto got = co_await attempt(present->read(room(byte)).at(0));
      EXPECT_EQ(got.has_value(), r.readable) << r.text;
      if (!got) EXPECT_TRUE(got.failure().is("EBADF")) << r.text;
      auto put = co_await attempt(present->write("N"));
      if (!put) EXPECT_TRUE(put.failure().is("EBADF")) << r.text;
    }(each, path));
    EXPECT_EQ(file_content(path), each.left) << each.text;
  }
}

TEST(Open, takes_flags_beside_the_mode) {
  temporary_directory here;
  put_file(here / "file", "x");
  std::filesystem::create_symlink("file", here / "link");
  EXPECT_TRUE(open(here / "link", mode::read | mode::no_follow).try_now().failure().is("ELOOP"));
  EXPECT_TRUE(open(here / "file", mode::read | mode::directory).try_now().failure().is("ENOTDIR"));
  EXPECT_TRUE(open(here.path(), mode::read | mode::directory).try_now());
  EXPECT_NE(::fcntl(open(here / "file", mode::write | mode::sync).now().descriptor(), F_GETFL) & O_SYNC, 0);
  EXPECT_NE(::fcntl(open(here / "file", mode::write | mode::datasync).now().descriptor(), F_GETFL) & O_DSYNC, 0);
}

TEST(Open, closes_on_exec_and_makes_with_permissions_less_the_umask) {
  temporary_directory here;
  const auto before = ::umask(027);
  run_with(1, [](const temporary_directory& d) -> task<> {
    auto plain = co_await open(d / "a", mode::write);
    auto given = co_await open(d / "b", mode::write, {.permissions = 0751});
    EXPECT_EQ(::fcntl(plain.descriptor(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ((co_await plain.stat()).permissions(), 0640U);
    EXPECT_EQ((co_await given.stat()).permissions(), 0750U);
  }(here));
  ::umask(before);
}

TEST(Open, of_a_fifo_waits_for_nobody) {
  temporary_directory here;
  ASSERT_EQ(::mkfifo((here / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(open(here / "fifo").try_now());
  EXPECT_TRUE(open(here / "fifo", mode{O_WRONLY}).try_now().failure().is("ENXIO")) << "nobody reads";
}

TEST(Open, beneath_a_directory_is_not_led_out_of_it) {
  temporary_directory here;
  std::filesystem::create_directories(here / "root/in");
  put_file(here / "root/in/file", "inside");
  put_file(here / "secret", "outside");
  std::filesystem::create_symlink("in/file", here / "root/good");
  std::filesystem::create_symlink("../secret", here / "root/bad");
  std::filesystem::create_symlink("/etc/passwd", here / "root/worse");
  auto root = open(here / "root", mode::read | mode::directory).now();
  auto probe = open_beneath(root, "in/file").try_now();
  if (!probe && probe.failure().is("ENOSYS")) GTEST_SKIP() << "no openat2";
  run_with(2, [](const file& top) -> task<> {
    for (const auto* each : {"in/file", "good", "in/../in/file"}) {
      auto opened = co_await open_beneath(top, each);
      EXPECT_EQ((co_await opened.read_all()).to_string(), "inside") << each;
    }
    for (const auto* each : {"../secret", "bad", "worse", "/etc/passwd", "in/../../secret"}) {
      auto outcome = co_await attempt(open_beneath(top, each));
      EXPECT_TRUE(!outcome && outcome.failure().is("EXDEV")) << each;
    }
    auto made = co_await open_beneath(top, "in/new", mode::write, {.permissions = 0600});
    co_await made.write("x");
  }(root));
  EXPECT_EQ(file_content(here / "root/in/new"), "x");
}

// ---- reading and writing

TEST(File, reads_and_writes_at_its_position_or_anywhere) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    auto f = co_await open(path, mode::rewrite);
    co_await f.write("hello ");
    co_await f.write("world");
    co_await f.write("W", 6);
    std::string text(5, '?');
    EXPECT_EQ(co_await f.read(room(text)), 0U) << "the position is at the end, where the writes left it";
    EXPECT_EQ(co_await f.read(room(text)).at(6), 5U);
    EXPECT_EQ(text, "World");
    EXPECT_EQ(co_await f.read(room(text)).at(9), 2U);
    EXPECT_EQ(co_await f.read(room(text)).at(11), 0U) << "the end";
    EXPECT_EQ(co_await f.read(room(text)).at(1'000'000), 0U);
    EXPECT_EQ(co_await f.read_full(room(text), 8), 3U);
    co_await f.write("!", 12);
  }(here / "file"));
  EXPECT_EQ(file_content(here / "file"), std::string("hello World\0!", 13)) << "what was left out is zero";
}

TEST(File, has_the_same_operations_without_a_runtime) {
  temporary_directory here;
  auto f = open(here / "file", mode::rewrite).now();
  EXPECT_EQ(f.write_some(bytes("twelve bytes")).now(), 12U);
  EXPECT_EQ(f.write_some(bytes("T")).at(0).now(), 1U);
  f.sync().now();
  f.datasync().now();
  std::string text(20, '?');
  EXPECT_EQ(f.read(room(text)).at(0).now(), 12U);
  EXPECT_EQ(text.substr(0, 12), "Twelve bytes");
  EXPECT_EQ(f.stat().now().size, 12U);
  f.truncate(3).now();
  f.chmod(0600).now();
  f.chown(~0U, ~0U).now();
  f.utimes(time_point(1s), time_point(2s + 3ns)).now();
  const auto made = f.stat().now();
  EXPECT_EQ(made.size, 3U);
  EXPECT_EQ(made.permissions(), 0600U);
  EXPECT_EQ(made.mtime, time_point(2s + 3ns));
  EXPECT_TRUE(f.try_close_now());
  EXPECT_FALSE(f.is_open());
}

TEST(File, reads_into_several_pieces_and_writes_several) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    auto f = co_await open(path, mode::rewrite);
    const std::vector<std::span<const std::byte>> from = {bytes("one "), bytes(""), bytes("two "), bytes("three")};
    co_await f.write_pieces(from);
    co_await f.write_pieces(from, 100);
    std::string a(4, '?');
    std::string b(6, '?');
    const std::vector<std::span<std::byte>> into = {room(a), std::span<std::byte>(), room(b)};
    EXPECT_EQ(co_await f.read_pieces(into, 0), 10U);
    EXPECT_EQ(a + b, "one two th");
    EXPECT_EQ(co_await f.read_pieces(into, 108), 5U);
    EXPECT_EQ(a + b.substr(0, 1), "three");
    EXPECT_EQ(co_await f.read_pieces({}, 0), 0U);
    co_await f.write_pieces({});
  }(here / "file"));
  EXPECT_EQ(file_content(here / "file").substr(0, 13), "one two three");
}

TEST(File, writes_more_pieces_than_the_system_takes_at_once) {
  temporary_directory here;
  std::string wanted;
  std::vector<std::string> texts;
  for (int i = 0; i < 3000; ++i) texts.push_back(std::to_string(i) + ",");
  for (const auto& each : texts) wanted += each;
  run_with(1, [](std::string path, const std::vector<std::string>& parts) -> task<> {
    std::vector<std::span<const std::byte>> from;
    for (const auto& each : parts) from.push_back(bytes(each));
    auto f = co_await open(path, mode::write);
    co_await f.write_pieces(from);
    co_await f.write_pieces(from, 1'000'000);
  }(here / "file", texts));
  EXPECT_EQ(file_content(here / "file").substr(0, wanted.size()), wanted);
  EXPECT_EQ(file_content(here / "file").substr(1'000'000), wanted);
}

TEST(File, appends_what_several_write_without_mixing_it) {
  temporary_directory here;
  constexpr std::size_t writers = 8;
  constexpr std::size_t lines = rounds(100);
  run_with(3, with_scope([&](scope& s) -> task<> {
             for (std::size_t writer = 0; writer < writers; ++writer) {
               s.spawn(
                   [](std::string path, char letter) -> task<> {
                     auto f = co_await open(path, mode::append);
                     for (std::size_t i = 0; i < lines; ++i) co_await f.write(std::string(200, letter) + "\n");
                   },
                   here / "log", static_cast<char>('a' + writer));
             }
             co_return;
           }));
  const auto all = file_content(here / "log");
  ASSERT_EQ(all.size(), writers * lines * 201);
  for (std::size_t at = 0; at < all.size(); at += 201) {
    ASSERT_EQ(all.substr(at, 201), std::string(200, all[at]) + "\n") << "at " << at;
  }
}

TEST(File, appends_what_several_write_through_it_at_once) {
  temporary_directory here;
  constexpr std::size_t writers = rounds(200);
  run_with(3, with_scope([&](scope& s) -> task<> {
             auto shared = std::make_shared<file>(co_await open(here / "log", mode::append));
             for (std::size_t writer = 0; writer < writers; ++writer) {
               s.spawn([](std::shared_ptr<file> f,
                          char letter) -> task<> { co_await f->write(std::string(200, letter) + "\n"); },
                       shared, static_cast<char>('a' + writer % 26));
             }
           }));
  const auto all = file_content(here / "log");
  ASSERT_EQ(all.size(), writers * 201);
  for (std::size_t at = 0; at < all.size(); at += 201) {
    ASSERT_EQ(all.substr(at, 201), std::string(200, all[at]) + "\n") << "at " << at;
  }
}

TEST(File, serves_many_reads_at_once) {
  temporary_directory here;
  std::string content;
  for (int i = 0; i < 10'000; ++i) content += std::string(4, static_cast<char>('a' + i % 26));
  put_file(here / "file", content);
  run_with(3, with_scope([&](scope& s) -> task<> {
             auto shared = std::make_shared<file>(co_await open(here / "file"));
             for (std::size_t i = 0; i < rounds(500); ++i) {
               s.spawn(
                   [&content](std::shared_ptr<file> f, std::size_t at) -> task<> {
                     std::string part(100, '?');
                     EXPECT_EQ(co_await f->read_full(room(part), at), 100U);
                     EXPECT_EQ(part, content.substr(at, 100));
                   },
                   shared, i * 71 % 39'900);
             }
           }));
}

TEST(File, reads_what_is_left_and_refuses_too_much) {
  temporary_directory here;
  put_file(here / "file", std::string(10'000, 'x'));
  run_with(2, [](std::string path) -> task<> {
    auto f = co_await open(path);
    std::string head(100, '?');
    co_await f.read(room(head));
    EXPECT_EQ((co_await f.read_all()).size(), 9'900U);
    EXPECT_EQ((co_await f.read_all()).size(), 0U);
    for (std::size_t limit : {0U, 1U, 100U, 4095U, 4096U, 9999U}) {
      auto again = co_await open(path);
      auto outcome = co_await attempt(again.read_all(limit));
      EXPECT_TRUE(!outcome && outcome.failure().is("ERR_OUT_OF_RANGE")) << limit;
    }
    for (std::size_t limit : {std::size_t{10'000}, std::size_t{1} << 40, ~std::size_t{0}}) {
      auto again = co_await open(path);
      EXPECT_EQ((co_await again.read_all(limit)).size(), 10'000U) << limit;
    }
    auto status = co_await open("/proc/self/status");
    EXPECT_NE((co_await status.read_all()).to_string().find("Pid:"), std::string::npos) << "of size 0, as stat says";
  }(here / "file"));
}

TEST(File, has_holes_and_places_beyond_four_gibibytes) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    const std::uint64_t far = (std::uint64_t{5} << 30) + 7;
    auto f = co_await open(path, mode::rewrite);
    co_await f.write("far", far);
    EXPECT_EQ((co_await f.stat()).size, far + 3);
    EXPECT_LT((co_await f.stat()).blocks, 1000U);
    std::string text(6, '?');
    EXPECT_EQ(co_await f.read_full(room(text), far - 3), 6U);
    EXPECT_EQ(text, std::string("\0\0\0far", 6));
    co_await f.truncate(far);
    EXPECT_EQ(co_await f.read(room(text)).at(far), 0U);
  }(here / "file"));
}

TEST(File, gets_room_beforehand_and_gives_it_back) {
  temporary_directory here;
  auto f = open(here / "file", mode::rewrite).now();
  auto outcome = f.allocate(0, 1 << 20).try_now();
  if (!outcome) GTEST_SKIP() << outcome.failure().message();
  EXPECT_EQ(f.stat().now().size, 1U << 20);
  EXPECT_GE(f.stat().now().blocks, 2048U);
  f.allocate(1 << 20, 1 << 20, FALLOC_FL_KEEP_SIZE).now();
  EXPECT_EQ(f.stat().now().size, 1U << 20);
  const auto before = f.stat().now().blocks;
  f.write_some(bytes(std::string(65536, 'x'))).at(0).now();
  f.allocate(0, 1 << 19, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE).now();
  EXPECT_LT(f.stat().now().blocks, before);
  std::string text(1, '?');
  f.read(room(text)).at(0).now();
  EXPECT_EQ(text[0], '\0');
  EXPECT_TRUE(f.allocate(0, 0).try_now().failure().is("EINVAL"));
}

TEST(File, is_read_past_the_page_cache) {
  temporary_directory here;
  put_file(here / "file", std::string(8192, 'd'));
  auto opened = open(here / "file", mode::read | mode::direct).try_now();
  if (!opened) GTEST_SKIP() << opened.failure().message();
  run_with(1, [](const file& f) -> task<> {
    const std::unique_ptr<void, decltype(&std::free)> memory(std::aligned_alloc(4096, 8192), &std::free);
    const std::span<std::byte> aligned(static_cast<std::byte*>(memory.get()), 8192);
    EXPECT_EQ(co_await f.read_full(aligned, 0), 8192U);
    EXPECT_EQ(static_cast<char>(aligned[8191]), 'd');
    auto outcome = co_await attempt(f.read(aligned.subspan(1, 100)).at(1));
    if (!outcome) EXPECT_TRUE(outcome.failure().is("EINVAL")) << outcome.failure().message();
  }(*opened));
}

TEST(File, tells_what_reading_and_writing_cannot_do) {
  temporary_directory here;
  put_file(here / "file", "x");
  run_with(2, [](const temporary_directory& d) -> task<> {
    std::string text(1, '?');
    auto directory = co_await open(d.path());
    EXPECT_EQ((co_await attempt(directory.read(room(text)))).failure().message(),
              "EISDIR: illegal operation on a directory, read '" + d.path() + "'");
    auto readable = co_await open(d / "file");
    EXPECT_TRUE((co_await attempt(readable.write("x"))).failure().is("EBADF"));
    EXPECT_TRUE((co_await attempt(readable.truncate(0))).failure().is("EINVAL"));
    file closed;
    EXPECT_TRUE((co_await attempt(closed.read(room(text)))).failure().is("EBADF"));
    EXPECT_TRUE((co_await attempt(closed.stat())).failure().is("EBADF"));
    EXPECT_TRUE((co_await attempt(closed.sync())).failure().is("EBADF"));
  }(here));
}

TEST(File, on_a_full_device_tells_ENOSPC) {
  run_with(2, []() -> task<> {
    auto full = co_await open("/dev/full", mode{O_WRONLY});
    auto outcome = co_await attempt(full.write("x"));
    EXPECT_EQ(outcome.failure().message(), "ENOSPC: no space left on device, write '/dev/full'");
  }());
}

// ---- limits of the system

TEST(File, that_grows_beyond_the_process_limit_is_EFBIG_and_keeps_what_fitted) {
  temporary_directory here;
  EXPECT_TRUE(in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    testing::limit(RLIMIT_FSIZE, 10'000);
    const std::string text(8192, 'x');
    run_with(1, [](std::string path, const std::string& part) -> task<> {
      auto f = co_await open(path, mode::write);
      co_await f.write(part);
      auto outcome = co_await attempt(f.write(part));
      EXPECT_FALSE(outcome) << "after 1808 bytes";
      if (outcome) co_return;
      EXPECT_EQ(outcome.failure().message(), "EFBIG: file too large, write '" + path + "'");
      EXPECT_EQ((co_await f.stat()).size, 10'000U);
    }(here / "file", text));
  }));
}

TEST(File, on_a_full_file_system_keeps_what_fitted) {
  temporary_directory here;
  bool mounted = false;
  const bool fine = in_child(
      [&] {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", here.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
          std::_Exit(testing::not_possible);
        }
        run_with(2, [](std::string path) -> task<> {
          auto f = co_await open(path, mode::write);
          auto outcome = co_await attempt(f.write(std::string(100'000, 'x')));
          EXPECT_FALSE(outcome);
          if (outcome) co_return;
          EXPECT_EQ(outcome.failure().message(), "ENOSPC: no space left on device, write '" + path + "'");
          const auto kept = (co_await f.stat()).size;
          EXPECT_GT(kept, 0U);
          EXPECT_LE(kept, 65536U);
          co_await f.truncate(0);
          co_await f.write(std::string(30'000, 'y'), 0);
          EXPECT_EQ((co_await f.stat()).size, 30'000U) << "there is room again";
        }(here / "file"));
      },
      &mounted);
  if (!mounted) GTEST_SKIP() << "this process may not mount";
  EXPECT_TRUE(fine);
}

// A short write without a position must not be written over by what follows it.
TEST(File, with_room_for_a_part_has_that_part_at_its_place) {
  temporary_directory here;
  EXPECT_TRUE(in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    testing::limit(RLIMIT_FSIZE, 10'000);
    run_with(1, [](std::string path) -> task<> {
      std::string text;
      for (int i = 0; i < 3000; ++i) text += std::to_string(10'000 + i);
      const std::vector<std::span<const std::byte>> pieces = {bytes(text).first(4001), bytes(text).subspan(4001)};
      for (bool in_pieces : {false, true}) {
        auto f = co_await open(path, mode::rewrite);
        auto outcome = in_pieces ? co_await attempt(f.write_pieces(pieces)) : co_await attempt(f.write(text));
        EXPECT_TRUE(!outcome && outcome.failure().is("EFBIG"));
        std::string kept(20'000, '?');
        EXPECT_EQ(co_await f.read_full(room(kept), 0), 10'000U);
        EXPECT_EQ(kept.substr(0, 10'000), text.substr(0, 10'000));
      }
    }(here / "file"));
  }));
}

// ---- closing

TEST(File, closes_itself) {
  temporary_directory here;
  int number = -1;
  run_with(2, [](std::string path, int& fd) -> task<> {
    auto f = co_await open(path, mode::write);
    fd = f.descriptor();
    EXPECT_NE(::fcntl(fd, F_GETFD), -1);
  }(here / "file", number));
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(File, tells_what_close_says_and_is_closed_either_way) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    auto f = co_await open(path, mode::write);
    const int fd = f.descriptor();
    co_await f.close();
    EXPECT_FALSE(f.is_open());
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
    co_await f.close();
    auto g = co_await open(path, mode::write);
    ::close(g.descriptor());  // behind its back
    auto outcome = co_await attempt(g.close());
    EXPECT_EQ(outcome.failure().message(), "EBADF: bad file descriptor, close '" + path + "'");
    EXPECT_FALSE(g.is_open());
  }(here / "file"));
}

TEST(File, moves_with_its_descriptor) {
  temporary_directory here;
  auto a = open(here / "a", mode::write).now();
  auto b = open(here / "b", mode::write).now();
  const int fd_a = a.descriptor();
  const int fd_b = b.descriptor();
  b = std::move(a);
  EXPECT_EQ(b.descriptor(), fd_a);
  EXPECT_EQ(b.path(), here / "a");
  EXPECT_EQ(::fcntl(fd_b, F_GETFD), -1) << "what it had before is closed";
}

TEST(File, leaks_no_descriptor_whenever_its_opening_is_cancelled) {
  temporary_directory here;
  const auto count = [] {
    std::size_t open_ones = 0;
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) open_ones += each.exists() ? 1 : 1;
    return open_ones;
  };
  const auto before = count();
  for (std::size_t turns = 0; turns < rounds(100); ++turns) {
    run_with(2, with_scope([&](scope& s) -> task<> {
               auto handle = s.spawn_local([&]() -> task<> {
                 auto f = co_await attempt(open(here / "file", mode::write));
                 if (!f) EXPECT_TRUE(f.failure().is_cancelled()) << f.failure().message();
               });
               for (std::size_t i = 0; i < turns; ++i) co_await yield();
               handle.cancel();
               static_cast<void>(co_await attempt(std::move(handle)));
             }));
  }
  EXPECT_EQ(count(), before);
}

TEST(File, reading_a_fifo_ends_when_it_is_cancelled) {
  temporary_directory here;
  ASSERT_EQ(::mkfifo((here / "fifo").c_str(), 0600), 0);
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto f = co_await open(here / "fifo", mode::update);  // with its own other end, so that it never ends
             std::string text(10, '?');
             auto handle = s.spawn_local([&]() -> task<> {
               auto outcome = co_await attempt(f.read(room(text)));
               EXPECT_TRUE(!outcome && outcome.failure().is_cancelled());
             });
             for (int i = 0; i < 10; ++i) co_await yield();
             handle.cancel();
             static_cast<void>(co_await attempt(std::move(handle)));
             co_await f.write("still works");
             EXPECT_EQ(co_await f.read(room(text)), 10U);
           }));
}

}  // namespace
}  // namespace weir::fs
