// tests/core/ordering_cases.hpp: the programs whose order of events is promised, one row each, with the log that
// must come out or the set of logs that may. The orders are those of Node.js 20 (libuv 1.45 and later); the ids are
// those of the project's inventory of ordering cases.
#pragma once

#include <weir/weir.hpp>

#include "tests/support/run.hpp"
#include "tests/support/virtual_backend.hpp"

#include <chrono>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::testing {

using namespace std::chrono_literals;

/// What a program did, in order. Written by loop-affine code only.
class trace {
 public:
  explicit trace(void (*pass)(std::chrono::milliseconds)) : pass_(pass) {}

  void operator()(std::string_view entry) {
    if (!text_.empty()) text_ += " > ";
    text_ += entry;
  }

  /// Something that logs `entry` when it is called.
  auto note(std::string_view entry) {
    return [this, entry] { (*this)(entry); };
  }

  /// Holds the loop, as a long computation does.
  void busy(std::chrono::milliseconds time) { pass_(time); }

  const std::string& text() const { return text_; }

  std::function<void(int)> on_before_exit = [](int) {};
  std::function<void(int)> on_exit = [](int) {};
  std::function<bool(std::exception_ptr)> on_uncaught = [](const std::exception_ptr&) { return false; };

 private:
  void (*pass_)(std::chrono::milliseconds);
  std::string text_;
};

enum class pace : bool {
  any,
  exact,  ///< takes seconds, or is a matter of single milliseconds: on virtual time only
};

struct ordering_case {
  std::string_view id;
  task<void> (*program)(trace&);
  std::vector<std::string> permitted;
  int exit_code = 0;
  pace runs = pace::any;
};

inline std::string message_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& caught) {
    return caught.what();
  }
}

inline task<> failing(std::string message) {
  co_await std::suspend_never{};
  throw std::runtime_error(message);
}

// ---- ticks, microtasks, immediates and timers from the main task

inline task<> all_kinds_from_main(trace& log) {
  log("1");
  set_timeout(log.note("2"));
  queue_microtask(log.note("3"));
  next_tick(log.note("4"));
  set_immediate(log.note("5"));
  log("6");
  co_return;
}

inline task<> ticks_before_reactions_before_timers(trace& log) {
  log("Start");
  set_timeout(log.note("setTimeout"));
  next_tick(log.note("nextTick 1"));
  queue_microtask(log.note("Promise 1"));
  next_tick([&log] {
    log("nextTick 2");
    queue_microtask(log.note("Nested Promise"));
  });
  log("End");
  co_return;
}

inline task<> chained_reactions_run_in_one_drain(trace& log) {
  log("1. Script start");
  set_timeout(log.note("6. Timeout"));
  queue_microtask([&log] {
    log("4. Promise 1");
    queue_microtask(log.note("5. Promise 2"));
  });
  next_tick(log.note("3. NextTick"));
  log("2. Script end");
  co_return;
}

inline task<> tick_and_immediate(trace& log) {
  log("Start");
  set_immediate(log.note("setImmediate"));
  next_tick(log.note("nextTick"));
  log("End");
  co_return;
}

inline task<> timeout_and_immediate(trace& log) {
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
  co_return;
}

inline task<> tick_timeout_and_immediate(trace& log) {
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
  next_tick(log.note("nextTick"));
  co_return;
}

inline task<> tick_comes_first_even_if_queued_last(trace& log) {
  set_immediate(log.note("immediate"));
  next_tick(log.note("nextTick"));
  co_return;
}

inline task<> reactions_are_not_interrupted_by_ticks(trace& log) {
  next_tick(log.note("tick0"));
  queue_microtask([&log] {
    log("P1");
    next_tick(log.note("P1 tick"));
    queue_microtask(log.note("P1 nested"));
    queue_microtask(log.note("P2"));  // what is chained to P1
  });
  queue_microtask(log.note("QM"));
  co_return;
}

