#include <weir/core/config.hpp>
#include <weir/core/frame_pool.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace weir {
namespace {

using detail::frame_allocate;
using detail::frame_free;
using testing::rounds;
using testing::run_with;

constexpr bool pools = WEIR_ASAN == 0 && WEIR_TSAN == 0;  // under them each frame is a block of the heap

TEST(FramePool, gives_blocks_that_are_aligned_and_do_not_overlap) {
  std::vector<std::pair<unsigned char*, std::size_t>> held;
  std::mt19937 random(1);
  for (std::size_t i = 0; i < rounds(20'000, 4); ++i) {
    if (held.size() > 500 || (i % 3 == 0 && !held.empty())) {
      std::swap(held[random() % held.size()], held.back());
      auto [block, size] = held.back();
      held.pop_back();
      auto mark = block[0];
      EXPECT_TRUE(std::all_of(block, block + size, [&](unsigned char each) { return each == mark; }));
      frame_free(block, size);
      continue;
    }
    std::size_t size = 1 + random() % 3000;
    auto* block = static_cast<unsigned char*>(frame_allocate(size));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0U);
    std::memset(block, static_cast<int>(i & 0xff), size);
    held.emplace_back(block, size);
  }
  for (auto [block, size] : held) frame_free(block, size);
}

TEST(FramePool, gives_the_block_freed_last_again) {
  if (!pools) GTEST_SKIP() << "frames come from the heap in this build";
  auto* first = frame_allocate(200);
  frame_free(first, 200);
  auto* again = frame_allocate(195);  // the same class of sizes
  EXPECT_EQ(again, first);
  frame_free(again, 195);
}

TEST(FramePool, counts_what_it_hands_out_and_what_is_too_large) {
  auto before = frame_pool_statistics();
  for (int i = 0; i < 10; ++i) frame_free(frame_allocate(100), 100);
  frame_free(frame_allocate(100'000), 100'000);
  auto after = frame_pool_statistics();
  EXPECT_EQ(after.allocations - before.allocations, 11U);
  EXPECT_EQ(after.oversize - before.oversize, pools ? 1U : 11U);
}

TEST(FramePool, recycles_frames_without_refilling) {
  if (!pools) GTEST_SKIP() << "frames come from the heap in this build";
  run_with(1, []() -> task<> {
    auto child = [](int n) -> task<int> { co_return n; };
    frame_pool_stats before;
    for (int i = -1; i < 10'000; ++i) {  // one is made before the count begins
      if (i == 0) before = frame_pool_statistics();
      static_cast<void>(co_await child(i));
    }
    auto after = frame_pool_statistics();
    EXPECT_EQ(after.allocations - before.allocations, 10'000U) << "one frame for each await and nothing else";
    EXPECT_EQ(after.refills, before.refills);
  }());
}

// One thread only makes frames and another only frees them: memory has to find its way back.
TEST(FramePool, takes_frames_back_from_other_threads) {
  if (!pools) GTEST_SKIP() << "frames come from the heap in this build";
  std::set<void*> distinct;
  constexpr std::size_t each_time = 1000;
  for (int round = 0; round < 50; ++round) {
    std::vector<void*> made;
    for (std::size_t i = 0; i < each_time; ++i) made.push_back(frame_allocate(336));
    distinct.insert(made.begin(), made.end());
    std::thread([&] {
      for (void* block : made) frame_free(block, 336);
    }).join();
  }
  EXPECT_LT(distinct.size(), 3 * each_time) << "of 50'000 frames";
}

TEST(FramePool, serves_many_threads_at_once) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::pair<void*, std::size_t>> held;
      for (std::size_t i = 0; i < rounds(100'000); ++i) {
        if (held.size() > 300 || (random() % 2 == 0 && !held.empty())) {
          frame_free(held.back().first, held.back().second);
          held.pop_back();
        } else {
          std::size_t size = 16 * (1 + random() % 8);
          held.emplace_back(frame_allocate(size), size);
        }
      }
      for (auto [block, size] : held) frame_free(block, size);
    });
  }
  for (auto& each : threads) each.join();
}

}  // namespace
}  // namespace weir
