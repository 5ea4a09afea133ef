// SPDX-License-Identifier: Apache-2.0
// Taking dormant mappings away.
#pragma once

#include <cstdint>

#include "driver/driver.hpp"
#include "vmm/ledger.hpp"

namespace gapless::vmm {

// Unmaps `count` slots from `first` on: all mapped, none active, their addresses one run. One call, and it adds to
// `calls`.
//
// The driver promises that a failed call changed nothing. It is not believed: after a failure the run is in quarantine
// (SlotTable::no_access). Nothing there is reactivated, and the next attempt goes slot by slot, where invalid_value
// means that the mapping has gone already. Under the map lock.
driver::Result unmap_slots(Ledger& ledger, driver::DriverOps& ops, SpaceId space, std::uint32_t first,
                           std::uint32_t count, std::uint64_t granule, std::uint64_t& calls);

}  // namespace gapless::vmm
