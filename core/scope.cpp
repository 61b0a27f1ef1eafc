#include <weir/core/scope.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/core/worker.hpp>

#include <algorithm>

namespace weir {
namespace detail {
namespace {

// Failures beyond the first that a scope keeps; a scope with a million failing children must not grow by them.
constexpr std::size_t kept_failures = 32;

struct named_child : child {
  std::string label;
};

}  // namespace

void drop(context_node* node) noexcept {
  while (node != nullptr && node->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    auto* parent = node->parent;
    node->destroy(node);
    node = parent;
  }
}

child* child::make(std::string_view name) {
  if (name.empty()) return new (frame_allocate(sizeof(child))) child;
  auto* record = new named_child;
  record->label = name;
  record->add_flag(named);
  return record;
}

void child::destroy(child* record) noexcept {
  if (record->frame) record->frame.destroy();
  detail::drop(record->context);
  if (record->has(named)) {
    delete static_cast<named_child*>(record);
    return;
  }
  record->~child();
  frame_free(record, sizeof(child));
}

std::string_view child::name() const noexcept {
  return has(named) ? std::string_view(static_cast<const named_child*>(this)->label) : std::string_view();
}

std::uint8_t child::add_state(std::uint8_t bit) noexcept {
  if (has(shared)) return state.fetch_or(bit, std::memory_order_acq_rel);
  auto before = state.load(std::memory_order_relaxed);
  state.store(before | bit, std::memory_order_relaxed);
  return before;
}

void child::drop() noexcept {
  if ((add_state(dropped) & done) != 0) destroy(this);
}

}  // namespace detail

scope::scope(detail::fiber& parent, scope_options options)
    : group(this, parent.on->shared()),
      home_(parent.on->home()),
      outer_(parent.owner->enclosing_scope()),
      options_(std::move(options)) {}

scope::scope(detail::executor& home, scope_options options, bool shared)
    : group(this, shared), home_(home), options_(std::move(options)) {}

scope::~scope() = default;

std::uint8_t scope::flags_for(bool local) const noexcept {
  std::uint8_t flags = 0;
  if (is_shared()) flags |= detail::fiber::shared;
  if (local || (home_.workers().size() > 1 && !home_.steals())) flags |= detail::fiber::affine;
  return flags;
}

void scope::adopt(detail::child& record, std::coroutine_handle<> frame, bool local,
                  const detail::execution* by) noexcept {
  auto& promise = detail::promise_of(frame);
  promise.continuation.store(detail::first_frame, std::memory_order_relaxed);
  promise.running = &record;
  record.frame = frame;
  record.resume_at = frame;
  std::uint8_t kept = record.has(detail::fiber::named) ? detail::fiber::named : 0;
  record.prepare(static_cast<std::uint8_t>(flags_for(local) | detail::fiber::counted | kept));
  if (by != nullptr) record.context = detail::keep(by->context);
  add(record);
}

void scope::start_child(detail::child& record, std::coroutine_handle<> frame, bool local) noexcept {
  auto* here = detail::current_worker();
  if (here == nullptr || &here->home() != &home_) return start_on(0, record, frame);
  adopt(record, frame, local, here->running());
  detail::start(record, *here);
}

void scope::start_on(unsigned index, detail::child& record, std::coroutine_handle<> frame) noexcept {
  auto& workers = home_.workers();
  auto& target = *workers[index % workers.size()];
  if (detail::current_worker() == &target) {
    adopt(record, frame, true, target.running());
    return detail::start(record, target);
  }
  record.on = &target;
  adopt(record, frame, true, detail::current_execution());
  home_.spawned_elsewhere();
  target.post(detail::ready::of(record));
}

void scope::add_branch(detail::fiber& branch, std::coroutine_handle<> frame, detail::fiber& parent) noexcept {
  body_ = &branch;
  detail::launch_branch(*this, branch, frame, parent);
}

void scope::settled(detail::fiber& f) noexcept {
  auto& error = detail::promise_of(f.frame).error;
  if (!error) return;
  bool ordered = is_cancelled() || f.has(detail::fiber::cancelled);
  if (ordered && failure(error).is_cancelled()) return;
  if (&f == body_) {
    fail(error);
  } else {
    child_failed(error);
  }
}

void scope::child_failed(std::exception_ptr why) noexcept {
  if (!options_.on_child_failure) return fail(std::move(why));
  try {
    options_.on_child_failure(std::move(why));
  } catch (...) {
    fail(std::current_exception());
  }
}

void scope::fail(std::exception_ptr why) noexcept {
  {
    detail::spin_guard guard(lock_, is_shared());
    if (!first_failure_) {
      first_failure_ = std::move(why);
    } else if (other_failures_.size() < detail::kept_failures) {
      other_failures_.push_back(std::move(why));
    }
  }
  cancel_members();
}

std::exception_ptr scope::failure_of_all() noexcept {
  if (!first_failure_) return nullptr;
  return attach(std::exchange(first_failure_, nullptr), std::exchange(other_failures_, {}));
}

// A child's frame and values go before the child leaves the scope: what they refer to may belong to the parent.
void scope::finish(detail::fiber& f) noexcept {
  settled(f);
  detail::drop(std::exchange(f.context, nullptr));
  if (!f.has(detail::fiber::counted)) {
    depart(f);
    return;
  }
  auto& record = static_cast<detail::child&>(f);
  if ((record.state.load(std::memory_order_acquire) & detail::child::dropped) != 0) {
    std::exchange(record.frame, nullptr).destroy();
    depart(f);
    detail::child::destroy(&record);
    return;
  }
  unlink_fiber(f);
  auto waiter = detail::exchange_word(record.joiner(), detail::child::settled_mark, is_shared());
  auto before = record.add_state(detail::child::done);
  if (waiter > detail::child::stopped_mark) {
    detail::wake(*reinterpret_cast<detail::fiber*>(waiter - detail::first_frame));
  }
  if ((before & detail::child::dropped) != 0) detail::child::destroy(&record);
  release();
}

void scope::close(std::chrono::nanoseconds grace) {
  closing_.set();
  detail::after_unowned(*this, grace, [this] { cancel(); });
}

task<void> scope::run_exits() {
  auto& running = co_await detail::this_fiber{};
  for (;;) {
    while (!close_timers()) co_await detail::members_awaiter(*this);
    if (exits_.empty()) co_return;
    reopen_timers();
    auto cleanup = std::move(exits_.back());
    exits_.pop_back();
    detail::shield_guard guard(running);
    try {
      auto outcome = co_await attempt(cleanup());
      if (!outcome) fail(outcome.failure().exception());
    } catch (...) {  // the function itself threw
      fail(std::current_exception());
    }
  }
}

}  // namespace weir
