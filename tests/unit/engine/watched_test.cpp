// SPDX-License-Identifier: Apache-2.0
// Nobody who looks on changes what is seen: with a listener (recorded memory history) or a pool in use elsewhere, a
// loop gets the addresses and makes the driver calls that it has without.
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

// What a loop did: addresses in the order of the requests, and driver calls up to the end of each step.
struct Seen {
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint64_t> calls;
  friend bool operator==(const Seen&, const Seen&) = default;
};

class WatchedTest : public EngineTest, public ::testing::WithParamInterface<int> {
 protected:
  // Ten like steps at full occupancy, of large and small blocks: granules move until the loop has settled.
  Seen run() {
    Seen seen;
    std::mt19937_64 random(static_cast<std::uint64_t>(GetParam()));
    std::vector<std::uint64_t> sizes;
    for (int i = 0; i < 60; i++)
      sizes.push_back(random() % 4 == 0 ? random() % 900'000 + 1 : random() % (90 * kMiB) + kMiB);
    std::vector<std::size_t> dies(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); i++) dies[i] = i + 1 + random() % 30;
    for (int step = 0; step < 10; step++) {
      std::vector<std::pair<std::size_t, void*>> live;
      for (std::size_t i = 0; i < sizes.size(); i++) {
        live.emplace_back(dies[i], allocate(sizes[i]));
        seen.addresses.push_back(reinterpret_cast<std::uintptr_t>(live.back().second));
        for (const auto& [end, block] : live)
          if (end == i) free(block);
        std::erase_if(live, [&](const auto& one) { return one.first == i; });
      }
      for (const auto& [end, block] : live) free(block);
      seen.calls.push_back(faults_->memory_calls());
    }
    return seen;
  }
  Seen unwatched() {
    open();
    Seen seen = run();
    TearDown();
    allocator = nullptr;
    return seen;
  }
};

TEST_P(WatchedTest, AListenerChangesNothing) {
  const Seen before = unwatched();
  ASSERT_GT(before.calls.back(), before.calls.front()) << "no granule moved: nothing to compare";
  open();
  gapless_listener listener = GAPLESS_STRUCT(gapless_listener);
  listener.kinds = ~0u;
  listener.on_event = [](void*, const gapless_event*) { return std::uint64_t{0}; };
  ASSERT_EQ(gapless_set_listener(allocator, &listener), GAPLESS_OK);
  EXPECT_EQ(run(), before);
}

TEST_P(WatchedTest, APoolInUseByOthersChangesNothing) {
  const Seen before = unwatched();
  open();
  const gapless_pool_id pool{0, 7};
  ASSERT_EQ(gapless_pool_create(allocator, 0, pool, nullptr), GAPLESS_OK);
  const auto none = [](void*, gapless_stream) { return 0; };
  ASSERT_EQ(gapless_pool_begin(allocator, 0, pool, none, nullptr, nullptr), GAPLESS_OK);
  EXPECT_EQ(run(), before);
  EXPECT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_OK);
  EXPECT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_OK);
}

INSTANTIATE_TEST_SUITE_P(Loops, WatchedTest, ::testing::Range(0, 8));

}  // namespace
}  // namespace gapless::engine
