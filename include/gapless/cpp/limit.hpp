// SPDX-License-Identifier: Apache-2.0
/// @file
/// ScopedLimit: a limit on a device's physical memory that ends with its scope.
#pragma once

#include <cstddef>
#include <utility>

#include "gapless/cpp/status.hpp"
#include "gapless/gapless.h"

namespace gapless {

/// Holds the device's limit at a value; puts back the limit that was there when it is destroyed.
///
/// Scopes of one device must end in the reverse order of their beginning, on whatever thread: the limit belongs to the
/// device and not to a thread, so overlapping scopes would put back each other's value.
class ScopedLimit {
 public:
  /// Holds nothing.
  ScopedLimit() noexcept = default;
  ScopedLimit(ScopedLimit&& other) noexcept
      : allocator_(std::exchange(other.allocator_, nullptr)), device_(other.device_), before_(other.before_) {}
  ScopedLimit& operator=(ScopedLimit&& other) noexcept {
    if (this != &other) {
      reset();
      allocator_ = std::exchange(other.allocator_, nullptr);
      device_ = other.device_;
      before_ = other.before_;
    }
    return *this;
  }
  ScopedLimit(const ScopedLimit&) = delete;
  ScopedLimit& operator=(const ScopedLimit&) = delete;
  ~ScopedLimit() { reset(); }

  /// See Device::limit_to.
  [[nodiscard]] static Result<ScopedLimit> try_make(gapless_allocator* allocator, int device,
                                                    std::size_t bytes) noexcept {
    ScopedLimit limit;
    if (const gapless_status status = gapless_get_limit(allocator, device, &limit.before_))
      return detail::failure_of(status);
    if (const gapless_status status = gapless_set_limit(allocator, device, bytes)) return detail::failure_of(status);
    limit.allocator_ = allocator;
    limit.device_ = device;
    return Result<ScopedLimit>(std::move(limit));
  }

  /// Puts the old limit back now.
  void reset() noexcept {
    if (allocator_ != nullptr) {
      static_cast<void>(gapless_set_limit(std::exchange(allocator_, nullptr), device_, before_));
    }
  }

 private:
  gapless_allocator* allocator_ = nullptr;
  int device_ = 0;
  std::size_t before_ = 0;
};

}  // namespace gapless
