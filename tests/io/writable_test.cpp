#include <weir/io/writable.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

std::vector<int> numbers_to(int last) {
  std::vector<int> all(static_cast<std::size_t>(last));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

std::string code_of(const std::exception_ptr& why) { return why ? std::string(failure(why).code_name()) : "none"; }

template <class A>
task<std::string> failure_of(A operation) {
  auto outcome = co_await attempt(std::move(operation));
  co_return outcome ? "none" : std::string(outcome.failure().code_name());
}

template <class F>
std::string thrown_by(F call) {
  try {
    call();
  } catch (const error& e) {
    return std::string(e.code_name());
  }
  return "none";
}

/// What a sink saw.
struct journal {
  std::vector<std::string> lines = {};
  int busy = 0;
};

/// Takes a few turns of the loop for each chunk, as a device does.
struct slow_sink {
  journal* to;
  task<void> write(int chunk) {
    EXPECT_EQ(to->busy++, 0) << "two writes at once";
    co_await yield();
    to->lines.push_back(std::to_string(chunk));
    --to->busy;
  }
  task<void> end() {
    co_await yield();
    to->lines.emplace_back("end");
  }
  void destroy(const std::exception_ptr& why) noexcept { to->lines.push_back("destroy " + code_of(why)); }
};

/// Takes batches.
struct batch_sink {
  std::vector<std::vector<int>>* to;
  task<void> write(int chunk) {
    to->push_back({chunk});
    co_return;
  }
  task<void> write_batch(std::span<int> chunks) {
    co_await yield();
    to->emplace_back(chunks.begin(), chunks.end());
  }
};

TEST(Writable, writes_in_order_and_lets_the_sink_end_once) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      journal seen;
      writable<int> w(slow_sink{&seen});
      for (int i = 1; i <= 3; ++i) co_await w.write(i);
      EXPECT_TRUE(w.can_write());
      co_await w.end();
      EXPECT_TRUE(w.finished());
      EXPECT_FALSE(w.can_write());
      EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "2", "3", "end", "destroy none"}));
    }());
  }
}

// C2-ORD-16, C3-ORD-21, C0-STR-06: end(last) writes it, then the final, then it is finished.
TEST(Writable, finishes_after_the_last_chunk_given_to_end) {
  run_with(1, []() -> task<> {
    std::string file;
    std::vector<std::string> order;
    writable<std::string> w(
        [&](std::string text) -> task<> {
          co_await yield();
          file += text;
          order.push_back("write");
        },
        {.on_close = [&](std::exception_ptr) { order.push_back("close"); }});
    EXPECT_TRUE(w.write_nowait("Hello"));
    EXPECT_TRUE(w.write_nowait(" World"));
    co_await w.end("!");
    order.push_back("ended");
    EXPECT_EQ(file, "Hello World!");
    EXPECT_EQ(order, (std::vector<std::string>{"write", "write", "write", "close", "ended"}));
  }());
}

TEST(Writable, has_the_marks_of_its_kind_unless_told_otherwise) {
  EXPECT_EQ(writable<int>([](int) {}).high_water_mark(), 16U);
  EXPECT_EQ(writable<buffer>([](buffer) {}).high_water_mark(), 65536U);
  EXPECT_EQ(writable<int>([](int) {}, {.high_water_mark = 0}).high_water_mark(), 0U);
}

// C3-STR-16, C2-SM-07: false at the mark, the data taken all the same; drain once it is empty.
TEST(Writable, says_when_it_is_full_and_drains) {
  run_with(1, []() -> task<> {
    journal seen;
    writable<int> w(slow_sink{&seen}, {.high_water_mark = 3});
    EXPECT_TRUE(w.write_nowait(1));
    co_await w.drain();
    EXPECT_EQ(w.length(), 1U);  // nobody was told to wait
    EXPECT_TRUE(w.write_nowait(2));
    EXPECT_FALSE(w.write_nowait(3));
    EXPECT_FALSE(w.write_nowait(4));
    EXPECT_TRUE(w.needs_drain());
    EXPECT_EQ(w.length(), 4U);
    co_await w.drain();
    EXPECT_FALSE(w.needs_drain());
    EXPECT_EQ(w.length(), 0U);
    EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "2", "3", "4"}));
    co_await w.drain();
  }());
}

