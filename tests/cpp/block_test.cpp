// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "fixture.hpp"

namespace gapless::test {
namespace {

class BlockTest : public SimulatedDevice {
 protected:
  std::int64_t live() { return gpu.stats().allocation[GAPLESS_ALL].current; }
};

TEST_F(BlockTest, OwnsItsMemoryUntilTheEndOfTheScope) {
  {
    const Block block = gpu.allocate(1000);
    EXPECT_NE(block.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 512, 0U);
    EXPECT_EQ(block.size(), 1000U);
    EXPECT_EQ(live(), 1);
    const BlockInfo info = block.info();
    EXPECT_EQ(info.address, block.data());
    EXPECT_EQ(info.requested_bytes, 1000U);
    EXPECT_EQ(info.bytes, 1024U);
  }
  EXPECT_EQ(live(), 0);
}

TEST_F(BlockTest, MovingLeavesOneOwner) {
  Block a = gpu.allocate(1000);
  void* const data = a.data();
  Block b = std::move(a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ(a.size(), 0U);
  EXPECT_EQ(b.data(), data);
  Block c = gpu.allocate(2000);
  EXPECT_EQ(live(), 2);
  c = std::move(b);
  EXPECT_EQ(live(), 1) << "the assigned block gave its old memory back";
  EXPECT_EQ(c.data(), data);
  Block& self = c;
  c = std::move(self);
  EXPECT_EQ(c.data(), data);
}

TEST_F(BlockTest, LivesInContainers) {
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back(gpu.allocate(512));
  blocks.erase(blocks.begin(), blocks.begin() + 50);
  EXPECT_EQ(live(), 50);
  blocks.clear();
  EXPECT_EQ(live(), 0);
}

TEST_F(BlockTest, ZeroBytesAreAnEmptyBlock) {
  Block block = gpu.allocate(0);
  EXPECT_TRUE(block.empty());
  EXPECT_TRUE(block.try_record_stream(nullptr));
  EXPECT_EQ(block.try_info().status(), Status::unknown_pointer);
  EXPECT_EQ(live(), 0);
}

TEST_F(BlockTest, ReleaseLetsGo) {
  Block block = gpu.allocate(1000);
  void* const data = block.release();
  EXPECT_TRUE(block.empty());
  EXPECT_EQ(live(), 1);
  const Block again = Block::adopt(allocator.handle(), data, 1000, nullptr);
  EXPECT_EQ(again.data(), data);
}

TEST_F(BlockTest, ResetTwiceIsOneFree) {
  Block block = gpu.allocate(1000);
  block.reset();
  block.reset();
  EXPECT_EQ(live(), 0);
}

TEST_F(BlockTest, ArraysCountElements) {
  const Array<double> doubles = gpu.allocate_array<double>(1000);
  EXPECT_EQ(doubles.size(), 1000U);
  EXPECT_EQ(doubles.size_bytes(), 8000U);
  EXPECT_EQ(doubles.block().info().requested_bytes, 8000U);
  EXPECT_TRUE(gpu.allocate_array<double>(0).empty());
}

TEST_F(BlockTest, AnArrayTooLargeToCountIsAnOutOfMemory) {
  // 2^61 + 1 doubles are 8 bytes modulo 2^64.
  const std::size_t count = (std::size_t{1} << 61) + 1;
  EXPECT_EQ(gpu.try_allocate_array<double>(count).status(), Status::out_of_memory);
  EXPECT_THROW(static_cast<void>(gpu.allocate_array<double>(count)), std::bad_alloc);
  EXPECT_EQ(live(), 0);
}

}  // namespace
}  // namespace gapless::test
