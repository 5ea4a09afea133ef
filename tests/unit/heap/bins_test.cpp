// SPDX-License-Identifier: Apache-2.0
#include "heap/bins.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace gapless::heap {
namespace {

TEST(Bins, EverySizeHasABinAndBinsAscend) {
  std::uint32_t before = 0;
  for (std::uint64_t u = 1; u < (std::uint64_t{1} << 32); u = u < 200000 ? u + 1 : u + u / 97) {
    const std::uint32_t bin = Bins::bin_of(Units(static_cast<std::uint32_t>(u)));
    ASSERT_GE(bin, before);
    ASSERT_LT(bin, Bins::kBins);
    ASSERT_LE(Bins::floor_of(bin).count(), u);
    before = bin;
  }
}

TEST(Bins, ABlockOfAHigherBinFitsAndWastesAtMostThreePercent) {
  for (std::uint32_t u : {1u, 31u, 32u, 63u, 64u, 65u, 4096u, 4097u, 100000u, 3000000u}) {
    const std::uint32_t bin = Bins::bin_of(Units(u));
    EXPECT_GE(Bins::floor_of(bin + 1).count(), u);
    EXPECT_LE(Bins::floor_of(bin + 1).count() - Bins::floor_of(bin).count(), 1 + Bins::floor_of(bin).count() / 32);
  }
}

TEST(Bins, LastInFirstOutAndBitmapsFollow) {
  std::vector<Block> blocks(8);
  Bins bins;
  EXPECT_EQ(bins.next(0), Bins::kNone);
  EXPECT_EQ(bins.highest(), Bins::kNone);
  bins.push(blocks.data(), 1, 100);
  bins.push(blocks.data(), 2, 100);
  bins.push(blocks.data(), 3, 700);
  EXPECT_EQ(bins.head(100), 2u);
  EXPECT_EQ(bins.next(0), 100u);
  EXPECT_EQ(bins.next(101), 700u);
  EXPECT_EQ(bins.next(701), Bins::kNone);
  EXPECT_EQ(bins.next(Bins::kBins), Bins::kNone);
  EXPECT_EQ(bins.highest(), 700u);
  EXPECT_TRUE(bins.consistent());
  bins.remove(blocks.data(), 1);
  EXPECT_EQ(bins.head(100), 2u);
  bins.pop(blocks.data(), 100);
  EXPECT_EQ(bins.next(0), 700u);
  bins.remove(blocks.data(), 3);
  EXPECT_EQ(bins.next(0), Bins::kNone);
  EXPECT_TRUE(bins.consistent());
}

}  // namespace
}  // namespace gapless::heap
