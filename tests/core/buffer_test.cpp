#include <weir/core/buffer.hpp>

#include <weir/core/error.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>

#include "tests/support/concurrency.hpp"
#include "tests/support/run.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {
namespace {

using testing::rounds;

constexpr bool pools = WEIR_ASAN == 0 && WEIR_TSAN == 0;

static_assert(std::ranges::contiguous_range<buffer> && std::ranges::sized_range<buffer>);
static_assert(std::is_convertible_v<const buffer&, std::span<const std::byte>>);
static_assert(!std::is_convertible_v<buffer&, std::span<std::byte>>, "writing is never by accident");
static_assert(!std::is_convertible_v<const char*, buffer>, "text has an encoding");
static_assert(std::is_nothrow_move_constructible_v<buffer> && std::is_nothrow_copy_constructible_v<buffer>);

std::string hex(std::span<const std::byte> bytes) { return to_text(bytes, encoding::hex); }
buffer unhex(std::string_view digits) { return buffer::from(digits, encoding::hex); }
std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// "CODE: message" of what `action` throws.
template <class F>
std::string thrown_by(F action) {
  try {
    action();
  } catch (const error& e) {
    return std::string(e.code_name()) + ": " + e.what();
  }
  return "nothing";
}

// ---- Making ----

TEST(Buffer, is_empty_at_first) {
  const buffer none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_EQ(none.to_string(), "");
  EXPECT_TRUE(none.is_unique());
  EXPECT_EQ(buffer(none).slice(0, 3).size(), 0U);
}

TEST(Buffer, is_allocated_with_zeros) {
  for (std::size_t size : {0, 1, 100, 3000, 5000, 200'000}) {
    {
      buffer::alloc_unsafe(size).fill(0xff);
    }  // so that reused memory would show
    const auto made = buffer::alloc(size);
    EXPECT_EQ(made.size(), size);
    EXPECT_TRUE(std::ranges::all_of(made, [](std::byte each) { return each == std::byte{0}; })) << size;
  }
}

TEST(Buffer, is_allocated_with_a_byte_or_a_pattern) {
  EXPECT_EQ(hex(buffer::alloc(3, std::byte{0x61})), "616161");
  EXPECT_EQ(buffer::alloc(3, "ab").to_string(), "aba");
  EXPECT_EQ(hex(buffer::alloc(5, "0aff", encoding::hex)), "0aff0aff0a");
  EXPECT_EQ(hex(buffer::alloc(3, "")), "000000");
  EXPECT_EQ(buffer::alloc(200'000, std::byte{7}).at(199'999), std::byte{7});
  EXPECT_EQ(thrown_by([] { (void)buffer::alloc(3, "zz", encoding::hex); }),
            "ERR_INVALID_ARG_VALUE: The argument 'value' is invalid. Received 'zz'");
}

TEST(Buffer, refuses_a_size_that_is_negative_or_too_large) {
  EXPECT_EQ(thrown_by([] { (void)buffer::alloc(static_cast<std::size_t>(-1)); }),
            "ERR_OUT_OF_RANGE: The value of \"size\" is out of range. It must be >= 0 && <= 4294967296. Received -1");
  EXPECT_EQ(thrown_by([] { (void)buffer::alloc_unsafe(std::size_t{1} << 40); }),
            "ERR_BUFFER_TOO_LARGE: Cannot create a Buffer larger than 4294967296 bytes");
  EXPECT_EQ(buffer::limit(), std::size_t{4} << 30);
}

TEST(Buffer, has_a_limit_that_can_be_set) {
  buffer::set_limit(10'000);
  EXPECT_EQ(buffer::alloc(10'000).size(), 10'000U);
  EXPECT_EQ(thrown_by([] { (void)buffer::alloc_unsafe(10'001); }),
            "ERR_BUFFER_TOO_LARGE: Cannot create a Buffer larger than 10000 bytes");
  EXPECT_EQ(thrown_by([] { (void)buffer::concat({buffer::alloc(6000), buffer::alloc(6000)}); }),
            "ERR_BUFFER_TOO_LARGE: Cannot create a Buffer larger than 10000 bytes");
  buffer::set_limit(10);
  EXPECT_EQ(thrown_by([] { (void)buffer::from("eleven long"); }),
            "ERR_BUFFER_TOO_LARGE: Cannot create a Buffer larger than 10 bytes");
  buffer::set_limit(std::size_t{4} << 30);
}

TEST(Buffer, comes_from_the_pool_when_it_is_small) {
  if (!pools) GTEST_SKIP() << "memory comes from the heap in this build";
  EXPECT_EQ(buffer::pool_size(), 8192U);
  for (std::size_t size : {1, 100, 2000, 2040, 4095}) {
    const std::byte* first = nullptr;
    {
      const auto made = buffer::alloc_unsafe(size);
      first = made.data();
    }
    EXPECT_EQ(buffer::alloc_unsafe(size).data(), first) << size;
  }
}

TEST(Buffer, is_pooled_up_to_half_of_a_size_that_can_be_set) {
  buffer::set_pool_size(128 * 1024);
  for (std::size_t size : {4096, 5000, 65'535, 65'536}) {
    auto made = buffer::alloc_unsafe(size).fill(1);
    EXPECT_EQ(made.size(), size);
    const auto* first = made.data();
    made = {};
    if (pools && size < 65'536) EXPECT_EQ(buffer::alloc_unsafe(size).data(), first) << size;
  }
  buffer::set_pool_size(1 << 30);
  EXPECT_EQ(buffer::pool_size(), 128U * 1024) << "at most";
  const auto across = buffer::alloc_unsafe(60'000);  // released after the setting has changed
  buffer::set_pool_size(0);
  EXPECT_EQ(buffer::alloc_unsafe(10).size(), 10U);
  buffer::set_pool_size(8192);
}

TEST(Buffer, does_not_share_memory_with_its_neighbours_in_the_pool) {
  std::mt19937 random(5);
  std::vector<std::pair<buffer, std::byte>> held;
  const auto holds = [](const auto& each) {
    return std::ranges::all_of(each.first, [&](std::byte byte) { return byte == each.second; });
  };
  for (std::size_t i = 0; i < rounds(20'000); ++i) {
    if (held.size() > 200 || (random() % 3 == 0 && !held.empty())) {
      std::swap(held[random() % held.size()], held.back());
      EXPECT_TRUE(holds(held.back()));
      held.pop_back();
      continue;
    }
    const auto mark = static_cast<std::byte>(random());
    held.emplace_back(buffer::alloc_unsafe(random() % 6000).fill(static_cast<int>(mark)), mark);
    EXPECT_TRUE(held.back().first.is_unique()) << "each has a store of its own";
  }
  EXPECT_TRUE(std::ranges::all_of(held, holds));
}

TEST(Buffer, is_allocated_outside_of_the_pool_on_request) {
  auto made = buffer::alloc_unsafe_slow(10).fill("xy");
  EXPECT_EQ(made.to_string(), "xyxyxyxyxy");
  EXPECT_EQ(buffer::alloc_unsafe_slow(0).size(), 0U);
}

TEST(Buffer, is_made_from_text) {
  EXPECT_EQ(hex(buffer::from("Hello \xf0\x9f\x91\x8b")), "48656c6c6f20f09f918b");
  EXPECT_EQ(hex(buffer::from("48656C6C6f", encoding::hex)), "48656c6c6f");
  EXPECT_EQ(buffer::from("SGVsbG8=", parse_encoding("BASE64")).to_string(), "Hello");
  EXPECT_EQ(hex(buffer::from("\xe2\x82\xac", encoding::latin1)), "ac");
  EXPECT_EQ(buffer::from("zz", encoding::hex).size(), 0U);
  EXPECT_EQ(buffer::from("").size(), 0U);
  EXPECT_EQ(thrown_by([] { (void)buffer::from("x", parse_encoding("nope")); }),
            "ERR_UNKNOWN_ENCODING: Unknown encoding: nope");
}

TEST(Buffer, is_made_from_octets_modulo_256) {
  EXPECT_EQ(hex(buffer::from_octets({0x48, 0x65})), "4865");
  EXPECT_EQ(hex(buffer::from_octets({256, -1, 257})), "00ff01");
  EXPECT_EQ(hex(buffer::from_octets(std::vector<double>{256, -1, 1.9, -1.9, std::nan(""), 1e300})), "00ff01ff0000");
  EXPECT_EQ(hex(buffer::from_octets(std::array<std::uint8_t, 2>{1, 2})), "0102");
  EXPECT_EQ(buffer::from_octets({}).size(), 0U);
}

TEST(Buffer, copies_bytes_into_a_store_of_its_own) {
  auto first = buffer::from("abc");
  auto second = buffer::copy_of(first);
  second.set(0, 'x');
  EXPECT_EQ(first.to_string(), "abc");
  EXPECT_EQ(second.to_string(), "xbc");
}

TEST(Buffer, views_static_data_without_a_copy) {
  static constexpr std::string_view text = "static";
  auto view = buffer::view_of_static(text);
  EXPECT_EQ(static_cast<const void*>(view.data()), text.data());
  EXPECT_FALSE(view.is_writable());
  EXPECT_FALSE(view.is_unique());
  EXPECT_EQ(view.slice(1, 3).to_string(), "ta");
  EXPECT_EQ(thrown_by([&] { (void)view.mutable_bytes(); }),
            "ERR_INVALID_STATE: Invalid state: the buffer is read-only; make_unique() gives a copy to write");
  EXPECT_EQ(thrown_by([&] { view.fill(0); }).substr(0, 17), "ERR_INVALID_STATE");
  EXPECT_EQ(thrown_by([&] { view.write_u8(1, 0); }).substr(0, 17), "ERR_INVALID_STATE");
  EXPECT_EQ(thrown_by([&] { view.write("x"); }).substr(0, 17), "ERR_INVALID_STATE");
  EXPECT_EQ(thrown_by([&] { view.swap16(); }).substr(0, 17), "ERR_INVALID_STATE");
  view.make_unique().set(0, 'S');
  EXPECT_EQ(view.to_string(), "Static");
  EXPECT_EQ(text, "static");
}

// ---- Memory of others ----

struct released {
  int times = 0;
  std::span<const std::byte> memory;
  static void note(void* context, std::span<const std::byte> memory) noexcept {
    auto* self = static_cast<released*>(context);
    ++self->times;
    self->memory = memory;
  }
};

TEST(Buffer, gives_adopted_memory_back_after_the_last_slice) {
  std::array<std::byte, 10> memory{};
  released seen;
  {
    buffer last;
    {
      auto adopted = buffer::adopt(memory, released::note, &seen);
      EXPECT_TRUE(adopted.is_unique());
      adopted.set(3, 7);
      last = adopted.slice(3, 5);
      EXPECT_FALSE(last.is_unique());
    }
    EXPECT_EQ(seen.times, 0);
    EXPECT_EQ(last.at(0), std::byte{7});
    EXPECT_TRUE(last.is_unique());
  }
  EXPECT_EQ(seen.times, 1);
  EXPECT_EQ(seen.memory.data(), memory.data());
  EXPECT_EQ(seen.memory.size(), memory.size());
  EXPECT_EQ(memory[3], std::byte{7});
}

TEST(Buffer, does_not_write_what_was_adopted_as_read_only) {
  const std::array<std::byte, 3> memory{};
  released seen;
  {
    auto adopted = buffer::adopt_read_only(memory, released::note, &seen);
    EXPECT_FALSE(adopted.is_writable());
    EXPECT_EQ(thrown_by([&] { adopted.set(0, 1); }).substr(0, 17), "ERR_INVALID_STATE");
    adopted.make_unique().set(0, 1);
    EXPECT_EQ(seen.times, 1) << "the copy does not need it";
  }
  EXPECT_EQ(seen.times, 1);
}

TEST(Buffer, takes_containers_over_without_a_copy) {
  std::vector<char> letters(5000, 'a');
  const void* before = letters.data();
  auto taken = buffer::adopt(std::move(letters));
  EXPECT_EQ(static_cast<const void*>(taken.data()), before);
  taken.set(0, 'b');
  EXPECT_EQ(taken.slice(0, 2).to_string(), "ba");
  EXPECT_EQ(buffer::adopt(std::string("short")).to_string(), "short") << "its bytes lie within the string itself";
  EXPECT_EQ(buffer::adopt(std::vector<std::byte>(3)).size(), 3U);
  EXPECT_EQ(buffer::adopt(std::array<std::uint8_t, 2>{1, 2}).read_u16_be(), 0x102);
}

// ---- Sharing ----

TEST(Buffer, shares_memory_with_copies_and_slices) {
  auto whole = buffer::from("Hello World");
  EXPECT_TRUE(whole.is_unique());
  auto part = whole.slice(0, 5);
  buffer copy;
  copy = whole;
  EXPECT_FALSE(whole.is_unique());
  part.set(0, 'J');
  EXPECT_EQ(whole.to_string(), "Jello World");
  EXPECT_EQ(copy.to_string(), "Jello World");
}

TEST(Buffer, keeps_its_memory_while_a_slice_lives) {
  auto part = buffer::from("a text of some length").slice(2, 6);
  EXPECT_EQ(part.to_string(), "text");
  EXPECT_TRUE(part.is_unique()) << "the whole is gone";
  part = part.slice(1);
  EXPECT_EQ(part.to_string(), "ext");
}

TEST(Buffer, cuts_a_slice_to_what_there_is) {
  const auto whole = buffer::from("abcabc");
  EXPECT_EQ(whole.slice().to_string(), "abcabc");
  EXPECT_EQ(whole.slice(2).to_string(), "cabc");
  EXPECT_EQ(whole.slice(-3, -1).to_string(), "ab");
  EXPECT_EQ(whole.slice(-9, 2).to_string(), "ab");
  EXPECT_EQ(whole.slice(4, 2).to_string(), "");
  EXPECT_EQ(whole.slice(9).to_string(), "");
  EXPECT_EQ(whole.slice(0, 100).to_string(), "abcabc");
  EXPECT_EQ(whole.slice(std::numeric_limits<std::ptrdiff_t>::min(), -6).to_string(), "");
}

TEST(Buffer, is_taken_apart_from_both_ends) {
  auto rest = buffer::from("head body tail");
  EXPECT_EQ(rest.take_front(5).to_string(), "head ");
  EXPECT_EQ(rest.to_string(), "body tail");
  rest.remove_suffix(5);
  EXPECT_EQ(rest.to_string(), "body");
  rest.remove_prefix(1);
  EXPECT_EQ(rest.to_string(), "ody");
  EXPECT_EQ(rest.take_front(100).to_string(), "ody");
  EXPECT_TRUE(rest.empty());
  rest.remove_prefix(1);
  rest.remove_suffix(1);
  EXPECT_TRUE(rest.empty());
}

TEST(Buffer, copies_itself_only_if_somebody_else_looks) {
  auto mine = buffer::from("abc");
  const auto* before = mine.data();
  EXPECT_EQ(mine.make_unique().data(), before);
  const auto other = mine;
  EXPECT_NE(mine.make_unique().data(), before);
  mine.set(0, 'x');
  EXPECT_EQ(other.to_string(), "abc");
  EXPECT_TRUE(other.is_unique());
}

TEST(Buffer, is_empty_when_moved_from) {
  auto from = buffer::from("abc");
  auto to = std::move(from);
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(to.to_string(), "abc");
  auto& same = to;
  to = same;
  EXPECT_EQ(to.to_string(), "abc");
  to = std::move(same);
  EXPECT_EQ(to.to_string(), "abc");
  to = to.slice(1);
  EXPECT_EQ(to.to_string(), "bc");
}

// ---- Concatenation, copying, comparing ----

TEST(Buffer, is_concatenated_in_the_order_of_the_list) {
  const auto a = buffer::from("ab"), b = buffer::from(""), c = buffer::from("cde");
  auto all = buffer::concat({a, b, c});
  EXPECT_EQ(all.to_string(), "abcde");
  all.set(0, 'x');
  EXPECT_EQ(a.to_string(), "ab") << "it is a copy";
  EXPECT_EQ(buffer::concat({}).size(), 0U);
  EXPECT_EQ(buffer::concat({a, c}, 3).to_string(), "abc");
  EXPECT_EQ(hex(buffer::concat({a}, 4)), "61620000");
  EXPECT_EQ(buffer::concat(std::vector<buffer>{c, a}).to_string(), "cdeab");
  EXPECT_EQ(buffer::concat({a, c}, 0).size(), 0U);
}

TEST(Buffer, copies_ranges_to_other_memory) {
  const auto source = buffer::from("hello");
  auto target = buffer::alloc(8, "........");
  EXPECT_EQ(source.copy(target.mutable_bytes(), 2, 1, 3), 2U);
  EXPECT_EQ(target.to_string(), "..el....");
  EXPECT_EQ(source.copy(target.mutable_bytes(), 6), 2U) << "as many as fit";
  EXPECT_EQ(target.to_string(), "..el..he");
  EXPECT_EQ(source.copy(target.mutable_bytes(), 9), 0U);
  EXPECT_EQ(source.copy(target.mutable_bytes(), 0, 3, 2), 0U);
  EXPECT_EQ(source.copy(target.mutable_bytes(), 0, 5), 0U);
  EXPECT_EQ(thrown_by([&] { source.copy(target.mutable_bytes(), 0, 9); }),
            "ERR_OUT_OF_RANGE: The value of \"sourceStart\" is out of range. It must be >= 0 && <= 5. Received 9");
}

TEST(Buffer, copies_within_itself_when_the_ranges_overlap) {
  auto text = buffer::from("abcdef");
  text.copy(text.mutable_bytes(), 2, 0, 4);
  EXPECT_EQ(text.to_string(), "ababcd");
}

TEST(Buffer, compares_bytes_and_takes_a_prefix_for_smaller) {
  const auto abc = buffer::from("ABC"), abcd = buffer::from("ABCD"), abd = buffer::from("ABD");
  EXPECT_EQ(buffer::compare(abc, abcd), -1);
  EXPECT_EQ(buffer::compare(abcd, abc), 1);
  EXPECT_EQ(abc.compare(buffer::from("ABC")), 0);
  EXPECT_EQ(abd.compare(abcd), 1);
  EXPECT_EQ(unhex("80").compare(unhex("7f")), 1) << "bytes have no sign";
  EXPECT_EQ(buffer().compare(abc), -1);
  EXPECT_EQ(buffer().compare(buffer()), 0);
  EXPECT_TRUE(abc < abcd && abd > abcd && abc != abd && abc == abcd.slice(0, 3));
  EXPECT_TRUE(abc.equals(bytes_of("ABC")) && !abc.equals(abcd));
}

TEST(Buffer, iterates_over_its_bytes) {
  std::vector<int> seen;
  for (auto each : buffer::from("abc")) seen.push_back(static_cast<int>(each));
  EXPECT_EQ(seen, (std::vector{97, 98, 99}));
}

TEST(Buffer, checks_the_index_of_a_byte_where_asked) {
  auto hello = buffer::from("hello");
  EXPECT_EQ(hello[4], std::byte{'o'});
  EXPECT_EQ(hello.at(4), std::byte{'o'});
  hello.set(0, 256 + 'j');
  hello.set(1, -1);
  EXPECT_EQ(hex(hello), "6aff6c6c6f") << "modulo 256";
  const auto refused =
      "ERR_OUT_OF_RANGE: The value of \"offset\" is out of range. It must be >= 0 and <= 4. Received 5";
  EXPECT_EQ(thrown_by([&] { (void)hello.at(5); }), refused);
  EXPECT_EQ(thrown_by([&] { hello.set(5, 0); }), refused);
}

// ---- Searching: the expected values are Node 20's ----

constexpr auto nowhere = static_cast<std::ptrdiff_t>(buffer::npos);
static_assert(nowhere == -1);

TEST(Buffer, finds_the_first_place_of_a_text) {
  const auto s = buffer::from("abcabc");
  const auto first = [&](std::string_view what, std::ptrdiff_t from = 0, encoding as = encoding::utf8) {
    return static_cast<std::ptrdiff_t>(s.index_of(what, from, as));
  };
  EXPECT_EQ(first("c"), 2);
  EXPECT_EQ(first("bca"), 1);
  EXPECT_EQ(first("cb"), -1);
  EXPECT_EQ(first("c", -1), 5);
  EXPECT_EQ(first("c", -9), 2);
  EXPECT_EQ(first("c", 5), 5);
  EXPECT_EQ(first("c", 6), -1);
  EXPECT_EQ(first("abcabcd"), -1);
  EXPECT_EQ(first(""), 0);
  EXPECT_EQ(first("", 3), 3);
  EXPECT_EQ(first("", 9), 6);
  EXPECT_EQ(first("", -2), 4);
  EXPECT_EQ(first("", -9), 0);
  EXPECT_EQ(first("YWJj", 1, encoding::base64), 3);
  EXPECT_EQ(first("63", 0, encoding::hex), 2);
  EXPECT_EQ(first("zz", 0, encoding::hex), 0) << "no bytes: an empty text";
  EXPECT_EQ(s.index_of(bytes_of("cab")), 2U);
  EXPECT_EQ(buffer().index_of("a"), buffer::npos);
  EXPECT_EQ(buffer().index_of("ab"), buffer::npos);  // no search at a null address
  EXPECT_EQ(buffer().index_of(""), 0U);
  EXPECT_EQ(buffer::from("Hello World").index_of("World"), 6U);
}

TEST(Buffer, finds_the_last_place_of_a_text) {
  const auto s = buffer::from("abcabc");
  const auto last = [&](std::string_view what, std::ptrdiff_t from = buffer::from_end) {
    return static_cast<std::ptrdiff_t>(s.last_index_of(what, from));
  };
  EXPECT_EQ(last("abc"), 3);
  EXPECT_EQ(last("abc", 2), 0);
  EXPECT_EQ(last("abc", 5), 3);
  EXPECT_EQ(last("abc", -4), 0);
  EXPECT_EQ(last("abc", -9), -1);
  EXPECT_EQ(last("abcabcd"), -1);
  EXPECT_EQ(last("x"), -1);
  EXPECT_EQ(last(""), 6);
  EXPECT_EQ(last("", 3), 3);
  EXPECT_EQ(last("", 9), 6);
  EXPECT_EQ(last("", -9), 0);
  EXPECT_EQ(buffer().last_index_of("a"), buffer::npos);
  EXPECT_EQ(s.last_index_of(bytes_of("bc"), 4), 4U);
}

TEST(Buffer, finds_single_bytes) {
  const auto s = buffer::from("abcabc");
  EXPECT_EQ(s.index_of(97 + 256), 0U);
  EXPECT_EQ(s.index_of('c', 3), 5U);
  EXPECT_EQ(s.index_of('x'), buffer::npos);
  EXPECT_EQ(s.index_of('a', 6), buffer::npos);
  EXPECT_EQ(s.last_index_of('a'), 3U);
  EXPECT_EQ(s.last_index_of('a', 2), 0U);
  EXPECT_EQ(s.last_index_of('a', -9), buffer::npos);
  EXPECT_EQ(s.last_index_of('a', 99), 3U);
  EXPECT_EQ(s.last_index_of('c', -1), 5U);
  EXPECT_EQ(buffer().index_of(0), buffer::npos);
  EXPECT_EQ(buffer().last_index_of(0), buffer::npos);
  EXPECT_TRUE(s.includes('b') && !s.includes('b', 5));
}

TEST(Buffer, finds_utf16_at_even_places_only) {
  const auto first = [](std::string_view in, std::string_view what, std::ptrdiff_t from = 0) {
    return static_cast<std::ptrdiff_t>(unhex(in).index_of(what, from, encoding::utf16le));
  };
  const auto last = [](std::string_view in, std::string_view what, std::ptrdiff_t from = buffer::from_end) {
    return static_cast<std::ptrdiff_t>(unhex(in).last_index_of(what, from, encoding::utf16le));
  };
  EXPECT_EQ(first("6161006200", "a"), -1);
  EXPECT_EQ(first("610062006100", "a", 1), 0) << "an odd offset is rounded down";
  EXPECT_EQ(first("610061006100", "a", 3), 2);
  EXPECT_EQ(first("610061006100", "", 3), 3);
  EXPECT_EQ(first("610000", "a", -1), -1);
  EXPECT_EQ(last("610061006100", "a"), 4);
  EXPECT_EQ(last("610061006100", "a", 3), 2);
  EXPECT_EQ(last("61006100610061", "a"), 4) << "the odd byte does not count";
}

TEST(Buffer, tells_whether_something_is_included) {
  const auto log = buffer::from("GET / error 500");
  EXPECT_TRUE(log.includes("error"));
  EXPECT_FALSE(log.includes("error", 7));
  EXPECT_TRUE(log.includes(buffer::from("500")));
  EXPECT_TRUE(log.includes("RVQg", 0, encoding::base64));
}

TEST(Buffer, finds_what_a_string_finds) {
  std::mt19937 random(9);
  for (std::size_t i = 0; i < rounds(20'000); ++i) {
    std::string text(random() % 150, 'a'), what(1 + random() % 6, 'a');
    for (auto& each : text) each = static_cast<char>('a' + random() % 2);
    for (auto& each : what) each = static_cast<char>('a' + random() % 2);
    const auto from = static_cast<std::ptrdiff_t>(random() % 160);
    const auto in = buffer::copy_of(bytes_of(text));
    ASSERT_EQ(in.index_of(what, from), text.find(what, static_cast<std::size_t>(from))) << text << " " << what;
    ASSERT_EQ(in.last_index_of(what, from), text.rfind(what, static_cast<std::size_t>(from))) << text << " " << what;
  }
}

// So many beginnings of a match that the search changes its way.
TEST(Buffer, finds_what_a_string_finds_where_much_is_alike) {
  std::mt19937 random(10);
  for (std::size_t i = 0; i < rounds(200); ++i) {
    std::string text(20'000, 'a');
    for (std::size_t b = random() % 4; b-- > 0;) text[random() % text.size()] = 'b';
    std::string what(1 + random() % 400, 'a');
    if (random() % 2 == 0) what[random() % what.size()] = 'b';
    const auto from = random() % 21'000;
    const auto in = buffer::copy_of(bytes_of(text));
    ASSERT_EQ(in.index_of(what, static_cast<std::ptrdiff_t>(from)), text.find(what, from)) << i;
    ASSERT_EQ(in.last_index_of(what, static_cast<std::ptrdiff_t>(from)), text.rfind(what, from)) << i;
  }
}

TEST(Buffer, finds_bytes_that_are_utf16_at_even_places_only) {
  const auto all = buffer::from("xAxA", encoding::latin1);
  const auto what = buffer::from("Ax", encoding::latin1);
  EXPECT_EQ(all.index_of(what.bytes(), 0, encoding::utf16le), buffer::npos);
  EXPECT_EQ(all.index_of(what.bytes(), 0, encoding::latin1), 1U);
  EXPECT_EQ(all.last_index_of(buffer::from("xA").bytes(), buffer::from_end, encoding::utf16le), 2U);
  EXPECT_EQ(all.index_of(buffer::from("x").bytes(), 0, encoding::utf16le), buffer::npos) << "half a unit";
}

TEST(Buffer, searches_in_linear_time_from_both_ends) {
  const auto text = buffer::alloc(1'000'000, std::byte{'a'});
  auto what = buffer::alloc(200'001, std::byte{'a'});
  what.set(100'000, 'b');
  EXPECT_EQ(text.index_of(what), buffer::npos);
  EXPECT_EQ(text.last_index_of(what), buffer::npos);
  EXPECT_EQ(what.last_index_of(what.slice(50'000, 150'000)), 50'000U);
}

// ---- Filling and writing ----

TEST(Buffer, is_filled_with_bytes_texts_and_buffers) {
  auto b = buffer::from("hello");
  EXPECT_EQ(b.fill(0x161).to_string(), "aaaaa");
  EXPECT_EQ(b.fill("xyz").to_string(), "xyzxy");
  EXPECT_EQ(b.fill("ab", encoding::utf8, 1, 4).to_string(), "xabay");
  EXPECT_EQ(b.fill('-', 3).to_string(), "xab--");
  EXPECT_EQ(b.fill(unhex("3132"), 1).to_string(), "x1212");
  EXPECT_EQ(b.fill("MTIz", encoding::base64).to_string(), "12312");
  EXPECT_EQ(hex(b.fill("")), "0000000000");
  EXPECT_EQ(b.fill("a very long pattern").to_string(), "a ver");
  EXPECT_EQ(b.fill('x', 9).to_string(), "a ver") << "nothing lies behind the end";
  EXPECT_EQ(b.fill('x', 3, 2).to_string(), "a ver");
  EXPECT_EQ(b.fill(b.slice(2, 4)).to_string(), "vevev") << "with a part of itself";
  EXPECT_EQ(buffer().fill("abc").size(), 0U);
}

TEST(Buffer, refuses_to_be_filled_with_nothing_or_beyond_its_end) {
  auto b = buffer::from("hello");
  EXPECT_EQ(thrown_by([&] { b.fill("zz", encoding::hex); }),
            "ERR_INVALID_ARG_VALUE: The argument 'value' is invalid. Received 'zz'");
  EXPECT_EQ(thrown_by([&] { b.fill(buffer()); }),
            "ERR_INVALID_ARG_VALUE: The argument 'value' is invalid. Received <Buffer >");
  EXPECT_EQ(thrown_by([&] { b.fill('a', 0, 9); }),
            "ERR_OUT_OF_RANGE: The value of \"end\" is out of range. It must be >= 0 && <= 5. Received 9");
  EXPECT_EQ(b.to_string(), "hello");
}

TEST(Buffer, writes_text_at_an_offset_without_splitting_a_character) {
  auto b = buffer::alloc(8, "........");
  EXPECT_EQ(b.write("ab", 1), 2U);
  EXPECT_EQ(b.to_string(), ".ab.....");
  EXPECT_EQ(b.write("x\xe2\x82\xac", 5), 1U) << "no room for three more bytes, only two";
  EXPECT_EQ(b.to_string(), ".ab..x..");
  EXPECT_EQ(b.write("\xe2\x82\xac", 5), 3U);
  EXPECT_EQ(b.write("6162zz", 0, encoding::hex), 2U);
  EXPECT_EQ(b.slice(0, 3).to_string(), "abb");
  EXPECT_EQ(b.write("abc", 0, encoding::utf16le, 5), 4U) << "whole units within the length";
  EXPECT_EQ(b.write("wxyz", 0, encoding::utf8, 2), 2U);
  EXPECT_EQ(b.write("wxyz", 7, encoding::utf8, 8), 1U) << "a length may exceed what is left";
  EXPECT_EQ(b.write("x", 8), 0U);
}

TEST(Buffer, refuses_to_write_text_beyond_its_end) {
  auto b = buffer::alloc(5);
  EXPECT_EQ(thrown_by([&] { b.write("x", 6); }),
            "ERR_OUT_OF_RANGE: The value of \"offset\" is out of range. It must be >= 0 && <= 5. Received 6");
  EXPECT_EQ(thrown_by([&] { b.write("x", 0, encoding::utf8, 9); }),
            "ERR_OUT_OF_RANGE: The value of \"length\" is out of range. It must be >= 0 && <= 5. Received 9");
}

TEST(Buffer, turns_byte_order_around) {
  EXPECT_EQ(hex(unhex("0102030405060708").swap16()), "0201040306050807");
  EXPECT_EQ(hex(unhex("0102030405060708").swap32()), "0403020108070605");
  EXPECT_EQ(hex(unhex("0102030405060708").swap64()), "0807060504030201");
  EXPECT_EQ(hex(buffer().swap64()), "");
  EXPECT_EQ(thrown_by([] { buffer::alloc(5).swap16(); }),
            "ERR_INVALID_BUFFER_SIZE: Buffer size must be a multiple of 16-bits");
  EXPECT_EQ(thrown_by([] { buffer::alloc(6).swap32(); }),
            "ERR_INVALID_BUFFER_SIZE: Buffer size must be a multiple of 32-bits");
  EXPECT_EQ(thrown_by([] { buffer::alloc(6).swap64(); }),
            "ERR_INVALID_BUFFER_SIZE: Buffer size must be a multiple of 64-bits");
}

// ---- Numbers ----

TEST(Buffer, reads_numbers_of_every_width_and_order) {
  const auto b = unhex("fffe82030405060788");
  EXPECT_EQ(b.read_u8(), 0xff);
  EXPECT_EQ(b.read_i8(1), -2);
  EXPECT_EQ(b.read_u16_le(1), 0x82fe);
  EXPECT_EQ(b.read_u16_be(1), 0xfe82);
  EXPECT_EQ(b.read_i16_le(1), -0x7d02);
  EXPECT_EQ(b.read_i16_be(1), -0x17e);
  EXPECT_EQ(b.read_u32_le(2), 0x05040382U);
  EXPECT_EQ(b.read_u32_be(2), 0x82030405U);
  EXPECT_EQ(b.read_i32_le(2), 0x05040382);
  EXPECT_EQ(b.read_i32_be(2), static_cast<std::int32_t>(0x82030405U));
  EXPECT_EQ(b.read_u64_le(1), 0x88070605040382feU);
  EXPECT_EQ(b.read_u64_be(1), 0xfe82030405060788U);
  EXPECT_EQ(b.read_i64_le(1), static_cast<std::int64_t>(0x88070605040382feU));
  EXPECT_EQ(b.read_i64_be(1), static_cast<std::int64_t>(0xfe82030405060788U));
  EXPECT_EQ(unhex("3f800000").read_float_be(), 1.0F);
  EXPECT_EQ(unhex("0000803f").read_float_le(), 1.0F);
  EXPECT_EQ(unhex("3ff8000000000000").read_double_be(), 1.5);
  EXPECT_EQ(unhex("000000000000f83f").read_double_le(), 1.5);
  EXPECT_EQ(b.read_uint_be(1, 3), 0xfe8203U);
  EXPECT_EQ(b.read_uint_le(1, 3), 0x0382feU);
  EXPECT_EQ(b.read_int_be(1, 3), 0xfe8203 - 0x1000000);
  EXPECT_EQ(b.read_int_le(0, 3), 0x82feff - 0x1000000);
}

template <class T>
void expect_round_trip(std::size_t (buffer::*write)(std::conditional_t<sizeof(T) < 8, std::int64_t, T>, std::size_t),
                       T (buffer::*read)(std::size_t) const) {
  for (T value :
       {std::numeric_limits<T>::min(), T{0}, T{1}, static_cast<T>(T{100} + 1), std::numeric_limits<T>::max()}) {
    auto b = buffer::alloc(sizeof(T) + 2, std::byte{0x2e});
    EXPECT_EQ((b.*write)(value, 1), sizeof(T) + 1);
    EXPECT_EQ((b.*read)(1), value);
    EXPECT_EQ(b.at(0), std::byte{0x2e});
    EXPECT_EQ(b.at(sizeof(T) + 1), std::byte{0x2e});
  }
}

TEST(Buffer, reads_what_it_wrote) {
  expect_round_trip(&buffer::write_u8, &buffer::read_u8);
  expect_round_trip(&buffer::write_i8, &buffer::read_i8);
  expect_round_trip(&buffer::write_u16_le, &buffer::read_u16_le);
  expect_round_trip(&buffer::write_u16_be, &buffer::read_u16_be);
  expect_round_trip(&buffer::write_i16_le, &buffer::read_i16_le);
  expect_round_trip(&buffer::write_i16_be, &buffer::read_i16_be);
  expect_round_trip(&buffer::write_u32_le, &buffer::read_u32_le);
  expect_round_trip(&buffer::write_u32_be, &buffer::read_u32_be);
  expect_round_trip(&buffer::write_i32_le, &buffer::read_i32_le);
  expect_round_trip(&buffer::write_i32_be, &buffer::read_i32_be);
  expect_round_trip(&buffer::write_u64_le, &buffer::read_u64_le);
  expect_round_trip(&buffer::write_u64_be, &buffer::read_u64_be);
  expect_round_trip(&buffer::write_i64_le, &buffer::read_i64_le);
  expect_round_trip(&buffer::write_i64_be, &buffer::read_i64_be);
  auto b = buffer::alloc(8);
  for (float value : {0.0F, -1.5F, 3.4e38F, INFINITY}) {
    EXPECT_EQ(b.write_float_le(value), 4U);
    EXPECT_EQ(b.read_float_le(), value);
    b.write_float_be(value, 4);
    EXPECT_EQ(b.read_float_be(4), value);
  }
  for (double value : {0.1, -1e308, static_cast<double>(-INFINITY)}) {
    EXPECT_EQ(b.write_double_le(value), 8U);
    EXPECT_EQ(b.read_double_le(), value);
    b.write_double_be(value);
    EXPECT_EQ(b.read_double_be(), value);
  }
  b.write_double_be(std::nan(""));
  EXPECT_TRUE(std::isnan(b.read_double_be()));
}

TEST(Buffer, reads_what_it_wrote_in_one_to_eight_bytes) {
  auto b = buffer::alloc(10);
  for (std::size_t width = 1; width <= 8; ++width) {
    const auto most = width == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << 8 * width) - 1;
    for (auto value : {std::uint64_t{0}, std::uint64_t{1}, most / 2, most / 3 * 2, most}) {
      EXPECT_EQ(b.write_uint_le(value, 1, width), 1 + width);
      EXPECT_EQ(b.read_uint_le(1, width), value);
      EXPECT_EQ(b.write_uint_be(value, 1, width), 1 + width);
      EXPECT_EQ(b.read_uint_be(1, width), value);
    }
    const auto high = static_cast<std::int64_t>(most / 2);
    for (auto value : {-high - 1, std::int64_t{-1}, std::int64_t{0}, high}) {
      EXPECT_EQ(b.write_int_le(value, 1, width), 1 + width);
      EXPECT_EQ(b.read_int_le(1, width), value);
      EXPECT_EQ(b.write_int_be(value, 1, width), 1 + width);
      EXPECT_EQ(b.read_int_be(1, width), value);
    }
  }
}

// The messages are Node 20's, except that we read and write up to 8 bytes where Node stops at 6.
TEST(Buffer, refuses_an_offset_that_does_not_fit_in_nodes_words) {
  auto b = buffer::from("hello");
  const auto offset = [](int most, const char* received) {
    return "ERR_OUT_OF_RANGE: The value of \"offset\" is out of range. It must be >= 0 and <= " + std::to_string(most) +
           ". Received " + received;
  };
  const std::string outside = "ERR_BUFFER_OUT_OF_BOUNDS: Attempt to access memory outside buffer bounds";
  EXPECT_EQ(thrown_by([&] { (void)b.read_u8(5); }), offset(4, "5"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_u8(static_cast<std::size_t>(-1)); }), offset(4, "-1"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_i8(std::size_t{1} << 40); }), offset(4, "1_099_511_627_776"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_u16_le(4); }), offset(3, "4"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_u32_le(2); }), offset(1, "2"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_float_le(2); }), offset(1, "2"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_int_be(3, 3); }), offset(2, "3"));
  EXPECT_EQ(thrown_by([&] { b.write_u8(1, 5); }), offset(4, "5"));
  EXPECT_EQ(thrown_by([&] { b.write_u16_le(1, 4); }), offset(3, "4"));
  EXPECT_EQ(thrown_by([&] { b.write_float_be(1, 3); }), offset(1, "3"));
  EXPECT_EQ(thrown_by([&] { (void)b.read_double_le(0); }), outside);
  EXPECT_EQ(thrown_by([&] { (void)b.read_u64_le(0); }), outside);
  EXPECT_EQ(thrown_by([&] { (void)b.read_uint_le(0, 6); }), outside);
  EXPECT_EQ(thrown_by([&] { b.write_uint_le(1, 0, 6); }), outside);
  EXPECT_EQ(thrown_by([] { (void)buffer().read_u8(); }), outside);
  const std::string width = "ERR_OUT_OF_RANGE: The value of \"byteLength\" is out of range. It must be >= 1 and <= 8. ";
  EXPECT_EQ(thrown_by([&] { (void)b.read_int_be(0, 9); }), width + "Received 9");
  EXPECT_EQ(thrown_by([&] { (void)b.read_uint_le(0, 0); }), width + "Received 0");
  EXPECT_EQ(thrown_by([&] { b.write_int_le(0, 0, 9); }), width + "Received 9");
  EXPECT_EQ(b.to_string(), "hello");
}

TEST(Buffer, refuses_a_value_that_does_not_fit_in_nodes_words) {
  auto b = buffer::alloc(8);
  const auto value = [](const std::string& range) {
    return "ERR_OUT_OF_RANGE: The value of \"value\" is out of range. It must be " + range;
  };
  EXPECT_EQ(thrown_by([&] { b.write_u8(300); }), value(">= 0 and <= 255. Received 300"));
  EXPECT_EQ(thrown_by([&] { b.write_u8(300, 9); }), value(">= 0 and <= 255. Received 300"));
  EXPECT_EQ(thrown_by([&] { b.write_u8(-1); }), value(">= 0 and <= 255. Received -1"));
  EXPECT_EQ(thrown_by([&] { b.write_i8(-129); }), value(">= -128 and <= 127. Received -129"));
  EXPECT_EQ(thrown_by([&] { b.write_u16_le(70000); }), value(">= 0 and <= 65535. Received 70000"));
  EXPECT_EQ(thrown_by([&] { b.write_i16_le(-40000); }), value(">= -32768 and <= 32767. Received -40000"));
  EXPECT_EQ(thrown_by([&] { b.write_u32_le(std::int64_t{1} << 32); }),
            value(">= 0 and <= 4294967295. Received 4294967296"));
  EXPECT_EQ(thrown_by([&] { b.write_u32_be(std::int64_t{1} << 40); }),
            value(">= 0 and <= 4294967295. Received 1_099_511_627_776"));
  EXPECT_EQ(thrown_by([&] { b.write_i32_le(std::int64_t{1} << 31); }),
            value(">= -2147483648 and <= 2147483647. Received 2147483648"));
  EXPECT_EQ(thrown_by([&] { b.write_uint_le(std::uint64_t{1} << 24, 0, 3); }),
            value(">= 0 and <= 16777215. Received 16777216"));
  EXPECT_EQ(thrown_by([&] { b.write_uint_le(std::uint64_t{1} << 40, 0, 5); }),
            value(">= 0 and < 2 ** 40. Received 1_099_511_627_776"));
  EXPECT_EQ(thrown_by([&] { b.write_int_le(std::int64_t{1} << 39, 0, 5); }),
            value(">= -(2 ** 39) and < 2 ** 39. Received 549_755_813_888"));
  EXPECT_EQ(thrown_by([&] { b.write_int_be(-(std::int64_t{1} << 39) - 1, 0, 5); }),
            value(">= -(2 ** 39) and < 2 ** 39. Received -549_755_813_889"));
  EXPECT_EQ(hex(b), "0000000000000000");
}

// ---- Text ----

TEST(Buffer, is_decoded_in_any_encoding_and_in_part) {
  const auto b = buffer::from("h\xc3\xa9llo");
  EXPECT_EQ(b.to_string(), "h\xc3\xa9llo");
  EXPECT_EQ(b.to_string(encoding::utf8, 3, 5), "ll");
  EXPECT_EQ(b.to_string(encoding::utf8, 2, 100), "\xef\xbf\xbdllo") << "cut within a character";
  EXPECT_EQ(b.to_string(encoding::utf8, 4, 2), "");
  EXPECT_EQ(b.to_string(encoding::utf8, 100), "");
  EXPECT_EQ(b.to_string(encoding::hex), "68c3a96c6c6f");
  EXPECT_EQ(b.to_string(encoding::base64), "aMOpbGxv");
  EXPECT_EQ(b.to_string(encoding::ascii), "hC)llo");
  EXPECT_EQ(b.to_string(encoding::latin1), "h\xc3\x83\xc2\xa9llo");
  EXPECT_EQ(b.text(), "h\xc3\xa9llo");
}

TEST(Buffer, is_shown_to_people_as_node_shows_it) {
  EXPECT_EQ(buffer::from("Hello").inspect(), "<Buffer 48 65 6c 6c 6f>");
  EXPECT_EQ(buffer().inspect(), "<Buffer >");
  EXPECT_EQ(buffer::alloc(51).inspect().substr(155), "00 ... 1 more byte>");
  EXPECT_EQ(buffer::alloc(60).inspect(2), "<Buffer 00 00 ... 58 more bytes>");
  EXPECT_EQ(buffer::alloc(50).inspect().size(), 8 + 50 * 3U);
}

TEST(Buffer, is_json_as_in_node) {
  EXPECT_EQ(buffer::from("hello").to_json(), R"({"type":"Buffer","data":[104,101,108,108,111]})");
  EXPECT_EQ(buffer().to_json(), R"({"type":"Buffer","data":[]})");
}

TEST(Buffer, is_guarded_against_more_than_a_size) {
  const auto five = buffer::from("hello");
  EXPECT_EQ(require_at_most(five, 5).data(), five.data());
  EXPECT_EQ(thrown_by([&] { (void)require_at_most(five, 4); }), "ERR_BUFFER_TOO_LARGE: Buffer exceeds max size: 4");
}

// ---- Secrets ----

TEST(Secrets, are_wiped) {
  auto secret = buffer::from("a password of some length");
  secure_wipe(secret.mutable_bytes());
  EXPECT_TRUE(std::ranges::all_of(secret, [](std::byte each) { return each == std::byte{0}; }));
  secure_wipe({});
}

TEST(Secrets, are_compared_in_full) {
  const auto a = buffer::from("secret"), b = buffer::from("secret"), c = buffer::from("secreT");
  EXPECT_TRUE(constant_time_equal(a, b));
  EXPECT_FALSE(constant_time_equal(a, c));
  EXPECT_FALSE(constant_time_equal(a, a.slice(0, 5)));
  EXPECT_TRUE(constant_time_equal({}, {}));
  for (int bit = 0; bit < 8; ++bit) {
    const auto value = static_cast<std::byte>(1 << bit);
    const std::byte zero{0};
    EXPECT_FALSE(constant_time_equal(std::span(&value, 1), std::span(&zero, 1)));
  }
  EXPECT_TRUE(timing_safe_equal(a, b));
  EXPECT_FALSE(timing_safe_equal(a, c));
  EXPECT_EQ(thrown_by([&] { (void)timing_safe_equal(a, a.slice(1)); }),
            "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH: Input buffers must have the same byte length");
}

// ---- Threads ----

TEST(Buffer, dies_on_whatever_thread_lets_go_last) {
  for (std::size_t round = 0; round < rounds(200); ++round) {
    released seen;
    std::array<std::byte, 64> memory{};
    {
      auto shared = buffer::adopt(memory, released::note, &seen);
      std::vector<std::thread> threads;
      threads.reserve(3);
      for (int t = 0; t < 3; ++t) {
        threads.emplace_back([mine = shared] {
          for (int i = 0; i < 100; ++i) {
            const auto part = mine.slice(i % 60, i % 60 + 4);
            EXPECT_EQ(part.size(), 4U);
          }
        });
      }
      shared = {};
      for (auto& each : threads) each.join();
    }
    EXPECT_EQ(seen.times, 1);
  }
}

TEST(Buffer, travels_between_threads_that_make_and_threads_that_free) {
  for (std::size_t size : {50, 3000, 50'000}) {
    std::vector<buffer> made;
    for (int round = 0; round < 5; ++round) {
      std::thread([&] {
        for (int i = 0; i < 50; ++i) made.push_back(buffer::alloc_unsafe(size).fill(i));
      }).join();
      for (int i = 0; i < 50; ++i) EXPECT_EQ(made[static_cast<std::size_t>(i)].at(size - 1), static_cast<std::byte>(i));
      made.clear();
    }
  }
}

// A chain of tasks that may be stolen between all their awaits.
TEST(Buffer, goes_along_with_tasks_from_worker_to_worker) {
  testing::run_with(4, []() -> task<> {
    auto work = [](buffer mine) -> task<std::size_t> {
      std::size_t sum = 0;
      for (int i = 0; i < 20; ++i) {
        auto next = buffer::concat({mine.slice(0, 50), buffer::alloc(50, std::byte{1})});
        co_await testing::poll_io();
        sum += next.size() + buffer::alloc_unsafe(3000).size();
        mine = std::move(next);
      }
      co_return sum;
    };
    co_await with_scope([&](scope& s) -> task<> {
      const auto shared = buffer::alloc(100);
      for (int i = 0; i < 50; ++i) s.spawn(work, shared);
      co_return;
    });
  }());
}

// ---- The pool of chunks ----

TEST(BufferPool, hands_the_chunk_out_again_that_came_back) {
  buffer_pool pool;
  EXPECT_EQ(pool.chunk_size(), 64U * 1024);
  const std::byte* first = nullptr;
  {
    auto chunk = pool.take();
    first = chunk.data();
    EXPECT_EQ(chunk.size(), 64U * 1024);
    EXPECT_TRUE(chunk.is_unique());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0U);
    chunk.fill(1);
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pool.take().fill(2).data(), first);
  const auto stats = pool.stats();
  EXPECT_EQ(stats.made, 1U);
  EXPECT_EQ(stats.reused, 100U);
  EXPECT_EQ(stats.cached, 1U);
  EXPECT_EQ(stats.in_use, 0U);
}

TEST(BufferPool, waits_for_the_last_slice_of_a_chunk) {
  buffer_pool pool({.chunk_size = 100});
  auto part = pool.take().slice(10, 20);
  EXPECT_EQ(pool.stats().in_use, 1U);
  const auto other = pool.take();
  EXPECT_EQ(pool.stats().made, 2U);
  part = {};
  EXPECT_EQ(pool.stats().in_use, 1U);
  EXPECT_EQ(pool.stats().cached, 1U);
}

TEST(BufferPool, keeps_no_more_than_it_was_told_to) {
  buffer_pool pool({.chunk_size = 100, .max_cached = 3});
  std::vector<buffer> held;
  held.reserve(10);
  for (int i = 0; i < 10; ++i) held.push_back(pool.take());
  EXPECT_EQ(pool.stats().in_use, 10U);
  held.clear();
  EXPECT_EQ(pool.stats().cached, 3U);
  pool.trim();
  EXPECT_EQ(pool.stats().cached, 0U);
  EXPECT_EQ(pool.take().size(), 100U);
  buffer_pool none({.chunk_size = 100, .max_cached = 0});
  {
    const auto chunk = none.take();
  }
  EXPECT_EQ(none.stats().cached, 0U);
}

TEST(BufferPool, may_end_before_its_chunks) {
  buffer chunk;
  {
    buffer_pool pool({.chunk_size = 1000});
    chunk = pool.take();
    {
      const auto another = pool.take();
    }
  }
  chunk.fill(7);
  EXPECT_EQ(chunk.at(999), std::byte{7});
}

TEST(BufferPool, is_the_same_through_every_handle) {
  buffer_pool first({.chunk_size = 10});
  auto second = first;
  {
    const auto chunk = first.take();
  }
  EXPECT_EQ(second.stats().cached, 1U);
  first = buffer_pool({.chunk_size = 20});
  EXPECT_EQ(first.take().size(), 20U);
  EXPECT_EQ(second.take().size(), 10U);
  auto third = std::move(second);
  EXPECT_EQ(third.stats().made, 1U);
}

TEST(BufferPool, refuses_chunks_of_no_bytes_and_of_too_many) {
  EXPECT_EQ(
      thrown_by([] { buffer_pool({.chunk_size = 0}); }),
      "ERR_OUT_OF_RANGE: The value of \"chunk_size\" is out of range. It must be >= 1 && <= 4294967296. Received 0");
  EXPECT_EQ(thrown_by([] { buffer_pool({.chunk_size = std::size_t{1} << 40}); }).substr(0, 20), "ERR_BUFFER_TOO_LARGE");
}

TEST(BufferPool, takes_chunks_back_from_many_threads_at_once) {
  buffer_pool pool({.chunk_size = 256, .max_cached = 8});
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([mine = pool, t]() mutable {
      std::vector<buffer> held;
      for (std::size_t i = 0; i < rounds(20'000); ++i) {
        held.push_back(mine.take());
        held.back().fill(t);
        if (held.size() > 5) {
          EXPECT_TRUE(
              std::ranges::all_of(held[i % 5], [t](std::byte each) { return each == static_cast<std::byte>(t); }));
          held.erase(held.begin() + static_cast<std::ptrdiff_t>(i % 5));
        }
      }
    });
  }
  for (auto& each : threads) each.join();
  const auto stats = pool.stats();
  EXPECT_EQ(stats.in_use, 0U);
  EXPECT_LE(stats.cached, 8U);
  EXPECT_EQ(stats.made + stats.reused, 4 * rounds(20'000));
}

}  // namespace
}  // namespace weir
