// tests/support/watched_backend.hpp: the default backend with somebody who looks on. Counts the pooled buffers lent
// and given back, and can answer an operation in the system's place, for answers that cannot be had on demand.
#pragma once

#include <weir/core/backend.hpp>
#include <weir/core/runtime.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weir::testing {

class watched_backend final : public backend {
 public:
  explicit watched_backend(const backend_options& options) : inner_(make_default_backend(options)) {}

  void start() override {
    here() = this;
    inner_->start();
  }
  void submit(operation& op) noexcept override {
    if (auto result = answer ? answer(op) : std::nullopt) {
      answered_.emplace_back(&op, *result);
      return;
    }
    if (op.code == opcode::recv_many) {
      handlers_[&op] = op.on_complete;
      op.on_complete = report_received;
    }
    inner_->submit(op);
  }
  void cancel(operation& op) noexcept override {
    for (auto& [which, result] : answered_) {
      if (which == &op) return;
    }
    inner_->cancel(op);
  }
  std::size_t poll(std::chrono::nanoseconds timeout) noexcept override {
    auto answers = std::exchange(answered_, {});
    auto count = inner_->poll(answers.empty() ? timeout : std::chrono::nanoseconds(0));
    for (auto& [op, result] : answers) op->on_complete(*op, completion{.result = result});
    return count + answers.size();
  }
  void wake(backend* from) noexcept override {
    auto* other = dynamic_cast<watched_backend*>(from);
    inner_->wake(other != nullptr ? other->inner_.get() : nullptr);
  }
  void recycle(std::uint16_t buffer) noexcept override {
    lent.fetch_sub(1);
    inner_->recycle(buffer);
  }
  std::size_t in_flight() const noexcept override { return inner_->in_flight() + answered_.size(); }
  const backend_counters& counters() const noexcept override { return inner_->counters(); }
  std::string report() const override { return inner_->report(); }

  static inline std::atomic<int> lent{0};      ///< pooled buffers that streams hold now
  static inline std::atomic<int> reported{0};  ///< pooled buffers that were ever lent
  /// Gives the result of an operation that is not to reach the system, or nothing. Set it while nothing runs.
  static inline std::function<std::optional<int>(const operation&)> answer;

  /// A runtime on this backend. Counts and answers start anew.
  static runtime_options options(unsigned workers) {
    lent = 0;
    reported = 0;
    answer = nullptr;
    runtime_options made;
    made.workers = workers;
    made.make_backend = [](const backend_options& o) -> std::unique_ptr<backend> {
      return std::make_unique<watched_backend>(o);
    };
    return made;
  }

 private:
  static watched_backend*& here() noexcept {
    static thread_local watched_backend* of_this_thread = nullptr;
    return of_this_thread;
  }
  static void report_received(operation& op, const completion& report) noexcept {
    auto& self = *here();
    auto handler = self.handlers_.at(&op);
    if (!report.more) {
      self.handlers_.erase(&op);
      op.on_complete = handler;
    }
    if (report.data != nullptr) {
      lent.fetch_add(1);
      reported.fetch_add(1);
    }
    handler(op, report);
  }

  std::unique_ptr<backend> inner_;
  std::vector<std::pair<operation*, int>> answered_;
  std::unordered_map<operation*, operation::handler> handlers_;
};

}  // namespace weir::testing
