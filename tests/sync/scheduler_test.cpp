#include <weir/sync/scheduler.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono;
using namespace std::chrono_literals;
using testing::virtual_clock;

// The wall clock of the tests: 2026-01-01 00:00:00 UTC, a Thursday, when the run begins.
const wall_time new_year = wall_time(sys_days(year(2026) / 1 / 1));
wall_time clock_now() { return new_year + duration_cast<wall_time::duration>(virtual_clock::elapsed()); }

long long since_start() { return duration_cast<milliseconds>(virtual_clock::elapsed()).count(); }

scheduler_options on_virtual_time() {
  scheduler_options options;
  options.zone = time_zone();
  options.clock = clock_now;
  options.seed = 1;
  options.longest_sleep = days(30);
  return options;
}

using log = std::vector<std::string>;

// Runs the scheduler for `length` and then stops it.
task<> run_for(scheduler& jobs, nanoseconds length, nanoseconds grace = 5s) {
  co_await with_scope([&](scope& s) -> task<> {
    static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
    co_await sleep(length);
    co_await jobs.stop(grace);
  });
}

template <class F>
void on_virtual_clock(F body) {
  runtime(testing::virtual_time()).block_on(body());
}

// A job that notes when it starts, in milliseconds, and then takes a while.
auto noting(std::vector<long long>& starts, nanoseconds takes = 0ns) {
  return [&starts, takes]() -> task<> {
    starts.push_back(since_start());
    if (takes != 0ns) co_await sleep(takes);
  };
}

// Keeps the state in memory, and notes each save.
struct memory_store final : schedule_store {
  std::optional<std::string> text;
  int saves = 0;
  bool broken = false;
  log* events = nullptr;

  task<std::optional<std::string>> load() override { co_return text; }
  task<> save(std::string given) override {
    if (broken) throw std::runtime_error("disk full");
    text = std::move(given);
    ++saves;
    if (events != nullptr) events->push_back("save");
    co_return;
  }
};

TEST(Scheduler, runs_a_job_with_its_pause_between_two_runs) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("tick", 5s, noting(starts, 2s));
    co_await run_for(jobs, 20s);
    EXPECT_EQ(starts, (std::vector<long long>{5000, 12000, 19000}));
  });
}

TEST(Scheduler, runs_a_job_at_a_fixed_rate_whatever_it_takes) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("rate", job_schedule::at_rate(5s), noting(starts, 2s));
    co_await run_for(jobs, 21s);
    EXPECT_EQ(starts, (std::vector<long long>{5000, 10000, 15000, 20000}));
    EXPECT_THROW(job_schedule::at_rate(0s), error);
    EXPECT_THROW(job_schedule::every(-1s), error);
  });
}

TEST(Scheduler, runs_by_cron_over_long_times) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> weekly, monthly;
    scheduler jobs(on_virtual_time());
    jobs.add("weekly", "0 9 * * 1", noting(weekly));  // farther away than a day
    jobs.add("monthly", "@monthly", noting(monthly));
    co_await run_for(jobs, days(60));
    EXPECT_EQ(weekly.size(), 8U);
    EXPECT_EQ(weekly[0], duration_cast<milliseconds>(days(4) + 9h).count());
    EXPECT_EQ(monthly, (std::vector<long long>{duration_cast<milliseconds>(days(31)).count(),
                                               duration_cast<milliseconds>(days(59)).count()}));
  });
}

TEST(Scheduler, runs_once_at_a_time_and_after_a_delay) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> at, after, never;
    scheduler jobs(on_virtual_time());
    jobs.add("at", job_schedule::at(new_year + 3s), noting(at));
    jobs.add("after", job_schedule::after(hours(24 * 30)), noting(after));  // longer than 2^31 ms
    jobs.add("leap day", "0 0 30 2 *", noting(never));
    jobs.add("boot", "@reboot", noting(at));
    co_await run_for(jobs, days(31));
    EXPECT_EQ(at, (std::vector<long long>{0, 3000}));
    EXPECT_EQ(after, (std::vector<long long>{30LL * 24 * 3600 * 1000}));
    EXPECT_TRUE(never.empty());
    EXPECT_FALSE(jobs.status("at")->next);
  });
}

