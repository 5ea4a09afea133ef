// SPDX-License-Identifier: Apache-2.0
// Device memory, pinned host memory, the default pools, and what an address is.
#include <cstring>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

CUdeviceptr address_of(const void* pointer) {
  return reinterpret_cast<CUdeviceptr>(pointer);
}

}  // namespace

GAPLESS_SIM_RUNTIME_API cudaMemGetInfo(size_t* free, size_t* total) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMemGetInfo");
  return finish(cuMemGetInfo(free, total));
}

GAPLESS_SIM_RUNTIME_API cudaMalloc(void** out, size_t bytes) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMalloc");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  CUdeviceptr address = 0;
  const CUresult result = cuMemAlloc(&address, bytes);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<void*>(address);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaMallocPitch(void** out, size_t* pitch, size_t width, size_t height) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMallocPitch");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  CUdeviceptr address = 0;
  const CUresult result = cuMemAllocPitch(&address, pitch, width, height, 4);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<void*>(address);
  return finish(result);
}

GAPLESS_SIM_RUNTIME_API cudaFree(void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFree");
  return finish(cuMemFree(address_of(pointer)));
}

GAPLESS_SIM_RUNTIME_API cudaHostAlloc(void** out, size_t bytes, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaHostAlloc");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  *out = nullptr;
  return bytes == 0 ? cudaSuccess : finish(cuMemHostAlloc(out, bytes, flags));
}

GAPLESS_SIM_RUNTIME_API cudaMallocHost(void** out, size_t bytes) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMallocHost");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  *out = nullptr;
  return bytes == 0 ? cudaSuccess : finish(cuMemHostAlloc(out, bytes, 0));
}

GAPLESS_SIM_RUNTIME_API cudaFreeHost(void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFreeHost");
  return finish(cuMemFreeHost(pointer));
}

GAPLESS_SIM_RUNTIME_API cudaHostRegister(void* pointer, size_t bytes, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaHostRegister");
  return finish(cuMemHostRegister(pointer, bytes, flags));
}

GAPLESS_SIM_RUNTIME_API cudaHostUnregister(void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaHostUnregister");
  return finish(cuMemHostUnregister(pointer));
}

GAPLESS_SIM_RUNTIME_API cudaHostGetDevicePointer(void** out, void* pointer, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaHostGetDevicePointer");
  return finish(cuMemHostGetDevicePointer(reinterpret_cast<CUdeviceptr*>(out), pointer, flags));
}

GAPLESS_SIM_RUNTIME_API cudaHostGetFlags(unsigned* flags, void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaHostGetFlags");
  return finish(cuMemHostGetFlags(flags, pointer));
}

// ---- stream-ordered allocation

GAPLESS_SIM_RUNTIME_API cudaMallocAsync(void** out, size_t bytes, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMallocAsync");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  *out = nullptr;
  return bytes == 0 ? cudaSuccess
                    : finish(cuMemAllocAsync(reinterpret_cast<CUdeviceptr*>(out), bytes, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaMallocFromPoolAsync(void** out, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaMallocFromPoolAsync");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  return finish(cuMemAllocFromPoolAsync(reinterpret_cast<CUdeviceptr*>(out), bytes, pool, resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaFreeAsync(void* pointer, cudaStream_t stream) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaFreeAsync");
  return finish(cuMemFreeAsync(address_of(pointer), resolve_stream(stream)));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetDefaultMemPool(cudaMemPool_t* out, int device) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceGetDefaultMemPool");
  return finish(cuDeviceGetDefaultMemPool(out, device));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetMemPool(cudaMemPool_t* out, int device) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceGetMemPool");
  return finish(cuDeviceGetMemPool(out, device));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceSetMemPool");
  return finish(cuDeviceSetMemPool(device, pool));
}

// The enumerators of the runtime are the driver's numbers.
GAPLESS_SIM_RUNTIME_API cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaMemPoolGetAttribute");
  return finish(cuMemPoolGetAttribute(pool, static_cast<CUmemPool_attribute>(attribute), value));
}

GAPLESS_SIM_RUNTIME_API cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaMemPoolSetAttribute");
  return finish(cuMemPoolSetAttribute(pool, static_cast<CUmemPool_attribute>(attribute), value));
}

GAPLESS_SIM_RUNTIME_API cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaMemPoolTrimTo");
  return finish(cuMemPoolTrimTo(pool, keep));
}

GAPLESS_SIM_RUNTIME_API cudaMemPoolSetAccess(cudaMemPool_t pool, const cudaMemAccessDesc* map, size_t count) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaMemPoolSetAccess");
  static_assert(sizeof(cudaMemAccessDesc) == sizeof(CUmemAccessDesc));
  return finish(cuMemPoolSetAccess(pool, reinterpret_cast<const CUmemAccessDesc*>(map), count));
}

// ---- pointers

GAPLESS_SIM_RUNTIME_API cudaPointerGetAttributes(cudaPointerAttributes* out, const void* pointer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaPointerGetAttributes");
  if (out == nullptr) return finish(cudaErrorInvalidValue);
  std::memset(out, 0, sizeof *out);
  unsigned type = 0;
  int device = -2;
  CUdeviceptr on_device = 0;
  void* on_host = nullptr;
  CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                                      CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER};
  void* values[] = {&type, &device, &on_device, &on_host};
  const CUresult result = cuPointerGetAttributes(4, attributes, values, address_of(pointer));
  if (result != CUDA_SUCCESS) return finish(result);
  out->type = type == CU_MEMORYTYPE_DEVICE ? cudaMemoryTypeDevice
              : type == CU_MEMORYTYPE_HOST ? cudaMemoryTypeHost
                                           : cudaMemoryTypeUnregistered;
  out->device = device;
  out->devicePointer = reinterpret_cast<void*>(on_device);
  out->hostPointer = type == 0 ? const_cast<void*>(pointer) : on_host;
  return cudaSuccess;
}
