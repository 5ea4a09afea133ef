// SPDX-License-Identifier: Apache-2.0
// Failures of the CUDA runtime that stay ours.
#pragma once

#include <cuda_runtime_api.h>

namespace gapless::kernels {

// The runtime keeps each thread's last error for cudaGetLastError, with which programs find out whether their own
// launches failed. A call of ours that fails says so by its result and leaves nothing there; what the program had not
// asked for yet is left to it (where ours fails as well, the runtime keeps the later of the two).
template <typename Call>
int own_error(Call call) {
  const bool clear = cudaPeekAtLastError() == cudaSuccess;
  const cudaError_t error = call();
  if (error != cudaSuccess && clear) static_cast<void>(cudaGetLastError());
  return error;
}

}  // namespace gapless::kernels
