#include <weir/io/multiplex.hpp>

#include <weir/core/error.hpp>
#include <weir/core/event.hpp>
#include <weir/core/spin_lock.hpp>
#include <weir/io/stage.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::io::streams {
namespace {

enum frame_type : std::uint8_t { data = 0, end_of_stream = 1, reset = 2, window_update = 3 };

constexpr std::size_t header_size = 9;
/// Payloads below this are joined and copied out of what was received: a slice of one byte would hold on to all of it.
constexpr std::size_t small_payload = 1024;

struct frame {
  std::uint32_t stream = 0;
  frame_type type = data;
  buffer payload;
};

buffer header_of(const frame& f) {
  auto made = buffer::alloc_unsafe(header_size);
  made.write_u32_be(f.stream, 0);
  made.write_u8(f.type, 4);
  made.write_u32_be(static_cast<std::int64_t>(f.payload.size()), 5);
  return made;
}

std::exception_ptr violation(const std::string& what) {
  return failure(error(errc::err_invalid_state, "Multiplexed stream: " + what)).exception();
}

/// One stream, of which a reader, a writer and the connection's own children know.
struct channel {
  channel(std::uint32_t number, std::uint32_t window) : id(number), credit(window), allowance(window) {}

  const std::uint32_t id;
  weir::detail::spin_lock lock;
  event readable;               // for the reader: something has come
  event writable;               // for the writer: the other side has allowed more
  chunk_ring<buffer> received;  // what waits for the reader
  std::uint64_t credit;         // bytes we may send
  std::uint64_t allowance;      // bytes the other side may send
  std::uint32_t taken = 0;      // by the reader, and not allowed anew
  bool ended_there = false;
  bool ended_here = false;
  std::exception_ptr error;

  bool over() const noexcept { return error || (ended_there && ended_here); }
};

using channel_share = std::shared_ptr<channel>;

}  // namespace

class multiplex_state {
 public:
  multiplex_state(readable<buffer>&& in, writable<buffer>&& out, const multiplex_options& options)
      : options_(options),
        in_(std::move(in)),
        out_(std::move(out)),
        frames_(make_pushed_readable<frame>({.high_water_mark = default_high_water_mark<buffer>,
                                             .weigh = [](const frame& f) { return header_size + f.payload.size(); }})),
        arrivals_(make_pushed_readable<channel_share>()),
        allows_at_(std::max<std::uint32_t>(options.window / 2, 1)),
        next_id_(options.initiator ? 1 : 2) {}

  channel_share open() {
    weir::detail::spin_guard guard(lock_);
    if (error_) std::rethrow_exception(error_);
    if (next_id_ >= 0x80000000U) throw error(errc::err_out_of_range, "All stream ids have been used");
    auto made = std::make_shared<channel>(next_id_, options_.window);
    channels_.emplace(next_id_, made);
    frames_.queue.push_nowait(
        frame{next_id_, data, {}});  // under the lock: streams are opened in order of their numbers
    next_id_ += 2;
    return made;
  }

  auto next_arrival() noexcept { return arrivals_.stream.next(); }

  std::size_t open_streams() const noexcept {
    weir::detail::spin_guard guard(lock_);
    return channels_.size();
  }

  // ---- a stream's reader

  task<std::optional<buffer>> receive(const channel_share& from) {
    for (;;) {
      std::optional<buffer> got;
      std::uint32_t owed = 0;
      bool over = false;
      {
        weir::detail::spin_guard guard(from->lock);
        if (from->taken >= allows_at_ && !from->ended_there && !from->error) {
          owed = from->taken;
        } else if (!from->received.empty()) {
          got.emplace(from->received.pop_front());
          from->taken += static_cast<std::uint32_t>(got->size());
        } else if (from->error) {
          std::rethrow_exception(from->error);
        } else if (!from->ended_there) {
          from->readable.reset();
        }
        over = !got && from->ended_there;
      }
      if (got || over) co_return got;
      if (owed == 0) {
        co_await from->readable.wait();
      } else {
        co_await allow(*from, owed);
      }
    }
  }

  // ---- a stream's writer

  task<void> send(const channel_share& to, buffer chunk) {
    while (!chunk.empty()) {
      auto count = co_await await_credit(*to, chunk.size());
      frame next{to->id, data, chunk.slice(0, static_cast<std::ptrdiff_t>(count))};
      auto pushed = co_await attempt(push(next));
      if (!pushed) {
        weir::detail::spin_guard guard(to->lock);
        to->credit += count;
        guard.unlock();
        pushed.failure().rethrow();
      }
      chunk.remove_prefix(count);
    }
  }

