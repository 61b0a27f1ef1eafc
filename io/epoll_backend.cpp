// io/epoll_backend.cpp: the executor's seam on epoll. It rests on io/system_calls for making the calls and on core's
// blocking pool for those that may block. It promises that an operation gets exactly its completions, that no
// readiness and no wake-up is lost, and that the worker's thread does not block but in `poll`.
//
// Descriptors are registered edge-triggered, once, with what has ever been waited for on them. An operation that has
// to wait costs one epoll_ctl: EPOLL_CTL_MOD looks at the descriptor anew, so no edge can be missed, and fails if the
// number belongs to another file by now. A receive that stays armed costs none per message. Sends are tried at once.
#include <weir/io/epoll_backend.hpp>

#include <weir/core/blocking_pool.hpp>
#include <weir/core/worker.hpp>
#include <weir/io/backend_parts.hpp>
#include <weir/io/system_calls.hpp>

#include <fmt/format.h>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace weir::io {
namespace {

using namespace std::chrono_literals;

// operation::home.state.
constexpr std::uint32_t in_flight_bit = 1;  // submitted; the terminal completion has not been reported
constexpr std::uint32_t waiting_bit = 2;    // in the list of the descriptor that it waits for
constexpr std::uint32_t settled_bit = 4;    // ended; home.index is the result
constexpr std::uint32_t thread_bit = 8;     // with the blocking pool; home.index is the errand
constexpr std::uint32_t delayed_bit = 16;   // in the list of what is tried again a little later
constexpr std::uint32_t cancel_asked_bit = 32;
constexpr std::uint32_t careful_bit = 64;  // look for readiness before the call: blocking mode, no RWF_NOWAIT
constexpr std::uint32_t plain_bit = 128;   // read or write of something that is no socket
constexpr unsigned kind_shift = 8;         // three bits: calls::kind
// While it waits home.index is what has gone through (MSG_WAITALL), for poll_many the round in which it was last
// told, for splice the descriptor waited for.

constexpr std::uint32_t in_events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr std::uint32_t out_events = EPOLLOUT | EPOLLHUP | EPOLLERR;
constexpr std::uint32_t ends = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr std::uint32_t always_told = EPOLLHUP | EPOLLERR;

// How much one stream or listener gets before the others have their turn.
constexpr unsigned receives_per_turn = 16;
constexpr unsigned accepts_per_turn = 64;
constexpr unsigned events_per_call = 256;
// Polls in a row that report what has settled and leave the kernel alone.
constexpr unsigned most_skips = 8;
// What has no readiness to wait for (AF_UNIX connect with a full backlog, a full queue of blocking functions).
constexpr auto delay = 2ms;
// Events in a row that nobody waits for, after which a descriptor is taken out.
constexpr std::uint8_t most_useless = 8;

/// What is known of a descriptor number.
struct entry {
  operation_queue waiting;
  std::uint32_t interest = 0;  // what it is registered for; 0: it is not registered
  std::uint32_t serial = 0;    // of the registration: events of an earlier file of this number are told apart
  int fd = -1;
  std::int16_t type = 0;  // of a socket, or 0
  std::uint8_t useless = 0;
  bool full = false;        // the last receive filled its buffer: the next is likely to find something
  std::uint32_t later = 0;  // events left for the next poll; not 0: in again_
};

/// What an event offers to those who wait, until it is used up.
struct offer {
  std::uint32_t mask;
  bool input = true;
  bool output = true;
};

/// The entries by number, at addresses that stay.
class entry_table {
 public:
  entry* find(int fd) const {
    const auto page = static_cast<std::size_t>(fd) / page_size;
    if (fd < 0 || page >= pages_.size() || !pages_[page]) return nullptr;
    return &(*pages_[page])[static_cast<std::size_t>(fd) % page_size];
  }

