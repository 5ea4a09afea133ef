// SPDX-License-Identifier: Apache-2.0
// Initialisation and devices. The device is modelled after an 80 GiB data-centre GPU of compute capability 8.0, at
// which PyTorch chooses flash attention (at 9.0 it would choose cuDNN's, which has no stand-in).
#include <cstdio>
#include <cstring>

#include "simcuda/driver/api.hpp"

using namespace gapless::simcuda;

namespace {

bool valid(Machine* m, CUdevice device) {
  return device >= 0 && device < m->device_count();
}

// The bytes differ by device, as PyTorch tells devices apart by them.
void fill_uuid(CUuuid* uuid, CUdevice device) {
  for (std::size_t index = 0; index < sizeof uuid->bytes; ++index) uuid->bytes[index] = 0x5a;
  uuid->bytes[15] = static_cast<char>(device);
}

void fill_bus_id(char* text, int bytes, CUdevice device) {
  std::snprintf(text, static_cast<std::size_t>(bytes), "0000:%02x:00.0", static_cast<unsigned>(device) + 5);
}

int attribute_of(Machine* m, CUdevice_attribute attribute, CUdevice device) {
  gapless::driver::DeviceInfo info;
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
      return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
      return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
      return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
      return 48 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      return 163 << 10;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      return 164 << 10;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
      return 1 << 10;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
      return 64 << 10;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH:
      return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
      return 65536;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
      return 1410000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
      return 1593000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
      return 5120;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT:
      return 512;
    case CU_DEVICE_ATTRIBUTE_SURFACE_ALIGNMENT:
      return 512;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT:
      return 32;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      return sim::kMultiprocessors;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
      return sim::kThreadsPerMultiprocessor;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
      return 32;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
      return 40 << 20;
    case CU_DEVICE_ATTRIBUTE_MAX_PERSISTING_L2_CACHE_SIZE:
      return 30 << 20;
    case CU_DEVICE_ATTRIBUTE_MAX_ACCESS_POLICY_WINDOW_SIZE:
      return 128 << 20;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
      return 3;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      return device + 5;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      return capability() / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      return capability() % 10;
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GLOBAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_LOCAL_L1_CACHE_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
      return 1;
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return m->device_info(device, info) == gapless::driver::Result::ok && info.virtual_memory ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
      return m->device_info(device, info) == gapless::driver::Result::ok && info.posix_handles ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
      return m->device_info(device, info) == gapless::driver::Result::ok && info.gpu_direct_rdma ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_FABRIC_SUPPORTED:
      return m->device_info(device, info) == gapless::driver::Result::ok && info.fabric_handles ? 1 : 0;
    default:
      return 0;  // a feature that the device lacks, or a limit of one
  }
}

}  // namespace

GAPLESS_SIM_API cuInit(unsigned flags) {
  GAPLESS_SIM_COUNT("cuInit");
  GAPLESS_SIM_REQUIRE(flags == 0);
  return static_cast<CUresult>(initialise());
}

GAPLESS_SIM_API cuDriverGetVersion(int* version) {
  GAPLESS_SIM_COUNT("cuDriverGetVersion");
  GAPLESS_SIM_REQUIRE(version != nullptr);
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGet(CUdevice* out, int ordinal) {
  GAPLESS_SIM_CALL("cuDeviceGet");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  if (!valid(m, ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *out = ordinal;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetCount(int* count) {
  GAPLESS_SIM_CALL("cuDeviceGetCount");
  GAPLESS_SIM_REQUIRE(count != nullptr);
  *count = m->device_count();
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetName(char* name, int bytes, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetName");
  GAPLESS_SIM_REQUIRE(name != nullptr && bytes > 0);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  std::snprintf(name, static_cast<std::size_t>(bytes), "Simulated CUDA device");
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetUuid");
  GAPLESS_SIM_REQUIRE(uuid != nullptr);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  fill_uuid(uuid, device);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceTotalMem(size_t* bytes, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceTotalMem");
  GAPLESS_SIM_REQUIRE(bytes != nullptr);
  gapless::driver::DeviceInfo info;
  const Result result = m->device_info(device, info);
  if (result == Result::ok) *bytes = info.total_bytes;
  return to_cuda(result);
}

GAPLESS_SIM_API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetAttribute");
  GAPLESS_SIM_REQUIRE(value != nullptr && attribute > 0 && attribute < CU_DEVICE_ATTRIBUTE_MAX);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  *value = attribute_of(m, attribute, device);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetPCIBusId(char* text, int bytes, CUdevice device) {
  GAPLESS_SIM_CALL("cuDeviceGetPCIBusId");
  GAPLESS_SIM_REQUIRE(text != nullptr && bytes > 0);
  if (!valid(m, device)) return CUDA_ERROR_INVALID_DEVICE;
  fill_bus_id(text, bytes, device);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetByPCIBusId(CUdevice* out, const char* text) {
  GAPLESS_SIM_CALL("cuDeviceGetByPCIBusId");
  GAPLESS_SIM_REQUIRE(out != nullptr && text != nullptr);
  for (int device = 0; device < m->device_count(); ++device) {
    char own[20];
    fill_bus_id(own, sizeof own, device);
    if (std::strcmp(own, text) == 0) {
      *out = device;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

GAPLESS_SIM_API cuDeviceCanAccessPeer(int* can, CUdevice device, CUdevice peer) {
  GAPLESS_SIM_CALL("cuDeviceCanAccessPeer");
  GAPLESS_SIM_REQUIRE(can != nullptr);
  if (!valid(m, device) || !valid(m, peer)) return CUDA_ERROR_INVALID_DEVICE;
  *can = device != peer ? 1 : 0;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attribute, CUdevice from, CUdevice to) {
  GAPLESS_SIM_CALL("cuDeviceGetP2PAttribute");
  GAPLESS_SIM_REQUIRE(value != nullptr);
  if (!valid(m, from) || !valid(m, to) || from == to) return CUDA_ERROR_INVALID_DEVICE;
  *value = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED ? 1 : 0;
  return CUDA_SUCCESS;
}

// Contexts of one device share its memory here, so access is between devices.
GAPLESS_SIM_API cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxEnablePeerAccess");
  GAPLESS_SIM_REQUIRE(flags == 0);
  int owner = 0;
  if (!device_of(peer, owner)) return CUDA_ERROR_INVALID_CONTEXT;
  return to_cuda(m->enable_peer_access(device, owner));
}

GAPLESS_SIM_API cuCtxDisablePeerAccess(CUcontext peer) {
  GAPLESS_SIM_CONTEXT_CALL("cuCtxDisablePeerAccess");
  int owner = 0;
  if (!device_of(peer, owner)) return CUDA_ERROR_INVALID_CONTEXT;
  return to_cuda(m->disable_peer_access(device, owner));
}
