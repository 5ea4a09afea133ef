// SPDX-License-Identifier: Apache-2.0
// Statistics, limits, trimming, peers.
#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "guard/guard.hpp"

using gapless::Status;
using gapless::capi::bad_struct;
using gapless::capi::null_argument;
using gapless::capi::on_device;
using gapless::capi::on_used_device;
using gapless::engine::DeviceAllocator;

extern "C" {

gapless_status gapless_get_stats(gapless_allocator* allocator, int32_t device, gapless_stats* out) {
  return on_used_device(allocator, device, [&](DeviceAllocator* one) {
    gapless_stats stats{};
    if (one != nullptr) one->read_stats(stats);
    return gapless::capi::write_struct(stats, out) ? Status::ok : bad_struct();
  });
}

gapless_status gapless_reset_peak_stats(gapless_allocator* allocator, int32_t device) {
  return on_used_device(allocator, device, [](DeviceAllocator* one) {
    if (one != nullptr) one->reset_peaks();
    return Status::ok;
  });
}

gapless_status gapless_reset_accumulated_stats(gapless_allocator* allocator, int32_t device) {
  return on_used_device(allocator, device, [](DeviceAllocator* one) {
    if (one != nullptr) one->reset_accumulated();
    return Status::ok;
  });
}

gapless_status gapless_set_limit(gapless_allocator* allocator, int32_t device, size_t bytes) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    one.set_limit(bytes);
    return Status::ok;
  });
}

gapless_status gapless_get_limit(gapless_allocator* allocator, int32_t device, size_t* out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (out == nullptr) return null_argument("out");
    *out = one.limit();
    return Status::ok;
  });
}

gapless_status gapless_trim(gapless_allocator* allocator, int32_t device, gapless_pool_id pool, size_t keep,
                            size_t* released) {
  return on_used_device(allocator, device, [&](DeviceAllocator* one) {
    uint64_t bytes = 0;
    if (allocator->guard != nullptr) allocator->guard->flush(device);
    const Status status = one != nullptr ? one->trim(pool, keep, bytes) : Status::ok;
    allocator->ipc_imports.sweep(allocator->engine->ops(), gapless::capi::wait_in(*allocator->engine));
    if (status == Status::ok && released != nullptr) *released = bytes;
    return status;
  });
}

gapless_status gapless_largest_available(gapless_allocator* allocator, int32_t device, size_t* out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (out == nullptr) return null_argument("out");
    *out = one.largest_available();
    return Status::ok;
  });
}

gapless_status gapless_warm_up(gapless_allocator* allocator, int32_t device, gapless_stream stream, size_t bytes) {
  return on_device(allocator, device,
                   [&](DeviceAllocator& one) { return bytes == 0 ? Status::ok : one.warm_up(stream, bytes); });
}

gapless_status gapless_create_ahead(gapless_allocator* allocator, int32_t device, int32_t* made) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    bool any = false;
    const Status status = one.create_ahead(any);
    if (status == Status::ok && made != nullptr) *made = any ? 1 : 0;
    return status;
  });
}

gapless_status gapless_enable_peer(gapless_allocator* allocator, int32_t device, int32_t peer) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (const Status status = allocator->engine->probe(peer); status != Status::ok) return status;
    return one.enable_peer(peer);
  });
}

}  // extern "C"
