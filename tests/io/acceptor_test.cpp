// tests/io/acceptor_test.cpp: accepting ahead on a real listening socket: every connection arrives once, whether the
// consumer lags, is cancelled, or the process has no descriptor left.
#include <weir/core/abort.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/acceptor.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/watched_backend.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// Runs `use(acceptor)` and stops the acceptor, also after a failure.
task<void> with_acceptor(int listener, std::function<task<void>(acceptor&)> use, acceptor_options options = {}) {
  acceptor incoming(listener, options);
  auto ended = co_await attempt(use(incoming));
  co_await incoming.stop();
  ended.value();
}

void accept_on(unsigned workers, int listener, std::function<task<void>(acceptor&)> use,
               acceptor_options options = {}) {
  run_with(workers, with_acceptor(listener, std::move(use), options));
}

task<void> settle() {
  for (int i = 0; i < 20; ++i) co_await immediate();
}

class AcceptorOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, AcceptorOnWorkers, ::testing::Values(1U, 2U));

TEST_P(AcceptorOnWorkers, gives_each_connection_once_and_in_order) {
  auto listener = listening();
  std::vector<descriptor> clients;
  std::thread connecting([&] {
    for (int i = 0; i < 200; ++i) clients.push_back(connected_to(port_of(listener.get())));
  });
  std::vector<descriptor> accepted;
  accept_on(GetParam(), listener.get(), [&](acceptor& incoming) -> task<void> {
    while (accepted.size() < 200) accepted.push_back(co_await incoming.next());
  });
  connecting.join();
  for (std::size_t i = 0; i < accepted.size(); ++i) {
    EXPECT_EQ(port_of(accepted[i].get(), ::getpeername), port_of(clients[i].get()));
    EXPECT_EQ(::fcntl(accepted[i].get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST(Acceptor, stays_armed_between_connections) {
  auto listener = listening();
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto first = connected_to(port_of(listener.get()));
    co_await incoming.next();
    auto before = metrics().workers[0].io.submissions;
    for (int i = 0; i < 20; ++i) {
      auto client = connected_to(port_of(listener.get()));
      co_await incoming.next();
    }
    EXPECT_EQ(metrics().workers[0].io.submissions, before);
  });
}

TEST(Acceptor, leaves_connections_in_the_backlog_while_the_consumer_lags) {
  auto listener = listening();
  std::vector<descriptor> clients;
  auto connect = [&] { clients.push_back(connected_to(port_of(listener.get()))); };
  accept_on(1, listener.get(),
            [&](acceptor& incoming) -> task<void> {
              connect();
              co_await incoming.next();
              for (int i = 0; i < 60; ++i) {
                connect();
                co_await settle();
                EXPECT_LE(incoming.queued(), 4U);
              }
              for (int i = 0; i < 60; ++i) {
                auto taken = co_await incoming.next();
                EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(clients[1 + static_cast<std::size_t>(i)].get()));
              }
            },
            {.credit = 4});
}

TEST(Acceptor, waits_out_a_famine_of_descriptors) {
  auto listener = listening();
  auto port = port_of(listener.get());
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    std::vector<descriptor> clients;
    for (int i = 0; i < 10; ++i) clients.push_back(client_socket());
    auto first = client_socket();
    std::optional<descriptor_famine> famine(std::in_place);
    connect_to(first.get(), port);
    co_await incoming.next();
    famine->begin();
    for (auto& each : clients) connect_to(each.get(), port);
    auto before = metrics().workers[0].io.submissions;
    auto turns = metrics().workers[0].turns;
    co_await with_scope([&](scope& s) -> task<void> {
      s.spawn_local([&]() -> task<void> {
        while (incoming.pauses() < 3) co_await sleep(5ms);
        EXPECT_EQ(incoming.queued(), 0U);
        EXPECT_LE(metrics().workers[0].io.submissions, before + 5);
        EXPECT_LE(metrics().workers[0].turns, turns + 200);  // nothing spins
        famine.reset();
      });
      for (auto& each : clients) {
        auto taken = co_await incoming.next();
        EXPECT_FALSE(famine);
        EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(each.get()));
      }
    });
  });
}

TEST(Acceptor, stops_during_a_famine) {
  auto listener = listening();
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto client = client_socket();
    descriptor_famine famine;
    famine.begin();
    connect_to(client.get(), port_of(listener.get()));
    co_await with_scope([&](scope& s) -> task<void> {
      auto reader =
          s.spawn_local([&]() -> task<void> { EXPECT_EQ(verdict(co_await attempt(incoming.next())), "ERR_CLOSED"); });
      while (incoming.pauses() == 0) co_await immediate();
      co_await incoming.stop();
    });
  });
}

