// SPDX-License-Identifier: Apache-2.0
// Tells the observer of gapless_sim_set_observer about finished calls. The runtime's functions stand on the driver's,
// so watching the driver's sees both.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "driver/driver.hpp"

namespace gapless::simcuda {

// What a log and a cost model want of a call; what a function has none of stays 0.
struct Seen {
  int device = 0;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint64_t handle = 0;
  const void* stream = nullptr;  // with `has_stream`: the pointer, resolved
  bool has_stream = false;
  const void* event = nullptr;
};

bool observing() noexcept;
void report(const char* function, driver::Result result, const Seen& seen);

// Reports, and gives the result as the function's own.
inline CUresult observed(const char* function, driver::Result result, const Seen& seen) {
  if (observing()) [[unlikely]] {
    report(function, result, seen);
  }
  return static_cast<CUresult>(result);
}

}  // namespace gapless::simcuda
