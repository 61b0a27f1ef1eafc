#include <weir/core/abort.hpp>

#include <weir/core/combine.hpp>
#include <weir/core/time.hpp>
#include <weir/core/worker.hpp>

#include <cerrno>
#include <mutex>
#include <thread>
#include <vector>

namespace weir {
namespace detail {

class abort_state : public std::enable_shared_from_this<abort_state> {
 public:
  bool aborted() const noexcept { return aborted_.load(std::memory_order_acquire); }

  std::exception_ptr reason() const noexcept {
    std::lock_guard lock(mutex_);
    return reason_;
  }

  /// @return false if the signal has fired: then the listener is not linked and will not be called
  bool listen(abort_listener& l) noexcept {
    std::lock_guard lock(mutex_);
    if (aborted()) return false;
    l.previous = last_;
    l.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &l;
    last_ = &l;
    l.linked = true;
    return true;
  }

  /// Afterwards the listener is not being called and will not be. @return false if it was called
  bool forget(abort_listener& l) noexcept {
    std::unique_lock lock(mutex_);
    if (l.linked) {
      unlink(l);
      return true;
    }
    while (calling_ == &l && caller_ != std::this_thread::get_id()) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    }
    return false;
  }

  void abort(std::exception_ptr why) noexcept {
    auto keep_alive = weak_from_this().lock();
    std::unique_lock lock(mutex_);
    if (aborted()) return;
    reason_ = why ? std::move(why) : std::make_exception_ptr(cancelled());
    aborted_.store(true, std::memory_order_release);
    caller_ = std::this_thread::get_id();
    while (first_ != nullptr) {
      auto& oldest = *first_;
      unlink(oldest);
      calling_ = &oldest;
      lock.unlock();
      oldest.fire(oldest);
      lock.lock();
      calling_ = nullptr;
    }
  }

  std::vector<abort_signal::registration> sources;  // what a combined signal listens to
  std::vector<abort_signal> kept;

 private:
  void unlink(abort_listener& l) noexcept {
    (l.previous != nullptr ? l.previous->next : first_) = l.next;
    (l.next != nullptr ? l.next->previous : last_) = l.previous;
    l.linked = false;
  }

  mutable std::mutex mutex_;
  std::atomic<bool> aborted_{false};
  std::exception_ptr reason_;
  abort_listener* first_ = nullptr;
  abort_listener* last_ = nullptr;
  abort_listener* calling_ = nullptr;
  std::thread::id caller_;
};

// One branch, and what may cut it short. The timer and the signal each hold the group open until they are
// out of the way, so neither can find it gone.
class bounded_branch final : public fan_out, private timer_node, private abort_listener, private job {
 public:
  explicit bounded_branch(fiber& parent) noexcept : fan_out(policy::settled, parent), home_(parent.on) {}

  void begin(fiber& parent, std::coroutine_handle<> frame, std::chrono::nanoseconds limit, abort_signal signal) {
    retain();
    signal_ = std::move(signal);
    if (limit <= std::chrono::nanoseconds(0)) expire();
    if (limit > std::chrono::nanoseconds(0) && limit != std::chrono::nanoseconds::max()) arm(limit);
    if (signal_.state() != nullptr) listen();
    start_branch(branch_, frame, parent);
    release();
  }

  bool expired() const noexcept { return expired_; }
  bool signalled() const noexcept { return signalled_; }

 protected:
  void settled(fiber& f) noexcept override {
    fan_out::settled(f);
    if (armed_ && home_->disarm(*this)) release();
    if (listening_ && signal_.state()->forget(*this)) release();
  }

 private:
  void expire() noexcept {
    expired_ = true;
    cancel_members();
  }

  void arm(std::chrono::nanoseconds limit) noexcept {
    retain();
    armed_ = true;
    timer_node::fire = [](timer_node& node, worker&) noexcept {
      auto& self = static_cast<bounded_branch&>(node);
      self.expire();
      self.release();
    };
    auto now = std::chrono::ceil<std::chrono::milliseconds>(home_->clock().time_since_epoch());
    auto wait = std::chrono::ceil<std::chrono::milliseconds>(limit);
    duration = static_cast<std::uint32_t>(wait.count());
    home_->arm(*this, static_cast<std::uint64_t>((now + wait).count()));
  }

