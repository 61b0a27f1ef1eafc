// io/signal_stream.hpp: signals of the process as a stream, and the sizes that a terminal takes. Rests on
// io/signal.hpp.
#pragma once

#include <weir/core/task.hpp>
#include <weir/io/signal.hpp>

#include <memory>
#include <optional>

namespace weir::io {

/// A source of signal numbers. It has no end of its own; use `take`, a scope or `idle_timeout`.
///
///   auto quit = signal_stream({SIGINT, SIGTERM});
///   while (auto number = co_await quit.next()) ...
///
/// The signals are caught as long as it lives, from its construction on. A signal that arrives again before it was
/// taken counts once, and of several that wait the lowest number comes first, as with `signals`. One task at a time, on
/// any worker. Cancelling `next` loses none.
class [[nodiscard]] signal_stream {
 public:
  static constexpr bool cancel_safe = true;

  /// @throws weir::error as `signals` does
  explicit signal_stream(signal_set which) : caught_(std::make_unique<signals>(which)) {}

  task<std::optional<int>> next();

 private:
  std::unique_ptr<signals> caught_;
};

}  // namespace weir::io
