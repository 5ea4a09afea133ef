// SPDX-License-Identifier: Apache-2.0
//
// Blocks: the path of every tensor. In a normal run an allocation is GetDevice, one load, gapless_allocate, and a
// question whether a profiler listens; a free is the same without the device.
#include <c10/util/env.h>

#include "allocator.hpp"
#include "check.hpp"
#include "reports.hpp"

namespace gapless::torch {

namespace {

// C10_CUDA_CHECK calls into libc10_cuda even on success; the hot path looks at the result first.
inline DeviceIndex current_device() {
  DeviceIndex device = 0;
  const cudaError_t error = c10::cuda::GetDevice(&device);
  if (C10_UNLIKELY(error != cudaSuccess)) C10_CUDA_CHECK(error);
  return device;
}

constexpr size_t kExbibyte = size_t{1} << 60;

}  // namespace

void* TorchAllocator::allocate_on(DeviceIndex device, size_t bytes, cudaStream_t stream) {
  if (C10_UNLIKELY(detours() != 0)) return allocate_by_detour(device, bytes, stream);
  gapless_allocator* const core = core_.load(std::memory_order_relaxed);
  void* pointer = nullptr;
  const gapless_status status = gapless_allocate(core, device, stream, bytes, &pointer);
  if (C10_UNLIKELY(status != GAPLESS_OK)) raise_allocation_failure(status, device, bytes, stream);
  if (C10_UNLIKELY(block_reports_wanted())) report_allocation(core, pointer, device);
  return pointer;
}

void* TorchAllocator::raw_alloc_with_stream(size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return nullptr;
  return allocate_on(current_device(), bytes, stream);
}

void* TorchAllocator::raw_alloc(size_t bytes) {
  if (bytes == 0) return nullptr;
  const DeviceIndex device = current_device();
  return allocate_on(device, bytes, c10::cuda::getCurrentCUDAStream(device));
}

DataPtr TorchAllocator::allocate(size_t bytes) {
  // Native's text, word for word: tests of PyTorch match it.
  TORCH_CHECK_WITH(OutOfMemoryError, bytes < kExbibyte, "CUDA out of memory. Tried to allocate more than 1EB memory.");
  const DeviceIndex device = current_device();
  void* pointer = nullptr;
  c10::DeleterFnPtr deleter = &delete_cached;
  if (C10_UNLIKELY((detours() & kUncached) != 0)) {
    deleter = &delete_uncached;
    if (bytes != 0) pointer = allocate_uncached(bytes);
  } else if (bytes != 0) {
    pointer = allocate_on(device, bytes, c10::cuda::getCurrentCUDAStream(device));
  }
  return {pointer, pointer, deleter, c10::Device(c10::DeviceType::CUDA, device)};
}

// cudagraph trees compare a tensor's deleter with this one: it must be the very function of the DataPtr.
c10::DeleterFnPtr TorchAllocator::raw_deleter() const {
  return (detours() & kUncached) != 0 ? &delete_uncached : &delete_cached;
}

void TorchAllocator::raw_delete(void* pointer) {
  if (pointer == nullptr) return;
  if (C10_UNLIKELY(detours() != 0)) return deallocate_by_detour(pointer);
  if (C10_UNLIKELY(block_reports_wanted())) return deallocate_observed(pointer);
  if (C10_UNLIKELY(gapless_deallocate(core_.load(std::memory_order_relaxed), pointer) != GAPLESS_OK)) {
    deallocate_foreign(pointer);
  }
}

void TorchAllocator::delete_cached(void* pointer) noexcept {
  // A DataPtr dies in a destructor, where an exception would end the process; an address that nobody knows is reported
  // and left alone.
  try {
    instance_->raw_delete(pointer);
  } catch (const std::exception& error) {
    TORCH_WARN("gapless: a tensor's memory could not be freed: ", error.what());
  }
}

void TorchAllocator::delete_uncached(void* pointer) noexcept {
  try {
    if (pointer != nullptr && !instance_->deallocate_uncached(pointer)) instance_->raw_delete(pointer);
  } catch (const std::exception& error) {
    TORCH_WARN("gapless: a tensor's memory could not be freed: ", error.what());
  }
}

void* TorchAllocator::allocate_by_detour(DeviceIndex device, size_t bytes, cudaStream_t stream) {
  const uint32_t reasons = detours();
  if ((reasons & kNotReady) != 0) {
    // After a hand-over PyTorch asks the previous allocator itself; only who kept a pointer to this object comes here.
    if (handed_back() && previous_ != nullptr) return previous_->raw_alloc_with_stream(bytes, stream);
    core_for(device);
  }
  if ((reasons & kUncached) != 0) return allocate_uncached(bytes);
  gapless_allocator* const core = this->core();
  // The context is gathered before the allocator is entered: gathering may take Python's lock.
  const History::Scope scope(history_, cca::RecordContext::STATE);
  void* pointer = nullptr;
  const gapless_status status = gapless_allocate(core, device, stream, bytes, &pointer);
  if (C10_UNLIKELY(status != GAPLESS_OK)) raise_allocation_failure(status, device, bytes, stream);
  if (block_reports_wanted()) report_allocation(core, pointer, device);
  return pointer;
}

void TorchAllocator::deallocate_by_detour(void* pointer) {
  const uint32_t reasons = detours();
  if ((reasons & kNotReady) != 0) return deallocate_foreign(pointer);
  // Blocks of both kinds may be live after enable() was called: each goes back where it came from.
  if ((reasons & kUncached) != 0 && deallocate_uncached(pointer)) return;
  const History::Scope scope(history_, cca::RecordContext::ALL);
  deallocate_observed(pointer);
}

void TorchAllocator::deallocate_observed(void* pointer) {
  gapless_allocator* const core = this->core();
  gapless_block_info block = GAPLESS_STRUCT(gapless_block_info);
  const bool ours = gapless_block_of(core, pointer, &block) == GAPLESS_OK;
  if (ours) trace_deallocation(pointer);
  if (gapless_deallocate(core, pointer) != GAPLESS_OK) return deallocate_foreign(pointer);
  if (ours) {
    report_to_profiler(core, pointer, -static_cast<int64_t>(block.bytes), static_cast<DeviceIndex>(block.device));
  }
}

void TorchAllocator::deallocate_foreign(void* pointer) {
  if (deallocate_uncached(pointer)) return;
  // A block that the allocator before us gave out (a capture's segment source, a buffer kept across the installation).
  if (previous_ != nullptr && previous_->initialized()) return previous_->raw_delete(pointer);
  TORCH_CHECK(false, "invalid device pointer: ", pointer);
}

void* TorchAllocator::allocate_uncached(size_t bytes) {
  void* pointer = nullptr;
  C10_CUDA_CHECK(cudaMalloc(&pointer, bytes));
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    uncached_.insert(pointer);
  }
  trace_allocation(pointer);
  return pointer;
}

