#include <weir/core/emitter.hpp>
#include <weir/core/warning.hpp>
#include <weir/weir.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir {
namespace {

using namespace std::chrono_literals;
using testing::counted;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::run_with;

using log = std::vector<std::string>;

constexpr event_type<std::string_view> greet{"greet"};
constexpr event_type<int> number{"number"};
constexpr event_type<> ping{"ping"};

/// What is warned of while it lives.
class warnings {
 public:
  warnings()
      : before_(on_warning([this](const warning& what) {
          heard.push_back(what.type + ": " + what.message);
          return true;
        })) {}
  ~warnings() { on_warning(std::move(before_)); }
  log heard;

 private:
  std::function<bool(const warning&)> before_;
};

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "(nothing)";
}

// C3-ORD-08, C2-ORD-08
TEST(Emitter, calls_a_listener_before_emit_returns) {
  emitter e;
  log seen;
  e.on(greet, [&](std::string_view name) { seen.push_back("Hello, " + std::string(name) + '!'); });
  seen.emplace_back("before");
  EXPECT_TRUE(e.emit(greet, "Alice"));
  seen.emplace_back("after");
  EXPECT_THAT(seen, ElementsAre("before", "Hello, Alice!", "after"));
}

// C3-ORD-09, C1-EE-01
TEST(Emitter, calls_listeners_in_order_of_registration) {
  emitter e;
  log seen;
  e.on(greet, [&](std::string_view text) { seen.push_back("Listener 1: " + std::string(text)); });
  e.on(greet, [&](std::string_view given) {
    std::string text(given);
    for (auto& c : text) c = static_cast<char>(std::toupper(c));
    seen.push_back("Listener 2: " + text);
  });
  e.emit(greet, "test");
  EXPECT_THAT(seen, ElementsAre("Listener 1: test", "Listener 2: TEST"));
}

TEST(Emitter, says_whether_anybody_listened) {
  emitter e;
  EXPECT_FALSE(e.emit(ping));
  auto heard = e.on(ping, [] {});
  EXPECT_TRUE(e.emit(ping));
  EXPECT_TRUE(heard.remove());
  EXPECT_FALSE(e.emit(ping));  // C2-EE-03: not true because the name was known once
}

TEST(Emitter, hands_over_many_arguments_and_lets_a_listener_take_the_first_of_them) {
  emitter e;
  constexpr event_type<int, const std::string&, std::vector<int>&> many{"many"};
  log seen;
  e.on(many, [&](int a, const std::string& b, std::vector<int>& c) {
    c.push_back(a);
    seen.push_back(b);
  });
  e.on(many, [&](int a) { seen.push_back(std::to_string(a)); });
  e.on(many, [&] { seen.emplace_back("none"); });
  std::vector<int> grown;
  e.emit(many, 7, "text", grown);
  EXPECT_THAT(grown, ElementsAre(7));
  EXPECT_THAT(seen, ElementsAre("text", "7", "none"));
}

TEST(Emitter, passes_large_values_by_reference) {
  struct heavy {
    heavy() = default;
    heavy(const heavy& other) : copies(other.copies + 1) {}
    heavy& operator=(const heavy&) = default;
    int copies = 0;
    char bytes[100] = {};
  };
  emitter e;
  constexpr event_type<heavy> weighty{"weighty"};
  int copies = -1;
  e.on(weighty, [&](const heavy& h) { copies = h.copies; });
  e.emit(weighty, heavy());
  EXPECT_EQ(copies, 0);
}

TEST(Emitter, lets_a_throwing_listener_out_and_skips_the_rest) {
  emitter e;
  log seen;
  e.on(ping, [&] { seen.emplace_back("a"); });
  e.on(ping, [] { throw std::runtime_error("b"); });
  e.on(ping, [&] { seen.emplace_back("c"); });
  EXPECT_THROW(e.emit(ping), std::runtime_error);
  EXPECT_THROW(e.emit(ping), std::runtime_error);
  EXPECT_THAT(seen, ElementsAre("a", "a"));
}

// C2-ORD-08, C3-ORD-10
TEST(Emitter, calls_a_listener_for_once_a_single_time) {
  emitter e;
  log seen;
  auto once = e.once(ping, [&] { seen.emplace_back("Connected!"); });
  EXPECT_TRUE(once.is_once());
  EXPECT_TRUE(e.emit(ping));
  EXPECT_FALSE(e.emit(ping));
  EXPECT_FALSE(once.active());
  EXPECT_THAT(seen, ElementsAre("Connected!"));
}

// C2-EE-05: the seed removes it after the call.
TEST(Emitter, removes_a_listener_for_once_before_it_is_called) {
  emitter e;
  int calls = 0;
  e.once(ping, [&] {
    ++calls;
    EXPECT_EQ(e.listener_count(ping), 0U);
    EXPECT_FALSE(e.emit(ping));
  });
  e.emit(ping);
  EXPECT_EQ(calls, 1);
  e.once(ping, [] { throw std::runtime_error("x"); });
  EXPECT_THROW(e.emit(ping), std::runtime_error);
  EXPECT_EQ(e.listener_count(ping), 0U);
}

TEST(Emitter, calls_a_listener_for_once_a_single_time_in_nested_emits) {
  emitter e;
  log seen;
  bool nested = false;
  e.on(ping, [&] {
    if (!std::exchange(nested, true)) e.emit(ping);
  });
  e.once(ping, [&] { seen.emplace_back("once"); });
  e.on(ping, [&] { seen.emplace_back("on"); });
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("once", "on", "on"));
}

