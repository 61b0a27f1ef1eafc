// graceful_restart [PORT] [HANDOVER]: a server that replaces itself without refusing or losing a request. On SIGHUP or
// SIGUSR2 it starts its own program anew; the new process asks the old one, on the Unix socket HANDOVER, for its
// listener, serves on it, and says so; the old one answers what it has accepted and ends. A new version of the program
// is put in the file's place first. Started by hand while another one runs, it takes over as well. Started by
// systemd with a socket (LISTEN_FDS), it serves on that.
#include <weir/io/signal.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/inherited_listeners.hpp>
#include <weir/net/listener_handover.hpp>
#include <weir/weir.hpp>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <unistd.h>

using namespace weir;
using namespace std::chrono_literals;

namespace {

struct settings {
  std::vector<std::string> command;
  std::string port;
  std::string handover;
  std::vector<net::inherited_listener> inherited;
};

template <class... Parts>
void say(const Parts&... parts) {
  std::string line = "[" + std::to_string(::getpid()) + "] ";
  ((line += parts), ...);
  std::puts(line.c_str());
  std::fflush(stdout);
}

task<void> answer(net::http::request& req, net::http::response& res) {
  if (req.path() == "/slow") co_await sleep(100ms);
  auto body = co_await req.text();
  res.set("Content-Type", "text/plain").set("X-Process", std::to_string(::getpid()));
  co_await res.end(body.empty() ? "Hello from " + std::to_string(::getpid()) + "\n" : body);
}

net::tcp_listener choose_listener(settings& with, std::optional<net::taken_listeners>& taken) {
  if (taken) return taken->take("http");
  if (!with.inherited.empty()) return std::move(with.inherited.front().listener);
  return net::tcp_listener(":" + with.port);
}

// Answers SIGHUP and SIGUSR2 until a successor serves, or SIGINT and SIGTERM. The child is not waited for: it outlives
// us, or has said why it does not.
task<void> wait_for_the_end(const settings& with, io::signals& signals, net::listener_offer& offer,
                            net::http::server& server) {
  enum class end { replaced, told };
  auto replaced = [](net::listener_offer& offer) -> task<end> {
    say("replaced by ", std::to_string(co_await offer.handed_over()));
    co_return end::replaced;
  };
  auto told = [](const settings& with, io::signals& signals) -> task<end> {
    for (;;) {
      auto number = co_await signals.next();
      if (number == SIGINT || number == SIGTERM) co_return end::told;
      auto started = co_await attempt(
          [](const settings& with) -> task<pid_t> { co_return net::start_with_listeners(with.command, {}); }(with));
      say("starting anew: ", started ? std::to_string(*started) : started.failure().message());
    }
  };
  auto how = co_await race(replaced(offer), told(with, signals));
  offer.close();  // a share of the listener that nobody serves would keep clients waiting
  // Whoever has a connection to us may send one more request; nobody is cut off in the middle of asking.
  if (how == end::replaced) server.close({.grace = 30s, .idle_grace = 2s});
  if (how == end::told) server.close(10s);
  say("draining");
}

task<void> serve(settings with) {
  io::signals signals({SIGHUP, SIGUSR2, SIGINT, SIGTERM});
  auto where = "unix:" + with.handover;
  net::handover_options options;
  options.on_failure = [](const error& why) { say("not replaced: ", why.what()); };
  auto taken = co_await net::request_listeners(where, options);
  auto listener = choose_listener(with, taken);
  auto offer = taken ? taken->offer_on() : net::listener_offer(where, options);
  offer.add("http", listener);
  net::http::server server(answer);
  auto bound = server.listen(std::move(listener));

  co_await with_scope([&](scope& s) -> task<void> {
    auto serving = s.spawn_local([&] { return server.serve(); });
    s.spawn_local([&] { return wait_for_the_end(with, signals, offer, server); });
    if (taken) co_await taken->serving();
    say("serving on ", bound.to_string(), taken ? ", taken over" : "");
    co_await std::move(serving);
    s.cancel();
  });
  say("ended after ", std::to_string(server.statistics().requests), " requests");
}

}  // namespace

int main(int argc, char** argv) {
  settings with;
  // Not /proc/self/exe: a new version of the program has taken the file's place.
  with.command = {std::filesystem::absolute(argv[0]).string(), argc > 1 ? argv[1] : "8080"};
  with.port = with.command[1];
  with.handover = argc > 2 ? argv[2] : "/tmp/graceful_restart." + std::to_string(::geteuid());
  with.command.push_back(with.handover);
  with.inherited = net::inherited_listeners();
  runtime_options options;
  options.workers = 2;
  return run(serve(std::move(with)), options);
}
