// SPDX-License-Identifier: Apache-2.0
#include "driver/cuda_functions.hpp"

#include <dlfcn.h>

namespace gapless::driver::cuda {
namespace {

template <typename F>
bool find(void* library, const char* name, F& out) {
  out = reinterpret_cast<F>(::dlsym(library, name));
  return out != nullptr;
}

}  // namespace

bool load_functions(Functions& out, std::string& why_not) {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* error = ::dlerror();
    why_not = std::string("no CUDA driver: ") + (error != nullptr ? error : "libcuda.so.1 not found");
    return false;
  }
  Functions functions;
  const char* missing = nullptr;
#define GAPLESS_FIND(member, name, parameters) \
  if (!find(library, name, functions.member) && missing == nullptr) missing = name;
  GAPLESS_CUDA_FUNCTIONS(GAPLESS_FIND)
#undef GAPLESS_FIND
  find(library, "cuStreamGetCaptureInfo_v2", functions.capture_info_v2);
  find(library, "cuStreamGetCaptureInfo_v3", functions.capture_info_v3);
  if (missing == nullptr && functions.capture_info_v2 == nullptr && functions.capture_info_v3 == nullptr)
    missing = "cuStreamGetCaptureInfo_v2";
  if (missing != nullptr) {
    why_not = std::string("the CUDA driver is too old: libcuda.so.1 has no ") + missing;
    return false;
  }
  out = functions;
  return true;
}

}  // namespace gapless::driver::cuda
