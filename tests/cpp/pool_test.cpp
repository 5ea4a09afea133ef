// SPDX-License-Identifier: Apache-2.0
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
  // What a source hands out must be device memory that this allocator does not know; a block of another allocator is.
  Allocator other = Allocator::open(plain());
  Block memory = other.device(0).allocate(64 * kMiB);
  struct Ledger {
    std::size_t given = 0;
    std::size_t returned = 0;
  };
  const auto ledger = std::make_shared<Ledger>();
  {
    SegmentSource source;
    source.allocate = [&memory, ledger](int, Stream, std::size_t bytes) -> void* {
      if (ledger->given != 0 || bytes > memory.size()) return nullptr;
      ledger->given = bytes;
      return memory.data();
    };
    source.deallocate = [&memory, ledger](int, void* segment, std::size_t bytes) {
      EXPECT_EQ(segment, memory.data());
      ledger->returned += bytes;
    };
    Pool pool = gpu.make_pool(Pool::unique_id(), std::move(source));
    Block block;
    {
      const PoolScope scope = pool.scope();
      block = gpu.allocate(3 * kMiB);
      EXPECT_EQ(gpu.try_allocate(128 * kMiB).status(), Status::out_of_memory) << "the source has no more";
    }
    EXPECT_GE(ledger->given, 3 * kMiB);
    const auto offset =
        reinterpret_cast<std::uintptr_t>(block.data()) - reinterpret_cast<std::uintptr_t>(memory.data());
    EXPECT_LT(offset, ledger->given);
    block.reset();
    pool.trim();
  }
  EXPECT_EQ(ledger->returned, ledger->given) << "every segment went back";
  EXPECT_EQ(ledger.use_count(), 1) << "the source was destroyed";
  memory.reset();
  other.close();
}

TEST_F(PoolTest, ASecondSourceIsNotNeededAndNotLost) {
  const auto alive = std::make_shared<int>(0);
  const auto source = [&] {
    SegmentSource made;
    made.allocate = [alive](int, Stream, std::size_t) -> void* { return nullptr; };
    made.deallocate = [alive](int, void*, std::size_t) {};
    return made;
  };
  {
    const Pool first = gpu.make_pool(Pool::unique_id(), source());
    EXPECT_EQ(alive.use_count(), 3);
    const Pool second = gpu.make_pool(first.id(), source());
    EXPECT_EQ(alive.use_count(), 3) << "the pool keeps the first source, the second is gone";
  }
  EXPECT_EQ(alive.use_count(), 1);
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