  /// @return null without memory
  entry* make(int fd) noexcept {
    const auto page = static_cast<std::size_t>(fd) / page_size;
    try {
      if (page >= pages_.size()) pages_.resize(page + 1);
      if (!pages_[page]) pages_[page] = std::make_unique<entries>();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    return find(fd);
  }

 private:
  static constexpr std::size_t page_size = 256;
  using entries = std::array<entry, page_size>;
  std::vector<std::unique_ptr<entries>> pages_;
};

// --- what an operation waits for

bool is_input(opcode code) noexcept {
  switch (code) {
    case opcode::read:
    case opcode::readv:
    case opcode::recv:
    case opcode::recv_many:
    case opcode::recvmsg:
    case opcode::accept:
    case opcode::accept_many: return true;
    default: return false;
  }
}

bool is_poll(opcode code) noexcept { return code == opcode::poll || code == opcode::poll_many; }

int waits_on(const operation& op) noexcept {
  return op.code == opcode::splice ? static_cast<int>(op.home.index) : op.fd;
}

bool waits_for(const operation& op, const offer& left) noexcept {
  if (is_poll(op.code)) return (left.mask & (op.flags | always_told)) != 0;
  if (op.code == opcode::splice) return true;
  return is_input(op.code) ? left.input && (left.mask & in_events) != 0 : left.output && (left.mask & out_events) != 0;
}

std::uint32_t needs(const operation& op) noexcept {
  if (is_poll(op.code)) return op.flags & 0x3fff;
  if (op.code == opcode::splice) return EPOLLIN | EPOLLOUT;
  return is_input(op.code) ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
}

std::uint64_t key_of(const entry& e) noexcept {
  return static_cast<std::uint32_t>(e.fd) | std::uint64_t{e.serial} << 32;
}

// Whether somebody waits for the same and goes first.
bool has_queue(const entry* e, const operation& op) noexcept {
  if (e == nullptr) return false;
  for (const operation* each = e->waiting.front(); each != nullptr; each = each->home.next) {
    if (!is_poll(each->code) && is_input(each->code) == is_input(op.code)) return true;
  }
  return false;
}

// --- the backend

class epoll_backend;

/// An operation on a thread that may block.
struct errand final : detail::blocking_job {
  epoll_backend* home = nullptr;
  operation* op = nullptr;
  errand* next_done = nullptr;
  std::uint32_t number = 0;
  int result = 0;
};

class epoll_backend final : public backend {
 public:
  epoll_backend(const backend_options& options, const epoll_limits& limits);
  epoll_backend(const epoll_backend&) = delete;
  epoll_backend& operator=(const epoll_backend&) = delete;
  ~epoll_backend() override;

  void start() override;
  void submit(operation& op) noexcept override;
  void cancel(operation& op) noexcept override;
  std::size_t poll(std::chrono::nanoseconds timeout) noexcept override;
  void wake(backend* from) noexcept override;
  void recycle(std::uint16_t buffer) noexcept override;
  std::size_t in_flight() const noexcept override { return in_flight_; }
  const backend_counters& counters() const noexcept override { return counters_; }
  std::string report() const override;

 private:
  enum : int { running, parked, notified };  // wake_word_

  // Beginning.
  void begin(operation& op) noexcept;
  void begin_transfer(operation& op) noexcept;
  void begin_plain(operation& op, calls::kind what) noexcept;
  void begin_unknown(operation& op) noexcept;
  void begin_connect(operation& op) noexcept;
  void begin_splice(operation& op) noexcept;
  void begin_close(operation& op) noexcept;

  // Waiting for readiness.
  void wait_for(operation& op, int fd, std::uint32_t events) noexcept;
  entry* enter(int fd, std::uint32_t events, int& failed) noexcept;
  void wait_for_unpollable(operation& op) noexcept;
  void abandon(entry& e, int result) noexcept;
  void leave(operation& op, entry& e) noexcept;

  // Making the calls.
  int attempt(operation& op) noexcept;
  int attempt_plain(operation& op) noexcept;
  void serve(entry& e, std::uint32_t mask) noexcept;
  bool serve_one(entry& e, operation& op, offer& left) noexcept;
  void serve_receives(entry& e, operation& op, offer& left) noexcept;
  void serve_accepts(entry& e, operation& op, offer& left) noexcept;
  operation* next_served(const entry& e, const offer& left) const noexcept;
  void report_more(operation& op, completion report) noexcept;
  void serve_later(entry& e, offer& left) noexcept;
  void note_useless(entry& e) noexcept;

  // Threads.
  void send_to_thread(operation& op) noexcept;
  errand* take_errand() noexcept;
  void arrived(errand& done) noexcept;
  void take_arrivals() noexcept;
  static void run_errand(detail::blocking_job& job) noexcept;

  void postpone(operation& op) noexcept;
  void try_postponed() noexcept;
  void settle(operation& op, int result) noexcept;
  std::size_t report_settled() noexcept;

  // Collection.
  bool park() noexcept;
  int collect(std::chrono::nanoseconds timeout) noexcept;
  int wait_in_kernel(std::chrono::nanoseconds timeout) noexcept;
  void dispatch(const epoll_event& event) noexcept;
  void write_event() noexcept;

