// tests/fuzz/http_parser_fuzz.cpp: whatever a peer sends and however it is cut, the parser tells the same story, with
// llhttp asked about every head or only about those that are not plain. The first bytes choose limits and cuts.
#include <weir/net/http_parser.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace {

namespace http = weir::net::http;

void require(bool holds) {
  if (!holds) std::abort();
}

bool within(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

std::string tell(const http::header_list& list, std::string_view raw) {
  std::string text;
  for (const http::header& h : list) {
    if (!raw.empty()) require(within(h.name, raw) && within(h.value, raw));
    require(http::is_token(h.name) && http::is_field_value(h.value));
    text.append("[").append(h.name).append("=").append(h.value).append("]");
  }
  return text;
}

std::string tell(const http::request_head& head) {
  require(within(head.target, head.raw) && within(head.method_text, head.raw) && !head.target.empty());
  require(!(head.chunked && head.has_content_length));
  const http::stored_request copy(head);
  require(copy.head().raw == head.raw && copy.head().target == head.target);
  const char flags[] = {static_cast<char>('0' + static_cast<int>(head.version)),
                        static_cast<char>('0' + static_cast<int>(head.form)),
                        head.chunked ? 'c' : '-',
                        head.has_content_length ? 'l' : '-',
                        head.keep_alive ? 'k' : '-',
                        head.upgrade ? 'u' : '-',
                        head.expect_continue      ? 'e'
                        : head.expect_unsupported ? 'x'
                                                  : '-'};
  return std::string(http::name_of(head.method)) + " " + std::string(head.target) + " " +
         std::string(flags, sizeof flags) + std::to_string(head.content_length) + tell(head.headers, head.raw) + "\n";
}

class reader {
 public:
  reader(const http::parser_options& options, bool switches) : parser_(options), switches_(switches) {}

  // Each piece lies in a block of its own, which is gone afterwards.
  void feed(std::string_view piece) {
    const auto block = std::make_unique<char[]>(piece.size());
    std::copy(piece.begin(), piece.end(), block.get());
    std::string_view input(block.get(), piece.size());
    while (!over_ && step(input)) {
    }
    if (switched_) story_ += input;
  }

  std::string finish() {
    if (!over_) story_ += parser_.finish() == http::event::error ? parser_.failure().name : "fine";
    return story_;
  }

 private:
  bool step(std::string_view& input) {
    const std::string_view before = input;
    const http::event event = parser_.next(input);
    require(before.ends_with(input));
    switch (event) {
      case http::event::need_more: require(input.empty()); return false;
      case http::event::body:
        require(!parser_.body().empty() && within(parser_.body(), before));
        story_ += parser_.body();
        return true;
      case http::event::head:
        story_ += tell(parser_.head());
        if (switches_ && parser_.head().upgrade) parser_.switch_protocols();
        parser_.keep_head();
        return true;
      case http::event::message_end: story_ += "\nend " + tell(parser_.trailers(), {}) + "\n"; return true;
      case http::event::error:
        require(parser_.failure().status >= 400);
        story_ += "\n" + std::string(parser_.failure().name) + std::to_string(parser_.failure().status);
        break;
      case http::event::closed: story_ += "closed"; break;
      case http::event::switched: switched_ = true; break;
    }
    over_ = true;
    return false;
  }

  http::parser parser_;
  std::string story_;
  bool switches_;
  bool over_ = false;
  bool switched_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  http::parser_options options;
  if ((data[0] & 1) != 0)
    options = {.max_head = 200, .max_headers = 4, .max_target = 20, .max_body = 30, .max_chunk_extensions = 10};
  options.require_host = (data[0] & 2) == 0;
  const bool switches = (data[0] & 4) != 0;
  const std::size_t first = data[1];
  const std::size_t rest = data[2] == 0 ? size : data[2];
  const std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);

  reader whole(options, switches);
  whole.feed(input);
  const std::string story = whole.finish();

  reader cut(options, switches);
  for (std::size_t at = 0; at < input.size();) {
    const std::size_t step = at == 0 && first != 0 ? first : rest;
    cut.feed(input.substr(at, step));
    at += std::min(step, input.size() - at);
  }
  require(cut.finish() == story);

  options.plain_heads = false;
  reader slow(options, switches);
  slow.feed(input);
  require(slow.finish() == story);
  return 0;
}
