// SPDX-License-Identifier: Apache-2.0
// What a launch carries by value: ranges travel in the kernel's parameters, so that no copy to the device is needed and
// the caller's array may go.
#pragma once

#include <cstdint>

#include "gapless_kernels.h"

namespace gapless::kernels {

// 64 ranges of 24 bytes stay well below the 4 KiB that a kernel's parameters may take on every architecture.
constexpr int kRangesPerLaunch = 64;

struct GuardBatch {
  gapless_guard_range ranges[kRangesPerLaunch];
  gapless_guard_report* report;  // checks only
};

struct ChecksumBatch {
  gapless_checksum_range ranges[kRangesPerLaunch];
  std::uint64_t* sums;
};

}  // namespace gapless::kernels
