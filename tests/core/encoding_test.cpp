#include <weir/core/encoding.hpp>

#include <weir/core/error.hpp>
#include <weir/core/simd_text.hpp>
#include <weir/core/utf8.hpp>

#include "tests/support/concurrency.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {
namespace {

using detail::all_text_kernels;
using testing::rounds;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

// The bytes that `text` makes, as hex.
std::string made(std::string_view text, encoding as) {
  std::vector<std::byte> out(byte_length(text, as));
  out.resize(to_bytes(text, as, out));
  return to_text(out, encoding::hex);
}

std::vector<std::byte> unhex(std::string_view digits) {
  std::vector<std::byte> out(digits.size() / 2);
  EXPECT_EQ(to_bytes(digits, encoding::hex, out), out.size());
  return out;
}

TEST(Encoding, knows_nodes_names_in_any_case) {
  const std::pair<const char*, encoding> known[] = {
      {"utf8", encoding::utf8},
      {"UTF-8", encoding::utf8},
      {"Utf-8", encoding::utf8},
      {"utf16le", encoding::utf16le},
      {"UTF-16LE", encoding::utf16le},
      {"ucs2", encoding::utf16le},
      {"UCS-2", encoding::utf16le},
      {"latin1", encoding::latin1},
      {"binary", encoding::latin1},
      {"ASCII", encoding::ascii},
      {"hex", encoding::hex},
      {"HEX", encoding::hex},
      {"base64", encoding::base64},
      {"base64url", encoding::base64url},
      {"BASE64URL", encoding::base64url},
  };
  for (const auto& [name, as] : known) EXPECT_EQ(parse_encoding(name), as) << name;
  for (const char* name : {"", "utf", "utf-16", "utf 8", "hex ", "base-64", "\xff"})
    EXPECT_EQ(find_encoding(name), std::nullopt) << name;
}

TEST(Encoding, gives_each_a_name_that_leads_back_to_it) {
  for (auto as : {encoding::utf8, encoding::utf16le, encoding::latin1, encoding::ascii, encoding::hex, encoding::base64,
                  encoding::base64url})
    EXPECT_EQ(parse_encoding(encoding_name(as)), as);
  EXPECT_EQ(encoding_name(encoding::latin1), "latin1") << "binary is the old name";
}

TEST(Encoding, refuses_an_unknown_name_as_node_does) {
  try {
    parse_encoding("nope");
    FAIL();
  } catch (const error& e) {
    EXPECT_TRUE(e.is("ERR_UNKNOWN_ENCODING"));
    EXPECT_STREQ(e.what(), "Unknown encoding: nope");
  }
}

// What Node 20 answers to Buffer.from(text, encoding).
struct text_case {
  std::string_view text;
  encoding as;
  std::string_view bytes;
};

TEST(Encoding, makes_bytes_from_text_as_leniently_as_node) {
  using enum encoding;
  const text_case cases[] = {
      {"YWJj", base64, "616263"},
      {"YQ==", base64, "61"},
      {"YQ=", base64, "61"},
      {"YQ", base64, "61"},
      {"Y", base64, ""},
      {"YWI", base64, "6162"},
      {"YWJjZ", base64, "616263"},
      {"YWJj\n YW Jj", base64, "616263616263"},
      {"YW*Jj", base64, "616263"},
      {"YQ==\n", base64, "61"},
      {"Y W J j", base64, "616263"},
      {"YW=Jj", base64, "61"},
      {"YQ==YQ==", base64, "61"},
      {"=YWJ", base64, ""},
      {"Y=W=J=j=", base64, ""},
      {"====", base64, ""},
      {"YWJj====YWJj", base64, "616263"},
      {"YWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJjYWJj=YWJj", base64,
       "616263616263616263616263616263616263616263616263616263616263616263"},
      {"-_-_", base64, "fbffbf"},
      {"+/+/", base64, "fbffbf"},
      {"+/-_", base64url, "fbffbf"},
      {"-_-_", base64url, "fbffbf"},
      {"YQ==", base64url, "61"},
      {"YQ\xc2\xad==", base64, "61"},
      {"YW\xc5\xa1Jj", base64, "616263"},  // Node takes U+0161 for its low byte, an 'a': a bug that is not ours
      {"zz", hex, ""},
      {"abc", hex, "ab"},
      {"abzz", hex, "ab"},
      {"aBCd", hex, "abcd"},
      {"a", hex, ""},
      {"0g", hex, ""},
      {"ab\xf0\x9f\x98\x80", hex, "ab"},
      {"\xc5\xa1\xc5\xa2", hex, ""},  // as above
      {"\xe2\x82\xac", latin1, "ac"},
      {"\xc3\xa9", latin1, "e9"},
      {"\xf0\x9f\x98\x80", latin1, "3d00"},
      {"a\xe2\x82\xac\xf0\x9f\x98\x80z", latin1, "61ac3d007a"},
      {"\xc3\xa9", ascii, "e9"},
      {"\xe2\x82\xac", ascii, "ac"},
      {"\xe2\x82\xac", utf16le, "ac20"},
      {"\xf0\x9f\x98\x80", utf16le, "3dd800de"},
      {"a\xe2\x82\xac\xf0\x9f\x98\x80z", utf16le, "6100ac203dd800de7a00"},
      {"a\xe2\x82\xac\xf0\x9f\x98\x80z", utf8, "61e282acf09f98807a"},
      {"", utf16le, ""},
  };
  for (const auto& [text, as, bytes] : cases) EXPECT_EQ(made(text, as), bytes) << encoding_name(as) << " " << text;
}

// What Node 20 answers to buffer.toString(encoding), as the hex of its UTF-8; lone surrogates are U+FFFD in it.
TEST(Encoding, makes_text_from_any_bytes_as_node_does) {
  using enum encoding;
  const text_case cases[] = {
      {"efbfbd", utf8, "80"},
      {"efbfbdefbfbd", utf8, "c080"},
      {"efbfbdefbfbdefbfbd", utf8, "eda080"},
      {"efbfbdefbfbdefbfbdefbfbd", utf8, "f4908080"},
      {"efbfbdefbfbd", utf8, "f5ff"},
      {"61efbfbd", utf8, "61e282"},
      {"61efbfbd62", utf8, "61e28262"},
      {"efbfbde282ac", utf8, "f09fe282ac"},
      {"efbfbdefbfbdefbfbdefbfbd", utf8, "f0808080"},
      {"efbfbdf09f9880", utf8, "f09f98f09f9880"},
      {"efbbbf78", utf8, "efbbbf78"},
      {"efbfbd", utf8, "e0a0"},
      {"efbfbdefbfbdefbfbd", utf8, "e09fbf"},
      {"ed9fbfee8080", utf8, "ed9fbfee8080"},
      {"f48fbfbf", utf8, "f48fbfbf"},
      {"efbfbdefbfbd", utf8, "fef0"},
      {"41", utf16le, "410042"},
      {"efbfbd42", utf16le, "00d84200"},
      {"efbfbd", utf16le, "00dc"},
      {"f09f9880", utf16le, "3dd800de"},
      {"efbfbdf09f9880", utf16le, "3dd83dd800de"},
      {"c3a9c280c3bf41", latin1, "e980ff41"},
      {"69007f41", ascii, "e980ff41"},
  };
  for (const auto& [text, as, bytes] : cases) {
    const auto from = unhex(bytes);
    EXPECT_EQ(to_text(bytes_of(to_text(from, as)), hex), text) << encoding_name(as) << " " << bytes;
    EXPECT_EQ(text_length(from, as), text.size() / 2) << encoding_name(as) << " " << bytes;
  }
}

TEST(Encoding, pads_base64_and_does_not_pad_base64url) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};  // RFC 4648, section 10
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(to_text(bytes_of(bytes), encoding::base64), text);
    std::string unpadded = text;
    std::erase(unpadded, '=');
    EXPECT_EQ(to_text(bytes_of(bytes), encoding::base64url), unpadded);
    EXPECT_EQ(made(text, encoding::base64), to_text(bytes_of(bytes), encoding::hex));
    EXPECT_EQ(made(unpadded, encoding::base64), to_text(bytes_of(bytes), encoding::hex));
  }
  EXPECT_EQ(to_text(unhex("fbffbf"), encoding::base64), "+/+/");
  EXPECT_EQ(to_text(unhex("fbffbf"), encoding::base64url), "-_-_");
}

