// sync/shared_mutex.hpp: a lock for many readers or one writer. Rests on wait_queue.hpp; no system calls.
#pragma once

#include <weir/sync/wait_queue.hpp>

#include <cstdint>
#include <optional>
#include <utility>

namespace weir::sync {

/// A lock that readers share and a writer has alone, in order of arrival: readers that come after a waiting writer
/// wait behind it, so neither kind starves the other.
///
/// `co_await m.lock_shared()` and `co_await m.lock()` complete with guards. A reader that asks for a second shared
/// lock while it holds one can deadlock behind a writer. Cancelling a waiter takes it out of the queue and lets those
/// behind it in. Otherwise as `mutex`: any worker, any thread for guards, must outlive guards and waiters.
class shared_mutex {
 public:
  /// As many readers as fit at a time; further ones wait.
  static constexpr std::uint64_t max_readers = 1U << 30;

  shared_mutex() noexcept : gate_(max_readers) {}
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;
  ~shared_mutex() {
    if (gate_.free() != max_readers || gate_.has_waiters()) detail::destroyed_in_use("shared_mutex");
  }

 private:
  // A reader takes one permit, a writer takes them all.
  template <std::uint64_t Share>
  class held {
   public:
    held() = default;  ///< holds nothing
    held(held&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    held& operator=(held&& other) noexcept {
      if (this != &other) {
        unlock();
        of_ = std::exchange(other.of_, nullptr);
      }
      return *this;
    }
    ~held() { unlock(); }

    /// Unlocks early. Any thread. Harmless if nothing is held.
    void unlock() noexcept {
      if (of_ != nullptr) std::exchange(of_, nullptr)->gate_.give(Share);
    }

    explicit operator bool() const noexcept { return of_ != nullptr; }

   protected:
    friend class shared_mutex;
    explicit held(shared_mutex& of) noexcept : of_(&of) {}

    shared_mutex* of_ = nullptr;
  };

  template <class Guard, std::uint64_t Share>
  class waiting : public detail::permit_wait {
   public:
    waiting(shared_mutex& of, const char* what) noexcept : permit_wait(of.gate_, Share, what), of_(&of) {}
    Guard await_resume() const {
      if (stopped()) throw cancelled();
      return Guard(*of_);
    }
    result<Guard> try_resume() const noexcept {
      if (stopped()) return failure(cancelled());
      return Guard(*of_);
    }

   private:
    shared_mutex* of_;
  };

 public:
  /// The lock, held by one of several readers.
  class [[nodiscard]] shared_guard : public held<1> {
   public:
    using held::held;
  };

  /// The lock, held by the writer.
  class [[nodiscard]] guard : public held<max_readers> {
   public:
    using held::held;

    /// Becomes a reader without letting another writer in between; readers at the head of the queue come in too.
    shared_guard downgrade() && noexcept {
      auto* of = std::exchange(of_, nullptr);
      if (of == nullptr) return {};
      of->gate_.give(max_readers - 1);
      return shared_guard(*of);
    }
  };

  class [[nodiscard]] shared_awaiter : public waiting<shared_guard, 1> {
   public:
    explicit shared_awaiter(shared_mutex& of) noexcept : waiting(of, "shared_mutex (reader)") {}
  };
  class [[nodiscard]] awaiter : public waiting<guard, max_readers> {
   public:
    explicit awaiter(shared_mutex& of) noexcept : waiting(of, "shared_mutex (writer)") {}
  };

  /// Waits to read.
  shared_awaiter lock_shared() noexcept { return shared_awaiter(*this); }

  /// Waits to write.
  awaiter lock() noexcept { return awaiter(*this); }

  /// The lock if nobody writes or waits. Any thread.
  [[nodiscard]] std::optional<shared_guard> try_lock_shared() noexcept {
    if (!gate_.try_take(1)) return std::nullopt;
    return shared_guard(*this);
  }

  /// The lock if nobody has it or waits. Any thread.
  [[nodiscard]] std::optional<guard> try_lock() noexcept {
    if (!gate_.try_take(max_readers)) return std::nullopt;
    return guard(*this);
  }

 private:
  detail::permit_gate gate_;
};

}  // namespace weir::sync
