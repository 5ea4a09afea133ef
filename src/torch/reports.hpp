// SPDX-License-Identifier: Apache-2.0
//
// What PyTorch's allocator tells others about each block: torch.profiler (profile_memory=True) and the GPU trace hooks
// (the CUDA sanitizer). Nobody listens in a normal run; asking costs a load and a call into libc10.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/impl/GPUTrace.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include "compat.hpp"
#include "gapless/gapless.h"

namespace gapless::torch {

/// Does anyone want to know about blocks of this thread?
inline bool block_reports_wanted() noexcept {
  return c10::impl::GPUTrace::haveState ||
         c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) != nullptr;
}

/// `delta` is the block's rounded size, negative for a free; the totals are those of `device` after it.
void report_to_profiler(gapless_allocator* core, void* pointer, int64_t delta, DeviceIndex device);
void report_allocation(gapless_allocator* core, void* pointer, DeviceIndex device);
void trace_allocation(void* pointer);
void trace_deallocation(void* pointer);

}  // namespace gapless::torch
