// io/stream.hpp: streams with both ends: duplex, transform, pass_through and a pair of duplexes in memory; and
// `finished`. Includes io/readable.hpp and io/writable.hpp, on which all of it rests. Port of Node's stream module
// (https://nodejs.org/api/stream.html) to tasks: where Node calls back, one awaits.
//
// What became of what Node has:
//   data, end, error events      co_await r.next()
//   readable event + read(n)     co_await r.read(n), for bytes
//   push(), push(null)           make_pushed_readable, or a function that returns chunks
//   write() === false, drain     write_nowait and drain, or just co_await w.write(chunk)
//   pipe                         pipeline (io/pipeline.hpp): it also forwards errors and destroys all stages
//   pipe to several              tee (io/tee.hpp);  unpipe: cancel the pipe()
//   setEncoding                  the operator text() (io/operators.hpp)
//   Symbol.asyncIterator         while (auto chunk = co_await r.next())
#pragma once

#include <weir/io/readable.hpp>
#include <weir/io/writable.hpp>

namespace weir::io {

struct duplex_options {
  /// False: once the reader has got the end, the writing side is ended too, before `next` tells.
  bool allow_half_open = true;
};

/// A readable and a writable that belong together, such as the two directions of a connection. The sides are
/// independent: ending one leaves the other alone (but see `duplex_options`); one task may read while others write.
template <class In, class Out = In>
class [[nodiscard]] duplex {
 public:
  using input_type = In;
  using value_type = Out;

  duplex() noexcept = default;
  duplex(writable<In> into, readable<Out> out, duplex_options options = {})
      : writable_(std::move(into)), readable_(std::move(out)), half_open_(options.allow_half_open) {}

  /// As of `readable`, with the option above.
  task<std::optional<Out>> next() {
    auto chunk = co_await readable_.next();
    if (!chunk && !half_open_ && !writable_.closed()) co_await writable_.end();
    co_return chunk;
  }

  /// As of `writable`.
  task<void> write(In chunk) { return writable_.write(std::move(chunk)); }
  bool write_nowait(In chunk) { return writable_.write_nowait(std::move(chunk)); }
  task<void> drain() { return writable_.drain(); }
  task<void> end() { return writable_.end(); }
  task<void> end(In last) { return writable_.end(std::move(last)); }

  /// Destroys both sides.
  void destroy(const std::exception_ptr& why = nullptr) noexcept {
    writable_.destroy(why);
    readable_.destroy(why);
  }
  void destroy(const error& why) noexcept { destroy(failure(why).exception()); }

  bool closed() const noexcept { return writable_.closed() && readable_.closed(); }  ///< both sides
  bool allows_half_open() const noexcept { return half_open_; }

  readable<Out>& readable_side() noexcept { return readable_; }
  const readable<Out>& readable_side() const noexcept { return readable_; }
  writable<In>& writable_side() noexcept { return writable_; }
  const writable<In>& writable_side() const noexcept { return writable_; }

 private:
  writable<In> writable_;
  readable<Out> readable_;
  bool half_open_ = true;
};

/// The marks of both sides, and what else a transform can be told.
template <class In, class Out = In>
struct transform_options {
  stream_options<In> input = {};
  stream_options<Out> output = {};
};

/// What a transform's function gives its results to: `co_await out.push(x)` waits while the reader is behind.
template <class Out>
using output = readable_queue<Out>;

namespace streams {

struct no_flush {
  template <class Out>
  void operator()(output<Out>&) const noexcept {}
};

template <class In, class Out, class F, class G>
class transform_sink {
 public:
  transform_sink(F&& each, G&& flush, output<Out>&& to)
      : each_(std::move(each)), flush_(std::move(flush)), output_(std::move(to)) {}

  task<void> write(In chunk) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&, In, output<Out>&>>) {
      each_(std::move(chunk), output_);
      return nothing_to_do();
    } else {
      return each_(std::move(chunk), output_);
    }
  }
  task<void> end() {
    if constexpr (std::is_void_v<std::invoke_result_t<G&, output<Out>&>>) {
      flush_(output_);
    } else {
      co_await flush_(output_);
    }
    output_.end();
  }
  void destroy(const std::exception_ptr& why) noexcept { output_.fail(why); }

 private:
  F each_;
  G flush_;
  output<Out> output_;
};

/// Hands chunks from the writing side to the reading one.
template <class T>
class passing_sink {
 public:
  static constexpr bool cancel_safe = true;

