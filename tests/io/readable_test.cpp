#include <weir/io/readable.hpp>
#include <weir/weir.hpp>

#include "tests/support/cancel_at.hpp"
#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;
using weir::testing::counted;
using weir::testing::rounds;
using weir::testing::run_with;

generator<int> count_to(int last) {
  for (int i = 1; i <= last; ++i) co_yield i;
}

generator<int> count_slowly(int last) {
  for (int i = 1; i <= last; ++i) {
    co_await yield();
    co_yield i;
  }
}

template <class T>
task<std::vector<T>> rest_of(readable<T>& from) {
  std::vector<T> all;
  while (auto each = co_await from.next()) all.push_back(std::move(*each));
  co_return all;
}

task<std::string> text_of(readable<buffer>& from) {
  std::string all;
  while (auto each = co_await from.next()) all += each->text();
  co_return all;
}

std::vector<int> numbers_to(int last) {
  std::vector<int> all(static_cast<std::size_t>(last));
  std::iota(all.begin(), all.end(), 1);
  return all;
}

std::string code_of(const std::exception_ptr& why) { return why ? std::string(failure(why).code_name()) : "none"; }

template <class A>
task<std::string> failure_of(A operation) {
  auto outcome = co_await attempt(std::move(operation));
  co_return outcome ? "none" : std::string(outcome.failure().code_name());
}

/// A source whose chunks are the pieces of a text.
readable<buffer> pieces(std::vector<std::string> texts) {
  return readable<buffer>([texts = std::move(texts), at = std::size_t{0}]() mutable -> task<std::optional<buffer>> {
    co_await yield();
    if (at == texts.size()) co_return std::nullopt;
    co_return buffer::from(texts[at++]);
  });
}

struct slow_source {
  static constexpr bool cancel_safe = true;
  std::string text;
  std::size_t at = 0;
  task<std::optional<buffer>> next() {
    co_await yield();
    co_await yield();
    if (at == text.size()) co_return std::nullopt;
    co_return buffer::from(text.substr(at++, 1));
  }
};

TEST(Readable, gives_what_its_generator_yields_and_then_the_end_for_ever) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      readable numbers(count_slowly(100));
      EXPECT_EQ(co_await rest_of(numbers), numbers_to(100));
      EXPECT_EQ(co_await numbers.next(), std::nullopt);
      EXPECT_TRUE(numbers.ended());
      EXPECT_TRUE(numbers.closed());
      EXPECT_FALSE(numbers.destroyed());
      EXPECT_EQ(numbers.errored(), nullptr);
    }());
  }
}

// C0-STR-05, C1-ST-30: one call for each demand; what the call is told is advice.
TEST(Readable, asks_its_function_once_for_each_chunk_and_never_after_the_end) {
  run_with(1, []() -> task<> {
    int calls = 0;
    std::vector<std::size_t> sizes;
    readable r([&](std::size_t size) -> task<std::optional<int>> {
      sizes.push_back(size);
      if (++calls > 2) co_return std::nullopt;
      co_return calls;
    });
    EXPECT_EQ(calls, 0);
    EXPECT_FALSE(r.disturbed());
    EXPECT_EQ(co_await r.next(), 1);
    EXPECT_TRUE(r.disturbed());
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(co_await r.next(), 2);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(co_await r.next(), std::nullopt);
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(sizes, (std::vector<std::size_t>{16, 16, 16}));
  }());
}

TEST(Readable, has_the_marks_of_its_kind_unless_told_otherwise) {
  EXPECT_EQ(readable(count_to(1)).high_water_mark(), 16U);
  EXPECT_EQ(pieces({}).high_water_mark(), 65536U);
  EXPECT_EQ(readable(count_to(1), {.high_water_mark = 3}).high_water_mark(), 3U);
}

