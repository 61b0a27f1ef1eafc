// peers/asio_micro.cpp: asio's column in the in-process table (see ../micro.py): awaitable<> on one io_context, or on a
// thread_pool of two for "mt". Rests on standalone asio (libasio-dev). Its channel is asio::experimental's.
//
//   asio_micro st|mem|mt
#include <time.h>

#include <asio.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/experimental/concurrent_channel.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using asio::awaitable;
using asio::co_spawn;
using asio::detached;
using asio::post;
using asio::steady_timer;
using asio::use_awaitable;
using message = void(asio::error_code, long);
namespace experimental = asio::experimental;

static long sink;

static double nanoseconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

static void print(const std::string& key, double value) {
  std::printf("%s %.2f\n", key.c_str(), value);
  std::fflush(stdout);
}

class stopwatch {
 public:
  void done(const std::string& key, double operations) const {
    print(key, (nanoseconds(CLOCK_MONOTONIC) - wall_) / operations);
  }
  void done_with_cpu(const std::string& key, double operations) const {
    double cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_;
    done(key, operations);
    print(key + "_cpu", cpu / operations);
  }

 private:
  double wall_ = nanoseconds(CLOCK_MONOTONIC), cpu_ = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
};

static double resident_bytes() {
  long whole = 0, resident = 0;
  FILE* f = std::fopen("/proc/self/statm", "r");
  if (f && std::fscanf(f, "%ld %ld", &whole, &resident) != 2) resident = 0;
  if (f) std::fclose(f);
  return static_cast<double>(resident) * 4096.0;
}

[[gnu::noinline]] static awaitable<long> leaf(long x) { co_return x + 1; }

[[gnu::noinline]] static awaitable<long> deep(long n) {
  if (n == 0) co_return 0;
  long below = co_await deep(n - 1);
  co_return below + 1;
}

static awaitable<void> count_down(long& left) {
  --left;
  co_return;
}

static awaitable<void> yield_many(long turns, long& left) {
  auto executor = co_await asio::this_coro::executor;
  for (long i = 0; i < turns; i++) co_await post(executor, use_awaitable);
  --left;
}

template <class Channel>
static awaitable<void> send_many(Channel& channel, long n) {
  for (long i = 0; i < n; i++) co_await channel.async_send(asio::error_code{}, i, use_awaitable);
}

template <class Channel>
static awaitable<void> receive_many(Channel& channel, long n) {
  for (long i = 0; i < n; i++) sink += co_await channel.async_receive(use_awaitable);
}

static awaitable<void> awaits_and_spawns() {
  auto executor = co_await asio::this_coro::executor;
  {
    stopwatch watch;
    for (long i = 0; i < 5'000'000; i++) sink += co_await leaf(i);
    watch.done("ready_await", 5e6);
  }
  {
    stopwatch watch;
    for (int i = 0; i < 1000; i++) sink += co_await deep(1000);
    watch.done("depth_level", 1e6);
  }
  {
    stopwatch watch;
    for (long i = 0; i < 1'000'000; i++) sink += co_await co_spawn(executor, leaf(i), use_awaitable);
    watch.done("spawn_join", 1e6);
  }
  {
    long left = 1'000'000;
    stopwatch watch;
    for (long i = 0; i < 1'000'000; i++) co_spawn(executor, count_down(left), detached);
    while (left) co_await post(executor, use_awaitable);
    watch.done("spawn_many", 1e6);
  }
}

