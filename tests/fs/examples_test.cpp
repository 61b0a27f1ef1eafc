// tests/fs/examples_test.cpp: the examples on files, as somebody at a shell uses them.
#include "tests/support/file_tree.hpp"
#include "tests/support/programs.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weir::testing {
namespace {

class FileExamples : public ::testing::Test {
 protected:
  /// What the example prints, on both its outputs.
  std::string run(const std::string& name, const std::string& arguments) const {
    return output_of("cd '" + tree_.root() + "' && " + example(name) + " " + arguments + " 2>&1");
  }
  void SetUp() override {
    if (example("find").empty()) GTEST_SKIP() << "the examples are not built";
  }

  file_tree tree_;
};

TEST_F(FileExamples, find_answers_as_find_does) {
  for (auto name : {"a.cpp", "b.hpp", "sub/c.cpp", "sub/deep/d.cpp", "sub/deep/.hidden"}) tree_.write(name, "text");
  tree_.write("sub/large", std::string(5000, 'x'));
  tree_.link("sub", "way");
  for (std::string asked :
       {"", ". -name '*.cpp'", "sub -type d", ". -type l", ". -maxdepth 2 -type f", ". -size +1k", "sub/deep ."}) {
    EXPECT_EQ(output_of("cd '" + tree_.root() + "' && " + example("find") + " " + asked + " | sort"),
              output_of("cd '" + tree_.root() + "' && find " + asked + " | sort"))
        << asked;
  }
  EXPECT_NE(run("find", "nowhere").find("ENOENT"), std::string::npos);
}

TEST_F(FileExamples, copy_with_progress_copies_files_and_trees) {
  tree_.write("from/one", std::string(100'000, '1'));
  tree_.write("from/sub/two", "2");
  auto said = run("copy_with_progress", "from to");
  EXPECT_NE(said.find("one"), std::string::npos) << said;
  EXPECT_EQ(output_of("cd '" + tree_.root() + "' && diff -r from to && echo same"), "same\n");
  run("copy_with_progress", "from/one copy");
  EXPECT_EQ(tree_.read("copy"), std::string(100'000, '1'));
  EXPECT_NE(run("copy_with_progress", "missing x").find("ENOENT"), std::string::npos);
}

TEST_F(FileExamples, kv_store_keeps_values_between_runs) {
  run("kv_store", "store set 'a key/../x' 'a value'");
  EXPECT_EQ(run("kv_store", "store get 'a key/../x'"), "a value\n");
  EXPECT_NE(run("kv_store", "store list").find("a key/../x"), std::string::npos);
  run("kv_store", "store delete 'a key/../x'");
  EXPECT_NE(run("kv_store", "store get 'a key/../x'"), "a value\n");
}

TEST_F(FileExamples, log_rotate_loses_no_line) {
  output_of("cd '" + tree_.root() + "' && seq 1 5000 | " + example("log_rotate") + " logs --size 4000 --keep 100");
  EXPECT_EQ(output_of("cd '" + tree_.root() + "/logs' && cat * | grep -o '[0-9]*$' | sort -n | uniq | wc -l"),
            "5000\n");
  EXPECT_NE(output_of("ls '" + tree_.root() + "/logs' | wc -l"), "1\n");
}

TEST_F(FileExamples, tail_follow_shows_the_last_lines_and_what_is_appended) {
  tree_.write("log", "1\n2\n3\n4\n");
  auto said =
      output_of("cd '" + tree_.root() + "' && (" + example("tail_follow") +
                " -n 2 log & follower=$!; for i in $(seq 200); do sleep 0.01; done; mv log log.1; echo new > log; "
                "for i in $(seq 200); do sleep 0.01; done; kill -TERM $follower; wait $follower) 2>/dev/null");
  EXPECT_EQ(said, "3\n4\nnew\n");
}

}  // namespace
}  // namespace weir::testing
