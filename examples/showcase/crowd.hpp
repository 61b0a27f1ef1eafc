// examples/showcase/crowd.hpp: many slow requests at once, made by the program to itself: what becomes of them is
// structured concurrency to look at.
#pragma once

#include <weir/weir.hpp>

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

namespace showcase {

/// The callers of one POST /crowd. Each is a child of that handler's scope; whoever holds its handle may end it.
class crowd {
 public:
  enum class state : char { waits = 'w', answered = 'a', cut = 'c' };

  /// @return false if there is one already
  bool begin(std::size_t size);
  void add(weir::join_handle<> caller);
  void settle(std::size_t index, state how);

  /// `co_await c.all_settled()` completes when every caller has been answered or cut.
  auto all_settled() noexcept { return settled_.wait(); }

  /// Ends some of those that wait, picked here and there. @return how many
  std::size_t cut(std::size_t count);

  /// Before the scope of the callers ends: from here on nobody touches them.
  void end();

  /// A letter for each caller, in order.
  std::string states() const;

 private:
  mutable std::mutex mutex_;
  bool busy_ = false;
  std::vector<weir::join_handle<>> callers_;
  std::string states_;
  std::size_t waiting_ = 0;
  weir::event settled_;
};

}  // namespace showcase
