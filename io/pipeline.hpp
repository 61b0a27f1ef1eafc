// io/pipeline.hpp: streams joined end to end. `pipeline` moves everything from a source through stages into a sink,
// passes failure on in both directions and lets go of every stage before it completes; `compose` makes one duplex of
// several stages; `pipe` only moves. Rests on io/stream.hpp. Outcomes of Node's stream/promises
// (https://nodejs.org/api/stream.html#streampipelinestreams-options).
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/scope.hpp>
#include <weir/io/stream.hpp>

#include <memory>
#include <optional>
#include <variant>
#include <vector>

namespace weir::io {

struct pipeline_options {
  /// Whether the sink is ended after the last chunk. If not, it stays open after success; a failure destroys it still.
  bool end = true;
  /// Fires: the pipeline is cancelled and fails with the signal's reason.
  abort_signal signal = {};
};

struct pipe_options {
  bool end = true;  ///< end the sink after the last chunk
};

namespace streams {

/// What the stages of one pipeline share: the first failure, and all streams in order, to be destroyed because of it.
class pipeline_watch final : public watcher {
 public:
  /// @param keep left open when all went well
  void add(std::shared_ptr<stream_core> stage, bool keep = false);

  /// Keeps something that a stage rests on.
  void keep(std::shared_ptr<void> object);

  /// Begins: failures end what runs in `within`.
  void start(const std::shared_ptr<pipeline_watch>& self, scope& within);

  void failed(stream_core& which, const std::exception_ptr& why) noexcept override;
  /// A failure that is no stream's own: a cancellation, or what the last function threw.
  void note(const std::exception_ptr& why) noexcept;

  /// The last stage is done: what is left of the others is destroyed, and whatever they say now is not heard.
  void complete() noexcept;
  /// The scope is about to end.
  void leave() noexcept;
  /// Nothing runs any more.
  void release() noexcept;

  /// What the pipeline fails with: the first failure with the later ones attached; or null.
  std::exception_ptr outcome();

 private:
  using stage_list = std::vector<std::shared_ptr<stream_core>>;

  static bool is_disinterest(const std::exception_ptr& why, const stage_list& stages) noexcept;
  stage_list all_stages() const;
  bool record(const std::exception_ptr& why) noexcept;
  void stop() noexcept;

  mutable weir::detail::spin_lock lock_;
  stage_list stages_;
  std::shared_ptr<stream_core> kept_;
  std::vector<std::shared_ptr<void>> objects_;
  std::vector<std::exception_ptr> later_;
  std::exception_ptr first_;
  scope* scope_ = nullptr;
  bool over_ = false;
};

using watch_share = std::shared_ptr<pipeline_watch>;

/// Starts what runs beside the last stage.
void start_pumps(scope& within, std::vector<task<void>>& pumps, bool local);

template <class R>
using kept_result = std::optional<std::conditional_t<std::is_void_v<R>, std::monostate, R>>;

template <class R>
task<void> run_last(const watch_share& watch, task<R> last, kept_result<R>& kept) {
  try {
    if constexpr (std::is_void_v<R>) {
      co_await std::move(last);
      kept.emplace();
    } else {
      kept.emplace(co_await std::move(last));
    }
    watch->complete();
  } catch (...) {
    watch->note(std::current_exception());
  }
  watch->leave();
}

template <class R>
task<R> run_stages(watch_share watch, std::vector<task<void>> pumps, task<R> last) {
  kept_result<R> kept;
  bool local = (co_await weir::detail::this_fiber{}).has(weir::detail::fiber::affine);
  auto ended = co_await attempt(with_scope([&](scope& s) -> task<void> {
    watch->start(watch, s);
    start_pumps(s, pumps, local);
    return run_last<R>(watch, std::move(last), kept);
  }));
  watch->release();
  if (auto why = watch->outcome()) std::rethrow_exception(why);
  if (!kept) ended.failure().rethrow();
  if constexpr (!std::is_void_v<R>) co_return std::move(*kept);
}

/// Moves everything into a sink. With `by`, failures are its business; else they destroy both.
template <class T>
task<void> pump(readable<T> from, writable<T> to, bool ends, watch_share by) {
  try {
    if (to.closed()) throw error(errc::err_stream_unable_to_pipe);
    while (auto chunk = co_await from.next()) co_await to.write(std::move(*chunk));
    if (ends) {
      co_await to.end();
    } else {
      to.detach();
    }
  } catch (...) {
    auto why = std::current_exception();
    if (failure(why).is("ERR_STREAM_DESTROYED") && to.destroyed() && !to.errored())
      why = stream_error(errc::err_stream_premature_close);
    if (by) {
      by->note(why);
      std::rethrow_exception(why);
    }
    to.destroy(why);
    from.destroy(why);
  }
}

// ---- what a stage is

template <class S>
concept duplex_like = requires(S& s) {
  s.readable_side();
  s.writable_side();
};

template <class R>
struct unwrapped_result {
  using type = R;
};
template <class R>
struct unwrapped_result<task<R>> : unwrapped_result<R> {};
template <class R>
struct unwrapped_result<std::optional<R>> {
  using type = R;
};

/// What a function of one chunk makes of it.
template <class F, class T>
using mapped = typename unwrapped_result<std::invoke_result_t<F&, T>>::type;

template <class F, class T>
concept chunk_function = std::is_invocable_v<F&, T>;
template <class F, class T>
concept stream_function = !chunk_function<F, T> && std::is_invocable_v<F&, readable<T>>;

/// Calls a function for each chunk and goes on with what it returns, or with the chunk if that is nothing.
template <class T, class U, class F>
class map_stage final : public chunk_source<U> {
 public:
  map_stage(readable<T>&& from, F&& each) : from_(std::move(from)), each_(std::move(each)) {}