// C3-ORD-22: pausing and resuming alternate strictly.
TEST(Writable, C3_ORD_22_alternates_refusal_and_drain) {
  run_with(1, []() -> task<> {
    std::size_t written = 0;
    std::vector<std::string> order;
    writable<buffer> w(
        [&](buffer chunk) -> task<> {
          co_await yield();
          written += chunk.size();
        },
        {.high_water_mark = 16384});
    for (std::size_t left = 300'000; left != 0;) {
      auto size = std::min<std::size_t>(left, 65536);
      left -= size;
      if (w.write_nowait(buffer::alloc(size))) continue;
      order.push_back("Pausing");
      co_await w.drain();
      order.push_back("Resuming");
    }
    co_await w.end(buffer::from("\n--- End of file ---\n"));
    EXPECT_EQ(order.size(), 10U);
    for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i % 2 == 0 ? "Pausing" : "Resuming");
    EXPECT_EQ(written, 300'021U);
  }());
}

// C1-BP-02: with awaited writes nothing is queued but what the waiting writers hold.
TEST(Writable, serves_writers_in_order_of_arrival) {
  run_with(1, []() -> task<> {
    journal seen;
    writable<int> w(slow_sink{&seen});
    std::vector<int> completed;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 1; i <= 20; ++i) {
        s.spawn_local([&, i]() -> task<> {
          co_await w.write(i);
          completed.push_back(i);
        });
      }
      co_return;
    });
    EXPECT_EQ(completed, numbers_to(20));
    EXPECT_EQ(seen.lines.size(), 20U);
    EXPECT_EQ(seen.lines.front(), "1");
    EXPECT_EQ(seen.lines.back(), "20");
  }());
}

TEST(Writable, keeps_the_order_of_calls_whatever_their_kind) {
  run_with(1, with_scope([](scope& s) -> task<> {
             journal seen;
             writable<int> w(slow_sink{&seen});
             auto first = s.spawn_local([&]() -> task<> { co_await w.write(1); });
             auto second = s.spawn_local([&]() -> task<> { co_await w.write(2); });
             co_await next_tick();
             w.write_nowait(3);
             auto fourth = s.spawn_local([&]() -> task<> { co_await w.write(4); });
             co_await next_tick();
             w.write_nowait(5);
             co_await w.end();
             EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "2", "3", "4", "5", "end", "destroy none"}));
             co_await std::move(first);
             co_await std::move(second);
             co_await std::move(fourth);
           }));
}

TEST(Writable, takes_chunks_from_many_workers_one_at_a_time) {
  run_with(4, []() -> task<> {
    constexpr int writers = 4;
    constexpr int each = static_cast<int>(rounds(3'000));
    std::atomic<int> inside = 0;
    std::vector<int> last(writers, 0);
    writable<std::pair<int, int>> w([&](std::pair<int, int> chunk) -> task<> {
      EXPECT_EQ(inside.fetch_add(1), 0);
      if (chunk.second % 7 == 0) co_await yield();
      EXPECT_EQ(chunk.second, ++last[static_cast<std::size_t>(chunk.first)]);
      inside.fetch_sub(1);
    });
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < writers; ++i) {
        s.spawn([&w, i]() -> task<> {
          for (int n = 1; n <= each; ++n) co_await w.write({i, n});
        });
      }
      co_return;
    });
    co_await w.end();
    EXPECT_EQ(last, std::vector<int>(writers, each));
  }());
}

// C1-ST-36: what is queued reaches the sink in one batch, order kept.
TEST(Writable, gives_what_was_corked_to_the_sink_as_one_batch) {
  run_with(1, []() -> task<> {
    std::vector<std::vector<int>> batches;
    writable<int> w(batch_sink{&batches});
    co_await w.write(1);
    w.cork();
    w.cork();
    for (int i = 2; i <= 4; ++i) co_await w.write(i);  // completes at once: it is collected
    EXPECT_EQ(w.length(), 3U);
    w.uncork();
    EXPECT_EQ(w.corked(), 1U);
    w.uncork();
    w.uncork();
    EXPECT_EQ(w.corked(), 0U);
    EXPECT_EQ(batches.size(), 1U);
    co_await w.write(5);
    EXPECT_EQ(batches, (std::vector<std::vector<int>>{{1}, {2, 3, 4, 5}}));
    w.write_nowait(6);
    w.write_nowait(7);
    co_await w.flush();
    EXPECT_EQ(batches.back(), (std::vector{6, 7}));
    w.cork();
    w.write_nowait(8);
    co_await w.end();
    EXPECT_EQ(batches.back(), std::vector{8});
  }());
}

TEST(Writable, bounds_what_it_collects_by_the_mark) {
  run_with(1, []() -> task<> {
    std::vector<std::vector<int>> batches;
    writable<int> w(batch_sink{&batches}, {.high_water_mark = 4});
    w.cork();
    std::size_t most = 0;
    for (int i = 1; i <= 12; ++i) {
      co_await w.write(i);
      most = std::max(most, w.length());
    }
    EXPECT_EQ(most, 3U);
    EXPECT_EQ(batches.size(), 3U);
    EXPECT_EQ(batches.front(), numbers_to(4));
  }());
}

