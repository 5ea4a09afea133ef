// SPDX-License-Identifier: Apache-2.0
//
// gapless_stats to PyTorch's DeviceStats: the source of all keys of torch.cuda.memory_stats().
#include "allocator.hpp"
#include "check.hpp"

namespace gapless::torch {

namespace {

using Stat = decltype(cca::DeviceStats::oversize_allocations);
using StatArray = decltype(cca::DeviceStats::allocation);

constexpr const char* kComplaint = "Invalid device argument ";  // native's word for a device that these do not know

struct ArrayPair {
  gapless_stat (gapless_stats::*from)[GAPLESS_STAT_TYPES];
  StatArray cca::DeviceStats::*to;
};

constexpr ArrayPair kArrays[] = {
    {&gapless_stats::allocation, &cca::DeviceStats::allocation},
    {&gapless_stats::segment, &cca::DeviceStats::segment},
    {&gapless_stats::active, &cca::DeviceStats::active},
    {&gapless_stats::inactive_split, &cca::DeviceStats::inactive_split},
    {&gapless_stats::allocated_bytes, &cca::DeviceStats::allocated_bytes},
    {&gapless_stats::reserved_bytes, &cca::DeviceStats::reserved_bytes},
    {&gapless_stats::active_bytes, &cca::DeviceStats::active_bytes},
    {&gapless_stats::inactive_split_bytes, &cca::DeviceStats::inactive_split_bytes},
    {&gapless_stats::requested_bytes, &cca::DeviceStats::requested_bytes},
};

Stat convert(const gapless_stat& from) {
  Stat to;
  to.current = from.current;
  to.peak = from.peak;
  to.allocated = from.allocated;
  to.freed = from.freed;
  return to;
}

}  // namespace

cca::DeviceStats TorchAllocator::getDeviceStats(DeviceIndex device) {
  gapless_stats from = GAPLESS_STRUCT(gapless_stats);
  check(gapless_get_stats(core_for(device, kComplaint), device, &from), "getDeviceStats");
  cca::DeviceStats to;
  for (const ArrayPair& pair : kArrays) {
    for (size_t type = 0; type < GAPLESS_STAT_TYPES; ++type) (to.*pair.to)[type] = convert((from.*pair.from)[type]);
  }
  to.oversize_allocations = convert(from.oversize_allocations);
  to.oversize_segments = convert(from.oversize_segments);
  to.num_alloc_retries = from.num_alloc_retries;
  to.num_ooms = from.num_ooms;
  to.num_sync_all_streams = from.num_sync_all_streams;
  to.num_device_alloc = from.num_device_alloc;
  to.num_device_free = from.num_device_free;
  to.max_split_size = from.max_split_size;
  return to;
}

void TorchAllocator::resetAccumulatedStats(DeviceIndex device) {
  check(gapless_reset_accumulated_stats(core_for(device, kComplaint), device), "resetAccumulatedStats");
}

void TorchAllocator::resetPeakStats(DeviceIndex device) {
  check(gapless_reset_peak_stats(core_for(device, kComplaint), device), "resetPeakStats");
}

}  // namespace gapless::torch
