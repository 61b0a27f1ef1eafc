// core/emitter.hpp: events that an object tells about and others listen to, with Node's rules
// (https://nodejs.org/api/events.html) and types checked by the compiler. Emitting is synchronous and in order; it
// allocates nothing. Rests on tasks, on events to wait for and on the process's warnings. An emitter belongs to one
// thread: the worker of the loop-affine task that made it. Nothing here may be called from another.
#pragma once

#include <weir/core/abort.hpp>
#include <weir/core/event.hpp>
#include <weir/core/task.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace weir {

class emitter;
class listener;

namespace detail {

/// What tells events apart: their name. The signature is checked.
struct event_key {
  std::string_view name;
  std::uint64_t hash = 0;
  const char* signature = nullptr;
  bool is_error = false;
};

template <class... A>
inline char signature_of = 0;  // its address stands for the types

constexpr std::uint64_t hash_of(std::string_view name) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

/// How an argument reaches a listener: references as they are, small values as such, others by const reference.
template <class A>
using pass_t = std::conditional_t<std::is_reference_v<A> || (std::is_trivially_copyable_v<A> && sizeof(A) <= 16), A,
                                  const std::remove_reference_t<A>&>;

/// How an argument is kept for later: views and const references as copies; what is not const stays a reference.
template <class A>
struct kept {
  using type = std::remove_cvref_t<A>;
};
template <class A>
  requires(std::is_same_v<std::remove_cvref_t<A>, std::string_view>)
struct kept<A> {
  using type = std::string;
};
template <class A>
  requires(std::is_lvalue_reference_v<A> &&
           (!std::is_const_v<std::remove_reference_t<A>> || !std::copy_constructible<std::remove_cvref_t<A>>))
struct kept<A> {
  using type = std::reference_wrapper<std::remove_reference_t<A>>;
};
template <class A>
using kept_t = typename kept<A>::type;

/// The same for a value that is awaited: a failure is no such value, its exception is.
template <class A>
inline constexpr bool is_failure =
    std::is_same_v<std::remove_cvref_t<A>, failure> || std::derived_from<std::remove_cvref_t<A>, error>;
template <class A>
using awaited_argument_t = std::conditional_t<is_failure<A>, std::exception_ptr, kept_t<A>>;

template <class A>
awaited_argument_t<A> keep_argument(pass_t<A> given) {
  if constexpr (is_failure<A>) {
    return failure(given).exception();
  } else {
    return kept_t<A>(given);
  }
}

template <class... A>
struct event_value {
  using type = std::tuple<awaited_argument_t<A>...>;
  static type make(pass_t<A>... each) { return type(keep_argument<A>(each)...); }
};
template <class A>
struct event_value<A> {
  using type = awaited_argument_t<A>;
  static type make(pass_t<A> only) { return keep_argument<A>(only); }
};
template <>
struct event_value<> {
  using type = std::monostate;
  static type make() noexcept { return {}; }
};

}  // namespace detail

/// An event's name and the types of its arguments: `inline constexpr event_type<std::string_view> message{"message"}`.
/// Events are the same if their names are; listening to one name with different types is refused at run time with
/// ERR_INVALID_ARG_TYPE. Names may be made at run time; the text must live as long as this object, no longer.
template <class... A>
class event_type {
  static_assert((!std::is_rvalue_reference_v<A> && ...), "several listeners cannot each move from an argument");

 public:
  /// What awaiting or iterating gives: the argument, std::monostate if there is none, or a tuple of them. Views and
  /// const references come as copies, other references as std::reference_wrapper, failures as std::exception_ptr.
  using value_type = typename detail::event_value<A...>::type;

  constexpr explicit event_type(std::string_view name) noexcept
      : key_{name, detail::hash_of(name), &detail::signature_of<A...>, name == "error"} {}

  constexpr std::string_view name() const noexcept { return key_.name; }
  constexpr const detail::event_key& key() const noexcept { return key_; }

 private:
  detail::event_key key_;
};

/// Events that the emitter itself knows.
namespace events {

/// Something failed. Without a listener, `emit` throws the failure. What an asynchronous listener throws comes here.
inline constexpr event_type<const failure&> error{"error"};

/// Hears every `error` before its listeners do, and does not count as one.
inline constexpr event_type<const failure&> error_monitor{"Symbol(events.errorMonitor)"};

}  // namespace events

namespace detail {

struct event_slot;

/// One registration. Held by the list it is in, by running emissions and by handles.
struct listener_node {
  using erased = void (*)();
  template <class... A>
  using call_type = void (*)(listener_node&, emitter*, pass_t<A>...);
  template <class... A>
  using start_type = task<> (*)(listener_node&, pass_t<A>...);