  std::byte* buffer_at(std::uint16_t id) const noexcept { return pool_.get() + std::size_t{id} * options_.buffer_size; }
  bool on_home_thread() const noexcept { return home_ == std::this_thread::get_id(); }

  const backend_options options_;
  const epoll_limits limits_;
  int poller_ = -1;
  int event_ = -1;
  bool precise_wait_;

  entry_table table_;
  std::uint32_t serial_ = 0;
  std::uint32_t round_ = 0;  // of `serve`, for poll_many
  figure in_flight_;
  std::size_t waiting_ = 0;
  operation_queue settled_;
  operation_queue postponed_;
  std::chrono::steady_clock::time_point try_at_;
  std::vector<std::pair<entry*, std::uint32_t>> again_;  // and the serial of the registration
  std::vector<std::pair<entry*, std::uint32_t>> serving_;
  std::size_t reported_ = 0;
  unsigned skipped_ = 0;
  backend_counters counters_;
  std::array<epoll_event, events_per_call> events_;

  std::unique_ptr<std::byte[]> pool_;
  std::vector<std::uint16_t> free_;  // the hottest last

  std::vector<std::unique_ptr<errand>> errands_;
  std::vector<errand*> idle_errands_;
  std::thread::id home_;
  alignas(64) std::atomic<int> wake_word_{running};
  std::atomic<errand*> done_{nullptr};

