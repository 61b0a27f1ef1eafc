#include <weir/io/stream.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

static_assert(source<readable<int>> && source<generator<int>> && source<duplex<int>> && source<pass_through<int>>);
static_assert(sink<writable<int>, int> && sink<duplex<int, long>, int> && sink<pass_through<int>, int>);
static_assert(!source<writable<int>> && !sink<readable<int>, int>);

std::vector<int> numbers_to(int last) {
  std::vector<int> all(static_cast<std::size_t>(last));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

template <class A>
task<std::string> failure_of(A operation) {
  auto outcome = co_await attempt(std::move(operation));
  co_return outcome ? "none" : std::string(outcome.failure().code_name());
}

template <class S>
task<std::vector<source_value<S>>> rest_of(S& from) {
  std::vector<source_value<S>> all;
  while (auto each = co_await from.next()) all.push_back(std::move(*each));
  co_return all;
}

// C3-ORD-18: both sides live; the write side ends first and does not end the read side.
TEST(Duplex, C3_ORD_18_reads_on_after_its_writing_side_has_ended) {
  run_with(1, []() -> task<> {
    std::vector<std::string> order;
    duplex<std::string> d(writable<std::string>([&](std::string text) { order.push_back("Received: " + text); }),
                          readable([at = 'A']() mutable -> task<std::optional<std::string>> {
                            if (at > 'Z') co_return std::nullopt;
                            co_return std::string(1, at++);
                          }));
    co_await d.write("Hello");
    co_await d.end();
    EXPECT_FALSE(d.closed());
    while (auto letter = co_await d.next()) order.push_back("Read: " + *letter);
    EXPECT_TRUE(d.closed());
    EXPECT_EQ(order.size(), 27U);
    EXPECT_EQ(order.front(), "Received: Hello");
    EXPECT_EQ(order[1], "Read: A");
    EXPECT_EQ(order.back(), "Read: Z");
  }());
}

// C1-ST-40
TEST(Duplex, ends_its_writing_side_with_the_reading_one_if_it_may_not_stay_half_open) {
  run_with(1, []() -> task<> {
    std::vector<int> seen;
    auto sides = [&](bool half_open) {
      return duplex<int>(writable<int>([&](int chunk) { seen.push_back(chunk); }),
                         readable<int>([]() -> task<std::optional<int>> { co_return std::nullopt; }),
                         {.allow_half_open = half_open});
    };
    auto stays = sides(true);
    EXPECT_EQ(co_await stays.next(), std::nullopt);
    EXPECT_TRUE(stays.writable_side().can_write());
    auto goes = sides(false);
    goes.write_nowait(1);
    EXPECT_EQ(co_await goes.next(), std::nullopt);
    EXPECT_TRUE(goes.writable_side().finished());
    EXPECT_EQ(seen, std::vector{1});
    EXPECT_EQ(co_await goes.next(), std::nullopt);
  }());
}

TEST(Duplex, is_destroyed_on_both_sides) {
  run_with(1, []() -> task<> {
    pass_through<int> p;
    p.destroy(error(errc::err_closed));
    EXPECT_TRUE(p.closed());
    EXPECT_EQ(co_await failure_of(p.next()), "ERR_CLOSED");
    EXPECT_EQ(co_await failure_of(p.write(1)), "ERR_STREAM_DESTROYED");
  }());
}

// C0-STR-04, C1-ST-39
TEST(Transform, makes_none_one_or_many_of_each_chunk) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               transform<int> t([](int n, output<int>& out) -> task<> {
                 for (int i = 0; i < n; ++i) co_await out.push(n);
               });
               s.spawn([&t]() -> task<> {
                 for (int i = 0; i <= 4; ++i) co_await t.write(i);
                 co_await t.end();
               });
               EXPECT_EQ(co_await rest_of(t), (std::vector{1, 2, 2, 3, 3, 3, 4, 4, 4, 4}));
             }));
  }
}

