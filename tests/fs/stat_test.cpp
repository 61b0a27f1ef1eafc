#include <weir/fs/attributes.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/stat.hpp>
#include <weir/weir.hpp>

#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using testing::put_file;
using testing::run_with;
using testing::temporary_directory;

std::int64_t nanoseconds(time_point time) { return time.time_since_epoch().count(); }
std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

TEST(Stat, has_what_the_system_has) {
  temporary_directory here;
  put_file(here / "file", std::string(5000, 'x'));
  chmod(here / "file", 0640).now();
  struct ::stat known = {};
  ASSERT_EQ(::stat((here / "file").c_str(), &known), 0);
  run_with(2, [](std::string path, const struct ::stat& wanted) -> task<> {
    auto found = co_await stat(path);
    EXPECT_EQ(found.dev, wanted.st_dev);
    EXPECT_EQ(found.ino, wanted.st_ino);
    EXPECT_EQ(found.mode, wanted.st_mode);
    EXPECT_EQ(found.permissions(), 0640U);
    EXPECT_EQ(found.nlink, wanted.st_nlink);
    EXPECT_EQ(found.uid, wanted.st_uid);
    EXPECT_EQ(found.gid, wanted.st_gid);
    EXPECT_EQ(found.rdev, wanted.st_rdev);
    EXPECT_EQ(found.size, 5000U);
    EXPECT_EQ(found.blksize, wanted.st_blksize);
    EXPECT_EQ(found.blocks, static_cast<std::uint64_t>(wanted.st_blocks));
    EXPECT_EQ(nanoseconds(found.atime), nanoseconds(wanted.st_atim));
    EXPECT_EQ(nanoseconds(found.mtime), nanoseconds(wanted.st_mtim));
    EXPECT_EQ(nanoseconds(found.ctime), nanoseconds(wanted.st_ctim));
    EXPECT_TRUE(found.is_file());
  }(here / "file", known));
}

TEST(Stat, knows_when_a_file_was_made) {
  temporary_directory here;
  const auto before = std::chrono::system_clock::now() - 2s;  // the kernel's clock for files is a coarse one
  put_file(here / "file", "x");
  const auto made = stat(here / "file").now();
  EXPECT_GE(made.birthtime, before);
  utimes(here / "file", time_point(1s), time_point(2s)).now();
  put_file(here / "file", "y");
  const auto later = stat(here / "file").now();
  EXPECT_LE(later.birthtime, later.ctime);
  EXPECT_GE(later.birthtime, before) << "no matter what its other times are set to";
}

TEST(Stat, knows_the_kinds_of_files) {
  temporary_directory here;
  ASSERT_EQ(::mkfifo((here / "fifo").c_str(), 0600), 0);
  std::filesystem::create_symlink("fifo", here / "link");
  EXPECT_TRUE(stat(here.path()).now().is_directory());
  EXPECT_TRUE(stat(here / "fifo").now().is_fifo());
  EXPECT_TRUE(stat(here / "link").now().is_fifo());
  EXPECT_TRUE(lstat(here / "link").now().is_symbolic_link());
  EXPECT_FALSE(lstat(here / "link").now().is_file());
  EXPECT_TRUE(stat("/dev/null").now().is_character_device());
  EXPECT_EQ(stat("/dev/null").now().rdev, 0x103U);
  EXPECT_EQ(type_of_mode(S_IFBLK | 0600), file_type::block_device);
  EXPECT_EQ(type_of_mode(S_IFSOCK), file_type::socket);
  EXPECT_EQ(type_of_mode(0), file_type::unknown);
}

TEST(Stat, of_a_time_far_ahead_is_the_last_that_can_be_told) {
  temporary_directory here;
  put_file(here / "file", "x");
  const timespec year_2400[2] = {{13'569'465'600, 5}, {13'569'465'600, 5}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (here / "file").c_str(), year_2400, 0), 0);
  struct ::stat kept = {};
  ASSERT_EQ(::stat((here / "file").c_str(), &kept), 0);
  if (kept.st_mtim.tv_sec != year_2400[0].tv_sec) GTEST_SKIP() << "this file system does not keep it";
  EXPECT_EQ(stat(here / "file").now().mtime, time_point::max());
}

