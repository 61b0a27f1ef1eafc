// examples/showcase/app.hpp: what the files of the showcase share: the state of the program, the handlers, and
// the few helpers that each of them needs. Handlers run on any worker, so what they share is atomic or locked.
#pragma once

#include "crowd.hpp"
#include "json.hpp"
#include "live.hpp"

#include <weir/net/http_server.hpp>
#include <weir/weir.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace showcase {

using weir::task;
using weir::net::http::request;
using weir::net::http::response;

/// The last lines of what happened. Each is printed as well.
class event_log {
 public:
  void add(std::string line);
  std::vector<std::string> lines() const;

 private:
  mutable std::mutex mutex_;  // held for a few instructions: a worker may wait that long
  std::vector<std::string> lines_;
};

/// How the handlers of one kind fared.
struct outcomes {
  std::atomic<std::uint64_t> started = 0, finished = 0, cancelled = 0;
};

/// The bodies that are on their way now, for whoever wants to see how far they have come.
class transfer_list {
 public:
  struct entry {
    std::string_view kind;
    std::uint64_t tag;  ///< what the client calls it
    std::atomic<std::uint64_t> bytes = 0;
  };

  void add(entry& e);
  void remove(entry& e);
  void describe(json& out) const;

 private:
  mutable std::mutex mutex_;
  std::vector<entry*> entries_;
};

struct app {
  weir::net::http::server* server = nullptr;
  std::string self;  ///< where the program reaches itself, as "127.0.0.1:8080"
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<bool> closing = false;
  std::atomic<std::uint64_t> downloaded = 0, uploaded = 0;  ///< bytes
  outcomes downloads, uploads, slow;
  transfer_list transfers = {};
  crowd callers = {};
  live_figures live = {};
  event_log log = {};
};

// The handlers; the table in routes.cpp says where they answer.
task<void> asset(app& a, request& req, response& res);
task<void> hello(app& a, request& req, response& res);
task<void> download(app& a, request& req, response& res);
task<void> upload(app& a, request& req, response& res);
task<void> slow(app& a, request& req, response& res);
task<void> call_crowd(app& a, request& req, response& res);
task<void> cut_crowd(app& a, request& req, response& res);
task<void> events(app& a, request& req, response& res);
task<void> metrics_text(app& a, request& req, response& res);
task<void> metrics_json(app& a, request& req, response& res);
task<void> tasks(app& a, request& req, response& res);

/// Finds the handler for a request. No coroutine itself: it hands on the handler's task, so that a request costs
/// one frame and not two.
task<void> answer(app& a, request& req, response& res);

/// `{"error": "<why>"}` with that status.
task<void> refuse(response& res, int status, std::string why);

struct range {
  std::uint64_t fallback, least, most;
};

/// A whole number from the query (`?name=5`), or `fallback` where there is none. Fails with a text for the client.
weir::result<std::uint64_t> number_from_query(const request& req, std::string_view name, range allowed);

/// What /proc says of this process.
struct process_facts {
  std::uint64_t resident_bytes = 0, virtual_bytes = 0, open_files = 0, most_files = 0;
  double cpu_seconds = 0;
};

/// Reads files, so it may block, if only for microseconds: to be called by weir::blocking.
process_facts read_process_facts();

double uptime(const app& a);

/// All figures as one JSON object.
std::string figures(const app& a, const process_facts& process, const weir::runtime_metrics& runtime);

}  // namespace showcase
