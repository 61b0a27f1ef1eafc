// tests/fs/path_test.cpp: the functions of paths against Node's answers, on the edges of both systems and, where Node
// is installed, on thousands of random names; and that no path from a stranger leads out of its root.
#include <weir/fs/path.hpp>

#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

namespace weir::path {

void PrintTo(const parsed& p, std::ostream* to) {
  *to << "{" << p.root << "|" << p.dir << "|" << p.base << "|" << p.ext << "|" << p.name << "}";
}

namespace {

using std::string_view;

struct one_path {
  string_view input, normalized, dirname, basename, extname;
  bool absolute;
  parsed parts;
};

// What Node 20 answers.
const one_path posix_paths[] = {
    {"", ".", ".", "", "", false, {"", "", "", "", ""}},
    {".", ".", ".", ".", "", false, {"", "", ".", "", "."}},
    {"..", "..", ".", "..", "", false, {"", "", "..", "", ".."}},
    {"/", "/", "/", "", "", true, {"/", "/", "", "", ""}},
    {"//", "/", "/", "", "", true, {"/", "/", "", "", ""}},
    {"///", "/", "/", "", "", true, {"/", "/", "", "", ""}},
    {"a", "a", ".", "a", "", false, {"", "", "a", "", "a"}},
    {"a/", "a/", ".", "a", "", false, {"", "", "a", "", "a"}},
    {"/a", "/a", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"/a/", "/a/", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"//a", "/a", "//", "a", "", true, {"/", "/", "a", "", "a"}},
    {"//a//", "/a/", "//", "a", "", true, {"/", "/", "a", "", "a"}},
    {"a/b", "a/b", "a", "b", "", false, {"", "a", "b", "", "b"}},
    {"a//b", "a/b", "a/", "b", "", false, {"", "a/", "b", "", "b"}},
    {"a/./b", "a/b", "a/.", "b", "", false, {"", "a/.", "b", "", "b"}},
    {"a/../b", "b", "a/..", "b", "", false, {"", "a/..", "b", "", "b"}},
    {"a/..", ".", "a", "..", "", false, {"", "a", "..", "", ".."}},
    {"a/../", "./", "a", "..", "", false, {"", "a", "..", "", ".."}},
    {"../a", "../a", "..", "a", "", false, {"", "..", "a", "", "a"}},
    {"../../a", "../../a", "../..", "a", "", false, {"", "../..", "a", "", "a"}},
    {"./a", "a", ".", "a", "", false, {"", ".", "a", "", "a"}},
    {"./", "./", ".", ".", "", false, {"", "", ".", "", "."}},
    {"../", "../", ".", "..", "", false, {"", "", "..", "", ".."}},
    {"/..", "/", "/", "..", "", true, {"/", "/", "..", ".", "."}},
    {"/../a", "/a", "/..", "a", "", true, {"/", "/..", "a", "", "a"}},
    {"/.", "/", "/", ".", "", true, {"/", "/", ".", "", "."}},
    {"/a/../..", "/", "/a/..", "..", "", true, {"/", "/a/..", "..", "", ".."}},
    {"a/../..", "..", "a/..", "..", "", false, {"", "a/..", "..", "", ".."}},
    {"a/../../b/", "../b/", "a/../..", "b", "", false, {"", "a/../..", "b", "", "b"}},
    {".bashrc", ".bashrc", ".", ".bashrc", "", false, {"", "", ".bashrc", "", ".bashrc"}},
    {"a/.bashrc", "a/.bashrc", "a", ".bashrc", "", false, {"", "a", ".bashrc", "", ".bashrc"}},
    {"a.", "a.", ".", "a.", ".", false, {"", "", "a.", ".", "a"}},
    {"a.b", "a.b", ".", "a.b", ".b", false, {"", "", "a.b", ".b", "a"}},
    {"a.tar.gz", "a.tar.gz", ".", "a.tar.gz", ".gz", false, {"", "", "a.tar.gz", ".gz", "a.tar"}},
    {"...", "...", ".", "...", ".", false, {"", "", "...", ".", ".."}},
    {"..a", "..a", ".", "..a", ".a", false, {"", "", "..a", ".a", "."}},
    {"a..", "a..", ".", "a..", ".", false, {"", "", "a..", ".", "a."}},
    {"/a.b/", "/a.b/", "/", "a.b", ".b", true, {"/", "/", "a.b", ".b", "a"}},
    {"/a.b//", "/a.b/", "/", "a.b", ".b", true, {"/", "/", "a.b", ".b", "a"}},
    {"a/b.c/d", "a/b.c/d", "a/b.c", "d", "", false, {"", "a/b.c", "d", "", "d"}},
    {R"(a\b)", R"(a\b)", ".", R"(a\b)", "", false, {"", "", R"(a\b)", "", R"(a\b)"}},
    {R"(a\..\b)", R"(a\..\b)", ".", R"(a\..\b)", R"(.\b)", false, {"", "", R"(a\..\b)", R"(.\b)", R"(a\.)"}},
    {" ", " ", ".", " ", "", false, {"", "", " ", "", " "}},
    {" /a", " /a", " ", "a", "", false, {"", " ", "a", "", "a"}},
    {R"(C:\a)", R"(C:\a)", ".", R"(C:\a)", "", false, {"", "", R"(C:\a)", "", R"(C:\a)"}},
    {"/..a/", "/..a/", "/", "..a", ".a", true, {"/", "/", "..a", ".a", "."}},
    {"//..", "/", "//", "..", "", true, {"/", "/", "..", "", ".."}},
    {"a/...", "a/...", "a", "...", ".", false, {"", "a", "...", ".", ".."}},
    {".a.b", ".a.b", ".", ".a.b", ".b", false, {"", "", ".a.b", ".b", ".a"}},
    {"/a/..b", "/a/..b", "/a", "..b", ".b", true, {"/", "/a", "..b", ".b", "."}},
    {"//a/b", "/a/b", "//a", "b", "", true, {"/", "//a", "b", "", "b"}},
    {"/./a", "/a", "/.", "a", "", true, {"/", "/.", "a", "", "a"}},
    {"a/.", "a", "a", ".", "", false, {"", "a", ".", "", "."}},
    {"a/./", "a/", "a", ".", "", false, {"", "a", ".", "", "."}},
};

const one_path win32_paths[] = {
    {"", ".", ".", "", "", false, {"", "", "", "", ""}},
    {".", ".", ".", ".", "", false, {"", "", ".", "", "."}},
    {"..", "..", ".", "..", "", false, {"", "", "..", "", ".."}},
    {"/", R"(\)", "/", "", "", true, {"/", "/", "", "", ""}},
    {"//", R"(\)", "/", "", "", true, {"/", "/", "", "", ""}},
    {"///", R"(\)", "/", "", "", true, {"/", "/", "", "", ""}},
    {"a", "a", ".", "a", "", false, {"", "", "a", "", "a"}},
    {"a/", R"(a\)", ".", "a", "", false, {"", "", "a", "", "a"}},
    {"/a", R"(\a)", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"/a/", R"(\a\)", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"//a", R"(\a)", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"//a//", R"(\a\)", "/", "a", "", true, {"/", "/", "a", "", "a"}},
    {"a/b", R"(a\b)", "a", "b", "", false, {"", "a", "b", "", "b"}},
    {"a//b", R"(a\b)", "a/", "b", "", false, {"", "a/", "b", "", "b"}},
    {"a/./b", R"(a\b)", "a/.", "b", "", false, {"", "a/.", "b", "", "b"}},
    {"a/../b", "b", "a/..", "b", "", false, {"", "a/..", "b", "", "b"}},
    {"a/..", ".", "a", "..", "", false, {"", "a", "..", "", ".."}},
    {"a/../", R"(.\)", "a", "..", "", false, {"", "a", "..", "", ".."}},
    {"../a", R"(..\a)", "..", "a", "", false, {"", "..", "a", "", "a"}},
    {"../../a", R"(..\..\a)", "../..", "a", "", false, {"", "../..", "a", "", "a"}},
    {"./a", "a", ".", "a", "", false, {"", ".", "a", "", "a"}},
    {"./", R"(.\)", ".", ".", "", false, {"", "", ".", "", "."}},
    {"../", R"(..\)", ".", "..", "", false, {"", "", "..", "", ".."}},
    {"/..", R"(\)", "/", "..", "", true, {"/", "/", "..", "", ".."}},
    {"/../a", R"(\a)", "/..", "a", "", true, {"/", "/..", "a", "", "a"}},
    {"/.", R"(\)", "/", ".", "", true, {"/", "/", ".", "", "."}},
    {"/a/../..", R"(\)", "/a/..", "..", "", true, {"/", "/a/..", "..", "", ".."}},
    {"a/../..", "..", "a/..", "..", "", false, {"", "a/..", "..", "", ".."}},
    {"a/../../b/", R"(..\b\)", "a/../..", "b", "", false, {"", "a/../..", "b", "", "b"}},
    {".bashrc", ".bashrc", ".", ".bashrc", "", false, {"", "", ".bashrc", "", ".bashrc"}},
    {"a/.bashrc", R"(a\.bashrc)", "a", ".bashrc", "", false, {"", "a", ".bashrc", "", ".bashrc"}},
    {"a.", "a.", ".", "a.", ".", false, {"", "", "a.", ".", "a"}},
    {"a.b", "a.b", ".", "a.b", ".b", false, {"", "", "a.b", ".b", "a"}},
    {"a.tar.gz", "a.tar.gz", ".", "a.tar.gz", ".gz", false, {"", "", "a.tar.gz", ".gz", "a.tar"}},
    {"...", "...", ".", "...", ".", false, {"", "", "...", ".", ".."}},
    {"..a", "..a", ".", "..a", ".a", false, {"", "", "..a", ".a", "."}},
    {"a..", "a..", ".", "a..", ".", false, {"", "", "a..", ".", "a."}},
    {"/a.b/", R"(\a.b\)", "/", "a.b", ".b", true, {"/", "/", "a.b", ".b", "a"}},
    {"/a.b//", R"(\a.b\)", "/", "a.b", ".b", true, {"/", "/", "a.b", ".b", "a"}},
    {"a/b.c/d", R"(a\b.c\d)", "a/b.c", "d", "", false, {"", "a/b.c", "d", "", "d"}},
    {R"(a\b)", R"(a\b)", "a", "b", "", false, {"", "a", "b", "", "b"}},
    {R"(a\..\b)", "b", R"(a\..)", "b", "", false, {"", R"(a\..)", "b", "", "b"}},
    {" ", " ", ".", " ", "", false, {"", "", " ", "", " "}},
    {" /a", R"( \a)", " ", "a", "", false, {"", " ", "a", "", "a"}},
    {R"(C:\a)", R"(C:\a)", R"(C:\)", "a", "", true, {R"(C:\)", R"(C:\)", "a", "", "a"}},
    {"/..a/", R"(\..a\)", "/", "..a", ".a", true, {"/", "/", "..a", ".a", "."}},
    {"//..", R"(\)", "/", "..", "", true, {"/", "/", "..", "", ".."}},
    {"a/...", R"(a\...)", "a", "...", ".", false, {"", "a", "...", ".", ".."}},
    {".a.b", ".a.b", ".", ".a.b", ".b", false, {"", "", ".a.b", ".b", ".a"}},
    {"/a/..b", R"(\a\..b)", "/a", "..b", ".b", true, {"/", "/a", "..b", ".b", "."}},
    {"//a/b", R"(\\a\b\)", "//a/b", "b", "", true, {"//a/b", "//a/b", "", "", ""}},
    {"/./a", R"(\a)", "/.", "a", "", true, {"/", "/.", "a", "", "a"}},
    {"a/.", "a", "a", ".", "", false, {"", "a", ".", "", "."}},
    {"a/./", R"(a\)", "a", ".", "", false, {"", "a", ".", "", "."}},
    {"C:", "C:.", "C:", "", "", false, {"C:", "C:", "", "", ""}},
    {R"(C:\)", R"(C:\)", R"(C:\)", "", "", true, {R"(C:\)", R"(C:\)", "", "", ""}},
    {"C:/", R"(C:\)", "C:/", "", "", true, {"C:/", "C:/", "", "", ""}},
    {"c:a", "c:a", "c:", "a", "", false, {"c:", "c:", "a", "", "a"}},
    {R"(C:a\..)", "C:.", "C:a", "..", "", false, {"C:", "C:a", "..", "", ".."}},
    {"C:..", "C:..", "C:", "..", "", false, {"C:", "C:", "..", "", ".."}},
    {R"(C:\..\a)", R"(C:\a)", R"(C:\..)", "a", "", true, {R"(C:\)", R"(C:\..)", "a", "", "a"}},
    {R"(C:\a\..\..)", R"(C:\)", R"(C:\a\..)", "..", "", true, {R"(C:\)", R"(C:\a\..)", "..", "", ".."}},
    {"C:/a/b/", R"(C:\a\b\)", "C:/a", "b", "", true, {"C:/", "C:/a", "b", "", "b"}},
    {R"(\\)", R"(\)", R"(\)", "", "", true, {R"(\)", R"(\)", "", "", ""}},
    {R"(\\s)", R"(\s)", R"(\)", "s", "", true, {R"(\)", R"(\)", "s", "", "s"}},
    {R"(\\s\)", R"(\s\)", R"(\)", "s", "", true, {R"(\)", R"(\)", "s", "", "s"}},
    {R"(\\s\h)", R"(\\s\h\)", R"(\\s\h)", "h", "", true, {R"(\\s\h)", R"(\\s\h)", "", "", ""}},
    {R"(\\s\h\)", R"(\\s\h\)", R"(\\s\h\)", "h", "", true, {R"(\\s\h\)", R"(\\s\h\)", "", "", ""}},
    {R"(\\s\h\a)", R"(\\s\h\a)", R"(\\s\h\)", "a", "", true, {R"(\\s\h\)", R"(\\s\h\)", "a", "", "a"}},
    {R"(\\s\h\..\a)", R"(\\s\h\a)", R"(\\s\h\..)", "a", "", true, {R"(\\s\h\)", R"(\\s\h\..)", "a", "", "a"}},
    {"//s/h/a", R"(\\s\h\a)", "//s/h/", "a", "", true, {"//s/h/", "//s/h/", "a", "", "a"}},
    {"//s//h//a", R"(\\s\h\a)", "//s//h/", "a", "", true, {"//s//h/", "//s//h/", "a", "", "a"}},
    {R"(\\?\C:\a)", R"(\\?\C:\a)", R"(\\?\C:\)", "a", "", true, {R"(\\?\C:\)", R"(\\?\C:\)", "a", "", "a"}},
    {R"(\\.\COM1\a)", R"(\\.\COM1\a)", R"(\\.\COM1\)", "a", "", true, {R"(\\.\COM1\)", R"(\\.\COM1\)", "a", "", "a"}},
    {R"(\a)", R"(\a)", R"(\)", "a", "", true, {R"(\)", R"(\)", "a", "", "a"}},
    {R"(\a\)", R"(\a\)", R"(\)", "a", "", true, {R"(\)", R"(\)", "a", "", "a"}},
    {R"(a\b\)", R"(a\b\)", "a", "b", "", false, {"", "a", "b", "", "b"}},
    {R"(a/b\c)", R"(a\b\c)", "a/b", "c", "", false, {"", "a/b", "c", "", "c"}},
    {"CON", "CON", ".", "CON", "", false, {"", "", "CON", "", "CON"}},
    {"CON:", R"(.\CON:.)", ".", "CON:", "", false, {"", "", "CON:", "", "CON:"}},
    {"con:a", R"(.\con:a)", ".", "con:a", "", false, {"", "", "con:a", "", "con:a"}},
    {R"(nul:..\a)", R"(.\nul:..\a)", "nul:..", "a", "", false, {"", "nul:..", "a", "", "a"}},
    {R"(COM1:\a)", R"(.\COM1:a)", "COM1:", "a", "", false, {"", "COM1:", "a", "", "a"}},
    {"a:b", "a:b", "a:", "b", "", false, {"a:", "a:", "b", "", "b"}},
    {"./a:b", R"(.\a:b)", ".", "a:b", "", false, {"", ".", "a:b", "", "a:b"}},
    {"b/../C:/a", R"(.\C:\a)", "b/../C:", "a", "", false, {"", "b/../C:", "a", "", "a"}},
    {"a:", "a:.", "a:", "", "", false, {"a:", "a:", "", "", ""}},
    {"a:/", R"(a:\)", "a:/", "", "", true, {"a:/", "a:/", "", "", ""}},
    {R"(..\C:)", R"(.\..\C:)", "..", "C:", "", false, {"", "..", "C:", "", "C:"}},
    {R"(1:\a)", R"(.\1:\a)", "1:", "a", "", false, {"", "1:", "a", "", "a"}},
    {R"(C:a.b\)", R"(C:a.b\)", "C:", "a.b", ".b", false, {"C:", "C:", "a.b", ".b", "a"}},
    {"CONx", R"(.\CONx)", ".", "CONx", "", false, {"", "", "CONx", "", "CONx"}},
    {"aux:/x", R"(.\aux:x)", "aux:", "x", "", false, {"", "aux:", "x", "", "x"}},
};

struct way {
  string_view from, to, answer;
};

const way posix_ways[] = {
    {"/a/b", "/a/c", "../c"},
    {"/a/b", "/a", ".."},
    {"/a", "/a/b", "b"},
    {"/", "/a", "a"},
    {"/a", "/", ".."},
    {"/", "/", ""},
    {"/a/bc", "/a/b", "../b"},
    {"/a/b", "/a/bc", "../bc"},
    {"/a/b/c/d", "/x", "../../../../x"},
    {"/a", "/a/", ""},
    {"/foo/bar/baz-quux", "/foo/bar/baz", "../baz"},
};

const way win32_ways[] = {
    {R"(C:\a\b)", R"(C:\a\c)", R"(..\c)"},
    {R"(C:\a)", R"(D:\a)", R"(D:\a)"},
    {R"(C:\A\b)", R"(c:\a\C)", R"(..\C)"},
    {R"(C:\)", R"(C:\a)", "a"},
    {R"(C:\a)", R"(C:\)", ".."},
    {R"(\\s\h\a)", R"(\\s\h\b)", R"(..\b)"},
    {R"(\\s\h)", R"(\\s\h\b)", "b"},
    {R"(\\s\h\)", R"(\\t\h)", R"(\\t\h\)"},
    {R"(C:\a\bc)", R"(C:\a\b)", R"(..\b)"},
    {R"(\ab)", R"(\abc)", "c"},
    {R"(C:\a)", R"(\\s\h)", R"(\\s\h\)"},
    {R"(\\s\h\a\)", R"(\\s\h\)", ".."},
};

struct many {
  std::vector<string_view> parts;
  string_view answer;
};

const many posix_joins[] = {
    {{}, "."},
    {{""}, "."},
    {{"", ""}, "."},
    {{"a", "b"}, "a/b"},
    {{"a", "", "b"}, "a/b"},
    {{"", "/a"}, "/a"},
    {{"/", "a"}, "/a"},
    {{"/", "/a"}, "/a"},
    {{"a", "/b"}, "a/b"},
    {{"a", "../b"}, "b"},
    {{"a", "../../b"}, "../b"},
    {{"a/", "..", "..", "b/"}, "../b/"},
    {{".", ""}, "."},
    {{"./", "."}, "."},
    {{"//", "a"}, "/a"},
    {{"a", "."}, "a"},
    {{"..", "a"}, "../a"},
    {{"/", "..", "a"}, "/a"},
    {{" ", "."}, " "},
};

const many win32_joins[] = {
    {{}, "."},
    {{""}, "."},
    {{"a", "b"}, R"(a\b)"},
    {{"//", "a"}, R"(\a)"},
    {{"//s", "h"}, R"(\\s\h\)"},
    {{"//s/", "h", "a"}, R"(\\s\h\a)"},
    {{R"(\\)", "s", "h"}, R"(\s\h)"},
    {{"", "//s", "h"}, R"(\\s\h\)"},
    {{"/", "/s", "h"}, R"(\s\h)"},
    {{"C:", "a"}, R"(C:\a)"},
    {{"C:", R"(\a)"}, R"(C:\a)"},
    {{R"(C:\)", "..", "a"}, R"(C:\a)"},
    {{"///s", "h"}, R"(\s\h)"},
    {{"a", R"(C:\b)"}, R"(.\a\C:\b)"},
    {{"C:.", "a"}, "C:a"},
    {{"", "", R"(\\s\h\a)"}, R"(\\s\h\a)"},
    {{"b", "..", "C:"}, R"(.\C:)"},
};

const many posix_resolves[] = {
    {{"/a", "b"}, "/a/b"},
    {{"/a", "/b", "c"}, "/b/c"},
    {{"/a/", "../b/"}, "/b"},
    {{"/", ".."}, "/"},
    {{"/a", "", ""}, "/a"},
    {{"/a", "./b/.."}, "/a"},
    {{"/var/lib", "/../", "file/"}, "/file"},
    {{"/x", "a/../..", "y"}, "/y"},
};

const many win32_resolves[] = {
    {{R"(c:\a)", "C:b"}, R"(C:\a\b)"},       {{"C:/x", "D:/", "C:../y"}, R"(C:\y)"},
    {{R"(C:\a)", R"(\b)"}, R"(C:\b)"},       {{R"(\\s\h)", "a"}, R"(\\s\h\a)"},
    {{R"(\\s\h\a)", R"(\b)"}, R"(\\s\h\b)"}, {{R"(C:\)", ".."}, R"(C:\)"},
    {{"//s/h", "..", "a"}, R"(\\s\h\a)"},    {{R"(C:\a)", R"(..\..\b\)"}, R"(C:\b)"},
    {{"C:/x", "D:/", "C:../y"}, R"(C:\y)"},
};

TEST(PathPosix, answers_as_node_does_for_each_edge) {
  for (const one_path& p : posix_paths) {
    SCOPED_TRACE(p.input);
    EXPECT_EQ(posix::normalize(p.input), p.normalized);
    EXPECT_EQ(posix::dirname(p.input), p.dirname);
    EXPECT_EQ(posix::basename(p.input), p.basename);
    EXPECT_EQ(posix::extname(p.input), p.extname);
    EXPECT_EQ(posix::is_absolute(p.input), p.absolute);
    EXPECT_EQ(posix::parse(p.input), p.parts);
    EXPECT_EQ(posix::to_namespaced_path(p.input), p.input);
  }
  for (const way& w : posix_ways) EXPECT_EQ(posix::relative(w.from, w.to), w.answer) << w.from << " to " << w.to;
  for (const many& m : posix_joins) EXPECT_EQ(posix::join(std::span(m.parts)), m.answer);
  for (const many& m : posix_resolves) EXPECT_EQ(posix::resolve(std::span(m.parts)), m.answer);
}

TEST(PathWin32, answers_as_node_does_for_each_edge) {
  for (const one_path& p : win32_paths) {
    SCOPED_TRACE(p.input);
    EXPECT_EQ(win32::normalize(p.input), p.normalized);
    EXPECT_EQ(win32::dirname(p.input), p.dirname);
    EXPECT_EQ(win32::basename(p.input), p.basename);
    EXPECT_EQ(win32::extname(p.input), p.extname);
    EXPECT_EQ(win32::is_absolute(p.input), p.absolute);
    EXPECT_EQ(win32::parse(p.input), p.parts);
  }
  for (const way& w : win32_ways) EXPECT_EQ(win32::relative(w.from, w.to), w.answer) << w.from << " to " << w.to;
  for (const many& m : win32_joins) EXPECT_EQ(win32::join(std::span(m.parts)), m.answer);
  for (const many& m : win32_resolves) EXPECT_EQ(win32::resolve(std::span(m.parts)), m.answer);
}

TEST(Path, takes_parts_of_any_text_type) {
  const std::string first = "a";
  const string_view second = "b";
  EXPECT_EQ(join(first, second, "c"), "a/b/c");
  EXPECT_EQ(join({"a", "..", "b"}), "b");
  EXPECT_EQ(join(), ".");
  EXPECT_EQ(resolve("/a", first), "/a/a");
  EXPECT_EQ(resolve(), resolve("."));
}

TEST(Path, has_the_separators_of_each_system) {
  EXPECT_EQ(sep, '/');
  EXPECT_EQ(delimiter, ':');
  EXPECT_EQ(win32::sep, '\\');
  EXPECT_EQ(win32::delimiter, ';');
}

TEST(Path, resolves_against_the_working_directory) {
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(resolve("wwwroot", "static_files/png/", "../gif/image.gif"),
            join(here, "wwwroot/static_files/gif/image.gif"));
  EXPECT_EQ(resolve(""), here);
  EXPECT_EQ(relative("", "a/b"), "a/b");
  EXPECT_EQ(relative("a", "b"), "../b");
  EXPECT_EQ(relative(here, ""), "");
  EXPECT_EQ(is_inside("", "a"), true);
}

TEST(Path, joins_what_is_longer_than_any_room_on_the_stack) {
  const std::string name(5000, 'x');
  EXPECT_EQ(join(name, "..", name, name), name + "/" + name);
  EXPECT_EQ(relative("/" + name, "/" + name + "/" + name), name);
  EXPECT_EQ(win32::join(name, "..", name, name), name + "\\" + name);
  std::string deep, up;
  for (int i = 0; i < 5000; ++i) deep += "/d";
  for (int i = 0; i < 5000; ++i) up += i == 0 ? ".." : "/..";
  EXPECT_EQ(relative(deep, "/"), up);
  std::vector<string_view> parts(100, "c");
  parts.front() = "C:\\c";
  EXPECT_EQ(win32::resolve(std::span<const string_view>(parts)).size(), 2 + 2 * parts.size());
}

TEST(Path, walks_up_to_the_root_and_stays_there) {
  std::vector<std::string> seen;
  for (std::string at = "/a/b//c", up; seen.size() < 10; at = up) {
    up = dirname(at);
    seen.push_back(up);
    if (up == at) break;
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"/a/b/", "/a", "/", "/"}));
  EXPECT_EQ(dirname("a"), ".");
  EXPECT_EQ(dirname("."), ".");
  EXPECT_EQ(win32::dirname("C:\\"), "C:\\");
}

