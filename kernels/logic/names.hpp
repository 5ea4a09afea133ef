// SPDX-License-Identifier: Apache-2.0
// The kernels by the names under which the simulated device finds their bodies; the .cu files define them extern "C".
#pragma once

namespace gapless::kernels {

constexpr const char* kPadScan = "gapless_kernel_pad_scan";
constexpr const char* kPadRows = "gapless_kernel_pad_rows";
constexpr const char* kGuardFill = "gapless_kernel_guard_fill";
constexpr const char* kGuardCheck = "gapless_kernel_guard_check";
constexpr const char* kChecksum = "gapless_kernel_checksum";

}  // namespace gapless::kernels