  listener_node(erased call, void (*end)(listener_node&) noexcept) noexcept : call_it(call), destroy(end) {}

  std::uint32_t references = 1;
  bool special = false;  ///< `once` or `muted`: not to be called without a further look
  bool once = false;
  bool muted = false;  ///< what it refers to has gone
  bool fired = false;
  erased call_it;
  erased start_it = nullptr;  ///< for an asynchronous one: makes the task
  void (*destroy)(listener_node&) noexcept;
  void (*on_removed)(listener_node&) noexcept = nullptr;
  emitter* owner = nullptr;  ///< while it is registered
  event_slot* at = nullptr;
  const listener_node* identity = this;  ///< the first registration of the same function
  erased function = nullptr;             ///< for a plain function: that
  const char* signature = nullptr;
  std::optional<abort_signal::registration> on_abort;

  template <class... A>
  void call(emitter* by, pass_t<A>... args) {
    reinterpret_cast<call_type<A...>>(call_it)(*this, by, args...);
  }
  template <class... A>
  task<> start(pass_t<A>... args) {
    return reinterpret_cast<start_type<A...>>(start_it)(*this, args...);
  }

  /// @return false if it is not to be called
  bool begin_call();
  void leave() noexcept;  ///< tells it that it is registered no more
};

class node_ref {
 public:
  node_ref() = default;
  explicit node_ref(listener_node* shared) noexcept : node_(shared) {
    if (node_ != nullptr) ++node_->references;
  }
  node_ref(const node_ref& other) noexcept : node_ref(other.node_) {}
  node_ref(node_ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  node_ref& operator=(node_ref other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~node_ref() {
    if (node_ != nullptr) release(*node_);
  }
  static node_ref own(listener_node* made) noexcept {
    node_ref r;
    r.node_ = made;
    return r;
  }
  static void release(listener_node& node) noexcept {
    if (--node.references == 0) node.destroy(node);
  }

  listener_node* get() const noexcept { return node_; }
  listener_node* operator->() const noexcept { return node_; }
  listener_node& operator*() const noexcept { return *node_; }
  explicit operator bool() const noexcept { return node_ != nullptr; }

 private:
  listener_node* node_ = nullptr;
};

/// The listeners of one event in order. Immutable while an emission looks at it.
struct listener_list {
  std::uint32_t references = 1;
  std::uint32_t size = 0;
  std::uint32_t capacity = 0;

  listener_node** begin() noexcept { return reinterpret_cast<listener_node**>(this + 1); }
  static_assert(alignof(listener_node*) <= 8);
  std::uint32_t padding = 0;  // what follows is aligned

  static listener_list* make(std::uint32_t capacity);
  static void release(listener_list& list) noexcept;
};

struct event_slot {
  event_slot* next_in_bucket = nullptr;
  std::uint64_t hash = 0;
  const char* signature = nullptr;
  listener_list* listeners = nullptr;
  event_slot* previous = nullptr;
  event_slot* next = nullptr;
  std::string name;
  bool warned = false;
};

/// Something that runs on behalf of an emitter and has to know whether that still exists. Lives on the stack.
class emitter_watch {
 public:
  explicit emitter_watch(emitter& of) noexcept;
  emitter_watch(const emitter_watch&) = delete;
  emitter_watch& operator=(const emitter_watch&) = delete;
  ~emitter_watch();
  bool alive() const noexcept { return of_ != nullptr; }

 private:
  friend class weir::emitter;
  emitter* of_;
  emitter_watch* outer_;
};

/// The snapshot that one `emit` goes through.
class emission : public emitter_watch {
 public:
  emission(emitter& of, listener_list& list) noexcept : emitter_watch(of), list_(list) { ++list_.references; }
  ~emission() {
    if (list_.references != 1) [[likely]] {
      --list_.references;
    } else {
      listener_list::release(list_);
    }
  }
  std::uint32_t size() const noexcept { return list_.size; }
  listener_node& operator[](std::uint32_t i) const noexcept { return *list_.begin()[i]; }

 private:
  listener_list& list_;
};

/// How many of Args, from the first on, F can be called with; the most there are.
template <class F, class Args, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) noexcept {
  return std::is_invocable_v<F&, std::tuple_element_t<I, Args>...>;
}
template <class F, class Args, std::size_t N = std::tuple_size_v<Args>>
constexpr int arity() noexcept {
  if constexpr (takes<F, Args>(std::make_index_sequence<N>())) {
    return static_cast<int>(N);
  } else if constexpr (N == 0) {
    return -1;
  } else {
    return arity<F, Args, N - 1>();
  }
}
template <class F, class Args, std::size_t... I>
decltype(auto) call_first(F& function, Args& args, std::index_sequence<I...>) {
  return std::invoke(function, static_cast<std::tuple_element_t<I, Args>>(std::get<I>(args))...);
}

template <class F, class... A>
struct listener_of final : listener_node {
  using passed = std::tuple<pass_t<A>...>;
  static constexpr int count = arity<F, passed>();
  static_assert(count >= 0, "a listener takes the event's arguments, or the first of them");
  using taken = std::make_index_sequence<static_cast<std::size_t>(count)>;
  using answer = decltype(call_first(std::declval<F&>(), std::declval<passed&>(), taken()));
  static constexpr bool is_async = is_task<answer>;