TEST(Path, takes_a_suffix_off_only_where_it_ends_the_name_and_is_not_all_of_it) {
  EXPECT_EQ(basename("/a/quux.html", ".html"), "quux");
  EXPECT_EQ(basename("/a/quux.HTML", ".html"), "quux.HTML");
  EXPECT_EQ(basename("a/.html", ".html"), ".html");
  EXPECT_EQ(basename(".html", ".html"), "");
  EXPECT_EQ(basename("aaa", "a"), "aa");
  EXPECT_EQ(basename("aaa/", "a"), "aa");
  EXPECT_EQ(basename("aaa", "aaaa"), "aaa");
  EXPECT_EQ(basename("a/b/", "bb"), "b/");  // Node
  EXPECT_EQ(basename("///", "a"), "///");   // Node
  EXPECT_EQ(win32::basename("C:\\quux.html", ".html"), "quux");
  EXPECT_EQ(win32::basename("C:", "C"), "");
}

TEST(Path, puts_together_what_was_taken_apart) {
  EXPECT_EQ(format({.dir = "/home/me", .base = "file.txt"}), "/home/me/file.txt");
  EXPECT_EQ(format({.root = "/", .base = "file.txt", .ext = "ignored"}), "/file.txt");
  EXPECT_EQ(format({.root = "/", .ext = ".txt", .name = "file"}), "/file.txt");
  EXPECT_EQ(format({.root = "/x", .dir = "/y", .ext = "txt", .name = "file"}), "/y/file.txt");
  EXPECT_EQ(format({.root = "/", .dir = "/", .base = "a"}), "/a");
  EXPECT_EQ(format({}), "");
  EXPECT_EQ(win32::format({.dir = "C:\\a", .base = "b"}), "C:\\a\\b");
  for (string_view whole : {"/a/b.c", "a/b", "/a", "a", "../a.b", "/a.b/c"}) EXPECT_EQ(format(parse(whole)), whole);
  for (string_view whole : {"C:\\a\\b.c", "\\\\s\\h\\a", "C:a", "a\\b"})
    EXPECT_EQ(win32::format(win32::parse(whole)), whole);
}

