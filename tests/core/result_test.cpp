// tests/core/result_test.cpp: a result holds its value or its failure, and throws only when told to.
#include <weir/core/result.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace weir {
namespace {

static_assert(sizeof(failure) == 2 * sizeof(void*));
static_assert(sizeof(result<int>) <= sizeof(failure) + sizeof(void*));
static_assert(sizeof(result<std::array<std::byte, 56>>) == 64);
static_assert(std::is_nothrow_move_constructible_v<result<std::unique_ptr<int>>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
static_assert(std::is_copy_constructible_v<result<std::string>>);
static_assert(!std::is_constructible_v<result<const int&>, int>, "a reference must not bind to a temporary");
static_assert(!std::is_default_constructible_v<result<int&>>);

result<int> halve(int number) {
  if (number % 2 != 0) return error(errc::err_out_of_range, "odd");
  return number / 2;
}

result<> check(bool good) {
  if (!good) return os_error(ENOENT, "open", "/x");
  return {};
}

failure thrown(const auto& exception) { return failure(std::make_exception_ptr(exception)); }

TEST(Result, holds_a_value) {
  const auto half = halve(8);
  ASSERT_TRUE(half);
  EXPECT_EQ(half.value(), 4);
  EXPECT_EQ(*half, 4);
}

TEST(Result, holds_a_failure_and_throws_it_when_asked_for_the_value) {
  const auto half = halve(3);
  ASSERT_FALSE(half);
  EXPECT_TRUE(half.failure().is("ERR_OUT_OF_RANGE"));
  EXPECT_STREQ(half.error().what(), "odd");
  try {
    (void)half.value();
    FAIL() << "value() returned";
  } catch (const error& caught) {
    EXPECT_EQ(caught.code(), errc::err_out_of_range);
  }
}

TEST(Result, of_void_succeeds_or_fails) {
  EXPECT_TRUE(check(true));
  EXPECT_NO_THROW(check(true).value());
  EXPECT_THROW(check(false).value(), error);
  EXPECT_EQ(check(false).failure().message(), "ENOENT: no such file or directory, open '/x'");
}

TEST(Result, of_a_reference_refers) {
  int number = 1;
  result<int&> same(number);
  same.value() = 5;
  EXPECT_EQ(number, 5);
  EXPECT_EQ(&*same, &number);
  const result<const std::string&> none{error(errc::err_closed)};
  EXPECT_THROW((void)none.value(), error);
}

TEST(Result, of_a_move_only_type_gives_it_away) {
  result<std::unique_ptr<int>> made(std::make_unique<int>(7));
  EXPECT_EQ(**made, 7);
  const std::unique_ptr<int> taken = std::move(made).value();
  EXPECT_EQ(*taken, 7);
}

TEST(Result, changes_sides_on_assignment) {
  result<std::string> text("a text that does not fit a small string");
  const result<std::string> other = text;
  text = error(errc::err_closed);
  EXPECT_FALSE(text);
  text = other;
  EXPECT_EQ(text.value(), other.value());
  text = result<std::string>(error(errc::err_timeout));
  text = result<std::string>(error(errc::err_closed));
  EXPECT_TRUE(text.failure().is("ERR_CLOSED"));
  auto& self = text;
  text = self;
  EXPECT_TRUE(text.failure().is("ERR_CLOSED"));
}

TEST(Result, stays_whole_when_moving_a_value_throws) {
  struct moody {
    bool bad = false;
    explicit moody(bool b) : bad(b) {}
    moody(const moody&) = default;
    moody(moody&& other) : bad(other.bad) {
      if (bad) throw std::runtime_error("not today");
    }
  };
  result<moody> target(false);
  result<moody> source(true);
  target = error(errc::err_closed);
  EXPECT_THROW(target = std::move(source), std::runtime_error);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.failure().message(), "not today");
}

TEST(Result, falls_back_to_another_value) {
  EXPECT_EQ(halve(8).value_or(-1), 4);
  EXPECT_EQ(halve(3).value_or(-1), -1);
}

TEST(Result, maps_and_chains_and_lets_failures_through) {
  EXPECT_EQ(halve(8).map([](int n) { return std::to_string(n); }).value(), "4");
  EXPECT_EQ(halve(8).and_then(halve).and_then(halve).value(), 1);
  EXPECT_EQ(halve(6).and_then(halve).error().message(), "odd");
  EXPECT_EQ(halve(3).map([](int) { return 1; }).failure().code_name(), "ERR_OUT_OF_RANGE");
  EXPECT_TRUE(halve(8).map([](int) {}));
  EXPECT_EQ(check(true).map([] { return 9; }).value(), 9);
  EXPECT_FALSE(check(false).and_then([] { return halve(2); }));
  const auto kept = halve(8);
  EXPECT_EQ(kept.map([](int n) { return n + 1; }).value(), 5);
}

TEST(Failure, keeps_the_type_of_what_it_was_made_from) {
  EXPECT_THROW(failure(cancelled("late")).rethrow(), cancelled);
  EXPECT_THROW(failure(aggregate_error({})).rethrow(), aggregate_error);
  EXPECT_THROW(failure(error(errc::err_closed)).rethrow(), error);
  EXPECT_THROW(thrown(std::runtime_error("x")).rethrow(), std::runtime_error);
  EXPECT_THROW(std::rethrow_exception(failure(cancelled()).exception()), cancelled);
  EXPECT_THROW(std::rethrow_exception(failure(aggregate_error({})).exception()), aggregate_error);
}

TEST(Failure, answers_the_same_whether_made_or_thrown) {
  const error reset = net_error(ECONNRESET, "read");
  for (const failure& each : {failure(reset), thrown(reset)}) {
    EXPECT_TRUE(each.is("ECONNRESET"));
    EXPECT_EQ(each.code(), std::errc::connection_reset);
    EXPECT_EQ(each.message(), "read ECONNRESET");
    EXPECT_EQ(each.error().errno_value(), ECONNRESET);
    EXPECT_EQ(describe(each.exception()), "Error: read ECONNRESET");
    EXPECT_FALSE(each.is_cancelled());
  }
  EXPECT_TRUE(failure(cancelled()).is_cancelled());
  EXPECT_TRUE(thrown(cancelled()).is_cancelled());
}

TEST(Failure, presents_foreign_exceptions_as_unhandled_with_their_text) {
  const failure foreign = thrown(std::runtime_error("foreign"));
  EXPECT_EQ(foreign.code_name(), "ERR_UNHANDLED_ERROR");
  EXPECT_STREQ(foreign.error().what(), "foreign");
  EXPECT_EQ(thrown(3).message(), "exception of type int");
}

TEST(Failure, made_from_nothing_is_still_a_failure) {
  const failure nothing{std::exception_ptr()};
  EXPECT_EQ(nothing.message(), "Unhandled error.");
  EXPECT_EQ(nothing.code_name(), "ERR_UNHANDLED_ERROR");
  EXPECT_THROW(nothing.rethrow(), error);
  EXPECT_THROW(std::rethrow_exception(nothing.exception()), error);
}

}  // namespace
}  // namespace weir
