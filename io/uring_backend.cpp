// io/uring_backend.cpp: the executor's seam on io_uring. It rests on liburing for setting a ring up, for its
// queues and for registration, and calls io_uring_enter itself, so that one system call submits, waits with a
// limit and collects. It promises that an operation gets exactly its completions and is never touched after
// the last one, that no completion is lost when a queue is full, and that no wake-up is lost.
//
// user_data is the address of the operation (48 bits, 8-aligned) with a generation in the upper 16 bits, so that
// a cancellation that arrives late cannot hit the next operation at the same address. The low bits tell our own
// requests apart.
#include <weir/io/uring_backend.hpp>

#include <weir/io/backend_parts.hpp>
#include <weir/io/uring_abi.hpp>

#include <fmt/format.h>
#include <liburing.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
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
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace weir::io {
namespace {

constexpr std::uint32_t needed_features = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                                          IORING_FEAT_FAST_POLL | IORING_FEAT_RW_CUR_POS;

struct ring_form {
  uring_ring kind;
  std::uint32_t flags;
};

// From what is best down to what every kernel has. SINGLE_ISSUER makes the thread that enables the ring its owner.
// perf/micro/uring_bench, Linux 6.18 on 2 virtual CPUs, CPU ns deferred / cooperative / plain: nop 71 / 74 / 74; 64 B
// served to a client thread over 1 connection 8750 / 9160 / 9030, over 64 connections 3960 / 3980 / 3960 (no
// difference). An earlier raw loop, with server and load generator in processes pinned to a CPU each, took 29 % more
// on a plain ring than deferred.
constexpr std::uint32_t cooperative_flags =
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
constexpr std::uint32_t deferred_flags = cooperative_flags | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
constexpr ring_form ring_forms[] = {
    {uring_ring::deferred, deferred_flags | abi::setup_no_sqarray},
    {uring_ring::deferred, deferred_flags},
    {uring_ring::cooperative, cooperative_flags},
    {uring_ring::plain, IORING_SETUP_SUBMIT_ALL},
    {uring_ring::plain, 0},
};

// What the kernel calls each of our operations; index is `opcode`.
struct named_opcode {
  io_uring_op number;
  const char* name;
};
constexpr named_opcode opcodes[] = {
    {IORING_OP_NOP, "nop"},           {IORING_OP_READ, "read"},          {IORING_OP_WRITE, "write"},
    {IORING_OP_READV, "readv"},       {IORING_OP_WRITEV, "writev"},      {IORING_OP_RECV, "recv"},
    {IORING_OP_RECV, "recv_many"},    {IORING_OP_RECVMSG, "recvmsg"},    {IORING_OP_SEND, "send"},
    {IORING_OP_SENDMSG, "sendmsg"},   {IORING_OP_ACCEPT, "accept"},      {IORING_OP_ACCEPT, "accept_many"},
    {IORING_OP_CONNECT, "connect"},   {IORING_OP_SHUTDOWN, "shutdown"},  {IORING_OP_CLOSE, "close"},
    {IORING_OP_POLL_ADD, "poll"},     {IORING_OP_POLL_ADD, "poll_many"}, {IORING_OP_OPENAT, "openat"},
    {IORING_OP_STATX, "statx"},       {IORING_OP_FSYNC, "fsync"},        {IORING_OP_FALLOCATE, "fallocate"},
    {IORING_OP_UNLINKAT, "unlinkat"}, {IORING_OP_RENAMEAT, "renameat"},  {IORING_OP_MKDIRAT, "mkdirat"},
    {IORING_OP_SPLICE, "splice"},
};
static_assert(std::size(opcodes) == static_cast<std::size_t>(opcode::splice) + 1);

/// What one kernel offers, found by trying it out.
struct feature_set {
  std::uint32_t features = 0;
  std::uint64_t operations = 0;  ///< a bit for each number of the kernel's that is there
  bool buffer_ring = false;
  bool recv_many = false;
  bool accept_many = false;
  bool poll_many = false;
  bool direct_message = false;
  bool registered_ring = false;

  bool has(unsigned number) const { return number < 64 && (operations >> number & 1) != 0; }
};

std::string advice(int error) {
  switch (error) {
    case ENOSYS: return "this kernel has no io_uring (Linux 5.11 or newer is needed); use the epoll backend";
    case EPERM:
    case EACCES:
      return "io_uring is refused here: allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
             "seccomp profile and set kernel.io_uring_disabled to 0, or use the epoll backend";
    case ENOMEM:
      return "no memory for an io_uring: raise RLIMIT_MEMLOCK (ulimit -l), or ask for fewer entries or workers";
    case EMFILE:
    case ENFILE: return "no descriptor left for an io_uring: raise RLIMIT_NOFILE (ulimit -n)";
    case EOPNOTSUPP: return "io_uring of this kernel is too old (Linux 5.11 or newer is needed); use the epoll backend";
    default: return "setting up an io_uring failed";
  }
}

[[noreturn]] void refuse(int error) { throw std::system_error(error, std::system_category(), advice(error)); }

// For what only a defect in the caller can bring about, such as a call from a thread that does not own the ring.
[[noreturn]] void broken(const char* what, int error) noexcept {
  std::fprintf(stderr, "weir: %s: %s\n", what, std::strerror(error));
  std::abort();
}

// liburing maps and unmaps without the sanitizer's knowledge: what one ring wrote happened before the next is mapped
// there.
std::atomic<unsigned> rings_unmapped{0};

void close_ring(io_uring& ring) noexcept {
  rings_unmapped.fetch_add(1, std::memory_order_release);
  io_uring_queue_exit(&ring);
}

/// liburing 2.3 does not know NO_SQARRAY and would write its index array over the head of the ring, hence this
/// in place of io_uring_queue_init_params.
/// @return 0 or -errno
int set_up(io_uring& ring, unsigned entries, unsigned completions, std::uint32_t flags) {
  io_uring_params params{};
  params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = completions;
  const int fd = io_uring_setup(entries, &params);
  if (fd < 0) return fd;
  if ((params.features & needed_features) != needed_features) {
    ::close(fd);
    return -EOPNOTSUPP;
  }
  std::memset(&ring, 0, sizeof ring);
  if (const int failed = io_uring_queue_mmap(fd, &params, &ring); failed != 0) {
    ::close(fd);
    return failed;
  }
  static_cast<void>(rings_unmapped.load(std::memory_order_acquire));
  ring.features = params.features;
  if ((flags & abi::setup_no_sqarray) == 0) {
    for (unsigned i = 0; i < params.sq_entries; ++i) ring.sq.array[i] = i;
  }
  return 0;
}

/// Sets up the best ring that the kernel has, `best` at most.
/// @return the index in ring_forms, or -errno
int set_up_best(io_uring& ring, unsigned entries, unsigned completions, uring_ring best, std::uint32_t more_flags) {
  int failed = -EINVAL;
  for (std::size_t i = 0; i < std::size(ring_forms); ++i) {
    if (ring_forms[i].kind < best) continue;
    failed = set_up(ring, entries, completions, ring_forms[i].flags | more_flags);
    if (failed == 0) return static_cast<int>(i);
    if (failed != -EINVAL) return failed;
  }
  return failed;
}

/// Hands the kernel what is queued and collects; waits for one completion, up to `limit`, if `wait` is set.
/// @return what io_uring_enter returns: the number submitted, or -errno
int enter(io_uring& ring, unsigned fd, unsigned flags, bool wait, const __kernel_timespec* limit) noexcept {
  io_uring_smp_store_release(ring.sq.ktail, ring.sq.sqe_tail);
  const unsigned count = ring.sq.sqe_tail - io_uring_smp_load_acquire(ring.sq.khead);
  if (limit == nullptr) return io_uring_enter2(fd, count, wait ? 1 : 0, flags, nullptr, _NSIG / 8);
  io_uring_getevents_arg argument{};
  argument.sigmask_sz = _NSIG / 8;
  argument.ts = reinterpret_cast<std::uintptr_t>(limit);
  auto* pointer = reinterpret_cast<sigset_t*>(&argument);
  return io_uring_enter2(fd, count, wait ? 1 : 0, flags | IORING_ENTER_EXT_ARG, pointer, sizeof argument);
}

// --- finding out -----------------------------------------------------------------------------------------------

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&&) = delete;
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct outcome {
  int result = -ETIME;
  std::uint32_t flags = 0;
};

/// A small ring on which features are tried, made as the backend's is.
class trial_ring {
 public:
  trial_ring() : state_(set_up_best(ring_, 8, 64, uring_ring::deferred, IORING_SETUP_R_DISABLED)) {}
  trial_ring(const trial_ring&) = delete;
  trial_ring& operator=(const trial_ring&) = delete;
  ~trial_ring() {
    if (state_ >= 0) close_ring(ring_);
  }

  int error() const { return state_ < 0 ? -state_ : 0; }
  io_uring& get() { return ring_; }
  unsigned fd() const { return static_cast<unsigned>(ring_.ring_fd); }

  /// Whether nothing but the set-up is refused: filters know the calls, and some know their flags.
  /// @return 0 or the errno
  int begin() {
    if (const int failed = io_uring_register(fd(), IORING_REGISTER_ENABLE_RINGS, nullptr, 0); failed < 0) {
      return -failed;
    }
    return try_entering(fd(), 0);
  }

  /// Has a request that does nothing done. @return 0 or the errno
  int try_entering(unsigned ring, unsigned flags) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return EBUSY;
    io_uring_prep_nop(sqe);
    sqe->user_data = ++serial_;
    const __kernel_timespec limit{.tv_sec = 0, .tv_nsec = 200'000'000};
    for (int attempt = 0; attempt < 8; ++attempt) {
      const int entered = enter(ring_, ring, flags | IORING_ENTER_GETEVENTS, true, &limit);
      if (collect()) return 0;
      if (entered < 0 && entered != -ETIME && entered != -EINTR) return -entered;
    }
    return ETIME;
  }

  /// Runs one request and returns its first completion.
  template <class Prepare>
  outcome run(Prepare prepare) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) return {};
    prepare(sqe);
    sqe->user_data = ++serial_;
    const __kernel_timespec limit{.tv_sec = 0, .tv_nsec = 200'000'000};
    for (int attempt = 0; attempt < 8; ++attempt) {
      enter(ring_, static_cast<unsigned>(ring_.ring_fd), IORING_ENTER_GETEVENTS, true, &limit);
      if (auto found = collect()) return *found;
    }
    return {};
  }

 private:
  std::optional<outcome> collect() {
    std::optional<outcome> found;
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      ++seen;
      if (cqe->user_data == serial_ && !found) found = outcome{cqe->res, cqe->flags};
    }
    io_uring_cq_advance(&ring_, seen);
    return found;
  }

  io_uring ring_{};
  int state_;
  std::uint64_t serial_ = 0;
};

