// tests/core/loop_script_test.cpp: programs for the event loop, written at random, with the log that Node.js 20
// makes of each (tests/data/loop). An interpreter runs them on weir's callable forms; every log must be the same,
// on the default backend and on virtual time, alone and with another worker that is busy.
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <weir/weir.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct script {
  std::string where;
  std::string mode;
  json program;
  std::vector<std::string> expected;
};

std::vector<script> read_scripts() {
  std::vector<script> all;
  for (const char* name : {"oracle-tick-immediate-timeout.jsonl", "oracle-with-microtasks.jsonl", "node20.jsonl"}) {
    std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "../data/loop" / name);
    EXPECT_TRUE(file) << name;
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
      auto row = json::parse(line);
      all.push_back({std::string(name) + ":" + std::to_string(number), row["args"][0], row["args"][1],
                     row["ok"].get<std::vector<std::string>>()});
    }
  }
  return all;
}

/// Runs one script. It lives until nothing is left to run.
class interpreter {
 public:
  explicit interpreter(const script& given, std::chrono::steady_clock::time_point (*clock)())
      : script_(given), clock_(clock) {}

  task<void> run() {
    auto start = [this] { statements(script_.program); };
    if (script_.mode == "timer") set_timeout(start);
    if (script_.mode == "immediate") set_immediate(start);
    if (script_.mode == "io") {
      co_await poll_io();
      start();
    }
  }

  const std::vector<std::string>& log() const { return log_; }

  /// How much later than it could a timer has fired, at most.
  std::chrono::nanoseconds held_up() const { return held_up_; }

 private:
  void statements(const json& list) {
    for (const auto& each : list) statement(each[0].get_ref<const std::string&>(), each);
  }

  void statement(const std::string& what, const json& s) {
    if (what == "log") return log_.push_back(s[1]);
    if (what == "tick") return next_tick([this, &body = s[1]] { statements(body); });
    if (what == "micro") return queue_microtask([this, &body = s[1]] { statements(body); });
    if (what == "immediate") {
      auto handle = set_immediate([this, &body = s[1]] { statements(body); });
      if (s.size() > 2) named_[s[2]] = std::move(handle);
      return;
    }
    if (what == "timeout") return set_timer(s);
    if (what == "interval") return set_repeated(s);
    if (what == "clear") return clear(s[1]);
    if (what == "io") return start_io(s[1]);
    FAIL() << "no such statement: " << what;
  }

  void set_timer(const json& s) {
    auto delay = std::max(std::chrono::milliseconds(s[1].get<int>()), 1ms);
    auto handle = set_timeout(
        [this, due = clock_() + delay, &body = s[2]] {
          held_up_ = std::max<std::chrono::nanoseconds>(held_up_, clock_() - due);
          statements(body);
        },
        delay);
    if (s.size() > 3) named_[s[3]] = std::move(handle);
  }

  void set_repeated(const json& s) {
    auto self = std::make_shared<timer>();
    *self = set_interval(
        [this, self, left = s[2].get<int>(), &body = s[3]]() mutable {
          if (--left == 0) std::exchange(*self, timer()).clear();
          statements(body);
        },
        std::chrono::milliseconds(s[1].get<int>()));
  }

  void clear(const std::string& id) {
    auto found = named_.find(id);
    if (found == named_.end()) return;
    if (auto* handle = std::get_if<timer>(&found->second)) return clear_timeout(*handle);
    clear_immediate(std::get<immediate_handle>(found->second));
  }

  void start_io(const json& body) {
    next_tick([this, &body]() -> task<> {
      co_await poll_io();
      statements(body);
    });
  }

  const script& script_;
  std::chrono::steady_clock::time_point (*clock_)();
  std::vector<std::string> log_;
  std::map<std::string, std::variant<timer, immediate_handle>> named_;
  std::chrono::nanoseconds held_up_{0};
};

const std::vector<script>& scripts() {
  static const auto all = read_scripts();
  return all;
}

std::string to_text(const std::vector<std::string>& log) {
  std::string text;
  for (const auto& each : log) text += (text.empty() ? "" : " ") + each;
  return text;
}

struct settings {
  std::chrono::steady_clock::time_point (*clock)();
  std::size_t step = 1;  ///< every how many scripts one is run
  /// A run in which a timer was held up for longer does not count: the machine was busy elsewhere.
  std::chrono::nanoseconds patience = std::chrono::nanoseconds::max();
};

task<void> replay(const script& row, const settings& how) {
  for (int tries = 0; tries < 100; ++tries) {
    interpreter run(row, how.clock);
    co_await with_scope([&run](scope&) { return run.run(); });
    if (run.held_up() > how.patience) continue;
    EXPECT_EQ(to_text(run.log()), to_text(row.expected)) << row.where;
    co_return;
  }
  ADD_FAILURE() << row.where << ": held up a hundred times over";
}

task<void> replay_all(settings how) {
  for (std::size_t i = 0; i < scripts().size(); i += how.step) co_await replay(scripts()[i], how);
}

// The other workers have something to do all the while.
task<void> replay_among_others(settings how) {
  std::atomic<bool> over{false};
  co_await with_scope([&](scope& s) -> task<> {
    s.spawn_on(
        1,
        [](std::atomic<bool>& done) -> task<> {
          while (!done) co_await yield();
        },
        std::ref(over));
    co_await replay_all(how);
    over = true;
  });
}

task<void> replay_with(unsigned workers, settings how) {
  return workers > 1 ? replay_among_others(how) : replay_all(how);
}

class LoopScripts : public ::testing::TestWithParam<unsigned> {};

TEST_P(LoopScripts, log_what_node_logs_twenty_times_over) {
  for (int round = 0; round < 20 && !HasFailure(); ++round) {
    runtime(virtual_time(GetParam())).block_on(replay_with(GetParam(), {.clock = &virtual_clock::now}));
  }
}

TEST_P(LoopScripts, log_what_node_logs_on_the_default_backend) {
  settings how = {.clock = &std::chrono::steady_clock::now, .step = 8, .patience = 6ms};
  run_with(GetParam(), replay_with(GetParam(), how));
}

INSTANTIATE_TEST_SUITE_P(Workers, LoopScripts, ::testing::Values(1U, 2U),
                         [](const auto& info) { return "with_" + std::to_string(info.param) + "_workers"; });

}  // namespace
}  // namespace weir::testing
