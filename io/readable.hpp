// io/readable.hpp: the reading end of a stream. A source is pulled when somebody asks, so that awaiting is the
// backpressure; a queue that is pushed into makes the pusher wait instead. `readable<T>` is either of them behind one
// virtual call per chunk, with a buffer for what was read too early. Rests on io/stream_core.hpp. Node's outcomes
// (https://nodejs.org/api/stream.html#readable-streams) without its two modes: `next` is `data`, `end` and `error`.
#pragma once

#include <weir/core/generator.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/stream_core.hpp>

#include <algorithm>
#include <limits>

namespace weir::io {

template <class T>
class readable;
template <class T>
class readable_queue;

namespace streams {

/// What a readable pulls from.
template <class T>
class chunk_source {
 public:
  virtual ~chunk_source() = default;
  /// @param size how much is wanted, in bytes or items: advice
  virtual task<std::optional<T>> pull(std::size_t size) = 0;
  /// Whether `pull`, having failed with `cancelled`, may be called again.
  virtual bool cancel_safe() const noexcept = 0;
  virtual void destroy(const std::exception_ptr& why) noexcept = 0;
};

template <class S>
bool survives_cancel(const S& end) noexcept {
  if constexpr (requires { end.closed(); }) {
    return !end.closed();
  } else if constexpr (requires { S::cancel_safe; }) {
    return S::cancel_safe;
  } else {
    return false;
  }
}
template <class T>
bool survives_cancel(const generator<T>& end) noexcept {
  return !end.done();  // one that has caught it is still there
}

template <class S>
void tell_destroyed(S& end, const std::exception_ptr& why) noexcept {
  if constexpr (requires { end.destroy(why); }) end.destroy(why);
}

template <class T, class S>
class source_of final : public chunk_source<T> {
 public:
  explicit source_of(S&& from) : from_(std::move(from)) {}
  task<std::optional<T>> pull(std::size_t) override {
    if constexpr (std::is_same_v<decltype(from_.next()), task<std::optional<T>>>) {
      return from_.next();
    } else {
      return step();
    }
  }
  bool cancel_safe() const noexcept override { return survives_cancel(from_); }
  void destroy(const std::exception_ptr& why) noexcept override { tell_destroyed(from_, why); }

 private:
  task<std::optional<T>> step() { co_return co_await from_.next(); }

  S from_;
};

template <class F>
inline constexpr bool takes_size = std::is_invocable_v<F&, std::size_t>;

template <class F>
auto call_pull(F& pull, std::size_t size) {
  if constexpr (takes_size<F>) {
    return pull(size);
  } else {
    return pull();
  }
}

/// A function that gives the next chunk.
template <class F>
concept pull_function = (std::is_invocable_v<F&> || takes_size<F>) && requires(F& f) {
  requires weir::detail::is_task<decltype(call_pull(f, 0))>;
  requires is_optional<typename decltype(call_pull(f, 0))::value_type>;
};

template <pull_function F>
using pulled_value = typename decltype(call_pull(std::declval<F&>(), 0))::value_type::value_type;

template <class T, class F>
class pull_source final : public chunk_source<T> {
 public:
  pull_source(F&& pull, bool cancel_safe) : pull_(std::move(pull)), cancel_safe_(cancel_safe) {}
  task<std::optional<T>> pull(std::size_t size) override { return call_pull(pull_, size); }
  bool cancel_safe() const noexcept override { return cancel_safe_; }
  void destroy(const std::exception_ptr&) noexcept override {}

 private:
  F pull_;
  bool cancel_safe_;
};

/// A pusher that waits for room, and what it wants to push.
template <class T>
struct push_waiter : waiter {
  T* chunk = nullptr;
  bool accepted = false;
};

template <class T>
class readable_state final : public stream_core {
 public:
  readable_state(std::unique_ptr<chunk_source<T>> from, stream_options<T>&& options)
      : stream_core(options.high_water_mark.value_or(default_high_water_mark<T>)),
        source_(std::move(from)),
        pushed_(source_ == nullptr),
        weigh_(std::move(options.weigh)) {
    on_close_ = std::move(options.on_close);
  }

