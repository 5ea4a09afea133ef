// SPDX-License-Identifier: Apache-2.0
// The debug mode, as far as it is asked. What it adds to allocating and freeing is in blocks.cpp.
#include "guard/guard.hpp"
#include "capi/on_device.hpp"

using gapless::Status;
using gapless::capi::fenced;
using gapless::capi::null_argument;

namespace {

Status not_guarded() {
  return gapless::base::fail(Status::unsupported, "the allocator was opened without the option guard");
}

}  // namespace

extern "C" {

gapless_status gapless_set_guard_hook(gapless_allocator* allocator, gapless_guard_hook hook, void* user) {
  return fenced([&] {
    if (allocator == nullptr) return null_argument("allocator");
    if (allocator->guard == nullptr) return not_guarded();
    allocator->guard->set_hook(hook, user);
    return Status::ok;
  });
}

gapless_status gapless_check_guards(gapless_allocator* allocator, int32_t device, uint64_t* found) {
  return gapless::capi::on_used_device(allocator, device, [&](gapless::engine::DeviceAllocator*) {
    if (allocator->guard == nullptr) return not_guarded();
    uint64_t count = 0;
    const Status status = allocator->guard->check(device, count);
    if (status == Status::ok && found != nullptr) *found = count;
    return status;
  });
}

}  // extern "C"
