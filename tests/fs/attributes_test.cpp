#include <weir/fs/attributes.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/stat.hpp>
#include <weir/weir.hpp>

#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <string>

#include <sys/stat.h>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using testing::file_content;
using ::testing::Not;
using testing::put_file;
using testing::run_with;
using testing::temporary_directory;

constexpr time_point at(std::chrono::nanoseconds since) { return time_point(since); }

class Attributes : public ::testing::Test {
 protected:
  Attributes() {
    put_file(file, "content");
    std::filesystem::create_symlink("file", link);
  }

  temporary_directory here;
  const std::string file = here / "file";
  const std::string link = here / "link";
};

TEST_F(Attributes, permissions_are_all_twelve_bits) {
  for (std::uint32_t each : {0000U, 0400U, 0644U, 0755U, 0777U, 01777U, 04755U, 06711U}) {
    chmod(file, each).now();
    EXPECT_EQ(stat(file).now().permissions(), each);
  }
  chmod(file, 0100644).now();
  EXPECT_EQ(stat(file).now().permissions(), 0644U) << "as stat gives the mode, with the kind of file";
  EXPECT_TRUE(stat(file).now().is_file());
}

TEST_F(Attributes, permissions_of_a_link_are_those_of_the_file) {
  run_with(2, [](std::string path) -> task<> { co_await chmod(path, 0600); }(link));
  EXPECT_EQ(stat(file).now().permissions(), 0600U);
}

TEST_F(Attributes, owners_change_one_by_one) {
  const auto mine = stat(file).now();
  chown(file, same_owner, same_owner).now();
  EXPECT_EQ(stat(file).now().uid, mine.uid);
  chown(file, mine.uid, mine.gid).now();
  if (!testing::is_root()) GTEST_SKIP() << "only root gives files away";
  chown(file, 1234, same_owner).now();
  EXPECT_EQ(stat(file).now().uid, 1234U);
  EXPECT_EQ(stat(file).now().gid, mine.gid);
  chown(link, same_owner, 4321).now();
  EXPECT_EQ(stat(file).now().uid, 1234U);
  EXPECT_EQ(stat(file).now().gid, 4321U) << "through the link";
  EXPECT_EQ(lstat(link).now().gid, mine.gid);
  lchown(link, 77, 78).now();
  EXPECT_EQ(lstat(link).now().uid, 77U);
  EXPECT_EQ(lstat(link).now().gid, 78U);
  EXPECT_EQ(stat(file).now().uid, 1234U);
}