// C0-STR-07, C3-STR-23: the flush comes once, after the last input and before the end, and may push.
TEST(Transform, flushes_once_before_its_reader_gets_the_end) {
  run_with(1, []() -> task<> {
    int flushes = 0;
    int sum = 0;
    transform<int> total([&](int n, output<int>&) { sum += n; },
                         [&](output<int>& out) -> task<> {
                           ++flushes;
                           co_await out.push(sum);
                         });
    for (int i = 1; i <= 10; ++i) co_await total.write(i);
    EXPECT_EQ(flushes, 0);
    co_await total.end();
    EXPECT_EQ(co_await rest_of(total), std::vector{55});
    EXPECT_EQ(flushes, 1);
  }());
}

// C1-BP-08 acknowledged what it could not hold; C0-STR-26 never called back at the end.
TEST(Transform, makes_its_writer_wait_when_its_reader_is_behind) {
  run_with(1, with_scope([](scope& s) -> task<> {
             transform<int> t([](int n, output<int>& out) -> task<> { co_await out.push(n); },
                              {.output = {.high_water_mark = 3}});
             int written = 0;
             s.spawn_local([&]() -> task<> {
               for (int i = 1; i <= 50; ++i) {
                 co_await t.write(i);
                 written = i;
               }
               co_await t.end();
             });
             for (int i = 0; i < 20; ++i) co_await yield();
             EXPECT_EQ(written, 3);
             EXPECT_EQ(t.readable_side().length(), 3U);
             std::size_t most = 0;
             std::vector<int> got;
             while (auto each = co_await t.next()) {
               got.push_back(*each);
               most = std::max(most, t.readable_side().length());
               co_await yield();
             }
             EXPECT_EQ(got, numbers_to(50));
             EXPECT_LE(most, 3U);
           }));
}

TEST(Transform, fails_on_both_sides_with_what_its_function_threw) {
  run_with(1, []() -> task<> {
    for (bool in_flush : {false, true}) {
      transform<int> t(
          [in_flush](int n, output<int>& out) -> task<> {
            if (n == 2 && !in_flush) throw error(errc::err_closed);
            co_await out.push(n);
          },
          [](output<int>&) -> task<> {
            co_await yield();
            throw error(errc::err_closed);
          });
      co_await t.write(1);
      EXPECT_EQ(co_await failure_of(in_flush ? t.end() : t.write(2)), "ERR_CLOSED");
      EXPECT_TRUE(t.closed());
      EXPECT_EQ(co_await failure_of(t.next()), "ERR_CLOSED");  // what was pushed before is dropped, as in Node
    }
  }());
}

// C3-STR-23: the original told the error and then ended as if nothing had been.
TEST(Transform, does_not_end_after_a_failing_flush) {
  run_with(1, []() -> task<> {
    transform<int> t([](int, output<int>&) {}, [](output<int>&) { throw error(errc::err_invalid_arg_value); });
    EXPECT_EQ(co_await failure_of(t.end()), "ERR_INVALID_ARG_VALUE");
    EXPECT_FALSE(t.readable_side().ended());
    EXPECT_EQ(co_await failure_of(t.next()), "ERR_INVALID_ARG_VALUE");
  }());
}

TEST(Transform, fails_its_reader_when_its_writer_goes_without_an_end) {
  run_with(1, []() -> task<> {
    pass_through<int> p;
    co_await p.write(1);
    {
      auto dropped = std::move(p.writable_side());
    }
    EXPECT_EQ(co_await failure_of(p.next()), "ERR_STREAM_PREMATURE_CLOSE");
  }());
}

