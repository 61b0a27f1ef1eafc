// tests/fuzz/pipeline_fuzz.cpp: pipelines of a source, a mapping, a transform, a generator, a queue and a sink, each of
// which waits, drops, repeats or fails at random; sources merged; a source shared by a tee. Against a model: what comes
// out is what should, or a beginning of it if something has failed; the outcome is one of the failures that were
// caused, or success if there was none; each stream closes once, every item and stage goes, and nothing is left
// running.
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/merge.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/stream.hpp>
#include <weir/io/tee.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/concurrency.hpp>
#include <tests/support/virtual_backend.hpp>

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

using namespace weir;
using namespace weir::fuzzing;

struct item {
  unsigned number = 0;
  testing::counted alive = {};
};

struct planned_failure : std::runtime_error {
  using runtime_error::runtime_error;
};

/// How one stage goes about its work.
struct manner {
  unsigned pauses = 0;    // yields for each item
  unsigned drops = 0;     // every so manieth is dropped; 0: none
  unsigned repeats = 0;   // every so manieth comes twice; 0: none
  unsigned fails_at = 0;  // the number of the call; 0: never
  unsigned calls = 0;
  bool failed = false;
  testing::counted alive = {};

  static manner chosen(choices& in) {
    manner made;
    made.pauses = in.below(3);
    if (in.one_in(4)) made.drops = 2 + in.below(5);
    if (in.one_in(4)) made.repeats = 2 + in.below(5);
    if (in.one_in(6)) made.fails_at = 1 + in.below(30);
    return made;
  }
  bool keeps(unsigned number) const { return drops == 0 || number % drops != 0; }
  unsigned copies(unsigned number) const { return repeats != 0 && number % repeats == 0 ? 2 : 1; }

  task<void> work() {
    for (unsigned i = 0; i < pauses; ++i) co_await yield();
    if (++calls != fails_at) co_return;
    failed = true;
    throw planned_failure("as planned");
  }
};

struct model {
  std::vector<unsigned> out;
  unsigned sinks_ended = 0;
  unsigned sinks_destroyed = 0;
  int closed = 0;
};

/// 1 to `count`.
class numbers {
 public:
  static constexpr bool cancel_safe = true;

  numbers(unsigned count, manner* how) : count_(count), how_(how) {}
  task<std::optional<item>> next() {
    co_await how_->work();
    if (given_ == count_) co_return std::nullopt;
    co_return item{++given_};
  }

 private:
  unsigned count_;
  unsigned given_ = 0;
  manner* how_;
  testing::counted alive_ = {};
};

class collector {
 public:
  collector(model* m, manner* how) : model_(m), how_(how) {}
  task<void> write(item one) {
    require(model_->sinks_ended + model_->sinks_destroyed == 0);
    co_await how_->work();
    model_->out.push_back(one.number);
  }
  task<void> end() {
    ++model_->sinks_ended;
    return how_->work();
  }
  void destroy(const std::exception_ptr&) noexcept { ++model_->sinks_destroyed; }

 private:
  model* model_;
  manner* how_;
  testing::counted alive_ = {};
};

struct stages {
  manner source, mapping, transform, generator, sink;
  unsigned count = 0;
  std::size_t marks[3] = {};
  bool early = false;  // the generator stops by itself

  explicit stages(choices& in)
      : source(manner::chosen(in)),
        mapping(manner::chosen(in)),
        transform(manner::chosen(in)),
        generator(manner::chosen(in)),
        sink(manner::chosen(in)),
        count(in.below(60)) {
    for (auto& each : marks) each = in.below(5);
    early = in.one_in(8);
    source.drops = source.repeats = mapping.repeats = sink.drops = sink.repeats = 0;
  }
  bool any_failed() const {
    return source.failed || mapping.failed || transform.failed || generator.failed || sink.failed;
  }
  std::vector<unsigned> expected() const {
    std::vector<unsigned> all;
    for (unsigned n = 1; n <= count; ++n) {
      if (!mapping.keeps(n) || !transform.keeps(n) || !generator.keeps(n)) continue;
      const unsigned times = transform.copies(n) * generator.copies(n);
      for (unsigned i = 0; i < times; ++i) all.push_back(n);
    }
    return all;
  }
};