  enum class step : std::uint8_t { got, end, pull, wait, failed, busy };

  /// Takes a chunk if there is one, and says what to do if not.
  step take(std::optional<T>& into) {
    waiter_list woken;
    step what;
    {
      weir::detail::spin_guard guard(lock_);
      if (reading_) return step::busy;
      disturbed_ = true;
      what = look(1);
      if (what == step::got) {
        into.emplace(pop());
        admit(woken);
      }
    }
    wake_all(woken);
    if (what == step::end) conclude(nullptr, outcome::complete);
    return what;
  }

  /// The next chunk, or with `takes` false: waits until `wanted` is queued or the end of the source is known.
  task<std::optional<T>> advance(std::size_t wanted, bool takes) {
    reader here(*this);
    expect(wanted);
    for (;;) {
      std::optional<T> got;
      switch (wanted == 1 && takes ? take_for(here, got) : look_locked(wanted)) {
        case step::got: co_return got;
        case step::end: co_return std::nullopt;
        case step::pull: co_await pull_some(wanted); break;
        case step::wait: co_await parking(*this, takers_, reader_ready); break;
        default: std::rethrow_exception(why_closed());
      }
    }
  }

  /// Takes up to `size` bytes off the front, as one chunk.
  std::optional<T> take_bytes(std::size_t size, bool keep)
    requires is_bytes<T>
  {
    waiter_list woken;
    std::optional<T> all;
    bool over = false;
    {
      weir::detail::spin_guard guard(lock_);
      size = std::min(size, queue_.empty() ? 0 : queued_bytes(size));
      if (size != 0) all = cut(size, keep);
      over = size == 0 && ended_ && queue_.empty() && !keep;
      admit(woken);
    }
    wake_all(woken);
    if (over) conclude(nullptr, outcome::complete);
    return all;
  }

  /// The chunk that `next` would give, which stays; null at the end.
  const T* front() {
    weir::detail::spin_guard guard(lock_);
    return queue_.empty() ? nullptr : &queue_.front();
  }

  void unshift(T&& chunk) {
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      if (is_closed()) {
        bool after_end = is_complete();
        guard.unlock();
        std::rethrow_exception(after_end ? stream_error(errc::err_stream_unshift_after_end_event)
                                         : destroyed_error("unshift"));
      }
      auto weight = weight_of(chunk);
      if (is_bytes<T> && chunk_is_empty(chunk)) return;
      queue_.push_front(std::move(chunk));
      length_ += weight;
      woken = takers_.take();
    }
    wake_all(woken);
  }