TEST(Path, names_files_of_windows_without_its_limit_of_length) {
  EXPECT_EQ(win32::to_namespaced_path("C:\\a\\..\\b"), "\\\\?\\C:\\b");
  EXPECT_EQ(win32::to_namespaced_path("//s/h/a"), "\\\\?\\UNC\\s\\h\\a");
  EXPECT_EQ(win32::to_namespaced_path("\\\\?\\C:\\a"), "\\\\?\\C:\\a");
  EXPECT_EQ(win32::to_namespaced_path("\\\\.\\pipe\\x"), "\\\\.\\pipe\\x");
  EXPECT_EQ(win32::to_namespaced_path(""), "");
}

TEST(Path, is_split_into_components_with_the_root_as_the_first) {
  using parts = std::vector<std::string>;
  EXPECT_EQ(split("/a//b/./c/"), (parts{"/", "a", "b", "c"}));
  EXPECT_EQ(split("a/../b"), (parts{"a", "..", "b"}));
  EXPECT_EQ(split(""), parts{});
  EXPECT_EQ(split("///"), parts{"/"});
  EXPECT_EQ(win32::split("C:/a\\b"), (parts{"C:\\", "a", "b"}));
  EXPECT_EQ(win32::split("//s/h/a"), (parts{"\\\\s\\h\\", "a"}));
  EXPECT_EQ(win32::split("C:a/b"), (parts{"C:", "a", "b"}));
}

