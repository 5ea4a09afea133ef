// SPDX-License-Identifier: Apache-2.0
// What every function of the simulated libcuda.so.1 begins with.
#pragma once

#include <cuda.h>

#include "driver/sim/machine.hpp"
#include "simcuda/counters.hpp"
#include "simcuda/driver/context.hpp"
#include "simcuda/driver/faults.hpp"
#include "simcuda/driver/process.hpp"
#include "simcuda/per_thread.hpp"

namespace gapless::simcuda {

namespace sim = driver::sim;
using driver::Result;

inline CUresult to_cuda(Result result) {
  return static_cast<CUresult>(result);
}

inline void count_driver_call(CallCounter& counter) {
  // Calls that the runtime makes for one of its own functions are that function's.
  if (*gapless_sim_runtime_depth() == 0) counter.hit();
}

// Why the call fails before it does anything: a host function makes it, or somebody wants it to fail.
inline CUresult refused(Machine* m, const char* name) {
  if (Machine::inside_host_function()) [[unlikely]] {
    return to_cuda(m->refuse_in_host_function(name));
  }
  return injected_fault(name);
}

}  // namespace gapless::simcuda

#define GAPLESS_SIM_COUNT(name)                                                \
  static gapless::simcuda::CallCounter call_counter{name, GAPLESS_SIM_DRIVER}; \
  gapless::simcuda::count_driver_call(call_counter)

// Counts, and gives `m`, the machine.
#define GAPLESS_SIM_CALL(name)                                                 \
  GAPLESS_SIM_COUNT(name);                                                     \
  [[maybe_unused]] gapless::simcuda::Machine* m = gapless::simcuda::machine(); \
  if (m == nullptr) return CUDA_ERROR_NOT_INITIALIZED;                         \
  if (const CUresult refused = gapless::simcuda::refused(m, name); refused != CUDA_SUCCESS) return refused

// Counts, and gives `m` and `device`, the device of the thread's current context.
#define GAPLESS_SIM_CONTEXT_CALL(name)                                                                  \
  GAPLESS_SIM_CALL(name);                                                                               \
  [[maybe_unused]] int device = 0;                                                                      \
  if (const CUresult no_context = gapless::simcuda::current_device(device); no_context != CUDA_SUCCESS) \
  return no_context

#define GAPLESS_SIM_REQUIRE(condition) \
  if (!(condition)) return CUDA_ERROR_INVALID_VALUE

#define GAPLESS_SIM_API extern "C" GAPLESS_SIM_EXPORT CUresult CUDAAPI