TEST(Emitter, puts_prepended_listeners_first) {
  emitter e;
  log seen;
  e.on(ping, [&] { seen.emplace_back("on"); });
  e.prepend(ping, [&] { seen.emplace_back("prepended"); });
  e.prepend_once(ping, [&] { seen.emplace_back("prepended once"); });
  e.emit(ping);
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("prepended once", "prepended", "on", "prepended", "on"));
}

// C2-ORD-09
TEST(Emitter, still_calls_a_listener_removed_while_it_emits) {
  emitter e;
  log seen;
  listener b;
  e.on(ping, [&] {
    seen.emplace_back("a");
    b.remove();
  });
  b = e.on(ping, [&] { seen.emplace_back("b"); });
  e.emit(ping);
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("a", "b", "a"));
}

TEST(Emitter, keeps_what_a_removed_listener_holds_until_emit_is_over) {
  emitter e;
  std::optional<int> seen;
  listener self;
  self = e.on(ping, [&, kept = std::make_shared<int>(4)] {
    self.remove();
    self = {};
    seen = *kept;
  });
  e.emit(ping);
  EXPECT_EQ(seen, 4);
}

TEST(Emitter, calls_a_listener_added_while_it_emits_only_the_next_time) {
  emitter e;
  log seen;
  e.once(ping, [&] {
    seen.emplace_back("a");
    e.on(ping, [&] { seen.emplace_back("late"); });
  });
  e.on(ping, [&] { seen.emplace_back("b"); });
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("a", "b"));
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("a", "b", "b", "late"));
}

TEST(Emitter, may_lose_all_its_listeners_within_one_of_them) {
  emitter e;
  log seen;
  e.on(ping, [&] {
    seen.emplace_back("a");
    e.remove_all_listeners();
  });
  e.on(ping, [&] { seen.emplace_back("b"); });
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("a", "b"));
  EXPECT_FALSE(e.emit(ping));
}

TEST(Emitter, may_be_destroyed_by_its_own_listener) {
  for (int depth = 1; depth <= 3; ++depth) {
    auto e = std::make_unique<emitter>();
    log seen;
    int left = depth;
    e->on(ping, [&, kept = std::string("kept")] {
      if (--left > 0) {
        e->emit(ping);
      } else {
        e.reset();
      }
      seen.push_back(kept);
    });
    e->once(ping, [&] { seen.emplace_back("never"); });
    e->on(ping, [&] { seen.emplace_back("never"); });
    auto* raw = e.get();
    EXPECT_TRUE(raw->emit(ping));
    EXPECT_EQ(seen, log(static_cast<std::size_t>(depth), "kept"));
  }
}

TEST(Emitter, may_be_destroyed_while_it_adds_or_removes) {
  auto e = std::make_unique<emitter>();
  e->on(events::new_listener, [&] { e.reset(); });
  auto* raw = e.get();
  EXPECT_FALSE(raw->on(ping, [] {}).active());
  EXPECT_EQ(e, nullptr);

  e = std::make_unique<emitter>();
  e->once(ping, [] { ADD_FAILURE() << "its emitter had gone"; });
  e->on(events::remove_listener, [&] { e.reset(); });
  EXPECT_TRUE(e->emit(ping));
  EXPECT_EQ(e, nullptr);

  e = std::make_unique<emitter>();
  for (int i = 0; i < 3; ++i) e->on(ping, [] {});
  e->on(events::remove_listener, [&] { e.reset(); });
  raw = e.get();
  raw->remove_all_listeners();
  EXPECT_EQ(e, nullptr);

  e = std::make_unique<emitter>();
  e->on(events::error_monitor, [&] { e.reset(); });
  raw = e.get();
  EXPECT_TRUE(raw->emit(events::error, error(errc::err_closed)));
}

TEST(Emitter, frees_every_listener) {
  int before = counted::alive();
  {
    emitter e;
    for (int i = 0; i < 20; ++i) {
      std::string text(1, static_cast<char>('a' + i % 5));
      event_type<> name(text);
      e.on(name, [c = counted()] {});
      e.once(name, [c = counted()] {});
    }
    EXPECT_EQ(counted::alive(), before + 40);
    e.remove_all_listeners(event_type<>("a"));
    EXPECT_EQ(counted::alive(), before + 32);
    e.emit(event_type<>("b"));
    EXPECT_EQ(counted::alive(), before + 28);
  }
  EXPECT_EQ(counted::alive(), before);
}

// C2-EE-02 promises the first; Node, and so we, take the last.
TEST(Emitter, removes_the_registration_added_last) {
  emitter e;
  log seen;
  auto twice = e.on(ping, [&] { seen.emplace_back("twice"); });
  e.on(ping, [&] { seen.emplace_back("between"); });
  auto again = e.on(ping, twice);
  EXPECT_EQ(twice, again);
  EXPECT_EQ(e.listener_count(ping), 3U);
  EXPECT_EQ(e.listener_count(ping, twice), 2U);
  EXPECT_TRUE(e.off(ping, twice));
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("twice", "between"));
  EXPECT_FALSE(again.active());
  EXPECT_TRUE(twice.active());
  EXPECT_TRUE(e.off(ping, again));
  EXPECT_FALSE(e.off(ping, again));
  EXPECT_EQ(e.listener_count(ping), 1U);
}