TEST(Path, changes_to_the_names_of_the_other_system) {
  EXPECT_EQ(convert_separators("a/b\\c", flavor::win32), "a\\b\\c");
  EXPECT_EQ(convert_separators("a/b\\c", flavor::posix), "a/b/c");
  EXPECT_EQ(translate("/usr/lib", flavor::win32), "C:\\usr\\lib");
  EXPECT_EQ(translate("/usr/lib", flavor::win32, 'd'), "d:\\usr\\lib");
  EXPECT_EQ(translate("//server/share/a", flavor::win32), "\\\\server\\share\\a");
  EXPECT_EQ(translate("C:/a/b", flavor::win32), "C:\\a\\b");
  EXPECT_EQ(translate("a/b", flavor::win32), "a\\b");
  EXPECT_EQ(translate("C:\\a\\b", flavor::posix), "/a/b");
  EXPECT_EQ(translate("\\\\server\\share\\a", flavor::posix), "//server/share/a");
}

TEST(PathSafeJoin, keeps_what_is_harmless_below_its_root) {
  EXPECT_EQ(safe_join("/srv/files", "a/b.txt"), "/srv/files/a/b.txt");
  EXPECT_EQ(safe_join("/srv/files/", "./a//b/"), "/srv/files/a/b/");
  EXPECT_EQ(safe_join("/srv/files", ""), "/srv/files");
  EXPECT_EQ(safe_join("/", "a"), "/a");
  EXPECT_EQ(safe_join("", "a"), "a");
  EXPECT_EQ(safe_join("/srv", "...a/..b/c..d"), "/srv/...a/..b/c..d");
  EXPECT_EQ(safe_join("/srv", "..\\..\\etc"), "/srv/..\\..\\etc");  // one name here
  EXPECT_EQ(safe_join("../files", "a"), "../files/a");              // the root is the caller's affair
  EXPECT_EQ(win32::safe_join("C:\\srv", "a/b.txt"), "C:\\srv\\a\\b.txt");
}

