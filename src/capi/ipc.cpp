// SPDX-License-Identifier: Apache-2.0
// Memory between processes: gapless.h over the engine's shared ranges, the server and the imports.
#include <sys/random.h>

#include <cstring>
#include <memory>
#include <mutex>

#include "capi/on_device.hpp"
#include "engine/exports.hpp"

using gapless::Status;
using gapless::base::fail;
using gapless::capi::fenced;
using gapless::capi::IpcHandle;
using gapless::capi::IpcServer;
using gapless::capi::null_argument;
using gapless::capi::on_device;
using gapless::engine::DeviceAllocator;
using gapless::engine::SharedRange;
using gapless::engine::ShareKey;

namespace {

IpcServer::Share granules_of(gapless_allocator* allocator) {
  return [allocator](const gapless::capi::IpcRequest& request, std::uint64_t granule, int& descriptor) {
    DeviceAllocator* one = nullptr;
    const Status status = allocator->engine->peek(request.device, one);
    if (status != Status::ok) return status;
    if (one == nullptr || one->state().granule != request.granule_bytes)
      return fail(Status::not_found, "nothing of that kind is shared");
    return one->share_granule(request.id, request.secret, granule, descriptor);
  };
}

}  // namespace

extern "C" {

gapless_status gapless_ipc_export(gapless_allocator* allocator, void* pointer, void* handle, size_t capacity,
                                  size_t* length, size_t* offset) {
  return fenced([&]() -> Status {
    if (allocator == nullptr || handle == nullptr || length == nullptr || offset == nullptr)
      return null_argument("allocator, handle, length or offset");
    if (capacity < sizeof(IpcHandle)) return fail(Status::invalid_argument, "a handle needs 72 bytes");
    DeviceAllocator* device = nullptr;
    const gapless::vmm::Region* region = nullptr;
    Status status = allocator->engine->locate(pointer, device, region);
    if (status != Status::ok) return status;
    ShareKey fresh;
    if (::getrandom(fresh.data(), fresh.size(), 0) != static_cast<ssize_t>(fresh.size()))
      return fail(Status::internal, "getrandom: the kernel has no random bytes");
    SharedRange range;
    status = device->share_block(*region, reinterpret_cast<std::uint64_t>(pointer), fresh, range);
    if (status != Status::ok) return status;
    IpcHandle made{};
    {
      const std::lock_guard guard(allocator->ipc_lock);
      if (allocator->ipc_server == nullptr) allocator->ipc_server = std::make_unique<IpcServer>(granules_of(allocator));
      status = allocator->ipc_server->start();
      made.server = allocator->ipc_server->name();
    }
    if (status != Status::ok) return status;
    made.magic = gapless::capi::kIpcMagic;
    made.secret = range.key;
    made.id = range.id;
    made.granules = range.granules;
    made.granule_bytes = device->state().granule;
    made.device = device->state().device;
    std::memcpy(handle, &made, sizeof made);
    *length = sizeof made;
    *offset = reinterpret_cast<std::uint64_t>(pointer) - range.address;
    return Status::ok;
  });
}

gapless_status gapless_ipc_import(gapless_allocator* allocator, int32_t device, const void* handle, size_t length,
                                  void** base) {
  return on_device(allocator, device, [&](DeviceAllocator& one) -> Status {
    if (handle == nullptr || base == nullptr) return null_argument("handle or base");
    if (length != sizeof(IpcHandle)) return fail(Status::invalid_argument, "not a handle of shared memory");
    if ((one.state().attention.load(std::memory_order_relaxed) & gapless::engine::kForked) != 0)
      return fail(Status::unsupported, "a forked child can map no memory of other processes");
    IpcHandle given;
    std::memcpy(&given, handle, sizeof given);
    const gapless::engine::RelaxedCapture relaxed(allocator->engine->ops());
    gapless::capi::IpcImports& imports = allocator->ipc_imports;
    imports.sweep(allocator->engine->ops(), gapless::capi::wait_in(*allocator->engine));
    gapless::driver::Address address = 0;
    const Status status = imports.open(allocator->engine->ops(), device, one.state().info.granularity, given, address);
    if (status == Status::ok) *base = reinterpret_cast<void*>(address);
    return status;
  });
}

gapless_status gapless_ipc_close(gapless_allocator* allocator, void* base) {
  return fenced([&]() -> Status {
    if (allocator == nullptr) return null_argument("allocator");
    const gapless::engine::RelaxedCapture relaxed(allocator->engine->ops());
    return allocator->ipc_imports.close(allocator->engine->ops(), gapless::capi::wait_in(*allocator->engine),
                                        reinterpret_cast<std::uint64_t>(base));
  });
}

}  // extern "C"
