// SPDX-License-Identifier: Apache-2.0
// Where the largest requests go (docs/adr/0010): the order of choices, and what ends the search.
#include <cstdint>
#include <vector>

#include "fixture.hpp"

namespace gapless::heap {
namespace {

constexpr Units kSize = Heap::kByAddress;
constexpr std::uint32_t kMany = Heap::kBinScan + 5;

Units more(Units size, std::uint32_t units) {
  return size + Units(units);
}

class ByAddressTest : public HeapTest {
 protected:
  // Places of these sizes, the lowest first, with a live block after each.
  std::vector<BlockId> places(const std::vector<Units>& sizes) {
    std::vector<BlockId> ids;
    for (const Units size : sizes) {
      ids.push_back(heap_->place(size));
      static_cast<void>(heap_->place(Units(3000)));
    }
    return ids;
  }
  // The same, freed in that order; their offsets.
  std::vector<Units> free_places(const std::vector<Units>& sizes) {
    std::vector<Units> offsets;
    const std::vector<BlockId> ids = places(sizes);
    for (const BlockId id : ids) offsets.push_back(offset(id));
    for (const BlockId id : ids) heap_->free(id, 1);
    return offsets;
  }
  // Where the request goes: peek and place agree.
  Units placed(Units size) {
    const BlockId from = heap_->peek(size);
    EXPECT_NE(from, kNoBlock) << "the heap would grow";
    const Units peeked = offset(from);
    const BlockId id = heap_->place(size);
    EXPECT_EQ(offset(id), peeked);
    heap_->validate();
    return offset(id);
  }
};

TEST_F(ByAddressTest, TheLargestRequestsGoToTheLowestPlace) {
  make();
  const std::vector<Units> at = free_places({more(kSize, 8), more(kSize, 9), more(kSize, 10)});
  EXPECT_EQ(placed(kSize), at[0]) << "the lowest of the three";
  EXPECT_EQ(placed(kSize), at[1]) << "the lower of the two that are left";
}

TEST_F(ByAddressTest, ALowerPlaceThatDoesNotFitIsPassedOver) {
  make();
  const std::vector<Units> at = free_places({kSize, more(kSize, 8), more(kSize, 9)});
  EXPECT_EQ(placed(more(kSize, 1)), at[1]);
}

TEST_F(ByAddressTest, JustBelowTheyGoToThePlaceFreedLast) {
  make();
  const std::vector<Units> at = free_places({more(kSize, 8), more(kSize, 9), more(kSize, 10)});
  EXPECT_EQ(placed(kSize - Units(1)), at[2]);
  EXPECT_EQ(placed(kSize), at[0]) << "the first size that goes by address";
}

TEST_F(ByAddressTest, NoRequestOfTheSmallClassGoesByAddress) {
  make(SizeClass::small).prefer_recent(false);
  const std::vector<Units> at = free_places({more(kSize, 8), more(kSize, 9), more(kSize, 10)});
  EXPECT_EQ(placed(kSize), at[2]);
}

TEST_F(ByAddressTest, NorDoesAnyWhileTheRecentPlaceIsPreferred) {
  make().prefer_recent(true);
  const std::vector<Units> at = free_places({more(kSize, 8), more(kSize, 9), more(kSize, 10)});
  EXPECT_EQ(placed(kSize), at[2]);
  heap_->prefer_recent(false);
  EXPECT_EQ(placed(kSize), at[0]);
}

TEST_F(ByAddressTest, AHeadOfExactlyTheSizeIsTakenBeforeALowerPlace) {
  make();
  const std::vector<Units> at = free_places({more(kSize, 8), more(kSize, 9), kSize});
  EXPECT_EQ(placed(kSize), at[2]);
}

TEST_F(ByAddressTest, APlaceOfExactlyTheSizeThatIsNotTheHeadIsLikeAnyOther) {
  make();
  const std::vector<Units> at = free_places({more(kSize, 8), kSize, more(kSize, 9)});
  EXPECT_EQ(placed(kSize), at[0]);
}

// A request below 20 MiB takes the higher bin, where every block fits, and looks no further.
TEST_F(ByAddressTest, AFitOfItsOwnBinIsTakenBeforeALowerPlaceOfAHigherBin) {
  for (const Units size : {kSize, Units(kSize.count() / 2)}) {
    make();
    const Units twice(2 * size.count());
    const std::vector<Units> at = free_places({twice, more(size, 1)});
    ASSERT_EQ(Bins::bin_of(more(size, 1)), Bins::bin_of(size));
    EXPECT_EQ(placed(size), size == kSize ? at[1] : at[0]);
  }
}

TEST_F(ByAddressTest, OfTheHigherBinsOnlyTheFirstThatHasAnyIsLookedAt) {
  make();
  const Units twice(2 * kSize.count()), thrice(3 * kSize.count());
  const std::vector<Units> at = free_places({thrice, kSize, twice, more(twice, 1)});
  ASSERT_EQ(Bins::bin_of(twice), Bins::bin_of(more(twice, 1)));
  EXPECT_EQ(placed(more(kSize, 1)), at[2]) << "lower are one of its own bin that does not fit, and one of a later bin";
}

TEST_F(ByAddressTest, OfItsOwnBinTheOnesFreedLastAreLookedAt) {
  make(SizeClass::large, 4096);
  const std::vector<Units> at = free_places(std::vector<Units>(kMany, more(kSize, 1)));
  EXPECT_EQ(placed(kSize), at[kMany - Heap::kBinScan]);
}

TEST_F(ByAddressTest, OfAHigherBinTheOnesFreedLastAreLookedAt) {
  make(SizeClass::large, 4096);
  const Units next_bin = Bins::floor_of(Bins::bin_of(kSize) + 1);
  const std::vector<Units> at = free_places(std::vector<Units>(kMany, next_bin));
  EXPECT_EQ(placed(next_bin - Units(1)), at[kMany - Heap::kBinScan]);
}

TEST_F(ByAddressTest, AFitBehindTheBoundGivesWayToAHigherBin) {
  make(SizeClass::large, 4096);
  std::vector<Units> sizes(Heap::kBinScan + 1, kSize);
  sizes.front() = more(kSize, 8);  // freed first, so looked at last
  sizes.push_back(Units(2 * kSize.count()));
  const std::vector<Units> at = free_places(sizes);
  EXPECT_EQ(placed(more(kSize, 1)), at.back());
}

}  // namespace
}  // namespace gapless::heap
