#include <weir/sync/shared_memory.hpp>
#include <weir/sync/thread_worker.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using testing::rounds;
using testing::run_with;

using text_port = message_port<std::string>;
using text_worker = thread_worker<std::string>;

task<> echo(text_port& port) {
  while (auto message = co_await port.receive()) port.post("echo " + *message);
}

// Notes what an owner is told, in order.
struct log_of_events {
  std::vector<std::string> lines;

  worker_listeners<std::string> all() {
    return {.online = [this] { lines.emplace_back("online"); },
            .message = [this](const std::string& text) { lines.push_back("message " + text); },
            .error = [this](const std::exception_ptr& why) { lines.push_back("error " + failure(why).message()); },
            .exit = [this](int code) { lines.push_back("exit " + std::to_string(code)); }};
  }
};

template <class F>
std::vector<std::string> events_of(F body) {
  log_of_events log;
  run_with(1, with_scope([&](scope&) -> task<> {
             text_worker worker({}, body);
             co_await worker.listen(log.all());
           }));
  return log.lines;
}

TEST(C3_ORD_24, worker_events_come_in_nodes_order) {
  auto sends = [](text_port& port) -> task<> {
    port.post("done");
    co_return;
  };
  EXPECT_EQ(events_of(sends), (std::vector<std::string>{"online", "message done", "exit 0"}));
  auto throws = [](text_port& port) -> task<> {
    port.post("before");
    co_await yield();
    throw std::runtime_error("boom");
  };
  EXPECT_EQ(events_of(throws), (std::vector<std::string>{"online", "message before", "error boom", "exit 1"}));
  auto exits = [](text_port&) -> task<> {
    exit_worker(3);
    exit_worker(4);  // the first decides
    co_await sleep(1h);
  };
  EXPECT_EQ(events_of(exits), (std::vector<std::string>{"online", "exit 3"}));
  auto returns = [](text_port&) -> task<int> { co_return 7; };
  EXPECT_EQ(events_of(returns), (std::vector<std::string>{"online", "exit 7"}));
}

TEST(ThreadWorker, sends_and_receives_in_order_and_keeps_early_posts) {
  run_with(1, []() -> task<> {
    text_worker worker({}, echo);
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(worker.post_message(std::to_string(i)));
    for (int i = 0; i < 100; ++i) EXPECT_EQ(co_await worker.receive(), "echo " + std::to_string(i));
    co_await worker.online();
    EXPECT_EQ(co_await worker.terminate(), 1);
    EXPECT_FALSE(worker.post_message("late"));
    EXPECT_EQ(co_await worker.receive(), std::nullopt);
    EXPECT_EQ(co_await worker.exited(), 1);
    EXPECT_EQ(co_await worker.terminate(), 1);
    EXPECT_FALSE(worker.error());
  }());
}

TEST(ThreadWorker, has_a_name_an_identity_and_the_stack_it_was_given) {
  run_with(1, []() -> task<> {
    EXPECT_TRUE(is_main_thread());
    EXPECT_EQ(thread_id(), 0U);
    EXPECT_THROW(exit_worker(1), error);
    struct facts {
      bool main;
      std::uint64_t id;
      std::string name;
      std::size_t stack;
    };
    auto tell = [](message_port<int, facts>& port) -> task<> {
      char name[16] = {};
      pthread_getname_np(pthread_self(), name, sizeof name);
      pthread_attr_t attributes;
      pthread_getattr_np(pthread_self(), &attributes);
      std::size_t size = 0;
      pthread_attr_getstacksize(&attributes, &size);
      pthread_attr_destroy(&attributes);
      port.post({is_main_thread(), thread_id(), name, size});
      co_return;
    };
    thread_worker<int, facts> one({.name = "resize-images-fast", .stack_size = 24 * 1024 * 1024 + 1}, tell);
    thread_worker<int, facts> two({}, tell);
    auto seen = co_await one.first_message();
    EXPECT_FALSE(seen.main);
    EXPECT_EQ(seen.id, one.thread_id());
    EXPECT_EQ(seen.name, "resize-images-f");
    EXPECT_GE(seen.stack, 24U * 1024 * 1024 + 1);
    EXPECT_EQ(one.name(), "resize-images-fast");
    EXPECT_NE((co_await two.first_message()).id, seen.id);
  }());
}