TEST(Scheduler, passes_over_times_that_come_while_the_job_runs) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    std::size_t skipped = 0;
    auto options = on_virtual_time();
    options.events.skipped = [&](const std::string&, skip_reason why, std::size_t times) {
      EXPECT_EQ(why, skip_reason::overlap);
      skipped += times;
    };
    scheduler jobs(options);
    jobs.add("slow", "* * * * *", noting(starts, 150s));
    co_await run_for(jobs, 400s);
    EXPECT_EQ(starts, (std::vector<long long>{60000, 240000}));
    EXPECT_EQ(skipped, 4U);
    EXPECT_EQ(jobs.status("slow")->skipped, 4U);
  });
}

TEST(Scheduler, runs_once_more_for_times_that_came_meanwhile_where_asked_to) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("slow", "* * * * *", noting(starts, 150s), {.overlap = overlap_policy::queue_one});
    co_await run_for(jobs, 220s);
    EXPECT_EQ(starts, (std::vector<long long>{60000, 210000}));
    EXPECT_EQ(jobs.status("slow")->skipped, 1U);
  });
}

TEST(Scheduler, lets_runs_overlap_up_to_a_number) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("slow", "* * * * *", noting(starts, 150s), {.overlap = overlap_policy::allow, .max_parallel = 2});
    co_await run_for(jobs, 290s, 1000s);
    EXPECT_EQ(starts, (std::vector<long long>{60000, 120000, 240000}));
    EXPECT_EQ(jobs.status("slow")->skipped, 1U);
  });
}

TEST(Scheduler, keeps_to_its_limit_of_concurrent_runs_and_drops_none) {
  on_virtual_clock([]() -> task<> {
    auto options = on_virtual_time();
    options.max_concurrent = 2;
    scheduler jobs(options);
    int inside = 0, most = 0, done = 0;
    for (int i = 0; i < 6; ++i) {
      jobs.add("job " + std::to_string(i), job_schedule::after(1s), [&]() -> task<> {
        most = std::max(most, ++inside);
        co_await sleep(1s);
        --inside;
        ++done;
      });
    }
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await sleep(1500ms);
      EXPECT_EQ(jobs.status("job 5")->waiting, 1U);
      EXPECT_TRUE(jobs.remove("job 5"));  // a run that waits for a place can be stopped too
      EXPECT_TRUE(jobs.pause("job 4"));
      co_await sleep(10s);
      co_await jobs.stop();
    });
    EXPECT_EQ(most, 2);
    EXPECT_EQ(done, 4);
  });
}

TEST(C2_ORD_13, run_is_told_of_in_order_and_then_saved) {
  on_virtual_clock([]() -> task<> {
    log events;
    auto store = std::make_shared<memory_store>();
    auto options = on_virtual_time();
    options.store = store;
    options.events = {
        .scheduled =
            [&](const std::string&, std::optional<wall_time> next) {
              events.push_back(next ? "scheduled " + std::to_string((*next - new_year) / 1s) : "scheduled never");
            },
        .start = [&](const job_run& run) { events.push_back("start " + std::to_string(run.number)); },
        .success = [&](const job_run&) { events.emplace_back("success"); },
        .failure = [&](const job_run&,
                       const std::exception_ptr& why) { events.push_back("failure " + failure(why).message()); }};
    scheduler jobs(options);
    jobs.add("j", "* * * * *", [&](const job_run& run) -> task<> {
      events.emplace_back("handler");
      co_await yield();
      if (run.number == 2) throw std::runtime_error("broken");
    });
    store->events = &events;
    co_await run_for(jobs, 130s);
    EXPECT_EQ(events, (log{"scheduled 60", "save", "start 1", "handler", "success", "scheduled 120", "save", "start 2",
                           "handler", "failure broken", "scheduled 180", "save"}));
  });
}

TEST(Scheduler, failing_job_stays_scheduled) {
  on_virtual_clock([]() -> task<> {
    int runs = 0;
    scheduler jobs(on_virtual_time());
    jobs.add("bad", 1s, [&]() -> task<> {
      ++runs;
      throw std::runtime_error("always");
      co_return;
    });
    co_await run_for(jobs, 5500ms);
    EXPECT_EQ(runs, 5);
    auto status = jobs.status("bad");
    EXPECT_EQ(status->failed, 5U);
    EXPECT_EQ(status->last_error, "always");
    EXPECT_EQ(status->runs, 5U);
  });
}

