// tests/fuzz/readable_fuzz.cpp: a random program of reads, peeks, unshifts, pauses, cancelled reads and a destroy,
// beside a random producer that pushes or is pulled from, against a model: the reader gets what went in, in order and
// once, up to the one end that the stream comes to, which is told of once, and nothing is left running.
#include <weir/core/loop.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/stream.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/virtual_backend.hpp>

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace weir;
using namespace weir::fuzzing;
using io::readable;
using io::readable_queue;

constexpr std::size_t most_steps = 200;

/// What both sides know.
struct model {
  std::string sent;      // all that the stream has accepted or been asked for
  std::size_t read = 0;  // of that
  std::string front;     // put back, and to be read first
  bool end_sent = false;
  bool failed = false;     // the producer has failed
  bool destroyed = false;  // the reader has destroyed it, or a cancelled pull has
  bool closed_once = false;
  bool over = false;  // the reader is done
  char next = 'a';

  std::string produce(std::size_t size) {
    std::string made(size, '\0');
    for (auto& each : made) {
      each = next;
      next = next == 'z' ? 'a' : static_cast<char>(next + 1);
    }
    return made;
  }
  void took(std::string_view bytes) {
    const std::size_t again = std::min(front.size(), bytes.size());
    require(bytes.substr(0, again) == front.substr(0, again));
    front.erase(0, again);
    bytes.remove_prefix(again);
    require(sent.compare(read, bytes.size(), bytes) == 0 && read + bytes.size() <= sent.size());
    read += bytes.size();
  }
  void looked_at(std::string_view bytes) const {
    const auto all = front + sent.substr(read);
    require(all.compare(0, bytes.size(), bytes) == 0);
  }
  bool drained() const { return front.empty() && read == sent.size(); }
};

task<void> pause_for(unsigned times) {
  while (times-- > 0) co_await yield();
}

// --- what is pushed into ---

task<void> push_one(readable_queue<buffer>* to, buffer* chunk) { co_await to->push_from(*chunk); }

/// Pushes with a chance of being cancelled: then the chunk is the pusher's still.
task<void> push_or_give_up(readable_queue<buffer>& to, buffer chunk, model& m, unsigned patience) {
  const std::string bytes(chunk.text());
  bool taken = false;
  co_await with_scope([&](scope& s) -> task<void> {
    auto handle = s.spawn_local(push_one, &to, &chunk);
    for (unsigned i = 0; i < patience && !handle.done(); ++i) co_await yield();
    handle.cancel();
    taken = (co_await attempt(std::move(handle))).has_value();
  });
  require(taken ? chunk.empty() : chunk.text() == bytes);
  if (!taken) m.sent.resize(m.sent.size() - bytes.size());
  if (!taken) m.next = bytes.front();
}

task<void> push_all(readable_queue<buffer> to, choices* in, model* m) {
  for (std::size_t i = 0; i < most_steps && !to.closed() && !in->empty(); ++i) {
    const auto what = in->below(10);
    const auto before = m->sent.size();
    if (what == 0) co_await pause_for(in->below(4));
    if (what == 1 && in->one_in(4)) break;
    if (what == 2 && in->one_in(8)) {
      m->failed = true;
      to.fail(std::make_exception_ptr(std::runtime_error("producer")));
      co_return;
    }
    if (what < 3) continue;
    auto chunk = buffer::from(m->produce(1 + in->below(40)));
    m->sent += chunk.text();  // before it is taken: the reader may have it before the pusher goes on
    try {
      if (what == 3) {
        to.push_nowait(std::move(chunk));
      } else if (what == 4) {
        if (to.try_push(chunk)) continue;
        m->sent.resize(before);
        m->next = chunk.text().front();
      } else if (what == 5) {
        co_await push_or_give_up(to, std::move(chunk), *m, in->below(4));
      } else {
        co_await to.push(std::move(chunk));
      }
    } catch (const error&) {
      require(m->destroyed || to.closed());
      m->sent.resize(std::max(before, m->read));
      co_return;
    }
  }
  m->end_sent = true;
  to.end();
  try {
    to.push_nowait(buffer::from("late"));
    require(false);
  } catch (const error& refused) {
    require(to.closed() || refused.code() == errc::err_stream_push_after_eof);
  }
}

// --- what is pulled from ---

class chopper {
 public:
  static constexpr bool cancel_safe = true;

  chopper(choices* in, model* m) : in_(in), model_(m) {}

  task<std::optional<buffer>> next() {
    require(!std::exchange(busy_, true));  // one pull at a time
    const leave at_end{busy_};
    require(!model_->end_sent && !model_->failed);
    co_await pause_for(in_->below(3));
    if (in_->empty() || in_->one_in(40)) {
      model_->end_sent = true;
      co_return std::nullopt;
    }
    if (in_->one_in(60)) {
      model_->failed = true;
      throw std::runtime_error("producer");
    }
    auto chunk = buffer::from(model_->produce(1 + in_->below(40)));
    model_->sent += chunk.text();
    co_return chunk;
  }