TEST(Emitter, removes_exactly_the_registration_that_is_named) {
  emitter e;
  auto first = e.on(ping, [] {});
  auto second = e.on(ping, first);
  EXPECT_TRUE(e.off(first));
  EXPECT_FALSE(first.active());
  EXPECT_TRUE(second.active());
  EXPECT_FALSE(e.off(first));
  emitter other;
  EXPECT_FALSE(other.off(second));
  EXPECT_FALSE(other.off(ping, second));
  EXPECT_FALSE(e.off(listener()));
}

int calls_of_plain = 0;
void plain(int by) { calls_of_plain += by; }
void another_plain(int) {}

TEST(Emitter, knows_a_plain_function_by_itself) {
  emitter e;
  calls_of_plain = 0;
  e.on(number, plain);
  e.on(number, &plain);
  e.on(number, another_plain);
  e.emit(number, 2);
  EXPECT_EQ(calls_of_plain, 4);
  EXPECT_TRUE(e.off(number, plain));
  EXPECT_TRUE(e.off(number, plain));
  EXPECT_FALSE(e.off(number, plain));
  EXPECT_EQ(e.listener_count(number), 1U);
}

// C2-EE-06
TEST(Emitter, removes_a_listener_for_once_by_its_handle) {
  emitter e;
  auto once = e.once(ping, [] { ADD_FAILURE(); });
  EXPECT_TRUE(e.off(ping, once));
  EXPECT_FALSE(e.emit(ping));
}

TEST(Emitter, does_not_call_a_subscriber_that_has_gone) {
  emitter e;
  log seen;
  std::optional<subscription> later;
  e.on(ping, [&] { later.reset(); });
  later.emplace(e.subscribe(ping, [&] { seen.emplace_back("gone"); }));
  EXPECT_TRUE(later->active());
  e.emit(ping);
  EXPECT_THAT(seen, IsEmpty());
  EXPECT_EQ(e.listener_count(ping), 1U);
}

// C0-EV-20, C3-SYS-25: a second call of the unsubscribe handle is harmless.
TEST(Emitter, lets_a_subscription_be_ended_twice_moved_released_and_outlive_it) {
  subscription left;
  {
    emitter e;
    auto one = e.subscribe(ping, [] {});
    one.reset();
    one.reset();
    EXPECT_EQ(e.listener_count(ping), 0U);
    auto two = e.subscribe(ping, [] {});
    left = std::move(two);
    EXPECT_TRUE(left.active());
    auto kept = e.subscribe(ping, [] {}).release();
    EXPECT_TRUE(kept.active());
    EXPECT_EQ(e.listener_count(ping), 2U);
  }
  EXPECT_FALSE(left.active());
}

TEST(Emitter, counts_names_and_lists_its_listeners) {
  emitter e;
  EXPECT_THAT(e.event_names(), IsEmpty());
  e.on(greet, [] {});
  e.on(ping, [] {});
  e.on(event_type<>("made at " + std::string("run time")), [] {});
  e.on(events::error_monitor, [] {});
  e.once(ping, [] {});
  EXPECT_THAT(e.event_names(), ElementsAre("greet", "ping", "made at run time", "Symbol(events.errorMonitor)"));
  EXPECT_EQ(e.listener_count(ping), 2U);
  e.remove_all_listeners(greet);
  e.on(greet, [] {});
  EXPECT_THAT(e.event_names(), ElementsAre("ping", "made at run time", "Symbol(events.errorMonitor)", "greet"));
  e.remove_all_listeners();
  EXPECT_THAT(e.event_names(), IsEmpty());
}

// C2-EE-08: an empty name is a name.
TEST(Emitter, takes_any_text_for_a_name) {
  emitter e;
  constexpr event_type<> empty{""};
  constexpr event_type<> odd{"constructor"};
  e.on(empty, [] {});
  e.on(odd, [] {});
  e.on(ping, [] {});
  EXPECT_TRUE(e.emit(empty));
  e.remove_all_listeners(empty);
  EXPECT_FALSE(e.emit(empty));
  EXPECT_TRUE(e.emit(odd));
  EXPECT_TRUE(e.emit(ping));
}

TEST(Emitter, keeps_thousands_of_events_apart) {
  emitter e;
  std::vector<int> calls(2000);
  for (int i = 0; i < 2000; ++i) {
    e.on(event_type<>("event " + std::to_string(i)), [&calls, i] { ++calls[static_cast<std::size_t>(i)]; });
  }
  for (int i = 0; i < 2000; i += 2) e.remove_all_listeners(event_type<>("event " + std::to_string(i)));
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(e.emit(event_type<>("event " + std::to_string(i))), i % 2 == 1);
  EXPECT_EQ(e.event_names().size(), 1000U);
  EXPECT_EQ(e.event_names().front(), "event 1");
  for (std::size_t i = 0; i < 2000; ++i) EXPECT_EQ(calls[i], static_cast<int>(i % 2));
}

TEST(Emitter, refuses_other_types_for_a_name_in_use) {
  emitter e;
  constexpr event_type<std::string_view> text{"number"};
  e.on(number, [](int) {});
  EXPECT_THROW(e.on(text, [](std::string_view) {}), error);
  EXPECT_THROW(e.emit(text, "x"), error);
  EXPECT_THROW(static_cast<void>(e.listeners(text)), error);
  EXPECT_THROW(e.on(ping, e.on(number, plain)), error);
  EXPECT_THROW(e.on(ping, listener()), error);
  EXPECT_THAT(message_of([&] { e.emit(text, "x"); }), "The event 'number' is in use with other types of arguments");
  e.remove_all_listeners(number);
  e.on(text, [](std::string_view) {});
  EXPECT_TRUE(e.emit(text, "x"));
}

