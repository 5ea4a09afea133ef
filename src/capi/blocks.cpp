// SPDX-License-Identifier: Apache-2.0
// The hit path of the C ABI, and what is asked about single blocks.
#include "capi/fence.hpp"
#include "capi/handle.hpp"
#include "capi/on_device.hpp"
#include "capi/structs.hpp"
#include "guard/guard.hpp"

using gapless::Status;
using gapless::capi::fenced;
using gapless::capi::null_argument;
using gapless::engine::DeviceAllocator;

extern "C" {

gapless_status gapless_allocate(gapless_allocator* allocator, int32_t device, gapless_stream stream, size_t bytes,
                                void** out) {
  return fenced([&] {
    if (allocator == nullptr || out == nullptr) [[unlikely]]
      return null_argument("allocator or out");
    if (bytes == 0) [[unlikely]] {
      *out = nullptr;
      return Status::ok;
    }
    if (allocator->guard != nullptr) [[unlikely]]
      return allocator->guard->allocate(device, stream, bytes, out);
    return allocator->engine->allocate(device, stream, bytes, out);
  });
}

gapless_status gapless_deallocate(gapless_allocator* allocator, void* pointer) {
  return fenced([&] {
    if (pointer == nullptr) [[unlikely]]
      return Status::ok;
    if (allocator == nullptr) [[unlikely]]
      return null_argument("allocator");
    if (allocator->guard != nullptr) [[unlikely]]
      return allocator->guard->deallocate(pointer);
    return allocator->engine->deallocate(pointer);
  });
}

gapless_status gapless_record_stream(gapless_allocator* allocator, void* pointer, gapless_stream stream) {
  return fenced([&] {
    if (allocator == nullptr) return null_argument("allocator");
    DeviceAllocator* device = nullptr;
    const gapless::vmm::Region* region = nullptr;
    if (allocator->guard != nullptr) allocator->guard->note_use(pointer, stream);
    const Status status = allocator->engine->locate(pointer, device, region);
    return status != Status::ok ? status : device->record_stream(*region, reinterpret_cast<uint64_t>(pointer), stream);
  });
}

gapless_status gapless_forget_stream(gapless_allocator* allocator, int32_t device, gapless_stream stream) {
  return gapless::capi::on_used_device(allocator, device, [&](DeviceAllocator* one) {
    if (allocator->guard != nullptr) allocator->guard->forget_stream(device, stream);
    return one != nullptr ? one->forget_stream(stream) : Status::ok;
  });
}

gapless_status gapless_block_of(gapless_allocator* allocator, const void* pointer, gapless_block_info* out) {
  return fenced([&] {
    if (allocator == nullptr) return null_argument("allocator");
    DeviceAllocator* device = nullptr;
    const gapless::vmm::Region* region = nullptr;
    gapless_block_info info{};
    Status status = allocator->engine->locate(pointer, device, region);
    if (status == Status::ok) status = device->block_of(*region, reinterpret_cast<uint64_t>(pointer), info);
    if (status == Status::ok && !gapless::capi::write_struct(info, out))
      return gapless::base::fail(Status::invalid_argument, "out is NULL or its struct_size is not set");
    return status;
  });
}

gapless_status gapless_set_cookie(gapless_allocator* allocator, void* pointer, uint64_t cookie) {
  return fenced([&] {
    if (allocator == nullptr) return null_argument("allocator");
    DeviceAllocator* device = nullptr;
    const gapless::vmm::Region* region = nullptr;
    const Status status = allocator->engine->locate(pointer, device, region);
    return status != Status::ok ? status : device->set_cookie(pointer, cookie);
  });
}

}  // extern "C"