TEST(Encoding, writes_hex_in_lower_case) { EXPECT_EQ(to_text(bytes_of("\x01\xab\xff"), encoding::hex), "01abff"); }

TEST(Encoding, reads_text_that_is_not_utf8_by_the_same_rule) {
  EXPECT_EQ(made("a\xff\xe2\x82z", encoding::utf16le), "6100fdfffdff7a00");
  EXPECT_EQ(made("a\xff\xe2\x82z", encoding::latin1), "61fdfd7a");
  EXPECT_EQ(made("a\xff\xe2\x82z", encoding::utf8), "61ffe2827a") << "its bytes stay what they are";
}

TEST(Encoding, tells_how_many_bytes_a_text_makes) {
  using enum encoding;
  const std::string_view text = "a\xe2\x82\xac\xf0\x9f\x98\x80";
  EXPECT_EQ(byte_length(text), 8U);
  EXPECT_EQ(byte_length(text, utf16le), 8U);
  EXPECT_EQ(byte_length(text, latin1), 4U);
  EXPECT_EQ(byte_length("abc", hex), 1U);
  EXPECT_EQ(byte_length("zzzz", hex), 2U) << "as if they were digits";
  EXPECT_EQ(byte_length("YQ==", base64), 1U);
  EXPECT_EQ(byte_length("YWI=", base64), 2U);
  EXPECT_EQ(byte_length("YWJjZA", base64url), 4U);
  EXPECT_EQ(byte_length("====", base64), 1U);
  EXPECT_EQ(byte_length("\xe2\x82\xac=", base64), 0U) << "characters count, not their bytes";
  EXPECT_EQ(byte_length("xyz\xf0\x9f\x92\xa9", hex), 2U);
  EXPECT_EQ(byte_length("", base64), 0U);
}

