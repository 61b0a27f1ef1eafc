// tests/fs/watcher_test.cpp: trees watched on real disks: what is told is replayed and compared with what is there.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/emitter.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/watcher.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

namespace stdfs = std::filesystem;
using lines = std::vector<std::string>;

constexpr auto patience = 20s;

/// Everything is told after 20 ms of quiet, in the order in which it became quiet.
watcher_options quick() {
  watcher_options options;
  options.quiet = {.add = 20ms, .change = 20ms, .unlink = 20ms, .add_dir = 20ms, .unlink_dir = 20ms, .rename = 20ms};
  options.atomic = false;
  return options;
}

std::string below(const std::string& base, const std::string& path) {
  return path.starts_with(base + "/") ? path.substr(base.size() + 1) : path == base ? "." : path;
}

std::string line_of(const watch_event& event, const std::string& base) {
  std::string text(name_of(event.kind));
  if (!event.from.empty()) text += " " + below(base, event.from);
  if (!event.path.empty()) text += " " + below(base, event.path);
  return text;
}

task<watch_event> next_of(watcher& w) {
  auto event = co_await timeout(patience, w.next());
  if (!event) throw error(errc::err_closed);
  co_return std::move(*event);
}

/// What is told of all that has happened so far: a file "end" comes and goes twice, so that what takes two times of
/// quiet has had them.
task<lines> told_until_end(watcher& w, const std::string& base) {
  lines all;
  for (const std::string last : {"add end", "unlink end", "add end", "unlink end"}) {
    if (last == "add end") put_file(base + "/end", "");
    if (last == "unlink end") stdfs::remove(base + "/end");
    for (auto line = line_of(co_await next_of(w), base); line != last; line = line_of(co_await next_of(w), base)) {
      all.push_back(std::move(line));
    }
  }
  co_return all;
}

/// A watcher of `base` that has had its first look.
task<watcher> ready_watcher(std::string base, watcher_options options) {
  watcher w(std::move(base), std::move(options));
  auto first = co_await next_of(w);
  EXPECT_EQ(first.kind, watch_kind::ready);
  co_return w;
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] auto& each : stdfs::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

void move(const std::string& from, const std::string& to) { stdfs::rename(from, to); }
void append(const std::string& path, std::string_view text) { std::ofstream(path, std::ios::app) << text; }

// ------------------------------------------------------------------ what is told

// C1-WA-08: create, modify, delete.
TEST(C1_SYS_47, watcher_tells_of_files_that_come_change_and_go) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await ready_watcher(dir.path(), quick());
    put_file(dir / "a", "one");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("add a"));
    append(dir / "a", "two");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("change a"));
    stdfs::remove(dir / "a");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("unlink a"));
  }());
}

// C1-WA-08: no difference, no event.
TEST(Watcher, tells_nothing_where_nothing_is_different) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "a", "one");
    auto w = co_await ready_watcher(dir.path(), quick());
    ::chmod((dir / "a").c_str(), 0600);
    append(dir / "a", "");
    put_file(dir / "short-lived", "");
    stdfs::remove(dir / "short-lived");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), IsEmpty());
  }());
}

// C1-WA-57: rapid saves of the same size within one tick of the clock.
TEST(Watcher, never_loses_the_last_of_many_rapid_saves) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "a", "0");
    auto w = co_await ready_watcher(dir.path(), quick());
    for (int i = 0; i < 50; ++i) {
      put_file(dir / "a", std::to_string(i % 10));
      EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change a");
    }
  }());
}

// C1-WA-07, C1-WA-25: one event per burst, per path.
TEST(Watcher, makes_one_event_of_a_burst) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "a", "");
    put_file(dir / "b", "");
    auto options = quick();
    options.quiet.change = 60ms;
    options.quiet.add = 80ms;
    auto w = co_await ready_watcher(dir.path(), options);
    for (int i = 0; i < 100; ++i) {
      append(dir / "a", "x");
      append(dir / "b", "x");
      co_await yield();
    }
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("change a", "change b"));
  }());
}

TEST(Watcher, tells_of_a_file_that_is_never_quiet) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             put_file(dir / "log", "");
             auto options = quick();
             options.quiet.change = 50ms;
             options.quiet.longest = 200ms;
             auto w = co_await ready_watcher(dir.path(), options);
             set_interval([path = dir / "log"] { append(path, "line\n"); }, 5ms);
             for (int i = 0; i < 3; ++i) EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change log");
             s.cancel();
           }));
}

// C1-WA-05: inotify is not recursive.
TEST(Watcher, tells_of_new_directories_before_what_is_in_them) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await ready_watcher(dir.path(), quick());
    stdfs::create_directories(dir / "a/b/c");
    put_file(dir / "a/b/c/f", "x");
    put_file(dir / "a/g", "x");
    const auto all = co_await told_until_end(w, dir.path());
    EXPECT_THAT(all, UnorderedElementsAre("addDir a", "addDir a/b", "addDir a/b/c", "add a/b/c/f", "add a/g"));
    const auto at = [&](std::string_view line) { return std::find(all.begin(), all.end(), line) - all.begin(); };
    EXPECT_LT(at("addDir a"), at("addDir a/b"));
    EXPECT_LT(at("addDir a/b/c"), at("add a/b/c/f"));
    stdfs::remove_all(dir / "a");
    const auto gone = co_await told_until_end(w, dir.path());
    EXPECT_THAT(
        gone, UnorderedElementsAre("unlink a/b/c/f", "unlinkDir a/b/c", "unlinkDir a/b", "unlink a/g", "unlinkDir a"));
    EXPECT_EQ(gone.back(), "unlinkDir a");
  }());
}

