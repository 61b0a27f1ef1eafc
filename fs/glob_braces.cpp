// fs/glob_braces.cpp: one group after the other, from the left, what is inside of one expanded first.
#include <weir/fs/glob_braces.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include <fmt/format.h>

namespace weir::fs::detail {
namespace {

using std::string_view;
using texts = std::vector<std::string>;

// A NUL byte, which no pattern has, and a letter stand for a character that is no syntax here.
struct stand_in {
  string_view code;
  string_view plain;
};
constexpr stand_in dead_open{{"\0f", 2}, "{"};
constexpr stand_in dead_close{{"\0e", 2}, "}"};
constexpr std::array escaped{stand_in{{"\0a", 2}, "\\{"}, stand_in{{"\0b", 2}, "\\}"}, stand_in{{"\0c", 2}, "\\,"},
                             stand_in{{"\0d", 2}, "\\."}};
constexpr std::array bracketed{stand_in{{"\0g", 2}, "[{]"}, stand_in{{"\0h", 2}, "[}]"}};

constexpr std::size_t max_depth = 100;
constexpr std::size_t max_characters = 4'000'000;
constexpr std::size_t max_work = 64'000'000;

error too_much(string_view why) {
  return {errc::err_invalid_arg_value, fmt::format("The glob pattern is too large: {}", why)};
}

const stand_in* one_at_start(string_view text, std::span<const stand_in> of) noexcept {
  const auto found = std::ranges::find_if(of, [text](const stand_in& one) { return text.starts_with(one.plain); });
  return found == of.end() ? nullptr : &*found;
}

std::string encode(string_view text, bool escapes) {
  std::string made;
  made.reserve(text.size() + 8);
  if (text.starts_with("{}")) {
    // bash: these two are always themselves, but only here.
    made.append(dead_open.code).append(dead_close.code);
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    const stand_in* one = nullptr;
    if (text.front() == '[') one = one_at_start(text, bracketed);
    if (escapes && text.front() == '\\') one = one_at_start(text, escaped);
    if (one != nullptr) {
      made += one->code;
      text.remove_prefix(one->plain.size());
      continue;
    }
    const std::size_t taken = escapes && text.front() == '\\' && text.size() > 1 ? 2 : 1;
    made += text.substr(0, taken);
    text.remove_prefix(taken);
  }
  return made;
}

string_view plain_of(char letter) noexcept {
  if (letter == 'f') return dead_open.plain;
  if (letter == 'e') return dead_close.plain;
  if (letter == 'g' || letter == 'h') return bracketed[letter == 'g' ? 0 : 1].plain;
  return escaped[static_cast<std::size_t>(letter - 'a')].plain;
}

std::string decode(string_view text) {
  std::string made;
  made.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0') {
      made += plain_of(text[++i]);
    } else {
      made += text[i];
    }
  }
  return made;
}

struct group {
  std::size_t open, close;
};

/// Of the pairs that belong together the one that opens first.
std::optional<group> first_group(string_view text) {
  std::vector<std::size_t> open;
  std::optional<group> best;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') open.push_back(i);
    if (text[i] != '}' || open.empty()) continue;
    const group found{open.back(), i};
    open.pop_back();
    if (open.empty() && (!best || found.open < best->open)) return found;
    if (!best || found.open < best->open) best = found;
  }
  return best;
}

texts split_commas(string_view body) {
  texts made(1);
  std::size_t depth = 0;
  for (char c : body) {
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (c == ',' && depth == 0) {
      made.emplace_back();
    } else {
      made.back() += c;
    }
  }
  return made;
}

/// `1..9`, `9..1..2`, `01..10`, `a..e`, `a..z..3`.
struct sequence {
  std::int64_t first = 0, last = 0, step = 1;
  std::size_t width = 0;  // padded with zeros to this
  bool letters = false;
};

std::optional<std::int64_t> whole_number(string_view text) noexcept {
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value < -1'000'000'000'000'000 || value > 1'000'000'000'000'000) return std::nullopt;
  return value;
}

bool is_padded(string_view number) noexcept {
  if (number.starts_with('-')) number.remove_prefix(1);
  return number.size() > 1 && number.front() == '0';
}

bool is_one_letter(string_view text) noexcept {
  return text.size() == 1 && ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z'));
}