  task<std::optional<U>> pull(std::size_t) override {
    while (auto chunk = co_await from_.next()) {
      in_hand_ = true;
      auto made = co_await step(*chunk);
      in_hand_ = false;
      if (made) co_return made;
    }
    co_return std::nullopt;
  }
  bool cancel_safe() const noexcept override { return !in_hand_ && !from_.closed(); }
  void destroy(const std::exception_ptr&) noexcept override {}

 private:
  using returned = std::invoke_result_t<F&, T>;

  auto step(T& chunk) {
    if constexpr (weir::detail::is_task<returned>) {
      return await_step(chunk);
    } else {
      return ready(call_step(chunk));
    }
  }
  struct ready {
    explicit ready(std::optional<U>&& made) : value(std::move(made)) {}
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    std::optional<U> await_resume() { return std::move(value); }
    std::optional<U> value;
  };
  std::optional<U> call_step(T& chunk) {
    if constexpr (std::is_void_v<returned>) {
      each_(std::as_const(chunk));
      return std::optional<U>(std::move(chunk));
    } else {
      return std::optional<U>(each_(std::move(chunk)));
    }
  }
  task<std::optional<U>> await_step(T& chunk) {
    if constexpr (std::is_same_v<returned, task<void>>) {
      co_await each_(std::as_const(chunk));
      co_return std::optional<U>(std::move(chunk));
    } else {
      co_return std::optional<U>(co_await each_(std::move(chunk)));
    }
  }

  readable<T> from_;
  F each_;
  bool in_hand_ = false;
};

/// The source that a function made of the stream before it, with the function, on whose captures it may rest.
template <class T, class U, class F>
class function_stage final : public chunk_source<U> {
 public:
  function_stage(readable<T>&& from, F&& make) : make_(std::move(make)), made_(make_(std::move(from))) {}

  task<std::optional<U>> pull(std::size_t) override { co_return co_await made_.next(); }
  bool cancel_safe() const noexcept override { return survives_cancel(made_); }
  void destroy(const std::exception_ptr& why) noexcept override { tell_destroyed(made_, why); }

 private:
  F make_;
  std::invoke_result_t<F&, readable<T>> made_;
};

/// Collects what a chain of stages needs while it is built.
struct plan {
  watch_share watch;
  std::vector<task<void>> pumps;

