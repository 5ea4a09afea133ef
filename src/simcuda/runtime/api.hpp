// SPDX-License-Identifier: Apache-2.0
// What every function of the simulated libcudart.so.13 begins and ends with. The runtime stands on the driver's public
// functions: state lives in libcuda.so.1 only.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "simcuda/counters.hpp"
#include "simcuda/internal.hpp"
#include "simcuda/per_thread.hpp"

namespace gapless::simcuda {

// A runtime call is counted under its own name; the driver calls inside it are not.
class RuntimeCall {
 public:
  explicit RuntimeCall(CallCounter& counter) : depth_(gapless_sim_runtime_depth()) {
    if ((*depth_)++ == 0) counter.hit();
  }
  ~RuntimeCall() { --*depth_; }
  RuntimeCall(const RuntimeCall&) = delete;
  RuntimeCall& operator=(const RuntimeCall&) = delete;

 private:
  int* depth_;
};

// Remembers an error for cudaGetLastError and returns it.
cudaError_t finish(cudaError_t error);
cudaError_t finish(CUresult result);  // the codes are the same numbers

// Initialises the driver; makes the primary context of the thread's device current when it has no context.
CUresult ensure_driver();
CUresult ensure_context();
// A device's primary context; INVALID_DEVICE.
CUresult context_of_device(int device, CUcontext& context);

// The device variable or kernel that the compiler registered for a host symbol; the error that a real runtime gives.
cudaError_t variable_address(const void* symbol, CUdeviceptr& address, std::size_t& bytes);
cudaError_t function_of(const void* symbol, CUfunction& function);

}  // namespace gapless::simcuda

#define GAPLESS_SIM_RUNTIME_API extern "C" GAPLESS_SIM_EXPORT cudaError_t CUDARTAPI

#define GAPLESS_SIM_RUNTIME_CALL(name)                                         \
  static gapless::simcuda::CallCounter call_counter{name, GAPLESS_SIM_DRIVER}; \
  const gapless::simcuda::RuntimeCall runtime_call(call_counter)

#define GAPLESS_SIM_RUNTIME_DRIVER_CALL(name) \
  GAPLESS_SIM_RUNTIME_CALL(name);             \
  if (const CUresult failed = gapless::simcuda::ensure_driver(); failed != CUDA_SUCCESS) return finish(failed)

#define GAPLESS_SIM_RUNTIME_CONTEXT_CALL(name) \
  GAPLESS_SIM_RUNTIME_CALL(name);              \
  if (const CUresult failed = gapless::simcuda::ensure_context(); failed != CUDA_SUCCESS) return finish(failed)
