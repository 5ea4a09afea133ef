// SPDX-License-Identifier: Apache-2.0
// Which of several free places a large block gets, with one stream and with several (docs/adr/0010).
#include <vector>

#include "fixture.hpp"

namespace gapless::engine {
namespace {

enum class Place { lowest, freed_last };

class ChosenPlaces : public EngineTest {
 protected:
  // Three free places, the lowest freed first.
  Place place_of_a_large_block(void* stream = nullptr) {
    std::vector<void*> wide, narrow;
    for (int i = 0; i < 3; i++) {
      wide.push_back(allocate(24 * kMiB, stream));
      narrow.push_back(allocate(2 * kMiB, stream));
    }
    for (void* const block : wide) free(block);
    void* const chosen = allocate(23 * kMiB, stream);
    EXPECT_TRUE(chosen == wide.front() || chosen == wide.back());
    free(chosen);
    for (void* const block : narrow) free(block);
    return chosen == wide.front() ? Place::lowest : Place::freed_last;
  }
};

TEST_F(ChosenPlaces, OfOneStreamTheLowest) {
  open();
  EXPECT_EQ(place_of_a_large_block(), Place::lowest);
  void* const other = make_stream();
  free(allocate(1000, other));
  EXPECT_EQ(place_of_a_large_block(), Place::lowest) << "small blocks alone are not traded for";
}

TEST_F(ChosenPlaces, OfStreamsThatTradeTheOneFreedLast) {
  open();
  void* const other = make_stream();
  free(allocate(2 * kMiB));
  free(allocate(2 * kMiB, other));
  EXPECT_EQ(place_of_a_large_block(), Place::freed_last);
  EXPECT_EQ(place_of_a_large_block(other), Place::freed_last);

  ASSERT_EQ(gapless_forget_stream(allocator, 0, other), GAPLESS_OK) << gapless_last_error();
  EXPECT_EQ(place_of_a_large_block(), Place::lowest) << "alone again";
  void* const third = make_stream();
  free(allocate(2 * kMiB, third));
  EXPECT_EQ(place_of_a_large_block(), Place::freed_last) << "who took the spare heap over trades";
}

TEST_F(ChosenPlaces, APoolsBlocksAreNotTraded) {
  open();
  const gapless_pool_id pool{0, 7};
  ASSERT_EQ(gapless_pool_create(allocator, 0, pool, nullptr), GAPLESS_OK);
  const auto in_pool = [&](auto work) {
    const auto all = [](void*, gapless_stream) { return 1; };
    EXPECT_EQ(gapless_pool_begin(allocator, 0, pool, all, nullptr, nullptr), GAPLESS_OK);
    work();
    EXPECT_EQ(gapless_pool_end(allocator, 0, pool), GAPLESS_OK);
  };
  in_pool([&] { EXPECT_EQ(place_of_a_large_block(), Place::lowest); });
  EXPECT_EQ(place_of_a_large_block(), Place::lowest);
  ASSERT_EQ(gapless_pool_release(allocator, 0, pool), GAPLESS_OK);
}

TEST_F(ChosenPlaces, OfASharedHeapTheOneFreedLast) {
  config::Options options;
  options.stream_sharing = config::Toggle::on;
  open(80 * kGiB, options);
  EXPECT_EQ(place_of_a_large_block(), Place::freed_last);
  // Its being alone is looked at again when another heap comes and goes.
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "off"), GAPLESS_OK);
  void* const other = make_stream();
  free(allocate(2 * kMiB, other));
  ASSERT_EQ(gapless_forget_stream(allocator, 0, other), GAPLESS_OK) << gapless_last_error();
  ASSERT_EQ(gapless_set_option(allocator, "stream_sharing", "on"), GAPLESS_OK);
  EXPECT_EQ(place_of_a_large_block(), Place::freed_last);
}

}  // namespace
}  // namespace gapless::engine
