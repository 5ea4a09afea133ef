// SPDX-License-Identifier: Apache-2.0
// Modules and libraries (Triton, NVRTC users), function attributes, occupancy. An image is not looked into.
#include <algorithm>
#include <cstring>
#include <string>

#include "simcuda/driver/api.hpp"
#include "simcuda/driver/kernels.hpp"

using namespace gapless::simcuda;

namespace {

struct Module {
  int loaded = 1;  // a module has an address of its own and nothing else
};

CUresult load(CUmodule* out, const void* image) {
  GAPLESS_SIM_REQUIRE(out != nullptr && image != nullptr);
  *out = reinterpret_cast<CUmodule>(new Module);
  return CUDA_SUCCESS;
}

Function* to_function(CUfunction handle) {
  return reinterpret_cast<Function*>(handle);
}

CUresult get_attribute(int* value, CUfunction_attribute attribute, const Function* function) {
  GAPLESS_SIM_REQUIRE(value != nullptr);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = static_cast<int>(kMaximumThreads);
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = 32;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = capability();
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(function->dynamic_shared_limit.load());
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
      *value = -1;
      return CUDA_SUCCESS;
    default:
      *value = 0;
      return attribute < CU_FUNC_ATTRIBUTE_MAX ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult set_attribute(Function* function, CUfunction_attribute attribute, int value) {
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    GAPLESS_SIM_REQUIRE(value >= 0 && static_cast<std::size_t>(value) <= kMaximumSharedBytes);
    function->dynamic_shared_limit.store(std::max(static_cast<std::size_t>(value), kDefaultSharedBytes));
  }
  return CUDA_SUCCESS;
}

// Limited by threads only: registers and shared memory of a kernel are not known.
CUresult active_blocks(int* blocks, CUfunction function, int block_size) {
  GAPLESS_SIM_REQUIRE(blocks != nullptr && block_size > 0);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *blocks =
      block_size > static_cast<int>(kMaximumThreads) ? 0 : std::min(32, sim::kThreadsPerMultiprocessor / block_size);
  return CUDA_SUCCESS;
}

}  // namespace

GAPLESS_SIM_API cuModuleLoad(CUmodule* out, const char* path) {
  GAPLESS_SIM_CONTEXT_CALL("cuModuleLoad");
  return load(out, path);
}

GAPLESS_SIM_API cuModuleLoadData(CUmodule* out, const void* image) {
  GAPLESS_SIM_CONTEXT_CALL("cuModuleLoadData");
  return load(out, image);
}

GAPLESS_SIM_API cuModuleLoadDataEx(CUmodule* out, const void* image, unsigned, CUjit_option*, void**) {
  GAPLESS_SIM_CONTEXT_CALL("cuModuleLoadDataEx");
  return load(out, image);
}

GAPLESS_SIM_API cuModuleLoadFatBinary(CUmodule* out, const void* image) {
  GAPLESS_SIM_CONTEXT_CALL("cuModuleLoadFatBinary");
  return load(out, image);
}

