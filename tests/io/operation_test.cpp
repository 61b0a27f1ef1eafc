// tests/io/operation_test.cpp: awaiting single operations in a running runtime, over real sockets and pipes: what they
// give, how they fail, and that a cancellation ends them from wherever it comes without taking anything with it.
#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/operation.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/watched_backend.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <atomic>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

struct pipe_ends {
  descriptor out, in;
};

pipe_ends make_pipe(int flags = 0) {
  int ends[2];
  checked(::pipe2(ends, O_CLOEXEC | flags));
  return {descriptor(ends[0]), descriptor(ends[1])};
}

count_operation receive(int fd, std::span<std::byte> into) {
  return {opcode::recv, fd, into.data(), into.size(), 0, {"read"}};
}
count_operation send(int fd, std::string_view from) {
  return {opcode::send, fd, const_cast<char*>(from.data()), from.size(), 0, {"write"}};
}

class OperationOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, OperationOnWorkers, ::testing::Values(1U, 2U));

TEST_P(OperationOnWorkers, reads_what_another_task_writes) {
  auto ends = make_pipe();
  auto got = run_with(GetParam(), [&]() -> task<std::string> {
    std::array<std::byte, 16> into;
    auto body = [&](scope& s) -> task<std::string> {
      s.spawn([&]() -> task<void> { co_await write(ends.in.get(), bytes("hello")); });
      auto count = co_await read(ends.out.get(), into);
      co_return std::string(text(std::span(into).first(count)));
    };
    co_return co_await with_scope(body);
  }());
  EXPECT_EQ(got, "hello");
}

TEST_P(OperationOnWorkers, gives_zero_at_the_end_of_a_stream) {
  auto ends = make_pipe();
  ends.in.close();
  auto got = run_with(GetParam(), [&]() -> task<std::size_t> {
    std::array<std::byte, 16> into;
    co_return co_await read(ends.out.get(), into);
  }());
  EXPECT_EQ(got, 0U);
}

TEST(Operation, reads_and_writes_a_file_at_a_position) {
  descriptor file(checked(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)));
  auto got = run_with(1, [&]() -> task<std::string> {
    co_await write(file.get(), bytes("0123456789")).at(0);
    co_await write(file.get(), bytes("ab")).at(4);
    std::array<std::byte, 16> into;
    auto count = co_await read(file.get(), into).at(2);
    co_return std::string(text(std::span(into).first(count)));
  }());
  EXPECT_EQ(got, "23ab6789");
}

TEST(Operation, says_in_nodes_words_what_failed) {
  auto ends = make_pipe();
  auto pair = connect_pair();
  struct row {
    count_operation what;
    const char* message;
    int errno_value;
  };
  std::array<std::byte, 4> into;
  row rows[] = {
      {read(-1, into), "EBADF: bad file descriptor, read", EBADF},
      {read(ends.in.get(), into), "EBADF: bad file descriptor, read", EBADF},
      {receive(ends.out.get(), into), "read ENOTSOCK", ENOTSOCK},
      {count_operation(opcode::openat, AT_FDCWD, const_cast<char*>("/nope"), 0, O_RDONLY, {"open", "/nope"}),
       "ENOENT: no such file or directory, open '/nope'", ENOENT},
  };
  for (auto& each : rows) {
    try {
      run_with(1, [&]() -> task<void> { co_await std::move(each.what); }());
      ADD_FAILURE() << "did not fail: " << each.message;
    } catch (const error& e) {
      EXPECT_STREQ(e.what(), each.message);
      EXPECT_EQ(e.errno_value(), each.errno_value);
    }
  }
}

TEST(Operation, answers_an_attempt_without_a_throw) {
  run_with(1, []() -> task<void> {
    std::array<std::byte, 4> into;
    EXPECT_EQ(verdict(co_await attempt(read(-1, into))), "EBADF");
  }());
}

TEST(Operation, raises_no_sigpipe) {
  struct sigaction before = {};
  struct sigaction plain = {};
  plain.sa_handler = SIG_DFL;
  sigaction(SIGPIPE, &plain, &before);
  auto ends = make_pipe();
  ends.out.close();
  auto pair = connect_pair();
  reset(pair.theirs);
  run_with(1, [&]() -> task<void> {
    auto to_pipe = co_await attempt(write(ends.in.get(), bytes("x")));
    EXPECT_EQ(to_pipe.failure().error().code_name(), "EPIPE");
    co_await poll(pair.ours.get(), POLLHUP);
    auto first = co_await attempt(send(pair.ours.get(), "x"));
    EXPECT_FALSE(first);
    auto second = co_await attempt(send(pair.ours.get(), "x"));
    EXPECT_EQ(second.failure().error().code_name(), "EPIPE");
  }());
  sigaction(SIGPIPE, &before, nullptr);
}