TEST(PathSafeJoin, refuses_whatever_could_lead_out_and_says_why) {
  for (string_view bad : {"..", "../x", "a/../../x", "a/..", "a/../b", "/etc/passwd", "//etc", "a/../../srv-evil/x"}) {
    try {
      static_cast<void>(safe_join("/srv", bad));
      ADD_FAILURE() << bad << " was let through";
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::err_invalid_arg_value);
      EXPECT_EQ(string_view(e.what()).substr(0, 32), "Path traversal attempt detected:") << e.what();
    }
  }
  EXPECT_THROW(static_cast<void>(safe_join("/srv", string_view("a\0b", 3))), error);
  EXPECT_THROW(static_cast<void>(safe_join("/srv", string_view("..\0/x", 5))), error);
}

TEST(PathSafeJoin, knows_the_tricks_that_only_windows_falls_for) {
  for (string_view bad : {"..\\x", "a\\..\\b", "\\x", "\\\\s\\h", "C:\\x", "C:x", "a:stream", "nul", "con.txt",
                          "a/COM1", "x/Lpt\u00b9.log", "a.", "a ", ".. ", "...", "nul .txt"}) {
    EXPECT_THROW(static_cast<void>(win32::safe_join("C:\\srv", bad)), error) << bad;
  }
}

