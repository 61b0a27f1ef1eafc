// Whole systems that programs build on an emitter, in weir's terms: each is small because the parts are there.
#include <weir/sync/batcher.hpp>
#include <weir/sync/retry.hpp>
#include <weir/sync/throttle.hpp>
#include <weir/weir.hpp>

#include <weir/core/emitter.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/virtual_backend.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::sync {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::virtual_clock;

using log = std::vector<std::string>;

void on_virtual_time(task<> main) { runtime(testing::virtual_time()).block_on(std::move(main)); }

std::string at_ms() { return '@' + std::to_string(virtual_clock::elapsed() / 1ms); }

constexpr event_type<const std::string&> data{"data"};

// C2-SYS-01, C1-SYS-35: order, snapshot, once under re-entrancy and throw, removal, counts, the error event.
TEST(EmitterSystems, C2_SYS_01_custom_emitter) {
  emitter e;
  log seen;
  constexpr event_type<> connect{"connect"};
  e.on(data, [&](const std::string& text) { seen.push_back("Received: " + text); });
  e.once(connect, [&] {
    seen.emplace_back("Connected!");
    e.emit(connect);
    throw std::runtime_error("once");
  });
  EXPECT_TRUE(e.emit(data, "Hello"));
  EXPECT_THROW(e.emit(connect), std::runtime_error);
  EXPECT_FALSE(e.emit(connect));
  EXPECT_THAT(seen, ElementsAre("Received: Hello", "Connected!"));
  EXPECT_EQ(e.listener_count(data), 1U);
  EXPECT_THROW(e.emit(events::error, error(errc::err_closed)), error);
}

// An emitter that isolates its listeners: a failing one is told about, the rest still run (C1-EE-36, C3-EE-12).
class isolating : public emitter {
 public:
  static inline const event_type<std::string_view, const failure&> listener_failed{"listener.error"};

  template <class... A>
  bool emit_all(const event_type<A...>& what, const A&... args) {
    auto all = raw_listeners(what);
    for (auto& each : all) {
      try {
        each(args...);
      } catch (...) {
        emit(listener_failed, what.name(), failure(std::current_exception()));
      }
    }
    return !all.empty();
  }
};

TEST(EmitterSystems, C3_SYS_24_hand_written_emitter_propagates_or_isolates) {
  constexpr event_type<int> tick{"tick"};
  for (bool isolated : {false, true}) {
    isolating e;
    log seen;
    e.on(tick, [](int) { throw std::runtime_error("bad"); });
    e.once(tick, [&](int n) { seen.push_back(std::to_string(n)); });
    e.on(isolating::listener_failed, [&](std::string_view name, const failure& why) {
      seen.push_back("Error in " + std::string(name) + " handler: " + why.message());
    });
    if (isolated) {
      EXPECT_TRUE(e.emit_all(tick, 1));
      EXPECT_TRUE(e.emit_all(tick, 2));
      EXPECT_THAT(seen, ElementsAre("Error in tick handler: bad", "1", "Error in tick handler: bad"));
    } else {
      EXPECT_THROW(e.emit(tick, 1), std::runtime_error);
      EXPECT_THAT(seen, IsEmpty());
    }
  }
}

// C3-ORD-14: topics come and go with their subscribers; ending twice is harmless, also when the topic has gone.
TEST(EmitterSystems, C3_SYS_25_topic_publish_and_subscribe) {
  emitter topics;
  log seen;
  auto topic = [](std::string_view name) { return event_type<const std::string&>(name); };
  auto unsubscribe =
      topics.subscribe(topic("news"), [&](const std::string& text) { seen.push_back("News update: " + text); });
  topics.emit(topic("news"), "Breaking: Node.js 20 released!");
  seen.emplace_back("published");
  unsubscribe.reset();
  unsubscribe.reset();
  EXPECT_FALSE(topics.emit(topic("news"), "unheard"));
  EXPECT_THAT(topics.event_names(), IsEmpty());
  EXPECT_THAT(seen, ElementsAre("News update: Breaking: Node.js 20 released!", "published"));

  std::vector<subscription> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(topics.subscribe(topic("x"), [&, i] {
      seen.push_back(std::to_string(i));
      all.clear();  // among them itself, and those whose turn would come
    }));
  }
  seen.clear();
  topics.emit(topic("x"), "");
  EXPECT_THAT(seen, ElementsAre("0"));
}

// C3-ORD-13 and the awaitable form with a timeout (C0-EV-13).
using reply = std::function<void(const std::string&)>;
constexpr event_type<const std::string&, const reply&> request{"request"};

