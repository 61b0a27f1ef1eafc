#include <weir/sync/parallel_for.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

TEST(ParallelFor, visits_every_element_once_on_workers_and_in_a_pool) {
  run_with(2, []() -> task<> {
    worker_pool pool({.threads = 3});
    for (auto* where : {static_cast<worker_pool*>(nullptr), &pool}) {
      for (std::size_t count : {0U, 1U, 2U, 7U, 100U}) {
        std::vector<std::atomic<int>> seen(count);
        co_await parallel_for(count, [&](std::size_t i) { ++seen[i]; }, {.slices = 4, .pool = where});
        for (auto& each : seen) EXPECT_EQ(each, 1);
      }
    }
  }());
}

TEST(ParallelFor, cuts_slices_of_equal_length_and_clips_the_last) {
  run_with(1, []() -> task<> {
    std::mutex lock;
    std::vector<std::pair<std::size_t, std::size_t>> slices;
    auto note = [&](std::size_t begin, std::size_t end) {
      std::lock_guard guard(lock);
      slices.emplace_back(begin, end);
    };
    co_await parallel_for(10, note, {.slices = 4});
    std::sort(slices.begin(), slices.end());
    EXPECT_EQ(slices, (std::vector<std::pair<std::size_t, std::size_t>>{{0, 3}, {3, 6}, {6, 9}, {9, 10}}));
    slices.clear();
    co_await parallel_for(6, note, {.slices = 4});  // ceil(6/4) = 2: three slices do
    EXPECT_EQ(slices.size(), 3U);
    slices.clear();
    co_await parallel_for(2, note, {.slices = 8});
    EXPECT_EQ(slices.size(), 2U);
  }());
}

TEST(ParallelFor, takes_a_range_and_a_coroutine) {
  run_with(2, []() -> task<> {
    std::vector<int> numbers(50);
    co_await parallel_for(numbers, [](int& n) -> task<> {
      co_await yield();
      n = 3;
    });
    EXPECT_EQ(std::accumulate(numbers.begin(), numbers.end(), 0), 150);
  }());
}

TEST(ParallelFor, stops_the_other_slices_at_the_first_failure) {
  run_with(1, []() -> task<> {
    worker_pool pool({.threads = 2});
    for (auto* where : {static_cast<worker_pool*>(nullptr), &pool}) {
      std::atomic<bool> second_runs{false};
      std::atomic<std::size_t> calls{0};
      auto body = [&](std::size_t i) -> task<> {
        ++calls;
        if (i == 0) {
          while (!second_runs) co_await yield();
          throw std::runtime_error("first");
        }
        second_runs = true;
        co_await yield();
      };
      auto outcome = co_await attempt(parallel_for(1'000'000, body, {.slices = 2, .pool = where}));
      EXPECT_EQ(outcome.failure().message(), "first");
      EXPECT_LT(calls, 500'001U);
    }
  }());
}

TEST(ParallelFor, ends_when_it_is_cancelled_although_its_body_never_awaits) {
  run_with(2, []() -> task<> {
    worker_pool pool({.threads = 2});
    for (auto* where : {static_cast<worker_pool*>(nullptr), &pool}) {
      auto endless = [](std::size_t) { std::this_thread::sleep_for(10us); };
      auto outcome =
          co_await attempt(timeout(5ms, parallel_for(std::size_t{1} << 40, endless, {.slices = 2, .pool = where})));
      EXPECT_EQ(outcome.failure().code_name(), "ETIMEDOUT");
    }
  }());
}

TEST(ParallelFor, leaves_room_for_other_tasks_of_its_worker) {
  run_with(1, []() -> task<> {
    int ticks = 0;
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local([&]() -> task<> {
        for (;; ++ticks) co_await sleep(1ms);
      }));
      auto burn = [](std::size_t) {
        auto until = std::chrono::steady_clock::now() + 50us;
        while (std::chrono::steady_clock::now() < until) {
        }
      };
      co_await parallel_for(400, burn, {.slices = 2});
      s.cancel();
    });
    EXPECT_GE(ticks, 2);
  }());
}

TEST(ParallelMap, keeps_the_order_whatever_ends_first) {
  run_with(2, []() -> task<> {
    worker_pool pool({.threads = 3});
    std::vector<int> numbers(40);
    std::iota(numbers.begin(), numbers.end(), 0);
    auto squares = co_await parallel_map(numbers, [](int n) { return n * n; }, {.slices = 7, .pool = &pool});
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ(squares[i], static_cast<int>(i * i));
    auto slow = [](int n) -> task<std::string> {
      co_await sleep(std::chrono::milliseconds(4 - n));
      co_return std::to_string(n);
    };
    auto names = co_await parallel_map(std::vector{0, 1, 2, 3}, slow, {.slices = 4});
    EXPECT_EQ(names, (std::vector<std::string>{"0", "1", "2", "3"}));
    EXPECT_THROW(co_await parallel_map(numbers, [](int n) { return n < 20 ? n : throw std::runtime_error("20"); }),
                 std::runtime_error);
  }());
}

