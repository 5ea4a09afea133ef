// SPDX-License-Identifier: Apache-2.0
// What only a device knows: is the memory that an operation touches there, allowed, and not in somebody else's hands?
#include <algorithm>

#include "driver/sim/memory.hpp"

namespace gapless::driver::sim {

namespace {

// The first of the uses that `counts` and that `known` does not order; null where nothing is to be checked.
template <typename Counts>
const Use* unordered_use(const std::vector<Use>& uses, const Clock* known, Counts&& counts) {
  if (known == nullptr) return nullptr;
  const auto it = std::find_if(uses.begin(), uses.end(),
                               [&](const Use& use) { return counts(use) && !ordered_before(use, *known); });
  return it != uses.end() ? &*it : nullptr;
}

}  // namespace

void Memory::remember_gone(Address base, std::uint64_t bytes, const char* how) {
  if (!common_.config.strict) return;
  constexpr std::size_t kKept = 4096;  // for the wording of reports only
  gone_.push_back({base, bytes, common_.operations, how});
  if (gone_.size() > kKept) gone_.pop_front();
}

void Memory::check_pending(const char* rule, const char* call, Address base, const Region& region, const Clock* known) {
  const Use* use = unordered_use(region.uses, known, [](const Use&) { return true; });
  if (use == nullptr) return;
  common_.violate(rule, text("%s of [0x%llx, +%llu) while %s is not ordered before it", call, ull(base),
                             ull(region.bytes), describe_use(*use).c_str()));
}

void Memory::check_revoked(const char* call, Address base, const Region& region, int device, bool all,
                           const Clock* known) {
  const Use* use =
      unordered_use(region.uses, known, [&](const Use& each) { return each.device == device && (all || each.write); });
  if (use == nullptr) return;
  common_.violate("PEND-4", text("%s takes device %d's access to [0x%llx, +%llu) while %s is not known to be complete",
                                 call, device, ull(base), ull(region.bytes), describe_use(*use).c_str()));
}

void Memory::check_allocated(const char* name, Address base, const Region& region, const Clock& clock) {
  if (region.kind != MemoryKind::pool || ordered_before(region.allocated, clock)) return;
  common_.violate("POOL-1", text("%s of [0x%llx, +%llu), which is not ordered after its cuMemAllocAsync (operation "
                                 "%llu, position %llu of stream %u)",
                                 name, ull(base), ull(region.bytes), ull(region.allocated.operation),
                                 ull(region.allocated.position), region.allocated.stream));
}

void Memory::report_no_memory(const Access& access, Address at, const char* name) {
  for (auto it = gone_.rbegin(); it != gone_.rend(); ++it) {
    if (at - it->base >= it->bytes) continue;
    common_.violate("ACC-2", text("%s uses [0x%llx, +%llu), but 0x%llx went with %s at operation %llu", name,
                                  ull(access.base), ull(access.bytes), ull(at), it->how, ull(it->operation)));
    return;
  }
  common_.violate("ACC-1", text("%s uses [0x%llx, +%llu), but nothing is mapped at 0x%llx", name, ull(access.base),
                                ull(access.bytes), ull(at)));
}

bool Memory::check_access(int device, const Access& access, const Use& operation, const Clock& clock) {
  Address at = access.base;
  const Address end = end_of_range(access.base, access.bytes);
  while (at < end) {
    auto it = regions_.upper_bound(at);
    if (it == regions_.begin() || (--it, at - it->first >= it->second.bytes)) {
      report_no_memory(access, at, operation.name);
      return false;
    }
    Region& region = it->second;
    const Address stop = std::min(end, it->first + region.bytes);
    if ((allowed(region, access.write) & bit(device)) == 0 &&
        common_.violate("ACC-3",
                        text("%s on device %d %s [0x%llx, +%llu), but 0x%llx does not allow it", operation.name, device,
                             access.write ? "writes" : "reads", ull(access.base), ull(access.bytes), ull(it->first)))) {
      return false;
    }

    check_allocated(operation.name, it->first, region, clock);
    Use use = operation;
    use.write = access.write;
    use.via = it->first;
    use.device = device;
    Backing* backing = backings_.find(region.backing);
    std::unique_ptr<Shadow>& shadow = backing != nullptr ? backing->shadow : region.shadow;
    if (shadow == nullptr) shadow = std::make_unique<Shadow>();
    const Use earlier = shadow->touch(at - it->first, stop - it->first, use, clock);
    if (earlier.position != 0) {
      const bool alias = earlier.via != use.via;
      common_.violate(
          alias ? "RACE-2" : "RACE-1",
          text(
              "%s is not ordered after %s, on [0x%llx, 0x%llx)%s", describe_use(use).c_str(),
              describe_use(earlier).c_str(), ull(at), ull(stop),
              alias ? text(" which is the handle that the earlier one used at 0x%llx", ull(earlier.via)).c_str() : ""));
    }

    const auto last = std::find_if(region.uses.begin(), region.uses.end(), [&](const Use& u) {
      return u.stream == use.stream && u.write == use.write && u.device == use.device;
    });
    if (last == region.uses.end())
      region.uses.push_back(use);
    else
      *last = use;
    at = stop;
  }
  return true;
}

}  // namespace gapless::driver::sim
