// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "driver/forwarding_driver.hpp"
#include "driver/sim/sim_driver.hpp"
#include "vmm/address_map.hpp"
#include "vmm/address_space.hpp"

namespace gapless::vmm {
namespace {

TEST(AddressMap, FindsRegionsByChunkAndSegmentsBySearch) {
  AddressMap map;
  ASSERT_TRUE(map.ok());
  RegionOwner owner;
  const driver::Address base = 5 * AddressMap::kChunk;
  EXPECT_EQ(map.find(base), nullptr);
  Region* const region = map.add(base, 2 * AddressMap::kChunk, 0, &owner, Units(0));
  EXPECT_EQ(map.find(base), region);
  EXPECT_EQ(map.find(base + 2 * AddressMap::kChunk - 1), region);
  EXPECT_EQ(map.find(base + 2 * AddressMap::kChunk), nullptr);
  EXPECT_EQ(map.find(~driver::Address{0}), nullptr);

  Region* const segment = map.add_segment(1000 * kMiB, kMiB, 0, &owner, Units(0));
  Region* const later = map.add_segment(1002 * kMiB, kMiB, 0, &owner, Units(4096));
  EXPECT_EQ(map.find(1000 * kMiB), segment);
  EXPECT_EQ(map.find(1001 * kMiB), nullptr);
  EXPECT_EQ(map.find(1002 * kMiB + 5), later);
  map.remove_segment(segment);
  EXPECT_EQ(map.find(1000 * kMiB), nullptr);
  map.remove(region);
  EXPECT_EQ(map.find(base), nullptr);
}

TEST(ReservationBytes, ThousandsOfHeapsFitTheAddressSpace) {
  const std::uint64_t device = 80 * kGiB;
  std::uint64_t reserved = 0;
  for (int heap = 0; heap < 2000; heap++) reserved += reservation_bytes(2 * kMiB, device, reserved, 1.5);
  EXPECT_LT(reserved, std::uint64_t{16} << 40);
}

TEST(ReservationBytes, ABlockAlwaysFits) {
  EXPECT_GE(reservation_bytes(300 * kGiB, 80 * kGiB, 0, 1.5), 300 * kGiB);
  EXPECT_EQ(reservation_bytes(1, 80 * kGiB, 0, 1.5), 120 * kGiB);
  EXPECT_EQ(reservation_bytes(1, 0, 0, 0), AddressMap::kChunk);
}

// A driver that ignores the alignment it is asked for.
class Misaligned : public driver::ForwardingDriver {
 public:
  using ForwardingDriver::ForwardingDriver;
  driver::Result address_reserve(std::size_t bytes, std::size_t, driver::Address& out) override {
    return ForwardingDriver::address_reserve(bytes, 0, out);
  }
};

TEST(Reserve, IsAlignedWhateverTheDriverDoes) {
  driver::sim::Machine machine({});
  const auto sim = driver::sim::make_sim_driver(machine);
  Misaligned ops(*sim);
  driver::Address odd = 0;
  ASSERT_EQ(ops.address_reserve(2 * kMiB, 0, odd), driver::Result::ok);
  Reservation reservation;
  ASSERT_EQ(reserve(ops, 3 * AddressMap::kChunk, reservation), driver::Result::ok);
  EXPECT_EQ(reservation.base % AddressMap::kChunk, 0u);
  EXPECT_GE(reservation.base, reservation.raw_base);
  EXPECT_LE(reservation.base + reservation.bytes, reservation.raw_base + reservation.raw_bytes);
  EXPECT_EQ(unreserve(ops, reservation), driver::Result::ok);
}

}  // namespace
}  // namespace gapless::vmm
