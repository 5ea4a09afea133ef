// SPDX-License-Identifier: Apache-2.0
// Virtual memory management: reservations, handles, mappings, access.
#include <cstring>
#include <vector>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/observer.hpp"
#include "simcuda/driver/permissions.hpp"

using namespace gapless::simcuda;

namespace {

static_assert(sizeof(sim::SharedMemory) <= sizeof(CUmemFabricHandle));

bool valid_device(Machine* m, const CUmemLocation& location) {
  return location.type == CU_MEM_LOCATION_TYPE_DEVICE && location.id >= 0 && location.id < m->device_count();
}

bool supported(const CUmemAllocationProp* properties) {
  return properties != nullptr && properties->type == CU_MEM_ALLOCATION_TYPE_PINNED;
}

}  // namespace

GAPLESS_SIM_API cuMemGetAllocationGranularity(size_t* out, const CUmemAllocationProp* properties,
                                              CUmemAllocationGranularity_flags option) {
  GAPLESS_SIM_CALL("cuMemGetAllocationGranularity");
  GAPLESS_SIM_REQUIRE(out != nullptr && supported(properties) && valid_device(m, properties->location));
  GAPLESS_SIM_REQUIRE(option == CU_MEM_ALLOC_GRANULARITY_MINIMUM || option == CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
  gapless::driver::DeviceInfo info;
  const Result result = m->device_info(properties->location.id, info);
  if (result == Result::ok) *out = info.granularity;
  return to_cuda(result);
}

GAPLESS_SIM_API cuMemAddressReserve(CUdeviceptr* out, size_t bytes, size_t alignment, CUdeviceptr fixed,
                                    unsigned long long flags) {
  GAPLESS_SIM_CALL("cuMemAddressReserve");
  GAPLESS_SIM_REQUIRE(out != nullptr && flags == 0);
  gapless::driver::Address address = 0;
  const Result result = m->address_reserve(bytes, alignment, fixed, address);
  if (result == Result::ok) *out = address;
  return observed("cuMemAddressReserve", result, {.address = address, .bytes = bytes});
}

GAPLESS_SIM_API cuMemAddressFree(CUdeviceptr base, size_t bytes) {
  GAPLESS_SIM_CALL("cuMemAddressFree");
  return observed("cuMemAddressFree", m->address_free(base, bytes), {.address = base, .bytes = bytes});
}

GAPLESS_SIM_API cuMemCreate(CUmemGenericAllocationHandle* out, size_t bytes, const CUmemAllocationProp* properties,
                            unsigned long long flags) {
  GAPLESS_SIM_CALL("cuMemCreate");
  GAPLESS_SIM_REQUIRE(out != nullptr && flags == 0 && supported(properties));
  if (properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_NOT_SUPPORTED;  // host memory
  if (!valid_device(m, properties->location)) return CUDA_ERROR_INVALID_DEVICE;
  gapless::driver::HandleProperties wanted;
  wanted.posix_fd = (properties->requestedHandleTypes & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) != 0;
  wanted.fabric = (properties->requestedHandleTypes & CU_MEM_HANDLE_TYPE_FABRIC) != 0;
  wanted.gpu_direct_rdma = properties->allocFlags.gpuDirectRDMACapable != 0;
  gapless::driver::Handle handle = 0;
  const Result result = m->create(properties->location.id, bytes, wanted, handle);
  if (result == Result::ok) *out = handle;
  return observed("cuMemCreate", result, {.device = properties->location.id, .bytes = bytes, .handle = handle});
}

GAPLESS_SIM_API cuMemRelease(CUmemGenericAllocationHandle handle) {
  GAPLESS_SIM_CALL("cuMemRelease");
  return observed("cuMemRelease", m->release(handle), {.handle = handle});
}

GAPLESS_SIM_API cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* out, void* inside) {
  GAPLESS_SIM_CALL("cuMemRetainAllocationHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  gapless::driver::Handle handle = 0;
  const Result result = m->retain(reinterpret_cast<gapless::driver::Address>(inside), handle);
  if (result == Result::ok) *out = handle;
  return to_cuda(result);
}

GAPLESS_SIM_API cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* out, CUmemGenericAllocationHandle handle) {
  GAPLESS_SIM_CALL("cuMemGetAllocationPropertiesFromHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  int owner = 0;
  std::size_t bytes = 0;
  gapless::driver::HandleProperties properties;
  const Result result = m->handle_info(handle, owner, bytes, properties);
  if (result != Result::ok) return to_cuda(result);
  *out = {};
  out->type = CU_MEM_ALLOCATION_TYPE_PINNED;
  out->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  out->location.id = owner;
  const int types = (properties.posix_fd ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : 0) |
                    (properties.fabric ? CU_MEM_HANDLE_TYPE_FABRIC : 0);
  out->requestedHandleTypes = static_cast<CUmemAllocationHandleType>(types);
  out->allocFlags.gpuDirectRDMACapable = properties.gpu_direct_rdma ? 1 : 0;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemMap(CUdeviceptr base, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                         unsigned long long flags) {
  GAPLESS_SIM_CALL("cuMemMap");
  GAPLESS_SIM_REQUIRE(flags == 0);
  return observed("cuMemMap", m->map(base, bytes, offset, handle), {.address = base, .bytes = bytes, .handle = handle});
}

GAPLESS_SIM_API cuMemUnmap(CUdeviceptr base, size_t bytes) {
  GAPLESS_SIM_CALL("cuMemUnmap");
  return observed("cuMemUnmap", m->unmap(base, bytes), {.address = base, .bytes = bytes});
}

// One Machine::set_access for each permission that occurs, so that the usual call (read-write for some devices) is one
// step.
GAPLESS_SIM_API cuMemSetAccess(CUdeviceptr base, size_t bytes, const CUmemAccessDesc* descriptions, size_t count) {
  GAPLESS_SIM_CALL("cuMemSetAccess");
  GAPLESS_SIM_REQUIRE(descriptions != nullptr && count != 0);
  std::vector<int> devices[3];
  for (std::size_t index = 0; index < count; ++index) {
    Machine::Permission permission{};
    if (!valid_device(m, descriptions[index].location)) return CUDA_ERROR_INVALID_DEVICE;
    if (const CUresult bad = permission_of(descriptions[index].flags, permission); bad != CUDA_SUCCESS) return bad;
    devices[static_cast<std::size_t>(permission)].push_back(descriptions[index].location.id);
  }
  for (const auto permission :
       {Machine::Permission::none, Machine::Permission::read, Machine::Permission::read_write}) {
    const auto& named = devices[static_cast<std::size_t>(permission)];
    if (named.empty()) continue;
    const Result result = m->set_access(base, bytes, named, permission);
    if (result != Result::ok) return observed("cuMemSetAccess", result, {.address = base, .bytes = bytes});
  }
  return observed("cuMemSetAccess", Result::ok, {.address = base, .bytes = bytes});
}

GAPLESS_SIM_API cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location, CUdeviceptr inside) {
  GAPLESS_SIM_CALL("cuMemGetAccess");
  GAPLESS_SIM_REQUIRE(flags != nullptr && location != nullptr);
  if (!valid_device(m, *location)) return CUDA_ERROR_INVALID_DEVICE;
  Machine::Permission permission{};
  const Result result = m->get_access(inside, location->id, permission);
  if (result != Result::ok) return to_cuda(result);
  *flags = flags_of(permission);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuMemExportToShareableHandle(void* out, CUmemGenericAllocationHandle handle,
                                             CUmemAllocationHandleType type, unsigned long long flags) {
  GAPLESS_SIM_CALL("cuMemExportToShareableHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr && flags == 0);
  if (type == CU_MEM_HANDLE_TYPE_FABRIC) {
    sim::SharedMemory memory;
    const Result result = m->export_fabric(handle, memory);
    if (result != Result::ok) return to_cuda(result);
    std::memset(out, 0, sizeof(CUmemFabricHandle));
    std::memcpy(out, &memory, sizeof memory);
    return CUDA_SUCCESS;
  }
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  int descriptor = -1;
  const Result result = m->export_posix_fd(handle, descriptor);
  if (result == Result::ok) *static_cast<int*>(out) = descriptor;
  return to_cuda(result);
}

GAPLESS_SIM_API cuMemImportFromShareableHandle(CUmemGenericAllocationHandle* out, void* os_handle,
                                               CUmemAllocationHandleType type) {
  GAPLESS_SIM_CALL("cuMemImportFromShareableHandle");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  gapless::driver::Handle handle = 0;
  if (type == CU_MEM_HANDLE_TYPE_FABRIC) {
    GAPLESS_SIM_REQUIRE(os_handle != nullptr);
    sim::SharedMemory memory;
    std::memcpy(&memory, os_handle, sizeof memory);
    const Result result = m->import_fabric(memory, handle);
    if (result == Result::ok) *out = handle;
    return to_cuda(result);
  }
  if (type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR) return CUDA_ERROR_NOT_SUPPORTED;
  const Result result = m->import_posix_fd(static_cast<int>(reinterpret_cast<std::intptr_t>(os_handle)), handle);
  if (result == Result::ok) *out = handle;
  return to_cuda(result);
}
