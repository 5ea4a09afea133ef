// SPDX-License-Identifier: Apache-2.0
// Segment sources that misbehave, and pools that go away while they are asked.
#include <functional>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

struct Source {
  gapless_allocator* allocator = nullptr;
  gapless_stream stream = nullptr;
  std::function<void*(std::size_t)> give;
  std::function<void(void*)> take;
  int given = 0, taken = 0, destroyed = 0;
  bool routes = true;
  std::uint64_t next = std::uint64_t{1} << 44;

  static void* allocate(void* user, int32_t, gapless_stream, std::size_t bytes) {
    Source& me = *static_cast<Source*>(user);
    EXPECT_EQ(me.destroyed, 0);
    void* const segment = me.give(bytes);
    if (segment != nullptr) me.given++;
    return segment;
  }
  static void deallocate(void* user, int32_t, void* segment, std::size_t) {
    Source& me = *static_cast<Source*>(user);
    EXPECT_EQ(me.destroyed, 0);
    me.taken++;
    if (me.take) me.take(segment);
  }
  static void destroy(void* user) { static_cast<Source*>(user)->destroyed++; }
  static int32_t filter(void* user, gapless_stream) { return static_cast<Source*>(user)->routes ? 1 : 0; }
};

class SegmentsTest : public EngineTest {
 protected:
  static constexpr gapless_pool_id kPool{0, 9};
  void begin(Source& source) {
    source.allocator = allocator;
    if (!source.give)
      source.give = [&source](std::size_t bytes) {
        const std::uint64_t at = source.next;
        source.next += bytes + kGranule;
        return reinterpret_cast<void*>(at);
      };
    gapless_segment_source given = GAPLESS_STRUCT(gapless_segment_source);
    given.user = &source;
    given.allocate = Source::allocate;
    given.deallocate = Source::deallocate;
    given.destroy = Source::destroy;
    ASSERT_EQ(gapless_pool_create(allocator, 0, kPool, &given), GAPLESS_OK);
    ASSERT_EQ(gapless_pool_begin(allocator, 0, kPool, Source::filter, &source, nullptr), GAPLESS_OK);
  }
  void end() {
    EXPECT_EQ(gapless_pool_end(allocator, 0, kPool), GAPLESS_OK);
    EXPECT_EQ(gapless_pool_release(allocator, 0, kPool), GAPLESS_OK);
    EXPECT_EQ(gapless_pool_release(allocator, 0, kPool), GAPLESS_OK);
  }
};

TEST_F(SegmentsTest, ASourceThatFailsNowAndThen) {
  open();
  Source source;
  int calls = 0;
  source.give = [&](std::size_t bytes) -> void* {
    if (++calls % 2 != 0) return nullptr;
    const std::uint64_t at = source.next;
    source.next += bytes;
    return reinterpret_cast<void*>(at);
  };
  begin(source);
  std::vector<void*> blocks;
  for (int i = 0; i < 20; i++) {
    void* out = nullptr;
    if (try_allocate((static_cast<std::uint64_t>(i) % 5 + 1) * 3 * kMiB, out) == GAPLESS_OK) blocks.push_back(out);
  }
  for (void* const block : blocks) free(block);
  end();
  EXPECT_EQ(source.given, source.taken);
  EXPECT_EQ(source.destroyed, 1);
}

TEST_F(SegmentsTest, SegmentsWhoseAddressesAreNoMultiplesOf512) {
  open();
  Source source;
  source.next += 8;
  begin(source);
  void* out = nullptr;
  if (try_allocate(4096, out) == GAPLESS_OK) {
    EXPECT_EQ(reinterpret_cast<std::uint64_t>(out) % 512, 0u);
    free(out);
  }
  end();
  EXPECT_EQ(source.given, source.taken);
}

// The source's segments are blocks of this allocator's: freeing the pool's first block must not free that one.
TEST_F(SegmentsTest, SegmentsOfTheAllocatorsOwnMemory) {
  open();
  Source source;
  source.give = [&](std::size_t bytes) {
    source.routes = false;
    void* const segment = allocate(bytes);
    source.routes = true;
    return segment;
  };
  source.take = [&](void* segment) { free(segment); };
  begin(source);
  void* a = nullptr;
  if (try_allocate(4096, a) == GAPLESS_OK) {
    free(a);
    source.routes = false;
    void* const mine = allocate(2 * kMiB);  // where the segment lies, if it was freed
    source.routes = true;
    void* const b = allocate(4096);
    EXPECT_NE(mine, b);
    free(b);
    free(mine);
  }
  end();
  EXPECT_EQ(source.given, source.taken);
}

// The pool's last use ends while its source is asked.
TEST_F(SegmentsTest, ThePoolGoesWhileItsSourceIsAsked) {
  open();
  Source source;
  const auto give = [&](std::size_t bytes) {
    if (source.given == 0) end();
    const std::uint64_t at = source.next;
    source.next += bytes;
    return reinterpret_cast<void*>(at);
  };
  source.give = give;
  begin(source);
  void* out = nullptr;
  if (try_allocate(4096, out) == GAPLESS_OK) free(out);
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  free(allocate(4096));
  EXPECT_EQ(source.given, source.taken);
  EXPECT_EQ(source.destroyed, 1);
}

