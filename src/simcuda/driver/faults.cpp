// SPDX-License-Identifier: Apache-2.0
#include "simcuda/driver/faults.hpp"

#include <map>
#include <mutex>
#include <string>

#include "simcuda/driver/tools.hpp"
#include "simcuda/gapless_sim.h"

namespace gapless::simcuda {

std::atomic<bool> any_fault = false;

namespace {

struct Fault {
  std::uint64_t after;  // calls that still succeed
  CUresult result;
};

struct Faults {
  std::mutex mutex;
  std::map<std::string, Fault, std::less<>> by_function;
};

Faults& faults() {
  static Faults* all = new Faults;
  return *all;
}

}  // namespace

CUresult take_fault(const char* function) {
  std::lock_guard lock(faults().mutex);
  auto& all = faults().by_function;
  const auto found = all.find(std::string_view(function));
  if (found == all.end()) return CUDA_SUCCESS;
  if (found->second.after > 0) {
    found->second.after--;
    return CUDA_SUCCESS;
  }
  const CUresult result = found->second.result;
  all.erase(found);
  any_fault.store(!all.empty(), std::memory_order_relaxed);
  return result;
}

}  // namespace gapless::simcuda

using namespace gapless::simcuda;

int gapless_sim_fail_call(const char* function, uint64_t after, int result) {
  if (function == nullptr || result == 0)
    return tool_error(CUDA_ERROR_INVALID_VALUE, "gapless_sim_fail_call: no function, or no failure");
  std::lock_guard lock(faults().mutex);
  faults().by_function[function] = {after, static_cast<CUresult>(result)};
  any_fault.store(true, std::memory_order_relaxed);
  return 0;
}