  template <class T>
  readable<T> noted(readable<T> stage) {
    if (watch) watch->add(stage.state());
    return stage;
  }
};

// A stage given by name stays the caller's, but is used up all the same.
template <class T>
readable<T> taken(readable<T>& stream) {
  return readable<T>(stream.state());
}
template <class T>
readable<T> taken(readable<T>&& stream) {
  return std::move(stream);
}
template <class T>
writable<T> taken(writable<T>& stream) {
  return writable<T>(stream.state());
}
template <class T>
writable<T> taken(writable<T>&& stream) {
  return std::move(stream);
}

template <class S>
inline constexpr bool is_readable = false;
template <class T>
inline constexpr bool is_readable<readable<T>> = true;
template <class S>
inline constexpr bool is_writable = false;
template <class T>
inline constexpr bool is_writable<writable<T>> = true;

/// The side of a duplex, shared if it was given by name.
template <class S, class Side>
auto side_of(Side& side) {
  if constexpr (std::is_lvalue_reference_v<S>) {
    return taken(side);
  } else {
    return taken(std::move(side));
  }
}

template <class S>
auto first_stage(plan& p, S&& from) {
  using kind = std::decay_t<S>;
  if constexpr (is_readable<kind>) {
    return p.noted(taken(std::forward<S>(from)));
  } else if constexpr (duplex_like<kind>) {
    return p.noted(side_of<S>(from.readable_side()));
  } else if constexpr (source<kind>) {
    static_assert(!std::is_lvalue_reference_v<S>, "a source that is not a readable is moved into the pipeline");
    return p.noted(readable<source_value<kind>>(std::forward<S>(from)));
  } else {
    static_assert(pull_function<kind>, "the first stage must be a source, or a function that gives chunks");
    return p.noted(readable<pulled_value<kind>>(kind(std::forward<S>(from))));
  }
}

template <class T, class S>
auto next_stage(plan& p, readable<T> from, S&& stage) {
  using kind = std::decay_t<S>;
  if constexpr (duplex_like<kind>) {
    auto into = side_of<S>(stage.writable_side());
    auto out = side_of<S>(stage.readable_side());
    if (p.watch) p.watch->add(into.state());
    p.pumps.push_back(pump<T>(std::move(from), std::move(into), true, p.watch));
    return p.noted(std::move(out));
  } else if constexpr (chunk_function<kind, T>) {
    using plain = mapped<kind, T>;
    using value = std::conditional_t<std::is_void_v<plain>, T, plain>;
    return p.noted(readable<value>(
        std::make_unique<map_stage<T, value, kind>>(std::move(from), kind(std::forward<S>(stage))), {}));
  } else {
    static_assert(stream_function<kind, T>, "this stage takes neither the chunks nor the stream of the one before it");
    using made = std::invoke_result_t<kind&, readable<T>>;
    using value = source_value<made>;
    if constexpr (is_readable<made>) {
      if (p.watch) {
        auto function = std::make_shared<kind>(std::forward<S>(stage));
        p.watch->keep(function);
        return p.noted((*function)(std::move(from)));
      }
    }
    return p.noted(readable<value>(
        std::make_unique<function_stage<T, value, kind>>(std::move(from), kind(std::forward<S>(stage))), {}));
  }
}

/// Keeps the function for as long as what it returned.
template <class T, class F>
auto call_last(F consume, readable<T> from) -> std::invoke_result_t<F&, readable<T>> {
  co_return co_await consume(std::move(from));
}

template <class T, class S>
auto last_stage(plan& p, readable<T> from, S&& to, bool ends) {
  using kind = std::decay_t<S>;
  auto into = [&](writable<T> sink) {
    p.watch->add(sink.state(), !ends);
    return pump<T>(std::move(from), std::move(sink), ends, p.watch);
  };
  if constexpr (is_writable<kind>) {
    return into(taken(std::forward<S>(to)));
  } else if constexpr (duplex_like<kind>) {
    return into(side_of<S>(to.writable_side()));
  } else if constexpr (requires(kind& s, T chunk) { s.write(std::move(chunk)); } || write_function<kind, T>) {
    return into(writable<T>(kind(std::forward<S>(to))));
  } else {
    static_assert(std::is_invocable_v<kind&, readable<T>>,
                  "the last stage must be a sink, or a function of a chunk, or of the stream");
    return call_last<T, kind>(kind(std::forward<S>(to)), std::move(from));
  }
}

template <class T, class Last>
auto build(plan& p, bool ends, readable<T> from, Last&& last) {
  return last_stage(p, std::move(from), std::forward<Last>(last), ends);
}
template <class T, class Next, class... More>
  requires(sizeof...(More) > 0)
auto build(plan& p, bool ends, readable<T> from, Next&& next, More&&... more) {
  return build(p, ends, next_stage(p, std::move(from), std::forward<Next>(next)), std::forward<More>(more)...);
}

template <class T>
readable<T> chain(plan&, readable<T> from) {
  return from;
}
template <class T, class Next, class... More>
auto chain(plan& p, readable<T> from, Next&& next, More&&... more) {
  return chain(p, next_stage(p, std::move(from), std::forward<Next>(next)), std::forward<More>(more)...);
}

template <class R>
task<R> start_pipeline(plan&& p, task<R> last, abort_signal signal) {
  auto all = run_stages<R>(std::move(p.watch), std::move(p.pumps), std::move(last));
  if (signal.state() == nullptr) return all;
  return weir::detail::as_task(abortable(std::move(signal), std::move(all)));
}

}  // namespace streams

/// `co_await pipeline(source, stages..., sink)` moves every chunk from the source to the sink.
///
/// The first argument is a readable, a duplex (its reading side), a generator or other source, or a function
/// that gives chunks. Stages between are, for chunks of T:
///   a function T -> U                 for each chunk; of std::optional<U>: an empty one drops it; of nothing
///   (or task of those)                (void, with const T&): looks at the chunk, which goes on
///   a function readable<T> -> source  a generator that reads it, for instance
///   a duplex or transform             runs on a fiber of its own, so it works ahead of its reader up to its marks
/// The last is a writable, duplex or other sink, a function T -> void or task<>, or a function readable<T> -> task<R>.
/// Streams given by name stay the caller's objects, but are used up; everything else is moved or copied in.
///
/// Completes when the last stage has: the sink has finished (its `end` is done), or with the R of the function. The
/// function may return early: the stages before it are destroyed then, and that is no failure.
///
/// Fails with the first failure, later ones attached (`error::attached`), once everything has been let go of. The stage
/// that failed is closed first, then the others from the source to the sink, with the same error. A stage that is
/// destroyed by somebody without an error fails it with ERR_STREAM_PREMATURE_CLOSE; a sink that is closed already with
/// ERR_STREAM_UNABLE_TO_PIPE. Cancelling it cancels what every stage waits for and destroys all with `cancelled`.
///
/// Backpressure is the awaiting itself: a stage is asked for a chunk when the next one wants one.
template <class First, class... Stages>
  requires(sizeof...(Stages) > 0)
[[nodiscard]] auto pipeline(pipeline_options options, First&& from, Stages&&... stages) {
  streams::plan p{std::make_shared<streams::pipeline_watch>(), {}};
  auto first = streams::first_stage(p, std::forward<First>(from));
  auto last = streams::build(p, options.end, std::move(first), std::forward<Stages>(stages)...);
  return streams::start_pipeline(std::move(p), std::move(last), std::move(options.signal));
}
template <class First, class... Stages>
  requires(!std::same_as<std::remove_cvref_t<First>, pipeline_options> && sizeof...(Stages) > 0)
[[nodiscard]] auto pipeline(First&& from, Stages&&... stages) {
  return pipeline(pipeline_options{}, std::forward<First>(from), std::forward<Stages>(stages)...);
}
/// One duplex of several stages, as between the ends of a pipeline: what is written to it goes through them all and
/// comes out of its reading side. None of them may be a duplex or transform: those need somebody to run them.
template <class In, class... Stages>
  requires(sizeof...(Stages) > 0 && !(streams::duplex_like<std::remove_cvref_t<Stages>> || ...))
[[nodiscard]] auto compose(Stages&&... stages) {
  streams::plan none;
  pass_through<In> head;
  auto out = streams::chain(none, std::move(head.readable_side()), std::forward<Stages>(stages)...);
  return duplex<In, typename decltype(out)::value_type>(std::move(head.writable_side()), std::move(out));
}

/// The same with any stages. Children of `owner` move chunks into those that are duplexes; they end with the stream,
/// and fail it when `owner` is cancelled.
template <class In, class... Stages>
  requires(sizeof...(Stages) > 0)
[[nodiscard]] auto compose(scope& owner, Stages&&... stages) {
  streams::plan p;
  pass_through<In> head;
  auto out = streams::chain(p, std::move(head.readable_side()), std::forward<Stages>(stages)...);
  streams::start_pumps(owner, p.pumps, false);
  return duplex<In, typename decltype(out)::value_type>(std::move(head.writable_side()), std::move(out));
}

/// Moves what is left of `from` into `to` and ends that, if it is to. Unlike `pipeline` it destroys nothing: after a
/// failure of one side the other is as it was (Node's pipe). Cancelling it is Node's unpipe: the chunk that was on its
/// way goes back to the front of `from`, unless the sink had it, and both can be used further.
template <class T>
task<void> pipe(readable<T>& from, writable<T>& to, pipe_options options = {}) {
  if (to.closed()) throw error(errc::err_stream_unable_to_pipe);
  while (auto chunk = co_await from.next()) {
    auto written = co_await attempt(to.write_from(*chunk));
    if (written) continue;
    if (written.failure().is_cancelled() && !to.closed()) from.unshift(std::move(*chunk));
    written.failure().rethrow();
  }
  if (options.end) co_await to.end();
}

}  // namespace weir::io