TEST(Encoding, never_writes_a_part_of_a_character) {
  const std::string_view text = "a\xe2\x82\xac\xf0\x9f\x98\x80z";
  const auto written = [&](encoding as, std::size_t room) {
    std::vector<std::byte> out(room);
    return to_bytes(text, as, out);
  };
  const std::size_t utf8_sizes[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 9, 9};
  const std::size_t utf16_sizes[] = {0, 0, 2, 2, 4, 4, 4, 4, 8, 8, 10};
  for (std::size_t room = 0; room < std::size(utf8_sizes); ++room) {
    EXPECT_EQ(written(encoding::utf8, room), utf8_sizes[room]) << room;
    EXPECT_EQ(written(encoding::utf16le, room), utf16_sizes[room]) << room;
  }
  std::vector<std::byte> out(5);
  EXPECT_EQ(to_bytes("\x80\x80\x80\x80\x80\x80", encoding::utf8, out), 5U) << "no character to be split";
}

// Long junk behind short text: the loops that work on whole blocks must leave what lies behind alone.
TEST(Encoding, writes_nothing_behind_what_it_counts) {
  for (auto as : {encoding::hex, encoding::base64}) {
    for (std::size_t good = 0; good < 200; ++good) {
      const std::string text = std::string(good, 'a') + "=" + std::string(300, 'a');
      std::vector<std::byte> out(400, std::byte{0x2e});
      const auto written = to_bytes(text, as, out);
      EXPECT_EQ(written, as == encoding::hex ? good / 2 : good / 4 * 3 + good % 4 * 3 / 4);
      EXPECT_TRUE(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(written), out.end(),
                              [](std::byte each) { return each == std::byte{0x2e}; }));
    }
  }
}

TEST(Encoding, survives_a_round_trip_of_every_length) {
  std::mt19937 random(7);
  for (std::size_t size = 0; size < 300; ++size) {
    std::vector<std::byte> bytes(size);
    for (auto& each : bytes) each = static_cast<std::byte>(random());
    for (auto as : {encoding::hex, encoding::base64, encoding::base64url, encoding::latin1}) {
      const auto text = to_text(bytes, as);
      EXPECT_EQ(text.size(), text_length(bytes, as));
      std::vector<std::byte> again(byte_length(text, as));
      EXPECT_EQ(to_bytes(text, as, again), size);
      EXPECT_EQ(again, bytes) << encoding_name(as) << " " << size;
      std::string into(text.size() + 1, '#');
      EXPECT_EQ(to_text(bytes, as, std::span(into).first(text.size())), text.size());
      EXPECT_EQ(into, text + '#');
    }
  }
}