TEST(Transform, tells_its_writer_that_nobody_reads_any_more) {
  run_with(1, with_scope([](scope& s) -> task<> {
             transform<int> t([](int n, output<int>& out) -> task<> { co_await out.push(n); },
                              {.output = {.high_water_mark = 1}});
             co_await t.write(1);
             auto waiting = s.spawn_local([&]() -> task<std::string> { co_return co_await failure_of(t.write(2)); });
             co_await yield();
             t.readable_side().destroy();
             EXPECT_EQ(co_await std::move(waiting), "ERR_STREAM_DESTROYED");
             EXPECT_TRUE(t.closed());
           }));
}

// C3-ORD-20, C3-STR-22: records are cut by what they are, not by how the bytes arrive; C0 surprise 14.
TEST(Transform, C3_ORD_20_frames_records_whatever_the_cuts) {
  const std::string text = "Alice\nBob\nCharlie";
  for (std::size_t cut = 1; cut <= text.size(); ++cut) {
    run_with(1, with_scope([&](scope& s) -> task<> {
               auto carry = std::make_shared<std::string>();
               transform<buffer, std::string> lines(
                   [carry](buffer chunk, output<std::string>& out) -> task<> {
                     *carry += chunk.text();
                     for (std::size_t at; (at = carry->find('\n')) != std::string::npos; carry->erase(0, at + 1))
                       co_await out.push(carry->substr(0, at));
                   },
                   [carry](output<std::string>& out) -> task<> {
                     if (!carry->empty()) co_await out.push(*carry);
                   });
               s.spawn_local([&]() -> task<> {
                 for (std::size_t at = 0; at < text.size(); at += cut)
                   co_await lines.write(buffer::from(text.substr(at, cut)));
                 co_await lines.end();
               });
               EXPECT_EQ(co_await rest_of(lines), (std::vector<std::string>{"Alice", "Bob", "Charlie"}));
             }));
  }
}

TEST(Transform, may_be_cancelled_anywhere_and_leaves_nothing_behind) {
  auto cancels = weir::testing::cancel_at_every_suspension(
      []() -> task<> {
        transform<int> t(
            [held = counted()](int n, output<int>& out) -> task<> {
              co_await yield();
              co_await out.push(n);
              co_await out.push(-n);
            },
            {.input = {.high_water_mark = 1}, .output = {.high_water_mark = 1}});
        co_await with_scope([&](scope& s) -> task<> {
          auto writer = s.spawn_local([&]() -> task<> {
            for (int i = 1; i <= 4; ++i) co_await t.write(i);
            co_await t.end();
          });
          auto got = co_await rest_of(t);
          EXPECT_EQ(got, (std::vector{1, -1, 2, -2, 3, -3, 4, -4}));
          co_await std::move(writer);
        });
      },
      [](const result<>&) { EXPECT_EQ(counted::alive(), 0); });
  EXPECT_GT(cancels, 3U);
}

TEST(PassThrough, is_a_bounded_queue_between_two_tasks) {
  for (unsigned workers : {1U, 2U, 4U}) {
    run_with(workers, with_scope([](scope& s) -> task<> {
               constexpr int count = static_cast<int>(rounds(20'000));
               pass_through<int> p({.high_water_mark = 8});
               s.spawn([&p]() -> task<> {
                 for (int i = 1; i <= count; ++i) {
                   co_await p.write(i);
                   EXPECT_LE(p.readable_side().length(), 8U);
                 }
                 co_await p.end();
               });
               EXPECT_EQ(co_await rest_of(p), numbers_to(count));
             }));
  }
}

TEST(PassThrough, hands_the_same_bytes_on) {
  run_with(1, []() -> task<> {
    pass_through<buffer> p;
    auto chunk = buffer::alloc(1000);
    co_await p.write(chunk);
    EXPECT_EQ((co_await p.next())->data(), chunk.data());
  }());
}

TEST(PassThrough, loses_nothing_when_a_write_is_cancelled) {
  std::vector<int> confirmed;
  std::shared_ptr<pass_through<int>> p;
  auto cancels = weir::testing::cancel_at_every_suspension(
      [&]() -> task<> {
        confirmed.clear();
        p = std::make_shared<pass_through<int>>(stream_options<int>{.high_water_mark = 2});
        return [](pass_through<int>& to, std::vector<int>& done) -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            s.spawn_local([&]() -> task<> {
              for (int i = 1; i <= 6; ++i) {
                co_await to.write(i);
                done.push_back(i);
              }
            });
            for (int i = 0; i < 4; ++i) co_await yield();
            EXPECT_EQ(co_await to.next(), 1);
            for (int i = 0; i < 4; ++i) co_await yield();
            EXPECT_EQ(co_await to.next(), 2);
            EXPECT_EQ(co_await to.next(), 3);
            EXPECT_EQ(co_await to.next(), 4);
          });
        }(*p, confirmed);
      },
      [&](const result<>&) {
        EXPECT_FALSE(p->closed());
        EXPECT_EQ(confirmed, numbers_to(static_cast<int>(confirmed.size())));
        EXPECT_LE(p->readable_side().length(), 2U);
      });
  EXPECT_GT(cancels, 4U);
}

