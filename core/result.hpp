// core/result.hpp: a value or the failure that took its place, for callers who asked not to be thrown at.
// Rests on core/error.hpp. Nothing here throws except `value()` on a failure and what T itself throws.
#pragma once

#include <weir/core/error.hpp>

#include <cassert>
#include <concepts>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace weir {

/// Why something failed: a weir::error that was never thrown, or an exception that was. Two pointers, cheap
/// to copy. `cancelled` and `aggregate_error` keep their type through it.
class failure {
 public:
  failure(const error& made) noexcept : made_(made.state_) {}  // NOLINT: implicit, so that one can return an error
  explicit failure(std::exception_ptr thrown) noexcept : thrown_(std::move(thrown)) {}

  /// Throws it, with the type that it had.
  [[noreturn]] void rethrow() const;

  /// The same as an exception_ptr, made now if nothing was thrown before. Throws nothing on the way.
  [[nodiscard]] std::exception_ptr exception() const noexcept;

  /// The weir::error; a foreign exception comes as ERR_UNHANDLED_ERROR with its text.
  [[nodiscard]] weir::error error() const;

  [[nodiscard]] std::string message() const;
  [[nodiscard]] std::error_code code() const noexcept;
  [[nodiscard]] std::string_view code_name() const noexcept;  ///< "ENOENT"; ERR_UNHANDLED_ERROR if foreign

  bool is(std::string_view name) const noexcept { return code_name() == name; }
  bool is_cancelled() const noexcept;

 private:
  detail::error_share made_{nullptr};
  std::exception_ptr thrown_;
};

template <class T = void>
class result;

namespace detail {

template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;

template <class T>
using result_storage = std::conditional_t<std::is_void_v<T>, std::monostate,
                                          std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

}  // namespace detail

/// A T (value, void or lvalue reference, move-only welcome) or a `failure`. One byte more than the larger of
/// the two. Copies and moves as T does; a moved-from result keeps its side.
template <class T>
class [[nodiscard]] result {
  using storage = detail::result_storage<T>;
  static constexpr bool is_void = std::is_void_v<T>;
  static constexpr bool is_reference = std::is_reference_v<T>;
  static constexpr bool is_object = !is_void && !is_reference;
  static_assert(!std::is_rvalue_reference_v<T> && !std::is_const_v<T>);
  static_assert(!std::is_same_v<T, failure> && !std::is_base_of_v<weir::error, storage>,
                "a failure cannot be the value of a result");

 public:
  using value_type = T;

  /// Success with nothing to say, or with a default T.
  result() noexcept(std::is_nothrow_default_constructible_v<storage>)
    requires(!is_reference && std::default_initializable<storage>)
      : ok_(true) {
    std::construct_at(&value_);
  }

  template <class U = T>
    requires(is_object && std::constructible_from<storage, U &&> &&
             (!detail::is_result<std::remove_cvref_t<U>> || std::is_same_v<T, std::remove_cvref_t<U>>) &&
             !std::is_same_v<std::remove_cvref_t<U>, weir::failure> &&
             !std::is_base_of_v<weir::error, std::remove_cvref_t<U>>)
  explicit(!std::convertible_to<U&&, storage>) result(U&& value)  // NOLINT
      noexcept(std::is_nothrow_constructible_v<storage, U&&>)
      : ok_(true) {
    std::construct_at(&value_, std::forward<U>(value));
  }

  template <class U>
    requires(is_reference && std::convertible_to<U*, storage>)
  result(U& referred) noexcept : ok_(true) {  // NOLINT
    std::construct_at(&value_, std::addressof(referred));
  }

  result(weir::failure why) noexcept : ok_(false) { std::construct_at(&failure_, std::move(why)); }  // NOLINT
  result(const weir::error& why) noexcept : ok_(false) { std::construct_at(&failure_, why); }        // NOLINT

  result(const result& other)
    requires std::copy_constructible<storage>
      : ok_(other.ok_) {
    if (ok_)
      std::construct_at(&value_, other.value_);
    else
      std::construct_at(&failure_, other.failure_);
  }

  result(result&& other) noexcept(std::is_nothrow_move_constructible_v<storage>) : ok_(other.ok_) {
    if (ok_)
      std::construct_at(&value_, std::move(other.value_));
    else
      std::construct_at(&failure_, other.failure_);
  }

  result& operator=(const result& other)
    requires std::copy_constructible<storage>
  {
    if (this != &other) replace(result(other));
    return *this;
  }