TEST(PathIsInside, compares_whole_components) {
  EXPECT_TRUE(is_inside("/base", "/base/a"));
  EXPECT_TRUE(is_inside("/base", "/base"));
  EXPECT_TRUE(is_inside("/base/", "/base/x/../y"));
  EXPECT_TRUE(is_inside("/", "/anything"));
  EXPECT_FALSE(is_inside("/base", "/base-evil"));
  EXPECT_FALSE(is_inside("/base", "/base-evil/x"));
  EXPECT_FALSE(is_inside("/base", "/base/../etc"));
  EXPECT_FALSE(is_inside("/base", "/bas"));
  EXPECT_FALSE(is_inside("/base/a", "/base"));
  EXPECT_TRUE(win32::is_inside("C:\\Base", "c:/base/a"));
  EXPECT_FALSE(win32::is_inside("C:\\base", "C:\\base-evil"));
  EXPECT_FALSE(win32::is_inside("C:\\base", "D:\\base\\a"));
}

TEST(PathMatchesGlob, answers_as_node_does) {
  EXPECT_TRUE(matches_glob("foo/bar/baz", "foo/[bcr]ar/baz"));
  EXPECT_FALSE(matches_glob("foo/bar/baz", "foo/[!bcr]ar/baz"));
  EXPECT_TRUE(matches_glob("foo/bar/baz/boo", "foo/[bc-r]ar/baz/*"));
  EXPECT_FALSE(matches_glob("foo/bar/baz", "*"));
  EXPECT_TRUE(matches_glob("a/b", "a\\*"));  // Node: a separator in the pattern
  EXPECT_TRUE(win32::matches_glob("foo\\bar5\\baz", "foo\\bar[0-9]\\baz"));
  EXPECT_FALSE(win32::matches_glob("foo\\bar\\baz", "foo\\*\\!bar\\*\\baz"));
  EXPECT_TRUE(win32::matches_glob("C:\\a\\b", "c:/a/*"));
}

