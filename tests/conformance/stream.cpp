// tests/conformance/stream.cpp: pipelines of a source, transforms and a sink that fail, hang and are cut off.
#include "tests/conformance/driver.hpp"

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/event.hpp>
#include <weir/io/ahead.hpp>
#include <weir/io/pipeline.hpp>
#include <weir/io/stream.hpp>

#include <algorithm>
#include <cctype>
#include <stdexcept>

namespace weir::conformance {
namespace {

std::runtime_error named_failure(const json& stage, const char* what) {
  return std::runtime_error(stage.at("name").get<std::string>() + " " + what);
}

bool fails_at(const json& stage, std::size_t index) {
  const auto& at = option(stage, "failAt");
  return at.is_number() && at.get<std::size_t>() == index;
}

/// How an operation of a stage completes. Once begun nobody calls it back, as in Node.
task<> in_mode(const json& stage) {
  const auto& mode = option(stage, "mode");
  if (mode == "tick") co_await shield(next_tick());
  if (mode == "immediate") co_await shield(immediate());
}

io::stream_options<buffer> marks_of(const json& stage) {
  return {.high_water_mark = option(stage, "highWaterMark").get<std::size_t>()};
}

struct script_source {
  const json& spec;
  std::size_t index = 0;

  task<std::optional<buffer>> next() {
    co_await in_mode(spec);
    if (fails_at(spec, index)) throw named_failure(spec, "failed");
    const auto& chunks = spec.at("chunks");
    if (index < chunks.size()) co_return buffer::from(chunks[index++].get<std::string>(), encoding::latin1);
    if (is_set(spec, "hang")) co_await event().wait();
    co_return std::nullopt;
  }
};

struct script_sink {
  const json& spec;
  std::string& arrived;
  std::size_t index = 0;

  task<> write(buffer chunk) {
    co_await in_mode(spec);
    if (fails_at(spec, index++)) throw named_failure(spec, "failed");
    arrived += chunk.to_string(encoding::latin1);
  }
  task<> end() {
    co_await in_mode(spec);
    if (is_set(spec, "failFinal")) throw named_failure(spec, "final");
  }
};

io::transform<buffer> make_transform(const json& spec) {
  auto each = [&spec, index = std::size_t{0}](buffer chunk, io::output<buffer>& out) mutable -> task<> {
    co_await in_mode(spec);
    if (fails_at(spec, index++)) throw named_failure(spec, "failed");
    const auto& how = option(spec, "fn");
    if (how == "drop") co_return;
    std::string text(chunk.text());
    if (how == "upper") std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::toupper(c); });
    if (how == "double") text += text;
    co_await out.push(buffer::adopt(std::move(text)));
  };
  auto flush = [&spec](io::output<buffer>& out) -> task<> {
    co_await in_mode(spec);
    if (is_set(spec, "failFlush")) throw named_failure(spec, "flush");
    if (const auto& tail = option(spec, "tail"); tail.is_string()) {
      co_await out.push(buffer::from(tail.get<std::string>(), encoding::latin1));
    }
  };
  return io::transform<buffer>(each, flush, {.input = marks_of(spec), .output = marks_of(spec)});
}

class pipeline_script {
 public:
  explicit pipeline_script(const json& spec) : spec_(spec) {
    if (spec.size() > 6) throw unsupported_arguments();
    source_ = io::readable<buffer>(script_source{spec.front()}, marks_of(spec.front()));
    for (std::size_t i = 1; i + 1 < spec.size(); ++i) transforms_.push_back(make_transform(spec[i]));
    sink_ = io::writable<buffer>(script_sink{spec.back(), arrived_}, marks_of(spec.back()));
  }

  task<json> run(const json& how) {
    abort_controller cutter;
    std::exception_ptr failed;
    co_await with_scope([&](scope& s) -> task<> {
      source_.read_ahead(s);
      s.spawn_local([](pipeline_script& self, const json& given,
                       abort_controller& by) -> task<> { co_await self.interfere(given, by); },
                    std::ref(*this), std::cref(how), std::ref(cutter));
      auto outcome = co_await attempt(start(s, {.signal = cutter.signal()}));
      if (!outcome) failed = outcome.failure().exception();
      s.cancel();
    });
    co_return report(failed);
  }

