// tests/fs/faults_test.cpp: a disk that fails in the middle of things: short writes and EIO or EDQUOT after them, at
// fsync, at close, at a read, where a directory is to go. What comes out names the call and the file, and nothing else
// is lost. Needs root.
#include <weir/fs/atomic_file.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/copy.hpp>
#include <weir/fs/file_stream.hpp>
#include <weir/fs/remove.hpp>
#include <weir/io/pipeline.hpp>

#include <tests/support/failing_file_system.hpp>
#include <tests/support/run.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using weir::testing::file_faults;
using weir::testing::run_with;
using weir::testing::with_failing_files;

// Runs `body(path of a file there)` in a runtime in a child.
template <class F>
void with_file(const file_faults& faults, F body) {
  auto possible =
      with_failing_files(faults, [&](const std::string& directory) { run_with(1, body(directory + "/x")); });
  if (!possible) GTEST_SKIP() << "needs root and /dev/fuse";
}

std::string said(const result<void>& outcome) { return outcome ? "nothing" : outcome.failure().message(); }

TEST(FailingDisk, works_as_long_as_nothing_fails) {
  with_file({}, [](std::string path) -> task<> {
    co_await write_file(path, "whole");
    EXPECT_EQ(co_await read_text(path), "whole");
    EXPECT_EQ((co_await stat(path)).size, 5U);
  });
}

