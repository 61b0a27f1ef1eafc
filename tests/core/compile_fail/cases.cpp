// tests/core/compile_fail/cases.cpp: what must not compile, one mistake per CASE; CASE 0 is the same without one.
// CMakeLists.txt beside it holds the words that the compiler has to say.
#include <weir/weir.hpp>

namespace {

weir::task<int> work(int value) { co_return value; }

struct alignas(64) line {
  int value = 0;
};

[[maybe_unused]] weir::task<> body(weir::scope& s) {
#if CASE == 0
  s.spawn(work, 1);
  auto made = work(1);
  static_cast<void>(co_await std::move(made));
#elif CASE == 1
  s.spawn(work(1));
#elif CASE == 2
  s.spawn_local(work(1));
#elif CASE == 3
  auto made = work(1);
  co_await made;
#elif CASE == 4
  s.spawn(work, "no number");
#elif CASE == 5
  s.spawn([](int value) { return value; }, 1);
#elif CASE == 6
  auto make = []() -> weir::task<line> { co_return line(); };
  static_cast<void>(co_await make());
#elif CASE == 7
  weir::event e;
  auto waiting = e.wait();
  static_cast<void>(co_await weir::attempt(waiting));
#elif CASE == 8
  work(1);
#endif
  co_await weir::yield();
  static_cast<void>(s);
}

}  // namespace
