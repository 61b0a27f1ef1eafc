#include <weir/sync/select.hpp>
#include <weir/sync/watch.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using weir::testing::rounds;
using weir::testing::run_with;

TEST(Watch, shows_the_newest_value_and_passes_over_those_between) {
  run_with(1, []() -> task<> {
    watch<std::string> w("first");
    auto o = w.observe();
    EXPECT_FALSE(o.has_changed());
    EXPECT_EQ(o.get(), "first");
    w.set("second");
    w.set("third");
    EXPECT_TRUE(o.has_changed());
    EXPECT_EQ(co_await o.next(), "third");
    EXPECT_FALSE(o.has_changed());
    EXPECT_EQ(w.get(), "third");
    EXPECT_EQ(w.version(), 3U);
  }());
}

TEST(Watch, wakes_everybody_who_waits_for_a_change) {
  run_with(1, with_scope([](scope& s) -> task<> {
             watch<int> w(0);
             int sum = 0;
             for (int i = 0; i < 4; ++i) {
               s.spawn_local(
                   [&sum](observer<int> o) -> task<> {
                     while (auto v = co_await o.next()) sum += *v;
                   },
                   w.observe());
             }
             co_await yield();
             EXPECT_EQ(sum, 0) << "the value that was there is no change";
             w.set(5);
             co_await yield();
             EXPECT_EQ(sum, 20);
             w.close();
           }));
}

TEST(Watch, ends_its_observers_when_the_last_writer_goes_after_they_saw_the_last_value) {
  run_with(1, []() -> task<> {
    std::optional<watch<int>> w(std::in_place, 1);
    auto o = w->observe();
    auto late = w->observe_present();
    std::optional<watch<int>> other(*w);
    w.reset();
    EXPECT_FALSE(o.closed());
    other->set(2);
    other.reset();
    EXPECT_TRUE(o.closed());
    EXPECT_EQ(co_await o.next(), 2);
    EXPECT_EQ(co_await o.next(), std::nullopt);
    EXPECT_EQ(co_await late.next(), 2);
    EXPECT_EQ(co_await late.next(), std::nullopt);
    EXPECT_EQ(o.get(), 2);
  }());
}

TEST(Watch, leaves_a_value_unseen_by_a_wait_that_was_cancelled_or_lost) {
  run_with(1, with_scope([](scope& s) -> task<> {
             watch<int> a(0);
             watch<int> b(0);
             auto on_a = a.observe();
             auto on_b = b.observe();
             auto waiting = s.spawn_local([&]() -> task<bool> { co_return !co_await attempt(on_a.next()); });
             co_await yield();
             waiting.cancel();
             a.set(1);
             EXPECT_TRUE(co_await std::move(waiting));
             EXPECT_TRUE(on_a.has_changed());
             b.set(2);
             EXPECT_EQ((co_await select({.prefer = preference::in_order}, on_b.next(), on_a.next())).index(), 0U);
             EXPECT_EQ(co_await on_a.next(), 1);
             EXPECT_FALSE(on_b.has_changed());
           }));
}

TEST(Watch, set_by_a_foreign_thread_is_seen_to_its_last_value_in_order) {
  for (unsigned workers : {1U, 2U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               constexpr int last = static_cast<int>(rounds(20'000));
               std::optional<watch<int>> w(std::in_place, 0);
               std::vector<join_handle<int>> handles;
               for (int i = 0; i < 3; ++i) {
                 handles.push_back(s.spawn(
                     [](observer<int> o) -> task<int> {
                       int seen = 0;
                       while (auto v = co_await o.next()) {
                         EXPECT_GT(*v, seen);
                         seen = *v;
                       }
                       co_return seen;
                     },
                     w->observe()));
               }
               std::thread foreign(
                   [](watch<int> to) {
                     for (int i = 1; i <= last; ++i) to.set(i);
                   },
                   *w);
               w.reset();
               for (auto& each : handles) EXPECT_EQ(co_await std::move(each), last);
               foreign.join();
             }));
  }
}

}  // namespace
}  // namespace weir::sync
