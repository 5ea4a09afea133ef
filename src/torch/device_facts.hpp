// SPDX-License-Identifier: Apache-2.0
//
// What the texts and limits need to know about a device.
#pragma once

#include <cstddef>
#include <string>

#include "compat.hpp"

namespace gapless::torch {

/// Physical memory of the device in bytes. Creates no context on it: limits are set on devices that may never be used.
size_t device_total_bytes(DeviceIndex device);

struct FreeAndTotal {
  size_t free = 0;
  size_t total = 0;
};
/// What cudaMemGetInfo says now; zeros when it fails.
FreeAndTotal device_memory(DeviceIndex device) noexcept;

/// PyTorch's words about who uses the device's memory ("Including non-PyTorch memory, this process has 1.00 GiB memory
/// in use. "); empty where NVML is not there or cannot tell.
std::string describe_processes(DeviceIndex device);

}  // namespace gapless::torch
