// core/signals_blocked.hpp: threads of weir's own get no signals: those are for the program's. Private to core and fs.
#pragma once

#include <pthread.h>
#include <signal.h>  // NOLINT: for what POSIX has beyond <csignal>

namespace weir::detail {

/// While it is there this thread, and one that it makes, for good, gets no signals.
class signals_blocked {
 public:
  signals_blocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace weir::detail