// The end of a run is where a job is armed anew: not one that has gone meanwhile.
TEST(Scheduler, job_removed_during_its_run_ends_it_and_does_not_come_back) {
  on_virtual_clock([]() -> task<> {
    int begun = 0, ended = 0;
    scheduler jobs(on_virtual_time());
    auto body = [&]() -> task<> {
      ++begun;
      co_await sleep(2s);
      ++ended;
    };
    jobs.add("removed", 1s, body);
    jobs.add("cancelled", 1s, body);
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await sleep(1500ms);
      EXPECT_TRUE(jobs.remove("removed"));
      EXPECT_TRUE(jobs.cancel("cancelled"));
      EXPECT_FALSE(jobs.remove("removed"));
      EXPECT_FALSE(jobs.cancel("unknown"));
      co_await sleep(20s);
      co_await jobs.stop();
    });
    EXPECT_EQ(begun, 2);
    EXPECT_EQ(ended, 1);
    EXPECT_TRUE(jobs.status().empty());
  });
}

TEST(Scheduler, job_may_remove_itself) {
  on_virtual_clock([]() -> task<> {
    int runs = 0;
    scheduler jobs(on_virtual_time());
    jobs.add("self", 1s, [&](const job_run& run) -> task<> {
      if (++runs == 3) jobs.remove(run.name);
      co_return;
    });
    co_await run_for(jobs, 10s);
    EXPECT_EQ(runs, 3);
  });
}

TEST(Scheduler, replaces_a_job_of_the_same_name_unless_the_new_schedule_is_wrong) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> first, second;
    log removed;
    auto options = on_virtual_time();
    options.events.removed = [&](const std::string& name) { removed.push_back(name); };
    scheduler jobs(options);
    jobs.add("j", 1s, noting(first));
    EXPECT_THROW(jobs.add("j", "99 * * * *", noting(second)), error);
    EXPECT_THROW(jobs.add("", 1s, noting(second)), error);
    EXPECT_EQ(removed, log{});
    EXPECT_EQ(jobs.status("j")->schedule, "every 1000ms");
    jobs.add("j", 2s, noting(second));
    EXPECT_EQ(removed, log{"j"});
    co_await run_for(jobs, 3s);
    EXPECT_TRUE(first.empty());
    EXPECT_EQ(second, (std::vector<long long>{2000}));
  });
}

TEST(Scheduler, pauses_resumes_and_triggers) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("j", 10s, noting(starts, 1s));
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await sleep(4s);
      EXPECT_TRUE(jobs.pause("j"));
      EXPECT_FALSE(jobs.status("j")->enabled);
      co_await sleep(10s);
      EXPECT_TRUE(jobs.trigger("j"));  // at 14 s, paused or not
      co_await sleep(500ms);
      EXPECT_FALSE(jobs.trigger("j"));  // it runs
      co_await sleep(5500ms);
      EXPECT_TRUE(jobs.resume("j"));  // at 20 s: next at 30 s
      co_await sleep(11s);
      EXPECT_FALSE(jobs.pause("x") || jobs.resume("x") || jobs.trigger("x"));
      co_await jobs.stop();
    });
    EXPECT_EQ(starts, (std::vector<long long>{14000, 30000}));
  });
}

TEST(Scheduler, job_resumed_during_a_run_goes_on_afterwards) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("j", "* * * * *", noting(starts, 10s));
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await sleep(61s);
      jobs.pause("j");
      co_await sleep(1s);
      jobs.resume("j");
      co_await sleep(60s);
      co_await jobs.stop();
    });
    EXPECT_EQ(starts, (std::vector<long long>{60000, 120000}));
  });
}

TEST(Scheduler, stops_an_attempt_that_takes_too_long_and_tries_again) {
  on_virtual_clock([]() -> task<> {
    log events;
    auto options = on_virtual_time();
    options.events.retry = [&](const job_run& run, const std::exception_ptr& why, nanoseconds delay) {
      events.push_back("retry " + std::to_string(run.attempt) + " " + std::string(failure(why).code_name()) + " " +
                       std::to_string(delay / 1ms));
    };
    options.events.failure = [&](const job_run& run, const std::exception_ptr& why) {
      events.push_back("failure " + std::to_string(run.attempt) + " " + failure(why).message());
    };
    options.events.success = [&](const job_run& run) { events.push_back("success " + std::to_string(run.attempt)); };
    scheduler jobs(options);
    jobs.add("hangs", job_schedule::after(1s), testing::forever, {.timeout = 2s, .retries = 2, .retry_delay = 100ms});
    co_await run_for(jobs, 10s);
    EXPECT_EQ(events, (log{"retry 1 ERR_TIMEOUT 100", "retry 2 ERR_TIMEOUT 200",
                           "failure 3 scheduler: job 'hangs' has not ended within 2000 ms"}));
    EXPECT_EQ(jobs.status("hangs")->timed_out, 3U);
    EXPECT_EQ(jobs.status("hangs")->retried, 2U);
    EXPECT_EQ(jobs.status("hangs")->runs, 1U);
    events.clear();
    jobs.add("shaky", job_schedule::after(1s),
             [](const job_run& run) -> task<> {
               if (run.attempt < 3) throw std::runtime_error("not yet");
               co_return;
             },
             {.timeout = 1h, .retries = 5, .retry_delay = 10ms});
    co_await run_for(jobs, 10s);
    EXPECT_EQ(events.back(), "success 3");
  });
}

