// core/context.hpp: values that follow the flow of execution: awaits, spawns, timers and ticks (Node's
// AsyncLocalStorage, https://nodejs.org/api/async_context.html). A context is an immutable list, shared by
// everything that was started under it; setting a value makes a new head for one flow only.
#pragma once

#include <weir/core/task.hpp>

#include <atomic>
#include <utility>

namespace weir {
namespace detail {

struct context_node {
  std::atomic<std::uint32_t> references{1};
  context_node* parent = nullptr;
  const void* key = nullptr;
  void (*destroy)(context_node*) noexcept = nullptr;
};

inline context_node* keep(context_node* node) noexcept {
  if (node != nullptr) node->references.fetch_add(1, std::memory_order_relaxed);
  return node;
}

void drop(context_node* node) noexcept;

/// What the running code belongs to (fiber or callback), or null outside a runtime.
execution* current_execution() noexcept;

/// Puts a context in place for a stretch of a fiber's life.
class context_guard {
 public:
  context_guard(fiber& running, context_node* head) noexcept
      : running_(running), outer_(std::exchange(running.context, head)) {}
  context_guard(const context_guard&) = delete;
  context_guard& operator=(const context_guard&) = delete;
  ~context_guard() { drop(std::exchange(running_.context, outer_)); }

 private:
  fiber& running_;
  context_node* outer_;
};

}  // namespace detail

/// A value that each flow of execution sees its own version of. Usually a global or a static member.
///
/// `co_await local.with(value, op)` runs `op` with the value set; whatever op awaits, spawns or schedules
/// (timers, ticks, immediates) sees it, and so do their own children. The value lives as long as anything
/// that inherited it. `get` may be called from any code that a runtime runs; the object must outlive its use.
template <class T>
class async_local {
 public:
  async_local() = default;
  async_local(const async_local&) = delete;
  async_local& operator=(const async_local&) = delete;

  /// The value of the running flow, or null where none was set.
  T* get() const noexcept {
    auto* running = detail::current_execution();
    for (auto* node = running != nullptr ? running->context : nullptr; node != nullptr; node = node->parent) {
      if (node->key == this) return &static_cast<entry*>(node)->value;
    }
    return nullptr;
  }

  template <class A>
  task<detail::awaited_t<A>> with(T value, A op) {
    auto& running = co_await detail::this_fiber{};
    auto* head = new entry(std::move(value));
    head->key = this;
    head->destroy = [](detail::context_node* node) noexcept { delete static_cast<entry*>(node); };
    head->parent = detail::keep(running.context);
    detail::context_guard guard(running, head);
    co_return co_await std::move(op);
  }

 private:
  struct entry : detail::context_node {
    explicit entry(T&& given) : value(std::move(given)) {}
    T value;
  };
};

}  // namespace weir