GAPLESS_SIM_API cuModuleUnload(CUmodule module) {
  GAPLESS_SIM_CONTEXT_CALL("cuModuleUnload");
  if (module == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  delete reinterpret_cast<Module*>(module);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuModuleGetFunction(CUfunction* out, CUmodule module, const char* name) {
  GAPLESS_SIM_CALL("cuModuleGetFunction");
  GAPLESS_SIM_REQUIRE(out != nullptr && module != nullptr && name != nullptr);
  *out = reinterpret_cast<CUfunction>(function_named(name));
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  GAPLESS_SIM_CALL("cuModuleGetLoadingMode");
  GAPLESS_SIM_REQUIRE(mode != nullptr);
  *mode = CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuLibraryLoadData(CUlibrary* out, const void* code, CUjit_option*, void**, unsigned, CUlibraryOption*,
                                  void**, unsigned) {
  GAPLESS_SIM_CALL("cuLibraryLoadData");
  GAPLESS_SIM_REQUIRE(out != nullptr);
  CUmodule module = nullptr;
  const CUresult result = load(&module, code);
  if (result == CUDA_SUCCESS) *out = reinterpret_cast<CUlibrary>(module);
  return result;
}

GAPLESS_SIM_API cuLibraryUnload(CUlibrary library) {
  GAPLESS_SIM_CALL("cuLibraryUnload");
  if (library == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  delete reinterpret_cast<Module*>(library);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuLibraryGetKernel(CUkernel* out, CUlibrary library, const char* name) {
  GAPLESS_SIM_CALL("cuLibraryGetKernel");
  GAPLESS_SIM_REQUIRE(out != nullptr && library != nullptr && name != nullptr);
  *out = reinterpret_cast<CUkernel>(function_named(name));
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuLibraryGetModule(CUmodule* out, CUlibrary library) {
  GAPLESS_SIM_CALL("cuLibraryGetModule");
  GAPLESS_SIM_REQUIRE(out != nullptr && library != nullptr);
  *out = reinterpret_cast<CUmodule>(library);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuKernelGetFunction(CUfunction* out, CUkernel kernel) {
  GAPLESS_SIM_CALL("cuKernelGetFunction");
  GAPLESS_SIM_REQUIRE(out != nullptr && kernel != nullptr);
  *out = reinterpret_cast<CUfunction>(kernel);
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuKernelGetAttribute(int* value, CUfunction_attribute attribute, CUkernel kernel, CUdevice) {
  GAPLESS_SIM_CALL("cuKernelGetAttribute");
  return get_attribute(value, attribute, reinterpret_cast<Function*>(kernel));
}

GAPLESS_SIM_API cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel, CUdevice) {
  GAPLESS_SIM_CALL("cuKernelSetAttribute");
  return set_attribute(reinterpret_cast<Function*>(kernel), attribute, value);
}

GAPLESS_SIM_API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  GAPLESS_SIM_CALL("cuFuncGetAttribute");
  return get_attribute(value, attribute, to_function(function));
}

GAPLESS_SIM_API cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  GAPLESS_SIM_CALL("cuFuncSetAttribute");
  return set_attribute(to_function(function), attribute, value);
}

GAPLESS_SIM_API cuFuncSetCacheConfig(CUfunction function, CUfunc_cache) {
  GAPLESS_SIM_CALL("cuFuncSetCacheConfig");
  return function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

GAPLESS_SIM_API cuFuncGetName(const char** name, CUfunction function) {
  GAPLESS_SIM_CALL("cuFuncGetName");
  GAPLESS_SIM_REQUIRE(name != nullptr && function != nullptr);
  *name = to_function(function)->name.c_str();
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int block_size, size_t) {
  GAPLESS_SIM_CALL("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  return active_blocks(blocks, function, block_size);
}

GAPLESS_SIM_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction function, int block_size,
                                                                     size_t, unsigned) {
  GAPLESS_SIM_CALL("cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags");
  return active_blocks(blocks, function, block_size);
}

GAPLESS_SIM_API cuOccupancyMaxPotentialBlockSize(int* grid, int* block, CUfunction function, CUoccupancyB2DSize, size_t,
                                                 int limit) {
  GAPLESS_SIM_CALL("cuOccupancyMaxPotentialBlockSize");
  GAPLESS_SIM_REQUIRE(grid != nullptr && block != nullptr);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *block = limit > 0 ? std::min(limit, static_cast<int>(kMaximumThreads)) : static_cast<int>(kMaximumThreads);
  *grid = 2 * sim::kMultiprocessors;
  return CUDA_SUCCESS;
}

GAPLESS_SIM_API cuOccupancyMaxActiveClusters(int* clusters, CUfunction function, const CUlaunchConfig* configuration) {
  GAPLESS_SIM_CALL("cuOccupancyMaxActiveClusters");
  GAPLESS_SIM_REQUIRE(clusters != nullptr && configuration != nullptr);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *clusters = 16;
  return CUDA_SUCCESS;
}

// A tensor map is opaque to the host; no simulated kernel reads it.
GAPLESS_SIM_API cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                       const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                       CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  GAPLESS_SIM_CALL("cuTensorMapEncodeTiled");
  GAPLESS_SIM_REQUIRE(map != nullptr);
  std::memset(map, 0, sizeof *map);
  return CUDA_SUCCESS;
}