TEST(PathUtilities, C0_SC_22_resolve_safely_convert_split_and_match) {
  const std::string root = resolve("/srv/app", "public");
  EXPECT_EQ(safe_join(root, join("css", "site.css")), "/srv/app/public/css/site.css");
  EXPECT_THROW(static_cast<void>(safe_join(root, "../private")), error);
  EXPECT_FALSE(is_inside(root, join(root, "..", "public-old", "x")));
  EXPECT_EQ(translate(join("/a", "b"), flavor::win32), "C:\\a\\b");
  EXPECT_EQ(split("/a/b").size(), 3U);
  EXPECT_TRUE(matches_glob("src/a/b/c/d.cpp", "src/**/*.cpp"));
  EXPECT_TRUE(matches_glob("src/d.cpp", "src/**/*.cpp"));
  EXPECT_FALSE(matches_glob("src/a/b", "src/**/*.cpp"));
}

// Random names of what matters to paths, asked of Node and of us.
class PathAgainstNode : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("node --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "node is not installed";
  }

  std::string name() {
    static constexpr string_view pieces[] = {".",  "/",    "\\", ":", "a",  "B",   " ",    "..",       "/..",    "C:",
                                             "c:", "\\\\", "//", "?", ".b", "CON", "com1", "\\\\s\\h", "//S/h/", "../"};
    std::string made;
    for (auto i = random_() % 7; i > 0; --i) made += pieces[random_() % (random_() % 2 == 0 ? 7 : std::size(pieces))];
    return made;
  }

  std::mt19937 random_{20};
};

