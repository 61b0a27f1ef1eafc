// fs/glob_component.cpp: reads a component as minimatch does (groups first, with a rough idea of brackets, then
// characters and sets), and matches it.
#include <weir/fs/glob_component.hpp>

#include <weir/core/error.hpp>
#include <weir/core/utf8.hpp>

#include <algorithm>
#include <array>
#include <optional>

#include <locale.h>  // NOLINT: newlocale is POSIX's
#include <wctype.h>  // NOLINT: and so is iswctype_l

namespace weir::fs::detail {
namespace {

using std::string_view;

constexpr std::size_t max_nesting = 10;
constexpr std::size_t max_states = 5000;
constexpr std::uint32_t none = 0xffffffff;

/// The first character of a text that has one. A byte that is no UTF-8 is a character of its own, beyond Unicode.
struct decoded {
  char32_t character;
  std::size_t length;
};

decoded first_character(string_view text) noexcept {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return {lead, 1};
  const auto taken = weir::detail::decode_utf8(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  if (!taken.valid) return {0x110000U + lead, 1};
  return {taken.point, taken.length};
}

/// glibc's tables of Unicode, whatever the program's locale is.
locale_t unicode() noexcept {
  static const locale_t made = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return made;
}

char32_t fold(char32_t c) noexcept {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
  if (c > 0x10ffff || unicode() == nullptr) return c;
  return static_cast<char32_t>(::towlower_l(static_cast<wint_t>(c), unicode()));
}

char32_t raise(char32_t c) noexcept {
  if (c < 0x80) return c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c;
  if (c > 0x10ffff || unicode() == nullptr) return c;
  return static_cast<char32_t>(::towupper_l(static_cast<wint_t>(c), unicode()));
}

constexpr std::array<string_view, 14> class_names{"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
                                                  "lower", "print", "punct", "space", "upper", "word",  "xdigit"};

/// The class whose name stands at the start: "[:alpha:]".
std::optional<std::uint32_t> class_at(string_view text) noexcept {
  if (!text.starts_with("[:")) return std::nullopt;
  text.remove_prefix(2);
  for (std::uint32_t i = 0; i < class_names.size(); ++i)
    if (text.starts_with(class_names[i]) && text.substr(class_names[i].size()).starts_with(":]")) return i;
  return std::nullopt;
}

bool ascii_in_class(char c, string_view name) noexcept {
  const bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
  if (name == "alnum") return upper || lower || digit;
  if (name == "alpha") return upper || lower;
  if (name == "ascii") return true;
  if (name == "blank") return c == ' ' || c == '\t';
  if (name == "cntrl") return c < 0x20 || c == 0x7f;
  if (name == "digit") return digit;
  if (name == "graph") return c > 0x20 && c < 0x7f;
  if (name == "lower") return lower;
  if (name == "print") return c >= 0x20 && c < 0x7f;
  // As Unicode has it, where $ + < = > ^ ` | ~ are symbols.
  if (name == "punct") return c != '\0' && string_view("!\"#%&'()*,-./:;?@[\\]_{}").find(c) != string_view::npos;
  if (name == "space") return c == ' ' || (c >= '\t' && c <= '\r');
  if (name == "upper") return upper;
  if (name == "word") return upper || lower || digit || c == '_';
  return digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool in_class(char32_t c, std::uint32_t index) noexcept {
  const string_view name = class_names[index];
  if (c < 0x80) return ascii_in_class(static_cast<char>(c), name);
  if (c > 0x10ffff || unicode() == nullptr || name == "ascii" || name == "xdigit") return false;
  const char* const known = name == "word" ? "alnum" : name.data();
  return ::iswctype_l(static_cast<wint_t>(c), ::wctype_l(known, unicode()), unicode()) != 0;
}

/// A set as it stands in a pattern.
struct parsed_set {
  character_set set;
  std::size_t length = 0;          // of the text; 0 if it is no set
  bool impossible = false;         // nothing is in it, or it makes no sense: the component matches nothing
  std::optional<char32_t> single;  // it is a way to write one character
};

class set_parser {
 public:
  set_parser(string_view text, bool escapes) : text_(text), escapes_(escapes) {}

  parsed_set parse() {
    at_ = 1;
    if (at_ < text_.size() && (text_[at_] == '!' || text_[at_] == '^')) {
      made_.set.negated = true;
      ++at_;
    }
    for (bool first = true; at_ < text_.size(); first = false) {
      if (text_[at_] == ']' && !first) return finish();
      if (!take()) {
        made_.impossible = true;
        made_.length = text_.size();
        return made_;
      }
    }
    return {};
  }

 private:
  parsed_set finish() {
    made_.length = at_ + 1;
    const character_set& set = made_.set;
    made_.impossible = set.ranges.empty() && set.classes == 0;
    const bool one = set.ranges.size() == 1 && set.classes == 0 && !set.negated &&
                     set.ranges.front().first == set.ranges.front().last;
    if (one) made_.single = set.ranges.front().first;
    return made_;
  }

  /// @return false if it makes no sense
  bool take() {
    if (const auto named = class_at(text_.substr(at_))) {
      if (from_) return false;
      made_.set.classes |= 1U << *named;
      at_ += class_names[*named].size() + 4;
      return true;
    }
    if (escapes_ && text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
    const auto [c, length] = first_character(text_.substr(at_));
    at_ += length;
    if (from_) {
      if (c >= *from_) made_.set.ranges.push_back({*from_, c});
      from_.reset();
      return true;
    }
    const string_view rest = text_.substr(at_);
    if (rest.starts_with("-]")) {
      made_.set.ranges.push_back({c, c});
      made_.set.ranges.push_back({'-', '-'});
      ++at_;
      return true;
    }
    if (rest.starts_with('-')) {
      from_ = c;
      ++at_;
      return true;
    }
    made_.set.ranges.push_back({c, c});
    return true;
  }

  string_view text_;
  bool escapes_;
  std::size_t at_ = 0;
  std::optional<char32_t> from_;
  parsed_set made_;
};

error too_complicated(const char* why) {
  return {errc::err_invalid_arg_value, std::string("The glob pattern is too complicated: ") + why};
}

}  // namespace

bool character_set::has(char32_t c, bool ignore_case) const noexcept {
  const auto holds = [this](char32_t one) {
    for (const range& r : ranges)
      if (one >= r.first && one <= r.last) return true;
    for (std::uint32_t rest = classes, i = 0; rest != 0; rest >>= 1, ++i)
      if ((rest & 1) != 0 && in_class(one, i)) return true;
    return false;
  };
  const bool found = holds(c) || (ignore_case && (holds(fold(c)) || holds(raise(c))));
  return found != negated;
}

/// Reads a component into items and groups.
class component_parser {
 public:
  using item = glob_component::item;
  using what = glob_component::what;

  struct sequence {
    std::vector<item> items;
    bool impossible = false;
    bool only_stars() const noexcept {
      return !items.empty() && std::ranges::all_of(items, [](const item& i) { return i.is == what::star; });
    }
  };
  struct group {
    char type;
    std::vector<sequence> alternatives;
    bool is_blank() const noexcept { return alternatives.size() == 1 && alternatives.front().items.empty(); }
  };

  component_parser(string_view text, const component_rules& rules, glob_component& into)
      : text_(text), rules_(rules), into_(into) {}

  void parse() {
    std::size_t from = 0;
    brackets seen;
    for (std::size_t at = 0; at < text_.size(); ++at) {
      if (!seen.plain(text_, at, rules_.escapes) || !group_opens(at)) continue;
      append(root, text_.substr(from, at - from));
      const std::size_t end = parse_group(root, at, 1);
      if (end == 0) {
        // No group after all: from here on nothing is one.
        from = at;
        break;
      }
      from = end;
      at = end - 1;
    }
    append(root, text_.substr(from));
  }

  sequence root;
  std::vector<group> groups;

 private:
  /// Knows, roughly, what is escaped or in brackets.
  struct brackets {
    bool escaping = false, inside = false, negated = false;
    std::size_t opened = 0;

    /// Whether the character means something.
    bool plain(string_view text, std::size_t at, bool escapes) noexcept {
      const char c = text[at];
      if (escaping || (escapes && c == '\\')) {
        escaping = !escaping;
        return false;
      }
      if (inside) {
        if (at == opened + 1 && (c == '^' || c == '!')) {
          negated = true;
        } else if (c == ']' && at != opened + 1 && !(at == opened + 2 && negated)) {
          inside = false;
        }
        return false;
      }
      if (c != '[') return true;
      inside = true;
      negated = false;
      opened = at;
      return false;
    }
  };

  bool group_opens(std::size_t at) const noexcept {
    return rules_.extended && string_view("!?+*@").find(text_[at]) != string_view::npos &&
           text_.substr(at + 1).starts_with('(');
  }

  /// @return where the group ends, or 0 if it does not
  std::size_t parse_group(sequence& into, std::size_t start, std::size_t depth) {
    if (depth > max_nesting) throw too_complicated("parentheses more than 10 deep");
    group made{text_[start], {}};
    sequence current;
    brackets seen;
    std::size_t from = start + 2;
    for (std::size_t at = from; at < text_.size(); ++at) {
      if (!seen.plain(text_, at, rules_.escapes)) continue;
      const char c = text_[at];
      if (group_opens(at)) {
        append(current, text_.substr(from, at - from));
        const std::size_t end = parse_group(current, at, depth + 1);
        if (end == 0) return 0;
        from = end;
        at = end - 1;
      } else if (c == '|' || c == ')') {
        append(current, text_.substr(from, at - from));
        from = at + 1;
        made.alternatives.push_back(std::move(current));
        current = {};
        if (c == '|') continue;
        into.items.push_back({what::group, 0, static_cast<std::uint32_t>(groups.size())});
        groups.push_back(std::move(made));
        return from;
      }
    }
    return 0;
  }

  void append(sequence& into, string_view text) {
    while (!text.empty()) {
      const char c = text.front();
      if (c == '*') {
        if (into.items.empty() || into.items.back().is != what::star) into.items.push_back({what::star});
        text.remove_prefix(1);
      } else if (c == '?') {
        into.items.push_back({what::any});
        text.remove_prefix(1);
      } else if (c != '[' || !append_set(into, text)) {
        if (c == '\\' && rules_.escapes && text.size() > 1) text.remove_prefix(1);
        const auto [character, length] = first_character(text);
        into.items.push_back({what::character, character});
        text.remove_prefix(length);
      }
    }
  }

  bool append_set(sequence& into, string_view& text) {
    parsed_set found = set_parser(text, rules_.escapes).parse();
    if (found.length == 0) return false;
    text.remove_prefix(found.length);
    if (found.impossible) into.impossible = true;
    if (found.single) {
      into.items.push_back({what::character, *found.single});
    } else {
      into.items.push_back({what::set, 0, static_cast<std::uint32_t>(into_.sets_.size())});
      into_.sets_.push_back(std::move(found.set));
    }
    return true;
  }

  string_view text_;
  const component_rules& rules_;
  glob_component& into_;
};

/// Makes the automaton from the end to the start: each state knows those that follow it.
class automaton_builder {
 public:
  using item = glob_component::item;
  using what = glob_component::what;
  using step = glob_component::step;
  using sequence = component_parser::sequence;
  using group = component_parser::group;

  automaton_builder(const component_parser& from, const component_rules& rules, glob_component& into)
      : from_(from), rules_(rules), into_(into) {}

  void build() {
    const std::uint32_t accept = add({step::accept});
    into_.start_ = put(from_.root, {accept, accept}, {true, true, rules_.dot});
  }

 private:
  /// What follows: as it may be repeated, and for a negation, which looks at what is behind its group only.
  struct follow {
    std::uint32_t next, after;
  };
  struct place {
    bool at_start;  // nothing but negations before it in the component
    bool at_end;
    bool dot;  // a wildcard at the start may take a dot
  };

  std::uint32_t add(const glob_component::state& one) {
    if (into_.states_.size() == max_states) throw too_complicated("more than 5000 states");
    into_.states_.push_back(one);
    return static_cast<std::uint32_t>(into_.states_.size() - 1);
  }

  static bool is_wild(const item& i) noexcept { return i.is == what::star || i.is == what::any || i.is == what::set; }
  bool negates(const item& i) const noexcept { return i.is == what::group && from_.groups[i.index].type == '!'; }
  bool has_negation(const sequence& s) const noexcept {
    return std::ranges::any_of(s.items, [this](const item& i) {
      return i.is == what::group && (negates(i) || std::ranges::any_of(from_.groups[i.index].alternatives,
                                                                       [this](auto& a) { return has_negation(a); }));
    });
  }

  std::uint32_t put(const sequence& s, follow behind, place where) {
    const bool two_ways = has_negation(s) && (behind.next != behind.after || where.at_start);
    const bool plain = std::ranges::none_of(s.items, [](const item& i) { return i.is == what::group; });
    // minimatch: `!(a)*` matches "a", the negation taking nothing of it.
    const bool after_all = two_ways && where.at_start && where.at_end && s.items.size() == 2 && negates(s.items[0]) &&
                           s.items[1].is == what::star;
    for (std::size_t i = s.items.size(); i-- > 0;) {
      const item& one = s.items[i];
      const place here{where.at_start && std::all_of(s.items.begin(), s.items.begin() + static_cast<std::ptrdiff_t>(i),
                                                     [this](const item& before) { return negates(before); }),
                       where.at_end && i + 1 == s.items.size(), where.dot};
      const bool not_empty = plain && where.at_start && where.at_end && s.only_stars();
      const std::uint32_t next = put(one, behind, here, not_empty);
      // What a negation looks at has its group before it, and so is not at the start.
      const place later{false, here.at_end, here.dot};
      behind.after = two_ways ? put(one, {behind.after, behind.after}, later, not_empty || after_all) : next;
      behind.next = next;
    }
    if (s.impossible) return add({step::either, none, none});
    return where.at_start ? guard(s, behind.next, where.dot) : behind.next;
  }

  std::uint32_t guard(const sequence& s, std::uint32_t next, bool dot) {
    const auto is_dot = [&](std::size_t i) { return s.items[i].is == what::character && s.items[i].character == '.'; };
    const auto wild = [&](std::size_t i) { return i < s.items.size() && is_wild(s.items[i]); };
    if (s.items.empty()) return next;
    const bool after_dots = is_dot(0) && (wild(1) || (s.items.size() > 1 && is_dot(1) && wild(2)));
    if (after_dots || (dot && wild(0))) return add({step::no_traversal, next});
    return wild(0) ? add({step::no_dot, next}) : next;
  }

  std::uint32_t put(const item& one, follow behind, place where, bool not_empty) {
    switch (one.is) {
      case what::character: return add({step::character, behind.next, 0, 0, one.character});
      case what::any: return add({step::any, behind.next});
      case what::set: return add({step::set, behind.next, 0, 0, one.index});
      case what::star: return put_star(behind.next, not_empty);
      case what::group: return put_group(from_.groups[one.index], behind, where);
    }
    return behind.next;
  }

  std::uint32_t put_star(std::uint32_t next, bool not_empty) {
    const std::uint32_t more = add({step::any});
    const std::uint32_t star = add({step::either, next, more});
    into_.states_[more].a = star;
    return not_empty ? more : star;
  }

  std::uint32_t put_alternatives(const group& g, follow behind, place where) {
    std::uint32_t made = none;
    for (const sequence& s : g.alternatives) {
      // No component is empty, so what is all of one does not match nothing.
      if (g.type != '!' && where.at_start && where.at_end && s.items.empty()) continue;
      const std::uint32_t one = put(s, behind, where);
      made = made == none ? one : add({step::either, made, one});
    }
    return made == none ? add({step::either, none, none}) : made;
  }

  std::uint32_t put_group(const group& g, follow behind, place where) {
    if (g.type == '!') return put_negation(g, behind, where);
    if (g.type == '@') return put_alternatives(g, behind, where);
    if (g.type == '?') return add({step::either, behind.next, put_alternatives(g, behind, where)});

    const std::uint32_t loop = add({step::repeat, behind.next});
    place within = where;
    within.dot = within.dot || where.at_start;
    const std::uint32_t body = put_alternatives(g, {loop, behind.after}, within);
    into_.states_[loop].b = body;
    into_.states_[loop].end = static_cast<std::uint32_t>(into_.states_.size());
    if (!where.at_start || where.dot) {
      if (g.type == '*') return loop;
      return body;
    }
    // Only the first time round may a wildcard not take a dot.
    const std::uint32_t first = put_alternatives(g, {loop, behind.after}, where);
    return g.type == '*' ? add({step::either, behind.next, first}) : first;
  }

  std::uint32_t put_negation(const group& g, follow behind, place where) {
    if (g.is_blank()) {
      const std::uint32_t star = put_star(behind.next, true);
      return where.at_start && !rules_.dot ? add({step::no_dot, star}) : star;
    }
    const std::uint32_t mark = add({step::alternatives});
    place within = where;
    within.at_end = true;
    const std::uint32_t refused = put_alternatives(g, {behind.after, behind.after}, within);
    into_.states_[mark].end = static_cast<std::uint32_t>(into_.states_.size());
    std::uint32_t rest = put_star(behind.next, false);
    if (where.at_start && !where.dot) rest = add({step::no_dot, rest});
    return add({step::unless, refused, rest});
  }

  const component_parser& from_;
  const component_rules& rules_;
  glob_component& into_;
};

namespace {

void append_character(std::string& to, char32_t c) {
  if (c >= 0x110000) {
    to += static_cast<char>(c - 0x110000);
    return;
  }
  char encoded[4];
  to.append(encoded, weir::detail::encode_utf8(c, encoded));
}

}  // namespace

glob_component::glob_component(string_view glob, const component_rules& rules)
    : ignore_case_(rules.ignore_case), dot_(rules.dot) {
  if (glob == "**") {
    kind_ = kind::globstar;
    return;
  }
  component_parser parser(glob, rules, *this);
  parser.parse();
  items_ = std::move(parser.root.items);
  const auto is_blank = [&](const item& i) {
    return i.is == what::group && parser.groups[i.index].type != '!' &&
           std::ranges::all_of(parser.groups[i.index].alternatives, [](auto& a) { return a.items.empty(); });
  };
  if (items_.size() == 1 && is_blank(items_.front())) {
    // "@()" alone matches nothing but itself.
    pieces_.assign(1, std::string(glob));
    return;
  }
  if (std::ranges::any_of(items_, [](const item& i) { return i.is == what::group; }) || parser.root.impossible) {
    parser.root.items = std::move(items_);
    items_.clear();
    kind_ = kind::automaton;
    automaton_builder(parser, rules, *this).build();
    return;
  }
  const auto is = [](what one) { return [one](const item& i) { return i.is == one; }; };
  wild_ = !std::ranges::all_of(items_, is(what::character));
  guards_dot_ = wild_ && !dot_ && items_.front().is != what::character;
  if (ignore_case_ && !items_.empty()) {
    for (item& i : items_) i.character = fold(i.character);
    kind_ = kind::items;
    return;
  }
  if (wild_ &&
      !std::ranges::all_of(items_, [](const item& i) { return i.is == what::character || i.is == what::star; })) {
    kind_ = kind::items;
    return;
  }
  kind_ = wild_ ? kind::pieces : kind::literal;
  pieces_.resize(1);
  for (const item& i : items_) {
    if (i.is == what::star) {
      pieces_.emplace_back();
    } else {
      append_character(pieces_.back(), i.character);
    }
  }
  items_.clear();
}

bool glob_component::matches(string_view name) const {
  switch (kind_) {
    case kind::literal: return name == pieces_.front();
    case kind::globstar: return dot_ ? name != "." && name != ".." : !name.starts_with('.');
    case kind::pieces: return may_start(name) && matches_pieces(name);
    case kind::items: return may_start(name) && matches_items(name);
    case kind::automaton: return matches_automaton(name);
  }
  return false;
}

bool glob_component::may_start(string_view name) const noexcept {
  if (guards_dot_) return !name.starts_with('.');
  return !wild_ || (name != "." && name != "..");
}

bool glob_component::matches_pieces(string_view name) const noexcept {
  const string_view first = pieces_.front(), last = pieces_.back();
  if (name.size() < first.size() + last.size()) return false;
  if (!name.starts_with(first) || !name.ends_with(last)) return false;
  if (first.empty() && last.empty() && pieces_.size() == 2) return !name.empty();
  name = name.substr(first.size(), name.size() - first.size() - last.size());
  for (std::size_t i = 1; i + 1 < pieces_.size(); ++i) {
    const std::size_t at = name.find(pieces_[i]);
    if (at == string_view::npos) return false;
    name.remove_prefix(at + pieces_[i].size());
  }
  return true;
}

bool glob_component::takes(const item& one, char32_t c) const noexcept {
  switch (one.is) {
    case what::character: return one.character == (ignore_case_ ? fold(c) : c);
    case what::set: return sets_[one.index].has(c, ignore_case_);
    default: return true;
  }
}

bool glob_component::matches_items(string_view name) const noexcept {
  // A star takes as little as it can; when what follows fails, the last one takes one character more.
  std::size_t at = 0, item_at = 0, star_item = items_.size(), star_at = 0;
  while (at < name.size()) {
    if (item_at < items_.size() && items_[item_at].is == what::star) {
      star_item = item_at++;
      star_at = at;
      continue;
    }
    const auto [c, length] = first_character(name.substr(at));
    if (item_at < items_.size() && takes(items_[item_at], c)) {
      ++item_at;
      at += length;
      continue;
    }
    if (star_item == items_.size()) return false;
    star_at += first_character(name.substr(star_at)).length;
    at = star_at;
    item_at = star_item + 1;
  }
  const bool empty = name.empty();
  while (item_at < items_.size() && items_[item_at].is == what::star) ++item_at;
  return item_at == items_.size() && !(empty && !items_.empty());
}

namespace {

/// The characters of a name, for going backwards.
std::u32string characters(string_view name) {
  std::u32string made;
  made.reserve(name.size());
  while (!name.empty()) {
    const auto [c, length] = first_character(name);
    made += c;
    name.remove_prefix(length);
  }
  return made;
}

}  // namespace

bool glob_component::matches_automaton(string_view name) const {
  const std::u32string text = characters(name);
  const bool is_traversal = name == "." || name == "..";
  const std::size_t count = states_.size();
  // For each state: whether the rest of the text can be matched from it, here and one character on.
  std::vector<char> here(count), later(count);
  std::size_t at = text.size();

  const auto holds = [&](std::uint32_t s) { return s != none && here[s] != 0; };
  const auto value = [&](const state& s) -> bool {
    const bool more = at < text.size();
    switch (s.is) {
      case step::accept: return !more;
      case step::character:
        return more && later[s.a] != 0 &&
               (ignore_case_ ? fold(s.character) == fold(text[at]) : s.character == text[at]);
      case step::any: return more && later[s.a] != 0;
      case step::set: return more && later[s.a] != 0 && sets_[s.character].has(text[at], ignore_case_);
      case step::either:
      case step::repeat: return holds(s.a) || holds(s.b);
      case step::no_dot: return !(more && text[at] == '.') && holds(s.a);
      case step::no_traversal: return !(at == 0 && is_traversal) && holds(s.a);
      case step::unless: return !holds(s.a) && holds(s.b);
      case step::alternatives: return false;
    }
    return false;
  };
  // A loop whose body matches nothing more comes back to itself at the same place: once that turns out to hold, what
  // is in the body and was found before has to be looked at again. Alternatives of a negation never depend on a loop.
  const auto settle = [&](std::size_t loop) {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = loop; i < states_[loop].end; ++i) {
        if (states_[i].is == step::alternatives) i = states_[i].end;
        const char found = value(states_[i]) ? 1 : 0;
        changed = changed || found != here[i];
        here[i] = found;
      }
    }
  };
  std::vector<std::size_t> open;  // loops whose body is being gone through
  for (;; --at) {
    for (std::size_t i = 0; i < count; ++i) {
      const state& s = states_[i];
      if (s.is == step::repeat) {
        here[i] = holds(s.a) ? 1 : 0;
        open.push_back(i);
      } else {
        here[i] = value(s) ? 1 : 0;
      }
      while (!open.empty() && states_[open.back()].end == i + 1) {
        const std::size_t loop = open.back();
        open.pop_back();
        if (here[loop] == 0 && holds(states_[loop].b)) settle(loop);
      }
    }
    if (at == 0) return here[start_] != 0;
    std::swap(here, later);
  }
}

}  // namespace weir::fs::detail