// C1-ST-29: `||` made 0 mean the default; C0-STR-10: an explicit 0 is an explicit 0.
TEST(Readable, takes_a_mark_of_zero_at_its_word) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<int>({.high_water_mark = 0});
    EXPECT_EQ(stream.high_water_mark(), 0U);
    int one = 1;
    EXPECT_FALSE(queue.try_push(one));
    std::vector<int> got;
    co_await with_scope([&, &to = queue, &from = stream](scope& s) -> task<> {
      s.spawn_local([&]() -> task<> {
        for (int i = 1; i <= 5; ++i) {
          co_await to.push(i);
          EXPECT_LE(to.length(), 1U);
        }
        to.end();
      });
      co_await yield();
      EXPECT_EQ(to.length(), 0U);
      got = co_await rest_of(from);
    });
    EXPECT_EQ(got, numbers_to(5));
  }());
}

TEST(Readable, fails_with_what_its_source_threw_every_time_it_is_asked) {
  run_with(1, []() -> task<> {
    int closes = 0;
    readable r(
        []() -> generator<int> {
          co_yield 1;
          throw error(errc::err_closed);
        }(),
        {.on_close = [&](std::exception_ptr why) {
          ++closes;
          EXPECT_EQ(code_of(why), "ERR_CLOSED");
        }});
    EXPECT_EQ(co_await r.next(), 1);
    EXPECT_EQ(co_await failure_of(r.next()), "ERR_CLOSED");
    EXPECT_EQ(co_await failure_of(r.next()), "ERR_CLOSED");
    EXPECT_TRUE(r.destroyed());
    EXPECT_EQ(code_of(r.errored()), "ERR_CLOSED");
    EXPECT_EQ(closes, 1);
  }());
}

TEST(Readable, fails_when_its_function_throws_instead_of_returning_a_task) {
  run_with(1, []() -> task<> {
    readable<int> r([]() -> task<std::optional<int>> { throw error(errc::err_closed); });
    EXPECT_EQ(co_await failure_of(r.next()), "ERR_CLOSED");
    EXPECT_TRUE(r.destroyed());
  }());
}

TEST(Readable, closes_exactly_once_however_it_ends) {
  run_with(1, []() -> task<> {
    int closes = 0;
    auto hook = [&](std::exception_ptr) { ++closes; };
    {
      readable ended(count_to(1), {.on_close = hook});
      static_cast<void>(co_await rest_of(ended));
      EXPECT_EQ(closes, 1);
      ended.destroy(error(errc::err_closed));
      EXPECT_EQ(ended.errored(), nullptr);
    }
    EXPECT_EQ(closes, 1);
    {
      readable dropped(count_to(1), {.on_close = hook});
    }
    EXPECT_EQ(closes, 2);
    {
      readable destroyed(count_to(1), {.on_close = hook});
      destroyed.destroy(error(errc::err_closed));
      destroyed.destroy();
      EXPECT_EQ(co_await failure_of(destroyed.next()), "ERR_CLOSED");
    }
    EXPECT_EQ(closes, 3);
    {
      readable moved_over(count_to(1), {.on_close = hook});
      moved_over = readable(count_to(2));
      EXPECT_EQ(closes, 4);
      EXPECT_EQ(co_await rest_of(moved_over), numbers_to(2));
    }
  }());
}

TEST(Readable, releases_its_source_as_soon_as_it_is_over) {
  run_with(1, []() -> task<> {
    auto body = []() -> generator<int> {
      counted held;
      for (int i = 0;; ++i) co_yield i;
    };
    readable r(body());
    static_cast<void>(co_await r.next());
    EXPECT_EQ(counted::alive(), 1);
    r.destroy();
    EXPECT_EQ(counted::alive(), 0);
    EXPECT_EQ(co_await failure_of(r.next()), "ERR_STREAM_PREMATURE_CLOSE");
  }());
}