// The pool's last use ends between the filter's answer and the allocation.
TEST_F(SegmentsTest, ThePoolGoesWhileItsFilterIsAsked) {
  open();
  Source source;
  source.allocator = allocator;
  begin(source);
  struct Leaver {
    SegmentsTest* test;
    gapless_allocator* allocator;
  } leaver{this, allocator};
  ASSERT_EQ(gapless_pool_begin(
                allocator, 0, kPool,
                [](void* user, gapless_stream) -> int32_t {
                  gapless_allocator* const a = static_cast<Leaver*>(user)->allocator;
                  EXPECT_EQ(gapless_pool_end(a, 0, kPool), GAPLESS_OK);
                  EXPECT_EQ(gapless_pool_end(a, 0, kPool), GAPLESS_OK);
                  for (int i = 0; i < 3; i++) EXPECT_EQ(gapless_pool_release(a, 0, kPool), GAPLESS_OK);
                  return 1;
                },
                &leaver, nullptr),
            GAPLESS_OK);
  void* out = nullptr;
  if (try_allocate(4096, out) == GAPLESS_OK) free(out);
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  EXPECT_EQ(source.given, source.taken);
  EXPECT_EQ(source.destroyed, 1);
}

// The stream that asks is forgotten while the source is asked.
TEST_F(SegmentsTest, TheStreamGoesWhileTheSourceIsAsked) {
  open();
  void* const stream = make_stream();
  Source source;
  source.give = [&](std::size_t bytes) {
    EXPECT_EQ(gapless_forget_stream(allocator, 0, stream), GAPLESS_OK) << gapless_last_error();
    const std::uint64_t at = source.next;
    source.next += bytes;
    return reinterpret_cast<void*>(at);
  };
  begin(source);
  void* out = nullptr;
  if (try_allocate(4096, out, stream) == GAPLESS_OK) free(out);
  end();
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  EXPECT_EQ(source.given, source.taken);
}

TEST_F(SegmentsTest, CheckpointsOfOtherDaysAreRefusedOrHold) {
  open();
  Source source;
  begin(source);
  void* const a = allocate(4096);
  void* const b = allocate(5 * kMiB);
  gapless_checkpoint* checkpoint = nullptr;
  ASSERT_EQ(gapless_pool_checkpoint(allocator, 0, kPool, &checkpoint), GAPLESS_OK);
  ASSERT_EQ(gapless_pool_restore(allocator, 0, checkpoint, nullptr, nullptr, nullptr), GAPLESS_OK);
  allocator->engine->for_each_device([](DeviceAllocator& one) { one.validate(); });
  free(a);
  free(b);
  ASSERT_EQ(gapless_trim(allocator, 0, kPool, 0, nullptr), GAPLESS_OK);  // the segments are gone
  EXPECT_EQ(gapless_pool_restore(allocator, 0, checkpoint, nullptr, nullptr, nullptr), GAPLESS_ERROR_INVALID_ARGUMENT);
  end();
  EXPECT_EQ(gapless_pool_restore(allocator, 0, checkpoint, nullptr, nullptr, nullptr), GAPLESS_ERROR_NOT_FOUND);
  gapless_checkpoint_destroy(checkpoint);
  gapless_checkpoint_destroy(nullptr);
}

// The same, and the source has nothing: no later call is needed for the pool to go.
TEST_F(SegmentsTest, ThePoolGoesWhileItsSourceIsAskedInVain) {
  open();
  Source source;
  bool ended = false;
  source.give = [&](std::size_t) -> void* {
    if (!ended) end();
    ended = true;
    return nullptr;
  };
  begin(source);
  void* out = nullptr;
  EXPECT_EQ(try_allocate(4096, out), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(source.destroyed, 1);
}

// The scope is ended after the pool's last use was released.
TEST_F(SegmentsTest, ThePoolGoesWithItsScope) {
  open();
  Source source;
  begin(source);
  EXPECT_EQ(gapless_pool_release(allocator, 0, kPool), GAPLESS_OK);
  EXPECT_EQ(gapless_pool_release(allocator, 0, kPool), GAPLESS_OK);
  EXPECT_EQ(source.destroyed, 0);
  EXPECT_EQ(gapless_pool_end(allocator, 0, kPool), GAPLESS_OK);
  EXPECT_EQ(source.destroyed, 1);
}

// A source that allocates from the allocator on a thread that is routed to its own pool would ask itself for ever.
TEST_F(SegmentsTest, ASourceThatAsksItsOwnPool) {
  open();
  Source source;
  int refused = 0;
  source.give = [&](std::size_t bytes) -> void* {
    void* inner = nullptr;
    EXPECT_EQ(try_allocate(4096, inner), GAPLESS_ERROR_BUSY) << gapless_last_error();
    EXPECT_EQ(inner, nullptr);
    refused++;
    const std::uint64_t at = source.next;
    source.next += bytes + kGranule;
    return reinterpret_cast<void*>(at);
  };
  begin(source);
  void* const block = allocate(4096);
  EXPECT_EQ(refused, 1);
  free(block);
  end();
  EXPECT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, nullptr), GAPLESS_OK);
  EXPECT_EQ(source.given, source.taken);
  EXPECT_EQ(source.destroyed, 1);
}

}  // namespace
}  // namespace gapless::engine