TEST(Operation, goes_on_after_a_signal_interrupted_it) {
  auto options = watched_backend::options(1);
  int interruptions = 3;
  watched_backend::answer = [&](const operation& op) -> std::optional<int> {
    if (op.code != opcode::read || interruptions == 0) return {};
    --interruptions;
    return -EINTR;
  };
  auto ends = make_pipe();
  checked(static_cast<int>(::write(ends.in.get(), "abc", 3)));
  auto got = runtime(options).block_on([&]() -> task<std::size_t> {
    std::array<std::byte, 16> into;
    co_return co_await read(ends.out.get(), into);
  }());
  EXPECT_EQ(got, 3U);
  EXPECT_EQ(interruptions, 0);
}

// ---- cancelling: operations that would wait for ever

struct endless {
  const char* name;
  std::function<task<void>()> run;
};

class Cancelling : public ::testing::Test {
 protected:
  Cancelling() : quiet_(connect_pair()), full_(local_pair()), idle_(listening()), busy_(listening(0)) {
    fill(full_.ours.get());
    // One connection fills a backlog of 0; further ones get no answer.
    for (auto& each : fillers_) {
      each = client_socket(SOCK_NONBLOCK);
      connect_to(each.get(), port_of(busy_.get()));
    }
    where_ = {.sin_family = AF_INET,
              .sin_port = htons(port_of(busy_.get())),
              .sin_addr = {htonl(INADDR_LOOPBACK)},
              .sin_zero = {}};
  }

  std::vector<endless> operations() {
    return {
        {"read", [this]() -> task<void> { co_await receive(quiet_.ours.get(), into_); }},
        {"write", [this]() -> task<void> { co_await send(full_.ours.get(), "x"); }},
        {"accept",
         [this]() -> task<void> { co_await count_operation(opcode::accept, idle_.get(), nullptr, 0, 0, {"accept"}); }},
        {"poll", [this]() -> task<void> { co_await poll(quiet_.ours.get(), POLLIN); }},
        {"pipe", [this]() -> task<void> { co_await read(pipe_.out.get(), into_); }},
        {"connect",
         [this]() -> task<void> {
           auto socket = client_socket();
           co_await count_operation(opcode::connect, socket.get(), &where_, sizeof where_, 0, {"connect"});
         }},
    };
  }

 private:
  /// Once full it stays so until it is read, which TCP with its windows does not promise.
  static connection local_pair() {
    int ends[2];
    checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    return {descriptor(ends[0]), descriptor(ends[1])};
  }

  connection quiet_, full_;
  descriptor idle_, busy_;
  std::array<descriptor, 4> fillers_;
  sockaddr_in where_ = {};
  pipe_ends pipe_ = make_pipe();
  std::array<std::byte, 16> into_;
};

TEST_F(Cancelling, ends_an_operation_from_its_own_worker) {
  for (auto& each : operations()) {
    SCOPED_TRACE(each.name);
    auto outcome = run_with(1, with_scope([&](scope& s) -> task<std::string> {
                              auto handle = s.spawn_local(each.run);
                              co_await immediate();  // it waits in the kernel by now
                              handle.cancel();
                              co_return verdict(co_await attempt(std::move(handle)));
                            }));
    EXPECT_EQ(outcome, "ABORT_ERR");
  }
}

TEST_F(Cancelling, ends_an_operation_from_another_worker) {
  for (auto& each : operations()) {
    SCOPED_TRACE(each.name);
    for (int round = 0; round < 20; ++round) {
      auto outcome = run_with(2, with_scope([&](scope& s) -> task<std::string> {
                                event started;
                                auto handle = s.spawn_on(1, [&]() -> task<void> {
                                  started.set();
                                  co_await each.run();
                                });
                                co_await started.wait();
                                handle.cancel();
                                co_return verdict(co_await attempt(std::move(handle)));
                              }));
      EXPECT_EQ(outcome, "ABORT_ERR");
    }
  }
}

TEST_F(Cancelling, ends_an_operation_from_a_foreign_thread) {
  for (auto& each : operations()) {
    SCOPED_TRACE(each.name);
    for (unsigned workers : {1U, 2U}) {
      abort_controller controller;
      std::atomic<bool> started{false};
      std::thread thread([&] {
        started.wait(false);
        controller.abort();
      });
      auto outcome = run_with(workers, [&]() -> task<std::string> {
        started = true;
        started.notify_one();
        co_return verdict(co_await attempt(abortable(controller.signal(), each.run())));
      }());
      thread.join();
      EXPECT_EQ(outcome, "ABORT_ERR");
    }
  }
}

