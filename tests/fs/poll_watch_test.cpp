// tests/fs/poll_watch_test.cpp: a file looked at in intervals, as Node's fs.watchFile.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/poll_watch.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

constexpr auto patience = 20s;

// C1-WA-54: (current, previous).
TEST(PollWatch, tells_what_a_file_is_and_was) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "f", "1");
    auto w = watch_file(dir / "f", {.interval = 5ms});
    EXPECT_FALSE(co_await attempt(timeout(20ms, w.next())));  // the first look is the one to compare with
    put_file(dir / "f", "four");
    auto change = co_await timeout(patience, w.next());
    while (change->current.size != 4) change = co_await timeout(patience, w.next());
    EXPECT_TRUE(change->existed());
    EXPECT_GE(change->current.mtime, change->previous.mtime);
  }());
}

TEST(PollWatch, sees_a_file_come_and_go_with_zeros_for_none) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    auto w = watch_file(dir / "f", {.interval = 5ms});
    auto missing = co_await timeout(patience, w.next());
    EXPECT_FALSE(missing->exists() || missing->existed());
    EXPECT_EQ(missing->current.ino, 0U);
    put_file(dir / "f", "");
    auto come = co_await timeout(patience, w.next());
    EXPECT_TRUE(come->exists() && !come->existed());
    std::filesystem::remove(dir / "f");
    auto gone = co_await timeout(patience, w.next());
    EXPECT_TRUE(!gone->exists() && gone->existed());
    EXPECT_EQ(gone->previous.ino, come->current.ino);
  }());
}

TEST(PollWatch, sees_another_file_take_the_name) {
  run_with(1, []() -> task<> {
    temporary_directory dir;
    put_file(dir / "f", "1");
    auto w = watch_file(dir / "f", {.interval = 5ms});
    EXPECT_FALSE(co_await attempt(timeout(20ms, w.next())));
    put_file(dir / "g", "2");
    std::filesystem::last_write_time(dir / "g", std::filesystem::last_write_time(dir / "f"));
    std::filesystem::rename(dir / "g", dir / "f");
    auto change = co_await timeout(patience, w.next());
    EXPECT_NE(change->current.ino, change->previous.ino);
  }());
}

TEST(PollWatch, tells_nothing_once_it_is_closed) {
  run_with(1, with_scope([](scope&) -> task<> {
             temporary_directory dir;
             put_file(dir / "f", "1");
             auto w = watch_file(dir / "f", {.interval = 1h});
             set_timeout([&w] { w.close(); }, 10ms);
             EXPECT_FALSE((co_await timeout(patience, w.next())).has_value());
             EXPECT_TRUE(w.closed());
             std::filesystem::remove(dir / "f");
             EXPECT_FALSE((co_await w.next()).has_value());
           }));
}

TEST(PollWatch, keeps_the_difference_for_the_next_wait_when_one_is_cancelled) {
  temporary_directory dir;
  const auto make = [&]() -> task<bool> {
    auto w = watch_file(dir / "missing", {.interval = 1ms});
    auto told = co_await attempt(w.next());
    if (!told) told = co_await shield(timeout(patience, w.next()));
    co_return told->has_value() && !(*told)->exists();
  };
  cancel_at_every_suspension(make, [](const result<bool>& outcome) { EXPECT_TRUE(!outcome || *outcome); });
}

TEST(PollWatch, refuses_what_cannot_be_meant) {
  EXPECT_THROW(watch_file("f", {.interval = 0ms}), error);
  EXPECT_THROW(watch_file(std::string("a\0b", 3)), error);
}

}  // namespace
}  // namespace weir::fs
