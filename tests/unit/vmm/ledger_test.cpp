// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

namespace gapless::vmm {
namespace {

TEST_F(LedgerTest, DeactivatedHandlesLeaveADormantMapping) {
  back({3});
  const HandleId id = table_.active(3);
  table_.set_ok(3, false);
  ledger_.deactivate(id, 17);
  EXPECT_EQ(table_.mapped(3), id);
  EXPECT_EQ(table_.last_use(3), 17u);
  EXPECT_EQ(ledger_.dormant_mappings(), 1u);
  ledger_.list(id);
  ledger_.validate();
  ledger_.unlist(id);
  ledger_.activate(id, space_, 3);
  table_.set_ok(3, true);
  ledger_.validate();
  EXPECT_EQ(ledger_.dormant_mappings(), 0u);
}

TEST_F(LedgerTest, BackedLooksAtEverySlot) {
  back({0, 1, 2, 63, 64, 65, 127, 128});
  EXPECT_TRUE(table_.backed(Units(0), Units(3u << 12)));
  EXPECT_FALSE(table_.backed(Units(0), Units((3u << 12) + 1)));
  EXPECT_TRUE(table_.backed(Units(63u << 12), Units(3u << 12)));
  EXPECT_TRUE(table_.backed(Units((2u << 12) + 5), Units(1)));
  EXPECT_FALSE(table_.backed(Units(63u << 12), Units(66u << 12)));
}

TEST_F(LedgerTest, BrokenI2) {
  back({3});
  table_.set_ok(3, false);
  EXPECT_EQ(broken(), "I2");
}
TEST_F(LedgerTest, BrokenI2Mapping) {
  back({3, 4});
  table_.mapped(3) = table_.mapped(4);
  EXPECT_EQ(broken(), "I2");
}
TEST_F(LedgerTest, BrokenI3) {
  back({3});
  ledger_[table_.active(3)].slot = 4;
  EXPECT_EQ(broken(), "I3");
}
TEST_F(LedgerTest, BrokenI4) {
  ledger_[create()].listed = false;  // held outside a transaction
  EXPECT_EQ(broken(), "I4");
}
TEST_F(LedgerTest, BrokenV1) {
  back({3});
  ledger_[table_.active(3)].mappings = 5;
  EXPECT_EQ(broken(), "V1");
}
TEST_F(LedgerTest, PinnedSlotsKeepTheirHandle) {
  back({3});
  table_.set_pinned(3, true);
  EXPECT_THROW(ledger_.deactivate(table_.active(3), 1), base::BrokenInvariant);
}

}  // namespace
}  // namespace gapless::vmm