  explicit listener_of(F given)
      : listener_node(reinterpret_cast<erased>(static_cast<call_type<A...>>(call_function)),
                      [](listener_node& n) noexcept { delete static_cast<listener_of*>(&n); }),
        function_(std::move(given)) {
    if constexpr (is_async) start_it = reinterpret_cast<erased>(static_cast<start_type<A...>>(start_function));
    if constexpr (requires { function_.removed(); }) {
      on_removed = [](listener_node& n) noexcept { static_cast<listener_of&>(n).function_.removed(); };
    }
    if constexpr (std::is_pointer_v<F>) listener_node::function = reinterpret_cast<erased>(function_);
    signature = &signature_of<A...>;
  }

 private:
  static void call_function(listener_node& self, emitter* by, pass_t<A>... args);

  static task<> start_function(listener_node& self, pass_t<A>... args) {
    return run(node_ref(&self), kept_t<A>(args)...);
  }

  // The task's own copies of the arguments, which live as long as it does; so does the function.
  static task<> run(node_ref self, kept_t<A>... args) {
    std::tuple<pass_t<A>...> passed_on(static_cast<pass_t<A>>(args)...);
    if constexpr (is_async) co_await call_first(static_cast<listener_of&>(*self).function_, passed_on, taken());
  }

  F function_;
};

/// A further registration of a listener there is.
template <class... A>
struct repeated_listener final : listener_node {
  explicit repeated_listener(node_ref first)
      : listener_node(reinterpret_cast<erased>(static_cast<call_type<A...>>(call_first_one)),
                      [](listener_node& n) noexcept { delete static_cast<repeated_listener*>(&n); }),
        first_(std::move(first)) {
    if (first_->start_it != nullptr) {
      start_it = reinterpret_cast<erased>(static_cast<start_type<A...>>(start_first_one));
    }
    identity = first_->identity;
    function = first_->function;
    signature = first_->signature;
  }

 private:
  static void call_first_one(listener_node& self, emitter* by, pass_t<A>... args) {
    static_cast<repeated_listener&>(self).first_->template call<A...>(by, args...);
  }
  static task<> start_first_one(listener_node& self, pass_t<A>... args) {
    return static_cast<repeated_listener&>(self).first_->template start<A...>(args...);
  }

  node_ref first_;
};

/// Where an asynchronous listener's failure goes. @param routed false: nowhere, it is the caller's
task<> run_listener(task<> body, std::shared_ptr<emitter*> of, bool routed);

/// Starts `body` in the running scope.
void start_listener(emitter* by, task<> body);

template <class First>
failure failure_from(const First& first);
failure unhandled(std::string_view payload);

template <class... A>
failure failure_of(const A&... args) {
  if constexpr (sizeof...(A) == 0) {
    return unhandled("undefined");
  } else {
    return failure_from(std::get<0>(std::forward_as_tuple(args...)));
  }
}

}  // namespace detail

/// One registration of a listener, to be told from others and removed by. Cheap to copy; keeps the function alive but
/// not registered. Equal to another if both stand for the same function. Empty if default-made.
class listener {
 public:
  listener() = default;

  /// Whether it is registered now.
  bool active() const noexcept { return node_ && node_->owner != nullptr; }
  /// Whether it is for one event only.
  bool is_once() const noexcept { return node_ && node_->once; }
  explicit operator bool() const noexcept { return static_cast<bool>(node_); }

  /// Removes this registration. @return false if it was not registered
  bool remove() const;

  friend bool operator==(const listener& a, const listener& b) noexcept { return a.identity() == b.identity(); }

  /// @cond internal
  explicit listener(detail::node_ref node) noexcept : node_(std::move(node)) {}
  const detail::node_ref& node() const noexcept { return node_; }
  /// @endcond