TEST(Emitter, gives_its_listeners_to_be_called) {
  emitter e;
  log seen;
  e.on(greet, [&](std::string_view name) { seen.push_back("on " + std::string(name)); });
  e.once(greet, [&](std::string_view name) { seen.push_back("once " + std::string(name)); });
  for (auto& each : e.listeners(greet)) each("a");
  EXPECT_EQ(e.listener_count(greet), 2U);
  auto raw = e.raw_listeners(greet);
  raw[1].unwrapped()("b");
  EXPECT_EQ(e.listener_count(greet), 2U);
  raw[1]("c");
  raw[1]("d");  // it was for once
  raw[0]("e");
  EXPECT_EQ(e.listener_count(greet), 1U);
  EXPECT_THAT(seen, ElementsAre("on a", "once a", "once b", "once c", "on e"));
  EXPECT_THAT(e.listeners(ping), IsEmpty());
}

TEST(Emitter, tells_of_a_listener_before_it_is_added) {
  emitter e;
  log seen;
  listener told;
  e.once(events::new_listener, [&](std::string_view name, const listener& which) {
    EXPECT_EQ(name, "ping");
    told = which;
    EXPECT_EQ(e.listener_count(ping), 0U);
    e.on(ping, [&] { seen.emplace_back("B"); });
  });
  auto added = e.on(ping, [&] { seen.emplace_back("A"); });
  EXPECT_EQ(told, added);
  e.emit(ping);
  EXPECT_THAT(seen, ElementsAre("B", "A"));
}

TEST(Emitter, tells_of_a_listener_after_it_was_removed) {
  emitter e;
  log seen;
  std::vector<listener> told;
  e.on(events::remove_listener, [&](std::string_view name, const listener& which) {
    seen.push_back(std::string(name) + ' ' + std::to_string(e.listener_count(ping)));
    told.push_back(which);
  });
  auto a = e.on(ping, [] {});
  auto b = e.once(ping, [] {});
  auto c = e.on(greet, [] {});
  e.emit(ping);
  EXPECT_TRUE(a.remove());
  EXPECT_TRUE(e.off(greet, c));
  EXPECT_THAT(seen, ElementsAre("ping 1", "ping 0", "greet 0"));
  EXPECT_THAT(told, ElementsAre(b, a, c));
}

TEST(Emitter, removes_all_the_last_added_first_and_remove_listener_at_the_end) {
  emitter e;
  log seen;
  auto name = [&](const listener& which, const std::vector<listener>& of) {
    for (std::size_t i = 0; i < of.size(); ++i) {
      if (of[i] == which) return std::to_string(i);
    }
    return std::string("?");
  };
  std::vector<listener> all;
  e.on(events::remove_listener,
       [&](std::string_view event, const listener& which) { seen.push_back(std::string(event) + name(which, all)); });
  for (int i = 0; i < 3; ++i) all.push_back(e.on(ping, [] {}));
  all.push_back(e.on(greet, [] {}));
  e.remove_all_listeners();
  EXPECT_THAT(seen, ElementsAre("ping2", "ping1", "ping0", "greet3"));
  EXPECT_THAT(e.event_names(), IsEmpty());
}

// C0-EV-03, C3-ORD-11
TEST(Emitter, throws_an_error_that_nobody_listens_for) {
  emitter e;
  EXPECT_EQ(message_of([&] { e.emit(events::error, error(errc::err_closed, "gone")); }), "gone");
  auto foreign = failure(std::make_exception_ptr(std::logic_error("foreign")));
  EXPECT_THROW(e.emit(events::error, foreign), std::logic_error);
  log seen;
  e.on(events::error, [&](const failure& why) { seen.push_back("An error occurred: " + why.message()); });
  EXPECT_TRUE(e.emit(events::error, error(errc::err_closed, "Something went wrong")));
  EXPECT_THAT(seen, ElementsAre("An error occurred: Something went wrong"));
}

TEST(Emitter, makes_an_error_of_a_payload_that_is_none) {
  const std::pair<std::function<void()>, std::string> cases[] = {
      {[] { emitter().emit(event_type<std::string_view>("error"), "boom"); }, "Unhandled error. ('boom')"},
      {[] { emitter().emit(event_type<int>("error"), 42); }, "Unhandled error. (42)"},
      {[] { emitter().emit(event_type<>("error")); }, "Unhandled error. (undefined)"},
      {[] { emitter().emit(event_type<std::exception_ptr>("error"), nullptr); }, "Unhandled error. (null)"},
      {[] { emitter().emit(event_type<const emitter_options&>("error"), {}); }, "Unhandled error. (object)"},
      {[] { emitter().emit(event_type<const std::runtime_error&>("error"), std::runtime_error("own")); }, "own"},
  };
  for (const auto& [action, expected] : cases) EXPECT_EQ(message_of(action), expected);
  try {
    emitter().emit(event_type<int>("error"), 1);
  } catch (const error& e) {
    EXPECT_EQ(e.code_name(), "ERR_UNHANDLED_ERROR");
  }
}

