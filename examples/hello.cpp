// hello PORT [--workers N]: the smallest HTTP server.
#include <weir/net/http_server.hpp>
#include <weir/weir.hpp>

#include <cstdlib>
#include <string>

using namespace weir;

task<void> hello(net::http::request&, net::http::response& res) {
  res.set("Content-Type", "text/plain");
  co_await res.end("Hello, World!");
}

int main(int argc, char** argv) {
  std::string port = argc > 1 ? argv[1] : "8080";
  runtime_options options;
  if (argc > 3 && std::string(argv[2]) == "--workers") options.workers = static_cast<unsigned>(std::atoi(argv[3]));
  return run(net::http::serve(":" + port, hello), options);
}
