// core/error.cpp: the table of the system's error names and words, the messages in Node's forms, and the
// text that describes a failure. Rests on glibc's strerrorname_np for the values that libuv leaves out.
#include <weir/core/error.hpp>
#include <weir/core/error_state.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <typeinfo>

#include <cxxabi.h>

namespace weir {
namespace {

struct errno_entry {
  int value;
  std::string_view name;
  std::string_view message;
};

// util.getSystemErrorMap() of Node 20, which is libuv's uv_strerror: the values that exist on Linux.
constexpr errno_entry errno_table[] = {
    {E2BIG, "E2BIG", "argument list too long"},
    {EACCES, "EACCES", "permission denied"},
    {EADDRINUSE, "EADDRINUSE", "address already in use"},
    {EADDRNOTAVAIL, "EADDRNOTAVAIL", "address not available"},
    {EAFNOSUPPORT, "EAFNOSUPPORT", "address family not supported"},
    {EAGAIN, "EAGAIN", "resource temporarily unavailable"},
    {EALREADY, "EALREADY", "connection already in progress"},
    {EBADF, "EBADF", "bad file descriptor"},
    {EBUSY, "EBUSY", "resource busy or locked"},
    {ECANCELED, "ECANCELED", "operation canceled"},
    {ECONNABORTED, "ECONNABORTED", "software caused connection abort"},
    {ECONNREFUSED, "ECONNREFUSED", "connection refused"},
    {ECONNRESET, "ECONNRESET", "connection reset by peer"},
    {EDESTADDRREQ, "EDESTADDRREQ", "destination address required"},
    {EEXIST, "EEXIST", "file already exists"},
    {EFAULT, "EFAULT", "bad address in system call argument"},
    {EFBIG, "EFBIG", "file too large"},
    {EHOSTDOWN, "EHOSTDOWN", "host is down"},
    {EHOSTUNREACH, "EHOSTUNREACH", "host is unreachable"},
    {EILSEQ, "EILSEQ", "illegal byte sequence"},
    {EINTR, "EINTR", "interrupted system call"},
    {EINVAL, "EINVAL", "invalid argument"},
    {EIO, "EIO", "i/o error"},
    {EISCONN, "EISCONN", "socket is already connected"},
    {EISDIR, "EISDIR", "illegal operation on a directory"},
    {ELOOP, "ELOOP", "too many symbolic links encountered"},
    {EMFILE, "EMFILE", "too many open files"},
    {EMLINK, "EMLINK", "too many links"},
    {EMSGSIZE, "EMSGSIZE", "message too long"},
    {ENAMETOOLONG, "ENAMETOOLONG", "name too long"},
    {ENETDOWN, "ENETDOWN", "network is down"},
    {ENETUNREACH, "ENETUNREACH", "network is unreachable"},
    {ENFILE, "ENFILE", "file table overflow"},
    {ENOBUFS, "ENOBUFS", "no buffer space available"},
    {ENODATA, "ENODATA", "no data available"},
    {ENODEV, "ENODEV", "no such device"},
    {ENOENT, "ENOENT", "no such file or directory"},
    {ENOMEM, "ENOMEM", "not enough memory"},
    {ENONET, "ENONET", "machine is not on the network"},
    {ENOPROTOOPT, "ENOPROTOOPT", "protocol not available"},
    {ENOSPC, "ENOSPC", "no space left on device"},
    {ENOSYS, "ENOSYS", "function not implemented"},
    {ENOTCONN, "ENOTCONN", "socket is not connected"},
    {ENOTDIR, "ENOTDIR", "not a directory"},
    {ENOTEMPTY, "ENOTEMPTY", "directory not empty"},
    {ENOTSOCK, "ENOTSOCK", "socket operation on non-socket"},
    {ENOTSUP, "ENOTSUP", "operation not supported on socket"},
    {ENOTTY, "ENOTTY", "inappropriate ioctl for device"},
    {ENXIO, "ENXIO", "no such device or address"},
    {EOVERFLOW, "EOVERFLOW", "value too large for defined data type"},
    {EPERM, "EPERM", "operation not permitted"},
    {EPIPE, "EPIPE", "broken pipe"},
    {EPROTO, "EPROTO", "protocol error"},
    {EPROTONOSUPPORT, "EPROTONOSUPPORT", "protocol not supported"},
    {EPROTOTYPE, "EPROTOTYPE", "protocol wrong type for socket"},
    {ERANGE, "ERANGE", "result too large"},
    {EREMOTEIO, "EREMOTEIO", "remote I/O error"},
    {EROFS, "EROFS", "read-only file system"},
    {ESHUTDOWN, "ESHUTDOWN", "cannot send after transport endpoint shutdown"},
    {ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT", "socket type not supported"},
    {ESPIPE, "ESPIPE", "invalid seek"},
    {ESRCH, "ESRCH", "no such process"},
    {ETIMEDOUT, "ETIMEDOUT", "connection timed out"},
    {ETXTBSY, "ETXTBSY", "text file is busy"},
    {EUNATCH, "EUNATCH", "protocol driver not attached"},
    {EXDEV, "EXDEV", "cross-device link not permitted"},
};

constexpr int errno_limit = 140;

// errno -> row + 1, so that a lookup is an array access.
constexpr auto errno_index = [] {
  std::array<std::uint8_t, errno_limit> index{};
  for (std::size_t row = 0; row < std::size(errno_table); ++row) {
    index[static_cast<std::size_t>(errno_table[row].value)] = static_cast<std::uint8_t>(row + 1);
  }
  return index;
}();

errno_entry lookup(int value) noexcept {
  if (value > 0 && value < errno_limit) {
    if (const auto row = errno_index[static_cast<std::size_t>(value)]) return errno_table[row - 1];
  }
  const char* name = ::strerrorname_np(value);
  const char* message = ::strerrordesc_np(value);
  if (value == 0 || name == nullptr || message == nullptr) return {value, "UNKNOWN", "unknown error"};
  return {value, name, message};
}

struct code_entry {
  std::string_view name;
  std::string_view message;
};

constexpr code_entry code_table[] = {{"UNKNOWN", "unknown error"},
#define WEIR_ROW(name, text, message) {text, message},
                                     WEIR_ERROR_CODES(WEIR_ROW)
#undef WEIR_ROW
};

code_entry lookup(errc code) noexcept {
  const auto row = static_cast<std::size_t>(code);
  return row < std::size(code_table) ? code_table[row] : code_table[0];
}

class weir_category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "weir"; }
  std::string message(int value) const override { return std::string(lookup(static_cast<errc>(value)).message); }
};

bool is_errno(std::error_code code) noexcept {
  return code.category() == std::system_category() || code.category() == std::generic_category();
}

std::error_code system_code(int errno_value) noexcept { return {errno_value, std::system_category()}; }

std::unique_ptr<detail::error_state> new_state(std::error_code code, std::string message,
                                               const error_subject& subject = {}) {
  return std::unique_ptr<detail::error_state>(new detail::error_state{
      .port = subject.port,
      .base = std::system_error(code),
      .message = std::move(message),
      .operation = std::string(subject.operation),
      .path = std::string(subject.path),
      .dest = std::string(subject.dest),
      .address = std::string(subject.address),
  });
}

detail::error_share share(std::unique_ptr<detail::error_state> state) noexcept {
  return detail::error_share(state.release());
}

detail::error_share new_cancelled(std::string message, std::exception_ptr reason) {
  auto state = new_state(errc::abort_err, std::move(message));
  state->kind = detail::error_kind::cancelled;
  state->reason = std::move(reason);
  return share(std::move(state));
}

detail::error_share new_aggregate(std::vector<std::exception_ptr> errors, std::string message) {
  auto state = new_state(errc::err_unhandled_error, std::move(message));
  state->kind = detail::error_kind::aggregate;
  state->errors = std::move(errors);
  return share(std::move(state));
}

// Cancelling a thousand tasks should not cost a thousand texts: they share this one. It is made at the
// first use and never destroyed, because tasks may still be cancelled while statics are torn down.
const detail::error_share& plain_cancelled() {
  static const auto& state =
      *new detail::error_share(new_cancelled(std::string(lookup(errc::abort_err).message), nullptr));
  return state;
}

std::string place(std::string_view address, std::uint16_t port) {
  return port == 0 ? std::string(address) : fmt::format("{}:{}", address, port);
}

std::string demangled(const std::type_info* type) {
  if (type == nullptr) return "unknown type";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  return text ? text.get() : type->name();
}

// The object inside `thrown` seen as an E, or null. Asking the type whether it would be caught as E is what a
// catch clause does; it saves the throw that standard C++20 needs to look inside. Without libstdc++ that throw
// is made; the object is the same one (the Itanium ABI does not copy it), so the pointer stays good.
template <class E>
const E* find(const std::exception_ptr& thrown) noexcept {
  if (!thrown) return nullptr;
#ifdef __GLIBCXX__
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  void* object = nullptr;
  std::memcpy(&object, static_cast<const void*>(&thrown), sizeof object);
  const std::type_info* type = thrown.__cxa_exception_type();
  return typeid(E).__do_catch(type, &object, 1) ? static_cast<const E*>(object) : nullptr;
#else
  try {
    std::rethrow_exception(thrown);
  } catch (const E& inside) {
    return &inside;
  } catch (...) {
    return nullptr;
  }
#endif
}

std::string type_name_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (...) {
    return demangled(abi::__cxa_current_exception_type());
  }
}