TEST(Emitter, lets_a_monitor_hear_errors_first_without_handling_them) {
  emitter e;
  log seen;
  e.on(events::error_monitor, [&](const failure& why) { seen.push_back("monitor " + why.message()); });
  EXPECT_THROW(e.emit(events::error, error(errc::err_closed, "x")), error);
  e.on(events::error, [&] { seen.emplace_back("handler"); });
  EXPECT_TRUE(e.emit(events::error, error(errc::err_closed, "y")));
  EXPECT_THAT(seen, ElementsAre("monitor x", "monitor y", "handler"));
}

// C0-EV-08, C1-EE-09, C3-EE-08
TEST(Emitter, warns_once_per_event_of_more_listeners_than_the_limit) {
  warnings w;
  emitter e;
  EXPECT_EQ(e.max_listeners(), 10U);
  for (int i = 0; i < 10; ++i) e.on(ping, [] {});
  EXPECT_THAT(w.heard, IsEmpty());
  for (int i = 0; i < 5; ++i) e.on(ping, [] {});
  EXPECT_THAT(w.heard, ElementsAre("MaxListenersExceededWarning: Possible emitter memory leak detected. 11 ping "
                                   "listeners added. MaxListeners is 10. Use emitter.set_max_listeners() to increase "
                                   "limit"));
  EXPECT_EQ(e.listener_count(ping), 15U);
  for (int i = 0; i < 11; ++i) e.on(greet, [] {});
  EXPECT_EQ(w.heard.size(), 2U);
}

// C0-EV-14: the seed counts listeners for once twice.
TEST(Emitter, counts_listeners_for_once_as_one_each) {
  warnings w;
  emitter e;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 9; ++i) e.once(ping, [] {});
    e.emit(ping);
  }
  EXPECT_THAT(w.heard, IsEmpty());
}

TEST(Emitter, can_raise_the_limit_or_do_without) {
  warnings w;
  emitter raised({.max_listeners = 20});
  for (int i = 0; i < 20; ++i) raised.on(ping, [] {});
  for (std::size_t none : {std::size_t{0}, unlimited}) {
    emitter e;
    e.set_max_listeners(none);
    for (int i = 0; i < 100; ++i) e.on(ping, [] {});
  }
  EXPECT_THAT(w.heard, IsEmpty());
  raised.on(ping, [] {});
  EXPECT_EQ(w.heard.size(), 1U);

  emitter own;
  emitter::set_default_max_listeners(1);
  EXPECT_EQ(own.max_listeners(), 1U);
  own.on(ping, [] {});
  EXPECT_EQ(w.heard.size(), 1U);
  own.on(ping, [] {});
  EXPECT_EQ(w.heard.size(), 2U);
  emitter::set_default_max_listeners(10);
}

TEST(Emitter, removes_a_listener_when_its_signal_fires) {
  emitter e;
  abort_controller stop;
  int calls = 0;
  auto heard = e.on(ping, [&] { ++calls; }, {.signal = stop.signal()});
  e.emit(ping);
  stop.abort();
  EXPECT_FALSE(heard.active());
  EXPECT_FALSE(e.emit(ping));
  EXPECT_FALSE(e.on(ping, [&] { ++calls; }, {.signal = stop.signal()}).active());
  EXPECT_EQ(calls, 1);
  abort_controller unused;
  {
    emitter gone;
    gone.on(ping, [] {}, {.signal = unused.signal()});
  }
  unused.abort();
}

// C0-EV-04, C1-EE-10; C0-D: a derived class may have members called as it likes.
TEST(Emitter, may_be_a_base_class) {
  constexpr static event_type<const std::string&> saved{"saved"};
  struct user : emitter {
    std::string name = "Alice";
    user& save() {
      emit(saved, name);
      return *this;
    }
  } u;
  log seen;
  u.on(saved, [&](const std::string& who) { seen.push_back(who); });
  u.save().save();
  EXPECT_THAT(seen, ElementsAre("Alice", "Alice"));
}

TEST(Emitter, starts_an_asynchronous_listener_in_the_running_scope) {
  run_with(1, []() -> task<> {
    emitter e;
    log seen;
    co_await with_scope([&](scope&) -> task<> {
      // The text that the view shows has gone when the listener runs; it gets its own.
      e.on(greet, [&](std::string_view name) -> task<> {
        co_await yield();
        seen.push_back("async " + std::string(name));
      });
      e.on(greet, [&](std::string_view name) { seen.push_back("sync " + std::string(name)); });
      {
        std::string name = "a name that is too long for a small string";
        e.emit(greet, name);
        name.assign(name.size(), '#');
      }
      seen.emplace_back("emitted");
      co_return;
    });
    EXPECT_THAT(seen, ElementsAre("sync a name that is too long for a small string", "emitted",
                                  "async a name that is too long for a small string"));
  }());
}

TEST(Emitter, keeps_an_asynchronous_listener_that_is_removed_while_it_runs) {
  int before = counted::alive();
  run_with(1, with_scope([](scope&) -> task<> {
             auto e = std::make_unique<emitter>();
             e->once(ping, [kept = counted(), text = std::string("kept")]() -> task<> {
               co_await yield();
               EXPECT_EQ(text, "kept");
             });
             e->emit(ping);
             e.reset();
             co_return;
           }));
  EXPECT_EQ(counted::alive(), before);
}