 private:
  const detail::listener_node* identity() const noexcept { return node_ ? node_->identity : nullptr; }

  detail::node_ref node_;
};

namespace events {

/// Before a listener is added: the event's name and the listener. What is added meanwhile comes before it.
inline constexpr event_type<std::string_view, const listener&> new_listener{"newListener"};

/// After a listener was removed.
inline constexpr event_type<std::string_view, const listener&> remove_listener{"removeListener"};

}  // namespace events

/// A listener that can be called, as `listeners` and `raw_listeners` give it.
template <class... A>
class typed_listener : public listener {
 public:
  /// Calls the function. One from `raw_listeners` that is for once is removed first, and does nothing the second time.
  void operator()(detail::pass_t<A>... args) const {
    if (raw_ && node()->special && !node()->begin_call()) return;
    node()->template call<A...>(node()->owner, args...);
  }

  /// `co_await l.call_and_wait(args...)` calls the function and, if it is asynchronous, waits until it has ended.
  task<> call_and_wait(detail::kept_t<A>... args) const {
    auto self = node();
    if (self->start_it == nullptr) {
      self->template call<A...>(self->owner, static_cast<detail::pass_t<A>>(args)...);
    } else {
      co_await self->template start<A...>(static_cast<detail::pass_t<A>>(args)...);
    }
  }

  /// The same without the removal.
  typed_listener unwrapped() const noexcept { return typed_listener(node(), false); }

  /// @cond internal
  typed_listener(detail::node_ref node, bool raw) noexcept : listener(std::move(node)), raw_(raw) {}
  /// @endcond

 private:
  bool raw_;
};

/// A registration that ends with its owner: once this has gone the listener is not called any more, not even by an
/// `emit` that is under way. So the function may refer to whatever lives as long as the subscription.
class subscription {
 public:
  subscription() = default;
  explicit subscription(listener registered) noexcept : listener_(std::move(registered)) {}
  subscription(subscription&& other) noexcept : listener_(std::exchange(other.listener_, {})) {}
  subscription& operator=(subscription&& other) noexcept {
    std::swap(listener_, other.listener_);
    return *this;
  }
  ~subscription() { reset(); }

  /// Ends it now. Harmless if it has ended.
  void reset() noexcept;
  bool active() const noexcept { return listener_.active(); }
  /// Leaves the listener registered.
  listener release() noexcept { return std::exchange(listener_, {}); }

 private:
  listener listener_;
};

/// How a listener is added.
struct listen_options {
  abort_signal signal = {};  ///< removes it when it fires, which must be on the emitter's thread; fired: not added
  bool once = false;         ///< removed before it is called, hence called once at most
  bool prepend = false;      ///< before those there are
};

struct emitter_options {
  /// More listeners of one event than this are reported as a possible leak, once per event; 0 or
  /// `weir::unlimited`: never. Not set: `emitter::default_max_listeners`.
  std::optional<std::size_t> max_listeners = {};
  /// What an asynchronous listener throws is emitted as `error` (Node's captureRejections); false: it fails the scope.
  bool capture_failures = true;
};

/// Tells listeners about events, in the order in which they were added, on the caller's stack.
///
/// - `emit` goes through the listeners there were when it began: those added meanwhile wait for the next, those
///   removed meanwhile are still called (but see `subscription`).
/// - What a listener throws comes out of `emit`, and those after it are not called.
/// - A listener that returns a task is spawned into the scope of the caller of `emit` as a loop-affine child; it
///   gets arguments of its own: copies of values, views and const references.
/// - `emit(events::error, ...)` without a listener throws the failure.
/// - The emitter may be destroyed by its own listener: the rest are not called, `emit` returns normally.
/// To be used by value, as a member or as a base class; not to be moved. For one thread.
class emitter {
 public:
  explicit emitter(emitter_options options = {}) noexcept;
  emitter(const emitter&) = delete;
  emitter& operator=(const emitter&) = delete;
  ~emitter();

  /// Adds a listener: a function that takes the event's arguments or the first of them.
  /// @return the registration; ignoring it leaves the listener in place for the emitter's life
  /// @throws weir::error ERR_INVALID_ARG_TYPE if the name is in use with other types
  template <class... A, class F>
    requires(!std::derived_from<std::remove_cvref_t<F>, listener>)
  listener on(const event_type<A...>& what, F&& function, const listen_options& options = {}) {
    auto made = detail::node_ref::own(new detail::listener_of<std::decay_t<F>, A...>(std::forward<F>(function)));
    return add(what.key(), std::move(made), options);
  }
  /// Adds the same function again.
  template <class... A>
  listener on(const event_type<A...>& what, const listener& again, const listen_options& options = {}) {
    check_repeatable(what.key(), again);
    return add(what.key(), detail::node_ref::own(new detail::repeated_listener<A...>(again.node())), options);
  }

