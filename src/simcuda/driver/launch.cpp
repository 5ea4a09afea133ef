// SPDX-License-Identifier: Apache-2.0
// Launches, and the registry of CPU bodies.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/kernels.hpp"
#include "simcuda/driver/tools.hpp"
#include "simcuda/internal.hpp"

namespace gapless::simcuda {
namespace {

struct Body {
  gapless_sim_kernel_body function = nullptr;
  void* user = nullptr;
  std::vector<std::size_t> parameter_bytes;
};

struct Ranges {
  gapless_sim_kernel_ranges function = nullptr;
  void* user = nullptr;
};

struct Registry {
  std::shared_mutex mutex;
  std::map<std::string, Function*, std::less<>> functions;
  std::map<std::string, Body, std::less<>> bodies;
  std::map<std::string, Ranges, std::less<>> ranges;
  std::atomic<bool> has_bodies{false};  // saves the lookup in the usual case of none
  std::atomic<bool> has_ranges{false};
};

Registry& registry() {
  static Registry* all = new Registry;
  return *all;
}

bool count_kernels() {
  static const bool wanted = [] {
    const char* text = std::getenv("GAPLESS_SIM_COUNT_KERNELS");
    return text != nullptr && *text == '1';
  }();
  return wanted;
}

bool valid(const Launch& launch, const Function& function) {
  std::size_t threads = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (launch.grid[axis] == 0 || launch.block[axis] == 0) return false;
    threads *= launch.block[axis];
  }
  if (launch.grid[0] > 2147483647u || launch.grid[1] > 65535 || launch.grid[2] > 65535) return false;
  if (launch.block[2] > 64 || threads > kMaximumThreads) return false;
  return launch.shared_bytes <= function.dynamic_shared_limit.load(std::memory_order_relaxed);
}

gapless_sim_launch describe(const Launch& launch, const char* name, int device) {
  gapless_sim_launch description{};
  description.struct_size = sizeof description;
  description.kernel = name;
  description.device = device;
  description.stream = launch.stream;
  for (int axis = 0; axis < 3; ++axis) {
    description.grid[axis] = launch.grid[axis];
    description.block[axis] = launch.block[axis];
  }
  description.shared_bytes = launch.shared_bytes;
  return description;
}

// A launch in flight: the device reads its arguments when it is enqueued, the body when it runs.
struct Deferred {
  Body body;
  Launch launch;
  const char* name = "";
  int device = 0;
  std::vector<std::byte> bytes;
  std::vector<void*> parameters;

  void copy_parameters(void** given) {
    std::size_t total = 0;
    constexpr std::size_t alignment = alignof(std::max_align_t);
    for (const std::size_t size : body.parameter_bytes) total += (size + alignment - 1) / alignment * alignment;
    bytes.resize(total);
    std::byte* next = bytes.data();
    for (std::size_t index = 0; index < body.parameter_bytes.size(); ++index) {
      const std::size_t size = body.parameter_bytes[index];
      std::memcpy(next, given[index], size);
      parameters.push_back(next);
      next += (size + alignment - 1) / alignment * alignment;
    }
  }

  void run() const {
    gapless_sim_launch description = describe(launch, name, device);
    description.parameters = parameters.data();
    description.user = body.user;
    body.function(&description);
  }
};

bool declared_ranges(const std::string& name, Ranges& out) {
  Registry& all = registry();
  if (!all.has_ranges.load(std::memory_order_acquire)) return false;
  std::shared_lock lock(all.mutex);
  const auto found = all.ranges.find(name);
  if (found == all.ranges.end()) return false;
  out = found->second;
  return true;
}

// What the launch touches, where somebody declared it. False: the parameters for that are missing.
bool find_ranges(const Launch& launch, Function& function, int device, std::vector<sim::Access>& out) {
  Ranges ranges;
  if (!declared_ranges(function.name, ranges)) {
    function.not_judged.hit();
    return true;
  }
  if (launch.parameters == nullptr) return false;
  gapless_sim_launch description = describe(launch, function.name.c_str(), device);
  description.parameters = launch.parameters;
  description.user = ranges.user;
  const auto add = [](void* list, std::uint64_t address, std::size_t bytes, int write) {
    if (bytes != 0) static_cast<std::vector<sim::Access>*>(list)->push_back({address, bytes, write != 0, -1});
  };
  ranges.function(&description, add, &out);
  return true;
}

bool find_body(const std::string& name, Body& out) {
  Registry& all = registry();
  if (!all.has_bodies.load(std::memory_order_acquire)) return false;
  std::shared_lock lock(all.mutex);
  const auto found = all.bodies.find(name);
  if (found == all.bodies.end()) return false;
  out = found->second;
  return true;
}

}  // namespace

Function* function_named(const std::string& name) {
  Registry& all = registry();
  {
    std::shared_lock lock(all.mutex);
    const auto found = all.functions.find(name);
    if (found != all.functions.end()) return found->second;
  }
  std::unique_lock lock(all.mutex);
  auto [entry, added] = all.functions.try_emplace(name, nullptr);
  if (added) entry->second = new Function(name);
  return entry->second;
}

