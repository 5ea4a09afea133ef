// SPDX-License-Identifier: Apache-2.0
// What tests/property does not say by name: the order of choices, spans, bounds.
#include <vector>

#include "fixture.hpp"

namespace gapless::heap {
namespace {

TEST_F(HeapTest, CarvesFromTheFrontAndCoalescesAtOnce) {
  Heap& heap = make();
  const BlockId a = heap.place(Units(5000));
  const BlockId b = heap.place(Units(6000));
  const BlockId c = heap.place(Units(7000));
  EXPECT_EQ(offset(a), Units(0));
  EXPECT_EQ(offset(b), Units(5000));
  EXPECT_EQ(offset(c), Units(11000));
  heap.free(b, 1);
  const BlockId d = heap.place(Units(4000));
  EXPECT_EQ(offset(d), Units(5000));
  heap.free(a, 2);
  heap.free(d, 3);
  heap.validate();
  // One free block of 11,000 in front of c.
  const BlockId e = heap.place(Units(11000));
  EXPECT_EQ(offset(e), Units(0));
  heap.free(e, 4);
  heap.free(c, 5);
  EXPECT_TRUE(heap.empty());
  heap.validate();
}

TEST_F(HeapTest, AnExactHeadWinsOverALargerBlock) {
  Heap& heap = make();
  const BlockId a = heap.place(Units(5000));
  const BlockId wall = heap.place(Units(3000));
  const BlockId b = heap.place(Units(9000));
  const BlockId wall2 = heap.place(Units(3000));
  heap.free(a, 1);
  heap.free(b, 1);
  EXPECT_EQ(offset(heap.place(Units(5000))), Units(0));
  static_cast<void>(wall);
  static_cast<void>(wall2);
  heap.validate();
}

TEST_F(HeapTest, EqualProgramsGiveEqualLayoutsAgain) {
  Heap& heap = make();
  std::vector<Units> first;
  for (int round = 0; round < 4; round++) {
    std::vector<BlockId> blocks;
    for (std::uint32_t i = 0; i < 200; i++) blocks.push_back(heap.place(Units(2100 + i * 37 % 5000)));
    if (round == 1)
      for (const BlockId id : blocks) first.push_back(offset(id));
    if (round > 1) {
      for (std::size_t i = 0; i < blocks.size(); i++) ASSERT_EQ(offset(blocks[i]), first[i]) << round << ' ' << i;
    }
    for (std::size_t i = 0; i < blocks.size(); i++) heap.free(blocks[(i * 7) % blocks.size()], 1);
    heap.validate();
  }
}

TEST_F(HeapTest, TheScanOfTheOwnBinIsBounded) {
  Heap& heap = make(SizeClass::large, 60000);
  // Many free blocks of one bin, the only fitting one deepest in its list.
  const Units low = Bins::floor_of(Bins::bin_of(Units(100000)));
  std::vector<BlockId> free;
  const BlockId fitting = heap.place(low + Units(2000));
  static_cast<void>(heap.place(Units(3000)));
  for (int i = 0; i < Heap::kBinScan + 5; i++) {
    free.push_back(heap.place(low));
    static_cast<void>(heap.place(Units(3000)));
  }
  heap.free(fitting, 1);
  for (const BlockId id : free) heap.free(id, 1);
  const Units end = heap.spans().back().end;
  EXPECT_EQ(offset(heap.place(low + Units(1000))), end) << "the heap should have grown instead of scanning on";
  heap.validate();
}

// peek() looks no further than the lists; place() looks at the end too.
TEST_F(HeapTest, BehindTheBoundTheFreeBlockAtTheEndIsFound) {
  Heap& heap = make(SizeClass::large, 60000);
  const Units low = Bins::floor_of(Bins::bin_of(Units(100000)));
  std::vector<BlockId> free;
  for (int i = 0; i < Heap::kBinScan; i++) {
    free.push_back(heap.place(low));
    static_cast<void>(heap.place(Units(3000)));
  }
  const BlockId fitting = heap.place(low + Units(2000));
  const Units at = offset(fitting);
  heap.free(fitting, 1);
  for (const BlockId id : free) heap.free(id, 1);
  const Units end = heap.spans().back().end;
  EXPECT_EQ(heap.peek(low + Units(1000)), kNoBlock);
  EXPECT_EQ(offset(heap.place(low + Units(1000))), at);
  EXPECT_EQ(heap.spans().back().end, end) << "the heap has not grown";
  heap.validate();
}

TEST_F(HeapTest, SmallBlocksAreFoundByTheirExactStart) {
  Heap& heap = make(SizeClass::small);
  const BlockId a = heap.place(Units(1));
  const BlockId b = heap.place(Units(2));
  EXPECT_EQ(heap.find_start(Units(0)), a);
  EXPECT_EQ(heap.find_start(Units(1)), b);
  EXPECT_EQ(heap.find_start(Units(2)), kNoBlock);
  heap.free(b, 1);
  EXPECT_EQ(heap.find_start(Units(1)), kNoBlock) << "a freed block is not found again";
  EXPECT_EQ(heap.find_start(Units(0x3fffffff)), kNoBlock);
}

TEST_F(HeapTest, AFurtherSpanLosesNothingOfTheOneBefore) {
  Heap& heap = make(SizeClass::large, 10);
  const BlockId a = heap.place(Units(30000));
  EXPECT_EQ(heap.place(Units(30000)), kNoBlock);
  ASSERT_TRUE(heap.add_span(Units(1u << 21), Units((1u << 21) + 40960)));
  heap.validate();
  const BlockId b = heap.place(Units(30000));
  EXPECT_EQ(offset(b), Units(1u << 21));
  EXPECT_EQ(offset(heap.place(Units(10960))), Units(30000)) << "the rest of the first span";
  heap.free(a, 1);
  heap.free(b, 1);
  heap.validate();
}

TEST_F(HeapTest, TheLastBlockOwnsTheSlotThatItEndsIn) {
  Heap& heap = make();
  const BlockId a = heap.place(kSlot + Units(100));
  heap.free(a, 1);
  std::uint32_t first, last;
  heap.whole_slots(heap.block_at(Units(0)), first, last);
  EXPECT_EQ(first, 0u);
  EXPECT_EQ(last, 2u);
}

TEST_F(HeapTest, PlacesInsideAFreeBlock) {
  Heap& heap = make();
  const BlockId a = heap.place(Units(20000));
  const BlockId wall = heap.place(Units(3000));
  heap.free(a, 1);
  const BlockId middle = heap.place_at(heap.block_at(Units(0)), Units(5000), Units(6000));
  heap.validate();
  EXPECT_EQ(heap.find_start(Units(5000)), middle);
  const BlockId high = heap.place_at(heap.block_at(Units(11000)), Units(15000), Units(5000));
  heap.validate();
  heap.unplace(middle);
  heap.unplace(high);
  heap.validate();
  EXPECT_EQ(pool_[heap.block_at(Units(0))].size, Units(20000));
  static_cast<void>(wall);
}

TEST_F(HeapTest, UnplacingKeepsTheOlderStamp) {
  Heap& heap = make();
  const BlockId a = heap.place(Units(8000));
  static_cast<void>(heap.place(Units(3000)));
  heap.free(a, 5);
  const BlockId b = heap.place(Units(4000));
  heap.unplace(b);
  EXPECT_EQ(pool_[heap.block_at(Units(0))].stamp, 5u);
}

TEST_F(HeapTest, SegmentsComeAndGo) {
  heap_.emplace(pool_, SizeClass::large, kSlotShift, Units(1u << 30));
  const BlockId one = heap_->add_full_span(Units(0), Units(10240));
  const BlockId two = heap_->add_full_span(Units(12288), Units(20480));
  heap_->validate();
  const BlockId block = heap_->place_at(one, Units(0), Units(4096));
  heap_->remove_span(two);
  heap_->validate();
  heap_->free(block, 1);
  const BlockId whole = heap_->block_at(Units(0));
  ASSERT_TRUE(heap_->is_whole_span(whole));
  heap_->remove_span(whole);
  heap_->validate();
  EXPECT_TRUE(heap_->spans().empty());
  EXPECT_NE(heap_->add_full_span(Units(0), Units(4096)), kNoBlock);
  heap_->validate();
}

// I1 says at most 128 bytes of host memory for each live block, tables included.
TEST_F(HeapTest, HostMemoryForEachLiveBlock) {
  for (const SizeClass size_class : {SizeClass::small, SizeClass::large}) {
    Heap& heap = make(size_class, 1u << 17);
    const std::size_t before = heap.table_bytes() + pool_.committed_bytes();
    constexpr std::size_t kBlocks = 50000;
    for (std::size_t i = 0; i < kBlocks; i++)
      ASSERT_NE(heap.place(size_class == SizeClass::small ? Units(16) : Units(2049)), kNoBlock);
    const std::size_t used = heap.table_bytes() + pool_.committed_bytes() - before;
    EXPECT_LE(used / kBlocks, 128u);
  }
}

}  // namespace
}  // namespace gapless::heap
