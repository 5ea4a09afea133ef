// SPDX-License-Identifier: Apache-2.0
// Copies and fills. The direction is told by the addresses; a kind that contradicts them is not looked for.
#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

CUdeviceptr address_of(const void* pointer) {
  return reinterpret_cast<CUdeviceptr>(pointer);
}

bool valid(cudaMemcpyKind kind) {
  return kind >= cudaMemcpyHostToHost && kind <= cudaMemcpyDefault;
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (!valid(kind)) return finish(cudaErrorInvalidMemcpyDirection);
  if (!PerThreadDefault::active()) return finish(cuMemcpy(address_of(to), address_of(from), bytes));
  // The per-thread variant orders after the thread's own stream only.
  const CUresult result = cuMemcpyAsync(address_of(to), address_of(from), bytes, CU_STREAM_PER_THREAD);
  return finish(result == CUDA_SUCCESS ? cuStreamSynchronize(CU_STREAM_PER_THREAD) : result);
}

cudaError_t copy_async(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!valid(kind)) return finish(cudaErrorInvalidMemcpyDirection);
  return finish(cuMemcpyAsync(address_of(to), address_of(from), bytes, resolve_stream(stream)));
}

CUDA_MEMCPY2D rows(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                   std::size_t height) {
  CUDA_MEMCPY2D description{};
  description.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
  description.srcDevice = address_of(from);
  description.srcPitch = from_pitch;
  description.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  description.dstDevice = address_of(to);
  description.dstPitch = to_pitch;
  description.WidthInBytes = width;
  description.Height = height;
  return description;
}

CUresult contexts_of(int to_device, CUcontext& there, int from_device, CUcontext& here) {
  const CUresult result = context_of_device(to_device, there);
  return result == CUDA_SUCCESS ? context_of_device(from_device, here) : result;
}

// The bytes [offset, offset + bytes) of a device variable.
cudaError_t inside_variable(const void* symbol, std::size_t offset, std::size_t bytes, void*& out) {
  CUdeviceptr address = 0;
  std::size_t size = 0;
  const cudaError_t error = variable_address(symbol, address, size);
  if (error != cudaSuccess) return error;
  if (offset > size || bytes > size - offset) return cudaErrorInvalidValue;
  out = reinterpret_cast<void*>(address + offset);
  return cudaSuccess;
}

}  // namespace

GAPLESS_SIM_RUNTIME_API cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpy");
  return copy(to, from, bytes, kind);
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                        cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyAsync");
  return copy_async(to, from, bytes, kind, stream);
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyPeer(void* to, int to_device, const void* from, int from_device, size_t bytes) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyPeer");
  CUcontext there = nullptr;
  CUcontext here = nullptr;
  if (const CUresult bad = contexts_of(to_device, there, from_device, here); bad != CUDA_SUCCESS) return finish(bad);
  return finish(cuMemcpyPeer(address_of(to), there, address_of(from), here, bytes));
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                                            cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyPeerAsync");
  CUcontext there = nullptr;
  CUcontext here = nullptr;
  if (const CUresult bad = contexts_of(to_device, there, from_device, here); bad != CUDA_SUCCESS) return finish(bad);
  return finish(cuMemcpyPeerAsync(address_of(to), there, address_of(from), here, bytes, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                                     size_t height, cudaMemcpyKind kind) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpy2D");
  if (!valid(kind)) return finish(cudaErrorInvalidMemcpyDirection);
  const CUDA_MEMCPY2D description = rows(to, to_pitch, from, from_pitch, width, height);
  return finish(cuMemcpy2D(&description));
}

GAPLESS_SIM_RUNTIME_API cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                                          size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpy2DAsync");
  if (!valid(kind)) return finish(cudaErrorInvalidMemcpyDirection);
  const CUDA_MEMCPY2D description = rows(to, to_pitch, from, from_pitch, width, height);
  return finish(cuMemcpy2DAsync(&description, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset,
                                           cudaMemcpyKind kind) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyToSymbol");
  void* to = nullptr;
  const cudaError_t error = inside_variable(symbol, offset, bytes, to);
  return error == cudaSuccess ? copy(to, from, bytes, kind) : finish(error);
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset,
                                             cudaMemcpyKind kind) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyFromSymbol");
  void* from = nullptr;
  const cudaError_t error = inside_variable(symbol, offset, bytes, from);
  return error == cudaSuccess ? copy(to, from, bytes, kind) : finish(error);
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes, size_t offset,
                                                cudaMemcpyKind kind, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyToSymbolAsync");
  void* to = nullptr;
  const cudaError_t error = inside_variable(symbol, offset, bytes, to);
  return error == cudaSuccess ? copy_async(to, from, bytes, kind, stream) : finish(error);
}

GAPLESS_SIM_RUNTIME_API cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t bytes, size_t offset,
                                                  cudaMemcpyKind kind, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemcpyFromSymbolAsync");
  void* from = nullptr;
  const cudaError_t error = inside_variable(symbol, offset, bytes, from);
  return error == cudaSuccess ? copy_async(to, from, bytes, kind, stream) : finish(error);
}

GAPLESS_SIM_RUNTIME_API cudaMemset(void* to, int value, size_t bytes) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemset");
  return finish(cuMemsetD8(address_of(to), static_cast<unsigned char>(value), bytes));
}

GAPLESS_SIM_RUNTIME_API cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemsetAsync");
  return finish(cuMemsetD8Async(address_of(to), static_cast<unsigned char>(value), bytes, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaMemset2D(void* to, size_t pitch, int value, size_t width, size_t height) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemset2D");
  return finish(cuMemsetD2D8(address_of(to), pitch, static_cast<unsigned char>(value), width, height));
}

GAPLESS_SIM_RUNTIME_API cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height,
                                          cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemset2DAsync");
  return finish(cuMemsetD2D8Async(address_of(to), pitch, static_cast<unsigned char>(value), width, height,
                                  resolve_stream(stream)));
}
