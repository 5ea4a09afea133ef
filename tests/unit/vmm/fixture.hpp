// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "base/check.hpp"
#include "driver/fault_driver.hpp"
#include "driver/sim/sim_driver.hpp"
#include "vmm/address_space.hpp"
#include "vmm/ledger.hpp"
#include "vmm/transaction.hpp"

namespace gapless::vmm {

// A ledger with one space of 512 slots over the simulated device.
class LedgerTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kGranule = 2 * kMiB;
  LedgerTest() : machine_({}), sim_(driver::sim::make_sim_driver(machine_)), ops_(*sim_), table_(12, Units(1u << 24)) {
    EXPECT_EQ(reserve(ops_, AddressMap::kChunk, reservation_), driver::Result::ok);
    EXPECT_TRUE(table_.add_span(Units(0), Units(1u << 21), reservation_.base));
    space_ = ledger_.add_space(&table_);
  }
  HandleId create() {
    driver::Handle handle = 0;
    EXPECT_EQ(ops_.create(0, kGranule, {}, handle), driver::Result::ok);
    return ledger_.add(handle);
  }
  // Backs slots with handles made for them.
  void back(std::initializer_list<std::uint32_t> slots) {
    Transaction transaction(ledger_, ops_, kGranule);
    transaction.begin(space_, 16, devices_);
    for (const std::uint32_t slot : slots) transaction.need(slot);
    while (transaction.missing() > 0) transaction.take_created(create());
    ASSERT_EQ(transaction.map_needed(), driver::Result::ok);
    transaction.commit();
    ledger_.validate();
  }
  std::string broken() {
    try {
      ledger_.validate();
    } catch (const base::BrokenInvariant& found) {
      const std::string text = found.what();
      return text.substr(10, text.find(" is broken") - 10);
    }
    return "none";
  }

  driver::sim::Machine machine_;
  std::unique_ptr<driver::DriverOps> sim_;
  driver::FaultDriver ops_;
  std::array<int, 1> devices_{0};
  Ledger ledger_;
  SlotTable table_;
  Reservation reservation_;
  SpaceId space_ = kNoSpace;
};

}  // namespace gapless::vmm
