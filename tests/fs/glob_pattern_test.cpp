// tests/fs/glob_pattern_test.cpp: what glob patterns match, by the rules of minimatch, what a walk may leave out
// because of one, and that hostile ones cost little.
#include <weir/fs/glob_pattern.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::fs {
namespace {

using std::string_view;

bool matches(string_view path, string_view pattern, glob_options options = {}) {
  return glob_pattern(pattern, options).matches(path);
}

struct example {
  string_view pattern;
  std::vector<string_view> matching;
  std::vector<string_view> others;
};

void check(const std::vector<example>& examples, glob_options options = {}) {
  for (const example& e : examples) {
    const glob_pattern pattern(e.pattern, options);
    for (string_view path : e.matching) EXPECT_TRUE(pattern.matches(path)) << e.pattern << " and " << path;
    for (string_view path : e.others) EXPECT_FALSE(pattern.matches(path)) << e.pattern << " but not " << path;
  }
}

TEST(GlobPattern, matches_within_a_component_with_stars_and_question_marks) {
  check({
      {"a", {"a", "a/", "x/../a"}, {"b", "", "a/b", "/a", "aa"}},
      {"", {""}, {"a", "/"}},
      {"/", {"/", "//"}, {"", "a"}},
      {"*", {"a", "abc", "a/"}, {"", ".a", "a/b", ".", "..", "/a"}},
      {"*.js", {"a.js", "b.c.js"}, {".js", "a.jsx", "a/b.js", "js"}},
      {"a*", {"a", "ab", "abc"}, {"b", "ba"}},
      {"a*b*c", {"abc", "axbxc", "abbcc", "abcbc"}, {"ac", "acb", "abcd"}},
      {"*a*", {"a", "xax", "aa"}, {"", "b", ".a"}},
      {"**a", {"a", "xa"}, {"x/a"}},
      {"?", {"a", "\u00e9", "\U0001f600", "\xff"}, {"", "ab", ".", "/"}},
      {"a?c", {"abc", "a.c"}, {"ac", "abbc", "a/c"}},
      {"??*", {"ab", "abc"}, {"a", ".b"}},
      {"*?b", {"ab", "aab", "bb"}, {"b", ".ab"}},
      {"a/*/c", {"a/b/c", "a//b/c", "a/./b/c"}, {"a/c", "a/b/b/c", "a/.b/c"}},
      {"a/*/", {"a/b/"}, {"a/b", "a/"}},
  });
}

TEST(GlobPattern, takes_a_dot_in_front_only_for_a_dot) {
  check({
      {".*", {".a", "..a", "..."}, {"a", ".", ".."}},
      {".a*", {".a", ".ab"}, {"a"}},
      {"[.]a", {".a"}, {"a"}},
      {"[.a]b", {"ab"}, {".b"}},
      {"?a", {"xa"}, {".a"}},
      {"..*", {"..a"}, {"..", ".a"}},
      {"**/x", {"x", "a/x", "a/b/x"}, {".a/x", "a/.b/x"}},
      {"**/.x", {".x", "a/.x"}, {".a/.x"}},
      {"@(*|.b)", {"a", ".b"}, {".a"}},
      {"*(?)", {"a", "a.b", "x.y"}, {".a"}},
      {"!(a)", {"b", "aa"}, {"a", ".b"}},
  });
  const glob_options dot{.dot = true};
  check(
      {
          {"*", {"a", ".a", "..a"}, {".", ".."}},
          {"?", {"a"}, {"."}},
          {"**/x", {".a/x", "a/.b/x"}, {"../x"}},
          {"**", {".a", "a/.b"}, {"..", "../a"}},
          {"!(a)", {".b", "b"}, {"a"}},
          {"*.a", {".a", "..a"}, {}},
      },
      dot);
}

TEST(GlobPattern, goes_across_components_with_two_stars) {
  check({
      {"**", {"a", "a/b", "/a/b", "a/", ""}, {".a", "a/.b/c"}},
      {"a/**", {"a/b", "a/b/c", "a/"}, {"a", "b/a", "a/.b"}},
      {"a/**/b", {"a/b", "a/x/b", "a/x/y/b", "a/b/"}, {"a", "ab", "a/b/c"}},
      {"**/*.cpp", {"a.cpp", "x/a.cpp", "x/y/a.cpp"}, {"a.hpp", "x/.a.cpp"}},
      {"**/a/**/b/**", {"a/b/c", "x/a/y/b/z", "a/a/b/b/b"}, {"a/b", "b/a", "a/x/b"}},
      {"**/**/a", {"a", "x/a", "x/y/a"}, {}},
      {"a/**/", {"a/", "a/b/"}, {"a", "a/b"}},
      {"a/**/.b/**/c", {"a/.b/c", "a/x/.b/y/c"}, {"a/b/c", "a/.x/.b/c"}},
      {"/**/a", {"/a", "/x/a"}, {"a"}},
      {"a**/b", {"a/b", "ax/b"}, {"a/x/b"}},
      {"**/a/*/b", {"a/a/x/b", "a/a/b", "a/a/a/b"}, {"a/b", "a/x/y/b"}},
  });
  check({{"a/**/b", {"a/x/b"}, {"a/b", "a/x/y/b"}}}, {.globstar = false});
}

TEST(GlobPattern, reads_sets_of_characters) {
  check({
      {"[abc]", {"a", "c"}, {"d", "ab", ""}},
      {"[a-c]x", {"ax", "cx"}, {"dx", "x"}},
      {"[!a-c]", {"d", "A"}, {"b", "."}},
      {"[^a-c]", {"d"}, {"a"}},
      {"[]a]", {"]", "a"}, {"b"}},
      {"[!]a]", {"b"}, {"]", "a"}},
      {"[a-]", {"a", "-"}, {"b"}},
      {"[-a]", {"a", "-"}, {"b"}},
      {"[a", {"[a"}, {"a"}},
      {"[]", {"[]"}, {}},
      {"[!]", {"[!]"}, {"a"}},
      {"[z-a]", {}, {"a", "z", "m"}},
      {"[z-ab]", {"b"}, {"a", "z"}},
      {"[*]", {"*"}, {"a"}},
      {"[\u00e0-\u00ff]x", {"\u00e9x"}, {"ex"}},
      {"x[!a]", {"x.", "xb"}, {"xa", "x/"}},
      {"[\\]]", {"]"}, {"\\"}},
  });
}

TEST(GlobPattern, knows_the_named_classes_in_all_scripts) {
  check({
      {"[[:alpha:]]", {"a", "Z", "\u00e9", "\u6f22"}, {"1", "_"}},
      {"[[:digit:]]x", {"5x"}, {"ax"}},
      {"[![:digit:]]", {"a"}, {"5"}},
      {"[[:upper:][:digit:]_]", {"A", "1", "_", "\u00c9"}, {"a", "\u00e9"}},
      {"[[:xdigit:]][[:xdigit:]]", {"fF", "09"}, {"fg"}},
      {"[[:space:]]", {" ", "\t"}, {"a"}},
      {"[[:punct:]]x", {"!x", "_x"}, {"ax", "$x"}},
      {"[[:word:]]", {"a", "_", "1"}, {"-"}},
      {"[[:alnum:]-]", {"-", "a"}, {"+"}},
      {"[[:nosuch:]]", {":]", "n]"}, {"a"}},
      {"[a-[:alpha:]]", {}, {"a", "b"}},
      {"[[:graph:]]", {"a", "!"}, {" "}},
      {"[[:print:]]", {"a", " "}, {"\x01"}},
      {"[[:cntrl:]]", {"\x01"}, {"a"}},
      {"[[:blank:]]", {" ", "\t"}, {"\n"}},
      {"[[:lower:]]", {"a"}, {"A"}},
      {"[[:ascii:]]", {"a"}, {"\u00e9"}},
  });
}

TEST(GlobPattern, expands_braces_as_bash_does) {
  check({
      {"a{b,c}d", {"abd", "acd"}, {"ad", "abcd", "a{b,c}d"}},
      {"{a,b/c}.x", {"a.x", "b/c.x"}, {"b.x"}},
      {"a{b,}c", {"abc", "ac"}, {"a"}},
      {"{a,{b,c}d}", {"a", "bd", "cd"}, {"b", "ad"}},
      {"{1..3}", {"1", "2", "3"}, {"0", "4", "1..3"}},
      {"{3..1}", {"1", "2", "3"}, {"4"}},
      {"{01..10..3}", {"01", "04", "07", "10"}, {"1", "4", "02"}},
      {"{-1..1}", {"-1", "0", "1"}, {}},
      {"{a..e..2}", {"a", "c", "e"}, {"b"}},
      {"{a}", {"{a}"}, {"a"}},
      {"{}", {"{}"}, {""}},
      {"a{2..}b", {"a{2..}b"}, {"a2b"}},
      {"{a,b", {"{a,b"}, {"a"}},
      {"a,b}", {"a,b}"}, {"a"}},
      {"{a},b}", {"a}", "b"}, {"a"}},
      {"${a,b}", {"${a,b}"}, {"$a"}},
      {"x{{a,b}}y", {"x{a}y", "x{b}y"}, {"xay"}},
      {"{a,b}{1,2}", {"a1", "b2"}, {"ab"}},
      {"a\\{b,c}", {"a{b,c}"}, {"ab"}},
      {"{a\\,b,c}", {"a,b", "c"}, {"a"}},
      {"*.{js,ts}{,x}", {"a.js", "a.tsx"}, {"a.x"}},
  });
  check({{"{a,b}", {"{a,b}"}, {"a"}}}, {.braces = false});
}

TEST(GlobPattern, knows_groups) {
  check({
      {"@(a|b)c", {"ac", "bc"}, {"c", "abc"}},
      {"?(a|b)c", {"ac", "bc", "c"}, {"abc"}},
      {"*(a|b)c", {"c", "ac", "abbac"}, {"axc"}},
      {"+(a|b)c", {"ac", "abc"}, {"c"}},
      {"!(a|b)", {"c", "ab", "aa"}, {"a", "b"}},
      {"!(a)b", {"b", "bb", "aab"}, {"ab"}},
      {"*.!(js|ts)", {"a.c", "a.js.c"}, {"a.js", "a.ts", "a"}},
      {"!(*.js)", {"a.ts", "js"}, {"a.js"}},
      {"x!(a)y", {"xy", "xby"}, {"xay"}},
      {"+(a|+(b|c))", {"abcab", "c"}, {"", "d"}},
      {"@(a*|?b)c", {"axxc", "xbc"}, {"xc"}},
      {"*(a|ab)(c)", {"aab(c)"}, {"aabc"}},
      {"@(a|)", {"a"}, {}},
      {"@()", {"@()"}, {"a"}},
      {"!()", {"a", "abc"}, {"", ".a"}},
      {"@(a", {"@(a"}, {"a"}},
      {"@([|)a]b)c", {"|bc", ")bc", "abc"}, {"bc"}},
      {"@(!(a)b|c)", {"c", "xb", "b"}, {"ab", "a"}},
      {"*(!(a)x)", {"xx", "bx"}, {"b"}},
      {"!(!(a))", {"a"}, {"b"}},
      {"a/@(b|c)/d", {"a/b/d", "a/c/d"}, {"a/d"}},
      {"**/!(*.test).js", {"a.js", "x/b.js"}, {"a.test.js", "x/b.test.js"}},
      {"*(\u00e9|?)", {"\u00e9\u00e9", "ab"}, {}},
  });
  check({{"@(a|b)", {"@(a|b)"}, {"a"}}}, {.extended = false});
}

TEST(GlobPattern, takes_the_meaning_from_what_a_backslash_precedes) {
  check({
      {"\\*", {"*"}, {"a", "\\*"}},
      {"a\\?b", {"a?b"}, {"axb"}},
      {"\\[a]", {"[a]"}, {"a"}},
      {"@\\(a)", {"@(a)"}, {"a"}},
      {"a\\\\b", {"a\\b"}, {"ab"}},
      {"a\\", {"a\\"}, {"a"}},
      {"*\\.js", {"a.js"}, {"a.jsx", "ajs"}},
      {"@(a\\|b)", {"a|b"}, {"a", "b"}},
      {"\\a", {"a"}, {"\\a"}},
  });
  check({{"a\\*", {"a/b"}, {"a*", "a\\b"}}}, {.backslash_separates = true});
}

TEST(GlobPattern, resolves_dots_in_pattern_and_path) {
  check({
      {"a/../b", {"b", "a/../b", "x/../b"}, {"a/b"}},
      {"a/./b", {"a/b", "a/./b", "a//b"}, {}},
      {"*/../a", {"a"}, {"b/a"}},
      {"../a", {"../a"}, {"a"}},
      {"./a", {"./a"}, {"a"}},
      {"..", {".."}, {"a"}},
      {"**/../a/b", {"a/b", "x/a/b", "../a/b"}, {"a"}},
  });
}

TEST(GlobPattern, forgets_about_case_if_told) {
  const glob_options any_case{.ignore_case = true};
  check(
      {
          {"a*.JS", {"A.js", "abc.Js"}, {"b.js"}},
          {"README", {"readme", "ReadMe"}, {"read"}},
          {"[a-c]x", {"BX"}, {"DX"}},
          {"@(a|b)", {"A", "B"}, {"C"}},
          {"\u00c9", {"\u00e9"}, {"e"}},
          {".", {"."}, {}},
      },
      any_case);
}

TEST(GlobPattern, compares_the_last_component_alone_if_told) {
  const glob_options base{.match_base = true};
  check(
      {
          {"*.log", {"a.log", "x/y/a.log", "x/a.log/"}, {"a.log/b"}},
          {"x/*.log", {"x/a.log"}, {"y/x/a.log"}},
      },
      base);
  EXPECT_TRUE(glob_pattern("*.log", base).may_match_below("x/y"));
}

TEST(GlobPattern, knows_the_paths_of_windows) {
  const glob_options windows{.backslash_separates = true, .windows = true};
  check(
      {
          {"a\\*", {"a\\b", "a/b"}, {"a"}},
          {"C:/a/*", {"c:\\a\\b", "\\\\?\\C:\\a\\b", "C:/x/../a/b"}, {"D:\\a\\b"}},
          {"//?/C:/a", {"c:/a"}, {}},
          {"//server/share/*", {"\\\\server\\share\\a"}, {"\\server\\share\\a"}},
          {"C:/**", {"C:\\a\\b"}, {"C:\\.a"}},
      },
      windows);
}

TEST(GlobPattern, C0_PATH_17_allows_any_number_of_components_on_either_side_of_two_stars) {
  EXPECT_TRUE(matches("/home/me/docs/a.txt", "/home/**/a.txt"));
  EXPECT_TRUE(matches("/home/a.txt", "/home/**/a.txt"));
  EXPECT_FALSE(matches("/home/me/docs/b.txt", "/home/**/a.txt"));
}

TEST(GlobPattern, C0_PATH_19_takes_every_other_character_as_it_is) {
  for (string_view plain : {"a+b", "(a)", "a|b", "^a$", "a.b", "a#b", "x y", "a\nb", ")", "(", "a,b", "{", "!a", "#a"})
    EXPECT_TRUE(matches(plain, plain)) << plain;
  EXPECT_FALSE(matches("axb", "a.b"));
  EXPECT_FALSE(matches("aab", "a+b"));
}

TEST(GlobPattern, C0_PATH_20_does_not_mind_paths_deeper_than_itself) {
  EXPECT_FALSE(matches("a/b/c/d/e", "a/b"));
  EXPECT_FALSE(glob_pattern("a/b").may_match_below("a/b/c/d/e"));
}

TEST(GlobPattern, tells_a_walk_where_nothing_can_be_found) {
  const glob_pattern sources("src/**/*.cpp");
  EXPECT_TRUE(sources.may_match_below(""));
  EXPECT_TRUE(sources.may_match_below("."));
  EXPECT_TRUE(sources.may_match_below("src"));
  EXPECT_TRUE(sources.may_match_below("src/"));
  EXPECT_TRUE(sources.may_match_below("src/a/b"));
  EXPECT_FALSE(sources.may_match_below("src/.git"));
  EXPECT_FALSE(sources.may_match_below("include"));
  EXPECT_FALSE(sources.may_match_below("/"));

  const glob_pattern two("a/{b,c}/*");
  EXPECT_TRUE(two.may_match_below("a"));
  EXPECT_TRUE(two.may_match_below("a/c"));
  EXPECT_FALSE(two.may_match_below("a/d"));
  EXPECT_FALSE(two.may_match_below("a/b/x"));

  const glob_pattern absolute("/usr/*/x");
  EXPECT_TRUE(absolute.may_match_below("/"));
  EXPECT_TRUE(absolute.may_match_below("/usr"));
  EXPECT_TRUE(absolute.may_match_below("/usr/lib"));
  EXPECT_FALSE(absolute.may_match_below("/usr/lib/x"));
  EXPECT_FALSE(absolute.may_match_below(""));

  EXPECT_FALSE(glob_pattern("a/").may_match_below("a"));
  EXPECT_FALSE(glob_pattern("a").may_match_below("a"));
  EXPECT_TRUE(glob_pattern("a/**").may_match_below("a"));
}

TEST(GlobPattern, never_tells_a_walk_to_leave_out_what_matches) {
  const std::vector<string_view> parts{"a", "b", ".c", "ab"};
  std::vector<std::string> directories{""};
  for (std::size_t i = 0; i < directories.size() && directories.size() < 400; ++i)
    for (string_view part : parts)
      directories.push_back(directories[i].empty() ? std::string(part) : directories[i] + "/" + std::string(part));
  for (string_view text :
       {"**", "a/**", "**/b", "a/*/b", "*/.c/**/a", "**/a/**/b", "{a,b/ab}/**/?", "!(a)/*", ".c/*"}) {
    const glob_pattern pattern(text);
    for (const std::string& path : directories) {
      if (path.empty() || !pattern.matches(path)) continue;
      const std::size_t slash = path.rfind('/');
      const std::string above = slash == std::string::npos ? "" : path.substr(0, slash);
      EXPECT_TRUE(pattern.may_match_below(above)) << text << " matches " << path;
    }
  }
}

TEST(GlobPattern, says_where_a_walk_has_to_start) {
  using list = std::vector<std::string>;
  EXPECT_EQ(glob_pattern("*.c").bases(), list{""});
  EXPECT_EQ(glob_pattern("src/lib/*.c").bases(), list{"src/lib"});
  EXPECT_EQ(glob_pattern("src/{a,b}/*.c").bases(), (list{"src/a", "src/b"}));
  EXPECT_EQ(glob_pattern("{src,src/a,x}/**").bases(), (list{"src", "x"}));
  EXPECT_EQ(glob_pattern("/usr/*/x").bases(), list{"/usr"});
  EXPECT_EQ(glob_pattern("/*").bases(), list{"/"});
  EXPECT_EQ(glob_pattern("../a/*").bases(), list{"../a"});
  EXPECT_EQ(glob_pattern("{*,../a/*,/b/*}").bases(), (list{"", "../a", "/b"}));
  EXPECT_EQ(glob_pattern("a/b").bases(), list{"a"});
  EXPECT_EQ(glob_pattern("a/b/").bases(), list{"a"});
  EXPECT_EQ(glob_pattern("a").bases(), list{""});
  EXPECT_EQ(glob_pattern("{ab,a}/*").bases(), (list{"a", "ab"}));
}

TEST(GlobPattern, knows_whether_it_is_a_plain_name) {
  EXPECT_FALSE(glob_pattern("a/b.c").has_wildcards());
  EXPECT_FALSE(glob_pattern("a/\\*").has_wildcards());
  EXPECT_TRUE(glob_pattern("a/*").has_wildcards());
  EXPECT_TRUE(glob_pattern("{a,b}").has_wildcards());
  EXPECT_TRUE(glob_pattern("a/**/b").has_wildcards());
  EXPECT_EQ(glob_pattern("a/*").text(), "a/*");
}

TEST(GlobPattern, matches_only_itself_once_escaped) {
  for (string_view plain : {"file*.txt", "file?.txt", "file[abc].txt", "folder/**/*.txt", "file{1,2}.txt", "?[]",
                            "@(a|b)", "{a,b}", "!(x)", "a[!b]c"}) {
    EXPECT_TRUE(matches(plain, glob_pattern::escape(plain))) << plain;
    EXPECT_FALSE(glob_pattern(glob_pattern::escape(plain)).has_wildcards()) << plain;
    const glob_options node{.backslash_separates = true};
    EXPECT_TRUE(matches(plain, glob_pattern::escape(plain, node), node)) << plain;
  }
  EXPECT_TRUE(matches("a\\b", glob_pattern::escape("a\\b")));
}

std::string repeated(string_view text, int count) {
  std::string made;
  for (int i = 0; i < count; ++i) made += text;
  return made;
}

TEST(GlobPattern, refuses_what_is_beyond_its_limits) {
  const auto refused = [](const std::string& pattern, glob_options options = {}) {
    try {
      static_cast<void>(glob_pattern(pattern, options));
      return false;
    } catch (const error& e) {
      return e.code() == errc::err_invalid_arg_value;
    }
  };
  EXPECT_TRUE(refused(std::string(65537, 'a')));
  EXPECT_FALSE(refused(std::string(65536, 'a')));
  EXPECT_TRUE(refused(std::string("a\0b", 3)));
  EXPECT_TRUE(refused("{1..10001}"));
  EXPECT_FALSE(refused("{1..10000}"));
  EXPECT_TRUE(refused("{1..3}", {.max_expansions = 2}));
  EXPECT_TRUE(refused("{1..999999999999}"));
  EXPECT_TRUE(refused(repeated("{a,b}", 100)));
  EXPECT_TRUE(refused(repeated("{a,", 200) + repeated("}", 200)));
  EXPECT_TRUE(refused(repeated("@(a", 20000)));
  EXPECT_TRUE(refused(repeated("*(a|", 11) + repeated(")", 11)));
  EXPECT_FALSE(refused(repeated("*(a|", 10) + repeated(")", 10)));
  EXPECT_TRUE(refused("!(" + repeated("ab*", 5000) + ")"));
  EXPECT_TRUE(refused(repeated("**/../a/b/", 100)));
}

// Each of these takes a backtracking matcher longer than anyone can wait. The bound is generous: it tells
// milliseconds from years, on any machine.
TEST(GlobPattern, costs_little_whoever_wrote_it) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string many_a(4000, 'a');
  EXPECT_FALSE(matches(many_a, repeated("*a", 100) + "b"));
  EXPECT_FALSE(matches(many_a, repeated("*?", 100) + "[b]"));
  EXPECT_FALSE(matches(many_a.substr(0, 300), "+(a|aa|+(a)|*(a*))b"));
  EXPECT_FALSE(matches(many_a.substr(0, 300), repeated("*(", 10) + "a" + repeated(")", 10) + "b"));
  EXPECT_TRUE(matches(many_a.substr(0, 300), repeated("*(", 10) + "a" + repeated(")", 10)));
  EXPECT_FALSE(matches(many_a.substr(0, 300), repeated("!(b)", 50) + "[c]"));
  EXPECT_FALSE(matches(many_a.substr(0, 300), repeated("!(", 10) + "a*" + repeated(")", 10) + "b"));
  EXPECT_FALSE(matches(repeated("a/", 500) + "c", repeated("**/a/", 200) + "b"));
  EXPECT_FALSE(glob_pattern(repeated("**/a/", 200) + "b/x").may_match_below(repeated("a/", 500) + ".c"));
  EXPECT_FALSE(matches("x", repeated("{a},", 2000)));
  EXPECT_FALSE(matches("x", repeated("{a}", 20000) + ",}"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

}  // namespace
}  // namespace weir::fs
