// SPDX-License-Identifier: Apache-2.0
// The common shape of a call about one device.
#pragma once

#include "capi/fence.hpp"
#include "capi/handle.hpp"

namespace gapless::capi {

// Calls with the device's allocator, which is brought up if need be; errors on the way are returned.
template <typename Call>
gapless_status on_device(gapless_allocator* allocator, std::int32_t device, Call&& call) noexcept {
  return fenced([&]() -> Status {
    if (allocator == nullptr) return null_argument("allocator");
    engine::DeviceAllocator* one = nullptr;
    const Status status = allocator->engine->device(device, one);
    return status != Status::ok ? status : call(*one);
  });
}

// The same for what needs no driver: null stands for a device that has not been used yet.
template <typename Call>
gapless_status on_used_device(gapless_allocator* allocator, std::int32_t device, Call&& call) noexcept {
  return fenced([&]() -> Status {
    if (allocator == nullptr) return null_argument("allocator");
    engine::DeviceAllocator* one = nullptr;
    const Status status = allocator->engine->peek(device, one);
    return status != Status::ok ? status : call(one);
  });
}

inline Status bad_struct() {
  return base::fail(Status::invalid_argument, "a struct is NULL or its struct_size is not set: use GAPLESS_STRUCT");
}

}  // namespace gapless::capi
