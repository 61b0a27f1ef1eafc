#include <weir/core/abort.hpp>
#include <weir/fs/atomic_file.hpp>
#include <weir/fs/lock.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/files.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weir::fs {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::put_file;
using testing::rounds;
using testing::run_with;
using testing::temporary_directory;

/// A file of the test's own.
class scratch {
 public:
  scratch() { put_file(path(), "0"); }
  std::string path() const { return directory_ / "file"; }

 private:
  temporary_directory directory_;
};

/// A child process that does something and then waits for a word.
class child {
 public:
  /// @param body is given a function that tells the parent, and waits for its word
  explicit child(const std::function<int(const std::function<void()>&)>& body) {
    if (::pipe(ready_.data()) != 0 || ::pipe(go_.data()) != 0) throw error(errc::err_invalid_state, "no pipe");
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::close(go_[1]);
    ::_exit(body([this] {
      char byte = 0;
      static_cast<void>(::write(ready_[1], &byte, 1) + ::read(go_[0], &byte, 1));
    }));
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    if (pid_ > 0) kill();
    for (int fd : {ready_[0], ready_[1], go_[0], go_[1]}) ::close(fd);
  }

  void await_ready() const {
    char byte = 0;
    ASSERT_EQ(::read(ready_[0], &byte, 1), 1);
  }
  void go() const {
    char byte = 0;
    ASSERT_EQ(::write(go_[1], &byte, 1), 1);
  }
  int join() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    static_cast<void>(join());
  }
  pid_t pid() const { return pid_; }

 private:
  std::array<int, 2> ready_ = {-1, -1};
  std::array<int, 2> go_ = {-1, -1};
  pid_t pid_ = -1;
};

constexpr lock_options shared = {.kind = lock_kind::shared};

bool is_free(const std::string& path, const lock_options& options = {}) {
  return try_lock_path(path, options).now().has_value();
}

TEST(FileLock, lets_one_at_a_time_in) {
  const scratch in;
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, [](std::string path) -> task<> {
      auto common = co_await open(path, mode::update);
      std::atomic<int> inside{0};
      int counted = 0;
      co_await with_scope([&](scope& s) -> task<> {
        for (int i = 0; i < 8; ++i) {
          s.spawn([&, by_name = i % 2 == 0]() -> task<> {
            for (std::size_t n = 0; n < rounds(40); ++n) {
              auto held = by_name ? co_await lock_path(path) : co_await lock(common);
              EXPECT_EQ(inside.fetch_add(1), 0);
              ++counted;
              co_await yield();
              inside.fetch_sub(1);
            }
          });
        }
        co_return;
      });
      EXPECT_EQ(static_cast<std::size_t>(counted), 8 * rounds(40));
    }(in.path()));
  }
  EXPECT_TRUE(is_free(in.path()));
}

TEST(FileLock, serves_the_tasks_of_a_process_in_order_of_arrival) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    std::vector<int> order;
    auto held = co_await lock_path(path, {.size = 1});
    co_await with_scope([&](scope& s) -> task<> {
      for (std::uint64_t i = 0; i < 6; ++i) {
        s.spawn_local([&, i]() -> task<> {
          auto mine = co_await lock_path(path, {.size = i + 2});
          order.push_back(static_cast<int>(i));
        });
        while (is_free(path, {.offset = i + 1, .size = 1})) co_await yield();  // until it has a place
      }
      held.unlock();
    });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5}));
  }(in.path()));
}

TEST(FileLock, is_shared_by_readers_and_they_do_not_keep_a_writer_out_for_ever) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    std::string order;
    auto first = co_await lock_path(path, shared);
    auto second = co_await lock_path(path, shared);
    EXPECT_FALSE(is_free(path));
    EXPECT_TRUE(is_free(path, shared));
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        auto mine = co_await lock_path(path);
        order += 'w';
      });
      while (is_free(path, shared)) co_await yield();  // a reader who comes later waits behind the writer
      s.spawn_local([&]() -> task<> {
        auto mine = co_await lock_path(path, shared);
        order += 'r';
      });
      co_await yield();
      first.unlock();
      second.unlock();
    });
    EXPECT_EQ(order, "wr");
  }(in.path()));
}

