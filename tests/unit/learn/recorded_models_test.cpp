// SPDX-License-Identifier: Apache-2.0
// The forecast, held to steps of real models.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "learn/evidence.hpp"
#include "recorded_model.hpp"

namespace gapless::learn {
namespace {

// Windows and depthwise convolutions: what is no line in the batch is a percent of their peak.
bool is_hard(const std::string& model) {
  return model == "swin" || model == "convnext";
}
// Capacities at which the batch is one too small.
int most_too_small(const std::string& model) {
  return model == "swin" ? 7 : model == "convnext" ? 31 : 3;
}

class RecordedModels : public testing::TestWithParam<const char*> {
 protected:
  const RecordedModel model_{GAPLESS_RECORDED_STEPS, GetParam()};
};

// From good steps of two and three samples.
TEST_P(RecordedModels, ThePeakOfSixteenSamplesIsForetold) {
  const RecordedStep truth = model_.step(16);
  ASSERT_EQ(truth.peak, model_.peak(16)) << "the trace has what was measured";
  const StepModel said = StepModel::between(model_.step(2), model_.step(3));
  const double error = static_cast<double>(said.peak(16, truth.live_at_start)) / static_cast<double>(truth.peak) - 1.0;
  std::printf("%s: %+.3f %%\n", GetParam(), 100 * error);
  EXPECT_LT(std::abs(error), is_hard(GetParam()) ? 0.015 : 0.0002);
}

// After one good step of two samples and one attempt of sixty-four, at capacities of which the truth is known: never
// too large, at most one too small.
TEST_P(RecordedModels, TheLargestBatchIsNeverTooLarge) {
  constexpr std::uint64_t kRan = 2;
  const RecordedStep good = model_.step(kRan);
  int exact = 0, cases = 0;
  for (std::uint64_t truth = kRan + 1; truth < model_.most_tried(); truth++) {
    // Where the optimizer's peak is the step's, one sample more is not told from none.
    if (model_.peak(truth + 1) < model_.peak(truth) + 4 * kMiB) continue;
    for (const std::uint64_t quarter : {1u, 3u}) {
      const std::uint64_t capacity = model_.peak(truth) + (model_.peak(truth + 1) - model_.peak(truth)) / 4 * quarter;
      RecordedStep attempt = model_.step(64, capacity);
      ASSERT_TRUE(attempt.cut);
      // A device has room for what lies unusable between blocks, too.
      std::uint64_t with_gaps = capacity;
      for (int i = 0; i < 4; i++) with_gaps = capacity + unusable(with_gaps - good.live_at_start);
      Evidence evidence;
      evidence.add_good(good);
      evidence.add_failed(std::move(attempt), with_gaps);
      const std::uint64_t said = evidence.suggest(Situation{good.live_at_start, with_gaps}).units;
      EXPECT_LE(said, truth) << quarter;
      EXPECT_GE(said + 1, truth) << quarter;
      exact += said == truth ? 1 : 0;
      cases++;
    }
  }
  std::printf("%s: exact %d of %d\n", GetParam(), exact, cases);
  EXPECT_LE(cases - exact, most_too_small(GetParam()));
}

constexpr const char* kModels[] = {"gpt2",       "gpt2_checkpointing",  "llama_eager", "llama_full",
                                   "llama_lora", "llama_checkpointing", "bert",        "vit",
                                   "t5",         "vit_large_image",     "t5_long",     "distilbert",
                                   "resnet",     "distilbert_long",     "qwen",        "resnet_large_image",
                                   "roberta",    "qwen_checkpointing",  "swin",        "convnext"};
std::string name_of(const testing::TestParamInfo<const char*>& model) {
  return model.param;
}
INSTANTIATE_TEST_SUITE_P(Steps, RecordedModels, testing::ValuesIn(kModels), name_of);

// Seven samples of T5 ran with 9 MiB beyond their live bytes, and not with less than 7 (the simulated device).
TEST(SetAside, SevenSamplesOfT5NeedMoreThanTheirLiveBytes) {
  const RecordedModel model(GAPLESS_RECORDED_STEPS, "t5");
  const RecordedStep good = model.step(2);
  const auto said_with = [&](std::uint64_t more) {
    const std::uint64_t capacity = model.peak(7) + more;
    Evidence evidence;
    evidence.add_good(good);
    evidence.add_failed(model.step(64, capacity), capacity);
    return evidence.suggest(Situation{good.live_at_start, capacity}).units;
  };
  for (const std::uint64_t more : {0u, 6u, 12u}) EXPECT_EQ(said_with(more * kMiB), 6u) << more;
  EXPECT_EQ(said_with(24 * kMiB), 7u);
}

TEST(SetAside, ItIsASixtyFourthAndNotMoreForLargerSteps) {
  EXPECT_EQ(unusable(128 * kMiB), 2 * kMiB);
  EXPECT_EQ(unusable(5 * kGiB), 16 * kMiB);
}

}  // namespace
}  // namespace gapless::learn
