// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver_api.hpp"

#include <dlfcn.h>

namespace gapless::gpu {

void* Cuda::find(const char* symbol) const {
  return ::dlsym(library, symbol);
}

bool Cuda::open(std::string& why_not) {
  library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* error = ::dlerror();
    why_not = error != nullptr ? error : "libcuda.so.1 not found";
    return false;
  }
#define GAPLESS_GPU_FIND(function)                                                   \
  function = reinterpret_cast<decltype(function)>(find(GAPLESS_GPU_TEXT(function))); \
  if (function == nullptr) {                                                         \
    why_not = std::string("libcuda.so.1 has no ") + GAPLESS_GPU_TEXT(function);      \
    return false;                                                                    \
  }
  GAPLESS_GPU_FUNCTIONS(GAPLESS_GPU_FIND)
#undef GAPLESS_GPU_FIND
  simulated = find("gapless_sim_configure") != nullptr;
  return true;
}

std::string Cuda::name(CUresult result) const {
  const char* text = nullptr;
  if (cuGetErrorName(result, &text) == CUDA_SUCCESS && text != nullptr) return text;
  return "CUresult " + std::to_string(static_cast<int>(result));
}

}  // namespace gapless::gpu
