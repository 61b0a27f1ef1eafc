#include <weir/net/listener_handover.hpp>

#include <weir/core/abort.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weir::net {
namespace {

constexpr std::string_view magic = "weirhand";
constexpr std::uint8_t version = 1;
constexpr std::size_t header_size = 16;
constexpr std::size_t longest_text = 64 * 1024;
constexpr std::size_t longest_name = 255;
constexpr std::size_t most_listeners = 200;
constexpr std::size_t most_descriptors = 253;  // SCM_MAX_FD

enum class kind : std::uint8_t { ask = 1, listeners = 2, refusal = 3, serving = 4, heard = 5 };

struct message {
  kind what = kind::ask;
  std::string text;
  std::vector<socket_handle> descriptors;
};

error garbled(std::string_view why) { return error(errc::err_invalid_arg_value, "handover: " + std::string(why)); }

address unix_address(std::string_view where) {
  auto parsed = address::parse(where);
  if (parsed.is_unix()) return parsed;
  throw error(errc::err_invalid_address, "handover: '" + std::string(where) + "' is no Unix address");
}

ucred credentials(int fd) {
  ucred seen = {};
  socklen_t size = sizeof seen;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &seen, &size) != 0) throw weir::net_error(errno, "handover");
  return seen;
}

bool is_trusted(int fd, const handover_options& options) {
  return credentials(fd).uid == options.user.value_or(::geteuid());
}

// ---- messages

std::string framed(kind what, std::string_view text) {
  std::string all(magic);
  all += static_cast<char>(version);
  all += static_cast<char>(what);
  all.append(2, '\0');
  for (int shift = 0; shift < 32; shift += 8) all += static_cast<char>(text.size() >> shift & 0xff);
  return all.append(text);
}

