#include <weir/net/inherited_listeners.hpp>

#include <weir/core/error.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::net {
namespace {

constexpr int first_inherited = 3;         // SD_LISTEN_FDS_START
constexpr std::size_t longest_name = 255;  // as systemd has it
constexpr const char* variables[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

[[noreturn]] void refuse(std::string text) { throw error(errc::err_invalid_arg_value, std::move(text)); }

std::optional<std::string> taken_from_environment(const char* variable) {
  const char* set = std::getenv(variable);
  return set != nullptr ? std::optional<std::string>(set) : std::nullopt;
}

int number_in(const char* variable, const std::string& text, int most) {
  int value = -1;
  auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc() || end != text.data() + text.size() || value < 0 || value > most) {
    refuse(std::string(variable) + ": '" + text + "' is no number from 0 to " + std::to_string(most));
  }
  return value;
}

std::vector<std::string> names_in(const std::optional<std::string>& list, std::size_t count) {
  if (!list) return std::vector<std::string>(count, "unknown");
  std::vector<std::string> names(1);
  for (char each : *list) {
    if (each == ':') {
      names.emplace_back();
    } else {
      names.back() += each;
    }
  }
  if (count == 0 && list->empty()) return {};
  if (names.size() == count) return names;
  refuse("LISTEN_FDNAMES: " + std::to_string(names.size()) + " names for " + std::to_string(count) + " descriptors");
}

// Whoever was started with them owns them, also when the rest makes no sense.
std::vector<inherited_socket> take_sockets(int count) {
  std::vector<inherited_socket> all;
  all.reserve(static_cast<std::size_t>(count));
  for (int fd = first_inherited; fd < first_inherited + count; ++fd) {
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) throw weir::net_error(errno, "LISTEN_FDS");
    all.push_back({{}, socket_handle(fd)});
  }
  return all;
}

bool is_name(std::string_view name) {
  auto allowed = [](char c) { return c >= ' ' && c <= '~' && c != ':'; };
  return name.size() <= longest_name && std::all_of(name.begin(), name.end(), allowed);
}

// ---- starting

/// Everything that the child needs between fork and exec, where it may allocate nothing.
class start {
 public:
  start(const std::vector<std::string>& command, std::span<const passed_listener> listeners) {
    for (auto& each : command) arguments_.push_back(const_cast<char*>(each.c_str()));
    arguments_.push_back(nullptr);
    copy_environment();
    describe(listeners);
    for (auto& each : texts_) environment_.push_back(each.data());
    environment_.push_back(nullptr);
    int behind = first_inherited + static_cast<int>(listeners.size());
    for (auto& each : listeners) shares_.push_back(duplicate(each.fd, behind));
    open_report(behind);
  }

  pid_t run() {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t child = ::fork();
    if (child == 0) become();
    int why = child < 0 ? errno : 0;
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    written_.close();
    if (child > 0 && ::read(reported_.get(), &why, sizeof why) == sizeof why) ::waitpid(child, nullptr, 0);
    if (why != 0) throw spawn_error(why, arguments_.front());
    return child;
  }

 private:
  static socket_handle duplicate(int fd, int lowest) {
    int made = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (made < 0) throw weir::net_error(errno, "spawn");
    return socket_handle(made);
  }

  void copy_environment() {
    for (char** each = environ; *each != nullptr; ++each) {
      std::string_view text(*each);
      auto name = text.substr(0, text.find('='));
      if (std::find(std::begin(variables), std::end(variables), name) == std::end(variables)) texts_.emplace_back(text);
    }
  }

  void describe(std::span<const passed_listener> listeners) {
    std::string names = "LISTEN_FDNAMES=";
    for (auto& each : listeners) {
      if (!is_name(each.name)) refuse("start_with_listeners: '" + std::string(each.name) + "' is no name");
      if (&each != listeners.data()) names += ':';
      names += each.name;
    }
    texts_.push_back(std::move(names));
    texts_.push_back("LISTEN_FDS=" + std::to_string(listeners.size()));
    texts_.push_back("LISTEN_PID=" + std::string(20, '\0'));
  }

  // Closed by the exec: nothing to read means that it has gone well.
  void open_report(int lowest) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw weir::net_error(errno, "spawn");
    reported_ = socket_handle(ends[0]);
    socket_handle low(ends[1]);
    written_ = duplicate(low.get(), lowest);
  }

  [[noreturn]] void become() noexcept {
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      if (::dup2(shares_[i].get(), first_inherited + static_cast<int>(i)) < 0) fail();
    }
    char* digits = texts_.back().data() + texts_.back().find('=') + 1;
    std::to_chars(digits, digits + 20, ::getpid());
    sigset_t none;
    ::sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    ::execve(arguments_.front(), arguments_.data(), environment_.data());
    fail();
  }

  [[noreturn]] void fail() noexcept {
    int why = errno;
    static_cast<void>(::write(written_.get(), &why, sizeof why) == sizeof why);
    ::_exit(127);
  }

  std::vector<char*> arguments_;
  std::vector<std::string> texts_;
  std::vector<char*> environment_;
  std::vector<socket_handle> shares_;
  socket_handle reported_;
  socket_handle written_;
};

}  // namespace

std::vector<inherited_socket> inherited_sockets() {
  auto process = taken_from_environment("LISTEN_PID");
  auto number = taken_from_environment("LISTEN_FDS");
  auto names = taken_from_environment("LISTEN_FDNAMES");
  if (!process || !number) return {};
  if (number_in("LISTEN_PID", *process, 0x7fffffff) != ::getpid()) return {};
  for (auto* each : variables) ::unsetenv(each);
  auto all = take_sockets(number_in("LISTEN_FDS", *number, 4096));
  auto named = names_in(names, all.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].name = std::move(named[i]);
  return all;
}

std::vector<inherited_listener> inherited_listeners(const listen_options& options) {
  std::vector<inherited_listener> all;
  for (auto& each : inherited_sockets()) {
    all.push_back({std::move(each.name), tcp_listener(std::move(each.socket), options)});
  }
  return all;
}

pid_t start_with_listeners(const std::vector<std::string>& command, std::span<const passed_listener> listeners) {
  if (command.empty() || command.front().empty()) refuse("start_with_listeners: no command");
  return start(command, listeners).run();
}

}  // namespace weir::net
