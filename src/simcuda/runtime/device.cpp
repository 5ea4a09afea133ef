// SPDX-License-Identifier: Apache-2.0
// Versions, devices, their properties, and the thread's current device.
#include <atomic>
#include <cstring>

#include "simcuda/runtime/api.hpp"

using namespace gapless::simcuda;

namespace {

constexpr int kMaxDevices = 64;

thread_local int selected_device = 0;  // what cudaSetDevice said before the thread had a context

// The runtime holds one reference to each primary context that it uses, for the life of the process.
CUresult retained_context(int device, CUcontext& context) {
  static std::atomic<CUcontext> contexts[kMaxDevices];
  auto& slot = contexts[device];
  context = slot.load(std::memory_order_acquire);
  if (context != nullptr) return CUDA_SUCCESS;
  const CUresult result = cuDevicePrimaryCtxRetain(&context, device);
  if (result != CUDA_SUCCESS) return result;
  CUcontext expected = nullptr;
  if (!slot.compare_exchange_strong(expected, context)) cuDevicePrimaryCtxRelease(device);
  return CUDA_SUCCESS;
}

CUresult device_count(int& count) {
  const CUresult result = ensure_driver();
  return result == CUDA_SUCCESS ? cuDeviceGetCount(&count) : result;
}

bool valid(int device) {
  int count = 0;
  return device_count(count) == CUDA_SUCCESS && device >= 0 && device < count;
}

int attribute(int device, CUdevice_attribute which) {
  int value = 0;
  cuDeviceGetAttribute(&value, which, device);
  return value;
}

std::size_t size_attribute(int device, CUdevice_attribute which) {
  return static_cast<std::size_t>(attribute(device, which));
}

void fill_limits(cudaDeviceProp& p, int device) {
  p.maxThreadsPerBlock = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  p.maxThreadsDim[0] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X);
  p.maxThreadsDim[1] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y);
  p.maxThreadsDim[2] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z);
  p.maxGridSize[0] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X);
  p.maxGridSize[1] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y);
  p.maxGridSize[2] = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z);
  p.maxThreadsPerMultiProcessor = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  p.maxBlocksPerMultiProcessor = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR);
  p.regsPerBlock = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK);
  p.regsPerMultiprocessor = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR);
  p.sharedMemPerBlock = size_attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
  p.sharedMemPerBlockOptin = size_attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  p.sharedMemPerMultiprocessor = size_attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  p.reservedSharedMemPerBlock = size_attribute(device, CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
  p.totalConstMem = size_attribute(device, CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY);
  p.memPitch = size_attribute(device, CU_DEVICE_ATTRIBUTE_MAX_PITCH);
  p.textureAlignment = size_attribute(device, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT);
  p.texturePitchAlignment = size_attribute(device, CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT);
  p.surfaceAlignment = size_attribute(device, CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT);
}