// The same with tasks: an awaited tick or microtask settles a promise, and the task is its reaction.
inline task<> tasks_are_reactions(trace& log) {
  co_await with_scope([&log](scope& s) -> task<> {
    s.spawn_local(
        [](trace& l) -> task<> {
          co_await next_tick();
          l("after tick");
        },
        std::ref(log));
    s.spawn_local(
        [](trace& l) -> task<> {
          co_await microtask();
          l("after microtask");
        },
        std::ref(log));
    next_tick(log.note("tick"));
    queue_microtask(log.note("reaction"));
    co_return;
  });
}

// ---- from an I/O callback

inline task<> timeout_and_immediate_from_io(trace& log) {
  co_await poll_io();
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
}

inline task<> slow_timeout_and_immediate_from_io(trace& log) {
  co_await poll_io();
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
  log.busy(20ms);  // the timer is due long before the check phase: it still comes after it
}

inline task<> timeout_and_immediate_from_the_pool(trace& log) {
  co_await blocking([] {});
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
}

inline task<> all_kinds_from_io(trace& log) {
  co_await poll_io();
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
  queue_microtask(log.note("promise"));
  queue_microtask(log.note("queueMicrotask"));
  next_tick(log.note("tick"));
}

inline task<> all_kinds_and_close_from_io(trace& log) {
  co_await poll_io();
  queue_close(log.note("close"));
  set_timeout(log.note("timeout"));
  set_immediate(log.note("immediate"));
  queue_microtask(log.note("promise"));
  next_tick(log.note("nextTick"));
}

inline task<> tick_of_a_handler_comes_before_the_next_io(trace& log) {
  auto handler = [](trace& l, std::string name) -> task<> {
    co_await poll_io();
    l(name);
    next_tick([&l, name] { l(name + " processed"); });
  };
  co_await all(handler(log, "chunk 1"), handler(log, "chunk 2"));
}

// ---- phases

inline task<> one_item_in_each_phase(trace& log) {
  set_timeout([&log]() -> task<> {
    log("timers");
    set_timeout(log.note("timers"));
    set_immediate(log.note("check"));
    queue_close(log.note("close"));
    co_await poll_io();
    log("poll");
  });
  co_return;
}

inline task<> main_with_a_file_read(trace& log) {
  next_tick([&log]() -> task<> {
    co_await poll_io();
    log("file");
  });
  set_timeout(log.note("timer"));
  set_immediate(log.note("immediate"));
  queue_microtask(log.note("promise"));
  next_tick(log.note("tick"));
  log("sync");
  co_return;
}

inline task<> drains_between_timers(trace& log) {
  set_timeout([&log] {
    log("t1");
    next_tick(log.note("n1"));
    queue_microtask(log.note("p1"));
  });
  set_timeout(log.note("t2"));
  log.busy(5ms);
  co_return;
}

inline task<> drains_between_immediates(trace& log) {
  set_immediate([&log] {
    log("I1");
    next_tick(log.note("I1 tick"));
    set_immediate(log.note("I3"));
  });
  set_immediate(log.note("I2"));
  co_return;
}

inline task<> ticks_starve_the_loop(trace& log) {
  struct chain {
    trace& log;
    int left;
    void operator()() {
      if (--left == 0) return log("ticks");
      next_tick(chain{log, left});
    }
  };
  set_timeout(log.note("timer"));
  set_immediate(log.note("immediate"));
  next_tick([&log]() -> task<> {
    co_await poll_io();
    log("io");
  });
  next_tick(chain{log, 1000});
  co_return;
}

inline task<> immediates_let_io_in(trace& log) {
  struct chain {
    trace& log;
    bool& seen;
    int left;
    void operator()() {
      if (seen || --left == 0) return log("end of the chain");
      set_immediate(chain{log, seen, left});
    }
  };
  bool seen = false;
  co_await with_scope([&](scope& s) -> task<> {
    s.spawn_local(
        [](trace& l, bool& read) -> task<> {
          co_await poll_io();
          read = true;
          l("io");
        },
        std::ref(log), std::ref(seen));
    set_immediate(chain{log, seen, 2000});
    co_return;
  });
}

