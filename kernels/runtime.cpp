// SPDX-License-Identifier: Apache-2.0
// What api.cpp asks of the CUDA runtime beside launches.
#include <cuda_runtime_api.h>

#include "launches.hpp"
#include "own_error.hpp"

namespace gapless::kernels {

int copy(void* to, const void* from, std::size_t bytes, gapless_stream stream) {
  return own_error(
      [&] { return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)); });
}

const char* launch_error_name(int error) {
  return cudaGetErrorName(static_cast<cudaError_t>(error));
}

}  // namespace gapless::kernels