  void pause() noexcept {
    weir::detail::spin_guard guard(lock_);
    paused_ = true;
  }
  void resume() noexcept {
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      paused_ = false;
      woken = takers_.take();
    }
    wake_all(woken);
  }
  bool paused() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return paused_;
  }
  bool can_read() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return !is_closed();
  }

  // ---- the pushing side

  enum class pushed : std::uint8_t { yes, full, after_end, destroyed };

  /// Queues a chunk if there is room, or whether there is or not.
  pushed push(T& chunk, bool always, bool* below = nullptr) {
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      if (auto what = may_push(); what != pushed::yes) return what;
      bool blocked = full() || !givers_.empty();
      if (blocked) ++refused_;
      if (blocked && !always) return pushed::full;
      enqueue(std::move(chunk));
      if (below != nullptr) {
        *below = !full();
        if (!*below && !blocked) ++refused_;
      }
      woken = takers_.take();
    }
    wake_all(woken);
    return pushed::yes;
  }

  /// Puts a pusher into the queue. @return false: it need not wait, see `outcome`
  bool wait_for_room(push_waiter<T>& w, weir::detail::fiber& f, pushed& outcome) {
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      w.stopped = f.must_stop();
      if (w.stopped) return false;
      outcome = may_push();
      if (outcome != pushed::yes) return false;
      if (full() || !givers_.empty()) {
        ++refused_;
        givers_.push(w);
        return true;
      }
      enqueue(std::move(*w.chunk));
      w.accepted = true;
      woken = takers_.take();
    }
    wake_all(woken);
    return false;
  }
  bool stop_waiting(push_waiter<T>& w) noexcept {
    weir::detail::spin_guard guard(lock_);
    return givers_.give_up(w);
  }

  void end() noexcept {
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      ended_ = true;
      woken = takers_.take();
    }
    wake_all(woken);
  }
  bool ended() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return ended_;
  }

  /// A failure of the pushing side; after the end there is none any more.
  void fail(const std::exception_ptr& why) noexcept {
    if (!ended()) conclude(why, outcome::destroyed);
  }
  std::uint64_t refusals() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return refused_;
  }

  [[noreturn]] void refuse(pushed what) const {
    if (what == pushed::after_end) throw error(errc::err_stream_push_after_eof);
    auto why = errored();
    std::rethrow_exception(why ? why : destroyed_error("push"));
  }

  // ---- reading ahead

  /// Pulls whenever there is room, until the source ends.
  static task<void> read_ahead(std::shared_ptr<readable_state> of) {
    try {
      for (;;) {
        switch (of->look_ahead()) {
          case step::pull: co_await of->pull_some(1); break;
          case step::wait: co_await parking(*of, of->givers_, room_ahead); break;
          default: co_return;
        }
      }
    } catch (const cancelled&) {
      of->conclude(std::current_exception(), outcome::destroyed);
    } catch (...) {
      co_return;  // the reader gets it
    }
  }
  bool begin_read_ahead() {
    weir::detail::spin_guard guard(lock_);
    if (ahead_ || pushed_) return false;
    if (reading_) throw error(errc::err_invalid_state, "read_ahead() while somebody reads");
    ahead_ = true;
    return true;
  }

 private:
  // One reader at a time: two would pull from one source at once.
  class reader {
   public:
    explicit reader(readable_state& of) : of_(of) {
      weir::detail::spin_guard guard(of.lock_);
      if (of.reading_) std::rethrow_exception(busy_error());
      of.reading_ = true;
      of.disturbed_ = true;
    }
    reader(const reader&) = delete;
    reader& operator=(const reader&) = delete;
    ~reader() {
      weir::detail::spin_guard guard(of_.lock_);
      of_.reading_ = false;
      of_.wanted_ = 0;
    }

   private:
    readable_state& of_;
  };

  class user {
   public:
    explicit user(readable_state& of) noexcept : of_(of) {}
    user(const user&) = delete;
    user& operator=(const user&) = delete;
    ~user() { of_.leave(); }

   private:
    readable_state& of_;
  };

  std::size_t weight_of(const T& chunk) const noexcept { return weigh_ ? weigh_(chunk) : own_weight(chunk); }
  static bool chunk_is_empty(const T& chunk) noexcept {
    if constexpr (is_bytes<T>) return chunk.empty();
    return false;
  }

  bool full() const noexcept {
    if (length_ < std::max(mark_, wanted_)) return false;
    return mark_ != 0 || !queue_.empty() || !reader_waits_;
  }

  void enqueue(T&& chunk) {
    if (chunk_is_empty(chunk)) return;
    length_ += weight_of(chunk);
    queue_.push_back(std::move(chunk));
  }
  T pop() noexcept {
    auto weight = weight_of(queue_.front());
    length_ -= std::min(weight, length_);
    reader_waits_ = false;
    return queue_.pop_front();
  }
  // Lets pushers in, first come, first served.
  void admit(waiter_list& woken) {
    if (!pushed_) {
      if (!full()) {
        while (auto* each = givers_.pop()) woken.gather(*each);
      }
      return;
    }
    while (!full()) {
      auto* first = static_cast<push_waiter<T>*>(givers_.pop());
      if (first == nullptr) return;
      enqueue(std::move(*first->chunk));
      first->accepted = true;
      woken.gather(*first);
    }
  }

  pushed may_push() const noexcept {
    if (ended_) return pushed::after_end;
    return is_closed() ? pushed::destroyed : pushed::yes;
  }

  step look(std::size_t wanted) noexcept {
    if (is_closed()) return is_complete() ? step::end : step::failed;
    if (paused_) return step::wait;
    if (!queue_.empty() && length_ >= wanted) return step::got;
    if (ended_) return queue_.empty() ? step::end : step::got;
    return source_ != nullptr && !ahead_ ? step::pull : step::wait;
  }

  // For the reader that has the stream: looks, and lets in who waits for a reader to come.
  step look_locked(std::size_t wanted) {
    waiter_list woken;
    step what;
    {
      weir::detail::spin_guard guard(lock_);
      what = look(wanted);
      if (what == step::wait) let_in(woken), what = look(wanted);
    }
    wake_all(woken);
    return what;
  }
  step take_for(const reader&, std::optional<T>& into) {
    waiter_list woken;
    step what;
    {
      weir::detail::spin_guard guard(lock_);
      what = look(1);
      if (what == step::wait) let_in(woken), what = look(1);
      if (what == step::got) {
        into.emplace(pop());
        admit(woken);
      }
    }
    wake_all(woken);
    if (what == step::end) conclude(nullptr, outcome::complete);
    return what;
  }
  void let_in(waiter_list& woken) {
    reader_waits_ = !paused_;
    admit(woken);
  }

  void expect(std::size_t wanted) noexcept {
    weir::detail::spin_guard guard(lock_);
    wanted_ = wanted;
  }

  static bool reader_ready(const stream_core& s) noexcept {
    auto& self = static_cast<const readable_state&>(s);
    if (self.is_closed()) return true;
    if (self.paused_) return false;
    return self.ended_ || (!self.queue_.empty() && self.length_ >= self.wanted_);
  }
  static bool room_ahead(const stream_core& s) noexcept {
    auto& self = static_cast<const readable_state&>(s);
    return self.is_closed() || self.length_ < std::max(self.mark_, self.wanted_);
  }
  step look_ahead() const noexcept {
    weir::detail::spin_guard guard(lock_);
    if (is_closed() || ended_) return step::end;
    return room_ahead(*this) ? step::pull : step::wait;
  }

  // Gets one chunk from the source into the queue.
  task<void> pull_some(std::size_t wanted) {
    std::size_t size;
    {
      weir::detail::spin_guard guard(lock_);
      if (is_closed()) co_return;  // whoever asked looks again
      size = std::max({mark_, wanted, std::size_t{1}});
      size -= std::min(length_, size - 1);
      enter();
    }
    user here(*this);
    auto got = co_await attempt(guarded([&] { return source_->pull(size); }));
    if (!got) {
      if (!(got.failure().is_cancelled() && source_->cancel_safe()))
        conclude(got.failure().exception(), outcome::destroyed);
      // A source that was destroyed meanwhile may say `cancelled`; that is nothing to tell a reader who was not.
      bool told_to_stop = (co_await weir::detail::this_fiber{}).must_stop();
      if (closed() && got.failure().is_cancelled() && !told_to_stop) std::rethrow_exception(why_closed());
      got.failure().rethrow();
    }
    waiter_list woken;
    {
      weir::detail::spin_guard guard(lock_);
      if (is_closed()) co_return;
      if (*got) {
        enqueue(std::move(**got));
      } else {
        ended_ = true;
      }
      woken = takers_.take();
    }
    wake_all(woken);
  }

  std::size_t queued_bytes(std::size_t enough) noexcept {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < queue_.size() && sum < enough; ++i) sum += queue_[i].size();
    return sum;
  }

  // The first `size` bytes, of which there are as many.
  T cut(std::size_t size, bool keep)
    requires is_bytes<T>
  {
    if (queue_.front().size() >= size) {
      if (keep) return queue_.front().slice(0, static_cast<std::ptrdiff_t>(size));
      if (queue_.front().size() == size) return pop();
      return take_part(size);
    }
    auto all = T::alloc_unsafe(size);
    auto into = all.mutable_bytes();
    for (std::size_t at = 0, i = 0; at < size;) {
      T part = keep ? queue_[i++].slice() : queue_.front().size() <= size - at ? pop() : take_part(size - at);
      auto count = std::min(part.size(), size - at);
      std::copy_n(part.data(), count, into.data() + at);
      at += count;
    }
    return all;
  }
  T take_part(std::size_t size)
    requires is_bytes<T>
  {
    auto before = weight_of(queue_.front());
    T part = queue_.front().take_front(size);
    length_ -= std::min(length_, before - std::min(before, weight_of(queue_.front())));
    return part;
  }

  void close_end(const std::exception_ptr& why) noexcept override {
    if (source_) source_->destroy(why);
  }
  void discard() noexcept override {
    chunk_ring<T> dropped;
    {
      weir::detail::spin_guard guard(lock_);
      queue_.swap(dropped);
      length_ = 0;
    }
    source_.reset();
  }

  std::unique_ptr<chunk_source<T>> source_;
  const bool pushed_;  // nothing to pull from: others push
  chunk_ring<T> queue_;
  std::function<std::size_t(const T&)> weigh_;
  std::size_t wanted_ = 0;  // by the reader that waits
  std::uint64_t refused_ = 0;
  bool ended_ = false;  // nothing will be added
  bool paused_ = false;
  bool reading_ = false;
  bool reader_waits_ = false;
  bool ahead_ = false;
};

