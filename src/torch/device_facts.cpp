// SPDX-License-Identifier: Apache-2.0
#include "device_facts.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <sstream>
#include <vector>

namespace gapless::torch {

namespace {

template <typename Function>
Function symbol(void* library, const char* name) {
  return library == nullptr ? nullptr : reinterpret_cast<Function>(dlsym(library, name));
}

// The driver is loaded already, by PyTorch; the runtime has no stable way to these two figures without a context.
void* driver() {
  static void* const library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  return library;
}

// The handful of NVML that is needed, in its stable ABI (nvml.h of any toolkit): no header, so no build dependency.
struct Nvml {
  struct Process {  // nvmlProcessInfo_v1_t
    unsigned int pid;
    unsigned long long used_bytes;
  };
  static constexpr int kSuccess = 0;
  static constexpr int kInsufficientSize = 7;

  int (*initialize)() = nullptr;
  int (*by_bus_id)(const char*, void**) = nullptr;
  int (*processes)(void*, unsigned int*, Process*) = nullptr;

  static const Nvml& get() {
    static const Nvml nvml = [] {
      Nvml made;
      void* const library = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
      made.initialize = symbol<int (*)()>(library, "nvmlInit_v2");
      made.by_bus_id = symbol<int (*)(const char*, void**)>(library, "nvmlDeviceGetHandleByPciBusId_v2");
      made.processes = symbol<int (*)(void*, unsigned int*, Process*)>(library, "nvmlDeviceGetComputeRunningProcesses");
      if (made.initialize == nullptr || made.by_bus_id == nullptr || made.initialize() != kSuccess)
        made.processes = nullptr;
      return made;
    }();
    return nvml;
  }
};

}  // namespace

size_t device_total_bytes(DeviceIndex device) {
  using Get = int (*)(int*, int);
  using TotalMem = int (*)(size_t*, int);
  const auto get = symbol<Get>(driver(), "cuDeviceGet");
  const auto total_mem = symbol<TotalMem>(driver(), "cuDeviceTotalMem_v2");
  int handle = 0;
  size_t total = 0;
  if (get != nullptr && total_mem != nullptr && get(&handle, device) == 0 && total_mem(&total, handle) == 0)
    return total;
  return device_memory(device).total;
}

FreeAndTotal device_memory(DeviceIndex device) noexcept {
  FreeAndTotal memory;
  try {
    const c10::cuda::CUDAGuard guard(device);
    if (cudaMemGetInfo(&memory.free, &memory.total) != cudaSuccess) {
      (void)cudaGetLastError();
      return {};
    }
  } catch (const c10::Error&) {
    return {};
  }
  return memory;
}

std::string describe_processes(DeviceIndex device) {
  const Nvml& nvml = Nvml::get();
  using BusId = int (*)(char*, int, int);
  using Get = int (*)(int*, int);
  const auto bus_id = symbol<BusId>(driver(), "cuDeviceGetPCIBusId");
  const auto get = symbol<Get>(driver(), "cuDeviceGet");
  char bus[32] = {};
  int ordinal = 0;
  void* handle = nullptr;
  if (nvml.processes == nullptr || bus_id == nullptr || get == nullptr || get(&ordinal, device) != 0 ||
      bus_id(bus, sizeof bus, ordinal) != 0 || nvml.by_bus_id(bus, &handle) != Nvml::kSuccess) {
    return "";
  }
  std::vector<Nvml::Process> processes(8);
  auto count = static_cast<unsigned int>(processes.size());
  int result = nvml.processes(handle, &count, processes.data());
  while (result == Nvml::kInsufficientSize) {
    processes.resize(static_cast<size_t>(count) + 8);  // some may start meanwhile
    count = static_cast<unsigned int>(processes.size());
    result = nvml.processes(handle, &count, processes.data());
  }
  if (result != Nvml::kSuccess) return "";
  std::ostringstream text;
  for (unsigned int i = 0; i < count; ++i) {
    const Nvml::Process& process = processes[i];
    if (process.pid == static_cast<unsigned int>(getpid())) {
      text << "Including non-PyTorch memory, this process has ";
    } else {
      text << "Process " << process.pid << " has ";
    }
    text << c10::CachingAllocator::format_size(process.used_bytes) << " memory in use. ";
  }
  return text.str();
}

}  // namespace gapless::torch
