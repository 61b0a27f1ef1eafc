// io/backend_parts.hpp: what the two backends have in common: their operations in a row, and limits that make sense.
// Private to io.
#pragma once

#include <weir/core/backend.hpp>

#include <utility>

namespace weir::io {

/// Operations in a row, linked through home.next.
class operation_queue {
 public:
  bool empty() const { return head_ == nullptr; }
  operation* front() const { return head_; }

  void push(operation& op) {
    op.home.next = nullptr;
    (head_ == nullptr ? head_ : tail_->home.next) = &op;
    tail_ = &op;
  }

  void push_front(operation& op) {
    op.home.next = head_;
    if (head_ == nullptr) tail_ = &op;
    head_ = &op;
  }

  operation* pop() {
    operation* op = head_;
    head_ = op->home.next;
    return op;
  }

  void remove(operation& op) {
    operation* before = nullptr;
    operation* at = head_;
    while (at != nullptr && at != &op) before = std::exchange(at, at->home.next);
    if (at == nullptr) return;
    (before == nullptr ? head_ : before->home.next) = op.home.next;
    if (tail_ == &op) tail_ = before;
  }

 private:
  operation* head_ = nullptr;
  operation* tail_ = nullptr;
};

/// @param backend its name, for the error
/// @throws std::system_error EINVAL for options out of their range
void check(const backend_options& options, const char* backend);

}  // namespace weir::io