/// `co_await r.next()`: what is queued at once, else by way of the source.
template <class T>
class [[nodiscard]] take_awaiter {
 public:
  explicit take_awaiter(readable_state<T>& from) noexcept : from_(from) {}
  take_awaiter(take_awaiter&& other) noexcept : from_(other.from_) {}  // before it is awaited only
  take_awaiter& operator=(take_awaiter&&) = delete;
  ~take_awaiter() = default;

  bool await_ready() const noexcept { return false; }

  template <weir::detail::weir_promise P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) {
    using step = typename readable_state<T>::step;
    auto& running = *h.promise().running;
    if (running.must_stop()) {
      stopped_ = true;
      return h;
    }
    what_ = from_.take(got_);
    if (what_ == step::pull || what_ == step::wait) {
      auto next = slow_.emplace(from_.advance(1, true).release()).await_suspend(h);
      return weir::detail::yield_if_spent(running, next) ? std::noop_coroutine() : next;
    }
    return weir::detail::yield_if_spent(running, h) ? std::noop_coroutine() : std::coroutine_handle<>(h);
  }
  std::optional<T> await_resume() {
    if (stopped_) throw cancelled();
    if (slow_) return slow_->await_resume();
    if (auto why = refusal()) std::rethrow_exception(why);
    return std::move(got_);
  }
  result<std::optional<T>> try_resume() {
    if (stopped_) return failure(cancelled());
    if (slow_) return slow_->try_resume();
    if (auto why = refusal()) return failure(why);
    return std::move(got_);
  }

 private:
  std::exception_ptr refusal() const {
    using step = typename readable_state<T>::step;
    if (what_ == step::busy) return busy_error();
    return what_ == step::failed ? from_.why_closed() : nullptr;
  }

  readable_state<T>& from_;
  std::optional<T> got_;
  std::optional<weir::detail::task_awaiter<std::optional<T>>> slow_;
  typename readable_state<T>::step what_ = readable_state<T>::step::got;
  bool stopped_ = false;
};