  /// Adds a listener for the next event only.
  template <class... A, class F>
  listener once(const event_type<A...>& what, F&& function, listen_options options = {}) {
    options.once = true;
    return on(what, std::forward<F>(function), options);
  }
  /// Adds a listener before those there are.
  template <class... A, class F>
  listener prepend(const event_type<A...>& what, F&& function, listen_options options = {}) {
    options.prepend = true;
    return on(what, std::forward<F>(function), options);
  }
  template <class... A, class F>
  listener prepend_once(const event_type<A...>& what, F&& function, listen_options options = {}) {
    options.prepend = true;
    return once(what, std::forward<F>(function), options);
  }
  /// Adds a listener that goes with the object returned.
  template <class... A, class F>
  [[nodiscard]] subscription subscribe(const event_type<A...>& what, F&& function, const listen_options& options = {}) {
    return subscription(on(what, std::forward<F>(function), options));
  }

  /// Removes a registration of that function: of several the one added last. @return false if there is none
  template <class... A>
  bool off(const event_type<A...>& what, const listener& which) {
    return which && remove_last(what.key(), which.node()->identity, nullptr);
  }
  template <class... A, class R, class... P>
  bool off(const event_type<A...>& what, R (*function)(P...)) {
    return remove_last(what.key(), nullptr, reinterpret_cast<detail::listener_node::erased>(function));
  }
  /// Removes exactly this registration.
  bool off(const listener& which) { return which && which.node()->owner == this && which.remove(); }

  /// Removes the listeners of one event, or all, the last added first.
  template <class... A>
  void remove_all_listeners(const event_type<A...>& what) {
    remove_all(what.key());
  }
  void remove_all_listeners();

  /// Calls the listeners. @return true if there were any
  template <class... A>
  bool emit(const event_type<A...>& what, detail::pass_t<A>... args) {
    auto* slot = find(what.key());
    if (slot == nullptr || what.key().is_error) [[unlikely]]
      return emit_rare<A...>(what.key(), slot, args...);
    return deliver<A...>(*slot, what.key(), args...);
  }

  /// Calls the listeners one after the other, waiting for each that is asynchronous. Completes with what became of
  /// each, in order; nothing of it is thrown. Listeners and arguments are those of the moment of the call. Cancelling
  /// it reaches the listener that is waited for. The listeners that remain when the emitter goes are left out.
  template <class... A>
  task<std::vector<result<>>> emit_and_wait(event_type<A...> what, detail::kept_t<A>... args) {
    return wait_for_each<A...>(raw_listeners(what), watch(), std::move(args)...);
  }

  template <class... A>
  std::size_t listener_count(const event_type<A...>& what) const noexcept {
    auto* slot = find(what.key());
    return slot != nullptr ? slot->listeners->size : 0;
  }
  /// How often that function is registered.
  template <class... A>
  std::size_t listener_count(const event_type<A...>& what, const listener& which) const noexcept {
    auto* slot = find(what.key());
    std::size_t count = 0;
    for (std::uint32_t i = 0; slot != nullptr && i < slot->listeners->size; ++i) {
      if (slot->listeners->begin()[i]->identity == which.node()->identity) ++count;
    }
    return count;
  }

  /// The listeners in order, to be called: without and with the removal of those for once.
  template <class... A>
  std::vector<typed_listener<A...>> listeners(const event_type<A...>& what) const {
    return gather<A...>(what.key(), false);
  }
  template <class... A>
  std::vector<typed_listener<A...>> raw_listeners(const event_type<A...>& what) const {
    return gather<A...>(what.key(), true);
  }

  /// The names of the events that have listeners, in the order in which they got their first.
  std::vector<std::string> event_names() const;

  void set_max_listeners(std::size_t most) noexcept { max_listeners_ = most; }
  std::size_t max_listeners() const noexcept;

  /// The limit of emitters that have none of their own: 10 unless set. Any thread.
  static void set_default_max_listeners(std::size_t most) noexcept;
  static std::size_t default_max_listeners() noexcept;

  /// @cond internal
  std::shared_ptr<emitter*> watch();  ///< holds null once the emitter has gone
  void remove(detail::listener_node& node, bool tell);
  bool captures() const noexcept { return capture_; }
  void emit_captured(const failure& why);
  /// Whether the event could be listened to with these types.
  bool fits(const detail::event_key& key) const noexcept {
    auto* slot = find(key);
    return slot == nullptr || slot->signature == key.signature;
  }
  /// @endcond

