// SPDX-License-Identifier: Apache-2.0
// What the physical handles of a device are made for.
#pragma once

#include <string>

#include "config/options.hpp"
#include "driver/driver.hpp"

namespace gapless::engine {

// Whether the device's handles shall be fabric handles too: `info` says so afterwards. They are where the option
// fabric_handles asks for it and the device makes them, which shows only in making one: a process without a channel to
// the fabric is refused. Where it asks in vain, the result says why; empty otherwise.
std::string settle_fabric(driver::DriverOps& ops, int device, const config::Options& options, driver::DeviceInfo& info);

// Shareable by POSIX descriptors, and reachable by other devices of the bus, where the device says so.
inline driver::HandleProperties handle_properties(const driver::DeviceInfo& settled) {
  return {settled.posix_handles, settled.fabric_handles, settled.gpu_direct_rdma};
}

}  // namespace gapless::engine