TEST_F(Cancelling, ends_an_operation_at_its_deadline) {
  for (auto& each : operations()) {
    SCOPED_TRACE(each.name);
    run_with(1, [&]() -> task<void> { EXPECT_EQ(verdict(co_await attempt(timeout(5ms, each.run()))), "ETIMEDOUT"); }());
  }
}

TEST_F(Cancelling, is_seen_by_operations_that_begin_later) {
  for (auto& each : operations()) {
    SCOPED_TRACE(each.name);
    int seen = 0;
    run_with(1, with_scope([&](scope& s) -> task<void> {
               s.cancel();
               for (int i = 0; i < 3; ++i) {
                 auto outcome = co_await attempt(each.run());
                 seen += !outcome && outcome.failure().is_cancelled() ? 1 : 0;
               }
             }));
    EXPECT_EQ(seen, 3);
  }
}

// A cancelled read has taken nothing, a read that took something says so: whatever the order in which byte and
// cancellation arrive.
void race_bytes_with_cancellations(unsigned workers) {
  auto pair = connect_pair();
  auto rounds = 0;
  auto cancelled = 0;
  auto until = std::chrono::steady_clock::now() + 2s;
  run_with(workers, [&]() -> task<void> {
    while (rounds < 100'000 && std::chrono::steady_clock::now() < until) {
      char sent = static_cast<char>(rounds);
      char got = static_cast<char>(~sent);
      auto outcome = co_await with_scope([&](scope& s) -> task<std::string> {
        auto handle = s.spawn_on(workers - 1, [&]() -> task<void> {
          co_await receive(pair.ours.get(), std::as_writable_bytes(std::span(&got, 1)));
        });
        if (rounds % 3 != 0) co_await yield();
        if (rounds % 2 == 0) put(pair.theirs.get(), {&sent, 1});
        if (rounds % 5 == 0) co_await immediate();
        handle.cancel();
        if (rounds % 2 != 0) put(pair.theirs.get(), {&sent, 1});
        co_return verdict(co_await attempt(std::move(handle)));
      });
      if (outcome != "ok") {
        ++cancelled;
        checked(static_cast<int>(::recv(pair.ours.get(), &got, 1, MSG_DONTWAIT)));
      }
      ++rounds;
      EXPECT_EQ(got, sent);
      if (got != sent) co_return;
    }
  }());
  EXPECT_GT(cancelled, 0);
  EXPECT_LT(cancelled, rounds);
  EXPECT_EQ(::recv(pair.ours.get(), &rounds, 1, MSG_DONTWAIT), -1);
}

TEST(CancelRace, loses_no_byte_on_one_worker) { race_bytes_with_cancellations(1); }
TEST(CancelRace, loses_no_byte_between_workers) { race_bytes_with_cancellations(2); }

TEST(CancelRace, loses_no_byte_to_a_foreign_thread) {
  auto pair = connect_pair();
  std::atomic<const abort_controller*> current{nullptr};
  std::atomic<bool> over{false};
  std::thread aborter([&] {
    while (!over) {
      if (auto* controller = current.exchange(nullptr)) controller->abort();
    }
  });
  int rounds = 0;
  auto until = std::chrono::steady_clock::now() + 2s;
  run_with(2, [&]() -> task<void> {
    for (; rounds < 100'000 && std::chrono::steady_clock::now() < until; ++rounds) {
      abort_controller controller;
      char sent = static_cast<char>(rounds);
      char got = static_cast<char>(~sent);
      auto attempt_read = [&]() -> task<void> {
        current = &controller;
        if (rounds % 2 == 0) put(pair.theirs.get(), {&sent, 1});
        co_await receive(pair.ours.get(), std::as_writable_bytes(std::span(&got, 1)));
      };
      auto outcome = co_await attempt(abortable(controller.signal(), attempt_read()));
      while (current.exchange(nullptr) == nullptr && !controller.signal().aborted()) std::this_thread::yield();
      if (rounds % 2 != 0) put(pair.theirs.get(), {&sent, 1});
      if (!outcome) checked(static_cast<int>(::recv(pair.ours.get(), &got, 1, 0)));
      EXPECT_EQ(got, sent);
      if (got != sent) co_return;
    }
  }());
  over = true;
  aborter.join();
  EXPECT_GT(rounds, 0);
}

}  // namespace
}  // namespace weir::io