inline task<> timers_by_call_and_not_by_turn(trace& log) {
  set_timeout(log.note("10 ms, set at 0"), 10ms);
  log.busy(20ms);
  set_timeout(log.note("5 ms, set at 20"), 5ms);
  co_return;
}

inline task<> a_timer_due_during_the_phase_waits_for_the_next(trace& log) {
  set_timeout(
      [&log] {
        log("t1");
        log.busy(20ms);
        set_immediate(log.note("immediate"));
      },
      10ms);
  set_timeout(log.note("t2"), 15ms);
  set_timeout(log.note("t3"), 10ms);
  co_return;
}

// Due at 20, 15, 28 and 22. Node keeps a list for each duration and turns to the next when nothing in it is due.
inline task<> timers_due_together_fire_by_duration(trace& log) {
  set_timeout(log.note("20 at 0"), 20ms);
  log.busy(5ms);
  set_timeout(log.note("10 at 5"), 10ms);
  log.busy(3ms);
  set_timeout(log.note("20 at 8"), 20ms);
  log.busy(4ms);
  set_timeout(log.note("10 at 12"), 10ms);
  log.busy(40ms);
  co_return;
}

// ---- the blocking pool

inline task<> pool_and_file_in_any_order(trace& log) {
  auto crypto = [](trace& l) -> task<> {
    co_await blocking([] {});
    l("crypto");
  };
  auto file = [](trace& l) -> task<> {
    co_await poll_io();
    l("file");
  };
  next_tick([&log, crypto] { return crypto(log); });
  next_tick([&log, file] { return file(log); });
  log("Immediate log");
  co_return;
}

// ---- timers at work

inline task<> clearing_twice_unknown_and_within(trace& log) {
  struct running {
    timer self;
    int calls = 0;
  };
  auto state = std::make_shared<running>();
  state->self = set_interval(
      [&log, state] {
        log("interval " + std::to_string(++state->calls));
        if (state->calls == 2) std::exchange(state->self, timer()).clear();
      },
      2ms);
  auto once = set_timeout(log.note("never"), 1ms);
  clear_timeout(once);
  clear_timeout(once);
  timer unknown;
  clear_timeout(unknown);
  clear_interval(unknown);
  immediate_handle none;
  clear_immediate(none);
  auto check = set_immediate(log.note("never"));
  clear_immediate(check);
  clear_immediate(check);
  co_return;
}

inline task<> interval_that_clears_itself(trace& log) {
  struct running {
    timer self;
    int count = 0;
  };
  auto state = std::make_shared<running>();
  state->self = set_interval(
      [&log, state] {
        log("Interval " + std::to_string(++state->count));
        if (state->count == 5) std::exchange(state->self, timer()).clear();
      },
      1ms);
  co_return;
}

inline task<> debounce(trace& log) {
  struct debounced {
    trace& log;
    timer pending;
    void operator()(std::string query) {
      pending.clear();
      pending = set_timeout([this, query] { log("Searching for: " + query); }, 300ms);
    }
  };
  debounced search{log, {}};
  search("node");
  log.busy(100ms);
  search("node.js");
  log("called twice");
  co_await sleep(299ms);
  log("not yet");
  co_await sleep(3ms);
}

inline task<> measuring(trace& log) {
  auto start = virtual_clock::now();
  log.busy(2ms);
  if (virtual_clock::now() - start == 2ms) log("Operation took 2");
  start = virtual_clock::now();
  co_await sleep(1s);
  auto took = virtual_clock::now() - start;
  if (took >= 1s && took < 1010ms) log("Async operation took 1000");
}

// ---- chunked jobs

inline task<> chunks_by_tick(trace& log) {
  struct job {
    trace& log;
    int index = 0;
    void next() {
      if (index >= 10) return queue_microtask(log.note("done"));
      next_tick([this] {
        log("chunk");
        index += 3;
        next();
      });
    }
  };
  auto* work = new job{log};
  set_timeout(log.note("timer"));
  set_immediate(log.note("immediate"));
  queue_microtask(log.note("promise"));
  work->next();
  log("sync end");
  co_await sleep(10ms);
  delete work;
}