TEST(Watcher, tells_of_each_thing_in_directories_that_are_filled_meanwhile_once) {
  run_with(2, []() -> task<> {
    temporary_directory dir;
    auto w = co_await ready_watcher(dir.path(), quick());
    std::thread maker([&] {
      for (int i = 0; i < 50; ++i) {
        const auto sub = dir / ("d" + std::to_string(i));
        stdfs::create_directories(sub + "/e");
        for (int n = 0; n < 5; ++n) put_file(sub + "/e/f" + std::to_string(n), "x");
      }
    });
    std::map<std::string, int> adds;
    while (adds.size() < 50 * 7) {
      const auto event = co_await next_of(w);
      if (event.kind == watch_kind::add || event.kind == watch_kind::add_dir) ++adds[event.path];
    }
    maker.join();
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ::testing::Each(::testing::StartsWith("change")));
    for (auto& [path, times] : adds) EXPECT_EQ(times, 1) << path;
  }());
}

// C1-WA-30: a size is compared with one that is known.
TEST(Watcher, gives_the_size_before_where_there_was_one) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await ready_watcher(dir.path(), quick());
    put_file(dir / "a", "one");
    auto added = co_await next_of(w);
    EXPECT_FALSE(added.previous_size.has_value());
    EXPECT_EQ(added.stats->size, 3U);
    append(dir / "a", "four");
    auto changed = co_await next_of(w);
    EXPECT_EQ(changed.previous_size, 3U);
    EXPECT_EQ(changed.stats->size, 7U);
  }());
}

TEST(Watcher, tells_of_permissions_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "a", "one");
    auto options = quick();
    options.attributes = true;
    options.always_stat = false;
    auto w = co_await ready_watcher(dir.path(), options);
    ::chmod((dir / "a").c_str(), 0600);
    const auto event = co_await next_of(w);
    EXPECT_EQ(line_of(event, dir.path()), "changeAttrs a");
    EXPECT_FALSE(event.stats.has_value());
  }());
}

// ------------------------------------------------------------------ saves and moves

// C1-WA-23: an editor's atomic save is one change, however it is done.
TEST(C1_SYS_48, watcher_makes_one_change_of_an_atomic_save) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "doc", "old");
    auto w = co_await ready_watcher(dir.path(), watcher_options{});
    put_file(dir / "doc.tmp", "by renaming");
    move(dir / "doc.tmp", dir / "doc");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change doc");
    stdfs::remove(dir / "doc");
    put_file(dir / "doc", "by removing first");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change doc");
    move(dir / "doc", dir / "doc~");
    put_file(dir / "doc", "with a backup");
    stdfs::remove(dir / "doc~");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change doc");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), IsEmpty());
  }());
}

TEST(Watcher, tells_of_both_halves_of_a_save_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "doc", "old");
    auto options = quick();
    options.quiet = {.add = 0ms, .change = 0ms, .unlink = 0ms, .add_dir = 0ms, .unlink_dir = 0ms, .rename = 0ms};
    auto w = co_await ready_watcher(dir.path(), options);
    stdfs::remove(dir / "doc");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlink doc");
    put_file(dir / "doc", "new");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add doc");
  }());
}

// C0-FS-10: a single file that is replaced again and again.
TEST(Watcher, follows_a_file_that_is_replaced) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "config", "0");
    put_file(dir / "other", "0");
    auto w = co_await ready_watcher(dir / "config", quick());
    for (int i = 0; i < 5; ++i) {
      append(dir / "other", "not told");
      put_file(dir / "config.new", std::to_string(i));
      move(dir / "config.new", dir / "config");
      EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change config");
      append(dir / "config", "in place");
      EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change config");
    }
    stdfs::remove(dir / "config");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlink config");
    put_file(dir / "config", "back");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add config");
  }());
}

// C1-WA-28: paired by cookie and inode, not by time.
TEST(C1_SYS_48, watcher_pairs_the_two_halves_of_a_rename) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directory(dir / "sub");
    put_file(dir / "a", "a");
    put_file(dir / "b", "b");
    auto w = co_await ready_watcher(dir.path(), quick());
    move(dir / "a", dir / "sub/a2");
    stdfs::remove(dir / "b");
    put_file(dir / "c", "unrelated to b");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("rename a sub/a2", "unlink b", "add c"));
    move(dir / "sub/a2", dir / "x");
    move(dir / "x", dir / "y");
    append(dir / "y", "more");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("rename sub/a2 y", "change y"));
    move(dir / "y", dir / "c");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("unlink y", "change c"));
    move(dir / "c", dir / "d");
    move(dir / "d", dir / "c");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), IsEmpty());
  }());
}

TEST(Watcher, tells_of_a_directory_that_moves_as_one_thing) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "a/b");
    put_file(dir / "a/b/f", "");
    auto w = co_await ready_watcher(dir.path(), quick());
    move(dir / "a", dir / "z");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("renameDir a z"));
    append(dir / "z/b/f", "x");
    put_file(dir / "z/b/g", "x");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("change z/b/f", "add z/b/g"));
    stdfs::create_directory(dir / "new");
    put_file(dir / "new/f", "");
    move(dir / "new", dir / "named");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("addDir named", "add named/f"));
  }());
}

