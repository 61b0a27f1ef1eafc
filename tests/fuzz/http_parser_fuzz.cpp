// tests/fuzz/http_parser_fuzz.cpp: whatever a peer sends and however it is cut, the parser of requests tells the same
// story, with llhttp asked about every head or only about those that are not plain. The first bytes choose limits,
// switches and cuts.
#include <tests/fuzz/http_story.hpp>

namespace {

namespace http = weir::net::http;

struct steering {
  bool switches;
  void begin(http::parser& /*p*/) const {}
  void head(http::parser& p) const {
    if (switches && p.head().upgrade) p.switch_protocols();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  http::parser_options options;
  if ((data[0] & 1) != 0)
    options = {.max_head = 200, .max_headers = 4, .max_target = 20, .max_body = 30, .max_chunk_extensions = 10};
  options.require_host = (data[0] & 2) == 0;
  options.check_host = (data[0] & 8) == 0;
  options.other_codings = (data[0] & 16) != 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  weir::fuzzing::compare<http::parser>(input, data[1], data[2] == 0 ? size : data[2], options,
                                       steering{(data[0] & 4) != 0});
  return 0;
}
