// SPDX-License-Identifier: Apache-2.0
/// @file
/// DeviceMemoryResource: a device of gapless as a std::pmr::memory_resource.
///
/// For code that takes a memory resource and treats what it gets as opaque addresses (sub-allocators, staging rings).
/// The memory is the device's: the host must not read or write it, so a std::pmr container that constructs elements in
/// it is wrong.
#pragma once

#include <cstddef>
#include <memory_resource>

#include "gapless/cpp/device.hpp"
#include "gapless/interop/aligned.hpp"

namespace gapless::interop {

/// Allocates for one stream of one device. Throws OutOfMemory or Error. Thread-safe.
class DeviceMemoryResource final : public std::pmr::memory_resource {
 public:
  explicit DeviceMemoryResource(Device device, Stream stream = nullptr) noexcept : device_(device), stream_(stream) {}

  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] Stream stream() const noexcept { return stream_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return allocate_aligned(device_, stream_, bytes, alignment);
  }
  void do_deallocate(void* pointer, std::size_t, std::size_t alignment) override {
    deallocate_aligned(device_, pointer, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
#if defined(__cpp_rtti)
    // Any stream may give back any block: the block remembers its own.
    const auto* same = dynamic_cast<const DeviceMemoryResource*>(&other);
    return same != nullptr && same->device_ == device_;
#else
    return this == &other;
#endif
  }

  Device device_;
  Stream stream_;
};

}  // namespace gapless::interop
