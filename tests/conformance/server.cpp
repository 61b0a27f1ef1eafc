// tests/conformance/server.cpp: servers for clients outside of the driver, which serve while it goes on reading.
#include "tests/conformance/driver.hpp"
#include "tests/conformance/http_handler.hpp"

#include <weir/core/event.hpp>
#include <weir/net/http_server.hpp>
#include <weir/net/static_files.hpp>
#include <weir/net/tcp.hpp>

#include <array>
#include <chrono>
#include <memory>

namespace weir::conformance {
namespace {

namespace http = net::http;

/// A server that runs until it is told to stop.
class outside_server {
 public:
  virtual ~outside_server() = default;
  virtual std::uint16_t port() const = 0;
  /// Serves until `stop`.
  virtual task<> run() = 0;
  virtual void stop() = 0;

  event ended;
};

class http_outside_server final : public outside_server {
 public:
  http_outside_server(http::server::handler_type handler, const json& options)
      : server_(std::move(handler), server_options_of(options)), where_(server_.listen("127.0.0.1:0")) {}
  std::uint16_t port() const override { return where_.port(); }
  task<> run() override { return server_.serve(); }
  void stop() override { server_.close(std::chrono::milliseconds(0)); }

 private:
  http::server server_;
  net::address where_;
};

/// Sends back what comes, and ends when the other side has.
class tcp_echo final : public outside_server {
 public:
  std::uint16_t port() const override { return listener_.local().port(); }
  task<> run() override {
    co_await with_scope(
        [this](scope& s) -> task<> {
          s.spawn(
              [](event& stopped, scope& all) -> task<> {
                co_await stopped.wait();
                all.cancel();
              },
              std::ref(stopped_), std::ref(s));
          for (;;) s.spawn(serve, co_await listener_.accept());
        },
        {.on_child_failure = [](std::exception_ptr) {}});
  }
  void stop() override { stopped_.set(); }

 private:
  static task<> serve(net::tcp_stream peer) {
    std::array<std::byte, 65536> bytes;
    while (auto count = co_await peer.read(bytes)) co_await peer.write(std::span(bytes).first(count));
    co_await peer.shutdown_write();
  }

  net::tcp_listener listener_{"127.0.0.1:0"};
  event stopped_;
};

task<> answer_with_echo(http::request& req, http::response& res) {
  auto body = co_await read_body(req);
  co_await echo(req, res, body);
}

task<> answer_hello(http::request&, http::response& res) {
  res.set("Content-Type", "text/plain");
  co_await res.end("hello");
}

std::unique_ptr<outside_server> make_server(const std::string& kind, const json& options) {
  if (kind == "http-echo") return std::make_unique<http_outside_server>(answer_with_echo, options);
  if (kind == "http-hello") return std::make_unique<http_outside_server>(answer_hello, options);
  if (kind == "static") {
    return std::make_unique<http_outside_server>(http::static_files(option(options, "root").get<std::string>()),
                                                 json::object());
  }
  if (kind == "tcp-echo") return std::make_unique<tcp_echo>();
  throw unsupported_arguments();
}

/// The servers that run.
struct server_list {
  std::map<int, std::unique_ptr<outside_server>> running;
  int next_id = 1;
};

}  // namespace

void add_server(operations& all, scope& background) {
  auto servers = std::make_shared<server_list>();
  all.add_async("server.start", [servers, &background](arguments a) -> task<json> {
    return [](std::shared_ptr<server_list> list, scope& within, arguments given) -> task<json> {
      const int id = list->next_id++;
      auto& made = *(list->running[id] = make_server(given.text(0), given[1]));
      within.spawn_local(
          [](std::shared_ptr<server_list>, outside_server& one) -> task<> {
            static_cast<void>(co_await attempt(one.run()));
            one.ended.set();
          },
          list, std::ref(made));
      co_return json{{"id", id}, {"port", made.port()}};
    }(servers, background, std::move(a));
  });
  all.add_async("server.stop", [servers](arguments a) -> task<json> {
    return [](std::shared_ptr<server_list> list, int id) -> task<json> {
      auto found = list->running.find(id);
      if (found == list->running.end()) throw error(errc::err_invalid_arg_value);
      found->second->stop();
      co_await found->second->ended.wait();
      list->running.erase(found);
      co_return nullptr;
    }(servers, a[0].get<int>());
  });
}

}  // namespace weir::conformance