task<std::string> ask(emitter& e, std::string what, std::chrono::nanoseconds limit) {
  struct pending {
    event answered;
    std::string answer;
  };
  auto waits = std::make_shared<pending>();
  auto answer = [waits](const std::string& text) {
    if (waits->answered.is_set()) return;  // the first counts
    waits->answer = text;
    waits->answered.set();
  };
  if (!e.emit(request, what, answer)) throw error(errc::err_invalid_state, "nobody answers requests");
  co_await timeout(limit, waits->answered.wait());
  co_return waits->answer;
}

TEST(EmitterSystems, C3_SYS_26_request_and_response) {
  on_virtual_time([]() -> task<> {
    emitter e;
    log seen;
    EXPECT_TRUE((co_await attempt(ask(e, "getUser", 5s))).failure().is("ERR_INVALID_STATE"));
    auto at_once = e.on(request, [&](const std::string& what, const reply& answer) {
      seen.push_back("Request received: " + what);
      answer("Processed");
    });
    e.emit(request, "getUser", [&](const std::string& text) { seen.push_back("Response: " + text); });
    seen.emplace_back("emitted");
    EXPECT_THAT(seen, ElementsAre("Request received: getUser", "Response: Processed", "emitted"));
    EXPECT_EQ(co_await ask(e, "again", 5s), "Processed");
    at_once.remove();
    co_await with_scope([&](scope&) -> task<> {
      e.once(request, [](const std::string& what, const reply& answer) -> task<> {
        co_await sleep(1s);
        answer("late " + what);
        answer("twice");
      });
      EXPECT_EQ(co_await ask(e, "slow", 5s), "late slow");
      e.on(request, [](const std::string&, const reply& answer) -> task<> {
        co_await sleep(10s);
        answer("too late");  // nobody waits any more
      });
      EXPECT_TRUE((co_await attempt(ask(e, "slower", 5s))).failure().is("ETIMEDOUT"));
    });
  }());
}

// C3-ORD-12: a listener that is added right after save() still hears of it.
TEST(EmitterSystems, C3_SYS_27_domain_object_with_a_deferred_event) {
  on_virtual_time(with_scope([](scope& s) -> task<> {
    struct user : emitter, std::enable_shared_from_this<user> {
      std::string name = "Alice";
      void save(const event_type<const std::string&>& saved) {
        set_immediate([self = shared_from_this(), saved] { self->emit(saved, self->name); });
      }
    };
    static constexpr event_type<const std::string&> saved{"saved"};
    log seen;
    {
      auto u = std::make_shared<user>();
      u->save(saved);
      u->on(saved, [&](const std::string& name) { seen.push_back("User saved: " + name); });
    }
    EXPECT_THAT(seen, IsEmpty());
    co_await immediate();
    EXPECT_THAT(seen, ElementsAre("User saved: Alice"));
    static_cast<void>(s);
  }));
}

struct user_data {
  std::string name, email;
};

// C1-EE-12..16: events in order, errors twice (generic and its own) and then thrown, emit with retry, staggered
// batches.
class user_service : public emitter {
 public:
  static inline const event_type<const user_data&> before_create{"user.beforeCreate"}, created{"user.created"},
      after_create{"user.afterCreate"};
  static inline const event_type<const failure&, const user_data&> create_error{"user.createError"};
  static inline const event_type<std::string_view, int> complete{"operation.complete"};

  void create(const user_data& user) {
    try {
      if (user.name.empty() || user.email.empty()) throw std::invalid_argument("Invalid user data");
      users_.push_back(user);
    } catch (...) {
      failure why(std::current_exception());
      emit(events::error, why);
      emit(create_error, why, user);
      throw;
    }
    emit(before_create, user);
    emit(created, user);
    emit(after_create, user);
    emit(complete, "createUser", 0);
  }

  task<bool> emit_with_retry(event_type<const user_data&> what, user_data user) {
    auto tried = co_await attempt(
        retry([&]() -> task<bool> { co_return emit(what, user); },
              {.attempts = 3, .pause = {.delay = 1s, .grows = growth::linear, .spread = jitter::none}}));
    if (!tried)
      throw error(errc::err_unhandled_error, "Failed to emit " + std::string(what.name()) + " after 3 retries");
    co_return *tried;
  }

  std::size_t count() const noexcept { return users_.size(); }

 private:
  std::vector<user_data> users_;
};