TEST(ThreadWorker, takes_data_that_only_moves) {
  run_with(1, []() -> task<> {
    auto add = [](message_port<int>& port, std::unique_ptr<int> a, int b) -> task<> {
      port.post(*a + b);
      co_return;
    };
    thread_worker<int> worker({}, add, std::make_unique<int>(40), 2);
    EXPECT_EQ(co_await worker.first_message(), 42);
    EXPECT_EQ(co_await worker.exited(), 0);
  }());
}

TEST(C3_SYS_10, first_message_of_a_worker_settles_whatever_happens) {
  run_with(1, []() -> task<> {
    auto outcome_of = [](auto body) -> task<std::string> {
      text_worker worker({}, body);
      auto outcome = co_await attempt(worker.first_message());
      co_return outcome ? *outcome : outcome.failure().message();
    };
    EXPECT_EQ(co_await outcome_of([](text_port& port) -> task<> {
                port.post("value");
                co_return;
              }),
              "value");
    EXPECT_EQ(co_await outcome_of([](text_port&) -> task<> { throw std::runtime_error("thrown"); }), "thrown");
    EXPECT_EQ(co_await outcome_of([](text_port&) -> task<> {
                exit_worker(3);
                co_return;
              }),
              "Worker stopped with exit code 3");
    EXPECT_EQ(co_await outcome_of([](text_port&) -> task<> { co_return; }), "Worker stopped with exit code 0");
  }());
}

TEST(ThreadWorker, error_that_nobody_listens_to_fails_the_scope) {
  auto body = [](text_port&) -> task<> {
    set_timeout([] { throw std::logic_error("from a timer"); }, 1ms);
    co_return;
  };
  EXPECT_THROW(run_with(1, with_scope([&](scope&) -> task<> {
                          text_worker worker({}, body);
                          static_cast<void>(worker.listen({.exit = [](int) {}}));
                          co_await worker.exited();
                        })),
               std::logic_error);
}

TEST(ThreadWorker, listener_may_outlive_the_object) {
  log_of_events log;
  run_with(1, with_scope([&](scope&) -> task<> {
             text_worker worker({}, echo);
             static_cast<void>(worker.listen(log.all()));
             co_await worker.online();
           }));
  EXPECT_EQ(log.lines.back(), "exit 1");
}

TEST(ThreadWorker, busy_one_is_reported_after_the_grace_and_can_be_awaited_again) {
  run_with(1, []() -> task<> {
    std::atomic<bool> let_go{false};
    auto busy = [](text_port&, std::atomic<bool>* open) -> task<> {
      while (!*open) std::this_thread::yield();
      co_return;
    };
    text_worker worker({.name = "cruncher", .grace = 10ms}, busy, &let_go);
    auto outcome = co_await attempt(worker.terminate());
    EXPECT_EQ(outcome.failure().code_name(), "ERR_TIMEOUT");
    EXPECT_NE(outcome.failure().message().find("'cruncher'"), std::string::npos);
    let_go = true;
    EXPECT_EQ(co_await worker.exited(), 1);
  }());
}

TEST(ThreadWorker, computation_can_see_that_it_is_to_stop) {
  run_with(1, []() -> task<> {
    auto computes = [](text_port&) -> task<> {
      while (!worker_stopping()) std::this_thread::yield();
      co_return;
    };
    text_worker worker({}, computes);
    co_await worker.online();
    EXPECT_FALSE(worker_stopping());
    EXPECT_EQ(co_await worker.terminate(), 1);
  }());
}

