#include <weir/core/emitter.hpp>

#include <weir/core/context.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/warning.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace weir {
namespace detail {

static_assert(sizeof(listener_list) % alignof(listener_node*) == 0);

listener_list* listener_list::make(std::uint32_t capacity) {
  void* room = ::operator new(sizeof(listener_list) + capacity * sizeof(listener_node*));
  auto* made = new (room) listener_list;
  made->capacity = capacity;
  return made;
}

void listener_list::release(listener_list& list) noexcept {
  if (--list.references != 0) return;
  for (std::uint32_t i = 0; i < list.size; ++i) node_ref::release(*list.begin()[i]);
  list.~listener_list();
  ::operator delete(&list);
}

bool listener_node::begin_call() {
  if (muted || (once && fired)) return false;
  if (!once) return true;
  fired = true;
  if (owner != nullptr) owner->remove(*this, true);
  return true;
}

void listener_node::leave() noexcept {
  owner = nullptr;
  at = nullptr;
  on_abort.reset();
  if (on_removed != nullptr && !fired && !muted) on_removed(*this);
}

void start_listener(emitter* by, task<> body) {
  auto* running = current_execution();
  if (running == nullptr) {
    throw error(errc::err_invalid_state,
                "an asynchronous listener was called, but no weir runtime runs on this thread");
  }
  bool routed = by != nullptr && by->captures();
  auto of = routed ? by->watch() : std::make_shared<emitter*>(nullptr);
  static_cast<void>(
      running->owner->enclosing_scope()->spawn_local(run_listener, std::move(body), std::move(of), routed));
}

task<> run_listener(task<> body, std::shared_ptr<emitter*> of, bool routed) {
  auto outcome = co_await attempt(std::move(body));
  if (outcome) co_return;
  bool stopped = (co_await this_fiber{}).must_stop();
  if (stopped || !routed || *of == nullptr) outcome.failure().rethrow();
  (*of)->emit_captured(outcome.failure());
}

failure unhandled(std::string_view payload) {
  return error(errc::err_unhandled_error, "Unhandled error. (" + std::string(payload) + ")");
}

void event_wait::throw_unless_value() const {
  switch (state_.load(std::memory_order_acquire)) {
    case state::failed: error_->rethrow();
    case state::aborted: std::rethrow_exception(signal_.reason());
    case state::removed: throw error(errc::err_closed, "once: the listener was removed");
    default: return;
  }
}

event_feed::event_feed(const event_stream_options& options)
    : capacity_(options.capacity), when_full_(options.when_full), signal_(options.signal) {
  if (capacity_ == 0) throw error(errc::err_out_of_range, "on: the capacity must be at least 1");
  signal_.throw_if_aborted();
  on_abort_.emplace(signal_.on_abort([this] {
    aborted_.store(true, std::memory_order_release);
    changed.set();
  }));
}

void event_feed::fail(const failure& why) noexcept {
  if (over()) return;
  failure_ = why;
  end();
}

void event_feed::end() noexcept {
  over_ = true;
  changed.set();
}

std::optional<failure> event_feed::take_failure() noexcept {
  if (std::exchange(told_, true)) return std::nullopt;
  if (failure_) return failure_;
  if (!over_) return failure(signal_.reason());
  return std::nullopt;
}

bool event_feed::make_room(std::size_t held) noexcept {
  if (over()) {
    ++dropped_;
    return false;
  }
  if (held < capacity_ || when_full_ == overflow::drop_oldest) return true;
  ++dropped_;
  if (when_full_ == overflow::fail) fail(error(errc::err_queue_full, "on: more events came than were taken"));
  return false;
}

bool event_feed::wants_oldest_dropped(std::size_t held) const noexcept { return held >= capacity_; }

}  // namespace detail

namespace {

std::atomic<std::size_t> default_most{10};

// What has been muted may stay in the list, where that could not be copied; a listener of remove_listener may throw.
bool remove_quietly(const listener& which) noexcept {
  try {
    return which.remove();
  } catch (...) {
    return false;
  }
}

}  // namespace

void emitter::set_default_max_listeners(std::size_t most) noexcept { default_most = most; }
std::size_t emitter::default_max_listeners() noexcept { return default_most; }

bool listener::remove() const {
  if (!active()) return false;
  node_->owner->remove(*node_, true);
  return true;
}

void subscription::reset() noexcept {
  auto was = std::exchange(listener_, {});
  if (!was) return;
  was.node()->muted = true;
  was.node()->special = true;
  remove_quietly(was);
}

