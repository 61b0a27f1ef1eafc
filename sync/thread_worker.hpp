// sync/thread_worker.hpp: a thread with a loop of its own that runs one function and talks to its owner in messages
// (Node's Worker, https://nodejs.org/api/worker_threads.html#class-worker). Rests on message ports; promises Node's
// order of events: online, messages, then the error if there was one, then exit.
#pragma once

#include <weir/core/event.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/sync/message_port.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace weir::sync {

struct thread_worker_options {
  std::string name = "weir-worker";       ///< of the thread, as the system shows it (15 characters), and in errors
  std::size_t stack_size = 0;             ///< of the thread, in octets; 0: the system's default
  message_channel_options messages = {};  ///< limits for what waits, each way
  runtime_options runtime = {};           ///< of its loop; the number of workers is always 1
  std::chrono::nanoseconds grace = std::chrono::seconds(5);  ///< how long `terminate` waits
};

/// True on a thread that no thread_worker and no worker_pool has made.
bool is_main_thread() noexcept;

/// The number of the calling thread among those of thread_workers, from 1 and never used again; 0 elsewhere.
std::uint64_t thread_id() noexcept;

/// Ends the calling thread's worker with `code`, and no more than that: everything on it is cancelled and joined.
/// Returns; the caller is to stop at its next await (Node's process.exit in a worker). The first call decides.
/// @throws weir::error ERR_INVALID_STATE on any other thread
void exit_worker(int code);

/// True once `terminate` or `exit_worker` was called for the calling thread: for loops that compute and never await.
bool worker_stopping() noexcept;

namespace detail {

/// What owner and thread share, without the messages.
class worker_core {
 public:
  worker_core() = default;
  worker_core(const worker_core&) = delete;
  worker_core& operator=(const worker_core&) = delete;

  event online;  // set at the end as well, if it never came up
  event ended;
  std::atomic<bool> came_up{false};
  // Written before `ended` is set.
  int code = 0;
  std::exception_ptr error;
  std::uint64_t id = 0;
  std::string name;

  /// Starts the thread. `body` runs on its loop, and `over` after it, when no message can come any more.
  static std::shared_ptr<worker_core> start(const thread_worker_options& options, std::function<task<int>()> body,
                                            std::function<void()> over);
  void stop(int with_code) noexcept;
  /// Waits for its end, blocking; lets it go after `grace`.
  void leave(std::chrono::nanoseconds grace) noexcept;
  task<int> terminate(std::chrono::nanoseconds grace);
  [[noreturn]] void throw_exit() const;

 protected:
  ~worker_core() = default;
};

template <class R>
task<int> with_exit_code(task<R> main) {
  if constexpr (std::is_void_v<R>) {
    co_await std::move(main);
    co_return 0;
  } else {
    co_return co_await std::move(main);
  }
}

/// The body of a worker with all that it needs, kept where a std::function can hold it.
template <class Port, class F, class... Data>
struct worker_body {
  struct kept {
    F function;
    Port port;
    std::tuple<Data...> data;
  };
  std::shared_ptr<kept> state;

  task<int> operator()() const {
    return std::apply(
        [this](Data&... each) { return with_exit_code(state->function(state->port, std::move(each)...)); },
        state->data);
  }
};

}  // namespace detail

/// What an owner may be told; whatever is left empty is not asked for.
template <class Message>
struct worker_listeners {
  std::function<void()> online = {};                   ///< the thread runs
  std::function<void(Message)> message = {};           ///< in the order in which they were posted
  std::function<void(std::exception_ptr)> error = {};  ///< what the function threw
  std::function<void(int)> exit = {};                  ///< last of all: 0, what it returned, 1 after an error
};

/// A thread that runs `function(port, data...)`, a coroutine that returns task<> or task<int> (the exit code).
///
/// `port` is its end of the line: a message_port<ToWorker, ToOwner>&. Data and function are moved to the thread. An
/// exception ends that thread only and arrives here, with exit code 1. What the owner posts before the thread is up
/// waits for it. The thread's own timers and tasks have to end before it does, as in any scope.
///
/// A thread cannot be killed: `terminate` cancels what it awaits, and a loop that computes has to look at
/// `worker_stopping`. Its functions may be called on any thread.
template <class ToWorker, class ToOwner = ToWorker>
class thread_worker {
 public:
  using port_type = message_port<ToWorker, ToOwner>;