bool stays_armed(const outcome& seen) { return seen.result >= 0 && (seen.flags & IORING_CQE_F_MORE) != 0; }

bool try_poll_many(trial_ring& trial) {
  const descriptor event{::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)};
  return stays_armed(trial.run([&](io_uring_sqe* sqe) { io_uring_prep_poll_multishot(sqe, event.get(), POLLIN); }));
}

bool try_accept_many(trial_ring& trial) {
  const descriptor listener{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const descriptor peer{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof address.sun_family;  // the kernel picks an abstract name
  auto* name = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), name, length) != 0 || ::listen(listener.get(), 1) != 0) return false;
  length = sizeof address;
  if (::getsockname(listener.get(), name, &length) != 0 || ::connect(peer.get(), name, length) != 0) return false;
  const outcome seen = trial.run(
      [&](io_uring_sqe* sqe) { io_uring_prep_multishot_accept(sqe, listener.get(), nullptr, nullptr, SOCK_CLOEXEC); });
  if (seen.result >= 0) ::close(seen.result);
  return stays_armed(seen);
}

/// Memory that the kernel and this process share, gone with the object.
class mapping {
 public:
  mapping() = default;
  explicit mapping(std::size_t size) : size_(size) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at != MAP_FAILED) data_ = static_cast<std::byte*>(at);
  }
  mapping(mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~mapping() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

constexpr std::uint16_t buffer_group = 1;

/// The ring of provided buffers: entries that the kernel takes in order, filled by us.
class buffer_ring {
 public:
  /// @return 0 or -errno
  int open(io_uring& ring, unsigned entries) {
    memory_ = mapping(entries * sizeof(io_uring_buf));
    if (memory_.data() == nullptr) return -ENOMEM;
    io_uring_buf_reg reg{};
    reg.ring_addr = reinterpret_cast<std::uintptr_t>(memory_.data());
    reg.ring_entries = entries;
    reg.bgid = buffer_group;
    mask_ = static_cast<std::uint16_t>(entries - 1);
    return io_uring_register_buf_ring(&ring, &reg, 0);
  }
  void add(std::byte* data, unsigned size, std::uint16_t id) {
    auto& slot = reinterpret_cast<io_uring_buf*>(memory_.data())[tail_++ & mask_];
    slot.addr = reinterpret_cast<std::uintptr_t>(data);
    slot.len = size;
    slot.bid = id;
  }
  void publish() { io_uring_smp_store_release(&reinterpret_cast<io_uring_buf_ring*>(memory_.data())->tail, tail_); }

 private:
  mapping memory_;
  std::uint16_t tail_ = 0;
  std::uint16_t mask_ = 0;
};

// Uses what `buffers` holds; the caller keeps it until the ring is closed.
bool try_recv_many(trial_ring& trial, buffer_ring& buffers, std::byte* storage) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return false;
  const descriptor left{pair[0]};
  const descriptor right{pair[1]};
  buffers.add(storage, 16, 0);
  buffers.publish();
  if (::send(right.get(), "x", 1, MSG_NOSIGNAL) != 1) return false;
  const outcome seen = trial.run([&](io_uring_sqe* sqe) {
    io_uring_prep_recv_multishot(sqe, left.get(), nullptr, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
  });
  return seen.result == 1 && stays_armed(seen) && (seen.flags & IORING_CQE_F_BUFFER) != 0;
}

bool try_direct_message(trial_ring& trial) {
  io_uring_sqe sqe{};
  io_uring_prep_msg_ring(&sqe, trial.get().ring_fd, 0, 0, 0);
  return io_uring_register(static_cast<unsigned>(-1), abi::register_send_msg_ring, &sqe, 1) == 0;
}

bool try_registered_ring(trial_ring& trial) {
  io_uring_rsrc_update update{};
  update.offset = ~0u;
  update.data = trial.fd();
  if (io_uring_register(trial.fd(), IORING_REGISTER_RING_FDS, &update, 1) != 1) return false;
  const bool works = trial.try_entering(update.offset, IORING_ENTER_REGISTERED_RING) == 0;
  io_uring_register(trial.fd(), IORING_UNREGISTER_RING_FDS, &update, 1);
  return works;
}

/// @return 0 or the errno
int find_operations(unsigned ring, std::uint64_t& found) {
  constexpr unsigned most = 64;
  alignas(io_uring_probe) std::array<std::byte, sizeof(io_uring_probe) + most * sizeof(io_uring_probe_op)> memory{};
  auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
  if (const int failed = io_uring_register(ring, IORING_REGISTER_PROBE, probe, most); failed < 0) return -failed;
  const auto* each = reinterpret_cast<const io_uring_probe_op*>(memory.data() + sizeof(io_uring_probe));
  for (unsigned i = 0; i < std::min<unsigned>(probe->ops_len, most); ++i) {
    if ((each[i].flags & IO_URING_OP_SUPPORTED) != 0) found |= std::uint64_t{1} << i;
  }
  return 0;
}

/// @return 0 or the errno for which there is no io_uring here
int explore(feature_set& found) {
  std::array<std::byte, 16> storage{};
  buffer_ring buffers;  // declared first: the ring goes before the memory that it uses
  trial_ring trial;
  if (trial.error() != 0) return trial.error();
  if (const int refused = trial.begin(); refused != 0) return refused;
  if (const int refused = find_operations(trial.fd(), found.operations); refused != 0) return refused;
  found.features = trial.get().features;
  found.registered_ring = try_registered_ring(trial);
  found.poll_many = try_poll_many(trial);
  found.accept_many = try_accept_many(trial);
  found.buffer_ring = buffers.open(trial.get(), 8) == 0;
  found.recv_many = found.buffer_ring && try_recv_many(trial, buffers, storage.data());
  found.direct_message = try_direct_message(trial);
  return 0;
}

/// The features of this kernel, explored once for the process. A failure is not remembered: it may pass.
const feature_set& features_or_throw() {
  static std::mutex guard;
  static std::optional<feature_set> known;
  const std::lock_guard lock(guard);
  if (known) return *known;
  feature_set found;
  if (const int error = explore(found); error != 0) refuse(error);
  return known.emplace(found);
}

// --- what the report says --------------------------------------------------------------------------------------

template <class Flag, std::size_t N>
std::string names_of(std::uint32_t set, const std::pair<Flag, const char*> (&table)[N]) {
  std::string text;
  for (const auto& [flag, name] : table) {
    if ((set & flag) == 0) continue;
    if (!text.empty()) text += ' ';
    text += name;
  }
  return text.empty() ? "none" : text;
}

constexpr std::pair<std::uint32_t, const char*> setup_names[] = {
    {IORING_SETUP_SUBMIT_ALL, "SUBMIT_ALL"},       {IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN"},
    {IORING_SETUP_TASKRUN_FLAG, "TASKRUN_FLAG"},   {IORING_SETUP_SINGLE_ISSUER, "SINGLE_ISSUER"},
    {IORING_SETUP_DEFER_TASKRUN, "DEFER_TASKRUN"}, {abi::setup_no_sqarray, "NO_SQARRAY"},
};
constexpr std::pair<std::uint32_t, const char*> feature_names[] = {
    {IORING_FEAT_SINGLE_MMAP, "SINGLE_MMAP"},
    {IORING_FEAT_NODROP, "NODROP"},
    {IORING_FEAT_FAST_POLL, "FAST_POLL"},
    {IORING_FEAT_EXT_ARG, "EXT_ARG"},
    {IORING_FEAT_NATIVE_WORKERS, "NATIVE_WORKERS"},
    {IORING_FEAT_CQE_SKIP, "CQE_SKIP"},
    {IORING_FEAT_LINKED_FILE, "LINKED_FILE"},
    {abi::feature_reg_reg_ring, "REG_REG_RING"},
    {abi::feature_recvsend_bundle, "RECVSEND_BUNDLE"},
    {abi::feature_min_timeout, "MIN_TIMEOUT"},
    {abi::feature_rw_attr, "RW_ATTR"},
    {abi::feature_no_iowait, "NO_IOWAIT"},
};

const char* yes(bool value) { return value ? "yes" : "no"; }

std::string kernel_name() {
  utsname name{};
  return ::uname(&name) == 0 ? fmt::format("{} {}", name.sysname, name.release) : "an unknown kernel";
}

std::string describe(const feature_set& found) {
  std::string missing;
  for (const auto& each : opcodes) {
    if (!found.has(each.number)) missing += fmt::format(" {}", each.name);
  }
  std::string newer;
  for (const auto& each : abi::newer_operations) {
    if (found.has(each.number)) newer += fmt::format(" {}", each.name);
  }
  return fmt::format(
      "io_uring on {}\nfeatures: {}\noperations missing:{}\nfurther operations of the kernel:{}\n"
      "multishot: accept {}, receive {}, poll {}; buffer ring {}; messages between rings {}, without a ring {}\n",
      kernel_name(), names_of(found.features, feature_names), missing.empty() ? " none" : missing,
      newer.empty() ? " none" : newer, yes(found.accept_many), yes(found.recv_many), yes(found.poll_many),
      yes(found.buffer_ring), yes(found.has(IORING_OP_MSG_RING)), yes(found.direct_message));
}

// --- the backend -----------------------------------------------------------------------------------------------

// operation::home.state: these bits, and the generation in the upper half.
constexpr std::uint32_t in_flight_bit = 1;  // submitted; the terminal completion has not been reported
constexpr std::uint32_t backlog_bit = 2;    // in the backlog: waits for a slot in the submission queue
constexpr std::uint32_t in_kernel_bit = 4;  // has been given a slot
constexpr std::uint32_t settled_bit = 8;    // ended without the kernel; home.index is the result
constexpr std::uint32_t cancel_asked_bit = 16;

// The low bits of user_data.
constexpr std::uint64_t tag_mask = 7;
constexpr std::uint64_t tag_operation = 0;
constexpr std::uint64_t tag_event = 1;    // the poll of our eventfd
constexpr std::uint64_t tag_cancel = 2;   // a cancel request; of no interest
constexpr std::uint64_t tag_nudge = 3;    // a wake-up by message, in the ring of whom it wakes
constexpr std::uint64_t tag_message = 4;  // the same in the ring of whoever sent it, with the target's address
static_assert(alignof(operation) > tag_mask);

// Buffers offered at first. At 64 of 512 x 4 KiB a stream costs what it costs at 512 (190 to 225 ms of CPU per GB in
// both, on a busy machine), and only 256 KiB of the pool's 2 MiB are ever touched.
constexpr unsigned first_window = 64;
constexpr std::uint64_t splice_limit = 0x7ffff000;  // what one system call moves at most

class uring_backend final : public backend {
 public:
  uring_backend(const backend_options& options, const uring_limits& limits);
  uring_backend(const uring_backend&) = delete;
  uring_backend& operator=(const uring_backend&) = delete;
  ~uring_backend() override;

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

  // Submission.
  io_uring_sqe* take_slot() noexcept;
  void flush() noexcept;
  void place(operation& op) noexcept;
  bool prepare(operation& op) noexcept;
  bool prepare_cancel(operation& op) noexcept;
  void fill(operation& op, io_uring_sqe* sqe) const noexcept;
  void fill_file(operation& op, io_uring_sqe* sqe) const noexcept;
  void fill_recv_many(operation& op, io_uring_sqe* sqe) const noexcept;
  void drain_backlog() noexcept;
  bool advance(operation& op) noexcept;
  void settle(operation& op, int result) noexcept;

  // Collection.
  bool kernel_has_more() const noexcept;
  bool park() noexcept;
  void collect(bool wait, std::chrono::nanoseconds timeout) noexcept;
  int enter_ring(unsigned flags, bool wait, const __kernel_timespec* limit) noexcept;
  std::size_t report_settled() noexcept;
  std::size_t report_queue() noexcept;
  bool dispatch(const io_uring_cqe& cqe) noexcept;
  void dispatch_own(const io_uring_cqe& cqe) noexcept;
  bool receive(operation& op, const io_uring_cqe& cqe, completion& report) noexcept;
  bool receive_when_ready(operation& op, completion& report) noexcept;
  bool arm_again(operation& op, completion& report) noexcept;
  void lend(std::uint16_t id, completion& report) const noexcept;
  void finish(operation& op, const completion& report) noexcept;

  // Buffers.
  void open_buffers();
  void offer_buffers() noexcept;
  std::byte* buffer_at(std::uint16_t id) const noexcept {
    return pool_.data() + std::size_t{id} * options_.buffer_size;
  }

  // Waking.
  void arm_event() noexcept;
  void signal(backend* from) noexcept;
  bool send_message(uring_backend& target) noexcept;
  void write_event() noexcept;

  std::uint64_t key(const operation& op) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(&op);
    assert(address >> 48 == 0);
    return address | std::uint64_t{op.home.state >> 16} << 48;
  }
  bool on_home_thread() const noexcept { return home_ == std::this_thread::get_id(); }

  const backend_options options_;
  const uring_limits limits_;
  const feature_set features_;
  uring_wake wake_method_;
  std::uint32_t ring_flags_ = 0;
  bool recv_many_;  // the kernel picks buffers for a receive that stays armed; otherwise receive_when_ready

  io_uring ring_{};
  unsigned enter_fd_ = 0;  // the ring's descriptor, or its index among the thread's registered rings
  unsigned enter_flags_ = 0;
  figure in_flight_;
  std::uint16_t generation_ = 0;
  operation_queue backlog_;
  operation_queue settled_;
  backend_counters counters_;

  buffer_ring buffer_ring_;
  mapping pool_;
  std::vector<std::uint16_t> free_;  // buffers that neither the kernel nor a stream has, the hottest last
  unsigned offered_ = 0;             // buffers in the buffer ring
  unsigned window_ = 0;              // how many we want there

  int event_ = -1;
  bool event_armed_ = false;
  std::thread::id home_;
  alignas(64) std::atomic<int> wake_word_{running};
};

// An eventfd for all, because it is as fast as any and knows no callers. perf/micro/uring_bench, Linux 6.18, 2 virtual
// CPUs, ns to the return of a poll that was parked / in the call: eventfd 2400-2480 / 1120; MSG_RING from the caller's
// ring 2670-2800 / 1360-1680; MSG_RING without a ring 2530-2610 / 1150. CPU of both sides together is the same, 2550
// to 2850. A worker that is not parked costs whoever wakes it one atomic exchange (50, the clock's own cost included)
// and sees it at its next poll, so the method matters only for parked ones.
uring_wake choose_wake(uring_wake wanted, const feature_set& found) {
  if (wanted == uring_wake::message && found.has(IORING_OP_MSG_RING)) return uring_wake::message;
  if (wanted == uring_wake::direct && found.direct_message) return uring_wake::direct;
  return uring_wake::event;
}

uring_backend::uring_backend(const backend_options& options, const uring_limits& limits)
    : options_((check(options, "io_uring"), options)),
      limits_(limits),
      features_(features_or_throw()),
      wake_method_(choose_wake(limits.wake, features_)),
      recv_many_(limits.multishot && limits.buffer_ring && features_.recv_many) {
  pool_ = mapping(std::size_t{options_.buffers} * options_.buffer_size);
  if (pool_.data() == nullptr) refuse(ENOMEM);
  free_.reserve(options_.buffers);
  for (unsigned id = options_.buffers; id-- > 0;) free_.push_back(static_cast<std::uint16_t>(id));
  window_ = std::min(first_window, options_.buffers);

  const int form = set_up_best(ring_, options_.entries, options_.entries * 8, limits_.ring, IORING_SETUP_R_DISABLED);
  if (form < 0) refuse(-form);
  ring_flags_ = ring_forms[form].flags;
  enter_fd_ = static_cast<unsigned>(ring_.ring_fd);
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_ >= 0) return;
  const int error = errno;
  close_ring(ring_);
  refuse(error);
}

