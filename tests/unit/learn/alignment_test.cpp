// SPDX-License-Identifier: Apache-2.0
#include "learn/alignment.hpp"

#include <gtest/gtest.h>

#include <random>

#include "training.hpp"

namespace gapless::learn {
namespace {

TEST(Alignment, AStepOfTheSameKernelsMatchesOneToOne) {
  Shape shape;
  shape.workspaces_from_four = false;
  const RecordedStep small = recorded(shape, 2, 0);
  const RecordedStep large = recorded(shape, 3, 0);
  const std::vector<std::uint32_t> match = align(small, large);
  ASSERT_EQ(match.size(), small.lives.size());
  for (std::uint32_t i = 0; i < match.size(); i++) EXPECT_EQ(match[i], i);
}

TEST(Alignment, AllocationsOfOneStepOnlyAreLeftOut) {
  const Shape shape;
  const RecordedStep small = recorded(shape, 3, 0);
  const RecordedStep large = recorded(shape, 4, 0);  // here the workspaces begin
  const std::vector<std::uint32_t> match = align(small, large);
  std::uint32_t matched = 0;
  for (std::size_t i = 0; i < match.size(); i++) {
    const bool workspace = large.lives[i].units == units_of(shape.workspace_bytes).count();
    if (workspace) {
      EXPECT_EQ(match[i], kNoLife) << i;
    }
    matched += match[i] != kNoLife ? 1u : 0u;
  }
  EXPECT_EQ(matched, small.lives.size());
}

// PyTorch's sum over rows takes 0.75 MiB for each 64 of them, rounded up: at 12 and 16 samples of 101 rows 19 and 26.
TEST(Alignment, ABufferOfPartsMayGrowALittleFasterThanTheBatch) {
  const auto step = [](std::uint64_t units, std::uint32_t parts) {
    RecordedStep made;
    made.units = units;
    made.lives = {Life{static_cast<std::uint32_t>(units) * 2400, 0, 5, 0}, Life{parts * 1536, 1, 2, 0},
                  Life{3000, 3, 4, 0}};
    return made;
  };
  EXPECT_EQ(align(step(12, 19), step(16, 26)), (std::vector<std::uint32_t>{0, 1, 2}));
  EXPECT_EQ(align(step(12, 19), step(16, 32))[1], kNoLife);
}

TEST(Alignment, AnAttemptIsAlignedUpToWhereItEnded) {
  Shape shape;
  shape.workspaces_from_four = false;
  const RecordedStep good = recorded(shape, 2, 0);
  const RecordedStep failed = recorded(shape, 8, 0, 300 * kMiB);
  ASSERT_TRUE(failed.cut);
  ASSERT_LT(failed.lives.size(), good.lives.size());
  const std::vector<std::uint32_t> match = align(good, failed);
  for (std::uint32_t i = 0; i < match.size(); i++) EXPECT_EQ(match[i], i);
}

TEST(Alignment, StepsThatHaveNothingInCommon) {
  std::mt19937_64 random(5);
  RecordedStep a, b;
  a.units = 1;
  b.units = 2;
  for (std::uint32_t i = 0; i < 4000; i++) {
    a.lives.push_back(Life{static_cast<std::uint32_t>(random() % 100000 + 1), i, Life::kAlive, 0});
    b.lives.push_back(Life{static_cast<std::uint32_t>(random() % 100000 + 1), i, Life::kAlive, 0});
  }
  const std::vector<std::uint32_t> match = align(a, b);
  std::uint32_t last = 0;
  for (const std::uint32_t each : match) {
    if (each == kNoLife) continue;
    EXPECT_GE(each, last);
    last = each;
  }
}

}  // namespace
}  // namespace gapless::learn
