// tests/io/operator_cases_test.cpp: the table of operators, and that each of them gives what it should, in order.
#include "tests/io/operator_cases.hpp"

#include <weir/io/collect.hpp>
#include <weir/io/concurrent.hpp>
#include <weir/io/merge.hpp>
#include <weir/io/operators.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/rate.hpp>
#include <weir/io/retry.hpp>
#include <weir/io/tee.hpp>

#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <unordered_set>

namespace weir::testing {

namespace {

/// The memory of an item.
struct record {
  ledger* of;
  std::string text;

  static void release(void* self, std::span<const std::byte>) noexcept {
    auto* gone = static_cast<record*>(self);
    --gone->of->items;
    delete gone;
  }
};

std::span<std::byte> large_chunk() {  // the same for all: only its life is counted
  static std::array<std::byte, large> chunk = [] {
    std::array<std::byte, large> bytes;
    bytes.fill(std::byte{'x'});
    bytes.back() = std::byte{'\n'};
    return bytes;
  }();
  return chunk;
}

}  // namespace

item ledger::make(int value) {
  int now = ++items;
  for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
  }
  auto* memory = new record{this, large_items ? std::string() : std::to_string(value) + "\n"};
  auto bytes = large_items ? large_chunk() : std::as_writable_bytes(std::span(memory->text));
  return {value, buffer::adopt(bytes, record::release, memory)};
}

void ledger::check_call() {
  if (++calls == call_fails_at) throw error(errc::err_invalid_state, "the function failed");
}

task<std::optional<item>> counting_source::next() {
  ++of_->asked;
  if (of_->yields) co_await yield();
  if (at_ > of_->last) co_return std::nullopt;
  if (at_ + 1 == of_->source_fails_at) {
    of_->failed_at = at_ + 1;
    at_ = of_->last + 1;
    throw error(errc::err_closed, "the source failed");
  }
  if (at_++ == of_->last) co_return std::nullopt;
  co_return of_->make(at_);
}

