// SPDX-License-Identifier: Apache-2.0
// One allocator a test on the simulated driver; a test that leaves a block live fails.
#pragma once

#include <gtest/gtest.h>

#include "gapless/gapless.hpp"

namespace gapless::test {

inline constexpr const char* kSimulatedMachine = "size=256MiB,devices=2";
inline constexpr std::size_t kDeviceBytes = std::size_t{256} << 20;
inline constexpr std::size_t kMiB = std::size_t{1} << 20;

class SimulatedDevice : public testing::Test {
 protected:
  static OpenOptions plain() {
    OpenOptions options;
    options.read_environment = false;
    return options;
  }

  void TearDown() override {
    const Result<void> closed = allocator.try_close();
    EXPECT_TRUE(closed.has_value()) << (closed ? "" : closed.failure().message());
  }

  Allocator allocator = Allocator::open(plain());
  Device gpu = allocator.device(0);
};

}  // namespace gapless::test
