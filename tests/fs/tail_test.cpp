// tests/fs/tail_test.cpp: following a file that grows, is cut, is rotated.
#include <weir/core/abort.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/entry.hpp>
#include <weir/fs/tail.hpp>

#include <tests/support/files.hpp>
#include <tests/support/run.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using weir::testing::put_file;
using weir::testing::run_with;
using weir::testing::temporary_directory;

// A line that does not come in time fails the test instead of hanging it.
task<std::string> line_of(io::readable<std::string>& from) {
  auto line = co_await timeout(10s, from.next());
  co_return line.value_or("(the end)");
}

TEST(Tail, gives_what_is_appended) {
  temporary_directory directory;
  put_file(directory / "log", "old\n");
  run_with(1, [](std::string path) -> task<> {
    auto lines = tail_lines(path, {.start = 4});
    co_await with_scope([&](scope& s) -> task<void> {
      auto first = s.spawn_local(line_of, std::ref(lines));
      co_await append_file(path, "new\nhalf");
      EXPECT_EQ(co_await std::move(first), "new");
      co_await append_file(path, " whole\n");
      EXPECT_EQ(co_await line_of(lines), "half whole");
    });
  }(directory / "log"));
}

struct beginning {
  const char* content;
  std::size_t last_lines;
  const char* first;
};

class TailBegins : public ::testing::TestWithParam<beginning> {};

TEST_P(TailBegins, with_the_last_lines) {
  temporary_directory directory;
  auto [content, last_lines, first] = GetParam();
  put_file(directory / "log", content);
  auto got = run_with(1, [](std::string path, std::size_t count, bool has_whole_lines) -> task<std::string> {
    auto lines = tail_lines(path, {.last_lines = count});
    if (!has_whole_lines) co_await append_file(path, "appended\n");
    co_return co_await line_of(lines);
  }(directory / "log", last_lines, std::string_view(content).ends_with('\n')));
  EXPECT_EQ(got, first);
}

INSTANTIATE_TEST_SUITE_P(Each, TailBegins,
                         ::testing::Values(beginning{"a\nb\nc\n", 1, "c"}, beginning{"a\nb\nc\n", 2, "b"},
                                           beginning{"a\nb\nc\n", 3, "a"}, beginning{"a\nb\nc\n", 9, "a"},
                                           beginning{"a\nb\nc", 1, "cappended"}, beginning{"", 3, "appended"},
                                           beginning{"\n\n", 1, ""}));

TEST(Tail, finds_the_last_lines_of_a_large_file) {
  temporary_directory directory;
  std::string content;
  for (int i = 0; i < 20'000; ++i) content += "line " + std::to_string(i) + "\n";
  put_file(directory / "log", content);
  run_with(1, [](std::string path) -> task<> {
    auto lines = tail_lines(path, {.last_lines = 5000});
    for (int i = 15'000; i < 20'000; ++i) EXPECT_EQ(co_await line_of(lines), "line " + std::to_string(i));
  }(directory / "log"));
}

TEST(Tail, starts_where_it_is_told) {
  temporary_directory directory;
  put_file(directory / "log", "0123456789\n");
  auto got = run_with(1, [](std::string path) -> task<std::string> {
    auto lines = tail_lines(path, {.start = 4});
    co_return co_await line_of(lines);
  }(directory / "log"));
  EXPECT_EQ(got, "456789");
}

TEST(Tail, fails_where_there_is_no_file) {
  temporary_directory directory;
  run_with(1, [](std::string path) -> task<> {
    auto bytes = tail(path);
    EXPECT_EQ((co_await attempt(bytes.next())).failure().code_name(), "ENOENT");
  }(directory / "missing"));
}

// C3-SYS-87: a live log follower: rotation and truncation handled.
TEST(Tail, C3_SYS_87_follows_a_log_that_is_cut_and_rotated) {
  temporary_directory directory;
  put_file(directory / "log", "");
  run_with(1, [](std::string path) -> task<> {
    auto lines = tail_lines(path, {.start = 0, .look_every = 50ms});
    co_await with_scope([&](scope& s) -> task<void> {
      auto first = s.spawn_local(line_of, std::ref(lines));
      co_await append_file(path, "a line that is long enough\n");
      EXPECT_EQ(co_await std::move(first), "a line that is long enough");

      co_await write_file(path, "cut\n");
      EXPECT_EQ(co_await line_of(lines), "cut");

      co_await append_file(path, "last of the old\n");
      co_await rename(path, path + ".1");
      co_await write_file(path, "first of the new\n");
      EXPECT_EQ(co_await line_of(lines), "last of the old");
      EXPECT_EQ(co_await line_of(lines), "first of the new");

      co_await rename(path, path + ".2");
      auto waiting = s.spawn_local(line_of, std::ref(lines));
      co_await sleep(120ms);  // no file has the name for two looks
      EXPECT_FALSE(waiting.done());
      co_await write_file(path, "after a gap\n");
      EXPECT_EQ(co_await std::move(waiting), "after a gap");
    });
  }(directory / "log"));
}

TEST(Tail, loses_no_line_over_many_rotations_under_load) {
  temporary_directory directory;
  put_file(directory / "log", "");
  run_with(2, [](std::string path) -> task<> {
    constexpr int count = 3000;
    co_await with_scope([&](scope& s) -> task<void> {
      auto lines = tail_lines(path, {.start = 0, .look_every = 20ms});
      auto writing = s.spawn(
          [](std::string path) -> task<void> {
            for (int i = 0; i < count; ++i) {
              co_await append_file(path, std::to_string(i) + "\n");
              // A new file only where the follower has had the chance to see the one before: it follows a name.
              if (i % 500 == 499) {
                co_await sleep(100ms);
                co_await rename(path, path + "." + std::to_string(i));
              }
            }
          },
          path);
      for (int i = 0; i < count; ++i) {
        auto line = co_await line_of(lines);
        EXPECT_EQ(line, std::to_string(i));
        if (line != std::to_string(i)) break;
      }
      co_await std::move(writing);
    });
  }(directory / "log"));
}

TEST(Tail, ends_when_it_is_cancelled_and_goes_on_afterwards) {
  temporary_directory directory;
  put_file(directory / "log", "");
  run_with(1, [](std::string path) -> task<> {
    auto lines = tail_lines(path, {.start = 0});
    while ((co_await attempt(timeout(30ms, lines.next())))) ADD_FAILURE() << "a line of an empty file";
    co_await append_file(path, "later\n");
    EXPECT_EQ(co_await line_of(lines), "later");
  }(directory / "log"));
}

}  // namespace
}  // namespace weir::fs
