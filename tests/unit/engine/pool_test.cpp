// SPDX-License-Identifier: Apache-2.0
// Private pools: routing, life, captures, sources, checkpoints.
#include <cstdlib>
#include <map>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

int32_t everything(void*, gapless_stream) {
  return 1;
}
int32_t nothing(void*, gapless_stream) {
  return 0;
}

class PoolTest : public EngineTest {
 protected:
  gapless_pool_id pool_of(void* pointer) {
    struct Found {
      std::uint64_t address;
      gapless_pool_id pool, current;
    } found{reinterpret_cast<std::uint64_t>(pointer), {9, 9}, {}};
    gapless_snapshot_visitor visitor = GAPLESS_STRUCT(gapless_snapshot_visitor);
    visitor.user = &found;
    visitor.on_segment = [](void* user, const gapless_segment_view* segment) -> int32_t {
      static_cast<Found*>(user)->current = segment->pool;
      return 0;
    };
    visitor.on_block = [](void* user, const gapless_block_view* block) -> int32_t {
      Found& f = *static_cast<Found*>(user);
      if (block->address == f.address) f.pool = f.current;
      return 0;
    };
    EXPECT_EQ(gapless_walk_snapshot(allocator, 0, nullptr, &visitor), GAPLESS_OK);
    return found.pool;
  }
  void begin(gapless_pool_id pool, gapless_pool_filter filter = everything) {
    ASSERT_EQ(gapless_pool_begin(allocator, 0, pool, filter, nullptr, nullptr), GAPLESS_OK);
  }
  void end(gapless_pool_id pool) { ASSERT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_OK); }
  void release(gapless_pool_id pool) { ASSERT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_OK); }
  std::int32_t uses(gapless_pool_id pool) {
    std::int32_t count = -1;
    EXPECT_EQ(gapless_pool_use_count(allocator, 0, pool, &count), GAPLESS_OK);
    return count;
  }
};

TEST_F(PoolTest, TheInnermostScopeThatAcceptsWins) {
  open();
  const gapless_pool_id outer{0, 1}, inner{0, 2}, deaf{0, 3};
  begin(outer);
  begin(inner);
  begin(deaf, nothing);
  void* const a = allocate(5 * kMiB);
  end(deaf);
  end(inner);
  void* const b = allocate(5 * kMiB);
  end(outer);
  void* const c = allocate(5 * kMiB);
  EXPECT_EQ(pool_of(a).low, 2u);
  EXPECT_EQ(pool_of(b).low, 1u);
  EXPECT_EQ(pool_of(c).low, 0u);
  for (const gapless_pool_id pool : {outer, inner, deaf}) release(pool);
  free(a);
  free(b);
  free(c);
  validate();
}

TEST_F(PoolTest, UseCountsAreAsPyTorchs) {
  open();
  const gapless_pool_id pool{0, 7};
  ASSERT_EQ(gapless_pool_create(allocator, 0, pool, nullptr), GAPLESS_OK);
  EXPECT_EQ(uses(pool), 1);
  begin(pool);
  EXPECT_EQ(uses(pool), 2);
  end(pool);
  EXPECT_EQ(uses(pool), 2);
  release(pool);
  EXPECT_EQ(uses(pool), 1);
  release(pool);
  std::int32_t count = 0;
  EXPECT_EQ(gapless_pool_use_count(allocator, 0, pool, &count), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_ERROR_NOT_FOUND);
  EXPECT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_ERROR_NOT_FOUND);
}

TEST_F(PoolTest, AScopesDestroyIsCalledOnceAtItsEnd) {
  open();
  int destroyed = 0;
  ASSERT_EQ(
      gapless_pool_begin(allocator, 0, {0, 1}, everything, &destroyed, [](void* user) { ++*static_cast<int*>(user); }),
      GAPLESS_OK);
  EXPECT_EQ(destroyed, 0);
  end({0, 1});
  EXPECT_EQ(destroyed, 1);
  release({0, 1});
}

