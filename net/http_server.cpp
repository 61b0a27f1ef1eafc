// net/http_server.cpp: accepts connections, spreads them over the workers, and closes with grace. Rests on
// io::acceptor and on scopes, which keep the connections.
#include <weir/net/http_server.hpp>

#include <weir/core/abort.hpp>
#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/net/http_connection.hpp>

#include <algorithm>
#include <atomic>
#include <limits>

namespace weir::net::http {

server::server(handler_type handler, server_options options)
    : handler_(std::move(handler)), options_(std::move(options)), grace_(std::numeric_limits<std::int64_t>::max()) {
  if (!handler_) throw error(errc::err_invalid_arg_value, "net::http::server: the handler is empty");
  if (options_.max_body != 0) options_.parser.max_body = options_.max_body;
}

server::~server() = default;

address server::listen(std::string_view where) {
  if (serving_.load(std::memory_order_acquire)) throw error(errc::err_server_already_listen);
  return listen(tcp_listener(where, options_.listen));
}

address server::listen(tcp_listener listener) {
  if (serving_.load(std::memory_order_acquire)) throw error(errc::err_server_already_listen);
  listeners_.push_back(std::make_unique<tcp_listener>(std::move(listener)));
  return listeners_.back()->local();
}

void server::make_shards(std::size_t count) {
  while (shards_.size() < count) shards_.push_back(std::make_unique<shard>());
  has_shards_.store(true, std::memory_order_release);
}

std::size_t server::pick_shard() const noexcept {
  std::size_t best = 0;
  auto least = std::numeric_limits<std::uint64_t>::max();
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    auto open = shards_[i]->open.load(std::memory_order_relaxed);
    if (open < least) {
      least = open;
      best = i;
    }
  }
  return best;
}

std::uint64_t server::open_connections() const noexcept {
  std::uint64_t all = 0;
  for (auto& each : shards_) all += each->open.load();
  return all;
}

bool server::full() const noexcept {
  return options_.max_connections != 0 && open_connections() >= options_.max_connections;
}

task<void> server::wait_for_room() {
  while (full()) {
    below_limit_.reset();
    std::atomic_thread_fence(std::memory_order_seq_cst);  // either we see the end of a connection or it sees us
    if (full()) co_await below_limit_.wait();
  }
}

void server::drop(io::descriptor peer) {
  dropped_.fetch_add(1, std::memory_order_relaxed);
  if (options_.on_drop) options_.on_drop(tcp_stream(std::move(peer)).remote());
}

void server::start(io::descriptor peer, scope& connections) {
  auto index = pick_shard();
  shards_[index]->open.fetch_add(1);
  connections.spawn_on(
      static_cast<unsigned>(index),
      [this, index](tcp_stream stream) { return serve_connection(std::move(stream), index); },
      tcp_stream(std::move(peer)));
}

task<void> server::take_connections(io::acceptor& incoming, scope& connections) {
  for (;;) {
    auto peer = co_await incoming.next();
    if (options_.drop_excess && full()) {
      drop(std::move(peer));
      continue;
    }
    auto room = co_await attempt(wait_for_room());
    start(std::move(peer), connections);  // also if the server closes meanwhile: this one has been accepted
    room.value();
  }
}

task<void> server::accept_loop(int listener, scope& connections) {
  io::acceptor_options options;
  if (options_.max_connections != 0 && !options_.drop_excess) {
    options.credit = static_cast<unsigned>(std::min<std::size_t>(options.credit, options_.max_connections));
  }
  io::acceptor incoming(listener, options);
  auto outcome = co_await attempt(take_connections(incoming, connections));
  co_await incoming.stop();
  // Who was accepted, or waited in the backlog, may have sent a request already.
  for (auto left = co_await attempt(incoming.next()); left; left = co_await attempt(incoming.next())) {
    start(std::move(*left), connections);
  }
  outcome.value();
}

task<void> server::accept_until_closed(scope& connections) {
  co_await with_scope([this, &connections](scope& accepting) -> task<void> {
    for (auto& each : listeners_) {
      accepting.spawn_local([this, &connections, fd = each->fd()]() { return accept_loop(fd, connections); });
    }
    co_await closing_.wait();
    accepting.cancel();
  });
}

