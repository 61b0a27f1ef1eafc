// tests/conformance/loop.cpp: programs for the event loop, on the callable forms of its queues.
#include "tests/conformance/driver.hpp"

#include <weir/fs/stat.hpp>

#include <chrono>
#include <memory>
#include <variant>

namespace weir::conformance {
namespace {

/// Runs one program. It lives until nothing is left to run.
class loop_program {
 public:
  explicit loop_program(const json& statements) : program_(statements) {}

  task<> start(std::string mode) {
    auto begin = [this] { run(program_); };
    if (mode == "timer") {
      set_timeout(begin);
    } else if (mode == "immediate") {
      set_immediate(begin);
    } else if (mode == "io") {
      static_cast<void>(co_await fs::stat("/"));
      begin();
    } else {
      throw unsupported_arguments();
    }
  }

  json log = json::array();

 private:
  void run(const json& list) {
    for (const auto& each : list) statement(each[0].get_ref<const std::string&>(), each);
  }

  void statement(const std::string& what, const json& s) {
    if (what == "log") return log.push_back(s[1]);
    if (what == "tick") return next_tick([this, &body = s[1]] { run(body); });
    if (what == "micro") return queue_microtask([this, &body = s[1]] { run(body); });
    if (what == "immediate") return name(s, set_immediate([this, &body = s[1]] { run(body); }), 2);
    if (what == "timeout") return name(s, set_timeout([this, &body = s[2]] { run(body); }, milliseconds_of(s[1])), 3);
    if (what == "interval") return repeat(s);
    if (what == "clear") return clear(s[1]);
    if (what == "io") return read_something(s[1]);
    throw unsupported_arguments();
  }

  static std::chrono::nanoseconds milliseconds_of(const json& given) {
    return std::chrono::milliseconds(given.get<std::int64_t>());
  }

  template <class H>
  void name(const json& s, H&& handle, std::size_t at) {
    if (s.size() > at) named_[s[at]] = std::forward<H>(handle);
  }

  void repeat(const json& s) {
    auto self = std::make_shared<timer>();
    *self = set_interval(
        [this, self, left = s[2].get<int>(), &body = s[3]]() mutable {
          if (--left == 0) std::exchange(*self, timer()).clear();
          run(body);
        },
        milliseconds_of(s[1]));
  }

  void clear(const std::string& id) {
    auto found = named_.find(id);
    if (found == named_.end()) return;
    std::visit([](auto& handle) { handle.clear(); }, found->second);
  }

  void read_something(const json& body) {
    next_tick([this, &body]() -> task<> {
      static_cast<void>(co_await fs::stat("/"));
      run(body);
    });
  }

  const json& program_;
  std::map<std::string, std::variant<timer, immediate_handle>> named_;
};

task<json> run_loop_script(arguments given) {
  loop_program program(given[1]);
  co_await with_scope([&](scope&) { return program.start(given.text(0)); });
  co_return program.log;
}

}  // namespace

void add_loop(operations& all) { all.add_async("loop.script", run_loop_script); }

}  // namespace weir::conformance