uring_backend::~uring_backend() {
  assert(in_flight_ == 0 && "a backend must outlive its operations");
  // The registered index belongs to the home thread; elsewhere the same index may be another ring's.
  if ((enter_flags_ & IORING_ENTER_REGISTERED_RING) != 0 && on_home_thread()) {
    io_uring_rsrc_update update{};
    update.offset = enter_fd_;
    io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_UNREGISTER_RING_FDS, &update, 1);
  }
  close_ring(ring_);
  ::close(event_);
}

void uring_backend::start() {
  home_ = std::this_thread::get_id();
  const auto fd = static_cast<unsigned>(ring_.ring_fd);
  // Not io_uring_enable_rings: liburing 2.3 declares it and does not export it.
  const int enabled = io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (enabled < 0) refuse(-enabled);
  io_uring_rsrc_update update{};
  update.offset = ~0u;
  update.data = static_cast<std::uint64_t>(ring_.ring_fd);
  if (features_.registered_ring && io_uring_register(fd, IORING_REGISTER_RING_FDS, &update, 1) == 1) {
    enter_fd_ = update.offset;
    enter_flags_ = IORING_ENTER_REGISTERED_RING;
  }
  if (recv_many_) open_buffers();
  arm_event();
}

// --- submission

// With DEFER_TASKRUN completions wait for us to collect them, so a flush on the way costs no callback.
void uring_backend::flush() noexcept { enter_ring(0, false, nullptr); }