io::stream_options<item> counting(model* m, std::size_t mark) {
  ++m->closed;
  return {.high_water_mark = mark, .on_close = [m](const std::exception_ptr&) { --m->closed; }};
}

generator<item> picked(io::readable<item> from, manner* how, bool early) {
  unsigned seen = 0;
  while (auto one = co_await from.next()) {
    co_await how->work();
    if (early && ++seen == 10) co_return;
    for (auto times = how->keeps(one->number) ? how->copies(one->number) : 0; times > 0; --times) co_yield item{*one};
  }
}

task<void> whole_pipeline(stages* all, model* m) {
  auto mapping = [how = &all->mapping](item one) -> task<std::optional<item>> {
    co_await how->work();
    if (!how->keeps(one.number)) co_return std::nullopt;
    co_return one;
  };
  io::transform<item> transform(
      [how = &all->transform](item one, io::output<item>& to) -> task<void> {
        co_await how->work();
        if (!how->keeps(one.number)) co_return;
        for (auto times = how->copies(one.number); times > 0; --times) co_await to.push(item{one});
      },
      {.input = counting(m, all->marks[0]), .output = counting(m, all->marks[1])});
  auto generate = [how = &all->generator, early = all->early](io::readable<item> from) {
    return picked(std::move(from), how, early);
  };
  io::writable<item> sink(collector(m, &all->sink), counting(m, 4));
  co_await io::pipeline(numbers(all->count, &all->source), std::move(mapping), std::move(transform),
                        std::move(generate), io::pass_through<item>(counting(m, all->marks[2])), std::move(sink));
}

void check_pipeline(const stages& all, const model& m, const result<void>& outcome, bool cancelled) {
  const auto expected = all.expected();
  require(m.out.size() <= expected.size() && std::equal(m.out.begin(), m.out.end(), expected.begin()));
  require(m.sinks_destroyed == 1 && m.sinks_ended <= 1 && m.closed == 0);
  if (outcome) {
    require(m.sinks_ended == 1);
    if (!all.early) require(!all.any_failed() && m.out == expected);
  } else if (outcome.failure().is_cancelled()) {
    require(cancelled);
  } else {
    require(all.any_failed());
  }
}

task<void> try_pipeline(choices* in, model* m) {
  stages all(*in);
  const unsigned patience = in->one_in(4) ? in->below(100) : ~0U;
  std::optional<result<void>> outcome;
  co_await with_scope([&](scope& s) -> task<void> {
    auto handle = s.spawn_local(
        [](stages* a, model* b, std::optional<result<void>>* o) -> task<void> {
          o->emplace(co_await attempt(whole_pipeline(a, b)));
        },
        &all, m, &outcome);
    for (unsigned i = 0; i < patience && !handle.done(); ++i) co_await yield();
    handle.cancel();
  });
  if (outcome) check_pipeline(all, *m, *outcome, patience != ~0U);
  if (!outcome) require(patience == 0);
}

// --- several sources as one ---