 private:
  friend class detail::emitter_watch;

  detail::event_slot* find(const detail::event_key& key) const noexcept {
    for (auto* s = buckets_[key.hash & mask_]; s != nullptr; s = s->next_in_bucket) {
      if (s->hash == key.hash && s->name == key.name) [[likely]]
        return s;
    }
    return nullptr;
  }

  template <class... A>
  bool deliver(detail::event_slot& slot, const detail::event_key& key, detail::pass_t<A>... args) {
    if (slot.signature != key.signature) [[unlikely]]
      refuse_types(key);
    detail::emission run(*this, *slot.listeners);
    for (std::uint32_t i = 0; i < run.size(); ++i) {
      auto& node = run[i];
      if (node.special) [[unlikely]] {
        bool wanted = node.begin_call();
        if (!run.alive()) break;
        if (!wanted) continue;
      }
      node.template call<A...>(this, args...);
      if (!run.alive()) break;
    }
    return true;
  }

  template <class... A>
  WEIR_COLD bool emit_rare(const detail::event_key& key, detail::event_slot* slot, detail::pass_t<A>... args) {
    if (!key.is_error) return false;
    detail::emitter_watch self(*this);
    if (auto* monitor = find(events::error_monitor.key())) {
      deliver<const failure&>(*monitor, events::error_monitor.key(), detail::failure_of(args...));
      if (!self.alive()) return true;
      slot = find(key);
    }
    if (slot == nullptr) detail::failure_of(args...).rethrow();
    return deliver<A...>(*slot, key, args...);
  }

  template <class... A>
  std::vector<typed_listener<A...>> gather(const detail::event_key& key, bool raw) const {
    std::vector<typed_listener<A...>> all;
    auto* slot = find(key);
    if (slot == nullptr) return all;
    if (slot->signature != key.signature) refuse_types(key);
    for (std::uint32_t i = 0; i < slot->listeners->size; ++i) {
      all.emplace_back(detail::node_ref(slot->listeners->begin()[i]), raw);
    }
    return all;
  }

  template <class... A>
  static task<std::vector<result<>>> wait_for_each(std::vector<typed_listener<A...>> all, std::shared_ptr<emitter*> of,
                                                   detail::kept_t<A>... args) {
    std::vector<result<>> outcomes;
    for (auto& each : all) {
      if (*of == nullptr) break;
      if (each.node()->special && !each.node()->begin_call()) continue;
      outcomes.push_back(co_await attempt(each.call_and_wait(args...)));
      if (!outcomes.back() && (co_await detail::this_fiber{}).must_stop()) throw cancelled();
    }
    co_return outcomes;
  }

  listener add(const detail::event_key& key, detail::node_ref made, const listen_options& options);
  void insert(detail::event_slot& slot, detail::listener_node& node, bool first);
  detail::event_slot& make_slot(const detail::event_key& key);
  void drop_slot(detail::event_slot& slot) noexcept;
  void grow();
  void unlist(detail::listener_node& node);
  void check_count(detail::event_slot& slot);
  bool remove_last(const detail::event_key& key, const detail::listener_node* identity,
                   detail::listener_node::erased function);
  void remove_all(const detail::event_key& key);
  [[noreturn]] static void refuse_types(const detail::event_key& key);
  static void check_repeatable(const detail::event_key& key, const listener& again);

  static constexpr std::size_t few = 4;
  static constexpr std::size_t unset = static_cast<std::size_t>(-2);

  detail::event_slot** buckets_;
  std::size_t mask_ = few - 1;
  detail::emitter_watch* running_ = nullptr;
  detail::event_slot* few_buckets_[few] = {};
  std::size_t count_ = 0;
  detail::event_slot* first_ = nullptr;
  detail::event_slot* last_ = nullptr;
  std::size_t max_listeners_;
  bool capture_;
  std::shared_ptr<emitter*> life_;
};

namespace detail {

inline emitter_watch::emitter_watch(emitter& of) noexcept : of_(&of), outer_(std::exchange(of.running_, this)) {}
inline emitter_watch::~emitter_watch() {
  if (of_ != nullptr) of_->running_ = outer_;
}

template <class F, class... A>
void listener_of<F, A...>::call_function(listener_node& self, emitter* by, pass_t<A>... args) {
  if constexpr (is_async) {
    start_listener(by, start_function(self, args...));
  } else {
    passed all(args...);
    static_cast<void>(call_first(static_cast<listener_of&>(self).function_, all, taken()));
  }
}

template <class First>
failure failure_from(const First& first) {
  if constexpr (std::is_convertible_v<const First&, failure>) {
    return first;
  } else if constexpr (std::is_same_v<First, std::exception_ptr>) {
    return first ? failure(first) : unhandled("null");
  } else if constexpr (std::derived_from<First, std::exception>) {
    return failure(std::make_exception_ptr(first));
  } else if constexpr (std::is_convertible_v<const First&, std::string_view>) {
    return unhandled('\'' + std::string(std::string_view(first)) + '\'');
  } else if constexpr (std::is_arithmetic_v<First>) {
    return unhandled(std::to_string(first));
  } else {
    return unhandled("object");
  }
}

/// What `once` waits with. `removed` is called if the listener goes without having been called.
class event_wait {
 public:
  explicit event_wait(const abort_signal& signal) : signal_(signal) {
    signal_.throw_if_aborted();
    on_abort_.emplace(signal_.on_abort([this] { settle(state::aborted); }));
  }

