// tests/io/operator_cases.hpp: every operator of the room in one table, so that what must hold for all of them is
// written once and tried on each: see operator_cases_test.cpp, where the table is, operator_failures_test.cpp,
// operator_cancel_test.cpp and backpressure_test.cpp. Sources and results are of one type, whatever the operator is.
#pragma once

#include <weir/core/buffer.hpp>
#include <weir/core/loop.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/task.hpp>
#include <weir/io/readable.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir::testing {

using ints = std::vector<int>;

/// Bytes of an item where a test is about memory.
inline constexpr std::size_t large = 64 * 1024;

/// What flows into the operators: a number, and memory that counts how much of it is alive.
struct item {
  int value = 0;
  buffer bytes;
};

/// What a test learns about its source and the functions given to an operator. Sources may be read on any worker.
struct ledger {
  int last = 6;              ///< the source gives 1 to `last`
  int source_fails_at = 0;   ///< in place of this item, `last` + 1 being the end; 0: never
  int call_fails_at = 0;     ///< the call of the operator's function that throws; 0: never
  bool yields = true;        ///< the source waits before each item
  bool large_items = false;  ///< bytes of one line of that size; else the number as text, and a line end

  std::atomic<int> asked{0};
  std::atomic<int> told{0};     ///< how often a source was told that it is destroyed
  std::atomic<int> sources{0};  ///< that are alive
  std::atomic<int> items{0};    ///< whose memory is alive
  std::atomic<int> most{0};     ///< items that have been alive at a time
  std::atomic<int> calls{0};
  std::atomic<int> failed_at{0};  ///< the item that the source failed in place of

  item make(int value);
  void check_call();  ///< for the functions given to operators
};

/// A source that has the type of none: of `Item`, moved from it must not be touched any more.
template <class Item>
class any_source {
 public:
  template <class S>
    requires(!std::is_same_v<std::remove_cvref_t<S>, any_source> && !std::is_lvalue_reference_v<S>)
  explicit any_source(S&& from) : held_(std::make_unique<kept<S>>(std::forward<S>(from))) {}

  auto next() { return held_->next(); }
  bool closed() const noexcept { return held_->closed(); }
  void destroy(const std::exception_ptr& why) noexcept { held_->destroy(why); }

 private:
  struct base {
    virtual ~base() = default;
    virtual task<std::optional<Item>> next() = 0;
    virtual bool closed() const noexcept = 0;
    virtual void destroy(const std::exception_ptr& why) noexcept = 0;
  };
  template <class S>
  struct kept final : base {
    explicit kept(S&& from) : source(std::move(from)) {}
    task<std::optional<Item>> next() override { co_return co_await source.next(); }
    bool closed() const noexcept override { return !io::streams::survives_cancel(source); }
    void destroy(const std::exception_ptr& why) noexcept override { io::streams::tell_destroyed(source, why); }
    S source;
  };

  std::unique_ptr<base> held_;
};

using item_source = any_source<item>;
using result_source = any_source<ints>;

/// The numbers from 1, as the ledger says. Survives being cancelled; after its failure it is at its end.
class counting_source {
 public:
  static constexpr bool cancel_safe = true;

  explicit counting_source(ledger& of) : of_(&of) { ++of_->sources; }
  counting_source(counting_source&& other) noexcept : of_(std::exchange(other.of_, nullptr)), at_(other.at_) {}
  counting_source& operator=(counting_source&&) = delete;
  ~counting_source() {
    if (of_ != nullptr) --of_->sources;
  }

  task<std::optional<item>> next();
  void destroy(const std::exception_ptr&) noexcept { ++of_->told; }

 private:
  ledger* of_;
  int at_ = 0;
};

struct operator_case {
  std::string name;
  /// The operator, which reads `from`. Its function, if it has one, begins with `check_call`.
  std::function<result_source(scope&, item_source from, ledger&)> make;
  /// What it makes of these items.
  std::function<ints(const ints&)> model;
  /// Chunks that may be alive at a time while the reader is slow, the one that it looks at included.
  int holds = 2;
  /// A failure overtakes what is queued, or what else is under way.
  bool drops = false;
  /// A failure is given to every later reader too.
  bool sticky = false;
  /// What a function has in hand when the wait is cancelled is lost, and `closed` says so.
  bool hands = false;
};

const std::vector<operator_case>& operator_cases();

/// The numbers 1 to `last`.
ints numbers_to(int last);

/// What came of reading to the end, failures included: a source that fails for ever is asked three times.
struct reading_report {
  ints values;
  std::vector<std::string> failures;
};
task<void> read_all(result_source& from, reading_report& report);

}  // namespace weir::testing