task<void> try_merge(choices* in, model* m) {
  std::vector<manner> manners;
  manners.reserve(4);
  std::vector<unsigned> counts;
  for (auto left = in->below(4); left > 0; --left) {
    manners.push_back(manner::chosen(*in));
    counts.push_back(in->below(20));
  }
  const unsigned most = in->one_in(4) ? in->below(30) : ~0U;  // then the reader has had enough
  bool whole = false;
  std::vector<unsigned> next(manners.size(), 0);
  auto outcome = co_await attempt(with_scope([&](scope& s) -> task<void> {
    std::vector<numbers> sources;
    for (std::size_t i = 0; i < manners.size(); ++i) sources.emplace_back(counts[i], &manners[i]);
    auto all = io::merge(s, std::move(sources));
    while (m->out.size() < most) {
      auto one = co_await all.next();
      whole = !one;
      if (!one) break;
      m->out.push_back(one->number);
    }
  }));
  std::size_t sum = 0;
  for (auto each : counts) sum += each;
  const bool failed = std::ranges::any_of(manners, [](const manner& each) { return each.failed; });
  require(m->out.size() <= sum);
  if (whole) require(outcome.has_value() && m->out.size() == sum && !failed);
  if (!outcome) require(failed);
  for (unsigned n = 1; n <= 20; ++n) {  // each source gives its n-th number after those before it
    const auto given = static_cast<std::size_t>(std::ranges::count(m->out, n));
    const auto have = static_cast<std::size_t>(std::ranges::count_if(counts, [n](unsigned c) { return c >= n; }));
    require(given <= have);
  }
}

// --- one source for several ---

struct reader {
  std::vector<unsigned> got;
  unsigned most = ~0U;
  unsigned pauses = 0;
  bool ended = false;
  bool failed = false;
  io::branch_options options = {};
};

template <class B>
task<void> read_branch(B branch, reader* mine) {
  while (mine->got.size() < mine->most) {
    for (unsigned i = 0; i < mine->pauses; ++i) co_await yield();
    auto one = co_await attempt(branch.next());
    mine->failed = !one;
    mine->ended = one && !*one;
    if (mine->failed || mine->ended) co_return;
    mine->got.push_back((*one)->number);
  }
}

void check_branch(const reader& mine, unsigned count, const manner& source, bool together) {
  require(std::ranges::is_sorted(mine.got) && std::ranges::adjacent_find(mine.got) == mine.got.end());
  const bool overtaken = mine.options.when_slow == io::slow_branch::fail;
  if (mine.failed) require(source.failed || overtaken || together);
  if (mine.options.when_slow != io::slow_branch::drop) {
    require(mine.got.empty() || mine.got.back() == mine.got.size());  // nothing is missing in between
    if (mine.ended) require(mine.got.size() == count && !source.failed);
  } else if (mine.ended) {
    require(mine.got.size() + mine.options.dropped.value() == count);
  }
}

task<void> try_tee(choices* in, model*) {
  auto source = manner::chosen(*in);
  const unsigned count = in->below(40);
  std::vector<reader> readers(1 + in->below(3));
  std::vector<io::branch_options> options;
  for (auto& each : readers) {
    each.options = {.when_slow = static_cast<io::slow_branch>(in->below(3)), .high_water_mark = in->below(4)};
    each.options.dropped = io::drop_count();
    each.pauses = in->below(6);
    if (in->one_in(4)) each.most = in->below(20);
    options.push_back(each.options);
  }
  const bool together = in->one_in(4);
  co_await with_scope([&](scope& s) -> task<void> {
    auto branches = io::tee(numbers(count, &source), std::move(options), {.together = together});
    for (std::size_t i = 0; i < readers.size(); ++i) {
      static_cast<void>(
          s.spawn_local(read_branch<std::decay_t<decltype(branches[0])>>, std::move(branches[i]), &readers[i]));
    }
    co_return;
  });
  for (const auto& each : readers) check_branch(each, count, source, together);
}

task<void> main_task(choices in, model* m) {
  const auto alive = metrics().alive;
  switch (in.below(4)) {
    case 0: co_await try_merge(&in, m); break;
    case 1: co_await try_tee(&in, m); break;
    default: co_await try_pipeline(&in, m);
  }
  require(metrics().alive == alive);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 256) return 0;
  model m;
  testing::run_virtually(main_task(choices(data, size), &m));
  require(testing::counted::alive() == 0);
  return 0;
}
