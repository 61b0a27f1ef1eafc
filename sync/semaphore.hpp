// sync/semaphore.hpp: permits that tasks wait for. Rests on wait_queue.hpp; no system calls.
#pragma once

#include <weir/sync/wait_queue.hpp>

#include <cstddef>
#include <optional>
#include <utility>

namespace weir::sync {

/// A counted set of permits, handed out first come, first served. A wish for many is not overtaken by later wishes
/// for few.
///
/// Completes with: a `permit` that gives its share back when it goes out of scope.
/// Cancelling a waiting `acquire` takes the waiter out of the queue and serves those behind it; no permit is lost:
/// one that was handed over at the same moment is held, and given back as the task unwinds.
/// May be awaited from any worker; permits may end, and `release` be called, on any thread.
/// The semaphore must outlive its waiters and permits (a scope around both does it); destroying one that is waited
/// for ends the program.
class semaphore {
 public:
  /// The most permits that a semaphore can be made for.
  static constexpr std::size_t max_permits = 0x7fff'ffff;

  /// @param permits free permits at the start
  /// @param most how many there can ever be, `permits` to `max_permits`
  /// @throws weir::error ERR_OUT_OF_RANGE
  explicit semaphore(std::size_t permits, std::size_t most = max_permits);
  semaphore(const semaphore&) = delete;
  semaphore& operator=(const semaphore&) = delete;
  ~semaphore() {
    if (gate_.has_waiters()) detail::destroyed_in_use("semaphore");
  }

  /// Some permits, held.
  class [[nodiscard]] permit {
   public:
    permit() = default;  ///< holds none
    permit(permit&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), count_(std::exchange(other.count_, std::size_t{0})) {}
    permit& operator=(permit&& other) noexcept {
      if (this != &other) {
        release();
        of_ = std::exchange(other.of_, nullptr);
        count_ = std::exchange(other.count_, std::size_t{0});
      }
      return *this;
    }
    ~permit() { release(); }

    std::size_t count() const noexcept { return count_; }

    /// Gives the permits back early. Harmless if none are held.
    void release() noexcept;

    /// Takes `count` of the permits, at most all, out into one that ends on its own.
    permit split(std::size_t count) noexcept;

    /// Does not give them back: somebody will `release` them, or they are gone for good.
    void forget() noexcept {
      of_ = nullptr;
      count_ = 0;
    }

   private:
    friend class semaphore;
    permit(semaphore& of, std::size_t count) noexcept : of_(&of), count_(count) {}

    semaphore* of_ = nullptr;
    std::size_t count_ = 0;
  };

  class [[nodiscard]] awaiter : public detail::permit_wait {
   public:
    awaiter(semaphore& of, std::size_t count) noexcept
        : permit_wait(of.gate_, count <= of.most_ ? count : 0, "semaphore"), of_(&of), count_(count) {}
    permit await_resume() const {
      if (stopped() || count_ > of_->most_) refusal().rethrow();
      return permit(*of_, count_);
    }
    result<permit> try_resume() const {
      if (stopped() || count_ > of_->most_) return refusal();
      return permit(*of_, count_);
    }

   private:
    failure refusal() const;

    semaphore* of_;
    std::size_t count_;
  };

  /// Waits until `count` permits are free and takes them together.
  /// @throws weir::error ERR_OUT_OF_RANGE if `count` exceeds what the semaphore can ever hold
  awaiter acquire(std::size_t count = 1) noexcept { return awaiter(*this, count); }

  /// Takes `count` permits if they are free now; never overtakes a waiter. Any thread.
  [[nodiscard]] std::optional<permit> try_acquire(std::size_t count = 1) noexcept;

  /// Adds permits: those that somebody forgot, or new ones. Any thread.
  /// @throws weir::error ERR_OUT_OF_RANGE if more would be free than there can ever be; nothing is added then
  void release(std::size_t count = 1);

  /// Free permits; for figures, not for decisions.
  std::size_t available() const noexcept { return gate_.free(); }

 private:
  detail::permit_gate gate_;
  std::size_t most_;
};

}  // namespace weir::sync
