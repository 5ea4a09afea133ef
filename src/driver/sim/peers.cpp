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

void Memory::check_revoked(const char* call, Address base, const Region& region, int device, bool all,
                           const Clock* known) {
  if (known == nullptr) return;
  for (const Use& use : region.uses) {
    if (use.device != device || (!all && !use.write) || ordered_before(use, *known)) continue;
    common_.violate("PEND-4",
                    text("%s takes device %d's access to [0x%llx, +%llu) while %s is not known to be complete", call,
                         device, ull(base), ull(region.bytes), describe_use(use).c_str()));
    return;
  }
}

Result Memory::enable_peer(int device, int peer) {
  std::uint64_t& peers = devices_[static_cast<std::size_t>(peer)].peers;
  if ((peers & bit(device)) != 0) return code::peer_access_already_enabled;
  peers |= bit(device);
  return Result::ok;
}

Result Memory::disable_peer(int device, int peer, const Clock* known) {
  std::uint64_t& peers = devices_[static_cast<std::size_t>(peer)].peers;
  if ((peers & bit(device)) == 0) return code::peer_access_not_enabled;
  for (const auto& [base, region] : regions_) {
    if (known == nullptr) break;
    if (region.kind == MemoryKind::linear && region.device == peer)
      check_revoked("cuCtxDisablePeerAccess", base, region, device, true, known);
  }
  peers &= ~bit(device);
  return Result::ok;
}

Result Memory::set_pool_access(int pool, int device, bool read, bool write, const Clock* known) {
  if (pool == device) return read && write ? Result::ok : Result::invalid_value;  // its own cannot be taken
  Device& owner = devices_[static_cast<std::size_t>(pool)];
  const bool loses_all = !read && (owner.pool_readable & bit(device)) != 0;
  const bool loses_writes = !write && (owner.pool_writable & bit(device)) != 0;
  for (const auto& [base, region] : regions_) {
    if (known == nullptr || (!loses_all && !loses_writes)) break;
    if (region.kind == MemoryKind::pool && region.device == pool)
      check_revoked("cuMemPoolSetAccess", base, region, device, loses_all, known);
  }
  owner.pool_readable = read ? owner.pool_readable | bit(device) : owner.pool_readable & ~bit(device);
  owner.pool_writable = write ? owner.pool_writable | bit(device) : owner.pool_writable & ~bit(device);
  return Result::ok;
}

void Memory::pool_access(int pool, int device, bool& read, bool& write) const {
  const Device& owner = devices_[static_cast<std::size_t>(pool)];
  read = pool == device || (owner.pool_readable & bit(device)) != 0;
  write = pool == device || (owner.pool_writable & bit(device)) != 0;
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
  return core_->memory.set_pool_access(pool, device, permission != Permission::none,
                                       permission == Permission::read_write, core_->known());
}

Result Machine::pool_get_access(int pool, int device, Permission& out) {
  const Lock lock = core_->enter();
  if (const Result result = core_->device_state(pool); result != Result::ok) return result;
  if (const Result result = core_->valid_device(device); result != Result::ok) return result;
  bool read = false;
  bool write = false;
  core_->memory.pool_access(pool, device, read, write);
  out = write ? Permission::read_write : read ? Permission::read : Permission::none;
  return Result::ok;
}

}  // namespace gapless::driver::sim
