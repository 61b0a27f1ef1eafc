// tests/support/backend_rig.hpp: a backend by itself, on the test's thread, with pipes, sockets and files of the
// running kernel, and operations that write down what is reported to them.
#pragma once

#include <weir/core/backend.hpp>

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::testing {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto patience = 20s;  // far beyond what anything here takes; reaching it is a failure

/// An operation that writes down what is reported to it.
class recorded : public operation {
 public:
  explicit recorded(opcode what = opcode::nop, int descriptor = -1) {
    code = what;
    fd = descriptor;
    on_complete = &recorded::take;
  }
  recorded(const recorded&) = delete;
  recorded& operator=(const recorded&) = delete;

  bool over() const { return over_; }
  std::size_t reports() const { return results_.size(); }
  const std::vector<int>& results() const { return results_; }
  int last() const { return results_.empty() ? -EINPROGRESS : results_.back(); }
  const std::string& bytes() const { return bytes_; }
  std::vector<std::uint16_t>& buffers() { return buffers_; }
  const std::byte* first_data() const { return first_data_; }
  bool data_without_bytes() const { return data_without_bytes_; }

  /// Ready to be submitted once more; what was recorded stays.
  recorded& again() {
    over_ = false;
    return *this;
  }

  std::function<void(recorded&)> then;

 private:
  static void take(operation& op, const completion& report) noexcept {
    auto& self = static_cast<recorded&>(op);
    EXPECT_FALSE(self.over_) << "a report after the terminal one";
    self.results_.push_back(report.result);
    self.over_ = !report.more;
    if (report.data != nullptr && report.result <= 0) self.data_without_bytes_ = true;
    if (report.data != nullptr) {
      if (self.first_data_ == nullptr) self.first_data_ = report.data;
      self.bytes_.append(reinterpret_cast<const char*>(report.data), static_cast<std::size_t>(report.result));
      self.buffers_.push_back(report.buffer);
    }
    if (self.then) self.then(self);
  }

  std::vector<int> results_;
  std::string bytes_;
  std::vector<std::uint16_t> buffers_;
  const std::byte* first_data_ = nullptr;
  bool over_ = false;
  bool data_without_bytes_ = false;
};

struct file {
  int fd = -1;
  explicit file(int descriptor = -1) : fd(descriptor) {}
  file(file&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
  file& operator=(file&& other) noexcept {
    std::swap(fd, other.fd);
    return *this;
  }
  ~file() { close(); }
  void close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

struct two_ends {
  file first;
  file second;
};

inline two_ends make_pipe() {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {file{ends[0]}, file{ends[1]}};
}

inline two_ends make_pair(int type = SOCK_STREAM) {
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
  return {file{ends[0]}, file{ends[1]}};
}

inline void put(const file& to, std::string_view text) {
  ASSERT_EQ(::write(to.fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

struct tcp_listener {
  file socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{};

  explicit tcp_listener(bool listening = true) {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket.fd, name(), sizeof address), 0);
    socklen_t length = sizeof address;
    EXPECT_EQ(::getsockname(socket.fd, name(), &length), 0);
    if (listening) EXPECT_EQ(::listen(socket.fd, 64), 0);
  }
  sockaddr* name() { return reinterpret_cast<sockaddr*>(&address); }
  file connect() {
    file peer{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    EXPECT_EQ(::connect(peer.fd, name(), sizeof address), 0);
    return peer;
  }
};

/// A directory that goes with the test.
struct scratch {
  std::string path;
  scratch() {
    std::string name = ::testing::TempDir() + "/weir-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path = name;
  }
  ~scratch() {
    for (const char* each : {"/a", "/b"}) ::unlink((path + each).c_str());
    ::rmdir((path + "/d").c_str());
    ::rmdir(path.c_str());
  }
  std::string operator/(std::string_view name) const { return path + "/" + std::string(name); }
};

/// A backend started on this thread, with what a test does with one.
class rig {
 public:
  explicit rig(std::unique_ptr<backend> made) : backend_(std::move(made)) { backend_->start(); }

  backend& operator*() { return *backend_; }
  backend* operator->() { return backend_.get(); }

  template <class Condition>
  bool until(Condition condition) {
    const auto limit = steady_clock::now() + patience;
    while (!condition()) {
      if (steady_clock::now() > limit) return false;
      backend_->poll(100ms);
    }
    return true;
  }

  /// Submits and waits for the end; the result is the last one reported.
  int run(recorded& op) {
    backend_->submit(op);
    EXPECT_TRUE(until([&] { return op.over(); }));
    return op.last();
  }

  int cancel(recorded& op) {
    backend_->cancel(op);
    EXPECT_TRUE(until([&] { return op.over(); }));
    return op.last();
  }

  /// Lets everything queued reach the kernel.
  void settle() {
    for (int i = 0; i < 3; ++i) backend_->poll(0ns);
  }

 private:
  std::unique_ptr<backend> backend_;
};

// Makes io_uring_setup fail in this process, as a container's filter does.
inline void refuse_io_uring(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    std::fputs("no filter\n", stderr);
    std::_Exit(2);
  }
}

}  // namespace weir::testing
