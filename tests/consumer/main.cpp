// tests/consumer/main.cpp: the smallest program outside the tree that uses all rooms. It shows that the headers
// are found by their public names, that they compile with a consumer's own flags, and that the library links
// and runs: a server and a client in one process, on a port of the loopback interface.
#include <weir/net/http_server.hpp>
#include <weir/net/tcp.hpp>
#include <weir/weir.hpp>

#include <array>
#include <cstdio>
#include <string>

namespace {

weir::task<> hello(weir::net::http::request&, weir::net::http::response& res) { co_await res.end("from outside"); }

weir::task<std::string> fetch(weir::net::address where) {
  auto stream = co_await weir::net::connect(where);
  co_await stream.write("GET / HTTP/1.1\r\nHost: consumer\r\nConnection: close\r\n\r\n");
  std::string all;
  std::array<std::byte, 512> chunk;
  while (auto n = co_await stream.read(chunk)) all.append(reinterpret_cast<const char*>(chunk.data()), n);
  co_return all;
}

weir::task<int> main_task() {
  weir::net::http::server server(hello);
  auto where = server.listen("127.0.0.1:0");
  std::string answer;
  co_await weir::with_scope([&](weir::scope& s) -> weir::task<> {
    s.spawn_local([&] { return server.serve(); });
    answer = co_await fetch(where);
    server.close();
  });
  std::printf("weir %d.%d.%d: %s\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH, answer.c_str());
  co_return answer.ends_with("from outside") ? 0 : 1;
}

}  // namespace

int main() { return weir::run(main_task()); }