  void settle_value() noexcept { settle(state::value); }
  void settle_error(const failure& why) {
    error_ = why;
    settle(state::failed);
  }
  void settle_removed() noexcept { settle(state::removed); }

  auto ready() noexcept { return ready_.wait(); }
  void throw_unless_value() const;

 private:
  enum class state : int { waiting, value, failed, removed, aborted };

  // The first counts; an abort may come from another thread.
  void settle(state how) noexcept {
    auto expected = state::waiting;
    if (state_.compare_exchange_strong(expected, how, std::memory_order_acq_rel)) ready_.set();
  }

  abort_signal signal_;
  event ready_;
  std::atomic<state> state_{state::waiting};
  std::optional<failure> error_;
  std::optional<abort_signal::registration> on_abort_;
};

template <class... A>
struct once_listener {
  event_wait* to;
  std::optional<typename event_value<A...>::type>* value;

  void operator()(pass_t<A>... args) const {
    value->emplace(event_value<A...>::make(args...));
    to->settle_value();
  }
  void removed() const noexcept { to->settle_removed(); }
};

}  // namespace detail

/// `co_await once(e, what)` completes with the arguments of the next such event (see event_type::value_type; nothing
/// if there are none). Listening begins with the await.
/// @throws what `error` is emitted with meanwhile, unless that is what is waited for; the signal's reason if it fires,
/// or has fired; weir::error ERR_CLOSED if the listener is removed or the emitter goes. Cancelling it removes the
/// listener. For tasks that live on the emitter's worker; the emitter must exist when the await begins. The signal may
/// fire anywhere.
template <class... A>
[[nodiscard]] auto once(emitter& from, event_type<A...> what, abort_signal signal = {})
    -> task<std::conditional_t<sizeof...(A) == 0, void, typename event_type<A...>::value_type>> {
  std::optional<typename event_type<A...>::value_type> value;
  detail::event_wait wait(signal);
  subscription on_error;
  if (!what.key().is_error && from.fits(events::error.key())) {
    on_error = from.subscribe(events::error, [&wait](const failure& why) { wait.settle_error(why); });
  }
  subscription on_event(from.once(what, detail::once_listener<A...>{&wait, &value}));
  co_await wait.ready();
  wait.throw_unless_value();
  if constexpr (sizeof...(A) != 0) co_return std::move(*value);
}

/// What an `event_stream` does with an event for which it has no room.
enum class overflow : std::uint8_t {
  fail,         ///< ends with ERR_QUEUE_FULL once what it holds has been taken
  drop_oldest,  ///< makes room
  drop_newest,  ///< leaves it out
};

struct event_stream_options {
  std::size_t capacity = 1024;  ///< events held, at least 1
  overflow when_full = overflow::fail;
  abort_signal signal = {};               ///< ends the iteration with its reason; may fire anywhere
  std::vector<event_type<>> end_on = {};  ///< events that end it
};

namespace detail {

/// What event streams have in common.
class event_feed {
 public:
  explicit event_feed(const event_stream_options& options);
  event_feed(const event_feed&) = delete;
  event_feed& operator=(const event_feed&) = delete;

  void fail(const failure& why) noexcept;
  void end() noexcept;

  /// @return the failure to report, once; none: the end
  std::optional<failure> take_failure() noexcept;

  bool over() const noexcept { return over_ || aborted_.load(std::memory_order_acquire); }
  std::uint64_t dropped() const noexcept { return dropped_; }

  event changed;

 protected:
  ~event_feed() = default;
  bool make_room(std::size_t held) noexcept;  ///< @return false if the event is to be left out
  bool wants_oldest_dropped(std::size_t held) const noexcept;

  std::uint64_t dropped_ = 0;

