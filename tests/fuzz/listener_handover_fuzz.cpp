// tests/fuzz/listener_handover_fuzz.cpp: a process that asks for listeners and is answered with any bytes, and one that
// offers its listener and is asked with any: it ends in an error or in what the other side was right to get, the
// listener that is offered stays open, and no descriptor is left.
#include <weir/core/abort.hpp>
#include <weir/core/runtime.hpp>
#include <weir/core/scope.hpp>
#include <weir/core/time.hpp>
#include <weir/io/epoll_backend.hpp>
#include <weir/net/listener_handover.hpp>

#include <tests/fuzz/input.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>

namespace {

using namespace weir;
using namespace weir::fuzzing;

const std::string& where() {
  static const std::string path = "unix:/tmp/weir-fuzz-handover-" + std::to_string(::getpid());
  return path;
}

io::descriptor unix_socket(bool listens) {
  io::descriptor made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(name.sun_path, sizeof name.sun_path, "%s", where().c_str() + std::strlen("unix:"));
  const auto* plain = reinterpret_cast<const sockaddr*>(&name);
  if (listens) ::unlink(name.sun_path);
  require((listens ? ::bind : ::connect)(made.get(), plain, sizeof name) == 0);
  if (listens) require(::listen(made.get(), 4) == 0);
  return made;
}

int a_socket() {
  static const io::descriptor made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return made.get();
}

/// Messages whose heads are right now and then, and whatever else the input says; with a descriptor or two.
void say(int to, choices& in) {
  while (!in.empty()) {
    std::string text;
    const auto body = std::string(in.text(60));
    if (!in.one_in(4)) {
      text = "weirhand";
      text += static_cast<char>(in.one_in(8) ? in.byte() : 1);
      text += static_cast<char>(in.below(8));
      text.append(2, '\0');
      const auto length = in.one_in(8) ? in.word() : static_cast<std::uint32_t>(body.size());
      for (int i = 0; i < 4; ++i) text += static_cast<char>(length >> (8 * i));
    }
    text += body;
    if (text.empty()) continue;
    iovec part = {text.data(), text.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (const unsigned count = in.below(3); count != 0) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(count * sizeof(int));
      auto* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(count * sizeof(int));
      const int given[] = {in.one_in(2) ? a_socket() : STDERR_FILENO, a_socket()};
      std::memcpy(CMSG_DATA(rights), given, count * sizeof(int));
    }
    if (::sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return;
  }
}

const net::handover_options quick = {.message_timeout = std::chrono::milliseconds(200),
                                     .ready_timeout = std::chrono::milliseconds(200)};

task<void> ask_a_stranger(choices* in) {
  const auto listening = unix_socket(true);
  io::descriptor peer;
  co_await with_scope([&](scope& s) -> task<void> {
    auto asking = s.spawn_local([]() -> task<void> {
      auto got = co_await attempt(net::request_listeners(where(), quick));
      if (!got) require(!got.failure().is_cancelled());
      if (!got || !*got) co_return;
      for (const auto& name : (**got).names()) require((**got).has(name) && !name.empty());
      static_cast<void>(co_await attempt((**got).serving()));
    });
    while (!peer && !asking.done()) {
      peer = io::descriptor(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      co_await weir::sleep(std::chrono::microseconds(50));
    }
    say(peer.get(), *in);
    ::shutdown(peer.get(), SHUT_WR);
    static_cast<void>(co_await attempt(std::move(asking)));
  });
}

task<void> offer_to_a_stranger(choices* in) {
  net::tcp_listener listener("127.0.0.1:0");
  net::listener_offer offer(where(), quick);
  offer.add("web", listener);
  const auto peer = unix_socket(false);
  say(peer.get(), *in);
  ::shutdown(peer.get(), SHUT_WR);
  auto taken = co_await attempt(timeout(std::chrono::milliseconds(20), offer.handed_over()));
  if (taken) require(*taken == ::getpid());
  int listens = 0;
  socklen_t size = sizeof listens;
  require(::getsockopt(listener.fd(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 1);
}

std::ptrdiff_t open_descriptors() {
  auto all = std::filesystem::directory_iterator("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const bool asks = in.one_in(2);
  static int runs = 0;
  a_socket();
  const auto before = open_descriptors();
  runtime_options options;
  options.workers = 1;
  options.make_backend = [](const backend_options& o) { return io::make_epoll_backend(o, {}); };
  runtime(options).block_on(asks ? ask_a_stranger(&in) : offer_to_a_stranger(&in));
  if (++runs > 8) require(open_descriptors() <= before);  // the fuzzer's own and what is made once are there by then
  return 0;
}