io_uring_sqe* uring_backend::take_slot() noexcept {
  if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) [[likely]]
    return sqe;
  ++counters_.stalls;
  if (!limits_.flush_when_full) return nullptr;
  flush();
  return io_uring_get_sqe(&ring_);
}

void uring_backend::submit(operation& op) noexcept {
  assert(on_home_thread());
  assert((op.home.state & in_flight_bit) == 0 && "an operation is submitted once at a time");
  op.home.state = in_flight_bit | std::uint32_t{++generation_} << 16;
  ++in_flight_;
  const auto code = static_cast<std::size_t>(op.code);
  if (code >= std::size(opcodes)) [[unlikely]]
    return settle(op, -EINVAL);
  if (!features_.has(opcodes[code].number)) [[unlikely]]
    return settle(op, -EOPNOTSUPP);
  place(op);
}

// Whoever came earlier goes first: what finds a backlog joins it.
void uring_backend::place(operation& op) noexcept {
  if (backlog_.empty() && prepare(op)) [[likely]]
    return;
  op.home.state |= backlog_bit;
  backlog_.push(op);
}

/// @return false if there is no slot
bool uring_backend::prepare(operation& op) noexcept {
  io_uring_sqe* sqe = take_slot();
  if (sqe == nullptr) return false;
  fill(op, sqe);
  op.home.state |= in_kernel_bit;
  sqe->user_data = key(op) | tag_operation;
  ++counters_.submissions;
  return true;
}

