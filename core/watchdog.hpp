// core/watchdog.hpp: a thread that notices workers held too long by one fiber, and prints the task dump on a
// signal. Private to core. It exists only where one of the two is asked for.
#pragma once

#include <weir/core/runtime.hpp>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace weir::detail {

class watchdog {
 public:
  /// Made before the workers start, so that they inherit the mask of the dump signal.
  explicit watchdog(executor& home);
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;
  ~watchdog();

 private:
  struct sample {
    std::uint64_t progress = 0;
    std::chrono::steady_clock::time_point since = {};
    bool reported = false;
  };

  void watch();
  void look(unsigned index, std::chrono::steady_clock::time_point now);

  executor& home_;
  std::vector<sample> samples_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace weir::detail