std::string headline(const std::exception_ptr& thrown) {
  const error* known = find<error>(thrown);
  if (known == nullptr) return "Error: " + detail::message_of(thrown);
  if (dynamic_cast<const cancelled*>(known)) return fmt::format("AbortError: {}", known->message());
  if (dynamic_cast<const aggregate_error*>(known)) return fmt::format("AggregateError: {}", known->message());
  if (known->errno_value() != 0) return fmt::format("Error: {}", known->message());
  return fmt::format("Error [{}]: {}", known->code_name(), known->message());
}

constexpr std::size_t deepest = 16;  // chains of causes are written by programs; the text must stay readable

void describe_to(std::string& text, const std::exception_ptr& thrown, std::size_t depth);

void describe_one(std::string& text, std::string_view label, const std::exception_ptr& thrown, std::size_t depth) {
  if (!thrown) return;
  text.append("\n").append(2 * depth, ' ').append(label);
  if (depth >= deepest)
    text += "...";
  else
    describe_to(text, thrown, depth);
}

void describe_to(std::string& text, const std::exception_ptr& thrown, std::size_t depth) {
  text += headline(thrown);
  if (const auto* nested = find<std::nested_exception>(thrown)) {
    describe_one(text, "[cause]: ", nested->nested_ptr(), depth + 1);
  }
  const error* known = find<error>(thrown);
  if (known == nullptr) return;
  if (const auto* stopped = dynamic_cast<const cancelled*>(known)) {
    describe_one(text, "[cause]: ", stopped->reason(), depth + 1);
  }
  if (const auto* several = dynamic_cast<const aggregate_error*>(known)) {
    for (const auto& each : several->errors()) describe_one(text, "[errors]: ", each, depth + 1);
  }
  for (const auto& each : known->attached()) describe_one(text, "[also]: ", each, depth + 1);
}

}  // namespace

