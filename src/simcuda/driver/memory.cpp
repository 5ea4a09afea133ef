// SPDX-License-Identifier: Apache-2.0
// Device memory of cuMemAlloc, and pinned host memory.
#include <cstdlib>
#include <map>
#include <mutex>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"
#include "simcuda/internal.hpp"

using namespace gapless::simcuda;

namespace {

constexpr std::size_t kHostAlignment = 4096;
constexpr std::size_t kPitchAlignment = 512;

struct HostBlocks {
  std::mutex mutex;
  std::map<void*, std::size_t> blocks;  // of cuMemHostAlloc, by address
};

HostBlocks& host_blocks() {
  static HostBlocks* all = new HostBlocks;
  return *all;
}

CUresult allocate_host(Machine* m, void** out, std::size_t bytes) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  void* block = nullptr;
  if (posix_memalign(&block, kHostAlignment, bytes) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  if (const Result result = m->host_register(block, bytes); result != Result::ok) {
    std::free(block);
    return to_cuda(result);
  }
  std::lock_guard lock(host_blocks().mutex);
  host_blocks().blocks[block] = bytes;
  *out = block;
  return CUDA_SUCCESS;
}

struct Variables {
  std::mutex mutex;
  std::map<std::pair<int, const void*>, CUdeviceptr> addresses;
};

}  // namespace

GAPLESS_SIM_API cuMemGetInfo(size_t* free, size_t* total) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemGetInfo");
  GAPLESS_SIM_REQUIRE(free != nullptr && total != nullptr);
  gapless::driver::MemoryInfo info;
  const Result result = m->memory_info(device, info);
  if (result != Result::ok) return to_cuda(result);
  *free = info.free_bytes;
  *total = info.total_bytes;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemAlloc(CUdeviceptr* out, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemAlloc");
  GAPLESS_SIM_REQUIRE(out != nullptr && bytes != 0);
  gapless::driver::Address address = 0;
  const Result result = m->allocate(device, bytes, address);
  if (result == Result::ok) *out = address;
  return observed("cuMemAlloc", result, {.device = device, .address = address, .bytes = bytes});
}

GAPLESS_SIM_API cuMemAllocPitch(CUdeviceptr* out, size_t* pitch, size_t width, size_t height, unsigned element_bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemAllocPitch");
  GAPLESS_SIM_REQUIRE(out != nullptr && pitch != nullptr && width != 0 && height != 0);
  GAPLESS_SIM_REQUIRE(element_bytes == 4 || element_bytes == 8 || element_bytes == 16);
  std::size_t row = 0;
  std::size_t bytes = 0;
  if (__builtin_add_overflow(width, kPitchAlignment - 1, &row)) return CUDA_ERROR_OUT_OF_MEMORY;
  row -= row % kPitchAlignment;
  if (__builtin_mul_overflow(row, height, &bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  gapless::driver::Address address = 0;
  const Result result = m->allocate(device, bytes, address);
  if (result == Result::ok) {
    *out = address;
    *pitch = row;
  }
  return observed("cuMemAllocPitch", result, {.device = device, .address = address, .bytes = bytes});
}

GAPLESS_SIM_API cuMemFree(CUdeviceptr address) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemFree");
  if (address == 0) return CUDA_SUCCESS;
  return observed("cuMemFree", m->free(device, address), {.device = device, .address = address});
}

GAPLESS_SIM_API cuMemHostAlloc(void** out, size_t bytes, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemHostAlloc");
  constexpr unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
  GAPLESS_SIM_REQUIRE(out != nullptr && (flags & ~known) == 0);
  return allocate_host(m, out, bytes);
}

GAPLESS_SIM_API cuMemAllocHost(void** out, size_t bytes) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemAllocHost");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  return allocate_host(m, out, bytes);
}

GAPLESS_SIM_API cuMemFreeHost(void* block) {
  GAPLESS_SIM_CALL("cuMemFreeHost");
  if (block == nullptr) return CUDA_SUCCESS;
  {
    std::lock_guard lock(host_blocks().mutex);
    GAPLESS_SIM_REQUIRE(host_blocks().blocks.contains(block));
  }
  // Of two threads that free one block only one gets past this.
  if (const Result result = m->host_unregister(block); result != Result::ok) return to_cuda(result);
  {
    std::lock_guard lock(host_blocks().mutex);
    host_blocks().blocks.erase(block);
  }
  std::free(block);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemHostRegister(void* block, size_t bytes, unsigned) {
  GAPLESS_SIM_CALL("cuMemHostRegister");
  GAPLESS_SIM_REQUIRE(block != nullptr && bytes != 0);
  return to_cuda(m->host_register(block, bytes));
}

GAPLESS_SIM_API cuMemHostUnregister(void* block) {
  GAPLESS_SIM_CALL("cuMemHostUnregister");
  return to_cuda(m->host_unregister(block));
}

// Unified addressing: pinned memory has one address.
GAPLESS_SIM_API cuMemHostGetDevicePointer(CUdeviceptr* out, void* block, unsigned flags) {
  GAPLESS_SIM_CALL("cuMemHostGetDevicePointer");
  GAPLESS_SIM_REQUIRE(out != nullptr && flags == 0);
  const auto address = reinterpret_cast<CUdeviceptr>(block);
  GAPLESS_SIM_REQUIRE(m->find(address).kind == sim::MemoryKind::pinned);
  *out = address;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemHostGetFlags(unsigned* flags, void* block) {
  GAPLESS_SIM_CALL("cuMemHostGetFlags");
  GAPLESS_SIM_REQUIRE(flags != nullptr &&
                      m->find(reinterpret_cast<CUdeviceptr>(block)).kind == sim::MemoryKind::pinned);
  *flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemGetAddressRange(CUdeviceptr* base, size_t* bytes, CUdeviceptr inside) {
  GAPLESS_SIM_CALL("cuMemGetAddressRange");
  const sim::PointerInfo info = m->find(inside);
  if (info.kind == sim::MemoryKind::none) return CUDA_ERROR_NOT_FOUND;
  if (base != nullptr) *base = info.base;
  if (bytes != nullptr) *bytes = info.bytes;
  return CUDA_SUCCESS;
}

CUresult gapless_sim_variable(const void* key, std::size_t bytes, CUdeviceptr* address) {
  Machine* m = machine();
  int device = 0;
  if (m == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  if (const CUresult error = current_device(device); error != CUDA_SUCCESS) return error;
  static Variables* variables = new Variables;
  std::lock_guard lock(variables->mutex);
  auto [entry, added] = variables->addresses.try_emplace({device, key}, 0);
  if (added) {
    gapless::driver::Address made = 0;
    const Result result = m->allocate(device, bytes, made);
    if (result != Result::ok) {
      variables->addresses.erase(entry);
      return to_cuda(result);
    }
    entry->second = made;
  }
  *address = entry->second;
  return CUDA_SUCCESS;
}
