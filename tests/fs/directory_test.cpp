#include <weir/fs/directory.hpp>
#include <weir/io/readable.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <latch>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace weir::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using testing::put_file;
using testing::rounds;
using testing::run_with;
using testing::temporary_directory;
using ::testing::UnorderedElementsAre;
using testing::with_workers;
using testing::working_directory;

void make_files(const temporary_directory& in, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const int fd = ::open((in / ("file-" + std::to_string(i))).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    ASSERT_GE(fd, 0);
    ::close(fd);
  }
}

// One of each kind that can be made without rights.
void make_kinds(const temporary_directory& in) {
  put_file(in / "file", "x");
  std::filesystem::create_directory(in / "dir");
  std::filesystem::create_symlink("dir", in / "link");
  ASSERT_EQ(::mkfifo((in / "fifo").c_str(), 0600), 0);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  const auto path = in / "socket";
  ASSERT_LT(path.size(), sizeof name.sun_path);
  std::copy(path.begin(), path.end(), name.sun_path);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ::close(fd);
}

std::map<std::string, file_type> by_name(const std::vector<dir_entry>& entries) {
  std::map<std::string, file_type> found;
  for (const auto& each : entries) found[each.name] = each.type;
  return found;
}

const std::map<std::string, file_type> kinds = {{"file", file_type::regular},
                                                {"dir", file_type::directory},
                                                {"link", file_type::symlink},
                                                {"fifo", file_type::fifo},
                                                {"socket", file_type::socket}};

// ---- listing

TEST(Readdir, gives_names_without_dots) {
  temporary_directory here;
  EXPECT_THAT(readdir(here.path()).now(), IsEmpty());
  put_file(here / "a", "");
  put_file(here / ".hidden", "");
  put_file(here / "..twice", "");
  std::filesystem::create_directory(here / "d");
  EXPECT_THAT(readdir(here.path()).now(), UnorderedElementsAre("a", ".hidden", "..twice", "d"));
  run_with(2, [](const temporary_directory& d) -> task<> {
    EXPECT_THAT(co_await readdir(d.path()), UnorderedElementsAre("a", ".hidden", "..twice", "d"));
  }(here));
}

TEST(Readdir, keeps_names_as_bytes) {
  temporary_directory here;
  const std::vector<std::string> names = {"\xff\xfe", "new\nline", " ", "\xe4\xb8\xad", std::string(255, 'x')};
  for (const auto& each : names) put_file(here / each, "");
  EXPECT_THAT(readdir(here.path()).now(), ::testing::UnorderedElementsAreArray(names));
}

TEST(Readdir, lists_what_is_below_and_follows_no_link) {
  temporary_directory here;
  std::filesystem::create_directories(here / "a/b");
  put_file(here / "a/b/deep", "");
  put_file(here / "top", "");
  std::filesystem::create_symlink("..", here / "a/up");
  EXPECT_THAT(readdir(here.path(), {.recursive = true}).now(),
              UnorderedElementsAre("a", "top", "a/b", "a/up", "a/b/deep"));
  std::vector<std::string> paths;
  for (const auto& each : read_entries(here.path() + "/", {.recursive = true}).now()) paths.push_back(each.path());
  EXPECT_THAT(paths, UnorderedElementsAre(here / "a", here / "top", here / "a/b", here / "a/up", here / "a/b/deep"));
}

TEST(Readdir, names_what_is_below_as_node_does) {
  if (!testing::has_node()) GTEST_SKIP() << "there is no node";
  temporary_directory here;
  working_directory in(here.path());
  std::filesystem::create_directories("a/b/c");
  std::filesystem::create_directories("z");
  put_file("a/b/x", "");
  const std::string script =
      "for(const p of ['.','a','a/','./a/b'])"
      "{console.log(require('fs').readdirSync(p,{recursive:true}).sort().join());"
      "console.log(require('fs').readdirSync(p,{withFileTypes:true,recursive:true})"
      ".map(e=>require('path').join(e.parentPath,e.name)).sort().join())}";
  std::string ours;
  const auto add = [&ours](std::vector<std::string> lines) {
    std::sort(lines.begin(), lines.end());
    for (std::size_t i = 0; i < lines.size(); ++i) ours += (i == 0 ? "" : ",") + lines[i];
    ours += '\n';
  };
  for (const auto* path : {".", "a", "a/", "./a/b"}) {
    add(readdir(path, {.recursive = true}).now());
    std::vector<std::string> paths;
    for (const auto& each : read_entries(path, {.recursive = true}).now()) {
      paths.push_back(std::filesystem::path(each.path()).lexically_normal());
    }
    add(paths);
  }
  EXPECT_EQ(ours, testing::output_of("node -e \"" + script + "\""));
}