TEST(Writable, refuses_what_comes_after_the_end) {
  run_with(1, []() -> task<> {
    journal seen;
    writable<int> w(slow_sink{&seen});
    co_await w.end();
    co_await w.end();
    EXPECT_EQ(co_await failure_of(w.write(1)), "ERR_STREAM_WRITE_AFTER_END");
    EXPECT_EQ(co_await failure_of(w.end(1)), "ERR_STREAM_WRITE_AFTER_END");
    EXPECT_EQ(thrown_by([&] { w.write_nowait(1); }), "ERR_STREAM_WRITE_AFTER_END");
    EXPECT_EQ(seen.lines, (std::vector<std::string>{"end", "destroy none"}));
    EXPECT_TRUE(w.finished());
    EXPECT_EQ(w.errored(), nullptr);
  }());
}

TEST(Writable, lets_two_wait_for_the_same_end) {
  run_with(1, with_scope([](scope& s) -> task<> {
             journal seen;
             writable<int> w(slow_sink{&seen});
             w.write_nowait(1);
             auto first = s.spawn_local([&]() -> task<> { co_await w.end(); });
             auto second = s.spawn_local([&]() -> task<> { co_await w.end(); });
             co_await std::move(first);
             co_await std::move(second);
             EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "end", "destroy none"}));
           }));
}

// C3-STR-06: an error, then closed, and no finish.
TEST(Writable, fails_once_for_all_when_its_sink_fails) {
  run_with(1, with_scope([](scope& s) -> task<> {
             int closes = 0;
             writable<int> w(
                 [](int chunk) -> task<> {
                   co_await yield();
                   if (chunk == 2) throw error(errc::err_closed);
                 },
                 {.on_close = [&](std::exception_ptr why) {
                   ++closes;
                   EXPECT_EQ(code_of(why), "ERR_CLOSED");
                 }});
             std::vector<std::string> codes(4);
             std::vector<join_handle<>> writers;
             for (int i = 1; i <= 4; ++i) {
               writers.push_back(s.spawn_local([&w, &codes, i]() -> task<> {
                 codes[static_cast<std::size_t>(i - 1)] = co_await failure_of(w.write(i));
               }));
             }
             for (auto& each : writers) co_await std::move(each);
             EXPECT_EQ(codes, (std::vector<std::string>{"none", "ERR_CLOSED", "ERR_CLOSED", "ERR_CLOSED"}));
             EXPECT_EQ(co_await failure_of(w.write(5)), "ERR_STREAM_DESTROYED");
             EXPECT_EQ(co_await failure_of(w.end()), "ERR_CLOSED");
             EXPECT_TRUE(w.destroyed());
             EXPECT_FALSE(w.finished());
             EXPECT_EQ(closes, 1);
           }));
}

// C1-BP-14: in the original a rejection never reached the callback and the stream hung.
TEST(Writable, passes_on_what_its_function_throws_in_any_way) {
  run_with(1, []() -> task<> {
    writable<int> at_once([](int) { throw error(errc::err_closed); });
    EXPECT_EQ(co_await failure_of(at_once.write(1)), "ERR_CLOSED");
    writable<int> no_coroutine([](int) -> task<> { throw error(errc::err_closed); });
    EXPECT_EQ(co_await failure_of(no_coroutine.write(1)), "ERR_CLOSED");
    writable<int> coroutine([](int) -> task<> {
      co_await yield();
      throw std::runtime_error("rejected");
    });
    EXPECT_THROW(co_await coroutine.write(1), std::runtime_error);
    EXPECT_TRUE(coroutine.destroyed());
  }());
}

TEST(Writable, fails_when_its_sink_cannot_end) {
  run_with(1, []() -> task<> {
    struct sink_without_end {
      task<void> write(int) { co_return; }
      task<void> end() {
        co_await yield();
        throw error(errc::err_closed);
      }
    };
    writable<int> w(sink_without_end{});
    EXPECT_EQ(co_await failure_of(w.end(1)), "ERR_CLOSED");
    EXPECT_FALSE(w.finished());
    EXPECT_EQ(co_await failure_of(w.end()), "ERR_CLOSED");
  }());
}