void fill_features(cudaDeviceProp& p, int device) {
  p.major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  p.minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  p.multiProcessorCount = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  p.warpSize = attribute(device, CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  p.l2CacheSize = attribute(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  p.persistingL2CacheMaxSize = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE);
  p.accessPolicyMaxWindowSize = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE);
  p.memoryBusWidth = attribute(device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  p.pciBusID = attribute(device, CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  p.asyncEngineCount = attribute(device, CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT);
  p.canMapHostMemory = attribute(device, CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY);
  p.concurrentKernels = attribute(device, CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS);
  p.ECCEnabled = attribute(device, CU_DEVICE_ATTRIBUTE_ECC_ENABLED);
  p.unifiedAddressing = attribute(device, CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING);
  p.streamPrioritiesSupported = attribute(device, CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED);
  p.globalL1CacheSupported = attribute(device, CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED);
  p.localL1CacheSupported = attribute(device, CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED);
  p.cooperativeLaunch = attribute(device, CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH);
  p.hostRegisterSupported = attribute(device, CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED);
  p.canUseHostPointerForRegisteredMem = attribute(device, CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM);
  p.memoryPoolsSupported = attribute(device, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
}

}  // namespace

CUresult gapless::simcuda::ensure_driver() {
  // Not cached on failure: a later call reports it again. Success is cached by cuInit itself.
  return cuInit(0);
}

CUresult gapless::simcuda::ensure_context() {
  CUdevice device = 0;
  const CUresult current = cuCtxGetDevice(&device);
  if (current == CUDA_SUCCESS || current == CUDA_ERROR_NOT_PERMITTED) return current;
  if (const CUresult result = ensure_driver(); result != CUDA_SUCCESS) return result;
  CUcontext context = nullptr;
  const CUresult result = retained_context(selected_device, context);
  return result == CUDA_SUCCESS ? cuCtxSetCurrent(context) : result;
}

CUresult gapless::simcuda::context_of_device(int device, CUcontext& context) {
  return valid(device) ? retained_context(device, context) : CUDA_ERROR_INVALID_DEVICE;
}

GAPLESS_SIM_RUNTIME_API cudaDriverGetVersion(int* version) {
  GAPLESS_SIM_RUNTIME_CALL("cudaDriverGetVersion");
  return finish(cuDriverGetVersion(version));
}

GAPLESS_SIM_RUNTIME_API cudaRuntimeGetVersion(int* version) {
  GAPLESS_SIM_RUNTIME_CALL("cudaRuntimeGetVersion");
  if (version == nullptr) return finish(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaGetDeviceCount(int* count) {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetDeviceCount");
  if (count == nullptr) return finish(cudaErrorInvalidValue);
  return finish(device_count(*count));
}

GAPLESS_SIM_RUNTIME_API cudaSetDevice(int device) {
  GAPLESS_SIM_RUNTIME_CALL("cudaSetDevice");
  if (const CUresult result = ensure_driver(); result != CUDA_SUCCESS) return finish(result);
  if (!valid(device)) return finish(cudaErrorInvalidDevice);
  selected_device = device;
  CUcontext context = nullptr;
  const CUresult result = retained_context(device, context);
  return finish(result == CUDA_SUCCESS ? cuCtxSetCurrent(context) : result);
}

GAPLESS_SIM_RUNTIME_API cudaGetDevice(int* device) {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetDevice");
  if (device == nullptr) return finish(cudaErrorInvalidValue);
  if (const CUresult result = ensure_driver(); result != CUDA_SUCCESS) return finish(result);
  CUdevice current = 0;
  const CUresult result = cuCtxGetDevice(&current);
  if (result == CUDA_ERROR_NOT_PERMITTED) return finish(result);
  *device = result == CUDA_SUCCESS ? current : selected_device;
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetDeviceProperties");
  if (properties == nullptr) return finish(cudaErrorInvalidValue);
  if (const CUresult result = ensure_driver(); result != CUDA_SUCCESS) return finish(result);
  if (!valid(device)) return finish(cudaErrorInvalidDevice);
  std::memset(properties, 0, sizeof *properties);
  cuDeviceGetName(properties->name, sizeof properties->name, device);
  cuDeviceGetUuid(reinterpret_cast<CUuuid*>(&properties->uuid), device);
  cuDeviceTotalMem(&properties->totalGlobalMem, device);
  fill_limits(*properties, device);
  fill_features(*properties, device);
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceGetAttribute");
  return finish(cuDeviceGetAttribute(value, static_cast<CUdevice_attribute>(which), device));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetPCIBusId(char* text, int bytes, int device) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceGetPCIBusId");
  return finish(cuDeviceGetPCIBusId(text, bytes, device));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetByPCIBusId(int* device, const char* text) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceGetByPCIBusId");
  return finish(cuDeviceGetByPCIBusId(device, text));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaDeviceGetStreamPriorityRange");
  return finish(cuCtxGetStreamPriorityRange(least, greatest));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceSynchronize() {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaDeviceSynchronize");
  return finish(cuCtxSynchronize());
}

GAPLESS_SIM_RUNTIME_API cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  GAPLESS_SIM_RUNTIME_DRIVER_CALL("cudaDeviceCanAccessPeer");
  return finish(cuDeviceCanAccessPeer(can, device, peer));
}

GAPLESS_SIM_RUNTIME_API cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaDeviceEnablePeerAccess");
  CUcontext context = nullptr;
  const CUresult result = context_of_device(peer, context);
  return finish(result == CUDA_SUCCESS ? cuCtxEnablePeerAccess(context, flags) : result);
}

GAPLESS_SIM_RUNTIME_API cudaDeviceDisablePeerAccess(int peer) {
  GAPLESS_SIM_RUNTIME_CONTEXT_CALL("cudaDeviceDisablePeerAccess");
  CUcontext context = nullptr;
  const CUresult result = context_of_device(peer, context);
  return finish(result == CUDA_SUCCESS ? cuCtxDisablePeerAccess(context) : result);
}

// Profilers are told nothing.
GAPLESS_SIM_RUNTIME_API cudaProfilerStart() {
  GAPLESS_SIM_RUNTIME_CALL("cudaProfilerStart");
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaProfilerStop() {
  GAPLESS_SIM_RUNTIME_CALL("cudaProfilerStop");
  return cudaSuccess;
}

GAPLESS_SIM_RUNTIME_API cudaGetDriverEntryPointByVersion(const char* symbol, void** out, unsigned version,
                                                         unsigned long long flags,
                                                         cudaDriverEntryPointQueryResult* status) {
  GAPLESS_SIM_RUNTIME_CALL("cudaGetDriverEntryPointByVersion");
  if (symbol == nullptr || out == nullptr) return finish(cudaErrorInvalidValue);
  if (flags == cudaEnableDefault && PerThreadDefault::active()) flags = cudaEnablePerThreadDefaultStream;
  CUdriverProcAddressQueryResult found{};
  const CUresult result = cuGetProcAddress(symbol, out, static_cast<int>(version), flags, &found);
  // Unlike the driver, the runtime says only in `status` that there is no such function.
  if (status != nullptr) *status = static_cast<cudaDriverEntryPointQueryResult>(found);
  return result == CUDA_ERROR_NOT_FOUND ? cudaSuccess : finish(result);
}