 private:
  std::size_t capacity_;
  overflow when_full_;
  bool over_ = false;
  bool told_ = false;
  std::optional<failure> failure_;
  abort_signal signal_;
  std::atomic<bool> aborted_{false};
  std::optional<abort_signal::registration> on_abort_;
};

template <class T>
class event_buffer final : public event_feed {
 public:
  using event_feed::event_feed;

  void push(T value) {
    if (!make_room(held_.size())) return;
    if (wants_oldest_dropped(held_.size())) {
      held_.pop_front();
      ++dropped_;
    }
    held_.push_back(std::move(value));
    changed.set();
  }
  bool ready() const noexcept { return !held_.empty() || over(); }
  std::size_t size() const noexcept { return held_.size(); }

  result<std::optional<T>> take() {
    if (held_.empty()) {
      if (auto why = take_failure()) return *why;
      return std::optional<T>();
    }
    std::optional<T> first(std::move(held_.front()));
    held_.pop_front();
    return first;
  }

 private:
  std::deque<T> held_;
};

template <class... A>
struct stream_listener {
  event_buffer<typename event_value<A...>::type>* to;
  void operator()(pass_t<A>... args) const { to->push(event_value<A...>::make(args...)); }
  void removed() const noexcept { to->end(); }
};

}  // namespace detail

/// The events of one kind as a sequence, made by `on(emitter, what)`. Holds those that have not been taken, up to its
/// capacity. For one task at a time, on the emitter's worker. May outlive the emitter.
template <class T>
class event_stream {
 public:
  /// `co_await s.next()` completes with the next event, or with nothing once it has been closed and all that it holds
  /// has been taken. Throws once, after the events that came before: what `error` was emitted with, the signal's
  /// reason, ERR_QUEUE_FULL; afterwards there is nothing. Cancelling it loses no event.
  class [[nodiscard]] next_awaiter {
   public:
    explicit next_awaiter(detail::event_buffer<T>& from) noexcept : from_(&from), wait_(from.changed.wait()) {}
    bool await_ready() const noexcept { return false; }
    template <detail::weir_promise P>
    bool await_suspend(std::coroutine_handle<P> h) noexcept {
      auto& running = *h.promise().running;
      if (!from_->ready()) from_->changed.reset();
      if (!from_->ready()) {  // an abort may have come from another thread
        waited_ = true;
        return wait_.await_suspend(h);
      }
      stopped_ = running.must_stop();
      return !stopped_ && detail::yield_if_spent(running, h);
    }
    std::optional<T> await_resume() { return try_resume().value(); }
    result<std::optional<T>> try_resume() {
      if (stopped_) return failure(cancelled());
      if (waited_) {
        if (auto waited = wait_.try_resume(); !waited) return waited.failure();
      }
      return from_->take();
    }

   private:
    detail::event_buffer<T>* from_;
    event::awaiter wait_;
    bool waited_ = false;
    bool stopped_ = false;
  };
  next_awaiter next() noexcept { return next_awaiter(*buffer_); }

  /// Stops listening. What is held can still be taken.
  void close() noexcept {
    subscriptions_.clear();
    buffer_->end();
  }

  std::size_t size() const noexcept { return buffer_->size(); }          ///< events held
  std::uint64_t dropped() const noexcept { return buffer_->dropped(); }  ///< events left out for want of room

  /// @cond internal
  template <class... A>
  event_stream(emitter& from, const event_type<A...>& what, const event_stream_options& options)
      : buffer_(std::make_unique<detail::event_buffer<T>>(options)) {
    auto* to = buffer_.get();
    if (!what.key().is_error && from.fits(events::error.key())) {
      subscriptions_.push_back(from.subscribe(events::error, [to](const failure& why) { to->fail(why); }));
    }
    for (auto& each : options.end_on) subscriptions_.push_back(from.subscribe(each, [to] { to->end(); }));
    subscriptions_.push_back(from.subscribe(what, detail::stream_listener<A...>{to}));
  }
  /// @endcond

 private:
  std::unique_ptr<detail::event_buffer<T>> buffer_;
  std::vector<subscription> subscriptions_;  // before the buffer goes, nobody refers to it any more
};

/// Listens from now on: `auto messages = on(e, message); while (auto m = co_await messages.next()) ...`
/// @throws the signal's reason if it has fired; ERR_OUT_OF_RANGE for a capacity of 0
template <class... A>
[[nodiscard]] auto on(emitter& from, const event_type<A...>& what, const event_stream_options& options = {}) {
  return event_stream<typename event_type<A...>::value_type>(from, what, options);
}

}  // namespace weir
