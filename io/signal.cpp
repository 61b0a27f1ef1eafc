#include <weir/io/signal.hpp>

#include <weir/core/error.hpp>
#include <weir/io/operation.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

namespace weir::io {
/// What the handler knows of one `signals` object. Never freed, because a handler may be looking at it; used again.
struct signal_watch {
  std::atomic<std::uint64_t> wanted{0};
  std::atomic<std::uint64_t> pending{0};
  std::atomic<int> event{-1};
  signal_watch* next = nullptr;  // does not change once it can be seen
  bool taken = false;            // under the lock
};

namespace {

constexpr int last_signal = 64;

std::atomic<signal_watch*> watches{nullptr};
std::atomic<int> handling{0};  // handlers under way
std::atomic<pid_t> owner{0};   // a child that has not called exec yet must not tell its parent
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<signal_watch*>::is_always_lock_free);

std::mutex mutex;
struct disposition {
  unsigned users = 0;
  struct sigaction before = {};
};
std::array<disposition, last_signal + 1> dispositions{};  // under the lock

std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }

// Runs on any thread, at any instruction: atomics and write(2) only.
void handle(int number) {
  int kept = errno;
  handling.fetch_add(1, std::memory_order_seq_cst);
  auto* each = owner.load(std::memory_order_relaxed) == ::getpid() ? watches.load(std::memory_order_acquire) : nullptr;
  for (; each != nullptr; each = each->next) {
    if ((each->wanted.load(std::memory_order_seq_cst) & bit(number)) == 0) continue;
    each->pending.fetch_or(bit(number), std::memory_order_release);
    std::uint64_t one = 1;
    // Fails only if the event is set 2^64-1 times over, and then it is set.
    [[maybe_unused]] auto written = ::write(each->event.load(std::memory_order_relaxed), &one, sizeof one);
  }
  handling.fetch_sub(1, std::memory_order_release);
  errno = kept;
}

void install(int number) {
  auto& of = dispositions[static_cast<std::size_t>(number)];
  if (of.users == 0) {
    struct sigaction action = {};
    action.sa_handler = handle;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    if (::sigaction(number, &action, &of.before) != 0) throw net_error(errno, "sigaction");
  }
  ++of.users;
}

void restore(int number) noexcept {
  auto& of = dispositions[static_cast<std::size_t>(number)];
  if (--of.users != 0) return;
  struct sigaction now = {};
  // Unless somebody else has taken it over.
  if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == handle) ::sigaction(number, &of.before, nullptr);
}

void install(const signal_set& which) {
  for (int number = 1; number <= last_signal; ++number) {
    if (!which.has(number)) continue;
    try {
      install(number);
    } catch (...) {
      while (--number > 0) {
        if (which.has(number)) restore(number);
      }
      throw;
    }
  }
}

signal_watch& take_watch() {
  for (auto* each = watches.load(std::memory_order_relaxed); each != nullptr; each = each->next) {
    if (!std::exchange(each->taken, true)) return *each;
  }
  auto* made = new signal_watch;
  made->taken = true;
  made->next = watches.load(std::memory_order_relaxed);
  watches.store(made, std::memory_order_release);
  return *made;
}

descriptor open_event() {
  descriptor made(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made) throw net_error(errno, "eventfd");
  return made;
}

}  // namespace

signal_set::signal_set(std::initializer_list<int> numbers) {
  for (int number : numbers) {
    if (number < 1 || number > last_signal) {
      throw error(errc::err_unknown_signal, "Unknown signal: " + std::to_string(number));
    }
    for (int refused : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
      if (number != refused) continue;
      throw error(errc::err_invalid_arg_value, "Signal " + std::to_string(number) + " cannot be waited for");
    }
    bits_ |= bit(number);
  }
}

signals::signals(signal_set which) : which_(which), event_(open_event()) {
  std::lock_guard lock(mutex);
  watch_ = &take_watch();  // NOLINT: under the lock
  owner.store(::getpid(), std::memory_order_relaxed);
  watch_->event.store(event_.get(), std::memory_order_relaxed);
  watch_->pending.store(0, std::memory_order_relaxed);
  watch_->wanted.store(which_.bits(), std::memory_order_seq_cst);
  try {
    install(which_);
  } catch (...) {
    watch_->wanted.store(0, std::memory_order_seq_cst);
    watch_->taken = false;
    throw;
  }
}

// The descriptor must not be closed under a handler on another thread: its number may be given out again.
signals::~signals() {
  std::lock_guard lock(mutex);
  for (int number = 1; number <= last_signal; ++number) {
    if (which_.has(number)) restore(number);
  }
  watch_->wanted.store(0, std::memory_order_seq_cst);
  while (handling.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  watch_->taken = false;
}

task<int> signals::next() {
  for (;;) {
    auto pending = watch_->pending.load(std::memory_order_acquire);
    if (pending != 0) {
      int number = __builtin_ctzll(pending) + 1;
      watch_->pending.fetch_and(~bit(number), std::memory_order_relaxed);
      co_return number;
    }
    std::uint64_t times = 0;
    co_await read(event_.get(), std::as_writable_bytes(std::span(&times, 1)));
  }
}

task<int> wait_signal(signal_set which) {
  signals caught(which);
  co_return co_await caught.next();
}

}  // namespace weir::io
