#include <weir/core/timer_wheel.hpp>

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::detail {

void timer_wheel::append(list& to, timer_node& node) noexcept {
  node.previous = to.tail;
  node.next = nullptr;
  (to.tail != nullptr ? to.tail->next : to.head) = &node;
  to.tail = &node;
}

void timer_wheel::take(list& from, timer_node& node) noexcept {
  (node.previous != nullptr ? node.previous->next : from.head) = node.next;
  (node.next != nullptr ? node.next->previous : from.tail) = node.previous;
}

// The level is that of the highest bit in which deadline and clock differ, so that a slot of level n is
// emptied into the levels below when the clock reaches it, and never holds two rounds at once.
void timer_wheel::place(timer_node& node) noexcept {
  auto differ = node.deadline ^ elapsed_;
  unsigned level = differ == 0 ? 0 : static_cast<unsigned>(std::bit_width(differ) - 1) / bits;
  auto slot = static_cast<unsigned>(node.deadline >> (level * bits)) % slots;
  occupied_[level] |= std::uint64_t{1} << slot;
  node.slot = static_cast<std::uint16_t>(level * slots + slot);
  append(wheel_[node.slot], node);
}

void timer_wheel::insert(timer_node& node, std::uint64_t deadline) noexcept {
  node.deadline = std::max(deadline, elapsed_ + 1);
  place(node);
  ++size_;
}

bool timer_wheel::remove(timer_node& node) noexcept {
  if (node.slot == timer_node::unarmed) return false;
  --size_;
  if (node.slot == timer_node::due) {
    take(due_, node);
  } else {
    auto& home = wheel_[node.slot];
    take(home, node);
    if (home.head == nullptr) occupied_[node.slot / slots] &= ~(std::uint64_t{1} << (node.slot % slots));
  }
  node.slot = timer_node::unarmed;
  return true;
}

// The first slot that the clock reaches next. Lower levels always come first.
std::optional<timer_wheel::position> timer_wheel::next_slot() const noexcept {
  for (unsigned level = 0; level < levels; ++level) {
    unsigned shift = level * bits;
    auto here = static_cast<unsigned>(elapsed_ >> shift) % slots;
    auto ahead = occupied_[level] & (~std::uint64_t{0} << here);
    if (ahead == 0) continue;
    auto slot = static_cast<unsigned>(std::countr_zero(ahead));
    std::uint64_t above = shift + bits >= 64 ? 0 : (elapsed_ >> (shift + bits)) << (shift + bits);
    return position{level, slot, above | (std::uint64_t{slot} << shift)};
  }
  return std::nullopt;
}

std::optional<std::uint64_t> timer_wheel::next() const noexcept {
  if (due_.head != nullptr) return elapsed_;
  auto slot = next_slot();
  return slot ? std::optional(slot->tick) : std::nullopt;
}

void timer_wheel::advance(std::uint64_t now) {
  while (auto at = next_slot()) {
    if (at->tick > now) break;
    elapsed_ = std::max(elapsed_, at->tick);
    list emptied = std::exchange(wheel_[at->level * slots + at->slot], list{});
    occupied_[at->level] &= ~(std::uint64_t{1} << at->slot);
    for (auto* each = emptied.head; each != nullptr;) {
      auto* following = each->next;
      if (at->level == 0) {
        each->slot = timer_node::due;
        append(due_, *each);
      } else {
        place(*each);
      }
      each = following;
    }
  }
  elapsed_ = std::max(elapsed_, now);
  if (due_.head != nullptr) group_due_by_duration();
}

// Node keeps one list per duration and drains the due part of a list before it turns to the next list.
void timer_wheel::group_due_by_duration() {
  bool mixed = false;
  for (auto* each = due_.head; each->next != nullptr && !mixed; each = each->next) {
    mixed = each->duration != each->next->duration;
  }
  if (!mixed) return;
  std::vector<list> groups;
  std::unordered_map<std::uint32_t, std::size_t> index;
  for (auto* each = due_.head; each != nullptr;) {
    auto* following = each->next;
    auto [found, added] = index.try_emplace(each->duration, groups.size());
    if (added) groups.emplace_back();
    append(groups[found->second], *each);
    each = following;
  }
  due_ = {};
  for (auto& group : groups) {
    if (due_.tail != nullptr) {
      due_.tail->next = group.head;
      group.head->previous = due_.tail;
    } else {
      due_.head = group.head;
    }
    due_.tail = group.tail;
  }
}

timer_node* timer_wheel::pop_due() noexcept {
  auto* first = due_.head;
  if (first == nullptr) return nullptr;
  take(due_, *first);
  first->slot = timer_node::unarmed;
  --size_;
  return first;
}

}  // namespace weir::detail