static awaitable<void> yields_and_channels() {
  auto executor = co_await asio::this_coro::executor;
  {
    stopwatch watch;
    for (long i = 0; i < 2'000'000; i++) co_await post(executor, use_awaitable);
    watch.done("yield_1", 2e6);
  }
  {
    long left = 100;
    stopwatch watch;
    for (int k = 0; k < 100; k++) co_spawn(executor, yield_many(20'000, left), detached);
    while (left) co_await post(executor, use_awaitable);
    watch.done("yield_100", 2e6);
  }
  for (int capacity : {1, 64}) {
    experimental::channel<message> channel(executor, static_cast<std::size_t>(capacity));
    stopwatch watch;
    co_spawn(executor, send_many(channel, 1'000'000), detached);
    co_await receive_many(channel, 1'000'000);
    watch.done("chan_same_cap" + std::to_string(capacity), 1e6);
  }
}

static awaitable<void> timers() {
  auto executor = co_await asio::this_coro::executor;
  constexpr long count = 1'000'000;
  for (int pass = 0; pass < 2; pass++) {
    std::vector<std::unique_ptr<steady_timer>> alive(count);
    stopwatch inserting;
    for (long i = 0; i < count; i++) {
      alive[i] = std::make_unique<steady_timer>(executor, std::chrono::milliseconds(60'000 + i % 600'000));
      alive[i]->async_wait([](auto) {});
    }
    if (pass == 1) inserting.done("timer_insert", count);
    stopwatch cancelling;
    for (auto& timer : alive) timer->cancel();
    co_await post(executor, use_awaitable);
    if (pass == 1) cancelling.done("timer_cancel", count);
  }
}

static awaitable<void> single_thread() {
  co_await awaits_and_spawns();
  co_await yields_and_channels();
  co_await timers();
}

static awaitable<void> park(steady_timer& gate, long& left) {
  asio::error_code cancelled;
  co_await gate.async_wait(redirect_error(use_awaitable, cancelled));
  --left;
}

static awaitable<void> memory() {
  auto executor = co_await asio::this_coro::executor;
  constexpr long count = 1'000'000;
  double before = resident_bytes();
  steady_timer gate(executor, steady_timer::time_point::max());
  long left = count;
  for (long i = 0; i < count; i++) co_spawn(executor, park(gate, left), detached);
  for (int i = 0; i < 3; i++) co_await post(executor, use_awaitable);
  print("idle_task_bytes", (resident_bytes() - before) / count);
  stopwatch watch;
  gate.cancel();
  while (left) co_await post(executor, use_awaitable);
  watch.done("wake_all", count);
}

static awaitable<void> spawn_leaves(long count) {
  auto executor = co_await asio::this_coro::executor;
  for (long i = 0; i < count; i++) co_spawn(executor, leaf(i), detached);
}

static awaitable<void> yield_turns(long turns) {
  auto executor = co_await asio::this_coro::executor;
  for (long i = 0; i < turns; i++) co_await post(executor, use_awaitable);
}

static void two_threads() {
  {
    asio::thread_pool pool(2);
    stopwatch watch;
    co_spawn(pool, spawn_leaves(1'000'000), detached);
    pool.join();
    watch.done_with_cpu("spawn_many_2w", 1e6);
  }
  {
    asio::thread_pool pool(2);
    stopwatch watch;
    for (int k = 0; k < 100; k++) co_spawn(pool, yield_turns(20'000), detached);
    pool.join();
    watch.done("yield_100_2w", 2e6);
  }
  for (int capacity : {1, 64, 1024}) {
    asio::thread_pool pool(2);
    experimental::concurrent_channel<message> channel(pool, static_cast<std::size_t>(capacity));
    stopwatch watch;
    co_spawn(pool, send_many(channel, 500'000), detached);
    co_spawn(pool, receive_many(channel, 500'000), detached);
    pool.join();
    watch.done_with_cpu("chan_cross_cap" + std::to_string(capacity), 5e5);
  }
}

int main(int argc, char** argv) {
  std::string_view mode = argc == 2 ? argv[1] : "";
  if (mode == "mt") {
    two_threads();
    return 0;
  }
  if (mode != "st" && mode != "mem") {
    std::fprintf(stderr, "usage: asio_micro st|mem|mt\n");
    return 2;
  }
  asio::io_context context(1);
  co_spawn(context, mode == "st" ? single_thread() : memory(), detached);
  context.run();
}
