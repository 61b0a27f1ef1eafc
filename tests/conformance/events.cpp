// tests/conformance/events.cpp: scripts for one emitter, whose listeners are named by labels and have steps to run.
#include "tests/conformance/driver.hpp"

#include <weir/core/emitter.hpp>

#include <deque>
#include <stdexcept>

namespace weir::conformance {
namespace {

/// What a script emits: a list of values, or an error.
struct event_arguments {
  json values = json::array();
  std::exception_ptr error;

  json logged() const { return error ? json::array({{{"error", code_of(error)}}}) : values; }
  operator failure() const {
    return error ? failure(error) : failure(weir::error(errc::err_unhandled_error));
  }  // NOLINT
};

using script_event = event_type<const event_arguments&>;
using listener_event = event_type<std::string_view, const listener&>;

bool is_about_listeners(std::string_view event) { return event == "newListener" || event == "removeListener"; }

class event_script {
 public:
  explicit event_script(const json& behaviors) : behaviors_(behaviors) {}

  json run(const json& steps) {
    for (const auto& each : steps) {
      try {
        step(each);
      } catch (...) {
        log_.push_back({"thrown", code_of(std::current_exception())});
      }
    }
    return std::move(log_);
  }

 private:
  static constexpr int deepest = 4;

  /// A label's function, in both forms that events have.
  struct labelled {
    listener of_values;
    listener of_listeners;
  };

  void called(const std::string& label, json values) {
    json line = {"call", label};
    for (auto& each : values) line.push_back(std::move(each));
    log_.push_back(std::move(line));
    const auto& steps = option(behaviors_, label.c_str());
    if (steps.is_null() || depth_ >= deepest) return;
    struct deeper {
      int& depth;
      explicit deeper(int& d) : depth(++d) {}
      ~deeper() { --depth; }
    } within(depth_);
    for (const auto& each : steps) step(each);
  }

  // Made on an emitter that nobody asks, so that a label is the same function wherever it is added.
  const labelled& function(const std::string& label) {
    auto found = functions_.find(label);
    if (found != functions_.end()) return found->second;
    labelled made;
    made.of_values =
        workshop_.on(script_event("values"), [this, label](const event_arguments& a) { called(label, a.logged()); });
    made.of_listeners =
        workshop_.on(listener_event("listeners"), [this, label](std::string_view name, const listener& which) {
          called(label, {std::string(name), {{"listener", label_of(which)}}});
        });
    return functions_.emplace(label, std::move(made)).first->second;
  }

  std::string label_of(const listener& which) const {
    for (const auto& [label, each] : functions_) {
      if (each.of_values == which || each.of_listeners == which) return label;
    }
    return {};
  }

  /// Calls `body` with the event and the label's function, both in the form that the event has.
  template <class F>
  void with_event(const std::string& name, F&& body) {
    if (is_about_listeners(name)) {
      body(listener_event(name), &labelled::of_listeners);
    } else {
      body(script_event(name), &labelled::of_values);
    }
  }

  void add(const json& s, const listen_options& options) {
    with_event(s[1], [&](const auto& what, auto form) { emitter_.on(what, function(s[2]).*form, options); });
  }

  void step(const json& s) {
    const auto& what = s[0].get_ref<const std::string&>();
    if (what == "on") return add(s, {});
    if (what == "once") return add(s, {.once = true});
    if (what == "prepend") return add(s, {.prepend = true});
    if (what == "prependOnce") return add(s, {.once = true, .prepend = true});
    if (what == "off") return remove(s);
    if (what == "removeAll") return remove_all(s);
    if (what == "emit") return emit(s);
    if (what == "emitError") return emit_error(s);
    if (what == "throw") throw std::runtime_error(s[1].get<std::string>());
    ask(what, s);
  }

  void remove(const json& s) {
    with_event(s[1], [&](const auto& what, auto form) { emitter_.off(what, function(s[2]).*form); });
  }

  void remove_all(const json& s) {
    if (s.size() < 2 || s[1].is_null()) return emitter_.remove_all_listeners();
    with_event(s[1], [&](const auto& what, auto) { emitter_.remove_all_listeners(what); });
  }

  void emit(const json& s) {
    event_arguments given;
    for (std::size_t i = 2; i < s.size(); ++i) given.values.push_back(s[i]);
    emit(s[1], given);
  }
  void emit_error(const json& s) {
    event_arguments given;
    given.error = std::make_exception_ptr(std::runtime_error(s[1].get<std::string>()));
    emit("error", given);
  }
  void emit(const std::string& event, const event_arguments& given) {
    log_.push_back({"emit", event});
    bool heard = emitter_.emit(script_event(event), given);
    log_.push_back({"emitted", event, heard});
  }

  void ask(const std::string& what, const json& s) {
    if (what == "names") return log_.push_back({"names", emitter_.event_names()});
    with_event(s[1], [&](const auto& event, auto form) {
      if (what == "count") return log_.push_back({"count", s[1], emitter_.listener_count(event)});
      if (what == "countOf") {
        return log_.push_back({"countOf", s[1], s[2], emitter_.listener_count(event, function(s[2]).*form)});
      }
      if (what != "listeners") throw unsupported_arguments();
      json labels = json::array();
      for (const auto& each : emitter_.listeners(event)) labels.push_back(label_of(each));
      log_.push_back({"listeners", s[1], std::move(labels)});
    });
  }

  const json& behaviors_;
  json log_ = json::array();
  int depth_ = 0;
  emitter workshop_{{.max_listeners = 0}};
  emitter emitter_{{.max_listeners = 0}};
  std::map<std::string, labelled> functions_;
};

json run_event_script(const arguments& a) { return event_script(option(a[0], "behaviors")).run(a[1]); }

}  // namespace

void add_events(operations& all) { all.add("events.script", run_event_script); }

}  // namespace weir::conformance