TEST(Writable, drops_what_is_queued_when_it_is_destroyed) {
  run_with(1, with_scope([](scope& s) -> task<> {
             journal seen;
             writable<int> w(slow_sink{&seen});
             std::vector<std::string> codes(2);
             auto first = s.spawn_local([&]() -> task<> { codes[0] = co_await failure_of(w.write(1)); });
             auto second = s.spawn_local([&]() -> task<> { codes[1] = co_await failure_of(w.write(2)); });
             co_await next_tick();
             w.write_nowait(3);
             w.destroy();
             EXPECT_EQ(w.length(), 3U);  // until the sink has answered
             co_await std::move(first);
             co_await std::move(second);
             EXPECT_EQ(codes, (std::vector<std::string>{"ERR_STREAM_DESTROYED", "ERR_STREAM_DESTROYED"}));
             EXPECT_EQ(w.length(), 0U);
             EXPECT_EQ(seen.lines, (std::vector<std::string>{"destroy none", "1"}));
             EXPECT_EQ(co_await failure_of(w.end()), "ERR_STREAM_DESTROYED");
             EXPECT_EQ(thrown_by([&] { w.write_nowait(4); }), "ERR_STREAM_DESTROYED");
           }));
}

TEST(Writable, closes_exactly_once_however_it_ends) {
  run_with(1, []() -> task<> {
    int closes = 0;
    stream_options<int> options = {.on_close = [&](std::exception_ptr) { ++closes; }};
    {
      writable<int> ended([](int) {}, options);
      co_await ended.end();
      ended.destroy(error(errc::err_closed));
      EXPECT_EQ(ended.errored(), nullptr);
    }
    EXPECT_EQ(closes, 1);
    {
      writable<int> dropped([](int) {}, options);
    }
    EXPECT_EQ(closes, 2);
    {
      writable<int> w([](int) {}, options);
      w.destroy();
      w.destroy(error(errc::err_closed));
      EXPECT_EQ(w.errored(), nullptr);
    }
    EXPECT_EQ(closes, 3);
  }());
}

TEST(Writable, releases_its_sink_when_it_is_over) {
  run_with(1, []() -> task<> {
    writable<int> w([held = counted()](int) {});
    EXPECT_EQ(counted::alive(), 1);
    co_await w.end();
    EXPECT_EQ(counted::alive(), 0);
  }());
}

TEST(Writable, may_be_destroyed_and_filled_from_other_threads) {
  run_with(2, []() -> task<> {
    for (std::size_t i = 0; i < rounds(300); ++i) {
      writable<int> w([](int) -> task<> { co_await yield(); });
      std::thread other([&] {
        try {
          for (int n = 0; n < 50; ++n) w.write_nowait(n);
        } catch (const error&) {
          ADD_FAILURE();
        }
        w.destroy(error(errc::err_closed));
      });
      std::string code = "none";
      while (code == "none") code = co_await failure_of(w.write(1));
      EXPECT_TRUE(code == "ERR_CLOSED" || code == "ERR_STREAM_DESTROYED") << code;
      other.join();
    }
  }());
}

// ---- cancelling

TEST(Writable, withdraws_the_chunk_of_a_writer_that_is_cancelled_while_it_waits) {
  run_with(
      1, with_scope([](scope& s) -> task<> {
        journal seen;
        writable<int> w(slow_sink{&seen});
        std::vector<join_handle<>> writers;
        for (int i = 1; i <= 5; ++i)
          writers.push_back(s.spawn_local([&w, i]() -> task<> { static_cast<void>(co_await attempt(w.write(i))); }));
        co_await next_tick();
        EXPECT_EQ(w.length(), 5U);
        writers[1].cancel();
        writers[3].cancel();
        co_await next_tick();
        EXPECT_EQ(w.length(), 3U);
        co_await w.end();
        EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "3", "5", "end", "destroy none"}));
      }));
}

TEST(Writable, writes_each_chunk_once_or_not_at_all_whenever_a_writer_is_cancelled) {
  std::vector<int> seen;
  std::shared_ptr<writable<int>> w;
  std::vector<int> confirmed;
  auto cancels = weir::testing::cancel_at_every_suspension(
      [&]() -> task<> {
        seen.clear();
        confirmed.clear();
        w = std::make_shared<writable<int>>([&](int chunk) -> task<> {
          co_await yield();
          seen.push_back(chunk);
          co_await yield();
        });
        return [](writable<int>& to, std::vector<int>& done) -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            for (int i = 0; i < 3; ++i) {
              s.spawn_local([&, i]() -> task<> {
                for (int n = 0; n < 3; ++n) {
                  co_await to.write(10 * i + n);
                  done.push_back(10 * i + n);
                }
              });
            }
            co_return;
          });
          co_await to.end();
        }(*w, confirmed);
      },
      [&](const result<>& outcome) {
        EXPECT_EQ(static_cast<bool>(outcome), w->finished());
        std::vector<int> sorted = seen;
        std::ranges::sort(sorted);
        EXPECT_TRUE(std::ranges::adjacent_find(sorted) == sorted.end());
        for (int each : confirmed) EXPECT_TRUE(std::ranges::count(seen, each) == 1);
        EXPECT_LE(seen.size() - confirmed.size(), 1U);
        if (outcome) EXPECT_EQ(seen.size(), 9U);
      });
  EXPECT_GT(cancels, 10U);
}