TEST(Watcher, tells_of_a_move_as_two_things_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directory(dir / "a");
    put_file(dir / "a/f", "");
    auto options = quick();
    options.renames = false;
    auto w = co_await ready_watcher(dir.path(), options);
    move(dir / "a", dir / "z");
    EXPECT_THAT(co_await told_until_end(w, dir.path()),
                UnorderedElementsAre("unlink a/f", "unlinkDir a", "addDir z", "add z/f"));
  }());
}

TEST(Watcher, tells_of_what_is_moved_out_and_in) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    temporary_directory outside;
    stdfs::create_directory(dir / "a");
    put_file(dir / "a/f", "");
    auto w = co_await ready_watcher(dir.path(), quick());
    move(dir / "a", outside / "a");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("unlink a/f", "unlinkDir a"));
    put_file(outside / "a/g", "not told");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), IsEmpty());
    move(outside / "a", dir / "b");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("addDir b", "add b/f", "add b/g"));
    append(dir / "b/g", "x");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("change b/g"));
  }());
}

TEST(Watcher, tells_of_two_things_that_change_places) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "a");
    stdfs::create_directories(dir / "b");
    put_file(dir / "a/in_a", "");
    put_file(dir / "b/in_b", "");
    put_file(dir / "x", "x");
    put_file(dir / "y", "yy");
    auto w = co_await ready_watcher(dir.path(), quick());
    EXPECT_EQ(::renameat2(AT_FDCWD, (dir / "x").c_str(), AT_FDCWD, (dir / "y").c_str(), RENAME_EXCHANGE), 0);
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("change x", "change y"));
    EXPECT_EQ(::renameat2(AT_FDCWD, (dir / "a").c_str(), AT_FDCWD, (dir / "b").c_str(), RENAME_EXCHANGE), 0);
    co_await told_until_end(w, dir.path());
    append(dir / "a/in_b", "1");
    append(dir / "b/in_a", "1");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("change a/in_b", "change b/in_a"));
  }());
}

// ------------------------------------------------------------------ options

// C1-WA-16, C1-WA-15, C1-WA-06: ready after what is there.
TEST(Watcher, tells_what_is_there_before_it_is_ready_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "a/b");
    put_file(dir / "a/b/f", "12345");
    auto options = quick();
    options.ignore_initial = false;
    watcher w(dir.path(), options);
    co_await w.ready();
    lines all;
    do {
      const auto event = co_await next_of(w);
      all.push_back(line_of(event, dir.path()));
      if (event.kind == watch_kind::add) EXPECT_EQ(event.stats->size, 5U);
    } while (all.back() != "ready");
    EXPECT_THAT(all, ElementsAre("addDir .", "addDir a", "addDir a/b", "add a/b/f", "ready"));
  }());
}

// C1-WA-24.
TEST(Watcher, leaves_out_what_is_ignored) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "node_modules/x");
    auto options = quick();
    options.ignored = {"*.tmp", "node_modules"};
    options.ignore = [](std::string_view path) { return path.ends_with("/secret"); };
    auto w = co_await ready_watcher(dir.path(), options);
    put_file(dir / "node_modules/x/y", "");
    put_file(dir / "a.tmp", "");
    put_file(dir / "secret", "");
    put_file(dir / "told", "");
    move(dir / "a.tmp", dir / "a");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("add told", "add a"));
    move(dir / "a", dir / "b.tmp");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("unlink a"));
  }());
}

// C1-WA-20.
TEST(Watcher, looks_no_deeper_than_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "a/b");
    auto options = quick();
    options.depth = 1;
    auto w = co_await ready_watcher(dir.path(), options);
    put_file(dir / "a/f", "");
    put_file(dir / "a/b/too_deep", "");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("add a/f"));
  }());
}

// C1-WA-17.
TEST(Watcher, follows_links_and_is_not_caught_in_circles) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    temporary_directory target;
    stdfs::create_directory(target / "sub");
    put_file(target / "sub/f", "");
    put_file(target / "single", "");
    stdfs::create_directory(dir / "real");
    stdfs::create_directory_symlink(target / "sub", dir / "link");
    stdfs::create_symlink(target / "single", dir / "file_link");
    stdfs::create_directory_symlink(dir.path(), dir / "real/circle");
    auto options = quick();
    options.ignore_initial = false;
    watcher w(dir.path(), options);
    lines all;
    do all.push_back(line_of(co_await next_of(w), dir.path()));
    while (all.back() != "ready");
    EXPECT_THAT(all, UnorderedElementsAre("addDir .", "addDir real", "addDir link", "add link/f", "add file_link",
                                          "addDir real/circle", "ready"));
    append(target / "sub/f", "x");
    append(target / "single", "x");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), UnorderedElementsAre("change link/f", "change file_link"));
    stdfs::remove(dir / "link");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), ElementsAre("unlink link/f", "unlinkDir link"));
  }());
}

TEST(Watcher, takes_links_for_themselves_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    temporary_directory target;
    put_file(target / "f", "");
    auto options = quick();
    options.follow_symlinks = false;
    auto w = co_await ready_watcher(dir.path(), options);
    stdfs::create_directory_symlink(target.path(), dir / "link");
    const auto event = co_await next_of(w);
    EXPECT_EQ(line_of(event, dir.path()), "add link");
    EXPECT_TRUE(event.stats->is_symbolic_link());
    append(target / "f", "x");
    EXPECT_THAT(co_await told_until_end(w, dir.path()), IsEmpty());
  }());
}

