// SPDX-License-Identifier: Apache-2.0
// Machine: memory calls. Memory decides; here are the lock, captures, and what a call waits for.
#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

Result Machine::allocate(int device, std::size_t bytes, Address& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (const Result result = core_->safe_in_capture("cuMemAlloc"); result != Result::ok) return result;
  return core_->memory.allocate(device, bytes, out);
}

Result Machine::free(int device, Address base) {
  Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (base == 0) return Result::ok;
  if (const Result result = core_->safe_in_capture("cuMemFree"); result != Result::ok) return result;
  Address start = 0;
  const Region* region = core_->memory.find(base, start);
  const int owner = region != nullptr ? region->device : device;
  // "This API will not perform any implicit synchronization when the pointer was allocated with cuMemAllocAsync."
  core_->wait_before_free(lock, owner, core_->common.config.free_orders && !core_->memory.is_pool(base));
  if (!core_->memory.is_pool(base)) return core_->memory.free(base, core_->known());
  core_->memory.pool_free(base, core_->known(), "cuMemFree");
  core_->memory.give_pool_addresses(base);
  return Result::ok;
}

Result Machine::pool_allocate(int device, std::size_t bytes, Stream stream, Address& out, int pool) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (const Result result = core_->usable(*state); result != Result::ok) return result;
  if (core_->capture_of(*state) != nullptr) return Result::not_supported;
  const Result result = core_->memory.pool_allocate(pool < 0 ? state->device : pool, bytes, out);
  if (result != Result::ok) return result;
  // The memory is there for what follows this place of the stream.
  core_->enqueue_marker(*state, nullptr, nullptr);
  if (core_->strict())
    core_->memory.pool_allocated(out, {state->id, state->issued, core_->common.operations, "cuMemAllocAsync"});
  core_->scheduler.tick(lock);
  return Result::ok;
}

Result Machine::pool_free(int device, Address base, Stream stream) {
  Lock lock = core_->enter();
  StreamState* state = nullptr;
  if (const Result result = core_->use_stream(device, stream, state); result != Result::ok) return result;
  if (base == 0) return Result::ok;
  if (!core_->memory.is_pool(base)) {
    // CUDA allows cuMemFreeAsync on cuMemAlloc's memory; it then waits as cuMemFree does.
    lock.unlock();
    return free(device, base);
  }
  if (const Result result = core_->usable(*state); result != Result::ok) return result;
  if (core_->capture_of(*state) != nullptr) return Result::not_supported;
  Operation operation;
  operation.name = "cuMemFreeAsync";
  Memory& memory = core_->memory;
  operation.body = [&memory, base] { memory.give_pool_addresses(base); };
  const Clock* ordered = nullptr;
  if (core_->strict()) {
    core_->learn_implicit(*state);
    ordered = &state->clock;
  }
  memory.pool_free(base, ordered);
  return core_->submit(lock, *state, operation);
}

Result Machine::pool_stats(int device, PoolStats& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  out = core_->memory.pool(device);
  return Result::ok;
}

Result Machine::pool_set_release_threshold(int device, std::uint64_t bytes) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  core_->memory.pool(device).release_threshold = bytes;
  return Result::ok;
}

Result Machine::pool_reset_high(int device, bool reserved, bool used) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  PoolStats& pool = core_->memory.pool(device);
  if (reserved) pool.reserved_high = pool.reserved;
  if (used) pool.used_high = pool.used;
  return Result::ok;
}

Result Machine::pool_trim(int device, std::uint64_t keep_bytes) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  core_->memory.pool_trim(device, keep_bytes);
  return Result::ok;
}

// Virtual memory calls name no device: that of the handle or of the mapping is asked, for addresses alone every one.
Result Machine::address_reserve(std::size_t bytes, std::size_t alignment, Address fixed, Address& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  if (!core_->common.config.virtual_memory) return Result::not_supported;
  return core_->memory.address_reserve(bytes, alignment, fixed, out);
}

Result Machine::address_free(Address base, std::size_t bytes) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  return core_->memory.address_free(base, bytes);
}

Result Machine::create(int device, std::size_t bytes, const HandleProperties& properties, Handle& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (!core_->common.config.virtual_memory) return Result::not_supported;
  return core_->memory.create(device, bytes, properties, out);
}

Result Machine::release(Handle handle) {
  const Lock lock = core_->enter();
  if (const Result result = core_->handle_state(handle); result != Result::ok) return result;
  return core_->memory.release(handle);
}

Result Machine::retain(Address inside, Handle& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->range_state(inside); result != Result::ok) return result;
  return core_->memory.retain(inside, out);
}

Result Machine::handle_info(Handle handle, int& device, std::size_t& bytes, HandleProperties& properties) {
  const Lock lock = core_->enter();
  const Backing* backing = core_->memory.held(handle);
  if (backing == nullptr) return Result::invalid_value;
  device = backing->device;
  bytes = backing->bytes;
  properties = backing->properties;
  return Result::ok;
}

Result Machine::map(Address base, std::size_t bytes, std::size_t offset, Handle handle) {
  const Lock lock = core_->enter();
  if (const Result result = core_->handle_state(handle); result != Result::ok) return result;
  return core_->memory.map(base, bytes, offset, handle);
}

Result Machine::unmap(Address base, std::size_t bytes) {
  Lock lock = core_->enter();
  if (const Result result = core_->range_state(base); result != Result::ok) return result;
  if (core_->memory.host().data()) {
    for (int device = 0; device < device_count(); ++device) core_->scheduler.finish_device(lock, device);
  }
  return core_->memory.unmap(base, bytes, core_->known());
}

Result Machine::set_access(Address base, std::size_t bytes, std::span<const int> devices, Permission permission) {
  const Lock lock = core_->enter();
  if (const Result result = core_->range_state(base); result != Result::ok) return result;
  return core_->memory.set_access(base, bytes, devices, permission, core_->known());
}

Result Machine::get_access(Address inside, int device, Permission& out) {
  const Lock lock = core_->enter();
  Address base = 0;
  const Region* region = core_->memory.find(inside, base);
  if (region == nullptr || device < 0 || device >= device_count()) return Result::invalid_value;
  out = Memory::permission(*region, device);
  return Result::ok;
}

Result Machine::host_register(const void* base, std::size_t bytes) {
  const Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  core_->pinned[base] = bytes;
  return Result::ok;
}

// The bytes may be unmapped next: nothing queued may still want them.
Result Machine::host_unregister(const void* base) {
  Lock lock = core_->enter();
  if (const Result result = core_->process_state(); result != Result::ok) return result;
  if (core_->pinned.erase(base) == 0) return Result::invalid_value;
  for (int device = 0; device < device_count(); ++device) core_->scheduler.finish_device(lock, device);
  return Result::ok;
}

bool Machine::is_device_address(Address address) const {
  return address - core_->memory.host().base() < core_->common.config.va;
}

PointerInfo Machine::find(Address inside) {
  const Lock lock = core_->enter();
  if (is_device_address(inside)) return core_->memory.describe(inside);
  PointerInfo info;
  auto it = core_->pinned.upper_bound(as_handle(inside));
  if (it == core_->pinned.begin()) return info;
  --it;
  if (inside - handle_bits(it->first) >= it->second) return info;
  info.kind = MemoryKind::pinned;
  info.base = handle_bits(it->first);
  info.bytes = it->second;
  return info;
}

void* Machine::translate(Address base, std::size_t bytes) {
  const Lock lock = core_->enter();
  if (!core_->memory.host().data() || !core_->memory.readable(base, bytes)) return nullptr;
  return as_handle(base);
}

}  // namespace gapless::driver::sim
