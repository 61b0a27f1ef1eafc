// tests/io/word_count_test.cpp: the example word_count counts, whatever the number of reads, and whoever leaves early.
#include "tests/support/programs.hpp"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

TEST(WordCount, counts_what_comes_in_and_shows_the_most_frequent_first) {
  auto program = example("word_count");
  if (program.empty()) GTEST_SKIP() << "the examples are not built";
  EXPECT_EQ(output_of("printf 'The cat,\\nthe DOG\\n\\nand the' | " + program + " --top 2 2>&1"),
            "3\tthe\n1\tand\n4 different words in 25 bytes\n");
  EXPECT_EQ(output_of("(printf 'a b'; printf 'c d\\n') | " + program + " 2>/dev/null"), "1\ta\n1\tbc\n1\td\n");
  EXPECT_EQ(output_of("seq 1 30000 | " + program + " --top 30000 2>/dev/null | head -n 1"), "1\t1\n");
}

TEST(WordCount, says_what_is_wrong_with_its_file) {
  auto program = example("word_count");
  if (program.empty()) GTEST_SKIP() << "the examples are not built";
  EXPECT_EQ(output_of(program + " /nonexistent/text 2>&1"),
            "Uncaught Error: ENOENT: no such file or directory, open '/nonexistent/text'\n");
}

}  // namespace
}  // namespace weir::testing
