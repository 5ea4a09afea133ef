// SPDX-License-Identifier: Apache-2.0
// Where a block that steps aside may go: places that are backed already.
#include "engine/places.hpp"

#include "fixture.hpp"

namespace gapless::engine {
namespace {

Units mib(std::uint32_t count) {
  return units_of(count * kMiB);
}

class BackedPlacesTest : public EngineTest {
 protected:
  void set_slack(const char* slack) { ASSERT_EQ(gapless_set_option(allocator, "slack", slack), GAPLESS_OK); }
  const BackedHeap& large_heap() {
    const BackedHeap* found = nullptr;
    allocator->engine->for_each_device([&](DeviceAllocator& one) {
      for (const auto& heap : one.state().heaps)
        if (heap->size_class() == heap::SizeClass::large) found = heap.get();
    });
    return *found;
  }
};

// A free block of 60 MiB at the heap's front: 20 that went to another place, some that are backed, the others gone.
TEST_F(BackedPlacesTest, InTheMiddleOfAFreeBlock) {
  open();
  set_slack("1.0");
  void* const front = allocate(20 * kMiB);
  void* const middle = allocate(20 * kMiB);
  void* const back = allocate(20 * kMiB);
  free(front);
  void* const first = allocate(24 * kMiB);  // behind them: it takes what the front had
  EXPECT_EQ(backed_end(large_heap(), mib(2)).free_block, heap::kNoBlock);
  EXPECT_EQ(backed_middle(large_heap(), mib(2)).free_block, heap::kNoBlock);

  free(middle);
  free(back);
  EXPECT_EQ(backed_end(large_heap(), mib(40)).offset, mib(20)) << "the high end";
  EXPECT_EQ(backed_middle(large_heap(), mib(40)).offset, mib(20));
  EXPECT_EQ(backed_end(large_heap(), mib(41)).free_block, heap::kNoBlock);
  EXPECT_EQ(backed_middle(large_heap(), mib(41)).free_block, heap::kNoBlock);

  set_slack("1.23");
  void* const second =
      allocate(64 * kMiB);  // behind them: some of its granules are new, the others come from the high end
  const auto idle = static_cast<std::uint32_t>(static_cast<std::uint64_t>(stats().idle_bytes) / kMiB);
  ASSERT_GE(idle, 2u);
  ASSERT_LT(idle, 40u);
  EXPECT_EQ(backed_end(large_heap(), mib(2)).free_block, heap::kNoBlock);
  EXPECT_EQ(backed_middle(large_heap(), mib(idle)).offset, mib(20));
  EXPECT_EQ(backed_middle(large_heap(), mib(idle + 1)).free_block, heap::kNoBlock);
  free(first);
  free(second);
}

// The slot that a span's last block ends in is whole to it, but the block may be shorter.
TEST_F(BackedPlacesTest, NotBeyondTheEndOfTheLastBlock) {
  open();
  void* const live = allocate(2 * kMiB);
  free(allocate(21 * kMiB));
  EXPECT_EQ(backed_middle(large_heap(), mib(21)).offset, mib(2));
  EXPECT_EQ(backed_middle(large_heap(), mib(21) + Units(200)).free_block, heap::kNoBlock);
  free(live);
}

}  // namespace
}  // namespace gapless::engine
