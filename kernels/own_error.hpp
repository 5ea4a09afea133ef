// SPDX-License-Identifier: Apache-2.0
// Failures of the CUDA runtime that stay ours.
#pragma once

#include <cuda_runtime_api.h>

namespace gapless::kernels {

// The runtime keeps each thread's last error for cudaGetLastError, with which programs find out whether their own
// launches failed. A call of ours that fails says so by its result and leaves nothing there; what the program had not
// asked for yet is left to it. Where ours fails while the program's waits, the runtime has put ours in its place and
// offers no way to put the other back: ours stays, so that the program still learns that something failed.
template <typename Call>
int own_error(Call call) {
  const bool clear = cudaPeekAtLastError() == cudaSuccess;
  const cudaError_t error = call();
  if (error != cudaSuccess && clear) static_cast<void>(cudaGetLastError());
  return error;
}

}  // namespace gapless::kernels