inline task<> chunks_that_yield(trace& log) {
  set_timeout(log.note("timer"));
  set_immediate(log.note("immediate"));
  queue_microtask(log.note("promise"));
  log("sync end");
  for (int index = 0; index < 10; index += 3) {
    log("chunk");
    log.busy(3ms);
    co_await immediate();
  }
  log("done");
}

// ---- end-of-turn batches: a tick queued by a microtask runs when no microtask is left

class batcher {
 public:
  explicit batcher(trace& log) : log_(log) {}
  void load(int key) {
    if (keys_.empty()) {
      queue_microtask([this] { next_tick([this] { flush(); }); });
    }
    keys_ += (keys_.empty() ? "" : ",") + std::to_string(key);
  }

 private:
  void flush() { log_("batch " + std::exchange(keys_, {})); }
  trace& log_;
  std::string keys_;
};

inline task<> loads_of_one_turn_are_one_batch(trace& log) {
  batcher loader(log);
  loader.load(1);
  queue_microtask([&loader] { loader.load(3); });
  loader.load(2);
  set_immediate([&loader] { loader.load(5); });
  co_await microtask();
  co_await microtask();
  loader.load(4);
  co_await sleep(5ms);
}

// ---- queues of tasks

class priority_scheduler {
 public:
  explicit priority_scheduler(trace& log) : log_(log) {}
  void high(std::string name) {
    high_.push_back(std::move(name));
    next_tick([this] { process(); });
  }
  void low(std::string name) {
    low_.push_back(std::move(name));
    ++waiting_;
    set_immediate([this] { process(); });
  }
  event drained;

 private:
  void process() {
    while (!high_.empty()) {
      log_(high_.front());
      high_.pop_front();
    }
    if (low_.empty()) return;
    set_timeout([this, name = low_.front()] {
      log_(name);
      if (--waiting_ == 0) drained.set();
    });
    low_.pop_front();
  }
  trace& log_;
  std::deque<std::string> high_, low_;
  int waiting_ = 0;  // of low priority
};

inline task<> high_before_low(trace& log) {
  priority_scheduler scheduler(log);
  scheduler.low("low1");
  scheduler.low("low2");
  scheduler.high("high1");
  scheduler.high("high2");
  log("sync");
  co_await scheduler.drained.wait();
}

inline task<> starts_in_order_at_most_two(trace& log) {
  auto work = [](trace& l, int n, int rounds) -> task<int> {
    l("start " + std::to_string(n));
    for (int i = 0; i < rounds; ++i) co_await immediate();
    l("end " + std::to_string(n));
    co_return n;
  };
  std::vector<task<int>> tasks;
  for (int n = 0; n < 4; ++n) tasks.push_back(work(log, n, n == 0 ? 4 : 2));
  std::string order;
  auto results = co_await all(std::move(tasks), 2);
  for (int n : results) order += std::to_string(n);
  log("results " + order);
}

// The next start follows an end in the same drain: no immediate runs in between.
inline task<> next_start_in_the_same_drain(trace& log) {
  auto work = [](trace& l, int n) -> task<> {
    l("start " + std::to_string(n));
    co_await immediate();
    set_immediate(l.note("turn"));
    l("end " + std::to_string(n));
  };
  std::vector<task<>> tasks;
  for (int n = 1; n <= 3; ++n) tasks.push_back(work(log, n));
  co_await all(std::move(tasks), 1);
}

inline task<> waves(trace& log) {
  auto member = [](trace& l, int n) -> task<> {
    l("start " + std::to_string(n));
    for (int i = 0; i < n % 3; ++i) co_await immediate();
    l("end " + std::to_string(n));
  };
  for (int first = 0; first < 6; first += 3) {
    std::vector<task<>> wave;
    for (int n = first; n < first + 3; ++n) wave.push_back(member(log, n));
    co_await all_settled(std::move(wave));
    log("wave");
  }
}

