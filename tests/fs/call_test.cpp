#include <weir/fs/attributes.hpp>
#include <weir/fs/call.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/stat.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <latch>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

namespace weir::fs {
namespace {

using testing::file_content;
using testing::in_child;
using testing::put_file;
using testing::run_with;
using testing::temporary_directory;
using testing::with_workers;
using testing::working_directory;

// ---- the awaitable

TEST(Call, is_made_on_another_thread_when_it_is_awaited_and_not_before) {
  run_with(1, []() -> task<> {
    std::thread::id on;
    call<int> later("nothing", [&on]() -> result<int> {
      on = std::this_thread::get_id();
      return 7;
    });
    EXPECT_EQ(on, std::thread::id());
    EXPECT_EQ(co_await std::move(later), 7);
    EXPECT_NE(on, std::thread::id());
    EXPECT_NE(on, std::this_thread::get_id());
  }());
}

TEST(Call, is_made_here_by_now_without_a_runtime) {
  std::thread::id on;
  call<void> here("nothing", [&on]() -> result<void> {
    on = std::this_thread::get_id();
    return {};
  });
  std::move(here).now();
  EXPECT_EQ(on, std::this_thread::get_id());
}

TEST(Call, throws_its_failure_or_gives_it_to_attempt) {
  run_with(2, []() -> task<> {
    try {
      co_await stat("/no/such/file");
      ADD_FAILURE() << "it is there";
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "ENOENT");
      EXPECT_EQ(e.syscall(), "stat");
      EXPECT_EQ(e.path(), "/no/such/file");
      EXPECT_EQ(e.errno_value(), ENOENT);
      EXPECT_STREQ(e.what(), "ENOENT: no such file or directory, stat '/no/such/file'");
    }
    auto outcome = co_await attempt(stat("/no/such/file"));
    EXPECT_FALSE(outcome);
    EXPECT_TRUE(outcome.failure().is("ENOENT"));
  }());
  EXPECT_THROW(stat("/no/such/file").now(), error);
  EXPECT_TRUE(stat("/no/such/file").try_now().failure().is("ENOENT"));
}

TEST(Call, hands_over_what_its_body_throws) {
  auto thrower = [] { return call<int>("nothing", []() -> result<int> { throw std::invalid_argument("x"); }); };
  EXPECT_THROW(thrower().now(), std::invalid_argument);
  run_with(1, [](auto make) -> task<> {
    EXPECT_THROW(co_await make(), std::invalid_argument);
    auto outcome = co_await attempt(make());
    EXPECT_EQ(outcome.failure().message(), "x");
  }(thrower));
}

TEST(Call, owns_its_paths) {
  temporary_directory here;
  put_file(here / "a", "four");
  run_with(2, [](const temporary_directory& d) -> task<> {
    auto later = [&d] {
      std::string path = d / "a";
      auto made = stat(path);
      path.assign(path.size(), '?');
      return made;
    }();
    EXPECT_EQ((co_await std::move(later)).size, 4U);
  }(here));
}

TEST(Call, does_nothing_if_it_is_cancelled_before_a_thread_has_begun_it) {
  temporary_directory here;
  auto options = with_workers(1);
  options.blocking_threads = 1;
  runtime(options).block_on(with_scope([&here](scope& s) -> task<> {
    std::latch begun(1);
    std::latch go(1);
    s.spawn_local([&]() -> task<> {
      co_await blocking([&] {
        begun.count_down();
        go.wait();
      });
    });
    while (!begun.try_wait()) co_await yield();
    result<> outcome;
    auto handle = s.spawn_local([&]() -> task<> {
      auto made = co_await attempt(mkdir(here / "made"));
      if (!made) outcome = made.failure();
    });
    while (metrics().blocking_queued == 0) co_await yield();
    handle.cancel();
    static_cast<void>(co_await attempt(std::move(handle)));
    EXPECT_TRUE(!outcome && outcome.failure().is_cancelled());
    EXPECT_EQ(metrics().blocking_queued, 0U) << "out of the queue";
    go.count_down();
  }));
  EXPECT_FALSE(std::filesystem::exists(here / "made"));
}

TEST(Call, that_has_begun_is_waited_for_and_its_outcome_stands) {
  run_with(1, with_scope([](scope& s) -> task<> {
             std::latch begun(1);
             std::latch go(1);
             result<int> outcome;
             auto handle = s.spawn_local([&]() -> task<> {
               outcome = co_await attempt(call<int>("nothing", [&]() -> result<int> {
                 begun.count_down();
                 go.wait();
                 return 5;
               }));
             });
             while (!begun.try_wait()) co_await yield();
             handle.cancel();
             go.count_down();
             static_cast<void>(co_await attempt(std::move(handle)));
             EXPECT_TRUE(outcome && *outcome == 5);
           }));
}

TEST(Call, of_many_steps_learns_that_it_is_to_stop) {
  run_with(1, with_scope([](scope& s) -> task<> {
             std::latch begun(1);
             bool stopped = false;
             auto handle = s.spawn_local([&]() -> task<> {
               auto outcome = co_await attempt(call<void>("steps", [&](const stop_flag& stop) -> result<void> {
                 begun.count_down();
                 while (!stop.requested()) std::this_thread::yield();
                 return failure(cancelled());
               }));
               stopped = !outcome && outcome.failure().is_cancelled();
             });
             while (!begun.try_wait()) co_await yield();
             handle.cancel();
             static_cast<void>(co_await attempt(std::move(handle)));
             EXPECT_TRUE(stopped);
           }));
}

// Makes a directory and is cancelled after so many turns. @return whether it was told that it is made
task<bool> made_before(std::string path, std::size_t turns) {
  bool made = false;
  co_await with_scope([&](scope& s) -> task<> {
    auto handle = s.spawn_local([&]() -> task<> {
      auto outcome = co_await attempt(mkdir(path));
      made = outcome.has_value();
      if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
    });
    for (std::size_t i = 0; i < turns; ++i) co_await yield();
    handle.cancel();
    static_cast<void>(co_await attempt(std::move(handle)));
  });
  co_return made;
}

TEST(Call, completes_or_is_cancelled_whatever_the_moment) {
  temporary_directory here;
  std::size_t stopped = 0;
  for (std::size_t turns = 0; turns < testing::rounds(300); ++turns) {
    const bool told = run_with(2, made_before(here / "d", turns));
    EXPECT_EQ(std::filesystem::remove(here / "d"), told) << "after " << turns << " turns";
    stopped += told ? 0 : 1;
  }
  EXPECT_GT(stopped, 0U);
}

TEST(Call, serves_many_tasks_on_several_workers) {
  temporary_directory here;
  constexpr std::size_t many = 200;
  run_with(3, with_scope([&here](scope& s) -> task<> {
             for (std::size_t i = 0; i < many; ++i) {
               s.spawn(
                   [](std::string path) -> task<> {
                     co_await write_file(path, path);
                     EXPECT_EQ((co_await stat(path)).size, path.size());
                     EXPECT_EQ(co_await read_text(path), path);
                     co_await rename(path, path + ".new");
                     co_await unlink(path + ".new");
                   },
                   here / std::to_string(i));
             }
             co_return;
           }));
  EXPECT_TRUE(std::filesystem::is_empty(here.path()));
}

// ---- how failures read

// A call as both write it, and what Node 20 says. Paths are relative to a directory that `prepare` fills.
struct wording {
  const char* node;
  std::function<failure()> weir;
  std::string says;
};

template <class T>
failure why(call<T>&& made) {
  auto outcome = std::move(made).try_now();
  return outcome ? failure(error(errc::none, "no error")) : outcome.failure();
}
failure why(stat_operation&& made) {
  auto outcome = std::move(made).try_now();
  return outcome ? failure(error(errc::none, "no error")) : outcome.failure();
}
failure why(open_operation&& made) {
  auto outcome = std::move(made).try_now();
  return outcome ? failure(error(errc::none, "no error")) : outcome.failure();
}

#define ROW(node, weir, says) {node, [] { return why(weir); }, says}

std::string long_name() { return std::string(300, 'n'); }

void prepare() {
  put_file("file", "x");
  std::filesystem::create_directory("dir");
  std::filesystem::create_directory("empty");
  put_file("dir/in", "");
  std::filesystem::create_symlink("loop", "loop");
  std::filesystem::create_symlink("nowhere", "dangling");
}

std::vector<wording> wordings() {
  const std::string no_entry = "ENOENT: no such file or directory, ";
  const std::string no_directory = "ENOTDIR: not a directory, ";
  const std::string is_directory = "EISDIR: illegal operation on a directory, ";
  const std::string loops = "ELOOP: too many symbolic links encountered, ";
  const std::string exists = "EEXIST: file already exists, ";
  const std::string too_long = "ENAMETOOLONG: name too long, ";
  const std::string invalid = "EINVAL: invalid argument, ";
  const std::string nul = " must be a string, Uint8Array, or URL without null bytes. Received ";
  const std::string quoted_long = "'" + long_name() + "'";
  return {
      ROW("open('no')", open("no"), no_entry + "open 'no'"),
      ROW("open('loop')", open("loop"), loops + "open 'loop'"),
      ROW("open('file/x')", open("file/x"), no_directory + "open 'file/x'"),
      ROW("open('dir','w')", open("dir", mode::write), is_directory + "open 'dir'"),
      ROW("open('file','wx')", open("file", mode::write_new), exists + "open 'file'"),
      ROW("open('n'.repeat(300))", open(long_name()), too_long + "open " + quoted_long),
      ROW("open('')", open(""), no_entry + "open ''"),
      ROW("stat('no')", stat("no"), no_entry + "stat 'no'"),
      ROW("stat('dangling')", stat("dangling"), no_entry + "stat 'dangling'"),
      ROW("stat('loop')", stat("loop"), loops + "stat 'loop'"),
      ROW("lstat('file/x')", lstat("file/x"), no_directory + "lstat 'file/x'"),
      ROW("lstat('n'.repeat(300))", lstat(long_name()), too_long + "lstat " + quoted_long),
      ROW("statfs('no')", statfs("no"), no_entry + "statfs 'no'"),
      ROW("access('no')", access("no"), no_entry + "access 'no'"),
      ROW("readFile('no')", read_file("no"), no_entry + "open 'no'"),
      ROW("writeFile('no/x','')", write_file("no/x", ""), no_entry + "open 'no/x'"),
      ROW("writeFile('dir','')", write_file("dir", ""), is_directory + "open 'dir'"),
      ROW("appendFile('file/x','')", append_file("file/x", ""), no_directory + "open 'file/x'"),
      ROW("truncate('no')", truncate("no"), no_entry + "open 'no'"),
      ROW("truncate('dir')", truncate("dir"), is_directory + "open 'dir'"),
      ROW("chmod('no',0)", chmod("no", 0), no_entry + "chmod 'no'"),
      ROW("chown('no',0,0)", chown("no", 0, 0), no_entry + "chown 'no'"),
      ROW("lchown('no',0,0)", lchown("no", 0, 0), no_entry + "lchown 'no'"),
      ROW("utimes('no',0,0)", utimes("no", time_point(), time_point()), no_entry + "utime 'no'"),
      ROW("lutimes('no',0,0)", lutimes("no", time_point(), time_point()), no_entry + "lutime 'no'"),
      ROW("rename('no','x')", rename("no", "x"), no_entry + "rename 'no' -> 'x'"),
      ROW("rename('file','no/x')", rename("file", "no/x"), no_entry + "rename 'file' -> 'no/x'"),
      ROW("rename('file','dir')", rename("file", "dir"), is_directory + "rename 'file' -> 'dir'"),
      ROW("rename('dir','file')", rename("dir", "file"), no_directory + "rename 'dir' -> 'file'"),
      ROW("rename('empty','dir')", rename("empty", "dir"), "ENOTEMPTY: directory not empty, rename 'empty' -> 'dir'"),
      ROW("rename('dir','dir/x')", rename("dir", "dir/x"), invalid + "rename 'dir' -> 'dir/x'"),
      ROW("unlink('no')", unlink("no"), no_entry + "unlink 'no'"),
      ROW("unlink('dir')", unlink("dir"), is_directory + "unlink 'dir'"),
      ROW("link('no','x')", link("no", "x"), no_entry + "link 'no' -> 'x'"),
      ROW("link('file','dir')", link("file", "dir"), exists + "link 'file' -> 'dir'"),
      ROW("link('dir','x')", link("dir", "x"), "EPERM: operation not permitted, link 'dir' -> 'x'"),
      ROW("symlink('t','file')", symlink("t", "file"), exists + "symlink 't' -> 'file'"),
      ROW("symlink('','x')", symlink("", "x"), no_entry + "symlink '' -> 'x'"),
      ROW("readlink('file')", readlink("file"), invalid + "readlink 'file'"),
      ROW("readlink('no')", readlink("no"), no_entry + "readlink 'no'"),
      ROW("realpath('no')", realpath("no"), no_entry + "realpath 'no'"),
      ROW("realpath('loop')", realpath("loop"), loops + "realpath 'loop'"),
      ROW("realpath('file/x')", realpath("file/x"), no_directory + "realpath 'file/x'"),
      ROW("mkdir('dir')", mkdir("dir"), exists + "mkdir 'dir'"),
      ROW("mkdir('no/x')", mkdir("no/x"), no_entry + "mkdir 'no/x'"),
      ROW("mkdir('file/x')", mkdir("file/x"), no_directory + "mkdir 'file/x'"),
      ROW("mkdir('',{recursive:true})", mkdir("", {.recursive = true}), no_entry + "mkdir ''"),
      ROW("mkdir('file',{recursive:true})", mkdir("file", {.recursive = true}), exists + "mkdir 'file'"),
      ROW("mkdir('file/a/b',{recursive:true})", mkdir("file/a/b", {.recursive = true}),
          no_directory + "mkdir 'file/a/b'"),
      ROW("mkdir('dangling',{recursive:true})", mkdir("dangling", {.recursive = true}), no_entry + "mkdir 'dangling'"),
      ROW("mkdir('loop/x',{recursive:true})", mkdir("loop/x", {.recursive = true}), loops + "mkdir 'loop/x'"),
      ROW("rmdir('no')", rmdir("no"), no_entry + "rmdir 'no'"),
      ROW("rmdir('file')", rmdir("file"), no_directory + "rmdir 'file'"),
      ROW("rmdir('dir')", rmdir("dir"), "ENOTEMPTY: directory not empty, rmdir 'dir'"),
      ROW("rmdir('empty/.')", rmdir("empty/."), invalid + "rmdir 'empty/.'"),
      ROW("readdir('no')", readdir("no"), no_entry + "scandir 'no'"),
      ROW("readdir('file')", readdir("file"), no_directory + "scandir 'file'"),
      ROW("readdir('no',{recursive:true})", readdir("no", {.recursive = true}), no_entry + "scandir 'no'"),
      ROW("readdir('file',{withFileTypes:true})", read_entries("file"), no_directory + "scandir 'file'"),
      ROW("opendir('no')", opendir("no"), no_entry + "opendir 'no'"),
      ROW("opendir('file')", opendir("file"), no_directory + "opendir 'file'"),
      ROW("stat('a\\0b')", stat(std::string("a\0b", 3)), "The argument 'path'" + nul + "'a\\x00b'"),
      ROW("open('a\\0b')", open(std::string("a\0b", 3)), "The argument 'path'" + nul + "'a\\x00b'"),
      ROW("mkdir('a\\0b')", mkdir(std::string("a\0b", 3)), "The argument 'path'" + nul + "'a\\x00b'"),
      ROW("mkdtemp('a\\0b')", mkdtemp(std::string("a\0b", 3)), "The argument 'prefix'" + nul + "'a\\x00b'"),
      ROW("readdir('a\\0b')", readdir(std::string("a\0b", 3)), "The argument 'path'" + nul + "'a\\x00b'"),
      ROW("rename('a\\0b','c')", rename(std::string("a\0b", 3), "c"), "The argument 'oldPath'" + nul + "'a\\x00b'"),
      ROW("rename('c','a\\0b')", rename("c", std::string("a\0b", 3)), "The argument 'newPath'" + nul + "'a\\x00b'"),
      ROW("link('a\\0b','c')", link(std::string("a\0b", 3), "c"), "The argument 'existingPath'" + nul + "'a\\x00b'"),
      ROW("symlink('a\\0b','c')", symlink(std::string("a\0b", 3), "c"), "The argument 'target'" + nul + "'a\\x00b'"),
      ROW("symlink('c','a\\0b')", symlink("c", std::string("a\0b", 3)), "The argument 'path'" + nul + "'a\\x00b'"),
  };
}

TEST(Failures, of_every_call_have_nodes_code_and_words) {
  temporary_directory here;
  working_directory in(here.path());
  prepare();
  for (const auto& each : wordings()) {
    auto got = each.weir();
    EXPECT_EQ(got.message(), each.says) << each.node;
    const bool ours = each.says.find("The argument") == 0;
    EXPECT_EQ(got.code_name(), ours ? "ERR_INVALID_ARG_VALUE" : each.says.substr(0, each.says.find(':')));
  }
}

TEST(Failures, are_what_node_says_for_the_same_call) {
  if (!testing::has_node()) GTEST_SKIP() << "there is no node";
  temporary_directory here;
  working_directory in(here.path());
  prepare();
  std::string script =
      "const fs=require('fs').promises;const say=async f=>{try{await f();console.log('no error')}"
      "catch(e){console.log(e.message)}};\n(async()=>{\n";
  const auto all = wordings();
  for (const auto& each : all) script += "await say(()=>fs." + std::string(each.node) + ");\n";
  script += "})();\n";
  temporary_directory aside;
  put_file(aside / "say.js", script);
  std::istringstream answers(testing::output_of("node '" + aside / "say.js" + "'"));
  for (const auto& each : all) {
    std::string line;
    ASSERT_TRUE(std::getline(answers, line)) << each.node;
    EXPECT_EQ(each.says, line) << each.node;
  }
}

TEST(Failures, between_file_systems_name_both_paths) {
  struct ::stat shm = {};
  struct ::stat tmp = {};
  temporary_directory here;
  if (::stat("/dev/shm", &shm) != 0 || ::stat(here.path().c_str(), &tmp) != 0 || shm.st_dev == tmp.st_dev ||
      ::access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "there is one file system only";
  }
  put_file(here / "a", "x");
  temporary_directory there("/dev/shm");
  const auto both = "'" + here / "a" + "' -> '" + there / "b" + "'";
  EXPECT_EQ(why(rename(here / "a", there / "b")).message(), "EXDEV: cross-device link not permitted, rename " + both);
  EXPECT_EQ(why(link(here / "a", there / "b")).message(), "EXDEV: cross-device link not permitted, link " + both);
}

TEST(Failures, of_another_user_are_EACCES_and_EPERM) {
  if (!testing::is_root()) GTEST_SKIP() << "only root can become another";
  temporary_directory here;
  std::filesystem::permissions(here.path(), std::filesystem::perms(0755));
  std::filesystem::create_directory(here / "closed");
  put_file(here / "closed/file", "x");
  std::filesystem::permissions(here / "closed", std::filesystem::perms(0700));
  put_file(here / "mine", "x");
  std::filesystem::permissions(here / "mine", std::filesystem::perms(0600));
  EXPECT_TRUE(in_child([&] {
    ASSERT_TRUE(testing::become_nobody());
    EXPECT_TRUE(why(open(here / "mine")).is("EACCES"));
    EXPECT_TRUE(why(read_file(here / "mine")).is("EACCES"));
    EXPECT_TRUE(why(access(here / "mine", access_mode::read)).is("EACCES"));
    EXPECT_TRUE(why(stat(here / "closed/file")).is("EACCES"));
    EXPECT_FALSE(exists(here / "closed/file").now());
    EXPECT_TRUE(why(readdir(here / "closed")).is("EACCES"));
    EXPECT_TRUE(why(opendir(here / "closed")).is("EACCES"));
    EXPECT_TRUE(why(mkdir(here / "closed/a/b", {.recursive = true})).is("EACCES"));
    EXPECT_TRUE(why(mkdir(here / "new")).is("EACCES"));
    EXPECT_TRUE(why(mkdtemp(here / "new-")).is("EACCES"));
    EXPECT_TRUE(why(unlink(here / "mine")).is("EACCES"));
    EXPECT_TRUE(why(truncate(here / "mine")).is("EACCES"));
    EXPECT_TRUE(why(chmod(here / "mine", 0666)).is("EPERM"));
    EXPECT_TRUE(why(chown(here / "mine", testing::nobody, testing::nobody)).is("EPERM"));
    EXPECT_TRUE(why(utimes(here / "mine", time_point(), time_point())).is("EPERM"));
    EXPECT_TRUE(why(utimes(here / "mine", file_time::now(), file_time::now())).is("EACCES"));
    EXPECT_EQ(why(readdir(here.path(), {.recursive = true})).message(),
              "EACCES: permission denied, scandir '" + here / "closed" + "'");
  }));
}

TEST(Failures, without_a_free_descriptor_are_EMFILE) {
  temporary_directory here;
  put_file(here / "a", "x");
  EXPECT_TRUE(in_child([&] {
    testing::limit(RLIMIT_NOFILE, 3);
    EXPECT_EQ(why(open(here / "a")).message(), "EMFILE: too many open files, open '" + here / "a" + "'");
    EXPECT_TRUE(why(read_file(here / "a")).is("EMFILE"));
    EXPECT_TRUE(why(opendir(here.path())).is("EMFILE"));
    EXPECT_TRUE(why(readdir(here.path())).is("EMFILE"));
    EXPECT_EQ(stat(here / "a").now().size, 1U);
  }));
}

}  // namespace
}  // namespace weir::fs