TEST(Stat, gives_milliseconds_with_a_fraction) {
  EXPECT_DOUBLE_EQ(milliseconds_of(time_point(1s + 500us)), 1000.5);
  EXPECT_DOUBLE_EQ(milliseconds_of(time_point(-1ms)), -1.0);
}

TEST(Stat, is_what_node_says) {
  if (!testing::has_node()) GTEST_SKIP() << "there is no node";
  temporary_directory here;
  put_file(here / "file", std::string(1234, 'x'));
  utimes(here / "file", time_point(1234567890s + 123456789ns), time_point(-1s + 5ns)).now();
  std::ostringstream ours;
  for (const auto& path : {here / "file", here.path(), std::string("/dev/null")}) {
    const auto s = stat(path).now();
    ours << s.dev << ' ' << s.ino << ' ' << s.mode << ' ' << s.nlink << ' ' << s.uid << ' ' << s.gid << ' ' << s.rdev
         << ' ' << s.size << ' ' << s.blksize << ' ' << s.blocks << ' ' << nanoseconds(s.mtime) << ' '
         << nanoseconds(s.ctime) << ' ' << nanoseconds(s.birthtime) << '\n';
  }
  const auto theirs = testing::output_of(
      "node -e \"for (const p of ['" + here / "file" + "','" + here.path() +
      "','/dev/null']) { const s = require('fs').statSync(p, {bigint: true}); console.log([s.dev, s.ino, s.mode, "
      "s.nlink, s.uid, s.gid, s.rdev, s.size, s.blksize, s.blocks, s.mtimeNs, s.ctimeNs, s.birthtimeNs].join(' ')) "
      "}\"");
  EXPECT_EQ(ours.str(), theirs);
}

TEST(Statfs, has_what_the_system_has) {
  struct ::statfs known = {};
  ASSERT_EQ(::statfs("/tmp", &known), 0);
  const auto found = run_with(1, []() -> task<filesystem_stat> { co_return co_await statfs("/tmp"); }());
  EXPECT_EQ(found.type, static_cast<std::uint64_t>(known.f_type));
  EXPECT_EQ(found.bsize, static_cast<std::uint64_t>(known.f_bsize));
  EXPECT_EQ(found.blocks, known.f_blocks);
  EXPECT_EQ(found.files, known.f_files);
  EXPECT_LE(found.bavail, found.bfree);
  EXPECT_LE(found.bfree, found.blocks);
}

TEST(Access, answers_for_what_is_asked) {
  temporary_directory here;
  put_file(here / "file", "x");
  chmod(here / "file", 0600).now();
  run_with(2, [](const temporary_directory& d) -> task<> {
    co_await access(d / "file");
    co_await access(d / "file", access_mode::read | access_mode::write);
    EXPECT_TRUE((co_await attempt(access(d / "file", access_mode::execute))).failure().is("EACCES"));
    EXPECT_TRUE((co_await attempt(access(d / "no"))).failure().is("ENOENT"));
  }(here));
}

TEST(Exists, is_false_where_it_cannot_tell) {
  temporary_directory here;
  std::filesystem::create_symlink("nowhere", here / "dangling");
  std::filesystem::create_symlink("loop", here / "loop");
  put_file(here / "file", "");
  EXPECT_TRUE(exists(here / "file").now());
  EXPECT_TRUE(exists(here.path()).now());
  EXPECT_FALSE(exists(here / "no").now());
  EXPECT_FALSE(exists(here / "dangling").now());
  EXPECT_FALSE(exists(here / "loop").now());
  EXPECT_FALSE(exists(here / "file/x").now());
  EXPECT_FALSE(exists("").now());
  EXPECT_FALSE(exists(std::string("/\0", 2)).now());
}

}  // namespace
}  // namespace weir::fs