emitter::emitter(emitter_options options) noexcept
    : buckets_(few_buckets_),
      max_listeners_(options.max_listeners.value_or(unset)),
      capture_(options.capture_failures) {}

emitter::~emitter() {
  for (auto* each = running_; each != nullptr; each = each->outer_) each->of_ = nullptr;
  if (life_) *life_ = nullptr;
  while (first_ != nullptr) {
    auto& slot = *first_;
    auto* list = std::exchange(slot.listeners, nullptr);
    for (std::uint32_t i = 0; i < list->size; ++i) list->begin()[i]->leave();
    drop_slot(slot);
    detail::listener_list::release(*list);
  }
  if (buckets_ != few_buckets_) delete[] buckets_;
}

std::shared_ptr<emitter*> emitter::watch() {
  if (!life_) life_ = std::make_shared<emitter*>(this);
  return life_;
}

std::size_t emitter::max_listeners() const noexcept {
  return max_listeners_ == unset ? default_most.load() : max_listeners_;
}

void emitter::refuse_types(const detail::event_key& key) {
  throw error(errc::err_invalid_arg_type,
              "The event '" + std::string(key.name) + "' is in use with other types of arguments");
}

void emitter::check_repeatable(const detail::event_key& key, const listener& again) {
  if (!again) throw error(errc::err_invalid_arg_type, "on: the listener is empty");
  if (again.node()->signature != key.signature) refuse_types(key);
}

listener emitter::add(const detail::event_key& key, detail::node_ref made, const listen_options& options) {
  if (!fits(key)) refuse_types(key);
  listener handle(std::move(made));
  if (options.signal.aborted()) return handle;
  auto& node = *handle.node();
  node.once = node.special = options.once;
  if (auto* hook = find(events::new_listener.key())) {
    detail::emitter_watch self(*this);
    deliver<std::string_view, const listener&>(*hook, events::new_listener.key(), key.name, handle);
    if (!self.alive()) return handle;
  }
  auto* slot = find(key);
  if (slot == nullptr) slot = &make_slot(key);
  insert(*slot, node, options.prepend);
  node.owner = this;
  node.at = slot;
  if (options.signal.state() != nullptr) {
    node.on_abort.emplace(options.signal.on_abort([&node] {
      listener self{detail::node_ref(&node)};
      self.remove();
    }));
  }
  check_count(*slot);
  return handle;
}

// Node's text, with our names (https://nodejs.org/api/events.html#eventsdefaultmaxlisteners).
void emitter::check_count(detail::event_slot& slot) {
  auto most = max_listeners();
  if (most == 0 || slot.warned || slot.listeners->size <= most) return;
  slot.warned = true;
  emit_warning("Possible emitter memory leak detected. " + std::to_string(slot.listeners->size) + ' ' + slot.name +
                   " listeners added. MaxListeners is " + std::to_string(most) +
                   ". Use emitter.set_max_listeners() to increase limit",
               {.type = "MaxListenersExceededWarning"});
}

void emitter::insert(detail::event_slot& slot, detail::listener_node& node, bool first) {
  auto* list = slot.listeners;
  if (list == nullptr || list->references != 1 || list->size == list->capacity) {
    std::uint32_t size = list != nullptr ? list->size : 0;
    auto* copy = detail::listener_list::make(std::max<std::uint32_t>(2, size + size / 2 + 1));
    for (; copy->size < size; ++copy->size) {
      auto* each = list->begin()[copy->size];
      ++each->references;
      copy->begin()[copy->size] = each;
    }
    if (list != nullptr) detail::listener_list::release(*list);
    slot.listeners = list = copy;
  }
  auto** begin = list->begin();
  if (first) std::memmove(begin + 1, begin, list->size * sizeof(*begin));
  begin[first ? 0 : list->size] = &node;
  ++list->size;
  ++node.references;
}

detail::event_slot& emitter::make_slot(const detail::event_key& key) {
  if (count_ > 2 * mask_) grow();
  auto* made = new detail::event_slot;
  made->hash = key.hash;
  made->signature = key.signature;
  try {
    made->name = key.name;
    made->listeners = detail::listener_list::make(2);
  } catch (...) {
    delete made;
    throw;
  }
  made->previous = last_;
  (last_ != nullptr ? last_->next : first_) = made;
  last_ = made;
  auto*& bucket = buckets_[key.hash & mask_];
  made->next_in_bucket = bucket;
  bucket = made;
  ++count_;
  return *made;
}

