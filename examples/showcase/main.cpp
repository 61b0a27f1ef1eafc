// examples/showcase: a server that shows what weir does, to be looked at with a browser and curl, and to be copied
// from. This file has the options, the start and the graceful end; routes.cpp says what is answered where.
#include "app.hpp"

#include <weir/io/signal.hpp>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

using namespace weir;
using showcase::app;

namespace {

constexpr auto usage = R"(showcase [PORT] [--port N] [--host ADDRESS] [--workers N] [--max-upload MIB]

  --port N         the port to listen on (8080); 0 takes a free one
  --host ADDRESS   the IP address to listen on (all of the machine)
  --workers N      threads that serve (as many as there are CPUs)
  --max-upload MIB how much an upload may send (1024); 0: no limit
  --help           this text

Ctrl-C or SIGTERM lets requests in progress finish for up to 10 s; a second one ends them at once.
)";

constexpr auto grace = std::chrono::seconds(10);

struct options {
  std::string host;
  unsigned port = 8080, workers = 0, max_upload_mib = 1024;
};

[[noreturn]] void refuse_options(const std::string& why) {
  std::fprintf(stderr, "showcase: %s (see --help)\n", why.c_str());
  std::exit(2);
}

unsigned number(std::string_view what, std::string_view text, unsigned most) {
  unsigned value = 0;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong == std::errc() && end == text.data() + text.size() && value <= most) return value;
  refuse_options(std::string(what) + " takes a number from 0 to " + std::to_string(most) + ", not '" +
                 std::string(text) + "'");
}

options parse(int argc, char** argv) {
  options chosen;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    auto name = argument.substr(0, argument.find('='));
    if (name == "--help" || name == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    }
    if (!name.starts_with('-')) {
      chosen.port = number("the port", argument, 65535);
      continue;
    }
    if (name != "--port" && name != "--host" && name != "--workers" && name != "--max-upload") {
      refuse_options("unknown option '" + std::string(name) + "'");
    }
    if (name == argument && ++i == argc) refuse_options(std::string(name) + " takes a value");
    auto value = name == argument ? std::string_view(argv[i]) : argument.substr(name.size() + 1);
    if (name == "--port") chosen.port = number(name, value, 65535);
    if (name == "--workers") chosen.workers = number(name, value, 1024);
    if (name == "--max-upload") chosen.max_upload_mib = number(name, value, 1u << 30);
    if (name == "--host") chosen.host = value;
  }
  return chosen;
}

// "::1" and 8080 are written [::1]:8080.
std::string address_of(const options& chosen) {
  bool bare = chosen.host.find(':') != std::string::npos && !chosen.host.starts_with('[');
  return (bare ? "[" + chosen.host + "]" : chosen.host) + ":" + std::to_string(chosen.port);
}

void greet(const net::address& bound) {
  auto at = "http://" + (bound.is_any() ? "localhost:" + std::to_string(bound.port()) : bound.to_string());
  auto show = [&](const std::string& command, const char* remark) {
    std::printf("  %-72s # %s\n", command.c_str(), remark);
  };
  std::printf("weir's showcase listens on %s\n\n", bound.to_string().c_str());
  show(at + "/", "in a browser");
  show("curl " + at + "/api/hello", "JSON");
  show("curl -o /dev/null '" + at + "/download?mb=256'", "a stream, as fast as you read it");
  show("head -c 64M /dev/zero | curl -T - -X POST " + at + "/upload", "answers with size and CRC-32");
  show("curl -N '" + at + "/slow?ms=9000'", "Ctrl-C it: the handler is cancelled");
  show("curl -N -X POST '" + at + "/crowd?n=100'", "Ctrl-C it: a hundred handlers are cancelled");
  show("curl -N " + at + "/events", "figures as they are measured");
  show("curl " + at + "/metrics", "for Prometheus");
  show("curl " + at + "/tasks", "everything alive");
  show("kill -USR1 " + std::to_string(::getpid()), "the same, printed here");
  std::printf("\nCtrl-C here ends it when the requests in progress are done.\n");
}

// The first signal stops accepting and lets requests in progress finish; the second one ends this task, and with it
// the race in serve().
task<void> close_on_signal(app& a, io::signals& stop) {
  auto name = co_await stop.next() == SIGINT ? "SIGINT" : "SIGTERM";
  a.closing = true;
  a.live.close();  // who watches would otherwise hold up the end
  a.log.add(std::string(name) + ": closing; requests in progress have " + std::to_string(grace.count()) + " s");
  a.server->close(grace);
  co_await stop.next();
  a.log.add("a second signal: closing at once");
}

task<int> serve(options chosen) {
  app a;
  net::http::server_options limits;
  limits.max_body = std::uint64_t{chosen.max_upload_mib} << 20;
  // Capturing a reference is safe: the handlers end before serve() does, and `a` lives longer than that.
  net::http::server server([&a](auto& req, auto& res) { return showcase::answer(a, req, res); }, limits);
  a.server = &server;
  io::signals stop({SIGINT, SIGTERM});  // from here on they are kept for whoever waits
  try {
    auto bound = server.listen(address_of(chosen));
    a.self = bound.is_any() ? net::address::loopback_ipv4(bound.port()).to_string() : bound.to_string();
    greet(bound);
  } catch (const weir::error& e) {
    std::fprintf(stderr, "showcase: %s\n", e.what());
    co_return 1;
  }
  // Whichever ends first, the others are cancelled and awaited.
  co_await race(server.serve(), close_on_signal(a, stop), a.live.run(a));
  auto served = server.statistics();
  a.log.add("closed: " + std::to_string(served.requests) + " requests on " + std::to_string(served.accepted) +
            " connections served");
  co_return 0;
}

}  // namespace

void showcase::transfer_list::add(entry& e) {
  std::lock_guard guard(mutex_);
  entries_.push_back(&e);
}

void showcase::transfer_list::remove(entry& e) {
  std::lock_guard guard(mutex_);
  std::erase(entries_, &e);
}

void showcase::transfer_list::describe(json& out) const {
  std::lock_guard guard(mutex_);
  for (const auto* each : entries_) {
    out.open('{').add("kind", each->kind).add("tag", each->tag).add("bytes", each->bytes.load()).close('}');
  }
}

void showcase::event_log::add(std::string line) {
  constexpr std::size_t kept = 12;
  std::lock_guard guard(mutex_);
  std::printf("%s\n", line.c_str());
  if (lines_.size() == kept) lines_.erase(lines_.begin());
  lines_.push_back(std::move(line));
}

std::vector<std::string> showcase::event_log::lines() const {
  std::lock_guard guard(mutex_);
  return lines_;
}

int main(int argc, char** argv) {
  auto chosen = parse(argc, argv);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // lines come out at once, also into a file
  runtime_options how;
  how.workers = chosen.workers;
  how.dump_signal = SIGUSR1;                         // lists the tasks alive on standard error
  how.stall_after = std::chrono::milliseconds(250);  // names a handler that holds its worker that long
  return run(serve(std::move(chosen)), how);
}