  task<void> finish(const channel_share& to) {
    frame last{to->id, end_of_stream, {}};
    co_await push(last);
    {
      weir::detail::spin_guard guard(to->lock);
      to->ended_here = true;
    }
    forget_if_over(*to);
  }

  /// The reader or the writer has gone before the end.
  void abandon(channel& which, bool reader) noexcept {
    {
      weir::detail::spin_guard guard(which.lock);
      if (which.error || (reader ? which.ended_there : which.ended_here)) return;
    }
    fail_channel(which, stream_error(errc::err_stream_premature_close));
    forget_if_over(which);
    try {
      frames_.queue.push_nowait(frame{which.id, reset, {}});
    } catch (...) {
      return;  // the connection is over, and the other side will know
    }
  }

  // ---- the connection

  task<void> end() {
    stop_streams(stream_error(errc::err_stream_premature_close));
    frames_.queue.end();
    co_await written_.wait();
    co_await read_.wait();
    weir::detail::spin_guard guard(lock_);
    if (failed_) std::rethrow_exception(failed_);
  }

  void stop() noexcept { stop_streams(stream_error(errc::err_stream_premature_close)); }

  static task<void> read_all(std::shared_ptr<multiplex_state> self) {
    auto outcome = co_await attempt(self->read_frames());
    if (outcome) {
      self->stop_streams(stream_error(errc::err_stream_premature_close));
      self->arrivals_.queue.end();
    } else {
      self->fail(outcome.failure().exception());
    }
    self->read_.set();
  }

  static task<void> write_all(std::shared_ptr<multiplex_state> self) {
    auto outcome = co_await attempt(self->write_frames());
    if (!outcome) self->fail(outcome.failure().exception());
    self->written_.set();
  }

 private:
  task<void> push(frame& next) { co_await frames_.queue.push_from(next); }

  task<void> allow(channel& which, std::uint32_t bytes) {
    auto payload = buffer::alloc_unsafe(4);
    payload.write_u32_be(bytes);
    // Counted before it is on its way: the other side may answer at once.
    {
      weir::detail::spin_guard guard(which.lock);
      which.taken -= bytes;
      which.allowance += bytes;
    }
    frame update{which.id, window_update, std::move(payload)};
    auto pushed = co_await attempt(push(update));
    if (pushed) co_return;
    weir::detail::spin_guard guard(which.lock);
    which.taken += bytes;
    which.allowance -= bytes;
    guard.unlock();
    pushed.failure().rethrow();
  }

  /// @return how many bytes may be sent now, which are taken from the credit
  task<std::size_t> await_credit(channel& which, std::size_t wanted) {
    wanted = std::min<std::size_t>(wanted, options_.max_frame);
    for (;;) {
      {
        weir::detail::spin_guard guard(which.lock);
        if (which.error) std::rethrow_exception(which.error);
        if (auto count = std::min<std::uint64_t>(wanted, which.credit); count != 0) {
          which.credit -= count;
          co_return static_cast<std::size_t>(count);
        }
        which.writable.reset();
      }
      co_await which.writable.wait();
    }
  }

  static void fail_channel(channel& which, const std::exception_ptr& why) noexcept {
    {
      weir::detail::spin_guard guard(which.lock);
      if (which.over()) return;
      which.error = why;
    }
    which.readable.set();
    which.writable.set();
  }

  void forget_if_over(channel& which) noexcept {
    {
      weir::detail::spin_guard guard(which.lock);
      if (!which.over()) return;
    }
    weir::detail::spin_guard guard(lock_);
    channels_.erase(which.id);
  }

  void stop_streams(const std::exception_ptr& why) noexcept {
    std::unordered_map<std::uint32_t, channel_share> all;
    {
      weir::detail::spin_guard guard(lock_);
      if (error_) return;
      error_ = why;
      all.swap(channels_);
    }
    for (auto& each : all) fail_channel(*each.second, why);
  }

  void fail(const std::exception_ptr& why) noexcept {
    {
      weir::detail::spin_guard guard(lock_);
      if (!failed_) failed_ = why;
    }
    stop_streams(why);
    arrivals_.queue.fail(why);
    frames_.queue.fail(why);
    in_.destroy(why);  // the other side learns of it now, not when somebody lets go of this one
    out_.destroy(why);
  }

