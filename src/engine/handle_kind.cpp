// SPDX-License-Identifier: Apache-2.0
#include "engine/handle_kind.hpp"

namespace gapless::engine {

using driver::Result;

std::string settle_fabric(driver::DriverOps& ops, int device, const config::Options& options,
                          driver::DeviceInfo& info) {
  const bool able = info.fabric_handles;
  info.fabric_handles = false;
  if (!options.fabric_handles) return {};
  std::string why = "it does not support them";
  if (able) {
    driver::HandleProperties wanted = handle_properties(info);
    wanted.fabric = true;
    driver::Handle handle = 0;
    const Result result = ops.create(device, info.granularity, wanted, handle);
    // A device that is full now may make them later.
    if (result == Result::ok || result == Result::out_of_memory) {
      if (result == Result::ok) static_cast<void>(ops.release(handle));
      info.fabric_handles = true;
      return {};
    }
    why = ops.result_name(result);
  }
  return "fabric_handles: device " + std::to_string(device) + " makes none (" + why +
         "); its memory is shareable by POSIX descriptors only";
}

}  // namespace gapless::engine
