// tests/io/multiplex_test.cpp: many streams over one, in memory; and what the other side may do wrong, byte by byte.
#include <weir/io/multiplex.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using namespace weir::testing;

/// The two directions between two multiplexers; with `cut`, all bytes go in pieces of that size.
struct wire {
  pass_through<buffer> there;
  pass_through<buffer> back;
};

readable<buffer> reading(pass_through<buffer>& from, std::size_t cut) {
  if (cut == 0) return std::move(from.readable_side());
  return readable<buffer>(std::move(from.readable_side()) | flat_map([cut](buffer chunk) {
                            std::vector<buffer> parts;
                            while (!chunk.empty()) parts.push_back(chunk.take_front(cut));
                            return parts;
                          }));
}

multiplexer first_side(scope& s, wire& over, multiplex_options options = {}, std::size_t cut = 0) {
  options.initiator = true;
  return multiplexer(s, reading(over.back, cut), std::move(over.there.writable_side()), options);
}
multiplexer second_side(scope& s, wire& over, multiplex_options options = {}, std::size_t cut = 0) {
  return multiplexer(s, reading(over.there, cut), std::move(over.back.writable_side()), options);
}

task<> echo(duplex<buffer> stream) {
  while (auto chunk = co_await stream.next()) co_await stream.write(std::move(*chunk));
  co_await stream.end();
}

task<> echo_all(multiplexer& side) {
  co_await with_scope([&](scope& s) -> task<> {
    while (auto stream = co_await side.accept()) s.spawn(echo, std::move(*stream));
  });
}

task<std::string> ask(duplex<buffer> stream, std::string text) {
  co_await stream.write(buffer::from(text));
  co_await stream.end();
  std::string answer;
  while (auto chunk = co_await stream.next()) answer += chunk->text();
  co_return answer;
}

class MultiplexOnWorkers : public ::testing::TestWithParam<std::pair<unsigned, std::size_t>> {};
INSTANTIATE_TEST_SUITE_P(WorkersAndCuts, MultiplexOnWorkers,
                         ::testing::Values(std::pair(1U, 0UL), std::pair(1U, 1UL), std::pair(1U, 5UL),
                                           std::pair(3U, 0UL), std::pair(3U, 7UL)));

TEST_P(MultiplexOnWorkers, carries_many_streams_at_once_however_frames_are_cut) {
  auto [workers, cut] = GetParam();
  run_with(workers, with_scope([cut = cut](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over, {.window = 1000, .max_frame = 300}, cut);
             auto second = second_side(s, over, {.window = 1000, .max_frame = 300}, cut);
             auto serving_1 = s.spawn(echo_all, std::ref(second));
             std::vector<join_handle<std::string>> asked;
             std::vector<std::string> texts;
             for (std::size_t i = 0; i < 20; ++i) {
               texts.push_back(std::string(i * 37, static_cast<char>('a' + i)));
               asked.push_back(s.spawn(ask, first.open(), texts.back()));
             }
             for (std::size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(co_await std::move(asked[i]), texts[i]);
             EXPECT_EQ(first.open_streams(), 0U);
             co_await all(first.end(), second.end());
             co_await std::move(serving_1);
           }));
}

TEST(Multiplex, opens_streams_from_both_sides) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over);
             auto second = second_side(s, over);
             auto serving_1 = s.spawn_local(echo_all, std::ref(first));
             auto serving_2 = s.spawn_local(echo_all, std::ref(second));
             EXPECT_EQ(co_await ask(first.open(), "from the first"), "from the first");
             EXPECT_EQ(co_await ask(second.open(), "from the second"), "from the second");
             EXPECT_EQ(co_await ask(second.open(), ""), "");
             co_await all(first.end(), second.end());
             co_await std::move(serving_1);
             co_await std::move(serving_2);
           }));
}

TEST(Multiplex, a_stream_that_nobody_reads_stops_its_writer_and_no_other) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over, {.window = 1000});
             auto second = second_side(s, over, {.window = 1000});
             auto ignored = first.open();
             std::size_t written = 0;
             auto flood = s.spawn_local(
                 [](duplex<buffer>& to, std::size_t& count) -> task<> {
                   for (;; count += 100) co_await to.write(buffer::alloc(100));
                 },
                 std::ref(ignored), std::ref(written));
             auto unread = co_await second.accept();
             for (int n = 0; n < 200; ++n) co_await yield();
             EXPECT_EQ(written, 1000U);
             auto serving_1 = s.spawn_local(echo_all, std::ref(second));
             EXPECT_EQ(co_await ask(first.open(), std::string(1500, 'x')), std::string(1500, 'x'));
             EXPECT_EQ(written, 1000U);
             static_cast<void>(co_await unread->readable_side().read(600));
             static_cast<void>(co_await attempt(timeout(1ms, unread->readable_side().read(600))));
             for (int n = 0; n < 200; ++n) co_await yield();
             EXPECT_GT(written, 1000U);
             flood.cancel();
             ignored.destroy();
             co_await all(first.end(), second.end());
             co_await std::move(serving_1);
           }));
}

