// SPDX-License-Identifier: Apache-2.0
// Reservations, handles, mappings and access rights.
#include <iterator>

#include "driver/sim/memory.hpp"

namespace gapless::driver::sim {

Result Memory::address_reserve(std::uint64_t bytes, std::uint64_t alignment, Address fixed, Address& out) {
  if ((bytes == 0 || bytes % kGranule != 0) &&
      common_.violate("VA-1", text("cuMemAddressReserve of %llu bytes", ull(bytes)))) {
    return Result::invalid_value;
  }
  if ((alignment & (alignment - 1)) != 0 &&
      common_.violate("VA-2", text("cuMemAddressReserve aligned to %llu", ull(alignment)))) {
    return Result::invalid_value;
  }
  Address at = 0;
  // A fixed address is a wish, as in CUDA: where it is taken, another is given.
  if (fixed != 0 && fixed % kGranule == 0 && space_.take_at(fixed, bytes)) at = fixed;
  if (at == 0) at = space_.take(bytes, alignment < kGranule ? kGranule : alignment);
  if (at == 0) return Result::out_of_memory;
  reservations_[at] = bytes;
  out = at;
  return Result::ok;
}

Result Memory::address_free(Address base, std::uint64_t bytes) {
  const auto it = reservations_.find(base);
  const bool known = it != reservations_.end();
  if ((!known || it->second != bytes) &&
      (common_.violate("VA-3", text("cuMemAddressFree of [0x%llx, +%llu), which is not one whole reservation",
                                    ull(base), ull(bytes))) ||
       !known)) {
    return Result::invalid_value;
  }
  const auto mapped = regions_.lower_bound(base);
  if (mapped != regions_.end() && mapped->first < base + bytes &&
      common_.violate("VA-4", text("cuMemAddressFree of [0x%llx, +%llu) while 0x%llx is mapped", ull(base), ull(bytes),
                                   ull(mapped->first)))) {
    return Result::invalid_value;
  }
  reservations_.erase(it);
  space_.give(base, bytes);
  return Result::ok;
}

Result Memory::create(int device, std::uint64_t bytes, const HandleProperties& properties, Handle& out) {
  if ((bytes == 0 || bytes % kGranule != 0) &&
      common_.violate("HDL-1", text("cuMemCreate of %llu bytes", ull(bytes)))) {
    return Result::invalid_value;
  }
  if (properties.fabric && !common_.config.fabric) return Result::not_supported;
  if (properties.fabric && !common_.config.fabric_permitted) return code::not_permitted;
  if (!take(device, bytes)) return Result::out_of_memory;
  Backing backing;
  backing.device = device;
  backing.bytes = bytes;
  backing.held = 1;
  backing.properties = properties;
  backing.place = host_.place(bytes);
  out = backings_.insert(std::move(backing));
  return Result::ok;
}

Backing* Memory::held(Handle handle) {
  Backing* backing = backings_.find(handle);
  return backing != nullptr && backing->held != 0 ? backing : nullptr;
}

Result Memory::release(Handle handle) {
  Backing* backing = held(handle);
  if (backing == nullptr) {
    common_.violate("HDL-2", text("cuMemRelease of 0x%llx, which is not a handle that the program holds", ull(handle)));
    return Result::invalid_value;
  }
  --backing->held;
  drop_if_unused(handle);
  return Result::ok;
}

Result Memory::hold(Handle handle) {
  Backing* backing = backings_.find(handle);
  if (backing == nullptr) return Result::invalid_value;
  ++backing->held;
  return Result::ok;
}

Result Memory::retain(Address inside, Handle& out) {
  Address base = 0;
  const Region* region = find(inside, base);
  if (region == nullptr || region->kind != MemoryKind::mapped) return Result::invalid_value;
  out = region->backing;
  return hold(out);
}

Result Memory::map(Address base, std::uint64_t bytes, std::uint64_t offset, Handle handle) {
  Backing* backing = held(handle);
  if (backing == nullptr) {
    common_.violate("HDL-2", text("cuMemMap of 0x%llx, which is not a handle that the program holds", ull(handle)));
    return Result::invalid_value;
  }
  if ((bytes == 0 || bytes % kGranule != 0 || base % kGranule != 0 || offset != 0 || bytes > backing->bytes) &&
      common_.violate("MAP-1", text("cuMemMap of [0x%llx, +%llu) at offset %llu of a handle of %llu bytes", ull(base),
                                    ull(bytes), ull(offset), ull(backing->bytes)))) {
    return Result::invalid_value;
  }
  auto reservation = reservations_.upper_bound(base);
  if ((reservation == reservations_.begin() ||
       (--reservation, !range_within(base, bytes, reservation->first, reservation->second))) &&
      common_.violate(
          "MAP-2", text("cuMemMap of [0x%llx, +%llu), which is not inside one reservation", ull(base), ull(bytes)))) {
    return Result::invalid_value;
  }
  const auto after = regions_.lower_bound(base);
  const bool below = after != regions_.begin() && std::prev(after)->first + std::prev(after)->second.bytes > base;
  if ((below || (after != regions_.end() && after->first < base + bytes)) &&
      common_.violate("MAP-3", text("cuMemMap of [0x%llx, +%llu) over the mapping at 0x%llx", ull(base), ull(bytes),
                                    ull(below ? std::prev(after)->first : after->first)))) {
    return Result::invalid_value;
  }
  ++backing->shown;
  Region region;
  region.kind = MemoryKind::mapped;
  region.bytes = bytes;
  region.device = backing->device;
  region.backing = handle;
  regions_.emplace_hint(after, base, std::move(region));
  return Result::ok;
}

// True where [base, base + bytes) starts and ends at mappings' borders and is mapped all along.
bool Memory::whole_mappings(Address base, std::uint64_t bytes, Regions::iterator& first, Regions::iterator& last) {
  first = last = regions_.find(base);
  Address at = base;
  while (at < base + bytes) {
    if (last == regions_.end() || last->first != at || last->second.kind != MemoryKind::mapped) return false;
    at += last->second.bytes;
    ++last;
  }
  return bytes != 0 && at == base + bytes;
}

Result Memory::unmap(Address base, std::uint64_t bytes, const Clock* known) {
  Regions::iterator first;
  Regions::iterator last;
  if (!whole_mappings(base, bytes, first, last)) {
    common_.violate("MAP-4",
                    text("cuMemUnmap of [0x%llx, +%llu), which is not a run of whole mappings", ull(base), ull(bytes)));
    return Result::invalid_value;
  }
  for (auto it = first; it != last; ++it) {
    check_pending("PEND-1", "cuMemUnmap", it->first, it->second, known);
    --backings_.find(it->second.backing)->shown;
    drop_if_unused(it->second.backing);
  }
  remember_gone(base, bytes, "cuMemUnmap");
  regions_.erase(first, last);
  host_.hide(base, bytes);
  return Result::ok;
}

Result Memory::set_access(Address base, std::uint64_t bytes, std::span<const int> devices, Permission permission,
                          const Clock* known) {
  const bool read = permission != Permission::none;
  const bool write = permission == Permission::read_write;
  Regions::iterator first;
  Regions::iterator last;
  if (!whole_mappings(base, bytes, first, last)) {
    common_.violate("MAP-5", text("cuMemSetAccess of [0x%llx, +%llu), which is not a run of whole mappings", ull(base),
                                  ull(bytes)));
    return Result::invalid_value;
  }
  std::uint64_t bits = 0;
  for (const int device : devices) {
    if (device < 0 || device >= common_.config.devices) {
      common_.violate("DEV-1", text("cuMemSetAccess names device %d of %d", device, common_.config.devices));
      return Result::invalid_device;
    }
    bits |= bit(device);
  }
  if (bits == 0 &&
      common_.violate("MAP-6", text("cuMemSetAccess of [0x%llx, +%llu) for no device", ull(base), ull(bytes)))) {
    return Result::invalid_value;
  }
  for (auto it = first; it != last; ++it) {
    Region& region = it->second;
    if (host_.data() && region.readable == 0 && read) {
      // The host sees what a device may see: the window opens with the first right and closes with the mapping.
      const Backing& backing = *backings_.find(region.backing);
      if (!host_.show(it->first, region.bytes, backing.place, backing.file)) return Result::out_of_memory;
    }
    for (const int device : devices) {
      if (write || ((region.readable | region.writable) & bit(device)) == 0) continue;
      check_revoked("cuMemSetAccess", it->first, region, device, !read, known);
    }
    region.readable = read ? region.readable | bits : region.readable & ~bits;
    region.writable = write ? region.writable | bits : region.writable & ~bits;
  }
  return Result::ok;
}

}  // namespace gapless::driver::sim
