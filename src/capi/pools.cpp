// SPDX-License-Identifier: Apache-2.0
// Private pools.
#include <optional>

#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "engine/checkpoint.hpp"
#include "engine/segments.hpp"
#include "guard/guard.hpp"

using gapless::Status;
using gapless::capi::bad_struct;
using gapless::capi::null_argument;
using gapless::capi::on_device;
using gapless::engine::DeviceAllocator;
using gapless::guard::Guard;

struct gapless_checkpoint {
  gapless::engine::Checkpoint layout;
};

namespace {

// What the debug mode holds is live for the engine; for the program it is not.
void withdraw_guard(gapless_allocator* allocator, int32_t device) {
  if (allocator->guard != nullptr) allocator->guard->withdraw(device);
}

}  // namespace

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
    withdraw_guard(allocator, device);
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
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    const Status status = one.pools().end(pool);
    gapless::engine::say_farewells(one.state());
    return status;
  });
}

gapless_status gapless_pool_set_flag(gapless_allocator* allocator, int32_t device, gapless_pool_id pool, uint32_t flag,
                                     int32_t on) {
  return on_device(allocator, device, [&](DeviceAllocator& one) { return one.pools().set_flag(pool, flag, on != 0); });
}

gapless_status gapless_pool_live_blocks(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                        void** addresses, size_t capacity, size_t* count) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (count == nullptr || (addresses == nullptr && capacity > 0)) return null_argument("addresses or count");
    withdraw_guard(allocator, device);
    std::vector<uint64_t> live;
    const Status status = gapless::engine::live_blocks(one.state(), one.pools(), pool, live);
    if (status != Status::ok) return status;
    for (size_t i = 0; i < live.size() && i < capacity; i++) addresses[i] = reinterpret_cast<void*>(live[i]);
    *count = live.size();
    return Status::ok;
  });
}

gapless_status gapless_pool_checkpoint(gapless_allocator* allocator, int32_t device, gapless_pool_id pool,
                                       gapless_checkpoint** out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (out == nullptr) return null_argument("out");
    withdraw_guard(allocator, device);
    auto fresh = std::make_unique<gapless_checkpoint>();
    const Status status = gapless::engine::take_checkpoint(one.state(), one.pools(), pool, fresh->layout);
    if (status == Status::ok) *out = fresh.release();
    return status;
  });
}

gapless_status gapless_pool_restore(gapless_allocator* allocator, int32_t device, const gapless_checkpoint* checkpoint,
                                    void* user, void (*freed)(void* user, void* address),
                                    void (*allocated)(void* user, void* address)) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (checkpoint == nullptr) return null_argument("checkpoint");
    withdraw_guard(allocator, device);
    gapless::engine::Restored restored;
    std::optional<Guard::Hold> hold;
    if (allocator->guard != nullptr) hold.emplace(*allocator->guard, device);
    const Status status = gapless::engine::restore_checkpoint(one.state(), one.pools(), checkpoint->layout, restored);
    if (status != Status::ok) return status;
    if (hold) allocator->guard->forget(device, restored.freed);
    hold.reset();
    gapless::engine::deliver(one.state());
    if (freed != nullptr)
      for (const uint64_t address : restored.freed) freed(user, reinterpret_cast<void*>(address));
    if (allocated != nullptr)
      for (const uint64_t address : restored.allocated) allocated(user, reinterpret_cast<void*>(address));
    return Status::ok;
  });
}

void gapless_checkpoint_destroy(gapless_checkpoint* checkpoint) {
  delete checkpoint;
}

}  // extern "C"
