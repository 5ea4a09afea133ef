// SPDX-License-Identifier: Apache-2.0
// The same cases on every machine unless RC_PARAMS says otherwise; GAPLESS_TEST_FULL asks for many more.
#include <gtest/gtest.h>

#include <cstdlib>

int main(int argc, char** argv) {
  const bool full = std::getenv("GAPLESS_TEST_FULL") != nullptr;
  setenv("RC_PARAMS", full ? "seed=2 max_success=4000" : "seed=1 max_success=150", /*overwrite=*/0);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