bool uring_backend::prepare_cancel(operation& op) noexcept {
  io_uring_sqe* sqe = take_slot();
  if (sqe == nullptr) return false;
  io_uring_prep_cancel64(sqe, key(op), 0);
  if ((features_.features & IORING_FEAT_CQE_SKIP) != 0) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = tag_cancel;
  return true;
}

void uring_backend::fill(operation& op, io_uring_sqe* sqe) const noexcept {
  const int flags = static_cast<int>(op.flags);
  switch (op.code) {
    case opcode::nop: return io_uring_prep_nop(sqe);
    case opcode::read: return io_uring_prep_read(sqe, op.fd, op.buffer, op.length, op.offset);
    case opcode::write: return io_uring_prep_write(sqe, op.fd, op.buffer, op.length, op.offset);
    case opcode::readv: return io_uring_prep_readv(sqe, op.fd, static_cast<iovec*>(op.buffer), op.length, op.offset);
    case opcode::writev: return io_uring_prep_writev(sqe, op.fd, static_cast<iovec*>(op.buffer), op.length, op.offset);
    case opcode::recv: return io_uring_prep_recv(sqe, op.fd, op.buffer, op.length, flags);
    case opcode::recv_many: return fill_recv_many(op, sqe);
    case opcode::recvmsg: return io_uring_prep_recvmsg(sqe, op.fd, static_cast<msghdr*>(op.buffer), op.flags);
    case opcode::send: return io_uring_prep_send(sqe, op.fd, op.buffer, op.length, flags | MSG_NOSIGNAL);
    case opcode::sendmsg:
      return io_uring_prep_sendmsg(sqe, op.fd, static_cast<msghdr*>(op.buffer), op.flags | MSG_NOSIGNAL);
    case opcode::accept:
      return io_uring_prep_accept(sqe, op.fd, static_cast<sockaddr*>(op.buffer), static_cast<socklen_t*>(op.second),
                                  flags | SOCK_CLOEXEC);
    case opcode::accept_many:
      io_uring_prep_accept(sqe, op.fd, nullptr, nullptr, flags | SOCK_CLOEXEC);
      if (limits_.multishot && features_.accept_many) sqe->ioprio |= IORING_ACCEPT_MULTISHOT;
      return;
    case opcode::connect: return io_uring_prep_connect(sqe, op.fd, static_cast<sockaddr*>(op.buffer), op.length);
    case opcode::shutdown: return io_uring_prep_shutdown(sqe, op.fd, static_cast<int>(op.length));
    case opcode::close: return io_uring_prep_close(sqe, op.fd);
    case opcode::poll: return io_uring_prep_poll_add(sqe, op.fd, op.flags);
    case opcode::poll_many:
      io_uring_prep_poll_add(sqe, op.fd, op.flags);
      if (limits_.multishot && features_.poll_many) sqe->len = IORING_POLL_ADD_MULTI;
      return;
    default: fill_file(op, sqe);
  }
}

