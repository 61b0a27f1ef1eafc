// tests/io/stream_systems_test.cpp: whole systems of streams in memory, each by the name it is known by: what was asked
// of them holds, and what earlier versions of them did wrong does not happen.
#include <weir/core/abort.hpp>
#include <weir/core/blocking.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/concurrent.hpp>
#include <weir/io/merge.hpp>
#include <weir/io/multiplex.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/rate.hpp>
#include <weir/io/retry.hpp>
#include <weir/io/stdio.hpp>
#include <weir/io/tee.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;
using ints = std::vector<int>;

generator<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
}
generator<buffer> chunks_of(std::size_t size, int count) {
  for (int i = 0; i < count; ++i) co_yield buffer::alloc(size, static_cast<std::byte>(i));
}

// Both directions paced for real, nothing lost at the end, the queue bounded.
TEST(C1_SYS_07, a_throttled_duplex_gives_one_chunk_per_interval_each_way) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto ends = duplex_pair<int>({.high_water_mark = 4}, {.high_water_mark = 4});
    auto& near = ends.first;
    auto& far = ends.second;
    auto send = [](writable<int>& to, int last) -> task<> {
      for (int i = 1; i <= last; ++i) {
        co_await to.write(i);
        EXPECT_LE(to.length(), 5U);
      }
      co_await to.end();
    };
    s.spawn_local(send, std::ref(near.writable_side()), 10);
    s.spawn_local(send, std::ref(far.writable_side()), 10);
    throttle_options pace{.per_second = 10, .burst = 1};
    auto receive = [](readable<int>& from, throttle_options at) -> task<ints> {
      co_return co_await (from | throttle(at) | to_vector());
    };
    auto both = co_await all(receive(far.readable_side(), pace), receive(near.readable_side(), pace));
    auto& [there, back] = both;
    EXPECT_EQ(there.size(), 10U);
    EXPECT_EQ(back.size(), 10U);
    EXPECT_GE(virtual_clock::elapsed(), 900ms);
    EXPECT_LE(virtual_clock::elapsed(), 920ms);
  }));
}

TEST(C1_SYS_08, fork_merge_retry_and_monitor_work_together) {
  run_virtually(with_scope([](scope& s) -> task<> {
    // A source that breaks twice is resumed; what it gives is counted, goes to two branches, and is merged again.
    int opened = 0;
    auto unreliable = [&](const resume_point& at) -> generator<int> {
      ++opened;
      return [](int begin) -> generator<int> {
        for (int i = begin; i < 100; ++i) {
          if ((i == 30 || i == 60) && i != begin) throw error(errc::err_socket_closed);
          co_yield i;
        }
      }(static_cast<int>(at.items));
    };
    meter counted;
    drop_count dropped;
    auto branches = tee(retry(unreliable, {.delay = 1s}) | measure(counted),
                        {{}, {.when_slow = slow_branch::drop, .high_water_mark = 5, .dropped = dropped}});
    auto whole = co_await (branches[0] | to_vector());
    ints expected;
    for (int i = 0; i < 100; ++i) expected.push_back(i);
    EXPECT_EQ(whole, expected);  // nothing twice, nothing missing
    EXPECT_EQ(opened, 3);
    EXPECT_EQ(counted.items(), 100U);
    EXPECT_EQ(dropped.value(), 95U);
    auto merged = co_await (merge(s, from(whole), std::move(branches[1])) | to_vector());
    EXPECT_EQ(merged.size(), 105U);
  }));
}

TEST(C1_SYS_11, a_fast_producer_never_has_more_than_the_mark_and_a_chunk_queued) {
  run_virtually(with_scope([](scope& s) -> task<> {
    constexpr std::size_t mark = 8192;
    constexpr std::size_t chunk = 1000;
    auto ends = make_pushed_readable<buffer>({.high_water_mark = mark});
    std::size_t most = 0;
    s.spawn_local(
        [](output<buffer> to, std::size_t& seen) -> task<> {
          for (int i = 0; i < 200; ++i) {
            co_await to.push(buffer::alloc(chunk));
            seen = std::max(seen, to.length());
          }
          EXPECT_GT(to.pauses(), 0U);
          to.end();
        },
        std::move(ends.queue), std::ref(most));
    std::size_t total = 0;
    while (auto part = co_await ends.stream.next()) {
      total += part->size();
      co_await sleep(10ms);
    }
    EXPECT_EQ(total, 200 * chunk);
    EXPECT_LT(most, mark + chunk);
  }));
}

