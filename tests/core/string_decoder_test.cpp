#include <weir/core/string_decoder.hpp>

#include <weir/core/encoding.hpp>

#include <gtest/gtest.h>

#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

constexpr encoding all_encodings[] = {encoding::utf8, encoding::utf16le, encoding::latin1,   encoding::ascii,
                                      encoding::hex,  encoding::base64,  encoding::base64url};

// What comes out for each piece, and at the end.
std::vector<std::string> pieces(encoding as, std::initializer_list<std::string_view> chunks) {
  string_decoder decoder(as);
  std::vector<std::string> out;
  for (auto each : chunks) out.push_back(decoder.write(bytes_of(each)));
  out.push_back(decoder.end());
  return out;
}

using texts = std::vector<std::string>;

// The expected values are Node 20's, except that text comes as soon as it is certain, and a character as a whole.
TEST(StringDecoder, holds_an_unfinished_character_back) {
  EXPECT_EQ(pieces(encoding::utf8, {"\xe2", "\x82", "\xac"}), (texts{"", "", "\xe2\x82\xac", ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"a\xf0", "\x9f\x98\x80\xf0"}), (texts{"a", "\xf0\x9f\x98\x80", "\xef\xbf\xbd"}));
  EXPECT_EQ(pieces(encoding::utf16le, {"=", "\xd8", std::string_view("\0", 1), "\xde"}),
            (texts{"", "", "", "\xf0\x9f\x98\x80", ""}));
}

TEST(StringDecoder, replaces_what_turns_out_to_be_ill_formed_once) {
  EXPECT_EQ(pieces(encoding::utf8, {"\xe2", "A"}), (texts{"",
                                                          "\xef\xbf\xbd"
                                                          "A",
                                                          ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xf0\x9f", "\x98"}), (texts{"", "", "\xef\xbf\xbd"}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xe2\x82", "\xe2\x82\xac"}), (texts{"", "\xef\xbf\xbd\xe2\x82\xac", ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xc3", "\xc3", "\xa9"}), (texts{"", "\xef\xbf\xbd", "\xc3\xa9", ""}));
}

TEST(StringDecoder, waits_as_long_as_the_first_byte_of_a_character_says) {
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(pieces(encoding::utf8, {"\xe0", "\x80"}), (texts{"", "", bad + bad}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xed", "\xa0", "\x80"}), (texts{"", "", bad + bad + bad, ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xf4", "\x90", "\x80", "\x80"}), (texts{"", "", "", bad + bad + bad + bad, ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xc0", "A"}), (texts{"", bad + "A", ""}));
  EXPECT_EQ(pieces(encoding::utf8, {"\xf8", "\x80"}), (texts{bad, bad, ""})) << "begins none";
}

TEST(StringDecoder, ends_utf16_in_the_middle) {
  EXPECT_EQ(pieces(encoding::utf16le, {"=\xd8", "A"}), (texts{"", "", "\xef\xbf\xbd"})) << "the odd byte is lost";
  EXPECT_EQ(pieces(encoding::utf16le, {"=\xd8", std::string_view("A\0", 2)}), (texts{"",
                                                                                     "\xef\xbf\xbd"
                                                                                     "A",
                                                                                     ""}));
  EXPECT_EQ(pieces(encoding::utf16le, {"A"}), (texts{"", ""}));
}

TEST(StringDecoder, waits_for_groups_of_three_bytes_in_base64) {
  EXPECT_EQ(pieces(encoding::base64, {"a", "b", "cd"}), (texts{"", "", "YWJj", "ZA=="}));
  EXPECT_EQ(pieces(encoding::base64url, {"a", "bc", "d"}), (texts{"", "YWJj", "", "ZA"}));
}

TEST(StringDecoder, passes_the_others_on_at_once) {
  EXPECT_EQ(pieces(encoding::hex, {"a", "b"}), (texts{"61", "62", ""}));
  EXPECT_EQ(pieces(encoding::latin1, {"\xe9"}), (texts{"\xc3\xa9", ""}));
  EXPECT_EQ(pieces(encoding::ascii, {"\xe9"}), (texts{"i", ""}));
}

TEST(StringDecoder, tells_how_many_bytes_wait) {
  string_decoder decoder;
  EXPECT_EQ(decoder.as(), encoding::utf8);
  EXPECT_EQ(decoder.write(bytes_of("a\xf0\x9f\x98")), "a");
  EXPECT_EQ(decoder.pending(), 3U);
  EXPECT_EQ(decoder.write({}), "");
  EXPECT_EQ(decoder.pending(), 3U);
  EXPECT_EQ(decoder.end(bytes_of("\x80!")), "\xf0\x9f\x98\x80!");
  EXPECT_EQ(decoder.pending(), 0U);
}

TEST(StringDecoder, may_be_used_again_after_the_end) {
  string_decoder decoder;
  EXPECT_EQ(decoder.end(bytes_of("\xe2\x82")), "\xef\xbf\xbd");
  EXPECT_EQ(decoder.write(bytes_of("\xac")), "\xef\xbf\xbd") << "nothing is left of the character before";
  EXPECT_EQ(decoder.write(bytes_of("ok")), "ok");
}

TEST(StringDecoder, appends_to_a_string_of_the_caller) {
  string_decoder decoder;
  std::string out = ">";
  decoder.write(bytes_of("\xc3"), out);
  decoder.write(bytes_of("\xa9"), out);
  decoder.end(bytes_of("\xc3"), out);
  EXPECT_EQ(out, ">\xc3\xa9\xef\xbf\xbd");
}

// Cut at every two places: three pieces, the middle one of any length.
TEST(StringDecoder, gives_the_same_text_wherever_the_bytes_are_cut) {
  const std::string bytes =
      "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff\xe2\x82"
      "b\xed\xa0\x80\xf0\x9f\xf4\x90=\xd8\x42\xde\xc2";
  for (auto as : all_encodings) {
    const auto whole = to_text(bytes_of(bytes), as);
    for (std::size_t i = 0; i <= bytes.size(); ++i) {
      for (std::size_t j = i; j <= bytes.size(); ++j) {
        string_decoder decoder(as);
        auto text = decoder.write(bytes_of(bytes).first(i));
        text += decoder.write(bytes_of(bytes).subspan(i, j - i));
        text += decoder.end(bytes_of(bytes).subspan(j));
        ASSERT_EQ(text, whole) << encoding_name(as) << " " << i << " " << j;
      }
    }
  }
}

TEST(StringDecoder, gives_the_same_text_for_random_bytes_in_random_pieces) {
  std::mt19937 random(3);
  constexpr std::string_view alphabet = "az\x80\xbf\xc2\xe0\xa0\xe2\x82\xed\xf0\x90\xf4\x8f\xff\xd8\xdc";
  for (int round = 0; round < 3000; ++round) {
    std::string bytes(random() % 40, ' ');
    for (auto& each : bytes) each = alphabet[random() % alphabet.size()];
    const auto as = all_encodings[random() % std::size(all_encodings)];
    string_decoder decoder(as);
    std::string text;
    for (auto rest = bytes_of(bytes); !rest.empty();) {
      const auto count = std::min<std::size_t>(random() % 5, rest.size());
      decoder.write(rest.first(count), text);
      rest = rest.subspan(count);
      ASSERT_LE(decoder.pending(), 3U);
      if (as == encoding::utf8) ASSERT_TRUE(is_utf8(bytes_of(text)));
    }
    decoder.end({}, text);
    ASSERT_EQ(text, to_text(bytes_of(bytes), as)) << encoding_name(as);
  }
}

}  // namespace
}  // namespace weir