void uring_backend::fill_file(operation& op, io_uring_sqe* sqe) const noexcept {
  const int flags = static_cast<int>(op.flags);
  const auto* path = static_cast<const char*>(op.buffer);
  switch (op.code) {
    case opcode::openat: return io_uring_prep_openat(sqe, op.fd, path, flags | O_CLOEXEC, op.length);
    case opcode::statx:
      return io_uring_prep_statx(sqe, op.fd, path, flags, op.length, static_cast<struct statx*>(op.second));
    case opcode::fsync: return io_uring_prep_fsync(sqe, op.fd, op.flags == 0 ? 0 : IORING_FSYNC_DATASYNC);
    case opcode::fallocate:  // the kernel takes the length where others have an address
      return io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, op.fd, op.second, op.flags, op.offset);
    case opcode::unlinkat: return io_uring_prep_unlinkat(sqe, op.fd, path, flags);
    case opcode::renameat:
      return io_uring_prep_renameat(sqe, op.fd, path, static_cast<int>(op.length), static_cast<const char*>(op.second),
                                    op.flags);
    case opcode::mkdirat: return io_uring_prep_mkdirat(sqe, op.fd, path, op.length);
    case opcode::splice: {
      const auto bytes = static_cast<unsigned>(std::min(op.offset, splice_limit));
      return io_uring_prep_splice(sqe, op.fd, -1, static_cast<int>(op.length), -1, bytes, op.flags);
    }
    default: broken("an operation without a counterpart in io_uring", EINVAL);
  }
}

// perf/micro/uring_bench: multishot into the pool takes 4 to 7 % less CPU than one-shot receives into a buffer of the
// connection's own for 64 B over 1 and 64 connections, and leaves a connection that waits without a buffer. For bulk it
// is no gain: 64 KiB writes cost 190 ms per GB with 4 KiB buffers, 130 with 64 KiB ones, and 130 one-shot into one hot
// 64 KiB buffer (best runs on a busy machine; single runs reach twice that). The stream above chooses.
void uring_backend::fill_recv_many(operation& op, io_uring_sqe* sqe) const noexcept {
  if (!recv_many_) return io_uring_prep_poll_add(sqe, op.fd, POLLIN);  // see receive_when_ready
  io_uring_prep_recv_multishot(sqe, op.fd, nullptr, 0, static_cast<int>(op.flags));
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = buffer_group;
}

void uring_backend::settle(operation& op, int result) noexcept {
  op.home.state |= settled_bit;
  op.home.index = static_cast<std::uint32_t>(result);
  settled_.push(op);
}

void uring_backend::drain_backlog() noexcept {
  while (!backlog_.empty()) {
    operation& op = *backlog_.pop();
    op.home.state &= ~backlog_bit;
    if (advance(op)) continue;
    op.home.state |= backlog_bit;
    return backlog_.push_front(op);
  }
}

/// Does for an operation what it was in the backlog for.
/// @return false if there is still no slot
bool uring_backend::advance(operation& op) noexcept {
  if ((op.home.state & in_kernel_bit) != 0) return prepare_cancel(op);
  if ((op.home.state & cancel_asked_bit) == 0) return prepare(op);
  settle(op, -ECANCELED);
  return true;
}

// The queue is first in, first out, so a request to cancel reaches the kernel after what it cancels even if both
// are still here, and before anything submitted later.
void uring_backend::cancel(operation& op) noexcept {
  assert(on_home_thread());
  const std::uint32_t state = op.home.state;
  if ((state & in_flight_bit) == 0 || (state & (cancel_asked_bit | settled_bit)) != 0) return;
  op.home.state |= cancel_asked_bit;
  if ((state & backlog_bit) != 0) return;  // drain_backlog sees to it
  if (backlog_.empty() && prepare_cancel(op)) return;
  op.home.state |= backlog_bit;
  backlog_.push(op);
}

// --- collection