TEST(ReadEntries, knows_the_kind_of_each) {
  temporary_directory here;
  make_kinds(here);
  const auto entries = read_entries(here.path()).now();
  EXPECT_EQ(by_name(entries), kinds);
  for (const auto& each : entries) {
    EXPECT_EQ(each.parent, here.path());
    EXPECT_EQ(each.path(), here / each.name);
    EXPECT_EQ(each.is_file(), each.name == "file");
    EXPECT_EQ(each.is_directory(), each.name == "dir");
    EXPECT_EQ(each.is_symbolic_link(), each.name == "link");
    EXPECT_EQ(each.is_fifo(), each.name == "fifo");
    EXPECT_EQ(each.is_socket(), each.name == "socket");
    EXPECT_FALSE(each.is_character_device());
    EXPECT_FALSE(each.is_block_device());
  }
  const auto devices = by_name(read_entries("/dev").now());
  EXPECT_EQ(devices.at("null"), file_type::character_device);
}

TEST(ReadEntries, asks_for_the_kind_where_the_directory_does_not_say) {
  temporary_directory here;
  make_kinds(here);
  const int fd = ::open(here.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::array<std::byte, 4096> block;
  const auto size = ::getdents64(fd, block.data(), block.size());
  ASSERT_GT(size, 0);
  const auto each_entry = [&](auto visit) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      auto& entry = *reinterpret_cast<dirent64*>(block.data() + at);
      visit(entry);
      at += entry.d_reclen;
    }
  };
  each_entry([](dirent64& entry) { entry.d_type = DT_UNKNOWN; });
  std::filesystem::remove(here / "fifo");
  detail::settle_types(fd, block.data(), static_cast<std::size_t>(size));
  each_entry([](dirent64& entry) {
    const std::string name = entry.d_name;
    if (name == "." || name == "..") return;
    const auto wanted = name == "fifo" ? file_type::unknown : kinds.at(name);  // that one has gone meanwhile
    EXPECT_EQ(type_of_dirent(entry.d_type), wanted) << name;
  });
  ::close(fd);
}

TEST(ReadEntries, of_proc_and_of_a_directory_that_was_removed) {
  EXPECT_EQ(by_name(read_entries("/proc/self").now()).at("status"), file_type::regular);
  EXPECT_EQ(by_name(read_entries("/proc/self").now()).at("fd"), file_type::directory);
  temporary_directory here;
  std::filesystem::create_directory(here / "d");
  auto opened = opendir(here / "d").now();
  std::filesystem::remove(here / "d");
  EXPECT_EQ(opened.next().now(), std::nullopt) << "no error, as POSIX has it";
}

TEST(ReadEntries, can_be_cancelled_between_directories) {
  temporary_directory here;
  for (int i = 0; i < 40; ++i) std::filesystem::create_directories(here / ("d" + std::to_string(i) + "/e/f"));
  std::size_t listed = 0;
  std::size_t stopped = 0;
  for (std::size_t turns = 0; turns < 60; ++turns) {
    run_with(1, with_scope([&](scope& s) -> task<> {
               auto handle = s.spawn_local([&]() -> task<> {
                 auto outcome = co_await attempt(read_entries(here.path(), {.recursive = true}));
                 if (outcome) {
                   EXPECT_EQ(outcome->size(), 120U);
                   ++listed;
                 } else {
                   EXPECT_TRUE(outcome.failure().is_cancelled());
                   ++stopped;
                 }
               });
               co_await yield();
               for (std::size_t i = 0; i < turns; ++i) co_await yield();
               handle.cancel();
               static_cast<void>(co_await attempt(std::move(handle)));
             }));
  }
  EXPECT_GT(stopped, 0U);
  EXPECT_EQ(listed + stopped, 60U);
}

// ---- an open directory

TEST(Directory, gives_its_entries_one_by_one) {
  temporary_directory here;
  make_kinds(here);
  run_with(2, [](const temporary_directory& d) -> task<> {
    auto opened = co_await opendir(d.path());
    EXPECT_TRUE(opened.is_open());
    EXPECT_EQ(opened.path(), d.path());
    std::vector<dir_entry> found;
    while (auto entry = co_await opened.next()) found.push_back(*entry);
    EXPECT_EQ(by_name(found), kinds);
    EXPECT_EQ(found.size(), kinds.size());
    EXPECT_FALSE(opened.is_open()) << "it closes itself at its end";
    EXPECT_EQ(co_await opened.next(), std::nullopt) << "the end stays the end";
  }(here));
}

