#include <weir/sync/once_cell.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

namespace weir::sync {
namespace {

using weir::testing::rounds;
using weir::testing::run_with;

// A connection that is made once, however many ask for it at once (C2-PA-04).
TEST(OnceCell, runs_one_initialiser_while_others_wait) {
  for (unsigned workers : {1U, 4U}) {
    run_with(workers, []() -> task<> {
      for (std::size_t i = 0; i < rounds(500); ++i) {
        once_cell<std::unique_ptr<int>> cell;
        std::atomic<int> runs{0};
        EXPECT_EQ(cell.get(), nullptr);
        co_await with_scope([&](scope& s) -> task<> {
          for (int n = 0; n < 6; ++n) {
            s.spawn([&]() -> task<> {
              auto& value = co_await cell.get_or_init([&runs]() -> task<std::unique_ptr<int>> {
                co_await yield();
                co_return std::make_unique<int>(runs.fetch_add(1));
              });
              EXPECT_EQ(*value, 0);
            });
          }
          co_return;
        });
        EXPECT_EQ(runs.load(), 1);
        EXPECT_EQ(**cell.get(), 0);
      }
    }());
  }
}

TEST(OnceCell, lets_the_next_try_where_one_failed_or_was_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             once_cell<int> cell;
             auto fail = []() -> task<int> {
               co_await yield();
               throw std::runtime_error("no luck");
             };
             auto first = s.spawn_local([&]() -> task<> {
               auto failed = co_await attempt(cell.get_or_init(fail));
               EXPECT_EQ(failed.failure().message(), "no luck");
             });
             auto second = s.spawn_local([&]() -> task<> {
               co_await cell.get_or_init([]() -> task<int> {
                 co_await weir::testing::forever();
                 co_return 2;
               });
             });
             auto third = s.spawn_local(
                 [&]() -> task<int> { co_return co_await cell.get_or_init([]() -> task<int> { co_return 3; }); });
             co_await std::move(first);
             co_await yield();
             EXPECT_FALSE(cell.try_set(9));  // somebody is at it
             second.cancel();
             EXPECT_EQ(co_await std::move(third), 3);
             EXPECT_EQ(co_await cell.get_or_init(fail), 3);
           }));
}

TEST(OnceCell, can_be_set_once_without_waiting) {
  once_cell<std::string> cell;
  EXPECT_TRUE(cell.try_set("a"));
  EXPECT_FALSE(cell.try_set("b"));
  EXPECT_EQ(*cell.get(), "a");
}

}  // namespace
}  // namespace weir::sync