TEST_F(PoolTest, GranulesOfACapturedPoolStayUntilItHasNoUses) {
  open(64 * kMiB);
  const gapless_pool_id graph{1, 0};
  begin(graph);
  void* const a = allocate(40 * kMiB);
  end(graph);
  free(a);
  EXPECT_EQ(stats().pinned_bytes, static_cast<std::int64_t>(40 * kMiB));
  void* out = nullptr;
  EXPECT_EQ(try_allocate(40 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY) << "a graph may replay into that memory";
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.verdict, GAPLESS_OOM_PINNED);
  release(graph);
  EXPECT_EQ(stats().pinned_bytes, 0);
  out = allocate(60 * kMiB);
  free(out);
  validate();
}

TEST_F(PoolTest, AThousandGraphPoolsLeaveAddressSpaceBounded) {
  open(8 * kGiB);
  std::uint64_t after_ten = 0;
  std::size_t records_after_ten = 0;
  for (std::uint64_t i = 1; i <= 1000; i++) {
    begin({i, 0});
    void* const a = allocate(5 * kMiB);
    void* const b = allocate(1000);
    end({i, 0});
    free(a);
    free(b);
    release({i, 0});
    if (i == 10) {
      after_ten = static_cast<std::uint64_t>(stats().reserved_address_bytes);
      records_after_ten = host_records();
    }
  }
  EXPECT_LE(host_records(), records_after_ten);
  EXPECT_EQ(static_cast<std::uint64_t>(stats().reserved_address_bytes), after_ten);
  EXPECT_LE(reserved(), 16 * kMiB);
  validate();
}

TEST_F(PoolTest, BlocksOutliveTheirPool) {
  open();
  begin({0, 4});
  void* const a = allocate(5 * kMiB);
  end({0, 4});
  release({0, 4});
  EXPECT_EQ(pool_of(a).low, 4u);
  free(a);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_EQ(reserved(), 0u);
}

TEST_F(PoolTest, UseOnOomLendsFreeMemory) {
  open(64 * kMiB);
  const gapless_pool_id graph{1, 0};
  begin(graph);
  void* const a = allocate(40 * kMiB);
  end(graph);
  free(a);
  ASSERT_EQ(gapless_pool_set_flag(allocator, 0, graph, GAPLESS_POOL_USE_ON_OOM, 1), GAPLESS_OK);
  void* const b = allocate(40 * kMiB);
  EXPECT_EQ(b, a);
  free(b);
  EXPECT_EQ(gapless_pool_set_flag(allocator, 0, graph, 77, 1), GAPLESS_ERROR_INVALID_ARGUMENT);
  release(graph);
}

struct Source {
  std::map<void*, std::size_t> segments;
  int allocations = 0;
  bool destroyed = false;
  static void* allocate(void* user, int32_t, gapless_stream, std::size_t bytes) {
    Source& self = *static_cast<Source*>(user);
    if (self.allocations == 3) return nullptr;
    self.allocations++;
    void* const segment =
        reinterpret_cast<void*>(0x7000000000 + static_cast<std::uintptr_t>(self.allocations) * 64 * kMiB);
    self.segments[segment] = bytes;
    return segment;
  }
  static void deallocate(void* user, int32_t, void* segment, std::size_t bytes) {
    Source& self = *static_cast<Source*>(user);
    EXPECT_EQ(self.segments.at(segment), bytes);
    self.segments.erase(segment);
  }
  static void destroy(void* user) { static_cast<Source*>(user)->destroyed = true; }
};

