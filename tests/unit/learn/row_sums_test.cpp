// SPDX-License-Identifier: Apache-2.0
// What the buffers of sums over rows are known by, and how they grow.
#include "learn/row_sums.hpp"

#include <gtest/gtest.h>

#include "learn/step_model.hpp"

namespace gapless::learn {
namespace {

constexpr std::uint64_t kThreads = 100 * 2048;
constexpr std::uint32_t kColumns = 4;  // units of 512 B, of the result
constexpr std::uint32_t kRows = 256;   // for each sample

// One linear layer's backward pass: the gradient of its output (16 bits), that of its input, the weight's, the bias's.
class Backward {
 public:
  explicit Backward(std::uint64_t samples, std::uint32_t columns = kColumns, std::uint32_t rows_of_sample = kRows,
                    bool buffers = true) {
    step_.units = samples;
    step_.resident_threads = kThreads;
    const auto rows = static_cast<std::uint32_t>(samples * rows_of_sample);
    const std::uint32_t of_output = birth(rows * columns);
    const std::uint32_t of_input = birth(rows * columns / 2);
    const std::uint32_t of_weight = birth(4000);
    const std::uint32_t of_bias = birth(columns);
    if (buffers && rows >= 1024) {
      const std::uint32_t buffer = birth(std::min<std::uint32_t>(4 * rows * columns, kThreads));
      const std::uint32_t counter = birth(1);
      death(counter);
      death(buffer);
    }
    death(of_output);
    death(of_input);
    death(of_weight);
    death(of_bias);
    step_.events = now_;
    step_.fixed.assign(step_.lives.size(), Fixed::no);
  }
  const RecordedStep& step() const { return step_; }

 private:
  std::uint32_t birth(std::uint32_t units) {
    step_.lives.push_back(Life{units, now_++, Life::kAlive, 0});
    live_ += units;
    step_.peak = std::max(step_.peak, std::uint64_t{live_} * kUnitBytes);
    return static_cast<std::uint32_t>(step_.lives.size() - 1);
  }
  void death(std::uint32_t life) {
    step_.lives[life].death = now_++;
    live_ -= step_.lives[life].units;
  }

  RecordedStep step_;
  std::uint32_t now_ = 0, live_ = 0;
};

TEST(RowSums, ABufferThatWasSeenIsThatOfItsSum) {
  const RecordedStep step = Backward(4).step();
  const std::vector<RowSum> sums = row_sums(step);
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(step.lives[sums[0].result].units, kColumns);
  EXPECT_EQ(step.lives[sums[0].buffer].units, 4 * 4 * kRows * kColumns);
}

// What the journal left out takes a time, and no place.
TEST(RowSums, TimesAtWhichNothingIsKnownDoNotHideABuffer) {
  RecordedStep step = Backward(4).step();
  for (Life& life : step.lives) {
    life.birth *= 2;
    life.death *= 2;
  }
  step.events *= 2;
  const std::vector<RowSum> sums = row_sums(step);
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(step.lives[sums[0].buffer].units, 4 * 4 * kRows * kColumns);
  EXPECT_EQ(sums[0].before, row_sums(Backward(4).step())[0].before);
}

TEST(RowSums, WithFewRowsASumHasNoBufferAndIsSeenAllTheSame) {
  const std::vector<RowSum> sums = row_sums(Backward(3).step());
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(sums[0].buffer, kNoLife);
}

TEST(RowSums, TheInputIsWhatGrowsAndHasTheCommonNumberOfRows) {
  const RecordedStep step = Backward(3).step();
  std::vector<RowSum> sums = row_sums(step);
  sums.push_back(sums[0]);
  sums[1].before = {0, kNoLife, kNoLife, kNoLife};  // another sum that can only have this one
  find_inputs(step, {1, 1, 0, 0}, sums);
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0].input, 0u);
  find_inputs(step, {0, 0, 0, 0}, sums = row_sums(step));
  EXPECT_TRUE(sums.empty()) << "nothing grows";
}

// Neither is a line: from 2 and 3 samples nothing is seen, and from 4 to 64 the buffer stops growing.
TEST(RowSums, ThePeakIsRightBeyondBothEndsOfTheLine) {
  for (const std::uint64_t first : {2u, 4u, 30u}) {
    const StepModel model = StepModel::between(Backward(first).step(), Backward(first + 1).step());
    for (const std::uint64_t units : {first, std::uint64_t{5}, std::uint64_t{20}, std::uint64_t{64}}) {
      const std::uint64_t truth = Backward(units).step().peak;
      if (units >= first) {
        EXPECT_EQ(model.peak(units, 0), truth - (units * kRows >= 1024 && first < 4 ? kUnitBytes : 0))
            << first << " " << units;
      }
    }
  }
}

// The journal says that it took no buffer, whatever its rows seem to be.
TEST(RowSums, WhatRanWithoutABufferHasThePeakThatItHad) {
  const auto few = [](std::uint64_t samples) { return Backward(samples, 1).step(); };
  const auto many = [](std::uint64_t samples) { return Backward(samples, kColumns, 20000, false).step(); };
  for (const std::uint64_t units : {2u, 3u}) {
    EXPECT_EQ(StepModel::between(few(2), few(3)).peak(units, 0), few(units).peak) << units;
    EXPECT_EQ(StepModel::between(many(2), many(3)).peak(units, 0), many(units).peak) << units;
    EXPECT_EQ(StepModel::from_one(few(units)).peak(units, 0), few(units).peak) << units;
    EXPECT_EQ(StepModel::from_one(many(units)).peak(units, 0), many(units).peak) << units;
  }
  EXPECT_EQ(StepModel::between(many(2), many(3)).peak(8, 0), many(8).peak) << "no sum, then";
}

TEST(RowSums, OnADeviceOfUnknownSizeABufferIsALine) {
  RecordedStep step = Backward(3).step();
  step.resident_threads = 0;
  std::vector<RowSum> sums = row_sums(step);
  const SumBuffers buffers(step, sums);
  EXPECT_EQ(buffers.of(sums[0], 1024.0 * 4096, 1024.0), 4.0 * 1024 * 4096);
  EXPECT_EQ(buffers.of(sums[0], 1024.0 * 4095, 4096.0), 0.0) << "1023 rows";
  EXPECT_GT(buffers.of(sums[0], 512.0 * 300, 512.0), 0.0) << "a result of 512 B may be of many more rows";
}

}  // namespace
}  // namespace gapless::learn
