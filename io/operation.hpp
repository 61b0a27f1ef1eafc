// io/operation.hpp: awaiting one operation of the backend. The record lives in the awaiter, hence in the
// coroutine frame; nothing is allocated. An operation never leaves the worker that submitted it; its fiber
// may be stolen once it is ready. Rests on core's seam; knows nothing of what implements it.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/error.hpp>
#include <weir/core/home_wait.hpp>
#include <weir/core/result.hpp>
#include <weir/core/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::io {

/// An operation that a fiber waits for. Base of the awaiters below; not awaitable itself.
///
/// Completes when the system has ended the operation, however it ended. Cancelling asks the system to stop it and
/// still waits for its end: what the operation points at is in use until then and not an instant longer.
class operation_wait : protected detail::home_wait, protected operation {
 public:
  bool await_ready() const noexcept { return false; }

  template <detail::weir_promise P>
  bool await_suspend(std::coroutine_handle<P> h) noexcept {
    return suspend(*h.promise().running, h);
  }

 protected:
  operation_wait() = default;

  bool suspend(detail::fiber& f, std::coroutine_handle<> h) noexcept;

  /// Makes the system call on this thread, instead of awaiting it. @return its answer
  int perform_here() noexcept;

  /// The system's answer: >= 0, or -errno; -ECANCELED where the task was cancelled.
  int answer_ = 0;

 private:
  bool stop() noexcept override;
  const char* what() const noexcept override;
  static void complete(operation& op, const completion& report) noexcept;
};

/// What an operation is about, for its error message. Texts are literals or outlive the await.
struct operation_label {
  const char* name = "";
  std::string_view subject = {};
};

/// `co_await` gives the number of bytes (or whatever else the system call returns); throws weir::error with the
/// label, or `cancelled`.
class [[nodiscard]] count_operation : public operation_wait {
 public:
  count_operation(opcode what, int descriptor, void* data, std::size_t size, std::uint32_t with_flags,
                  operation_label label) noexcept
      : label_(label) {
    code = what;
    fd = descriptor;
    buffer = data;
    length = static_cast<std::uint32_t>(size < max_transfer ? size : max_transfer);
    flags = with_flags;
  }

  std::size_t await_resume() const {
    if (answer_ < 0) fail().rethrow();
    return static_cast<std::size_t>(answer_);
  }
  result<std::size_t> try_resume() const noexcept {
    if (answer_ < 0) return fail();
    return static_cast<std::size_t>(answer_);
  }

  /// Makes the call here and now instead of awaiting it: this thread waits. For files, and where there is no runtime.
  std::size_t now() && { return std::move(*this).try_now().value(); }
  result<std::size_t> try_now() && noexcept {
    answer_ = perform_here();
    return try_resume();
  }

  /// Where in the file; the default is its position.
  count_operation&& at(std::uint64_t position) && noexcept {
    offset = position;
    return std::move(*this);
  }

  /// As much as the kernel moves in one call.
  static constexpr std::size_t max_transfer = 0x7ffff000;

 protected:
  failure fail() const noexcept;
  operation_label label_;
};

/// `co_await poll(fd, POLLIN)` waits until a descriptor is ready and gives the mask of what it is ready for.
inline count_operation poll(int descriptor, std::uint32_t mask) noexcept {
  return {opcode::poll, descriptor, nullptr, 0, mask, {"poll"}};
}

/// `co_await read(fd, into)`: read(2); 0 is the end.
inline count_operation read(int descriptor, std::span<std::byte> into) noexcept {
  return {opcode::read, descriptor, into.data(), into.size(), 0, {"read"}};
}

/// `co_await write(fd, from)`: write(2); may write less than asked.
inline count_operation write(int descriptor, std::span<const std::byte> from) noexcept {
  return {opcode::write, descriptor, const_cast<std::byte*>(from.data()), from.size(), 0, {"write"}};
}

}  // namespace weir::io