  explicit passing_sink(output<T>&& to) noexcept : output_(std::move(to)) {}
  auto write_from(T& chunk) noexcept { return output_.push_from(chunk); }
  auto write(T chunk) noexcept { return output_.push(std::move(chunk)); }
  void end() noexcept { output_.end(); }
  void destroy(const std::exception_ptr& why) noexcept { output_.fail(why); }

 private:
  output<T> output_;
};

}  // namespace streams

/// A duplex whose output is made from its input: for each chunk written the function is called with it and the output,
/// to which it may push nothing, one or many; the next call comes when it is over.
///
///   transform<buffer, row> parse([](buffer chunk, output<row>& out) -> task<> { ... co_await out.push(row); ... });
///
/// The function may also return nothing and use `push_nowait`, if it gives a bounded number for each chunk. `flush` is
/// called once after the last chunk, before the reader gets the end, and may push. What either throws fails both sides.
/// A write completes when the function is done, so a writer feels the reader once the output is at its mark.
template <class In, class Out = In>
class [[nodiscard]] transform : public duplex<In, Out> {
 public:
  transform() noexcept = default;

  template <class F>
    requires std::is_invocable_v<F&, In, output<Out>&>
  explicit transform(F each, transform_options<In, Out> options = {})
      : transform(std::move(each), streams::no_flush(), std::move(options)) {}

  template <class F, class G>
    requires(std::is_invocable_v<F&, In, output<Out>&> && std::is_invocable_v<G&, output<Out>&>)
  transform(F each, G flush, transform_options<In, Out> options = {})
      : transform(make_pushed_readable<Out>(std::move(options.output)), std::move(each), std::move(flush),
                  std::move(options.input)) {}

 private:
  template <class F, class G>
  transform(pushed_readable<Out>&& out, F&& each, G&& flush, stream_options<In>&& options)
      : duplex<In, Out>(writable<In>(streams::transform_sink<In, Out, F, G>(
                                         std::forward<F>(each), std::forward<G>(flush), std::move(out.queue)),
                                     std::move(options)),
                        std::move(out.stream)) {}
};

/// What is written comes out as it is: a bounded queue between two tasks, or a place to count. Holds up to the mark; a
/// write beyond it waits for the reader. Cancelling a write there leaves the stream as it was.
template <class T>
class [[nodiscard]] pass_through : public duplex<T> {
 public:
  explicit pass_through(stream_options<T> options = {}) : pass_through(make_pushed_readable<T>(std::move(options))) {}

 private:
  explicit pass_through(pushed_readable<T>&& out)
      : duplex<T>(writable<T>(streams::passing_sink<T>(std::move(out.queue))), std::move(out.stream)) {}
};

/// Two duplexes in memory: what is written to one is read from the other (Node's duplexPair). Ending or destroying the
/// writing side of one ends or fails the reading side of the other.
/// @param options for each of the two directions; `on_close` is called for both
template <class A, class B = A>
std::pair<duplex<A, B>, duplex<B, A>> duplex_pair(stream_options<A> first = {}, stream_options<B> second = {},
                                                  duplex_options both = {}) {
  auto to_second = make_pushed_readable<A>(std::move(first));
  auto to_first = make_pushed_readable<B>(std::move(second));
  return {
      duplex<A, B>(writable<A>(streams::passing_sink<A>(std::move(to_second.queue))), std::move(to_first.stream), both),
      duplex<B, A>(writable<B>(streams::passing_sink<B>(std::move(to_first.queue))), std::move(to_second.stream),
                   both)};
}

namespace streams {

/// Completes when the stream has ended as it should; fails with its error or ERR_STREAM_PREMATURE_CLOSE.
task<void> wait_finished(std::shared_ptr<stream_core> of);

}  // namespace streams

/// `co_await finished(r)` completes when the end of `r` has been read, `finished(w)` when `w.end()` has completed; for
/// a duplex both. Fails with the stream's error, or ERR_STREAM_PREMATURE_CLOSE if it was destroyed without one. Does
/// not read or write anything. The stream may go meanwhile; cancelling it leaves the stream alone.
template <class T>
task<void> finished(const readable<T>& stream) {
  return streams::wait_finished(stream.state());
}
template <class T>
task<void> finished(const writable<T>& stream) {
  return streams::wait_finished(stream.state());
}
template <class In, class Out>
task<void> finished(const duplex<In, Out>& stream) {
  auto both = [](std::shared_ptr<streams::stream_core> first, std::shared_ptr<streams::stream_core> second) -> task<> {
    co_await streams::wait_finished(std::move(first));
    co_await streams::wait_finished(std::move(second));
  };
  return both(stream.writable_side().state(), stream.readable_side().state());
}

}  // namespace weir::io