TEST(FileLock, is_about_a_range_of_bytes) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    auto low = co_await lock_path(path, {.offset = 0, .size = 10});
    auto high = co_await lock_path(path, {.offset = 10, .size = 10});
    EXPECT_FALSE(is_free(path, {.offset = 9, .size = 1}));
    EXPECT_FALSE(is_free(path, {.offset = 19}));
    EXPECT_TRUE(is_free(path, {.offset = 20}));
    EXPECT_FALSE(is_free(path));
    low.unlock();
    EXPECT_TRUE(is_free(path, {.offset = 0, .size = 10}));
    EXPECT_FALSE(is_free(path, {.offset = 0, .size = 11}));
    auto wrong = co_await attempt(lock_path(path, {.offset = ~std::uint64_t{0}}));
    EXPECT_TRUE(!wrong && wrong.failure().is("EINVAL"));
  }(in.path()));
}

TEST(FileLock, gives_up_after_a_time_and_leaves_nothing_behind) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    auto held = co_await lock_path(path);
    for (int i = 0; i < 3; ++i) {
      auto late = co_await attempt(timeout(5ms, lock_path(path)));
      EXPECT_TRUE(!late && late.failure().is("ETIMEDOUT"));
    }
    held.unlock();
    held.unlock();
    EXPECT_FALSE(held);
    EXPECT_TRUE(is_free(path));
    auto again = co_await timeout(10s, lock_path(path));
    EXPECT_TRUE(again);
  }(in.path()));
}

TEST(FileLock, is_lost_nowhere_whenever_the_wait_is_cancelled) {
  const scratch in;
  const auto path = in.path();
  const auto wait = [&]() -> task<> {
    auto held = co_await lock_path(path);
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> { auto mine = co_await lock_path(path); });
      for (int i = 0; i < 3; ++i) co_await yield();
      held.unlock();
    });
  };
  const auto cancelled_runs = testing::cancel_at_every_suspension(
      wait,
      [&](const result<void>& done) {
        EXPECT_TRUE(done || done.failure().is_cancelled());
        EXPECT_TRUE(is_free(path));
      },
      1'000'000);
  EXPECT_GE(cancelled_runs, 2U);
}

// C0-FS-27
TEST(FileLock, holds_between_processes) {
  const scratch in;
  child other([&](const auto& meet) {
    auto held = try_lock_path(in.path(), shared).now();
    meet();
    return held ? 0 : 1;
  });
  other.await_ready();
  EXPECT_FALSE(is_free(in.path()));
  run_with(1, [](std::string path, child& other) -> task<> {
    EXPECT_FALSE(co_await try_lock_path(path));
    co_await with_scope([&](scope& s) -> task<> {
      auto waiting = s.spawn_local([](std::string at) -> task<> { auto mine = co_await lock_path(at); }, path);
      while (is_free(path, shared)) co_await yield();
      EXPECT_FALSE(waiting.done());
      other.go();
    });
  }(in.path(), other));
  EXPECT_EQ(other.join(), 0);
}

TEST(FileLock, ends_with_the_process_that_held_it) {
  const scratch in;
  child other([&](const auto& meet) {
    auto held = try_lock_path(in.path(), {.note_holder = true}).now();
    meet();
    return 0;
  });
  other.await_ready();
  EXPECT_EQ(lock_holder(in.path()).now(), other.pid());
  other.kill();
  EXPECT_TRUE(std::filesystem::file_size(in.path()) > 0);  // the number is still there, and nobody's
  EXPECT_EQ(lock_holder(in.path()).now(), std::nullopt);
  EXPECT_TRUE(is_free(in.path()));
}

