// core/result.cpp: the untemplated half of result.hpp. A failure is either an error's state or a caught
// exception; both answer the same questions, and neither needs a throw to do it.
#include <weir/core/error_state.hpp>
#include <weir/core/result.hpp>

#include <typeinfo>

namespace weir {

void failure::rethrow() const {
  if (thrown_) std::rethrow_exception(thrown_);
  if (!made_) throw weir::error(errc::err_unhandled_error);
  switch (made_->kind) {
    case detail::error_kind::cancelled: throw cancelled(made_);
    case detail::error_kind::aggregate: throw aggregate_error(made_);
    case detail::error_kind::plain: break;
  }
  throw weir::error(made_);
}

std::exception_ptr failure::exception() const noexcept {
  if (thrown_) return thrown_;
  if (!made_) return std::make_exception_ptr(error());
  switch (made_->kind) {
    case detail::error_kind::cancelled: return std::make_exception_ptr(cancelled(made_));
    case detail::error_kind::aggregate: return std::make_exception_ptr(aggregate_error(made_));
    case detail::error_kind::plain: break;
  }
  return std::make_exception_ptr(weir::error(made_));
}

weir::error failure::error() const {
  if (made_) return weir::error(made_);
  if (const weir::error* inside = find_error(thrown_)) return *inside;
  return weir::error(errc::err_unhandled_error, message());
}

std::string failure::message() const {
  if (made_) return made_->message;
  if (!thrown_) return std::string(weir::error(errc::err_unhandled_error).message());
  return detail::message_of(thrown_);
}

std::error_code failure::code() const noexcept {
  if (made_) return made_->base.code();
  if (const weir::error* inside = find_error(thrown_)) return inside->code();
  return errc::err_unhandled_error;
}

std::string_view failure::code_name() const noexcept { return weir::code_name(code()); }

bool failure::is_cancelled() const noexcept {
  if (made_) return made_->kind == detail::error_kind::cancelled;
  return dynamic_cast<const cancelled*>(find_error(thrown_)) != nullptr;
}

}  // namespace weir