// A mounted configuration map: the file is a link through a link that is swapped.
TEST(Watcher, sees_a_link_on_the_way_to_a_file_swapped) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directory(dir / "v1");
    stdfs::create_directory(dir / "v2");
    put_file(dir / "v1/app", "1");
    put_file(dir / "v2/app", "22");
    stdfs::create_directory_symlink("v1", dir / "data");
    stdfs::create_symlink("data/app", dir / "app");
    auto w = co_await ready_watcher(dir / "app", quick());
    stdfs::create_directory_symlink("v2", dir / "data_new");
    move(dir / "data_new", dir / "data");
    stdfs::remove_all(dir / "v1");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change app");
    append(dir / "v2/app", "x");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change app");
  }());
}

// C1-WA-21.
TEST(Watcher, holds_a_file_until_it_is_written) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             auto options = quick();
             options.await_write_finish = write_finish{.stability_threshold = 150ms, .poll_interval = 10ms};
             auto w = co_await ready_watcher(dir.path(), options);
             int pieces = 0;
             auto writing = set_interval(
                 [&pieces, path = dir / "upload"] {
                   if (pieces < 10) append(path, "piece");
                   ++pieces;
                 },
                 20ms);
             const auto event = co_await next_of(w);
             EXPECT_EQ(line_of(event, dir.path()), "add upload");
             EXPECT_EQ(event.stats->size, 50U);
             EXPECT_GE(pieces, 15);
             writing.clear();
             put_file(dir / "given_up", "");
             put_file(dir / "kept", "");
             stdfs::remove(dir / "given_up");
             EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add kept");
             static_cast<void>(s);
           }));
}

// C1-WA-18, C1-WA-56: where the kernel tells nothing.
TEST(C1_SYS_48, watcher_finds_changes_by_looking_if_asked) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directories(dir / "a/b");
    put_file(dir / "a/f", "1");
    const auto before = open_descriptors();
    auto options = quick();
    options.use_polling = true;
    options.interval = 5ms;
    options.binary_interval = 15ms;
    {
      auto w = co_await ready_watcher(dir.path(), options);
      EXPECT_EQ(open_descriptors(), before);
      put_file(dir / "a/b/g", "1");
      append(dir / "a/f", "2");
      EXPECT_THAT((std::set{line_of(co_await next_of(w), dir.path()), line_of(co_await next_of(w), dir.path())}),
                  ElementsAre("add a/b/g", "change a/f"));
      put_file(dir / "picture.PNG", "1");
      EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add picture.PNG");
      append(dir / "picture.PNG", "2");
      EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "change picture.PNG");
      stdfs::remove_all(dir / "a");
      lines gone;
      for (int i = 0; i < 4; ++i) gone.push_back(line_of(co_await next_of(w), dir.path()));
      EXPECT_THAT(gone, UnorderedElementsAre("unlink a/b/g", "unlinkDir a/b", "unlink a/f", "unlinkDir a"));
    }
  }());
}

// C1-WA-22.
TEST(Watcher, reports_what_may_not_be_read_if_asked) {
  if (!is_root()) GTEST_SKIP() << "only root can become somebody else";
  temporary_directory dir;
  stdfs::create_directory(dir / "closed");
  ::chmod((dir / "closed").c_str(), 0700);
  ::chmod(dir.path().c_str(), 0755);
  for (const bool silent : {true, false}) {
    EXPECT_TRUE(in_child([&] {
      ASSERT_TRUE(become_nobody());
      auto options = quick();
      options.ignore_permission_errors = silent;
      run_with(1, [](std::string base, watcher_options how) -> task<> {
        watcher w(base, how);
        auto event = co_await next_of(w);
        if (!how.ignore_permission_errors) {
          EXPECT_EQ(line_of(event, base), "error closed");
          EXPECT_TRUE(event.why->is("EACCES"));
          EXPECT_THAT(to_string(event), HasSubstr("permission denied"));
          while (event.kind == watch_kind::error) event = co_await next_of(w);
        }
        EXPECT_EQ(event.kind, watch_kind::ready);
      }(dir.path(), options));
    }));
  }
}

// ------------------------------------------------------------------ paths

// C1-WA-01, C1-WA-02, C1-WA-11, C1-WA-13, C1-WA-14.
TEST(Watcher, takes_paths_and_gives_them_back_one_by_one) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    const working_directory here(dir.path());
    stdfs::create_directories(dir / "a/sub");
    stdfs::create_directories(dir / "b");
    put_file(dir / "c", "");
    watcher w(std::vector<std::string>{"a", dir / "b/"}, quick());
    co_await w.ready();
    EXPECT_EQ((co_await next_of(w)).kind, watch_kind::ready);
    EXPECT_THAT(co_await w.paths(), ElementsAre(dir / "a", dir / "b"));
    EXPECT_TRUE(co_await w.add("c"));
    EXPECT_FALSE(co_await w.add("./c"));
    EXPECT_FALSE(co_await w.add("a/sub"));
    append(dir / "c", "x");
    put_file(dir / "d", "not told");
    put_file(dir / "b/f", "x");
    lines told{line_of(co_await next_of(w), dir.path()), line_of(co_await next_of(w), dir.path())};
    EXPECT_THAT(told, UnorderedElementsAre("change c", "add b/f"));
    const auto watched = co_await w.watched();
    EXPECT_THAT(watched.at(dir / "a"), ElementsAre("sub"));
    EXPECT_THAT(watched.at(dir / "b"), ElementsAre("f"));
    EXPECT_TRUE(co_await w.unwatch("b"));
    EXPECT_FALSE(co_await w.unwatch("b"));
    EXPECT_TRUE(co_await w.unwatch("a/sub"));
    put_file(dir / "b/g", "");
    put_file(dir / "a/sub/g", "");
    EXPECT_THAT(co_await told_until_end(w, dir / "a"), IsEmpty());
    EXPECT_TRUE(co_await w.add("a/sub"));
    put_file(dir / "a/sub/h", "");
    EXPECT_THAT(co_await told_until_end(w, dir / "a"), ElementsAre("add sub/h"));
  }());
}