 private:
  struct leave {
    bool& busy;
    ~leave() { busy = false; }
  };
  choices* in_;
  model* model_;
  bool busy_ = false;
};

// --- the reader ---

task<std::optional<buffer>> read_one(readable<buffer>* from, std::size_t exactly) {
  if (exactly != 0) co_return co_await from->read(exactly);
  co_return co_await from->next();
}

task<void> cancelled_read(readable<buffer>& from, choices& in, model& m) {
  const std::size_t size = in.below(30);
  const unsigned patience = in.below(5);
  std::optional<result<std::optional<buffer>>> outcome;
  co_await with_scope([&](scope& s) -> task<void> {
    auto handle = s.spawn_local(read_one, &from, size);
    for (unsigned i = 0; i < patience && !handle.done(); ++i) co_await yield();
    handle.cancel();
    outcome.emplace(co_await attempt(std::move(handle)));
    if (!*outcome && !outcome->failure().is_cancelled()) s.cancel();
  });
  if (*outcome) {
    if (**outcome) m.took((**outcome)->text());
    if (!**outcome) require(m.end_sent && m.drained());
  }
}

task<void> read_exactly(readable<buffer>& from, std::size_t size, model& m) {
  auto got = co_await from.read(size);
  if (!got) require(m.end_sent && m.drained());
  if (!got) co_return;
  require(got->size() == size || (m.end_sent && got->size() < size && !got->empty()));
  m.took(got->text());
}

task<void> one_step(readable<buffer>& from, choices& in, model& m) {
  switch (in.below(12)) {
    case 0: {
      auto seen = co_await from.peek(1 + in.below(20));
      if (seen) m.looked_at(seen->text());
      break;
    }
    case 1: {
      const buffer* seen = co_await from.peek();
      if (seen != nullptr) m.looked_at(seen->text());
      break;
    }
    case 2: {
      const auto back = std::string(1 + in.below(8), '#');
      from.unshift(buffer::from(back));
      m.front.insert(0, back);
      break;
    }
    case 3:
      from.pause();
      co_await pause_for(in.below(3));
      from.resume();
      break;
    case 4: co_await cancelled_read(from, in, m); break;
    case 5: co_await pause_for(in.below(4)); break;
    case 6:
      if (!in.one_in(16)) break;
      m.destroyed = true;
      from.destroy();
      require(from.closed());
      break;
    case 7:
    case 8: co_await read_exactly(from, 1 + in.below(50), m); break;
    default: {
      auto got = co_await from.next();
      if (!got) require(m.end_sent && m.drained() && from.ended());
      if (got) require(!got->empty());
      if (got) m.took(got->text());
    }
  }
}

task<void> read_all(readable<buffer> from, choices* in, model* m) {
  for (std::size_t i = 0; i < most_steps && !m->over; ++i) {
    const bool ended = from.ended();
    try {
      co_await one_step(from, *in, *m);
      if (from.ended()) m->over = ended;  // looks once more at what has ended
    } catch (const std::runtime_error& why) {
      if (dynamic_cast<const error*>(&why) == nullptr) require(m->failed);
      if (const auto* code = dynamic_cast<const error*>(&why)) {
        const bool late = code->code() == errc::err_stream_unshift_after_end_event;
        require(late ? from.ended() : m->destroyed || m->failed);
      }
      m->over = true;
    }
  }
  while (!m->over) {  // to the end
    auto got = co_await attempt(from.next());
    if (!got) require(m->failed || m->destroyed);
    m->over = !got || !*got;
    if (got && *got) m->took((*got)->text());
    if (got && !*got) require(m->end_sent && m->drained());
  }
  require(from.closed());
}

task<void> main_task(const std::uint8_t* data, std::size_t size, model* m) {
  const auto alive = metrics().alive;
  choices in(data, size);
  io::stream_options<buffer> options;
  if (const auto mark = in.below(5); mark != 4) options.high_water_mark = std::size_t{mark} * 13;
  options.on_close = [m](const std::exception_ptr&) { require(!std::exchange(m->closed_once, true)); };
  const auto how = in.below(3);
  const std::size_t half = size / 2;
  choices reads(data + half, size - half);
  choices writes(data + std::min<std::size_t>(size, 3), half > 3 ? half - 3 : 0);
  auto ended = co_await attempt(with_scope([&](scope& s) -> task<void> {
    if (how == 0) {
      auto both = io::make_pushed_readable<buffer>(std::move(options));
      static_cast<void>(s.spawn_local(push_all, std::move(both.queue), &writes, m));
      co_await read_all(std::move(both.stream), &reads, m);
    } else {
      readable<buffer> stream(chopper(&writes, m), std::move(options));
      if (how == 2) stream.read_ahead(s);
      co_await read_all(std::move(stream), &reads, m);
    }
  }));
  if (!ended) ended.failure().rethrow();
  require(metrics().alive == alive);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 2048) return 0;
  model m;
  testing::run_virtually(main_task(data, size, &m));
  require(m.closed_once && m.over);
  return 0;
}
