// examples/showcase/app.hpp: what the files of the showcase share: the state of the program, the handlers, and
// the few helpers that each of them needs. Handlers run on any worker, so what they share is atomic or locked.
#pragma once

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

struct app {
  weir::net::http::server* server = nullptr;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<bool> closing = false;
  std::atomic<std::uint64_t> downloaded = 0, uploaded = 0;  ///< bytes
  std::atomic<std::uint64_t> slow_started = 0, slow_finished = 0, slow_cancelled = 0;
  event_log log = {};
};

// The handlers; the table in routes.cpp says where they answer.
task<void> asset(app& a, request& req, response& res);
task<void> hello(app& a, request& req, response& res);
task<void> download(app& a, request& req, response& res);
task<void> upload(app& a, request& req, response& res);
task<void> slow(app& a, request& req, response& res);
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

}  // namespace showcase
