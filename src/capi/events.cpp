// SPDX-License-Identifier: Apache-2.0
// The listener, the marks of the training loop, out of memory.
#include <memory>
#include <mutex>
#include <utility>

#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "engine/notify.hpp"
#include "oom/advisor.hpp"

using gapless::Status;
using gapless::base::fail;
using gapless::capi::bad_struct;
using gapless::capi::fenced;
using gapless::capi::ListenerAdapter;
using gapless::capi::null_argument;
using gapless::capi::on_device;
using gapless::engine::DeviceAllocator;
using gapless::engine::Listener;

extern "C" {

gapless_status gapless_set_listener(gapless_allocator* allocator, const gapless_listener* listener) {
  return fenced([&] {
    if (allocator == nullptr) return null_argument("allocator");
    gapless_listener given{};
    if (listener != nullptr && !gapless::capi::read_struct(listener, given)) return bad_struct();
    std::unique_ptr<Listener> fresh;
    if (listener != nullptr) fresh = std::make_unique<ListenerAdapter>(given);
    std::unique_ptr<Listener> old(allocator->engine->exchange_listener(fresh.release()));
    // No lock is held meanwhile: a listener's call may be replacing the listener as well.
    allocator->engine->await_listeners();
    if (old != nullptr && gapless::engine::delivering_here()) {
      const std::lock_guard guard(allocator->retired_lock);
      allocator->retired.push_back(std::move(old));
    }
    return Status::ok;
  });
}

gapless_status gapless_mark_step(gapless_allocator* allocator, int32_t device, const char* label, uint64_t units) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    one.mark_step(label, units);
    return Status::ok;
  });
}

gapless_status gapless_mark_phase(gapless_allocator* allocator, int32_t device, const char* label) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    one.mark_phase(label);
    return Status::ok;
  });
}

gapless_status gapless_add_oom_hook(gapless_allocator* allocator, gapless_oom_hook hook, void* user) {
  return fenced([&] {
    if (allocator == nullptr || hook == nullptr) return null_argument("allocator or hook");
    allocator->oom_hooks.add(hook, user);
    return Status::ok;
  });
}

gapless_status gapless_remove_oom_hook(gapless_allocator* allocator, gapless_oom_hook hook, void* user) {
  return fenced(
      [&] { return allocator == nullptr ? null_argument("allocator") : allocator->oom_hooks.remove(hook, user); });
}

gapless_status gapless_last_oom(gapless_allocator* allocator, int32_t device, gapless_oom_record* out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    gapless_oom_record record{};
    if (!one.last_oom(record)) return fail(Status::not_found, "no request of this device has failed yet");
    return gapless::capi::write_struct(record, out) ? Status::ok : bad_struct();
  });
}

gapless_status gapless_forecast_step(gapless_allocator* allocator, int32_t device, uint64_t units,
                                     gapless_forecast* out) {
  return on_device(allocator, device, [&](DeviceAllocator& one) {
    if (units == 0) return fail(Status::invalid_argument, "units is 0");
    gapless_forecast forecast{};
    const Status status = gapless::oom::forecast(one, allocator->learner, units, forecast);
    if (status != Status::ok) return status;
    return gapless::capi::write_struct(forecast, out) ? Status::ok : bad_struct();
  });
}

}  // extern "C"
