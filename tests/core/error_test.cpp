// tests/core/error_test.cpp: errors read as Node's do. The expected texts were printed by Node 20.
#include <weir/core/error.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace weir {
namespace {

static_assert(std::is_nothrow_copy_constructible_v<error> && std::is_nothrow_copy_assignable_v<error>);
static_assert(std::is_nothrow_default_constructible_v<cancelled>);

struct form {
  error made;
  std::string_view text;
  std::string_view code;
};

TEST(Error, reads_as_node_writes_it) {
  const form forms[] = {
      {os_error(ENOENT, "open", "/x"), "ENOENT: no such file or directory, open '/x'", "ENOENT"},
      {os_error(ENOENT, "open", ""), "ENOENT: no such file or directory, open ''", "ENOENT"},
      {os_error(EBADF, "read"), "EBADF: bad file descriptor, read", "EBADF"},
      {os_error(ENOENT, "rename", "a", "b"), "ENOENT: no such file or directory, rename 'a' -> 'b'", "ENOENT"},
      {os_error(EXDEV, "link", "a", "/m/b"), "EXDEV: cross-device link not permitted, link 'a' -> '/m/b'", "EXDEV"},
      {net_error(ECONNRESET, "read"), "read ECONNRESET", "ECONNRESET"},
      {net_error(ECONNREFUSED, "connect", "127.0.0.1", 80), "connect ECONNREFUSED 127.0.0.1:80", "ECONNREFUSED"},
      {net_error(ECONNREFUSED, "connect", "::1", 1), "connect ECONNREFUSED ::1:1", "ECONNREFUSED"},
      {net_error(ENOENT, "connect", "/nonexist"), "connect ENOENT /nonexist", "ENOENT"},
      {net_error(errc::err_socket_closed, "send", "::1", 9), "send ERR_SOCKET_CLOSED ::1:9", "ERR_SOCKET_CLOSED"},
      {listen_error(EADDRINUSE, "127.0.0.1", 8080), "listen EADDRINUSE: address already in use 127.0.0.1:8080",
       "EADDRINUSE"},
      {spawn_error(ENOENT, "/nope"), "spawn /nope ENOENT", "ENOENT"},
      {error(errc::err_stream_premature_close), "Premature close", "ERR_STREAM_PREMATURE_CLOSE"},
      {error(errc::err_out_of_range, "size is 9, at most 4"), "size is 9, at most 4", "ERR_OUT_OF_RANGE"},
      {cancelled(), "The operation was aborted", "ABORT_ERR"},
      {cancelled("2 s are over"), "The operation was aborted: 2 s are over", "ABORT_ERR"},
      {aggregate_error({}), "All promises were rejected", "ERR_UNHANDLED_ERROR"},
  };
  for (const form& each : forms) {
    EXPECT_EQ(each.made.what(), each.text);
    EXPECT_EQ(each.made.message(), each.text);
    EXPECT_EQ(each.made.code_name(), each.code);
    EXPECT_TRUE(each.made.is(each.code));
  }
}

TEST(Error, knows_the_words_of_libuv) {
  const struct {
    int value;
    std::string_view name, text;
  } rows[] = {
      {EACCES, "EACCES", "permission denied"},
      {EADDRINUSE, "EADDRINUSE", "address already in use"},
      {EAGAIN, "EAGAIN", "resource temporarily unavailable"},
      {EBUSY, "EBUSY", "resource busy or locked"},
      {ECANCELED, "ECANCELED", "operation canceled"},
      {ECONNRESET, "ECONNRESET", "connection reset by peer"},
      {EEXIST, "EEXIST", "file already exists"},
      {EISDIR, "EISDIR", "illegal operation on a directory"},
      {ELOOP, "ELOOP", "too many symbolic links encountered"},
      {EMFILE, "EMFILE", "too many open files"},
      {ENOMEM, "ENOMEM", "not enough memory"},
      {ENOTSUP, "ENOTSUP", "operation not supported on socket"},
      {EPIPE, "EPIPE", "broken pipe"},
      {ESRCH, "ESRCH", "no such process"},
      {ETIMEDOUT, "ETIMEDOUT", "connection timed out"},
      {ETXTBSY, "ETXTBSY", "text file is busy"},
      {EUNATCH, "EUNATCH", "protocol driver not attached"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(code_name({row.value, std::system_category()}), row.name);
    EXPECT_EQ(code_name({row.value, std::generic_category()}), row.name);
    EXPECT_EQ(errno_message(row.value), row.text);
  }
}

TEST(Error, names_errno_values_that_libuv_leaves_out_and_says_unknown_for_the_rest) {
  EXPECT_EQ(os_error(EKEYREJECTED, "keyctl").code_name(), "EKEYREJECTED");
  for (const int value : {0, -1, 134, 139, 140, 141, 4095, 1 << 30}) {
    EXPECT_STREQ(os_error(value, "open").what(), "UNKNOWN: unknown error, open") << value;
  }
  EXPECT_EQ(code_name(std::error_code(9999, category())), "UNKNOWN");
  EXPECT_EQ(code_name(std::error_code(-1, category())), "UNKNOWN");
}

TEST(Error, tells_operation_and_subject) {
  const error renamed = os_error(EXDEV, "rename", "a", "b");
  EXPECT_EQ(renamed.syscall(), "rename");
  EXPECT_EQ(renamed.path(), "a");
  EXPECT_EQ(renamed.dest(), "b");
  EXPECT_EQ(renamed.errno_value(), EXDEV);

  const error refused = net_error(ECONNREFUSED, "connect", "10.0.0.1", 443);
  EXPECT_EQ(refused.syscall(), "connect");
  EXPECT_EQ(refused.address(), "10.0.0.1");
  EXPECT_EQ(refused.port(), 443);
  EXPECT_EQ(refused.path(), "");

  const error spawned = spawn_error(EACCES, "/etc");
  EXPECT_EQ(spawned.syscall(), "spawn /etc");
  EXPECT_EQ(spawned.path(), "/etc");
  EXPECT_EQ(error(errc::err_closed).errno_value(), 0);
}

TEST(Error, is_a_system_error_that_compares_with_conditions_and_codes) {
  try {
    throw os_error(ENOENT, "open", "/x");
  } catch (const std::system_error& caught) {
    EXPECT_EQ(caught.code(), std::errc::no_such_file_or_directory);
    EXPECT_STREQ(caught.what(), "ENOENT: no such file or directory, open '/x'");
  }
  EXPECT_EQ(error(errc::err_closed).code(), errc::err_closed);
  EXPECT_NE(error(errc::err_closed).code(), errc::err_queue_full);
  EXPECT_EQ(error(errc::err_closed).code().message(), "Already closed");
  EXPECT_STREQ(category().name(), "weir");
}

TEST(Error, copies_share_one_state) {
  error copy(errc::err_closed);
  {
    const error original = os_error(ENOENT, "open", "/a/path/longer/than/any/short/string/buffer");
    copy = original;
    EXPECT_EQ(copy.what(), original.what());
  }
  EXPECT_EQ(copy.path(), "/a/path/longer/than/any/short/string/buffer");
  const error moved = std::move(copy);
  EXPECT_EQ(copy.path(), moved.path());  // NOLINT: an error that was moved from is still whole
  EXPECT_EQ(cancelled().what(), cancelled().what());
}

TEST(Error, cancellation_carries_its_reason) {
  EXPECT_EQ(cancelled().reason(), nullptr);
  const auto cause = std::make_exception_ptr(error(errc::err_timeout));
  const cancelled stopped(cause);
  EXPECT_EQ(stopped.reason(), cause);
  EXPECT_EQ(describe(std::make_exception_ptr(stopped)),
            "AbortError: The operation was aborted\n"
            "  [cause]: Error [ERR_TIMEOUT]: The operation timed out");
}

TEST(Error, finds_itself_in_an_exception_pointer_without_a_throw) {
  struct special : error {
    special() : error(errc::err_closed) {}
  };
  struct mixed : std::runtime_error, std::nested_exception {
    mixed() : std::runtime_error("mixed") {}
  };
  EXPECT_EQ(find_error(nullptr), nullptr);
  EXPECT_EQ(find_error(std::make_exception_ptr(7)), nullptr);
  EXPECT_EQ(find_error(std::make_exception_ptr(mixed())), nullptr);
  EXPECT_EQ(find_error(std::make_exception_ptr(std::system_error(errc::err_closed))), nullptr);
  const auto thrown = std::make_exception_ptr(special());
  ASSERT_NE(find_error(thrown), nullptr);
  EXPECT_TRUE(find_error(thrown)->is("ERR_CLOSED"));
  EXPECT_NE(dynamic_cast<const special*>(find_error(thrown)), nullptr);
}

TEST(Error, describes_whatever_was_thrown) {
  EXPECT_EQ(describe(nullptr), "no error");
  EXPECT_EQ(describe(std::make_exception_ptr(std::runtime_error("boom"))), "Error: boom");
  EXPECT_EQ(describe(std::make_exception_ptr(std::string("text"))), "Error: text");
  EXPECT_EQ(describe(std::make_exception_ptr(7)), "Error: exception of type int");
  EXPECT_EQ(describe(std::make_exception_ptr(os_error(EBADF, "read"))), "Error: EBADF: bad file descriptor, read");
  EXPECT_EQ(describe(std::make_exception_ptr(error(errc::err_closed))), "Error [ERR_CLOSED]: Already closed");
}

TEST(Error, describes_nested_exceptions_as_causes) {
  std::exception_ptr outer;
  try {
    try {
      throw std::runtime_error("inner");
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  } catch (...) {
    outer = std::current_exception();
  }
  EXPECT_EQ(describe(outer), "Error: outer\n  [cause]: Error: inner");
}

TEST(Error, describes_an_aggregate_with_all_its_errors) {
  const auto inner = std::make_exception_ptr(aggregate_error({std::make_exception_ptr(std::runtime_error("deep"))}));
  const aggregate_error all({std::make_exception_ptr(error(errc::err_closed)), inner}, "none worked");
  EXPECT_EQ(all.errors().size(), 2u);
  EXPECT_EQ(describe(std::make_exception_ptr(all)),
            "AggregateError: none worked\n"
            "  [errors]: Error [ERR_CLOSED]: Already closed\n"
            "  [errors]: AggregateError: All promises were rejected\n"
            "    [errors]: Error: deep");
}

TEST(Error, describes_endless_chains_of_causes_within_reason) {
  auto chain = std::make_exception_ptr(cancelled());
  for (int i = 0; i < 1000; ++i) chain = std::make_exception_ptr(cancelled(chain));
  const std::string text = describe(chain);
  EXPECT_LT(text.size(), 2000u);
  EXPECT_TRUE(text.ends_with("[cause]: ..."));
}

TEST(Error, attaches_later_failures_and_keeps_the_first_ones_type) {
  const auto other = std::make_exception_ptr(std::runtime_error("later"));
  const auto another = std::make_exception_ptr(error(errc::err_closed));
  const auto first = attach(attach(std::make_exception_ptr(os_error(EIO, "write", "/d")), {other}), {another});
  EXPECT_EQ(describe(first),
            "Error: EIO: i/o error, write '/d'\n  [also]: Error: later\n"
            "  [also]: Error [ERR_CLOSED]: Already closed");
  EXPECT_EQ(find_error(first)->path(), "/d");

  EXPECT_THROW(std::rethrow_exception(attach(std::make_exception_ptr(cancelled(other)), {another})), cancelled);
  EXPECT_THROW(std::rethrow_exception(attach(std::make_exception_ptr(aggregate_error({other})), {another})),
               aggregate_error);
}

TEST(Error, attaching_leaves_foreign_types_and_empty_lists_alone) {
  struct special : error {
    special() : error(errc::err_closed) {}
  };
  const auto other = std::make_exception_ptr(1);
  const auto foreign = std::make_exception_ptr(std::runtime_error("foreign"));
  const auto derived = std::make_exception_ptr(special());
  const auto own = std::make_exception_ptr(error(errc::err_closed));
  EXPECT_EQ(attach(foreign, {other}), foreign);
  EXPECT_EQ(attach(derived, {other}), derived);
  EXPECT_EQ(attach(own, {}), own);
  EXPECT_EQ(attach(nullptr, {other}), nullptr);
}

}  // namespace
}  // namespace weir
