#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/entry.hpp>
#include <weir/sync/semaphore.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::fs {
namespace {

using testing::file_content;
using testing::put_file;
using testing::rounds;
using testing::run_with;
using testing::temporary_directory;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// C0-FS-01, 02, 03; C3-FS-01, 02, 03; C2-FR-06
TEST(ReadFile, gives_all_bytes_awaited_or_here) {
  temporary_directory here;
  for (std::size_t size : {0U, 1U, 4095U, 4096U, 4097U, 1U << 20, (1U << 20) + 1, 3'000'000U}) {
    std::string content(size, '\0');
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7 + i / 256);
    put_file(here / "file", content);
    run_with(2, [](std::string path, const std::string& wanted) -> task<> {
      auto all = co_await read_file(path);
      EXPECT_TRUE(std::ranges::equal(all.bytes(), bytes(wanted))) << wanted.size();
    }(here / "file", content));
    EXPECT_EQ(read_file(here / "file").now().size(), size);
  }
}

TEST(ReadFile, gives_what_proc_and_fifos_and_links_have) {
  EXPECT_NE(read_text("/proc/self/status").now().find("Pid:"), std::string::npos) << "stat says it has 0 bytes";
  EXPECT_EQ(read_file("/dev/null").now().size(), 0U);
  EXPECT_FALSE(read_text("/proc/self/cmdline").now().empty());
  temporary_directory here;
  put_file(here / "file", "through");
  std::filesystem::create_symlink("file", here / "link");
  EXPECT_EQ(read_text(here / "link").now(), "through");
}

TEST(ReadFile, refuses_more_than_its_limit) {
  temporary_directory here;
  put_file(here / "file", std::string(10'000, 'x'));
  for (std::size_t limit : {0U, 1U, 4095U, 4096U, 9999U}) {
    auto outcome = read_file(here / "file", {.limit = limit}).try_now();
    EXPECT_TRUE(!outcome && outcome.failure().is("ERR_OUT_OF_RANGE")) << limit;
    EXPECT_FALSE(read_file("/dev/zero", {.limit = limit}).try_now()) << limit;
  }
  for (std::size_t limit : {std::size_t{10'000}, std::size_t{10'001}, ~std::size_t{0}}) {
    EXPECT_EQ(read_file(here / "file", {.limit = limit}).now().size(), 10'000U) << limit;
  }
  put_file(here / "empty", "");
  EXPECT_EQ(read_file(here / "empty", {.limit = 0}).now().size(), 0U);
}

TEST(ReadFile, of_an_endless_one_ends_when_it_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             bool stopped = false;
             auto handle = s.spawn_local([&]() -> task<> {
               auto outcome = co_await attempt(read_file("/dev/zero"));
               stopped = !outcome && outcome.failure().is_cancelled();
             });
             while (metrics().blocking_threads == 0 || metrics().blocking_queued != 0) co_await yield();
             handle.cancel();
             static_cast<void>(co_await attempt(std::move(handle)));
             EXPECT_TRUE(stopped);
           }));
}

TEST(ReadText, decodes_as_node_does) {
  temporary_directory here;
  put_file(here / "file", "caf\xc3\xa9 \xff|\xe2\x82");
  const auto path = here / "file";
  EXPECT_EQ(read_text(path).now(), "caf\xc3\xa9 \xef\xbf\xbd|\xef\xbf\xbd") << "what is no UTF-8 is U+FFFD";
  EXPECT_EQ(read_text(path, encoding::hex).now(), "636166c3a920ff7ce282");
  EXPECT_EQ(read_text(path, encoding::base64).now(), "Y2Fmw6kg/3zigg==");
  if (!testing::has_node()) GTEST_SKIP() << "there is no node";
  for (const auto& [name, as] : {std::pair("utf8", encoding::utf8), std::pair("hex", encoding::hex),
                                 std::pair("base64", encoding::base64), std::pair("latin1", encoding::latin1)}) {
    const auto script = "process.stdout.write(require('fs').readFileSync('" + path + "','" + name + "'))";
    EXPECT_EQ(read_text(path, as).now(), testing::output_of("node -e \"" + script + "\"")) << name;
  }
}

// C0-FS-04; C3-FS-04
TEST(WriteFile, makes_or_empties_the_file_first) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    co_await write_file(path, "a longer content");
    EXPECT_EQ(file_content(path), "a longer content");
    co_await write_file(path, "short");
    EXPECT_EQ(file_content(path), "short");
    co_await write_file(path, bytes(std::string_view("\0\xff", 2)));
    EXPECT_EQ(file_content(path), std::string("\0\xff", 2));
    co_await write_file(path, "");
    EXPECT_EQ(file_content(path), "");
    const std::string large(3 << 20, 'l');
    co_await write_file(path, large, {.flush = true});
    EXPECT_EQ(file_content(path), large);
  }(here / "file"));
}

TEST(WriteFile, takes_a_mode_and_permissions) {
  temporary_directory here;
  const auto before = ::umask(022);
  write_file(here / "secret", "x", {.permissions = 0600}).now();
  write_file(here / "plain", "x").now();
  ::umask(before);
  EXPECT_EQ(stat(here / "secret").now().permissions(), 0600U);
  EXPECT_EQ(stat(here / "plain").now().permissions(), 0644U);
  EXPECT_TRUE(write_file(here / "plain", "y", {.how = mode::write_new}).try_now().failure().is("EEXIST"));
  EXPECT_TRUE(write_file(here / "no", "y", {.how = mode::update}).try_now().failure().is("ENOENT"));
  write_file(here / "plain", "Y", {.how = mode::update}).now();
  write_file(here / "plain", "z", {.how = mode::append}).now();
  EXPECT_EQ(file_content(here / "plain"), "Yz");
}

