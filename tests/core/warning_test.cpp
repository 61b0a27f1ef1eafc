#include <weir/core/warning.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir {
namespace {

using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

class hooked {
 public:
  explicit hooked(std::function<bool(const warning&)> hook) : before_(on_warning(std::move(hook))) {}
  ~hooked() { on_warning(std::move(before_)); }

 private:
  std::function<bool(const warning&)> before_;
};

TEST(Warning, is_printed_on_standard_error) {
  CaptureStderr();
  EXPECT_TRUE(emit_warning("something is odd"));
  EXPECT_EQ(GetCapturedStderr(), "weir: Warning: something is odd\n");
}

TEST(Warning, is_printed_with_its_code_type_and_detail) {
  CaptureStderr();
  emit_warning("f is old", {.type = "DeprecationWarning", .code = "DEP0001", .detail = "Use g."});
  EXPECT_EQ(GetCapturedStderr(), "weir: [DEP0001] DeprecationWarning: f is old\nUse g.\n");
}

TEST(Warning, goes_to_the_hook_which_may_leave_it_to_be_printed) {
  std::vector<std::string> heard;
  bool takes = true;
  hooked on([&](const warning& what) {
    heard.push_back(what.type + '|' + what.code + '|' + what.message + '|' + what.detail);
    return takes;
  });
  CaptureStderr();
  emit_warning("a", {.type = "T", .code = "C", .detail = "D"});
  EXPECT_EQ(GetCapturedStderr(), "");
  takes = false;
  CaptureStderr();
  emit_warning("b");
  EXPECT_EQ(GetCapturedStderr(), "weir: Warning: b\n");
  EXPECT_THAT(heard, ::testing::ElementsAre("T|C|a|D", "Warning||b|"));
}

TEST(Warning, is_printed_if_the_hook_throws) {
  hooked on([](const warning&) -> bool { throw std::runtime_error("hook"); });
  CaptureStderr();
  emit_warning("still told");
  EXPECT_EQ(GetCapturedStderr(), "weir: Warning: still told\n");
}

TEST(Warning, comes_once_per_code_where_that_was_asked_for) {
  int heard = 0;
  hooked on([&](const warning&) { return ++heard > 0; });
  EXPECT_TRUE(emit_warning("x", {.code = "TEST_ONCE", .once_per_code = true}));
  EXPECT_FALSE(emit_warning("y", {.code = "TEST_ONCE", .once_per_code = true}));
  EXPECT_EQ(heard, 1);
  EXPECT_TRUE(emit_warning("z", {.code = "TEST_ONCE"}));
  EXPECT_TRUE(emit_warning("no code", {.once_per_code = true}));
  EXPECT_TRUE(emit_warning("no code", {.once_per_code = true}));
  EXPECT_EQ(heard, 4);
}

TEST(Warning, may_be_emitted_within_the_hook_and_while_another_is_set) {
  int heard = 0;
  hooked on([&](const warning& what) {
    ++heard;
    if (what.message == "outer") emit_warning("inner");
    return true;
  });
  emit_warning("outer");
  EXPECT_EQ(heard, 2);
}

TEST(Warning, may_come_from_many_threads) {
  std::atomic<int> heard{0};
  hooked on([&](const warning&) { return ++heard > 0; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 100; ++n) emit_warning("t", {.code = "TEST_THREADS", .once_per_code = true});
    });
  }
  for (auto& each : threads) each.join();
  EXPECT_EQ(heard, 1);
}

}  // namespace
}  // namespace weir