 private:
  /// What Node queues in front of a stage that is busy.
  auto room(scope& within, std::size_t stage) {
    return io::ahead(within, {.high_water_mark = marks_of(spec_[stage]).high_water_mark});
  }

  task<> start(scope& s, const io::pipeline_options& options) {
    auto& t = transforms_;
    const auto from = [&](auto&&... more) {
      return io::pipeline(options, source_, room(s, 1), std::forward<decltype(more)>(more)...);
    };
    switch (t.size()) {
      case 0: return from(sink_);
      case 1: return from(t[0], room(s, 2), sink_);
      case 2: return from(t[0], room(s, 2), t[1], room(s, 3), sink_);
      case 3: return from(t[0], room(s, 2), t[1], room(s, 3), t[2], room(s, 4), sink_);
      default: return from(t[0], room(s, 2), t[1], room(s, 3), t[2], room(s, 4), t[3], room(s, 5), sink_);
    }
  }

  task<> interfere(const json& how, abort_controller& cutter) {
    const auto& cut = option(how, "abortAfterTurns");
    const auto& destroy = option(how, "destroyIndex");
    if (cut.is_null() && destroy.is_null()) co_return;
    const auto& turns = cut.is_null() ? option(how, "afterTurns") : cut;
    for (auto left = turns.is_number() ? turns.get<int>() : 0; left > 0; --left) co_await immediate();
    if (!cut.is_null()) {
      cutter.abort();
      co_return;
    }
    std::exception_ptr why;
    const auto& message = option(how, "destroyError");
    if (message.is_string()) why = std::make_exception_ptr(std::runtime_error(message.get<std::string>()));
    destroy_stage(destroy.get<std::size_t>(), why);
  }

  void destroy_stage(std::size_t index, const std::exception_ptr& why) {
    if (index == 0) return source_.destroy(why);
    if (index > transforms_.size()) return sink_.destroy(why);
    transforms_[index - 1].destroy(why);
  }

  json report(const std::exception_ptr& failed) const {
    json destroyed = json::array(), events = json::array();
    auto tell = [&](std::size_t stage, const std::string& what) {
      events.push_back(spec_[stage].at("name").get<std::string>() + " " + what);
    };
    auto told_of = [&](std::size_t stage, bool ended, bool finished, bool closed, const std::exception_ptr& why) {
      if (ended) tell(stage, "end");
      if (finished) tell(stage, "finish");
      if (closed) tell(stage, "close");
      if (why) tell(stage, "error " + code_of(why));
      destroyed.push_back(closed);
    };
    told_of(0, source_.ended(), false, source_.closed(), source_.errored());
    for (std::size_t i = 0; i < transforms_.size(); ++i) {
      const auto& from = transforms_[i].readable_side();
      const auto& into = transforms_[i].writable_side();
      told_of(i + 1, from.ended(), into.finished(), transforms_[i].closed(),
              into.errored() ? into.errored() : from.errored());
    }
    told_of(spec_.size() - 1, false, sink_.finished(), sink_.closed(), sink_.errored());
    std::sort(events.begin(), events.end());
    return {{"result", failed ? json(code_of(failed)) : json()},
            {"sink", arrived_},
            {"destroyed", destroyed},
            {"events", events}};
  }

  const json& spec_;
  std::string arrived_;
  io::readable<buffer> source_;
  std::vector<io::transform<buffer>> transforms_;
  io::writable<buffer> sink_;
};

task<json> run_pipeline(arguments given) {
  pipeline_script script(given[0]);
  co_return co_await script.run(given[1]);
}

}  // namespace

void add_stream(operations& all) { all.add_async("stream.pipeline", run_pipeline); }

}  // namespace weir::conformance