int uring_backend::enter_ring(unsigned flags, bool wait, const __kernel_timespec* limit) noexcept {
  ++counters_.enters;
  const int result = enter(ring_, enter_fd_, flags | enter_flags_, wait, limit);
  if (result >= 0) return result;
  switch (result) {
    case -ETIME:   // the limit of the wait
    case -EINTR:   // a signal
    case -EAGAIN:  // no memory for requests; they stay in the queue
    case -ENOMEM:
    case -EBUSY:  // completions must be collected first
      return result;
    default: broken("io_uring_enter failed; a ring may be used only by the thread that started it", -result);
  }
}

// With TASKRUN_FLAG the kernel says in the shared flags that it has completions to post: asking costs no call.
bool uring_backend::kernel_has_more() const noexcept {
  return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

std::size_t uring_backend::poll(std::chrono::nanoseconds timeout) noexcept {
  assert(on_home_thread());
  const bool may_wait = timeout > std::chrono::nanoseconds::zero();
  if (!backlog_.empty()) [[unlikely]]
    drain_backlog();
  if (recv_many_) offer_buffers();
  const std::size_t reports = settled_.empty() ? 0 : report_settled();
  if (!event_armed_) [[unlikely]]
    arm_event();
  const bool idle =
      reports == 0 && event_armed_ && backlog_.empty() && settled_.empty() && io_uring_cq_ready(&ring_) == 0;
  collect(may_wait && idle && park(), timeout);
  if (may_wait && wake_word_.load(std::memory_order_relaxed) != running) {
    wake_word_.exchange(running, std::memory_order_acquire);
  }
  return reports + report_queue();
}

void uring_backend::collect(bool wait, std::chrono::nanoseconds timeout) noexcept {
  if (!wait && io_uring_sq_ready(&ring_) == 0 && !kernel_has_more()) return;
  const bool overflowed = (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
  const unsigned before = io_uring_cq_ready(&ring_);
  const auto count = timeout.count();
  const __kernel_timespec limit{.tv_sec = count / 1'000'000'000, .tv_nsec = count % 1'000'000'000};
  const bool limited = wait && timeout != std::chrono::nanoseconds::max();
  const int result = enter_ring(IORING_ENTER_GETEVENTS, wait, limited ? &limit : nullptr);
  if (result == -EBUSY || result == -EAGAIN || result == -ENOMEM) {
    // The kernel takes nothing until completions are collected: submit nothing and collect.
    ++counters_.enters;
    io_uring_enter2(enter_fd_, 0, 0, IORING_ENTER_GETEVENTS | enter_flags_, nullptr, _NSIG / 8);
  }
  // While completions are kept aside all new ones join them, so what appears now was kept aside.
  if (overflowed) counters_.overflows += io_uring_cq_ready(&ring_) - before;
}

std::size_t uring_backend::report_settled() noexcept {
  operation_queue taken = std::exchange(settled_, {});
  std::size_t count = 0;
  for (; !taken.empty(); ++count) {
    operation& op = *taken.pop();
    completion report;
    report.result = static_cast<int>(op.home.index);
    ++counters_.completions;
    finish(op, report);
  }
  return count;
}

std::size_t uring_backend::report_queue() noexcept {
  unsigned head = *ring_.cq.khead;
  const unsigned tail = io_uring_smp_load_acquire(ring_.cq.ktail);
  const unsigned mask = ring_.cq.ring_mask;
  std::size_t count = 0;
  for (; head != tail; ++head) count += dispatch(ring_.cq.cqes[head & mask]) ? 1 : 0;
  io_uring_smp_store_release(ring_.cq.khead, head);
  return count;
}

// Cancelling what blocks one of the kernel's threads interrupts it. Some operations (openat of a fifo, on 6.18) then
// end with an error from between the kernel's own walls: ERESTARTSYS and its kin, 512 to 516.
bool was_interrupted(int result) { return result == -EINTR || (result <= -512 && result >= -516); }

/// @return true if an operation was reported
bool uring_backend::dispatch(const io_uring_cqe& cqe) noexcept {
  if ((cqe.user_data & tag_mask) != tag_operation) {
    dispatch_own(cqe);
    return false;
  }
  auto& op = *reinterpret_cast<operation*>(cqe.user_data & 0xffff'ffff'ffff);
  assert(cqe.user_data >> 48 == op.home.state >> 16 && "a completion of an operation that is over");
  completion report;
  report.result = cqe.res;
  report.more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if (op.code == opcode::recv_many && !receive(op, cqe, report)) return false;
  ++counters_.completions;
  if (report.more) {
    op.on_complete(op, report);
    return true;
  }
  if ((op.home.state & backlog_bit) != 0) [[unlikely]]
    backlog_.remove(op);  // no use to cancel it any more
  if (was_interrupted(report.result)) {
    report.result = (op.home.state & cancel_asked_bit) != 0 ? -ECANCELED : -EINTR;
  }
  finish(op, report);
  return true;
}

// After this call the operation may be gone.
void uring_backend::finish(operation& op, const completion& report) noexcept {
  op.home.state = 0;
  --in_flight_;
  op.on_complete(op, report);
}

void uring_backend::dispatch_own(const io_uring_cqe& cqe) noexcept {
  switch (cqe.user_data & tag_mask) {
    case tag_event:
      if ((cqe.flags & IORING_CQE_F_MORE) == 0) arm_event();
      return;
    case tag_message:  // reported only if it failed
      if (cqe.res < 0) reinterpret_cast<uring_backend*>(cqe.user_data & ~tag_mask)->write_event();
      return;
    default: return;
  }
}

// --- pooled buffers

void uring_backend::open_buffers() {
  if (buffer_ring_.open(ring_, options_.buffers) != 0) recv_many_ = false;  // picks buffers itself then
}

// The kernel takes buffers in the order they were offered, so a ring that holds the whole pool walks through all
// of it and out of the cache. A window is offered, and filled up from the hot end of what is free.
void uring_backend::offer_buffers() noexcept {
  if (offered_ >= window_ || free_.empty()) return;
  while (offered_ < window_ && !free_.empty()) {
    const std::uint16_t id = free_.back();
    free_.pop_back();
    buffer_ring_.add(buffer_at(id), options_.buffer_size, id);
    ++offered_;
  }
  buffer_ring_.publish();
}

void uring_backend::recycle(std::uint16_t buffer) noexcept {
  assert(on_home_thread());
  assert(buffer < options_.buffers && free_.size() < options_.buffers);
  free_.push_back(buffer);
}

void uring_backend::lend(std::uint16_t id, completion& report) const noexcept {
  report.data = buffer_at(id);
  report.buffer = id;
}

/// @return false if the operation was armed again and there is nothing to report
bool uring_backend::receive(operation& op, const io_uring_cqe& cqe, completion& report) noexcept {
  if (!recv_many_) return receive_when_ready(op, report);
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    --offered_;
    if (report.result > 0)
      lend(id, report);
    else
      free_.push_back(id);
  }
  if (report.result != -ENOBUFS || report.more) return true;
  if (free_.empty()) {
    ++counters_.no_buffers;
    return true;
  }
  // Only the window ran dry, in a burst. Nobody above needs to know; the next burst finds a wider one.
  window_ = std::min(window_ * 2, options_.buffers);
  return !arm_again(op, report);
}

/// Where the kernel cannot pick a buffer, the operation is a poll, so that a connection that waits holds no buffer.
/// @return false if the operation was armed again and there is nothing to report
bool uring_backend::receive_when_ready(operation& op, completion& report) noexcept {
  if (report.result < 0) return true;
  if (free_.empty()) {
    ++counters_.no_buffers;
    report.result = -ENOBUFS;
    return true;
  }
  const std::uint16_t id = free_.back();
  ssize_t got = 0;
  do {
    got = ::recv(op.fd, buffer_at(id), options_.buffer_size, static_cast<int>(op.flags) | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return !arm_again(op, report);
  report.result = got < 0 ? -errno : static_cast<int>(got);
  if (got <= 0) return true;
  free_.pop_back();
  lend(id, report);
  return true;
}

/// @return false if the operation is to end instead, because it was cancelled meanwhile
bool uring_backend::arm_again(operation& op, completion& report) noexcept {
  if ((op.home.state & cancel_asked_bit) != 0) {
    report.result = -ECANCELED;
    return false;
  }
  op.home.state &= ~in_kernel_bit;
  place(op);
  return true;
}

// --- waking

/// @return false if a wake-up has come, so that there is nothing to wait for
bool uring_backend::park() noexcept {
  int expected = running;
  return wake_word_.compare_exchange_strong(expected, parked, std::memory_order_acq_rel, std::memory_order_acquire);
}

// Only who finds the worker parked pays for a system call; for all others the word says enough, since every poll
// that may wait looks at it first.
void uring_backend::wake(backend* from) noexcept {
  if (wake_word_.exchange(notified, std::memory_order_acq_rel) == parked) signal(from);
}

void uring_backend::signal(backend* from) noexcept {
  if (wake_method_ == uring_wake::message) {
    auto* sender = dynamic_cast<uring_backend*>(from);
    if (sender != nullptr && sender->send_message(*this)) return;
  }
  if (wake_method_ == uring_wake::direct) {
    io_uring_sqe sqe{};
    io_uring_prep_msg_ring(&sqe, ring_.ring_fd, 0, tag_nudge, 0);
    if (io_uring_register(static_cast<unsigned>(-1), abi::register_send_msg_ring, &sqe, 1) == 0) return;
  }
  write_event();
}

bool uring_backend::send_message(uring_backend& target) noexcept {
  io_uring_sqe* sqe = take_slot();
  if (sqe == nullptr) return false;
  io_uring_prep_msg_ring(sqe, target.ring_.ring_fd, 0, tag_nudge, 0);
  if ((features_.features & IORING_FEAT_CQE_SKIP) != 0) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = reinterpret_cast<std::uintptr_t>(&target) | tag_message;
  flush();
  return true;
}

// The counter is never read while the poll stays armed: each write reports again, and 2^64 of them is not reached.
void uring_backend::write_event() noexcept {
  const std::uint64_t one = 1;
  while (::write(event_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void uring_backend::arm_event() noexcept {
  std::uint64_t count = 0;
  while (::read(event_, &count, sizeof count) < 0 && errno == EINTR) {
  }
  io_uring_sqe* sqe = take_slot();
  event_armed_ = sqe != nullptr;
  if (!event_armed_) return;
  io_uring_prep_poll_add(sqe, event_, POLLIN);
  if (limits_.multishot && features_.poll_many) sqe->len = IORING_POLL_ADD_MULTI;
  sqe->user_data = tag_event;
}

std::string uring_backend::report() const {
  constexpr const char* kinds[] = {"deferred", "cooperative", "plain"};
  constexpr const char* wakes[] = {"", "eventfd", "message from the caller's ring", "message without a ring"};
  const bool defers = (ring_flags_ & IORING_SETUP_DEFER_TASKRUN) != 0;
  const bool cooperates = (ring_flags_ & IORING_SETUP_COOP_TASKRUN) != 0;
  return describe(features_) + limits_.why + (limits_.why.empty() ? "" : "\n") +
         fmt::format(
             "ring: {} ({}), {} submissions, {} completions, descriptor {}\n"
             "receive buffers: {} x {} bytes, {}\nwake-up: {}\n",
             kinds[defers       ? 0
                   : cooperates ? 1
                                : 2],
             names_of(ring_flags_, setup_names), ring_.sq.ring_entries, ring_.cq.ring_entries,
             (enter_flags_ & IORING_ENTER_REGISTERED_RING) != 0 ? "registered" : "plain", options_.buffers,
             options_.buffer_size, recv_many_ ? "picked by the kernel, multishot" : "picked here, one-shot",
             wakes[static_cast<int>(wake_method_)]);
}

}  // namespace

std::unique_ptr<backend> make_uring_backend(const backend_options& options) {
  return make_uring_backend(options, uring_limits{});
}

std::unique_ptr<backend> make_uring_backend(const backend_options& options, const uring_limits& limits) {
  return std::make_unique<uring_backend>(options, limits);
}

bool uring_available() {
  feature_set found;
  return explore(found) == 0;
}

std::string uring_report() {
  feature_set found;
  if (const int error = explore(found); error != 0) {
    return fmt::format("no io_uring on {}: {} ({})\n", kernel_name(), advice(error), std::strerror(error));
  }
  return describe(found);
}

}  // namespace weir::io