TEST(Writable, is_destroyed_when_a_write_is_cancelled_that_the_sink_has_begun) {
  run_with(1, []() -> task<> {
    writable<int> w([](int) -> task<> { co_await weir::testing::forever(); });
    EXPECT_EQ(co_await failure_of(timeout(1ms, w.write(1))), "ETIMEDOUT");
    EXPECT_TRUE(w.destroyed());
    EXPECT_EQ(code_of(w.errored()), "ABORT_ERR");
    EXPECT_EQ(co_await failure_of(w.write(2)), "ERR_STREAM_DESTROYED");
  }());
}

TEST(Writable, goes_on_when_a_cancel_safe_sink_was_cancelled) {
  run_with(1, []() -> task<> {
    event open;
    std::vector<int> seen;
    stream_options<int> safe = {.cancel_safe = true};
    writable<int> w(
        [&](int chunk) -> task<> {
          co_await open.wait();
          seen.push_back(chunk);
        },
        safe);
    EXPECT_EQ(co_await failure_of(timeout(1ms, w.write(1))), "ETIMEDOUT");
    EXPECT_EQ(w.length(), 0U);
    EXPECT_TRUE(w.can_write());
    open.set();
    co_await w.end(2);
    EXPECT_EQ(seen, std::vector{2});
  }());
}

TEST(Writable, may_be_ended_again_when_the_first_end_was_cancelled_in_time) {
  run_with(1, with_scope([](scope& s) -> task<> {
             journal seen;
             writable<int> w(slow_sink{&seen});
             auto writer = s.spawn_local([&]() -> task<> { co_await w.write(1); });
             auto ender = s.spawn_local([&]() -> task<> { static_cast<void>(co_await attempt(w.end())); });
             co_await next_tick();
             ender.cancel();
             co_await next_tick();
             EXPECT_TRUE(w.ended());
             EXPECT_FALSE(w.closed());
             EXPECT_EQ(co_await failure_of(w.write(2)), "ERR_STREAM_WRITE_AFTER_END");
             co_await w.end();
             EXPECT_TRUE(w.finished());
             co_await std::move(writer);
             EXPECT_EQ(seen.lines, (std::vector<std::string>{"1", "end", "destroy none"}));
           }));
}

TEST(Writable, fails_at_whichever_operation_its_sink_fails) {
  run_with(1, []() -> task<> {
    for (int n = 1; n <= 6; ++n) {
      int at = 0;
      int written = 0;
      writable<int> w([&](int) -> task<> {
        co_await yield();
        if (++at == n) throw error(errc::err_closed);
        ++written;
      });
      int confirmed = 0;
      auto outcome = co_await attempt([](writable<int>& to, int& count) -> task<> {
        for (int i = 0; i < 5; ++i) {
          co_await to.write(i);
          ++count;
        }
        co_await to.end();
      }(w, confirmed));
      EXPECT_EQ(static_cast<bool>(outcome), n == 6);
      EXPECT_EQ(confirmed, std::min(n - 1, 5));
      EXPECT_EQ(written, confirmed);
      EXPECT_EQ(w.finished(), n == 6);
    }
  }());
}

TEST(Writable, stops_a_cancelled_task_even_if_it_need_never_wait) {
  run_with(1, []() -> task<> {
    auto outcome = co_await attempt(timeout(1ms, []() -> task<> {
      writable<int> w([](int) {});
      for (;;) co_await w.write(1);
    }()));
    EXPECT_EQ(outcome.failure().code_name(), "ETIMEDOUT");
  }());
}

// C3-ORD-34: both lines are in the file, in order, once it is flushed; nothing depends on when.
TEST(Writable, C3_ORD_34_has_the_lines_of_a_logger_in_order) {
  run_with(1, []() -> task<> {
    std::string file;
    writable<std::string> log([&](std::string line) -> task<> {
      co_await yield();
      file += line;
    });
    log.write_nowait("info\n");
    log.write_nowait("error\n");
    EXPECT_EQ(file, "");
    co_await log.flush();
    EXPECT_EQ(file, "info\nerror\n");
    co_await log.end();
  }());
}

}  // namespace
}  // namespace weir::io
