// SPDX-License-Identifier: Apache-2.0
// Reservations of device addresses, and how large to make them.
#pragma once

#include <cstdint>

#include "base/units.hpp"
#include "driver/driver.hpp"
#include "vmm/address_map.hpp"

namespace gapless::vmm {

// Bytes of the next reservation of a heap, a multiple of AddressMap::kChunk.
//   request   a block must fit: it never spans two reservations
//   device    memory of the device
//   reserved  addresses reserved on the device so far
//   fraction  of the device's memory that a heap of this kind is likely to fill
// The first heaps get room for the whole device and its fragmentation (1.5 times the peak was the most measured), so
// that they hardly ever need a second one. A process may make a thousand streams and pools: once 8 times the device is
// reserved, sizes shrink, and heaps grow by further reservations instead (128 TiB is all that a process has).
std::uint64_t reservation_bytes(std::uint64_t request, std::uint64_t device, std::uint64_t reserved, double fraction);

struct Reservation {
  driver::Address base = 0;      // aligned to AddressMap::kChunk
  std::uint64_t bytes = 0;       // a multiple of it
  driver::Address raw_base = 0;  // as the driver gave it
  std::uint64_t raw_bytes = 0;
};

driver::Result reserve(driver::DriverOps& ops, std::uint64_t bytes, Reservation& out);
driver::Result unreserve(driver::DriverOps& ops, const Reservation& reservation);

}  // namespace gapless::vmm
