#include <weir/fs/entry.hpp>
#include <weir/fs/stat.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace weir::fs {
namespace {

using testing::file_content;
using testing::put_file;
using testing::rounds;
using testing::run_with;
using testing::temporary_directory;
using testing::working_directory;

TEST(Rename, moves_a_file_and_takes_the_place_of_another) {
  temporary_directory here;
  put_file(here / "a", "new");
  put_file(here / "b", "old");
  const auto before = stat(here / "a").now();
  run_with(2, [](const temporary_directory& d) -> task<> { co_await rename(d / "a", d / "b"); }(here));
  EXPECT_EQ(file_content(here / "b"), "new");
  EXPECT_FALSE(exists(here / "a").now());
  EXPECT_EQ(stat(here / "b").now().ino, before.ino);
}

TEST(Rename, moves_a_directory_over_an_empty_one) {
  temporary_directory here;
  std::filesystem::create_directories(here / "a/in");
  std::filesystem::create_directory(here / "b");
  rename(here / "a", here / "b").now();
  EXPECT_TRUE(std::filesystem::is_directory(here / "b/in"));
}

TEST(Rename, shows_others_the_old_file_or_the_new_one) {
  temporary_directory here;
  put_file(here / "current", "0");
  run_with(3, with_scope([&](scope& s) -> task<> {
             std::atomic<bool> over{false};
             s.spawn([&]() -> task<> {
               for (std::size_t i = 1; i < rounds(300); ++i) {
                 put_file(here / "next", std::to_string(i));
                 co_await rename(here / "next", here / "current");
               }
               over = true;
             });
             while (!over) {
               EXPECT_TRUE(co_await exists(here / "current"));
               co_await yield();
             }
           }));
}

TEST(Unlink, removes_a_name_and_leaves_what_is_open) {
  temporary_directory here;
  put_file(here / "a", "still here");
  const int fd = ::open((here / "a").c_str(), O_RDONLY | O_CLOEXEC);
  run_with(1, [](std::string path) -> task<> { co_await unlink(path); }(here / "a"));
  EXPECT_FALSE(std::filesystem::exists(here / "a"));
  char content[16] = {};
  EXPECT_EQ(::read(fd, content, sizeof content), 10);
  ::close(fd);
}

TEST(Unlink, removes_a_link_and_not_what_it_leads_to) {
  temporary_directory here;
  std::filesystem::create_directory(here / "d");
  std::filesystem::create_directory_symlink("d", here / "link");
  unlink(here / "link").now();
  EXPECT_TRUE(std::filesystem::is_directory(here / "d"));
  EXPECT_FALSE(std::filesystem::is_symlink(std::filesystem::symlink_status(here / "link")));
}

// What the seeds ask for with it: whether there was something to remove, and nothing else swallowed.
TEST(Unlink, tells_what_was_not_there_from_what_cannot_be_removed) {
  temporary_directory here;
  EXPECT_TRUE(unlink(here / "a").try_now().failure().is("ENOENT"));
  EXPECT_TRUE(unlink(here.path()).try_now().failure().is("EISDIR"));
}

TEST(Link, gives_a_file_another_name) {
  temporary_directory here;
  put_file(here / "a", "x");
  link(here / "a", here / "b").now();
  EXPECT_EQ(stat(here / "a").now().nlink, 2U);
  EXPECT_EQ(stat(here / "a").now().ino, stat(here / "b").now().ino);
}

TEST(Link, of_a_symbolic_link_is_the_link_itself) {
  temporary_directory here;
  symlink("nowhere", here / "a").now();
  link(here / "a", here / "b").now();
  EXPECT_EQ(readlink(here / "b").now(), "nowhere");
}

TEST(Symlink, keeps_its_target_as_it_was_written) {
  temporary_directory here;
  const std::string targets[] = {"file", "../up", "/abs/olute", "no//t/./normal/", std::string(4000, 'l'), "\xff"};
  for (const auto& each : targets) {
    symlink(each, here / "link").now();
    EXPECT_EQ(readlink(here / "link").now(), each);
    unlink(here / "link").now();
  }
}

TEST(Symlink, of_exactly_the_room_that_is_tried_first_is_read_whole) {
  temporary_directory here;
  for (std::size_t size : {255U, 256U, 257U, 511U, 512U, 513U, 1024U, 4095U}) {
    const std::string target(size, 't');
    symlink(target, here / "link").now();
    EXPECT_EQ(readlink(here / "link").now(), target) << size;
    unlink(here / "link").now();
  }
}

TEST(Readlink, reads_those_of_proc_whose_size_is_a_lie) {
  const auto self = readlink("/proc/self").now();
  EXPECT_EQ(self, std::to_string(::getpid()));
  EXPECT_FALSE(readlink("/proc/self/exe").now().empty());
}

TEST(Realpath, has_no_links_and_no_dots) {
  temporary_directory here;
  const auto real = std::filesystem::canonical(here.path()).string();
  working_directory in(here.path());
  std::filesystem::create_directories("a/b");
  put_file("a/b/file", "");
  symlink("a/b", "short").now();
  symlink("short", "shorter").now();
  EXPECT_EQ(realpath("shorter/file").now(), real + "/a/b/file");
  EXPECT_EQ(realpath("a/.//b/../b/./file").now(), real + "/a/b/file");
  EXPECT_EQ(realpath(".").now(), real);
  EXPECT_EQ(realpath("shorter/..").now(), real + "/a") << "of where the link leads";
  EXPECT_EQ(realpath("/").now(), "/");
  EXPECT_TRUE(realpath("").try_now().failure().is("ENOENT"));
}

TEST(Entries, of_one_directory_are_changed_by_many_at_once) {
  temporary_directory here;
  run_with(3, with_scope([&here](scope& s) -> task<> {
             for (std::size_t i = 0; i < rounds(100); ++i) {
               s.spawn(
                   [](std::string path) -> task<> {
                     co_await symlink("target", path);
                     co_await rename(path, path + "-");
                     EXPECT_EQ(co_await readlink(path + "-"), "target");
                     co_await link(path + "-", path);
                     co_await unlink(path + "-");
                     co_await unlink(path);
                   },
                   here / std::to_string(i));
             }
             co_return;
           }));
  EXPECT_TRUE(std::filesystem::is_empty(here.path()));
}

}  // namespace
}  // namespace weir::fs