void server::connection_ended(shard& of) noexcept {
  of.open.fetch_sub(1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!below_limit_.is_set()) below_limit_.set();
  if (closing_.is_set()) changed_.set();
}

task<void> server::serve_connection(tcp_stream stream, std::size_t shard_index) {
  auto& running = co_await detail::this_fiber{};
  struct place {
    server& of;
    shard& in;
    ~place() { of.connection_ended(in); }
  } place{*this, *shards_[shard_index]};
  place.in.accepted.add();
  connection c(*this, place.in, std::move(stream), running);
  if (closing_.is_set()) c.begin_close();
  auto outcome = co_await attempt(c.run());
  co_await c.leave();
  outcome.value();
}

// Waits until every connection has ended, or until they have had their time.
task<void> server::drain() {
  auto& here = *(co_await detail::this_fiber{}).on;
  auto until = std::chrono::steady_clock::time_point::max();
  for (;;) {
    changed_.reset();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (open_connections() == 0) co_return;
    auto now = here.clock();
    until = std::min(until, now + std::chrono::milliseconds(grace_.load()));
    if (until <= now) co_return;
    auto outcome = co_await attempt(timeout(until - now, changed_.wait()));
    if (!outcome && outcome.failure().is_cancelled()) co_return;
  }
}

void server::close_listeners() noexcept {
  for (auto& each : listeners_) each->close();
}

task<void> server::serve() {
  if (listeners_.empty()) throw error(errc::err_server_not_running, "serve: listen() comes first");
  if (serving_.exchange(true)) throw error(errc::err_server_already_listen, "serve: once in a server's life");
  make_shards((co_await detail::this_fiber{}).on->home().workers().size());
  scope_options options;
  options.on_child_failure = [](const std::exception_ptr& why) { complain("a connection", why); };
  auto outcome = co_await attempt(with_scope(
      [this](scope& connections) -> task<void> {
        auto accepted = co_await attempt(accept_until_closed(connections));
        close_listeners();
        if (accepted) {
          for (unsigned i = 0; i < shards_.size(); ++i) connections.spawn_on(i, close_shard, shards_[i].get());
          co_await drain();
        }
        co_await shield(cut_shards());
        connections.cancel();
        accepted.value();
      },
      std::move(options)));
  close_listeners();
  outcome.value();
}

task<void> server::close_shard(shard* mine) {
  for (auto* each = mine->first; each != nullptr; each = each->next) each->begin_close();
  co_return;
}

task<void> server::cut_shard(shard* mine) {
  for (auto* each = mine->first; each != nullptr; each = each->next) each->end_now();
  co_return;
}

// Connections that say goodbye do not look at a cancellation.
task<void> server::cut_shards() {
  co_await with_scope([this](scope& all) -> task<void> {
    for (unsigned i = 0; i < shards_.size(); ++i) all.spawn_on(i, cut_shard, shards_[i].get());
    co_return;
  });
}

void server::close(const close_options& options) {
  // A month is as good as for ever, and added to any time it does not overflow.
  constexpr std::int64_t month = std::chrono::milliseconds(std::chrono::hours(720)).count();
  auto wanted = std::clamp<std::int64_t>(options.grace.count(), 0, month);
  if (!closing_.is_set()) idle_grace_ = std::clamp<std::int64_t>(options.idle_grace.count(), 0, month);
  auto known = grace_.load();
  while (wanted < known && !grace_.compare_exchange_weak(known, wanted)) {
  }
  closing_.set();
  changed_.set();
  closed_.abort();
}

server_statistics server::statistics() const noexcept {
  server_statistics all;
  if (!has_shards_.load(std::memory_order_acquire)) return all;
  all.dropped = dropped_.load(std::memory_order_relaxed);
  for (auto& each : shards_) {
    all.accepted += each->accepted.get();
    all.open += each->open.load(std::memory_order_relaxed);
    all.requests += each->requests.get();
    all.errors += each->errors.get();
    all.handler_failures += each->handler_failures.get();
    all.timeouts += each->timeouts.get();
    all.disconnects += each->disconnects.get();
  }
  return all;
}

task<void> serve(std::string_view where, server::handler_type handler, server_options options) {
  server s(std::move(handler), std::move(options));
  s.listen(where);
  co_await s.serve();
}

}  // namespace weir::net::http
