#include <weir/sync/shared_memory.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

TEST(SharedMemory, is_zeroed_and_seen_by_all_its_copies) {
  shared_memory<std::uint32_t> memory(262'144);
  for (auto each : memory.numbers()) ASSERT_EQ(each, 0U);
  auto copy = memory;
  EXPECT_EQ(copy, memory);
  std::thread([copy] { copy.store(3, 77); }).join();
  EXPECT_EQ(memory.numbers()[3], 77U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.numbers().data()) % 64, 0U);
}

TEST(SharedMemory, operations_give_the_number_before) {
  shared_memory<std::int32_t> m(2);
  EXPECT_EQ(m.add(0, 5), 0);
  EXPECT_EQ(m.sub(0, 2), 5);
  EXPECT_EQ(m.exchange(0, 12), 3);
  EXPECT_EQ(m.bit_and(0, 10), 12);
  EXPECT_EQ(m.bit_or(0, 3), 8);
  EXPECT_EQ(m.bit_xor(0, 1), 11);
  EXPECT_EQ(m.compare_exchange(0, 1, 99), 10);
  EXPECT_EQ(m.load(0), 10);
  EXPECT_EQ(m.compare_exchange(0, 10, 99), 10);
  EXPECT_EQ(m.load(0), 99);
  EXPECT_EQ(m.store(1, 4), 4);
  shared_memory<double> d(1);
  EXPECT_EQ(d.add(0, 0.5), 0.0);
  EXPECT_EQ(d.load(0), 0.5);
}

TEST(SharedMemory, refuses_what_is_out_of_bounds) {
  shared_memory<std::int64_t> m(2), none(0);
  EXPECT_THROW(m.load(2), error);
  EXPECT_THROW(m.notify(2), error);
  EXPECT_THROW(static_cast<void>(m.wait(2, 0)), error);
  EXPECT_THROW(none.load(0), error);
  EXPECT_EQ(none.size(), 0U);
  EXPECT_THROW(shared_memory<std::int64_t>(std::numeric_limits<std::size_t>::max() / 8), error);
}

TEST(SharedMemory, wakes_the_waiters_of_one_number_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    shared_memory<std::int32_t> m(2);
    EXPECT_EQ(co_await m.wait(0, 1), shared_wait::not_equal);
    std::vector<int> order;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 4; ++i) {
        static_cast<void>(s.spawn_local([&, i]() -> task<> {
          EXPECT_EQ(co_await m.wait(i == 3 ? 1 : 0, 0), shared_wait::ok);
          order.push_back(i);
        }));
      }
      co_await yield();
      EXPECT_EQ(m.notify(0, 2), 2U);
      co_await yield();
      EXPECT_EQ(order, (std::vector{0, 1}));
      EXPECT_EQ(m.notify(1), 1U);
      EXPECT_EQ(m.notify(0), 1U);
      EXPECT_EQ(m.notify(0), 0U);
    });
    EXPECT_EQ(order, (std::vector{0, 1, 3, 2}));
    EXPECT_THROW(co_await timeout(1ms, m.wait(0, 0)), error);
    EXPECT_EQ(m.notify(0), 0U);
  }());
}

TEST(SharedMemory, misses_no_change_between_two_runtimes) {
  shared_memory<std::uint32_t> turn(1);
  const auto total = static_cast<std::uint32_t>(rounds(2'000));
  auto play = [](shared_memory<std::uint32_t> m, std::uint32_t parity, std::uint32_t last) -> task<> {
    for (auto now = m.load(0); now < last; now = m.load(0)) {
      if (now % 2 == parity) {
        m.add(0, 1);
        m.notify(0);
      } else {
        co_await m.wait(0, now);
      }
    }
  };
  std::thread other([&] { run_with(1, play(turn, 0, total)); });
  run_with(2, play(turn, 1, total));
  other.join();
  EXPECT_EQ(turn.load(0), total);
}

}  // namespace
}  // namespace weir::sync
