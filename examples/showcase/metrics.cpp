// examples/showcase/metrics.cpp: looking inside: what the runtime, the server and the process say about themselves,
// as text for Prometheus, as JSON for the page, and as the tree of tasks for people.
#include "app.hpp"
#include "json.hpp"

#include <weir/core/frame_pool.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include <sys/resource.h>
#include <unistd.h>

namespace showcase {
namespace {

using weir::worker_metrics;

struct worker_family {
  const char* name;  ///< counters end in _total, by Prometheus' rules
  const char* key;   ///< in the JSON
  const char* help;
  std::uint64_t (*of)(const worker_metrics&);
};

constexpr worker_family worker_families[] = {
    {"weir_worker_tasks_spawned_total", "spawned", "Tasks started on this worker.",
     [](const worker_metrics& w) -> std::uint64_t { return w.spawned; }},
    {"weir_worker_tasks_finished_total", "finished", "Tasks ended on this worker.",
     [](const worker_metrics& w) -> std::uint64_t { return w.finished; }},
    {"weir_worker_polls_total", "polls", "Tasks resumed.",
     [](const worker_metrics& w) -> std::uint64_t { return w.polls; }},
    {"weir_worker_turns_total", "turns", "Rounds of the event loop.",
     [](const worker_metrics& w) -> std::uint64_t { return w.turns; }},
    {"weir_worker_callbacks_total", "callbacks", "Ticks, microtasks and immediates run.",
     [](const worker_metrics& w) -> std::uint64_t { return w.callbacks; }},
    {"weir_worker_timers_fired_total", "timers_fired", "Timers that came due.",
     [](const worker_metrics& w) -> std::uint64_t { return w.timers_fired; }},
    {"weir_worker_steals_total", "steals", "Raids on other workers that found tasks.",
     [](const worker_metrics& w) -> std::uint64_t { return w.steals; }},
    {"weir_worker_tasks_stolen_total", "stolen", "Tasks brought home from raids.",
     [](const worker_metrics& w) -> std::uint64_t { return w.stolen; }},
    {"weir_worker_parks_total", "parks", "Times the worker went to sleep.",
     [](const worker_metrics& w) -> std::uint64_t { return w.parks; }},
    {"weir_worker_wakes_total", "wakes", "Wake-ups from other threads.",
     [](const worker_metrics& w) -> std::uint64_t { return w.wakes; }},
    {"weir_worker_spins_total", "spins", "Sleeps avoided by looking a little longer.",
     [](const worker_metrics& w) -> std::uint64_t { return w.spins; }},
    {"weir_worker_lost_wakes_total", "lost_wakes", "Sleeps that overlooked work; above 0 is a bug.",
     [](const worker_metrics& w) -> std::uint64_t { return w.lost_wakes; }},
    {"weir_worker_timers", "timers", "Timers armed.",
     [](const worker_metrics& w) -> std::uint64_t { return w.timers; }},
    {"weir_worker_queued_tasks", "queued", "Tasks ready to run.",
     [](const worker_metrics& w) -> std::uint64_t { return w.queued; }},
    {"weir_worker_operations_in_flight", "in_flight", "I/O operations with the kernel.",
     [](const worker_metrics& w) -> std::uint64_t { return w.in_flight; }},
    {"weir_worker_io_submissions_total", "submissions", "I/O operations handed to the kernel.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.submissions; }},
    {"weir_worker_io_completions_total", "completions", "Completions received.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.completions; }},
    {"weir_worker_io_enters_total", "enters", "System calls made to submit or to wait.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.enters; }},
    {"weir_worker_io_stalls_total", "stalls", "Times the submission queue was full.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.stalls; }},
    {"weir_worker_io_overflows_total", "overflows", "Completions that the kernel had to keep aside.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.overflows; }},
    {"weir_worker_io_no_buffers_total", "no_buffers", "Receives that ended for want of a pooled buffer.",
     [](const worker_metrics& w) -> std::uint64_t { return w.io.no_buffers; }},
};

/// Prometheus' text format 0.0.4: HELP and TYPE once for each family, then its samples, one a line.
class exposition {
 public:
  void family(std::string_view name, std::string_view help) {
    name_ = name;
    text_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name);
    text_.append(name.ends_with("_total") ? " counter\n" : " gauge\n");
  }
  template <class N>
  void sample(N value, std::string_view labels = {}) {
    char digits[32];
    text_.append(name_).append(labels).append(" ");
    text_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr).append("\n");
  }
  template <class N>
  void single(std::string_view name, std::string_view help, N value) {
    family(name, help);
    sample(value);
  }
  const std::string& text() const noexcept { return text_; }

 private:
  std::string name_, text_;
};

void add_runtime(exposition& out, const weir::runtime_metrics& runtime) {
  out.single("weir_tasks_alive", "Tasks that have started and not ended.", runtime.alive);
  out.single("weir_injected_tasks", "Ready tasks that no worker has taken yet.", runtime.injected);
  out.single("weir_blocking_threads", "Threads for blocking functions.", runtime.blocking_threads);
  out.single("weir_blocking_queued", "Blocking functions that wait for a thread.", runtime.blocking_queued);
  for (const auto& each : worker_families) {
    out.family(each.name, each.help);
    for (std::size_t i = 0; i < runtime.workers.size(); ++i) {
      out.sample(each.of(runtime.workers[i]), "{worker=\"" + std::to_string(i) + "\"}");
    }
  }
  auto pool = weir::frame_pool_statistics();
  out.single("weir_frame_pool_allocations_total", "Coroutine frames handed out.", pool.allocations);
  out.single("weir_frame_pool_refills_total", "Times a thread's free list was empty.", pool.refills);
  out.single("weir_frame_pool_oversize_total", "Frames too large for the pool.", pool.oversize);
}

void add_server(exposition& out, const weir::net::http::server_statistics& server) {
  out.single("weir_http_connections_total", "Connections accepted.", server.accepted);
  out.single("weir_http_connections_open", "Connections open.", server.open);
  out.single("weir_http_requests_total", "Requests received.", server.requests);
  out.single("weir_http_refused_total", "Requests refused by the server itself (4xx, 5xx).", server.errors);
  out.single("weir_http_handler_failures_total", "Handlers that failed with an exception.", server.handler_failures);
  out.single("weir_http_disconnects_total", "Handlers cancelled because the client left.", server.disconnects);
}

void add_outcomes(exposition& out, const std::string& name, const std::string& what, const outcomes& of) {
  out.single("showcase_" + name + "_started_total", "All " + what + ".", of.started.load());
  out.single("showcase_" + name + "_finished_total", "Those " + what + " that were answered.", of.finished.load());
  out.single("showcase_" + name + "_cancelled_total", "Those " + what + " that ended before.", of.cancelled.load());
}

void add_outcomes(json& out, std::string_view key, const outcomes& of) {
  auto started = of.started.load(), finished = of.finished.load(), cancelled = of.cancelled.load();
  out.open('{', key).add("started", started).add("finished", finished).add("cancelled", cancelled);
  out.add("running", started - std::min(started, finished + cancelled)).close('}');
}

void add_showcase(exposition& out, const app& a) {
  out.single("showcase_downloaded_bytes_total", "Bytes sent by /download.", a.downloaded.load());
  out.single("showcase_uploaded_bytes_total", "Bytes received by /upload.", a.uploaded.load());
  add_outcomes(out, "slow", "requests to /slow", a.slow);
  add_outcomes(out, "uploads", "requests to /upload", a.uploads);
  add_outcomes(out, "downloads", "requests to /download", a.downloads);
}

void add_process(exposition& out, const process_facts& process) {
  out.single("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident_bytes);
  out.single("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_bytes);
  out.single("process_open_fds", "Open file descriptors.", process.open_files);
  out.single("process_max_fds", "Most file descriptors the process may open.", process.most_files);
  out.single("process_cpu_seconds_total", "User and system CPU time in seconds.", process.cpu_seconds);
}

}  // namespace

process_facts read_process_facts() {
  process_facts facts;
  auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream("/proc/self/statm") >> facts.virtual_bytes >> facts.resident_bytes;
  facts.virtual_bytes *= page;
  facts.resident_bytes *= page;
  std::error_code ignored;
  for (std::filesystem::directory_iterator each("/proc/self/fd", ignored), end; each != end; each.increment(ignored)) {
    ++facts.open_files;
  }
  if (facts.open_files > 0) --facts.open_files;  // the directory's own
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) facts.most_files = files.rlim_cur;
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) == 0) {
    auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    facts.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
  }
  return facts;
}

double uptime(const app& a) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - a.started).count();
}

task<void> metrics_text(app& a, request&, response& res) {
  auto process = co_await weir::blocking(read_process_facts);
  exposition out;
  out.family("weir_build_info", "The version, as a label; always 1.");
  auto number = [](int part) { return std::to_string(part); };
  out.sample(1, "{version=\"" + number(WEIR_VERSION_MAJOR) + "." + number(WEIR_VERSION_MINOR) + "." +
                    number(WEIR_VERSION_PATCH) + "\"}");
  out.single("weir_uptime_seconds", "Time since the start.", uptime(a));
  add_runtime(out, weir::metrics());
  add_server(out, a.server->statistics());
  add_showcase(out, a);
  add_process(out, process);
  res.set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  co_await res.end(out.text());
}

std::string figures(const app& a, const process_facts& process, const weir::runtime_metrics& runtime) {
  auto server = a.server->statistics();
  json out;
  out.open('{').add("uptime_seconds", uptime(a)).add("process_id", ::getpid()).add("tasks_alive", runtime.alive);
  out.add("max_upload", a.server->options().max_body);
  out.open('[', "workers");
  for (const auto& worker : runtime.workers) {
    out.open('{');
    for (const auto& each : worker_families) out.add(each.key, each.of(worker));
    out.close('}');
  }
  out.close(']').open('{', "http").add("accepted", server.accepted).add("open", server.open);
  out.add("requests", server.requests).add("refused", server.errors).add("disconnects", server.disconnects);
  out.close('}');
  add_outcomes(out, "slow", a.slow);
  add_outcomes(out, "uploads", a.uploads);
  add_outcomes(out, "downloads", a.downloads);
  out.open('[', "transfers");
  a.transfers.describe(out);
  out.close(']').add("crowd", a.callers.states()).open('{', "process");
  out.add("resident_bytes", process.resident_bytes).add("open_files", process.open_files);
  out.add("cpu_seconds", process.cpu_seconds).close('}').open('[', "log");
  for (const auto& line : a.log.lines()) out.add(line);
  return out.close(']').close('}').text();
}

task<void> metrics_json(app& a, request&, response& res) {
  auto process = co_await weir::blocking(read_process_facts);
  res.set("Content-Type", "application/json").set("Cache-Control", "no-store");
  co_await res.end(figures(a, process, weir::metrics()) + "\n");
}

task<void> tasks(app&, request&, response& res) {
  res.set("Content-Type", "text/plain; charset=utf-8").set("Cache-Control", "no-store");
  co_await res.end("Tasks alive, each with what it waits for and where:\n\n" + weir::task_dump() +
                   "\nThe backend of this worker:\n\n" + weir::backend_report() + "\n");
}

}  // namespace showcase
