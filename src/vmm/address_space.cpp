// SPDX-License-Identifier: Apache-2.0
#include "vmm/address_space.hpp"

#include <algorithm>

namespace gapless::vmm {

std::uint64_t reservation_bytes(std::uint64_t request, std::uint64_t device, std::uint64_t reserved, double fraction) {
  const auto full = static_cast<std::uint64_t>(static_cast<double>(device) * fraction);
  const std::uint64_t usual = reserved < 8 * device ? full : reserved < 32 * device ? full / 16 : full / 256;
  return round_up(std::max({usual, request, AddressMap::kChunk}), AddressMap::kChunk);
}

driver::Result reserve(driver::DriverOps& ops, std::uint64_t bytes, Reservation& out) {
  driver::Address base = 0;
  driver::Result result = ops.address_reserve(bytes, AddressMap::kChunk, base);
  if (result == driver::Result::ok && base % AddressMap::kChunk == 0) {
    out = Reservation{base, bytes, base, bytes};
    return result;
  }
  if (result == driver::Result::ok) {
    if (const driver::Result freed = ops.address_free(base, bytes); freed != driver::Result::ok) return freed;
  }
  // A driver may refuse or ignore a large alignment: reserve one chunk more and use the aligned part.
  const std::uint64_t raw = bytes + AddressMap::kChunk;
  result = ops.address_reserve(raw, 0, base);
  if (result != driver::Result::ok) return result;
  out = Reservation{round_up(base, AddressMap::kChunk), bytes, base, raw};
  return result;
}

driver::Result unreserve(driver::DriverOps& ops, const Reservation& reservation) {
  return ops.address_free(reservation.raw_base, reservation.raw_bytes);
}

}  // namespace gapless::vmm
