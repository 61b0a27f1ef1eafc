#include <weir/core/combine.hpp>

#include <weir/core/worker.hpp>

namespace weir::detail {

// On the worker of whoever runs this: the parent, or under a limit the branch that has just made room.
void launch_branch(group& owner, fiber& branch, std::coroutine_handle<> frame, fiber& parent) noexcept {
  auto& promise = promise_of(frame);
  promise.continuation.store(first_frame, std::memory_order_relaxed);
  promise.running = &branch;
  branch.frame = frame;
  branch.resume_at = frame;
  branch.context = keep(parent.context);
  std::uint8_t flags = parent.has(fiber::shared) ? fiber::shared : 0;
  if (parent.has(fiber::affine)) flags |= fiber::affine;
  branch.prepare(flags);
  owner.add(branch);
  start(branch, *current_worker());
}

std::exception_ptr none_succeeded(std::vector<std::exception_ptr> errors) {
  return failure(aggregate_error(std::move(errors))).exception();
}

std::size_t checked_limit(std::size_t limit) {
  if (limit == 0) throw error(errc::err_out_of_range, "all: the limit must be at least 1");
  return limit;
}

fan_out::fan_out(policy rule, fiber& parent, void (*on_free)(fan_out&) noexcept) noexcept
    : group(parent.owner->enclosing_scope(), parent.has(fiber::shared)), rule_(rule), on_free_(on_free) {}

void fan_out::start_branch(fiber& branch, std::coroutine_handle<> frame, fiber& parent) noexcept {
  launch_branch(*this, branch, frame, parent);
}

const char* fan_out::what() const noexcept {
  switch (rule_) {
    case policy::all: return "all";
    case policy::settled: return "all_settled";
    case policy::race: return "race";
    case policy::any: return "any";
  }
  return "branches";
}

void fan_out::settled(fiber& f) noexcept {
  drop(std::exchange(f.context, nullptr));
  auto& error = promise_of(f.frame).error;
  bool decides = false;
  switch (rule_) {
    case policy::all: decides = error != nullptr && !(is_cancelled() && failure(error).is_cancelled()); break;
    case policy::settled: break;
    case policy::race: decides = true; break;
    case policy::any: decides = error == nullptr; break;
  }
  fiber* nobody = nullptr;
  if (decides && decided_.compare_exchange_strong(nobody, &f, std::memory_order_acq_rel)) cancel_members();
  if (on_free_ != nullptr) on_free_(*this);
}

}  // namespace weir::detail
