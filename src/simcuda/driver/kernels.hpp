// SPDX-License-Identifier: Apache-2.0
// Kernels are names: a module gives a function for any name, and a launch is an operation on a stream that does nothing
// unless a CPU body was registered under the name.
#pragma once

#include <cuda.h>

#include <atomic>
#include <cstddef>
#include <string>

#include "simcuda/counters.hpp"

namespace gapless::simcuda {

inline constexpr std::size_t kDefaultSharedBytes = 48u << 10;   // dynamic shared memory without asking for more
inline constexpr std::size_t kMaximumSharedBytes = 163u << 10;  // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
inline constexpr unsigned kMaximumThreads = 1024;

// A CUfunction and a CUkernel. Lives as long as the process: handles are kept in caches that outlive their module.
struct Function {
  std::string name;
  std::atomic<std::size_t> dynamic_shared_limit{kDefaultSharedBytes};
  CallCounter launches;
  CallCounter not_judged;

  explicit Function(std::string function_name)
      : name(std::move(function_name)),
        launches(name.c_str(), GAPLESS_SIM_KERNEL),
        not_judged(name.c_str(), GAPLESS_SIM_NOT_JUDGED) {}
};

struct Launch {
  unsigned grid[3] = {1, 1, 1};
  unsigned block[3] = {1, 1, 1};
  std::size_t shared_bytes = 0;
  CUstream stream = nullptr;
  void** parameters = nullptr;
};

// The one Function of a name.
Function* function_named(const std::string& name);

// Checks the configuration and enqueues. Errors: INVALID_VALUE.
CUresult launch(Function* function, const Launch& configuration);

}  // namespace gapless::simcuda
