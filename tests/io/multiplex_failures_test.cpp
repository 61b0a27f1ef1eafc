// tests/io/multiplex_failures_test.cpp: a multiplexed connection that fails at each chunk, in each direction, and one
// that is cancelled at each suspension: every stream of it ends, nobody waits for ever, and no chunk stays alive.
#include <weir/io/multiplex.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>

#include "tests/io/operator_cases.hpp"
#include "tests/support/cancel_at.hpp"
#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weir::io {
namespace {

using namespace weir::testing;

/// Passes chunks on, and fails in place of one of them; 0: never.
struct line {
  pass_through<buffer> bytes;
  int fails_at = 0;
  int passed = 0;

  readable<buffer> reading_end() {
    return readable<buffer>(std::move(bytes.readable_side()) | map([this](buffer chunk) {
                              if (++passed == fails_at) throw error(errc::err_closed, "the line broke");
                              return chunk;
                            }));
  }
};

task<> echo(duplex<buffer> stream) {
  while (auto chunk = co_await stream.next()) {
    co_await yield();
    co_await stream.write(std::move(*chunk));
  }
  co_await stream.end();
}

task<> serve(multiplexer& side) {
  co_await with_scope([&](scope& s) -> task<> {
    while (auto stream = co_await side.accept())
      s.spawn_local([](duplex<buffer> each) -> task<> { static_cast<void>(co_await attempt(echo(std::move(each)))); },
                    std::move(*stream));
  });
}

/// Sends three chunks on a stream of its own and reads them back.
task<int> ask(multiplexer& side, ledger& l) {
  auto stream = side.open();
  int answered = 0;
  for (int i = 1; i <= 3; ++i) {
    co_await stream.write(l.make(i).bytes);
    auto back = co_await stream.next();
    if (!back) co_return answered;
    ++answered;
    co_await yield();
  }
  co_await stream.end();
  while (co_await stream.next()) {
  }
  co_return answered;
}

struct talk {
  ledger l;
  line there;
  line back;
  int answered = 0;
  std::string first_ended, second_ended;
};

task<> converse(talk& t) {
  co_await with_scope([&](scope& s) -> task<> {
    multiplexer first(s, t.back.reading_end(), std::move(t.there.bytes.writable_side()), {.initiator = true});
    multiplexer second(s, t.there.reading_end(), std::move(t.back.bytes.writable_side()), {});
    auto serving = s.spawn_local(
        [](multiplexer& side) -> task<result<void>> { co_return co_await attempt(serve(side)); }, std::ref(second));
    for (int i = 0; i < 2; ++i) {
      auto got = co_await attempt(ask(first, t.l));
      if (got) t.answered += *got;
      if (!got) t.first_ended = verdict(got);
    }
    auto ended = s.spawn_local([](multiplexer& side) -> task<result<void>> { co_return co_await attempt(side.end()); },
                               std::ref(second));
    auto first_ended = co_await attempt(first.end());
    if (t.first_ended.empty()) t.first_ended = verdict(first_ended);
    t.second_ended = verdict(co_await std::move(ended));
    static_cast<void>(co_await std::move(serving));
  });
}

TEST(MultiplexFailures, of_the_line_at_any_chunk_end_everything) {
  int chunks[2] = {0, 0};
  {
    talk whole;
    run_with(1, converse(whole));
    EXPECT_EQ(whole.answered, 6);
    EXPECT_EQ(whole.first_ended, "ok");
    EXPECT_EQ(whole.second_ended, "ok");
    EXPECT_EQ(whole.l.items, 0);
    chunks[0] = whole.there.passed;
    chunks[1] = whole.back.passed;
  }
  EXPECT_GT(chunks[0], 4);
  for (int direction : {0, 1}) {
    for (int n = 1; n <= chunks[direction]; ++n) {
      auto where = std::to_string(direction) + " at " + std::to_string(n);
      talk t;
      (direction == 0 ? t.there : t.back).fails_at = n;
      run_with(1, converse(t));
      EXPECT_TRUE(t.first_ended != "ok" || t.second_ended != "ok") << where;
      EXPECT_LE(t.answered, 6) << where;
      EXPECT_EQ(t.l.items, 0) << where;
    }
  }
}

TEST(MultiplexFailures, leave_nothing_behind_when_it_is_cancelled_anywhere) {
  std::unique_ptr<talk> t;
  auto make = [&]() {
    t = std::make_unique<talk>();
    return converse(*t);
  };
  auto runs = cancel_at_every_suspension(make, [&](const result<void>& outcome) {
    if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled()) << outcome.failure().message();
    EXPECT_EQ(t->l.items, 0);
  });
  EXPECT_GT(runs, 10U);
}

// One duplex of several stages

/// Source, compose, sink, with the function in the middle failing at one call.
task<std::string> through_composed(ledger& l, int& closes) {
  std::string what;
  co_await with_scope([&](scope& s) -> task<> {
    auto passing = [] {
      return transform<item>([](item i, output<item>& out) -> task<> { co_await out.push(std::move(i)); });
    };
    auto check = [&l](item i) {
      l.check_call();
      return i;
    };
    auto once = [&](std::exception_ptr) { ++closes; };
    auto middle = compose<item>(s, passing(), check, passing());
    auto outcome =
        co_await attempt(pipeline(readable<item>(counting_source(l), {.on_close = once}), std::move(middle),
                                  writable<item>([](item) -> task<> { co_await yield(); }, {.on_close = once})));
    what = outcome ? "ok" : outcome.failure().message();
  });
  co_return what;
}

TEST(ComposeFailures, of_any_call_and_any_item_come_out_and_release_all) {
  for (int n = 0; n <= 7; ++n) {
    for (bool call : {false, true}) {
      ledger l;
      (call ? l.call_fails_at : l.source_fails_at) = n;
      int closes = 0;
      auto what = run_with(1, through_composed(l, closes));
      auto fails = n != 0 && (!call || n <= 6);
      EXPECT_EQ(what, !fails ? "ok" : call ? "the function failed" : "the source failed") << n;
      EXPECT_EQ(closes, 2) << n;
      EXPECT_EQ(l.items, 0) << n;
      EXPECT_EQ(l.sources, 0) << n;
    }
  }
}

TEST(ComposeFailures, leave_nothing_behind_when_it_is_cancelled_anywhere) {
  ledger l;
  int closes = 0;
  auto runs = cancel_at_every_suspension([&] { return through_composed(l, closes); },
                                         [&](const result<std::string>& outcome) {
                                           if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled());
                                           EXPECT_EQ(l.items, 0);
                                           EXPECT_EQ(l.sources, 0);
                                         });
  EXPECT_GT(runs, 5U);
}

}  // namespace
}  // namespace weir::io