std::optional<sequence> as_sequence(string_view body) noexcept {
  const std::size_t first_dots = body.find("..");
  if (first_dots == string_view::npos) return std::nullopt;
  const string_view first = body.substr(0, first_dots);
  string_view last = body.substr(first_dots + 2), step;
  const std::size_t more_dots = last.find("..");
  if (more_dots != string_view::npos) {
    step = last.substr(more_dots + 2);
    last = last.substr(0, more_dots);
  }
  sequence made;
  if (more_dots != string_view::npos) {
    const auto number = whole_number(step);
    if (!number) return std::nullopt;
    made.step = std::max<std::int64_t>(*number < 0 ? -*number : *number, 1);
  }
  if (is_one_letter(first) && is_one_letter(last)) {
    made.first = static_cast<unsigned char>(first[0]);
    made.last = static_cast<unsigned char>(last[0]);
    made.letters = true;
    return made;
  }
  const auto from = whole_number(first), to = whole_number(last);
  if (!from || !to) return std::nullopt;
  made.first = *from;
  made.last = *to;
  if (is_padded(first) || is_padded(last) || is_padded(step)) made.width = std::max(first.size(), last.size());
  return made;
}

std::string element(const sequence& of, std::int64_t value) {
  if (of.letters) return value == '\\' ? std::string() : std::string(1, static_cast<char>(value));
  return fmt::format("{:0{}}", value, of.width);
}

class expander {
 public:
  explicit expander(std::size_t max) : max_(max) {}

  texts expand(std::string text, bool top, std::size_t depth) {
    if (depth > max_depth) throw too_much("braces more than 100 deep");
    texts made(1);
    bool drop_empty = false, first = true;
    for (;;) {
      spend(text.size() + 1);
      const auto found = first_group(text);
      if (!found) return combine(made, text, {""}, drop_empty);
      const string_view all = text, pre = all.substr(0, found->open), post = all.substr(found->close + 1);
      const string_view body = all.substr(found->open + 1, found->close - found->open - 1);
      if (pre.ends_with('$')) {
        made = combine(made, all.substr(0, found->close + 1), {""}, drop_empty && post.empty());
      } else {
        const auto counted = as_sequence(body);
        if (!counted && body.find(',') == string_view::npos) {
          if (!closes_later(post)) return combine(made, text, {""}, drop_empty);
          // bash: in `{a},b}` the first brace belongs to the last.
          text = std::string(all.substr(0, found->close)).append(dead_close.code).append(post);
          top = true;
          continue;
        }
        if (first) drop_empty = top && !counted;
        const texts values = counted ? elements(*counted) : choices(body, depth);
        made = combine(made, pre, values, drop_empty && post.empty());
      }
      first = false;
      if (post.empty()) return made;
      text = std::string(post);
    }
  }

 private:
  void spend(std::size_t characters) {
    work_ += characters;
    if (work_ > max_work) throw too_much("braces that take too long to expand");
  }

  static bool closes_later(string_view post) noexcept {
    const std::size_t close = post.rfind('}');
    if (close == string_view::npos) return false;
    for (std::size_t i = 0; i < close; ++i)
      if (post[i] == ',' && post[i + 1] != ',') return true;
    return false;
  }

  texts elements(const sequence& of) {
    const std::int64_t distance = of.last > of.first ? of.last - of.first : of.first - of.last;
    const auto count = static_cast<std::uint64_t>(distance / of.step) + 1;
    if (count > max_) throw too_many();
    texts made;
    made.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::int64_t way = static_cast<std::int64_t>(i) * of.step;
      made.push_back(element(of, of.last > of.first ? of.first + way : of.first - way));
    }
    return made;
  }

  texts choices(string_view body, std::size_t depth) {
    texts parts = split_commas(body);
    if (parts.size() == 1) {
      parts = expand(parts.front(), false, depth + 1);
      for (std::string& part : parts) {
        part.insert(part.begin(), '{');
        part += '}';
      }
    }
    texts made;
    for (const std::string& part : parts) {
      for (std::string& one : expand(part, false, depth + 1)) made.push_back(std::move(one));
      if (made.size() > max_) throw too_many();
    }
    return made;
  }

  texts combine(const texts& heads, string_view middle, const texts& tails, bool drop_empty) {
    texts made;
    std::size_t characters = 0;
    for (const std::string& head : heads) {
      for (const std::string& tail : tails) {
        const std::size_t size = head.size() + middle.size() + tail.size();
        if (drop_empty && size == 0) continue;
        if (made.size() == max_) throw too_many();
        characters += size;
        if (characters > max_characters) throw too_much("braces that make megabytes of it");
        spend(size + 1);
        made.emplace_back().reserve(size);
        made.back().append(head).append(middle).append(tail);
      }
    }
    return made;
  }

  error too_many() const { return too_much(fmt::format("braces that make more than {} patterns", max_)); }

  std::size_t max_;
  std::size_t work_ = 0;
};

}  // namespace

std::vector<std::string> expand_braces(std::string_view text, bool escapes, std::size_t max) {
  if (text.find('{') == string_view::npos || text.find('}') == string_view::npos) return {std::string(text)};
  texts made = expander(max).expand(encode(text, escapes), true, 0);
  for (std::string& one : made) one = decode(one);
  return made;
}

}  // namespace weir::fs::detail