TEST(EmitterSystems, C1_SYS_36_user_service) {
  on_virtual_time([]() -> task<> {
    user_service service;
    log seen;
    auto note = [&](std::string_view what) {
      return [&seen, what](const user_data& u) { seen.push_back(std::string(what) + ' ' + u.name); };
    };
    service.on(user_service::before_create, note("before"));
    service.on(user_service::created, note("created"));
    service.on(user_service::after_create, note("after"));
    service.on(user_service::complete, [&](std::string_view op) { seen.push_back("complete " + std::string(op)); });
    service.on(events::error, [&](const failure& why) { seen.push_back("error " + why.message()); });
    service.on(user_service::create_error, [&](const failure& why) { seen.push_back("createError " + why.message()); });
    service.create({"Ann", "a@x"});
    EXPECT_THROW(service.create({"Bob", ""}), std::invalid_argument);
    EXPECT_EQ(service.count(), 1U);
    EXPECT_THAT(seen, ElementsAre("before Ann", "created Ann", "after Ann", "complete createUser",
                                  "error Invalid user data", "createError Invalid user data"));

    int calls = 0;
    service.prepend(user_service::created, [&] {
      if (++calls < 3) throw std::runtime_error("busy");
    });
    seen.clear();
    EXPECT_TRUE(co_await service.emit_with_retry(user_service::created, {"Cid", "c@x"}));
    EXPECT_THAT(seen, ElementsAre("created Cid"));
    EXPECT_EQ(virtual_clock::elapsed(), 3s);
    calls = -100;
    auto outcome = co_await attempt(service.emit_with_retry(user_service::created, {"Dan", "d@x"}));
    EXPECT_EQ(outcome.failure().message(), "Failed to emit user.created after 3 retries");
  }());
}

// C1-EE-17..22 under a virtual clock: debounce, throttle, chain, broadcast, validate, monitor.
TEST(EmitterSystems, C1_SYS_37_emitter_patterns) {
  on_virtual_time([]() -> task<> {
    emitter e;
    log seen;
    e.on(data, [&](const std::string& text) { seen.push_back(text + at_ms()); });
    co_await with_scope([&](scope&) -> task<> {
      auto debounced = debounce<std::string>(300ms, [&](const std::string& text) { e.emit(data, text); });
      debounced("first");
      co_await sleep(100ms);
      debounced("last");
      co_await sleep(400ms);
      auto throttled =
          throttle<std::string>(1s, [&](const std::string& text) { e.emit(data, text); }, {.trailing = false});
      EXPECT_TRUE(throttled("at once"));
      EXPECT_FALSE(throttled("dropped"));
    });
    EXPECT_THAT(seen, ElementsAre("last@400", "at once@500"));

    emitter chain;  // one after the other, and the first error ends it
    log steps;
    chain.on(data, [&](const std::string&) -> task<> {
      co_await sleep(10ms);
      steps.emplace_back("one");
    });
    chain.on(data, [&](const std::string&) -> task<> {
      steps.emplace_back("two");
      throw std::runtime_error("broken");
      co_return;
    });
    chain.on(data, [&](const std::string&) { steps.emplace_back("three"); });
    auto run_chain = [&]() -> task<> {
      for (auto& each : chain.listeners(data)) co_await each.call_and_wait("x");
    };
    EXPECT_EQ((co_await attempt(run_chain())).failure().message(), "broken");
    EXPECT_THAT(steps, ElementsAre("one", "two"));

    std::map<std::string, int> heard;  // a broadcast goes to each channel that somebody is subscribed to
    emitter channels;
    for (std::string name : {"a", "b"}) {
      auto full = name + ":data";
      event_type<const std::string&> topic(full);
      channels.on(topic, [&heard, name] { ++heard[name]; });
    }
    for (std::string full : {"a:data", "b:data", "c:data"}) {
      channels.emit(event_type<const std::string&>(full), "x");
    }
    EXPECT_EQ(heard, (std::map<std::string, int>{{"a", 1}, {"b", 1}}));
  }());
}

