// SPDX-License-Identifier: Apache-2.0
// The functions of libcuda.so.1 that gapless uses: one table of exported names and signatures. Written by hand, so that
// gapless builds and loads without CUDA's headers; tests/unit/driver checks the layouts against cuda.h where there is
// one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace gapless::driver::cuda {

using Context = void*;
using Device = int;

struct MemoryLocation {  // CUmemLocation
  int type = 1;          // CU_MEM_LOCATION_TYPE_DEVICE
  int id = 0;
};

struct AllocationProperties {      // CUmemAllocationProp
  int type = 1;                    // CU_MEM_ALLOCATION_TYPE_PINNED
  int requested_handle_types = 0;  // CU_MEM_HANDLE_TYPE_*
  MemoryLocation location;
  void* win32_handle_metadata = nullptr;
  unsigned char compression_type = 0;
  unsigned char gpu_direct_rdma_capable = 0;
  unsigned short usage = 0;
  unsigned char reserved[4] = {};
};

struct AccessDescription {  // CUmemAccessDesc
  MemoryLocation location;
  int flags = 3;  // CU_MEM_ACCESS_FLAGS_PROT_READWRITE
};

inline constexpr int kHandlePosixFd = 1;
inline constexpr int kHandleFabric = 8;
inline constexpr int kEventDisableTiming = 2;
inline constexpr int kGranularityMinimum = 0;
inline constexpr int kAttributeMultiprocessors = 16;
inline constexpr int kAttributeThreadsPerMultiprocessor = 39;
inline constexpr int kAttributeVirtualMemory = 102;
inline constexpr int kAttributePosixFd = 103;
inline constexpr int kAttributeGpuDirectRdma = 110;
inline constexpr int kAttributeFabric = 128;

// X(member, exported name, parameters). Every function returns a CUresult. The names carry the version that the
// signature belongs to: the unversioned ones are older ABIs.
#define GAPLESS_CUDA_FUNCTIONS(X)                                                                          \
  X(init, "cuInit", (unsigned))                                                                            \
  X(device_get_count, "cuDeviceGetCount", (int*))                                                          \
  X(device_get, "cuDeviceGet", (Device*, int))                                                             \
  X(device_total_memory, "cuDeviceTotalMem_v2", (std::size_t*, Device))                                    \
  X(device_get_attribute, "cuDeviceGetAttribute", (int*, int, Device))                                     \
  X(primary_context_retain, "cuDevicePrimaryCtxRetain", (Context*, Device))                                \
  X(context_get_current, "cuCtxGetCurrent", (Context*))                                                    \
  X(context_push, "cuCtxPushCurrent_v2", (Context))                                                        \
  X(context_pop, "cuCtxPopCurrent_v2", (Context*))                                                         \
  X(context_synchronize, "cuCtxSynchronize", ())                                                           \
  X(memory_get_info, "cuMemGetInfo_v2", (std::size_t*, std::size_t*))                                      \
  X(address_reserve, "cuMemAddressReserve",                                                                \
    (std::uint64_t*, std::size_t, std::size_t, std::uint64_t, unsigned long long))                         \
  X(address_free, "cuMemAddressFree", (std::uint64_t, std::size_t))                                        \
  X(create, "cuMemCreate", (std::uint64_t*, std::size_t, const AllocationProperties*, unsigned long long)) \
  X(release, "cuMemRelease", (std::uint64_t))                                                              \
  X(map, "cuMemMap", (std::uint64_t, std::size_t, std::size_t, std::uint64_t, unsigned long long))         \
  X(unmap, "cuMemUnmap", (std::uint64_t, std::size_t))                                                     \
  X(set_access, "cuMemSetAccess", (std::uint64_t, std::size_t, const AccessDescription*, std::size_t))     \
  X(get_granularity, "cuMemGetAllocationGranularity", (std::size_t*, const AllocationProperties*, int))    \
  X(export_handle, "cuMemExportToShareableHandle", (void*, std::uint64_t, int, unsigned long long))        \
  X(import_handle, "cuMemImportFromShareableHandle", (std::uint64_t*, void*, int))                         \
  X(event_create, "cuEventCreate", (void**, unsigned))                                                     \
  X(event_destroy, "cuEventDestroy_v2", (void*))                                                           \
  X(event_record, "cuEventRecord", (void*, void*))                                                         \
  X(event_query, "cuEventQuery", (void*))                                                                  \
  X(event_synchronize, "cuEventSynchronize", (void*))                                                      \
  X(stream_wait_event, "cuStreamWaitEvent", (void*, void*, unsigned))                                      \
  X(stream_synchronize, "cuStreamSynchronize", (void*))                                                    \
  X(exchange_capture_mode, "cuThreadExchangeStreamCaptureMode", (int*))                                    \
  X(get_error_name, "cuGetErrorName", (int, const char**))

struct Functions {
#define GAPLESS_DECLARE(member, name, parameters) int(*member) parameters = nullptr;
  GAPLESS_CUDA_FUNCTIONS(GAPLESS_DECLARE)
#undef GAPLESS_DECLARE
  // Each driver has one of these two: the newer one came with 12.3 (edge data).
  int (*capture_info_v2)(void*, int*, std::uint64_t*, void**, void**, std::size_t*) = nullptr;
  int (*capture_info_v3)(void*, int*, std::uint64_t*, void**, void**, void**, std::size_t*) = nullptr;
};

// From the libcuda.so.1 that the process has already loaded (by its SONAME: the simulated one counts), else from the
// one that the loader finds. False, with the reason, where there is none or where it lacks a function. Does not
// initialise CUDA, so a process that forks afterwards is not harmed. The library stays loaded.
bool load_functions(Functions& out, std::string& why_not);

}  // namespace gapless::driver::cuda
