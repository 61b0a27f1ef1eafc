// examples/timers_and_ticks.cpp: the order in which the event loop runs things. It is Node's: after every callback
// the ticks until none is left, then the microtasks; and round and round I/O, immediates, close callbacks, timers.
// Run it and read the numbers: they come out in order.
#include <weir/weir.hpp>

#include <chrono>
#include <cstdio>

using namespace std::chrono_literals;

namespace {

/// Something to be called that prints `line`.
auto print(const char* line) {
  return [line] { std::puts(line); };
}

/// What a program may queue, from its main task.
weir::task<> from_main() {
  std::puts("-- queued by the main task, backwards");
  weir::set_timeout(print("   5. timeout, when its time has come"), 20ms);
  weir::set_immediate(print("   4. immediate, when I/O has had its turn"));
  weir::queue_microtask(print("   3. microtask, when the ticks are done"));
  weir::next_tick(print("   2. tick, as soon as this task waits"));
  std::puts("   1. the task itself, to its next await");
  co_await weir::sleep(30ms);
}

/// After I/O an immediate is always before a timer, because the check phase comes next.
weir::task<> from_io() {
  std::puts("-- queued when a blocking function has completed");
  co_await weir::blocking([] {});
  weir::set_timeout(print("   4. timeout"));
  weir::queue_close(print("   3. close callback"));
  weir::set_immediate(print("   2. immediate"));
  weir::next_tick(print("   1. tick"));
  co_await weir::sleep(10ms);
}

/// Ticks and microtasks run between any two callbacks, not between phases.
weir::task<> between_callbacks() {
  std::puts("-- two immediates of the same turn");
  weir::set_immediate([] {
    std::puts("   1. the first, which queues a microtask, a tick and an immediate");
    weir::queue_microtask(print("   3. its microtask"));
    weir::next_tick(print("   2. its tick"));
    weir::set_immediate(print("   5. its immediate, a turn later"));
  });
  weir::set_immediate(print("   4. the second"));
  co_await weir::sleep(10ms);
}

/// Every queue has a form to wait in. Then the code reads from top to bottom.
weir::task<> awaited() {
  std::puts("-- the same by co_await");
  co_await weir::next_tick();
  std::puts("   1. after a tick");
  co_await weir::microtask();
  std::puts("   2. after a microtask");
  co_await weir::immediate();
  std::puts("   3. after an immediate");
  co_await weir::sleep(5ms);
  std::puts("   4. after five milliseconds");
}

/// Ticks of an interval are due at start + n * period, however long the work in between takes.
weir::task<> intervals() {
  std::puts("-- intervals");
  weir::timer every = weir::set_interval(
      [&every, n = 0]() mutable {
        std::printf("   %d. call\n", ++n);
        if (n == 3) every.clear();
      },
      5ms);
  co_await weir::sleep(25ms);

  weir::interval ticks(5ms);
  for (int n = 4; n <= 6; ++n) {
    co_await ticks.next();
    std::printf("   %d. tick\n", n);
  }
}

/// A timer belongs to the scope that it was made in. The scope waits for it, and takes it along when cancelled.
weir::task<> scopes() {
  std::puts("-- timers and scopes");
  co_await weir::with_scope([](weir::scope&) -> weir::task<> {
    weir::set_timeout(print("   1. waited for by its scope"), 5ms);
    weir::set_timeout(print("   never: nothing else is left to wait for"), 1h).unref();
    co_return;
  });
  co_await weir::with_scope([](weir::scope& s) -> weir::task<> {
    weir::set_timeout(print("   never: its scope is cancelled first"), 1h);
    weir::set_timeout(
        [&s] {
          std::puts("   2. cancels the scope");
          s.cancel();
        },
        5ms);
    co_return;
  });
  std::puts("   3. both scopes have ended");
}

weir::task<> main_task() {
  co_await from_main();
  co_await from_io();
  co_await between_callbacks();
  co_await awaited();
  co_await intervals();
  co_await scopes();
}

}  // namespace

int main() {
  weir::before_exit([](int) { std::puts("-- nothing is left to do"); });
  weir::at_exit([](int code) { std::printf("   exit %d\n", code); });
  return weir::run(main_task());
}