TEST(DuplexPair, carries_what_one_writes_to_the_other) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [client, server] = duplex_pair<std::string, int>();
             auto& ours = server;
             s.spawn_local([&]() -> task<> {
               while (auto text = co_await ours.next()) co_await ours.write(static_cast<int>(text->size()));
               co_await ours.end();
             });
             co_await client.write("four");
             co_await client.write("eleven char");
             EXPECT_EQ(co_await client.next(), 4);
             co_await client.end();
             EXPECT_EQ(co_await client.next(), 11);
             EXPECT_EQ(co_await client.next(), std::nullopt);
             EXPECT_TRUE(client.closed());
           }));
}

TEST(DuplexPair, fails_the_reader_when_the_other_side_is_destroyed) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [one, other] = duplex_pair<int>();
             auto& from = one;
             auto reader = s.spawn_local([&]() -> task<std::string> { co_return co_await failure_of(from.next()); });
             co_await yield();
             other.destroy(error(errc::err_closed));
             EXPECT_EQ(co_await std::move(reader), "ERR_CLOSED");
             EXPECT_EQ(co_await failure_of(one.write(1)), "ERR_CLOSED");
           }));
}

// C1-ST-28: `finished` is named there and never used.
TEST(Finished, completes_when_the_stream_has_ended_as_it_should) {
  run_with(1, with_scope([](scope& s) -> task<> {
             pass_through<int> p;
             bool all = false, read = false, written = false;
             auto note = [](task<> end, bool& done) -> task<> {
               co_await std::move(end);
               done = true;
             };
             s.spawn_local(note, finished(p), std::ref(all));
             s.spawn_local(note, finished(p.readable_side()), std::ref(read));
             s.spawn_local(note, finished(p.writable_side()), std::ref(written));
             co_await p.write(1);
             co_await yield();
             EXPECT_FALSE(read || written || all);
             co_await p.end();
             co_await yield();
             EXPECT_TRUE(written);
             EXPECT_FALSE(read || all);
             EXPECT_EQ(co_await p.next(), 1);
             co_await yield();
             EXPECT_FALSE(read);
             EXPECT_EQ(co_await p.next(), std::nullopt);
             co_await yield();
             EXPECT_TRUE(read && all);
             co_await finished(p);
           }));
}

TEST(Finished, tells_why_the_stream_has_not) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto early = std::make_unique<pass_through<int>>();
             auto waiting =
                 s.spawn_local([](task<> end) -> task<std::string> { co_return co_await failure_of(std::move(end)); },
                               finished(early->readable_side()));
             co_await yield();
             early.reset();  // the stream may go
             EXPECT_EQ(co_await std::move(waiting), "ERR_STREAM_PREMATURE_CLOSE");
             pass_through<int> failed;
             failed.destroy(error(errc::err_closed));
             EXPECT_EQ(co_await failure_of(finished(failed)), "ERR_CLOSED");
             pass_through<int> alive;
             EXPECT_EQ(co_await failure_of(timeout(1ms, finished(alive))), "ETIMEDOUT");
             EXPECT_FALSE(alive.closed());
             EXPECT_EQ(co_await failure_of(finished(readable<int>())), "ERR_STREAM_PREMATURE_CLOSE");
           }));
}

