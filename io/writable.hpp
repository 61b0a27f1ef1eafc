// io/writable.hpp: the writing end of a stream. Awaiting a write is the backpressure: it completes when the sink has
// taken the chunk. There is no task behind it: whoever awaits a write, drain, flush or end when it is his turn drives
// the sink, the others wait behind him in order. Rests on io/stream_core.hpp. Node's outcomes
// (https://nodejs.org/api/stream.html#writable-streams): highWaterMark, drain, cork, writev, final, destroy.
#pragma once

#include <weir/io/stream_core.hpp>

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

namespace weir::io {

template <class T>
class writable;

namespace streams {

/// Where a writable puts its chunks.
template <class T>
class chunk_sink {
 public:
  virtual ~chunk_sink() = default;
  /// Takes the chunk; if it fails with `cancelled` and is cancel-safe, the chunk is where it was.
  virtual task<void> write(T& chunk) = 0;
  virtual bool batches() const noexcept = 0;
  virtual task<void> write_batch(std::span<T> chunks) = 0;
  virtual task<void> end() = 0;
  virtual bool cancel_safe() const noexcept = 0;
  virtual void destroy(const std::exception_ptr& why) noexcept = 0;
};

inline task<void> nothing_to_do() { co_return; }

/// The fallbacks of what an object does not have.
template <class T, class S>
class sink_of final : public chunk_sink<T> {
 public:
  explicit sink_of(S&& to) : to_(std::move(to)) {}

  task<void> write(T& chunk) override {
    if constexpr (requires { to_.write_from(chunk); }) {
      return weir::detail::as_task(to_.write_from(chunk));
    } else if constexpr (std::is_same_v<decltype(to_.write(std::move(chunk))), task<void>>) {
      return to_.write(std::move(chunk));
    } else if constexpr (std::is_void_v<decltype(to_.write(std::move(chunk)))>) {
      return write_now(chunk);
    } else {
      return write_step(chunk);
    }
  }
  bool batches() const noexcept override {
    return requires(S& s, std::span<T> all) { s.write_batch(all); };
  }
  task<void> write_batch(std::span<T> chunks) override {
    if constexpr (requires { to_.write_batch(chunks); }) {
      co_await to_.write_batch(chunks);
    } else {
      for (auto& each : chunks) co_await write(each);
    }
  }
  task<void> end() override {
    if constexpr (!requires { to_.end(); }) {
      co_return;
    } else if constexpr (std::is_void_v<decltype(to_.end())>) {
      to_.end();
      co_return;
    } else {
      co_await to_.end();
    }
  }
  bool cancel_safe() const noexcept override {
    if constexpr (requires { S::cancel_safe; }) return S::cancel_safe;
    return false;
  }
  void destroy(const std::exception_ptr& why) noexcept override {
    if constexpr (requires { to_.destroy(why); }) to_.destroy(why);
  }

 private:
  task<void> write_step(T& chunk) { co_await to_.write(std::move(chunk)); }
  task<void> write_now(T& chunk) {
    to_.write(std::move(chunk));
    co_return;
  }

  S to_;
};

/// A function that takes a chunk and returns a task, or nothing.
template <class F, class T>
concept write_function = std::is_invocable_v<F&, T> && (std::is_void_v<std::invoke_result_t<F&, T>> ||
                                                        std::is_same_v<std::invoke_result_t<F&, T>, task<void>>);

template <class T, class F>
class function_sink final : public chunk_sink<T> {
 public:
  function_sink(F&& write, bool cancel_safe) : write_(std::move(write)), cancel_safe_(cancel_safe) {}
  task<void> write(T& chunk) override {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, T>>) {
      return call(chunk);
    } else {
      return write_(std::move(chunk));
    }
  }
  bool batches() const noexcept override { return false; }
  task<void> write_batch(std::span<T>) override { return nothing_to_do(); }
  task<void> end() override { return nothing_to_do(); }
  bool cancel_safe() const noexcept override { return cancel_safe_; }
  void destroy(const std::exception_ptr&) noexcept override {}

 private:
  task<void> call(T& chunk) {
    write_(std::move(chunk));
    co_return;
  }

  F write_;
  bool cancel_safe_;
};

/// The turns of a writable: chunks are numbered in order of arrival, and whoever waits for one drives the sink up to it
/// when all before him have had their turn.
class writable_core : public stream_core {
 public:
  using stream_core::stream_core;