inline task<> progress_of_a_migration(trace& log) {
  int migrated = 0;
  int failed = 0;
  auto record = [](int n) -> task<> {
    co_await poll_io();
    if (n == 150) throw std::runtime_error("bad record");
  };
  auto counted = [&, record](int n) -> task<> {
    if (!co_await attempt(record(n))) {
      ++failed;
      co_return;
    }
    if (++migrated % 100 == 0) log("progress " + std::to_string(migrated));
  };
  std::vector<task<>> records;
  for (int n = 1; n <= 301; ++n) records.push_back(counted(n));
  co_await all(std::move(records), 10);
  log("result " + std::to_string(migrated) + "/" + std::to_string(failed));
}

class priority_queue {
 public:
  explicit priority_queue(trace& log, scope& s) : log_(log), scope_(s) {}

  void add(int level, std::string name, int failures = 0) {
    levels_[level].push_back({std::move(name), failures, 0, level});
    if (failures != 0) log_("queued");
    process();
  }

 private:
  struct request {
    std::string name;
    int failures;
    int attempts;
    int level;
  };

  void process() {
    if (running_) return;
    for (auto& [level, queue] : levels_) {
      if (queue.empty()) continue;
      running_ = true;
      scope_.spawn_local([](priority_queue& self, request next) { return self.execute(std::move(next)); },
                         std::ref(*this), std::move(queue.front()));
      queue.pop_front();
      return;
    }
  }

  task<> execute(request now) {
    ++now.attempts;
    if (now.failures == 0 || now.attempts == 1) log_(now.name);
    co_await immediate();
    if (now.attempts <= now.failures) retry_or_fail(std::move(now));
    running_ = false;
    process();
  }

  void retry_or_fail(request now) {
    auto attempts = std::to_string(now.attempts);
    if (now.attempts == 3) return log_("failed(" + attempts + ")");
    auto delay = std::chrono::milliseconds((1 << now.attempts) * 1000);
    log_("retry(" + attempts + "," + std::to_string(delay.count()) + ")");
    set_timeout(
        [this, now] {
          levels_[now.level].push_front(now);
          process();
        },
        delay);
  }

  trace& log_;
  scope& scope_;
  std::map<int, std::deque<request>> levels_;  // 0: high
  bool running_ = false;
};

inline task<> high_medium_low(trace& log) {
  co_await with_scope([&log](scope& s) -> task<> {
    auto queue = std::make_shared<priority_queue>(log, s);
    queue->add(1, "busy");
    queue->add(2, "low");
    queue->add(1, "medium");
    queue->add(0, "high");
    s.on_exit([queue]() -> task<> { co_return; });
    co_return;
  });
}

inline task<> three_failures(trace& log) {
  co_await with_scope([&log](scope& s) -> task<> {
    auto queue = std::make_shared<priority_queue>(log, s);
    queue->add(1, "attempt", 3);
    s.on_exit([queue]() -> task<> { co_return; });
    co_return;
  });
}

inline task<> plugins_start_together_and_report_in_order(trace& log) {
  auto plugin = [](trace& l, int n, int rounds, bool fails) -> task<> {
    l("init " + std::to_string(n));
    for (int i = 0; i < rounds; ++i) co_await immediate();
    l("ready " + std::to_string(n));
    if (fails) throw std::runtime_error("bad plugin");
  };
  std::vector<task<>> starting;
  starting.push_back(plugin(log, 1, 3, false));
  starting.push_back(plugin(log, 2, 1, true));
  starting.push_back(plugin(log, 3, 2, false));
  auto report = co_await all_settled(std::move(starting));
  std::string text = "report";
  for (auto& each : report) text += each ? " fulfilled" : " rejected";
  log(text);
}

// ---- a request that fans out

inline task<std::string> step(trace& log, std::string name, bool fails = false) {
  co_await poll_io();
  log(name);
  if (fails) throw std::runtime_error(name + " failed");
  co_return name;
}