TEST(Readable, lets_an_answer_come_before_it_releases_the_source) {
  run_with(1, with_scope([](scope& s) -> task<> {
             event answer;
             auto body = [](event& wait_for) -> generator<int> {
               counted held;
               co_await wait_for.wait();
               co_yield 1;
             };
             auto r = std::make_shared<readable<int>>(body(answer));
             s.spawn_local([r]() -> task<> { EXPECT_EQ(co_await failure_of(r->next()), "ERR_CLOSED"); });
             co_await yield();
             r->destroy(error(errc::err_closed));
             EXPECT_TRUE(r->closed());
             EXPECT_EQ(counted::alive(), 1);
             answer.set();
             co_await yield();
             EXPECT_EQ(counted::alive(), 0);
           }));
}

TEST(Readable, refuses_a_second_reader_at_a_time) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [stream, queue] = make_pushed_readable<int>();
             auto& from = stream;
             s.spawn_local([&]() -> task<> { EXPECT_EQ(co_await from.next(), 1); });
             co_await yield();
             EXPECT_EQ(co_await failure_of(from.next()), "ERR_INVALID_STATE");
             EXPECT_EQ(co_await failure_of(from.peek()), "ERR_INVALID_STATE");
             queue.push_nowait(1);
             co_await yield();
           }));
}

// C2-SM-05: nothing is lost by pausing.
TEST(Readable, holds_its_chunks_back_while_it_is_paused) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto r = std::make_shared<readable<int>>(count_to(3));
             r->pause();
             EXPECT_TRUE(r->is_paused());
             auto got = std::make_shared<std::vector<int>>();
             s.spawn_local([r, got]() -> task<> { *got = co_await rest_of(*r); });
             for (int i = 0; i < 5; ++i) co_await yield();
             EXPECT_TRUE(got->empty());
             EXPECT_FALSE(r->ended());
             r->resume();
             for (int i = 0; i < 5; ++i) co_await yield();
             EXPECT_EQ(*got, numbers_to(3));
           }));
}

TEST(Readable, reads_what_was_put_back_first) {
  run_with(1, []() -> task<> {
    readable r(count_to(3));
    EXPECT_EQ(co_await r.next(), 1);
    r.unshift(1);
    r.unshift(0);
    EXPECT_EQ(r.length(), 2U);
    EXPECT_EQ(co_await rest_of(r), (std::vector{0, 1, 2, 3}));
    try {
      r.unshift(9);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_TRUE(e.is("ERR_STREAM_UNSHIFT_AFTER_END_EVENT"));
    }
    readable gone(count_to(3));
    gone.destroy();
    EXPECT_THROW(gone.unshift(1), error);
  }());
}

TEST(Readable, shows_the_next_chunk_without_taking_it) {
  run_with(1, []() -> task<> {
    readable r(count_slowly(2));
    EXPECT_EQ(*co_await r.peek(), 1);
    EXPECT_EQ(*co_await r.peek(), 1);
    EXPECT_EQ(co_await r.next(), 1);
    EXPECT_EQ(*co_await r.peek(), 2);
    EXPECT_EQ(co_await r.next(), 2);
    EXPECT_EQ(co_await r.peek(), nullptr);
    EXPECT_FALSE(r.ended());
    EXPECT_EQ(co_await r.next(), std::nullopt);
  }());
}

TEST(Readable, never_gives_an_empty_buffer) {
  run_with(1, []() -> task<> {
    auto r = pieces({"", "a", "", "", "b", ""});
    EXPECT_EQ((co_await r.next())->text(), "a");
    EXPECT_EQ((co_await r.next())->text(), "b");
    EXPECT_EQ(co_await r.next(), std::nullopt);
  }());
}