constexpr string_view node_program = R"(
const [, file] = process.argv, path = require('path'), lines = require('fs').readFileSync(file, 'utf8').split('\n');
lines.pop();
console.log(lines.map((line) => {
  const [a, b, c] = line.split('|');
  return [path.posix, path.win32].map((p) => {
    const w = p.parse(a);
    return [p.normalize(a), p.join(a, b, c), p.resolve(a, b, c), p.relative(a, b), p.dirname(a), p.basename(a),
      p.basename(a, b), p.extname(a), w.root, w.dir, w.base, w.ext, w.name, String(p.isAbsolute(a)),
      p.toNamespacedPath(a), p.format(w)].join('|');
  }).join('|');
}).join('\n')); )";

#define WEIR_ANSWERS(of, a, b, c)         \
  {of::normalize(a),                      \
   of::join(a, b, c),                     \
   of::resolve(a, b, c),                  \
   of::relative(a, b),                    \
   of::dirname(a),                        \
   of::basename(a),                       \
   of::basename(a, b),                    \
   of::extname(a),                        \
   of::parse(a).root,                     \
   of::parse(a).dir,                      \
   of::parse(a).base,                     \
   of::parse(a).ext,                      \
   of::parse(a).name,                     \
   of::is_absolute(a) ? "true" : "false", \
   of::to_namespaced_path(a),             \
   of::format(of::parse(a))}

TEST_F(PathAgainstNode, answers_the_same_for_thousands_of_random_names) {
  char directory[] = "/tmp/weir-path-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string questions = std::string(directory) + "/questions", program = std::string(directory) + "/ask.js";
  std::vector<std::string> asked;
  for (int i = 0; i < 5000; ++i) asked.push_back(name() + "|" + name() + "|" + name());
  {
    std::ofstream to(questions);
    for (const std::string& one : asked) to << one << '\n';
    std::ofstream(program) << "process.argv.splice(1, 1);" << node_program;
  }
  FILE* node = ::popen(("node " + program + " " + questions).c_str(), "r");
  ASSERT_NE(node, nullptr);
  std::string answers;
  char block[65536];
  for (std::size_t got; (got = std::fread(block, 1, sizeof block, node)) > 0;) answers.append(block, got);
  EXPECT_EQ(::pclose(node), 0);
  std::filesystem::remove_all(directory);

  std::size_t at = 0;
  for (const std::string& one : asked) {
    const std::string a = one.substr(0, one.find('|'));
    const std::string b = one.substr(a.size() + 1, one.rfind('|') - a.size() - 1), c = one.substr(one.rfind('|') + 1);
    std::string ours;
    std::vector<std::string> list WEIR_ANSWERS(posix, a, b, c);
    const std::vector<std::string> more WEIR_ANSWERS(win32, a, b, c);
    list.insert(list.end(), more.begin(), more.end());
    for (std::size_t i = 0; i < list.size(); ++i) ours.append(i == 0 ? "" : "|").append(list[i]);
    const std::size_t end = std::min(answers.find('\n', at), answers.size());
    ASSERT_EQ(ours, answers.substr(at, end - at)) << one;
    at = end + 1;
  }
}

}  // namespace
}  // namespace weir::path
