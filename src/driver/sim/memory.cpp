// SPDX-License-Identifier: Apache-2.0
// Physical bytes, linear allocations and the pool.
#include "driver/sim/memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace gapless::driver::sim {
namespace {

constexpr std::uint64_t kSmall = 1ull << 20;      // below: suballocated by the driver, no granules of its own
constexpr std::uint64_t kPoolStep = 32ull << 20;  // the pool grows by this where the device has it

}  // namespace

Memory::Memory(Common& common)
    : common_(common), host_(common.config), space_(host_.base() + kGranule, common.config.va - kGranule) {
  // The first granule stays out of the space: device symbols of modules live there.
  for (int i = 0; i < common.config.devices; ++i) {
    devices_.push_back({PhysicalMemory(common.config.size, common.config.other), PoolStats{}, 0, 0, 0});
  }
}

Memory::~Memory() {
  for (const OtherFile& one : other_files_) ::close(one.file);
}

// As the driver does: the pool's idle bytes go before an allocation fails.
bool Memory::take(int device, std::uint64_t bytes) {
  if (physical(device).take(bytes)) return true;
  pool_trim(device, 0);
  return physical(device).take(bytes);
}

Result Memory::allocate(int device, std::uint64_t bytes, Address& out) {
  if (bytes == 0) return Result::invalid_value;
  if (bytes > physical(device).size()) return Result::out_of_memory;
  const bool small = bytes < kSmall;
  const std::uint64_t charged = round_up(bytes, small ? 512 : kGranule);
  if (!take(device, charged)) return Result::out_of_memory;
  const Address at = space_.take(round_up(charged, small_step()), small ? small_step() : kGranule);
  const std::uint64_t place = at != 0 ? host_.place(charged) : 0;
  if (at == 0 || !host_.show(at, charged, place)) {
    if (at != 0) {
      host_.drop(place, charged);
      space_.give(at, round_up(charged, small_step()));
    }
    physical(device).give(charged);
    return Result::out_of_memory;
  }
  Backing backing;
  backing.device = device;
  backing.bytes = charged;
  backing.shown = 1;
  backing.place = place;
  Region region;
  region.kind = MemoryKind::linear;
  region.bytes = charged;
  region.device = device;
  region.backing = backings_.insert(std::move(backing));
  region.readable = region.writable = bit(device);
  regions_.emplace(at, std::move(region));
  out = at;
  return Result::ok;
}

void Memory::end_linear(Regions::iterator region, const char* call, std::uint64_t spacing, const Clock* known) {
  const Address base = region->first;
  check_pending("PEND-2", call, base, region->second, known);
  const std::uint64_t bytes = region->second.bytes;
  const Handle backing = region->second.backing;
  remember_gone(base, bytes, call);
  regions_.erase(region);
  host_.hide(base, bytes);
  space_.give(base, round_up(bytes, spacing));
  backings_.find(backing)->shown = 0;
  drop_if_unused(backing);
}

Result Memory::free(Address base, const Clock* known) {
  const auto it = regions_.find(base);
  if (it == regions_.end() || it->second.kind != MemoryKind::linear || opens(base) != 0) {
    common_.violate("MEM-1", text("cuMemFree of 0x%llx, which is not the start of a live allocation", ull(base)));
    return Result::invalid_value;
  }
  end_linear(it, "cuMemFree", small_step(), known);
  return Result::ok;
}