bool TorchAllocator::deallocate_uncached(void* pointer) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (uncached_.erase(pointer) == 0) return false;
  }
  trace_deallocation(pointer);
  C10_CUDA_CHECK(cudaFree(pointer));
  return true;
}

void TorchAllocator::enable(bool value) {
  // PYTORCH_NO_CUDA_MEMORY_CACHING is stronger than enable(True), as in native.
  static const bool forced = c10::utils::check_env("PYTORCH_NO_CUDA_MEMORY_CACHING") == true;
  set_detour(kUncached, forced || !value);
}

bool TorchAllocator::isEnabled() const {
  return (detours() & kUncached) == 0;
}

void TorchAllocator::copy_data(void* destination, const void* source, size_t bytes) const {
  C10_CUDA_CHECK(cudaMemcpy(destination, source, bytes, cudaMemcpyDeviceToDevice));
}

void TorchAllocator::recordStream(const DataPtr& pointer, c10::cuda::CUDAStream stream) {
  if (pointer.get() == nullptr || core() == nullptr) return;
  if (previous_ != nullptr && previous_->initialized() && pointer.get_deleter() == previous_->raw_deleter()) {
    return previous_->recordStream(pointer, stream);
  }
  // Foreign memory (another library's deleter) is none of our business, as in native; but a block of ours behind
  // another deleter is still ours, and native's way of ignoring it would let it be reused too early.
  const gapless_status status = gapless_record_stream(core(), pointer.get(), stream.stream());
  if (status != GAPLESS_ERROR_UNKNOWN_POINTER) check(status, "record_stream");
}

void* TorchAllocator::getBaseAllocation(void* pointer, size_t* bytes) {
  gapless_block_info block = GAPLESS_STRUCT(gapless_block_info);
  const gapless_status status = gapless_block_of(core(), pointer, &block);
  TORCH_CHECK(status == GAPLESS_OK, "invalid device pointer: ", pointer);
  if (bytes != nullptr) *bytes = block.segment_bytes;
  return block.segment_address;
}

// PyTorch compares `backend:` in its configuration string with this name, and asserts that they agree: a replacement
// for the native allocator must answer as the native one.
std::string TorchAllocator::name() {
  return "native";
}

void TorchAllocator::set_detour(Detour reason, bool on) noexcept {
  if (on) {
    detours_.fetch_or(reason, std::memory_order_acq_rel);
  } else {
    detours_.fetch_and(~static_cast<uint32_t>(reason), std::memory_order_acq_rel);
  }
}

}  // namespace gapless::torch