// C0-EV-10..15, C0-EV-18: the seeds' variants of an emitter.
TEST(EmitterSystems, C0_SC_23_emitter_variants) {
  on_virtual_time([]() -> task<> {
    emitter e;
    log seen;
    // asynchronous: results in order, a failure is one of them
    e.on(data, [](const std::string&) -> task<> { co_await sleep(20ms); });
    e.on(data, [](const std::string&) { throw std::runtime_error("second"); });
    auto outcomes = co_await e.emit_and_wait(data, "x");
    EXPECT_EQ(outcomes.size(), 2U);
    EXPECT_TRUE(outcomes.at(0).has_value());
    EXPECT_FALSE(outcomes.at(1).has_value());

    // batched: one array per 100 ms and event, the rest when it goes
    constexpr event_type<const std::vector<int>&> batch{"batch"};
    e.on(batch, [&](const std::vector<int>& items) { seen.push_back(std::to_string(items.size()) + at_ms()); });
    co_await with_scope([&](scope& s) -> task<> {
      batcher<int> b(s,
                     [&](std::vector<int> items) -> task<> {
                       e.emit(batch, items);
                       co_return;
                     },
                     {.max_wait = 100ms});
      for (int i = 0; i < 5; ++i) b.push(i);
      co_await sleep(150ms);
      b.push(6);
    });
    EXPECT_THAT(seen, ElementsAre("5@120", "1@170"));

    // filtered: an explicit veto; a filter that throws is told about and passes, without an end (C0-EV-12)
    struct filtered : emitter {
      std::vector<std::function<bool(const std::string&)>> filters;
      bool emit_filtered(const std::string& text) {
        for (auto& each : filters) {
          try {
            if (!each(text)) return false;
          } catch (...) {
            emit(events::error, failure(std::current_exception()));
          }
        }
        return emit(data, text);
      }
    } f;
    int errors = 0;
    f.on(events::error, [&] { ++errors; });
    f.on(data, [] {});
    f.filters.emplace_back([](const std::string& text) { return text != "veto"; });
    f.filters.emplace_back([](const std::string&) -> bool { throw std::runtime_error("filter"); });
    EXPECT_TRUE(f.emit_filtered("x"));
    EXPECT_FALSE(f.emit_filtered("veto"));
    EXPECT_EQ(errors, 1);

    // scoped by async context: heard only within the scope of its own, across awaits
    static async_local<int> current;
    emitter scoped;
    std::vector<int> within;
    for (int id : {1, 2}) {
      scoped.on(data, [&within, id] {
        if (current.get() != nullptr && *current.get() == id) within.push_back(id);
      });
    }
    auto emits = [&]() -> task<> {
      co_await sleep(1ms);
      scoped.emit(data, "x");
    };
    co_await all(current.with(2, emits()), current.with(1, emits()));
    scoped.emit(data, "outside");
    EXPECT_THAT(within, ElementsAre(2, 1));
  }());
}

// C0-EV-16, C0-EV-17: hooks by phase and priority around an event, middleware that rewrites its argument, and plugins
// whose hooks really go with them.
class hookable {
 public:
  using hook = std::function<std::string(std::string&)>;
  enum class phase { before_all, before, after, after_all };

  class plugin {
   public:
    explicit plugin(hookable& of) : of_(&of) {}
    template <class F>
    void add_hook(phase when, F run, int priority = 100) {
      auto wrapped = [run = std::move(run)](std::string& text) mutable -> std::string {
        if constexpr (std::is_void_v<decltype(run(text))>) {
          run(text);
          return "done";
        } else {
          return run(text);
        }
      };
      mine_.push_back(of_->hooks_.insert({{when, priority}, std::make_shared<hook>(std::move(wrapped))}));
    }
    ~plugin() {
      for (auto each : mine_) of_->hooks_.erase(each);
    }

   private:
    friend class hookable;
    hookable* of_;
    std::vector<std::multimap<std::pair<phase, int>, std::shared_ptr<hook>>::iterator> mine_;
  };

  plugin& register_plugin(const std::string& name) {
    auto [at, fresh] = plugins_.try_emplace(name, nullptr);
    if (!fresh) throw error(errc::err_invalid_state, "Plugin " + name + " is registered already");
    at->second = std::make_unique<plugin>(*this);
    return *at->second;
  }
  void unregister_plugin(const std::string& name) { plugins_.erase(name); }

  emitter events;

  /// What the hooks of the last `execute` gave, in the order in which they ran.
  std::vector<std::pair<phase, std::string>> results;

  bool execute(std::string text) {
    results.clear();
    run(phase::before_all, text);
    bool heard = emit(text);
    run(phase::after_all, text);
    return heard;
  }

  bool emit(std::string text) {
    run(phase::before, text);
    bool heard = events.emit(data, text);
    run(phase::after, text);
    return heard;
  }

 private:
  void run(phase when, std::string& text) {
    std::vector<std::shared_ptr<hook>> now;
    for (auto& [key, each] : hooks_) {
      if (key.first == when) now.push_back(each);
    }
    for (auto& each : now) {
      try {
        results.emplace_back(when, (*each)(text));
      } catch (...) {
        events.emit(weir::events::error, failure(std::current_exception()));
      }
    }
  }

  std::multimap<std::pair<phase, int>, std::shared_ptr<hook>> hooks_;
  std::map<std::string, std::unique_ptr<plugin>> plugins_;
};