TEST_F(Attributes, times_keep_their_nanoseconds) {
  utimes(file, at(1'000'000'000s + 1ns), at(2'000'000'000s + 999'999'999ns)).now();
  EXPECT_EQ(stat(file).now().atime, at(1'000'000'000s + 1ns));
  EXPECT_EQ(stat(file).now().mtime, at(2'000'000'000s + 999'999'999ns));
}

TEST_F(Attributes, times_may_be_before_1970) {
  utimes(file, at(-1ns), at(-1'000'000s - 250ms)).now();
  EXPECT_EQ(stat(file).now().atime, at(-1ns));
  EXPECT_EQ(stat(file).now().mtime, at(-1'000'000s - 250ms));
}

TEST_F(Attributes, times_may_be_left_alone_or_be_the_present) {
  utimes(file, at(5s), at(6s)).now();
  utimes(file, file_time::same(), at(7s)).now();
  EXPECT_EQ(stat(file).now().atime, at(5s));
  EXPECT_EQ(stat(file).now().mtime, at(7s));
  utimes(file, at(8s), file_time::same()).now();
  EXPECT_EQ(stat(file).now().atime, at(8s));
  EXPECT_EQ(stat(file).now().mtime, at(7s));
  utimes(file, file_time::same(), file_time::now()).now();
  const auto made = stat(file).now();
  EXPECT_EQ(made.atime, at(8s));
  EXPECT_EQ(made.mtime, made.ctime) << "both are the moment of the call";
}

TEST_F(Attributes, times_come_from_any_clock_of_the_system) {
  utimes(file, std::chrono::sys_seconds(5s), std::chrono::sys_time<std::chrono::milliseconds>(1500ms)).now();
  EXPECT_EQ(stat(file).now().atime, at(5s));
  EXPECT_EQ(stat(file).now().mtime, at(1500ms));
}

TEST_F(Attributes, times_of_a_link_are_its_own) {
  utimes(file, at(1s), at(2s)).now();
  run_with(1, [](std::string path) -> task<> { co_await lutimes(path, at(10s), at(20s + 3ns)); }(link));
  EXPECT_EQ(lstat(link).now().mtime, at(20s + 3ns));
  EXPECT_EQ(stat(file).now().mtime, at(2s));
  utimes(link, at(3s), at(4s)).now();
  EXPECT_EQ(stat(file).now().mtime, at(4s));
  EXPECT_EQ(lstat(link).now().mtime, at(20s + 3ns));
}

TEST_F(Attributes, size_is_cut_or_grows_with_zeros) {
  run_with(2, [](std::string path) -> task<> {
    co_await truncate(path, 3);
    EXPECT_EQ(file_content(path), "con");
    co_await truncate(path, 5);
    EXPECT_EQ(file_content(path), std::string("con\0\0", 5));
    co_await truncate(path);
    EXPECT_EQ(file_content(path), "");
  }(file));
}

TEST_F(Attributes, size_may_be_beyond_four_gibibytes_without_taking_room) {
  truncate(file, (std::uint64_t{5} << 30) + 1).now();
  const auto made = stat(file).now();
  EXPECT_EQ(made.size, (std::uint64_t{5} << 30) + 1);
  EXPECT_LT(made.blocks, 100U);
}

TEST_F(Attributes, size_that_no_file_can_have_is_EFBIG) {
  EXPECT_EQ(truncate(file, std::numeric_limits<std::uint64_t>::max()).try_now().failure().message(),
            "EFBIG: file too large, ftruncate '" + file + "'");
  EXPECT_EQ(file_content(file), "content");
}

TEST_F(Attributes, size_of_what_is_no_file_is_EINVAL) {
  ASSERT_EQ(::mkfifo((here / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(truncate(here / "fifo", 0).try_now().failure().is("EINVAL"));
  EXPECT_TRUE(truncate("/dev/null", 0).try_now().failure().is("EINVAL"));
}

class ExtendedAttributes : public Attributes {
 protected:
  void SetUp() override {
    auto outcome = set_xattr(file, "user.probe", "x").try_now();
    if (!outcome) GTEST_SKIP() << outcome.failure().message();
    remove_xattr(file, "user.probe").now();
  }
};

TEST_F(ExtendedAttributes, are_set_read_listed_and_removed) {
  run_with(2, [](std::string path) -> task<> {
    co_await set_xattr(path, "user.a", std::string("one\0two", 7));
    co_await set_xattr(path, "user.empty", "");
    EXPECT_EQ((co_await get_xattr(path, "user.a")).to_string(), std::string("one\0two", 7));
    EXPECT_EQ((co_await get_xattr(path, "user.empty")).size(), 0U);
    auto names = co_await list_xattrs(path);
    EXPECT_THAT(names, Contains("user.a"));
    EXPECT_THAT(names, Contains("user.empty"));
    co_await remove_xattr(path, "user.a");
    EXPECT_THAT(co_await list_xattrs(path), Not(Contains("user.a")));
  }(file));
}

TEST_F(ExtendedAttributes, are_bytes_of_some_size) {
  std::string value;
  for (int i = 0; i < 3000; ++i) value += static_cast<char>(i);
  set_xattr(file, "user.big", std::as_bytes(std::span(value))).now();
  EXPECT_EQ(get_xattr(file, "user.big").now().to_string(encoding::latin1),
            buffer::copy_of(std::as_bytes(std::span(value))).to_string(encoding::latin1));
}

TEST_F(ExtendedAttributes, that_are_not_there_say_so) {
  EXPECT_EQ(get_xattr(file, "user.none").try_now().failure().message(),
            "ENODATA: no data available, getxattr '" + file + "'");
  EXPECT_TRUE(remove_xattr(file, "user.none").try_now().failure().is("ENODATA"));
  EXPECT_TRUE(set_xattr(file, "user.none", "x", {.replace = true}).try_now().failure().is("ENODATA"));
  EXPECT_TRUE(get_xattr(here / "no", "user.a").try_now().failure().is("ENOENT"));
  EXPECT_TRUE(list_xattrs(here / "no").try_now().failure().is("ENOENT"));
}

TEST_F(ExtendedAttributes, are_made_or_replaced_only_where_that_is_wanted) {
  set_xattr(file, "user.a", "1", {.create = true}).now();
  EXPECT_TRUE(set_xattr(file, "user.a", "2", {.create = true}).try_now().failure().is("EEXIST"));
  EXPECT_EQ(get_xattr(file, "user.a").now().to_string(), "1");
  set_xattr(file, "user.a", "3", {.replace = true}).now();
  EXPECT_EQ(get_xattr(file, "user.a").now().to_string(), "3");
}

TEST_F(ExtendedAttributes, refuse_names_that_are_none) {
  EXPECT_TRUE(set_xattr(file, "no-namespace", "x").try_now().failure().is("ENOTSUP"));
  EXPECT_TRUE(get_xattr(file, std::string("user.a\0b", 8)).try_now().failure().is("ERR_INVALID_ARG_VALUE"));
  EXPECT_TRUE(get_xattr(file, "user." + std::string(300, 'x')).try_now().failure().is("ERANGE"));
}

TEST_F(ExtendedAttributes, of_a_link_are_not_those_of_the_file) {
  set_xattr(link, "user.a", "through").now();
  EXPECT_EQ(get_xattr(file, "user.a").now().to_string(), "through");
  EXPECT_THAT(list_xattrs(link, {.follow = false}).now(), Not(Contains("user.a")));
  EXPECT_FALSE(get_xattr(link, "user.a", {.follow = false}).try_now());
}

}  // namespace
}  // namespace weir::fs
