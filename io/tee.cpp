#include <weir/io/tee.hpp>

#include <algorithm>

namespace weir::io::streams {

tee_core::tee_core(std::vector<branch_options>&& options, bool together, std::size_t default_mark)
    : together_(together) {
  branches_.reserve(options.size());
  for (auto& each : options) {
    auto& made = *branches_.emplace_back(std::make_unique<branch>());
    made.mark = std::max<std::size_t>(each.high_water_mark.value_or(default_mark), 1);
    made.rule = each.when_slow;
    made.dropped = each.dropped;
  }
}

bool tee_core::held_up() const noexcept {
  return std::any_of(branches_.begin(), branches_.end(),
                     [](const auto& each) { return each->rule == slow_branch::wait && !each->closed && each->full(); });
}

void tee_core::notify() noexcept {
  for (auto& each : branches_) {
    if (std::exchange(each->waits, false)) each->changed.set();
  }
}

tee_core::step tee_core::look(branch& mine) const {
  if (mine.error) std::rethrow_exception(mine.error);
  if (over_ && error_) std::rethrow_exception(error_);
  if (over_ || mine.closed) return step::end;
  return driving_ ? step::wait : step::drive;
}

}  // namespace weir::io::streams
