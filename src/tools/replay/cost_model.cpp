// SPDX-License-Identifier: Apache-2.0
#include "tools/replay/cost_model.hpp"

namespace gapless::tools {
namespace {

// cuMemCreate: a fixed part, and clearing the memory (1.9 ms/GiB). cuMemSetAccess: per range. cuMemUnmap: per
// contiguous run. cudaMalloc and cudaFree appear only in PyTorch's native allocator.
constexpr CallCost kCosts[] = {
    {"cuMemCreate", CallClass::create, 150.0, 1900.0},
    {"cuMemMap", CallClass::map, 1.5, 0},
    {"cuMemSetAccess", CallClass::set_access, 36.0, 0},
    {"cuMemUnmap", CallClass::remap, 26.0, 0},
    {"cuMemRelease", CallClass::remap, 50.0, 0},
    {"cuEventRecord", CallClass::remap, 1.0, 0},
    {"cudaEventRecord", CallClass::remap, 1.0, 0},
    {"cuEventQuery", CallClass::remap, 0.5, 0},
    {"cudaEventQuery", CallClass::remap, 0.5, 0},
    {"cuStreamWaitEvent", CallClass::remap, 1.0, 0},
    {"cudaStreamWaitEvent", CallClass::remap, 1.0, 0},
    {"cuMemAlloc", CallClass::create, 200.0, 0},
    {"cudaMalloc", CallClass::create, 200.0, 0},
    {"cuMemFree", CallClass::remap, 300.0, 0},
    {"cudaFree", CallClass::remap, 300.0, 0},
    {"cuEventSynchronize", CallClass::host_wait, 0, 0},
    {"cudaEventSynchronize", CallClass::host_wait, 0, 0},
    {"cuStreamSynchronize", CallClass::host_wait, 0, 0},
    {"cudaStreamSynchronize", CallClass::host_wait, 0, 0},
    {"cuCtxSynchronize", CallClass::host_wait, 0, 0},
    {"cudaDeviceSynchronize", CallClass::host_wait, 0, 0},
};
constexpr CallCost kUnknown{};

std::string_view without_suffix(std::string_view function) {
  for (const std::string_view suffix : {"_ptsz", "_ptds", "_v2", "_v3"}) {
    if (function.size() > suffix.size() && function.substr(function.size() - suffix.size()) == suffix) {
      function.remove_suffix(suffix.size());
    }
  }
  return function;
}

}  // namespace

const CallCost& cost_of(std::string_view function) {
  const auto name = without_suffix(function);
  for (const auto& row : kCosts) {
    if (row.function == name) return row;
  }
  return kUnknown;
}

double cost_in_us(const CallCost& row, std::uint64_t bytes) {
  constexpr double kBytesPerGib = 1024.0 * 1024.0 * 1024.0;
  return row.microseconds + row.microseconds_per_gib * static_cast<double>(bytes) / kBytesPerGib;
}

bool is_memory_call(std::string_view function) {
  return function.starts_with("cudaMalloc") || function.starts_with("cudaFree") || function.starts_with("cuMem");
}

}  // namespace gapless::tools