TEST(Acceptor, survives_answers_that_say_nothing_of_the_listener) {
  auto listener = listening();
  auto options = watched_backend::options(1);
  std::vector<int> answers = {ECONNABORTED, EPROTO,       ENETDOWN,    ENOPROTOOPT, EHOSTDOWN,
                              ENONET,       EHOSTUNREACH, ENETUNREACH, EPERM,       EINTR,
                              ECANCELED,    EMFILE,       ENFILE,      ENOBUFS,     ENOMEM};
  watched_backend::answer = [&](const operation& op) -> std::optional<int> {
    if (op.code != opcode::accept_many || answers.empty()) return {};
    auto next = -answers.back();
    answers.pop_back();
    return next;
  };
  auto client = connected_to(port_of(listener.get()));
  runtime(options).block_on(with_acceptor(listener.get(), [&](acceptor& incoming) -> task<void> {
    auto taken = co_await incoming.next();
    EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(client.get()));
    EXPECT_EQ(incoming.pauses(), 4U);
  }));
  EXPECT_TRUE(answers.empty());
}

TEST(Acceptor, fails_once_the_socket_listens_no_more) {
  auto listener = listening();
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto client = connected_to(port_of(listener.get()));
    co_await incoming.next();
    ::shutdown(listener.get(), SHUT_RD);
    for (int i = 0; i < 2; ++i) {
      auto failed = co_await attempt(incoming.next());
      if (failed) co_return ADD_FAILURE() << "accepted on a closed listener";
      EXPECT_STREQ(failed.failure().error().what(), "accept EINVAL");
    }
  });
}

TEST(Acceptor, gives_what_it_has_accepted_after_it_has_stopped) {
  auto listener = listening();
  std::vector<descriptor> clients;
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto first = connected_to(port_of(listener.get()));
    co_await incoming.next();
    for (int i = 0; i < 10; ++i) clients.push_back(connected_to(port_of(listener.get())));
    while (incoming.queued() < 10) co_await immediate();
    co_await incoming.stop();
    for (auto& each : clients) {
      auto taken = co_await incoming.next();
      EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(each.get()));
    }
    for (int i = 0; i < 2; ++i) EXPECT_EQ(verdict(co_await attempt(incoming.next())), "ERR_CLOSED");
    co_await incoming.stop();
    EXPECT_EQ(verdict(co_await attempt(incoming.next())), "ERR_CLOSED");
  });
}

TEST(Acceptor, takes_the_backlog_with_it_when_it_stops) {
  auto listener = listening();
  std::vector<descriptor> clients;
  accept_on(1, listener.get(),
            [&](acceptor& incoming) -> task<void> {
              auto connect = [&] { clients.push_back(connected_to(port_of(listener.get()))); };
              connect();
              auto first = co_await incoming.next();
              for (int i = 0; i < 30; ++i) connect();
              co_await settle();
              EXPECT_LT(incoming.queued(), 31U);
              for (int i = 0; i < 30; ++i) connect();
              co_await incoming.stop();
              auto late = connected_to(port_of(listener.get()));
              EXPECT_EQ(incoming.queued(), 60U);
              for (std::size_t i = 1; i < clients.size(); ++i) {
                auto taken = co_await incoming.next();
                EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(clients[i].get()));
              }
              EXPECT_EQ(verdict(co_await attempt(incoming.next())), "ERR_CLOSED");
            },
            {.credit = 4});
}

TEST(Acceptor, closes_what_nobody_took_when_it_goes) {
  auto listener = listening();
  std::vector<descriptor> clients;
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto first = connected_to(port_of(listener.get()));
    co_await incoming.next();
    for (int i = 0; i < 10; ++i) clients.push_back(connected_to(port_of(listener.get())));
    while (incoming.queued() < 10) co_await immediate();
  });
  for (auto& each : clients) EXPECT_EQ(get(each.get()), "");
}

TEST(Acceptor, tells_who_waits_that_it_stops) {
  auto listener = listening();
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    co_await with_scope([&](scope& s) -> task<void> {
      auto reader =
          s.spawn_local([&]() -> task<void> { EXPECT_EQ(verdict(co_await attempt(incoming.next())), "ERR_CLOSED"); });
      co_await settle();
      co_await incoming.stop();
    });
  });
}

/// Accepts and counts on the worker where it runs, and says when its accept is armed.
task<void> accept_and_count(int listener, std::atomic<int>& count, event& armed, event& changed) {
  co_await with_acceptor(listener, [&](acceptor& incoming) -> task<void> {
    co_await with_scope([&](scope& s) -> task<void> {
      s.spawn_local([&]() -> task<void> {
        co_await settle();
        armed.set();
      });
      for (;;) {
        co_await incoming.next();
        ++count;
        changed.set();
      }
    });
  });
}

