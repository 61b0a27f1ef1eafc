// tests/core/timer_wheel_test.cpp: the wheel against a sorted map as its model, with deadlines from the next
// millisecond to the last one that 64 bits can name, and by hand what a reader would ask about.
#include <weir/core/timer_wheel.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace weir::detail {
namespace {

constexpr std::uint64_t day = 86'400'000;
constexpr std::uint64_t year = 365 * day;
constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();

class wheel_at {
 public:
  explicit wheel_at(std::uint64_t now) : now_(now) { wheel.start(now); }

  timer_node& arm(std::uint64_t delay, std::uint32_t duration = 0) {
    auto& made = nodes_.emplace_back();
    made.duration = duration;
    wheel.insert(made, now_ + delay);
    return made;
  }

  /// Moves the clock. @return the positions, in order of arming, of what has fired
  std::vector<std::size_t> pass(std::uint64_t time) {
    now_ += time;
    wheel.advance(now_);
    return pop_all();
  }

  std::vector<std::size_t> pop_all() {
    std::vector<std::size_t> fired;
    while (auto* node = wheel.pop_due()) fired.push_back(number_of(*node));
    return fired;
  }

  timer_wheel wheel;

 private:
  std::size_t number_of(const timer_node& node) const {
    auto place = std::find_if(nodes_.begin(), nodes_.end(), [&](auto& each) { return &each == &node; });
    return static_cast<std::size_t>(std::distance(nodes_.begin(), place));
  }

  std::uint64_t now_;
  std::list<timer_node> nodes_;
};

using fired = std::vector<std::size_t>;

TEST(TimerWheel, is_empty_at_first) {
  wheel_at w(1000);
  EXPECT_EQ(w.wheel.size(), 0U);
  EXPECT_FALSE(w.wheel.next());
  EXPECT_EQ(w.pass(last - 1000), fired{});
}

// Each delay alone: silent a millisecond before, there on time.
TEST(TimerWheel, fires_at_its_time_and_not_before) {
  const std::uint64_t delays[] = {1,        2,          63,         64,         65,         4095,
                                  4096,     4097,       262'143,    262'144,    1u << 24,   30 * day,
                                  1u << 31, 1ull << 32, 300 * year, 1ull << 53, 1ull << 60, last - 5000};
  for (std::uint64_t start : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{63}, std::uint64_t{4999}}) {
    for (auto delay : delays) {
      wheel_at w(start);
      w.arm(delay);
      ASSERT_TRUE(w.wheel.next());
      EXPECT_LE(*w.wheel.next(), start + delay);
      EXPECT_EQ(w.pass(delay - 1), fired{}) << start << " + " << delay;
      EXPECT_EQ(w.pass(1), fired{0}) << start << " + " << delay;
      EXPECT_EQ(w.wheel.size(), 0U);
    }
  }
}

