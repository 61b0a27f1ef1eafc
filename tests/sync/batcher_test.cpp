#include <weir/sync/batcher.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::virtual_clock;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

/// "a,b@milliseconds" for each batch.
class batch_log {
 public:
  auto function() {
    return [this](std::vector<int> items) -> task<> {
      note(items);
      co_return;
    };
  }
  void note(const std::vector<int>& items) {
    std::string line;
    for (int each : items) line += (line.empty() ? "" : ",") + std::to_string(each);
    batches.push_back(line + '@' + std::to_string(virtual_clock::elapsed() / 1ms));
  }
  std::vector<std::string> batches;
};

TEST(Batcher, hands_over_full_batches_at_once_and_the_rest_in_time) {
  on_virtual_time([]() -> task<> {
    batch_log log;
    co_await with_scope([&](scope& s) -> task<> {
      batcher<int> b(s, log.function(), {.max_size = 3, .max_wait = 100ms});
      for (int i = 1; i <= 4; ++i) b.push(i);
      co_await sleep(500ms);
      b.push(5);
      co_await sleep(200ms);
    });
    EXPECT_THAT(log.batches, ElementsAre("1,2,3@0", "4@100", "5@600"));
  }());
}

// C0-STR-18: there each item starts the time anew, so that a trickle waits without end.
TEST(Batcher, counts_the_wait_from_the_first_item) {
  on_virtual_time([]() -> task<> {
    batch_log log;
    co_await with_scope([&](scope& s) -> task<> {
      batcher<int> b(s, log.function(), {.max_wait = 100ms});
      for (int i = 0; i < 6; ++i) {
        b.push(i);
        co_await sleep(40ms);
      }
    });
    EXPECT_THAT(log.batches, ElementsAre("0,1,2@100", "3,4,5@220"));
  }());
}

// C0-EV-11: there the rest is lost at the end.
TEST(Batcher, has_the_rest_handled_when_it_goes) {
  on_virtual_time([]() -> task<> {
    batch_log log;
    co_await with_scope([&](scope& s) -> task<> {
      batcher<int> b(s, log.function(), {.max_wait = 1h});
      b.push(1);
      EXPECT_TRUE(b.flush());
      EXPECT_FALSE(b.flush());
      b.push(2);
      co_return;
    });
    EXPECT_THAT(log.batches, ElementsAre("1@0", "2@0"));
    EXPECT_EQ(virtual_clock::elapsed(), 0ms);
  }());
}

TEST(Batcher, lets_who_adds_wait_while_too_many_are_handled) {
  on_virtual_time([]() -> task<> {
    batch_log log;
    co_await with_scope([&](scope& s) -> task<> {
      batcher<int> b(s,
                     [&](std::vector<int> items) -> task<> {
                       co_await sleep(1s);
                       log.note(items);
                     },
                     {.max_size = 2, .max_pending = 4});
      for (int i = 0; i < 4; ++i) b.push(i);
      EXPECT_THROW(b.push(9), error);
      EXPECT_FALSE(co_await attempt(timeout(100ms, b.add(8))));
      for (int i = 4; i < 8; ++i) co_await b.add(i);
      EXPECT_EQ(virtual_clock::elapsed(), 2s);
    });
    EXPECT_THAT(log.batches, ElementsAre("0,1@1000", "2,3@2000", "4,5@3000", "6,7@4000"));
  }());
}

TEST(Batcher, fails_its_scope_with_what_the_handling_throws) {
  EXPECT_THROW(on_virtual_time(with_scope([](scope& s) -> task<> {
                 batcher<int> b(s, [](std::vector<int>) -> task<> {
                   throw std::runtime_error("x");
                   co_return;
                 });
                 b.push(1);
                 co_await sleep(1h);
               })),
               std::runtime_error);
}

TEST(Batcher, drops_what_waits_when_its_scope_is_cancelled) {
  on_virtual_time([]() -> task<> {
    batch_log log;
    int before = testing::counted::alive();
    co_await with_scope([&](scope& s) -> task<> {
      batcher<testing::counted> b(s, [](std::vector<testing::counted>) -> task<> {
        ADD_FAILURE();
        co_return;
      });
      b.push({});
      s.cancel();
      static_cast<void>(co_await attempt(yield()));
      co_await shield(sleep(1s));
      EXPECT_FALSE(b.flush());
    });
    EXPECT_EQ(testing::counted::alive(), before);
  }());
}

TEST(Batcher, refuses_limits_that_make_no_sense) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    batch_log log;
    EXPECT_THROW(batcher<int>(s, log.function(), {.max_size = 0}), error);
    EXPECT_THROW(batcher<int>(s, log.function(), {.max_wait = -1s}), error);
    EXPECT_THROW(batcher<int>(s, log.function(), {.max_pending = 0}), error);
    EXPECT_THROW(batcher<int>(s, log.function(), {.max_running = 0}), error);
    co_return;
  }));
}

using names = loader<int, std::string>;

