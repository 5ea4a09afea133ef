// SPDX-License-Identifier: Apache-2.0
// Private pools.
#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "engine/segments.hpp"

using gapless::Status;
using gapless::capi::bad_struct;
using gapless::capi::null_argument;
using gapless::capi::on_device;
using gapless::engine::DeviceAllocator;

extern "C" {

gapless_status gapless_pool_create(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                   const gapless_segment_source* source) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    gapless_segment_source given{};
    if (source != nullptr && !gapless::capi::read_struct(source, given)) return bad_struct();
    return one.pools().create(pool, source != nullptr ? &given : nullptr);
  });
}

gapless_status gapless_pool_release(gapless_allocator* allocator, int32_t device, gapless_pool_id pool) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    const Status status = one.pools().release(pool);
    gapless::engine::say_farewells(one.state());
    return status;
  });
}

gapless_status gapless_pool_use_count(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                      int32_t* out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    return out == nullptr ? null_argument("out") : one.pools().use_count(pool, *out);
  });
}

gapless_status gapless_pool_begin(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                  gapless_pool_filter filter, void* user, void (*destroy)(void* user)) {
  return on_device(allocator, device,
                   [&](DeviceAllocator& one) { return one.pools().begin(pool, filter, user, destroy); });
}

gapless_status gapless_pool_end(gapless_allocator* allocator, int32_t device, gapless_pool_id pool) {
  return on_device(allocator, device, [&](DeviceAllocator& one) { return one.pools().end(pool); });
}

gapless_status gapless_pool_set_flag(gapless_allocator* allocator, int32_t device, gapless_pool_id pool, uint32_t flag,
                                     int32_t on) {
  return on_device(allocator, device, [&](DeviceAllocator& one) { return one.pools().set_flag(pool, flag, on != 0); });
}

}  // extern "C"