  enum class turn : std::uint8_t { mine, done, closed };

  /// Waits until chunk number `until - 1` is written, the stream is closed, or it is the caller's turn; then the caller
  /// has the sink for itself up to `leave_turn`.
  class [[nodiscard]] turn_awaiter : private weir::detail::wait, private waiter {
   public:
    turn_awaiter(writable_core& of, std::uint64_t until) noexcept : of_(of), until_(until) {}
    bool await_ready() const noexcept { return false; }
    template <weir::detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      return suspend(*h.promise().running, h);
    }
    turn await_resume() const {
      if (stopped) throw cancelled();
      return outcome_;
    }
    result<turn> try_resume() const noexcept {
      if (stopped) return failure(cancelled());
      return outcome_;
    }

   private:
    friend class writable_core;
    bool suspend(weir::detail::fiber& f, std::coroutine_handle<> h) noexcept;
    bool interrupt(weir::detail::fiber&) noexcept override;
    const char* what() const noexcept override { return "stream write"; }

    writable_core& of_;
    std::uint64_t until_;
    turn outcome_ = turn::closed;
  };

  bool can_write() const noexcept;
  bool ending() const noexcept;
  bool needs_drain() const noexcept;
  void cork() noexcept;
  /// @return whether it was the last cork
  bool uncork() noexcept;
  unsigned corks() const noexcept;

  /// Ends the taking of chunks. @return how far there is to write
  std::uint64_t begin_end();
  std::uint64_t last() const noexcept;

 protected:
  ~writable_core() = default;

  /// Why nothing more is taken, or `none`. Under the lock.
  errc refusal() const noexcept;
  [[noreturn]] static void refuse_new(errc why);
  /// Fails an operation that was under way when the stream was closed.
  [[noreturn]] void refuse() const;
  void leave_turn() noexcept;

  bool full() const noexcept { return length_ >= mark_; }
  void lighten(std::size_t weight) noexcept {
    length_ -= weight < length_ ? weight : length_;
    if (length_ == 0) needs_drain_ = false;
  }

  std::uint64_t next_ = 0;  // the number of the next chunk
  std::uint64_t done_ = 0;  // all before this one are written or withdrawn
  unsigned corks_ = 0;
  bool driving_ = false;
  bool ending_ = false;
  bool needs_drain_ = false;
};

template <class T>
class writable_state final : public writable_core {
 public:
  writable_state(std::unique_ptr<chunk_sink<T>> to, stream_options<T>&& options)
      : writable_core(options.high_water_mark.value_or(default_high_water_mark<T>)),
        sink_(std::move(to)),
        weigh_(std::move(options.weigh)) {
    on_close_ = std::move(options.on_close);
  }

  /// @tparam Held T, or T& for a chunk that comes back if the write is cancelled before the sink has it
  template <class Held>
  task<void> write(Held chunk) {
    co_await checkpoint();
    if (begin_alone(chunk)) {
      driver here(*this, driver::entered);
      co_return co_await put(chunk, weight_of(chunk), true);
    }
    bool below;
    auto until = enqueue(std::move(chunk), below);
    if (corked_below(below)) co_return;
    co_await drive(until, std::addressof(chunk));
  }

  bool write_nowait(T&& chunk) {
    bool below;
    enqueue(std::move(chunk), below);
    return below;
  }

  task<void> flush() {
    co_await checkpoint();
    co_await drive(last(), nullptr);
  }

  task<void> end() {
    co_await checkpoint();
    auto until = begin_end();
    auto whose = co_await turn_awaiter(*this, std::numeric_limits<std::uint64_t>::max());
    if (whose == turn::closed) {
      if (complete()) co_return;
      refuse();
    }
    driver here(*this);
    if (!here.open()) {
      if (complete()) co_return;
      refuse();
    }
    co_await write_queued(until, nullptr);
    auto ended = co_await attempt(guarded([&] { return sink_->end(); }));
    if (!ended) {
      if (!(ended.failure().is_cancelled() && sink_->cancel_safe()))
        conclude(ended.failure().exception(), outcome::destroyed);
      ended.failure().rethrow();
    }
    conclude(nullptr, outcome::complete);
    if (!complete()) refuse();
  }

  task<void> end(T last) {
    write_nowait(std::move(last));
    co_await end();
  }

 private:
  struct entry {
    T chunk;
    std::size_t weight;
    bool withdrawn;
  };

