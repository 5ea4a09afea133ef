// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace gapless::test {
namespace {

class PoolTest : public SimulatedDevice {
 protected:
  bool in_pool(const Pool& pool, const Block& block) {
    for (const void* address : pool.live_blocks()) {
      if (address == block.data()) return true;
    }
    return false;
  }
};

TEST_F(PoolTest, AScopeSendsAllocationsToThePool) {
  const Pool pool = gpu.make_pool();
  const Block before = gpu.allocate(kMiB);
  Block inside;
  {
    const PoolScope scope = pool.scope();
    inside = gpu.allocate(kMiB);
  }
  const Block after = gpu.allocate(kMiB);
  EXPECT_FALSE(in_pool(pool, before));
  EXPECT_TRUE(in_pool(pool, inside));
  EXPECT_FALSE(in_pool(pool, after));
}

TEST_F(PoolTest, ScopesNestAndTheInnermostWins) {
  const Pool outer = gpu.make_pool();
  const Pool inner = gpu.make_pool();
  const PoolScope outer_scope = outer.scope();
  Block a;
  {
    const PoolScope inner_scope = inner.scope();
    a = gpu.allocate(kMiB);
  }
  const Block b = gpu.allocate(kMiB);
  EXPECT_TRUE(in_pool(inner, a));
  EXPECT_TRUE(in_pool(outer, b));
}

TEST_F(PoolTest, AScopeIsForTheThreadThatOpenedIt) {
  const Pool pool = gpu.make_pool();
  const PoolScope scope = pool.scope();
  Block elsewhere;
  std::thread([&] { elsewhere = gpu.allocate(kMiB); }).join();
  EXPECT_FALSE(in_pool(pool, elsewhere));
  EXPECT_TRUE(in_pool(pool, gpu.allocate(kMiB)));
}

TEST_F(PoolTest, AFilterChoosesStreams) {
  const Pool pool = gpu.make_pool();
  const Stream per_thread = reinterpret_cast<Stream>(2);
  const PoolScope scope = pool.scope([&](Stream stream) { return stream == per_thread; });
  EXPECT_TRUE(in_pool(pool, gpu.allocate(kMiB, per_thread)));
  EXPECT_FALSE(in_pool(pool, gpu.allocate(kMiB)));
}

TEST_F(PoolTest, TheFilterLivesAsLongAsItsScope) {
  const auto alive = std::make_shared<int>(0);
  const Pool pool = gpu.make_pool();
  {
    const PoolScope scope = pool.scope([alive](Stream) { return true; });
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_F(PoolTest, UsesAreCounted) {
  Pool pool = gpu.make_pool();
  EXPECT_EQ(pool.use_count(), 1);
  {
    const Pool again = gpu.make_pool(pool.id());
    EXPECT_EQ(pool.use_count(), 2);
    const PoolScope scope = pool.scope();
    EXPECT_EQ(pool.use_count(), 3);
  }
  EXPECT_EQ(pool.use_count(), 1);
}

TEST_F(PoolTest, IdsDiffer) {
  const PoolId a = Pool::unique_id();
  const PoolId b = Pool::unique_id();
  EXPECT_EQ(a.high, 0U);
  EXPECT_NE(a.low, b.low);
  EXPECT_GT(a.low, std::uint64_t{1} << 62) << "PyTorch counts its own from 1";
}

TEST_F(PoolTest, MemoryOfAReleasedPoolGoesBackWithItsBlocks) {
  Block block;
  {
    const Pool pool = gpu.make_pool();
    const PoolScope scope = pool.scope();
    block = gpu.allocate(8 * kMiB);
  }
  EXPECT_EQ(block.info().requested_bytes, 8 * kMiB) << "a live block outlives its pool";
  block.reset();
  gpu.trim();
  EXPECT_EQ(gpu.stats().reserved_bytes[GAPLESS_ALL].current, 0);
}

TEST_F(PoolTest, ACheckpointBringsBlocksBack) {
  Pool pool = gpu.make_pool();
  void* kept = nullptr;
  {
    const PoolScope scope = pool.scope();
    Block block = gpu.allocate(2 * kMiB);
    kept = block.data();
    const Checkpoint checkpoint = pool.checkpoint();
    block.reset();
    EXPECT_TRUE(pool.live_blocks().empty());
    std::vector<void*> made;
    pool.restore(checkpoint, {}, [&](void* address) { made.push_back(address); });
    EXPECT_EQ(made, std::vector<void*>{kept});
  }
  EXPECT_EQ(pool.live_blocks(), std::vector<void*>{kept});
  const Block owner = Block::adopt(allocator.handle(), kept, 2 * kMiB, nullptr);
}

TEST_F(PoolTest, ASourceGivesTheSegments) {
  // What the source hands out must be device memory; a block of another pool is.
  const auto lent = std::make_shared<std::vector<Block>>();
  std::size_t asked = 0;
  {
    SegmentSource source;
    source.allocate = [&, lent](int device, Stream stream, std::size_t bytes) -> void* {
      asked += bytes;
      lent->push_back(allocator.device(device).allocate(bytes, stream));
      return lent->back().data();
    };
    source.deallocate = [lent](int, void* segment, std::size_t) {
      std::erase_if(*lent, [&](const Block& block) { return block.data() == segment; });
    };
    Pool pool = gpu.make_pool(Pool::unique_id(), std::move(source));
    Block block;
    {
      const PoolScope scope = pool.scope();
      block = gpu.allocate(3 * kMiB);
    }
    EXPECT_GE(asked, 3 * kMiB);
    ASSERT_EQ(lent->size(), 1U);
    EXPECT_GE(block.data(), lent->front().data());
    block.reset();
    pool.trim();
  }
  EXPECT_TRUE(lent->empty()) << "every segment went back";
  EXPECT_EQ(lent.use_count(), 1) << "the source was destroyed";
}

TEST_F(PoolTest, FlagsAreAccepted) {
  Pool pool = gpu.make_pool();
  pool.set_use_on_oom(true);
  pool.set_no_split(true);
  pool.set_no_split(false);
  pool.set_use_on_oom(false);
}

}  // namespace
}  // namespace gapless::test
