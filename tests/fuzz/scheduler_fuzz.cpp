// tests/fuzz/scheduler_fuzz.cpp: a scheduler that finds any text where it keeps its state says that it is none, or runs
// its jobs, no more of them than is due and missed, and leaves a state that it finds its way in again.
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/sync/scheduler.hpp>

#include <tests/fuzz/input.hpp>
#include <tests/support/virtual_backend.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace {

using namespace weir;
using namespace weir::fuzzing;
using namespace std::chrono_literals;
using sync::wall_time;

struct kept_state final : sync::schedule_store {
  std::optional<std::string> text;

  task<std::optional<std::string>> load() override { co_return text; }
  task<> save(std::string given) override {
    text = std::move(given);
    co_return;
  }
};

struct life {
  std::size_t runs = 0;
  bool refused = false;
};

task<void> run_jobs(sync::scheduler& jobs, bool& refused) {
  auto ended = co_await attempt(jobs.run());
  if (ended) co_return;
  require(ended.failure().is("ERR_INVALID_ARG_VALUE") && ended.failure().message().size() < 2048);
  refused = true;
}

/// Twenty seconds with two jobs that the state may know.
task<life> live(std::shared_ptr<kept_state> store) {
  life seen;
  sync::scheduler_options options;
  options.zone = sync::time_zone();
  options.store = store;
  options.clock = [] {
    return wall_time(1'700'000'000s) +
           std::chrono::duration_cast<wall_time::duration>(testing::virtual_clock::elapsed());
  };
  sync::scheduler jobs(std::move(options));
  const auto count = [&seen]() -> task<> {
    ++seen.runs;
    co_return;
  };
  jobs.add("a", "*/10 * * * * *", count, {.missed = sync::missed_policy::run_all, .max_missed = 5});
  jobs.add("b c", 5s, count);
  co_await with_scope([&](scope& s) -> task<> {
    static_cast<void>(s.spawn_local(run_jobs, std::ref(jobs), std::ref(seen.refused)));
    co_await sleep(20s);
    co_await jobs.stop();
  });
  co_return seen;
}

task<void> main_task(std::string_view text) {
  auto store = std::make_shared<kept_state>();
  store->text = std::string(text);
  auto first = co_await live(store);
  if (first.refused) {
    require(store->text == text && first.runs == 0);  // what somebody may want to look at stays
    co_return;
  }
  require(first.runs <= 2 * (5 + 5));
  require(!(co_await live(store)).refused);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testing::run_virtually(main_task({reinterpret_cast<const char*>(data), size}));
  return 0;
}