TEST(FileLock, notes_its_holder_if_asked_to) {
  const scratch in;
  EXPECT_EQ(lock_holder(in.path() + ".none").now(), std::nullopt);
  auto noted = try_lock_path(in.path(), {.note_holder = true}).now();
  ASSERT_TRUE(noted);
  EXPECT_EQ(lock_holder(in.path()).now(), ::getpid());
  noted->unlock();
  EXPECT_EQ(std::filesystem::file_size(in.path()), 0U);
  auto plain = try_lock_path(in.path()).now();
  EXPECT_EQ(lock_holder(in.path()).now(), 0);
  auto second = try_lock_path(in.path(), {.note_holder = true}).now();
  EXPECT_FALSE(second);
  EXPECT_EQ(std::filesystem::file_size(in.path()), 0U);
}

TEST(FileLock, is_not_kept_by_a_child_that_was_forked_meanwhile) {
  const scratch in;
  auto held = try_lock_path(in.path()).now();
  ASSERT_TRUE(held);
  child other([](const auto& meet) {
    meet();
    return 0;
  });
  other.await_ready();
  held->unlock();
  EXPECT_TRUE(is_free(in.path()));
}

TEST(FileLock, counts_right_in_many_processes) {
  const scratch in;
  const auto times = rounds(60, 6);
  std::vector<std::unique_ptr<child>> all;
  all.reserve(4);
  for (int i = 0; i < 4; ++i) {
    all.push_back(std::make_unique<child>([&](const auto& meet) {
      meet();
      run_with(1, [](std::string path, std::size_t times) -> task<> {
        for (std::size_t n = 0; n < times; ++n) {
          auto held = co_await lock_path(path, {.look_again = 1ms});
          int count = 0;
          std::ifstream(path) >> count;
          std::ofstream(path) << count + 1;
        }
      }(in.path(), times));
      return 0;
    }));
  }
  for (auto& each : all) each->await_ready();
  for (auto& each : all) each->go();
  for (auto& each : all) EXPECT_EQ(each->join(), 0);
  std::size_t count = 0;
  std::ifstream(in.path()) >> count;
  EXPECT_EQ(count, 4 * times);
}

TEST(FileLock, is_on_the_file_that_the_path_leads_to_when_it_is_had) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    auto held = co_await lock_path(path, shared);
    co_await with_scope([&](scope& s) -> task<> {
      auto waiting = s.spawn_local(
          [](std::string at) -> task<> {
            auto mine = co_await lock_path(at);
            EXPECT_FALSE(is_free(at));
          },
          path);
      while (is_free(path, shared)) co_await yield();
      EXPECT_FALSE(waiting.done());
      co_await write_file_atomic(path, "other"s);  // `held` is a lock on what was there before
    });
    EXPECT_TRUE(held);
    EXPECT_TRUE(is_free(path));
    std::filesystem::remove(path);
    EXPECT_TRUE(is_free(path));  // and makes it again
    EXPECT_TRUE(std::filesystem::exists(path));
  }(in.path()));
}

TEST(FileLock, outlives_the_file_that_it_was_made_with) {
  const scratch in;
  auto opened = open(in.path(), mode::update).now();
  auto held = try_lock(opened).now();
  ASSERT_TRUE(held);
  EXPECT_FALSE(try_lock(opened).now());
  static_cast<void>(opened.try_close_now());
  EXPECT_FALSE(is_free(in.path()));
  auto moved = std::move(*held);
  held.reset();
  EXPECT_FALSE(is_free(in.path()));
  moved = file_lock();
  EXPECT_TRUE(is_free(in.path()));
}

TEST(FileLock, says_why_there_can_be_none) {
  const scratch in;
  run_with(1, [](std::string path) -> task<> {
    auto missing = co_await attempt(lock_path(path + "/below"));
    EXPECT_TRUE(!missing && missing.failure().message() == "ENOTDIR: not a directory, open '" + path + "/below'");
    auto closed = co_await attempt(lock(file()));
    EXPECT_TRUE(!closed && closed.failure().is("EBADF"));
    auto nul = co_await attempt(try_lock_path("a\0b"s));
    EXPECT_TRUE(!nul && nul.failure().is("ERR_INVALID_ARG_VALUE"));
    auto directory = co_await attempt(lock_path("/tmp"));
    EXPECT_TRUE(!directory && directory.failure().is("EISDIR"));
  }(in.path()));
}

}  // namespace
}  // namespace weir::fs