// Two accept on one socket, as an old process and a new one do when a server is started anew. The kernel tells of a
// connection whoever came first; if that one stops without taking it, nobody has been told.
TEST(Acceptor, leaves_nobody_waiting_when_one_of_two_stops) {
  auto listener = listening();
  auto until = std::chrono::steady_clock::now() + 1s;
  int served_by_the_first = 0;
  run_with(2, [&]() -> task<void> {
    for (int round = 0; round < 1000 && std::chrono::steady_clock::now() < until; ++round) {
      std::vector<descriptor> clients;
      std::atomic<int> first{0}, second{0};
      event both_armed, changed;
      acceptor leaving(listener.get());
      co_await with_scope([&](scope& s) -> task<void> {
        auto reader = s.spawn_local([&]() -> task<void> {
          while (co_await attempt(leaving.next())) ++first;
        });
        co_await settle();
        auto staying = s.spawn_on(1, [&]() { return accept_and_count(listener.get(), second, both_armed, changed); });
        co_await both_armed.wait();
        for (int i = 0; i < 3; ++i) clients.push_back(connected_to(port_of(listener.get())));
        co_await leaving.stop();
        co_await std::move(reader);
        while (first + second < 3) {
          changed.reset();
          if (first + second < 3) co_await timeout(10s, changed.wait());
        }
        staying.cancel();
      });
      served_by_the_first += first;
      for (auto& each : clients) reset(each);
    }
  }());
  EXPECT_GT(served_by_the_first, 0);
}

TEST(Acceptor, waits_where_the_kernel_does_not) {
  auto listener = listening();
  auto options = watched_backend::options(1);
  int unready = 3;
  watched_backend::answer = [&](const operation& op) -> std::optional<int> {
    if (op.code != opcode::accept_many || unready == 0) return {};
    --unready;
    return -EAGAIN;
  };
  auto client = connected_to(port_of(listener.get()));
  runtime(options).block_on(with_acceptor(listener.get(), [&](acceptor& incoming) -> task<void> {
    auto taken = co_await incoming.next();
    EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(client.get()));
    EXPECT_EQ(incoming.pauses(), 0U);
  }));
  EXPECT_EQ(unready, 0);
}

TEST(Acceptor, leaves_later_connections_to_whoever_accepts_next) {
  auto listener = listening();
  auto client = connected_to(port_of(listener.get()));
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> { co_await incoming.next(); });
  auto late = connected_to(port_of(listener.get()));
  accept_on(1, listener.get(), [&](acceptor& incoming) -> task<void> {
    auto taken = co_await incoming.next();
    EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(late.get()));
  });
}

void accept_with_interruptions(unsigned workers, unsigned canceller) {
  auto listener = listening();
  auto port = port_of(listener.get());
  auto until = std::chrono::steady_clock::now() + 1s;
  int interrupted = 0;
  accept_on(workers, listener.get(), [&](acceptor& incoming) -> task<void> {
    for (int round = 0; round < 5000 && std::chrono::steady_clock::now() < until; ++round) {
      descriptor client;
      descriptor taken;
      co_await with_scope([&](scope& s) -> task<void> {
        auto waiting = s.spawn_local([&]() -> task<void> { taken = co_await incoming.next(); });
        co_await yield();
        auto other = s.spawn_on(canceller, [&]() -> task<void> {
          waiting.cancel();
          co_return;
        });
        if (round % 4 != 0) client = connected_to(port);
        co_await std::move(other);
        if (round % 4 == 0) client = connected_to(port);
        if (!co_await attempt(std::move(waiting))) ++interrupted;
      });
      if (!taken) taken = co_await incoming.next();
      EXPECT_EQ(port_of(taken.get(), ::getpeername), port_of(client.get()));
      reset(client);  // no port stays occupied
    }
  });
  EXPECT_GT(interrupted, 0);
}

TEST(Acceptor, loses_no_connection_to_a_cancelled_consumer) { accept_with_interruptions(1, 0); }
TEST(Acceptor, loses_no_connection_to_a_cancellation_from_another_worker) { accept_with_interruptions(2, 1); }

TEST(Acceptor, shares_a_socket_with_acceptors_of_other_workers) {
  auto listener = listening();
  std::atomic<int> accepted{0};
  event all;
  constexpr int connections = 100;
  run_with(2, with_scope([&](scope& s) -> task<void> {
             for (unsigned worker : {0U, 1U}) {
               s.spawn_on(worker, [&]() -> task<void> {
                 co_await with_acceptor(listener.get(), [&](acceptor& incoming) -> task<void> {
                   for (;;) {
                     if (auto taken = co_await attempt(incoming.next()); !taken) co_return;
                     if (++accepted == connections) all.set();
                   }
                 });
               });
             }
             std::vector<descriptor> clients;
             for (int i = 0; i < connections; ++i) clients.push_back(connected_to(port_of(listener.get())));
             co_await all.wait();
             s.cancel();
           }));
  EXPECT_EQ(accepted, connections);
}

}  // namespace
}  // namespace weir::io
