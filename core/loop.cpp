#include <weir/core/loop.hpp>

#include <weir/core/worker.hpp>

namespace weir::detail {
namespace {

void run_callback(job& j, worker& w) noexcept {
  auto& c = static_cast<callback&>(j);
  auto* owner = c.owner;
  if (!c.cleared.load(std::memory_order_relaxed) && !owner->is_cancelled()) {
    w.enter(&c);
    try {
      c.invoke(c);
    } catch (...) {
      owner->enclosing_scope()->child_failed(std::current_exception());
    }
    w.enter(nullptr);
  }
  release(c);
  owner->release();
}

worker& here() noexcept { return *current_worker(); }

}  // namespace

void adopt(callback& made, const char* what) {
  auto* running = current_execution();
  if (running == nullptr) {
    throw error(errc::err_invalid_state, std::string(what) + ": no weir runtime runs on this thread");
  }
  made.run = run_callback;
  made.owner = running->owner->enclosing_scope();
  made.context = keep(running->context);
  made.owner->retain();
}

void release(callback& c) noexcept {
  if (c.references.load(std::memory_order_acquire) != 1 && c.references.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  drop(c.context);
  c.destroy(c);
}

void queue_tick(callback& c) noexcept { here().push_tick(ready::of(c)); }
void queue_micro(callback& c) noexcept { here().push_microtask(ready::of(c)); }
void queue_check(callback& c) noexcept { here().push_immediate(ready::of(c)); }
void queue_close(callback& c) noexcept { here().push_closing(ready::of(c)); }

void enqueue_fiber(fiber& f, std::coroutine_handle<> h, phase where) noexcept {
  f.resume_at = h;
  worker& on = *f.on;
  switch (where) {
    case phase::tick: on.push_tick(ready::of(f)); return;
    case phase::microtask: on.push_microtask(ready::of(f)); return;
    case phase::immediate: on.push_immediate(ready::of(f)); return;
    case phase::ready: on.push_yielded(f); return;
  }
}

}  // namespace weir::detail
