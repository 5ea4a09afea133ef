// SPDX-License-Identifier: Apache-2.0
// Driver calls that a test has asked to fail (gapless_sim_fail_call).
#pragma once

#include <cuda.h>

#include <atomic>

namespace gapless::simcuda {

extern std::atomic<bool> any_fault;

// What `function` is to fail with now; CUDA_SUCCESS: it runs.
CUresult take_fault(const char* function);

inline CUresult injected_fault(const char* function) {
  if (!any_fault.load(std::memory_order_relaxed)) [[likely]]
    return CUDA_SUCCESS;
  return take_fault(function);
}

}  // namespace gapless::simcuda