TEST(Readable, reads_exactly_as_many_bytes_as_asked_for_whatever_the_chunks) {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  run_with(1, [](const std::string& whole) -> task<> {
    for (std::size_t cut = 1; cut < whole.size(); ++cut) {
      for (std::size_t size : {1UL, 2UL, 7UL, cut, whole.size(), whole.size() + 9}) {
        std::vector<std::string> texts;
        for (std::size_t at = 0; at < whole.size(); at += cut) texts.push_back(whole.substr(at, cut));
        auto r = pieces(texts);
        std::string all;
        while (auto part = co_await r.read(size)) {
          EXPECT_EQ(part->size(), std::min(size, whole.size() - all.size()));
          all += part->text();
        }
        EXPECT_EQ(all, whole);
        EXPECT_TRUE(r.ended());
        EXPECT_EQ(r.length(), 0U);
      }
    }
  }(text));
}

TEST(Readable, may_have_bytes_put_back_at_every_cut) {
  const std::string text = "0123456789";
  run_with(1, [](const std::string& whole) -> task<> {
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
      for (std::size_t back = 0; back <= cut; ++back) {
        auto r = pieces({whole.substr(0, 3), whole.substr(3, 4), whole.substr(7)});
        std::string all;
        if (cut > 0) {
          auto first = co_await r.read(cut);
          all = first->text().substr(0, cut - back);
          r.unshift(first->slice(static_cast<std::ptrdiff_t>(cut - back)));
        }
        all += co_await text_of(r);
        EXPECT_EQ(all, whole);
      }
    }
  }(text));
}

TEST(Readable, shows_bytes_without_taking_them) {
  run_with(1, []() -> task<> {
    auto r = pieces({"ab", "cd", "e"});
    EXPECT_EQ((co_await r.peek(3))->text(), "abc");
    EXPECT_EQ((co_await r.peek(1))->text(), "a");
    EXPECT_EQ((co_await r.peek(99))->text(), "abcde");
    EXPECT_EQ(r.length(), 5U);
    EXPECT_EQ((co_await r.read(4))->text(), "abcd");
    EXPECT_EQ((co_await r.peek(2))->text(), "e");
    EXPECT_EQ((co_await r.read(2))->text(), "e");
    EXPECT_EQ(co_await r.peek(1), std::nullopt);
    EXPECT_EQ(co_await r.read(1), std::nullopt);
    EXPECT_EQ(co_await failure_of(r.read(0)), "ERR_OUT_OF_RANGE");
  }());
}

TEST(Readable, cuts_slices_of_a_chunk_without_a_copy) {
  run_with(1, []() -> task<> {
    auto chunk = buffer::from("a chunk of some length");
    readable r([&, given = false]() mutable -> task<std::optional<buffer>> {
      if (std::exchange(given, true)) co_return std::nullopt;
      co_return chunk;
    });
    auto first = co_await r.read(3);
    auto second = co_await r.read(4);
    auto third = co_await r.next();
    EXPECT_EQ(first->data(), chunk.data());
    EXPECT_EQ(second->data(), chunk.data() + 3);
    EXPECT_EQ(third->data(), chunk.data() + 7);
    EXPECT_EQ(third->size(), chunk.size() - 7);
  }());
}

TEST(Readable, may_be_asked_for_more_than_its_mark) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [stream, queue] = make_pushed_readable<buffer>({.high_water_mark = 4});
             auto& to = queue;
             s.spawn_local([&]() -> task<> {
               for (int i = 0; i < 10; ++i) co_await to.push(buffer::from("ab"));
               to.end();
             });
             EXPECT_EQ((co_await stream.read(15))->size(), 15U);
             EXPECT_EQ((co_await stream.read(15))->size(), 5U);
           }));
}

// C3-ORD-19: items pushed before anybody reads are kept, in order.
TEST(ReadableQueue, keeps_what_was_pushed_before_anybody_reads) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<std::string>();
    queue.push_nowait("Alice");
    queue.push_nowait("Bob");
    queue.end();
    EXPECT_EQ(co_await rest_of(stream), (std::vector<std::string>{"Alice", "Bob"}));
  }());
}

