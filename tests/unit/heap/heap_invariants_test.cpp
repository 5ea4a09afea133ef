// SPDX-License-Identifier: Apache-2.0
// Each invariant of the heap, broken on purpose: validate() must name it.
#include <string>

#include "fixture.hpp"

namespace gapless::heap {
namespace {

class HeapInvariants : public HeapTest {
 protected:
  void SetUp() override {
    heap = &make();
    a = heap->place(Units(5000));
    b = heap->place(Units(6000));
    c = heap->place(Units(7000));
    heap->free(b, 1);
    hole = heap->block_at(Units(5000));
    heap->validate();
  }
  std::string broken() const {
    try {
      heap->validate();
    } catch (const base::BrokenInvariant& found) {
      const std::string text = found.what();
      return text.substr(10, text.find(" is broken") - 10);
    }
    return "none";
  }
  Heap* heap = nullptr;
  BlockId a = 0, b = 0, c = 0, hole = 0;
};

TEST_F(HeapInvariants, I1Tiling) {
  pool_[a].size = Units(4999);
  EXPECT_EQ(broken(), "I1");
}
TEST_F(HeapInvariants, I1NoTwoFreeNeighbours) {
  pool_[a].state = BlockState::free;
  pool_[a].bin = static_cast<std::uint16_t>(Bins::bin_of(pool_[a].size));
  EXPECT_EQ(broken(), "I1");
}
TEST_F(HeapInvariants, H1Links) {
  pool_[c].prev = a;
  EXPECT_EQ(broken(), "H1");
}
TEST_F(HeapInvariants, H2Starts) {
  HeapTestAccess::clear_start(*heap, offset(c));
  EXPECT_EQ(broken(), "H2");
}
TEST_F(HeapInvariants, H2Count) {
  HeapTestAccess::set_busy(*heap, 7);
  EXPECT_EQ(broken(), "H2");
}
TEST_F(HeapInvariants, H3Bins) {
  HeapTestAccess::clear_bin(*heap, pool_[hole].bin);
  EXPECT_EQ(broken(), "H3");
}
TEST_F(HeapInvariants, H3BinOfSize) {
  pool_[hole].bin++;
  EXPECT_EQ(broken(), "H3");
}
TEST_F(HeapInvariants, H4FirstInSlot) {
  HeapTestAccess::set_first(*heap, offset(c).count() >> kSlotShift, a);
  EXPECT_EQ(broken(), "H4");
}
TEST_F(HeapInvariants, H5Spans) {
  HeapTestAccess::span(*heap, 0).last = a;
  EXPECT_EQ(broken(), "H5");
}

}  // namespace
}  // namespace gapless::heap
