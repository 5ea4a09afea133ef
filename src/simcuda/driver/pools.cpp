// SPDX-License-Identifier: Apache-2.0
// Stream-ordered allocation: cuMemAllocAsync on each device's default pool. Pools of one's own are not simulated:
// cuMemPoolCreate is a trampoline.
#include <array>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"
#include "simcuda/driver/permissions.hpp"

using namespace gapless::simcuda;

namespace {

// A pool's handle is the address of its device's place here.
std::array<char, kMaxDevices>& pool_handles() {
  static std::array<char, kMaxDevices> handles;
  return handles;
}

CUmemoryPool pool_of(int device) {
  return reinterpret_cast<CUmemoryPool>(&pool_handles()[static_cast<std::size_t>(device)]);
}

bool device_of(Machine* m, CUmemoryPool pool, int& device) {
  for (device = 0; device < m->device_count(); ++device) {
    if (pool == pool_of(device)) return true;
  }
  return false;
}

bool valid(Machine* m, int device) {
  return device >= 0 && device < m->device_count();
}

CUresult allocate(Machine* m, int device, CUdeviceptr* out, std::size_t bytes, CUstream stream, int pool) {
  GAPLESS_SIM_REQUIRE(out != nullptr && bytes != 0);
  gapless::driver::Address address = 0;
  const CUstream resolved = resolve_stream(stream);
  const Result result = m->pool_allocate(device, bytes, resolved, address, pool);
  if (result == Result::ok) *out = address;
  return observed("cuMemAllocAsync", result,
                  {.device = device, .address = address, .bytes = bytes, .stream = resolved, .has_stream = true});
}

}  // namespace

GAPLESS_SIM_API cuMemAllocAsync(CUdeviceptr* out, size_t bytes, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemAllocAsync");
  return allocate(m, device, out, bytes, stream, -1);
}

GAPLESS_SIM_API cuMemAllocFromPoolAsync(CUdeviceptr* out, size_t bytes, CUmemoryPool pool, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemAllocFromPoolAsync");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(device_of(m, pool, owner));
  return allocate(m, device, out, bytes, stream, owner);
}

GAPLESS_SIM_API cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
  GAPLESS_SIM_CONTEXT_CALL("cuMemFreeAsync");
  GAPLESS_SIM_REQUIRE(address != 0);
  const CUstream resolved = resolve_stream(stream);
  return observed("cuMemFreeAsync", m->pool_free(device, address, resolved),
                  {.device = device, .address = address, .stream = resolved, .has_stream = true});
}

GAPLESS_SIM_API cuDeviceGetDefaultMemPool(CUmemoryPool* out, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetDefaultMemPool");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  *out = pool_of(device);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetMemPool(CUmemoryPool* out, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetMemPool");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  *out = pool_of(device);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
  GAPLESS_SIM_CALL("cuDeviceSetMemPool");
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  return pool == pool_of(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

GAPLESS_SIM_API cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
  GAPLESS_SIM_CALL("cuMemPoolGetAttribute");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(value != nullptr && device_of(m, pool, owner));
  sim::PoolStats stats;
  const Result result = m->pool_stats(owner, stats);
  if (result != Result::ok) return to_cuda(result);
  auto* wide = static_cast<cuuint64_t*>(value);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      *wide = stats.release_threshold;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
      *wide = stats.reserved;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
      *wide = stats.reserved_high;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      *wide = stats.used;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      *wide = stats.used_high;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      *static_cast<int*>(value) = 1;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

GAPLESS_SIM_API cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute attribute, void* value) {
  GAPLESS_SIM_CALL("cuMemPoolSetAttribute");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(value != nullptr && device_of(m, pool, owner));
  const cuuint64_t* wide = static_cast<const cuuint64_t*>(value);
  switch (attribute) {
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      return to_cuda(m->pool_set_release_threshold(owner, *wide));
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
      GAPLESS_SIM_REQUIRE(*wide == 0);
      return to_cuda(m->pool_reset_high(owner, true, false));
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      GAPLESS_SIM_REQUIRE(*wide == 0);
      return to_cuda(m->pool_reset_high(owner, false, true));
    // The simulated pool reuses memory in every order that is safe; a hint to do so less changes nothing.
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

GAPLESS_SIM_API cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
  GAPLESS_SIM_CALL("cuMemPoolTrimTo");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(device_of(m, pool, owner));
  return to_cuda(m->pool_trim(owner, keep));
}

GAPLESS_SIM_API cuMemPoolSetAccess(CUmemoryPool pool, const CUmemAccessDesc* map, size_t count) {
  GAPLESS_SIM_CALL("cuMemPoolSetAccess");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(map != nullptr && count != 0 && device_of(m, pool, owner));
  for (std::size_t index = 0; index < count; ++index) {
    Machine::Permission permission{};
    if (map[index].location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
    if (!valid(m, map[index].location.id)) return CUDA_ERROR_INVALID_DEVICE;
    if (const CUresult bad = permission_of(map[index].flags, permission); bad != CUDA_SUCCESS) return bad;
    if (map[index].location.id == owner && permission != Machine::Permission::read_write)
      return CUDA_ERROR_INVALID_VALUE;  // a pool's own device keeps its access
  }
  for (std::size_t index = 0; index < count; ++index) {
    Machine::Permission permission{};
    permission_of(map[index].flags, permission);
    const Result result = m->pool_set_access(owner, map[index].location.id, permission);
    if (result != Result::ok) return to_cuda(result);
  }
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool pool, CUmemLocation* location) {
  GAPLESS_SIM_CALL("cuMemPoolGetAccess");
  int owner = 0;
  GAPLESS_SIM_REQUIRE(flags != nullptr && location != nullptr && device_of(m, pool, owner));
  if (!valid(m, location->id)) return CUDA_ERROR_INVALID_DEVICE;
  Machine::Permission permission{};
  const Result result = m->pool_get_access(owner, location->id, permission);
  if (result == Result::ok) *flags = flags_of(permission);
  return to_cuda(result);
}
