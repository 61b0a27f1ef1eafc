// tests/io/operator_failures_test.cpp: every operator when something fails: its source at each item, the function given
// to it at each call, the sink behind it at each write. The failure comes out, once, and everything is released.
#include "tests/io/operator_cases.hpp"

#include <weir/io/collect.hpp>
#include <weir/io/concurrent.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

namespace weir::io {
namespace {

using namespace weir::testing;
using strings = std::vector<std::string>;

constexpr const char* source_failed = "the source failed";
constexpr const char* call_failed = "the function failed";

bool begins_with(const ints& all, const ints& part) {
  return part.size() <= all.size() && std::equal(part.begin(), part.end(), all.begin());
}

/// The numbers up to `last` without one.
ints numbers_but(int last, int missing) {
  auto all = numbers_to(last);
  std::erase(all, missing);
  return all;
}

void expect_released(const ledger& l, const std::string& where) {
  EXPECT_EQ(l.items, 0) << where;
  EXPECT_EQ(l.sources, 0) << where;
}

class OperatorFailures : public ::testing::TestWithParam<unsigned> {
 protected:
  /// Runs `body(scope&)` as a task that may be stolen, and leaves the scope.
  template <class F>
  void run_stealable(F body) {
    run_with(GetParam(), with_scope([&](scope& outer) -> task<void> {
               co_await outer.spawn(
                   [&]() -> task<void> { co_await with_scope([&](scope& s) -> task<void> { co_await body(s); }); });
             }));
  }
};
INSTANTIATE_TEST_SUITE_P(Workers, OperatorFailures, ::testing::Values(1U, 3U));

// Read directly

void expect_read(const operator_case& each, const reading_report& got, const ints& all, const std::string& why,
                 const std::string& where) {
  auto expected = each.model(all);
  if (each.drops) {
    EXPECT_TRUE(begins_with(expected, got.values)) << where;
  } else {
    EXPECT_EQ(got.values, expected) << where;
  }
  EXPECT_EQ(got.failures, strings(each.sticky ? 3 : 1, why)) << where;
}

TEST_P(OperatorFailures, of_the_source_come_out_behind_what_it_gave) {
  for (auto& each : operator_cases()) {
    for (int n = 1; n <= 7; ++n) {
      auto where = each.name + " at " + std::to_string(n);
      ledger l;
      l.source_fails_at = n;
      reading_report got;
      run_stealable([&](scope& s) -> task<void> {
        auto from = each.make(s, item_source(counting_source(l)), l);
        co_await read_all(from, got);
      });
      if (l.failed_at != 0) {
        expect_read(each, got, numbers_to(n - 1), source_failed, where);
      } else {
        EXPECT_EQ(got.failures, strings()) << where;
        EXPECT_EQ(got.values, each.model(numbers_to(6))) << where;
      }
      expect_released(l, where);
    }
  }
}

TEST_P(OperatorFailures, of_their_function_come_out_once_and_cost_one_item) {
  for (auto& each : operator_cases()) {
    for (int n = 1; n <= 6; ++n) {
      auto where = each.name + " at call " + std::to_string(n);
      ledger l;
      l.call_fails_at = n;
      reading_report got;
      run_stealable([&](scope& s) -> task<void> {
        auto from = each.make(s, item_source(counting_source(l)), l);
        co_await read_all(from, got);
      });
      if (l.calls < n) {
        EXPECT_EQ(got.failures, strings()) << where;
      } else if (each.drops) {
        EXPECT_EQ(got.failures, strings(3, call_failed)) << where;
        EXPECT_TRUE(begins_with(each.model(numbers_to(6)), got.values)) << where;
      } else if (each.name.starts_with("take_while") || each.name.starts_with("take,")) {
        EXPECT_EQ(got.failures, strings{call_failed}) << where;  // whose calls are not those of the items
      } else {
        expect_read(each, got, numbers_but(6, n), call_failed, where);
      }
      expect_released(l, where);
    }
  }
}

TEST_P(OperatorFailures, are_the_end_of_a_stream_made_of_them) {
  for (auto& each : operator_cases()) {
    for (int n = 1; n <= 7; ++n) {
      auto where = each.name + " at " + std::to_string(n);
      ledger l;
      l.source_fails_at = n;
      int closes = 0;
      reading_report got;
      run_stealable([&](scope& s) -> task<void> {
        result_source from(readable<ints>(each.make(s, item_source(counting_source(l)), l),
                                          {.on_close = [&](std::exception_ptr) { ++closes; }}));
        co_await read_all(from, got);
        EXPECT_EQ(l.sources, each.drops ? l.sources.load() : 0) << where;  // released before the stream goes
      });
      EXPECT_EQ(got.failures, strings(l.failed_at != 0 ? 3 : 0, source_failed)) << where;
      EXPECT_EQ(closes, 1) << where;
      EXPECT_LE(l.told, 1) << where;
      expect_released(l, where);
    }
  }
}

// As a stage of a pipeline

struct piped {
  std::string failure = "none";
  std::exception_ptr why;  // for as long as anybody may look at it
  ints written;
  int source_closed = 0;
  int sink_closed = 0;
};

/// Source, operator, sink, of which one may fail; `early`: a transform in between gives the sink a fiber of its own.
task<void> pipe_through(const operator_case& each, ledger& l, int write_fails_at, bool early, piped& got) {
  int writes = 0;
  co_await with_scope([&](scope& s) -> task<void> {
    readable<item> first(counting_source(l), {.on_close = [&](std::exception_ptr) { ++got.source_closed; }});
    auto stage = [&](readable<item> in) { return each.make(s, item_source(std::move(in)), l); };
    writable<ints> last(
        [&](ints some) -> task<void> {
          co_await yield();
          if (++writes == write_fails_at) throw error(errc::err_invalid_arg_value, "the sink failed");
          got.written.insert(got.written.end(), some.begin(), some.end());
        },
        {.on_close = [&](std::exception_ptr) { ++got.sink_closed; }});
    auto passing =
        transform<ints>([](ints some, output<ints>& out) -> task<void> { co_await out.push(std::move(some)); });
    auto outcome = early ? co_await attempt(pipeline(std::move(first), stage, std::move(passing), std::move(last)))
                         : co_await attempt(pipeline(std::move(first), stage, std::move(last)));
    if (outcome) co_return;
    got.why = outcome.failure().exception();
    got.failure = outcome.failure().message();
  });
}

void expect_closed_once(const piped& got, const ledger& l, const std::string& where) {
  EXPECT_EQ(got.source_closed, 1) << where;
  EXPECT_EQ(got.sink_closed, 1) << where;
  expect_released(l, where);
}

TEST_P(OperatorFailures, of_the_source_fail_the_pipeline_and_close_each_stage_once) {
  for (auto& each : operator_cases()) {
    for (int n = 1; n <= 7; ++n) {
      for (bool early : {false, true}) {
        auto where = each.name + " at " + std::to_string(n);
        ledger l;
        l.source_fails_at = n;
        piped got;
        run_stealable([&](scope&) { return pipe_through(each, l, 0, early, got); });
        EXPECT_EQ(got.failure, l.failed_at != 0 ? source_failed : "none") << where;
        EXPECT_TRUE(begins_with(each.model(numbers_to(n == 7 ? 6 : n - 1)), got.written) || l.failed_at == 0) << where;
        expect_closed_once(got, l, where);
      }
    }
  }
}

TEST_P(OperatorFailures, of_the_sink_fail_the_pipeline_and_close_each_stage_once) {
  for (auto& each : operator_cases()) {
    ledger whole;
    piped all;
    run_stealable([&](scope&) { return pipe_through(each, whole, 0, false, all); });
    EXPECT_EQ(all.failure, "none") << each.name;
    EXPECT_EQ(all.written, each.model(numbers_to(6))) << each.name;
    for (int n = 1; n <= 7; ++n) {
      for (bool early : {false, true}) {
        auto where = each.name + " at write " + std::to_string(n);
        ledger l;
        piped got;
        run_stealable([&](scope&) { return pipe_through(each, l, n, early, got); });
        auto fails = got.written.size() != all.written.size();
        EXPECT_EQ(got.failure, fails ? "the sink failed" : "none") << where;
        EXPECT_TRUE(begins_with(all.written, got.written)) << where;
        if (n == 1) EXPECT_TRUE(fails) << where;
        expect_closed_once(got, l, where);
      }
    }
  }
}

TEST_P(OperatorFailures, of_their_function_fail_the_pipeline_and_close_each_stage_once) {
  for (auto& each : operator_cases()) {
    for (int n = 1; n <= 6; ++n) {
      auto where = each.name + " at call " + std::to_string(n);
      ledger l;
      l.call_fails_at = n;
      piped got;
      run_stealable([&](scope&) { return pipe_through(each, l, 0, n % 2 == 0, got); });
      EXPECT_EQ(got.failure, l.calls >= n ? call_failed : "none") << where;
      expect_closed_once(got, l, where);
    }
  }
}

// What gives one result

struct result_case {
  const char* name;
  /// A sum of what came, or nothing if that is not what it is about.
  std::function<task<int>(item_source, ledger&)> make;
};

template <class R>
task<int> ends(task<R> whole) {
  static_cast<void>(co_await std::move(whole));
  co_return 21;
}

std::vector<result_case> result_cases() {
  auto look = [](ledger& l, bool answer) {
    return [&l, answer](const item&) -> task<bool> {
      co_await yield();
      l.check_call();
      co_return answer;
    };
  };
  auto bytes = [](item from) { return std::move(from.bytes); };
  return {
      {"reduce",
       [](item_source from, ledger& l) {
         return std::move(from) | reduce(0, [&l](int sum, const item& i) {
                  l.check_call();
                  return sum + i.value;
                });
       }},
      {"reduce by a coroutine",
       [](item_source from, ledger& l) {
         return std::move(from) | reduce(0, [&l](int sum, item i) -> task<int> {
                  co_await yield();
                  l.check_call();
                  co_return sum + i.value;
                });
       }},
      {"for_each", [](item_source from,
                      ledger& l) { return ends(std::move(from) | for_each([&l](const item&) { l.check_call(); })); }},
      {"concurrent for_each",
       [](item_source from, ledger& l) {
         auto each = [&l](item) -> task<void> {
           co_await yield();
           l.check_call();
         };
         return ends(std::move(from) | for_each(each, {.concurrency = 3}));
       }},
      {"some", [=](item_source from, ledger& l) { return ends(std::move(from) | some(look(l, false))); }},
      {"every", [=](item_source from, ledger& l) { return ends(std::move(from) | every(look(l, true))); }},
      {"find", [=](item_source from, ledger& l) { return ends(std::move(from) | find(look(l, false))); }},
      {"to_vector", [](item_source from, ledger&) { return ends(std::move(from) | to_vector()); }},
      {"to_buffer", [=](item_source from, ledger&) { return ends(std::move(from) | map(bytes) | to_buffer()); }},
      {"to_text", [=](item_source from, ledger&) { return ends(std::move(from) | map(bytes) | to_text()); }},
      {"to_parsed",
       [=](item_source from, ledger& l) {
         auto parse = [&l](const std::string&) {
           l.check_call();
           return 21;
         };
         return std::move(from) | map(bytes) | to_parsed(parse);
       }},
  };
}

TEST_P(OperatorFailures, of_source_or_function_are_the_result) {
  for (auto& each : result_cases()) {
    for (int n = 1; n <= 7; ++n) {
      for (bool call : {false, true}) {
        auto where = std::string(each.name) + " at " + std::to_string(n);
        ledger l;
        (call ? l.call_fails_at : l.source_fails_at) = n;
        std::string got;
        run_stealable([&](scope&) -> task<void> {
          auto outcome = co_await attempt(each.make(item_source(counting_source(l)), l));
          got = outcome ? std::to_string(*outcome) : outcome.failure().message();
        });
        std::string expected = l.failed_at != 0 ? source_failed : l.calls >= n && call ? call_failed : "21";
        EXPECT_EQ(got, expected) << where;
        expect_released(l, where);
      }
    }
  }
}

}  // namespace
}  // namespace weir::io
