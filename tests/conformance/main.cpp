// tests/conformance/main.cpp: the conformance driver. It reads requests from standard input, a JSON document in each
// line, and writes an answer to each as soon as there is one, in any order. Operations run on weir's runtime, as many
// at once as were asked for; reading goes on meanwhile. No test logic here: what an answer should be, others know.
#include "tests/conformance/driver.hpp"

#include <weir/io/split.hpp>
#include <weir/io/stdio.hpp>

#include <sys/stat.h>

#include <cstdio>

namespace weir::conformance {
namespace {

operations every_operation() {
  operations all;
  add_path(all);
  add_buffer(all);
  add_text(all);
  add_events(all);
  add_loop(all);
  add_fs(all);
  add_http(all);
  add_http_exchange(all);
  add_http_static(all);
  add_net(all);
  add_stream(all);
  add_watch(all);
  return all;
}

task<json> outcome_of(const operations& all, const std::string& name, arguments given) {
  try {
    if (const auto* plain = all.find(name)) co_return json{{"ok", (*plain)(given)}};
    if (const auto* async = all.find_async(name)) co_return json{{"ok", co_await (*async)(std::move(given))}};
  } catch (const unsupported_arguments&) {
    co_return json{{"unsupported", "args"}};
  } catch (...) {
    co_return json{{"err", code_of(std::current_exception())}};
  }
  co_return json{{"unsupported", "op"}};
}

task<> answer(const operations& all, io::output_stream& out, std::string line) {
  auto request = json::parse(line);
  json reply = co_await outcome_of(all, request.at("op"), arguments(std::move(request.at("args"))));
  reply["id"] = request.at("id");
  // What the system says may be no text, such as names of files.
  co_await out.write(reply.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

// Reads until the end of input, and waits for the last answer.
task<> answer_all(const operations& all) {
  auto out = io::standard_output();
  auto requests = io::standard_input() | io::lines({.max_length = std::size_t{1} << 30});
  co_await with_scope([&](scope& s) -> task<> {
    while (auto line = co_await requests.next()) {
      s.spawn_local([](const operations& ops, io::output_stream& to,
                       std::string text) -> task<> { co_await answer(ops, to, std::move(text)); },
                    std::cref(all), std::ref(out), std::move(*line));
    }
  });
  co_await out.end();
}

task<> serve() {
  auto all = every_operation();
  co_await with_scope([&](scope& background) -> task<> {
    add_server(all, background);
    co_await answer_all(all);
    background.cancel();
  });
}

}  // namespace
}  // namespace weir::conformance

int main() {
  umask(022);
  return weir::run(weir::conformance::serve(), {.workers = 1});  // as Node: many tables are about what comes first
}