  // Has the sink, and nobody else does.
  class driver {
   public:
    enum already : std::uint8_t { entered };
    explicit driver(writable_state& of) noexcept : of_(of), open_(of.try_enter()) {}
    driver(writable_state& of, already) noexcept : of_(of), open_(true) {}
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;
    ~driver() {
      if (open_) of_.leave();
      of_.leave_turn();
    }
    bool open() const noexcept { return open_; }

   private:
    writable_state& of_;
    bool open_;
  };

  bool try_enter() noexcept {
    weir::detail::spin_guard guard(lock_);
    if (is_closed()) return false;
    enter();
    return true;
  }

  std::size_t weight_of(const T& chunk) const noexcept { return weigh_ ? weigh_(chunk) : own_weight(chunk); }

  /// The common case: nothing queued, nobody there. Then the chunk goes past the queue.
  bool begin_alone(const T& chunk) {
    weir::detail::spin_guard guard(lock_);
    if (refusal() != errc::none || driving_ || corks_ != 0 || next_ != done_) return false;
    driving_ = true;
    ++next_;
    length_ += weight_of(chunk);
    disturbed_ = true;
    enter();
    return true;
  }

  std::uint64_t enqueue(T&& chunk, bool& below) {
    weir::detail::spin_guard guard(lock_);
    if (auto why = refusal(); why != errc::none) {
      guard.unlock();
      refuse_new(why);
    }
    auto weight = weight_of(chunk);
    queue_.push_back(entry{std::move(chunk), weight, false});
    length_ += weight;
    disturbed_ = true;
    below = !full();
    if (!below) needs_drain_ = true;
    return ++next_;
  }
  bool corked_below(bool below) const noexcept {
    weir::detail::spin_guard guard(lock_);
    return corks_ != 0 && below;
  }

  /// Waits for chunk number `until - 1`, driving the sink when it is the caller's turn.
  /// @param back where the chunk goes if the caller is cancelled before the sink has it; null if it is not his
  task<void> drive(std::uint64_t until, T* back) {
    auto whose = co_await attempt(turn_awaiter(*this, until));
    if (!whose) {
      if (back != nullptr) withdraw(until - 1, *back);
      whose.failure().rethrow();
    }
    if (*whose == turn::done) co_return;
    if (*whose == turn::closed) refuse();
    driver here(*this);
    if (!here.open()) refuse();
    if ((co_await weir::detail::this_fiber{}).must_stop()) {  // cancelled when the turn was on its way already
      if (back != nullptr) withdraw(until - 1, *back);
      throw cancelled();
    }
    co_await write_queued(until, back);
  }

  void withdraw(std::uint64_t number, T& back) {
    weir::detail::spin_guard guard(lock_);
    auto first = next_ - queue_.size();
    if (is_closed() || number < first) return;
    auto& which = queue_[static_cast<std::size_t>(number - first)];
    which.withdrawn = true;
    lighten(which.weight);
    which.weight = 0;
    std::destroy_at(&back);
    std::construct_at(&back, std::move(which.chunk));
  }

  task<void> write_queued(std::uint64_t until, T* back) {
    for (;;) {
      std::optional<entry> one;
      if (next_batch(until)) {
        co_await put_batch();
        continue;
      }
      if (!next_chunk(until, one)) break;
      bool own = back != nullptr && number_in_hand() + 1 == until;
      auto written = co_await attempt(put(one->chunk, one->weight, own));
      if (written) continue;
      if (own) {
        std::destroy_at(back);
        std::construct_at(back, std::move(one->chunk));
      }
      written.failure().rethrow();
    }
  }