TEST(EmitterSystems, C0_SC_06_plugin_system) {
  hookable app;
  log seen;
  app.events.on(events::error, [&](const failure& why) { seen.push_back("hook error: " + why.message()); });
  app.events.on(data, [&](const std::string& text) { seen.push_back("heard " + text); });
  auto note = [&](std::string what) { return [&seen, what](std::string&) { seen.push_back(what); }; };
  auto& first = app.register_plugin("first");
  first.add_hook(hookable::phase::before, note("b100"));
  first.add_hook(hookable::phase::before, note("b100 too"));
  first.add_hook(hookable::phase::before, note("b10"), 10);
  first.add_hook(hookable::phase::after, [](std::string&) { throw std::runtime_error("in a hook"); }, 1);
  first.add_hook(hookable::phase::after, note("a100"));
  auto& second = app.register_plugin("second");
  second.add_hook(hookable::phase::before, [](std::string& text) { text += " rewritten"; }, 50);
  EXPECT_THROW(app.register_plugin("first"), error);
  EXPECT_TRUE(app.emit("x"));
  EXPECT_THAT(seen, ElementsAre("b10", "b100", "b100 too", "heard x rewritten", "hook error: in a hook", "a100"));
  seen.clear();
  app.unregister_plugin("first");
  EXPECT_TRUE(app.emit("y"));
  EXPECT_THAT(seen, ElementsAre("heard y rewritten"));
}

// C0-EV-16: an earlier design had nowhere to keep what hooks around the whole gave, and took that for their failure.
TEST(EmitterSystems, C0_SC_06_hooks_around_everything_have_results_as_well) {
  using phase = hookable::phase;
  hookable app;
  log seen;
  app.events.on(events::error, [&](const failure& why) { seen.push_back("hook error: " + why.message()); });
  app.events.on(data, [&](const std::string& text) { seen.push_back("heard " + text); });
  auto& plugin = app.register_plugin("plugin");
  plugin.add_hook(phase::after_all, [&](std::string& text) { return "all after " + text; });
  plugin.add_hook(phase::before_all, [&](std::string& text) { return "second before " + text; });
  plugin.add_hook(phase::before, [](std::string& text) { text += "!"; });
  plugin.add_hook(phase::before_all, [&](std::string&) -> std::string { throw std::runtime_error("third"); }, 200);
  plugin.add_hook(phase::before_all, [&](std::string& text) { return std::exchange(text, "y") + " first"; }, 1);
  EXPECT_TRUE(app.execute("x"));
  EXPECT_THAT(seen, ElementsAre("hook error: third", "heard y!"));
  EXPECT_THAT(app.results,
              ElementsAre(std::pair(phase::before_all, "x first"), std::pair(phase::before_all, "second before y"),
                          std::pair(phase::before, "done"), std::pair(phase::after_all, "all after y")));
  app.unregister_plugin("plugin");
  EXPECT_TRUE(app.execute("z"));
  EXPECT_TRUE(app.results.empty());
}

// C1-EE-31..36: lazily made listeners, also those added after the first event; batches by size or time.
TEST(EmitterSystems, C1_SYS_39_emitter_optimisations) {
  emitter e;
  int made = 0;
  int calls = 0;
  auto lazily = [&](auto make) {
    auto ready = std::make_shared<std::optional<std::function<void()>>>();
    e.on(data, [ready, make] {
      if (!*ready) ready->emplace(make());
      (**ready)();
    });
  };
  auto make = [&] {
    ++made;
    return std::function<void()>([&] { ++calls; });
  };
  lazily(make);
  EXPECT_EQ(made, 0);
  e.emit(data, "x");
  lazily(make);
  e.emit(data, "y");
  EXPECT_EQ(made, 2);
  EXPECT_EQ(calls, 3);
}

// Node's deprecated domains are scopes here: what goes wrong in listeners and tasks of a request ends that request.
TEST(EmitterSystems, a_scope_takes_the_place_of_a_domain) {
  on_virtual_time([]() -> task<> {
    emitter e;
    log seen;
    e.on(data, [](const std::string& text) -> task<> {
      co_await sleep(1ms);
      if (text == "bad") throw std::runtime_error("in a listener");
    });
    for (std::string text : {"bad", "good"}) {
      auto outcome = co_await attempt(with_scope([&](scope&) -> task<> {
        e.emit(data, text);
        co_await sleep(1s);
      }));
      seen.push_back(text + (outcome ? " done" : ": " + outcome.failure().message()) + at_ms());
    }
    EXPECT_THAT(seen, ElementsAre("bad: in a listener@1", "good done@1001"));
  }());
}

}  // namespace
}  // namespace weir::sync
