// tests/io/cuts_test.cpp: what parses bytes, with its input cut in two and in three at every byte, and into single
// bytes: the answer must be the same, and so must the failure and the place where it comes.
#include <weir/core/event.hpp>
#include <weir/core/generator.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/collect.hpp>
#include <weir/io/multiplex.hpp>
#include <weir/io/operators.hpp>

#include "tests/support/run.hpp"
#include "tests/support/sockets.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::io {
namespace {

using namespace weir::testing;

using chunks = std::vector<buffer>;

/// What came out, and the failure behind it.
using reader = std::function<task<std::string>(chunks)>;

std::string whole(std::string_view all, const reader& read) {
  auto bytes = buffer::copy_of(std::as_bytes(std::span(all)));
  return run_with(1, read({bytes}));
}

std::vector<chunks> all_cuts(std::string_view bytes) {
  auto part = [&](std::size_t from, std::size_t to) {
    return buffer::copy_of(std::as_bytes(std::span(bytes.substr(from, to - from))));
  };
  std::vector<chunks> all;
  for (std::size_t i = 0; i <= bytes.size(); ++i) {
    all.push_back({part(0, i), part(i, bytes.size())});
    for (std::size_t j = i; j <= bytes.size(); ++j) all.push_back({part(0, i), part(i, j), part(j, bytes.size())});
  }
  chunks single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(part(i, i + 1));
  all.push_back(std::move(single));
  return all;
}

/// @return what it gives, which is the same however the bytes are cut
std::string however_cut(std::string_view bytes, const reader& read) {
  auto expected = whole(bytes, read);
  run_with(1, [](std::string_view input, const reader& with, const std::string& same) -> task<> {
    for (auto& each : all_cuts(input)) {
      std::string where;
      for (auto& part : each) where += std::to_string(part.size()) + " ";
      EXPECT_EQ(co_await with(each), same) << "cut into " << where;
    }
  }(bytes, read, expected));
  return expected;
}

std::string text_of(const buffer& piece) { return std::string(piece.text()); }
std::string text_of(std::string piece) { return piece; }

/// The pieces with a bar behind each, or as one text, and the code of the failure.
template <class S>
task<std::string> pieces_of(S from, const char* between) {
  std::string all;
  for (;;) {
    auto next = co_await attempt(from.next());
    if (!next) co_return all + verdict(next);
    if (!*next) co_return all;
    all += text_of(std::move(**next)) + between;
  }
}

template <class Make>
reader through(Make make, const char* between = "|") {
  return [=](chunks parts) { return pieces_of(from(std::move(parts)) | make(), between); };
}

TEST(Cuts, change_no_lines_and_no_limit_of_theirs) {
  EXPECT_EQ(however_cut("a\r\nb\r", through([] { return lines(); })), "a|b|");
  EXPECT_EQ(however_cut("one\r\ntwo\n\r\n\rthree\r\r\n", through([] { return lines(); })), "one|two||\rthree\r|");
  EXPECT_EQ(however_cut("abcd\r\nefgh\nabcde\nx\n", through([] { return lines({.max_length = 4}); })),
            "abcd|efgh|ERR_OUT_OF_RANGE");
  EXPECT_EQ(however_cut("abcd\refgh", through([] { return lines({.max_length = 4}); })), "ERR_OUT_OF_RANGE");
}

TEST(Cuts, change_no_pieces_and_no_limit_of_theirs) {
  EXPECT_EQ(however_cut("a--b---c----d-", through([] { return split("--"); })), "a|b|-c||d-|");
  EXPECT_EQ(however_cut("aab.aaab.aaaab", through([] { return split("aab"); })), "|.a|.aa|");
  EXPECT_EQ(however_cut("ab==abc==abcd==x", through([] { return split("==", {.max_length = 3}); })),
            "ab|abc|ERR_OUT_OF_RANGE");
  EXPECT_EQ(however_cut("0123456789abcdefg", through([] { return rechunk(5); })), "01234|56789|abcde|fg|");
}

TEST(Cuts, change_no_text_in_any_encoding) {
  auto as = [](encoding which) { return through([which] { return text(which); }, ""); };
  EXPECT_EQ(however_cut("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z", as(encoding::utf8)),
            "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80z");
  EXPECT_EQ(however_cut("\xe2\x82x\xf0\x9f\x98\xff\xc0\xed\xa0\x80\xe2", as(encoding::utf8)),
            whole("\xe2\x82x\xf0\x9f\x98\xff\xc0\xed\xa0\x80\xe2", as(encoding::utf8)));
  EXPECT_EQ(however_cut(std::string_view("a\0\xac\x20\x3d\xd8\x00\xde", 8), as(encoding::utf16le)),
            "a\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(however_cut("any carnal pleas", as(encoding::base64)), "YW55IGNhcm5hbCBwbGVhcw==");
  EXPECT_EQ(however_cut("\xfb\xff\xfe\x01", as(encoding::base64url)), "-__-AQ");
  EXPECT_EQ(however_cut("\x01\xab\xff", as(encoding::hex)), "01abff");
  EXPECT_EQ(however_cut("gr\xfc\xdf", as(encoding::latin1)), "gr\xc3\xbc\xc3\x9f");
}

TEST(Cuts, change_nothing_that_is_collected) {
  auto collected = [](auto with) -> reader {
    return [=](chunks parts) -> task<std::string> {
      auto all = co_await attempt(from(std::move(parts)) | with());
      co_return all ? text_of(std::move(*all)) : verdict(all);
    };
  };
  EXPECT_EQ(however_cut("gr\xc3\xbc\xc3\x9f\xe2\x82", collected([] { return to_text(); })),
            "gr\xc3\xbc\xc3\x9f\xef\xbf\xbd");
  EXPECT_EQ(however_cut("gr\xc3\xbc\xe2\x82", collected([] { return to_text({.invalid = invalid_text::fail}); })),
            "ERR_ENCODING_INVALID_ENCODED_DATA");
  EXPECT_EQ(however_cut("0123456789", collected([] { return to_buffer({.max_bytes = 10}); })), "0123456789");
  EXPECT_EQ(however_cut("0123456789a", collected([] { return to_buffer({.max_bytes = 10}); })), "ERR_BUFFER_TOO_LARGE");
}

TEST(Cuts, change_no_bytes_that_are_read_by_number) {
  reader by_number = [](chunks parts) -> task<std::string> {
    readable<buffer> in(from(std::move(parts)));
    std::string all;
    for (std::size_t size = 1; size < 5; ++size) {
      auto seen = co_await in.peek(size);
      auto got = co_await in.read(size);
      if (!got) break;
      EXPECT_EQ(seen->text(), got->text());
      all += text_of(*got) + "|";
    }
    in.unshift(buffer::from("xy"));
    auto rest = co_await in.read(100);
    co_return all + text_of(*rest);
  };
  EXPECT_EQ(however_cut("0123456789abcd", by_number), "0|12|345|6789|xyabcd");
}

generator<buffer> wire(chunks parts, event& may_end) {
  for (auto& each : parts) co_yield std::move(each);
  co_await may_end.wait();
}

/// What a multiplexer makes of frames that the other side has sent, and what ends it. The connection ends once so many
/// streams have been read.
task<std::string> read_frames(chunks parts, int streams) {
  std::string all;
  event may_end;
  co_await with_scope([&](scope& s) -> task<> {
    pass_through<buffer> out;
    s.spawn_local(
        [](readable<buffer> answers) -> task<> {
          while (auto next = co_await attempt(answers.next())) {
            if (!*next) break;
          }
        },
        std::move(out.readable_side()));
    readable<buffer> in(wire(std::move(parts), may_end));
    multiplexer side(s, std::move(in), std::move(out.writable_side()), {.max_frame = 8});
    for (;;) {
      if (streams-- == 0) may_end.set();
      auto opened = co_await attempt(side.accept());
      if (!opened) all += verdict(opened);
      if (!opened || !*opened) break;
      all += co_await pieces_of(std::move((*opened)->readable_side()), "") + "|";
    }
  });
  co_return all;
}
reader frames_of(int streams) {
  return [=](chunks parts) { return read_frames(std::move(parts), streams); };
}

std::string frame(int stream, int type, std::string_view payload) {
  auto header = buffer::from_octets({0, 0, 0, stream, type, 0, 0, 0, static_cast<int>(payload.size())});
  return text_of(buffer(header)) + std::string(payload);
}

TEST(Cuts, change_no_frame_of_a_multiplexer) {
  auto two = frame(1, 0, "abc") + frame(1, 0, "de") + frame(1, 1, "") + frame(3, 0, "x") + frame(3, 1, "");
  EXPECT_EQ(however_cut(two, frames_of(2)), "abcde|x|");
  EXPECT_EQ(however_cut(frame(1, 0, "123456789"), frames_of(0)), "ERR_INVALID_STATE");
  EXPECT_EQ(however_cut(frame(1, 9, "ab"), frames_of(0)), "ERR_INVALID_STATE");
  EXPECT_EQ(however_cut(frame(2, 0, "ab"), frames_of(0)), "ERR_INVALID_STATE");
  EXPECT_EQ(however_cut(frame(1, 0, "abc").substr(0, 5), frames_of(0)), "ERR_STREAM_PREMATURE_CLOSE");
}

}  // namespace
}  // namespace weir::io