  std::uint64_t number_in_hand() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return done_;
  }

  // The next chunk before `until`; false if there is none.
  bool next_chunk(std::uint64_t until, std::optional<entry>& into) {
    weir::detail::spin_guard guard(lock_);
    skip_withdrawn();
    if (is_closed()) {
      guard.unlock();
      refuse();
    }
    if (done_ >= until || queue_.empty()) return false;
    into.emplace(queue_.pop_front());
    return true;
  }

  void skip_withdrawn() noexcept {
    while (!queue_.empty() && queue_.front().withdrawn) {
      static_cast<void>(queue_.pop_front());
      ++done_;
    }
  }

  // Moves what is before `until` into `batch_`, if the sink takes several and there are.
  bool next_batch(std::uint64_t until) {
    if (!sink_->batches()) return false;
    weir::detail::spin_guard guard(lock_);
    if (is_closed()) return false;
    skip_withdrawn();
    auto count = std::min<std::uint64_t>(queue_.size(), until > done_ ? until - done_ : 0);
    if (count < 2) return false;
    batch_.clear();
    batch_weight_ = 0;
    batch_count_ = count;
    for (; count != 0; --count) {
      auto each = queue_.pop_front();
      if (each.withdrawn) continue;
      batch_weight_ += each.weight;
      batch_.push_back(std::move(each.chunk));
    }
    return true;
  }

  task<void> put_batch() {
    auto written = co_await attempt(guarded([&] { return sink_->write_batch(batch_); }));
    batch_.clear();
    if (!written) {
      conclude(written.failure().exception(), outcome::destroyed);
      written.failure().rethrow();
    }
    settle(batch_count_, batch_weight_);
  }

  /// Gives one chunk to the sink. If the sink is cancelled and has not taken it, it is withdrawn if it is `own` and
  /// stays first in the queue if not.
  task<void> put(T& chunk, std::size_t weight, bool own) {
    auto written = co_await attempt(guarded([&] { return sink_->write(chunk); }));
    if (!written) {
      if (!written.failure().is_cancelled() || !sink_->cancel_safe()) {
        conclude(written.failure().exception(), outcome::destroyed);
      } else if (own) {
        settle(1, weight);
      } else {
        put_back(chunk, weight);
      }
      written.failure().rethrow();
    }
    settle(1, weight);
  }

  void put_back(T& chunk, std::size_t weight) {
    weir::detail::spin_guard guard(lock_);
    if (!is_closed()) queue_.push_front(entry{std::move(chunk), weight, false});
  }

  void settle(std::uint64_t count, std::size_t weight) {
    weir::detail::spin_guard guard(lock_);
    if (is_closed()) {
      guard.unlock();
      refuse();
    }
    done_ += count;
    lighten(weight);
  }

  void close_end(const std::exception_ptr& why) noexcept override {
    if (sink_) sink_->destroy(why);
  }
  void discard() noexcept override {
    chunk_ring<entry> dropped;
    {
      weir::detail::spin_guard guard(lock_);
      queue_.swap(dropped);
      length_ = 0;
    }
    batch_.clear();
    sink_.reset();
  }

  std::unique_ptr<chunk_sink<T>> sink_;
  chunk_ring<entry> queue_;
  std::function<std::size_t(const T&)> weigh_;
  std::vector<T> batch_;  // kept, so that a batch allocates nothing
  std::size_t batch_weight_ = 0;
  std::uint64_t batch_count_ = 0;
};

template <class T>
using writable_share = std::shared_ptr<writable_state<T>>;

}  // namespace streams

/// The writing end of a stream of T: a handle that owns it and is moved around. Destroying it before `end` has
/// completed destroys the stream.
///
/// Any number of tasks may write; chunks reach the sink whole, one (or one batch) at a time, in the order of the calls.
/// `write_nowait`, `cork`, `uncork`, `destroy` and the questions may be called from any thread. The handle must outlive
/// the awaits on it and stay where it is meanwhile.
///
/// A failure of the sink ends the stream: the write that met it and those that wait fail with it, what is queued is
/// dropped, and later writes fail with ERR_STREAM_DESTROYED. `end` and the failure exclude each other.
///
/// Cancelling a write that waits for its turn withdraws the chunk whole. If its own chunk is with the sink already, and
/// the sink is not cancel-safe (see `sink`), the stream fails with `cancelled`: a part may have been written, and
/// nothing can follow it. The same goes for drain, flush and end while they write what others have queued.
template <class T>
class [[nodiscard]] writable {
 public:
  using value_type = T;

  /// Closed from the start; a place to move another to.
  writable() noexcept = default;

  /// A stream into an object with `write(T)`, which returns an awaitable or nothing, and perhaps `write_batch`, `end`
  /// (called once, after the last write: Node's `final`) and `destroy`; see `sink`.
  template <class S>
    requires(requires(S& s, T chunk) { s.write(std::move(chunk)); } && !std::same_as<S, writable> &&
             !std::is_lvalue_reference_v<S>)
  explicit writable(S&& to, stream_options<T> options = {})
      : writable(std::make_unique<streams::sink_of<T, S>>(std::forward<S>(to)), std::move(options)) {}

