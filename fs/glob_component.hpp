// fs/glob_component.hpp: one component of a glob pattern, compiled, and what it matches. Private to fs. Plain names are
// compared, stars are searched for, and what has groups becomes an automaton that is run backwards over the name, so
// that nothing takes more than the product of both lengths, negations included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs::detail {

struct component_rules {
  bool dot;
  bool ignore_case;
  bool extended;
  bool escapes;
};

/// A set of characters: [a-z[:digit:]], negated or not.
struct character_set {
  struct range {
    char32_t first, last;
  };
  bool negated = false;
  std::uint32_t classes = 0;  // bits of the named classes
  std::vector<range> ranges;

  bool has(char32_t c, bool ignore_case) const noexcept;
};

class glob_component {
 public:
  glob_component(std::string_view glob, const component_rules& rules);

  bool is_literal() const noexcept { return kind_ == kind::literal; }
  bool is_globstar() const noexcept { return kind_ == kind::globstar; }
  bool is_empty() const noexcept { return is_literal() && pieces_.front().empty(); }
  /// The name it stands for, if it is literal.
  const std::string& literal() const noexcept { return pieces_.front(); }

  /// Whether it matches a whole component; of `**`, whether that may be one of the components it stands for.
  bool matches(std::string_view name) const;

 private:
  friend class component_parser;
  friend class automaton_builder;

  enum class kind : std::uint8_t { literal, globstar, pieces, items, automaton };

  enum class what : std::uint8_t { character, any, star, set, group };
  struct item {
    what is;
    char32_t character = 0;
    std::uint32_t index = 0;  // of a set or group
  };

  enum class step : std::uint8_t {
    accept,     // at the end of the name
    character,  // one character, then a
    any,
    set,
    either,        // a or b
    repeat,        // a (what follows) or b (the body, whose states are those behind this one, up to `end`)
    no_dot,        // not before a dot
    no_traversal,  // not at the start of "." and ".."
    unless,        // a does not match from here to the end, and b does
    alternatives,  // marks states that depend on nothing outside but what follows them in the name, up to `end`
  };
  struct state {
    step is;
    std::uint32_t a = 0, b = 0;
    std::uint32_t end = 0;
    char32_t character = 0;  // or the index of a set
  };

  bool may_start(std::string_view name) const noexcept;
  bool matches_pieces(std::string_view name) const noexcept;
  bool matches_items(std::string_view name) const noexcept;
  bool matches_automaton(std::string_view name) const;
  bool takes(const item& one, char32_t c) const noexcept;

  kind kind_ = kind::literal;
  bool ignore_case_ = false;
  bool wild_ = false;        // there is more in it than characters
  bool guards_dot_ = false;  // a wildcard comes first and must not take a dot
  bool dot_ = false;
  std::vector<std::string> pieces_;  // between stars, or the literal
  std::vector<item> items_;
  std::vector<character_set> sets_;
  std::vector<state> states_;
  std::uint32_t start_ = 0;
};

}  // namespace weir::fs::detail