TEST(Watcher, takes_up_a_path_while_somebody_waits) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             stdfs::create_directory(dir / "a");
             stdfs::create_directory(dir / "b");
             auto w = co_await ready_watcher(dir / "a", quick());
             auto waiting = s.spawn_local(next_of, std::ref(w));
             co_await yield();
             EXPECT_TRUE(co_await w.add(dir / "b"));
             put_file(dir / "b/f", "");
             EXPECT_EQ(line_of(co_await std::move(waiting), dir.path()), "add b/f");
           }));
}

TEST(Watcher, waits_for_paths_that_do_not_exist_yet) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = co_await ready_watcher(dir / "x/y/file", quick());
    put_file(dir / "other", "");
    stdfs::create_directories(dir / "x/y");
    put_file(dir / "x/y/file", "1");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add x/y/file");
    stdfs::remove_all(dir / "x");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlink x/y/file");
    stdfs::create_directories(dir / "x/y");
    put_file(dir / "x/y/file", "1");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add x/y/file");
    move(dir / "x/y", dir / "x/z");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlink x/y/file");
  }());
}

TEST(Watcher, sees_a_watched_directory_go_and_come) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    stdfs::create_directory(dir / "a");
    put_file(dir / "a/f", "");
    auto w = co_await ready_watcher(dir / "a", quick());
    stdfs::remove_all(dir / "a");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlink a/f");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "unlinkDir a");
    stdfs::create_directory(dir / "a");
    put_file(dir / "a/f", "");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "addDir a");
    EXPECT_EQ(line_of(co_await next_of(w), dir.path()), "add a/f");
  }());
}

TEST(Watcher, refuses_what_cannot_be_watched) {
  EXPECT_THROW(watcher(std::string("a\0b", 3)), error);
  EXPECT_THROW(watcher(""), error);
  watcher_options options;
  options.interval = 0ms;
  EXPECT_THROW(watcher("a", options), error);
  options.interval = 1ms;
  options.await_write_finish = write_finish{.poll_interval = 0ms};
  EXPECT_THROW(watcher("a", options), error);
}

// ------------------------------------------------------------------ ends and limits

// C1-WA-12, C1-WA-31: close frees every watch and descriptor; nothing comes after it.
TEST(Watcher, tells_nothing_after_it_is_closed_and_frees_everything) {
  run_with(2, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             const auto before = open_descriptors();
             auto w = co_await ready_watcher(dir.path(), quick());
             put_file(dir / "held", "");
             auto waiting = s.spawn([](watcher& on) -> task<bool> { co_return !co_await on.next(); }, std::ref(w));
             co_await sleep(1ms);
             w.close();
             EXPECT_TRUE(co_await std::move(waiting));
             EXPECT_TRUE(w.closed());
             EXPECT_EQ(open_descriptors(), before);
             put_file(dir / "late", "");
             EXPECT_FALSE((co_await w.next()).has_value());
             auto added = co_await attempt(w.add(dir.path()));
             EXPECT_TRUE(!added && added.failure().is("ERR_CLOSED"));
             w.close();

             auto foreign = co_await ready_watcher(dir.path(), quick());
             auto other = s.spawn([](watcher& on) -> task<bool> { co_return !co_await on.next(); }, std::ref(foreign));
             std::thread([&] { foreign.close(); }).join();
             EXPECT_TRUE(co_await std::move(other));
             EXPECT_EQ(open_descriptors(), before);
           }));
}

TEST(Watcher, loses_no_event_when_the_wait_is_cancelled) {
  run_with(2, []() -> task<> {
    temporary_directory dir;
    auto options = quick();
    options.quiet.add = 1ms;
    auto w = co_await ready_watcher(dir.path(), options);
    std::set<std::string> told;
    int stopped = 0;
    for (std::size_t i = 0; i < rounds(300, 3); ++i) {
      put_file(dir / std::to_string(i), "");
      while (told.size() <= i) {
        auto event = co_await attempt(timeout(std::chrono::microseconds(stopped % 3000), w.next()));
        stopped += event ? 0 : 100;
        if (event && (*event)->kind == watch_kind::add) told.insert((*event)->path);
      }
    }
    EXPECT_GT(stopped, 0);
  }());
}

// C1-WA-58: the limit is named, and what could be watched is.
TEST(Watcher, says_which_limit_has_been_reached) {
  if (!is_root()) GTEST_SKIP() << "only root can become somebody else, whose watches are counted apart";
  temporary_directory dir;
  ::chmod(dir.path().c_str(), 0777);
  EXPECT_TRUE(in_child([&] {
    ASSERT_TRUE(become_nobody());
    std::vector<int> all;
    int fd = 0;
    while ((fd = ::inotify_init1(IN_CLOEXEC)) >= 0) all.push_back(fd);
    try {
      watcher w(dir.path());
      ADD_FAILURE() << "more instances than there may be";
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "EMFILE");
      EXPECT_THAT(e.what(), HasSubstr("fs.inotify.max_user_instances"));
    }
    for (const int each : all) ::close(each);
    limit(RLIMIT_NOFILE, 3);
    try {
      watcher w(dir.path());
      ADD_FAILURE() << "more descriptors than there may be";
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "EMFILE");
      EXPECT_THAT(e.what(), HasSubstr("too many open files"));
    }
  }));
}