TEST(Scheduler, spreads_runs_by_jitter) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    scheduler jobs(on_virtual_time());
    jobs.add("j", "* * * * *", noting(starts), {.jitter = 20s});
    co_await run_for(jobs, 1h);
    EXPECT_GE(starts.size(), 59U);
    bool varied = false;
    for (auto each : starts) {
      EXPECT_LE(each % 60000, 20001);
      varied = varied || each % 60000 != starts[0] % 60000;
    }
    EXPECT_TRUE(varied);
  });
}

TEST(Scheduler, stop_waits_for_runs_and_then_cancels_them) {
  on_virtual_clock([]() -> task<> {
    int ended = 0, stopped = 0;
    scheduler jobs(on_virtual_time());
    jobs.add("short", job_schedule::after(1s), [&]() -> task<> {
      co_await sleep(2s);
      ++ended;
    });
    jobs.add("long", job_schedule::after(1s), [&]() -> task<> {
      auto nap = co_await attempt(sleep(1h));
      if (!nap) ++stopped;
    });
    co_await run_for(jobs, 1500ms, 3s);
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(stopped, 1);
    EXPECT_EQ(since_start(), 4500);
    co_await jobs.stop();  // harmless
  });
}

TEST(Scheduler, cancelled_with_its_scope_it_stops_its_runs_and_saves) {
  on_virtual_clock([]() -> task<> {
    bool stopped = false;
    auto store = std::make_shared<memory_store>();
    auto options = on_virtual_time();
    options.store = store;
    scheduler jobs(options);
    jobs.add("long", job_schedule::after(1s), [&]() -> task<> {
      auto nap = co_await attempt(testing::forever());
      stopped = nap.failure().is_cancelled();
    });
    EXPECT_THROW(co_await timeout(5s, jobs.run()), error);
    EXPECT_TRUE(stopped);
    EXPECT_TRUE(store->text.has_value());
    EXPECT_EQ(jobs.status("long")->running, 0U);
  });
}

TEST(Scheduler, refuses_to_run_twice_and_more_jobs_than_it_may_have) {
  on_virtual_clock([]() -> task<> {
    auto options = on_virtual_time();
    options.max_jobs = 1;
    scheduler jobs(options);
    jobs.add("a", 1s, testing::forever);
    EXPECT_THROW(jobs.add("b", 1s, testing::forever), error);
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await yield();
      auto twice = co_await attempt(jobs.run());
      EXPECT_EQ(twice.failure().code_name(), "ERR_INVALID_STATE");
      co_await jobs.stop();
    });
  });
}

// What is left of a life of the program: times that were due while it was away.
task<std::vector<long long>> starts_after_an_absence(job_settings settings, std::size_t& skipped) {
  auto store = std::make_shared<memory_store>();
  store->text = "weir-schedule 1\njob=report schedule=cron%200%20*%20*%20*%20* enabled=1 next=" +
                std::to_string(duration_cast<milliseconds>((new_year - 150min).time_since_epoch()).count() - 0) +
                " last=- runs=7 succeeded=6 failed=1\n";
  auto options = on_virtual_time();
  options.store = store;
  std::vector<long long> starts;
  scheduler jobs(options);
  jobs.add("report", "0 * * * *", noting(starts, 1s), settings);
  co_await run_for(jobs, 10s);
  skipped = jobs.status("report")->skipped;
  EXPECT_EQ(jobs.status("report")->runs, 7U + starts.size());
  EXPECT_EQ(jobs.status("report")->next, new_year + 1h);
  co_return starts;
}

