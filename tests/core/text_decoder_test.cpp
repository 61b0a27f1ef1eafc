#include <weir/core/text_decoder.hpp>

#include <weir/core/encoding.hpp>
#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir {
namespace {

using namespace std::string_view_literals;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string decoded(std::string_view label, std::string_view bytes, const text_decoder_options& options = {}) {
  return text_decoder(label, options).decode(bytes_of(bytes));
}

// The text of each piece, all but the last with more to follow.
std::vector<std::string> pieces(std::string_view label, const std::vector<std::string_view>& chunks,
                                const text_decoder_options& options = {}) {
  text_decoder decoder(label, options);
  std::vector<std::string> out;
  for (const auto& each : chunks) out.push_back(decoder.decode(bytes_of(each), {.stream = &each != &chunks.back()}));
  return out;
}

using texts = std::vector<std::string>;

std::string code_of(auto&& does) {
  try {
    does();
  } catch (const error& e) {
    return std::string(e.code_name());
  }
  return "none";
}

constexpr std::string_view invalid = "ERR_ENCODING_INVALID_ENCODED_DATA";

TEST(TextDecoder, knows_encodings_by_the_labels_of_the_standard) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"utf-8", "utf-8"},
      {" UTF8\r\n", "utf-8"},
      {"x-unicode20utf8", "utf-8"},
      {"utf-16", "utf-16le"},
      {"ucs-2", "utf-16le"},
      {"unicodeFFFE", "utf-16be"},
      {"ascii", "windows-1252"},
      {"latin1", "windows-1252"},
      {"ISO-8859-1", "windows-1252"},
      {"l5", "windows-1254"},
      {"iso-8859-9", "windows-1254"},
      {"iso-8859-11", "windows-874"},
      {"866", "ibm866"},
      {"logical", "iso-8859-8-i"},
      {"visual", "iso-8859-8"},
      {"koi", "koi8-r"},
      {"koi8-ru", "koi8-u"},
      {"x-mac-roman", "macintosh"},
      {"\t\fx-user-defined ", "x-user-defined"},
  };
  for (const auto& [label, name] : table) EXPECT_EQ(text_decoder(label).encoding(), name) << label;
  EXPECT_EQ(text_decoder().encoding(), "utf-8");
}

TEST(TextDecoder, refuses_labels_that_it_does_not_know) {
  for (auto label : {"", " ", "utf", "utf-8 utf8", "utf-8\v", "l", "8859", "\xc2\xa0utf-8", "gbk", "gb18030", "big5",
                     "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr", "replacement", "utf-32", "utf-7"}) {
    EXPECT_EQ(code_of([&] { text_decoder{label}; }), "ERR_ENCODING_NOT_SUPPORTED") << label;
  }
  try {
    text_decoder{"gbk"};
    FAIL();
  } catch (const error& e) {
    EXPECT_EQ(e.message(), "The \"gbk\" encoding is not supported");
  }
}