TEST(Multiplex, destroying_a_stream_resets_it_and_leaves_the_others) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over);
             auto second = second_side(s, over);
             auto here = first.open();
             co_await here.write(buffer::from("x"));
             auto there = co_await second.accept();
             here.destroy();
             EXPECT_EQ((co_await there->next())->text(), "x");
             EXPECT_EQ(verdict(co_await attempt(there->next())), "ERR_STREAM_PREMATURE_CLOSE");
             auto serving_1 = s.spawn_local(echo_all, std::ref(second));
             EXPECT_EQ(co_await ask(first.open(), "still there"), "still there");
             EXPECT_EQ(first.open_streams(), 0U);
             co_await all(first.end(), second.end());
             co_await std::move(serving_1);
           }));
}

TEST(Multiplex, resets_streams_beyond_its_limit) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over);
             auto second = second_side(s, over, {.max_streams = 2});
             std::vector<duplex<buffer>> opened;
             for (int i = 0; i < 3; ++i) {
               opened.push_back(first.open());
               co_await opened.back().write(buffer::from("x"));
             }
             EXPECT_EQ(verdict(co_await attempt(opened[2].next())), "ERR_STREAM_PREMATURE_CLOSE");
             auto kept = co_await second.accept();
             EXPECT_EQ((co_await kept->next())->text(), "x");
             EXPECT_EQ(second.open_streams(), 2U);
           }));
}

TEST(Multiplex, the_end_of_the_connection_fails_open_streams_and_ends_accept) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over);
             auto second = second_side(s, over);
             auto stream = first.open();
             co_await stream.write(buffer::from("x"));
             auto there = co_await second.accept();
             auto ending = s.spawn_local([](multiplexer& side) { return side.end(); }, std::ref(second));
             EXPECT_EQ(verdict(co_await attempt(stream.next())), "ERR_STREAM_PREMATURE_CLOSE");
             EXPECT_FALSE(co_await first.accept());
             co_await first.end();
             co_await std::move(ending);
             EXPECT_THROW(static_cast<void>(first.open()), error);
           }));
}

TEST(Multiplex, loses_no_stream_and_no_byte_when_a_wait_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto first = first_side(s, over, {.window = 10});
             auto second = second_side(s, over, {.window = 10});
             EXPECT_EQ(verdict(co_await attempt(timeout(1ms, second.accept()))), "ETIMEDOUT");
             auto here = first.open();
             co_await here.write(buffer::from("0123456789"));
             auto there = co_await second.accept();
             EXPECT_EQ((co_await there->next())->text(), "0123456789");
             auto pull = [](duplex<buffer>& from) -> task<std::optional<buffer>> { co_return co_await from.next(); };
             EXPECT_EQ(verdict(co_await attempt(timeout(1ms, pull(*there)))), "ETIMEDOUT");
             co_await here.write(buffer::from("abc"));
             EXPECT_EQ((co_await there->next())->text(), "abc");
           }));
}

/// What a multiplexer makes of these bytes: the failure of `accept`, or of the end.
std::string verdict_on(const std::vector<int>& octets, multiplex_options options = {}) {
  return run_with(1, [](buffer bytes, multiplex_options given) -> task<std::string> {
    std::string what;
    co_await with_scope([&](scope& s) -> task<> {
      pass_through<buffer> in;
      pass_through<buffer> out;
      s.spawn_local(
          [](readable<buffer> from) -> task<> {
            while (auto chunk = co_await attempt(from.next())) {
              if (!*chunk) break;
            }
          },
          std::move(out.readable_side()));
      multiplexer side(s, std::move(in.readable_side()), std::move(out.writable_side()), given);
      co_await in.writable_side().end(std::move(bytes));
      std::optional<duplex<buffer>> kept;
      for (;;) {
        auto next = co_await attempt(side.accept());
        what = next ? "ended" : std::string(next.failure().code_name());
        if (!next || !*next) break;
        kept.emplace(std::move(**next));
      }
    });
    co_return what;
  }(buffer::from_octets(octets), options));
}