TEST(C1_SYS_11, a_generator_is_pulled_only_below_the_mark) {
  run_with(1, with_scope([](scope& s) -> task<> {
             int made = 0;
             auto numbers = [](int& count) -> generator<int> {
               for (;; ++count) co_yield count;
             };
             readable<int> source(numbers(made), {.high_water_mark = 100});
             source.read_ahead(s);
             for (int n = 0; n < 1000; ++n) co_await yield();
             EXPECT_GE(made, 99);
             EXPECT_LE(made, 101);
             EXPECT_EQ(source.length(), 100U);
             source.destroy();
           }));
}

TEST(C1_SYS_12, bounded_buffering_loses_nothing) {
  run_virtually(with_scope([](scope& s) -> task<> {
    auto queue = count_to(1000) | ahead(s, {.high_water_mark = 50});
    ints got;
    while (auto item = co_await queue.next()) {
      got.push_back(*item);
      EXPECT_LE(queue.length(), 51U);
      if (*item % 100 == 0) co_await sleep(10ms);
    }
    EXPECT_EQ(got.size(), 1000U);
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
  }));
}

TEST(C1_SYS_12, throttling_holds_its_rate) {
  run_virtually([]() -> task<> {
    auto total = co_await (chunks_of(100, 50) | throttle({.per_second = 1000, .burst = 100}) | to_buffer());
    EXPECT_EQ(total.size(), 5000U);
    EXPECT_GE(virtual_clock::elapsed(), 4900ms);
    EXPECT_LE(virtual_clock::elapsed(), 5000ms);
  }());
}

TEST(C1_SYS_12, shedding_load_never_stops_the_producer_and_counts_what_it_drops) {
  run_virtually(with_scope([](scope& s) -> task<> {
    drop_count dropped;
    auto queue = count_to(1000) | ahead(s, {.high_water_mark = 10, .rule = when_full::drop, .dropped = dropped});
    std::size_t got = 0;
    while (co_await queue.next()) {
      ++got;
      co_await sleep(10ms);
    }
    EXPECT_EQ(got + dropped.value(), 1000U);
    EXPECT_GT(dropped.value(), 900U);
  }));
}

TEST(C1_SYS_13, the_slowest_stage_governs_and_its_failure_ends_all) {
  run_virtually(with_scope([](scope& s) -> task<> {
    meter before;
    meter after;
    auto io_stage = [](int i) -> task<int> {
      co_await sleep(50ms);
      co_return i;
    };
    std::size_t stored = 0;
    auto database = [&](int) -> task<> {
      co_await sleep(100ms);
      ++stored;
    };
    co_await pipeline(count_to(20), measure(before), map(io_stage), measure(after), database);
    EXPECT_EQ(stored, 20U);
    EXPECT_EQ(before.items(), 20U);
    EXPECT_LT(before.waited(), 1ms);  // the source is never what is waited for
    EXPECT_GE(after.elapsed(), 2s);
    auto refuses = [&](int i) -> task<> {
      if (i == 3) throw error(errc::err_invalid_state, "database is gone");
      co_return;
    };
    auto ended = co_await attempt(pipeline(count_to(20), map(io_stage), refuses));
    EXPECT_EQ(ended.failure().message(), "database is gone");
    // The order is kept where the slow stage has several calls at a time.
    auto begin = virtual_clock::elapsed();
    auto all = co_await (count_to(20) | map(s, io_stage, {.concurrency = 10}) | to_vector());
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_LE(virtual_clock::elapsed() - begin, 250ms);
  }));
}

TEST(C1_SYS_13, a_stage_that_computes_leaves_the_loop) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto heavy = [](int i) {
               return blocking([i] {
                 int sum = 0;
                 for (int n = 0; n < 10'000; ++n) sum = (sum + n * i) % 1009;
                 return sum;
               });
             };
             auto sums =
                 co_await (count_to(16) |
                           map(s, [heavy](int i) -> task<int> { co_return co_await heavy(i); }, {.concurrency = 4}) |
                           to_vector());
             EXPECT_EQ(sums.size(), 16U);
           }));
}

