// SPDX-License-Identifier: Apache-2.0
#include "vmm/unmap.hpp"

namespace gapless::vmm {

using driver::Result;

Result unmap_slots(Ledger& ledger, driver::DriverOps& ops, SpaceId space, std::uint32_t first, std::uint32_t count,
                   std::uint64_t granule, std::uint64_t& calls) {
  SlotTable& table = ledger.space(space);
  const std::uint32_t end = first + count;
  for (std::uint32_t slot = first; slot < end;) {
    const bool quarantined = table.no_access(slot);
    std::uint32_t stop = slot + 1;
    while (!quarantined && stop < end && !table.no_access(stop)) stop++;
    calls++;
    const Result result = ops.unmap(table.slot_address(slot), (stop - slot) * granule);
    if (result != Result::ok && !(quarantined && result == Result::invalid_value)) {
      for (; slot < stop; slot++) table.set_no_access(slot, true);
      return result;
    }
    for (; slot < stop; slot++) ledger.note_unmapped(space, slot);
  }
  return Result::ok;
}

}  // namespace gapless::vmm