TEST(Emitter, emits_what_an_asynchronous_listener_throws_as_an_error) {
  run_with(1, []() -> task<> {
    emitter e;
    log seen;
    e.on(events::error, [&](const failure& why) { seen.push_back(why.message()); });
    e.on(number, [](int n) -> task<> {
      co_await yield();
      throw std::runtime_error("failed " + std::to_string(n));
    });
    co_await with_scope([&](scope&) -> task<> {
      e.emit(number, 1);
      e.emit(number, 2);
      co_return;
    });
    EXPECT_THAT(seen, ElementsAre("failed 1", "failed 2"));
  }());
}

TEST(Emitter, fails_the_scope_with_what_an_asynchronous_listener_throws_if_nobody_hears_errors) {
  for (bool captures : {true, false}) {
    EXPECT_THROW(run_with(1,
                          [](bool capture) -> task<> {
                            emitter e({.capture_failures = capture});
                            if (!capture) e.on(events::error, [] { ADD_FAILURE(); });
                            co_await with_scope([&](scope&) -> task<> {
                              e.on(ping, []() -> task<> {
                                co_await yield();
                                throw std::runtime_error("nobody hears");
                              });
                              e.emit(ping);
                              co_return;
                            });
                          }(captures)),
                 std::runtime_error);
  }
}

TEST(Emitter, does_not_emit_the_failure_of_an_asynchronous_error_listener_for_ever) {
  int calls = 0;
  EXPECT_THROW(run_with(1,
                        [](int& count) -> task<> {
                          emitter e;
                          e.on(events::error, [&]() -> task<> {
                            ++count;
                            co_await yield();
                            throw std::runtime_error("again");
                          });
                          co_await with_scope([&](scope&) -> task<> {
                            e.emit(events::error, error(errc::err_closed));
                            co_return;
                          });
                        }(calls)),
               std::runtime_error);
  EXPECT_EQ(calls, 2);
}

TEST(Emitter, fails_the_scope_if_the_emitter_has_gone_when_its_asynchronous_listener_throws) {
  EXPECT_THROW(run_with(1, with_scope([](scope&) -> task<> {
                          emitter e;
                          e.on(events::error, [] { ADD_FAILURE(); });
                          e.on(ping, []() -> task<> {
                            co_await yield();
                            throw std::runtime_error("orphan");
                          });
                          e.emit(ping);
                          co_return;
                        })),
               std::runtime_error);
}

TEST(Emitter, cancels_asynchronous_listeners_with_their_scope) {
  run_with(1, []() -> task<> {
    emitter e;
    int ended = 0;
    e.on(events::error, [] { ADD_FAILURE(); });
    e.on(ping, [&]() -> task<> {
      struct at_end {
        int& count;
        ~at_end() { ++count; }
      } end{ended};
      co_await testing::forever();
    });
    co_await with_scope([&](scope& s) -> task<> {
      e.emit(ping);
      e.emit(ping);
      co_await yield();
      s.cancel();
    });
    EXPECT_EQ(ended, 2);
  }());
}

TEST(Emitter, refuses_an_asynchronous_listener_outside_a_runtime) {
  emitter e;
  e.on(ping, []() -> task<> { co_return; });
  EXPECT_THROW(e.emit(ping), error);
}

// C0-EV-10, C1-EE-19, C1-EE-41
TEST(Emitter, can_wait_for_its_listeners_one_after_the_other) {
  run_with(1, []() -> task<> {
    emitter e;
    log seen;
    e.on(number, [&](int n) -> task<> {
      seen.push_back("first begins " + std::to_string(n));
      co_await yield();
      seen.emplace_back("first ends");
    });
    e.once(number, [&](int) { throw std::runtime_error("second"); });
    e.on(number, [&](int) -> task<> {
      seen.emplace_back("third");
      co_return;
    });
    auto outcomes = co_await e.emit_and_wait(number, 5);
    EXPECT_EQ(outcomes.size(), 3U);
    EXPECT_TRUE(outcomes.at(0));
    EXPECT_EQ(outcomes.at(1).failure().message(), "second");
    EXPECT_TRUE(outcomes.at(2));
    EXPECT_THAT(seen, ElementsAre("first begins 5", "first ends", "third"));
    EXPECT_EQ(e.listener_count(number), 2U);
    EXPECT_THAT(co_await e.emit_and_wait(ping), IsEmpty());
  }());
}

TEST(Emitter, stops_waiting_for_its_listeners_when_it_goes_or_is_cancelled) {
  run_with(1, []() -> task<> {
    auto e = std::make_unique<emitter>();
    e->on(ping, [&]() -> task<> {
      e.reset();
      co_return;
    });
    e->on(ping, [] { ADD_FAILURE(); });
    auto outcomes = co_await e->emit_and_wait(ping);
    EXPECT_EQ(outcomes.size(), 1U);

    emitter waits;
    waits.on(ping, [] { return testing::forever(); });
    waits.on(ping, [] { ADD_FAILURE(); });
    auto late = co_await attempt(timeout(1ms, waits.emit_and_wait(ping)));
    EXPECT_TRUE(late.failure().is("ETIMEDOUT"));
  }());
}