TEST(FailingDisk, ends_a_write_after_the_part_that_went_through) {
  with_file({.writable = 100'000}, [](std::string path) -> task<> {
    auto to = co_await open(path, mode::rewrite);
    auto outcome = co_await attempt(to.write(std::string(150'000, 'x')));
    EXPECT_EQ(said(outcome), "EIO: i/o error, write '" + path + "'");
    EXPECT_EQ((co_await to.stat()).size, 100'000U);
  });
}

TEST(FailingDisk, says_that_a_quota_is_reached) {
  with_file({.writable = 10, .write_error = EDQUOT}, [](std::string path) -> task<> {
    auto outcome = co_await attempt(write_file(path, "more than ten bytes"));
    EXPECT_EQ(outcome.failure().code_name(), "EDQUOT");
    EXPECT_EQ(co_await read_text(path), "more than ");
  });
}

TEST(FailingDisk, tells_at_close_what_came_too_late_for_a_write) {
  with_file({.close_error = EIO}, [](std::string path) -> task<> {
    auto to = co_await open(path, mode::write);
    co_await to.write("fine so far");
    EXPECT_EQ(said(co_await attempt(to.close())), "EIO: i/o error, close '" + path + "'");
    EXPECT_FALSE(to.is_open());
    EXPECT_EQ(said(co_await attempt(write_file(path, "again"))), "EIO: i/o error, close '" + path + "'");
  });
}

TEST(FailingDisk, tells_what_fsync_says) {
  with_file({.sync_error = EIO}, [](std::string path) -> task<> {
    auto to = co_await open(path, mode::write);
    co_await to.write("x");
    EXPECT_EQ((co_await attempt(to.sync())).failure().message(), "EIO: i/o error, fsync '" + path + "'");
    EXPECT_EQ((co_await attempt(to.datasync())).failure().message(), "EIO: i/o error, fdatasync '" + path + "'");
    EXPECT_EQ((co_await attempt(write_file(path, "x", {.flush = true}))).failure().code_name(), "EIO");
  });
}

TEST(FailingDisk, fails_a_read_where_the_disk_does) {
  with_file({.readable = 70'000}, [](std::string path) -> task<> {
    co_await write_file(path, std::string(100'000, 'x'));
    EXPECT_EQ((co_await attempt(read_file(path))).failure().message(), "EIO: i/o error, read '" + path + "'");
    auto from = read_stream(path, {.chunk_size = 10'000});
    std::size_t size = 0;
    for (;;) {
      auto chunk = co_await attempt(from.next());
      if (!chunk) {
        EXPECT_EQ(chunk.failure().message(), "EIO: i/o error, read '" + path + "'");
        break;
      }
      size += (*chunk)->size();
    }
    EXPECT_EQ(size, 70'000U);
  });
}

class FailingDiskStream : public ::testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Behind, FailingDiskStream, ::testing::Values(0, 20'000, 1 << 20));

TEST_P(FailingDiskStream, fails_the_pipeline_that_writes) {
  with_file({.writable = 200'000}, [behind = GetParam()](std::string path) {
    return [](std::string path, std::size_t behind) -> task<> {
      auto source = [left = 100]() mutable -> task<std::optional<buffer>> {
        if (left-- == 0) co_return std::nullopt;
        co_return buffer::alloc(10'000, std::byte{'x'});
      };
      auto outcome =
          co_await attempt(io::pipeline(io::readable<buffer>(source), write_stream(path, {.write_behind = behind})));
      EXPECT_EQ(said(outcome), "EIO: i/o error, write '" + path + "'");
      EXPECT_EQ((co_await stat(path)).size, 200'000U);
    }(path, behind);
  });
}

TEST_P(FailingDiskStream, tells_at_its_end_what_flush_and_close_say) {
  for (auto faults : {file_faults{.sync_error = EIO}, file_faults{.close_error = EIO}}) {
    with_file(faults, [behind = GetParam()](std::string path) {
      return [](std::string path, std::size_t behind) -> task<> {
        auto to = write_stream(path, {.write_behind = behind, .flush = true});
        co_await to.write(buffer::from("x"));
        EXPECT_EQ((co_await attempt(to.end())).failure().code_name(), "EIO");
      }(path, behind);
    });
  }
}

// Fails in the middle of the new content, and at its flush.
TEST(FailingDisk, leaves_the_old_file_where_an_atomic_write_fails) {
  for (auto faults : {file_faults{.writable = 20}, file_faults{.sync_error = EIO}}) {
    with_file(faults, [](std::string path) -> task<> {
      co_await write_file(path, "old");
      auto outcome = co_await attempt(write_file_atomic(path, std::string(1000, 'n')));
      EXPECT_EQ(outcome.failure().code_name(), "EIO");
      EXPECT_EQ(co_await read_text(path), "old");
    });
  }
}

TEST(FailingDisk, keeps_nothing_of_a_copy_that_failed) {
  with_file({.writable = 50'000}, [](std::string path) -> task<> {
    weir::testing::temporary_directory elsewhere;
    co_await write_file(elsewhere / "source", std::string(100'000, 'x'));
    auto outcome = co_await attempt(copy_file(elsewhere / "source", path));
    EXPECT_EQ(outcome.failure().code_name(), "EIO");
    EXPECT_FALSE(co_await exists(path));
  });
}

// How `rm` of an empty directory goes that the system refuses to remove at first; a second one, without retries, tells
// whether all refusals were used up.
struct removal {
  std::string first;
  std::string second;
  std::chrono::steady_clock::duration took = {};
};

removal remove_there(const std::string& directory, const remove_options& options) {
  removal seen;
  std::filesystem::create_directory(directory);
  const auto begin = std::chrono::steady_clock::now();
  auto without_path = [&](const result<void>& outcome) {
    auto text = said(outcome);
    const auto at = text.find(directory);
    return at == std::string::npos ? text : text.replace(at, directory.size(), "d");
  };
  seen.first = without_path(rm(directory, options).try_now());
  seen.took = std::chrono::steady_clock::now() - begin;
  seen.second = without_path(rm(directory, {.recursive = true, .force = true}).try_now());
  EXPECT_FALSE(std::filesystem::exists(directory));
  return seen;
}

void with_refusals(int error, unsigned count, void (*body)(const std::string& directory)) {
  const auto possible = with_failing_files({.rmdir_failures = count, .rmdir_error = error},
                                           [&](const std::string& place) { body(place + "/d"); });
  if (!possible) GTEST_SKIP() << "needs root and /dev/fuse";
}

TEST(FailingDisk, has_rm_begin_again_and_wait_longer_each_time) {
  for (const int error : {EBUSY, EMFILE, ENFILE, EPERM}) {
    with_refusals(error, 3, [](const std::string& directory) {
      const auto seen = remove_there(directory, {.recursive = true, .max_retries = 3, .retry_delay = 10ms});
      EXPECT_EQ(seen.first, "nothing");
      EXPECT_GE(seen.took, 60ms);  // 10 + 20 + 30
    });
  }
}

TEST(FailingDisk, has_rm_give_up_after_as_many_retries_as_it_was_told) {
  with_refusals(EBUSY, 3, [](const std::string& directory) {
    const auto seen = remove_there(directory, {.recursive = true, .max_retries = 2, .retry_delay = 1ms});
    EXPECT_EQ(seen.first, "EBUSY: resource busy or locked, rmdir 'd'");
    EXPECT_EQ(seen.second, "nothing") << "the third was the last refusal";
  });
}

// A directory that has got new entries is read again at once; only when that has failed a few times does rm wait.
TEST(FailingDisk, has_rm_begin_again_where_a_directory_does_not_get_empty) {
  with_refusals(ENOTEMPTY, 7, [](const std::string& directory) {
    const auto seen = remove_there(directory, {.recursive = true, .max_retries = 1, .retry_delay = 20ms});
    EXPECT_EQ(seen.first, "nothing");
    EXPECT_GE(seen.took, 20ms);
  });
  with_refusals(ENOTEMPTY, 8, [](const std::string& directory) {
    const auto seen = remove_there(directory, {.recursive = true, .max_retries = 1, .retry_delay = 1ms});
    EXPECT_EQ(seen.first, "ENOTEMPTY: directory not empty, rmdir 'd'");
    EXPECT_EQ(seen.second, "nothing");
  });
}

TEST(FailingDisk, has_rm_fail_at_once_where_waiting_does_not_help) {
  with_refusals(EIO, 1, [](const std::string& directory) {
    const auto seen = remove_there(directory, {.recursive = true, .max_retries = 5, .retry_delay = 1h});
    EXPECT_EQ(seen.first, "EIO: i/o error, rmdir 'd'");
    EXPECT_EQ(seen.second, "nothing");
  });
}

}  // namespace
}  // namespace weir::fs
