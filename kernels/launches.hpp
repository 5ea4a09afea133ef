// SPDX-License-Identifier: Apache-2.0
// What the .cu files offer to api.cpp: launches of valid arguments. The results are cudaError_t, by value.
#pragma once

#include "gapless_kernels.h"
#include "logic/batches.hpp"

namespace gapless::kernels {

int launch_pad(const gapless_pad_batch& batch, gapless_stream stream);
int launch_guard_fill(const GuardBatch& batch, int count, gapless_stream stream);
int launch_guard_check(const GuardBatch& batch, int count, gapless_stream stream);
int launch_checksum(const ChecksumBatch& batch, int count, gapless_stream stream);
int clear_report(gapless_guard_report* report, gapless_stream stream);
int clear_sums(std::uint64_t* sums, std::size_t count, gapless_stream stream);
int copy(void* to, const void* from, std::size_t bytes, gapless_stream stream);
// `entered`: leave_device() is owed; not where the device was the current one.
int enter_device(int device, bool& entered);
void leave_device();
const char* launch_error_name(int error);

}  // namespace gapless::kernels
