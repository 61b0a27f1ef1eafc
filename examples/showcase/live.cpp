// examples/showcase/live.cpp: what the page draws. A probe on each worker sees how late its timers are and which clock
// counts its thread's time; one task adds everything up twice a second and hands it to all who watch.
#include "live.hpp"
#include "app.hpp"

#include <weir/net/server_sent_events.hpp>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <span>

#include <pthread.h>

namespace showcase {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using weir::net::http::event_stream;
using weir::net::http::server_sent_event;

constexpr auto period = 500ms;
constexpr auto probe_period = 20ms;
constexpr std::size_t kept = 120;  // a minute

double rounded(double value) { return std::round(value * 1000) / 1000; }

/// What is known of one worker.
class gauge {
 public:
  // On the worker itself. Timers are due at whole milliseconds, so that what is measured is lateness and nothing else.
  task<void> probe() {
    clockid_t mine{};
    if (::pthread_getcpuclockid(::pthread_self(), &mine) == 0) cpu_clock_ = mine;
    known_.store(true, std::memory_order_release);
    for (;;) {
      auto due = std::chrono::floor<std::chrono::milliseconds>(clock::now()) + probe_period;
      co_await weir::sleep_until(due);
      std::chrono::duration<double, std::milli> late = clock::now() - due;
      std::lock_guard guard(mutex_);
      late_.push_back(late.count());
    }
  }

  /// Milliseconds that timers were late, since the last call.
  void take_lateness(std::vector<double>& into) {
    std::lock_guard guard(mutex_);
    into.insert(into.end(), late_.begin(), late_.end());
    late_.clear();
  }

  /// CPU seconds of the worker's thread since the last call.
  double take_cpu_seconds() {
    timespec used{};
    if (!known_.load(std::memory_order_acquire) || ::clock_gettime(cpu_clock_, &used) != 0) return 0;
    auto now = static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
    return now - std::exchange(cpu_before_, now);
  }

 private:
  std::mutex mutex_;
  std::vector<double> late_;
  std::atomic<bool> known_ = false;
  clockid_t cpu_clock_ = CLOCK_THREAD_CPUTIME_ID;
  double cpu_before_ = 0;
};

/// The value that so many of a hundred do not exceed.
double percentile(std::span<const double> sorted, double share) {
  auto rank = static_cast<std::size_t>(std::ceil(share / 100 * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
}

/// Counters at one moment, to be compared with those of the next.
struct counters {
  clock::time_point when = clock::now();
  std::uint64_t requests = 0, downloaded = 0, uploaded = 0;
  double cpu_seconds = 0;
};

double per_second(std::uint64_t now, std::uint64_t before, double seconds) {
  return rounded(static_cast<double>(now - before) / seconds);
}

void add_lag(json& out, std::span<gauge> gauges) {
  std::vector<double> late;
  for (auto& each : gauges) each.take_lateness(late);
  if (late.empty()) return;  // every worker is held up: the next moment tells for how long
  std::sort(late.begin(), late.end());
  out.add("lag_p50", rounded(percentile(late, 50))).add("lag_p99", rounded(percentile(late, 99)));
}

std::string describe(const std::string& id, const counters& now, const counters& before, std::span<gauge> gauges,
                     const weir::runtime_metrics& runtime, std::uint64_t open, const process_facts& process) {
  auto seconds = std::chrono::duration<double>(now.when - before.when).count();
  json out;
  out.open('{').add("id", id).add("requests", per_second(now.requests, before.requests, seconds));
  out.add("received", per_second(now.uploaded, before.uploaded, seconds));
  out.add("sent", per_second(now.downloaded, before.downloaded, seconds));
  out.add("cpu", rounded(100 * (now.cpu_seconds - before.cpu_seconds) / seconds));
  out.add("tasks", runtime.alive).add("open", open).add("memory", process.resident_bytes);
  add_lag(out, gauges);
  out.open('[', "busy");
  for (auto& each : gauges) out.element(rounded(std::min(100.0, 100 * each.take_cpu_seconds() / seconds)));
  return out.close(']').close('}').text();
}

}  // namespace

task<void> live_figures::run(app& a) {
  std::vector<gauge> gauges(weir::metrics().workers.size());
  co_await weir::with_scope([&](weir::scope& s) -> task<void> {
    for (unsigned i = 0; i < gauges.size(); ++i) s.spawn_on(i, [](gauge& g) { return g.probe(); }, std::ref(gauges[i]));
    // Ids tell this run of the program from an earlier one, whose clients may still be there.
    auto run_id = std::to_string(std::chrono::system_clock::now().time_since_epoch() / 1ms) + "-";
    weir::interval ticks(period);
    counters before;
    for (std::uint64_t number = 0;; ++number) {
      co_await ticks.next();
      auto process = co_await weir::blocking(read_process_facts);
      auto runtime = weir::metrics();
      auto server = a.server->statistics();
      counters now{.requests = server.requests,
                   .downloaded = a.downloaded,
                   .uploaded = a.uploaded,
                   .cpu_seconds = process.cpu_seconds};
      auto id = run_id + std::to_string(number);
      auto sample = describe(id, now, before, gauges, runtime, server.open, process);
      if (number > 0) publish(id, std::move(sample), figures(a, process, runtime));  // the first has nothing before it
      before = now;
    }
  });
}

void live_figures::publish(std::string id, std::string sample, std::string_view all) {
  std::lock_guard guard(mutex_);
  if (closed_) return;
  std::string data = json().open('{').raw("sample", sample).raw("now", all).close('}').text();
  past_.emplace_back(id, std::move(sample));
  if (past_.size() > kept) past_.pop_front();
  latest_.set(std::make_shared<const live_frame>(live_frame{"figures", std::move(id), std::move(data)}));
}

std::string live_figures::since(std::string_view id) const {
  std::lock_guard guard(mutex_);
  auto from = std::find_if(past_.begin(), past_.end(), [&](auto& each) { return each.first == id; });
  from = from == past_.end() ? past_.begin() : from + 1;
  json out;
  out.open('[');
  for (; from != past_.end(); ++from) out.raw({}, from->second);
  return out.close(']').text();
}

void live_figures::close() {
  std::lock_guard guard(mutex_);
  if (std::exchange(closed_, true)) return;
  latest_.set(std::make_shared<const live_frame>(live_frame{"closing", "", "the server closes"}));
  latest_.close();
}

// A client that reads slowly passes over moments: the next one is taken when there is room for it. One that comes back
// after a break says which it has seen last, and gets what was measured meanwhile.
task<void> events(app& a, request& req, response& res) {
  event_stream out(req, res, {.retry = 2s});
  auto latest = a.live.observe();
  server_sent_event past{.data = a.live.since(out.last_event_id()), .type = "past"};
  if (req.method() == weir::net::http::method::get) co_await out.send(std::move(past));
  co_await out.run([&]() -> task<std::optional<server_sent_event>> {
    for (;;) {
      auto next = co_await latest.next();
      if (!next) co_return std::nullopt;
      if (const auto& frame = *next) {
        co_return server_sent_event{.data = frame->data, .type = frame->type, .id = frame->id};
      }
    }
  });
}

}  // namespace showcase