/// A namespace in which this process may have so many watches.
bool allow_watches(int most) {
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  std::ofstream limit("/proc/sys/user/max_inotify_watches");
  limit << most << std::flush;
  return limit.good();
}

TEST(Watcher, goes_on_with_what_could_be_watched_and_says_so_once) {
  temporary_directory dir;
  for (int i = 0; i < 20; ++i) stdfs::create_directory(dir / std::to_string(i));
  EXPECT_TRUE(in_child([&] {
    if (!allow_watches(10)) return;  // not for everybody
    run_with(1, [](std::string base) -> task<> {
      watcher w(base, quick());
      const auto refused = co_await next_of(w);
      EXPECT_EQ(refused.kind, watch_kind::error);
      EXPECT_TRUE(refused.why->is("ENOSPC"));
      EXPECT_THAT(refused.why->message(), HasSubstr("fs.inotify.max_user_watches"));
      EXPECT_EQ((co_await next_of(w)).kind, watch_kind::ready);
      put_file(base + "/f", "");
      EXPECT_EQ(line_of(co_await next_of(w), base), "add f");
    }(dir.path()));
  }));
}

// ------------------------------------------------------------------ events by name

// C1-WA-26: the general event has a name of its own. C1-WA-09: it comes first. C1-WA-29, C1-WA-30.
TEST(Watcher, emits_events_by_name_after_the_general_one) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             put_file(dir / "app.TS", "1");
             watcher w(dir.path(), quick());
             emitter to;
             lines heard;
             std::vector<subscription> all;
             const auto hear = [&](const event_type<const watch_event&>& type) {
               all.push_back(to.subscribe(type, [&heard, &dir, name = std::string(type.name())](const watch_event& e) {
                 heard.push_back(name + " " + below(dir.path(), e.path));
               }));
             };
             hear(watch_events::all);
             hear(watch_events::add);
             hear(watch_events::change);
             hear(watch_events::source_change);
             hear(watch_events::config_change);
             hear(watch_events::size_change);
             bool closed = false;
             all.push_back(to.subscribe(watch_events::close, [&] { closed = true; }));
             all.push_back(to.subscribe(watch_events::ready, [&] {
               append(dir / "app.TS", "2");
               put_file(dir / "x.json", "{}");
               heard.clear();
             }));
             all.push_back(to.subscribe(watch_events::add, [&] { w.close(); }));
             co_await timeout(patience, emit_events(w, to));
             EXPECT_TRUE(closed);
             EXPECT_THAT(heard, ElementsAre("all app.TS", "change app.TS", "source.change app.TS", "size.change app.TS",
                                            "all x.json", "add x.json", "config.change x.json"));
             static_cast<void>(s);
           }));
}

// C1-WA-10: an error without a listener is not lost.
TEST(Watcher, emits_failures_as_errors) {
  if (!is_root()) GTEST_SKIP() << "only root can become somebody else";
  temporary_directory dir;
  stdfs::create_directory(dir / "closed");
  ::chmod((dir / "closed").c_str(), 0700);
  ::chmod(dir.path().c_str(), 0755);
  EXPECT_TRUE(in_child([&] {
    ASSERT_TRUE(become_nobody());
    run_with(1, [](std::string base) -> task<> {
      auto options = quick();
      options.ignore_permission_errors = false;
      watcher w(base, options);
      emitter to;
      auto outcome = co_await attempt(emit_events(w, to));
      EXPECT_TRUE(!outcome && outcome.failure().is("EACCES"));
    }(dir.path()));
  }));
}

// C1-WA-27, C1-WA-29.
TEST(Watcher, has_words_for_events_and_families) {
  watch_event event{.kind = watch_kind::change, .path = "/a/b", .stats = file_stat{.mode = S_IFREG, .size = 12}};
  EXPECT_EQ(to_string(event), "[CHANGE] /a/b (12 bytes)");
  event = {.kind = watch_kind::rename_dir, .path = "/b", .from = "/a"};
  EXPECT_EQ(to_string(event), "[RENAMEDIR] /b from /a");
  EXPECT_EQ(family_of("/a/x.d/app.tsx"), watch_family::source);
  EXPECT_EQ(family_of("/a/x.css/style"), watch_family::other);
  EXPECT_EQ(family_of("STYLE.SCSS"), watch_family::style);
  EXPECT_EQ(family_of("page.html"), watch_family::markup);
  EXPECT_EQ(family_of("a.yml"), watch_family::config);
  EXPECT_EQ(family_of(".json"), watch_family::other);
}

// ------------------------------------------------------------------ the whole of it

