// tests/conformance/text.cpp: the operations that decode text from bytes that come in pieces.
#include "tests/conformance/driver.hpp"

#include <weir/core/string_decoder.hpp>
#include <weir/core/text_decoder.hpp>

namespace weir::conformance {
namespace {

json decode_string(const arguments& a) {
  string_decoder decoder(parse_encoding(a.text(0)));
  json texts = json::array();
  for (const auto& each : a.pieces(1)) texts.push_back(decoder.write(each.bytes()));
  texts.push_back(decoder.end());
  return texts;
}

json decode_text(const arguments& a) {
  text_decoder decoder(a.text(0), {.fatal = is_set(a[1], "fatal"), .ignore_bom = is_set(a[1], "ignoreBOM")});
  json texts = json::array();
  const auto pieces = a.pieces(2);
  for (const auto& each : pieces) texts.push_back(decoder.decode(each.bytes(), {.stream = &each != &pieces.back()}));
  return texts;
}

}  // namespace

void add_text(operations& all) {
  all.add("stringDecoder.decode", decode_string);
  all.add("textDecoder.decode", decode_text);
}

}  // namespace weir::conformance
