// tests/io/split_test.cpp: bytes cut into lines, pieces and text, however they come in: every test of a parser is done
// with the input cut in two at every byte, and with one byte at a time.
#include <weir/io/split.hpp>

#include <weir/io/collect.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace weir::io {
namespace {

using namespace weir::testing;
using strings = std::vector<std::string>;

std::vector<buffer> pieces_of(std::string_view all, std::vector<std::size_t> cuts) {
  std::vector<buffer> pieces;
  std::size_t from = 0;
  for (auto to : cuts) {
    pieces.push_back(buffer::from(all.substr(from, to - from)));
    from = to;
  }
  pieces.push_back(buffer::from(all.substr(from)));
  return pieces;
}

template <class Stage>
strings run_on(std::vector<buffer> pieces, Stage with) {
  auto as_string = [](auto item) {
    if constexpr (std::is_same_v<decltype(item), buffer>) {
      return std::string(item.text());
    } else {
      return item;
    }
  };
  return run_with(1, from(std::move(pieces)) | std::move(with) | map(as_string) | to_vector());
}

/// What `make()` makes of the text, which must be the same however it is cut.
template <class Make>
strings however_cut(std::string_view all, Make make) {
  auto whole = run_on(pieces_of(all, {}), make());
  for (std::size_t at = 0; at <= all.size(); ++at) {
    EXPECT_EQ(run_on(pieces_of(all, {at}), make()), whole) << "cut at " << at;
    for (std::size_t next = at; next <= std::min(all.size(), at + 3); ++next)
      EXPECT_EQ(run_on(pieces_of(all, {at, next}), make()), whole) << "cut at " << at << " and " << next;
  }
  std::vector<std::size_t> everywhere;
  for (std::size_t at = 0; at < all.size(); ++at) everywhere.push_back(at);
  EXPECT_EQ(run_on(pieces_of(all, everywhere), make()), whole) << "cut everywhere";
  return whole;
}

strings lines_of(std::string_view all) {
  return however_cut(all, [] { return lines(); });
}
strings split_at(std::string_view all, std::string delimiter) {
  return however_cut(all, [&] { return split(delimiter); });
}

TEST(Lines, end_with_lf_or_crlf) { EXPECT_EQ(lines_of("one\ntwo\r\nthree\n"), (strings{"one", "two", "three"})); }
TEST(Lines, may_lack_the_last_end) { EXPECT_EQ(lines_of("one\r\ntwo"), (strings{"one", "two"})); }
TEST(Lines, may_be_empty) { EXPECT_EQ(lines_of("\n\r\n\na\n\n"), (strings{"", "", "", "a", ""})); }
TEST(Lines, keep_a_cr_that_is_not_at_the_end) { EXPECT_EQ(lines_of("a\rb\r\r\n\rc"), (strings{"a\rb\r", "\rc"})); }
TEST(Lines, of_nothing_are_none) { EXPECT_EQ(lines_of(""), strings{}); }
TEST(Lines, keep_the_bytes_of_their_characters) {
  EXPECT_EQ(lines_of("gr\xc3\xbc\xc3\x9f\n\xe2\x82\xac\n\xff"),
            (strings{"gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xff"}));
}

// A line of the limit passes with either end, one byte more does not; and no more than that is ever gathered.
TEST(Lines, are_limited_in_length) {
  auto verdict_on = [](std::string_view all, std::vector<std::size_t> cuts) {
    return run_with(1, [](std::vector<buffer> pieces) -> task<std::string> {
      co_return verdict(co_await attempt(from(std::move(pieces)) | lines({.max_length = 4}) | to_vector()));
    }(pieces_of(all, std::move(cuts))));
  };
  for (std::size_t at = 0; at <= 5; ++at) {
    EXPECT_EQ(verdict_on("1234\n", {at}), verdict_on("1\n", {})) << at;
    EXPECT_EQ(verdict_on("1234\r\n", {at}), verdict_on("1\n", {})) << at;
    EXPECT_EQ(verdict_on("1234", {std::min<std::size_t>(at, 4)}), verdict_on("1\n", {})) << at;
    EXPECT_EQ(verdict_on("12345\n", {at}), "ERR_OUT_OF_RANGE") << at;
    EXPECT_EQ(verdict_on("12345", {at}), "ERR_OUT_OF_RANGE") << at;
    EXPECT_EQ(verdict_on("1234\rx", {at}), "ERR_OUT_OF_RANGE") << at;
  }
  run_with(1, []() -> task<> {
    std::size_t asked = 0;
    auto endless = [](std::size_t& count) -> generator<buffer> {
      for (;; ++count) co_yield buffer::from("xxxxxxxx");
    };
    auto outcome = co_await attempt(endless(asked) | lines({.max_length = 64}) | to_vector());
    EXPECT_EQ(verdict(outcome), "ERR_OUT_OF_RANGE");
    EXPECT_EQ(outcome.failure().message(), "Line exceeds max length: 64");
    EXPECT_EQ(asked, 8U);
  }());
}

TEST(Split, at_a_delimiter_of_one_byte) { EXPECT_EQ(split_at("a,b,,c", ","), (strings{"a", "b", "", "c"})); }
TEST(Split, gives_no_empty_piece_behind_the_last_delimiter) { EXPECT_EQ(split_at("a,b,", ","), (strings{"a", "b"})); }
TEST(Split, at_a_delimiter_of_several_bytes) {
  EXPECT_EQ(split_at("GET\r\n\r\nbody\r\n\r\n\r\n", "\r\n\r\n"), (strings{"GET", "body", "\r\n"}));
  EXPECT_EQ(split_at("aaabaab", "aab"), (strings{"a", ""}));
  EXPECT_EQ(split_at("--x-----y", "---"), (strings{"--x", "--y"}));
}
TEST(Split, refuses_an_empty_delimiter) { EXPECT_THROW(static_cast<void>(split("")), error); }
TEST(Split, shares_the_memory_of_the_chunk) {
  run_with(1, []() -> task<> {
    auto chunk = buffer::from("left|right|");
    auto pieces = from({chunk}) | split("|");
    auto first = co_await pieces.next();
    auto second = co_await pieces.next();
    EXPECT_EQ(first->data(), chunk.data());
    EXPECT_EQ(second->data(), chunk.data() + 5);
  }());
}

// An earlier re-chunker never finished its last piece (C0-STR-26).
TEST(Rechunk, gives_pieces_of_one_size_and_the_rest) {
  EXPECT_EQ(however_cut("abcdefgh", [] { return rechunk(3); }), (strings{"abc", "def", "gh"}));
  EXPECT_EQ(however_cut("abcdef", [] { return rechunk(3); }), (strings{"abc", "def"}));
  EXPECT_EQ(however_cut("ab", [] { return rechunk(3); }), (strings{"ab"}));
  EXPECT_EQ(however_cut("", [] { return rechunk(3); }), strings{});
  EXPECT_THROW(run_on({}, rechunk(0)), error);
}
TEST(Rechunk, copies_nothing_that_lies_in_one_chunk) {
  run_with(1, []() -> task<> {
    auto chunk = buffer::from("abcdef");
    auto pieces = from({chunk}) | rechunk(3);
    EXPECT_EQ((co_await pieces.next())->data(), chunk.data());
    EXPECT_EQ((co_await pieces.next())->data(), chunk.data() + 3);
  }());
}

TEST(Text, never_cuts_a_character) {
  std::string all = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z";
  for (std::size_t at = 0; at <= all.size(); ++at) {
    auto parts = run_on(pieces_of(all, {at}), text());
    std::string joined;
    for (auto& each : parts) {
      EXPECT_TRUE(is_utf8(std::as_bytes(std::span(each)))) << at;
      joined += each;
    }
    EXPECT_EQ(joined, all) << at;
  }
  EXPECT_EQ(run_on(pieces_of("a\xe2\x82", {}), text()), (strings{"a", "\xef\xbf\xbd"}));
}

}  // namespace
}  // namespace weir::io
