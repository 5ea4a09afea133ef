// SPDX-License-Identifier: Apache-2.0
// The forecast and the suggestion through the C ABI: a training loop on the simulated device.
#include <cmath>
#include <optional>
#include <unordered_map>

#include "../engine/fixture.hpp"
#include "training.hpp"

namespace gapless::learn {
namespace {

class Forecast : public engine::EngineTest {
 protected:
  // Marks and runs one step. False: it ran out of memory and holds nothing any more.
  bool step(std::uint64_t units, const Shape& shape, const char* label = "train") {
    EXPECT_EQ(gapless_mark_step(allocator, 0, label, units), GAPLESS_OK);
    const std::int64_t before = stats().allocated_bytes[GAPLESS_ALL].current;
    EXPECT_EQ(gapless_reset_peak_stats(allocator, 0), GAPLESS_OK);
    const bool ok = train_step(shape, units,
                               {[&](std::uint64_t bytes, std::uint64_t& id) {
                                  void* out = nullptr;
                                  if (try_allocate(bytes, out) != GAPLESS_OK) return false;
                                  id = next_++;
                                  live_[id] = out;
                                  return true;
                                },
                                [&](std::uint64_t id) {
                                  free(live_[id]);
                                  live_.erase(id);
                                }});
    peak = static_cast<std::uint64_t>(stats().allocated_bytes[GAPLESS_ALL].peak);
    if (!shape.first) {
      EXPECT_EQ(stats().allocated_bytes[GAPLESS_ALL].current, before);
    }
    return ok;
  }
  std::optional<gapless_forecast> forecast(std::uint64_t units) {
    gapless_forecast out = GAPLESS_STRUCT(gapless_forecast);
    if (gapless_forecast_step(allocator, 0, units, &out) != GAPLESS_OK) return std::nullopt;
    return out;
  }
  gapless_oom_record last() {
    gapless_oom_record record = GAPLESS_STRUCT(gapless_oom_record);
    EXPECT_EQ(gapless_last_oom(allocator, 0, &record), GAPLESS_OK);
    return record;
  }
  // By trying: the largest batch that runs on a fresh device of that size, from a warm start.
  std::uint64_t largest(std::uint64_t device_bytes, const Shape& shape) {
    finish();
    open(device_bytes);
    parameters(shape);
    std::uint64_t most = 0;
    for (std::uint64_t units = 1; units <= 64; units++)
      if (step(units, shape, "scan")) most = units;
    finish();
    return most;
  }
  void parameters(const Shape& shape) {
    for (int i = 0; i < shape.layers; i++) live_[next_++] = allocate(shape.parameter_bytes);
  }
  void finish() {
    for (const auto& [id, block] : live_) free(block);
    live_.clear();
    if (allocator != nullptr) engine::EngineTest::TearDown();
    allocator = nullptr;
  }
  void TearDown() override { finish(); }

  std::uint64_t peak = 0;

 private:
  std::unordered_map<std::uint64_t, void*> live_;
  std::uint64_t next_ = 1;
};

TEST_F(Forecast, IsRightFromTwoGoodSteps) {
  open(8 * kGiB);
  const Shape shape;
  parameters(shape);
  EXPECT_FALSE(forecast(2)) << "no step was marked";
  ASSERT_TRUE(step(2, shape));
  ASSERT_TRUE(step(3, shape));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 16), GAPLESS_OK);
  const std::optional<gapless_forecast> out = forecast(16);
  ASSERT_TRUE(out) << gapless_last_error();
  ASSERT_TRUE(step(16, shape));
  EXPECT_LT(std::abs(static_cast<double>(out->peak_bytes) / static_cast<double>(peak) - 1.0), 0.015);
  EXPECT_EQ(out->suggestion.proven_fits, 3u);
  EXPECT_EQ(out->suggestion.proven_fails, 0u);
  EXPECT_EQ(out->suggestion.evidence_steps, 2u);
}

TEST_F(Forecast, AnotherKindOfStepIsNoEvidence) {
  open(8 * kGiB);
  const Shape shape;
  ASSERT_TRUE(step(2, shape, "train"));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "eval", 2), GAPLESS_OK);
  EXPECT_FALSE(forecast(2));
}

// The promise: one good step, one failed attempt, and the next size is right.
TEST_F(Forecast, OneFailureIsEnough) {
  int cases = 0;
  for (const std::uint64_t mebibytes : {700u, 1000u, 1500u, 2200u})
    for (const std::uint64_t per_sample : {1u, 3u, 7u})
      for (const int optimizer : {1, 3}) {
        Shape shape;
        shape.activation_bytes = per_sample * kMiB;
        shape.optimizer_copies = optimizer;
        shape.workspaces_from_four = false;
        const std::uint64_t truth = largest(mebibytes * kMiB, shape);
        if (truth < 2 || truth > 40) continue;
        open(mebibytes * kMiB);
        parameters(shape);
        ASSERT_TRUE(step(1, shape));
        ASSERT_FALSE(step(64, shape));
        const gapless_suggestion said = last().suggestion;
        EXPECT_EQ(said.proven_fails, 64u);
        EXPECT_EQ(said.proven_fits, 1u);
        EXPECT_LE(said.units, truth) << mebibytes << " " << per_sample << " " << optimizer;
        EXPECT_GE(said.units + 1, truth) << mebibytes << " " << per_sample << " " << optimizer;
        cases++;
        EXPECT_TRUE(step(said.units, shape));
        finish();
      }
  EXPECT_GE(cases, 10);
  // How often exactly: recorded_models_test.cpp. Here a sample is small beside what is set aside.
}