void emitter::grow() {
  auto size = 4 * (mask_ + 1);
  auto** wider = new detail::event_slot*[size]();
  for (auto* each = first_; each != nullptr; each = each->next) {
    auto*& bucket = wider[each->hash & (size - 1)];
    each->next_in_bucket = bucket;
    bucket = each;
  }
  if (buckets_ != few_buckets_) delete[] buckets_;
  buckets_ = wider;
  mask_ = size - 1;
}

void emitter::drop_slot(detail::event_slot& slot) noexcept {
  (slot.previous != nullptr ? slot.previous->next : first_) = slot.next;
  (slot.next != nullptr ? slot.next->previous : last_) = slot.previous;
  auto** place = &buckets_[slot.hash & mask_];
  while (*place != &slot) place = &(*place)->next_in_bucket;
  *place = slot.next_in_bucket;
  --count_;
  delete &slot;
}

// Takes the node out of its list, which is copied if an emission looks at it.
void emitter::unlist(detail::listener_node& node) {
  auto& slot = *node.at;
  auto* list = slot.listeners;
  std::uint32_t index = list->size;
  while (list->begin()[--index] != &node) continue;
  if (list->references != 1 && list->size > 1) {
    auto* copy = detail::listener_list::make(list->capacity);
    for (std::uint32_t i = 0; i < list->size; ++i) {
      auto* each = list->begin()[i];
      ++each->references;
      copy->begin()[copy->size++] = each;
    }
    detail::listener_list::release(*list);
    slot.listeners = list = copy;
  }
  if (list->size == 1) {
    slot.listeners = nullptr;
    drop_slot(slot);
    detail::listener_list::release(*list);
    return;
  }
  auto** begin = list->begin();
  --list->size;
  std::memmove(begin + index, begin + index + 1, (list->size - index) * sizeof(*begin));
  detail::node_ref::release(node);
}

void emitter::remove(detail::listener_node& node, bool tell) {
  listener handle{detail::node_ref(&node)};
  bool told = tell && find(events::remove_listener.key()) != nullptr;
  std::string name = told ? node.at->name : std::string();
  unlist(node);
  node.leave();
  if (!told) return;
  if (auto* hook = find(events::remove_listener.key())) {
    deliver<std::string_view, const listener&>(*hook, events::remove_listener.key(), name, handle);
  }
}

bool emitter::remove_last(const detail::event_key& key, const detail::listener_node* identity,
                          detail::listener_node::erased function) {
  auto* slot = find(key);
  if (slot == nullptr) return false;
  auto* list = slot->listeners;
  for (auto i = list->size; i-- > 0;) {
    auto& node = *list->begin()[i];
    bool same = function != nullptr ? node.function == function : node.identity == identity;
    if (!same) continue;
    remove(node, true);
    return true;
  }
  return false;
}

void emitter::remove_all(const detail::event_key& key) {
  detail::emitter_watch self(*this);
  std::vector<detail::node_ref> all;
  if (auto* slot = find(key)) {
    for (auto i = slot->listeners->size; i-- > 0;) all.emplace_back(slot->listeners->begin()[i]);
  }
  for (auto& each : all) {
    if (!self.alive()) return;
    if (each->owner == this) remove(*each, true);
  }
}

// Those of remove_listener last: they hear of all the others.
void emitter::remove_all_listeners() {
  detail::emitter_watch self(*this);
  for (const auto& name : event_names()) {
    if (!self.alive()) return;
    if (name != events::remove_listener.name()) remove_all(event_type<>(name).key());
  }
  if (self.alive()) remove_all(events::remove_listener.key());
}

std::vector<std::string> emitter::event_names() const {
  std::vector<std::string> names;
  for (auto* each = first_; each != nullptr; each = each->next) names.push_back(each->name);
  return names;
}

// A failure of an asynchronous `error` listener is not emitted again, or it might never end.
void emitter::emit_captured(const failure& why) {
  detail::emitter_watch self(*this);
  struct restore {
    emitter* of;
    const detail::emitter_watch& watch;
    bool before;
    ~restore() {
      if (watch.alive()) of->capture_ = before;
    }
  } at_end{this, self, std::exchange(capture_, false)};
  if (!fits(events::error.key())) why.rethrow();
  emit(events::error, why);
}

}  // namespace weir
