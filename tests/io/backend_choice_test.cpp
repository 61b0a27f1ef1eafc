// tests/io/backend_choice_test.cpp: which backend a runtime gets. Where io_uring has to be refused it really is, by a
// seccomp filter, in a process of its own.
#include <weir/core/error.hpp>
#include <weir/core/runtime.hpp>
#include <weir/io/backend_choice.hpp>
#include <weir/io/epoll_backend.hpp>
#include <weir/io/uring_backend.hpp>

#include <tests/support/backend_rig.hpp>
#include <tests/support/http_client.hpp>
#include <tests/support/run.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

namespace weir::io {
namespace {

using namespace weir::testing;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// WEIR_BACKEND for the time of a test.
class wish {
 public:
  explicit wish(const char* value) {
    if (const char* before = std::getenv("WEIR_BACKEND")) before_ = before;
    ::setenv("WEIR_BACKEND", value, 1);
  }
  wish(const wish&) = delete;
  wish& operator=(const wish&) = delete;
  ~wish() {
    if (before_) {
      ::setenv("WEIR_BACKEND", before_->c_str(), 1);
    } else {
      ::unsetenv("WEIR_BACKEND");
    }
  }

 private:
  std::optional<std::string> before_;
};

task<std::string> report() { co_return backend_report(); }

TEST(BackendChoice, follows_the_environment) {
  {
    const wish epoll("epoll");
    EXPECT_EQ(choose_backend().kind, backend_kind::epoll);
    EXPECT_TRUE(choose_backend().by_wish);
    const auto text = run_with(1, report());
    EXPECT_THAT(text, StartsWith("epoll on Linux "));
    EXPECT_THAT(text, HasSubstr("chosen by WEIR_BACKEND=epoll\n"));
  }
  if (!uring_available()) GTEST_SKIP() << uring_report();
  const wish uring("uring");
  EXPECT_EQ(choose_backend().kind, backend_kind::uring);
  const auto text = run_with(1, report());
  EXPECT_THAT(text, StartsWith("io_uring on Linux "));
  EXPECT_THAT(text, HasSubstr("chosen by WEIR_BACKEND=uring\n"));
}

TEST(BackendChoice, is_io_uring_where_that_works) {
  if (!uring_available()) GTEST_SKIP() << uring_report();
  for (const char* automatic : {"auto", ""}) {
    const wish none(automatic);
    EXPECT_EQ(choose_backend().kind, backend_kind::uring);
    const auto text = run_with(1, report());
    EXPECT_THAT(text, StartsWith("io_uring on Linux "));
    EXPECT_THAT(text, HasSubstr("chosen because io_uring works here\n"));
  }
}

TEST(BackendChoice, refuses_a_name_that_it_does_not_know) {
  const wish wrong("kqueue");
  try {
    run_with(1, report());
    ADD_FAILURE();
  } catch (const error& refused) {
    EXPECT_EQ(refused.code_name(), "ERR_INVALID_ARG_VALUE");
    EXPECT_STREQ(refused.what(), "WEIR_BACKEND must be 'auto', 'uring' or 'epoll'. Received 'kqueue'");
  }
}

TEST(BackendChoice, is_the_programs_where_it_names_a_factory) {
  const wish other("uring");
  runtime_options options;
  options.workers = 1;
  options.make_backend = make_epoll_backend;
  EXPECT_THAT(runtime(options).block_on(report()), StartsWith("epoll on Linux "));
}

TEST(BackendChoice, does_not_take_wrong_options_for_a_refusal) {
  const wish automatic("auto");
  runtime_options options;
  options.workers = 1;
  options.backend.buffers = 100;
  try {
    runtime(options).block_on(report());
    ADD_FAILURE();
  } catch (const std::system_error& wrong) {
    EXPECT_EQ(wrong.code().value(), EINVAL);
    EXPECT_THAT(wrong.what(), HasSubstr("powers of two"));
  }
  if (uring_available()) EXPECT_EQ(choose_backend().kind, backend_kind::uring);
}

// --- refused ---------------------------------------------------------------------------------------------------

void demand(bool held, const char* what) {
  if (held) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::_Exit(1);
}

task<void> hello(net::http::request& req, net::http::response& res) {
  auto body = co_await req.text();
  co_await res.end(req.path() == "/backend" ? backend_report() : "hello " + body);
}

// Requests over several connections, one after the other and many at once, and a large answer.
void serve_http(unsigned workers) {
  running_server server(hello, {}, workers);
  for (int i = 0; i < 8; ++i) {
    auto client = server.connect();
    for (int n = 0; n < 10; ++n) {
      auto reply = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nyou");
      demand(reply.status == 200 && reply.body == "hello you", "a request is answered");
    }
    auto large = std::string(1 << 20, 'x');
    auto head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(large.size()) + "\r\n\r\n";
    demand(client.ask(head + large).body == "hello " + large, "a large request is answered");
  }
  auto client = server.connect();
  auto text = client.ask("GET /backend HTTP/1.1\r\nHost: a\r\n\r\n").body;
  std::fprintf(stderr, "%s", text.c_str());
  client.close();
  server.stop();
}

[[noreturn]] void serve_where_io_uring_is_refused(int error, unsigned workers) {
  const wish automatic("auto");
  refuse_io_uring(error);
  demand(!uring_available(), "io_uring is refused");
  serve_http(workers);
  demand(choose_backend().kind == backend_kind::epoll, "the refusal is remembered");
  std::_Exit(0);
}

TEST(BackendChoiceDeathTest, serves_http_on_epoll_where_io_uring_is_refused) {
  const auto well = ::testing::ExitedWithCode(0);
  EXPECT_EXIT(serve_where_io_uring_is_refused(EPERM, 1), well,
              "epoll on Linux.*chosen because io_uring is refused here");
  EXPECT_EXIT(serve_where_io_uring_is_refused(EPERM, 3), well,
              "epoll on Linux.*chosen because io_uring is refused here");
  EXPECT_EXIT(serve_where_io_uring_is_refused(ENOSYS, 2), well, "chosen because this kernel has no io_uring");
  EXPECT_EXIT(serve_where_io_uring_is_refused(ENOMEM, 1), well, "chosen because no memory for an io_uring");
}

[[noreturn]] void wish_for_what_is_refused(int error) {
  const wish uring("uring");
  refuse_io_uring(error);
  try {
    run_with(1, report());
  } catch (const std::system_error& refused) {
    std::fprintf(stderr, "%s", refused.what());
    std::_Exit(refused.code().value() == error ? 0 : 1);
  }
  std::_Exit(2);
}

TEST(BackendChoiceDeathTest, fails_clearly_where_the_wish_for_io_uring_is_refused) {
  const auto well = ::testing::ExitedWithCode(0);
  EXPECT_EXIT(wish_for_what_is_refused(EPERM), well, "seccomp profile.*Operation not permitted");
  EXPECT_EXIT(wish_for_what_is_refused(ENOSYS), well, "this kernel has no io_uring.*Function not implemented");
}

[[noreturn]] void lack_descriptors() {
  const wish automatic("auto");
  refuse_io_uring(EMFILE);
  try {
    run_with(1, report());
  } catch (const std::system_error& refused) {
    std::fprintf(stderr, "%s", refused.what());
    std::_Exit(refused.code().value() == EMFILE ? 0 : 1);
  }
  std::_Exit(2);
}

TEST(BackendChoiceDeathTest, does_not_hide_a_lack_of_descriptors) {
  EXPECT_EXIT(lack_descriptors(), ::testing::ExitedWithCode(0), "RLIMIT_NOFILE");
}

// As where the memory that may be locked runs out.
[[noreturn]] void refuse_when_some_rings_are_made() {
  const wish automatic("auto");
  const auto one = make_default_backend({});
  demand(one->report().starts_with("io_uring"), "it works at first");
  refuse_io_uring(ENOMEM);
  serve_http(3);
  std::_Exit(0);
}

TEST(BackendChoiceDeathTest, begins_anew_when_rings_run_out) {
  if (!uring_available()) GTEST_SKIP() << uring_report();
  EXPECT_EXIT(refuse_when_some_rings_are_made(), ::testing::ExitedWithCode(0), "epoll on Linux.*no memory");
}

/// A factory whose first backends are of one kind, until it has to change its mind.
struct fickle {
  static inline int made = 0;
  static inline int changes = 0;
  static std::unique_ptr<backend> make(const backend_options& options) {
    if (++made == 3) {
      ++changes;
      throw backend_changed();
    }
    return make_epoll_backend(options, {.why = changes == 0 ? "before" : "after"});
  }
};

TEST(BackendChoice, is_the_same_for_all_workers_of_a_runtime) {
  fickle::made = 0;
  fickle::changes = 0;
  runtime_options options;
  options.workers = 4;
  options.make_backend = fickle::make;
  EXPECT_THAT(runtime(options).block_on(report()), HasSubstr("after"));
  EXPECT_EQ(fickle::made, 3 + 4);
}

TEST(BackendChoice, that_changes_twice_is_an_error) {
  runtime_options options;
  options.workers = 1;
  options.make_backend = [](const backend_options&) -> std::unique_ptr<backend> { throw backend_changed(); };
  EXPECT_THROW(runtime(options).block_on(report()), backend_changed);
}

}  // namespace
}  // namespace weir::io
