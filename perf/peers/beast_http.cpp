// peers/beast_http.cpp: Boost.Beast's part in the tables: an HTTP hello with a real parser and serialiser, as asio
// coroutines on one io_context. Rests on Boost 1.74 (libboost-dev).
//
//   beast_http PORT
#include <utility>  // Boost 1.74's awaitable uses std::exchange without including this

#include <boost/asio.hpp>
#include <boost/beast.hpp>
#include <cstdio>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

static awaitable<void> session(tcp::socket socket) {
  beast::flat_buffer buffer;
  try {
    for (;;) {
      http::request<http::empty_body> request;
      co_await http::async_read(socket, buffer, request, use_awaitable);
      http::response<http::string_body> response{http::status::ok, request.version()};
      response.set(http::field::content_type, "text/plain");
      response.keep_alive(request.keep_alive());
      response.body() = "Hello, World!";
      response.prepare_payload();
      co_await http::async_write(socket, response, use_awaitable);
      if (!request.keep_alive()) break;
    }
  } catch (const std::exception&) {  // the client left
  }
}

static awaitable<void> serve(unsigned short port) {
  auto executor = co_await asio::this_coro::executor;
  tcp::acceptor acceptor(executor, {asio::ip::make_address("127.0.0.1"), port});
  acceptor.listen(4096);
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    socket.set_option(tcp::no_delay(true));
    co_spawn(executor, session(std::move(socket)), asio::detached);
  }
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: beast_http PORT\n");
    return 2;
  }
  asio::io_context context(1);
  co_spawn(context, serve(static_cast<unsigned short>(std::atoi(argv[1]))), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  context.run();
}
