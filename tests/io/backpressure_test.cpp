// tests/io/backpressure_test.cpp: memory stays flat: a gigabyte in chunks of 64 KiB goes through every operator, kind
// of stream and policy to a reader that is slower than its source, and never are more chunks alive than the marks
// allow.
#include "tests/io/operator_cases.hpp"

#include <weir/io/ahead.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/multiplex.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/tee.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace weir::io {
namespace {

using namespace weir::testing;

constexpr std::size_t gigabyte = 1024UL * 1024 * 1024;
constexpr int chunks = static_cast<int>(rounds(gigabyte / large, 16));

/// The ledger of a source that is always ready and has that many chunks.
struct flood : ledger {
  flood() {
    last = chunks;
    yields = false;
    large_items = true;
  }
};

/// Lets everybody else run several times.
task<void> dawdle() {
  for (int i = 0; i < 3; ++i) co_await yield();
}

task<buffer> bytes_of(any_source<item>& from) {
  auto next = co_await from.next();
  co_return next ? std::move(next->bytes) : buffer();
}

/// A stream of buffers from the flood.
readable<buffer> flow(flood& l, std::optional<std::size_t> mark = {}) {
  auto pull = [from = std::make_shared<item_source>(counting_source(l))]() -> task<std::optional<buffer>> {
    auto bytes = co_await bytes_of(*from);
    co_return bytes.empty() ? std::nullopt : std::optional<buffer>(std::move(bytes));
  };
  return readable<buffer>(std::move(pull), {.high_water_mark = mark});
}

/// Takes everything, slowly.
struct slow_sink {
  std::size_t* total;
  task<void> write(buffer chunk) {
    co_await dawdle();
    *total += chunk.size();
  }
  void end() {}
};

constexpr std::size_t whole = static_cast<std::size_t>(chunks) * large;

TEST(Backpressure, keeps_no_operator_from_holding_only_what_it_says) {
  for (auto& each : operator_cases()) {
    flood l;
    int taken = 0;
    run_with(1, with_scope([&](scope& s) -> task<void> {
               auto from = each.make(s, item_source(counting_source(l)), l);
               while (co_await from.next()) {
                 co_await dawdle();
                 ++taken;
               }
             }));
    EXPECT_GT(taken, 0) << each.name;
    EXPECT_GE(l.most, 1) << each.name;
    EXPECT_LE(l.most, each.holds) << each.name;
    EXPECT_EQ(l.items, 0) << each.name;
  }
}

TEST(Backpressure, keeps_no_operator_from_holding_only_what_it_says_on_several_workers) {
  for (auto& each : operator_cases()) {
    flood l;
    l.last = chunks / 8;
    run_with(3, with_scope([&](scope& outer) -> task<void> {
               co_await outer.spawn([&]() -> task<void> {
                 co_await with_scope([&](scope& s) -> task<void> {
                   auto from = each.make(s, item_source(counting_source(l)), l);
                   while (co_await from.next()) co_await dawdle();
                 });
               });
             }));
    EXPECT_LE(l.most, each.holds) << each.name;
    EXPECT_EQ(l.items, 0) << each.name;
  }
}

TEST(Backpressure, of_a_slow_sink_stops_a_pipeline_of_pulled_stages) {
  flood l;
  std::size_t total = 0;
  run_with(1, [&]() -> task<void> {
    co_await pipeline(
        flow(l), [](buffer chunk) { return chunk; },
        [](readable<buffer> in) { return std::move(in) | filter([](auto&) { return true; }); }, slow_sink{&total});
  }());
  EXPECT_EQ(total, whole);
  EXPECT_LE(l.most, 2);
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, of_a_slow_sink_fills_transforms_up_to_their_marks_only) {
  flood l;
  std::size_t total = 0;
  auto passing = [] {
    return transform<buffer>(
        [](buffer chunk, output<buffer>& out) -> task<void> { co_await out.push(std::move(chunk)); },
        {.input = {.high_water_mark = 2 * large}, .output = {.high_water_mark = 4 * large}});
  };
  run_with(1, [&]() -> task<void> { co_await pipeline(flow(l), passing(), passing(), slow_sink{&total}); }());
  EXPECT_EQ(total, whole);
  EXPECT_LE(l.most, 2 * (2 + 4 + 2) + 2);
  EXPECT_GT(l.most, 4);  // they do work ahead
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, holds_a_producer_that_asks_before_it_writes) {
  flood l;
  std::size_t total = 0;
  run_with(1, [&]() -> task<void> {
    writable<buffer> sink(slow_sink{&total}, {.high_water_mark = 4 * large});
    item_source from(counting_source{l});
    for (;;) {
      auto bytes = co_await bytes_of(from);
      if (bytes.empty()) break;
      if (!sink.write_nowait(std::move(bytes))) co_await sink.drain();
    }
    co_await sink.end();
  }());
  EXPECT_EQ(total, whole);
  EXPECT_LE(l.most, 5);
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, holds_the_writer_of_a_pass_through_at_its_mark) {
  flood l;
  std::size_t total = 0;
  run_with(1, [&]() -> task<void> {
    pass_through<buffer> between({.high_water_mark = 4 * large});
    co_await with_scope([&](scope& s) -> task<void> {
      s.spawn_local([&]() -> task<void> {
        item_source from(counting_source{l});
        for (;;) {
          auto bytes = co_await bytes_of(from);
          if (bytes.empty()) break;
          co_await between.write(std::move(bytes));
        }
        co_await between.end();
      });
      while (auto chunk = co_await between.next()) {
        co_await dawdle();
        total += chunk->size();
      }
    });
  }());
  EXPECT_EQ(total, whole);
  EXPECT_LE(l.most, 4 + 2 + 1);  // queued, the writer's and the next one's, the reader's
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, bounds_a_stream_that_reads_ahead) {
  flood l;
  std::size_t total = 0;
  run_with(1, with_scope([&](scope& s) -> task<void> {
             auto from = flow(l, 8 * large);
             from.read_ahead(s);
             while (auto chunk = co_await from.next()) {
               co_await dawdle();
               total += chunk->size();
             }
           }));
  EXPECT_EQ(total, whole);
  EXPECT_LE(l.most, 8 + 2);
  EXPECT_GT(l.most, 2);
}

TEST(Backpressure, of_the_slowest_branch_holds_a_tee) {
  flood l;
  std::size_t totals[2] = {0, 0};
  run_with(1, with_scope([&](scope& s) -> task<void> {
             std::vector<branch_options> marks(2, {.high_water_mark = 4 * large});
             auto branches = tee(flow(l), std::move(marks));
             using branch = decltype(branches)::value_type;
             auto read = [](branch from, std::size_t& total, bool slow) -> task<void> {
               while (auto chunk = co_await from.next()) {
                 total += chunk->size();
                 if (slow) co_await dawdle();
               }
             };
             s.spawn_local(read, std::move(branches[0]), std::ref(totals[0]), true);
             s.spawn_local(read, std::move(branches[1]), std::ref(totals[1]), false);
             branches.clear();
             co_return;
           }));
  EXPECT_EQ(totals[0], whole);
  EXPECT_EQ(totals[1], whole);
  EXPECT_LE(l.most, 4 + 2);
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, that_sheds_load_holds_no_more_either_and_counts_the_rest) {
  flood l;
  drop_count dropped;
  std::uint64_t got = 0;
  run_with(1, with_scope([&](scope& s) -> task<void> {
             auto some =
                 flow(l) | ahead(s, {.high_water_mark = 4 * large, .rule = when_full::drop, .dropped = dropped});
             while (co_await some.next()) {
               ++got;
               co_await dawdle();
             }
           }));
  EXPECT_EQ(got + dropped.value(), static_cast<std::uint64_t>(chunks));
  EXPECT_GT(dropped.value(), 0U);
  EXPECT_LE(l.most, 4 + 3);
  EXPECT_EQ(l.items, 0);
}

/// What is written to one end of a multiplexer and slowly read from one of its streams.
TEST(Backpressure, of_one_reader_bounds_a_multiplexed_stream_by_its_window) {
  flood l;
  l.last = chunks / 16;
  std::size_t total = 0;
  run_with(1, with_scope([&](scope& s) -> task<void> {
             pass_through<buffer> there;
             pass_through<buffer> back;
             multiplexer first(s, std::move(back.readable_side()), std::move(there.writable_side()),
                               {.initiator = true});
             multiplexer second(s, std::move(there.readable_side()), std::move(back.writable_side()), {});
             auto stream = first.open();
             auto writing = s.spawn_local(
                 [](duplex<buffer> to, flood& from) -> task<void> {
                   auto bytes = flow(from);
                   while (auto chunk = co_await bytes.next()) co_await to.write(std::move(*chunk));
                   co_await to.end();
                   while (co_await to.next()) {
                   }
                 },
                 std::move(stream), std::ref(l));
             auto taken = co_await second.accept();
             while (auto chunk = co_await taken->next()) {
               co_await dawdle();
               total += chunk->size();
             }
             co_await taken->end();
             co_await std::move(writing);
             auto ending = s.spawn_local([](multiplexer& side) { return side.end(); }, std::ref(second));
             co_await first.end();
             co_await std::move(ending);
           }));
  EXPECT_EQ(total, static_cast<std::size_t>(l.last) * large);
  EXPECT_LE(l.most, 256 / 64 + 6);  // the window, and what is on its way
  EXPECT_EQ(l.items, 0);
}

TEST(Backpressure, is_felt_by_a_collector_as_its_limit) {
  flood l;
  run_with(1, [&]() -> task<void> {
    auto outcome = co_await attempt(flow(l) | to_buffer({.max_bytes = 8 * large}));
    EXPECT_EQ(verdict(outcome), "ERR_BUFFER_TOO_LARGE");
  }());
  EXPECT_LE(l.most, 9);
  EXPECT_EQ(l.items, 0);
}

}  // namespace
}  // namespace weir::io