TEST(Encoding, appends_text_to_what_is_there) {
  std::string out = "so: ";
  append_text(out, bytes_of("ab"), encoding::hex);
  append_text(out, bytes_of("\xff"), encoding::utf8);
  append_text(out, {}, encoding::base64);
  append_text(out, bytes_of("!"));
  EXPECT_EQ(out, "so: 6162\xef\xbf\xbd!");
}

TEST(Encoding, tells_utf8_and_ascii_from_other_bytes) {
  EXPECT_TRUE(is_utf8({}));
  EXPECT_TRUE(is_utf8(bytes_of("\xe2\x82\xac")));
  EXPECT_FALSE(is_utf8(bytes_of("\xe2\x82")));
  EXPECT_FALSE(is_utf8(bytes_of("\xed\xa0\x80"))) << "a surrogate";
  EXPECT_FALSE(is_utf8(bytes_of("\xc1\xbf"))) << "overlong";
  EXPECT_FALSE(is_utf8(bytes_of("\xf4\x90\x80\x80"))) << "beyond U+10FFFF";
  EXPECT_TRUE(is_ascii({}));
  EXPECT_TRUE(is_ascii(bytes_of("a\x7f")));
  EXPECT_FALSE(is_ascii(bytes_of("a\x80")));
}

// ---- The inner loops, all that this processor can. A block of its own lets the address sanitizer see each overrun.
// ----

template <class T>
std::unique_ptr<T[]> block_of(std::span<const T> values) {
  auto block = std::make_unique<T[]>(values.size());
  std::ranges::copy(values, block.get());
  return block;
}

std::vector<std::uint8_t> random_bytes(std::size_t size, std::mt19937& random) {
  std::vector<std::uint8_t> bytes(size);
  for (auto& each : bytes) each = static_cast<std::uint8_t>(random());
  return bytes;
}

class TextKernels : public ::testing::TestWithParam<const detail::text_kernels*> {
 protected:
  const detail::text_kernels& kernels = *GetParam();
  const detail::text_kernels& portable = *all_text_kernels().front();
  std::mt19937 random{11};
};

TEST_P(TextKernels, code_and_decode_every_length) {
  for (std::size_t size = 0; size < 260; ++size) {
    const auto bytes = random_bytes(size, random);
    const auto in = block_of(std::span(bytes));
    auto digits = std::make_unique<char[]>(2 * size);
    kernels.to_hex(in.get(), size, digits.get());
    EXPECT_EQ(std::string_view(digits.get(), 2 * size), to_text(std::as_bytes(std::span(bytes)), encoding::hex));
    auto back = std::make_unique<std::uint8_t[]>(size);
    EXPECT_EQ(kernels.from_hex(digits.get(), size, back.get()), size);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), back.get()));

    for (bool url : {false, true}) {
      const auto groups = size / 3;
      auto text = std::make_unique<char[]>(4 * groups);
      auto expected = std::make_unique<char[]>(4 * groups);
      kernels.to_base64(in.get(), groups, text.get(), url);
      portable.to_base64(in.get(), groups, expected.get(), url);
      EXPECT_EQ(std::string_view(text.get(), 4 * groups), std::string_view(expected.get(), 4 * groups));
      auto decoded = std::make_unique<std::uint8_t[]>(3 * groups);
      EXPECT_EQ(kernels.from_base64(text.get(), groups, decoded.get()), groups);
      EXPECT_TRUE(std::equal(decoded.get(), decoded.get() + 3 * groups, in.get()));
    }
  }
}

