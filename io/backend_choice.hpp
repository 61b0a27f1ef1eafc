// io/backend_choice.hpp: which backend the runtime gets where its options name none, and why. What the kernel refuses
// is found out by trying.
#pragma once

#include <cstdint>
#include <string>

namespace weir::io {

enum class backend_kind : std::uint8_t { uring, epoll };

struct backend_choice {
  backend_kind kind = backend_kind::uring;
  bool by_wish = false;  ///< WEIR_BACKEND asks for it: there is no other if it is refused
  std::string why;       ///< one line, as `backend_report()` has it
};

/// What `make_default_backend` takes now: what WEIR_BACKEND in the environment says (`uring`, `epoll`; `auto` or
/// nothing: io_uring, or epoll where that is refused: seccomp, kernel.io_uring_disabled, an old kernel, no memory that
/// may be locked). io_uring once refused stays so for the process.
/// @throws weir::error ERR_INVALID_ARG_VALUE if WEIR_BACKEND says anything else
backend_choice choose_backend();

}  // namespace weir::io
