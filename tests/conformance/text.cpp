// tests/conformance/text.cpp: the operations that decode text from bytes that come in pieces.
#include "tests/conformance/driver.hpp"

#include <weir/core/string_decoder.hpp>

namespace weir::conformance {
namespace {

json decode_string(const arguments& a) {
  string_decoder decoder(parse_encoding(a.text(0)));
  json texts = json::array();
  for (const auto& each : a.pieces(1)) texts.push_back(decoder.write(each.bytes()));
  texts.push_back(decoder.end());
  return texts;
}

}  // namespace

void add_text(operations& all) { all.add("stringDecoder.decode", decode_string); }

}  // namespace weir::conformance