inline task<> checkout(trace& log, scope& background, bool payment_fails) {
  std::exception_ptr why;
  try {
    co_await step(log, "inventory");
    co_await all(step(log, "payment", payment_fails), step(log, "user"));
    co_await step(log, "order");
    background.spawn_local(
        [](trace& l) -> task<> {
          co_await sleep(5ms);
          l("notified");
        },
        std::ref(log));
    co_return;
  } catch (const std::exception&) {
    why = std::current_exception();
  }
  co_await step(log, "rollback");
  co_await step(log, "payment team");
  std::rethrow_exception(why);
}

inline task<> checkout_that_succeeds(trace& log) {
  co_await with_scope([&log](scope& s) -> task<> {
    co_await checkout(log, s, false);
    log("return");
  });
}

inline task<> checkout_that_fails(trace& log) {
  co_await with_scope([&log](scope& s) -> task<> {
    auto outcome = co_await attempt(checkout(log, s, true));
    log(message_of(outcome.failure().exception()));
  });
}

// ---- failures and exits

// Node raises 'unhandledRejection' when the microtasks are done. A task of weir has an owner from the start, so
// there is nothing to wait for: the hook is called as the task ends. Whoever awaits it later gets the failure too.
inline task<> failure_of_a_task_reaches_the_hook(trace& log) {
  log.on_uncaught = [&log](const std::exception_ptr& why) {
    log("uncaught " + message_of(why));
    return true;
  };
  next_tick([] { return failing("rejection"); });
  next_tick(log.note("tick"));
  queue_microtask(log.note("microtask"));
  set_immediate(log.note("immediate"));
  co_return;
}

inline task<> failure_awaited_later_is_still_reported(trace& log) {
  log.on_uncaught = [&log](const std::exception_ptr& why) {
    log("uncaught " + message_of(why));
    return true;
  };
  scope_options options;
  options.on_child_failure = [&log](const std::exception_ptr& why) { log("unhandled " + message_of(why)); };
  auto body = [&log](scope& s) -> task<> {
    auto child = s.spawn_local([] { return failing("rejection"); });
    co_await immediate();
    auto outcome = co_await attempt(std::move(child));
    log("handled " + message_of(outcome.failure().exception()));
  };
  co_await with_scope(body, options);
}

inline task<> before_exit_may_start_work(trace& log) {
  log("main");
  log.on_before_exit = [&log, first = true](int code) mutable {
    log("beforeExit " + std::to_string(code));
    if (!std::exchange(first, false)) return;
    set_timeout(log.note("timer from beforeExit"), 2ms);
  };
  log.on_exit = [&log](int code) { log("exit " + std::to_string(code)); };
  co_return;
}

inline task<> exit_skips_what_is_left(trace& log) {
  log.on_before_exit = [&log](int code) { log("beforeExit " + std::to_string(code)); };
  log.on_exit = [&log](int code) { log("exit " + std::to_string(code)); };
  set_timeout(log.note("never"), 1h);
  set_immediate([&log] {
    log("immediate");
    weir::exit(3);
  });
  set_immediate(log.note("never"));
  co_await sleep(1h);
  log("never");
}

inline task<> uncaught_ends_the_program(trace& log) {
  log.on_before_exit = [&log](int code) { log("beforeExit " + std::to_string(code)); };
  log.on_exit = [&log](int code) { log("exit " + std::to_string(code)); };
  set_timeout(log.note("never"), 50ms);
  co_await failing("uncaught");
}

inline task<> uncaught_closes_the_server_first(trace& log) {
  event failed;
  log.on_uncaught = [&](const std::exception_ptr& why) {
    log("uncaught " + message_of(why));
    failed.set();
    return true;
  };
  log.on_exit = [&log](int code) { log("exit " + std::to_string(code)); };
  next_tick([&log] {
    log("request");
    throw std::runtime_error("boom");
  });
  co_await failed.wait();
  co_await timeout(5s, poll_io());
  log("server closed");
  weir::exit(1);
  co_await sleep(1h);
}

// ---- the table