// Frames split at any byte; memory bound while slow; retry and then skip; a bound for latency; a rate.
TEST(C0_SC_34, the_stream_patterns_work_together) {
  run_virtually(with_scope([](scope& s) -> task<> {
    pass_through<buffer> there;
    pass_through<buffer> back;
    readable<buffer> cut(std::move(there.readable_side()) | rechunk(1));
    multiplexer first(s, std::move(back.readable_side()), std::move(there.writable_side()), {.initiator = true});
    multiplexer second(s, std::move(cut), std::move(back.writable_side()));
    auto numbers = first.open();
    auto letters = first.open();
    auto first_done = s.spawn_local(
        [](duplex<buffer> to) -> task<> {
          for (int i = 1; i <= 20; ++i) co_await to.write(buffer::from(std::to_string(i) + "\n"));
          co_await to.end();
          while (co_await to.next()) {
          }
        },
        std::move(numbers));
    auto second_done = s.spawn_local(
        [](duplex<buffer> to) -> task<> {
          co_await to.write(buffer::from("a\nb\n"));
          co_await to.end();
          while (co_await to.next()) {
          }
        },
        std::move(letters));
    auto got_numbers = co_await second.accept();
    auto got_letters = co_await second.accept();
    // 7 fails once, 13 always: that one is skipped, and the stream goes on.
    int sevens = 0;
    auto parse = [&](const std::string& line) -> int {
      int value = std::stoi(line);
      if (value == 7 && sevens++ == 0) throw error(errc::err_timeout);
      if (value == 13) throw error(errc::err_invalid_arg_value);
      return value;
    };
    auto parse_with_retry = [&](const std::string& line) {
      try {
        return parse(line);
      } catch (const error&) {
        return parse(line);
      }
    };
    auto items =
        got_numbers->readable_side() | lines() | throttle({.per_second = 100, .burst = 1}) | map(parse_with_retry);
    ints good;
    int skipped = 0;
    for (;;) {
      auto item = co_await attempt(items.next());
      if (!item) ++skipped;
      if (item && !*item) break;
      if (item) good.push_back(**item);
    }
    EXPECT_EQ(good.size(), 19U);
    EXPECT_EQ(skipped, 1);
    EXPECT_EQ(sevens, 2);
    EXPECT_GE(virtual_clock::elapsed(), 190ms);
    EXPECT_EQ(co_await (got_letters->readable_side() | lines() | batch(s, {.size = 10, .within = 20ms}) | to_vector()),
              (std::vector<std::vector<std::string>>{{"a", "b"}}));
    co_await all(got_numbers->end(), got_letters->end());
    co_await std::move(first_done);
    co_await std::move(second_done);
    co_await all(first.end(), second.end());
  }));
}

TEST(C0_SC_37, a_counter_goes_through_an_upper_case_transform_to_a_logging_sink) {
  int ends[2];
  checked(::pipe2(ends, O_CLOEXEC));
  descriptor far(ends[0]);
  descriptor near(ends[1]);
  std::vector<std::string> order;
  run_with(1, [](int out_fd, std::vector<std::string>& log) -> task<> {
    struct logger {
      output_stream to;
      std::vector<std::string>* log;
      task<> write(std::string line) {
        log->push_back("write");
        co_await to.write(line + "\n");
      }
      task<> end() {
        log->push_back("final");
        co_await to.end();
      }
    };
    auto upper = [](std::string text) {
      std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
      return text;
    };
    auto name = [](int i) { return "count " + std::to_string(i); };
    co_await pipeline(count_to(3), map(name), map(upper), logger{output_stream(out_fd), &log});
    log.push_back("done");
  }(near.get(), order));
  near.close();
  std::string got(100, '\0');
  got.resize(static_cast<std::size_t>(checked(static_cast<int>(::read(far.get(), got.data(), got.size())))));
  EXPECT_EQ(got, "COUNT 1\nCOUNT 2\nCOUNT 3\n");
  EXPECT_EQ(order, (std::vector<std::string>{"write", "write", "write", "final", "done"}));
}

// Newline-delimited JSON that a filter never parsed: it got bytes and took them for strings (C2-ST-06).
TEST(C2_ST_06, a_byte_source_is_decoded_and_framed_before_it_is_filtered) {
  auto kept = run_with(1, []() -> task<std::vector<std::string>> {
    auto source = []() -> generator<buffer> {
      for (int i = 0; i < 10; ++i) co_yield buffer::from("{\"index\":" + std::to_string(i) + "}\n");
    };
    co_return co_await pipeline(source(), rechunk(7), lines(),
                                filter([](const std::string& line) { return (line[9] - '0') % 2 == 0; }), to_vector());
  }());
  EXPECT_EQ(kept.size(), 5U);
  EXPECT_EQ(kept.front(), "{\"index\":0}");
}

}  // namespace
}  // namespace weir::io
