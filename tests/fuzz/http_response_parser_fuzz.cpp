// tests/fuzz/http_response_parser_fuzz.cpp: whatever a server sends and however it is cut, the parser of responses
// tells the same story, with llhttp asked about every head or only about those that are not plain. The first bytes
// choose limits, what is asked, and cuts.
#include <tests/fuzz/http_story.hpp>

namespace {

namespace http = weir::net::http;

// What the responses answer: each bit pair of `requests` is one.
struct steering {
  unsigned requests;

  void begin(http::response_parser& p) {
    constexpr http::method asked[] = {http::method::get, http::method::head, http::method::connect, http::method::post};
    p.expect(asked[requests & 3]);
    requests >>= 2;
  }
  void head(http::response_parser& p) {
    if (!p.head().interim()) begin(p);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  http::response_parser_options options;
  if ((data[0] & 1) != 0) options = {.max_head = 200, .max_headers = 4, .max_body = 30, .max_chunk_extensions = 10};
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  weir::fuzzing::compare<http::response_parser>(input, data[1], data[2] == 0 ? size : data[2], options,
                                                steering{data[0] / 2u});
  return 0;
}
