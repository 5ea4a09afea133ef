// SPDX-License-Identifier: Apache-2.0
/// @file
/// TemporaryAllocator: for Thrust's algorithms. VectorAllocator<T>: for thrust::device_vector, where Thrust is
/// installed.
///
///     gapless::interop::TemporaryAllocator temporary(gpu, stream);
///     thrust::sort(thrust::cuda::par(temporary).on(stream), begin, end);
///
///     using Vector = thrust::device_vector<float, gapless::interop::VectorAllocator<float>>;
///     Vector values(n, gapless::interop::VectorAllocator<float>(gpu));
#pragma once

#include <cstddef>

#include "gapless/cpp/device.hpp"

namespace gapless::interop {

/// What thrust::cuda::par takes: bytes in, bytes back, in the order of one stream. It must be the stream of the
/// algorithm. Throws OutOfMemory or Error. Copies are equal.
class TemporaryAllocator {
 public:
  using value_type = char;

  explicit TemporaryAllocator(Device device, Stream stream = nullptr) noexcept : device_(device), stream_(stream) {}

  [[nodiscard]] char* allocate(std::ptrdiff_t bytes) {
    return static_cast<char*>(device_.allocate(static_cast<std::size_t>(bytes), stream_).release());
  }
  void deallocate(char* pointer, std::size_t) noexcept {
    static_cast<void>(gapless_deallocate(device_.allocator(), pointer));
  }
  friend bool operator==(const TemporaryAllocator&, const TemporaryAllocator&) noexcept = default;

 private:
  Device device_;
  Stream stream_;
};

}  // namespace gapless::interop

#if __has_include(<thrust/device_malloc_allocator.h>)
#include <thrust/device_malloc_allocator.h>

namespace gapless::interop {

/// An allocator of thrust::device_vector<T>. Throws OutOfMemory or Error.
///
/// The vector is made for one stream (by default the legacy default stream, on which Thrust's own operations run when
/// told nothing else). Destroying a vector gives its memory back in the order of that stream.
template <typename T>
class VectorAllocator : public thrust::device_malloc_allocator<T> {
 public:
  using Base = thrust::device_malloc_allocator<T>;
  using pointer = typename Base::pointer;
  using size_type = typename Base::size_type;
  template <typename U>
  struct rebind {
    using other = VectorAllocator<U>;
  };

  explicit VectorAllocator(Device device, Stream stream = nullptr) noexcept : device_(device), stream_(stream) {}
  template <typename U>
  VectorAllocator(const VectorAllocator<U>& other) noexcept : device_(other.device()), stream_(other.stream()) {}

  [[nodiscard]] Device device() const noexcept { return device_; }
  [[nodiscard]] Stream stream() const noexcept { return stream_; }

  [[nodiscard]] pointer allocate(size_type count) {
    Array<T> array = device_.allocate_array<T>(count, stream_);
    return pointer(static_cast<T*>(std::move(array).block().release()));
  }
  void deallocate(pointer first, size_type) noexcept {
    static_cast<void>(gapless_deallocate(device_.allocator(), static_cast<void*>(first.get())));
  }
  friend bool operator==(const VectorAllocator& a, const VectorAllocator& b) noexcept { return a.device_ == b.device_; }
  friend bool operator!=(const VectorAllocator& a, const VectorAllocator& b) noexcept { return !(a == b); }

 private:
  Device device_;
  Stream stream_;
};

}  // namespace gapless::interop
#endif