Result Memory::pool_allocate(int device, std::uint64_t bytes, Address& out) {
  PoolStats& pool = devices_[static_cast<std::size_t>(device)].pool;
  PhysicalMemory& memory = physical(device);
  if (bytes == 0) return Result::invalid_value;
  if (bytes > memory.size()) return Result::out_of_memory;
  const std::uint64_t charged = round_up(bytes, 512);
  const std::uint64_t reserved_before = pool.reserved;
  if (pool.used + charged > pool.reserved) {
    const std::uint64_t missing = pool.used + charged - pool.reserved;
    std::uint64_t more = round_up(missing, kPoolStep);
    if (!memory.take(more)) {
      more = round_up(missing, kGranule);
      if (!memory.take(more)) return Result::out_of_memory;
    }
    pool.reserved += more;
  }
  const std::uint64_t spaced = round_up(charged, small_step());
  const Address at = space_.take(spaced, small_step());
  const std::uint64_t place = at != 0 ? host_.place(charged) : 0;
  if (at == 0 || !host_.show(at, charged, place)) {
    if (at != 0) {
      host_.drop(place, charged);
      space_.give(at, spaced);
    }
    memory.give(pool.reserved - reserved_before);
    pool.reserved = reserved_before;
    return Result::out_of_memory;
  }
  pool.used += charged;
  pool.used_high = std::max(pool.used_high, pool.used);
  pool.reserved_high = std::max(pool.reserved_high, pool.reserved);
  Region region;
  region.kind = MemoryKind::pool;
  region.bytes = charged;
  region.device = device;
  region.readable = region.writable = bit(device);
  region.place = place;
  regions_.emplace(at, std::move(region));
  out = at;
  return Result::ok;
}

bool Memory::is_pool(Address base) const {
  const auto it = regions_.find(base);
  return it != regions_.end() && it->second.kind == MemoryKind::pool;
}

void Memory::pool_free(Address base, const Clock* ordered, const char* call) {
  const auto it = regions_.find(base);  // the callers asked is_pool: what is not of the pool is cuMemFree's business
  check_pending("PEND-3", call, base, it->second, ordered);
  if (ordered != nullptr) check_allocated(call, base, it->second, *ordered);
  pool(it->second.device).used -= it->second.bytes;
  remember_gone(base, it->second.bytes, call);
  leaving_[base] = {it->second.bytes, it->second.place};
  regions_.erase(it);
}

void Memory::pool_allocated(Address base, const Use& at) {
  regions_.find(base)->second.allocated = at;
}

void Memory::give_pool_addresses(Address base) {
  const auto it = leaving_.find(base);
  if (it == leaving_.end()) return;
  host_.hide(base, it->second.bytes);
  host_.drop(it->second.place, it->second.bytes);
  space_.give(base, round_up(it->second.bytes, small_step()));
  leaving_.erase(it);
}

void Memory::pool_trim(int device, std::uint64_t keep) {
  PoolStats& pool = devices_[static_cast<std::size_t>(device)].pool;
  const std::uint64_t target = round_up(std::max(pool.used, keep), kGranule);
  if (pool.reserved <= target) return;
  physical(device).give(pool.reserved - target);
  pool.reserved = target;
}

void Memory::drop_if_unused(Handle handle) {
  Backing* backing = backings_.find(handle);
  if (backing->held != 0 || backing->shown != 0) return;
  if (!backing->foreign) physical(backing->device).give(backing->bytes);
  if (!backing->foreign && !backing->shared) host_.drop(backing->place, backing->bytes);
  if (backing->file >= 0) leave_file(backing->file);
  backings_.erase(handle);
}

const Region* Memory::find(Address inside, Address& base) const {
  auto it = regions_.upper_bound(inside);
  if (it == regions_.begin()) return nullptr;
  --it;
  if (inside - it->first >= it->second.bytes) return nullptr;
  base = it->first;
  return &it->second;
}

PointerInfo Memory::describe(Address inside) const {
  PointerInfo info;
  Address base = 0;
  if (const Region* region = find(inside, base)) {
    info.kind = region->kind;
    info.base = base;
    info.bytes = region->bytes;
    info.device = region->device;
    return info;
  }
  auto it = reservations_.upper_bound(inside);
  if (it == reservations_.begin()) return info;
  --it;
  if (inside - it->first >= it->second) return info;
  info.base = it->first;
  info.bytes = it->second;
  info.reserved_only = true;
  return info;
}

bool Memory::readable(Address base, std::uint64_t bytes) const {
  const Address end = end_of_range(base, bytes);
  while (base < end) {
    Address start = 0;
    if (const Region* region = find(base, start)) {
      base = start + region->bytes;
      continue;
    }
    // A pool allocation is there until its free has had its turn.
    auto it = leaving_.upper_bound(base);
    if (it == leaving_.begin()) return false;
    --it;
    if (base - it->first >= it->second.bytes) return false;
    base = it->first + it->second.bytes;
  }
  return true;
}

}  // namespace gapless::driver::sim