/// `co_await q.push(chunk)`. `Held`: T, or T& where the chunk stays with the caller unless it is accepted.
template <class T, class Held>
class [[nodiscard]] push_awaiter : private weir::detail::wait, private push_waiter<T> {
 public:
  push_awaiter(readable_state<T>& to, Held&& chunk) noexcept : to_(to), held_(std::forward<Held>(chunk)) {}

  bool await_ready() const noexcept { return false; }
  template <weir::detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) {
    auto& f = *h.promise().running;
    if (!f.block(*this, h)) {
      this->stopped = true;
      return false;
    }
    this->who = &f;
    this->chunk = std::addressof(held_);
    if (to_.wait_for_room(*this, f, outcome_)) return true;
    f.unblock();
    return this->accepted && weir::detail::yield_if_spent(f, h);
  }
  void await_resume() const {
    if (this->accepted) return;
    if (this->stopped) throw cancelled();
    to_.refuse(outcome_);
  }

 private:
  bool interrupt(weir::detail::fiber&) noexcept override { return to_.stop_waiting(*this); }
  const char* what() const noexcept override { return "stream"; }

  readable_state<T>& to_;
  Held held_;
  typename readable_state<T>::pushed outcome_ = readable_state<T>::pushed::destroyed;
};

template <class T>
using readable_share = std::shared_ptr<readable_state<T>>;

}  // namespace streams

