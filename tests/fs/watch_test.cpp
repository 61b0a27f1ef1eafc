// tests/fs/watch_test.cpp: one path watched as Node's fs.watch does it. Real files, real notices; what is waited for
// has a deadline.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/watch.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

constexpr auto patience = 20s;

std::string text(const watch_notice& notice) {
  return std::string(notice.action == watch_action::rename ? "rename " : "change ") + notice.name.value_or("?");
}

/// The notices until `last` has come.
task<std::vector<std::string>> notices_until(path_watch& w, std::string last) {
  std::vector<std::string> all;
  for (;;) {
    auto notice = co_await timeout(patience, w.next());
    if (!notice) co_return all;
    all.push_back(text(*notice));
    if (all.back() == last) co_return all;
  }
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] auto& each : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

using lines = std::vector<std::string>;

// C0-FS-09, C3-FS-09: making a file is a rename and a change, renaming it two renames.
TEST(Watch, tells_what_happens_in_a_directory_in_order) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await watch(dir.path());
    put_file(dir / "a", "x");
    std::filesystem::rename(dir / "a", dir / "b");
    std::filesystem::remove(dir / "b");
    std::filesystem::create_directory(dir / "end");
    const auto all = co_await notices_until(w, "rename end");
    EXPECT_EQ(all, (lines{"rename a", "change a", "rename a", "rename b", "rename b", "rename end"}));
  }());
}

TEST(Watch, of_a_file_names_the_file) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "f", "x");
    auto w = co_await watch(dir / "f");
    put_file(dir / "other", "not told");
    ::chmod((dir / "f").c_str(), 0600);
    EXPECT_EQ(co_await notices_until(w, "change f"), (lines{"change f"}));
    std::filesystem::rename(dir / "f", dir / "g");
    EXPECT_EQ(co_await notices_until(w, "rename f"), (lines{"rename f"}));
  }());
}

// C0-FS-10: a watch that follows the inode only is stale after an editor's save.
TEST(Watch, goes_on_where_another_file_takes_the_name) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "f", "1");
    auto w = co_await watch(dir / "f");
    for (int save = 0; save < 3; ++save) {
      put_file(dir / "f.tmp", "2");
      std::filesystem::rename(dir / "f.tmp", dir / "f");
      co_await notices_until(w, "rename f");
      std::ofstream(dir / "f", std::ios::app) << "more";
      co_await notices_until(w, "change f");
    }
    std::filesystem::remove(dir / "f");
    co_await notices_until(w, "rename f");
    put_file(dir / "f", "again");
    co_await notices_until(w, "change f");
  }());
}

TEST(Watch, of_a_link_tells_of_the_file_that_it_leads_to) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    std::filesystem::create_directories(dir / "v1");
    std::filesystem::create_directories(dir / "v2");
    put_file(dir / "v1/f", "1");
    put_file(dir / "v2/f", "2");
    std::filesystem::create_symlink("v1/f", dir / "f");
    auto w = co_await watch(dir / "f");
    put_file(dir / "v1/f", "more");
    co_await notices_until(w, "change f");
    std::filesystem::create_symlink("v2/f", dir / "next");
    std::filesystem::rename(dir / "next", dir / "f");
    co_await notices_until(w, "rename f");
    put_file(dir / "v2/f", "more");
    co_await notices_until(w, "change f");
  }());
}

TEST(Watch, tells_of_things_below_with_their_path_if_recursive) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    std::filesystem::create_directories(dir / "old/deep");
    auto w = co_await watch(dir.path(), {.recursive = true});
    put_file(dir / "old/deep/x", "1");
    EXPECT_EQ(co_await notices_until(w, "change old/deep/x"), (lines{"rename old/deep/x", "change old/deep/x"}));
    std::filesystem::create_directories(dir / "a/b/c");
    std::set<std::string> seen;
    while (seen.size() < 3) seen.insert(text(*co_await timeout(patience, w.next())));
    EXPECT_EQ(seen, (std::set<std::string>{"rename a", "rename a/b", "rename a/b/c"}));
    put_file(dir / "a/b/c/y", "");
    co_await notices_until(w, "rename a/b/c/y");
    std::filesystem::rename(dir / "a", dir / "z");
    co_await notices_until(w, "rename z");
    put_file(dir / "z/b/c/y", "more");
    co_await notices_until(w, "change z/b/c/y");
  }());
}

// A directory that is filled while nobody looks: its watch comes late.
TEST(Watch, tells_of_each_thing_in_a_new_directory_once) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             auto w = co_await watch(dir.path(), {.recursive = true});
             std::thread maker([&] {
               for (int i = 0; i < 30; ++i) {
                 const auto sub = dir / ("d" + std::to_string(i));
                 std::filesystem::create_directories(sub + "/e");
                 for (int n = 0; n < 5; ++n) std::ofstream(sub + "/e/f" + std::to_string(n)).close();
               }
             });
             std::multiset<std::string> renames;
             while (renames.size() < 30 * 7) {
               auto notice = co_await timeout(patience, w.next());
               if (notice->action == watch_action::rename) renames.insert(*notice->name);
             }
             maker.join();
             std::filesystem::create_directory(dir / "end");
             for (auto& each : co_await notices_until(w, "rename end")) {
               if (each.starts_with("rename d")) renames.insert(each.substr(7));
             }
             for (auto& each : renames) EXPECT_EQ(renames.count(each), 1U) << each;
             static_cast<void>(s);
           }));
}

