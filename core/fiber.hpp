// core/fiber.hpp: one line of execution, as the scheduler sees it. A fiber is a chain of awaits: the
// frame that is to resume, the frames that await it, up to the child of a scope or the branch of a
// combinator. It is stackless: a record, not a stack. Here are also `wait`, what a suspended fiber
// waits for, and `group`, a set of fibers that end before the one that started them goes on.
#pragma once

#include <weir/core/spin_lock.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>

namespace weir {

class scope;

namespace detail {

class worker;
class group;
class fiber;
struct context_node;

/// A place in a queue of the scheduler. Bit 0 tells what the link points to: a job (1) or a fiber (0).
struct link {
  std::uintptr_t next = 0;
};

/// Something a worker is to call: a callback of the event loop, or a message from another thread.
struct job : link {
  using function = void (*)(job&, worker&) noexcept;
  function run = nullptr;
};

/// What code runs on behalf of: the group that owns what it starts, and its async-local values.
struct execution {
  group* owner = nullptr;
  context_node* context = nullptr;
};

/// A word that other workers may change, if there are any: `shared` is false where nobody else looks, and then the
/// exchange costs no more than a load and a store.
template <class T>
T exchange_word(std::atomic<T>& at, T value, bool shared) noexcept {
  if (shared) return at.exchange(value, std::memory_order_acq_rel);
  T before = at.load(std::memory_order_relaxed);
  at.store(value, std::memory_order_relaxed);
  return before;
}

template <class T>
bool replace_word(std::atomic<T>& at, T expected, T value, bool shared) noexcept {
  if (shared) return at.compare_exchange_strong(expected, value, std::memory_order_acq_rel);
  if (at.load(std::memory_order_relaxed) != expected) return false;
  at.store(value, std::memory_order_relaxed);
  return true;
}

/// What a suspended fiber waits for. Lives in the awaiter, hence in the frame.
class wait {
 public:
  /// Asks for an early end. Called once at most per wait, from any worker, while the fiber cannot resume.
  /// @return true if the wait is over and the caller is to schedule the fiber; false if it ends by itself
  virtual bool interrupt(fiber& waiter) noexcept = 0;

  /// The members waited for, where the wait is for a group.
  virtual group* members() noexcept { return nullptr; }

  /// What to call it in a task dump.
  virtual const char* what() const noexcept = 0;

 protected:
  ~wait() = default;
};

/// A place in a group's list.
struct member {
  member* previous = nullptr;
  member* next_member = nullptr;
};

class fiber : public link, public execution, public member {
 public:
  enum : std::uint8_t {
    cancelled = 1,  ///< asked to end; every later await of a leaf sees it
    affine = 2,     ///< lives on one worker and is never stolen
    counted = 4,    ///< a child record, reference-counted by scope and join handle (see scope.hpp)
    named = 8,      ///< a child record with a name
    shared = 16,    ///< more than one worker may touch it
  };

  fiber() = default;
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  bool has(std::uint8_t flag) const noexcept { return (flags_.load(std::memory_order_relaxed) & flag) != 0; }

  /// True where an await must end with `cancelled`: asked to stop, and not shielded.
  bool must_stop() const noexcept { return (flags_.load(std::memory_order_seq_cst) & cancelled) != 0 && shields == 0; }

  /// Sets the flags of a fiber that nobody else can see yet.
  void prepare(std::uint8_t flags) noexcept { flags_.store(flags, std::memory_order_relaxed); }
  void add_flag(std::uint8_t flag) noexcept { flags_.fetch_or(flag, std::memory_order_relaxed); }

  /// Announces what the fiber is about to wait for. From here on `cancel` may be called.
  /// @return false if the fiber has to stop: then it is not blocked and the caller must not suspend
  [[nodiscard]] bool block(wait& on, std::coroutine_handle<> resume) noexcept;

  /// Like `block`, for a wait that a cancelled fiber has to go through all the same.
  void block_always(wait& on, std::coroutine_handle<> resume) noexcept;

  /// Ends the wait: afterwards no `cancel` of it runs or will run. Called once per suspension, by whoever
  /// is going to schedule the fiber, or by `await_suspend` when it gives up.
  void unblock() noexcept;

  /// Asks the fiber to stop: sets the flag and reaches what it waits for. Any worker.
  void cancel() noexcept;

  /// What the fiber waits for, kept from resuming until `let_go`; null if it does not wait.
  wait* hold() noexcept;
  void let_go(wait& held) noexcept;

  /// `cancel` in two steps, for whoever stops many. @return the group to stop before `finish_cancel`, or null: done
  group* begin_cancel() noexcept;
  void finish_cancel(wait& held, bool over) noexcept;

  std::coroutine_handle<> frame;      ///< the first frame
  std::coroutine_handle<> resume_at;  ///< the innermost frame
  worker* on = nullptr;               ///< where it runs or ran last; an affine fiber's home

 private:
  static constexpr std::uintptr_t busy = 1;

  std::atomic<std::uintptr_t> waiting_{0};  // a wait, plus `busy` while a cancel or a dump holds it
  std::atomic<std::uint8_t> flags_{0};

