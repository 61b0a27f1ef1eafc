// examples/channels.cpp: how many primes there are below N, by tasks that talk through channels. One task hands out
// ranges, some take them and have them counted by threads of their own, one gathers the results and, whenever nothing
// has come for a while, says how far it is. Usage: channels [N] [--threads N].
#include <weir/sync/channel.hpp>
#include <weir/sync/select.hpp>
#include <weir/sync/worker_pool.hpp>
#include <weir/weir.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <utility>

using namespace weir;
using namespace std::chrono_literals;

namespace {

struct range {
  std::uint64_t from, to;
};

constexpr std::uint64_t step = 50'000;

bool is_prime(std::uint64_t n) {
  if (n < 4) return n > 1;
  if (n % 2 == 0) return false;
  for (std::uint64_t d = 3; d * d <= n; d += 2) {
    if (n % d == 0) return false;
  }
  return true;
}

/// A computation, hence for a thread of the pool: a worker that runs it would run nothing else meanwhile.
std::uint64_t count_primes(range in) {
  std::uint64_t count = 0;
  for (auto n = in.from; n < in.to; ++n) count += is_prime(n) ? 1 : 0;
  return count;
}

/// Waits while the channel is full, so it is never far ahead. That it ends closes the channel.
task<> hand_out(sync::sender<range> jobs, std::uint64_t end) {
  for (std::uint64_t from = 0; from < end; from += step) co_await jobs.send({from, std::min(from + step, end)});
}

task<> work(sync::receiver<range> jobs, sync::sender<std::uint64_t> results, sync::worker_pool& threads) {
  while (auto job = co_await jobs.recv()) co_await results.send(co_await threads.run(count_primes, *job));
}

task<std::uint64_t> gather(sync::receiver<std::uint64_t> results) {
  std::uint64_t sum = 0;
  for (std::size_t ranges = 0;;) {
    auto next = co_await sync::select(results.recv(), sync::after(200ms));
    if (next.index() == 1) {  // the results are where they were: who loses a select has taken nothing
      std::fprintf(stderr, "%zu ranges so far\n", ranges);
      continue;
    }
    auto result = std::move(next).get<0>();
    if (!result) co_return sum;  // every worker has ended
    sum += *result;
    ++ranges;
  }
}

task<> count_below(std::uint64_t end, unsigned threads) {
  sync::worker_pool pool({.threads = threads});
  std::uint64_t primes = 0;
  co_await with_scope([&](scope& s) -> task<> {
    auto jobs = sync::make_channel<range>(2 * threads);
    auto results = sync::make_channel<std::uint64_t>(threads);
    s.spawn(hand_out, std::move(jobs.tx), end);
    for (auto to = std::move(results.tx); threads != 0; --threads) s.spawn(work, jobs.rx, to, std::ref(pool));
    // Now only the workers can send: when the last of them ends, so does what `gather` receives.
    primes = co_await gather(std::move(results.rx));
  });
  std::printf("%llu primes below %llu\n", static_cast<unsigned long long>(primes),
              static_cast<unsigned long long>(end));
  co_await pool.shutdown();
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t end = 1'000'000;
  unsigned threads = 2;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--threads" && i + 1 < argc) {
      threads = std::max(1U, static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10)));
    } else {
      end = std::strtoull(argv[i], nullptr, 10);
    }
  }
  return run(count_below(end, threads));
}