namespace detail {

error_share::error_share(const error_share& other) noexcept : state_(other.state_) {
  if (state_ != nullptr) state_->shares.fetch_add(1, std::memory_order_relaxed);
}

void error_share::release() noexcept {
  if (state_->shares.fetch_sub(1, std::memory_order_acq_rel) == 1) delete state_;
}

std::string message_of(const std::exception_ptr& thrown) {
  if (const auto* known = find<std::exception>(thrown)) return known->what();
  if (const auto* text = find<std::string>(thrown)) return *text;
  return "exception of type " + type_name_of(thrown);
}

}  // namespace detail

const std::error_category& category() noexcept {
  static const weir_category the;
  return the;
}

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), category()}; }

std::string_view code_name(std::error_code code) noexcept {
  if (is_errno(code)) return lookup(code.value()).name;
  if (code.category() == category()) return lookup(static_cast<errc>(code.value())).name;
  return code.category().name();
}

std::string_view errno_message(int errno_value) noexcept { return lookup(errno_value).message; }

error::error(detail::error_share state) noexcept : std::system_error(state->base), state_(std::move(state)) {}

error::error(errc code) : error(code, std::string(lookup(code).message)) {}

error::error(errc code, std::string message, const error_subject& subject)
    : error(make_error_code(code), std::move(message), subject) {}

error::error(std::error_code code, std::string message, const error_subject& subject)
    : error(share(new_state(code, std::move(message), subject))) {}

const char* error::what() const noexcept { return state_->message.c_str(); }
std::string_view error::message() const noexcept { return state_->message; }
std::string_view error::code_name() const noexcept { return weir::code_name(code()); }
std::string_view error::syscall() const noexcept { return state_->operation; }
std::string_view error::path() const noexcept { return state_->path; }
std::string_view error::dest() const noexcept { return state_->dest; }
std::string_view error::address() const noexcept { return state_->address; }
std::uint16_t error::port() const noexcept { return state_->port; }
int error::errno_value() const noexcept { return is_errno(code()) ? code().value() : 0; }
std::span<const std::exception_ptr> error::attached() const noexcept { return state_->attached; }