TEST_P(TextKernels, stop_before_any_byte_that_is_no_digit) {
  for (int bad = 0; bad < 256; ++bad) {
    for (std::size_t at : {0, 5, 31, 32, 77, 127}) {
      std::string text(128, 'a');
      text[at] = static_cast<char>(bad);
      std::uint8_t out[96];
      const bool hex = detail::hex_values[static_cast<std::size_t>(bad)] < 16;
      EXPECT_EQ(kernels.from_hex(text.data(), 64, out), hex ? 64 : at / 2) << bad;
      const bool base64 = detail::base64_values[static_cast<std::size_t>(bad)] < 64;
      EXPECT_EQ(kernels.from_base64(text.data(), 32, out), base64 ? 32 : at / 4) << bad;
      if (!base64) continue;
      std::uint8_t expected[96];
      portable.from_base64(text.data(), 32, expected);
      EXPECT_EQ(std::memcmp(out, expected, sizeof out), 0) << bad;
    }
  }
}

TEST_P(TextKernels, find_the_first_byte_that_is_not_ascii) {
  for (std::size_t size = 0; size < 300; ++size) {
    std::vector<std::uint8_t> bytes(size, 'a');
    EXPECT_EQ(kernels.ascii_length(block_of<std::uint8_t>(bytes).get(), size), size);
    for (int i = 0; i < 3 && size != 0; ++i) {
      const auto at = random() % size;
      bytes[at] = 0x80;
      const auto first = static_cast<std::size_t>(std::ranges::find(bytes, 0x80) - bytes.begin());
      EXPECT_EQ(kernels.ascii_length(block_of<std::uint8_t>(bytes).get(), size), first);
    }
  }
}

bool is_utf8_by_steps(std::span<const std::uint8_t> bytes) {
  for (std::size_t i = 0; i < bytes.size();) {
    const auto step = detail::decode_utf8(bytes.data() + i, bytes.size() - i);
    if (!step.valid) return false;
    i += step.length;
  }
  return true;
}

TEST_P(TextKernels, agree_with_the_standard_on_every_start_of_a_character) {
  std::vector<std::uint8_t> bytes(100, 'x');
  for (std::size_t at : {0, 29, 30, 31, 62, 63, 96}) {
    for (unsigned first = 0x70; first < 0x100; ++first) {
      for (unsigned second = 0x70; second < 0x100; ++second) {
        bytes[at] = static_cast<std::uint8_t>(first);
        bytes[at + 1] = static_cast<std::uint8_t>(second);
        for (std::uint8_t third : {0x78, 0x80, 0xbf, 0xc2}) {
          bytes[at + 2] = third;
          for (std::uint8_t fourth : {0x78, 0x80, 0xbf}) {
            bytes[at + 3] = fourth;
            ASSERT_EQ(kernels.is_utf8(bytes.data(), bytes.size()), is_utf8_by_steps(bytes))
                << at << " " << first << " " << second << " " << int{third} << " " << int{fourth};
          }
        }
      }
    }
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 4, 'x');
  }
}

TEST_P(TextKernels, agree_on_utf8_cut_anywhere_and_spoiled_anywhere) {
  std::string text;
  while (text.size() < 400) text += "ab\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 some ascii that is longer than a block ...";
  const std::span whole(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto block = block_of(whole.first(size));
    EXPECT_EQ(kernels.is_utf8(block.get(), size), is_utf8_by_steps(whole.first(size))) << size;
    for (std::size_t i = 0; i < 4 && size != 0; ++i) {
      const auto at = random() % size;
      const auto was = std::exchange(block[at], static_cast<std::uint8_t>(random()));
      EXPECT_EQ(kernels.is_utf8(block.get(), size), is_utf8_by_steps({block.get(), size})) << size << " " << at;
      block[at] = was;
    }
  }
}

