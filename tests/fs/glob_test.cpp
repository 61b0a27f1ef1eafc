// What fs/glob promises: the paths that match, each once, and no look at directories where nothing can match.
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/contents.hpp>
#include <weir/fs/directory.hpp>
#include <weir/fs/glob.hpp>
#include <weir/fs/path.hpp>

#include <tests/support/file_tree.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <map>
#include <variant>

namespace weir {
namespace {

using testing::as_nobody;
using ::testing::ElementsAre;
using testing::file_tree;
using ::testing::IsEmpty;
using testing::run_with;
using ::testing::UnorderedElementsAre;

using names = std::vector<std::string>;

task<names> collect(fs::glob_patterns patterns, fs::glob_search options) {
  names found;
  auto entries = fs::glob(std::move(patterns), std::move(options));
  while (auto entry = co_await entries.next()) found.emplace_back(entry->relative());
  co_return found;
}

/// Both ways, which are to agree.
names globbed(const fs::glob_patterns& patterns, const fs::glob_search& options) {
  auto at_once = fs::glob_all(patterns, options).now();
  EXPECT_THAT(run_with(1, collect(patterns, options)), ::testing::UnorderedElementsAreArray(at_once));
  return at_once;
}

void write_sources(const file_tree& tree) {
  for (auto name : {"src/main.cpp", "src/main.hpp", "src/net/tcp.cpp", "src/net/deep/er/x.cpp", "src/.hidden.cpp",
                    "docs/a.md", "top.cpp", "node_modules/m/index.cpp"})
    tree.write(name);
}

TEST(Glob, finds_what_matches) {
  file_tree tree;
  write_sources(tree);
  const fs::glob_search here{.cwd = tree.root()};
  EXPECT_THAT(globbed("*.cpp", here), ElementsAre("top.cpp"));
  EXPECT_THAT(globbed("src/*.cpp", here), ElementsAre("src/main.cpp"));
  EXPECT_THAT(globbed("src/**/*.cpp", here),
              UnorderedElementsAre("src/main.cpp", "src/net/tcp.cpp", "src/net/deep/er/x.cpp"));
  EXPECT_THAT(globbed("src/main.{c,h}pp", here), UnorderedElementsAre("src/main.cpp", "src/main.hpp"));
  EXPECT_THAT(globbed("docs/a.md", here), ElementsAre("docs/a.md"));
  EXPECT_THAT(globbed("docs/b.md", here), IsEmpty());
  EXPECT_THAT(globbed("none/**", here), IsEmpty());
  EXPECT_THAT(globbed("top.cpp/*", here), IsEmpty());
  EXPECT_THAT(globbed(fs::glob_patterns(names{}), here), IsEmpty());
}

TEST(Glob, gives_each_entry_once_for_several_patterns) {
  file_tree tree;
  write_sources(tree);
  const fs::glob_search here{.cwd = tree.root()};
  EXPECT_THAT(globbed({"src/*.cpp", "**/main.*", "src/main.cpp"}, here),
              UnorderedElementsAre("src/main.cpp", "src/main.hpp"));
  EXPECT_THAT(globbed({"docs/*", "src/net/*.cpp"}, here), UnorderedElementsAre("docs/a.md", "src/net/tcp.cpp"));
}

TEST(Glob, gives_directories_too_and_only_those_for_a_pattern_that_ends_in_a_slash) {
  file_tree tree;
  write_sources(tree);
  const fs::glob_search here{.cwd = tree.root(), .sorted = true};
  EXPECT_THAT(fs::glob_all("src/*", here).now(), ElementsAre("src/main.cpp", "src/main.hpp", "src/net"));
  EXPECT_THAT(fs::glob_all("*/", here).now(), ElementsAre("docs", "node_modules", "src"));
}

TEST(Glob, leaves_out_what_is_excluded_and_what_is_below_it) {
  file_tree tree;
  write_sources(tree);
  EXPECT_THAT(globbed("**/*.cpp", {.cwd = tree.root(), .exclude = {"**/node_modules", "src/net/deep/"}}),
              UnorderedElementsAre("src/main.cpp", "src/net/tcp.cpp", "top.cpp"));
}

TEST(Glob, finds_dot_files_if_it_is_told_to) {
  file_tree tree;
  write_sources(tree);
  EXPECT_THAT(globbed("src/*.cpp", {.cwd = tree.root(), .rules = {.dot = true}}),
              UnorderedElementsAre("src/main.cpp", "src/.hidden.cpp"));
  EXPECT_THAT(globbed("src/.*", {.cwd = tree.root()}), ElementsAre("src/.hidden.cpp"));
}

TEST(Glob, gives_whole_paths_for_absolute_patterns) {
  file_tree tree;
  write_sources(tree);
  EXPECT_THAT(globbed(tree("src/net/*.cpp"), {.cwd = "/"}), ElementsAre(tree("src/net/tcp.cpp")));
  EXPECT_THAT(globbed("../docs/*", {.cwd = tree("src")}), ElementsAre("../docs/a.md"));
}

TEST(Glob, does_not_look_where_nothing_can_match) {
  file_tree tree;
  write_sources(tree);
  tree.write("docs/shut/file");
  tree.write("src/shut/file");
  ASSERT_EQ(::chmod(tree.root().c_str(), 0755), 0);
  for (auto name : {"docs/shut", "src/shut"}) ASSERT_EQ(::chmod(tree(name).c_str(), 0), 0);
  as_nobody([&] {
    std::vector<std::string> told;
    auto found = fs::glob_all("src/*/*.cpp", {.cwd = tree.root(),
                                              .on_skipped = [&](const error& why) { told.emplace_back(why.path()); }})
                     .now();
    EXPECT_THAT(found, ElementsAre("src/net/tcp.cpp"));
    EXPECT_THAT(told, ElementsAre(tree("src/shut")));
    auto failed = fs::glob_all("src/*/*.cpp", {.cwd = tree.root(), .errors = fs::walk_errors::fail}).try_now();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.failure().code_name(), "EACCES");
    EXPECT_TRUE(fs::glob_all("*/*.cpp", {.cwd = tree.root(), .errors = fs::walk_errors::fail}).try_now());
  });
  for (auto name : {"docs/shut", "src/shut"}) ASSERT_EQ(::chmod(tree(name).c_str(), 0755), 0);
}

TEST(Glob, refuses_what_is_no_pattern) {
  file_tree tree;
  const std::string nul("a\0b", 3);
  auto outcome = fs::glob_all(nul, {.cwd = tree.root()}).try_now();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.failure().code_name(), "ERR_INVALID_ARG_VALUE");
  EXPECT_THROW(static_cast<void>(run_with(1, collect(nul, {}))), error);
}

