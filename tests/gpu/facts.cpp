// SPDX-License-Identifier: Apache-2.0
#include "gpu/facts.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace gapless::gpu {

void fact(const std::string& name, double value, const char* unit) {
  std::printf("{\"name\": \"%s\", \"value\": %.12g, \"unit\": \"%s\"}\n", name.c_str(), value, unit);
  std::fflush(stdout);
}

void fact(const std::string& name, const std::string& text) {
  std::printf("{\"name\": \"%s\", \"value\": \"%s\"}\n", name.c_str(), text.c_str());
  std::fflush(stdout);
}

void facts_of(const std::string& name, std::vector<double> values, const char* unit) {
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
  };
  fact(name + ", min", values.front(), unit);
  fact(name + ", median", at(0.5), unit);
  fact(name + ", p99", at(0.99), unit);
  fact(name + ", max", values.back(), unit);
}

bool Probe::open(bool simulate_quickly) {
  std::string why;
  if (!cuda.open(why)) {
    std::fprintf(stderr, "no CUDA driver: %s\n", why.c_str());
    return false;
  }
  quick = simulate_quickly;
  if (const auto set = reinterpret_cast<int (*)(const char*)>(cuda.find("gapless_sim_configure")))
    (void)set("data=1,strict=1");
  CUcontext context = nullptr;
  int count = 0;
  if (cuda.cuInit(0) != CUDA_SUCCESS || cuda.cuDeviceGetCount(&count) != CUDA_SUCCESS || count == 0 ||
      cuda.cuDevicePrimaryCtxRetain(&context, 0) != CUDA_SUCCESS || cuda.cuCtxSetCurrent(context) != CUDA_SUCCESS) {
    std::fprintf(stderr, "no CUDA device\n");
    return false;
  }
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  must(cuda.cuMemGetAllocationGranularity(&granule, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM), "granularity");
  return true;
}

void Probe::must(CUresult result, const char* what) const {
  if (result == CUDA_SUCCESS) return;
  fact(std::string("stopped: ") + what, cuda.name(result));
  std::_Exit(3);
}

CUmemGenericAllocationHandle Probe::create(std::size_t bytes) const {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  CUmemGenericAllocationHandle handle = 0;
  must(cuda.cuMemCreate(&handle, bytes, &properties, 0), "cuMemCreate");
  return handle;
}

CUdeviceptr Probe::reserve(std::size_t bytes) const {
  CUdeviceptr base = 0;
  must(cuda.cuMemAddressReserve(&base, bytes, 0, 0, 0), "cuMemAddressReserve");
  return base;
}

CUresult Probe::access(CUdeviceptr base, std::size_t bytes) const {
  CUmemAccessDesc description{};
  description.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  description.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return cuda.cuMemSetAccess(base, bytes, &description, 1);
}

void Probe::map(CUdeviceptr base, std::size_t bytes, CUmemGenericAllocationHandle handle) const {
  must(cuda.cuMemMap(base, bytes, 0, handle, 0), "cuMemMap");
  must(access(base, bytes), "cuMemSetAccess");
}

CUstream Probe::stream() const {
  CUstream out = nullptr;
  must(cuda.cuStreamCreate(&out, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  return out;
}

CUevent Probe::event(bool timed) const {
  CUevent out = nullptr;
  must(cuda.cuEventCreate(&out, timed ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING), "cuEventCreate");
  return out;
}

std::size_t Probe::free_bytes() const {
  std::size_t free = 0;
  std::size_t total = 0;
  must(cuda.cuMemGetInfo(&free, &total), "cuMemGetInfo");
  return free;
}

}  // namespace gapless::gpu
