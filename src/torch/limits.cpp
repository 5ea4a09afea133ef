// SPDX-License-Identifier: Apache-2.0
//
// Memory fractions, empty_cache, cacheInfo.

#include "allocator.hpp"
#include "check.hpp"
#include "device_facts.hpp"

namespace gapless::torch {

std::optional<double> TorchAllocator::fraction_of(DeviceIndex device) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return fractions_.at(static_cast<size_t>(device));
}

double TorchAllocator::getMemoryFraction(DeviceIndex device) {
  core_for(device);
  return fraction_of(device).value_or(1.0);
}

void TorchAllocator::setMemoryFraction(double fraction, DeviceIndex device) {
  gapless_allocator* const core = core_for(device);
  TORCH_CHECK(0 <= fraction && fraction <= 1, "invalid fraction:", fraction, ". Please set within [0, 1].");
  const auto limit = static_cast<size_t>(fraction * static_cast<double>(device_total_bytes(device)));
  check(gapless_set_limit(core, device, limit), "setting a memory fraction");
  const std::lock_guard<std::mutex> lock(mutex_);
  fractions_.at(static_cast<size_t>(device)) = fraction;
}

void TorchAllocator::limit_all_devices(double fraction) {
  const int devices = device_count_.load(std::memory_order_acquire);
  for (int device = 0; device < devices; ++device) setMemoryFraction(fraction, static_cast<DeviceIndex>(device));
}

void TorchAllocator::emptyCache(MempoolId_t pool) {
  gapless_allocator* const core = this->core();
  if (core == nullptr) return;
  const History::Scope scope(history_, cca::RecordContext::ALL);
  // Whoever holds PyTorch's free mutex wants no device free meanwhile. It is not waited for: the holder may be this
  // thread (torch.cuda.memory._free_mutex), and native 2.11 does not take it at all.
  const std::unique_lock<std::mutex> free_mutex(*c10::cuda::getFreeMutex(), std::try_to_lock);
  const int devices = device_count_.load(std::memory_order_acquire);
  for (int device = 0; device < devices; ++device) {
    size_t released = 0;
    const gapless_status status = gapless_trim(core, device, pool_id(pool), 0, &released);
    // A pool lives on one device; the others do not know it.
    if (status != GAPLESS_ERROR_NOT_FOUND) check(status, "empty_cache");
  }
}

void TorchAllocator::cacheInfo(DeviceIndex device, size_t* largest) {
  gapless_allocator* const core = core_for(device);
  size_t available = 0;
  check(gapless_largest_available(core, device, &available), "cacheInfo");
  // In and out: cuDNN's benchmark passes what it knows and takes the larger.
  if (*largest < available) *largest = available;
}

}  // namespace gapless::torch