// C1-ST-32, C1-BP-01: false at the mark; what is pushed all the same is kept.
TEST(ReadableQueue, says_when_it_is_full_and_takes_more_all_the_same) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<int>({.high_water_mark = 3});
    EXPECT_TRUE(queue.push_nowait(1));
    EXPECT_TRUE(queue.push_nowait(2));
    EXPECT_FALSE(queue.push_nowait(3));
    EXPECT_FALSE(queue.push_nowait(4));
    EXPECT_EQ(queue.length(), 4U);
    EXPECT_EQ(queue.pauses(), 2U);
    int five = 5;
    EXPECT_FALSE(queue.try_push(five));
    queue.end();
    EXPECT_EQ(co_await rest_of(stream), numbers_to(4));
  }());
}

TEST(ReadableQueue, counts_bytes_against_its_mark) {
  auto [stream, queue] = make_pushed_readable<buffer>({.high_water_mark = 10});
  EXPECT_TRUE(queue.push_nowait(buffer::alloc(9)));
  EXPECT_FALSE(queue.push_nowait(buffer::alloc(5)));
  EXPECT_EQ(stream.length(), 14U);
}

TEST(ReadableQueue, weighs_chunks_as_it_is_told) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<std::string>(
        {.high_water_mark = 8, .weigh = [](const std::string& s) { return s.size(); }});
    EXPECT_TRUE(queue.push_nowait("1234567"));
    EXPECT_FALSE(queue.push_nowait("8"));
    EXPECT_EQ(queue.length(), 8U);
    static_cast<void>(co_await stream.next());
    EXPECT_EQ(queue.length(), 1U);
  }());
}

TEST(ReadableQueue, makes_pushers_wait_their_turn_at_the_mark) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<int>({.high_water_mark = 2});
    std::size_t most = 0;
    std::vector<int> got;
    co_await with_scope([&, &to = queue, &from = stream](scope& s) -> task<> {
      for (int i = 1; i <= 20; ++i) s.spawn_local([&, i]() -> task<> { co_await to.push(i); });
      co_await yield();
      while (got.size() < 20) {
        most = std::max(most, to.length());
        got.push_back(*co_await from.next());
        if (got.size() % 3 == 0) co_await yield();
      }
    });
    EXPECT_EQ(got, numbers_to(20));
    EXPECT_EQ(most, 2U);
    EXPECT_EQ(queue.pauses(), 18U);
  }());
}

TEST(ReadableQueue, withdraws_the_push_that_is_cancelled) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [stream, queue] = make_pushed_readable<int>({.high_water_mark = 1});
             auto& to = queue;
             to.push_nowait(1);
             std::vector<join_handle<>> pushers;
             for (int i = 2; i <= 5; ++i)
               pushers.push_back(s.spawn_local([&to, i]() -> task<> { co_await to.push(i); }));
             co_await yield();
             pushers[0].cancel();
             pushers[2].cancel();
             co_await yield();
             std::vector<int> got;
             for (int i = 0; i < 3; ++i) got.push_back(*co_await stream.next());
             EXPECT_EQ(got, (std::vector{1, 3, 5}));
           }));
}

// C3-STR-08
TEST(ReadableQueue, refuses_what_comes_after_the_end) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<int>();
    queue.end();
    EXPECT_EQ(co_await failure_of(queue.push(1)), "ERR_STREAM_PUSH_AFTER_EOF");
    try {
      queue.push_nowait(1);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_TRUE(e.is("ERR_STREAM_PUSH_AFTER_EOF"));
    }
    queue.fail(failure(error(errc::err_closed)).exception());
    EXPECT_EQ(co_await stream.next(), std::nullopt);
  }());
}

