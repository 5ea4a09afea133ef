// SPDX-License-Identifier: Apache-2.0
/// @file
/// CcclResource: a device of gapless as a cuda::mr resource, for CCCL's containers and RMM.
///
/// CCCL 3.1 brought the concept's final form (allocate(stream, bytes, alignment), allocate_sync). With an older CCCL,
/// or none, this header declares nothing and GAPLESS_HAS_CCCL_RESOURCE is 0. Needs the CUDA runtime: only the `_sync`
/// forms call it.
#pragma once

#if __has_include(<cuda/version>)
#include <cuda/version>
#endif

#if defined(CCCL_VERSION) && CCCL_VERSION >= 3001000
#define GAPLESS_HAS_CCCL_RESOURCE 1

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cuda/memory_resource>
#include <cuda/stream_ref>

#include "gapless/cpp/device.hpp"
#include "gapless/interop/aligned.hpp"

namespace gapless::interop {

/// Throws OutOfMemory or Error. Thread-safe. Two resources are equal when they serve the same device of the same
/// allocator.
class CcclResource {
 public:
  explicit CcclResource(Device device) noexcept : device_(device) {}

  [[nodiscard]] Device device() const noexcept { return device_; }

  /// Memory for work on `stream`.
  [[nodiscard]] void* allocate(cuda::stream_ref stream, std::size_t bytes,
                               std::size_t alignment = alignof(std::max_align_t)) {
    return allocate_aligned(device_, stream.get(), bytes, alignment);
  }

  /// Gives memory back once the work that is on `stream` now has ended, be it the stream of the allocation or another.
  void deallocate(cuda::stream_ref stream, void* pointer, std::size_t,
                  std::size_t alignment = alignof(std::max_align_t)) noexcept {
    // Recording the block's own stream is nothing; recording another holds the memory until that one's work has ended.
    // An aligned pointer may lie inside its block.
    BlockInfo info = GAPLESS_STRUCT(gapless_block_info);
    if (pointer != nullptr && gapless_block_of(device_.allocator(), pointer, &info) == GAPLESS_OK &&
        info.stream != static_cast<Stream>(stream.get())) {
      static_cast<void>(gapless_record_stream(device_.allocator(), info.address, stream.get()));
    }
    deallocate_aligned(device_, pointer, alignment);
  }

  /// Memory for work on any stream: waits until earlier users of it have ended.
  [[nodiscard]] void* allocate_sync(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
    void* pointer = allocate_aligned(device_, nullptr, bytes, alignment);
    const int error = synchronize();
    if (error == 0) return pointer;
    deallocate_aligned(device_, pointer, alignment);
    detail::raise({Status::driver, error, "cudaStreamSynchronize of the legacy stream"});
  }

  /// Gives memory back that no stream uses any more.
  void deallocate_sync(void* pointer, std::size_t, std::size_t alignment = alignof(std::max_align_t)) noexcept {
    deallocate_aligned(device_, pointer, alignment);
  }

  friend bool operator==(const CcclResource&, const CcclResource&) noexcept = default;
  friend void get_property(const CcclResource&, cuda::mr::device_accessible) noexcept {}

 private:
  /// Waits for the legacy stream of this device; the thread's current device stays as it was.
  [[nodiscard]] int synchronize() const noexcept {
    int current = 0;
    if (const cudaError_t error = cudaGetDevice(&current); error != cudaSuccess) return error;
    if (const cudaError_t error = cudaSetDevice(device_.ordinal()); error != cudaSuccess) return error;
    const cudaError_t waited = cudaStreamSynchronize(cudaStreamLegacy);
    const cudaError_t back = cudaSetDevice(current);
    return waited != cudaSuccess ? waited : back;
  }

  Device device_;
};

static_assert(cuda::mr::resource_with<CcclResource, cuda::mr::device_accessible>,
              "CcclResource must satisfy the concept of the CCCL that is installed");
static_assert(cuda::mr::synchronous_resource_with<CcclResource, cuda::mr::device_accessible>);

}  // namespace gapless::interop

#else
#define GAPLESS_HAS_CCCL_RESOURCE 0
#endif
