// perf/resident.hpp: how much memory the program holds.
#pragma once

#include <unistd.h>

#include <cstdio>

namespace bench {

/// Bytes in memory now; 0 where /proc does not tell.
inline double resident_bytes() {
  long whole = 0;
  long resident = 0;
  std::FILE* f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr) return 0;
  if (std::fscanf(f, "%ld %ld", &whole, &resident) != 2) resident = 0;
  std::fclose(f);
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace bench