CUresult launch(Function* function, const Launch& configuration) {
  Machine* m = machine();
  if (m == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  int device = 0;
  if (const CUresult error = current_device(device); error != CUDA_SUCCESS) return error;
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (!valid(configuration, *function)) return CUDA_ERROR_INVALID_VALUE;
  if (count_kernels()) function->launches.hit();
  sim::Operation operation;
  operation.name = function->name.c_str();
  operation.kernel = true;
  std::vector<sim::Access> accesses;
  if (m->config().strict && !find_ranges(configuration, *function, device, accesses)) return CUDA_ERROR_INVALID_VALUE;
  operation.accesses = accesses;
  Body body;
  if (find_body(function->name, body)) {
    if (configuration.parameters == nullptr && !body.parameter_bytes.empty()) return CUDA_ERROR_INVALID_VALUE;
    for (std::size_t index = 0; index < body.parameter_bytes.size(); ++index) {
      if (configuration.parameters[index] == nullptr) return CUDA_ERROR_INVALID_VALUE;
    }
    auto deferred = std::make_shared<Deferred>();
    deferred->body = std::move(body);
    deferred->launch = configuration;
    deferred->name = function->name.c_str();
    deferred->device = device;
    deferred->copy_parameters(configuration.parameters);
    operation.body = [deferred] { deferred->run(); };
    // Outside the machine's lock, which gapless_sim_translate takes.
    operation.host_function = true;
  }
  return to_cuda(m->submit(device, resolve_stream(configuration.stream), operation));
}

}  // namespace gapless::simcuda

using namespace gapless::simcuda;

CUfunction gapless_sim_function(const char* kernel) {
  return reinterpret_cast<CUfunction>(function_named(kernel));
}

CUresult gapless_sim_operation(const char* name, CUstream stream) {
  return gapless_sim_operation_on(name, stream, nullptr, 0);
}

CUresult gapless_sim_operation_on(const char* name, CUstream stream, const gapless_sim_range* ranges,
                                  std::size_t count) {
  Machine* m = machine();
  int device = 0;
  if (m == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  if (const CUresult error = current_device(device); error != CUDA_SUCCESS) return error;
  std::vector<sim::Access> accesses;
  for (std::size_t index = 0; m->config().strict && index < count; ++index) {
    if (ranges[index].bytes == 0) continue;
    accesses.push_back(
        {reinterpret_cast<std::uintptr_t>(ranges[index].address), ranges[index].bytes, ranges[index].write, -1});
  }
  if (m->config().strict && accesses.empty()) function_named(name)->not_judged.hit();
  sim::Operation operation;
  operation.name = name;
  operation.kernel = true;
  operation.accesses = accesses;
  return to_cuda(m->submit(device, resolve_stream(stream), operation));
}

int gapless_sim_register_kernel(const char* kernel, gapless_sim_kernel_body body, void* user,
                                const size_t* parameter_bytes, size_t parameter_count) {
  if (kernel == nullptr || (parameter_count != 0 && parameter_bytes == nullptr)) {
    return tool_error(CUDA_ERROR_INVALID_VALUE,
                      "gapless_sim_register_kernel: a name and the sizes of the parameters are needed");
  }
  Registry& all = registry();
  std::unique_lock lock(all.mutex);
  if (body == nullptr) {
    all.bodies.erase(kernel);
  } else {
    all.bodies[kernel] = Body{body, user, {parameter_bytes, parameter_bytes + parameter_count}};
  }
  all.has_bodies.store(!all.bodies.empty(), std::memory_order_release);
  return 0;
}

int gapless_sim_register_ranges(const char* kernel, gapless_sim_kernel_ranges ranges, void* user) {
  if (kernel == nullptr) return tool_error(CUDA_ERROR_INVALID_VALUE, "gapless_sim_register_ranges: a name is needed");
  Registry& all = registry();
  std::unique_lock lock(all.mutex);
  if (ranges == nullptr) {
    all.ranges.erase(kernel);
  } else {
    all.ranges[kernel] = Ranges{ranges, user};
  }
  all.has_ranges.store(!all.ranges.empty(), std::memory_order_release);
  return 0;
}

GAPLESS_SIM_API cuLaunchKernel(CUfunction f, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned shared_bytes, CUstream stream,
                               void** parameters, void** extra) {
  GAPLESS_SIM_CALL("cuLaunchKernel");
  GAPLESS_SIM_REQUIRE(parameters == nullptr || extra == nullptr);
  return launch(reinterpret_cast<Function*>(f),
                {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, parameters});
}

GAPLESS_SIM_API cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void** parameters, void** extra) {
  GAPLESS_SIM_CALL("cuLaunchKernelEx");
  GAPLESS_SIM_REQUIRE(c != nullptr && (parameters == nullptr || extra == nullptr));
  return launch(reinterpret_cast<Function*>(f), {{c->gridDimX, c->gridDimY, c->gridDimZ},
                                                 {c->blockDimX, c->blockDimY, c->blockDimZ},
                                                 c->sharedMemBytes,
                                                 c->hStream,
                                                 parameters});
}

GAPLESS_SIM_API cuLaunchCooperativeKernel(CUfunction f, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                          unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                          CUstream stream, void** parameters) {
  GAPLESS_SIM_CALL("cuLaunchCooperativeKernel");
  return launch(reinterpret_cast<Function*>(f),
                {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, stream, parameters});
}
