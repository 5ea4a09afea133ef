// SPDX-License-Identifier: Apache-2.0
#include "reports.hpp"

namespace gapless::torch {

void trace_allocation(void* pointer) {
  if (const c10::impl::PyInterpreter* interpreter = c10::impl::GPUTrace::get_trace()) {
    (*interpreter)->trace_gpu_memory_allocation(c10::kCUDA, reinterpret_cast<uintptr_t>(pointer));
  }
}

void trace_deallocation(void* pointer) {
  if (const c10::impl::PyInterpreter* interpreter = c10::impl::GPUTrace::get_trace()) {
    (*interpreter)->trace_gpu_memory_deallocation(c10::kCUDA, reinterpret_cast<uintptr_t>(pointer));
  }
}

void report_to_profiler(gapless_allocator* core, void* pointer, int64_t delta, DeviceIndex device) {
  if (c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE) == nullptr) return;
  gapless_stats stats = GAPLESS_STRUCT(gapless_stats);
  if (gapless_get_stats(core, device, &stats) != GAPLESS_OK) return;
  c10::reportMemoryUsageToProfiler(pointer, delta, static_cast<size_t>(stats.allocated_bytes[GAPLESS_ALL].current),
                                   static_cast<size_t>(stats.reserved_bytes[GAPLESS_ALL].current),
                                   c10::Device(c10::DeviceType::CUDA, device));
}

void report_allocation(gapless_allocator* core, void* pointer, DeviceIndex device) {
  gapless_block_info block = GAPLESS_STRUCT(gapless_block_info);
  if (gapless_block_of(core, pointer, &block) == GAPLESS_OK) {
    report_to_profiler(core, pointer, static_cast<int64_t>(block.bytes), device);
  }
  trace_allocation(pointer);
}

}  // namespace gapless::torch