  task<void> write_frames() {
    while (auto next = co_await frames_.stream.next()) {
      auto header = header_of(*next);
      if (next->payload.empty()) {
        co_await out_.write(std::move(header));
      } else {
        out_.write_nowait(std::move(header));  // goes out with the payload
        co_await out_.write(std::move(next->payload));
      }
    }
    co_await out_.end();
  }

  /// Takes what comes, cut anywhere. A data frame's payload goes on in the pieces that it comes in.
  task<void> read_frames() {
    std::array<std::byte, header_size> header;
    std::size_t have = 0;
    std::uint32_t left = 0;  // of a payload
    frame now;
    while (auto chunk = co_await in_.next()) {
      while (!chunk->empty()) {
        if (left != 0) {
          auto part = chunk->take_front(std::min<std::size_t>(left, chunk->size()));
          left -= static_cast<std::uint32_t>(part.size());
          take_payload(now, std::move(part), left == 0);
          continue;
        }
        auto part = chunk->take_front(std::min(header_size - have, chunk->size()));
        std::copy(part.begin(), part.end(), header.begin() + static_cast<std::ptrdiff_t>(have));
        have += part.size();
        if (have < header_size) continue;
        have = 0;
        left = read_header(buffer::copy_of(header), now);
      }
    }
    if (have != 0 || left != 0) std::rethrow_exception(stream_error(errc::err_stream_premature_close));
  }

  /// @return the length of the payload
  std::uint32_t read_header(const buffer& header, frame& into) {
    into = frame{header.read_u32_be(0), static_cast<frame_type>(header.read_u8(4)), {}};
    auto length = header.read_u32_be(5);
    if (into.type > window_update) std::rethrow_exception(violation("unknown type of frame"));
    auto most = into.type == data ? options_.max_frame : into.type == window_update ? 4 : 0;
    if (length > most) std::rethrow_exception(violation("frame of " + std::to_string(length) + " bytes"));
    if (into.type == window_update && length != 4) std::rethrow_exception(violation("window of no size"));
    if (length == 0) take_empty(into);
    return length;
  }

  void take_empty(const frame& now) {
    auto to = find(now.stream, now.type != reset);
    if (!to) return;
    if (now.type == reset) {
      fail_channel(*to,
                   failure(error(errc::err_stream_premature_close, "The other side has reset the stream")).exception());
    } else if (now.type == end_of_stream) {
      {
        weir::detail::spin_guard guard(to->lock);
        to->ended_there = true;
      }
      to->readable.set();
    }
    forget_if_over(*to);
  }

  void take_payload(frame& now, buffer part, bool last) {
    auto to = find(now.stream, now.type == data);
    if (now.type == window_update) {
      now.payload = now.payload.empty() ? std::move(part) : buffer::concat({now.payload, part});
      if (last && to) take_window(*to, now.payload.read_u32_be());
      return;
    }
    if (!to) return;  // it is over here, and the other side does not know yet
    {
      weir::detail::spin_guard guard(to->lock);
      if (to->error) return;
      if (part.size() > to->allowance || to->ended_there) {
        guard.unlock();
        std::rethrow_exception(violation("more data than allowed"));
      }
      to->allowance -= part.size();
      queue_up(to->received, std::move(part));
    }
    to->readable.set();
  }

  static void queue_up(chunk_ring<buffer>& queue, buffer part) {
    if (part.size() >= small_payload) return queue.push_back(std::move(part));
    if (!queue.empty() && queue[queue.size() - 1].size() + part.size() <= small_payload) {
      auto& last = queue[queue.size() - 1];
      last = buffer::concat({last, part});
    } else {
      queue.push_back(buffer::copy_of(part.bytes()));
    }
  }

  static void take_window(channel& to, std::uint32_t bytes) {
    {
      weir::detail::spin_guard guard(to.lock);
      to.credit += bytes;
      if (to.credit > 0x7fffffffU) {
        guard.unlock();
        std::rethrow_exception(violation("window too large"));
      }
    }
    to.writable.set();
  }

