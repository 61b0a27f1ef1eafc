// core/error.hpp: what every failure of weir looks like, and the one table of our own error codes.
// Rests on std::system_error and on nothing else of weir. An error carries Node's code name, the
// operation and its subject, in Node's words; copying one never allocates and never throws.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

// clang-format off: a table has a row for each code
/// Every code of our own: enumerator, code name, default message. A new code is one line here.
/// Names and texts are Node's where Node has the code (https://nodejs.org/api/errors.html).
#define WEIR_ERROR_CODES(entry)                                                                                        \
  entry(abort_err, "ABORT_ERR", "The operation was aborted")                                                           \
  entry(err_buffer_out_of_bounds, "ERR_BUFFER_OUT_OF_BOUNDS", "Attempt to access memory outside buffer bounds")        \
  entry(err_buffer_too_large, "ERR_BUFFER_TOO_LARGE", "Cannot create a buffer of this size")                           \
  entry(err_child_process_stdio_maxbuffer, "ERR_CHILD_PROCESS_STDIO_MAXBUFFER", "maxBuffer length exceeded")           \
  entry(err_circuit_open, "ERR_CIRCUIT_OPEN", "The circuit is open")                                                   \
  entry(err_closed, "ERR_CLOSED", "Already closed")                                                                    \
  entry(err_crypto_hash_finalized, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called")                               \
  entry(err_crypto_invalid_keylen, "ERR_CRYPTO_INVALID_KEYLEN", "Invalid key length")                                  \
  entry(err_crypto_timing_safe_equal_length, "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH",                                    \
        "Input buffers must have the same byte length")                                                                \
  entry(err_encoding_invalid_encoded_data, "ERR_ENCODING_INVALID_ENCODED_DATA", "The encoded data was not valid")      \
  entry(err_http_body_not_allowed, "ERR_HTTP_BODY_NOT_ALLOWED",                                                        \
        "Adding content for this request method or response status is not allowed.")                                   \
  entry(err_http_content_length_mismatch, "ERR_HTTP_CONTENT_LENGTH_MISMATCH",                                          \
        "Response body's content-length does not match the content-length header")                                     \
  entry(err_http_headers_sent, "ERR_HTTP_HEADERS_SENT", "Cannot set headers after they are sent to the client")        \
  entry(err_http_invalid_header_value, "ERR_HTTP_INVALID_HEADER_VALUE", "Invalid header value")                        \
  entry(err_http_invalid_status_code, "ERR_HTTP_INVALID_STATUS_CODE", "Invalid status code")                           \
  entry(err_http_request_timeout, "ERR_HTTP_REQUEST_TIMEOUT", "Request timeout")                                       \
  entry(err_invalid_address, "ERR_INVALID_ADDRESS", "Invalid address")                                                 \
  entry(err_invalid_arg_type, "ERR_INVALID_ARG_TYPE", "The argument is of the wrong type")                             \
  entry(err_invalid_arg_value, "ERR_INVALID_ARG_VALUE", "The argument is invalid")                                     \
  entry(err_invalid_buffer_size, "ERR_INVALID_BUFFER_SIZE", "Buffer size is invalid")                                  \
  entry(err_invalid_char, "ERR_INVALID_CHAR", "Invalid character")                                                     \
  entry(err_invalid_http_token, "ERR_INVALID_HTTP_TOKEN", "Invalid HTTP token")                                        \
  entry(err_invalid_return_value, "ERR_INVALID_RETURN_VALUE", "The function returned a value of the wrong kind")       \
  entry(err_invalid_state, "ERR_INVALID_STATE", "Invalid state")                                                       \
  entry(err_invalid_url, "ERR_INVALID_URL", "Invalid URL")                                                             \
  entry(err_method_not_implemented, "ERR_METHOD_NOT_IMPLEMENTED", "The method is not implemented")                     \
  entry(err_missing_args, "ERR_MISSING_ARGS", "An argument is missing")                                                \
  entry(err_multiple_callback, "ERR_MULTIPLE_CALLBACK", "Callback called multiple times")                              \
  entry(err_out_of_range, "ERR_OUT_OF_RANGE", "The value is out of range")                                             \
  entry(err_queue_full, "ERR_QUEUE_FULL", "The queue is full")                                                         \
  entry(err_rate_limited, "ERR_RATE_LIMITED", "The rate limit has been reached")                                       \
  entry(err_server_already_listen, "ERR_SERVER_ALREADY_LISTEN",                                                        \
        "Listen method has been called more than once without closing.")                                               \
  entry(err_server_not_running, "ERR_SERVER_NOT_RUNNING", "Server is not running.")                                    \
  entry(err_socket_already_bound, "ERR_SOCKET_ALREADY_BOUND", "Socket is already bound")                               \
  entry(err_socket_bad_port, "ERR_SOCKET_BAD_PORT", "Port should be >= 0 and < 65536.")                                \
  entry(err_socket_closed, "ERR_SOCKET_CLOSED", "Socket is closed")                                                    \
  entry(err_stream_already_finished, "ERR_STREAM_ALREADY_FINISHED", "The stream is already finished")                  \
  entry(err_stream_cannot_pipe, "ERR_STREAM_CANNOT_PIPE", "Cannot pipe, not readable")                                 \
  entry(err_stream_destroyed, "ERR_STREAM_DESTROYED", "The stream was destroyed")                                      \
  entry(err_stream_null_values, "ERR_STREAM_NULL_VALUES", "May not write null values to stream")                       \
  entry(err_stream_premature_close, "ERR_STREAM_PREMATURE_CLOSE", "Premature close")                                   \
  entry(err_stream_push_after_eof, "ERR_STREAM_PUSH_AFTER_EOF", "stream.push() after EOF")                             \
  entry(err_stream_unable_to_pipe, "ERR_STREAM_UNABLE_TO_PIPE", "Cannot pipe to a closed or destroyed stream")         \
  entry(err_stream_unshift_after_end_event, "ERR_STREAM_UNSHIFT_AFTER_END_EVENT", "stream.unshift() after end event")  \
  entry(err_stream_write_after_end, "ERR_STREAM_WRITE_AFTER_END", "write after end")                                   \
  entry(err_timeout, "ERR_TIMEOUT", "The operation timed out")                                                         \
  entry(err_unhandled_error, "ERR_UNHANDLED_ERROR", "Unhandled error.")                                                \
  entry(err_unknown_encoding, "ERR_UNKNOWN_ENCODING", "Unknown encoding")                                              \
  entry(err_unknown_signal, "ERR_UNKNOWN_SIGNAL", "Unknown signal")                                                    \
  entry(err_worker_init_failed, "ERR_WORKER_INIT_FAILED", "Worker initialization failure")                             \
  entry(err_worker_not_running, "ERR_WORKER_NOT_RUNNING", "Worker instance not running")                               \
  entry(err_worker_terminated, "ERR_WORKER_TERMINATED", "The worker was terminated")                                   \
  entry(err_invalid_file_url_host, "ERR_INVALID_FILE_URL_HOST",                                                        \
        "File URL host must be \"localhost\" or empty on linux")                                                       \
  entry(err_invalid_file_url_path, "ERR_INVALID_FILE_URL_PATH", "File URL path must be absolute")                      \
  entry(err_invalid_url_scheme, "ERR_INVALID_URL_SCHEME", "The URL must be of scheme file")                            \
  entry(err_fs_cp_dir_to_non_dir, "ERR_FS_CP_DIR_TO_NON_DIR", "Cannot overwrite non-directory with directory")         \
  entry(err_fs_cp_eexist, "ERR_FS_CP_EEXIST", "Target already exists")                                                 \
  entry(err_fs_cp_einval, "ERR_FS_CP_EINVAL", "Invalid src or dest")                                                   \
  entry(err_fs_cp_fifo_pipe, "ERR_FS_CP_FIFO_PIPE", "Cannot copy a FIFO pipe")                                         \
  entry(err_fs_cp_non_dir_to_dir, "ERR_FS_CP_NON_DIR_TO_DIR", "Cannot overwrite directory with non-directory")         \
  entry(err_fs_cp_socket, "ERR_FS_CP_SOCKET", "Cannot copy a socket file")                                             \
  entry(err_fs_cp_symlink_to_subdirectory, "ERR_FS_CP_SYMLINK_TO_SUBDIRECTORY",                                        \
        "Cannot overwrite symlink in subdirectory of self")                                                            \
  entry(err_fs_cp_unknown, "ERR_FS_CP_UNKNOWN", "Cannot copy an unknown file type")                                    \
  entry(err_fs_eisdir, "ERR_FS_EISDIR", "Path is a directory")                                                         \
  entry(err_http_trailer_invalid, "ERR_HTTP_TRAILER_INVALID",                                                          \
        "Trailers are invalid with this transfer encoding")                                                            \
  entry(err_encoding_not_supported, "ERR_ENCODING_NOT_SUPPORTED", "The encoding is not supported")
// clang-format on

namespace weir {

/// The codes that are not the system's. `e.code() == weir::errc::err_closed` works on any std::system_error.
enum class errc : int {
  none = 0,
#define WEIR_ENUMERATOR(name, text, message) name,
  WEIR_ERROR_CODES(WEIR_ENUMERATOR)
#undef WEIR_ENUMERATOR
};

/// The category "weir" of the codes above.
const std::error_category& category() noexcept;
std::error_code make_error_code(errc code) noexcept;

/// "ENOENT" for system and generic codes, "ERR_CLOSED" for ours; another category's own name for its codes.
/// Numbers that Linux does not know are "UNKNOWN". The text is static.
std::string_view code_name(std::error_code code) noexcept;

/// The words libuv and Node have for an errno value: EADDRINUSE is "address already in use".
std::string_view errno_message(int errno_value) noexcept;

class error;
class failure;

namespace detail {

struct error_state;

/// A share in an error's immutable state.
class error_share {
 public:
  explicit error_share(error_state* owned) noexcept : state_(owned) {}
  error_share(const error_share& other) noexcept;
  error_share(error_share&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  error_share& operator=(error_share other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~error_share() {
    if (state_ != nullptr) release();
  }

  const error_state* operator->() const noexcept { return state_; }
  const error_state& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  void release() noexcept;

  error_state* state_;
};

}  // namespace detail

/// What an error is about; whatever does not apply stays empty.
struct error_subject {
  std::string_view operation = {};  ///< "open", "connect"
  std::string_view path = {};
  std::string_view dest = {};     ///< the second path of rename, link, symlink, copyfile
  std::string_view address = {};  ///< an IP address, a host name, a Unix socket's path
  std::uint16_t port = 0;
};

/// A failure with Node's face. Immutable; copies share one state, so copying is cheap and cannot throw, and
/// the views that the accessors return live as long as any copy does.
class error : public std::system_error {
 public:
  /// One of our codes with its default message.
  explicit error(errc code);

  /// One of our codes with a message that says more; `message` is all that `what()` returns.
  error(errc code, std::string message, const error_subject& subject = {});

  /// Any code with a complete message. The functions below make the usual forms.
  error(std::error_code code, std::string message, const error_subject& subject = {});

  error(const error&) noexcept = default;
  error& operator=(const error&) noexcept = default;
  ~error() override = default;

  const char* what() const noexcept override;

  std::string_view message() const noexcept;    ///< the same as what()
  std::string_view code_name() const noexcept;  ///< "ENOENT", "ABORT_ERR"
  std::string_view syscall() const noexcept;    ///< the operation: "open"
  std::string_view path() const noexcept;
  std::string_view dest() const noexcept;
  std::string_view address() const noexcept;
  std::uint16_t port() const noexcept;
  int errno_value() const noexcept;  ///< positive errno, or 0 where the system had no part in it

  bool is(std::string_view name) const noexcept { return code_name() == name; }

  /// Failures that came with this one: the siblings that failed after it in the same scope.
  std::span<const std::exception_ptr> attached() const noexcept;

 protected:
  explicit error(detail::error_share state) noexcept;

  detail::error_share state_;

  friend class failure;
  friend std::exception_ptr attach(std::exception_ptr first, std::vector<std::exception_ptr> others);
};

/// A file operation's error: "ENOENT: no such file or directory, open '/x'".
error os_error(int errno_value, std::string_view operation);
error os_error(int errno_value, std::string_view operation, std::string_view path);
/// "EXDEV: cross-device link not permitted, rename 'a' -> 'b'".
error os_error(int errno_value, std::string_view operation, std::string_view path, std::string_view dest);

/// A socket operation's error: "read ECONNRESET".
error net_error(int errno_value, std::string_view operation);
/// "connect ECONNREFUSED 127.0.0.1:80"; port 0 is left out, as for a Unix socket's path.
error net_error(int errno_value, std::string_view operation, std::string_view address, std::uint16_t port = 0);
/// The same form for a code of ours.
error net_error(errc code, std::string_view operation, std::string_view address, std::uint16_t port = 0);

/// "listen EADDRINUSE: address already in use 127.0.0.1:80".
error listen_error(int errno_value, std::string_view address, std::uint16_t port = 0);

/// "spawn /nope ENOENT".
error spawn_error(int errno_value, std::string_view file);

/// What a cancelled operation throws (Node's AbortError).
class cancelled : public error {
 public:
  /// Allocates nothing.
  cancelled() noexcept;
  /// "The operation was aborted: <why>"
  explicit cancelled(std::string_view why);
  /// @param reason the failure that led to the cancellation, or null
  explicit cancelled(std::exception_ptr reason);

  /// The failure that led here, or null.
  std::exception_ptr reason() const noexcept;

 private:
  friend class failure;
  friend std::exception_ptr attach(std::exception_ptr first, std::vector<std::exception_ptr> others);
  explicit cancelled(detail::error_share state) noexcept : error(std::move(state)) {}
};

/// Several failures as one, none of them first (Node's AggregateError): what `any` throws if nothing succeeds.
/// Its code is ERR_UNHANDLED_ERROR.
class aggregate_error : public error {
 public:
  explicit aggregate_error(std::vector<std::exception_ptr> errors, std::string message = "All promises were rejected");

  std::span<const std::exception_ptr> errors() const noexcept;

 private:
  friend class failure;
  friend std::exception_ptr attach(std::exception_ptr first, std::vector<std::exception_ptr> others);
  explicit aggregate_error(detail::error_share state) noexcept : error(std::move(state)) {}
};

/// `first` with `others` attached, of the same type as before. Only `error`, `cancelled` and
/// `aggregate_error` have a place for them: anything else comes back as it is, without the others.
std::exception_ptr attach(std::exception_ptr first, std::vector<std::exception_ptr> others);

/// The weir::error inside `thrown`, or null. Does not throw; the object lives as long as `thrown`.
const error* find_error(const std::exception_ptr& thrown) noexcept;

/// What a person should read about a failure: "Error: message", one more indented line for each cause
/// and each attached failure. A null pointer is "no error".
std::string describe(const std::exception_ptr& thrown);

}  // namespace weir

template <>
struct std::is_error_code_enum<weir::errc> : std::true_type {};