  // The signal may fire on a thread that is no worker; fibers are cancelled on workers only.
  void listen() noexcept {
    retain();
    abort_listener::fire = [](abort_listener& l) noexcept {
      auto& self = static_cast<bounded_branch&>(l);
      self.job::run = [](job& j, worker&) noexcept {
        auto& branch = static_cast<bounded_branch&>(j);
        branch.cancel_members();
        branch.release();
      };
      self.signalled_ = true;
      self.home_->post(ready::of(static_cast<job&>(self)));
    };
    listening_ = signal_.state()->listen(*this);
    if (listening_) return;
    signalled_ = true;
    cancel_members();
    release();
  }

  worker* home_;
  fiber branch_;
  abort_signal signal_;
  bool armed_ = false;
  bool listening_ = false;
  bool expired_ = false;
  std::atomic<bool> signalled_{false};
};

void bounded_deleter::operator()(bounded_branch* branch) const noexcept {
  branch->~bounded_branch();
  frame_free(branch, sizeof(bounded_branch));
}

bool bounded_base::suspend(fiber& parent, std::coroutine_handle<> resume, std::coroutine_handle<> frame) {
  branch_.reset(new (frame_allocate(sizeof(bounded_branch))) bounded_branch(parent));
  branch_->begin(parent, frame, limit_, signal_);
  return branch_->join(parent, resume);
}

std::exception_ptr bounded_base::verdict() const noexcept {
  if (branch_->signalled()) return signal_.reason();
  if (!branch_->expired()) return nullptr;
  return failure(os_error(ETIMEDOUT, "timeout")).exception();
}

}  // namespace detail

struct abort_signal::registration::entry : detail::abort_listener {
  std::function<void()> hook;
  std::weak_ptr<detail::abort_state> state;
};

abort_signal::registration::registration(std::unique_ptr<entry> made) noexcept : entry_(std::move(made)) {}

abort_signal::registration::registration(registration&&) noexcept = default;

abort_signal::registration& abort_signal::registration::operator=(registration&& other) noexcept {
  std::swap(entry_, other.entry_);
  return *this;
}

abort_signal::registration::~registration() {
  if (!entry_) return;
  if (auto state = entry_->state.lock()) state->forget(*entry_);
}

bool abort_signal::aborted() const noexcept { return state_ && state_->aborted(); }

std::exception_ptr abort_signal::reason() const noexcept { return state_ ? state_->reason() : nullptr; }

void abort_signal::throw_if_aborted() const {
  if (aborted()) std::rethrow_exception(reason());
}

abort_signal::registration abort_signal::on_abort(std::function<void()> hook) const {
  auto made = std::make_unique<registration::entry>();
  made->hook = std::move(hook);
  made->fire = [](detail::abort_listener& l) noexcept { static_cast<registration::entry&>(l).hook(); };
  if (state_) {
    made->state = state_;
    if (!state_->listen(*made)) made->hook();
  }
  return registration(std::move(made));
}

abort_signal abort_signal::any(std::initializer_list<abort_signal> signals) {
  auto state = std::make_shared<detail::abort_state>();
  for (const auto& each : signals) {
    state->kept.push_back(each);
    std::weak_ptr<detail::abort_state> combined = state;
    auto* source = each.state_.get();
    state->sources.push_back(each.on_abort([combined, source] {
      if (auto target = combined.lock()) target->abort(source->reason());
    }));
  }
  return abort_signal(std::move(state));
}

abort_signal abort_signal::timeout(std::chrono::nanoseconds time) {
  auto* running = detail::current_execution();
  if (running == nullptr) {
    throw error(errc::err_invalid_state, "abort_signal::timeout: no weir runtime runs on this thread");
  }
  auto state = std::make_shared<detail::abort_state>();
  std::weak_ptr<detail::abort_state> target = state;
  detail::after_unowned(detail::root_of(*running), time, [target] {
    if (auto alive = target.lock()) alive->abort(failure(os_error(ETIMEDOUT, "timeout")).exception());
  });
  return abort_signal(std::move(state));
}

abort_signal abort_signal::abort(std::exception_ptr reason) {
  auto state = std::make_shared<detail::abort_state>();
  state->abort(std::move(reason));
  return abort_signal(std::move(state));
}

abort_controller::abort_controller() : state_(std::make_shared<detail::abort_state>()) {}

void abort_controller::abort(std::exception_ptr reason) const noexcept { state_->abort(std::move(reason)); }

}  // namespace weir