/// The reading end of a stream of T: a handle that owns it and is moved around. Destroying it destroys the stream.
///
/// One task at a time reads; a second one gets ERR_INVALID_STATE. `destroy`, `pause`, `resume` and the questions may be
/// called from any thread. The handle must outlive the awaits on it and stay where it is meanwhile.
/// A failure has one outcome for all: what the source threw comes out of the `next` that met it and of every later
/// one; the stream is closed and the source released. What was queued is dropped then.
///
/// Cancelling any await here loses nothing that was queued. If the cancelled await was pulling from a source that is
/// not cancel-safe (see `source`; generators are not unless they catch it), the stream fails with `cancelled`, because
/// nobody knows what the source has lost.
template <class T>
class [[nodiscard]] readable {
 public:
  using value_type = T;

  /// Closed from the start; a place to move another to.
  readable() noexcept = default;

  /// A stream of what a source or generator gives. Nothing is pulled until somebody asks.
  template <source S>
    requires(std::same_as<source_value<S>, T> && !std::same_as<std::remove_cvref_t<S>, readable> &&
             !std::is_lvalue_reference_v<S>)
  explicit readable(S&& from, stream_options<T> options = {})
      : readable(std::make_unique<streams::source_of<T, S>>(std::forward<S>(from)), std::move(options)) {}

  /// A stream of what `pull()` or `pull(size)` gives, a function that returns task<std::optional<T>>. It is called once
  /// for each demand, never while a call is under way, and no more after it gave nullopt or threw. `size`, in bytes or
  /// items, is advice. The function lives as long as the stream is open.
  template <class F>
    requires(streams::pull_function<F> && !source<F>)
  explicit readable(F pull, stream_options<T> options = {})
      : readable(make_pull(std::move(pull), options.cancel_safe), std::move(options)) {}

  /// A stream of what another one gives, with a buffer of its own.
  readable(readable from, stream_options<T> options)
      : readable(std::make_unique<streams::source_of<T, readable>>(std::move(from)), std::move(options)) {}