ints numbers_to(int last) {
  ints all(static_cast<std::size_t>(last));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

task<void> read_all(result_source& from, reading_report& report) {
  while (report.failures.size() < 3) {
    auto got = co_await attempt(from.next());
    if (!got && got.failure().is_cancelled()) got.failure().rethrow();
    if (!got) {
      report.failures.push_back(got.failure().message());
      continue;
    }
    if (!*got) co_return;
    report.values.insert(report.values.end(), (*got)->begin(), (*got)->end());
  }
}

namespace {

using namespace std::chrono_literals;
using namespace weir::io;

// From items to bytes and back: a record for each number.

buffer bytes_of(item from) { return std::move(from.bytes); }
ints number_of(const std::string& record) {
  bool is_number = !record.empty() && record.front() >= '0' && record.front() <= '9';
  return {is_number ? std::stoi(record) : static_cast<int>(record.size())};
}
ints number_in(const buffer& record) { return number_of(std::string(record.text())); }
ints value_of(const item& from) { return {from.value}; }
ints values_of(const std::vector<item>& all) {
  ints values;
  for (auto& each : all) values.push_back(each.value);
  return values;
}

template <class S>
result_source results(S&& of) {
  return result_source(std::forward<S>(of));
}

/// An operator from items to items.
template <class Make>
std::function<result_source(scope&, item_source, ledger&)> of_items(Make make) {
  return
      [make](scope& s, item_source from, ledger& l) { return results(std::move(from) | make(s, l) | map(value_of)); };
}

/// Everything that `keep` is true for.
template <class F>
auto kept(F keep) {
  return [keep](const ints& all) {
    ints some;
    std::copy_if(all.begin(), all.end(), std::back_inserter(some), keep);
    return some;
  };
}
ints same(const ints& all) { return all; }
ints twice_each(const ints& all) {
  ints doubled;
  for (int each : all) doubled.insert(doubled.end(), 2, each);
  return doubled;
}
ints running_sums(const ints& all) {
  ints sums(all.size());
  std::partial_sum(all.begin(), all.end(), sums.begin());
  return sums;
}
ints first_of_each_key(const ints& all) {
  std::unordered_set<int> seen;
  return kept([&](int i) { return seen.insert(i % 4).second; })(all);
}
ints sums_of_pairs(const ints& all) {
  ints sums;
  for (std::size_t i = 0; i < all.size(); ++i) sums.push_back(all[i] + static_cast<int>(i) + 1);
  return sums;
}
auto up_to(std::size_t count) {
  return [count](const ints& all) { return ints(all.begin(), all.begin() + std::min(count, all.size())); };
}
auto from_on(std::size_t count) {
  return [count](const ints& all) { return ints(all.begin() + std::min(count, all.size()), all.end()); };
}

void add_plain_functions(std::vector<operator_case>& to) {
  to.push_back({"map", of_items([](scope&, ledger& l) {
                  return map([&l](item i) {
                    l.check_call();
                    return i;
                  });
                }),
                same});
  to.push_back({"filter", of_items([](scope&, ledger& l) {
                  return filter([&l](const item& i) {
                    l.check_call();
                    return i.value % 2 == 0;
                  });
                }),
                kept([](int i) { return i % 2 == 0; })});
  to.push_back({"tap", of_items([](scope&, ledger& l) { return tap([&l](const item&) { l.check_call(); }); }), same});
  to.push_back({"flat_map of a range", of_items([](scope&, ledger& l) {
                  return flat_map([&l](const item& i) {
                    l.check_call();
                    return std::vector<item>{i, i};
                  });
                }),
                twice_each});
  to.push_back({"flat_map of a source", of_items([](scope&, ledger& l) {
                  return flat_map([&l](const item& i) {
                    l.check_call();
                    return from(std::vector<item>{i, i});
                  });
                }),
                twice_each});
  to.push_back({"scan",
                [](scope&, item_source from, ledger& l) {
                  return results(std::move(from) |
                                 scan(0,
                                      [&l](const int& sum, const item& i) {
                                        l.check_call();
                                        return sum + i.value;
                                      }) |
                                 map([](int sum) { return ints{sum}; }));
                },
                running_sums});
  to.push_back({"distinct", of_items([](scope&, ledger& l) {
                  return distinct([&l](const item& i) {
                    l.check_call();
                    return i.value % 4;
                  });
                }),
                first_of_each_key});
  to.push_back({"take_while", of_items([](scope&, ledger& l) {
                  return take_while([&l](const item& i) {
                    l.check_call();
                    return i.value < 5;
                  });
                }),
                kept([](int i) { return i < 5; })});
  to.push_back({"drop_while", of_items([](scope&, ledger& l) {
                  return drop_while([&l](const item& i) {
                    l.check_call();
                    return i.value < 3;
                  });
                }),
                kept([](int i) { return i >= 3; })});
}

void add_coroutines(std::vector<operator_case>& to) {
  to.push_back({.name = "map by a coroutine",
                .make = of_items([](scope&, ledger& l) {
                  return map([&l](item i) -> task<item> {
                    co_await yield();
                    l.check_call();
                    co_return i;
                  });
                }),
                .model = same,
                .hands = true});
  to.push_back({"filter by a coroutine", of_items([](scope&, ledger& l) {
                  return filter([&l](const item& i) -> task<bool> {
                    co_await yield();
                    l.check_call();
                    co_return i.value % 2 == 0;
                  });
                }),
                kept([](int i) { return i % 2 == 0; })});
  to.push_back({"tap by a coroutine", of_items([](scope&, ledger& l) {
                  return tap([&l](const item&) -> task<> {
                    co_await yield();
                    l.check_call();
                  });
                }),
                same});
  to.push_back({.name = "flat_map by a coroutine",
                .make = of_items([](scope&, ledger& l) {
                  return flat_map([&l](item i) -> task<std::vector<item>> {
                    co_await yield();
                    l.check_call();
                    co_return std::vector<item>{i, i};
                  });
                }),
                .model = twice_each,
                .hands = true});
  to.push_back({"take_while by a coroutine", of_items([](scope&, ledger& l) {
                  return take_while([&l](const item& i) -> task<bool> {
                    co_await yield();
                    l.check_call();
                    co_return i.value < 5;
                  });
                }),
                kept([](int i) { return i < 5; })});
}

void add_without_functions(std::vector<operator_case>& to) {
  to.push_back({"take", of_items([](scope&, ledger&) { return take(4); }), up_to(4)});
  to.push_back({"take, then a coroutine", of_items([](scope&, ledger& l) {
                  return take(4) | filter([&l](const item&) -> task<bool> {
                           co_await yield();
                           l.check_call();
                           co_return true;
                         });
                }),
                up_to(4)});
  to.push_back({"drop", of_items([](scope&, ledger&) { return drop(3); }), from_on(3)});
  to.push_back(
      {.name = "batch",
       .make = [](scope&, item_source from, ledger&) { return results(std::move(from) | batch(3) | map(values_of)); },
       .model = same,
       .holds = 4});
  to.push_back({.name = "zip",
                .make =
                    [](scope&, item_source from, ledger&) {
                      auto count = [n = 0]() mutable -> task<std::optional<int>> {
                        co_await yield();
                        co_return ++n;
                      };
                      return results(
                          std::move(from) | zip(readable<int>(std::move(count), {.cancel_safe = true})) |
                          map([](const std::pair<item, int>& both) { return ints{both.first.value + both.second}; }));
                    },
                .model = sums_of_pairs});
  to.push_back({.name = "tee",
                .make =
                    [](scope&, item_source from, ledger&) {
                      auto branches = tee(std::move(from), 2);
                      return results(std::move(branches[0]) | zip(std::move(branches[1])) |
                                     map([](const std::pair<item, item>& both) { return ints{both.first.value}; }));
                    },
                .model = same,
                .sticky = true});
  to.push_back({.name = "readable",
                .make = [](scope&, item_source from,
                           ledger&) { return results(readable<item>(std::move(from)) | map(value_of)); },
                .model = same,
                .sticky = true});
  to.push_back({"retry",
                [](scope&, item_source from, ledger&) {
                  auto only = std::make_unique<item_source>(std::move(from));
                  auto once = [only = std::move(only)](const resume_point&) mutable {
                    auto taken = std::move(only);  // and nothing the second time
                    return taken ? std::move(*taken) : item_source(io::from(std::vector<item>{}));
                  };
                  return results(retry(std::move(once), {.attempts = 0}) | map(value_of));
                },
                same});
}

void add_timed(std::vector<operator_case>& to) {
  to.push_back({"throttle", of_items([](scope&, ledger&) { return throttle({.per_second = 1e9}); }), same});
  to.push_back({"idle_timeout", of_items([](scope&, ledger&) { return idle_timeout(1h); }), same});
  to.push_back({"measure", of_items([](scope&, ledger&) { return measure(meter()); }), same});
  to.push_back({"progress", of_items([](scope&, ledger&) { return progress(1h, [](const meter&) {}); }), same});
  to.push_back(
      {.name = "timed batch",
       .make = [](scope& s, item_source from,
                  ledger&) { return results(std::move(from) | batch(s, {.size = 3, .within = 1h}) | map(values_of)); },
       .model = same,
       .holds = 8,
       .drops = true,
       .sticky = true});
}

void add_with_children(std::vector<operator_case>& to) {
  to.push_back({.name = "ahead",
                .make = of_items([](scope& s, ledger&) { return ahead(s, {.high_water_mark = 3}); }),
                .model = same,
                .holds = 5,
                .drops = true,
                .sticky = true});
  to.push_back({.name = "merge",
                .make =
                    [](scope& s, item_source from, ledger&) {
                      std::vector<item_source> all;
                      all.push_back(std::move(from));
                      all.push_back(item_source(io::from(std::vector<item>{})));
                      return results(merge(s, std::move(all)) | map(value_of));
                    },
                .model = same,
                .holds = 5,
                .drops = true,
                .sticky = true});
  auto slowly = [](ledger& l) {
    return [&l](item i) -> task<item> {
      co_await yield();
      l.check_call();
      co_return i;
    };
  };
  to.push_back({.name = "concurrent map",
                .make = of_items([slowly](scope& s, ledger& l) { return map(s, slowly(l), {.concurrency = 3}); }),
                .model = same,
                .holds = 5,
                .drops = true,
                .sticky = true});
  to.push_back({.name = "concurrent map of one at a time, as they come",
                .make = of_items(
                    [slowly](scope& s, ledger& l) { return map(s, slowly(l), {.concurrency = 1, .ordered = false}); }),
                .model = same,
                .holds = 3,
                .drops = true,
                .sticky = true});
  to.push_back({.name = "concurrent filter",
                .make = of_items([](scope& s, ledger& l) {
                  return filter(s,
                                [&l](const item& i) -> task<bool> {
                                  co_await yield();
                                  l.check_call();
                                  co_return i.value % 2 == 0;
                                },
                                {.concurrency = 3});
                }),
                .model = kept([](int i) { return i % 2 == 0; }),
                .holds = 5,
                .drops = true,
                .sticky = true});
  to.push_back({.name = "concurrent flat_map",
                .make = of_items([](scope& s, ledger& l) {
                  return flat_map(s,
                                  [&l](const item& i) {
                                    l.check_call();
                                    return std::vector<item>{i, i};
                                  },
                                  {.concurrency = 3});
                }),
                .model = twice_each,
                .holds = 5,
                .drops = true,
                .sticky = true});
}

void add_bytes(std::vector<operator_case>& to) {
  to.push_back({"lines",
                [](scope&, item_source from, ledger&) {
                  return results(std::move(from) | map(bytes_of) | lines() | map(number_of));
                },
                same});
  to.push_back({"split",
                [](scope&, item_source from, ledger&) {
                  return results(std::move(from) | map(bytes_of) | split("\n") | map(number_in));
                },
                same});
  to.push_back({"rechunk",
                [](scope&, item_source from, ledger& l) {
                  return results(std::move(from) | map(bytes_of) | rechunk(l.large_items ? large / 2 + 1 : 2) |
                                 map(number_in));
                },
                same});
  to.push_back({"text",
                [](scope&, item_source from, ledger&) {
                  return results(std::move(from) | map(bytes_of) | text() | map(number_of));
                },
                same});
}

}  // namespace

const std::vector<operator_case>& operator_cases() {
  static const auto all = [] {
    std::vector<operator_case> table;
    add_plain_functions(table);
    add_coroutines(table);
    add_without_functions(table);
    add_timed(table);
    add_with_children(table);
    add_bytes(table);
    return table;
  }();
  return all;
}

namespace {

class OperatorsOnWorkers : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, OperatorsOnWorkers, ::testing::Values(1U, 3U));

task<void> give_all_in_order(const operator_case& each, ledger& l, reading_report& got) {
  co_await with_scope([&](scope& s) -> task<void> {
    auto from = each.make(s, item_source(counting_source(l)), l);
    co_await read_all(from, got);
  });
}

TEST_P(OperatorsOnWorkers, give_all_in_order_and_release_it) {
  for (auto& each : operator_cases()) {
    for (bool yields : {true, false}) {
      ledger l;
      l.yields = yields;
      reading_report got;
      run_with(GetParam(), with_scope([&](scope& s) -> task<void> {
                 co_await s.spawn(give_all_in_order, std::cref(each), std::ref(l), std::ref(got));
               }));
      EXPECT_EQ(got.values, each.model(numbers_to(l.last))) << each.name;
      EXPECT_TRUE(got.failures.empty()) << each.name;
      EXPECT_EQ(l.items, 0) << each.name;
      EXPECT_EQ(l.sources, 0) << each.name;
    }
  }
}

}  // namespace
}  // namespace weir::testing
