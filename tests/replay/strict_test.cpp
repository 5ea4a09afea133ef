// SPDX-License-Identifier: Apache-2.0
// Strict replay is worth something only if a use out of order is reported: a planted one, and its correct twin.
#include <gtest/gtest.h>

#include "tools/replay/backend.hpp"
#include "tools/replay/isolate.hpp"
#include "tools/replay/sim_device.hpp"

namespace gapless::tools {
namespace {

constexpr std::uint64_t kBytes = 4u << 20;

// Stream 1 writes a block, stream 2 reads it; `ordered`: with an edge between them.
std::uint64_t violations_of_a_hand_over(bool ordered) {
  const auto results = run_isolated({[&] {
                                      Options options;
                                      options.strict = true;
                                      options.completion = "lag:1000";
                                      SimDevice device(options, options.size);
                                      const auto backend = make_gapless_backend(options);
                                      void* block = nullptr;
                                      EXPECT_EQ(backend->allocate(kBytes, device.stream(1), block), Outcome::ok);
                                      device.access(1, block, kBytes, true);
                                      if (ordered) device.order(2, 1);
                                      ReplayResult result;
                                      try {
                                        device.access(2, block, kBytes, false);
                                      } catch (const SetupError&) {
                                        // the device may refuse as well as report
                                      }
                                      result.completed = true;
                                      result.violations = device.violations();
                                      return result;
                                    }},
                                    1);
  EXPECT_TRUE(results.front().completed) << results.front().error;
  return results.front().violations;
}

TEST(StrictReplay, ReportsAUseThatNothingOrders) {
  EXPECT_GT(violations_of_a_hand_over(false), 0u);
}

TEST(StrictReplay, AcceptsTheSameUseBehindAnEvent) {
  EXPECT_EQ(violations_of_a_hand_over(true), 0u);
}

// A process that dies is a result, not the end of the tool.
TEST(Isolation, ACrashIsReportedAndTheNextTaskRuns) {
  const auto results = run_isolated({[]() -> ReplayResult { __builtin_trap(); },
                                     [] {
                                       ReplayResult fine;
                                       fine.completed = true;
                                       return fine;
                                     },
                                     []() -> ReplayResult { throw std::runtime_error("reason"); }},
                                    2);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_NE(results[0].error.find("killed"), std::string::npos) << results[0].error;
  EXPECT_TRUE(results[1].completed);
  EXPECT_EQ(results[2].error, "reason");
}

TEST(Isolation, WhatIsMissingIsAnErrorOfTheWholeTool) {
  EXPECT_THROW(run_isolated({[]() -> ReplayResult { throw SetupError("no plug-in"); }}, 1), SetupError);
}

}  // namespace
}  // namespace gapless::tools
