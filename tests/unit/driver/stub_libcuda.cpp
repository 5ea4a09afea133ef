// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 of a few lines: it answers, and remembers contexts and initialisations. With GAPLESS_OLD_DRIVER it
// lacks virtual memory management, as a driver older than CUDA 10.2 does.
#include <cstddef>
#include <cstdint>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) int

namespace {
thread_local std::vector<void*> contexts;
int primary[2];
int initialised = 0;
int calls_without_context = 0;

int needs_context() {
  if (contexts.empty() || contexts.back() != &primary[0]) ++calls_without_context;
  return 0;
}
}  // namespace

API stub_initialised() {
  return initialised;
}
API stub_calls_without_context() {
  return calls_without_context;
}
extern "C" __attribute__((visibility("default"))) void* stub_primary() {
  return &primary[0];
}

API cuInit(unsigned) {
  ++initialised;
  return 0;
}
API cuDeviceGetCount(int* n) {
  *n = 1;
  return 0;
}
API cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? 0 : 101;
}
API cuDeviceTotalMem_v2(std::size_t* n, int) {
  *n = 1u << 30;
  return 0;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 16 ? 100 : attribute == 39 ? 1536 : attribute == 102 || attribute == 103;
  return attribute == 128 ? 1 : 0;  // a driver that does not know the newest attribute
}
API cuDevicePrimaryCtxRetain(void** context, int) {
  *context = &primary[0];
  return 0;
}
API cuCtxGetCurrent(void** context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return 0;
}
API cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(context);
  return 0;
}
API cuCtxPopCurrent_v2(void** context) {
  *context = contexts.back();
  contexts.pop_back();
  return 0;
}
API cuCtxSynchronize() {
  return needs_context();
}
API cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total) {
  *free_bytes = 1;
  *total = 2;
  return needs_context();
}
#ifndef GAPLESS_OLD_DRIVER
API cuMemAddressReserve(std::uint64_t* at, std::size_t, std::size_t, std::uint64_t, unsigned long long) {
  *at = 1u << 30;
  return 0;
}
API cuMemAddressFree(std::uint64_t, std::size_t) {
  return 0;
}
// Tells what it was asked for in the handle: bytes of the request, device, handle types, RDMA.
API cuMemCreate(std::uint64_t* handle, std::size_t bytes, const void* properties, unsigned long long) {
  const auto* words = static_cast<const int*>(properties);
  const auto* bytes_of = static_cast<const unsigned char*>(properties);
  if (words[0] != 1 || words[2] != 1) return 1;  // pinned, on a device
  *handle = bytes | static_cast<std::uint64_t>(words[1]) << 56 | static_cast<std::uint64_t>(bytes_of[25]) << 48;
  return needs_context();
}
API cuMemRelease(std::uint64_t) {
  return 0;
}
API cuMemMap(std::uint64_t, std::size_t, std::size_t offset, std::uint64_t, unsigned long long) {
  return offset == 0 ? 0 : 1;
}
API cuMemUnmap(std::uint64_t, std::size_t) {
  return 700;
}
API cuMemSetAccess(std::uint64_t, std::size_t, const void* descriptions, std::size_t count) {
  const auto* words = static_cast<const int*>(descriptions);
  for (std::size_t i = 0; i < count; ++i) {
    if (words[3 * i] != 1 || words[3 * i + 1] != static_cast<int>(i) || words[3 * i + 2] != 3) return 1;
  }
  return 0;
}
API cuMemGetAllocationGranularity(std::size_t* bytes, const void*, int) {
  *bytes = 2u << 20;
  return 0;
}
API cuMemExportToShareableHandle(void* out, std::uint64_t, int type, unsigned long long) {
  *static_cast<int*>(out) = 5;
  return type == 1 ? 0 : 1;
}
API cuMemImportFromShareableHandle(std::uint64_t* handle, void* fd, int) {
  *handle = reinterpret_cast<std::uint64_t>(fd);
  return 0;
}
#endif
API cuEventCreate(void** event, unsigned flags) {
  *event = &primary[1];
  return flags == 2 ? needs_context() : 1;
}
API cuEventDestroy_v2(void*) {
  return needs_context();
}
API cuEventRecord(void*, void*) {
  return needs_context();
}
API cuEventQuery(void*) {
  needs_context();
  return 600;
}
API cuEventSynchronize(void*) {
  return needs_context();
}
API cuStreamWaitEvent(void*, void*, unsigned) {
  return needs_context();
}
API cuStreamSynchronize(void*) {
  return needs_context();
}
API cuStreamGetCaptureInfo_v2(void*, int* status, std::uint64_t* id, void**, void**, std::size_t*) {
  *status = 1;
  *id = 77;
  return needs_context();
}
API cuThreadExchangeStreamCaptureMode(int* mode) {
  *mode = 0;
  return 0;
}
API cuGetErrorName(int code, const char** name) {
  *name = code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : nullptr;
  return code == 700 ? 0 : 1;
}