TEST(Once, completes_with_the_arguments_of_the_next_event) {
  run_with(1, []() -> task<> {
    emitter e;
    constexpr event_type<std::string_view, int, int&> three{"three"};
    int changed = 0;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await yield();
        std::string gone = "text";
        e.emit(three, gone, 4, changed);
        gone = "other";
        e.emit(number, 5);
        e.emit(ping);
      });
      auto got = co_await all(once(e, three), once(e, number), once(e, ping));
      auto [text, four, by_reference] = std::get<0>(got);
      EXPECT_EQ(text, "text");
      EXPECT_EQ(four, 4);
      by_reference.get() = 9;
      EXPECT_EQ(std::get<1>(got), 5);
    });
    EXPECT_EQ(changed, 9);
    EXPECT_THAT(e.event_names(), IsEmpty());
  }());
}

// Promises settled by one emit go on in the order in which they were made, after the emit.
TEST(Once, goes_on_after_the_emitting_callback) {
  run_with(1, []() -> task<> {
    emitter e;
    log seen;
    co_await with_scope([&](scope& s) -> task<> {
      for (int i = 0; i < 3; ++i) {
        s.spawn_local([&, i]() -> task<> {
          co_await once(e, ping);
          seen.push_back(std::to_string(i));
        });
      }
      co_await yield();
      e.emit(ping);
      seen.emplace_back("emitted");
      co_await next_tick();
      seen.emplace_back("ticked");
    });
    EXPECT_THAT(seen, ElementsAre("emitted", "0", "1", "2", "ticked"));
  }());
}

TEST(Once, fails_with_an_error_unless_it_waits_for_that) {
  run_with(1, []() -> task<> {
    emitter e;
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        co_await yield();
        e.emit(events::error, error(errc::err_closed, "told"));
      });
      auto [failed, told] = co_await all_settled(once(e, number), once(e, events::error));
      EXPECT_EQ(failed.failure().message(), "told");
      EXPECT_EQ(failure(told.value()).message(), "told");
    });
    EXPECT_THAT(e.event_names(), IsEmpty());
  }());
}

TEST(Once, ends_with_its_signal) {
  run_with(1, with_scope([](scope& s) -> task<> {
             emitter e;
             abort_controller stop;
             s.spawn_local([&]() -> task<> {
               EXPECT_EQ(e.listener_count(ping), 1U);
               stop.abort();
               co_return;
             });
             auto outcome = co_await attempt(once(e, ping, stop.signal()));
             EXPECT_TRUE(outcome.failure().is_cancelled());
             EXPECT_TRUE((co_await attempt(once(e, ping, stop.signal()))).failure().is_cancelled());
             EXPECT_THAT(e.event_names(), IsEmpty());
           }));
}

TEST(Once, may_be_aborted_by_another_thread) {
  run_with(1, []() -> task<> {
    emitter e;
    for (std::size_t i = 0; i < testing::rounds(300); ++i) {
      abort_controller stop;
      std::thread foreign([&] { stop.abort(); });
      EXPECT_TRUE((co_await attempt(once(e, ping, stop.signal()))).failure().is_cancelled());
      foreign.join();
    }
    EXPECT_THAT(e.event_names(), IsEmpty());
  }());
}

TEST(Once, removes_its_listener_when_it_is_cancelled) {
  run_with(1, []() -> task<> {
    emitter e;
    EXPECT_TRUE((co_await attempt(timeout(1ms, once(e, ping)))).failure().is("ETIMEDOUT"));
    EXPECT_THAT(e.event_names(), IsEmpty());
  }());
}

TEST(Once, loses_no_event_to_a_cancellation_that_comes_later) {
  run_with(1, with_scope([](scope& s) -> task<> {
             emitter e;
             int got = 0;
             auto waiter = s.spawn_local([&]() -> task<> { got = co_await once(e, number); });
             co_await yield();
             e.emit(number, 3);
             waiter.cancel();
             static_cast<void>(co_await attempt(std::move(waiter)));
             EXPECT_EQ(got, 3);
           }));
}

TEST(Once, fails_when_its_listener_or_its_emitter_goes) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto e = std::make_unique<emitter>();
             auto outcome = [&]() -> task<std::string> {
               co_return std::string((co_await attempt(once(*e, ping))).failure().code_name());
             };
             auto removed = s.spawn_local(outcome);
             co_await yield();
             e->remove_all_listeners(ping);
             EXPECT_EQ(co_await std::move(removed), "ERR_CLOSED");
             auto orphaned = s.spawn_local(outcome);
             co_await yield();
             e.reset();
             EXPECT_EQ(co_await std::move(orphaned), "ERR_CLOSED");
           }));
}

TEST(EventStream, gives_events_in_order_from_the_moment_it_was_made) {
  run_with(1, []() -> task<> {
    emitter e;
    e.emit(number, 0);
    auto numbers = on(e, number);
    e.emit(number, 1);
    e.emit(number, 2);
    EXPECT_EQ(numbers.size(), 2U);
    EXPECT_EQ(co_await numbers.next(), 1);
    EXPECT_EQ(co_await numbers.next(), 2);
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        e.emit(number, 3);
        co_await yield();
        e.emit(number, 4);
        numbers.close();
        e.emit(number, 5);
      });
      std::vector<int> seen;
      while (auto n = co_await numbers.next()) seen.push_back(*n);
      EXPECT_THAT(seen, ElementsAre(3, 4));
    });
    EXPECT_EQ(co_await numbers.next(), std::nullopt);
    EXPECT_THAT(e.event_names(), IsEmpty());
  }());
}

