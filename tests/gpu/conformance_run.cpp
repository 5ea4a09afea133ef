// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>

#include "gpu/conformance.hpp"

namespace gapless::gpu {

void Run::line(const std::string& scenario, const std::string& what, const std::string& value) {
  std::printf("%s\t%s\t%s\n", scenario.c_str(), what.c_str(), value.c_str());
  std::fflush(stdout);  // the process may not live to the end of the scenario
}

CUresult Run::operator()(const char* call, CUresult result) {
  line(scenario_, call, cuda.name(result));
  return result;
}

void Run::saw(const char* what, std::uint64_t value) {
  line(scenario_, what, std::to_string(value));
}
void Run::saw(const char* what, const std::string& value) {
  line(scenario_, what, value);
}

void Run::must(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return;
  line(scenario_, std::string("could not go on: ") + what, cuda.name(result));
  std::_Exit(3);
}

CUmemAllocationProp device_memory(bool exportable) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = 0;
  if (exportable) properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  return properties;
}

CUdeviceptr Run::reserve(std::size_t granules) {
  CUdeviceptr base = 0;
  must(cuda.cuMemAddressReserve(&base, granules * granule, 0, 0, 0), "cuMemAddressReserve");
  return base;
}

CUmemGenericAllocationHandle Run::create(std::size_t granules, bool exportable) {
  CUmemGenericAllocationHandle handle = 0;
  const CUmemAllocationProp properties = device_memory(exportable);
  must(cuda.cuMemCreate(&handle, granules * granule, &properties, 0), "cuMemCreate");
  return handle;
}

CUresult Run::access(CUdeviceptr base, std::size_t bytes, int device, std::size_t count) const {
  CUmemAccessDesc description{};
  description.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  description.location.id = device;
  description.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return cuda.cuMemSetAccess(base, bytes, &description, count);
}

void Run::map(CUdeviceptr base, CUmemGenericAllocationHandle handle, std::size_t granules) {
  must(cuda.cuMemMap(base, granules * granule, 0, handle, 0), "cuMemMap");
  must(access(base, granules * granule), "cuMemSetAccess");
}

CUdeviceptr Run::mapped(std::size_t granules) {
  const CUdeviceptr base = reserve(granules);
  map(base, create(granules), granules);
  return base;
}

CUstream Run::stream(unsigned flags) {
  CUstream out = nullptr;
  must(cuda.cuStreamCreate(&out, flags), "cuStreamCreate");
  return out;
}

CUevent Run::event() {
  CUevent out = nullptr;
  must(cuda.cuEventCreate(&out, CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  return out;
}

std::size_t Run::free_bytes() {
  std::size_t free = 0;
  std::size_t total = 0;
  must(cuda.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return free;
}

std::uint8_t Run::byte_at(CUdeviceptr address) {
  std::uint8_t byte = 0;
  must(cuda.cuMemcpyDtoH(&byte, address, 1), "cuMemcpyDtoH");
  return byte;
}

}  // namespace gapless::gpu