// C1-SYS-05
TEST(Streams, C1_SYS_05_custom_ends_keep_order_limits_batches_and_their_destroy_hook) {
  run_with(1, []() -> task<> {
    struct numbers {
      int at = 0;
      std::vector<std::string>* log;
      task<std::optional<int>> next() {
        co_await yield();
        if (at == 20) co_return std::nullopt;
        co_return ++at;
      }
      void destroy(const std::exception_ptr& why) noexcept { log->push_back(why ? "source failed" : "source closed"); }
    };
    struct collector {
      std::vector<int>* all;
      std::vector<std::string>* log;
      task<> write(int n) {
        all->push_back(n);
        co_return;
      }
      task<> write_batch(std::span<int> batch) {
        all->insert(all->end(), batch.begin(), batch.end());
        log->push_back("batch of " + std::to_string(batch.size()));
        co_return;
      }
      task<> end() {
        log->emplace_back("final");
        co_return;
      }
      void destroy(const std::exception_ptr& why) noexcept { log->push_back(why ? "sink failed" : "sink closed"); }
    };
    std::vector<std::string> log;
    std::vector<int> all;
    readable from(numbers{.log = &log});
    writable<int> to(collector{&all, &log}, {.high_water_mark = 8});
    while (auto each = co_await from.next()) {
      if (!to.write_nowait(*each)) co_await to.drain();
      EXPECT_LT(to.length(), 8U);
    }
    co_await to.end();
    EXPECT_EQ(all, numbers_to(20));
    EXPECT_EQ(log, (std::vector<std::string>{"batch of 8", "batch of 8", "source closed", "batch of 4", "final",
                                             "sink closed"}));
    log.clear();
    readable broken(numbers{.log = &log});
    writable<int> broken_sink(collector{&all, &log});
    broken.destroy(error(errc::err_closed));
    broken_sink.destroy(error(errc::err_closed));
    EXPECT_EQ(log, (std::vector<std::string>{"source failed", "sink failed"}));
  }());
}

// C1-SYS-11, C1-BP-01..05: a fast producer and a slow consumer; never more than the mark and one chunk.
TEST(Streams, C1_SYS_11_hold_no_more_than_the_mark_and_one_chunk) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [stream, queue] = make_pushed_readable<buffer>({.high_water_mark = 8192});
             auto& to = queue;
             std::size_t most = 0;
             s.spawn_local([&]() -> task<> {
               for (int i = 0; i < 100; ++i) co_await to.push(buffer::alloc(1024));
               to.end();
             });
             std::size_t total = 0;
             while (auto chunk = co_await stream.next()) {
               most = std::max(most, to.length());
               total += chunk->size();
               co_await yield();
             }
             EXPECT_EQ(total, 100U * 1024U);
             EXPECT_LE(most, 8192U + 1024U);
             EXPECT_GT(to.pauses(), 10U);
           }));
}

// C3-SYS-20: typed items, the mark counts them.
TEST(Streams, C3_SYS_20_carry_typed_items) {
  struct person {
    std::string name;
    int age;
  };
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<person>({.high_water_mark = 2});
    EXPECT_TRUE(queue.push_nowait({"Alice", 30}));
    EXPECT_FALSE(queue.push_nowait({"Bob", 25}));
    queue.end();
    std::string text;
    while (auto each = co_await stream.next())
      text += "Name: " + each->name + ", Age: " + std::to_string(each->age) + "\n";
    EXPECT_EQ(text, "Name: Alice, Age: 30\nName: Bob, Age: 25\n");
  }());
}

}  // namespace
}  // namespace weir::io