TEST_F(PoolTest, SegmentsOfASource) {
  open();
  Source mine;
  gapless_segment_source source = GAPLESS_STRUCT(gapless_segment_source);
  source.user = &mine;
  source.allocate = Source::allocate;
  source.deallocate = Source::deallocate;
  source.destroy = Source::destroy;
  const gapless_pool_id pool{0, 5};
  ASSERT_EQ(gapless_pool_create(allocator, 0, pool, &source), GAPLESS_OK);
  begin(pool);
  void* const a = allocate(3 * kMiB);
  void* const b = allocate(4 * kMiB);
  void* const c = allocate(1000);
  EXPECT_EQ(mine.allocations, 2) << "a and b share 20 MiB, small blocks have a segment of 2 MiB";
  EXPECT_EQ(mine.segments.begin()->first, a);
  EXPECT_EQ(stats().segment[GAPLESS_ALL].current, 2);
  EXPECT_EQ(stats().reserved_bytes[GAPLESS_ALL].current, static_cast<std::int64_t>(22 * kMiB));
  gapless_block_info info = GAPLESS_STRUCT(gapless_block_info);
  ASSERT_EQ(gapless_block_of(allocator, b, &info), GAPLESS_OK);
  EXPECT_EQ(info.segment_address, a);
  EXPECT_EQ(info.segment_bytes, 20 * kMiB);
  void* const d = allocate(30 * kMiB);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(40 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY) << "the source has none";
  end(pool);
  for (void* const block : {a, b, c, d}) free(block);
  EXPECT_EQ(mine.segments.size(), 3u) << "cached";
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, pool, 0, &released), GAPLESS_OK);
  EXPECT_EQ(released, 52 * kMiB);
  EXPECT_TRUE(mine.segments.empty());
  release(pool);
  release(pool);
  EXPECT_TRUE(mine.destroyed);
}

TEST_F(PoolTest, ACheckpointComesBack) {
  open();
  const gapless_pool_id graph{3, 0};
  begin(graph);
  std::vector<void*> first;
  for (int i = 0; i < 6; i++) first.push_back(allocate(static_cast<std::uint64_t>(i + 1) * 700000));
  free(first[1]);
  free(first[4]);
  gapless_checkpoint* checkpoint = nullptr;
  ASSERT_EQ(gapless_pool_checkpoint(allocator, 0, graph, &checkpoint), GAPLESS_OK);
  // Another layout: all freed, others live.
  for (const int i : {0, 2, 3, 5}) free(first[static_cast<std::size_t>(i)]);
  void* const other = allocate(9 * kMiB);
  struct Seen {
    std::vector<void*> freed, allocated;
  } seen;
  ASSERT_EQ(gapless_pool_restore(
                allocator, 0, checkpoint, &seen,
                [](void* user, void* address) { static_cast<Seen*>(user)->freed.push_back(address); },
                [](void* user, void* address) { static_cast<Seen*>(user)->allocated.push_back(address); }),
            GAPLESS_OK)
      << gapless_last_error();
  EXPECT_EQ(seen.freed, std::vector<void*>{other});
  std::vector<void*> expected{first[0], first[2], first[3], first[5]};
  std::sort(expected.begin(), expected.end());
  std::sort(seen.allocated.begin(), seen.allocated.end());
  EXPECT_EQ(seen.allocated, expected);
  std::size_t count = 0;
  std::vector<void*> live(8);
  ASSERT_EQ(gapless_pool_live_blocks(allocator, 0, graph, live.data(), live.size(), &count), GAPLESS_OK);
  live.resize(count);
  EXPECT_EQ(live, expected);
  validate();
  gapless_checkpoint_destroy(checkpoint);
  end(graph);
  for (void* const block : expected) free(block);
  release(graph);
}