  result& operator=(result&& other) noexcept(std::is_nothrow_move_constructible_v<storage>) {
    if (this != &other) replace(std::move(other));
    return *this;
  }

  ~result() { clear(); }

  explicit operator bool() const noexcept { return ok_; }
  bool has_value() const noexcept { return ok_; }

  /// The value; throws the failure if there is none. From an rvalue it comes by value, so nothing dangles.
  std::add_lvalue_reference_t<T> value() & {
    if (!ok_) failure_.rethrow();
    return get();
  }
  decltype(auto) value() const& {
    if (!ok_) failure_.rethrow();
    return get();
  }
  T value() && {
    if (!ok_) failure_.rethrow();
    return take();
  }

  /// The value, which must be there.
  decltype(auto) operator*() & noexcept
    requires(!is_void)
  {
    return get();
  }
  decltype(auto) operator*() const& noexcept
    requires(!is_void)
  {
    return get();
  }
  auto operator*() && -> T
    requires(!is_void)
  {
    return take();
  }
  auto* operator->() noexcept
    requires(!is_void)
  {
    return std::addressof(get());
  }
  auto* operator->() const noexcept
    requires(!is_void)
  {
    return std::addressof(get());
  }

  /// Why there is no value; there must be none.
  const weir::failure& failure() const noexcept {
    assert(!ok_);
    return failure_;
  }
  weir::error error() const { return failure().error(); }

  template <class U>
    requires(!is_void)
  T value_or(U&& other) const& {
    if (ok_) return get();
    return static_cast<T>(std::forward<U>(other));
  }
  template <class U>
    requires(!is_void)
  T value_or(U&& other) && {
    if (ok_) return take();
    return static_cast<T>(std::forward<U>(other));
  }

  /// A result of what `f` makes of the value; a failure passes through.
  template <class F>
  auto map(F&& f) && {
    using U = decltype(call(std::forward<F>(f)));
    if (!ok_) return result<U>(failure_);
    if constexpr (std::is_void_v<U>) {
      call(std::forward<F>(f));
      return result<U>();
    } else {
      return result<U>(call(std::forward<F>(f)));
    }
  }
  template <class F>
  auto map(F&& f) const& {
    return result(*this).map(std::forward<F>(f));
  }

  /// The result that `f` returns for the value; a failure passes through.
  template <class F>
  auto and_then(F&& f) && {
    using R = decltype(call(std::forward<F>(f)));
    static_assert(detail::is_result<R>, "and_then needs a function that returns a result");
    if (!ok_) return R(failure_);
    return call(std::forward<F>(f));
  }
  template <class F>
  auto and_then(F&& f) const& {
    return result(*this).and_then(std::forward<F>(f));
  }

 private:
  decltype(auto) get() noexcept {
    assert(ok_);
    if constexpr (is_reference)
      return static_cast<T>(*value_);
    else if constexpr (is_object)
      return static_cast<T&>(value_);
  }
  decltype(auto) get() const noexcept {
    assert(ok_);
    if constexpr (is_reference)
      return static_cast<T>(*value_);
    else if constexpr (is_object)
      return static_cast<const T&>(value_);
  }
  T take() {
    assert(ok_);
    if constexpr (is_reference)
      return static_cast<T>(*value_);
    else if constexpr (is_object)
      return std::move(value_);
  }

  template <class F>
  decltype(auto) call(F&& f) {
    if constexpr (is_void)
      return std::invoke(std::forward<F>(f));
    else
      return std::invoke(std::forward<F>(f), take());
  }

  void clear() noexcept {
    if (ok_)
      std::destroy_at(&value_);
    else
      std::destroy_at(&failure_);
  }

  // A move of T that throws leaves that exception as the failure, so there is always something to destroy.
  void replace(result&& other) noexcept(std::is_nothrow_move_constructible_v<storage>) {
    clear();
    if (!other.ok_) {
      std::construct_at(&failure_, other.failure_);
      ok_ = false;
      return;
    }
    if constexpr (std::is_nothrow_move_constructible_v<storage>) {
      std::construct_at(&value_, std::move(other.value_));
    } else {
      try {
        std::construct_at(&value_, std::move(other.value_));
      } catch (...) {
        std::construct_at(&failure_, std::current_exception());
        ok_ = false;
        throw;
      }
    }
    ok_ = true;
  }

  union {
    storage value_;
    weir::failure failure_;
  };
  bool ok_;
};

}  // namespace weir
