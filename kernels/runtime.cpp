// SPDX-License-Identifier: Apache-2.0
// What api.cpp asks of the CUDA runtime beside launches.
#include <cuda_runtime_api.h>

#include "launches.hpp"

namespace gapless::kernels {

int copy(void* to, const void* from, std::size_t bytes, gapless_stream stream) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream));
}

int exchange_device(int& device) {
  int before = 0;
  if (const cudaError_t error = cudaGetDevice(&before); error != cudaSuccess) return error;
  // Setting the current one is not free: it makes the device's context where there is none yet.
  if (before != device)
    if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess) return error;
  device = before;
  return cudaSuccess;
}

const char* launch_error_name(int error) {
  return cudaGetErrorName(static_cast<cudaError_t>(error));
}

}  // namespace gapless::kernels
