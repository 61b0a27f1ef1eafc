// examples/showcase/crowd.cpp: a handler that calls this very server many times, over real connections, and what
// cancelling does then: a caller that is cut closes its socket, and that cancels the handler which answers it; a client
// that leaves the handler cancels its scope, and with it every caller, and with them every handler they wait for.
#include "crowd.hpp"
#include "app.hpp"

#include <weir/net/tcp.hpp>

#include <algorithm>
#include <array>
#include <random>

namespace showcase {
namespace {

/// Says how a caller has ended, however it ends.
class caller_record {
 public:
  caller_record(crowd& of, std::size_t index) : of_(of), index_(index) {}
  caller_record(const caller_record&) = delete;
  caller_record& operator=(const caller_record&) = delete;
  ~caller_record() { of_.settle(index_, how_); }
  void answered() noexcept { how_ = crowd::state::answered; }

 private:
  crowd& of_;
  std::size_t index_;
  crowd::state how_ = crowd::state::cut;
};

task<void> call(app& a, std::size_t index, std::uint64_t ms) {
  caller_record record(a.callers, index);
  auto stream = co_await weir::net::connect(a.self);
  co_await stream.write("GET /slow?quiet=1&ms=" + std::to_string(ms) +
                        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::string answer;
  std::array<char, 512> piece;
  while (auto size = co_await stream.read(std::as_writable_bytes(std::span(piece)))) answer.append(piece.data(), size);
  if (answer.find("done\n") != std::string::npos) record.answered();
}

// The callers take different times, from half of `ms` to all of it, so that one sees them go one by one.
task<void> run_callers(app& a, response& res, std::size_t count, std::uint64_t ms) {
  auto body = [&](weir::scope& s) -> task<void> {
    struct at_end {
      crowd& of;
      ~at_end() { of.end(); }
    } guard{a.callers};
    std::minstd_rand random(static_cast<unsigned>(a.slow.started));
    std::uniform_int_distribution<std::uint64_t> time(ms / 2, ms);
    co_await res.write(std::to_string(count) + " callers wait for /slow\n");
    for (std::size_t i = 0; i < count; ++i) a.callers.add(s.spawn(call, std::ref(a), i, time(random)));
    co_await a.callers.all_settled();
  };
  co_await weir::with_scope(body, {.on_child_failure = [](const std::exception_ptr&) {}});  // settled as cut
}

std::size_t count_of(std::string_view states, crowd::state which) {
  return static_cast<std::size_t>(std::count(states.begin(), states.end(), static_cast<char>(which)));
}

}  // namespace

bool crowd::begin(std::size_t size) {
  std::lock_guard guard(mutex_);
  if (busy_) return false;
  busy_ = true;
  callers_.clear();
  callers_.reserve(size);
  states_.assign(size, static_cast<char>(state::waits));
  waiting_ = size;
  settled_.reset();
  return true;
}

void crowd::add(weir::join_handle<> caller) {
  std::lock_guard guard(mutex_);
  callers_.push_back(std::move(caller));
}

void crowd::settle(std::size_t index, state how) {
  std::lock_guard guard(mutex_);
  states_[index] = static_cast<char>(how);
  if (--waiting_ == 0) settled_.set();
}

std::size_t crowd::cut(std::size_t count) {
  static std::minstd_rand random;  // under the lock
  std::vector<std::size_t> chosen;
  std::lock_guard guard(mutex_);
  for (std::size_t i = 0; i < callers_.size(); ++i) {
    if (states_[i] == static_cast<char>(state::waits)) chosen.push_back(i);
  }
  std::shuffle(chosen.begin(), chosen.end(), random);
  if (chosen.size() > count) chosen.resize(count);
  for (auto each : chosen) callers_[each].cancel();
  return chosen.size();
}

void crowd::end() {
  std::lock_guard guard(mutex_);
  callers_.clear();
  busy_ = false;
}

std::string crowd::states() const {
  std::lock_guard guard(mutex_);
  return states_;
}

task<void> call_crowd(app& a, request& req, response& res) {
  auto count = number_from_query(req, "n", {.fallback = 100, .least = 1, .most = 300});
  if (!count) co_return co_await refuse(res, 400, count.failure().message());
  auto ms = number_from_query(req, "ms", {.fallback = 10'000, .least = 1, .most = 60'000});
  if (!ms) co_return co_await refuse(res, 400, ms.failure().message());
  if (!a.callers.begin(*count)) co_return co_await refuse(res, 409, "there is a crowd already: wait for its end");

  res.set("Content-Type", "text/plain");
  a.log.add("crowd: " + std::to_string(*count) + " slow requests");
  auto ran = co_await weir::attempt(run_callers(a, res, *count, *ms));
  auto states = a.callers.states();
  auto how = std::to_string(count_of(states, crowd::state::answered)) + " answered, " +
             std::to_string(count_of(states, crowd::state::cut)) + " cut";
  a.log.add("crowd: " + how +
            (ran         ? ""
             : a.closing ? ", cancelled: the server closes"
                         : ", cancelled: the client left"));
  ran.value();
  co_await res.end(how + "\n");
}

task<void> cut_crowd(app& a, request& req, response& res) {
  auto count = number_from_query(req, "n", {.fallback = 10, .least = 1, .most = 300});
  if (!count) co_return co_await refuse(res, 400, count.failure().message());
  auto cut = a.callers.cut(*count);
  res.set("Content-Type", "application/json");
  co_await res.end(json().open('{').add("cut", cut).close('}').text() + "\n");
}

}  // namespace showcase