/// The build system of C0-SC-03: makes structures and finds files, and stays inside its directory.
class builder {
 public:
  using file = std::pair<std::string, std::string>;  // name, content
  using content = std::variant<std::string, std::vector<file>>;

  explicit builder(std::string base) : base_(std::move(base)) {}

  task<> create(std::map<std::string, content> structure) const {
    for (auto& [name, what] : structure) {
      const auto where = path::safe_join(base_, name);
      if (auto* text = std::get_if<std::string>(&what)) {
        co_await fs::mkdir(path::dirname(where), {.recursive = true});
        co_await fs::write_file(where, std::string_view(*text));
        continue;
      }
      co_await fs::mkdir(where, {.recursive = true});
      for (auto& [file_name, text] : std::get<std::vector<file>>(what)) {
        const auto inside = path::safe_join(where, file_name);
        co_await fs::write_file(inside, std::string_view(text));
      }
    }
  }

  task<names> find(std::string pattern) const {
    names found;
    const auto style = path::convert_separators(pattern, path::flavor::posix);
    auto entries = fs::glob(style, {.cwd = base_, .errors = fs::walk_errors::skip_unreadable});
    while (auto entry = co_await entries.next())
      if (entry->is_file()) found.emplace_back(entry->relative());
    co_return found;
  }

 private:
  std::string base_;
};

TEST(Glob, C0_SC_03_serves_a_build_system) {
  file_tree tree;
  tree.make_directory("base");
  tree.make_directory("base-evil");
  builder build(tree("base"));
  run_with(1, build.create({{"README.md", std::string("hello")},
                            {"src/core", std::vector<builder::file>{{"task.cpp", "task"}, {"a+b(1).cpp", ""}}},
                            {"src/deep/er/est.cpp", std::string("est")}}));
  EXPECT_EQ(tree.read("base/README.md"), "hello");
  EXPECT_EQ(tree.read("base/src/core/task.cpp"), "task");

  for (auto name : {"../outside", "../base-evil/file", "/etc/hostname", "src/../../x"}) {
    EXPECT_THROW(run_with(1, build.create({{name, std::string("evil")}})), error) << name;
  }
  EXPECT_TRUE(std::filesystem::is_empty(tree("base-evil")));
  EXPECT_FALSE(tree.has("outside"));

  auto find = [&](std::string pattern) { return run_with(2, build.find(std::move(pattern))); };
  EXPECT_THAT(find("src/core/*.cpp"), UnorderedElementsAre("src/core/task.cpp", "src/core/a+b(1).cpp"));
  EXPECT_THAT(find("src\\core\\t*.cpp"), ElementsAre("src/core/task.cpp"));  // either separator
  EXPECT_THAT(find("**/*.cpp"), ::testing::SizeIs(3));
  EXPECT_THAT(find("src/*"), IsEmpty());                           // the tree is deeper than the pattern
  EXPECT_THAT(find("src/*/*/*/*/*.cpp"), IsEmpty());               // and the other way round
  EXPECT_THAT(find("src/core/a+b(1).cpp"), ::testing::SizeIs(1));  // nothing in it is special

  tree.write("base/shut/file.cpp");
  ASSERT_EQ(::chmod(tree.root().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(tree("base/shut").c_str(), 0), 0);
  as_nobody([&] { EXPECT_THAT(find("**/*.cpp"), ::testing::SizeIs(3)); });
  ASSERT_EQ(::chmod(tree("base/shut").c_str(), 0755), 0);
}

}  // namespace
}  // namespace weir
