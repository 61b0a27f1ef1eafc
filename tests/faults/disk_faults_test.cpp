// tests/faults/disk_faults_test.cpp: a disk that really is full: a small file system in memory, mounted where only a
// child of the test sees it. What cannot be stored says ENOSPC, what was stored before stays, and with room again all
// goes on.
#include <weir/core/runtime.hpp>
#include <weir/fs/atomic_file.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/file.hpp>
#include <weir/fs/file_store.hpp>
#include <weir/fs/file_stream.hpp>
#include <weir/io/pipeline.hpp>

#include <tests/support/files.hpp>
#include <tests/support/run.hpp>
#include <tests/support/sockets.hpp>

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace weir::testing {
namespace {

constexpr std::size_t disk_size = 512 * 1024;

/// Runs `body(directory on the small disk)` in a process of its own; skips where mounting is refused.
template <class F>
void on_small_disk(F body) {
  const temporary_directory at;
  bool possible = true;
  const bool well = in_child(
      [&] {
        const std::string options = "size=" + std::to_string(disk_size);
        if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("tmpfs", at.path().c_str(), "tmpfs", 0, options.c_str()) != 0) {
          std::_Exit(not_possible);
        }
        body(at.path());
        ::umount2(at.path().c_str(), MNT_DETACH);
      },
      &possible);
  if (!possible) GTEST_SKIP() << "this process may not mount";
  EXPECT_TRUE(well);
}

template <class T>
task<std::string> verdict_of(task<T> of) {
  auto outcome = co_await attempt(std::move(of));
  co_return verdict(outcome);
}

task<void> write_until_full(std::string path) {
  auto to = co_await fs::open(path, fs::mode::write);
  const auto piece = noise(64 * 1024);
  for (;;) co_await to.write(piece);
}

TEST(DiskFaults, a_write_to_a_full_disk_says_so_and_goes_on_with_room) {
  on_small_disk([](const std::string& disk) {
    const auto descriptors = open_descriptors();
    run_with(2, [](std::string at) -> task<void> {
      EXPECT_EQ(co_await verdict_of(write_until_full(at + "/filler")), "ENOSPC");
      EXPECT_GE((co_await fs::stat(at + "/filler")).size, disk_size - 64 * 1024);
      auto refused = co_await attempt(fs::append_file(at + "/log", "a line\n"));
      EXPECT_EQ(verdict(refused), "ENOSPC");
      ::unlink((at + "/filler").c_str());
      co_await fs::append_file(at + "/log", "another\n");
      EXPECT_TRUE((co_await fs::read_text(at + "/log")).ends_with("another\n"));
    }(disk));
    EXPECT_EQ(open_descriptors(), descriptors);
  });
}

TEST(DiskFaults, what_is_replaced_atomically_stays_as_it_was) {
  on_small_disk([](const std::string& disk) {
    const auto descriptors = open_descriptors();
    run_with(2, [](std::string at) -> task<void> {
      co_await fs::write_file_atomic(at + "/config", "old");
      const auto large = noise(2 * disk_size);
      for (int i = 0; i < 5; ++i) {
        auto outcome = co_await attempt(fs::write_file_atomic(at + "/config", large));
        EXPECT_EQ(verdict(outcome), "ENOSPC");
        EXPECT_EQ(co_await fs::read_text(at + "/config"), "old");
      }
      co_await fs::write_file_atomic(at + "/config", noise(disk_size / 2));  // nothing of the failures takes room
    }(disk));
    EXPECT_EQ(open_descriptors(), descriptors);
  });
}

TEST(DiskFaults, a_store_keeps_its_values_when_there_is_no_room_for_more) {
  on_small_disk([](const std::string& disk) {
    run_with(2, [](std::string at) -> task<void> {
      auto store = co_await fs::file_store::open(at + "/store");
      const auto value = noise(40'000);
      int stored = 0;
      for (;; ++stored) {
        auto outcome = co_await attempt(store.set("key " + std::to_string(stored), value));
        if (!outcome) EXPECT_EQ(verdict(outcome), "ENOSPC");
        if (!outcome) break;
      }
      EXPECT_GT(stored, 5);
      for (int i = 0; i < stored; ++i) EXPECT_EQ((co_await store.get("key " + std::to_string(i)))->text(), value);
      EXPECT_EQ(verdict(co_await attempt(store.set("key 0", value))), "ENOSPC");
      EXPECT_EQ((co_await store.get("key 0"))->text(), value);
      EXPECT_TRUE(co_await store.erase("key 1"));
      co_await store.set("key 0", value);
      EXPECT_EQ((co_await store.keys()).size(), static_cast<std::size_t>(stored) - 1);
    }(disk));
  });
}

TEST(DiskFaults, a_pipeline_into_a_full_disk_fails_and_lets_go_of_everything) {
  on_small_disk([](const std::string& disk) {
    const auto descriptors = open_descriptors();
    run_with(2, [](std::string at) -> task<void> {
      const auto alive = metrics().alive;
      int given = 0;
      auto endless = [&given]() -> task<std::optional<buffer>> {
        ++given;
        co_return buffer::from(noise(10'000));
      };
      auto outcome = co_await attempt(io::pipeline(std::move(endless), fs::write_stream(at + "/out")));
      EXPECT_EQ(verdict(outcome), "ENOSPC");
      EXPECT_LT(given, 200) << "the source went on";
      EXPECT_EQ(metrics().alive, alive);
    }(disk));
    EXPECT_EQ(open_descriptors(), descriptors);
  });
}

}  // namespace
}  // namespace weir::testing
