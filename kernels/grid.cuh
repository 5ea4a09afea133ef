// SPDX-License-Identifier: Apache-2.0
// Grids, the loops that walk them, and launches.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "own_error.hpp"

namespace gapless::kernels {

constexpr int kThreads = 256;
// Enough blocks to fill every GPU there is, few enough that the reductions at their ends cost nothing.
constexpr std::uint64_t kMaxBlocksX = 4096;
constexpr std::int64_t kMaxBlocksY = 65535;  // CUDA's limit

inline unsigned blocks_for(std::uint64_t items) {
  const std::uint64_t blocks = items / kThreads + (items % kThreads != 0 ? 1 : 0);
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > kMaxBlocksX ? kMaxBlocksX : blocks);
}

inline cudaStream_t as_stream(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// kernel<<<grid, threads, 0, stream>>>(batch), whose only result is the runtime's last error: that may be the
// program's.
template <typename Batch>
int launch(void (*kernel)(Batch), dim3 grid, int threads, const Batch& batch, void* stream) {
  void* parameters[] = {const_cast<Batch*>(&batch)};
  return own_error([&] {
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, dim3(static_cast<unsigned>(threads)),
                            parameters, 0, as_stream(stream));
  });
}

inline int fill(void* memory, int byte, std::size_t bytes, void* stream) {
  return own_error([&] { return cudaMemsetAsync(memory, byte, bytes, as_stream(stream)); });
}

// This thread's first item, and the distance to its next one.
__device__ __forceinline__ std::uint64_t first_item() {
  return static_cast<std::uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::uint64_t item_stride() {
  return static_cast<std::uint64_t>(gridDim.x) * blockDim.x;
}

}  // namespace gapless::kernels
