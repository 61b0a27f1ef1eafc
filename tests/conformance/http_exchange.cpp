// tests/conformance/http_exchange.cpp: what a server answers to bytes on a connection, with a handler made of steps.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/http_handler.hpp"

#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_raw_stream.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/tcp.hpp>

#include <array>
#include <chrono>

namespace weir::conformance {
namespace {

namespace http = net::http;
using std::chrono::milliseconds;

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

/// Values of one header or several.
std::vector<std::string> values_of(const json& given) {
  std::vector<std::string> all;
  if (!given.is_array()) return {text_of(given)};
  for (const auto& each : given) all.push_back(text_of(each));
  return all;
}

std::vector<std::string_view> views_of(const std::vector<std::string>& all) { return {all.begin(), all.end()}; }

const json& at(const json& s, std::size_t i) {
  static const json nothing;
  return i < s.size() ? s[i] : nothing;
}

/// The header lines of an object or a list of pairs, with their text.
struct header_lines {
  explicit header_lines(const json& given) {
    for (const auto& [key, value] : given.items()) {
      const bool pair = given.is_array();
      for (auto& each : values_of(pair ? value[1] : value)) texts.emplace_back(pair ? text_of(value[0]) : key, each);
    }
    for (const auto& [name, value] : texts) lines.push_back({name, value});
  }
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<http::header> lines;
};

task<> run_step(const json& s, http::response& res) {
  const auto& what = s[0].get_ref<const std::string&>();
  if (what == "statusCode") {
    res.status(s[1].get<int>());
  } else if (what == "statusMessage") {
    res.status(res.status(), s[1].get<std::string>());
  } else if (what == "setHeader") {
    auto values = values_of(s[2]);
    res.set(text_of(s[1]), std::span<const std::string_view>(views_of(values)));
  } else if (what == "removeHeader") {
    res.remove(text_of(s[1]));
  } else if (what == "writeHead") {
    header_lines headers(at(s, 3).is_null() ? json::object() : s[3]);
    res.write_head(s[1].get<int>(), at(s, 2).is_string() ? s[2].get<std::string>() : "", headers.lines);
  } else if (what == "write") {
    co_await res.write(bytes_of(s[1]).text());
  } else if (what == "end") {
    auto body = at(s, 1).is_null() ? buffer() : bytes_of(s[1]);
    co_await res.end(body.text());
  } else if (what == "flushHeaders") {
    res.flush_headers();
  } else if (what == "addTrailers") {
    for (const auto& [name, value] : header_lines(s[1]).texts) res.trailer(name, value);
  } else if (what == "writeContinue") {
    co_await res.write_continue();
  } else if (what == "writeProcessing") {
    co_await res.write_processing();
  } else if (what == "writeEarlyHints") {
    auto hints = s[1];
    auto links = values_of(hints.value("link", json::array()));
    hints.erase("link");
    header_lines others(hints);
    co_await res.early_hints(views_of(links), others.lines);
  } else if (what == "destroy") {
    res.destroy();
  } else {
    throw unsupported_arguments();
  }
}

/// Answers an upgrade or CONNECT as the protocol says.
task<> switch_over(http::request& req, http::response& res) {
  const bool tunnel = req.method() == http::method::connect;
  auto& raw = res.take_over();
  std::string answer = tunnel ? "HTTP/1.1 200 Connection Established\r\n\r\nhead="
                              : "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhead=";
  answer += raw.head();
  co_await raw.write(answer);
  co_await raw.end();
}

void drop_headers(http::response& res) {
  std::vector<std::string> names;
  for (auto each : res.header_names()) names.emplace_back(each);
  for (const auto& each : names) res.remove(each);
}

/// What a step that raises comes to.
task<> answer_failure(std::exception_ptr why, http::response& res) {
  if (res.ended()) co_return;
  if (res.headers_sent()) {
    res.destroy();
    co_return;
  }
  drop_headers(res);
  res.status(599);
  co_await res.end(code_of(why));
}

task<> run_steps(const json& steps, http::request& req, http::response& res, std::string_view body) {
  std::exception_ptr failed;
  try {
    for (const auto& each : steps) {
      if (each[0] == "echo") {
        co_await echo(req, res, body);
      } else {
        co_await run_step(each, res);
      }
    }
  } catch (const error&) {
    failed = std::current_exception();
  }
  if (failed) co_await answer_failure(failed, res);
}

struct exchange_handler {
  json steps;
  bool takes_upgrade = false;
  bool takes_connect = false;