// Saved: due at 21:30 of the day before; then 22:00, 23:00 and 00:00 have passed as well.
TEST(Scheduler, deals_with_missed_times_by_policy) {
  using starts = std::vector<long long>;
  on_virtual_clock([]() -> task<> {
    std::size_t skipped = 0;
    EXPECT_EQ(co_await starts_after_an_absence({.missed = missed_policy::skip}, skipped), starts{});
    EXPECT_EQ(skipped, 4U);
  });
  on_virtual_clock([]() -> task<> {
    std::size_t skipped = 0;
    EXPECT_EQ(co_await starts_after_an_absence({}, skipped), starts{0});
    EXPECT_EQ(skipped, 0U);
  });
  on_virtual_clock([]() -> task<> {
    std::size_t skipped = 0;
    EXPECT_EQ(co_await starts_after_an_absence({.missed = missed_policy::run_all}, skipped),
              (starts{0, 1000, 2000, 3000}));
  });
  on_virtual_clock([]() -> task<> {
    std::size_t skipped = 0;
    EXPECT_EQ(co_await starts_after_an_absence({.missed = missed_policy::run_all, .max_missed = 2}, skipped),
              (starts{0, 1000}));
    EXPECT_EQ(skipped, 2U);
  });
}

TEST(Scheduler, saves_pauses_and_counts_and_restores_them) {
  on_virtual_clock([]() -> task<> {
    auto store = std::make_shared<memory_store>();
    auto options = on_virtual_time();
    options.store = store;
    std::vector<long long> starts;
    {
      scheduler jobs(options);
      jobs.add("a b=c%", 1s, noting(starts));
      jobs.add("paused", 1s, noting(starts));
      jobs.add("gone", 1h, noting(starts));
      jobs.pause("paused");
      co_await run_for(jobs, 3500ms);
    }
    EXPECT_EQ(starts.size(), 3U);
    EXPECT_EQ(store->text->substr(0, 16), "weir-schedule 1\n");
    std::size_t loaded = 0;
    options.events.loaded = [&](std::size_t n) { loaded = n; };
    scheduler again(options);
    again.add("a b=c%", 1s, noting(starts));
    again.add("paused", 1s, noting(starts));
    co_await run_for(again, 2s);
    EXPECT_EQ(loaded, 3U);
    EXPECT_EQ(again.status("a b=c%")->runs, starts.size());
    EXPECT_FALSE(again.status("paused")->enabled);
    EXPECT_NE(store->text->find("job=gone "), std::string::npos);  // kept for whoever adds it later
  });
}

TEST(Scheduler, refuses_a_state_that_is_none_and_names_the_line) {
  on_virtual_clock([]() -> task<> {
    const std::string good = "job=a schedule=every%201000ms enabled=1 next=5 last=- runs=1 succeeded=1 failed=0\n";
    for (const std::string& bad :
         {std::string(), std::string("weir-schedule 2\n"), std::string("weir-schedule 1"),
          "weir-schedule 1\n" + good.substr(0, good.size() - 1), "weir-schedule 1\n" + good + good,
          std::string("weir-schedule 1\njob=a\n"), "weir-schedule 1\n" + good.substr(0, good.size() - 1) + " x=1\n",
          std::string("weir-schedule 1\njob=%4 schedule=x enabled=1 next=- last=- runs=1 succeeded=1 failed=0\n"),
          std::string("weir-schedule 1\njob=a schedule=x enabled=1 next=1e9 last=- runs=1 succeeded=1 failed=0\n"),
          std::string("weir-schedule 1\njob=a schedule=x enabled=1 next=- last=- runs=1 succeeded=-1 failed=0\n"),
          std::string("weir-schedule 1\njob=a schedule=x enabled=1 next=99999999999999999999 last=- runs=1 succeeded=1 "
                      "failed=0\n")}) {
      auto store = std::make_shared<memory_store>();
      store->text = bad;
      auto options = on_virtual_time();
      options.store = store;
      scheduler jobs(options);
      auto outcome = co_await attempt(jobs.run());
      EXPECT_FALSE(outcome) << bad;
      if (outcome) continue;
      EXPECT_EQ(outcome.failure().code_name(), "ERR_INVALID_ARG_VALUE");
      EXPECT_NE(outcome.failure().message().find("line "), std::string::npos);
    }
  });
}

TEST(Scheduler, tells_of_a_save_that_failed_and_goes_on) {
  on_virtual_clock([]() -> task<> {
    auto store = std::make_shared<memory_store>();
    store->broken = true;
    auto options = on_virtual_time();
    options.store = store;
    int told = 0;
    options.events.save_failed = [&](const std::exception_ptr& why) {
      EXPECT_EQ(failure(why).message(), "disk full");
      ++told;
    };
    std::vector<long long> starts;
    scheduler jobs(options);
    jobs.add("j", 1s, noting(starts));
    co_await run_for(jobs, 2500ms);
    EXPECT_EQ(starts.size(), 2U);
    EXPECT_GE(told, 2);
  });
}

