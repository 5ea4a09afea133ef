// SPDX-License-Identifier: Apache-2.0
// Who keeps account of the segments that are told of finds every block inside, and nothing that went without having
// come: NCCL registers memory by these events. What the device has is what was told of, granule for granule.
#include <random>
#include <set>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

class SegmentEventsTest : public EngineTest {
 protected:
  static std::uint64_t on_event(void* user, const gapless_event* event) {
    static_cast<SegmentEventsTest*>(user)->take(*event);
    return 0;
  }
  void listen() {
    gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
    listener.user = this;
    listener.kinds = ~0u;
    listener.on_event = on_event;
    ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  }
  void take(const gapless_event& event) {
    const std::uint64_t first = event.address / kGranule, end = (event.address + event.bytes - 1) / kGranule + 1;
    const bool whole = event.address % kGranule == 0 && event.bytes % kGranule == 0;
    for (std::uint64_t granule = first; granule < end; granule++) {
      if (event.kind == GAPLESS_EVENT_SEGMENT_MAP) {
        EXPECT_TRUE(whole && granules_.insert(granule).second) << "told of twice";
      } else if (event.kind == GAPLESS_EVENT_SEGMENT_UNMAP) {
        EXPECT_TRUE(whole && granules_.erase(granule) == 1) << "had not come";
      } else if (event.kind == GAPLESS_EVENT_ALLOC) {
        EXPECT_TRUE(granules_.contains(granule)) << "a block outside";
      }
    }
  }
  void churn(std::uint64_t seed, std::size_t streams, int rounds) {
    std::mt19937_64 random(seed);
    std::vector<void*> made;
    for (std::size_t i = 0; i < streams; i++) made.push_back(make_stream());
    std::vector<void*> live;
    for (int i = 0; i < rounds; i++) {
      if (live.size() > 20 || (!live.empty() && random() % 100 < 45)) {
        const std::size_t at = random() % live.size();
        free(live[at]);
        live[at] = live.back();
        live.pop_back();
        continue;
      }
      const std::uint64_t bytes = random() % 3 == 0 ? random() % 200'000 + 1 : random() % (14 * kMiB) + 1;
      void* out = nullptr;
      if (try_allocate(bytes, out, made[random() % streams]) == GAPLESS_OK) live.push_back(out);
      if (i % 200 == 199) {
        EXPECT_EQ(granules_.size() * kGranule, active_bytes()) << i;
      }
    }
    for (void* const block : live) free(block);
  }
  // Granules that are in use or idle in their place: reserved ones that are nowhere are in no segment.
  std::uint64_t active_bytes() {
    std::uint64_t count = 0;
    allocator->engine->for_each_device([&](DeviceAllocator& one) {
      for (const auto& heap : one.state().heaps)
        for (std::uint32_t slot = 0; slot < heap->slots.slots(); slot++) count += heap->slots.ok(slot) ? 1U : 0U;
    });
    return count * kGranule;
  }

  std::set<std::uint64_t> granules_;
};

TEST_F(SegmentEventsTest, WithRoom) {
  open();
  listen();
  churn(1, 1, 2000);
  std::size_t released = 0;
  ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
  EXPECT_TRUE(granules_.empty());
}

TEST_F(SegmentEventsTest, GranulesMoveBetweenHeapsAndStreams) {
  for (const auto sharing : {config::Toggle::off, config::Toggle::on}) {
    config::Options options;
    options.stream_sharing = sharing;
    open(192 * kMiB, options);
    listen();
    churn(2, 3, 4000);
    EXPECT_GT(stats().moves, 0);
    std::size_t released = 0;
    ASSERT_EQ(gapless_trim(allocator, 0, {0, 0}, 0, &released), GAPLESS_OK);
    EXPECT_TRUE(granules_.empty());
    TearDown();
    allocator = nullptr;
  }
}

}  // namespace
}  // namespace gapless::engine