error os_error(int errno_value, std::string_view operation) {
  const auto known = lookup(errno_value);
  return error(system_code(errno_value), fmt::format("{}: {}, {}", known.name, known.message, operation),
               {.operation = operation});
}

error os_error(int errno_value, std::string_view operation, std::string_view path) {
  const auto known = lookup(errno_value);
  return error(system_code(errno_value), fmt::format("{}: {}, {} '{}'", known.name, known.message, operation, path),
               {.operation = operation, .path = path});
}

error os_error(int errno_value, std::string_view operation, std::string_view path, std::string_view dest) {
  const auto known = lookup(errno_value);
  return error(system_code(errno_value),
               fmt::format("{}: {}, {} '{}' -> '{}'", known.name, known.message, operation, path, dest),
               {.operation = operation, .path = path, .dest = dest});
}

error net_error(int errno_value, std::string_view operation) {
  return error(system_code(errno_value), fmt::format("{} {}", operation, lookup(errno_value).name),
               {.operation = operation});
}

error net_error(int errno_value, std::string_view operation, std::string_view address, std::uint16_t port) {
  return error(system_code(errno_value),
               fmt::format("{} {} {}", operation, lookup(errno_value).name, place(address, port)),
               {.operation = operation, .address = address, .port = port});
}

error net_error(errc code, std::string_view operation, std::string_view address, std::uint16_t port) {
  return error(code, fmt::format("{} {} {}", operation, lookup(code).name, place(address, port)),
               {.operation = operation, .address = address, .port = port});
}

error listen_error(int errno_value, std::string_view address, std::uint16_t port) {
  const auto known = lookup(errno_value);
  return error(system_code(errno_value),
               fmt::format("listen {}: {} {}", known.name, known.message, place(address, port)),
               {.operation = "listen", .address = address, .port = port});
}

error spawn_error(int errno_value, std::string_view file) {
  const std::string operation = fmt::format("spawn {}", file);
  return error(system_code(errno_value), fmt::format("{} {}", operation, lookup(errno_value).name),
               {.operation = operation, .path = file});
}

cancelled::cancelled() noexcept : error(plain_cancelled()) {}

cancelled::cancelled(std::string_view why)
    : error(new_cancelled(fmt::format("{}: {}", lookup(errc::abort_err).message, why), nullptr)) {}

cancelled::cancelled(std::exception_ptr reason)
    : error(new_cancelled(std::string(lookup(errc::abort_err).message), std::move(reason))) {}

std::exception_ptr cancelled::reason() const noexcept { return state_->reason; }

aggregate_error::aggregate_error(std::vector<std::exception_ptr> errors, std::string message)
    : error(new_aggregate(std::move(errors), std::move(message))) {}

std::span<const std::exception_ptr> aggregate_error::errors() const noexcept { return state_->errors; }

std::exception_ptr attach(std::exception_ptr first, std::vector<std::exception_ptr> others) {
  const error* known = find_error(first);
  if (known == nullptr || others.empty()) return first;
  const std::type_info& type = typeid(*known);
  if (type != typeid(error) && type != typeid(cancelled) && type != typeid(aggregate_error)) return first;

  const detail::error_state& old = *known->state_;
  auto state = new_state(old.base.code(), old.message, {old.operation, old.path, old.dest, old.address, old.port});
  state->kind = old.kind;
  state->reason = old.reason;
  state->errors = old.errors;
  state->attached = old.attached;
  std::move(others.begin(), others.end(), std::back_inserter(state->attached));
  auto shared = share(std::move(state));
  switch (old.kind) {
    case detail::error_kind::cancelled: return std::make_exception_ptr(cancelled(std::move(shared)));
    case detail::error_kind::aggregate: return std::make_exception_ptr(aggregate_error(std::move(shared)));
    case detail::error_kind::plain: break;
  }
  return std::make_exception_ptr(error(std::move(shared)));
}

const error* find_error(const std::exception_ptr& thrown) noexcept { return find<error>(thrown); }

std::string describe(const std::exception_ptr& thrown) {
  if (!thrown) return "no error";
  std::string text;
  describe_to(text, thrown, 0);
  return text;
}

}  // namespace weir