/// What somebody knows who has listened. Complains about events that cannot be.
class listener_view {
 public:
  void take(const watch_event& e) {
    const bool known = tree.contains(e.path);
    switch (e.kind) {
      case watch_kind::add:
      case watch_kind::add_dir:
        EXPECT_FALSE(known) << "told twice: " << to_string(e);
        EXPECT_TRUE(parent_known(e.path)) << "before its directory: " << to_string(e);
        tree[e.path] = e.is_directory();
        break;
      case watch_kind::unlink:
      case watch_kind::unlink_dir:
        EXPECT_TRUE(known && tree[e.path] == e.is_directory()) << "never told: " << to_string(e);
        tree.erase(e.path);
        EXPECT_FALSE(e.is_directory() && has_below(e.path)) << "before what was in it: " << to_string(e);
        break;
      case watch_kind::change: EXPECT_TRUE(known && !tree[e.path]) << "never told: " << to_string(e); break;
      case watch_kind::rename:
      case watch_kind::rename_dir: take_move(e); break;
      default: break;
    }
  }

  std::map<std::string, bool> tree;  // path -> is it a directory

 private:
  void take_move(const watch_event& e) {
    EXPECT_TRUE(tree.contains(e.from) && tree[e.from] == e.is_directory()) << "never told: " << to_string(e);
    EXPECT_FALSE(tree.contains(e.path)) << "told twice: " << to_string(e);
    EXPECT_TRUE(parent_known(e.path)) << "before its directory: " << to_string(e);
    std::map<std::string, bool> moved;
    for (auto at = tree.begin(); at != tree.end();) {
      const bool inside = at->first == e.from || at->first.starts_with(e.from + "/");
      if (inside) moved[e.path + at->first.substr(e.from.size())] = at->second;
      at = inside ? tree.erase(at) : std::next(at);
    }
    tree.merge(moved);
  }
  bool parent_known(const std::string& path) { return tree.empty() || tree.contains(path.substr(0, path.rfind('/'))); }
  bool has_below(const std::string& path) {
    auto next = tree.lower_bound(path + "/");
    return next != tree.end() && next->first.starts_with(path + "/");
  }
};

std::map<std::string, bool> on_disk(const std::string& base) {
  std::map<std::string, bool> all{{base, true}};
  for (auto& each : stdfs::recursive_directory_iterator(base)) all[each.path().string()] = each.is_directory();
  return all;
}

/// Changes a tree at random, as many programs at once would.
class vandal {
 public:
  vandal(std::string base, std::string outside, unsigned seed)
      : base_(std::move(base)), outside_(std::move(outside)), random_(seed) {}

  void step() {
    std::error_code ignored;
    const auto a = some_path();
    const auto b = some_path();
    switch (pick(10)) {
      case 0:
      case 1: put_file(a, std::string(pick(50), 'x')); break;
      case 2: append(a, "more"); break;
      case 3: stdfs::create_directories(a, ignored); break;
      case 4: stdfs::rename(a, b, ignored); break;
      case 5: stdfs::remove(a, ignored); break;
      case 6:
        if (pick(4) == 0) stdfs::remove_all(a, ignored);
        break;
      case 7: stdfs::rename(a, outside_ + "/" + std::to_string(pick(5)), ignored); break;
      case 8: stdfs::rename(outside_ + "/" + std::to_string(pick(5)), a, ignored); break;
      default: put_file(a + ".tmp", "saved"); stdfs::rename(a + ".tmp", a, ignored);
    }
  }

 private:
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }
  std::string some_path() {
    auto path = base_;
    for (auto depth = 1 + pick(4); depth != 0; --depth) path += "/" + std::string(1, static_cast<char>('a' + pick(5)));
    return path;
  }

  std::string base_, outside_;
  std::mt19937 random_;
};

/// Listens until what was told is what is there.
task<> listen_until_equal(watcher& w, listener_view& view, const std::string& base) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (view.tree != on_disk(base) && std::chrono::steady_clock::now() < until) {
    auto event = co_await attempt(timeout(300ms, w.next()));
    if (event) view.take(**event);
  }
  EXPECT_EQ(view.tree, on_disk(base));
}

task<> listen(watcher& w, listener_view& view) {
  while (auto event = co_await w.next()) view.take(*event);
}

task<> exercise(unsigned seed, watcher_options options, bool pause) {
  temporary_directory dir;
  temporary_directory outside;
  stdfs::create_directories(dir / "a/b/c");
  options.ignore_initial = false;
  watcher w(dir.path(), options);
  listener_view view;
  while (view.tree.size() < 4) view.take(co_await next_of(w));
  co_await with_scope([&](scope& s) -> task<> {
    auto listening = s.spawn_local(listen, std::ref(w), std::ref(view));
    vandal at_work(dir.path(), outside.path(), seed);
    for (std::size_t i = 0; i < rounds(1200, 4); ++i) {
      at_work.step();
      if (!pause && i % 7 == 0) co_await immediate();
      if (!pause && i % 100 == 0) co_await sleep(std::chrono::milliseconds(i % 40));
    }
    listening.cancel();
    static_cast<void>(co_await attempt(std::move(listening)));
  });
  co_await listen_until_equal(w, view, dir.path());
}

TEST(Watcher, tells_what_the_disk_has_after_whatever_happened) {
  for (unsigned seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(seed);
    run_with(seed % 2 + 1, exercise(seed, quick(), false));
  }
}

TEST(Watcher, tells_what_the_disk_has_without_waiting_for_quiet) {
  auto options = quick();
  options.quiet = {.add = 0ms, .change = 0ms, .unlink = 0ms, .add_dir = 0ms, .unlink_dir = 0ms, .rename = 0ms};
  for (unsigned seed = 11; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    run_with(1, exercise(seed, options, false));
  }
}