  readable(readable&& other) noexcept = default;
  readable& operator=(readable&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~readable() { drop(); }

  /// The next chunk, or nullopt at the end and ever after. Never an empty buffer.
  /// Fails with what the source threw; ERR_STREAM_PREMATURE_CLOSE if the stream was destroyed; ERR_INVALID_STATE if
  /// another task reads. While the stream is paused it waits.
  streams::take_awaiter<T> next() noexcept { return streams::take_awaiter<T>(*state_); }

  /// Exactly `size` bytes in one buffer, or what is left at the end, or nullopt there. A part of one chunk is a slice
  /// of it; bytes of several are copied together. More than the high-water mark may be asked for: then that much is
  /// buffered. Cancelling it loses nothing: what has come so far is read by the next.
  /// @throws weir::error ERR_OUT_OF_RANGE for a size of 0
  task<std::optional<T>> read(std::size_t size)
    requires is_bytes<T>
  {
    if (size == 0) throw error(errc::err_out_of_range, "read(0) would read nothing for ever");
    co_await streams::checkpoint();
    co_await state_->advance(size, false);
    co_return state_->take_bytes(size, false);
  }

  /// The same bytes without taking them; nullopt at the end.
  task<std::optional<T>> peek(std::size_t size)
    requires is_bytes<T>
  {
    co_await streams::checkpoint();
    co_await state_->advance(std::max<std::size_t>(size, 1), false);
    co_return state_->take_bytes(size, true);
  }

  /// The chunk that `next` will give, which stays; null at the end. Valid until something is read, put back or the
  /// stream is destroyed.
  task<const T*> peek() {
    co_await streams::checkpoint();
    co_await state_->advance(1, false);
    co_return state_->front();
  }

  /// Puts a chunk back to be read first, whatever the mark.
  /// @throws weir::error ERR_STREAM_UNSHIFT_AFTER_END_EVENT once the end was read; ERR_STREAM_DESTROYED
  void unshift(T chunk) { state_->unshift(std::move(chunk)); }

  /// Readers wait from now on until `resume`. Producers go on up to the high-water mark.
  void pause() noexcept { state_->pause(); }
  void resume() noexcept { state_->resume(); }
  bool is_paused() const noexcept { return state_->paused(); }

  /// From now on a child of `owner` pulls from the source up to the high-water mark, ahead of the readers. Ends with
  /// the stream; if `owner` is cancelled the stream fails with `cancelled`. Without effect on a queue, or twice.
  /// The child stops for `destroy` when the source has answered; cancel the scope to stop it at once.
  void read_ahead(scope& owner) {
    if (state_->begin_read_ahead()) static_cast<void>(owner.spawn(streams::readable_state<T>::read_ahead, state_));
  }

  /// Closes the stream at once and drops what is queued; pending and later reads fail with `why`, or with
  /// ERR_STREAM_PREMATURE_CLOSE. The source is released, as soon as its answer has come if one is being waited for: to
  /// cut that short, cancel the reader. Without effect if the stream has ended or was destroyed.
  void destroy(const std::exception_ptr& why = nullptr) noexcept {
    if (state_) state_->destroy(why);
  }
  void destroy(const error& why) noexcept { destroy(failure(why).exception()); }

  bool can_read() const noexcept { return state_ && state_->can_read(); }  ///< neither ended nor destroyed
  bool ended() const noexcept { return state_ && state_->complete(); }     ///< the end was read
  bool closed() const noexcept { return !state_ || state_->closed(); }     ///< ended or destroyed
  bool destroyed() const noexcept { return closed() && !ended(); }
  bool disturbed() const noexcept { return state_ && state_->disturbed(); }  ///< somebody has read, or destroyed it
  std::exception_ptr errored() const noexcept { return state_ ? state_->errored() : nullptr; }

  /// What is queued, and the mark, in bytes or items.
  std::size_t length() const noexcept { return state_ ? state_->length() : 0; }
  std::size_t high_water_mark() const noexcept { return state_ ? state_->mark() : 0; }

  /// @cond internal
  readable(std::unique_ptr<streams::chunk_source<T>> from, stream_options<T>&& options)
      : state_(std::make_shared<streams::readable_state<T>>(std::move(from), std::move(options))) {}
  explicit readable(streams::readable_share<T> state) noexcept : state_(std::move(state)) {}
  const streams::readable_share<T>& state() const noexcept { return state_; }
  /// @endcond

 private:
  void drop() noexcept {
    if (state_) state_->abandon();
  }

  template <class F>
  static std::unique_ptr<streams::chunk_source<T>> make_pull(F&& pull, bool cancel_safe) {
    static_assert(std::same_as<streams::pulled_value<F>, T>, "the function gives another type than the stream");
    return std::make_unique<streams::pull_source<T, F>>(std::forward<F>(pull), cancel_safe);
  }

  streams::readable_share<T> state_;
};

template <source S>
readable(S) -> readable<source_value<S>>;
template <source S>
readable(S, stream_options<source_value<S>>) -> readable<source_value<S>>;
template <streams::pull_function F>
readable(F) -> readable<streams::pulled_value<F>>;
template <streams::pull_function F>
readable(F, stream_options<streams::pulled_value<F>>) -> readable<streams::pulled_value<F>>;

/// The pushing side of a readable that has no source: for producers that come by themselves. Any number of tasks may
/// push, and threads that are none of the runtime's may use `push_nowait`, `end` and `fail`. Move-only; if it goes
/// before `end`, the reader gets ERR_STREAM_PREMATURE_CLOSE after nothing more.
template <class T>
class [[nodiscard]] readable_queue {
 public:
  readable_queue() noexcept = default;
  readable_queue(readable_queue&&) noexcept = default;
  readable_queue& operator=(readable_queue&& other) noexcept {
    if (this != &other) {
      fail();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~readable_queue() { fail(); }

  /// Waits until there is less queued than the mark and queues the chunk, first come, first served. Cancelled, it has
  /// queued nothing. Fails with ERR_STREAM_PUSH_AFTER_EOF after `end`; with the stream's error, or
  /// ERR_STREAM_DESTROYED, if the reader has destroyed it or does so meanwhile.
  streams::push_awaiter<T, T> push(T chunk) noexcept { return {*state_, std::move(chunk)}; }
  /// The same for a chunk that stays with the caller if it is not taken.
  streams::push_awaiter<T, T&> push_from(T& chunk) noexcept { return {*state_, chunk}; }

  /// Queues the chunk whatever is queued already. @return false once the mark is reached: time to stop (Node's `push`)
  /// @throws weir::error as for `push`
  bool push_nowait(T chunk) {
    bool below = true;
    auto outcome = state_->push(chunk, true, &below);
    if (outcome != streams::readable_state<T>::pushed::yes) state_->refuse(outcome);
    return below;
  }

  /// Queues the chunk only if there is room. @return whether it did; if not the chunk is untouched
  bool try_push(T& chunk) {
    auto outcome = state_->push(chunk, false);
    if (outcome != streams::readable_state<T>::pushed::yes && outcome != streams::readable_state<T>::pushed::full)
      state_->refuse(outcome);
    return outcome == streams::readable_state<T>::pushed::yes;
  }

  /// Nothing more will come: readers get what is queued and then the end.
  void end() noexcept {
    if (state_) state_->end();
  }

  /// Fails the stream with `why`, or ERR_STREAM_PREMATURE_CLOSE; after `end` without effect.
  void fail(const std::exception_ptr& why = nullptr) noexcept {
    if (state_) state_->fail(why);
  }

  bool closed() const noexcept { return !state_ || state_->closed(); }  ///< nobody will read what is pushed
  std::size_t length() const noexcept { return state_->length(); }
  std::size_t high_water_mark() const noexcept { return state_->mark(); }

  /// How often a push found the stream full: how many times the producer was paused.
  std::uint64_t pauses() const noexcept { return state_->refusals(); }

  /// @cond internal
  explicit readable_queue(streams::readable_share<T> state) noexcept : state_(std::move(state)) {}
  /// @endcond

 private:
  streams::readable_share<T> state_;
};

/// Both ends of a stream that is pushed into.
template <class T>
struct pushed_readable {
  readable<T> stream;
  readable_queue<T> queue;
};

/// A readable without a source, and the queue to push into. What was pushed before anybody reads is kept in order.
template <class T>
pushed_readable<T> make_pushed_readable(stream_options<T> options = {}) {
  readable<T> stream(std::unique_ptr<streams::chunk_source<T>>(), std::move(options));
  readable_queue<T> queue(stream.state());
  return {std::move(stream), std::move(queue)};
}

}  // namespace weir::io
