// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

namespace gapless::vmm {
namespace {

using driver::Call;
using driver::Result;

// Slots 0..3 idle with handles, 10 and 11 wanted: one move each.
class TransactionTest : public LedgerTest {
 protected:
  void SetUp() override { back({0, 1, 2, 3}); }
  Result run(Transaction& transaction) {
    transaction.begin(space_, 16, devices_);
    transaction.need(10);
    transaction.need(11);
    transaction.take_idle(table_.active(3), 7);
    transaction.take_idle(table_.active(2), 7);
    EXPECT_FALSE(table_.ok(3)) << "a hit on a slot that is being taken must become a miss";
    return transaction.map_needed();
  }
  void expect_as_before() {
    for (std::uint32_t slot = 0; slot < 4; slot++) EXPECT_TRUE(table_.ok(slot));
    EXPECT_EQ(table_.active(10), kNoHandle);
    EXPECT_EQ(table_.active(11), kNoHandle);
    ledger_.validate();
  }
};

TEST_F(TransactionTest, CommitMovesAndLeavesDormantMappings) {
  Transaction transaction(ledger_, ops_, kGranule);
  ASSERT_EQ(run(transaction), Result::ok);
  transaction.commit();
  ledger_.validate();
  EXPECT_TRUE(table_.ok(10) && table_.ok(11) && !table_.ok(2) && !table_.ok(3));
  EXPECT_EQ(ledger_.dormant_mappings(), 2u);
  EXPECT_EQ(transaction.moved(), 2u);
  EXPECT_EQ(transaction.counts().access_calls, 1u) << "one set_access for a contiguous run";

  // Coming home costs no driver call.
  const std::uint64_t calls = ops_.memory_calls();
  Transaction back_home(ledger_, ops_, kGranule);
  back_home.begin(space_, 16, devices_);
  back_home.reactivate(3, table_.mapped(3), 9);
  ASSERT_EQ(back_home.map_needed(), Result::ok);
  back_home.commit();
  EXPECT_EQ(ops_.memory_calls(), calls);
  ledger_.validate();
}

TEST_F(TransactionTest, EveryFailureIsUndone) {
  for (const Call call : {Call::map, Call::set_access})
    for (std::uint64_t skip = 0; skip < (call == Call::map ? 2u : 1u); skip++) {
      const std::uint64_t physical = machine_.physical_bytes(0);
      ops_.clear();
      ops_.add({.call = call, .skip = skip});
      Transaction transaction(ledger_, ops_, kGranule);
      ASSERT_EQ(run(transaction), Result::out_of_memory);
      EXPECT_EQ(transaction.undo(), 0u);
      expect_as_before();
      EXPECT_EQ(ledger_.dormant_mappings(), 0u);
      EXPECT_EQ(machine_.physical_bytes(0), physical);
    }
  ops_.clear();
  EXPECT_EQ(machine_.violation_count(), 0u);
}

TEST_F(TransactionTest, AMappingThatCannotBeTakenBackIsQuarantined) {
  ops_.add({.call = Call::set_access});
  ops_.add({.call = Call::unmap, .fail = 3});  // the run, then each slot
  Transaction transaction(ledger_, ops_, kGranule);
  ASSERT_EQ(run(transaction), Result::out_of_memory);
  EXPECT_EQ(transaction.undo(), 0u);
  ops_.clear();
  expect_as_before();
  EXPECT_TRUE(table_.no_access(10) && table_.no_access(11));
  EXPECT_EQ(ledger_.dormant_mappings(), 2u);

  // The next who needs the slots unmaps them first.
  Transaction again(ledger_, ops_, kGranule);
  again.begin(space_, 16, devices_);
  again.conflict(10);
  again.conflict(11);
  again.take_idle(table_.active(3), 7);
  again.take_idle(table_.active(2), 7);
  ASSERT_EQ(again.unmap_conflicts(), Result::ok);
  ASSERT_EQ(again.map_needed(), Result::ok);
  again.commit();
  ledger_.validate();
  EXPECT_EQ(machine_.violation_count(), 0u);
}

TEST_F(TransactionTest, CreatedHandlesAreGivenToTheCallerToRelease) {
  ops_.add({.call = Call::map});
  Transaction transaction(ledger_, ops_, kGranule);
  transaction.begin(space_, 16, devices_);
  transaction.need(20);
  transaction.take_created(create());
  ASSERT_EQ(transaction.map_needed(), Result::out_of_memory);
  EXPECT_EQ(transaction.undo(), 0u);
  std::vector<HandleId> created;
  transaction.for_each_created([&](HandleId id) { created.push_back(id); });
  ASSERT_EQ(created.size(), 1u);
  EXPECT_EQ(ops_.release(ledger_[created[0]].handle), Result::ok);
  ledger_.drop(created[0]);
  ledger_.validate();
}

}  // namespace
}  // namespace gapless::vmm
