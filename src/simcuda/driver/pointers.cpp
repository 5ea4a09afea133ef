// SPDX-License-Identifier: Apache-2.0
// What an address is.
#include "simcuda/driver/api.hpp"

using namespace gapless::simcuda;

namespace {

// The value of one attribute; NOT_SUPPORTED for attributes that the simulation has no answer to. `known`: the address
// is the device's or pinned.
CUresult attribute_of(const sim::PointerInfo& info, CUdeviceptr address, CUpointer_attribute attribute, void* out) {
  const bool pinned = info.kind == sim::MemoryKind::pinned;
  const bool known = info.kind != sim::MemoryKind::none;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      *static_cast<unsigned*>(out) =
          !known ? 0u : static_cast<unsigned>(pinned ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      *static_cast<int*>(out) = !known ? -2 : pinned ? 0 : info.device;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      // Memory of the virtual memory management has no context.
      *static_cast<CUcontext*>(out) = !known || pinned || info.kind == sim::MemoryKind::mapped
                                          ? nullptr
                                          : reinterpret_cast<CUcontext>(primary_context(info.device));
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      *static_cast<CUdeviceptr*>(out) = known ? address : 0;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      *static_cast<void**>(out) = pinned ? reinterpret_cast<void*>(address) : nullptr;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      *static_cast<CUdeviceptr*>(out) = info.base;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      *static_cast<size_t*>(out) = info.bytes;
      return CUDA_SUCCESS;
    // Two allocations that follow each other at one address are not told apart.
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      *static_cast<unsigned long long*>(out) = info.base;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      *static_cast<int*>(out) = 0;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
      *static_cast<int*>(out) = known && !info.reserved_only ? 1 : 0;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      *static_cast<int*>(out) = 0;
      return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
      *static_cast<int*>(out) = 0;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

}  // namespace

GAPLESS_SIM_API cuPointerGetAttribute(void* out, CUpointer_attribute attribute, CUdeviceptr address) {
  GAPLESS_SIM_CALL("cuPointerGetAttribute");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  const sim::PointerInfo info = m->find(address);
  if (info.kind == sim::MemoryKind::none && attribute != CU_POINTER_ATTRIBUTE_IS_MANAGED)
    return CUDA_ERROR_INVALID_VALUE;
  return attribute_of(info, address, attribute, out);
}

// Unlike the singular form it answers for unknown addresses too, with nulls.
GAPLESS_SIM_API cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** out,
                                       CUdeviceptr address) {
  GAPLESS_SIM_CALL("cuPointerGetAttributes");
  GAPLESS_SIM_REQUIRE(attributes != nullptr && out != nullptr);
  const sim::PointerInfo info = m->find(address);
  for (unsigned index = 0; index < count; ++index) {
    const CUresult result = attribute_of(info, address, attributes[index], out[index]);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

// Synchronising copies is all that can be asked of memory, and the simulation's pageable copies do it anyway.
GAPLESS_SIM_API cuPointerSetAttribute(const void* value, CUpointer_attribute attribute, CUdeviceptr address) {
  GAPLESS_SIM_CALL("cuPointerSetAttribute");
  GAPLESS_SIM_REQUIRE(value != nullptr && m->find(address).kind != sim::MemoryKind::none);
  return attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}
