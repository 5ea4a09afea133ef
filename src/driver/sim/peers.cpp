// SPDX-License-Identifier: Apache-2.0
// Whose memory a device reaches besides its own. Each kind of memory has its own way: memory of cuMemAlloc is reached
// after cuCtxEnablePeerAccess, a pool's after cuMemPoolSetAccess, a mapping after cuMemSetAccess (virtual_memory.cpp).
#include "driver/sim/core.hpp"
#include "driver/sim/machine.hpp"

namespace gapless::driver::sim {

std::uint64_t Memory::allowed(const Region& region, bool write) const {
  const Device& owner = devices_[static_cast<std::size_t>(region.device)];
  std::uint64_t devices = write ? region.writable : region.readable;
  if (region.kind == MemoryKind::linear) devices |= owner.peers;
  if (region.kind == MemoryKind::pool) devices |= write ? owner.pool_writable : owner.pool_readable;
  return devices;
}

Result Memory::enable_peer(int device, int peer) {
  std::uint64_t& peers = devices_[static_cast<std::size_t>(peer)].peers;
  if ((peers & bit(device)) != 0) return code::peer_access_already_enabled;
  peers |= bit(device);
  return Result::ok;
}

void Memory::check_all_revoked(const char* call, MemoryKind kind, int owner, int device, bool all, const Clock* known) {
  if (known == nullptr) return;
  for (const auto& [base, region] : regions_) {
    if (region.kind == kind && region.device == owner) check_revoked(call, base, region, device, all, known);
  }
}

Result Memory::disable_peer(int device, int peer, const Clock* known) {
  std::uint64_t& peers = devices_[static_cast<std::size_t>(peer)].peers;
  if ((peers & bit(device)) == 0) return code::peer_access_not_enabled;
  check_all_revoked("cuCtxDisablePeerAccess", MemoryKind::linear, peer, device, true, known);
  peers &= ~bit(device);
  return Result::ok;
}

Result Memory::set_pool_access(int pool, int device, Permission permission, const Clock* known) {
  const bool read = permission != Permission::none;
  const bool write = permission == Permission::read_write;
  if (pool == device) return write ? Result::ok : Result::invalid_value;  // its own cannot be taken
  Device& owner = devices_[static_cast<std::size_t>(pool)];
  const bool loses_all = !read && (owner.pool_readable & bit(device)) != 0;
  const bool loses_writes = !write && (owner.pool_writable & bit(device)) != 0;
  if (loses_all || loses_writes)
    check_all_revoked("cuMemPoolSetAccess", MemoryKind::pool, pool, device, loses_all, known);
  owner.pool_readable = read ? owner.pool_readable | bit(device) : owner.pool_readable & ~bit(device);
  owner.pool_writable = write ? owner.pool_writable | bit(device) : owner.pool_writable & ~bit(device);
  return Result::ok;
}

Permission Memory::pool_access(int pool, int device) const {
  const Device& owner = devices_[static_cast<std::size_t>(pool)];
  return pool == device ? Permission::read_write : permission_of(owner.pool_readable, owner.pool_writable, device);
}

Result Machine::enable_peer_access(int device, int peer) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (const Result result = core_->valid_device(peer); result != Result::ok) return result;
  if (device == peer) return Result::invalid_device;
  return core_->memory.enable_peer(device, peer);
}

Result Machine::disable_peer_access(int device, int peer) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(device); result != Result::ok) return result;
  if (const Result result = core_->valid_device(peer); result != Result::ok) return result;
  return core_->memory.disable_peer(device, peer, core_->known());
}

Result Machine::pool_set_access(int pool, int device, Permission permission) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(pool); result != Result::ok) return result;
  if (const Result result = core_->valid_device(device); result != Result::ok) return result;
  return core_->memory.set_pool_access(pool, device, permission, core_->known());
}

Result Machine::pool_get_access(int pool, int device, Permission& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(pool); result != Result::ok) return result;
  if (const Result result = core_->valid_device(device); result != Result::ok) return result;
  out = core_->memory.pool_access(pool, device);
  return Result::ok;
}

}  // namespace gapless::driver::sim