/// Loads "v<key>"; negative keys fail.
struct store {
  batch_log log;
  auto function() {
    return [this](std::vector<int> keys) -> task<std::vector<result<std::string>>> {
      log.note(keys);
      co_await sleep(10ms);
      std::vector<result<std::string>> values;
      for (int key : keys) {
        if (key < 0) {
          values.emplace_back(error(errc::err_closed, "no " + std::to_string(key)));
        } else {
          values.emplace_back('v' + std::to_string(key));
        }
      }
      co_return values;
    };
  }
};

// C3-ORD-33, C3-SYS-67
TEST(Loader, makes_one_batch_of_the_loads_of_one_turn_C3_SYS_67) {
  on_virtual_time([]() -> task<> {
    store data;
    co_await with_scope([&](scope& s) -> task<> {
      names users(s, data.function());
      auto load = [&users](scope& requests, int key) {
        requests.spawn_local(
            [](names* from, int wanted) -> task<> {
              EXPECT_EQ(co_await from->load(wanted), 'v' + std::to_string(wanted));
            },
            &users, key);
      };
      co_await with_scope([&](scope& requests) -> task<> {
        load(requests, 1);
        queue_microtask([&load, &requests] { load(requests, 2); });
        load(requests, 3);
        requests.spawn_local([&users]() -> task<> {
          co_await microtask();
          co_await microtask();
          EXPECT_EQ(co_await users.load(4), "v4");
        });
        set_immediate([&load, &requests] { load(requests, 5); });
        co_return;
      });
    });
    EXPECT_THAT(data.log.batches, ElementsAre("1,3,2,4@0", "5@0"));
  }());
}

TEST(Loader, loads_each_key_once_and_keeps_it) {
  on_virtual_time([]() -> task<> {
    store data;
    co_await with_scope([&](scope& s) -> task<> {
      names users(s, data.function());
      auto both = co_await all(users.load(1), users.load(1), users.load(2));
      EXPECT_EQ(both, std::tuple("v1", "v1", "v2"));
      EXPECT_EQ(co_await users.load(1), "v1");
      users.clear(1);
      users.prime(3, "primed");
      users.prime(2, "ignored");
      EXPECT_EQ(co_await users.load(3), "primed");
      EXPECT_EQ(co_await users.load(2), "v2");
      EXPECT_EQ(co_await users.load(1), "v1");
      users.clear_all();
      EXPECT_EQ(co_await users.load(3), "v3");
    });
    EXPECT_THAT(data.log.batches, ElementsAre("1,2@0", "1@10", "3@20"));
  }());
}

// C3-GQL-05
TEST(Loader, fails_only_the_keys_that_failed_and_asks_for_them_again) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    store data;
    names users(s, data.function());
    auto outcomes = co_await all_settled(users.load(1), users.load(-1), users.load(2));
    EXPECT_EQ(std::get<0>(outcomes).value(), "v1");
    EXPECT_EQ(std::get<1>(outcomes).failure().message(), "no -1");
    EXPECT_EQ(std::get<2>(outcomes).value(), "v2");
    EXPECT_FALSE(co_await attempt(users.load(-1)));
    EXPECT_THAT(data.log.batches, ElementsAre("1,-1,2@0", "-1@10"));
  }));
}

TEST(Loader, cuts_batches_at_their_largest_size_and_caches_a_bounded_number) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    store data;
    names users(s, data.function(), {.max_batch = 2, .max_cached = 1});
    co_await all(users.load(1), users.load(2), users.load(3));
    EXPECT_EQ(co_await users.load(3), "v3");
    EXPECT_EQ(co_await users.load(1), "v1");
    EXPECT_THAT(data.log.batches, ElementsAre("1,2@0", "3@0", "1@10"));
  }));
}

TEST(Loader, fails_all_if_the_function_throws_or_gives_too_few) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    names throws(s, [](std::vector<int>) -> task<std::vector<result<std::string>>> {
      throw std::runtime_error("down");
      co_return {};
    });
    names too_few(s, [](std::vector<int>) -> task<std::vector<result<std::string>>> { co_return {}; });
    auto outcomes = co_await all_settled(throws.load(1), throws.load(2), too_few.load(1));
    EXPECT_EQ(std::get<0>(outcomes).failure().message(), "down");
    EXPECT_EQ(std::get<1>(outcomes).failure().message(), "down");
    EXPECT_TRUE(std::get<2>(outcomes).failure().is("ERR_INVALID_RETURN_VALUE"));
  }));
}

TEST(Loader, cancels_those_that_wait_when_its_scope_is_cancelled) {
  on_virtual_time([]() -> task<> {
    store data;
    std::optional<names> users;
    std::optional<task<std::string>> waits;
    std::optional<task<std::string>> runs;
    co_await with_scope([&](scope& s) -> task<> {
      users.emplace(s, data.function());
      runs.emplace(users->load(1));
      co_await sleep(5ms);
      waits.emplace(users->load(2));
      s.cancel();
    });
    EXPECT_TRUE((co_await attempt(std::move(*runs))).failure().is_cancelled());
    EXPECT_TRUE((co_await attempt(std::move(*waits))).failure().is_cancelled());
    EXPECT_THAT(data.log.batches, ElementsAre("1@0"));
  }());
}

}  // namespace
}  // namespace weir::sync
