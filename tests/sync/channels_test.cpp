// tests/sync/channels_test.cpp: the example channels counts the same with any number of threads.
#include "tests/support/programs.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weir::testing {
namespace {

TEST(Channels, count_primes_with_any_number_of_threads) {
  auto program = example("channels");
  if (program.empty()) GTEST_SKIP() << "the examples are not built";
  for (int threads : {1, 2, 5})
    EXPECT_EQ(output_of(program + " 300000 --threads " + std::to_string(threads) + " 2>/dev/null"),
              "25997 primes below 300000\n");
  EXPECT_EQ(output_of(program + " 0 2>/dev/null"), "0 primes below 0\n");
}

}  // namespace
}  // namespace weir::testing