TEST(Scheduler, follows_daylight_saving_of_its_zone) {
  on_virtual_clock([]() -> task<> {
    std::vector<long long> starts;
    auto options = on_virtual_time();
    options.zone = time_zone::load("Europe/Berlin");
    options.clock = [] { return clock_now() + days(85); };  // begins on 27 March, 00:00 UTC
    scheduler jobs(options);
    jobs.add("nightly", "30 2 * * *", noting(starts));
    co_await run_for(jobs, days(4));
    auto hour = [](double h) { return static_cast<long long>(h * 3600 * 1000); };
    EXPECT_EQ(starts, (std::vector<long long>{hour(1.5), hour(25.5), hour(49), hour(72.5)}));
  });
}

// In a folder that goes with the test.
class FileStore : public ::testing::Test {
 protected:
  FileStore() {
    char pattern[] = "/tmp/weir-schedule-XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  ~FileStore() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/state"; }
  std::string content() const {
    std::ifstream file(path());
    std::stringstream all;
    all << file.rdbuf();
    return all.str();
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::string folder_;
};

TEST_F(FileStore, replaces_the_file_as_a_whole_and_leaves_nothing_beside_it) {
  testing::run_with(1, [](FileStore& self, std::string path, std::string folder) -> task<> {
    auto store = file_schedule_store(path);
    EXPECT_EQ(co_await store->load(), std::nullopt);
    co_await store->save("first");
    co_await store->save("second");
    EXPECT_EQ(co_await store->load(), "second");
    static_cast<void>(self);
    auto nowhere = co_await attempt(file_schedule_store(folder + "/none/state")->save("x"));
    EXPECT_EQ(nowhere.failure().code_name(), "ENOENT");
    auto directory = co_await attempt(file_schedule_store(folder)->load());
    EXPECT_EQ(directory.failure().code_name(), "EISDIR");
    auto onto = co_await attempt(file_schedule_store(folder)->save("x"));  // the rename fails
    EXPECT_FALSE(onto);
  }(*this, path(), folder_));
  EXPECT_EQ(content(), "second");
  EXPECT_EQ(files(), 1U);
}

TEST_F(FileStore, C2_SYS_10_scheduler_restores_its_state_after_a_restart) {
  auto life = [](std::string path, std::uint64_t expected) -> task<> {
    scheduler_options options;
    options.store = file_schedule_store(path);
    scheduler jobs(options);
    int runs = 0;
    event enough;
    jobs.add("often", 2ms, [&]() -> task<> {
      if (++runs == 5) enough.set();
      co_return;
    });
    jobs.add("nightly", "0 3 * * *", []() -> task<> { co_return; });
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn_local(&scheduler::run, &jobs));
      co_await enough.wait();
      co_await jobs.stop();
    });
    EXPECT_GE(jobs.status("often")->runs, expected);
  };
  testing::run_with(1, life(path(), 5));
  testing::run_with(2, life(path(), 10));
  EXPECT_NE(content().find("job=nightly schedule=cron%200%203%20*%20*%20* enabled=1 next="), std::string::npos);
  EXPECT_EQ(files(), 1U);
}

TEST(Scheduler, may_be_used_from_other_threads_while_it_runs) {
  testing::run_with(2, []() -> task<> {
    scheduler_options options;
    options.zone = time_zone();
    scheduler jobs(options);
    std::atomic<int> runs{0};
    std::atomic<bool> over{false};
    std::thread foreign([&] {
      for (int i = 0; !over; ++i) {
        auto name = "job " + std::to_string(i % 8);
        jobs.add(name, 1ms, [&runs]() -> task<> {
          ++runs;
          co_await yield();
        });
        jobs.trigger(name);
        if (i % 3 == 0) jobs.pause(name);
        if (i % 5 == 0) jobs.cancel("job " + std::to_string((i + 3) % 8));
        static_cast<void>(jobs.status());
        std::this_thread::yield();
      }
    });
    co_await with_scope([&](scope& s) -> task<> {
      static_cast<void>(s.spawn(&scheduler::run, &jobs));
      while (runs < 200) co_await sleep(1ms);
      over = true;
      co_await jobs.stop();
    });
    foreign.join();
  }());
}

}  // namespace
}  // namespace weir::sync