TEST(ReadableQueue, tells_its_pushers_that_the_reader_has_gone) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto [stream, queue] = make_pushed_readable<int>({.high_water_mark = 1});
             auto& to = queue;
             to.push_nowait(1);
             auto waiting = s.spawn_local([&]() -> task<std::string> { co_return co_await failure_of(to.push(2)); });
             co_await yield();
             stream.destroy();
             EXPECT_EQ(co_await std::move(waiting), "ERR_STREAM_DESTROYED");
             EXPECT_TRUE(to.closed());
             EXPECT_EQ(co_await failure_of(to.push(3)), "ERR_STREAM_DESTROYED");
             auto [other, gone] = make_pushed_readable<int>();
             other.destroy(error(errc::err_closed));
             EXPECT_EQ(co_await failure_of(gone.push(3)), "ERR_CLOSED");
           }));
}

TEST(ReadableQueue, fails_its_reader_when_it_is_dropped_without_an_end) {
  run_with(1, with_scope([](scope& s) -> task<> {
             auto made = std::make_unique<pushed_readable<int>>(make_pushed_readable<int>());
             auto reader = s.spawn_local([stream = std::move(made->stream)]() mutable -> task<std::string> {
               co_return co_await failure_of(stream.next());
             });
             co_await yield();
             made.reset();
             EXPECT_EQ(co_await std::move(reader), "ERR_STREAM_PREMATURE_CLOSE");
           }));
}

