// SPDX-License-Identifier: Apache-2.0
#include "base/check.hpp"

#include <gtest/gtest.h>

#include <string>

#include "base/status.hpp"

namespace gapless {
namespace {

TEST(Check, NamesInvariantAndCondition) {
  const int blocks = 2;
  try {
    GAPLESS_CHECK(1, "I9", blocks == 3);
    FAIL() << "the check did not fire";
  } catch (const base::BrokenInvariant& broken) {
    EXPECT_NE(std::string(broken.what()).find("I9"), std::string::npos);
    EXPECT_NE(std::string(broken.what()).find("blocks == 3"), std::string::npos);
  }
}

TEST(Check, AboveTheLevelLeavesNoCode) {
  bool evaluated = false;
  GAPLESS_CHECK(99, "I9", (evaluated = true));
  EXPECT_FALSE(evaluated);
}

TEST(Status, DetailOfTheLastFailureStaysWithItsThread) {
  EXPECT_EQ(base::fail(Status::busy, "blocks are live"), Status::busy);
  EXPECT_STREQ(base::last_error(), "blocks are live");
  EXPECT_EQ(base::last_driver_error(), 0);
  EXPECT_EQ(base::fail_driver("cuMemMap", 2, "CUDA_ERROR_OUT_OF_MEMORY"), Status::driver);
  EXPECT_STREQ(base::last_error(), "cuMemMap: CUDA_ERROR_OUT_OF_MEMORY (2)");
  EXPECT_EQ(base::last_driver_error(), 2);
}

}  // namespace
}  // namespace gapless