TEST(ThreadWorker, terminated_at_any_moment_it_ends) {
  run_with(2, []() -> task<> {
    for (std::size_t i = 0; i < rounds(60, 4); ++i) {
      text_worker worker({}, echo);
      if (i % 3 == 1) co_await worker.online();
      if (i % 3 == 2) {
        worker.post_message("x");
        co_await worker.receive();
      }
      EXPECT_EQ(co_await worker.terminate(), 1);
    }
    text_worker dropped({}, echo);
  }());
}

TEST(C1_SYS_24, basic_worker_with_data_messages_events_and_an_end) {
  log_of_events log;
  run_with(1, with_scope([&](scope&) -> task<> {
             std::vector<int> data{1, 2, 3};
             auto body = [](text_port& port, std::vector<int> mine) -> task<> {
               mine[0] = 100;  // a copy: the owner's stays
               port.post("ready " + std::to_string(thread_id() != 0));
               while (auto message = co_await port.receive()) {
                 if (*message == "fail") throw std::runtime_error("asked to");
                 port.post(*message + " " + std::to_string(mine[0]));
               }
             };
             text_worker worker({}, body, data);
             auto told = worker.listen(log.all());
             worker.post_message("one");
             worker.post_message("two");
             worker.post_message("fail");
             worker.post_message("never read");
             co_await std::move(told);
             EXPECT_EQ(data[0], 1);
           }));
  EXPECT_EQ(log.lines, (std::vector<std::string>{"online", "message ready 1", "message one 100", "message two 100",
                                                 "error asked to", "exit 1"}));
}

template <class Main>
void count_with_two_workers(std::uint32_t times, Main main) {
  run_with(1, [](std::uint32_t n, Main check) -> task<> {
    shared_memory<std::uint32_t> counter(1);
    auto body = [](message_port<int>&, shared_memory<std::uint32_t> shared, std::uint32_t adds) -> task<> {
      for (std::uint32_t i = 0; i < adds; ++i) shared.add(0, 1);
      co_return;
    };
    thread_worker<int> first({}, body, counter, n), second({}, body, counter, n);
    EXPECT_EQ(co_await first.exited(), 0);
    EXPECT_EQ(co_await second.exited(), 0);
    check(counter);
  }(times, main));
}

TEST(C1_SYS_25, two_workers_count_to_two_million_exactly) {
  const auto times = static_cast<std::uint32_t>(rounds(1'000'000));
  count_with_two_workers(times, [times](auto& counter) { EXPECT_EQ(counter.load(0), 2 * times); });
}

TEST(C2_SYS_13, counter_shared_with_threads_is_seen_without_a_copy) {
  count_with_two_workers(1'000, [](auto& counter) { EXPECT_EQ(counter.numbers()[0], 2'000U); });
}

// Two workers talk to each other over a line that was handed to them; their owner hears only how it went.
TEST(C1_SYS_27, workers_talk_to_each_other_over_a_transferred_port) {
  run_with(1, []() -> task<> {
    message_channel<int> line;
    auto serve = [](message_port<int>& owner, message_port<int> peer) -> task<> {
      int hops = 0;
      while (auto ball = co_await peer.receive()) {
        ++hops;
        if (*ball == 0) break;
        peer.post(*ball - 1);
      }
      owner.post(hops);
    };
    line.port1.post(9);
    thread_worker<int> left({}, serve, std::move(line.port1)), right({}, serve, std::move(line.port2));
    EXPECT_FALSE(line.port1);
    EXPECT_THROW(line.port2.post(1), error);
    auto first = co_await left.first_message();
    EXPECT_EQ(first + co_await right.first_message(), 10);
    EXPECT_EQ(co_await left.exited(), 0);
    EXPECT_EQ(co_await right.exited(), 0);
  }());
}

}  // namespace
}  // namespace weir::sync
