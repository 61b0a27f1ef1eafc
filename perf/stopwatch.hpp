// perf/stopwatch.hpp: how weir's programs of the in-process tables measure and print: `key value` lines, nanoseconds
// per operation, `key_cpu` for the CPU time of all threads.
#pragma once

#include <cstdio>
#include <ctime>
#include <string>

namespace bench {

inline double nanoseconds(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

inline void print(const std::string& key, double value) {
  std::printf("%s %.2f\n", key.c_str(), value);
  std::fflush(stdout);
}

/// Runs from its making on.
class stopwatch {
 public:
  double wall() const { return nanoseconds(CLOCK_MONOTONIC) - wall_; }
  double cpu() const { return nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_; }
  double per(double operations) const { return wall() / operations; }
  void done(const std::string& key, double operations) const { print(key, per(operations)); }
  void done_with_cpu(const std::string& key, double operations) const {
    double used = cpu();
    done(key, operations);
    print(key + "_cpu", used / operations);
  }

 private:
  double wall_ = nanoseconds(CLOCK_MONOTONIC), cpu_ = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
};

}  // namespace bench