TEST(Watcher, tells_what_the_disk_has_with_atomic_saves_and_no_renames) {
  watcher_options options;
  for (unsigned seed = 21; seed <= 24; ++seed) {
    SCOPED_TRACE(seed);
    options.renames = seed % 2 == 0;
    run_with(1, exercise(seed, options, seed > 22));
  }
}

TEST(Watcher, tells_what_the_disk_has_by_polling) {
  auto options = quick();
  options.use_polling = true;
  options.interval = 10ms;
  run_with(1, exercise(31, options, false));
}

// C1-WA-55: the queue overflows while nobody reads; then everything is looked at again.
TEST(C1_SYS_47, watcher_tells_the_difference_after_the_kernel_lost_count) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    temporary_directory outside;
    stdfs::create_directories(dir / "a/b/c");
    stdfs::create_directories(dir / "noise");
    put_file(dir / "noise/1", "");
    put_file(dir / "noise/2", "");
    auto options = quick();
    options.ignore_initial = false;
    watcher w(dir.path(), options);
    listener_view view;
    while (view.tree.size() < 7) view.take(co_await next_of(w));
    for (unsigned round = 1; round <= 3; ++round) {
      vandal at_work(dir.path(), outside.path(), 40 + round);
      for (int i = 0; i < 200; ++i) at_work.step();
      for (int i = 0; i < 10'000; ++i) {
        ::chmod((dir / "noise/1").c_str(), 0600);
        ::chmod((dir / "noise/2").c_str(), 0600);
      }
      for (int i = 0; i < 200; ++i) at_work.step();
      co_await listen_until_equal(w, view, dir.path());
      EXPECT_EQ(w.overflows(), round);
      put_file(dir / "a.new", "");
      stdfs::create_directories(dir / "z/y");
      put_file(dir / "z/y/x", "");
      co_await listen_until_equal(w, view, dir.path());
      stdfs::remove(dir / "a.new");
      stdfs::remove_all(dir / "z");
    }
  }());
}

TEST(Watcher, watches_a_thousand_directories) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    for (int i = 0; i < 1000; ++i) stdfs::create_directories(dir / std::to_string(i));
    const auto before = open_descriptors();
    auto w = co_await ready_watcher(dir.path(), quick());
    EXPECT_EQ(open_descriptors(), before + 1);
    for (int i = 0; i < 1000; i += 100) put_file(dir / (std::to_string(i) + "/f"), "");
    EXPECT_EQ((co_await told_until_end(w, dir.path())).size(), 10U);
    w.close();
    EXPECT_EQ(open_descriptors(), before);
  }());
}

// ------------------------------------------------------------------ configuration that is reloaded

/// base < local, as lines of `key=value`; a bad file leaves what was there.
class live_config {
 public:
  explicit live_config(std::string directory) : directory_(std::move(directory)) { load(); }

  /// Reloads once it has been quiet; ends when the watcher is closed.
  task<> follow(watcher& w) {
    while (auto event = co_await w.next()) {
      if (event->kind == watch_kind::ready || event->kind == watch_kind::error) continue;
      try {
        load();
        ++reloads;
      } catch (const std::exception& e) {
        last_error = e.what();
        ++errors;
      }
    }
  }

  std::map<std::string, std::string> values;
  std::string last_error;
  int reloads = 0;
  int errors = 0;

 private:
  void load() {
    std::map<std::string, std::string> fresh;
    for (auto* name : {"base", "local"}) read_into(fresh, directory_ + "/" + name);
    values = std::move(fresh);
  }
  static void read_into(std::map<std::string, std::string>& to, const std::string& path) {
    std::ifstream from(path);
    for (std::string line; std::getline(from, line);) {
      const auto equals = line.find('=');
      if (equals == std::string::npos) throw std::runtime_error("not key=value: " + line);
      to[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  std::string directory_;
};

TEST(C0_SC_02, configuration_is_reloaded_and_survives_editors_bad_files_and_bursts) {
  run_with(1, with_scope([](scope& s) -> task<> {
             temporary_directory dir;
             const auto before = open_descriptors();
             put_file(dir / "base", "port=80\nname=x\n");
             put_file(dir / "local", "port=8080\n");
             live_config config(dir.path());
             EXPECT_EQ(config.values["port"], "8080");
             watcher w({dir / "base", dir / "local"}, watcher_options{});
             co_await w.ready();
             auto following = s.spawn_local([](live_config& c, watcher& on) -> task<> { co_await c.follow(on); },
                                            std::ref(config), std::ref(w));
             const auto until = [](const int& count, int wanted) -> task<> {
               while (count < wanted) co_await sleep(1ms);
             };
             for (int save = 0; save < 5; ++save) {  // a burst of replacing saves: one reload
               put_file(dir / "local.tmp", "port=" + std::to_string(9000 + save) + "\n");
               move(dir / "local.tmp", dir / "local");
             }
             co_await timeout(patience, until(config.reloads, 1));
             EXPECT_EQ(config.values["port"], "9004");
             put_file(dir / "local", "nonsense\n");
             co_await timeout(patience, until(config.errors, 1));
             EXPECT_EQ(config.last_error, "not key=value: nonsense");
             EXPECT_EQ(config.values["port"], "9004");
             stdfs::remove(dir / "local");
             co_await timeout(patience, until(config.reloads, 2));
             EXPECT_EQ(config.values["port"], "80");
             w.close();
             co_await std::move(following);
             EXPECT_EQ(open_descriptors(), before);
           }));
}

}  // namespace
}  // namespace weir::fs
