// SPDX-License-Identifier: Apache-2.0
// The thread's last error, and errors as text.
#include "simcuda/error_text.hpp"
#include "simcuda/runtime/api.hpp"
#include "simcuda/trampoline.hpp"

using namespace gapless::simcuda;

namespace {

thread_local cudaError_t last_error = cudaSuccess;

const ErrorName kNames[] = {
#include "runtime_errors.inc"
};

}  // namespace

cudaError_t gapless::simcuda::finish(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t gapless::simcuda::finish(CUresult result) {
  return finish(static_cast<cudaError_t>(result));
}

int gapless_sim_runtime_missing() {
  return finish(cudaErrorNotSupported);
}

GAPLESS_SIM_RUNTIME_API cudaGetLastError() {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetLastError");
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

GAPLESS_SIM_RUNTIME_API cudaPeekAtLastError() {
  GAPLESS_SIM_RUNTIME_CALL("cudaPeekAtLastError");
  return last_error;
}

extern "C" GAPLESS_SIM_EXPORT const char* CUDARTAPI cudaGetErrorName(cudaError_t error) {
  const char* name = error_name(kNames, error);
  return name != nullptr ? name : "unrecognized error code";
}

extern "C" GAPLESS_SIM_EXPORT const char* CUDARTAPI cudaGetErrorString(cudaError_t error) {
  const char* text = error_text(error);
  return text != nullptr ? text : cudaGetErrorName(error);
}
