// echo PORT [--workers N]: sends back what it receives, each connection on one of the workers. Ends on SIGINT
// or SIGTERM: no new connections then, and two seconds for the others to finish.
#include <weir/io/acceptor.hpp>
#include <weir/io/receiver.hpp>
#include <weir/io/signal.hpp>
#include <weir/net/tcp.hpp>
#include <weir/weir.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace weir;
using namespace std::chrono_literals;

task<void> echo(net::tcp_stream& peer, io::receiver& in) {
  for (;;) {
    auto data = co_await in.next();
    if (data.empty()) co_return;
    co_await peer.write(data);
  }
}

task<void> serve(net::socket_handle socket) {
  net::tcp_stream peer(std::move(socket));
  io::receiver in(peer.fd());
  auto ended = co_await attempt(echo(peer, in));  // a peer that leaves in the middle is no failure of ours
  co_await in.stop();
}

task<void> end_on_signal(io::acceptor& incoming, scope& connections) {
  co_await io::wait_signal({SIGINT, SIGTERM});
  connections.close(2s);
  co_await incoming.stop();
}

task<void> listen_on(std::string where) {
  net::tcp_listener listener(where);
  io::acceptor incoming(listener.fd());
  std::printf("echoing on %s\n", listener.local().to_string().c_str());
  std::fflush(stdout);

  co_await with_scope([&](scope& connections) -> task<void> {
    connections.spawn_local(end_on_signal, std::ref(incoming), std::ref(connections));
    for (unsigned worker = 0;; ++worker) {
      auto socket = co_await attempt(incoming.next());
      if (connections.closing()) break;
      connections.spawn_on(worker, serve, std::move(socket).value());
    }
  });
}

int main(int argc, char** argv) {
  std::string port = argc > 1 ? argv[1] : "7";
  runtime_options options;
  if (argc > 3 && std::string(argv[2]) == "--workers") options.workers = static_cast<unsigned>(std::atoi(argv[3]));
  return run(listen_on(":" + port), options);
}
