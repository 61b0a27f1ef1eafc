// What fs/remove promises: what it removes and never removes, what it says when it cannot, and that nobody who changes
// the tree meanwhile can turn it against other files.
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/remove.hpp>

#include <tests/support/concurrency.hpp>
#include <tests/support/file_tree.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::as_nobody;
using ::testing::ElementsAre;
using testing::file_tree;
using testing::open_descriptors;
using testing::rounds;
using testing::run_with;

task<> remove_it(std::string path, fs::remove_options options) { co_await fs::rm(std::move(path), options); }

error failure_of(const result<void>& outcome) {
  if (outcome) throw std::runtime_error("it did not fail");
  return outcome.error();
}

/// The process may open no more files while this is there.
class no_more_files {
 public:
  no_more_files() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    auto none = before_;
    none.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  no_more_files(const no_more_files&) = delete;
  no_more_files& operator=(const no_more_files&) = delete;
  ~no_more_files() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

TEST(Remove, removes_a_file_and_a_link_but_not_what_the_link_leads_to) {
  file_tree tree;
  tree.write("file");
  tree.write("kept/file");
  tree.link("kept", "link");
  fs::rm(tree("file")).now();
  fs::rm(tree("link"), {.recursive = true}).now();
  EXPECT_FALSE(tree.has("file"));
  EXPECT_FALSE(tree.has("link"));
  EXPECT_TRUE(tree.has("kept/file"));
}

TEST(Remove, says_that_there_is_nothing_unless_it_is_forced) {
  file_tree tree;
  tree.write("file");
  EXPECT_EQ(failure_of(fs::rm(tree("none")).try_now()).message(),
            "ENOENT: no such file or directory, lstat '" + tree("none") + "'");
  EXPECT_TRUE(fs::rm(tree("none"), {.force = true}).try_now());
  auto inside = failure_of(fs::rm(tree("file/x"), {.force = true}).try_now());
  EXPECT_EQ(inside.message(), "ENOTDIR: not a directory, lstat '" + tree("file/x") + "'");
  EXPECT_EQ(failure_of(fs::rm(std::string("a\0b", 3)).try_now()).code_name(), "ERR_INVALID_ARG_VALUE");
}

TEST(Remove, refuses_a_directory_without_recursive) {
  file_tree tree;
  tree.make_directory("d");
  for (bool force : {false, true}) {
    auto why = failure_of(fs::rm(tree("d"), {.force = force}).try_now());
    EXPECT_EQ(why.code_name(), "ERR_FS_EISDIR");
    EXPECT_EQ(why.message(), "Path is a directory: rm returned EISDIR (is a directory) " + tree("d"));
    EXPECT_EQ(why.syscall(), "rm");
    EXPECT_EQ(why.path(), tree("d"));
  }
  EXPECT_TRUE(tree.has("d"));
}

TEST(Remove, removes_a_tree) {
  for (unsigned threads : {1U, 2U, 4U}) {
    file_tree tree;
    for (int i = 0; i < 400; ++i)
      tree.write("d/" + std::to_string(i % 20) + "/" + std::to_string(i % 3) + "/" + std::to_string(i));
    tree.link("nowhere", "d/1/link");
    ASSERT_EQ(::mkfifo(tree("d/2/pipe").c_str(), 0600), 0);
    const auto before = open_descriptors();
    fs::rm(tree("d"), {.recursive = true, .threads = threads}).now();
    EXPECT_FALSE(tree.has("d"));
    EXPECT_EQ(open_descriptors(), before);
  }
}

TEST(Remove, removes_a_link_whose_name_ends_in_a_slash_and_not_the_directory) {
  file_tree tree;
  tree.write("kept/file");
  tree.link("kept", "link");
  fs::rm(tree("link//"), {.recursive = true}).now();
  EXPECT_FALSE(tree.has("link"));
  EXPECT_TRUE(tree.has("kept/file"));
  fs::rm(tree("kept/"), {.recursive = true}).now();
  EXPECT_FALSE(tree.has("kept"));
}

TEST(Remove, refuses_dots_before_anything_is_lost) {
  file_tree tree;
  tree.write("d/e/file");
  for (auto name : {"d/.", "d/e/..", "d/./"}) {
    auto why = failure_of(fs::rm(tree(name), {.recursive = true, .force = true}).try_now());
    EXPECT_EQ(why.code_name(), "EINVAL") << name;
  }
  EXPECT_TRUE(tree.has("d/e/file"));
}

TEST(Remove, removes_a_tree_of_any_depth) {
  file_tree tree;
  const std::string name(60, 'n');
  int at = ::open(tree.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_EQ(::mkdirat(at, "d", 0700), 0);
  int below = ::openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 250; ++i) {
    ::close(std::exchange(at, below));
    ::close(::openat(at, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ASSERT_EQ(::mkdirat(at, "side", 0700), 0);
    ASSERT_EQ(::mkdirat(at, name.c_str(), 0700), 0);
    below = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ::close(at);
  ::close(below);
  rlimit before;  // NOLINT: the system fills it in
  ::getrlimit(RLIMIT_NOFILE, &before);
  auto few = before;
  few.rlim_cur = open_descriptors() + 100;  // far less than there are levels
  ::setrlimit(RLIMIT_NOFILE, &few);
  auto outcome = fs::rm(tree("d"), {.recursive = true}).try_now();
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(outcome) << outcome.failure().message();
  EXPECT_FALSE(tree.has("d"));
}

TEST(Remove, tells_what_it_could_not_remove) {
  file_tree tree;
  tree.write("d/shut/file");
  ASSERT_EQ(::chmod(tree.root().c_str(), 0755), 0);
  as_nobody([&] {
    auto why = failure_of(fs::rm(tree("d"), {.recursive = true, .force = true}).try_now());
    EXPECT_EQ(why.message(), "EACCES: permission denied, unlink '" + tree("d/shut/file") + "'");
  });
  EXPECT_TRUE(tree.has("d/shut/file"));
}

TEST(Remove, begins_again_as_often_as_it_is_told_and_waits_longer_each_time) {
  file_tree tree;
  tree.write("d/file");
  result<void> outcome;
  const auto begin = std::chrono::steady_clock::now();
  {
    no_more_files block;
    outcome = fs::rm(tree("d"), {.recursive = true, .max_retries = 3, .retry_delay = 5ms}).try_now();
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);  // 5 + 10 + 15
  EXPECT_EQ(failure_of(outcome).message(), "EMFILE: too many open files, scandir '" + tree("d") + "'");
  EXPECT_TRUE(tree.has("d/file"));
}

TEST(Remove, succeeds_once_what_was_in_the_way_has_gone) {
  file_tree tree;
  tree.write("d/file");
  std::optional<no_more_files> block;
  std::atomic<bool> started{false};
  std::atomic<bool> blocked{false};
  std::thread other([&] {
    started = true;
    testing::hold_until([&] { return blocked.load(); });
    block.reset();
  });
  testing::hold_until([&] { return started.load(); });
  block.emplace();
  blocked = true;
  auto outcome = fs::rm(tree("d"), {.recursive = true, .max_retries = 10'000, .retry_delay = 0ms}).try_now();
  other.join();
  EXPECT_TRUE(outcome);
  EXPECT_FALSE(tree.has("d"));
}

TEST(Remove, does_not_remove_a_mount_point_until_it_is_none_any_more) {
  file_tree tree;
  tree.write("d/mount/below");
  bool possible = true;
  const bool fine = testing::in_child(
      [&] {
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", tree("d/mount").c_str(), "tmpfs", 0, "size=64k") != 0) {
          std::_Exit(testing::not_possible);
        }
        auto outcome = fs::rm(tree("d"), {.recursive = true, .max_retries = 2, .retry_delay = 1ms}).try_now();
        EXPECT_EQ(failure_of(outcome).message(), "EBUSY: resource busy or locked, rmdir '" + tree("d/mount") + "'");
        std::thread other([&] { ::umount2(tree("d/mount").c_str(), MNT_DETACH); });
        EXPECT_TRUE(fs::rm(tree("d"), {.recursive = true, .max_retries = 10'000, .retry_delay = 1ms}).try_now());
        other.join();
        EXPECT_FALSE(tree.has("d"));
      },
      &possible);
  if (!possible) GTEST_SKIP() << "this process may not mount";
  EXPECT_TRUE(fine);
}

// Who fills it stops when it has gone.
TEST(Remove, removes_a_directory_that_somebody_keeps_filling_if_it_may_try_often_enough) {
  for (std::size_t round = 0; round < rounds(20, 3); ++round) {
    file_tree tree;
    tree.write("d/first");
    std::atomic<int> made{0};
    std::thread other([&] {
      for (; made < 2000; ++made) {
        std::ofstream file(tree("d/" + std::to_string(made)));
        if (!file) break;
      }
    });
    testing::hold_until([&] { return made > 10; });
    EXPECT_TRUE(fs::rm(tree("d"), {.recursive = true, .max_retries = 10'000, .retry_delay = 0ms}).try_now());
    other.join();
    EXPECT_FALSE(tree.has("d"));
  }
}

TEST(Remove, stops_waiting_for_a_retry_when_it_is_cancelled) {
  file_tree tree;
  tree.write("d/file");
  run_with(1, with_scope([&](scope& s) -> task<> {
             no_more_files none;
             auto handle = s.spawn(remove_it, tree("d"),
                                   fs::remove_options{.recursive = true, .max_retries = 1000, .retry_delay = 1h});
             for (int i = 0; i < 100; ++i) co_await yield();
             handle.cancel();
             auto outcome = co_await attempt(std::move(handle));
             EXPECT_FALSE(outcome);
             EXPECT_TRUE(outcome.failure().is_cancelled());
           }));
  EXPECT_TRUE(tree.has("d/file"));
}

TEST(Remove, does_not_begin_if_it_is_cancelled_in_the_queue) {
  file_tree tree;
  tree.write("d/file");
  run_with(1, with_scope([&](scope& s) -> task<> {
             s.cancel();
             EXPECT_TRUE((co_await attempt(fs::rm(tree("d"), {.recursive = true}))).failure().is_cancelled());
           }));
  EXPECT_TRUE(tree.has("d/file"));
}

TEST(Remove, leaves_a_tree_that_it_was_cancelled_in_or_none) {
  for (std::size_t round = 0; round < rounds(12, 3); ++round) {
    file_tree tree;
    for (int i = 0; i < 60; ++i) tree.write("d/" + std::to_string(i % 20) + "/" + std::to_string(i));
    run_with(1, with_scope([&](scope& s) -> task<> {
               auto handle = s.spawn_local(remove_it, tree("d"), fs::remove_options{.recursive = true});
               for (std::size_t i = 0; i < 3 * round; ++i) co_await yield();
               handle.cancel();
               auto outcome = co_await attempt(std::move(handle));
               if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled());
               EXPECT_EQ(tree.has("d"), !outcome);
             }));
  }
}

TEST(Remove, lets_several_remove_the_same_tree) {
  file_tree tree;
  for (int i = 0; i < 600; ++i) tree.write("d/" + std::to_string(i % 30) + "/" + std::to_string(i));
  run_with(2, with_scope([&](scope& s) -> task<> {
             for (int i = 0; i < 4; ++i)
               s.spawn(remove_it, tree("d"), fs::remove_options{.recursive = true, .force = true});
             co_return;
           }));
  EXPECT_FALSE(tree.has("d"));
}

// Whoever may write to the tree swaps directories for links while they are being removed.
TEST(Remove, never_follows_a_link_that_takes_the_place_of_a_directory) {
  file_tree tree;
  for (int i = 0; i < 20; ++i) tree.write("precious/" + std::to_string(i));
  for (std::size_t round = 0; round < rounds(10, 3); ++round) {
    for (int i = 0; i < 10; ++i)
      for (int n = 0; n < 10; ++n) tree.write("d/" + std::to_string(i) + "/" + std::to_string(n));
    std::atomic<bool> over{false};
    std::thread swapper([&] {
      for (int n = 0; !over; ++n) {
        const auto victim = tree("d/" + std::to_string(n % 10));
        ::rename(victim.c_str(), tree("aside" + std::to_string(n)).c_str());
        if (::symlink(tree("precious").c_str(), victim.c_str()) != 0) std::this_thread::yield();
      }
    });
    static_cast<void>(fs::rm(tree("d"), {.recursive = true, .force = true}).try_now());
    over = true;
    swapper.join();
    fs::rm(tree("d"), {.recursive = true, .force = true}).now();
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(tree.has("precious/" + std::to_string(i)));
    static_cast<void>(std::system(("rm -rf " + tree("aside*")).c_str()));
  }
}

// C0-FS-22.
TEST(Remove, empties_a_directory_and_keeps_it) {
  file_tree tree;
  tree.write("d/a/file");
  tree.write("d/file");
  tree.write("kept/file");
  tree.link("../kept", "d/link");
  tree.link("kept", "outer");
  fs::empty_directory(tree("d")).now();
  EXPECT_TRUE(tree.has("d"));
  EXPECT_TRUE(std::filesystem::is_empty(tree("d")));
  EXPECT_TRUE(tree.has("kept/file"));
  EXPECT_EQ(failure_of(fs::empty_directory(tree("outer")).try_now()).code_name(), "ENOTDIR");
  EXPECT_EQ(failure_of(fs::empty_directory(tree("none")).try_now()).code_name(), "ENOENT");
  EXPECT_TRUE(fs::empty_directory(tree("none"), {.force = true}).try_now());
}

/// Dates a file back.
void make_older(const std::string& path, std::chrono::seconds by) {
  struct stat found;  // NOLINT: the system fills it in
  ASSERT_EQ(::lstat(path.c_str(), &found), 0);
  timespec times[2] = {found.st_atim, found.st_mtim};
  times[1].tv_sec -= by.count();
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

// C0-FS-29: there a subdirectory ends the sweep.
TEST(Sweep, removes_what_is_old_and_passes_over_directories) {
  file_tree tree;
  tree.write("d/young");
  tree.write("d/old", "12345");
  tree.write("d/sub/old");
  tree.write("target");
  tree.link("../target", "d/link");
  for (auto name : {"d/old", "d/sub/old", "d/link", "d/sub"}) make_older(tree(name), 48h);
  auto done = fs::remove_older(tree("d"), 24h).now();
  EXPECT_EQ(done.removed, 2U);
  EXPECT_EQ(done.bytes, 5U + std::string("../target").size());
  EXPECT_EQ(done.kept, 2U);
  EXPECT_EQ(done.skipped, 0U);
  EXPECT_FALSE(tree.has("d/old"));
  EXPECT_FALSE(tree.has("d/link"));
  EXPECT_TRUE(tree.has("target"));
  EXPECT_TRUE(tree.has("d/young"));
  EXPECT_TRUE(tree.has("d/sub/old"));
}

TEST(Sweep, looks_into_directories_if_it_is_told_to) {
  file_tree tree;
  for (auto name : {"d/a/b/old", "d/c/old", "d/c/young"}) tree.write(name);
  for (auto name : {"d/a/b/old", "d/c/old", "d/a/b", "d/a", "d/c"}) make_older(tree(name), 48h);
  auto done = fs::remove_older(tree("d"), 24h, {.recursive = true}).now();
  EXPECT_EQ(done.removed, 4U);  // two files, and "d/a" with "b"
  EXPECT_FALSE(tree.has("d/a"));
  EXPECT_TRUE(tree.has("d/c/young"));
}

TEST(Sweep, goes_by_the_clock_that_it_is_given) {
  file_tree tree;
  tree.write("d/file");
  auto now = std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
  EXPECT_EQ(fs::remove_older(tree("d"), 24h, {.now = now + 23h}).now().removed, 0U);
  EXPECT_EQ(fs::remove_older(tree("d"), 24h, {.now = now + 25h}).now().removed, 1U);
}

TEST(Sweep, has_nothing_to_do_where_there_is_no_directory) {
  file_tree tree;
  tree.write("file");
  EXPECT_EQ(fs::remove_older(tree("none"), 1h).now().removed, 0U);
  auto why = fs::remove_older(tree("file"), 1h).try_now();
  ASSERT_FALSE(why);
  EXPECT_EQ(why.failure().message(), "ENOTDIR: not a directory, scandir '" + tree("file") + "'");
}

// C0-FS-29: there somebody who removes the same file ends the sweep.
TEST(Sweep, shares_the_work_with_others) {
  file_tree tree;
  constexpr std::size_t count = 500;
  for (std::size_t i = 0; i < count; ++i) tree.write("d/" + std::to_string(i));
  std::atomic<std::size_t> removed{0};
  std::atomic<std::size_t> skipped{0};
  auto sweep = [&](std::string where) -> task<> {
    auto now = std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
    auto done = co_await fs::remove_older(std::move(where), 1h, {.now = now + 2h});
    removed += done.removed;
    skipped += done.skipped;
  };
  run_with(2, with_scope([&](scope& s) -> task<> {
             for (int i = 0; i < 4; ++i) s.spawn(sweep, tree("d"));
             co_return;
           }));
  EXPECT_EQ(removed, count);
  EXPECT_EQ(skipped, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(tree("d")));
}

TEST(Sweep, goes_on_after_what_it_may_not_remove) {
  file_tree tree;
  tree.write("d/1");
  tree.write("d/2");
  for (auto name : {"d/1", "d/2"}) make_older(tree(name), 48h);
  ASSERT_EQ(::chmod(tree.root().c_str(), 0755), 0);
  as_nobody([&] {
    if (::access(tree("d").c_str(), W_OK) == 0) ASSERT_EQ(::chmod(tree("d").c_str(), 0555), 0);
    std::vector<std::string> told;
    auto done =
        fs::remove_older(tree("d"), 1h, {.on_skipped = [&](const error& why) { told.emplace_back(why.code_name()); }})
            .now();
    EXPECT_EQ(done.removed, 0U);
    EXPECT_EQ(done.skipped, 2U);
    EXPECT_THAT(told, ElementsAre("EACCES", "EACCES"));
  });
  ASSERT_EQ(::chmod(tree("d").c_str(), 0755), 0);
}

}  // namespace
}  // namespace weir