// Its last use ended while blocks lived; then a capture begins it again. Graphs know its old addresses as well.
TEST_F(PoolTest, ACapturedPoolBegunAgainPinsWhatItHas) {
  open(64 * kMiB);
  const gapless_pool_id graph{1, 0};
  begin(graph);
  void* const a = allocate(20 * kMiB);
  void* const b = allocate(20 * kMiB);
  end(graph);
  free(a);
  release(graph);
  EXPECT_EQ(stats().pinned_bytes, 0);
  begin(graph);
  EXPECT_EQ(stats().pinned_bytes, static_cast<std::int64_t>(40 * kMiB));
  end(graph);
  free(b);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(40 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.largest_obtainable_bytes, 24 * kMiB);
  EXPECT_EQ(record.verdict, GAPLESS_OOM_PINNED) << "neither is enough alone: what is free and what is pinned";
  release(graph);
  validate();
}

TEST_F(PoolTest, ClosingEndsScopesAndTellsSources) {
  open();
  int scopes = 0;
  Source source;
  gapless_segment_source given = GAPLESS_STRUCT(gapless_segment_source);
  given.user = &source;
  given.allocate = Source::allocate;
  given.deallocate = Source::deallocate;
  given.destroy = Source::destroy;
  ASSERT_EQ(gapless_pool_create(allocator, 0, {0, 3}, &given), GAPLESS_OK);
  ASSERT_EQ(
      gapless_pool_begin(allocator, 0, {0, 3}, everything, &scopes, [](void* user) { ++*static_cast<int*>(user); }),
      GAPLESS_OK);
  free(allocate(5 * kMiB));
  EXPECT_EQ(source.allocations, 1);
  ASSERT_EQ(gapless_close(allocator), GAPLESS_OK);
  allocator = nullptr;
  EXPECT_EQ(scopes, 1);
  EXPECT_TRUE(source.destroyed);
  EXPECT_TRUE(source.segments.empty());
}

TEST_F(PoolTest, AnOomOfAPoolSaysWhatThePoolCouldHave) {
  open(64 * kMiB);
  void* const elsewhere = allocate(20 * kMiB);
  const gapless_pool_id pool{0, 5};
  begin(pool);
  void* const a = allocate(20 * kMiB);
  free(a);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(60 * kMiB, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
  ASSERT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
  EXPECT_EQ(record.pool.low, 5u);
  const std::uint64_t could = record.largest_obtainable_bytes;
  EXPECT_EQ(try_allocate(could + 512, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  ASSERT_EQ(try_allocate(could, out), GAPLESS_OK) << could;
  EXPECT_EQ(pool_of(out).low, 5u);
  free(out);
  end(pool);
  release(pool);
  free(elsewhere);
  validate();
}

// Its pool gone, a heap waits empty for an owner: a block lent from it would be the next owner's.
TEST_F(PoolTest, ASpareHeapLendsNothing) {
  open(64 * kMiB);
  void* const other = make_stream();
  free(allocate(2 * kMiB));
  const gapless_pool_id pool{0, 5};
  begin(pool);
  free(allocate(40 * kMiB, other));
  end(pool);
  release(pool);
  void* const block = allocate(30 * kMiB);
  EXPECT_EQ(stats().lends, 0);
  validate();
  const gapless_pool_id next{0, 6};
  begin(next);
  free(allocate(2 * kMiB, other));
  void* live[4];
  std::size_t count = 0;
  EXPECT_EQ(gapless_pool_live_blocks(allocator, 0, next, live, 4, &count), GAPLESS_OK);
  EXPECT_EQ(count, 0u) << "the default pool's block";
  end(next);
  release(next);
  free(block);
  validate();
}

TEST_F(PoolTest, ATrimOfAPoolThatGoesWithItGivesItsMemoryBack) {
  open(256 * kMiB);
  const gapless_pool_id pool{0, 5};
  void* const kept = allocate(6 * kMiB);
  free(allocate(10 * kMiB));
  begin(pool);
  void* const block = allocate(20 * kMiB);
  end(pool);
  release(pool);
  free(block);
  std::size_t released = 0;
  EXPECT_EQ(gapless_trim(allocator, 0, pool, 0, &released), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(released, 20 * kMiB) << "and none of the default pool's";
  free(kept);
  validate();
}

}  // namespace
}  // namespace gapless::engine