  /// @throws weir::error EAGAIN where the system gives no thread
  template <class F, class... Data>
  explicit thread_worker(const thread_worker_options& options, F function, Data... data) : grace_(options.grace) {
    message_channel<ToWorker, ToOwner> line(options.messages);
    using body = detail::worker_body<port_type, F, Data...>;
    auto kept = std::make_shared<typename body::kept>(std::move(function), std::move(line.port1),
                                                      std::tuple<Data...>(std::move(data)...));
    port_ = std::move(line.port2);
    core_ = detail::worker_core::start(options, body{kept}, [kept] { kept->port.close(); });
  }
  thread_worker(const thread_worker&) = delete;
  thread_worker& operator=(const thread_worker&) = delete;
  /// Stops the thread and blocks until it has ended or the grace is over. Prefer to await `terminate` or `exited`.
  ~thread_worker() { core_->leave(grace_); }

  /// Sends the worker a message. @return false if it has ended @throws weir::error ERR_QUEUE_FULL
  bool post_message(ToWorker message) { return port_.post(std::move(message)); }
  /// The same, waiting for room.
  auto send_message(ToWorker message) { return port_.send(std::move(message)); }

  /// `co_await worker.receive()` completes with its next message, or with nothing once it has ended and all are read.
  auto receive() { return port_.receive(); }

  /// `co_await worker.online()` completes when the thread runs (or has ended).
  event::awaiter online() { return core_->online.wait(); }

  /// Completes with the exit code when the thread has ended. Throws nothing of the worker's; see `error`.
  task<int> exited() {
    auto core = core_;
    co_await core->ended.wait();
    co_return core->code;
  }

  /// What it threw, or null. To be read after `exited`.
  std::exception_ptr error() const noexcept { return core_->ended.is_set() ? core_->error : nullptr; }

  /// Its first message. Whatever happens settles it: it throws what the worker threw, or
  /// ERR_WORKER_TERMINATED "Worker stopped with exit code N" if it ended without a message, code 0 included.
  task<ToOwner> first_message() {
    if (auto first = co_await port_.receive()) co_return std::move(*first);
    co_await core_->ended.wait();
    core_->throw_exit();
  }

  /// Calls the listeners on the loop of the caller, in order, from a task of the caller's scope, which so lasts as
  /// long as the worker. An error with no listener fails that scope. With a `message` listener nobody else is to
  /// `receive`. @return the task, to cancel it by
  join_handle<> listen(worker_listeners<ToOwner> to) {
    return detail::scope_for_messages().spawn_local(tell, core_, port_.incoming(), std::move(to));
  }

  /// Stops the worker: what it awaits ends with `cancelled`. Completes with the exit code (1, unless it had ended or
  /// decided on its own). @throws weir::error ERR_TIMEOUT if it is still busy after `grace`: call again to wait on
  task<int> terminate() { return core_->terminate(grace_); }

  std::uint64_t thread_id() const noexcept { return core_->id; }
  const std::string& name() const noexcept { return core_->name; }

 private:
  // Keeps what it uses: it may outlive the worker object, whose end it then tells.
  static task<> tell(std::shared_ptr<detail::worker_core> core, std::shared_ptr<detail::lane<ToOwner>> messages,
                     worker_listeners<ToOwner> to) {
    co_await core->online.wait();
    if (to.online && core->came_up) to.online();
    if (to.message) co_await detail::deliver_messages(std::move(messages), std::move(to.message));
    co_await core->ended.wait();
    if (core->error && !to.error) std::rethrow_exception(core->error);
    if (core->error) {
      to.error(core->error);
      co_await yield();
    }
    if (to.exit) to.exit(core->code);
  }

  std::chrono::nanoseconds grace_;
  message_port<ToOwner, ToWorker> port_;
  std::shared_ptr<detail::worker_core> core_;
};

}  // namespace weir::sync
