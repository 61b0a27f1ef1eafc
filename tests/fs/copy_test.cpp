// What fs/copy promises: the same content, nothing half copied, and Node's answers where there is nothing to copy.
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/copy.hpp>

#include <tests/support/concurrency.hpp>
#include <tests/support/file_tree.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>
#include <stdexcept>

namespace weir {
namespace {

using ::testing::ElementsAre;
using testing::file_tree;
using testing::open_descriptors;
using testing::run_with;

template <class T>
error failure_of(const result<T>& outcome) {
  if (outcome) throw std::runtime_error("it did not fail");
  return outcome.error();
}

/// Bytes that repeat nowhere near.
std::string noise(std::size_t size) {
  std::string made(size, '\0');
  std::uint32_t state = 12345;
  for (auto& c : made) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return made;
}

struct stat stat_of(const std::string& path) {
  struct stat found;  // NOLINT: the system fills it in
  if (::lstat(path.c_str(), &found) != 0) throw std::system_error(errno, std::generic_category(), path);
  return found;
}

task<> copy_it(std::string src, std::string dest, fs::copy_options options) {
  co_await fs::copy_file(std::move(src), std::move(dest), std::move(options));
}

TEST(CopyFile, copies_content_and_permissions) {
  file_tree tree;
  const auto content = noise(300'000);
  tree.write("from", content);
  ASSERT_EQ(::chmod(tree("from").c_str(), 04751), 0);
  const auto before = open_descriptors();
  run_with(1, copy_it(tree("from"), tree("to"), {}));
  EXPECT_EQ(tree.read("to"), content);
  EXPECT_EQ(stat_of(tree("to")).st_mode & 07777, 0751U);  // and nobody's identity
  EXPECT_EQ(open_descriptors(), before);
}

TEST(CopyFile, replaces_the_content_of_what_is_there) {
  file_tree tree;
  tree.write("from", "short");
  tree.write("to", noise(100'000));
  const auto inode = stat_of(tree("to")).st_ino;
  fs::copy_file(tree("from"), tree("to")).now();
  EXPECT_EQ(tree.read("to"), "short");
  EXPECT_EQ(stat_of(tree("to")).st_ino, inode);
}

TEST(CopyFile, refuses_to_replace_if_it_is_to_be_exclusive) {
  file_tree tree;
  tree.write("from", "new");
  tree.write("to", "old");
  auto why = failure_of(fs::copy_file(tree("from"), tree("to"), {.exclusive = true}).try_now());
  EXPECT_EQ(why.message(), "EEXIST: file already exists, copyfile '" + tree("from") + "' -> '" + tree("to") + "'");
  EXPECT_EQ(tree.read("to"), "old");
  fs::copy_file(tree("from"), tree("fresh"), {.exclusive = true}).now();
  EXPECT_EQ(tree.read("fresh"), "new");
}

TEST(CopyFile, does_nothing_to_a_file_that_is_copied_onto_itself) {
  file_tree tree;
  tree.write("file", "content");
  tree.link("file", "link");
  fs::copy_file(tree("file"), tree("file")).now();
  fs::copy_file(tree("link"), tree("file")).now();
  EXPECT_EQ(tree.read("file"), "content");
}

TEST(CopyFile, answers_as_node_does_where_there_is_nothing_to_copy) {
  file_tree tree;
  tree.write("file", "content");
  tree.make_directory("d");
  auto text = [&](std::string what, std::string_view from, std::string_view to) {
    return what + ", copyfile '" + tree(from) + "' -> '" + tree(to) + "'";
  };
  auto says = [&](std::string_view from, std::string_view to) {
    return std::string(failure_of(fs::copy_file(tree(from), tree(to)).try_now()).message());
  };
  EXPECT_EQ(says("none", "to"), text("ENOENT: no such file or directory", "none", "to"));
  EXPECT_EQ(says("d", "to"), text("EISDIR: illegal operation on a directory", "d", "to"));
  EXPECT_EQ(says("file", "d"), text("EISDIR: illegal operation on a directory", "file", "d"));
  EXPECT_EQ(says("file", "none/to"), text("ENOENT: no such file or directory", "file", "none/to"));
  EXPECT_EQ(says("file", "file/to"), text("ENOTDIR: not a directory", "file", "file/to"));
  EXPECT_FALSE(tree.has("to"));
  const std::string nul("a\0b", 3);
  EXPECT_EQ(failure_of(fs::copy_file(nul, tree("to")).try_now()).code_name(), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(failure_of(fs::copy_file(tree("file"), nul).try_now()).code_name(), "ERR_INVALID_ARG_VALUE");
}

TEST(CopyFile, makes_a_shared_copy_or_says_that_it_cannot) {
  file_tree tree;
  tree.write("from", noise(100'000));
  auto outcome = fs::copy_file(tree("from"), tree("to"), {.clone = fs::clone_mode::always}).try_now();
  if (outcome) {
    EXPECT_EQ(tree.read("to"), tree.read("from"));
  } else {
    EXPECT_EQ(outcome.failure().code_name(), "ENOTSUP");
    EXPECT_FALSE(tree.has("to"));
  }
}

TEST(CopyFile, keeps_holes) {
  file_tree tree;
  constexpr off_t size = 16 << 20;
  const int fd = ::open(tree("from").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(::ftruncate(fd, size), 0);
  const auto island = noise(10'000);
  for (off_t at : {off_t{5} << 20, off_t{11} << 20}) ASSERT_EQ(::pwrite(fd, island.data(), island.size(), at), 10'000);
  ::close(fd);
  for (auto how : {fs::clone_mode::automatic, fs::clone_mode::never}) {
    fs::copy_file(tree("from"), tree("to"), {.clone = how}).now();
    auto made = stat_of(tree("to"));
    EXPECT_EQ(made.st_size, size);
    EXPECT_LT(made.st_blocks * 512, 1 << 20);
    EXPECT_TRUE(tree.read("to") == tree.read("from"));
  }
}

TEST(CopyFile, copies_what_has_no_size) {
  file_tree tree;
  fs::copy_file("/proc/self/status", tree("to")).now();
  EXPECT_THAT(tree.read("to"), ::testing::HasSubstr("VmRSS"));
}

TEST(CopyFile, copies_between_file_systems) {
  if (::access("/dev/shm", W_OK) != 0) GTEST_SKIP() << "there is no /dev/shm";
  file_tree tree;
  const auto content = noise(1'000'000);
  tree.write("from", content);
  std::string there = "/dev/shm/weir-copy-XXXXXX";
  ::close(::mkstemp(there.data()));
  fs::copy_file(tree("from"), there).now();
  fs::copy_file(there, tree("back")).now();
  ::unlink(there.c_str());
  EXPECT_TRUE(tree.read("back") == content);
}

// C0-FS-14: there a file without a byte never reports.
TEST(CopyFile, tells_how_far_it_is) {
  file_tree tree;
  tree.write("empty");
  std::vector<std::pair<std::uint64_t, std::uint64_t>> told;
  fs::copy_options options{.clone = fs::clone_mode::never,
                           .progress = [&](const fs::copy_progress& p) { told.emplace_back(p.done, p.total); }};
  fs::copy_file(tree("empty"), tree("to"), options).now();
  EXPECT_THAT(told, ElementsAre(std::pair(0U, 0U)));

  told.clear();
  constexpr std::uint64_t size = 24 << 20;
  tree.write("large", noise(size));
  fs::copy_file(tree("large"), tree("to"), options).now();
  ASSERT_GE(told.size(), 3U);
  for (std::size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].second, size);
    if (i > 0) EXPECT_GT(told[i].first, told[i - 1].first);
  }
  EXPECT_EQ(told.back().first, size);
}

// C0-FS-14: there a copy that fails leaves a part.
TEST(CopyFile, leaves_nothing_half_copied_when_it_fails) {
  file_tree tree;
  tree.write("from", noise(20 << 20));
  auto fail = [](const fs::copy_progress&) { throw std::runtime_error("enough"); };
  EXPECT_THROW(fs::copy_file(tree("from"), tree("to"), {.clone = fs::clone_mode::never, .progress = fail}).now(),
               std::runtime_error);
  EXPECT_FALSE(tree.has("to"));

  tree.write("behind", "old");
  tree.link("behind", "link");
  EXPECT_THROW(fs::copy_file(tree("from"), tree("link"), {.clone = fs::clone_mode::never, .progress = fail}).now(),
               std::runtime_error);
  EXPECT_TRUE(tree.has("link"));
  EXPECT_EQ(tree.read("behind"), "");
}

TEST(CopyFile, leaves_nothing_where_the_disk_is_full) {
  file_tree tree;
  tree.write("from", noise(3 << 20));
  rlimit before;  // NOLINT: the system fills it in
  ::getrlimit(RLIMIT_FSIZE, &before);
  auto* handler = ::signal(SIGXFSZ, SIG_IGN);
  auto small = before;
  small.rlim_cur = 1 << 20;
  ::setrlimit(RLIMIT_FSIZE, &small);
  auto outcome = fs::copy_file(tree("from"), tree("to"), {.clone = fs::clone_mode::never}).try_now();
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(failure_of(outcome).code_name(), "EFBIG");
  EXPECT_FALSE(tree.has("to"));
}

TEST(CopyFile, never_removes_a_device) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "there is no /dev/full";
  file_tree tree;
  tree.write("from", "content");
  // By another name, so that the machine keeps its own whatever happens.
  const bool made = ::mknod(tree("full").c_str(), S_IFCHR | 0600, stat_of("/dev/full").st_rdev) == 0;
  const int fd = made ? ::open(tree("full").c_str(), O_WRONLY | O_CLOEXEC) : -1;
  if (fd < 0) GTEST_SKIP() << "devices cannot be made here";
  ::close(fd);
  EXPECT_EQ(failure_of(fs::copy_file(tree("from"), tree("full")).try_now()).code_name(), "ENOSPC");
  EXPECT_TRUE(tree.has("full"));
}

TEST(CopyFile, does_not_wait_for_the_other_end_of_a_fifo) {
  file_tree tree;
  tree.write("from", "content");
  ASSERT_EQ(::mkfifo(tree("pipe").c_str(), 0600), 0);
  EXPECT_EQ(failure_of(fs::copy_file(tree("from"), tree("pipe")).try_now()).code_name(), "ENXIO");
  EXPECT_TRUE(tree.has("pipe"));
}

TEST(CopyFile, ends_when_it_is_cancelled_and_leaves_nothing) {
  file_tree tree;
  tree.write("from", noise(24 << 20));
  std::atomic<bool> begun{false};
  std::atomic<bool> go_on{false};
  std::atomic<int> told{0};
  fs::copy_options options{.clone = fs::clone_mode::never, .progress = [&](const fs::copy_progress&) {
                             ++told;
                             begun = true;
                             testing::hold_until([&] { return go_on.load(); });
                           }};
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto handle = s.spawn(copy_it, tree("from"), tree("to"), options);
             while (!begun) co_await yield();
             handle.cancel();
             go_on = true;
             auto outcome = co_await attempt(std::move(handle));
             EXPECT_FALSE(outcome);
             EXPECT_TRUE(outcome.failure().is_cancelled());
           }));
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(tree.has("to"));
}

TEST(Cp, copies_a_tree_with_files_links_and_empty_directories) {
  file_tree tree;
  tree.write("from/a/file", "one");
  tree.write("from/top", "two");
  tree.make_directory("from/empty");
  tree.link("a/file", "from/link");
  ASSERT_EQ(::chmod(tree("from/empty").c_str(), 0500), 0);
  auto done = fs::cp(tree("from"), tree("new/to"), {.recursive = true, .verbatim_symlinks = true}).now();
  EXPECT_EQ(done.files, 2U);
  EXPECT_EQ(done.directories, 3U);
  EXPECT_EQ(done.links, 1U);
  EXPECT_EQ(done.bytes, 6U);
  EXPECT_EQ(tree.read("new/to/a/file"), "one");
  EXPECT_EQ(tree.read("new/to/top"), "two");
  EXPECT_EQ(stat_of(tree("new/to/empty")).st_mode & 07777, 0500U);
  EXPECT_EQ(std::filesystem::read_symlink(tree("new/to/link")), "a/file");
}

TEST(Cp, makes_relative_links_lead_to_the_same_place) {
  file_tree tree;
  tree.write("from/target", "content");
  tree.link("target", "from/link");
  fs::cp(tree("from"), tree("to"), {.recursive = true}).now();
  EXPECT_EQ(std::filesystem::read_symlink(tree("to/link")), tree("from/target"));
  // Node fails here with ERR_FS_CP_EINVAL.
  fs::cp(tree("from"), tree("to"), {.recursive = true}).now();
  EXPECT_EQ(std::filesystem::read_symlink(tree("to/link")), tree("from/target"));
}

TEST(Cp, copies_what_links_lead_to_if_it_is_told_to) {
  file_tree tree;
  tree.write("elsewhere/file", "content");
  tree.make_directory("from");
  tree.link("../elsewhere", "from/d");
  tree.link("../elsewhere/file", "from/f");
  fs::cp(tree("from"), tree("to"), {.recursive = true, .dereference = true}).now();
  EXPECT_TRUE(S_ISREG(stat_of(tree("to/f")).st_mode));
  EXPECT_TRUE(S_ISDIR(stat_of(tree("to/d")).st_mode));
  EXPECT_EQ(tree.read("to/d/file"), "content");
}

TEST(Cp, does_not_go_round_in_circles) {
  file_tree tree;
  tree.write("from/a/file");
  tree.link("..", "from/a/up");
  auto why = failure_of(fs::cp(tree("from"), tree("to"), {.recursive = true, .dereference = true}).try_now());
  EXPECT_EQ(why.code_name(), "ELOOP");
  EXPECT_EQ(why.path(), tree("from/a/up"));

  tree.make_directory("self");
  tree.link("../into", "self/link");
  tree.make_directory("into");
  why = failure_of(fs::cp(tree("self"), tree("into"), {.recursive = true, .dereference = true}).try_now());
  EXPECT_EQ(why.code_name(), "ERR_FS_CP_EINVAL");
}

TEST(Cp, answers_as_node_does) {
  file_tree tree;
  tree.write("f", "f");
  tree.write("g", "g");
  tree.make_directory("d/e");
  ASSERT_EQ(::mkfifo(tree("p").c_str(), 0600), 0);
  const auto d = tree("d"), f = tree("f"), g = tree("g"), p = tree("p"), inner = tree("d/e/x"), fresh = tree("q");
  auto says = [](const std::string& src, const std::string& dest, const fs::cp_options& options) {
    auto why = failure_of(fs::cp(src, dest, options).try_now());
    return std::string(why.code_name()) + "|" + std::string(why.message()) + "|" + std::string(why.syscall()) + "|" +
           std::string(why.path());
  };
  EXPECT_EQ(
      says(d, d, {.recursive = true}),
      "ERR_FS_CP_EINVAL|Invalid src or dest: cp returned EINVAL (src and dest cannot be the same) " + d + "|cp|" + d);
  EXPECT_EQ(says(d, inner, {.recursive = true}),
            "ERR_FS_CP_EINVAL|Invalid src or dest: cp returned EINVAL (cannot copy " + d +
                " to a subdirectory of self " + inner + ") " + inner + "|cp|" + inner);
  EXPECT_EQ(says(d, fresh, {}), "ERR_FS_EISDIR|Path is a directory: cp returned EISDIR (" + d +
                                    " is a directory (not copied)) " + d + "|cp|" + d);
  EXPECT_EQ(says(d, f, {.recursive = true}),
            "ERR_FS_CP_DIR_TO_NON_DIR|Cannot overwrite non-directory with directory: cp returned EISDIR (cannot "
            "overwrite non-directory " +
                f + " with directory " + d + ") " + f + "|cp|" + f);
  EXPECT_EQ(says(f, d, {}),
            "ERR_FS_CP_NON_DIR_TO_DIR|Cannot overwrite directory with non-directory: cp returned ENOTDIR (cannot "
            "overwrite directory " +
                d + " with non-directory " + f + ") " + d + "|cp|" + d);
  EXPECT_EQ(says(f, g, {.force = false, .error_on_exist = true}),
            "ERR_FS_CP_EEXIST|Target already exists: cp returned EEXIST (" + g + " already exists) " + g + "|cp|" + g);
  EXPECT_EQ(says(p, fresh, {}),
            "ERR_FS_CP_FIFO_PIPE|Cannot copy a FIFO pipe: cp returned EINVAL (cannot copy a FIFO "
            "pipe: " +
                fresh + ") " + fresh + "|cp|" + fresh);
  EXPECT_EQ(says(tree("none"), fresh, {}),
            "ENOENT|ENOENT: no such file or directory, lstat '" + tree("none") + "'|lstat|" + tree("none"));
  EXPECT_EQ(tree.read("g"), "g");
}

TEST(Cp, does_not_copy_sockets) {
  file_tree tree;
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  ASSERT_LT(tree("s").size(), sizeof(address.sun_path));
  std::strcpy(address.sun_path, tree("s").c_str());
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(failure_of(fs::cp(tree("s"), tree("t")).try_now()).code_name(), "ERR_FS_CP_SOCKET");
  ::close(fd);
}

TEST(Cp, keeps_links_from_being_replaced_by_what_would_break_them) {
  file_tree tree;
  tree.make_directory("d/e");
  tree.link(tree("d/e"), "s1");
  tree.link(tree("d"), "s2");
  EXPECT_EQ(failure_of(fs::cp(tree("s1"), tree("s2")).try_now()).code_name(), "ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY");
  EXPECT_EQ(failure_of(fs::cp(tree("s2"), tree("s1")).try_now()).code_name(), "ERR_FS_CP_EINVAL");
}

TEST(Cp, replaces_only_if_it_is_forced) {
  file_tree tree;
  tree.write("from/file", "new");
  tree.write("to/file", "old");
  tree.write("to/other", "stays");
  auto done = fs::cp(tree("from"), tree("to"), {.recursive = true, .force = false}).now();
  EXPECT_EQ(done.files, 0U);
  EXPECT_EQ(tree.read("to/file"), "old");
  fs::cp(tree("from"), tree("to"), {.recursive = true}).now();
  EXPECT_EQ(tree.read("to/file"), "new");
  EXPECT_EQ(tree.read("to/other"), "stays");
}

TEST(Cp, replaces_a_link_and_not_what_it_leads_to) {
  file_tree tree;
  tree.write("from", "new");
  tree.write("behind", "old");
  tree.link("behind", "to");
  fs::cp(tree("from"), tree("to")).now();
  EXPECT_TRUE(S_ISREG(stat_of(tree("to")).st_mode));
  EXPECT_EQ(tree.read("behind"), "old");
}

TEST(Cp, leaves_out_what_the_filter_refuses) {
  file_tree tree;
  for (auto name : {"from/keep/1", "from/drop/2", "from/3"}) tree.write(name);
  std::set<std::string> asked;
  auto filter = [&](const std::string& src, const std::string& dest) {
    EXPECT_EQ(src.substr(tree("from").size()), dest.substr(tree("to").size()));
    asked.insert(src);
    return !src.ends_with("drop");
  };
  fs::cp(tree("from"), tree("to"), {.recursive = true, .filter = filter}).now();
  EXPECT_TRUE(tree.has("to/keep/1"));
  EXPECT_TRUE(tree.has("to/3"));
  EXPECT_FALSE(tree.has("to/drop"));
  EXPECT_EQ(asked.size(), 5U);  // nobody asks about what is below a refused directory
  auto none = [](const std::string&, const std::string&) { return false; };
  EXPECT_EQ(fs::cp(tree("from"), tree("nothing"), {.filter = none}).now().files, 0U);
  EXPECT_FALSE(tree.has("nothing"));
}

TEST(Cp, keeps_times_if_it_is_told_to) {
  file_tree tree;
  tree.write("from/d/file");
  const timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 1}, {.tv_sec = 2000, .tv_nsec = 123456789}};
  for (auto name : {"from/d/file", "from/d"}) ASSERT_EQ(::utimensat(AT_FDCWD, tree(name).c_str(), times, 0), 0);
  fs::cp(tree("from"), tree("to"), {.recursive = true, .preserve_timestamps = true}).now();
  for (auto name : {"to/d/file", "to/d"}) {
    EXPECT_EQ(stat_of(tree(name)).st_mtim.tv_sec, 2000) << name;
    EXPECT_EQ(stat_of(tree(name)).st_mtim.tv_nsec, 123456789) << name;
  }
  fs::cp(tree("from"), tree("fresh"), {.recursive = true}).now();
  EXPECT_NE(stat_of(tree("fresh/d/file")).st_mtim.tv_sec, 2000);
}

TEST(Cp, ends_when_it_is_cancelled) {
  file_tree tree;
  for (int i = 0; i < 50; ++i) tree.write("from/" + std::to_string(i), "content");
  std::atomic<bool> begun{false};
  std::atomic<bool> go_on{false};
  std::atomic<int> told{0};
  fs::cp_options options{.recursive = true, .progress = [&](const fs::copy_progress&) {
                           ++told;
                           begun = true;
                           testing::hold_until([&] { return go_on.load(); });
                         }};
  auto copy = [](std::string src, std::string dest, fs::cp_options how) -> task<> {
    co_await fs::cp(std::move(src), std::move(dest), std::move(how));
  };
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto handle = s.spawn(copy, tree("from"), tree("to"), options);
             while (!begun) co_await yield();
             handle.cancel();
             go_on = true;
             EXPECT_TRUE((co_await attempt(std::move(handle))).failure().is_cancelled());
           }));
  EXPECT_EQ(told, 1);
}

// C0-SC-21, its copy: constant memory, a report for each piece, nothing left of a failure.
TEST(CopyFile, C0_SC_21_copies_a_large_file_and_reports_percentages) {
  file_tree tree;
  tree.write("movie", noise(18 << 20));
  double last = 0;
  auto tell = [&](const fs::copy_progress& p) {
    last = 100.0 * static_cast<double>(p.done) / static_cast<double>(p.total);
  };
  run_with(2, copy_it(tree("movie"), tree("copy"), {.progress = tell}));
  EXPECT_EQ(last, 100.0);
  EXPECT_TRUE(tree.read("copy") == tree.read("movie"));
}

}  // namespace
}  // namespace weir
