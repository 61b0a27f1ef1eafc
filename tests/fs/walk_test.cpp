// What fs/walk promises: every entry once, in the order that is promised, whatever the tree looks like and whoever
// changes it meanwhile.
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/fs/walk.hpp>

#include <tests/support/concurrency.hpp>
#include <tests/support/file_tree.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <regex>
#include <set>
#include <stdexcept>

namespace weir {
namespace {

using fs::walk_choice;
using fs::walk_entry;
using fs::walk_errors;
using testing::as_nobody;
using ::testing::ElementsAre;
using testing::file_tree;
using testing::open_descriptors;
using testing::run_with;
using ::testing::UnorderedElementsAre;

using names = std::vector<std::string>;

task<names> collect(std::string root, fs::walk_options options) {
  names found;
  auto entries = fs::walk(std::move(root), std::move(options));
  while (auto entry = co_await entries.next()) found.emplace_back(entry->relative());
  co_return found;
}

names walked(const std::string& root, const fs::walk_options& options = {}) {
  return run_with(1, collect(root, options));
}

error failure_of(const std::string& root, const fs::walk_options& options = {}) {
  try {
    static_cast<void>(walked(root, options));
  } catch (const error& why) {
    return why;
  }
  throw std::runtime_error("the walk did not fail");
}

TEST(Walk, gives_every_entry_with_its_type_depth_and_names) {
  file_tree tree;
  tree.write("a/b/file.txt");
  tree.link("b/file.txt", "a/link");
  ASSERT_EQ(::mkfifo(tree("a/pipe").c_str(), 0600), 0);
  auto all = fs::walk_all(tree.root()).now();
  std::map<std::string, walk_entry> found;
  for (auto& each : all) found.emplace(each.relative(), each);
  ASSERT_EQ(found.size(), 5U);
  ASSERT_EQ(all.size(), 5U);
  EXPECT_TRUE(found.at("a").is_directory());
  EXPECT_TRUE(found.at("a/b").is_directory());
  EXPECT_TRUE(found.at("a/link").is_symbolic_link());
  EXPECT_EQ(found.at("a/pipe").type, fs::file_type::fifo);
  auto& file = found.at("a/b/file.txt");
  EXPECT_TRUE(file.is_file());
  EXPECT_EQ(file.path, tree("a/b/file.txt"));
  EXPECT_EQ(file.name(), "file.txt");
  EXPECT_EQ(file.parent(), tree("a/b"));
  EXPECT_EQ(file.depth, 3U);
  EXPECT_EQ(found.at("a").depth, 1U);
}

TEST(Walk, gives_a_directory_before_what_is_below_it) {
  file_tree tree;
  for (int a = 0; a < 10; ++a)
    for (int b = 0; b < 30; ++b) tree.write(std::to_string(a) + "/" + std::to_string(b) + "/file");
  for (unsigned threads : {1U, 2U, 4U}) {
    std::set<std::string> seen{""};
    for (auto& each : walked(tree.root(), {.threads = threads})) {
      auto slash = each.rfind('/');
      EXPECT_TRUE(seen.contains(slash == std::string::npos ? "" : each.substr(0, slash))) << each;
      EXPECT_TRUE(seen.insert(each).second) << each << " came twice";
    }
    EXPECT_EQ(seen.size(), 1U + 10U + 300U + 300U);
  }
}

TEST(Walk, sorts_each_directory_and_follows_an_entry_with_what_is_below_it) {
  file_tree tree;
  for (auto name : {"b/2", "b/1", "a", "b.txt", "c/x/y", "c/w"}) tree.write(name);
  EXPECT_THAT(walked(tree.root(), {.sorted = true}),
              ElementsAre("a", "b", "b/1", "b/2", "b.txt", "c", "c/w", "c/x", "c/x/y"));
  auto all = fs::walk_all(tree.root(), {.sorted = true}).now();
  EXPECT_EQ(all.size(), 9U);
  EXPECT_EQ(all.back().relative(), "c/x/y");
}

TEST(Walk, stops_at_the_depth_that_it_was_told) {
  file_tree tree;
  tree.write("a/b/c/d");
  for (bool sorted : {false, true}) {
    EXPECT_THAT(walked(tree.root(), {.max_depth = 0, .sorted = sorted}), ElementsAre());
    EXPECT_THAT(walked(tree.root(), {.max_depth = 1, .sorted = sorted}), ElementsAre("a"));
    EXPECT_THAT(walked(tree.root(), {.max_depth = 3, .sorted = sorted}), ElementsAre("a", "a/b", "a/b/c"));
  }
}

TEST(Walk, leaves_out_what_the_filter_says) {
  file_tree tree;
  for (auto name : {"take/1", "skip/2", "prune/3", "drop/4"}) tree.write(name);
  auto filter = [](const walk_entry& entry) {
    if (entry.relative() == "skip") return walk_choice::skip;
    if (entry.relative() == "prune") return walk_choice::prune;
    if (entry.relative() == "drop") return walk_choice::drop;
    return walk_choice::take;
  };
  for (bool sorted : {false, true})
    EXPECT_THAT(walked(tree.root(), {.sorted = sorted, .filter = filter}),
                UnorderedElementsAre("take", "take/1", "skip/2", "prune"));
}

TEST(Walk, ends_with_what_the_filter_throws) {
  file_tree tree;
  tree.write("a");
  fs::walk_options options{.filter = [](const walk_entry&) -> walk_choice { throw std::runtime_error("enough"); }};
  EXPECT_THROW(static_cast<void>(walked(tree.root(), options)), std::runtime_error);
  EXPECT_THROW(static_cast<void>(fs::walk_all(tree.root(), options).now()), std::runtime_error);
}

TEST(Walk, gives_links_as_links_and_stays_out_of_them) {
  file_tree tree;
  tree.write("a/file");
  tree.link("a", "to-directory");
  tree.link("nowhere", "to-nothing");
  EXPECT_THAT(walked(tree.root()), UnorderedElementsAre("a", "a/file", "to-directory", "to-nothing"));
}

TEST(Walk, follows_links_but_not_in_a_circle) {
  file_tree tree;
  tree.write("a/b/file");
  tree.link("..", "a/b/up");  // to a, which it is in
  tree.link(tree("a/b"), "other");
  tree.link("self", "self");
  tree.link("nowhere", "broken");
  for (bool sorted : {false, true}) {
    auto all = fs::walk_all(tree.root(), {.follow_symlinks = true, .sorted = sorted}).now();
    std::map<std::string, fs::file_type> found;
    for (auto& each : all) found.emplace(each.relative(), each.type);
    EXPECT_EQ(found.at("other"), fs::file_type::directory);
    EXPECT_EQ(found.at("other/file"), fs::file_type::regular);
    EXPECT_EQ(found.at("a/b/up"), fs::file_type::symlink);
    EXPECT_EQ(found.at("broken"), fs::file_type::symlink);
    EXPECT_EQ(found.at("self"), fs::file_type::symlink);
    // "other/up" leads to `a`, which "other" is not below: it is entered, and the circle ends one level later.
    EXPECT_EQ(found.at("other/up"), fs::file_type::directory);
    EXPECT_EQ(found.at("other/up/b"), fs::file_type::directory);
    EXPECT_EQ(found.size(), all.size());
    EXPECT_LT(found.size(), 16U);
  }
}

TEST(Walk, tells_why_the_root_cannot_be_read) {
  file_tree tree;
  tree.write("file");
  auto missing = failure_of(tree("missing"));
  EXPECT_EQ(missing.message(), "ENOENT: no such file or directory, scandir '" + tree("missing") + "'");
  EXPECT_EQ(failure_of(tree("file")).code_name(), "ENOTDIR");
  EXPECT_EQ(failure_of(tree("missing"), {.sorted = true, .errors = walk_errors::skip}).code_name(), "ENOENT");
  EXPECT_EQ(failure_of(std::string("a\0b", 3)).code_name(), "ERR_INVALID_ARG_VALUE");
  EXPECT_EQ(failure_of("").code_name(), "ENOENT");
}

// C0-FS-20: there the first directory that cannot be read rejects the whole scan.
TEST(Walk, leaves_out_unreadable_directories_if_it_is_told_to) {
  file_tree tree;
  tree.write("open/file");
  tree.write("shut/file");
  ASSERT_EQ(::chmod(tree.root().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(tree("shut").c_str(), 0), 0);
  as_nobody([&] {
    auto failed = fs::walk_all(tree.root()).try_now();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.failure().message(), "EACCES: permission denied, scandir '" + tree("shut") + "'");
    for (auto how : {walk_errors::skip, walk_errors::skip_unreadable}) {
      for (bool sorted : {false, true}) {
        std::vector<std::string> told;
        auto all = fs::walk_all(tree.root(), {.sorted = sorted,
                                              .errors = how,
                                              .on_skipped = [&](const error& why) { told.emplace_back(why.path()); },
                                              .threads = 1})
                       .now();
        EXPECT_EQ(all.size(), 3U);
        EXPECT_THAT(told, ElementsAre(tree("shut")));
      }
    }
  });
  ASSERT_EQ(::chmod(tree("shut").c_str(), 0755), 0);
}

TEST(Walk, takes_no_offence_at_directories_that_go_meanwhile) {
  file_tree tree;
  tree.write("a/1");
  tree.write("b/1");
  for (bool sorted : {false, true}) {
    tree.write("going/1");
    auto filter = [&](const walk_entry& entry) {
      if (entry.name() == "going") std::filesystem::remove_all(entry.path);
      return walk_choice::take;
    };
    EXPECT_THAT(walked(tree.root(), {.sorted = sorted, .filter = filter}),
                UnorderedElementsAre("a", "a/1", "b", "b/1", "going"));
  }
}

TEST(Walk, does_not_enter_a_link_that_takes_the_place_of_a_directory) {
  file_tree tree;
  tree.write("outside/secret");
  tree.write("in/swapped/file");
  auto filter = [&](const walk_entry& entry) {
    if (entry.name() == "swapped") {
      std::filesystem::remove_all(entry.path);
      std::filesystem::create_symlink(tree("outside"), entry.path);
    }
    return walk_choice::take;
  };
  EXPECT_THAT(walked(tree("in"), {.filter = filter}), ElementsAre("swapped"));
}

TEST(Walk, gives_a_full_directory_in_pieces) {
  file_tree tree;
  constexpr std::size_t count = 3'000;
  for (int i = 0; i < 40; ++i) tree.make_directory("d/" + std::to_string(i));  // for the other threads
  for (std::size_t i = 0; i < count; ++i)
    ::close(::open(tree("d/a-file-with-a-name-" + std::to_string(i)).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  for (bool sorted : {false, true}) {
    auto found = walked(tree.root(), {.sorted = sorted});
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found.size(), count + 41);
    EXPECT_EQ(std::unique(found.begin(), found.end()), found.end());
  }
}

TEST(Walk, finds_what_is_deeper_than_a_path_may_be_long) {
  file_tree tree;
  const std::string name(100, 'n');
  constexpr int levels = 120;
  int at = ::open(tree.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < levels; ++i) {
    ASSERT_EQ(::mkdirat(at, name.c_str(), 0700), 0);
    const int below = ::openat(at, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(std::exchange(at, below));
  }
  ::close(at);
  for (bool sorted : {false, true}) {
    auto found = walked(tree.root(), {.sorted = sorted});
    ASSERT_EQ(found.size(), static_cast<std::size_t>(levels));
    EXPECT_EQ(found.back().size(), 101U * levels - 1);
  }
}

TEST(Walk, finds_what_the_standard_library_finds) {
  std::mt19937 random(42);
  for (int round = 0; round < 4; ++round) {
    file_tree tree;
    names directories{""};
    for (int i = 0; i < 200; ++i) {
      auto& in = directories[random() % directories.size()];
      auto name = in + "e" + std::to_string(i);
      if (random() % 3 == 0) {
        tree.make_directory(name);
        directories.push_back(name + "/");
      } else {
        tree.write(name);
      }
    }
    names expected;
    for (auto& each : std::filesystem::recursive_directory_iterator(tree.root()))
      expected.push_back(each.path().string().substr(tree.root().size() + 1));
    std::sort(expected.begin(), expected.end());
    for (unsigned threads : {1U, 3U}) {
      auto found = walked(tree.root(), {.threads = threads});
      std::sort(found.begin(), found.end());
      EXPECT_EQ(found, expected);
    }
    names at_once;
    for (auto& each : fs::walk_all(tree.root(), {.threads = 3}).now()) at_once.emplace_back(each.relative());
    std::sort(at_once.begin(), at_once.end());
    EXPECT_EQ(at_once, expected);
  }
}

TEST(Walk, closes_everything_when_it_is_left_early) {
  file_tree tree;
  for (int i = 0; i < 600; ++i) tree.write(std::to_string(i % 30) + "/" + std::to_string(i));
  const auto before = open_descriptors();
  for (bool sorted : {false, true}) {
    run_with(2, [](std::string root, bool in_order) -> task<> {
      auto entries = fs::walk(std::move(root), {.sorted = in_order});
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(co_await entries.next());
    }(tree.root(), sorted));
    EXPECT_EQ(open_descriptors(), before);
  }
}

TEST(Walk, ends_when_the_task_that_waits_for_it_is_cancelled) {
  file_tree tree;
  for (int i = 0; i < 100; ++i) tree.write(std::to_string(i) + "/file");
  std::atomic<bool> begun{false};
  std::atomic<bool> go_on{false};
  std::atomic<int> asked{0};
  fs::walk_options options{.filter =
                               [&](const walk_entry&) {
                                 begun = true;
                                 testing::hold_until([&] { return go_on.load(); });
                                 ++asked;
                                 return walk_choice::take;
                               },
                           .threads = 1};
  run_with(1, with_scope([&](scope& s) -> task<> {
             auto handle = s.spawn(collect, tree.root(), options);
             while (!begun) co_await yield();
             handle.cancel();
             go_on = true;
             auto outcome = co_await attempt(std::move(handle));
             EXPECT_FALSE(outcome);
             EXPECT_TRUE(outcome.failure().is_cancelled());
           }));
  EXPECT_LE(asked, 128);  // the piece that was being read, of two hundred
}

TEST(Walk, serves_many_tasks_on_several_workers) {
  file_tree tree;
  for (int i = 0; i < 300; ++i) tree.write(std::to_string(i % 30) + "/" + std::to_string(i));
  std::atomic<int> finished{0};
  run_with(2, with_scope([&](scope& s) -> task<> {
             for (int i = 0; i < 8; ++i) {
               s.spawn([&]() -> task<> {
                 auto found = co_await collect(tree.root(), {.threads = 2});
                 EXPECT_EQ(found.size(), 330U);
                 ++finished;
               });
             }
             co_return;
           }));
  EXPECT_EQ(finished, 8);
}

// C0-SC-21, its recursive find: names that match a regular expression, with loops and unreadable directories.
TEST(Walk, C0_SC_21_finds_files_by_a_regular_expression) {
  file_tree tree;
  for (auto name : {"src/main.cpp", "src/deep/er/util.cpp", "src/util.hpp", "README.md"}) tree.write(name);
  tree.link("..", "src/deep/loop");
  const std::regex wanted(".*\\.cpp");
  auto filter = [&](const walk_entry& entry) {
    const std::string name(entry.name());
    return entry.is_file() && std::regex_match(name, wanted) ? walk_choice::take : walk_choice::skip;
  };
  EXPECT_THAT(walked(tree.root(), {.follow_symlinks = true, .filter = filter}),
              UnorderedElementsAre("src/main.cpp", "src/deep/er/util.cpp"));
}

}  // namespace
}  // namespace weir
