// SPDX-License-Identifier: Apache-2.0
#include "learn/step_model.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "training.hpp"

namespace gapless::learn {
namespace {

double error(std::uint64_t predicted, std::uint64_t truth) {
  return static_cast<double>(predicted) / static_cast<double>(truth) - 1.0;
}

TEST(StepModel, TwoStepsGiveThePeakOfEveryBatch) {
  Shape shape;
  shape.workspaces_from_four = false;
  const std::uint64_t base = 500 * kMiB;
  const StepModel model = StepModel::between(recorded(shape, 2, base), recorded(shape, 3, base));
  EXPECT_EQ(model.measured(), 1.0);
  for (std::uint64_t units = 1; units <= 64; units++)
    EXPECT_LT(std::abs(error(model.peak(units, base), recorded(shape, units, base).peak)), 1e-4) << units;
}

// The peak of two samples is the optimizer's, that of sixteen the backward pass's.
TEST(StepModel, ThePeakMovesFromTheOptimizerToTheBackwardPass) {
  Shape shape;
  shape.optimizer_copies = 4;
  const RecordedStep two = recorded(shape, 2, 0), three = recorded(shape, 3, 0);
  ASSERT_LT(three.peak - two.peak, 1024u) << "of the input";
  const StepModel model = StepModel::between(two, three);
  EXPECT_LT(std::abs(error(model.peak(16, 0), recorded(shape, 16, 0).peak)), 0.01);
}

TEST(StepModel, AStepThatBeginsHigherEndsHigher) {
  const Shape shape;
  const StepModel model = StepModel::between(recorded(shape, 2, 0), recorded(shape, 3, 0));
  EXPECT_EQ(model.peak(5, kGiB) - model.peak(5, 0), kGiB);
}

TEST(StepModel, OneGoodStepAndOneAttemptAreEnough) {
  Shape shape;
  shape.workspaces_from_four = false;
  const RecordedStep good = recorded(shape, 2, 0);
  for (const std::uint64_t units : {3u, 8u, 31u}) {
    const std::uint64_t truth = recorded(shape, units, 0).peak;
    for (const std::uint64_t share : {30u, 60u, 90u, 99u}) {
      const RecordedStep failed = recorded(shape, units, 0, truth * share / 100);
      ASSERT_TRUE(failed.cut);
      const StepModel model = StepModel::from_attempt(good, failed);
      for (std::uint64_t n = 1; n <= units; n++) {
        const double e = error(model.peak(n, 0), recorded(shape, n, 0).peak);
        EXPECT_GT(e, -1e-3) << units << " " << share << " " << n;
        // What was never seen to grow is taken to grow: above the truth, never below it.
        EXPECT_LT(e, share >= 60 ? 0.05 : 0.7) << units << " " << share << " " << n;
      }
    }
  }
}

TEST(StepModel, OneStepBoundsLargerOnesFromAbove) {
  const Shape shape;
  const StepModel model = StepModel::from_one(recorded(shape, 4, 0));
  for (std::uint64_t units = 4; units <= 64; units++)
    EXPECT_GE(model.peak(units, 0), recorded(shape, units, 0).peak) << units;
}

// The first step makes the optimizer's state; the second starts with it and does not make it again.
TEST(StepModel, TheOptimizersStateIsCountedOnce) {
  Shape shape;
  const std::uint64_t base = 96 * kMiB;
  Shape first = shape;
  first.first = true;
  const RecordedStep one = recorded(first, 4, base);
  ASSERT_EQ(one.growth(), 2 * shape.parameter_bytes * static_cast<std::uint64_t>(shape.layers));
  const StepModel model = StepModel::from_one(one);
  EXPECT_EQ(model.peak(4, base), one.peak);
  EXPECT_EQ(model.peak(4, one.live_at_end), recorded(shape, 4, one.live_at_end).peak);
}

}  // namespace
}  // namespace gapless::learn