  /// The stream with that number; one that is new if the other side may open it and `opens`. Null if it is over.
  channel_share find(std::uint32_t id, bool opens) {
    channel_share made;
    {
      weir::detail::spin_guard guard(lock_);
      if (auto found = channels_.find(id); found != channels_.end()) return found->second;
      bool theirs = (id % 2 == 1) != options_.initiator;
      if (!theirs && (id >= next_id_ || id == 0)) {
        guard.unlock();
        std::rethrow_exception(violation("stream " + std::to_string(id) + " was never opened"));
      }
      if (!opens || !theirs || id <= last_theirs_ || error_) return nullptr;
      last_theirs_ = id;
      if (has_room_for_streams()) {
        made = std::make_shared<channel>(id, options_.window);
        channels_.emplace(id, made);
      }
    }
    // Who opens streams but does not take what is said about them is not to make that pile up.
    if (frames_.queue.length() > 4 * frames_.queue.high_water_mark())
      std::rethrow_exception(violation("too many streams"));
    if (made) {
      arrivals_.queue.push_nowait(made);
    } else {
      frames_.queue.push_nowait(frame{id, reset, {}});
    }
    return made;
  }

  // Streams that were reset before anybody accepted them are open no more, but they wait as long. Under the lock.
  bool has_room_for_streams() const noexcept {
    return channels_.size() < options_.max_streams && arrivals_.queue.length() < options_.max_streams;
  }

  const multiplex_options options_;
  readable<buffer> in_;
  writable<buffer> out_;
  pushed_readable<frame> frames_;            // to be written
  pushed_readable<channel_share> arrivals_;  // to be accepted
  mutable weir::detail::spin_lock lock_;
  std::unordered_map<std::uint32_t, channel_share> channels_;
  const std::uint32_t allows_at_;  // bytes read, before the other side is allowed as many more
  std::uint32_t next_id_;
  std::uint32_t last_theirs_ = 0;
  std::exception_ptr error_;   // what streams get, once there are to be no more
  std::exception_ptr failed_;  // what went wrong with the connection
  event written_;
  event read_;
};

namespace {

class channel_source {
 public:
  static constexpr bool cancel_safe = true;

  channel_source(std::shared_ptr<multiplex_state> in, channel_share of) : in_(std::move(in)), of_(std::move(of)) {}
  task<std::optional<buffer>> next() { return in_->receive(of_); }
  void destroy(const std::exception_ptr&) noexcept { in_->abandon(*of_, true); }

 private:
  std::shared_ptr<multiplex_state> in_;
  channel_share of_;
};

class channel_sink {
 public:
  channel_sink(std::shared_ptr<multiplex_state> in, channel_share of) : in_(std::move(in)), of_(std::move(of)) {}
  task<void> write(buffer chunk) { return in_->send(of_, std::move(chunk)); }
  task<void> end() { return in_->finish(of_); }
  void destroy(const std::exception_ptr&) noexcept { in_->abandon(*of_, false); }

 private:
  std::shared_ptr<multiplex_state> in_;
  channel_share of_;
};

duplex<buffer> ends_of(const std::shared_ptr<multiplex_state>& in, const channel_share& of) {
  return {writable<buffer>(channel_sink(in, of)), readable<buffer>(channel_source(in, of))};
}

}  // namespace
}  // namespace weir::io::streams

namespace weir::io {

multiplexer::multiplexer(scope& owner, readable<buffer> in, writable<buffer> out, const multiplex_options& options) {
  constexpr std::uint32_t most = 0x7fffffff;
  if (options.window == 0 || options.window > most || options.max_frame == 0 || options.max_frame > most)
    throw error(errc::err_out_of_range, "The window and the frames of a multiplexer have 1 to 2147483647 bytes");
  using state = streams::multiplex_state;
  state_ = std::make_shared<state>(std::move(in), std::move(out), options);
  reading_ = streams::running_child(owner.spawn(state::read_all, state_));
  writing_ = streams::running_child(owner.spawn(state::write_all, state_));
}

multiplexer::~multiplexer() {
  if (state_) state_->stop();
}

duplex<buffer> multiplexer::open() { return streams::ends_of(state_, state_->open()); }

task<std::optional<duplex<buffer>>> multiplexer::accept() {
  auto arrived = co_await state_->next_arrival();
  if (!arrived) co_return std::nullopt;
  co_return streams::ends_of(state_, *arrived);
}

task<void> multiplexer::end() { return state_->end(); }

std::size_t multiplexer::open_streams() const noexcept { return state_->open_streams(); }

}  // namespace weir::io
