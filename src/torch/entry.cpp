// SPDX-License-Identifier: Apache-2.0
//
// What libgapless_torchM.N.so exports: see gapless_torch.h.
#include "gapless_torch.h"

#include "allocator.hpp"
#include "install.hpp"

using gapless::torch::TorchAllocator;

namespace {

// The allocator behind gapless_malloc, ready for `device`. Null when gapless cannot serve the devices: then PyTorch's
// native allocator does, as by the other ways in.
TorchAllocator& allocator_for_pluggable() {
  TorchAllocator* existing = TorchAllocator::existing();
  if (C10_UNLIKELY(existing == nullptr || (!existing->initialized() && !existing->handed_back()))) {
    gapless::torch::replace_pluggable();
    existing = TorchAllocator::existing();
    int devices = 0;
    C10_CUDA_CHECK(cudaGetDeviceCount(&devices));
    existing->init(devices);
  }
  return *existing;
}

}  // namespace

int gapless_torch_install(void) {
  try {
    return static_cast<int>(gapless::torch::install());
  } catch (const std::exception& error) {
    gapless::torch::warn_not_installed(error.what());
    return static_cast<int>(gapless::torch::InstallResult::kRefused);
  }
}

int gapless_torch_is_installed(void) {
  TorchAllocator* const ours = TorchAllocator::existing();
  return ours != nullptr && c10::cuda::CUDACachingAllocator::allocator.load() == ours ? 1 : 0;
}

gapless_allocator* gapless_torch_core(void) {
  TorchAllocator* const ours = TorchAllocator::existing();
  return ours == nullptr ? nullptr : ours->core();
}

void* gapless_torch_allocator(void) {
  return TorchAllocator::existing();
}

void* gapless_malloc(ssize_t bytes, int device, cudaStream_t stream) {
  if (bytes <= 0) return nullptr;
  TorchAllocator& allocator = allocator_for_pluggable();
  // A MemPool that was made with these functions, while gapless is PyTorch's allocator: a block of ours as the segment
  // of a pool of ours would be routed to that very pool, and its address would name two blocks.
  if (C10_UNLIKELY(TorchAllocator::in_pool_source())) return allocator.allocate_uncached(static_cast<size_t>(bytes));
  return allocator.allocate_on(static_cast<c10::DeviceIndex>(device), static_cast<size_t>(bytes), stream);
}

void gapless_free(void* pointer, ssize_t /*bytes*/, int /*device*/, cudaStream_t /*stream*/) {
  if (pointer != nullptr && TorchAllocator::existing() != nullptr) TorchAllocator::existing()->raw_delete(pointer);
}
