// tests/fuzz/http_story.hpp: what a parser of HTTP tells about an input, as text, for targets that hold ways to cut the
// input and ways to read it against each other. Checks that every view lies where it may.
#pragma once

#include <tests/fuzz/input.hpp>
#include <weir/net/http_parser.hpp>
#include <weir/net/http_response_parser.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace weir::fuzzing {

inline bool within(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

inline std::string told(const net::http::header_list& list, std::string_view raw) {
  std::string text;
  for (const net::http::header& h : list) {
    if (!raw.empty()) require(within(h.name, raw) && within(h.value, raw));
    require(net::http::is_token(h.name) && net::http::is_field_value(h.value));
    text.append("[").append(h.name).append("=").append(h.value).append("]");
  }
  return text;
}

inline char flag(bool on, char letter) { return on ? letter : '-'; }

inline std::string told(const net::http::request_head& head) {
  require(within(head.target, head.raw) && within(head.method_text, head.raw) && !head.target.empty());
  require(!(head.chunked && head.has_content_length));
  const net::http::stored_request copy(head);
  require(copy.head().raw == head.raw && copy.head().target == head.target);
  const std::string_view host = net::http::authority_of(head);
  require(host.empty() || within(host, head.raw));
  std::string text(net::http::name_of(head.method));
  text.append(" ").append(head.target).append(" ").append(host).append(" ");
  for (const char c :
       {static_cast<char>('0' + static_cast<int>(head.version)), static_cast<char>('0' + static_cast<int>(head.form)),
        flag(head.chunked, 'c'), flag(head.has_content_length, 'l'), flag(head.keep_alive, 'k'),
        flag(head.upgrade, 'u'), flag(head.expect_continue, 'e'), flag(head.expect_unsupported, 'x')}) {
    text += c;
  }
  return text + std::to_string(head.content_length) + told(head.headers, head.raw) + "\n";
}

inline std::string told(const net::http::received_head& head) {
  require(within(head.reason, head.raw) && net::http::is_field_value(head.reason));
  require(head.status >= 100 && head.status <= 999);
  require(!(head.chunked && head.has_content_length));
  require(!head.until_close || (head.has_body && !head.chunked && !head.has_content_length && !head.keep_alive));
  require(!(head.interim() || head.upgrade) || !head.has_body);
  std::string text = std::to_string(head.status) + " " + std::string(head.reason) + " ";
  for (const char c : {static_cast<char>('0' + static_cast<int>(head.version)), flag(head.chunked, 'c'),
                       flag(head.has_content_length, 'l'), flag(head.has_body, 'b'), flag(head.until_close, 'e'),
                       flag(head.keep_alive, 'k'), flag(head.upgrade, 'u'), flag(head.interim(), 'i')}) {
    text += c;
  }
  return text + std::to_string(head.content_length) + told(head.headers, head.raw) + "\n";
}

/// Takes input in pieces, each in a block of its own which is gone afterwards. `steer` is called at each head.
template <class Parser, class Options, class Steer>
class story {
 public:
  story(const Options& options, const Steer& steer) : parser_(options), steer_(steer) { steer_.begin(parser_); }

  void feed(std::string_view piece) {
    const auto block = std::make_unique<char[]>(piece.size());
    std::copy(piece.begin(), piece.end(), block.get());
    std::string_view input(block.get(), piece.size());
    while (!over_ && step(input)) {
    }
    if (switched_) text_ += input;
  }

  std::string finish() {
    if (over_) return text_;
    const net::http::event last = parser_.finish();
    if (last == net::http::event::error) text_ += parser_.failure().name;
    if (last == net::http::event::message_end) text_ += "\nlast end";
    return text_;
  }

 private:
  bool step(std::string_view& input) {
    const std::string_view before = input;
    const net::http::event event = parser_.next(input);
    require(before.ends_with(input));
    switch (event) {
      case net::http::event::need_more: require(input.empty()); return false;
      case net::http::event::body:
        require(!parser_.body().empty() && within(parser_.body(), before));
        text_ += parser_.body();
        return true;
      case net::http::event::head:
        text_ += told(parser_.head());
        steer_.head(parser_);
        parser_.keep_head();
        return true;
      case net::http::event::message_end: text_ += "\nend " + told(parser_.trailers(), {}) + "\n"; return true;
      case net::http::event::error:
        require(parser_.failure().status >= 400 && !parser_.failure().reason.empty());
        text_ += "\n" + std::string(parser_.failure().name) + std::to_string(parser_.failure().status);
        break;
      case net::http::event::closed: text_ += "closed"; break;
      case net::http::event::switched: switched_ = true; break;
    }
    over_ = true;
    return false;
  }

  Parser parser_;
  Steer steer_;
  std::string text_;
  bool over_ = false;
  bool switched_ = false;
};

/// The stories of the input whole, cut behind `first` bytes and then into pieces of `rest`, and read by llhttp alone.
template <class Parser, class Options, class Steer>
void compare(std::string_view input, std::size_t first, std::size_t rest, Options options, const Steer& steer) {
  story<Parser, Options, Steer> whole(options, steer);
  whole.feed(input);
  const std::string expected = whole.finish();

  story<Parser, Options, Steer> cut(options, steer);
  for (std::size_t at = 0; at < input.size();) {
    const std::size_t step = at == 0 && first != 0 ? first : rest;
    cut.feed(input.substr(at, step));
    at += std::min(step, input.size() - at);
  }
  require(cut.finish() == expected);

  options.plain_heads = false;
  story<Parser, Options, Steer> slow(options, steer);
  slow.feed(input);
  require(slow.finish() == expected);
}

}  // namespace weir::fuzzing