using matrix = std::vector<double>;

matrix sample(std::size_t n, double seed) {
  matrix made(n * n);
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = std::sin(seed * static_cast<double>(i + 1));
  return made;
}

void multiply_rows(const matrix& a, const matrix& b, matrix& into, std::size_t n, std::size_t begin, std::size_t end) {
  for (auto i = begin; i < end; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      into[i * n + j] = sum;
    }
  }
}

TEST(C1_SYS_28, matrix_product_in_slices_equals_the_serial_one) {
  run_with(1, []() -> task<> {
    const std::size_t n = rounds(150, 2);
    auto a = sample(n, 0.3), b = sample(n, 0.7);
    matrix serial(n * n), parallel(n * n);
    multiply_rows(a, b, serial, n, 0, n);
    worker_pool pool({.threads = 4});
    co_await parallel_for(n, [&](std::size_t begin, std::size_t end) { multiply_rows(a, b, parallel, n, begin, end); },
                          {.pool = &pool});
    for (std::size_t i = 0; i < serial.size(); ++i) EXPECT_NEAR(serial[i], parallel[i], 1e-4);
    auto broken = [](std::size_t begin, std::size_t) {
      if (begin != 0) throw std::runtime_error("row");
    };
    EXPECT_THROW(co_await parallel_for(n, broken, {.pool = &pool}), std::runtime_error);  // not: hangs
  }());
}

// An image of RGBA pixels, cut into strips that are moved to the pool's threads and back.
struct strip {
  std::size_t y = 0, rows = 0;
  std::vector<std::uint8_t> pixels;
};

std::vector<std::uint8_t> picture(std::size_t width, std::size_t height) {
  std::vector<std::uint8_t> made(width * height * 4);
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<std::uint8_t>(i * 37 % 251);
  return made;
}

void grey(std::vector<std::uint8_t>& pixels) {
  for (std::size_t i = 0; i + 3 < pixels.size(); i += 4) {
    auto mean = static_cast<std::uint8_t>((pixels[i] + pixels[i + 1] + pixels[i + 2] + 1) / 3);
    pixels[i] = pixels[i + 1] = pixels[i + 2] = mean;
  }
}

// A vertical blur: the mean of a row, the one above and the one below, as far as there are any.
std::vector<std::uint8_t> blur(const std::vector<std::uint8_t>& from, std::size_t row, std::size_t first,
                               std::size_t rows) {
  std::vector<std::uint8_t> made;
  auto height = from.size() / row;
  for (auto y = first; y < first + rows; ++y) {
    for (std::size_t x = 0; x < row; ++x) {
      unsigned sum = 0, n = 0;
      for (auto at = y == 0 ? y : y - 1; at <= y + 1 && at < height; ++at, ++n) sum += from[at * row + x];
      made.push_back(static_cast<std::uint8_t>((sum + n / 2) / n));
    }
  }
  return made;
}

task<> process_in_strips(std::size_t height) {
  const std::size_t row = 13 * 4;
  auto serial = picture(13, height);
  grey(serial);
  serial = blur(serial, row, 0, height);

  auto image = picture(13, height);
  worker_pool pool({.threads = 3});
  auto length = std::max<std::size_t>((height + 2) / 3, 1);
  std::vector<strip> strips;
  for (std::size_t y = 0; y < height; y += length) {
    auto rows = std::min(length, height - y);
    auto above = y == 0 ? 0U : 1U, below = y + rows < height ? 1U : 0U;  // the halo that the blur looks at
    auto begin = image.begin() + static_cast<std::ptrdiff_t>((y - above) * row);
    strips.push_back({y, rows, {begin, begin + static_cast<std::ptrdiff_t>((rows + above + below) * row)}});
  }
  auto work = [&pool](strip& tile) -> task<strip> {
    const auto* before = tile.pixels.data();
    auto done = co_await pool.run(
        [before](strip mine) {
          EXPECT_EQ(mine.pixels.data(), before);  // moved, not copied
          grey(mine.pixels);
          mine.pixels = blur(mine.pixels, 13 * 4, mine.y == 0 ? 0 : 1, mine.rows);
          return mine;
        },
        std::move(tile));
    EXPECT_TRUE(tile.pixels.empty());
    co_return done;
  };
  auto tiles = co_await parallel_map(strips, work, {.slices = strips.size()});
  std::vector<std::uint8_t> parallel;
  for (auto& each : tiles) parallel.insert(parallel.end(), each.pixels.begin(), each.pixels.end());
  EXPECT_EQ(parallel, serial);
}

TEST(C1_SYS_29, picture_processed_in_strips_equals_the_serial_one) {
  for (std::size_t height : {1U, 2U, 3U, 10U, 64U}) run_with(1, process_in_strips(height));
}

}  // namespace
}  // namespace weir::sync
