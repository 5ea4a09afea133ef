// SPDX-License-Identifier: Apache-2.0
// What the other libraries need of libcuda.so.1 beyond the driver API.
#pragma once

#include <cuda.h>

#include <cstddef>

#include "simcuda/gapless_sim.h"

extern "C" {
// The function handle of a kernel that the runtime registered under its mangled name; the same for the same name.
GAPLESS_SIM_EXPORT CUfunction gapless_sim_function(const char* kernel);
// Device memory of a __device__ variable, made when first asked for; `key` is the host's shadow of it.
GAPLESS_SIM_EXPORT CUresult gapless_sim_variable(const void* key, std::size_t bytes, CUdeviceptr* address);
// Enqueues an operation that does nothing: what a maths library's routine is. `name` is static.
GAPLESS_SIM_EXPORT CUresult gapless_sim_operation(const char* name, CUstream stream);
// The same for a routine that reads and writes these ranges, which strict mode judges. Ranges of 0 bytes are left out.
struct gapless_sim_range {
  const void* address;
  std::size_t bytes;
  bool write;
};
GAPLESS_SIM_EXPORT CUresult gapless_sim_operation_on(const char* name, CUstream stream, const gapless_sim_range* ranges,
                                                     std::size_t count);
}
