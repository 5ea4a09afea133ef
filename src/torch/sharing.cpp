// SPDX-License-Identifier: Apache-2.0
//
// Memory that other processes and other devices see.
#include "allocator.hpp"
#include "check.hpp"

namespace gapless::torch {

namespace {

// PyTorch's handles begin with a version and a type byte ('c': cudaMalloc, 'e': expandable segment). Ours keep that
// shape with a type of their own, so that a process in which native is installed refuses them by name instead of
// misreading them.
constexpr char kHandleVersion = 2;
constexpr char kHandleType = 'g';
constexpr size_t kPrefix = 2;
constexpr size_t kLargestHandle = 256;

}  // namespace

cca::ShareableHandle TorchAllocator::shareIpcHandle(void* pointer) {
  std::string handle(kPrefix + kLargestHandle, '\0');
  handle[0] = kHandleVersion;
  handle[1] = kHandleType;
  size_t length = 0;
  size_t offset = 0;
  const gapless_status status =
      gapless_ipc_export(core(), pointer, handle.data() + kPrefix, kLargestHandle, &length, &offset);
  TORCH_CHECK(status != GAPLESS_ERROR_UNKNOWN_POINTER, "invalid device pointer: ", pointer);
  check(status, "sharing CUDA tensors between processes (use CPU tensors, or torch.cuda without gapless, for these)");
  handle.resize(kPrefix + length);
  return {static_cast<ptrdiff_t>(offset), std::move(handle)};
}

std::shared_ptr<void> TorchAllocator::getIpcDevPtr(std::string handle) {
  const bool ours = handle.size() > kPrefix && handle[0] == kHandleVersion && handle[1] == kHandleType;
  if (!ours) {
    // Native's own, unless it has been started here, reads its devices' tables without looking.
    TORCH_CHECK(
        previous_ != nullptr && previous_->initialized(),
        "gapless: a shared CUDA memory handle of unknown origin: the process that made it does not run on gapless");
    return previous_->getIpcDevPtr(std::move(handle));
  }
  {
    // A segment is imported once a process however many tensors in it are received.
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto known = imported_.find(handle);
    if (known != imported_.end()) {
      if (std::shared_ptr<void> base = known->second.lock()) return base;
    }
  }
  DeviceIndex device = 0;
  C10_CUDA_CHECK(c10::cuda::GetDevice(&device));
  gapless_allocator* const core = core_for(device);
  void* base = nullptr;
  check(gapless_ipc_import(core, device, handle.data() + kPrefix, handle.size() - kPrefix, &base),
        "receiving CUDA tensors of other processes");
  std::shared_ptr<void> imported(base, [core](void* address) { (void)gapless_ipc_close(core, address); });
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto one = imported_.begin(); one != imported_.end();) {
    one = one->second.expired() ? imported_.erase(one) : std::next(one);
  }
  std::weak_ptr<void>& slot = imported_[handle];
  if (std::shared_ptr<void> other = slot.lock()) return other;  // another thread was faster
  slot = imported;
  return imported;
}

void TorchAllocator::enablePeerAccess(DeviceIndex device, DeviceIndex device_to_access) {
  {
    const c10::cuda::CUDAGuard guard(device);
    const cudaError_t error = cudaDeviceEnablePeerAccess(device_to_access, 0);
    if (error == cudaErrorPeerAccessAlreadyEnabled) {
      (void)cudaGetLastError();
    } else {
      C10_CUDA_CHECK(error);
    }
  }
  // The runtime's call does not reach memory mapped by cuMemMap.
  check(gapless_enable_peer(core_for(device_to_access), device_to_access, device), "peer access");
}

cudaError_t TorchAllocator::memcpyAsync(void* destination, int destination_device, const void* source,
                                        int source_device, size_t bytes, cudaStream_t stream, bool p2p_enabled) {
  if (p2p_enabled || destination_device == source_device) {
    return cudaMemcpyAsync(destination, source, bytes, cudaMemcpyDeviceToDevice, stream);
  }
  // Memory mapped by cuMemMap and not accessible from the other device: only the peer form copies it.
  return cudaMemcpyPeerAsync(destination, destination_device, source, source_device, bytes, stream);
}

}  // namespace gapless::torch
