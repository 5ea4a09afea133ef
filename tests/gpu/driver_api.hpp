// SPDX-License-Identifier: Apache-2.0
// libcuda.so.1, opened at run time: the programs of this folder are built without a driver, run on a machine with one,
// and run on the simulated device (gapless-sim) in every test run. Names are cuda.h's, so each function has the ABI
// that the header was written for.
#pragma once

#include <cuda.h>

#include <string>

namespace gapless::gpu {

// clang-format off
#define GAPLESS_GPU_FUNCTIONS(X) \
  X(cuInit) X(cuDriverGetVersion) X(cuDeviceGet) X(cuDeviceGetCount) X(cuDeviceGetName) X(cuDeviceGetAttribute) \
  X(cuDeviceTotalMem) X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuCtxSynchronize) X(cuGetErrorName) \
  X(cuMemGetInfo) X(cuMemAlloc) X(cuMemFree) X(cuMemAllocAsync) X(cuMemFreeAsync) X(cuMemHostAlloc) \
  X(cuMemFreeHost) X(cuMemGetAllocationGranularity) X(cuMemAddressReserve) X(cuMemAddressFree) X(cuMemCreate) \
  X(cuMemRelease) X(cuMemMap) X(cuMemUnmap) X(cuMemSetAccess) X(cuMemGetAccess) X(cuMemRetainAllocationHandle) \
  X(cuMemExportToShareableHandle) X(cuMemImportFromShareableHandle) X(cuPointerGetAttribute) X(cuMemcpyHtoD) \
  X(cuMemcpyDtoH) X(cuMemcpyDtoDAsync) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync) X(cuMemsetD8Async) \
  X(cuMemsetD32Async) X(cuMemsetD32) X(cuStreamCreate) X(cuStreamDestroy) X(cuStreamSynchronize) X(cuStreamQuery) \
  X(cuStreamWaitEvent) X(cuEventCreate) X(cuEventDestroy) X(cuEventRecord) X(cuEventQuery) X(cuEventSynchronize) \
  X(cuEventElapsedTime) X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuStreamIsCapturing) \
  X(cuThreadExchangeStreamCaptureMode) X(cuGraphInstantiateWithFlags) X(cuGraphLaunch) X(cuGraphDestroy) \
  X(cuGraphExecDestroy) X(cuGraphGetNodes) X(cuGraphGetRootNodes) X(cuGraphGetEdges) X(cuGraphNodeGetType) \
  X(cuGraphNodeGetDependencies) X(cuGraphNodeGetDependentNodes) X(cuStreamGetCaptureInfo) X(cuIpcGetMemHandle) \
  X(cuIpcOpenMemHandle) X(cuIpcCloseMemHandle) X(cuIpcGetEventHandle) X(cuModuleLoadData) X(cuModuleGetFunction) \
  X(cuLaunchKernel) X(cuLaunchKernelEx)
// clang-format on

// Macros of cuda.h rename some functions to the versioned ones: the argument is expanded first, here and in every use.
#define GAPLESS_GPU_TEXT_(name) #name
#define GAPLESS_GPU_TEXT(name) GAPLESS_GPU_TEXT_(name)

struct Cuda {
#define GAPLESS_GPU_MEMBER(name) decltype(&::name) name = nullptr;
  GAPLESS_GPU_FUNCTIONS(GAPLESS_GPU_MEMBER)
#undef GAPLESS_GPU_MEMBER

  void* library = nullptr;
  bool simulated = false;  // the library is gapless's simulation, not a driver

  // Opens the library; false and the reason where there is none or it is too old.
  bool open(std::string& why_not);
  // "CUDA_ERROR_INVALID_VALUE"
  std::string name(CUresult result) const;
  void* find(const char* symbol) const;  // of the library; null where it has none
};

}  // namespace gapless::gpu