inline std::vector<std::string> timer_anywhere(const std::string& before) {
  return {before + " > timer > immediate > io", before + " > timer > io > immediate",
          before + " > io > immediate > timer", before + " > immediate > timer > io",
          before + " > immediate > io > timer"};
}

inline std::vector<std::string> renamed(std::vector<std::string> rows, const std::string& from, const std::string& to) {
  for (auto& row : rows) row.replace(row.find(from), from.size(), to);
  return rows;
}

/// All rows.
inline const std::vector<ordering_case>& ordering_cases() {
  static const std::vector<std::string> either = {"timeout > immediate", "immediate > timeout"};
  static const std::vector<std::string> tick_then_either = {"nextTick > timeout > immediate",
                                                            "nextTick > immediate > timeout"};
  static const std::vector<ordering_case> rows = {
      {"C2-ORD-01", all_kinds_from_main, {"1 > 6 > 4 > 3 > 2 > 5", "1 > 6 > 4 > 3 > 5 > 2"}},
      {"C2-ORD-02", timeout_and_immediate_from_io, {"immediate > timeout"}},
      {"C2-ORD-02 busy", slow_timeout_and_immediate_from_io, {"immediate > timeout"}},
      {"C2-ORD-03", tick_comes_first_even_if_queued_last, {"nextTick > immediate"}},
      {"C2-ORD-04", ticks_starve_the_loop, timer_anywhere("ticks")},
      {"C2-ORD-05", immediates_let_io_in, {"io > end of the chain"}},
      {"C2-ORD-06", all_kinds_and_close_from_io, {"nextTick > promise > immediate > close > timeout"}},
      {"C2-ORD-07", drains_between_timers, {"t1 > n1 > p1 > t2"}},
      {"C2-ORD-10",
       starts_in_order_at_most_two,
       {"start 0 > start 1 > end 1 > start 2 > end 0 > start 3 > end 2 > end 3 > results 0123"}},
      {"C2-ORD-12", high_medium_low, {"busy > high > medium > low"}},
      {"C2-ORD-12 retries",
       three_failures,
       {"queued > attempt > retry(1,2000) > retry(2,4000) > failed(3)"},
       0,
       pace::exact},
      {"C3-ORD-01",
       ticks_before_reactions_before_timers,
       {"Start > End > nextTick 1 > nextTick 2 > Promise 1 > Nested Promise > setTimeout"}},
      {"C3-ORD-02", tick_and_immediate, {"Start > End > nextTick > setImmediate"}},
      {"C3-ORD-03", timeout_and_immediate, either},
      {"C3-ORD-04", timeout_and_immediate_from_io, {"immediate > timeout"}},
      {"C3-ORD-04 pool", timeout_and_immediate_from_the_pool, {"immediate > timeout"}},
      {"C3-ORD-05", tick_timeout_and_immediate, tick_then_either},
      {"C3-ORD-05 io", all_kinds_from_io, {"tick > promise > queueMicrotask > immediate > timeout"}},
      {"C3-ORD-06", main_with_a_file_read, renamed(timer_anywhere("sync > tick > promise"), "io", "file")},
      {"C3-ORD-15", debounce, {"called twice > not yet > Searching for: node.js"}, 0, pace::exact},
      {"C3-ORD-16", interval_that_clears_itself, {"Interval 1 > Interval 2 > Interval 3 > Interval 4 > Interval 5"}},
      {"C3-ORD-17", measuring, {"Operation took 2 > Async operation took 1000"}, 0, pace::exact},
      {"C3-ORD-23",
       chunks_by_tick,
       {"sync end > chunk > chunk > chunk > chunk > promise > done > timer > immediate",
        "sync end > chunk > chunk > chunk > chunk > promise > done > immediate > timer"}},
      {"C3-ORD-23 fair",
       chunks_that_yield,
       {"sync end > chunk > promise > timer > immediate > chunk > chunk > chunk > done"}},
      {"C3-ORD-29", drains_between_timers, {"t1 > n1 > p1 > t2"}},
      {"C3-ORD-29 check", drains_between_immediates, {"I1 > I1 tick > I2 > I3"}},
      {"C3-ORD-30", reactions_are_not_interrupted_by_ticks, {"tick0 > P1 > QM > P1 nested > P2 > P1 tick"}},
      {"C3-ORD-30 tasks", tasks_are_reactions, {"tick > reaction > after microtask > after tick"}},
      {"C3-ORD-33", loads_of_one_turn_are_one_batch, {"batch 1,2,3,4 > batch 5"}},
      {"C3-ORD-39", clearing_twice_unknown_and_within, {"interval 1 > interval 2"}},
      {"C3-ORD-40", failure_of_a_task_reaches_the_hook, {"uncaught rejection > tick > microtask > immediate"}},
      {"C4-ORD-01",
       chained_reactions_run_in_one_drain,
       {"1. Script start > 2. Script end > 3. NextTick > 4. Promise 1 > 5. Promise 2 > 6. Timeout"}},
      {"C4-ORD-02", pool_and_file_in_any_order, {"Immediate log > file > crypto", "Immediate log > crypto > file"}},
      {"C4-ORD-03", high_before_low, {"sync > high1 > high2 > low1 > low2"}},
      {"C4-ORD-04",
       one_item_in_each_phase,
       {"timers > poll > check > close > timers", "timers > check > close > timers > poll",
        "timers > check > close > poll > timers"}},
      {"C4-ORD-05", drains_between_timers, {"t1 > n1 > p1 > t2"}},
      {"C4-ORD-06", tick_timeout_and_immediate, tick_then_either},
      {"C4-ORD-07",
       tick_of_a_handler_comes_before_the_next_io,
       {"chunk 1 > chunk 1 processed > chunk 2 > chunk 2 processed"}},
      {"C4-ORD-08", all_kinds_and_close_from_io, {"nextTick > promise > immediate > close > timeout"}},
      {"C4-ORD-09",
       before_exit_may_start_work,
       {"main > beforeExit 0 > timer from beforeExit > beforeExit 0 > exit 0"}},
      {"C4-ORD-09 exit", exit_skips_what_is_left, {"immediate > exit 3"}, 3},
      {"C4-ORD-09 uncaught", uncaught_ends_the_program, {"exit 1"}, 1},
      {"C4-ORD-10", failure_awaited_later_is_still_reported, {"unhandled rejection > handled rejection"}},
      {"C4-ORD-11", checkout_that_succeeds, {"inventory > payment > user > order > return > notified"}},
      {"C4-ORD-11 failure",
       checkout_that_fails,
       {"inventory > payment > rollback > payment team > payment failed",
        "inventory > payment > user > rollback > payment team > payment failed"}},
      {"C4-ORD-12",
       next_start_in_the_same_drain,
       {"start 1 > end 1 > start 2 > turn > end 2 > start 3 > turn > end 3 > turn"}},
      {"C4-ORD-13", progress_of_a_migration, {"progress 100 > progress 200 > progress 300 > result 300/1"}},
      {"C4-ORD-14",
       waves,
       {"start 0 > end 0 > start 1 > start 2 > end 1 > end 2 > wave > "
        "start 3 > end 3 > start 4 > start 5 > end 4 > end 5 > wave"}},
      {"C4-ORD-17",
       plugins_start_together_and_report_in_order,
       {"init 1 > init 2 > init 3 > ready 2 > ready 3 > ready 1 > report fulfilled rejected fulfilled"}},
      {"C4-ORD-19", uncaught_closes_the_server_first, {"request > uncaught boom > server closed > exit 1"}, 1},
      {"timers: from the call", timers_by_call_and_not_by_turn, {"10 ms, set at 0 > 5 ms, set at 20"}},
      {"timers: one phase",
       a_timer_due_during_the_phase_waits_for_the_next,
       {"t1 > t3 > immediate > t2"},
       0,
       pace::exact},
      {"timers: grouped",
       timers_due_together_fire_by_duration,
       {"10 at 5 > 10 at 12 > 20 at 0 > 20 at 8"},
       0,
       pace::exact},
  };
  return rows;
}

}  // namespace weir::testing
