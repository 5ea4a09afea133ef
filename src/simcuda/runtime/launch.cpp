// SPDX-License-Identifier: Apache-2.0
// Launches, function attributes, occupancy.
#include <array>
#include <cstring>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

struct Configuration {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
};

// Between kernel<<<...>>> and the generated stub that launches it; nested when an argument launches too. No member owns
// anything: static objects' destructors launch after the main thread's thread_local objects have been destroyed.
struct Pushed {
  std::array<Configuration, 16> configurations;
  unsigned depth = 0;
};
thread_local constinit Pushed pushed;

cudaError_t launch(CUfunction function, const Configuration& c, void** parameters) {
  if (const CUresult failed = ensure_context(); failed != CUDA_SUCCESS) return finish(failed);
  const CUresult result =
      cuLaunchKernel(function, c.grid.x, c.grid.y, c.grid.z, c.block.x, c.block.y, c.block.z,
                     static_cast<unsigned>(c.shared_bytes), resolve_stream(c.stream), parameters, nullptr);
  // The driver's word for a bad configuration is INVALID_VALUE, the runtime's is its own.
  return finish(result == CUDA_ERROR_INVALID_VALUE ? cudaErrorInvalidConfiguration : static_cast<cudaError_t>(result));
}

cudaError_t launch_symbol(const void* symbol, const Configuration& c, void** parameters) {
  CUfunction function = nullptr;
  const cudaError_t error = function_of(symbol, function);
  return error == cudaSuccess ? launch(function, c, parameters) : finish(error);
}

cudaError_t active_blocks(int* blocks, const void* symbol, int block_size, std::size_t shared_bytes) {
  CUfunction function = nullptr;
  const cudaError_t error = function_of(symbol, function);
  if (error != cudaSuccess) return finish(error);
  return finish(cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, shared_bytes));
}

int attribute(CUfunction function, CUfunction_attribute which) {
  int value = 0;
  cuFuncGetAttribute(&value, which, function);
  return value;
}

}  // namespace

extern "C" {

GAPLESS_SIM_EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes,
                                                        CUstream_st* stream) {
  if (pushed.depth == pushed.configurations.size()) return 1;  // the generated code then does not launch
  pushed.configurations[pushed.depth++] = {grid, block, shared_bytes, stream};
  return 0;
}

GAPLESS_SIM_EXPORT cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes,
                                                          void* stream) {
  if (pushed.depth == 0) return finish(cudaErrorMissingConfiguration);
  const Configuration& top = pushed.configurations[--pushed.depth];
  *grid = top.grid;
  *block = top.block;
  *shared_bytes = top.shared_bytes;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}

// What nvcc 13 generates for kernel<<<...>>>; counted as the launch that it is.
GAPLESS_SIM_EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** parameters,
                                                  std::size_t shared_bytes, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CALL("cudaLaunchKernel");
  return launch(reinterpret_cast<CUfunction>(kernel), {grid, block, shared_bytes, stream}, parameters);
}

GAPLESS_SIM_EXPORT cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** parameters,
                                                       std::size_t shared_bytes, cudaStream_t stream) {
  const PerThreadDefault scope;
  return __cudaLaunchKernel(kernel, grid, block, parameters, shared_bytes, stream);
}
}

GAPLESS_SIM_RUNTIME_API cudaLaunchKernel(const void* symbol, dim3 grid, dim3 block, void** parameters,
                                         size_t shared_bytes, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CALL("cudaLaunchKernel");
  return launch_symbol(symbol, {grid, block, shared_bytes, stream}, parameters);
}

GAPLESS_SIM_RUNTIME_API cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* symbol, void** parameters) {
  GAPLESS_SIM_RUNTIME_CALL("cudaLaunchKernelExC");
  if (c == nullptr) return finish(cudaErrorInvalidValue);
  return launch_symbol(symbol, {c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream}, parameters);
}

GAPLESS_SIM_RUNTIME_API cudaLaunchCooperativeKernel(const void* symbol, dim3 grid, dim3 block, void** parameters,
                                                    size_t shared_bytes, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CALL("cudaLaunchCooperativeKernel");
  return launch_symbol(symbol, {grid, block, shared_bytes, stream}, parameters);
}

GAPLESS_SIM_RUNTIME_API cudaFuncGetAttributes(cudaFuncAttributes* out, const void* symbol) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFuncGetAttributes");
  CUfunction function = nullptr;
  const cudaError_t error = out != nullptr ? function_of(symbol, function) : cudaErrorInvalidValue;
  if (error != cudaSuccess) return finish(error);
  std::memset(out, 0, sizeof *out);
  out->maxThreadsPerBlock = attribute(function, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  out->numRegs = attribute(function, CU_FUNC_ATTRIBUTE_NUM_REGS);
  out->ptxVersion = attribute(function, CU_FUNC_ATTRIBUTE_PTX_VERSION);
  out->binaryVersion = attribute(function, CU_FUNC_ATTRIBUTE_BINARY_VERSION);
  out->maxDynamicSharedSizeBytes = attribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  out->preferredShmemCarveout = attribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT);
  return cudaSuccess;
}

// The enumerators of the runtime are the driver's numbers.
GAPLESS_SIM_RUNTIME_API cudaFuncSetAttribute(const void* symbol, cudaFuncAttribute which, int value) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFuncSetAttribute");
  CUfunction function = nullptr;
  const cudaError_t error = function_of(symbol, function);
  if (error != cudaSuccess) return finish(error);
  return finish(cuFuncSetAttribute(function, static_cast<CUfunction_attribute>(which), value));
}

GAPLESS_SIM_RUNTIME_API cudaFuncSetCacheConfig(const void* symbol, cudaFuncCache) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFuncSetCacheConfig");
  CUfunction function = nullptr;
  return finish(function_of(symbol, function));
}

GAPLESS_SIM_RUNTIME_API cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* symbol, int block_size,
                                                                      size_t shared_bytes) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaOccupancyMaxActiveBlocksPerMultiprocessor");
  return active_blocks(blocks, symbol, block_size, shared_bytes);
}

GAPLESS_SIM_RUNTIME_API cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* symbol,
                                                                               int block_size, size_t shared_bytes,
                                                                               unsigned) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags");
  return active_blocks(blocks, symbol, block_size, shared_bytes);
}