  /// A stream into `write(chunk)`, a function that returns task<> or nothing. The next call begins when this one is
  /// over. It lives as long as the stream is open.
  template <class F>
    requires(streams::write_function<F, T>)
  explicit writable(F write, stream_options<T> options = {})
      : writable(std::make_unique<streams::function_sink<T, F>>(std::move(write), options.cancel_safe),
                 std::move(options)) {}

  writable(writable&& other) noexcept = default;
  writable& operator=(writable&& other) noexcept {
    if (this != &other) {
      destroy();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~writable() { destroy(); }

  /// Completes when the sink has taken the chunk, after all that were written before it. While the stream is corked it
  /// completes at once, until the mark is reached: then it writes what is queued as one batch.
  /// Fails with ERR_STREAM_WRITE_AFTER_END, ERR_STREAM_DESTROYED or what the sink threw.
  task<void> write(T chunk) { return state_->template write<T>(std::move(chunk)); }
  /// The same for a chunk that stays with the caller if the write is cancelled before the sink has it.
  task<void> write_from(T& chunk) { return state_->template write<T&>(chunk); }

  /// Queues the chunk whatever is queued already; it is written by the next awaited write, drain, flush or end.
  /// @return false once the mark is reached: time to `drain` (Node's `write`)
  /// @throws weir::error ERR_STREAM_WRITE_AFTER_END, ERR_STREAM_DESTROYED
  bool write_nowait(T chunk) { return state_->write_nowait(std::move(chunk)); }

  /// If `write_nowait` has returned false since: completes when everything queued so far is written. Else at once.
  task<void> drain() { return state_->needs_drain() ? state_->flush() : streams::nothing_to_do(); }

  /// Completes when everything queued so far is written, corked or not.
  task<void> flush() { return state_->flush(); }

  /// Collects chunks until `uncork` was called as often, for a sink that takes several at once; bounded by the mark.
  /// What was collected is written by the next awaited write, drain, flush or end.
  void cork() noexcept { state_->cork(); }
  void uncork() noexcept { state_->uncork(); }
  unsigned corked() const noexcept { return state_ ? state_->corks() : 0; }

  /// Takes no more chunks, writes what is queued, lets the sink finish (`end` of the object) and closes the stream. A
  /// second call waits for the same. If it was cancelled before the sink was asked to finish, one may call it again.
  /// Fails with what the sink threw, or ERR_STREAM_DESTROYED.
  task<void> end() { return state_->end(); }
  /// The same after one more chunk.
  task<void> end(T last) { return state_->end(std::move(last)); }

  /// Closes the stream at once and drops what is queued; pending writes fail with `why` or ERR_STREAM_DESTROYED. The
  /// sink is released, when a write that it is busy with has ended. Without effect if the stream is closed.
  void destroy(const std::exception_ptr& why = nullptr) noexcept {
    if (state_) state_->destroy(why);
  }
  void destroy(const error& why) noexcept { destroy(failure(why).exception()); }

  bool can_write() const noexcept { return state_ && state_->can_write(); }  ///< neither ended nor destroyed
  bool ended() const noexcept { return state_ && state_->ending(); }         ///< `end` was called
  bool finished() const noexcept { return state_ && state_->complete(); }    ///< `end` has completed
  bool closed() const noexcept { return !state_ || state_->closed(); }
  bool destroyed() const noexcept { return closed() && !finished(); }
  bool needs_drain() const noexcept { return state_ && state_->needs_drain(); }
  std::exception_ptr errored() const noexcept { return state_ ? state_->errored() : nullptr; }

  /// What is queued or being written, and the mark, in bytes or items.
  std::size_t length() const noexcept { return state_ ? state_->length() : 0; }
  std::size_t high_water_mark() const noexcept { return state_ ? state_->mark() : 0; }

  /// @cond internal
  writable(std::unique_ptr<streams::chunk_sink<T>> to, stream_options<T>&& options)
      : state_(std::make_shared<streams::writable_state<T>>(std::move(to), std::move(options))) {}
  explicit writable(streams::writable_share<T> state) noexcept : state_(std::move(state)) {}
  const streams::writable_share<T>& state() const noexcept { return state_; }
  void detach() noexcept { state_.reset(); }
  /// @endcond

 private:
  streams::writable_share<T> state_;
};

}  // namespace weir::io