  task<> operator()(http::request& req, http::response& res) const {
    if (req.method() == http::method::connect && !takes_connect) {
      res.destroy();
      co_return;
    }
    auto body = co_await read_body(req);
    if (req.wants_upgrade() && (req.method() == http::method::connect ? takes_connect : takes_upgrade)) {
      co_return co_await switch_over(req, res);
    }
    co_await run_steps(steps, req, res, body);
  }
};

/// The client's side: bytes out, bytes in until there are no more.
class raw_client {
 public:
  raw_client(net::tcp_stream connected, const json& how) : stream_(std::move(connected)), how_(how) {
    if (const auto& idle = option(how, "idleMs"); idle.is_number()) idle_ = milliseconds(idle.get<int>());
  }

  task<json> run(const std::vector<buffer>& pieces) {
    co_await with_scope([&](scope& s) -> task<> {
      s.spawn_local([](raw_client& self, const std::vector<buffer>& all) -> task<> { co_await self.send(all); },
                    std::ref(*this), std::cref(pieces));
      co_await receive();
      s.cancel();
    });
    co_return json{{"raw", to_json(received_)}, {"closed", closed_}};
  }

 private:
  task<> send(const std::vector<buffer>& pieces) {
    bool first = true;
    for (const auto& each : pieces) {
      if (!std::exchange(first, false)) co_await sleep(milliseconds(8));
      if (!co_await attempt(stream_.write(each.bytes()))) break;
    }
    if (is_set(how_, "halfClose")) static_cast<void>(co_await attempt(stream_.shutdown_write()));
    sent_ = true;
  }

  task<> receive() {
    std::array<std::byte, 65536> into;
    while (!closed_) {
      auto count = co_await attempt(timeout(idle_, stream_.read(into)));
      if (!count && count.failure().is("ETIMEDOUT")) {
        if (sent_) co_return;
        continue;
      }
      closed_ = !count || *count == 0;
      if (!closed_) received_.append(reinterpret_cast<const char*>(into.data()), *count);
    }
  }

  net::tcp_stream stream_;
  const json& how_;
  milliseconds idle_{120};
  std::string received_;
  bool sent_ = false, closed_ = false;
};

task<json> run_exchange(arguments a) {
  auto options = server_options_of(a[0]);
  http::server server(exchange_handler{a[1], is_set(a[0], "upgrade"), is_set(a[0], "connect")}, options);
  auto where = server.listen("127.0.0.1:0");
  json answer;
  co_await with_scope([&](scope& s) -> task<> {
    s.spawn_local([](http::server& of) -> task<> { co_await of.serve(); }, std::ref(server));
    raw_client client(co_await net::connect(where), a[3]);
    answer = co_await client.run(a.pieces(2));
    server.close(milliseconds(0));
  });
  co_return answer;
}

}  // namespace

std::string latin1_text(std::string_view bytes) { return buffer::view_of_static(bytes).to_string(encoding::latin1); }

json header_pairs(const http::header_list& headers) {
  json pairs = json::array();
  for (const auto& each : headers) pairs.push_back({latin1_text(each.name), latin1_text(each.value)});
  return pairs;
}

task<std::string> read_body(http::request& req) {
  std::string body;
  for (auto piece = co_await req.read(); !piece.empty(); piece = co_await req.read()) body += piece;
  co_return body;
}

task<> echo(http::request& req, http::response& res, std::string_view body) {
  const auto& head = req.head();
  json said = {{"method", head.method_text},
               {"url", latin1_text(head.target)},
               {"version", head.version == http::version::http_1_0 ? "1.0" : "1.1"},
               {"headers", header_pairs(head.headers)},
               {"trailers", header_pairs(req.trailers())},
               {"body", to_json(body)}};
  res.set("Content-Type", "application/json");
  co_await res.end(said.dump());
}

http::server_options server_options_of(const json& given) {
  http::server_options options = {.allow_connect = true, .allow_half_open = true};
  options.on_error = [](const http::request&, std::exception_ptr) {};
  // Node has no finer answers than these to what is no HTTP.
  options.on_client_error = [](const http::client_error& why, std::string& answer) {
    bool known = why.status == 400 || why.status == 408 || why.status == 413 || why.status == 431;
    if (!known) answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
  };
  if (const auto& size = option(given, "maxHeaderSize"); size.is_number()) options.parser.max_head = size_of(size);
  if (const auto& host = option(given, "requireHostHeader"); host.is_boolean()) {
    options.parser.require_host = options.parser.check_host = host.get<bool>();
  }
  if (const auto& most = option(given, "maxRequestsPerSocket"); most.is_number()) options.max_requests = size_of(most);
  if (const auto& idle = option(given, "keepAliveTimeout"); idle.is_number()) {
    options.keep_alive_timeout = milliseconds(idle.get<std::int64_t>());
  }
  return options;
}

void add_http_exchange(operations& all) { all.add_async("http.exchange", run_exchange); }

}  // namespace weir::conformance