TEST(Watch, refuses_a_missing_path_in_words_of_node) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto refused = co_await attempt(watch(dir / "nope"));
    EXPECT_FALSE(refused);
    EXPECT_EQ(refused.failure().message(), "ENOENT: no such file or directory, watch '" + (dir / "nope") + "'");
    EXPECT_EQ(refused.error().syscall(), "watch");
    EXPECT_EQ(refused.error().path(), dir / "nope");
  }());
}

// A timed stop. C3-FS-09: nothing comes after close.
TEST(C3_SYS_28, watch_ends_when_it_is_closed_and_tells_nothing_after_that) {
  run_with(2, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             const auto before = open_descriptors();
             auto w = co_await watch(dir.path());
             set_timeout([&w] { w.close(); }, 30ms);
             EXPECT_EQ(co_await timeout(patience, w.next()), std::nullopt);
             EXPECT_TRUE(w.closed());
             put_file(dir / "late", "");
             EXPECT_EQ(co_await w.next(), std::nullopt);
             EXPECT_EQ(open_descriptors(), before);

             auto unread = co_await watch(dir.path());
             put_file(dir / "unread", "");
             unread.close();
             unread.close();
             EXPECT_EQ(co_await unread.next(), std::nullopt);

             auto foreign = co_await watch(dir.path());
             auto waiting =
                 s.spawn([](path_watch& on) -> task<bool> { co_return !co_await on.next(); }, std::ref(foreign));
             std::thread([&] { foreign.close(); }).join();
             EXPECT_TRUE(co_await std::move(waiting));
             EXPECT_EQ(open_descriptors(), before);
           }));
}

TEST(Watch, loses_no_notice_when_the_wait_is_cancelled) {
  temporary_directory dir;
  int round = 0;
  const auto make = [&]() -> task<lines> {
    const auto name = std::to_string(round++);
    auto w = co_await watch(dir.path());
    std::filesystem::create_directory(dir / name);
    auto first = co_await attempt(timeout(patience, w.next()));
    if (!first) first = co_await shield(timeout(patience, w.next()));
    co_return lines{text(**first), "rename " + name};
  };
  cancel_at_every_suspension(make, [](const result<lines>& outcome) {
    if (outcome) EXPECT_EQ((*outcome)[0], (*outcome)[1]);
  });
}

TEST(Watch, is_read_by_one_task_at_a_time) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             auto w = co_await watch(dir.path());
             auto first = s.spawn_local([](path_watch& on) -> task<> { co_await on.next(); }, std::ref(w));
             co_await yield();
             auto second = co_await attempt(w.next());
             EXPECT_TRUE(!second && second.failure().is("ERR_INVALID_STATE"));
             w.close();
             co_await std::move(first);
           }));
}

// C1-WA-03: what keeps a program running is the task that waits, so a watch that should not, races with what should.
TEST(Watch, does_not_keep_a_program_running_that_has_ended_its_work) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await watch(dir.path());
    auto first = co_await race(w.next(), []() -> task<std::optional<watch_notice>> {
      co_await sleep(1ms);
      co_return watch_notice{.name = "work"};
    }());
    EXPECT_EQ(first->name, "work");
  }());
}

TEST(Watch, may_be_made_before_there_is_a_runtime) {
  temporary_directory dir;
  auto w = watch(dir.path()).now();
  put_file(dir / "early", "");
  EXPECT_EQ(run_with(1, notices_until(w, "rename early")), (lines{"rename early"}));
}

TEST(Watch, says_when_the_system_lost_count) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await watch(dir.path());
    put_file(dir / "a", "");
    put_file(dir / "b", "");
    for (int i = 0; i < 10'000; ++i) {  // by turns: the kernel makes one of what is the same
      ::chmod((dir / "a").c_str(), 0600);
      ::chmod((dir / "b").c_str(), 0600);
    }
    bool lost = false;
    while (!lost) lost = !(*co_await timeout(patience, w.next())).name.has_value();
  }());
}

// What Node tells about the same steps.
TEST(Watch, tells_what_node_tells) {
  if (!has_node()) GTEST_SKIP() << "no node";
  temporary_directory dir;
  const std::string script =
      "const fs=require('fs'),d=process.argv[1],l=[];const w=fs.watch(d,(e,f)=>{l.push(e+' '+f);"
      "if(f==='end'){console.log(l.join('\\n'));w.close();}});"
      "fs.writeFileSync(d+'/f','1');fs.appendFileSync(d+'/f','2');fs.chmodSync(d+'/f',0o600);"
      "fs.linkSync(d+'/f',d+'/l');fs.symlinkSync('f',d+'/s');fs.renameSync(d+'/f',d+'/g');fs.unlinkSync(d+'/l');"
      "fs.unlinkSync(d+'/s');fs.unlinkSync(d+'/g');fs.mkdirSync(d+'/end');";
  std::filesystem::create_directory(dir / "node");
  const auto expected = output_of("node -e \"" + script + "\" '" + (dir / "node") + "'");
  std::filesystem::create_directory(dir / "weir");
  const auto told = run_with(1, [](std::string d) -> task<std::string> {
    auto w = co_await watch(d);
    put_file(d + "/f", "1");
    std::ofstream(d + "/f", std::ios::app) << "2";
    ::chmod((d + "/f").c_str(), 0600);
    std::filesystem::create_hard_link(d + "/f", d + "/l");
    std::filesystem::create_symlink("f", d + "/s");
    std::filesystem::rename(d + "/f", d + "/g");
    for (auto* name : {"/l", "/s", "/g"}) std::filesystem::remove(d + name);
    std::filesystem::create_directory(d + "/end");
    std::string all;
    for (auto& each : co_await notices_until(w, "rename end")) all += each + "\n";
    co_return all;
  }(dir / "weir"));
  EXPECT_EQ(told, expected);
}

}  // namespace
}  // namespace weir::fs