TEST(TextDecoder, makes_one_mark_of_each_part_that_is_ill_formed) {
  EXPECT_EQ(decoded("utf-8", "a\xff\xe2\x82z\xf0\x9f\x98"), "a\ufffd\ufffdz\ufffd");
  EXPECT_EQ(decoded("utf-8", "\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(decoded("utf-16le", "\x3d\xd8"sv), "\ufffd");
  EXPECT_EQ(decoded("utf-16le", "\x00\xdc\x41\x00"sv), "\ufffdA");
  EXPECT_EQ(decoded("utf-16le", "\x41\x00\x42"sv), "A\ufffd") << "an odd byte is the beginning of a character";
  EXPECT_EQ(decoded("utf-16be", "\xd8\x3d\xd8\x3d\xde\x00"sv), "\ufffd\U0001f600");
  EXPECT_EQ(decoded("utf-16be", "\xd8\x3d\xde"sv), "\ufffd") << "one, with the odd byte";
  EXPECT_EQ(decoded("windows-1253", "\xd2"), "\ufffd");
}

TEST(TextDecoder, refuses_what_is_ill_formed_if_told_to) {
  const std::pair<std::string_view, std::string_view> table[] = {
      {"utf-8", "a\xff"},         {"utf-8", "\xe2\x82"},   {"utf-8", "\xc0\x80"},
      {"utf-16le", "\x00\xdc"sv}, {"utf-16le", "a"},       {"utf-16le", "\x00\xd8"sv},
      {"utf-16be", "\xdc\x00"sv}, {"utf-16be", "\x00"sv},  {"utf-16be", "\xd8\x00\x00\x41"sv},
      {"windows-1253", "a\xff"},  {"iso-8859-6", "\xa1z"}, {"windows-874", "\xfc"},
  };
  for (const auto& [label, bytes] : table) {
    EXPECT_EQ(code_of([&] { (void)decoded(label, bytes, {.fatal = true}); }), invalid) << label << " " << bytes;
  }
  EXPECT_EQ(decoded("utf-8", "\xef\xbf\xbd", {.fatal = true}), "\ufffd") << "which is a character like any other";
  EXPECT_EQ(decoded("utf-16be", "\xff\xfd", {.fatal = true}), "\ufffd");
}

TEST(TextDecoder, is_as_new_after_a_failure_and_leaves_the_callers_text_alone) {
  text_decoder decoder("utf-8", {.fatal = true});
  std::string out = "before";
  decoder.decode(bytes_of("a"), out, {.stream = true});
  decoder.decode(bytes_of("\xe2"), out, {.stream = true});
  EXPECT_EQ(code_of([&] { decoder.decode(bytes_of("\x82z"), out, {.stream = true}); }), invalid);
  EXPECT_EQ(out, "beforea");
  EXPECT_EQ(decoder.decode(bytes_of("\xef\xbb\xbfz")), "z");
}

TEST(TextDecoder, gives_each_character_with_its_last_byte) {
  EXPECT_EQ(pieces("utf-8", {"\xe2", "\x82", "\xac", ""}), (texts{"", "", "€", ""}));
  EXPECT_EQ(pieces("utf-8", {"\xf0\x9f", "x", ""}), (texts{"", "\ufffdx", ""}));
  EXPECT_EQ(pieces("utf-8", {"\xf0\x9f", "\xe2\x82", "\xac"}), (texts{"", "\ufffd", "€"}));
  EXPECT_EQ(pieces("utf-8", {"\xe0\x80", ""}), (texts{"\ufffd\ufffd", ""})) << "what cannot become one does not wait";
  EXPECT_EQ(pieces("utf-8", {"\xe2\x82", ""}), (texts{"", "\ufffd"}));
  EXPECT_EQ(pieces("utf-16le", {"\x3d", "\xd8", "\x00"sv, "\xde", ""}), (texts{"", "", "", "\U0001f600", ""}));
  EXPECT_EQ(pieces("utf-16le", {"\x3d\xd8\x3d", "\xd8\x00"sv, "\xde"}), (texts{"", "\ufffd", "\U0001f600"}));
  EXPECT_EQ(pieces("utf-16be", {"\xd8", "\x3d\x00"sv, "A", ""}), (texts{"", "", "\ufffdA", ""}));
  EXPECT_EQ(pieces("latin1", {"\xe4", "b", ""}), (texts{"ä", "b", ""}));
}

TEST(TextDecoder, drops_one_byte_order_mark_at_the_beginning) {
  EXPECT_EQ(decoded("utf-8", "\xef\xbb\xbf\xef\xbb\xbfz"), "\ufeffz");
  EXPECT_EQ(decoded("utf-16le", "\xff\xfez\x00"sv), "z");
  EXPECT_EQ(decoded("utf-16be", "\xfe\xff\x00z"sv), "z");
  EXPECT_EQ(decoded("utf-16be", "\xff\xfe"sv), "\ufffe") << "a mark of the other order is none";
  EXPECT_EQ(decoded("utf-8", "z\xef\xbb\xbf"), "z\ufeff");
  EXPECT_EQ(decoded("windows-1252", "\xef\xbb\xbf"), "ï»¿");
  EXPECT_EQ(decoded("utf-8", "\xef\xbb\xbfz", {.ignore_bom = true}), "\ufeffz");
  EXPECT_EQ(decoded("utf-16le", "\xff\xfe"sv, {.ignore_bom = true}), "\ufeff");
}

TEST(TextDecoder, knows_the_mark_when_it_comes_in_pieces) {
  EXPECT_EQ(pieces("utf-8", {"\xef", "\xbb", "\xbf", "z\xef\xbb\xbf"}), (texts{"", "", "", "z\ufeff"}));
  EXPECT_EQ(pieces("utf-16be", {"", "\xfe", "\xff", "\xfe\xff"}), (texts{"", "", "", "\ufeff"}));
  EXPECT_EQ(pieces("utf-8", {"\xef\xbb", "z"}), (texts{"", "\ufffdz"}));
}

TEST(TextDecoder, may_be_used_again_after_the_end) {
  text_decoder decoder;
  EXPECT_EQ(decoder.decode(bytes_of("\xef\xbb\xbf\xe2")), "\ufffd");
  EXPECT_EQ(decoder.decode(bytes_of("\xef\xbb\xbfz")), "z") << "which begins anew";
  EXPECT_EQ(decoder.decode(), "");
}

TEST(TextDecoder, reads_every_byte_of_the_encodings_of_one) {
  std::string all(256, ' ');
  for (std::size_t i = 0; i < 256; ++i) all[i] = static_cast<char>(i);
  const struct {
    std::string_view label, byte, text;
  } table[] = {
      {"windows-1252", "\x80\x81\x9f\xa0\xff", "€\u0081Ÿ\u00a0ÿ"},
      {"ibm866", "\x80\xb0\xff", "А░\u00a0"},
      {"iso-8859-2", "\xa1\xff", "Ą˙"},
      {"iso-8859-8", "\xe0\xdf\xfe", "\u05d0‗\u200f"},
      {"iso-8859-16", "\xa4\xaa\xff", "€Șÿ"},
      {"koi8-r", "\x80\xa3\xc1\xff", "─ёаЪ"},
      {"koi8-u", "\xae\xb4\xbe", "ўЄЎ"},
      {"macintosh", "\x80\xdb\xf0\xff", "Ä€\uf8ffˇ"},
      {"windows-874", "\x80\xa1\xdb\xdf", "€\u0e01\ufffd\u0e3f"},
      {"windows-1251", "\x80\x98\xff", "Ђ\u0098я"},
      {"windows-1253", "\xaa\xc1\xff", "\ufffdΑ\ufffd"},
      {"windows-1255", "\xca\xd9\xe0", "\u05ba\ufffd\u05d0"},
      {"windows-1256", "\x81\xff", "\u067e\u06d2"},
      {"windows-1257", "\xa1\xff", "\ufffd˙"},
      {"x-mac-cyrillic", "\x80\xa2\xff", "АҐ€"},
      {"x-user-defined", "\x7f\x80\xff", "\x7f\uf780\uf7ff"},
  };
  for (const auto& row : table) {
    EXPECT_EQ(decoded(row.label, row.byte), row.text) << row.label;
    EXPECT_EQ(decoded(row.label, all).substr(0, 128), all.substr(0, 128)) << row.label;
  }
}

// Cut at every two places, each piece in a block of its own size.
TEST(TextDecoder, gives_the_same_text_wherever_the_bytes_are_cut) {
  const std::string bytes =
      "\xef\xbb\xbf"
      "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff\xe2\x82"
      "b\xed\xa0\x80\xf0\x9f\xf4\x90=\xd8\x42\xde\xd8=\xde\x42\xc2";
  for (auto label : {"utf-8", "utf-16le", "utf-16be", "windows-1252", "windows-1253"}) {
    const auto whole = decoded(label, bytes);
    for (std::size_t i = 0; i <= bytes.size(); ++i) {
      for (std::size_t j = i; j <= bytes.size(); ++j) {
        const auto cut = pieces(label, {std::string_view(bytes).substr(0, i), std::string_view(bytes).substr(i, j - i),
                                        std::string_view(bytes).substr(j)});
        ASSERT_EQ(cut[0] + cut[1] + cut[2], whole) << label << " " << i << " " << j;
      }
    }
  }
}

TEST(TextDecoder, reads_long_texts_with_pairs_at_every_place) {
  for (std::size_t before = 500; before < 520; ++before) {
    std::string big, little, text;
    const auto add = [&](char high, char low) {
      big += {high, low};
      little += {low, high};
    };
    for (std::size_t i = 0; i < before; ++i) add(0, 'a');
    text.assign(before, 'a');
    for (int i = 0; i < 600; ++i) {
      add('\xd8', '\x3d');
      add('\xde', '\x00');
      text += "\U0001f600";
    }
    ASSERT_EQ(decoded("utf-16be", big, {.fatal = true}), text) << before;
    ASSERT_EQ(decoded("utf-16le", little, {.fatal = true}), text) << before;
    add('\xd8', '\x3d');
    add(0, 'z');
    ASSERT_EQ(decoded("utf-16be", big), text + "\ufffdz") << before;
  }
}

TEST(TextDecoder, reads_long_runs_of_bytes_above_ascii) {
  for (std::size_t count : {63, 64, 65, 1000}) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += "€";
    EXPECT_EQ(decoded("latin1", std::string(count, '\x80') + "z"), text + "z");
  }
}

TEST(TextDecoder, agrees_with_the_encodings_of_buffers) {
  std::mt19937 random(7);
  constexpr std::string_view alphabet = "az\x80\xbf\xc2\xe0\xa0\xe2\x82\xed\xf0\x90\xf4\x8f\xff\xd8\xdc";
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 40, ' ');
    for (auto& each : bytes) each = alphabet[random() % alphabet.size()];
    const auto text = to_text(bytes_of(bytes));
    ASSERT_EQ(decoded("utf-8", bytes, {.ignore_bom = true}), text);
    const bool refused = code_of([&] { (void)decoded("utf-8", bytes, {.fatal = true}); }) == invalid;
    ASSERT_EQ(refused, !is_utf8(bytes_of(bytes)));
    if (bytes.size() % 2 != 0) continue;
    const auto wide = to_text(bytes_of(bytes), encoding::utf16le);
    ASSERT_EQ(decoded("utf-16le", bytes, {.ignore_bom = true}), wide);
    for (std::size_t i = 0; i < bytes.size(); i += 2) std::swap(bytes[i], bytes[i + 1]);
    ASSERT_EQ(decoded("utf-16be", bytes, {.ignore_bom = true}), wide);
  }
}

}  // namespace
}  // namespace weir