TEST_F(Forecast, ItGrowsBackWhenThereIsRoomAgain) {
  open(4 * kGiB);
  const Shape shape;
  parameters(shape);
  ASSERT_EQ(gapless_set_limit(allocator, 0, 600 * kMiB), GAPLESS_OK);
  ASSERT_TRUE(step(2, shape));
  ASSERT_FALSE(step(32, shape));
  const std::uint64_t small = last().suggestion.units;
  ASSERT_LT(small, 32u);
  ASSERT_TRUE(step(small, shape));
  ASSERT_EQ(gapless_set_limit(allocator, 0, SIZE_MAX), GAPLESS_OK);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 32), GAPLESS_OK);
  const std::optional<gapless_forecast> out = forecast(32);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->suggestion.proven_fails, 0u) << "what failed, failed under the limit";
  EXPECT_GE(out->suggestion.units, 32u);
  EXPECT_LT(out->peak_bytes, out->available_bytes);
  EXPECT_TRUE(step(32, shape));
}

TEST_F(Forecast, TheFirstStepsStateIsReckonedWith) {
  open(8 * kGiB);
  Shape shape;
  parameters(shape);
  Shape first = shape;
  first.first = true;
  ASSERT_TRUE(step(4, first));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 4), GAPLESS_OK);
  const std::optional<gapless_forecast> out = forecast(4);
  ASSERT_TRUE(out);
  ASSERT_TRUE(step(4, shape));
  EXPECT_LT(std::abs(static_cast<double>(out->peak_bytes) / static_cast<double>(peak) - 1.0), 0.01);
}

TEST_F(Forecast, ARehearsedFailureProvesNothing) {
  open(8 * kGiB);
  const Shape shape;
  ASSERT_TRUE(step(4, shape));
  ASSERT_EQ(gapless_set_option(allocator, "inject_oom", "[step:2,allocation:7]"), GAPLESS_OK);
  ASSERT_FALSE(step(4, shape));
  EXPECT_EQ(last().verdict, GAPLESS_OOM_INJECTED);
  EXPECT_EQ(last().suggestion.proven_fails, 0u);
  EXPECT_GE(last().suggestion.units, 4u);
  EXPECT_TRUE(step(4, shape));
}

TEST_F(Forecast, AFailureThatAHookHealsIsNone) {
  open(600 * kMiB);
  const Shape shape;
  struct Ballast {
    gapless_allocator* allocator;
    void* block;
  } ballast{allocator, allocate(300 * kMiB)};
  const gapless_oom_hook hook = [](void* user, const gapless_oom_record*) {
    Ballast& one = *static_cast<Ballast*>(user);
    if (one.block == nullptr) return GAPLESS_OOM_GIVE_UP;
    EXPECT_EQ(gapless_deallocate(one.allocator, one.block), GAPLESS_OK);
    one.block = nullptr;
    return GAPLESS_OOM_TRY_AGAIN;
  };
  ASSERT_EQ(gapless_add_oom_hook(allocator, hook, &ballast), GAPLESS_OK);
  EXPECT_EQ(gapless_mark_step(allocator, 0, "train", 8), GAPLESS_OK);
  ASSERT_TRUE(train_step(shape, 8,
                         {[&](std::uint64_t bytes, std::uint64_t& id) {
                            void* out = nullptr;
                            if (try_allocate(bytes, out) != GAPLESS_OK) return false;
                            id = reinterpret_cast<std::uint64_t>(out);
                            return true;
                          },
                          [&](std::uint64_t id) { free(reinterpret_cast<void*>(id)); }}));
  EXPECT_EQ(ballast.block, nullptr);
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 8), GAPLESS_OK);
  const std::optional<gapless_forecast> out = forecast(8);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->suggestion.proven_fails, 0u);
}

// A library that is refused a workspace takes another way, and the step goes on.
TEST_F(Forecast, AFailureThatTheStepOutlivesIsNone) {
  open(600 * kMiB);
  const Shape shape;
  ASSERT_TRUE(step(4, shape));
  EXPECT_EQ(gapless_mark_step(allocator, 0, "train", 8), GAPLESS_OK);
  void* workspace = nullptr;
  EXPECT_EQ(try_allocate(kGiB, workspace), GAPLESS_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(last().suggestion.proven_fails, 8u) << "nobody knows yet";
  ASSERT_TRUE(train_step(shape, 8,
                         {[&](std::uint64_t bytes, std::uint64_t& id) {
                            id = reinterpret_cast<std::uint64_t>(allocate(bytes));
                            return true;
                          },
                          [&](std::uint64_t id) { free(reinterpret_cast<void*>(id)); }}));
  ASSERT_EQ(gapless_mark_step(allocator, 0, "train", 8), GAPLESS_OK);
  const std::optional<gapless_forecast> out = forecast(8);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->suggestion.proven_fails, 0u);
  EXPECT_EQ(out->suggestion.proven_fits, 4u) << "what ran was perhaps not the whole batch";
  EXPECT_GE(out->suggestion.units, 8u);
  EXPECT_TRUE(step(8, shape));
}

}  // namespace
}  // namespace gapless::learn