TEST_P(TextKernels, find_what_a_plain_search_finds) {
  for (std::size_t i = 0; i < rounds(20'000); ++i) {
    std::string text(random() % 200, 'a');
    for (auto& each : text) each = static_cast<char>('a' + random() % 2);
    std::string what(2 + random() % 9, 'a');
    for (auto& each : what) each = static_cast<char>('a' + random() % 2);
    const auto block = block_of<std::uint8_t>({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    const auto found =
        kernels.find(block.get(), text.size(), reinterpret_cast<const std::uint8_t*>(what.data()), what.size());
    EXPECT_EQ(std::min(found, text.size()), std::min(text.find(what), text.size())) << text << " " << what;
  }
}

// A plain search would compare 10^11 bytes here.
TEST_P(TextKernels, find_in_linear_time) {
  const std::vector<std::uint8_t> text(1'000'000, 'a');
  std::vector<std::uint8_t> what(200'001, 'a');
  what[100'000] = 'b';
  EXPECT_GE(kernels.find(text.data(), text.size(), what.data(), what.size()), text.size());
}

INSTANTIATE_TEST_SUITE_P(OfThisProcessor, TextKernels,
                         ::testing::ValuesIn(all_text_kernels().begin(), all_text_kernels().end()),
                         [](const auto& tested) { return std::string(tested.param->name); });

// ---- From bytes to bytes ----

std::string transcoded(std::string_view digits, std::string_view from, std::string_view to) {
  return to_text(transcode(unhex(digits), parse_encoding(from), parse_encoding(to)), encoding::hex);
}

// The answers are Node 20's, but for those that say so.
TEST(Transcode, keeps_the_characters) {
  EXPECT_EQ(transcoded("c3a9", "utf8", "utf16le"), "e900");
  EXPECT_EQ(transcoded("c3a9", "utf8", "latin1"), "e9");
  EXPECT_EQ(transcoded("e900", "ucs2", "utf8"), "c3a9");
  EXPECT_EQ(transcoded("e900", "ucs2", "binary"), "e9");
  EXPECT_EQ(transcoded("e9", "latin1", "utf8"), "c3a9");
  EXPECT_EQ(transcoded("e97a", "latin1", "utf16le"), "e9007a00");
  EXPECT_EQ(transcoded("617a", "ascii", "utf16le"), "61007a00");
  EXPECT_EQ(transcoded("f09f9880", "utf8", "utf16le"), "3dd800de");
  EXPECT_EQ(transcoded("3dd800de", "utf16le", "utf8"), "f09f9880");
  for (const auto* each : {"utf8", "utf16le", "latin1", "ascii"}) {
    EXPECT_EQ(transcoded("6100", each, each), "6100");
    EXPECT_EQ(transcoded("", each, "utf8"), "");
  }
}

TEST(Transcode, writes_a_question_mark_for_each_character_that_is_not_there) {
  EXPECT_EQ(transcoded("61e282ac62", "utf8", "latin1"), "613f62");
  EXPECT_EQ(transcoded("61e282ac62", "utf8", "ascii"), "613f62");
  EXPECT_EQ(transcoded("f09f9880", "utf8", "latin1"), "3f");
  EXPECT_EQ(transcoded("3dd800deac20", "utf16le", "ascii"), "3f3f");
  EXPECT_EQ(transcoded("c3a9", "latin1", "ascii"), "3f3f");
  EXPECT_EQ(transcoded("c3a9", "utf8", "ascii"), "3f");
}

TEST(Transcode, leaves_out_what_is_not_there_and_nobody_sees) {
  EXPECT_EQ(transcoded("61ad62", "latin1", "ascii"), "6162");
  EXPECT_EQ(transcoded("61ad62", "latin1", "latin1"), "61ad62");
  EXPECT_EQ(transcoded("61e2808d62efbbbf", "utf8", "latin1"), "6162");
  EXPECT_EQ(transcoded("f3a08081", "utf8", "ascii"), "");
  EXPECT_EQ(transcoded("f3a18080", "utf8", "ascii"), "3f") << "U+E1000 is not among them";
}

TEST(Transcode, replaces_what_cannot_be_read) {
  EXPECT_EQ(transcoded("61ff62", "utf8", "utf8"), "61efbfbd62");
  EXPECT_EQ(transcoded("61ff62", "utf8", "latin1"), "613f62");
  EXPECT_EQ(transcoded("f09f98", "utf8", "ascii"), "3f");
  EXPECT_EQ(transcoded("eda080", "utf8", "ascii"), "3f3f3f");
  EXPECT_EQ(transcoded("6180", "ascii", "utf8"), "61efbfbd");
  EXPECT_EQ(transcoded("6180", "ascii", "latin1"), "613f");
  EXPECT_EQ(transcoded("00d86100", "utf16le", "utf16le"), "fdff6100");
  EXPECT_EQ(transcoded("00d8", "utf16le", "latin1"), "3f");
  EXPECT_EQ(transcoded("610062", "utf16le", "latin1"), "61");
  // Where Node fails, or takes one encoding for another.
  EXPECT_EQ(transcoded("61ff62", "utf8", "utf16le"), "6100fdff6200");
  EXPECT_EQ(transcoded("00d8", "utf16le", "utf8"), "efbfbd");
  EXPECT_EQ(transcoded("6180", "ascii", "utf16le"), "6100fdff");
}

TEST(Transcode, knows_no_digits) {
  for (const auto as : {encoding::hex, encoding::base64, encoding::base64url}) {
    EXPECT_THROW(transcode({}, as, encoding::utf8), error);
    try {
      transcode({}, encoding::utf8, as);
      ADD_FAILURE();
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "ERR_INVALID_ARG_VALUE");
    }
  }
}

TEST(Transcode, there_and_back_is_the_same_for_every_character) {
  for (char32_t point = 0; point <= 0x10ffff; ++point) {
    if (point >= 0xd800 && point <= 0xdfff) continue;
    char text[4];
    const std::string_view utf8(text, static_cast<std::size_t>(detail::encode_utf8(point, text) - text));
    const auto wide = transcode(bytes_of(utf8), encoding::utf8, encoding::utf16le);
    const auto back = transcode(wide, encoding::utf16le, encoding::utf8);
    ASSERT_TRUE(std::ranges::equal(back, bytes_of(utf8))) << static_cast<unsigned>(point);
    const auto narrow = transcode(wide, encoding::utf16le, encoding::latin1);
    const bool same = narrow.size() == 1 && narrow[0] == static_cast<std::byte>(point);
    ASSERT_TRUE(point <= 0xff ? same : narrow.empty() || narrow == std::vector{std::byte{'?'}});
  }
}

TEST(Btoa, takes_characters_for_bytes) {
  EXPECT_EQ(btoa(""), "");
  EXPECT_EQ(btoa("a"), "YQ==");
  EXPECT_EQ(btoa("hello"), "aGVsbG8=");
  EXPECT_EQ(btoa("\xc3\xbf\xc3\xbe"), "//4=");
  EXPECT_EQ(btoa(std::string_view("\0", 1)), "AA==");
}

TEST(Btoa, fails_for_a_character_that_is_no_byte) {
  for (const auto& each : {std::string("\xc4\x80"), std::string("a\xf0\x9f\x98\x80"), std::string("a\xff")}) {
    try {
      btoa(each);
      ADD_FAILURE() << each;
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "ERR_INVALID_CHAR");
    }
  }
}

TEST(Atob, is_forgiving) {
  EXPECT_EQ(atob(""), "");
  EXPECT_EQ(atob("YQ=="), "a");
  EXPECT_EQ(atob("YQ"), "a");
  EXPECT_EQ(atob("YR"), "a") << "bits that are left over do not matter";
  EXPECT_EQ(atob(" Y\tQ\n=\r=\f"), "a");
  EXPECT_EQ(atob("ab= ="), "i");
  EXPECT_EQ(atob("//4="), "\xc3\xbf\xc3\xbe");
  for (const auto* each :
       {"a", "a=", "ab=", "ab=c", "ab===", "====", "=", "abcde", "a-_b", "abc=\v", "abc\xc3\xa9", "a b c d e"}) {
    try {
      atob(each);
      ADD_FAILURE() << each;
    } catch (const error& e) {
      EXPECT_EQ(e.code_name(), "ERR_INVALID_CHAR");
    }
  }
}

TEST(Atob, gives_what_btoa_took) {
  std::mt19937 random(5);
  for (std::size_t i = 0; i < rounds(5'000); ++i) {
    std::vector<std::byte> bytes(random() % 100);
    for (auto& each : bytes) each = static_cast<std::byte>(random());
    const auto text = to_text(bytes, encoding::latin1);
    EXPECT_EQ(atob(btoa(text)), text);
    EXPECT_EQ(btoa(text), to_text(bytes, encoding::base64));
  }
}

}  // namespace
}  // namespace weir
