// peers/asio_server.cpp: asio's part in the tables: echo and the floors' canned HTTP (a scan, no parser), both as
// awaitable<> coroutines on one io_context. Rests on standalone asio (libasio-dev).
//
//   asio_server http|echo PORT
#include <asio.hpp>
#include <cstdio>
#include <memory>
#include <string_view>

#include "../floor/canned.h"

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

static awaitable<void> echo(tcp::socket socket) {
  auto buffer = std::make_unique<char[]>(65536);
  try {
    for (;;) {
      std::size_t n = co_await socket.async_read_some(asio::buffer(buffer.get(), 65536), use_awaitable);
      co_await async_write(socket, asio::buffer(buffer.get(), n), use_awaitable);
    }
  } catch (const std::exception&) {  // the client left
  }
}

static awaitable<void> http(tcp::socket socket) {
  char buffer[16384];
  unsigned scan_state = 0;
  try {
    for (;;) {
      std::size_t n = co_await socket.async_read_some(asio::buffer(buffer), use_awaitable);
      for (unsigned count = count_requests(&scan_state, buffer, n); count;) {
        unsigned some = count < BATCH ? count : static_cast<unsigned>(BATCH);
        co_await async_write(socket, asio::buffer(responses, std::size_t{some} * RESPONSE_BYTES), use_awaitable);
        count -= some;
      }
    }
  } catch (const std::exception&) {  // the client left
  }
}

static awaitable<void> serve(bool echoing, unsigned short port) {
  auto executor = co_await asio::this_coro::executor;
  tcp::acceptor acceptor(executor, {asio::ip::make_address("127.0.0.1"), port});
  acceptor.listen(4096);
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    socket.set_option(tcp::no_delay(true));
    if (echoing) {
      co_spawn(executor, echo(std::move(socket)), asio::detached);
    } else {
      co_spawn(executor, http(std::move(socket)), asio::detached);
    }
  }
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: asio_server http|echo PORT\n");
    return 2;
  }
  fill_responses();
  asio::io_context context(1);
  auto port = static_cast<unsigned short>(std::atoi(argv[2]));
  co_spawn(context, serve(std::string_view(argv[1]) == "echo", port), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  context.run();
}