  detail::blocking_pool* threads_ = nullptr;            // the runtime's, or
  std::unique_ptr<detail::blocking_pool> own_threads_;  // last: its threads use the rest until they are joined
};

[[noreturn]] void refuse(int error, const char* what) { throw std::system_error(error, std::system_category(), what); }

// For what only a defect can bring about.
[[noreturn]] void broken(const char* what, int error) noexcept {
  std::fprintf(stderr, "weir: %s: %s\n", what, std::strerror(error));
  std::abort();
}

epoll_backend::epoll_backend(const backend_options& options, const epoll_limits& limits)
    : options_((check(options, "epoll"), options)), limits_(limits), precise_wait_(limits.precise_wait) {
  pool_.reset(new std::byte[std::size_t{options_.buffers} * options_.buffer_size]);  // touched as it is used
  free_.reserve(options_.buffers);
  for (unsigned id = options_.buffers; id-- > 0;) free_.push_back(static_cast<std::uint16_t>(id));
  poller_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (poller_ < 0) refuse(errno, "epoll_create1 (raise RLIMIT_NOFILE?)");
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event wakes{EPOLLIN | EPOLLET, {.u64 = ~std::uint64_t{0}}};
  if (event_ >= 0 && ::epoll_ctl(poller_, EPOLL_CTL_ADD, event_, &wakes) == 0) return;
  const int error = errno;
  if (event_ >= 0) ::close(event_);
  ::close(poller_);
  refuse(error, "eventfd (raise RLIMIT_NOFILE?)");
}

epoll_backend::~epoll_backend() {
  assert(in_flight_ == 0 && "a backend must outlive its operations");
  own_threads_.reset();
  ::close(poller_);
  ::close(event_);
}

void epoll_backend::start() {
  home_ = std::this_thread::get_id();
  if (auto* worker = detail::current_worker()) {
    threads_ = &worker->home().blocking();
    return;
  }
  own_threads_ = std::make_unique<detail::blocking_pool>(8, 4096);
  threads_ = own_threads_.get();
}

// --- beginning

void epoll_backend::submit(operation& op) noexcept {
  assert(on_home_thread());
  assert((op.home.state & in_flight_bit) == 0 && "an operation is submitted once at a time");
  op.home.state = in_flight_bit;
  op.home.index = 0;
  ++in_flight_;
  ++counters_.submissions;
  begin(op);
}

void epoll_backend::begin(operation& op) noexcept {
  switch (op.code) {
    case opcode::nop: return settle(op, 0);
    case opcode::read:
    case opcode::readv:
    case opcode::write:
    case opcode::writev: return begin_unknown(op);
    case opcode::recv:
    case opcode::recvmsg:
    case opcode::send:
    case opcode::sendmsg: return begin_transfer(op);
    case opcode::recv_many:
    case opcode::accept:
    case opcode::accept_many: return wait_for(op, op.fd, needs(op));
    case opcode::connect: return begin_connect(op);
    case opcode::shutdown: return settle(op, ::shutdown(op.fd, static_cast<int>(op.length)) == 0 ? 0 : -errno);
    case opcode::close: return begin_close(op);
    case opcode::poll:
    case opcode::poll_many: return wait_for(op, op.fd, needs(op));
    case opcode::openat:
    case opcode::statx:
    case opcode::fsync:
    case opcode::fallocate:
    case opcode::unlinkat:
    case opcode::renameat:
    case opcode::mkdirat: return send_to_thread(op);
    case opcode::splice: return begin_splice(op);
    default: return settle(op, -EINVAL);
  }
}

// A send is most likely to go through; a receive only where the last one left something.
void epoll_backend::begin_transfer(operation& op) noexcept {
  const bool input = is_input(op.code);
  entry* e = table_.find(op.fd);
  if (!has_queue(e, op) && (!input || (e != nullptr && e->full))) {
    const int result = calls::transfer(op, op.home.index, false);
    if (result != -EAGAIN) {
      if (input) e->full = op.code == opcode::recv && result == static_cast<int>(op.length);
      return settle(op, result);
    }
  }
  wait_for(op, op.fd, needs(op));
}

void epoll_backend::begin_unknown(operation& op) noexcept {
  calls::kind what{};
  if (const int failed = calls::kind_of(op.fd, what); failed != 0) return settle(op, failed);
  if (what == calls::kind::socket) return begin_transfer(op);
  if (what != calls::kind::file) return begin_plain(op, what);
  if (op.code == opcode::read || op.code == opcode::readv) {
    const int result = limits_.nowait ? calls::read_cached(op) : -EAGAIN;
    if (result != -EAGAIN) return settle(op, result);
  }
  send_to_thread(op);
}

void epoll_backend::begin_plain(operation& op, calls::kind what) noexcept {
  static_assert(static_cast<unsigned>(calls::kind::event) < 8);
  op.home.state |= plain_bit | static_cast<std::uint32_t>(what) << kind_shift;
  if (!has_queue(table_.find(op.fd), op)) {
    int result = limits_.nowait ? calls::stream_now(op) : -EOPNOTSUPP;
    if (result == -EOPNOTSUPP) {
      op.home.state |= careful_bit;
      // Not so a device, which may claim to be ready because it has no idea: epoll refuses those.
      result = what == calls::kind::device ? -EAGAIN : calls::stream_when_ready(op, what);
    }
    if (result != -EAGAIN) return settle(op, result);
  }
  wait_for(op, op.fd, needs(op));
}

void epoll_backend::begin_connect(operation& op) noexcept {
  const int result = calls::connect_now(op);
  if (result == -EINPROGRESS) return wait_for(op, op.fd, needs(op));
  if (result == -EAGAIN) return postpone(op);
  settle(op, result);
}

void epoll_backend::begin_splice(operation& op) noexcept {
  calls::splice_wait wait;
  const int result = calls::splice_now(op, wait);
  if (result != -EAGAIN) return settle(op, result);
  if (wait.needs_thread) return send_to_thread(op);
  if (wait.fd < 0) return postpone(op);
  op.home.index = static_cast<std::uint32_t>(wait.fd);
  wait_for(op, wait.fd, wait.events);
}

// What still waits for the descriptor has lost it. Only a file may have something to write back first.
void epoll_backend::begin_close(operation& op) noexcept {
  if (entry* e = table_.find(op.fd); e != nullptr && e->interest != 0) {
    ::epoll_ctl(poller_, EPOLL_CTL_DEL, op.fd, nullptr);
    abandon(*e, -EBADF);
  }
  calls::kind what{};
  if (const int failed = calls::kind_of(op.fd, what); failed != 0) return settle(op, failed);
  if (what == calls::kind::file) return send_to_thread(op);
  settle(op, calls::perform(op));
}

// --- waiting for readiness

/// Registers `fd` for `events`, beside what it is registered for. @return null and the error if that fails
entry* epoll_backend::enter(int fd, std::uint32_t events, int& failed) noexcept {
  entry* e = table_.find(fd);
  epoll_event wanted{};
  if (e != nullptr && e->interest != 0) {
    wanted.events = e->interest | events | EPOLLET;
    wanted.data.u64 = key_of(*e);
    ++counters_.enters;
    if (::epoll_ctl(poller_, EPOLL_CTL_MOD, fd, &wanted) == 0) {
      e->interest |= events;
      return e;
    }
    abandon(*e, -EBADF);  // the number belongs to another file now, or to none
  }
  const std::uint32_t serial = ++serial_;
  wanted.events = events | EPOLLET;
  wanted.data.u64 = static_cast<std::uint32_t>(fd) | std::uint64_t{serial} << 32;
  ++counters_.enters;
  if (::epoll_ctl(poller_, EPOLL_CTL_ADD, fd, &wanted) != 0) {
    failed = -errno;
    return nullptr;
  }
  if (e == nullptr) e = table_.make(fd);
  if (e == nullptr) {
    ::epoll_ctl(poller_, EPOLL_CTL_DEL, fd, nullptr);
    failed = -ENOMEM;
    return nullptr;
  }
  e->fd = fd;
  e->interest = events;
  e->serial = serial;
  e->useless = 0;
  e->later = 0;
  e->full = false;
  e->type = static_cast<std::int16_t>(std::max(calls::socket_type(fd), 0));
  return e;
}

bool needs_socket(opcode code) noexcept {
  switch (code) {
    case opcode::recv:
    case opcode::recv_many:
    case opcode::recvmsg:
    case opcode::accept:
    case opcode::accept_many: return true;
    default: return false;
  }
}

void epoll_backend::wait_for(operation& op, int fd, std::uint32_t events) noexcept {
  int failed = 0;
  entry* e = enter(fd, events | always_told, failed);
  if (e == nullptr) return failed == -EPERM ? wait_for_unpollable(op) : settle(op, failed);
  if (e->type == 0 && needs_socket(op.code)) return settle(op, -ENOTSOCK);
  op.home.state |= waiting_bit;
  ++waiting_;
  e->waiting.push(op);
}

// What epoll refuses (files, /dev/null) counts as ready, as for poll(2), and may block.
void epoll_backend::wait_for_unpollable(operation& op) noexcept {
  const auto ready = static_cast<int>(op.flags & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM));
  if (op.code == opcode::poll || op.code == opcode::poll_many) return settle(op, ready);
  if (needs_socket(op.code)) return settle(op, -ENOTSOCK);
  send_to_thread(op);
}

void epoll_backend::leave(operation& op, entry& e) noexcept {
  e.waiting.remove(op);
  op.home.state &= ~waiting_bit;
  --waiting_;
}

/// Forgets the registration; whoever waits for it ends.
void epoll_backend::abandon(entry& e, int result) noexcept {
  e.interest = 0;
  e.full = false;
  while (!e.waiting.empty()) {
    operation& op = *e.waiting.front();
    leave(op, e);
    settle(op, result);
  }
}

// --- making the calls

/// @return -EAGAIN if it has to go on waiting
int epoll_backend::attempt(operation& op) noexcept {
  switch (op.code) {
    case opcode::accept: return calls::accept_now(op);
    case opcode::connect: {
      const int result = calls::connect_outcome(op.fd);
      return result == -EINPROGRESS ? -EAGAIN : result;
    }
    case opcode::read:
    case opcode::readv:
    case opcode::write:
    case opcode::writev:
      if ((op.home.state & plain_bit) != 0) return attempt_plain(op);
      [[fallthrough]];
    default: return calls::transfer(op, op.home.index, true);
  }
}

int epoll_backend::attempt_plain(operation& op) noexcept {
  const auto what = static_cast<calls::kind>(op.home.state >> kind_shift & 7);
  if ((op.home.state & careful_bit) == 0) {
    const int result = limits_.nowait ? calls::stream_now(op) : -EOPNOTSUPP;
    if (result != -EOPNOTSUPP) return result;
    op.home.state |= careful_bit;
  }
  // A terminal that can take something may not be able to take all of it.
  if (what == calls::kind::device && !is_input(op.code)) return -EOPNOTSUPP;
  return calls::stream_when_ready(op, what);
}

operation* epoll_backend::next_served(const entry& e, const offer& left) const noexcept {
  for (operation* op = e.waiting.front(); op != nullptr; op = op->home.next) {
    if (!waits_for(*op, left)) continue;
    if (op->code == opcode::poll_many && op->home.index == round_) continue;
    return op;
  }
  return nullptr;
}

// Callbacks may cancel and submit operations on the same descriptor: the list is looked at anew after each.
void epoll_backend::serve(entry& e, std::uint32_t mask) noexcept {
  if (++round_ == 0) ++round_;
  bool used = false;
  offer left{mask};
  const std::uint32_t serial = e.serial;
  while (operation* op = next_served(e, left)) {
    if (serve_one(e, *op, left)) used = true;
    if (e.serial != serial) break;
  }
  if (used) {
    e.useless = 0;
  } else {
    note_useless(e);
  }
}

/// Takes from the offer what is used up. @return true if something came of it
bool epoll_backend::serve_one(entry& e, operation& op, offer& left) noexcept {
  switch (op.code) {
    case opcode::recv_many: serve_receives(e, op, left); return true;
    case opcode::accept_many: serve_accepts(e, op, left); return true;
    case opcode::poll:
      leave(op, e);
      settle(op, static_cast<int>(left.mask & (op.flags | always_told)));
      return true;
    case opcode::poll_many:
      op.home.index = round_;
      report_more(op, {.result = static_cast<int>(left.mask & (op.flags | always_told))});
      return true;
    case opcode::splice:
      leave(op, e);
      begin_splice(op);
      return true;
    default: break;
  }
  const int result = attempt(op);
  if (result == -EAGAIN) {
    (is_input(op.code) ? left.input : left.output) = false;
    return false;
  }
  if (is_input(op.code)) e.full = op.code == opcode::recv && result == static_cast<int>(op.length);
  leave(op, e);
  if (result == -EOPNOTSUPP && (op.home.state & careful_bit) != 0) {
    send_to_thread(op);
  } else {
    settle(op, result);
  }
  return true;
}

// A stream socket that gave less than there was room for is empty (epoll(7)), unless its end has come too.
void epoll_backend::serve_receives(entry& e, operation& op, offer& left) noexcept {
  for (unsigned n = 0; n < receives_per_turn; ++n) {
    int got = 0;
    const std::uint16_t id = free_.empty() ? 0 : free_.back();
    if (free_.empty()) {
      std::byte one;
      got = calls::receive(op.fd, &one, 1, op.flags | MSG_PEEK);
      if (got > 0) {
        ++counters_.no_buffers;
        got = -ENOBUFS;
      }
    } else {
      got = calls::receive(op.fd, buffer_at(id), options_.buffer_size, op.flags);
    }
    if (got == -EAGAIN) {
      left.input = false;
      return;
    }
    if (got <= 0) {
      leave(op, e);
      return settle(op, got);
    }
    free_.pop_back();
    const bool drained = static_cast<unsigned>(got) < options_.buffer_size && e.type == SOCK_STREAM &&
                         (left.mask & (ends | EPOLLPRI)) == 0 && (op.flags & MSG_PEEK) == 0;
    e.full = !drained;
    report_more(op, {.result = got, .more = true, .data = buffer_at(id), .buffer = id});
    if (drained) left.input = false;
    if (drained || (op.home.state & waiting_bit) == 0) return;
  }
  serve_later(e, left);
}

void epoll_backend::serve_accepts(entry& e, operation& op, offer& left) noexcept {
  for (unsigned n = 0; n < accepts_per_turn; ++n) {
    const int taken = calls::accept_now(op);
    if (taken == -EAGAIN) {
      left.input = false;
      return;
    }
    if (taken < 0) {
      leave(op, e);
      return settle(op, taken);
    }
    report_more(op, {.result = taken});
    if ((op.home.state & waiting_bit) == 0) return;
  }
  serve_later(e, left);
}

void epoll_backend::report_more(operation& op, completion report) noexcept {
  report.more = true;
  ++counters_.completions;
  ++reported_;
  op.on_complete(op, report);
}

// The end of a stream is told once: what the event said has to be kept.
void epoll_backend::serve_later(entry& e, offer& left) noexcept {
  left.input = false;
  if (std::exchange(e.later, e.later | left.mask) == 0) again_.emplace_back(&e, e.serial);
}

// Nobody waits for what it told: it is registered for less, and the next to wait asks for more again.
void epoll_backend::note_useless(entry& e) noexcept {
  if (++e.useless < most_useless) return;
  e.useless = 0;
  if (e.waiting.empty()) {
    ::epoll_ctl(poller_, EPOLL_CTL_DEL, e.fd, nullptr);
    e.interest = 0;
    return;
  }
  std::uint32_t needed = always_told;
  for (const operation* op = e.waiting.front(); op != nullptr; op = op->home.next) needed |= needs(*op);
  if (needed == e.interest) return;
  epoll_event wanted{needed | EPOLLET, {.u64 = key_of(e)}};
  if (::epoll_ctl(poller_, EPOLL_CTL_MOD, e.fd, &wanted) == 0) e.interest = needed;
}

// --- threads

errand* epoll_backend::take_errand() noexcept {
  if (idle_errands_.empty()) {
    try {
      auto made = std::make_unique<errand>();
      made->home = this;
      made->run = run_errand;
      made->number = static_cast<std::uint32_t>(errands_.size());
      idle_errands_.reserve(errands_.size() + 1);
      errands_.push_back(std::move(made));
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    return errands_.back().get();
  }
  errand* found = idle_errands_.back();
  idle_errands_.pop_back();
  return found;
}

void epoll_backend::send_to_thread(operation& op) noexcept {
  errand* todo = take_errand();
  if (todo == nullptr) return settle(op, -ENOMEM);
  todo->op = &op;
  op.home.index = todo->number;
  op.home.state |= thread_bit;
  bool stopped = false;
  if (threads_->submit(*todo, stopped)) return;
  op.home.state &= ~thread_bit;
  idle_errands_.push_back(todo);
  postpone(op);
}

// On the thread. Once it is in the list the home worker may use the errand again.
void epoll_backend::run_errand(detail::blocking_job& job) noexcept {
  auto& self = static_cast<errand&>(job);
  self.result = calls::perform(*self.op);
  self.home->arrived(self);
}

void epoll_backend::arrived(errand& done) noexcept {
  errand* head = done_.load(std::memory_order_relaxed);
  do {
    done.next_done = head;
  } while (!done_.compare_exchange_weak(head, &done, std::memory_order_release, std::memory_order_relaxed));
  wake(nullptr);
}

void epoll_backend::take_arrivals() noexcept {
  if (done_.load(std::memory_order_relaxed) == nullptr) return;
  errand* last = done_.exchange(nullptr, std::memory_order_acquire);
  errand* first = nullptr;
  while (last != nullptr) {
    errand* next = std::exchange(last->next_done, first);
    first = std::exchange(last, next);
  }
  for (errand* each = first; each != nullptr;) {
    operation& op = *each->op;
    const int result = each->result;
    errand* done = std::exchange(each, each->next_done);
    idle_errands_.push_back(done);
    op.home.state &= ~thread_bit;
    if (op.code != opcode::splice || result != -EAGAIN) {
      settle(op, result);
    } else if ((op.home.state & cancel_asked_bit) != 0) {
      settle(op, -ECANCELED);
    } else {
      begin_splice(op);
    }
  }
}

// --- ending

void epoll_backend::settle(operation& op, int result) noexcept {
  op.home.state |= settled_bit;
  op.home.index = static_cast<std::uint32_t>(result);
  settled_.push(op);
}

void epoll_backend::postpone(operation& op) noexcept {
  op.home.state |= delayed_bit;
  if (postponed_.empty()) try_at_ = std::chrono::steady_clock::now() + delay;
  postponed_.push(op);
}

void epoll_backend::try_postponed() noexcept {
  if (std::chrono::steady_clock::now() < try_at_) return;
  operation_queue all = std::exchange(postponed_, {});
  while (!all.empty()) {
    operation& op = *all.pop();
    op.home.state &= ~delayed_bit;
    begin(op);
  }
}

void epoll_backend::cancel(operation& op) noexcept {
  assert(on_home_thread());
  const std::uint32_t state = op.home.state;
  if ((state & in_flight_bit) == 0 || (state & (cancel_asked_bit | settled_bit)) != 0) return;
  op.home.state |= cancel_asked_bit;
  if ((state & thread_bit) != 0) {
    errand& todo = *errands_[op.home.index];
    if (!threads_->withdraw(todo)) return;  // a thread has it: it ends by itself
    idle_errands_.push_back(&todo);
    op.home.state &= ~thread_bit;
    return settle(op, -ECANCELED);
  }
  if ((state & delayed_bit) != 0) {
    postponed_.remove(op);
    return settle(op, -ECANCELED);
  }
  const bool counts = !is_poll(op.code) && op.code != opcode::splice && op.home.index != 0;
  leave(op, *table_.find(waits_on(op)));
  settle(op, counts ? static_cast<int>(op.home.index) : -ECANCELED);
}

std::size_t epoll_backend::report_settled() noexcept {
  operation_queue taken = std::exchange(settled_, {});
  std::size_t count = 0;
  for (; !taken.empty(); ++count) {
    operation& op = *taken.pop();
    completion report;
    report.result = static_cast<int>(op.home.index);
    ++counters_.completions;
    op.home.state = 0;
    --in_flight_;
    op.on_complete(op, report);  // after this call the operation may be gone
  }
  return count;
}

// --- collection

std::size_t epoll_backend::poll(std::chrono::nanoseconds timeout) noexcept {
  assert(on_home_thread());
  const bool may_wait = timeout > 0ns;
  reported_ = 0;
  if (!postponed_.empty()) [[unlikely]] {
    try_postponed();
    timeout = std::min<std::chrono::nanoseconds>(timeout, delay);
  }
  take_arrivals();
  reported_ += report_settled();
  if (reported_ != 0 && skipped_ < most_skips) {
    ++skipped_;
    return reported_;
  }
  skipped_ = 0;
  const bool idle = reported_ == 0 && settled_.empty() && again_.empty();
  const bool waits = may_wait && idle && park();
  int count = 0;
  if (waits || waiting_ != 0) count = collect(waits ? timeout : 0ns);
  if (may_wait && wake_word_.load(std::memory_order_relaxed) != running) {
    wake_word_.exchange(running, std::memory_order_acquire);
  }
  take_arrivals();
  std::swap(again_, serving_);
  for (int i = 0; i < count; ++i) dispatch(events_[static_cast<std::size_t>(i)]);
  for (auto [e, serial] : serving_) {
    if (e->serial != serial) continue;
    const std::uint32_t mask = std::exchange(e->later, 0);
    if (e->interest != 0) serve(*e, mask);
  }
  serving_.clear();
  return reported_ += report_settled();
}

int epoll_backend::collect(std::chrono::nanoseconds timeout) noexcept {
  ++counters_.enters;
  const int count = wait_in_kernel(timeout);
  if (count >= 0) return count;
  if (errno != EINTR) broken("epoll_wait failed", errno);
  return 0;
}

int epoll_backend::wait_in_kernel(std::chrono::nanoseconds timeout) noexcept {
  constexpr int most = events_per_call;
  if (timeout == 0ns) return ::epoll_wait(poller_, events_.data(), most, 0);
  if (timeout == std::chrono::nanoseconds::max()) return ::epoll_wait(poller_, events_.data(), most, -1);
  if (precise_wait_) {
    const timespec limit{timeout.count() / 1'000'000'000, timeout.count() % 1'000'000'000};
    const int count = ::epoll_pwait2(poller_, events_.data(), most, &limit, nullptr);
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    precise_wait_ = false;
  }
  constexpr auto longest = std::chrono::milliseconds(INT32_MAX);
  const auto rounded = timeout >= longest ? longest : std::chrono::ceil<std::chrono::milliseconds>(timeout);
  return ::epoll_wait(poller_, events_.data(), most, static_cast<int>(rounded.count()));
}

void epoll_backend::dispatch(const epoll_event& event) noexcept {
  if (event.data.u64 == ~std::uint64_t{0}) return;  // our own eventfd
  entry* e = table_.find(static_cast<int>(event.data.u64 & 0xffff'ffff));
  if (e == nullptr || e->interest == 0 || e->serial != event.data.u64 >> 32) return;  // of an earlier file
  serve(*e, event.events);
}

void epoll_backend::recycle(std::uint16_t buffer) noexcept {
  assert(on_home_thread());
  assert(buffer < options_.buffers && free_.size() < options_.buffers);
  free_.push_back(buffer);
}

// --- waking

/// @return false if a wake-up has come, so that there is nothing to wait for
bool epoll_backend::park() noexcept {
  int expected = running;
  return wake_word_.compare_exchange_strong(expected, parked, std::memory_order_acq_rel, std::memory_order_acquire);
}

// Only who finds the worker parked pays for a system call.
void epoll_backend::wake(backend*) noexcept {
  if (wake_word_.exchange(notified, std::memory_order_acq_rel) == parked) write_event();
}

// The counter is never read: each write is an edge, and 2^64 of them is not reached.
void epoll_backend::write_event() noexcept {
  const std::uint64_t one = 1;
  while (::write(event_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

std::string epoll_backend::report() const {
  utsname name{};
  const std::string kernel = ::uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "this kernel";
  return fmt::format(
      "epoll on {}\n{}{}waits: to the {}\nreceive buffers: {} x {} bytes\nfiles: on blocking threads{}\n"
      "wake-up: eventfd\n",
      kernel, limits_.why, limits_.why.empty() ? "" : "\n", precise_wait_ ? "nanosecond (epoll_pwait2)" : "millisecond",
      options_.buffers, options_.buffer_size, limits_.nowait ? ", read at once from the page cache" : "");
}

}  // namespace

std::unique_ptr<backend> make_epoll_backend(const backend_options& options) {
  return make_epoll_backend(options, epoll_limits{});
}

std::unique_ptr<backend> make_epoll_backend(const backend_options& options, const epoll_limits& limits) {
  return std::make_unique<epoll_backend>(options, limits);
}

}  // namespace weir::io
