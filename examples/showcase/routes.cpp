// examples/showcase/routes.cpp: which handler answers what. A table and a loop will do for a dozen paths.
#include "app.hpp"
#include "json.hpp"
#include "showcase_assets.hpp"

#include <weir/net/http_conditions.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>

namespace showcase {
namespace {

using weir::net::http::method;

struct route {
  weir::net::http::method method;
  std::string_view path;
  task<void> (*handler)(app&, request&, response&);
};

constexpr route routes[] = {
    {method::get, "/", asset},
    {method::get, "/page.js", asset},
    {method::get, "/live.js", asset},
    {method::get, "/chart.js", asset},
    {method::get, "/actions.js", asset},
    {method::get, "/text.js", asset},
    {method::get, "/style.css", asset},
    {method::get, "/favicon.svg", asset},
    {method::get, "/api/hello", hello},
    {method::get, "/download", download},
    {method::post, "/upload", upload},
    {method::get, "/slow", slow},
    {method::post, "/crowd", call_crowd},
    {method::post, "/crowd/cut", cut_crowd},
    {method::get, "/events", events},
    {method::get, "/metrics", metrics_text},
    {method::get, "/metrics.json", metrics_json},
    {method::get, "/tasks", tasks},
};

constexpr std::string_view hint =
    "try /, /api/hello, /download?mb=16, /slow?ms=5000, /events, /metrics, /metrics.json, /tasks, or POST to "
    "/upload or /crowd?n=100";

std::string_view type_of(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  return "image/svg+xml";
}

/// Changes when the content does: FNV-1a, 64 bits.
std::string tag_of(std::string_view content) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (char c : content) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  char text[24];
  std::snprintf(text, sizeof text, "\"%016llx\"", static_cast<unsigned long long>(sum));
  return text;
}

std::string_view file_of(std::string_view path) { return path == "/" ? "index.html" : path.substr(1); }

/// The entity tag of each file built in, made once.
std::string_view tag_of_asset(std::string_view name) {
  static const auto tags = [] {
    std::map<std::string_view, std::string> made;
    for (const auto& each : routes) {
      if (each.handler == asset) made.emplace(file_of(each.path), tag_of(showcase_asset(file_of(each.path))));
    }
    return made;
  }();
  return tags.at(name);
}

}  // namespace

task<void> answer(app& a, request& req, response& res) {
  std::string allowed;
  for (const auto& each : routes) {
    if (each.path != req.path()) continue;
    bool get_for_head = req.method() == method::head && each.method == method::get;  // the server leaves out the body
    if (each.method == req.method() || get_for_head) return each.handler(a, req, res);
    allowed = each.method == method::get ? "GET, HEAD" : std::string(name_of(each.method));
  }
  std::string what(req.path().substr(0, 100));
  if (allowed.empty()) return refuse(res, 404, "there is nothing at " + what + ": " + std::string(hint));
  res.set("Allow", allowed);
  return refuse(res, 405, what + " takes " + allowed + ", not " + std::string(req.method_text()));
}

// Files of a directory are net::http::static_files' business; these are built in, so that the program is one file.
task<void> asset(app&, request& req, response& res) {
  auto name = file_of(req.path());
  weir::net::http::validators have{.etag = tag_of_asset(name)};
  res.set("ETag", have.etag);
  res.set("Content-Type", type_of(name));
  res.set("Cache-Control", "no-cache");
  res.set("Content-Security-Policy", "default-src 'self'");
  res.set("X-Content-Type-Options", "nosniff");
  auto outcome = check_conditions(req.method(), req.headers(), have);
  if (outcome == weir::net::http::condition_outcome::not_modified) co_return co_await res.status(304).end();
  co_await res.end(showcase_asset(name));
}

task<void> refuse(response& res, int status, std::string why) {
  res.status(status).set("Content-Type", "application/json");
  co_await res.end(json().open('{').add("error", why).close('}').text() + "\n");
}

weir::result<std::uint64_t> number_from_query(const request& req, std::string_view name, range allowed) {
  auto query = req.query();
  while (!query.empty()) {
    auto pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.substr(0, pair.find('=')) != name) continue;
    auto text = pair.substr(std::min(pair.size(), name.size() + 1));
    std::uint64_t value = 0;
    auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool whole = wrong == std::errc() && end == text.data() + text.size();
    if (whole && value >= allowed.least && value <= allowed.most) return value;
    return weir::error(weir::errc::err_out_of_range,
                       std::string(name) + " is a whole number from " + std::to_string(allowed.least) + " to " +
                           std::to_string(allowed.most) + ", not '" + std::string(text.substr(0, 40)) + "'");
  }
  return allowed.fallback;
}

}  // namespace showcase