TEST(ReadableQueue, may_be_filled_by_a_thread_that_is_none_of_ours) {
  run_with(2, []() -> task<> {
    constexpr int count = static_cast<int>(rounds(100'000));
    auto [stream, queue] = make_pushed_readable<int>();
    std::thread filler([&to = queue] {
      for (int i = 1; i <= count; ++i) to.push_nowait(i);
      to.end();
    });
    auto got = co_await rest_of(stream);
    filler.join();
    EXPECT_EQ(got, numbers_to(count));
  }());
}

TEST(ReadableQueue, keeps_the_order_of_each_pusher_on_any_number_of_workers) {
  run_with(4, []() -> task<> {
    constexpr int pushers = 4;
    constexpr int each = static_cast<int>(rounds(5'000));
    auto [stream, queue] = make_pushed_readable<std::pair<int, int>>({.high_water_mark = 8});
    std::vector<int> last(pushers, 0);
    std::size_t most = 0;
    co_await with_scope([&, &to = queue, &from = stream](scope& s) -> task<> {
      for (int p = 0; p < pushers; ++p) {
        s.spawn([&to, p]() -> task<> {
          for (int i = 1; i <= each; ++i) co_await to.push({p, i});
        });
      }
      for (int i = 0; i < pushers * each; ++i) {
        most = std::max(most, from.length());
        auto got = co_await from.next();
        EXPECT_EQ(got->second, ++last[static_cast<std::size_t>(got->first)]);
      }
    });
    EXPECT_LE(most, 8U);
  }());
}

TEST(Readable, reads_ahead_up_to_its_mark_when_it_is_asked_to) {
  for (unsigned workers : {1U, 3U}) {
    run_with(workers, []() -> task<> {
      std::atomic<int> pulled = 0;
      std::vector<int> got;
      std::size_t most = 0;
      co_await with_scope([&](scope& s) -> task<> {
        readable r(
            [&]() -> task<std::optional<int>> {
              co_await yield();
              int number = pulled.fetch_add(1) + 1;
              if (number > 50) co_return std::nullopt;
              co_return number;
            },
            stream_options<int>{.high_water_mark = 4});
        r.read_ahead(s);
        r.read_ahead(s);
        while (r.length() < 4) co_await yield();
        for (int i = 0; i < 10; ++i) co_await yield();
        EXPECT_EQ(pulled, 4);
        while (auto each = co_await r.next()) {
          got.push_back(*each);
          most = std::max(most, r.length());
        }
        EXPECT_TRUE(r.ended());
      });
      EXPECT_EQ(got, numbers_to(50));
      EXPECT_LE(most, 4U);
    }());
  }
}

TEST(Readable, that_reads_ahead_passes_the_failure_of_its_source_on) {
  run_with(1, with_scope([](scope& s) -> task<> {
             readable r([n = 0]() mutable -> task<std::optional<int>> {
               co_await yield();
               if (++n == 3) throw error(errc::err_closed);
               co_return n;
             });
             r.read_ahead(s);
             for (int i = 0; i < 10; ++i) co_await yield();
             EXPECT_EQ(co_await failure_of(r.next()), "ERR_CLOSED");
           }));
}

TEST(Readable, that_reads_ahead_lets_its_scope_end_when_it_is_dropped) {
  run_with(1, with_scope([](scope& s) -> task<> {
             readable r(count_to(1'000'000), {.high_water_mark = 2});
             r.read_ahead(s);
             EXPECT_EQ(co_await r.next(), 1);
           }));
  EXPECT_EQ(counted::alive(), 0);
}

TEST(Readable, that_reads_ahead_fails_when_its_scope_is_cancelled) {
  run_with(1, []() -> task<> {
    auto [stream, queue] = make_pushed_readable<int>();
    readable outer(std::move(stream), {.high_water_mark = 2});
    co_await with_scope([&](scope& s) -> task<> {
      outer.read_ahead(s);
      co_await yield();
      s.cancel();
    });
    EXPECT_EQ(co_await failure_of(outer.next()), "ABORT_ERR");
  }());
}

// ---- cancelling

TEST(Readable, loses_nothing_when_reads_of_a_queue_are_cancelled) {
  std::vector<int> got;
  std::shared_ptr<pushed_readable<int>> both;
  auto cancels = weir::testing::cancel_at_every_suspension(
      [&]() -> task<> {
        got.clear();
        both = std::make_shared<pushed_readable<int>>(make_pushed_readable<int>({.high_water_mark = 2}));
        return [](pushed_readable<int>& of, std::vector<int>& got) -> task<> {
          co_await with_scope([&](scope& s) -> task<> {
            s.spawn_local([&]() -> task<> {
              for (int i = 1; i <= 10; ++i) {
                co_await yield();
                int number = i;
                if (auto pushed = co_await attempt(of.queue.push(number)); !pushed) co_return;
              }
              of.queue.end();
            });
            while (auto each = co_await of.stream.next()) got.push_back(*each);
          });
        }(*both, got);
      },
      [&](const result<>& outcome) {
        std::vector<int> left;
        bool ended = both->stream.ended();
        EXPECT_EQ(static_cast<bool>(outcome), ended);
        auto all = got;
        while (both->stream.length() != 0) {
          auto taken = std::optional<int>();
          static_cast<void>(both->stream.state()->take(taken));
          if (taken) all.push_back(*taken);
        }
        EXPECT_EQ(all, numbers_to(static_cast<int>(all.size())));
      });
  EXPECT_GT(cancels, 10U);
}

TEST(Readable, loses_no_byte_when_reads_are_cancelled_and_tried_again) {
  run_with(1, []() -> task<> {
    const std::string whole = "0123456789abcdefghij";
    for (std::size_t patience = 1; patience < 8; ++patience) {
      readable r(slow_source{whole});
      std::string all;
      int cancels = 0;
      while (!r.ended()) {
        co_await with_scope([&](scope& s) -> task<> {
          auto reader = s.spawn_local([&]() -> task<> {
            if (auto part = co_await r.read(7)) all += part->text();
          });
          for (std::size_t i = 0; i < patience + static_cast<std::size_t>(cancels); ++i) co_await yield();
          if (!reader.done()) ++cancels;
          reader.cancel();
        });
      }
      EXPECT_EQ(all, whole);
      EXPECT_GT(cancels, 0);
    }
  }());
}

TEST(Readable, fails_for_good_when_a_source_that_cannot_say_what_it_lost_is_cancelled) {
  run_with(1, []() -> task<> {
    auto body = []() -> generator<int> {
      co_yield 1;
      co_await weir::testing::forever();
      co_yield 2;
    };
    readable r(body());
    EXPECT_EQ(co_await r.next(), 1);
    EXPECT_EQ(co_await failure_of(timeout(1ms, r.next())), "ETIMEDOUT");
    EXPECT_EQ(co_await failure_of(r.next()), "ABORT_ERR");  // not a quiet end

    event ready;
    stream_options<int> safe = {.cancel_safe = true};
    readable<int> again(
        [&]() -> task<std::optional<int>> {
          co_await ready.wait();
          co_return 7;
        },
        safe);
    EXPECT_EQ(co_await failure_of(timeout(1ms, again.next())), "ETIMEDOUT");
    ready.set();
    EXPECT_EQ(co_await again.next(), 7);
  }());
}

TEST(Readable, is_released_whenever_it_is_cancelled) {
  auto cancels = weir::testing::cancel_at_every_suspension(
      []() -> task<> {
        readable inner([]() -> generator<int> {
          counted held;
          for (int i = 1; i <= 5; ++i) {
            co_await yield();
            co_yield i;
          }
        }());
        readable outer(std::move(inner), {});
        EXPECT_EQ(co_await rest_of(outer), numbers_to(5));
      },
      [](const result<>& outcome) {
        EXPECT_EQ(counted::alive(), 0);
        if (!outcome) EXPECT_TRUE(outcome.failure().is_cancelled());
      });
  EXPECT_GT(cancels, 4U);
}

TEST(Readable, stops_a_cancelled_task_even_if_it_need_never_wait) {
  run_with(1, []() -> task<> {
    auto outcome = co_await attempt(timeout(1ms, []() -> task<> {
      readable r([]() -> task<std::optional<int>> { co_return 1; });
      while (co_await r.next()) {
      }
    }()));
    EXPECT_EQ(outcome.failure().code_name(), "ETIMEDOUT");
  }());
}

// C2-ORD-15: data..., then one end; or the failure and no end.
TEST(Readable, fails_at_whichever_operation_its_source_fails) {
  run_with(1, []() -> task<> {
    for (int n = 1; n <= 6; ++n) {
      readable r([n, at = 0]() mutable -> task<std::optional<int>> {
        co_await yield();
        if (++at == n) throw error(errc::err_closed);
        if (at > 5) co_return std::nullopt;
        co_return at;
      });
      std::vector<int> got;
      bool failed = false;
      try {
        while (auto each = co_await r.next()) got.push_back(*each);
      } catch (const error& e) {
        failed = e.is("ERR_CLOSED");
      }
      EXPECT_TRUE(failed);
      EXPECT_EQ(got, numbers_to(n - 1));
      EXPECT_FALSE(r.ended());
    }
  }());
}

// C1-BP-05: a generator is pulled only while somebody wants more.
TEST(Readable, C2_SYS_08_gives_a_paced_generators_objects_in_order_and_stops_it_early) {
  run_with(1, []() -> task<> {
    struct item {
      int index;
      std::chrono::steady_clock::time_point at;
    };
    auto body = [](int& made) -> generator<item> {
      counted held;
      for (int i = 0; i < 100; ++i) {
        co_await sleep(1ms);
        ++made;
        co_yield item{i, std::chrono::steady_clock::now()};
      }
    };
    int made = 0;
    {
      readable all(body(made));
      int expected = 0;
      while (auto each = co_await all.next()) EXPECT_EQ(each->index, expected++);
      EXPECT_EQ(expected, 100);
    }
    made = 0;
    {
      readable early(body(made));
      for (int i = 0; i < 3; ++i) static_cast<void>(co_await early.next());
      EXPECT_EQ(made, 3);
      EXPECT_EQ(counted::alive(), 1);
    }
    EXPECT_EQ(counted::alive(), 0);
  }());
}

}  // namespace
}  // namespace weir::io