 public:
  std::uint8_t shields = 0;  ///< depth of `shield`; touched by the fiber itself only
};

/// Resumes `f` where it belongs, soon. Any thread; the fiber must have been unblocked.
void schedule(fiber& f) noexcept;

/// Ends the wait of `f` and resumes it. What it waited for, the awaiter and all, may be gone when this returns.
inline void wake(fiber& f) noexcept {
  f.unblock();
  schedule(f);
}

/// Like `schedule`, on the worker whose backend or timer ended the wait.
void schedule_from_poll(fiber& f, worker& on) noexcept;

/// For awaits that are ready: once a fiber has had so many in a row that others must run, puts it behind them.
/// @return true if the fiber is to suspend; it will be resumed by itself
bool yield_if_spent(fiber& f, std::coroutine_handle<> resume) noexcept;

/// Starts `f`, a new fiber, on behalf of `by`: on the same worker if affine, else wherever there is room.
void start(fiber& f, worker& by) noexcept;

/// The worker of this thread, or null. Never to be kept across a suspension.
worker* current_worker() noexcept;

/// Fibers, and timers, that end before the fiber that waits for them goes on.
///
/// Everything that reaches over threads happens under the lock: joining, leaving, cancelling. The last
/// member to leave schedules the waiting parent and touches the group no more.
class group : public wait {
 public:
  /// What became of a timer that was to be dropped.
  enum class dropped : std::uint8_t { firing, counted, uncounted };

  group(scope* enclosing, bool shared) noexcept : scope_(enclosing), shared_(shared) {}

  /// Adds a fiber that has not started. It starts cancelled where the group has been cancelled already.
  void add(fiber& f) noexcept;

  /// Called on the worker where the last frame of `f` ended. Neither `f` nor the group may be touched after.
  virtual void finish(fiber& f) noexcept;

  /// Asks all members to stop; later ones start stopped.
  void cancel_members() noexcept;

  /// Keeps the group open without a member, for callbacks that are queued. `release` undoes it.
  void retain() noexcept;
  void release() noexcept;

  /// Timers that the group owns. Only counted ones keep it open; those left when it is cancelled or ends
  /// are cleared. Each call names whether the timer is counted at that moment.
  void add_timer(member& timer, bool counted) noexcept;
  /// The timer fires: it leaves, and its callback holds the group open until `release`.
  /// @return false if the group has ended: the callback must not run, and nothing is held
  [[nodiscard]] bool claim_timer(member& timer, const bool& counted) noexcept;
  /// The timer was stopped (and is out of its wheel).
  void forget_timer(member& timer, bool counted) noexcept;
  void recount_timer(bool& counted, bool wanted) noexcept;  ///< ref / unref
  /// Ends the group for timers: clears those left. @return false if a member or a callback is left: nothing is done
  bool close_timers() noexcept;
  void reopen_timers() noexcept;

  bool is_cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }
  bool is_shared() const noexcept { return shared_; }

  /// The fiber that waits for the members, or null while it does not.
  fiber* waiting_parent() const noexcept {
    spin_guard guard(lock_, shared_);
    return parent_;
  }
  scope* enclosing_scope() const noexcept { return scope_; }

  /// Suspends `parent` until nothing counted is left. @return false if nothing is, or it must stop
  bool join(fiber& parent, std::coroutine_handle<> resume) noexcept;

  bool interrupt(fiber& waiter) noexcept override;
  group* members() noexcept override { return this; }

  /// Calls `visit(fiber&)` for each member, under the lock.
  template <class Visit>
  void each_fiber(Visit visit) {
    spin_guard guard(lock_, shared_);
    for (member* each = fibers_; each != nullptr; each = each->next_member) visit(static_cast<fiber&>(*each));
  }

 protected:
  ~group() = default;

  /// Records how `f` ended, before it leaves the group. Runs on the worker that `f` ended on, unlocked.
  virtual void settled(fiber& f) noexcept = 0;

  /// Takes a timer out of its wheel, under the lock. `firing`: too late, it will be claimed.
  virtual dropped drop_timer(member& timer) noexcept;

  bool live() const noexcept { return live_ != 0; }

  /// Takes `f` out of the list without counting it down: until `release`, it still holds the group open.
  void unlink_fiber(fiber& f) noexcept;
  /// Takes `f` out and counts it down.
  void depart(fiber& f) noexcept;

  mutable spin_lock lock_;
  scope* scope_;

 private:
  static void link_in(member& m, member*& list) noexcept;
  static void unlink(member& m, member*& list) noexcept;
  fiber* leave(spin_guard& guard) noexcept;
  fiber* stop_members() noexcept;
  bool begin_stop(group* above) noexcept;
  fiber* finish_stop() noexcept;
  void drop_timers() noexcept;

  member* fibers_ = nullptr;
  member* timers_ = nullptr;
  fiber* parent_ = nullptr;     // set while it waits
  group* above_ = nullptr;      // while it is being stopped: the group that `stopping_` of is being worked on
  member* stopping_ = nullptr;  // the member being stopped
  std::uint32_t live_ = 0;
  std::atomic<bool> cancelled_{false};
  bool shared_;
  bool timers_closed_ = false;
};

}  // namespace detail
}  // namespace weir