TEST(Multiplex, fails_when_the_other_side_does_what_it_must_not) {
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 0, 0, 0, 0, 1, 'x'}), "ended");
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 1, 0, 0, 0, 0}), "ended");
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 9, 0, 0, 0, 0}), "ERR_INVALID_STATE");        // unknown type
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 0, 0xff, 0, 0, 0}), "ERR_INVALID_STATE");     // too large
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 1, 0, 0, 0, 1}), "ERR_INVALID_STATE");        // end with payload
  EXPECT_EQ(verdict_on({0, 0, 0, 2, 0, 0, 0, 0, 0}), "ERR_INVALID_STATE");        // never opened here
  EXPECT_EQ(verdict_on({0, 0, 0, 0, 0, 0, 0, 0, 0}), "ERR_INVALID_STATE");        // no stream
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 3, 0, 0, 0, 2, 0, 1}), "ERR_INVALID_STATE");  // half a window
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff}),
            "ERR_INVALID_STATE");  // too wide a window
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, {.window = 2}), "ERR_INVALID_STATE");
  EXPECT_EQ(verdict_on({0, 0, 0}), "ERR_STREAM_PREMATURE_CLOSE");                         // cut in the header
  EXPECT_EQ(verdict_on({0, 0, 0, 1, 0, 0, 0, 0, 2, 'x'}), "ERR_STREAM_PREMATURE_CLOSE");  // and in the payload
}

std::string frame_of(std::uint32_t stream, char type, std::string_view payload) {
  auto header = buffer::alloc(9);
  header.write_u32_be(stream, 0);
  header.write_u8(type, 4);
  header.write_u32_be(static_cast<std::int64_t>(payload.size()), 5);
  return std::string(header.text()).append(payload);
}

TEST(Multiplex, joins_payloads_of_a_byte) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto second = second_side(s, over);
             std::string wanted;
             for (int i = 0; i < 3000; ++i) {
               wanted += static_cast<char>('a' + i % 26);
               co_await over.there.write(buffer::from(frame_of(1, 0, wanted.substr(wanted.size() - 1))));
             }
             co_await over.there.write(buffer::from(frame_of(1, 1, {})));
             auto stream = co_await second.accept();
             std::string got;
             std::size_t chunks = 0;
             for (; auto chunk = co_await stream->next(); ++chunks) got += chunk->text();
             EXPECT_EQ(got, wanted);
             EXPECT_LT(chunks, 10U);
             s.cancel();
           }));
}

TEST(Multiplex, keeps_no_more_streams_for_being_reset_at_once) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             auto second = second_side(s, over, {.max_streams = 4});
             for (std::uint32_t id = 1; id < 100; id += 2) {
               co_await over.there.write(buffer::from(frame_of(id, 0, "x") + frame_of(id, 2, {})));
             }
             co_await over.there.end();
             std::size_t accepted = 0;
             while (co_await second.accept()) ++accepted;
             EXPECT_EQ(accepted, 4U);
             EXPECT_EQ(second.open_streams(), 0U);
             s.cancel();
           }));
}

TEST(Multiplex, gives_up_on_one_that_opens_streams_and_does_not_listen) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;  // of which nobody reads what comes back
             auto second = second_side(s, over);
             std::string why;
             auto dropping = s.spawn_local(
                 [](multiplexer& side, std::string& said) -> task<> {
                   auto next = co_await attempt(side.accept());
                   while (next && *next) next = co_await attempt(side.accept());  // destroyed, and so reset
                   said = verdict(next);
                 },
                 std::ref(second), std::ref(why));
             std::uint32_t opened = 0;
             auto flood = [&]() -> task<> {
               for (;; ++opened) co_await over.there.write(buffer::from(frame_of(2 * opened + 1, 0, "x")));
             };
             EXPECT_FALSE(co_await attempt(flood()));
             co_await std::move(dropping);
             EXPECT_EQ(why, "ERR_INVALID_STATE");
             EXPECT_LT(opened, 100'000U);
             s.cancel();
           }));
}

TEST(Multiplex, refuses_windows_and_frames_of_nothing) {
  run_with(1, with_scope([](scope& s) -> task<> {
             wire over;
             EXPECT_THROW(static_cast<void>(first_side(s, over, {.window = 0})), error);
             co_return;
           }));
}

}  // namespace
}  // namespace weir::io
