// tests/fuzz/writable_fuzz.cpp: several tasks write, cork, flush, give up, end and destroy one stream at random, into a
// sink that takes its time and may fail. Against a model: a chunk reaches the sink once, in the order of its writer,
// all of them if the end says so, and none that its writer still has; the sink is ended and released once, the stream
// closes once, and nothing is left running.
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/stream.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/concurrency.hpp>
#include <tests/support/virtual_backend.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

using namespace weir;
using namespace weir::fuzzing;
using io::writable;

constexpr unsigned most_writers = 3;

struct item {
  unsigned writer = 0;
  unsigned number = 0;  // 0: it has been moved away
  testing::counted alive = {};

  item(unsigned who, unsigned which) : writer(who), number(which) {}
  item(item&& other) noexcept : writer(other.writer), number(std::exchange(other.number, 0)) {}
  item& operator=(item&& other) noexcept {
    writer = other.writer;
    number = std::exchange(other.number, 0);
    return *this;
  }
};

struct model {
  std::array<std::vector<unsigned>, most_writers> arrived;
  std::array<std::vector<unsigned>, most_writers> accepted;  // whose write has said so, or was queued
  std::array<std::vector<unsigned>, most_writers> kept;      // given back to the writer
  bool sink_failed = false;
  bool destroyed = false;
  bool may_be_cut = false;  // somebody was cancelled while the sink may have been at work for him
  unsigned ends = 0;
  unsigned sinks_destroyed = 0;
  bool finished = false;
  bool closed_once = false;
};

/// Takes several at once, or one by one where `Batches` is false.
template <bool Batches>
class slow_sink {
 public:
  static constexpr bool cancel_safe = false;

  slow_sink(choices* in, model* m) : in_(in), model_(m) {}

  task<void> write(item chunk) {
    co_await work();
    take(chunk);
  }
  task<void> write_batch(std::span<item> chunks)
    requires Batches
  {
    require(!chunks.empty());
    co_await work();
    for (auto& each : chunks) take(each);
  }
  task<void> end() {
    co_await work();
    ++model_->ends;
  }
  void destroy(const std::exception_ptr&) noexcept { ++model_->sinks_destroyed; }

 private:
  struct leave {
    bool& busy;
    ~leave() { busy = false; }
  };

  task<void> work() {
    require(!std::exchange(busy_, true));
    const leave at_end{busy_};
    for (auto times = in_->below(3); times > 0; --times) co_await yield();
    if (!in_->one_in(64)) co_return;
    model_->sink_failed = true;
    throw std::runtime_error("sink");
  }
  void take(const item& chunk) {
    auto& before = model_->arrived[chunk.writer];
    require(chunk.number != 0 && (before.empty() || before.back() < chunk.number));
    before.push_back(chunk.number);
  }

  choices* in_;
  model* model_;
  bool busy_ = false;
  testing::counted alive_;
};

task<void> write_it(writable<item>* to, item* chunk) { co_await to->write_from(*chunk); }
task<void> end_it(writable<item>* to) { co_await to->end(); }

/// @return whether it went through
template <class F, class... A>
task<bool> or_cancel(model& m, unsigned patience, F function, A... arguments) {
  bool done = false;
  co_await with_scope([&](scope& s) -> task<void> {
    auto handle = s.spawn_local(function, arguments...);
    for (unsigned i = 0; i < patience && !handle.done(); ++i) co_await yield();
    // If the sink has begun on a chunk of anybody, that cannot be taken back, and the stream is destroyed.
    m.may_be_cut = m.may_be_cut || !handle.done();
    handle.cancel();
    done = (co_await attempt(std::move(handle))).has_value();
  });
  co_return done;
}

task<void> one_step(writable<item>& to, unsigned me, unsigned& number, choices& in, model& m) {
  switch (in.below(12)) {
    case 0:
      to.write_nowait(item(me, ++number));
      m.accepted[me].push_back(number);
      break;
    case 1: co_await to.drain(); break;
    case 2: co_await to.flush(); break;
    case 3: to.cork(); break;
    case 4: to.uncork(); break;
    case 5:
      for (auto times = in.below(5); times > 0; --times) co_await yield();
      break;
    case 6: {
      item chunk(me, ++number);
      if (co_await or_cancel(m, in.below(4), write_it, &to, &chunk)) {
        m.accepted[me].push_back(number);
      } else if (chunk.number != 0) {
        m.kept[me].push_back(number);
      }
      break;
    }
    case 7:
      if (!in.one_in(12)) break;
      co_await to.end();
      m.finished = true;
      break;
    case 8:
      if (!in.one_in(20)) break;
      m.destroyed = true;
      to.destroy();
      require(to.closed() && to.destroyed() != to.finished());
      break;
    case 9:
      if (!in.one_in(12)) break;
      if (co_await or_cancel(m, in.below(4), end_it, &to)) m.finished = true;
      break;
    default: co_await to.write(item(me, ++number)); m.accepted[me].push_back(number);
  }
}

task<void> write_some(writable<item>* to, unsigned me, choices in, model* m) {
  unsigned number = 0;
  for (int i = 0; i < 100 && !in.empty(); ++i) {
    auto step = co_await attempt(one_step(*to, me, number, in, *m));
    if (step) continue;
    const auto& why = step.failure();
    const bool known =
        why.is("ERR_STREAM_WRITE_AFTER_END") || why.is("ERR_STREAM_DESTROYED") || m->sink_failed || m->may_be_cut;
    if (!known) why.rethrow();
    if (to->closed()) co_return;
  }
}

bool holds(const std::vector<unsigned>& all, unsigned number) {
  return std::binary_search(all.begin(), all.end(), number);
}

void check(const model& m) {
  require(m.closed_once && m.ends <= 1 && testing::counted::alive() == 0);
  for (unsigned who = 0; who < most_writers; ++who) {
    for (auto number : m.kept[who]) require(!holds(m.arrived[who], number));
    if (!m.finished) continue;
    for (auto number : m.accepted[who]) require(holds(m.arrived[who], number));
  }
  if (m.finished) require(m.ends == 1 && !m.sink_failed);
  if (!m.finished && !m.destroyed && !m.sink_failed && !m.may_be_cut) require(false);
}

template <bool Batches>
task<void> main_task(const std::uint8_t* data, std::size_t size, model* m) {
  const auto alive = metrics().alive;
  choices in(data, size);
  io::stream_options<item> options;
  options.high_water_mark = in.below(6);
  options.on_close = [m](const std::exception_ptr&) { require(!std::exchange(m->closed_once, true)); };
  const unsigned writers = 1 + in.below(most_writers);
  const std::size_t part = size / (writers + 1);
  choices speed(data + writers * part, part);
  writable<item> stream(slow_sink<Batches>(&speed, m), std::move(options));
  co_await with_scope([&](scope& s) -> task<void> {
    for (unsigned i = 0; i < writers; ++i) {
      static_cast<void>(s.spawn_local(write_some, &stream, i, choices(data + i * part, part), m));
    }
    co_return;
  });
  while (stream.corked() > 0) stream.uncork();
  auto ended = co_await attempt(stream.end());
  if (ended) m->finished = true;
  if (ended) require(stream.finished() && stream.length() == 0);
  if (!ended) require(stream.destroyed() && (m->sink_failed || m->destroyed || m->may_be_cut));
  require(metrics().alive == alive);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4 || size > 1024) return 0;
  model m;
  if (data[size - 1] % 2 == 0) {
    testing::run_virtually(main_task<true>(data, size, &m));
  } else {
    testing::run_virtually(main_task<false>(data, size, &m));
  }
  check(m);
  return 0;
}