TEST(WriteFile, tells_why_it_has_not_written) {
  EXPECT_EQ(write_file("/dev/full", "x", {.how = mode{O_WRONLY}}).try_now().failure().message(),
            "ENOSPC: no space left on device, write '/dev/full'");
}

// C0-FS-05; C3-FS-05
TEST(AppendFile, adds_at_the_end_and_makes_what_is_missing) {
  temporary_directory here;
  run_with(2, [](std::string path) -> task<> {
    co_await append_file(path, "one");
    co_await append_file(path, "two");
    co_await append_file(path, bytes("three"), {.flush = true});
    EXPECT_EQ(file_content(path), "onetwothree");
    EXPECT_TRUE((co_await attempt(append_file(path, "x", {.how = mode::append_new}))).failure().is("EEXIST"));
  }(here / "file"));
}

TEST(AppendFile, of_many_at_once_mixes_nothing) {
  temporary_directory here;
  constexpr std::size_t many = rounds(200);
  run_with(3, with_scope([&here](scope& s) -> task<> {
             for (std::size_t i = 0; i < many; ++i) {
               s.spawn(
                   [](std::string path, char letter) -> task<> {
                     const std::string line(99, letter);
                     co_await append_file(path, line + "\n");
                   },
                   here / "log", static_cast<char>('a' + i % 26));
             }
             co_return;
           }));
  const auto all = file_content(here / "log");
  ASSERT_EQ(all.size(), many * 100);
  for (std::size_t at = 0; at < all.size(); at += 100) ASSERT_EQ(all.substr(at, 99), std::string(99, all[at]));
}

TEST(WriteFile, cancelled_at_any_moment_has_written_all_or_says_so) {
  temporary_directory here;
  const std::string content(8 << 20, 'c');
  for (std::size_t turns = 0; turns < rounds(60); ++turns) {
    bool told = false;
    run_with(2, with_scope([&](scope& s) -> task<> {
               auto handle = s.spawn_local([&]() -> task<> {
                 auto outcome = co_await attempt(write_file(here / "file", content));
                 told = outcome.has_value();
                 if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled());
               });
               for (std::size_t i = 0; i < turns * 20; ++i) co_await yield();
               handle.cancel();
               static_cast<void>(co_await attempt(std::move(handle)));
             }));
    if (told) EXPECT_EQ(std::filesystem::file_size(here / "file"), content.size());
    std::filesystem::remove(here / "file");
  }
}

// ---- many files: C2-FR-01 to 05, C2-SYS-02, C3-FS-34, C3-FS-35

TEST(ReadingManyFiles, keeps_to_a_limit_and_to_the_order_and_isolates_failures) {
  temporary_directory here;
  std::vector<std::string> paths;
  for (int i = 0; i < 60; ++i) {
    paths.push_back(here / std::to_string(i));
    if (i % 10 != 3) put_file(paths.back(), "content of " + std::to_string(i));
  }
  paths.push_back(here.path());
  std::vector<result<std::string>> results(paths.size(), result<std::string>(std::string()));
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  sync::semaphore room(5);
  run_with(3, with_scope([&](scope& readers) -> task<> {
             for (std::size_t i = 0; i < paths.size(); ++i) {
               auto place = co_await room.acquire();
               readers.spawn(
                   [&](std::size_t index, sync::semaphore::permit) -> task<> {
                     const int now = ++inside;
                     for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
                     results[index] = co_await attempt(read_text(paths[index]));
                     --inside;
                   },
                   i, std::move(place));
             }
           }));
  EXPECT_LE(most, 5);
  EXPECT_GE(most, 1);
  for (std::size_t i = 0; i < 60; ++i) {
    if (i % 10 != 3) {
      EXPECT_EQ(results[i].value(), "content of " + std::to_string(i));
    } else {
      EXPECT_EQ(results[i].failure().message(), "ENOENT: no such file or directory, open '" + paths[i] + "'");
    }
  }
  EXPECT_TRUE(results.back().failure().is("EISDIR"));
}

// C0-FS-25: the first failure of several is the outcome, and every one of them has ended by then.
TEST(WritingManyFiles, fails_with_the_first_and_leaves_none_behind) {
  temporary_directory here;
  std::atomic<int> alive{0};
  auto write_one = [&alive](std::string path) -> task<> {
    ++alive;
    auto outcome = co_await attempt(write_file(path, "x"));
    --alive;
    if (!outcome) outcome.failure().rethrow();
  };
  run_with(2, [](auto& make, const temporary_directory& d) -> task<> {
    auto outcome = co_await attempt(all(make(d / "a"), make(d / "no/b"), make(d / "c")));
    EXPECT_TRUE(!outcome && outcome.failure().is("ENOENT"));
  }(write_one, here));
  EXPECT_EQ(alive, 0);
}

// C0-FS-22, C3-FS-31: emptied first, removed then.
TEST(EmptyingADirectory, removes_what_is_in_it_and_then_itself) {
  temporary_directory here;
  std::filesystem::create_directory(here / "d");
  for (int i = 0; i < 30; ++i) put_file(here / ("d/" + std::to_string(i)), "");
  run_with(2, [](std::string path) -> task<> {
    EXPECT_TRUE((co_await attempt(rmdir(path))).failure().is("ENOTEMPTY"));
    const auto entries = co_await read_entries(path);
    co_await with_scope([&](scope& s) -> task<> {
      for (const auto& each : entries) s.spawn([](std::string name) -> task<> { co_await unlink(name); }, each.path());
      co_return;
    });
    co_await rmdir(path);
  }(here / "d"));
  EXPECT_FALSE(std::filesystem::exists(here / "d"));
}

}  // namespace
}  // namespace weir::fs
