// tests/support/parser_story.hpp: what an HTTP parser tells about an input, as text, and that it tells the same however
// the input is cut: whole, byte by byte and at every position, with and without the short way for plain heads, each
// piece in a block of its own that is gone before the next comes.
#pragma once

#include <weir/net/http_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace weir::testing {

/// How a test looks at its parser.
template <class Parser>
struct story_teller {
  std::function<std::string(Parser&)> head;           ///< the line for a head; may steer the parser
  std::function<void(Parser&)> begin = [](auto&) {};  ///< before the first byte
};

/// One line per event; pieces of a body run together.
template <class Parser, class Options>
class parser_story {
 public:
  parser_story(const Options& options, const story_teller<Parser>& teller) : parser_(options), teller_(teller) {
    teller_.begin(parser_);
  }

  void feed(std::string_view piece) {
    if (switched_) text_ += piece;
    if (over_) return;
    const auto block = std::make_unique<char[]>(piece.size());  // so that a sanitizer sees every step outside
    std::copy(piece.begin(), piece.end(), block.get());
    std::string_view input(block.get(), piece.size());
    while (!over_ && tell(parser_.next(input), input)) {
    }
  }

  void eof() {
    end_body();
    if (over_) return;
    const net::http::event last = parser_.finish();
    if (last == net::http::event::error) tell_failure();
    if (last == net::http::event::message_end) tell_end();
  }

  const std::string& text() const { return text_; }

 private:
  bool tell(net::http::event e, std::string_view input) {
    using net::http::event;
    if (e == event::need_more) {
      EXPECT_TRUE(input.empty());
      return false;
    }
    if (e == event::body) {
      text_ += in_body_ ? "" : "body ";
      text_ += parser_.body();
      in_body_ = true;
      return true;
    }
    end_body();
    if (e == event::head) text_ += teller_.head(parser_) + "\n";
    if (e == event::message_end) tell_end();
    if (e == event::error) tell_failure();
    if (e == event::closed) text_ += "closed\n";
    if (e == event::switched) text_ += "switched " + std::string(input);
    switched_ = e == event::switched;
    over_ = switched_ || e == event::error || e == event::closed;
    return true;
  }

  void end_body() {
    if (in_body_) text_ += "\n";
    in_body_ = false;
  }

  void tell_end() {
    text_ += "end";
    for (const net::http::header& h : parser_.trailers()) {
      text_ += " [" + std::string(h.name) + "=" + std::string(h.value) + "]";
    }
    text_ += "\n";
  }

  void tell_failure() {
    EXPECT_FALSE(parser_.failure().reason.empty());
    text_ += std::string(parser_.failure().name) + " " + std::to_string(parser_.failure().status) + "\n";
  }

  Parser parser_;
  story_teller<Parser> teller_;
  std::string text_;
  bool in_body_ = false;
  bool over_ = false;
  bool switched_ = false;
};

/// The story of an input that comes as `first` bytes, then pieces of `step`.
template <class Parser, class Options>
std::string told(std::string_view input, std::size_t first, std::size_t step, const Options& options,
                 const story_teller<Parser>& teller) {
  parser_story<Parser, Options> story(options, teller);
  for (std::size_t at = 0; at < input.size();) {
    const std::size_t size = at == 0 && first != 0 ? first : step;
    story.feed(input.substr(at, size));
    at += size;
  }
  story.eof();
  return story.text();
}

/// The story of the input, the same for every way to cut it.
template <class Parser, class Options>
std::string tell(std::string_view input, Options options, const story_teller<Parser>& teller) {
  const std::string whole = told<Parser>(input, 0, input.size(), options, teller);
  for (const bool plain : {true, false}) {
    options.plain_heads = plain;
    EXPECT_EQ(whole, told<Parser>(input, 0, input.size(), options, teller)) << "plain_heads=" << plain;
    EXPECT_EQ(whole, told<Parser>(input, 0, 1, options, teller)) << "byte by byte, plain_heads=" << plain;
    const std::size_t step = 1 + input.size() / 3000;  // every position of all but the largest inputs
    for (std::size_t cut = 1; cut < input.size(); cut += step) {
      const std::string parts = told<Parser>(input, cut, input.size(), options, teller);
      EXPECT_EQ(whole, parts) << "cut at " << cut << ", plain_heads=" << plain;
      if (whole != parts) break;
    }
  }
  return whole;
}

}  // namespace weir::testing