TEST(Directory, is_read_without_a_runtime) {
  temporary_directory here;
  make_kinds(here);
  auto opened = opendir(here.path()).now();
  std::set<std::string> names;
  while (auto entry = opened.next().now()) names.insert(entry->name);
  EXPECT_THAT(names, ElementsAre("dir", "fifo", "file", "link", "socket"));
}

TEST(Directory, that_is_closed_says_so) {
  temporary_directory here;
  put_file(here / "a", "");
  put_file(here / "b", "");
  run_with(1, [](const temporary_directory& d) -> task<> {
    auto opened = co_await opendir(d.path());
    EXPECT_TRUE(co_await opened.next());
    opened.close();
    opened.close();
    EXPECT_FALSE(opened.is_open());
    auto outcome = co_await attempt(opened.next());
    EXPECT_EQ(outcome.failure().message(), "Directory handle was closed");
    EXPECT_TRUE(outcome.failure().is("ERR_CLOSED"));
  }(here));
  EXPECT_TRUE(directory().next().try_now().failure().is("ERR_CLOSED"));
}

TEST(Directory, closes_its_descriptor_when_it_goes_or_is_moved_over) {
  temporary_directory here;
  auto first = opendir(here.path()).now();
  const int fd = first.descriptor();
  auto second = std::move(first);
  EXPECT_EQ(second.descriptor(), fd);
  EXPECT_FALSE(first.is_open());  // NOLINT: what is left of it
  second = directory();
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  {
    auto third = opendir(here.path()).now();
    EXPECT_EQ(third.descriptor(), fd);
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST(Directory, goes_on_where_it_was_after_a_move) {
  temporary_directory here;
  make_files(here, 10);
  auto first = opendir(here.path()).now();
  std::set<std::string> names;
  for (int i = 0; i < 4; ++i) names.insert(first.next().now()->name);
  directory second;
  second = std::move(first);
  while (auto entry = second.next().now()) names.insert(entry->name);
  EXPECT_EQ(names.size(), 10U);
}

TEST(Directory, refuses_a_block_that_holds_no_entry) {
  EXPECT_TRUE(opendir("/", {.block_size = 100}).try_now().failure().is("ERR_OUT_OF_RANGE"));
  temporary_directory here;
  put_file(here / std::string(255, 'a'), "");
  put_file(here / std::string(255, 'b'), "");
  auto opened = opendir(here.path(), {.block_size = 512}).now();
  EXPECT_TRUE(opened.next().now());
  EXPECT_TRUE(opened.next().now());
  EXPECT_FALSE(opened.next().now());
}

// How many entries come with one trip to a blocking thread, seen where the second trip has to wait.
std::size_t entries_of_one_trip(const temporary_directory& in) {
  auto options = with_workers(1);
  options.blocking_threads = 1;
  std::size_t taken = 0;
  runtime(options).block_on(with_scope([&](scope& s) -> task<> {
    auto opened = co_await opendir(in.path());
    co_await opened.next();
    taken = 1;
    std::latch begun(1);
    std::latch go(1);
    s.spawn_local([&]() -> task<> {
      co_await blocking([&] {
        begun.count_down();
        go.wait();
      });
    });
    while (!begun.try_wait()) co_await yield();
    auto reader = s.spawn_local([&]() -> task<> {
      while (co_await opened.next()) ++taken;
    });
    while (metrics().blocking_queued == 0) co_await yield();
    const auto first = taken;
    go.count_down();
    co_await std::move(reader);
    EXPECT_EQ(taken, 10'000U);
    taken = first;
  }));
  return taken;
}

TEST(Directory, of_ten_thousand_entries_is_read_in_few_trips) {
  const bool in_memory = ::access("/dev/shm", W_OK) == 0;
  temporary_directory here(in_memory ? "/dev/shm" : std::filesystem::temp_directory_path());
  make_files(here, 10'000);
  EXPECT_GT(entries_of_one_trip(here), 500U);
  run_with(1, [](const temporary_directory& d) -> task<> {
    EXPECT_EQ((co_await readdir(d.path())).size(), 10'000U);
    const auto entries = co_await read_entries(d.path());
    EXPECT_EQ(entries.size(), 10'000U);
    EXPECT_TRUE(std::all_of(entries.begin(), entries.end(), [](const auto& each) { return each.is_file(); }));
  }(here));
}

TEST(Directory, lets_others_run_while_it_gives_what_it_has) {
  temporary_directory here;
  make_files(here, 1000);
  run_with(1, with_scope([&here](scope& s) -> task<> {
             auto opened = co_await opendir(here.path(), {.block_size = 1 << 20});
             co_await opened.next();
             bool over = false;
             std::size_t turns = 0;
             s.spawn_local([&]() -> task<> {
               while (!over) {
                 ++turns;
                 co_await yield();
               }
             });
             while (co_await opened.next()) continue;
             over = true;
             EXPECT_GT(turns, 2U);
           }));
}

TEST(Directory, loses_no_entry_to_a_cancelled_await) {
  temporary_directory here;
  make_files(here, 50);
  for (std::size_t turns = 0; turns < rounds(100); ++turns) {
    run_with(2, with_scope([&](scope& s) -> task<> {
               auto opened = co_await opendir(here.path());
               std::set<std::string> names;
               auto handle = s.spawn_local([&]() -> task<> {
                 auto entry = co_await attempt(opened.next());
                 if (entry && *entry) names.insert((*entry)->name);
               });
               for (std::size_t i = 0; i < turns; ++i) co_await yield();
               handle.cancel();
               static_cast<void>(co_await attempt(std::move(handle)));
               while (auto entry = co_await opened.next()) names.insert(entry->name);
               EXPECT_EQ(names.size(), 50U) << "after " << turns << " turns";
             }));
  }
}

TEST(Directory, is_a_source_of_streams) {
  temporary_directory here;
  make_files(here, 100);
  run_with(2, [](const temporary_directory& d) -> task<> {
    static_assert(io::source<directory>);
    io::readable<dir_entry> entries(co_await opendir(d.path()));
    std::size_t count = 0;
    while (auto entry = co_await entries.next()) ++count;
    EXPECT_EQ(count, 100U);
  }(here));
}

TEST(DirEntry, joins_its_parent_and_its_name) {
  EXPECT_EQ((dir_entry{"b", "a"}.path()), "a/b");
  EXPECT_EQ((dir_entry{"b", "a/"}.path()), "a/b");
  EXPECT_EQ((dir_entry{"b", "/"}.path()), "/b");
  EXPECT_EQ((dir_entry{"b", "."}.path()), "b");
  EXPECT_EQ((dir_entry{"b", ""}.path()), "b");
}

// ---- making and removing

TEST(Mkdir, makes_one_with_the_permissions_less_the_umask) {
  temporary_directory here;
  const auto before = ::umask(022);
  EXPECT_EQ(mkdir(here / "a").now(), std::nullopt);
  EXPECT_EQ(mkdir(here / "b", {.permissions = 0750}).now(), std::nullopt);
  mkdir(here / "c/d", {.recursive = true, .permissions = 0700}).now();
  ::umask(before);
  const auto permissions = [&](const char* name) { return stat(here / name).now().permissions(); };
  EXPECT_EQ(permissions("a"), 0755U);
  EXPECT_EQ(permissions("b"), 0750U);
  EXPECT_EQ(permissions("c"), 0700U);
  EXPECT_EQ(permissions("c/d"), 0700U);
}

TEST(Mkdir, recursive_returns_the_first_directory_it_made) {
  temporary_directory here;
  working_directory in(here.path());
  const auto made = [](std::string path) { return mkdir(std::move(path), {.recursive = true}).now(); };
  EXPECT_THAT(made("a/b/c"), Optional(std::string("a")));
  EXPECT_THAT(made("a/b/d/e"), Optional(std::string("a/b/d")));
  EXPECT_EQ(made("a/b"), std::nullopt);
  EXPECT_EQ(made("."), std::nullopt);
  EXPECT_EQ(made("/"), std::nullopt);
  EXPECT_EQ(made("a///"), std::nullopt);
  EXPECT_THAT(made("q/../r/./s//t/"), Optional(std::string("q")));
  EXPECT_TRUE(std::filesystem::is_directory("r/s/t"));
  EXPECT_THAT(made(here / "z/y"), Optional(here / "z"));
  std::filesystem::create_directory_symlink("a", "link");
  EXPECT_EQ(made("link"), std::nullopt) << "a link to a directory is one";
  EXPECT_THAT(made("link/new/er"), Optional(std::string("link/new")));
  EXPECT_TRUE(std::filesystem::is_directory("a/new/er"));
}

TEST(Mkdir, recursive_returns_what_node_returns) {
  if (!testing::has_node()) GTEST_SKIP() << "there is no node";
  temporary_directory ours;
  temporary_directory theirs;
  const std::vector<std::string> paths = {"a",       "a/b/c", "a/x/y", "./e/f", "h/../i", "a/b/../../j/k",
                                          "a/./l/.", "a/b/c", ".",     "/"};
  std::string script = "const fs=require('fs');";
  for (const auto& each : paths) script += "console.log(fs.mkdirSync('" + each + "',{recursive:true})||'nothing');";
  std::string answers;
  {
    working_directory in(ours.path());
    for (const auto& each : paths) answers += mkdir(each, {.recursive = true}).now().value_or("nothing") + "\n";
  }
  working_directory in(theirs.path());
  EXPECT_EQ(answers, testing::output_of("node -e \"" + script + "\""));
}

// Node 20 spins for ever on the last of these.
TEST(Mkdir, recursive_ends_where_nothing_can_be_made) {
  temporary_directory here;
  std::filesystem::create_symlink("nowhere", here / "dangling");
  const auto why = [](const std::string& path) {
    return mkdir(path, {.recursive = true}).try_now().failure().message();
  };
  const auto below = here / "dangling/x/y";
  EXPECT_EQ(why(below), "ENOENT: no such file or directory, mkdir '" + below + "'");
  EXPECT_EQ(why("/proc/weir/x"), "ENOENT: no such file or directory, mkdir '/proc/weir/x'");
}

TEST(Mkdir, recursive_makes_a_very_deep_tree) {
  temporary_directory here;
  auto path = here.path();
  while (path.size() < 1000) path += "/d";
  EXPECT_THAT(mkdir(path, {.recursive = true}).now(), Optional(here / "d"));
  EXPECT_TRUE(std::filesystem::is_directory(path));
}

TEST(Mkdir, lets_many_make_the_same_tree_at_once) {
  temporary_directory here;
  for (std::size_t round = 0; round < rounds(20); ++round) {
    const auto top = here / std::to_string(round);
    std::atomic<int> first{0};
    run_with(3, with_scope([&](scope& s) -> task<> {
               for (int i = 0; i < 8; ++i) {
                 s.spawn(
                     [&](int number) -> task<> {
                       auto made = co_await mkdir(top + "/a/b/c/" + std::to_string(number), {.recursive = true});
                       EXPECT_TRUE(made) << "its own last one at least";
                       if (made == top) ++first;
                     },
                     i);
               }
               co_return;
             }));
    EXPECT_EQ(first, 1) << "one of them has made the outermost";
    EXPECT_EQ(readdir(top + "/a/b/c").now().size(), 8U);
  }
}

TEST(Mkdtemp, makes_a_directory_of_its_own_each_time) {
  temporary_directory here;
  std::set<std::string> names;
  run_with(2, [](const temporary_directory& d, std::set<std::string>& all) -> task<> {
    for (int i = 0; i < 50; ++i) all.insert(co_await mkdtemp(d / "weir-"));
  }(here, names));
  EXPECT_EQ(names.size(), 50U);
  for (const auto& each : names) {
    EXPECT_EQ(each.size(), (here / "weir-").size() + 6);
    EXPECT_EQ(each.find(here / "weir-"), 0U);
    EXPECT_EQ(stat(each).now().permissions(), 0700U);
  }
}

TEST(Mkdtemp, takes_any_prefix_and_names_its_pattern_where_it_fails) {
  temporary_directory here;
  working_directory in(here.path());
  EXPECT_EQ(mkdtemp("").now().size(), 6U);
  const auto kept = mkdtemp("fooXXX").now();
  EXPECT_EQ(kept.substr(0, 6), "fooXXX");
  EXPECT_EQ(kept.size(), 12U);
  put_file("file", "");
  const auto why = [](std::string prefix) { return mkdtemp(std::move(prefix)).try_now().failure().message(); };
  EXPECT_EQ(why("no/x-"), "ENOENT: no such file or directory, mkdtemp 'no/x-XXXXXX'");
  EXPECT_EQ(why("file/x"), "ENOTDIR: not a directory, mkdtemp 'file/xXXXXXX'");
  EXPECT_EQ(why(std::string(300, 'n')), "ENAMETOOLONG: name too long, mkdtemp '" + std::string(300, 'n') + "XXXXXX'");
}

TEST(Rmdir, removes_an_empty_directory) {
  temporary_directory here;
  std::filesystem::create_directory(here / "a");
  run_with(1, [](std::string path) -> task<> { co_await rmdir(path); }(here / "a"));
  EXPECT_FALSE(std::filesystem::exists(here / "a"));
}

}  // namespace
}  // namespace weir::fs
