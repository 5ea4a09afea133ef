// SPDX-License-Identifier: Apache-2.0
// cuGetProcAddress: the exported function for a base name and a CUDA version. A wrong answer would be a silent ABI
// mismatch, so the table is generated from cudaTypedefs.h.
#include <dlfcn.h>

#include <cstring>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "simcuda/driver/api.hpp"

using namespace gapless::simcuda;

namespace {

struct Version {
  const char* base;
  int version;
  bool per_thread;
  const char* exported;
};

const Version kVersions[] = {
#include "versions.inc"
};

using Table = std::unordered_map<std::string_view, std::vector<const Version*>>;

const Table& table() {
  static const Table* built = [] {
    auto* all = new Table;
    for (const Version& each : kVersions) (*all)[each.base].push_back(&each);
    return all;
  }();
  return *built;
}

void* self() {
  static void* handle = [] {
    Dl_info info{};
    dladdr(reinterpret_cast<void*>(&initialise), &info);
    return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  }();
  return handle;
}

// The newest version that is not newer than asked for; a per-thread variant only when asked for, and preferred then.
const Version* best(std::string_view base, int version, bool per_thread, bool& too_old) {
  const auto found = table().find(base);
  if (found == table().end()) return nullptr;
  const Version* chosen = nullptr;
  for (const Version* each : found->second) {
    if (each->per_thread && !per_thread) continue;
    if (each->version > version) {
      too_old = true;
      continue;
    }
    if (chosen == nullptr || each->version > chosen->version ||
        (each->version == chosen->version && each->per_thread)) {
      chosen = each;
    }
  }
  return chosen;
}

CUresult find(const char* symbol, void** out, int version, cuuint64_t flags, CUdriverProcAddressQueryResult* status) {
  GAPLESS_SIM_REQUIRE(symbol != nullptr && out != nullptr);
  const bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  bool too_old = false;
  const Version* chosen = best(symbol, version, per_thread, too_old);
  void* function = nullptr;
  if (chosen != nullptr) {
    function = dlsym(self(), chosen->exported);
  } else if (!too_old) {
    // Only names that cudaTypedefs.h does not list, and only the driver's own.
    function = std::strncmp(symbol, "cu", 2) == 0 ? dlsym(self(), symbol) : nullptr;
  }
  *out = function;
  if (status != nullptr) {
    *status = function != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS
              : too_old           ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                                  : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  }
  return function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

}  // namespace

#undef cuGetProcAddress
GAPLESS_SIM_API cuGetProcAddress(const char* symbol, void** out, int version, cuuint64_t flags) {
  GAPLESS_SIM_COUNT("cuGetProcAddress");
  return find(symbol, out, version, flags, nullptr);
}

GAPLESS_SIM_API cuGetProcAddress_v2(const char* symbol, void** out, int version, cuuint64_t flags,
                                    CUdriverProcAddressQueryResult* status) {
  GAPLESS_SIM_COUNT("cuGetProcAddress");
  return find(symbol, out, version, flags, status);
}

// The hidden tables between NVIDIA's own libraries: none here, so a real libcudart says so and stops.
GAPLESS_SIM_API cuGetExportTable(const void** out, const CUuuid*) {
  GAPLESS_SIM_COUNT("cuGetExportTable");
  if (out != nullptr) *out = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}