task<void> send(tcp_stream& to, kind what, std::string_view text = {}, std::span<const int> descriptors = {}) {
  auto bytes = framed(what, text);
  iovec piece = {bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * most_descriptors)> control = {};
  msghdr envelope = {};
  envelope.msg_iov = &piece;
  envelope.msg_iovlen = 1;
  if (!descriptors.empty()) {
    envelope.msg_control = control.data();
    envelope.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    auto* rights = CMSG_FIRSTHDR(&envelope);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  auto sent = co_await io::count_operation(opcode::sendmsg, to.fd(), &envelope, 1, 0, {"handover"});
  co_await to.write(std::string_view(bytes).substr(sent));
}

void collect(msghdr& envelope, std::vector<socket_handle>& into) {
  for (auto* each = CMSG_FIRSTHDR(&envelope); each != nullptr; each = CMSG_NXTHDR(&envelope, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> numbers((each->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(numbers.data(), CMSG_DATA(each), numbers.size() * sizeof(int));
    for (int fd : numbers) into.emplace_back(fd);
  }
}

task<void> receive_exactly(tcp_stream& from, std::span<char> into, std::vector<socket_handle>& descriptors) {
  while (!into.empty()) {
    iovec piece = {into.data(), into.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * most_descriptors)> control = {};
    msghdr envelope = {};
    envelope.msg_iov = &piece;
    envelope.msg_iovlen = 1;
    envelope.msg_control = control.data();
    envelope.msg_controllen = control.size();
    auto count = co_await io::count_operation(opcode::recvmsg, from.fd(), &envelope, 1, MSG_CMSG_CLOEXEC, {"handover"});
    collect(envelope, descriptors);
    if ((envelope.msg_flags & MSG_CTRUNC) != 0) throw garbled("descriptors have been lost on the way");
    if (count == 0) throw weir::net_error(ECONNRESET, "handover");
    into = into.subspan(count);
  }
}

std::size_t checked_length(std::string_view header) {
  if (header.substr(0, magic.size()) != magic) throw garbled("the other side speaks something else");
  auto spoken = static_cast<std::uint8_t>(header[magic.size()]);
  if (spoken != version) {
    throw garbled("the other side speaks version " + std::to_string(spoken) + " of it, this one " +
                  std::to_string(version));
  }
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    length |= std::size_t{static_cast<std::uint8_t>(header[header_size - 4 + i])} << (8 * i);
  }
  if (length > longest_text) throw garbled("a message of " + std::to_string(length) + " bytes");
  return length;
}

task<message> receive(tcp_stream& from, kind expected) {
  message got;
  std::array<char, header_size> header;
  co_await receive_exactly(from, header, got.descriptors);
  got.text.resize(checked_length({header.data(), header.size()}));
  got.what = static_cast<kind>(header[magic.size() + 1]);
  co_await receive_exactly(from, got.text, got.descriptors);
  if (got.what == kind::refusal) {
    co_return failure(error(errc::err_invalid_state, "handover: the other side refuses: " + got.text));
  }
  if (got.what != expected) co_return failure(garbled("a message out of order"));
  if (expected != kind::listeners && !got.descriptors.empty()) co_return failure(garbled("descriptors out of order"));
  co_return std::move(got);
}

std::vector<std::string> names_in(std::string_view text) {
  std::vector<std::string> names;
  while (!text.empty()) {
    std::size_t size = static_cast<std::uint8_t>(text.front());
    text.remove_prefix(1);
    if (size > text.size()) throw garbled("a name is cut off");
    names.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return names;
}

}  // namespace

// ---- the predecessor

listener_offer::listener_offer(std::string_view where, handover_options options)
    : socket_(unix_address(where)), options_(std::move(options)) {}

listener_offer::listener_offer(tcp_listener socket, handover_options options)
    : socket_(std::move(socket)), options_(std::move(options)) {}

void listener_offer::add(std::string name, const tcp_listener& listener) {
  auto known = [&](const item& each) { return each.name == name; };
  if (name.empty() || name.size() > longest_name) throw garbled("a name has 1 to 255 bytes");
  if (std::any_of(items_.begin(), items_.end(), known)) throw garbled("there is a listener '" + name + "' already");
  if (items_.size() == most_listeners) throw error(errc::err_out_of_range, "handover: at most 200 listeners");
  int share = ::fcntl(listener.fd(), F_DUPFD_CLOEXEC, 0);
  if (share < 0) throw weir::net_error(errno, "dup");
  items_.push_back({std::move(name), socket_handle(share)});
}

task<pid_t> listener_offer::handed_over() {
  for (;;) {
    auto peer = co_await socket_.accept();
    auto outcome = co_await attempt(hand_over(peer));
    if (outcome) {
      auto successor = credentials(peer.fd()).pid;
      close();
      co_return successor;
    }
    if (outcome.failure().is_cancelled()) co_return outcome.failure();
    if (options_.on_failure) options_.on_failure(outcome.failure().error());
  }
}

// Whoever is turned away is told why, if it listens.
task<void> listener_offer::hand_over(tcp_stream& peer) {
  auto outcome = co_await attempt(pass(peer));
  if (outcome || outcome.failure().is_cancelled()) co_return outcome.value();
  auto why = outcome.failure().message();
  static_cast<void>(co_await attempt(timeout(options_.message_timeout, send(peer, kind::refusal, why))));
  outcome.value();
}

task<void> listener_offer::pass(tcp_stream& peer) {
  if (!is_trusted(peer.fd(), options_)) throw weir::net_error(EPERM, "handover", "to another user");
  co_await timeout(options_.message_timeout, receive(peer, kind::ask));
  std::string names;
  std::vector<int> descriptors = {socket_.fd()};
  for (auto& each : items_) {
    names += static_cast<char>(each.name.size());
    names += each.name;
    descriptors.push_back(each.share.get());
  }
  co_await timeout(options_.message_timeout, send(peer, kind::listeners, names, descriptors));
  co_await timeout(options_.ready_timeout, receive(peer, kind::serving));
  co_await timeout(options_.message_timeout, send(peer, kind::heard));
}

void listener_offer::close() noexcept {
  socket_.close();
  items_.clear();
}

// ---- the successor

taken_listeners::taken_listeners(tcp_stream predecessor, handover_options options)
    : predecessor_(std::move(predecessor)), options_(std::move(options)) {}

bool taken_listeners::has(std::string_view name) const noexcept {
  return std::any_of(items_.begin(), items_.end(), [&](const item& each) { return each.name == name; });
}

std::vector<std::string> taken_listeners::names() const {
  std::vector<std::string> all;
  all.reserve(items_.size());
  for (auto& each : items_) all.push_back(each.name);
  return all;
}

tcp_listener taken_listeners::take(std::string_view name) {
  auto found = std::find_if(items_.begin(), items_.end(), [&](const item& each) { return each.name == name; });
  if (found == items_.end()) throw garbled("no listener '" + std::string(name) + "' was handed over");
  auto taken = std::move(found->listener);
  items_.erase(found);
  return taken;
}

listener_offer taken_listeners::offer_on() {
  if (!offered_on_) throw error(errc::err_invalid_state, "handover: the offer is taken already");
  listener_offer offer(std::move(*offered_on_), options_);
  offered_on_.reset();
  return offer;
}

task<void> taken_listeners::receive() {
  co_await send(predecessor_, kind::ask);
  auto got = co_await net::receive(predecessor_, kind::listeners);
  auto names = names_in(got.text);
  if (got.descriptors.size() != names.size() + 1) throw garbled("other listeners than names");
  offered_on_.emplace(std::move(got.descriptors.front()));
  for (std::size_t i = 0; i < names.size(); ++i) {
    items_.push_back({std::move(names[i]), tcp_listener(std::move(got.descriptors[i + 1]))});
  }
}

task<void> taken_listeners::serving() {
  items_.clear();
  static_cast<void>(co_await attempt(timeout(options_.message_timeout, send(predecessor_, kind::serving))));
  auto heard = co_await attempt(timeout(options_.message_timeout, net::receive(predecessor_, kind::heard)));
  predecessor_.close();
  bool gone = !heard && (heard.failure().is("ECONNRESET") || heard.failure().is("EPIPE"));
  if (!heard && !gone) heard.failure().rethrow();
}

task<std::optional<taken_listeners>> request_listeners(std::string where, handover_options options) {
  auto at = unix_address(where);
  auto predecessor = co_await attempt(timeout(options.message_timeout, connect(at)));
  if (!predecessor) {
    int why = predecessor.failure().error().errno_value();
    if (why == ENOENT || why == ECONNREFUSED) co_return std::nullopt;
    co_return predecessor.failure();
  }
  if (!is_trusted(predecessor->fd(), options)) co_return failure(net_error(EPERM, "handover", at));
  auto limit = options.message_timeout;
  taken_listeners taken(std::move(*predecessor), std::move(options));
  co_await timeout(limit, taken.receive());
  co_return std::move(taken);
}

}  // namespace weir::net