// A worker sleeps until `next`; that must lead to the deadline in few steps, one for each level at most.
TEST(TimerWheel, is_reached_by_sleeping_until_next) {
  for (std::uint64_t delay : {std::uint64_t{1}, std::uint64_t{100'000}, 30 * day, 300 * year, last - 7}) {
    wheel_at w(7);
    w.arm(delay);
    int steps = 0;
    std::uint64_t now = 7;
    fired seen;
    while (seen.empty()) {
      ASSERT_TRUE(w.wheel.next());
      auto next = *w.wheel.next();
      ASSERT_GT(next, now) << "would spin";
      seen = w.pass(next - now);
      now = next;
      ++steps;
    }
    EXPECT_EQ(now, 7 + delay);
    EXPECT_LE(steps, 11);
  }
}

TEST(TimerWheel, treats_the_past_as_the_next_millisecond) {
  wheel_at w(5000);
  timer_node past;
  w.wheel.insert(past, 10);
  EXPECT_EQ(past.deadline, 5001U);
  EXPECT_EQ(w.wheel.next(), 5001U);
  EXPECT_TRUE(w.wheel.remove(past));
}

TEST(TimerWheel, keeps_the_order_of_arming_among_equals_however_they_came_there) {
  wheel_at w(0);
  w.arm(10'000);  // far: comes down through the levels
  EXPECT_EQ(w.pass(5'000), fired{});
  w.arm(5'000);  // the same deadline
  EXPECT_EQ(w.pass(4'950), fired{});
  w.arm(50);
  EXPECT_EQ(w.pass(49), fired{});
  w.arm(1);
  EXPECT_EQ(w.pass(1), (fired{0, 1, 2, 3}));
}

TEST(TimerWheel, fires_by_deadline_what_a_late_look_finds_together) {
  wheel_at w(0);
  for (std::uint64_t delay : {700, 3, 64, 5'000, 63, 3, 4'096}) w.arm(delay);
  EXPECT_EQ(w.pass(10'000), (fired{1, 5, 4, 2, 0, 6, 3}));
}

// Node keeps a list for each duration. The list with the earliest timer comes first, all that is due in it.
TEST(TimerWheel, groups_what_is_due_together_by_duration) {
  wheel_at w(0);
  w.arm(20, 20);
  w.arm(15, 10);
  w.arm(28, 20);
  w.arm(22, 10);
  w.arm(60, 10);
  EXPECT_EQ(w.pass(50), (fired{1, 3, 0, 2}));
  EXPECT_EQ(w.pass(10), fired{4});
}

TEST(TimerWheel, groups_again_when_more_becomes_due_before_all_have_been_taken) {
  wheel_at w(0);
  w.arm(10, 1);
  w.arm(11, 2);
  w.arm(20, 1);
  w.wheel.advance(11);
  ASSERT_NE(w.wheel.pop_due(), nullptr);
  w.wheel.advance(20);
  EXPECT_EQ(w.pop_all(), (fired{1, 2}));
}

TEST(TimerWheel, removes_in_every_state) {
  wheel_at w(0);
  timer_node never;
  EXPECT_FALSE(w.wheel.remove(never));

  for (std::uint64_t delay : {std::uint64_t{1}, std::uint64_t{100}, 30 * day, 300 * year}) {  // on every level
    auto& node = w.arm(delay);
    EXPECT_EQ(w.wheel.size(), 1U);
    EXPECT_TRUE(w.wheel.remove(node));
    EXPECT_FALSE(w.wheel.remove(node)) << "twice";
    EXPECT_EQ(w.wheel.size(), 0U);
    EXPECT_FALSE(w.wheel.next()) << "an empty slot must not wake the worker";
  }

  auto& popped = w.arm(1);
  EXPECT_EQ(w.pass(1).size(), 1U);
  EXPECT_FALSE(w.wheel.remove(popped));
}

TEST(TimerWheel, removes_what_is_due_but_has_not_been_taken) {
  for (int victim = 0; victim < 3; ++victim) {
    wheel_at w(0);
    std::array<timer_node*, 3> nodes = {&w.arm(5), &w.arm(6), &w.arm(7)};
    w.wheel.advance(10);
    EXPECT_EQ(w.wheel.next(), 10U) << "there is something to do at once";
    EXPECT_TRUE(w.wheel.remove(*nodes[static_cast<std::size_t>(victim)]));
    fired rest = {0, 1, 2};
    rest.erase(rest.begin() + victim);
    EXPECT_EQ(w.pop_all(), rest);
    EXPECT_EQ(w.wheel.size(), 0U);
  }
}

TEST(TimerWheel, arms_a_node_again_once_it_has_fired) {
  wheel_at w(0);
  auto& node = w.arm(5);
  EXPECT_EQ(w.pass(5), fired{0});
  w.wheel.insert(node, 10);
  EXPECT_EQ(w.pass(4), fired{});
  EXPECT_EQ(w.pass(1), fired{0});
}

TEST(TimerWheel, holds_a_million) {
  timer_wheel wheel;
  wheel.start(0);
  std::vector<timer_node> nodes(1'000'000);
  for (std::size_t i = 0; i < nodes.size(); ++i) wheel.insert(nodes[i], 1 + i * 7919 % nodes.size());
  EXPECT_EQ(wheel.size(), nodes.size());
  for (std::size_t i = 0; i < nodes.size(); i += 2) EXPECT_TRUE(wheel.remove(nodes[i]));
  std::uint64_t before = 0;
  std::size_t count = 0;
  for (std::uint64_t now = 1000; now <= nodes.size(); now += 1000) {
    wheel.advance(now);
    while (auto* node = wheel.pop_due()) {
      ASSERT_GE(node->deadline, before);
      ASSERT_LE(node->deadline, now);
      before = node->deadline;
      ++count;
    }
  }
  EXPECT_EQ(count, nodes.size() / 2);
  EXPECT_EQ(wheel.size(), 0U);
}

// ---- against a model

/// Timers by deadline, and what is due in the order of firing.
class model {
 public:
  explicit model(std::uint64_t now) : now_(now) {}

  void insert(timer_node& node, std::uint64_t deadline) { armed_.emplace(std::max(deadline, now_ + 1), &node); }

  bool remove(timer_node& node) {
    auto armed = std::find_if(armed_.begin(), armed_.end(), [&](auto& each) { return each.second == &node; });
    if (armed != armed_.end()) {
      armed_.erase(armed);
      return true;
    }
    return std::erase(due_, &node) != 0;
  }

  void advance(std::uint64_t now) {
    now_ = std::max(now_, now);
    auto end = armed_.upper_bound(now_);
    for (auto each = armed_.begin(); each != end; ++each) due_.push_back(each->second);
    armed_.erase(armed_.begin(), end);
    group();
  }

  timer_node* pop_due() {
    if (due_.empty()) return nullptr;
    auto* first = due_.front();
    due_.erase(due_.begin());
    return first;
  }

  std::optional<std::uint64_t> earliest() const {
    if (!due_.empty()) return now_;
    return armed_.empty() ? std::nullopt : std::optional(armed_.begin()->first);
  }
  std::size_t size() const { return armed_.size() + due_.size(); }

 private:
  void group() {
    std::vector<timer_node*> grouped;
    while (!due_.empty()) {
      auto same = [duration = due_.front()->duration](auto* node) { return node->duration == duration; };
      std::copy_if(due_.begin(), due_.end(), std::back_inserter(grouped), same);
      std::erase_if(due_, same);
    }
    due_ = std::move(grouped);
  }

  std::uint64_t now_;
  std::multimap<std::uint64_t, timer_node*> armed_;
  std::vector<timer_node*> due_;
};

class TimerWheelModel : public ::testing::TestWithParam<unsigned> {};

TEST_P(TimerWheelModel, agrees_on_everything_for_ten_thousand_steps) {
  std::mt19937_64 random(GetParam());
  auto below = [&](std::uint64_t n) { return random() % n; };
  auto of_any_size = [&] { return random() >> below(64); };
  std::uint64_t now = GetParam() % 2 == 0 ? below(10'000) : of_any_size() / 2;
  timer_wheel wheel;
  wheel.start(now);
  model expected(now);
  std::vector<std::unique_ptr<timer_node>> nodes;
  for (int i = 0; i < 300; ++i) nodes.push_back(std::make_unique<timer_node>());

  for (int step = 0; step < 10'000; ++step) {
    auto& node = *nodes[below(nodes.size())];
    switch (below(8)) {
      case 0:
      case 1:
      case 2: {
        if (node.slot != timer_node::unarmed) break;
        node.duration = static_cast<std::uint32_t>(below(3));
        auto delay = below(3) == 0 ? of_any_size() : below(200);
        auto deadline = delay > last - now ? last : now + delay;
        wheel.insert(node, deadline);
        expected.insert(node, deadline);
        break;
      }
      case 3: ASSERT_EQ(wheel.remove(node), expected.remove(node)) << "step " << step; break;
      case 4: {
        auto time = below(20) == 0 ? of_any_size() >> 8 : below(100);
        now = time > last - 1 - now ? last - 1 : now + time;
        wheel.advance(now);
        expected.advance(now);
        break;
      }
      case 5: {  // sleep until the wheel says
        if (auto next = wheel.next(); next && *next < last) now = std::max(now, *next);
        wheel.advance(now);
        expected.advance(now);
        break;
      }
      default:
        for (auto n = below(4); n > 0; --n) {
          auto* popped = wheel.pop_due();
          ASSERT_EQ(popped, expected.pop_due()) << "step " << step;
          if (popped == nullptr) break;
          ASSERT_LE(popped->deadline, now);
          ASSERT_EQ(popped->slot, timer_node::unarmed);
        }
    }
    ASSERT_EQ(wheel.size(), expected.size()) << "step " << step;
    ASSERT_EQ(wheel.next().has_value(), expected.earliest().has_value()) << "step " << step;
    if (wheel.next()) ASSERT_LE(*wheel.next(), *expected.earliest()) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, TimerWheelModel, ::testing::Range(0U, 20U),
                         [](const auto& info) { return "seed_" + std::to_string(info.param); });

}  // namespace
}  // namespace weir::detail