TEST(EventStream, fails_once_with_an_error_after_the_events_before_it) {
  run_with(1, []() -> task<> {
    emitter e;
    auto numbers = on(e, number);
    e.emit(number, 1);
    e.emit(events::error, error(errc::err_closed, "told"));
    e.emit(number, 2);
    EXPECT_EQ(co_await numbers.next(), 1);
    EXPECT_EQ((co_await attempt(numbers.next())).failure().message(), "told");
    EXPECT_EQ(co_await numbers.next(), std::nullopt);
    EXPECT_EQ(numbers.dropped(), 1U);
  }());
}

TEST(EventStream, ends_with_its_signal_after_the_events_before_it) {
  run_with(1, with_scope([](scope& s) -> task<> {
             emitter e;
             abort_controller stop;
             auto pings = on(e, ping, {.signal = stop.signal()});
             e.emit(ping);
             s.spawn_local([&]() -> task<> {
               stop.abort();
               co_return;
             });
             EXPECT_TRUE((co_await pings.next()).has_value());
             EXPECT_TRUE((co_await attempt(pings.next())).failure().is_cancelled());
             EXPECT_FALSE((co_await pings.next()).has_value());
             EXPECT_THROW(static_cast<void>(on(e, ping, {.signal = stop.signal()})), cancelled);
           }));
}

TEST(EventStream, may_be_aborted_by_another_thread) {
  run_with(1, []() -> task<> {
    emitter e;
    for (std::size_t i = 0; i < testing::rounds(300); ++i) {
      abort_controller stop;
      auto pings = on(e, ping, {.signal = stop.signal()});
      std::thread foreign([&] { stop.abort(); });
      EXPECT_TRUE((co_await attempt(pings.next())).failure().is_cancelled());
      foreign.join();
    }
  }());
}

TEST(EventStream, holds_no_more_than_its_capacity) {
  run_with(1, []() -> task<> {
    emitter e;
    auto oldest = on(e, number, {.capacity = 2, .when_full = overflow::drop_oldest});
    auto newest = on(e, number, {.capacity = 2, .when_full = overflow::drop_newest});
    auto fails = on(e, number, {.capacity = 2});
    for (int i = 1; i <= 5; ++i) e.emit(number, i);
    EXPECT_EQ(co_await oldest.next(), 4);
    EXPECT_EQ(co_await oldest.next(), 5);
    EXPECT_EQ(oldest.dropped(), 3U);
    EXPECT_EQ(co_await newest.next(), 1);
    EXPECT_EQ(co_await newest.next(), 2);
    EXPECT_EQ(newest.dropped(), 3U);
    EXPECT_EQ(newest.size(), 0U);
    EXPECT_EQ(co_await fails.next(), 1);
    EXPECT_EQ(co_await fails.next(), 2);
    EXPECT_TRUE((co_await attempt(fails.next())).failure().is("ERR_QUEUE_FULL"));
    EXPECT_EQ(co_await fails.next(), std::nullopt);
    EXPECT_THROW(static_cast<void>(on(e, number, {.capacity = 0})), error);
  }());
}

TEST(EventStream, ends_on_an_event_and_with_its_emitter) {
  run_with(1, []() -> task<> {
    auto e = std::make_unique<emitter>();
    auto until = on(*e, number, {.end_on = {ping}});
    auto whole = on(*e, number);
    e->emit(number, 1);
    e->emit(ping);
    e->emit(number, 2);
    e.reset();
    EXPECT_EQ(co_await until.next(), 1);
    EXPECT_EQ(co_await until.next(), std::nullopt);
    EXPECT_EQ(co_await whole.next(), 1);
    EXPECT_EQ(co_await whole.next(), 2);
    EXPECT_EQ(co_await whole.next(), std::nullopt);
  }());
}

TEST(EventStream, loses_no_event_when_a_wait_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             emitter e;
             auto numbers = on(e, number);
             auto waiter = s.spawn_local([&]() -> task<> { static_cast<void>(co_await attempt(numbers.next())); });
             co_await yield();
             waiter.cancel();
             e.emit(number, 1);
             co_await std::move(waiter);
             EXPECT_EQ(co_await numbers.next(), 1);
             auto stopped = s.spawn_local([&]() -> task<> {
               co_await shield(yield());
               EXPECT_TRUE((co_await attempt(numbers.next())).failure().is_cancelled());
             });
             co_await yield();
             stopped.cancel();
             e.emit(number, 2);
             co_await std::move(stopped);
             EXPECT_EQ(co_await numbers.next(), 2);
           }));
}

TEST(EventStream, lets_others_run_while_events_are_plenty) {
  run_with(1, with_scope([](scope& s) -> task<> {
             emitter e;
             auto numbers = on(e, number, {.capacity = 100'000});
             for (int i = 0; i < 100'000; ++i) e.emit(number, i);
             bool ran = false;
             s.spawn_local([&]() -> task<> {
               co_await yield();
               ran = true;
             });
             while (numbers.size() > 0 && !ran) static_cast<void>(co_await numbers.next());
             EXPECT_TRUE(ran);
             EXPECT_GT(numbers.size(), 0U);
           }));
}

TEST(EventStream, can_be_moved) {
  run_with(1, []() -> task<> {
    emitter e;
    auto first = on(e, number);
    e.emit(number, 1);
    auto second = std::move(first);
    e.emit(number, 2);
    EXPECT_EQ(co_await second.next(), 1);
    EXPECT_EQ(co_await second.next(), 2);
  }());
}

}  // namespace
}  // namespace weir
